//! The Content-Disposition header field (RFC 6266) and its extended parameter (RFC 8187).

use crate::filename::{CleanTitle, FileName, MAX_LEN, Titled, ascii_title, is_device_id};
use crate::request::SpaceId;

/// What a client is to do with a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Disposition {
    /// Play it.
    #[default]
    Inline,
    /// Save it.
    Attachment,
}

impl Disposition {
    /// Reads the value of an argument: `1`, `on`, `true` and `yes` in any case ask for a download,
    /// anything else for playback.
    #[inline]
    pub fn from_argument(value: &[u8]) -> Self {
        if value.is_empty() { Self::Inline } else { Self::from_given(value) }
    }

    #[inline(never)]
    fn from_given(value: &[u8]) -> Self {
        let yes: [&[u8]; 4] = [b"1", b"on", b"true", b"yes"];
        if yes.iter().any(|y| y.eq_ignore_ascii_case(value)) {
            Self::Attachment
        } else {
            Self::Inline
        }
    }

    /// The disposition type (RFC 6266, section 4.2).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Attachment => "attachment",
        }
    }

    /// The field's value with a default name, if that is plain ASCII: the common case, in which
    /// there is nothing to clean or to encode.
    #[inline(always)]
    pub fn parts_with<'a>(
        self,
        title: Option<CleanTitle<'a>>,
        id: SpaceId<'a>,
        extension: &'a str,
    ) -> Option<Parts<'a>> {
        let (start, id, extension) = (self.up_to_name(), id.as_bytes(), extension.as_bytes());
        Some(match ascii_title(title, id, extension)? {
            [] if is_device_id(id) => return None,
            [] => Parts::Id([start, id, b".", extension, QUOTE]),
            title => Parts::Title([start, title, b"_", id, b".", extension, QUOTE]),
        })
    }

    /// The start of a field's value, before the name.
    fn up_to_name(self) -> &'static [u8] {
        match self {
            Self::Inline => b"inline; filename=\"",
            Self::Attachment => b"attachment; filename=\"",
        }
    }
}

const QUOTE: &[u8] = b"\"";
const EXTENDED: &[u8] = b"; filename*=UTF-8''";

/// The value of a Content-Disposition header field.
///
/// The name is always a quoted string. If it is not plain ASCII, or has what a client may take for
/// an encoded byte, it stands there twice: without the other characters for old clients, and whole
/// as `filename*` (RFC 6266, section 5 and appendix D).
#[derive(Clone, Copy, Debug)]
pub struct ContentDisposition<'a> {
    /// The disposition type.
    pub disposition: Disposition,
    /// The file name.
    pub name: FileName<'a>,
}

/// A value in parts, to be put one after the other.
#[derive(Clone, Copy, Debug)]
pub enum Parts<'a> {
    /// Without a title.
    Id([&'a [u8]; 5]),
    /// With one.
    Title([&'a [u8]; 7]),
}

impl ContentDisposition<'_> {
    /// An upper limit for the length of the value, in bytes.
    pub fn max_len(&self) -> usize {
        let fixed = self.disposition.up_to_name().len() + QUOTE.len() + EXTENDED.len();
        let twice = match self.name.titled() {
            Some(name) => {
                let escaped = name.cut.bytes().filter(|b| !b.is_ascii()).count();
                2 * name.tail_len() + name.ascii_len() + name.cut.len() + 2 * escaped
            }
            None => MAX_LEN.max(self.name.byte_len()) * (1 + "%XX".len()),
        };
        fixed + twice
    }

    /// Writes the value to the start of `buffer` and returns its length in bytes; `None` if the
    /// buffer is shorter than the value.
    pub fn write(&self, buffer: &mut [u8]) -> Option<usize> {
        let mut out = Writer { buffer, len: 0 };
        out.push(self.disposition.up_to_name())?;
        if let Some(name) = self.name.titled() {
            out.push_titled(&name)?;
            return Some(out.len);
        }
        let for_old_clients = self.name.for_old_clients();
        out.push_all(&for_old_clients.as_ref().unwrap_or(&self.name).parts())?;
        out.push(QUOTE)?;
        if for_old_clients.is_some() {
            out.push(EXTENDED)?;
            self.name.parts().into_iter().try_for_each(|part| out.push_extended(part))?;
        }
        Some(out.len)
    }
}

struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl Writer<'_> {
    fn push(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len.checked_add(bytes.len())?;
        self.buffer.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    fn push_byte(&mut self, b: u8) -> Option<()> {
        *self.buffer.get_mut(self.len)? = b;
        self.len += 1;
        Some(())
    }

    fn push_all(&mut self, parts: &[&[u8]]) -> Option<()> {
        parts.iter().try_for_each(|part| self.push(part))
    }

    /// Both parameters for a name with a title, byte by byte: the text is clean already.
    fn push_titled(&mut self, name: &Titled<'_>) -> Option<()> {
        if name.cut.is_ascii() {
            self.push(name.cut.as_bytes())?;
            self.push_byte(b'_')?;
            self.push_all(&name.tail)?;
            return self.push(QUOTE);
        }
        let start = self.len;
        self.push_ascii(name.clean.as_bytes(), start + name.ascii_len())?;
        self.push(if self.len > start { b"_" } else { name.prefix })?;
        self.push_all(&name.tail)?;
        self.push(QUOTE)?;
        self.push(EXTENDED)?;
        self.push_extended(name.cut.as_bytes())?;
        self.push_byte(b'_')?;
        self.push_all(&name.tail)
    }

    /// What is ASCII of a clean title, up to a length that the value has then.
    fn push_ascii(&mut self, clean: &[u8], end: usize) -> Option<()> {
        let start = self.len;
        // A hyphen has to be between two other characters.
        let mut gap = false;
        for &b in clean.iter().filter(|b| b.is_ascii()) {
            if b == b'-' {
                gap = self.len > start;
                continue;
            }
            if self.len + usize::from(gap) >= end {
                break;
            }
            if gap {
                self.push_byte(b'-')?;
            }
            self.push_byte(b)?;
            gap = false;
        }
        Some(())
    }

    /// Text as an extended value (RFC 8187, section 3.2.1): everything but `attr-char` is
    /// percent-encoded.
    fn push_extended(&mut self, text: &[u8]) -> Option<()> {
        text.iter().try_for_each(|&b| self.push_extended_byte(b))
    }

    fn push_extended_byte(&mut self, b: u8) -> Option<()> {
        const HEX: [u8; 16] = *b"0123456789ABCDEF";
        let hex = |nibble: u8| HEX.get(usize::from(nibble)).copied();
        if ATTR_CHARS.get(usize::from(b)).is_some_and(|&is| is) {
            self.push_byte(b)
        } else {
            self.push(&[b'%', hex(b >> 4)?, hex(b & 0xf)?])
        }
    }
}

/// The `attr-char` of RFC 8187.
#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
static ATTR_CHARS: [bool; 256] = {
    let others = b"!#$&+-.^_`|~";
    let mut table = [false; 256];
    let mut b = 0;
    while b < table.len() {
        table[b] = (b as u8).is_ascii_alphanumeric();
        b += 1;
    }
    let mut i = 0;
    while i < others.len() {
        table[others[i] as usize] = true;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filename::tests::{with_name, with_title};

    fn value(disposition: Disposition, name: FileName<'_>) -> String {
        let value = ContentDisposition { disposition, name };
        let mut buffer = vec![0; value.max_len()];
        let len = value.write(&mut buffer).unwrap();
        assert_eq!(value.write(&mut buffer[..len]), Some(len), "fits exactly");
        assert_eq!(value.write(&mut buffer[..len - 1]), None, "does not fit");
        String::from_utf8(buffer[..len].to_vec()).unwrap()
    }

    #[test]
    fn arguments() {
        for yes in ["1", "on", "true", "yes", "TRUE", "Yes"] {
            assert_eq!(
                Disposition::from_argument(yes.as_bytes()),
                Disposition::Attachment,
                "{yes}"
            );
        }
        for no in ["", "0", "off", "no", "11", "attachment", "\r\n"] {
            assert_eq!(Disposition::from_argument(no.as_bytes()), Disposition::Inline, "{no}");
        }
    }

    #[test]
    fn values() {
        let id = SpaceId::parse(b"1lDx").unwrap();
        let titled = |title| with_name(title, "1lDx", |name| value(Disposition::Inline, name));
        let whole = |name| value(Disposition::Inline, FileName::whole(name, None, id, "mp3"));
        let rows = [
            (titled(None), r#"inline; filename="1lDx.mp3""#),
            (
                titled(Some("Rust in production")),
                r#"inline; filename="Rust-in-production_1lDx.mp3""#,
            ),
            (
                titled(Some("Größe")),
                r#"inline; filename="Gre_1lDx.mp3"; filename*=UTF-8''Gr%C3%B6%C3%9Fe_1lDx.mp3"#,
            ),
            (
                titled(Some("日本")),
                r#"inline; filename="1lDx.mp3"; filename*=UTF-8''%E6%97%A5%E6%9C%AC_1lDx.mp3"#,
            ),
            (whole(b"a, b;c.mp3"), r#"inline; filename="a, b;c.mp3""#),
            (
                whole("é 'q' 100% (1)!.mp3".as_bytes()),
                concat!(
                    r#"inline; filename="'q' 100 (1)!.mp3"; "#,
                    "filename*=UTF-8''%C3%A9%20%27q%27%20100%25%20%281%29!.mp3"
                ),
            ),
            (whole(b"a%41b.mp3"), r#"inline; filename="a41b.mp3"; filename*=UTF-8''a%2541b.mp3"#),
            (whole(b"a\"\r\nSet-Cookie: x=y\\.mp3"), r#"inline; filename="a Set-Cookie x=y.mp3""#),
        ];
        for (value, expected) in rows {
            assert_eq!(value, expected);
        }
        let attachment = with_name(None, "1lDx", |name| value(Disposition::Attachment, name));
        assert_eq!(attachment, r#"attachment; filename="1lDx.mp3""#);
    }

    #[test]
    fn values_in_parts() {
        let long = "a".repeat(300);
        let cut = format!("{}-éb", "a".repeat(150));
        let rows: [(Option<&str>, bool); 8] = [
            (None, true),
            (Some(""), true),
            (Some(" - "), true),
            (Some("Rust in production"), true),
            (Some(&long), true),
            (Some("日本"), false),
            (Some("Größe"), false),
            (Some(&cut), false),
        ];
        for (title, is_ascii) in rows {
            for disposition in [Disposition::Inline, Disposition::Attachment] {
                let whole = with_name(title, "1lDx", |name| value(disposition, name));
                let parts = with_title(title, |title| {
                    let id = SpaceId::parse(b"1lDx").unwrap();
                    disposition.parts_with(title, id, "mp3").map(|parts| match parts {
                        Parts::Id(parts) => parts.concat(),
                        Parts::Title(parts) => parts.concat(),
                    })
                });
                assert_eq!(parts, is_ascii.then(|| whole.into_bytes()), "{title:?}");
            }
        }
    }

    #[test]
    fn titles_byte_by_byte() {
        for len in [1, 3, 160, 180, 187, 188, 189, 190, 191, 192, 193, 194, 195, 300] {
            for (start, fill) in [
                ("é", "a"),
                ("a", "é"),
                ("", "日"),
                ("é", "a-"),
                ("aé", "-b"),
                ("é", "-a"),
                ("é", "a-é-"),
            ] {
                let title = format!("{start}{}é", fill.repeat(len));
                for long in ["1lDx".to_owned(), "i".repeat(128)] {
                    with_name(Some(&title), &long, |name| {
                        let mut full = vec![0; name.byte_len()];
                        name.write(&mut full).unwrap();
                        let full = String::from_utf8(full).unwrap();
                        let end = format!("_{long}.mp3");
                        let stem = full.strip_suffix(&end).unwrap();
                        let mut ascii = stem.to_owned();
                        if !stem.is_ascii() {
                            // Of the whole title, as there is more room.
                            ascii = title.chars().filter(char::is_ascii).collect();
                            let words = ascii.split('-').filter(|word| !word.is_empty());
                            ascii = words.collect::<Vec<_>>().join("-");
                            ascii.truncate(MAX_LEN - end.len());
                            ascii.truncate(ascii.trim_end_matches('-').len());
                        }
                        let end = if ascii.is_empty() { &end[1..] } else { &end };
                        let mut expected = format!("inline; filename=\"{ascii}{end}\"");
                        if !full.is_ascii() {
                            expected.push_str("; filename*=UTF-8''");
                            for b in full.bytes() {
                                match b.is_ascii() {
                                    true => expected.push(char::from(b)),
                                    false => expected.push_str(&format!("%{b:02X}")),
                                }
                            }
                        }
                        assert_eq!(value(Disposition::Inline, name), expected, "{title}");
                    });
                }
            }
        }
    }

    #[test]
    fn the_longest_name_fits() {
        let long = "i".repeat(128);
        let id = SpaceId::parse(long.as_bytes()).unwrap();
        let title = "語".repeat(200);
        with_name(Some(&title), &long, |name| value(Disposition::Attachment, name));
        value(Disposition::Attachment, FileName::whole(title.as_bytes(), None, id, "mp3"));
    }
}
