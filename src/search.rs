//! Looks for the file of a space, where the location will serve it from.

#![forbid(unsafe_code)]

use core::fmt;

use model::catalog::Entry;
use model::choice::{Miss, Search, Seen};
use model::format::{Format, Formats, Selection};
use model::path::CandidatePath;
use model::request::SpaceId;

use crate::config::{Directory, Download, LocationConf};
use crate::nginx::Failure;
use crate::nginx::file::{FilePath, InLocation, Look};
use crate::nginx::location::Location;
use crate::nginx::log::{Level, Text};
use crate::nginx::request::Request;

/// A file that will do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chosen<'r> {
    pub(crate) format: &'static Format,
    /// The path to redirect to.
    pub(crate) uri: &'r [u8],
}

/// What the module guarantees by itself, in buffers that it has made and routes that it has found.
const NO_ROOM: Failure = Failure("no room for the extension");
const NO_ROUTE: Failure = Failure("no location for a file of the target");

/// What a search has come to.
pub(crate) enum Searched<'r> {
    File(Chosen<'r>),
    Miss(Miss),
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
    /// The last look in vain, whose path the next one may change; nothing if it is kept below.
    last: Option<VainLook<'r>>,
    /// The first one that found something which will not do: it tells more of a miss.
    telling: Option<VainLook<'r>>,
}

/// How the path of a candidate compares with that of the last one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stem {
    /// It differs in the extension only.
    Same,
    Another,
}

/// A look that was in vain.
struct VainLook<'r> {
    path: FilePath<'r>,
    look: Look,
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
        }
    }

    /// Looks for `<id>.<extension>` of each selected format.
    #[inline(always)]
    pub(crate) fn by_id(mut self) -> Result<Searched<'r>, Failure> {
        if let Some(Directory::Off(_)) = self.lcf.directory {
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
            let location = self.download.route(index).ok_or(NO_ROUTE)?;
            if self.takes(candidate.uri(), location, format, Stem::Same)? {
                return Ok(Searched::File(Chosen { format, uri: candidate.into_uri() }));
            }
        }
        self.log_miss();
        Ok(Searched::Miss(self.search.miss()))
    }

    /// Looks for the files that an entry names: format by format, and those of one format in the
    /// order of the entry.
    #[inline(always)]
    pub(crate) fn among_named(mut self, entry: &Entry<'r>) -> Result<Searched<'r>, Failure> {
        self.is_named = true;
        let target = &self.download.target;
        for (index, format) in self.formats.iter().enumerate() {
            if !self.selection.takes(index, format) {
                continue;
            }
            for file in entry.files_of(format.extension()) {
                let uri: &'r [u8] = self.request.pool().concat([target, file.as_bytes()])?;
                let location = self.download.route_of(uri, index).ok_or(NO_ROUTE)?;
                if self.takes(uri, location, format, Stem::Another)? {
                    return Ok(Searched::File(Chosen { format, uri }));
                }
            }
        }
        self.log_miss();
        Ok(Searched::Miss(self.search.miss()))
    }

    /// Looks at a candidate.
    fn takes(
        &mut self,
        uri: &[u8],
        location: Location,
        format: &'static Format,
        stem: Stem,
    ) -> Result<bool, Failure> {
        if let Some(Directory::Off(_)) = self.lcf.directory {
            // Whoever named the file knows that it is there.
            return Ok(true);
        }
        let at = InLocation::enter(self.request, location, uri);
        let may_stay = stem == Stem::Same && !location.maps_by_variables();
        let mut path = match self.last.take() {
            Some(VainLook { mut path, location: old, format: last, .. })
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
        let look = at.look(&mut path)?;
        // Back before anything is logged: the log names a subrequest by its path.
        drop(at);
        if self.search.takes(seen(look)) {
            return Ok(true);
        }
        self.note(VainLook { path, look, location, format });
        Ok(false)
    }

    fn note(&mut self, vain: VainLook<'r>) {
        match vain.look {
            Look::Missing(_) => {}
            Look::Failed(errno) => {
                let path = Text(vain.path.as_bytes());
                self.request.log(Level::Crit, errno, format_args!("look at \"{path}\" failed"));
            }
            Look::File(_) | Look::NotAFile | Look::Denied(_) => {
                self.telling.get_or_insert(vain);
                return;
            }
        }
        self.last = Some(vain);
    }

    /// As the static module logs what it can't open; `log_not_found` of the target counts.
    #[cold]
    #[inline(never)]
    fn log_miss(&self) {
        let Some(last) = self.telling.as_ref().or(self.last.as_ref()) else {
            let location = self.formats.selected(self.selection).next();
            let location = location.and_then(|(index, _)| self.download.route(index));
            if location.is_none_or(Location::logs_not_found) {
                let id = self.id;
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

        let id = self.id;
        let path = Text(last.path.as_bytes());
        let tried = Tried(self);
        match last.look {
            Look::Missing(errno) | Look::Denied(errno) | Look::Failed(errno) => self.request.log(
                Level::Error,
                errno,
                format_args!("no file for space \"{id}\": a look at \"{path}\"{tried} failed"),
            ),
            Look::File(_) | Look::NotAFile => self.request.log(
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

/// The extensions that were looked for, if there were several in place of the one in the path.
struct Tried<'a, 'q, 'r>(&'a FileSearch<'q, 'r>);

impl fmt::Display for Tried<'_, '_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let selected = || self.0.formats.selected(self.0.selection);
        if self.0.is_named || selected().nth(1).is_none() {
            return Ok(());
        }
        f.write_str(" (of")?;
        selected().try_for_each(|(_, format)| write!(f, " {}", format.extension()))?;
        f.write_str(")")
    }
}

fn seen(look: Look) -> Seen {
    match look {
        Look::File(size) => Seen::File(size),
        Look::NotAFile | Look::Missing(_) => Seen::Nothing,
        Look::Denied(_) => Seen::Denied,
        Look::Failed(_) => Seen::Failed,
    }
}
