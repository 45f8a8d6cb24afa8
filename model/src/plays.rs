//! Plays: how much of a recording was sent to whom, and when that is a play.
//!
//! A play is a minute of the recording sent to one listener, once per space and window. Each request
//! adds what it has sent, in milliseconds of the recording; the request that crosses the threshold
//! has the play. What is sent as an attachment is added up apart, as a download.
//!
//! All that is counted is in a [`Zone`]: tables of a fixed size in memory that processes share. No
//! operation takes a lock, and every change of a listener is one compare-and-swap of one word, so a
//! process that is killed at any moment leaves nothing behind that is half done.
//!
//! - [`Rule`]: how many milliseconds so many bytes are;
//! - [`Window`]: when counting starts anew;
//! - [`Listener`]: for whom, as a keyed hash;
//! - [`Layout`]: where the tables of a zone are;
//! - [`Report`]: what was counted, as a text;
//! - [`StatePass`]: the state file, which keeps sums over restarts.

mod gauges;
mod layout;
mod listeners;
mod report;
mod rule;
mod sip;
mod spaces;
mod state;
#[cfg(test)]
mod tests;
mod top;
mod totals;
mod window;
mod zone;

pub use self::gauges::{CATALOGS, CatalogHealth};
pub use self::layout::Layout;
pub use self::report::{NoMemory, PROMETHEUS_TYPE, Report, Text};
pub use self::rule::{MAX_TIME, Rule};
pub use self::spaces::{MAX_NAME_LEN, Space};
pub use self::state::{StateError, StatePass};
pub use self::top::{MAX_TOP, Top};
pub use self::totals::{Count, SLOTS};
pub use self::window::{MAX_WINDOW, Window};
pub use self::zone::{Listener, Sent, Zone};
