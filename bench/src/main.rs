//! Measures the module in a real NGINX: `make bench` in the project's directory.
//!
//! A slow machine is no error, so no time or size ever fails. Wrong answers and failed requests
//! do, and too many instructions or system calls: then the process ends with status 1.

mod callgrind;
mod catalog;
mod cost;
mod counting;
mod edge;
mod growth;
mod latency;
mod links;
mod listeners;
mod live;
mod load;
mod lookups;
mod plot;
mod process;
mod report;
mod site;
mod size;
mod stats;
mod strace;
mod throughput;
mod turns;
mod variants;
mod workbench;

use std::env;
use std::fs;
use std::process::ExitCode;

use xspace_tests::{project_dir, set_slowness};

use workbench::{Result, Workbench};

/// The parts, by the name that `ONLY` takes and that the file of results has.
/// Small things first, while this process is small.
const PARTS: [(&str, Part); 12] = [
    ("size", size::measure),
    ("catalog", catalog::measure),
    ("live", live::measure),
    ("cost", cost::measure),
    ("links", links::measure),
    ("counting", counting::measure),
    ("edge", edge::measure),
    ("throughput", throughput::measure),
    ("lookups", lookups::measure),
    ("latency", latency::measure),
    ("growth", growth::measure),
    ("listeners", listeners::measure),
];

/// How many times longer than in a test may be waited: a million entries take long under valgrind.
const PATIENCE: u32 = 10;

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
            "plots" => return plots(),
            _ if argument.starts_with(links::WRONG_MAC) => return links::check_wrong(&argument),
            _ if !argument.starts_with('-') && only.is_none() => only = Some(argument),
            _ => return Err("usage: xspace-bench plots | [--quick] [PART[/MEASUREMENT]]".into()),
        }
    }
    set_slowness(PATIENCE);
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

/// Makes the plots of the kept results again. Parts may have none.
fn plots() -> Result<()> {
    let dir = project_dir().join("bench/results");
    for (name, _) in PARTS {
        let path = dir.join(format!("{name}.json"));
        if path.exists() {
            plot::draw(name, &serde_json::from_slice(&fs::read(path)?)?, &dir)?;
        }
    }
    Ok(())
}
