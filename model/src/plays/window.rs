//! Windows of time, in each of which a listener has one play of a space.

/// The longest window, in seconds: a day.
pub const MAX_WINDOW: u32 = 24 * 60 * 60;

/// A window: its length divides the time since 1970 in UTC, so that a day begins at midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    start: u64,
    length: u32,
}

/// How far the cached clocks of two processes may differ, in seconds.
const SKEW: u64 = 1;

impl Window {
    /// The window of a time, in seconds since 1970.
    pub fn of(time: u64, length: u32) -> Self {
        let length = length.clamp(1, MAX_WINDOW);
        Self { start: time - time % u64::from(length), length }
    }

    /// The window in which a request counts: that in which it has started, unless the clock was set
    /// back since the time `latest`, which was seen before. Then the newer window goes on. If it was
    /// set back by more than a day, it was wrong before, and is believed.
    pub(super) fn of_request(started: u64, now: u64, latest: u64, length: u32) -> Self {
        let is_set_back = (SKEW + 1..=MAX_WINDOW.into()).contains(&latest.saturating_sub(now));
        Self::of(if is_set_back { latest } else { started.min(now.max(latest)) }, length)
    }

    /// The first second of the window.
    pub fn start(self) -> u64 {
        self.start
    }

    /// The length in seconds.
    pub fn length(self) -> u32 {
        self.length
    }

    /// The first second behind the window.
    pub fn end(self) -> u64 {
        self.start.saturating_add(self.length.into())
    }

    /// The day in which the window starts, counted from 1970.
    pub(super) fn day(self) -> u64 {
        self.start / u64::from(MAX_WINDOW)
    }
}
