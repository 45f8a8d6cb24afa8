//! The catalog: for each space its title and files, or the status to respond with.
//!
//! A catalog is read once and is not changed then. Sites have a million spaces, so all entries are
//! in one block of memory, one behind the other, and a table of their places is in another: there is
//! little to allocate, and little to free.

mod members;
pub(crate) mod report;

use core::hash::BuildHasher;
use std::collections::TryReserveError;
use std::io;

use foldhash::fast::RandomState;

use self::members::{Member, Members};
pub use self::report::{Cause, Fault, Faults, Position, ReadError, Report};
use crate::entry::{Entry, EntryBuf, EntryError, Files, Status, withholds};
use crate::filename::CleanTitle;
use crate::format::MAX_EXTENSION_LEN;
use crate::json::{Cursor, JsonString, unescaped};
use crate::request::SpaceId;

/// There is no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

impl From<NoMemory> for ReadError<'_> {
    fn from(NoMemory: NoMemory) -> Self {
        Self::NoMemory
    }
}

impl From<TryReserveError> for NoMemory {
    fn from(_: TryReserveError) -> Self {
        Self
    }
}

/// A block of memory, empty at first.
pub trait Memory: Default + AsRef<[u8]> + AsMut<[u8]> {
    /// Gives the block this length, in bytes. It keeps what fits; what is new is 0.
    ///
    /// # Errors
    ///
    /// There is no memory: the block is as it was.
    fn resize(&mut self, len: usize) -> Result<(), NoMemory>;
}

impl Memory for Vec<u8> {
    fn resize(&mut self, len: usize) -> Result<(), NoMemory> {
        self.try_reserve_exact(len.saturating_sub(self.len()))?;
        self.resize(len, 0);
        Ok(())
    }
}

/// What stands before the text of an entry: `id`, `title`, `clean` (if it differs from the title),
/// `files` and, if it is known, the duration. Of an unusable entry there is the id alone.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    id_len: u8,
    flags: u8,
    /// In an unusable entry the code of the cause.
    title_len: u16,
    clean_len: u16,
    /// How long the first path is.
    first_len: u16,
    files_len: u32,
}

impl Head {
    const LEN: usize = 12;

    const CLEAN_IS_TITLE: u8 = 1 << 0;
    const CLEAN_IS_ASCII: u8 = 1 << 1;
    const HAS_NO_FILES: u8 = 1 << 2;
    const HAS_DURATION: u8 = 1 << 3;
    const IS_UNUSABLE: u8 = 1 << 4;
    /// From here on one more than the place in [`Status::ALL`].
    const STATUS_SHIFT: u8 = 5;

    fn unusable(id: SpaceId<'_>, cause: Cause) -> Self {
        let id_len = id.as_bytes().len() as u8;
        Self { id_len, flags: Self::IS_UNUSABLE, title_len: cause.code(), ..Self::default() }
    }

    /// The head of an entry. All lengths are bounded; none is near the largest number of its type.
    fn of(id: SpaceId<'_>, entry: &EntryBuf) -> Self {
        let has = |is: bool, flag: u8| if is { flag } else { 0 };
        let status = Status::ALL.into_iter().position(|status| Some(status) == entry.status);
        let clean_is_title = entry.clean == entry.title;
        let flags = has(clean_is_title, Self::CLEAN_IS_TITLE)
            | has(entry.clean.is_ascii(), Self::CLEAN_IS_ASCII)
            | has(entry.has_no_files, Self::HAS_NO_FILES)
            | has(entry.duration > 0, Self::HAS_DURATION)
            | (status.map_or(0, |at| at as u8 + 1) << Self::STATUS_SHIFT);
        Self {
            id_len: id.as_bytes().len() as u8,
            flags,
            title_len: entry.title.len() as u16,
            clean_len: if clean_is_title { 0 } else { entry.clean.len() as u16 },
            first_len: entry.first_len as u16,
            files_len: entry.files.len() as u32,
        }
    }

    fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn status(self) -> Option<Status> {
        let at = usize::from(self.flags >> Self::STATUS_SHIFT).checked_sub(1)?;
        Status::ALL.get(at).copied()
    }

    fn to_bytes(self) -> [u8; Self::LEN] {
        let [t0, t1] = self.title_len.to_ne_bytes();
        let [c0, c1] = self.clean_len.to_ne_bytes();
        let [p0, p1] = self.first_len.to_ne_bytes();
        let [f0, f1, f2, f3] = self.files_len.to_ne_bytes();
        [self.id_len, self.flags, t0, t1, c0, c1, p0, p1, f0, f1, f2, f3]
    }

    /// Splits a record into its head and what follows.
    fn split(record: &[u8]) -> Option<(Self, &[u8])> {
        let (&[id_len, flags, t0, t1, c0, c1, p0, p1, f0, f1, f2, f3], text) =
            record.split_first_chunk::<{ Self::LEN }>()?;
        let head = Self {
            id_len,
            flags,
            title_len: u16::from_ne_bytes([t0, t1]),
            clean_len: u16::from_ne_bytes([c0, c1]),
            first_len: u16::from_ne_bytes([p0, p1]),
            files_len: u32::from_ne_bytes([f0, f1, f2, f3]),
        };
        Some((head, text))
    }

    /// The entry in the text that follows the id.
    fn entry(self, text: &[u8]) -> Option<Entry<'_>> {
        let (title, text) = text.split_at_checked(usize::from(self.title_len))?;
        let (clean, text) = text.split_at_checked(usize::from(self.clean_len))?;
        let clean = if self.has(Self::CLEAN_IS_TITLE) { title } else { clean };
        let (files, text) = text.split_at_checked(self.files_len as usize)?;
        let is_ascii = self.has(Self::CLEAN_IS_ASCII);
        Some(Entry {
            title: (!title.is_empty()).then_some(CleanTitle { title, clean, is_ascii }),
            status: self.status(),
            has_no_files: self.has(Self::HAS_NO_FILES),
            files: Files::new(files, usize::from(self.first_len))?,
            duration: match text.first_chunk() {
                Some(&duration) if self.has(Self::HAS_DURATION) => u64::from_ne_bytes(duration),
                _ => 0,
            },
        })
    }
}

/// Entries by space id.
#[derive(Debug, Default)]
pub struct Catalog<M> {
    /// The entries, one behind the other.
    records: M,
    /// How much of that is in use.
    records_len: usize,
    /// Slots of a hash table with linear probing; their number is a power of 2, and at most three
    /// quarters are in use. A slot is 0, or the hash of an id and, in the lower half, one more than
    /// where its record begins.
    slots: M,
    len: usize,
    hasher: RandomState,
}

impl<M: Memory> Catalog<M> {
    const SLOT_LEN: usize = size_of::<u64>();

    /// Reads a catalog: one JSON object of ids and entries. A UTF-8 byte order mark before it is
    /// skipped.
    ///
    /// Memory is bounded or allocated fallibly.
    ///
    /// # Errors
    ///
    /// What is wrong with the catalog as a whole: it can't be read, is not JSON, not an object or
    /// cut off, or there is no memory for it. What is wrong with a single entry makes that one
    /// unusable and is in the report.
    pub fn read(reader: impl io::Read) -> Result<(Self, Report), ReadError<'static>> {
        let mut reading = Reading::default();
        let mut members = Members::<_, M>::new(reader)?;
        while let Some(member) = members.next()? {
            reading.add(&members, &member)?;
        }
        let Reading { mut catalog, mut report, .. } = reading;
        report.usable = catalog.len - report.unusable.count;
        if catalog.len > 0 {
            // If it can't be made smaller, it stays as it is.
            let _ = catalog.records.resize(catalog.records_len);
        }
        Ok((catalog, report))
    }

    /// The number of entries, including unusable ones.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entry of a space.
    ///
    /// # Errors
    ///
    /// Why the entry is unusable: nothing is known of the space but that it must not be served.
    pub fn get(&self, id: SpaceId<'_>) -> Result<Option<Entry<'_>>, Cause> {
        let Some((_, head, text)) = self.find(id) else { return Ok(None) };
        if head.has(Head::IS_UNUSABLE) {
            return Err(Cause::from_code(head.title_len));
        }
        Ok(head.entry(text))
    }

    /// The record of a space: where it is, its head, and the text behind the id.
    fn find(&self, id: SpaceId<'_>) -> Option<(usize, Head, &[u8])> {
        let hash = self.hash(id);
        let mut at = hash as usize;
        loop {
            let slot = self.slot(at)?;
            let place = (slot as u32).checked_sub(1)? as usize;
            if slot >> 32 == u64::from(hash) {
                let (head, text) = Head::split(self.records.as_ref().get(place..)?)?;
                let (found, text) = text.split_at_checked(usize::from(head.id_len))?;
                if found == id.as_bytes() {
                    return Some((place, head, text));
                }
            }
            // A hash is as large as an address of 32 bits.
            at = at.wrapping_add(1);
        }
    }

    fn hash(&self, id: SpaceId<'_>) -> u32 {
        (self.hasher.hash_one(id.as_bytes()) >> 32) as u32
    }

    fn slot_count(&self) -> usize {
        self.slots.as_ref().len() / Self::SLOT_LEN
    }

    /// A slot; `None` if there are none. Behind the last one is the first one.
    fn slot(&self, at: usize) -> Option<u64> {
        let start = self.slot_start(at)?;
        Some(u64::from_ne_bytes(*self.slots.as_ref().get(start..)?.first_chunk()?))
    }

    /// Where a slot begins, in bytes.
    fn slot_start(&self, at: usize) -> Option<usize> {
        let last = self.slot_count().checked_sub(1)?;
        Some((at & last) * Self::SLOT_LEN)
    }

    /// Adds the entry of an id that has none.
    fn push_entry(&mut self, id: SpaceId<'_>, entry: &EntryBuf) -> Result<(), ReadError<'static>> {
        let head = Head::of(id, entry);
        let clean = if head.has(Head::CLEAN_IS_TITLE) { &[] } else { &*entry.clean };
        let duration = entry.duration.to_ne_bytes();
        let duration = if head.has(Head::HAS_DURATION) { &duration[..] } else { &[] };
        self.push(id, head, [&entry.title, clean, &entry.files, duration])
    }

    /// Adds a record for an id that has none: its head, the id, the text.
    fn push(
        &mut self,
        id: SpaceId<'_>,
        head: Head,
        [title, clean, files, duration]: [&[u8]; 4],
    ) -> Result<(), ReadError<'static>> {
        let parts = [&head.to_bytes(), id.as_bytes(), title, clean, files, duration];
        let start = self.records_len;
        let end = parts.iter().fold(start, |end, part| end + part.len());
        let slot = u32::try_from(end).map_err(|_| ReadError::TooLarge)?;
        let slot = slot - (end - start) as u32 + 1;
        let capacity = self.records.as_ref().len();
        if end > capacity {
            self.records.resize(end.max(capacity + capacity / 4).max(4096))?;
        }
        self.reserve_slot()?;
        let mut rest = self.records.as_mut().get_mut(start..).unwrap_or_default();
        for part in parts {
            let Some((place, behind)) = rest.split_at_mut_checked(part.len()) else { break };
            place.copy_from_slice(part);
            rest = behind;
        }
        self.records_len = end;
        self.insert((u64::from(self.hash(id)) << 32) | u64::from(slot));
        self.len += 1;
        Ok(())
    }

    /// Makes sure that a slot is free.
    fn reserve_slot(&mut self) -> Result<(), NoMemory> {
        let count = self.slot_count();
        if (self.len + 1) * 4 <= count * 3 {
            return Ok(());
        }
        let mut slots = M::default();
        slots.resize((count * 2).max(512) * Self::SLOT_LEN)?;
        let old = core::mem::replace(&mut self.slots, slots);
        for slot in old.as_ref().chunks_exact(Self::SLOT_LEN) {
            match slot.first_chunk().map(|&slot| u64::from_ne_bytes(slot)) {
                None | Some(0) => {}
                Some(slot) => self.insert(slot),
            }
        }
        Ok(())
    }

    /// Puts a value into the first free slot; there is one.
    fn insert(&mut self, value: u64) {
        let mut at = (value >> 32) as usize;
        while self.slot(at).is_some_and(|slot| slot != 0) {
            at = at.wrapping_add(1);
        }
        let Some(start) = self.slot_start(at) else { return };
        if let Some(slot) = self.slots.as_mut().get_mut(start..).and_then(<[u8]>::first_chunk_mut) {
            *slot = value.to_ne_bytes();
        }
    }

    /// Makes an entry unusable. The text behind its id is not used any more.
    fn spoil(&mut self, id: SpaceId<'_>, place: usize, cause: Cause) {
        let head = self.records.as_mut().get_mut(place..).and_then(<[u8]>::first_chunk_mut);
        if let Some(head) = head {
            *head = Head::unusable(id, cause).to_bytes();
        }
    }
}

/// A catalog that is being read.
#[derive(Default)]
struct Reading<M> {
    catalog: Catalog<M>,
    report: Report,
    /// The entry that was read last; its memory is used again.
    entry: EntryBuf,
    /// The key, if it has escapes.
    key: String,
}

impl<M: Memory> Reading<M> {
    /// Adds a member of the outermost object.
    fn add<R: io::Read>(
        &mut self,
        members: &Members<R, M>,
        member: &Member,
    ) -> Result<(), ReadError<'static>> {
        let Self { catalog, report, entry, key: buffer } = self;
        let text = members.member_text(member);
        let mut cursor = Cursor::new(text);
        let (_, key_at) = cursor.peek();
        let key = cursor.string();
        cursor.take(b':');
        let value = cursor;
        let decoded = match key {
            Some(key) => decode(key, buffer)?,
            None => None,
        };
        let fault = |cause| Fault { cause, at: key_at, found: b"" };
        let fault = match (member.refused, decoded.and_then(SpaceId::from_text)) {
            (Some(cause), _) => fault(cause),
            (None, None) => fault(Cause::Id),
            (None, Some(id)) if catalog.find(id).is_some() => fault(Cause::DuplicateId),
            (None, Some(id)) => match entry.read(&mut cursor) {
                Ok(()) => return catalog.push_entry(id, entry),
                Err(EntryError::NoMemory) => return Err(ReadError::NoMemory),
                Err(EntryError::Fault(fault)) => fault,
            },
        };
        report.may_withhold |= member.refused.is_some() || withholds(value);
        // One that is longer than an entry may be is cut off.
        let key = key.map_or(text.get(key_at + 1..), |key| Some(key.raw));
        let Some((id, is_exact)) = decoded.and_then(meant_id) else {
            let position = || members.position(member, key_at);
            report.skipped.add("skipped", key, &"not a space id", position);
            return Ok(());
        };
        let fault =
            if is_exact { fault } else { Fault { cause: Cause::Id, at: key_at, found: b"" } };
        if let Some((place, head, _)) = catalog.find(id) {
            if head.has(Head::IS_UNUSABLE) {
                return Ok(());
            }
            report.may_withhold |= head.status().is_some() || head.has(Head::HAS_NO_FILES);
            catalog.spoil(id, place, fault.cause);
        } else {
            catalog.push(id, Head::unusable(id, fault.cause), [b""; 4])?;
        }
        let position = || members.position(member, fault.at);
        report.unusable.add("unusable", key, &fault, position);
        Ok(())
    }
}

/// A key without its escapes, which takes the buffer's memory. `None` if it is not Unicode or much
/// longer than any id.
fn decode<'k>(key: JsonString<'k>, buffer: &'k mut String) -> Result<Option<&'k str>, NoMemory> {
    const MAX_KEY_LEN: usize = if cfg!(fuzzing) { 1024 } else { 32 * 1024 };
    let Some(text) = key.text() else { return Ok(None) };
    if text.len() > MAX_KEY_LEN || !key.has_escape {
        return Ok((text.len() <= MAX_KEY_LEN).then_some(text));
    }
    buffer.clear();
    buffer.try_reserve(text.len())?;
    for c in unescaped(text) {
        let Some(c) = c else { return Ok(None) };
        buffer.push(c);
    }
    Ok(Some(buffer))
}

/// The id that a key means, and whether it is the key itself: if not, it is what remains without
/// white space around it and a format behind it, as exports of databases and lists of files have it.
fn meant_id(key: &str) -> Option<(SpaceId<'_>, bool)> {
    let whole = trimmed(key);
    if let Some(id) = SpaceId::from_text(whole) {
        return Some((id, whole.len() == key.len()));
    }
    let (id, extension) = whole.rsplit_once('.')?;
    let extension = trimmed(extension);
    let is_extension = (1..=MAX_EXTENSION_LEN).contains(&extension.len())
        && extension.bytes().all(|b| b.is_ascii_alphanumeric());
    Some((SpaceId::from_text(trimmed(id)).filter(|_| is_extension)?, false))
}

/// Without white space at both ends, and without other invisible characters.
fn trimmed(text: &str) -> &str {
    let is_invisible = |c: char| {
        c.is_whitespace() || c.is_control() || matches!(c, '\u{feff}' | '\u{200b}'..='\u{200f}')
    };
    text.trim_matches(is_invisible)
}

#[cfg(test)]
mod tests;
