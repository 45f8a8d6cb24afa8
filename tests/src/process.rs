//! The master process of an nginx: a child of the tests, or one that left the process that
//! started it.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};

/// A process that can be waited for.
#[derive(Debug)]
pub(crate) enum Process {
    /// Started here.
    Child(Child),
    /// Its parent has ended; [`adopt_orphans`] made it a child of the tests.
    Adopted(u32),
}

impl Process {
    pub(crate) fn id(&self) -> u32 {
        match self {
            Self::Child(child) => child.id(),
            Self::Adopted(pid) => *pid,
        }
    }

    /// How it ended, if it has.
    pub(crate) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        match self {
            Self::Child(child) => child.try_wait(),
            Self::Adopted(pid) => {
                let mut status = 0;
                let pid = libc::pid_t::try_from(*pid).map_err(io::Error::other)?;
                // SAFETY: a plain system call, with a place for the status.
                match unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } {
                    0 => Ok(None),
                    -1 => Err(io::Error::last_os_error()),
                    _ => Ok(Some(ExitStatus::from_raw(status))),
                }
            }
        }
    }

    /// Ends it at once. Nothing can be done about a process that does not even obey that.
    pub(crate) fn kill(&mut self) {
        match self {
            Self::Child(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            Self::Adopted(pid) => {
                let Ok(pid) = libc::pid_t::try_from(*pid) else { return };
                // SAFETY: plain system calls; nobody has waited for the process, so the id is its
                // own.
                unsafe {
                    libc::kill(pid, libc::SIGKILL);
                    libc::waitpid(pid, core::ptr::null_mut(), 0);
                }
            }
        }
    }
}

/// What a process has of some kind of memory, in bytes: `VmRSS`, `VmSize` or `RssAnon`, as
/// `/proc/PID/status` names them.
pub fn memory(pid: u32, kind: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let value = status.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(':'));
    let value = value.unwrap_or_else(|| panic!("no {kind} in {status}"));
    let number = value.trim().strip_suffix(" kB").and_then(|number| number.parse::<u64>().ok());
    number.unwrap_or_else(|| panic!("no number of kB: {value}")) * 1024
}

/// Makes processes whose parents end children of this one, so that they can be waited for.
pub(crate) fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: a plain system call.
        let done = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
    }
}
