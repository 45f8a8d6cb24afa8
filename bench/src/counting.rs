//! What it costs to count plays: a request's instructions and system calls, throughput with several
//! workers, memory of a zone with many spaces, and how long its pages take.

use std::fmt::Write;
use std::fs;
use std::time::Instant;

use serde_json::{Map, Value, json};
use xspace_tests::{Nginx, RawConnection, Site, median, memory};

use crate::callgrind;
use crate::catalog::data;
use crate::load::{Client, Running, rounds};
use crate::report::{Table, grouped, megabytes, milliseconds};
use crate::site::site;
use crate::strace;
use crate::throughput;
use crate::variants::{self, Agent, Files, Variant, request};
use crate::workbench::{Measurement, Result, Workbench};

/// The part's name.
const PART: &str = "counting";

/// The length of the ranges that are asked for.
const LEN: usize = 4096;

/// What is compared; the first one is what the other is compared with.
const VARIANTS: [Variant; 2] = [variants::PACED, variants::PLAYS_COUNTED];

const MEASUREMENTS: [(&str, Measurement); 3] =
    [("request", of_a_request), ("workers", workers), ("spaces", spaces)];

/// Measures all, or what is wanted of it.
pub fn measure(bench: &Workbench) -> Result<()> {
    bench.measure(PART, &MEASUREMENTS)
}

fn of_a_request(bench: &Workbench) -> Result<Value> {
    let files = Files::make()?;
    let mut table = Table::new(&["", "instructions", "more", "browser's", "more", "calls", "more"]);
    let (mut rows, mut first) = (Vec::new(), None);
    for variant in VARIANTS {
        let count = |agent: Agent| {
            let request = request(variant.uri, variant.cookie, LEN, agent);
            let site = files.site(bench, &variant, None, 0)?.http1_only();
            callgrind::instructions(site, |connection, _| files.ask(connection, &request, LEN))
        };
        let (curl, browser) = (count(Agent::Curl)?, count(Agent::Browser)?);
        let request = request(variant.uri, variant.cookie, LEN, Agent::Curl);
        let site = files.site(bench, &variant, None, 0)?.http1_only();
        let ask = |connection: &mut RawConnection, _| files.ask(connection, &request, LEN);
        let (calls, _) = strace::calls(site, ask)?;
        let one = [curl, browser, calls];
        let base = *first.get_or_insert(one);
        let [curl_more, browser_more, calls_more] = [0, 1, 2].map(|at| one[at] - base[at]);
        table.row([
            variant.name.into(),
            grouped(curl.round() as u64),
            format!("{curl_more:+.0}"),
            grouped(browser.round() as u64),
            format!("{browser_more:+.0}"),
            format!("{calls:.2}"),
            format!("{calls_more:+.2}"),
        ]);
        rows.push(json!({
            "with": variant.name, "instructions": curl, "instructions_more": curl_more,
            "instructions_for_browser": browser, "instructions_for_browser_more": browser_more,
            "calls": calls, "calls_more": calls_more,
        }));
    }
    table.print("User-mode instructions and system calls of a request (4 KiB range, HTTP/1.1)");
    Ok(rows.into())
}

/// Throughput of several workers on one processor: what they write to at the same time.
fn workers(bench: &Workbench) -> Result<Value> {
    let files = Files::make()?;
    let mut results = Map::new();
    for count in [1, 4, 16] {
        let mut running = Vec::new();
        for variant in &VARIANTS {
            running.push(Running::start_site(variant, None, String::new(), |padding| {
                Ok(files.site(bench, variant, None, padding)?.http1_only().workers(count))
            })?);
        }
        let number = if bench.quick { 3 } else { 7 };
        let measured = rounds(&running, number, 0, |one| one.turn(Client::Http1, LEN))?;
        let title = format!("{count} workers, ranges of 4 KiB");
        let rows = throughput::report(&title, &running, &measured);
        results.insert(title, rows);
        for running in running {
            running.stop();
        }
    }
    Ok(Value::Object(results))
}

/// A zone with many spaces, which come from a state file.
fn spaces(bench: &Workbench) -> Result<Value> {
    let mut table =
        Table::new(&["spaces", "zone", "memory", "start", "metrics", "space", "top, first", "top"]);
    let mut rows = Vec::new();
    let all = [
        (1_000, "1m listeners=10000"),
        (100_000, "20m listeners=100000"),
        (1_000_000, "128m listeners=600000"),
    ];
    for (count, zone) in all.into_iter().take(if bench.quick { 2 } else { 3 }) {
        let site = site();
        fs::write(site.dir().join("plays"), state(count)?)?;
        let began = Instant::now();
        let nginx = serve(site, zone);
        let start = began.elapsed();
        let worker = nginx.wait_worker();
        let mut connection = nginx.raw();
        let mut time = |path: &str, turns: usize| {
            let mut times = Vec::new();
            for _ in 0..turns {
                let began = Instant::now();
                let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
                let response = connection.ask(request);
                if response.status != 200 {
                    return Err(format!("{path}: status {}", response.status).into());
                }
                times.push(began.elapsed().as_nanos() as f64);
            }
            Ok::<_, Box<dyn std::error::Error>>(median(times) as u64)
        };
        let id = data::id(count / 2);
        let turns = 101;
        // The list is found once, and then kept for ten seconds.
        let (top_first, top) = (time("/status?top=20", 1)?, time("/status?top=20", turns)?);
        let metrics = time("/metrics", turns)?;
        let space = time(&format!("/status?space={id}"), turns)?;
        let used = memory(worker, "RssShmem").max(memory(nginx.pid(), "RssShmem"));
        let start = start.as_nanos() as u64;
        table.row([
            grouped(u64::from(count)),
            zone.into(),
            megabytes(used),
            milliseconds(start),
            milliseconds(metrics),
            milliseconds(space),
            milliseconds(top_first),
            milliseconds(top),
        ]);
        rows.push(json!({
            "spaces": count, "zone": zone, "shared_memory": used, "start_ns": start,
            "metrics_ns": metrics, "space_ns": space, "top_first_ns": top_first, "top_ns": top,
        }));
        nginx.finish();
    }
    table.print("A zone with many spaces: shared memory in use, nginx's start, medians of pages");
    println!("\n  A listener takes 8 bytes of the zone, a space 96, with a state file 128.");
    Ok(rows.into())
}

fn serve(site: Site, zone: &str) -> Nginx {
    site.http(&format!("xspace_stats_zone plays:{zone} state={{dir}}/plays save=1h;"))
        .server("location = /status { xspace_status json; }")
        .server("location = /metrics { xspace_status prometheus; }")
        .start()
}

/// A state file with so many spaces.
fn state(count: u32) -> Result<String> {
    let mut text = String::from("xspace-counts: 1\nsince: 1700000000\npast:");
    (0..32).try_for_each(|_| write!(text, " {count}"))?;
    text.push('\n');
    for number in 0..count {
        let plays = number.wrapping_mul(2_654_435_761) % 1000;
        let (requests, bytes) = (plays * 7 + 1, u64::from(plays) * 5_000_000);
        writeln!(text, "{} {requests} {plays} 0 {bytes}", data::id(number))?;
    }
    writeln!(text, "end: {count}")?;
    Ok(text)
}
