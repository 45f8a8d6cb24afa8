//! What a process knows of a catalog's health, for those who show it.

#![forbid(unsafe_code)]

use core::cell::{Cell, RefCell};
use core::fmt;

use model::catalog::Report;
use model::plays::CatalogHealth;

use crate::nginx::time::now;

/// Called with the health of a catalog, and whether it was read since the last call.
type Observer = Box<dyn Fn(CatalogHealth, bool)>;

/// The health of a catalog.
pub(crate) struct Health {
    /// The catalog in pages of counts.
    pub(crate) label: Box<str>,
    latest: Cell<CatalogHealth>,
    /// Whether the latest version of the file could not be loaded.
    has_failed: Cell<bool>,
    observers: RefCell<Vec<Observer>>,
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("latest", &self.latest).finish_non_exhaustive()
    }
}

impl Health {
    /// Of a catalog that was not read yet.
    pub(crate) fn new(label: &str) -> Self {
        let (latest, has_failed, observers) = Default::default();
        Self { label: label.into(), latest, has_failed, observers }
    }

    /// Adds an observer, while the configuration is read.
    pub(crate) fn add_observer(&self, observer: impl Fn(CatalogHealth, bool) + 'static) {
        self.observers.borrow_mut().push(Box::new(observer));
    }

    /// Tells the observers in a process that has begun.
    pub(crate) fn begin(&self) {
        self.tell(self.latest.get().last_success > 0);
    }

    /// The catalog was read.
    pub(super) fn read(&self, report: &Report) {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let (entries, unusable) = (count(report.usable), count(report.unusable.count));
        self.latest.set(CatalogHealth { entries, unusable, last_success: now() });
        self.has_failed.set(false);
        self.tell(true);
    }

    /// It is read at each request, and has so many entries now.
    #[cfg(feature = "lmdb")]
    pub(crate) fn live(&self, entries: usize) {
        let entries = u32::try_from(entries).unwrap_or(u32::MAX);
        self.latest.set(CatalogHealth { entries, unusable: 0, last_success: now() });
        self.tell(true);
    }

    /// Its file has not changed.
    pub(super) fn unchanged(&self) {
        if !self.has_failed.get() && self.latest.get().last_success > 0 {
            self.latest.set(CatalogHealth { last_success: now(), ..self.latest.get() });
            self.tell(false);
        }
    }

    /// Its file has changed and can't be loaded.
    pub(super) fn failed(&self) {
        self.has_failed.set(true);
    }

    fn tell(&self, is_read: bool) {
        self.observers.borrow().iter().for_each(|observer| observer(self.latest.get(), is_read));
    }
}
