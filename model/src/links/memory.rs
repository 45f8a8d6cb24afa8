//! The links and sessions that were verified last. A player sends the same one with each seek, and to
//! read it and compute its MAC again costs more than all other checks.

use core::cell::RefCell;
use core::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use subtle::ConstantTimeEq;

use super::credential::{Claims, Credential, Fields, Kind, MAC_LEN};
use crate::request::{MAX_ID_LEN, SpaceId};

/// How many are kept.
const SLOTS: usize = 1024;

/// The words of a slot.
const SLOT_LEN: usize = 3 + Credential::MAX_LEN.div_ceil(8) + MAX_ID_LEN.div_ceil(8);

/// What was verified: a word of single bytes, which are kind, length of the text, length of the space
/// id, and in the text the start of the format and the ends of format, subject and net; then expiry and
/// end; then the text as it was sent and the space id, each filled up with zeros to whole words. A slot
/// of zeros is free.
type Slot = [u64; SLOT_LEN];

/// Verified links and sessions, each at a place that follows from a keyed hash of it: a client can't
/// tell which others share its place.
pub(super) struct Memory {
    state: RandomState,
    slots: RefCell<Vec<Slot>>,
}

impl Memory {
    /// A memory without any. Its pages are used when something is kept.
    pub(super) fn new() -> Self {
        Self { state: RandomState::default(), slots: RefCell::new(vec![[0; SLOT_LEN]; SLOTS]) }
    }

    fn place(&self, text: &[u8], space: SpaceId<'_>) -> usize {
        let mut hasher = self.state.build_hasher();
        hasher.write(text);
        hasher.write(space.as_bytes());
        hasher.finish() as usize % SLOTS
    }

    /// What a text says, if it was verified for this space. Its bytes, the MAC among them, are compared
    /// in constant time.
    pub(super) fn find<'t>(
        &self,
        kind: Kind,
        text: &'t [u8],
        space: SpaceId<'_>,
    ) -> Option<Claims<'t>> {
        let slots = self.slots.try_borrow().ok()?;
        let [head, expiry, end, kept @ ..] = slots.get(self.place(text, space))?;
        let [kept_kind, text_len, space_len, ends @ .., _] = head.to_le_bytes();
        let id = space.as_bytes();
        let lengths = (usize::from(text_len), usize::from(space_len));
        if kept_kind != kind as u8 || lengths != (text.len(), id.len()) {
            return None;
        }
        let (kept_text, kept_id) = kept.split_at_checked(text.len().div_ceil(8))?;
        let difference = difference(text, kept_text) | difference(id, kept_id);
        if !bool::from(difference.ct_eq(&0)) {
            return None;
        }
        let [start, format, subject, net] = ends.map(usize::from);
        let fields = Fields {
            format: text.get(start..format)?,
            subject: text.get(format + 1..subject)?,
            net: text.get(subject + 1..net)?,
        };
        Some(Claims { expiry: *expiry, end: *end, fields })
    }

    /// Keeps what was verified, in the place of another.
    pub(super) fn keep(&self, kind: Kind, text: &[u8], space: SpaceId<'_>, claims: &Claims<'_>) {
        let Ok(mut slots) = self.slots.try_borrow_mut() else { return };
        let Some(slot) = slots.get_mut(self.place(text, space)) else { return };
        *slot = new_slot(kind, text, space, claims).unwrap_or([0; SLOT_LEN]);
    }
}

#[cfg(test)]
impl Memory {
    /// Puts what is at the place of one where another would be, as if their hashes were the same.
    pub(super) fn collide(&self, kept: (&[u8], SpaceId<'_>), other: (&[u8], SpaceId<'_>)) {
        let mut slots = self.slots.borrow_mut();
        let (from, to) = (self.place(kept.0, kept.1), self.place(other.0, other.1));
        slots[to] = slots[from];
    }
}

/// `None` if the text is longer than one can be.
fn new_slot(kind: Kind, text: &[u8], space: SpaceId<'_>, claims: &Claims<'_>) -> Option<Slot> {
    let id = space.as_bytes();
    // The fields stand before the MAC, each followed by a dot.
    let net = text.len().checked_sub(MAC_LEN + 1)?;
    let subject = net.checked_sub(claims.fields.net.len() + 1)?;
    let format = subject.checked_sub(claims.fields.subject.len() + 1)?;
    let start = format.checked_sub(claims.fields.format.len())?;
    let mut head = [kind as u8, 0, 0, 0, 0, 0, 0, 0];
    let numbers = [text.len(), id.len(), start, format, subject, net];
    for (place, number) in head.iter_mut().skip(1).zip(numbers) {
        *place = u8::try_from(number).ok()?;
    }
    let mut slot = [0; SLOT_LEN];
    let [first, expiry, end, rest @ ..] = &mut slot;
    (*first, *expiry, *end) = (u64::from_le_bytes(head), claims.expiry, claims.end);
    let (text_place, id_place) = rest.split_at_mut_checked(text.len().div_ceil(8))?;
    for (place, bytes) in [(text_place, text), (id_place, id)] {
        let (whole, rest) = words(bytes);
        let place = place.get_mut(..bytes.len().div_ceil(8))?;
        place.iter_mut().zip(whole.chain([rest])).for_each(|(place, word)| *place = word);
    }
    Some(slot)
}

/// The bytes as words, and what is left behind them, filled up with zeros.
fn words(bytes: &[u8]) -> (impl Iterator<Item = u64>, u64) {
    let whole = bytes.chunks_exact(8);
    let rest = whole.remainder().iter().rev().fold(0, |word, &byte| (word << 8) | u64::from(byte));
    (whole.map(|eight| u64::from_le_bytes(eight.try_into().unwrap_or_default())), rest)
}

/// The bits in which bytes are not those of words; 0 if there are none.
fn difference(bytes: &[u8], kept: &[u64]) -> u64 {
    let (whole, rest) = words(bytes);
    let last = kept.get(bytes.len() / 8).copied().unwrap_or_default();
    let last = if bytes.len() % 8 == 0 { 0 } else { last ^ rest };
    whole.zip(kept).fold(last, |bits, (word, kept)| bits | (word ^ kept))
}
