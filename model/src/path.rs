//! The URI paths that candidate files have below the target.

use crate::format::MAX_EXTENSION_LEN;
use crate::request::SpaceId;

/// The path `<target><file>`, in a buffer.
///
/// # Errors
///
/// `None` if the buffer is not just as long as both.
pub fn named_path<'b>(buffer: &'b mut [u8], target: &[u8], file: &str) -> Option<&'b [u8]> {
    let (head, tail) = buffer.split_at_mut_checked(target.len())?;
    if tail.len() != file.len() {
        return None;
    }
    head.copy_from_slice(target);
    tail.copy_from_slice(file.as_bytes());
    Some(buffer)
}

/// The path `<target><id>.<extension>`, in a buffer that is used for one extension after the other.
#[derive(Debug)]
pub struct CandidatePath<'b> {
    buffer: &'b mut [u8],
    stem_len: usize,
    len: usize,
}

impl<'b> CandidatePath<'b> {
    /// How long the buffer has to be, in bytes.
    pub fn buffer_len(target: &[u8], id: SpaceId<'_>) -> usize {
        target.len() + id.as_bytes().len() + 1 + MAX_EXTENSION_LEN
    }

    /// Begins a path. `None` if the buffer is too short.
    pub fn new(buffer: &'b mut [u8], target: &[u8], id: SpaceId<'_>) -> Option<Self> {
        let target_len = target.len();
        let stem_len = target_len + id.as_bytes().len() + 1;
        let (head, rest) = buffer.split_at_mut_checked(target_len)?;
        let (name, rest) = rest.split_at_mut_checked(id.as_bytes().len())?;
        head.copy_from_slice(target);
        name.copy_from_slice(id.as_bytes());
        *rest.first_mut()? = b'.';
        Some(Self { buffer, stem_len, len: stem_len })
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
    fn named_files() {
        let mut buffer = [0; 8];
        assert_eq!(named_path(&mut buffer, b"/d/", "a/b.c"), Some(&b"/d/a/b.c"[..]));
        for len in [0, 2, 7, 9] {
            assert_eq!(named_path(&mut vec![0; len], b"/d/", "a/b.c"), None, "{len}");
        }
    }

    #[test]
    fn candidates() {
        let id = SpaceId::parse(b"1lDx").unwrap();
        let mut buffer = vec![0; CandidatePath::buffer_len(b"/downloads/", id)];
        let mut path = CandidatePath::new(&mut buffer, b"/downloads/", id).unwrap();
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
        assert!(CandidatePath::new(&mut [0; 15], b"/downloads/", id).is_none());
    }
}
