//! Reads a catalog's file, and tells whether it has changed. Blocks: at start and reload in the
//! master process, later only in threads.

#![forbid(unsafe_code)]

use core::fmt;
use core::time::Duration;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use model::catalog::{ReadError, Report};

use super::Catalog;
use crate::nginx::log::{Errno, Text};

/// Longer than the steps in which file systems count time. A file that was written to since then
/// could be written to again without a change in its time.
const SETTLED: Duration = Duration::from_millis(20);

/// What tells one version of a file from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileVersion {
    /// Device, inode, size in bytes, and the times at which content and inode were changed last,
    /// in seconds and nanoseconds. Anybody who may write to the file can set the first one, nobody
    /// the second.
    File { device: u64, inode: u64, size: u64, modified: (i64, i64), changed: (i64, i64) },
    /// It can't be read, with this error of the system.
    Unreadable(Option<i32>),
    /// There is no memory for it.
    TooLarge,
    /// It is not a regular file.
    NotAFile,
}

impl FileVersion {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self::File {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The same; `None` if a change might not be seen in it yet.
    #[cfg(feature = "s3")]
    pub(crate) fn settled(metadata: &Metadata) -> Option<Self> {
        (!is_fresh(metadata)).then(|| Self::of(metadata))
    }
}

/// Why a catalog is not loaded. It is shown as a part of a message.
#[derive(Debug)]
pub(crate) enum LoadError<'p> {
    /// A system call failed.
    System(&'static str, &'p Path, io::Error),
    NotAFile,
    Invalid(ReadError<'static>),
    /// It was written to during each of several attempts.
    Busy,
}

impl LoadError<'_> {
    pub(super) const NO_MEMORY: Self = Self::Invalid(ReadError::NoMemory);

    /// The version of a file that can't be loaded, where that does not depend on its content.
    fn version(&self) -> Option<FileVersion> {
        match self {
            Self::System(_, _, error) | Self::Invalid(ReadError::Io(error)) => {
                Some(FileVersion::Unreadable(error.raw_os_error()))
            }
            Self::Invalid(error) if error.is_temporary() => Some(FileVersion::TooLarge),
            Self::NotAFile => Some(FileVersion::NotAFile),
            Self::Invalid(_) | Self::Busy => None,
        }
    }
}

impl fmt::Display for LoadError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(call, path, error) => {
                let path = Text(path.as_os_str().as_bytes());
                write!(f, "{call}() \"{path}\" failed ({})", Errno(error))
            }
            Self::Invalid(ReadError::Io(error)) => write!(f, "read() failed ({})", Errno(error)),
            Self::Invalid(error) => error.fmt(f),
            Self::NotAFile => f.write_str("not a regular file"),
            Self::Busy => f.write_str("file is being written to"),
        }
    }
}

/// What reading a file has come to.
#[derive(Debug)]
pub(crate) enum Reading {
    /// The file has not changed.
    Unchanged,
    /// A catalog, what was found in it, and the version of the file that it was read from.
    Read(Catalog, Report, FileVersion),
    /// This version of the file can't be loaded.
    Refused(LoadError<'static>, FileVersion),
    /// The file was written to while it was read, or replaced after it was opened, or the process
    /// is about to end: nothing is known of its version now.
    Disturbed,
}

/// Reads the file unless it has the version `known`. `must_stop` is called now and then.
pub(crate) fn read(
    path: &'static Path,
    known: Option<&FileVersion>,
    must_stop: fn() -> bool,
) -> Reading {
    read_changed(path, known, must_stop).unwrap_or_else(|error| match error.version() {
        Some(version) if known != Some(&version) => Reading::Refused(error, version),
        _ => Reading::Unchanged,
    })
}

fn read_changed(
    path: &'static Path,
    known: Option<&FileVersion>,
    must_stop: fn() -> bool,
) -> Result<Reading, LoadError<'static>> {
    // Anything but a regular file is refused without waiting for it: a FIFO would block.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = file.map_err(|error| LoadError::System("open", path, error))?;
    let stat = |error| LoadError::System("fstat", path, error);
    let metadata = file.metadata().map_err(stat)?;
    if !metadata.is_file() {
        return Err(LoadError::NotAFile);
    }
    if known == Some(&FileVersion::of(&metadata)) {
        return Ok(Reading::Unchanged);
    }
    if was_replaced(path, known, &metadata) {
        return Ok(Reading::Disturbed);
    }

    let before = settled(&file, &metadata).map_err(stat)?;
    let catalog = Catalog::read(Stoppable(&file, must_stop));
    let after = FileVersion::of(&file.metadata().map_err(stat)?);
    if must_stop() || after != before {
        return Ok(Reading::Disturbed);
    }
    match catalog {
        Ok((catalog, report)) => Ok(Reading::Read(catalog, report, before)),
        // The same bytes are tried again next time.
        Err(error) if error.is_temporary() => Err(LoadError::Invalid(error)),
        Err(error) => Ok(Reading::Refused(LoadError::Invalid(error), before)),
    }
}

/// Whether the file that was opened is the known one, and another or none is at its path now. A rename
/// over a file changes the inode of the old one too: without this check its catalog would be taken once
/// more.
fn was_replaced(path: &Path, known: Option<&FileVersion>, open: &Metadata) -> bool {
    let id = (open.dev(), open.ino());
    let is_known = match known {
        Some(FileVersion::File { device, inode, .. }) => (*device, *inode) == id,
        _ => false,
    };
    is_known && !fs::metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == id)
}

/// The file's version at a moment after which any change is seen in it.
fn settled(file: &File, metadata: &Metadata) -> io::Result<FileVersion> {
    if is_fresh(metadata) {
        thread::sleep(SETTLED);
        return file.metadata().map(|metadata| FileVersion::of(&metadata));
    }
    Ok(FileVersion::of(metadata))
}

/// Whether the file was changed so lately that another change may have the same time.
fn is_fresh(metadata: &Metadata) -> bool {
    // Writing to the file changes the inode, too. A time before 1970 is long ago.
    let changed = u64::try_from(metadata.ctime())
        .and_then(|seconds| Ok(Duration::new(seconds, u32::try_from(metadata.ctime_nsec())?)));
    let age = changed.map(|changed| SystemTime::now().duration_since(UNIX_EPOCH + changed));
    matches!(age, Ok(Ok(age)) if age < SETTLED)
}

/// A reader that fails when the process is about to end: nginx waits for its threads then.
struct Stoppable<'f>(&'f File, fn() -> bool);

impl Read for Stoppable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if (self.1)() {
            return Err(io::Error::other("the process is about to end"));
        }
        self.0.read(buffer)
    }
}
