//! Content-Disposition and names with odd characters.

use xspace_tests::{Request, Site};

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
        ("$xspace_id.bin", "inline; filename=\"1lDxLnrWjwkGm.bin\""),
        ("recording-$xspace_id.$xspace_format", "inline; filename=\"recording-1lDxLnrWjwkGm.mp3\""),
    ] {
        assert_eq!(disposition(filename, ""), expected, "{filename}");
    }
}

#[test]
fn empty_name_falls_back_to_the_default() {
    assert_eq!(disposition("\"\"", ""), "inline; filename=\"1lDxLnrWjwkGm.mp3\"");
    assert_eq!(disposition("$arg_name", ""), "inline; filename=\"1lDxLnrWjwkGm.mp3\"");
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
        ("\"a’b (c)*.mp3\"", None, "a%E2%80%99b%20%28c%29%2A.mp3"),
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
    let name = "ä".repeat(1500);
    let nginx = Site::with_directives(&format!("xspace_filename {name}.mp3;"), "")
        .file(FILE, "recording")
        .start();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get(PATH));
        assert_eq!(response.status, 200, "{protocol:?}");
        assert!(response.header("content-disposition").is_some(), "{protocol:?}");
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
