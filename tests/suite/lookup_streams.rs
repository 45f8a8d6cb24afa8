//! Many lookups at once, on one connection.

use std::thread;
use std::time::Duration;

use xspace_tests::{
    Application, Gate, Nginx, Protocol, Reply, Request, Response, bytes, same_bytes,
};

use crate::asking::asking;
use crate::common::{assert_no_recording, recording};

const STREAMS: usize = 100;

/// The protocols that have streams.
fn multiplexed(nginx: &Nginx) -> Vec<Protocol> {
    nginx.protocols().into_iter().filter(|&protocol| protocol != Protocol::Http1).collect()
}

/// A file of its own for each stream.
fn content(stream: usize) -> Vec<u8> {
    bytes(stream as u64, 5_000 + stream * 37)
}

/// An application that knows `s0`, `s1`, … and gives every seventh another answer.
fn application(slow: Gate) -> Application {
    Application::start(move |asked| {
        let id = asked.argument("id").unwrap_or_default();
        let stream: usize = id.trim_start_matches('s').parse().unwrap_or(0);
        let entry = format!(r#"{{"title": "Stream {stream}", "files": ["files/{stream}.mp3"]}}"#);
        match (id, stream % 7) {
            ("slow", _) => Reply::json(r#"{"files": ["files/0.mp3"]}"#).behind(&slow),
            (_, 3) => Reply::status(403),
            (_, 4) => Reply::json("{"),
            (_, 5) => Reply::raw("").reset(),
            (_, 6) => Reply::json(&entry).chunked(5),
            _ => Reply::json(&entry),
        }
    })
}

fn start(application: &Application) -> Nginx {
    let mut site = asking(application, "", "proxy_next_upstream off;");
    for stream in 0..STREAMS {
        site = site.file(&format!("downloads/files/{stream}.mp3"), content(stream));
    }
    site.start()
}

#[track_caller]
fn assert_stream(stream: usize, response: &Response, what: &str) {
    let what = format!("{what}, stream {stream}");
    match stream % 7 {
        3 => assert_no_recording(response, 403, &what),
        4 | 5 => assert_no_recording(response, 502, &what),
        _ => {
            assert_eq!(response.status, 200, "{what}: {response:?}");
            same_bytes(&response.body, &content(stream), &what);
            let name = format!("inline; filename=\"Stream-{stream}_s{stream}.mp3\"");
            assert_eq!(response.header("content-disposition"), Some(name.as_str()), "{what}");
        }
    }
}

fn requests() -> Vec<Request> {
    (0..STREAMS).map(|stream| Request::get(&format!("/download/s{stream}"))).collect()
}

#[test]
fn a_hundred_streams_get_each_its_own_answer() {
    let application = application(Gate::default());
    let nginx = start(&application);
    for protocol in multiplexed(&nginx) {
        let mut connection = nginx.connect(protocol);
        for round in 0..3 {
            for (stream, response) in connection.send_all(&requests()).iter().enumerate() {
                assert_stream(stream, response, &format!("{protocol:?}, round {round}"));
            }
        }
        assert_eq!(application.take_asked().len(), 3 * STREAMS);
    }
}

#[test]
fn a_slow_lookup_holds_up_no_other_stream() {
    for protocol in multiplexed(&start(&application(Gate::default()))) {
        let slow = Gate::default();
        let application = application(slow.clone());
        let nginx = start(&application);
        let mut connection = nginx.connect(protocol);
        let mut shared = connection.share();
        let held = thread::spawn(move || shared.send(&Request::get("/download/slow")));
        application.wait_asked(1);
        // 99, so that there are a hundred with the slow one: more NGINX would not take at once.
        let others: Vec<Request> = requests().into_iter().skip(1).collect();
        for round in 0..2 {
            for (index, response) in connection.send_all(&others).iter().enumerate() {
                assert_stream(index + 1, response, &format!("{protocol:?}, round {round}"));
            }
        }
        assert!(!held.is_finished(), "{protocol:?}: the slow one is not answered yet");
        slow.open();
        let response = held.join().expect("an answer");
        assert_eq!(response.status, 200, "{protocol:?}");
        same_bytes(&response.body, &content(0), "slow");
    }
}

#[test]
fn a_hundred_slow_lookups_wait_together() {
    let application = Application::always(
        Reply::json(r#"{"files": ["1lDxLnrWjwkGm.mp3"]}"#).delay(Duration::from_secs(1)),
    );
    let nginx = asking(&application, "", "").start();
    for protocol in multiplexed(&nginx) {
        let requests: Vec<Request> = (0..STREAMS)
            .map(|stream| {
                Request::get(&format!("/download/s{stream}")).range(&format!(
                    "bytes={}-{}",
                    stream * 10,
                    stream * 10 + 9
                ))
            })
            .collect();
        let responses = nginx.connect(protocol).send_all(&requests);
        for (stream, response) in responses.iter().enumerate() {
            assert_eq!(response.status, 206, "{protocol:?} {stream}: {response:?}");
            assert_eq!(response.body, &recording()[stream * 10..stream * 10 + 10]);
        }
        assert_eq!(application.take_asked().len(), STREAMS, "{protocol:?}");
    }
}

#[test]
fn many_connections_ask_at_once() {
    let gate = Gate::default();
    let held = gate.clone();
    let application = Application::start(move |_| {
        Reply::json(r#"{"files": ["1lDxLnrWjwkGm.mp3"]}"#).behind(&held)
    });
    let nginx = asking(&application, "", "").start();
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let mut connection = nginx.connect(Protocol::Http1);
            thread::spawn(move || connection.send(&Request::get("/download/x").range("bytes=7-9")))
        })
        .collect();
    application.wait_asked(50);
    gate.open();
    for client in clients {
        let response = client.join().expect("an answer");
        assert_eq!((response.status, &response.body[..]), (206, &recording()[7..10]));
    }
}
