//! What others have written, in the module's lines of the error log.

use std::fs;

use serde_json::json;
use xspace_tests::Site;

use crate::common::{FILE, ID};

/// Characters that begin a line, move a cursor, turn the direction of writing or can't be seen, of
/// those that a path may hold in a catalog.
const HIDDEN: [char; 28] = [
    '\u{ad}',
    '\u{34f}',
    '\u{61c}',
    '\u{115f}',
    '\u{1160}',
    '\u{17b4}',
    '\u{180e}',
    '\u{200b}',
    '\u{200c}',
    '\u{200e}',
    '\u{200f}',
    '\u{2028}',
    '\u{2029}',
    '\u{202a}',
    '\u{202d}',
    '\u{202e}',
    '\u{2060}',
    '\u{2066}',
    '\u{2067}',
    '\u{2068}',
    '\u{2069}',
    '\u{3164}',
    '\u{fe0f}',
    '\u{feff}',
    '\u{ffa0}',
    '\u{fff9}',
    '\u{e0041}',
    '\u{e0100}',
];

/// The same, of those that it may not hold.
const CONTROLS: [char; 7] = ['\t', '\n', '\r', '\u{1b}', '\u{7f}', '\u{85}', '\u{9b}'];

fn hidden() -> String {
    HIDDEN.into_iter().collect()
}

fn all() -> String {
    CONTROLS.into_iter().chain(HIDDEN).collect()
}

/// Fails unless there are lines of such a level, and their message has the characters escaped, and
/// nothing of the kind as it is. What nginx adds, of client and request, does not count.
#[track_caller]
fn assert_escaped(log: &str, level: &str, escapes: &[&str], what: &str) {
    let lines: Vec<_> = log.split('\n').filter(|line| line.contains(level)).collect();
    assert!(!lines.is_empty(), "{what}: no {level} line in {log}");
    for line in lines {
        let message = line.split(", client: ").next().unwrap_or_default();
        let raw = message.chars().find(|c| HIDDEN.contains(c) || c.is_control());
        assert_eq!(raw, None, "{what}: {message:?}");
        for escape in escapes {
            assert!(message.contains(escape), "{what}: no {escape} in {message:?}");
        }
    }
}

const ESCAPES: [&str; 3] = [r"\u{202e}", r"\u{2066}", r"\u{3164}"];

#[test]
fn nginx_t_escapes_what_a_catalog_holds() {
    let text = all();
    let mut site = Site::with_directives("xspace_catalog {dir}/catalog.json;", "");
    for (catalog, kind, what) in [
        (json!({ &text: {} }), "skipped \"", "an id"),
        (json!({ ID: format!("{text}.mp3") }), "unusable \"", "a path"),
        (
            json!({ ID: { "files": ["a.mp3", format!("{}/", hidden())] } }),
            "unusable \"",
            "a path of a list",
        ),
        (json!({ ID: { &text: 1 } }), "unusable \"", "an unknown key"),
    ] {
        site.write("catalog.json", catalog.to_string());
        let said = site.check();
        assert!(said.ok, "{what}: {}", said.output);
        assert_escaped(&said.output, kind, &ESCAPES, what);
    }
}

#[test]
fn nginx_t_escapes_what_the_configuration_holds() {
    let text = all();
    for (directives, what) in [
        (format!("xspace_catalog \"{{dir}}/{text}.json\";"), "a catalog that is not there"),
        (format!("xspace_catalog \"{{dir}}/bad{text}.json\";"), "a catalog that is bad"),
        (format!("xspace_catalog {{dir}}/c.json \"{text}\";"), "a parameter of a catalog"),
        (format!("xspace_formats \"{text}\";"), "a format"),
        (format!("xspace_formats \"mp3={text}\";"), "a media type"),
        (format!("xspace_min_size \"{text}\";"), "a size"),
        (format!("xspace_lookup \"{text}\";"), "the URI of a lookup"),
        (format!("xspace_lookup \"/{text}\";"), "a lookup without a location"),
        (format!("include \"{{dir}}/{text}.conf\";"), "the name of a configuration file"),
    ] {
        let site = Site::with_directives(&directives, "");
        site.write(&format!("bad{text}.json"), "{");
        site.write(&format!("{text}.conf"), "xspace_formats no-format;");
        let said = { site }.check();
        assert!(!said.ok, "{what}: {}", said.output);
        assert_escaped(&said.output, "[emerg]", &ESCAPES, what);
    }
    let mut site = Site::new().server(&format!(
        "location ^~ /download/ {{ xspace_download \"/{text}/\"; }}
         location ^~ /other/ {{ internal; }}"
    ));
    let said = site.check();
    assert!(!said.ok, "a target: {}", said.output);
    assert_escaped(&said.output, "[emerg]", &ESCAPES, "a target");
}

#[test]
fn bytes_that_are_no_text_are_escaped() {
    for (directive, expected) in [
        (&b"xspace_catalog \"{dir}/\xff\xc3.json\";"[..], r"\xff\xc3.json"),
        (b"xspace_formats \"\xf0\x9f\";", r"\xf0\x9f"),
        (b"xspace_lookup \"/\xe2\x80\";", r"/\xe2\x80"),
        (b"xspace_lookup \"/\xed\xa0\x80\";", r"/\xed\xa0\x80"),
    ] {
        let mut site = Site::with_directives("include {dir}/odd.conf;", "");
        let dir = site.dir().to_str().expect("a path").to_owned();
        let mut text = Vec::new();
        let mut rest = directive;
        while let Some(at) = rest.windows(5).position(|part| part == b"{dir}") {
            text.extend_from_slice(&rest[..at]);
            text.extend_from_slice(dir.as_bytes());
            rest = &rest[at + 5..];
        }
        text.extend_from_slice(rest);
        site.write("odd.conf", text);
        let said = site.check();
        assert!(!said.ok, "{expected}: {}", said.output);
        assert_escaped(&said.output, "[emerg]", &[expected], expected);
        assert!(!said.output.contains(char::REPLACEMENT_CHARACTER), "{}", said.output);
    }
}

#[test]
fn lines_about_requests_are_escaped() {
    let (text, hidden) = (all(), hidden());
    let name = format!("only{text}.json");
    let entries = json!({ "named": { "files": [format!("{hidden}.mp3")] } }).to_string();
    let nginx = Site::new()
        .server(&format!(
            "location ^~ /named/ {{ xspace_download /downloads/; xspace_catalog {{dir}}/c.json; }}
             location ^~ /only/ {{
                 xspace_download /downloads/;
                 xspace_catalog \"{{dir}}/{name}\" only;
             }}
             location ^~ /lookup/ {{ xspace_download /downloads/; xspace_lookup /_space; }}
             location = /_space {{ internal; alias {{dir}}/answers/$arg_id; }}
             location ^~ /downloads/ {{ internal; alias {{dir}}/downloads/; }}"
        ))
        .file("c.json", &entries)
        .file(&name, "{}")
        .file(FILE, "recording");
    let answers = [
        json!({ &text: 1 }),
        json!({ "files": [format!("{hidden}/")] }),
        json!(format!("{text}.mp3")),
    ];
    for (number, answer) in answers.iter().enumerate() {
        nginx.write(&format!("answers/s{number}"), answer.to_string());
    }
    let nginx = nginx.start();

    assert_eq!(nginx.get("/named/named").status, 404);
    assert_eq!(nginx.get("/only/other").status, 404);
    for number in 0..answers.len() {
        assert_eq!(nginx.get(&format!("/lookup/s{number}")).status, 502, "{number}");
    }
    nginx.wait_errors(&["[error]"], answers.len() + 2);
    assert_escaped(&nginx.error_log(), "[error]", &ESCAPES, "requests");
}

#[test]
fn lines_about_a_catalog_that_changes_are_escaped() {
    let (text, hidden) = (all(), hidden());
    let name = format!("c{text}.json");
    let site =
        Site::with_directives(&format!("xspace_catalog \"{{dir}}/{name}\" refresh=50ms;"), "")
            .file(&name, "{}")
            .file(FILE, "recording");
    if !xspace_tests::build().require("threads") {
        return;
    }
    let nginx = site.start();
    nginx.site().replace(&name, json!({ ID: {} }).to_string());
    nginx.wait_error(&["[notice]", "reloaded: ", r"\u{202e}"]);
    for entry in [json!({ &text: 1 }), json!({ "files": [format!("{hidden}/")] }), json!(1)] {
        let before = nginx.count_errors(&["unusable \""]);
        nginx.site().replace(&name, json!({ ID: entry }).to_string());
        nginx.wait_errors(&["unusable \""], before + 1);
    }
    let log = nginx.error_log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("catalog \"")).collect();
    assert_escaped(&lines.join("\n"), "catalog \"", &ESCAPES, "changes");
}

#[test]
fn a_long_message_is_cut_between_characters() {
    let site = Site::with_directives("xspace_catalog {dir}/catalog.json;", "").file(
        "catalog.json",
        json!({ ID: { "files": [format!("{}.mp3", "é\u{202e}".repeat(250) + &"é".repeat(900))] } })
            .to_string(),
    );
    let nginx = site.start();
    for shift in 0..6 {
        assert_eq!(nginx.get(&format!("/download/{ID}")).status, 404, "{shift}");
    }
    nginx.wait_errors(&["[error]", "no file for space"], 6);
    let log = fs::read(nginx.dir().join("error.log")).expect("error.log");
    let log = String::from_utf8(log).expect("an error log in UTF-8");
    assert_escaped(&log, "no file for space", &[r"é\u{202e}é"], "a long path");
}
