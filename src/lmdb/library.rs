//! LMDB's library. It is not linked: nginx loads the module where there is no LMDB.

use core::ffi::{CStr, c_char, c_int, c_uint, c_void};
use core::fmt;
use core::mem;
use core::ptr::NonNull;
use std::io;
use std::sync::OnceLock;

use super::error::Code;

/// The library's file names: that of most systems, then the one that Fedora's library calls itself.
const NAMES: [&CStr; 2] = [c"liblmdb.so.0", c"liblmdb.so.0.0.0"];

/// The releases whose source was read: 0.9 from this one on. Later ones have another format.
const OLDEST: [c_int; 3] = [0, 9, 24];

/// An environment, `MDB_env`.
pub(super) enum RawEnvironment {}

/// A transaction, `MDB_txn`.
pub(super) enum RawTransaction {}

/// `MDB_val`.
#[repr(C)]
pub(super) struct Value {
    pub(super) len: usize,
    pub(super) data: *mut c_void,
}

/// `MDB_stat`.
#[repr(C)]
#[derive(Default)]
pub(super) struct Statistics {
    page_size: c_uint,
    depth: c_uint,
    branch_pages: usize,
    leaf_pages: usize,
    overflow_pages: usize,
    pub(super) entries: usize,
}

/// `MDB_envinfo`.
#[repr(C)]
#[derive(Default)]
pub(super) struct Info {
    address: usize,
    map_size: usize,
    last_page: usize,
    last_transaction: usize,
    max_readers: c_uint,
    pub(super) readers: c_uint,
}

/// Declares the functions, and a constructor that finds them.
macro_rules! functions {
    ($($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// LMDB's functions (`lmdb.h` of 0.9).
        pub(super) struct Library {
            $(pub(super) $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Library {
            /// # Safety
            ///
            /// `library` is a handle of LMDB's library that is never closed.
            unsafe fn find(library: NonNull<c_void>) -> Result<Self, LibraryError> {
                Ok(Self {
                    $($name: {
                        let name = concat!(stringify!($name), "\0");
                        // SAFETY: by the contract; the function has this type in every 0.9.
                        unsafe {
                            let function = symbol(library, name)?;
                            mem::transmute::<
                                NonNull<c_void>,
                                unsafe extern "C" fn($($argument),*) $(-> $result)?,
                            >(function)
                        }
                    },)*
                })
            }
        }
    };
}

functions! {
    mdb_version: fn(*mut c_int, *mut c_int, *mut c_int) -> *const c_char;
    mdb_strerror: fn(c_int) -> *const c_char;
    mdb_env_create: fn(*mut *mut RawEnvironment) -> c_int;
    mdb_env_set_maxreaders: fn(*mut RawEnvironment, c_uint) -> c_int;
    mdb_env_open: fn(*mut RawEnvironment, *const c_char, c_uint, libc::mode_t) -> c_int;
    mdb_env_close: fn(*mut RawEnvironment);
    mdb_env_get_fd: fn(*mut RawEnvironment, *mut c_int) -> c_int;
    mdb_env_info: fn(*mut RawEnvironment, *mut Info) -> c_int;
    mdb_env_stat: fn(*mut RawEnvironment, *mut Statistics) -> c_int;
    mdb_env_set_mapsize: fn(*mut RawEnvironment, usize) -> c_int;
    mdb_reader_check: fn(*mut RawEnvironment, *mut c_int) -> c_int;
    mdb_txn_begin: fn(
        *mut RawEnvironment, *mut RawTransaction, c_uint, *mut *mut RawTransaction
    ) -> c_int;
    mdb_txn_reset: fn(*mut RawTransaction);
    mdb_txn_renew: fn(*mut RawTransaction) -> c_int;
    mdb_txn_abort: fn(*mut RawTransaction);
    mdb_dbi_open: fn(*mut RawTransaction, *const c_char, c_uint, *mut c_uint) -> c_int;
    mdb_dbi_flags: fn(*mut RawTransaction, c_uint, *mut c_uint) -> c_int;
    mdb_get: fn(*mut RawTransaction, c_uint, *mut Value, *mut Value) -> c_int;
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Library").finish_non_exhaustive()
    }
}

/// Why LMDB can't be used.
#[derive(Debug)]
pub(crate) enum LibraryError {
    /// It is not there, with what `dlerror()` says.
    Missing(String),
    /// It lacks a function.
    Function(String),
    Version([c_int; 3]),
}

impl fmt::Display for LibraryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES[0].to_string_lossy();
        match self {
            Self::Missing(why) => write!(f, "dlopen() \"{name}\" failed ({why})"),
            Self::Function(why) => write!(f, "dlsym() \"{name}\" failed ({why})"),
            Self::Version([major, minor, patch]) => {
                let [_, _, oldest] = OLDEST;
                write!(
                    f,
                    "\"{name}\" is LMDB {major}.{minor}.{patch}, a release of 0.9 from 0.9.{oldest} \
                     on is required"
                )
            }
        }
    }
}

impl Library {
    /// The library, loaded by the first call that finds it. Called while a configuration is read, so
    /// workers have it from the master process.
    pub(super) fn get() -> Result<&'static Self, LibraryError> {
        static LIBRARY: OnceLock<Library> = OnceLock::new();
        match LIBRARY.get() {
            Some(library) => Ok(library),
            None => {
                let library = Self::load()?;
                Ok(LIBRARY.get_or_init(|| library))
            }
        }
    }

    fn load() -> Result<Self, LibraryError> {
        let mut first = None;
        for name in NAMES {
            // SAFETY: the name is a C string. LMDB has no constructors. The handle is never closed.
            let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
            let Some(handle) = NonNull::new(handle) else {
                first.get_or_insert_with(last_error);
                continue;
            };
            // SAFETY: it has the name of LMDB's library, and stays open.
            let library = unsafe { Self::find(handle)? };
            let version = library.version();
            let [major, minor, patch] = version;
            let [oldest_major, oldest_minor, oldest_patch] = OLDEST;
            let is_known = (major, minor) == (oldest_major, oldest_minor) && patch >= oldest_patch;
            return if is_known { Ok(library) } else { Err(LibraryError::Version(version)) };
        }
        Err(LibraryError::Missing(first.unwrap_or_default()))
    }

    fn version(&self) -> [c_int; 3] {
        let mut version = [0; 3];
        let [major, minor, patch] = &mut version;
        // SAFETY: the function writes three numbers.
        unsafe { (self.mdb_version)(major, minor, patch) };
        version
    }

    /// The result of a function: an error of LMDB's, or of the system.
    pub(super) fn result(&'static self, code: c_int) -> Result<(), Code> {
        match code {
            0 => Ok(()),
            // Errors of the system are shown as everywhere else in nginx's log.
            1.. => Err(Code::System(code)),
            -30799..=-30780 => {
                // SAFETY: for the codes of 0.9 the function returns an element of a static table.
                Err(Code::Lmdb(code, unsafe { CStr::from_ptr((self.mdb_strerror)(code)) }))
            }
            _ => Err(Code::Lmdb(code, c"unknown error")),
        }
    }
}

/// # Safety
///
/// `library` is a handle of an open library.
unsafe fn symbol(library: NonNull<c_void>, name: &str) -> Result<NonNull<c_void>, LibraryError> {
    // SAFETY: by the contract; the names in this file end with NUL.
    let symbol = unsafe { libc::dlsym(library.as_ptr(), name.as_ptr().cast()) };
    NonNull::new(symbol).ok_or_else(|| LibraryError::Function(last_error()))
}

/// What went wrong in the last call of `dlopen()` or `dlsym()`.
fn last_error() -> String {
    // SAFETY: null, or a C string that stays until the next call of these functions.
    unsafe {
        let error = libc::dlerror();
        match error.is_null() {
            true => io::Error::last_os_error().to_string(),
            false => CStr::from_ptr(error).to_string_lossy().into_owned(),
        }
    }
}
