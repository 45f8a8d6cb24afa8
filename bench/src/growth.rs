//! How costs grow: with connections, with files in the directory, with entries of the catalog.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use xspace_tests::{allow_many_files, median};

use crate::catalog::data;
use crate::load::{Client, Running, rounds};
use crate::process::Memory;
use crate::report::{Table, grouped};
use crate::site::site;
use crate::turns::{self, REQUESTS, Subject};
use crate::variants::{self, Agent, Files, Variant};
use crate::workbench::{Measurement, Result, Workbench};

/// The part's name.
const PART: &str = "growth";

/// More than are opened: nginx closes connections that wait when fewer than a sixteenth are left.
const MANY_CONNECTIONS: u32 = 15_000;

const MEASUREMENTS: [(&str, Measurement); 4] =
    [("connections", connections), ("idle", idle), ("files", files), ("entries", entries)];

/// Measures all, or what is wanted of it.
pub fn measure(bench: &Workbench) -> Result<()> {
    allow_many_files()?;
    bench.measure(PART, &MEASUREMENTS)
}

/// What is compared; the first one is what the others are compared with.
const VARIANTS: [Variant; 3] =
    [variants::STATIC_FILES, variants::DIRECTORY_FIRST, variants::CATALOG];

fn connections(bench: &Workbench) -> Result<Value> {
    const LEN: usize = 4096;
    let files = Files::make()?;
    let mut running = Vec::new();
    for variant in &VARIANTS {
        running.push(Running::start_site(variant, None, String::new(), |padding| {
            Ok(files
                .site(bench, variant, None, padding)?
                .http1_only()
                .connections(MANY_CONNECTIONS))
        })?);
    }
    let counts: &[usize] = if bench.quick { &[10, 1000] } else { &[10, 100, 1000, 10_000] };
    let mut table =
        Table::new(&["", "connections", "requests/s", "to static", "CPU µs", "to static"]);
    let mut rows = Vec::new();
    for &count in counts {
        let time = Duration::from_secs(if count > 1000 { 4 } else { 2 });
        let number = if bench.quick { 2 } else { 5 };
        let measured =
            rounds(&running, number, 0, |one| one.turn_of(Client::Http1, LEN, count, time))?;
        for (running, one) in running.iter().zip(&measured) {
            table.row([
                running.name.into(),
                grouped(count as u64),
                grouped(one.rate.round() as u64),
                format!("{:.3}", one.rate_ratio),
                format!("{:.1}", one.cpu / 1e3),
                format!("{:.3}", one.cpu_ratio),
            ]);
            rows.push(json!({
                "with": running.name, "connections": count,
                "requests_per_second": one.rate, "requests_per_second_to_static": one.rate_ratio,
                "cpu_ns_per_request": one.cpu, "cpu_to_static": one.cpu_ratio,
            }));
        }
    }
    for running in running {
        running.stop();
    }
    table.print("Connections at work, 4 KiB ranges");
    Ok(rows.into())
}

/// Memory of a worker, and of each connection that waits for its next request.
fn idle(bench: &Workbench) -> Result<Value> {
    const LEN: usize = 4096;
    let count: usize = if bench.quick { 1000 } else { 10_000 };
    let files = Files::make()?;
    let mut table = Table::new(&["", "worker, PSS kB", "RSS kB", "bytes per idle connection"]);
    let mut rows = Vec::new();
    for variant in &VARIANTS {
        let site = files.site(bench, variant, None, 0)?.http1_only();
        let nginx = site.connections(MANY_CONNECTIONS).start();
        let worker = nginx.wait_worker();
        let request = variants::request(variant.uri, variant.cookie, LEN, Agent::Curl);
        let ask = || {
            let mut connection = nginx.raw();
            files.ask(&mut connection, &request, LEN)?;
            Ok::<_, Box<dyn std::error::Error>>(connection)
        };
        let first = ask()?;
        let before = Memory::of(worker);
        let open = (1..count).map(|_| ask()).collect::<Result<Vec<_>>>()?;
        let after = Memory::of(worker);
        let each = after.rss.saturating_sub(before.rss) / (count as u64 - 1);
        drop((first, open));
        nginx.finish();
        table.row([
            variant.name.into(),
            grouped(before.pss / 1024),
            grouped(before.rss / 1024),
            grouped(each),
        ]);
        rows.push(json!({
            "with": variant.name, "worker_pss_bytes": before.pss, "worker_rss_bytes": before.rss,
            "connections": count, "bytes_per_idle_connection": each,
        }));
    }
    table.print(&format!(
        "Memory of the worker, and with {} idle connections",
        grouped(count as u64)
    ));
    Ok(rows.into())
}

/// Files of one directory.
fn files(bench: &Workbench) -> Result<Value> {
    let dir = ManyFiles::new(bench)?;
    let growth = Growth {
        of: "files",
        title: "Files in the directory, each asked for at random",
        counts: if bench.quick { &[1, 1000] } else { &[1, 1000, 100_000, 1_000_000] },
        ours: variants::DIRECTORY_FIRST,
    };
    growth.measure(bench, |count| {
        dir.grow(count)?;
        let path = dir.0.display();
        let static_site = format!("location ^~ /static/ {{ alias {path}/; }}");
        let directory = format!(
            "location ^~ /downloads/ {{ internal; alias {path}/; }}
            location ^~ /download/ {{ xspace_download /downloads/; }}"
        );
        let ids = (0..REQUESTS).map(|turn| data::id(turn * 7919 % count)).collect();
        Ok(([static_site, directory], ids))
    })
}

/// Entries of the catalog.
fn entries(bench: &Workbench) -> Result<Value> {
    let recordings = data::recordings(bench)?;
    let growth = Growth {
        of: "entries",
        title: "Entries of the catalog",
        counts: if bench.quick { &[1000, 10_000] } else { &[1000, 10_000, 100_000, 1_000_000] },
        ours: variants::CATALOG,
    };
    growth.measure(bench, |count| {
        let catalog = data::catalog(bench, count, data::State::Old)?;
        let directive = format!("xspace_catalog {};", catalog.display());
        let static_site = format!("location ^~ /static/ {{ alias {}/; }}", recordings.display());
        let ids = (0..REQUESTS).map(|turn| data::Asked(turn % data::ASKED).id()).collect();
        Ok(([static_site, data::locations(&recordings, &directive)], ids))
    })
}

/// A number that grows, and what is compared meanwhile with static files.
struct Growth {
    of: &'static str,
    title: &'static str,
    counts: &'static [u32],
    ours: Variant,
}

impl Growth {
    /// Measures for each count. `site` gives, for a count, what stands in the servers of static
    /// files and of the module, and the ids that are asked for.
    fn measure(
        &self,
        bench: &Workbench,
        site: impl Fn(u32) -> Result<([String; 2], Vec<String>)>,
    ) -> Result<Value> {
        let variants = [variants::STATIC_FILES, self.ours];
        let [base, ours] = variants.map(|variant| format!("{}, CPU µs", variant.name));
        let mut table = Table::new(&[self.of, &base, &ours, "to static"]);
        let mut rows = Vec::new();
        for &count in self.counts {
            let (servers, ids) = site(count)?;
            let (cpu, ratio) = compare(bench, servers, &ids)?;
            table.row([
                grouped(count),
                format!("{:.1}", cpu[0] / 1e3),
                format!("{:.1}", cpu[1] / 1e3),
                format!("{ratio:.3}"),
            ]);
            rows.push(json!({
                "count": count, "static_cpu_ns": cpu[0], "cpu_ns": cpu[1], "to_static": ratio,
            }));
        }
        table.print(self.title);
        Ok(rows.into())
    }
}

/// Processor time per request of static files and of the module, in turns: medians, and the median
/// of the ratios within a turn.
fn compare(bench: &Workbench, servers: [String; 2], ids: &[String]) -> Result<([f64; 2], f64)> {
    let paths = [|id: &str| format!("/static/{id}.mp3"), |id: &str| format!("/download/{id}")];
    let mut started = Vec::new();
    for (server, with_module) in servers.into_iter().zip([false, true]) {
        let site = site().http1_only().http(&variants::http(bench)).server(&server);
        started.push(if with_module { site } else { site.without_module() }.start());
    }
    let mut subjects: Vec<Subject<'_>> = Vec::new();
    for (nginx, path) in started.iter().zip(paths) {
        let mut connection = nginx.raw();
        let ask = move |turn: usize| {
            let id = &ids[turn % ids.len()];
            let request = format!(
                "GET {} HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-4095\r\n\r\n",
                path(id)
            );
            let response = connection.ask(request);
            if response.status != 206 || response.body.len() != 4096 {
                return Err(format!("status {} for {id}", response.status).into());
            }
            Ok(())
        };
        subjects.push(Subject { processes: vec![nginx.wait_worker()], ask: Box::new(ask) });
    }
    let cpu = turns::processor_time(&mut subjects, if bench.quick { 1 } else { 5 })?;
    drop(subjects);
    for nginx in started {
        nginx.finish();
    }
    let ratio = median(cpu[1].iter().zip(&cpu[0]).map(|(one, base)| one / base));
    Ok(([0, 1].map(|at| median(cpu[at].iter().copied())), ratio))
}

/// A directory that is filled with files, and removed with them.
struct ManyFiles(PathBuf);

impl ManyFiles {
    fn new(bench: &Workbench) -> Result<Self> {
        let dir = bench.dir.join("many-files");
        remove(&dir)?;
        fs::create_dir_all(&dir)?;
        Ok(Self(dir))
    }

    /// Makes files until there are so many. They have a length but no content, which takes no
    /// room on the disk.
    fn grow(&self, count: u32) -> Result<()> {
        for number in (0..count).rev() {
            let path = self.0.join(format!("{}.mp3", data::id(number)));
            if path.exists() {
                continue;
            }
            File::create(path)?.set_len(64 * 1024)?;
        }
        Ok(())
    }
}

impl Drop for ManyFiles {
    fn drop(&mut self) {
        // What is left is removed by the next run.
        let _ = remove(&self.0);
    }
}

fn remove(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    Ok(())
}
