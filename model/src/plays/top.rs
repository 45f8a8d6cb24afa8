//! The spaces with the most plays.

use core::cmp::Reverse;
use std::collections::BinaryHeap;

use super::report::NoMemory;
use super::zone::Zone;

/// The most spaces that are listed.
pub const MAX_TOP: usize = 1000;

/// A walk through a zone, in steps, that finds the spaces with the most plays.
#[derive(Debug)]
pub struct Top {
    limit: usize,
    /// The next slot to look at.
    next: usize,
    /// The best ones, of which the worst is the first: plays, bytes, and the slot.
    best: BinaryHeap<Reverse<(u64, u64, Reverse<usize>)>>,
}

impl Top {
    /// A walk that finds so many, at most [`MAX_TOP`].
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn new(limit: usize) -> Result<Self, NoMemory> {
        let limit = limit.min(MAX_TOP);
        let mut best = BinaryHeap::new();
        best.try_reserve_exact(limit + 1).map_err(|_| NoMemory)?;
        Ok(Self { limit, next: 0, best })
    }

    /// Looks at so many slots. Returns whether there are no more.
    pub fn step(&mut self, zone: &Zone<'_>, slots: usize) -> bool {
        let end = self.next.saturating_add(slots).min(zone.layout().spaces());
        for slot in self.next..end {
            let Some(space) = zone.slot(slot) else { continue };
            let key = Reverse((space.plays(), space.bytes(), Reverse(slot)));
            if self.best.len() < self.limit || self.best.peek().is_some_and(|worst| key < *worst) {
                self.best.push(key);
            }
            if self.best.len() > self.limit {
                self.best.pop();
            }
        }
        self.next = end;
        end == zone.layout().spaces()
    }

    /// The slots that were found, the best one first.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn into_slots(self) -> Result<Vec<usize>, NoMemory> {
        let mut slots = Vec::new();
        slots.try_reserve_exact(self.best.len()).map_err(|_| NoMemory)?;
        // Sorted in place.
        let sorted = self.best.into_sorted_vec().into_iter();
        slots.extend(sorted.map(|Reverse((.., Reverse(slot)))| slot));
        Ok(slots)
    }
}
