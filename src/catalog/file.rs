//! Reads a catalog's file, and tells whether it has changed. Blocks: at start and reload in the
//! master process, later only in threads.

#![forbid(unsafe_code)]

use core::time::Duration;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use model::catalog::{Catalog, Report};

use crate::nginx::log::Errno;

/// Longer than the steps in which file systems count time. A file that was written to since then
/// could be written to again without a change in its time.
const SETTLED: Duration = Duration::from_millis(20);

/// What tells one state of a file from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileVersion {
    /// Device, inode, size in bytes, and the times at which content and inode were changed last,
    /// in seconds and nanoseconds. The first can be set by anybody who may write to the file, the
    /// second by nobody.
    File { device: u64, inode: u64, size: u64, modified: (i64, i64), changed: (i64, i64) },
    /// It can't be opened or is no regular file.
    Unusable(String),
}

impl FileVersion {
    fn of(metadata: &Metadata) -> Self {
        Self::File {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// What reading a file has come to.
#[derive(Debug)]
pub(crate) enum Reading {
    /// The file is as it was.
    Unchanged,
    /// A catalog, what is to be said of it, and the state of the file that it was read from.
    Read(Catalog, Report, FileVersion),
    /// The file can't be taken in this state.
    Refused(String, FileVersion),
    /// The file was written to while it was read, or the process is about to end: nothing is
    /// known of its state now.
    Disturbed,
}

/// Reads the file unless it is in the state `known`. `must_stop` is asked now and then.
pub(crate) fn read(path: &Path, known: Option<&FileVersion>, must_stop: fn() -> bool) -> Reading {
    match read_changed(path, known, must_stop) {
        Ok(reading) => reading,
        Err(why) => match FileVersion::Unusable(why.clone()) {
            state if known == Some(&state) => Reading::Unchanged,
            state => Reading::Refused(why, state),
        },
    }
}

fn read_changed(
    path: &Path,
    known: Option<&FileVersion>,
    must_stop: fn() -> bool,
) -> Result<Reading, String> {
    let failed = |error: io::Error| format!("it can't be read ({})", Errno(&error));

    // Anything but a regular file is refused without waiting for it: a FIFO would block.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = file.map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err("it is not a regular file".into());
    }
    if known == Some(&FileVersion::of(&metadata)) {
        return Ok(Reading::Unchanged);
    }

    let before = settled(&file, &metadata).map_err(failed)?;
    let catalog = Catalog::read(Stoppable(&file, must_stop));
    let after = FileVersion::of(&file.metadata().map_err(failed)?);
    if must_stop() || after != before {
        return Ok(Reading::Disturbed);
    }
    match catalog {
        Ok((catalog, report)) => Ok(Reading::Read(catalog, report, before)),
        // The same bytes are tried again next time.
        Err(error) if error.is_passing() => Err(error.to_string()),
        Err(error) => Ok(Reading::Refused(error.to_string(), before)),
    }
}

/// The file's state at a moment after which any change is seen in it.
fn settled(file: &File, metadata: &Metadata) -> io::Result<FileVersion> {
    // Whoever writes to the file changes the inode, too. A time before 1970 is long ago.
    let changed = u64::try_from(metadata.ctime())
        .and_then(|seconds| Ok(Duration::new(seconds, u32::try_from(metadata.ctime_nsec())?)));
    let age = changed.map(|changed| SystemTime::now().duration_since(UNIX_EPOCH + changed));
    match age {
        Ok(Ok(age)) if age < SETTLED => {
            thread::sleep(SETTLED);
            file.metadata().map(|metadata| FileVersion::of(&metadata))
        }
        _ => Ok(FileVersion::of(metadata)),
    }
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
