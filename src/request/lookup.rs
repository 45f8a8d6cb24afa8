//! The lookup: has an application say who may fetch a space and what its files are.
//!
//! nginx asks a location of the configuration by a subrequest. Its response is collected here and
//! never reaches the client; what it means says the crate `model`.

#![forbid(unsafe_code)]

use core::cell::{Cell, RefCell};
use core::{mem, ptr};

use model::catalog::Catalog;
use model::format::{Formats, Selection};
use model::lookup::{
    ContentError, Decision, LookupError, LookupQuery, LookupResponse, Refusal, decide,
    forwards_field,
};
use model::request::SpaceId;

use crate::config::{LocationConf, LookupSetting};
use crate::nginx::Failure;
use crate::nginx::log::{Level, Text};
use crate::nginx::module::RequestData;
use crate::nginx::request::Request;
use crate::nginx::subrequest::{Content, Ending, NotStarted, Piece};

/// What is known of the lookup of a request.
#[derive(Debug)]
pub(crate) struct Lookup<'r> {
    subrequest: Request<'r>,
    /// What has come of the response's content.
    content: RefCell<Vec<u8>>,
    /// Whether all of it has come.
    complete: Cell<bool>,
    /// Why the response will not do.
    unusable: Cell<Option<Unusable>>,
    ending: Cell<Option<Ending>>,
    /// Whether the answer was judged: its content is gone then.
    judged: Cell<bool>,
}

/// Why a response will not do, whatever its status.
#[derive(Clone, Copy, Debug)]
enum Unusable {
    Content(ContentError),
    Redirected,
    Circle,
    OutOfMemory,
}

/// How far a lookup is.
#[derive(Debug)]
pub(crate) enum Told {
    /// There is no answer yet.
    NotYet,
    /// The entry of the space: a catalog of this one.
    Entry(Catalog),
    /// Catalog and directory decide.
    Undecided,
    Denied(Refusal),
    /// The answer means nothing; the log says why.
    Failed,
}

impl<'r> Lookup<'r> {
    /// Asks about a space, for a request that has a value of the type `T`.
    pub(crate) fn start<T: RequestData>(
        request: &Request<'r>,
        lookup: &LookupSetting,
        id: SpaceId<'r>,
        formats: &Formats,
        selection: Selection,
    ) -> Result<Self, NotStarted> {
        let question = LookupQuery { id, format: formats.word(selection) };
        let buffer = request.pool().bytes(question.buffer_len())?;
        let args =
            question.write(buffer).ok_or(Failure("query string of the lookup does not fit"))?;
        request.debug(format_args!("xspace lookup: \"{}?{}\"", Text(lookup.uri), Text(args)));
        let subrequest = request.start_subrequest::<T>(
            lookup.uri,
            args,
            forwards_field,
            lookup.request_id.get().copied().flatten(),
        )?;
        Ok(Self {
            subrequest,
            content: RefCell::default(),
            complete: Cell::default(),
            unusable: Cell::default(),
            ending: Cell::default(),
            judged: Cell::default(),
        })
    }

    /// Whether a request is the subrequest that asks.
    pub(crate) fn asks_by(&self, request: &Request<'r>) -> bool {
        ptr::eq(self.subrequest.as_raw(), request.as_raw())
    }

    /// The subrequest has come to a location; returns whether it may go on there.
    pub(crate) fn may_enter(&self, lcf: &LocationConf) -> bool {
        if lcf.download().is_some() {
            self.note(Unusable::Circle);
        } else if self.subrequest.was_redirected_by_upstream() {
            self.note(Unusable::Redirected);
        } else {
            return true;
        }
        false
    }

    /// Keeps what has come of the response from the client.
    pub(crate) fn collect(&self, content: Content) {
        let is_wanted = self.subrequest.status() == 200;
        content.consume(|piece| match piece {
            Piece::End => self.complete.set(true),
            Piece::Bytes(bytes) if is_wanted => self.add(bytes),
            Piece::Unreadable if is_wanted => {
                self.note(Unusable::Content(ContentError::Unreadable))
            }
            Piece::Bytes(_) | Piece::Unreadable => {}
        });
    }

    fn add(&self, bytes: &[u8]) {
        // Not borrowed elsewhere: nobody is called from here.
        let mut content = self.content.borrow_mut();
        let limit = self.subrequest.output_buffer_size();
        if bytes.len() > limit.saturating_sub(content.len()) {
            self.note(Unusable::Content(ContentError::TooLarge(limit)));
        } else if content.try_reserve(bytes.len()).is_err() {
            self.note(Unusable::OutOfMemory);
        } else {
            content.extend_from_slice(bytes);
        }
    }

    fn note(&self, why: Unusable) {
        // The first one tells why.
        self.unusable.set(self.unusable.get().or(Some(why)));
    }

    /// The handler of the subrequest has ended, maybe to begin an error page: then this is called
    /// once more.
    pub(crate) fn end(&self, ending: Ending) {
        self.ending.set(Some(ending));
    }

    /// The values of the answer's fields of this name. What the location hides is not there.
    pub(crate) fn response_field(
        &self,
        name: &'static str,
    ) -> impl Iterator<Item = &'r [u8]> + use<'r> {
        self.subrequest.response_field(name)
    }

    /// What the answer says, when it is there. It is said once.
    pub(crate) fn told(
        &self,
        request: &Request<'r>,
        lookup: &LookupSetting,
        id: SpaceId<'_>,
    ) -> Result<Told, Failure> {
        if !self.subrequest.is_done() {
            return Ok(Told::NotYet);
        }
        request.release(&self.subrequest);
        request.clear_log_action();
        if self.judged.replace(true) {
            // Without its content the answer would leave the decision to others.
            return Err(Failure("answer of the lookup was judged before"));
        }
        request.debug(format_args!("xspace lookup done: status {}", self.subrequest.status()));
        Ok(match self.verdict(id)? {
            Ok(Decision::Undecided) => Told::Undecided,
            Ok(Decision::Denied(denial)) => Told::Denied(denial),
            Ok(Decision::Entry(entry)) => Told::Entry(entry),
            Err(why) => {
                let uri = Text(lookup.uri);
                request.log(
                    Level::Error,
                    0,
                    format_args!("lookup \"{uri}\" of space \"{id}\" failed: {why}"),
                );
                Told::Failed
            }
        })
    }

    fn verdict(&self, id: SpaceId<'_>) -> Result<Result<Decision, LookupError>, Failure> {
        let ending = self.ending.get();
        let content = mem::take(&mut *self.content.borrow_mut());
        let content = match self.unusable.get() {
            _ if self.subrequest.was_redirected_by_upstream() => {
                return Ok(Err(LookupError::Redirected));
            }
            Some(Unusable::Redirected) => return Ok(Err(LookupError::Redirected)),
            Some(Unusable::Circle) => return Ok(Err(LookupError::Circle)),
            Some(Unusable::OutOfMemory) => return Err(Failure::NO_MEMORY),
            Some(Unusable::Content(fault)) => Err(fault),
            None => self.fault(content.is_empty()).map_or(Ok(&*content), Err),
        };
        // A handler may end without a response.
        let status = match self.subrequest.status() {
            0 => ending.map_or(0, Ending::status),
            status => status,
        };
        let encoding = self.subrequest.response_field("Content-Encoding").next();
        Ok(decide(id, LookupResponse { status, encoding, content }))
    }

    /// Why the content of the response can't be taken as a whole one.
    fn fault(&self, is_empty: bool) -> Option<ContentError> {
        let is_exhausted = self.complete.get() || self.subrequest.has_no_content();
        if !is_exhausted || self.ending.get().is_some_and(Ending::is_error) {
            Some(ContentError::Incomplete)
        } else if is_empty && self.subrequest.ends_with_connection() {
            // It would be a permission. Anything longer is JSON, which tells its own end.
            Some(ContentError::Unframed)
        } else {
            None
        }
    }
}
