//! Response times at a fixed rate of requests: an open model, in which requests come when they
//! come, whether those before them have been answered or not.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use xspace_tests::{RawConnection, wait_readable};

use crate::load::Running;
use crate::process::pin_this_thread;
use crate::report::{Table, grouped, milliseconds};
use crate::stats::Sorted;
use crate::variants::{self, Agent, Files, Variant};
use crate::workbench::{Result, Workbench};

/// The part's name.
const PART: &str = "latency";

/// What is compared; the first one is what the others are compared with.
const VARIANTS: [Variant; 5] = [
    variants::STATIC_FILES,
    variants::TRIED,
    variants::DIRECTORY_FIRST,
    variants::CATALOG,
    variants::LOOKUP_BY_NGINX,
];

/// Requests per second.
const RATES: [u32; 2] = [1000, 4000];

/// The length of the ranges that are asked for.
const LEN: usize = 4096;

/// Connections of the client. A request that finds none free waits, and the wait counts.
const CONNECTIONS: usize = 64;

/// How long one variant is asked in a round.
const TURN: Duration = Duration::from_secs(3);

/// For how long at most an answer is waited for.
const DEADLINE: Duration = Duration::from_secs(60);

/// What is shown of the times.
const SHARES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

/// Measures in turns.
pub fn measure(bench: &Workbench) -> Result<()> {
    let files = Files::make()?;
    let mut results = Map::new();
    results.insert("machine".into(), bench.machine());
    let mut running = Vec::new();
    for variant in &VARIANTS {
        running.push(Running::start(bench, &files, variant, None, String::new())?);
    }
    let rounds = if bench.quick { 2 } else { 7 };
    for rate in RATES {
        let mut times = vec![Vec::new(); running.len()];
        for _ in 0..rounds {
            for (place, times) in times.iter_mut().enumerate() {
                let request = variants::request(VARIANTS[place].uri, "", LEN, Agent::Curl);
                // A thread of its own, for it stays on its processor.
                let answered = std::thread::scope(|scope| {
                    let thread = scope.spawn(|| {
                        pin_this_thread(1).map_err(|e| e.to_string())?;
                        ask(&running[place], &request, rate).map_err(|e| e.to_string())
                    });
                    thread.join().map_err(|_| "the client panicked".to_owned())
                })??;
                times.extend(answered);
            }
        }
        let times: Vec<Sorted> = times.into_iter().map(Sorted::new).collect();
        results.insert(format!("{rate} requests per second"), report(rate, &running, &times));
    }
    for running in running {
        running.stop();
    }
    bench.keep(PART, &Value::Object(results))
}

/// Asks at a rate, and gives the times from when each request was due to its last byte.
fn ask(running: &Running, request: &[u8], rate: u32) -> Result<Vec<u64>> {
    let mut connections = (0..CONNECTIONS)
        .map(|_| RawConnection::open_nonblocking(running.address()))
        .collect::<Vec<_>>();
    // When the request was due that is on its way on a connection.
    let mut asked: Vec<Option<Instant>> = vec![None; CONNECTIONS];
    let mut free: Vec<usize> = (0..CONNECTIONS).collect();
    let mut waiting = VecDeque::new();
    let interval = TURN / (rate * TURN.as_secs() as u32);
    let total = (rate * TURN.as_secs() as u32) as usize;
    let mut times = Vec::with_capacity(total);
    let mut due = Instant::now();
    let mut begun = 0;
    while times.len() < total {
        let now = Instant::now();
        while begun < total && due <= now {
            waiting.push_back(due);
            due += interval;
            begun += 1;
        }
        while let (Some(_), Some(&place)) = (waiting.front(), free.last()) {
            free.pop();
            asked[place] = waiting.pop_front();
            connections[place].send(request);
        }
        if asked.iter().flatten().any(|due| now.saturating_duration_since(*due) > DEADLINE) {
            return Err("a request is not answered".into());
        }
        let until = if begun < total { due.saturating_duration_since(now) } else { DEADLINE };
        for place in wait_readable(&connections, until) {
            let Some(due) = asked[place] else { continue };
            let Some(response) = connections[place].receive() else { continue };
            if response.status != 206 || response.body.len() != LEN {
                return Err(format!("status {}", response.status).into());
            }
            times.push(due.elapsed().as_nanos() as u64);
            asked[place] = None;
            free.push(place);
        }
    }
    Ok(times)
}

fn report(rate: u32, running: &[Running], times: &[Sorted]) -> Value {
    let mut table = Table::new(&["", "count", "p50", "p90", "p99", "p99.9", "max"]);
    let mut rows = Vec::new();
    for (running, times) in running.iter().zip(times) {
        let at = SHARES.map(|share| times.quantile(share));
        table.row([
            running.name.into(),
            grouped(times.len() as u64),
            milliseconds(at[0]),
            milliseconds(at[1]),
            milliseconds(at[2]),
            milliseconds(at[3]),
            milliseconds(times.max()),
        ]);
        rows.push(json!({ "with": running.name, "times": times.times() }));
    }
    let title = format!("Response times at {} requests a second, 4 KiB ranges", grouped(rate));
    table.print(&format!("{title} (open model, from when a request was due)"));
    rows.into()
}
