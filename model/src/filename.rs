//! The file name that a user is shown for a recording.

use core::iter;

use crate::request::SpaceId;

/// The longest file name, in bytes of UTF-8; a longer one is cut between characters. File systems
/// take 255, and a browser may add ` (1)` and the like.
pub const MAX_LEN: usize = 200;

/// The file name of a recording.
///
/// It holds no control character, double quote, slash or backslash, and nothing that turns the
/// direction of writing (which could make `exe.mp3` of `3pm.exe`).
#[derive(Clone, Copy, Debug)]
pub struct FileName<'a> {
    stem: Stem<'a>,
    id: SpaceId<'a>,
    extension: &'a str,
}

/// A title, and what of it may stand in a file name.
///
/// A clean title has letters and digits of any script and `_`; what else stands in the title is
/// dropped, and runs of spaces and hyphens become one `-`, none at either end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanTitle<'a> {
    pub(crate) title: &'a str,
    pub(crate) clean: &'a str,
    pub(crate) is_ascii: bool,
}

impl<'a> CleanTitle<'a> {
    /// The title as it was written.
    pub fn as_str(&self) -> &'a str {
        self.title
    }
}

/// A default name with a title, in its parts.
pub(crate) struct Titled<'a> {
    /// The whole title, clean.
    pub(crate) clean: &'a str,
    /// What stands of it in the name.
    pub(crate) cut: &'a str,
    room: usize,
    pub(crate) id: &'a [u8],
    pub(crate) extension: &'a [u8],
}

impl Titled<'_> {
    /// How long a title of ASCII alone can be.
    pub(crate) fn ascii_len(&self) -> usize {
        self.room.min(self.clean.len())
    }

    /// The length of `_<id>.<extension>`.
    pub(crate) fn tail_len(&self) -> usize {
        tail_len(self.id, self.extension)
    }
}

#[derive(Clone, Copy, Debug)]
enum Stem<'a> {
    /// `<id>.<extension>`
    Id,
    /// `<clean title>_<id>.<extension>`
    Title(CleanTitle<'a>),
    /// A name given as a whole. Bytes that are not UTF-8 are left out.
    Whole(&'a [u8]),
}

impl<'a> FileName<'a> {
    /// The default name: `<clean title>_<id>.<extension>`, without a title `<id>.<extension>`.
    pub fn with_title(title: Option<CleanTitle<'a>>, id: SpaceId<'a>, extension: &'a str) -> Self {
        let stem = match title {
            Some(title) if !title.clean.is_empty() => Stem::Title(title),
            _ => Stem::Id,
        };
        Self { stem, id, extension }
    }

    /// A name that is given as a whole; the default name without a title if nothing remains of it.
    pub fn whole(name: &'a [u8], id: SpaceId<'a>, extension: &'a str) -> Self {
        let stem = match whole_name(name).next() {
            Some(_) => Stem::Whole(name),
            None => Stem::Id,
        };
        Self { stem, id, extension }
    }

    /// The name if it is a default one with a title.
    pub(crate) fn titled(&self) -> Option<Titled<'a>> {
        let Stem::Title(CleanTitle { clean, .. }) = self.stem else { return None };
        let room = MAX_LEN.saturating_sub(self.tail_len());
        let mut end = room.min(clean.len());
        while !clean.is_char_boundary(end) {
            end -= 1;
        }
        let (cut, _) = clean.split_at_checked(end)?;
        let (id, extension) = (self.id.as_bytes(), self.extension.as_bytes());
        Some(Titled { clean, cut, room, id, extension })
    }

    /// Whether the name is plain ASCII.
    pub fn is_ascii(&self) -> bool {
        self.chars(&mut |c| c.is_ascii())
    }

    /// An upper limit for the length of the name, in bytes of UTF-8.
    pub fn max_len(&self) -> usize {
        self.tail_len().max(MAX_LEN)
    }

    /// Hands the characters of the name to `each`, until that returns `false`. Returns whether it
    /// never did.
    pub fn chars(&self, each: &mut impl FnMut(char) -> bool) -> bool {
        match self.stem {
            Stem::Id => self.id_chars(each),
            Stem::Title(title) => self.title_chars(title.clean.chars(), each),
            Stem::Whole(name) => whole_name(name).all(each),
        }
    }

    /// The same for the name as clients see it that know only ASCII: the other characters are left
    /// out, and if nothing of a title remains it is `<id>.<extension>`.
    pub fn ascii_chars(&self, each: &mut impl FnMut(char) -> bool) -> bool {
        if self.is_ascii() {
            return self.chars(each);
        }
        match self.stem {
            Stem::Id => self.id_chars(each),
            Stem::Title(title) => {
                self.title_chars(cleaned(title.clean.chars().filter(char::is_ascii)), each)
            }
            Stem::Whole(name) => {
                let ascii = || whole_name(name).filter(char::is_ascii);
                let stem_remains =
                    ascii().take_while(|&c| c != '.').any(|c| c.is_ascii_alphanumeric());
                if stem_remains { ascii().all(each) } else { self.id_chars(each) }
            }
        }
    }

    /// Writes the name to the start of `buffer` and returns its length in bytes; `None` if the
    /// buffer is shorter than the name.
    pub fn write(&self, buffer: &mut [u8]) -> Option<usize> {
        let mut len = 0;
        let fits = self.chars(&mut |c| {
            let end = len + c.len_utf8();
            let Some(place) = buffer.get_mut(len..end) else {
                return false;
            };
            c.encode_utf8(place);
            len = end;
            true
        });
        fits.then_some(len)
    }

    fn id_chars(&self, each: &mut impl FnMut(char) -> bool) -> bool {
        ascii(self.id.as_bytes()).chain(iter::once('.')).chain(self.extension.chars()).all(each)
    }

    fn title_chars(
        &self,
        title: impl Iterator<Item = char>,
        each: &mut impl FnMut(char) -> bool,
    ) -> bool {
        let mut any = false;
        for c in cut(title, MAX_LEN.saturating_sub(self.tail_len())) {
            any = true;
            if !each(c) {
                return false;
            }
        }
        (!any || each('_')) && self.id_chars(each)
    }

    fn tail_len(&self) -> usize {
        tail_len(self.id.as_bytes(), self.extension.as_bytes())
    }
}

/// The length of `_<id>.<extension>`.
fn tail_len(id: &[u8], extension: &[u8]) -> usize {
    id.len() + extension.len() + "_.".len()
}

/// What of a title stands in a default name, if that is plain ASCII; empty without a title.
#[inline(always)]
pub(crate) fn ascii_title<'a>(
    title: Option<CleanTitle<'a>>,
    id: &[u8],
    extension: &[u8],
) -> Option<&'a [u8]> {
    let Some(title) = title else { return Some(b"") };
    if !title.is_ascii {
        return None;
    }
    let clean = title.clean.as_bytes();
    clean.get(..clean.len().min(MAX_LEN.saturating_sub(tail_len(id, extension))))
}

fn ascii(bytes: &[u8]) -> impl Iterator<Item = char> {
    bytes.iter().map(|&b| char::from(b))
}

/// The leading characters that take at most `len` bytes of UTF-8.
fn cut(chars: impl Iterator<Item = char>, len: usize) -> impl Iterator<Item = char> {
    let mut left = len;
    chars.map_while(move |c| {
        left = left.checked_sub(c.len_utf8())?;
        Some(c)
    })
}

fn whole_name(name: &[u8]) -> impl Iterator<Item = char> {
    let chars = name
        .utf8_chunks()
        .flat_map(|chunk| chunk.valid().chars())
        .filter(|&c| is_safe(c))
        .skip_while(|&c| c == ' ');
    cut(chars, MAX_LEN)
}

/// Whether a character may stand in a file name in a header field.
fn is_safe(c: char) -> bool {
    let turns_direction = matches!(
        c,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    let separates_lines = matches!(c, '\u{2028}' | '\u{2029}');
    !c.is_control() && !turns_direction && !separates_lines && !matches!(c, '"' | '/' | '\\')
}

/// Puts a title as it stands in a file name into `clean`.
pub(crate) fn clean_into(clean: &mut String, title: &str) {
    clean.clear();
    if !title.is_ascii() {
        return clean.extend(cleaned(title.chars()));
    }
    // The same byte by byte, for a catalogue has a million titles.
    let mut gap = false;
    for &b in title.as_bytes() {
        if b.is_ascii_alphanumeric() || b == b'_' {
            if gap && !clean.is_empty() {
                clean.push('-');
            }
            gap = false;
            clean.push(char::from(b));
        } else {
            gap |= b == b' ' || b == b'-';
        }
    }
}

/// A title as it stands in a file name.
fn cleaned(title: impl Iterator<Item = char>) -> impl Iterator<Item = char> {
    let mut kept = title.filter(|c| c.is_alphanumeric() || matches!(c, '_' | ' ' | '-'));
    let mut started = false;
    let mut next = None;
    iter::from_fn(move || {
        if let Some(c) = next.take() {
            return Some(c);
        }
        let c = kept.next()?;
        if !is_gap(c) {
            started = true;
            return Some(c);
        }
        // A run of spaces and hyphens is one hyphen, but only between two other characters.
        let after = kept.find(|&c| !is_gap(c))?;
        if !started {
            started = true;
            return Some(after);
        }
        next = Some(after);
        Some('-')
    })
}

fn is_gap(c: char) -> bool {
    matches!(c, ' ' | '-')
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn id(id: &str) -> SpaceId<'_> {
        SpaceId::parse(id.as_bytes()).unwrap()
    }

    /// The default name for a title, handed to `use_it`.
    pub(crate) fn with_name<R>(
        title: Option<&str>,
        id: &str,
        use_it: impl Fn(FileName<'_>) -> R,
    ) -> R {
        let id = SpaceId::parse(id.as_bytes()).unwrap();
        with_title(title, |title| use_it(FileName::with_title(title, id, "mp3")))
    }

    /// A title as a catalogue has it, handed to `use_it`.
    pub(crate) fn with_title<R>(
        title: Option<&str>,
        use_it: impl FnOnce(Option<CleanTitle<'_>>) -> R,
    ) -> R {
        let mut clean = String::new();
        clean_into(&mut clean, title.unwrap_or_default());
        assert_eq!(clean, cleaned(title.unwrap_or_default().chars()).collect::<String>());
        let is_ascii = clean.is_ascii();
        use_it(title.map(|title| CleanTitle { title, clean: &clean, is_ascii }))
    }

    fn shown(name: FileName<'_>) -> (String, String) {
        let (mut full, mut ascii) = (String::new(), String::new());
        assert!(name.chars(&mut |c| {
            full.push(c);
            true
        }));
        assert!(name.ascii_chars(&mut |c| {
            ascii.push(c);
            true
        }));
        assert_eq!(name.is_ascii(), full.is_ascii());
        assert!(full.len() <= name.max_len() && ascii.len() <= name.max_len());
        let mut buffer = vec![0; name.max_len()];
        assert_eq!(name.write(&mut buffer), Some(full.len()));
        assert_eq!(&buffer[..full.len()], full.as_bytes());
        assert_eq!(name.write(&mut buffer[..full.len() - 1]), None);
        (full, ascii)
    }

    #[test]
    fn titles() {
        let rows: &[(Option<&str>, &str, &str, &str)] = &[
            (None, "1lDx.mp3", "1lDx.mp3", "no title"),
            (Some(""), "1lDx.mp3", "1lDx.mp3", "empty title"),
            (Some(" -!? - "), "1lDx.mp3", "1lDx.mp3", "nothing left of the title"),
            (
                Some("Rust in production"),
                "Rust-in-production_1lDx.mp3",
                "Rust-in-production_1lDx.mp3",
                "spaces",
            ),
            (Some("  a --  b  "), "a-b_1lDx.mp3", "a-b_1lDx.mp3", "runs"),
            (Some("a - \t- b"), "a-b_1lDx.mp3", "a-b_1lDx.mp3", "a run around a dropped one"),
            (Some("snake_case"), "snake_case_1lDx.mp3", "snake_case_1lDx.mp3", "underscore"),
            (
                Some("\"../etc\\passwd\"\r\nX: y;"),
                "etcpasswdX-y_1lDx.mp3",
                "etcpasswdX-y_1lDx.mp3",
                "punctuation",
            ),
            (Some("Größe 2"), "Größe-2_1lDx.mp3", "Gre-2_1lDx.mp3", "umlaut"),
            (Some("日本 語"), "日本-語_1lDx.mp3", "1lDx.mp3", "no ASCII"),
            (Some("日本 rust 語"), "日本-rust-語_1lDx.mp3", "rust_1lDx.mp3", "some ASCII"),
            (Some("🎙 on air"), "on-air_1lDx.mp3", "on-air_1lDx.mp3", "emoji"),
        ];
        for (title, full, ascii, what) in rows {
            let shown = with_name(*title, "1lDx", shown);
            assert_eq!(shown, ((*full).into(), (*ascii).into()), "{what}");
        }
    }

    #[test]
    fn long_titles_are_cut_between_characters() {
        for title in ["ä".repeat(300), "a".repeat(300), "日本語".repeat(200)] {
            let (full, _) = with_name(Some(&title), "1lDx", shown);
            assert!(full.ends_with("_1lDx.mp3"), "{full}");
            assert!((MAX_LEN - 2..=MAX_LEN).contains(&full.len()), "{}", full.len());
        }
        // Plain ASCII by the cut: then nothing is left out that could make room for more.
        let title = format!("{}-éb", "a".repeat(MAX_LEN - 10));
        let (full, ascii) = with_name(Some(&title), "1lDx", shown);
        assert_eq!(full, ascii);
        let long = "i".repeat(128);
        let (full, _) = with_name(Some(&"t".repeat(300)), &long, shown);
        assert_eq!(full, format!("{}_{long}.mp3", "t".repeat(MAX_LEN - 133)));
    }

    #[test]
    fn whole_names() {
        let rows: &[(&[u8], &str, &str, &str)] = &[
            (b"talk.mp3", "talk.mp3", "talk.mp3", "plain"),
            (b"a;b, c.mp3", "a;b, c.mp3", "a;b, c.mp3", "separators stay"),
            (b"a\"b\\c/d.mp3", "abcd.mp3", "abcd.mp3", "quotes and slashes"),
            (b"a\r\nb\0c\x7fd.mp3", "abcd.mp3", "abcd.mp3", "control characters"),
            ("Füße.mp3".as_bytes(), "Füße.mp3", "Fe.mp3", "umlaut"),
            ("日本.mp3".as_bytes(), "日本.mp3", "1lDx.mp3", "nothing of the stem in ASCII"),
            (b"a\xff\xfeb.mp3", "ab.mp3", "ab.mp3", "not UTF-8"),
            ("a\u{202e}3pm.exe".as_bytes(), "a3pm.exe", "a3pm.exe", "turned direction"),
            ("a\u{85}\u{2028}b".as_bytes(), "ab", "ab", "other line ends"),
            (b"=", "=", "=", "ASCII without a letter"),
            ("=é".as_bytes(), "=é", "1lDx.mp3", "the same with another character"),
            (b"", "1lDx.mp3", "1lDx.mp3", "empty"),
            (b"\r\n\"", "1lDx.mp3", "1lDx.mp3", "nothing left"),
        ];
        for (name, full, ascii, what) in rows {
            let name = FileName::whole(name, id("1lDx"), "mp3");
            assert_eq!(shown(name), ((*full).into(), (*ascii).into()), "{what}");
        }
        let long = "é".repeat(300);
        let (full, _) = shown(FileName::whole(long.as_bytes(), id("x"), "mp3"));
        assert_eq!(full, "é".repeat(MAX_LEN / 2));
    }
}
