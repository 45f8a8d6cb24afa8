//! Looks for the file of a space, where the location will serve it from.

#![forbid(unsafe_code)]

use core::fmt;

use model::catalog::Entry;
use model::choice::{Candidate, MAX_CANDIDATES, Miss, Search};
use model::format::{Format, Formats, Selection};
use model::path::CandidatePath;
use model::request::SpaceId;

use crate::config::{Directory, Download, LocationConf, Route, Routes};
use crate::nginx::Failure;
use crate::nginx::file::{FilePath, InLocation, Standing, Stat};
use crate::nginx::location::Location;
use crate::nginx::log::{Level, Text};
use crate::nginx::request::Request;
use crate::nginx::snapshot::Snapshot;

/// A file that will do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chosen<'r> {
    pub(crate) format: &'static Format,
    /// The path to redirect to.
    pub(crate) uri: &'r [u8],
}

/// What the module guarantees by itself, in buffers that it has made and routes that it has found.
const NO_ROOM: Failure = Failure("no room for the extension");
const NO_ROUTES: Failure = Failure("the locations of the target are not known");

/// What a search has come to.
pub(crate) enum Searched<'r> {
    File(Chosen<'r>),
    Miss(Miss),
    /// A named file is in a location that does not belong to the target.
    Outside,
}

/// A search for the file of one space.
pub(crate) struct FileSearch<'q, 'r> {
    request: &'q Request<'r>,
    lcf: &'static LocationConf,
    download: &'static Download,
    formats: &'static Formats,
    id: SpaceId<'r>,
    selection: Selection,
    search: Search,
    /// Whether an entry names the files.
    is_named: bool,
    /// The last stat that failed, whose path the next one may change; nothing if it is kept below.
    last: Option<Rejected<'r>>,
    /// The first one that found something which will not do: it tells more of a miss.
    telling: Option<Rejected<'r>>,
    /// The location of the first candidate that was passed over because of it, and the format.
    outside: Option<(Location, &'static Format)>,
    /// What the request was like before it stood in another location.
    snapshot: Option<Snapshot>,
}

/// What has become of a candidate.
enum Taken {
    Yes,
    No,
    /// It is in a location that does not belong to the target.
    Outside(Location),
}

/// How the path of a candidate compares with that of the last one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stem {
    /// It differs in the extension only.
    Same,
    Another,
}

/// A candidate that will not do.
struct Rejected<'r> {
    path: FilePath<'r>,
    stat: Stat,
    location: Location,
    format: &'static Format,
}

impl<'q, 'r> FileSearch<'q, 'r> {
    #[inline(always)]
    pub(crate) fn new(
        request: &'q Request<'r>,
        lcf: &'static LocationConf,
        download: &'static Download,
        formats: &'static Formats,
        id: SpaceId<'r>,
        selection: Selection,
    ) -> Self {
        let search = Search::new(lcf.min_size());
        Self {
            request,
            lcf,
            download,
            formats,
            id,
            selection,
            search,
            is_named: false,
            last: None,
            telling: None,
            outside: None,
            snapshot: None,
        }
    }

    /// Looks for `<id>.<extension>` of each selected format.
    #[inline(always)]
    pub(crate) fn by_id(mut self) -> Result<Searched<'r>, Failure> {
        if let Some(Directory::Off(_)) = self.lcf.directory {
            self.log_nothing_named();
            return Ok(Searched::Miss(Miss::NotFound));
        }
        let target = &self.download.target;
        let buffer = self.request.pool().concat(CandidatePath::parts(target, self.id))?;
        let mut candidate = CandidatePath::new(buffer);
        for (index, format) in self.formats.iter().enumerate() {
            if !self.selection.takes(index, format) {
                continue;
            }
            candidate.set_extension(format.extension()).ok_or(NO_ROOM)?;
            match self.takes(candidate.uri(), format, Stem::Same)? {
                Taken::Yes => {
                    return Ok(Searched::File(Chosen { format, uri: candidate.into_uri() }));
                }
                Taken::No => {}
                Taken::Outside(location) => {
                    self.outside.get_or_insert((location, format));
                }
            }
        }
        self.log_miss();
        Ok(Searched::Miss(self.search.miss()))
    }

    /// Looks for the files that an entry names: format by format, and those of one format in the
    /// order of the entry.
    #[inline(always)]
    pub(crate) fn among_named(mut self, entry: &Entry<'_>) -> Result<Searched<'r>, Failure> {
        self.is_named = true;
        let target = &self.download.target;
        'search: for (index, format) in self.formats.iter().enumerate() {
            if !self.selection.takes(index, format) {
                continue;
            }
            for file in entry.files_of(format.extension()) {
                if self.search.is_exhausted() {
                    break 'search;
                }
                let uri: &'r [u8] = self.request.pool().concat([target, file.as_bytes()])?;
                match self.takes(uri, format, Stem::Another)? {
                    Taken::Yes => return Ok(Searched::File(Chosen { format, uri })),
                    Taken::No => {}
                    Taken::Outside(location) => {
                        self.log_outside(file, location);
                        return Ok(Searched::Outside);
                    }
                }
            }
        }
        self.log_miss();
        Ok(Searched::Miss(self.search.miss()))
    }

    /// Looks at a candidate, where nginx will serve it from.
    fn takes(&mut self, uri: &[u8], format: &'static Format, stem: Stem) -> Result<Taken, Failure> {
        let routes = self.download.routes.get().ok_or(NO_ROUTES)?;
        let location = match self.download.route(routes, uri)? {
            Route::Inside(location) => location,
            Route::Outside(location) => return Ok(Taken::Outside(location)),
        };
        if let Some(Directory::Off(_)) = self.lcf.directory {
            // Whoever named the file knows that it is there.
            return Ok(Taken::Yes);
        }
        let standing = self.standing(routes, location);
        let at = InLocation::enter(self.request, standing, uri, &mut self.snapshot)?;
        let may_stay = stem == Stem::Same && !location.maps_by_variables();
        let mut path = match self.last.take() {
            Some(Rejected { mut path, location: old, format: last, .. })
                if may_stay && old == location =>
            {
                path.replace_tail(last.extension().len(), format.extension()).ok_or(NO_ROOM)?;
                path
            }
            _ => match &self.lcf.directory {
                Some(Directory::Path(directory)) => {
                    let file = uri.get(self.download.target.len()..).unwrap_or_default();
                    at.below(directory, file)?
                }
                _ => at.map()?,
            },
        };
        let stat = at.stat(&mut path)?;
        // Back before anything is logged: the log names a subrequest by its path.
        drop(at);
        self.request.debug(format_args!("xspace stat: \"{}\" {stat:?}", Text(path.as_bytes())));
        if self.search.takes(candidate_of(stat)) {
            return Ok(Taken::Yes);
        }
        self.note(Rejected { path, stat, location, format });
        Ok(Taken::No)
    }

    fn standing(&self, routes: &Routes, location: Location) -> Standing {
        Standing {
            location,
            server: routes.is_divided.then_some(self.download.server),
            random: routes.request_id,
        }
    }

    fn note(&mut self, vain: Rejected<'r>) {
        match vain.stat {
            Stat::Missing(_) => {}
            Stat::Failed(errno) => {
                let path = Text(vain.path.as_bytes());
                self.request.log(Level::Crit, errno, format_args!("stat() \"{path}\" failed"));
            }
            Stat::File(_) | Stat::NotAFile | Stat::Denied(_) => {
                self.telling.get_or_insert(vain);
                return;
            }
        }
        self.last = Some(vain);
    }

    /// Whether the target's `log_not_found` is on.
    fn logs_not_found(&self) -> bool {
        self.download.target_location().is_none_or(Location::logs_not_found)
    }

    #[cold]
    #[inline(never)]
    fn log_nothing_named(&self) {
        if self.logs_not_found() {
            let id = self.id;
            self.request.log(
                Level::Error,
                0,
                format_args!(
                    "no file is named for space \"{id}\", and \"xspace_directory\" is off"
                ),
            );
        }
    }

    #[cold]
    #[inline(never)]
    fn log_outside(&self, file: &str, location: Location) {
        let (id, file) = (self.id, Text(file.as_bytes()));
        let not_part = NotPart(location, self.download);
        self.request.log(
            Level::Error,
            0,
            format_args!("file \"{file}\" of space \"{id}\" {not_part}"),
        );
    }

    /// As the static module logs what it can't open; `log_not_found` of the target counts.
    #[cold]
    #[inline(never)]
    fn log_miss(&self) {
        let id = self.id;
        let may_be_outside = self.telling.is_none() && self.search.miss() == Miss::NotFound;
        if let Some((location, format)) = self.outside.filter(|_| may_be_outside) {
            if self.logs_not_found() {
                let target = Text(&self.download.target);
                let extension = format.extension();
                let not_part = NotPart(location, self.download);
                self.request.log(
                    Level::Error,
                    0,
                    format_args!(
                        "no file for space \"{id}\": \"{target}{id}.{extension}\" {not_part}"
                    ),
                );
            }
            return;
        }
        let Some(last) = self.telling.as_ref().or(self.last.as_ref()) else {
            if self.logs_not_found() {
                self.request.log(
                    Level::Error,
                    0,
                    format_args!("no file of a format asked for is named for space \"{id}\""),
                );
            }
            return;
        };
        match self.search.miss() {
            Miss::NotFound if !last.location.logs_not_found() => return,
            Miss::NotFound | Miss::Forbidden => {}
            // Logged where it happened.
            Miss::Failed => return,
        }

        let path = Text(last.path.as_bytes());
        let tried = Tried(self);
        match last.stat {
            Stat::Missing(errno) | Stat::Denied(errno) | Stat::Failed(errno) => self.request.log(
                Level::Error,
                errno,
                format_args!("no file for space \"{id}\": stat() \"{path}\"{tried} failed"),
            ),
            Stat::File(_) | Stat::NotAFile => self.request.log(
                Level::Error,
                0,
                format_args!(
                    "no file for space \"{id}\": \"{path}\"{tried} is not a regular file of at \
                     least {} bytes",
                    self.lcf.min_size()
                ),
            ),
        }
    }
}

/// Why a location serves nothing of a target.
struct NotPart<'a>(Location, &'a Download);

impl fmt::Display for NotPart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (location, target) = (Text(self.0.name()), Text(&self.1.target));
        write!(f, "is in location \"{location}\", which is not part of target \"{target}\"")
    }
}

/// The extensions that were looked for, if there were several in place of the one in the path.
struct Tried<'a, 'q, 'r>(&'a FileSearch<'q, 'r>);

impl fmt::Display for Tried<'_, '_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let selected = || self.0.formats.selected(self.0.selection);
        if self.0.is_named && self.0.search.is_exhausted() {
            return write!(f, " (the last of {MAX_CANDIDATES} files that are looked for)");
        }
        if self.0.is_named || selected().nth(1).is_none() {
            return Ok(());
        }
        f.write_str(" (of")?;
        selected().try_for_each(|(_, format)| write!(f, " {}", format.extension()))?;
        f.write_str(")")
    }
}

fn candidate_of(stat: Stat) -> Candidate {
    match stat {
        Stat::File(size) => Candidate::File(size),
        Stat::NotAFile | Stat::Missing(_) => Candidate::Nothing,
        Stat::Denied(_) => Candidate::Denied,
        Stat::Failed(_) => Candidate::Failed,
    }
}
