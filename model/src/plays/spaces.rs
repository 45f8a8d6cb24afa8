//! What was sent of each space.
//!
//! A slot has the hash of the space's id, its name, and counts. It is claimed by one compare-and-swap
//! of the hash. The name follows: until it is there, because its process was killed, say, everyone
//! who counts for the space writes it. Slots are never freed, so a look for one ends at a vacant one.

use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use super::layout::{BASE_LEN, SPACE_LEN};
use super::sip::words;
use crate::request::{MAX_ID_LEN, SpaceId};

/// The longest name of a space, in bytes.
pub const MAX_NAME_LEN: usize = MAX_ID_LEN;

/// How many slots are looked at for a space.
const PROBES: usize = 64;

// The words of a slot. One is left for another count.
const HASH: usize = 0;
/// Where the name begins in the words of names, shifted, and its length in bytes; 0 if there is none.
const NAME: usize = 1;
const REQUESTS: usize = 2;
const PLAYS: usize = 3;
const DOWNLOADS: usize = 4;
const BYTES: usize = 5;
/// The last pass through the state file that the space was found in.
const PASS: usize = 6;

const LEN_BITS: u32 = 8;

/// The table of spaces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spaces<'z> {
    pub(super) slots: &'z [AtomicU64],
    pub(super) names: &'z [AtomicU64],
    /// What was counted before the zone was made; empty without a state file.
    pub(super) bases: &'z [AtomicU64],
    /// How many words of names are in use; it may be more than there are.
    pub(super) names_len: &'z AtomicU64,
    /// How many slots are in use.
    pub(super) count: &'z AtomicU64,
}

/// What was counted for a space.
#[derive(Clone, Copy, Debug)]
pub struct Space<'z> {
    index: usize,
    slot: &'z [AtomicU64],
    names: &'z [AtomicU64],
    bases: &'z [AtomicU64],
}

/// What is counted for a space: requests, plays, downloads and bytes.
pub(super) type SpaceCounts = [u64; BASE_LEN];

impl<'z> Spaces<'z> {
    /// The slot of a space. A vacant one is claimed for it with `may_claim`.
    pub(super) fn slot(self, hash: u64, id: SpaceId<'_>, may_claim: bool) -> Option<Space<'z>> {
        let hash = hash.max(1);
        let count = self.slots.len() / SPACE_LEN;
        let start = ((u128::from(hash) * count as u128) >> 64) as usize;
        let (before, from) = self.slots.split_at_checked(start * SPACE_LEN)?;
        let slots = from.chunks_exact(SPACE_LEN).chain(before.chunks_exact(SPACE_LEN));
        for (slot, index) in slots.take(PROBES).zip(start..) {
            // Behind the last slot comes the first.
            let index = if index < count { index } else { index - count };
            let space = self.space(index, slot);
            let word = space.slot.get(HASH)?;
            let mut found = word.load(Relaxed);
            if found == 0 {
                if !may_claim {
                    return None;
                }
                match word.compare_exchange(0, hash, Relaxed, Relaxed) {
                    Ok(_) => {
                        self.count.fetch_add(1, Relaxed);
                        found = hash;
                    }
                    Err(other) => found = other,
                }
            }
            if found == hash && (space.is(id) || self.name(space, id, may_claim)) {
                return Some(space);
            }
        }
        None
    }

    /// A slot, vacant or not.
    pub(super) fn at(self, index: usize) -> Option<Space<'z>> {
        let start = index.checked_mul(SPACE_LEN)?;
        let slot = self.slots.get(start..start.checked_add(SPACE_LEN)?)?;
        Some(self.space(index, slot))
    }

    /// All slots, vacant ones too.
    pub(super) fn all(self) -> impl Iterator<Item = Space<'z>> {
        let slots = self.slots.chunks_exact(SPACE_LEN).enumerate();
        slots.map(move |(index, slot)| self.space(index, slot))
    }

    fn space(self, index: usize, slot: &'z [AtomicU64]) -> Space<'z> {
        Space { index, slot, names: self.names, bases: self.bases }
    }

    /// Writes the name of a space that has none. Returns whether it is this space, and not another one
    /// of the same hash.
    fn name(self, space: Space<'_>, id: SpaceId<'_>, may_write: bool) -> bool {
        let Some(word) = space.slot.get(NAME).filter(|word| word.load(Relaxed) == 0) else {
            // It may have got it just now.
            return space.is(id);
        };
        let count = id.as_bytes().len().div_ceil(size_of::<u64>());
        if !may_write || self.names_len.load(Relaxed) >= self.names.len() as u64 {
            // A space without a name is found by its hash alone.
            return true;
        }
        let start = self.names_len.fetch_add(count as u64, Relaxed);
        let at = usize::try_from(start).unwrap_or(usize::MAX);
        let Some(place) = self.names.get(at..at.saturating_add(count)) else { return true };
        let (words, rest) = words(id.as_bytes());
        for (to, word) in place.iter().zip(words.chain([rest])) {
            to.store(word, Relaxed);
        }
        let name = (start << LEN_BITS) | id.as_bytes().len() as u64;
        match word.compare_exchange(0, name, AcqRel, Acquire) {
            Ok(_) => true,
            // Another process has been faster; the words are lost.
            Err(_) => space.is(id),
        }
    }
}

impl Space<'_> {
    fn load(&self, index: usize) -> u64 {
        self.slot.get(index).map_or(0, |word| word.load(Relaxed))
    }

    fn add(&self, index: usize, value: u64) {
        if let Some(word) = self.slot.get(index).filter(|_| value > 0) {
            word.fetch_add(value, Relaxed);
        }
    }

    pub(super) fn is_vacant(&self) -> bool {
        self.load(HASH) == 0
    }

    /// Counts a request, what it has sent, and whether it has a play or a download.
    pub(super) fn count(&self, bytes: u64, is_play: bool, is_download: bool) {
        self.add(REQUESTS, 1);
        self.add(BYTES, bytes);
        self.add(PLAYS, is_play.into());
        self.add(DOWNLOADS, is_download.into());
    }

    /// What was counted since the zone was made.
    pub(super) fn own(&self) -> SpaceCounts {
        [REQUESTS, PLAYS, DOWNLOADS, BYTES].map(|index| self.load(index))
    }

    /// What was counted before, or by other zones.
    pub(super) fn base(&self) -> SpaceCounts {
        let mut counts = SpaceCounts::default();
        for (count, word) in counts.iter_mut().zip(self.base_words()) {
            *count = word.load(Relaxed);
        }
        counts
    }

    pub(super) fn set_base(&self, base: SpaceCounts) {
        self.base_words().iter().zip(base).for_each(|(word, count)| word.store(count, Relaxed));
    }

    fn base_words(&self) -> &[AtomicU64] {
        let start = self.index * BASE_LEN;
        self.bases.get(start..start + BASE_LEN).unwrap_or_default()
    }

    /// The last pass through the state file that the space was found in.
    pub(super) fn pass(&self) -> u64 {
        self.load(PASS)
    }

    pub(super) fn set_pass(&self, pass: u64) {
        if let Some(word) = self.slot.get(PASS) {
            word.store(pass, Relaxed);
        }
    }

    /// Since counting has begun: requests, plays, downloads and bytes.
    fn sums(&self) -> SpaceCounts {
        let (mut sums, base) = (self.own(), self.base());
        sums.iter_mut().zip(base).for_each(|(sum, base)| *sum = sum.saturating_add(base));
        sums
    }

    /// Requests to which something of the recording was sent.
    pub fn requests(&self) -> u64 {
        let [requests, ..] = self.sums();
        requests
    }

    /// Plays.
    pub fn plays(&self) -> u64 {
        let [_, plays, ..] = self.sums();
        plays
    }

    /// Downloads.
    pub fn downloads(&self) -> u64 {
        let [_, _, downloads, _] = self.sums();
        downloads
    }

    /// Bytes sent of the recording.
    pub fn bytes(&self) -> u64 {
        let [.., bytes] = self.sums();
        bytes
    }

    fn name_words(&self) -> Option<(&[AtomicU64], usize)> {
        let name = self.slot.get(NAME)?.load(Acquire);
        let len = (name & ((1 << LEN_BITS) - 1)) as usize;
        let start = usize::try_from(name >> LEN_BITS).ok()?;
        let words = self.names.get(start..start.checked_add(len.div_ceil(size_of::<u64>()))?)?;
        (len > 0).then_some((words, len))
    }

    /// Whether the space has this id for its name.
    fn is(&self, id: SpaceId<'_>) -> bool {
        let Some((words, len)) = self.name_words() else { return false };
        if len != id.as_bytes().len() {
            return false;
        }
        let (own, rest) = self::words(id.as_bytes());
        let mut words = words.iter().map(|word| word.load(Relaxed));
        own.zip(words.by_ref()).all(|(own, word)| own == word) && words.all(|word| word == rest)
    }

    /// The space's id, in a buffer; `None` if the zone had no room for it.
    pub fn id<'b>(&self, buffer: &'b mut [u8; MAX_NAME_LEN]) -> Option<SpaceId<'b>> {
        let (words, len) = self.name_words()?;
        for (bytes, word) in buffer.chunks_mut(size_of::<u64>()).zip(words) {
            for (byte, from) in bytes.iter_mut().zip(word.load(Relaxed).to_le_bytes()) {
                *byte = from;
            }
        }
        buffer.get(..len).and_then(SpaceId::parse)
    }
}
