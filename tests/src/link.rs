//! Signed links, as an application makes them.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ring::hmac::{HMAC_SHA256, Key, sign};

/// A key that signs links.
#[derive(Clone, Debug)]
pub struct LinkKey {
    id: String,
    bytes: Vec<u8>,
}

impl LinkKey {
    /// A key of 32 bytes, which follows from its id.
    pub fn new(id: &str) -> Self {
        let bytes = (0..32).map(|at| id.bytes().fold(at, |sum, b| sum ^ b)).collect();
        Self { id: id.to_owned(), bytes }
    }

    /// The same bytes under another id.
    #[must_use]
    pub fn with_id(&self, id: &str) -> Self {
        Self { id: id.to_owned(), bytes: self.bytes.clone() }
    }

    /// Its line in a file of keys.
    pub fn line(&self) -> String {
        format!("{} hex:{}\n", self.id, HEXLOWER.encode(&self.bytes))
    }

    fn mac(&self, lines: &[&str]) -> String {
        let text = lines.join("\n") + "\n";
        let mac = sign(&Key::new(HMAC_SHA256, &self.bytes), text.as_bytes());
        BASE64URL_NOPAD.encode(mac.as_ref())
    }

    /// A token for a space, until a time in seconds since 1970. `fields` are format, subject and
    /// net, each of them `-` for none.
    pub fn token(&self, space: &str, expiry: u64, fields: [&str; 3]) -> String {
        let [format, subject, net] = fields;
        let (id, expiry) = (&self.id, expiry.to_string());
        let mac = self.mac(&["xspace-link", id, &expiry, space, format, subject, net]);
        format!("1.{id}.{expiry}.{format}.{subject}.{net}.{mac}")
    }

    /// The cookie of a session, with its name.
    pub fn session(&self, space: &str, expiry: u64, end: u64, fields: [&str; 3]) -> String {
        let [format, subject, net] = fields;
        let (id, expiry, end) = (&self.id, expiry.to_string(), end.to_string());
        let mac = self.mac(&["xspace-session", id, &expiry, &end, format, subject, net, space]);
        format!("xspace.{space}.{format}=1.{id}.{expiry}.{end}.{format}.{subject}.{net}.{mac}")
    }
}
