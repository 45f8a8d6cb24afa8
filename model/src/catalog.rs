//! The catalogue: for each space its title and files, or the status that it is answered with.
//!
//! A catalogue is read once and then only looked at. Sites have a million spaces, so all text
//! stands in one string and an entry is a few numbers: there is little to allocate, and little to
//! free.

mod json;
mod members;

use core::fmt;
use core::hash::BuildHasher;
use core::mem;
use std::io;

use hashbrown::{DefaultHashBuilder, HashTable};
use serde_core::de::{DeserializeSeed, Deserializer, Error as _};

use self::json::{CatalogVisitor, EntrySeed};
use crate::filename::{CleanTitle, clean_into};
use crate::format::has_extension;
use crate::request::SpaceId;
use crate::text::Escaped;

/// The longest path of a file, in bytes. Below the target's directory it still fits into the
/// system's PATH_MAX.
pub const MAX_PATH_LEN: usize = 3072;

/// The longest title, in bytes of UTF-8; what is longer is cut between characters.
pub const MAX_TITLE_LEN: usize = 4096;

/// The most files of a space.
pub const MAX_FILES: usize = 64;

/// An answer that an entry asks for instead of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 410
    Gone,
    /// 451
    UnavailableForLegalReasons,
}

impl Status {
    fn from_code(code: u64) -> Option<Self> {
        Some(match code {
            403 => Self::Forbidden,
            404 => Self::NotFound,
            410 => Self::Gone,
            451 => Self::UnavailableForLegalReasons,
            _ => return None,
        })
    }

    /// The status code (RFC 9110, section 15; RFC 7725).
    pub fn code(self) -> i16 {
        match self {
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Gone => 410,
            Self::UnavailableForLegalReasons => 451,
        }
    }
}

/// Why a catalogue can't be taken: the mistake, the space it belongs to, line and column.
#[derive(Debug)]
pub struct CatalogError {
    id: Option<Box<str>>,
    source: serde_json::Error,
}

impl fmt::Display for CatalogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(id) = &self.id {
            write!(f, "space \"{id}\": ")?;
        }
        fmt::Display::fmt(&self.source, f)
    }
}

impl core::error::Error for CatalogError {}

/// What the catalogue, or a lookup, says of a space.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'c> {
    /// The title, without control characters; never empty.
    pub title: Option<CleanTitle<'c>>,
    /// The answer to give instead of a file.
    pub status: Option<Status>,
    files: Files<'c>,
}

impl<'c> Entry<'c> {
    /// The paths of the space's files below the target, in the order in which they are named.
    pub fn files(&self) -> impl Iterator<Item = &'c str> + use<'c> {
        self.files
    }

    /// Whether the entry names files. If not, they are looked for in the directory.
    pub fn has_files(&self) -> bool {
        !self.files.first.is_empty()
    }

    /// The files with an extension, in any case.
    pub fn files_of<'e>(&self, extension: &'e str) -> impl Iterator<Item = &'c str> + use<'c, 'e> {
        self.files().filter(move |file| has_extension(file, extension))
    }
}

/// The paths of an entry's files.
#[derive(Clone, Copy, Debug)]
struct Files<'c> {
    /// The first one; empty if there is none or it was taken.
    first: &'c str,
    /// The others, with separators between them.
    others: &'c str,
}

impl<'c> Iterator for Files<'c> {
    type Item = &'c str;

    fn next(&mut self) -> Option<&'c str> {
        let mut next = mem::take(&mut self.first);
        if next.is_empty() {
            (next, self.others) = self.others.split_once(SEPARATOR).unwrap_or((self.others, ""));
        }
        (!next.is_empty()).then_some(next)
    }
}

/// How much is read at once, in bytes.
const BUFFER_LEN: usize = 64 * 1024;

/// Between the paths of an entry. Paths hold no control characters.
const SEPARATOR: char = '\n';

/// An entry: where its text begins, and how long the parts are. They follow each other as id,
/// title, clean title (if that differs from the title) and files.
#[derive(Clone, Copy, Debug)]
struct Packed {
    start: u32,
    files_len: u32,
    title_len: u16,
    clean_len: u16,
    /// How long the first path is.
    first_len: u16,
    id_len: u8,
    flags: u8,
}

impl Packed {
    const CLEAN_IS_TITLE: u8 = 1 << 0;
    const CLEAN_IS_ASCII: u8 = 1 << 1;
    const STATUS_SHIFT: u8 = 2;

    fn status(self) -> Option<Status> {
        Some(match self.flags >> Self::STATUS_SHIFT {
            1 => Status::Forbidden,
            2 => Status::NotFound,
            3 => Status::Gone,
            4 => Status::UnavailableForLegalReasons,
            _ => return None,
        })
    }

    fn status_flags(status: Option<Status>) -> u8 {
        let number = match status {
            None => 0,
            Some(Status::Forbidden) => 1,
            Some(Status::NotFound) => 2,
            Some(Status::Gone) => 3,
            Some(Status::UnavailableForLegalReasons) => 4,
        };
        number << Self::STATUS_SHIFT
    }
}

/// A place in a catalogue's entries, with the hash of the id there: the table can grow without
/// looking at the entries.
#[derive(Clone, Copy, Debug)]
struct Place {
    hash: u32,
    entry: u32,
}

impl Place {
    /// The table takes its bits from both ends of a hash, so 32 of them are spread over 64.
    fn spread(hash: u32) -> u64 {
        u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// Entries by space id.
#[derive(Debug, Default)]
pub struct Catalog {
    text: String,
    entries: Vec<Packed>,
    index: HashTable<Place>,
    hasher: DefaultHashBuilder,
}

impl Catalog {
    /// Reads a catalogue: one JSON object of ids and entries.
    ///
    /// # Errors
    ///
    /// The first mistake: all of a catalogue is taken, or nothing.
    pub fn read(mut reader: impl io::Read + io::Seek) -> Result<Self, CatalogError> {
        let mut builder = Builder::default();
        let regular = members::read(&mut reader, |members| {
            let before = builder.catalog.len();
            let mut json = serde_json::Deserializer::from_slice(members);
            json.deserialize_map(CatalogVisitor(&mut builder)).ok()?;
            Some(builder.catalog.len() - before)
        });
        if regular.is_ok() {
            return builder.finish(Ok(()));
        }
        // Once more as a whole, for a message that names the place of the mistake.
        drop(builder);
        if let Err(error) = reader.rewind() {
            return Builder::default().finish(Err(serde_json::Error::custom(error)));
        }
        Self::read_stream(io::BufReader::with_capacity(BUFFER_LEN, reader))
    }

    fn read_stream(reader: impl io::Read) -> Result<Self, CatalogError> {
        let mut builder = Builder::default();
        let mut json = serde_json::Deserializer::from_reader(reader);
        let read = json.deserialize_map(CatalogVisitor(&mut builder)).and_then(|()| json.end());
        builder.finish(read)
    }

    /// Reads one entry, as a lookup answers it, and makes a catalogue of it.
    ///
    /// # Errors
    ///
    /// The first mistake.
    pub fn read_entry(id: SpaceId<'_>, json: &[u8]) -> Result<Self, CatalogError> {
        let mut builder = Builder::default();
        let mut json = serde_json::Deserializer::from_slice(json);
        let read = builder
            .begin(&id.to_string())
            .and_then(|()| EntrySeed(&mut builder).deserialize(&mut json))
            .and_then(|()| json.end());
        builder.finish(read)
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry of a space.
    ///
    /// Inlined, for then the parts that nobody looks at need not be put anywhere.
    #[inline(always)]
    pub fn get(&self, id: SpaceId<'_>) -> Option<Entry<'_>> {
        let id = id.as_bytes();
        let hash = self.hash(id);
        let place = self.index.find(Place::spread(hash), |place| {
            place.hash == hash && self.id(place.entry).is_some_and(|found| found == id)
        })?;
        let packed = *self.entries.get(place.entry as usize)?;

        let mut rest = self.text.get(packed.start as usize + usize::from(packed.id_len)..)?;
        let mut take = |len: usize| {
            let (part, behind) = rest.split_at_checked(len)?;
            rest = behind;
            Some(part)
        };
        let title = take(usize::from(packed.title_len))?;
        let clean = if packed.flags & Packed::CLEAN_IS_TITLE != 0 {
            title
        } else {
            take(usize::from(packed.clean_len))?
        };
        let is_ascii = packed.flags & Packed::CLEAN_IS_ASCII != 0;
        let (first, others) =
            take(packed.files_len as usize)?.split_at_checked(usize::from(packed.first_len))?;
        Some(Entry {
            title: (!title.is_empty()).then_some(CleanTitle { title, clean, is_ascii }),
            status: packed.status(),
            // Without the separator between them.
            files: Files { first, others: others.get(1..).unwrap_or_default() },
        })
    }

    fn hash(&self, id: &[u8]) -> u32 {
        // The upper half of the hash; a cast would take the lower.
        (self.hasher.hash_one(id) >> 32) as u32
    }

    fn id(&self, entry: u32) -> Option<&[u8]> {
        let packed = self.entries.get(entry as usize)?;
        let start = packed.start as usize;
        self.text.as_bytes().get(start..start + usize::from(packed.id_len))
    }
}

/// A catalogue while it is read, and the parts of the entry that is being read.
#[derive(Default)]
struct Builder {
    catalog: Catalog,
    id: String,
    title: String,
    clean: String,
    files: String,
    file_count: usize,
    first_len: usize,
    status: Option<Status>,
}

type Read<T> = Result<T, serde_json::Error>;

impl Builder {
    fn begin<E: serde_core::de::Error>(&mut self, id: &str) -> Result<(), E> {
        self.title.clear();
        self.files.clear();
        self.file_count = 0;
        self.first_len = 0;
        self.status = None;
        self.id.clear();
        if SpaceId::parse(id.as_bytes()).is_none() {
            return Err(E::custom(format_args!("invalid space id {}", Quoted(id))));
        }
        self.id.push_str(id);
        let Self { catalog, id, .. } = self;
        match SpaceId::parse(id.as_bytes()).and_then(|id| catalog.get(id)) {
            Some(_) => Err(E::custom("the id is there twice")),
            None => Ok(()),
        }
    }

    fn set_title(&mut self, title: &str) {
        self.title.clear();
        let plain = |b: u8| b.is_ascii() && !b.is_ascii_control();
        if title.len() <= MAX_TITLE_LEN && title.bytes().all(plain) {
            return self.title.push_str(title);
        }
        let mut gap = false;
        for c in title.chars() {
            if c.is_control() {
                // Line breaks and tabs separate words.
                gap |= c.is_whitespace();
                continue;
            }
            let space = mem::take(&mut gap) && !self.title.is_empty();
            if self.title.len() + usize::from(space) + c.len_utf8() > MAX_TITLE_LEN {
                break;
            }
            self.title.extend(space.then_some(' '));
            self.title.push(c);
        }
    }

    fn add_file<E: serde_core::de::Error>(&mut self, path: &str) -> Result<(), E> {
        if let Some(why) = why_not_a_path(path) {
            return Err(E::custom(format_args!("invalid path {}: {why}", Quoted(path))));
        }
        if self.file_count == MAX_FILES {
            return Err(E::custom(format_args!("more than {MAX_FILES} files")));
        }
        if self.file_count > 0 {
            self.files.push(SEPARATOR);
        } else {
            self.first_len = path.len();
        }
        self.files.push_str(path);
        self.file_count += 1;
        Ok(())
    }

    /// Adds the entry that was read to the catalogue.
    fn end<E: serde_core::de::Error>(&mut self) -> Result<(), E> {
        let Self { catalog, id, title, clean, files, first_len, status, .. } = self;
        clean_into(clean, title);
        // Growing by itself, a large catalogue would end the process when there is no more memory.
        let spread = |place: &Place| Place::spread(place.hash);
        let text_len = id.len() + title.len() + clean.len() + files.len();
        let has_memory = catalog.text.try_reserve(text_len).is_ok()
            && catalog.entries.try_reserve(1).is_ok()
            && catalog.index.try_reserve(1, spread).is_ok();
        if !has_memory {
            return Err(E::custom("there is no memory for it"));
        }

        let start = catalog.text.len();
        catalog.text.push_str(id);
        catalog.text.push_str(title);
        let mut flags = Packed::status_flags(*status);
        if clean.is_ascii() {
            flags |= Packed::CLEAN_IS_ASCII;
        }
        if clean == title {
            flags |= Packed::CLEAN_IS_TITLE;
            clean.clear();
        }
        catalog.text.push_str(clean);
        catalog.text.push_str(files);

        let too_large = |_| E::custom("the catalogue has more than 4 GiB of text");
        u32::try_from(catalog.text.len()).map_err(too_large)?;
        let entry = u32::try_from(catalog.entries.len()).map_err(too_large)?;
        let fits = |len: usize| u16::try_from(len).map_err(too_large);
        catalog.entries.push(Packed {
            start: u32::try_from(start).map_err(too_large)?,
            files_len: u32::try_from(files.len()).map_err(too_large)?,
            title_len: fits(title.len())?,
            clean_len: fits(clean.len())?,
            first_len: fits(*first_len)?,
            id_len: u8::try_from(id.len()).map_err(too_large)?,
            flags,
        });
        let place = Place { hash: catalog.hash(id.as_bytes()), entry };
        catalog.index.insert_unique(spread(&place), place, spread);
        Ok(())
    }

    fn finish(self, read: Read<()>) -> Result<Catalog, CatalogError> {
        match read {
            Ok(()) => {
                let mut catalog = self.catalog;
                catalog.text.shrink_to_fit();
                catalog.entries.shrink_to_fit();
                Ok(catalog)
            }
            Err(source) => {
                let id = (!self.id.is_empty()).then(|| self.id.into_boxed_str());
                Err(CatalogError { id, source })
            }
        }
    }
}

/// Why a string is not the path of a file below the target.
fn why_not_a_path(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        Some("it is empty")
    } else if path.starts_with('/') {
        Some("it is absolute")
    } else if path.len() > MAX_PATH_LEN {
        Some("it is too long")
    } else if has_control_character(path) {
        Some("it holds a control character")
    } else {
        path.split('/').find_map(|segment| match segment {
            "" => Some("it has an empty segment"),
            "." | ".." => Some("it has a dot segment"),
            _ => None,
        })
    }
}

fn has_control_character(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_control())
        || (!text.is_ascii() && text.chars().any(char::is_control))
}

/// Text of a catalogue in a message.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 100;
        let end = self.0.char_indices().nth(SHOWN).map(|(end, _)| end);
        let shown = end.and_then(|end| self.0.get(..end)).unwrap_or(self.0);
        write!(f, "\"{}{}\"", Escaped(shown), if end.is_some() { "…" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: &str) -> SpaceId<'_> {
        SpaceId::parse(id.as_bytes()).unwrap()
    }

    /// Reads a catalogue in both ways, which have to agree.
    fn read(json: impl AsRef<[u8]>) -> Result<Catalog, CatalogError> {
        let json = json.as_ref();
        let catalog = Catalog::read(io::Cursor::new(json));
        let stream = Catalog::read_stream(json);
        match (&catalog, &stream) {
            (Ok(one), Ok(other)) => assert_eq!(one.text, other.text),
            (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string()),
            _ => panic!("{catalog:?} and {stream:?}"),
        }
        catalog
    }

    /// The entry of space `a` in the form `title|clean|status|file file`.
    fn shown(catalog: &Catalog) -> String {
        let entry = catalog.get(id("a")).unwrap();
        let (title, clean) = entry.title.map_or(("", ""), |t| (t.title, t.clean));
        if let Some(title) = entry.title {
            assert_eq!(title.is_ascii, title.clean.is_ascii());
        }
        let status = entry.status.map_or(0, Status::code);
        let files: Vec<_> = entry.files().collect();
        assert_eq!(entry.has_files(), !files.is_empty());
        format!("{title}|{clean}|{status}|{}", files.join(" "))
    }

    #[test]
    fn entries() {
        let rows: &[(&str, &str, &str)] = &[
            (r#""x/y.m4a""#, "||0|x/y.m4a", "a string is one file"),
            (r#"{}"#, "||0|", "nothing"),
            (r#"{"title":"T","files":["a.mp3","b/c.MP4"]}"#, "T|T|0|a.mp3 b/c.MP4", "both"),
            (r#"{"files":["a.mp3"],"title":"A b!"}"#, "A b!|A-b|0|a.mp3", "clean title differs"),
            (r#"{"title":"é à"}"#, "é à|é-à|0|", "only a title"),
            (r#"{"title":""}"#, "||0|", "empty title"),
            (r#"{"files":[]}"#, "||0|", "empty list"),
            (r#"{"title":"a\u0000\r\n\u0085\tb"}"#, "a b|a-b|0|", "control characters in a title"),
            (
                r#"{"title":"\nLine one\nline\u0001 two\r\n"}"#,
                "Line one line two|Line-one-line-two|0|",
                "line breaks",
            ),
            (r#"{"title":"\ud83c\udf99 on"}"#, "🎙 on|on|0|", "surrogates"),
            (r#"{"status":403}"#, "||403|", "403"),
            (r#"{"status":404}"#, "||404|", "404"),
            (r#"{"status":410,"title":"T"}"#, "T|T|410|", "410 with a title"),
            (r#"{"status":451}"#, "||451|", "451"),
            (
                r#"{"files":["100% ?#;\"&'é .mp3","..a/b..mp3",".hidden","a\\b.mp3"]}"#,
                "||0|100% ?#;\"&'é .mp3 ..a/b..mp3 .hidden a\\b.mp3",
                "characters that mean something elsewhere",
            ),
        ];
        for (json, expected, what) in rows {
            let catalog = read(format!("{{\"a\": {json} }}\n")).unwrap();
            assert_eq!(shown(&catalog), *expected, "{what}");
            let lookup = Catalog::read_entry(id("a"), json.as_bytes()).unwrap();
            assert_eq!(shown(&lookup), *expected, "{what}, as the answer of a lookup");
        }
    }

    #[test]
    fn mistakes() {
        let rows: &[(&str, &str)] = &[
            ("", "EOF while parsing a value at line 1 column 0"),
            ("[]", "invalid type: sequence, expected an object of space ids and entries at line 1"),
            ("{", "EOF while parsing an object at line 1"),
            ("{}\n{}", "trailing characters at line 2 column 1"),
            ("{} x", "trailing characters at line 1 column 4"),
            ("{,}", "key must be a string at line 1 column 2"),
            ("{\"a\":{},}", "trailing comma at line 1 column 9"),
            ("{\"a\":{},,\"b\":{}}", "key must be a string at line 1 column 9"),
            ("{\"a\":{} \"b\":{}}", "expected `,` or `}` at line 1 column 9"),
            ("{\"a\":{]", "key must be a string at line 1 column 7"),
            ("{\"a\":{}]", "expected `,` or `}` at line 1 column 8"),
            ("{\"a\":\"x", "EOF while parsing a string at line 1 column 7"),
            ("{\n\"a.b\": {}}", "invalid space id \"a.b\" at line 2 column 6"),
            ("{\"\": {}}", "invalid space id \"\" at line 1"),
            ("{\"a\":{},\n\"a\":{}}", "space \"a\": the id is there twice at line 2 column 4"),
            ("{\"a\": 5}", "space \"a\": invalid type: integer `5`, expected a path or an object"),
            ("{\"a\": null}", "space \"a\": invalid type: null, expected a path or an object"),
            ("{\"a\": [\"b.mp3\"]}", "space \"a\": invalid type: sequence, expected a path or"),
            ("{\"a\": {\"titel\": 1}}", "space \"a\": unknown key \"titel\" at line 1"),
            (
                "{\"a\": {\"title\": 1}}",
                "space \"a\": invalid value: integer `1`, expected a title",
            ),
            ("{\"a\": {\"title\": null}}", "space \"a\": invalid type: null, expected a title"),
            (
                "{\"a\": {\"files\": \"b\"}}",
                "space \"a\": invalid type: string \"b\", expected a list",
            ),
            (
                "{\"a\": {\"files\": [1]}}",
                "space \"a\": invalid type: integer `1`, expected a path",
            ),
            ("{\"a\": {\"files\": [[]]}}", "space \"a\": invalid type: sequence, expected a path"),
            (
                "{\"a\": {\"status\": 200}}",
                "space \"a\": invalid value: integer `200`, expected a st",
            ),
            (
                "{\"a\": {\"status\": \"410\"}}",
                "space \"a\": invalid type: string \"410\", expected",
            ),
            (
                "{\"a\": {\"status\": -1}}",
                "space \"a\": invalid type: integer `-1`, expected a status",
            ),
            (
                "{\"a\": {\"title\":\"\",\"title\":\"\"}}",
                "space \"a\": \"title\" is there twice at line",
            ),
            ("{\"a\": \"\"}", "space \"a\": invalid path \"\": it is empty at line 1 column 8"),
            ("{\"a\": \"/etc/passwd\"}", "invalid path \"/etc/passwd\": it is absolute"),
            ("{\"a\": \"../x\"}", "invalid path \"../x\": it has a dot segment"),
            ("{\"a\": \"x/..\"}", "invalid path \"x/..\": it has a dot segment"),
            ("{\"a\": \"x/./y\"}", "invalid path \"x/./y\": it has a dot segment"),
            ("{\"a\": \"x//y\"}", "invalid path \"x//y\": it has an empty segment"),
            ("{\"a\": \"x/\"}", "invalid path \"x/\": it has an empty segment"),
            ("{\"a\": \"x\\u0000y\"}", "invalid path \"x\\u{0}y\": it holds a control character"),
            ("{\"a\": \"x\\ny\"}", "invalid path \"x\\ny\": it holds a control character"),
            ("{\"a\": \"x\\u0085\"}", "invalid path \"x\\u{85}\": it holds a control character"),
            (
                "{\"a\": \"\u{202e}\u{3164}/\"}",
                "invalid path \"\\u{202e}\\u{3164}/\": it has an empty",
            ),
            ("{\"a\u{2066}\": {}}", "invalid space id \"a\\u{2066}\" at line 1"),
        ];
        for (json, expected) in rows {
            let shown = read(json).unwrap_err().to_string();
            assert!(
                shown.contains(expected),
                "{json}\n  is:       {shown}\n  expected: {expected}"
            );
        }
        let long = format!("{{\"a\": \"{}\"}}", "x".repeat(MAX_PATH_LEN + 1));
        let shown = read(&long).unwrap_err().to_string();
        assert!(shown.contains("…\": it is too long") && shown.len() < 250, "{shown}");
        let many = format!("{{\"a\": {{\"files\":[\"x\"{}]}}}}", ",\"x\"".repeat(MAX_FILES));
        let shown = read(&many).unwrap_err().to_string();
        assert!(shown.contains("more than 64 files"), "{shown}");
        assert!(read(b"{\"a\": \"\xff\"}").is_err(), "not UTF-8");
        assert!(read("{\"a\": \"x.mp3\"}\0").is_err(), "NUL at the end");
    }

    #[test]
    fn a_failing_reader_is_an_error() {
        struct Failing(io::Cursor<&'static [u8]>);
        impl io::Read for Failing {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                match self.0.read(buffer)? {
                    0 => Err(io::Error::other("no more")),
                    len => Ok(len),
                }
            }
        }
        impl io::Seek for Failing {
            fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
                self.0.seek(to)
            }
        }
        let error = Catalog::read(Failing(io::Cursor::new(b"{\"a\": {}"))).unwrap_err();
        assert!(error.to_string().contains("no more"), "{error}");
    }

    #[test]
    fn many_spaces() {
        let spaces: Vec<String> = (0..10_000).map(|n| format!("space-{n}")).collect();
        let entries: Vec<String> = spaces
            .iter()
            .map(|id| format!("\"{id}\":{{\"title\":\"About {id}\",\"files\":[\"{id}.mp3\"]}}"))
            .collect();
        let catalog = read(format!("{{{}}}", entries.join(",\n"))).unwrap();
        assert_eq!(catalog.len(), spaces.len());
        assert!(!catalog.is_empty());
        for space in &spaces {
            let entry = catalog.get(id(space)).unwrap();
            assert_eq!(entry.title.unwrap().as_str(), format!("About {space}"));
            assert_eq!(entry.files().collect::<Vec<_>>(), [format!("{space}.mp3")]);
        }
        assert!(catalog.get(id("space-10000")).is_none());
    }

    #[test]
    fn members_of_any_length() {
        // Around the sizes of buffers; and strings that look like structure.
        for len in [0, 1, 65_500, 131_000, 262_100, 262_144, 300_000, 5_000_000] {
            let title = "},{\\\"[\\\\".repeat(len / 9);
            let json = format!(" {{ \"a\":{{\"title\":\"{title}\"}} , \"b\":\"x,}}.mp3\"}} \n");
            let catalog = read(&json).unwrap();
            assert_eq!(catalog.len(), 2, "{len}");
            assert_eq!(catalog.get(id("b")).unwrap().files().collect::<Vec<_>>(), ["x,}.mp3"]);
        }
    }

    #[test]
    fn files_by_extension() {
        let json = r#"{"a":{"files":["1.mp4","2.MP3","d.mp3/3","4.mp3","5"]}}"#;
        let catalog = read(json).unwrap();
        let entry = catalog.get(id("a")).unwrap();
        for (extension, expected) in
            [("mp3", &["2.MP3", "4.mp3"][..]), ("mp4", &["1.mp4"]), ("wav", &[])]
        {
            assert_eq!(entry.files_of(extension).collect::<Vec<_>>(), expected, "{extension}");
        }
    }

    #[test]
    fn long_titles_are_cut_between_characters() {
        let json = format!("{{\"a\":{{\"title\":\"{}\"}}}}", "é".repeat(MAX_TITLE_LEN));
        let catalog = read(&json).unwrap();
        let title = catalog.get(id("a")).unwrap().title.unwrap();
        assert_eq!(title.as_str(), "é".repeat(MAX_TITLE_LEN / 2));
    }
}
