//! The catalog: what it costs to start with, to keep, to ask and to read again.

pub mod check;
pub mod data;
mod instructions;
mod memory;
pub mod refresh;

use crate::workbench::{Measurement, Result, Workbench};

/// The part's name.
const PART: &str = "catalog";

/// The numbers of entries that are looked at.
const SIZES: [u32; 3] = [1_000, 100_000, 1_000_000];

/// The largest of them.
const MILLION: u32 = 1_000_000;

/// The measurements. The one of `nginx -t` comes first, while this process is small.
const MEASUREMENTS: [(&str, Measurement); 4] = [
    ("check", check::measure),
    ("instructions", instructions::measure),
    ("memory", memory::measure),
    ("refresh", refresh::measure),
];

/// Measures all, or what is wanted of it.
pub fn measure(bench: &Workbench) -> Result<()> {
    bench.measure(PART, &MEASUREMENTS)
}
