//! What a request costs with a small and with a large catalog.

use serde_json::{Value, json};

use super::MILLION;
use super::data::{self, Asked, Requests, State};
use crate::callgrind;
use crate::report::{Table, grouped};
use crate::site::site;
use crate::workbench::{Result, Workbench};

/// Counts with valgrind's callgrind for each way to find a file.
pub fn measure(bench: &Workbench) -> Result<Value> {
    let recordings = data::recordings(bench)?;
    let catalog = |entries| {
        let path = data::catalog(bench, entries, State::Old)?;
        let directive = format!("xspace_catalog {} refresh=off;", path.display());
        Ok::<_, Box<dyn std::error::Error>>(data::locations(&recordings, &directive))
    };
    let downloads = |path: &'static str| move |asked: Asked| format!("{path}{}", asked.id());
    type Row = (&'static str, String, Requests);
    let rows: [Row; 4] = [
        (
            "static files",
            format!("location ^~ /static/ {{ alias {}/; }}", recordings.display()),
            Requests::new(|asked| format!("/static/{}", asked.file(State::Old))),
        ),
        ("directory", data::locations(&recordings, ""), Requests::new(downloads("/download/"))),
        ("catalog, 1 thousand", catalog(1000)?, Requests::new(downloads("/download/"))),
        ("catalog, 1 million", catalog(MILLION)?, Requests::new(downloads("/download/"))),
    ];

    let mut table = Table::new(&["", "instructions", "to static"]);
    let mut results = Vec::new();
    let mut counts = Vec::new();
    for (name, server, requests) in rows {
        let count = count(&server, &requests)?;
        counts.push(count);
        let to_static = count / counts[0];
        table.row([name.into(), grouped(count.round() as u64), format!("{to_static:.2}")]);
        results.push(json!({
            "with": name, "instructions_per_request": count, "to_static": to_static,
        }));
    }
    let ratio = counts[3] / counts[2];
    table.print("User-mode instructions per request (4 KiB range, keepalive, callgrind)");
    println!("\n  1 million entries to 1 thousand: {ratio:.4} (goal: at most 1.03)");
    Ok(json!({ "rows": results, "million_to_thousand": ratio }))
}

/// Instructions per request.
fn count(server: &str, requests: &Requests) -> Result<f64> {
    callgrind::instructions(site().http1_only().server(server), |connection, turn| {
        requests.check(turn, &connection.ask(requests.get(turn)))?;
        Ok(())
    })
}
