//! The lookup: the request to an application about a space, and what its response means.

use core::fmt;

use crate::catalog::ReadError;
use crate::entry::EntryBuf;
use crate::request::SpaceId;
use crate::text::Pieces;

/// Fields of the client's request that are not forwarded: they are about the response to the client
/// (RFC 9110, sections 13, 14 and 12.5.3), the request's content (sections 8 and 6.5), or its
/// connection (section 7.6.1).
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

/// Whether a field of the client's request is forwarded. `Cookie` and `Authorization` are; what would
/// make the response depend on the requested part of the file is not.
pub fn forwards_field(name: &[u8]) -> bool {
    let is_condition = name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"If-"));
    !is_condition && !LEFT_OUT.iter().any(|left| name.eq_ignore_ascii_case(left.as_bytes()))
}

/// The query string of the lookup: `id=<id>&format=<word>`.
#[derive(Clone, Copy, Debug)]
pub struct LookupQuery<'a> {
    /// The space.
    pub id: SpaceId<'a>,
    /// The requested format, a word of the configuration; empty if there is none.
    pub format: &'a str,
}

impl Pieces for LookupQuery<'_> {
    fn write(&self, mut out: impl FnMut(&[u8])) {
        out(b"id=");
        out(self.id.as_bytes());
        out(b"&format=");
        out(self.format.as_bytes());
    }
}

/// A refusal by the application, passed on to the client.
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

    /// The field of the application's response that goes with the status: the challenge of a 401
    /// (RFC 9110, section 11.6.1), the time to wait of a 429 (RFC 6585, section 4).
    pub fn field(self) -> Option<&'static str> {
        match self.0 {
            401 => Some("WWW-Authenticate"),
            429 => Some("Retry-After"),
            _ => None,
        }
    }
}

/// A response, as far as it was received.
#[derive(Clone, Copy, Debug)]
pub struct LookupResponse<'a> {
    /// The status code; 0 if there is none.
    pub status: usize,
    /// The value of Content-Encoding.
    pub encoding: Option<&'a [u8]>,
    /// The content of a 200.
    pub content: Result<&'a [u8], ContentError>,
}

/// Why the content of a response is not there as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentError {
    /// It ended too early.
    Incomplete,
    /// It is larger than this limit, in bytes.
    TooLarge(usize),
    /// It is empty, and nothing tells whether it was cut off.
    Unframed,
    /// It is not in memory.
    Unreadable,
}

/// What a response means.
#[derive(Debug)]
pub enum Decision {
    /// The entry of the space, in place of the catalog's.
    Entry(EntryBuf),
    /// Catalog and directory decide.
    Undecided,
    /// The client is refused.
    Denied(Refusal),
}

/// Why a response can't be used. The client gets 502.
#[derive(Debug)]
pub enum LookupError<'a> {
    /// The status has no meaning for a space.
    Status(usize),
    /// The response leads elsewhere, by X-Accel-Redirect.
    Redirected,
    /// The lookup has come to a location that serves spaces itself.
    Circle,
    /// The content is not there as a whole.
    ContentError(ContentError),
    /// The content is encoded.
    Encoded,
    /// The content is not an entry, or there is no memory to read it.
    Invalid(ReadError<'a>),
}

impl fmt::Display for LookupError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(0) => f.write_str("no response"),
            Self::Status(status) => write!(f, "invalid response: status {status}"),
            Self::Redirected => f.write_str("invalid response: it has \"X-Accel-Redirect\""),
            Self::Circle => f.write_str("it leads to a location with \"xspace_download\""),
            Self::ContentError(error) => error.fmt(f),
            Self::Encoded => f.write_str("invalid response: it has \"Content-Encoding\""),
            Self::Invalid(error) => write!(f, "invalid response: {error}"),
        }
    }
}

impl fmt::Display for ContentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => f.write_str("incomplete response"),
            Self::TooLarge(limit) => write!(
                f,
                "response larger than \"subrequest_output_buffer_size\" of its location, \
                 {limit} bytes"
            ),
            Self::Unframed => f.write_str(
                "empty response with status 200 and without \"Content-Length\" (204 needs none)",
            ),
            Self::Unreadable => f.write_str("response is not in memory"),
        }
    }
}

impl core::error::Error for LookupError<'_> {}

/// Decides what a response means.
///
/// # Errors
///
/// Why it means nothing: nothing is served then.
pub fn decide(response: LookupResponse<'_>) -> Result<Decision, LookupError<'_>> {
    if response.status == 204 {
        return Ok(Decision::Undecided);
    }
    if let Some(refusal) = Refusal::of(response.status) {
        return Ok(Decision::Denied(refusal));
    }
    if response.status != 200 {
        return Err(LookupError::Status(response.status));
    }
    match response.content.map_err(LookupError::ContentError)? {
        [] => Ok(Decision::Undecided),
        _ if response.encoding.is_some_and(is_encoded) => Err(LookupError::Encoded),
        json => EntryBuf::parse(json).map(Decision::Entry).map_err(LookupError::Invalid),
    }
}

fn is_encoded(encoding: &[u8]) -> bool {
    !encoding.is_empty() && !encoding.eq_ignore_ascii_case(b"identity")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filename::tests::written;

    fn id() -> SpaceId<'static> {
        SpaceId::parse(b"1lDx").unwrap()
    }

    #[test]
    fn forwarded_fields() {
        for name in ["Cookie", "Authorization", "User-Agent", "X-If-None", "Accept", "Host", "I"] {
            assert!(forwards_field(name.as_bytes()), "{name}");
        }
        for name in ["range", "If-Range", "IF-NONE-MATCH", "te", "content-length", "Upgrade"] {
            assert!(!forwards_field(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn queries() {
        for (format, expected) in [("", "id=1lDx&format="), ("audio", "id=1lDx&format=audio")] {
            assert_eq!(written(&LookupQuery { id: id(), format }), expected);
        }
    }

    /// What the client gets: `file` for an entry, else a status, 0 for the directory's turn.
    fn outcome(status: usize, content: &[u8], encoding: Option<&str>) -> (String, i16) {
        let encoding = encoding.map(str::as_bytes);
        match decide(LookupResponse { status, encoding, content: Ok(content) }) {
            Ok(Decision::Entry(entry)) => {
                let files = entry.entry().files().collect::<Vec<_>>().join(&b' ');
                (String::from_utf8(files).unwrap(), 200)
            }
            Ok(Decision::Undecided) => (String::new(), 0),
            Ok(Decision::Denied(refusal)) => (refusal.field().unwrap_or("").into(), refusal.code()),
            Err(error) => (error.to_string(), 502),
        }
    }

    #[test]
    fn decisions() {
        let rows = [
            (200, r#""a/b.mp3""#, None, "a/b.mp3", 200),
            (200, r#"{"files": ["a.mp3", "b.mp4"], "title": "x"}"#, None, "a.mp3 b.mp4", 200),
            (200, r#"{"title": "x"}"#, None, "", 200),
            (200, r#"{"title": null, "files": ["a.mp3"], "status": null}"#, None, "a.mp3", 200),
            (200, "\u{feff}\"a.mp3\"", None, "a.mp3", 200),
            (200, r#"{"title": "\ud83c", "files": ["a.mp3"]}"#, None, "a.mp3", 200),
            (200, r#""a.mp3""#, Some("identity"), "a.mp3", 200),
            (200, r#""a.mp3""#, Some("gzip"), "invalid response: it has \"Content-Encoding\"", 502),
            (200, "", None, "", 0),
            (200, "", Some("gzip"), "", 0),
            (204, "ignored", None, "", 0),
            (401, "<html>", None, "WWW-Authenticate", 401),
            (403, "", None, "", 403),
            (404, "", None, "", 404),
            (410, "", None, "", 410),
            (429, "", None, "Retry-After", 429),
            (451, "", None, "", 451),
            (0, "", None, "no response", 502),
            (206, r#""a.mp3""#, None, "invalid response: status 206", 502),
            (302, "", None, "invalid response: status 302", 502),
            (500, "", None, "invalid response: status 500", 502),
            (502, "", None, "invalid response: status 502", 502),
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
            assert!(message.starts_with("invalid response: "), "{content}: {message}");
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
            let expected = (format!("invalid response: {message}"), 502);
            assert_eq!(outcome(200, content, None), expected, "{content:?}");
        }
    }

    #[test]
    fn content_errors() {
        for (error, message) in [
            (ContentError::Incomplete, "incomplete response"),
            (
                ContentError::TooLarge(4096),
                "response larger than \"subrequest_output_buffer_size\" of its location, 4096 bytes",
            ),
            (
                ContentError::Unframed,
                "empty response with status 200 and without \"Content-Length\" (204 needs none)",
            ),
            (ContentError::Unreadable, "response is not in memory"),
        ] {
            let response = LookupResponse { status: 200, encoding: None, content: Err(error) };
            assert_eq!(decide(response).unwrap_err().to_string(), message);
        }
        let response =
            LookupResponse { status: 403, encoding: None, content: Err(ContentError::Incomplete) };
        assert!(matches!(decide(response), Ok(Decision::Denied(_))), "the status is enough");
    }
}
