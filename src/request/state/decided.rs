//! What was decided: the outcome, what is known of the recording, and the redirect to its file.

#![forbid(unsafe_code)]

use core::cell::{Cell, OnceCell};
use core::ptr;
#[cfg(feature = "plays")]
use core::time::Duration;

use model::disposition::Disposition;
use model::filename::CleanTitle;
use model::format::Format;
use model::request::SpaceId;

use crate::config::{LocationConf, MainConf};
use crate::nginx::Failure;
use crate::nginx::request::Request;
use crate::request::lookup::Lookup;
use crate::request::search::FoundFile;

/// How a request has ended, for `$xspace_outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Found,
    NotFound,
    Forbidden,
    /// The lookup has refused the client.
    Denied,
    /// The entry has a status.
    Status,
    BadId,
    BadMethod,
    Error,
    /// The link is missing or not good.
    #[cfg_attr(not(feature = "links"), allow(dead_code, reason = "for links"))]
    BadLink,
}

impl Outcome {
    /// All of them, in order; counts in shared memory have their numbers.
    #[cfg(feature = "plays")]
    pub(crate) const ALL: [Self; 9] = [
        Self::Found,
        Self::NotFound,
        Self::Forbidden,
        Self::Denied,
        Self::Status,
        Self::BadId,
        Self::BadMethod,
        Self::Error,
        Self::BadLink,
    ];

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
            Self::BadLink => "bad_link",
        }
    }
}

/// Where the file's name is from, for `$xspace_source`.
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

/// What was decided about a request.
#[derive(Debug, Default)]
pub(crate) struct Decided<'r> {
    /// Boxed, because most sites have no lookup.
    lookup: OnceCell<Box<Lookup<'r>>>,
    /// A copy in the request's pool.
    title: OnceCell<CleanTitle<'r>>,
    disposition: Cell<Disposition>,
    outcome: Cell<Option<Outcome>>,
    redirect: OnceCell<Redirect<'r>>,
    #[cfg(feature = "plays")]
    duration: Cell<u64>,
}

impl<'r> Decided<'r> {
    pub(crate) fn lookup(&self) -> Option<&Lookup<'r>> {
        self.lookup.get().map(|lookup| &**lookup)
    }

    pub(crate) fn set_lookup(&self, lookup: Box<Lookup<'r>>) {
        // A request has one lookup; the caller has checked that there is none yet.
        let _ = self.lookup.set(lookup);
    }

    /// The title in the space's entry.
    pub(crate) fn title(&self) -> Option<&CleanTitle<'r>> {
        self.title.get()
    }

    /// Copies a title, whose entry may be freed when the handler returns.
    pub(crate) fn set_title(
        &self,
        request: &Request<'r>,
        title: CleanTitle<'_>,
    ) -> Result<(), Failure> {
        let text = request.pool().concat(title.parts())?;
        if let Some(title) = title.kept(text) {
            // A request has one entry.
            let _ = self.title.set(title);
        }
        Ok(())
    }

    /// How long the recording is in milliseconds; 0 if it is not known.
    #[cfg(feature = "plays")]
    pub(crate) fn duration(&self) -> u64 {
        self.duration.get()
    }

    #[cfg(feature = "plays")]
    pub(crate) fn set_duration(&self, duration: Duration) {
        self.duration.set(u64::try_from(duration.as_millis()).unwrap_or(0));
    }

    pub(crate) fn disposition(&self) -> Disposition {
        self.disposition.get()
    }

    pub(crate) fn set_disposition(&self, disposition: Disposition) {
        self.disposition.set(disposition);
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.outcome.get()
    }

    pub(crate) fn set_outcome(&self, outcome: Outcome) {
        self.outcome.set(Some(outcome));
    }

    /// Another module has let in the client that was refused.
    #[cfg(feature = "links")]
    pub(crate) fn clear_outcome(&self) {
        self.outcome.set(None);
    }

    pub(crate) fn redirect(&self) -> Option<&Redirect<'r>> {
        self.redirect.get()
    }

    /// Notes the file to which the request is about to be redirected.
    pub(crate) fn set_redirect(&self, redirect: Redirect<'r>) {
        self.set_outcome(Outcome::Found);
        // There is one only: a request that returns to the location gets another record.
        let _ = self.redirect.set(redirect);
    }
}

/// Whether the rewrite directives of a location have run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RewriteStage {
    Start,
    End,
}

/// The redirect to a file, and what has happened since.
#[derive(Debug)]
pub(crate) struct Redirect<'r> {
    pub(crate) id: SpaceId<'r>,
    pub(crate) format: &'static Format,
    /// The path below the target.
    pub(crate) file: &'r [u8],
    pub(crate) source: Source,
    /// The size of the file in bytes; 0 if it was not examined.
    #[cfg_attr(not(feature = "plays"), allow(dead_code, reason = "for counts of plays"))]
    pub(crate) size: u64,
    /// The error state at the redirect; a later error changes it.
    error_state: (usize, bool),
    has_error_page: Cell<bool>,
    /// The client's query string; empty if `xspace_pass_args` is on.
    client_args: &'r [u8],
    /// Whether it was removed on arrival in the current location.
    args_removed: Cell<bool>,
}

impl<'r> Redirect<'r> {
    pub(crate) fn new(
        request: &Request<'r>,
        lcf: &LocationConf,
        id: SpaceId<'r>,
        found: FoundFile<'r>,
        file: &'r [u8],
        source: Source,
    ) -> Self {
        Self {
            id,
            format: found.format,
            file,
            source,
            size: found.size,
            error_state: request.error_state(),
            has_error_page: Cell::default(),
            client_args: if lcf.passes_args() { &[] } else { request.args() },
            args_removed: Cell::default(),
        }
    }

    /// Detects an error, when the request arrives in another location, by the missing media type,
    /// which was set at the redirect: only the core removes it, when it responds with an error.
    pub(crate) fn detect_error_page(&self, request: &Request<'r>) {
        if request.is_main() && request.content_type().is_empty() {
            self.has_error_page.set(true);
        }
    }

    /// Whether an error has led to another location since the redirect.
    pub(super) fn has_error_page(&self) -> bool {
        self.has_error_page.get()
    }

    /// Whether the response is an error or its page, not the file.
    pub(crate) fn is_error(&self, request: &Request<'r>) -> bool {
        self.has_error_page.get() || self.error_state != request.error_state()
    }

    /// The status of the error whose page the file is; 0 if there was none.
    pub(crate) fn error_status(&self) -> usize {
        self.error_state.0
    }

    /// Removes the client's query string, unless nginx itself serves the file: an origin would act on
    /// it (`?acl`, a version, a token), and an application with X-Accel-Redirect does not pass it on
    /// either. Arguments that the configuration or an origin has set stay.
    pub(crate) fn remove_client_args(&self, request: &Request<'r>, stage: RewriteStage) {
        let was_removed = self.args_removed.take();
        let args = self.client_args;
        if args.is_empty() || !request.has_content_handler() {
            return;
        }
        let known = request.main_conf::<MainConf>().and_then(|main| main.seek_handlers.get());
        let is_other = request.has_other_content_handler(known.copied().unwrap_or_default());
        if !is_other || stage == RewriteStage::End && was_removed {
            return;
        }
        request.debug(format_args!("xspace arguments removed"));
        let current = request.args();
        if ptr::eq(current, args) {
            request.set_args(&[]);
        }
        if stage == RewriteStage::Start {
            self.args_removed.set(true);
        } else if let Some(own) = current.strip_suffix(args) {
            // `rewrite` has appended them to its own, and an `if` block has a content handler that
            // its location does not have.
            own.strip_suffix(b"&").into_iter().for_each(|own| request.set_args(own));
        }
    }
}
