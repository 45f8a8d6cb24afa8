//! Catalogs that are LMDB environments: an application writes entries, and the next request in any
//! worker process sees them.
//!
//! - `directive`: `xspace_catalog lmdb:…`;
//! - `check`: what `nginx -t` checks;
//! - `shared`: the environments of a process;
//! - `environment`: an environment, and the transaction that reads it;
//! - `library`: LMDB itself, which is loaded at run time;
//! - `error`: what can go wrong.
//!
//! Besides the edge to nginx, `environment` and `library` alone have `unsafe` code. Without such a
//! catalog nothing is loaded, no timer is started, and requests meet nothing of this.

// `forbid` would be inherited by the two files with unsafe code.
#![deny(unsafe_code)]

pub(crate) mod check;
pub(crate) mod directive;
#[allow(unsafe_code, reason = "the edge to LMDB")]
mod environment;
mod error;
#[allow(unsafe_code, reason = "the edge to LMDB")]
mod library;
mod shared;

use core::cell::{Cell, RefCell};
use core::fmt;
use core::hash::Hasher;
use std::hash::DefaultHasher;
use std::rc::Rc;
use std::sync::Arc;

use model::entry::EntryBuf;
use model::request::SpaceId;

use self::environment::{Files, Paths};
pub(crate) use self::error::LookError;
use self::library::Library;
use self::shared::Place;
#[cfg(feature = "plays")]
use crate::catalog::Health;
use crate::nginx::Failure;
use crate::nginx::configuration::ConfPosition;
use crate::nginx::log::{Level, Log};
use crate::nginx::time::now;
use crate::nginx::worker::{self, Cycle};

/// How often the files are compared and an environment that can't be opened is tried again, in
/// milliseconds. Retry-After is the same in seconds.
const INTERVAL: usize = 1000;

/// An environment that directives name by one path.
#[derive(Debug)]
pub(crate) struct LmdbCatalog {
    /// `lmdb:` and the path.
    pub(crate) name: String,
    paths: Paths,
    /// Whether nginx may start without it.
    pub(crate) optional: bool,
    /// The first directive that names it.
    pub(crate) position: ConfPosition,
    /// Where it is opened, unless another catalog has it open.
    own: Arc<Place>,
    /// Where it is open.
    place: RefCell<Option<Arc<Place>>>,
    /// The entry that was read last; its memory is used again.
    pub(crate) entry: RefCell<EntryBuf>,
    /// The second in which the files were compared last.
    checked: Cell<Option<u64>>,
    /// What the log has of the latest attempt to open it, hashed; `None` if that succeeded.
    trouble: Cell<Option<u64>>,
    #[cfg(feature = "plays")]
    pub(crate) health: Rc<Health>,
}

impl LmdbCatalog {
    /// `Retry-After` while it is not open (RFC 9110, section 10.2.3).
    pub(crate) const RETRY_AFTER: &'static str = "1";

    fn new(name: String, paths: Paths, optional: bool, position: ConfPosition) -> Self {
        Self {
            #[cfg(feature = "plays")]
            health: Rc::new(Health::new(&name)),
            name,
            paths,
            optional,
            position,
            own: Place::new(),
            place: RefCell::default(),
            entry: RefCell::default(),
            checked: Cell::default(),
            trouble: Cell::default(),
        }
    }

    /// Passes what is known of a space at this moment to `read`: its entry as JSON, or `None`.
    pub(crate) fn look<R>(
        &self,
        id: SpaceId<'_>,
        log: Option<Log>,
        read: impl FnOnce(Result<Option<&[u8]>, LookError>) -> R,
    ) -> R {
        self.refresh(log);
        let place = self.place.borrow();
        let mut content = place.as_ref().map(|place| place.lock());
        let looked = match content.as_deref_mut() {
            Some(Some((_, environment))) => environment.look(id.as_bytes()),
            _ => Err(LookError::Closed),
        };
        let is_lost = matches!(looked, Err(LookError::Lost(_)));
        let result = read(looked);
        if let (true, Some(mut content)) = (is_lost, content) {
            *content = None;
        }
        result
    }

    /// Opens the environment in a process that handles requests, and looks after it from then on.
    pub(crate) fn begin(self: &Rc<Self>, cycle: Cycle) -> Result<(), Failure> {
        let log = cycle.log_handle();
        self.refresh(log);
        let catalog = Rc::clone(self);
        cycle.start_timer(INTERVAL, move |timer| {
            if worker::is_ending() {
                // Requests that go on for hours need no slot in the table of readers.
                catalog.leave();
            } else {
                catalog.refresh(log);
                timer.again(INTERVAL);
            }
        })
    }

    /// Opens the environment if it is not open, or if there is another one now. The files are compared
    /// not more than once a second; what can't be opened is tried as often.
    fn refresh(&self, log: Option<Log>) {
        let now = now();
        if self.checked.replace(Some(now)) == Some(now)
            && (self.trouble.get().is_some() || self.is_open())
        {
            return;
        }
        let files = Files::of(&self.paths);
        if let (Ok(files), Some(place)) = (&files, &*self.place.borrow()) {
            if let Some((open, environment)) = &*place.lock() {
                if open == files {
                    self.note(environment.entries().unwrap_or_default());
                    return;
                }
            }
        }
        let had_one = self.leave();
        let opened = files.and_then(|files| {
            let place = shared::open(&self.own, Library::get()?, &self.paths, files)?;
            let entries = match &*place.lock() {
                Some((_, environment)) => environment.entries()?,
                None => 0,
            };
            Ok((place, entries))
        });
        let name = &self.name;
        match opened {
            Ok((place, entries)) => {
                self.place.replace(Some(place));
                self.note(entries);
                if self.trouble.take().is_some() || had_one {
                    write(
                        log,
                        Level::Notice,
                        format_args!("catalog \"{name}\" reopened: {entries} entries"),
                    );
                }
            }
            Err(why) => {
                let trouble = Some(hash(&why));
                if self.trouble.replace(trouble) != trouble {
                    write(log, Level::Error, format_args!("catalog \"{name}\" not opened: {why}"));
                }
            }
        }
    }

    /// Leaves the environment, and closes it unless another catalog has it open; returns whether there
    /// was one.
    fn leave(&self) -> bool {
        let Some(place) = self.place.replace(None) else { return false };
        // This reference, and that of the catalog whose own place it is.
        if Arc::strong_count(&place) <= 2 {
            *place.lock() = None;
        }
        true
    }

    fn is_open(&self) -> bool {
        self.place.borrow().as_ref().is_some_and(|place| place.lock().is_some())
    }

    /// Notes that the environment is there.
    fn note(&self, entries: usize) {
        #[cfg(feature = "plays")]
        self.health.live(entries);
        #[cfg(not(feature = "plays"))]
        let _ = entries;
    }
}

impl Drop for LmdbCatalog {
    fn drop(&mut self) {
        self.leave();
        Place::remove(&self.own);
    }
}

fn write(log: Option<Log>, level: Level, message: fmt::Arguments<'_>) {
    if let Some(log) = log {
        log.write(level, 0, message);
    }
}

/// A hash of a message, for which nothing is allocated.
fn hash(message: &impl fmt::Display) -> u64 {
    struct Writer(DefaultHasher);
    impl fmt::Write for Writer {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    let mut writer = Writer(DefaultHasher::new());
    // It does not fail.
    let _ = fmt::Write::write_fmt(&mut writer, format_args!("{message}"));
    writer.0.finish()
}
