//! Malformed and hostile requests, thrown at a running nginx: bytes of HTTP/1.1 and frames of
//! HTTP/2, made up from a seed.
//!
//! A short run here; `make fuzz-server REQUESTS=1000000` for a long one. XSPACE_TEST_FUZZ_SEED names
//! another seed than the usual one.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use xspace_tests::{Nginx, Protocol, Random, Site, build, bytes, deadline, setting};

use crate::common::{ID, OTHER};

/// How many requests a short run has.
const REQUESTS: usize = 6000;

/// How many clients there are at once.
const CLIENTS: usize = 4;

const LOCATIONS: &str = "
    location ^~ /download/ { xspace_download /downloads/; xspace_catalog {dir}/catalog.json; }
    location = /by-argument {
        xspace_download /downloads/;
        xspace_id $arg_id;
        xspace_format $http_x_format;
    }
    location ~ ^/spaces/(?<sid>.+)/download$ { xspace_download /downloads/; xspace_id $sid; }
    location ^~ /lookup/ { xspace_download /downloads/; xspace_lookup /_space; }
    location = /_space { internal; alias {dir}/answers/$answer; }
    location ^~ /downloads/ { internal; alias {dir}/downloads/; }
    location ^~ /handed-on/ { xspace_download /downloads/; error_page 404 405 = @other; }
    location @other { return 200 \"$xspace_id $xspace_format $xspace_outcome\\n\"; }
    add_header X-Id $xspace_id;
    add_header X-Title $xspace_title;
    log_not_found off;
    lingering_close off;
";

fn site() -> Site {
    // HTTP/2 without TLS, where frames can be made by hand.
    let (listen, on) = match build().has("http2_directive") {
        true => ("", "http2 on;"),
        false => ("http2", ""),
    };
    let plain = LOCATIONS;
    Site::new()
        .http(&format!(
            "error_log {{dir}}/error.log error;
             map $arg_format $answer {{
                 default mp4; mp3 mp3; wav wav; audio audio; video video;
             }}
             log_format fuzz '$status|$xspace_id|$xspace_format|$xspace_source|$xspace_outcome|end';
             access_log {{dir}}/access.log fuzz;
             server {{ listen 127.0.0.1:{{other}} {listen}; {on} root {{dir}}/html; {LOCATIONS} }}"
        ))
        .server(plain)
        .workers(2)
        .file(&format!("downloads/{ID}.mp3"), bytes(1, 5000))
        .file(&format!("downloads/{ID}.mp4"), bytes(2, 7000))
        .file("downloads/named.wav", bytes(3, 100))
        .file(
            "catalog.json",
            format!("{{\"{OTHER}\": \"named.wav\", \"gone\": {{\"status\": 410}}}}"),
        )
        .file("answers/mp3", "{\"title\": \"A talk\", \"files\": [\"named.wav\", \"x.mp3\"]}")
        .file("answers/mp4", "")
        .file("answers/audio", "{\"title\": \"Nothing but a title\"}")
        .file("answers/video", "{\"status\": 451}")
        .file("answers/wav", "{\"files\": [\"named.wav\"]}")
}

#[test]
fn no_request_hurts_the_server() {
    let wanted: usize = setting("XSPACE_TEST_FUZZ_REQUESTS", REQUESTS);
    let seed: u64 = setting("XSPACE_TEST_FUZZ_SEED", 1);
    let nginx = site().start();
    let workers = nginx.workers();
    let http1 = nginx.address(Protocol::Http1);
    let http2 = nginx.other_address();
    let made = AtomicUsize::new(0);
    let log = File::open(nginx.dir().join("access.log")).expect("an access log");
    let lines = Mutex::new(Lines { log, count: 0 });

    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (made, lines) = (&made, &lines);
            scope.spawn(move || {
                let mut random = Random::new(seed.wrapping_mul(1000) + client as u64);
                let mut connections = 0;
                // A request that nginx has not taken for one is no line in the log.
                while connections % 64 != 0 || lines.lock().expect("no panic").count() < wanted {
                    connections += 1;
                    made.fetch_add(one_connection(&mut random, http1, http2), Ordering::Relaxed);
                }
            });
        }
    });
    let made = made.into_inner();

    assert!(nginx.has_still(&workers), "a worker has ended: {}", nginx.error_log());
    let answered = check_log(&nginx);
    println!("{made} requests made from seed {seed}, {answered} answered");
    assert!(answered >= wanted);
    assert_eq!(nginx.get(&format!("/download/{ID}")).body.len(), 5000, "it still serves");
}

/// The lines of a log that grows.
struct Lines {
    log: File,
    count: usize,
}

impl Lines {
    /// How many there are by now.
    fn count(&mut self) -> usize {
        let mut text = Vec::new();
        self.log.read_to_end(&mut text).expect("the log can be read");
        self.count += text.iter().filter(|&&b| b == b'\n').count();
        self.count
    }
}

/// Looks at what nginx says of each request; gives how many there were.
fn check_log(nginx: &Nginx) -> usize {
    let text = fs::read_to_string(nginx.dir().join("access.log")).expect("text");
    let mut count = 0;
    for line in text.lines() {
        let words: Vec<&str> = line.split('|').collect();
        let [status, id, format, source, outcome, "end"] = words[..] else { panic!("{line:?}") };
        let status: u16 = status.parse().unwrap_or_else(|_| panic!("{line:?}"));
        // The client did not wait, or broke the protocol before there was an answer.
        let is_unanswered = [0, 499].contains(&status);
        // nginx itself: a transfer coding and a version that it does not know.
        let is_answer = (200..500).contains(&status) || [501, 505].contains(&status);
        assert!(is_unanswered || is_answer, "{line:?}");
        let is_id = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        assert!(id.len() <= 128 && id.bytes().all(is_id), "{line:?}");
        assert!(["-", "mp3", "m4a", "wav", "mp4", "audio", "video"].contains(&format), "{line:?}");
        assert!(["-", "directory", "catalog", "lookup"].contains(&source), "{line:?}");
        let fits: &[u16] = match outcome {
            "found" => &[200, 206, 304, 400, 412, 416],
            // 200, 304 and 412: the page that the request was handed on to.
            "not_found" | "bad_id" => &[200, 304, 400, 404, 412],
            "bad_method" => &[200, 304, 400, 405, 412],
            "status" => &[400, 410, 451],
            "denied" => &[400, 403, 404],
            // 405 and the like, 501, 505: before the module is asked, or elsewhere.
            "-" => {
                &[200, 204, 301, 304, 400, 403, 404, 405, 408, 411, 412, 413, 414, 417, 501, 505]
            }
            _ => panic!("{line:?}"),
        };
        assert!(fits.contains(&status) || is_unanswered, "{line:?}");
        count += 1;
    }
    count
}

/// Opens a connection, sends what comes to mind and reads what there is to read; gives how many
/// requests that were.
fn one_connection(random: &mut Random, http1: SocketAddr, http2: SocketAddr) -> usize {
    let mut sent = Vec::new();
    let count = 1 + random.below(24);
    let address = if random.one_in(3) {
        frames(random, count, &mut sent);
        http2
    } else {
        for _ in 0..count {
            request(random, &mut sent);
        }
        http1
    };
    let mut stream = TcpStream::connect(address).expect("nginx listens");
    stream.set_read_timeout(Some(deadline(30))).expect("a timeout");
    stream.set_write_timeout(Some(deadline(30))).expect("a timeout");
    // Answers are read while requests are written, or both sides would wait for each other.
    let mut reader = stream.try_clone().expect("a copy");
    let reading = thread::spawn(move || {
        let mut answers = Vec::new();
        // A connection that nginx resets is as good as one that it closes.
        if let Err(e) = reader.read_to_end(&mut answers) {
            use std::io::ErrorKind::{TimedOut, WouldBlock};
            assert!(!matches!(e.kind(), TimedOut | WouldBlock), "nginx does not end a connection");
        }
        answers
    });
    // nginx may close while there is more to send.
    let _ = stream.write_all(&sent);
    let _ = stream.shutdown(Shutdown::Write);
    let answers = reading.join().unwrap_or_else(|_| panic!("{}", sent.escape_ascii()));
    for code in [&b"HTTP/1.1 500"[..], b"HTTP/1.1 502", b"HTTP/1.1 503", b"HTTP/1.1 504"] {
        let found = answers.windows(code.len()).any(|window| window == code);
        assert!(!found, "{}: {}", sent.escape_ascii(), answers.escape_ascii());
    }
    count
}

/// One request of HTTP/1, more or less.
fn request(random: &mut Random, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend(method(random));
    out.extend(if random.one_in(50) { junk(random, 3) } else { b" ".to_vec() });
    out.extend(target(random));
    let versions: [&[u8]; 12] = [
        b" HTTP/1.1",
        b" HTTP/1.1",
        b" HTTP/1.1",
        b" HTTP/1.1",
        b" HTTP/1.1",
        b" HTTP/1.1",
        b" HTTP/1.0",
        b"",
        b" HTTP/2.0",
        b" HTTP/1.",
        b" http/1.1",
        b" HTTP/1.1 ",
    ];
    // A request without a version ends the connection, so most have one.
    out.extend_from_slice(if random.one_in(8) { random.pick(&versions) } else { versions[0] });
    let end = line_end(random);
    out.extend_from_slice(end);
    if !random.one_in(40) {
        out.extend_from_slice(b"Host: localhost");
        out.extend_from_slice(end);
    }
    let mut body = Vec::new();
    for _ in 0..random.below(4) {
        field(random, out, &mut body);
        out.extend_from_slice(line_end(random));
    }
    out.extend_from_slice(end);
    out.extend(body);

    // A few bytes are not what they were to be.
    if random.one_in(25) {
        for _ in 0..1 + random.below(4) {
            let at = start + random.below(out.len() - start);
            match random.below(3) {
                0 => out[at] = random.number() as u8,
                1 => out.insert(at, random.number() as u8),
                _ => drop(out.remove(at)),
            }
            if out.len() == start {
                return;
            }
        }
    }
}

fn line_end(random: &mut Random) -> &'static [u8] {
    match random.below(60) {
        0 => b"\n",
        1 => b"\r",
        2 => b"\r\r\n",
        _ => b"\r\n",
    }
}

fn method(random: &mut Random) -> Vec<u8> {
    const METHODS: [&str; 14] = [
        "GET",
        "HEAD",
        "GET",
        "OPTIONS",
        "POST",
        "PUT",
        "DELETE",
        "PATCH",
        "TRACE",
        "PROPFIND",
        "CONNECT",
        "get",
        "GETGETGET",
        "M-SEARCH",
    ];
    match random.below(30) {
        0 => junk(random, 8),
        1..=12 => random.pick(&METHODS).as_bytes().to_vec(),
        _ => b"GET".to_vec(),
    }
}

fn target(random: &mut Random) -> Vec<u8> {
    const PREFIXES: [&str; 14] = [
        "/download/",
        "/download/",
        "/download/",
        "/lookup/",
        "/lookup/",
        "/by-argument?id=",
        "/spaces/",
        "/handed-on/",
        "/downloads/",
        "/_space?id=",
        "/",
        "//download//",
        "http://localhost/download/",
        "/x/../download/",
    ];
    if random.one_in(40) {
        return junk(random, 60);
    }
    let prefix = random.pick(&PREFIXES);
    let mut out = prefix.as_bytes().to_vec();
    out.extend(id(random));
    if random.one_in(3) {
        out.push(b'.');
        out.extend(word(random));
    }
    if prefix == "/spaces/" {
        out.extend_from_slice(b"/download");
    }
    if prefix == "/lookup/" {
        out.push(b'?');
        out.extend_from_slice(b"format=");
        out.extend_from_slice(random.pick(&["mp3", "mp4", "wav", "audio", "video"]).as_bytes());
    } else if random.one_in(2) {
        out.push(if prefix.contains('?') { b'&' } else { b'?' });
        for _ in 0..1 + random.below(3) {
            let names: [&[u8]; 5] = [b"format", b"attachment", b"start", b"id", b"%66ormat"];
            out.extend_from_slice(random.pick(&names));
            out.push(b'=');
            out.extend(word(random));
            out.push(random.pick(b"&&&;?#"));
        }
    }
    if random.one_in(200) {
        out.extend(vec![b'a'; 1 + random.below(40_000)]);
    }
    // What breaks the line ends the connection.
    if !random.one_in(30) {
        out.retain(|b| !matches!(b, b' ' | b'\r' | b'\n' | 0));
    }
    out
}

fn id(random: &mut Random) -> Vec<u8> {
    match random.below(10) {
        0..=3 => ID.as_bytes().to_vec(),
        4 => OTHER.as_bytes().to_vec(),
        5 => b"gone".to_vec(),
        6 => vec![b'a'; random.below(200)],
        7 => escaped(&junk(random, 12), random),
        8 => {
            let mut out = ID.as_bytes().to_vec();
            let at = random.below(out.len());
            let part = escaped(&junk(random, 3), random);
            out.splice(at..at, part);
            out
        }
        _ => {
            let pieces: [&[u8]; 10] = [
                b"..",
                b"/",
                b"%2e%2e",
                b"%2f",
                b"%00",
                b"%0d%0a",
                b"\xc0\xae",
                b"\\",
                b"%",
                b"%zz",
            ];
            (0..1 + random.below(6)).flat_map(|_| random.pick(&pieces).to_vec()).collect()
        }
    }
}

fn word(random: &mut Random) -> Vec<u8> {
    const WORDS: [&str; 14] = [
        "mp3",
        "m4a",
        "wav",
        "mp4",
        "MP3",
        "audio",
        "video",
        "Audio",
        "1",
        "on",
        "",
        "txt",
        "mp3.",
        "audio/mpeg",
    ];
    match random.below(6) {
        0 => escaped(&junk(random, 8), random),
        _ => random.pick(&WORDS).as_bytes().to_vec(),
    }
}

/// Any bytes.
fn junk(random: &mut Random, most: usize) -> Vec<u8> {
    (0..1 + random.below(most)).map(|_| random.number() as u8).collect()
}

/// Some of the bytes as escapes, so that more of them arrive.
fn escaped(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    bytes
        .iter()
        .flat_map(|b| if random.one_in(3) { vec![*b] } else { format!("%{b:02x}").into_bytes() })
        .collect()
}

fn range(random: &mut Random) -> String {
    const NUMBERS: [&str; 13] = [
        "0",
        "1",
        "4999",
        "5000",
        "9223372036854775807",
        "18446744073709551616",
        "-1",
        "",
        "00",
        " 7",
        "0x10",
        "99999999999999999999999999",
        "+1",
    ];
    let units = ["bytes=", "bytes=", "bytes=", "bytes =", "BYTES=", "items=", "bytes:", ""];
    let mut out = (random.pick(&units)).to_owned();
    let most = if random.one_in(50) { 1000 } else { 4 };
    for number in 0..1 + random.below(most) {
        if number > 0 {
            out.push(',');
        }
        out.push_str(random.pick(&NUMBERS));
        out.push('-');
        out.push_str(random.pick(&NUMBERS));
    }
    out
}

fn field(random: &mut Random, out: &mut Vec<u8>, body: &mut Vec<u8>) {
    let simple: [&[u8]; 24] = [
        b"If-None-Match: *",
        b"If-None-Match: \"",
        b"If-Match: \"x\"",
        b"If-Match: *",
        b"If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
        b"If-Modified-Since: Fri, 99 Foo 9999 99:99:99 GMT",
        b"If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
        b"If-Range: \"x\"",
        b"If-Range: W/\"x\"",
        b"Connection: close, keep-alive, Range",
        b"Connection: Upgrade",
        b"Upgrade: h2c",
        b"Expect: 100-continue",
        b"Expect: nonsense",
        b"Accept-Encoding: gzip;q=0, *;q=x",
        b"Authorization: Basic =====",
        b"Cookie: a=b; =; ;;;",
        b"X-Format: mp3",
        b"X-Format: ../../x",
        b"X-Accel-Redirect: /downloads/x",
        b"Host: second.example",
        b"no colon at all",
        b": no name",
        b" folded: line",
    ];
    match random.below(12) {
        0..=3 => {
            out.extend_from_slice(b"Range: ");
            out.extend(range(random).into_bytes());
        }
        4 => {
            let lengths = ["0", "5", "-1", "5, 5", "x", "99999999999999999999", "", "0x5"];
            out.extend_from_slice(b"Content-Length: ");
            out.extend_from_slice(random.pick(&lengths).as_bytes());
            body.extend_from_slice(b"12345");
        }
        5 => {
            let codings = ["chunked", "chunked", "gzip", "chunked, chunked", "x"];
            let chunks: [&[u8]; 5] = [
                b"0\r\n\r\n",
                b"5\r\n12345\r\n0\r\n\r\n",
                b"ffffffffffffffff\r\n",
                b"-1\r\n",
                b"5;x=\n1",
            ];
            out.extend_from_slice(b"Transfer-Encoding: ");
            out.extend_from_slice(random.pick(&codings).as_bytes());
            body.extend_from_slice(random.pick(&chunks));
        }
        6 if random.one_in(3) => {
            out.extend(junk(random, 20));
            out.push(b':');
            out.extend(junk(random, 40));
        }
        7 if random.one_in(20) => {
            out.extend_from_slice(b"X-Long: ");
            out.extend(vec![b'x'; random.below(40_000)]);
        }
        _ => out.extend_from_slice(random.pick(&simple)),
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A connection of HTTP/2: most frames are requests.
fn frames(random: &mut Random, count: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    frame(out, SETTINGS, 0, 0, &[]);
    let mut stream = 1;
    for _ in 0..count {
        let block = header_block(random);
        match random.below(14) {
            // In two parts.
            0 => {
                let (first, rest) = block.split_at(random.below(block.len()));
                frame(out, HEADERS, END_STREAM, stream, first);
                frame(out, CONTINUATION, END_HEADERS, stream, rest);
            }
            // With a body.
            1 => {
                frame(out, HEADERS, END_HEADERS, stream, &block);
                let body = junk(random, 50);
                frame(out, DATA, END_STREAM, stream, &body);
            }
            // On a stream that is none, or again on the same.
            2 => {
                let odd = random.pick(&[0, 2, 1, stream, u32::MAX]);
                frame(out, HEADERS, END_STREAM | END_HEADERS, odd, &block);
            }
            // A frame of any kind.
            3 => {
                let (kind, flags) = (random.below(12) as u8, random.number() as u8);
                let stream = random.pick(&[0, stream, 2, 1]);
                let payload = junk(random, 30);
                frame(out, kind, flags, stream, &payload);
            }
            // A block of nonsense.
            4 => {
                let nonsense = junk(random, 60);
                frame(out, HEADERS, END_STREAM | END_HEADERS, stream, &nonsense);
            }
            _ => frame(out, HEADERS, END_STREAM | END_HEADERS, stream, &block),
        }
        stream += 2;
    }
    frame(out, PING, 0, 0, b"the end.");
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The fields of a request, as HPACK has them: each new and not to be remembered.
fn header_block(random: &mut Random) -> Vec<u8> {
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> = vec![
        (b":method".to_vec(), method(random)),
        (b":scheme".to_vec(), b"http".to_vec()),
        (b":path".to_vec(), target(random)),
        (b":authority".to_vec(), b"localhost".to_vec()),
    ];
    if random.one_in(3) {
        fields.push((b"range".to_vec(), range(random).into_bytes()));
    }
    if random.one_in(6) {
        let names: [&[u8]; 8] = [
            b"x-format",
            b"Range",
            b":path",
            b":unknown",
            b"",
            b"cookie",
            b"connection",
            b"transfer-encoding",
        ];
        fields.push((random.pick(&names).to_vec(), junk(random, 20)));
    }
    if random.one_in(20) {
        fields.remove(random.below(fields.len()));
    }
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            string(&mut block, &text);
        }
    }
    if random.one_in(15) {
        let at = random.below(block.len());
        block[at] = random.number() as u8;
    }
    block.truncate(16_000);
    block
}

/// A string of HPACK, without Huffman coding (RFC 7541, 5.2).
fn string(out: &mut Vec<u8>, text: &[u8]) {
    let mut len = text.len();
    if len < 127 {
        out.push(len as u8);
    } else {
        out.push(127);
        len -= 127;
        while len >= 128 {
            out.push((len % 128 + 128) as u8);
            len /= 128;
        }
        out.push(len as u8);
    }
    out.extend_from_slice(text);
}
