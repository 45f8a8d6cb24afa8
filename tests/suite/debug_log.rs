//! What `error_log … debug` tells of a request, in an nginx that is built `--with-debug`.

use xspace_tests::{Nginx, Request, Site, build};

use crate::common::{FILE, ID, MISSING_PATH, PATH, recording};

/// The module's lines about a request, without what nginx puts before them.
fn lines_of(nginx: &Nginx, request: &Request) -> Vec<String> {
    let before = debug_lines(nginx);
    nginx.send(xspace_tests::Protocol::Http1, request);
    // The connection has ended, and with it the request.
    debug_lines(nginx).split_off(before.len())
}

fn debug_lines(nginx: &Nginx) -> Vec<String> {
    let log = std::fs::read_to_string(nginx.dir().join("debug.log")).expect("the debug log");
    log.lines()
        .filter(|line| line.contains("[debug]"))
        .filter_map(|line| line.split_once(" xspace "))
        .map(|(_, message)| message.replace(nginx.dir().to_str().expect("UTF-8"), "DIR"))
        .collect()
}

fn site(download: &str) -> Site {
    Site::with_directives(download, "")
        .http("error_log {dir}/error.log info; error_log {dir}/debug.log debug_http;")
        .server("location = /_space { internal; return 204; }")
        .file("catalog.json", format!(r#"{{"{ID}": {{"title": "T"}}, "gone": {{"status": 410}}}}"#))
        .file(FILE, recording())
}

#[test]
fn each_decision_has_a_line() {
    if !build().require("debug") {
        return;
    }
    let found = format!("\"DIR/{FILE}\"");
    let redirect = format!("redirect: \"/downloads/{ID}.mp3\"");
    let space = format!("space: \"{ID}\" format: \"\"");
    let target = ["rewrite handler", "header filter: Recording"];
    let rows: [(&str, Request, Vec<&str>); 6] = [
        (
            "",
            Request::get(PATH),
            vec![
                "rewrite handler",
                "preaccess handler",
                "precontent handler",
                &space,
                &found,
                "File(300007)",
                &redirect,
                "source: directory",
                target[0],
                target[1],
            ],
        ),
        (
            "xspace_catalog {dir}/catalog.json;",
            Request::get(PATH),
            vec!["precontent handler", &space, "catalog entry found:1", &found, &redirect],
        ),
        (
            "xspace_catalog {dir}/catalog.json;",
            Request::get("/download/gone"),
            vec!["space: \"gone\"", "outcome: status status: 410"],
        ),
        (
            "xspace_lookup /_space;",
            Request::get(&format!("{PATH}?format=mp3")),
            vec![
                "precontent handler",
                "lookup: \"/_space?id=1lDxLnrWjwkGm&format=mp3\"",
                "precontent handler",
                "lookup status: 204",
                &found,
                &redirect,
                target[1],
                "cache filter: Target",
            ],
        ),
        (
            "",
            Request::get(MISSING_PATH),
            vec!["1ZkKzXbYyLmGv.mp3\": Missing(2)", ".mp4\": Missing(2)", "outcome: not_found"],
        ),
        ("", Request::new("POST", PATH), vec!["outcome: bad_method status: 405"]),
    ];
    for (download, request, expected) in rows {
        let nginx = site(download).start();
        let lines = lines_of(&nginx, &request);
        let mut rest = lines.join("\n");
        for part in expected {
            let Some((_, behind)) = rest.split_once(part) else {
                panic!("{download} {request:?}: no {part:?} in order in {lines:#?}");
            };
            rest = behind.to_owned();
        }
    }
}

#[test]
fn other_levels_have_none() {
    let nginx = Site::simple()
        .http("error_log {dir}/error.log info; error_log {dir}/debug.log info;")
        .file(FILE, recording())
        .start();
    assert_eq!(nginx.get(PATH).status, 200);
    assert_eq!(debug_lines(&nginx), [""; 0]);
}
