//! Answers a request for a space: decides, and redirects to the file.

#![forbid(unsafe_code)]

use core::fmt;
use std::os::unix::ffi::OsStrExt;

use model::catalog::{Catalog, Cause, Entry};
use model::choice::Miss;
use model::disposition::Disposition;
use model::format::{Formats, Selection};
use model::request::{ALLOW, SpaceId, SpaceRequest};
use nginx_sys::{NGX_HTTP_GET, NGX_HTTP_HEAD, NGX_HTTP_OPTIONS};

use crate::config::{CatalogSetting, Download, LocationConf, LookupSetting};
use crate::nginx::Failure;
use crate::nginx::location::Location;
use crate::nginx::log::{Level, Text};
use crate::nginx::request::Request;
use crate::nginx::subrequest::NotStarted;
use crate::request::lookup::{Lookup, Told};
use crate::request::search::{Chosen, FileSearch, Searched};
use crate::request::state::{Found, Outcome, Record, Source};

/// What a phase handler wants nginx to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action<'r> {
    /// Go on as if the module were not there.
    Declined,
    /// Action with this status.
    Status(i16),
    /// Call the handler again when the subrequest has ended.
    Wait,
    /// End the request without an answer.
    Abort,
    /// Go on in the location of this path.
    Redirect(&'r [u8]),
}

/// What a phase handler has come to; a failure is logged and answered with 500.
pub(crate) type PhaseResult<'r> = Result<Action<'r>, Failure>;

/// Whether a request is in a location where the module is off.
pub(crate) fn is_elsewhere(_: &Request<'_>, lcf: &LocationConf) -> bool {
    lcf.download().is_none()
}

/// PRECONTENT: access has been granted.
pub(crate) fn precontent_handler<'r>(
    request: &Request<'r>,
    lcf: &'static LocationConf,
) -> PhaseResult<'r> {
    let (Some(download), Some(formats)) = (lcf.download(), lcf.formats()) else {
        return Ok(Action::Declined);
    };
    request.debug(format_args!("xspace precontent handler"));
    let record = Record::stay(request, lcf)?;
    let task = Resolver { request, lcf, download, formats, record };
    task.answer().inspect_err(|_| record.outcome.set(Some(Outcome::Error)))
}

/// A request that the module answers.
struct Resolver<'q, 'r> {
    request: &'q Request<'r>,
    lcf: &'static LocationConf,
    download: &'static Download,
    formats: &'static Formats,
    record: &'r Record<'r>,
}

impl<'r> Resolver<'_, 'r> {
    fn answer(&self) -> PhaseResult<'r> {
        self.decide().or_else(|stop| match stop {
            Stop::Action(answer) => Ok(answer),
            Stop::Failed(why) => Err(why),
        })
    }

    /// The steps to a file, each of which can be the last.
    #[inline(always)]
    fn decide(&self) -> Result<Action<'r>, Stop<'r>> {
        self.check_method()?;
        let (id, selection) = self.asked()?;
        // Both go when this function returns: a request must not hold on to a catalog.
        let (told, current);
        let (entry, source) = if let Some(by_lookup) = self.told_by_lookup(id, selection)? {
            told = by_lookup;
            (Some(told.get(id).ok().flatten().ok_or(NO_ENTRY)?), Source::Lookup)
        } else if let Some(catalog) = self.lcf.catalog() {
            current = catalog.source.current();
            (self.entry_in(catalog, current.as_deref(), id)?, Source::Catalog)
        } else {
            (None, Source::Directory)
        };
        if let Some(entry) = &entry {
            self.heed(entry, source, id)?;
        }
        self.search(entry.filter(Entry::has_files), source, id, selection)
    }

    fn refuse(&self, outcome: Outcome, status: i16) -> Action<'r> {
        let outcome_word = outcome.as_str();
        self.request.debug(format_args!("xspace outcome: {outcome_word} status: {status}"));
        self.record.outcome.set(Some(outcome));
        Action::Status(status)
    }

    /// Ends all requests but GET and HEAD.
    #[inline(always)]
    fn check_method(&self) -> Result<(), Stop<'r>> {
        Err(Stop::Action(match self.request.method() {
            NGX_HTTP_GET | NGX_HTTP_HEAD => return Ok(()),
            NGX_HTTP_OPTIONS => {
                self.allow(204)?;
                Action::Status(204)
            }
            _ => {
                self.allow(405)?;
                self.refuse(Outcome::BadMethod, 405)
            }
        }))
    }

    /// Which space is asked for, and in which formats.
    #[inline(always)]
    fn asked(&self) -> Result<(SpaceId<'r>, Selection), Stop<'r>> {
        let Some(SpaceRequest { id, selection }) = self.record.settle(self.request)? else {
            self.request.log(Level::Info, 0, format_args!("invalid space id"));
            return Err(self.refuse(Outcome::BadId, 404).into());
        };
        let attachment = self.lcf.attachment(self.request)?;
        self.record.disposition.set(Disposition::from_argument(attachment));
        let Ok(selection) = selection else {
            self.request.log(Level::Info, 0, format_args!("unknown format of space \"{id}\""));
            return Err(self.refuse(Outcome::NotFound, 404).into());
        };
        let format = self.formats.word(selection);
        self.request.debug(format_args!("xspace space: \"{id}\" format: \"{format}\""));
        Ok((id, selection))
    }

    /// What the lookup says of the space, if there is one: a catalog of this space. `None`: others
    /// decide.
    #[inline(always)]
    fn told_by_lookup(
        &self,
        id: SpaceId<'r>,
        selection: Selection,
    ) -> Result<Option<Catalog>, Stop<'r>> {
        self.lcf.lookup().map_or(Ok(None), |lookup| self.told_by(lookup, id, selection))
    }

    /// The entry of the space in a catalog; `entries` is `None` as long as that was not read.
    #[inline(always)]
    fn entry_in<'c>(
        &self,
        catalog: &'static CatalogSetting,
        entries: Option<&'c Catalog>,
        id: SpaceId<'r>,
    ) -> Result<Option<Entry<'c>>, Stop<'r>> {
        let Some(entries) = entries else { return Err(self.not_read(catalog, id)) };
        match entries.get(id) {
            Ok(None) if catalog.only => {
                self.log_not_found(format_args!(
                    "space \"{id}\" is not in the catalog \"{}\"",
                    Text(catalog.source.path().as_os_str().as_bytes())
                ));
                Err(self.refuse(Outcome::NotFound, 404).into())
            }
            Ok(entry) => {
                let is_there = entry.is_some();
                self.request.debug(format_args!("xspace catalog: entry {is_there}"));
                Ok(entry)
            }
            Err(cause) => Err(self.unusable(catalog, id, cause).into()),
        }
    }

    /// Does what an entry says beside naming files.
    #[inline(always)]
    fn heed(&self, entry: &Entry<'_>, source: Source, id: SpaceId<'r>) -> Result<(), Stop<'r>> {
        self.record.keep_title(self.request, entry.title)?;
        if let Some(status) = entry.status {
            return Err(self.refuse(Outcome::Status, status.code()).into());
        }
        if entry.has_no_files {
            let of = source.as_str();
            self.log_not_found(format_args!("space \"{id}\" has no files in its {of} entry"));
            return Err(self.refuse(Outcome::NotFound, 404).into());
        }
        Ok(())
    }

    /// Looks for the files of an entry, or for those of the id.
    #[inline(always)]
    fn search(
        &self,
        entry: Option<Entry<'_>>,
        source: Source,
        id: SpaceId<'r>,
        selection: Selection,
    ) -> Result<Action<'r>, Stop<'r>> {
        let Self { request, lcf, download, formats, .. } = *self;
        let search = FileSearch::new(request, lcf, download, formats, id, selection);
        let (searched, source) = match entry {
            Some(entry) => (search.among_named(&entry)?, source),
            None => (search.by_id()?, Source::Directory),
        };
        Ok(match searched {
            Searched::File(chosen) => self.redirect(chosen, source),
            Searched::Outside => {
                let status = if source == Source::Lookup { 502 } else { 500 };
                self.refuse(Outcome::Error, status)
            }
            Searched::Miss(Miss::NotFound) => self.refuse(Outcome::NotFound, 404),
            Searched::Miss(Miss::Forbidden) => self.refuse(Outcome::Forbidden, 403),
            Searched::Miss(Miss::Failed) => self.refuse(Outcome::Error, 500),
        })
    }

    #[inline(never)]
    fn told_by(
        &self,
        lookup: &LookupSetting,
        id: SpaceId<'r>,
        selection: Selection,
    ) -> Result<Option<Catalog>, Stop<'r>> {
        let told = match self.ask(lookup, id, selection) {
            Ok(told) => told,
            Err(NotStarted::Failed(why)) => return Err(why.into()),
            Err(NotStarted::HalfStarted) => return Err(Action::Abort.into()),
        };
        Err(Stop::Action(match told {
            Told::Entry(entry) => return Ok(Some(entry)),
            Told::Undecided => return Ok(None),
            Told::NotYet => Action::Wait,
            Told::Denied(denial) => {
                let status = denial.code();
                if let Some((asked, name)) = self.record.lookup.get().zip(denial.field()) {
                    let values = asked.response_field(name);
                    self.record.add_refusal_field(self.request, status, name, values)?;
                }
                self.refuse(Outcome::Denied, status)
            }
            Told::Failed => self.refuse(Outcome::Error, 502),
        }))
    }

    /// What the lookup says; it is begun by the first call.
    fn ask(
        &self,
        lookup: &LookupSetting,
        id: SpaceId<'r>,
        selection: Selection,
    ) -> Result<Told, NotStarted> {
        if let Some(begun) = self.record.lookup.get() {
            return Ok(begun.told(self.request, lookup, id)?);
        }
        let begun = Lookup::start::<Record<'_>>(self.request, lookup, id, self.formats, selection)?;
        // Only this function sets it, and it was not set above.
        let _ = self.record.lookup.set(Box::new(begun));
        Ok(Told::NotYet)
    }

    fn allow(&self, status: i16) -> Result<(), Failure> {
        self.record.add_refusal_field(self.request, status, "Allow", [ALLOW.as_bytes()])
    }

    /// Logs as a missing file is logged: `log_not_found` of the target counts.
    #[cold]
    #[inline(never)]
    fn log_not_found(&self, message: fmt::Arguments<'_>) {
        if self.download.target_location().is_none_or(Location::logs_not_found) {
            self.request.log(Level::Error, 0, message);
        }
    }

    /// The catalog has an entry that tells nothing: it may have been to withhold the recording.
    #[cold]
    #[inline(never)]
    fn unusable(&self, catalog: &CatalogSetting, id: SpaceId<'_>, cause: Cause) -> Action<'r> {
        let path = Text(catalog.source.path().as_os_str().as_bytes());
        self.request.log(
            Level::Error,
            0,
            format_args!("entry of space \"{id}\" in catalog \"{path}\" is unusable: {cause}"),
        );
        self.refuse(Outcome::Error, 500)
    }

    /// An optional catalog was not read yet.
    #[cold]
    #[inline(never)]
    fn not_read(&self, catalog: &'static CatalogSetting, id: SpaceId<'_>) -> Stop<'r> {
        let source = &catalog.source;
        let path = Text(source.path().as_os_str().as_bytes());
        self.request.log(
            Level::Error,
            0,
            format_args!("catalog \"{path}\", which space \"{id}\" needs, was not read yet"),
        );
        let retry_after = source.retry_after.as_bytes();
        match self.record.add_refusal_field(self.request, 503, "Retry-After", [retry_after]) {
            Ok(()) => self.refuse(Outcome::Error, 503).into(),
            Err(why) => why.into(),
        }
    }

    #[inline(always)]
    fn redirect(&self, Chosen { format, uri }: Chosen<'r>, source: Source) -> Action<'r> {
        let file = uri.get(self.download.target.len()..).unwrap_or_default();
        let of = source.as_str();
        self.request.debug(format_args!("xspace redirect: \"{}\" source: {of}", Text(uri)));
        self.record.set_found(self.request, Found { format, file, source });
        if self.request.is_main() {
            // The static and mp4 modules keep a media type that is already there; the header
            // filter sees by it that no error was answered in between.
            self.request.set_content_type(format.media_type());
        }
        Action::Redirect(uri)
    }
}

/// Why a request comes to no further step.
enum Stop<'r> {
    /// It has its answer, or waits for one.
    Action(Action<'r>),
    Failed(Failure),
}

impl<'r> From<Action<'r>> for Stop<'r> {
    fn from(answer: Action<'r>) -> Self {
        Self::Action(answer)
    }
}

impl From<Failure> for Stop<'_> {
    fn from(why: Failure) -> Self {
        Self::Failed(why)
    }
}

/// An answer that was taken has the entry of the space.
const NO_ENTRY: Failure = Failure("the lookup's entry is gone");
