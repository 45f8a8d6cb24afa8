//! Content-Disposition and names with odd characters.

use serde_json::json;
use xspace_tests::{Request, Site, build};

use crate::common::{FILE, ID, PATH, assert_recording, one_recording, recording};

/// The header for an `xspace_filename` and the query.
fn disposition(filename: &str, query: &str) -> String {
    let nginx = Site::with_directives(&format!("xspace_filename {filename};"), "")
        .file(FILE, "recording")
        .start();
    let response = nginx.get(&format!("{PATH}{query}"));
    assert_eq!(response.status, 200, "{filename}: {response:?}");
    response.header("content-disposition").expect("Content-Disposition").to_owned()
}

#[test]
fn attachment_asks_for_a_download() {
    let nginx = one_recording().start();
    for protocol in nginx.protocols() {
        for value in ["1", "on", "true", "yes"] {
            let response =
                nginx.send(protocol, &Request::get(&format!("{PATH}?attachment={value}")));
            assert_eq!(
                response.header("content-disposition"),
                Some("attachment; filename=\"1lDxLnrWjwkGm.mp3\""),
                "{protocol:?}, {value}"
            );
            assert_eq!(response.header("content-type"), Some("audio/mpeg"), "{value}");
        }
    }
    for value in ["", "0", "off", "false", "no", "2", "11", "1%20", "yess", "%31%31"] {
        assert_recording(&nginx.get(&format!("{PATH}?attachment={value}")), value);
    }
    assert_recording(&nginx.get(&format!("{PATH}?attachment")), "no value");
}

#[test]
fn attachment_of_a_range() {
    let nginx = one_recording().start();
    let response = nginx.get_with(&format!("{PATH}?attachment=1"), "Range", "bytes=0-1");
    assert_eq!(response.status, 206);
    assert_eq!(
        response.header("content-disposition"),
        Some("attachment; filename=\"1lDxLnrWjwkGm.mp3\"")
    );
}

#[test]
fn xspace_attachment_may_come_from_anywhere() {
    for (directive, query, expected) in [
        ("xspace_attachment $arg_dl;", "?dl=1", "attachment"),
        ("xspace_attachment $arg_dl;", "?attachment=1", "inline"),
        ("xspace_attachment on;", "", "attachment"),
        ("xspace_attachment on;", "?attachment=0", "attachment"),
        ("xspace_attachment off;", "?attachment=1", "inline"),
        ("xspace_attachment \"\";", "?attachment=1", "inline"),
    ] {
        let nginx = Site::with_directives(directive, "").file(FILE, "x").start();
        let response = nginx.get(&format!("{PATH}{query}"));
        let value = response.header("content-disposition").expect("Content-Disposition");
        assert!(value.starts_with(&format!("{expected}; ")), "{directive} {query}: {value}");
    }
}

#[test]
fn plain_names_are_quoted() {
    for (filename, expected) in [
        ("talk.mp3", "inline; filename=\"talk.mp3\""),
        ("\"a talk.mp3\"", "inline; filename=\"a talk.mp3\""),
        ("\"a,b;c=d.mp3\"", "inline; filename=\"a,b;c=d.mp3\""),
        ("recording-$xspace_id.$xspace_format", "inline; filename=\"recording-1lDxLnrWjwkGm.mp3\""),
    ] {
        assert_eq!(disposition(filename, ""), expected, "{filename}");
    }
}

/// A site whose catalog gives the recording a title, and whose file names come from `?name=`.
fn titled(title: &str) -> Site {
    Site::with_directives("xspace_filename $arg_name; xspace_catalog {dir}/catalog.json;", "")
        .server(
            "location ^~ /titled/ {
                 xspace_download /downloads/;
                 xspace_catalog {dir}/catalog.json;
             }
             location ^~ /title-alone/ {
                 xspace_download /downloads/;
                 xspace_catalog {dir}/catalog.json;
                 xspace_filename $xspace_title;
             }
             add_header X-File-Name $xspace_filename;",
        )
        .file("catalog.json", json!({ ID: { "title": title } }).to_string())
        .file(FILE, "recording")
}

#[test]
fn empty_name_falls_back_to_the_default() {
    assert_eq!(disposition("\"\"", ""), "inline; filename=\"1lDxLnrWjwkGm.mp3\"");
    assert_eq!(disposition("$arg_name", ""), "inline; filename=\"1lDxLnrWjwkGm.mp3\"");
    // Nothing remains of these.
    let nginx = titled("Rust in production").start();
    for name in ["", ".", "..", "-", "~", ".mp3", "*.MP3", ":", "?", "%"] {
        let response = nginx.get(&format!("{PATH}?name={name}"));
        let expected = match name {
            "%" => "%.mp3",
            _ => "Rust-in-production_1lDxLnrWjwkGm.mp3",
        };
        let value = response.header("content-disposition");
        assert_eq!(value, Some(&*format!("inline; filename=\"{expected}\"")), "{name:?}");
        assert_eq!(response.header("x-file-name"), Some(expected), "{name:?}");
    }
}

/// The name that a client sees: `filename*` if there is one (RFC 6266, section 4.3).
fn shown(value: &str) -> String {
    let Some((_, extended)) = value.split_once("; filename*=UTF-8''") else {
        let name = value.split_once("filename=\"").and_then(|(_, name)| name.strip_suffix('"'));
        return name.unwrap_or_else(|| panic!("{value}")).to_owned();
    };
    let mut bytes = Vec::new();
    let mut rest = extended.as_bytes();
    while let [b, behind @ ..] = rest {
        let (byte, behind) = match behind.split_first_chunk::<2>() {
            Some((hex, behind)) if *b == b'%' => {
                let hex = std::str::from_utf8(hex).expect("two digits");
                (u8::from_str_radix(hex, 16).expect("two digits"), behind)
            }
            _ => (*b, behind),
        };
        bytes.push(byte);
        rest = behind;
    }
    String::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn titles_keep_their_words_and_marks() {
    for (title, expected, ascii) in [
        ("Line one\nline two", "Line-one-line-two", "Line-one-line-two"),
        ("Café\u{a0}Society", "Café-Society", "Caf-Society"),
        ("東京\u{3000}大阪", "東京-大阪", ""),
        ("a\tb\u{2028}c\u{85}d", "a-b-c-d", "a-b-c-d"),
        ("ที่นี่", "ที่นี่", ""),
        ("हिन्दी में", "हिन्दी-में", ""),
        ("مُحَمَّد", "مُحَمَّد", ""),
        ("می\u{200c}خواهم", "می\u{200c}خواهم", ""),
        ("Cafe\u{301} Fe\u{301}", "Cafe\u{301}-Fe\u{301}", "Cafe-Fe"),
        ("a\u{200b}b\u{feff}c\u{e0041}\u{202e}d\u{3164}", "abcd", "abcd"),
    ] {
        let nginx = titled(title).start();
        for protocol in nginx.protocols() {
            let response = nginx.send(protocol, &Request::get(&format!("/titled/{ID}")));
            let value = response.header("content-disposition").expect("Content-Disposition");
            assert_eq!(shown(value), format!("{expected}_{ID}.mp3"), "{protocol:?}");
            let stem = if ascii.is_empty() { String::new() } else { format!("{ascii}_") };
            let start = format!("inline; filename=\"{stem}{ID}.mp3\"");
            assert!(value.starts_with(&start), "{protocol:?}: {value}");
        }
        // As a whole name it gets the extension, and words stay apart.
        let value = nginx.get(&format!("/title-alone/{ID}"));
        let value = value.header("content-disposition").expect("Content-Disposition").to_owned();
        assert_eq!(shown(&value), format!("{}.mp3", expected.replace('-', " ")));
    }
}

#[test]
fn a_client_cannot_choose_the_extension() {
    let nginx = titled("Rust").start();
    for (name, expected) in [
        ("x", "x.mp3"),
        ("x.exe", "x.exe.mp3"),
        ("x.mp3.exe", "x.mp3.exe.mp3"),
        ("x.exe.", "x.exe.mp3"),
        ("x.exe....", "x.exe.mp3"),
        ("x.mp3", "x.mp3"),
        ("x.MP3", "x.MP3"),
        ("x.mp3.", "x.mp3"),
        ("xmp3", "xmp3.mp3"),
        ("x.mp3:stream", "x.mp3stream.mp3"),
        ("../../x.html", "x.html.mp3"),
        (".htaccess", "htaccess.mp3"),
        ("-rf.mp3", "rf.mp3"),
        ("~root.mp3", "root.mp3"),
        ("CON", "_CON.mp3"),
        ("nul.txt.mp3", "_nul.txt.mp3"),
        ("COM1.mp3", "_COM1.mp3"),
        ("a%41b.mp3", "a%41b.mp3"),
        ("x%2Eexe", "x%2Eexe.mp3"),
        ("x.exe%00", "x.exe%00.mp3"),
        ("x.exe%00.mp3", "x.exe%00.mp3"),
    ] {
        let response = nginx.get(&format!("{PATH}?name={name}"));
        let value = response.header("content-disposition").expect("Content-Disposition");
        assert_eq!(shown(value), expected, "{name}");
        assert_eq!(response.header("x-file-name"), Some(expected), "{name}");
        // What old clients might decode is in the other parameter alone (RFC 6266, appendix D).
        let (_, quoted) = value.split_once('"').expect("a quoted name");
        let (quoted, _) = quoted.split_once('"').expect("its end");
        assert!(!quoted.contains('%'), "{name}: {value}");
        assert!(quoted.ends_with(".mp3") || quoted.ends_with(".MP3"), "{name}: {value}");
    }
}

#[test]
fn ids_that_windows_takes_for_devices() {
    let mut site = Site::simple();
    for id in ["NUL", "con", "Com1", "aux-", "LPTx"] {
        site = site.file(&format!("downloads/{id}.mp3"), "recording");
    }
    let nginx = site.start();
    for (id, expected) in [
        ("NUL", "_NUL.mp3"),
        ("con", "_con.mp3"),
        ("Com1", "_Com1.mp3"),
        ("aux-", "aux-.mp3"),
        ("LPTx", "LPTx.mp3"),
    ] {
        let response = nginx.get(&format!("/download/{id}"));
        let value = response.header("content-disposition");
        assert_eq!(value, Some(&*format!("inline; filename=\"{expected}\"")), "{id}");
    }
}

#[test]
fn curl_saves_under_the_name_for_old_clients() {
    let nginx = titled("日本 2025").start();
    nginx.site().make_dir("saved");
    let saved = nginx.dir().join("saved");
    for (path, expected) in [
        (format!("/titled/{ID}"), format!("2025_{ID}.mp3")),
        (format!("/title-alone/{ID}"), "2025.mp3".to_owned()),
        (format!("{PATH}?name=-x%41.exe"), "x41.exe.mp3".to_owned()),
        (format!("{PATH}?name=.curlrc"), "curlrc.mp3".to_owned()),
    ] {
        let (url, saved) = (nginx.url(&path), saved.to_str().expect("a path"));
        nginx.curl(&["-OJ", "--output-dir", saved, &url]);
        let name = std::path::Path::new(saved).join(&expected);
        assert_eq!(std::fs::read(&name).ok().as_deref(), Some(&b"recording"[..]), "{expected}");
    }
}

#[test]
fn quotes_slashes_and_control_characters_never_reach_the_header() {
    for filename in [
        r#""a\"b.mp3""#,
        r#""a\\b.mp3""#,
        r#""../../etc/passwd""#,
        r#""a\r\nX-Evil: 1.mp3""#,
        r#""a\tb.mp3""#,
        "\"a\x01\x1f\x7fb.mp3\"",
        "\"a\u{85}\u{9f}b.mp3\"",
    ] {
        let value = disposition(filename, "");
        let name = value
            .strip_prefix("inline; filename=\"")
            .and_then(|rest| rest.split_once('"'))
            .unwrap_or_else(|| panic!("{filename}: {value}"))
            .0;
        assert!(!name.is_empty(), "{filename}: {value}");
        assert!(
            name.chars().all(|c| (' '..='~').contains(&c) && !"\"\\/".contains(c)),
            "{filename}: {value}"
        );
        for (index, _) in value.match_indices('%') {
            let code = u8::from_str_radix(&value[index + 1..index + 3], 16).expect("two digits");
            assert!(code >= 0x20 && code != 0x7f && !b"\"\\/".contains(&code), "{value}");
        }
        assert!(!value.contains("%C2%85") && !value.contains("%C2%9F"), "{filename}: {value}");
    }
}

#[test]
fn crlf_in_a_name_adds_no_header() {
    if !build().require("http_rewrite") {
        return;
    }
    let nginx = Site::with_directives("xspace_filename $evil;", "")
        .server(r#"set $evil "a\r\nX-Evil: 1\r\n\r\nbody";"#)
        .file(FILE, recording())
        .start();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get(PATH));
        assert_eq!(response.status, 200, "{protocol:?}");
        assert_eq!(response.header("x-evil"), None, "{protocol:?}");
        assert_eq!(response.body.len(), recording().len(), "{protocol:?}");
    }
}

#[test]
fn names_beyond_ascii_have_both_parameters() {
    for (filename, ascii, extended) in [
        ("\"Gespräch.mp3\"", Some("Gesprch.mp3"), "Gespr%C3%A4ch.mp3"),
        ("\"Ünï.mp3\"", Some("n.mp3"), "%C3%9Cn%C3%AF.mp3"),
        ("\"録音 talk.mp3\"", None, "%E9%8C%B2%E9%9F%B3%20talk.mp3"),
        ("\"a’b (c)'.mp3\"", None, "a%E2%80%99b%20%28c%29%27.mp3"),
        ("\"日本 2025.mp3\"", Some("2025.mp3"), "%E6%97%A5%E6%9C%AC%202025.mp3"),
        ("\"2025-日本 -1.mp3\"", Some("2025-1.mp3"), "2025-%E6%97%A5%E6%9C%AC%20-1.mp3"),
        ("a%41b.mp3", Some("a41b.mp3"), "a%2541b.mp3"),
        ("\"🎙.mp3\"", None, "%F0%9F%8E%99.mp3"),
    ] {
        let value = disposition(filename, "");
        let (plain, star) = value
            .strip_prefix("inline; filename=\"")
            .and_then(|rest| rest.split_once("\"; filename*=UTF-8''"))
            .unwrap_or_else(|| panic!("{filename}: {value}"));
        assert!(plain.is_ascii() && !plain.is_empty(), "{filename}: {value}");
        assert!(plain.ends_with(".mp3") && plain != ".mp3", "{filename}: {value}");
        if let Some(ascii) = ascii {
            assert_eq!(plain, ascii, "{filename}");
        }
        assert_eq!(star, extended, "{filename}");
    }
    // Nothing of the name remains.
    let value = disposition("\"録音.mp3\"", "");
    assert_eq!(
        value,
        format!("inline; filename=\"{ID}.mp3\"; filename*=UTF-8''%E9%8C%B2%E9%9F%B3.mp3")
    );
}

#[test]
fn names_that_are_not_utf8_do_no_harm() {
    let site = Site::new()
        .server("location ^~ /downloads/ { internal; alias {dir}/downloads/; }")
        .server("include {dir}/download.conf;")
        .file(FILE, recording());
    let mut conf = b"location ^~ /download/ { xspace_download /downloads/; ".to_vec();
    conf.extend_from_slice(b"xspace_filename \"a\xff\xc3b\xe9.mp3\"; }\n");
    site.write("download.conf", conf);
    let nginx = site.start();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get(PATH));
        assert_eq!(response.status, 200, "{protocol:?}");
        let value = response.header("content-disposition").expect("Content-Disposition");
        assert!(value.is_ascii(), "{value:?}");
        assert!(value.starts_with("inline; filename=\"ab"), "{value:?}");
    }
}

#[test]
fn very_long_name_is_cut() {
    for name in ["ä".repeat(1500), "a".repeat(3000), "語".repeat(67), "a".repeat(190) + "é"] {
        for extension in ["", ".mp3", ".MP3", ".exe"] {
            let nginx = Site::with_directives(&format!("xspace_filename {name}{extension};"), "")
                .file(FILE, "recording")
                .start();
            for protocol in nginx.protocols() {
                let response = nginx.send(protocol, &Request::get(PATH));
                assert_eq!(response.status, 200, "{protocol:?}");
                let value = response.header("content-disposition").expect("Content-Disposition");
                let shown = shown(value);
                assert!((195..=200).contains(&shown.len()), "{protocol:?}: {value}");
                assert!(shown.to_lowercase().ends_with(".mp3"), "{protocol:?}: {value}");
            }
        }
    }
}

#[test]
fn directories_with_odd_names_are_served() {
    for name in [
        "100%",
        "a?b",
        "a#b",
        "a\"b",
        "a;b",
        "a b",
        "%41",
        "Gespräche",
        "録音",
        "a&b=c",
        "a+b",
        "a'b",
    ] {
        let quoted = name.replace('"', "\\\"");
        for target in [
            format!("alias \"{{dir}}/{quoted}/downloads/\";"),
            format!("root \"{{dir}}/{quoted}\";"),
        ] {
            let nginx = Site::with_download("")
                .server(&format!("location ^~ /downloads/ {{ internal; {target} }}"))
                .file(&format!("{name}/{FILE}"), recording())
                .start();
            assert_recording(&nginx.get(PATH), &target);
            let part = nginx.get_with(&format!("{PATH}.mp3?start=1"), "Range", "bytes=0-1");
            assert_eq!((part.status, part.body.len()), (206, 2), "{target}");
        }
    }
}

#[test]
fn targets_with_odd_names_are_served() {
    for name in ["100%", "a?b", "a#b", "a\"b", "a;b", "a b", "%41", "Gespräche"] {
        let quoted = name.replace('"', "\\\"");
        let nginx = Site::new()
            .server(&format!(
                "location ^~ /download/ {{ xspace_download \"/{quoted}/\"; }}
                 location ^~ \"/{quoted}/\" {{ internal; alias {{dir}}/downloads/; }}"
            ))
            .file(FILE, recording())
            .start();
        assert_recording(&nginx.get(PATH), name);
    }
}
