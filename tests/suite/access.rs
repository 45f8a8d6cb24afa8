//! Who may fetch is decided before the module looks at anything.

use xspace_tests::{Nginx, Protocol, Request, Site, build};

use crate::common::{
    FILE, MISSING_PATH, OTHER, PATH, assert_no_recording, assert_recording, recording,
};

/// What the module says that it did.
const LOG: &str = "log_format outcome '$status|$xspace_outcome|$xspace_file';
                   access_log {dir}/access.log outcome;";

/// The recording, with the access log.
fn site(download: &str) -> Site {
    Site::with_directives(download, "").http(LOG).file(FILE, recording())
}

/// The same refusal for a space that is there, one that is not and no id at all; and no trace
/// of a look at the disk.
#[track_caller]
fn assert_refused(nginx: &Nginx, query: &str, status: u16) {
    for protocol in nginx.protocols() {
        for method in ["GET", "HEAD", "OPTIONS", "POST"] {
            let ask =
                |path: &str| nginx.send(protocol, &Request::new(method, &format!("{path}{query}")));
            let there = ask(PATH);
            let what = format!("{protocol:?} {method} {query}");
            assert_no_recording(&there, status, &what);
            assert_eq!(there.header("allow"), None, "{what}");
            for path in [MISSING_PATH, "/download/a.b.c", "/download/1lDxLnrWjwkGm.wav"] {
                let other = ask(path);
                assert_eq!(other.status, there.status, "{what} {path}");
                assert_eq!(other.lasting_headers(), there.lasting_headers(), "{what} {path}");
                assert_eq!(other.body, there.body, "{what} {path}");
            }
        }
    }
    assert!(!nginx.error_log().contains("no file for space"), "{}", nginx.error_log());
    assert!(!nginx.error_log().contains("invalid space id"), "{}", nginx.error_log());
    for line in nginx.log_lines("access.log", 32) {
        let line = line.replace('-', "");
        assert_eq!(line, format!("{status}||"), "nothing was looked for");
    }
}

#[test]
fn deny_decides_first() {
    let nginx = site("deny all;").start();
    assert_refused(&nginx, "", 403);
}

#[test]
fn deny_decides_before_an_unreadable_directory_is_noticed() {
    let site = site("deny all;");
    site.chmod("downloads", 0);
    let nginx = site.start();
    assert_refused(&nginx, "", 403);
    nginx.site().chmod("downloads", 0o755);
}

#[test]
fn allow_lets_pass() {
    let nginx = site("allow 127.0.0.0/8; deny all;").start();
    assert_recording(&nginx.get(PATH), "allowed");
    assert_no_recording(&nginx.get(MISSING_PATH), 404, "allowed");
}

#[test]
fn auth_basic_decides_first() {
    let nginx = site("auth_basic spaces; auth_basic_user_file {dir}/users;")
        .file("users", "alice:{PLAIN}secret\n")
        .start();
    assert_refused(&nginx, "", 401);
    for protocol in nginx.protocols() {
        // alice:secret
        let request = Request::get(PATH).header("Authorization", "Basic YWxpY2U6c2VjcmV0");
        assert_recording(&nginx.send(protocol, &request), &format!("{protocol:?}"));
        // alice:wrong
        let request = Request::get(PATH).header("Authorization", "Basic YWxpY2U6d3Jvbmc=");
        let response = nginx.send(protocol, &request);
        assert_no_recording(&response, 401, "wrong password");
        assert!(response.header("www-authenticate").is_some());
    }
}

#[test]
fn auth_request_decides_first() {
    for (answer, status) in [("401", 401), ("403", 403), ("500", 500)] {
        let nginx = site("auth_request /auth;")
            .server(&format!("location = /auth {{ internal; return {answer}; }}"))
            .start();
        assert_refused(&nginx, "", status);
    }
}

#[test]
fn auth_request_lets_pass() {
    let nginx = site("auth_request /auth;")
        .server(
            "location = /auth {
                 internal; proxy_pass http://127.0.0.1:{port}/service; proxy_set_header Range '';
                 proxy_pass_request_body off; proxy_set_header Content-Length '';
                 proxy_set_header X-Space $xspace_id;
             }
             location = /service { if ($http_x_space != 1lDxLnrWjwkGm) { return 403; } return 204; }",
        )
        .file(&format!("downloads/{OTHER}.mp3"), "other")
        .start();
    for protocol in nginx.protocols() {
        let what = format!("{protocol:?}");
        assert_recording(&nginx.send(protocol, &Request::get(PATH)), &what);
        let part = nginx.send(protocol, &Request::get(PATH).range("bytes=9-18"));
        assert_eq!((part.status, &part.body[..]), (206, &recording()[9..19]), "{what}");
        let other = nginx.send(protocol, &Request::get(&format!("/download/{OTHER}")));
        assert_no_recording(&other, 403, &what);
        let missing = nginx.send(protocol, &Request::get(MISSING_PATH));
        assert_eq!(missing.lasting_headers(), other.lasting_headers(), "{what}");
        assert_eq!(missing.body, other.body, "{what}");
    }
}

#[test]
fn authorization_of_the_whole_server_is_asked_in_both_locations() {
    // Access is checked again in the target: sites that mind write it in the location.
    let nginx = Site::simple()
        .http("log_format service '$http_x_space'; access_log {dir}/main.log;")
        .server(
            "auth_request /auth;
             location = /auth {
                 internal; auth_request off;
                 proxy_pass http://127.0.0.1:{port}/service; proxy_set_header X-Space $xspace_id;
             }
             location = /service {
                 auth_request off; access_log {dir}/access.log service;
                 if ($http_x_space != 1lDxLnrWjwkGm) { return 403; }
                 return 204;
             }",
        )
        .file(FILE, recording())
        .start();
    for protocol in nginx.protocols() {
        assert_recording(&nginx.send(protocol, &Request::get(PATH)), &format!("{protocol:?}"));
    }
    let count = 2 * nginx.protocols().len();
    assert_eq!(nginx.log_lines("access.log", count), vec!["1lDxLnrWjwkGm"; count]);
    assert_no_recording(&nginx.get(MISSING_PATH), 403, "another space");
}

#[test]
fn satisfy_any_lets_pass_by_either() {
    let nginx = site("satisfy any; deny all; auth_basic spaces; auth_basic_user_file {dir}/users;")
        .file("users", "alice:{PLAIN}secret\n")
        .start();
    assert_no_recording(&nginx.get(PATH), 401, "neither");
    let response = nginx.get_with(PATH, "Authorization", "Basic YWxpY2U6c2VjcmV0");
    assert_recording(&response, "password");
}

#[test]
fn secure_link_decides_first() {
    if !build().require("http_secure_link") {
        return;
    }
    // printf '%s' "<id> secret" | openssl md5 -binary | base64 | tr +/ -_ | tr -d =
    let (there, missing) = ("XY14_CuDrBKodntOloqOyA", "y78-9F5HNHsmslwPp6TImw");
    let nginx = site(
        "secure_link $arg_md5; secure_link_md5 \"$xspace_id secret\";
         if ($secure_link != 1) { return 403; }",
    )
    .start();
    assert_refused(&nginx, "?md5=AAAAAAAAAAAAAAAAAAAAAA", 403);
    assert_recording(&nginx.get(&format!("{PATH}?md5={there}")), "signed");
    assert_recording(&nginx.get(&format!("{PATH}.mp3?md5={there}")), "with a suffix");
    assert_no_recording(&nginx.get(&format!("{MISSING_PATH}?md5={missing}")), 404, "signed");
    assert_no_recording(&nginx.get(&format!("{MISSING_PATH}?md5={there}")), 403, "of another");
}

#[test]
fn limit_req_decides_first() {
    let nginx = site("limit_req zone=spaces;")
        .http("limit_req_zone $server_name zone=spaces:1m rate=1r/m;")
        .start();
    assert_recording(&nginx.get(PATH), "the first in a minute");
    let there = nginx.get(PATH);
    let missing = nginx.get(MISSING_PATH);
    assert_no_recording(&there, 503, "there");
    assert_eq!(missing.status, 503);
    assert_eq!(missing.lasting_headers(), there.lasting_headers());
    assert_eq!(missing.body, there.body);
    assert!(!nginx.error_log().contains("no file for space"), "{}", nginx.error_log());
}

#[test]
fn limit_req_may_count_by_space() {
    let nginx = site("limit_req zone=spaces;")
        .http("limit_req_zone $xspace_id zone=spaces:1m rate=1r/m; limit_req_status 429;")
        .file("downloads/Http1.m4a", "one")
        .file("downloads/Http2.m4a", "two")
        .file("downloads/Http3.m4a", "three")
        .start();
    assert_recording(&nginx.get(PATH), "another space");
    for protocol in nginx.protocols() {
        let what = format!("{protocol:?}");
        let get = |path: &str| nginx.send(protocol, &Request::get(path));
        let path = format!("/download/{protocol:?}");
        assert_eq!(get(&path).status, 200, "{what}, first");
        assert_no_recording(&get(&format!("{path}.m4a")), 429, &what);
        // Without an id there is no key and no limit.
        assert_no_recording(&get("/download/a.b.c"), 404, &what);
        assert_no_recording(&get("/download/a.b.c"), 404, &what);
    }
}

#[test]
fn limit_conn_counts_the_request_once() {
    let nginx = site("limit_conn one 1;").http("limit_conn_zone $server_name zone=one:1m;").start();
    for round in 0..3 {
        assert_recording(&nginx.get(PATH), &format!("round {round}"));
    }
}

#[test]
fn access_control_of_the_target_applies_too() {
    let nginx = Site::with_directives("", "deny all;").file(FILE, recording()).start();
    for protocol in nginx.protocols() {
        assert_no_recording(&nginx.send(protocol, &Request::get(PATH)), 403, "target");
    }
}

#[test]
fn refusal_keeps_the_connection() {
    let nginx = site("if ($arg_key != 1) { return 403; }").start();
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut connection = nginx.connect(protocol);
        for _ in 0..3 {
            assert_no_recording(&connection.send(&Request::get(PATH)), 403, "no key");
            let response = connection.send(&Request::get(&format!("{PATH}?key=1")));
            assert_recording(&response, "key");
        }
    }
}
