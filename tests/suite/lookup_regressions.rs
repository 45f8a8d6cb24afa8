//! Mistakes of the lookup that were found and mended, and what a mend could have spoilt.

use std::fs;

use xspace_tests::{Application, Reply, Request, Site};

use crate::asking::{asking, assert_bad_answer, get, own_errors, rows, site, with_files};
use crate::common::{FILE, ID, PATH, assert_no_recording, recording};

const ENTRY: &str = r#"{"files": ["1lDxLnrWjwkGm.mp3"]}"#;

/// `$http_range`, made for the lookup without Range, stayed with the request, and a proxied target
/// then got no Range.
#[test]
fn lookup_leaves_the_requests_variables_alone() {
    let application = Application::always(Reply::json(ENTRY));
    let nginx = Site::new()
        .http("log_format range '$http_range|$seen|$word'; access_log {dir}/access.log range;")
        .http("map $http_range $seen { default some; '' none; }")
        .server(&format!(
            "proxy_set_header Range $http_range;
             set $word before;
             location ^~ /download/ {{
                 xspace_download /store/; xspace_lookup /_space; xspace_directory off;
             }}
             location = /_space {{
                 internal; proxy_pass http://{}; set $word lookup;
                 proxy_set_header X-Seen $seen$http_accept_encoding;
                 proxy_set_header Range $http_range;
             }}
             location ^~ /store/ {{
                 internal; proxy_pass http://127.0.0.1:{{other}}/;
             }}",
            application.address()
        ))
        .http("server { listen 127.0.0.1:{other}; root {dir}/downloads; access_log off; }")
        .file(FILE, recording())
        .start();
    for protocol in nginx.protocols() {
        let response = nginx.send(
            protocol,
            &Request::get(PATH).range("bytes=5-14").header("Accept-Encoding", "br"),
        );
        assert_eq!((response.status, &*response.body), (206, &recording()[5..15]), "{protocol:?}");
        let asked = application.take_only();
        assert_eq!(asked.header("range"), None, "{asked:?}");
        assert_eq!(asked.header("x-seen"), Some("none"), "{asked:?}");
    }
    for line in nginx.log_lines("access.log", nginx.protocols().len()) {
        assert_eq!(line, "bytes=5-14|some|before");
    }
}

/// An application that dies after its header looked like one that leaves the decision to the
/// directory: everybody was let in.
#[test]
fn empty_answer_without_an_end_is_no_permission() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    let replies = [
        Reply::status(200).without_length(),
        Reply::raw(format!("{head}Connection: close\r\n\r\n")),
        Reply::raw("HTTP/1.0 200 OK\r\n\r\n"),
        Reply::raw(format!("{head}\r\n")).reset(),
    ];
    let application = rows(replies.to_vec());
    for directives in ["", "proxy_buffering off;", "proxy_cache lookup; proxy_cache_valid any 10m;"]
    {
        let nginx = with_files(asking(&application, "", directives), replies.len())
            .http("proxy_cache_path {dir}/cache keys_zone=lookup:1m;")
            .start();
        for row in 0..replies.len() {
            // The second time it may come from the cache.
            for _ in 0..2 {
                let what = format!("row {row} {directives}");
                assert_bad_answer(&nginx, &format!("/download/row{row}"), "failed", &what);
            }
        }
    }
}

/// nginx calls no body filter for an empty answer from its cache.
#[test]
fn empty_answer_from_the_cache_leaves_the_decision_to_the_directory() {
    let replies = [Reply::status(200), Reply::status(200).chunked(1), Reply::status(204)];
    let application = rows(replies.to_vec());
    let nginx = with_files(
        asking(&application, "", "proxy_cache lookup; proxy_cache_valid any 10m;"),
        replies.len(),
    )
    .http("proxy_cache_path {dir}/cache keys_zone=lookup:1m;")
    .start();
    for row in 0..replies.len() {
        for _ in 0..3 {
            assert_eq!(nginx.get(&format!("/download/row{row}")).status, 200, "row {row}");
        }
    }
    assert_eq!(application.asked().len(), replies.len(), "once each, then from the cache");
    assert_eq!(own_errors(&nginx), Vec::<String>::new());
}

/// A path that nginx does not take was answered with 404, as if the application had said so.
#[test]
fn bad_x_accel_redirect_is_a_bad_answer() {
    let paths = ["/../../etc/passwd", "", "/a/../../b", "@none", "/downloads/1lDxLnrWjwkGm.mp3"];
    let replies = paths.map(|path| Reply::json(ENTRY).header("X-Accel-Redirect", path));
    let application = rows(replies.to_vec());
    let nginx = with_files(asking(&application, "", ""), paths.len()).start();
    for (row, path) in paths.iter().enumerate() {
        assert_bad_answer(
            &nginx,
            &format!("/download/row{row}"),
            "\"X-Accel-Redirect\"",
            &format!("{path:?}"),
        );
    }
}

/// What nginx is told to take no notice of is no mistake.
#[test]
fn ignored_x_accel_redirect_is_ignored() {
    let application = Application::always(
        Reply::json(ENTRY).header("X-Accel-Redirect", "/downloads/1lDxLnrWjwkGm.mp3"),
    );
    let nginx = asking(&application, "", "proxy_ignore_headers X-Accel-Redirect;").start();
    assert_eq!(nginx.get(PATH).status, 200);
}

/// After `error_page` to another space each challenge was there twice.
#[test]
fn challenge_is_sent_once() {
    let replies = [
        Reply::status(401).header("WWW-Authenticate", "Basic realm=\"first\""),
        Reply::status(401)
            .header("WWW-Authenticate", "Basic realm=\"one\"")
            .header("WWW-Authenticate", "Bearer"),
    ];
    let application = rows(replies.to_vec());
    let nginx = asking(&application, "error_page 401 /download/row1;", "").start();
    for protocol in nginx.protocols() {
        let response = get(&nginx, protocol, "/download/row0");
        assert_no_recording(&response, 401, "both refuse");
        let challenges: Vec<_> = response
            .headers
            .iter()
            .filter(|(name, _)| name == "www-authenticate")
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(challenges, ["Basic realm=\"one\"", "Bearer"], "{protocol:?}");
    }
}

/// An answer that broke the rules after its header ended the client's connection.
#[test]
fn unwritable_cache_is_a_bad_answer() {
    let application = Application::always(Reply::json(ENTRY));
    let nginx = asking(&application, "", "proxy_cache lookup; proxy_cache_valid any 10m;")
        .http("proxy_cache_path {dir}/cache keys_zone=lookup:1m use_temp_path=off;")
        .allow("cache")
        .start();
    let cache = nginx.dir().join("cache");
    fs::remove_dir(&cache).expect("an empty cache");
    fs::write(&cache, "not a directory").expect("a file");
    for protocol in nginx.protocols() {
        let response = get(&nginx, protocol, &format!("/download/{ID}"));
        assert_no_recording(&response, 502, "incomplete response");
    }
    assert_eq!(own_errors(&nginx).len(), nginx.protocols().len());
}

/// The log went on to say what the subrequest had done last.
#[test]
fn log_does_not_say_what_the_subrequest_did_last() {
    let application = Application::always(Reply::status(500));
    let nginx =
        site("", &format!("internal; proxy_pass http://{};", application.address())).start();
    assert_no_recording(&nginx.get(PATH), 502, "no answer");
    let lines = own_errors(&nginx);
    assert!(lines[0].contains("invalid response: status 500, client:"), "{lines:?}");
}
