//! Reads the members of a large JSON object one at a time, in memory of a fixed size.

use core::ops::Range;
use std::io::{self, Read};

use super::Memory;
use super::report::{Cause, Position, ReadError};
use crate::entry::{MAX_ENTRY_LEN, mark_len};
use crate::json::{Checker, SyntaxError, is_space};

/// How many bytes are read at once; few in tests, so that pieces end anywhere.
const READ_LEN: usize = if cfg!(any(test, fuzzing)) { 16 } else { 256 * 1024 };

/// A member of the outermost object.
pub(super) struct Member {
    /// Where its text is in the buffer: its key, a colon, its value.
    text: Range<usize>,
    /// Why it is not to be read. Of one that is too long the text is the beginning only.
    pub(super) refused: Option<Cause>,
}

/// The members of an object that is being read.
pub(super) struct Members<R, M> {
    reader: R,
    buffer: M,
    /// How much of the buffer holds text.
    len: usize,
    /// The position behind the byte before that text.
    position: Position,
    /// Where the member begins, behind a brace or a comma.
    start: usize,
    /// How much of the buffer was checked.
    checked: usize,
    checker: Checker,
    /// Whether the member was refused because of its length: the rest of it is only checked.
    is_too_long: bool,
}

impl<R: Read, M: Memory> Members<R, M> {
    /// Begins to read an object.
    pub(super) fn new(reader: R) -> Result<Self, ReadError<'static>> {
        let mut buffer = M::default();
        buffer.resize(MAX_ENTRY_LEN + READ_LEN)?;
        let mut members = Self {
            reader,
            buffer,
            len: 0,
            position: Position { line: 1, column: 0 },
            start: 0,
            checked: 0,
            checker: Checker::new(),
            is_too_long: false,
        };
        while members.len < 3 && members.fill()? {}
        members.drop_text(mark_len(members.text(&(0..members.len)))?);
        members.position = Position { line: 1, column: 0 };
        members.find_brace()?;
        Ok(members)
    }

    /// Skips white space before the object.
    fn find_brace(&mut self) -> Result<(), ReadError<'static>> {
        loop {
            let text = self.text(&(0..self.len));
            let spaces = text.iter().position(|&b| !is_space(b)).unwrap_or(self.len);
            self.drop_text(spaces);
            if self.len > 0 || !self.fill()? {
                break;
            }
        }
        match self.text(&(0..self.len)).first() {
            Some(b'{') => {
                self.start = 1;
                Ok(())
            }
            Some(_) => {
                let message = "not an object of space ids and entries";
                Err(ReadError::Syntax(message, self.position.next()))
            }
            None => Err(ReadError::Syntax("unexpected end of file", self.position)),
        }
    }

    /// The next member; `None` at the end of the text.
    ///
    /// # Errors
    ///
    /// What makes all of the text invalid.
    pub(super) fn next(&mut self) -> Result<Option<Member>, ReadError<'static>> {
        loop {
            let checked = self
                .checker
                .check(self.buffer.as_ref().get(self.checked..self.len).unwrap_or_default());
            let checked = checked.map_err(|SyntaxError { at, message }| {
                ReadError::Syntax(message, self.position_behind(self.checked + at).next())
            })?;
            let kept = self.text(&(self.start..self.len));
            let start = self.start + kept.iter().take_while(|&&b| is_space(b)).count();
            if let Some(len) = checked {
                let end = self.checked + len;
                let text = start..end - 1;
                (self.start, self.checked) = (end, end);
                let is_too_deep = self.checker.take_too_deep();
                let is_refused = core::mem::take(&mut self.is_too_long);
                // The only member without text is that of `{}`.
                if !is_refused && !text.is_empty() {
                    let is_too_long = (text.len() > MAX_ENTRY_LEN).then_some(Cause::TooLong);
                    let refused = is_too_long.or(is_too_deep.then_some(Cause::TooDeep));
                    return Ok(Some(Member { text, refused }));
                }
                continue;
            }
            self.checked = self.len;
            let is_kept = !self.is_too_long && !self.checker.is_done();
            self.drop_text(if is_kept { start } else { self.len });
            if self.len > MAX_ENTRY_LEN {
                self.is_too_long = true;
                let text = 0..self.len;
                return Ok(Some(Member { text, refused: Some(Cause::TooLong) }));
            }
            if !self.fill()? {
                let ended = self.checker.finish();
                return ended
                    .map(|()| None)
                    .map_err(|message| ReadError::Syntax(message, self.position_behind(self.len)));
            }
        }
    }

    /// The text of a member.
    pub(super) fn member_text(&self, member: &Member) -> &[u8] {
        self.text(&member.text)
    }

    /// The position of a byte of a member.
    pub(super) fn position(&self, member: &Member, at: usize) -> Position {
        self.position_behind(member.text.start + at).next()
    }

    fn text(&self, range: &Range<usize>) -> &[u8] {
        self.buffer.as_ref().get(range.clone()).unwrap_or_default()
    }

    /// The position behind so many bytes of the buffer: of the last one.
    fn position_behind(&self, len: usize) -> Position {
        let mut position = self.position;
        position.advance(self.text(&(0..len)));
        position
    }

    /// Reads more. `false`: there is no more.
    fn fill(&mut self) -> Result<bool, ReadError<'static>> {
        let room = self.buffer.as_mut().get_mut(self.len..self.len + READ_LEN);
        let room = room.unwrap_or_default();
        loop {
            match self.reader.read(room) {
                Ok(len) => {
                    self.len += len;
                    return Ok(len > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ReadError::Io(error)),
            }
        }
    }

    /// Drops so many bytes of text.
    fn drop_text(&mut self, len: usize) {
        if len == 0 {
            return;
        }
        self.position = self.position_behind(len);
        self.buffer.as_mut().copy_within(len..self.len, 0);
        self.len -= len;
        self.checked = self.checked.saturating_sub(len);
        self.start = self.start.saturating_sub(len);
    }
}
