//! Requests for spaces that a catalog knows.

use xspace_tests::{
    Nginx, Protocol, Request, Response, Site, build, bytes, real_recording, same_bytes,
};

use crate::common::{
    FILE, ID, MISSING, MISSING_PATH, OTHER, PATH, SIZE, assert_no_recording, assert_recording,
    recording,
};

/// Tells in a header what the module's variables say, also of an error.
const SAYS: &str =
    "add_header X-Says '$xspace_outcome|$xspace_source|$xspace_format|$xspace_file|$xspace_title'
     always;";

/// A site whose catalog has these entries, and what `xspace_catalog` has behind the path.
fn with_catalog(entries: &str, parameters: &str) -> Site {
    with_directives(entries, parameters, "", "")
}

/// The same with more directives in `/download/` and in the target.
fn with_directives(entries: &str, parameters: &str, download: &str, target: &str) -> Site {
    Site::with_directives(
        &format!("xspace_catalog {{dir}}/catalog.json {parameters}; {download}"),
        target,
    )
    .server(SAYS)
    .file("catalog.json", format!("{{{entries}}}"))
}

/// A string of JSON.
fn json(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out + "\""
}

/// What the variables said.
#[track_caller]
fn says(response: &Response) -> &str {
    response.header("x-says").unwrap_or_else(|| panic!("no X-Says: {response:?}"))
}

/// Fails unless the file that has this text was answered.
#[track_caller]
fn assert_file(response: &Response, text: &str, expected: &str, what: &str) {
    assert_eq!(response.status, 200, "{what}: {response:?}");
    assert_eq!(response.text(), text, "{what}");
    assert_eq!(says(response), expected, "{what}");
}

/// The Content-Disposition of a space with this title.
fn disposition_of(nginx: &Nginx, protocol: Protocol, path: &str) -> String {
    let response = nginx.send(protocol, &Request::get(path));
    assert_eq!(response.status, 200, "{path}: {response:?}");
    response.header("content-disposition").expect("Content-Disposition").to_owned()
}

#[test]
fn every_form_of_an_entry() {
    let nginx = with_catalog(
        r#"
        "string": "one.mp3",
        "nested": "2025/06/two.m4a",
        "list": { "files": ["one.mp3"] },
        "titled": { "title": "A talk", "files": ["2025/06/two.m4a"] },
        "reversed": { "files": ["2025/06/two.m4a"], "title": "A talk" },
        "title": { "title": "Only a title" },
        "empty": {},
        "nothing": { "title": null, "files": null },
        "untitled": { "title": "", "files": ["one.mp3"] },
        "esc\u0061ped": "\u006fne.m\u00703"
        "#,
        "",
    )
    .file("downloads/one.mp3", "one")
    .file("downloads/2025/06/two.m4a", "two")
    .file("downloads/string.mp3", "not this one")
    .file("downloads/title.wav", "by title")
    .file("downloads/empty.mp4", "by empty")
    .file("downloads/nothing.mp3", "by nothing")
    .file("downloads/unknown.mp3", "unknown")
    .start();
    for protocol in nginx.protocols() {
        for (id, text, expected) in [
            ("string", "one", "found|catalog|mp3|one.mp3|"),
            ("nested", "two", "found|catalog|m4a|2025/06/two.m4a|"),
            ("list", "one", "found|catalog|mp3|one.mp3|"),
            ("titled", "two", "found|catalog|m4a|2025/06/two.m4a|A talk"),
            ("reversed", "two", "found|catalog|m4a|2025/06/two.m4a|A talk"),
            ("title", "by title", "found|directory|wav|title.wav|Only a title"),
            ("empty", "by empty", "found|directory|mp4|empty.mp4|"),
            ("nothing", "by nothing", "found|directory|mp3|nothing.mp3|"),
            ("untitled", "one", "found|catalog|mp3|one.mp3|"),
            ("escaped", "one", "found|catalog|mp3|one.mp3|"),
            ("unknown", "unknown", "found|directory|mp3|unknown.mp3|"),
        ] {
            let response = nginx.send(protocol, &Request::get(&format!("/download/{id}")));
            assert_file(&response, text, expected, &format!("{protocol:?} {id}"));
        }
    }
}

#[test]
fn statuses_are_answered_without_a_look_at_the_disk() {
    let nginx = with_catalog(
        r#"
        "s403": { "status": 403 },
        "s404": { "status": 404, "files": ["there.mp3"] },
        "s410": { "status": 410, "title": "Gone" },
        "s451": { "title": "Sued", "status": 451, "files": ["there.mp3"] }
        "#,
        "",
    )
    .file("downloads/there.mp3", "there")
    .file("downloads/s403.mp3", "there")
    .file("downloads/s410.mp3", "there")
    .start();
    for protocol in nginx.protocols() {
        for (id, status, title) in
            [("s403", 403, ""), ("s404", 404, ""), ("s410", 410, "Gone"), ("s451", 451, "Sued")]
        {
            for path in [
                format!("/download/{id}"),
                format!("/download/{id}.mp3"),
                format!("/download/{id}?attachment=1&format=audio"),
            ] {
                for request in [Request::get(&path), Request::get(&path).range("bytes=0-1")] {
                    let what = format!("{protocol:?} {request:?}");
                    let response = nginx.send(protocol, &request);
                    assert_no_recording(&response, status, &what);
                    let said: Vec<&str> = says(&response).split('|').collect();
                    assert_eq!([said[0], said[1], said[3], said[4]], ["status", "", "", title]);
                }
                let response = nginx.send(protocol, &Request::head(&path));
                assert_no_recording(&response, status, &path);
                assert!(response.body.is_empty(), "{path}");
            }
        }
    }
    // A missing file is an error in the log, an answer that somebody wanted is none.
    assert_eq!(nginx.count_errors(&["[error]"]), 0, "{}", nginx.error_log());
}

#[test]
fn statuses_meet_error_page() {
    if !build().require("http_rewrite") {
        return;
    }
    for (directive, status) in [
        ("error_page 403 404 410 451 /pages/gone.html;", None),
        ("error_page 403 404 410 451 =200 /pages/gone.html;", Some(200)),
        ("error_page 403 404 410 451 = /pages/gone.html;", Some(200)),
        ("error_page 403 404 410 451 @gone;", None),
        ("error_page 403 404 410 451 =206 @gone;", Some(206)),
    ] {
        let entries = r#"
            "s403": { "status": 403 }, "s404": { "status": 404 },
            "s410": { "status": 410 }, "s451": { "status": 451 }, "file": "one.mp3""#;
        let nginx = with_directives(entries, "", directive, "")
            .server(
                "location /pages/ { root {dir}/html; types { text/html html; } }
                 location @gone {
                     root {dir}/html/pages; types { text/html html; } rewrite ^ /gone.html break;
                 }",
            )
            .file("html/pages/gone.html", "<p>Gone</p>")
            .file("downloads/one.mp3", "one")
            .start();
        for protocol in nginx.protocols() {
            for (id, own) in [("s403", 403), ("s404", 404), ("s410", 410), ("s451", 451)] {
                let what = format!("{protocol:?} {directive} {id}");
                let request = Request::get(&format!("/download/{id}?attachment=1"));
                let response = nginx.send(protocol, &request);
                assert_no_recording(&response, status.unwrap_or(own), &what);
                assert_eq!(response.text(), "<p>Gone</p>", "{what}");
                assert_eq!(says(&response), "status||||", "{what}");
            }
        }
        assert_eq!(nginx.get("/download/file").text(), "one", "{directive}");
    }
}

#[test]
fn statuses_hand_over_to_an_application() {
    if !build().require("http_rewrite") {
        return;
    }
    let entries = r#""s410": { "status": 410, "title": "A talk" }"#;
    let nginx = with_directives(entries, "", "error_page 410 = @app;", "")
        .server("location @app { return 200 \"$xspace_id|$xspace_outcome|$xspace_title\"; }")
        .start();
    let response = nginx.get("/download/s410");
    assert_eq!(response.text(), "s410|status|A talk");
    assert_no_recording(&response, 200, "the application's page");
}

#[test]
fn order_is_that_of_the_formats_and_within_one_that_of_the_entry() {
    let names = ["v.mp4", "b.wav", "2.mp3", "a.m4a", "1.mp3", "3.MP3"];
    for (directive, query, expected) in [
        ("", "", "2.mp3"),
        ("", "?format=audio", "2.mp3"),
        ("", "?format=AUDIO", "2.mp3"),
        ("", "?format=video", "v.mp4"),
        ("", "?format=wav", "b.wav"),
        ("", "?format=M4A", "a.m4a"),
        ("xspace_formats wav mp3;", "", "b.wav"),
        ("xspace_formats mp4 m4a wav mp3;", "", "v.mp4"),
        ("xspace_formats mp4 m4a wav mp3;", "?format=audio", "a.m4a"),
        ("xspace_formats m4a;", "", "a.m4a"),
    ] {
        let list: Vec<String> = names.iter().map(|name| json(&format!("d/{name}"))).collect();
        let entries = format!("\"{ID}\": {{ \"files\": [{}] }}", list.join(", "));
        let mut site = with_directives(&entries, "", directive, "");
        for name in names {
            site = site.file(&format!("downloads/d/{name}"), name);
        }
        let nginx = site.start();
        let response = nginx.get(&format!("{PATH}{query}"));
        assert_eq!(response.text(), expected, "{directive} {query}");
        assert_eq!(says(&response).split('|').nth(3), Some(&*format!("d/{expected}")));
    }
}

#[test]
fn later_files_are_tried_where_earlier_ones_are_missing() {
    let entries = format!(
        r#""{ID}": {{ "files": ["a/1.mp3", "a/2.MP3", "a/3.mp3", "a/4.wav", "a/5.m4a", "a/6.mp4"] }}"#
    );
    let nginx = with_catalog(&entries, "").file(FILE, "by id").start();
    for (name, expected) in [
        ("6.mp4", "found|catalog|mp4|a/6.mp4|"),
        ("4.wav", "found|catalog|wav|a/4.wav|"),
        ("5.m4a", "found|catalog|m4a|a/5.m4a|"),
        ("3.mp3", "found|catalog|mp3|a/3.mp3|"),
        ("2.MP3", "found|catalog|mp3|a/2.MP3|"),
        ("1.mp3", "found|catalog|mp3|a/1.mp3|"),
    ] {
        nginx.site().write(&format!("downloads/a/{name}"), name);
        assert_file(&nginx.get(PATH), name, expected, name);
    }
}

#[test]
fn extension_counts_in_any_case() {
    let nginx = with_catalog(
        r#""upper": "A.MP3", "mixed": "B.Mp4", "dots": "c.mp4.m4a", "path": "d.mp4/e.WAV""#,
        "",
    )
    .file("downloads/A.MP3", "A")
    .file("downloads/B.Mp4", "B")
    .file("downloads/c.mp4.m4a", "C")
    .file("downloads/d.mp4/e.WAV", "E")
    .start();
    for protocol in nginx.protocols() {
        for (path, text, media_type, format) in [
            ("upper", "A", "audio/mpeg", "mp3"),
            ("upper.mp3", "A", "audio/mpeg", "mp3"),
            ("upper.MP3", "A", "audio/mpeg", "mp3"),
            ("upper?format=mP3", "A", "audio/mpeg", "mp3"),
            ("mixed", "B", "video/mp4", "mp4"),
            ("mixed?format=video", "B", "video/mp4", "mp4"),
            ("dots", "C", "audio/mp4", "m4a"),
            ("path", "E", "audio/wav", "wav"),
        ] {
            let response = nginx.send(protocol, &Request::get(&format!("/download/{path}")));
            assert_eq!(response.text(), text, "{protocol:?} {path}: {response:?}");
            assert_eq!(response.header("content-type"), Some(media_type), "{path}");
            assert_eq!(says(&response).split('|').nth(2), Some(format), "{path}");
        }
    }
}

#[test]
fn files_of_no_format_are_left_out() {
    let nginx = with_catalog(
        r#"
        "mixed": { "files": ["a.txt", "a.flac", "mp3", "amp3", ".mp3x", "a.mp3.bak", "a.wav"] },
        "none": { "files": ["a.txt", "no-extension", "dir.mp3/file"] },
        "hidden": ".mp3"
        "#,
        "",
    )
    .file("downloads/a.txt", "text")
    .file("downloads/a.flac", "flac")
    .file("downloads/mp3", "mp3")
    .file("downloads/amp3", "amp3")
    .file("downloads/.mp3x", "x")
    .file("downloads/a.mp3.bak", "backup")
    .file("downloads/no-extension", "none")
    .file("downloads/dir.mp3/file", "none")
    .file("downloads/none.mp3", "by id")
    .file("downloads/a.wav", "wav")
    .start();
    assert_file(&nginx.get("/download/mixed"), "wav", "found|catalog|wav|a.wav|", "mixed");
    for path in ["/download/none", "/download/none.mp3", "/download/mixed.mp3"] {
        let response = nginx.get(path);
        assert_no_recording(&response, 404, path);
        assert_eq!(says(&response).split('|').next(), Some("not_found"), "{path}");
    }
    nginx.wait_error(&["[error]", "space \"none\"", "\"GET /download/none HTTP/1.1\""]);
}

#[test]
fn format_that_the_entry_does_not_name_is_404() {
    let entries = format!(r#""{ID}": "audio/only.mp3""#);
    let nginx = with_catalog(&entries, "")
        .file("downloads/audio/only.mp3", "mp3")
        .file("downloads/audio/only.mp4", "mp4")
        .file(&format!("downloads/{ID}.mp4"), "by id")
        .file(&format!("downloads/{ID}.wav"), "by id")
        .start();
    for suffix in [".mp4", ".wav", "?format=video", "?format=m4a", ".flac", "?format=xyz"] {
        assert_no_recording(&nginx.get(&format!("{PATH}{suffix}")), 404, suffix);
    }
    assert_eq!(nginx.get(&format!("{PATH}?format=audio")).text(), "mp3");
}

/// Names that have a meaning somewhere between a catalog, a URI and a file system.
const ODD_NAMES: [&str; 36] = [
    "100%",
    "%41",
    "%2e%2e",
    "%00",
    "%",
    "a?b",
    "a?start=5&b",
    "?",
    "a#b",
    "#",
    "a\"b",
    "\"",
    "a'b",
    "a;b",
    "a\\b",
    "\\",
    "a b",
    " a ",
    " ",
    "a+b",
    "a&b=c",
    "a:b",
    "a|b",
    "a*b",
    "a$b",
    "$xspace_id",
    "${uri}",
    "a{b}",
    "<a>",
    "~a",
    "...",
    "..a",
    "Gespräch über Füße",
    "Gespra\u{308}ch",
    "録音",
    "🎙 \u{202e}3pm",
];

#[test]
fn odd_names_are_served_byte_for_byte() {
    for target in [
        "alias {dir}/downloads/;",
        "root {dir};",
        "alias {dir}/downloads/; open_file_cache max=100;",
        "alias {dir}/downloads/; disable_symlinks on;",
    ] {
        let mut entries = Vec::new();
        let mut site = Site::with_download("xspace_catalog {dir}/catalog.json;")
            .server(SAYS)
            .server(&format!("location ^~ /downloads/ {{ internal; {target} }}"));
        for (index, name) in ODD_NAMES.iter().enumerate() {
            let path = format!("d/{name}/{name}.mp3");
            entries.push(format!("\"f{index}\": {}", json(&path)));
            site = site.file(&format!("downloads/{path}"), bytes(index as u64, 1000 + index));
        }
        let nginx = site.file("catalog.json", format!("{{{}}}", entries.join(",\n"))).start();
        for protocol in nginx.protocols() {
            let mut connection = nginx.connect(protocol);
            for (index, name) in ODD_NAMES.iter().enumerate() {
                let what = format!("{protocol:?} {target} {name}");
                let content = bytes(index as u64, 1000 + index);
                let path = format!("/download/f{index}?start=1");
                let response = connection.send(&Request::get(&path));
                assert_eq!(response.status, 200, "{what}: {response:?}");
                same_bytes(&response.body, &content, &what);
                assert_eq!(says(&response), format!("found|catalog|mp3|d/{name}/{name}.mp3|"));
                let response = connection.send(&Request::get(&path).range("bytes=10-19"));
                assert_eq!(response.status, 206, "{what}: {response:?}");
                same_bytes(&response.body, &content[10..20], &what);
            }
        }
    }
}

#[test]
fn long_names_are_served() {
    // As long as a name and a path can be.
    let name = format!("{}.mp3", "n".repeat(251));
    let deep = format!("{}x.mp3", "d/".repeat(1000));
    let entries = format!("\"long\": \"{name}\", \"deep\": \"{deep}\"");
    let nginx = with_catalog(&entries, "")
        .file(&format!("downloads/{name}"), "long")
        .file(&format!("downloads/{deep}"), "deep")
        .start();
    for protocol in nginx.protocols() {
        for id in ["long", "deep"] {
            let response = nginx.send(protocol, &Request::get(&format!("/download/{id}")));
            assert_eq!((response.status, response.text()), (200, id.to_owned()), "{protocol:?}");
        }
    }
}

#[test]
fn path_longer_than_the_system_takes_is_a_miss() {
    let path = format!("{}x.mp3", "directory/".repeat(300));
    let name = format!("{}.mp3", "n".repeat(1000));
    let nginx = with_catalog(&format!("\"a\": \"{path}\", \"b\": \"{name}\""), "").start();
    for id in ["a", "b"] {
        assert_no_recording(&nginx.get(&format!("/download/{id}")), 404, id);
    }
}

#[test]
fn named_file_that_is_not_there_is_404_and_nothing_else_is_served() {
    let entries =
        format!(r#""{ID}": "2025/gone.mp3", "{OTHER}": {{ "files": ["a.mp3", "b.wav"] }}"#);
    let nginx = with_catalog(&entries, "")
        .file(FILE, recording())
        .file("downloads/2025/gone.wav", "same name")
        .file(&format!("downloads/2025/{ID}.mp3"), "same directory")
        .file(&format!("downloads/{OTHER}.mp3"), recording())
        .start();
    for protocol in nginx.protocols() {
        for path in [PATH, &format!("{PATH}.mp3"), &format!("/download/{OTHER}")] {
            let response = nginx.send(protocol, &Request::get(path));
            assert_no_recording(&response, 404, &format!("{protocol:?} {path}"));
            assert_eq!(says(&response).split('|').next(), Some("not_found"), "{path}");
        }
    }
    let line = nginx.wait_error(&["[error]", &format!("no file for space \"{ID}\"")]);
    // Nothing of other formats, which nobody looked for.
    assert!(line.contains("stat() \"") && line.contains("/2025/gone.mp3\" failed"), "{line}");
}

#[test]
fn min_size_counts_for_named_files() {
    let entries = format!(
        r#""{ID}": {{ "files": ["small.mp3", "exact.mp3", "large.mp3"] }}, "{OTHER}": "small.mp3""#
    );
    let nginx = with_directives(&entries, "", "xspace_min_size 1k;", "")
        .file("downloads/small.mp3", bytes(1, 1023))
        .file("downloads/exact.mp3", bytes(2, 1024))
        .file("downloads/large.mp3", bytes(3, 5000))
        .start();
    same_bytes(&nginx.get(PATH).body, &bytes(2, 1024), "the first that is large enough");
    assert_no_recording(&nginx.get(&format!("/download/{OTHER}")), 404, "too small");
    let what = "/small.mp3\" is not a regular file of at least 1024 bytes";
    nginx.wait_error(&["[error]", &format!("no file for space \"{OTHER}\""), what]);
}

#[test]
fn named_directory_or_fifo_is_passed_over() {
    let entries = format!(r#""{ID}": {{ "files": ["dir.mp3", "fifo.mp3", "file.mp3"] }}"#);
    let site = with_catalog(&entries, "").file("downloads/file.mp3", "file");
    site.make_dir("downloads/dir.mp3");
    let fifo = site.dir().join("downloads/fifo.mp3");
    assert!(std::process::Command::new("mkfifo").arg(fifo).status().expect("mkfifo").success());
    let nginx = site.start();
    assert_eq!(nginx.get(PATH).text(), "file");
}

#[test]
fn named_file_that_cannot_be_opened_is_403() {
    let entries =
        format!(r#""{ID}": {{ "files": ["closed.mp3", "open.mp3"] }}, "{OTHER}": "no/x.mp3""#);
    let site = with_catalog(&entries, "")
        .file("downloads/closed.mp3", "closed")
        .file("downloads/no/x.mp3", "x")
        .file("downloads/open.mp3", "open");
    site.chmod("downloads/closed.mp3", 0);
    site.chmod("downloads/no", 0);
    let nginx = site.start();
    assert_no_recording(&nginx.get(PATH), 403, "the first regular file wins, readable or not");
    let response = nginx.get(&format!("/download/{OTHER}"));
    assert_no_recording(&response, 403, "every look was refused");
    assert_eq!(says(&response).split('|').next(), Some("forbidden"));
    nginx.site().chmod("downloads/no", 0o755);
}

#[test]
fn named_link_is_followed_or_not_as_the_target_says() {
    let entries = format!(r#""{ID}": "link.mp3""#);
    for (directive, status) in [("", 200), ("disable_symlinks on;", 403)] {
        let site = with_directives(&entries, "", "", directive).file("elsewhere.mp3", "elsewhere");
        site.symlink("../elsewhere.mp3", "downloads/link.mp3");
        let nginx = site.start();
        assert_eq!(nginx.get(PATH).status, status, "{directive}");
    }
}

#[test]
fn only_makes_other_ids_404() {
    let entries = format!(r#""{ID}": "a.mp3", "titled": {{ "title": "A talk" }}"#);
    for (parameters, status) in
        [("only", 404), ("only refresh=off", 404), ("refresh=1h only", 404), ("refresh=1h", 200)]
    {
        let nginx = with_catalog(&entries, parameters)
            .file("downloads/a.mp3", "a")
            .file("downloads/titled.mp3", "titled")
            .file(&format!("downloads/{OTHER}.mp3"), "by id")
            .start();
        for protocol in nginx.protocols() {
            let what = format!("{protocol:?} {parameters}");
            let get = |path: &str| nginx.send(protocol, &Request::get(path));
            assert_file(&get(PATH), "a", "found|catalog|mp3|a.mp3|", &what);
            let titled = get("/download/titled");
            assert_file(&titled, "titled", "found|directory|mp3|titled.mp3|A talk", &what);
            let other = get(&format!("/download/{OTHER}"));
            let missing = get(MISSING_PATH);
            assert_eq!(other.status, status, "{what}");
            assert_no_recording(&missing, 404, &what);
            if status == 404 {
                // Nobody learns what is in the directory.
                assert_no_recording(&other, 404, &what);
                assert_eq!(other.lasting_headers(), missing.lasting_headers(), "{what}");
                assert_eq!(other.body, missing.body, "{what}");
                assert_eq!(says(&other), "not_found||||", "{what}");
            }
        }
    }
}

#[test]
fn only_logs_as_a_missing_file_is_logged() {
    let nginx = with_catalog("", "only").start();
    assert_no_recording(&nginx.get(MISSING_PATH), 404, "an empty catalog");
    nginx.wait_error(&["[error]", MISSING, "catalog.json"]);
    let nginx = with_directives("", "only", "", "log_not_found off;").start();
    assert_no_recording(&nginx.get(MISSING_PATH), 404, "log_not_found off");
    let dir = nginx.dir().to_owned();
    assert_eq!(nginx.count_errors(&["[error]"]), 0, "{}", dir.display());
}

#[test]
fn empty_catalog_leaves_the_directory() {
    let nginx = with_catalog("", "").file(FILE, recording()).start();
    assert_recording(&nginx.get(PATH), "by id");
    assert_no_recording(&nginx.get(MISSING_PATH), 404, "missing");
}

#[test]
fn ids_are_told_apart_by_case() {
    let nginx = with_catalog(r#""abc": "lower.mp3", "ABC": "upper.mp3""#, "only")
        .file("downloads/lower.mp3", "lower")
        .file("downloads/upper.mp3", "upper")
        .start();
    assert_eq!(nginx.get("/download/abc").text(), "lower");
    assert_eq!(nginx.get("/download/ABC").text(), "upper");
    assert_eq!(nginx.get("/download/Abc").status, 404);
}

#[test]
fn ids_of_every_length_and_letter_are_found() {
    let mut ids: Vec<String> = (1..=128).map(|len| "x".repeat(len)).collect();
    ids.extend(["-", "_", "--_", "0", "Z9-_"].map(str::to_owned));
    let entries: Vec<String> = ids
        .iter()
        .map(|id| format!("\"{id}\": {{ \"files\": [\"a.mp3\"], \"title\": \"{id}\" }}"))
        .collect();
    let nginx = with_catalog(&entries.join(", "), "only").file("downloads/a.mp3", "a").start();
    let mut connection = nginx.connect(Protocol::Http1);
    for id in &ids {
        let response = connection.send(&Request::get(&format!("/download/{id}")));
        assert_file(&response, "a", &format!("found|catalog|mp3|a.mp3|{id}"), id);
    }
    let response = connection.send(&Request::get(&format!("/download/{}", "x".repeat(129))));
    assert_eq!((response.status, says(&response)), (404, "bad_id||||"));
}

#[test]
fn large_catalog_is_searched() {
    let entries: Vec<String> = (0..50_000)
        .map(|n| format!("\"s{n}\": {{ \"title\": \"Talk {n}\", \"files\": [\"a.mp3\"] }}"))
        .collect();
    let nginx = with_catalog(&entries.join(",\n"), "only").file("downloads/a.mp3", "a").start();
    let mut connection = nginx.connect(Protocol::Http1);
    for n in (0..50_000).step_by(997).chain([49_999]) {
        let response = connection.send(&Request::get(&format!("/download/s{n}")));
        assert_file(&response, "a", &format!("found|catalog|mp3|a.mp3|Talk {n}"), "found");
    }
    for id in ["s50000", "s", "s00", "S1"] {
        assert_eq!(connection.send(&Request::get(&format!("/download/{id}"))).status, 404, "{id}");
    }
}

#[test]
fn directory_off_serves_what_is_named_from_elsewhere() {
    if !build().require("http_proxy") {
        return;
    }
    let nginx = Site::new()
        .server(
            "location ^~ /download/ {
                 xspace_download /store/;
                 xspace_directory off;
                 xspace_catalog {dir}/catalog.json;
             }
             location ^~ /store/ {
                 internal; proxy_pass http://127.0.0.1:{other}/bucket/;
             }",
        )
        .server(SAYS)
        .http(
            "server {
                 listen 127.0.0.1:{other};
                 location /bucket/ { alias {dir}/bucket/; }
             }",
        )
        .file(
            "catalog.json",
            format!(
                r#"{{
                "{ID}": {{ "title": "A talk", "files": ["a b/100%.wav", "c.mp3"] }},
                "first": {{ "files": ["missing.mp3", "c.mp3"] }},
                "odd": "a b/100%.wav",
                "title": {{ "title": "Only a title" }},
                "gone": {{ "status": 410 }}
                }}"#
            ),
        )
        .file("bucket/c.mp3", recording())
        .file("bucket/a b/100%.wav", "wav")
        .file("bucket/title.mp3", "by id")
        .file(&format!("bucket/{OTHER}.mp3"), "by id")
        .start();
    for protocol in nginx.protocols() {
        let what = format!("{protocol:?}");
        let get = |path: &str| nginx.send(protocol, &Request::get(path));
        let response = get(PATH);
        assert_eq!(response.status, 200, "{what}: {response:?}");
        same_bytes(&response.body, &recording(), &what);
        assert_eq!(says(&response), "found|catalog|mp3|c.mp3|A talk", "{what}");
        assert_eq!(response.header("content-type"), Some("audio/mpeg"), "{what}");
        assert_eq!(
            response.header("content-disposition"),
            Some(&*format!("inline; filename=\"A-talk_{ID}.mp3\"")),
            "{what}"
        );
        let part = nginx.send(protocol, &Request::get(PATH).range("bytes=1000-1999"));
        assert_eq!(part.status, 206, "{what}: {part:?}");
        same_bytes(&part.body, &recording()[1000..2000], &what);
        assert_eq!(get("/download/odd").text(), "wav", "{what}");
        // Nobody looks whether it is there: the store says that it is not.
        assert_no_recording(&get("/download/first"), 404, &what);
        for path in ["/download/title", &format!("/download/{OTHER}"), MISSING_PATH] {
            let response = get(path);
            assert_no_recording(&response, 404, path);
            assert_eq!(says(&response).split('|').next(), Some("not_found"), "{path}");
        }
        assert_no_recording(&get("/download/gone"), 410, &what);
    }
}

#[test]
fn directory_of_its_own_is_where_named_files_are_looked_for() {
    if !build().require("http_proxy") {
        return;
    }
    let nginx = Site::new()
        .server(
            "location ^~ /download/ {
                 xspace_download /store/;
                 xspace_directory {dir}/mirror;
                 xspace_catalog {dir}/catalog.json;
             }
             location ^~ /store/ { internal; proxy_pass http://127.0.0.1:{other}/; }",
        )
        .http("server { listen 127.0.0.1:{other}; location / { root {dir}/mirror; } }")
        .file("catalog.json", r#"{ "a": { "files": ["d/missing.mp3", "d/there.wav"] } }"#)
        .file("mirror/d/there.wav", "there")
        .start();
    assert_eq!(nginx.get("/download/a").text(), "there");
}

#[test]
fn target_locations_of_single_formats_are_used() {
    if !build().require("pcre") {
        return;
    }
    let nginx = Site::with_download("xspace_catalog {dir}/catalog.json;")
        .server(
            "location ^~ /downloads/ {
                 internal; alias {dir}/downloads/;
                 location ~ \\.mp4$ { add_header X-Video yes; }
             }",
        )
        .file("catalog.json", r#"{ "a": "d/a.mp3", "v": "d/v.mp4" }"#)
        .file("downloads/d/a.mp3", "a")
        .file("downloads/d/v.mp4", "v")
        .start();
    let audio = nginx.get("/download/a");
    assert_eq!((audio.text(), audio.header("x-video")), ("a".to_owned(), None));
    let video = nginx.get("/download/v");
    assert_eq!((video.text(), video.header("x-video")), ("v".to_owned(), Some("yes")));
}

#[test]
fn location_of_a_sub_directory_of_the_target_serves_its_files() {
    // An older part of the archive is on another disk.
    for nested in [true, false] {
        let inner = "location ^~ /downloads/2019/ { internal; alias {dir}/old/; }";
        let (inside, beside) = if nested { (inner, "") } else { ("", inner) };
        let nginx = Site::with_download("xspace_catalog {dir}/catalog.json;")
            .server(&format!(
                "location ^~ /downloads/ {{ internal; alias {{dir}}/downloads/; {inside} }}
                 {beside}"
            ))
            .file("catalog.json", r#"{ "new": "2025/a.mp3", "old": "2019/a.mp3" }"#)
            .file("downloads/2025/a.mp3", "new")
            .file("old/a.mp3", "old")
            .start();
        assert_eq!(nginx.get("/download/new").text(), "new", "nested: {nested}");
        assert_eq!(nginx.get("/download/old").text(), "old", "nested: {nested}");
    }
}

#[test]
fn mp4_seeks_in_a_named_file() {
    if !build().require("http_mp4") {
        return;
    }
    let nginx = with_directives(r#""v": "a?start=1/100%.mp4""#, "", "", "mp4;")
        .server("location /static/ { alias {dir}/downloads/; mp4; }")
        .file("downloads/a?start=1/100%.mp4", real_recording("talk.mp4"))
        .file("downloads/plain.mp4", real_recording("talk.mp4"))
        .start();
    for query in ["", "?start=12", "?start=3&end=9"] {
        let plain = nginx.get(&format!("/static/plain.mp4{query}"));
        let ours = nginx.get(&format!("/download/v{query}"));
        assert_eq!(ours.status, 200, "{query}");
        assert_eq!(ours.header("content-type"), Some("video/mp4"), "{query}");
        same_bytes(&ours.body, &plain.body, query);
    }
}

#[test]
fn titles_become_file_names() {
    let long = "long ".repeat(100);
    // The title; what is in front of `_<id>.mp3` for ASCII clients and, if there is more to it,
    // for others, escaped. `None`: nothing, the name is `<id>.mp3`.
    let rows: Vec<(&str, Option<&str>, Option<&str>)> = vec![
        ("Rust in production", Some("Rust-in-production"), None),
        ("under_score", Some("under_score"), None),
        ("  spaced   out  ", Some("spaced-out"), None),
        ("a - b -- c", Some("a-b-c"), None),
        ("-dash-", Some("dash"), None),
        ("C++ & \"Rust\": what's next?", Some("C-Rust-whats-next"), None),
        ("a/b\\c", Some("abc"), None),
        ("../../etc/passwd", Some("etcpasswd"), None),
        ("a;filename=evil.exe", Some("afilenameevilexe"), None),
        ("a\r\nX-Evil: 1", Some("a-X-Evil-1"), None),
        ("tab\tnull\0bell\u{7}del\u{7f}", Some("tab-nullbelldel"), None),
        ("nel\u{85}c1\u{9f}", Some("nel-c1"), None),
        ("", None, None),
        ("!?", None, None),
        (" - ", None, None),
        ("\r\n", None, None),
        ("🎙", None, None),
        ("\u{202e}gpm", Some("gpm"), None),
        ("100%", Some("100"), None),
        ("Gespräch über Rust", Some("Gesprch-ber-Rust"), Some("Gespr%C3%A4ch-%C3%BCber-Rust")),
        ("Ünï", Some("n"), Some("%C3%9Cn%C3%AF")),
        ("録音", None, Some("%E9%8C%B2%E9%9F%B3")),
        ("🎙 録音!", None, Some("%E9%8C%B2%E9%9F%B3")),
        ("日本 - 2025", Some("2025"), Some("%E6%97%A5%E6%9C%AC-2025")),
    ];
    let entries: Vec<String> = rows
        .iter()
        .enumerate()
        .map(|(n, (title, ..))| {
            format!("\"t{n}\": {{ \"title\": {}, \"files\": [\"a.mp3\"] }}", json(title))
        })
        .chain([format!("\"long\": {{ \"title\": {}, \"files\": [\"a.mp3\"] }}", json(&long))])
        .collect();
    let nginx = with_catalog(&entries.join(",\n"), "").file("downloads/a.mp3", "a").start();
    for protocol in nginx.protocols() {
        for (n, (title, ascii, extended)) in rows.iter().enumerate() {
            let name = match ascii {
                Some(ascii) => format!("{ascii}_t{n}.mp3"),
                None => format!("t{n}.mp3"),
            };
            let expected = match extended {
                Some(extended) => {
                    format!("filename=\"{name}\"; filename*=UTF-8''{extended}_t{n}.mp3")
                }
                None => format!("filename=\"{name}\""),
            };
            let inline = disposition_of(&nginx, protocol, &format!("/download/t{n}"));
            assert_eq!(inline, format!("inline; {expected}"), "{protocol:?} {title:?}");
            let path = format!("/download/t{n}.mp3?attachment=1");
            let attachment = disposition_of(&nginx, protocol, &path);
            assert_eq!(attachment, format!("attachment; {expected}"), "{protocol:?} {title:?}");
        }
    }
}

#[test]
fn long_titles_are_cut_between_characters() {
    let titles = ["x".repeat(5000), "ä".repeat(3000), "録".repeat(3000), "a b ".repeat(500)];
    let entries: Vec<String> = titles
        .iter()
        .enumerate()
        .map(|(n, title)| format!("\"t{n}\": {{ \"title\": \"{title}\", \"files\": [\"a.mp3\"] }}"))
        .collect();
    let nginx = with_catalog(&entries.join(",\n"), "")
        .server("add_header X-Name \"$xspace_filename\";")
        .file("downloads/a.mp3", "a")
        .start();
    for protocol in nginx.protocols() {
        for (n, title) in titles.iter().enumerate() {
            let first = title.chars().next().expect("not empty");
            let response = nginx.send(protocol, &Request::get(&format!("/download/t{n}")));
            let name = response.header("x-name").expect("X-Name");
            assert!((150..=200).contains(&name.len()), "{} bytes: {name}", name.len());
            assert!(name.starts_with(first) && name.ends_with(&format!("_t{n}.mp3")), "{name}");
            assert!(!name.contains('\u{fffd}'), "{name}");
            let value = response.header("content-disposition").expect("Content-Disposition");
            assert!(value.is_ascii() && value.starts_with("inline; filename=\""), "{value}");
        }
    }
}

#[test]
fn title_of_a_directory_entry_names_the_file_too() {
    let entries = format!(r#""{ID}": {{ "title": "Only a title" }}"#);
    let nginx = with_catalog(&entries, "").file(FILE, "x").start();
    assert_eq!(
        disposition_of(&nginx, Protocol::Http1, PATH),
        format!("inline; filename=\"Only-a-title_{ID}.mp3\"")
    );
}

#[test]
fn xspace_filename_outranks_the_title_and_may_use_it() {
    let entries = format!(r#""{ID}": {{ "title": "A \"talk\"", "files": ["a.mp3"] }}"#);
    for (directive, expected) in [
        ("xspace_filename talk.mp3;", "inline; filename=\"talk.mp3\""),
        ("xspace_filename '$xspace_title.$xspace_format';", "inline; filename=\"A talk.mp3\""),
        ("xspace_filename '';", &*format!("inline; filename=\"A-talk_{ID}.mp3\"")),
    ] {
        let nginx =
            with_directives(&entries, "", directive, "").file("downloads/a.mp3", "a").start();
        let value = disposition_of(&nginx, Protocol::Http1, PATH);
        if directive.contains("''") {
            // What nothing falls back to: the name without or with the title, never an empty one.
            assert!(value.contains(ID) && value.ends_with(".mp3\""), "{value}");
        } else {
            assert_eq!(value, expected, "{directive}");
        }
    }
}

#[test]
fn variables_in_the_access_log() {
    let nginx = with_catalog(
        r#"
        "file": { "title": "A talk", "files": ["d/a.mp3"] },
        "utf8": { "title": "Gespräch", "files": ["d/ä.mp3"] },
        "title": { "title": "Only a title" },
        "gone": { "status": 410, "title": "Gone" },
        "missing": { "title": "Missing", "files": ["d/missing.mp3"] }
        "#,
        "",
    )
    .http(
        "log_format test escape=none '$xspace_id|$xspace_format|$xspace_file|$xspace_title|\
         $xspace_filename|$xspace_disposition|$xspace_source|$xspace_outcome|$xspace_counted|\
         $status';
         access_log {dir}/access.log test;",
    )
    .file("downloads/d/a.mp3", recording())
    .file("downloads/d/ä.mp3", recording())
    .file("downloads/title.wav", recording())
    .start();
    let mut count = 0;
    for protocol in nginx.protocols() {
        for (request, expected) in [
            (
                Request::get("/download/file"),
                "file|mp3|d/a.mp3|A talk|A-talk_file.mp3|inline|catalog|found|1|200",
            ),
            (
                Request::get("/download/file.mp3?attachment=1").range("bytes=100-"),
                "file|mp3|d/a.mp3|A talk|A-talk_file.mp3|attachment|catalog|found||206",
            ),
            (
                Request::get("/download/utf8"),
                "utf8|mp3|d/ä.mp3|Gespräch|Gespräch_utf8.mp3|inline|catalog|found|1|200",
            ),
            (
                Request::head("/download/title"),
                "title|wav|title.wav|Only a title|Only-a-title_title.wav|inline|directory|found||200",
            ),
            (Request::get("/download/gone"), "gone|||Gone||||status||410"),
            (Request::get("/download/gone.mp3"), "gone|mp3||Gone||||status||410"),
            (Request::get("/download/missing"), "missing|||Missing||||not_found||404"),
            (Request::get("/download/unknown"), "unknown|||||||not_found||404"),
            (Request::new("POST", "/download/gone"), "gone|||||||bad_method||405"),
        ] {
            nginx.send(protocol, &request);
            count += 1;
            let lines = nginx.log_lines("access.log", count);
            assert_eq!(lines[count - 1], expected, "{protocol:?} {request:?}");
        }
    }
}

#[test]
fn title_in_a_header_holds_no_control_characters() {
    let entries = r#""a": { "title": "a\r\nX-Evil: 1\u0000\u007f\u0085b", "files": ["a.mp3"] }"#;
    let nginx = with_catalog(entries, "").file("downloads/a.mp3", "a").start();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get("/download/a"));
        assert_file(&response, "a", "found|catalog|mp3|a.mp3|a X-Evil: 1 b", "cleaned");
        assert_eq!(response.header("x-evil"), None, "{protocol:?}");
    }
}

#[test]
fn ranges_of_a_named_file() {
    let entries = format!(r#""{ID}": {{ "title": "A talk", "files": ["a b/100%.MP3"] }}"#);
    let nginx = with_catalog(&entries, "").file("downloads/a b/100%.MP3", recording()).start();
    let last = SIZE - 1;
    for protocol in nginx.protocols() {
        for (range, from, to) in [
            ("bytes=0-1", 0, 1),
            ("bytes=0-", 0, last),
            ("bytes=1000-1999", 1000, 1999),
            ("bytes=-500", SIZE - 500, last),
            ("bytes=300000-999999", 300_000, last),
        ] {
            let what = format!("{protocol:?} {range}");
            let response = nginx.send(protocol, &Request::get(PATH).range(range));
            assert_eq!(response.status, 206, "{what}: {response:?}");
            assert_eq!(
                response.header("content-range"),
                Some(&*format!("bytes {from}-{to}/{SIZE}")),
                "{what}"
            );
            assert_eq!(response.header("content-type"), Some("audio/mpeg"), "{what}");
            assert_eq!(
                response.header("content-disposition"),
                Some(&*format!("inline; filename=\"A-talk_{ID}.mp3\"")),
                "{what}"
            );
            same_bytes(&response.body, &recording()[from..=to], &what);
        }
        let several = nginx.send(protocol, &Request::get(PATH).range("bytes=0-1,10-11"));
        assert_eq!(several.status, 206, "{several:?}");
        let media_type = several.header("content-type").unwrap_or_default();
        assert!(media_type.starts_with("multipart/byteranges"), "{media_type}");
        let beyond = nginx.send(protocol, &Request::get(PATH).range("bytes=999999-"));
        assert_no_recording(&beyond, 416, "beyond the end");
    }
}

#[test]
fn conditional_requests_for_a_named_file() {
    let entries = format!(r#""{ID}": "2025/06/a.mp3""#);
    let nginx = with_catalog(&entries, "").file("downloads/2025/06/a.mp3", recording()).start();
    let first = nginx.get(PATH);
    let etag = first.header("etag").expect("ETag").to_owned();
    let date = first.header("last-modified").expect("Last-Modified").to_owned();
    for protocol in nginx.protocols() {
        for (name, value, status) in [
            ("If-None-Match", etag.as_str(), 304),
            ("If-None-Match", "*", 304),
            ("If-Modified-Since", &date, 304),
            ("If-Match", "\"other\"", 412),
            ("If-Unmodified-Since", "Mon, 01 Jan 2001 00:00:00 GMT", 412),
        ] {
            let request = Request::get(PATH).header(name, value);
            let what = format!("{protocol:?} {request:?}");
            assert_no_recording(&nginx.send(protocol, &request), status, &what);
        }
        for (value, status) in [(etag.as_str(), 206), ("\"other\"", 200)] {
            let request = Request::get(PATH).range("bytes=0-1").header("If-Range", value);
            let response = nginx.send(protocol, &request);
            assert_eq!(response.status, status, "{protocol:?} {request:?}");
        }
        assert_recording(
            &nginx.send(protocol, &Request::get(PATH).header("If-Match", &etag)),
            "unchanged",
        );
    }
}

#[test]
fn head_of_a_named_file() {
    let entries = format!(r#""{ID}": "d/a.mp3""#);
    let nginx = with_catalog(&entries, "").file("downloads/d/a.mp3", recording()).start();
    for protocol in nginx.protocols() {
        let get = nginx.send(protocol, &Request::get(PATH));
        let head = nginx.send(protocol, &Request::head(PATH));
        assert_recording(&get, "GET");
        assert_eq!(head.lasting_headers(), get.lasting_headers(), "{protocol:?}");
        assert!(head.body.is_empty(), "{protocol:?}");
    }
}

#[test]
fn methods_are_decided_before_the_catalog() {
    let entries = format!(r#""{ID}": "a.mp3", "{OTHER}": {{ "status": 410 }}"#);
    let nginx = with_catalog(&entries, "").file("downloads/a.mp3", "a").start();
    for protocol in nginx.protocols() {
        for path in [PATH.to_owned(), format!("/download/{OTHER}"), MISSING_PATH.to_owned()] {
            for (method, status) in [("OPTIONS", 204), ("POST", 405), ("DELETE", 405)] {
                let response = nginx.send(protocol, &Request::new(method, &path));
                assert_no_recording(&response, status, &format!("{method} {path}"));
                assert_eq!(response.header("allow"), Some("GET, HEAD, OPTIONS"), "{method}");
            }
        }
    }
}

#[test]
fn who_may_not_fetch_learns_nothing_of_the_catalog() {
    if !build().require("http_access") {
        return;
    }
    let entries = format!(
        r#""{ID}": "a.mp3", "{OTHER}": {{ "status": 410 }}, "missing": "b.mp3", "t": {{ "title": "T" }}"#
    );
    for directive in ["deny all;", "auth_basic x; auth_basic_user_file {dir}/users;"] {
        let nginx = with_directives(&entries, "only", directive, "")
            .file("users", "")
            .file("downloads/a.mp3", "a")
            .start();
        let first = nginx.get(PATH);
        assert!(first.status == 403 || first.status == 401, "{directive}: {first:?}");
        for id in [OTHER, "missing", "t", MISSING] {
            let response = nginx.get(&format!("/download/{id}"));
            assert_eq!(response.status, first.status, "{directive} {id}");
            assert_eq!(response.lasting_headers(), first.lasting_headers(), "{directive} {id}");
            assert_eq!(response.body, first.body, "{directive} {id}");
        }
    }
}

#[test]
fn inherited_and_switched_off() {
    if !build().require("http_rewrite") {
        return;
    }
    let nginx = Site::new()
        .http("xspace_catalog {dir}/http.json;")
        .server(
            "location ^~ /inherits/ { xspace_download /downloads/; }
             location ^~ /own/ { xspace_download /downloads/; xspace_catalog {dir}/own.json; }
             location ^~ /off/ { xspace_download /downloads/; xspace_catalog off; }
             location ^~ /outer/ {
                 xspace_download /downloads/; xspace_catalog {dir}/own.json;
                 location ^~ /outer/inner/ { xspace_download /downloads/; }
                 location ^~ /outer/off/ { xspace_download /downloads/; xspace_catalog off; }
             }
             location ^~ /block/ {
                 xspace_download /downloads/; xspace_catalog {dir}/own.json;
                 if ($arg_if) { add_header X-If yes; }
                 limit_except GET { deny all; }
             }
             location ^~ /downloads/ { internal; alias {dir}/downloads/; }",
        )
        .http(
            "server {
                 listen 127.0.0.1:{other};
                 xspace_catalog {dir}/own.json;
                 location ^~ /server/ { xspace_download /downloads/; }
                 location ^~ /downloads/ { internal; alias {dir}/downloads/; }
             }",
        )
        .file("http.json", format!("{{\"{ID}\": \"http.mp3\"}}"))
        .file("own.json", format!("{{\"{ID}\": \"own.mp3\"}}"))
        .file("downloads/http.mp3", "http")
        .file("downloads/own.mp3", "own")
        .file(FILE, "by id")
        .start();
    for (location, expected) in [
        ("/inherits/", "http"),
        ("/own/", "own"),
        ("/off/", "by id"),
        ("/outer/", "own"),
        ("/outer/inner/", "own"),
        ("/outer/off/", "by id"),
        ("/block/", "own"),
    ] {
        assert_eq!(nginx.get(&format!("{location}{ID}")).text(), expected, "{location}");
    }
    assert_eq!(nginx.get(&format!("/block/{ID}?if=1")).text(), "own", "in a block of if");
    assert_eq!(
        nginx.send(Protocol::Http1, &Request::new("POST", &format!("/block/{ID}"))).status,
        403
    );
    let text = nginx.curl(&[&nginx.other_url(&format!("/server/{ID}"))]);
    assert_eq!(text, b"own", "of a server");
}

#[test]
fn regex_exact_and_named_locations_use_the_catalog() {
    if !build().require("pcre") {
        return;
    }
    let nginx = Site::new()
        .http("xspace_catalog {dir}/catalog.json only;")
        .server(
            "location ~ ^/spaces/(?<sid>[^/]+)/download$ {
                 xspace_download /downloads/; xspace_id $sid;
             }
             location = /latest { xspace_download /downloads/; xspace_id a; }
             location /app/ { error_page 418 = @space; return 418; }
             location @space { xspace_download /downloads/; xspace_id $arg_id; }
             location ^~ /downloads/ { internal; alias {dir}/downloads/; }",
        )
        .file("catalog.json", "{\"a\": \"d/a.mp3\"}")
        .file("downloads/d/a.mp3", "a")
        .start();
    for path in ["/spaces/a/download", "/latest", "/app/x?id=a"] {
        assert_eq!(nginx.get(path).text(), "a", "{path}");
    }
    assert_eq!(nginx.get("/spaces/b/download").status, 404);
}

#[test]
fn target_itself_stays_internal() {
    let nginx = with_catalog(r#""a": "d/a.mp3""#, "").file("downloads/d/a.mp3", "a").start();
    assert_no_recording(&nginx.get("/downloads/d/a.mp3"), 404, "asked for directly");
    assert_no_recording(&nginx.get("/download/d/a.mp3"), 404, "a path is no id");
}

#[test]
fn file_directives_of_the_target_act_on_named_files() {
    let mut rows = vec!["sendfile on;", "open_file_cache max=10;", "limit_rate 10m;"];
    if build().require("threads") {
        rows.extend(["aio threads;", "aio threads; directio 4k;"]);
    }
    for directive in rows {
        let nginx = with_directives(&format!(r#""{ID}": "d/a.mp3""#), "", "", directive)
            .file("downloads/d/a.mp3", recording())
            .start();
        for protocol in nginx.protocols() {
            let what = format!("{protocol:?} {directive}");
            assert_recording(&nginx.send(protocol, &Request::get(PATH)), &what);
        }
    }
}

#[test]
fn sub_request_for_a_status_entry_does_no_harm() {
    if !build().require("http_ssi") || !build().require("http_auth_request") {
        return;
    }
    let nginx = with_catalog(
        r#""gone": { "status": 410 }, "no": { "status": 403 }, "a": { "title": "A", "files": ["a.mp3"] }"#,
        "",
    )
    .server(
        "location /page/ {
             root {dir}/html; ssi on; types { text/html html; }
         }
         location /guarded/ { auth_request /download/no; root {dir}/html; }",
    )
    .file("html/page/x.html", "[<!--# include virtual=\"/download/a\" -->]")
    .file("html/page/gone.html", "[<!--# include virtual=\"/download/gone\" -->]")
    .file("html/guarded/x.html", "secret")
    .file("downloads/a.mp3", "a")
    .start();
    for protocol in nginx.protocols() {
        let page = nginx.send(protocol, &Request::get("/page/x.html"));
        assert_no_recording(&page, 200, "a page with a recording in it");
        assert_eq!(page.text(), "[a]");
        let page = nginx.send(protocol, &Request::get("/page/gone.html"));
        assert_no_recording(&page, 200, "a page with none in it");
        let guarded = nginx.send(protocol, &Request::get("/guarded/x.html"));
        assert_no_recording(&guarded, 403, "refused by the catalog");
    }
}
