//! What the module remembers of a request, from its arrival to the access log.
//!
//! nginx clears the contexts of all modules on an internal redirect, so the record is kept in the
//! request's pool. Subrequests share the pool of the main request; a record knows its owner.

#![forbid(unsafe_code)]

mod added;
mod arrived;
mod decided;

use core::cell::Cell;
use core::ptr;

use model::filename::{FileName, MAX_LEN};
use nginx_sys::ngx_http_request_t;

use self::added::Added;
use self::arrived::Arrived;
pub(crate) use self::arrived::{Space, evaluate_space};
use self::decided::Decided;
pub(crate) use self::decided::{Outcome, Redirect, RewriteStage, Source};
use crate::config::LocationConf;
#[cfg(feature = "links")]
use crate::links::{LinkDecision, Verdict};
use crate::nginx::Failure;
use crate::nginx::request::Request;
use crate::request::lookup::Lookup;

/// The record of a request in one location with `xspace_download`. A second such location, to which
/// an `error_page` has led, say, gets another record.
#[derive(Debug)]
pub(crate) struct Record<'r> {
    owner: *const ngx_http_request_t,
    arrived: Arrived<'r>,
    /// Whether the request was still in the location when rewriting ended.
    is_rewritten: Cell<bool>,
    pub(crate) decided: Decided<'r>,
    pub(crate) added: Added,
    /// Whether the request has the listener's play; known in the log phase.
    #[cfg(feature = "plays")]
    is_played: Cell<bool>,
    #[cfg(feature = "links")]
    link: Cell<Option<LinkDecision<'r>>>,
}

impl<'r> Record<'r> {
    /// The latest record of a request.
    pub(crate) fn find(request: &Request<'r>) -> Option<&'r Self> {
        request.context(|record: &Self| ptr::eq(record.owner, request.as_raw()))
    }

    /// All records of a request, the latest first.
    fn all(request: &Request<'r>) -> impl Iterator<Item = &'r Self> {
        request.contexts(|record: &Self| ptr::eq(record.owner, request.as_raw()))
    }

    /// The redirect that has led a request to where it is.
    pub(crate) fn redirect(request: &Request<'r>) -> Option<&'r Redirect<'r>> {
        Self::find(request)?.decided.redirect()
    }

    /// The lookup whose subrequest a request is.
    pub(crate) fn lookup_of_subrequest(request: &Request<'r>) -> Option<&'r Lookup<'r>> {
        if request.is_main() {
            return None;
        }
        let lookup = Self::find(&request.parent()?)?.decided.lookup()?;
        lookup.has_subrequest(request).then_some(lookup)
    }

    /// Creates the record of a request that has arrived in a location.
    pub(crate) fn create(
        request: &Request<'r>,
        lcf: &'static LocationConf,
    ) -> Result<&'r Self, Failure> {
        let earlier = Self::find(request);
        let record = request.set_context(|| Self {
            owner: request.as_raw(),
            arrived: Arrived::new(request, lcf),
            is_rewritten: Cell::default(),
            decided: Decided::default(),
            // The response is the same one.
            added: earlier.map(|earlier| earlier.added.clone()).unwrap_or_default(),
            #[cfg(feature = "plays")]
            is_played: Cell::default(),
            #[cfg(feature = "links")]
            link: Cell::default(),
        })?;
        record.arrived.evaluate_early(request)?;
        Ok(record)
    }

    /// The record of a request that is still in the location, or in an `if` block of it, when
    /// rewriting has ended. What a rewrite or an `if` has changed is updated.
    pub(crate) fn after_rewrite(
        request: &Request<'r>,
        lcf: &'static LocationConf,
    ) -> Result<&'r Self, Failure> {
        let record = match Self::find(request) {
            Some(record) => record,
            None => Self::create(request, lcf)?,
        };
        record.arrived.update(request, lcf)?;
        record.is_rewritten.set(true);
        Ok(record)
    }

    /// Whether the record applies to the request: not if a rewrite has led to another location.
    pub(crate) fn applies(&self, request: &Request<'r>) -> bool {
        self.is_rewritten.get() || request.error_state() != (0, false)
    }

    /// Whether the request has the listener's play or download. Not known before the log phase.
    #[cfg(feature = "plays")]
    pub(crate) fn is_played(&self) -> bool {
        self.is_played.get()
    }

    #[cfg(feature = "plays")]
    pub(crate) fn set_played(&self) {
        self.is_played.set(true);
    }

    /// The configuration of the location in which the request has arrived, also after the redirect.
    pub(crate) fn lcf(&self) -> &'static LocationConf {
        self.arrived.lcf()
    }

    /// What was decided about the request's link in this location, if one is needed.
    #[cfg(feature = "links")]
    pub(crate) fn link_decision(&self) -> Option<LinkDecision<'r>> {
        self.link.get()
    }

    /// The verdict about the link, unless the request was let in without one.
    #[cfg(feature = "links")]
    pub(crate) fn link(&self) -> Option<&'r Verdict<'r>> {
        match self.link_decision() {
            Some(LinkDecision::Verdict(verdict)) => Some(verdict),
            Some(LinkDecision::Preflight) | None => None,
        }
    }

    #[cfg(feature = "links")]
    pub(crate) fn set_link(&self, decision: LinkDecision<'r>) {
        self.link.set(Some(decision));
    }

    /// The space that the request is for. Until that is fixed, it is evaluated on each call.
    pub(crate) fn space(&self, request: &Request<'r>) -> Result<Space<'r>, Failure> {
        self.arrived.space(request)
    }

    /// Evaluates the space that the request is for, and fixes it. This evaluates variables of other
    /// modules, whose values nginx may keep, so access control must have ended; a link, which has to
    /// be verified before, is for a space as well.
    pub(crate) fn fix_space(&self, request: &Request<'r>) -> Result<Space<'r>, Failure> {
        if let Some(space) = self.arrived.fixed_space() {
            return Ok(space);
        }
        // Variables may refer to the space of the location that an error has led from; if the request
        // was refused there, it is not fixed yet.
        let mut records = Self::all(request).skip_while(|record| !ptr::eq(*record, self));
        if let Some(earlier) = records.nth(1).filter(|earlier| earlier.applies(request)) {
            earlier.fix_space(request)?;
        }
        let space = self.arrived.space(request)?;
        self.arrived.fix_space(space);
        Ok(space)
    }

    /// The latest space that is fixed, and the configuration of its location. Values that are
    /// evaluated to find the space, such as `$xspace_id` in `xspace_id` of a location that an error
    /// has led to, take this one. Evaluating another one here could change variables between the
    /// two times that nginx reads them: for the length of a value and for its bytes.
    pub(crate) fn fixed_space(request: &Request<'r>) -> Option<(Space<'r>, &'static LocationConf)> {
        let arrived = Self::all(request).filter(|record| record.applies(request));
        arrived.map(|record| &record.arrived).find_map(|it| Some((it.fixed_space()?, it.lcf())))
    }

    /// The name to save the file under: `xspace_filename`, or made of title, id and extension.
    pub(crate) fn file_name<'a>(
        &'a self,
        request: &Request<'a>,
        redirect: &Redirect<'a>,
    ) -> Result<FileName<'a>, Failure> {
        let extension = redirect.format.extension();
        let default = FileName::with_title(self.decided.title(), redirect.id, extension);
        let Some(name) = self.lcf().filename() else { return Ok(default) };
        let buffer = request.pool().bytes(MAX_LEN)?;
        Ok(default.replaced_by(name.evaluate(request)?, buffer))
    }

    /// Whether the response is the result of the module's decision: the file, an error instead of
    /// it, or a refusal; not if an error page has led to another location.
    pub(crate) fn has_decided_response(&self, request: &Request<'r>) -> bool {
        match self.decided.redirect() {
            Some(redirect) => !redirect.has_error_page(),
            None => {
                request.location_conf::<LocationConf>().is_some_and(|lcf| ptr::eq(lcf, self.lcf()))
            }
        }
    }
}
