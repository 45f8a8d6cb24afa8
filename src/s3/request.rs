//! Which requests are sent to a store, and the values of the variables that they are made of.

#![forbid(unsafe_code)]

use model::s3::{EMPTY_PAYLOAD, SignedRequest, Timestamp};

use super::Store;
use crate::config::LocationConf;
use crate::nginx::Failure;
use crate::nginx::log::Level;
use crate::nginx::request::Request;
use crate::nginx::time::now;
use crate::request::{Action, PhaseResult};

/// The value of a variable; `None` outside of the location of a store.
type Value<'r> = Result<Option<&'r [u8]>, Failure>;

/// The methods that are signed.
const METHODS: [&[u8]; 2] = [b"GET", b"HEAD"];

/// What makes nginx fail to parse the URL of `proxy_pass`. With an empty value it would send the client's
/// own URI, and the query string with it.
const NO_URL: &[u8] = b":0/";

/// Whether the precontent handler has nothing to do.
pub(crate) fn skips_precontent(_: &Request<'_>, lcf: &LocationConf) -> bool {
    lcf.store().is_none()
}

/// PRECONTENT: refuses what must not reach the store. A request for no object would list the bucket.
pub(crate) fn precontent_handler<'r>(
    request: &Request<'r>,
    lcf: &'static LocationConf,
) -> PhaseResult<'r> {
    let Some(store) = lcf.store() else { return Ok(Action::Decline) };
    request.debug(format_args!("xspace object handler"));
    if !METHODS.contains(&request.upstream_method()) {
        return Ok(Action::Respond(405));
    }
    if store.object(request)?.is_empty() {
        request.error(format_args!(
            "request for bucket \"{}\" without the name of an object refused",
            store.bucket_name
        ));
        return Ok(Action::Respond(404));
    }
    Ok(Action::Decline)
}

impl Store {
    /// The name of the object that is requested: what follows the location's prefix.
    pub(super) fn object<'r>(&self, request: &Request<'r>) -> Result<&'r [u8], Failure> {
        const OUTSIDE: Failure = Failure("URI is not below the location of \"xspace_s3\"");
        request.uri().strip_prefix(self.location.name()).ok_or(OUTSIDE)
    }

    /// The value of the field Authorization.
    fn authorization<'r>(&self, request: &Request<'r>) -> Result<&'r [u8], Failure> {
        let method = request.upstream_method();
        if !METHODS.contains(&method) {
            return Err(Failure("only GET and HEAD requests to an object store are signed"));
        }
        let credentials = self.credentials.current();
        let time = Timestamp::new(now());
        let fields = [
            ("host", self.bucket.host().as_bytes()),
            ("x-amz-content-sha256", EMPTY_PAYLOAD.as_bytes()),
            ("x-amz-date", time.as_bytes()),
            ("x-amz-security-token", credentials.token().unwrap_or_default().as_bytes()),
        ];
        let [without_token @ .., _] = &fields;
        let signed = SignedRequest {
            method,
            path: self.bucket.path(self.object(request)?),
            query: "",
            fields: if credentials.token().is_some() { &fields } else { without_token },
            payload_hash: EMPTY_PAYLOAD,
        };
        if request.has_unverified_upstream() && !self.is_warned.replace(true) {
            request.log(
                Level::Warn,
                0,
                format_args!(
                    "certificate of the object store is not verified: \"proxy_ssl_verify\" is off in \
                     location {}",
                    self.location
                ),
            );
        }
        request.pool().write(&self.signer.sign(&credentials, time, &signed))
    }
}

/// The store of the location that a request is in.
fn store(request: &Request<'_>) -> Option<&'static Store> {
    request.location_conf::<LocationConf>()?.store()
}

pub(crate) fn uri<'r>(request: &Request<'r>) -> Value<'r> {
    let Some(store) = store(request) else {
        // A `proxy_pass` in another location, one nested in that of the store, say.
        return Ok(request.has_upstream().then_some(NO_URL));
    };
    let uri = store
        .object(request)
        .and_then(|object| request.pool().write(&store.bucket.path(object)))
        .unwrap_or_else(|why| {
            request.log_failure(why);
            NO_URL
        });
    Ok(Some(uri))
}

pub(crate) fn host<'r>(request: &Request<'r>) -> Value<'r> {
    Ok(store(request).map(|store| store.bucket.host().as_bytes()))
}

pub(crate) fn date<'r>(request: &Request<'r>) -> Value<'r> {
    let Some(_) = store(request) else { return Ok(None) };
    request.pool().concat([Timestamp::new(now()).as_bytes()]).map(|date| Some(&*date))
}

pub(crate) fn content_sha256<'r>(request: &Request<'r>) -> Value<'r> {
    Ok(store(request).map(|_| EMPTY_PAYLOAD.as_bytes()))
}

pub(crate) fn token<'r>(request: &Request<'r>) -> Value<'r> {
    let Some(store) = store(request) else { return Ok(None) };
    let credentials = store.credentials.current();
    let Some(token) = credentials.token() else { return Ok(None) };
    request.pool().concat([token.as_bytes()]).map(|token| Some(&*token))
}

pub(crate) fn authorization<'r>(request: &Request<'r>) -> Value<'r> {
    store(request).map(|store| store.authorization(request)).transpose()
}
