//! The state file: what was counted, over restarts.
//!
//! Several zones can count for one file at a time: that of an old master process and of a new one
//! during a binary upgrade, say, or an old one and a larger one after a reload. So the file has sums
//! in columns: one for each zone that has processes, with all that it has counted since it was made,
//! and one, the past, for all zones that are gone. A zone replaces its own column and adds nothing to
//! what is there. The file as a whole is replaced by a rename. So whenever a process is killed, nothing
//! is counted twice, and what is missing is what was counted since the last rename.
//!
//! ```text
//! xspace-counts: 1
//! since: 1764147600                        seconds since 1970
//! past: 4711 …                             the totals, by their indexes
//! zone: 7f3a01d24c6b90e5 17 …              a zone's id, and its totals
//! 1lDxLnrWjwkGm 7 3 0 52110 1 1 0 65536    requests, plays, downloads and bytes: the past, each zone
//! end: 1                                   the number of spaces
//! ```
//!
//! A pass reads the file in pieces, sums up what the others have counted, and writes the next
//! version; then come the spaces that were not in the file.

use core::fmt::{self, Write};
use core::mem;

use super::report::{NoMemory, Text};
use super::spaces::{MAX_NAME_LEN, SpaceCounts};
use super::totals::SLOT_LEN;
use super::zone::Zone;
use crate::request::SpaceId;

/// What the first line begins with, and the version.
const NAME: &str = "xspace-counts: ";
const VERSION: &str = "1";

/// The longest line of a file, and the most zones that are alive: more than there ever are.
const MAX_LINE: usize = 16 << 10;
const MAX_ZONES: usize = 32;

/// Why a pass can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateError {
    /// There is no memory.
    NoMemory,
    /// The file is of another version of the module.
    Version,
    /// The file is not one that a pass has written: what is wrong, and in which line.
    Invalid(&'static str, u64),
}

impl From<NoMemory> for StateError {
    fn from(_: NoMemory) -> Self {
        Self::NoMemory
    }
}

impl From<fmt::Error> for StateError {
    fn from(_: fmt::Error) -> Self {
        Self::NoMemory
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMemory => f.write_str("no memory"),
            Self::Version => f.write_str("the format has another version"),
            Self::Invalid(what, line) => write!(f, "{what} in line {line}"),
        }
    }
}

type Totals = [u64; SLOT_LEN];

/// What becomes of a zone's column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is the one that is replaced.
    Own,
    /// It stays.
    Alive,
    /// It is added to the past.
    Gone,
}

#[derive(Clone, Copy, Debug)]
struct Column {
    id: u64,
    totals: Totals,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Name,
    Since,
    Past,
    Zones,
    Spaces,
    End,
}

/// A pass through a state file, of which there is one at a time.
#[derive(Debug)]
pub struct StatePass<'z> {
    zone: Zone<'z>,
    number: u64,
    stage: Stage,
    since: u64,
    past: Totals,
    /// Those of the file, at most [`MAX_ZONES`].
    columns: Vec<Column>,
    /// A line that is not complete.
    rest: Vec<u8>,
    lines: u64,
    spaces_read: u64,
    spaces_written: u64,
    without_slot: u64,
    next_slot: usize,
}

impl<'z> StatePass<'z> {
    /// A pass for a zone.
    pub fn new(zone: &Zone<'z>) -> Self {
        Self {
            zone: *zone,
            number: zone.begin_pass(),
            stage: Stage::Name,
            since: zone.since(),
            past: zone.base(),
            columns: Vec::new(),
            rest: Vec::new(),
            lines: 0,
            spaces_read: 0,
            spaces_written: 0,
            without_slot: 0,
            next_slot: 0,
        }
    }

    /// Reads a piece of the file, and adds what was counted by others to what the zone shows. Writes
    /// the same piece of the next version to `next`, if there will be one. `is_alive` tells whether
    /// the zone with an id has a process.
    ///
    /// # Errors
    ///
    /// The file is damaged, or there is no memory. The pass has ended then.
    pub fn read(
        &mut self,
        piece: &[u8],
        mut next: Option<&mut Text>,
        is_alive: impl Fn(u64) -> bool,
    ) -> Result<(), StateError> {
        let mut rest = mem::take(&mut self.rest);
        rest.try_reserve(piece.len()).map_err(|_| StateError::NoMemory)?;
        rest.extend_from_slice(piece);
        let mut lines = rest.split_inclusive(|&b| b == b'\n').peekable();
        let mut len = 0;
        while let Some(line) = lines.next_if(|line| line.ends_with(b"\n")) {
            len += line.len();
            self.lines += 1;
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            self.line(line, next.as_deref_mut(), &is_alive)?;
        }
        rest.drain(..len);
        if rest.len() > MAX_LINE {
            self.lines += 1;
            return Err(self.invalid("too long a line"));
        }
        self.rest = rest;
        Ok(())
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// The file has not ended where it should.
    pub fn end(&self) -> Result<(), StateError> {
        match self.stage {
            Stage::End if self.rest.is_empty() => Ok(()),
            _ => Err(StateError::Invalid("unexpected end of file", self.lines + 1)),
        }
    }

    /// How many spaces of the file there is no room for in the zone.
    pub fn without_slot(&self) -> u64 {
        self.without_slot
    }

    /// Writes what follows the pieces that were read: those of so many slots whose spaces were not in
    /// the file, or all of it if there was no file. Returns whether it is complete.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn append(&mut self, slots: usize, next: &mut Text) -> Result<bool, StateError> {
        if self.stage == Stage::Name {
            self.write_header(next)?;
            self.stage = Stage::End;
        }
        let end = self.next_slot.saturating_add(slots).min(self.zone.layout().spaces());
        for index in self.next_slot..end {
            let Some(space) = self.zone.slot(index) else { continue };
            let (own, mut buffer) = (space.own(), [0; MAX_NAME_LEN]);
            if space.pass() == self.number {
                continue;
            }
            let Some(id) = space.id(&mut buffer) else { continue };
            let others = self.columns.iter().filter(|column| column.fate == Fate::Alive);
            write_space(next, id, space.base(), own, others.map(|_| SpaceCounts::default()))?;
            self.spaces_written += 1;
        }
        self.next_slot = end;
        let is_complete = end == self.zone.layout().spaces();
        if is_complete {
            writeln!(next, "end: {}", self.spaces_written)?;
        }
        Ok(is_complete)
    }

    fn invalid(&self, what: &'static str) -> StateError {
        StateError::Invalid(what, self.lines)
    }

    fn line(
        &mut self,
        line: &[u8],
        mut next: Option<&mut Text>,
        is_alive: impl Fn(u64) -> bool,
    ) -> Result<(), StateError> {
        let value = |name: &str| line.strip_prefix(name.as_bytes());
        match self.stage {
            Stage::Name => match value(NAME) {
                Some(version) if version == VERSION.as_bytes() => self.stage = Stage::Since,
                Some(_) => return Err(StateError::Version),
                None => return Err(self.invalid("not a state file: unknown format")),
            },
            Stage::Since => {
                let since = value("since: ").and_then(number);
                self.since = since.ok_or_else(|| self.invalid("invalid time"))?;
                self.stage = Stage::Past;
            }
            Stage::Past => {
                let past = value("past: ").and_then(|value| numbers(&mut fields(value)));
                self.past = past.ok_or_else(|| self.invalid("invalid totals"))?;
                self.stage = Stage::Zones;
            }
            Stage::Zones => match value("zone: ") {
                Some(zone) => self.zone_line(zone, is_alive)?,
                None => {
                    self.end_header(next.as_deref_mut())?;
                    self.stage = Stage::Spaces;
                    return self.space_line(line, next);
                }
            },
            Stage::Spaces => return self.space_line(line, next),
            Stage::End => return Err(self.invalid("a line after the end")),
        }
        Ok(())
    }

    fn zone_line(&mut self, line: &[u8], is_alive: impl Fn(u64) -> bool) -> Result<(), StateError> {
        let mut values = fields(line);
        let id = values.next().and_then(|id| {
            let is_hex = id.iter().all(u8::is_ascii_hexdigit);
            let id = core::str::from_utf8(id).ok().filter(|_| is_hex)?;
            u64::from_str_radix(id, 16).ok()
        });
        let totals = numbers(&mut values);
        let (Some(id), Some(totals)) = (id, totals) else {
            return Err(self.invalid("invalid zone"));
        };
        if self.columns.iter().any(|column| column.id == id) {
            return Err(self.invalid("duplicate zone"));
        }
        if self.columns.len() == MAX_ZONES {
            return Err(self.invalid("too many zones"));
        }
        let fate = match id == self.zone.id() {
            true => Fate::Own,
            false if is_alive(id) => Fate::Alive,
            false => Fate::Gone,
        };
        self.columns.try_reserve(1).map_err(|_| StateError::NoMemory)?;
        self.columns.push(Column { id, totals, fate });
        Ok(())
    }

    fn end_header(&mut self, next: Option<&mut Text>) -> Result<(), StateError> {
        let mut base = self.past;
        for column in self.columns.iter().filter(|column| column.fate != Fate::Own) {
            add(&mut base, &column.totals);
            if column.fate == Fate::Gone {
                add(&mut self.past, &column.totals);
            }
        }
        self.zone.set_base(self.since, base);
        next.map_or(Ok(()), |next| self.write_header(next))
    }

    fn write_header(&self, next: &mut Text) -> Result<(), StateError> {
        write!(next, "{NAME}{VERSION}\nsince: {}\npast:", self.since)?;
        write_numbers(next, &self.past)?;
        let others = self.columns.iter().filter(|column| column.fate == Fate::Alive);
        let others = others.map(|column| (column.id, column.totals));
        for (id, totals) in core::iter::once((self.zone.id(), self.zone.totals())).chain(others) {
            write!(next, "\nzone: {id:x}")?;
            write_numbers(next, &totals)?;
        }
        Ok(next.write_char('\n')?)
    }

    fn space_line(&mut self, line: &[u8], next: Option<&mut Text>) -> Result<(), StateError> {
        if let Some(count) = line.strip_prefix(b"end: ") {
            if number(count) != Some(self.spaces_read) {
                return Err(self.invalid("wrong number of spaces"));
            }
            self.stage = Stage::End;
            return Ok(());
        }
        let mut values = fields(line);
        let id = values.next().and_then(SpaceId::parse);
        let id = id.ok_or_else(|| self.invalid("invalid space"))?;
        let invalid = StateError::Invalid("invalid counts", self.lines);

        let mut past: SpaceCounts = counts(&mut values).ok_or(invalid)?;
        let (mut base, mut own) = (past, SpaceCounts::default());
        let mut others = [SpaceCounts::default(); MAX_ZONES];
        let mut other = others.iter_mut();
        let mut others_len = 0;
        for column in &self.columns {
            let counts = counts(&mut values).ok_or(invalid)?;
            if column.fate == Fate::Own {
                own = counts;
                continue;
            }
            add(&mut base, &counts);
            if column.fate == Fate::Gone {
                add(&mut past, &counts);
            } else if let Some(other) = other.next() {
                *other = counts;
                others_len += 1;
            }
        }
        if values.next().is_some() {
            return Err(invalid);
        }
        self.spaces_read += 1;
        match self.zone.claim(id) {
            Some(space) if space.pass() == self.number => {
                return Err(self.invalid("duplicate space"));
            }
            Some(space) => {
                space.set_pass(self.number);
                space.set_base(base);
                own = space.own();
            }
            None => self.without_slot += 1,
        }
        if let Some(next) = next {
            write_space(next, id, past, own, others.into_iter().take(others_len))?;
            self.spaces_written += 1;
        }
        Ok(())
    }
}

fn write_space(
    next: &mut Text,
    id: SpaceId<'_>,
    past: SpaceCounts,
    own: SpaceCounts,
    others: impl Iterator<Item = SpaceCounts>,
) -> fmt::Result {
    write!(next, "{id}")?;
    for counts in [past, own].into_iter().chain(others) {
        write_numbers(next, &counts)?;
    }
    next.write_char('\n')
}

fn write_numbers(next: &mut Text, numbers: &[u64]) -> fmt::Result {
    numbers.iter().try_for_each(|number| write!(next, " {number}"))
}

fn add<const N: usize>(sums: &mut [u64; N], counts: &[u64; N]) {
    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum = sum.saturating_add(*count));
}

fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&b| b == b' ')
}

fn number(digits: &[u8]) -> Option<u64> {
    let digit = |b: &u8| b.is_ascii_digit().then(|| u64::from(b - b'0'));
    let mut digits = digits.iter();
    let first = digits.next().and_then(digit)?;
    digits.try_fold(first, |number, b| number.checked_mul(10)?.checked_add(digit(b)?))
}

fn counts<'a, const N: usize>(fields: &mut impl Iterator<Item = &'a [u8]>) -> Option<[u64; N]> {
    let mut counts = [0; N];
    for count in &mut counts {
        *count = number(fields.next()?)?;
    }
    Some(counts)
}

/// So many numbers, and nothing else.
fn numbers<'a, const N: usize>(fields: &mut impl Iterator<Item = &'a [u8]>) -> Option<[u64; N]> {
    let numbers = counts(fields)?;
    fields.next().is_none().then_some(numbers)
}
