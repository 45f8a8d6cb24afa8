//! What a request costs, and what one for a static file of the same nginx does.

use serde_json::{Value, json};
use xspace_tests::{RawConnection, Site, median};

use super::source::{Entries, PLAIN, Server, beside};
use super::{sizes, subjects};
use crate::callgrind::Counted;
use crate::catalog::data::{self, Requests, State};
use crate::load::SERVER;
use crate::process::pin_this_thread;
use crate::report::{Table, grouped};
use crate::site::site;
use crate::strace;
use crate::turns::{self, Subject};
use crate::workbench::{Result, Workbench};

/// What a plain site is called, one whose files are found in the directory.
const DIRECTORY: &str = "directory";

/// The processor of the client.
const CLIENT: usize = 1;

/// The two kinds of requests: of the module, or of a map, and of static files.
const KINDS: [&str; 2] = ["/download/", "/static/"];

fn requests(kind: &str) -> Requests {
    Requests::new(|asked| match kind {
        "/static/" => format!("{kind}{}", asked.file(State::Old)),
        _ => format!("{kind}{}", asked.id()),
    })
}

/// The site that the others are compared with.
fn directory(bench: &Workbench, site: Site) -> Result<Site> {
    let recordings = data::recordings(bench)?;
    Ok(beside(&recordings, site).server(&data::locations_with(&recordings, "", "")))
}

/// Asks once, in turn, and checks the answer.
fn ask(connection: &mut RawConnection, requests: &Requests, turn: usize) -> Result<()> {
    requests.check(turn, &connection.ask(requests.get(turn)))?;
    Ok(())
}

/// Of both kinds of requests.
#[derive(Clone, Copy)]
struct Both {
    ours: f64,
    beside: f64,
}

impl Both {
    fn new(mut of: impl FnMut(&str) -> Result<f64>) -> Result<Self> {
        let [ours, beside] = KINDS;
        Ok(Self { ours: of(ours)?, beside: of(beside)? })
    }

    /// Instructions of nginx's worker.
    fn instructions(site: Site) -> Result<Self> {
        let mut counted = Counted::start(site)?;
        let both = Self::new(|kind| {
            let (requests, mut connection) = (requests(kind), counted.nginx.raw());
            let mut turns = 0..;
            counted.instructions(|_, count| {
                turns
                    .by_ref()
                    .take(count)
                    .try_for_each(|turn| ask(&mut connection, &requests, turn))
            })
        })?;
        counted.finish();
        Ok(both)
    }

    /// System calls of nginx; a site for each kind.
    fn calls(mut site: impl FnMut() -> Result<(Site, Option<Entries>)>) -> Result<Self> {
        Self::new(|kind| {
            let (requests, (site, _entries)) = (requests(kind), site()?);
            Ok(strace::calls(site, |connection, turn| ask(connection, &requests, turn))?.0)
        })
    }
}

/// Instructions of nginx's worker, and system calls, which do not depend on the number of entries.
pub fn instructions(bench: &Workbench) -> Result<Value> {
    let plain = || directory(bench, site());
    let base = Both::instructions(plain()?)?;
    let base_calls = Both::calls(|| Ok((plain()?, None)))?;
    let mut table =
        Table::new(&["", "entries", "instructions", "more", "static", "more", "calls", "static"]);
    let mut rows = Vec::new();
    let mut add = |name: &str, entries: Option<u32>, counted: Both, calls: Option<Both>| {
        let calls_of =
            |of: fn(Both) -> f64| calls.map_or("".into(), |calls| format!("{:.2}", of(calls)));
        table.row([
            name.into(),
            entries.map_or("".into(), grouped),
            grouped(counted.ours.round() as u64),
            format!("{:+.0}", counted.ours - base.ours),
            grouped(counted.beside.round() as u64),
            format!("{:+.0}", counted.beside - base.beside),
            calls_of(|calls| calls.ours),
            calls_of(|calls| calls.beside),
        ]);
        rows.push(json!({
            "with": name, "entries": entries,
            "instructions": counted.ours, "more": counted.ours - base.ours,
            "static": counted.beside, "static_to_static": counted.beside / base.beside,
            "calls": calls.map(|calls| calls.ours), "static_calls": calls.map(|calls| calls.beside),
        }));
    };
    add(DIRECTORY, None, base, Some(base_calls));
    for (source, entries) in subjects(bench) {
        let (site, kept) = source.set_up(bench, entries, PLAIN)?;
        let counted = Both::instructions(site)?;
        drop(kept);
        let calls = (entries == sizes(bench)[0]).then(|| {
            Both::calls(|| {
                let (site, entries) = source.set_up(bench, entries, PLAIN)?;
                Ok((site, Some(entries)))
            })
        });
        add(source.name(), Some(entries), counted, calls.transpose()?);
    }
    table.print(
        "User-mode instructions and system calls of nginx per request (4 KiB range, HTTP/1.1, keepalive)",
    );
    println!(
        "\n  Those of memcached itself are not counted. \"more\" than those of the directory, and than static\n  \
         files beside it."
    );
    Ok(rows.into())
}

/// Processor time per request, in turns with a directory and the static files beside it.
pub fn processor(bench: &Workbench) -> Result<Value> {
    // A thread of its own, for it stays on its processor.
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            pin_this_thread(CLIENT).map_err(|e| e.to_string())?;
            sizes(bench).iter().map(|&entries| turns_of(bench, entries)).collect()
        });
        let rows: std::result::Result<Vec<Vec<Value>>, String> =
            thread.join().map_err(|_| "the client panicked".to_owned())?;
        Ok(rows?.concat().into())
    })
}

fn turns_of(bench: &Workbench, entries: u32) -> std::result::Result<Vec<Value>, String> {
    let rows = || -> Result<Vec<Value>> {
        let on_processor = |site: Site| site.under(&["taskset", "--cpu-list", SERVER]);
        let plain = Server {
            nginx: on_processor(directory(bench, site())?).start(),
            entries: Entries::none(),
        };
        let mut servers = vec![(DIRECTORY, plain)];
        for (source, _) in subjects(bench).filter(|&(_, count)| count == entries) {
            let (site, entries) = source.set_up(bench, entries, PLAIN)?;
            servers.push((source.name(), Server::start((on_processor(site), entries))));
        }
        let mut all = Vec::new();
        for (_, server) in &servers {
            for kind in KINDS {
                let (requests, mut connection) = (requests(kind), server.nginx.raw());
                let mut processes = vec![server.nginx.wait_worker()];
                processes.extend(server.entries.memcached());
                let ask = move |turn: usize| ask(&mut connection, &requests, turn);
                all.push(Subject { processes, ask: Box::new(ask) });
            }
        }
        let times = turns::processor_time(&mut all, if bench.quick { 2 } else { 7 })?;
        drop(all);
        let [_, base, ..] = &times[..] else { return Err("nothing was measured".into()) };
        let to_static =
            |times: &[f64]| median(times.iter().zip(base).map(|(one, base)| one / base));
        let mut table = Table::new(&["", "CPU µs each", "to static", "static beside", "to static"]);
        let mut rows = Vec::new();
        for ((name, _), times) in servers.iter().zip(times.chunks(2)) {
            let [cpu, beside] = [0, 1].map(|kind| median(times[kind].iter().copied()));
            let ratios = [0, 1].map(|kind| to_static(&times[kind]));
            table.row([
                (*name).into(),
                format!("{:.1}", cpu / 1e3),
                format!("{:.3}", ratios[0]),
                format!("{:.1}", beside / 1e3),
                format!("{:.3}", ratios[1]),
            ]);
            rows.push(json!({
                "with": name, "entries": entries, "cpu_ns_per_request": cpu,
                "to_static": ratios[0], "static_cpu_ns_per_request": beside,
                "static_to_static": ratios[1], "rounds": times,
            }));
        }
        for (_, server) in servers {
            server.stop()?;
        }
        table.print(&format!(
            "{} entries: processor time of nginx and memcached per request (medians, ratios within a round)",
            grouped(entries)
        ));
        Ok(rows)
    };
    rows().map_err(|error| error.to_string())
}
