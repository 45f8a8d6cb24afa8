//! Byte ranges, against the file.

use xspace_tests::{Nginx, Protocol, Request, Response, Site, build, bytes, same_bytes};

use crate::common::{FILE, PATH, SIZE, assert_recording, one_recording, recording};

/// A part of the recording with its header.
fn assert_part(response: &Response, range: std::ops::Range<usize>, what: &str) {
    assert_eq!(response.status, 206, "{what}: {response:?}");
    let content_range = format!("bytes {}-{}/{SIZE}", range.start, range.end - 1);
    assert_eq!(response.header("content-range"), Some(content_range.as_str()), "{what}");
    assert_eq!(response.header("content-type"), Some("audio/mpeg"), "{what}");
    assert_eq!(
        response.header("content-disposition"),
        Some("inline; filename=\"1lDxLnrWjwkGm.mp3\""),
        "{what}"
    );
    same_bytes(&response.body, &recording()[range], what);
}

#[test]
fn one_range_over_every_protocol() {
    let nginx = one_recording().start();
    let rows = [
        ("bytes=0-1", 0..2),
        ("bytes=0-0", 0..1),
        ("bytes=0-", 0..SIZE),
        ("bytes=1-", 1..SIZE),
        ("bytes=100000-200000", 100_000..200_001),
        ("bytes=65535-65536", 65_535..65_537),
        ("bytes=300006-", SIZE - 1..SIZE),
        ("bytes=300006-300006", SIZE - 1..SIZE),
        ("bytes=299000-999999", 299_000..SIZE),
        ("bytes=-1", SIZE - 1..SIZE),
        ("bytes=-1000", SIZE - 1000..SIZE),
        ("bytes=-300007", 0..SIZE),
        ("bytes=-999999", 0..SIZE),
        ("bytes= 5 - 9 ", 5..10),
        ("BYTES=5-9", 5..10),
    ];
    for protocol in nginx.protocols() {
        let mut connection = nginx.connect(protocol);
        for (value, range) in rows.clone() {
            let response = connection.send(&Request::get(PATH).range(value));
            assert_part(&response, range, &format!("{protocol:?}, {value}"));
        }
    }
}

#[test]
fn head_with_a_range_has_the_headers_of_get() {
    let nginx = one_recording().start();
    for protocol in nginx.protocols() {
        let get = nginx.send(protocol, &Request::get(PATH).range("bytes=5-9"));
        let head = nginx.send(protocol, &Request::head(PATH).range("bytes=5-9"));
        assert_eq!(head.status, 206, "{protocol:?}");
        assert_eq!(head.lasting_headers(), get.lasting_headers(), "{protocol:?}");
        assert!(head.body.is_empty(), "{protocol:?}");
    }
}

#[test]
fn several_ranges_come_as_multipart() {
    let nginx = one_recording().start();
    let rows: [(&str, &[(usize, usize)]); 4] = [
        ("bytes=0-1,5-9", &[(0, 2), (5, 10)]),
        ("bytes=100-199, -7", &[(100, 200), (SIZE - 7, SIZE)]),
        ("bytes=5-9,0-1,100000-100999", &[(5, 10), (0, 2), (100_000, 101_000)]),
        ("bytes=0-9,5-14", &[(0, 10), (5, 15)]),
    ];
    for protocol in nginx.protocols() {
        for (value, parts) in rows {
            let what = format!("{protocol:?}, {value}");
            let response = nginx.send(protocol, &Request::get(PATH).range(value));
            assert_eq!(response.status, 206, "{what}");
            assert_eq!(response.header("content-range"), None, "{what}");
            assert_eq!(
                response.header("content-disposition"),
                Some("inline; filename=\"1lDxLnrWjwkGm.mp3\""),
                "{what}"
            );
            let media_type = response.header("content-type").expect("Content-Type");
            let boundary = media_type
                .strip_prefix("multipart/byteranges; boundary=")
                .unwrap_or_else(|| panic!("{what}: {media_type}"));

            let mut expected = Vec::new();
            for &(start, end) in parts {
                let head = format!(
                    "\r\n--{boundary}\r\nContent-Type: audio/mpeg\r\n\
                     Content-Range: bytes {start}-{}/{SIZE}\r\n\r\n",
                    end - 1
                );
                expected.extend_from_slice(head.as_bytes());
                expected.extend_from_slice(&recording()[start..end]);
            }
            expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
            same_bytes(&response.body, &expected, &what);
        }
    }
}

#[test]
fn ranges_longer_than_the_file_together_give_the_whole_file() {
    let nginx = one_recording().start();
    let response = nginx.get_with(PATH, "Range", "bytes=0-200000,100000-300006");
    assert_recording(&response, "overlapping");
}

#[test]
fn unsatisfiable_ranges_are_416() {
    let nginx = one_recording().start();
    for protocol in nginx.protocols() {
        for value in ["bytes=300007-", "bytes=999999-", "bytes=300007-300008", "bytes=9-5"] {
            let what = format!("{protocol:?}, {value}");
            let response = nginx.send(protocol, &Request::get(PATH).range(value));
            assert_eq!(response.status, 416, "{what}");
            assert_eq!(response.header("content-range"), Some("bytes */300007"), "{what}");
            assert_eq!(response.header("content-disposition"), None, "{what}");
            assert_eq!(response.header("content-type"), Some("text/html"), "{what}");
            assert!(response.body.len() < 2000, "{what}");
        }
    }
}

#[test]
fn odd_ranges_get_what_a_static_file_gets() {
    let site =
        one_recording().file("downloads/empty.mp3", "").file("downloads/tiny.mp3", "xy").server(
            "location /static/ {
                 alias {dir}/downloads/; types { audio/mpeg mp3; }
             }",
        );
    let nginx = site.start();
    let values = [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=-0",
        "bytes=a-b",
        "bytes=1",
        "bytes=1-2-3",
        "bytes=--1",
        "bytes=0-1,",
        "bytes=,0-1",
        "bytes=0-1,999999-",
        "bytes=999999-,0-1",
        "bytes=0-1;2-3",
        "bytes=0x1-0x2",
        "bytes=1.5-2",
        "bytes=18446744073709551615-",
        "bytes=0-18446744073709551616",
        "bytes=99999999999999999999999-",
        "bytes=-99999999999999999999999",
        "items=0-1",
        "bytes 0-1",
        "bytes=0-0,1-1,2-2,3-3",
        "bytes=0-1,0-1,0-1",
    ];
    for (id, file) in [("1lDxLnrWjwkGm", FILE), ("empty", ""), ("tiny", "")] {
        for value in values {
            let what = format!("{id}, {value:?}, {file}");
            let ours = nginx.get_with(&format!("/download/{id}"), "Range", value);
            let plain = nginx.get_with(&format!("/static/{id}.mp3"), "Range", value);
            assert_same_answer(&ours, &plain, &what);
        }
    }
}

/// The same but for the module's header and the boundary between parts.
fn assert_same_answer(ours: &Response, plain: &Response, what: &str) {
    assert_eq!(ours.status, plain.status, "{what}");
    for name in ["content-range", "content-length", "accept-ranges", "etag"] {
        assert_eq!(ours.header(name), plain.header(name), "{what}: {name}");
    }
    let found = ours.status == 200 || ours.status == 206;
    assert_eq!(ours.header("content-disposition").is_some(), found, "{what}: {ours:?}");
    let boundary = |response: &Response| {
        let value = response.header("content-type").unwrap_or_default().to_owned();
        value.split_once("boundary=").map(|(_, boundary)| boundary.to_owned())
    };
    match (boundary(ours), boundary(plain)) {
        (Some(a), Some(b)) => {
            let text = ours.text().replace(&a, &b);
            assert_eq!(text, plain.text(), "{what}");
        }
        (a, b) => {
            assert_eq!(a, b, "{what}");
            same_bytes(&ours.body, &plain.body, what);
        }
    }
}

#[test]
fn max_ranges_of_the_target_counts() {
    let nginx = Site::with_directives("", "max_ranges 0;").file(FILE, recording()).start();
    let response = nginx.get_with(PATH, "Range", "bytes=0-1");
    assert_eq!((response.status, response.body.len()), (200, SIZE));
}

#[test]
fn seeks_through_a_file_add_up_to_it() {
    let nginx = one_recording().start();
    for protocol in nginx.protocols() {
        let mut connection = nginx.connect(protocol);
        let mut whole = Vec::new();
        while whole.len() < SIZE {
            let range = format!("bytes={}-{}", whole.len(), whole.len() + 44_443);
            let response = connection.send(&Request::get(PATH).range(&range));
            assert_eq!(response.status, 206, "{protocol:?}, {range}");
            whole.extend(response.body);
        }
        same_bytes(&whole, &recording(), &format!("{protocol:?}"));
    }
}

#[test]
fn range_beyond_two_gigabytes() {
    if !build().require("http_v2") {
        return;
    }
    let site = Site::simple();
    let path = site.write("downloads/long.wav", "");
    let end = bytes(9, 1000);
    write_at(&path, 5_000_000_000, &end);
    let nginx = site.start();
    big_range(&nginx, Protocol::Http1, &end);
    big_range(&nginx, Protocol::Http2, &end);
}

fn big_range(nginx: &Nginx, protocol: Protocol, end: &[u8]) {
    let response =
        nginx.send(protocol, &Request::get("/download/long").range("bytes=5000000000-5000000999"));
    assert_eq!(response.status, 206, "{protocol:?}");
    assert_eq!(
        response.header("content-range"),
        Some("bytes 5000000000-5000000999/5000001000"),
        "{protocol:?}"
    );
    same_bytes(&response.body, end, "beyond 2 GiB");
    let response = nginx.send(protocol, &Request::get("/download/long").range("bytes=-1000"));
    same_bytes(&response.body, end, "suffix");
}

/// Leaves a hole before it.
fn write_at(path: &std::path::Path, offset: u64, content: &[u8]) {
    use std::os::unix::fs::FileExt;

    let file = std::fs::OpenOptions::new().write(true).open(path).expect("the file");
    file.write_all_at(content, offset).expect("a sparse file");
}
