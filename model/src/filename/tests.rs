use super::*;
use crate::disposition::{ContentDisposition, Disposition};

fn id(id: &str) -> SpaceId<'_> {
    SpaceId::parse(id.as_bytes()).unwrap()
}

/// The default name for a title, handed to `use_it`.
pub(crate) fn with_name<R>(title: Option<&str>, id: &str, use_it: impl Fn(FileName<'_>) -> R) -> R {
    let id = SpaceId::parse(id.as_bytes()).unwrap();
    with_title(title, |title| use_it(FileName::with_title(title, id, "mp3")))
}

/// A title as a catalog has it, handed to `use_it`.
pub(crate) fn with_title<R>(
    title: Option<&str>,
    use_it: impl FnOnce(Option<&CleanTitle<'_>>) -> R,
) -> R {
    let mut clean = Vec::new();
    clean_into(&mut clean, title.unwrap_or_default().as_bytes());
    let by_character = cleaned(title.unwrap_or_default().chars(), in_title, '-');
    assert_eq!(clean, by_character.collect::<String>().as_bytes());
    let (is_ascii, clean) = (clean.is_ascii(), &*clean);
    let title = title.map(|title| CleanTitle { title: title.as_bytes(), clean, is_ascii });
    use_it(title.as_ref())
}

/// What is written, as text.
pub(crate) fn written(pieces: &impl Pieces) -> String {
    let mut bytes = Vec::new();
    pieces.write(|piece| bytes.extend_from_slice(piece));
    String::from_utf8(bytes).unwrap()
}

/// The name, and what clients see of it that know only ASCII.
fn shown(name: FileName<'_>) -> (String, String) {
    let full = written(&name);
    let value = ContentDisposition { disposition: Disposition::Inline, name: &name };
    let text = written(&value);
    let ascii = text.split('"').nth(1).unwrap();
    assert_eq!(ascii == full, !text.contains("filename*"), "{text}");
    (full, ascii.to_owned())
}

#[test]
fn titles() {
    let rows: &[(Option<&str>, &str, &str, &str)] = &[
        (None, "1lDx.mp3", "1lDx.mp3", "no title"),
        (Some(""), "1lDx.mp3", "1lDx.mp3", "empty title"),
        (Some(" -!? - "), "1lDx.mp3", "1lDx.mp3", "nothing left of the title"),
        (
            Some("Rust in production"),
            "Rust-in-production_1lDx.mp3",
            "Rust-in-production_1lDx.mp3",
            "spaces",
        ),
        (Some("  a --  b  "), "a-b_1lDx.mp3", "a-b_1lDx.mp3", "runs"),
        (Some("a - !- b"), "a-b_1lDx.mp3", "a-b_1lDx.mp3", "a run around a dropped one"),
        (Some("snake_case"), "snake_case_1lDx.mp3", "snake_case_1lDx.mp3", "underscore"),
        (
            Some("\"../etc\\passwd\"\r\nX: y;"),
            "etcpasswd-X-y_1lDx.mp3",
            "etcpasswd-X-y_1lDx.mp3",
            "punctuation",
        ),
        (Some("Größe 2"), "Größe-2_1lDx.mp3", "Gre-2_1lDx.mp3", "umlaut"),
        (Some("日本 語"), "日本-語_1lDx.mp3", "1lDx.mp3", "no ASCII"),
        (Some("日本 rust 語"), "日本-rust-語_1lDx.mp3", "rust_1lDx.mp3", "some ASCII"),
        (Some("🎙 on air"), "on-air_1lDx.mp3", "on-air_1lDx.mp3", "emoji"),
        (
            Some("one\ntwo\r\nthree\tfour"),
            "one-two-three-four_1lDx.mp3",
            "one-two-three-four_1lDx.mp3",
            "line breaks and tabs",
        ),
        (Some("Café\u{a0}Society"), "Café-Society_1lDx.mp3", "Caf-Society_1lDx.mp3", "NBSP"),
        (Some("東京\u{3000}大阪"), "東京-大阪_1lDx.mp3", "1lDx.mp3", "ideographic space"),
        (Some("ä\u{2028}ö\u{85}ü"), "ä-ö-ü_1lDx.mp3", "1lDx.mp3", "other line ends"),
        (Some("ที่นี่"), "ที่นี่_1lDx.mp3", "1lDx.mp3", "Thai tone marks"),
        (Some("हिन्दी में"), "हिन्दी-में_1lDx.mp3", "1lDx.mp3", "Hindi vowel signs and virama"),
        (Some("مُحَمَّد"), "مُحَمَّد_1lDx.mp3", "1lDx.mp3", "Arabic vowel marks"),
        (Some("தமிழ்"), "தமிழ்_1lDx.mp3", "1lDx.mp3", "Tamil"),
        (Some("Cafe\u{301}"), "Cafe\u{301}_1lDx.mp3", "Cafe_1lDx.mp3", "NFD stays NFD"),
        (Some("Caf\u{e9}"), "Caf\u{e9}_1lDx.mp3", "Caf_1lDx.mp3", "NFC stays NFC"),
        (Some("می\u{200c}خواهم"), "می\u{200c}خواهم_1lDx.mp3", "1lDx.mp3", "Persian ZWNJ"),
        (Some("क्\u{200d}ष"), "क्\u{200d}ष_1lDx.mp3", "1lDx.mp3", "Hindi ZWJ"),
        (Some("a\u{200d}b"), "ab_1lDx.mp3", "ab_1lDx.mp3", "a joiner in ASCII"),
        (Some("ä\u{200d}b"), "äb_1lDx.mp3", "b_1lDx.mp3", "a joiner before ASCII"),
        (
            Some("می\u{200c} \u{200d}م\u{200c}"),
            "می-م_1lDx.mp3",
            "1lDx.mp3",
            "joiners at the ends of words",
        ),
        (Some("!\u{301}a \u{301}b"), "a-b_1lDx.mp3", "a-b_1lDx.mp3", "marks of nothing"),
        (Some("1\u{fe0f}\u{20e3} go"), "1-go_1lDx.mp3", "1-go_1lDx.mp3", "enclosing mark"),
        (
            Some("a\u{ad}b\u{200b}c\u{2060}d\u{feff}e\u{180e}f\u{3164}g\u{115f}h\u{ffa0}i"),
            "abcdefghi_1lDx.mp3",
            "abcdefghi_1lDx.mp3",
            "hidden characters and fillers",
        ),
        (
            Some("葛\u{e0100}城\u{fe00}\u{e0041}"),
            "葛城_1lDx.mp3",
            "1lDx.mp3",
            "variation selectors and tags",
        ),
        (Some("a\u{202e}3pm\u{2066}b"), "a3pmb_1lDx.mp3", "a3pmb_1lDx.mp3", "direction"),
        (Some("CON"), "CON_1lDx.mp3", "CON_1lDx.mp3", "no device, for the id follows"),
    ];
    for (title, full, ascii, what) in rows {
        let shown = with_name(*title, "1lDx", shown);
        assert_eq!(shown, ((*full).into(), (*ascii).into()), "{what}");
    }
}

#[test]
fn ids_that_are_devices() {
    for (id, expected) in [
        ("NUL", "_NUL.mp3"),
        ("con", "_con.mp3"),
        ("Com1", "_Com1.mp3"),
        ("lpt0", "_lpt0.mp3"),
        ("CONA", "CONA.mp3"),
        ("COMx", "COMx.mp3"),
        ("NULL", "NULL.mp3"),
        ("a", "a.mp3"),
    ] {
        assert_eq!(with_name(None, id, shown), (expected.into(), expected.into()));
        assert_eq!(with_name(Some("日"), id, shown).1, expected, "nothing of the title");
        let titled = with_name(Some("t"), id, shown).0;
        assert_eq!(titled, format!("t_{id}.mp3"), "not at the start");
    }
}

#[test]
fn long_titles_are_cut_between_characters() {
    for title in ["ä".repeat(300), "a".repeat(300), "日本語".repeat(200)] {
        let (full, _) = with_name(Some(&title), "1lDx", shown);
        assert!(full.ends_with("_1lDx.mp3"), "{full}");
        assert!((MAX_LEN - 2..=MAX_LEN).contains(&full.len()), "{}", full.len());
    }
    // Plain ASCII by the cut: then nothing is left out that could make room for more.
    let title = format!("{}-éb", "a".repeat(MAX_LEN - 10));
    let (full, ascii) = with_name(Some(&title), "1lDx", shown);
    assert_eq!(full, ascii);
    let long = "i".repeat(128);
    let (full, _) = with_name(Some(&"t".repeat(300)), &long, shown);
    assert_eq!(full, format!("{}_{long}.mp3", "t".repeat(MAX_LEN - 133)));
    // No gap where the title is cut.
    let room = MAX_LEN - "_1lDx.mp3".len();
    let title = format!("{} b", "a".repeat(room - 1));
    let (full, ascii) = with_name(Some(&title), "1lDx", shown);
    assert_eq!(full, format!("{}_1lDx.mp3", "a".repeat(room - 1)));
    assert_eq!(full, ascii);
    let title = format!("é{} b", "a".repeat(room - 3));
    let (full, ascii) = with_name(Some(&title), "1lDx", shown);
    assert_eq!(full, format!("é{}_1lDx.mp3", "a".repeat(room - 3)));
    assert_eq!(ascii, format!("{}-b_1lDx.mp3", "a".repeat(room - 3)));
    let title = format!("é{} bc", "a".repeat(room - 1));
    assert_eq!(
        with_name(Some(&title), "1lDx", shown).1,
        format!("{}_1lDx.mp3", "a".repeat(room - 1))
    );
}

#[test]
fn whole_names() {
    let rows: &[(&str, &str, &str, &str)] = &[
        ("talk.mp3", "talk.mp3", "talk.mp3", "plain"),
        ("a;b, c.mp3", "a;b, c.mp3", "a;b, c.mp3", "separators stay"),
        ("a\"b\\c/d.mp3", "abcd.mp3", "abcd.mp3", "quotes and slashes"),
        ("a:b*c?d<e>f|g.mp3", "abcdefg.mp3", "abcdefg.mp3", "what Windows does not take"),
        ("../../etc/passwd", "etcpasswd.mp3", "etcpasswd.mp3", "a path"),
        ("a\r\nb\0c\x7fd.mp3", "a bcd.mp3", "a bcd.mp3", "control characters"),
        ("a\t b\u{a0}\u{3000}c\u{2028}d.mp3", "a b c d.mp3", "a b c d.mp3", "white space"),
        ("Füße.mp3", "Füße.mp3", "Fe.mp3", "umlaut"),
        ("日本.mp3", "日本.mp3", "1lDx.mp3", "nothing of the stem in ASCII"),
        ("日本 2025.mp3", "日本 2025.mp3", "2025.mp3", "no gap at the start"),
        ("2025 日本.mp3", "2025 日本.mp3", "2025.mp3", "no gap at the end"),
        ("a 日本 b-語-c.mp3", "a 日本 b-語-c.mp3", "a b-c.mp3", "no double gap"),
        ("a - b -é- c.mp3", "a - b -é- c.mp3", "a - b -c.mp3", "nor a longer one"),
        ("-é.日本-.b.mp3", "é.日本-.b.mp3", "b.mp3", "dots and hyphens at the start"),
        ("b.日本.mp3", "b.日本.mp3", "b.mp3", "a dot at the end"),
        ("Cafe\u{301}.mp3", "Cafe\u{301}.mp3", "Cafe.mp3", "NFD stays NFD"),
        ("\u{301}a\"\u{301}b.mp3", "ab.mp3", "ab.mp3", "marks of nothing"),
        ("می\u{200c}خواهم\u{200c}.mp3", "می\u{200c}خواهم.mp3", "1lDx.mp3", "joiners"),
        ("👩\u{200d}🚀 ok.mp3", "👩\u{200d}🚀 ok.mp3", "ok.mp3", "joined emoji"),
        ("a\u{200d}b\u{200b}c\u{feff}d\u{3164}e\u{e0041}.mp3", "abcde.mp3", "abcde.mp3", "hidden"),
        ("a\u{202e}3pm.exe", "a3pm.exe.mp3", "a3pm.exe.mp3", "turned direction"),
        ("=", "=.mp3", "=.mp3", "ASCII without a letter"),
        ("=é", "=é.mp3", "1lDx.mp3", "the same with another character"),
        ("a%41b.mp3", "a%41b.mp3", "a41b.mp3", "what a client may decode"),
        ("100%.mp3", "100%.mp3", "100%.mp3", "what it can't"),
        ("%é41%%414.mp3", "%é41%%414.mp3", "41414.mp3", "nor what is left over"),
        ("%4%zz.mp3", "%4%zz.mp3", "%4%zz.mp3", "no two digits"),
        // Extensions.
        ("x", "x.mp3", "x.mp3", "none"),
        ("x.exe", "x.exe.mp3", "x.exe.mp3", "another one"),
        ("x.mp3.exe", "x.mp3.exe.mp3", "x.mp3.exe.mp3", "another one behind it"),
        ("x.MP3", "x.MP3", "x.MP3", "in capitals"),
        ("xmp3", "xmp3.mp3", "xmp3.mp3", "no dot"),
        ("x.m\u{200b}p3", "x.mp3", "x.mp3", "with a hidden character"),
        ("x.mp3\u{301}", "x.mp3\u{301}.mp3", "x.mp3.mp3", "with a mark"),
        ("x.mp3. .\n", "x.mp3", "x.mp3", "dots and spaces at the end"),
        ("x .. .mp3", "x.mp3", "x.mp3", "the same before the extension"),
        ("x.exe .", "x.exe.mp3", "x.exe.mp3", "behind another extension"),
        ("x.mp3/", "x.mp3", "x.mp3", "a slash at the end"),
        ("é.ＭＰ３", "é.ＭＰ３.mp3", "1lDx.mp3", "that only looks like it"),
        // Ends.
        (".htaccess", "htaccess.mp3", "htaccess.mp3", "a dot at the start"),
        ("-rf ~.mp3", "rf ~.mp3", "rf ~.mp3", "a hyphen at the start"),
        ("~/x- .mp3", "x.mp3", "x.mp3", "a tilde, and a hyphen at the end"),
        // Devices.
        ("CON.mp3", "_CON.mp3", "_CON.mp3", "a device"),
        ("nul", "_nul.mp3", "_nul.mp3", "without an extension"),
        ("aux .b.mp3", "_aux .b.mp3", "_aux .b.mp3", "with spaces and another dot"),
        ("com¹.mp3", "_com¹.mp3", "_com.mp3", "a superscript"),
        ("日lpt1.mp3", "日lpt1.mp3", "_lpt1.mp3", "in ASCII only"),
        ("conin$.mp3", "_conin$.mp3", "_conin$.mp3", "a console"),
        ("console.mp3", "console.mp3", "console.mp3", "no device"),
    ];
    for (name, full, ascii, what) in rows {
        let mut buffer = [0; MAX_LEN];
        let name =
            FileName::with_title(None, id("1lDx"), "mp3").replaced_by(name.as_bytes(), &mut buffer);
        assert_eq!(shown(name), ((*full).into(), (*ascii).into()), "{what}");
    }
    let mut buffer = [0; MAX_LEN];
    let name = FileName::with_title(None, id("1lDx"), "mp3")
        .replaced_by(b"a\xff\xfe\xc3b\xe9.mp3", &mut buffer);
    assert_eq!(shown(name).0, "ab.mp3", "not UTF-8");
}

#[test]
fn names_of_which_nothing_remains_are_the_default() {
    for name in [
        "",
        " ",
        "\r\n\"",
        ".",
        "..",
        "...",
        "/",
        "-",
        "~",
        ".mp3",
        "..mp3",
        " .mp3",
        "-.MP3 ",
        "\u{200b}.mp3",
        "\u{202e}",
        "\u{301}",
        "\u{200d}.mp3",
        "*?.mp3",
    ] {
        with_title(Some("Größe 2"), |title| {
            let mut buffer = [0; MAX_LEN];
            let name = FileName::with_title(title, id("1lDx"), "mp3")
                .replaced_by(name.as_bytes(), &mut buffer);
            assert_eq!(shown(name).0, "Größe-2_1lDx.mp3");
        });
        let mut buffer = [0; MAX_LEN];
        let name =
            FileName::with_title(None, id("1lDx"), "mp3").replaced_by(name.as_bytes(), &mut buffer);
        assert_eq!(shown(name).0, "1lDx.mp3");
    }
}

#[test]
fn long_whole_names_keep_their_extension() {
    for extension in ["mp3", "x", "abcdefghijklmnop"] {
        for (start, end) in [("", ""), (".", "!"), ("a", ".exe"), ("", " . ")] {
            for fill in ["a", "é", "日本", " -", ". a", "a\u{301}", "न्\u{200d}"] {
                for given in ["", ".", ".MP3", ".mp3", ".ABCDEFGHIJKLMNOP"] {
                    let name = format!("{start}{}{end}{given}", fill.repeat(300));
                    let mut buffer = [0; MAX_LEN];
                    let whole = FileName::with_title(None, id("1lDx"), extension)
                        .replaced_by(name.as_bytes(), &mut buffer);
                    let (full, ascii) = shown(whole);
                    for shown in [&full, &ascii] {
                        assert!(shown.len() <= MAX_LEN, "{name}: {shown}");
                        assert!(has_extension(shown.as_bytes(), extension), "{name}: {shown}");
                    }
                    if fill != " -" {
                        assert!(full.len() > MAX_LEN - 30, "{name}: {full}");
                    }
                }
            }
        }
    }
}

/// The rules that hold for every name, whatever it was made of.
#[test]
fn any_name() {
    #[rustfmt::skip]
    const PIECES: [&str; 44] = [
        "a", "Z", "9", "_", "mp3", "exe", "con", "é", "日", "न", "ى",
        "🎙", "е", " ", "\t", "\r\n", "\u{a0}", "\u{3000}", "\u{2028}", "-", ".", ".mp3",
        ".MP3", "~", "%", "41", "\"", "\\", "/", ":", "|", "*", "\0",
        "\u{7f}", "\u{85}", "\u{202e}", "\u{200b}", "\u{200c}", "\u{200d}", "\u{301}", "\u{e48}", "\u{20dd}", "\u{e0041}", "\u{3164}",
    ];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    // The fuzz target `disposition` does the same for longer.
    for _ in 0..3_000 {
        let count = if next(50) == 0 { next(300) } else { next(12) };
        let text: String = (0..count).map(|_| PIECES[next(PIECES.len())]).collect();
        let extension = ["mp3", "x", "abcdefghijklmnop"][next(3)];
        let id = id(["1lDx", "con", "-", "Aux"][next(4)]);
        let mut buffer = [0; MAX_LEN];
        let whole =
            FileName::with_title(None, id, extension).replaced_by(text.as_bytes(), &mut buffer);
        let titled =
            with_title(Some(&text), |title| shown(FileName::with_title(title, id, extension)));
        for (full, ascii) in [shown(whole), titled] {
            let what = format!("{text:?}: {full:?}, {ascii:?}");
            assert!(ascii.is_ascii() && !ascii.is_empty(), "{what}");
            for name in [&full, &ascii] {
                let mut before = '.';
                for c in name.chars() {
                    let is_hidden = is_hidden(c) && !JOINERS.contains(&c);
                    assert!(!is_hidden && !r#""*/:<>?\|"#.contains(c), "{what}");
                    assert!(!c.is_whitespace() || (c == ' ' && before != ' '), "{what}");
                    assert!(!JOINERS.contains(&c) || !before.is_ascii(), "{what}");
                    before = c;
                }
                assert!(
                    name.len() <= MAX_LEN && has_extension(name.as_bytes(), extension),
                    "{what}"
                );
                assert!(!is_device(name.as_bytes()), "{what}");
                let stem = &name[..name.len() - extension.len() - 1];
                let before_id = stem.strip_suffix(&id.to_string());
                let is_id = before_id.is_some_and(|stem| stem.is_empty() || stem.ends_with('_'));
                assert!(is_id || !stem.starts_with(is_unfit_at_start), "{what}");
                assert!(is_id || !stem.ends_with(is_unfit_at_end), "{what}");
            }
            assert!(ascii == full || !ascii.contains('%'), "{what}");
            assert!(!has_percent_encoding(ascii.as_bytes()), "{what}");
        }
    }
}
