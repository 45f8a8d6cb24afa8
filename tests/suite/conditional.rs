//! If-None-Match, If-Modified-Since, If-Range, If-Match.

use xspace_tests::{Nginx, Protocol, Request, Response};

use crate::common::{PATH, SIZE, assert_no_recording, assert_recording, one_recording};

const OLD: &str = "Mon, 01 Jan 2001 00:00:00 GMT";
const FUTURE: &str = "Fri, 01 Jan 2100 00:00:00 GMT";

/// ETag and Last-Modified of the recording.
fn validators(nginx: &Nginx) -> (String, String) {
    let response = nginx.get(PATH);
    let value = |name| response.header(name).expect("a validator").to_owned();
    (value("etag"), value("last-modified"))
}

fn conditional(nginx: &Nginx, protocol: Protocol, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::get(PATH);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    nginx.send(protocol, &request)
}

#[test]
fn unchanged_recording_is_304_without_the_modules_headers() {
    let nginx = one_recording().start();
    let (etag, date) = validators(&nginx);
    for protocol in nginx.protocols() {
        for headers in [
            &[("If-None-Match", etag.as_str())][..],
            &[("If-None-Match", "*")],
            &[("If-None-Match", &format!("\"other\", W/{etag}"))],
            &[("If-Modified-Since", &date)],
            &[("If-None-Match", &etag), ("If-Modified-Since", &date)],
            &[("If-None-Match", &etag), ("Range", "bytes=0-1")],
        ] {
            let what = format!("{protocol:?}, {headers:?}");
            let response = conditional(&nginx, protocol, headers);
            assert_no_recording(&response, 304, &what);
            assert!(response.body.is_empty(), "{what}");
            assert_eq!(response.header("content-type"), None, "{what}");
            assert_eq!(response.header("etag"), Some(etag.as_str()), "{what}");
            assert_eq!(response.header("last-modified"), Some(date.as_str()), "{what}");
        }
    }
}

#[test]
fn changed_recording_is_sent_whole() {
    let nginx = one_recording().start();
    let (etag, date) = validators(&nginx);
    for protocol in nginx.protocols() {
        for headers in [
            &[("If-None-Match", "\"other\"")][..],
            &[("If-Modified-Since", OLD)],
            &[("If-Modified-Since", "yesterday")],
            &[("If-None-Match", "\"other\""), ("If-Modified-Since", &date)],
            &[("If-Match", &etag)],
            &[("If-Match", "*")],
            &[("If-Unmodified-Since", FUTURE)],
        ] {
            let response = conditional(&nginx, protocol, headers);
            assert_recording(&response, &format!("{protocol:?}, {headers:?}"));
        }
    }
}

#[test]
fn failed_precondition_is_412_without_the_modules_headers() {
    let nginx = one_recording().start();
    for protocol in nginx.protocols() {
        for header in [("If-Match", "\"other\""), ("If-Unmodified-Since", OLD)] {
            let response = conditional(&nginx, protocol, &[header]);
            assert_no_recording(&response, 412, &format!("{protocol:?}, {header:?}"));
        }
    }
}

#[test]
fn if_range_with_the_present_validator_gives_the_range() {
    let nginx = one_recording().start();
    let (etag, date) = validators(&nginx);
    for protocol in nginx.protocols() {
        for value in [&etag, &date] {
            let headers = [("If-Range", value.as_str()), ("Range", "bytes=100-199")];
            let response = conditional(&nginx, protocol, &headers);
            let what = format!("{protocol:?}, {value}");
            assert_eq!((response.status, response.body.len()), (206, 100), "{what}");
            assert_eq!(response.header("content-range"), Some("bytes 100-199/300007"), "{what}");
            assert!(response.header("content-disposition").is_some(), "{what}");
        }
    }
}

#[test]
fn if_range_with_another_validator_gives_the_whole_file() {
    let nginx = one_recording().start();
    let (etag, _) = validators(&nginx);
    let weak = format!("W/{etag}");
    for protocol in nginx.protocols() {
        for value in ["\"other\"", OLD, FUTURE, &weak, "nonsense"] {
            let headers = [("If-Range", value), ("Range", "bytes=100-199")];
            let response = conditional(&nginx, protocol, &headers);
            assert_recording(&response, &format!("{protocol:?}, {value}"));
        }
    }
}

#[test]
fn if_range_makes_an_unsatisfiable_range_harmless_only_when_stale() {
    let nginx = one_recording().start();
    let (etag, _) = validators(&nginx);
    let beyond = ("Range", "bytes=999999-");
    let response = conditional(&nginx, Protocol::Http1, &[("If-Range", &etag), beyond]);
    assert_no_recording(&response, 416, "present");
    let response = conditional(&nginx, Protocol::Http1, &[("If-Range", "\"old\""), beyond]);
    assert_eq!((response.status, response.body.len()), (200, SIZE), "stale");
}

#[test]
fn replaced_file_has_other_validators() {
    let nginx = one_recording().start();
    let (etag, _) = validators(&nginx);
    let new = nginx.site().write("downloads/new", "a new recording");
    std::fs::rename(new, nginx.dir().join(crate::common::FILE)).expect("rename");
    let response = nginx.get_with(PATH, "If-None-Match", &etag);
    assert_eq!((response.status, response.text()), (200, "a new recording".to_owned()));
    let headers = [("If-Range", etag.as_str()), ("Range", "bytes=0-1")];
    let response = conditional(&nginx, Protocol::Http1, &headers);
    assert_eq!((response.status, response.text()), (200, "a new recording".to_owned()));
}
