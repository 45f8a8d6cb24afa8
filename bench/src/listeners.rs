//! Listeners as they are, thousands at once: they come, probe, play, seek, pause, leave, and some of
//! their phones vanish. What nginx needs for them, and whether anyone's buffer runs dry.

mod client;
mod crowd;
mod listener;
mod server;
mod settings;

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use xspace_tests::{allow_many_files, wait_for};

use crate::report::{Table, grouped, megabytes};
use crate::variants;
use crate::workbench::{Measurement, Result, Workbench};
use client::Over;
use crowd::{Plan, Seen};
use server::{Recordings, Server, Settings, Subject, Usage};

/// The part's name.
const PART: &str = "listeners";

const MEASUREMENTS: [(&str, Measurement); 6] = [
    ("counts", counts),
    ("applications", applications),
    ("changes", changes),
    ("calls", settings::calls),
    ("times", settings::times),
    ("silent", settings::silent),
];

/// The length of a recording: more than is played between two seeks, at any rate.
pub const RECORDING_LEN: u64 = 32 * 1024 * 1024;

const ALL: [Over; 4] = [Over::Http1, Over::Tls, Over::Http2, Over::Http3];

/// nginx has the first processor, the clients the second one.
const CLIENT: usize = 1;

/// As in `nginx-conf/high-traffic.conf`, with one rate for all; `settings.rs` has what each of them is
/// worth.
const TUNED: Settings = Settings {
    http: "
        output_buffers 1 32k;
        open_file_cache max=20000 inactive=60s;
        open_file_cache_valid 10s;
        reset_timedout_connection on;
        ssl_session_timeout 1d;
        quic_gso on;
        limit_rate_after 640k;
        limit_rate 64k;",
    target: "",
    listen: "sndbuf=64k backlog=4096",
};

const STATIC: Subject = Subject {
    name: "static files",
    locations: variants::STATIC,
    path: "/static/{id}.mp3",
    application: false,
};

const MODULE: Subject = Subject {
    name: "catalog, plays counted",
    locations: "
        location ^~ /downloads/ { internal; alias {dir}/; {target} }
        location ^~ /download/ {
            xspace_download /downloads/; xspace_catalog {catalog}; xspace_stats plays;
        }",
    path: "/download/{id}",
    application: false,
};

const X_ACCEL: Subject = Subject {
    name: "Flask, X-Accel-Redirect",
    locations: variants::FLASK_X_ACCEL.locations,
    path: "/x-accel/{id}",
    application: true,
};

const SEND_FILE: Subject = Subject {
    name: "Flask, send_file",
    locations: variants::FLASK_SEND_FILE.locations,
    path: "/send-file/{id}",
    application: true,
};

/// Measures all, or what is wanted of it.
pub fn measure(bench: &Workbench) -> Result<()> {
    allow_many_files()?;
    bench.measure(PART, &MEASUREMENTS)
}

/// A run of so many listeners. A short one is for a look, or to see that all of this works.
fn plan(bench: &Workbench, listeners: usize) -> Plan {
    let (ramp, settle, window) = if bench.quick {
        (2.0, 0.5, 4.0)
    } else {
        // 250 a second at most, each of whom needs three requests, and by HTTPS a handshake for each:
        // nginx is not to be late with them when measuring begins.
        (5.0 + listeners as f64 / 250.0, 10.0, 45.0)
    };
    let [ramp, settle, window] = [ramp, settle, window].map(Duration::from_secs_f64);
    Plan { listeners, ramp, settle, window, processor: CLIENT }
}

/// One run: what listeners saw, and what it took.
#[derive(Debug)]
struct Run {
    subject: &'static str,
    over: Over,
    listeners: usize,
    seen: Seen,
    used: Usage,
    window: Duration,
}

impl Run {
    /// Runs listeners of a subject. Meanwhile `look` does something to nginx, with the beginning and
    /// the end of the window.
    fn new(
        server: &Server,
        plan: Plan,
        look: impl FnOnce(Instant, Instant) -> Result<()>,
    ) -> Result<Self> {
        let (seen, used) =
            plan.run(server.target(), |from, to| server.usage(from, to, || look(from, to)))?;
        let run = Self {
            subject: server.name(),
            over: server.target().over,
            listeners: plan.listeners,
            seen,
            used,
            window: plan.window,
        };
        if run.seen.seeks.is_empty() || run.seen.bytes == 0 {
            return Err(format!("{}: nobody hears anything: {run:?}", run.subject).into());
        }
        if let Some(error) = run.seen.errors.keys().find(|error| error.starts_with(client::WRONG)) {
            return Err(format!("{}: {error}", run.subject).into());
        }
        Ok(run)
    }

    /// The part of the time of all listeners in which there was no sound.
    fn silence(&self) -> f64 {
        self.seen.stalled.as_secs_f64() / (self.seen.present * self.window.as_secs_f64())
    }

    /// Whether more listeners need not be tried: one request in a hundred takes this long, or there is
    /// no sound in a hundredth of the time.
    fn is_too_much(&self) -> bool {
        const TOO_LONG: Duration = Duration::from_secs(2);
        let is_slow =
            |times: &[u64]| u128::from(Seen::sorted(times).quantile(0.99)) > TOO_LONG.as_nanos();
        let seen = &self.seen;
        seen.failed > 0 || self.silence() > 0.01 || is_slow(&seen.seeks) || is_slow(&seen.joins)
    }

    /// Processor time of nginx and application, in processors.
    fn processors(&self) -> f64 {
        self.used.ran as f64 / self.window.as_nanos() as f64
    }

    fn per_thousand(&self, value: f64) -> f64 {
        value / self.seen.present * 1000.0
    }

    fn json(&self) -> Value {
        let seen = &self.seen;
        json!({
            "with": self.subject, "over": self.over.name(), "listeners": self.listeners,
            "present": seen.present, "bytes_per_second": seen.bytes as f64 / self.window.as_secs_f64(),
            "seeks": Seen::sorted(&seen.seeks).times(), "joins": Seen::sorted(&seen.joins).times(),
            "client_late": Seen::sorted(&seen.late).times(),
            "stalls": seen.stalls, "stalled_share": self.silence(),
            "lost": seen.lost, "failed": seen.failed, "errors": seen.errors,
            "processors": self.processors(), "client_processors": seen.client,
            "processors_per_thousand": self.per_thousand(self.processors()),
            "memory": self.used.memory, "memory_per_thousand": self.per_thousand(self.used.memory as f64),
            "socket_memory": self.used.socket_memory, "open_files": self.used.files,
            "dropped_segments": self.used.dropped,
        })
    }
}

/// Prints a table of runs, and gives the same as JSON.
fn report(title: &str, runs: &[Run]) -> Value {
    let mut table = Table::new(&[
        "",
        "over",
        "listeners",
        "MB/s",
        "seek p50",
        "p99",
        "p99.9 ms",
        "late p99",
        "stalls",
        "silence",
        "lost",
        "failed",
        "CPU/1000",
        "nginx CPU",
        "client CPU",
        "PSS/1000",
        "sockets",
        "dropped",
    ]);
    for run in runs {
        let seen = &run.seen;
        let seeks = Seen::sorted(&seen.seeks);
        let late = Seen::sorted(&seen.late);
        let ms = |ns: u64| format!("{:.1}", ns as f64 / 1e6);
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        table.row([
            run.subject.into(),
            run.over.name().into(),
            grouped(seen.present.round() as u64),
            format!("{:.1}", seen.bytes as f64 / run.window.as_secs_f64() / 1e6),
            ms(seeks.median()),
            ms(seeks.quantile(0.99)),
            ms(seeks.quantile(0.999)),
            ms(late.quantile(0.99)),
            grouped(seen.stalls),
            format!("{:.3} %", run.silence() * 100.0),
            grouped(seen.lost),
            grouped(seen.failed),
            percent(run.per_thousand(run.processors())),
            percent(run.processors()),
            percent(seen.client),
            megabytes(run.per_thousand(run.used.memory as f64) as u64),
            megabytes(run.used.socket_memory),
            grouped(run.used.dropped),
        ]);
    }
    table.print(title);
    for run in runs {
        for (error, count) in &run.seen.errors {
            println!("  {}, {}: {count} x {error}", run.subject, run.over.name());
        }
    }
    runs.iter().map(Run::json).collect()
}

/// More and more listeners, by each protocol.
fn counts(bench: &Workbench) -> Result<Value> {
    let counts: &[usize] = if bench.quick { &[100] } else { &[1000, 5000, 10_000, 20_000] };
    let recordings = Recordings::make(0)?;
    let mut runs = Vec::new();
    for over in ALL {
        for subject in [&STATIC, &MODULE] {
            more_and_more(bench, &recordings, subject, over, counts, &mut runs)?;
        }
    }
    Ok(report("Listeners at once", &runs))
}

/// The same with an application.
fn applications(bench: &Workbench) -> Result<Value> {
    let recordings = Recordings::make(0)?;
    let mut runs = Vec::new();
    // nginx keeps what the application sends in temporary files: 32 MiB for each listener.
    let all: [(_, &[usize]); 2] =
        [(&X_ACCEL, &[1000, 5000, 10_000, 20_000]), (&SEND_FILE, &[25, 50, 100, 200])];
    for (subject, counts) in all {
        let counts = if bench.quick { &[10] } else { counts };
        more_and_more(bench, &recordings, subject, Over::Http1, counts, &mut runs)?;
    }
    Ok(report("Listeners at once, with an application", &runs))
}

fn more_and_more(
    bench: &Workbench,
    recordings: &Recordings,
    subject: &Subject,
    over: Over,
    counts: &[usize],
    runs: &mut Vec<Run>,
) -> Result<()> {
    for &count in counts {
        let server = Server::start(bench, recordings, subject, over, count, TUNED)?;
        let run = Run::new(&server, plan(bench, count), |_, _| Ok(()))?;
        server.stop();
        println!("  {}, {}, {count}: {}", subject.name, over.name(), run.json());
        let is_too_much = run.is_too_much();
        runs.push(run);
        if is_too_much {
            break;
        }
    }
    Ok(())
}

/// A new catalog, a reload and a rotation of the log while everybody listens.
fn changes(bench: &Workbench) -> Result<Value> {
    let count = if bench.quick { 100 } else { 5000 };
    let entries = if bench.quick { 1000 } else { 100_000 };
    let recordings = Recordings::make(entries)?;
    let mut runs = Vec::new();
    for over in ALL {
        let settings = Settings { target: "access_log {dir}/access.log combined;", ..TUNED };
        let server = Server::start(bench, &recordings, &MODULE, over, count, settings)?;
        let mut plan = plan(bench, count);
        // The last change has its time to show, too.
        plan.window = plan.window.mul_f64(1.5);
        let run = Run::new(&server, plan, |from, to| {
            let wait = |quarters: u32| {
                let at = from + (to - from) * quarters / 4;
                std::thread::sleep(at.saturating_duration_since(Instant::now()));
            };
            let nginx = server.nginx();
            wait(1);
            recordings.replace_catalog()?;
            nginx.wait_error(&["catalog", "reloaded"]);
            wait(2);
            nginx.start_reload();
            wait(3);
            let [log, old] = ["access.log", "access.log.1"].map(|name| nginx.dir().join(name));
            fs::rename(&log, &old)?;
            nginx.reopen_logs();
            let is_new = wait_for(|| fs::metadata(&log).ok().filter(|file| file.len() > 0));
            is_new.map(drop).ok_or_else(|| "no line in the new log".into())
        })?;
        server.stop();
        // Some get lost at a reload by HTTP/3: see docs/high-traffic.md.
        if run.seen.failed > 0 && over != Over::Http3 {
            return Err(format!("listeners gave up: {:?}", run.seen.errors).into());
        }
        runs.push(run);
    }
    let title = "A new catalog, a reload, and a rotation of the log in the middle";
    Ok(report(title, &runs))
}
