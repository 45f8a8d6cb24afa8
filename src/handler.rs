//! Answers a request for a space: decides, and redirects to the file.

#![forbid(unsafe_code)]

use core::fmt;
use std::os::unix::ffi::OsStrExt;

use model::catalog::{Catalog, Cause, Entry};
use model::choice::Miss;
use model::disposition::Disposition;
use model::format::{Formats, Selection};
use model::request::{ALLOW, Asked, SpaceId};
use nginx_sys::{NGX_HTTP_GET, NGX_HTTP_HEAD, NGX_HTTP_OPTIONS};

use crate::config::{CatalogUse, Download, LocationConf, LookupUse};
use crate::lookup::{Lookup, Told};
use crate::nginx::Failure;
use crate::nginx::location::Location;
use crate::nginx::log::{Level, Text};
use crate::nginx::request::Request;
use crate::nginx::subrequest::NotStarted;
use crate::record::{Found, Outcome, Record, Rewriting, Source};
use crate::search::{Chosen, FileSearch, Searched};

/// What a phase handler wants nginx to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer<'r> {
    /// Go on as if the module were not there.
    Declined,
    /// Answer with this status.
    Status(i16),
    /// Call the handler again when the subrequest has ended.
    Wait,
    /// End the request without an answer.
    Abort,
    /// Go on in the location of this path.
    Redirect(&'r [u8]),
}

/// What a phase handler has come to; a failure is logged and answered with 500.
pub(crate) type Handled<'r> = Result<Answer<'r>, Failure>;

/// Whether a request is in a location where the module is off.
pub(crate) fn is_elsewhere(_: &Request<'_>, lcf: &LocationConf) -> bool {
    lcf.download().is_none()
}

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
pub(crate) fn arrive<'r>(request: &Request<'r>, lcf: &'static LocationConf) -> Handled<'r> {
    request.debug(format_args!("xspace rewrite handler"));
    if let Some(lookup) = Record::lookup_by(request) {
        return Ok(if lookup.may_enter(lcf) { Answer::Declined } else { Answer::Status(502) });
    }
    if lcf.download().is_some() {
        Record::begin(request, lcf)?;
        return Ok(Answer::Declined);
    }
    if request.is_internal() {
        if let Some(record) = Record::find(request) {
            if request.is_main() {
                record.note_error_page(request);
            }
            record.keep_args_from_others(request, Rewriting::Begins);
        }
    }
    Ok(Answer::Declined)
}

/// PREACCESS: all rewriting is done. Acts before `limit_req` and `limit_conn`.
pub(crate) fn stay<'r>(request: &Request<'r>, lcf: &'static LocationConf) -> Handled<'r> {
    request.debug(format_args!("xspace preaccess handler"));
    if lcf.download().is_some() {
        Record::stay(request, lcf)?;
    } else if let Some(record) = Record::find(request) {
        record.keep_args_from_others(request, Rewriting::IsDone);
    }
    Ok(Answer::Declined)
}

/// PRECONTENT: access has been granted.
pub(crate) fn serve<'r>(request: &Request<'r>, lcf: &'static LocationConf) -> Handled<'r> {
    let (Some(download), Some(formats)) = (lcf.download(), lcf.formats()) else {
        return Ok(Answer::Declined);
    };
    request.debug(format_args!("xspace precontent handler"));
    let record = Record::stay(request, lcf)?;
    let task = Task { request, lcf, download, formats, record };
    task.answer().inspect_err(|_| record.outcome.set(Some(Outcome::Error)))
}

/// A request that the module answers.
struct Task<'q, 'r> {
    request: &'q Request<'r>,
    lcf: &'static LocationConf,
    download: &'static Download,
    formats: &'static Formats,
    record: &'r Record<'r>,
}

impl<'r> Task<'_, 'r> {
    fn answer(&self) -> Handled<'r> {
        self.decide().or_else(|stop| match stop {
            Stop::Answer(answer) => Ok(answer),
            Stop::Failed(why) => Err(why),
        })
    }

    /// The steps to a file, each of which can be the last.
    #[inline(always)]
    fn decide(&self) -> Result<Answer<'r>, Stop<'r>> {
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

    fn refuse(&self, outcome: Outcome, status: i16) -> Answer<'r> {
        let outcome_word = outcome.as_str();
        self.request.debug(format_args!("xspace outcome: {outcome_word} status: {status}"));
        self.record.outcome.set(Some(outcome));
        Answer::Status(status)
    }

    /// Ends all requests but GET and HEAD.
    #[inline(always)]
    fn check_method(&self) -> Result<(), Stop<'r>> {
        Err(Stop::Answer(match self.request.method() {
            NGX_HTTP_GET | NGX_HTTP_HEAD => return Ok(()),
            NGX_HTTP_OPTIONS => {
                self.allow(204)?;
                Answer::Status(204)
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
        let Some(Asked { id, selection }) = self.record.settle(self.request)? else {
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
        catalog: &'static CatalogUse,
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
    ) -> Result<Answer<'r>, Stop<'r>> {
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
        lookup: &LookupUse,
        id: SpaceId<'r>,
        selection: Selection,
    ) -> Result<Option<Catalog>, Stop<'r>> {
        let told = match self.ask(lookup, id, selection) {
            Ok(told) => told,
            Err(NotStarted::Failed(why)) => return Err(why.into()),
            Err(NotStarted::HalfStarted) => return Err(Answer::Abort.into()),
        };
        Err(Stop::Answer(match told {
            Told::Entry(entry) => return Ok(Some(entry)),
            Told::Undecided => return Ok(None),
            Told::NotYet => Answer::Wait,
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
        lookup: &LookupUse,
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
    fn unusable(&self, catalog: &CatalogUse, id: SpaceId<'_>, cause: Cause) -> Answer<'r> {
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
    fn not_read(&self, catalog: &'static CatalogUse, id: SpaceId<'_>) -> Stop<'r> {
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
    fn redirect(&self, Chosen { format, uri }: Chosen<'r>, source: Source) -> Answer<'r> {
        let file = uri.get(self.download.target.len()..).unwrap_or_default();
        let of = source.as_str();
        self.request.debug(format_args!("xspace redirect: \"{}\" source: {of}", Text(uri)));
        self.record.set_found(self.request, Found { format, file, source });
        if self.request.is_main() {
            // The static and mp4 modules keep a media type that is already there; the header
            // filter sees by it that no error was answered in between.
            self.request.set_content_type(format.media_type());
        }
        Answer::Redirect(uri)
    }
}

/// Why a request comes to no further step.
enum Stop<'r> {
    /// It has its answer, or waits for one.
    Answer(Answer<'r>),
    Failed(Failure),
}

impl<'r> From<Answer<'r>> for Stop<'r> {
    fn from(answer: Answer<'r>) -> Self {
        Self::Answer(answer)
    }
}

impl From<Failure> for Stop<'_> {
    fn from(why: Failure) -> Self {
        Self::Failed(why)
    }
}

/// An answer that was taken has the entry of the space.
const NO_ENTRY: Failure = Failure("the lookup's entry is gone");
