//! `nginx -t`.

use std::fs;

use serde_json::{Value, json};

use super::source::{PLAIN, Shape, Source};
use super::{LIMIT, MAP_LIMIT, seconds, sizes};
use crate::catalog::check::Checks;
use crate::process;
use crate::report::{Table, grouped, megabytes};
use crate::workbench::{Result, Workbench};

/// Wall time and peak of memory with each source. The one that takes too long is ended.
pub fn measure(bench: &Workbench) -> Result<Value> {
    let mut table = Table::new(&["", "entries", "file", "runs", "median", "CPU", "peak"]);
    let mut rows = Vec::new();
    for &entries in sizes(bench) {
        for source in Source::ALL {
            let shape = Shape { has_entries: false, ..PLAIN };
            let (mut site, _entries) = source.set_up(bench, entries, shape)?;
            let file = match source.generated(bench, entries)? {
                Some(path) => Some(fs::metadata(path)?.len()),
                None => None,
            };
            let mut row = json!({ "with": source.name(), "entries": entries, "file_bytes": file });
            let mut cells =
                [source.name().into(), grouped(entries), file.map_or("".into(), megabytes)]
                    .to_vec();
            if source == Source::Map && entries > MAP_LIMIT {
                let limit = LIMIT.as_secs().to_string();
                site = site.under(&["timeout", &limit]);
                let cost = process::run(&mut site.check_command())?;
                if cost.success || cost.wall < LIMIT {
                    return Err(format!("a map of {entries} entries: {cost:?}").into());
                }
                row["more_than_ns"] = (LIMIT.as_nanos() as u64).into();
                cells.extend(["1".into(), format!("more than {LIMIT:?}"), String::new()]);
                cells.push(format!("more than {}", megabytes(cost.peak)));
                row["peak_bytes"] = cost.peak.into();
            } else {
                let runs = if entries > MAP_LIMIT { 3 } else { 5 };
                let Checks { wall, cpu, peak } = Checks::run(&mut site, runs)?;
                row["runs"] = runs.into();
                row["wall_ns"] =
                    json!({ "median": wall.median(), "min": wall.min(), "max": wall.max() });
                row["cpu_ns"] = cpu.median().into();
                row["peak_bytes"] = peak.into();
                cells.push(runs.to_string());
                cells.extend([wall.median(), cpu.median()].map(|time| seconds(time as f64)));
                cells.push(megabytes(peak));
            }
            table.push(cells);
            rows.push(row);
        }
    }
    table.print("nginx -t (wall time, processor time, peak of physical memory)");
    println!(
        "\n  What did not end within {LIMIT:?} was ended, and is not measured below. Entries in\n  \
         memcached are nothing to nginx -t."
    );
    Ok(rows.into())
}
