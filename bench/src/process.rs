//! Processes: how long one ran, what memory it has.

use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::workbench::Result;

/// What a process that has ended took.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// From its start to its end.
    pub wall: Duration,
    /// User and system time.
    pub cpu: Duration,
    /// The most physical memory that it had at a time, in bytes.
    pub peak: u64,
    /// Whether it ended with status 0.
    pub success: bool,
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Result<Cost> {
    // Linux counts for a process also what the one that started it had, for both are one until
    // the new program begins.
    let own = field_of("self", "status", "VmHWM")?;
    let start = Instant::now();
    let child = command.spawn()?;
    let cost = wait(child, start)?;
    if cost.peak <= own {
        return Err(format!("this process is too large ({own} bytes) to measure another").into());
    }
    Ok(cost)
}

/// Starts a command that is ended when this process ends, however that happens.
pub fn spawn_bound(command: &mut Command) -> io::Result<Child> {
    // SAFETY: prctl() is a plain system call and may be used between fork and exec.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        })
    };
    command.spawn()
}

/// Lets this process, and those that it starts, have as many files open as the system allows.
pub fn allow_many_files() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: plain system calls with a structure that they read or write.
    let done = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 && {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == 0
        }
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Keeps this thread on one processor.
pub fn pin_this_thread(processor: usize) -> io::Result<()> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: all zero is an empty set; the system call reads it.
    let rc = unsafe {
        libc::CPU_SET(processor, set.assume_init_mut());
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), set.as_ptr())
    };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The processes that a process has started.
pub fn children(pid: u32) -> Result<Vec<u32>> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(children.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?)
}

/// How long all threads of a process have had a processor, in nanoseconds.
pub fn ran(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        sum += text.split_whitespace().next().ok_or("schedstat is empty")?.parse::<u64>()?;
    }
    Ok(sum)
}

/// Waits for a process with `wait4`, which tells what it took.
fn wait(child: Child, start: Instant) -> Result<Cost> {
    let pid = libc::pid_t::try_from(child.id())?;
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are to variables of the types that wait4() writes, and all zero is
    // a value of them.
    let (waited, usage) = unsafe {
        let waited = libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr());
        (waited, usage.assume_init())
    };
    let wall = start.elapsed();
    if waited != pid {
        return Err(io::Error::last_os_error().into());
    }
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    Ok(Cost {
        wall,
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        peak: usage.ru_maxrss as u64 * 1024,
        success: libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
    })
}

/// The memory of a running process, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Resident, what is shared with other processes included.
    pub rss: u64,
    /// Resident, of what is shared its part.
    pub pss: u64,
}

impl Memory {
    /// Of a process, now.
    pub fn of(pid: u32) -> Result<Self> {
        let pid = pid.to_string();
        Ok(Self {
            rss: field_of(&pid, "smaps_rollup", "Rss")?,
            pss: field_of(&pid, "smaps_rollup", "Pss")?,
        })
    }
}

/// The most physical memory of a process since [`forget_peak`].
pub fn peak(pid: u32) -> Result<u64> {
    field_of(&pid.to_string(), "status", "VmHWM")
}

/// Lets the kernel begin anew with a process's peak of memory.
pub fn forget_peak(pid: u32) -> Result<()> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

/// A line `name: … kB` of a file in `/proc/PID`, in bytes.
fn field_of(pid: &str, file: &str, name: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/{file}");
    let text = fs::read_to_string(&path)?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let value = value.and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok());
    Ok(value.ok_or_else(|| format!("{path} has no {name}"))? * 1024)
}

/// What the scheduler says of a thread, in nanoseconds since its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scheduled {
    /// How long it had a processor.
    pub ran: u64,
    /// How long it could have run but had none.
    pub waited: u64,
}

/// The file in which the kernel counts it.
#[derive(Debug)]
pub struct Schedule(File);

impl Schedule {
    /// Of the first thread of a process: nginx's event loop.
    pub fn of_process(pid: u32) -> Result<Self> {
        Ok(Self(File::open(format!("/proc/{pid}/task/{pid}/schedstat"))?))
    }

    /// Of this thread.
    pub fn of_this_thread() -> Result<Self> {
        Ok(Self(File::open("/proc/thread-self/schedstat")?))
    }

    /// As it is now.
    pub fn now(&self) -> Result<Scheduled> {
        let mut buffer = [0; 80];
        let len = self.0.read_at(&mut buffer, 0)?;
        let text = std::str::from_utf8(&buffer[..len])?;
        let mut numbers = text.split_whitespace().map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(ran), Some(waited)) => Ok(Scheduled { ran: ran?, waited: waited? }),
            _ => Err("schedstat is not as expected".into()),
        }
    }
}
