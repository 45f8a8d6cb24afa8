//! What the module remembers of a request, from before the redirect to the access log.
//!
//! nginx empties every module's context at an internal redirect, so the record is kept in the
//! request's pool. Subrequests share the pool of the main request; a record knows whose it is.

#![forbid(unsafe_code)]

use core::cell::Cell;
use core::ptr;

use model::disposition::Disposition;
use model::format::Format;
use model::request::Asked;
use nginx_sys::ngx_http_request_t;

use crate::config::LocationConf;
use crate::nginx::Failure;
use crate::nginx::request::Request;

/// How a request went, for `$xspace_outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Found,
    NotFound,
    Forbidden,
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
            Self::BadId => "bad_id",
            Self::BadMethod => "bad_method",
            Self::Error => "error",
        }
    }
}

/// What named the file, for `$xspace_source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Directory,
}

impl Source {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
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

/// What the module remembers of a request.
#[derive(Debug)]
pub(crate) struct Record<'r> {
    owner: *const ngx_http_request_t,
    lcf: Cell<&'static LocationConf>,
    asked: Cell<Option<Asked<'r>>>,
    pub(crate) disposition: Cell<Disposition>,
    pub(crate) outcome: Cell<Option<Outcome>>,
    pub(crate) found: Cell<Option<Found<'r>>>,
    /// The Content-Disposition that was added to the response.
    pub(crate) field: Cell<Option<&'r [u8]>>,
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

    /// Begins the record of a request that has come to a location where the module is on. A second
    /// location (an `error_page`, say, that leads to another space) takes the record over.
    pub(crate) fn begin(
        request: &Request<'r>,
        lcf: &'static LocationConf,
    ) -> Result<&'r Self, Failure> {
        let record = match Self::find(request) {
            Some(record) => {
                record.lcf.set(lcf);
                record.asked.set(None);
                record.disposition.set(Disposition::default());
                record.outcome.set(None);
                record.found.set(None);
                record.error_page.set(false);
                record
            }
            None => request.set_context(Self {
                owner: request.as_raw(),
                lcf: Cell::new(lcf),
                asked: Cell::new(None),
                disposition: Cell::default(),
                outcome: Cell::default(),
                found: Cell::default(),
                field: Cell::default(),
                errors_before: Cell::default(),
                error_page: Cell::default(),
            })?,
        };
        record.asked.set(asked(request, lcf)?);
        Ok(record)
    }

    /// The record begun in this location, with what is asked for as it is known now.
    pub(crate) fn in_location(
        request: &Request<'r>,
        lcf: &'static LocationConf,
    ) -> Result<&'r Self, Failure> {
        match Self::find(request) {
            Some(record) if ptr::eq(record.lcf.get(), lcf) && lcf.asks_by_uri_alone() => Ok(record),
            _ => Self::begin(request, lcf),
        }
    }

    /// The location's configuration where the record was begun, also after the redirect.
    pub(crate) fn lcf(&self) -> &'static LocationConf {
        self.lcf.get()
    }

    /// What is asked for; `None` if the URI names no valid id.
    pub(crate) fn asked(&self) -> Option<Asked<'r>> {
        self.asked.get()
    }

    /// Notes the file that the request is about to be redirected to.
    pub(crate) fn set_found(&self, request: &Request<'r>, found: Found<'r>) {
        self.outcome.set(Some(Outcome::Found));
        self.found.set(Some(found));
        self.errors_before.set(request.error_state());
    }

    /// Notes whether an error was answered since the redirect. Called when the request comes to a
    /// location, before that has made a response: the media type that was set at the redirect is
    /// still there, unless the core has removed it to answer an error.
    pub(crate) fn note_error_page(&self, request: &Request<'r>) {
        let cleared = |found: Found<'r>| !request.has_content_type(found.format.media_type());
        if self.found.get().is_some_and(cleared) {
            self.error_page.set(true);
        }
    }

    /// Whether the response that is being made is an error page, not the file.
    pub(crate) fn is_error_page(&self, request: &Request<'r>, found: &Found<'r>) -> bool {
        // A page that a `return` makes comes before `note_error_page` could see its location; only
        // an upstream replaces the media type of a response that is none.
        let replaced = !request.has_content_type(found.format.media_type());
        self.error_page.get()
            || self.errors_before.get() != request.error_state()
            || (replaced && !request.has_upstream())
    }
}

/// What a request asks for in a location. `None`: no valid id.
pub(crate) fn asked<'r>(
    request: &Request<'r>,
    lcf: &LocationConf,
) -> Result<Option<Asked<'r>>, Failure> {
    let (Some(download), Some(formats)) = (lcf.download(), lcf.formats()) else { return Ok(None) };
    let resource = lcf.resource(download, request)?;
    let mut failed = None;
    let asked = Asked::parse(resource, formats, || {
        lcf.format(request).map_err(|error| failed = Some(error)).ok()
    });
    failed.map_or(Ok(asked.ok()), Err)
}
