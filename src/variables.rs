//! The module's variables.
//!
//! Their values are those of the client's request, also in a subrequest, except those of a request to
//! an object store. Before the module's handlers have run, id and format follow from the URI as it is
//! then.

#![forbid(unsafe_code)]

use model::play::is_play;
use model::request::SpaceRequest;
use nginx_sys::NGX_HTTP_GET;

use crate::config::LocationConf;
use crate::nginx::Failure;
use crate::nginx::request::Request;
use crate::request::state::{Record, Redirect, Space, evaluate_space};
#[cfg(feature = "s3")]
use crate::s3::request as store;

/// The value of a variable; `None` if it is not found.
type Value<'r> = Result<Option<&'r [u8]>, Failure>;

/// A variable of the module.
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    known: Known,
    get: Get,
}

/// Returns the value of a variable.
enum Get {
    /// For the client's request and its record, also in a subrequest.
    OfClient(for<'r> fn(&Request<'r>, Option<&'r Record<'r>>) -> Value<'r>),
    /// For the request at hand: a subrequest has a time of its own, and perhaps another method.
    #[cfg(feature = "s3")]
    OfRequest(for<'r> fn(&Request<'r>) -> Value<'r>),
}

use Get::OfClient;
#[cfg(feature = "s3")]
use Get::OfRequest;

/// When the value is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    BeforeSearch,
    /// When the file is found, or will not be.
    AfterSearch,
}

use Known::{AfterSearch, BeforeSearch};

/// All variables.
pub(crate) static ALL: &[Variable] = &[
    // The id of the space.
    Variable { name: "xspace_id", known: BeforeSearch, get: OfClient(id) },
    // The extension of the file; before one is found, the requested format.
    Variable { name: "xspace_format", known: AfterSearch, get: OfClient(format) },
    // The path of the file below the target.
    Variable { name: "xspace_file", known: AfterSearch, get: OfClient(file) },
    // The title of the space.
    Variable { name: "xspace_title", known: BeforeSearch, get: OfClient(title) },
    // The name to save the file under.
    Variable { name: "xspace_filename", known: AfterSearch, get: OfClient(file_name) },
    // `inline` or `attachment`.
    Variable { name: "xspace_disposition", known: AfterSearch, get: OfClient(disposition) },
    // What named the file: `lookup`, `catalog` or `directory`.
    Variable { name: "xspace_source", known: AfterSearch, get: OfClient(source) },
    // How the request was answered.
    Variable { name: "xspace_outcome", known: AfterSearch, get: OfClient(outcome) },
    // `1` if the response starts a play.
    Variable { name: "xspace_counted", known: AfterSearch, get: OfClient(counted) },
    // `1` if the request has the listener's play.
    #[cfg(feature = "plays")]
    Variable { name: "xspace_played", known: AfterSearch, get: OfClient(played) },
    // What was decided about the link.
    #[cfg(feature = "links")]
    Variable { name: "xspace_link_status", known: BeforeSearch, get: OfClient(link_status) },
    // Whom the link is for.
    #[cfg(feature = "links")]
    Variable { name: "xspace_link_subject", known: BeforeSearch, get: OfClient(link_subject) },
    // What a request to an object store is made of: path, and the fields Host, x-amz-date,
    // x-amz-content-sha256, x-amz-security-token and Authorization.
    #[cfg(feature = "s3")]
    Variable { name: "xspace_s3_uri", known: BeforeSearch, get: OfRequest(store::uri) },
    #[cfg(feature = "s3")]
    Variable { name: "xspace_s3_host", known: BeforeSearch, get: OfRequest(store::host) },
    #[cfg(feature = "s3")]
    Variable { name: "xspace_s3_date", known: BeforeSearch, get: OfRequest(store::date) },
    #[cfg(feature = "s3")]
    Variable {
        name: "xspace_s3_content_sha256",
        known: BeforeSearch,
        get: OfRequest(store::content_sha256),
    },
    #[cfg(feature = "s3")]
    Variable { name: "xspace_s3_token", known: BeforeSearch, get: OfRequest(store::token) },
    #[cfg(feature = "s3")]
    Variable {
        name: "xspace_s3_authorization",
        known: BeforeSearch,
        get: OfRequest(store::authorization),
    },
];

impl Variable {
    /// The value for a request.
    pub(crate) fn get<'r>(&self, request: &Request<'r>) -> Value<'r> {
        match self.get {
            OfClient(get) => {
                let request = &request.main();
                get(request, Record::find(request).filter(|record| record.applies(request)))
            }
            #[cfg(feature = "s3")]
            OfRequest(get) => get(request),
        }
    }
}

/// Whether `name` is a variable whose value is not known before a file is found.
pub(crate) fn is_known_after_search(name: &[u8]) -> bool {
    let is = |variable: &Variable| variable.name.as_bytes() == name;
    ALL.iter().any(|variable| variable.known == AfterSearch && is(variable))
}

fn id<'r>(request: &Request<'r>, record: Option<&'r Record<'r>>) -> Value<'r> {
    Ok(space_request(request, record)?.map(|(space_request, _)| space_request.id.as_bytes()))
}

/// Always a word of the configuration, never the client's.
fn format<'r>(request: &Request<'r>, record: Option<&'r Record<'r>>) -> Value<'r> {
    if let Some((_, redirect)) = redirect(record) {
        return Ok(Some(redirect.format.extension().as_bytes()));
    }
    Ok(space_request(request, record)?.and_then(|(space_request, lcf)| {
        let word = lcf.formats().word(space_request.selection.ok()?);
        (!word.is_empty()).then_some(word.as_bytes())
    }))
}

/// The requested space, and the configuration it was found with. Without a current record it
/// follows from the request as it is now.
fn space_request<'r>(
    request: &Request<'r>,
    record: Option<&'r Record<'r>>,
) -> Result<Option<(SpaceRequest<'r>, &'static LocationConf)>, Failure> {
    let lcf = match record {
        Some(record) => Some(record.lcf()),
        None => request.location_conf::<LocationConf>(),
    };
    let Some(lcf) = lcf else { return Ok(None) };
    let (space, lcf) = match (lcf.cycle(), record) {
        (Some(cycle), _) => Record::fixed_space(request).ok_or(cycle)?,
        (None, Some(record)) => (record.space(request)?, lcf),
        (None, None) => (evaluate_space(request, lcf, request.uri())?, lcf),
    };
    Ok(match space {
        Space::Valid(space) => Some((space, lcf)),
        Space::Open | Space::Invalid => None,
    })
}

fn file<'r>(_: &Request<'r>, record: Option<&'r Record<'r>>) -> Value<'r> {
    Ok(redirect(record).map(|(_, redirect)| redirect.file))
}

fn title<'r>(_: &Request<'r>, record: Option<&'r Record<'r>>) -> Value<'r> {
    Ok(record.and_then(|record| record.decided.title()).map(|title| title.as_bytes()))
}

fn file_name<'r>(request: &Request<'r>, record: Option<&'r Record<'r>>) -> Value<'r> {
    let Some((record, redirect)) = redirect(record) else { return Ok(None) };
    request.pool().write(&record.file_name(request, redirect)?).map(Some)
}

fn disposition<'r>(_: &Request<'r>, record: Option<&'r Record<'r>>) -> Value<'r> {
    Ok(redirect(record).map(|(record, _)| record.decided.disposition().as_str().as_bytes()))
}

fn source<'r>(_: &Request<'r>, record: Option<&'r Record<'r>>) -> Value<'r> {
    Ok(redirect(record).map(|(_, redirect)| redirect.source.as_str().as_bytes()))
}

fn outcome<'r>(_: &Request<'r>, record: Option<&'r Record<'r>>) -> Value<'r> {
    let outcome = record.and_then(|record| record.decided.outcome());
    Ok(outcome.map(|outcome| outcome.as_str().as_bytes()))
}

#[cfg(feature = "links")]
fn link_status<'r>(_: &Request<'r>, record: Option<&'r Record<'r>>) -> Value<'r> {
    let link = record.and_then(|record| record.link());
    Ok(link.map(|link| link.status().as_str().as_bytes()))
}

/// The client's claim is not one before it is verified.
#[cfg(feature = "links")]
fn link_subject<'r>(_: &Request<'r>, record: Option<&'r Record<'r>>) -> Value<'r> {
    let subject = record.and_then(|record| record.link()).map(|link| link.subject());
    Ok(subject.filter(|subject| !subject.is_empty()))
}

/// A page in place of the recording does not start a play.
fn counted<'r>(request: &Request<'r>, record: Option<&'r Record<'r>>) -> Value<'r> {
    let is_recording = record.is_some_and(|record| record.added.is_recording());
    let is_counted = is_recording
        && request.method() == NGX_HTTP_GET
        && is_play(request.status(), request.response_field("Content-Range").next());
    Ok(is_counted.then_some(b"1"))
}

#[cfg(feature = "plays")]
fn played<'r>(_: &Request<'r>, record: Option<&'r Record<'r>>) -> Value<'r> {
    Ok(record.is_some_and(Record::is_played).then_some(b"1"))
}

/// The redirect to the file, if one is found.
fn redirect<'r>(record: Option<&'r Record<'r>>) -> Option<(&'r Record<'r>, &'r Redirect<'r>)> {
    record.and_then(|record| Some((record, record.decided.redirect()?)))
}
