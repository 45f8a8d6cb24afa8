//! LOG: counts a request when it has ended, before its line is written to an access log.

#![forbid(unsafe_code)]

use model::disposition::Disposition;
#[cfg(feature = "links")]
use model::links::Status;
use model::play::complete_length;
use model::plays::{Listener, Sent, Zone};

use super::Counting;
use super::zone::random;
use crate::nginx::Failure;
use crate::nginx::guard::fault_point;
use crate::nginx::request::Request;
use crate::nginx::time::now;
use crate::nginx::zone::worker_number;
use crate::request::lookup::Lookup;
use crate::request::state::{Outcome, Record, Space};

/// The record of a request that is counted, and how.
pub(crate) fn of<'r>(request: &Request<'r>) -> Option<(&'r Record<'r>, Counting<'static>)> {
    if !request.is_main() {
        return None;
    }
    let record = Record::find(request).filter(|record| record.applies(request))?;
    Some((record, record.lcf().counting()?))
}

/// Counts a client's request in a location with `xspace_stats`: its outcome, what it has sent of the
/// recording, and whether that is the listener's play.
pub(crate) fn log_handler<'r>(
    request: &Request<'r>,
    record: &'r Record<'r>,
    counting: Counting<'_>,
) -> Result<(), Failure> {
    fault_point("log");
    let Some(tables) = counting.zone.tables() else { return Ok(()) };
    let process = worker_number();
    #[cfg(feature = "links")]
    if let Some(reason) = refused_link(record) {
        tables.count_link_refused(process, reason);
    }
    if let Some(milliseconds) = record.decided.lookup().and_then(Lookup::duration) {
        tables.count_lookup(process, milliseconds);
    }
    let counted = count_recording(request, record, counting, tables, process);
    // At last: where the request is in the sums, all of it is.
    tables.count_request(process, number_of(record.decided.outcome()));
    counted
}

/// Counts what a request has sent of its recording, if it has.
fn count_recording<'r>(
    request: &Request<'r>,
    record: &'r Record<'r>,
    counting: Counting<'_>,
    tables: &Zone<'_>,
    process: usize,
) -> Result<(), Failure> {
    let is_recording = record.added.is_recording();
    let Some(redirect) = record.decided.redirect().filter(|_| is_recording) else { return Ok(()) };
    let bytes = request.content_sent();
    if bytes == 0 || !matches!(request.status(), 200 | 206) {
        return Ok(());
    }
    let Space::Valid(space) = record.space(request)? else { return Ok(()) };
    let sent = Sent {
        space: space.id,
        bytes,
        size: if redirect.size > 0 { redirect.size } else { size_of_response(request) },
        duration: record.decided.duration(),
        is_attachment: record.decided.disposition() == Disposition::Attachment,
        started: request.started(),
    };
    // Without a listener at least the bytes are counted.
    let listener = counting.listener(request).unwrap_or_else(|why| {
        request.log_failure(why);
        None
    });
    if tables.count_sent(process, &sent, listener, &counting.play.rule, now(), random) {
        record.set_played();
    }
    Ok(())
}

/// The number of the reason why the request's link was refused. With `satisfy any` another module may
/// have let it in: then something was decided.
#[cfg(feature = "links")]
fn refused_link(record: &Record<'_>) -> Option<u8> {
    let reason = record.link()?.refused()?;
    if record.decided.outcome() != Some(Outcome::BadLink) {
        return None;
    }
    (0..).zip(Status::REFUSED).find_map(|(number, other)| (other == reason).then_some(number))
}

/// The number of an outcome among counts; 0 if the module has decided nothing.
fn number_of(outcome: Option<Outcome>) -> u8 {
    outcome.map_or(0, |outcome| outcome as u8 + 1)
}

/// The size of a file that was not examined before the redirect, from the response's header; 0 if it
/// has none.
fn size_of_response(request: &Request<'_>) -> u64 {
    let size = match request.status() {
        200 => request.content_length(),
        _ => request.response_field("Content-Range").next().and_then(complete_length),
    };
    size.unwrap_or(0)
}

impl Counting<'_> {
    /// Who listens; `None` if what is sent can't be a play.
    fn listener<'a>(&self, request: &Request<'a>) -> Result<Option<Listener<'a>>, Failure> {
        if let Some(condition) = self.play.condition {
            if matches!(condition.evaluate(request)?, b"" | b"0") {
                return Ok(None);
            }
        }
        Ok(Some(match self.listener {
            Some(value) => Listener::Value(value.evaluate(request)?),
            None => Listener::Client(request.client_address(), request.user_agent()),
        }))
    }
}
