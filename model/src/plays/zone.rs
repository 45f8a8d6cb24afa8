//! All that is counted, in memory that processes share.

use core::hash::{BuildHasher, Hasher};
use core::net::IpAddr;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use foldhash::fast::FixedState;

use super::gauges::{self, CatalogHealth, Gauges};
use super::layout::{BUCKET_LEN, HEADER_LEN, Layout, SPACE_LEN};
use super::listeners::{Added, Listeners};
use super::rule::Rule;
use super::sip::Sip;
use super::spaces::{Space, Spaces};
use super::totals::{self, Count, LOOKUP_BOUNDS, Totals};
use super::window::{MAX_WINDOW, Window};
use crate::request::SpaceId;

// The words of the header. What is written often is in another cache line than what is read by each
// request.
const MAGIC: usize = 0;
const BUCKETS: usize = 1;
const SPACES: usize = 2;
const NAMES: usize = 3;
const CREATED: usize = 4;
/// For the hashes of ids, of which nothing has to be kept secret.
const ID_SEED: usize = 5;
/// Tells the zone from others, in the state file.
const ZONE_ID: usize = 6;
const BASES: usize = 7;
/// The latest time that was seen.
const LATEST: usize = 8;
const SPACES_COUNT: usize = 16;
const NAMES_LEN: usize = 17;
/// When counting has begun, in seconds since 1970: the zone, or one before.
const SINCE: usize = 18;
/// How many passes through the state file have begun.
const PASSES: usize = 19;
/// Not 0: the master process has given the zone up.
const RETIRED: usize = 20;
/// Keys of the hashes of listeners: two days with two words each.
const KEYS: usize = 24;

/// Changes with what a zone consists of.
const MAGIC_VALUE: u64 = u64::from_le_bytes(*b"xspace\x02\0");

/// How many days have a key.
const KEY_DAYS: u64 = 2;
const KEY_LEN: usize = 2;

/// Tables in memory that processes share.
#[derive(Clone, Copy, Debug)]
pub struct Zone<'z> {
    header: &'z [AtomicU64],
    totals: Totals<'z>,
    /// The totals before the zone was made.
    base: Totals<'z>,
    gauges: Gauges<'z>,
    listeners: Listeners<'z>,
    spaces: Spaces<'z>,
    layout: Layout,
}

/// Who listens. Nothing of it is kept but a hash.
#[derive(Clone, Copy, Debug)]
pub enum Listener<'a> {
    /// The client's address, unless it has none, and its User-Agent. Of an IPv6 address the first
    /// half counts: that is all that a provider gives to one subscriber at the least.
    Client(Option<IpAddr>, &'a [u8]),
    /// A value of the configuration.
    Value(&'a [u8]),
}

/// What a request has sent of a recording.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// The space.
    pub space: SpaceId<'a>,
    /// How many bytes; above 0.
    pub bytes: u64,
    /// The size of the file, 0 if it is not known.
    pub size: u64,
    /// How long the recording is in milliseconds, 0 if it is not known.
    pub duration: u64,
    /// Whether it was sent as an attachment.
    pub is_attachment: bool,
    /// When the request has started, in seconds since 1970.
    pub started: u64,
}

impl<'z> Zone<'z> {
    /// Makes a zone of memory that is 0. `created` is in seconds since 1970; `random` is called for
    /// numbers that nobody can guess.
    pub fn create(
        words: &'z [AtomicU64],
        layout: Layout,
        created: u64,
        random: impl Fn() -> u64,
    ) -> Option<Self> {
        let header = words.get(..HEADER_LEN).filter(|_| layout.len() <= Some(words.len()))?;
        let set =
            |index: usize, value: u64| header.get(index).map(|word| word.store(value, Relaxed));
        set(BUCKETS, layout.buckets as u64)?;
        set(SPACES, layout.spaces as u64)?;
        set(NAMES, layout.names as u64)?;
        set(BASES, layout.bases as u64)?;
        set(CREATED, created)?;
        set(SINCE, created)?;
        // It is an offset in a file, behind the first byte.
        set(ZONE_ID, (random() >> 2).max(1))?;
        set(ID_SEED, random())?;
        header.get(MAGIC)?.store(MAGIC_VALUE, Release);
        Self::open(words)
    }

    /// A zone that was made before. `None` if the memory has none, or one of another version.
    pub fn open(words: &'z [AtomicU64]) -> Option<Self> {
        let (header, rest) = words.split_at_checked(HEADER_LEN)?;
        if header.get(MAGIC)?.load(Acquire) != MAGIC_VALUE {
            return None;
        }
        let get = |index: usize| usize::try_from(header.get(index)?.load(Relaxed)).ok();
        let (buckets, spaces) = (get(BUCKETS)?, get(SPACES)?);
        let layout = Layout { buckets, spaces, names: get(NAMES)?, bases: get(BASES)? };
        layout.len().filter(|&len| len <= words.len())?;
        let (totals, rest) = rest.split_at_checked(totals::LEN)?;
        let (base, rest) = rest.split_at_checked(totals::SLOT_LEN)?;
        let (gauges, rest) = rest.split_at_checked(gauges::LEN)?;
        let (listeners, rest) = rest.split_at_checked(layout.buckets * BUCKET_LEN)?;
        let (slots, rest) = rest.split_at_checked(layout.spaces * SPACE_LEN)?;
        let (names, rest) = rest.split_at_checked(layout.names)?;
        let bases = rest.get(..layout.bases)?;
        let (names_len, count) = (header.get(NAMES_LEN)?, header.get(SPACES_COUNT)?);
        let spaces = Spaces { slots, names, bases, names_len, count };
        let (totals, base, gauges) = (Totals(totals), Totals(base), Gauges(gauges));
        let listeners = Listeners(listeners);
        Some(Self { header, totals, base, gauges, listeners, spaces, layout })
    }

    /// Where the tables are.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// When the zone was made, in seconds since 1970.
    pub fn created(&self) -> u64 {
        self.word(CREATED)
    }

    /// How many spaces have a slot.
    pub fn spaces_in_use(&self) -> u64 {
        self.word(SPACES_COUNT)
    }

    /// When counting has begun, in seconds since 1970: the zone, or one before.
    pub fn since(&self) -> u64 {
        self.word(SINCE)
    }

    /// Tells the zone from others: 1 to 2⁶² - 1.
    pub fn id(&self) -> u64 {
        self.word(ZONE_ID)
    }

    /// Notes that the master process has given the zone up: its processes are the last.
    pub fn retire(&self) {
        self.set_word(RETIRED, 1);
    }

    /// Whether the master process has given the zone up.
    pub fn is_retired(&self) -> bool {
        self.word(RETIRED) != 0
    }

    /// The sum of a count over all processes.
    pub fn total(&self, count: Count) -> u64 {
        self.totals.sum(count)
    }

    /// The sum of a count since counting has begun.
    pub fn sum(&self, count: Count) -> u64 {
        self.total(count).saturating_add(self.base.sum(count))
    }

    /// Each total since the zone was made.
    pub(super) fn totals(&self) -> [u64; totals::SLOT_LEN] {
        self.totals.sums()
    }

    /// Each total before, and of other zones.
    pub(super) fn base(&self) -> [u64; totals::SLOT_LEN] {
        self.base.sums()
    }

    pub(super) fn set_base(&self, since: u64, base: [u64; totals::SLOT_LEN]) {
        self.base.0.iter().zip(base).for_each(|(word, total)| word.store(total, Relaxed));
        self.set_word(SINCE, since);
    }

    /// Begins a pass through the state file, and returns its number.
    pub(super) fn begin_pass(&self) -> u64 {
        self.header.get(PASSES).map_or(0, |word| word.fetch_add(1, Relaxed) + 1)
    }

    /// The slot of a space, claimed for it if there is room.
    pub(super) fn claim(&self, id: SpaceId<'_>) -> Option<Space<'z>> {
        self.spaces.slot(self.hash_of_id(id), id, true)
    }

    /// What was counted for a space.
    pub fn space(&self, id: SpaceId<'_>) -> Option<Space<'z>> {
        self.spaces.slot(self.hash_of_id(id), id, false)
    }

    /// The space in a slot, if there is one.
    pub fn slot(&self, index: usize) -> Option<Space<'z>> {
        self.spaces.at(index).filter(|space| !space.is_vacant())
    }

    /// All spaces, in no order.
    pub fn spaces(&self) -> impl Iterator<Item = Space<'z>> {
        self.spaces.all().filter(|space| !space.is_vacant())
    }

    /// Sets what a process knows of the catalog with this index, less than
    /// [`CATALOGS`](super::CATALOGS). `is_read`: it was read, not found to be unchanged.
    pub fn set_catalog(&self, index: usize, process: usize, health: CatalogHealth, is_read: bool) {
        self.gauges.set(index, process, health, is_read);
    }

    /// What is known of a catalog: entries of the newest reading, and the oldest success among so
    /// many processes.
    pub fn catalog(&self, index: usize, processes: usize) -> Option<CatalogHealth> {
        self.gauges.get(index, processes)
    }

    /// Counts a request with its outcome. `process` is the number of the worker process.
    pub fn count_request(&self, process: usize, outcome: u8) {
        self.totals.add(process, Count::Requests(outcome), 1);
    }

    /// Counts a request whose link was refused, with the number of the reason.
    pub fn count_link_refused(&self, process: usize, reason: u8) {
        self.totals.add(process, Count::LinkRefused(reason), 1);
    }

    /// Counts a lookup that took so long, in milliseconds.
    pub fn count_lookup(&self, process: usize, time: u64) {
        let bucket = LOOKUP_BOUNDS.iter().take_while(|(bound, _)| time > *bound).count();
        self.totals.add(process, Count::Lookups(bucket as u8), 1);
        self.totals.add(process, Count::LookupTime, time);
    }

    /// Counts what a request has sent when it ends, at the time `now`, and returns whether it has the
    /// play or download of its listener. Without a listener it has none.
    pub fn count_sent(
        &self,
        process: usize,
        sent: &Sent<'_>,
        listener: Option<Listener<'_>>,
        rule: &Rule,
        now: u64,
        random: impl Fn() -> u64,
    ) -> bool {
        let is_played =
            listener.is_some_and(|listener| self.judge(process, sent, listener, rule, now, random));
        let (is_play, is_download) =
            (is_played && !sent.is_attachment, is_played && sent.is_attachment);
        let add = |count, value: u64| {
            if value > 0 {
                self.totals.add(process, count, value);
            }
        };
        add(Count::Bytes, sent.bytes);
        add(Count::Plays, is_play.into());
        add(Count::Downloads, is_download.into());
        match self.spaces.slot(self.hash_of_id(sent.space), sent.space, true) {
            Some(space) => space.count(sent.bytes, is_play, is_download),
            None => {
                add(Count::SpacesDiscarded, 1);
                add(Count::OtherBytes, sent.bytes);
                add(Count::OtherPlays, is_play.into());
                add(Count::OtherDownloads, is_download.into());
            }
        }
        is_played
    }

    /// Adds what was sent to what the listener had before, and returns whether that crosses the
    /// threshold.
    fn judge(
        &self,
        process: usize,
        sent: &Sent<'_>,
        listener: Listener<'_>,
        rule: &Rule,
        now: u64,
        random: impl Fn() -> u64,
    ) -> bool {
        let (time, threshold) =
            (rule.time_of(sent.bytes, sent.size, sent.duration), u64::from(rule.time));
        let latest = self.see(now);
        let window = Window::of_request(sent.started, now, latest, rule.window);
        let now = now.max(latest);
        let added = match self.key(window.day(), now / u64::from(MAX_WINDOW), random) {
            Some(key) => {
                let hash = hash_of_listener(key, sent, listener, window);
                self.listeners.add(hash, window, time, threshold, now)
            }
            // It has started too long ago.
            None => Added { is_play: time >= threshold, is_discarded: true },
        };
        if added.is_discarded {
            self.totals.add(process, Count::ListenersDiscarded, 1);
        }
        added.is_play
    }

    /// Notes the time, and returns the latest that was noted before. A clock that was wrong by more
    /// than a day is believed when it is right again.
    fn see(&self, now: u64) -> u64 {
        let Some(word) = self.header.get(LATEST) else { return now };
        let latest = word.load(Relaxed);
        if now > latest || latest - now > MAX_WINDOW.into() {
            // If another process is faster, its time is as good.
            let _ = word.compare_exchange(latest, now, Relaxed, Relaxed);
        }
        if latest.saturating_sub(now) > MAX_WINDOW.into() { now } else { latest }
    }

    /// The key of a day, which is random and forgotten two days later. `None` if the day is before
    /// yesterday: its key is forgotten.
    ///
    /// Each word has the day in its lower 16 bits and is replaced by one compare-and-swap, so it is
    /// that of one process, and the same for all.
    fn key(&self, day: u64, today: u64, random: impl Fn() -> u64) -> Option<[u64; KEY_LEN]> {
        let is_past = day < today;
        if is_past && day + 1 < today {
            return None;
        }
        let first = KEYS + (day % KEY_DAYS) as usize * KEY_LEN;
        let mut key = [0; KEY_LEN];
        for (part, word) in key.iter_mut().zip(self.header.get(first..first + KEY_LEN)?) {
            let known = word.load(Relaxed);
            *part = if is_of_day(known, day) {
                known
            } else if is_past && is_of_day(known, day + KEY_DAYS) {
                // The clock of another process has passed midnight already.
                return None;
            } else {
                let new = (random() << 16) | u64::from(day as u16);
                match word.compare_exchange(known, new, Relaxed, Relaxed) {
                    Ok(_) => new,
                    Err(other) if is_of_day(other, day) => other,
                    Err(_) => return None,
                }
            };
        }
        Some(key)
    }

    fn hash_of_id(&self, id: SpaceId<'_>) -> u64 {
        hash_of(id.as_bytes(), self.word(ID_SEED))
    }

    fn set_word(&self, index: usize, value: u64) {
        if let Some(word) = self.header.get(index) {
            word.store(value, Relaxed);
        }
    }

    fn word(&self, index: usize) -> u64 {
        self.header.get(index).map_or(0, |word| word.load(Relaxed))
    }
}

fn is_of_day(word: u64, day: u64) -> bool {
    word != 0 && word as u16 == day as u16
}

/// A fast hash, for what need not be secret.
fn hash_of(bytes: &[u8], seed: u64) -> u64 {
    let mut hasher = FixedState::with_seed(seed).build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

/// Who has heard what, in a window.
fn hash_of_listener(
    key: [u64; KEY_LEN],
    sent: &Sent<'_>,
    listener: Listener<'_>,
    window: Window,
) -> u64 {
    let (kind, address) = match listener {
        Listener::Value(_) => (0, 0),
        Listener::Client(address, _) => match address.map(|address| address.to_canonical()) {
            None => (1, 0),
            Some(IpAddr::V4(address)) => (2, u64::from(address.to_bits())),
            Some(IpAddr::V6(address)) => (3, (address.to_bits() >> 64) as u64),
        },
    };
    let (mut hash, [seed, _]) = (Sip::new(key), key);
    // A length has 17 bits, and the time 44 until it is the year 500,000.
    let length = u64::from(window.length()) << 3;
    hash.word((window.start() << 20) | length | (kind << 1) | u64::from(sent.is_attachment));
    hash.text(sent.space.as_bytes());
    hash.word(address);
    match listener {
        Listener::Value(value) => hash.text(value),
        // A name of a browser has a hundred bytes, for which SipHash alone takes 300 instructions. Two
        // names with the same hash could only be taken for one client of one address.
        Listener::Client(_, agent) => hash.word(hash_of(agent, seed)),
    }
    hash.finish()
}
