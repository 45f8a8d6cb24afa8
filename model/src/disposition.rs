//! The Content-Disposition header field (RFC 6266) and its extended parameter (RFC 8187).

use crate::filename::FileName;
use crate::text::Pieces;

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
    /// Reads the value of an argument: `1`, `on`, `true` and `yes`, case-insensitive, request a
    /// download, anything else playback.
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
    pub name: &'a FileName<'a>,
}

impl Pieces for ContentDisposition<'_> {
    fn write(&self, mut out: impl FnMut(&[u8])) {
        out(self.disposition.up_to_name());
        if self.name.is_simple {
            self.name.write(&mut out);
            return out(QUOTE);
        }
        self.name.write_ascii(&mut out);
        out(QUOTE);
        out(EXTENDED);
        self.name.write(|piece| write_extended(piece, &mut out));
    }
}

/// Writes text as an extended value (RFC 8187, section 3.2.1): everything but `attr-char` is
/// percent-encoded.
fn write_extended(text: &[u8], mut out: impl FnMut(&[u8])) {
    const HEX: [u8; 16] = *b"0123456789ABCDEF";
    let hex = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
    let is_attr_char = |b: u8| ATTR_CHARS.get(usize::from(b)).is_some_and(|&is| is);
    let mut rest = text;
    while let Some((&b, behind)) = rest.split_first() {
        if !is_attr_char(b) {
            out(&[b'%', hex(b >> 4), hex(b & 0xf)]);
            rest = behind;
            continue;
        }
        let run = rest.iter().position(|&b| !is_attr_char(b)).unwrap_or(rest.len());
        out(rest.get(..run).unwrap_or_default());
        rest = rest.get(run..).unwrap_or_default();
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
    use crate::filename::MAX_LEN;
    use crate::filename::tests::{with_name, written};
    use crate::request::SpaceId;

    fn value(disposition: Disposition, name: FileName<'_>) -> String {
        written(&ContentDisposition { disposition, name: &name })
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
        let whole = |name| {
            let mut buffer = [0; MAX_LEN];
            value(
                Disposition::Inline,
                FileName::with_title(None, id, "mp3").replaced_by(name, &mut buffer),
            )
        };
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
    fn long_titles() {
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
                        let full = written(&name);
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
}
