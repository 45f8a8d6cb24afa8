//! The decision about a link, in the access phase.

#![forbid(unsafe_code)]

use model::format::Selection;
use model::links::{Check, Net};
use model::request::{SpaceId, SpaceRequest};
use nginx_sys::NGX_HTTP_OPTIONS;

use super::{Link, LinkDecision, Verdict};
use crate::config::LocationConf;
use crate::nginx::Failure;
use crate::nginx::log::Level;
use crate::nginx::request::Request;
use crate::nginx::time;
use crate::request::state::{Outcome, Record, Space};
use crate::request::{Action, PhaseResult};

/// Whether the access handler has nothing to do.
pub(crate) fn skips_access(_: &Request<'_>, lcf: &LocationConf) -> bool {
    !lcf.needs_link()
}

/// ACCESS, before the modules of nginx: lets a client in or refuses it, with the same response
/// whatever the reason. With `satisfy any` another module may let it in.
pub(crate) fn access_handler<'r>(
    request: &Request<'r>,
    lcf: &'static LocationConf,
) -> PhaseResult<'r> {
    let Some(link) = lcf.link() else { return Ok(Action::Decline) };
    request.debug(format_args!("xspace access handler"));
    if lcf.download().is_none() {
        let is_granted = is_granted_target(request);
        return Ok(if is_granted { Action::Allow } else { Action::Decline });
    }
    let record = Record::after_rewrite(request, lcf)?;
    decide(request, record, lcf, link).inspect_err(|action| {
        if let Action::Fail(_) = action {
            record.decided.set_outcome(Outcome::Error);
        }
    })
}

/// Decides in a location with `xspace_download`.
fn decide<'r>(
    request: &Request<'r>,
    record: &'r Record<'r>,
    lcf: &'static LocationConf,
    link: Link<'static>,
) -> PhaseResult<'r> {
    if request.method() == NGX_HTTP_OPTIONS {
        // It gets no recording. A browser sends it without cookies, and would be told no more.
        record.set_link(LinkDecision::Preflight);
        return Ok(Action::Allow);
    }
    let verdict = judge(request, record, lcf, link)?;
    record.set_link(LinkDecision::Verdict(request.pool().store(verdict)?));
    let status = verdict.status().as_str();
    request.debug(format_args!("xspace link: {status}"));
    if verdict.result.is_ok() {
        return Ok(Action::Allow);
    }
    record.decided.set_outcome(Outcome::BadLink);
    match verdict.check.space {
        Some(id) => {
            request.log(Level::Info, 0, format_args!("link to space \"{id}\" refused: {status}"))
        }
        None => {
            request.log(Level::Info, 0, format_args!("link refused: {status}, invalid space id"))
        }
    }
    Ok(Action::Respond(403))
}

/// Whether the request is where its redirect to a file has led, and was let in by its link: nginx
/// asks access control again in the target.
fn is_granted_target(request: &Request<'_>) -> bool {
    let Some(record) = Record::find(request) else { return false };
    let (Some(verdict), Some(redirect), Some(download)) =
        (record.link(), record.decided.redirect(), record.lcf().download())
    else {
        return false;
    };
    verdict.result.is_ok()
        && !redirect.is_error(request)
        && request.uri().strip_prefix(download.target()) == Some(redirect.file)
}

/// Decides about the link of a request. Fixes the space that it is for.
fn judge<'r>(
    request: &Request<'r>,
    record: &'r Record<'r>,
    lcf: &'static LocationConf,
    link: Link<'static>,
) -> Result<Verdict<'r>, Failure> {
    let token = link.setting.token(request)?;
    let (space, format) = match record.fix_space(request)? {
        Space::Valid(SpaceRequest { id, selection }) => {
            (Some(id), selection.ok().map(|selection| lcf.formats().word(selection)))
        }
        Space::Open | Space::Invalid => (None, None),
    };
    let check = Check {
        keys: link.keys.ok_or(Failure("keys of a link are not known"))?,
        now: time::now(),
        space,
        format,
        client: request.client_address().map(Net::of),
        needs_net: link.needs_net,
    };
    let cookies = || request.request_field("Cookie");
    Ok(Verdict { check, result: check.decide(token, link.session.is_some(), cookies) })
}

/// PRECONTENT: refuses a subrequest, because nginx skips the access phase for it.
pub(crate) fn refuse_subrequest<'r>(
    request: &Request<'r>,
    lcf: &LocationConf,
) -> PhaseResult<'r, ()> {
    if request.is_main() || !lcf.needs_link() {
        return Ok(());
    }
    request.error(format_args!(
        "subrequest to a location with \"xspace_link\" refused: links are verified in the client's \
         request only"
    ));
    Err(Action::Respond(403))
}

/// PRECONTENT: checks that the space and formats about to be served are those that a link was verified
/// for. Another module may have changed the URI or the method in the access phase.
pub(crate) fn confirm<'r>(
    request: &Request<'r>,
    record: &Record<'r>,
    id: SpaceId<'r>,
    selection: Selection,
) -> PhaseResult<'r, ()> {
    let what = match record.link_decision() {
        // Another module has let the client in, before this one was asked or after it refused.
        None => return Ok(()),
        Some(LinkDecision::Verdict(Verdict { result: Err(_), .. })) => {
            record.decided.clear_outcome();
            return Ok(());
        }
        Some(LinkDecision::Verdict(Verdict { check, .. })) => {
            let word = record.lcf().formats().word(selection);
            if check.space == Some(id) && check.format == Some(word) {
                return Ok(());
            }
            "URI"
        }
        Some(LinkDecision::Preflight) => "method",
    };
    request.error(format_args!(
        "request for space \"{id}\" refused: its {what} was changed after its link was verified"
    ));
    record.decided.set_outcome(Outcome::BadLink);
    Err(Action::Respond(403))
}
