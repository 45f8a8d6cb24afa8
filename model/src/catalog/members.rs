//! Reads the members of a large JSON object some at a time.
//!
//! serde_json reads from a slice in half the time that it takes to read from a stream, and nobody
//! wants to hold 140 MB of text to have one. So the text is cut where a member of the outermost
//! object ends, and what stands between two cuts is read as an object of its own. Each of them has
//! to be valid JSON; then the whole is.

use std::io::{self, Read};

use memchr::memchr2;

/// How much is read at once, in bytes. Little where the cutting is tried out.
const BUFFER_LEN: usize = if cfg!(any(test, fuzzing)) { 16 } else { 256 * 1024 };

/// The longest member that is tried, in bytes.
const MAX_MEMBER_LEN: usize = 4 * 1024 * 1024;

/// Why the object was not read to its end. It may be valid all the same.
#[derive(Debug)]
pub(super) struct Irregular;

impl From<io::Error> for Irregular {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// Reads an object and hands its members to `read`, as many as the buffer holds at a time, as the
/// text of an object. `read` returns how many there were; `None` ends the reading.
pub(super) fn read(
    mut reader: impl Read,
    mut read: impl FnMut(&[u8]) -> Option<usize>,
) -> Result<(), Irregular> {
    let mut text = Text::default();
    text.find_start(&mut reader)?;
    let mut after_comma = false;
    loop {
        let cut = match text.find_cut() {
            Some(cut) => cut,
            None if text.fill(&mut reader)? => continue,
            None => return Err(Irregular),
        };
        let count = text.part(cut).and_then(&mut read).ok_or(Irregular)?;
        match cut {
            // `{}` alone has no members; a comma has one on either side.
            Cut::Comma(_) if count > 0 => after_comma = true,
            Cut::End(_) if count > 0 || !after_comma => break,
            _ => return Err(Irregular),
        }
        text.drop_part(cut);
    }
    text.find_end(&mut reader)
}

/// A place in the buffer at which a member of the outermost object ends.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// There is a comma.
    Comma(usize),
    /// There is the end of the object.
    End(usize),
}

impl Cut {
    fn place(self) -> usize {
        match self {
            Self::Comma(place) | Self::End(place) => place,
        }
    }
}

/// A part of the text, which begins with the brace of an object.
#[derive(Debug, Default)]
struct Text {
    buffer: Vec<u8>,
    /// How much of the buffer has been looked at.
    seen: usize,
    /// How many braces and brackets are open there.
    depth: usize,
    in_string: bool,
    escaped: bool,
    comma: Option<usize>,
}

impl Text {
    /// Reads more, at least a byte. `false`: there is no more.
    fn fill(&mut self, reader: &mut impl Read) -> Result<bool, Irregular> {
        if self.buffer.len() > MAX_MEMBER_LEN {
            return Err(Irregular);
        }
        let wanted = BUFFER_LEN as u64;
        Ok(reader.take(wanted).read_to_end(&mut self.buffer)? > 0)
    }

    /// Drops what stands before the object.
    fn find_start(&mut self, reader: &mut impl Read) -> Result<(), Irregular> {
        self.fill(reader)?;
        let start = self.buffer.iter().position(|&b| !is_space(b)).ok_or(Irregular)?;
        self.buffer.drain(..start);
        (self.buffer.first() == Some(&b'{')).then_some(()).ok_or(Irregular)
    }

    /// The last place in the buffer at which a member ends.
    fn find_cut(&mut self) -> Option<Cut> {
        while let Some((&b, rest)) = self.buffer.get(self.seen..)?.split_first() {
            let place = self.seen;
            self.seen += 1;
            if self.in_string {
                match b {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => self.seen += memchr2(b'\\', b'"', rest).unwrap_or(rest.len()),
                }
                continue;
            }
            match b {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(Cut::End(place));
                    }
                }
                b',' if self.depth == 1 => self.comma = Some(place),
                _ => {}
            }
        }
        self.comma.take().map(Cut::Comma)
    }

    /// What stands before a cut, as the text of an object.
    fn part(&mut self, cut: Cut) -> Option<&[u8]> {
        if let Cut::Comma(place) = cut {
            *self.buffer.get_mut(place)? = b'}';
        }
        self.buffer.get(..=cut.place())
    }

    /// Goes on behind a cut, with the brace of another object.
    fn drop_part(&mut self, cut: Cut) {
        let place = cut.place();
        self.buffer.drain(..place);
        if let Some(first) = self.buffer.first_mut() {
            *first = b'{';
        }
        self.seen = self.seen.saturating_sub(place);
    }

    /// Sees to it that nothing stands behind the object.
    fn find_end(&mut self, reader: &mut impl Read) -> Result<(), Irregular> {
        loop {
            let rest = self.buffer.get(self.seen..).unwrap_or_default();
            if !rest.iter().all(|&b| is_space(b)) {
                return Err(Irregular);
            }
            self.buffer.clear();
            self.seen = 0;
            if !self.fill(reader)? {
                return Ok(());
            }
        }
    }
}

/// White space of JSON (RFC 8259, section 2).
fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r')
}
