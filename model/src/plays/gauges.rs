//! The health of catalogs, of which each process reads its own copy.

use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

use super::totals::SLOTS;

/// How many catalogs there is room for.
pub const CATALOGS: usize = 8;

/// The words of a catalog: what was read last, in a cache line of its own, and for each process when
/// that was.
const CATALOG_LEN: usize = 8 + SLOTS;

pub(super) const LEN: usize = CATALOGS * CATALOG_LEN;

/// What a process knows of a catalog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CatalogHealth {
    /// Its entries that can be used.
    pub entries: u32,
    /// Its entries that can't.
    pub unusable: u32,
    /// When it was read, or found to be unchanged, in seconds since 1970; 0 if it never was.
    pub last_success: u64,
}

/// The words of all catalogs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gauges<'z>(pub(super) &'z [AtomicU64]);

impl Gauges<'_> {
    /// Sets what a process knows of a catalog. `is_read`: it was read, not found to be unchanged.
    pub(super) fn set(self, index: usize, process: usize, health: CatalogHealth, is_read: bool) {
        let Some([counts, _, _, _, _, _, _, _, times @ ..]) = self.catalog(index) else { return };
        if let Some(word) = times.get(process % SLOTS) {
            word.store(health.last_success, Relaxed);
        }
        if is_read {
            // Both are of one reading.
            let word = (u64::from(health.unusable) << 32) | u64::from(health.entries);
            counts.store(word, Relaxed);
        }
    }

    /// What is known of a catalog: entries of the newest reading, and the oldest success among so
    /// many processes.
    pub(super) fn get(self, index: usize, processes: usize) -> Option<CatalogHealth> {
        let [counts, _, _, _, _, _, _, _, times @ ..] = self.catalog(index)? else { return None };
        let counts = counts.load(Relaxed);
        let times = times.iter().take(processes.max(1)).map(|word| word.load(Relaxed));
        Some(CatalogHealth {
            entries: counts as u32,
            unusable: (counts >> 32) as u32,
            last_success: times.min().unwrap_or(0),
        })
    }

    fn catalog(&self, index: usize) -> Option<&[AtomicU64]> {
        let start = index.checked_mul(CATALOG_LEN)?;
        self.0.get(start..start.checked_add(CATALOG_LEN)?)
    }
}
