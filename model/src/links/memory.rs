//! The MACs that were verified last. A player sends the same token with each seek, and HMAC costs
//! more than all other checks of it on a processor without SHA instructions.

use core::cell::RefCell;
use core::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use subtle::ConstantTimeEq;

use super::credential::{MAC_LEN, MacText, Text};

/// How many MACs are kept.
const SLOTS: usize = 1024;

/// A slot has a MAC, the length of its text in two bytes, and the text.
const SLOT_LEN: usize = MAC_LEN + 2 + Text::MAX_LEN;

/// Verified MACs with all of what they were computed over, each at a place that follows from a keyed
/// hash of its text: a client can't tell which others share its place.
pub(super) struct Memory {
    state: RandomState,
    slots: RefCell<Vec<u8>>,
}

impl Memory {
    /// A memory without any MAC. Its pages are used when MACs are kept.
    pub(super) fn new() -> Self {
        Self { state: RandomState::default(), slots: RefCell::new(vec![0; SLOTS * SLOT_LEN]) }
    }

    fn slot(&self, text: &Text) -> core::ops::Range<usize> {
        let mut hasher = self.state.build_hasher();
        hasher.write(text.as_bytes());
        let start = hasher.finish() as usize % SLOTS * SLOT_LEN;
        start..start + SLOT_LEN
    }

    /// Whether this MAC of this text was verified. Texts are no secret; MACs are compared in constant
    /// time.
    pub(super) fn has(&self, text: &Text, mac: &MacText) -> bool {
        let Ok(slots) = self.slots.try_borrow() else { return false };
        let slot = slots.get(self.slot(text)).and_then(|slot| slot.split_first_chunk::<MAC_LEN>());
        let Some((kept, rest)) = slot else { return false };
        let Some((len, kept_text)) = rest.split_first_chunk::<2>() else { return false };
        let is_of_text = usize::from(u16::from_le_bytes(*len)) == text.as_bytes().len()
            && kept_text.starts_with(text.as_bytes());
        is_of_text && kept.ct_eq(mac).into()
    }

    /// Keeps a MAC that was verified, in the place of another one.
    pub(super) fn keep(&self, text: &Text, mac: &MacText) {
        let Ok(mut slots) = self.slots.try_borrow_mut() else { return };
        let Some(slot) = slots.get_mut(self.slot(text)) else { return };
        let len = (text.as_bytes().len() as u16).to_le_bytes();
        let new = mac.iter().chain(&len).chain(text.as_bytes());
        slot.iter_mut().zip(new).for_each(|(place, &byte)| *place = byte);
    }
}
