//! The URI paths that candidate files have below the target.

use crate::format::MAX_EXTENSION_LEN;
use crate::request::SpaceId;

/// The path `<target><id>.<extension>`, in a buffer that is used for one extension after the other.
#[derive(Debug)]
pub struct CandidatePath<'b> {
    buffer: &'b mut [u8],
    stem_len: usize,
    len: usize,
}

impl<'b> CandidatePath<'b> {
    /// What the buffer has to hold, one after the other: the path up to the dot, and room for any
    /// extension.
    pub fn parts<'a>(target: &'a [u8], id: SpaceId<'a>) -> [&'a [u8]; 4] {
        [target, id.as_bytes(), b".", &[0; MAX_EXTENSION_LEN]]
    }

    /// Begins a path in a buffer that holds the [`parts`](Self::parts).
    pub fn new(buffer: &'b mut [u8]) -> Self {
        let stem_len = buffer.len().saturating_sub(MAX_EXTENSION_LEN);
        Self { buffer, stem_len, len: stem_len }
    }

    /// Puts an extension behind the dot. `None` if the buffer is too short.
    pub fn set_extension(&mut self, extension: &str) -> Option<()> {
        let len = self.stem_len + extension.len();
        self.buffer.get_mut(self.stem_len..len)?.copy_from_slice(extension.as_bytes());
        self.len = len;
        Some(())
    }

    /// The whole path.
    pub fn uri(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    /// Ends the use of the buffer for other extensions.
    pub fn into_uri(self) -> &'b [u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates() {
        let id = SpaceId::parse(b"1lDx").unwrap();
        let mut buffer = CandidatePath::parts(b"/downloads/", id).concat();
        let mut path = CandidatePath::new(&mut buffer);
        for (extension, uri) in [
            ("mp3", "/downloads/1lDx.mp3"),
            ("abcdefghijklmnop", "/downloads/1lDx.abcdefghijklmnop"),
            ("m", "/downloads/1lDx.m"),
        ] {
            assert_eq!(path.set_extension(extension), Some(()));
            assert_eq!(path.uri(), uri.as_bytes());
        }
        assert_eq!(path.set_extension("abcdefghijklmnopq"), None, "longer than any extension");
        assert_eq!(path.into_uri(), b"/downloads/1lDx.m");
        assert_eq!(CandidatePath::new(&mut []).set_extension("m"), None, "no room");
    }
}
