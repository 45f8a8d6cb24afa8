//! The grammar of tokens and session cookies, and what their MAC is computed over.

use super::Net;
use crate::format::MAX_EXTENSION_LEN;
use crate::request::{SpaceId, is_id_byte};

/// The longest token or cookie, in bytes.
pub const MAX_LEN: usize = 512;

/// The length of a MAC in base64url without padding.
pub(super) const MAC_LEN: usize = 43;

/// A MAC as it stands in a token or a cookie.
pub(super) type MacText = [u8; MAC_LEN];

/// The first lines of what MACs are computed over: no token is a cookie, and no cookie a token.
pub(super) const TOKEN: &[u8] = b"xspace-link";
pub(super) const SESSION: &[u8] = b"xspace-session";

/// What a MAC is computed over: lines, each ended by LF.
pub(super) struct Text {
    bytes: [u8; Self::MAX_LEN],
    len: usize,
}

impl Text {
    /// That of a session with the longest fields, as [`Credential::parse`] and space ids allow them.
    pub(super) const MAX_LEN: usize = 15 + 33 + 13 + 13 + 17 + 65 + 17 + 129;

    /// The text with these lines; `None` if it is too long.
    pub(super) fn of(lines: &[&[u8]]) -> Option<Self> {
        let mut text = Self { bytes: [0; Self::MAX_LEN], len: 0 };
        for line in lines {
            let (place, behind) =
                text.bytes.get_mut(text.len..)?.split_at_mut_checked(line.len())?;
            place.copy_from_slice(line);
            *behind.first_mut()? = b'\n';
            text.len += line.len() + 1;
        }
        Some(text)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// What a link grants, as the fields stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields<'a> {
    /// The format, in lower case, or `-` for any.
    pub format: &'a [u8],
    /// Whom the link is for, or `-`.
    pub subject: &'a [u8],
    /// The network of the client, or `-` for any.
    pub net: &'a [u8],
}

impl<'a> Fields<'a> {
    fn parse(format: &'a [u8], subject: &'a [u8], net: &'a [u8]) -> Option<Self> {
        let is_format = (1..=MAX_EXTENSION_LEN).contains(&format.len())
            && format.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'z'));
        let is_valid = (is_format || format == b"-")
            && is_name(subject, 64)
            && (net == b"-" || Net::parse(net).is_some());
        is_valid.then_some(Self { format, subject, net })
    }

    /// Whom the link is for; empty if it does not say.
    pub fn subject(&self) -> &'a [u8] {
        if self.subject == b"-" { b"" } else { self.subject }
    }

    /// The network; `None` for any.
    pub(super) fn parsed_net(&self) -> Option<Net> {
        Net::parse(self.net)
    }
}

/// What a link or session says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims<'a> {
    /// Until when it is good; a session, unless it is prolonged.
    pub(super) expiry: u64,
    /// Until when a session can be prolonged; a link can't be.
    pub(super) end: u64,
    /// What it grants.
    pub fields: Fields<'a>,
}

/// Which of the two a credential is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `1.<key id>.<expiry>.<format>.<subject>.<net>.<mac>`
    Token = 1,
    /// `1.<key id>.<expiry>.<end>.<format>.<subject>.<net>.<mac>`
    Session,
}

/// A token or session cookie that is well-formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential<'a> {
    pub(super) key: &'a [u8],
    expiry: &'a [u8],
    /// That of a session.
    end: Option<&'a [u8]>,
    /// What it says.
    pub claims: Claims<'a>,
    pub(super) mac: &'a MacText,
}

impl<'a> Credential<'a> {
    /// The longest one, in bytes: a session cookie with the longest fields.
    pub(super) const MAX_LEN: usize = 2 + 33 + 13 + 13 + 17 + 65 + 17 + MAC_LEN;

    /// Reads a token or the value of a session cookie.
    pub fn parse(kind: Kind, text: &'a [u8]) -> Option<Self> {
        let (key, expiry, end, [format, subject, net, mac]) = match kind {
            Kind::Token => {
                let [b"1", key, expiry, rest @ ..] = fields::<7>(text)? else { return None };
                (key, expiry, None, rest)
            }
            Kind::Session => {
                let [b"1", key, expiry, end, rest @ ..] = fields::<8>(text)? else { return None };
                (key, expiry, Some(end), rest)
            }
        };
        is_name(key, 32).then_some(())?;
        let claims = Claims {
            expiry: time(expiry)?,
            end: time(end.unwrap_or(expiry))?,
            fields: Fields::parse(format, subject, net)?,
        };
        Some(Self { key, expiry, end, claims, mac: mac_text(mac)? })
    }

    /// What the MAC is computed over.
    pub(super) fn text(&self, space: SpaceId<'_>) -> Option<Text> {
        let Fields { format, subject, net } = self.claims.fields;
        let (key, expiry, id) = (self.key, self.expiry, space.as_bytes());
        match self.end {
            None => Text::of(&[TOKEN, key, expiry, id, format, subject, net]),
            Some(end) => Text::of(&[SESSION, key, expiry, end, format, subject, net, id]),
        }
    }
}

/// The fields between dots, if there are just so many.
fn fields<const N: usize>(text: &[u8]) -> Option<[&[u8]; N]> {
    if text.len() > MAX_LEN {
        return None;
    }
    let mut parts = text.split(|&b| b == b'.');
    let mut fields = [&[][..]; N];
    for field in &mut fields {
        *field = parts.next()?;
    }
    parts.next().is_none().then_some(fields)
}

/// Whether it is a key id or a subject: the characters are those of space ids, and of base64url.
pub(super) fn is_name(name: &[u8], max: usize) -> bool {
    (1..=max).contains(&name.len()) && name.iter().all(is_id_byte)
}

/// A time in seconds: up to 12 digits, the first of them not 0.
fn time(text: &[u8]) -> Option<u64> {
    let is_time = matches!(text, [b'1'..=b'9', rest @ ..] if rest.len() < 12);
    let digits = Some(text).filter(|text| is_time && text.iter().all(u8::is_ascii_digit))?;
    // So many digits don't overflow.
    Some(digits.iter().fold(0, |time, b| time * 10 + u64::from(b - b'0')))
}

/// The spare bits of the last character are left to the comparison.
fn mac_text(text: &[u8]) -> Option<&MacText> {
    text.iter().all(is_id_byte).then_some(text)?.try_into().ok()
}

/// The digits of a number.
pub(super) struct Digits {
    digits: [u8; 20],
    start: usize,
}

impl Digits {
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.digits.get(self.start..).unwrap_or_default()
    }
}

pub(super) fn digits(mut number: u64) -> Digits {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    for place in digits.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        start -= 1;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    Digits { digits, start }
}
