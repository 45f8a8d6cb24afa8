//! Sets Content-Type and Content-Disposition of a recording, and of nothing else, and removes what
//! the module has added to a response that becomes another one.
//!
//! The filter runs after `not_modified` and before `range`: it sees a 304, but sees the 200 of a
//! response that becomes a 206 or 416. A 416 passes the filter a second time, as an error.

#![forbid(unsafe_code)]

use core::ptr;

use model::disposition::ContentDisposition;

use super::state::{Record, Redirect};
use crate::nginx::Failure;
use crate::nginx::guard::fault_point;
use crate::nginx::request::Request;
use crate::nginx::response::CONTENT_DISPOSITION;

/// What a response is, after the redirect to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Response {
    /// The recording, whole (200) or a part of it that an upstream has sent (206).
    Recording,
    /// The recording as the page of an error (`error_page 403 /download/sorry`). It has a
    /// Content-Type and no Content-Disposition.
    RecordingAsErrorPage,
    /// A 304, a 416 or another error, an error page, a redirect.
    Other,
}

impl Response {
    fn of(request: &Request<'_>, redirect: &Redirect<'_>) -> Self {
        match request.status() {
            _ if redirect.is_error(request) => Self::Other,
            200 | 206 => Self::Recording,
            status if status == redirect.error_status() => Self::RecordingAsErrorPage,
            _ => Self::Other,
        }
    }
}

/// Changes the header of a response to the client.
pub(crate) fn run(request: &Request<'_>) -> Result<(), Failure> {
    if !request.is_main() {
        return Ok(());
    }
    let Some(record) = Record::find(request) else { return Ok(()) };
    record.added.remove_fields(request);
    record.added.remove_stale_refusal_field(request);
    let Some(redirect) = record.decided.redirect() else { return Ok(()) };

    let response = Response::of(request, redirect);
    request.debug(format_args!("xspace header filter: {response:?}"));
    match response {
        Response::Recording => {
            #[cfg(feature = "links")]
            crate::links::session::add_cookie(request, record)?;
            describe(request, record, redirect)
        }
        Response::RecordingAsErrorPage => Ok(()),
        Response::Other => {
            // That of the redirect, not a copy of it.
            if ptr::eq(request.content_type(), redirect.format.media_type().as_bytes()) {
                request.clear_content_type();
            }
            if request.status() == 304 && request.has_upstream() {
                // A cache would have it in the place of that of the 200.
                request.remove_fields(|field| field.is(CONTENT_DISPOSITION));
            }
            Ok(())
        }
    }
}

/// Sets the header of the recording.
fn describe<'r>(
    request: &Request<'r>,
    record: &'r Record<'r>,
    redirect: &Redirect<'r>,
) -> Result<(), Failure> {
    fault_point("header_filter");
    record.added.set_recording();
    let disposition = record.decided.disposition();
    let name = &record.file_name(request, redirect)?;
    let value = request.pool().write(&ContentDisposition { disposition, name })?;
    let is_proxied = request.has_upstream();
    // `range` sets the type of several ranges later; those of an upstream have it already.
    if !(is_proxied && is_multipart(request)) {
        request.set_content_type(redirect.format.media_type());
    }
    if is_proxied {
        // An object store may have sent one.
        request.remove_fields(|field| field.is(CONTENT_DISPOSITION));
    } else if request.has_field(CONTENT_DISPOSITION) {
        // From another module whose filter runs before: it counts as an `add_header` does.
        return Ok(());
    }
    record.added.add_content_disposition(request, value)
}

/// Whether the response has several ranges (RFC 9110, section 14.6).
fn is_multipart(request: &Request<'_>) -> bool {
    const MULTIPART: &[u8] = b"multipart/byteranges";
    let start = request.content_type().get(..MULTIPART.len());
    request.status() == 206 && start.is_some_and(|start| start.eq_ignore_ascii_case(MULTIPART))
}
