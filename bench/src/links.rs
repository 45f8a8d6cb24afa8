//! What a link costs beside other ways to authorize a request, and whether the time that a wrong MAC takes
//! tells where it is wrong.

use std::env;
use std::fs;
use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use model::links::{Check, Fields, Keys, Status};
use model::request::SpaceId;
use serde_json::{Value, json};
use xspace_tests::{Random, median};

use crate::callgrind;
use crate::load::{Client, Running, rounds};
use crate::report::{Table, grouped};
use crate::strace;
use crate::throughput::report;
use crate::variants::{self, Agent, Files, ID, Variant, link_key, request};
use crate::workbench::{Result, Workbench};

/// The part's name.
const PART: &str = "links";

/// The length of the ranges that are asked for.
const LEN: usize = 4096;

/// A link that nginx has not seen before, in each request. Its URI is made for each.
const FIRST: Variant = Variant { name: "link, verified for the first time", ..variants::LINK };

/// The request of a link where none is needed.
const IGNORED: Variant = Variant {
    name: "directory, URI with a token",
    uri: variants::LINK.uri,
    ..variants::DIRECTORY_FIRST
};

/// What is compared; the first one is what all are compared with.
const VARIANTS: [Variant; 9] = [
    variants::DIRECTORY_FIRST,
    IGNORED,
    variants::LINK,
    FIRST,
    variants::SESSION,
    variants::BY_SECURE_LINK,
    variants::AUTHORIZED_BY_NGINX,
    variants::LOOKUP_KEPT,
    variants::LOOKUP_BY_NGINX,
];

/// Until when the links here are good, the year 2100.
const EXPIRY: u64 = 4_102_444_800;

/// Begins the argument of [`check_wrong`].
pub const WRONG_MAC: &str = "wrong-mac=";

/// Where a MAC is made wrong: at its first character, in the middle, at its last one.
const PLACES: [usize; 3] = [0, 21, 42];
const MAC_LEN: usize = 43;

/// How many links with a wrong MAC are checked to count instructions.
const CHECKS: usize = 1000;

/// By how many instructions the checks of wrong MACs may differ, each.
const MAX_DIFFERENCE: f64 = 1.0;

/// Measures all of it, and fails if the instructions of a check tell where a MAC is wrong.
pub fn measure(bench: &Workbench) -> Result<()> {
    let files = Files::make()?;
    let machine = bench.machine();
    let mut results = json!({ "machine": machine });
    if bench.has(PART, "requests") {
        results["requests"] = requests(bench, &files)?;
    }
    if bench.has(PART, "throughput") {
        results["throughput"] = throughput(bench, &files)?;
    }
    if bench.has(PART, "verification") {
        results["verification"] = verification();
    }
    let mut difference = 0.0;
    if bench.has(PART, "macs") {
        (results["macs"], difference) = macs(bench)?;
    }
    bench.keep(PART, &results)?;
    if difference < MAX_DIFFERENCE {
        Ok(())
    } else {
        Err(format!("{PART}: {difference} instructions tell where a MAC is wrong").into())
    }
}

/// A token that no other request has.
fn unseen(number: usize) -> String {
    link_key().token(ID, EXPIRY + number as u64, ["-", "user_7", "-"])
}

/// Instructions and system calls of a request.
fn requests(bench: &Workbench, files: &Files) -> Result<Value> {
    let mut table = Table::new(&["", "instructions", "more", "calls", "more"]);
    let mut rows = Vec::new();
    let mut base = None;
    for variant in &VARIANTS {
        let made = |turn: usize| match variant.name == FIRST.name {
            true => format!("/download/{ID}?token={}", unseen(turn)),
            false => variant.uri.to_owned(),
        };
        let bytes = |turn| request(&made(turn), variant.cookie, LEN, Agent::Curl);
        let site = || {
            Ok::<_, Box<dyn std::error::Error>>(files.site(bench, variant, None, 0)?.http1_only())
        };
        let instructions = callgrind::instructions(site()?, |connection, turn| {
            files.ask(connection, &bytes(turn), LEN)
        })?;
        let (calls, names) =
            strace::calls(site()?, |connection, turn| files.ask(connection, &bytes(turn), LEN))?;
        let (of_base, calls_of_base) = *base.get_or_insert((instructions, calls));
        table.row([
            variant.name.to_owned(),
            grouped(instructions.round() as u64),
            format!("{:+.0}", instructions - of_base),
            format!("{calls:.2}"),
            format!("{:+.2}", calls - calls_of_base),
        ]);
        rows.push(json!({
            "with": variant.name, "instructions": instructions,
            "more_instructions": instructions - of_base, "calls": calls, "calls_by_name": names,
        }));
    }
    table.print("Instructions without those for SHA, and system calls of a request (4 KiB range)");
    Ok(rows.into())
}

/// Requests per second, in turns. The client has one URI, so that no link is new.
fn throughput(bench: &Workbench, files: &Files) -> Result<Value> {
    let mut running = Vec::new();
    for variant in VARIANTS.iter().filter(|variant| variant.name != FIRST.name) {
        running.push(Running::start(bench, files, variant, None, variant.cookie.to_owned())?);
    }
    for running in &running {
        running.check(files, LEN)?;
    }
    let count = if bench.quick { 3 } else { 7 };
    let measured = rounds(&running, count, 0, |running| running.turn(Client::Http1, LEN))?;
    let rows = report("Ranges of 4 KiB, to those without authorization", &running, &measured);
    for running in running {
        running.stop();
    }
    Ok(rows)
}

fn keys() -> Keys {
    Keys::parse(link_key().line().as_bytes()).expect("a good key")
}

fn check(keys: &Keys) -> Check<'_> {
    let space = SpaceId::parse(ID.as_bytes());
    Check { keys, now: EXPIRY, space, format: Some(""), client: None, needs_net: false }
}

/// How long the decision about a link takes, in this process: the median of many times.
fn verification() -> Value {
    const TIMES: usize = 200;
    const EACH: usize = 500;
    let has_sha = fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains(" sha_ni"));
    let keys = keys();
    let check = check(&keys);
    let time = |tokens: &[String]| {
        let start = Instant::now();
        for token in tokens {
            assert!(check.token(black_box(token.as_bytes())).is_ok());
        }
        start.elapsed().as_nanos() as f64 / tokens.len() as f64
    };
    let tokens: Vec<String> = (0..TIMES * EACH).map(unseen).collect();
    let first = median(tokens.chunks(EACH).map(time));
    let known = vec![unseen(0); EACH];
    let again = median((0..TIMES).map(|_| time(&known)));
    let mut table = Table::new(&["", "ns"]);
    table.row(["for the first time".into(), format!("{first:.0}")]);
    table.row(["verified before".into(), format!("{again:.0}")]);
    let with = if has_sha { "with" } else { "without" };
    table.print(&format!("Time of the decision about a link, {with} SHA instructions"));
    json!({ "sha_instructions": has_sha, "first_ns": first, "again_ns": again })
}

/// A token whose MAC has another character at a place.
fn wrong(token: &str, place: usize) -> Vec<u8> {
    let mut token = token.as_bytes().to_vec();
    let at = token.len() - MAC_LEN + place;
    token[at] = if token[at] == b'A' { b'B' } else { b'A' };
    token
}

/// Time and instructions of wrong MACs, by the place where they are wrong; and by how many instructions
/// they differ at most.
fn macs(bench: &Workbench) -> Result<(Value, f64)> {
    let mut table = Table::new(&["", "wrong at", "ns", "t", "instructions"]);
    let mut counts = Vec::new();
    for place in PLACES {
        counts.push(instructions_of_wrong(bench, place)?);
    }
    let mut rows = Vec::new();
    let times = times(if bench.quick { 100_000 } else { 1_000_000 });
    for (number, (is_kept, mean, t)) in times.into_iter().enumerate() {
        let place = number % PLACES.len();
        let link = if is_kept { "of a link verified before" } else { "of another link" };
        table.row([
            link.into(),
            PLACES[place].to_string(),
            format!("{mean:.1}"),
            format!("{t:+.2}"),
            if is_kept { String::new() } else { format!("{:.2}", counts[place]) },
        ]);
        rows.push(json!({ "link": link, "wrong_at": PLACES[place], "ns": mean, "t": t }));
    }
    table.print("Checks of wrong MACs, t to those wrong at the first character (Welch)");
    println!("\n  A |t| below 4.5 is noise (dudect).");
    let range = counts.iter().fold((f64::MAX, 0.0_f64), |(min, max), &n| (min.min(n), max.max(n)));
    let places = json!({ "wrong_at": PLACES, "instructions": counts });
    Ok((json!({ "times": rows, "instructions": places }), range.1 - range.0))
}

/// So many checks of each kind in random order: for each whether the link was verified before, the mean
/// in nanoseconds, and t to the first kind.
fn times(count: usize) -> Vec<(bool, f64, f64)> {
    // Many links, because what is at their places in memory takes different times; all are read from
    // one buffer.
    const LINKS: usize = 1024;
    let keys = keys();
    let check = check(&keys);
    let links: Vec<String> = (0..2 * LINKS).map(unseen).collect();
    let (kept, others) = links.split_at(LINKS);
    assert!(kept.iter().all(|token| check.token(token.as_bytes()).is_ok()));
    let kinds: Vec<(bool, usize)> = [false, true]
        .into_iter()
        .flat_map(|is_kept| PLACES.map(|place| (is_kept, place)))
        .collect();
    let mut samples = vec![Vec::with_capacity(count); kinds.len()];
    let mut random = Random::new(1);
    let mut token = kept[0].clone().into_bytes();
    while samples.iter().any(|samples| samples.len() < count) {
        let kind = random.below(kinds.len());
        let (is_kept, place) = kinds[kind];
        let links = if is_kept { kept } else { others };
        token.copy_from_slice(&wrong(&links[random.below(LINKS)], place));
        let token = black_box(&token[..]);
        let start = Instant::now();
        let result = check.token(token);
        let time = start.elapsed().as_nanos() as f64;
        assert_eq!(result, Err(Status::Bad));
        samples[kind].push(time);
    }
    // Interrupts, not checks.
    let mut all: Vec<f64> = samples.concat();
    all.sort_by(f64::total_cmp);
    let limit = all[all.len() * 98 / 100];
    let of: Vec<(f64, f64)> = samples
        .iter()
        .map(|samples| {
            let kept: Vec<f64> = samples.iter().copied().filter(|&time| time <= limit).collect();
            let len = kept.len() as f64;
            let mean = kept.iter().sum::<f64>() / len;
            let variance = kept.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (len - 1.0);
            (mean, variance / len)
        })
        .collect();
    let (first, spread) = of[0];
    let t = |(mean, of): (f64, f64)| (mean - first) / (of + spread).sqrt();
    kinds.iter().zip(of).map(|((is_kept, _), of)| (*is_kept, of.0, t(of))).collect()
}

/// Instructions of a check whose MAC is wrong at a place, counted in a process of its own.
fn instructions_of_wrong(bench: &Workbench, place: usize) -> Result<f64> {
    let out = bench.dir.join("wrong-mac");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", &format!("--callgrind-out-file={}", out.display())])
        .arg(env::current_exe()?)
        .arg(format!("{WRONG_MAC}{place}"))
        .output()?;
    if !output.status.success() {
        return Err(format!("valgrind: {output:?}").into());
    }
    let text = fs::read_to_string(out)?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    Ok(total.ok_or("callgrind has written no sum")?.trim().parse::<f64>()? / CHECKS as f64)
}

/// Checks links whose MAC is wrong at the place that the argument names, for
/// [`instructions_of_wrong`].
pub fn check_wrong(argument: &str) -> Result<()> {
    let place: usize = argument.trim_start_matches(WRONG_MAC).parse()?;
    let keys = keys();
    let space = SpaceId::parse(ID.as_bytes()).ok_or("an id")?;
    let fields = Fields { format: b"-", subject: b"user_7", net: b"-" };
    for number in 0..CHECKS {
        let token = keys.token(space, EXPIRY + number as u64, fields);
        let token = wrong(std::str::from_utf8(&token)?, place);
        if check(&keys).token(&token) != Err(Status::Bad) {
            return Err("a wrong MAC is good".into());
        }
    }
    Ok(())
}
