//! Keepalive, pipelining, many streams, malformed requests.

use xspace_tests::{Protocol, Request, Site, bytes, read_responses, same_bytes};

use crate::common::{
    FILE, MISSING_PATH, PATH, SIZE, assert_no_recording, assert_recording, get_http2,
    one_recording, recording,
};

#[test]
fn one_connection_carries_many_requests() {
    let nginx = one_recording().start();
    for protocol in nginx.protocols() {
        let mut connection = nginx.connect(protocol);
        for round in 0..20 {
            let what = format!("{protocol:?}, round {round}");
            assert_recording(&connection.send(&Request::get(PATH)), &what);
            let part = connection.send(&Request::get(PATH).range("bytes=7-1000"));
            same_bytes(&part.body, &recording()[7..1001], &what);
            assert_no_recording(&connection.send(&Request::get(MISSING_PATH)), 404, &what);
            assert_no_recording(&connection.send(&Request::get("/download/.")), 404, &what);
            let head = connection.send(&Request::head(PATH));
            assert_eq!((head.status, head.body.len()), (200, 0), "{what}");
            let options = connection.send(&Request::new("OPTIONS", PATH));
            assert_eq!(options.status, 204, "{what}");
        }
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let nginx = one_recording().start();
    let rows = [
        ("GET", PATH, "Range: bytes=0-9\r\n", 206),
        ("GET", MISSING_PATH, "", 404),
        ("HEAD", PATH, "", 200),
        ("GET", PATH, "", 200),
        ("OPTIONS", PATH, "", 204),
        ("GET", "/download/a.b.c", "", 404),
        ("GET", PATH, "Range: bytes=999999-\r\n", 416),
        ("GET", PATH, "If-None-Match: *\r\n", 304),
        ("GET", PATH, "Range: bytes=-10\r\n", 206),
    ];
    let mut connection = nginx.raw();
    let mut text = String::new();
    for (method, path, headers, _) in rows {
        text.push_str(&format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"));
    }
    text.push_str("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    connection.write(text);
    let mut bodies = rows.map(|(method, _, _, status)| method != "HEAD" && status != 304).to_vec();
    bodies.push(true);
    let responses = read_responses(&connection.read_to_end(), &bodies);
    for ((method, path, headers, status), response) in rows.iter().zip(&responses) {
        assert_eq!(response.status, *status, "{method} {path} {headers}");
    }
    same_bytes(&responses[0].body, &recording()[..10], "first");
    assert_recording(&responses[3], "fourth");
    same_bytes(&responses[8].body, &recording()[SIZE - 10..], "last");
}

#[test]
fn many_streams_at_once() {
    let site = Site::simple();
    let files: Vec<Vec<u8>> = (0..60_usize).map(|i| bytes(i as u64, 1000 + i * 4321)).collect();
    for (i, content) in files.iter().enumerate() {
        site.write(&format!("downloads/space-{i}.mp3"), content);
    }
    let nginx = site.start();
    for protocol in nginx.protocols() {
        if protocol == Protocol::Http1 {
            continue;
        }
        let mut requests = Vec::new();
        for i in 0..files.len() {
            let path = format!("/download/space-{i}");
            requests.push(Request::get(&path));
            requests.push(Request::get(&path).range("bytes=500-"));
            requests.push(Request::get(&format!("/download/none-{i}")));
        }
        let responses = nginx.connect(protocol).send_all(&requests);
        for (i, content) in files.iter().enumerate() {
            let what = format!("{protocol:?}, file {i}");
            same_bytes(&responses[3 * i].body, content, &what);
            same_bytes(&responses[3 * i + 1].body, &content[500..], &what);
            assert_eq!(responses[3 * i + 2].status, 404, "{what}");
            assert_eq!(
                responses[3 * i].header("content-disposition"),
                Some(format!("inline; filename=\"space-{i}.mp3\"").as_str()),
                "{what}"
            );
        }
    }
}

#[test]
fn http_1_0_gets_the_whole_file() {
    let nginx = one_recording().start();
    let mut connection = nginx.raw();
    connection.write(format!("GET {PATH} HTTP/1.0\r\n\r\n"));
    let responses = read_responses(&connection.read_to_end(), &[true]);
    assert_recording(&responses[0], "HTTP/1.0");
}

#[test]
fn malformed_requests_get_nothing_of_a_recording() {
    let nginx = one_recording().start();
    for (request, status) in [
        (format!("GET {PATH} HTTP/1.1\r\n\r\n"), "400"),
        (format!("GET {PATH} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), "400"),
        (format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\nRange\r\n\r\n"), ""),
        (format!("GET {PATH} HTTP/9.1\r\nHost: localhost\r\n\r\n"), "505"),
        ("GET /download/%zz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "400"),
        ("GET /download/../../x HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "400"),
        (format!("get {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n"), "400"),
        (format!("TRACE {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n"), "405"),
        (format!("GET {}{} HTTP/1.1\r\nHost: x\r\n\r\n", PATH, "x".repeat(40_000)), "414"),
    ] {
        let mut connection = nginx.raw();
        connection.write(&request);
        connection.end_writing();
        let answer = String::from_utf8_lossy(&connection.read_to_end()).into_owned();
        let start: String = request.chars().take(80).collect();
        if status.is_empty() {
            // nginx ignores such a header line: only the connection has to be sound.
            assert!(answer.starts_with("HTTP/1.1 200"), "{start:?}: {answer:.200}");
        } else {
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{start:?}: {answer:.200}");
            assert!(!answer.contains("Content-Disposition"), "{start:?}: {answer:.200}");
        }
    }
    assert_recording(&nginx.get(PATH), "the next request");
}

#[test]
fn get_with_a_body_leaves_the_connection_usable() {
    let nginx = one_recording().start();
    for protocol in nginx.protocols() {
        let mut connection = nginx.connect(protocol);
        let request = Request::get(PATH).header("Content-Length", "5").body(b"hello");
        assert_recording(&connection.send(&request), &format!("{protocol:?}, with a body"));
        assert_recording(&connection.send(&Request::get(PATH)), &format!("{protocol:?}, next"));
    }
}

#[test]
fn client_that_goes_away_harms_nobody() {
    let big = bytes(4, 20_000_000);
    let nginx = one_recording().file("downloads/big.wav", &big).start();
    for _ in 0..10 {
        let mut connection = nginx.raw();
        connection.write("GET /download/big HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let start = connection.read_exactly(1000);
        assert!(start.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
    let workers = nginx.workers();
    assert_recording(&nginx.get(PATH), "HTTP/1.1");
    assert_recording(&get_http2(&nginx, PATH), "HTTP/2");
    assert!(nginx.has_still(&workers), "the same worker");
}

#[test]
fn small_buffers_change_nothing() {
    let nginx = Site::with_directives("", "output_buffers 1 4k; sendfile off;")
        .http("http2_chunk_size 1k; postpone_output 1;")
        .file(FILE, recording())
        .start();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get(PATH));
        assert_recording(&response, &format!("{protocol:?}"));
        let part = nginx.send(protocol, &Request::get(PATH).range("bytes=4095-70000"));
        same_bytes(&part.body, &recording()[4095..70_001], &format!("{protocol:?}"));
    }
}

#[test]
fn sendfile_changes_nothing() {
    let nginx =
        Site::with_directives("", "sendfile on; tcp_nopush on;").file(FILE, recording()).start();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get(PATH));
        assert_recording(&response, &format!("{protocol:?}"));
        let part = nginx.send(protocol, &Request::get(PATH).range("bytes=4095-70000"));
        same_bytes(&part.body, &recording()[4095..70_001], &format!("{protocol:?}"));
    }
}
