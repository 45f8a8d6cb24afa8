//! How players ask, and what ffmpeg decodes.

use std::process::{Command, Stdio};

use xspace_tests::{
    Connection, Nginx, PICTURE_RATE, Protocol, Request, Site, TONE_BASE, TONE_SLOPE, block_on,
    bytes, hour, poll, same_bytes,
};

use crate::common::{FILE, ID, PATH, assert_recording, recording};

/// A recording that is long enough to be left before it is read to its end.
const LONG: usize = 6_000_003;

/// What a player asks for; places are in thousandths of the recording.
#[derive(Clone, Copy, Debug)]
enum Range {
    /// `bytes=0-1`: does the server know ranges, and how long is it?
    Probe,
    /// `bytes=N-`.
    From(usize),
    /// `bytes=N-LAST`, the last byte by its number.
    ToLast(usize),
    /// `bytes=N-M`.
    Between(usize, usize),
    /// So many bytes before the end up to it: `bytes=N-`. There an ID3v1 tag would be, and in an
    /// mp4 that was not made for streaming its index.
    Tail(usize),
    /// No range.
    Whole,
}

/// How much of the answer it reads.
#[derive(Clone, Copy, Debug)]
enum Read {
    All,
    /// At least so many bytes; then it has enough and goes away, or asks for another place.
    Until(usize),
}

use Range::{Between, From, Probe, Tail, ToLast, Whole};
use Read::{All, Until};

/// A player, the headers that it sends each time, and its requests in order.
struct Player {
    name: &'static str,
    headers: &'static [(&'static str, &'static str)],
    requests: &'static [(Range, Read)],
}

/// Those of mpv, VLC and ffmpeg were recorded with the players of Debian 12, those of Chromium with
/// its network log; those of Apple's players are as Apple describes what a server has to answer
/// (the probe of two bytes, then ranges) and as servers' logs show them.
const PLAYERS: &[Player] = &[
    Player {
        name: "Safari on macOS",
        headers: &[
            ("User-Agent", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15"),
            ("X-Playback-Session-Id", "0F9E1C5C-9B0E-4D3E-8D1C-2A4F6B7C8D9E"),
            ("Accept", "*/*"),
            ("Accept-Encoding", "identity"),
        ],
        requests: &[
            (Probe, All),
            (ToLast(0), Until(200_000)),
            (ToLast(700), Until(100_000)),
            (ToLast(200), Until(100_000)),
            (ToLast(990), All),
        ],
    },
    Player {
        name: "iOS (AppleCoreMedia)",
        headers: &[
            ("User-Agent", "AppleCoreMedia/1.0.0.21F90 (iPhone; U; CPU OS 17_5_1 like Mac OS X)"),
            ("X-Playback-Session-Id", "7B1D2E3F-4A5B-4C6D-8E9F-0A1B2C3D4E5F"),
            ("Accept", "*/*"),
            ("Accept-Encoding", "identity"),
            ("Accept-Language", "en-GB,en;q=0.9"),
        ],
        requests: &[
            (Probe, All),
            (From(0), Until(70_000)),
            (ToLast(0), Until(300_000)),
            (Between(500, 511), All),
            (ToLast(511), Until(70_000)),
            (From(900), Until(70_000)),
        ],
    },
    Player {
        name: "Chromium",
        headers: &[
            ("Accept-Encoding", "identity;q=1, *;q=0"),
            ("Sec-Fetch-Dest", "audio"),
            ("Sec-Fetch-Mode", "no-cors"),
        ],
        requests: &[
            (From(0), Until(30_000)),
            (From(0), Until(300_000)),
            (From(395), Until(200_000)),
            (ToLast(791), Until(200_000)),
            (Between(190, 394), Until(200_000)),
            (Between(585, 790), All),
        ],
    },
    Player {
        name: "VLC 3.0, mp3",
        headers: &[
            ("User-Agent", "VLC/3.0.24 LibVLC/3.0.24"),
            ("Accept", "*/*"),
            ("Accept-Language", "en_US"),
        ],
        requests: &[
            (From(0), Until(98_000)),
            (From(500), Until(33_000)),
            (From(40), Until(33_000)),
        ],
    },
    Player {
        name: "VLC 3.0, an mp4 whose index is at the end",
        headers: &[
            ("User-Agent", "VLC/3.0.24 LibVLC/3.0.24"),
            ("Accept", "*/*"),
            ("Accept-Language", "en_US"),
        ],
        requests: &[
            (From(0), Until(98_000)),
            (Tail(532_000), All),
            (From(1), Until(98_000)),
            (From(481), Until(688_000)),
        ],
    },
    Player {
        name: "mpv, mp3",
        headers: &[("User-Agent", "libmpv"), ("Accept", "*/*"), ("Icy-MetaData", "1")],
        requests: &[(From(0), Until(98_000)), (Tail(128), All), (From(0), Until(3_000_000))],
    },
    Player {
        name: "mpv, an mp4 whose index is at the end",
        headers: &[("User-Agent", "libmpv"), ("Accept", "*/*"), ("Icy-MetaData", "1")],
        requests: &[(From(0), Until(33_000)), (Tail(532_000), All), (From(481), Until(426_000))],
    },
    Player {
        name: "ffmpeg, mp3",
        headers: &[("User-Agent", "Lavf/59.27.100"), ("Accept", "*/*"), ("Icy-MetaData", "1")],
        requests: &[
            (From(0), Until(33_000)),
            (Tail(128), All),
            (From(0), Until(33_000)),
            (From(500), Until(98_000)),
        ],
    },
    Player {
        name: "a podcast client",
        headers: &[("User-Agent", "a podcast client"), ("Accept-Encoding", "gzip")],
        requests: &[(Whole, Until(500_000)), (From(83), Until(2_000_000)), (From(600), All)],
    },
];

impl Range {
    /// The header, and the bytes that it asks for.
    fn of(self, size: usize) -> (Option<String>, std::ops::Range<usize>) {
        let place = |thousandths: usize| size / 1000 * thousandths;
        let last = size - 1;
        match self {
            Probe => (Some("bytes=0-1".to_owned()), 0..2),
            From(start) => (Some(format!("bytes={}-", place(start))), place(start)..size),
            ToLast(start) => (Some(format!("bytes={}-{last}", place(start))), place(start)..size),
            Between(start, end) => {
                let (start, end) = (place(start), place(end));
                (Some(format!("bytes={start}-{}", end - 1)), start..end)
            }
            Tail(count) => (Some(format!("bytes={}-", size - count)), size - count..size),
            Whole => (None, 0..size),
        }
    }
}

/// Replays the requests of one player.
fn replay(nginx: &Nginx, protocol: Protocol, player: &Player, content: &[u8]) {
    let mut connection = nginx.connect(protocol);
    let mut etag: Option<String> = None;
    for (number, &(range, read)) in player.requests.iter().enumerate() {
        let what = format!("{}, {protocol:?}, request {number}, {range:?}", player.name);
        let mut request = Request::get(PATH);
        for (name, value) in player.headers {
            request = request.header(name, value);
        }
        let (header, expected) = range.of(content.len());
        if let Some(value) = &header {
            request = request.range(value);
            // Of those that resume: the rest of the same file, or all of another one.
            if let Some(etag) = etag.as_ref().filter(|_| player.name.contains("podcast")) {
                request = request.header("If-Range", etag);
            }
        }
        let response = match read {
            All => connection.send(&request),
            Until(count) => {
                let response = connection.send_until(&request, count);
                assert!(response.body.len() >= count.min(expected.len()), "{what}: {response:?}");
                // An answer that is not read to its end leaves a connection of HTTP/1.1 useless.
                if protocol == Protocol::Http1 {
                    connection = nginx.connect(protocol);
                }
                response
            }
        };

        assert_eq!(response.status, if header.is_some() { 206 } else { 200 }, "{what}");
        let content_range = header
            .map(|_| format!("bytes {}-{}/{}", expected.start, expected.end - 1, content.len()));
        assert_eq!(response.header("content-range"), content_range.as_deref(), "{what}");
        let length = expected.len().to_string();
        assert_eq!(response.header("content-length"), Some(length.as_str()), "{what}");
        assert_eq!(response.header("content-type"), Some("audio/mpeg"), "{what}");
        assert_eq!(response.header("content-encoding"), None, "{what}");
        let seen = response.header("etag").expect("an ETag").to_owned();
        assert_eq!(*etag.get_or_insert_with(|| seen.clone()), seen, "{what}");
        let read = expected.start..expected.end.min(expected.start + response.body.len());
        same_bytes(&response.body, &content[read], &what);
    }
}

#[test]
fn every_player_gets_the_ranges_it_asks_for() {
    let content = bytes(6, LONG);
    let nginx = Site::simple().file(FILE, &content).start();
    let workers = nginx.workers();
    for protocol in nginx.protocols() {
        for player in PLAYERS {
            replay(&nginx, protocol, player, &content);
        }
    }
    assert!(nginx.has_still(&workers), "the same worker");
}

/// What is read of an answer, and that the connection goes on behind it, is the test's own client's
/// to know.
#[test]
fn a_cancelled_answer_leaves_the_connection_usable() {
    let nginx =
        Site::simple().file(FILE, recording()).file("downloads/long.wav", bytes(7, LONG)).start();
    for protocol in [Protocol::Http2, Protocol::Http3] {
        if !nginx.protocols().contains(&protocol) {
            continue;
        }
        let mut connection: Connection =
            block_on(Connection::open(protocol, nginx.address(protocol)));
        for round in 0..20 {
            let what = format!("{protocol:?}, round {round}");
            let long = Request::get("/download/long").range("bytes=1000-");
            let part = connection.send_until(&long, 10_000);
            assert_eq!(part.status, 206, "{what}");
            assert!(part.body.len() < LONG / 2, "{what}: {} bytes", part.body.len());
            assert_recording(&connection.send(&Request::get(PATH)), &what);
        }
    }
}

/// A tool of ffmpeg on a recording, over HTTPS with the certificate checked.
#[track_caller]
fn run(nginx: &Nginx, tool: &str, path: &str, before: &[&str], after: &[&str]) -> Vec<u8> {
    let url = format!("https://localhost:{}{path}", nginx.address(Protocol::Http2).port());
    let certificate = nginx.dir().join("cert.pem");
    let output = Command::new(tool)
        .args(["-v", "error", "-tls_verify", "1", "-ca_file"])
        .arg(certificate)
        .args(before)
        .args(["-i", &url])
        .args(after)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("cannot run {tool}: {e}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {path} {before:?}: {stderr}");
    assert_eq!(stderr, "", "{tool} {path} {before:?}");
    output.stdout
}

/// An hour as mp3, m4a and mp4; the log has the first byte of each range.
fn hours() -> Site {
    Site::simple()
        .http("log_format ranges '$uri $status $http_range'; access_log {dir}/ranges.log ranges;")
        .shared(&hour("hour.mp3"), FILE)
        .shared(&hour("hour.m4a"), &format!("downloads/{ID}.m4a"))
        .shared(&hour("hour.mp4"), &format!("downloads/{ID}.mp4"))
}

/// Place in seconds of the beginning of two seconds of the tone.
fn place(samples: &[u8]) -> f64 {
    const RATE: usize = 16_000;
    // An mp3 that is entered in its midst is silent for a few frames, which borrow from those
    // before them.
    const SKIPPED: usize = RATE / 2;
    let samples: Vec<i16> =
        samples.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    assert!(samples.len() > RATE * 19 / 10, "{} samples", samples.len());
    let samples = &samples[SKIPPED..];
    let rises = samples.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
    let seconds = samples.len() as f64 / RATE as f64;
    // The mean frequency is that of the middle.
    (rises as f64 / seconds - TONE_BASE) / TONE_SLOPE - seconds / 2.0 - 0.5
}

#[test]
fn ffprobe_tells_length_and_codec_over_https() {
    let nginx = hours().start();
    for (format, codecs) in [("mp3", "mp3"), ("m4a", "aac"), ("mp4", "h264 aac")] {
        let output = run(
            &nginx,
            "ffprobe",
            &format!("{PATH}.{format}"),
            &[],
            &["-show_entries", "stream=codec_name:format=duration", "-of", "csv=p=0"],
        );
        let text = String::from_utf8(output).expect("UTF-8");
        let mut lines: Vec<&str> = text.split_whitespace().collect();
        let duration: f64 = lines.pop().expect("a length").parse().expect("a number");
        assert!((duration - 3600.0).abs() < 1.0, "{format}: {duration}");
        assert_eq!(lines.join(" "), codecs, "{format}");
    }
}

#[test]
fn ffmpeg_seeks_over_https() {
    let nginx = hours().start();
    // In an mp3 ffmpeg reads all that is before the place, unless it is told to trust the bit rate.
    let fast: &[&str] = &["-fflags", "+fastseek"];
    for (format, options) in [("mp3", fast), ("m4a", &[]), ("mp4", &[])] {
        let path = format!("{PATH}.{format}");
        for second in ["3590", "12.5", "2700", "900", "1800.25"] {
            let asked: f64 = second.parse().expect("a number");
            let what = format!("{format}, {second}");
            let before = [options, &["-ss", second]].concat();
            let pcm = ["-vn", "-t", "2", "-f", "s16le", "-ac", "1", "-ar", "16000", "-"];
            let heard = place(&run(&nginx, "ffmpeg", &path, &before, &pcm));
            assert!((heard - asked).abs() < 1.0, "{what}: {heard}");
            if format == "mp4" {
                let scale = "scale=16:1:flags=neighbor,format=gray";
                let picture = ["-an", "-frames:v", "1", "-vf", scale, "-f", "rawvideo", "-"];
                let seen = run(&nginx, "ffmpeg", &path, &before, &picture);
                let number = seen
                    .iter()
                    .enumerate()
                    .map(|(bit, &level)| u32::from(level > 127) << bit)
                    .sum::<u32>();
                let seen = f64::from(number) / f64::from(PICTURE_RATE);
                assert!((seen - asked).abs() <= 0.5, "{what}: picture {number}");
            }
        }
        // It asked for the places, and did not read up to them.
        let (uri, size) = (format!("/downloads/{ID}.{format}"), nginx_file_size(&nginx, format));
        let far = || {
            let log = std::fs::read_to_string(nginx.dir().join("ranges.log")).unwrap_or_default();
            log.lines()
                .filter_map(|line| line.strip_prefix(&format!("{uri} 206 bytes=")))
                .filter_map(|range| range.trim_end_matches('-').parse::<u64>().ok())
                // The tail is where an mp3 may have a tag.
                .filter(|&first| first > size / 2 && first < size - 1000)
                .count()
        };
        assert!(poll(|| far() >= 2), "{format}: {} requests for the second half", far());
    }
    let log = nginx.log_lines("ranges.log", 1);
    let bad: Vec<&String> = log.iter().filter(|line| !line.contains(" 206 bytes=")).collect();
    assert!(bad.is_empty(), "{bad:?}");
}

fn nginx_file_size(nginx: &Nginx, format: &str) -> u64 {
    let path = nginx.dir().join(format!("downloads/{ID}.{format}"));
    std::fs::metadata(path).expect("the recording").len()
}
