//! The catalog: for each space its title and files, or the status that it is answered with.
//!
//! A catalog is read once and then only looked at. Sites have a million spaces, so all text
//! stands in one string and an entry is a few numbers: there is little to allocate, and little to
//! free.

mod json;
mod members;
mod report;

use core::fmt;
use core::hash::BuildHasher;
use core::mem;
use core::time::Duration;
use std::io;

use hashbrown::{DefaultHashBuilder, HashTable};
use serde_core::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny};
use serde_json::error::Category;

use self::json::{CatalogVisitor, EntrySeed};
pub use self::members::{MAX_MEMBER_LEN, MAX_STRING_LEN};
use self::members::{Member, Members, Position};
use self::report::Quoted;
pub use self::report::{CatalogError, Cause, Faults, Report};
use crate::filename::{CleanTitle, clean_into};
use crate::format::{MAX_EXTENSION_LEN, has_extension};
use crate::request::SpaceId;

/// The longest path of a file, in bytes. Below the target's directory it still fits into the
/// system's PATH_MAX.
pub const MAX_PATH_LEN: usize = 3072;

/// The longest title, in bytes of UTF-8; what is longer is cut between characters.
pub const MAX_TITLE_LEN: usize = 4096;

/// The most files of a space.
pub const MAX_FILES: usize = 64;

/// The longest duration, in milliseconds: what 48 bits hold.
const MAX_DURATION: u64 = (1 << 48) - 1;

/// An answer that an entry asks for instead of a file.
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
    fn from_code(code: u64) -> Option<Self> {
        Some(match code {
            403 => Self::Forbidden,
            404 => Self::NotFound,
            410 => Self::Gone,
            451 => Self::UnavailableForLegalReasons,
            _ => return None,
        })
    }

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

/// What the catalog, or a lookup, says of a space.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'c> {
    /// The title, without control characters; never empty.
    pub title: Option<CleanTitle<'c>>,
    /// The answer to give instead of a file.
    pub status: Option<Status>,
    /// Whether the entry says that the space has no file: there is nothing to look for.
    pub has_no_files: bool,
    files: Files<'c>,
    /// As [`Packed`] has it; empty if there is none.
    duration: &'c str,
}

impl<'c> Entry<'c> {
    /// The paths of the space's files below the target, in the order in which they are named.
    pub fn files(&self) -> impl Iterator<Item = &'c str> + use<'c> {
        self.files
    }

    /// How long the recording is, to the millisecond.
    pub fn duration(&self) -> Option<Duration> {
        let milliseconds = self.duration.bytes().fold(0, |ms, b| (ms << 6) | u64::from(b - b'0'));
        (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
    }

    /// Whether the entry names files. If not, they are looked for in the directory, unless
    /// [`has_no_files`](Self::has_no_files).
    pub fn has_files(&self) -> bool {
        !self.files.first.is_empty()
    }

    /// The files with an extension, in any case.
    pub fn files_of<'e>(&self, extension: &'e str) -> impl Iterator<Item = &'c str> + use<'c, 'e> {
        self.files().filter(move |file| has_extension(file, extension))
    }
}

/// The paths of an entry's files.
#[derive(Clone, Copy, Debug)]
struct Files<'c> {
    /// The first one; empty if there is none or it was taken.
    first: &'c str,
    /// The others, with separators between them.
    others: &'c str,
}

impl<'c> Iterator for Files<'c> {
    type Item = &'c str;

    fn next(&mut self) -> Option<&'c str> {
        let mut next = mem::take(&mut self.first);
        if next.is_empty() {
            (next, self.others) = self.others.split_once(SEPARATOR).unwrap_or((self.others, ""));
        }
        (!next.is_empty()).then_some(next)
    }
}

/// Between the paths of an entry. Paths hold no control characters.
const SEPARATOR: char = '\n';

/// An entry: where its text begins, and how long the parts are. They follow each other as id,
/// title, clean title (if that differs from the title), files and duration. Of an unusable entry
/// there is the id alone.
#[derive(Clone, Copy, Debug, Default)]
struct Packed {
    start: u32,
    files_len: u32,
    /// In an unusable entry the code of the cause.
    title_len: u16,
    clean_len: u16,
    /// How long the first path is.
    first_len: u16,
    id_len: u8,
    flags: u8,
}

impl Packed {
    const CLEAN_IS_TITLE: u8 = 1 << 0;
    const CLEAN_IS_ASCII: u8 = 1 << 1;
    const STATUS_SHIFT: u8 = 2;
    const STATUS_MASK: u8 = 0b111;
    const HAS_NO_FILES: u8 = 1 << 5;
    const IS_UNUSABLE: u8 = 1 << 6;
    const HAS_DURATION: u8 = 1 << 7;

    /// A duration is so many bytes of 6 bits, each in a character from `0` on.
    const DURATION_LEN: usize = 8;

    fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn status(self) -> Option<Status> {
        Some(match (self.flags >> Self::STATUS_SHIFT) & Self::STATUS_MASK {
            1 => Status::Forbidden,
            2 => Status::NotFound,
            3 => Status::Gone,
            4 => Status::UnavailableForLegalReasons,
            _ => return None,
        })
    }

    fn status_flags(status: Option<Status>) -> u8 {
        let number = match status {
            None => 0,
            Some(Status::Forbidden) => 1,
            Some(Status::NotFound) => 2,
            Some(Status::Gone) => 3,
            Some(Status::UnavailableForLegalReasons) => 4,
        };
        number << Self::STATUS_SHIFT
    }

    fn duration(milliseconds: u64) -> impl Iterator<Item = char> {
        let shifts = (0..Self::DURATION_LEN).rev().map(|n| 6 * n);
        shifts.map(move |shift| char::from(b'0' + ((milliseconds >> shift) & 0x3f) as u8))
    }

    fn unusable(cause: Cause) -> Self {
        Self { title_len: cause.code(), flags: Self::IS_UNUSABLE, ..Self::default() }
    }
}

/// A place in a catalog's entries, with the hash of the id there: the table can grow without
/// looking at the entries.
#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    entry: u32,
}

impl Slot {
    /// The table takes its bits from both ends of a hash, so 32 of them are spread over 64.
    fn spread(hash: u32) -> u64 {
        u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// Entries by space id.
#[derive(Debug, Default)]
pub struct Catalog {
    text: String,
    entries: Vec<Packed>,
    index: HashTable<Slot>,
    hasher: DefaultHashBuilder,
}

impl Catalog {
    /// Reads a catalog: one JSON object of ids and entries. A UTF-8 byte order mark before it is
    /// skipped.
    ///
    /// Memory for what grows with the catalog is asked for fallibly; everything else is bounded.
    ///
    /// # Errors
    ///
    /// What is wrong with the catalog as a whole: it can't be read, is not JSON, not an object or
    /// cut off, or there is no memory for it. What is wrong with a single entry makes that one
    /// unusable and is in the report.
    pub fn read(reader: impl io::Read) -> Result<(Self, Report), CatalogError> {
        let mut builder = Builder::default();
        let mut report = Report::default();
        let mut members = Members::new(reader)?;
        while let Some(member) = members.next()? {
            builder.read_member(&members, &member, &mut report)?;
        }
        let catalog = builder.finish();
        report.usable = catalog.len() - report.unusable.count;
        Ok((catalog, report))
    }

    /// Reads one entry, as a lookup answers it, and makes a catalog of it. A UTF-8 byte order
    /// mark before it is skipped.
    ///
    /// # Errors
    ///
    /// The first mistake.
    pub fn read_entry(id: SpaceId<'_>, json: &[u8]) -> Result<Self, CatalogError> {
        const BEGIN: Position = Position { line: 1, column: 0 };
        let json = json.get(members::mark_len(json)?..).unwrap_or_default();
        let id = id.to_string();
        if let Some(excess) = members::excess(json) {
            return Err(CatalogError::entry(&id, &Cause::from(excess).to_string(), BEGIN));
        }
        let mut builder = Builder::default();
        let mut read = builder.read_alone(&id, json);
        if read.as_ref().is_err_and(|error| has_half_surrogate(json, error)) {
            builder.takes_half_surrogates = true;
            read = builder.read_alone(&id, json);
        }
        match read {
            Ok(()) => Ok(builder.finish()),
            Err(error) => Err(builder.fatal.take().unwrap_or_else(|| {
                let message = error.to_string();
                CatalogError::entry(&id, report::message(&message), BEGIN.of(&error))
            })),
        }
    }

    /// The number of entries, those that can't be used among them.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry of a space.
    ///
    /// Inlined, for then the parts that nobody looks at need not be put anywhere.
    ///
    /// # Errors
    ///
    /// Why the entry is unusable: nothing is known of the space but that it is not to be served.
    #[inline(always)]
    pub fn get(&self, id: SpaceId<'_>) -> Result<Option<Entry<'_>>, Cause> {
        let Some(packed) = self.find(id.as_bytes()).and_then(|entry| self.entries.get(entry))
        else {
            return Ok(None);
        };
        if packed.has(Packed::IS_UNUSABLE) {
            return Err(Cause::from_code(packed.title_len));
        }
        Ok(self.unpack(*packed))
    }

    #[inline(always)]
    fn unpack(&self, packed: Packed) -> Option<Entry<'_>> {
        let mut rest = self.text.get(packed.start as usize + usize::from(packed.id_len)..)?;
        let mut take = |len: usize| {
            let (part, behind) = rest.split_at_checked(len)?;
            rest = behind;
            Some(part)
        };
        let title = take(usize::from(packed.title_len))?;
        let clean = if packed.has(Packed::CLEAN_IS_TITLE) {
            title
        } else {
            take(usize::from(packed.clean_len))?
        };
        let is_ascii = packed.has(Packed::CLEAN_IS_ASCII);
        let (first, others) =
            take(packed.files_len as usize)?.split_at_checked(usize::from(packed.first_len))?;
        let has_duration = packed.has(Packed::HAS_DURATION);
        Some(Entry {
            title: (!title.is_empty()).then_some(CleanTitle { title, clean, is_ascii }),
            status: packed.status(),
            has_no_files: packed.has(Packed::HAS_NO_FILES),
            // Without the separator between them.
            files: Files { first, others: others.get(1..).unwrap_or_default() },
            duration: if has_duration { take(Packed::DURATION_LEN)? } else { "" },
        })
    }

    /// The place of a space's entry.
    #[inline(always)]
    fn find(&self, id: &[u8]) -> Option<usize> {
        let hash = self.hash(id);
        let place = self.index.find(Slot::spread(hash), |place| {
            place.hash == hash && self.id(place.entry).is_some_and(|found| found == id)
        })?;
        Some(place.entry as usize)
    }

    fn hash(&self, id: &[u8]) -> u32 {
        // The upper half of the hash; a cast would take the lower.
        (self.hasher.hash_one(id) >> 32) as u32
    }

    fn id(&self, entry: u32) -> Option<&[u8]> {
        let packed = self.entries.get(entry as usize)?;
        let start = packed.start as usize;
        self.text.as_bytes().get(start..start + usize::from(packed.id_len))
    }
}

/// A catalog while it is read, and the parts of the entry that is being read.
#[derive(Default)]
struct Builder {
    catalog: Catalog,
    id: String,
    title: String,
    clean: String,
    files: String,
    file_count: usize,
    first_len: usize,
    has_no_files: bool,
    status: Option<Status>,
    /// In milliseconds.
    duration: Option<u64>,
    /// Whether half a surrogate pair in a title is read as U+FFFD.
    takes_half_surrogates: bool,
    /// What makes the entry unusable.
    cause: Cause,
    /// What makes the whole catalog unusable.
    fatal: Option<CatalogError>,
}

type Read<T> = Result<T, serde_json::Error>;

impl Builder {
    /// Reads the entry that a member of the catalog is.
    fn read_member<R: io::Read>(
        &mut self,
        members: &Members<R>,
        member: &Member,
        report: &mut Report,
    ) -> Result<(), CatalogError> {
        let text = members.text(member);
        if let Some(excess) = member.excess {
            let key = json::first_key(text);
            let cause = Cause::from(excess);
            report.may_withhold = true;
            let place = || members.key_position(member);
            return self.refuse(key.as_deref(), cause, &cause, place, report);
        }
        match self.read_object(text) {
            Ok(()) => Ok(()),
            Err(error) => self.judge(members, member, &error, report),
        }
    }

    fn read_object(&mut self, text: &[u8]) -> Read<()> {
        self.cause = Cause::Type;
        let mut json = serde_json::Deserializer::from_slice(text);
        json.deserialize_map(CatalogVisitor(self)).and_then(|()| json.end())
    }

    fn read_alone(&mut self, id: &str, text: &[u8]) -> Read<()> {
        let mut json = serde_json::Deserializer::from_slice(text);
        self.begin(id)
            .and_then(|()| EntrySeed(self).deserialize(&mut json))
            .and_then(|()| json.end())
    }

    /// Finds out what a member is that could not be read as an entry.
    #[cold]
    fn judge<R: io::Read>(
        &mut self,
        members: &Members<R>,
        member: &Member,
        error: &serde_json::Error,
        report: &mut Report,
    ) -> Result<(), CatalogError> {
        if let Some(fatal) = self.fatal.take() {
            return Err(fatal);
        }
        let (text, position) = (members.text(member), members.position(member));
        check_syntax(text).map_err(|error| CatalogError::json(error, position))?;

        let mut error = error;
        let again;
        if has_half_surrogate(text, error) {
            self.takes_half_surrogates = true;
            again = self.read_object(text);
            self.takes_half_surrogates = false;
            match &again {
                Ok(()) => return Ok(()),
                Err(other) => error = other,
            }
            if let Some(fatal) = self.fatal.take() {
                return Err(fatal);
            }
        }
        let message = error.to_string();
        let cause = match error.classify() {
            Category::Data => self.cause,
            _ if message.starts_with("number") => Cause::Type,
            _ => Cause::Unicode,
        };
        report.may_withhold |= json::may_withhold(text);
        let key = json::first_key(text);
        let message = report::message(&message);
        self.refuse(key.as_deref(), cause, &message, || position.of(error), report)
    }

    /// Makes the entry unusable that a key means, if it means one.
    fn refuse(
        &mut self,
        key: Option<&str>,
        cause: Cause,
        message: &dyn fmt::Display,
        place: impl FnOnce() -> Position,
        report: &mut Report,
    ) -> Result<(), CatalogError> {
        let Some((key, id)) = key.and_then(|key| Some((key, meant_id(key)?))) else {
            report.skipped.add(key, &"not a space id", place);
            return Ok(());
        };
        let cause = if id == key { cause } else { Cause::Id };
        match self.catalog.find(id.as_bytes()) {
            Some(entry) => {
                let Some(packed) = self.catalog.entries.get_mut(entry) else { return Ok(()) };
                if packed.has(Packed::IS_UNUSABLE) {
                    return Ok(());
                }
                report.may_withhold |=
                    packed.status().is_some() || packed.has(Packed::HAS_NO_FILES);
                let Packed { start, id_len, .. } = *packed;
                *packed = Packed { start, id_len, ..Packed::unusable(cause) };
            }
            None => {
                self.catalog.reserve(id.len())?;
                let start = self.catalog.text.len();
                self.catalog.text.push_str(id);
                self.catalog.add(id.as_bytes(), start, Packed::unusable(cause))?;
            }
        }
        let message: &dyn fmt::Display = if id == key { message } else { &Cause::Id };
        report.unusable.add(Some(key), message, place);
        Ok(())
    }

    /// Notes why the entry that is being read is unusable.
    fn fault<E: serde_core::de::Error>(&mut self, cause: Cause, message: impl fmt::Display) -> E {
        self.cause = cause;
        E::custom(message)
    }

    /// Notes why no catalog comes of it.
    fn fatal<E: serde_core::de::Error>(&mut self, error: CatalogError) -> E {
        let custom = E::custom(&error);
        self.fatal = Some(error);
        custom
    }

    fn begin<E: serde_core::de::Error>(&mut self, id: &str) -> Result<(), E> {
        self.title.clear();
        self.files.clear();
        self.file_count = 0;
        self.first_len = 0;
        self.has_no_files = false;
        self.status = None;
        self.duration = None;
        self.id.clear();
        if SpaceId::parse(id.as_bytes()).is_none() {
            return Err(self.fault(Cause::Id, format_args!("invalid space id {}", Quoted(id))));
        }
        self.id.push_str(id);
        match self.catalog.find(id.as_bytes()) {
            Some(_) => Err(self.fault(Cause::IdTwice, "the id is there twice")),
            None => Ok(()),
        }
    }

    fn set_title(&mut self, title: &str) {
        self.title.clear();
        let plain = |b: u8| b.is_ascii() && !b.is_ascii_control();
        if title.len() <= MAX_TITLE_LEN && title.bytes().all(plain) {
            return self.title.push_str(title);
        }
        let mut gap = false;
        for c in title.chars() {
            if c.is_control() {
                // Line breaks and tabs separate words.
                gap |= c.is_whitespace();
                continue;
            }
            let space = mem::take(&mut gap) && !self.title.is_empty();
            if self.title.len() + usize::from(space) + c.len_utf8() > MAX_TITLE_LEN {
                break;
            }
            self.title.extend(space.then_some(' '));
            self.title.push(c);
        }
    }

    fn add_file<E: serde_core::de::Error>(&mut self, path: &str) -> Result<(), E> {
        if let Some(why) = why_not_a_path(path) {
            let path = Quoted(path);
            return Err(self.fault(Cause::Path, format_args!("invalid path {path}: {why}")));
        }
        if self.file_count == MAX_FILES {
            return Err(
                self.fault(Cause::TooManyFiles, format_args!("more than {MAX_FILES} files"))
            );
        }
        if self.files.try_reserve(path.len() + 1).is_err() {
            return Err(self.fatal(CatalogError::no_memory()));
        }
        if self.file_count > 0 {
            self.files.push(SEPARATOR);
        } else {
            self.first_len = path.len();
        }
        self.files.push_str(path);
        self.file_count += 1;
        Ok(())
    }

    /// Adds the entry that was read to the catalog.
    fn end<E: serde_core::de::Error>(&mut self) -> Result<(), E> {
        self.add_entry().map_err(|error| self.fatal(error))
    }

    fn add_entry(&mut self) -> Result<(), CatalogError> {
        let Self { catalog, id, title, clean, files, first_len, .. } = self;
        clean_into(clean, title);
        let text_len = id.len() + title.len() + clean.len() + files.len() + Packed::DURATION_LEN;
        catalog.reserve(text_len)?;

        let start = catalog.text.len();
        catalog.text.push_str(id);
        catalog.text.push_str(title);
        let mut flags = Packed::status_flags(self.status);
        if clean.is_ascii() {
            flags |= Packed::CLEAN_IS_ASCII;
        }
        if clean == title {
            flags |= Packed::CLEAN_IS_TITLE;
            clean.clear();
        }
        if self.has_no_files {
            flags |= Packed::HAS_NO_FILES;
        }
        catalog.text.push_str(clean);
        catalog.text.push_str(files);
        if let Some(milliseconds) = self.duration {
            flags |= Packed::HAS_DURATION;
            catalog.text.extend(Packed::duration(milliseconds));
        }
        let fits = |len: usize| u16::try_from(len).map_err(|_| CatalogError::too_large());
        let packed = Packed {
            files_len: u32::try_from(files.len()).map_err(|_| CatalogError::too_large())?,
            title_len: fits(title.len())?,
            clean_len: fits(clean.len())?,
            first_len: fits(*first_len)?,
            flags,
            ..Packed::default()
        };
        catalog.add(id.as_bytes(), start, packed)
    }

    fn finish(self) -> Catalog {
        /// Less is not worth it, and would have to be copied, for which there may be no memory:
        /// blocks of this size are cut by the system.
        const WORTH: usize = 1024 * 1024;
        let mut catalog = self.catalog;
        if catalog.text.len() >= WORTH {
            catalog.text.shrink_to_fit();
        }
        if catalog.entries.len() * size_of::<Packed>() >= WORTH {
            catalog.entries.shrink_to_fit();
        }
        catalog
    }
}

impl Catalog {
    /// Sees to it that there is memory for one more entry. Growing by itself, a large catalog
    /// would end the process when there is none.
    fn reserve(&mut self, text_len: usize) -> Result<(), CatalogError> {
        let spread = |place: &Slot| Slot::spread(place.hash);
        let has_memory = self.text.try_reserve(text_len).is_ok()
            && self.entries.try_reserve(1).is_ok()
            && self.index.try_reserve(1, spread).is_ok();
        if has_memory { Ok(()) } else { Err(CatalogError::no_memory()) }
    }

    /// Adds an entry whose text, from `start` on, begins with the id.
    fn add(&mut self, id: &[u8], start: usize, packed: Packed) -> Result<(), CatalogError> {
        let spread = |place: &Slot| Slot::spread(place.hash);
        let too_large = |_| CatalogError::too_large();
        u32::try_from(self.text.len()).map_err(too_large)?;
        let entry = u32::try_from(self.entries.len()).map_err(too_large)?;
        let start = u32::try_from(start).map_err(too_large)?;
        let id_len = u8::try_from(id.len()).map_err(too_large)?;
        self.entries.push(Packed { start, id_len, ..packed });
        let place = Slot { hash: self.hash(id), entry };
        self.index.insert_unique(spread(&place), place, spread);
        Ok(())
    }
}

/// Whether a text is JSON, as far as serde_json tells without reading strings and numbers.
fn check_syntax(text: &[u8]) -> Read<()> {
    let mut json = serde_json::Deserializer::from_slice(text);
    IgnoredAny::deserialize(&mut json).and_then(|_| json.end())
}

/// Whether a text that could not be read may have half a surrogate pair in a string: it is JSON
/// and UTF-8 all the same.
fn has_half_surrogate(text: &[u8], error: &serde_json::Error) -> bool {
    error.classify() == Category::Syntax
        && core::str::from_utf8(text).is_ok()
        && check_syntax(text).is_ok()
}

/// The id that a key means: the key itself, or what remains of it without white space around it
/// and a format behind it, as exports of databases and lists of files have it.
fn meant_id(key: &str) -> Option<&str> {
    let is_id = |id: &&str| SpaceId::parse(id.as_bytes()).is_some();
    let whole = trimmed(key);
    if is_id(&whole) {
        return Some(whole);
    }
    let (stem, extension) = whole.rsplit_once('.')?;
    let extension = trimmed(extension);
    let is_extension = (1..=MAX_EXTENSION_LEN).contains(&extension.len())
        && extension.bytes().all(|b| b.is_ascii_alphanumeric());
    Some(trimmed(stem)).filter(|stem| is_extension && is_id(stem))
}

/// Without white space at both ends, and without other characters that nobody sees.
fn trimmed(text: &str) -> &str {
    let is_unseen = |c: char| {
        c.is_whitespace() || c.is_control() || matches!(c, '\u{feff}' | '\u{200b}'..='\u{200f}')
    };
    text.trim_matches(is_unseen)
}

/// Why a string is not the path of a file below the target.
fn why_not_a_path(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        Some("it is empty")
    } else if path.starts_with('/') {
        Some("it is absolute")
    } else if path.len() > MAX_PATH_LEN {
        Some("it is too long")
    } else if has_control_character(path) {
        Some("it holds a control character")
    } else {
        path.split('/').find_map(|segment| match segment {
            "" => Some("it has an empty segment"),
            "." | ".." => Some("it has a dot segment"),
            _ => None,
        })
    }
}

fn has_control_character(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_control())
        || (!text.is_ascii() && text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_core::de::{MapAccess, Visitor};
    use serde_json::Value;

    use super::*;

    fn id(id: &str) -> SpaceId<'_> {
        SpaceId::parse(id.as_bytes()).unwrap()
    }

    fn read(json: impl AsRef<[u8]>) -> Result<(Catalog, Report), CatalogError> {
        Catalog::read(json.as_ref())
    }

    /// The entry of space `a` in the form `title|clean|status|file file`, with `|none` where it
    /// says that there is no file, and `|1.5s` where it says a duration.
    fn shown(catalog: &Catalog) -> String {
        let entry = catalog.get(id("a")).unwrap().unwrap();
        let (title, clean) = entry.title.map_or(("", ""), |t| (t.title, t.clean));
        if let Some(title) = entry.title {
            assert_eq!(title.is_ascii, title.clean.is_ascii());
        }
        let status = entry.status.map_or(0, Status::code);
        let files: Vec<_> = entry.files().collect();
        assert_eq!(entry.has_files(), !files.is_empty());
        assert!(!(entry.has_files() && entry.has_no_files));
        let none = if entry.has_no_files { "|none" } else { "" };
        let duration = entry.duration().map_or(String::new(), |d| format!("|{d:?}"));
        format!("{title}|{clean}|{status}|{}{none}{duration}", files.join(" "))
    }

    #[test]
    fn entries() {
        let rows: &[(&str, &str, &str)] = &[
            (r#""x/y.m4a""#, "||0|x/y.m4a", "a string is one file"),
            (r#"{}"#, "||0|", "nothing"),
            (r#"{"title":"T","files":["a.mp3","b/c.MP4"]}"#, "T|T|0|a.mp3 b/c.MP4", "both"),
            (r#"{"files":["a.mp3"],"title":"A b!"}"#, "A b!|A-b|0|a.mp3", "clean title differs"),
            (r#"{"title":"é à"}"#, "é à|é-à|0|", "only a title"),
            (r#"{"title":""}"#, "||0|", "empty title"),
            (r#"{"files":[]}"#, "||0||none", "empty list"),
            (r#"{"files":[ ],"title":"T","duration":7}"#, "T|T|0||none|7s", "empty list and more"),
            (r#"{"files":null}"#, "||0|", "null is no list"),
            (r#"{"title":null,"status":null,"duration":null}"#, "||0|", "null is no key"),
            (r#"{"title":null,"files":["x.mp3"]}"#, "||0|x.mp3", "no title"),
            (r#"{"duration":1}"#, "||0||1s", "whole seconds"),
            (r#"{"duration":0.0001}"#, "||0||1ms", "less than a millisecond"),
            (r#"{"duration":3599.25,"files":["x.mp3"]}"#, "||0|x.mp3|3599.25s", "a fraction"),
            (r#"{"duration":2.8e11}"#, "||0||280000000000s", "nine thousand years"),
            (r#"{"title":"\ud83c on"}"#, "\u{fffd} on|on|0|", "half a surrogate pair"),
            (
                r#"{"title":"\udf99\ud83c\udf99\ud83c\ud83cé"}"#,
                "\u{fffd}🎙\u{fffd}\u{fffd}é|é|0|",
                "halves and a whole one",
            ),
            (r#"{"title":"\ud83c\u0041\ud83c"}"#, "\u{fffd}A\u{fffd}|A|0|", "halves around"),
            (r#"{"title":"a\u0000\r\n\u0085\tb"}"#, "a b|a-b|0|", "control characters in a title"),
            (
                r#"{"title":"\nLine one\nline\u0001 two\r\n"}"#,
                "Line one line two|Line-one-line-two|0|",
                "line breaks",
            ),
            (r#"{"title":"\ud83c\udf99 on"}"#, "🎙 on|on|0|", "surrogates"),
            (r#"{"status":403}"#, "||403|", "403"),
            (r#"{"status":404}"#, "||404|", "404"),
            (r#"{"status":410,"title":"T"}"#, "T|T|410|", "410 with a title"),
            (r#"{"status":451}"#, "||451|", "451"),
            (
                r#"{"files":["100% ?#;\"&'é .mp3","..a/b..mp3",".hidden","a\\b.mp3"]}"#,
                "||0|100% ?#;\"&'é .mp3 ..a/b..mp3 .hidden a\\b.mp3",
                "characters that mean something elsewhere",
            ),
        ];
        for (json, expected, what) in rows {
            for (before, behind) in [("", ""), ("\u{feff}\n ", "\n")] {
                let text = format!("{before}{{\"a\": {json} }}{behind}");
                let (catalog, report) = read(text).unwrap();
                assert!(report.is_clean() && !report.may_withhold, "{what}: {report:?}");
                assert_eq!((catalog.len(), report.usable), (1, 1), "{what}");
                assert_eq!(shown(&catalog), *expected, "{what}");
            }
            let lookup = Catalog::read_entry(id("a"), json.as_bytes()).unwrap();
            assert_eq!(shown(&lookup), *expected, "{what}, as the answer of a lookup");
        }
    }

    #[test]
    fn faults_of_the_whole() {
        let rows: &[(&str, &str)] = &[
            ("", "EOF while parsing a value at line 1 column 0"),
            (" \n\n", "EOF while parsing a value at line 3 column 0"),
            ("[]", "it is not an object of space ids and entries at line 1 column 1"),
            ("\u{feff}[]", "it is not an object of space ids and entries at line 1 column 1"),
            ("\n  <html>", "it is not an object of space ids and entries at line 2 column 3"),
            ("{", "EOF while parsing an object at line 1 column 1"),
            ("{}\n{}", "trailing characters at line 2 column 1"),
            ("{} x", "trailing characters at line 1 column 4"),
            ("{}\0", "trailing characters at line 1 column 3"),
            ("{\"a\": \"x.mp3\"}\0", "trailing characters at line 1 column 15"),
            ("{]", "key must be a string at line 1 column 2"),
            ("{\"a\":{},]", "key must be a string at line 1 column 9"),
            ("{,}", "key must be a string at line 1 column 2"),
            ("{\"a\":{},}", "trailing comma at line 1 column 9"),
            ("{\"a\":{},\n }", "trailing comma at line 2 column 2"),
            ("{\"a\":{},,\"b\":{}}", "key must be a string at line 1 column 9"),
            ("{\"a\":{} \"b\":{}}", "expected `,` or `}` at line 1 column 9"),
            ("{\"a\":{}\n\n \"b\":{}}", "expected `,` or `}` at line 3 column 2"),
            ("{\"x\":{},\n\"a\":{]", "key must be a string at line 2 column 6"),
            ("{\"a\":{}]", "expected `,` or `}` at line 1 column 8"),
            ("{\"a\":[1}}", "expected `,` or `]` at line 1 column 8"),
            ("{\"a\":\"x", "EOF while parsing a string at line 1 column 7"),
            ("{\"a\":{\"title\": \"x\"", "EOF while parsing an object at line 1 column 18"),
            ("{'a': 'b'}", "key must be a string at line 1 column 2"),
            ("{\n// comment\n}", "key must be a string at line 2 column 1"),
            ("{\"a\": {\"title\": \"\\x\"}}", "invalid escape at line 1 column "),
            ("{\"a\": {\"titel\": \"\n\"}}", "control character"),
            ("{\"a\": {\"title\": \"\u{1}\"}}", "control character"),
            ("{\"a\": {\"titel\": nul}}", "expected ident at line 1 column "),
            ("{\"b c\": {\"title\": \"x}}", "EOF while parsing a string"),
            ("\u{1f}", "it is not an object"),
        ];
        for (json, expected) in rows {
            let error = read(json).expect_err(json);
            let shown = error.to_string();
            assert!(
                shown.starts_with(expected) || shown.contains("control character"),
                "{json}: {shown}, expected: {expected}"
            );
            assert!(!error.is_passing(), "{json}");
        }
        let utf_16 = "it is UTF-16, UTF-8 is expected";
        let rows: &[(&[u8], &str)] = &[
            (b"\x1f\x8b\x08\0\0", "it is compressed with gzip"),
            (b"\xff\xfe{\0}\0", utf_16),
            (b"\xfe\xff\0{\0}", utf_16),
            (b"{\0}\0", utf_16),
            (b"\0{\0}", utf_16),
            (b"\xef\xbb{}", "it is not an object"),
        ];
        for (bytes, expected) in rows {
            let shown = read(bytes).unwrap_err().to_string();
            assert!(shown.starts_with(expected), "{bytes:?}: {shown}, expected: {expected}");
        }
    }

    /// Reads a catalog with an entry for `a`, and checks that it is unusable.
    fn unusable(json: impl AsRef<[u8]>, what: &str) -> (Cause, Report) {
        let (catalog, report) = read(json).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(report.unusable.count, 1, "{what}: {report:?}");
        assert_eq!(report.usable + 1, catalog.len(), "{what}");
        (catalog.get(id("a")).expect_err(what), report)
    }

    #[test]
    fn unusable_entries() {
        let rows: &[(&str, Cause, &str)] = &[
            ("5", Cause::Type, "invalid type: integer `5`, expected a path or an object"),
            ("null", Cause::Type, "invalid type: null, expected a path or an object"),
            ("[\"b.mp3\"]", Cause::Type, "invalid type: sequence, expected a path or"),
            ("{\"titel\": 1}", Cause::UnknownKey, "unknown key \"titel\" at line 2 column 13"),
            ("{\"\\ud800\": 1}", Cause::Unicode, "unexpected end of hex escape"),
            ("{\"title\": 1}", Cause::Type, "invalid value: integer `1`, expected a title"),
            ("{\"title\": []}", Cause::Type, "invalid type: sequence, expected a title"),
            ("{\"files\": \"b\"}", Cause::Type, "invalid type: string, expected a list"),
            ("{\"files\": [1]}", Cause::Type, "invalid type: integer `1`, expected a path"),
            ("{\"files\": [null]}", Cause::Type, "invalid type: null, expected a path"),
            ("{\"files\": [[]]}", Cause::Type, "invalid type: sequence, expected a path"),
            ("{\"files\": {}}", Cause::Type, "invalid type: map, expected a list"),
            ("{\"status\": 200}", Cause::Status, "invalid value: integer `200`, expected a st"),
            ("{\"status\": \"410\"}", Cause::Type, "invalid type: string, expected a status"),
            ("{\"status\": -1}", Cause::Type, "invalid type: integer `-1`, expected a status"),
            ("{\"status\": 410.0}", Cause::Type, "invalid type: floating point `410.0`, expected"),
            ("{\"status\": 1e999}", Cause::Type, "number out of range"),
            ("{\"status\": true}", Cause::Type, "invalid type: boolean `true`, expected a status"),
            ("{\"duration\": 0}", Cause::Duration, "invalid value: integer `0`, expected a dura"),
            ("{\"duration\": 0.0}", Cause::Duration, "invalid value: floating point `0.0`"),
            ("{\"duration\": -2}", Cause::Type, "invalid type: integer `-2`, expected a duration"),
            ("{\"duration\": -0.5}", Cause::Duration, "invalid value: floating point `-0.5`"),
            ("{\"duration\": 1e300}", Cause::Duration, "invalid value: floating point"),
            ("{\"duration\": 18446744073709551615}", Cause::Duration, "invalid value: integer"),
            ("{\"duration\": \"60\"}", Cause::Type, "invalid type: string, expected a duration"),
            (
                "{\"title\":\"\",\"title\":\"\"}",
                Cause::KeyTwice,
                "\"title\" is there twice at line",
            ),
            ("{\"title\":null,\"title\":\"\"}", Cause::KeyTwice, "\"title\" is there twice"),
            ("\"\"", Cause::Path, "invalid path \"\": it is empty at line 2 column 7"),
            ("\"/etc/passwd\"", Cause::Path, "invalid path \"/etc/passwd\": it is absolute"),
            ("\"../x\"", Cause::Path, "invalid path \"../x\": it has a dot segment"),
            ("\"x/..\"", Cause::Path, "invalid path \"x/..\": it has a dot segment"),
            ("\"x/./y\"", Cause::Path, "invalid path \"x/./y\": it has a dot segment"),
            ("\"x//y\"", Cause::Path, "invalid path \"x//y\": it has an empty segment"),
            ("\"x/\"", Cause::Path, "invalid path \"x/\": it has an empty segment"),
            ("\"x\\u0000y\"", Cause::Path, "invalid path \"x\\u{0}y\": it holds a control char"),
            ("\"x\\u0085y\"", Cause::Path, "invalid path \"x\\u{85}y\": it holds a control char"),
            ("\"\u{202e}\u{3164}/\"", Cause::Path, "invalid path \"\\u{202e}\\u{3164}/\": it has"),
            ("\"\\ud83c.mp3\"", Cause::Unicode, "unexpected end of hex escape"),
            ("{\"files\":[\"a.mp3\",\"\\udf99\"]}", Cause::Unicode, "lone leading surrogate"),
            ("{\"title\":\"\\ud83c\",\"files\":[\"../x\"]}", Cause::Path, "invalid path"),
        ];
        for (entry, cause, expected) in rows {
            let behind = "\"b\": \"b.mp3\"";
            let json = format!("{{\"c\": {{}},\n\"a\": {entry}, {behind}}}");
            let (found, report) = unusable(&json, entry);
            assert_eq!(found, *cause, "{entry}");
            assert_eq!(report.usable, 2, "{entry}");
            let shown = &report.unusable.first[0];
            assert!(shown.starts_with(&format!("\"a\": {expected}")), "{entry}: {shown}");
            assert!(shown.contains(" at line 2 column "), "{entry}: {shown}");
            if *cause != Cause::Unicode {
                assert_eq!(report.may_withhold, entry.contains("status"), "{entry}");
            }

            let error = Catalog::read_entry(id("a"), entry.as_bytes()).unwrap_err().to_string();
            let (message, _) = expected.split_once(" at line").unwrap_or((expected, ""));
            assert!(error.starts_with(&format!("space \"a\": {message}")), "{entry}: {error}");
        }
        for bytes in [
            &b"\"caf\xe9.mp3\""[..],
            b"{\"title\": \"\xff\"}",
            b"{\"title\": \"\xed\xa0\x80\"}",
            b"{\"\xff\": \"x\"}",
            b"\"a\xc0\xafb.mp3\"",
        ] {
            let json = [b"{\"a\": ", bytes, b", \"b\": {}}"].concat();
            assert_eq!(unusable(&json, "not UTF-8").0, Cause::Unicode, "{bytes:?}");
            assert!(Catalog::read_entry(id("a"), bytes).is_err(), "{bytes:?}");
        }
        let long = format!("{{\"a\": \"{}\"}}", "x".repeat(MAX_PATH_LEN + 1));
        let (cause, report) = unusable(&long, "a long path");
        let shown = &report.unusable.first[0];
        assert!(shown.contains("…\": it is too long") && shown.len() < 250, "{cause:?}: {shown}");
        let many = format!("{{\"a\": {{\"files\":[\"x\"{}]}}}}", ",\"x\"".repeat(MAX_FILES));
        assert_eq!(unusable(&many, "many files").0, Cause::TooManyFiles);
    }

    #[test]
    fn keys_that_are_no_ids() {
        for key in [
            " a",
            "a ",
            "a\\n",
            "\\ta\\r\\n",
            "\\u00a0a",
            "\\u3000a",
            "\\ufeffa",
            "a\\u0000",
            "a.mp3",
            "a.MP3",
            " a.mp3\\n",
            "a .mp3",
            "a. mp3",
            "a.b",
        ] {
            for good in ["", "\"a\": \"good.mp3\""] {
                for json in [
                    format!(
                        "{{\"{key}\": \"x.mp3\"{}{good}}}",
                        if good.is_empty() { "" } else { "," }
                    ),
                    format!(
                        "{{{good}{}\"{key}\": \"x.mp3\"}}",
                        if good.is_empty() { "" } else { "," }
                    ),
                ] {
                    let (cause, report) = unusable(&json, &json);
                    assert_eq!((report.usable, report.skipped.count), (0, 0), "{json}");
                    assert!(matches!(cause, Cause::Id | Cause::IdTwice), "{json}: {cause:?}");
                    assert!(!report.may_withhold, "{json}");
                }
            }
            let json = format!("{{\"{key}\": {{\"status\": 451}}}}");
            assert!(unusable(json, key).1.may_withhold, "{key}");
        }
        let long = "a".repeat(129);
        for key in [
            "", " ", "a b", "a/b", "../a", "a%20", "ä", "a\\nb", "a\\\"b", "a.tar.gz", "a.", ".a",
            "a.m p3", "\\ud800", "a\\udc00", &long,
        ] {
            let json = format!("{{\"b\": {{}},\n \"{key}\": \"x.mp3\", \"c\": {{}}}}");
            let (catalog, report) = read(&json).unwrap();
            assert_eq!((catalog.len(), report.usable), (2, 2), "{json}");
            assert_eq!((report.skipped.count, report.unusable.count), (1, 0), "{json}");
            assert!(report.skipped.first[0].contains(" at line 2 column "), "{json}: {report:?}");
            assert!(catalog.get(id("a")).unwrap().is_none(), "{json}");
            assert!(!report.may_withhold, "{json}");
            let json = json.replace("\"x.mp3\"", "{\"files\": []}");
            assert!(read(json).unwrap().1.may_withhold, "{key}");
        }
        assert_eq!(read(b"{\"a\xff\": {}}").unwrap().1.skipped.count, 1, "not UTF-8");
    }

    #[test]
    fn ids_that_are_there_twice() {
        for (one, other, withheld) in [
            ("\"x.mp3\"", "\"y.mp3\"", false),
            ("\"x.mp3\"", "{\"status\": 410}", true),
            ("{\"files\": []}", "\"x.mp3\"", true),
            ("\"../x\"", "\"x.mp3\"", false),
            ("\"x.mp3\"", "5", false),
            ("5", "5", false),
        ] {
            for ids in [("a", "a"), ("\\u0061", "a")] {
                let json = format!("{{\"{}\": {one},\n\"{}\": {other}}}", ids.0, ids.1);
                let (_, report) = unusable(&json, &json);
                assert_eq!(report.may_withhold, withheld, "{json}: {report:?}");
                assert_eq!(report.unusable.first.len(), 1, "{json}");
            }
        }
        let (_, report) = unusable("{\"a\": {},\n\"a\": {},\n\"a\": {}}", "three times");
        assert_eq!(*report.unusable.first[0], *"\"a\": the id is there twice at line 2 column 3");
        assert_eq!(read("{\"a\": {}, \"A\": {}}").unwrap().1.usable, 2);
    }

    #[test]
    fn only_the_first_ten_are_named() {
        let faults: Vec<_> = (0..25).map(|n| format!("\"s{n}\": 5,\n\"/{n}\": 5")).collect();
        let (catalog, report) = read(format!("{{{}}}", faults.join(",\n"))).unwrap();
        assert_eq!((catalog.len(), report.usable), (25, 0));
        assert_eq!((report.unusable.count, report.skipped.count), (25, 25));
        assert_eq!((report.unusable.first.len(), report.skipped.first.len()), (10, 10));
        assert!(report.unusable.first[9].starts_with("\"s9\": "), "{report:?}");
        assert!(report.unusable.first[9].contains("line 19 column 7"), "{report:?}");
        assert_eq!(*report.skipped.first[9], *"\"/9\": not a space id at line 20 column 4");
    }

    /// What is too large to be read makes its entry unusable, and what follows is read.
    #[test]
    fn excess() {
        let much = MAX_MEMBER_LEN;
        let (open, close) = ("[".repeat(5_000), "]".repeat(5_000));
        let long = "x".repeat(MAX_STRING_LEN + 1);
        let rows: &[(&str, String, Cause)] = &[
            ("a string", format!("\"{}\"", "x".repeat(much)), Cause::TooLong),
            (
                "files",
                format!("{{\"files\":[\"x\"{}]}}", ",\"x\"".repeat(much / 4)),
                Cause::TooLong,
            ),
            ("an escaped string", format!("\"{}\"", "\\\"},{".repeat(much / 5)), Cause::TooLong),
            ("white space", format!("\"x\"{}", " \n".repeat(much / 2)), Cause::TooLong),
            ("a long escaped title", format!("{{\"title\":\"\\n{long}\"}}"), Cause::LongString),
            ("a long path", format!("\"{long}\""), Cause::Path),
            ("a long escaped path", format!("\"{long}\\u0020\""), Cause::LongString),
            ("a long key", format!("{{\"{long}\":1}}"), Cause::UnknownKey),
            ("a long escaped key", format!("{{\"\\/{long}\":1}}"), Cause::LongString),
            ("deep", format!("{open}{close}"), Cause::TooDeep),
            (
                "deep and long",
                format!("[{},{open}{close}]", "1,".repeat(much / 2) + "1"),
                Cause::TooLong,
            ),
            ("numbers", format!("{{\"status\":{}}}", "1".repeat(much)), Cause::TooLong),
        ];
        for (what, value, cause) in rows {
            let json =
                format!("{{\"b\": \"b.mp3\",\n \"a\": {value}\n,\n\"c\": \"c.mp3\", \"/\": 1}}\n");
            let (found, report) = unusable(&json, what);
            assert_eq!(found, *cause, "{what}");
            assert_eq!((report.usable, report.skipped.count), (2, 1), "{what}");
            let shown = &report.unusable.first[0];
            let was_read = matches!(found, Cause::Path | Cause::UnknownKey);
            assert!(was_read || shown.ends_with(" at line 2 column 2"), "{what}: {shown}");
            assert_ne!(report.may_withhold, was_read, "{what}");
            let line = 4 + value.matches('\n').count();
            let end = format!("at line {line} column 17");
            assert!(report.skipped.first[0].ends_with(&end), "{what}: {report:?}");
            assert!(Catalog::read_entry(id("a"), value.as_bytes()).is_err(), "{what}");

            // Cut off or followed by what is no JSON, all of it is refused.
            let at = json.rfind("\"c\"").unwrap();
            let mut bad = vec![json[..at - 3].to_owned(), json.clone() + "x"];
            if !what.starts_with("deep") {
                bad.push(json.replace("\n,\n", "\n;\n"));
                bad.push(json.replace("\n,\n", "\n],\n"));
            }
            for bad in bad {
                let error = read(&bad).expect_err(what);
                assert!(!error.is_passing(), "{what}: {error}");
            }
        }
        // What is wrong with the syntax within it, too; but not where it is nested too deep.
        let title = "x".repeat(much);
        for (value, refused) in [
            (format!("{{\"title\": \"{title}\" \"status\": 403}}"), true),
            (format!("{{\"title\": \"{title}\n\"}}"), true),
            (format!("{{\"title\": \"{long}\\x\"}}"), true),
            (format!("{open}1 1{close}"), false),
        ] {
            assert_eq!(read(format!("{{\"a\": {value}}}")).is_err(), refused, "{:.40}", value);
        }

        let key = "a".repeat(much);
        let (catalog, report) = read(format!("{{\"{key}\": 1, \"b\": {{}}}}")).unwrap();
        assert_eq!((catalog.len(), report.skipped.count), (1, 1), "a long key");
        let spaces = " \n".repeat(much);
        let json = format!("{spaces}{{{spaces}\"a\":\"x\",{spaces}\"b\":5}}{spaces}");
        let (_, report) = read(json).unwrap();
        let line = 1 + 3 * much;
        assert_eq!(
            *report.unusable.first[0],
            *format!(
                "\"b\": invalid type: integer `5`, expected a path or an object with \
             \"title\", \"files\", \"status\", \"duration\" at line {line} column 5"
            )
        );
        assert_eq!((report.usable, report.unusable.count), (1, 1), "white space");
    }

    #[test]
    fn a_failing_reader_is_an_error() {
        struct Failing<'t>(io::Cursor<&'t [u8]>);
        impl io::Read for Failing<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                match self.0.read(buffer)? {
                    0 => Err(io::Error::other("no more")),
                    len => Ok(len),
                }
            }
        }
        let long = "x".repeat(MAX_MEMBER_LEN);
        for text in ["", "{", "{\"a\": {}", "{\"a\": {}, ", "{}", &format!("{{\"a\": \"{long}")] {
            let error = Catalog::read(Failing(io::Cursor::new(text.as_bytes()))).unwrap_err();
            assert_eq!(error.to_string(), "no more", "{text:.20}");
            assert!(error.is_passing(), "{text:.20}");
        }
    }

    #[test]
    fn many_spaces() {
        let spaces: Vec<String> = (0..10_000).map(|n| format!("space-{n}")).collect();
        let entries: Vec<String> = spaces
            .iter()
            .map(|id| format!("\"{id}\":{{\"title\":\"About {id}\",\"files\":[\"{id}.mp3\"]}}"))
            .collect();
        let (catalog, report) = read(format!("{{{}}}", entries.join(",\n"))).unwrap();
        assert_eq!((catalog.len(), report.usable), (spaces.len(), spaces.len()));
        assert!(!catalog.is_empty());
        for space in &spaces {
            let entry = catalog.get(id(space)).unwrap().unwrap();
            assert_eq!(entry.title.unwrap().as_str(), format!("About {space}"));
            assert_eq!(entry.files().collect::<Vec<_>>(), [format!("{space}.mp3")]);
        }
        assert!(catalog.get(id("space-10000")).unwrap().is_none());
    }

    #[test]
    fn members_of_any_length() {
        // Around the sizes of buffers; and strings that look like structure.
        for len in (0..100).chain([16_000, 32_740, 32_760, MAX_STRING_LEN]) {
            let title = "},{\\\"[\\\\".repeat(len / 9);
            let json = format!(" {{ \"a\":{{\"title\":\"{title}\"}} , \"b\":\"x,}}.mp3\"}} \n");
            let (catalog, report) = read(&json).unwrap();
            assert!(report.is_clean(), "{len}");
            let entry = catalog.get(id("b")).unwrap().unwrap();
            assert_eq!(entry.files().collect::<Vec<_>>(), ["x,}.mp3"]);
        }
        let files = format!("\"{}\",", "x".repeat(3000)).repeat(63);
        let json = format!("{{\"a\":{{\"files\":[{files} \"x\"]}}{},\"b\":5}}", " ".repeat(50_000));
        let (catalog, report) = read(&json).unwrap();
        assert_eq!(report.unusable.count, 1, "{report:?}");
        assert_eq!(catalog.get(id("a")).unwrap().unwrap().files().count(), 64);
    }

    /// Numbers that look random (xorshift).
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) as usize % limit
        }

        fn one_of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
            texts[self.below(texts.len())]
        }
    }

    /// What a catalog says by a plain reading of the whole: for each id its entry as `shown`, or
    /// nothing if that is unusable.
    fn plainly(json: &str) -> Option<BTreeMap<String, Option<String>>> {
        /// An object with all of its members, those of the same name too.
        struct Object(Vec<(String, Value)>);

        impl<'de> Deserialize<'de> for Object {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Members;

                impl<'de> Visitor<'de> for Members {
                    type Value = Vec<(String, Value)>;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: MapAccess<'de>>(
                        self,
                        mut map: A,
                    ) -> Result<Self::Value, A::Error> {
                        let mut members = Vec::new();
                        while let Some(member) = map.next_entry()? {
                            members.push(member);
                        }
                        Ok(members)
                    }
                }

                deserializer.deserialize_map(Members).map(Self)
            }
        }

        let Object(members) = serde_json::from_str(json).ok()?;
        let mut entries = BTreeMap::new();
        for (key, value) in members {
            let Some(id) = meant_id(&key) else { continue };
            let entry = (id == key).then(|| plain_entry(&value)).flatten();
            let twice = entries.contains_key(id);
            entries.insert(id.to_owned(), entry.filter(|_| !twice));
        }
        Some(entries)
    }

    fn plain_entry(value: &Value) -> Option<String> {
        let fields = match value {
            Value::String(path) => {
                return why_not_a_path(path).is_none().then(|| format!("|0|{path}"));
            }
            Value::Object(fields) => fields,
            _ => return None,
        };
        let (mut title, mut status, mut files, mut duration) = ("", 0, String::new(), "".into());
        for (key, value) in fields {
            match (key.as_str(), value) {
                ("title" | "status" | "files" | "duration", Value::Null) => {}
                ("title", Value::String(value)) => title = value,
                ("status", Value::Number(number)) => {
                    status = number.as_u64().filter(|n| [403, 404, 410, 451].contains(n))?;
                }
                ("duration", Value::Number(number)) => {
                    let seconds = number.as_f64().filter(|&seconds| seconds > 0.0)?;
                    duration = format!("|{:?}", Duration::from_secs_f64(seconds));
                }
                ("files", Value::Array(list)) => {
                    let paths: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
                    let paths =
                        paths.filter(|paths| paths.iter().all(|p| why_not_a_path(p).is_none()));
                    files = paths?.join(" ");
                    if list.is_empty() {
                        files = "|none".into();
                    }
                }
                _ => return None,
            }
        }
        Some(format!("{title}|{status}|{files}{duration}"))
    }

    #[test]
    fn agrees_with_a_plain_reading_of_the_whole() {
        const KEYS: [&str; 12] =
            ["a", "b", "c-1", "D", "e", "\\u0061", "a.mp3", " b", "x y", "", "c-1\\n", "/"];
        const VALUES: [&str; 16] = [
            "{}",
            "\"a,}.mp3\"",
            "{\"title\": \"T{[\"}",
            "{\"title\":null}",
            "{\"files\":[]}",
            "null",
            "5",
            "{\"files\":[\"a/b.mp3\",\"\\\"c\"]}",
            "{\"status\":410}",
            "{\"status\": 4}",
            "\"../x\"",
            "{\"duration\":1.5}",
            "{\"titel\":[[],{}]}",
            "[{\"a\":[1,2,{}]}]",
            "{\"title\":\"\\\\\",\"files\":[ \"x\" ]}",
            "\"\\u00e9.mp3\"",
        ];
        const SPACES: [&str; 6] = ["", "", "", " ", "\n", "\t \r\n                    "];
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let (mut good, mut refused) = (0, 0);
        for _ in 0..30_000 {
            let mut json = String::from("{");
            for n in 0..random.below(6) {
                let comma = if n > 0 { "," } else { "" };
                let mut space = || random.one_of(&SPACES);
                let spaces = [space(), space(), space(), space()];
                let (key, value) = (random.one_of(&KEYS), random.one_of(&VALUES));
                json += &format!(
                    "{}{comma}{}\"{key}\"{}:{}{value}",
                    spaces[0], spaces[1], spaces[2], spaces[3]
                );
            }
            json += random.one_of(&SPACES);
            json += "}";
            if random.below(3) == 0 {
                // A byte more, less or other than it was.
                let at = random.below(json.len());
                match random.below(3) {
                    0 => drop(json.remove(at)),
                    _ => json
                        .insert_str(at, random.one_of(&["{", "}", "[", "]", ",", "\"", "x", ":"])),
                }
            }
            let plain = plainly(&json);
            match (read(&json), &plain) {
                (Err(_), None) => refused += 1,
                (Ok((catalog, report)), Some(plain)) => {
                    good += 1;
                    assert_eq!(catalog.len(), plain.len(), "{json}");
                    let usable = plain.values().flatten().count();
                    assert_eq!(report.usable, usable, "{json}: {report:?}");
                    for (name, expected) in plain {
                        let entry = catalog.get(id(name)).ok().map(|entry| {
                            let entry = entry.expect("an entry for each id");
                            let title = entry.title.map_or("", |title| title.as_str());
                            let status = entry.status.map_or(0, Status::code);
                            let files: Vec<_> = entry.files().collect();
                            let none = if entry.has_no_files { "|none" } else { "" };
                            let duration =
                                entry.duration().map_or(String::new(), |d| format!("|{d:?}"));
                            format!("{title}|{status}|{}{none}{duration}", files.join(" "))
                        });
                        assert_eq!(entry, *expected, "{name} in {json}");
                    }
                }
                (read, _) => panic!("{json}: {read:?}, plainly {plain:?}"),
            }
        }
        assert!(good > 10_000 && refused > 3_000, "{good} taken, {refused} refused");
    }

    #[test]
    fn files_by_extension() {
        let json = r#"{"a":{"files":["1.mp4","2.MP3","d.mp3/3","4.mp3","5"]}}"#;
        let (catalog, _) = read(json).unwrap();
        let entry = catalog.get(id("a")).unwrap().unwrap();
        for (extension, expected) in
            [("mp3", &["2.MP3", "4.mp3"][..]), ("mp4", &["1.mp4"]), ("wav", &[])]
        {
            assert_eq!(entry.files_of(extension).collect::<Vec<_>>(), expected, "{extension}");
        }
    }

    #[test]
    fn long_titles_are_cut_between_characters() {
        let json = format!("{{\"a\":{{\"title\":\"{}\"}}}}", "é".repeat(MAX_TITLE_LEN));
        let (catalog, _) = read(&json).unwrap();
        let title = catalog.get(id("a")).unwrap().unwrap().title.unwrap();
        assert_eq!(title.as_str(), "é".repeat(MAX_TITLE_LEN / 2));
    }
}
