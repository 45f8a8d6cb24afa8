//! Resolves a request to a file: checks it, decides, and redirects or refuses.

#![forbid(unsafe_code)]

use core::fmt;
use std::os::unix::ffi::OsStrExt;

#[cfg(feature = "lmdb")]
use model::catalog::ReadError;
use model::choice::Miss;
use model::disposition::Disposition;
use model::entry::{Entry, EntryBuf};
use model::format::Selection;
use model::lookup::Decision;
use model::request::{ALLOW, SpaceId, SpaceRequest};
use nginx_sys::{NGX_HTTP_GET, NGX_HTTP_HEAD, NGX_HTTP_OPTIONS};

use super::lookup::{Lookup, LookupState};
use super::search::{FileSearch, FoundFile, Scope, SearchResult};
use super::state::{Outcome, Record, Redirect, Source, Space};
use super::{Action, PhaseResult};
use crate::catalog::{Catalog, CatalogFile};
use crate::config::{CatalogSetting, CatalogSource, LocationConf, LookupSetting};
#[cfg(feature = "lmdb")]
use crate::lmdb::{LmdbCatalog, LookError};
#[cfg(feature = "lmdb")]
use crate::nginx::Failure;
use crate::nginx::heap::Room;
use crate::nginx::log::{Level, Text};
use crate::nginx::request::Request;

/// Whether the precontent handler has nothing to do.
pub(crate) fn skips_precontent(_: &Request<'_>, lcf: &LocationConf) -> bool {
    lcf.download().is_none()
}

/// PRECONTENT: access has been granted.
pub(crate) fn precontent_handler<'r>(
    request: &Request<'r>,
    lcf: &'static LocationConf,
) -> PhaseResult<'r> {
    let Some(download) = lcf.download() else { return Ok(Action::Decline) };
    let formats = lcf.formats();
    request.debug(format_args!("xspace precontent handler"));
    #[cfg(feature = "links")]
    crate::links::access::refuse_subrequest(request, lcf)?;
    let record = Record::after_rewrite(request, lcf)?;
    let resolver = Resolver { scope: Scope { request, lcf, download, formats }, record };
    resolver.resolve().inspect_err(|action| {
        if let Action::Fail(_) = action {
            record.decided.set_outcome(Outcome::Error);
        }
    })
}

/// A request that the module responds to or redirects.
struct Resolver<'q, 'r> {
    scope: Scope<'q, 'r>,
    record: &'r Record<'r>,
}

impl<'r> Resolver<'_, 'r> {
    /// The steps to a file, each of which may be the last.
    fn resolve(&self) -> PhaseResult<'r> {
        self.check_method()?;
        let (id, selection) = self.space()?;
        #[cfg(feature = "links")]
        crate::links::access::confirm(self.scope.request, self.record, id, selection)?;
        let lcf = self.scope.lcf;
        // What an entry is read from is dropped here: a request must not keep a catalog.
        if let Some(setting) = lcf.lookup() {
            if let Some(entry) = self.look_up(setting, id, selection)? {
                return self.apply_entry(&entry.entry(), Source::Lookup, id, selection);
            }
        }
        if let Some(setting) = lcf.catalog() {
            match &setting.source {
                CatalogSource::File(file) => {
                    let current = file.current();
                    if let Some(entry) = self.file_entry(setting, file, current.as_deref(), id)? {
                        return self.apply_entry(&entry, Source::Catalog, id, selection);
                    }
                }
                #[cfg(feature = "lmdb")]
                CatalogSource::Lmdb(catalog) => {
                    // One request is resolved at a time.
                    let buffer = catalog.entry.try_borrow_mut();
                    let mut buffer = buffer.map_err(|_| Failure("catalog is in use"))?;
                    if let Some(entry) = self.lmdb_entry(setting, catalog, &mut buffer, id)? {
                        return self.apply_entry(&entry, Source::Catalog, id, selection);
                    }
                }
            }
        }
        self.search(None, Source::Directory, id, selection)
    }

    fn refuse(&self, outcome: Outcome, status: i16) -> Action<'r> {
        let name = outcome.as_str();
        self.scope.request.debug(format_args!("xspace outcome: {name} status: {status}"));
        self.record.decided.set_outcome(outcome);
        Action::Respond(status)
    }

    /// Ends all requests but GET and HEAD.
    fn check_method(&self) -> PhaseResult<'r, ()> {
        let method = self.scope.request.method();
        if matches!(method, NGX_HTTP_GET | NGX_HTTP_HEAD) {
            return Ok(());
        }
        let status = if method == NGX_HTTP_OPTIONS { 204 } else { 405 };
        self.record.added.add_refusal_field(
            self.scope.request,
            status,
            "Allow",
            [ALLOW.as_bytes()],
        )?;
        Err(match status {
            204 => Action::Respond(204),
            _ => self.refuse(Outcome::BadMethod, 405),
        })
    }

    /// The requested space and formats.
    fn space(&self) -> PhaseResult<'r, (SpaceId<'r>, Selection)> {
        let Space::Valid(SpaceRequest { id, selection }) =
            self.record.fix_space(self.scope.request)?
        else {
            self.scope.request.log(Level::Info, 0, format_args!("invalid space id"));
            return Err(self.refuse(Outcome::BadId, 404));
        };
        let attachment = self.scope.lcf.attachment(self.scope.request)?;
        self.record.decided.set_disposition(Disposition::from_argument(attachment));
        let Ok(selection) = selection else {
            self.scope.request.log(
                Level::Info,
                0,
                format_args!("unknown format requested for space \"{id}\""),
            );
            return Err(self.refuse(Outcome::NotFound, 404));
        };
        let format = self.scope.formats.word(selection);
        self.scope.request.debug(format_args!("xspace space: \"{id}\" format: \"{format}\""));
        Ok((id, selection))
    }

    /// The entry that the lookup has responded with, or `None` if it leaves the decision to catalog
    /// and directory.
    fn look_up(
        &self,
        setting: &LookupSetting,
        id: SpaceId<'r>,
        selection: Selection,
    ) -> PhaseResult<'r, Option<EntryBuf>> {
        let (request, decided) = (self.scope.request, &self.record.decided);
        let Some(lookup) = decided.lookup() else {
            let format = self.scope.formats.word(selection);
            // Allocated first: a subrequest without its lookup would respond to the client.
            let room = Room::new()?;
            let lookup = Lookup::start::<Record<'_>>(request, setting, id, format)?;
            decided.set_lookup(room.fill(lookup));
            return Err(Action::Wait);
        };
        match lookup.state(request, setting, id)? {
            LookupState::Pending => Err(Action::Wait),
            LookupState::Failed => Err(self.refuse(Outcome::Error, 502)),
            LookupState::Answered(Decision::Undecided) => Ok(None),
            LookupState::Answered(Decision::Entry(entry)) => Ok(Some(entry)),
            LookupState::Answered(Decision::Denied(refusal)) => {
                let status = refusal.code();
                if let Some(name) = refusal.field() {
                    let values = lookup.response_field(name);
                    self.record.added.add_refusal_field(request, status, name, values)?;
                }
                Err(self.refuse(Outcome::Denied, status))
            }
        }
    }

    /// The entry of the space in a file; `entries` is `None` until the file is loaded.
    fn file_entry<'c>(
        &self,
        setting: &CatalogSetting,
        file: &'static CatalogFile,
        entries: Option<&'c Catalog>,
        id: SpaceId<'r>,
    ) -> PhaseResult<'r, Option<Entry<'c>>> {
        let path = Text(file.path().as_os_str().as_bytes());
        let Some(entries) = entries else {
            self.scope.request.error(format_args!(
                "could not serve space \"{id}\": catalog \"{path}\" is not loaded yet"
            ));
            return Err(self.unavailable(&file.retry_after)?);
        };
        match entries.get(id) {
            Ok(entry) => self.known(setting, id, &path, entry),
            Err(cause) => Err(self.unusable(id, &path, &cause)),
        }
    }

    /// The entry of the space in an LMDB environment.
    #[cfg(feature = "lmdb")]
    fn lmdb_entry<'c>(
        &self,
        setting: &CatalogSetting,
        catalog: &'static LmdbCatalog,
        entry: &'c mut EntryBuf,
        id: SpaceId<'r>,
    ) -> PhaseResult<'r, Option<Entry<'c>>> {
        let (request, name) = (self.scope.request, &catalog.name);
        let is_found = catalog.look(id, request.log_handle(), |looked| match looked {
            Ok(None) => Ok(false),
            Ok(Some(json)) => match entry.reparse(json) {
                Ok(()) => Ok(true),
                Err(ReadError::NoMemory) => Err(Failure::NO_MEMORY.into()),
                Err(why) => Err(self.unusable(id, name, &why)),
            },
            Err(LookError::Closed) => {
                request.error(format_args!(
                    "could not serve space \"{id}\": catalog \"{name}\" is not open"
                ));
                Err(self.unavailable(LmdbCatalog::RETRY_AFTER)?)
            }
            // That there is no entry is not known.
            Err(why) => {
                request.error(format_args!(
                    "could not serve space \"{id}\": catalog \"{name}\" cannot be read: {why}"
                ));
                Err(self.refuse(Outcome::Error, 500))
            }
        })?;
        self.known(setting, id, name, is_found.then(|| entry.entry()))
    }

    /// What a catalog knows of a space, unless it has to know each.
    fn known<T>(
        &self,
        setting: &CatalogSetting,
        id: SpaceId<'r>,
        catalog: &dyn fmt::Display,
        entry: Option<T>,
    ) -> PhaseResult<'r, Option<T>> {
        if entry.is_none() && setting.only {
            self.scope
                .log_not_found(format_args!("space \"{id}\" is not in catalog \"{catalog}\""));
            return Err(self.refuse(Outcome::NotFound, 404));
        }
        let found = u8::from(entry.is_some());
        self.scope.request.debug(format_args!("xspace catalog entry found:{found}"));
        Ok(entry)
    }

    /// An entry that can't be used may have been meant to withhold the recording.
    fn unusable(
        &self,
        id: SpaceId<'r>,
        catalog: &dyn fmt::Display,
        why: &dyn fmt::Display,
    ) -> Action<'r> {
        self.scope.request.error(format_args!(
            "entry of space \"{id}\" in catalog \"{catalog}\" is unusable: {why}"
        ));
        self.refuse(Outcome::Error, 500)
    }

    /// Without the catalog nothing is known.
    fn unavailable(&self, retry_after: &str) -> PhaseResult<'r> {
        let values = [retry_after.as_bytes()];
        self.record.added.add_refusal_field(self.scope.request, 503, "Retry-After", values)?;
        Ok(self.refuse(Outcome::Error, 503))
    }

    /// Applies an entry, and searches for the space's file unless the entry has a status.
    fn apply_entry(
        &self,
        entry: &Entry<'_>,
        source: Source,
        id: SpaceId<'r>,
        selection: Selection,
    ) -> PhaseResult<'r> {
        if let Some(title) = entry.title {
            self.record.decided.set_title(self.scope.request, title)?;
        }
        #[cfg(feature = "plays")]
        if let Some(duration) = entry.duration() {
            self.record.decided.set_duration(duration);
        }
        if let Some(status) = entry.status {
            return Err(self.refuse(Outcome::Status, status.code()));
        }
        if entry.has_no_files {
            let source = source.as_str();
            self.scope.log_not_found(format_args!("{source} entry of space \"{id}\" has no files"));
            return Err(self.refuse(Outcome::NotFound, 404));
        }
        if entry.has_files() {
            self.search(Some(entry), source, id, selection)
        } else {
            self.search(None, Source::Directory, id, selection)
        }
    }

    /// Searches for the files of an entry, or for those named by the id.
    fn search(
        &self,
        entry: Option<&Entry<'_>>,
        source: Source,
        id: SpaceId<'r>,
        selection: Selection,
    ) -> PhaseResult<'r> {
        Err(match FileSearch::new(self.scope, id, selection, entry).run()? {
            SearchResult::File(found) => return Ok(self.redirect(id, found, source)),
            SearchResult::Outside if source == Source::Lookup => self.refuse(Outcome::Error, 502),
            SearchResult::Outside => self.refuse(Outcome::Error, 500),
            SearchResult::Miss(Miss::NotFound) => self.refuse(Outcome::NotFound, 404),
            SearchResult::Miss(Miss::Forbidden) => self.refuse(Outcome::Forbidden, 403),
            SearchResult::Miss(Miss::Failed) => self.refuse(Outcome::Error, 500),
        })
    }

    fn redirect(&self, id: SpaceId<'r>, found: FoundFile<'r>, source: Source) -> Action<'r> {
        let FoundFile { format, uri, .. } = found;
        let file = uri.get(self.scope.download.target().len()..).unwrap_or_default();
        let name = source.as_str();
        self.scope.request.debug(format_args!("xspace redirect: \"{}\" source: {name}", Text(uri)));
        let Scope { request, lcf, .. } = self.scope;
        let redirect = Redirect::new(request, lcf, id, found, file, source);
        self.record.decided.set_redirect(redirect);
        if self.scope.request.is_main() {
            // The static and mp4 modules keep a media type that is set already. It also shows that
            // no error has been responded to since (`Redirect::detect_error_page`).
            self.scope.request.set_content_type(format.media_type());
        }
        Action::Redirect(uri)
    }
}
