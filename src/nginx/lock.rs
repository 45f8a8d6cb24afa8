//! Locks on bytes of a file (`F_OFD_SETLK`).
//!
//! Such a lock belongs to the open file: processes that inherit it have it in common, and the system
//! releases it when the last of them has ended, however that happens.

use core::mem;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

// The kernel expects this layout on all platforms. musl's `flock` has it.
#[cfg(not(target_env = "gnu"))]
use libc::flock as Flock;
#[cfg(target_env = "gnu")]
use libc::flock64 as Flock;

/// Locks a byte for this open file alone. Returns `false` if another one has a lock there.
pub(crate) fn try_lock(file: &File, byte: u64) -> io::Result<bool> {
    match control(file, libc::F_OFD_SETLK, byte) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Whether another open file has a lock on a byte.
pub(crate) fn is_locked(file: &File, byte: u64) -> io::Result<bool> {
    control(file, libc::F_OFD_GETLK, byte).map(|lock| lock.l_type != libc::F_UNLCK as i16)
}

fn control(file: &File, command: libc::c_int, byte: u64) -> io::Result<Flock> {
    let start = byte.try_into().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: all zero is a value of the C struct; `l_pid` has to be 0.
    let mut lock: Flock = unsafe { mem::zeroed() };
    lock.l_type = libc::F_WRLCK as i16;
    lock.l_whence = libc::SEEK_SET as i16;
    lock.l_start = start;
    lock.l_len = 1;
    // SAFETY: the file is open, and these commands take a pointer to such a struct.
    match unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut lock) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(lock),
    }
}
