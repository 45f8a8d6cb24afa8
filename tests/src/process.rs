//! Processes: the master process of an nginx, signals, and what `/proc` tells of a process.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, geteuid, getrlimit, kill_process, setrlimit,
    waitpid,
};

/// A process that can be waited for: a child of the tests, or one that left the process that
/// started it.
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
                let ended = waitpid(Some(to_pid(*pid)), WaitOptions::NOHANG)?;
                Ok(ended.map(|(_, status)| ExitStatus::from_raw(status.as_raw())))
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
                send_signal(*pid, libc::SIGKILL);
                let _ = waitpid(Some(to_pid(*pid)), WaitOptions::empty());
            }
        }
    }
}

/// Sends a signal to a process that was not yet waited for, so the id is its own.
pub fn send_signal(pid: u32, signal: libc::c_int) {
    let signal = Signal::from_named_raw(signal).expect("a signal with a name");
    // It may have ended.
    let _ = kill_process(to_pid(pid), signal);
}

fn to_pid(pid: u32) -> Pid {
    i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id")
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Process ids of the children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// What a process has open, as the links of `/proc/PID/fd` name it; nothing if it has ended.
pub fn open_files(pid: u32) -> Vec<PathBuf> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    // One that is closed meanwhile is not open.
    descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok()).collect()
}

/// What a process has of some kind of memory, in bytes: `VmRSS`, `VmSize` or `RssAnon`, as
/// `/proc/PID/status` names them; `Rss`, `Pss_Anon` or `Private_Dirty`, as `/proc/PID/smaps_rollup` does.
pub fn memory(pid: u32, kind: &str) -> u64 {
    let is_rolled_up = kind == "Rss" || kind.starts_with("Pss") || kind.starts_with("Private_");
    let file = if is_rolled_up { "smaps_rollup" } else { "status" };
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).expect("a process");
    let value = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(':'));
    let value = value.unwrap_or_else(|| panic!("no {kind} in {text}"));
    let number = value.trim().strip_suffix(" kB").and_then(|number| number.parse::<u64>().ok());
    number.unwrap_or_else(|| panic!("no number of kB: {value}")) * 1024
}

/// Lets this process, and those that it starts, have as many files open as the system allows.
pub fn allow_many_files() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// Makes processes whose parents end children of this one, so that they can be waited for.
pub(crate) fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .expect("orphans can be adopted");
}

/// Lets a process that is about to be started end when the tests are interrupted.
pub fn end_with_this_process(command: &mut Command) {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::process::CommandExt;

        let end_with_parent =
            || Ok(rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?);
        // SAFETY: prctl() is a plain system call and may be used between fork and exec.
        unsafe { command.pre_exec(end_with_parent) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = command;
}
