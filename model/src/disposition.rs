//! The Content-Disposition header field (RFC 6266) and its extended parameter (RFC 8187).

use crate::filename::FileName;

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
    pub fn from_argument(value: &[u8]) -> Self {
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
}

const FILENAME: &[u8] = b"; filename=\"";
const EXTENDED: &[u8] = b"; filename*=UTF-8''";

/// The value of a Content-Disposition header field.
///
/// The name is always a quoted string. If it is not plain ASCII it stands there twice: without the
/// other characters for old clients, and whole as `filename*` (RFC 6266, section 5).
#[derive(Clone, Copy, Debug)]
pub struct ContentDisposition<'a> {
    /// The disposition type.
    pub disposition: Disposition,
    /// The file name.
    pub name: FileName<'a>,
}

impl ContentDisposition<'_> {
    /// An upper limit for the length of the value, in bytes; exact for a default
    /// name in plain ASCII.
    pub fn max_len(&self) -> usize {
        let fixed = self.disposition.as_str().len() + FILENAME.len() + "\"".len();
        match self.name.ascii_parts() {
            Some(parts) => fixed + parts.iter().map(|part| part.len()).sum::<usize>(),
            None => fixed + EXTENDED.len() + self.name.max_len() * (1 + "%XX".len()),
        }
    }

    /// Writes the value to the start of `buffer` and returns its length in bytes; `None` if the
    /// buffer is shorter than the value.
    pub fn write(&self, buffer: &mut [u8]) -> Option<usize> {
        let mut out = Writer { buffer, len: 0 };
        out.push(self.disposition.as_str().as_bytes())?;
        out.push(FILENAME)?;
        if let Some(parts) = self.name.ascii_parts() {
            parts.iter().try_for_each(|part| out.push(part))?;
            out.push(b"\"")?;
            return Some(out.len);
        }

        let put = &mut |c: char| u8::try_from(c).is_ok_and(|b| out.push(&[b]).is_some());
        self.name.ascii_chars(put).then_some(())?;
        out.push(b"\"")?;
        if !self.name.is_ascii() {
            out.push(EXTENDED)?;
            let put = &mut |c: char| out.push_extended(c).is_some();
            self.name.chars(put).then_some(())?;
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

    /// A character of an extended value (RFC 8187, section 3.2.1): everything but `attr-char` is
    /// percent-encoded.
    fn push_extended(&mut self, c: char) -> Option<()> {
        const HEX: [u8; 16] = *b"0123456789ABCDEF";
        let hex = |nibble: u8| HEX.get(usize::from(nibble)).copied();
        let mut utf8 = [0; 4];
        for &b in c.encode_utf8(&mut utf8).as_bytes() {
            if b.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&b) {
                self.push(&[b])?;
            } else {
                self.push(&[b'%', hex(b >> 4)?, hex(b & 0xf)?])?;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filename::tests::with_name;
    use crate::request::SpaceId;

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
        let whole = |name| value(Disposition::Inline, FileName::whole(name, id, "mp3"));
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
                whole("é 'q' 100% (1)*.mp3".as_bytes()),
                concat!(
                    r#"inline; filename=" 'q' 100% (1)*.mp3"; "#,
                    "filename*=UTF-8''%C3%A9%20%27q%27%20100%25%20%281%29%2A.mp3"
                ),
            ),
            (whole(b"a\"\r\nSet-Cookie: x=y\\.mp3"), r#"inline; filename="aSet-Cookie: x=y.mp3""#),
        ];
        for (value, expected) in rows {
            assert_eq!(value, expected);
        }
        let attachment = with_name(None, "1lDx", |name| value(Disposition::Attachment, name));
        assert_eq!(attachment, r#"attachment; filename="1lDx.mp3""#);
    }

    #[test]
    fn the_longest_name_fits() {
        let long = "i".repeat(128);
        let id = SpaceId::parse(long.as_bytes()).unwrap();
        let title = "語".repeat(200);
        with_name(Some(&title), &long, |name| value(Disposition::Attachment, name));
        value(Disposition::Attachment, FileName::whole(title.as_bytes(), id, "mp3"));
    }
}
