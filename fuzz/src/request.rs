//! Requests: three lines with the configured formats, the resource and the argument.

use model::format::{Formats, MAX_EXTENSION_LEN};
use model::request::{InvalidId, SpaceRequest};

use crate::is_id;

/// Reads the last two lines as a request, with the formats of the first line.
pub fn request(data: &[u8]) {
    let mut lines = data.splitn(3, |&b| b == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (words, resource, argument) = (line(), line(), line());

    let words = String::from_utf8_lossy(words);
    let formats = match Formats::parse(words.split(' ').filter(|word| !word.is_empty())) {
        Ok(formats) => formats,
        Err(error) => {
            assert!(!error.to_string().chars().any(|c| c.is_ascii_control()), "{error}");
            Formats::default()
        }
    };
    for format in formats.iter() {
        let extension = format.extension().as_bytes();
        assert!((1..=MAX_EXTENSION_LEN).contains(&extension.len()));
        assert!(extension.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'z')));
        let media_type = format.media_type();
        assert!(media_type.bytes().all(|b| b.is_ascii_graphic() && !b"\",;".contains(&b)));
        assert_eq!(media_type.matches('/').count(), 1);
    }

    let mut was_asked = false;
    let parsed = SpaceRequest::parse(resource, &formats, || {
        was_asked = true;
        Some(argument)
    });

    // The same in other words: at most one dot, an id before it and a word behind.
    let (id, suffix) = match resource.iter().position(|&b| b == b'.') {
        Some(dot) => (&resource[..dot], Some(&resource[dot + 1..])),
        None => (resource, None),
    };
    let is_word = |word: &[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_alphanumeric);
    if !is_id(id) || !suffix.is_none_or(is_word) {
        assert_eq!(parsed, Err(InvalidId));
        return;
    }
    let asked = parsed.expect("a valid resource");
    assert_eq!(asked.id.as_bytes(), id);
    assert_eq!(was_asked, suffix.is_none());

    let word = suffix.unwrap_or(argument).to_ascii_lowercase();
    let is_known = word.is_empty()
        || word == b"audio"
        || word == b"video"
        || formats.iter().any(|format| format.extension().as_bytes() == word);
    let Ok(selection) = asked.selection else {
        assert!(!is_known);
        return;
    };
    assert!(is_known);
    assert_eq!(formats.word(selection).as_bytes(), word);

    for format in formats.selected(selection) {
        assert!(formats.iter().any(|known| known == format));
    }
}
