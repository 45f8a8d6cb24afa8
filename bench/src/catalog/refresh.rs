//! A refresh of a million entries while clients ask: does it hold them up?
//!
//! One thread does what the clients do, so that two processors are enough for it and for nginx's
//! event loop; the thread that reads the catalog shares them with both. A probe asks a location
//! that does nothing, every millisecond: its answer comes late when the event loop is held up, and
//! also when event loop or client have no processor. The kernel tells how long that was, so it can
//! be taken off; and how long the event loop itself worked between two answers to the probe.

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use xspace_tests::{Nginx, Protocol, RawConnection, wait_readable};

use super::data::{self, Requests, State};
use super::memory::{WAS_READ, put, served};
use crate::process::{Schedule, Scheduled};
use crate::report::{Table, grouped, milliseconds};
use crate::site::{NOTHING, site};
use crate::stats::Sorted;
use crate::workbench::{Result, Workbench};

/// The clients that ask for ranges.
pub const CLIENTS: usize = 4;

/// Between two requests of the probe.
const PROBE_INTERVAL: Duration = Duration::from_millis(1);

/// How long no refresh is, before and after each.
const QUIET: Duration = Duration::from_secs(3);

/// For so long after the catalog was replaced the old one may be being freed.
const FREEING: Duration = Duration::from_millis(500);

/// A refresh takes seconds.
const DEADLINE: Duration = Duration::from_secs(120);

/// How much the clients ask for.
#[derive(Clone, Copy, Debug)]
struct Load {
    name: &'static str,
    /// Between two requests of a client; none: as soon as there is an answer.
    interval: Option<Duration>,
}

const LOADS: [Load; 2] = [
    Load { name: "2 000 requests a second", interval: Some(Duration::from_millis(2)) },
    Load { name: "as many requests as possible", interval: None },
];

/// Both loads, with and without refreshes.
pub fn measure(bench: &Workbench) -> Result<Value> {
    let refreshes = if bench.quick { 2 } else { 8 };
    let mut results = Map::new();
    for load in LOADS {
        results.insert(load.name.into(), under(bench, load, refreshes)?);
    }
    Ok(Value::Object(results))
}

fn under(bench: &Workbench, load: Load, refreshes: usize) -> Result<Value> {
    let path = served(bench);
    put(bench, State::New, &path)?;
    put(bench, State::Old, &path)?;
    let directive = format!("xspace_catalog {} refresh=100ms;", path.display());
    let server = data::locations(&data::recordings(bench)?, &directive);
    let nginx = site().http1_only().server(&server).start();
    let worker = nginx.wait_worker();

    let event_loop = Schedule::of_process(worker)?;
    let start = Instant::now();
    let replacing =
        Replacing { bench, path, nginx: &nginx, event_loop, state: State::Old, refreshes };
    let requests = Requests::downloads();
    let mut clients =
        (0..CLIENTS).map(|place| Client::new(&nginx, load.interval, place)).collect::<Vec<_>>();
    clients.push(Client::new(&nginx, Some(PROBE_INTERVAL), PROBE_TURN));
    let steps = while_asked(worker, &mut clients, &requests, start, || replacing.run(start))?;
    nginx.finish();
    report(load, &steps, &clients)
}

/// Does something while clients ask, all of them in a thread of their own.
pub fn while_asked<T>(
    worker: u32,
    clients: &mut [Client],
    requests: &Requests,
    start: Instant,
    meanwhile: impl FnOnce() -> Result<T>,
) -> Result<T> {
    thread::scope(|scope| {
        // This thread sleeps nearly all the time; the other one is "the client".
        let (stop, stopped) = mpsc::channel::<()>();
        let client = scope.spawn(move || {
            let mut asking = || {
                let here = Schedule::of_this_thread()?;
                let clock = Clock { start, event_loop: Schedule::of_process(worker)?, here };
                ask(clients, requests, &clock, &stopped)
            };
            asking().map_err(|e| e.to_string())
        });
        let result = meanwhile();
        drop(stop);
        match client.join() {
            Ok(Ok(())) => result,
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err("the client panicked".into()),
        }
    })
}

/// The row that tells how long the event loop was held up.
const HELD_UP: &str = "probe, less waiting for a processor";

/// The place of the probe, which asks for nothing.
const PROBE_TURN: usize = usize::MAX;

/// A period of the run, in nanoseconds since its start.
#[derive(Clone, Copy, Debug)]
struct Step {
    is_refresh: bool,
    from: u64,
    to: u64,
    /// From the rename to the line in the log.
    until_taken: u64,
    /// How long the worker's event loop had no processor though it could have run.
    waited: u64,
}

/// Replaces the catalog now and then.
struct Replacing<'b> {
    bench: &'b Workbench,
    path: PathBuf,
    nginx: &'b Nginx,
    event_loop: Schedule,
    state: State,
    refreshes: usize,
}

impl Replacing<'_> {
    fn run(mut self, start: Instant) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        for number in 1..=self.refreshes {
            steps.push(self.step(start, None)?);
            steps.push(self.step(start, Some(number))?);
        }
        steps.push(self.step(start, None)?);
        Ok(steps)
    }

    fn step(&mut self, start: Instant, refresh: Option<usize>) -> Result<Step> {
        let before = self.event_loop.now()?;
        let from = nanoseconds(start.elapsed());
        let mut until_taken = 0;
        if let Some(number) = refresh {
            self.state = self.state.other();
            put(self.bench, self.state, &self.path)?;
            let end = Instant::now() + DEADLINE;
            while self.nginx.count_errors(&[WAS_READ]) < number {
                if Instant::now() > end {
                    return Err("the catalog is not read again".into());
                }
                thread::sleep(Duration::from_millis(10));
            }
            until_taken = nanoseconds(start.elapsed()) - from;
            thread::sleep(FREEING);
        } else {
            thread::sleep(QUIET);
        }
        let waited = self.event_loop.now()?.waited - before.waited;
        let to = nanoseconds(start.elapsed());
        Ok(Step { is_refresh: refresh.is_some(), from, to, until_taken, waited })
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A request that was answered; all in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// Since the start.
    pub sent: u64,
    /// From sending to the last byte.
    pub took: u64,
    /// The same without the time in which event loop or client had no processor. For the probe.
    held_up: u64,
    /// How long the event loop worked since the last answer. For the probe.
    worked: Option<u64>,
}

/// What times are measured with.
struct Clock {
    start: Instant,
    event_loop: Schedule,
    here: Schedule,
}

/// A client that asks for one space after the other, in turn with the others.
#[derive(Debug)]
pub struct Client {
    connection: RawConnection,
    interval: Option<Duration>,
    /// When to send the next request.
    due: Instant,
    /// When the request on its way was sent.
    sent: Option<Instant>,
    /// The event loop and the client as the request was sent. For the probe.
    schedules: [Scheduled; 2],
    /// The event loop at the last answer.
    worked: u64,
    turn: usize,
    /// What it was answered.
    pub answered: Vec<Answered>,
    /// How many answers were of each state of the catalog.
    pub states: [usize; 2],
}

impl Client {
    /// A client whose first request is the one of its turn.
    pub fn new(nginx: &Nginx, interval: Option<Duration>, turn: usize) -> Self {
        Self {
            connection: RawConnection::open_nonblocking(nginx.address(Protocol::Http1)),
            interval,
            due: Instant::now(),
            sent: None,
            schedules: Default::default(),
            worked: 0,
            turn,
            answered: Vec::new(),
            states: [0; 2],
        }
    }

    fn is_probe(&self) -> bool {
        self.turn == PROBE_TURN
    }

    fn send(&mut self, requests: &Requests, clock: &Clock) -> Result<()> {
        if self.is_probe() {
            self.schedules = [clock.event_loop.now()?, clock.here.now()?];
        }
        self.sent = Some(Instant::now());
        self.connection.send(if self.is_probe() { NOTHING } else { requests.get(self.turn) });
        Ok(())
    }

    fn receive(&mut self, requests: &Requests, clock: &Clock) -> Result<()> {
        let is_probe = self.is_probe();
        let (Some(sent), Some(response)) = (self.sent, self.connection.receive()) else {
            return Ok(());
        };
        let now = Instant::now();
        let mut waited = 0;
        let mut worked = None;
        if is_probe {
            if response.status != 204 {
                return Err(format!("status {} for the probe", response.status).into());
            }
            let (event_loop, here) = (clock.event_loop.now()?, clock.here.now()?);
            let [event_loop_before, here_before] = self.schedules;
            waited = event_loop.waited - event_loop_before.waited;
            waited += here.waited - here_before.waited;
            if self.worked != 0 {
                worked = Some(event_loop.ran - self.worked);
            }
            self.worked = event_loop.ran;
        } else {
            let state = requests.check(self.turn, &response)?;
            self.states[state as usize] += 1;
            self.turn += CLIENTS;
        }
        self.sent = None;
        let mut add = |sent: Instant, worked| {
            let took = nanoseconds(now - sent);
            let held_up = took.saturating_sub(waited);
            let sent = nanoseconds(sent - clock.start);
            self.answered.push(Answered { sent, took, held_up, worked });
        };
        add(sent, worked);
        let Some(interval) = self.interval else { return Ok(()) };
        self.due = self.due.max(sent) + interval;
        while self.due < now {
            // What the probe would have seen, had it not been waiting itself.
            if is_probe {
                add(self.due, None);
            }
            self.due += interval;
        }
        Ok(())
    }
}

/// What the clients do, all of them in one thread, until they are stopped.
fn ask(
    clients: &mut [Client],
    requests: &Requests,
    clock: &Clock,
    stopped: &Receiver<()>,
) -> Result<()> {
    // At the end every request that was sent gets its answer.
    let mut is_ending = false;
    loop {
        is_ending |= stopped.try_recv() == Err(TryRecvError::Disconnected);
        let now = Instant::now();
        let mut timeout = Duration::from_millis(100);
        for client in clients.iter_mut().filter(|client| client.sent.is_none() && !is_ending) {
            if client.interval.is_none() || client.due <= now {
                client.send(requests, clock)?;
            } else {
                timeout = timeout.min(client.due - now);
            }
        }
        let waiting = || clients.iter().filter(|client| client.sent.is_some());
        if is_ending && waiting().next().is_none() {
            return Ok(());
        }
        if waiting().any(|client| client.sent.is_some_and(|sent| sent + DEADLINE < now)) {
            return Err("a request is not answered".into());
        }
        for place in wait_readable(clients.iter().map(|client| &client.connection), timeout) {
            clients[place].receive(requests, clock)?;
        }
    }
}

fn report(load: Load, steps: &[Step], clients: &[Client]) -> Result<Value> {
    let during = |is_refresh: bool| steps.iter().filter(move |step| step.is_refresh == is_refresh);
    // A request belongs to a refresh if any of its time does.
    let of_refresh = |answered: &Answered| {
        let (from, to) = (answered.sent, answered.sent + answered.took);
        during(true).any(|step| from < step.to && to > step.from)
    };
    let times = |is_probe: bool, is_refresh: bool, time: fn(&Answered) -> Option<u64>| {
        let clients = clients.iter().filter(|client| client.is_probe() == is_probe);
        let answered = clients.flat_map(|client| &client.answered);
        Sorted::new(answered.filter(|a| of_refresh(a) == is_refresh).filter_map(time))
    };
    let states: [usize; 2] =
        [0, 1].map(|state| clients.iter().map(|client| client.states[state]).sum());
    if states.contains(&0) {
        return Err("the clients have not seen both catalogs".into());
    }

    let mut table = Table::new(&["", "count", "p50", "p99", "p99.9", "max"]);
    let mut results = Map::new();
    let mut longest = [0; 2];
    type Row = (&'static str, bool, fn(&Answered) -> Option<u64>);
    let rows: [Row; 4] = [
        ("4 KiB ranges", false, |answered| Some(answered.took)),
        ("probe", true, |answered| Some(answered.took)),
        (HELD_UP, true, |answered| Some(answered.held_up)),
        ("event loop's own work", true, |answered| answered.worked),
    ];
    for (what, is_probe, time) in rows {
        for is_refresh in [false, true] {
            let times = times(is_probe, is_refresh, time);
            let when = if is_refresh { "during refreshes" } else { "without" };
            table.row([
                format!("{what}, {when}"),
                grouped(times.len() as u64),
                milliseconds(times.median()),
                milliseconds(times.quantile(0.99)),
                milliseconds(times.quantile(0.999)),
                milliseconds(times.max()),
            ]);
            results.insert(format!("{what}, {when}"), times.times());
            if what == HELD_UP {
                longest[usize::from(is_refresh)] = times.max();
            }
        }
    }
    let seconds = |is_refresh| during(is_refresh).map(|s| s.to - s.from).sum::<u64>() as f64 / 1e9;
    let waited = |is_refresh| during(is_refresh).map(|s| s.waited).sum::<u64>();
    let taken = Sorted::new(during(true).map(|step| step.until_taken));
    table.print(&format!(
        "{} refreshes of 1 million entries, {CLIENTS} clients, {}",
        taken.len(),
        load.name
    ));
    println!(
        "\n  No request failed; {} were answered from the old catalog, {} from the new one.",
        grouped(states[0] as u64),
        grouped(states[1] as u64)
    );
    println!(
        "  A refresh took {} to {} from the rename on (the file is looked at every 100 ms).",
        milliseconds(taken.min()),
        milliseconds(taken.max())
    );
    for (is_refresh, when) in [(false, "without"), (true, "during refreshes")] {
        let share = waited(is_refresh) as f64 / 1e9 / seconds(is_refresh) * 100.0;
        println!(
            "  The event loop waited for a processor {share:.1} % of the time, {when} ({:.1} s).",
            seconds(is_refresh)
        );
    }
    println!(
        "  Longest pause of the event loop while it had a processor: {} without, {} with a refresh\n  \
         (goal: at most 20 ms).",
        milliseconds(longest[0]),
        milliseconds(longest[1])
    );
    results.insert("failed".into(), 0.into());
    results.insert("refreshes".into(), taken.len().into());
    results.insert("until_taken_ns".into(), json!({ "min": taken.min(), "max": taken.max() }));
    for (is_refresh, name) in [(false, "without"), (true, "during refreshes")] {
        results.insert(
            format!("event loop, {name}"),
            json!({
                "seconds": seconds(is_refresh),
                "waited_for_processor_ns": waited(is_refresh),
                "longest_pause_ns": longest[usize::from(is_refresh)],
            }),
        );
    }
    Ok(Value::Object(results))
}
