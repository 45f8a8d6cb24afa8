//! Why an environment can't be opened or read, as a part of a message.

#![forbid(unsafe_code)]

use core::ffi::{CStr, c_int};
use core::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use model::lmdb::MetaError;

use super::library::LibraryError;
use crate::nginx::log::{Errno, Text};

/// What a function of LMDB's has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// An error of the system.
    System(c_int),
    /// One of LMDB's, with its text.
    Lmdb(c_int, &'static CStr),
}

impl Code {
    /// There are as many readers as there is room for.
    pub(super) const READERS_FULL: c_int = -30790;
    /// The environment is larger than its map.
    pub(super) const MAP_RESIZED: c_int = -30785;
    /// There is no such key.
    pub(super) const NOT_FOUND: c_int = -30798;
    const VERSION_MISMATCH: c_int = -30794;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::System(code) => Errno(&io::Error::from_raw_os_error(code)).fmt(f),
            Self::Lmdb(code, text) => write!(f, "{code}: {}", text.to_string_lossy()),
        }
    }
}

/// A function of LMDB's that has failed, and its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed(pub(super) &'static str, pub(super) Code);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(function, code) = self;
        write!(f, "{function}() failed ({code})")?;
        match *code {
            // The lock on the byte of the process id (`mdb_reader_pid`).
            Code::System(libc::EAGAIN | libc::EACCES) if *function == "mdb_txn_begin" => f.write_str(
                ": a process with the same id has the environment open in another PID namespace",
            ),
            Code::Lmdb(Code::READERS_FULL, _) => {
                f.write_str(": the process that opened it first has set \"maxreaders\" too low")
            }
            Code::Lmdb(Code::VERSION_MISMATCH, _) => {
                f.write_str(": it is open in a process whose LMDB is not of 0.9")
            }
            _ => Ok(()),
        }
    }
}

/// Why an environment is not opened.
#[derive(Debug)]
pub(crate) enum OpenError<'p> {
    Library(LibraryError),
    /// A system call failed for a file.
    System(&'static str, &'p Path, io::Error),
    /// A file is no regular one.
    NotAFile(&'p Path),
    /// A file is none of LMDB's, or of another LMDB.
    Meta(&'p Path, MetaError),
    Call(Failed),
    /// Where `lock.mdb` can't be written LMDB reads without locks, while a writer reuses what is
    /// being read.
    NoLocks,
    /// A file was replaced in the meantime.
    Replaced,
}

impl<'p> OpenError<'p> {
    pub(super) fn system(call: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::System(call, path, error)
    }
}

impl From<Failed> for OpenError<'_> {
    fn from(failed: Failed) -> Self {
        Self::Call(failed)
    }
}

impl From<LibraryError> for OpenError<'_> {
    fn from(error: LibraryError) -> Self {
        Self::Library(error)
    }
}

impl fmt::Display for OpenError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn shown(path: &Path) -> Text<'_> {
            Text(path.as_os_str().as_bytes())
        }
        match self {
            Self::Library(error) => error.fmt(f),
            Self::System(call, path, error) => {
                write!(f, "{call}() \"{}\" failed ({})", shown(path), Errno(error))
            }
            Self::NotAFile(path) => write!(f, "\"{}\" is not a regular file", shown(path)),
            Self::Meta(path, error) => write!(f, "\"{}\": {error}", shown(path)),
            Self::Call(failed) => failed.fmt(f),
            Self::NoLocks => f.write_str("its file system is read-only, so there are no locks"),
            Self::Replaced => f.write_str("it is being replaced"),
        }
    }
}

/// Why an entry can't be read.
#[derive(Debug)]
pub(crate) enum LookError {
    /// The environment is not open.
    Closed,
    /// The environment can't be read any more and must be closed.
    Lost(Failed),
    Call(Failed),
    /// The keys are not sorted as strings, or have several values.
    Flags(MetaError),
    NoMemory,
}

impl fmt::Display for LookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("not open"),
            Self::Lost(failed) | Self::Call(failed) => failed.fmt(f),
            Self::Flags(error) => error.fmt(f),
            Self::NoMemory => f.write_str("no memory"),
        }
    }
}
