//! Sets Content-Type and Content-Disposition of a recording, and of nothing else, and takes back the
//! field of a refusal that is not answered.
//!
//! The filter runs behind `not_modified` and before `range_header`: a 304 is known, a 206 or 416
//! that nginx itself makes is not. A 416 comes here twice, as the 200 that it was to be and as an
//! error; what was added the first time is taken back then. A recording that is itself the page of
//! an error keeps its Content-Type, and has no Content-Disposition.

#![forbid(unsafe_code)]

use model::disposition::{ContentDisposition, Parts};

use crate::nginx::Failure;
use crate::nginx::guard::fault_point;
use crate::nginx::request::Request;
use crate::request::state::{Found, Record};

/// The field's name (RFC 6266).
pub(crate) const CONTENT_DISPOSITION: &str = "Content-Disposition";

/// A value says itself how much room it needs at most.
const TOO_LONG: Failure = Failure("Content-Disposition is longer than its buffer");

/// Changes the header of the response if it is that of a recording.
pub(crate) fn run(request: &Request<'_>) -> Result<(), Failure> {
    if !request.is_main() {
        return Ok(());
    }
    let Some(record) = Record::find(request) else { return Ok(()) };
    if record.caching.take() {
        request.remove_own_caching();
    }
    if let Some(value) = record.field.take() {
        request.remove_field_of_value(value);
    }
    record.keep_refusal_field_of_status(request);
    let Some(found) = record.found.get() else { return Ok(()) };

    let is_recording = matches!(request.status(), 200 | 206) && !record.is_error_page(request);
    request.debug(format_args!("xspace header filter: recording {is_recording}"));
    if is_recording {
        return describe(request, record, found);
    }

    let is_shown_as_page =
        request.status() == record.status_before() && !record.is_error_page(request);
    if request.has_content_type(found.format.media_type()) && !is_shown_as_page {
        request.clear_content_type();
    }
    Ok(())
}

fn describe<'r>(
    request: &Request<'r>,
    record: &'r Record<'r>,
    found: &Found<'r>,
) -> Result<(), Failure> {
    fault_point("header_filter");
    let Some(asked) = record.asked(request)? else { return Ok(()) };
    let (lcf, extension) = (record.lcf(), found.format.extension());
    let title = record.title();
    let disposition = record.disposition.get();
    let parts = match lcf.filename {
        Some(_) => None,
        None => disposition.parts_with(title, asked.id, extension),
    };
    let value: &'r [u8] = match parts {
        Some(Parts::Id(parts)) => request.pool().concat(parts)?,
        Some(Parts::Title(parts)) => request.pool().concat(parts)?,
        None => {
            let name = lcf.file_name(request, title, asked.id, extension)?;
            let value = ContentDisposition { disposition, name };
            let buffer = request.pool().bytes(value.max_len())?;
            let len = value.write(buffer).ok_or(TOO_LONG)?;
            buffer.get(..len).ok_or(TOO_LONG)?
        }
    };

    let is_proxied = request.has_upstream();
    if is_proxied {
        // An object store may send a field of its own.
        request.remove_field(CONTENT_DISPOSITION);
    }
    // NGINX's own range filter comes later.
    if !(is_proxied && request.is_multipart()) {
        request.set_content_type(found.format.media_type());
    }
    request.add_field(CONTENT_DISPOSITION, value)?;
    record.field.set(Some(value));
    Ok(())
}
