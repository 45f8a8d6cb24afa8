//! Says to caches what a response is to them: who has decided who may have it says so.
//!
//! Where a lookup has decided, the response is for one user. A cache that did not know would hand
//! it to the next one. The filter runs behind NGINX's `headers_filter`, because `expires` and
//! `add_header` of the target, or of the server around it, know nothing of users.

#![forbid(unsafe_code)]

use model::caching::{Author, NO_STORE, PRIVATE, PRIVATE_NO_CACHE, write_private};

use crate::nginx::Failure;
use crate::nginx::guard::fault_point;
use crate::nginx::request::Request;
use crate::request::header_filter::CONTENT_DISPOSITION;
use crate::request::lookup::Lookup;
use crate::request::state::Record;

const CACHE_CONTROL: &str = "Cache-Control";
const EXPIRES: &str = "Expires";
const VARY: &str = "Vary";

/// Whether there is nothing to do: quick, because every response passes here.
#[inline(always)]
pub(crate) fn is_idle(request: &Request<'_>) -> bool {
    if !request.is_main() {
        return true;
    }
    let Some(record) = Record::find(request) else { return true };
    record.lookup.get().is_none()
        && record.field.get().is_none_or(|value| request.is_last_field(value))
}

/// Changes the header of a response to the client's request.
pub(crate) fn run(request: &Request<'_>) -> Result<(), Failure> {
    let Some(record) = Record::find(request) else { return Ok(()) };
    if let Some(value) = record.field.get() {
        // The configuration has one of its own: `add_header Content-Disposition`.
        if request.response_field(CONTENT_DISPOSITION).nth(1).is_some() {
            request.remove_field_of_value(value);
        }
    }
    let Some(lookup) = record.lookup.get() else { return Ok(()) };
    if record.is_answer_of(request) {
        tell_caches(request, record, Some(lookup))
    } else if record.found.get().is_some() {
        // An `error_page` of the target leads on from a file that only this user may have, to
        // another place for it, say: whatever is sent is not for others.
        tell_caches(request, record, None)
    } else {
        Ok(())
    }
}

/// `lookup` is the one whose answer speaks of the response, if one does.
fn tell_caches<'r>(
    request: &Request<'r>,
    record: &Record<'r>,
    lookup: Option<&Lookup<'r>>,
) -> Result<(), Failure> {
    fault_point("cache_filter");
    let said = |name| lookup.into_iter().flat_map(move |lookup| lookup.response_field(name));
    let says = |name| said(name).any(|value| !value.trim_ascii().is_empty());
    if record.caching.replace(true) {
        // A response may come here twice: as a 200, and as the error that a filter makes of it.
        request.remove_own_caching();
    }

    let author = match lookup {
        Some(_) => Author::of(request.status(), says(CACHE_CONTROL), says(EXPIRES)),
        None => Author::Target,
    };
    request.debug(format_args!("xspace cache filter: {author:?}"));
    let target_says = request.has_caching();
    let made = match author {
        Author::NoStore => Some(NO_STORE),
        Author::Application => None,
        Author::ApplicationExpires => Some(PRIVATE),
        Author::Target if target_says => Some(private(request)?),
        Author::Target => Some(PRIVATE_NO_CACHE),
    };
    let expires = match author {
        Author::NoStore => None,
        Author::Application | Author::ApplicationExpires => said(EXPIRES).next(),
        // The same once more, as a field of the module's own: it goes with Cache-Control.
        Author::Target => request.response_field(EXPIRES).next(),
    };
    if target_says {
        request.remove_caching();
    }
    match made {
        Some(value) => request.add_cache_control(value)?,
        None => said(CACHE_CONTROL).try_for_each(|value| request.add_cache_control(value))?,
    }
    if let Some(value) = expires {
        request.add_expires(value)?;
    }
    said(VARY).try_for_each(|value| request.add_vary(value))
}

/// The Cache-Control of the response, made private.
fn private<'r>(request: &Request<'r>) -> Result<&'r [u8], Failure> {
    let fields = || request.response_field(CACHE_CONTROL);
    let has_expires = request.response_field(EXPIRES).next().is_some();
    let mut len = 0;
    write_private(fields, has_expires, |piece| len += piece.len());
    let buffer = request.pool().bytes(len)?;
    let mut rest = buffer.iter_mut();
    write_private(fields, has_expires, |piece| {
        rest.by_ref().zip(piece).for_each(|(to, from)| *to = *from);
    });
    Ok(buffer)
}
