use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;

use serde_core::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::*;
use crate::entry::{MAX_ENTRY_LEN, MAX_FILES, MAX_PATH_LEN, MAX_TITLE_LEN};

fn id(id: &str) -> SpaceId<'_> {
    SpaceId::parse(id.as_bytes()).unwrap()
}

fn read(json: impl AsRef<[u8]>) -> Result<(Catalog<Vec<u8>>, Report), ReadError<'static>> {
    Catalog::read(json.as_ref())
}

fn text(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).unwrap()
}

fn files(entry: &Entry<'_>) -> String {
    entry.files().map(text).collect::<Vec<_>>().join(" ")
}

/// An entry in the form `title|clean|status|file file`, with `|none` where it has no files, and
/// `|1.5s` where it has a duration.
fn shown(entry: Entry<'_>) -> String {
    let (title, clean) = entry.title.map_or(("", ""), |t| (text(t.title), text(t.clean)));
    if let Some(title) = entry.title {
        assert_eq!(title.is_ascii, title.clean.is_ascii());
    }
    let (status, files) = (entry.status.map_or(0, Status::code), files(&entry));
    assert_eq!(entry.has_files(), !files.is_empty());
    assert!(!(entry.has_files() && entry.has_no_files));
    let none = if entry.has_no_files { "|none" } else { "" };
    let duration = entry.duration().map_or(String::new(), |d| format!("|{d:?}"));
    format!("{title}|{clean}|{status}|{files}{none}{duration}")
}

#[test]
fn entries() {
    let rows: &[(&str, &str, &str)] = &[
        (r#""x/y.m4a""#, "||0|x/y.m4a", "a string is one file"),
        (r#"{}"#, "||0|", "nothing"),
        (r#"{"title":"T","files":["a.mp3","b/c.MP4"]}"#, "T|T|0|a.mp3 b/c.MP4", "both"),
        (r#"{"files":["a.mp3"],"title":"A b!"}"#, "A b!|A-b|0|a.mp3", "clean title differs"),
        (r#"{"title":"é à"}"#, "é à|é-à|0|", "only a title"),
        (r#"{"title":""}"#, "||0|", "empty title"),
        (r#"{"files":[]}"#, "||0||none", "empty list"),
        (r#"{"files":[ ],"title":"T","duration":7}"#, "T|T|0||none|7s", "empty list and more"),
        (r#"{"files":null}"#, "||0|", "null is no list"),
        (r#"{"title":null,"status":null,"duration":null}"#, "||0|", "null is no key"),
        (r#"{"title":null,"files":["x.mp3"]}"#, "||0|x.mp3", "no title"),
        (r#"{"duration":1}"#, "||0||1s", "whole seconds"),
        (r#"{"duration":0.0001}"#, "||0||1ms", "less than a millisecond"),
        (r#"{"duration":3599.25,"files":["x.mp3"]}"#, "||0|x.mp3|3599.25s", "a fraction"),
        (r#"{"duration":2.8e11}"#, "||0||280000000000s", "nine thousand years"),
        (r#"{"title":"\ud83c on"}"#, "\u{fffd} on|on|0|", "half a surrogate pair"),
        (
            r#"{"title":"\udf99\ud83c\udf99\ud83c\ud83cé"}"#,
            "\u{fffd}🎙\u{fffd}\u{fffd}é|é|0|",
            "halves and a whole one",
        ),
        (r#"{"title":"\ud83c\u0041\ud83c"}"#, "\u{fffd}A\u{fffd}|A|0|", "halves around"),
        (r#"{"title":"a\u0000\r\n\u0085\tb"}"#, "a b|a-b|0|", "control characters in a title"),
        ("{\"title\":\"a\u{7f}b\"}", "ab|ab|0|", "one that JSON allows"),
        ("{\"title\":\"é\u{85}\u{9f}b\"}", "é b|é-b|0|", "those beyond ASCII"),
        ("{\"title\":\"20 °C, «é»\"}", "20 °C, «é»|20-C-é|0|", "none, but the same first byte"),
        (
            r#"{"title":"\nLine one\nline\u0001 two\r\n"}"#,
            "Line one line two|Line-one-line-two|0|",
            "line breaks",
        ),
        (r#"{"title":"\ud83c\udf99 on"}"#, "🎙 on|on|0|", "surrogates"),
        (r#"{"status":403}"#, "||403|", "403"),
        (r#"{"status":404}"#, "||404|", "404"),
        (r#"{"status":410,"title":"T"}"#, "T|T|410|", "410 with a title"),
        (r#"{"status":451}"#, "||451|", "451"),
        (
            r#"{"files":["100% ?#;\"&'é .mp3","..a/b..mp3",".hidden","a\\b.mp3"]}"#,
            "||0|100% ?#;\"&'é .mp3 ..a/b..mp3 .hidden a\\b.mp3",
            "characters that mean something elsewhere",
        ),
    ];
    for (json, expected, what) in rows {
        for (before, behind) in [("", ""), ("\u{feff}\n ", "\n")] {
            let text = format!("{before}{{\"a\": {json} }}{behind}");
            let (catalog, report) = read(text).unwrap();
            assert!(report.is_clean() && !report.may_withhold, "{what}: {report:?}");
            assert_eq!((catalog.len(), report.usable), (1, 1), "{what}");
            assert_eq!(shown(catalog.get(id("a")).unwrap().unwrap()), *expected, "{what}");
        }
        let alone = EntryBuf::parse(json.as_bytes()).unwrap();
        assert_eq!(shown(alone.entry()), *expected, "{what}, by itself");
    }
}

/// What was read before, good or bad, leaves nothing behind.
#[test]
fn entry_that_is_read_again_is_as_good_as_a_new_one() {
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    let texts = [
        r#"{"title": "A \"talk\"", "files": ["a.mp3", "b/c.mp4"], "duration": 1.5}"#,
        r#""a.mp3""#,
        r#"{"status": 410}"#,
        r#"{"files": []}"#,
        "{}",
        "",
        "{\"title\": \"cut",
        "{\"files\": [\"a.mp3\", {\"b\": [-0",
        "{\"title\": \"x\"}}",
        "{\"title\": 1}",
        "{\"files\": [\"a.mp3\", \"../b.mp3\"]}",
        "[[[{\"a\": tru",
        &deep,
        "\u{feff}{\"title\": \"Gespräch\"}",
        "\u{1f}\u{8b}",
    ];
    let read = |entry: &mut EntryBuf, text: &str| match entry.reparse(text.as_bytes()) {
        Ok(()) => Ok(shown(entry.entry())),
        Err(why) => Err(why.to_string()),
    };
    for before in texts {
        for text in texts {
            let mut entry = EntryBuf::default();
            let _ = read(&mut entry, before);
            let expected = EntryBuf::parse(text.as_bytes());
            let expected =
                expected.map(|entry| shown(entry.entry())).map_err(|why| why.to_string());
            assert_eq!(read(&mut entry, text), expected, "{text} after {before}");
        }
    }
}

#[test]
fn faults_of_the_whole() {
    let rows: &[(&str, &str)] = &[
        ("", "unexpected end of file at line 1 column 0"),
        (" \n\n", "unexpected end of file at line 3 column 0"),
        ("[]", "not an object of space ids and entries at line 1 column 1"),
        ("\u{feff}[]", "not an object of space ids and entries at line 1 column 1"),
        ("\n  <html>", "not an object of space ids and entries at line 2 column 3"),
        ("{", "unexpected end of file at line 1 column 1"),
        ("{}\n{}", "trailing characters at line 2 column 1"),
        ("{} x", "trailing characters at line 1 column 4"),
        ("{}\0", "trailing characters at line 1 column 3"),
        ("{\"a\": \"x.mp3\"}\0", "trailing characters at line 1 column 15"),
        ("{]", "key must be a string at line 1 column 2"),
        ("{\"a\":{},]", "key must be a string at line 1 column 9"),
        ("{\"a\":{},\n }", "trailing comma at line 2 column 2"),
        ("{\"a\":{}\n\n \"b\":{}}", "expected `,` or `}` at line 3 column 2"),
        ("{\"x\":{},\n\"a\":{]", "key must be a string at line 2 column 6"),
        ("{\"a\":[1}}", "expected `,` or `]` at line 1 column 8"),
        ("{\"a\":\"x", "unexpected end of file at line 1 column 7"),
        ("{\"a\":{\"title\": \"x\"", "unexpected end of file at line 1 column 18"),
        ("{'a': 'b'}", "key must be a string at line 1 column 2"),
        ("{\n// comment\n}", "key must be a string at line 2 column 1"),
        ("{\"a\": {\"title\": \"\\x\"}}", "invalid escape at line 1 column 19"),
        ("{\"a\": {\"titel\": \"\n\"}}", "control character in a string at line 1 column 18"),
        ("{\"a\": {\"titel\": nul}}", "expected value at line 1 column 20"),
        ("\u{1f}", "not an object of space ids and entries at line 1 column 1"),
    ];
    for (json, expected) in rows {
        let error = read(json).expect_err(json);
        assert_eq!(error.to_string(), *expected, "{json}");
        assert!(!error.is_temporary(), "{json}");
    }
    let utf_16 = "it is UTF-16, UTF-8 is expected";
    let rows: &[(&[u8], &str)] = &[
        (b"\x1f\x8b\x08\0\0", "it is compressed with gzip"),
        (b"\xff\xfe{\0}\0", utf_16),
        (b"\xfe\xff\0{\0}", utf_16),
        (b"{\0}\0", utf_16),
        (b"\0{\0}", utf_16),
        (b"\xef\xbb{}", "not an object"),
    ];
    for (bytes, expected) in rows {
        let shown = read(bytes).unwrap_err().to_string();
        assert!(shown.starts_with(expected), "{bytes:?}: {shown}, expected: {expected}");
    }
}

/// Reads a catalog with an entry for `a`, and checks that it is unusable.
fn unusable(json: impl AsRef<[u8]>, what: &str) -> (Cause, Report) {
    let (catalog, report) = read(json).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(report.unusable.count, 1, "{what}: {report:?}");
    assert_eq!(report.usable + 1, catalog.len(), "{what}");
    (catalog.get(id("a")).expect_err(what), report)
}

#[test]
fn unusable_entries() {
    let rows: &[(&str, Cause, &str)] = &[
        ("5", Cause::Entry, "entry is neither a path nor an object: 5 at line 2 column 6"),
        ("null", Cause::Entry, "entry is neither a path nor an object: null at"),
        ("[\"b.mp3\"]", Cause::Entry, "entry is neither a path nor an object: [\"b.mp3\"] at"),
        ("{\"titel\": 1}", Cause::UnknownKey, "unknown key \"titel\" at line 2 column 7"),
        ("{\"\\ud800\": 1}", Cause::UnknownKey, "unknown key \"\\ud800\" at"),
        ("{\"title\": 1}", Cause::Title, "title is not a string: 1 at line 2 column 16"),
        ("{\"title\": []}", Cause::Title, "title is not a string: [] at"),
        ("{\"files\": \"b\"}", Cause::Files, "files are not an array: \"b\" at"),
        ("{\"files\": [1]}", Cause::Path, "path is not a string: 1 at line 2 column 17"),
        ("{\"files\": [null]}", Cause::Path, "path is not a string: null at"),
        ("{\"files\": [[]]}", Cause::Path, "path is not a string: [] at"),
        ("{\"files\": {}}", Cause::Files, "files are not an array: {} at"),
        ("{\"status\": 200}", Cause::Status, "status is not 403, 404, 410 or 451: 200 at"),
        ("{\"status\": \"410\"}", Cause::Status, "status is not 403, 404, 410 or 451: \"410\""),
        ("{\"status\": -1}", Cause::Status, "status is not 403, 404, 410 or 451: -1 at"),
        ("{\"status\": 410.0}", Cause::Status, "status is not 403, 404, 410 or 451: 410.0 at"),
        ("{\"status\": 1e999}", Cause::Status, "status is not 403, 404, 410 or 451: 1e999 at"),
        ("{\"status\": true}", Cause::Status, "status is not 403, 404, 410 or 451: true at"),
        ("{\"duration\": 0}", Cause::Duration, "duration is not a number of seconds greater"),
        ("{\"duration\": 0.0}", Cause::Duration, "duration is not"),
        ("{\"duration\": -2}", Cause::Duration, "duration is not"),
        ("{\"duration\": 1e300}", Cause::Duration, "duration is not"),
        ("{\"duration\": 1e999}", Cause::Duration, "duration is not"),
        ("{\"duration\": 18446744073709551615}", Cause::Duration, "duration is not"),
        ("{\"duration\": \"60\"}", Cause::Duration, "duration is not"),
        ("{\"duration\": [60]}", Cause::Duration, "duration is not"),
        ("{\"title\":\"\",\"title\":\"\"}", Cause::DuplicateKey, "duplicate key \"title\" at"),
        ("{\"title\":null,\"title\":\"\"}", Cause::DuplicateKey, "duplicate key \"title\" at"),
        ("\"\"", Cause::EmptyPath, "empty path: \"\" at line 2 column 6"),
        ("\"/etc/passwd\"", Cause::AbsolutePath, "absolute path: \"/etc/passwd\" at"),
        ("\"../x\"", Cause::DotSegment, "dot segment in path: \"../x\" at"),
        ("\"x/..\"", Cause::DotSegment, "dot segment in path: \"x/..\" at"),
        ("\"x/./y\"", Cause::DotSegment, "dot segment in path: \"x/./y\" at"),
        ("\"x/\\u002e/y\"", Cause::DotSegment, "dot segment in path: \"x/\\u002e/y\" at"),
        ("\"x//y\"", Cause::EmptySegment, "empty segment in path: \"x//y\" at"),
        ("\"x/\"", Cause::EmptySegment, "empty segment in path: \"x/\" at"),
        ("\"x\\u0000y\"", Cause::ControlCharacter, "control character in path: \"x\\u0000y\" at"),
        ("\"x\\u0085y\"", Cause::ControlCharacter, "control character in path: \"x\\u0085y\" at"),
        ("\"x\u{85}y\"", Cause::ControlCharacter, "control character in path: \"x\\u{85}y\" at"),
        ("\"\u{202e}/\"", Cause::EmptySegment, "empty segment in path: \"\\u{202e}/\" at"),
        ("\"\\ud83c.mp3\"", Cause::Unicode, "invalid Unicode: \"\\ud83c.mp3\" at"),
        ("{\"files\":[\"a.mp3\",\"\\udf99\"]}", Cause::Unicode, "invalid Unicode: \"\\udf99\""),
        ("{\"title\":\"\\ud83c\",\"files\":[\"../x\"]}", Cause::DotSegment, "dot segment in path"),
    ];
    for (entry, cause, expected) in rows {
        let behind = "\"b\": \"b.mp3\"";
        let json = format!("{{\"c\": {{}},\n\"a\": {entry}, {behind}}}");
        let (found, report) = unusable(&json, entry);
        assert_eq!(found, *cause, "{entry}");
        assert_eq!(report.usable, 2, "{entry}");
        let described = &report.unusable.described[0];
        assert!(described.starts_with(&format!("unusable \"a\": {expected}")), "{described}");
        assert!(described.contains(" at line 2 column "), "{described}");
        assert_eq!(report.may_withhold, entry.contains("status"), "{entry}");

        let error = EntryBuf::parse(entry.as_bytes()).unwrap_err().to_string();
        let (message, _) = expected.split_once(" at line").unwrap_or((expected, ""));
        assert!(error.starts_with(message), "{entry}: {error}");
    }
    for bytes in [
        &b"\"caf\xe9.mp3\""[..],
        b"{\"title\": \"\xff\"}",
        b"{\"title\": \"\xed\xa0\x80\"}",
        b"\"a\xc0\xafb.mp3\"",
    ] {
        let json = [b"{\"a\": ", bytes, b", \"b\": {}}"].concat();
        assert_eq!(unusable(&json, "not UTF-8").0, Cause::Unicode, "{bytes:?}");
        assert!(EntryBuf::parse(bytes).is_err(), "{bytes:?}");
    }
    let long = format!("{{\"a\": \"{}\"}}", "x".repeat(MAX_PATH_LEN + 1));
    let (cause, report) = unusable(&long, "a long path");
    let described = &report.unusable.described[0];
    assert_eq!(cause, Cause::LongPath);
    assert!(described.contains("xx…\" at line") && described.len() < 250, "{described}");
    let many = format!("{{\"a\": {{\"files\":[\"x\"{}]}}}}", ",\"x\"".repeat(MAX_FILES));
    assert_eq!(unusable(&many, "many files").0, Cause::TooManyFiles);
}

#[test]
fn keys_that_are_no_ids() {
    for key in [
        " a",
        "a ",
        "a\\n",
        "\\ta\\r\\n",
        "\\u00a0a",
        "\\u3000a",
        "\\ufeffa",
        "a\\u0000",
        "a.mp3",
        "a.MP3",
        " a.mp3\\n",
        "a .mp3",
        "a. mp3",
        "a.b",
    ] {
        for good in ["", "\"a\": \"good.mp3\""] {
            for json in [
                format!("{{\"{key}\": \"x.mp3\"{}{good}}}", if good.is_empty() { "" } else { "," }),
                format!("{{{good}{}\"{key}\": \"x.mp3\"}}", if good.is_empty() { "" } else { "," }),
            ] {
                let (cause, report) = unusable(&json, &json);
                assert_eq!((report.usable, report.skipped.count), (0, 0), "{json}");
                assert!(matches!(cause, Cause::Id | Cause::DuplicateId), "{json}: {cause:?}");
                assert!(!report.may_withhold, "{json}");
            }
        }
        let json = format!("{{\"{key}\": {{\"status\": 451}}}}");
        assert!(unusable(json, key).1.may_withhold, "{key}");
    }
    let long = "a".repeat(129);
    for key in [
        "", " ", "a b", "a/b", "../a", "a%20", "ä", "a\\nb", "a\\\"b", "a.tar.gz", "a.", ".a",
        "a.m p3", "\\ud800", "a\\udc00", &long,
    ] {
        let json = format!("{{\"b\": {{}},\n \"{key}\": \"x.mp3\", \"c\": {{}}}}");
        let (catalog, report) = read(&json).unwrap();
        assert_eq!((catalog.len(), report.usable), (2, 2), "{json}");
        assert_eq!((report.skipped.count, report.unusable.count), (1, 0), "{json}");
        assert!(report.skipped.described[0].contains(" at line 2 column "), "{json}: {report:?}");
        assert!(catalog.get(id("a")).unwrap().is_none(), "{json}");
        assert!(!report.may_withhold, "{json}");
        let json = json.replace("\"x.mp3\"", "{\"files\": []}");
        assert!(read(json).unwrap().1.may_withhold, "{key}");
    }
    assert_eq!(read(b"{\"a\xff\": {}}").unwrap().1.skipped.count, 1, "not UTF-8");
}

#[test]
fn duplicate_ids() {
    for (one, other, withheld) in [
        ("\"x.mp3\"", "\"y.mp3\"", false),
        ("\"x.mp3\"", "{\"status\": 410}", true),
        ("{\"files\": []}", "\"x.mp3\"", true),
        ("\"../x\"", "\"x.mp3\"", false),
        ("\"x.mp3\"", "5", false),
        ("5", "5", false),
    ] {
        for ids in [("a", "a"), ("\\u0061", "a")] {
            let json = format!("{{\"{}\": {one},\n\"{}\": {other}}}", ids.0, ids.1);
            let (_, report) = unusable(&json, &json);
            assert_eq!(report.may_withhold, withheld, "{json}: {report:?}");
            assert_eq!(report.unusable.described.len(), 1, "{json}");
        }
    }
    let (_, report) = unusable("{\"a\": {},\n\"a\": {},\n\"a\": {}}", "three times");
    assert_eq!(*report.unusable.described[0], *"unusable \"a\": duplicate id at line 2 column 1");
    assert_eq!(read("{\"a\": {}, \"A\": {}}").unwrap().1.usable, 2);
}

#[test]
fn only_the_first_ten_are_named() {
    let faults: Vec<_> = (0..25).map(|n| format!("\"s{n}\": 5,\n\"/{n}\": 5")).collect();
    let (catalog, report) = read(format!("{{{}}}", faults.join(",\n"))).unwrap();
    assert_eq!((catalog.len(), report.usable), (25, 0));
    assert_eq!((report.unusable.count, report.skipped.count), (25, 25));
    assert_eq!((report.unusable.described.len(), report.skipped.described.len()), (10, 10));
    assert!(report.unusable.described[9].starts_with("unusable \"s9\": "), "{report:?}");
    assert!(report.unusable.described[9].contains("line 19 column 7"), "{report:?}");
    assert_eq!(*report.skipped.described[9], *"skipped \"/9\": not a space id at line 20 column 1");
}

#[test]
fn causes() {
    for (code, (cause, text)) in Cause::ALL.into_iter().enumerate() {
        assert_eq!((usize::from(cause.code()), Cause::from_code(cause.code())), (code, cause));
        assert_eq!(cause.to_string(), text);
    }
    let limits = [Cause::TooManyFiles, Cause::LongPath].map(|cause| cause.to_string());
    assert!(limits[0].contains(&MAX_FILES.to_string()), "{limits:?}");
    assert!(limits[1].contains(&MAX_PATH_LEN.to_string()), "{limits:?}");
}

/// What is too large to be read makes its entry unusable, and what follows is read.
#[test]
fn excess() {
    let much = MAX_ENTRY_LEN;
    let (open, close) = ("[".repeat(5_000), "]".repeat(5_000));
    let rows: &[(&str, String, Cause)] = &[
        ("a string", format!("\"{}\"", "x".repeat(much)), Cause::TooLong),
        ("files", format!("{{\"files\":[\"x\"{}]}}", ",\"x\"".repeat(much / 4)), Cause::TooLong),
        ("an escaped string", format!("\"{}\"", "\\\"},{".repeat(much / 5)), Cause::TooLong),
        ("white space", format!("\"x\"{}", " \n".repeat(much / 2)), Cause::TooLong),
        ("deep", format!("{open}{close}"), Cause::TooDeep),
        (
            "deep and long",
            format!("[{},{open}{close}]", "1,".repeat(much / 2) + "1"),
            Cause::TooLong,
        ),
        ("numbers", format!("{{\"status\":{}}}", "1".repeat(much)), Cause::TooLong),
    ];
    for (what, value, cause) in rows {
        let json =
            format!("{{\"b\": \"b.mp3\",\n \"a\": {value}\n,\n\"c\": \"c.mp3\", \"/\": 1}}\n");
        let (found, report) = unusable(&json, what);
        assert_eq!(found, *cause, "{what}");
        assert_eq!((report.usable, report.skipped.count), (2, 1), "{what}");
        let described = &report.unusable.described[0];
        assert!(described.ends_with(" at line 2 column 2"), "{what}: {described}");
        assert!(report.may_withhold, "{what}");
        let line = 4 + value.matches('\n').count();
        let end = format!("at line {line} column 15");
        assert!(report.skipped.described[0].ends_with(&end), "{what}: {report:?}");
        assert!(EntryBuf::parse(value.as_bytes()).is_err(), "{what}");

        // Cut off or followed by what is no JSON, all of it is refused.
        let at = json.rfind("\"c\"").unwrap();
        let mut bad = vec![json[..at - 3].to_owned(), json.clone() + "x"];
        if !what.starts_with("deep") {
            bad.push(json.replace("\n,\n", "\n;\n"));
            bad.push(json.replace("\n,\n", "\n],\n"));
        }
        for bad in bad {
            let error = read(&bad).expect_err(what);
            assert!(!error.is_temporary(), "{what}: {error}");
        }
    }
    // What is wrong with the syntax within it, too; but not where it is nested too deep.
    let title = "x".repeat(much);
    for (value, refused) in [
        (format!("{{\"title\": \"{title}\" \"status\": 403}}"), true),
        (format!("{{\"title\": \"{title}\n\"}}"), true),
        (format!("{open}1 1{close}"), false),
    ] {
        assert_eq!(read(format!("{{\"a\": {value}}}")).is_err(), refused, "{:.40}", value);
    }

    let key = "a".repeat(much);
    let (catalog, report) = read(format!("{{\"{key}\": 1, \"b\": {{}}}}")).unwrap();
    assert_eq!((catalog.len(), report.skipped.count), (1, 1), "a long key");
    let expected = format!("skipped \"{}…\": not a space id at line 1 column 2", &key[..100]);
    assert_eq!(report.skipped.described, [expected]);
    let spaces = " \n".repeat(much);
    let json = format!("{spaces}{{{spaces}\"a\":\"x\",{spaces}\"b\":5}}{spaces}");
    let (_, report) = read(json).unwrap();
    let line = 1 + 3 * much;
    assert_eq!(
        *report.unusable.described[0],
        *format!(
            "unusable \"b\": entry is neither a path nor an object: 5 at line {line} column 5"
        )
    );
    assert_eq!((report.usable, report.unusable.count), (1, 1), "white space");
}

#[test]
fn a_failing_reader_is_an_error() {
    struct Failing<'t>(io::Cursor<&'t [u8]>);
    impl io::Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::other("no more")),
                len => Ok(len),
            }
        }
    }
    let long = "x".repeat(MAX_ENTRY_LEN);
    for text in ["", "{", "{\"a\": {}", "{\"a\": {}, ", "{}", &format!("{{\"a\": \"{long}")] {
        let error =
            Catalog::<Vec<u8>>::read(Failing(io::Cursor::new(text.as_bytes()))).unwrap_err();
        assert_eq!(error.to_string(), "no more", "{text:.20}");
        assert!(error.is_temporary(), "{text:.20}");
    }
}

#[test]
fn many_spaces() {
    let spaces: Vec<String> = (0..10_000).map(|n| format!("space-{n}")).collect();
    let entries: Vec<String> = spaces
        .iter()
        .map(|id| format!("\"{id}\":{{\"title\":\"About {id}\",\"files\":[\"{id}.mp3\"]}}"))
        .collect();
    let (catalog, report) = read(format!("{{{}}}", entries.join(",\n"))).unwrap();
    assert_eq!((catalog.len(), report.usable), (spaces.len(), spaces.len()));
    assert!(!catalog.is_empty());
    for space in &spaces {
        let entry = catalog.get(id(space)).unwrap().unwrap();
        assert_eq!(text(entry.title.unwrap().title), format!("About {space}"));
        assert_eq!(files(&entry), format!("{space}.mp3"));
    }
    assert!(catalog.get(id("space-10000")).unwrap().is_none());
}

#[test]
fn members_of_any_length() {
    // Around the sizes of buffers; and strings that look like structure.
    for len in (0..100).chain([10_000, 16_000]) {
        let title = "},{\\\"[\\\\".repeat(len / 9);
        let json = format!(" {{ \"a\":{{\"title\":\"{title}\"}} , \"b\":\"x,}}.mp3\"}} \n");
        let (catalog, report) = read(&json).unwrap();
        assert!(report.is_clean(), "{len}");
        let entry = catalog.get(id("b")).unwrap().unwrap();
        assert_eq!(files(&entry), "x,}.mp3");
    }
    let files = format!("\"{}\",", "x".repeat(200)).repeat(63);
    let json = format!("{{\"a\":{{\"files\":[{files} \"x\"]}}{},\"b\":5}}", " ".repeat(1_000));
    let (catalog, report) = read(&json).unwrap();
    assert_eq!(report.unusable.count, 1, "{report:?}");
    assert_eq!(catalog.get(id("a")).unwrap().unwrap().files().count(), 64);
}

/// Numbers that look random (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    fn one_of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }
}

/// An object with all of its members, those of the same name too.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(String, Value)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Members).map(Self)
    }
}

/// What a catalog says by a plain reading of the whole: for each id its entry as `shown`, or
/// nothing if that is unusable.
fn plainly(json: &str) -> Option<BTreeMap<String, Option<String>>> {
    let Object(members) = serde_json::from_str(json).ok()?;
    let mut entries = BTreeMap::new();
    for (key, value) in members {
        let Some((id, is_exact)) = meant_id(&key) else { continue };
        let (id, entry) = (id.to_string(), is_exact.then(|| plain_entry(&value)).flatten());
        let is_duplicate = entries.contains_key(&id);
        entries.insert(id, entry.filter(|_| !is_duplicate));
    }
    Some(entries)
}

/// As the module's documentation has it.
fn is_path(path: &str) -> bool {
    (1..=MAX_PATH_LEN).contains(&path.len())
        && !path.chars().any(char::is_control)
        && path.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

fn plain_entry(value: &Value) -> Option<String> {
    let fields = match value {
        Value::String(path) => {
            return is_path(path).then(|| format!("|0|{path}"));
        }
        Value::Object(fields) => fields,
        _ => return None,
    };
    let (mut title, mut status, mut files, mut duration) = ("", 0, String::new(), "".into());
    for (key, value) in fields {
        match (key.as_str(), value) {
            ("title" | "status" | "files" | "duration", Value::Null) => {}
            ("title", Value::String(value)) => title = value,
            ("status", Value::Number(number)) => {
                status = number.as_u64().filter(|n| [403, 404, 410, 451].contains(n))?;
            }
            ("duration", Value::Number(number)) => {
                let milliseconds = (number.as_f64()? * 1000.0).ceil();
                let is_duration = (1.0..=281_474_976_710_655.0).contains(&milliseconds);
                let milliseconds = is_duration.then_some(milliseconds as u64)?;
                duration = format!("|{:?}", Duration::from_millis(milliseconds));
            }
            ("files", Value::Array(list)) => {
                let paths: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
                let paths = paths.filter(|paths| paths.iter().all(|path| is_path(path)));
                files = paths?.join(" ");
                if list.is_empty() {
                    files = "|none".into();
                }
            }
            _ => return None,
        }
    }
    Some(format!("{title}|{status}|{files}{duration}"))
}

#[test]
fn agrees_with_a_plain_reading_of_the_whole() {
    const KEYS: [&str; 12] =
        ["a", "b", "c-1", "D", "e", "\\u0061", "a.mp3", " b", "x y", "", "c-1\\n", "/"];
    const VALUES: [&str; 16] = [
        "{}",
        "\"a,}.mp3\"",
        "{\"title\": \"T{[\"}",
        "{\"title\":null}",
        "{\"files\":[]}",
        "null",
        "5",
        "{\"files\":[\"a/b.mp3\",\"\\\"c\"]}",
        "{\"status\":410}",
        "{\"status\": 4}",
        "\"../x\"",
        "{\"duration\":1.5}",
        "{\"titel\":[[],{}]}",
        "[{\"a\":[1,2,{}]}]",
        "{\"title\":\"\\\\\",\"files\":[ \"x\" ]}",
        "\"\\u00e9.mp3\"",
    ];
    const SPACES: [&str; 6] = ["", "", "", " ", "\n", "\t \r\n                    "];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut good, mut refused) = (0, 0);
    // The fuzz target `catalog` does the same for longer.
    for _ in 0..3_000 {
        let mut json = String::from("{");
        for n in 0..random.below(6) {
            let comma = if n > 0 { "," } else { "" };
            let mut space = || random.one_of(&SPACES);
            let spaces = [space(), space(), space(), space()];
            let (key, value) = (random.one_of(&KEYS), random.one_of(&VALUES));
            json += &format!(
                "{}{comma}{}\"{key}\"{}:{}{value}",
                spaces[0], spaces[1], spaces[2], spaces[3]
            );
        }
        json += random.one_of(&SPACES);
        json += "}";
        if random.below(3) == 0 {
            // A byte more, less or other than it was.
            let at = random.below(json.len());
            match random.below(3) {
                0 => drop(json.remove(at)),
                _ => json.insert_str(at, random.one_of(&["{", "}", "[", "]", ",", "\"", "x", ":"])),
            }
        }
        let plain = plainly(&json);
        match (read(&json), &plain) {
            (Err(_), None) => refused += 1,
            (Ok((catalog, report)), Some(plain)) => {
                good += 1;
                assert_eq!(catalog.len(), plain.len(), "{json}");
                let usable = plain.values().flatten().count();
                assert_eq!(report.usable, usable, "{json}: {report:?}");
                for (name, expected) in plain {
                    let entry = catalog.get(id(name)).ok().map(|entry| {
                        let entry = entry.expect("an entry for each id");
                        let shown = shown(entry);
                        // Without the clean title.
                        let mut parts = shown.splitn(3, '|');
                        let (title, _) = (parts.next().unwrap(), parts.next());
                        format!("{title}|{}", parts.next().unwrap())
                    });
                    assert_eq!(entry, *expected, "{name} in {json}");
                }
            }
            (read, _) => panic!("{json}: {read:?}, plainly {plain:?}"),
        }
    }
    assert!(good > 1_000 && refused > 300, "{good} taken, {refused} refused");
}

/// What an entry alone says by a plain reading, as [`plain_entry`]; nothing if it has to be refused.
fn plainly_alone(json: &[u8]) -> Option<String> {
    if let Ok(Object(members)) = serde_json::from_slice(json) {
        let mut keys: Vec<_> = members.iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        if keys.windows(2).any(|two| two[0] == two[1]) {
            return None;
        }
    }
    plain_entry(&serde_json::from_slice(json).ok()?)
}

/// An entry by itself is read in one pass, without a check of its syntax before.
#[test]
fn entry_alone_agrees_with_a_plain_reading() {
    const ENTRIES: [&str; 7] = [
        r#"{"title":"A \\b\u00e9","files":["a/b.mp3","é\"c"],"duration":1.5}"#,
        "{ \"files\" : [ \"x\" , \"y\" ] , \"title\" : null }\n",
        r#"{"status":410,"duration":0.25e1,"files":[]}"#,
        "\t\"a.mp3\" ",
        "{}",
        "[1,{\"a\":tru",
        "",
    ];
    const TOKENS: [&str; 24] = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        " ",
        "\"",
        "\\",
        "\"x\"",
        "\"title\"",
        "\"files\"",
        "\"status\"",
        "\"duration\":2",
        "null",
        "true",
        "-",
        "0",
        "410",
        "1e2",
        ".5",
        "\\u0041",
        "\u{1}",
        "ü",
    ];
    let (mut good, mut refused) = (0_usize, 0_usize);
    let mut judge = |json: &[u8]| {
        let plain = plainly_alone(json);
        let found = EntryBuf::parse(json);
        let lossy = String::from_utf8_lossy(json);
        match &found {
            Ok(entry) => {
                let entry = entry.entry();
                let title = entry.title.map_or("", |title| text(title.title));
                let (status, mut files) = (entry.status.map_or(0, Status::code), files(&entry));
                if entry.has_no_files {
                    files = "|none".into();
                }
                let duration = entry.duration().map_or(String::new(), |d| format!("|{d:?}"));
                let found = format!("{title}|{status}|{files}{duration}");
                let plain = plain.unwrap_or_else(|| panic!("accepted: {lossy}"));
                // Control characters of a title are not kept.
                if !plain.contains(char::is_control) {
                    assert_eq!(found, plain, "{lossy}");
                }
                good += 1;
            }
            Err(why) => {
                assert!(plain.is_none(), "refused: {lossy}: {why}");
                // A mistake in the syntax comes first.
                let syntax = serde_json::from_slice::<Value>(json).err().map(|e| e.to_string());
                let syntax = syntax.filter(|e| !e.contains("unicode") && !e.contains("range"));
                let is_syntax = matches!(why, ReadError::Syntax(..) | ReadError::Encoding(_));
                assert!(syntax.is_none() || is_syntax, "{lossy}: {why}, expected: {syntax:?}");
                refused += 1;
            }
        }
    };
    for entry in ENTRIES.map(str::as_bytes) {
        for at in 0..=entry.len() {
            let (before, behind) = entry.split_at(at);
            judge(before);
            judge(&[before, behind.get(1..).unwrap_or_default()].concat());
            for b in 0..=u8::MAX {
                judge(&[before, &[b], behind].concat());
                judge(&[before, &[b], behind.get(1..).unwrap_or_default()].concat());
            }
        }
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..20_000 {
        let mut json = random.one_of(&ENTRIES).to_owned();
        for _ in 0..=random.below(3) {
            let mut place = || {
                let at = random.below(json.len() + 1);
                (0..=at).rev().find(|&at| json.is_char_boundary(at)).unwrap_or_default()
            };
            let (one, other) = (place(), place());
            let range = one.min(other)..one.max(other).min(one.min(other) + 9);
            let range = if json.is_char_boundary(range.end) { range } else { one..one };
            json.replace_range(range, random.one_of(&TOKENS));
        }
        judge(json.as_bytes());
    }
    assert!(good > 2_000 && refused > 50_000, "{good} taken, {refused} refused");
}

#[test]
fn files_by_extension() {
    let json = r#"{"a":{"files":["1.mp4","2.MP3","d.mp3/3","4.mp3","5"]}}"#;
    let (catalog, _) = read(json).unwrap();
    let entry = catalog.get(id("a")).unwrap().unwrap();
    for (extension, expected) in
        [("mp3", &["2.MP3", "4.mp3"][..]), ("mp4", &["1.mp4"]), ("wav", &[])]
    {
        let found: Vec<_> = entry.files_of(extension).map(text).collect();
        assert_eq!(found, expected, "{extension}");
    }
}

#[test]
fn long_titles_are_cut_between_characters() {
    let json = format!("{{\"a\":{{\"title\":\"{}\"}}}}", "é".repeat(MAX_TITLE_LEN));
    let (catalog, _) = read(&json).unwrap();
    let title = catalog.get(id("a")).unwrap().unwrap().title.unwrap();
    assert_eq!(text(title.title), "é".repeat(MAX_TITLE_LEN / 2));
}
