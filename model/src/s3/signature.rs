//! AWS Signature Version 4, in a header field `Authorization`.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>

use core::cell::RefCell;
use core::fmt;
use std::rc::Rc;

use data_encoding::HEXLOWER;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::credentials::Credentials;
use super::time::{Date, Timestamp};
use crate::text::Pieces;

/// The SHA-256 of no content, for requests without any.
pub const EMPTY_PAYLOAD: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

const ALGORITHM: &[u8] = b"AWS4-HMAC-SHA256";
const TERMINATOR: &[u8] = b"aws4_request";

/// A request that is signed, as the server will see it.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a, P> {
    /// In upper case.
    pub method: &'a [u8],
    /// The path of the URI, encoded.
    pub path: P,
    /// The query string with its parameters encoded and sorted; empty if there is none.
    pub query: &'a str,
    /// The fields that are signed, in the order of their names, which are in lower case. Values have no
    /// white space at their ends, and no two blanks in a row.
    pub fields: &'a [(&'a str, &'a [u8])],
    /// The SHA-256 of the content in hexadecimal digits.
    pub payload_hash: &'a str,
}

impl<P: Pieces> SignedRequest<'_, P> {
    /// The canonical request.
    fn write(&self, mut out: impl FnMut(&[u8])) {
        out(self.method);
        out(b"\n");
        self.path.write(&mut out);
        out(b"\n");
        out(self.query.as_bytes());
        out(b"\n");
        for (name, value) in self.fields {
            out(name.as_bytes());
            out(b":");
            out(value);
            out(b"\n");
        }
        out(b"\n");
        write_names(self.fields, &mut out);
        out(b"\n");
        out(self.payload_hash.as_bytes());
    }
}

/// The names of the signed fields, separated by `;`.
fn write_names(fields: &[(&str, &[u8])], mut out: impl FnMut(&[u8])) {
    for (index, (name, _)) in fields.iter().enumerate() {
        if index > 0 {
            out(b";");
        }
        out(name.as_bytes());
    }
}

/// Signs requests to a service in a region.
pub struct Signer {
    region: Box<str>,
    service: &'static str,
    /// The key of the latest day and credentials: a new one takes four more HMACs.
    key: RefCell<Option<SigningKey>>,
}

/// Without keys.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { region, service, key: _ } = self;
        f.debug_struct("Signer")
            .field("region", region)
            .field("service", service)
            .finish_non_exhaustive()
    }
}

struct SigningKey {
    credentials: Rc<Credentials>,
    date: Date,
    /// The state of HMAC-SHA256 after the key.
    mac: Hmac<Sha256>,
}

impl Signer {
    /// A signer for a region of a service, `s3` for an object store.
    pub fn new(region: &str, service: &'static str) -> Self {
        Self { region: region.into(), service, key: RefCell::default() }
    }

    /// The region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Signs a request. The same time has to be in its field `x-amz-date`.
    pub fn sign<'a, P: Pieces>(
        &'a self,
        credentials: &'a Rc<Credentials>,
        time: Timestamp,
        request: &SignedRequest<'a, P>,
    ) -> Authorization<'a> {
        let mut hash = Sha256::new();
        request.write(|piece| hash.update(piece));
        let mut digest = [0; 64];
        HEXLOWER.encode_mut(&hash.finalize(), &mut digest);

        let mut authorization = Authorization {
            access_key: credentials.access_key(),
            date: time.date(),
            region: &self.region,
            service: self.service,
            fields: request.fields,
            signature: [0; 64],
        };
        let mut mac = self.mac(credentials, authorization.date);
        mac.update(ALGORITHM);
        mac.update(b"\n");
        mac.update(time.as_bytes());
        mac.update(b"\n");
        authorization.write_scope(|piece| mac.update(piece));
        mac.update(b"\n");
        mac.update(&digest);
        HEXLOWER.encode_mut(&mac.finalize().into_bytes(), &mut authorization.signature);
        authorization
    }

    /// HMAC with the key of a day.
    fn mac(&self, credentials: &Rc<Credentials>, date: Date) -> Hmac<Sha256> {
        let mut latest = self.key.borrow_mut();
        if let Some(key) = &*latest {
            if key.date == date && Rc::ptr_eq(&key.credentials, credentials) {
                return key.mac.clone();
            }
        }
        let parts = [&date[..], self.region.as_bytes(), self.service.as_bytes(), TERMINATOR];
        let mac = parts.into_iter().fold(credentials.secret(), |mut mac, part| {
            mac.update(part);
            keyed(&mac.finalize().into_bytes())
        });
        *latest = Some(SigningKey { credentials: Rc::clone(credentials), date, mac: mac.clone() });
        mac
    }
}

/// HMAC-SHA256 with a key.
pub(super) fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // HMAC takes keys of any length: a longer one than a block is hashed first (RFC 2104).
    Hmac::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()))
}

/// The value of the field `Authorization`.
#[derive(Clone, Copy, Debug)]
pub struct Authorization<'a> {
    access_key: &'a str,
    date: Date,
    region: &'a str,
    service: &'static str,
    fields: &'a [(&'a str, &'a [u8])],
    signature: [u8; 64],
}

impl Authorization<'_> {
    fn write_scope(&self, mut out: impl FnMut(&[u8])) {
        let (region, service) = (self.region.as_bytes(), self.service.as_bytes());
        [&self.date[..], b"/", region, b"/", service, b"/", TERMINATOR]
            .into_iter()
            .for_each(&mut out);
    }
}

impl Pieces for Authorization<'_> {
    fn write(&self, mut out: impl FnMut(&[u8])) {
        out(ALGORITHM);
        out(b" Credential=");
        out(self.access_key.as_bytes());
        out(b"/");
        self.write_scope(&mut out);
        out(b", SignedHeaders=");
        write_names(self.fields, &mut out);
        out(b", Signature=");
        out(&self.signature);
    }
}

#[cfg(test)]
impl<P: Pieces> SignedRequest<'_, P> {
    pub(super) fn canonical(&self) -> Vec<u8> {
        let mut text = Vec::new();
        self.write(|piece| text.extend_from_slice(piece));
        text
    }
}

#[cfg(test)]
impl Signer {
    /// The day of the key that is kept.
    pub(super) fn kept_date(&self) -> Option<Date> {
        self.key.borrow().as_ref().map(|key| key.date)
    }
}
