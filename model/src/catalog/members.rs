//! Reads the members of a large JSON object one at a time, in memory of a fixed size.
//!
//! serde_json reads from a slice in half the time that it takes to read from a stream, and nobody
//! wants to hold 140 MB of text to have one. So the text is cut where a member of the outermost
//! object ends, and each member is read as an object of its own. All of them have to be valid
//! JSON; then the whole is. A member that is too large to be held is checked as it passes by.

use core::mem;
use core::ops::Range;
use std::io::{self, Read};

use memchr::{memchr_iter, memchr2, memrchr};
use serde_core::de::{Deserialize, IgnoredAny};

use super::report::CatalogError;

/// The longest member, in bytes.
pub const MAX_MEMBER_LEN: usize = if cfg!(fuzzing) {
    4096
} else if cfg!(test) {
    256 * 1024
} else {
    4 * 1024 * 1024
};

/// The longest string that has an escape, in bytes as it is written. serde_json unescapes strings
/// in memory that it does not ask for fallibly: this much the module's reserve has.
pub const MAX_STRING_LEN: usize = if cfg!(fuzzing) { 1024 } else { 32 * 1024 };

/// The deepest nesting that is checked: serde_json needs a byte for each level.
const MAX_CHECKED_DEPTH: usize = if cfg!(any(test, fuzzing)) { 256 } else { 32 * 1024 };

/// How much is read at once, in bytes. Little where the cutting is tried out.
const READ_LEN: usize = if cfg!(any(test, fuzzing)) { 16 } else { 256 * 1024 };

/// The memory for the text. `read_to_end` asks for more only if less than 32 bytes are left.
const BUFFER_LEN: usize = MAX_MEMBER_LEN + READ_LEN + 64;

/// A member of the outermost object: where its text stands in the buffer.
pub(super) struct Member {
    text: Range<usize>,
    /// What of it is too large to be read. The text may be its beginning only.
    pub(super) excess: Option<Excess>,
}

/// Why a member is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// It is longer than [`MAX_MEMBER_LEN`].
    Member,
    /// It has a string with an escape that is longer than [`MAX_STRING_LEN`].
    String,
    /// It is nested deeper than can be checked.
    Depth,
}

/// A place in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// The first one is 1.
    pub(super) line: usize,
    /// How many bytes of the line are before it.
    pub(super) column: usize,
}

impl Position {
    fn advance(&mut self, bytes: &[u8]) {
        match memrchr(b'\n', bytes) {
            Some(last) => {
                self.line += memchr_iter(b'\n', bytes).count();
                self.column = bytes.len() - last - 1;
            }
            None => self.column = self.column.wrapping_add(bytes.len()),
        }
    }

    /// The place that serde_json names, in a text that begins here.
    pub(super) fn of(self, error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        match line {
            0 | 1 => Self { line: self.line, column: self.column.wrapping_add(column) },
            _ => Self { line: self.line + line - 1, column },
        }
    }
}

/// Looks for the ends of members, and of what is too large for serde_json.
#[derive(Debug, Default)]
struct Scanner {
    /// How many braces and brackets are open.
    depth: usize,
    /// The most of them in this member.
    deepest: usize,
    in_string: bool,
    escaped: bool,
    /// How much of the string was seen, in bytes.
    string_len: usize,
    /// Whether it has an escape.
    has_escape: bool,
    /// Whether the member has such a string that is too long.
    has_long_string: bool,
}

/// What ends a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Comma,
    /// The end of the object.
    Brace,
}

impl Scanner {
    /// Goes on with more text; returns how much of it was seen, and what ended the member there.
    fn scan(&mut self, text: &[u8]) -> (usize, Option<End>) {
        let mut seen = 0;
        while let Some((&b, rest)) = text.get(seen..).and_then(<[u8]>::split_first) {
            seen += 1;
            if self.in_string {
                self.string_len += 1;
                match b {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => (self.escaped, self.has_escape) = (true, true),
                    b'"' => {
                        self.in_string = false;
                        self.has_long_string |= self.is_long_string();
                    }
                    _ => {
                        let len = memchr2(b'\\', b'"', rest).unwrap_or(rest.len());
                        self.string_len += len;
                        seen += len;
                    }
                }
                continue;
            }
            match b {
                b'"' => {
                    (self.in_string, self.string_len, self.has_escape) = (true, 0, false);
                }
                b'{' | b'[' => {
                    self.depth += 1;
                    self.deepest = self.deepest.max(self.depth);
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return (seen, Some(End::Brace));
                    }
                }
                b',' if self.depth == 1 => return (seen, Some(End::Comma)),
                _ => {}
            }
        }
        (seen, None)
    }

    fn is_long_string(&self) -> bool {
        self.has_escape && self.string_len > MAX_STRING_LEN
    }

    fn excess(&self) -> Option<Excess> {
        if self.deepest > MAX_CHECKED_DEPTH {
            Some(Excess::Depth)
        } else if self.has_long_string || self.is_long_string() {
            Some(Excess::String)
        } else {
            None
        }
    }

    fn begin_member(&mut self) {
        (self.deepest, self.has_escape, self.has_long_string) = (1, false, false);
    }
}

/// What of one JSON value is too large to be read.
pub(super) fn excess(json: &[u8]) -> Option<Excess> {
    if json.len() > MAX_MEMBER_LEN {
        return Some(Excess::Member);
    }
    if json.len() <= MAX_STRING_LEN.min(MAX_CHECKED_DEPTH) {
        return None;
    }
    // One level more than there is, or an entry would end at its first comma.
    let mut scanner = Scanner { depth: 2, deepest: 2, ..Scanner::default() };
    scanner.scan(json);
    scanner.excess()
}

/// The byte order mark of UTF-8.
const MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// How long the byte order mark in front of a JSON text is.
///
/// # Errors
///
/// What the text is instead of UTF-8, judged by its first bytes.
pub(super) fn mark_len(json: &[u8]) -> Result<usize, CatalogError> {
    match json {
        [0x1f, 0x8b, ..] => Err(CatalogError::encoded("it is compressed with gzip")),
        [0xff, 0xfe, ..]
        | [0xfe, 0xff, ..]
        | [0, b'{' | b'[' | b'"', ..]
        | [b'{' | b'[' | b'"', 0, ..] => {
            Err(CatalogError::encoded("it is UTF-16, UTF-8 is expected"))
        }
        _ => Ok(if json.starts_with(&MARK) { MARK.len() } else { 0 }),
    }
}

/// The members of an object that is being read.
pub(super) struct Members<R> {
    reader: R,
    buffer: Vec<u8>,
    /// The place of the buffer's first byte.
    position: Position,
    /// The place in the buffer of what stands before the member: a brace or a comma.
    start: usize,
    /// How much of the buffer the scanner has seen.
    seen: usize,
    scanner: Scanner,
    /// What has ended the member before.
    end: Option<End>,
    /// Whether that member is too long for the buffer, in which it begins.
    is_too_long: bool,
}

impl<R: Read> Members<R> {
    /// Begins to read an object.
    pub(super) fn new(reader: R) -> Result<Self, CatalogError> {
        let mut buffer = Vec::new();
        buffer.try_reserve_exact(BUFFER_LEN).map_err(|_| CatalogError::no_memory())?;
        let mut members = Self {
            reader,
            buffer,
            position: Position { line: 1, column: 0 },
            start: 0,
            seen: 0,
            scanner: Scanner::default(),
            end: None,
            is_too_long: false,
        };
        members.find_start()?;
        Ok(members)
    }

    /// Drops what stands before the object.
    fn find_start(&mut self) -> Result<(), CatalogError> {
        while self.buffer.len() < MARK.len() && self.fill()? {}
        let mark = mark_len(&self.buffer)?;
        self.buffer.drain(..mark);
        loop {
            match self.buffer.iter().position(|&b| !is_space(b)) {
                Some(start) if self.buffer.get(start) == Some(&b'{') => {
                    self.start = start;
                    self.seen = start + 1;
                    (self.scanner.depth, self.scanner.deepest) = (1, 1);
                    return Ok(());
                }
                Some(start) => {
                    let message = "it is not an object of space ids and entries";
                    return Err(self.unexpected(message, start));
                }
                None => {
                    self.drop_all();
                    if !self.fill()? {
                        return Err(CatalogError::at("EOF while parsing a value", self.position));
                    }
                }
            }
        }
    }

    /// The next member; `None` behind the last one.
    ///
    /// # Errors
    ///
    /// What makes all of the text invalid, as far as it shows outside of the members' text.
    pub(super) fn next(&mut self) -> Result<Option<Member>, CatalogError> {
        if mem::take(&mut self.is_too_long) {
            self.end = Some(self.pass_by()?);
        }
        match self.end {
            Some(End::Brace) => return self.find_end().map(|()| None),
            Some(End::Comma) => self.scanner.begin_member(),
            None => {}
        }
        let end = loop {
            let (seen, end) = self.scanner.scan(self.buffer.get(self.seen..).unwrap_or_default());
            self.seen += seen;
            if let Some(end) = end {
                break end;
            }
            self.drop_front();
            if self.buffer.len() > MAX_MEMBER_LEN {
                self.is_too_long = true;
                let text = 0..self.buffer.len();
                return Ok(Some(Member { text, excess: Some(Excess::Member) }));
            }
            if !self.fill()? {
                return Err(self.cut_off());
            }
        };

        let is_first = self.end.replace(end).is_none();
        let (start, last) = (mem::replace(&mut self.start, self.seen - 1), self.seen - 1);
        let inner = self.buffer.get(start + 1..last).unwrap_or_default();
        if inner.iter().all(|&b| is_space(b)) {
            return match self.buffer.get(last) {
                Some(b'}') if is_first => self.find_end().map(|()| None),
                Some(b'}') => Err(self.unexpected("trailing comma", last)),
                _ => Err(self.unexpected("key must be a string", last)),
            };
        }
        self.set(start, b'{');
        if end == End::Comma {
            self.set(last, b'}');
        }
        let member = Member { text: start..self.seen, excess: self.scanner.excess() };
        if matches!(member.excess, Some(Excess::String)) {
            // It is checked all the same.
            let mut json = serde_json::Deserializer::from_slice(self.text(&member));
            let checked = IgnoredAny::deserialize(&mut json).and_then(|_| json.end());
            checked.map_err(|error| CatalogError::json(error, self.position(&member)))?;
        }
        Ok(Some(member))
    }

    /// The member as the text of an object that has no other.
    pub(super) fn text(&self, member: &Member) -> &[u8] {
        self.buffer.get(member.text.clone()).unwrap_or_default()
    }

    /// Where that text begins.
    pub(super) fn position(&self, member: &Member) -> Position {
        self.position_at(member.text.start)
    }

    /// Where its key begins, as serde_json counts columns.
    pub(super) fn key_position(&self, member: &Member) -> Position {
        let text = self.text(member);
        let key = text.iter().skip(1).take_while(|&&b| is_space(b)).count() + 2;
        let mut position = self.position(member);
        position.advance(text.get(..key).unwrap_or_default());
        position
    }

    fn position_at(&self, place: usize) -> Position {
        let mut position = self.position;
        position.advance(self.buffer.get(..place).unwrap_or_default());
        position
    }

    fn unexpected(&self, message: &str, place: usize) -> CatalogError {
        let Position { line, column } = self.position_at(place);
        CatalogError::at(message, Position { line, column: column.wrapping_add(1) })
    }

    fn set(&mut self, place: usize, brace: u8) {
        if let Some(b) = self.buffer.get_mut(place) {
            *b = brace;
        }
    }

    /// Reads more, at least a byte. `false`: there is no more.
    fn fill(&mut self) -> io::Result<bool> {
        let more = self.reader.by_ref().take(READ_LEN as u64);
        Ok({ more }.read_to_end(&mut self.buffer)? > 0)
    }

    /// Drops what stands before the member, and white space at its beginning.
    fn drop_front(&mut self) {
        let text = self.buffer.get(self.start + 1..).unwrap_or_default();
        let spaces = text.iter().take_while(|&&b| is_space(b)).count();
        let front = self.start + spaces;
        self.position = self.position_at(front);
        if self.buffer.get(front) == Some(&b'\n') {
            // A brace takes its place, and the line begins behind that.
            self.position = Position { line: self.position.line + 1, column: usize::MAX };
        }
        self.buffer.drain(..front);
        self.set(0, b'{');
        self.start = 0;
        self.seen = self.seen.saturating_sub(front);
    }

    fn drop_all(&mut self) {
        self.position = self.position_at(self.buffer.len());
        self.buffer.clear();
        (self.start, self.seen) = (0, 0);
    }

    /// Reads to the end of a member that is too long for the buffer, in which it begins.
    fn pass_by(&mut self) -> Result<End, CatalogError> {
        let position = self.position;
        let mut passing = PassingBy { members: self, given: 0, end: None };
        let mut json = serde_json::Deserializer::from_reader(&mut passing);
        let checked = IgnoredAny::deserialize(&mut json).and_then(|_| json.end());
        while passing.end.is_none() && passing.is_too_deep() {
            if !passing.go_on()? {
                break;
            }
        }
        match passing.end {
            Some(end) if passing.is_too_deep() || checked.is_ok() => {
                self.start = self.seen - 1;
                Ok(end)
            }
            _ => match checked {
                Err(error) if !passing.is_too_deep() => Err(CatalogError::json(error, position)),
                _ => Err(CatalogError::at("EOF while parsing an object", self.position)),
            },
        }
    }

    /// Says where a text that has no end is wrong.
    fn cut_off(&self) -> CatalogError {
        let text = self.buffer.get(self.start..).unwrap_or_default();
        let mut json = serde_json::Deserializer::from_slice(text);
        match self.scanner.excess() {
            Some(Excess::Depth) => {}
            _ => {
                if let Err(error) = IgnoredAny::deserialize(&mut json) {
                    return CatalogError::json(error, self.position_at(self.start));
                }
            }
        }
        CatalogError::at("EOF while parsing an object", self.position_at(self.buffer.len()))
    }

    /// Sees to it that nothing stands behind the object.
    fn find_end(&mut self) -> Result<(), CatalogError> {
        loop {
            let rest = self.buffer.get(self.seen..).unwrap_or_default();
            if let Some(place) = rest.iter().position(|&b| !is_space(b)) {
                return Err(self.unexpected("trailing characters", self.seen + place));
            }
            self.drop_all();
            if !self.fill()? {
                return Ok(());
            }
        }
    }
}

/// A member that is read without being kept, as the text of an object.
struct PassingBy<'m, R> {
    members: &'m mut Members<R>,
    /// How much of the buffer was read.
    given: usize,
    /// What has ended the member, once that has been seen.
    end: Option<End>,
}

impl<R: Read> PassingBy<'_, R> {
    fn is_too_deep(&self) -> bool {
        self.members.scanner.excess() == Some(Excess::Depth)
    }

    /// Has the buffer hold more of the member, in place of what it holds. `false`: there is no more.
    fn go_on(&mut self) -> io::Result<bool> {
        self.members.drop_all();
        self.given = 0;
        if !self.members.fill()? {
            return Ok(false);
        }
        (self.members.seen, self.end) = self.members.scanner.scan(&self.members.buffer);
        if self.end == Some(End::Comma) {
            self.members.set(self.members.seen - 1, b'}');
        }
        Ok(true)
    }
}

impl<R: Read> Read for PassingBy<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.is_too_deep() {
                return Err(io::Error::other("it is nested too deep"));
            }
            let rest = self.members.buffer.get(self.given..self.members.seen).unwrap_or_default();
            let len = rest.len().min(out.len());
            if let (Some(out), Some(rest @ [_, ..])) = (out.get_mut(..len), rest.get(..len)) {
                out.copy_from_slice(rest);
                self.given += len;
                return Ok(len);
            }
            if self.end.is_some() || out.is_empty() || !self.go_on()? {
                return Ok(0);
            }
        }
    }
}

/// White space of JSON (RFC 8259, section 2).
fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r')
}
