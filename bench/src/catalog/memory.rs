//! The memory of a worker process that reads a million entries again.

use std::fs::{self, hard_link};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use xspace_tests::poll;

use super::MILLION;
use super::data::{self, Requests, State};
use crate::process::{self, Memory};
use crate::report::{Table, megabytes};
use crate::site::site;
use crate::workbench::{Result, Workbench};

/// What nginx writes when a catalog was replaced.
pub const WAS_READ: &str = " reloaded: ";

/// More than NGINX's thread pool has threads, each of which may keep memory of its own.
const REFRESHES: usize = 40;

/// Where nginx reads a catalog that is replaced: beside the generated ones, which are linked there.
pub fn served(bench: &Workbench) -> PathBuf {
    bench.dir.join("served.json")
}

/// Puts a generated catalog where nginx reads it, by a rename.
pub fn put(bench: &Workbench, state: State, path: &Path) -> Result<()> {
    let new = path.with_extension("new");
    if new.exists() {
        fs::remove_file(&new)?;
    }
    hard_link(data::catalog(bench, MILLION, state)?, &new)?;
    Ok(fs::rename(&new, path)?)
}

/// Memory before, and the peak during and what is left after each of some refreshes.
pub fn measure(bench: &Workbench) -> Result<Value> {
    let path = served(bench);
    // Generated now, lest it take the time in which nginx runs.
    put(bench, State::New, &path)?;
    put(bench, State::Old, &path)?;
    let directive = format!("xspace_catalog {} refresh=100ms;", path.display());
    let server = data::locations(&data::recordings(bench)?, &directive);
    let nginx = site().http1_only().server(&server).start();
    let worker = nginx.wait_worker();
    let mut connection = nginx.raw();
    let requests = Requests::downloads();
    let mut expect = |state: State| {
        if requests.check(0, &connection.ask(requests.get(0)))? != state {
            return Err("this is not the catalog that was read last".into());
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    };

    let mut table = Table::new(&["", "peak RSS", "RSS", "PSS"]);
    let mut results = Vec::new();
    let mut add = |when: String, peak: Option<u64>, memory: Memory| {
        table.row([
            when.clone(),
            peak.map_or("".into(), megabytes),
            megabytes(memory.rss),
            megabytes(memory.pss),
        ]);
        results.push(json!({
            "when": when, "peak_rss_bytes": peak, "rss_bytes": memory.rss, "pss_bytes": memory.pss,
        }));
    };

    let mut state = State::Old;
    expect(state)?;
    add("master process".into(), None, Memory::of(nginx.pid()));
    add("before".into(), None, Memory::of(worker));
    for number in 1..=if bench.quick { 3 } else { REFRESHES } {
        process::forget_peak(worker)?;
        state = state.other();
        put(bench, state, &path)?;
        nginx.wait_errors(&[WAS_READ], number);
        expect(state)?;
        // A thread frees the old catalog: wait until that makes no difference any more.
        let mut after = Memory::of(worker);
        let mut same = 0;
        let is_steady = poll(|| {
            let now = Memory::of(worker);
            same = if now.rss < after.rss { 0 } else { same + 1 };
            after = now;
            same == 100
        });
        assert!(is_steady, "memory is still being freed");
        add(format!("refresh {number}"), Some(process::peak(worker)), after);
    }
    add("master process at the end".into(), None, Memory::of(nginx.pid()));
    nginx.finish();
    table.print("Memory of the worker process, 1 million entries");
    println!("\n  Before the first refresh the catalog's memory is the master process's as well.");
    Ok(results.into())
}
