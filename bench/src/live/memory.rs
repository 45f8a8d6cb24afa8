//! The memory of all processes together.

use serde_json::{Value, json};
use xspace_tests::memory;

use super::source::Server;
use super::subjects;
use super::visible::{self, Change};
use crate::catalog::data::{self, State};
use crate::report::{Table, grouped, megabytes};
use crate::workbench::{Result, Workbench};

/// How many spaces are asked for before memory is looked at, so that their pages are mapped.
const TOUCHED: u32 = 50_000;

/// After the start and after a change: what processes have of their own, and what is mapped of the page
/// cache.
pub fn measure(bench: &Workbench) -> Result<Value> {
    let mut table = Table::new(&["", "entries", "when", "own", "written to", "mapped", "all"]);
    let mut rows = Vec::new();
    for (source, entries) in subjects(bench) {
        let mut server = visible::start(bench, source, entries, visible::SHAPE)?;
        let mut row = json!({ "with": source.name(), "entries": entries });
        for (when, state) in [("at start", State::Old), ("after a change", State::New)] {
            if state == State::New {
                Change::new(&server)?.make(&mut server, state)?;
            }
            touch(&server, entries)?;
            let used = Used::of(&server);
            table.row([
                source.name().into(),
                grouped(entries),
                when.into(),
                megabytes(used.anonymous),
                megabytes(used.private_dirty),
                megabytes(used.mapped),
                megabytes(used.all),
            ]);
            row[when] = json!({
                "anonymous": used.anonymous, "private_dirty": used.private_dirty,
                "mapped": used.mapped, "all": used.all,
            });
        }
        server.stop()?;
        rows.push(row);
    }
    table.print(
        "Memory of master, two workers and memcached together (PSS: anonymous, of files; private and \
         dirty)",
    );
    Ok(rows.into())
}

/// Asks both workers for spaces from all over the entries. Their recordings are not there.
fn touch(server: &Server, entries: u32) -> Result<()> {
    if server.entries.writer.is_map() {
        return Ok(());
    }
    for connection in &mut visible::connect_each(&server.nginx)? {
        for turn in 0..TOUCHED.min(entries) {
            let number =
                (u64::from(turn) * u64::from(entries) / u64::from(TOUCHED.min(entries))) as u32;
            let id = data::id(number);
            let request = format!(
                "GET /download/{id} HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-0\r\n\r\n"
            );
            match connection.ask(request).status {
                206 | 404 => {}
                status => return Err(format!("status {status} for {id}").into()),
            }
        }
    }
    Ok(())
}

/// Sums of all processes, in bytes.
#[derive(Default)]
struct Used {
    anonymous: u64,
    private_dirty: u64,
    mapped: u64,
    all: u64,
}

impl Used {
    fn of(server: &Server) -> Self {
        let mut used = Self::default();
        for pid in server.processes() {
            used.anonymous += memory(pid, "Pss_Anon");
            used.private_dirty += memory(pid, "Private_Dirty");
            used.mapped += memory(pid, "Pss_File");
            used.all += memory(pid, "Pss");
        }
        used
    }
}
