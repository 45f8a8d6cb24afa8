//! The system calls of a request, counted by strace.

use std::collections::BTreeMap;
use std::fs;

use xspace_tests::{RawConnection, Site, project_dir, wait_for};

use crate::site::NOTHING;
use crate::workbench::Result;

/// Requests before counting begins.
const WARM_UP: usize = 50;

/// Two numbers of requests. What does not belong to a request is in both counts.
const FEW: usize = 100;
const MANY: usize = 1100;

/// System calls per request, of an nginx of one worker with all processes and threads; by name those
/// which every request has. `ask` asks once and checks the answer. A request for nothing marks its place in
/// what strace writes.
pub fn calls(
    site: Site,
    mut ask: impl FnMut(&mut RawConnection, usize) -> Result<()>,
) -> Result<(f64, BTreeMap<String, u64>)> {
    // Not in the site's directory, which goes with nginx.
    let out = project_dir().join("build/bench/strace").display().to_string();
    // -D: nginx, not strace, is the process that is started and ended here.
    let strace = ["strace", "-D", "-f", "-qq", "-s", "16", "-o", &out];
    let nginx = site.under(&strace).start();

    let mut connection = nginx.raw();
    for count in [WARM_UP, FEW, MANY] {
        for turn in 0..count {
            ask(&mut connection, turn)?;
        }
        if connection.ask(NOTHING).status != 204 {
            return Err("no answer to a mark".into());
        }
    }
    nginx.finish();

    // strace ends a moment after nginx.
    let text =
        wait_for(|| fs::read_to_string(&out).ok().filter(|text| text.contains("exit_group(")));
    let text = text.ok_or("strace has not seen nginx end")?;
    let mut parts = vec![BTreeMap::<&str, u64>::new()];
    for line in text.lines() {
        // `PID name(…`; the end of a call that was interrupted is `PID <... name resumed>…`.
        let call = line.split_once(' ').and_then(|(_, call)| call.trim_start().split_once('('));
        let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if let (Some((name, _)), Some(part)) = (call, parts.last_mut()) {
            if is_name(name) {
                *part.entry(name).or_default() += 1;
            }
        }
        // What a call has read may be told at its end.
        if line.contains("\"GET /nothing") {
            parts.push(BTreeMap::new());
        }
    }
    let [_, few, many, _] = &parts[..] else {
        return Err(format!("strace has seen {} marks", parts.len() - 1).into());
    };
    let sum = |part: &BTreeMap<&str, u64>| part.values().sum::<u64>() as f64;
    let requests = (MANY - FEW) as f64;
    let names = many.iter().map(|(name, count)| {
        let more = count - few.get(name).copied().unwrap_or(0).min(*count);
        ((*name).to_owned(), (more as f64 / requests).round() as u64)
    });
    let names = names.filter(|(_, count)| *count > 0).collect();
    Ok(((sum(many) - sum(few)) / requests, names))
}
