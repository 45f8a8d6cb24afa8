//! What becomes of the responses of a store.

#![forbid(unsafe_code)]

use core::fmt;

use model::s3::{Response, error_code};

use super::Store;
use crate::nginx::log::Text;
use crate::nginx::request::Request;
use crate::nginx::time::now;
use crate::nginx::upstream::UpstreamResponse;

/// Stores accept signatures of up to fifteen minutes.
const CLOCK_DIFFERENCE: u64 = 5 * 60;

/// What a response is whose header is about to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// An object of the store, or a part of one.
    Object,
    /// Another response of the store: the client gets an error page with this status instead.
    Error(i16),
    /// None of the store that a client gets.
    Other,
}

/// Takes the store's own fields out of the response with an object.
pub(crate) fn header_filter(request: &Request<'_>, store: &Store) -> Sent {
    // An update of a cache keeps an error as it is, and the client does not wait for it.
    let Some(response) = request.upstream_response().filter(|_| !request.is_background()) else {
        return Sent::Other;
    };
    let status = match Response::of(response.status) {
        Response::Pass => {
            request.remove_fields(|field| is_of_store(field.name()));
            return Sent::Object;
        }
        Response::Error(status) => status,
    };
    if status != 404 || store.location.logs_not_found() {
        request.error(format_args!("{}", Refused { request, store, response }));
    }
    request.remove_fields(|field| {
        !(field.is("Retry-After") || status == 416 && field.is("Content-Range"))
    });
    request.unlink_upstream_fields();
    Sent::Error(status)
}

/// Whether all of a slice has come. If the store closes its connection in the middle of one, nginx would go
/// on with the next: the client would get a recording with a gap, or fewer bytes than its header tells on
/// a connection that stays open.
pub(crate) fn is_whole_slice(request: &Request<'_>) -> bool {
    let is_whole = request.has_whole_upstream_response();
    if !is_whole {
        request.error(format_args!(
            "response of the object store is incomplete, closing the connection of the client"
        ));
    }
    is_whole
}

/// Whether a field is about the store: its ids, metadata and versions of objects, their encryption.
fn is_of_store(name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"x-amz-";
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// The line about a response without an object.
struct Refused<'a, 'r> {
    request: &'a Request<'r>,
    store: &'a Store,
    response: UpstreamResponse<'r>,
}

impl fmt::Display for Refused<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, store, response } = self;
        write!(f, "object store responded with {}", response.status)?;
        if let Some(code) = error_code(response.start) {
            write!(f, " ({code})")?;
        }
        let object = Text(store.object(request).unwrap_or_default());
        let (bucket, region) = (&store.bucket_name, store.signer.region());
        write!(f, " for object \"{object}\" of bucket \"{bucket}\" in region \"{region}\"")?;
        if let Some(other) = request.response_field("x-amz-bucket-region").next() {
            write!(f, ", the bucket is in region \"{}\"", Text(other))?;
        }
        let difference = response.date.map_or(0, |date| date.abs_diff(now()));
        if matches!(response.status, 400 | 401 | 403) && difference > CLOCK_DIFFERENCE {
            write!(f, ", its clock differs from that of this machine by {difference} seconds")?;
        }
        Ok(())
    }
}
