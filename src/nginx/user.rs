//! The user that worker processes run as.

use core::ffi::CStr;
#[cfg(all(feature = "lmdb", target_os = "linux"))]
use core::ptr;
#[cfg(feature = "plays")]
use std::fs::File;
use std::fs::Metadata;
#[cfg(any(feature = "lmdb", feature = "plays"))]
use std::io;
use std::os::unix::fs::MetadataExt;
#[cfg(feature = "lmdb")]
use std::{ffi::CString, os::unix::ffi::OsStrExt, path::Path};

use super::worker::Cycle;

/// A user, with all groups that it is in.
#[derive(Clone, Debug)]
pub(crate) struct WorkerUser {
    pub(crate) name: String,
    id: libc::uid_t,
    #[cfg(feature = "plays")]
    group: libc::gid_t,
    groups: Vec<libc::gid_t>,
}

/// A permission, as in the mode bits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Permission {
    /// To read a file.
    Read = 0o4,
    /// To write to a file, or to create and remove files in a directory.
    #[cfg(any(feature = "lmdb", feature = "plays"))]
    Write = 0o2,
    /// To access the files of a directory.
    Search = 0o1,
}

impl WorkerUser {
    /// The user of the directive `user`, or nginx's own. `None` if the workers will run as the user
    /// that starts nginx, or if there is no such user. Called when all of the configuration is read.
    pub(crate) fn of(cycle: Cycle) -> Option<Self> {
        // SAFETY: the call only returns a number.
        if unsafe { libc::geteuid() } != 0 {
            return None;
        }
        let core = cycle.core_conf()?;
        if core.username.is_null() {
            return None;
        }
        // SAFETY: the name is a C string. `getpwnam` returns null or a record that stays until the
        // next call.
        unsafe {
            let name = CStr::from_ptr(core.username);
            let id = libc::getpwnam(name.as_ptr()).as_ref()?.pw_uid;
            let groups = groups_of(name, core.group);
            Some(Self {
                name: name.to_string_lossy().into_owned(),
                id,
                #[cfg(feature = "plays")]
                group: core.group,
                groups,
            })
        }
    }

    /// Makes a file the user's.
    #[cfg(feature = "plays")]
    pub(crate) fn give(&self, file: &File) -> io::Result<()> {
        std::os::unix::fs::fchown(file, Some(self.id), Some(self.group))
    }

    /// Whether the mode bits of a file grant a permission. Access control lists are not read.
    pub(crate) fn has(&self, permission: Permission, file: &Metadata) -> bool {
        let class = if self.id == 0 {
            return true;
        } else if file.uid() == self.id {
            6
        } else if self.groups.contains(&file.gid()) {
            3
        } else {
            0
        };
        (file.mode() >> class) & permission as u32 != 0
    }
}

/// Whether a file has an access control list: its mode bits do not tell who may do what then.
#[cfg(feature = "lmdb")]
pub(crate) fn has_acl(path: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return true };
        let name = c"system.posix_acl_access";
        // SAFETY: both are C strings; without a buffer the function only returns a size.
        unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), ptr::null_mut(), 0) > 0 }
    }
    // Where they are kept is not known.
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        true
    }
}

/// Whether this process may read and write to a file, without opening it.
///
/// # Errors
///
/// The system's error if not, on a read-only file system for anybody.
#[cfg(feature = "lmdb")]
pub(crate) fn may_write(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path is a C string.
    match unsafe { libc::access(path.as_ptr(), libc::R_OK | libc::W_OK) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn groups_of(name: &CStr, group: libc::gid_t) -> Vec<libc::gid_t> {
    const MAX_GROUPS: usize = 256;
    let mut groups = vec![group; MAX_GROUPS];
    let mut count = MAX_GROUPS as libc::c_int;
    // SAFETY: the array has room for `count` groups, and the function writes no more.
    let found =
        unsafe { libc::getgrouplist(name.as_ptr(), group, groups.as_mut_ptr(), &raw mut count) };
    if found >= 0 {
        groups.truncate(usize::try_from(count).unwrap_or(0));
    }
    groups
}
