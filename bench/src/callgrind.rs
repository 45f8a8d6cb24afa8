//! What a request costs, in instructions that the processor executes in user mode: unlike time
//! they are the same in every run.

use std::fs;
use std::process::Command;

use xspace_tests::{Nginx, RawConnection, Site, wait_for};

use crate::workbench::Result;

/// Requests before counting begins: functions are linked on their first call.
const WARM_UP: usize = 200;

/// Two numbers of requests. What does not belong to a request is in both counts.
const FEW: usize = 100;
const MANY: usize = 1100;

/// Instructions per request, counted by valgrind's callgrind in the one worker of an nginx, with its
/// threads: a process without a master has none. `ask` asks once and checks the answer; it is told how
/// often it has been called.
pub fn instructions(
    site: Site,
    mut ask: impl FnMut(&mut RawConnection, usize) -> Result<()>,
) -> Result<f64> {
    let mut connection = None;
    let mut turn = 0;
    instructions_of(site, |nginx, count| {
        let connection = connection.get_or_insert_with(|| nginx.raw());
        for _ in 0..count {
            ask(connection, turn)?;
            turn += 1;
        }
        Ok(())
    })
}

/// The same for a client that asks so many times in a row.
pub fn instructions_of(site: Site, ask: impl FnMut(&Nginx, usize) -> Result<()>) -> Result<f64> {
    let mut counted = Counted::start(site)?;
    let instructions = counted.instructions(ask)?;
    counted.finish();
    Ok(instructions)
}

/// An nginx whose worker counts. One that takes long to start can count several kinds of requests.
pub struct Counted {
    /// The nginx.
    pub nginx: Nginx,
    worker: u32,
    out: String,
    dumps: usize,
}

impl Counted {
    /// Starts it.
    pub fn start(site: Site) -> Result<Self> {
        let out = site.dir().join("callgrind").display().to_string();
        let to = format!("--callgrind-out-file={out}.%p");
        // Counting is turned on later: the start with a million entries would take minutes. Without
        // --trace-children a process that was forked takes no orders.
        let valgrind =
            ["valgrind", "--tool=callgrind", "--trace-children=yes", "--instr-atstart=no", &to];
        let nginx = site.under(&valgrind).start();
        let worker = nginx.wait_worker();
        Ok(Self { nginx, worker, out, dumps: 0 })
    }

    /// Instructions per request of a client that asks so many times in a row.
    pub fn instructions(
        &mut self,
        mut ask: impl FnMut(&Nginx, usize) -> Result<()>,
    ) -> Result<f64> {
        ask(&self.nginx, WARM_UP)?;
        control(self.worker, "--instr=on")?;
        ask(&self.nginx, WARM_UP)?;
        // Each dump begins the count anew.
        self.dump()?;
        ask(&self.nginx, FEW)?;
        let few = self.dump()?;
        ask(&self.nginx, MANY)?;
        let many = self.dump()?;
        Ok((many - few) / (MANY - FEW) as f64)
    }

    /// Ends it and fails if it did not run well.
    pub fn finish(self) {
        self.nginx.finish();
    }

    /// The sum since the last dump.
    fn dump(&mut self) -> Result<f64> {
        control(self.worker, "--dump")?;
        self.dumps += 1;
        total(&format!("{}.{}.{}", self.out, self.worker, self.dumps))
    }
}

/// Tells callgrind what to do; when this returns it has done it.
fn control(process: u32, order: &str) -> Result<()> {
    let output = Command::new("callgrind_control").arg(order).arg(process.to_string()).output()?;
    if !output.status.success() {
        return Err(format!("callgrind_control: {output:?}").into());
    }
    Ok(())
}

/// The sum of a dump.
fn total(path: &str) -> Result<f64> {
    let sum = wait_for(|| {
        let text = fs::read_to_string(path).ok()?;
        let sum = text.lines().find_map(|line| line.strip_prefix("totals: "))?;
        Some(sum.trim().to_owned())
    });
    Ok(sum.ok_or("callgrind has written no sum")?.parse()?)
}
