//! Sums over all spaces.

use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

/// How many processes can count without disturbing each other.
pub const SLOTS: usize = 64;

/// The words of a slot: four cache lines.
pub(super) const SLOT_LEN: usize = 32;

pub(super) const LEN: usize = SLOTS * SLOT_LEN;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Count {
    /// Requests whose outcome has this number, less than [`Count::OUTCOMES`].
    Requests(u8),
    /// Requests whose link was refused, for the reason with this number, less than
    /// [`Count::REASONS`].
    LinkRefused(u8),
    /// Bytes sent of recordings.
    Bytes,
    /// Plays.
    Plays,
    /// Downloads.
    Downloads,
    /// Listeners that were forgotten, or not remembered, in a window.
    ListenersDiscarded,
    /// Requests for a space that the table has no room for, and what they were.
    SpacesDiscarded,
    /// Plays of such spaces.
    OtherPlays,
    /// Downloads of such spaces.
    OtherDownloads,
    /// Bytes sent of such spaces.
    OtherBytes,
    /// Lookups whose time is in the bucket with this number: up to its bound, or longer than all.
    Lookups(u8),
    /// The time of all lookups, in milliseconds.
    LookupTime,
}

/// The bounds of the buckets for the time of lookups, in milliseconds, as numbers and in seconds.
pub(super) const LOOKUP_BOUNDS: [(u64, &str); 6] =
    [(5, "0.005"), (20, "0.02"), (100, "0.1"), (500, "0.5"), (2_000, "2"), (10_000, "10")];

impl Count {
    /// How many outcomes there can be.
    pub const OUTCOMES: usize = 10;

    /// How many reasons there can be.
    pub const REASONS: usize = 6;

    fn index(self) -> usize {
        match self {
            Self::Requests(outcome) => usize::from(outcome).min(Self::OUTCOMES - 1),
            Self::LinkRefused(reason) => 10 + usize::from(reason).min(Self::REASONS - 1),
            Self::Bytes => 16,
            Self::Plays => 17,
            Self::Downloads => 18,
            Self::ListenersDiscarded => 19,
            Self::SpacesDiscarded => 20,
            Self::OtherPlays => 21,
            Self::OtherDownloads => 22,
            Self::OtherBytes => 23,
            Self::Lookups(bucket) => 24 + usize::from(bucket).min(LOOKUP_BOUNDS.len()),
            Self::LookupTime => 31,
        }
    }
}

/// The sums, in slots for processes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Totals<'z>(pub(super) &'z [AtomicU64]);

impl Totals<'_> {
    /// Adds for a process. Two may have the same number: at a reload, or if there are many.
    pub(super) fn add(self, process: usize, count: Count, value: u64) {
        if let Some(word) = self.0.get(process % SLOTS * SLOT_LEN + count.index()) {
            word.fetch_add(value, Relaxed);
        }
    }

    /// Each count's sum over all processes.
    pub(super) fn sums(self) -> [u64; SLOT_LEN] {
        let mut sums = [0_u64; SLOT_LEN];
        for slot in self.0.chunks(SLOT_LEN) {
            for (sum, word) in sums.iter_mut().zip(slot) {
                *sum = sum.wrapping_add(word.load(Relaxed));
            }
        }
        sums
    }

    /// The sum over all processes.
    pub(super) fn sum(self, count: Count) -> u64 {
        let words = self.0.iter().skip(count.index()).step_by(SLOT_LEN);
        words.fold(0, |sum: u64, word| sum.wrapping_add(word.load(Relaxed)))
    }
}
