//! What a request costs, in instructions that the processor executes in user mode: unlike time
//! they are the same in every run.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::data::{self, Asked, Requests, State};
use super::{MILLION, PART};
use crate::client::Connection;
use crate::nginx::{Nginx, Site, poll};
use crate::report::{Table, grouped};
use crate::workbench::{Result, Workbench};

/// Requests before counting begins: functions are linked on their first call.
const WARM_UP: usize = 200;

/// Two numbers of requests. What does not belong to a request is in both counts.
const FEW: usize = 100;
const MANY: usize = 1100;

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
        ("catalogue, 1 thousand", catalog(1000)?, Requests::new(downloads("/download/"))),
        ("catalogue, 1 million", catalog(MILLION)?, Requests::new(downloads("/download/"))),
    ];

    let mut table = Table::new(&["", "instructions", "to static"]);
    let mut results = Vec::new();
    let mut counts = Vec::new();
    for (name, server, requests) in rows {
        let count = count(bench, server, &requests)?;
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
fn count(bench: &Workbench, server: String, requests: &Requests) -> Result<f64> {
    let mut site = Site::new(bench, &format!("{PART}-instructions"))?;
    let out = site.dir.join("callgrind");
    site.single = true;
    site.server = server;
    // Counting is turned on later: the start with a million entries would take minutes.
    site.wrapper = ["valgrind", "--tool=callgrind", "--instr-atstart=no"].map(String::from).into();
    site.wrapper.push(format!("--callgrind-out-file={}", out.display()));
    let nginx = Nginx::start(bench, site)?;

    let mut connection = Connection::open(nginx.address)?;
    let mut turn = 0;
    let mut ask = |count: usize| {
        for _ in 0..count {
            let response = connection.ask(requests.get(turn))?;
            requests.check(turn, response)?;
            turn += 1;
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    ask(WARM_UP)?;
    control(&nginx, "--instr=on")?;
    ask(WARM_UP)?;
    // Each dump begins the count anew.
    control(&nginx, "--dump")?;
    ask(FEW)?;
    control(&nginx, "--dump")?;
    ask(MANY)?;
    control(&nginx, "--dump")?;
    let few = total(&out, 2)?;
    let many = total(&out, 3)?;
    nginx.stop()?;
    Ok((many - few) / (MANY - FEW) as f64)
}

/// Tells callgrind what to do; when this returns it has done it.
fn control(nginx: &Nginx, order: &str) -> Result<()> {
    let output =
        Command::new("callgrind_control").arg(order).arg(nginx.pid().to_string()).output()?;
    if !output.status.success() {
        return Err(format!("callgrind_control: {output:?}").into());
    }
    Ok(())
}

/// The sum of a dump.
fn total(out: &Path, number: u32) -> Result<f64> {
    let path = out.with_extension(number.to_string());
    poll(|| {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("totals: "));
        Ok(line.map(|sum| sum.trim().parse()).transpose()?)
    })
}
