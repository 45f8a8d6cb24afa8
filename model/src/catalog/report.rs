//! What is wrong with a catalog, as a whole or with some of its entries.

use core::fmt::{self, Write};
use std::io;

use crate::text::Escaped;

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The first one is 1.
    pub line: usize,
    /// In bytes; the first one is 1.
    pub column: usize,
}

impl Position {
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    /// The position behind so many bytes at the start of a text: of the last one.
    pub(crate) fn of(text: &[u8], len: usize) -> Self {
        let mut position = Self { line: 1, column: 0 };
        position.advance(text.get(..len).unwrap_or(text));
        position
    }

    /// The position of the next byte, on the same line.
    pub(crate) fn next(self) -> Self {
        Self { column: self.column + 1, ..self }
    }

    /// Moves on by these bytes.
    pub(crate) fn advance(&mut self, bytes: &[u8]) {
        self.line += bytes.iter().filter(|&&b| b == b'\n').count();
        match bytes.iter().rposition(|&b| b == b'\n') {
            Some(last) => self.column = bytes.len() - last - 1,
            None => self.column += bytes.len(),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at line {} column {}", self.line, self.column)
    }
}

/// JSON in a message, as it is written.
struct Excerpt<'t>(&'t [u8]);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 100;
        let mut chars = self.0.utf8_chunks().flat_map(|chunk| {
            let invalid = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
            chunk.valid().chars().chain(invalid)
        });
        for c in chars.by_ref().take(SHOWN) {
            write!(f, "{}", Escaped(c))?;
        }
        if chars.next().is_none() {
            return Ok(());
        }
        f.write_str(if self.0.starts_with(b"\"") { "…\"" } else { "…" })
    }
}

/// Why a catalog, or an entry by itself, can't be read. It is shown with line and column.
#[derive(Debug)]
pub enum ReadError<'t> {
    /// The file can't be read.
    Io(io::Error),
    /// There is no memory for it.
    NoMemory,
    /// Ids, titles and paths are too large together.
    TooLarge,
    /// It is not text in UTF-8.
    Encoding(&'static str),
    /// It is not JSON, or not an object.
    Syntax(&'static str, Position),
    /// The entry is unusable.
    Entry(Fault<'t>, Position),
}

impl ReadError<'_> {
    /// Whether the same bytes may be accepted at another time.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Io(_) | Self::NoMemory)
    }
}

impl fmt::Display for ReadError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::NoMemory => f.write_str("no memory"),
            Self::TooLarge => f.write_str("more than 4 GiB of ids, titles and paths"),
            Self::Encoding(message) => f.write_str(message),
            Self::Syntax(message, position) => write!(f, "{message} {position}"),
            Self::Entry(fault, position) => write!(f, "{fault} {position}"),
        }
    }
}

impl core::error::Error for ReadError<'_> {}

/// Why an entry is unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is neither a path nor an object.
    Entry,
    /// It has a key that no entry has.
    UnknownKey,
    /// It has a key twice.
    DuplicateKey,
    /// The title is not a string.
    Title,
    /// The files are not an array.
    Files,
    /// It has more than [`MAX_FILES`](crate::entry::MAX_FILES) files.
    TooManyFiles,
    /// A path is not a string.
    Path,
    /// A path is empty.
    EmptyPath,
    /// A path begins with a slash.
    AbsolutePath,
    /// A path is longer than [`MAX_PATH_LEN`](crate::entry::MAX_PATH_LEN).
    LongPath,
    /// A path has a control character.
    ControlCharacter,
    /// A path has an empty segment.
    EmptySegment,
    /// A path has a segment `.` or `..`.
    DotSegment,
    /// The status is not 403, 404, 410 or 451.
    Status,
    /// The duration is not a positive number.
    Duration,
    /// The catalog has the id more than once.
    DuplicateId,
    /// The id has white space around it or a format behind it.
    Id,
    /// A string is not Unicode.
    Unicode,
    /// It is longer than [`MAX_ENTRY_LEN`](crate::entry::MAX_ENTRY_LEN).
    TooLong,
    /// It is nested too deeply.
    TooDeep,
}

impl Cause {
    pub(super) const ALL: [(Self, &str); 20] = [
        (Self::Entry, "entry is neither a path nor an object"),
        (Self::UnknownKey, "unknown key"),
        (Self::DuplicateKey, "duplicate key"),
        (Self::Title, "title is not a string"),
        (Self::Files, "files are not an array"),
        (Self::TooManyFiles, "more than 64 files"),
        (Self::Path, "path is not a string"),
        (Self::EmptyPath, "empty path"),
        (Self::AbsolutePath, "absolute path"),
        (Self::LongPath, "path longer than 3072 bytes"),
        (Self::ControlCharacter, "control character in path"),
        (Self::EmptySegment, "empty segment in path"),
        (Self::DotSegment, "dot segment in path"),
        (Self::Status, "status is not 403, 404, 410 or 451"),
        (Self::Duration, "duration is not a number of seconds greater than 0"),
        (Self::DuplicateId, "duplicate id"),
        (Self::Id, "white space or a format in the id"),
        (Self::Unicode, "invalid Unicode"),
        (Self::TooLong, "entry longer than 4 MiB"),
        (Self::TooDeep, "entry nested too deeply"),
    ];

    pub(super) fn code(self) -> u16 {
        self as u16
    }

    pub(super) fn from_code(code: u16) -> Self {
        Self::ALL.get(usize::from(code)).map_or(Self::Entry, |(cause, _)| *cause)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Self::ALL.get(usize::from(self.code())).map_or(Ok(()), |(_, text)| f.write_str(text))
    }
}

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug)]
pub struct Fault<'t> {
    /// Why it is unusable.
    pub cause: Cause,
    /// Where, in bytes from the start of the text that was read.
    pub(crate) at: usize,
    /// The JSON there, if it is worth showing.
    pub(crate) found: &'t [u8],
}

impl fmt::Display for Fault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cause, found, .. } = self;
        match (cause, found) {
            (_, []) => cause.fmt(f),
            (Cause::UnknownKey | Cause::DuplicateKey, key) => write!(f, "{cause} {}", Excerpt(key)),
            (_, value) => write!(f, "{cause}: {}", Excerpt(value)),
        }
    }
}

/// How many unusable entries, and how many skipped keys, a report describes.
const DESCRIBED: usize = 10;

/// What was found in a catalog.
#[derive(Debug, Default)]
pub struct Report {
    /// The number of entries that can be used.
    pub usable: usize,
    /// Entries that can't be used.
    pub unusable: Faults,
    /// Members whose key is not a space id.
    pub skipped: Faults,
    /// Whether one of these has, or may have, a status or an empty list of files: a recording that is
    /// meant to be withheld.
    pub may_withhold: bool,
}

impl Report {
    /// Whether every member of the catalog is an entry that can be used.
    pub fn is_clean(&self) -> bool {
        self.unusable.count == 0 && self.skipped.count == 0
    }

    /// The lines for a log: the numbers, then the first faults of each kind. None if it is clean.
    pub fn lines(&self) -> impl Iterator<Item = impl fmt::Display> {
        let described = self.unusable.described.iter().chain(&self.skipped.described);
        let numbers = (!self.is_clean()).then_some(Line::Numbers(self));
        numbers.into_iter().chain(described.map(|fault| Line::Fault(fault)))
    }
}

enum Line<'r> {
    Numbers(&'r Report),
    Fault(&'r str),
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbers(Report { usable, unusable, skipped, .. }) => write!(
                f,
                "{usable} usable entries, {} unusable, {} skipped",
                unusable.count, skipped.count
            ),
            Self::Fault(fault) => f.write_str(fault),
        }
    }
}

/// Faults of one kind.
#[derive(Debug, Default)]
pub struct Faults {
    /// How many there are.
    pub count: usize,
    /// The first of them, as they are logged: key, cause, position.
    pub described: Vec<String>,
}

impl Faults {
    /// Counts one, and describes it if few were before it. Without memory it is counted only.
    pub(super) fn add(
        &mut self,
        kind: &str,
        key: Option<&[u8]>,
        what: &dyn fmt::Display,
        position: impl FnOnce() -> Position,
    ) {
        /// Two excerpts, each character escaped, and the rest.
        const MAX_LEN: usize = 2 * 100 * r"\u{10ffff}".len() + 300;
        self.count += 1;
        let mut text = String::new();
        if self.described.len() == DESCRIBED
            || self.described.try_reserve_exact(DESCRIBED).is_err()
            || text.try_reserve_exact(MAX_LEN).is_err()
        {
            return;
        }
        let position = position();
        // Writing to a string does not fail.
        let _ = match key {
            Some(key) => write!(text, "{kind} \"{}\": {what} {position}", Excerpt(key)),
            None => write!(text, "{kind} {what} {position}"),
        };
        self.described.push(text);
    }
}
