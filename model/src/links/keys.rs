//! The keys that sign links, and the file that they are in.

use core::fmt;

use data_encoding::{
    BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, Encoding, HEXLOWER_PERMISSIVE,
};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::credential::{MAC_LEN, MacText, Text, is_name};
use super::memory::Memory;

/// How long a key may be, in bytes. RFC 2104 discourages keys shorter than the hash.
const KEY_LEN: core::ops::RangeInclusive<usize> = 32..=128;

/// Keys by their id, at least one.
pub struct Keys {
    first: (Box<[u8]>, Key),
    others: Vec<(Box<[u8]>, Key)>,
    /// Of these keys alone: elsewhere the same id may be another key.
    pub(super) verified: Memory,
}

/// The ids only.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(id, _)| String::from_utf8_lossy(id))).finish()
    }
}

/// The state of HMAC-SHA256 after the key.
pub(super) struct Key(Hmac<Sha256>);

impl Key {
    /// The MAC of a text.
    pub(super) fn sign(&self, text: &Text) -> MacText {
        let mut mac = self.0.clone();
        mac.update(text.as_bytes());
        let mut text = [0; MAC_LEN];
        BASE64URL_NOPAD.encode_mut(&mac.finalize().into_bytes(), &mut text);
        text
    }

    /// Whether a MAC is that of a text. Its characters are compared, not its bytes: the last character
    /// has two spare bits, which would otherwise be four tokens for one. It takes as long wherever a
    /// difference is.
    pub(super) fn verifies(&self, text: &Text, mac: &MacText) -> bool {
        self.sign(text).ct_eq(mac).into()
    }
}

impl Keys {
    /// Reads a file of keys: lines `id hex:…` and `id base64:…`. What follows a `#` is a comment.
    ///
    /// # Errors
    ///
    /// The first line that is not valid, or a file without any key.
    pub fn parse(text: &[u8]) -> Result<Self, KeysError> {
        let mut keys: Vec<(Box<[u8]>, Key)> = Vec::new();
        let mut lines = Vec::new();
        for (index, line) in text.split(|&b| b == b'\n').enumerate() {
            let line = line.split(|&b| b == b'#').next().unwrap_or_default();
            let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            let Some(id) = words.next() else { continue };
            let line = index + 1;
            let error = |fault| KeysError { line, fault };
            let (Some(key), None) = (words.next(), words.next()) else {
                return Err(error(Fault::Words));
            };
            if !is_name(id, 32) {
                return Err(error(Fault::Id));
            }
            // The characters of an id are ASCII.
            let name = || String::from_utf8_lossy(id).into_owned();
            let key = decode(key).map_err(|why| error(Fault::Key(name(), why)))?;
            if let Some(at) = keys.iter().position(|(known, _)| **known == *id) {
                let first = lines.get(at).copied().unwrap_or_default();
                return Err(error(Fault::Duplicate(name(), first)));
            }
            keys.push((id.into(), key));
            lines.push(line);
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or(KeysError { line: 0, fault: Fault::None })?;
        Ok(Self { first, others: keys.collect(), verified: Memory::new() })
    }

    /// The key that signs sessions, with its id.
    pub(super) fn first(&self) -> (&[u8], &Key) {
        (&self.first.0, &self.first.1)
    }

    /// The key with an id.
    pub(super) fn find(&self, id: &[u8]) -> Option<&Key> {
        self.iter().find_map(|(known, key)| (known == id).then_some(key))
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &Key)> {
        core::iter::once(&self.first).chain(&self.others).map(|(id, key)| (&**id, key))
    }
}

/// Decodes `hex:…` or `base64:…`. In base64 the alphabets of RFC 4648, sections 4 and 5, are accepted,
/// with or without padding.
fn decode(word: &[u8]) -> Result<Key, KeyFault> {
    let (bytes, spelling) = if let Some(digits) = word.strip_prefix(b"hex:") {
        (HEXLOWER_PERMISSIVE.decode(digits).ok(), "hexadecimal")
    } else if let Some(text) = word.strip_prefix(b"base64:") {
        let encodings: [&Encoding; 4] = [&BASE64, &BASE64_NOPAD, &BASE64URL, &BASE64URL_NOPAD];
        (encodings.iter().find_map(|encoding| encoding.decode(text).ok()), "base64")
    } else {
        return Err(KeyFault::Spelling);
    };
    let bytes = bytes.ok_or(KeyFault::Encoding(spelling))?;
    if !KEY_LEN.contains(&bytes.len()) {
        return Err(KeyFault::Length(bytes.len()));
    }
    // HMAC takes keys of any length.
    Hmac::new_from_slice(&bytes).map(Key).map_err(|_| KeyFault::Length(bytes.len()))
}

/// Why a file of keys is refused. The message has no part of a key, not even of one that stands in
/// the place of an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysError {
    /// Counted from 1.
    line: usize,
    fault: Fault,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    Words,
    Id,
    Key(String, KeyFault),
    /// The line of the first.
    Duplicate(String, usize),
    None,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum KeyFault {
    Spelling,
    Encoding(&'static str),
    Length(usize),
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line;
        match &self.fault {
            Fault::None => f.write_str("it has no key"),
            Fault::Words => write!(f, "line {line} is not \"id hex:...\" or \"id base64:...\""),
            Fault::Id => write!(
                f,
                "invalid key id on line {line}, it must be 1 to 32 letters, digits, \"_\" and \"-\""
            ),
            Fault::Key(id, KeyFault::Spelling) => {
                write!(
                    f,
                    "key \"{id}\" on line {line} begins neither with \"hex:\" nor \"base64:\""
                )
            }
            Fault::Key(id, KeyFault::Encoding(spelling)) => {
                write!(f, "key \"{id}\" on line {line} is not valid {spelling}")
            }
            Fault::Key(id, KeyFault::Length(len)) => write!(
                f,
                "key \"{id}\" on line {line} has {len} bytes, it must have {} to {}",
                KEY_LEN.start(),
                KEY_LEN.end()
            ),
            Fault::Duplicate(id, first) => {
                write!(f, "duplicate key \"{id}\" on line {line}, first on line {first}")
            }
        }
    }
}

impl core::error::Error for KeysError {}
