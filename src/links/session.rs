//! The cookie of a session.

#![forbid(unsafe_code)]

use model::links::{Check, SetCookie, client_path};

use super::Verdict;
use crate::nginx::Failure;
use crate::nginx::request::Request;
use crate::nginx::response::SET_COOKIE;
use crate::nginx::time;
use crate::request::state::Record;

/// Adds the cookie of a session that begins or is prolonged to the response with a recording.
pub(crate) fn add_cookie<'r>(request: &Request<'r>, record: &Record<'r>) -> Result<(), Failure> {
    let Some(Verdict { check, result: Ok(grant) }) = record.link() else { return Ok(()) };
    let Some(setting) = record.lcf().link().and_then(|link| link.session) else { return Ok(()) };
    let check = Check { now: time::now(), ..*check };
    let cookies = || request.request_field("Cookie");
    let Some(session) = check.new_session(setting.rules, grant, cookies) else { return Ok(()) };
    let Some(path) = client_path(request.unparsed_uri()) else {
        request.debug(format_args!("xspace link: no cookie for this path"));
        return Ok(());
    };
    let cookie = SetCookie {
        session,
        path,
        same_site: setting.same_site,
        secure: setting.is_secure || request.has_tls(),
        partitioned: setting.is_partitioned,
    };
    let value = request.pool().write(&cookie)?;
    request.debug(format_args!("xspace link: session cookie set"));
    record.added.add_field(request, SET_COOKIE, value)
}
