//! Who has heard how much of what, in the windows that are not over.
//!
//! A listener is one word:
//!
//! | bits | what |
//! |---|---|
//! | 24 | milliseconds so far; all ones: there was a play |
//! | 13 | the end of the window, in units of 512 s, modulo 2¹³ |
//! | 27 | the rest of its hash, of which the beginning is the number of the bucket |
//!
//! So every change is one compare-and-swap of all that is known of a listener: two requests that end
//! at once can't both have the play, time can't be added to another listener that has taken the place
//! meanwhile, and a process that is killed leaves either the old word or the new one. A `fetch_add`
//! could do neither.
//!
//! Hashes of one listener in two windows have nothing in common. The end of a window is there only to
//! tell which words are of no use any more: it comes again after 48 days.

use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

use super::layout::BUCKET_LEN;
use super::window::{MAX_WINDOW, Window};

const TIME_BITS: u32 = 24;
const END_BITS: u32 = 13;

/// The time of a listener who had a play.
const PLAYED: u64 = (1 << TIME_BITS) - 1;
const END_MASK: u64 = (1 << END_BITS) - 1;

/// A unit of ends, in seconds.
const UNIT: u64 = 512;

/// How far ahead the end of a window can be, in units: a day, and another one if the clock is set
/// back.
const MAX_REMAINING: u64 = 2 * MAX_WINDOW as u64 / UNIT + 2;

/// How often a word is tried that others change at the same time. Each attempt fails because another
/// one has succeeded, so this is never reached in practice; it bounds the time of a request.
const ATTEMPTS: usize = 1000;

/// What has come of adding to a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Added {
    /// Whether this has crossed the threshold.
    pub(super) is_play: bool,
    /// Whether a listener was forgotten, or this one not remembered.
    pub(super) is_discarded: bool,
}

/// The table of listeners.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listeners<'z>(pub(super) &'z [AtomicU64]);

/// A listener's word, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word(u64);

impl Word {
    fn new(hash: u64, end: u64, time: u64) -> Self {
        Self((hash << (TIME_BITS + END_BITS)) | (end << TIME_BITS) | time)
    }

    fn time(self) -> u64 {
        self.0 & PLAYED
    }

    fn is_vacant(self) -> bool {
        self.0 == 0
    }

    /// Whether both are the same listener in the same window.
    fn is_same(self, other: Self) -> bool {
        (self.0 ^ other.0) >> TIME_BITS == 0
    }

    /// How long ago the window has ended, in units; `None` if it has not.
    fn age(self, now: u64) -> Option<u64> {
        let end = (self.0 >> TIME_BITS) & END_MASK;
        let is_open = (1..=MAX_REMAINING).contains(&(end.wrapping_sub(now) & END_MASK));
        (!is_open).then_some(now.wrapping_sub(end) & END_MASK)
    }

    /// How willingly the word is given up, the largest number most; `None` if it must stay. Vacant
    /// words first, then those of windows that are over, the oldest first, and then of those whose
    /// listener had no play yet the one with the least time.
    fn rank(self, now: u64) -> Option<u64> {
        let left = PLAYED - self.time();
        if self.is_vacant() {
            return Some(u64::MAX);
        }
        match self.age(now) {
            Some(age) => Some(((age + 1) << TIME_BITS) | left),
            None => (left > 0).then_some(left),
        }
    }
}

impl Listeners<'_> {
    /// Adds time to a listener. `time` is not 0; `threshold` is no more than
    /// [`MAX_TIME`](super::MAX_TIME). `now` is in seconds.
    pub(super) fn add(
        self,
        hash: u64,
        window: Window,
        time: u64,
        threshold: u64,
        now: u64,
    ) -> Added {
        let by_itself = Added { is_play: time >= threshold, is_discarded: true };
        let (Some(bucket), now) = (self.bucket(hash), now / UNIT) else { return by_itself };
        let end = window.end().div_ceil(UNIT) & END_MASK;
        let reached = |time: u64| if time >= threshold { PLAYED } else { time };
        let new = Word::new(hash, end, reached(time));
        for _ in 0..ATTEMPTS {
            let mut victim: Option<(u64, &AtomicU64, Word)> = None;
            let mut own = None;
            for word in bucket {
                let value = Word(word.load(Relaxed));
                if value.is_same(new) {
                    own = Some((word, value));
                    break;
                }
                let rank = value.rank(now);
                if let Some(rank) = rank.filter(|&rank| victim.is_none_or(|(r, ..)| rank > r)) {
                    victim = Some((rank, word, value));
                }
            }
            // Processes that look for the same listener choose the same word to put it in. It gets
            // two only if a third process makes room in a full bucket just then.
            let (word, old, next, is_discarded) = match (own, victim) {
                (Some((_, old)), _) if old.time() == PLAYED => return Added::default(),
                (Some((word, old)), _) => {
                    let next = Word::new(hash, end, reached(old.time().saturating_add(time)));
                    (word, old, next, false)
                }
                (None, Some((rank, word, old))) => (word, old, new, rank <= PLAYED),
                (None, None) => return by_itself,
            };
            if word.compare_exchange(old.0, next.0, Relaxed, Relaxed).is_ok() {
                return Added { is_play: next.time() == PLAYED, is_discarded };
            }
        }
        by_itself
    }

    /// The bucket of a hash.
    fn bucket(&self, hash: u64) -> Option<&[AtomicU64]> {
        let count = (self.0.len() / BUCKET_LEN) as u128;
        let index = ((u128::from(hash) * count) >> 64) as usize;
        self.0.get(index * BUCKET_LEN..(index + 1) * BUCKET_LEN)
    }
}
