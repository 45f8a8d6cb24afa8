//! File names and Content-Disposition: four bytes that choose, then a name or a title.

use model::disposition::{ContentDisposition, Disposition};
use model::entry::{EntryBuf, MAX_TITLE_LEN};
use model::filename::{CleanTitle, FileName, MAX_LEN};
use model::request::SpaceId;
use model::text::{Pieces, is_hidden};
use serde_json::json;

/// Builds the header field's value for a name that is given as a whole, or for a title.
pub fn disposition(data: &[u8]) {
    let Some((&[kind, id_len, id_byte, extension], name)) = data.split_first_chunk() else {
        return;
    };
    let disposition = if kind & 1 == 0 { Disposition::Inline } else { Disposition::Attachment };
    // Some of the ids are names of devices of Windows.
    let id = match id_len {
        0 => b"nul".to_vec(),
        1 => b"COM1".to_vec(),
        _ => vec![b"aZ09_-"[usize::from(id_byte) % 6]; usize::from(id_len) % 128 + 1],
    };
    let id = SpaceId::parse(&id).expect("a valid id");
    let extension = ["mp3", "m4a", "x", "abcdefghijklmnop"][usize::from(extension) % 4];

    if kind & 2 == 0 {
        let mut buffer = [0; MAX_LEN];
        let name = FileName::with_title(None, id, extension).replaced_by(name, &mut buffer);
        check(ContentDisposition { disposition, name: &name }, id, extension);
        return;
    }

    let title = String::from_utf8_lossy(name);
    let entry = json!({ "title": title }).to_string();
    let entry = EntryBuf::parse(entry.as_bytes()).expect("any title is accepted");
    let title = entry.entry().title;
    if let Some(title) = title {
        let text = std::str::from_utf8(title.as_bytes()).expect("UTF-8");
        assert!(!text.chars().any(char::is_control));
        assert!((1..=MAX_TITLE_LEN).contains(&text.len()));
        // A name of which nothing remains is the default one.
        if kind & 4 != 0 {
            check_default(&title, id, extension);
        }
    }
    let name = FileName::with_title(title.as_ref(), id, extension);
    let shown = check(ContentDisposition { disposition, name: &name }, id, extension);
    let default_name = format!("{id}.{extension}");
    let clean = shown.strip_suffix(default_name.as_str()).expect("id and extension at the end");
    if let Some(clean) = clean.strip_suffix('_').filter(|clean| !clean.is_empty()) {
        assert!(!clean.contains(|c: char| c.is_whitespace() || c == '.' || c == '%'), "{clean:?}");
        assert!(!clean.starts_with('-') && !clean.ends_with('-') && !clean.contains("--"));
    }
}

fn check_default(title: &CleanTitle<'_>, id: SpaceId<'_>, extension: &str) {
    let default_name = written(&FileName::with_title(Some(title), id, extension));
    for nothing in ["", " .\u{202e}/", &format!("-.{extension}")] {
        let mut buffer = [0; MAX_LEN];
        let name = FileName::with_title(Some(title), id, extension)
            .replaced_by(nothing.as_bytes(), &mut buffer);
        assert_eq!(written(&name), default_name);
    }
}

/// What is written, as text.
pub(crate) fn written(pieces: &impl Pieces) -> String {
    let mut bytes = Vec::new();
    pieces.write(|piece| bytes.extend_from_slice(piece));
    String::from_utf8(bytes).expect("UTF-8")
}

/// Checks the value and returns the name that a client sees.
fn check(value: ContentDisposition<'_>, id: SpaceId<'_>, extension: &str) -> String {
    // The file name as a variable of nginx.
    let name = written(value.name);
    check_name(&name, id, extension);

    let text = written(&value);
    assert!(text.bytes().all(|b| (b' '..=b'~').contains(&b)), "{text:?}");

    // RFC 6266, as a client reads it that does not forgive.
    let kind = format!("{}; filename=\"", value.disposition.as_str());
    let rest = text.strip_prefix(&kind).expect("type and file name");
    let (quoted, rest) = rest.split_once('"').expect("the end of the file name");
    check_name(quoted, id, extension);
    if rest.is_empty() {
        assert_eq!(quoted, name);
    } else {
        let extended = rest.strip_prefix("; filename*=UTF-8''").expect("the name once more");
        assert_eq!(decode(extended.as_bytes()), name);
        assert!(!quoted.contains('%'), "{text:?}");
    }
    let is_encoded = |at: usize| {
        let digits = quoted.as_bytes().get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    assert!(!quoted.match_indices('%').any(|(at, _)| is_encoded(at)), "{text:?}");
    name
}

/// What holds for every name, the one for old clients too.
fn check_name(name: &str, id: SpaceId<'_>, extension: &str) {
    assert!(name.len() <= MAX_LEN, "{name:?}");
    let (stem, end) = name.split_at(name.len() - extension.len());
    assert!(end.eq_ignore_ascii_case(extension), "{name:?}");
    let stem = stem.strip_suffix('.').expect("a dot before the extension");
    assert!(!stem.is_empty());

    let mut before = ' ';
    for c in name.chars() {
        assert!(!r#""*/:<>?\|"#.contains(c), "{name:?}");
        let joins = matches!(c, '\u{200c}' | '\u{200d}') && !before.is_ascii();
        assert!(joins || !is_hidden(c), "{name:?}");
        assert!(!c.is_whitespace() || c == ' ' && before != ' ', "{name:?}");
        before = c;
    }
    let before_id = stem.strip_suffix(&id.to_string());
    if !before_id.is_some_and(|title| title.is_empty() || title.ends_with('_')) {
        assert!(!stem.starts_with(['.', '-', '~', ' ']), "{name:?}");
        assert!(!stem.ends_with(['.', '-', ' ', '\u{200c}', '\u{200d}']), "{name:?}");
    }
    let device = stem.split('.').next().expect("a first part").trim_end().to_ascii_uppercase();
    assert!(!["CON", "PRN", "AUX", "NUL", "COM1", "LPT9"].contains(&&*device), "{name:?}");
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
