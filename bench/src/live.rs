//! A catalog that is live and shared: entries in LMDB beside the same in a JSON file, in memcached that
//! a lookup asks, and in nginx's own `map`.

mod check;
mod cost;
mod memory;
mod source;
mod visible;
mod writes;

use std::time::Duration;

use serde_json::Value;

use crate::report::{Table, grouped};
use crate::workbench::{Measurement, Result, Workbench};
use source::Source;

/// The part's name.
const PART: &str = "live";

/// The measurements. The one of `nginx -t` comes first, while this process is small.
const MEASUREMENTS: [(&str, Measurement); 7] = [
    ("check", check::measure),
    ("memory", memory::measure),
    ("instructions", cost::instructions),
    ("processor", cost::processor),
    ("visible", visible::measure),
    ("commits", writes::commits),
    ("changes", writes::changes),
];

/// How long `nginx -t` may take before the rest is not measured.
const LIMIT: Duration = Duration::from_secs(120);

/// The numbers of entries.
fn sizes(bench: &Workbench) -> &'static [u32] {
    if bench.quick { &[10_000, 100_000] } else { &[10_000, 1_000_000, 10_000_000] }
}

/// With more entries than these, nginx does not read a `map` within [`LIMIT`].
const MAP_LIMIT: u32 = 1_000_000;

/// What is measured: sources, each with all numbers of entries. `check` shows what is left out.
fn subjects(bench: &Workbench) -> impl Iterator<Item = (Source, u32)> + use<'_> {
    let all = sizes(bench).iter().flat_map(|&entries| Source::ALL.map(|source| (source, entries)));
    all.filter(|&(source, entries)| source != Source::Map || entries <= MAP_LIMIT)
}

/// Measures all, or what is wanted of it.
pub fn measure(bench: &Workbench) -> Result<()> {
    let results = bench.take(PART, &MEASUREMENTS)?;
    summary(&results);
    bench.keep(PART, &results)
}

/// The table of docs/benchmarks.md.
fn summary(results: &Value) {
    let find = |measurement: &str, row: &Value| {
        let rows = results[measurement].as_array().into_iter().flatten();
        let same = |one: &&Value| one["with"] == row["with"] && one["entries"] == row["entries"];
        rows.into_iter().find(same).cloned().unwrap_or_default()
    };
    let Some(rows) = results["check"].as_array() else { return };
    let mut table = Table::new(&[
        "entries",
        "",
        "`nginx -t`",
        "memory at start: own, mapped",
        "after a change: own, mapped",
        "instructions",
        "processor time",
        "visible after: p50, p99",
        "static files: instructions, processor time",
    ]);
    let number = |value: &Value, to: fn(f64) -> String| value.as_f64().map_or("".into(), to);
    for row in rows {
        let [memory, instructions, processor, visible] =
            ["memory", "instructions", "processor", "visible"].map(|name| find(name, row));
        let pair = |one: &Value, other: &Value, to: fn(f64) -> String| match one.is_null() {
            true => String::new(),
            false => format!("{}, {}", number(one, to), number(other, to)),
        };
        let mb = |bytes: f64| format!("{:.0} MB", bytes / 1e6);
        let (start, changed) = (&memory["at start"], &memory["after a change"]);
        let beside = &instructions["static"];
        table.row([
            grouped(row["entries"].as_u64().unwrap_or_default()),
            row["with"].as_str().unwrap_or_default().to_owned(),
            match row["more_than_ns"].as_f64() {
                Some(limit) => format!("more than {}", seconds(limit)),
                None => number(&row["wall_ns"]["median"], seconds),
            },
            pair(&start["anonymous"], &start["mapped"], mb),
            pair(&changed["anonymous"], &changed["mapped"], mb),
            number(&instructions["instructions"], |count| grouped(count.round() as u64)),
            number(&processor["to_static"], |ratio| format!("{ratio:.2}")),
            pair(&visible["visible"]["p50_ns"], &visible["visible"]["p99_ns"], seconds),
            match beside.as_f64() {
                Some(count) => format!(
                    "{}, {}",
                    grouped(count.round() as u64),
                    number(&processor["static_to_static"], |ratio| format!("{ratio:.2}"))
                ),
                None => String::new(),
            },
        ]);
    }
    table.print_markdown();
}

/// Nanoseconds as a time of three digits.
fn seconds(nanoseconds: f64) -> String {
    let (value, unit) =
        if nanoseconds < 1e9 { (nanoseconds / 1e6, "ms") } else { (nanoseconds / 1e9, "s") };
    match value {
        small if small < 10.0 => format!("{small:.2} {unit}"),
        middle if middle < 100.0 => format!("{middle:.1} {unit}"),
        large => format!("{large:.0} {unit}"),
    }
}
