//! Entries of a catalog: what is known of one space. A lookup responds with one, too.

use core::mem;
use core::time::Duration;
use std::collections::TryReserveError;

use crate::catalog::report::{Cause, Fault, Position, ReadError};
use crate::filename::{CleanTitle, clean_into};
use crate::format::has_extension;
use crate::json::{Checker, Cursor, JsonString, SyntaxError, number, unescaped};

/// The longest path of a file, in bytes. Below the target's directory it still fits into the
/// system's PATH_MAX.
pub const MAX_PATH_LEN: usize = 3072;

/// The longest title, in bytes of UTF-8; a longer one is cut between characters.
pub const MAX_TITLE_LEN: usize = 4096;

/// The most files of a space.
pub const MAX_FILES: usize = 64;

/// The longest entry, in bytes of JSON, together with its id.
pub const MAX_ENTRY_LEN: usize = if cfg!(fuzzing) {
    4096
} else if cfg!(test) {
    16 * 1024
} else {
    4 * 1024 * 1024
};

/// The longest duration, in milliseconds: nine thousand years.
const MAX_DURATION: u64 = (1 << 48) - 1;

/// Between the paths of an entry. Paths hold no control characters.
const SEPARATOR: u8 = b'\n';

/// A status that an entry has instead of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 410
    Gone,
    /// 451
    UnavailableForLegalReasons,
}

impl Status {
    pub(crate) const ALL: [Self; 4] =
        [Self::Forbidden, Self::NotFound, Self::Gone, Self::UnavailableForLegalReasons];

    /// The status code (RFC 9110, section 15; RFC 7725).
    pub fn code(self) -> i16 {
        match self {
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Gone => 410,
            Self::UnavailableForLegalReasons => 451,
        }
    }
}

/// What a catalog or a lookup knows of a space.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'e> {
    /// The title, without control characters; never empty.
    pub title: Option<CleanTitle<'e>>,
    /// The status to respond with instead of a file.
    pub status: Option<Status>,
    /// Whether the entry has an empty list of files: there is nothing to search for.
    pub has_no_files: bool,
    pub(crate) files: Files<'e>,
    /// In milliseconds; 0 if it is not known.
    pub(crate) duration: u64,
}

impl<'e> Entry<'e> {
    /// The paths of the space's files below the target, in the order of the entry. They are UTF-8.
    pub fn files(&self) -> impl Iterator<Item = &'e [u8]> + use<'e> {
        self.files
    }

    /// How long the recording is, to the millisecond.
    pub fn duration(&self) -> Option<Duration> {
        (self.duration > 0).then(|| Duration::from_millis(self.duration))
    }

    /// Whether the entry lists files. If not, the directory is searched, unless
    /// [`has_no_files`](Self::has_no_files).
    pub fn has_files(&self) -> bool {
        !self.files.first.is_empty()
    }

    /// The files with an extension; case does not matter.
    pub fn files_of<'x>(&self, extension: &'x str) -> impl Iterator<Item = &'e [u8]> + use<'e, 'x> {
        self.files().filter(move |file| has_extension(file, extension))
    }
}

/// The paths of an entry's files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Files<'e> {
    /// The first one; empty if there is none or it was taken.
    first: &'e [u8],
    /// The others, with separators between them.
    others: &'e [u8],
}

impl<'e> Files<'e> {
    /// The files of a text in which the first one is so long.
    pub(crate) fn new(text: &'e [u8], first_len: usize) -> Option<Self> {
        let (first, others) = text.split_at_checked(first_len)?;
        Some(Self { first, others: others.get(1..).unwrap_or_default() })
    }
}

impl<'e> Iterator for Files<'e> {
    type Item = &'e [u8];

    fn next(&mut self) -> Option<&'e [u8]> {
        let mut next = mem::take(&mut self.first);
        if next.is_empty() {
            let end = self.others.iter().position(|&b| b == SEPARATOR);
            let (file, rest) = self.others.split_at(end.unwrap_or(self.others.len()));
            (next, self.others) = (file, rest.get(1..).unwrap_or_default());
        }
        (!next.is_empty()).then_some(next)
    }
}

/// Why an entry can't be read.
#[derive(Debug)]
pub(crate) enum EntryError<'t> {
    NoMemory,
    Fault(Fault<'t>),
}

impl From<TryReserveError> for EntryError<'_> {
    fn from(_: TryReserveError) -> Self {
        Self::NoMemory
    }
}

/// An entry that was read from JSON, in memory of its own.
#[derive(Debug, Default)]
pub struct EntryBuf {
    pub(crate) title: Vec<u8>,
    pub(crate) clean: Vec<u8>,
    pub(crate) files: Vec<u8>,
    pub(crate) first_len: usize,
    pub(crate) has_no_files: bool,
    pub(crate) status: Option<Status>,
    pub(crate) duration: u64,
}

impl EntryBuf {
    /// Reads one entry, as a lookup responds with it. A UTF-8 byte order mark before it is skipped.
    ///
    /// # Errors
    ///
    /// The first mistake.
    pub fn parse(json: &[u8]) -> Result<Self, ReadError<'_>> {
        let mut entry = Self::default();
        entry.reparse(json)?;
        Ok(entry)
    }

    /// The same in place of the entry before, in its memory.
    ///
    /// # Errors
    ///
    /// The first mistake: nothing is known of the entry then.
    pub fn reparse<'t>(&mut self, json: &'t [u8]) -> Result<(), ReadError<'t>> {
        let json = json.get(mark_len(json)?..).unwrap_or_default();
        if json.len() > MAX_ENTRY_LEN {
            return Err(as_a_whole(Cause::TooLong));
        }
        let mut cursor = Cursor::new(json);
        let fault = match self.read(&mut cursor).and_then(|()| end(&mut cursor)) {
            Ok(()) => return Ok(()),
            Err(EntryError::NoMemory) => return Err(ReadError::NoMemory),
            Err(EntryError::Fault(fault)) => fault,
        };
        check_syntax(json)?;
        Err(ReadError::Entry(fault, Position::of(json, fault.at).next()))
    }

    /// The entry.
    pub fn entry(&self) -> Entry<'_> {
        let (title, clean) = (&*self.title, &*self.clean);
        let title = CleanTitle { title, clean, is_ascii: clean.is_ascii() };
        let none = Files { first: b"", others: b"" };
        Entry {
            title: (!self.title.is_empty()).then_some(title),
            status: self.status,
            has_no_files: self.has_no_files,
            files: Files::new(&self.files, self.first_len).unwrap_or(none),
            duration: self.duration,
        }
    }

    /// Reads the next value of a text, in place of what was read before. If the text is not JSON, there
    /// is a fault, but not one to be shown: see [`check_syntax`].
    pub(crate) fn read<'t>(&mut self, cursor: &mut Cursor<'t>) -> Result<(), EntryError<'t>> {
        self.title.clear();
        self.clean.clear();
        self.files.clear();
        (self.first_len, self.has_no_files, self.status, self.duration) = (0, false, None, 0);
        if cursor.peek().0 == b'"' {
            return self.add_file(cursor, 0);
        }
        if !cursor.take(b'{') {
            return fault(Cause::Entry, cursor);
        }
        let mut seen = [false; Key::ALL.len()];
        while has_more(cursor, b'}')? {
            let before = *cursor;
            let key = cursor.key().and_then(Key::of);
            let Some(key) = key else { return fault(Cause::UnknownKey, &before) };
            if seen.get_mut(key as usize).is_some_and(|seen| mem::replace(seen, true)) {
                return fault(Cause::DuplicateKey, &before);
            }
            match key {
                // As good as no key.
                _ if cursor.take_null() => {}
                Key::Title => self.read_title(cursor)?,
                Key::Files => self.read_files(cursor)?,
                Key::Status => self.read_status(cursor)?,
                Key::Duration => self.read_duration(cursor)?,
            }
        }
        Ok(())
    }

    fn read_title<'t>(&mut self, cursor: &mut Cursor<'t>) -> Result<(), EntryError<'t>> {
        let before = *cursor;
        let Some(string) = cursor.string() else { return fault(Cause::Title, &before) };
        self.title.try_reserve(string.raw.len().min(MAX_TITLE_LEN))?;
        if string.raw.len() <= MAX_TITLE_LEN && string.is_plain() {
            self.title.extend_from_slice(string.raw);
        } else {
            let Some(text) = string.text() else { return fault(Cause::Unicode, &before) };
            let chars = unescaped(text).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER));
            push_title(&mut self.title, chars);
        }
        // No longer than the title.
        self.clean.try_reserve(self.title.len())?;
        clean_into(&mut self.clean, &self.title);
        Ok(())
    }

    fn read_files<'t>(&mut self, cursor: &mut Cursor<'t>) -> Result<(), EntryError<'t>> {
        if !cursor.take(b'[') {
            return fault(Cause::Files, cursor);
        }
        let mut count = 0;
        while has_more(cursor, b']')? {
            if count == MAX_FILES {
                return fault(Cause::TooManyFiles, cursor);
            }
            self.add_file(cursor, count)?;
            count += 1;
        }
        self.has_no_files = count == 0;
        Ok(())
    }

    fn add_file<'t>(
        &mut self,
        cursor: &mut Cursor<'t>,
        count: usize,
    ) -> Result<(), EntryError<'t>> {
        let before = *cursor;
        let Some(string) = cursor.string() else { return fault(Cause::Path, &before) };
        let room = string.raw.len().min(MAX_PATH_LEN + char::MAX.len_utf8());
        self.files.try_reserve(room + 1)?;
        if count > 0 {
            self.files.push(SEPARATOR);
        }
        let start = self.files.len();
        let mut has_control = false;
        if string.raw.len() <= room && string.is_plain() {
            self.files.extend_from_slice(string.raw);
        } else {
            let Some(text) = string.text() else { return fault(Cause::Unicode, &before) };
            for c in unescaped(text) {
                let Some(c) = c else { return fault(Cause::Unicode, &before) };
                has_control |= c.is_control();
                push(&mut self.files, c);
                if self.files.len() - start > MAX_PATH_LEN {
                    break;
                }
            }
        }
        let path = self.files.get(start..).unwrap_or_default();
        if let Some(cause) = check_path(path, has_control) {
            return fault(cause, &before);
        }
        if count == 0 {
            self.first_len = self.files.len();
        }
        Ok(())
    }

    fn read_status<'t>(&mut self, cursor: &mut Cursor<'t>) -> Result<(), EntryError<'t>> {
        let before = *cursor;
        let code = number(cursor.value()).and_then(|code| code.parse().ok());
        self.status = Status::ALL.into_iter().find(|status| Some(status.code()) == code);
        if self.status.is_some() { Ok(()) } else { fault(Cause::Status, &before) }
    }

    fn read_duration<'t>(&mut self, cursor: &mut Cursor<'t>) -> Result<(), EntryError<'t>> {
        let before = *cursor;
        // Numbers of JSON are numbers of Rust.
        let seconds = number(cursor.value()).and_then(|seconds| seconds.parse::<f64>().ok());
        let milliseconds = seconds.map(|seconds| (seconds * 1000.0).ceil());
        match milliseconds.filter(|ms| (1.0..=MAX_DURATION as f64).contains(ms)) {
            Some(milliseconds) => self.duration = milliseconds as u64,
            None => return fault(Cause::Duration, &before),
        }
        Ok(())
    }
}

/// A key of an entry.
#[derive(Clone, Copy)]
enum Key {
    Title,
    Files,
    Status,
    Duration,
}

impl Key {
    const ALL: [(Self, &str); 4] = [
        (Self::Title, "title"),
        (Self::Files, "files"),
        (Self::Status, "status"),
        (Self::Duration, "duration"),
    ];

    fn of(string: JsonString<'_>) -> Option<Self> {
        Self::ALL.iter().find_map(|&(key, name)| string.is(name).then_some(key))
    }
}

/// Whether an object or array has another member or element.
fn has_more<'t>(cursor: &mut Cursor<'t>, close: u8) -> Result<bool, EntryError<'t>> {
    cursor.has_more(close).map_or_else(|| fault(Cause::Entry, cursor), Ok)
}

/// Ends the text.
fn end<'t>(cursor: &mut Cursor<'t>) -> Result<(), EntryError<'t>> {
    if cursor.is_done() { Ok(()) } else { fault(Cause::Entry, cursor) }
}

/// Checks the syntax of an entry that has a fault: a mistake in it comes first, wherever it is.
fn check_syntax(json: &[u8]) -> Result<(), ReadError<'static>> {
    let mut checker = Checker::new();
    let mut rest = json;
    loop {
        let before = json.len() - rest.len();
        match checker.check(rest) {
            Ok(Some(len)) => rest = rest.get(len..).unwrap_or_default(),
            Ok(None) => break,
            Err(SyntaxError { at, message }) => {
                return Err(ReadError::Syntax(message, Position::of(json, before + at).next()));
            }
        }
    }
    let ended = checker.finish();
    ended.map_err(|message| ReadError::Syntax(message, Position::of(json, json.len())))?;
    if checker.take_too_deep() { Err(as_a_whole(Cause::TooDeep)) } else { Ok(()) }
}

/// What is wrong with an entry as a whole.
fn as_a_whole(cause: Cause) -> ReadError<'static> {
    ReadError::Entry(Fault { cause, at: 0, found: b"" }, Position::START)
}

/// A fault in the value that follows.
fn fault<'t, T>(cause: Cause, cursor: &Cursor<'t>) -> Result<T, EntryError<'t>> {
    let mut cursor = *cursor;
    let (_, at) = cursor.peek();
    Err(EntryError::Fault(Fault { cause, at, found: cursor.value() }))
}

/// Adds characters to a title that has room for [`MAX_TITLE_LEN`] or all of them.
fn push_title(title: &mut Vec<u8>, chars: impl Iterator<Item = char>) {
    let mut gap = false;
    for c in chars {
        if c.is_control() {
            // Line breaks and tabs separate words.
            gap |= c.is_whitespace();
            continue;
        }
        let space = mem::take(&mut gap) && !title.is_empty();
        if title.len() + usize::from(space) + c.len_utf8() > MAX_TITLE_LEN {
            break;
        }
        title.extend(space.then_some(b' '));
        push(title, c);
    }
}

/// Adds a character to a text that has room for it.
#[inline]
pub(crate) fn push(text: &mut Vec<u8>, c: char) {
    match u8::try_from(c) {
        Ok(b) if b.is_ascii() => text.push(b),
        _ => text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Why a text is not the path of a file below the target.
fn check_path(path: &[u8], has_control: bool) -> Option<Cause> {
    if path.is_empty() {
        Some(Cause::EmptyPath)
    } else if path.starts_with(b"/") {
        Some(Cause::AbsolutePath)
    } else if path.len() > MAX_PATH_LEN {
        Some(Cause::LongPath)
    } else if has_control {
        Some(Cause::ControlCharacter)
    } else {
        path.split(|&b| b == b'/').find_map(|segment| match segment {
            b"" => Some(Cause::EmptySegment),
            b"." | b".." => Some(Cause::DotSegment),
            _ => None,
        })
    }
}

/// Whether an entry that can't be used has a status or an empty list of files: its space is meant to
/// have no recording.
pub(crate) fn withholds(mut entry: Cursor<'_>) -> bool {
    let mut withholds = false;
    if entry.take(b'{') {
        while entry.has_more(b'}') != Some(false) {
            let Some(key) = entry.key() else { return true };
            let mut list = entry;
            let value = entry.value();
            withholds |= match Key::of(key) {
                Some(Key::Status) => value != b"null",
                Some(Key::Files) => list.take(b'[') && list.take(b']'),
                _ => false,
            };
        }
    }
    withholds
}

/// How long the byte order mark in front of a JSON text is.
///
/// # Errors
///
/// What the text is instead of UTF-8, judged by its first bytes.
pub(crate) fn mark_len<'t>(json: &[u8]) -> Result<usize, ReadError<'t>> {
    match json {
        [0x1f, 0x8b, ..] => Err(ReadError::Encoding("it is compressed with gzip")),
        [0xff, 0xfe, ..]
        | [0xfe, 0xff, ..]
        | [0, b'{' | b'[' | b'"', ..]
        | [b'{' | b'[' | b'"', 0, ..] => {
            Err(ReadError::Encoding("it is UTF-16, UTF-8 is expected"))
        }
        [0xef, 0xbb, 0xbf, ..] => Ok(3),
        _ => Ok(0),
    }
}
