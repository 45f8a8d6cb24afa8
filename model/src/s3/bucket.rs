//! Buckets, and where the objects in them are.

use core::fmt;

use crate::text::Pieces;

/// Where a request names its bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// In the path: `/bucket/object`.
    #[default]
    Path,
    /// In the host name: `bucket.example.com`.
    Virtual,
}

/// A bucket of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    host: Box<str>,
    /// What precedes the name of an object in the path of its URI.
    path: Box<str>,
}

/// Why a bucket or a host is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketError {
    /// The name of the bucket is not one.
    Name,
    /// The name has a dot and would be a part of a host name.
    Dot,
    /// The host is not one, or its port.
    Host,
}

impl fmt::Display for BucketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "a bucket name has letters, digits, \"-\", \".\" and \"_\"",
            Self::Dot => {
                "a bucket name with a dot requires \"style=path\", because wildcard certificates do \
                 not match such host names"
            }
            Self::Host => "it must be a host name or an address, with or without a port",
        })
    }
}

impl Bucket {
    /// The bucket with a name at a host, `name` or `name:port`.
    ///
    /// # Errors
    ///
    /// What is wrong with the name or the host.
    pub fn new(name: &str, host: &str, style: Style) -> Result<Self, BucketError> {
        let is_inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        let is_name = (1..=255).contains(&name.len()) && name.bytes().all(is_inner);
        if !is_name || name == "." || name == ".." {
            return Err(BucketError::Name);
        }
        if !is_host(host) {
            return Err(BucketError::Host);
        }
        Ok(match style {
            Style::Path => Self { host: host.into(), path: format!("/{name}/").into() },
            Style::Virtual if name.contains('.') => return Err(BucketError::Dot),
            Style::Virtual => Self { host: format!("{name}.{host}").into(), path: "/".into() },
        })
    }

    /// The host that requests are sent to, for the field `Host`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path of the URI of an object.
    pub fn path<'a>(&'a self, object: &'a [u8]) -> ObjectPath<'a> {
        ObjectPath { bucket: &self.path, object }
    }
}

/// A host name, an IPv4 address or an IPv6 address in brackets, perhaps with a port.
fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => (address, None),
        Some((address, rest)) => match rest.strip_prefix(':') {
            Some(port) => (address, Some(port)),
            None => return false,
        },
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    let is_address = host.starts_with('[');
    let is_inner = |b: u8| match b {
        b':' => is_address,
        b'-' | b'.' => true,
        _ => b.is_ascii_alphanumeric(),
    };
    let is_port = |port: &str| {
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse().is_ok_and(|port: u16| port > 0)
    };
    !name.is_empty() && name.bytes().all(is_inner) && port.is_none_or(is_port)
}

/// Whether a text can be the name of a region.
pub fn is_region(name: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(is_inner)
}

/// The path of an object's URI, encoded once: each byte but `A-Za-z0-9-._~/` is `%XX`. Nothing is
/// normalized, because names of objects may have `//` and `/../` in them.
#[derive(Clone, Copy, Debug)]
pub struct ObjectPath<'a> {
    /// Needs no encoding.
    bucket: &'a str,
    object: &'a [u8],
}

impl Pieces for ObjectPath<'_> {
    fn write(&self, mut out: impl FnMut(&[u8])) {
        out(self.bucket.as_bytes());
        let is_plain =
            |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'/');
        for run in self.object.chunk_by(|one, next| is_plain(one) && is_plain(next)) {
            match run {
                [byte] if !is_plain(byte) => {
                    let digit =
                        |value: u8| if value < 10 { b'0' + value } else { b'A' + value - 10 };
                    out(&[b'%', digit(byte >> 4), digit(byte & 0xf)]);
                }
                plain => out(plain),
            }
        }
    }
}
