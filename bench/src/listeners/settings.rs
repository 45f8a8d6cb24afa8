//! What the directives of `nginx-conf/high-traffic.conf` are worth: one at a time beside the same
//! without it.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use xspace_tests::{RawConnection, end_with_this_process, poll};

use super::client::Over;
use super::server::{Recordings, Server, Settings, Usage};
use super::{MODULE, Run, plan, report};
use crate::report::{Table, grouped};
use crate::workbench::{Result, Workbench};

/// A setting, and the protocol by which it is seen.
struct Setting {
    name: &'static str,
    over: Over,
    settings: Settings,
}

const NONE: Settings = Settings { http: "", target: "", listen: "" };

const fn none(name: &'static str, over: Over) -> Setting {
    Setting { name, over, settings: NONE }
}

const fn http(name: &'static str, over: Over, http: &'static str) -> Setting {
    Setting { name, over, settings: Settings { http, ..NONE } }
}

const fn target(name: &'static str, target: &'static str) -> Setting {
    Setting { name, over: Over::Http1, settings: Settings { target, ..NONE } }
}

const fn listen(name: &'static str, over: Over, listen: &'static str) -> Setting {
    Setting { name, over, settings: Settings { listen, ..NONE } }
}

/// The first one of each protocol has nothing but what nginx.conf of distributions has.
const SETTINGS: [Setting; 17] = [
    none("sendfile, tcp_nopush", Over::Http1),
    target("sendfile off", "sendfile off;"),
    http("open_file_cache", Over::Http1, "open_file_cache max=10000 inactive=1m;"),
    target("sendfile_max_chunk 256k", "sendfile_max_chunk 256k;"),
    target("limit_rate 64k after 512k", "limit_rate_after 512k; limit_rate 64k;"),
    listen("sndbuf=64k", Over::Http1, "sndbuf=64k"),
    target("aio threads", "aio threads;"),
    target("directio 4m, aio threads", "aio threads; directio 4m;"),
    none("TLS", Over::Tls),
    listen("sndbuf=64k", Over::Tls, "sndbuf=64k"),
    http("output_buffers 1 32k", Over::Tls, "output_buffers 1 32k;"),
    http("no session resumption", Over::Tls, "ssl_session_tickets off;"),
    http("ssl_buffer_size 4k", Over::Tls, "ssl_buffer_size 4k;"),
    none("HTTP/2", Over::Http2),
    http("http2_chunk_size 16k", Over::Http2, "http2_chunk_size 16k;"),
    none("HTTP/3", Over::Http3),
    http("quic_gso on", Over::Http3, "quic_gso on;"),
];

/// System calls for a listener in a second, and files that the worker has open.
pub fn calls(bench: &Workbench) -> Result<Value> {
    let count = if bench.quick { 50 } else { 200 };
    let mut plan = plan(bench, count);
    // What is counted needs no long time, nor a machine that has nothing else to do.
    plan.window = plan.window.min(Duration::from_secs(20));
    let recordings = Recordings::make(0)?;
    let mut table =
        Table::new(&["", "over", "calls", "most of them", "open files", "in nginx", "in sockets"]);
    let mut rows = Vec::new();
    for setting in &SETTINGS {
        let server = setting.start(bench, &recordings, count)?;
        let mut counted = (BTreeMap::new(), Duration::ZERO);
        let run = Run::new(&server, plan, |from, to| {
            counted = strace(bench, &server, to.saturating_duration_since(from))?;
            Ok(())
        })?;
        server.stop();
        let (calls, time) = counted;
        let all = run.seen.present * time.as_secs_f64();
        let mut most: Vec<(String, f64)> =
            calls.into_iter().map(|(name, count)| (name, count as f64 / all)).collect();
        most.sort_by(|one, other| other.1.total_cmp(&one.1));
        let sum: f64 = most.iter().map(|(_, count)| count).sum();
        let most: Vec<String> =
            most.iter().take(4).map(|(name, count)| format!("{name} {count:.2}")).collect();
        let Usage { files, memory, socket_memory, .. } = run.used;
        let each = |sum: u64| sum as f64 / run.seen.present;
        let [files, memory, sockets] = [files as u64, memory, socket_memory].map(each);
        table.row([
            setting.name.into(),
            setting.over.name().into(),
            format!("{sum:.2}"),
            most.join(", "),
            format!("{files:.2}"),
            format!("{:.0} kB", memory / 1e3),
            format!("{:.0} kB", sockets / 1e3),
        ]);
        rows.push(json!({
            "with": setting.name, "over": setting.over.name(), "listeners": run.seen.present,
            "calls_per_listener_and_second": sum, "most": most,
            "open_files_per_listener": files, "memory_per_listener": memory,
            "socket_memory_per_listener": sockets,
            "stalls": run.seen.stalls,
        }));
    }
    table.print(
        "System calls of nginx for a listener in a second; open files and memory for each (sockets: of \
         both ends)",
    );
    Ok(rows.into())
}

/// The same with so many listeners that times can be told.
pub fn times(bench: &Workbench) -> Result<Value> {
    let count = if bench.quick { 100 } else { 5000 };
    let recordings = Recordings::make(0)?;
    let mut runs = Vec::new();
    for setting in &SETTINGS {
        // The disk is the limit of this one.
        if setting.settings.target.contains("directio") {
            continue;
        }
        let server = setting.start(bench, &recordings, count)?;
        let mut run = Run::new(&server, plan(bench, count), |_, _| Ok(()))?;
        run.subject = setting.name;
        server.stop();
        println!("  {}: {}", setting.name, run.json());
        runs.push(run);
    }
    Ok(report("Settings", &runs))
}

impl Setting {
    fn start(&self, bench: &Workbench, recordings: &Recordings, count: usize) -> Result<Server> {
        Server::start(bench, recordings, &MODULE, self.over, count, self.settings)
    }
}

/// Counts the system calls of the only worker for less than so long; gives for how long, too.
fn strace(
    bench: &Workbench,
    server: &Server,
    time: Duration,
) -> Result<(BTreeMap<String, u64>, Duration)> {
    let out = bench.dir.join("strace-counts");
    let worker = server.nginx().wait_worker();
    let mut command = Command::new("timeout");
    let seconds = format!("{:.1}", time.as_secs_f64() - 1.5);
    command.args(["--signal", "INT", &seconds, "strace", "-f", "-c", "-p", &worker.to_string()]);
    command.arg("-o").arg(&out);
    end_with_this_process(&mut command);
    let start = Instant::now();
    let output = command.output()?;
    let counted = start.elapsed();
    if counted > time {
        return Err("strace does not end".into());
    }
    let text = fs::read_to_string(&out)?;
    // `45.83    0.172377          10     16000        12 sendfile`
    let mut calls = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, _, _, count, .., name] = words[..] else { continue };
        if let (Ok(count), true) = (count.parse(), name != "total") {
            calls.insert(name.to_owned(), count);
        }
    }
    if calls.is_empty() {
        return Err(format!("strace has counted nothing: {output:?} {text}").into());
    }
    Ok((calls, counted))
}

/// Clients that ask for a recording and then neither read nor close: what is left of them in the
/// kernel when nginx has given them up.
pub fn silent(bench: &Workbench) -> Result<Value> {
    const COUNT: usize = 200;
    const TIMED_OUT: Settings = Settings { http: "send_timeout 2s;", ..NONE };
    const RESET: Settings =
        Settings { http: "send_timeout 2s; reset_timedout_connection on;", ..NONE };
    let recordings = Recordings::make(0)?;
    let mut table =
        Table::new(&["reset_timedout_connection", "sockets left", "bytes in them", "each"]);
    let mut rows = Vec::new();
    for (name, settings) in [("off", TIMED_OUT), ("on", RESET)] {
        let server = Server::start(bench, &recordings, &MODULE, Over::Http1, COUNT, settings)?;
        let address = server.target().address;
        let path = &server.target().paths[0];
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let mut clients = Vec::new();
        for _ in 0..COUNT {
            let mut connection = RawConnection::open(address);
            connection.send(&request);
            clients.push(connection);
        }
        if !poll(|| established(address.port()).is_ok_and(|count| count == 0)) {
            return Err("nginx does not give up".into());
        }
        let (count, bytes) = held(address.port())?;
        drop(clients);
        server.stop();
        table.row([
            name.into(),
            grouped(count),
            grouped(bytes),
            grouped(bytes.checked_div(count).unwrap_or(0)),
        ]);
        rows.push(json!({ "with": name, "clients": COUNT, "sockets": count, "bytes": bytes }));
    }
    table.print("Clients that read nothing, after nginx has closed their connections");
    Ok(rows.into())
}

/// Connections of a port, those of nginx, that nobody has closed.
fn established(port: u16) -> Result<usize> {
    const ESTABLISHED: &str = "01";
    Ok(sockets(port)?.iter().filter(|(state, _)| state == ESTABLISHED).count())
}

/// Sockets of a port that have something to send, and how much.
fn held(port: u16) -> Result<(u64, u64)> {
    let bytes = sockets(port)?.into_iter().map(|(_, bytes)| bytes).filter(|&bytes| bytes > 0);
    Ok(bytes.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes)))
}

/// The states of a port's sockets, and how many bytes wait in each of them.
fn sockets(port: u16) -> Result<Vec<(String, u64)>> {
    const LISTENS: &str = "0A";
    let local = format!(":{port:04X}");
    let mut sockets = Vec::new();
    // `  0: 0100007F:1F90 0200007F:C350 04 00012345:00000000 01:…`
    for line in fs::read_to_string("/proc/net/tcp")?.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, address, _, state, queues, ..] = words[..] else { continue };
        if address.ends_with(&local) && state != LISTENS {
            let (to_send, _) = queues.split_once(':').ok_or("no queues")?;
            sockets.push((state.to_owned(), u64::from_str_radix(to_send, 16)?));
        }
    }
    Ok(sockets)
}
