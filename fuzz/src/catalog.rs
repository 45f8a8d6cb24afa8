//! Catalogues and entries: any bytes.

use std::io::Cursor;
use std::path::{Component, Path};

use model::catalog::{Catalog, CatalogError, Entry, MAX_FILES, MAX_PATH_LEN, MAX_TITLE_LEN};
use model::request::SpaceId;
use serde_json::{Map, Value};

use crate::is_id;

/// An id that the fuzzer does not hit upon.
const OTHER: &[u8] = b"an-id-that-is-in-no-catalogue-0123456789-abcdefghijklmnopqrstuvwxyz";

/// Reads the bytes as a catalogue, and as one entry. What is accepted has to be just what another
/// reader of JSON finds there, and harmless.
pub fn catalog(data: &[u8]) {
    match Catalog::read(Cursor::new(data)) {
        Ok(catalog) => whole(data, &catalog),
        Err(error) => refused(&error),
    }
    let id = SpaceId::parse(b"x").expect("a valid id");
    match Catalog::read_entry(id, data) {
        Ok(catalog) => {
            assert_eq!(catalog.len(), 1);
            let value = serde_json::from_slice(data).expect("JSON");
            entry(&value, catalog.get(id).expect("the entry that was read"));
        }
        Err(error) => refused(&error),
    }
}

fn whole(data: &[u8], catalog: &Catalog) {
    let values: Map<String, Value> = serde_json::from_slice(data).expect("a JSON object");
    // Had an id been there twice, the object here would have fewer.
    assert_eq!(catalog.len(), values.len());
    assert_eq!(catalog.is_empty(), values.is_empty());
    for (id, value) in &values {
        assert!(is_id(id.as_bytes()), "{id:?}");
        let id = SpaceId::parse(id.as_bytes()).expect("a valid id");
        let found = catalog.get(id).expect("an entry for each id");
        entry(value, found);

        // An entry means the same in a catalogue and alone.
        let text = serde_json::to_vec(value).expect("JSON");
        let alone = Catalog::read_entry(id, &text).expect("an entry that was taken before");
        entry(value, alone.get(id).expect("the entry that was read"));
    }
    let other = SpaceId::parse(OTHER).expect("a valid id");
    assert!(catalog.get(other).is_none());
}

/// Compares an entry with the value that it was read from.
pub(crate) fn entry(value: &Value, entry: Entry<'_>) {
    let files: Vec<&str> = entry.files().collect();
    assert_eq!(entry.has_files(), !files.is_empty());
    files.iter().for_each(|file| harmless(file));
    let title = entry.title.as_ref().map(|title| title.as_str());
    let status = entry.status.map(|status| status.code());

    match value {
        Value::String(path) => {
            assert_eq!(files, [path.as_str()]);
            assert_eq!((title, status), (None, None));
        }
        Value::Object(fields) => {
            let known = ["title", "files", "status"];
            assert!(fields.keys().all(|key| known.contains(&key.as_str())), "{fields:?}");

            let expected = fields.get("title").map_or("", |t| t.as_str().expect("a title"));
            assert_eq!(title.unwrap_or_default(), shown(expected));
            assert_ne!(title, Some(""));

            let expected: &[Value] = match fields.get("files") {
                Some(files) => files.as_array().expect("a list"),
                None => &[],
            };
            assert!(expected.iter().map(|file| file.as_str()).eq(files.iter().map(|&f| Some(f))));
            assert!(files.len() <= MAX_FILES);

            let expected = fields.get("status").map(|s| s.as_i64().expect("a number"));
            assert!(expected.is_none_or(|status| [403, 404, 410, 451].contains(&status)));
            assert_eq!(status.map(i64::from), expected);
        }
        _ => panic!("accepted as an entry: {value}"),
    }
}

/// A title without control characters, cut.
fn shown(title: &str) -> String {
    let mut shown: String = title.chars().filter(|c| !c.is_control()).collect();
    let cut = (0..=MAX_TITLE_LEN.min(shown.len())).rev().find(|&at| shown.is_char_boundary(at));
    shown.truncate(cut.unwrap_or_default());
    shown
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
pub(crate) fn refused(error: &CatalogError) {
    let message = error.to_string();
    assert!(!message.is_empty() && !message.chars().any(|c| c.is_ascii_control()), "{message:?}");
}
