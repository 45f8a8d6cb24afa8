//! Session cookies in a request and in a response (RFC 6265).

use super::NewSession;
use super::credential::digits;
use crate::request::SpaceId;
use crate::text::{Pieces, find_byte};

/// Names of session cookies begin with this, followed by the id of the space, a dot and the format.
pub(super) const PREFIX: &[u8] = b"xspace.";

/// The longest path of a cookie, in bytes.
const MAX_PATH_LEN: usize = 512;

/// The values of the session cookies for a space and a format, or `-`, in the values of fields
/// `Cookie`, in their order. Only `;` separates cookies, and case matters.
pub fn cookies<'a, 'n>(
    fields: impl Iterator<Item = &'a [u8]>,
    space: SpaceId<'n>,
    format: &'n [u8],
) -> impl Iterator<Item = &'a [u8]> {
    let cookies = fields.flat_map(pairs).map(<[u8]>::trim_ascii);
    cookies.filter_map(move |cookie| {
        let rest = cookie.strip_prefix(PREFIX)?.strip_prefix(space.as_bytes())?;
        rest.strip_prefix(b".")?.strip_prefix(format)?.strip_prefix(b"=")
    })
}

fn pairs(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(field);
    core::iter::from_fn(move || {
        let field = rest?;
        let end = find_byte(field, b';');
        rest = end.and_then(|end| field.get(end + 1..));
        field.get(..end.unwrap_or(field.len()))
    })
}

/// The path of a URI as the client has sent it, if a cookie can have this path: letters, digits and
/// `/_.~%-` only, with no segment that is empty or, decoded, `.` or `..`, and no encoded slash.
///
/// A browser compares it with the paths of its requests as they are. Anything else could end the
/// attribute and begin another one.
pub fn client_path(uri: &[u8]) -> Option<&[u8]> {
    let path = uri.split(|&b| b == b'?').next().unwrap_or_default();
    let segments = path.strip_prefix(b"/")?.split(|&b| b == b'/');
    let is_path = path.len() <= MAX_PATH_LEN && segments.into_iter().all(is_segment);
    is_path.then_some(path)
}

fn is_segment(segment: &[u8]) -> bool {
    // How many dots there are, if there is nothing else.
    let mut dots = Some(0);
    let mut rest = segment;
    while let [byte, behind @ ..] = rest {
        let is_dot;
        (is_dot, rest) = match (byte, behind) {
            (b'.', _) => (true, behind),
            (b'%', [high, low, behind @ ..]) => {
                if !high.is_ascii_hexdigit() || !low.is_ascii_hexdigit() {
                    return false;
                }
                match (high, low) {
                    (b'2', b'f' | b'F') => return false,
                    (b'2', b'e' | b'E') => (true, behind),
                    _ => (false, behind),
                }
            }
            (b'_' | b'~' | b'-', _) => (false, behind),
            _ if byte.is_ascii_alphanumeric() => (false, behind),
            _ => return false,
        };
        dots = dots.filter(|_| is_dot).map(|dots| dots + 1);
    }
    !matches!(dots, Some(0..=2))
}

/// Whether a browser sends the cookie with requests that another site has caused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Only when the user follows a link.
    Lax,
    /// Always.
    None,
}

/// The value of a field `Set-Cookie` with a session.
#[derive(Clone, Copy, Debug)]
pub struct SetCookie<'a> {
    /// The session.
    pub session: NewSession<'a>,
    /// The path, of [`client_path`].
    pub path: &'a [u8],
    /// `SameSite`.
    pub same_site: SameSite,
    /// `Secure`: over TLS only.
    pub secure: bool,
    /// `Partitioned`: one cookie for each site that embeds the recording.
    pub partitioned: bool,
}

impl Pieces for SetCookie<'_> {
    fn write(&self, mut out: impl FnMut(&[u8])) {
        self.session.write_name(&mut out);
        out(b"=");
        self.session.write_value(&mut out);
        out(b"; Path=");
        out(self.path);
        out(b"; Max-Age=");
        out(digits(self.session.max_age()).as_bytes());
        out(b"; HttpOnly");
        if self.secure {
            out(b"; Secure");
        }
        out(match self.same_site {
            SameSite::Lax => b"; SameSite=Lax",
            SameSite::None => b"; SameSite=None",
        });
        if self.partitioned {
            out(b"; Partitioned");
        }
    }
}
