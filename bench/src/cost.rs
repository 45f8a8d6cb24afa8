//! Instructions and system calls of a request: what does not depend on the machine's mood, and
//! fails if it is too much.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use crate::callgrind;
use crate::report::{Table, grouped};
use crate::strace;
use crate::variants::{self, Agent, Files, Variant, request};
use crate::workbench::{Result, Workbench};

/// The part's name.
const PART: &str = "cost";

/// The length of the ranges that are asked for.
const LEN: usize = 4096;

/// By how much a goal may be exceeded before the run fails: compilers differ.
const TOLERANCE: f64 = 1.03;

/// A row of the table.
#[derive(Clone, Copy)]
struct Row {
    variant: Variant,
    /// The place of the row that it is compared with.
    base: usize,
    goal: Option<Goal>,
    /// Whether it is measured in a short run.
    quick: bool,
}

/// At most so much.
#[derive(Clone, Copy)]
struct Goal {
    /// Instructions to those of the base.
    instructions: f64,
    /// System calls more than those of the base.
    calls: f64,
}

const fn row(variant: Variant, base: usize) -> Row {
    Row { variant, base, goal: None, quick: false }
}

const fn with_goal(variant: Variant, base: usize, instructions: f64, calls: f64) -> Row {
    Row { variant, base, goal: Some(Goal { instructions, calls }), quick: true }
}

const fn base(variant: Variant, place: usize) -> Row {
    Row { variant, base: place, goal: None, quick: true }
}

/// The rows, with static files in the same nginx at these places.
const PLAIN: usize = 0;
const BESIDE_CATALOG: usize = 1;
const CACHED: usize = 2;
const DEBIAN: usize = 3;
const PACED: usize = 4;
const BESIDE_DIRECTORY: usize = 5;
/// The row of the directory.
const DIRECTORY: usize = 6;
const ROWS: [Row; 31] = [
    base(variants::STATIC_FILES, PLAIN),
    base(variants::STATIC_BESIDE_CATALOG, BESIDE_DIRECTORY),
    base(variants::STATIC_CACHED, CACHED),
    row(variants::DEBIAN_STATIC, DEBIAN),
    base(variants::PACED, PACED),
    base(variants::STATIC_BESIDE_DIRECTORY, PLAIN),
    with_goal(variants::DIRECTORY_FIRST, PLAIN, 1.20, 1.0),
    with_goal(variants::PLAYS_COUNTED, PACED, 1.05, 0.0),
    row(variants::TRIED, PLAIN),
    row(variants::AUTHORIZED, PLAIN),
    with_goal(variants::DIRECTORY_ATTACHMENT, PLAIN, 1.27, 1.0),
    with_goal(variants::DIRECTORY_FOURTH, PLAIN, 1.30, 4.0),
    with_goal(variants::CATALOG, BESIDE_CATALOG, 1.20, 1.0),
    row(variants::CATALOG_OFF, PLAIN),
    row(variants::CATALOG_BEYOND_ASCII, BESIDE_CATALOG),
    with_goal(variants::STATIC_BESIDE_CATALOG_OFF, BESIDE_DIRECTORY, 1.00, 0.0),
    with_goal(variants::LMDB, DIRECTORY, 1.25, 0.0),
    with_goal(variants::STATIC_BESIDE_LMDB, BESIDE_DIRECTORY, 1.00, 0.0),
    row(variants::LOOKUP_BY_NGINX, PLAIN),
    with_goal(variants::LINK, PLAIN, 1.45, 1.0),
    with_goal(variants::SESSION, PLAIN, 1.49, 1.0),
    row(variants::TRIED_CACHED, CACHED),
    with_goal(variants::DIRECTORY_CACHED, CACHED, 1.22, 0.0),
    row(variants::FOURTH_CACHED, CACHED),
    row(variants::CATALOG_CACHED, CACHED),
    row(variants::LOOKUP_BY_NGINX_CACHED, CACHED),
    row(variants::DEBIAN_TRIED, DEBIAN),
    row(variants::DEBIAN_LUA, DEBIAN),
    row(variants::DEBIAN_NJS, DEBIAN),
    row(variants::DEBIAN_DIRECTORY, DEBIAN),
    row(variants::DEBIAN_CATALOG, DEBIAN),
];

/// What was measured of a row.
struct Measured {
    instructions: f64,
    browser: Option<f64>,
    calls: f64,
    names: BTreeMap<String, u64>,
}

/// Measures all rows, and fails if one exceeds its goal by too much.
pub fn measure(bench: &Workbench) -> Result<()> {
    let files = Files::make()?;
    let machine = bench.machine();
    if !bench.has(PART, "HTTP/1.1") {
        let over_http2 = over_http2(bench, &files)?;
        return bench.keep(PART, &json!({ "machine": machine, "HTTP/2": over_http2 }));
    }
    let mut measured = BTreeMap::new();
    for (place, row) in ROWS.iter().enumerate() {
        if row.quick || !bench.quick {
            let one = one(bench, &files, &row.variant)
                .map_err(|e| format!("{PART}: {}: {e}", row.variant.name))?;
            measured.insert(place, one);
        }
    }
    let mut too_much = Vec::new();
    let mut results = Vec::new();
    let mut table = Table::new(&[
        "",
        "instructions",
        "to static",
        "goal",
        "browser's",
        "calls",
        "more",
        "goal",
    ]);
    for (place, one) in &measured {
        let (Row { variant, base, goal, .. }, base_measured) = match ROWS.get(*place) {
            Some(row) => (*row, &measured[&row.base]),
            None => continue,
        };
        let ratio = one.instructions / base_measured.instructions;
        let more = one.calls - base_measured.calls;
        let browser = one.browser.zip(base_measured.browser).map(|(one, base)| one / base);
        let name = match variant.on {
            variants::On::Bundled => variant.name.to_owned(),
            variants::On::Debian => format!("Debian's nginx: {}", variant.name),
        };
        if let Some(goal) = goal {
            if ratio > goal.instructions * TOLERANCE {
                too_much.push(format!("{name}: {ratio:.3} times the instructions"));
            }
            // A call in a hundred requests may be one of another thread.
            if one.calls > (base_measured.calls + goal.calls) * TOLERANCE {
                too_much.push(format!("{name}: {more:.2} more system calls"));
            }
        }
        table.row([
            name.clone(),
            grouped(one.instructions.round() as u64),
            format!("{ratio:.3}"),
            goal.map_or(String::new(), |goal| format!("{:.2}", goal.instructions)),
            browser.map_or(String::new(), |ratio| format!("{ratio:.3}")),
            format!("{:.2}", one.calls),
            format!("{more:+.2}"),
            goal.map_or(String::new(), |goal| format!("{:+}", goal.calls)),
        ]);
        results.push(json!({
            "with": name,
            "instructions": one.instructions,
            "instructions_for_browser": one.browser,
            "to_static": ratio,
            "to_static_for_browser": browser,
            "compared_with": ROWS[base].variant.name,
            "goal_to_static": goal.map(|goal| goal.instructions),
            "calls": one.calls,
            "calls_by_name": one.names,
            "goal_more_calls": goal.map(|goal| goal.calls),
        }));
    }
    table.print(
        "User-mode instructions and system calls of a request (4 KiB range, HTTP/1.1, keepalive)",
    );
    println!(
        "\n  Static files are compared with in the same nginx: with open_file_cache, beside a\n  \
         catalog (whose threads cost each request something), on Debian's nginx. Such static files are\n  \
         compared with those beside a directory, and the catalog in LMDB is with the directory."
    );
    let mut all = json!({ "machine": machine, "rows": results });
    if !bench.quick && bench.has(PART, "HTTP/2") {
        all["HTTP/2"] = over_http2(bench, &files)?;
    }
    bench.keep(PART, &all)?;
    if too_much.is_empty() { Ok(()) } else { Err(too_much.join("; ").into()) }
}

/// By HTTP/2: static files, then what the module does and nginx's own way to do it. The client of each
/// is the same h2load as in `throughput`.
const OVER_HTTP2: [Variant; 5] = [
    variants::STATIC_FILES,
    variants::STATIC_NAMED,
    variants::REWRITTEN_NAMED,
    variants::DIRECTORY_FIRST,
    variants::CATALOG,
];

fn over_http2(bench: &Workbench, files: &Files) -> Result<Value> {
    const LEN: usize = 64 * 1024;
    let mut table = Table::new(&["", "instructions", "more", "to static"]);
    let mut rows = Vec::new();
    let mut first = None;
    for variant in &OVER_HTTP2 {
        let site = files.site(bench, variant, None, 0)?;
        let instructions = callgrind::instructions_of(site, |nginx, count| {
            let mut command = Command::new("h2load");
            command.args(["--threads", "1", "--clients", "1", "--max-concurrent-streams", "16"]);
            command.args(["--requests", &count.to_string()]);
            command.args(["--header", &format!("Range: {}", variants::range(LEN))]);
            let output = command.arg(nginx.url(variant.uri)).output()?;
            let text = String::from_utf8_lossy(&output.stdout);
            match text.contains(&format!("status codes: {count} 2xx, ")) {
                true => Ok(()),
                false => Err(format!("{}: {text}", variant.name).into()),
            }
        })?;
        let base = *first.get_or_insert(instructions);
        table.row([
            variant.name.into(),
            grouped(instructions.round() as u64),
            format!("{:+.0}", instructions - base),
            format!("{:.3}", instructions / base),
        ]);
        rows.push(json!({
            "with": variant.name, "instructions": instructions, "to_static": instructions / base,
        }));
    }
    table.print("User-mode instructions of a request (64 KiB range, HTTP/2 without TLS)");
    Ok(rows.into())
}

fn one(bench: &Workbench, files: &Files, variant: &Variant) -> Result<Measured> {
    let count = |agent: Agent| {
        let request = request(variant.uri, variant.cookie, LEN, agent);
        let site = files.site(bench, variant, None, 0)?.http1_only();
        callgrind::instructions(site, |connection, _| files.ask(connection, &request, LEN))
    };
    let instructions = count(Agent::Curl)?;
    let browser = if bench.quick { None } else { Some(count(Agent::Browser)?) };
    let request = request(variant.uri, variant.cookie, LEN, Agent::Curl);
    let site = files.site(bench, variant, None, 0)?.http1_only();
    let (calls, names) = strace::calls(site, |connection, _| files.ask(connection, &request, LEN))?;
    Ok(Measured { instructions, browser, calls, names })
}
