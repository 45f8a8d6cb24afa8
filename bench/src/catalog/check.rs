//! `nginx -t` with a catalog, and beside it with nginx's own `map`.

use std::fs::{self, File};
use std::path::Path;

use serde_json::{Value, json};
use xspace_tests::Site;

use super::{MILLION, SIZES, data};
use crate::process;
use crate::report::{Table, grouped, megabytes, milliseconds};
use crate::site::site;
use crate::stats::Sorted;
use crate::workbench::{Result, Workbench};

/// Wall time, processor time and peak of memory of `nginx -t`.
pub fn measure(bench: &Workbench) -> Result<Value> {
    let recordings = data::recordings(bench)?;
    let mut table = Table::new(&["", "entries", "file", "runs", "median", "least", "CPU", "peak"]);
    let mut results = Vec::new();
    for what in ["catalog", "map"] {
        for entries in SIZES {
            if bench.quick && (what, entries) == ("map", MILLION) {
                continue;
            }
            let site = site().http1_only();
            let (site, file) = if what == "map" {
                let map = data::map(bench, entries)?;
                (data::with_map(site, &recordings, &map, entries, ""), map)
            } else {
                let catalog = data::catalog(bench, entries, data::State::Old)?;
                let directive = format!("xspace_catalog {};", catalog.display());
                (site.server(&data::locations(&recordings, &directive)), catalog)
            };
            let runs = match (bench.quick, what, entries) {
                (true, ..) => 2,
                (false, "map", MILLION) => 1,
                (false, ..) => 7,
            };
            results.push(row(site, what, entries, &file, runs, &mut table)?);
        }
    }
    table.print("nginx -t (wall time, processor time, peak of physical memory)");
    Ok(results.into())
}

/// What runs of `nginx -t` took.
pub struct Checks {
    /// Wall time and processor time in nanoseconds.
    pub wall: Sorted,
    pub cpu: Sorted,
    /// The most physical memory, in bytes.
    pub peak: u64,
}

impl Checks {
    /// Runs it so many times; no run may fail or warn.
    pub fn run(site: &mut Site, runs: usize) -> Result<Self> {
        // What generated the entries may have left some.
        process::trim_memory();
        let mut costs = Vec::new();
        for _ in 0..runs {
            let stderr = site.dir().join("stderr");
            let mut command = site.check_command();
            let cost = process::run(command.stderr(File::create(&stderr)?))?;
            let stderr = fs::read_to_string(stderr)?;
            if !cost.success || stderr.contains("[warn]") {
                return Err(stderr.into());
            }
            costs.push(cost);
        }
        let nanoseconds = |d: std::time::Duration| d.as_nanos() as u64;
        let wall = Sorted::new(costs.iter().map(|cost| nanoseconds(cost.wall)));
        let cpu = Sorted::new(costs.iter().map(|cost| nanoseconds(cost.cpu)));
        let peak = Sorted::new(costs.iter().map(|cost| cost.peak)).max();
        Ok(Self { wall, cpu, peak })
    }
}

fn row(
    mut site: Site,
    what: &str,
    entries: u32,
    file: &Path,
    runs: usize,
    table: &mut Table,
) -> Result<Value> {
    let Checks { wall, cpu, peak } = Checks::run(&mut site, runs)?;
    let size = fs::metadata(file)?.len();
    table.row([
        what.into(),
        grouped(entries),
        megabytes(size),
        runs.to_string(),
        milliseconds(wall.median()),
        milliseconds(wall.min()),
        milliseconds(cpu.median()),
        megabytes(peak),
    ]);
    Ok(json!({
        "with": what,
        "entries": entries,
        "file_bytes": size,
        "runs": runs,
        "wall_ns": { "median": wall.median(), "min": wall.min(), "max": wall.max() },
        "cpu_ns": { "median": cpu.median(), "min": cpu.min(), "max": cpu.max() },
        "peak_bytes": peak,
    }))
}
