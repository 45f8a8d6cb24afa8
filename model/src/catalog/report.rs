//! What is wrong with a catalog, as a whole or with some of its entries.

use core::fmt;
use std::io;

use serde_json::error::Category;

use super::members::{Excess, MAX_MEMBER_LEN, MAX_STRING_LEN, Position};
use crate::text::Escaped;

/// Text of a catalog in a message.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 100;
        let end = self.0.char_indices().nth(SHOWN).map(|(end, _)| end);
        let shown = end.and_then(|end| self.0.get(..end)).unwrap_or(self.0);
        write!(f, "\"{}{}\"", Escaped(shown), if end.is_some() { "…" } else { "" })
    }
}

/// Why a catalog, or the answer of a lookup, can't be taken: the mistake, with line and column.
#[derive(Debug)]
pub struct CatalogError {
    message: Box<str>,
    is_passing: bool,
}

impl CatalogError {
    fn new(message: impl fmt::Display, is_passing: bool) -> Self {
        Self { message: message.to_string().into(), is_passing }
    }

    pub(super) fn no_memory() -> Self {
        Self::new("there is no memory for it", true)
    }

    pub(super) fn too_large() -> Self {
        Self::new("it has more than 4 GiB of text", false)
    }

    pub(super) fn encoded(message: &str) -> Self {
        Self::new(message, false)
    }

    pub(super) fn at(message: &str, position: Position) -> Self {
        let Position { line, column } = position;
        Self::new(format_args!("{message} at line {line} column {column}"), false)
    }

    /// What serde_json says of a text that begins at a place.
    pub(super) fn json(error: serde_json::Error, begin: Position) -> Self {
        if error.classify() == Category::Io {
            return io::Error::from(error).into();
        }
        Self::at(message(&error.to_string()), begin.of(&error))
    }

    /// What is wrong with the one entry that was read.
    pub(super) fn entry(id: &str, message: &str, position: Position) -> Self {
        let Position { line, column } = position;
        Self::new(format_args!("space \"{id}\": {message} at line {line} column {column}"), false)
    }

    /// Whether the same bytes may be taken another time: there was no memory, or they could not be
    /// read.
    pub fn is_passing(&self) -> bool {
        self.is_passing
    }
}

impl From<io::Error> for CatalogError {
    fn from(error: io::Error) -> Self {
        Self::new(error, true)
    }
}

impl fmt::Display for CatalogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for CatalogError {}

/// What serde_json says, without line and column.
pub(super) fn message(whole: &str) -> &str {
    whole.rsplit_once(" at line ").map_or(whole, |(message, _)| message)
}

/// Why an entry is unusable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    /// A value has another type than it should have, or is no number.
    #[default]
    Type,
    /// It has a key that no entry has.
    UnknownKey,
    /// It has a key twice.
    KeyTwice,
    /// A path does not stay below the target, or can't be one.
    Path,
    /// It has too many files.
    TooManyFiles,
    /// The status is none that can be asked for.
    Status,
    /// The duration is none.
    Duration,
    /// The id is there twice.
    IdTwice,
    /// The id is written with something before or behind it.
    Id,
    /// A string is not Unicode.
    Unicode,
    /// It is too long.
    TooLong,
    /// A string in it that has an escape is too long.
    LongString,
    /// It is nested too deep.
    TooDeep,
}

impl Cause {
    const ALL: [Self; 13] = [
        Self::Type,
        Self::UnknownKey,
        Self::KeyTwice,
        Self::Path,
        Self::TooManyFiles,
        Self::Status,
        Self::Duration,
        Self::IdTwice,
        Self::Id,
        Self::Unicode,
        Self::TooLong,
        Self::LongString,
        Self::TooDeep,
    ];

    pub(super) fn code(self) -> u16 {
        self as u16
    }

    pub(super) fn from_code(code: u16) -> Self {
        Self::ALL.into_iter().find(|cause| cause.code() == code).unwrap_or(Self::Type)
    }
}

impl From<Excess> for Cause {
    fn from(excess: Excess) -> Self {
        match excess {
            Excess::Member => Self::TooLong,
            Excess::String => Self::LongString,
            Excess::Depth => Self::TooDeep,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type => f.write_str("a value has the wrong type"),
            Self::UnknownKey => f.write_str("it has an unknown key"),
            Self::KeyTwice => f.write_str("it has a key twice"),
            Self::Path => f.write_str("a path is invalid"),
            Self::TooManyFiles => f.write_str("it has too many files"),
            Self::Status => f.write_str("the status is invalid"),
            Self::Duration => f.write_str("the duration is invalid"),
            Self::IdTwice => f.write_str("the id is there twice"),
            Self::Id => f.write_str("the id has something before or behind it"),
            Self::Unicode => f.write_str("a string is not valid Unicode"),
            Self::TooLong => write!(f, "it is longer than {MAX_MEMBER_LEN} bytes"),
            Self::LongString => {
                write!(f, "a string with an escape is longer than {MAX_STRING_LEN} bytes")
            }
            Self::TooDeep => f.write_str("it is nested too deep"),
        }
    }
}

/// How many of each kind a report names.
const NAMED: usize = 10;

/// What reading a catalog has come to.
#[derive(Debug, Default)]
pub struct Report {
    /// The number of entries that can be used.
    pub usable: usize,
    /// The entries that can't.
    pub unusable: Faults,
    /// What belongs to no id that a request can have.
    pub skipped: Faults,
    /// Whether one of them has, or may have, a status or an empty list of files: a recording that is
    /// to be withheld.
    pub may_withhold: bool,
}

impl Report {
    /// Whether every member of the catalog is an entry that can be used.
    pub fn is_clean(&self) -> bool {
        self.unusable.count == 0 && self.skipped.count == 0
    }

    /// The report as lines of a log: the numbers, and then the faults that it names. Nothing if it
    /// is clean.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let Self { usable, unusable, skipped, .. } = self;
        let numbers = (!self.is_clean()).then(|| {
            format!(
                "{usable} usable entries, {} unusable, {} skipped",
                unusable.count, skipped.count
            )
        });
        let named = |faults: &'_ Faults, kind| -> Vec<String> {
            faults.first.iter().map(|fault| format!("{kind} {fault}")).collect()
        };
        numbers.into_iter().chain(named(unusable, "unusable")).chain(named(skipped, "skipped"))
    }
}

/// Faults of one kind.
#[derive(Debug, Default)]
pub struct Faults {
    /// How many there are.
    pub count: usize,
    /// The first of them: key, cause, line and column, as a part of a line in a log.
    pub first: Vec<Box<str>>,
}

impl Faults {
    /// Adds one. `place` is asked only if it will be named.
    pub(super) fn add(
        &mut self,
        key: Option<&str>,
        cause: &dyn fmt::Display,
        place: impl FnOnce() -> Position,
    ) {
        /// Longer causes are cut, in characters. Text that is quoted fits, all of it escaped.
        const MAX_CAUSE: usize = 1100;
        self.count += 1;
        if self.first.len() == NAMED {
            return;
        }
        let Position { line, column } = place();
        let cause: String = cause.to_string().chars().take(MAX_CAUSE).collect();
        let shown = match key {
            Some(key) => format!("{}: {cause} at line {line} column {column}", Quoted(key)),
            None => format!("{cause} at line {line} column {column}"),
        };
        self.first.push(shown.into());
    }
}
