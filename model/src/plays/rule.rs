//! How much of a recording is a play.

use super::window::MAX_WINDOW;

/// The longest time that makes a play, in milliseconds: four hours.
pub const MAX_TIME: u32 = 4 * 60 * MINUTE;

const MINUTE: u32 = 60_000;

/// What makes a play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// How much of a recording, in milliseconds: 1 to [`MAX_TIME`].
    pub time: u32,
    /// How many bytes are a minute of a recording whose duration is not known: 1 or more.
    pub minute: u64,
    /// The length of a window in seconds: 1 to [`MAX_WINDOW`].
    pub window: u32,
}

impl Default for Rule {
    /// A minute per day; 128 kbit/s.
    fn default() -> Self {
        Self { time: MINUTE, minute: 960 * 1024, window: MAX_WINDOW }
    }
}

impl Rule {
    /// How many milliseconds of a recording so many of its bytes are. `size` is that of its file in
    /// bytes and `duration` is in milliseconds; 0 is unknown.
    ///
    /// A recording that is shorter than a play is taken to be as long as one, so that all of it is a
    /// play. Fractions are rounded up, so that the parts of a file are never less than the whole.
    pub fn time_of(&self, bytes: u64, size: u64, duration: u64) -> u64 {
        let (own, minute) = (u64::from(self.time), u64::from(MINUTE));
        let (time, per) = match (size, duration) {
            (0, _) => (minute, self.minute),
            (size, 0) if size.saturating_mul(minute) < own.saturating_mul(self.minute) => {
                (own, size)
            }
            (_, 0) => (minute, self.minute),
            (size, duration) => (duration.max(own), size),
        };
        let per = per.max(1);
        match bytes.checked_mul(time) {
            Some(product) => product.div_ceil(per),
            None => {
                let time = (u128::from(bytes) * u128::from(time)).div_ceil(per.into());
                u64::try_from(time).unwrap_or(u64::MAX)
            }
        }
    }
}
