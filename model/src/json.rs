//! JSON (RFC 8259), as far as catalogs need it: a syntax check that can stop between any two bytes,
//! and a cursor that takes a text in memory apart.
//!
//! The catalog is larger than the memory that it may take to read it, an entry that can't be used
//! must not stop the reading, and no allocation may be infallible. serde_json reads a stream at
//! half the speed of a slice, can't continue behind a value that it has refused, and allocates
//! infallibly for escaped strings and for its errors.

/// The deepest nesting whose brackets are checked; they take a bit each. Deeper ones are counted.
const MAX_DEPTH: usize = if cfg!(any(test, fuzzing)) { 256 } else { 32 * 1024 };

/// A syntax error, at a byte of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) at: usize,
    pub(crate) message: &'static str,
}

/// Whether a byte is white space (RFC 8259, section 2).
pub(crate) fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r')
}

/// What may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Value,
    /// An element, or the end of the array that has none.
    FirstElement,
    Key,
    /// A key, or the end of the object that has none.
    FirstKey,
    Colon,
    /// A comma, or the end of the array or object.
    Comma,
    String,
    Escape,
    /// So many hexadecimal digits.
    Hex(u8),
    /// The rest of `true`, `false` or `null`.
    Word(&'static [u8]),
    Number,
    /// Anything: the nesting is too deep to be checked.
    Unchecked,
    UncheckedString,
    UncheckedEscape,
    /// Nothing but white space.
    End,
}

/// The part of a number that was read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Minus,
    /// An integer that begins with 0: no digit may follow.
    Zero,
    Integer,
    Point,
    Fraction,
    E,
    Sign,
    Exponent,
}

impl Number {
    /// The part that a byte belongs to; `None` if the number can't go on with it.
    fn next(self, b: u8) -> Option<Self> {
        Some(match (self, b) {
            (Self::Minus, b'0') => Self::Zero,
            (Self::Minus | Self::Integer, b'0'..=b'9') => Self::Integer,
            (Self::Zero | Self::Integer, b'.') => Self::Point,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => Self::E,
            (Self::E, b'+' | b'-') => Self::Sign,
            (Self::E | Self::Sign | Self::Exponent, b'0'..=b'9') => Self::Exponent,
            _ => return None,
        })
    }

    fn may_end(self) -> bool {
        matches!(self, Self::Zero | Self::Integer | Self::Fraction | Self::Exponent)
    }
}

/// Checks the syntax of one JSON text, in pieces of any length. Strings are not checked for UTF-8.
#[derive(Debug)]
pub(crate) struct Checker {
    state: State,
    /// Of the number that is being read. It is not in `state`, because the compiler would examine it
    /// before the state, which valgrind reports as a use of uninitialized memory.
    number: Number,
    /// Whether the string is a key.
    is_key: bool,
    depth: usize,
    /// For each level, whether it is an object.
    objects: [u64; MAX_DEPTH / 64],
    is_too_deep: bool,
}

impl Checker {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Value,
            number: Number::Zero,
            is_key: false,
            depth: 0,
            objects: [0; MAX_DEPTH / 64],
            is_too_deep: false,
        }
    }

    /// Whether there was nesting too deep to be checked since the last call.
    pub(crate) fn take_too_deep(&mut self) -> bool {
        core::mem::take(&mut self.is_too_deep)
    }

    /// Checks the next piece. Stops behind the comma or bracket that ends a member of the outermost
    /// object or an element of the outermost array, and returns the number of bytes up to there.
    pub(crate) fn check(&mut self, piece: &[u8]) -> Result<Option<usize>, SyntaxError> {
        let mut at = 0;
        while let Some(rest) = piece.get(at..) {
            if self.state == State::String {
                at += plain(rest).0;
            }
            let Some(&b) = piece.get(at) else { break };
            match self.step(b) {
                Ok(false) => at += 1,
                Ok(true) => return Ok(Some(at + 1)),
                Err(message) => return Err(SyntaxError { at, message }),
            }
        }
        Ok(None)
    }

    /// Whether the value is there: nothing but white space may follow.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::End
    }

    /// Ends the text.
    pub(crate) fn finish(&self) -> Result<(), &'static str> {
        match self.state {
            State::End => Ok(()),
            State::Number if self.depth == 0 && self.number.may_end() => Ok(()),
            _ => Err("unexpected end of file"),
        }
    }

    /// Takes one byte; returns whether it ends a member or an element of the outermost level.
    fn step(&mut self, b: u8) -> Result<bool, &'static str> {
        use State::{Colon, Comma, End, FirstElement, FirstKey, Key, Value};
        match (self.state, b) {
            (Value | FirstElement | FirstKey | Key | Colon | Comma | End, b) if is_space(b) => {}
            (Key | FirstKey, b'"') | (Value | FirstElement, b'"') => {
                self.is_key = matches!(self.state, Key | FirstKey);
                self.state = State::String;
            }
            (FirstElement, b']') | (FirstKey, b'}') => return Ok(self.close()),
            (Value | FirstElement, _) => self.begin_value(b)?,
            (Key, b'}') => return Err("trailing comma"),
            (Key | FirstKey, _) => return Err("key must be a string"),
            (Colon, b':') => self.state = Value,
            (Colon, _) => return Err("expected `:`"),
            (Comma, b',') => {
                self.state = if self.is_in_object() { Key } else { Value };
                return Ok(self.depth == 1);
            }
            (Comma, b'}') if self.is_in_object() => return Ok(self.close()),
            (Comma, b']') if !self.is_in_object() => return Ok(self.close()),
            (Comma, _) if self.is_in_object() => return Err("expected `,` or `}`"),
            (Comma, _) => return Err("expected `,` or `]`"),
            (End, _) => return Err("trailing characters"),
            _ => return self.step_in_token(b),
        }
        Ok(false)
    }

    /// Takes one byte in a string, number or word, or where nothing is checked.
    fn step_in_token(&mut self, b: u8) -> Result<bool, &'static str> {
        use State::{Escape, Hex, String, Unchecked, UncheckedEscape, UncheckedString};
        match (self.state, b) {
            (String, b'"') => self.end_token(),
            (String, b'\\') => self.state = Escape,
            (String, 0..=0x1f) => return Err("control character in a string"),
            (Escape, b'u') => self.state = Hex(4),
            (Escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.state = String;
            }
            (Hex(left), b) if b.is_ascii_hexdigit() => {
                self.state = if left > 1 { Hex(left - 1) } else { String };
            }
            (Escape | Hex(_), _) => return Err("invalid escape"),
            (State::Word(word), b) => match word.split_first() {
                Some((&first, [])) if first == b => self.end_token(),
                Some((&first, rest)) if first == b => self.state = State::Word(rest),
                _ => return Err("expected value"),
            },
            (State::Number, b) => match self.number.next(b) {
                Some(next) => self.number = next,
                None if self.number.may_end() => {
                    self.end_token();
                    return self.step(b);
                }
                None => return Err("invalid number"),
            },
            (Unchecked, b'"') => self.state = UncheckedString,
            (Unchecked, b'{' | b'[') => self.depth += 1,
            (Unchecked, b'}' | b']') => return Ok(self.close()),
            (UncheckedString, b'"') => self.state = Unchecked,
            (UncheckedString, b'\\') => self.state = UncheckedEscape,
            (UncheckedEscape, _) => self.state = UncheckedString,
            _ => {}
        }
        Ok(false)
    }

    /// Begins any value but a string.
    fn begin_value(&mut self, b: u8) -> Result<(), &'static str> {
        self.state = match b {
            b'{' | b'[' => {
                self.open(b == b'{');
                return Ok(());
            }
            b'-' | b'0'..=b'9' => {
                self.number = match b {
                    b'-' => Number::Minus,
                    b'0' => Number::Zero,
                    _ => Number::Integer,
                };
                State::Number
            }
            b't' => State::Word(b"rue"),
            b'f' => State::Word(b"alse"),
            b'n' => State::Word(b"ull"),
            b']' if self.depth > 0 && !self.is_in_object() => return Err("trailing comma"),
            _ => return Err("expected value"),
        };
        Ok(())
    }

    fn end_token(&mut self) {
        self.state = if core::mem::take(&mut self.is_key) {
            State::Colon
        } else if self.depth == 0 {
            State::End
        } else {
            State::Comma
        };
    }

    fn open(&mut self, is_object: bool) {
        self.state = if is_object { State::FirstKey } else { State::FirstElement };
        match self.objects.get_mut(self.depth / 64) {
            Some(levels) => {
                let bit = 1 << (self.depth % 64);
                *levels = if is_object { *levels | bit } else { *levels & !bit };
            }
            None => (self.state, self.is_too_deep) = (State::Unchecked, true),
        }
        self.depth += 1;
    }

    /// Ends an object or array; returns whether it is the outermost one.
    fn close(&mut self) -> bool {
        self.depth = self.depth.saturating_sub(1);
        if self.depth <= MAX_DEPTH {
            self.end_token();
        }
        self.depth == 0
    }

    fn is_in_object(&self) -> bool {
        let level = self.depth.wrapping_sub(1);
        self.objects.get(level / 64).is_some_and(|levels| levels & (1 << (level % 64)) != 0)
    }
}

/// How many bytes at the start of a text stand for themselves in a string: up to a quote, a backslash
/// or a control character; and whether all of them are visible ASCII or spaces.
#[inline]
fn plain(text: &[u8]) -> (usize, bool) {
    const ONES: u64 = u64::MAX / 255;
    // The highest bit of a byte is 1 if it, or 1 more, is not ASCII.
    let beyond = |word: u64| word | (word & (ONES * 0x7f)).wrapping_add(ONES);
    let (mut rest, mut seen) = (text, 0);
    while let Some((&word, behind)) = rest.split_first_chunk() {
        let word = u64::from_le_bytes(word);
        // Where a byte is less than the number that is subtracted, its highest bit becomes 1. What is
        // borrowed makes that so for bytes behind it at most.
        let [quote, backslash] = [b'"', b'\\'].map(|b| word ^ (ONES * u64::from(b)));
        let less = word.wrapping_sub(ONES * 0x20)
            | quote.wrapping_sub(ONES)
            | backslash.wrapping_sub(ONES);
        let found = less & !word & (ONES << 7);
        if found != 0 {
            // All bits below that of the byte that was found.
            let before = (found & found.wrapping_neg()) - 1;
            seen |= beyond(word) & before & (before >> 7);
            let len = text.len() - rest.len() + found.trailing_zeros() as usize / 8;
            return (len, seen & (ONES << 7) == 0);
        }
        seen |= beyond(word);
        rest = behind;
    }
    let is_plain = |&&b: &&u8| b >= 0x20 && b != b'"' && b != b'\\';
    let len = rest.iter().take_while(is_plain).count();
    let is_visible = rest.iter().take(len).all(|&b| b < 0x7f);
    (text.len() - rest.len() + len, is_visible && seen & (ONES << 7) == 0)
}

/// How long the escape at the start of a text is; `None` if it is not valid.
fn escape_len(text: &[u8]) -> Option<usize> {
    match text {
        [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => Some(2),
        [b'\\', b'u', digits @ ..] => {
            digits.first_chunk::<4>()?.iter().all(u8::is_ascii_hexdigit).then_some(6)
        }
        _ => None,
    }
}

/// A number without a sign, if that is what a text is.
pub(crate) fn number(text: &[u8]) -> Option<&str> {
    // As behind a sign: a digit has to follow.
    let last = text.iter().try_fold(Number::Minus, |part, &b| part.next(b))?;
    core::str::from_utf8(text).ok().filter(|_| last.may_end())
}

/// Takes a text apart, and checks its syntax on the way: whatever is not JSON is not taken. Only
/// [`value`](Self::value) takes anything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Cursor<'t> {
    pub(crate) fn new(text: &'t [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// The first byte of the next token, and where it is; 0 at the end. White space is passed over.
    pub(crate) fn peek(&mut self) -> (u8, usize) {
        while let Some(&b) = self.text.get(self.at) {
            if !is_space(b) {
                return (b, self.at);
            }
            self.at += 1;
        }
        (0, self.at)
    }

    /// Whether nothing follows.
    pub(crate) fn is_done(&mut self) -> bool {
        self.peek().1 == self.text.len()
    }

    /// Takes a token of one byte, if that is what follows.
    pub(crate) fn take(&mut self, token: u8) -> bool {
        let is_there = self.peek().0 == token;
        self.at += usize::from(is_there);
        is_there
    }

    /// Whether the object or array whose opening bracket was taken, or the value before, has another
    /// member or element; if not, its closing bracket is taken. `None` if the text is not JSON.
    pub(crate) fn has_more(&mut self, close: u8) -> Option<bool> {
        // No value ends in one.
        let before = self.at.checked_sub(1).and_then(|before| self.text.get(before));
        let is_first = matches!(before, Some(b'{' | b'['));
        let (next, _) = self.peek();
        let has_more = next != close;
        let is_token = !has_more || (!is_first && next == b',');
        self.at += usize::from(is_token);
        (is_token || is_first).then_some(has_more)
    }

    /// Takes the `null` that follows, if one does.
    pub(crate) fn take_null(&mut self) -> bool {
        const NULL: &[u8] = b"null";
        self.peek();
        let is_null = self.rest().starts_with(NULL);
        self.at += if is_null { NULL.len() } else { 0 };
        is_null
    }

    /// The key of a member, if one follows, with its colon.
    pub(crate) fn key(&mut self) -> Option<JsonString<'t>> {
        let key = self.string()?;
        self.take(b':').then_some(key)
    }

    /// The string that follows, if one does.
    pub(crate) fn string(&mut self) -> Option<JsonString<'t>> {
        if self.peek().0 != b'"' {
            return None;
        }
        let content = self.text.get(self.at + 1..)?;
        let (mut len, is_visible) = plain(content);
        let has_escape = content.get(len) == Some(&b'\\');
        while content.get(len) == Some(&b'\\') {
            len += escape_len(content.get(len..)?)?;
            len += plain(content.get(len..)?).0;
        }
        if content.get(len) != Some(&b'"') {
            return None;
        }
        self.at += len + 2;
        let is_simple = is_visible && !has_escape;
        Some(JsonString { raw: content.get(..len)?, has_escape, is_simple })
    }

    /// The text of the value that follows, whatever it is; if it is not JSON, some of it.
    pub(crate) fn value(&mut self) -> &'t [u8] {
        let (_, start) = self.peek();
        let mut depth = 0_usize;
        loop {
            match self.peek().0 {
                0 => break,
                b'{' | b'[' => (depth, self.at) = (depth + 1, self.at + 1),
                b'}' | b']' => (depth, self.at) = (depth.saturating_sub(1), self.at + 1),
                b',' | b':' if depth > 0 => self.at += 1,
                b'"' if self.string().is_some() => {}
                _ => {
                    let ends = |&b: &u8| is_space(b) || matches!(b, b',' | b'}' | b']');
                    let rest = self.rest();
                    self.at += rest.iter().position(ends).unwrap_or(rest.len());
                }
            }
            if depth == 0 {
                break;
            }
        }
        let end = self.at.min(self.text.len());
        self.text.get(start..end).unwrap_or_default()
    }

    fn rest(&self) -> &'t [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }
}

/// A string, as it is written between its quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JsonString<'t> {
    pub(crate) raw: &'t [u8],
    pub(crate) has_escape: bool,
    /// Whether it has no escapes, no control characters and nothing beyond ASCII.
    is_simple: bool,
}

impl<'t> JsonString<'t> {
    /// Whether the string has no escapes, is UTF-8, and surely has no control characters: those beyond
    /// ASCII begin with the byte 0xc2, as some letters do.
    pub(crate) fn is_plain(self) -> bool {
        let may_have_control = || self.raw.iter().any(|b| matches!(b, 0x7f | 0xc2));
        self.is_simple || (!self.has_escape && self.text().is_some() && !may_have_control())
    }

    /// The text, with its escapes; `None` if it is not UTF-8.
    pub(crate) fn text(self) -> Option<&'t str> {
        core::str::from_utf8(self.raw).ok()
    }

    /// Whether the string is this word.
    pub(crate) fn is(self, word: &str) -> bool {
        if !self.has_escape {
            return self.raw == word.as_bytes();
        }
        self.text().is_some_and(|text| unescaped(text).eq(word.chars().map(Some)))
    }
}

/// The characters of a string's text; halves of surrogate pairs are `None`.
pub(crate) fn unescaped(text: &str) -> impl Iterator<Item = Option<char>> {
    let mut rest = text.chars();
    core::iter::from_fn(move || {
        Some(match rest.next()? {
            '\\' => unescape(&mut rest),
            c => Some(c),
        })
    })
}

/// The character that an escape stands for, without its backslash; `None` for half a surrogate pair.
fn unescape(rest: &mut core::str::Chars<'_>) -> Option<char> {
    let unit = |rest: &mut core::str::Chars<'_>| {
        (0..4).try_fold(0, |unit, _| Some((unit << 4) | rest.next()?.to_digit(16)?))
    };
    Some(match rest.next()? {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => {
            let first = unit(rest)?;
            if !(0xd800..0xdc00).contains(&first) {
                return char::from_u32(first);
            }
            let mut behind = rest.clone();
            let is_escape = behind.next() == Some('\\') && behind.next() == Some('u');
            let second = is_escape.then(|| unit(&mut behind)).flatten();
            let second = second.filter(|second| (0xdc00..0xe000).contains(second))?;
            *rest = behind;
            char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))?
        }
        c => c,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks a text as a whole and byte by byte.
    fn check(text: &[u8]) -> Result<(), (usize, &'static str)> {
        let run = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let (mut checker, mut before) = (Checker::new(), 0);
            for mut piece in pieces {
                loop {
                    let checked = checker.check(piece);
                    match checked.map_err(|error| (before + error.at + 1, error.message))? {
                        Some(len) => (before, piece) = (before + len, &piece[len..]),
                        None => break before += piece.len(),
                    }
                }
            }
            checker.finish().map_err(|message| (before, message))
        };
        let whole = run(&mut [text].into_iter());
        assert_eq!(run(&mut text.chunks(1)), whole, "{:?}", String::from_utf8_lossy(text));
        whole
    }

    #[test]
    fn syntax() {
        for text in [
            "1",
            "-0",
            " [] ",
            "{}",
            "[[],{}]",
            "\"\\u00aF\\\"\"",
            "[1e5,-1.5E-3,0.0,10]",
            "null",
            "{\"a\":[true,false,null],\"\":{}}",
            "\t\r\n\"x\"",
        ] {
            assert_eq!(check(text.as_bytes()), Ok(()), "{text}");
        }
        let end = "unexpected end of file";
        for (text, at, message) in [
            ("", 0, end),
            ("{\"a\"", 4, end),
            ("\"x", 2, end),
            ("-", 1, end),
            ("tru", 3, end),
            ("01", 2, "trailing characters"),
            ("[01]", 3, "expected `,` or `]`"),
            ("[1.]", 4, "invalid number"),
            ("[+1]", 2, "expected value"),
            ("[1,]", 4, "trailing comma"),
            ("{,}", 2, "key must be a string"),
            ("{\"a\":1,}", 8, "trailing comma"),
            ("{\"a\" 1}", 6, "expected `:`"),
            ("{\"a\":]", 6, "expected value"),
            ("{\"a\":1]", 7, "expected `,` or `}`"),
            ("[nul]", 5, "expected value"),
            ("\"\\x\"", 3, "invalid escape"),
            ("\"\\u12g4\"", 6, "invalid escape"),
            ("\"\n\"", 2, "control character in a string"),
            ("[] []", 4, "trailing characters"),
        ] {
            assert_eq!(check(text.as_bytes()), Err((at, message)), "{text}");
        }
        let deep = |depth| "[".repeat(depth) + &"]".repeat(depth);
        for depth in [MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, 3 * MAX_DEPTH] {
            let mut checker = Checker::new();
            assert_eq!(checker.check(deep(depth).as_bytes()), Ok(Some(2 * depth)), "{depth}");
            assert_eq!(checker.take_too_deep(), depth > MAX_DEPTH, "{depth}");
            assert_eq!(checker.finish(), Ok(()), "{depth}");
        }
    }

    #[test]
    fn strings() {
        let chars = |text: &str| -> Vec<Option<char>> {
            let string = Cursor::new(text.as_bytes()).string().unwrap();
            assert_eq!(string.has_escape, text.contains('\\'), "{text}");
            unescaped(string.text().unwrap()).collect()
        };
        let all = |text: &str| text.chars().map(Some).collect::<Vec<_>>();
        assert_eq!(
            chars(" \"é\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\""),
            all("é\"\\/\u{8}\u{c}\n\r\té")
        );
        assert_eq!(chars("\"\\ud83c\\udf99\""), all("🎙"));
        assert_eq!(chars("\"\\udf99\\ud83ca\""), [None, None, Some('a')]);
        assert_eq!(chars("\"\\ud83c\\ud83c\\udf99\\u0041\""), [None, Some('🎙'), Some('A')]);
        assert!(Cursor::new(b"\"\\u0061b\"").string().unwrap().is("ab"));
        assert_eq!(Cursor::new(b"\"\xff\"").string().unwrap().text(), None);
    }

    #[test]
    fn cursors() {
        let mut cursor = Cursor::new(b" {\"a\" : [1, {\"]\":[]}] , \"b\":-1.5}, 7 ");
        let mut rest = cursor;
        assert_eq!(rest.value(), b"{\"a\" : [1, {\"]\":[]}] , \"b\":-1.5}");
        assert!(rest.value().is_empty() && rest.take(b','));
        assert_eq!((rest.value(), rest.value()), (&b"7"[..], &b""[..]));
        assert!(!cursor.take(b'[') && cursor.take(b'{'));
        assert_eq!(cursor.has_more(b'}'), Some(true));
        assert!(cursor.key().unwrap().is("a"));
        assert_eq!(cursor.value(), b"[1, {\"]\":[]}]");
        assert_eq!(cursor.has_more(b'}'), Some(true));
        assert!(cursor.key().unwrap().is("b"));
        assert_eq!((cursor.string().is_none(), cursor.value()), (true, &b"-1.5"[..]));
        assert_eq!(cursor.has_more(b'}'), Some(false));
        assert!(!cursor.is_done() && cursor.take(b','));
        assert!(!cursor.take_null());
        assert_eq!(cursor.value(), b"7");
        assert!(cursor.is_done());

        for (text, close, expected) in [
            ("[ ]", b']', Some(false)),
            ("{}", b'}', Some(false)),
            ("[1", b']', Some(true)),
            ("[}", b']', Some(true)),
        ] {
            let mut cursor = Cursor::new(text.as_bytes());
            assert!(cursor.take(b'[') || cursor.take(b'{'));
            assert_eq!(cursor.has_more(close), expected, "{text}");
        }
        for (text, expected) in [(",1", Some(true)), ("]", Some(false)), ("}", None), ("1", None)] {
            let text = format!("[[]\n{text}");
            let mut cursor = Cursor::new(text.as_bytes());
            assert!(cursor.take(b'['));
            cursor.value();
            assert_eq!(cursor.has_more(b']'), expected, "{text}");
        }
    }

    #[test]
    fn what_stands_for_itself_in_strings() {
        for len in 0..40 {
            let text: Vec<u8> = (0x23..).take(len).collect();
            assert_eq!(plain(&text), (len, true));
            for at in 0..len {
                for b in 0..=u8::MAX {
                    let mut text = text.clone();
                    text[at] = b;
                    let is_plain = b >= 0x20 && b != b'"' && b != b'\\';
                    let expected = (if is_plain { len } else { at }, !is_plain || b < 0x7f);
                    assert_eq!(plain(&text), expected, "{b} at {at} of {len}");
                    // What is behind a quote does not matter.
                    text.extend(*b"\"\x7f\xff");
                    assert_eq!(plain(&text), expected, "{b} at {at} of {len}, then a quote");
                    text[len..].fill(b'"');
                    text.extend([0xff; 9]);
                    assert_eq!(plain(&text), expected, "{b} at {at} of {len}, then three");
                }
            }
        }
    }

    #[test]
    fn numbers() {
        for text in ["0", "10", "0.5", "1e5", "1E+5", "12.50e-07"] {
            assert_eq!(number(text.as_bytes()), Some(text));
        }
        for text in
            ["", "-1", "+1", "01", ".5", "1.", "1e", "1e+", "1_0", "0x1", "inf", "1 ", "1\""]
        {
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
    }
}
