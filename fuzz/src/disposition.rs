//! File names and Content-Disposition: four bytes that choose, then a name or a title.

use model::catalog::{Catalog, MAX_TITLE_LEN};
use model::disposition::{ContentDisposition, Disposition, Parts};
use model::filename::{FileName, MAX_LEN};
use model::request::SpaceId;
use serde_json::json;

/// Builds the header field's value for a name that is given as a whole, or for a title.
pub fn disposition(data: &[u8]) {
    let Some((&[kind, id_len, id_byte, extension], name)) = data.split_first_chunk() else {
        return;
    };
    let disposition = if kind & 1 == 0 { Disposition::Inline } else { Disposition::Attachment };
    let id_byte = b"aZ09_-"[usize::from(id_byte) % 6];
    let id = vec![id_byte; usize::from(id_len) % 128 + 1];
    let id = SpaceId::parse(&id).expect("a valid id");
    let extension = ["mp3", "m4a", "x", "abcdefghijklmnop"][usize::from(extension) % 4];
    let default_name = format!("{id}.{extension}");

    if kind & 2 == 0 {
        let name = FileName::whole(name, id, extension);
        let shown = check(ContentDisposition { disposition, name });
        assert!(shown.len() <= MAX_LEN || shown == default_name, "{shown:?}");
        return;
    }

    let title = String::from_utf8_lossy(name);
    let entry = json!({ "title": title }).to_string();
    let catalog = Catalog::read_entry(id, entry.as_bytes()).expect("any title is taken");
    let title = catalog.get(id).expect("the entry that was read").title;
    if let Some(title) = title {
        assert!(!title.as_str().chars().any(char::is_control));
        assert!((1..=MAX_TITLE_LEN).contains(&title.as_str().len()));
    }
    let name = FileName::with_title(title, id, extension);
    let shown = check(ContentDisposition { disposition, name });
    if let Some(parts) = disposition.parts_with(title, id, extension) {
        let value = match parts {
            Parts::Id(parts) => parts.concat(),
            Parts::Title(parts) => parts.concat(),
        };
        let expected = format!("{}; filename=\"{shown}\"", disposition.as_str());
        assert_eq!(value, expected.as_bytes());
    }
    let clean = shown.strip_suffix(default_name.as_str()).expect("id and extension at the end");
    if let Some(clean) = clean.strip_suffix('_') {
        assert!(clean.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-'), "{clean:?}");
        assert!(!clean.is_empty() && !clean.starts_with('-'), "{clean:?}");
        assert!(shown.len() <= MAX_LEN, "{shown:?}");
    } else {
        assert_eq!(clean, "");
    }
}

/// Checks the value and returns the name that a client sees.
fn check(value: ContentDisposition<'_>) -> String {
    // The file name as a variable of nginx.
    let mut buffer = vec![0; value.name.max_len()];
    let len = value.name.write(&mut buffer).expect("max_len() suffices for the name");
    buffer.truncate(len);
    let name = String::from_utf8(buffer).expect("a name in UTF-8");
    assert_eq!(value.name.is_ascii(), name.is_ascii());
    assert!(!name.is_empty());
    assert!(!name.chars().any(|c| c.is_control() || matches!(c, '"' | '/' | '\\')), "{name:?}");
    let turns = |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!name.contains(turns), "{name:?}");

    let mut buffer = vec![0; value.max_len()];
    let len = value.write(&mut buffer).expect("max_len() suffices for the value");
    assert_eq!(value.write(&mut vec![0; len]), Some(len));
    assert_eq!(value.write(&mut vec![0; len - 1]), None);
    buffer.truncate(len);
    let text = String::from_utf8(buffer).expect("a value in UTF-8");
    assert!(text.bytes().all(|b| (b' '..=b'~').contains(&b)), "{text:?}");

    // RFC 6266, as a client reads it that does not forgive.
    let kind = format!("{}; filename=\"", value.disposition.as_str());
    let rest = text.strip_prefix(&kind).expect("type and file name");
    let (quoted, rest) = rest.split_once('"').expect("the end of the file name");
    assert!(!quoted.is_empty() && !quoted.contains(['\\', '/']), "{text:?}");
    if name.is_ascii() {
        assert_eq!((quoted, rest), (name.as_str(), ""));
    } else {
        let extended = rest.strip_prefix("; filename*=UTF-8''").expect("a name beyond ASCII");
        assert_eq!(decode(extended.as_bytes()), name);
    }
    name
}

/// The characters of an extended value (RFC 8187).
fn decode(mut value: &[u8]) -> String {
    let mut bytes = Vec::new();
    while let [first, rest @ ..] = value {
        value = rest;
        if *first != b'%' {
            assert!(first.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(first));
            bytes.push(*first);
            continue;
        }
        let (hex, rest) = value.split_first_chunk::<2>().expect("two digits");
        let hex = std::str::from_utf8(hex).expect("two digits");
        assert!(hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F')), "{hex}");
        bytes.push(u8::from_str_radix(hex, 16).expect("two digits"));
        value = rest;
    }
    String::from_utf8(bytes).expect("UTF-8")
}
