//! Searches for the file of a space, where the target location will serve it from.

#![forbid(unsafe_code)]

use core::fmt;

use model::choice::{Candidate, MAX_CANDIDATES, Miss, Search};
use model::entry::Entry;
use model::format::{Format, Formats, Selection};
use model::request::SpaceId;

use crate::config::{Directory, Download, LocationConf, Route, Routes};
use crate::nginx::Failure;
use crate::nginx::file::{Destination, FilePath, InLocation, Stat};
use crate::nginx::location::Location;
use crate::nginx::log::{Level, Text};
use crate::nginx::request::Request;
use crate::nginx::snapshot::Snapshot;

/// A request, and the configuration of its location.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'q, 'r> {
    pub(crate) request: &'q Request<'r>,
    pub(crate) lcf: &'static LocationConf,
    pub(crate) download: &'static Download,
    pub(crate) formats: &'static Formats,
}

impl Scope<'_, '_> {
    /// Logs a message about a missing file, if `log_not_found` of the target is on.
    pub(crate) fn log_not_found(&self, message: fmt::Arguments<'_>) {
        if self.download.target_location().is_none_or(Location::logs_not_found) {
            self.request.error(message);
        }
    }
}

/// The result of a search.
pub(crate) enum SearchResult<'r> {
    File(FoundFile<'r>),
    Miss(Miss),
    /// A listed file is in a location that does not belong to the target.
    Outside,
}

/// The file to serve.
#[derive(Clone, Copy)]
pub(crate) struct FoundFile<'r> {
    pub(crate) format: &'static Format,
    /// The path to redirect to.
    pub(crate) uri: &'r [u8],
    /// In bytes; 0 if the file was not examined.
    pub(crate) size: u64,
}

/// A search for the file of one space.
pub(crate) struct FileSearch<'q, 'r> {
    scope: Scope<'q, 'r>,
    id: SpaceId<'r>,
    selection: Selection,
    /// The entry that lists the files; without one they are named by the id.
    entry: Option<&'q Entry<'q>>,
    search: Search,
    /// What is logged about a miss: the first candidate that exists, otherwise the last one.
    rejected: Option<Rejected<'r>>,
    /// The first candidate that was skipped because of its location.
    outside: Option<(Location, &'static Format)>,
    /// The state of the request before the first candidate was checked.
    snapshot: Option<Snapshot>,
}

/// Whether a candidate is served.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    /// With its size in bytes.
    Accepted(u64),
    Rejected,
    /// It is listed and in a location that does not belong to the target.
    Outside,
}

/// A candidate that is not served.
struct Rejected<'r> {
    path: FilePath<'r>,
    stat: Stat,
    location: Location,
}

impl Rejected<'_> {
    fn exists(&self) -> bool {
        matches!(self.stat, Stat::File(_) | Stat::NotAFile | Stat::Denied(_))
    }
}

impl<'q, 'r> FileSearch<'q, 'r> {
    pub(crate) fn new(
        scope: Scope<'q, 'r>,
        id: SpaceId<'r>,
        selection: Selection,
        entry: Option<&'q Entry<'q>>,
    ) -> Self {
        let search = Search::new(scope.lcf.min_size());
        Self { scope, id, selection, entry, search, rejected: None, outside: None, snapshot: None }
    }

    /// Checks the candidates format by format: the files that the entry lists, in their order there,
    /// or `<id>.<extension>`.
    pub(crate) fn run(mut self) -> Result<SearchResult<'r>, Failure> {
        let Scope { request, lcf, download, formats } = self.scope;
        let (id, target) = (self.id, download.target());
        if let (None, Directory::Off(_)) = (self.entry, lcf.directory()) {
            self.scope.log_not_found(format_args!(
                "no file is listed for space \"{id}\", and \"xspace_directory\" is off"
            ));
            return Ok(SearchResult::Miss(Miss::NotFound));
        }
        for format in formats.selected(self.selection) {
            let extension = format.extension();
            let Some(entry) = self.entry else {
                let parts = [target, id.as_bytes(), b".", extension.as_bytes()];
                let uri = request.pool().concat(parts)?;
                if let Check::Accepted(size) = self.check(uri, format)? {
                    return Ok(SearchResult::File(FoundFile { format, uri, size }));
                }
                continue;
            };
            for file in entry.files_of(extension) {
                if self.search.is_exhausted() {
                    break;
                }
                let uri = request.pool().concat([target, file])?;
                match self.check(uri, format)? {
                    Check::Accepted(size) => {
                        return Ok(SearchResult::File(FoundFile { format, uri, size }));
                    }
                    Check::Rejected => {}
                    Check::Outside => return Ok(SearchResult::Outside),
                }
            }
        }
        self.log_miss();
        Ok(SearchResult::Miss(self.search.miss()))
    }

    /// Checks a candidate.
    fn check(&mut self, uri: &[u8], format: &'static Format) -> Result<Check, Failure> {
        let Scope { request, lcf, download, .. } = self.scope;
        let routes = download.routes()?;
        let location = match download.route(routes, uri)? {
            Route::Inside(location) => location,
            Route::Outside(location) if self.entry.is_none() => {
                self.outside.get_or_insert((location, format));
                return Ok(Check::Rejected);
            }
            Route::Outside(location) => {
                let file = Text(uri.get(download.target().len()..).unwrap_or_default());
                let (id, outside) = (self.id, Outside(location, download));
                request.error(format_args!("file \"{file}\" of space \"{id}\" {outside}"));
                return Ok(Check::Outside);
            }
        };
        if let Directory::Off(_) = lcf.directory() {
            // The file is assumed to exist.
            return Ok(Check::Accepted(0));
        }
        let (path, stat) = self.stat(routes, location, uri)?;
        request.debug(format_args!("xspace stat() \"{}\": {stat:?}", Text(path.as_bytes())));
        if self.search.takes(candidate(stat)) {
            return Ok(Check::Accepted(if let Stat::File(size) = stat { size } else { 0 }));
        }
        if let Stat::Failed(errno) = stat {
            let path = Text(path.as_bytes());
            request.log(Level::Crit, errno, format_args!("stat() \"{path}\" failed"));
        }
        if !self.rejected.as_ref().is_some_and(Rejected::exists) {
            self.rejected = Some(Rejected { path, stat, location });
        }
        Ok(Check::Rejected)
    }

    /// stat() of a file in the location that will serve it.
    fn stat(
        &mut self,
        routes: &Routes,
        location: Location,
        uri: &[u8],
    ) -> Result<(FilePath<'r>, Stat), Failure> {
        let Scope { request, lcf, download, .. } = self.scope;
        let server = routes.is_divided.then_some(download.server());
        let destination = Destination { location, server, random: routes.request_id };
        // Left before anything is logged: lines about a subrequest have its path.
        let at = InLocation::enter(request, destination, uri, &mut self.snapshot)?;
        let mut path = match lcf.directory() {
            Directory::Path(directory) => {
                at.below(directory, uri.get(download.target().len()..).unwrap_or_default())?
            }
            Directory::OfTarget | Directory::Off(_) => at.map()?,
        };
        let stat = at.stat(&mut path)?;
        Ok((path, stat))
    }

    /// Logs a miss as the static module logs a file that it can't open.
    fn log_miss(&self) {
        let (Scope { request, lcf, download, .. }, id) = (self.scope, self.id);
        let (tried, miss) = (Tried(self), self.search.miss());
        let exists = self.rejected.as_ref().is_some_and(Rejected::exists);
        if let (Some((location, format)), Miss::NotFound, false) = (self.outside, miss, exists) {
            let (target, extension) = (Text(download.target()), format.extension());
            let outside = Outside(location, download);
            return self.scope.log_not_found(format_args!(
                "no file for space \"{id}\": \"{target}{id}.{extension}\" {outside}"
            ));
        }
        let Some(Rejected { path, stat, location }) = &self.rejected else {
            return self.scope.log_not_found(format_args!(
                "no file in the requested format is listed for space \"{id}\""
            ));
        };
        // A failure is logged already.
        if miss == Miss::Failed || miss == Miss::NotFound && !location.logs_not_found() {
            return;
        }
        let (path, min_size) = (Text(path.as_bytes()), lcf.min_size());
        match *stat {
            Stat::Missing(errno) | Stat::Denied(errno) | Stat::Failed(errno) => request.log(
                Level::Error,
                errno,
                format_args!("no file for space \"{id}\"{tried}: stat() \"{path}\" failed"),
            ),
            Stat::File(_) | Stat::NotAFile => request.error(format_args!(
                "no file for space \"{id}\"{tried}: \"{path}\" is not a regular file of at least \
                 {min_size} bytes"
            )),
        }
    }
}

/// Why a location does not serve a file of a target.
struct Outside<'a>(Location, &'a Download);

impl fmt::Display for Outside<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (location, target) = (Text(self.0.name()), Text(self.1.target()));
        write!(f, "is in location \"{location}\", which is not part of target \"{target}\"")
    }
}

/// What was tried besides the one path in the message.
struct Tried<'a, 'q, 'r>(&'a FileSearch<'q, 'r>);

impl fmt::Display for Tried<'_, '_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(FileSearch { scope, selection, entry, search, .. }) = self;
        if entry.is_some() {
            return match search.is_exhausted() {
                true => write!(f, " among the first {MAX_CANDIDATES} that are listed"),
                false => Ok(()),
            };
        }
        let mut selected = scope.formats.selected(*selection).map(Format::extension);
        if let (Some(first), Some(second)) = (selected.next(), selected.next()) {
            write!(f, " in formats {first}, {second}")?;
            selected.try_for_each(|extension| write!(f, ", {extension}"))?;
        }
        Ok(())
    }
}

fn candidate(stat: Stat) -> Candidate {
    match stat {
        Stat::File(size) => Candidate::File(size),
        Stat::NotAFile | Stat::Missing(_) => Candidate::Nothing,
        Stat::Denied(_) => Candidate::Denied,
        Stat::Failed(_) => Candidate::Failed,
    }
}
