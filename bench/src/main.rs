//! Measures the module in a real NGINX: `make bench` in the project's directory.
//!
//! A slow machine is no error, so no time or size ever fails. Wrong answers and failed requests
//! do, and too many instructions or system calls: then the process ends with status 1.

mod application;
mod callgrind;
mod catalog;
mod client;
mod cost;
mod growth;
mod latency;
mod load;
mod lookups;
mod nginx;
mod plot;
mod process;
mod report;
mod size;
mod stats;
mod strace;
mod throughput;
mod variants;
mod workbench;

use std::env;
use std::process::ExitCode;

use workbench::{Result, Workbench};

/// The parts, by the name that `ONLY` takes and that the file of results has.
/// Small things first, while this process is small.
const PARTS: [(&str, Part); 7] = [
    ("size", size::measure),
    ("catalog", catalog::measure),
    ("cost", cost::measure),
    ("throughput", throughput::measure),
    ("lookups", lookups::measure),
    ("latency", latency::measure),
    ("growth", growth::measure),
];

type Part = fn(&Workbench) -> Result<()>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut quick = false;
    let mut only = None;
    for argument in env::args().skip(1) {
        match argument.as_str() {
            "--quick" => quick = true,
            _ if !argument.starts_with('-') && only.is_none() => only = Some(argument),
            _ => return Err("usage: xspace-bench [--quick] [PART[/MEASUREMENT]]".into()),
        }
    }
    let bench = Workbench::new(quick, only)?;
    let mut found = false;
    for (name, measure) in PARTS {
        if bench.has_part(name) {
            found = true;
            measure(&bench)?;
        }
    }
    if found { Ok(()) } else { Err("there is no such part".into()) }
}
