//! The catalogs of a configuration: read with it, and again by each worker process when their
//! files change.

#![forbid(unsafe_code)]

pub(crate) mod file;
#[cfg(feature = "plays")]
mod health;

use core::cell::{Ref, RefCell};
use core::fmt;
use core::time::Duration;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use model::catalog::Report;

use self::file::{FileVersion, LoadError, Reading};
#[cfg(feature = "plays")]
pub(crate) use self::health::Health;
use crate::nginx::Failure;
use crate::nginx::configuration::ConfPosition;
use crate::nginx::heap::boxed;
use crate::nginx::log::{Level, Log, Text};
use crate::nginx::memory::Mapping;
use crate::nginx::threads::ThreadPool;
use crate::nginx::worker::{self, Cycle, TimerHandle};

/// A catalog in memory that goes back to the system when it is freed.
pub(crate) type Catalog = model::catalog::Catalog<Mapping>;

/// How often a file is checked unless `refresh` says otherwise.
pub(crate) const DEFAULT_REFRESH: Duration = Duration::from_secs(5);

/// A catalog's file and what was read from it last. All locations that name the file share it.
#[derive(Debug)]
pub(crate) struct CatalogFile {
    path: &'static [u8],
    /// How often the file is checked; `None`: it is read at start and reload only.
    pub(crate) refresh: Option<Duration>,
    /// Whether nginx may start without it.
    pub(crate) optional: bool,
    /// `refresh` as the value of Retry-After (RFC 9110, section 10.2.3): whole seconds.
    pub(crate) retry_after: Box<str>,
    /// The first directive that names the file.
    pub(crate) position: ConfPosition,
    /// Where files are read. `None` in an nginx without threads.
    threads: Option<ThreadPool>,
    /// Borrowed during a call of a handler at most.
    current: RefCell<Option<Box<Catalog>>>,
    version: RefCell<Option<FileVersion>>,
    #[cfg(feature = "plays")]
    pub(crate) health: Rc<Health>,
}

impl CatalogFile {
    /// A file that was not read yet. `path` is absolute.
    pub(crate) fn new(
        path: &'static [u8],
        refresh: Option<Duration>,
        optional: bool,
        position: ConfPosition,
        threads: Option<ThreadPool>,
    ) -> Self {
        let seconds = refresh.unwrap_or_default().as_secs_f64().ceil().max(1.0);
        Self {
            path,
            refresh,
            optional,
            retry_after: format!("{seconds:.0}").into(),
            position,
            threads,
            current: RefCell::default(),
            version: RefCell::default(),
            #[cfg(feature = "plays")]
            health: Rc::new(Health::new(&String::from_utf8_lossy(path))),
        }
    }

    /// The file's path.
    pub(crate) fn path(&self) -> &'static Path {
        Path::new(OsStr::from_bytes(self.path))
    }

    /// Whether this is the file at a path.
    pub(crate) fn has_path(&self, path: &[u8]) -> bool {
        self.path == path
    }

    /// Reads the file while the configuration is read.
    ///
    /// # Errors
    ///
    /// Why the catalog can't be loaded: the configuration is not valid then.
    pub(crate) fn load(&self) -> Result<Report, LoadError<'static>> {
        // A file that is being written to has another chance: a reload must not fail by chance.
        const ATTEMPTS: usize = 10;
        for _ in 0..ATTEMPTS {
            match file::read(self.path(), None, || false) {
                Reading::Read(catalog, report, version) => {
                    // The version only with its catalog: workers do not read a known one again.
                    let catalog = boxed(catalog).map_err(|_| LoadError::NO_MEMORY)?;
                    self.current.replace(Some(catalog));
                    self.version.replace(Some(version));
                    #[cfg(feature = "plays")]
                    self.health.read(&report);
                    return Ok(report);
                }
                Reading::Refused(error, version) => {
                    self.version.replace(Some(version));
                    return Err(error);
                }
                Reading::Unchanged | Reading::Disturbed => {}
            }
        }
        Err(LoadError::Busy)
    }

    /// The catalog, for as long as a handler does not return to the event loop: a later version
    /// replaces it. `None` as long as an optional one was not read.
    pub(crate) fn current(&self) -> Ref<'_, Option<Box<Catalog>>> {
        self.current.borrow()
    }

    /// Starts to check the file, in a worker process: at once, because the master may have read it
    /// long before the process was started, and then at intervals.
    pub(crate) fn watch(self: &Rc<Self>, cycle: Cycle) -> Result<(), Failure> {
        let threads = self.threads.filter(|threads| threads.is_there());
        let (Some(refresh), Some(threads)) = (self.refresh, threads) else { return Ok(()) };
        let delay = usize::try_from(refresh.as_millis()).unwrap_or(usize::MAX);
        let file = Rc::clone(self);
        cycle.start_timer(0, move |timer| file.check(threads, cycle.log_handle(), timer, delay))
    }

    /// Has a thread check the file and read it if it has changed, and starts the timer again when
    /// that is done.
    fn check(
        self: &Rc<Self>,
        threads: ThreadPool,
        log: Option<Log>,
        timer: TimerHandle,
        delay: usize,
    ) {
        let path = self.path();
        let known = self.version.borrow().clone();
        let file = Rc::clone(self);
        let posted = threads.run(
            move || file::read(path, known.as_ref(), worker::is_ending),
            move |reading| {
                if let Some(reading) = reading {
                    file.finish(reading, log);
                }
                timer.again(delay);
            },
        );
        if posted.is_err() {
            timer.again(delay);
        }
    }

    /// Takes over what a thread has read. If that is nothing, the previous catalog is kept.
    fn finish(&self, reading: Reading, log: Option<Log>) {
        let (result, version) = match reading {
            Reading::Unchanged => {
                #[cfg(feature = "plays")]
                self.health.unchanged();
                return;
            }
            Reading::Disturbed => return,
            Reading::Read(catalog, report, version) => match boxed(catalog) {
                Ok(catalog) => (Ok((catalog, report)), version),
                // The next check reads it again.
                Err(_) => (Err(LoadError::NO_MEMORY), FileVersion::TooLarge),
            },
            Reading::Refused(error, version) => (Err(error), version),
        };
        self.version.replace(Some(version));
        let path = Text(self.path);
        let write = |level, message: fmt::Arguments<'_>| {
            if let Some(log) = log {
                log.write(level, 0, message);
            }
        };
        match result {
            Ok((catalog, report)) => {
                let old = self.current.replace(Some(catalog));
                retire(old, self.threads);
                #[cfg(feature = "plays")]
                self.health.read(&report);
                let count = report.usable;
                write(Level::Notice, format_args!("catalog \"{path}\" reloaded: {count} entries"));
                let level = if report.may_withhold { Level::Error } else { Level::Warn };
                for line in report.lines() {
                    write(level, format_args!("catalog \"{path}\": {line}"));
                }
            }
            Err(error) => {
                #[cfg(feature = "plays")]
                self.health.failed();
                let state = match self.current().is_some() {
                    true => "not reloaded, keeping the previous version",
                    false => "not loaded",
                };
                write(Level::Error, format_args!("catalog \"{path}\" {state}: {error}"));
            }
        }
    }
}

/// Frees a catalog that is not used any more. A large one would block the event loop meanwhile: a
/// thread does that.
fn retire(catalog: Option<Box<Catalog>>, threads: Option<ThreadPool>) {
    if let (Some(catalog), Some(pool), true) = (catalog, threads, worker::is_worker()) {
        // If that can't be done, the catalog is freed here after all.
        let _ = pool.run(move || drop(catalog), |_| {});
    }
}
