//! Requests per second and processor time of all variants, in turns.

use serde_json::{Map, Value, json};

use crate::load::{Client, Measured, Running, application, rounds};
use crate::report::{Table, grouped};
use crate::variants::{self, Files, Variant};
use crate::workbench::{Result, Workbench};

/// The part's name.
const PART: &str = "throughput";

/// The variants on the bundled nginx; the first one is what all are compared with.
const VARIANTS: [Variant; 15] = [
    variants::STATIC_FILES,
    variants::TRIED,
    variants::AUTHORIZED,
    variants::FLASK_X_ACCEL,
    variants::FLASK_SEND_FILE,
    variants::DIRECTORY_FIRST,
    variants::DIRECTORY_FOURTH,
    variants::CATALOG,
    variants::LOOKUP_BY_NGINX,
    variants::STATIC_CACHED,
    variants::TRIED_CACHED,
    variants::DIRECTORY_CACHED,
    variants::FOURTH_CACHED,
    variants::CATALOG_CACHED,
    variants::LOOKUP_BY_NGINX_CACHED,
];

/// On Debian's nginx.
const DEBIAN: [Variant; 6] = [
    variants::DEBIAN_STATIC,
    variants::DEBIAN_TRIED,
    variants::DEBIAN_LUA,
    variants::DEBIAN_NJS,
    variants::DEBIAN_DIRECTORY,
    variants::DEBIAN_CATALOG,
];

/// By HTTP/2 and HTTP/3: the protocol is the same for all of them.
const FEW: [Variant; 8] = [
    variants::STATIC_FILES,
    variants::STATIC_NAMED,
    variants::TRIED,
    variants::FLASK_X_ACCEL,
    variants::DIRECTORY_FIRST,
    variants::CATALOG,
    variants::CATALOG_OFF,
    variants::STATIC_BESIDE_CATALOG,
];

const KIB: usize = 1024;

/// Measures in turns.
pub fn measure(bench: &Workbench) -> Result<()> {
    let files = Files::make()?;
    let mut results = Map::new();
    results.insert("machine".into(), bench.machine());
    let mut all: [(&str, &[Variant], Client, &[usize]); 4] = [
        ("HTTP/1.1", &VARIANTS, Client::Http1, &[KIB, 64 * KIB, 1024 * KIB]),
        ("HTTP/1.1, Debian's nginx", &DEBIAN, Client::Http1, &[KIB, 64 * KIB]),
        ("HTTP/2", &FEW, Client::Http2, &[64 * KIB]),
        ("HTTP/3", &FEW, Client::Http3, &[64 * KIB]),
    ];
    if bench.quick {
        all[0].3 = &[64 * KIB];
        all[1].3 = &[64 * KIB];
    }
    for (name, variants, client, lengths) in all {
        if !bench.has(PART, name) {
            continue;
        }
        let running = start(bench, &files, variants)?;
        for &len in lengths {
            let title = format!("{name}, ranges of {} KiB", len / KIB);
            for running in &running {
                running.check(&files, len)?;
            }
            let count = if bench.quick { 3 } else { 7 };
            let measured = rounds(&running, count, 0, |running| running.turn(client, len))?;
            let rows = report(&title, &running, &measured);
            results.insert(title, rows);
        }
        for running in running {
            running.stop();
        }
    }
    bench.keep(PART, &Value::Object(results))
}

fn start(bench: &Workbench, files: &Files, variants: &[Variant]) -> Result<Vec<Running>> {
    let mut all = Vec::new();
    for variant in variants {
        let application = variant.has_application().then(|| {
            let recordings = files.downloads();
            application("old_application:app", &[("RECORDINGS", recordings.as_os_str())])
        });
        all.push(Running::start(bench, files, variant, application, String::new())?);
    }
    Ok(all)
}

/// Prints a table, and gives the same as JSON.
pub fn report(title: &str, running: &[Running], measured: &[Measured]) -> Value {
    let columns = ["", "requests/s", "to static", "CPU µs each", "to static"];
    let mut table = Table::new(&columns);
    let mut rows = Vec::new();
    for (running, one) in running.iter().zip(measured) {
        table.row([
            running.name.into(),
            grouped(one.rate.round() as u64),
            format!("{:.3}", one.rate_ratio),
            format!("{:.1}", one.cpu / 1e3),
            format!("{:.3}", one.cpu_ratio),
        ]);
        rows.push(json!({
            "with": running.name,
            "requests_per_second": one.rate,
            "requests_per_second_to_static": one.rate_ratio,
            "cpu_ns_per_request": one.cpu,
            "cpu_to_static": one.cpu_ratio,
            "rounds": one.samples.iter().map(|sample| json!({
                "requests_per_second": sample.rate, "cpu_ns_per_request": sample.cpu,
            })).collect::<Vec<_>>(),
        }));
    }
    let rounds = measured.first().map_or(0, |one| one.samples.len());
    table.print(&format!("{title} ({rounds} rounds; medians, ratios within a round)"));
    rows.into()
}
