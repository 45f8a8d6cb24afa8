//! What the response of a store becomes for a client.

/// What a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// The store's response: an object, a part of it, or that it was not changed.
    Pass,
    /// An error page with this status in its place: a page of the store names bucket and object.
    Error(i16),
}

impl Response {
    /// The response for a status of the store.
    ///
    /// What the client may have caused keeps its status, and so do failures of the store. Anything else
    /// is about requests of this server, as redirects to another region are: 502.
    pub fn of(status: i16) -> Self {
        match status {
            200 | 206 | 304 => Self::Pass,
            403 | 404 | 412 | 416 | 500 | 502..=504 => Self::Error(status),
            _ => Self::Error(502),
        }
    }
}

/// The code of an error in the beginning of a page of the store: what is in its element `Code`. Only one
/// that consists of letters and digits counts.
pub fn error_code(page: &[u8]) -> Option<&str> {
    const START: &[u8] = b"<Code>";
    let at = page.windows(START.len()).position(|window| window == START)?;
    let text = page.get(at + START.len()..)?;
    let code = text.get(..text.iter().position(|&b| b == b'<')?)?;
    let is_code = (1..=64).contains(&code.len()) && code.iter().all(u8::is_ascii_alphanumeric);
    core::str::from_utf8(code).ok().filter(|_| is_code)
}
