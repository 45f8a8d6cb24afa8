//! Times as a signature has them.

/// A time of a signature: `20130524T000000Z`, UTC, in ISO 8601's basic format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp([u8; 16]);

impl Timestamp {
    /// A time in seconds since 1970. The year has four digits.
    pub fn new(seconds: u64) -> Self {
        const DAY: u64 = 24 * 60 * 60;
        // The last second of 9999.
        let seconds = seconds.min(253_402_300_799);
        let (days, second) = (seconds / DAY, seconds % DAY);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let digit = |number: u64, place: u64| b'0' + (number / place % 10) as u8;
        Self([
            digit(year, 1000),
            digit(year, 100),
            digit(year, 10),
            digit(year, 1),
            digit(month, 10),
            digit(month, 1),
            digit(day, 10),
            digit(day, 1),
            b'T',
            digit(hour, 10),
            digit(hour, 1),
            digit(minute, 10),
            digit(minute, 1),
            digit(second, 10),
            digit(second, 1),
            b'Z',
        ])
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The day: `20130524`.
    pub(super) fn date(&self) -> Date {
        let [y1, y2, y3, y4, m1, m2, d1, d2, ..] = self.0;
        [y1, y2, y3, y4, m1, m2, d1, d2]
    }
}

/// A day, in the form `20130524`.
pub(super) type Date = [u8; 8];

/// Year, month and day of a day since 1970 in the Gregorian calendar. Years are counted from March 1st
/// on, so that a leap day is the last day of its year.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    // From March 1st of the year 0 to January 1st, 1970.
    let days = days + 719_468;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // March is 0. Five months from March or from August on have 153 days.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, is_next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + is_next_year, month, day)
}
