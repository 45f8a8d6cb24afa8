//! The old kind of application, Flask behind proxy_pass, beside the module: the same seeks, and
//! what they cost. What the application does is measured and not judged.

use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use xspace_tests::{Address, Nginx, Program, Protocol, build, gunicorn, project_dir};

use crate::site::{
    MODULE, MP3, SLOW, alone, array, can_run, log_of, median_and_worst, name, name_in_log, number,
    places, scenario, site, text, times,
};

/// How gunicorn's manual wants it for two processors.
const WORKERS: &str = "5";

/// Longer than gunicorn lets a worker be busy with one answer.
const LISTENING: u32 = 40;

/// The ways to the same file: the first part of the path, and what it is.
const SOURCES: [(&str, &str); 8] = [
    ("/download/", "module"),
    ("/static/", "static location"),
    ("/x-accel/", "Flask, X-Accel-Redirect"),
    ("/send-file/", "Flask, send_file"),
    ("/ranges/", "Flask, ranges by hand"),
    ("/ranges-in-memory/", "Flask, ranges by hand, in memory"),
    ("/unbuffered/send-file/", "Flask, send_file, proxy_buffering off"),
    ("/unbuffered/ranges/", "Flask, ranges by hand, proxy_buffering off"),
];

const PROXY: &str = "
    proxy_http_version 1.1;
    proxy_set_header   Host $host;
    location ~ ^/(x-accel|send-file|ranges|ranges-in-memory)/ {
        proxy_pass http://unix:{dir}/application.sock;
    }
    location ^~ /unbuffered/ {
        proxy_buffering off;
        proxy_pass http://unix:{dir}/application.sock:/;
    }";

/// What the same seeks cost by each of the ways, over one protocol.
fn compare(nginx: &Nginx, protocol: Protocol, seeks: usize, listening: u32) -> Vec<Value> {
    let path = |start: &str| match start {
        "/static/" => format!("{start}{}", MP3.file()),
        _ => format!("{start}{}", MP3.id),
    };
    let sources: Vec<Value> =
        SOURCES.iter().map(|(start, name)| json!({ "name": name, "path": path(start) })).collect();
    let recording = json!({
        "id": MP3.id,
        "code": MP3.code(),
        "places": places(seeks),
        "sources": sources,
        "listening": listening,
        "mayFail": true,
    });
    let more = json!({
        "recordings": [recording],
        "applicationLog": nginx.dir().join("application.log"),
    });
    let results = scenario(nginx, protocol, "seeks", more);
    let results = array(&results[0]["results"]);
    assert_eq!(results.len(), SOURCES.len(), "{results:?}");

    let rows = SOURCES.iter().zip(results).map(|((start, what), result)| {
        let log = log_of(nginx, &path(start));
        let log: Vec<&Value> =
            log.iter().filter(|line| text(line, "protocol") == name_in_log(protocol)).collect();
        let sum = |bytes: fn(&Value) -> f64| log.iter().fold(0.0, |sum, line| sum + bytes(line));
        let times = times(result);
        let (median, worst) = median_and_worst(&times);
        json!({
            "protocol": name(protocol),
            "from": what,
            "seeks": times.len(),
            "error": result["error"],
            "failed_requests": result["failed"],
            "failed_while_listening": result["failedWhileListening"],
            "workers_ended": result["workersEnded"],
            "requests": log.len(),
            "bytes_to_browser": sum(|line| number(line, "bytes")),
            "bytes_from_application": sum(from_application),
            "median_ms": median,
            "worst_ms": worst,
        })
    });
    rows.collect()
}

/// NGINX writes one number for each server that it asked, with commas and colons between.
fn from_application(line: &Value) -> f64 {
    let numbers = text(line, "upstream_bytes").split([',', ':', ' ']);
    numbers.filter_map(|number| number.parse::<f64>().ok()).fold(0.0, |sum, number| sum + number)
}

fn table(rows: &[Value]) -> String {
    let mut table = String::from(
        "| protocol | from | seeks | failed requests | failed while listening | workers ended | \
         requests | to the browser | from the application | median | worst |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let megabytes = |row: &Value, key: &str| format!("{:.1} MB", number(row, key) / 1e6);
    let milliseconds = |row: &Value, key: &str| match row[key].as_f64() {
        Some(time) => format!("{time:.0} ms"),
        None => "-".to_owned(),
    };
    for row in rows {
        table.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            text(row, "protocol"),
            text(row, "from"),
            number(row, "seeks"),
            number(row, "failed_requests"),
            row["failed_while_listening"].as_f64().map_or("-".to_owned(), |n| n.to_string()),
            number(row, "workers_ended"),
            number(row, "requests"),
            megabytes(row, "bytes_to_browser"),
            megabytes(row, "bytes_from_application"),
            milliseconds(row, "median_ms"),
            milliseconds(row, "worst_ms"),
        ));
    }
    table
}

/// Of the ways that are the module's or NGINX's own, all seeks have to succeed.
#[track_caller]
fn check(rows: &[Value], seeks: usize) {
    for row in rows.iter().filter(|row| !text(row, "from").starts_with("Flask")) {
        assert_eq!(number(row, "seeks"), seeks as f64, "{row}");
        assert_eq!(number(row, "failed_requests"), 0.0, "{row}");
        assert_eq!(row["error"], Value::Null, "{row}");
    }
    for row in rows {
        assert!(number(row, "requests") > 0.0, "nothing was asked: {row}");
    }
}

fn with_application() -> (Nginx, Program) {
    let nginx = site(&[&MP3], &format!("{SLOW} {MODULE} {PROXY}")).start();
    let address = Address::Unix(nginx.dir().join("application.sock"));
    let application = gunicorn(
        &["--workers", WORKERS],
        &project_dir().join("demo/application"),
        "old_application:app",
        &address,
        &[("RECORDINGS", nginx.dir().join("downloads").as_os_str())],
    );
    (nginx, Program::start(application, address))
}

#[test]
fn the_same_seeks_through_the_application() {
    if !can_run() {
        return;
    }
    let _alone = alone();
    let (nginx, _application) = with_application();
    let rows = compare(&nginx, Protocol::Http2, 8, 0);
    check(&rows, 8);
    println!("\n{}", table(&rows));
}

/// `make bench-browser`: all of it, kept in results.json.
#[test]
#[ignore = "takes a quarter of an hour"]
fn compare_with_the_application() {
    const SEEKS: usize = 50;

    assert!(can_run());
    let _alone = alone();
    let (nginx, _application) = with_application();
    let mut rows = Vec::new();
    for protocol in nginx.protocols() {
        let listening = if protocol == Protocol::Http2 { LISTENING } else { 0 };
        rows.extend(compare(&nginx, protocol, SEEKS, listening));
    }
    check(&rows, SEEKS);
    println!("\n{}", table(&rows));

    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let results = json!({
        "nginx": said(Command::new(&build().nginx).arg("-v")),
        "chromium": said(Command::new("chromium").arg("--version")),
        "unix_time": seconds,
        "load_average_at_the_end": load.trim(),
        "limit_rate": "500k",
        "gunicorn_workers": WORKERS,
        "listening_seconds": LISTENING,
        "rows": rows,
    });
    let text = serde_json::to_string_pretty(&results).expect("JSON") + "\n";
    fs::write(project_dir().join("tests/browser/results.json"), text).expect("results.json");
}

/// The last line that a program writes, to stdout or stderr.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).lines().last().unwrap_or_default().to_owned()
}
