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
pub fn instructions_of(
    site: Site,
    mut ask: impl FnMut(&Nginx, usize) -> Result<()>,
) -> Result<f64> {
    let out = site.dir().join("callgrind").display().to_string();
    let to = format!("--callgrind-out-file={out}.%p");
    // Counting is turned on later: the start with a million entries would take minutes. Without
    // --trace-children a process that was forked takes no orders.
    let valgrind =
        ["valgrind", "--tool=callgrind", "--trace-children=yes", "--instr-atstart=no", &to];
    let nginx = site.under(&valgrind).start();
    let worker = nginx.wait_worker();

    ask(&nginx, WARM_UP)?;
    control(worker, "--instr=on")?;
    ask(&nginx, WARM_UP)?;
    // Each dump begins the count anew.
    control(worker, "--dump")?;
    ask(&nginx, FEW)?;
    control(worker, "--dump")?;
    ask(&nginx, MANY)?;
    control(worker, "--dump")?;
    let few = total(&format!("{out}.{worker}.2"))?;
    let many = total(&format!("{out}.{worker}.3"))?;
    nginx.finish();
    Ok((many - few) / (MANY - FEW) as f64)
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
