//! The catalogs of a configuration: read with it, and again by each worker process when their
//! files change.

#![forbid(unsafe_code)]

pub(crate) mod file;

use core::cell::{Ref, RefCell};
use core::fmt;
use core::time::Duration;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use model::catalog::{Catalog, Report};

use self::file::{FileVersion, Reading};
use crate::nginx::Failure;
use crate::nginx::configuration::ConfPosition;
use crate::nginx::log::{Level, Log, Text};
use crate::nginx::threads::ThreadPool;
use crate::nginx::worker::{self, Cycle, TimerHandle};

/// How often a file is looked at unless `refresh` says otherwise.
pub(crate) const DEFAULT_REFRESH: Duration = Duration::from_secs(5);

/// A catalog's file and what was read from it last. All locations that name the file share it.
#[derive(Debug)]
pub(crate) struct CatalogFile {
    path: &'static [u8],
    /// How often the file is looked at; `None`: only at start and reload.
    pub(crate) refresh: Option<Duration>,
    /// Whether there may be no catalog yet.
    pub(crate) optional: bool,
    /// `refresh` as the value of Retry-After (RFC 9110, section 10.2.3): whole seconds.
    pub(crate) retry_after: Box<str>,
    /// The first directive that names the file.
    pub(crate) place: ConfPosition,
    /// Where files are read. `None` in an nginx without threads.
    threads: Option<ThreadPool>,
    /// Nobody holds on to it when a call of a handler ends.
    current: RefCell<Option<Box<Catalog>>>,
    state: RefCell<Option<FileVersion>>,
}

impl CatalogFile {
    /// A source that has read nothing yet. `path` is absolute.
    pub(crate) fn new(
        path: &'static [u8],
        refresh: Option<Duration>,
        optional: bool,
        place: ConfPosition,
        threads: Option<ThreadPool>,
    ) -> Self {
        let seconds = refresh.unwrap_or_default().as_secs_f64().ceil().max(1.0);
        Self {
            path,
            refresh,
            optional,
            retry_after: format!("{seconds:.0}").into(),
            place,
            threads,
            current: RefCell::default(),
            state: RefCell::default(),
        }
    }

    /// The file's path.
    pub(crate) fn path(&self) -> &'static Path {
        Path::new(OsStr::from_bytes(self.path))
    }

    /// Whether this is the source of the file at a path.
    pub(crate) fn has_path(&self, path: &[u8]) -> bool {
        self.path == path
    }

    /// Reads the file while the configuration is read.
    ///
    /// # Errors
    ///
    /// Why the catalog can't be taken: the configuration is not valid then.
    pub(crate) fn load(&self) -> Result<Report, String> {
        // A file that is being written to has another chance: a reload must not fail by chance.
        const TRIES: usize = 10;
        for _ in 0..TRIES {
            match file::read(self.path(), None, || false) {
                Reading::Read(catalog, report, state) => {
                    self.current.replace(Some(Box::new(catalog)));
                    self.state.replace(Some(state));
                    return Ok(report);
                }
                Reading::Refused(why, state) => {
                    self.state.replace(Some(state));
                    return Err(why);
                }
                Reading::Unchanged | Reading::Disturbed => {}
            }
        }
        Err("it is being written to all the time".into())
    }

    /// The catalog, for as long as a handler does not return to the event loop: what is read
    /// later takes its place. `None` as long as an optional one was not read.
    pub(crate) fn current(&self) -> Ref<'_, Option<Box<Catalog>>> {
        self.current.borrow()
    }

    /// Starts looking at the file, in a worker process: at once, for the master may have read it
    /// long before the process was started, and then from time to time.
    pub(crate) fn watch(self: &Rc<Self>, cycle: Cycle) -> Result<(), Failure> {
        let threads = self.threads.filter(|threads| threads.is_there());
        let (Some(refresh), Some(threads)) = (self.refresh, threads) else { return Ok(()) };
        let delay = usize::try_from(refresh.as_millis()).unwrap_or(usize::MAX);
        let source = Rc::clone(self);
        cycle.start_timer(0, move |timer| source.look(threads, cycle.log_handle(), timer, delay))
    }

    /// Has a thread look at the file, and starts the timer again when that is done.
    fn look(
        self: &Rc<Self>,
        threads: ThreadPool,
        log: Option<Log>,
        timer: TimerHandle,
        delay: usize,
    ) {
        let path = self.path();
        let known = self.state.borrow().clone();
        let source = Rc::clone(self);
        let posted = threads.run(
            move || file::read(path, known.as_ref(), worker::is_ending),
            move |reading| {
                if let Some(reading) = reading {
                    source.take(reading, log);
                }
                timer.again(delay);
            },
        );
        if posted.is_err() {
            timer.again(delay);
        }
    }

    /// Takes what a thread has read. The last good catalog stays if that is nothing.
    fn take(&self, reading: Reading, log: Option<Log>) {
        let path = Text(self.path);
        let write = |level, message: fmt::Arguments<'_>| {
            if let Some(log) = log {
                log.write(level, 0, message);
            }
        };
        match reading {
            Reading::Unchanged | Reading::Disturbed => {}
            Reading::Read(catalog, report, state) => {
                let old = self.current.replace(Some(Box::new(catalog)));
                self.state.replace(Some(state));
                retire(old, self.threads);
                let count = report.usable;
                write(
                    Level::Notice,
                    format_args!("catalog \"{path}\" was read again: {count} spaces"),
                );
                let level = if report.may_withhold { Level::Error } else { Level::Warn };
                for line in report.lines() {
                    write(level, format_args!("catalog \"{path}\": {line}"));
                }
            }
            Reading::Refused(why, state) => {
                self.state.replace(Some(state));
                let stays =
                    if self.current().is_some() { "stays as it was" } else { "was not read" };
                write(Level::Error, format_args!("catalog \"{path}\" {stays}: {why}"));
            }
        }
    }
}

/// Frees a catalog that nothing refers to any more. A large one would hold up the event loop
/// meanwhile: a thread does that.
fn retire(catalog: Option<Box<Catalog>>, threads: Option<ThreadPool>) {
    if let (Some(catalog), Some(pool), true) = (catalog, threads, worker::is_worker()) {
        // If that can't be done, the catalog is freed here after all.
        let _ = pool.run(move || drop(catalog), |_| {});
    }
}
