//! Many listeners at once, in an open model: they come, seek and go when it is time to, whether
//! nginx keeps up or not, and what they wait for counts from then.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::thread::{UnshareFlags, unshare_unsafe};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep_until, timeout, timeout_at};
use xspace_tests::Random;

use super::client::{Client, Shared, Target};
use super::listener::{Act, Playback, STAY, Script};
use crate::process::{Schedule, pin_this_thread};
use crate::stats::Sorted;
use crate::workbench::Result;

/// How many listeners a thread of clients has at most: each thread has a table of open files of
/// its own, and some systems allow no more than 20 000.
const EACH: usize = 7_000;

/// After so long without an answer a listener gives up.
const GIVE_UP: Duration = Duration::from_secs(30);

/// How often a listener tries to go on when the connection breaks, and how long it waits before.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(200);

/// For how long the connection of a phone that has vanished is left as it is.
const LEFT: Duration = Duration::from_secs(120);

/// How many, and when.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub listeners: usize,
    /// In which they come.
    pub ramp: Duration,
    /// After which measuring begins, and how long it goes on.
    pub settle: Duration,
    pub window: Duration,
    /// The processor of all clients.
    pub processor: usize,
}

/// What the listeners of a run have seen, in the window.
#[derive(Debug, Default)]
pub struct Seen {
    /// From when a seek was due to the first byte of the recording, in nanoseconds.
    pub seeks: Vec<u64>,
    /// The same for those who come, from the first request of three: two bytes, then the recording.
    pub joins: Vec<u64>,
    /// How much later than due the client began with those.
    pub late: Vec<u64>,
    pub stalls: u64,
    pub stalled: Duration,
    pub bytes: u64,
    /// Connections that broke, and went on with another one.
    pub lost: u64,
    /// Listeners that gave up.
    pub failed: u64,
    /// What was the matter with both.
    pub errors: BTreeMap<String, u64>,
    /// The mean number of listeners.
    pub present: f64,
    /// How much of the window the clients had the processor.
    pub client: f64,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.seeks.extend(other.seeks);
        self.joins.extend(other.joins);
        self.late.extend(other.late);
        self.stalls += other.stalls;
        self.stalled += other.stalled;
        self.bytes += other.bytes;
        self.lost += other.lost;
        self.failed += other.failed;
        self.present += other.present;
        self.client += other.client;
        for (error, count) in other.errors {
            *self.errors.entry(error).or_default() += count;
        }
    }

    fn answer(&mut self, is_new: bool, time: Duration) {
        if is_new { &mut self.joins } else { &mut self.seeks }.push(time.as_nanos() as u64);
    }

    /// Times, in order.
    pub fn sorted(times: &[u64]) -> Sorted {
        Sorted::new(times.iter().copied())
    }
}

impl Plan {
    /// From when to when something is measured, for a run that begins then.
    pub fn window(&self, start: Instant) -> (Instant, Instant) {
        let from = start + self.ramp + self.settle;
        (from, from + self.window)
    }

    /// Runs all listeners until the end of the window. Meanwhile `look` runs in this thread, with
    /// the beginning and the end of the window.
    pub fn run<T>(
        &self,
        target: &Target,
        look: impl FnOnce(Instant, Instant) -> Result<T>,
    ) -> Result<(Seen, T)> {
        let threads = self.listeners.div_ceil(EACH);
        let start = Instant::now();
        let (from, to) = self.window(start);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads)
                .map(|number| {
                    let share =
                        self.listeners * (number + 1) / threads - self.listeners * number / threads;
                    let thread = move || {
                        self.run_thread(target, number as u64, share, start)
                            .map_err(|e| e.to_string())
                    };
                    scope.spawn(thread)
                })
                .collect();
            let looked = look(from, to);
            let mut all = Seen::default();
            for thread in threads {
                all.add(thread.join().map_err(|_| "a client panicked")??);
            }
            Ok((all, looked?))
        })
    }

    fn run_thread(
        &self,
        target: &Target,
        number: u64,
        listeners: usize,
        start: Instant,
    ) -> Result<Seen> {
        pin_this_thread(self.processor)?;
        // SAFETY: what this thread opens from now on is used and closed in this thread only.
        unsafe { unshare_unsafe(UnshareFlags::FILES)? };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let local = LocalSet::new();
        let (from, to) = self.window(start);
        let seen = runtime.block_on(local.run_until(async {
            let shared = Rc::new(Shared::new(target)?);
            let crowd = Rc::new(Crowd {
                shared,
                from,
                to,
                seen: RefCell::default(),
                present: RefCell::default(),
                waiting: RefCell::default(),
            });
            spawn_local(Rc::clone(&crowd).arrivals(number << 32, listeners, start, self.ramp));
            let schedule = Schedule::of_this_thread()?;
            sleep_until(from.into()).await;
            let before = schedule.now()?.ran;
            sleep_until(to.into()).await;
            let ran = schedule.now()?.ran - before;
            let mut seen = crowd.seen.take();
            // Who still waits has waited for at least so long.
            for &(due, is_new) in crowd.waiting.borrow().values() {
                if from <= due && due < to {
                    seen.answer(is_new, to - due);
                }
            }
            seen.client = ran as f64 / self.window.as_nanos() as f64;
            seen.present = crowd.present.borrow_mut().mean(from, to);
            Ok::<_, Box<dyn std::error::Error>>(seen)
        }));
        // Connections are closed with this.
        drop(local);
        seen
    }
}

/// The listeners of one thread.
struct Crowd {
    shared: Rc<Shared>,
    from: Instant,
    to: Instant,
    seen: RefCell<Seen>,
    present: RefCell<Present>,
    /// Since when listeners wait for a recording, by their numbers, and whether they are new.
    waiting: RefCell<BTreeMap<u64, (Instant, bool)>>,
}

/// How many listeners there are, over time.
#[derive(Default)]
struct Present {
    now: u32,
    changes: Vec<(Instant, u32)>,
}

impl Present {
    fn change(&mut self, by: i32) {
        self.now = self.now.saturating_add_signed(by);
        self.changes.push((Instant::now(), self.now));
    }

    fn mean(&self, from: Instant, to: Instant) -> f64 {
        let ends = self.changes.iter().skip(1).map(|&(at, _)| at).chain([to]);
        let sum: f64 = self
            .changes
            .iter()
            .zip(ends)
            .map(|(&(start, count), end)| {
                let (start, end) = (start.clamp(from, to), end.clamp(from, to));
                f64::from(count) * (end - start).as_secs_f64()
            })
            .sum();
        sum / (to - from).as_secs_f64()
    }
}

impl Crowd {
    /// So many come one after the other, and then as many as leave on average.
    async fn arrivals(
        self: Rc<Self>,
        first: u64,
        listeners: usize,
        start: Instant,
        ramp: Duration,
    ) {
        let mut number = first;
        let mut random = Script::new(Random::new(first).number());
        let mut next = start + ramp / 2;
        let each = ramp / listeners as u32;
        let mut due = start;
        for _ in 0..listeners {
            while next < due {
                self.arrive(&mut number, next).await;
                next += Duration::from_secs_f64(random.exponential(STAY / listeners as f64));
            }
            self.arrive(&mut number, due).await;
            due += each;
        }
        loop {
            self.arrive(&mut number, next).await;
            next += Duration::from_secs_f64(random.exponential(STAY / listeners as f64));
        }
    }

    async fn arrive(self: &Rc<Self>, number: &mut u64, due: Instant) {
        sleep_until(due.into()).await;
        spawn_local(Rc::clone(self).listen(*number, due));
        *number += 1;
    }

    async fn listen(self: Rc<Self>, number: u64, due: Instant) {
        self.present.borrow_mut().change(1);
        let mut client = Client::new(&self.shared, number);
        let is_gone = self.stay(&mut client, number, due).await;
        self.waiting.borrow_mut().remove(&number);
        self.present.borrow_mut().change(-1);
        if is_gone {
            client.vanish();
            sleep_until((Instant::now() + LEFT).into()).await;
        }
    }

    /// From join to leave; tells whether the listener has vanished.
    async fn stay(&self, client: &mut Client, number: u64, mut due: Instant) -> bool {
        let mut script = Script::new(number);
        let recording = script.recording(self.shared.recordings());
        let mut is_new = true;
        let mut position = 0;
        loop {
            let late = due.elapsed();
            self.waiting.borrow_mut().insert(number, (due, is_new));
            if is_new {
                let probed = self.patiently(client, async |client| client.probe(recording).await);
                if probed.await.is_none() {
                    return false;
                }
            }
            let opened = async |client: &mut Client| client.open(recording, position).await;
            let Some(len) = self.patiently(client, opened).await else { return false };
            let now = Instant::now();
            self.waiting.borrow_mut().remove(&number);
            if self.is_measuring(due) {
                let mut seen = self.seen.borrow_mut();
                seen.answer(is_new, now - due);
                seen.late.push(late.as_nanos() as u64);
            }
            is_new = false;
            let mut playback = Playback::new(script.rate);
            playback.receive(now, len);
            loop {
                let (after, act) = script.next();
                due = (due + after).max(now);
                let played = self.play(client, &mut playback, recording, position, due);
                if played.await.is_none() {
                    return false;
                }
                match act {
                    Act::Seek => break,
                    Act::Leave => return false,
                    Act::Vanish => return true,
                    Act::Pause(time) => {
                        playback.pause(due);
                        due += time;
                        sleep_until(due.into()).await;
                        playback.resume(due);
                    }
                }
            }
            client.stop();
            position = script.position(super::RECORDING_LEN);
        }
    }

    /// Plays until it is time for something else.
    async fn play(
        &self,
        client: &mut Client,
        playback: &mut Playback,
        recording: usize,
        position: u64,
        until: Instant,
    ) -> Option<()> {
        const TICK: Duration = Duration::from_secs(1);
        loop {
            let now = Instant::now();
            if now >= until {
                break;
            }
            let wanted = playback.wanted(now);
            if wanted < playback.rate() {
                sleep_until(until.min(now + TICK).into()).await;
                continue;
            }
            let len = match timeout_at(until.min(now + TICK).into(), client.read(wanted)).await {
                Err(_) => {
                    // The buffer may have run dry meanwhile.
                    let now = Instant::now();
                    playback.look(now);
                    self.note(playback, now, 0);
                    continue;
                }
                Ok(Ok(len)) => len,
                Ok(Err(e)) => {
                    if self.is_measuring(now) {
                        let mut seen = self.seen.borrow_mut();
                        seen.lost += 1;
                        *seen.errors.entry(format!("lost: {e}")).or_default() += 1;
                    }
                    client.hang_up();
                    let position = (position + playback.received()) / 8 * 8;
                    let open = async |client: &mut Client| client.open(recording, position).await;
                    self.patiently(client, open).await?
                }
            };
            let now = Instant::now();
            playback.receive(now, len);
            self.note(playback, now, len);
        }
        playback.look(until);
        self.note(playback, until, 0);
        Some(())
    }

    /// Adds stalls, and bytes that have come.
    fn note(&self, playback: &mut Playback, now: Instant, len: usize) {
        let (stalls, stalled) = playback.take_stalls();
        if self.is_measuring(now) {
            let mut seen = self.seen.borrow_mut();
            seen.bytes += len as u64;
            seen.stalls += stalls;
            seen.stalled += stalled;
        }
    }

    /// Tries several times, as players do; counts it if that is in vain.
    async fn patiently<T>(
        &self,
        client: &mut Client,
        request: impl AsyncFn(&mut Client) -> Result<T>,
    ) -> Option<T> {
        for _ in 0..TRIES {
            let error = match within(GIVE_UP, request(client)).await {
                Ok(value) => return Some(value),
                Err(error) => error.to_string(),
            };
            client.hang_up();
            if self.is_measuring(Instant::now()) {
                *self.seen.borrow_mut().errors.entry(error).or_default() += 1;
            }
            sleep_until((Instant::now() + PAUSE).into()).await;
        }
        if self.is_measuring(Instant::now()) {
            self.seen.borrow_mut().failed += 1;
        }
        None
    }

    fn is_measuring(&self, now: Instant) -> bool {
        self.from <= now && now < self.to
    }
}

async fn within<T>(time: Duration, result: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(time, result).await.map_err(|_| "no answer in time")?
}
