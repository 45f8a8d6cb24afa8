//! Makes caches keep a response that a lookup has allowed for one user, and only for that user: sets
//! Cache-Control, Expires and Vary. Where a link is needed, a response is for one user as well.
//!
//! The filter runs after `headers_filter`, because `expires` and `add_header` of the target or its
//! server do not know about users.

#![forbid(unsafe_code)]

use model::caching::{Author, NO_STORE, PRIVATE, PRIVATE_NO_CACHE, Private, is_targeted};

use super::lookup::Lookup;
use super::state::Record;
use crate::nginx::Failure;
use crate::nginx::guard::fault_point;
use crate::nginx::request::Request;
use crate::nginx::response::{CACHE_CONTROL, CONTENT_DISPOSITION, EXPIRES, Field, VARY};

/// Whether there is nothing to do. Every response passes the filter.
pub(crate) fn is_idle(request: &Request<'_>) -> bool {
    if !request.is_main() {
        return true;
    }
    let Some(record) = Record::find(request) else { return true };
    let is_shared = record.decided.lookup().is_none() && !record.lcf().needs_link();
    is_shared && !may_have_another_disposition(request, record)
}

/// Whether a Content-Disposition may follow that of the module.
fn may_have_another_disposition(request: &Request<'_>, record: &Record<'_>) -> bool {
    let is_last = || request.last_field().is_some_and(|field| field.is_own(CONTENT_DISPOSITION));
    record.added.has_content_disposition() && !is_last()
}

/// Changes the header of a response to the client.
pub(crate) fn run(request: &Request<'_>) -> Result<(), Failure> {
    let Some(record) = Record::find(request) else { return Ok(()) };
    // The configuration may have its own: `add_header Content-Disposition`.
    if may_have_another_disposition(request, record)
        && request.response_field(CONTENT_DISPOSITION).nth(1).is_some()
    {
        request.remove_fields(|field| field.is_own(CONTENT_DISPOSITION));
    }
    let lookup = record.decided.lookup();
    if lookup.is_none() && !record.lcf().needs_link() {
        return Ok(());
    }
    if lookup.is_some() && record.has_decided_response(request) {
        set_cache_fields(request, record, lookup)
    } else if record.decided.redirect().is_some()
        || record.lcf().needs_link() && record.applies(request)
    {
        // The link is this user's, and so is its refusal. Or an `error_page` of the target leads on
        // from a file that only this user may have, to another copy of it, say: the response is
        // private, whatever it is.
        set_cache_fields(request, record, None)
    } else {
        Ok(())
    }
}

/// `lookup` is `None` if its response is about another one than this, or if there is none.
fn set_cache_fields<'r>(
    request: &Request<'r>,
    record: &Record<'r>,
    lookup: Option<&Lookup<'r>>,
) -> Result<(), Failure> {
    fault_point("cache_filter");
    let values = |name| lookup.into_iter().flat_map(move |lookup| lookup.response_field(name));
    let has = |name| values(name).any(|value| !value.trim_ascii().is_empty());
    let add = |name, value| record.added.add_field(request, name, value);
    record.added.remove_cache_fields(request);

    let author = match lookup {
        Some(_) => Author::of(request.status(), has(CACHE_CONTROL), has(EXPIRES)),
        None => Author::Target,
    };
    request.debug(format_args!("xspace cache filter: {author:?}"));
    let is_set_by_target = request.fields().any(is_cache_field);
    let cache_control = match author {
        Author::NoStore => Some(NO_STORE),
        Author::Application if record.lcf().needs_link() => {
            let fields = || values(CACHE_CONTROL);
            Some(request.pool().write(&Private { fields, has_expires: has(EXPIRES) })?)
        }
        Author::Application => None,
        Author::ApplicationExpires => Some(PRIVATE),
        Author::Target if is_set_by_target => Some(private(request)?),
        Author::Target => Some(PRIVATE_NO_CACHE),
    };
    let expires = match author {
        Author::NoStore => None,
        Author::Application | Author::ApplicationExpires => values(EXPIRES).next(),
        Author::Target if !is_set_by_target => None,
        // Added again, as a field of the module, so that it is removed with Cache-Control.
        Author::Target => request.response_field(EXPIRES).next(),
    };
    if is_set_by_target {
        request.remove_fields(is_cache_field);
    }
    match cache_control {
        Some(value) => add(CACHE_CONTROL, value)?,
        None => values(CACHE_CONTROL).try_for_each(|value| add(CACHE_CONTROL, value))?,
    }
    expires.into_iter().try_for_each(|value| add(EXPIRES, value))?;
    values(VARY).try_for_each(|value| add(VARY, value))
}

/// Whether a field tells caches, or some of them, how long and for whom to keep the response.
fn is_cache_field(field: Field<'_>) -> bool {
    field.is(CACHE_CONTROL) || field.is(EXPIRES) || is_targeted(field.name())
}

/// The Cache-Control of the response, made private.
fn private<'r>(request: &Request<'r>) -> Result<&'r [u8], Failure> {
    let fields = || request.response_field(CACHE_CONTROL);
    let has_expires = request.response_field(EXPIRES).next().is_some();
    request.pool().write(&Private { fields, has_expires })
}
