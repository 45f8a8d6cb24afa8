//! OPTIONS, HEAD, POST and the rest.

use xspace_tests::{Request, Site, build};

use crate::common::{
    FILE, MISSING_PATH, PATH, assert_no_recording, assert_recording, one_recording, recording,
};

const ALLOW: Option<&str> = Some("GET, HEAD, OPTIONS");

#[test]
fn options_is_204_with_allow() {
    let nginx = one_recording().start();
    for protocol in nginx.protocols() {
        for path in [PATH, MISSING_PATH, "/download/a.b.c", "/download/"] {
            let what = format!("{protocol:?} {path}");
            let response = nginx.send(protocol, &Request::new("OPTIONS", path));
            assert_no_recording(&response, 204, &what);
            assert_eq!(response.header("allow"), ALLOW, "{what}");
            assert!(response.body.is_empty(), "{what}");
        }
    }
}

#[test]
fn other_methods_are_405_with_allow() {
    let nginx = one_recording().start();
    for protocol in nginx.protocols() {
        for method in ["POST", "PUT", "DELETE", "PATCH", "PROPFIND", "MKCOL", "FOO"] {
            for path in [PATH, MISSING_PATH, "/download/a.b.c"] {
                let what = format!("{protocol:?} {method} {path}");
                let response = nginx.send(protocol, &Request::new(method, path));
                assert_no_recording(&response, 405, &what);
                assert_eq!(response.header("allow"), ALLOW, "{what}");
            }
        }
    }
}

#[test]
fn body_of_a_refused_post_leaves_the_connection_usable() {
    let nginx = one_recording().start();
    for protocol in nginx.protocols() {
        let mut connection = nginx.connect(protocol);
        for round in 0..3 {
            let what = format!("{protocol:?}, round {round}");
            let request = Request::new("POST", PATH).body(&[b'x'; 5000]);
            assert_no_recording(&connection.send(&request), 405, &what);
            assert_recording(&connection.send(&Request::get(PATH)), &what);
        }
    }
}

#[test]
fn head_of_a_missing_space_is_404_without_a_body() {
    let nginx = one_recording().start();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::head(MISSING_PATH));
        assert_no_recording(&response, 404, &format!("{protocol:?}"));
        assert!(response.body.is_empty(), "{protocol:?}");
    }
}

#[test]
fn preflight_gets_the_locations_headers() {
    let nginx = Site::with_directives("add_header Access-Control-Allow-Origin *;", "")
        .file(FILE, recording())
        .start();
    for protocol in nginx.protocols() {
        let request = Request::new("OPTIONS", PATH)
            .header("Origin", "https://a.example")
            .header("Access-Control-Request-Method", "GET")
            .header("Access-Control-Request-Headers", "range");
        let response = nginx.send(protocol, &request);
        assert_eq!(response.status, 204, "{protocol:?}");
        assert_eq!(response.header("access-control-allow-origin"), Some("*"), "{protocol:?}");
        assert_eq!(response.header("allow"), ALLOW, "{protocol:?}");
    }
}

#[test]
fn refused_method_may_be_handed_to_an_application() {
    if !build().require("http_rewrite") {
        return;
    }
    let nginx = Site::with_directives("error_page 405 = @app;", "")
        .server("location @app { return 200 \"app: $request_method\"; }")
        .file(FILE, recording())
        .start();
    let response = nginx.send(xspace_tests::Protocol::Http1, &Request::new("DELETE", PATH));
    assert_eq!(response.status, 200, "{response:?}");
    assert!(response.text().starts_with("app: "), "{response:?}");
    assert_eq!(response.header("content-disposition"), None);
}

#[test]
fn allow_is_that_of_who_answers() {
    if !build().require("http_rewrite") {
        return;
    }
    let nginx = Site::with_directives("error_page 405 = @app;", "")
        .server("location @app { add_header Allow \"GET, POST\"; return 200 posted; }")
        .start();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::new("POST", PATH));
        assert_eq!(response.text(), "posted", "{protocol:?}");
        assert_eq!(response.header("allow"), Some("GET, POST"), "{protocol:?}");
    }
}
