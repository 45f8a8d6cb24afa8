//! Which responses count as the start of a play.

/// Whether a response to `GET` with this status and Content-Range starts a play.
///
/// A player sends many requests for a recording: one from its start, then one for every seek. Only
/// the first counts: a 200, or a 206 with one range that starts at 0 and is longer than the two
/// bytes that Safari and iOS probe with (or is the whole file). A 206 without Content-Range has
/// several parts and does not count.
pub fn is_play(status: usize, content_range: Option<&[u8]>) -> bool {
    match status {
        200 => true,
        206 => content_range.and_then(ContentRange::parse).is_some_and(|range| range.is_play()),
        _ => false,
    }
}

/// The size of a file, from a Content-Range of a part of it; `None` if it is not told.
pub fn complete_length(content_range: &[u8]) -> Option<u64> {
    ContentRange::parse(content_range)?.complete
}

/// `bytes first-last/complete` (RFC 9110, section 14.4); lengths and places in bytes.
struct ContentRange {
    first: u64,
    last: u64,
    /// `None` where it is given as `*`.
    complete: Option<u64>,
}

impl ContentRange {
    fn parse(value: &[u8]) -> Option<Self> {
        let value = core::str::from_utf8(value).ok()?;
        let (range, complete) = value.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        Some(Self {
            first: first.parse().ok()?,
            last: last.parse().ok()?,
            complete: if complete == "*" { None } else { Some(complete.parse().ok()?) },
        })
    }

    fn is_play(&self) -> bool {
        const PROBE: u64 = 2;
        let len = self.last.saturating_add(1);
        self.first == 0 && (len > PROBE || self.complete == Some(len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plays() {
        let rows: &[(usize, Option<&str>, bool, &str)] = &[
            (200, None, true, "whole file"),
            (206, Some("bytes 0-99/100"), true, "whole file as a range"),
            (206, Some("bytes 0-2/100"), true, "three bytes from the start"),
            (206, Some("bytes 0-1/100"), false, "probe"),
            (206, Some("bytes 0-0/100"), false, "shorter probe"),
            (206, Some("bytes 0-1/2"), true, "probe of a file of two bytes"),
            (206, Some("bytes 0-0/1"), true, "file of one byte"),
            (206, Some("bytes 0-1/*"), false, "probe, length unknown"),
            (206, Some("bytes 0-9/*"), true, "start, length unknown"),
            (206, Some("bytes 1-99/100"), false, "seek"),
            (206, None, false, "several ranges"),
            (206, Some("bytes */100"), false, "unsatisfied"),
            (206, Some("seconds 0-9/10"), false, "other unit"),
            (206, Some("bytes 0-18446744073709551615/*"), true, "largest number"),
            (206, Some("bytes 0-99999999999999999999/*"), false, "number too large"),
            (304, None, false, "not modified"),
            (404, None, false, "error"),
            (416, Some("bytes */100"), false, "not satisfiable"),
        ];
        for (status, content_range, expected, what) in rows {
            assert_eq!(is_play(*status, content_range.map(str::as_bytes)), *expected, "{what}");
        }
    }
}
