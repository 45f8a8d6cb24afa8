//! What the module costs before the first request: its size, and the time that it takes to check
//! a configuration and to start.

use std::fs;
use std::time::Instant;

use serde_json::json;
use xspace_tests::build;

use crate::report::{Table, grouped, milliseconds};
use crate::stats::Sorted;
use crate::variants::{self, Files, Variant};
use crate::workbench::{Result, Workbench};

/// The part's name.
const PART: &str = "size";

const VARIANTS: [Variant; 3] =
    [variants::STATIC_FILES, variants::DIRECTORY_FIRST, variants::CATALOG];

/// Measures module, `nginx -t` and start.
pub fn measure(bench: &Workbench) -> Result<()> {
    let files = Files::make()?;
    let machine = bench.machine();
    let size = fs::metadata(build().module.as_ref().ok_or("the module is compiled in")?)?.len();
    let mut table = Table::new(&["", "nginx -t", "until it listens"]);
    let runs = if bench.quick { 3 } else { 15 };
    let mut rows = Vec::new();
    let mut times = vec![(Vec::new(), Vec::new()); VARIANTS.len()];
    for _ in 0..runs {
        for (variant, (checks, starts)) in VARIANTS.iter().zip(&mut times) {
            let mut site = files.site(bench, variant, None, 0)?.http1_only();
            let mut command = site.check_command();
            let start = Instant::now();
            let output = command.output()?;
            checks.push(start.elapsed().as_nanos() as u64);
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into());
            }
            let start = Instant::now();
            let nginx = site.start();
            starts.push(start.elapsed().as_nanos() as u64);
            nginx.finish();
        }
    }
    for (variant, (checks, starts)) in VARIANTS.iter().zip(times) {
        let (checks, starts) = (Sorted::new(checks), Sorted::new(starts));
        table.row([
            variant.name.into(),
            milliseconds(checks.median()),
            milliseconds(starts.median()),
        ]);
        rows.push(json!({
            "with": variant.name,
            "check_ns": { "median": checks.median(), "min": checks.min(), "max": checks.max() },
            "start_ns": { "median": starts.median(), "min": starts.min(), "max": starts.max() },
        }));
    }
    table.print(&format!("Before the first request ({runs} runs, medians)"));
    println!("\n  The module's file has {} bytes.", grouped(size));
    bench.keep(PART, &json!({ "machine": machine, "module_bytes": size, "rows": rows }))
}
