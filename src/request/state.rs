//! What the module remembers of a request, from before the redirect to the access log.
//!
//! nginx empties every module's context at an internal redirect, so the record is kept in the
//! request's pool. Subrequests share the pool of the main request; a record knows whose it is.

#![forbid(unsafe_code)]

use core::cell::{Cell, OnceCell};
use core::ptr;

use model::disposition::Disposition;
use model::filename::CleanTitle;
use model::format::Format;
use model::request::SpaceRequest;
use nginx_sys::ngx_http_request_t;

use crate::config::{LocationConf, MainConf};
use crate::nginx::Failure;
use crate::nginx::request::Request;
use crate::request::lookup::Lookup;

/// How a request went, for `$xspace_outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Found,
    NotFound,
    Forbidden,
    /// The lookup has refused the client.
    Denied,
    /// The entry says with which status to answer.
    Status,
    BadId,
    BadMethod,
    Error,
}

impl Outcome {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::NotFound => "not_found",
            Self::Forbidden => "forbidden",
            Self::Denied => "denied",
            Self::Status => "status",
            Self::BadId => "bad_id",
            Self::BadMethod => "bad_method",
            Self::Error => "error",
        }
    }
}

/// What named the file, for `$xspace_source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Lookup,
    Catalog,
    Directory,
}

impl Source {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Catalog => "catalog",
            Self::Directory => "directory",
        }
    }
}

/// The file that a request was redirected to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'r> {
    pub(crate) format: &'static Format,
    /// The path below the target.
    pub(crate) file: &'r [u8],
    pub(crate) source: Source,
}

/// Whether the rewrite directives of a location have acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rewriting {
    Begins,
    IsDone,
}

/// What the module remembers of a request.
#[derive(Debug)]
pub(crate) struct Record<'r> {
    owner: *const ngx_http_request_t,
    lcf: Cell<&'static LocationConf>,
    /// Path and query string with which the request came to the location: an error page may have
    /// others.
    uri: Cell<&'r [u8]>,
    args: Cell<&'r [u8]>,
    /// What is asked for; `None` outside where that is not known yet.
    asked: Cell<Option<Option<SpaceRequest<'r>>>>,
    /// Whether the request has stayed in the location when all rewriting was done.
    stayed: Cell<bool>,
    /// What an application was asked, once it was. Most sites have no lookup: boxed, it makes
    /// their records no larger.
    pub(crate) lookup: OnceCell<Box<Lookup<'r>>>,
    /// The space's title, once lookup or catalog have said it; a copy in the request's pool.
    title: Cell<Option<CleanTitle<'r>>>,
    pub(crate) disposition: Cell<Disposition>,
    pub(crate) outcome: Cell<Option<Outcome>>,
    pub(crate) found: OnceCell<Found<'r>>,
    /// The Content-Disposition that was added to the response.
    pub(crate) field: Cell<Option<&'r [u8]>>,
    /// Whether the client's query string was taken away when the request came to its location.
    args_removed: Cell<bool>,
    /// The field that was added to the module's own refusal, and the status of that.
    refusal_field: Cell<Option<(i16, &'static str)>>,
    /// Whether the response was told what to say to caches.
    pub(crate) caching: Cell<bool>,
    /// The state of error answers at the redirect: a later one differs from it.
    errors_before: Cell<(usize, bool)>,
    /// Whether an error was answered, or its page begun, since the redirect.
    error_page: Cell<bool>,
}

impl<'r> Record<'r> {
    /// The record of a request, if it has one.
    pub(crate) fn find(request: &Request<'r>) -> Option<&'r Self> {
        request.context(|record: &Self| ptr::eq(record.owner, request.as_raw()))
    }

    /// The lookup that a request is the subrequest of.
    pub(crate) fn lookup_by(request: &Request<'r>) -> Option<&'r Lookup<'r>> {
        if request.is_main() {
            return None;
        }
        let lookup = Self::find(&request.parent()?)?.lookup.get()?;
        lookup.asks_by(request).then_some(lookup)
    }

    /// Begins the record of a request that has come to a location where the module is on. A second
    /// location (an `error_page`, say, that leads to another space) begins another one.
    pub(crate) fn begin(
        request: &Request<'r>,
        lcf: &'static LocationConf,
    ) -> Result<&'r Self, Failure> {
        let before = Self::find(request);
        let record = request.set_context(|| Self {
            owner: request.as_raw(),
            lcf: Cell::new(lcf),
            uri: Cell::new(request.uri()),
            args: Cell::new(request.args()),
            asked: Cell::default(),
            stayed: Cell::default(),
            lookup: OnceCell::new(),
            title: Cell::default(),
            disposition: Cell::default(),
            outcome: Cell::default(),
            found: OnceCell::new(),
            field: Cell::new(before.and_then(|before| before.field.get())),
            args_removed: Cell::default(),
            refusal_field: Cell::new(before.and_then(|before| before.refusal_field.get())),
            caching: Cell::new(before.is_some_and(|before| before.caching.get())),
            errors_before: Cell::default(),
            error_page: Cell::default(),
        })?;
        if lcf.asks_by_uri_alone() {
            record.asked.set(Some(asked(request, lcf, record.uri.get())?));
        }
        Ok(record)
    }

    /// The record of a request that is still in the location, or in the block of an `if` there,
    /// when all rewriting is done.
    #[inline]
    pub(crate) fn stay(
        request: &Request<'r>,
        lcf: &'static LocationConf,
    ) -> Result<&'r Self, Failure> {
        let record = match Self::find(request) {
            Some(record) => record,
            None => Self::begin(request, lcf)?,
        };
        let same =
            ptr::eq(record.lcf.get(), lcf) && request.has_uri(record.uri.get(), record.args.get());
        if !same {
            record.ask_anew(request, lcf)?;
        }
        record.stayed.set(true);
        Ok(record)
    }

    /// Takes path, query string and configuration as they are now: a rewrite or an `if` has changed
    /// them. What else was found out stays.
    #[inline(never)]
    fn ask_anew(&self, request: &Request<'r>, lcf: &'static LocationConf) -> Result<(), Failure> {
        self.lcf.set(lcf);
        self.uri.set(request.uri());
        self.args.set(request.args());
        self.asked.set(None);
        if lcf.asks_by_uri_alone() {
            self.settle(request)?;
        }
        Ok(())
    }

    /// Finds out what is asked for, if that is not known, and keeps to it from now on. Variables of
    /// other modules are evaluated by this, and nginx may keep their values: access control has to
    /// be done by then.
    // Inlined, for where a site asks by URI alone it is settled: 21 instructions of a request.
    #[inline(always)]
    pub(crate) fn settle(
        &self,
        request: &Request<'r>,
    ) -> Result<Option<SpaceRequest<'r>>, Failure> {
        self.asked.get().map_or_else(|| self.find_out(request), Ok)
    }

    #[inline(never)]
    fn find_out(&self, request: &Request<'r>) -> Result<Option<SpaceRequest<'r>>, Failure> {
        if let Some(before) = self.before(request).filter(|before| before.is_current(request)) {
            // Of one that was refused earlier nobody has asked yet, and what is evaluated now may
            // want it.
            before.settle(request)?;
        }
        let asked = asked(request, self.lcf.get(), self.uri.get())?;
        self.asked.set(Some(asked));
        Ok(asked)
    }

    /// The record that the request had before this one.
    fn before(&self, request: &Request<'r>) -> Option<&'r Self> {
        let mut records = request.contexts(|record: &Self| ptr::eq(record.owner, request.as_raw()));
        records.find(|record| ptr::eq(*record, self))?;
        records.next()
    }

    /// What was asked for in the latest location of the request where that is settled: for values
    /// that are evaluated to find out what is asked for, such as `$xspace_id` in `xspace_id` of a
    /// location that an error has led to. Nothing is evaluated for it: nginx takes the length of a
    /// value first and then copies it, and must find the same variables both times.
    pub(crate) fn settled(
        request: &Request<'r>,
    ) -> Option<(Option<SpaceRequest<'r>>, &'static LocationConf)> {
        request
            .contexts(|record: &Self| ptr::eq(record.owner, request.as_raw()))
            .filter(|record| record.is_current(request))
            .find_map(|record| Some((record.asked.get()?, record.lcf())))
    }

    /// The location's configuration where the record was begun, also after the redirect.
    pub(crate) fn lcf(&self) -> &'static LocationConf {
        self.lcf.get()
    }

    /// What is asked for; `None` if no valid id is named.
    pub(crate) fn asked(&self, request: &Request<'r>) -> Result<Option<SpaceRequest<'r>>, Failure> {
        match self.asked.get() {
            Some(asked) => Ok(asked),
            None => asked(request, self.lcf.get(), self.uri.get()),
        }
    }

    /// Whether the request is still the module's: not if a rewrite has taken it elsewhere.
    pub(crate) fn is_current(&self, request: &Request<'r>) -> bool {
        self.stayed.get() || request.error_state() != (0, false)
    }

    /// The space's title, if lookup or catalog have said one.
    pub(crate) fn title(&self) -> Option<CleanTitle<'r>> {
        self.title.get()
    }

    /// Keeps a title, which may be gone when the handler returns.
    #[inline(always)]
    pub(crate) fn keep_title(
        &self,
        request: &Request<'r>,
        title: Option<CleanTitle<'_>>,
    ) -> Result<(), Failure> {
        let Some(title) = title else { return Ok(()) };
        let text = request.pool().concat_text(title.parts())?;
        self.title.set(title.kept(text));
        Ok(())
    }

    /// Adds a field to the answer that the module is about to give with this status, in the place
    /// of that of an earlier refusal whose error page this is.
    pub(crate) fn add_refusal_field(
        &self,
        request: &Request<'r>,
        status: i16,
        name: &'static str,
        values: impl IntoIterator<Item = &'r [u8]>,
    ) -> Result<(), Failure> {
        if let Some((_, earlier)) = self.refusal_field.replace(Some((status, name))) {
            request.remove_field_by_name_of(earlier);
        }
        values.into_iter().try_for_each(|value| request.add_field(name, value))
    }

    /// Takes the field back unless the response answers with the refusal's status: whoever answers
    /// in its place (`error_page 401 =302 /login`, `error_page 503 = @app`) has fields of his own.
    /// So may have who writes the page of the same status (`error_page 503 @app`).
    pub(crate) fn keep_refusal_field_of_status(&self, request: &Request<'r>) {
        let Some((status, name)) = self.refusal_field.get() else { return };
        let is_answered = usize::try_from(status) == Ok(request.error_state().0);
        if !is_answered || request.has_field_beside(name) {
            request.remove_field_by_name_of(name);
        }
    }

    /// Notes the file that the request is about to be redirected to.
    pub(crate) fn set_found(&self, request: &Request<'r>, found: Found<'r>) {
        self.outcome.set(Some(Outcome::Found));
        // Once only: whatever leads the request back to the location begins another record.
        let _ = self.found.set(found);
        self.errors_before.set(request.error_state());
    }

    /// Notes whether an error was answered since the redirect. Called when the request comes to
    /// another location, before that can have made a response: only the core, when it answers an
    /// error, removes the media type that was set at the redirect.
    pub(crate) fn note_error_page(&self, request: &Request<'r>) {
        if self.found.get().is_some() && !request.has_any_content_type() {
            self.error_page.set(true);
        }
    }

    /// Takes the client's query string away once the request was redirected, unless nginx itself
    /// serves the file: to an origin it would say what the client wants of it (`?acl`, a version, a
    /// token), which an application's X-Accel-Redirect does not let through either. What the
    /// configuration or an origin has put in its place stays.
    #[inline]
    pub(crate) fn keep_args_from_others(&self, request: &Request<'r>, rewriting: Rewriting) {
        let was_removed = self.args_removed.take();
        let may_be_other = request.has_content_handler() && self.found.get().is_some();
        if !may_be_other || self.lcf.get().passes_args() {
            return;
        }
        let known = request.main_conf::<MainConf>().and_then(|main| main.seek_handlers.get());
        if !request.has_other_content_handler(known.copied().unwrap_or_default()) {
            return;
        }
        if rewriting == Rewriting::IsDone && was_removed {
            return;
        }
        request.debug(format_args!("xspace arguments removed"));
        request.remove_args(self.args.get());
        match rewriting {
            Rewriting::Begins => self.args_removed.set(true),
            // The block of an `if` has another content handler than the location.
            Rewriting::IsDone => request.remove_args_behind_others(self.args.get()),
        }
    }

    /// Whether the response that is being made is an error page, not the file.
    pub(crate) fn is_error_page(&self, request: &Request<'r>) -> bool {
        self.error_page.get() || self.errors_before.get() != request.error_state()
    }

    /// The status with which the file is sent if it is itself the page of an error; 0 if it is not.
    pub(crate) fn status_before(&self) -> usize {
        self.errors_before.get().0
    }

    /// Whether the response is what the module's decision has led to: the file, an error in its
    /// place, or the module's own refusal; not if an error page has led to another location.
    pub(crate) fn is_answer_of(&self, request: &Request<'r>) -> bool {
        match self.found.get() {
            Some(_) => !self.error_page.get(),
            None => request
                .location_conf::<LocationConf>()
                .is_some_and(|lcf| ptr::eq(lcf, self.lcf.get())),
        }
    }
}

/// What a request asks for in a location. `None`: no valid id.
// Inlined: every request passes it in `begin`, where a call would take 40 instructions.
#[inline(always)]
pub(crate) fn asked<'r>(
    request: &Request<'r>,
    lcf: &LocationConf,
    uri: &'r [u8],
) -> Result<Option<SpaceRequest<'r>>, Failure> {
    let (Some(download), Some(formats)) = (lcf.download(), lcf.formats()) else {
        return Ok(None);
    };
    let resource = lcf.resource(download, request, uri)?;
    let mut failed = None;
    let asked = SpaceRequest::parse(resource, formats, || {
        lcf.format(request).map_err(|error| failed = Some(error)).ok()
    });
    failed.map_or(Ok(asked.ok()), Err)
}
