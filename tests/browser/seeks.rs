//! Playing and seeking.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use serde_json::{Value, json};
use xspace_tests::{Nginx, Protocol};

use crate::site::{
    MODULE, MP3, MP4, Recording, SLOW, WAV, alone, array, can_run, check_log, median_and_worst,
    name, number, places, scenario, site, text, times, try_scenario,
};

/// What the issue of all this was: so many seeks, and none may fail.
const SEEKS: usize = 50;

/// The recording as `seeks.mjs` wants it: from the module, and from other paths.
fn played(recording: &Recording, seeks: usize, others: &[(&str, &str)]) -> Value {
    let mut sources = vec![json!({ "name": "module", "path": recording.path() })];
    for (name, path) in others {
        sources.push(json!({ "name": name, "path": path }));
    }
    json!({
        "id": recording.id,
        "code": recording.code(),
        "places": places(seeks),
        "sources": sources,
    })
}

#[test]
fn seeks_all_over_an_hour_over_every_protocol() {
    if !can_run() {
        return;
    }
    let _alone = alone();
    let nginx = site(&[&MP3, &MP4, &WAV], &format!("{SLOW} {MODULE}")).start();
    let mut table = String::from(
        "| protocol | recording | from | seeks | median | worst |\n|---|---|---|---|---|---|\n",
    );
    for protocol in nginx.protocols() {
        let plain = format!("/static/{}", MP3.file());
        let recordings = [
            played(&MP3, SEEKS, &[("static location", &plain)]),
            played(&MP4, SEEKS, &[]),
            played(&WAV, SEEKS, &[]),
        ];
        let results = scenario(&nginx, protocol, "seeks", json!({ "recordings": recordings }));
        for (recording, result) in [MP3, MP4, WAV].iter().zip(array(&results)) {
            for source in array(&result["results"]) {
                check_seeks(protocol, recording, source);
                let (median, worst) = median_and_worst(&times(source));
                table.push_str(&format!(
                    "| {} | {} | {} | {SEEKS} | {median:.0} ms | {worst:.0} ms |\n",
                    name(protocol),
                    recording.format,
                    text(source, "name"),
                ));
            }
            // Some places are still in the browser's memory or its cache; most are not.
            let asked = check_log(&nginx, protocol, &recording.path(), recording.size());
            assert!(asked >= SEEKS / 2, "{} over {protocol:?}: {asked} requests", recording.format);
        }
        check_log(&nginx, protocol, &plain, MP3.size());
    }
    println!("\n{table}");
}

/// The scenario looks at each seek itself; here that it left out none.
#[track_caller]
fn check_seeks(protocol: Protocol, recording: &Recording, source: &Value) {
    let what = format!("{} over {protocol:?}: {source}", recording.format);
    let seeks = array(&source["seeks"]);
    assert_eq!(seeks.len(), SEEKS, "{what}");
    for (seek, place) in seeks.iter().zip(places(SEEKS)) {
        assert_eq!(number(seek, "place"), place, "{what}");
        let late = number(seek, "landed") - place;
        let took = number(seek, "milliseconds") / 1000.0;
        assert!(late >= -0.1 && late <= took + 0.1, "{what}");
        assert!((number(seek, "decoded") - number(seek, "current")).abs() <= 0.5, "{what}");
    }
    assert_eq!(number(source, "failed"), 0.0, "{what}");
}

/// What is said of a recording that is not as it has to be.
#[track_caller]
fn complaint(nginx: &Nginx, protocol: Protocol, recording: Value) -> String {
    match try_scenario(nginx, protocol, "seeks", json!({ "recordings": [recording] })) {
        Ok(result) => panic!("nothing was noticed: {result}"),
        Err(message) => message,
    }
}

#[test]
fn a_server_without_ranges_is_noticed() {
    if !can_run() {
        return;
    }
    let _alone = alone();
    let nginx = site(&[&MP3], &MODULE.replace("internal;", "internal; max_ranges 0;")).start();
    let message = complaint(&nginx, Protocol::Http2, played(&MP3, 3, &[]));
    assert!(message.contains("status 200 for a range"), "{message}");
}

#[test]
fn a_wrong_place_is_noticed() {
    if !can_run() {
        return;
    }
    let _alone = alone();
    let nginx = site(&[&MP3], MODULE).start();
    let mut recording = played(&MP3, 1, &[]);
    // Three seconds off. It will not get better, so there is no need to wait for that.
    recording["code"]["patience"] = json!(5000);
    recording["code"]["base"] = json!(xspace_tests::TONE_BASE + 3.0 * xspace_tests::TONE_SLOPE);
    let message = complaint(&nginx, Protocol::Http2, recording);
    assert!(message.contains("what is decoded is what was asked for"), "{message}");
}

#[test]
fn an_answer_that_ends_too_early_is_noticed() {
    if !can_run() {
        return;
    }
    let _alone = alone();
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let size = MP3.size();
    let content = std::fs::read(xspace_tests::hour("hour.mp3")).expect("the recording");
    // Each answer has the right headers, and ends after 60000 bytes, before a player has enough and cancels it.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut head = [0; 8192];
            let length = stream.read(&mut head).unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..length]).to_ascii_lowercase();
            let first = head
                .split_once("range: bytes=")
                .and_then(|(_, rest)| rest.split_once('-'))
                .map_or(0, |(first, _)| first.parse().expect("a number"));
            let end = content.len().min(first + 60_000);
            let answer = format!(
                "HTTP/1.1 206 Partial Content\r\n\
                 Content-Type: audio/mpeg\r\nAccept-Ranges: bytes\r\n\
                 Content-Length: {}\r\nContent-Range: bytes {first}-{}/{size}\r\n\
                 Connection: close\r\n\r\n",
                size - first as u64,
                size - 1,
            );
            // The client may have had enough.
            let _ = stream.write_all(answer.as_bytes());
            let _ = stream.write_all(&content[first..end]);
        }
    });
    let path = format!("/broken/{}", MP3.id);
    let proxy = format!("location ^~ /broken/ {{ proxy_pass http://127.0.0.1:{port}; }}");
    let nginx = site(&[&MP3], &format!("{MODULE} {proxy}")).start();
    let message = complaint(&nginx, Protocol::Http2, played(&MP3, 3, &[("broken", &path)]));
    assert!(message.contains(&format!("{path} bytes=")), "{message}");
    assert!(message.contains("net::ERR_HTTP2_PROTOCOL_ERROR"), "{message}");
}
