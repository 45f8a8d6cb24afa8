//! The state file of a zone: read when the zone is made, and written by worker processes at intervals
//! and by the last process that has the zone.
//!
//! What is in the file, and why nothing is counted twice, is in `model::plays::StatePass`. Zones that
//! count for the same file write it one after the other, under a lock on its lock file. There each
//! zone has a lock of its own as long as it has processes, so that the others know when its counts are
//! final. Processes inherit it from the master process; the system releases it, however they end.

#![forbid(unsafe_code)]

use core::cell::{OnceCell, RefCell};
use core::fmt;
use core::time::Duration;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;

use model::plays::{StateError, StatePass, Text as Buffer, Zone};

use super::zone::StatsZone;
use crate::config::MainConf;
use crate::nginx::guard::fault_point;
use crate::nginx::lock::{is_locked, try_lock};
use crate::nginx::log::{Errno, Level, Log, Text};
use crate::nginx::user::{Permission, WorkerUser};
use crate::nginx::worker::{self, Cycle, TimerHandle};
use crate::nginx::zone::worker_number;

/// How often the file is written unless `save` says otherwise, in milliseconds.
const DEFAULT_INTERVAL: usize = 60_000;

/// The longest interval: a day, in milliseconds.
pub(super) const MAX_INTERVAL: u64 = 24 * 60 * 60 * 1000;

/// The longest time until a file is tried again that another process is writing, in milliseconds.
const RETRY: usize = 1000;

/// Between two steps the event loop does what else there is to do, in milliseconds.
const PAUSE: usize = 1;

/// What is done in one step, which takes less than a millisecond: bytes that are read, slots that are
/// looked at.
const PIECE: usize = 16 << 10;
const SLOTS: usize = 1 << 10;

/// How long a process that ends waits for another one that is writing the file.
const PATIENCE: Duration = Duration::from_secs(5);

/// The byte of the lock file that the process that is writing has locked. Those at the ids of zones
/// are theirs.
const WRITER: u64 = 0;

/// The parameter `state`.
#[derive(Debug)]
pub(super) struct State {
    path: &'static Path,
    /// What is being written, until it is renamed.
    next: PathBuf,
    lock: PathBuf,
    interval: usize,
    /// Whom files are given that root makes. Set when all of the configuration is read.
    owner: OnceCell<Option<WorkerUser>>,
    /// The lock file, open as long as the zone is in use.
    alive: OnceCell<Rc<File>>,
    saving: RefCell<Option<Save>>,
}

/// Why the file can't be read or written.
#[derive(Debug)]
pub(super) enum Problem {
    /// A system call failed.
    System(&'static str, PathBuf, io::Error),
    Invalid(PathBuf, StateError),
    NotAFile(PathBuf),
    /// Another process is writing for long.
    Busy(PathBuf),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |path: &PathBuf| Text(path.as_os_str().as_bytes()).to_string();
        match self {
            Self::System(call, path, error) => {
                write!(f, "{call}() \"{}\" failed ({})", text(path), Errno(error))
            }
            Self::Invalid(path, why) => write!(f, "\"{}\": {why}", text(path)),
            Self::NotAFile(path) => write!(f, "\"{}\" is not a regular file", text(path)),
            Self::Busy(path) => write!(f, "\"{}\" is locked by another process", text(path)),
        }
    }
}

fn system<'p>(call: &'static str, path: &'p Path) -> impl Fn(io::Error) -> Problem + 'p {
    move |error| Problem::System(call, path.to_owned(), error)
}

impl State {
    /// The file at an absolute path.
    pub(super) fn new(path: &'static [u8], interval: Option<usize>) -> Self {
        let path = Path::new(OsStr::from_bytes(path));
        let with = |suffix: &str| {
            let mut path = OsString::from(path);
            path.push(suffix);
            PathBuf::from(path)
        };
        let (next, lock) = (with(".tmp"), with(".lock"));
        let interval = interval.unwrap_or(DEFAULT_INTERVAL);
        let (owner, alive, saving) = Default::default();
        Self { path, next, lock, interval, owner, alive, saving }
    }

    /// Whether this is the same file.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.path == other.path
    }

    /// Reads the file for a zone that was just made, and returns how many of its spaces there is no
    /// room for. There may be no file yet.
    pub(super) fn load(&self, zone: &Zone<'static>) -> Result<u64, Problem> {
        fault_point("state");
        let mut pass = StatePass::new(zone);
        let Some(mut file) = self.open()? else { return Ok(0) };
        let mut buffer = self.buffer()?;
        loop {
            let piece = self.read(&mut file, &mut buffer)?;
            if piece.is_empty() {
                break;
            }
            pass.read(piece, None, |_| true).map_err(|why| self.invalid(why))?;
        }
        pass.end().map_err(|why| self.invalid(why))?;
        Ok(pass.without_slot())
    }

    /// Tells others that the zone has a process, as long as there is one. `earlier` is that of the
    /// same zone in an earlier configuration.
    pub(super) fn keep_alive(
        &self,
        zone: &Zone<'_>,
        earlier: Option<&Self>,
    ) -> Result<(), Problem> {
        let earlier = earlier.filter(|earlier| self.is_same(earlier));
        let file = match earlier.and_then(|earlier| earlier.alive.get()) {
            Some(file) => Rc::clone(file),
            None => {
                let file = self.open_lock()?;
                // Nobody else has this id.
                try_lock(&file, zone.id()).map_err(system("fcntl", &self.lock))?;
                Rc::new(file)
            }
        };
        let _ = self.alive.set(file);
        Ok(())
    }

    /// The file, if there is one.
    fn open(&self) -> Result<Option<File>, Problem> {
        // Root does not follow a link that another user has made, nor wait for a FIFO.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(system("open", self.path)(error)),
        };
        match file.metadata() {
            Ok(metadata) if metadata.is_file() => Ok(Some(file)),
            Ok(_) => Err(Problem::NotAFile(self.path.to_owned())),
            Err(error) => Err(system("fstat", self.path)(error)),
        }
    }

    fn open_lock(&self) -> Result<File, Problem> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        match options.open(&self.lock) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match self.create(&self.lock) {
                    // Another process was faster.
                    Err(Problem::System(_, _, error))
                        if error.kind() == io::ErrorKind::AlreadyExists =>
                    {
                        options.open(&self.lock).map_err(system("open", &self.lock))
                    }
                    created => created,
                }
            }
            opened => opened.map_err(system("open", &self.lock)),
        }
    }

    /// Makes a new file, which is the workers' user's.
    fn create(&self, path: &Path) -> Result<File, Problem> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o640).custom_flags(libc::O_NOFOLLOW);
        let file = options.open(path).map_err(system("open", path))?;
        match self.owner.get() {
            Some(Some(owner)) if !worker::is_worker() => {
                owner.give(&file).map_err(system("fchown", path))?;
            }
            _ => {}
        }
        Ok(file)
    }

    fn buffer(&self) -> Result<Vec<u8>, Problem> {
        let mut buffer = Vec::new();
        let reserved = buffer.try_reserve_exact(PIECE);
        reserved.map_err(|_| self.invalid(StateError::NoMemory))?;
        buffer.resize(PIECE, 0);
        Ok(buffer)
    }

    fn read<'b>(&self, file: &mut File, buffer: &'b mut [u8]) -> Result<&'b [u8], Problem> {
        let len = file.read(buffer).map_err(system("read", self.path))?;
        Ok(buffer.get(..len).unwrap_or_default())
    }

    fn invalid(&self, why: StateError) -> Problem {
        Problem::Invalid(self.path.to_owned(), why)
    }

    /// Keeps a damaged file, for the next version to be written without it.
    fn set_aside(&self) -> Result<PathBuf, Problem> {
        let mut aside = OsString::from(self.path);
        aside.push(".damaged");
        fs::rename(self.path, &aside).map_err(system("rename", self.path))?;
        Ok(aside.into())
    }

    /// Checks the directory. `owner`: the user that the workers will run as.
    fn check(&self, owner: Option<&WorkerUser>) -> Result<Option<String>, Problem> {
        let directory = self.path.parent().unwrap_or(self.path);
        let metadata = fs::metadata(directory).map_err(system("stat", directory))?;
        let can_write = owner.is_none_or(|owner| {
            owner.has(Permission::Write, &metadata) && owner.has(Permission::Search, &metadata)
        });
        Ok((!can_write).then(|| Text(directory.as_os_str().as_bytes()).to_string()))
    }

    /// Makes a step. Returns after how many milliseconds the next one is.
    fn step(&self, zone: &Zone<'static>) -> Result<usize, Problem> {
        fault_point("state");
        let mut saving = self.saving.borrow_mut();
        let mut save = match saving.take() {
            Some(save) => save,
            None => match Save::begin(self, zone)? {
                Some(save) => save,
                None => return Ok(self.interval.min(RETRY)),
            },
        };
        if save.step(self)? {
            return Ok(self.interval);
        }
        *saving = Some(save);
        Ok(PAUSE)
    }

    /// Writes the file at once, in a process that ends.
    fn save(&self, zone: &Zone<'static>) -> Result<(), Problem> {
        fault_point("state");
        // It would have less in it.
        drop(self.saving.take());
        let mut waited = Duration::ZERO;
        let mut save = loop {
            match Save::begin(self, zone)? {
                Some(save) => break save,
                None if waited >= PATIENCE => return Err(Problem::Busy(self.path.to_owned())),
                None => {
                    const WAIT: Duration = Duration::from_millis(10);
                    thread::sleep(WAIT);
                    waited += WAIT;
                }
            }
        };
        while !save.step(self)? {}
        Ok(())
    }
}

/// A file that is being written.
#[derive(Debug)]
struct Save {
    /// Others write it when this is closed.
    lock: File,
    /// The previous version, until all of it was read.
    old: Option<File>,
    next: NextFile,
    pass: StatePass<'static>,
    buffer: Vec<u8>,
    text: Buffer,
}

impl Save {
    /// Begins, unless another process is writing the file.
    fn begin(state: &State, zone: &Zone<'static>) -> Result<Option<Self>, Problem> {
        let lock = state.open_lock()?;
        if !try_lock(&lock, WRITER).map_err(system("fcntl", &state.lock))? {
            return Ok(None);
        }
        let old = state.open()?;
        // That of a process that was killed.
        match fs::remove_file(&state.next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(system("unlink", &state.next)(error));
            }
            _ => {}
        }
        let file = state.create(&state.next)?;
        let next = NextFile { file, path: Some(state.next.clone()) };
        let (pass, buffer) = (StatePass::new(zone), state.buffer()?);
        Ok(Some(Self { lock, old, next, pass, buffer, text: Buffer::default() }))
    }

    /// Reads and writes a piece. Returns whether it was the last one: then the file is replaced.
    fn step(&mut self, state: &State) -> Result<bool, Problem> {
        self.text.clear();
        let is_complete = match &mut self.old {
            Some(old) => {
                let piece = state.read(old, &mut self.buffer)?;
                let read = if piece.is_empty() {
                    self.old = None;
                    self.pass.end()
                } else {
                    let lock = &self.lock;
                    // If it can't be known, its column stays.
                    let is_alive = |id| is_locked(lock, id).unwrap_or(true);
                    self.pass.read(piece, Some(&mut self.text), is_alive)
                };
                read.map_err(|why| state.invalid(why))?;
                false
            }
            None => {
                let appended = self.pass.append(SLOTS, &mut self.text);
                appended.map_err(|why| state.invalid(why))?
            }
        };
        let written = self.next.file.write_all(self.text.as_bytes());
        written.map_err(system("write", &state.next))?;
        if is_complete {
            fs::rename(&state.next, state.path).map_err(system("rename", &state.next))?;
            self.next.path = None;
        }
        Ok(is_complete)
    }
}

/// A file that is removed unless it gets another name.
#[derive(Debug)]
struct NextFile {
    file: File,
    path: Option<PathBuf>,
}

impl Drop for NextFile {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What is left is removed before the next one is made.
            let _ = fs::remove_file(path);
        }
    }
}

/// The zones with a state file.
fn zones(main: &MainConf) -> impl Iterator<Item = Rc<StatsZone>> {
    let zones = main.zones.borrow().clone();
    zones.into_iter().filter(|zone| zone.is_used() && zone.state().is_some())
}

/// Checks whether the workers can write the files. This takes the whole configuration, what follows
/// `http {}` too.
pub(crate) fn check(cycle: Cycle, main: &MainConf) -> Result<(), crate::config::check::Refused> {
    let mut zones = zones(main).peekable();
    let user = zones.peek().and_then(|_| WorkerUser::of(cycle));
    zones.try_for_each(|zone| {
        let Some(state) = zone.state() else { return Ok(()) };
        let log = |level, message: String| zone.position.log(cycle.log_handle(), level, message);
        let _ = state.owner.set(user.clone());
        let name = Text(zone.name);
        match (state.check(user.as_ref()), &user) {
            (Err(why), _) => {
                log(Level::Emerg, format!("state file of zone \"{name}\" not writable: {why}"));
                return Err(crate::config::check::Refused);
            }
            (Ok(Some(directory)), Some(user)) => log(
                Level::Warn,
                format!(
                    "state file of zone \"{name}\" will not be written: worker user \"{}\" has no \
                     permission to create files in \"{directory}\"",
                    user.name
                ),
            ),
            (Ok(_), _) => {}
        }
        Ok(())
    })
}

/// Starts to write the files at intervals, in one of the processes that handle requests.
pub(crate) fn begin(cycle: Cycle, main: &MainConf) -> Result<(), crate::nginx::Failure> {
    if worker_number() != 0 {
        return Ok(());
    }
    let log = cycle.log_handle();
    zones(main).try_for_each(|zone| {
        let interval = zone.state().map_or(DEFAULT_INTERVAL, |state| state.interval);
        cycle.start_timer(interval, move |timer| tick(&zone, log, timer))
    })
}

fn tick(zone: &StatsZone, log: Option<Log>, timer: TimerHandle) {
    let (Some(state), Some(tables)) = (zone.state(), zone.tables()) else { return };
    let delay = state.step(tables).unwrap_or_else(|problem| {
        report(zone, state, &problem, log);
        state.interval
    });
    timer.again(delay);
}

fn report(zone: &StatsZone, state: &State, problem: &Problem, log: Option<Log>) {
    let (Some(log), name) = (log, Text(zone.name)) else { return };
    log.write(
        Level::Error,
        0,
        format_args!("could not write the state file of zone \"{name}\": {problem}"),
    );
    let is_damaged =
        matches!(problem, Problem::Invalid(_, StateError::Invalid(..) | StateError::Version));
    if !is_damaged {
        return;
    }
    match state.set_aside() {
        Ok(aside) => {
            let aside = Text(aside.as_os_str().as_bytes());
            log.write(
                Level::Warn,
                0,
                format_args!("the state file of zone \"{name}\" was renamed to \"{aside}\""),
            );
        }
        Err(why) => log.write(Level::Error, 0, format_args!("{why}")),
    }
}

/// Notes which zones of the configuration before this one are no longer those of the master process,
/// whose last process writes the file then.
pub(crate) fn retire(cycle: Cycle, main: &MainConf) {
    let Some(old) = cycle.previous().and_then(Cycle::main_conf::<MainConf>) else { return };
    for zone in zones(old) {
        let Some(tables) = zone.tables() else { continue };
        let is_kept = zones(main).any(|new| {
            let is_same = new.tables().is_some_and(|new| new.id() == tables.id());
            is_same && matches!((new.state(), zone.state()), (Some(a), Some(b)) if a.is_same(b))
        });
        if !is_kept {
            tables.retire();
        }
    }
}

/// Writes the files of zones that only this process and others that end have.
pub(crate) fn end_process(cycle: Cycle, main: &MainConf) {
    save_all(cycle, zones(main).filter(|zone| zone.tables().is_some_and(Zone::is_retired)));
}

/// Writes all files, when the master process ends.
pub(crate) fn end_master(cycle: Cycle, main: &MainConf) {
    save_all(cycle, zones(main));
}

fn save_all(cycle: Cycle, zones: impl Iterator<Item = Rc<StatsZone>>) {
    let log = cycle.log_handle();
    for zone in zones {
        let (Some(state), Some(tables)) = (zone.state(), zone.tables()) else { continue };
        let Err(problem) = state.save(tables) else { continue };
        report(&zone, state, &problem, log);
        // Once more, without what was damaged.
        if matches!(problem, Problem::Invalid(..)) {
            if let Err(problem) = state.save(tables) {
                report(&zone, state, &problem, log);
            }
        }
    }
}
