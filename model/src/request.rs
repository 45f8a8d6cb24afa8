//! What is requested: a space, and a format of its recording.

use core::fmt;

use crate::format::{Formats, Selection};
use crate::text::find_byte;

/// The longest space id, in bytes.
pub const MAX_ID_LEN: usize = 128;

/// A valid space id: 1 to [`MAX_ID_LEN`] characters out of `A-Z a-z 0-9 _ -`.
///
/// It holds no dot, slash or percent sign, so it can stand in a path or a header as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceId<'a>(&'a [u8]);

impl<'a> SpaceId<'a> {
    /// Returns the id if all of `bytes` is one.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        bytes.iter().all(is_id_byte).then_some(bytes).and_then(Self::of_id_bytes)
    }

    pub(crate) fn from_text(text: &'a str) -> Option<Self> {
        Self::parse(text.as_bytes())
    }

    /// The id, if there are not too few or too many of its bytes.
    fn of_id_bytes(bytes: &'a [u8]) -> Option<Self> {
        (1..=MAX_ID_LEN).contains(&bytes.len()).then_some(Self(bytes))
    }

    /// The characters of the id; all of them are ASCII.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

impl fmt::Display for SpaceId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&b| fmt::Write::write_char(f, char::from(b)))
    }
}

/// Whether a byte may be in an id. A table, because each byte of each request is checked: with
/// comparisons a request takes 70 instructions more.
#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
static ID_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut b = 0;
    while b < table.len() {
        let c = b as u8;
        table[b] = c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
        b += 1;
    }
    table
};

/// How many bytes an id may have are at the start of `bytes`. Counts in steps of four, which takes 40
/// instructions less for an id of 13 characters.
fn id_len(bytes: &[u8]) -> usize {
    let steps = bytes.chunks_exact(4).take_while(|four| four.iter().all(is_id_byte)).count();
    let rest = bytes.get(4 * steps..).unwrap_or_default();
    4 * steps + rest.iter().take_while(|b| is_id_byte(b)).count()
}

pub(crate) fn is_id_byte(b: &u8) -> bool {
    ID_BYTES.get(usize::from(*b)).is_some_and(|&is| is)
}

/// A space and the accepted formats of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceRequest<'a> {
    /// The space.
    pub id: SpaceId<'a>,
    /// The formats; an error if none of the configured ones can be meant.
    pub selection: Result<Selection, UnknownFormat>,
}

/// The resource does not begin with a space id, or something else than a format follows the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidId;

/// The word that asks for a format is neither `audio`, `video` nor a configured extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownFormat;

impl<'a> SpaceRequest<'a> {
    /// Reads `<id>` or `<id>.<format>`.
    ///
    /// `format` gives the format where the resource has no suffix; it is called only then.
    ///
    /// # Errors
    ///
    /// [`InvalidId`] if the resource is anything else. A suffix that looks like an extension but is
    /// not one of `formats` is an [`UnknownFormat`] in `selection`.
    pub fn parse<'f>(
        resource: &'a [u8],
        formats: &Formats,
        format: impl FnOnce() -> Option<&'f [u8]>,
    ) -> Result<Self, InvalidId> {
        let (id, suffix) = resource.split_at_checked(id_len(resource)).ok_or(InvalidId)?;
        let id = SpaceId::of_id_bytes(id).ok_or(InvalidId)?;
        let selection = match suffix {
            [] => match format() {
                None | Some([]) => Some(Selection::All),
                Some(word) => formats.select(word),
            },
            [b'.', word @ ..] if is_suffix(word) => formats.select(word),
            _ => return Err(InvalidId),
        };

        Ok(Self { id, selection: selection.ok_or(UnknownFormat) })
    }
}

fn is_suffix(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(u8::is_ascii_alphanumeric)
}

/// An argument of a query string, as it is written there. The first one with that name counts; case
/// does not matter: so it is with nginx's `$arg_name`.
pub fn argument<'a>(query: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut rest = query;
    while !rest.is_empty() {
        if let Some((head, [b'=', value @ ..])) = rest.split_at_checked(name.len()) {
            if head.eq_ignore_ascii_case(name.as_bytes()) {
                return value.get(..find_byte(value, b'&').unwrap_or(value.len()));
            }
        }
        let end = find_byte(rest, b'&')?;
        rest = rest.get(end + 1..)?;
    }
    None
}

/// The value of the Allow header field (RFC 9110, section 10.2.1).
pub const ALLOW: &str = "GET, HEAD, OPTIONS";

#[cfg(test)]
mod tests {
    use super::*;

    fn formats() -> Formats {
        Formats::default()
    }

    #[test]
    fn ids() {
        let longest = [b'a'; MAX_ID_LEN];
        let too_long = [b'a'; MAX_ID_LEN + 1];
        let rows: &[(&[u8], bool, &str)] = &[
            (b"1lDxLnrWjwkGm", true, "as the recorder makes them"),
            (b"a", true, "shortest"),
            (&longest, true, "longest"),
            (b"_-", true, "both punctuation marks"),
            (b"", false, "empty"),
            (&too_long, false, "one too long"),
            (b"a.b", false, "dot"),
            (b"a/b", false, "slash"),
            (b"a b", false, "space"),
            (b"a\0", false, "NUL"),
            (b"a%2e", false, "percent sign"),
            ("ä".as_bytes(), false, "not ASCII"),
            (b"a\xff", false, "not UTF-8"),
        ];
        for (bytes, valid, what) in rows {
            assert_eq!(SpaceId::parse(bytes).is_some(), *valid, "{what}");
        }
        assert_eq!(SpaceId(b"a-B_9").to_string(), "a-B_9");
    }

    #[test]
    fn arguments() {
        let rows: &[(&str, Option<&str>, &str)] = &[
            ("", None, "no query string"),
            ("format=mp4", Some("mp4"), "the only one"),
            ("FORMAT=Mp4", Some("Mp4"), "in capitals"),
            ("a=b&format=mp4&c=d", Some("mp4"), "between others"),
            ("format=", Some(""), "empty"),
            ("format=&format=mp4", Some(""), "the first of two"),
            ("format=a=b", Some("a=b"), "with an equals sign"),
            ("format=%6dp4", Some("%6dp4"), "not decoded"),
            ("format", None, "without a value"),
            ("format&format=mp4", Some("mp4"), "once without a value"),
            ("myformat=mp4", None, "end of another name"),
            ("formats=mp4", None, "start of another name"),
            ("x=format=mp4", None, "inside a value"),
            ("&&format=mp4&&", Some("mp4"), "empty pairs"),
            ("a;format=mp4", None, "another separator"),
        ];
        for (query, value, what) in rows {
            assert_eq!(argument(query.as_bytes(), "format"), value.map(str::as_bytes), "{what}");
        }
    }

    #[test]
    fn resources() {
        let formats = formats();
        let one = |word: &str| formats.select(word.as_bytes()).ok_or(UnknownFormat);
        type Row<'a> = (&'a str, Option<&'a str>, Result<(&'a str, &'a str), InvalidId>, &'a str);
        let rows: &[Row<'_>] = &[
            ("x", None, Ok(("x", "")), "id alone"),
            ("x", Some(""), Ok(("x", "")), "empty argument"),
            ("x", Some("MP4"), Ok(("x", "mp4")), "argument in capitals"),
            ("x.mp3", None, Ok(("x", "mp3")), "suffix"),
            ("x.Mp3", Some("mp4"), Ok(("x", "mp3")), "the suffix comes first"),
            ("x.audio", None, Ok(("x", "audio")), "a class of types as suffix"),
            ("x.exe", None, Ok(("x", "exe")), "unknown suffix"),
            ("x", Some("exe"), Ok(("x", "exe")), "unknown argument"),
            ("x.", None, Err(InvalidId), "empty suffix"),
            (".mp3", None, Err(InvalidId), "no id"),
            ("x.mp3.mp3", None, Err(InvalidId), "two suffixes"),
            ("x/y", None, Err(InvalidId), "two segments"),
            ("../x", None, Err(InvalidId), "dot segment"),
            ("x.mp3/", None, Err(InvalidId), "slash behind the suffix"),
            ("", None, Err(InvalidId), "empty"),
            ("x .mp3", None, Err(InvalidId), "space behind the id"),
        ];
        for (resource, argument, expected, what) in rows {
            let asked =
                SpaceRequest::parse(resource.as_bytes(), &formats, || argument.map(str::as_bytes));
            let expected = expected.map(|(id, word)| SpaceRequest {
                id: SpaceId(id.as_bytes()),
                selection: one(word),
            });
            assert_eq!(asked, expected, "{what}: {resource}");
        }
    }
}
