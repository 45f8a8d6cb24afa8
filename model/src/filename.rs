//! The file name that a user is shown for a recording.

use core::{iter, mem, str};

use crate::entry::push;
use crate::format::{MAX_EXTENSION_LEN, has_extension};
use crate::request::SpaceId;
use crate::text::{JOINERS, Pieces, is_hidden, is_mark};

/// The longest file name, in bytes of UTF-8; a longer one is cut between characters, before its
/// extension. File systems take 255, and a browser may add ` (1)` and the like.
pub const MAX_LEN: usize = 200;

/// A title, and what of it may be in a file name.
///
/// A clean title has letters and digits of any script, with the marks and joiners that they are
/// spelled with, and `_`. Everything else in the title is dropped, and runs of white space and
/// hyphens become one `-`, none at either end. Both are UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanTitle<'a> {
    pub(crate) title: &'a [u8],
    pub(crate) clean: &'a [u8],
    pub(crate) is_ascii: bool,
}

impl<'a> CleanTitle<'a> {
    /// The title as it was written.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.title
    }

    /// The title in parts, to be kept elsewhere one behind the other: see [`kept`](Self::kept).
    pub fn parts(&self) -> [&'a [u8]; 2] {
        [self.title, if core::ptr::eq(self.title, self.clean) { b"" } else { self.clean }]
    }

    /// The same title in memory that holds its parts; `None` if that has another length.
    pub fn kept<'k>(&self, parts: &'k [u8]) -> Option<CleanTitle<'k>> {
        let (title, clean) = parts.split_at_checked(self.title.len())?;
        let clean = if core::ptr::eq(self.title, self.clean) { title } else { clean };
        let is_whole = clean.len() == self.clean.len();
        is_whole.then_some(CleanTitle { title, clean, is_ascii: self.is_ascii })
    }
}

/// The file name of a recording.
///
/// It ends in the recording's extension, and holds nothing that a system does not allow in a file
/// name (control characters and any of `"*/:<>?\|`), nothing that changes the direction of writing
/// (which could make `exe.mp3` of `3pm.exe`), and no other hidden character but one that joins two
/// letters. It has no white space but single spaces, none at either end of the stem, and is not the
/// name of a device of Windows.
#[derive(Clone, Copy, Debug)]
pub struct FileName<'a> {
    form: Form<'a>,
    id: &'a [u8],
    extension: &'a str,
    /// Whether every client understands the name in a quoted string.
    pub(crate) is_simple: bool,
}

#[derive(Clone, Copy, Debug)]
enum Form<'a> {
    /// `<id>.<extension>`
    Id,
    /// `<cut title>_<id>.<extension>`, and the whole title, clean.
    Title { cut: &'a [u8], clean: &'a [u8] },
    /// A name given as a whole, and how long it is before the dot of the extension.
    Whole { name: &'a [u8], stem_len: usize },
}

impl<'a> FileName<'a> {
    /// The default name: `<clean title>_<id>.<extension>`, without a title `<id>.<extension>`.
    pub fn with_title(title: Option<&CleanTitle<'a>>, id: SpaceId<'a>, extension: &'a str) -> Self {
        let id = id.as_bytes();
        let Some(&CleanTitle { clean: clean @ [_, ..], is_ascii, .. }) = title else {
            return Self { form: Form::Id, id, extension, is_simple: true };
        };
        let cut = cut(clean, title_room(id, extension));
        let is_simple = is_ascii || cut.is_ascii();
        Self { form: Form::Title { cut, clean }, id, extension, is_simple }
    }

    /// A name that is given as a whole, in place of this one, which stays if nothing remains of the
    /// other. The extension is added unless the name ends in it; case does not matter. Bytes that
    /// are not UTF-8 are left out. The buffer has [`MAX_LEN`] bytes.
    pub fn replaced_by(self, name: &[u8], buffer: &'a mut [u8]) -> Self {
        let Some(whole) = Whole::new(name, self.extension) else { return self };
        let Some(place) = buffer.get_mut(..whole.len) else { return self };
        place.copy_from_slice(whole.as_bytes());
        let name: &[u8] = place;
        let is_simple = name.is_ascii() && !has_percent_encoding(name);
        Self { form: Form::Whole { name, stem_len: whole.stem_len }, is_simple, ..self }
    }

    /// Writes the name for clients that know only ASCII: other characters and `%` are left out, and
    /// if nothing remains of the stem it is `<id>.<extension>`.
    pub(crate) fn write_ascii(&self, mut out: impl FnMut(&[u8])) {
        match &self.form {
            Form::Id => {}
            Form::Title { clean, .. } => {
                let room = title_room(self.id, self.extension);
                if write_ascii_title(clean, room, &mut out) {
                    return self.write_behind_title(out);
                }
            }
            Form::Whole { name, stem_len } => {
                if let Some(name) = Whole::ascii(name, *stem_len) {
                    return out(name.as_bytes());
                }
            }
        }
        self.write_id(out);
    }

    fn write_id(&self, mut out: impl FnMut(&[u8])) {
        // Names of devices have three or four characters.
        if matches!(self.id.len(), 3 | 4) && is_device(self.id) {
            out(b"_");
        }
        out(self.id);
        out(b".");
        out(self.extension.as_bytes());
    }

    fn write_behind_title(&self, mut out: impl FnMut(&[u8])) {
        out(b"_");
        out(self.id);
        out(b".");
        out(self.extension.as_bytes());
    }
}

impl Pieces for FileName<'_> {
    fn write(&self, mut out: impl FnMut(&[u8])) {
        match &self.form {
            Form::Id => self.write_id(out),
            Form::Title { cut, .. } => {
                out(cut);
                self.write_behind_title(out);
            }
            Form::Whole { name, .. } => out(name),
        }
    }
}

/// How much room a title has before `_<id>.<extension>`, in bytes.
fn title_room(id: &[u8], extension: &str) -> usize {
    MAX_LEN.saturating_sub(id.len() + extension.len() + "_.".len())
}

/// As much of a clean title as there is room for.
fn cut(clean: &[u8], room: usize) -> &[u8] {
    let is_boundary = |&end: &usize| clean.get(end).is_none_or(|b| b & 0xc0 != 0x80);
    if clean.len() <= room {
        return clean;
    }
    let end = (0..=room).rev().find(is_boundary).unwrap_or(0);
    let mut cut = clean.get(..end).unwrap_or_default();
    let [non_joiner, joiner] = ["\u{200c}", "\u{200d}"].map(str::as_bytes);
    while let Some(rest) = [b"-", non_joiner, joiner].iter().find_map(|end| cut.strip_suffix(*end))
    {
        cut = rest;
    }
    cut
}

/// Writes what is ASCII of a clean title, at most so many bytes; returns whether there is any.
fn write_ascii_title(clean: &[u8], room: usize, mut out: impl FnMut(&[u8])) -> bool {
    let (mut rest, mut len) = (clean, 0);
    // A hyphen has to be between two other characters.
    let mut gap = false;
    while let Some((&b, behind)) = rest.split_first() {
        let run = rest.iter().take_while(|&&b| b.is_ascii() && b != b'-').count();
        if run == 0 {
            gap |= b == b'-' && len > 0;
            rest = behind;
            continue;
        }
        let hyphen = if mem::take(&mut gap) { &b"-"[..] } else { b"" };
        let taken = run.min(room.saturating_sub(len + hyphen.len()));
        if taken == 0 {
            break;
        }
        out(hyphen);
        out(rest.get(..taken).unwrap_or_default());
        len += hyphen.len() + taken;
        rest = rest.get(run..).unwrap_or_default();
    }
    len > 0
}

/// A name given as a whole, while it is built.
#[derive(Clone, Copy, Debug)]
struct Whole {
    bytes: [u8; MAX_LEN],
    len: usize,
    /// How long it is before the dot of the extension.
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
                has_its_extension = has_extension(&tail, extension);
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

    /// What of a name is ASCII, without `%`. Where something is left out between two spaces or
    /// hyphens, only one of them stays. `None` if no letter or digit remains of the stem.
    fn ascii(name: &[u8], stem_len: usize) -> Option<Self> {
        let (stem, extension) = str::from_utf8(name).ok()?.split_at_checked(stem_len)?;
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

/// Whether a client may take something in a quoted name for an encoded byte (RFC 6266, appendix D).
fn has_percent_encoding(name: &[u8]) -> bool {
    name.windows(3).any(
        |three| matches!(three, [b'%', a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()),
    )
}

/// What stands in a file name for each character of ASCII in a title: itself, a hyphen that separates
/// words, or nothing.
#[allow(clippy::indexing_slicing, reason = "the compiler does it")]
static CLEAN: [u8; 256] = {
    let mut clean = [0; 256];
    let mut b = 0;
    while b < 128 {
        clean[b as usize] = match b {
            b'0'..=b'9' | b'A'..=b'Z' | b'_' | b'a'..=b'z' => b,
            b' ' | b'-' | b'\t'..=b'\r' => b'-',
            _ => 0,
        };
        b += 1;
    }
    clean
};

/// Puts a title, which is UTF-8, as it stands in a file name into `clean`, which has room for as many
/// bytes.
pub(crate) fn clean_into(clean: &mut Vec<u8>, title: &[u8]) {
    clean.clear();
    if !title.is_ascii() {
        let title = str::from_utf8(title).unwrap_or_default();
        return cleaned(title.chars(), in_title, '-').for_each(|c| push(clean, c));
    }
    // The same byte by byte, because a catalog has a million titles.
    clean.resize(title.len(), 0);
    // As if a hyphen had been before the title: nothing begins with one.
    let (mut len, mut before) = (0, b'-');
    for &b in title {
        let c = CLEAN.get(usize::from(b)).copied().unwrap_or_default();
        if c == 0 || (c == b'-' && before == b'-') {
            continue;
        }
        let Some(place) = clean.get_mut(len) else { break };
        (*place, before) = (c, c);
        len += 1;
    }
    clean.truncate(len - usize::from(len > 0 && before == b'-'));
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
        // The most frequent ones first.
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => Kind::Kept,
        ' ' | '-' => Kind::Gap,
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
pub(crate) mod tests;
