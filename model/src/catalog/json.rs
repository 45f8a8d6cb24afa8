//! The JSON of a catalog and of its entries, read into a [`Builder`].

use core::fmt;

use serde_core::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Unexpected,
    Visitor,
};

use super::members::MAX_STRING_LEN;
use super::report::{Cause, Quoted};
use super::{Builder, Status};

/// Reads an object of ids and entries.
pub(super) struct CatalogVisitor<'b>(pub(super) &'b mut Builder);

impl<'de> Visitor<'de> for CatalogVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of space ids and entries")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key_seed(IdSeed(self.0))?.is_some() {
            map.next_value_seed(EntrySeed(self.0))?;
        }
        Ok(())
    }
}

/// Reads the id of the next entry.
struct IdSeed<'b>(&'b mut Builder);

impl<'de> DeserializeSeed<'de> for IdSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for IdSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a space id")
    }

    fn visit_str<E: serde_core::de::Error>(self, id: &str) -> Result<(), E> {
        self.0.begin(id)
    }
}

/// Reads an entry: a path, or an object.
pub(super) struct EntrySeed<'b>(pub(super) &'b mut Builder);

impl<'de> DeserializeSeed<'de> for EntrySeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for EntrySeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path or an object with \"title\", \"files\", \"status\", \"duration\"")
    }

    fn visit_str<E: serde_core::de::Error>(self, path: &str) -> Result<(), E> {
        self.0.add_file(path)?;
        self.0.end()
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = [false; Key::ALL.len()];
        while let Some(key) = map.next_key_seed(KeySeed(self.0))? {
            let again = |seen: &mut bool| core::mem::replace(seen, true);
            if seen.get_mut(key as usize).is_some_and(again) {
                let name = key.name();
                return Err(self
                    .0
                    .fault(Cause::KeyTwice, format_args!("\"{name}\" is there twice")));
            }
            map.next_value_seed(FieldSeed(self.0, key))?;
        }
        self.0.end()
    }
}

/// A key of an entry.
#[derive(Clone, Copy)]
enum Key {
    Title,
    Files,
    Status,
    Duration,
}

impl Key {
    const ALL: [Self; 4] = [Self::Title, Self::Files, Self::Status, Self::Duration];

    fn name(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Files => "files",
            Self::Status => "status",
            Self::Duration => "duration",
        }
    }
}

struct KeySeed<'b>(&'b mut Builder);

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed<'_> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"title\", \"files\", \"status\" or \"duration\"")
    }

    fn visit_str<E: serde_core::de::Error>(self, name: &str) -> Result<Key, E> {
        let known = Key::ALL.into_iter().find(|key| key.name() == name);
        known.ok_or_else(|| {
            self.0.fault(Cause::UnknownKey, format_args!("unknown key {}", Quoted(name)))
        })
    }
}

/// Reads the value of a key, or one of the files in a list.
struct FieldSeed<'b>(&'b mut Builder, Key);

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if matches!(self.1, Key::Title) && self.0.takes_half_surrogates {
            return deserializer.deserialize_option(self);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FieldSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.1 {
            Key::Title => "a title",
            Key::Files => "a list of paths",
            Key::Status => "a status (403, 404, 410 or 451)",
            Key::Duration => "a duration (seconds, more than 0)",
        })
    }

    /// `null` is as good as no key.
    fn visit_unit<E: serde_core::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_none<E: serde_core::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_bytes(self)
    }

    fn visit_str<E: serde_core::de::Error>(self, value: &str) -> Result<(), E> {
        match self.1 {
            Key::Title => self.0.set_title(value),
            // The value itself may be long.
            _ => return Err(E::invalid_type(Unexpected::Other("string"), &self)),
        }
        Ok(())
    }

    /// A title in which serde_json has put halves of surrogate pairs as if they were characters.
    fn visit_bytes<E: serde_core::de::Error>(self, value: &[u8]) -> Result<(), E> {
        let mut title = String::new();
        for chunk in value.utf8_chunks() {
            title.push_str(chunk.valid());
            // Of three bytes, each invalid by itself, the first is this.
            if let [0xed, ..] = chunk.invalid() {
                title.push(char::REPLACEMENT_CHARACTER);
            }
        }
        self.0.set_title(&title);
        Ok(())
    }

    fn visit_u64<E: serde_core::de::Error>(self, value: u64) -> Result<(), E> {
        let unexpected = || E::invalid_value(Unexpected::Unsigned(value), &self);
        match (self.1, Status::from_code(value)) {
            (Key::Status, Some(status)) => self.0.status = Some(status),
            (Key::Status, None) => {
                let error = unexpected();
                self.0.cause = Cause::Status;
                return Err(error);
            }
            (Key::Duration, _) => {
                let milliseconds = value.checked_mul(1000);
                return self.set_duration(milliseconds, Unexpected::Unsigned(value));
            }
            _ => return Err(unexpected()),
        }
        Ok(())
    }

    fn visit_f64<E: serde_core::de::Error>(self, value: f64) -> Result<(), E> {
        let unexpected = Unexpected::Float(value);
        match self.1 {
            Key::Duration => {
                let milliseconds = (value * 1000.0).ceil();
                // What is too large or negative becomes the nearest number there is.
                self.set_duration(Some(milliseconds as u64), unexpected)
            }
            _ => Err(E::invalid_type(unexpected, &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if !matches!(self.1, Key::Files) {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        }
        while list.next_element_seed(PathSeed(self.0))?.is_some() {}
        self.0.has_no_files = self.0.file_count == 0;
        Ok(())
    }
}

impl FieldSeed<'_> {
    fn set_duration<E: serde_core::de::Error>(
        self,
        milliseconds: Option<u64>,
        unexpected: Unexpected<'_>,
    ) -> Result<(), E> {
        match milliseconds.filter(|ms| (1..=super::MAX_DURATION).contains(ms)) {
            Some(milliseconds) => {
                self.0.duration = Some(milliseconds);
                Ok(())
            }
            None => {
                let error = E::invalid_value(unexpected, &self);
                self.0.cause = Cause::Duration;
                Err(error)
            }
        }
    }
}

/// Reads the path of a file.
struct PathSeed<'b>(&'b mut Builder);

impl<'de> DeserializeSeed<'de> for PathSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for PathSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path")
    }

    fn visit_str<E: serde_core::de::Error>(self, path: &str) -> Result<(), E> {
        self.0.add_file(path)
    }
}

/// The key that an object begins with, if it is Unicode and no longer than any string may be.
pub(super) fn first_key(object: &[u8]) -> Option<String> {
    struct First;

    impl Visitor<'_> for First {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a key")
        }

        fn visit_str<E: serde_core::de::Error>(self, key: &str) -> Result<String, E> {
            Ok(key.into())
        }
    }

    let key = object.split_first()?.1.trim_ascii_start();
    let key = key.get(..MAX_STRING_LEN).unwrap_or(key);
    serde_json::Deserializer::from_slice(key).deserialize_str(First).ok()
}

/// Whether an entry that can't be used, the value in an object, says that the space has no
/// recording: by a status, or by an empty list of files. If that can't be told, it may.
pub(super) fn may_withhold(object: &[u8]) -> bool {
    let read = serde_json::Deserializer::from_slice(object).deserialize_map(WithheldMember);
    read.unwrap_or(true)
}

/// Reads the member of an object whose value is an entry.
struct WithheldMember;

impl<'de> Visitor<'de> for WithheldMember {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut may = false;
        while map.next_key_seed(WithheldKey)?.is_some() {
            may |= map.next_value_seed(Withheld::Entry)?;
        }
        Ok(may)
    }
}

/// Reads an entry, or the value of one of its keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Withheld {
    Entry,
    Files,
    Status,
    Other,
}

impl<'de> DeserializeSeed<'de> for Withheld {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        match self {
            Self::Other => deserializer.deserialize_ignored_any(IgnoredAny).map(|_| false),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Withheld {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E: serde_core::de::Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E: serde_core::de::Error>(self, _: bool) -> Result<bool, E> {
        Ok(self == Self::Status)
    }

    fn visit_u64<E: serde_core::de::Error>(self, _: u64) -> Result<bool, E> {
        Ok(self == Self::Status)
    }

    fn visit_i64<E: serde_core::de::Error>(self, _: i64) -> Result<bool, E> {
        Ok(self == Self::Status)
    }

    fn visit_f64<E: serde_core::de::Error>(self, _: f64) -> Result<bool, E> {
        Ok(self == Self::Status)
    }

    fn visit_str<E: serde_core::de::Error>(self, _: &str) -> Result<bool, E> {
        Ok(self == Self::Status)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        let is_empty = list.next_element::<IgnoredAny>()?.is_none();
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self == Self::Status || (self == Self::Files && is_empty))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut may = self == Self::Status;
        while let Some(field) = map.next_key_seed(WithheldKey)? {
            let value = if self == Self::Entry { field } else { Self::Other };
            may |= map.next_value_seed(value)?;
        }
        Ok(may)
    }
}

struct WithheldKey;

impl<'de> DeserializeSeed<'de> for WithheldKey {
    type Value = Withheld;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Withheld, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for WithheldKey {
    type Value = Withheld;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_bytes<E: serde_core::de::Error>(self, key: &[u8]) -> Result<Withheld, E> {
        Ok(match key {
            b"files" => Withheld::Files,
            b"status" => Withheld::Status,
            _ => Withheld::Other,
        })
    }
}
