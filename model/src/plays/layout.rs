//! Where the tables of a zone are.

use super::{gauges, totals};

/// The words before the tables.
pub(super) const HEADER_LEN: usize = 32;

/// The words of what has the same size in all zones.
pub(super) const FIXED_LEN: usize = HEADER_LEN + totals::LEN + totals::SLOT_LEN + gauges::LEN;

/// The words of a slot in the table of spaces: a cache line.
pub(super) const SPACE_LEN: usize = 8;

/// The words of a bucket in the table of listeners: a cache line.
pub(super) const BUCKET_LEN: usize = 8;

/// The words of names that there are for each slot in the table of spaces: 32 characters.
const NAME_LEN: usize = 4;

/// The words of what was counted before the zone was made, for each slot in the table of spaces.
pub(super) const BASE_LEN: usize = 4;

/// How many there are of what a zone consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Buckets in the table of listeners, with [`Layout::BUCKET`] listeners each.
    pub(super) buckets: usize,
    /// Slots in the table of spaces.
    pub(super) spaces: usize,
    /// Words for the names of spaces.
    pub(super) names: usize,
    /// Words for what was counted before the zone was made; 0 without a state file.
    pub(super) bases: usize,
}

impl Layout {
    /// The listeners of a bucket.
    pub const BUCKET: usize = BUCKET_LEN;

    /// The tables of a zone of so many words of 64 bits, with room for so many listeners; by default
    /// they have a quarter of what can be divided. `None` if that does not fit, with a space at least.
    pub fn new(words: usize, listeners: Option<usize>) -> Option<Self> {
        Self::divided(words, listeners, 0)
    }

    /// The same for a zone with a state file: there is room for what was counted before.
    pub fn with_state(words: usize, listeners: Option<usize>) -> Option<Self> {
        Self::divided(words, listeners, BASE_LEN)
    }

    fn divided(words: usize, listeners: Option<usize>, base: usize) -> Option<Self> {
        let words = words.checked_sub(FIXED_LEN)?;
        let buckets = listeners.unwrap_or(words / 4).div_ceil(BUCKET_LEN).max(1);
        let rest = words.checked_sub(buckets.checked_mul(BUCKET_LEN)?)?;
        let spaces = rest / (SPACE_LEN + NAME_LEN + base);
        let (names, bases) = (spaces * NAME_LEN, spaces * base);
        (spaces > 0).then_some(Self { buckets, spaces, names, bases })
    }

    /// How many words the zone has.
    pub(super) fn len(&self) -> Option<usize> {
        let spaces = self.spaces.checked_mul(SPACE_LEN)?;
        let buckets = self.buckets.checked_mul(BUCKET_LEN)?;
        let names = self.names.checked_add(self.bases)?;
        FIXED_LEN.checked_add(spaces)?.checked_add(buckets)?.checked_add(names)
    }

    /// How many listeners there is room for.
    pub fn listeners(&self) -> usize {
        self.buckets.saturating_mul(BUCKET_LEN)
    }

    /// How many spaces there is room for.
    pub fn spaces(&self) -> usize {
        self.spaces
    }
}
