#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use core::net::IpAddr;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::hash::Hasher;
use std::hint::spin_loop;
use std::sync::LazyLock;
use std::thread;

use super::layout::{BUCKET_LEN, FIXED_LEN, SPACE_LEN};
use super::listeners::{Added, Listeners};
use super::sip::Sip;
use super::spaces::Spaces;
use super::*;
use crate::request::SpaceId;

const DAY: u64 = MAX_WINDOW as u64;
/// A midnight in 2023.
const MIDNIGHT: u64 = 19_700 * DAY;
const NOON: u64 = MIDNIGHT + DAY / 2;

/// SplitMix64, from a seed.
struct Random(Cell<u64>);

impl Random {
    fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&self, end: u64) -> u64 {
        self.next() % end
    }
}

fn words(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

/// The smallest zone with room for so many spaces.
fn memory(listeners: usize, spaces: usize) -> (Vec<AtomicU64>, Layout) {
    let len = FIXED_LEN + listeners.div_ceil(BUCKET_LEN) * BUCKET_LEN + spaces * 12;
    (words(len), Layout::new(len, Some(listeners)).unwrap())
}

fn id(text: &str) -> SpaceId<'_> {
    SpaceId::parse(text.as_bytes()).unwrap()
}

/// Two minutes of 128 kbit/s in an hour of the same.
static HOUR: LazyLock<Sent<'_>> = LazyLock::new(|| Sent {
    space: id("space"),
    bytes: 16_000 * 120,
    size: 16_000 * 3600,
    duration: 3_600_000,
    is_attachment: false,
    started: NOON,
});

fn zone(words: &[AtomicU64], layout: Layout) -> Zone<'_> {
    let random = Random::new(7);
    Zone::create(words, layout, NOON, || random.next()).unwrap()
}

fn count(zone: &Zone<'_>, sent: &Sent<'_>, listener: &str, now: u64) -> bool {
    count_by(zone, sent, listener, &Rule::default(), now)
}

fn count_by(zone: &Zone<'_>, sent: &Sent<'_>, listener: &str, rule: &Rule, now: u64) -> bool {
    let random = Random::new(now);
    let listener = Some(Listener::Value(listener.as_bytes()));
    zone.count_sent(0, sent, listener, rule, now, || random.next())
}

#[test]
fn milliseconds() {
    let rule = |time, minute| Rule { time, minute, ..Rule::default() };
    let (default, minute) = (Rule::default(), 960 * 1024);
    let rows = [
        (default, 1_000_000, 3_600_000_000, 3_600_000, 1_000, "an hour, 1 MB of 3.6 GB"),
        (default, 1, 3_600_000_000, 3_600_000, 1, "a byte is rounded up"),
        (default, 0, 3_600_000_000, 3_600_000, 0, "nothing"),
        (default, 3_600_000_000, 3_600_000_000, 3_600_000, 3_600_000, "all"),
        (default, 500, 1000, 20_000, 30_000, "half of 20 s is half of a play"),
        (default, 1000, 1000, 20_000, 60_000, "all of 20 s is a play"),
        (default, 1000, 1000, 60_000, 60_000, "all of a minute is a play"),
        (default, 1000, 1000, 60_001, 60_001, "a little more"),
        (default, minute, 10 * minute, 0, 60_000, "no duration"),
        (default, minute / 2, 10 * minute, 0, 30_000, "half of a minute"),
        (default, minute / 2, minute / 2, 0, 60_000, "no duration, a short file"),
        (default, minute, minute, 0, 60_000, "no duration, just a play"),
        (default, minute, 0, 0, 60_000, "no size either"),
        (default, minute, 0, 3_600_000, 60_000, "a duration is of no use without a size"),
        (rule(30_000, minute), minute / 2, 10 * minute, 0, 30_000, "the time is another"),
        (rule(30_000, minute), 7, 7, 0, 30_000, "a short file of another time"),
        (rule(60_000, 100), 100, 1000, 0, 60_000, "bytes are a minute"),
        (rule(60_000, 100), 100, 100_000, 3_600_000, 3_600, "a duration is better"),
        (rule(60_000, 0), 5, 100, 0, 300_000, "no division by zero"),
        (default, u64::MAX, u64::MAX, u64::MAX, u64::MAX, "the largest numbers"),
        (default, u64::MAX, 1, u64::MAX, u64::MAX, "more than there can be"),
        (default, 1 << 40, 1 << 41, 1 << 40, 1 << 39, "a product of more than 64 bits"),
        (default, 5, u64::MAX, 0, 1, "a size that overflows"),
    ];
    for (rule, bytes, size, duration, expected, what) in rows {
        assert_eq!(rule.time_of(bytes, size, duration), expected, "{what}");
    }
}

/// However a file is cut into pieces, all of them together are no less than the whole, and no more
/// than that and a millisecond for each piece.
#[test]
fn pieces_are_the_whole() {
    let random = Random::new(1);
    for round in 0..20_000 {
        let size = 1 + random.below(1 << (1 + random.below(40)));
        let duration = random.below(4) * random.below(1 << 24);
        let minute = 1 + random.below(1 << 22);
        let rule = Rule { time: 1 + random.below(200_000) as u32, minute, ..Rule::default() };
        let (mut left, mut sum, mut pieces) = (size, 0, 0);
        while left > 0 {
            let bytes = if pieces > 30 { left } else { 1 + random.below(left) };
            sum += rule.time_of(bytes, size, duration);
            left -= bytes;
            pieces += 1;
        }
        let whole = rule.time_of(size, size, duration);
        let what = format!("{round}: {size} bytes, {duration} ms, {rule:?}");
        assert!((whole..whole + pieces).contains(&sum), "{what}: {sum}, not {whole}");
        assert!(whole >= rule.time.into() || duration == 0, "{what}: {whole}");
        // The slow way.
        let known = if duration > 0 {
            u128::from(duration) * u128::from(minute)
        } else {
            u128::from(size) * 60_000
        };
        let all = known.max(u128::from(rule.time) * u128::from(minute));
        assert_eq!(u128::from(whole), all.div_ceil(minute.into()), "{what}");
    }
}

#[test]
fn windows() {
    let day = MAX_WINDOW;
    let rows = [
        (MIDNIGHT, MIDNIGHT, 0, day, MIDNIGHT, "the first second"),
        (MIDNIGHT - 1, MIDNIGHT - 1, 0, day, MIDNIGHT - DAY, "the last second"),
        (MIDNIGHT - 1, MIDNIGHT + 5, MIDNIGHT + 5, day, MIDNIGHT - DAY, "ends in the next one"),
        (MIDNIGHT - 40, MIDNIGHT + 2 * DAY, MIDNIGHT, day, MIDNIGHT - DAY, "two days long"),
        (NOON, NOON, 0, 3600, NOON, "an hour"),
        (NOON + 3599, NOON + 3599, 0, 3600, NOON, "its end"),
        (NOON, NOON, 0, 0, NOON, "at least a second"),
        (NOON, NOON, 0, u32::MAX, MIDNIGHT, "at most a day"),
        (MIDNIGHT - 9, MIDNIGHT - 9, MIDNIGHT + 9, day, MIDNIGHT, "set back over midnight"),
        (MIDNIGHT - 9, MIDNIGHT - 9, MIDNIGHT - 9 + DAY, day, MIDNIGHT, "set back by a day"),
        (MIDNIGHT - 9, MIDNIGHT - 9, MIDNIGHT + DAY, day, MIDNIGHT - DAY, "by more: believed"),
        (MIDNIGHT - 1, MIDNIGHT - 1, MIDNIGHT, day, MIDNIGHT - DAY, "a process is a second late"),
        (NOON + 3 * DAY, NOON, 0, day, MIDNIGHT, "started in the future"),
        (0, 0, 0, day, 0, "1970"),
        (u64::MAX, u64::MAX, 0, day, u64::MAX - u64::MAX % DAY, "the end of time"),
    ];
    for (started, now, latest, length, expected, what) in rows {
        let window = Window::of_request(started, now, latest, length);
        assert_eq!(window.start(), expected, "{what}");
        assert!(window.end() > window.start(), "{what}");
    }
}

#[test]
fn layouts() {
    let fixed = FIXED_LEN;
    let rows = [
        (0, None, None, "nothing"),
        (fixed, Some(8), None, "no room for a bucket"),
        (fixed + 8, Some(8), None, "no room for a space"),
        (fixed + 20, Some(8), Some((8, 1)), "one of each"),
        (fixed + 20, Some(1), Some((8, 1)), "a bucket at least"),
        (fixed + 20, Some(0), Some((8, 1)), "without listeners"),
        (fixed + 20, Some(9), None, "one listener too many"),
        (fixed + 20, Some(usize::MAX), None, "far too many"),
        (1 << 17, None, Some((32_096, 8024)), "a megabyte"),
        (1 << 24, Some(1 << 17), Some((1 << 17, 1_386_954)), "128 megabytes"),
    ];
    for (words, listeners, expected, what) in rows {
        let layout = Layout::new(words, listeners);
        assert_eq!(layout.map(|it| (it.listeners(), it.spaces())), expected, "{what}");
        assert!(layout.is_none_or(|layout| layout.len() <= Some(words)), "{what}");
    }
    for words in (0..5000).map(|n| n * 7) {
        let layout = Layout::new(words, None);
        assert!(layout.is_none_or(|layout| layout.len() <= Some(words)), "{words}");
    }
}

#[test]
fn a_zone_is_opened_as_it_was_made() {
    let (words, layout) = memory(100, 10);
    assert!(Zone::open(&words).is_none(), "there is none yet");
    assert!(Zone::open(&words[..5]).is_none(), "no room for a header");
    let made = zone(&words, layout);
    assert!(count(&made, &HOUR, "me", NOON));
    let opened = Zone::open(&words).expect("a zone");
    assert_eq!((opened.layout(), opened.created()), (layout, NOON));
    assert_eq!(opened.total(Count::Plays), 1);
    assert!(!count(&opened, &HOUR, "me", NOON), "it knows the listener");
    assert!(Zone::open(&words[..words.len() - 1]).is_none(), "a part of it");
    let (few, _) = memory(100, 9);
    assert!(Zone::create(&few, layout, NOON, || 0).is_none(), "too large for the memory");
    words[0].fetch_add(1, Relaxed);
    assert!(Zone::open(&words).is_none(), "of another version");
}

#[test]
fn what_is_a_play() {
    let (words, layout) = memory(800, 100);
    let zone = zone(&words, layout);
    let part = |seconds: u64| Sent { bytes: 16_000 * seconds, ..*HOUR };
    let now = NOON;
    assert!(!count(&zone, &part(59), "a", now), "59 s");
    assert!(count(&zone, &part(1), "a", now), "60 s");
    assert!(!count(&zone, &part(600), "a", now), "has had it");
    assert!(count(&zone, &part(60), "b", now), "another listener");
    let other = Sent { space: id("other"), ..part(60) };
    assert!(count(&zone, &other, "a", now), "another space");
    let attachment = Sent { is_attachment: true, ..part(60) };
    assert!(count(&zone, &attachment, "a", now), "a download is counted apart");
    assert!(!count(&zone, &attachment, "a", now), "once");
    assert!(!count(&zone, &part(59), "c", now));
    let attachment = Sent { is_attachment: true, ..part(59) };
    assert!(!count(&zone, &attachment, "c", now), "what is played is no part of a download");
    let tomorrow = MIDNIGHT + DAY;
    assert!(!count(&zone, &part(600), "a", tomorrow + 5), "began yesterday");
    let started = |started| Sent { started, ..part(30) };
    assert!(!count(&zone, &started(tomorrow), "a", tomorrow + 5), "a new day");
    assert!(count(&zone, &started(tomorrow), "a", tomorrow + 5), "is counted anew");
    assert!(count(&zone, &started(tomorrow - 1), "c", tomorrow + 5), "89 s of yesterday");
    assert!(!count(&zone, &started(tomorrow), "d", tomorrow + 5), "30 s");
    assert!(count(&zone, &started(tomorrow - 9), "d", tomorrow - 9), "set back: the newer window");
    let long_ago = Sent { started: NOON - 3 * DAY, ..part(60) };
    assert!(count(&zone, &long_ago, "a", tomorrow + 5), "its key is forgotten: judged by itself");
    assert!(count(&zone, &long_ago, "a", tomorrow + 5), "each time");

    let space = zone.space(HOUR.space).expect("it was counted");
    assert_eq!((space.plays(), space.downloads()), (7, 1));
    assert_eq!((space.requests(), space.bytes()), (16, 16_000 * 1828));
    assert_eq!(zone.total(Count::Plays), 8);
    assert_eq!(zone.total(Count::Downloads), 1);
    assert_eq!(zone.total(Count::ListenersDiscarded), 2);
    assert_eq!(zone.total(Count::Bytes), 16_000 * 1888);
    assert_eq!((zone.spaces().count(), zone.spaces_in_use()), (2, 2));
    assert!(zone.space(id("none")).is_none());
}

#[test]
fn without_a_listener_there_is_no_play() {
    let (words, layout) = memory(8, 8);
    let zone = zone(&words, layout);
    assert!(!zone.count_sent(0, &HOUR, None, &Rule::default(), NOON, || 1));
    let space = zone.space(HOUR.space).expect("counted all the same");
    assert_eq!((space.plays(), space.requests(), space.bytes()), (0, 1, HOUR.bytes));
}

/// Every part of a listener makes it another one, wherever its bytes are.
#[test]
fn who_is_another_listener() {
    let (words, layout) = memory(800, 100);
    let zone = zone(&words, layout);
    let random = Random::new(3);
    let count = |space: &str, listener, window| {
        let sent = Sent { space: id(space), ..*HOUR };
        let rule = Rule { window, ..Rule::default() };
        zone.count_sent(0, &sent, Some(listener), &rule, NOON, || random.next())
    };
    use Listener::{Client, Value};
    let address = |text: &str| Some(text.parse::<IpAddr>().expect("an address"));
    let rows: [(&str, Listener<'_>, u32); 14] = [
        ("a", Client(address("127.0.0.1"), b"curl"), 86_400),
        ("a", Client(address("127.0.0.2"), b"curl"), 86_400),
        ("a", Client(address("127.0.0.1"), b"curl/8"), 86_400),
        ("a", Client(address("127.0.0.1"), b""), 86_400),
        ("b", Client(address("127.0.0.1"), b"curl"), 86_400),
        ("a", Client(address("::1"), b"curl"), 86_400),
        ("a", Client(address("0:0:0:1::"), b"curl"), 86_400),
        ("a", Client(None, b"curl"), 86_400),
        ("a", Value(b"curl"), 86_400),
        ("a", Value(b""), 86_400),
        ("ab", Value(b"c"), 86_400),
        ("a", Value(b"bc"), 86_400),
        ("a", Value(b"bc"), 43_200),
        ("a", Value(b"bc"), 3600),
    ];
    for again in [true, false] {
        for (space, listener, window) in rows {
            assert_eq!(count(space, listener, window), again, "{space} {listener:?} {window}");
        }
    }
}

#[test]
fn addresses_of_one_listener() {
    let (words, layout) = memory(800, 100);
    let zone = zone(&words, layout);
    for (address, is_new) in [
        ("192.0.2.1", true),
        ("::ffff:192.0.2.1", false),
        ("2001:db8::1", true),
        ("2001:db8::2:3:4:5", false),
        ("2001:db8:0:1::1", true),
    ] {
        let listener = Listener::Client(address.parse().ok(), b"curl");
        let played = zone.count_sent(0, &HOUR, Some(listener), &Rule::default(), NOON, || 1);
        assert_eq!(played, is_new, "{address}");
    }
}

/// A wrong clock must not stop anything for good.
#[test]
fn keys_of_days() {
    let (words, layout) = memory(800, 10);
    let zone = zone(&words, layout);
    let twice = |now: u64, what: &str| {
        let sent = Sent { started: now, ..*HOUR };
        let first = count(&zone, &sent, "me", now);
        assert!(!count(&zone, &sent, "me", now), "{what}: counted twice");
        first
    };
    assert!(twice(NOON, "a day"));
    assert!(twice(NOON + DAY, "the next"));
    assert!(twice(NOON + 2 * DAY, "and the next"));
    assert!(twice(NOON + 4000 * DAY, "ten years later"));
    assert!(!twice(NOON + 3999 * DAY + 1, "a day back: still the same window"));
    assert!(twice(NOON + 3 * DAY, "ten years back"));
    assert!(!twice(NOON + 2 * DAY + 5, "a day back"));
    assert!(twice(NOON + 4 * DAY, "and on"));
    assert!(twice(NOON + 65_540 * DAY, "the days begin anew"));
    assert_eq!(zone.total(Count::ListenersDiscarded), 0);
}

/// The same as that of std, whose key is 0.
#[test]
fn sip_is_that_of_std() {
    let random = Random::new(11);
    for len in 0..300 {
        let bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        let mut std = std::hash::DefaultHasher::new();
        std.write(&bytes);
        let mut own = Sip::new([0, 0]);
        own.text(&bytes);
        assert_eq!(own.finish(), std.finish(), "{len}");
    }
    // The example of SipHash's authors has 2-4 rounds; that both halves of the key count is enough.
    let hash = |key| Sip::new(key).finish();
    let hashes: HashSet<u64> = [[0, 0], [1, 0], [0, 1], [1, 1]].into_iter().map(hash).collect();
    assert_eq!(hashes.len(), 4);
}

/* A slow listener's table */

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    hash: u64,
    window: u64,
    time: u64,
    is_played: bool,
}

/// One bucket of the table, in the words of its description.
#[derive(Default)]
struct Bucket([Option<Known>; BUCKET_LEN]);

impl Bucket {
    fn add(&mut self, hash: u64, window: Window, time: u64, threshold: u64, now: u64) -> Added {
        let start = window.start();
        let own = self.0.iter_mut().flatten().find(|k| (k.hash, k.window) == (hash, start));
        if let Some(known) = own {
            let was_played = known.is_played;
            known.time += time;
            known.is_played |= known.time >= threshold;
            return Added { is_play: known.is_played && !was_played, is_discarded: false };
        }
        let is_play = time >= threshold;
        let new = Known { hash, window: start, time, is_played: is_play };
        let length = u64::from(window.length());
        let is_over = |known: &Known| known.window + length <= now;
        let mut choices: Vec<usize> = (0..BUCKET_LEN).collect();
        // A stable sort: of equals the first is chosen.
        choices.sort_by_key(|&at| match &self.0[at] {
            None => (0, 0, 0),
            Some(known) if is_over(known) && known.is_played => (1, known.window, u64::MAX),
            Some(known) if is_over(known) => (1, known.window, known.time),
            Some(known) if !known.is_played => (2, 0, known.time),
            Some(_) => (3, 0, 0),
        });
        let at = choices[0];
        let is_discarded = match &self.0[at] {
            Some(known) if !is_over(known) && known.is_played => {
                return Added { is_play, is_discarded: true };
            }
            Some(known) => !is_over(known),
            None => false,
        };
        self.0[at] = Some(new);
        Added { is_play, is_discarded }
    }
}

#[test]
fn listeners_are_as_in_the_slow_table() {
    for seed in 0..300 {
        let random = Random::new(seed);
        let table = words(BUCKET_LEN);
        let mut slow = Bucket::default();
        // Units of 512 s, so that the ends of windows are exact.
        let length = 512 * (1 + random.below(160)) as u32;
        let (mut now, threshold) = (MIDNIGHT - MIDNIGHT % u64::from(length), 60_000);
        let people = 1 + random.below(30);
        for step in 0..2000 {
            if random.below(40) == 0 {
                now += random.below(2 * u64::from(length));
            }
            // The same bits of a hash would be the same listener in windows of the same end.
            let window = Window::of(now - random.below(4) / 3 * u64::from(length), length);
            let hash = 1 + random.below(people) + window.start() % 7919 * 64;
            let time = 1 + random.below(if random.below(5) == 0 { 90_000 } else { 20_000 });
            let fast = Listeners(&table).add(hash, window, time, threshold, now);
            let expected = slow.add(hash, window, time, threshold, now);
            assert_eq!(fast, expected, "seed {seed}, step {step}");
        }
    }
}

#[test]
fn a_finished_listener_keeps_its_place() {
    let table = words(BUCKET_LEN);
    let listeners = Listeners(&table);
    let today = Window::of(NOON, MAX_WINDOW);
    let add = |hash, time, now| listeners.add(hash, Window::of(now, MAX_WINDOW), time, 60_000, now);
    let (play, none) = (Added { is_play: true, is_discarded: false }, Added::default());
    for hash in 1..=8 {
        assert_eq!(add(hash, 60_000, NOON), play, "{hash}");
    }
    for hash in 100..200 {
        assert_eq!(add(hash, 1, NOON), Added { is_play: false, is_discarded: true }, "{hash}");
        assert_eq!(add(hash, 60_000, NOON), Added { is_play: true, is_discarded: true }, "{hash}");
    }
    for hash in 1..=8 {
        assert_eq!(add(hash, 60_000, NOON), none, "{hash}");
    }
    assert_eq!(today.end(), MIDNIGHT + DAY);
    assert_eq!(add(300, 60_000, NOON + DAY), play, "a new day");
    let later = NOON + 45 * DAY;
    for hash in 400..408 {
        assert_eq!(add(hash, 60_000, later), play, "after weeks of silence");
    }
}

/// Threads are as good as processes here: they share nothing but the words.
#[test]
fn threads_have_each_play_once() {
    const THREADS: usize = 8;
    const PEOPLE: u64 = 200;
    let (words, layout) = memory(4096, 64);
    let zone = zone(&words, layout);
    let spaces: Vec<String> = (0..40).map(|n| format!("space-{n}")).collect();
    let counted: Vec<(HashMap<String, [u64; 3]>, u64)> = thread::scope(|scope| {
        let spaces = &spaces;
        let run = |thread: usize| {
            move || {
                let random = Random::new(thread as u64);
                let (mut counts, mut plays) = (HashMap::<String, [u64; 3]>::new(), 0);
                for _ in 0..20_000 {
                    let space = &spaces[random.below(spaces.len() as u64) as usize];
                    let bytes = 16_000 * (1 + random.below(30));
                    let sent = Sent { space: id(space), bytes, ..*HOUR };
                    let person = random.below(PEOPLE / 20).to_string();
                    let listener = Some(Listener::Value(person.as_bytes()));
                    let rule = Rule::default();
                    let is_play =
                        zone.count_sent(thread, &sent, listener, &rule, NOON, || random.next());
                    zone.count_request(thread, 3);
                    let [requests, sum, own] = counts.entry(space.clone()).or_default();
                    *requests += 1;
                    *sum += bytes;
                    *own += u64::from(is_play);
                    plays += u64::from(is_play);
                }
                (counts, plays)
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(run(n))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let sum = |space: &String, at: usize| -> u64 {
        counted.iter().filter_map(|(counts, _)| counts.get(space)).map(|counts| counts[at]).sum()
    };
    for space in &spaces {
        let found = zone.space(id(space)).expect("counted");
        assert_eq!(found.requests(), sum(space, 0), "{space}");
        assert_eq!(found.bytes(), sum(space, 1), "{space}");
        assert_eq!(found.plays(), sum(space, 2), "{space}");
        // All of them had more than a minute.
        assert_eq!(found.plays(), PEOPLE / 20, "{space}");
    }
    let plays: u64 = counted.iter().map(|(_, plays)| plays).sum();
    assert_eq!(zone.total(Count::Plays), plays);
    assert_eq!(zone.total(Count::Requests(3)), THREADS as u64 * 20_000);
    assert_eq!(zone.spaces_in_use(), 40);
    assert_eq!(zone.total(Count::ListenersDiscarded), 0);
    let mut names = HashSet::new();
    for space in zone.spaces() {
        let mut buffer = [0; MAX_NAME_LEN];
        names.insert(space.id(&mut buffer).expect("a name").to_string());
    }
    assert_eq!(names, spaces.into_iter().collect::<HashSet<_>>());
}

/// Nothing is lost if all of them add to the same listener, and only one crosses the threshold, even
/// if that takes all that they add.
#[test]
fn threads_add_to_the_same_listener() {
    const THREADS: u64 = 4;
    const EACH: u64 = 20_000;
    const PEOPLE: u64 = 24;
    let table = words(4 * BUCKET_LEN);
    let window = Window::of(NOON, MAX_WINDOW);
    let plays: Vec<AtomicU64> = words(PEOPLE as usize);
    let discarded = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for person in 0..PEOPLE {
                    // Six in each of the buckets, which they find empty at the same time.
                    let hash = ((person % 4) << 62) | (person + 1);
                    let threshold = THREADS * EACH / (1 + person % 2);
                    for _ in 0..EACH {
                        let added = Listeners(&table).add(hash, window, 1, threshold, NOON);
                        plays[person as usize].fetch_add(added.is_play.into(), Relaxed);
                        discarded.fetch_add(added.is_discarded.into(), Relaxed);
                    }
                }
            });
        }
    });
    let plays: Vec<u64> = plays.iter().map(|plays| plays.load(Relaxed)).collect();
    assert_eq!(plays, [1; PEOPLE as usize]);
    assert_eq!(discarded.load(Relaxed), 0);
    assert_eq!(table.iter().filter(|word| word.load(Relaxed) != 0).count(), PEOPLE as usize);
}

/// However two threads meet when slots are claimed and named, each space has one, with its name.
#[test]
fn threads_claim_slots_at_once() {
    const TABLES: usize = 20_000;
    let names = ["first-of-the-two", "second"].map(id);
    let tables: Vec<[Vec<AtomicU64>; 3]> =
        (0..TABLES).map(|_| [words(2 * SPACE_LEN), words(16), words(2)]).collect();
    let spaces = |table: usize| {
        let [slots, names, counts] = &tables[table];
        Spaces { slots, names, bases: &[], names_len: &counts[0], count: &counts[1] }
    };
    // Both names begin at the same slot, in half of the tables at the other one.
    let slot = |table: usize, name: usize, may_claim| {
        spaces(table).slot((name as u64 + 1) | ((table as u64) << 63), names[name], may_claim)
    };
    let arrived = AtomicU64::new(0);
    thread::scope(|scope| {
        for thread in 0..2 {
            let (arrived, slot) = (&arrived, &slot);
            scope.spawn(move || {
                for table in 0..TABLES {
                    // Both begin at the same time: with the same name, or each with another.
                    let name = if table % 3 == 0 { 0 } else { thread };
                    arrived.fetch_add(1, SeqCst);
                    let mut spins = 0;
                    while arrived.load(SeqCst) < 2 * (table as u64 + 1) {
                        spins += 1;
                        // The other one may wait for this processor.
                        if spins % 1000 == 0 { thread::yield_now() } else { spin_loop() }
                    }
                    slot(table, name, true).expect("a slot").count(1, false, false);
                }
            });
        }
    });
    for table in 0..TABLES {
        let expected: &[(usize, u64)] = if table % 3 == 0 { &[(0, 2)] } else { &[(0, 1), (1, 1)] };
        let in_use = spaces(table).all().filter(|space| !space.is_vacant()).count();
        assert_eq!(in_use, expected.len(), "table {table}");
        for &(name, requests) in expected {
            let space = slot(table, name, false).expect("a space");
            let mut buffer = [0; MAX_NAME_LEN];
            assert_eq!(space.id(&mut buffer), Some(names[name]), "table {table}");
            assert_eq!(space.requests(), requests, "table {table}: {name}");
        }
    }
}

#[test]
fn spaces_without_room_are_counted_together() {
    let (words, layout) = memory(80_000, 50);
    let zone = zone(&words, layout);
    let rule = Rule::default();
    let (mut plays, mut bytes) = (0, 0);
    for n in 0..200 {
        let name = format!("a-space-with-a-name-of-some-length-{n}");
        let sent = Sent { space: id(&name), bytes: HOUR.bytes + n, ..*HOUR };
        plays += u64::from(count_by(&zone, &sent, "me", &rule, NOON));
        bytes += sent.bytes;
    }
    assert_eq!(plays, 200);
    let (mut own_plays, mut own_bytes, mut own, mut names) = (0, 0, 0, HashSet::new());
    for space in zone.spaces() {
        own += 1;
        own_plays += space.plays();
        own_bytes += space.bytes();
        let mut buffer = [0; MAX_NAME_LEN];
        if let Some(name) = space.id(&mut buffer) {
            let again = zone.space(name).expect("found by its name");
            assert_eq!(again.bytes(), space.bytes());
            names.insert(name.to_string());
        }
    }
    assert_eq!((own, zone.spaces_in_use()), (50, 50), "all slots are used");
    // 50 slots have 200 words for names, and these take 5 each.
    assert_eq!(names.len(), 40);
    assert_eq!(own_plays + zone.total(Count::OtherPlays), 200);
    assert_eq!(own_bytes + zone.total(Count::OtherBytes), bytes);
    assert_eq!(zone.total(Count::SpacesDiscarded), 150);
    assert_eq!(zone.total(Count::Plays), 200);
}

/// A process that was killed has claimed a slot and not written the name.
#[test]
fn a_name_that_is_missing_is_written() {
    let (words, layout) = memory(8, 4);
    let zone = zone(&words, layout);
    count(&zone, &HOUR, "me", NOON);
    let slots = FIXED_LEN + BUCKET_LEN;
    let slot = (0..4).map(|n| slots + n * 8).find(|&at| words[at].load(Relaxed) != 0).unwrap();
    words[slot + 1].store(0, Relaxed);
    let mut buffer = [0; MAX_NAME_LEN];
    assert!(zone.spaces().next().unwrap().id(&mut buffer).is_none());
    assert_eq!(zone.space(HOUR.space).unwrap().requests(), 1, "found without it");
    count(&zone, &HOUR, "me", NOON);
    assert_eq!(zone.spaces().next().unwrap().id(&mut buffer), Some(HOUR.space));
    assert_eq!((zone.spaces().count(), zone.space(HOUR.space).unwrap().requests()), (1, 2));
}

#[test]
fn names_of_every_length() {
    let (words, layout) = memory(8000, 2000);
    let zone = zone(&words, layout);
    let names: Vec<String> = (1..=MAX_NAME_LEN).map(|len| "x".repeat(len)).collect();
    for name in &names {
        count(&zone, &Sent { space: id(name), ..*HOUR }, "me", NOON);
    }
    for name in &names {
        let mut buffer = [b'y'; MAX_NAME_LEN];
        let space = zone.space(id(name)).expect("counted");
        assert_eq!((space.id(&mut buffer), space.requests()), (Some(id(name)), 1));
    }
    assert_eq!(zone.spaces().count(), MAX_NAME_LEN);
}

/* Reports */

const OUTCOMES: [&str; 3] = ["none", "found", "not_found"];

fn reported(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn reports() {
    let (words, layout) = memory(80, 10);
    let zone = zone(&words, layout);
    count(&zone, &HOUR, "me", NOON);
    count(&zone, &Sent { is_attachment: true, bytes: 1_000_000, ..*HOUR }, "me", NOON);
    (0..7).for_each(|_| zone.count_request(65, 1));
    zone.count_request(2, 2);
    zone.count_link_refused(4, 1);
    for time in [0, 5, 6, 20, 99, 10_000, 10_001, 3_600_000] {
        zone.count_lookup(3, time);
    }
    let catalogs = ["/srv/a \"b\"\\\n\u{1}.json"];
    let health = |last_success| CatalogHealth { entries: 5, unusable: 2, last_success };
    zone.set_catalog(0, 0, health(NOON + 1), true);
    zone.set_catalog(0, 1, CatalogHealth { entries: 9, ..health(NOON) }, false);
    let report = Report {
        name: "plays",
        zone: &zone,
        outcomes: &OUTCOMES,
        reasons: &["missing", "bad"],
        catalogs: &catalogs,
        processes: 2,
    };
    let prometheus = report.prometheus().unwrap();
    assert_eq!(
        prometheus,
        "# HELP xspace_requests_total Requests in locations with xspace_stats, by outcome.
# TYPE xspace_requests_total counter
xspace_requests_total{outcome=\"none\"} 0
xspace_requests_total{outcome=\"found\"} 7
xspace_requests_total{outcome=\"not_found\"} 1
# HELP xspace_sent_bytes_total Bytes of recordings sent to clients.
# TYPE xspace_sent_bytes_total counter
xspace_sent_bytes_total 2920000
# HELP xspace_plays_total Plays of recordings.
# TYPE xspace_plays_total counter
xspace_plays_total 1
# HELP xspace_downloads_total Downloads of recordings.
# TYPE xspace_downloads_total counter
xspace_downloads_total 1
# HELP xspace_listeners_discarded_total Listeners that were forgotten or not remembered, because \
         the zone is full.
# TYPE xspace_listeners_discarded_total counter
xspace_listeners_discarded_total 0
# HELP xspace_spaces_discarded_total Requests for spaces that the zone has no room for.
# TYPE xspace_spaces_discarded_total counter
xspace_spaces_discarded_total 0
# HELP xspace_link_refused_total Requests whose link was refused, by reason.
# TYPE xspace_link_refused_total counter
xspace_link_refused_total{reason=\"missing\"} 0
xspace_link_refused_total{reason=\"bad\"} 1
# HELP xspace_lookup_duration_seconds How long lookups took.
# TYPE xspace_lookup_duration_seconds histogram
xspace_lookup_duration_seconds_bucket{le=\"0.005\"} 2
xspace_lookup_duration_seconds_bucket{le=\"0.02\"} 4
xspace_lookup_duration_seconds_bucket{le=\"0.1\"} 5
xspace_lookup_duration_seconds_bucket{le=\"0.5\"} 5
xspace_lookup_duration_seconds_bucket{le=\"2\"} 5
xspace_lookup_duration_seconds_bucket{le=\"10\"} 6
xspace_lookup_duration_seconds_bucket{le=\"+Inf\"} 8
xspace_lookup_duration_seconds_sum 3620.131
xspace_lookup_duration_seconds_count 8
# HELP xspace_listeners_limit How many listeners the zone has room for.
# TYPE xspace_listeners_limit gauge
xspace_listeners_limit 80
# HELP xspace_spaces Spaces in the zone.
# TYPE xspace_spaces gauge
xspace_spaces 1
# HELP xspace_spaces_limit How many spaces the zone has room for.
# TYPE xspace_spaces_limit gauge
xspace_spaces_limit 10
# HELP xspace_created_timestamp_seconds When counting has begun.
# TYPE xspace_created_timestamp_seconds gauge
xspace_created_timestamp_seconds 1702123200
# HELP xspace_catalog_entries Entries of a catalog that can be used.
# TYPE xspace_catalog_entries gauge
xspace_catalog_entries{catalog=\"/srv/a \\\"b\\\"\\\\\\n\u{1}.json\"} 5
# HELP xspace_catalog_unusable_entries Entries of a catalog that cannot be used.
# TYPE xspace_catalog_unusable_entries gauge
xspace_catalog_unusable_entries{catalog=\"/srv/a \\\"b\\\"\\\\\\n\u{1}.json\"} 2
# HELP xspace_catalog_last_success_timestamp_seconds When a catalog was read or found \
         unchanged last, by the worker where that is longest ago.
# TYPE xspace_catalog_last_success_timestamp_seconds gauge
xspace_catalog_last_success_timestamp_seconds{catalog=\"/srv/a \\\"b\\\"\\\\\\n\u{1}.json\"} 1702123200
"
    );

    let json = reported(&report.json(Some(HOUR.space), None).unwrap());
    assert_eq!(json["zone"], "plays");
    assert_eq!(json["requests"]["found"], 7);
    assert_eq!(json["requests"]["none"], 0);
    assert_eq!((&json["plays"], &json["downloads"]), (&1.into(), &1.into()));
    assert_eq!(json["sent_bytes"], 2_920_000);
    assert_eq!(json["catalog_entries"][catalogs[0]], 5);
    assert_eq!((&json["link_refused"]["bad"], &json["since"]), (&1.into(), &NOON.into()));
    assert_eq!(json["space"]["id"], "space");
    let counts = r#"{"requests": 2, "plays": 1, "downloads": 1, "sent_bytes": 2920000}"#;
    assert_eq!(json["space"]["counts"], reported(counts));
    let none = r#"{"requests": 0, "plays": 0, "downloads": 0, "sent_bytes": 0}"#;
    assert_eq!(json["other"], reported(none));
    let lookups = &json["lookup_duration_seconds"];
    assert_eq!((&lookups["count"], &lookups["sum"]), (&8.into(), &3620.131.into()));
    assert_eq!((&lookups["buckets"]["0.1"], &lookups["buckets"]["+Inf"]), (&5.into(), &8.into()));
    // Every metric is in both.
    for line in prometheus.lines().filter_map(|line| line.strip_prefix("# TYPE xspace_")) {
        let key = line.split(' ').next().unwrap();
        assert!(!json[key.trim_end_matches("_total")].is_null(), "{key}");
    }

    let report = Report { catalogs: &[], reasons: &[], ..report };
    let prometheus = report.prometheus().unwrap();
    assert!(!prometheus.contains("catalog") && !prometheus.contains("link"), "without values");
    let unknown = reported(&report.json(Some(id("unknown")), None).unwrap());
    assert_eq!(unknown["space"]["counts"], reported(none));
    assert!(reported(&report.json(None, None).unwrap()).get("space").is_none());
}

#[test]
fn health_of_catalogs() {
    let (words, layout) = memory(8, 2);
    let zone = zone(&words, layout);
    let health =
        |entries, unusable, last_success| CatalogHealth { entries, unusable, last_success };
    assert_eq!(zone.catalog(0, 4), Some(CatalogHealth::default()), "nobody has read it");
    for process in 0..4 {
        zone.set_catalog(3, process, health(10 + process as u32, 1, NOON + process as u64), true);
    }
    assert_eq!(zone.catalog(3, 4), Some(health(13, 1, NOON)), "the newest, the oldest");
    zone.set_catalog(3, 0, health(0, 0, NOON + 9), false);
    assert_eq!(zone.catalog(3, 4), Some(health(13, 1, NOON + 1)), "found unchanged");
    assert_eq!(zone.catalog(3, 1), Some(health(13, 1, NOON + 9)), "of fewer processes");
    assert_eq!(zone.catalog(3, 5).unwrap().last_success, 0, "one has never read it");
    zone.set_catalog(CATALOGS - 1, 64, health(u32::MAX, u32::MAX, 7), true);
    assert_eq!(zone.catalog(CATALOGS - 1, 1), Some(health(u32::MAX, u32::MAX, 7)));
    zone.set_catalog(CATALOGS, 0, health(1, 1, 1), true);
    zone.set_catalog(usize::MAX, 0, health(1, 1, 1), true);
    assert_eq!(zone.catalog(CATALOGS, 1), None, "there is no room for it");
}

/// As if all were sorted, however large the steps are.
#[test]
fn the_most_plays() {
    let (words, layout) = memory(40_000, 3000);
    let zone = zone(&words, layout);
    let random = Random::new(5);
    let mut all = Vec::new();
    for n in 0..1500 {
        let (plays, name) = (random.below(40) / 3, format!("s{n}"));
        let part = Sent { space: id(&name), bytes: 1 + random.below(3), ..*HOUR };
        count(&zone, &part, "nobody", NOON);
        (0..plays).for_each(|who| {
            count(&zone, &Sent { space: id(&name), ..*HOUR }, &who.to_string(), NOON);
        });
        let bytes = part.bytes + plays * HOUR.bytes;
        all.push((plays, bytes, name));
    }
    all.sort_by_key(|(plays, bytes, _)| (*plays, *bytes));
    all.reverse();
    for (limit, steps) in [(0, 100), (1, 1), (10, 7), (999, 3000), (MAX_TOP + 9, usize::MAX)] {
        let mut top = Top::new(limit).unwrap();
        let mut count = 0;
        while !top.step(&zone, steps) {
            count += 1;
        }
        assert_eq!(count, (3000_usize.div_ceil(steps)).saturating_sub(1), "{limit}");
        let slots = top.into_slots().unwrap();
        assert_eq!(slots.len(), limit.min(MAX_TOP), "{limit}");
        for (slot, (plays, bytes, _)) in slots.iter().zip(&all) {
            let space = zone.slot(*slot).unwrap();
            assert_eq!((space.plays(), space.bytes()), (*plays, *bytes), "{limit}");
        }
        let (outcomes, reasons, catalogs) = (&OUTCOMES, &[], &[]);
        let report = Report { name: "z", zone: &zone, outcomes, reasons, catalogs, processes: 1 };
        let json = reported(&report.json(None, Some(&slots)).unwrap());
        let listed = json["top"].as_array().unwrap();
        assert_eq!(listed.len(), slots.len());
        for (space, (plays, bytes, _)) in listed.iter().zip(&all) {
            let counted = zone.space(id(space["id"].as_str().unwrap())).unwrap();
            assert_eq!((counted.plays(), counted.bytes()), (*plays, *bytes));
            assert_eq!(space["counts"]["plays"], *plays);
        }
    }
    assert!(zone.slot(3000).is_none() && zone.slot(usize::MAX).is_none());
}

/// Reads a state file in pieces of a random size and writes the next version, or only reads it. Ends
/// after so many pieces, as a process that is killed does.
fn pass(
    zone: &Zone<'_>,
    file: Option<&[u8]>,
    alive: &[u64],
    random: &Random,
    pieces: usize,
) -> Result<Option<Vec<u8>>, StateError> {
    let (mut pass, mut next) = (StatePass::new(zone), Text::default());
    let mut left = pieces;
    if let Some(mut rest) = file {
        while !rest.is_empty() {
            if left == 0 {
                return Ok(None);
            }
            left -= 1;
            let (piece, others) = rest.split_at((1 + random.below(300) as usize).min(rest.len()));
            pass.read(piece, Some(&mut next), |id| alive.contains(&id))?;
            rest = others;
        }
        pass.end()?;
    }
    while left > 0 {
        left -= 1;
        if pass.append(1 + random.below(9) as usize, &mut next)? {
            return Ok(Some(next.as_bytes().to_vec()));
        }
    }
    Ok(None)
}

fn load(zone: &Zone<'_>, file: &[u8]) -> Result<u64, StateError> {
    let mut pass = StatePass::new(zone);
    pass.read(file, None, |_| true)?;
    pass.end().map(|()| pass.without_slot())
}

fn state_memory(spaces: usize) -> (Vec<AtomicU64>, Layout) {
    let len = FIXED_LEN + BUCKET_LEN + spaces * 16;
    (words(len), Layout::with_state(len, Some(1)).unwrap())
}

/// How many bytes were counted for each space.
type Counted = HashMap<u64, u64>;

/// Zones come and go, die in the middle of a pass, and count for one file. The file always has for
/// each of them what it had counted at its last pass, and a zone shows that, and its own counts.
#[test]
fn state_files_have_each_count_once() {
    const SPACES: u64 = 12;
    for seed in 0..60 {
        let random = Random::new(seed);
        let memories: Vec<_> =
            (0..30).map(|n| state_memory(if n % 5 == 4 { 6 } else { 40 })).collect();
        let mut unused = memories.iter();
        // The zones that are alive, what each has counted, and what of it was in its last pass.
        let mut alive: Vec<(Zone<'_>, Counted, Counted)> = Vec::new();
        let mut gone: HashMap<u64, u64> = HashMap::new();
        let mut file: Option<Vec<u8>> = None;
        for _ in 0..400 {
            let at = random.below(alive.len().max(1) as u64) as usize;
            match random.below(20) {
                0 if alive.len() < 3 => {
                    let Some((words, layout)) = unused.next() else { break };
                    let zone = Zone::create(words, *layout, 5, || random.next()).unwrap();
                    if let Some(file) = &file {
                        load(&zone, file).unwrap();
                    }
                    alive.push((zone, HashMap::new(), HashMap::new()));
                }
                1 if alive.len() > 1 => {
                    let (.., written) = alive.swap_remove(at);
                    written.into_iter().for_each(|(space, n)| *gone.entry(space).or_default() += n);
                }
                2..=5 if !alive.is_empty() => {
                    let ids: Vec<u64> = alive.iter().map(|(zone, ..)| zone.id()).collect();
                    let (zone, counted, written) = &mut alive[at];
                    let pieces =
                        if random.below(3) == 0 { random.below(9) as usize } else { 10_000 };
                    let next = pass(zone, file.as_deref(), &ids, &random, pieces).unwrap();
                    if let Some(next) = next {
                        file = Some(next);
                        *written = counted.clone();
                    }
                }
                _ if !alive.is_empty() => {
                    let (zone, counted, _) = &mut alive[at];
                    let (space, bytes) = (random.below(SPACES), 1 + random.below(1000));
                    let name = format!("space-{space}");
                    let sent = Sent { space: id(&name), bytes, ..*HOUR };
                    count(zone, &sent, "x", NOON);
                    *counted.entry(space).or_default() += bytes;
                }
                _ => {}
            }
            let Some(file) = &file else { continue };
            // A zone with room for all of them, which only reads.
            let (words, layout) = state_memory(40);
            let reader = Zone::create(&words, layout, 5, || 5).unwrap();
            assert_eq!(load(&reader, file), Ok(0), "{seed}");
            let mut total = 0;
            for space in 0..SPACES {
                let written = alive.iter().map(|(.., written)| written.get(&space).unwrap_or(&0));
                let expected = gone.get(&space).unwrap_or(&0) + written.sum::<u64>();
                let found = reader.space(id(&format!("space-{space}")));
                // One without a slot in the zone that has counted it is in the totals only.
                let found = found.map_or(0, |space| space.bytes());
                assert!(found <= expected, "{seed}: {found}, {expected}");
                total += expected;
            }
            assert_eq!(reader.sum(Count::Bytes), total, "{seed}");
            assert_eq!(reader.total(Count::Bytes), 0);
        }
    }
}

/// As above, with room for all spaces: each of them is exact, and shown as it is.
#[test]
fn state_of_each_space() {
    let random = Random::new(1);
    let memories: Vec<_> = (0..3).map(|_| state_memory(40)).collect();
    let zones: Vec<_> = memories
        .iter()
        .map(|(words, layout)| Zone::create(words, *layout, 1000, || random.next()).unwrap())
        .collect();
    let names: Vec<String> = (0..20).map(|n| format!("space-{n}")).collect();
    let send = |zone: &Zone<'_>, name: &str, bytes| {
        count(zone, &Sent { space: id(name), bytes, ..*HOUR }, "x", NOON);
    };
    let bytes = |zone: &Zone<'_>, name: &str| zone.space(id(name)).map_or(0, |space| space.bytes());
    names.iter().for_each(|name| send(&zones[0], name, 7));
    let first = pass(&zones[0], None, &[], &random, 1000).unwrap().unwrap();
    assert!(first.starts_with(b"xspace-counts: 1\nsince: 1000\npast: 0 "));
    load(&zones[1], &first).unwrap();
    assert_eq!((zones[1].since(), zones[1].spaces_in_use()), (1000, 20));
    // Both go on, and the first ends.
    send(&zones[0], &names[0], 100);
    send(&zones[1], &names[0], 1000);
    send(&zones[1], &names[1], 1000);
    assert_eq!((bytes(&zones[1], &names[0]), bytes(&zones[1], &names[2])), (1007, 7));
    let both = [zones[0].id(), zones[1].id()];
    let second = pass(&zones[1], Some(&first), &both, &random, 1000).unwrap().unwrap();
    let third = pass(&zones[0], Some(&second), &both, &random, 1000).unwrap().unwrap();
    assert_eq!(bytes(&zones[0], &names[0]), 1107, "the other one's, too");
    assert_eq!(third.iter().filter(|&&b| b == b'\n').count(), 20 + 6);
    let fourth = pass(&zones[1], Some(&third), &both[1..], &random, 1000).unwrap().unwrap();
    assert_eq!(fourth.iter().filter(|&&b| b == b'\n').count(), 20 + 5, "one column less");
    let again = pass(&zones[1], Some(&fourth), &both[1..], &random, 1000).unwrap().unwrap();
    assert_eq!(again, fourth, "nothing is added twice");
    load(&zones[2], &again).unwrap();
    for zone in &zones[1..] {
        assert_eq!((bytes(zone, &names[0]), bytes(zone, &names[1])), (1107, 1007));
        assert_eq!(zone.sum(Count::Bytes), 20 * 7 + 2100);
        assert_eq!(zone.space(id(&names[0])).unwrap().requests(), 3);
    }
    // A file that was deleted is written again, with all that is known.
    let anew = pass(&zones[1], None, &[], &random, 1000).unwrap().unwrap();
    assert_eq!(anew.len(), again.len());
    let text = String::from_utf8(again).unwrap();
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&String::from_utf8(anew).unwrap()), sorted(&text));
}

/// Spaces that a smaller zone has no room for stay in the file.
#[test]
fn a_smaller_zone_keeps_the_state_of_all_spaces() {
    let random = Random::new(2);
    let [(large, layout), (small, less), (other, _)] = [40, 6, 40].map(state_memory);
    let zone = Zone::create(&large, layout, 5, || random.next()).unwrap();
    let names: Vec<String> = (0..30).map(|n| format!("space-{n}")).collect();
    names.iter().for_each(|name| {
        count(&zone, &Sent { space: id(name), bytes: 7, ..*HOUR }, "x", NOON);
    });
    let file = pass(&zone, None, &[], &random, 1000).unwrap().unwrap();
    let smaller = Zone::create(&small, less, 5, || random.next()).unwrap();
    assert_eq!(load(&smaller, &file), Ok(24));
    assert_eq!(smaller.sum(Count::Bytes), 210);
    let file = pass(&smaller, Some(&file), &[], &random, 1000).unwrap().unwrap();
    let larger = Zone::create(&other, layout, 5, || random.next()).unwrap();
    assert_eq!(load(&larger, &file), Ok(0));
    assert!(names.iter().all(|name| larger.space(id(name)).unwrap().bytes() == 7));
}

#[test]
fn damaged_state_files() {
    let random = Random::new(3);
    let (memory, layout) = state_memory(8);
    let zone = Zone::create(&memory, layout, 5, || random.next()).unwrap();
    for name in ["a", "b", "a-longer-one"] {
        count(&zone, &Sent { space: id(name), ..*HOUR }, "x", NOON);
    }
    let file = pass(&zone, None, &[], &random, 1000).unwrap().unwrap();
    let check = |file: &[u8]| {
        let (words, layout) = state_memory(8);
        load(&Zone::create(&words, layout, 5, || 9).unwrap(), file)
    };
    assert_eq!(check(&file), Ok(0));
    for end in 0..file.len() {
        assert!(check(&file[..end]).is_err(), "cut off at {end}");
    }
    // Whatever changes: the file is refused, or has other numbers or another name.
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut damaged = file.clone();
            damaged[at] ^= 1 << bit;
            if check(&damaged).is_ok() {
                let is_fine =
                    damaged[at].is_ascii_alphanumeric() || matches!(damaged[at], b'-' | b'_');
                assert!(is_fine, "{at}, bit {bit}: {}", damaged[at]);
            }
        }
    }
    let text = String::from_utf8(file).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let [name, since, past, zone, a, ..] = lines[..] else { panic!("{text}") };
    let end = |n: u64| format!("end: {n}\n");
    let id_line = a.split(' ').next().unwrap();
    let header = format!("{name}{since}{past}{zone}");
    for (file, expected) in [
        (String::new(), StateError::Invalid("unexpected end of file", 1)),
        ("{}\n".into(), StateError::Invalid("not a state file: unknown format", 1)),
        ("xspace-counts: 2\n".into(), StateError::Version),
        (format!("{name}since: x\n"), StateError::Invalid("invalid time", 2)),
        (format!("{name}{since}past: 1 2\n"), StateError::Invalid("invalid totals", 3)),
        (format!("{name}{since}{past}zone: g{past}"), StateError::Invalid("invalid zone", 4)),
        (format!("{header}{zone}"), StateError::Invalid("duplicate zone", 5)),
        (format!("{header}{a}{a}"), StateError::Invalid("duplicate space", 6)),
        (format!("{header}{id_line} 1 2 3\n"), StateError::Invalid("invalid counts", 5)),
        (format!("{header}{} 1\n", a.trim_end()), StateError::Invalid("invalid counts", 5)),
        (format!("{header}a.b 1 2 3 4\n"), StateError::Invalid("invalid space", 5)),
        (format!("{header}{a}{}", end(2)), StateError::Invalid("wrong number of spaces", 6)),
        (format!("{text}x\n"), StateError::Invalid("a line after the end", 9)),
        (format!("{text}x"), StateError::Invalid("unexpected end of file", 9)),
        (format!("{header}{}", "9".repeat(20_000)), StateError::Invalid("too long a line", 5)),
    ] {
        assert_eq!(check(file.as_bytes()), Err(expected), "{file:.300}");
    }
    let zone_line = |n| format!("zone: {n:x}{}", past.strip_prefix("past:").unwrap());
    let many = (0..33).map(zone_line).collect::<Vec<_>>().concat();
    let too_many = StateError::Invalid("too many zones", 36);
    assert_eq!(check(format!("{name}{since}{past}{many}").as_bytes()), Err(too_many));
    // Sums stay what they can be.
    let most = u64::MAX;
    let saturated = format!("{header}a {most} 1 1 {most} 5 5 5 5\n{}", end(1));
    assert_eq!(check(saturated.as_bytes()), Ok(0));
}

/// Whatever the bytes, nothing panics.
#[test]
fn state_files_of_random_lines() {
    let random = Random::new(4);
    let (memory, layout) = state_memory(8);
    let zone = Zone::create(&memory, layout, 5, || random.next()).unwrap();
    count(&zone, &HOUR, "x", NOON);
    let file = pass(&zone, None, &[], &random, 1000).unwrap().unwrap();
    let (words, layout) = state_memory(8);
    let reader = Zone::create(&words, layout, 5, || 7).unwrap();
    for _ in 0..20_000 {
        let mut damaged = file.clone();
        for _ in 0..1 + random.below(4) {
            let at = random.below(damaged.len() as u64) as usize;
            match random.below(4) {
                0 => damaged[at] = random.next() as u8,
                1 => damaged.truncate(at + 1),
                2 => damaged.insert(at, b" \n09az:-"[random.below(8) as usize]),
                _ => {
                    let end = at + random.below((damaged.len() - at) as u64) as usize;
                    let copy = damaged[at..end].to_vec();
                    damaged.splice(at..at, copy);
                }
            }
        }
        let _ = pass(&reader, Some(&damaged), &[zone.id()], &random, 1000);
    }
}
