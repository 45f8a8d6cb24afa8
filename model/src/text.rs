//! Text from outside: titles, paths, names. Which of its characters are visible, and how it is written
//! to messages.

use core::fmt::{self, Write};
use std::io::BufRead;

/// ZERO WIDTH NON-JOINER and ZERO WIDTH JOINER. They are hidden, but Persian, Hindi and other
/// languages spell words with them, and emoji are put together with them.
pub(crate) const JOINERS: [char; 2] = ['\u{200c}', '\u{200d}'];

/// The place of a byte, found by the C library's `memchr()`: a loop here takes several instructions for
/// each byte of a query string or a field.
pub(crate) fn find_byte(bytes: &[u8], byte: u8) -> Option<usize> {
    // Reading from memory does not fail.
    let end = { bytes }.skip_until(byte).ok()?.checked_sub(1)?;
    (bytes.get(end) == Some(&byte)).then_some(end)
}

/// Whether a character is invisible, or changes how the text around it is shown.
///
/// These are the control characters (general category Cc), what separates lines and paragraphs (Zl,
/// Zp), the characters that turn the direction of writing (Bidi_Control), and all that a program
/// shows nothing for (Default_Ignorable_Code_Point: zero width characters, tags, variation
/// selectors, Hangul fillers and the like; Unicode Standard, section 5.21), with the marks of
/// interlinear annotation. White space is not hidden, unless it is a control character or U+2028
/// or U+2029.
pub fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\0'..='\x1f'
            | '\x7f'..='\u{9f}'
            | '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Whether a character is a combining mark that belongs to the letter before it: an accent, a vowel
/// sign, a tone mark (general categories Mn and Mc). Marks that enclose (Me) are no part of a
/// word's spelling.
pub(crate) fn is_mark(c: char) -> bool {
    let c = u32::from(c);
    let behind = MARKS.partition_point(|range| range >> 8 <= c);
    let range = behind.checked_sub(1).and_then(|at| MARKS.get(at));
    range.is_some_and(|range| c - (range >> 8) <= range & 0xff)
}

/// Mn and Mc of Unicode 18.0: the first character of a range, times 256, and how many follow it.
/// Rust's own library has no such table, and those of crates have 40 kB. A test compares it with
/// one of them.
static MARKS: [u32; 336] = [
    0x0003006f, 0x00048304, 0x0005912c, 0x0005bf00, 0x0005c101, 0x0005c401, 0x0005c702, 0x0006100a,
    0x00064b14, 0x00067000, 0x0006d606, 0x0006df05, 0x0006e701, 0x0006ea03, 0x00071100, 0x0007301a,
    0x0007a60a, 0x0007eb08, 0x0007fd00, 0x00081603, 0x00081b08, 0x00082502, 0x00082904, 0x00085902,
    0x00089708, 0x0008ca17, 0x0008e320, 0x00093a02, 0x00093e11, 0x00095106, 0x00096201, 0x00098102,
    0x0009bc00, 0x0009be06, 0x0009c701, 0x0009cb02, 0x0009d700, 0x0009e201, 0x0009fe00, 0x000a0102,
    0x000a3c00, 0x000a3e04, 0x000a4701, 0x000a4b02, 0x000a5100, 0x000a7001, 0x000a7500, 0x000a8102,
    0x000abc00, 0x000abe07, 0x000ac702, 0x000acb02, 0x000ae201, 0x000afa05, 0x000b0102, 0x000b3c00,
    0x000b3e06, 0x000b4701, 0x000b4b02, 0x000b5304, 0x000b6201, 0x000b8200, 0x000bbe04, 0x000bc602,
    0x000bca03, 0x000bd700, 0x000c0004, 0x000c3c00, 0x000c3e06, 0x000c4602, 0x000c4a03, 0x000c5501,
    0x000c6201, 0x000c8102, 0x000cbc00, 0x000cbe06, 0x000cc602, 0x000cca03, 0x000cd501, 0x000ce201,
    0x000cf300, 0x000d0003, 0x000d3b01, 0x000d3e06, 0x000d4602, 0x000d4a03, 0x000d5700, 0x000d6201,
    0x000d8102, 0x000dca00, 0x000dcf05, 0x000dd600, 0x000dd807, 0x000df201, 0x000e3100, 0x000e3406,
    0x000e4707, 0x000eb100, 0x000eb408, 0x000ec806, 0x000f1801, 0x000f3500, 0x000f3700, 0x000f3900,
    0x000f3e01, 0x000f7113, 0x000f8601, 0x000f8d0a, 0x000f9923, 0x000fc600, 0x00102b13, 0x00105603,
    0x00105e02, 0x00106202, 0x00106706, 0x00107103, 0x0010820b, 0x00108f00, 0x00109a03, 0x00135d02,
    0x00171203, 0x00173202, 0x00175201, 0x00177201, 0x0017b41f, 0x0017dd00, 0x00180b02, 0x00180f00,
    0x00188501, 0x0018a900, 0x0019200b, 0x0019300b, 0x001a1704, 0x001a5509, 0x001a601c, 0x001a7f00,
    0x001ab00d, 0x001abf31, 0x001b0004, 0x001b3410, 0x001b6b08, 0x001b8002, 0x001ba10c, 0x001be60d,
    0x001c2413, 0x001cd002, 0x001cd414, 0x001ced00, 0x001cf400, 0x001cf702, 0x001dc03f, 0x0020d00c,
    0x0020e100, 0x0020e50b, 0x002cef02, 0x002d7f00, 0x002de01f, 0x00302a05, 0x00309901, 0x00a66f00,
    0x00a67409, 0x00a69e01, 0x00a6f001, 0x00a80200, 0x00a80600, 0x00a80b00, 0x00a82304, 0x00a82c00,
    0x00a88001, 0x00a8b411, 0x00a8e011, 0x00a8ff00, 0x00a92607, 0x00a9470c, 0x00a98003, 0x00a9b30d,
    0x00a9e500, 0x00aa290d, 0x00aa4300, 0x00aa4c01, 0x00aa7b02, 0x00aab000, 0x00aab202, 0x00aab701,
    0x00aabe01, 0x00aac100, 0x00aaeb04, 0x00aaf501, 0x00abe307, 0x00abec01, 0x00fb1e00, 0x00fe000f,
    0x00fe200f, 0x0101fd00, 0x0102e000, 0x01037604, 0x010a0102, 0x010a0501, 0x010a0c03, 0x010a3802,
    0x010a3f00, 0x010ae501, 0x010d2403, 0x010d6904, 0x010eab01, 0x010ecb04, 0x010ef00f, 0x010f460a,
    0x010f8203, 0x01100002, 0x0110380e, 0x01107000, 0x01107301, 0x01107f03, 0x0110b00a, 0x0110c200,
    0x01110002, 0x0111270d, 0x01114501, 0x01117300, 0x01118002, 0x0111b30d, 0x0111c903, 0x0111ce01,
    0x01122c0b, 0x01123e00, 0x01124100, 0x0112df0b, 0x01130003, 0x01133b01, 0x01133e06, 0x01134701,
    0x01134b02, 0x01135700, 0x01136201, 0x01136606, 0x01137004, 0x0113b808, 0x0113c200, 0x0113c500,
    0x0113c703, 0x0113cc04, 0x0113d200, 0x0113e101, 0x01143511, 0x01145e00, 0x0114b013, 0x0115af06,
    0x0115b808, 0x0115dc01, 0x01163010, 0x0116ab0c, 0x01171d0e, 0x01182c0e, 0x01193005, 0x01193701,
    0x01193b03, 0x01194000, 0x01194201, 0x0119d106, 0x0119da06, 0x0119e400, 0x011a0109, 0x011a3306,
    0x011a3b03, 0x011a4700, 0x011a510a, 0x011a8a0f, 0x011b6007, 0x011c2f07, 0x011c3807, 0x011c9215,
    0x011ca90d, 0x011d3105, 0x011d3a00, 0x011d3c01, 0x011d3f06, 0x011d4700, 0x011d8a04, 0x011d9001,
    0x011d9304, 0x011df000, 0x011ef303, 0x011f0001, 0x011f0300, 0x011f3406, 0x011f3e04, 0x011f5a00,
    0x01344000, 0x0134470e, 0x01611e11, 0x016af004, 0x016b3006, 0x016f4f00, 0x016f5136, 0x016f8f03,
    0x016fe400, 0x016ff001, 0x01bc9d01, 0x01cf002d, 0x01cf3016, 0x01d12701, 0x01d16504, 0x01d16d05,
    0x01d17b07, 0x01d18506, 0x01d1aa03, 0x01d24202, 0x01d25002, 0x01d25b01, 0x01d25f00, 0x01d28001,
    0x01da0036, 0x01da3b31, 0x01da7500, 0x01da8400, 0x01da9b04, 0x01daa10e, 0x01e00006, 0x01e00810,
    0x01e01b06, 0x01e02301, 0x01e02604, 0x01e08f00, 0x01e13006, 0x01e2ae00, 0x01e2ec03, 0x01e4ec03,
    0x01e5ee01, 0x01e6e300, 0x01e6e600, 0x01e6ee01, 0x01e6f500, 0x01e8d006, 0x01e94406, 0x0e0100ef,
];

/// Text that is written in pieces.
pub trait Pieces {
    /// Hands over the pieces, the same ones each time.
    fn write(&self, out: impl FnMut(&[u8]));
}

/// Text in a message: hidden characters are escaped, so that nothing begins a line, moves a cursor or
/// changes the direction of writing.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<T>(pub T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((at, c)) = rest.char_indices().find(|&(_, c)| is_hidden(c)) {
            let (shown, behind) = rest.split_at(at);
            self.0.write_str(shown)?;
            write!(self.0, "{}", c.escape_default())?;
            rest = behind.get(c.len_utf8()..).unwrap_or_default();
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use unicode_properties::{GeneralCategory, UNICODE_VERSION, UnicodeGeneralCategory};

    use super::*;

    fn all() -> impl Iterator<Item = char> {
        '\0'..=char::MAX
    }

    #[test]
    fn marks_are_those_of_unicode() {
        assert_eq!(UNICODE_VERSION, (18, 0, 0), "generate MARKS again");
        for c in all() {
            let expected = matches!(
                c.general_category(),
                GeneralCategory::NonspacingMark | GeneralCategory::SpacingMark
            );
            assert_eq!(is_mark(c), expected, "U+{:04X}", u32::from(c));
        }
    }

    #[test]
    fn hidden_characters() {
        for c in all() {
            let category = c.general_category();
            let expected = match category {
                GeneralCategory::Control
                | GeneralCategory::LineSeparator
                | GeneralCategory::ParagraphSeparator => true,
                // But for the signs that are shown around or over the digits behind them, and what
                // puts hieroglyphs together.
                GeneralCategory::Format => !matches!(
                    c,
                    '\u{600}'..='\u{605}'
                        | '\u{6dd}'
                        | '\u{70f}'
                        | '\u{890}'..='\u{891}'
                        | '\u{8e2}'
                        | '\u{110bd}'
                        | '\u{110cd}'
                        | '\u{13430}'..='\u{1343f}'
                ),
                // Fillers among the letters, selectors among the marks.
                GeneralCategory::OtherLetter => {
                    matches!(c, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}')
                }
                GeneralCategory::NonspacingMark => matches!(
                    c,
                    '\u{34f}'
                        | '\u{17b4}'..='\u{17b5}'
                        | '\u{180b}'..='\u{180f}'
                        | '\u{fe00}'..='\u{fe0f}'
                        | '\u{e0100}'..='\u{e01ef}'
                ),
                // Reserved for more of the kind.
                GeneralCategory::Unassigned => {
                    matches!(c, '\u{2065}' | '\u{fff0}'..='\u{fff8}' | '\u{e0000}'..='\u{e0fff}')
                }
                _ => false,
            };
            assert_eq!(is_hidden(c), expected, "U+{:04X} is {category:?}", u32::from(c));
        }
        assert!(JOINERS.into_iter().all(is_hidden));
    }

    #[test]
    fn what_is_hidden_is_escaped() {
        // Those above are hidden in long ranges, or not at all.
        for c in all().take_while(|&c| c < '\u{20000}').chain(['\u{e0001}', char::MAX]) {
            let text = Escaped(format!("a{c}b{c}")).to_string();
            let shown = if is_hidden(c) { c.escape_default().to_string() } else { c.to_string() };
            assert_eq!(text, format!("a{shown}b{shown}"));
        }
        assert_eq!(Escaped("").to_string(), "");
        assert_eq!(Escaped("a\r\n\u{202e}gpj.exe").to_string(), r"a\r\n\u{202e}gpj.exe");
    }
}
