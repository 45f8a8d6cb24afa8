//! Catalogs and entries: any bytes.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::path::{Component, Path};

use model::catalog::{Cause, ReadError, Report};
use model::entry::{Entry, EntryBuf, MAX_ENTRY_LEN, MAX_FILES, MAX_PATH_LEN, MAX_TITLE_LEN};
use model::request::SpaceId;
use serde_core::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

use crate::is_id;

type Catalog = model::catalog::Catalog<Vec<u8>>;

/// An id that the fuzzer does not hit upon.
const OTHER: &[u8] = b"an-id-that-is-in-no-catalog-0123456789-abcdefghijklmnopqrstuvwxyz";

/// Reads the bytes as a catalog, and as one entry. What is accepted has to be just what another
/// reader of JSON finds there, and harmless.
pub fn catalog(data: &[u8]) {
    let text = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let plainly = serde_json::from_slice::<Members<Value>>(text);
    match Catalog::read(data) {
        Ok((catalog, report)) => {
            check_report(&catalog, &report);
            // What has strings or numbers that are none is JSON all the same.
            if let Ok(Members(Some(members))) = plainly {
                whole(text, &members, &catalog, &report);
            }
        }
        Err(error) => {
            refused(&error);
            assert!(!matches!(plainly, Ok(Members(Some(_)))), "{error}");
        }
    }
    match EntryBuf::parse(data) {
        Ok(found) => match serde_json::from_slice(text) {
            Ok(value) => entry(&value, found.entry()),
            // Half a surrogate pair in the title.
            Err(_) => assert!(found.entry().title.is_some()),
        },
        Err(error) => {
            refused(&error);
            let plainly = serde_json::from_slice(text).ok().filter(is_usable);
            let is_usable =
                plainly.is_some() && !has_key_twice(text) && text.len() <= MAX_ENTRY_LEN;
            assert!(!is_usable, "{error}");
        }
    }
}

/// The members of an object, also those with the same name; `None` for any other value.
struct Members<T>(Option<Vec<(String, T)>>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Collect(PhantomData))
    }
}

struct Collect<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Collect<T> {
    type Value = Members<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<T>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(Some(members)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Members<T>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Members(None))
    }

    fn visit_unit<E>(self) -> Result<Members<T>, E> {
        Ok(Members(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Members<T>, E> {
        Ok(Members(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Members<T>, E> {
        Ok(Members(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Members<T>, E> {
        Ok(Members(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Members<T>, E> {
        Ok(Members(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Members<T>, E> {
        Ok(Members(None))
    }
}

/// Whether one of several keys of the same name, of which [`Value`] has the last one only, makes an
/// entry unusable.
fn has_unusable_key(text: &[u8], id: &str) -> bool {
    let Ok(Members(Some(entries))) = serde_json::from_slice::<Members<Members<Value>>>(text) else {
        return false;
    };
    entries.into_iter().any(|(key, Members(fields))| {
        key == id
            && fields.into_iter().flatten().any(|(name, value)| !is_usable(&json!({ name: value })))
    })
}

/// Whether an object has two members of one name.
fn has_key_twice(text: &[u8]) -> bool {
    let Ok(Members(Some(fields))) = serde_json::from_slice::<Members<IgnoredAny>>(text) else {
        return false;
    };
    let names: BTreeSet<_> = fields.iter().map(|(name, _)| name).collect();
    names.len() < fields.len()
}

/// A report is consistent with the catalog, and can be logged.
fn check_report(catalog: &Catalog, report: &Report) {
    assert_eq!(report.usable + report.unusable.count, catalog.len());
    for faults in [&report.unusable, &report.skipped] {
        // Fewer where there was no memory.
        assert!(faults.described.len() <= faults.count.min(10));
    }
    for line in report.lines().map(|line| line.to_string()) {
        assert!(!line.chars().any(|c| c.is_ascii_control()) && line.len() < 3000, "{line:?}");
    }
    assert_eq!(report.lines().next().is_none(), report.is_clean());
}

fn whole(text: &[u8], members: &[(String, Value)], catalog: &Catalog, report: &Report) {
    assert!(catalog.len() + report.skipped.count <= members.len());
    for (key, value) in members.iter().filter(|(key, _)| is_id(key.as_bytes())) {
        let id = SpaceId::parse(key.as_bytes()).expect("a valid id");
        match catalog.get(id) {
            Ok(found) => {
                entry(value, found.expect("an entry for each id"));
                // An entry means the same in a catalog and alone.
                let json = serde_json::to_vec(value).expect("JSON");
                let alone = EntryBuf::parse(&json).expect("an entry that was accepted before");
                entry(value, alone.entry());
            }
            // `Value` shows none of these.
            Err(Cause::TooLong | Cause::TooDeep | Cause::DuplicateKey) => {}
            Err(Cause::Id | Cause::DuplicateId) => {
                let same = members.iter().filter(|(other, _)| other.contains(key.as_str()));
                assert!(same.count() > 1, "{key:?}");
            }
            Err(cause) => {
                let is_bad = members.iter().any(|(k, v)| k == key && !is_usable(v));
                assert!(is_bad || has_unusable_key(text, key), "{key:?}: {cause}");
            }
        }
    }
    let other = SpaceId::parse(OTHER).expect("a valid id");
    assert!(matches!(catalog.get(other), Ok(None)));
}

/// Whether a value is an entry, in other words than the model's.
fn is_usable(value: &Value) -> bool {
    let is_path = |path: &Value| {
        path.as_str().is_some_and(|path| {
            (1..=MAX_PATH_LEN).contains(&path.len())
                && !path.chars().any(char::is_control)
                && path.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
        })
    };
    let Value::Object(fields) = value else { return is_path(value) };
    fields.iter().all(|(key, value)| match key.as_str() {
        "title" => value.is_string() || value.is_null(),
        "files" => {
            let is_list = |list: &Vec<Value>| list.len() <= MAX_FILES && list.iter().all(is_path);
            value.is_null() || value.as_array().is_some_and(is_list)
        }
        "status" => {
            value.is_null() || value.as_u64().is_some_and(|s| [403, 404, 410, 451].contains(&s))
        }
        "duration" => value.is_null() || value.as_f64().is_some_and(|s| s > 0.0 && s < 2.8e11),
        _ => false,
    })
}

/// Compares an entry with the value that it was read from.
pub(crate) fn entry(value: &Value, entry: Entry<'_>) {
    let files: Vec<&str> = entry.files().map(utf8).collect();
    assert_eq!(entry.has_files(), !files.is_empty());
    files.iter().for_each(|file| harmless(file));
    let title = entry.title.as_ref().map(|title| utf8(title.as_bytes()));
    let status = entry.status.map(|status| status.code());

    match value {
        Value::String(path) => {
            assert_eq!(files, [path.as_str()]);
            assert_eq!((title, status), (None, None));
        }
        Value::Object(fields) => {
            let known = ["title", "files", "status", "duration"];
            assert!(fields.keys().all(|key| known.contains(&key.as_str())), "{fields:?}");

            // `null` is as good as no key.
            let given = |key: &str| fields.get(key).filter(|value| !value.is_null());
            let expected = given("title").map_or("", |t| t.as_str().expect("a title"));
            assert_eq!(title.unwrap_or_default(), shown(expected));
            assert_ne!(title, Some(""));

            let expected: &[Value] = match given("files") {
                Some(files) => files.as_array().expect("a list"),
                None => &[],
            };
            assert!(expected.iter().map(|file| file.as_str()).eq(files.iter().map(|&f| Some(f))));
            assert!(files.len() <= MAX_FILES);
            assert_eq!(entry.has_no_files, given("files").is_some() && files.is_empty());
            let seconds = given("duration").map(|d| d.as_f64().expect("a number"));
            let found = entry.duration().map(|duration| duration.as_secs_f64());
            let difference = seconds.unwrap_or_default() - found.unwrap_or_default();
            assert!(seconds.is_some() == found.is_some() && difference.abs() <= 0.002);

            let expected = given("status").map(|s| s.as_i64().expect("a number"));
            assert!(expected.is_none_or(|status| [403, 404, 410, 451].contains(&status)));
            assert_eq!(status.map(i64::from), expected);
        }
        _ => panic!("accepted as an entry: {value}"),
    }
}

fn utf8(text: &[u8]) -> &str {
    std::str::from_utf8(text).expect("UTF-8")
}

/// A title without control characters, cut. Those that are white space separate words.
fn shown(title: &str) -> String {
    let words = title.split(|c: char| c.is_control() && c.is_whitespace());
    let words = words.map(|word| word.replace(char::is_control, ""));
    let words: Vec<String> = words.filter(|word| !word.is_empty()).collect();
    let mut shown = words.join("\n");
    let cut = (0..=MAX_TITLE_LEN.min(shown.len())).rev().find(|&at| shown.is_char_boundary(at));
    shown.truncate(cut.unwrap_or_default());
    shown.trim_end_matches('\n').replace('\n', " ")
}

/// A path stays below the directory that it is put behind.
fn harmless(path: &str) {
    assert!(!path.chars().any(char::is_control), "{path:?}");
    assert!((1..=MAX_PATH_LEN).contains(&path.len()), "{path:?}");
    assert!(!path.split('/').any(|segment| matches!(segment, "" | "." | "..")), "{path:?}");
    assert!(Path::new(path).components().all(|part| matches!(part, Component::Normal(_))));

    // Both ways to put it there: as a path, and as nginx does it.
    let root = Path::new("/srv/downloads");
    let joined = root.join(path);
    assert!(joined.starts_with(root) && joined != root, "{path:?}");
    assert_eq!(joined.as_os_str(), format!("/srv/downloads/{path}").as_str());
}

/// A message goes to a log: it must not break its lines.
pub(crate) fn refused(error: &ReadError<'_>) {
    let message = error.to_string();
    assert!(!message.is_empty() && !message.chars().any(|c| c.is_ascii_control()), "{message:?}");
}

/// Reads the bytes behind the first one as a catalog, with an allocator that grants so many blocks and
/// no more. An infallible allocation would end the process; what is read without an error is the same
/// as with more memory.
pub fn catalog_memory(data: &[u8], grant: impl Fn(Option<u8>)) {
    let Some((&blocks, data)) = data.split_first() else { return };
    grant(Some(blocks));
    let read = Catalog::read(data);
    grant(None);
    let with_more = Catalog::read(data);
    match (read, with_more) {
        (Ok((one, report)), Ok((other, _))) => {
            check_report(&one, &report);
            assert_eq!(one.len(), other.len());
        }
        (Err(error), Ok(_)) => {
            assert!(error.is_temporary() && error.to_string().contains("no memory"), "{error}");
        }
        (Err(one), Err(other)) if !one.is_temporary() => {
            assert_eq!(one.to_string(), other.to_string());
        }
        (Err(_), Err(_)) => {}
        (Ok(_), Err(error)) => panic!("taken with less memory alone: {error}"),
    }
}
