//! Responses to a lookup: any status, encoding and content.

use model::entry::EntryBuf;
use model::lookup::{Decision, LookupError, LookupQuery, LookupResponse, decide};
use model::request::SpaceId;

use crate::catalog;
use crate::disposition::written;

const STATUSES: [usize; 16] =
    [200, 200, 200, 200, 200, 200, 0, 204, 206, 302, 401, 403, 404, 429, 451, 500];

const ENCODINGS: [Option<&[u8]>; 6] =
    [None, None, None, Some(b"identity"), Some(b"gzip"), Some(b"")];

/// Decides on a response: the first byte selects the status, the second the encoding, the rest is the
/// content. What it means has to follow from the contract alone.
pub fn lookup(data: &[u8]) {
    let [status, encoding, content @ ..] = data else { return };
    let status = STATUSES[usize::from(*status) % STATUSES.len()];
    let encoding = ENCODINGS[usize::from(*encoding) % ENCODINGS.len()];
    let plain = matches!(encoding, None | Some(b"identity" | b""));

    match decide(LookupResponse { status, encoding, content: Ok(content) }) {
        Ok(Decision::Undecided) => {
            assert!(status == 204 || (status == 200 && content.is_empty()), "{status}");
        }
        Ok(Decision::Denied(refusal)) => {
            assert!([401, 403, 404, 410, 429, 451].contains(&status), "{status}");
            assert_eq!(usize::try_from(refusal.code()), Ok(status));
        }
        Ok(Decision::Entry(entry)) => {
            assert!(status == 200 && plain, "{status} {encoding:?}");
            let text = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
            match serde_json::from_slice(text) {
                Ok(value) => catalog::entry(&value, entry.entry()),
                // Half a surrogate pair in the title.
                Err(_) => assert!(entry.entry().title.is_some()),
            }
        }
        Err(why) => {
            match &why {
                LookupError::Status(found) => assert!(*found == status && status != 200),
                LookupError::Encoded => assert!(status == 200 && !plain),
                LookupError::Invalid(error) => {
                    catalog::refused(error);
                    assert!(EntryBuf::parse(content).is_err());
                }
                _ => panic!("{why:?}"),
            }
            // The message is one line of a log.
            assert!(!why.to_string().chars().any(char::is_control), "{why}");
        }
    }
    query(content);
}

/// The query string gives back the id and the format.
fn query(data: &[u8]) {
    let end = data.len().min(128);
    let Some(id) = SpaceId::parse(&data[..end]) else { return };
    for format in ["", "mp3", "audio"] {
        let expected = [b"id=", id.as_bytes(), b"&format=", format.as_bytes()].concat();
        assert_eq!(written(&LookupQuery { id, format }).as_bytes(), expected);
    }
}
