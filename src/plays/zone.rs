//! The shared memory that everything is counted in.

#![forbid(unsafe_code)]

use core::cell::{Cell, OnceCell, Ref, RefCell};
use core::fmt;
use std::rc::Rc;

use model::plays::{Layout, NoMemory, Top, Zone};

use super::state::State;
use crate::config::check::Refused;
use crate::nginx::configuration::{Conf, ConfPosition};
use crate::nginx::guard::fault_point;
use crate::nginx::log::{Level, Log, Text};
use crate::nginx::time::now;
use crate::nginx::zone::{Words, ZoneUser, is_test};

/// A zone of the configuration.
#[derive(Debug)]
pub(crate) struct StatsZone {
    pub(super) name: &'static [u8],
    /// The name in pages.
    pub(super) label: Box<str>,
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
    slots: Vec<usize>,
}

/// How long they are good for, in seconds.
const TOP_LIFETIME: u64 = 10;

/// An `xspace_stats_zone`.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) size: usize,
    pub(super) listeners: Option<usize>,
    pub(super) state: Option<State>,
}

impl StatsZone {
    pub(super) fn new(name: &'static [u8], position: ConfPosition) -> Self {
        let (declared, zone, top) = Default::default();
        let label = String::from_utf8_lossy(name).into();
        Self { name, label, declared, position, is_used: Cell::new(false), zone, top }
    }

    /// Whether something is counted or shown.
    pub(super) fn is_used(&self) -> bool {
        self.is_used.get()
    }

    pub(super) fn set_used(&self) {
        self.is_used.set(true);
    }

    /// The file that keeps sums over restarts.
    pub(super) fn state(&self) -> Option<&State> {
        self.declared.get()?.state.as_ref()
    }

    /// The tables; `None` as long as a configuration is read.
    pub(super) fn tables(&self) -> Option<&Zone<'static>> {
        self.zone.get()
    }

    /// So many spaces with the most plays, or as many as there are, if they were found just now.
    pub(super) fn latest_top(&self, limit: usize) -> Option<Ref<'_, [usize]>> {
        let top = self.top.borrow();
        let is_new = now().saturating_sub(top.time) < TOP_LIFETIME && top.limit == limit;
        is_new.then(|| Ref::map(top, |top| top.slots.as_slice()))
    }

    /// Keeps what was found for so many.
    pub(super) fn keep_top(&self, limit: usize, top: Top) -> Result<(), NoMemory> {
        let slots = top.into_slots()?;
        self.top.replace(LatestTop { time: now(), limit, slots });
        Ok(())
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
    fn init(&self, words: Words, earlier: Option<&Self>, log: Option<Log>) -> bool {
        fault_point("zone");
        let Self(stats) = self;
        let name = Text(stats.name);
        let write = |level, message: fmt::Arguments<'_>| {
            if let Some(log) = log {
                log.write(level, 0, format_args!("zone \"{name}\" {message}"));
            }
        };
        let fail = |message: &str| {
            write(Level::Emerg, format_args!("{message}"));
            false
        };
        let (listeners, state) = match stats.declared.get() {
            Some(declared) => (declared.listeners, declared.state.as_ref()),
            None => (None, None),
        };
        let layout = match state {
            Some(_) => Layout::with_state(words.len(), listeners),
            None => Layout::new(words.len(), listeners),
        };
        let Some(layout) = layout else { return fail("is too small") };
        let zone = match earlier {
            None => Zone::create(words, layout, now(), random),
            Some(_) => Zone::open(words),
        };
        let zone = match zone {
            Some(zone) if zone.layout() == layout => zone,
            Some(_) => {
                return fail("cannot get another \"listeners\" or \"state\" without another size");
            }
            None => return fail("is not usable"),
        };
        if let Some(state) = state {
            let loaded = if earlier.is_none() { state.load(&zone) } else { Ok(0) };
            match loaded {
                Ok(0) => {}
                Ok(count) => {
                    write(
                        Level::Warn,
                        format_args!("has no room for {count} spaces of its state file"),
                    );
                }
                Err(why) => {
                    write(Level::Emerg, format_args!("cannot use its state file: {why}"));
                    return false;
                }
            }
            let earlier = earlier.and_then(|Self(earlier)| earlier.state());
            // A test changes nothing.
            let kept = if is_test() { Ok(()) } else { state.keep_alive(&zone, earlier) };
            if let Err(why) = kept {
                write(Level::Emerg, format_args!("cannot lock its state file: {why}"));
                return false;
            }
        }
        stats.zone.set(zone).is_ok()
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
