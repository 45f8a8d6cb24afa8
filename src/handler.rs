//! Answers a request for a space: finds the file and redirects to it.

#![forbid(unsafe_code)]

use model::choice::{Miss, Search, Seen};
use model::disposition::Disposition;
use model::format::{Format, Formats, MAX_EXTENSION_LEN, Selection};
use model::path::CandidatePath;
use model::request::{ALLOW, SpaceId};
use nginx_sys::{NGX_HTTP_GET, NGX_HTTP_HEAD, NGX_HTTP_OPTIONS};

use crate::config::{Directory, Download, LocationConf};
use crate::nginx::Failure;
use crate::nginx::file::{FilePath, InLocation, Look};
use crate::nginx::location::Location;
use crate::nginx::log::{Level, Text};
use crate::nginx::request::Request;
use crate::record::{Found, Outcome, Record, Source};

/// What a phase handler wants nginx to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer<'r> {
    /// Go on as if the module were not there.
    Declined,
    /// Answer with this status.
    Status(isize),
    /// Go on in the location of this path.
    Redirect(&'r [u8]),
}

/// PREACCESS: notes what is asked for, so that a request which is refused later, and whose error
/// page is in another location, still has its id in the log.
pub(crate) fn note<'r>(request: &Request<'r>, lcf: &'static LocationConf) -> Answer<'r> {
    if lcf.download().is_some() && Record::begin(request, lcf).is_err() {
        return Answer::Status(500);
    }
    Answer::Declined
}

/// PRECONTENT: access has been granted.
pub(crate) fn serve<'r>(request: &Request<'r>, lcf: &'static LocationConf) -> Answer<'r> {
    let (Some(download), Some(formats)) = (lcf.download(), lcf.formats()) else {
        if request.is_internal() && request.is_main() {
            if let Some(record) = Record::find(request) {
                record.note_error_page(request);
            }
        }
        return Answer::Declined;
    };
    let Ok(record) = Record::in_location(request, lcf) else { return Answer::Status(500) };
    let task = Task { request, lcf, download, formats, record };
    task.answer().unwrap_or_else(|Failure| task.refuse(Outcome::Error, 500))
}

/// A request that the module answers.
struct Task<'q, 'r> {
    request: &'q Request<'r>,
    lcf: &'static LocationConf,
    download: &'static Download,
    formats: &'static Formats,
    record: &'r Record<'r>,
}

/// The chosen format with the path to redirect to, or why there is none.
type Choice<'r> = Result<(&'static Format, CandidatePath<'r>), Miss>;

/// The last look that was in vain.
struct LastLook<'r> {
    path: FilePath<'r>,
    look: Look,
    location: Location,
    format: &'static Format,
}

impl<'r> Task<'_, 'r> {
    fn refuse(&self, outcome: Outcome, status: isize) -> Answer<'r> {
        self.record.outcome.set(Some(outcome));
        Answer::Status(status)
    }

    fn answer(&self) -> Result<Answer<'r>, Failure> {
        match self.request.method() {
            NGX_HTTP_GET | NGX_HTTP_HEAD => {}
            NGX_HTTP_OPTIONS => {
                self.request.add_field("Allow", ALLOW.as_bytes())?;
                return Ok(Answer::Status(204));
            }
            _ => {
                self.request.add_field("Allow", ALLOW.as_bytes())?;
                return Ok(self.refuse(Outcome::BadMethod, 405));
            }
        }

        let Some(asked) = self.record.asked() else {
            self.request.log(Level::Info, 0, format_args!("invalid space id"));
            return Ok(self.refuse(Outcome::BadId, 404));
        };
        self.record.disposition.set(Disposition::from_argument(self.lcf.attachment(self.request)?));
        let Ok(selection) = asked.selection else {
            let id = asked.id;
            self.request.log(Level::Info, 0, format_args!("unknown format of space \"{id}\""));
            return Ok(self.refuse(Outcome::NotFound, 404));
        };

        Ok(match self.find(asked.id, selection)? {
            Ok((format, path)) => self.redirect(format, path),
            Err(Miss::NotFound) => self.refuse(Outcome::NotFound, 404),
            Err(Miss::Forbidden) => self.refuse(Outcome::Forbidden, 403),
            Err(Miss::Failed) => self.refuse(Outcome::Error, 500),
        })
    }

    fn redirect(&self, format: &'static Format, path: CandidatePath<'r>) -> Answer<'r> {
        let (uri, target_len) = path.into_uri();
        let file = uri.get(target_len..).unwrap_or_default();
        self.record.set_found(self.request, Found { format, file, source: Source::Directory });
        if self.request.is_main() {
            // The static and mp4 modules keep a media type that is already there; the header
            // filter sees by it that no error was answered in between.
            self.request.set_content_type(format.media_type());
        }
        Answer::Redirect(uri)
    }

    /// Looks for `<id>.<extension>` of each selected format, until one will do.
    fn find(&self, id: SpaceId<'_>, selection: Selection) -> Result<Choice<'r>, Failure> {
        let target = &self.download.target;
        let buffer = self.request.pool().bytes(CandidatePath::buffer_len(target, id))?;
        let mut candidate = CandidatePath::new(buffer, target, id).ok_or(Failure)?;
        let mut search = Search::new(self.lcf.min_size());
        let mut last: Option<LastLook<'r>> = None;

        for (index, format) in self.formats.selected(selection) {
            candidate.set_extension(format.extension()).ok_or(Failure)?;
            let location = self.download.route(index).ok_or(Failure)?;
            let look = self.look(&candidate, location, format, last)?;
            if search.takes(seen(look.look)) {
                return Ok(Ok((format, candidate)));
            }
            self.log_passed_over(&look);
            last = Some(look);
        }

        if let Some(last) = last {
            self.log_miss(id, selection, search.miss(), &last);
        }
        Ok(Err(search.miss()))
    }

    /// Looks at a candidate where `location` would serve it from. The path of the look before is
    /// used again if it differs in the extension only.
    fn look(
        &self,
        candidate: &CandidatePath<'_>,
        location: Location,
        format: &'static Format,
        before: Option<LastLook<'r>>,
    ) -> Result<LastLook<'r>, Failure> {
        let at = InLocation::enter(self.request, location, candidate.uri());
        let before = before.filter(|b| b.location == location && !location.maps_whole_path());
        let mut path = match (before, &self.lcf.directory) {
            (Some(LastLook { mut path, format: old, .. }), _) => {
                path.replace_tail(old.extension().len(), format.extension()).ok_or(Failure)?;
                path
            }
            (None, Some(Directory::Path(directory))) => {
                at.below(directory, candidate.file(), MAX_EXTENSION_LEN)?
            }
            (None, _) => at.map(MAX_EXTENSION_LEN)?,
        };
        let look = at.look(&mut path)?;
        Ok(LastLook { path, look, location, format })
    }

    /// A file that is there and not taken is worth a line of its own: the last look, which the
    /// log shows of a miss, is often at another one.
    fn log_passed_over(&self, passed: &LastLook<'r>) {
        let path = Text(passed.path.as_bytes());
        match passed.look {
            Look::File(size) => self.request.log(
                Level::Info,
                0,
                format_args!("\"{path}\" is passed over: {size} bytes, less than xspace_min_size"),
            ),
            Look::NotAFile => self.request.log(
                Level::Info,
                0,
                format_args!("\"{path}\" is passed over: not a regular file"),
            ),
            Look::Failed(errno) => {
                self.request.log(Level::Crit, errno, format_args!("look at \"{path}\" failed"));
            }
            Look::Missing(_) | Look::Denied(_) => {}
        }
    }

    /// As the static module logs what it can't open; `log_not_found` of the target counts.
    fn log_miss(&self, id: SpaceId<'_>, selection: Selection, miss: Miss, last: &LastLook<'r>) {
        let path = Text(last.path.as_bytes());
        let tried = Tried(self.formats, selection);
        match miss {
            Miss::NotFound if !last.location.logs_not_found() => return,
            Miss::NotFound | Miss::Forbidden => {}
            // Logged where it happened.
            Miss::Failed => return,
        }
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

/// The extensions that were tried, if there were several.
struct Tried<'a>(&'a Formats, Selection);

impl core::fmt::Display for Tried<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.0.selected(self.1).nth(1).is_none() {
            return Ok(());
        }
        f.write_str(" (the last of")?;
        self.0.selected(self.1).try_for_each(|(_, format)| write!(f, " {}", format.extension()))?;
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
