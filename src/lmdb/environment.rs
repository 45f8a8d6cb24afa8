//! An environment as LMDB opens it, with the one transaction that reads it.

use core::ffi::{CStr, c_int, c_uint, c_void};
use core::mem::ManuallyDrop;
use core::{ptr, slice};
use std::ffi::CString;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::FromRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use model::entry::MAX_ENTRY_LEN;
use model::lmdb::{META_LEN, MetaError, check_meta};

use super::error::{Code, Failed, LookError, OpenError};
use super::library::{Info, Library, RawEnvironment, RawTransaction, Statistics, Value};

// `lmdb.h`.
const RDONLY: c_uint = 0x20000;
const NOTLS: c_uint = 0x20_0000;
const NOLOCK: c_uint = 0x40_0000;

/// Room for the workers of several reloads, if this process is the first to open the environment:
/// the table keeps the size that it was made with. A reader takes 64 bytes.
const MAX_READERS: c_uint = 1022;

/// What is read of a value: enough to tell that it is too long.
const MAX_READ: usize = MAX_ENTRY_LEN + 16;

/// The longest value whose memory is kept for the next one.
const MAX_KEPT: usize = 64 * 1024;

/// What tells one file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// The paths of an environment's files.
#[derive(Debug)]
pub(super) struct Paths {
    pub(super) directory: CString,
    pub(super) data: PathBuf,
    pub(super) lock: PathBuf,
}

/// The files of an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) data: FileId,
    pub(super) lock: FileId,
}

impl Files {
    /// The files that are there now. The lock file is not opened: closing it would end the locks that
    /// the process has through LMDB (fcntl(2)).
    pub(super) fn of(paths: &Paths) -> Result<Self, OpenError<'_>> {
        fn of(path: &Path) -> Result<FileId, OpenError<'_>> {
            let metadata = path.metadata().map_err(OpenError::system("stat", path))?;
            if !metadata.is_file() {
                return Err(OpenError::NotAFile(path));
            }
            Ok(FileId::of(&metadata))
        }
        Ok(Self { data: of(&paths.data)?, lock: of(&paths.lock)? })
    }
}

/// Checks the meta pages before LMDB relies on them.
fn check_data(path: &Path) -> Result<(), OpenError<'_>> {
    let file = File::open(path).map_err(OpenError::system("open", path))?;
    let mut at = 0;
    for _ in 0..2 {
        let mut page = [0; META_LEN];
        match file.read_exact_at(&mut page, at) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(OpenError::Meta(path, MetaError::Truncated));
            }
            read => read.map_err(OpenError::system("read", path))?,
        }
        let size = check_meta(&page).map_err(|why| OpenError::Meta(path, why))?;
        at = u64::from(size);
    }
    Ok(())
}

/// Checks an environment without locks, in a process that will not read its entries. Returns their
/// number.
pub(super) fn check<'p>(
    library: &'static Library,
    paths: &'p Paths,
) -> Result<usize, OpenError<'p>> {
    check_data(&paths.data)?;
    let handle = Handle::open(library, &paths.directory, RDONLY | NOLOCK)?;
    handle.entries().map_err(OpenError::Call)
}

/// An open environment.
#[derive(Debug)]
struct Handle {
    library: &'static Library,
    raw: *mut RawEnvironment,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the environment was made by `mdb_env_create`, and has no transaction any more.
        unsafe { (self.library.mdb_env_close)(self.raw) };
    }
}

// SAFETY of this block's calls: the environment is that of `mdb_env_create`, valid until `drop`, and
// used in one thread at a time. LMDB writes to what it is passed and nothing else.
impl Handle {
    fn open(library: &'static Library, directory: &CStr, flags: c_uint) -> Result<Self, Failed> {
        let mut raw = ptr::null_mut();
        // SAFETY: the function writes a pointer unless it fails. A failed `mdb_env_open` has to be
        // followed by `mdb_env_close`, which `drop` calls.
        unsafe {
            call(library, "mdb_env_create", (library.mdb_env_create)(&raw mut raw))?;
            let handle = Self { library, raw };
            let set = (library.mdb_env_set_maxreaders)(raw, MAX_READERS);
            call(library, "mdb_env_set_maxreaders", set)?;
            // The mode is for a lock file that was removed a moment ago.
            let opened = (library.mdb_env_open)(raw, directory.as_ptr(), flags, 0o660);
            call(library, "mdb_env_open", opened)?;
            Ok(handle)
        }
    }

    /// The number of entries, which is in the newest meta page.
    fn entries(&self) -> Result<usize, Failed> {
        let mut statistics = Statistics::default();
        // SAFETY: see above.
        let got = unsafe { (self.library.mdb_env_stat)(self.raw, &raw mut statistics) };
        call(self.library, "mdb_env_stat", got)?;
        Ok(statistics.entries)
    }

    /// The file that was opened, unless that can't be told.
    fn data(&self) -> Result<Option<FileId>, Failed> {
        let mut fd: c_int = -1;
        // SAFETY: see above. The descriptor is that of `data.mdb`, open as long as the environment, which
        // closes it: the `File` must not.
        let metadata = unsafe {
            let got = (self.library.mdb_env_get_fd)(self.raw, &raw mut fd);
            call(self.library, "mdb_env_get_fd", got)?;
            // LMDB sets that for the lock file alone.
            libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            ManuallyDrop::new(File::from_raw_fd(fd)).metadata()
        };
        Ok(metadata.ok().map(|metadata| FileId::of(&metadata)))
    }

    /// Whether there are locks: the process has a slot in the table of readers.
    fn has_locks(&self) -> bool {
        let mut info = Info::default();
        // SAFETY: see above.
        let got = unsafe { (self.library.mdb_env_info)(self.raw, &raw mut info) };
        got == 0 && info.readers > 0
    }

    /// Frees the slots of processes that have ended without doing so.
    fn check_readers(&self) -> Result<(), Failed> {
        // SAFETY: see above; null if the number of dead ones is of no interest.
        let checked = unsafe { (self.library.mdb_reader_check)(self.raw, ptr::null_mut()) };
        call(self.library, "mdb_reader_check", checked)
    }

    /// Maps the environment in the size that another process has given it. There is no transaction
    /// now, or it is reset. After a failure nothing is mapped: the environment must be closed.
    fn map_again(&self) -> Result<(), Failed> {
        // SAFETY: see above.
        let set = unsafe { (self.library.mdb_env_set_mapsize)(self.raw, 0) };
        call(self.library, "mdb_env_set_mapsize", set)
    }

    /// Begins to read.
    fn begin(&self) -> Result<Transaction, Failed> {
        let library = self.library;
        let mut is_mapped = true;
        loop {
            let mut raw = ptr::null_mut();
            // SAFETY: see above. The function writes a pointer unless it fails.
            let begun =
                unsafe { (library.mdb_txn_begin)(self.raw, ptr::null_mut(), RDONLY, &raw mut raw) };
            match begun {
                Code::MAP_RESIZED if is_mapped => {
                    is_mapped = false;
                    self.map_again()?;
                }
                code => {
                    call(library, "mdb_txn_begin", code)?;
                    return Ok(Transaction { library, raw });
                }
            }
        }
    }
}

/// A transaction that reads. With MDB_NOTLS it has a slot in the table of readers of its own, until
/// it is dropped.
#[derive(Debug)]
struct Transaction {
    library: &'static Library,
    raw: *mut RawTransaction,
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // SAFETY: the transaction is that of `mdb_txn_begin`; its environment is still open. One that
        // is reset may be aborted, too.
        unsafe { (self.library.mdb_txn_abort)(self.raw) };
    }
}

/// An environment that is open for reading, with locks.
#[derive(Debug)]
pub(super) struct Environment {
    /// Reset except during a look. Dropped before the environment.
    transaction: Transaction,
    handle: Handle,
    /// The main database.
    database: c_uint,
    value: Vec<u8>,
}

// SAFETY: with MDB_NOTLS transactions are not bound to a thread (`lmdb.h`), and nothing else of an
// environment is. The lock on the byte of the process id is the process's.
unsafe impl Send for Environment {}

impl Environment {
    /// Opens an environment whose files are these. It must not be open in this process already
    /// ("Caveats" in `lmdb.h`).
    pub(super) fn open<'p>(
        library: &'static Library,
        paths: &'p Paths,
        files: Files,
    ) -> Result<Self, OpenError<'p>> {
        check_data(&paths.data)?;
        let handle = Handle::open(library, &paths.directory, RDONLY | NOTLS)?;
        if handle.data()? != Some(files.data) || Files::of(paths)? != files {
            return Err(OpenError::Replaced);
        }
        handle.check_readers()?;
        let transaction = handle.begin()?;
        if !handle.has_locks() {
            return Err(OpenError::NoLocks);
        }
        let mut database = 0;
        // SAFETY: the transaction is under way. Without a name the function sets how keys are
        // compared in the main database, for the environment as a whole.
        unsafe {
            let opened = (library.mdb_dbi_open)(transaction.raw, ptr::null(), 0, &raw mut database);
            call(library, "mdb_dbi_open", opened)?;
            (library.mdb_txn_reset)(transaction.raw);
        }
        Ok(Self { transaction, handle, database, value: Vec::new() })
    }

    /// The number of entries.
    pub(super) fn entries(&self) -> Result<usize, Failed> {
        self.handle.entries()
    }

    /// The value of a key at this moment, copied; of one that is longer than an entry may be, the
    /// beginning. The transaction lasts no longer than the call: pages that it sees are kept from
    /// writers.
    pub(super) fn look(&mut self, key: &[u8]) -> Result<Option<&[u8]>, LookError> {
        if self.value.capacity() > MAX_KEPT {
            self.value = Vec::new();
        }
        let (library, raw) = (self.handle.library, self.transaction.raw);
        // SAFETY: the transaction is reset.
        let mut renewed = unsafe { (library.mdb_txn_renew)(raw) };
        if renewed == Code::MAP_RESIZED {
            // The transaction was reset again (`mdb_txn_renew0`).
            self.handle.map_again().map_err(LookError::Lost)?;
            // SAFETY: as above.
            renewed = unsafe { (library.mdb_txn_renew)(raw) };
        }
        call(library, "mdb_txn_renew", renewed).map_err(LookError::Lost)?;
        let is_found = self.copy(key);
        // SAFETY: the transaction is under way, and nothing refers to the map any more.
        unsafe { (library.mdb_txn_reset)(raw) };
        Ok(is_found?.then_some(&self.value))
    }

    /// Copies the value of a key. The transaction is under way.
    fn copy(&mut self, key: &[u8]) -> Result<bool, LookError> {
        let library = self.handle.library;
        let mut flags = 0;
        let mut key = Value { len: key.len(), data: key.as_ptr().cast_mut().cast::<c_void>() };
        let mut value = Value { len: 0, data: ptr::null_mut() };
        // SAFETY: the transaction is under way, the database is that of `mdb_dbi_open`, and the key is
        // only read.
        let got = unsafe {
            let flags_got =
                (library.mdb_dbi_flags)(self.transaction.raw, self.database, &raw mut flags);
            call(library, "mdb_dbi_flags", flags_got).map_err(LookError::Call)?;
            // A writer may have set them since.
            if flags != 0 {
                return Err(LookError::Flags(MetaError::Flags(flags)));
            }
            (library.mdb_get)(self.transaction.raw, self.database, &raw mut key, &raw mut value)
        };
        if got == Code::NOT_FOUND {
            return Ok(false);
        }
        call(library, "mdb_get", got).map_err(LookError::Call)?;
        let len = value.len.min(MAX_READ);
        self.value.clear();
        self.value.try_reserve(len).map_err(|_| LookError::NoMemory)?;
        // SAFETY: the value is in the map, where no writer changes it until the transaction ends.
        self.value.extend_from_slice(unsafe { slice::from_raw_parts(value.data.cast(), len) });
        Ok(true)
    }
}

/// The result of a function of LMDB's.
fn call(library: &'static Library, name: &'static str, code: c_int) -> Result<(), Failed> {
    library.result(code).map_err(|code| Failed(name, code))
}
