//! File name extensions, their media types, and which of them a request accepts.

use core::{fmt, slice};

/// Extensions and media types that need no `=type`.
///
/// `mime.types` of most installations lacks some of these, and players refuse a recording that
/// arrives as `application/octet-stream`.
const KNOWN: &[(&str, &str)] = &[
    ("mp3", "audio/mpeg"),
    ("m4a", "audio/mp4"),
    ("m4b", "audio/mp4"),
    ("aac", "audio/aac"),
    ("wav", "audio/wav"),
    ("ogg", "audio/ogg"),
    ("oga", "audio/ogg"),
    ("opus", "audio/ogg"),
    ("flac", "audio/flac"),
    ("weba", "audio/webm"),
    ("mp4", "video/mp4"),
    ("m4v", "video/mp4"),
    ("webm", "video/webm"),
    ("mkv", "video/x-matroska"),
    ("mov", "video/quicktime"),
];

/// The formats of a location that does not name its own, in order of preference.
const DEFAULT: [&str; 4] = ["mp3", "m4a", "wav", "mp4"];

/// The longest extension, in bytes.
pub const MAX_EXTENSION_LEN: usize = 16;

/// The words that select a class of types.
const AUDIO: &str = "audio";
const VIDEO: &str = "video";

/// A format: a file name extension and what it is served as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    extension: Box<str>,
    media_type: Box<str>,
}

impl Format {
    /// Reads `ext` or `ext=type/subtype`.
    fn parse(word: &str) -> Result<Self, FormatError> {
        let (extension, media_type) = match word.split_once('=') {
            Some((extension, media_type)) => (extension, Some(media_type)),
            None => (word, None),
        };
        let extension = extension.to_ascii_lowercase();
        let reserved = extension == AUDIO || extension == VIDEO;
        let valid = (1..=MAX_EXTENSION_LEN).contains(&extension.len())
            && extension.bytes().all(|b| b.is_ascii_alphanumeric());
        if reserved || !valid {
            return Err(FormatError::Invalid(word.into()));
        }

        let media_type = match media_type {
            Some(given) if is_media_type(given) => given,
            Some(_) => return Err(FormatError::Invalid(word.into())),
            None => KNOWN
                .iter()
                .find_map(|(known, media_type)| (*known == extension).then_some(*media_type))
                .ok_or_else(|| FormatError::UnknownType(extension.as_str().into()))?,
        };

        Ok(Self { extension: extension.into(), media_type: media_type.into() })
    }

    /// The extension without its dot, in lower case.
    pub fn extension(&self) -> &str {
        &self.extension
    }

    /// The media type (RFC 9110, section 8.3.1).
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    fn is_of_class(&self, class: &str) -> bool {
        self.media_type.split_once('/').is_some_and(|(kind, _)| kind.eq_ignore_ascii_case(class))
    }
}

/// Whether a path ends in a dot and this extension; case does not matter.
pub fn has_extension(path: &[u8], extension: &str) -> bool {
    path.len().checked_sub(extension.len()).and_then(|at| path.split_at_checked(at)).is_some_and(
        |(stem, found)| {
            // Nearly always it is in lower case, which is found out sooner.
            let is = |(a, b): (&u8, &u8)| a == b || a.eq_ignore_ascii_case(b);
            stem.last() == Some(&b'.') && found.iter().zip(extension.as_bytes()).all(is)
        },
    )
}

/// `type/subtype` of RFC 9110's tokens, without parameters.
fn is_media_type(value: &str) -> bool {
    let is_token = |s: &str| {
        !s.is_empty()
            && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    value.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

/// Why a list of formats is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// Not `ext` or `ext=type/subtype`, or an extension that has a meaning of its own.
    Invalid(Box<str>),
    /// The media type of the extension is neither given nor known.
    UnknownType(Box<str>),
    /// The extension is named twice.
    Duplicate(Box<str>),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(word) => write!(f, "invalid format \"{}\"", word.escape_debug()),
            Self::UnknownType(extension) => write!(
                f,
                "format \"{extension}\" has no known media type, write \"{extension}=type/subtype\""
            ),
            Self::Duplicate(extension) => write!(f, "duplicate format \"{extension}\""),
        }
    }
}

impl core::error::Error for FormatError {}

/// The formats of a location, in order of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formats(Box<[Format]>);

impl Default for Formats {
    fn default() -> Self {
        Self(DEFAULT.iter().filter_map(|word| Format::parse(word).ok()).collect())
    }
}

impl Formats {
    /// Reads a list of formats, each `ext` or `ext=type/subtype`.
    ///
    /// # Errors
    ///
    /// The first word that is not valid.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, FormatError> {
        let mut formats: Vec<Format> = Vec::new();
        for word in words {
            let format = Format::parse(word)?;
            if formats.iter().any(|f| f.extension == format.extension) {
                return Err(FormatError::Duplicate(format.extension));
            }
            formats.push(format);
        }
        Ok(Self(formats.into()))
    }

    /// The formats, the preferred one first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Format> {
        self.0.iter()
    }

    /// The format at a place in the list.
    pub fn nth(&self, index: usize) -> Option<&Format> {
        self.0.get(index)
    }

    /// The formats that a word selects: all for an empty word, those of a type for `audio` and
    /// `video`, else the one with that extension. Case does not matter. `None`: no such format.
    pub fn select(&self, word: &[u8]) -> Option<Selection> {
        if word.is_empty() {
            return Some(Selection::All);
        }
        if word.eq_ignore_ascii_case(AUDIO.as_bytes()) {
            return Some(Selection::Audio);
        }
        if word.eq_ignore_ascii_case(VIDEO.as_bytes()) {
            return Some(Selection::Video);
        }
        let mut formats = self.0.iter();
        formats
            .position(|format| word.eq_ignore_ascii_case(format.extension.as_bytes()))
            .map(Selection::One)
    }

    /// The selected formats, the preferred one first.
    pub fn selected(&self, selection: Selection) -> impl Iterator<Item = &Format> {
        let (formats, class) = match selection {
            Selection::All => (&*self.0, None),
            Selection::Audio => (&*self.0, Some(AUDIO)),
            Selection::Video => (&*self.0, Some(VIDEO)),
            Selection::One(index) => (self.nth(index).map_or(&[][..], slice::from_ref), None),
        };
        formats.iter().filter(move |format| class.is_none_or(|class| format.is_of_class(class)))
    }

    /// The word for a selection, in lower case: empty for [`Selection::All`].
    pub fn word(&self, selection: Selection) -> &str {
        match selection {
            Selection::All => "",
            Selection::Audio => AUDIO,
            Selection::Video => VIDEO,
            Selection::One(index) => self.nth(index).map_or("", Format::extension),
        }
    }
}

/// Which of the [`Formats`] a request accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Any.
    All,
    /// Those with a type of `audio/…`.
    Audio,
    /// Those with a type of `video/…`.
    Video,
    /// The one at this place in the list.
    One(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Formats, FormatError> {
        Formats::parse(words.iter().copied())
    }

    fn extensions(formats: &Formats, selection: Selection) -> Vec<&str> {
        formats.selected(selection).map(Format::extension).collect()
    }

    #[test]
    fn default_order() {
        let formats = Formats::default();
        assert_eq!(extensions(&formats, Selection::All), DEFAULT);
        assert_eq!(Some(formats), parse(&DEFAULT).ok());
    }

    #[test]
    fn known_types() {
        for (extension, media_type) in KNOWN {
            let formats = parse(&[extension]).unwrap();
            assert_eq!(formats.nth(0).unwrap().media_type(), *media_type, "{extension}");
        }
    }

    #[test]
    fn lists() {
        type Row<'a> = (&'a [&'a str], Result<&'a [&'a str], &'a str>);
        let rows: &[Row<'_>] = &[
            (&["MP3", "wav"], Ok(&["mp3=audio/mpeg", "wav=audio/wav"])),
            (&["xyz=audio/x-xyz"], Ok(&["xyz=audio/x-xyz"])),
            (&["mp3=audio/x-own"], Ok(&["mp3=audio/x-own"])),
            (&["mp3", "MP3"], Err("duplicate format \"mp3\"")),
            (&["xyz"], Err("format \"xyz\" has no known media type, write \"xyz=type/subtype\"")),
            (&[".mp3"], Err("invalid format \".mp3\"")),
            (&[""], Err("invalid format \"\"")),
            (&["audio"], Err("invalid format \"audio\"")),
            (&["Video=video/mp4"], Err("invalid format \"Video=video/mp4\"")),
            (&["a/b"], Err("invalid format \"a/b\"")),
            (&["mp3="], Err("invalid format \"mp3=\"")),
            (&["mp3=audio"], Err("invalid format \"mp3=audio\"")),
            (&["mp3=audio/"], Err("invalid format \"mp3=audio/\"")),
            (&["mp3=audio/a b"], Err("invalid format \"mp3=audio/a b\"")),
            (&["mp3=audio/a\r\nX: y"], Err("invalid format \"mp3=audio/a\\r\\nX: y\"")),
            (&["abcdefghijklmnopq=a/b"], Err("invalid format \"abcdefghijklmnopq=a/b\"")),
        ];
        for (words, expected) in rows {
            let formats = parse(words);
            let shown = formats.map(|formats| {
                formats
                    .iter()
                    .map(|f| format!("{}={}", f.extension(), f.media_type()))
                    .collect::<Vec<_>>()
            });
            let expected = expected.map(|e| e.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
            assert_eq!(shown.map_err(|e| e.to_string()), expected.map_err(str::to_owned));
        }
    }

    #[test]
    fn extensions_of_paths() {
        for (path, is) in [
            ("a.mp3", true),
            ("2025/06/a.b.MP3", true),
            ("ä.mp3", true),
            (".mp3", true),
            ("a.mp3/b", false),
            ("a.mp4", false),
            ("amp3", false),
            ("mp3", false),
            ("p3", false),
            ("a.mp3.", false),
            ("", false),
        ] {
            assert_eq!(has_extension(path.as_bytes(), "mp3"), is, "{path}");
        }
    }

    #[test]
    fn selections() {
        let formats = parse(&["mp3", "mp4", "wav", "bin=application/x-bin"]).unwrap();
        let rows: &[(&str, Option<&[&str]>, &str)] = &[
            ("", Some(&["mp3", "mp4", "wav", "bin"]), ""),
            ("audio", Some(&["mp3", "wav"]), "audio"),
            ("VIDEO", Some(&["mp4"]), "video"),
            ("Wav", Some(&["wav"]), "wav"),
            ("bin", Some(&["bin"]), "bin"),
            ("flac", None, ""),
            ("mp", None, ""),
        ];
        for (word, expected, shown) in rows {
            let selection = formats.select(word.as_bytes());
            let found = selection.map(|s| extensions(&formats, s));
            assert_eq!(found.as_deref(), *expected, "{word}");
            assert_eq!(selection.map_or("", |s| formats.word(s)), *shown, "{word}");
        }
        assert!(extensions(&formats, Selection::One(9)).is_empty());
        assert_eq!(formats.word(Selection::One(9)), "");
    }
}
