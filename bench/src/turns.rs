//! Processor time per request of servers that take turns.

use crate::process;
use crate::workbench::Result;

/// How many requests a turn has.
pub const REQUESTS: u32 = 10_000;

/// What has turns.
pub struct Subject<'s> {
    /// The processes whose time counts.
    pub processes: Vec<u32>,
    /// Asks once and checks the answer; it is told which request of the turn this is.
    pub ask: Box<dyn FnMut(usize) -> Result<()> + 's>,
}

/// Processor time per request in nanoseconds, of each subject in each round.
pub fn processor_time(subjects: &mut [Subject<'_>], rounds: usize) -> Result<Vec<Vec<f64>>> {
    let mut times = vec![Vec::new(); subjects.len()];
    for round in 0..=rounds {
        for (subject, times) in subjects.iter_mut().zip(&mut times) {
            let before = ran(&subject.processes)?;
            (0..REQUESTS as usize).try_for_each(&mut subject.ask)?;
            let ran = ran(&subject.processes)? - before;
            // The first round fills the kernel's caches.
            if round > 0 {
                times.push(ran as f64 / f64::from(REQUESTS));
            }
        }
    }
    Ok(times)
}

fn ran(processes: &[u32]) -> Result<u64> {
    processes.iter().map(|&pid| process::ran(pid)).sum()
}
