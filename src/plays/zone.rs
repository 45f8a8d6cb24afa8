//! The shared memory that everything is counted in.

#![forbid(unsafe_code)]

use core::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use model::plays::{Layout, Top, Zone};

use crate::config::check::Refused;
use crate::nginx::configuration::{Conf, ConfPosition};
use crate::nginx::guard::fault_point;
use crate::nginx::log::{Level, Log, Text};
use crate::nginx::time::now;
use crate::nginx::zone::{Words, ZoneUser};

/// A zone of the configuration.
#[derive(Debug)]
pub(crate) struct StatsZone {
    pub(super) name: &'static [u8],
    /// Set by `xspace_stats_zone`.
    pub(super) declared: OnceCell<Declared>,
    /// The first directive that names it.
    pub(super) position: ConfPosition,
    is_used: Cell<bool>,
    /// Set when nginx has the memory.
    zone: OnceCell<Zone<'static>>,
    /// The spaces with the most plays, as this process found them last.
    top: RefCell<LatestTop>,
}

/// The slots of the spaces with the most plays.
#[derive(Clone, Debug, Default)]
struct LatestTop {
    /// When they were found, in seconds since 1970.
    time: u64,
    /// How many were looked for.
    limit: usize,
    slots: Rc<[usize]>,
}

/// How long they are good for, in seconds.
const TOP_LIFETIME: u64 = 10;

/// An `xspace_stats_zone`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Declared {
    pub(super) size: usize,
    pub(super) listeners: Option<usize>,
}

impl StatsZone {
    pub(super) fn new(name: &'static [u8], position: ConfPosition) -> Self {
        let (declared, zone, top) = Default::default();
        Self { name, declared, position, is_used: Cell::new(false), zone, top }
    }

    /// Whether something is counted or shown.
    pub(super) fn is_used(&self) -> bool {
        self.is_used.get()
    }

    pub(super) fn set_used(&self) {
        self.is_used.set(true);
    }

    /// The tables; `None` as long as a configuration is read.
    pub(super) fn tables(&self) -> Option<&Zone<'static>> {
        self.zone.get()
    }

    /// So many spaces with the most plays, or as many as there are, if they were found just now.
    pub(super) fn latest_top(&self, limit: usize) -> Option<Rc<[usize]>> {
        let top = self.top.borrow();
        let is_new = now().saturating_sub(top.time) < TOP_LIFETIME && top.limit == limit;
        is_new.then(|| Rc::clone(&top.slots))
    }

    /// Keeps what was found for so many.
    pub(super) fn keep_top(&self, limit: usize, top: Top) -> Rc<[usize]> {
        let slots: Rc<[usize]> = top.into_slots().into();
        self.top.replace(LatestTop { time: now(), limit, slots: Rc::clone(&slots) });
        slots
    }

    /// Has nginx share the memory.
    pub(super) fn add(self: &Rc<Self>, conf: &Conf<'_>) -> Result<(), Refused> {
        let Declared { size, .. } = *self.declared.get().ok_or(Refused)?;
        conf.add_zone(self.name, size, ZoneOfCycle(Rc::clone(self))).ok_or(Refused)
    }
}

/// What nginx has of a zone, in the pool of the configuration.
pub(crate) struct ZoneOfCycle(Rc<StatsZone>);

impl ZoneUser for ZoneOfCycle {
    fn init(&self, words: Words, is_new: bool, log: Option<Log>) -> bool {
        fault_point("zone");
        let Self(stats) = self;
        let name = Text(stats.name);
        let fail = |message: &str| {
            if let Some(log) = log {
                log.write(Level::Emerg, 0, format_args!("zone \"{name}\" {message}"));
            }
            false
        };
        let listeners = stats.declared.get().and_then(|declared| declared.listeners);
        let Some(layout) = Layout::new(words.len(), listeners) else {
            return fail("is too small");
        };
        let zone = match is_new {
            true => Zone::create(words, layout, now(), random),
            false => Zone::open(words),
        };
        match zone {
            Some(zone) if zone.layout() == layout => stats.zone.set(zone).is_ok(),
            Some(_) => fail("cannot get another \"listeners\" without another size"),
            None => fail("is not usable"),
        }
    }
}

/// A number that nobody can guess: std's keys are the system's random numbers, and what is hashed
/// differs in processes that have begun with the same keys.
pub(super) fn random() -> u64 {
    use core::hash::{BuildHasher, Hasher};

    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u64(now());
    hasher.write_u32(std::process::id());
    hasher.finish()
}
