//! The file name that a user is shown for a recording.

use core::{iter, str};

use crate::format::{MAX_EXTENSION_LEN, has_extension};
use crate::request::SpaceId;
use crate::text::{JOINERS, is_hidden, is_mark};

/// The longest file name, in bytes of UTF-8; a longer one is cut between characters, before its
/// extension. File systems take 255, and a browser may add ` (1)` and the like.
pub const MAX_LEN: usize = 200;

/// The file name of a recording.
///
/// It ends in the recording's extension, and holds nothing that a system does not take in a file
/// name (control characters and any of `"*/:<>?\|`), nothing that turns the direction of writing
/// (which could make `exe.mp3` of `3pm.exe`), and no other hidden character but one that joins two
/// letters. It has no white space but single spaces, none at either end of the stem, and is not the
/// name of a device of Windows.
#[derive(Clone, Copy, Debug)]
pub struct FileName<'a> {
    stem: Stem<'a>,
    id: SpaceId<'a>,
    extension: &'a str,
}

/// A title, and what of it may stand in a file name.
///
/// A clean title has letters and digits of any script, with the marks and joiners that they are
/// spelled with, and `_`. What else stands in the title is dropped, and runs of white space and
/// hyphens become one `-`, none at either end.
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

    /// The title in parts, to be kept elsewhere one behind the other: see [`kept`](Self::kept).
    pub fn parts(&self) -> [&'a str; 2] {
        [self.title, if core::ptr::eq(self.title, self.clean) { "" } else { self.clean }]
    }

    /// The same title in a text that is its parts; `None` if that has another length.
    pub fn kept<'k>(&self, text: &'k str) -> Option<CleanTitle<'k>> {
        let (title, clean) = text.split_at_checked(self.title.len())?;
        let clean = if core::ptr::eq(self.title, self.clean) { title } else { clean };
        let is_whole = clean.len() == self.clean.len();
        is_whole.then_some(CleanTitle { title, clean, is_ascii: self.is_ascii })
    }
}

/// A default name with a title, in its parts.
pub(crate) struct Titled<'a> {
    /// The whole title, clean.
    pub(crate) clean: &'a str,
    /// What stands of it in the name.
    pub(crate) cut: &'a str,
    room: usize,
    /// `<id>.<extension>`
    pub(crate) tail: [&'a [u8]; 3],
    /// What stands before the tail if there is nothing of the title.
    pub(crate) prefix: &'static [u8],
}

impl Titled<'_> {
    /// How long a title of ASCII alone can be.
    pub(crate) fn ascii_len(&self) -> usize {
        self.room.min(self.clean.len())
    }

    /// An upper limit for the length of what stands behind the title.
    pub(crate) fn tail_len(&self) -> usize {
        MAX_LEN - self.room
    }
}

#[derive(Clone, Copy, Debug)]
enum Stem<'a> {
    /// `<id>.<extension>`
    Id,
    /// `<clean title>_<id>.<extension>`
    Title(CleanTitle<'a>),
    /// A name given as a whole.
    Whole(Whole),
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

    /// A name that is given as a whole; the default name if nothing remains of it. The extension
    /// is added unless the name ends in it, in any case. Bytes that are not UTF-8 are left out.
    pub fn whole(
        name: &[u8],
        title: Option<CleanTitle<'a>>,
        id: SpaceId<'a>,
        extension: &'a str,
    ) -> Self {
        match Whole::new(name, extension) {
            Some(name) => Self { stem: Stem::Whole(name), id, extension },
            None => Self::with_title(title, id, extension),
        }
    }

    /// The name if it is a default one with a title.
    pub(crate) fn titled(&self) -> Option<Titled<'a>> {
        let Stem::Title(CleanTitle { clean, .. }) = self.stem else { return None };
        let (id, extension) = (self.id.as_bytes(), self.extension.as_bytes());
        let room = title_room(id, extension);
        let mut end = room.min(clean.len());
        while !clean.is_char_boundary(end) {
            end -= 1;
        }
        let (cut, behind) = clean.split_at_checked(end)?;
        let cut = if behind.is_empty() { cut } else { cut.trim_end_matches(is_unfit_at_end) };
        Some(Titled { clean, cut, room, tail: [id, b".", extension], prefix: prefix(id) })
    }

    /// The parts of the name, to be put one after the other.
    pub(crate) fn parts(&self) -> [&[u8]; 5] {
        let (id, extension) = (self.id.as_bytes(), self.extension.as_bytes());
        match (&self.stem, self.titled()) {
            (Stem::Whole(name), _) => [name.as_bytes(), b"", b"", b"", b""],
            (_, Some(name)) => [name.cut.as_bytes(), b"_", id, b".", extension],
            _ => [prefix(id), id, b".", extension, b""],
        }
    }

    /// The name for clients that know only ASCII: the other characters and `%` are left out, and
    /// if nothing remains of the stem it is `<id>.<extension>`. `None` if every client understands
    /// the name as it is. Not for a name with a title.
    pub(crate) fn for_old_clients(&self) -> Option<Self> {
        let Stem::Whole(name) = &self.stem else { return None };
        if name.as_bytes().is_ascii() && !has_percent_encoding(name.as_bytes()) {
            return None;
        }
        Some(Self { stem: name.ascii().map_or(Stem::Id, Stem::Whole), ..*self })
    }

    /// How many bytes the name has.
    pub fn byte_len(&self) -> usize {
        self.parts().iter().map(|part| part.len()).sum()
    }

    /// Writes the name to the start of `buffer` and returns its length in bytes; `None` if the
    /// buffer is shorter than the name.
    pub fn write(&self, buffer: &mut [u8]) -> Option<usize> {
        let mut len = 0;
        for part in self.parts() {
            let end = len + part.len();
            buffer.get_mut(len..end)?.copy_from_slice(part);
            len = end;
        }
        Some(len)
    }
}

/// A name given as a whole, as it may stand in a header field.
#[derive(Clone, Copy, Debug)]
struct Whole {
    bytes: [u8; MAX_LEN],
    len: usize,
    /// How much of it is before the dot of the extension.
    stem_len: usize,
}

impl Whole {
    /// `None` if nothing remains of the name but an extension.
    fn new(name: &[u8], extension: &str) -> Option<Self> {
        let characters = || {
            let characters = name.utf8_chunks().flat_map(|chunk| chunk.valid().chars());
            cleaned(characters, in_name, ' ')
        };
        // How many characters there are up to the last one that is no dot or space, which Windows
        // drops at the end of a name; and whether that is the end of the extension.
        let (mut count, mut has_its_extension) = (0, false);
        let mut tail = [0; MAX_EXTENSION_LEN + 1];
        for (at, c) in characters().enumerate() {
            tail.rotate_left(1);
            if let Some(last) = tail.last_mut() {
                *last = u8::try_from(c).ok().filter(u8::is_ascii).unwrap_or(0);
            }
            if !matches!(c, '.' | ' ') {
                count = at + 1;
                has_its_extension =
                    str::from_utf8(&tail).is_ok_and(|tail| has_extension(tail, extension));
            }
        }

        if !has_its_extension {
            return Self::of_stem(characters().take(count), extension.len())?
                .with(extension.chars());
        }
        // The extension in the letters in which it is given.
        let stem_count = count.checked_sub(extension.len() + ".".len())?;
        let given = characters().take(count).skip(stem_count + ".".len());
        Self::of_stem(characters().take(stem_count), extension.len())?.with(given)
    }

    /// The part before the extension; `None` if nothing remains of it.
    fn of_stem(characters: impl Iterator<Item = char>, extension_len: usize) -> Option<Self> {
        // One more for the underscore.
        let room = MAX_LEN.saturating_sub("_.".len() + extension_len);
        let mut name = Self { bytes: [0; MAX_LEN], len: 0, stem_len: 0 };
        for c in characters.skip_while(|&c| is_unfit_at_start(c)) {
            if name.len + c.len_utf8() > room {
                break;
            }
            name.push(c)?;
        }
        name.len = name.as_str().trim_end_matches(is_unfit_at_end).len();
        if name.len == 0 {
            return None;
        }
        if is_device(name.as_bytes()) {
            name.bytes.rotate_right(1);
            *name.bytes.first_mut()? = b'_';
            name.len += 1;
        }
        name.stem_len = name.len;
        Some(name)
    }

    fn with(mut self, extension: impl Iterator<Item = char>) -> Option<Self> {
        self.push('.')?;
        for c in extension {
            self.push(c)?;
        }
        Some(self)
    }

    fn push(&mut self, c: char) -> Option<()> {
        let end = self.len + c.len_utf8();
        c.encode_utf8(self.bytes.get_mut(self.len..end)?);
        self.len = end;
        Some(())
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn as_str(&self) -> &str {
        // Characters alone are put there.
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// What of the name is ASCII, without `%`. Where something is left out between two spaces or
    /// hyphens, only one of them stays. `None` if no letter or digit remains of the stem.
    fn ascii(&self) -> Option<Self> {
        let (stem, extension) = self.as_str().split_at_checked(self.stem_len)?;
        let (mut left_out, mut is_behind_gap) = (false, false);
        let stem = stem.chars().filter(|&c| {
            let is_gap = matches!(c, ' ' | '-');
            let stays = c.is_ascii() && c != '%' && !(is_gap && is_behind_gap && left_out);
            left_out = !stays;
            is_behind_gap = if stays { is_gap } else { is_behind_gap };
            stays
        });
        let name = Self::of_stem(stem, extension.len().saturating_sub(".".len()))?;
        let remains = name.as_bytes().iter().any(u8::is_ascii_alphanumeric);
        name.with(extension.chars().skip(".".len())).filter(|_| remains)
    }
}

/// What may not begin a name: on Unix a dot hides a file, and programs take a hyphen for an option
/// and a tilde for a home directory; marks and joiners have lost what they belong to.
fn is_unfit_at_start(c: char) -> bool {
    matches!(c, ' ' | '.' | '-' | '~') || is_mark(c) || JOINERS.contains(&c)
}

/// What may not end the part before the extension.
fn is_unfit_at_end(c: char) -> bool {
    matches!(c, ' ' | '.' | '-') || JOINERS.contains(&c)
}

/// Whether Windows takes a name for that of a device, whatever follows its first dot ("Naming
/// Files, Paths, and Namespaces" of Microsoft).
fn is_device(name: &[u8]) -> bool {
    let name = name.split(|&b| b == b'.').next().unwrap_or_default().trim_ascii_end();
    let is = |device: &[u8]| name.eq_ignore_ascii_case(device);
    let is_port = || {
        let Some((kind, number)) = name.split_at_checked("COM".len()) else { return false };
        let is_number = matches!(number, [b'0'..=b'9'] | [0xc2, 0xb9 | 0xb2 | 0xb3]);
        is_number && (kind.eq_ignore_ascii_case(b"COM") || kind.eq_ignore_ascii_case(b"LPT"))
    };
    is(b"CON")
        || is(b"PRN")
        || is(b"AUX")
        || is(b"NUL")
        || is(b"CONIN$")
        || is(b"CONOUT$")
        || is_port()
}

/// What stands before an id that begins a name.
fn prefix(id: &[u8]) -> &'static [u8] {
    if is_device_id(id) { b"_" } else { b"" }
}

/// Whether an id would be the name of a device: all of those have three or four characters.
#[inline(always)]
pub(crate) fn is_device_id(id: &[u8]) -> bool {
    matches!(id.len(), 3 | 4) && is_device(id)
}

/// Whether a client may take something in a quoted name for an encoded byte (RFC 6266, appendix D).
fn has_percent_encoding(name: &[u8]) -> bool {
    name.windows(3).any(
        |three| matches!(three, [b'%', a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()),
    )
}

/// How much of a title stands before `_<id>.<extension>`, in bytes.
fn title_room(id: &[u8], extension: &[u8]) -> usize {
    MAX_LEN.saturating_sub(id.len() + extension.len() + "_.".len())
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
    match clean.split_at_checked(title_room(id, extension)) {
        Some((cut, [_, ..])) => Some(cut.strip_suffix(b"-").unwrap_or(cut)),
        _ => Some(clean),
    }
}

/// Puts a title as it stands in a file name into `clean`.
pub(crate) fn clean_into(clean: &mut String, title: &str) {
    clean.clear();
    if !title.is_ascii() {
        return clean.extend(cleaned(title.chars(), in_title, '-'));
    }
    // The same byte by byte, for a catalog has a million titles.
    let mut gap = false;
    for &b in title.as_bytes() {
        if b.is_ascii_alphanumeric() || b == b'_' {
            if gap && !clean.is_empty() {
                clean.push('-');
            }
            gap = false;
            clean.push(char::from(b));
        } else {
            gap |= matches!(b, b' ' | b'-' | b'\t'..=b'\r');
        }
    }
}

/// What a character is to a file name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It stays.
    Kept,
    /// It stays with the character before it.
    Mark,
    /// It stays between two characters of a script that is not ASCII.
    Joiner,
    /// It separates words.
    Gap,
    /// It is left out, as if it were not there.
    Hidden,
    /// It is left out, and so are its marks.
    Dropped,
}

/// What a character of a title is to the default name.
fn in_title(c: char) -> Kind {
    match c {
        '_' => Kind::Kept,
        '-' => Kind::Gap,
        c if c.is_whitespace() => Kind::Gap,
        c if JOINERS.contains(&c) => Kind::Joiner,
        c if is_hidden(c) => Kind::Hidden,
        c if c.is_alphanumeric() => Kind::Kept,
        c if is_mark(c) => Kind::Mark,
        _ => Kind::Dropped,
    }
}

/// What a character of a name is that is given as a whole. Windows takes none of those that are
/// dropped, and browsers replace them.
fn in_name(c: char) -> Kind {
    match c {
        '"' | '*' | '/' | ':' | '<' | '>' | '?' | '\\' | '|' => Kind::Dropped,
        c if c.is_whitespace() => Kind::Gap,
        c if JOINERS.contains(&c) => Kind::Joiner,
        c if is_hidden(c) => Kind::Hidden,
        c if is_mark(c) => Kind::Mark,
        _ => Kind::Kept,
    }
}

/// Text as it may stand in a file name: with one `gap` for each run of characters that separate
/// words, and none at either end.
fn cleaned(
    mut text: impl Iterator<Item = char>,
    kind: impl Fn(char) -> Kind,
    gap: char,
) -> impl Iterator<Item = char> {
    let mut started = false;
    // The character before, if it stayed and marks and joiners may follow.
    let mut before = None;
    // A gap or a joiner, for which another character has to follow.
    let mut between = None;
    let mut next = None;
    iter::from_fn(move || {
        if let Some(c) = next.take() {
            return Some(c);
        }
        loop {
            let c = text.next()?;
            match kind(c) {
                Kind::Hidden => {}
                Kind::Gap => {
                    before = None;
                    between = started.then_some(gap);
                }
                Kind::Dropped => {
                    before = None;
                    between = between.filter(|&between| between == gap);
                }
                Kind::Joiner if before.is_some_and(|before: char| !before.is_ascii()) => {
                    between = Some(c);
                }
                Kind::Joiner => {}
                Kind::Mark if before.is_none() => {}
                Kind::Mark | Kind::Kept => {
                    started = true;
                    before = Some(c);
                    let joins = |&between: &char| between == gap || !c.is_ascii();
                    let Some(between) = between.take().filter(joins) else { return Some(c) };
                    next = Some(c);
                    return Some(between);
                }
            }
        }
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::disposition::{ContentDisposition, Disposition};

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

    /// A title as a catalog has it, handed to `use_it`.
    pub(crate) fn with_title<R>(
        title: Option<&str>,
        use_it: impl FnOnce(Option<CleanTitle<'_>>) -> R,
    ) -> R {
        let mut clean = String::new();
        clean_into(&mut clean, title.unwrap_or_default());
        let by_character = cleaned(title.unwrap_or_default().chars(), in_title, '-');
        assert_eq!(clean, by_character.collect::<String>());
        let is_ascii = clean.is_ascii();
        use_it(title.map(|title| CleanTitle { title, clean: &clean, is_ascii }))
    }

    /// The name, and what clients see of it that know only ASCII.
    fn shown(name: FileName<'_>) -> (String, String) {
        let len = name.byte_len();
        let mut buffer = vec![0; len + 1];
        assert_eq!(name.write(&mut buffer), Some(len));
        assert_eq!(name.write(&mut buffer[..len]), Some(len), "fits exactly");
        assert_eq!(name.write(&mut buffer[..len - 1]), None, "does not fit");
        let full = String::from_utf8(buffer[..len].to_vec()).unwrap();

        let value = ContentDisposition { disposition: Disposition::Inline, name };
        let mut buffer = vec![0; value.max_len()];
        let len = value.write(&mut buffer).unwrap();
        let text = str::from_utf8(&buffer[..len]).unwrap();
        let ascii = text.split('"').nth(1).unwrap();
        assert_eq!(ascii == full, !text.contains("filename*"), "{text}");
        (full, ascii.to_owned())
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
            (Some("a - !- b"), "a-b_1lDx.mp3", "a-b_1lDx.mp3", "a run around a dropped one"),
            (Some("snake_case"), "snake_case_1lDx.mp3", "snake_case_1lDx.mp3", "underscore"),
            (
                Some("\"../etc\\passwd\"\r\nX: y;"),
                "etcpasswd-X-y_1lDx.mp3",
                "etcpasswd-X-y_1lDx.mp3",
                "punctuation",
            ),
            (Some("Größe 2"), "Größe-2_1lDx.mp3", "Gre-2_1lDx.mp3", "umlaut"),
            (Some("日本 語"), "日本-語_1lDx.mp3", "1lDx.mp3", "no ASCII"),
            (Some("日本 rust 語"), "日本-rust-語_1lDx.mp3", "rust_1lDx.mp3", "some ASCII"),
            (Some("🎙 on air"), "on-air_1lDx.mp3", "on-air_1lDx.mp3", "emoji"),
            (
                Some("one\ntwo\r\nthree\tfour"),
                "one-two-three-four_1lDx.mp3",
                "one-two-three-four_1lDx.mp3",
                "line breaks and tabs",
            ),
            (Some("Café\u{a0}Society"), "Café-Society_1lDx.mp3", "Caf-Society_1lDx.mp3", "NBSP"),
            (Some("東京\u{3000}大阪"), "東京-大阪_1lDx.mp3", "1lDx.mp3", "ideographic space"),
            (Some("ä\u{2028}ö\u{85}ü"), "ä-ö-ü_1lDx.mp3", "1lDx.mp3", "other line ends"),
            (Some("ที่นี่"), "ที่นี่_1lDx.mp3", "1lDx.mp3", "Thai tone marks"),
            (Some("हिन्दी में"), "हिन्दी-में_1lDx.mp3", "1lDx.mp3", "Hindi vowel signs and virama"),
            (Some("مُحَمَّد"), "مُحَمَّد_1lDx.mp3", "1lDx.mp3", "Arabic vowel marks"),
            (Some("தமிழ்"), "தமிழ்_1lDx.mp3", "1lDx.mp3", "Tamil"),
            (Some("Cafe\u{301}"), "Cafe\u{301}_1lDx.mp3", "Cafe_1lDx.mp3", "NFD stays NFD"),
            (Some("Caf\u{e9}"), "Caf\u{e9}_1lDx.mp3", "Caf_1lDx.mp3", "NFC stays NFC"),
            (Some("می\u{200c}خواهم"), "می\u{200c}خواهم_1lDx.mp3", "1lDx.mp3", "Persian ZWNJ"),
            (Some("क्\u{200d}ष"), "क्\u{200d}ष_1lDx.mp3", "1lDx.mp3", "Hindi ZWJ"),
            (Some("a\u{200d}b"), "ab_1lDx.mp3", "ab_1lDx.mp3", "a joiner in ASCII"),
            (Some("ä\u{200d}b"), "äb_1lDx.mp3", "b_1lDx.mp3", "a joiner before ASCII"),
            (
                Some("می\u{200c} \u{200d}م\u{200c}"),
                "می-م_1lDx.mp3",
                "1lDx.mp3",
                "joiners at the ends of words",
            ),
            (Some("!\u{301}a \u{301}b"), "a-b_1lDx.mp3", "a-b_1lDx.mp3", "marks of nothing"),
            (Some("1\u{fe0f}\u{20e3} go"), "1-go_1lDx.mp3", "1-go_1lDx.mp3", "enclosing mark"),
            (
                Some("a\u{ad}b\u{200b}c\u{2060}d\u{feff}e\u{180e}f\u{3164}g\u{115f}h\u{ffa0}i"),
                "abcdefghi_1lDx.mp3",
                "abcdefghi_1lDx.mp3",
                "hidden characters and fillers",
            ),
            (
                Some("葛\u{e0100}城\u{fe00}\u{e0041}"),
                "葛城_1lDx.mp3",
                "1lDx.mp3",
                "variation selectors and tags",
            ),
            (Some("a\u{202e}3pm\u{2066}b"), "a3pmb_1lDx.mp3", "a3pmb_1lDx.mp3", "direction"),
            (Some("CON"), "CON_1lDx.mp3", "CON_1lDx.mp3", "no device, for the id follows"),
        ];
        for (title, full, ascii, what) in rows {
            let shown = with_name(*title, "1lDx", shown);
            assert_eq!(shown, ((*full).into(), (*ascii).into()), "{what}");
        }
    }

    #[test]
    fn ids_that_are_devices() {
        for (id, expected) in [
            ("NUL", "_NUL.mp3"),
            ("con", "_con.mp3"),
            ("Com1", "_Com1.mp3"),
            ("lpt0", "_lpt0.mp3"),
            ("CONA", "CONA.mp3"),
            ("COMx", "COMx.mp3"),
            ("NULL", "NULL.mp3"),
            ("a", "a.mp3"),
        ] {
            assert_eq!(with_name(None, id, shown), (expected.into(), expected.into()));
            assert_eq!(with_name(Some("日"), id, shown).1, expected, "nothing of the title");
            let titled = with_name(Some("t"), id, shown).0;
            assert_eq!(titled, format!("t_{id}.mp3"), "not at the start");
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
        // No gap where the title is cut.
        let room = MAX_LEN - "_1lDx.mp3".len();
        let title = format!("{} b", "a".repeat(room - 1));
        let (full, ascii) = with_name(Some(&title), "1lDx", shown);
        assert_eq!(full, format!("{}_1lDx.mp3", "a".repeat(room - 1)));
        assert_eq!(full, ascii);
        let title = format!("é{} b", "a".repeat(room - 3));
        let (full, ascii) = with_name(Some(&title), "1lDx", shown);
        assert_eq!(full, format!("é{}_1lDx.mp3", "a".repeat(room - 3)));
        assert_eq!(ascii, format!("{}-b_1lDx.mp3", "a".repeat(room - 3)));
        let title = format!("é{} bc", "a".repeat(room - 1));
        assert_eq!(
            with_name(Some(&title), "1lDx", shown).1,
            format!("{}_1lDx.mp3", "a".repeat(room - 1))
        );
    }

    #[test]
    fn whole_names() {
        let rows: &[(&str, &str, &str, &str)] = &[
            ("talk.mp3", "talk.mp3", "talk.mp3", "plain"),
            ("a;b, c.mp3", "a;b, c.mp3", "a;b, c.mp3", "separators stay"),
            ("a\"b\\c/d.mp3", "abcd.mp3", "abcd.mp3", "quotes and slashes"),
            ("a:b*c?d<e>f|g.mp3", "abcdefg.mp3", "abcdefg.mp3", "what Windows does not take"),
            ("../../etc/passwd", "etcpasswd.mp3", "etcpasswd.mp3", "a path"),
            ("a\r\nb\0c\x7fd.mp3", "a bcd.mp3", "a bcd.mp3", "control characters"),
            ("a\t b\u{a0}\u{3000}c\u{2028}d.mp3", "a b c d.mp3", "a b c d.mp3", "white space"),
            ("Füße.mp3", "Füße.mp3", "Fe.mp3", "umlaut"),
            ("日本.mp3", "日本.mp3", "1lDx.mp3", "nothing of the stem in ASCII"),
            ("日本 2025.mp3", "日本 2025.mp3", "2025.mp3", "no gap at the start"),
            ("2025 日本.mp3", "2025 日本.mp3", "2025.mp3", "no gap at the end"),
            ("a 日本 b-語-c.mp3", "a 日本 b-語-c.mp3", "a b-c.mp3", "no double gap"),
            ("a - b -é- c.mp3", "a - b -é- c.mp3", "a - b -c.mp3", "nor a longer one"),
            ("-é.日本-.b.mp3", "é.日本-.b.mp3", "b.mp3", "dots and hyphens at the start"),
            ("b.日本.mp3", "b.日本.mp3", "b.mp3", "a dot at the end"),
            ("Cafe\u{301}.mp3", "Cafe\u{301}.mp3", "Cafe.mp3", "NFD stays NFD"),
            ("\u{301}a\"\u{301}b.mp3", "ab.mp3", "ab.mp3", "marks of nothing"),
            ("می\u{200c}خواهم\u{200c}.mp3", "می\u{200c}خواهم.mp3", "1lDx.mp3", "joiners"),
            ("👩\u{200d}🚀 ok.mp3", "👩\u{200d}🚀 ok.mp3", "ok.mp3", "joined emoji"),
            (
                "a\u{200d}b\u{200b}c\u{feff}d\u{3164}e\u{e0041}.mp3",
                "abcde.mp3",
                "abcde.mp3",
                "hidden",
            ),
            ("a\u{202e}3pm.exe", "a3pm.exe.mp3", "a3pm.exe.mp3", "turned direction"),
            ("=", "=.mp3", "=.mp3", "ASCII without a letter"),
            ("=é", "=é.mp3", "1lDx.mp3", "the same with another character"),
            ("a%41b.mp3", "a%41b.mp3", "a41b.mp3", "what a client may decode"),
            ("100%.mp3", "100%.mp3", "100%.mp3", "what it can't"),
            ("%é41%%414.mp3", "%é41%%414.mp3", "41414.mp3", "nor what is left over"),
            ("%4%zz.mp3", "%4%zz.mp3", "%4%zz.mp3", "no two digits"),
            // Extensions.
            ("x", "x.mp3", "x.mp3", "none"),
            ("x.exe", "x.exe.mp3", "x.exe.mp3", "another one"),
            ("x.mp3.exe", "x.mp3.exe.mp3", "x.mp3.exe.mp3", "another one behind it"),
            ("x.MP3", "x.MP3", "x.MP3", "in capitals"),
            ("xmp3", "xmp3.mp3", "xmp3.mp3", "no dot"),
            ("x.m\u{200b}p3", "x.mp3", "x.mp3", "with a hidden character"),
            ("x.mp3\u{301}", "x.mp3\u{301}.mp3", "x.mp3.mp3", "with a mark"),
            ("x.mp3. .\n", "x.mp3", "x.mp3", "dots and spaces at the end"),
            ("x .. .mp3", "x.mp3", "x.mp3", "the same before the extension"),
            ("x.exe .", "x.exe.mp3", "x.exe.mp3", "behind another extension"),
            ("x.mp3/", "x.mp3", "x.mp3", "a slash at the end"),
            ("é.ＭＰ３", "é.ＭＰ３.mp3", "1lDx.mp3", "that only looks like it"),
            // Ends.
            (".htaccess", "htaccess.mp3", "htaccess.mp3", "a dot at the start"),
            ("-rf ~.mp3", "rf ~.mp3", "rf ~.mp3", "a hyphen at the start"),
            ("~/x- .mp3", "x.mp3", "x.mp3", "a tilde, and a hyphen at the end"),
            // Devices.
            ("CON.mp3", "_CON.mp3", "_CON.mp3", "a device"),
            ("nul", "_nul.mp3", "_nul.mp3", "without an extension"),
            ("aux .b.mp3", "_aux .b.mp3", "_aux .b.mp3", "with spaces and another dot"),
            ("com¹.mp3", "_com¹.mp3", "_com.mp3", "a superscript"),
            ("日lpt1.mp3", "日lpt1.mp3", "_lpt1.mp3", "in ASCII only"),
            ("conin$.mp3", "_conin$.mp3", "_conin$.mp3", "a console"),
            ("console.mp3", "console.mp3", "console.mp3", "no device"),
        ];
        for (name, full, ascii, what) in rows {
            let name = FileName::whole(name.as_bytes(), None, id("1lDx"), "mp3");
            assert_eq!(shown(name), ((*full).into(), (*ascii).into()), "{what}");
        }
        let name = FileName::whole(b"a\xff\xfe\xc3b\xe9.mp3", None, id("1lDx"), "mp3");
        assert_eq!(shown(name).0, "ab.mp3", "not UTF-8");
    }

    #[test]
    fn names_of_which_nothing_remains_are_the_default() {
        for name in [
            "",
            " ",
            "\r\n\"",
            ".",
            "..",
            "...",
            "/",
            "-",
            "~",
            ".mp3",
            "..mp3",
            " .mp3",
            "-.MP3 ",
            "\u{200b}.mp3",
            "\u{202e}",
            "\u{301}",
            "\u{200d}.mp3",
            "*?.mp3",
        ] {
            with_title(Some("Größe 2"), |title| {
                let name = FileName::whole(name.as_bytes(), title, id("1lDx"), "mp3");
                assert_eq!(shown(name).0, "Größe-2_1lDx.mp3");
            });
            let name = FileName::whole(name.as_bytes(), None, id("1lDx"), "mp3");
            assert_eq!(shown(name).0, "1lDx.mp3");
        }
    }

    #[test]
    fn long_whole_names_keep_their_extension() {
        for extension in ["mp3", "x", "abcdefghijklmnop"] {
            for (start, end) in [("", ""), (".", "!"), ("a", ".exe"), ("", " . ")] {
                for fill in ["a", "é", "日本", " -", ". a", "a\u{301}", "न्\u{200d}"] {
                    for given in ["", ".", ".MP3", ".mp3", ".ABCDEFGHIJKLMNOP"] {
                        let name = format!("{start}{}{end}{given}", fill.repeat(300));
                        let whole = FileName::whole(name.as_bytes(), None, id("1lDx"), extension);
                        let (full, ascii) = shown(whole);
                        for shown in [&full, &ascii] {
                            assert!(shown.len() <= MAX_LEN, "{name}: {shown}");
                            assert!(has_extension(shown, extension), "{name}: {shown}");
                        }
                        if fill != " -" {
                            assert!(full.len() > MAX_LEN - 30, "{name}: {full}");
                        }
                    }
                }
            }
        }
    }

    /// The rules that hold for every name, whatever it was made of.
    #[test]
    fn any_name() {
        const PIECES: [&str; 44] = [
            "a",
            "Z",
            "9",
            "_",
            "mp3",
            "exe",
            "con",
            "é",
            "日",
            "न",
            "ى",
            "🎙",
            "е",
            " ",
            "\t",
            "\r\n",
            "\u{a0}",
            "\u{3000}",
            "\u{2028}",
            "-",
            ".",
            ".mp3",
            ".MP3",
            "~",
            "%",
            "41",
            "\"",
            "\\",
            "/",
            ":",
            "|",
            "*",
            "\0",
            "\u{7f}",
            "\u{85}",
            "\u{202e}",
            "\u{200b}",
            "\u{200c}",
            "\u{200d}",
            "\u{301}",
            "\u{e48}",
            "\u{20dd}",
            "\u{e0041}",
            "\u{3164}",
        ];
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % below as u64) as usize
        };
        for _ in 0..30_000 {
            let count = if next(50) == 0 { next(300) } else { next(12) };
            let text: String = (0..count).map(|_| PIECES[next(PIECES.len())]).collect();
            let extension = ["mp3", "x", "abcdefghijklmnop"][next(3)];
            let id = id(["1lDx", "con", "-", "Aux"][next(4)]);
            let whole = FileName::whole(text.as_bytes(), None, id, extension);
            let titled =
                with_title(Some(&text), |title| shown(FileName::with_title(title, id, extension)));
            for (full, ascii) in [shown(whole), titled] {
                let what = format!("{text:?}: {full:?}, {ascii:?}");
                assert!(ascii.is_ascii() && !ascii.is_empty(), "{what}");
                for name in [&full, &ascii] {
                    let mut before = '.';
                    for c in name.chars() {
                        let is_hidden = is_hidden(c) && !JOINERS.contains(&c);
                        assert!(!is_hidden && !r#""*/:<>?\|"#.contains(c), "{what}");
                        assert!(!c.is_whitespace() || (c == ' ' && before != ' '), "{what}");
                        assert!(!JOINERS.contains(&c) || !before.is_ascii(), "{what}");
                        before = c;
                    }
                    assert!(name.len() <= MAX_LEN && has_extension(name, extension), "{what}");
                    assert!(!is_device(name.as_bytes()), "{what}");
                    let stem = &name[..name.len() - extension.len() - 1];
                    let before_id = stem.strip_suffix(&id.to_string());
                    let is_id =
                        before_id.is_some_and(|stem| stem.is_empty() || stem.ends_with('_'));
                    assert!(is_id || !stem.starts_with(is_unfit_at_start), "{what}");
                    assert!(is_id || !stem.ends_with(is_unfit_at_end), "{what}");
                }
                assert!(ascii == full || !ascii.contains('%'), "{what}");
                assert!(!has_percent_encoding(ascii.as_bytes()), "{what}");
            }
        }
    }
}
