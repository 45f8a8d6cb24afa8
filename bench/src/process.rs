//! Processes: how long one ran, on which processor, what memory it has.

use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};
use xspace_tests::{end_with_this_process, memory};

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
    // Linux counts for a process also what it had of this one before the new program began. That
    // is least after fork(), which is used because of what is done between fork() and exec().
    let inherited = run_forked(&mut Command::new("true"))?.peak;
    let cost = run_forked(command)?;
    if cost.peak <= inherited {
        return Err(
            format!("this process is too large ({inherited} bytes) to measure another").into()
        );
    }
    Ok(cost)
}

/// Gives memory that is free back to the system, so that this process is small.
pub fn trim_memory() {
    // SAFETY: malloc_trim() has no preconditions.
    unsafe { libc::malloc_trim(0) };
}

fn run_forked(command: &mut Command) -> Result<Cost> {
    end_with_this_process(command);
    let start = Instant::now();
    wait(command.spawn()?, start)
}

/// Keeps this thread on one processor.
pub fn pin_this_thread(processor: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(processor);
    Ok(sched_setaffinity(None, &set)?)
}

/// The command on the processors of a list as `taskset` takes it.
pub fn on_processors(list: &str, command: &Command) -> Command {
    let mut bound = Command::new("taskset");
    bound.args(["--cpu-list", list]).arg(command.get_program()).args(command.get_args());
    bound.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    bound
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
    pub fn of(pid: u32) -> Self {
        Self { rss: memory(pid, "Rss"), pss: memory(pid, "Pss") }
    }
}

/// The most physical memory of a process since [`forget_peak`].
pub fn peak(pid: u32) -> u64 {
    memory(pid, "VmHWM")
}

/// Lets the kernel begin anew with a process's peak of memory.
pub fn forget_peak(pid: u32) -> Result<()> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
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
