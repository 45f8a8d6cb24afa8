//! The file of credentials.
//!
//! The master process reads it with the configuration. Whoever signs a request afterwards checks once a
//! second whether the file has changed, and reads it again: a stat() of a local file and now and then the
//! reading of a small one, as for a static file. There is no timer, which would end when a worker is
//! told to exit, hours before its last slice.

#![forbid(unsafe_code)]

use core::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::rc::Rc;

use model::s3::{Credentials, MAX_FILE_LEN};

use crate::catalog::file::FileVersion;
use crate::nginx::configuration::ConfPosition;
use crate::nginx::log::{Errno, Level, Log, Text};
use crate::nginx::time::now;

/// A profile in a file of credentials.
#[derive(Debug)]
pub(crate) struct CredentialsFile {
    path: &'static [u8],
    profile: Box<str>,
    pub(super) position: ConfPosition,
    /// The latest that could be read.
    current: RefCell<Rc<Credentials>>,
    /// The version of the file that was read last, whether it could be or not; `None` if it may have
    /// changed since then without a difference.
    version: RefCell<Version>,
    /// What was reported of the latest version.
    reported: RefCell<String>,
    /// Whether workers may read the file.
    is_watched: Cell<bool>,
    /// The second of the latest check.
    checked: Cell<u64>,
}

/// The version of a file that was read; `None` if it may change without a difference.
type Version = Option<FileVersion>;

/// What reading a file has come to, with its version if it could be opened.
type Reading = Result<(Credentials, Version), (String, Option<Version>)>;

impl CredentialsFile {
    /// Reads the file, with the configuration.
    ///
    /// # Errors
    ///
    /// Why the configuration is refused.
    pub(super) fn load(
        path: &'static [u8],
        profile: &str,
        position: ConfPosition,
        log: Option<Log>,
    ) -> Result<Self, String> {
        let (credentials, version) = read(path, profile).map_err(|(why, _)| why)?;
        if fs_mode(path).is_some_and(|mode| mode & 0o004 != 0) {
            let path = Text(path);
            let message = format!("credentials file \"{path}\" can be read by all users");
            position.log(log, Level::Warn, message);
        }
        Ok(Self {
            path,
            profile: profile.into(),
            position,
            current: RefCell::new(Rc::new(credentials)),
            version: RefCell::new(version),
            reported: RefCell::default(),
            is_watched: Cell::new(true),
            checked: Cell::new(0),
        })
    }

    /// Whether it is that profile in the file at that path.
    pub(super) fn is(&self, path: &[u8], profile: &str) -> bool {
        self.path == path && *self.profile == *profile
    }

    /// The file's path.
    pub(super) fn path(&self) -> &'static Path {
        Path::new(OsStr::from_bytes(self.path))
    }

    /// Has workers leave the file alone, because they can't read it.
    pub(super) fn ignore_changes(&self) {
        self.is_watched.set(false);
    }

    /// The credentials to sign with.
    pub(super) fn current(&self) -> Rc<Credentials> {
        let now = now();
        if self.is_watched.get() && self.checked.replace(now) != now {
            self.refresh();
        }
        Rc::clone(&self.current.borrow())
    }

    /// Reads the file again if it has changed. A bad one is reported once.
    fn refresh(&self) {
        let known = self.version.borrow().clone();
        let found = std::fs::metadata(self.path());
        let found = match &found {
            Ok(metadata) => FileVersion::of(metadata),
            Err(error) => FileVersion::Unreadable(error.raw_os_error()),
        };
        if known.as_ref() == Some(&found) {
            return;
        }
        let shown = Text(self.path);
        let write = |level, message: core::fmt::Arguments<'_>| {
            if let Some(log) = Log::of_process() {
                log.write(level, 0, message);
            }
        };
        match read(self.path, &self.profile) {
            Ok((credentials, version)) => {
                self.version.replace(version);
                let was_bad = !self.reported.take().is_empty();
                if was_bad || !self.current.borrow().is_same(&credentials) {
                    self.current.replace(Rc::new(credentials));
                    write(Level::Notice, format_args!("credentials \"{shown}\" reloaded"));
                }
            }
            Err((why, version)) => {
                // What can't be opened is what stat() has found.
                self.version.replace(version.unwrap_or(Some(found)));
                if *self.reported.borrow() != why {
                    write(
                        Level::Error,
                        format_args!(
                            "credentials not reloaded, keeping the previous version: {why}"
                        ),
                    );
                    self.reported.replace(why);
                }
            }
        }
    }
}

fn fs_mode(path: &[u8]) -> Option<u32> {
    std::fs::metadata(OsStr::from_bytes(path)).ok().map(|metadata| metadata.mode())
}

/// Reads a profile.
fn read(path: &'static [u8], profile: &str) -> Reading {
    let shown = Text(path);
    let failed = |call: &str, error: io::Error| {
        (format!("{call}() \"{shown}\" failed ({})", Errno(&error)), None)
    };
    // A FIFO would block.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(OsStr::from_bytes(path))
        .map_err(|error| failed("open", error))?;
    let metadata = file.metadata().map_err(|error| failed("fstat", error))?;
    let version = FileVersion::settled(&metadata);
    let invalid = |why: &dyn core::fmt::Display| {
        (format!("invalid credentials file \"{shown}\": {why}"), Some(version.clone()))
    };
    if !metadata.is_file() {
        return Err(invalid(&"not a regular file"));
    }
    let mut text = Vec::new();
    let read = (&file).take(MAX_FILE_LEN as u64 + 1).read_to_end(&mut text);
    read.map_err(|error| failed("read", error))?;
    if text.len() > MAX_FILE_LEN {
        return Err(invalid(&format_args!("it is larger than {MAX_FILE_LEN} bytes")));
    }
    match Credentials::parse(&text, profile) {
        Ok(credentials) => Ok((credentials, version)),
        Err(why) => Err(invalid(&why)),
    }
}
