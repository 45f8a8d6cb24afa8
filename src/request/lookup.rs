//! The lookup: an application decides who may fetch a space, and what its files are.
//!
//! The application is behind a location, to which a subrequest is sent. The response is collected
//! here and never reaches the client; the crate `model` decides what it means.

#![forbid(unsafe_code)]

use core::cell::{Cell, RefCell};
use core::{mem, ptr};

use model::catalog::ReadError;
use model::lookup::{ContentError, Decision, LookupError, LookupQuery, LookupResponse, decide};
use model::request::SpaceId;

use crate::config::{LocationConf, LookupSetting};
use crate::nginx::Failure;
use crate::nginx::log::Text;
use crate::nginx::module::RequestData;
use crate::nginx::request::Request;
use crate::nginx::subrequest::{Content, Ending, NotStarted, Piece};
#[cfg(feature = "plays")]
use crate::nginx::time::milliseconds;

/// The lookup of a request.
#[derive(Debug)]
pub(crate) struct Lookup<'r> {
    subrequest: Request<'r>,
    /// The content that has been received.
    content: RefCell<Vec<u8>>,
    /// Whether all of it has been received.
    is_complete: Cell<bool>,
    /// The first fault of the response.
    fault: Cell<Option<Fault>>,
    ending: Cell<Option<Ending>>,
    /// Whether the response was evaluated; its content is freed then.
    is_evaluated: Cell<bool>,
    /// When the subrequest was started and when it ended, in milliseconds of the event loop's clock.
    #[cfg(feature = "plays")]
    times: (u64, Cell<Option<u64>>),
}

/// Why a response is not accepted, whatever its status.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Content(ContentError),
    Redirected,
    Circle,
    OutOfMemory,
}

/// The state of a lookup.
#[derive(Debug)]
pub(crate) enum LookupState {
    Pending,
    Answered(Decision),
    /// The response is invalid or missing; the error log has the reason.
    Failed,
}

impl<'r> Lookup<'r> {
    /// Starts the lookup of a space, for a request that has a context of the type `T`. `format` is
    /// the requested one.
    pub(crate) fn start<T: RequestData>(
        request: &Request<'r>,
        lookup: &LookupSetting,
        id: SpaceId<'r>,
        format: &str,
    ) -> Result<Self, NotStarted> {
        let args = request.pool().write(&LookupQuery { id, format })?;
        request.debug(format_args!("xspace lookup: \"{}?{}\"", Text(lookup.uri), Text(args)));
        let setting = lookup.subrequest()?;
        Ok(Self {
            subrequest: request.start_subrequest::<T>(lookup.uri, args, setting)?,
            content: RefCell::default(),
            is_complete: Cell::default(),
            fault: Cell::default(),
            ending: Cell::default(),
            is_evaluated: Cell::default(),
            #[cfg(feature = "plays")]
            times: (milliseconds(), Cell::default()),
        })
    }

    /// Whether a request is the lookup's subrequest.
    pub(crate) fn has_subrequest(&self, request: &Request<'r>) -> bool {
        ptr::eq(self.subrequest.as_raw(), request.as_raw())
    }

    /// Whether the subrequest, which has arrived in a location, may continue there.
    pub(crate) fn may_enter(&self, lcf: &LocationConf) -> bool {
        if lcf.download().is_some() {
            self.set_fault(Fault::Circle);
        } else if self.subrequest.was_redirected_by_upstream() {
            self.set_fault(Fault::Redirected);
        } else {
            return true;
        }
        false
    }

    /// Collects content of the response, which so does not reach the client.
    pub(crate) fn collect(&self, content: Content) {
        let is_wanted = self.subrequest.status() == 200;
        content.consume(|piece| match piece {
            Piece::End => self.is_complete.set(true),
            Piece::Bytes(bytes) if is_wanted => self.append(bytes),
            Piece::Unreadable if is_wanted => {
                self.set_fault(Fault::Content(ContentError::Unreadable));
            }
            Piece::Bytes(_) | Piece::Unreadable => {}
        });
    }

    fn append(&self, bytes: &[u8]) {
        // Not borrowed elsewhere: nothing that is called here uses it.
        let mut content = self.content.borrow_mut();
        let limit = self.subrequest.output_buffer_size();
        if bytes.len() > limit.saturating_sub(content.len()) {
            self.set_fault(Fault::Content(ContentError::TooLarge(limit)));
        } else if content.try_reserve(bytes.len()).is_err() {
            self.set_fault(Fault::OutOfMemory);
        } else {
            content.extend_from_slice(bytes);
        }
    }

    fn set_fault(&self, fault: Fault) {
        self.fault.set(self.fault.get().or(Some(fault)));
    }

    /// Notes the end of the subrequest's handler. If an error page follows, there is another end.
    pub(crate) fn end(&self, ending: Ending) {
        self.ending.set(Some(ending));
        #[cfg(feature = "plays")]
        self.times.1.set(Some(milliseconds()));
    }

    /// How long the lookup took, in milliseconds, if it has ended.
    #[cfg(feature = "plays")]
    pub(crate) fn duration(&self) -> Option<u64> {
        let (start, end) = &self.times;
        Some(end.get()?.saturating_sub(*start))
    }

    /// The values of the response's fields with this name, without those that the location hides.
    pub(crate) fn response_field(
        &self,
        name: &'static str,
    ) -> impl Iterator<Item = &'r [u8]> + use<'r> {
        self.subrequest.response_field(name)
    }

    /// The state of the lookup. A response can be evaluated once.
    pub(crate) fn state(
        &self,
        request: &Request<'r>,
        lookup: &LookupSetting,
        id: SpaceId<'_>,
    ) -> Result<LookupState, Failure> {
        if !self.subrequest.is_done() {
            return Ok(LookupState::Pending);
        }
        request.release_subrequest(&self.subrequest);
        request.clear_log_action();
        if self.is_evaluated.replace(true) {
            // Without its content the response would leave the decision to the catalog.
            return Err(Failure("lookup response was evaluated already"));
        }
        request.debug(format_args!("xspace lookup status: {}", self.subrequest.status()));
        if let Some(Fault::OutOfMemory) = self.fault.get() {
            return Err(Failure::NO_MEMORY);
        }
        let content = mem::take(&mut *self.content.borrow_mut());
        Ok(match self.decision(&content) {
            Ok(decision) => LookupState::Answered(decision),
            Err(LookupError::Invalid(ReadError::NoMemory)) => return Err(Failure::NO_MEMORY),
            Err(error) => {
                let uri = Text(lookup.uri);
                request.error(format_args!("lookup \"{uri}\" for space \"{id}\" failed: {error}"));
                LookupState::Failed
            }
        })
    }

    fn decision<'c>(&self, content: &'c [u8]) -> Result<Decision, LookupError<'c>>
    where
        'r: 'c,
    {
        let content = match self.fault.get() {
            _ if self.subrequest.was_redirected_by_upstream() => {
                return Err(LookupError::Redirected);
            }
            Some(Fault::Redirected) => return Err(LookupError::Redirected),
            Some(Fault::Circle) => return Err(LookupError::Circle),
            Some(Fault::Content(error)) => Err(error),
            None | Some(Fault::OutOfMemory) => self.check_end(content.is_empty()).map(|()| content),
        };
        // A handler may end without a response.
        let status = match self.subrequest.status() {
            0 => self.ending.get().map_or(0, Ending::status),
            status => status,
        };
        let encoding = self.subrequest.response_field("Content-Encoding").next();
        decide(LookupResponse { status, encoding, content })
    }

    /// Checks that the content is complete.
    fn check_end(&self, is_empty: bool) -> Result<(), ContentError> {
        let is_complete = self.is_complete.get() || self.subrequest.has_no_content();
        if !is_complete || self.ending.get().is_some_and(Ending::is_error) {
            Err(ContentError::Incomplete)
        } else if is_empty && self.subrequest.ends_with_connection() {
            // It would be a permission. Anything longer is JSON, whose end can be seen.
            Err(ContentError::Unframed)
        } else {
            Ok(())
        }
    }
}
