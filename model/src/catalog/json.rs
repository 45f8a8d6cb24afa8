//! The JSON of a catalogue and of its entries, read into a [`Builder`].

use core::fmt;

use serde_core::de::{
    DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Unexpected, Visitor,
};

use super::{Builder, Quoted, Status};

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
            self.0.id.clear();
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
        f.write_str("a path or an object with \"title\", \"files\", \"status\"")
    }

    fn visit_str<E: serde_core::de::Error>(self, path: &str) -> Result<(), E> {
        self.0.add_file(path)?;
        self.0.end()
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = [false; 3];
        while let Some(key) = map.next_key_seed(KeySeed)? {
            let again = |seen: &mut bool| core::mem::replace(seen, true);
            if seen.get_mut(key as usize).is_some_and(again) {
                return Err(A::Error::custom(format_args!("\"{}\" is there twice", key.name())));
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
}

impl Key {
    const ALL: [Self; 3] = [Self::Title, Self::Files, Self::Status];

    fn name(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Files => "files",
            Self::Status => "status",
        }
    }
}

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"title\", \"files\" or \"status\"")
    }

    fn visit_str<E: serde_core::de::Error>(self, name: &str) -> Result<Key, E> {
        let known = Key::ALL.into_iter().find(|key| key.name() == name);
        known.ok_or_else(|| E::custom(format_args!("unknown key {}", Quoted(name))))
    }
}

/// Reads the value of a key, or one of the files in a list.
struct FieldSeed<'b>(&'b mut Builder, Key);

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
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
        })
    }

    fn visit_str<E: serde_core::de::Error>(self, value: &str) -> Result<(), E> {
        match self.1 {
            Key::Title => self.0.set_title(value),
            _ => {
                return Err(E::invalid_type(Unexpected::Str(value), &self));
            }
        }
        Ok(())
    }

    fn visit_u64<E: serde_core::de::Error>(self, value: u64) -> Result<(), E> {
        match (self.1, Status::from_code(value)) {
            (Key::Status, Some(status)) => self.0.status = Some(status),
            _ => {
                return Err(E::invalid_value(Unexpected::Unsigned(value), &self));
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if !matches!(self.1, Key::Files) {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        }
        while list.next_element_seed(PathSeed(self.0))?.is_some() {}
        Ok(())
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
