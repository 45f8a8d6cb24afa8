//! `xspace_lookup`: what is asked, and what follows from the answer.

use xspace_tests::{Application, Protocol, Reply, Request, Response, Site, build, same_bytes};

use crate::asking::{
    asking, assert_bad_answer, assert_plain_page, get, own_errors, rows, site, with_files,
};
use crate::common::{
    FILE, ID, MISSING, MISSING_PATH, OTHER, PATH, SIZE, assert_no_recording, assert_recording,
    recording,
};

/// An entry with all that one can have.
const ENTRY: &str = r#"{"title": "Rust in production", "files": ["2025/06/talk.mp3"]}"#;

/// The text of the file that [`ENTRY`] names.
const TALK: &str = "a talk of June";

fn entry_site(application: &Application) -> Site {
    asking(application, "", "").file("downloads/2025/06/talk.mp3", TALK)
}

#[track_caller]
fn assert_talk(response: &Response, what: &str) {
    assert_eq!((response.status, response.text().as_str()), (200, TALK), "{what}: {response:?}");
    assert_eq!(response.header("content-type"), Some("audio/mpeg"), "{what}");
    assert_eq!(
        response.header("content-disposition"),
        Some("inline; filename=\"Rust-in-production_1lDxLnrWjwkGm.mp3\""),
        "{what}"
    );
}

// What follows from an answer.

#[test]
fn entry_names_file_and_title() {
    let application = Application::always(Reply::json(ENTRY));
    let nginx = entry_site(&application).start();
    let protocols = nginx.protocols();
    for &protocol in &protocols {
        assert_talk(&get(&nginx, protocol, PATH), &format!("{protocol:?}"));
    }
    for line in nginx.log_lines("access.log", protocols.len()) {
        assert_eq!(line, "200|found|lookup|1lDxLnrWjwkGm|mp3|2025/06/talk.mp3|Rust in production");
    }
    assert_eq!(application.asked().len(), protocols.len(), "once for each request");
}

#[test]
fn string_is_one_file() {
    let application = Application::always(Reply::json(r#""2025/06/talk.mp3""#));
    let nginx = entry_site(&application).start();
    assert_eq!(nginx.get(PATH).text(), TALK);
    assert_eq!(
        nginx.log_lines("access.log", 1),
        ["200|found|lookup|1lDxLnrWjwkGm|mp3|2025/06/talk.mp3|"]
    );
}

#[test]
fn entry_without_files_leaves_the_search_to_the_directory() {
    let application = rows(vec![
        Reply::json(r#"{"title": "Only a title"}"#),
        Reply::json("{}"),
        Reply::json(r#"{"files": null, "title": null, "duration": 60}"#),
    ]);
    let nginx = with_files(asking(&application, "", ""), 3).start();
    for (row, name) in [(0, "Only-a-title_row0.mp3"), (1, "row1.mp3"), (2, "row2.mp3")] {
        let response = nginx.get(&format!("/download/row{row}"));
        assert_eq!(response.status, 200, "row {row}: {response:?}");
        same_bytes(&response.body, &recording(), "directory");
        let disposition = format!("inline; filename=\"{name}\"");
        assert_eq!(response.header("content-disposition"), Some(disposition.as_str()));
    }
    assert_eq!(
        nginx.log_lines("access.log", 3),
        [
            "200|found|directory|row0|mp3|row0.mp3|Only a title",
            "200|found|directory|row1|mp3|row1.mp3|",
            "200|found|directory|row2|mp3|row2.mp3|",
        ]
    );
}

#[test]
fn files_of_an_entry_are_all_there_is() {
    let entry = r#"{"files": ["a.mp4", "b.mp3", "c.mp3", "d.xyz"]}"#;
    let application = Application::always(Reply::json(entry));
    let nginx = asking(&application, "", "")
        .file("downloads/a.mp4", "video")
        .file("downloads/c.mp3", "second mp3")
        .start();
    assert_eq!(nginx.get(PATH).text(), "second mp3", "the first that is there, by format");
    assert_eq!(nginx.get(&format!("{PATH}?format=video")).text(), "video");
    for path in [format!("{PATH}.wav"), format!("{PATH}?format=m4a")] {
        assert_no_recording(&nginx.get(&path), 404, "no file of that format is named");
    }
    std::fs::remove_file(nginx.dir().join("downloads/c.mp3")).expect("the file");
    // <id>.mp3 is there, and is not what the application named.
    assert_no_recording(&nginx.get(&format!("{PATH}?format=mp3")), 404, "named, but not there");
    let log = nginx.log_lines("access.log", 5);
    assert_eq!(log[4], "404|not_found||1lDxLnrWjwkGm|mp3||", "{log:?}");
}

#[test]
fn without_a_directory_the_lookup_alone_names_files() {
    let application = Application::start(|asked| match asked.argument("id") {
        Some(ID) => Reply::json(ENTRY),
        Some(OTHER) => Reply::json(r#"{"title": "No file is named"}"#),
        _ => Reply::status(204),
    });
    let nginx = Site::new()
        .server(&format!(
            "location ^~ /download/ {{
                 xspace_download /store/; xspace_lookup /_space; xspace_directory off;
             }}
             location = /_space {{ internal; proxy_pass http://{}; }}
             location ^~ /store/ {{ internal; proxy_pass http://127.0.0.1:{{other}}/bucket/; }}",
            application.address()
        ))
        .http(
            "server {
                 listen 127.0.0.1:{other};
                 location /bucket/ { alias {dir}/bucket/; default_type application/x-object; }
             }",
        )
        .file("bucket/2025/06/talk.mp3", TALK)
        .file(&format!("bucket/{OTHER}.mp3"), "not named")
        .start();
    for protocol in nginx.protocols() {
        assert_talk(&get(&nginx, protocol, PATH), &format!("{protocol:?}"));
        let part = nginx.send(protocol, &Request::get(PATH).range("bytes=2-5"));
        assert_eq!((part.status, part.text().as_str()), (206, &TALK[2..6]), "{protocol:?}");
        for path in ["/download/1YqKDqWqdPLGV", MISSING_PATH] {
            assert_no_recording(&get(&nginx, protocol, path), 404, path);
        }
    }
}

const CATALOG: &str = r#"{
    "1lDxLnrWjwkGm": { "title": "Of the catalog", "files": ["catalog.mp3"] },
    "1ZkKzXbYyLmGv": { "status": 410 }
}"#;

fn with_catalog(application: &Application, parameters: &str) -> Site {
    asking(application, &format!("xspace_catalog {{dir}}/catalog.json {parameters};"), "")
        .file("catalog.json", CATALOG)
        .file("downloads/catalog.mp3", "of the catalog")
        .file("downloads/lookup.mp3", "of the lookup")
        .file(&format!("downloads/{OTHER}.mp3"), "of the directory")
}

#[test]
fn empty_answers_leave_the_decision_to_catalog_and_directory() {
    for reply in [Reply::status(200), Reply::status(204), Reply::status(200).chunked(1)] {
        let what = format!("{reply:?}");
        let application = Application::always(reply);
        let nginx = with_catalog(&application, "").start();
        assert_eq!(nginx.get(PATH).text(), "of the catalog", "{what}");
        assert_eq!(nginx.get(&format!("/download/{OTHER}")).text(), "of the directory", "{what}");
        assert_no_recording(&nginx.get(MISSING_PATH), 410, &what);
        assert_no_recording(&nginx.get("/download/nothing"), 404, &what);
        assert_eq!(
            nginx.log_lines("access.log", 4),
            [
                "200|found|catalog|1lDxLnrWjwkGm|mp3|catalog.mp3|Of the catalog",
                "200|found|directory|1YqKDqWqdPLGV|mp3|1YqKDqWqdPLGV.mp3|",
                "410|status||1ZkKzXbYyLmGv|||",
                "404|not_found||nothing|||",
            ],
            "{what}"
        );
        assert_eq!(application.asked().len(), 4, "{what}");
        assert_eq!(own_errors(&nginx), Vec::<String>::new(), "{what}");
    }
}

#[test]
fn entry_of_the_lookup_replaces_the_catalogs_entirely() {
    for parameters in ["", "only"] {
        let application = Application::start(|asked| {
            Reply::json(match asked.argument("id") {
                Some(ID) => r#"{"files": ["lookup.mp3"]}"#,
                Some(MISSING) => r#"{"title": "Here again", "files": ["lookup.mp3"]}"#,
                // In no catalog.
                Some(OTHER) => r#"{"title": "By title"}"#,
                _ => r#"{"title": "Not the catalog's files"}"#,
            })
        });
        let nginx = with_catalog(&application, parameters)
            .file("downloads/titled.mp3", "of the directory")
            .file(
                "catalog.json",
                CATALOG.replacen('{', r#"{ "titled": { "files": ["catalog.mp3"] },"#, 1),
            )
            .start();
        for (path, text, name) in [
            (PATH, "of the lookup", "1lDxLnrWjwkGm.mp3"),
            (MISSING_PATH, "of the lookup", "Here-again_1ZkKzXbYyLmGv.mp3"),
            ("/download/1YqKDqWqdPLGV", "of the directory", "By-title_1YqKDqWqdPLGV.mp3"),
            ("/download/titled", "of the directory", "Not-the-catalogs-files_titled.mp3"),
        ] {
            let response = nginx.get(path);
            assert_eq!(response.text(), text, "{parameters} {path}");
            let disposition = format!("inline; filename=\"{name}\"");
            assert_eq!(
                response.header("content-disposition"),
                Some(disposition.as_str()),
                "{parameters} {path}"
            );
        }
    }
}

#[test]
fn only_holds_where_the_lookup_has_no_entry() {
    let application = Application::always(Reply::status(204));
    let nginx = with_catalog(&application, "only").start();
    assert_eq!(nginx.get(PATH).text(), "of the catalog");
    assert_no_recording(&nginx.get(&format!("/download/{OTHER}")), 404, "only");
}

#[test]
fn status_of_an_entry_is_answered() {
    let statuses = [403, 404, 410, 451];
    let entry =
        |status| format!(r#"{{"title": "Gone", "files": ["{ID}.mp3"], "status": {status}}}"#);
    let application = rows(statuses.iter().map(|&s| Reply::json(&entry(s))).collect());
    let nginx = with_files(asking(&application, "", ""), 4).start();
    for (row, status) in statuses.into_iter().enumerate() {
        for protocol in nginx.protocols() {
            let response = get(&nginx, protocol, &format!("/download/row{row}"));
            assert_no_recording(&response, status, &format!("{protocol:?}"));
            assert_plain_page(&response, "the entry's status");
        }
        let line = format!("{status}|status||row{row}|||Gone");
        let log = nginx.log_lines("access.log", (row + 1) * nginx.protocols().len());
        assert_eq!(log.last(), Some(&line));
    }
    assert_eq!(own_errors(&nginx), Vec::<String>::new());
}

#[test]
fn refusals_are_handed_on() {
    let statuses = [401, 403, 404, 410, 429, 451];
    let page = |status| {
        Reply::new(status, "application/json", r#"{"secret": "of the application"}"#)
            .header("X-Powered-By", "application")
            .header("Set-Cookie", "seen=1")
            .header("Content-Disposition", "attachment")
    };
    let application = rows(statuses.iter().map(|&status| page(status)).collect());
    let nginx = with_files(asking(&application, "", ""), statuses.len()).start();
    for (row, status) in statuses.into_iter().enumerate() {
        for protocol in nginx.protocols() {
            for method in ["GET", "HEAD"] {
                let what = format!("{status} {protocol:?} {method}");
                let request = Request::new(method, &format!("/download/row{row}"));
                let response = nginx.send(protocol, &request);
                assert_no_recording(&response, status, &what);
                assert!(!response.text().contains("secret"), "{what}: {response:?}");
                if method == "GET" {
                    assert_plain_page(&response, &what);
                }
            }
        }
    }
    for line in nginx.log_lines("access.log", statuses.len() * nginx.protocols().len() * 2) {
        let (_, rest) = line.split_once('|').expect("a status");
        assert!(rest.starts_with("denied||row"), "{line}");
        assert!(rest.ends_with("|||"), "{line}");
    }
    assert_eq!(own_errors(&nginx), Vec::<String>::new(), "a refusal is no error");
}

fn values<'a>(response: &'a Response, name: &str) -> Vec<&'a str> {
    let of_name = response.headers.iter().filter(|(n, _)| n == name);
    of_name.map(|(_, value)| value.as_str()).collect()
}

#[test]
fn a_401_keeps_every_challenge() {
    let application = rows(vec![
        Reply::status(401)
            .header("WWW-Authenticate", "Bearer realm=\"spaces\"")
            .header("WWW-Authenticate", "Basic realm=\"spaces, all\""),
        Reply::status(401),
        Reply::status(403).header("WWW-Authenticate", "Basic realm=\"not with a 403\""),
        Reply::status(401).header("Retry-After", "7"),
    ]);
    let nginx = with_files(asking(&application, "", ""), 4).start();
    for protocol in nginx.protocols() {
        let challenges = |row: usize| {
            let response = get(&nginx, protocol, &format!("/download/row{row}"));
            assert_eq!(values(&response, "retry-after"), Vec::<&str>::new(), "row {row}");
            let found = values(&response, "www-authenticate");
            found.into_iter().map(str::to_owned).collect::<Vec<String>>()
        };
        assert_eq!(
            challenges(0),
            ["Bearer realm=\"spaces\"", "Basic realm=\"spaces, all\""],
            "{protocol:?}"
        );
        for row in 1..4 {
            assert_eq!(challenges(row), Vec::<String>::new(), "{protocol:?} row {row}");
        }
    }
}

#[test]
fn a_429_keeps_retry_after() {
    let application = rows(vec![
        Reply::status(429).header("Retry-After", "120"),
        Reply::status(429).header("Retry-After", "Fri, 31 Dec 2027 23:59:59 GMT"),
        Reply::status(429),
        Reply::status(403).header("Retry-After", "120"),
    ]);
    let nginx = with_files(asking(&application, "", ""), 4).start();
    for (row, expected) in
        [Some("120"), Some("Fri, 31 Dec 2027 23:59:59 GMT"), None, None].into_iter().enumerate()
    {
        for protocol in nginx.protocols() {
            let response = get(&nginx, protocol, &format!("/download/row{row}"));
            assert_eq!(response.header("retry-after"), expected, "row {row} {protocol:?}");
        }
    }
}

#[test]
fn every_other_status_is_a_502() {
    let statuses: Vec<u16> = (201..=208)
        .filter(|&status| status != 204)
        .chain(300..=308)
        .chain((400..=452).filter(|status| ![401, 403, 404, 410, 429, 451].contains(status)))
        .chain([494, 495, 496, 497, 498, 499])
        .chain(500..=511)
        .chain([599, 600, 799, 999])
        .collect();
    let replies = statuses.iter().map(|&status| {
        Reply::new(status, "application/json", ENTRY).header("Location", "/elsewhere")
    });
    let application = rows(replies.collect());
    let nginx = with_files(entry_site(&application), statuses.len()).start();
    for (row, status) in statuses.iter().enumerate() {
        let what = format!("{status} of the application");
        assert_bad_answer(&nginx, &format!("/download/row{row}"), &status.to_string(), &what);
    }
    let asked = application.asked();
    assert!(asked.iter().all(|asked| asked.path() == "/lookup"), "no redirect is followed");
    for line in nginx.log_lines("access.log", statuses.len()) {
        assert!(line.starts_with("502|error||row"), "{line}");
    }
}

#[test]
fn what_is_not_an_entry_is_a_502() {
    let texts: Vec<&[u8]> = vec![
        b"<!DOCTYPE html><html><body>Please log in</body></html>",
        b"OK",
        b"null",
        b"true",
        b"1",
        b"[]",
        br#"["a.mp3"]"#,
        b"{",
        br#"{"files": ["a.mp3"]"#,
        br#"{"files": ["a.mp3"]}}"#,
        br#"{"files": ["a.mp3"]} {"files": ["b.mp3"]}"#,
        br#"{"files": ["a.mp3"],}"#,
        br#"{'files': ['a.mp3']}"#,
        br#"{"files": "a.mp3"}"#,
        br#"{"files": [null]}"#,
        br#"{"files": [1]}"#,
        br#"{"files": [["a.mp3"]]}"#,
        br#"{"files": ["/etc/passwd"]}"#,
        br#"{"files": ["../secret.mp3"]}"#,
        br#"{"files": ["a/../../secret.mp3"]}"#,
        br#"{"files": ["./a.mp3"]}"#,
        br#"{"files": ["a//b.mp3"]}"#,
        br#"{"files": ["a\u0000.mp3"]}"#,
        br#"{"files": ["a\n.mp3"]}"#,
        br#"{"files": [""]}"#,
        br#"{"files": ["a.mp3"], "files": ["b.mp3"]}"#,
        br#"{"title": 7}"#,
        br#"{"duration": 0}"#,
        br#"{"title": "a", "title": "b"}"#,
        br#"{"name": "an unknown key"}"#,
        br#"{"id": "1lDxLnrWjwkGm", "files": ["a.mp3"]}"#,
        br#"{"status": 200}"#,
        br#"{"status": 500}"#,
        br#"{"status": "403"}"#,
        br#"{"status": 403.0}"#,
        br#"{"status": -403}"#,
        br#"{"status": 403, "status": 404}"#,
        br#""""#,
        br#""/etc/passwd""#,
        br#""../secret.mp3""#,
        b"{\"title\": \"\xff\xfe\"}",
        b"\xef\xbb\xbf",
        b"\xff\xfe{\0}\0",
        br#"{"files": ["\ud83c.mp3"]}"#,
        b"{}\0",
        b"\0",
        b"\x1f\x8b\x08\x00",
        br#"{"1lDxLnrWjwkGm": {"files": ["a.mp3"]}}"#,
    ];
    let nested = [&br#"{"files": "#[..], &b"[".repeat(3000)[..]].concat();
    let many = format!(r#"{{"files": [{}"a.mp3"]}}"#, r#""a.mp3","#.repeat(64));
    let texts: Vec<&[u8]> = texts.into_iter().chain([&nested[..], many.as_bytes()]).collect();
    let replies = texts.iter().map(|text| Reply::new(200, "application/json", text));
    let application = rows(replies.collect());
    let nginx = with_files(asking(&application, "", ""), texts.len())
        .file("downloads/a.mp3", "a")
        .file("downloads/b.mp3", "b")
        .file("secret.mp3", "secret")
        .start();
    for (row, text) in texts.iter().enumerate() {
        let what = String::from_utf8_lossy(&text[..text.len().min(60)]).into_owned();
        assert_bad_answer(&nginx, &format!("/download/row{row}"), "", &what);
    }
    for line in nginx.log_lines("access.log", texts.len()) {
        assert!(line.starts_with("502|error||row"), "{line}");
    }
}

#[test]
fn log_lines_stay_lines_whatever_the_application_says() {
    let application = Application::always(Reply::json("{\"a\\nb\x1b[31m\": \"line\r\nbreak\"}"));
    let nginx = asking(&application, "", "").start();
    assert_bad_answer(&nginx, PATH, "", "odd characters in an unknown key");
    let log = nginx.error_log();
    assert!(!log.contains('\x1b') && !log.contains('\r'), "{log:?}");
    let is_line = |line: &str| line.contains("] ") || line.is_empty();
    assert!(log.lines().all(is_line), "{log:?}");
}

#[test]
fn media_type_of_the_answer_does_not_matter() {
    let types = ["application/json", "text/html; charset=utf-8", "audio/mpeg", "text/plain"];
    let mut replies: Vec<Reply> = types.iter().map(|t| Reply::new(200, t, ENTRY)).collect();
    replies.push(Reply::raw(format!("HTTP/1.0 200 OK\r\n\r\n{ENTRY}")));
    let count = replies.len();
    let application = rows(replies);
    let nginx = entry_site(&application).start();
    for row in 0..count {
        let response = nginx.get(&format!("/download/row{row}"));
        assert_eq!(response.text(), TALK, "row {row}: {response:?}");
        assert_eq!(response.header("content-type"), Some("audio/mpeg"), "row {row}");
    }
}

#[test]
fn headers_of_the_answer_stay_behind_but_those_for_caches() {
    let application = Application::always(
        Reply::json(ENTRY)
            .header("Set-Cookie", "session=of-the-application")
            .header("Cache-Control", "no-store")
            .header("Expires", "Thu, 01 Jan 1970 00:00:00 GMT")
            .header("Last-Modified", "Thu, 01 Jan 2015 00:00:00 GMT")
            .header("ETag", "\"application\"")
            .header("Content-Disposition", "attachment; filename=x")
            .header("Content-Language", "de")
            .header("X-Powered-By", "application")
            .header("Location", "/elsewhere")
            .header("Refresh", "1"),
    );
    let nginx = entry_site(&application).start();
    let plain = Site::simple().file("downloads/talk.mp3", TALK).start();
    let mut expected: Vec<String> =
        plain.get("/download/talk").headers.into_iter().map(|(name, _)| name).collect();
    expected.extend(["cache-control".to_owned(), "expires".to_owned()]);
    expected.sort();
    for protocol in nginx.protocols() {
        let response = get(&nginx, protocol, PATH);
        assert_talk(&response, &format!("{protocol:?}"));
        let mut names: Vec<String> = response
            .headers
            .iter()
            .map(|(name, _)| name.clone())
            .filter(|name| protocol == Protocol::Http1 || name != "connection")
            .collect();
        names.sort();
        let expected: Vec<&String> = expected
            .iter()
            .filter(|name| protocol == Protocol::Http1 || *name != "connection")
            .collect();
        assert_eq!(names.iter().collect::<Vec<_>>(), expected, "{protocol:?}");
        assert_ne!(response.header("etag"), Some("\"application\""));
    }
}

#[test]
fn redirect_by_x_accel_is_refused() {
    let entry = |uri: &str| Reply::json(ENTRY).header("X-Accel-Redirect", uri);
    let application = rows(vec![
        entry("/downloads/1lDxLnrWjwkGm.mp3"),
        entry("/downloads/none.mp3"),
        entry("/answer"),
        entry("/download/1lDxLnrWjwkGm"),
        entry("/_space"),
        entry("@named"),
        Reply::status(204).header("X-Accel-Redirect", "/answer"),
    ]);
    let nginx = with_files(entry_site(&application), 7)
        .server(
            "location = /answer { return 204; }
             location @named { return 204; }",
        )
        // What leads back to the location goes in circles until the core ends it.
        .allow("rewrite or internal redirection cycle")
        .start();
    for row in 0..7 {
        let what = format!("X-Accel-Redirect, row {row}");
        assert_bad_answer(&nginx, &format!("/download/row{row}"), "X-Accel-Redirect", &what);
    }
    for line in nginx.log_lines("access.log", 7) {
        assert!(line.starts_with("502|error||row"), "{line}");
    }
    // The worker has not pulled a whole recording through itself.
    assert_eq!(nginx.workers().len(), 1);
}

#[test]
fn other_accel_headers_do_no_harm() {
    let application = Application::always(
        Reply::json(ENTRY)
            .header("X-Accel-Limit-Rate", "1")
            .header("X-Accel-Buffering", "no")
            .header("X-Accel-Charset", "koi8-r")
            .header("X-Accel-Expires", "60"),
    );
    let nginx = entry_site(&application).start();
    for protocol in nginx.protocols() {
        assert_talk(&get(&nginx, protocol, PATH), &format!("{protocol:?}"));
    }
}

// What is asked.

#[test]
fn id_and_format_are_the_arguments() {
    let application = Application::always(Reply::json(r#"{"files": ["a.mp3", "a.mp4"]}"#));
    let nginx = asking(&application, "xspace_formats mp3 m4a wav mp4;", "")
        .file("downloads/a.mp3", "audio")
        .file("downloads/a.mp4", "video")
        .start();
    for (path, query) in [
        ("/download/1lDx", "id=1lDx&format="),
        ("/download/1lDx.mp3", "id=1lDx&format=mp3"),
        ("/download/1lDx.MP4", "id=1lDx&format=mp4"),
        ("/download/1lDx?format=mp4", "id=1lDx&format=mp4"),
        ("/download/1lDx?format=Audio", "id=1lDx&format=audio"),
        ("/download/1lDx?format=VIDEO", "id=1lDx&format=video"),
        ("/download/1lDx?format=", "id=1lDx&format="),
        ("/download/1lDx.mp3?format=mp4", "id=1lDx&format=mp3"),
        ("/download/1lDx?id=other&role=admin&attachment=1", "id=1lDx&format="),
        ("/download/1lDx?format=mp3&format=wav", "id=1lDx&format=mp3"),
        ("/download/_-%41b?x=%26id=2", "id=_-Ab&format="),
    ] {
        for protocol in nginx.protocols() {
            let response = get(&nginx, protocol, path);
            assert_eq!(response.status, 200, "{protocol:?} {path}: {response:?}");
            let asked = application.take_only();
            assert_eq!(asked.target, format!("/lookup?{query}"), "{protocol:?} {path}");
            assert_eq!(asked.method, "GET", "{protocol:?} {path}");
        }
    }
}

#[test]
fn target_keeps_the_clients_own_arguments() {
    let application = Application::always(Reply::json(ENTRY));
    let nginx = Site::with_directives(
        "xspace_lookup /_space;",
        "add_header X-Args \"$args\"; add_header X-Uri \"$uri\"; add_header X-Method $request_method;",
    )
    .server(&format!(
        "location = /_space {{ internal; proxy_pass http://{}; }}",
        application.address()
    ))
    .file("downloads/2025/06/talk.mp3", TALK)
    .start();
    for protocol in nginx.protocols() {
        let response = get(&nginx, protocol, &format!("{PATH}?start=12&x=%20"));
        assert_talk(&response, &format!("{protocol:?}"));
        assert_eq!(response.header("x-args"), Some("start=12&x=%20"));
        assert_eq!(response.header("x-uri"), Some("/downloads/2025/06/talk.mp3"));
    }
    assert!(application.asked().iter().all(|asked| asked.target.starts_with("/_space?id=")));
}

#[test]
fn what_is_no_valid_question_is_not_asked() {
    let application = Application::always(Reply::json(ENTRY));
    let nginx = entry_site(&application).start();
    for protocol in nginx.protocols() {
        for (method, path, status) in [
            ("GET", "/download/".to_owned(), 404),
            ("GET", "/download/a.b.c".to_owned(), 404),
            ("GET", "/download/a%20b".to_owned(), 404),
            ("GET", "/download/a%26id=b".to_owned(), 404),
            ("GET", "/download/a/b".to_owned(), 404),
            ("GET", format!("/download/{}", "a".repeat(129)), 404),
            ("GET", format!("{PATH}.xyz"), 404),
            ("GET", format!("{PATH}?format=flac"), 404),
            ("GET", format!("{PATH}?format=../mp3"), 404),
            ("HEAD", format!("{PATH}?format=flac"), 404),
            ("POST", PATH.to_owned(), 405),
            ("PUT", PATH.to_owned(), 405),
            ("DELETE", PATH.to_owned(), 405),
            ("PATCH", PATH.to_owned(), 405),
            ("PROPFIND", PATH.to_owned(), 405),
            ("OPTIONS", PATH.to_owned(), 204),
        ] {
            let request = match method {
                "POST" | "PUT" => Request::new(method, &path).body(b"id=1lDx"),
                _ => Request::new(method, &path),
            };
            let response = nginx.send(protocol, &request);
            assert_no_recording(&response, status, &format!("{protocol:?} {method} {path}"));
        }
    }
    assert_eq!(application.asked(), []);
}

#[test]
fn whoever_is_refused_by_nginx_is_not_asked_about() {
    let application = Application::always(Reply::json(ENTRY));
    for (directives, status) in [
        ("deny all;", 403),
        ("auth_basic spaces; auth_basic_user_file {dir}/users;", 401),
        ("if ($arg_key != 1) { return 402; }", 402),
        ("auth_request /_auth;", 403),
        ("limit_req zone=none;", 503),
    ] {
        let nginx = asking(&application, directives, "")
            .http("limit_req_zone $server_name zone=none:1m rate=1r/m;")
            .server("location = /_auth { internal; return 403; }")
            .file("users", "")
            .start();
        if status == 503 {
            nginx.get(PATH);
            application.take_only();
        }
        for protocol in nginx.protocols() {
            let response = get(&nginx, protocol, PATH);
            assert_no_recording(&response, status, directives);
        }
    }
    assert_eq!(application.asked(), []);
}

#[test]
fn auth_request_beside_the_lookup_comes_first() {
    let application = Application::start(|asked| match (asked.path(), asked.header("cookie")) {
        ("/auth", Some("user=alice" | "user=bob")) => Reply::status(204).header("X-Role", "staff"),
        ("/auth", _) => Reply::status(401).header("WWW-Authenticate", "Cookie"),
        (_, Some("user=alice")) if asked.header("x-role") == Some("staff") => Reply::json(ENTRY),
        _ => Reply::status(403),
    });
    let address = application.address();
    let nginx = asking(
        &application,
        "auth_request /_auth; auth_request_set $role $upstream_http_x_role;",
        "proxy_set_header X-Role $role;",
    )
    .server(&format!(
        "location = /_auth {{
                 internal; proxy_pass http://{address}/auth; proxy_set_header Range '';
             }}"
    ))
    .file("downloads/2025/06/talk.mp3", TALK)
    .start();
    for protocol in nginx.protocols() {
        let ask = |cookie: &str, range: &str| {
            let request = Request::get(PATH).header("Cookie", cookie).range(range);
            let response = nginx.send(protocol, &request);
            let asked = application.take_asked();
            (response, asked.iter().map(|a| a.path().to_owned()).collect::<Vec<String>>())
        };
        let (response, asked) = ask("user=alice", "bytes=2-5");
        assert_eq!((response.status, response.text().as_str()), (206, &TALK[2..6]));
        assert_eq!(asked, ["/auth", "/lookup"], "{protocol:?}");
        let (response, asked) = ask("user=bob", "bytes=2-5");
        assert_no_recording(&response, 403, "bob");
        assert_eq!(asked, ["/auth", "/lookup"], "{protocol:?}");
        let (response, asked) = ask("user=eve", "bytes=2-5");
        assert_no_recording(&response, 401, "eve");
        assert_eq!(response.header("www-authenticate"), Some("Cookie"));
        assert_eq!(asked, ["/auth"], "{protocol:?}");
    }
}

/// What the client sends and the application does not get.
const NOT_PASSED: [(&str, &str); 9] = [
    ("Range", "bytes=2-5"),
    ("If-Range", "\"x\""),
    ("If-None-Match", "\"x\""),
    ("If-Match", "*"),
    ("If-Modified-Since", "Thu, 01 Jan 2015 00:00:00 GMT"),
    ("If-Unmodified-Since", "Fri, 31 Dec 2027 23:59:59 GMT"),
    ("Accept-Encoding", "gzip, br"),
    ("TE", "trailers"),
    ("Expect", "100-continue"),
];

#[test]
fn headers_of_the_client_are_passed_on_but_for_those_of_the_transfer() {
    let application = Application::always(Reply::json(ENTRY));
    let nginx = entry_site(&application).start();
    for protocol in nginx.protocols() {
        let mut request = Request::get(PATH)
            .header("Authorization", "Bearer secret")
            .header("Cookie", "session=abc; theme=dark")
            .header("User-Agent", "player/1.0")
            .header("Accept-Language", "de")
            .header("X-Request-Id", "17")
            .header("Referer", "https://www.example.com/");
        for (name, value) in NOT_PASSED {
            // hyper waits for 100 itself, HTTP/2 and HTTP/3 do not have it.
            if name != "Expect" && name != "If-Range" {
                request = request.header(name, value);
            }
        }
        let response = nginx.send(protocol, &request);
        assert_eq!(response.status, 206, "{protocol:?}: {response:?}");
        assert_eq!(response.text(), TALK[2..6], "the range is the target's");
        assert_eq!(
            response.header("content-range").map(str::to_owned),
            Some(format!("bytes 2-5/{}", TALK.len()))
        );

        let asked = application.take_only();
        for (name, value) in [
            ("authorization", "Bearer secret"),
            ("cookie", "session=abc; theme=dark"),
            ("user-agent", "player/1.0"),
            ("accept-language", "de"),
            ("x-request-id", "17"),
            ("referer", "https://www.example.com/"),
        ] {
            assert_eq!(asked.header(name), Some(value), "{protocol:?} {name}");
        }
        for (name, _) in NOT_PASSED {
            assert_eq!(asked.header(&name.to_ascii_lowercase()), None, "{protocol:?} {name}");
        }
    }
}

#[test]
fn requests_written_by_hand_are_asked_about_cleanly() {
    let application = Application::always(Reply::json(ENTRY));
    let nginx = entry_site(&application).start();
    let body = "format=mp4&id=other";
    for (what, headers, body) in [
        ("a body", format!("Content-Length: {}\r\n", body.len()), body.to_owned()),
        (
            "a chunked body",
            "Transfer-Encoding: chunked\r\n".to_owned(),
            format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
        ),
        (
            "Expect",
            format!("Expect: 100-continue\r\nContent-Length: {}\r\n", body.len()),
            body.to_owned(),
        ),
        (
            "an upgrade",
            "Connection: Upgrade, keep-alive\r\nUpgrade: websocket\r\n".to_owned(),
            String::new(),
        ),
        ("trailers", "TE: trailers\r\nTrailer: X-Sum\r\n".to_owned(), String::new()),
        (
            "a proxy's",
            "Keep-Alive: 5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: x\r\n"
                .to_owned(),
            String::new(),
        ),
        ("several cookies", "Cookie: a=1\r\nCookie: b=2\r\n".to_owned(), String::new()),
    ] {
        let mut connection = nginx.raw();
        // A second request behind the first: a body that was not read would spoil it.
        connection.write(format!(
            "GET {PATH} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{body}\
             GET {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ));
        let stream = String::from_utf8_lossy(&connection.read_to_end()).into_owned();
        let stream = stream.replace("HTTP/1.1 100 Continue\r\n\r\n", "");
        assert_eq!(stream.matches("HTTP/1.1 200 OK").count(), 2, "{what}: {stream}");
        assert_eq!(stream.matches(TALK).count(), 2, "{what}: {stream}");

        let asked = application.take_asked();
        assert_eq!(asked.len(), 2, "{what}: {asked:#?}");
        for name in [
            "content-length",
            "transfer-encoding",
            "expect",
            "upgrade",
            "te",
            "trailer",
            "keep-alive",
            "proxy-connection",
            "content-type",
        ] {
            assert_eq!(asked[0].header(name), None, "{what}: {:#?}", asked[0]);
        }
        assert_eq!(asked[0].body, b"", "{what}");
        assert_eq!(asked[0].method, "GET", "{what}");
        assert_eq!(asked[0].target, asked[1].target, "{what}");
    }
}

#[test]
fn several_cookie_lines_reach_the_application() {
    let application = Application::always(Reply::json(ENTRY));
    let nginx = entry_site(&application).start();
    for protocol in nginx.protocols() {
        let request = Request::get(PATH).header("Cookie", "a=1").header("Cookie", "b=2");
        assert_talk(&nginx.send(protocol, &request), "two cookies");
        let asked = application.take_only();
        let cookies: Vec<&str> = asked
            .headers
            .iter()
            .filter(|(name, _)| name == "cookie")
            .flat_map(|(_, value)| value.split("; "))
            .collect();
        assert_eq!(cookies, ["a=1", "b=2"], "{protocol:?}");
    }
}

#[test]
fn many_headers_are_passed_on_in_their_order() {
    let application = Application::always(Reply::json(ENTRY));
    let nginx = entry_site(&application).start();
    for protocol in nginx.protocols() {
        let mut request = Request::get(PATH);
        for number in 0..60 {
            request = request.header(&format!("X-H{number}"), &"v".repeat(number));
            if number == 7 {
                request = request.header("If-None-Match", &format!("\"{number}\""));
            }
        }
        assert_talk(&nginx.send(protocol, &request), "many headers");
        let asked = application.take_only();
        let names: Vec<&str> = asked
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| name.starts_with("x-h"))
            .collect();
        let expected: Vec<String> = (0..60).map(|number| format!("x-h{number}")).collect();
        assert_eq!(names, expected, "{protocol:?}");
        for number in 0..60 {
            let value = "v".repeat(number);
            assert_eq!(asked.header(&format!("x-h{number}")), Some(value.as_str()));
        }
        assert_eq!(asked.header("if-none-match"), None);
    }
}

#[test]
fn max_headers_counts_the_fields_of_the_client_alone() {
    if !build().require("max_headers") {
        return;
    }
    let application = Application::always(Reply::json(ENTRY));
    let added: Vec<String> =
        (0..9).map(|number| format!("proxy_set_header X-Added{number} v;")).collect();
    let nginx = asking(&application, "", &added.concat())
        .server("max_headers 6;")
        .file("downloads/2025/06/talk.mp3", TALK)
        .start();
    for protocol in nginx.protocols() {
        assert_talk(&nginx.send(protocol, &Request::get(PATH)), "few fields");
        assert_eq!(application.take_only().header("x-added8"), Some("v"), "{protocol:?}");

        let many = (0..7).fold(Request::get(PATH), |r, n| r.header(&format!("X-H{n}"), "v"));
        assert_no_recording(&nginx.send(protocol, &many), 400, "many fields");
        assert!(application.asked().is_empty(), "{protocol:?}");
    }
}

#[test]
fn early_hints_before_an_answer_change_nothing() {
    if !build().require("early_hints") {
        return;
    }
    let hinted = format!(
        "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{ENTRY}",
        ENTRY.len()
    );
    let application = Application::always(Reply::raw(hinted));
    let nginx = entry_site(&application).server("early_hints 1;").start();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get(PATH));
        assert_talk(&response, "early hints");
        assert_eq!(response.header("link"), None, "{protocol:?}");
    }
}

#[test]
fn head_ranges_and_conditions_ask_the_same_question() {
    let application = Application::always(Reply::json(&format!(r#"{{"files": ["{ID}.mp3"]}}"#)));
    let nginx = asking(&application, "", "").start();
    for protocol in nginx.protocols() {
        let first = get(&nginx, protocol, PATH);
        assert_recording(&first, "GET");
        let question = application.take_only();
        let etag = first.header("etag").expect("an ETag");
        let modified = first.header("last-modified").expect("Last-Modified");
        for (what, request, status, len) in [
            ("HEAD", Request::head(PATH), 200, 0),
            ("HEAD with a range", Request::head(PATH).range("bytes=5-9"), 206, 0),
            ("a range", Request::get(PATH).range("bytes=100000-100999"), 206, 1000),
            ("the end", Request::get(PATH).range("bytes=-7"), 206, 7),
            ("If-None-Match", Request::get(PATH).header("If-None-Match", etag), 304, 0),
            ("If-Modified-Since", Request::get(PATH).header("If-Modified-Since", modified), 304, 0),
            ("If-Range", Request::get(PATH).header("If-Range", etag).range("bytes=0-0"), 206, 1),
            (
                "If-Range that fails",
                Request::get(PATH).header("If-Range", "\"old\"").range("bytes=0-0"),
                200,
                SIZE,
            ),
        ] {
            let response = nginx.send(protocol, &request);
            let what = format!("{protocol:?} {what}");
            assert_eq!((response.status, response.body.len()), (status, len), "{what}");
            let mut asked = application.take_only();
            asked.connection = question.connection;
            assert_eq!(asked, question, "{what}");
        }
        for request in [
            Request::get(PATH).range("bytes=999999999-"),
            Request::get(PATH).header("If-Match", "\"old\""),
        ] {
            let response = nginx.send(protocol, &request);
            assert!([412, 416].contains(&response.status), "{response:?}");
            let mut asked = application.take_only();
            asked.connection = question.connection;
            assert_eq!(asked, question, "{request:?}");
        }
    }
}

#[test]
fn several_requests_of_one_connection_are_asked_about_one_by_one() {
    let application = Application::start(|asked| match asked.argument("id") {
        Some("no") => Reply::status(403),
        Some("bad") => Reply::json("{"),
        _ => Reply::json(ENTRY),
    });
    let nginx = entry_site(&application).start();
    let mut connection = nginx.raw();
    let mut text = String::new();
    for id in ["yes", "no", "bad", "yes", "bad", "no", "yes"] {
        text.push_str(&format!("GET /download/{id} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    }
    text.push_str("GET /download/a.b.c HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    connection.write(text);
    let responses = xspace_tests::read_responses(&connection.read_to_end(), &[true; 8]);
    let statuses: Vec<u16> = responses.iter().map(|response| response.status).collect();
    assert_eq!(statuses, [200, 403, 502, 200, 502, 403, 200, 404]);
    for index in [0, 3, 6] {
        assert_eq!(responses[index].text(), TALK);
    }
    assert_eq!(application.asked().len(), 7);
}

// Around it.

#[test]
fn error_page_shows_what_the_site_wants() {
    let statuses = [401, 403, 404, 410, 429, 451, 502];
    let application =
        rows(statuses.iter().map(|&s| Reply::status(s).header("WWW-Authenticate", "X")).collect());
    let pages = "error_page 401 =302 /login; error_page 403 /no.html; error_page 404 = @app;
                 error_page 410 =200 /no.html; error_page 429 451 @app; error_page 502 /no.html;";
    let nginx = with_files(asking(&application, pages, ""), statuses.len())
        .server(
            "location = /no.html { add_header X-Says \"$xspace_outcome|$xspace_id\" always; }
             location = /login { return 302 /login?next=$request_uri; }
             location @app { return 410 \"app: $request_uri\"; }",
        )
        .file("html/no.html", "not for you")
        .start();
    for protocol in nginx.protocols() {
        let get = |row: usize| get(&nginx, protocol, &format!("/download/row{row}?x=1"));
        let login = get(0);
        assert_no_recording(&login, 302, "401");
        let location = login.header("location").expect("Location");
        assert!(location.ends_with("/login?next=/download/row0?x=1"), "{location}");
        for (row, status, outcome) in [(1, 403, "denied"), (3, 200, "denied"), (6, 502, "error")] {
            let response = get(row);
            assert_no_recording(&response, status, "error_page");
            assert_eq!(response.text(), "not for you", "row {row}");
            assert_eq!(response.header("x-says"), Some(&*format!("{outcome}|row{row}")));
        }
        assert_eq!(get(2).text(), "app: /download/row2?x=1");
        for (row, status) in [(4, 429), (5, 451)] {
            let response = get(row);
            assert_eq!(response.status, status);
            assert_eq!(response.text(), format!("app: /download/row{row}?x=1"));
        }
    }
}

#[test]
fn error_page_may_lead_to_another_space() {
    let application = Application::start(|asked| match asked.argument("id") {
        Some("sample") => Reply::json(ENTRY),
        _ => Reply::status(403),
    });
    let nginx = asking(&application, "error_page 403 =200 /download/sample;", "")
        .file("downloads/2025/06/talk.mp3", TALK)
        .start();
    for protocol in nginx.protocols() {
        let response = get(&nginx, protocol, PATH);
        assert_eq!(response.text(), TALK, "{protocol:?} {response:?}");
        let ids: Vec<_> = application.take_asked();
        let ids: Vec<&str> = ids.iter().filter_map(|asked| asked.argument("id")).collect();
        assert_eq!(ids, [ID, "sample"], "{protocol:?}");
    }
}

#[test]
fn error_pages_of_the_lookups_location_do_not_reach_the_client() {
    let application = rows(vec![Reply::status(403), Reply::status(404), Reply::status(500)]);
    let nginx = with_files(
        asking(&application, "", "proxy_intercept_errors on; error_page 403 404 500 /sorry;"),
        3,
    )
    .server("location = /sorry { return 200 'sorry'; }")
    .start();
    for protocol in nginx.protocols() {
        for (row, status) in [(0, 403), (1, 404), (2, 502)] {
            let response = get(&nginx, protocol, &format!("/download/row{row}"));
            assert_no_recording(&response, status, &format!("{protocol:?} row {row}"));
            assert!(!response.text().contains("sorry"), "{protocol:?} row {row}: {response:?}");
        }
    }
}

#[test]
fn is_inherited_and_can_be_switched_off() {
    let application = Application::always(Reply::status(403));
    let address = application.address();
    let lookup = format!("location = /_space {{ internal; proxy_pass http://{address}; }}");
    for level in ["http", "server"] {
        let mut site = Site::simple().file(FILE, recording()).server(&lookup).server(
            "location ^~ /open/ { xspace_lookup off; xspace_download /downloads/; }
             location ^~ /own/ { xspace_lookup /_yes; xspace_download /downloads/; }
             location = /_yes { internal; return 204; }",
        );
        site = match level {
            "http" => site.http("xspace_lookup /_space;"),
            _ => site.server("xspace_lookup /_space;"),
        };
        let nginx = site.start();
        assert_no_recording(&nginx.get(PATH), 403, level);
        application.take_only();
        assert_recording(&nginx.get(&format!("/open/{ID}")), level);
        assert_recording(&nginx.get(&format!("/own/{ID}")), level);
        assert_eq!(application.asked(), [], "{level}");
    }
}

#[test]
fn blocks_and_other_kinds_of_locations_ask_too() {
    let application = Application::start(|asked| match asked.header("x-user") {
        Some("alice") => Reply::status(204),
        _ => Reply::status(403),
    });
    let nginx =
        asking(&application, "set $x 1; if ($arg_if) { set $x 2; } limit_except POST { }", "")
            .server(
                "location ~ ^/spaces/(?<space>[^/]+)/download$ {
                 xspace_id $space; xspace_download /downloads/; xspace_lookup /_space;
             }
             location = /one {
                 xspace_id 1lDxLnrWjwkGm; xspace_download /downloads/; xspace_lookup /_space;
                 error_page 404 = @named;
             }
             location @named {
                 xspace_id $arg_space; xspace_download /downloads/; xspace_lookup /_space;
             }
             location = /named { error_page 418 = @named; return 418; }",
            )
            .start();
    for protocol in nginx.protocols() {
        for path in [
            PATH.to_owned(),
            format!("{PATH}?if=1"),
            format!("/spaces/{ID}/download"),
            "/one".to_owned(),
            format!("/named?space={ID}"),
        ] {
            let ask =
                |user: &str| nginx.send(protocol, &Request::get(&path).header("X-User", user));
            assert_recording(&ask("alice"), &format!("{protocol:?} {path}"));
            assert_no_recording(&ask("bob"), 403, &format!("{protocol:?} {path}"));
            for asked in application.take_asked() {
                assert_eq!(asked.query(), format!("id={ID}&format="), "{protocol:?} {path}");
            }
        }
    }
}

#[test]
fn clients_cannot_ask_for_themselves() {
    let application = Application::always(Reply::json(ENTRY));
    let nginx = entry_site(&application).start();
    for protocol in nginx.protocols() {
        for path in ["/_space", "/_space?id=1lDx&format="] {
            assert_no_recording(&get(&nginx, protocol, path), 404, path);
        }
    }
    assert_eq!(application.asked(), []);
}

#[test]
fn variables_speak_in_the_lookups_location() {
    let application = Application::always(Reply::json(ENTRY));
    let nginx = asking(
        &application,
        "",
        "proxy_set_header X-Space \"$xspace_id|$xspace_format|$xspace_outcome|$xspace_source\";
         proxy_set_header X-Request \"$request_uri\";
         proxy_set_header X-Client \"$remote_addr\";",
    )
    .server(&format!(
        "location ^~ /path/ {{ xspace_download /downloads/; xspace_lookup /_path; }}
         location = /_path {{
             internal; set $app {};
             proxy_pass http://$app/spaces/$xspace_id/lookup?as=$xspace_format;
         }}",
        application.address()
    ))
    .file("downloads/2025/06/talk.mp3", TALK)
    .start();
    for protocol in nginx.protocols() {
        get(&nginx, protocol, &format!("{PATH}?format=MP3"));
        let asked = application.take_only();
        assert_eq!(asked.header("x-space"), Some("1lDxLnrWjwkGm|mp3||"), "{protocol:?}");
        assert_eq!(asked.header("x-request"), Some("/download/1lDxLnrWjwkGm?format=MP3"));
        assert_eq!(asked.header("x-client"), Some("127.0.0.1"));
        assert_eq!(get(&nginx, protocol, "/path/1lDx.mp3").text(), TALK);
        assert_eq!(application.take_only().target, "/spaces/1lDx/lookup?as=mp3");
    }
}

#[test]
fn fields_that_are_not_passed_on_are_no_variables_either() {
    let application = Application::always(Reply::json(ENTRY));
    // A site that hands Range on everywhere, and looks at it before and after.
    let nginx = Site::with_directives(
        "xspace_lookup /_space; set $before \"$arg_before\";
         if ($arg_early) { set $before \"$http_range$content_length\"; }",
        "proxy_pass http://127.0.0.1:{other}; proxy_set_header Range $http_range;",
    )
    .http(
        "log_format fields escape=none '$http_range|$content_length|$http_cookie|$before';
         access_log {dir}/access.log fields;
         server {
             listen 127.0.0.1:{other}; access_log off;
             location / { alias {dir}/; }
         }",
    )
    .server(&format!(
        "location = /_space {{
             internal; proxy_pass http://{};
             proxy_set_header Range $http_range; proxy_set_header X-Length $content_length;
             proxy_set_header X-Before $before; proxy_set_header X-Cookie $http_cookie;
         }}",
        application.address()
    ))
    .file("downloads/2025/06/talk.mp3", TALK)
    .start();
    for protocol in nginx.protocols() {
        for early in ["", "?early=1"] {
            let what = format!("{protocol:?} {early}");
            let request = Request::get(&format!("{PATH}{early}"))
                .header("Cookie", "a=1")
                .range("bytes=2-5")
                .body(b"body");
            let response = nginx.send(protocol, &request);
            assert_eq!((response.status, response.text().as_str()), (206, &TALK[2..6]), "{what}");
            let asked = application.take_only();
            for name in ["range", "x-length"] {
                assert_eq!(asked.header(name), None, "{what}");
            }
            assert_eq!(asked.header("x-cookie"), Some("a=1"), "{what}");
            assert_eq!(
                asked.header("x-before").is_some(),
                !early.is_empty(),
                "{what}: `set` is kept"
            );
        }
    }
    for line in nginx.log_lines("access.log", 2 * nginx.protocols().len()) {
        assert!(line.starts_with("bytes=2-5|"), "{line}");
        assert!(line.contains("|a=1|"), "{line}");
    }
}

#[test]
fn title_of_the_lookup_is_cleaned_as_the_catalogs() {
    let application = rows(vec![
        Reply::json(r#"{"title": "Gespräch: \"Rust\"/C\r\nSet-Cookie: a=1"}"#),
        Reply::json(r#"{"title": "日本語"}"#),
        Reply::json(&format!(r#"{{"title": "{}"}}"#, "long ".repeat(500))),
    ]);
    let nginx = with_files(asking(&application, "", ""), 3).start();
    for protocol in nginx.protocols() {
        let disposition = |row: usize| {
            let response = get(&nginx, protocol, &format!("/download/row{row}"));
            assert_eq!(response.header("set-cookie"), None);
            response.header("content-disposition").expect("Content-Disposition").to_owned()
        };
        let first = disposition(0);
        assert!(first.contains("filename*=UTF-8''Gespr%C3%A4ch-RustC"), "{first}");
        assert_eq!(
            disposition(1),
            "inline; filename=\"row1.mp3\"; \
             filename*=UTF-8''%E6%97%A5%E6%9C%AC%E8%AA%9E_row1.mp3"
        );
        let long = disposition(2);
        assert!(long.len() < 260 && long.contains("_row2.mp3"), "{long}");
    }
}

#[test]
fn a_page_that_includes_a_recording_asks_too() {
    // A subrequest of auth_request goes through the module, which makes one of its own.
    let application = Application::start(|asked| match asked.argument("id") {
        Some(ID) => Reply::json(ENTRY),
        Some("none") => Reply::json(r#"{"files": ["none.mp3"]}"#),
        Some("bad") => Reply::json("["),
        _ => Reply::status(403),
    });
    let nginx = entry_site(&application)
        .server(
            "location = /page { auth_request /_inner; alias {dir}/html/page.html; }
             location = /_inner {
                 internal; xspace_id $http_x_space; xspace_download /downloads/;
                 xspace_lookup /_space;
             }",
        )
        .file("html/page.html", "the page")
        .start();
    for protocol in nginx.protocols() {
        for (space, status) in [(ID, 200), (OTHER, 403), ("bad", 500), ("none", 500)] {
            let request = Request::get("/page").header("X-Space", space);
            let response = nginx.send(protocol, &request);
            let what = format!("{protocol:?} {space}");
            assert_no_recording(&response, status, &what);
            assert_eq!(response.text() == "the page", status == 200, "{what}");
        }
    }
}

#[test]
fn location_of_the_lookup_may_answer_by_itself() {
    for (lookup, status) in [
        ("internal; return 204;", 200),
        ("internal; return 200;", 200),
        ("internal; return 200 '';", 200),
        ("internal; return 403;", 403),
        ("internal; return 404 '{}';", 404),
        ("internal; return 500;", 502),
        ("internal; return 301 /elsewhere;", 502),
        ("internal; return 444;", 502),
        ("internal; return 499;", 502),
        ("internal; deny all;", 200),
        ("internal; alias {dir}/entry.json;", 200),
        ("internal; alias {dir}/none.json;", 404),
        ("internal; alias {dir}/;", 502),
        ("internal; rewrite ^ /_other last;", 200),
        ("internal; rewrite ^ /_circle last;", 502),
        ("internal; try_files /none @other;", 200),
        ("internal; error_page 404 =204 /_other; return 404;", 200),
        ("internal; error_page 404 /_other; return 404;", 404),
    ] {
        // `deny` has nothing to say: access is not checked in subrequests.
        let lookup = lookup.replace("deny all;", "deny all; alias {dir}/entry.json;");
        let nginx = site("", &lookup)
            .server(
                "location = /_other { internal; return 204; }
                 location @other { return 204; }
                 location = /_circle { rewrite ^ /_space last; }",
            )
            .file("entry.json", format!(r#"{{"files": ["{ID}.mp3"]}}"#))
            .start();
        for protocol in nginx.protocols() {
            let response = get(&nginx, protocol, PATH);
            let what = format!("{protocol:?} {lookup}");
            if status == 200 {
                assert_recording(&response, &what);
            } else {
                assert_no_recording(&response, status, &what);
            }
        }
    }
}

#[test]
fn return_gives_an_entry() {
    let nginx = site("", r#"internal; return 200 '{"title": "By return", "files": ["a.mp3"]}';"#)
        .file("downloads/a.mp3", "a")
        .start();
    for protocol in nginx.protocols() {
        let response = get(&nginx, protocol, PATH);
        assert_eq!(response.text(), "a", "{protocol:?}");
        assert_eq!(
            response.header("content-disposition"),
            Some("inline; filename=\"By-return_1lDxLnrWjwkGm.mp3\"")
        );
    }
    assert_eq!(
        nginx.log_lines("access.log", 1)[0],
        "200|found|lookup|1lDxLnrWjwkGm|mp3|a.mp3|By return"
    );
}

#[test]
fn filters_of_the_lookups_location_do_not_spoil_the_answer() {
    let application = Application::always(Reply::json(ENTRY));
    for directives in [
        "gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any;",
        "add_header X-A 1 always; expires 1h;",
        "charset utf-8; charset_types *;",
        "ssi on; ssi_types *;",
        "sub_filter production development; sub_filter_types *;",
        "limit_rate 10;",
        "addition_types *; add_after_body /_after;",
        "postpone_output 10000; output_buffers 1 4;",
        "proxy_buffering off;",
        "proxy_http_version 1.1; proxy_set_header Connection '';",
        "proxy_force_ranges on;",
        "chunked_transfer_encoding off;",
        "etag off; if_modified_since off; max_ranges 0;",
    ] {
        let needs = [("sub_filter", "http_sub"), ("addition", "http_addition")];
        let lacking = needs.iter().any(|(word, feature)| {
            directives.contains(word) && !xspace_tests::build().has(feature)
        });
        if lacking {
            continue;
        }
        let nginx = asking(&application, "", directives)
            .server("location = /_after { internal; return 200 ' '; }")
            .file("downloads/2025/06/talk.mp3", TALK)
            .start();
        for protocol in nginx.protocols() {
            let request = Request::get(PATH).header("Accept-Encoding", "gzip").range("bytes=0-");
            let response = nginx.send(protocol, &request);
            let what = format!("{protocol:?} {directives}");
            assert_eq!(response.status, 206, "{what}: {response:?}");
            assert_eq!(response.text(), TALK, "{what}");
            assert_eq!(values(&response, "x-a"), Vec::<&str>::new(), "{what}");
        }
    }
}
