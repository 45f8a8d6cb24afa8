//! Plays and counts, without an application in the data path.
//!
//! - `directives`: the directives, and what `nginx -t` checks of them;
//! - `zone`: the shared memory that everything is counted in;
//! - `state`: the file that keeps sums over restarts;
//! - `counting`: the handler of the log phase;
//! - `status`: the content handler that shows what was counted.
//!
//! What is a play is decided in `model::plays`. Where `xspace_stats` is not written, nothing is set up.

#![forbid(unsafe_code)]

pub(crate) mod counting;
pub(crate) mod directives;
pub(crate) mod state;
pub(crate) mod status;
mod zone;

use std::rc::Rc;

use model::plays::{CATALOGS, Rule};

use crate::config::MainConf;
use crate::config::check::Refused;
use crate::nginx::configuration::Conf;
use crate::nginx::value::ComplexValue;
use crate::nginx::zone::worker_number;

pub(crate) use self::status::StatusSetting;
pub(crate) use self::zone::{StatsZone, ZoneOfCycle};

/// `xspace_play`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PlaySetting {
    rule: Rule,
    /// `if=`: without it everything that is sent can be a play.
    condition: Option<ComplexValue>,
}

/// How the requests of a location are counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counting<'c> {
    pub(crate) zone: &'c StatsZone,
    /// `xspace_listener`.
    pub(crate) listener: Option<ComplexValue>,
    pub(crate) play: PlaySetting,
}

/// Checks the directives, and has nginx share the memory of the zones that are in use. Returns whether
/// requests are counted.
pub(crate) fn set_up(conf: &Conf<'_>, main: &MainConf) -> Result<bool, Refused> {
    let is_counting = directives::check(conf, main)?;
    for zone in main.zones.borrow().iter().filter(|zone| zone.is_used()) {
        zone.add(conf)?;
        for (index, health) in main.healths.borrow().iter().enumerate().take(CATALOGS) {
            let zone = Rc::clone(zone);
            health.add_observer(move |health, is_read| {
                if let Some(tables) = zone.tables() {
                    tables.set_catalog(index, worker_number(), health, is_read);
                }
            });
        }
    }
    Ok(is_counting)
}
