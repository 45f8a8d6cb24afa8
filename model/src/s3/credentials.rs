//! Credentials, and the file that they are in: AWS's "shared credentials file".
//!
//! <https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>

use core::{fmt, str};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::signature::keyed;

/// The longest file of credentials, in bytes.
pub const MAX_FILE_LEN: usize = 64 * 1024;

/// How long values may be, in bytes. Those of AWS's tokens have no limit; they are sent in each
/// request, and stores limit its header.
const MAX_KEY_LEN: usize = 1024;
const MAX_TOKEN_LEN: usize = 8 * 1024;

/// An access key with its secret, and the token of temporary ones.
pub struct Credentials {
    access_key: Box<str>,
    /// The state of HMAC-SHA256 after `AWS4` and the secret access key.
    secret: Hmac<Sha256>,
    token: Option<Box<str>>,
}

/// The access key only, which is no secret.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads the profile with a name from the text of a file.
    ///
    /// Lines are `[profile]`, `name = value`, comments that begin with `#` or `;`, or empty. Of a value
    /// ` #` or ` ;` begins a comment. A line with a deeper indentation than that of the name before it
    /// continues the value. Other profiles and unknown names are skipped.
    ///
    /// # Errors
    ///
    /// The first line that is not valid, or what is missing. The message quotes nothing of the file.
    pub fn parse(text: &[u8], profile: &str) -> Result<Self, CredentialsError> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut reader = Reader::default();
        for (index, line) in text.split(|&b| b == b'\n').enumerate() {
            reader.line = index + 1;
            reader
                .read(line, profile)
                .map_err(|fault| CredentialsError { line: index + 1, fault })?;
        }
        reader.finish(profile)
    }

    pub(super) fn access_key(&self) -> &str {
        &self.access_key
    }

    pub(super) fn secret(&self) -> Hmac<Sha256> {
        self.secret.clone()
    }

    /// Whether others would sign the same.
    pub fn is_same(&self, other: &Self) -> bool {
        let sign = |credentials: &Self| credentials.secret().finalize();
        self.access_key == other.access_key
            && self.token == other.token
            && sign(self) == sign(other)
    }

    /// The token of temporary credentials.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }
}

/// The names of a profile that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    AccessKey,
    Secret,
    Token,
}

impl Name {
    const ALL: [Self; 3] = [Self::AccessKey, Self::Secret, Self::Token];

    fn as_str(self) -> &'static str {
        match self {
            Self::AccessKey => "aws_access_key_id",
            Self::Secret => "aws_secret_access_key",
            Self::Token => "aws_session_token",
        }
    }

    fn max_len(self) -> usize {
        match self {
            Self::AccessKey | Self::Secret => MAX_KEY_LEN,
            Self::Token => MAX_TOKEN_LEN,
        }
    }

    /// Whether the character may be in the value: visible ones, and in an access key, which is sent in
    /// a list, not those that end it there.
    fn has(self, byte: u8) -> bool {
        byte.is_ascii_graphic() && !(self == Self::AccessKey && matches!(byte, b'/' | b',' | b'='))
    }
}

/// What was read so far.
#[derive(Default)]
struct Reader<'t> {
    line: usize,
    /// The line of the profile that is wanted.
    found: Option<usize>,
    /// Whether the line is in a profile, and whether in that one.
    is_in_profile: bool,
    is_in_wanted: bool,
    /// The indentation of the latest name in the profile, and what it was if it is read.
    latest: Option<(usize, Option<Name>)>,
    access_key: Option<&'t str>,
    secret: Option<&'t str>,
    token: Option<&'t str>,
}

impl<'t> Reader<'t> {
    fn read(&mut self, line: &'t [u8], profile: &str) -> Result<(), Fault> {
        let text = line.trim_ascii();
        let indent = line.len() - line.trim_ascii_start().len();
        if text.is_empty() || matches!(text, [b'#' | b';', ..]) {
            return Ok(());
        }
        if let Some((_, name)) = self.latest.filter(|&(outer, _)| indent > outer) {
            // Settings of an unknown name, or a value that would be another one without this line.
            return name.map_or(Ok(()), |name| Err(Fault::Continued(name)));
        }
        if let Some(rest) = text.strip_prefix(b"[") {
            return self.begin(rest, profile);
        }
        let at = text.iter().position(|&b| b == b'=').ok_or(Fault::NoName)?;
        let (name, value) = text.split_at_checked(at).ok_or(Fault::NoName)?;
        let value = value.strip_prefix(b"=").unwrap_or(value);
        if !self.is_in_profile {
            return Err(Fault::NoProfile);
        }
        let name = name.trim_ascii();
        let known =
            Name::ALL.into_iter().find(|n| name.eq_ignore_ascii_case(n.as_str().as_bytes()));
        self.latest = Some((indent, known));
        match known {
            Some(name) if self.is_in_wanted => self.set(name, value),
            _ => Ok(()),
        }
    }

    /// Begins a profile; `rest` follows the bracket.
    fn begin(&mut self, rest: &[u8], profile: &str) -> Result<(), Fault> {
        let end = rest.iter().position(|&b| b == b']').ok_or(Fault::Profile)?;
        let (name, behind) = rest.split_at_checked(end).ok_or(Fault::Profile)?;
        let behind = behind.strip_prefix(b"]").unwrap_or(behind).trim_ascii();
        if !matches!(behind, [] | [b'#' | b';', ..]) {
            return Err(Fault::Profile);
        }
        self.is_in_profile = true;
        self.is_in_wanted = name.trim_ascii() == profile.as_bytes();
        self.latest = None;
        if self.is_in_wanted {
            if let Some(first) = self.found.replace(self.line) {
                return Err(Fault::DuplicateProfile(first));
            }
        }
        Ok(())
    }

    fn set(&mut self, name: Name, value: &'t [u8]) -> Result<(), Fault> {
        let value = value.trim_ascii();
        let end = value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len());
        let (value, behind) = value.split_at_checked(end).unwrap_or((value, &[]));
        if !matches!(behind.trim_ascii(), [] | [b'#' | b';', ..]) {
            return Err(Fault::Value(name));
        }
        let value = str::from_utf8(value).map_err(|_| Fault::Value(name))?;
        if value.is_empty() {
            return Err(Fault::Empty(name));
        } else if value.len() > name.max_len() {
            return Err(Fault::Length(name));
        } else if !value.bytes().all(|b| name.has(b)) {
            return Err(Fault::Value(name));
        }
        let place = match name {
            Name::AccessKey => &mut self.access_key,
            Name::Secret => &mut self.secret,
            Name::Token => &mut self.token,
        };
        match place.replace(value) {
            Some(_) => Err(Fault::Duplicate(name)),
            None => Ok(()),
        }
    }

    fn finish(self, profile: &str) -> Result<Credentials, CredentialsError> {
        let Some(line) = self.found else {
            return Err(CredentialsError { line: 0, fault: Fault::Missing(profile.into()) });
        };
        let missing = |name| CredentialsError { line, fault: Fault::Lacks(name) };
        let access_key = self.access_key.ok_or_else(|| missing(Name::AccessKey))?;
        let secret = self.secret.ok_or_else(|| missing(Name::Secret))?;
        Ok(Credentials {
            access_key: access_key.into(),
            secret: keyed(&[b"AWS4", secret.as_bytes()].concat()),
            token: self.token.map(Into::into),
        })
    }
}

/// Why a file of credentials is refused. The message has no part of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialsError {
    /// Counted from 1; 0 is the file as a whole.
    line: usize,
    fault: Fault,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    /// Neither a profile nor a name with a value.
    NoName,
    /// A name before the first profile.
    NoProfile,
    Profile,
    /// The line of the first.
    DuplicateProfile(usize),
    Duplicate(Name),
    Empty(Name),
    Value(Name),
    Length(Name),
    Continued(Name),
    /// The profile lacks a name.
    Lacks(Name),
    /// The profile is missing.
    Missing(String),
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        match &self.fault {
            Fault::NoName => f.write_str("\"=\" is missing"),
            Fault::NoProfile => f.write_str("value before the first profile"),
            Fault::Profile => f.write_str("invalid profile"),
            Fault::DuplicateProfile(first) => {
                write!(f, "duplicate profile, the first is in line {first}")
            }
            Fault::Duplicate(name) => write!(f, "duplicate \"{}\"", name.as_str()),
            Fault::Empty(name) => write!(f, "\"{}\" is empty", name.as_str()),
            Fault::Value(name) => write!(f, "invalid character in \"{}\"", name.as_str()),
            Fault::Length(name) => {
                write!(f, "\"{}\" is longer than {} bytes", name.as_str(), name.max_len())
            }
            Fault::Continued(name) => {
                write!(f, "\"{}\" is continued on this line", name.as_str())
            }
            Fault::Lacks(name) => write!(f, "profile without \"{}\"", name.as_str()),
            Fault::Missing(profile) => write!(f, "no profile \"{profile}\""),
        }
    }
}
