//! From a write to the response that shows it.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use xspace_tests::{Nginx, RawConnection, poll, send_signal, wait_for};

use super::source::{Server, Shape, Source};
use super::{seconds, subjects};
use crate::catalog::data::{Requests, State};
use crate::report::{Table, grouped};
use crate::stats::Sorted;
use crate::workbench::{Result, Workbench};

/// A response tells which title it has, and which worker has sent it.
pub const SHAPE: Shape<'_> = Shape {
    target: "add_header X-Worker $pid; add_header X-Title $xspace_title;",
    refresh: Source::REFRESH,
    has_entries: true,
};

/// How long a change may take: each worker reads ten million entries.
const DEADLINE: Duration = Duration::from_secs(300);

/// Times of many changes with each source.
pub fn measure(bench: &Workbench) -> Result<Value> {
    let mut table =
        Table::new(&["", "entries", "changes", "write p50", "visible p50", "p99", "max"]);
    let mut rows = Vec::new();
    for (source, entries) in subjects(bench) {
        let rounds = rounds(bench, source, entries);
        rows.push(row(bench, source, entries, SHAPE, rounds, &mut table)?);
        // This one takes up to five seconds longer, whatever the size.
        if source == Source::File && entries <= 10_000 {
            let shape = Shape { refresh: "5s", ..SHAPE };
            rows.push(row(
                bench,
                source,
                entries,
                shape,
                if bench.quick { 2 } else { 12 },
                &mut table,
            )?);
        }
    }
    table.print("From the beginning of a write to its response from every worker");
    println!(
        "\n  A JSON file is written as a whole and renamed, and checked every {} unless a row has\n  \
         another time; a map is written likewise, and nginx reloads. Nothing of that waits for the\n  \
         disk; a commit of LMDB does.",
        Source::REFRESH
    );
    Ok(rows.into())
}

fn rounds(bench: &Workbench, source: Source, entries: u32) -> usize {
    let rounds = match (source, entries) {
        (Source::Lmdb | Source::Memcached, _) => 500,
        (_, ..=10_000) => 40,
        (_, ..=1_000_000) => 10,
        _ => 3,
    };
    if bench.quick { rounds / 4 } else { rounds }
}

fn row(
    bench: &Workbench,
    source: Source,
    entries: u32,
    shape: Shape<'_>,
    rounds: usize,
    table: &mut Table,
) -> Result<Value> {
    let mut server = start(bench, source, entries, shape)?;
    let mut change = Change::new(&server)?;
    let (mut written, mut visible) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let state = if round % 2 == 0 { State::New } else { State::Old };
        let times = change.make(&mut server, state)?;
        written.push(times.written);
        visible.push(times.visible);
    }
    server.stop()?;
    let (written, visible) = (Sorted::new(written), Sorted::new(visible));
    let name = match shape.refresh {
        Source::REFRESH => source.name().to_owned(),
        refresh => format!("{}, refresh={refresh}", source.name()),
    };
    table.row([
        name.clone(),
        grouped(entries),
        grouped(visible.len() as u64),
        seconds(written.median() as f64),
        seconds(visible.median() as f64),
        seconds(visible.quantile(0.99) as f64),
        seconds(visible.max() as f64),
    ]);
    Ok(json!({
        "with": name, "entries": entries, "written": written.times(), "visible": visible.times(),
    }))
}

/// Starts nginx with two workers.
pub fn start(bench: &Workbench, source: Source, entries: u32, shape: Shape<'_>) -> Result<Server> {
    let (site, entries) = source.set_up(bench, entries, shape)?;
    Ok(Server::start((site.workers(2), entries)))
}

/// From the beginning of a write, in nanoseconds.
pub struct Times {
    /// To its end.
    pub written: u64,
    /// To the response of the last worker that shows it.
    pub visible: u64,
}

/// Changes a space, and watches it.
pub struct Change {
    requests: Requests,
    /// One of each worker.
    connections: Vec<RawConnection>,
}

impl Change {
    /// Connects to each worker.
    pub fn new(server: &Server) -> Result<Self> {
        let requests = Requests::downloads();
        Ok(Self { requests, connections: connect_each(&server.nginx)? })
    }

    /// Writes a state, and asks until every worker has shown it.
    pub fn make(&mut self, server: &mut Server, state: State) -> Result<Times> {
        let old = server.nginx.workers();
        let start = Instant::now();
        server.write(state)?;
        let written = start.elapsed();
        if server.entries.writer.is_map() {
            self.wait_for_reload(server, &old, state, start)?;
        } else {
            for place in 0..self.connections.len() {
                while self.ask(place)? != state {
                    if !server.entries.writer.is_a_file() {
                        return Err("a response does not show what was committed before".into());
                    }
                    if start.elapsed() > DEADLINE {
                        return Err("a worker shows no change".into());
                    }
                }
            }
        }
        let visible = start.elapsed();
        let nanoseconds = |time: Duration| time.as_nanos() as u64;
        Ok(Times { written: nanoseconds(written), visible: nanoseconds(visible) })
    }

    fn ask(&mut self, place: usize) -> Result<State> {
        let response = self.connections[place].ask(self.requests.get(0));
        self.requests.check(0, &response)
    }

    /// A reload ends the old workers, and closes the connections that wait for a request.
    fn wait_for_reload(
        &mut self,
        server: &Server,
        old: &[u32],
        state: State,
        start: Instant,
    ) -> Result<()> {
        self.connections.clear();
        loop {
            let response = server.nginx.raw().ask(self.requests.get(0));
            let is_gone = |pid| !server.nginx.workers().contains(pid);
            if self.requests.check(0, &response)? == state && old.iter().all(is_gone) {
                return Ok(());
            }
            if start.elapsed() > DEADLINE {
                return Err("a reload has no effect".into());
            }
        }
    }
}

/// A connection to each worker. The others do not run while it is made, so they can't accept it.
pub fn connect_each(nginx: &Nginx) -> Result<Vec<RawConnection>> {
    let workers = wait_for(|| Some(nginx.workers()).filter(|workers| workers.len() == 2));
    let workers = workers.ok_or("not two workers")?;
    let requests = Requests::downloads();
    let mut connections = Vec::new();
    for worker in &workers {
        let others = || workers.iter().filter(|pid| *pid != worker);
        others().for_each(|&pid| nginx.signal_worker(pid, libc::SIGSTOP));
        if !poll(|| others().all(|&pid| is_stopped(pid))) {
            return Err("a worker does not stop".into());
        }
        let mut connection = nginx.raw();
        let response = connection.ask(requests.get(0));
        others().for_each(|&pid| send_signal(pid, libc::SIGCONT));
        if response.header("x-worker") != Some(worker.to_string().as_str()) {
            return Err(format!("not worker {worker}: {response:?}").into());
        }
        connections.push(connection);
    }
    Ok(connections)
}

fn is_stopped(pid: u32) -> bool {
    // `PID (nginx) T …`
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}
