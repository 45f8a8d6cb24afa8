//! Phase handlers that run before access control: they record the request.

#![forbid(unsafe_code)]

use super::state::{Record, RewriteStage};
use super::{Action, PhaseResult};
use crate::config::LocationConf;
use crate::nginx::request::Request;

/// Whether the rewrite handler has nothing to do: a client's request in another location.
pub(crate) fn skips_rewrite(request: &Request<'_>, lcf: &LocationConf) -> bool {
    lcf.download().is_none() && request.is_main() && !request.is_internal()
}

/// Whether the preaccess handler has nothing to do: the location is another one and has no content
/// handler to which a redirected request might send the client's arguments.
pub(crate) fn skips_preaccess(request: &Request<'_>, lcf: &LocationConf) -> bool {
    lcf.download().is_none() && !(request.has_content_handler() && request.is_internal())
}

/// REWRITE: records a request early, so that one which is refused later still has its id in the
/// log, even if the error page is in another location.
pub(crate) fn rewrite_handler<'r>(
    request: &Request<'r>,
    lcf: &'static LocationConf,
) -> PhaseResult<'r> {
    request.debug(format_args!("xspace rewrite handler"));
    if let Some(lookup) = Record::lookup_of_subrequest(request) {
        return Ok(if lookup.may_enter(lcf) { Action::Decline } else { Action::Respond(502) });
    }
    if lcf.download().is_some() {
        Record::create(request, lcf)?;
    } else if let Some(redirect) = Record::redirect(request) {
        redirect.detect_error_page(request);
        redirect.remove_client_args(request, RewriteStage::Start);
    }
    Ok(Action::Decline)
}

/// PREACCESS: rewriting has ended. Runs before `limit_req` and `limit_conn`.
pub(crate) fn preaccess_handler<'r>(
    request: &Request<'r>,
    lcf: &'static LocationConf,
) -> PhaseResult<'r> {
    request.debug(format_args!("xspace preaccess handler"));
    if lcf.download().is_some() {
        Record::after_rewrite(request, lcf)?;
    } else if let Some(redirect) = Record::redirect(request) {
        redirect.remove_client_args(request, RewriteStage::End);
    }
    Ok(Action::Decline)
}
