//! The lookup: what an application is asked about a space, and what its answer means.

use core::fmt;

use crate::catalog::{Catalog, CatalogError};
use crate::request::SpaceId;

/// Fields of the client's request that are not part of the question: they speak of the response
/// to the client (RFC 9110, sections 13, 14 and 12.5.3), of the request's content (sections 8 and
/// 6.5), or of its connection (section 7.6.1).
const LEFT_OUT: [&str; 13] = [
    "Range",
    "Accept-Encoding",
    "Content-Length",
    "Transfer-Encoding",
    "Trailer",
    "Expect",
    "Connection",
    "Proxy-Connection",
    "Keep-Alive",
    "Upgrade",
    "TE",
    "Content-Encoding",
    "Content-Range",
];

/// Whether a field of the client's request is part of the question. `Cookie` and `Authorization`
/// are; what would make the answer depend on the part of the file that is asked for is not.
pub fn forwards_field(name: &[u8]) -> bool {
    let is_condition = name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"If-"));
    !is_condition && !LEFT_OUT.iter().any(|left| name.eq_ignore_ascii_case(left.as_bytes()))
}

/// The query string of the question: `id=<id>&format=<word>`.
#[derive(Clone, Copy, Debug)]
pub struct LookupQuery<'a> {
    /// The space.
    pub id: SpaceId<'a>,
    /// The format asked for, a word of the configuration; empty if none is.
    pub format: &'a str,
}

impl LookupQuery<'_> {
    const PARTS: [&'static [u8]; 2] = [b"id=", b"&format="];

    /// How long the buffer has to be, in bytes.
    pub fn buffer_len(&self) -> usize {
        Self::PARTS.iter().map(|part| part.len()).sum::<usize>()
            + self.id.as_bytes().len()
            + self.format.len()
    }

    /// Writes the query string to a buffer; `None` if that is not just as long.
    pub fn write<'b>(&self, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let [id, format] = Self::PARTS;
        let mut rest = &mut *buffer;
        for part in [id, self.id.as_bytes(), format, self.format.as_bytes()] {
            let (place, behind) = rest.split_at_mut_checked(part.len())?;
            place.copy_from_slice(part);
            rest = behind;
        }
        rest.is_empty().then_some(buffer)
    }
}

/// A refusal by the application, which the client gets as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(i16);

impl Refusal {
    const STATUSES: [i16; 6] = [401, 403, 404, 410, 429, 451];

    fn of(status: usize) -> Option<Self> {
        Self::STATUSES.into_iter().find(|&known| usize::try_from(known) == Ok(status)).map(Self)
    }

    /// The status code (RFC 9110, section 15; RFC 6585; RFC 7725).
    pub fn code(self) -> i16 {
        self.0
    }

    /// The field of the application's answer that goes with the status: the challenge of a 401
    /// (RFC 9110, section 11.6.1), the time to wait of a 429 (RFC 6585, section 4).
    pub fn field(self) -> Option<&'static str> {
        match self.0 {
            401 => Some("WWW-Authenticate"),
            429 => Some("Retry-After"),
            _ => None,
        }
    }
}

/// An answer, as far as it has come.
#[derive(Clone, Copy, Debug)]
pub struct LookupResponse<'a> {
    /// The status code; 0 if there is none.
    pub status: usize,
    /// The value of Content-Encoding.
    pub encoding: Option<&'a [u8]>,
    /// The content of a 200.
    pub content: Result<&'a [u8], ContentError>,
}

/// Why the content of an answer is not there as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentError {
    /// It ended too early.
    Incomplete,
    /// It is larger than this limit, in bytes.
    TooLarge(usize),
    /// It is empty, and nothing says that it is meant to be.
    Unframed,
    /// It is not in memory.
    Unreadable,
}

/// What an answer means.
#[derive(Debug)]
pub enum Decision {
    /// The entry of the space, in place of the catalog's: a catalog of this one.
    Entry(Catalog),
    /// Catalog and directory decide.
    Undecided,
    /// The client is refused.
    Denied(Refusal),
}

/// Why an answer is none. The client gets 502.
#[derive(Debug)]
pub enum LookupError {
    /// The status says nothing of the space.
    Status(usize),
    /// The answer leads elsewhere, by X-Accel-Redirect.
    Redirected,
    /// The lookup has come to a location that serves spaces itself.
    Circle,
    /// The content is not there as a whole.
    ContentError(ContentError),
    /// The content is encoded.
    Encoded,
    /// The content is no entry.
    Invalid(CatalogError),
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(0) => f.write_str("there is no answer"),
            Self::Status(status) => write!(f, "the answer has status {status}"),
            Self::Redirected => f.write_str("the answer has \"X-Accel-Redirect\""),
            Self::Circle => f.write_str("it leads to a location that has \"xspace_download\""),
            Self::ContentError(ContentError::Incomplete) => {
                f.write_str("the answer is not complete")
            }
            Self::ContentError(ContentError::TooLarge(limit)) => write!(
                f,
                "the answer is larger than \"subrequest_output_buffer_size\" of its location, \
                 {limit} bytes"
            ),
            Self::ContentError(ContentError::Unframed) => f.write_str(
                "the answer is empty and has no \"Content-Length\" (with status 204 it needs none)",
            ),
            Self::ContentError(ContentError::Unreadable) => {
                f.write_str("the answer is not in memory")
            }
            Self::Encoded => f.write_str("the answer has \"Content-Encoding\""),
            Self::Invalid(error) => write!(f, "the answer is no entry: {error}"),
        }
    }
}

impl core::error::Error for LookupError {}

/// Says what an answer about a space means.
///
/// # Errors
///
/// Why it means nothing: nothing is served then.
pub fn decide(id: SpaceId<'_>, answer: LookupResponse<'_>) -> Result<Decision, LookupError> {
    if answer.status == 204 {
        return Ok(Decision::Undecided);
    }
    if let Some(denial) = Refusal::of(answer.status) {
        return Ok(Decision::Denied(denial));
    }
    if answer.status != 200 {
        return Err(LookupError::Status(answer.status));
    }
    match answer.content.map_err(LookupError::ContentError)? {
        [] => Ok(Decision::Undecided),
        _ if answer.encoding.is_some_and(is_encoded) => Err(LookupError::Encoded),
        json => Catalog::read_entry(id, json).map(Decision::Entry).map_err(LookupError::Invalid),
    }
}

fn is_encoded(encoding: &[u8]) -> bool {
    !encoding.is_empty() && !encoding.eq_ignore_ascii_case(b"identity")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> SpaceId<'static> {
        SpaceId::parse(b"1lDx").unwrap()
    }

    #[test]
    fn fields_of_the_question() {
        for name in ["Cookie", "Authorization", "User-Agent", "X-If-None", "Accept", "Host", "I"] {
            assert!(forwards_field(name.as_bytes()), "{name}");
        }
        for name in ["range", "If-Range", "IF-NONE-MATCH", "te", "content-length", "Upgrade"] {
            assert!(!forwards_field(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn questions() {
        for (format, expected) in [("", "id=1lDx&format="), ("audio", "id=1lDx&format=audio")] {
            let question = LookupQuery { id: id(), format };
            let mut buffer = vec![0; question.buffer_len()];
            assert_eq!(question.write(&mut buffer), Some(expected.as_bytes()));
            for len in [0, question.buffer_len() - 1, question.buffer_len() + 1] {
                assert_eq!(question.write(&mut vec![0; len]), None, "{len}");
            }
        }
    }

    /// What the client gets: `file` for an entry, else a status, 0 for the directory's turn.
    fn outcome(status: usize, content: &[u8], encoding: Option<&str>) -> (String, i16) {
        let encoding = encoding.map(str::as_bytes);
        match decide(id(), LookupResponse { status, encoding, content: Ok(content) }) {
            Ok(Decision::Entry(entries)) => {
                let entry = entries.get(id()).unwrap().unwrap();
                (entry.files().collect::<Vec<_>>().join(" "), 200)
            }
            Ok(Decision::Undecided) => (String::new(), 0),
            Ok(Decision::Denied(denial)) => (denial.field().unwrap_or("").into(), denial.code()),
            Err(no_answer) => (no_answer.to_string(), 502),
        }
    }

    #[test]
    fn verdicts() {
        let rows = [
            (200, r#""a/b.mp3""#, None, "a/b.mp3", 200),
            (200, r#"{"files": ["a.mp3", "b.mp4"], "title": "x"}"#, None, "a.mp3 b.mp4", 200),
            (200, r#"{"title": "x"}"#, None, "", 200),
            (200, r#"{"title": null, "files": ["a.mp3"], "status": null}"#, None, "a.mp3", 200),
            (200, "\u{feff}\"a.mp3\"", None, "a.mp3", 200),
            (200, r#"{"title": "\ud83c", "files": ["a.mp3"]}"#, None, "a.mp3", 200),
            (200, r#""a.mp3""#, Some("identity"), "a.mp3", 200),
            (200, r#""a.mp3""#, Some("gzip"), "the answer has \"Content-Encoding\"", 502),
            (200, "", None, "", 0),
            (200, "", Some("gzip"), "", 0),
            (204, "ignored", None, "", 0),
            (401, "<html>", None, "WWW-Authenticate", 401),
            (403, "", None, "", 403),
            (404, "", None, "", 404),
            (410, "", None, "", 410),
            (429, "", None, "Retry-After", 429),
            (451, "", None, "", 451),
            (0, "", None, "there is no answer", 502),
            (206, r#""a.mp3""#, None, "the answer has status 206", 502),
            (302, "", None, "the answer has status 302", 502),
            (500, "", None, "the answer has status 500", 502),
            (502, "", None, "the answer has status 502", 502),
        ];
        for (status, content, encoding, what, code) in rows {
            let found = outcome(status, content.as_bytes(), encoding);
            assert_eq!(found, (what.to_owned(), code), "{status} {content} {encoding:?}");
        }
        for content in [
            "<html>",
            "{",
            r#"{"files": "/etc/passwd"}"#,
            r#""../x.mp3""#,
            "\n",
            "[]",
            "null",
            r#""\ud83c.mp3""#,
            r#"{"title": "\ud83c", "files": ["\ud83c"]}"#,
            r#"{"files": [null]}"#,
        ] {
            let (message, code) = outcome(200, content.as_bytes(), None);
            assert!(message.starts_with("the answer is no entry: "), "{content}: {message}");
            assert_eq!(code, 502, "{content}");
        }
        let utf_16 = "it is UTF-16, UTF-8 is expected";
        let rows: [(&[u8], &str); 6] = [
            (b"\x1f\x8b\x08\0\0", "it is compressed with gzip"),
            (b"\xff\xfe\"\0a\0\"\0", utf_16),
            (b"\xfe\xff\0{\0}", utf_16),
            (b"{\0}\0", utf_16),
            (b"\0\"\0a\0\"", utf_16),
            (b"\"\0a\0\"\0", utf_16),
        ];
        for (content, message) in rows {
            let expected = (format!("the answer is no entry: {message}"), 502);
            assert_eq!(outcome(200, content, None), expected, "{content:?}");
        }
    }

    #[test]
    fn faults() {
        for (fault, message) in [
            (ContentError::Incomplete, "the answer is not complete"),
            (
                ContentError::TooLarge(4096),
                "the answer is larger than \"subrequest_output_buffer_size\" of its location, \
                 4096 bytes",
            ),
            (
                ContentError::Unframed,
                "the answer is empty and has no \"Content-Length\" (with status 204 it needs none)",
            ),
            (ContentError::Unreadable, "the answer is not in memory"),
        ] {
            let answer = LookupResponse { status: 200, encoding: None, content: Err(fault) };
            assert_eq!(decide(id(), answer).unwrap_err().to_string(), message);
        }
        let answer =
            LookupResponse { status: 403, encoding: None, content: Err(ContentError::Incomplete) };
        assert!(matches!(decide(id(), answer), Ok(Decision::Denied(_))), "the status is enough");
    }
}
