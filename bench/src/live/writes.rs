//! What a writer achieves, alone and beside clients.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use xspace_tests::{LmdbWriter, Memcached, Program, Random, end_with_this_process, project_dir};

use super::source::{PLAIN, Server, Shape, Source, lmdb_writer};
use super::{seconds, sizes};
use crate::catalog::data::{self, ASKED, Asked, Requests, SHOW_TITLE, State};
use crate::catalog::refresh::{CLIENTS, Client, while_asked};
use crate::report::{Table, grouped, milliseconds};
use crate::stats::Sorted;
use crate::workbench::{Result, Workbench};

/// Entries in a transaction.
const BATCH: usize = 100;

/// Commits in a second by a program in Python, and what memcached does.
pub fn commits(bench: &Workbench) -> Result<Value> {
    let time = Duration::from_secs(if bench.quick { 1 } else { 4 });
    let mut table = Table::new(&["", "entries", "in one", "each", "a second", "entries a second"]);
    let mut rows = Vec::new();
    let mut add = |name: &str, entries: u32, size: usize, rate: f64| {
        table.row([
            name.into(),
            grouped(entries),
            size.to_string(),
            seconds(1e9 / rate),
            grouped(rate.round() as u64),
            grouped((rate * size as f64).round() as u64),
        ]);
        rows.push(json!({ "with": name, "entries": entries, "size": size, "per_second": rate }));
    };
    for &entries in sizes(bench) {
        let path = data::lmdb(bench, entries)?;
        let pairs = pairs(entries);
        for (name, has_sync) in [("LMDB, fsync", true), ("LMDB, no fsync", false)] {
            for size in [1, BATCH] {
                add(name, entries, size, lmdb(&path, has_sync, size, time, &pairs)?);
            }
        }
    }
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("memcached.sock");
    let _memcached = Program::memcached(&socket, 64);
    let mut client = Memcached::connect(&socket);
    let pairs = pairs(sizes(bench)[0]);
    for size in [1, BATCH] {
        let (mut count, start) = (0, Instant::now());
        for values in pairs.chunks_exact(size).cycle() {
            client.set_all(values.iter().map(|(id, entry)| (id, entry)));
            count += 1;
            if start.elapsed() > time {
                break;
            }
        }
        add(
            "memcached",
            pairs.len() as u32,
            size,
            f64::from(count) / start.elapsed().as_secs_f64(),
        );
    }
    table.print(
        "Transactions of one writer, in Python (memcached: sets that are confirmed, in Rust)",
    );
    Ok(rows.into())
}

/// Ids and entries at random.
fn pairs(entries: u32) -> Vec<(String, String)> {
    let numbers = numbers(entries).take(50_000);
    numbers.map(|number| (data::id(number), data::entry(number, State::Old))).collect()
}

/// Numbers of spaces at random, those that are asked for among them.
fn numbers(entries: u32) -> impl Iterator<Item = u32> {
    let mut random = Random::new(7);
    std::iter::repeat_with(move || match random.below(20) {
        0 => Asked(random.below(ASKED as usize) as u32).number(),
        _ => random.below(entries as usize) as u32,
    })
}

fn lmdb(
    directory: &Path,
    has_sync: bool,
    size: usize,
    time: Duration,
    pairs: &[(String, String)],
) -> Result<f64> {
    let arguments = json!({ "map_size": data::LMDB_MAP_SIZE, "sync": has_sync });
    let mut command = Command::new("/usr/bin/python3");
    command.arg(project_dir().join("bench/lmdb/commits.py")).arg(directory);
    command.args([arguments.to_string(), size.to_string(), time.as_secs_f64().to_string()]);
    end_with_this_process(&mut command);
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    process.stdin.take().ok_or("no pipe")?.write_all(json!(pairs).to_string().as_bytes())?;
    let output = process.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("{command:?}: {output:?}").into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// Changes in a second that are asked of the writer.
const CHANGES: u32 = 5000;

/// Between two requests of a client.
const INTERVAL: Duration = Duration::from_millis(2);

/// Transactions with fsync, at a rate, while clients ask for ranges.
pub fn changes(bench: &Workbench) -> Result<Value> {
    let mut table = Table::new(&["entries", "", "requests", "p50", "p99", "p99.9", "max"]);
    let mut rows = Vec::new();
    for &entries in &sizes(bench)[1..] {
        let run = Run::new(bench, entries)?;
        for (name, times) in [("without changes", &run.without), ("with changes", &run.with)] {
            table.row([
                grouped(entries),
                name.into(),
                grouped(times.len() as u64),
                milliseconds(times.median()),
                milliseconds(times.quantile(0.99)),
                milliseconds(times.quantile(0.999)),
                milliseconds(times.max()),
            ]);
        }
        rows.push(json!({
            "entries": entries, "changes": run.changes, "seconds": run.seconds,
            "changes_per_second": run.changes as f64 / run.seconds, "failed": 0,
            "commits": run.commits.times(), "states": run.states,
            "without": run.without.times(), "with": run.with.times(),
        }));
    }
    table.print(&format!(
        "{CLIENTS} clients that ask for a range every {INTERVAL:?} each, with and without {} changes a second",
        grouped(CHANGES)
    ));
    println!();
    for row in &rows {
        let times = |name: &str| seconds(row["commits"][name].as_f64().unwrap_or_default());
        println!(
            "  {} entries: {:.0} changes a second for {:.0} s in transactions of {BATCH}, each committed in \
             {} (p99 {}).",
            grouped(row["entries"].as_u64().unwrap_or_default()),
            row["changes_per_second"].as_f64().unwrap_or_default(),
            row["seconds"].as_f64().unwrap_or_default(),
            times("p50_ns"),
            times("p99_ns"),
        );
    }
    println!("  No request failed; each response was wholly of an old or of a new entry.");
    Ok(rows.into())
}

/// What clients and writer saw.
struct Run {
    changes: usize,
    seconds: f64,
    commits: Sorted,
    without: Sorted,
    with: Sorted,
    states: [usize; 2],
}

impl Run {
    fn new(bench: &Workbench, entries: u32) -> Result<Self> {
        let (quiet, busy) = if bench.quick { (2, 5) } else { (15, 60) };
        let (quiet, busy) = (Duration::from_secs(quiet), Duration::from_secs(busy));
        let shape = Shape { target: SHOW_TITLE, ..PLAIN };
        let (site, kept) = Source::Lmdb.set_up(bench, entries, shape)?;
        let server = Server::start((site, kept));
        let requests = Requests::downloads();
        let mut clients: Vec<_> =
            (0..CLIENTS).map(|place| Client::new(&server.nginx, Some(INTERVAL), place)).collect();
        let start = Instant::now();
        let worker = server.nginx.wait_worker();
        let mut writing = Writing::new(&data::lmdb(bench, entries)?, entries);
        let (from, to) = while_asked(worker, &mut clients, &requests, start, || {
            thread::sleep(quiet);
            let from = start.elapsed();
            writing.run(busy)?;
            let to = start.elapsed();
            thread::sleep(quiet);
            Ok((from, to))
        })?;
        let changes = writing.commits.len() * BATCH;
        writing.restore();
        server.stop()?;
        let during = |is_busy: bool| {
            let (from, to) = (from.as_nanos() as u64, to.as_nanos() as u64);
            let answered = clients.iter().flat_map(|client| &client.answered);
            let of_it = answered
                .filter(move |one| (one.sent < to && one.sent + one.took > from) == is_busy);
            Sorted::new(of_it.map(|one| one.took))
        };
        let states = [0, 1].map(|state| clients.iter().map(|client| client.states[state]).sum());
        if states.contains(&0) {
            return Err("the clients have not seen both entries".into());
        }
        Ok(Self {
            changes,
            seconds: (to - from).as_secs_f64(),
            commits: Sorted::new(writing.commits),
            without: during(false),
            with: during(true),
            states,
        })
    }
}

/// A writer that keeps to a rate if it can.
struct Writing {
    writer: LmdbWriter,
    numbers: Box<dyn Iterator<Item = u32>>,
    commits: Vec<u64>,
}

impl Writing {
    fn new(directory: &Path, entries: u32) -> Self {
        let numbers = Box::new(numbers(entries));
        Self { writer: lmdb_writer(directory, true), numbers, commits: Vec::new() }
    }

    fn run(&mut self, time: Duration) -> Result<()> {
        let start = Instant::now();
        let interval = Duration::from_secs(1) * BATCH as u32 / CHANGES;
        let mut due = start;
        let mut state = State::Old;
        while start.elapsed() < time {
            state = state.other();
            let mut numbers = BTreeSet::new();
            while numbers.len() < BATCH {
                numbers.extend(self.numbers.next());
            }
            let entries: Vec<_> = numbers
                .into_iter()
                .map(|number| (data::id(number), data::entry(number, state)))
                .collect();
            self.write(&entries);
            due += interval;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        Ok(())
    }

    fn write(&mut self, entries: &[(String, String)]) {
        let entries: Vec<_> =
            entries.iter().map(|(id, entry)| (id.as_str(), Some(entry.as_str()))).collect();
        let start = Instant::now();
        self.writer.write(&entries);
        self.commits.push(start.elapsed().as_nanos() as u64);
    }

    /// The state that every measurement begins with, of what is asked for.
    fn restore(&mut self) {
        let asked = (0..ASKED).map(|index| Asked(index).number());
        let entries: Vec<_> =
            asked.map(|number| (data::id(number), data::entry(number, State::Old))).collect();
        let commits = self.commits.len();
        self.write(&entries);
        self.commits.truncate(commits);
    }
}
