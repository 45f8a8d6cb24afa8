//! Notes that a request has come to a location where the module is on.

#![forbid(unsafe_code)]

use super::resolve::{Action, PhaseResult};
use super::state::{Record, Rewriting};
use crate::config::LocationConf;
use crate::nginx::request::Request;

/// Whether a request has come to such a location straight from the client.
pub(crate) fn is_passing(request: &Request<'_>, lcf: &LocationConf) -> bool {
    lcf.download().is_none() && request.is_main() && !request.is_internal()
}

/// Whether a request that is done with rewriting is in such a location, and not to be answered by a
/// content handler after a redirect.
pub(crate) fn is_done_rewriting_elsewhere(request: &Request<'_>, lcf: &LocationConf) -> bool {
    let was_redirected = || request.has_content_handler() && request.is_internal();
    lcf.download().is_none() && !was_redirected()
}

/// REWRITE, before the rewrite module acts: notes the request, so that one which is refused later,
/// and whose error page is in another location, still has its id in the log.
pub(crate) fn rewrite_handler<'r>(
    request: &Request<'r>,
    lcf: &'static LocationConf,
) -> PhaseResult<'r> {
    request.debug(format_args!("xspace rewrite handler"));
    if let Some(lookup) = Record::lookup_by(request) {
        return Ok(if lookup.may_enter(lcf) { Action::Declined } else { Action::Status(502) });
    }
    if lcf.download().is_some() {
        Record::begin(request, lcf)?;
        return Ok(Action::Declined);
    }
    if request.is_internal() {
        if let Some(record) = Record::find(request) {
            if request.is_main() {
                record.note_error_page(request);
            }
            record.keep_args_from_others(request, Rewriting::Begins);
        }
    }
    Ok(Action::Declined)
}

/// PREACCESS: all rewriting is done. Acts before `limit_req` and `limit_conn`.
pub(crate) fn preaccess_handler<'r>(
    request: &Request<'r>,
    lcf: &'static LocationConf,
) -> PhaseResult<'r> {
    request.debug(format_args!("xspace preaccess handler"));
    if lcf.download().is_some() {
        Record::stay(request, lcf)?;
    } else if let Some(record) = Record::find(request) {
        record.keep_args_from_others(request, Rewriting::IsDone);
    }
    Ok(Action::Declined)
}
