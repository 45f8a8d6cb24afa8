//! What is counted as a play, for whom, and that nothing is counted twice or lost.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
#[cfg(feature = "links")]
use xspace_tests::LinkKey;
use xspace_tests::{
    Application, Nginx, Preload, Protocol, Random, RawConnection, Reply, Request, Site, build,
    bytes, poll, setting, wait_for,
};

use crate::common::{FILE, ID, MISSING_PATH, OTHER, PATH, SIZE, assert_recording, recording};

/// A site that counts, with a page for what was counted. A minute is 100,000 bytes, so the recording
/// of 300,007 bytes has three.
pub fn counting(download: &str, target: &str) -> Site {
    let rate = if target.contains("limit_rate ") { "" } else { "limit_rate 0;" };
    let site = Site::with_directives(download, &format!("{rate} {target}"))
        .http("xspace_stats_zone plays:1m; xspace_stats plays; xspace_play bytes=100000;")
        .server("location = /status { access_log off; xspace_status json zone=plays; }")
        .server("location = /metrics { access_log off; xspace_status prometheus zone=plays; }");
    site.file(FILE, recording())
}

fn stats_of(nginx: &Nginx, path: &str) -> Value {
    let response = nginx.get(path);
    assert_eq!(response.status, 200, "{response:?}");
    let text = response.text();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn number(stats: &Value, path: &str) -> u64 {
    let value = stats.pointer(path).and_then(Value::as_u64);
    value.unwrap_or_else(|| panic!("no {path} in {stats}"))
}

/// How many requests were counted, whatever their outcome.
pub fn requests(stats: &Value) -> u64 {
    let outcomes = stats["requests"].as_object().expect("outcomes");
    outcomes.values().map(|count| count.as_u64().expect("a count")).sum()
}

/// What was counted, when so many requests have ended.
#[track_caller]
pub fn stats(nginx: &Nginx, count: u64) -> Value {
    let mut last = Value::Null;
    let found = wait_for(|| {
        last = stats_of(nginx, &format!("/status?space={ID}"));
        (requests(&last) >= count).then(|| last.clone())
    });
    let found = found.unwrap_or_else(|| panic!("not {count} requests: {last}"));
    assert_eq!(requests(&found), count, "{found}");
    found
}

/// Plays, downloads and bytes.
#[track_caller]
pub fn sums(nginx: &Nginx, count: u64) -> (u64, u64, u64) {
    let stats = stats(nginx, count);
    let sum = |name: &str| number(&stats, &format!("/{name}"));
    (sum("plays"), sum("downloads"), sum("sent_bytes"))
}

/// All but the recording itself adds no bytes.
#[test]
fn bytes_that_were_sent_of_the_recording() {
    let log = "log_format test '$xspace_outcome|$status|$body_bytes_sent|$xspace_played';
               access_log {dir}/access.log test;";
    let target = "access_log {dir}/access.log test; error_page 416 /sorry;";
    let site = counting("access_log {dir}/access.log test;", target)
        .http(log)
        .server("location = /sorry { return 200 sorry; }")
        .file("downloads/empty.mp3", "");
    let nginx = site.start();
    let (mut count, mut sent, mut plays) = (0, 0, 0);
    for protocol in nginx.protocols() {
        let agent = format!("{protocol:?}");
        let rows = [
            (Request::get(PATH).range("bytes=0-49999"), 50_000, 0, "half a minute"),
            (Request::get(PATH).range("bytes=-49900"), 49_900, 0, "almost a minute"),
            (Request::head(PATH), 0, 0, "HEAD"),
            (Request::get(PATH).header("If-None-Match", "*"), 0, 0, "304"),
            (Request::get(PATH).range("bytes=999999-"), 0, 0, "416 with a page"),
            (Request::get(MISSING_PATH), 0, 0, "404"),
            (Request::get("/download/empty"), 0, 0, "an empty file"),
            (Request::new("POST", PATH), 0, 0, "405"),
            (Request::new("OPTIONS", PATH), 0, 0, "204"),
            (Request::get("/download/a.b.c"), 0, 0, "no id"),
            (Request::get(PATH).range("bytes=7-106"), 100, 1, "a minute"),
            (Request::get(PATH), SIZE as u64, 0, "all of it, after the play"),
        ];
        for (request, bytes, is_play, what) in rows {
            let response = nginx.send(protocol, &request.header("User-Agent", &agent));
            count += 1;
            sent += bytes;
            plays += is_play;
            let what = format!("{protocol:?}, {what}: {response:?}");
            assert_eq!(sums(&nginx, count), (plays, 0, sent), "{what}");
        }
    }
    let stats = stats(&nginx, count);
    let protocols = nginx.protocols().len() as u64;
    for (outcome, each) in [
        ("found", 7),
        ("not_found", 1),
        ("bad_id", 1),
        ("bad_method", 1),
        ("none", 1),
        ("error", 0),
        ("denied", 0),
    ] {
        let outcomes = &stats["requests"];
        assert!(outcomes[outcome].is_u64(), "{outcome}: {outcomes}");
        if outcome != "found" {
            assert_eq!(outcomes[outcome], each * protocols, "{outcome}");
        }
    }
    let space = &stats["space"];
    assert_eq!(space["id"], ID);
    assert_eq!(number(space, "/counts/sent_bytes"), sent);
    assert_eq!(number(space, "/counts/plays"), plays);
    // The access log has the same. The page of the 416 is in another location.
    let lines = nginx.log_lines("access.log", count as usize - nginx.protocols().len());
    let of_plays = lines.iter().filter(|line| line.ends_with("|1"));
    assert_eq!(of_plays.count() as u64, plays, "{lines:#?}");
    let logged = |line: &String| -> u64 {
        let values: Vec<&str> = line.split('|').collect();
        match values[..] {
            ["found", "200" | "206", bytes, _] => bytes.parse().expect("bytes"),
            _ => 0,
        }
    };
    assert_eq!(lines.iter().map(logged).sum::<u64>(), sent, "{lines:#?}");
}

/// The client leaves in the middle: what was sent until then counts, as in the access log.
#[test]
fn a_response_that_is_broken_off() {
    let site = counting("", "limit_rate_after 150000; limit_rate 1;")
        .http("log_format sent $body_bytes_sent; access_log {dir}/access.log sent;")
        .file(FILE, bytes(5, 8_000_000));
    let nginx = site.start();
    for (count, protocol) in (1..).zip(nginx.protocols()) {
        if protocol == Protocol::Http1 {
            let mut connection = nginx.raw();
            connection.write(format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
            connection.read_exactly(120_000);
            connection.reset();
        } else {
            let request = Request::get(PATH).header("User-Agent", &format!("{protocol:?}"));
            let pending = nginx.connect(protocol).start(request);
            nginx.wait_open(nginx.wait_worker(), FILE);
            pending.leave();
        }
        let stats = stats(&nginx, count);
        let lines = nginx.log_lines("access.log", count as usize);
        let logged: u64 = lines.iter().map(|line| line.parse::<u64>().expect("bytes")).sum();
        assert_eq!(number(&stats, "/sent_bytes"), logged, "{protocol:?}: {lines:?}");
        assert!(logged < 8_000_000, "{protocol:?}: {lines:?}");
        if protocol == Protocol::Http1 {
            assert!(logged >= 100_000, "{lines:?}");
            assert_eq!(number(&stats, "/plays"), 1, "{stats}");
        }
    }
}

#[test]
fn who_is_another_listener() {
    if !build().require("http_realip") {
        return;
    }
    let site = counting("", "")
        .http("set_real_ip_from 127.0.0.1; real_ip_header X-Real-IP;")
        .server(
            "location ^~ /named/ { xspace_download /downloads/; xspace_listener $arg_who; }
             location ^~ /some/ { xspace_download /downloads/; xspace_play if=$arg_play; }
             location ^~ /none/ { xspace_download /downloads/; xspace_stats off; }
             location ^~ /hour/ { xspace_download /downloads/; xspace_play window=1h; }
             location ^~ /longer/ { xspace_download /downloads/; xspace_play bytes=100000 time=2m; }",
        )
        .file(&format!("downloads/{OTHER}.mp3"), bytes(2, SIZE));
    let nginx = site.start();
    let other = format!("/download/{OTHER}");
    let (named, some) = (format!("/named/{ID}"), format!("/some/{OTHER}"));
    let named_as = |who: &str| format!("{named}?who={who}");
    let some_if = |value: &str| format!("{some}?play={value}");
    let minute = "bytes=0-99999";
    let rows = [
        (PATH, minute, "1.2.3.4", "curl", 1, 0, "the first"),
        (PATH, minute, "1.2.3.4", "curl", 0, 0, "again"),
        (PATH, "", "1.2.3.4", "curl", 0, 0, "all of it"),
        (PATH, minute, "1.2.3.4", "curl/8", 1, 0, "another agent"),
        (PATH, minute, "1.2.3.4", "", 1, 0, "no agent"),
        (PATH, minute, "1.2.3.5", "curl", 1, 0, "another address"),
        (PATH, minute, "::ffff:1.2.3.5", "curl", 0, 0, "the same, in IPv6"),
        (PATH, minute, "2001:db8:0:1::1", "curl", 1, 0, "IPv6"),
        (PATH, minute, "2001:db8:0:1:a::2", "curl", 0, 0, "the same network"),
        (PATH, minute, "2001:db8:0:2::1", "curl", 1, 0, "another network"),
        (&other, minute, "1.2.3.4", "curl", 1, 0, "another space"),
        (&format!("{PATH}?attachment=1"), minute, "1.2.3.4", "curl", 0, 1, "a download"),
        (&format!("{PATH}?attachment=1"), minute, "1.2.3.4", "curl", 0, 0, "once"),
        (&format!("{other}?attachment=1"), "bytes=0-49999", "1.2.3.4", "curl", 0, 0, "a half"),
        (&format!("{other}?attachment=1"), "bytes=5-50004", "1.2.3.4", "curl", 0, 1, "and a half"),
        (&named_as("x"), minute, "1.2.3.4", "curl", 1, 0, "named"),
        (&named_as("x"), minute, "9.9.9.9", "wget", 0, 0, "named, from elsewhere"),
        (&named_as("y"), minute, "1.2.3.4", "curl", 1, 0, "another name"),
        (&named_as(""), minute, "1.2.3.4", "curl", 1, 0, "no name is one, too"),
        (&some_if(""), minute, "7.7.7.7", "curl", 0, 0, "if is empty"),
        (&some_if("0"), minute, "7.7.7.7", "curl", 0, 0, "if is 0"),
        (&some_if("1"), minute, "7.7.7.7", "curl", 0, 0, "xspace_play is not merged: 960k"),
        (&format!("/none/{ID}"), "", "7.7.7.7", "curl", 0, 0, "off"),
        (&format!("/hour/{ID}"), "", "1.2.3.4", "curl", 1, 0, "a short file is a whole play"),
        (&format!("/longer/{ID}"), "bytes=0-199900", "8.8.8.8", "curl", 0, 0, "almost two"),
        (&format!("/longer/{ID}"), "bytes=0-99", "8.8.8.8", "curl", 1, 0, "two minutes"),
    ];
    let (mut count, mut plays, mut downloads) = (0, 0, 0);
    for (path, range, address, agent, is_play, is_download, what) in rows {
        let mut request = Request::get(path).header("X-Real-IP", address);
        if !range.is_empty() {
            request = request.range(range);
        }
        if !agent.is_empty() {
            request = request.header("User-Agent", agent);
        }
        let response = nginx.send(Protocol::Http1, &request);
        assert!(matches!(response.status, 200 | 206), "{what}: {response:?}");
        count += u64::from(what != "off");
        plays += is_play;
        downloads += is_download;
        let (found, saved, _) = sums(&nginx, count);
        assert_eq!((found, saved), (plays, downloads), "{what}");
    }
}

/// How long a recording is comes from its entry.
#[test]
fn a_minute_of_a_known_duration() {
    let catalog = format!(
        r#"{{"{ID}": {{"duration": 600}}, "short": {{"files": ["{ID}.mp3"], "duration": 20}},
            "unknown": "{ID}.mp3", "away": {{"files": ["{ID}.mp3"], "duration": 600}}}}"#
    );
    let site = counting("xspace_catalog {dir}/spaces.json;", "")
        .server(
            "location ^~ /away/ {
                 xspace_download /store/; xspace_catalog {dir}/spaces.json; xspace_directory off;
             }
             location ^~ /store/ { internal; limit_rate 0; alias {dir}/downloads/; }",
        )
        .file("spaces.json", catalog);
    let nginx = site.start();
    // A millisecond is half a byte, and fractions are rounded up.
    let tenth = SIZE / 10 + 1;
    let rows = [
        (format!("/download/{ID}"), tenth - 9, 0, "less than a tenth of ten minutes"),
        (format!("/download/{ID}"), 9, 1, "a tenth"),
        ("/download/short".into(), SIZE - 9, 0, "almost all of 20 s"),
        ("/download/short".into(), 9, 1, "all of 20 s"),
        ("/download/unknown".into(), 99_990, 0, "bytes="),
        ("/download/unknown".into(), 10, 1, "bytes="),
        ("/away/away".into(), tenth - 9, 0, "the size is that of Content-Range"),
        ("/away/away".into(), 9, 1, "the size is that of Content-Range"),
    ];
    let (mut count, mut plays) = (0, 0);
    for (path, bytes, is_play, what) in rows {
        let range = format!("bytes=5-{}", 4 + bytes);
        let request = if bytes > SIZE - 5 {
            Request::get(&path).range(&format!("bytes=0-{}", bytes - 1))
        } else {
            Request::get(&path).range(&range)
        };
        let response = nginx.send(Protocol::Http1, &request);
        assert_eq!((response.status, response.body.len()), (206, bytes), "{what}");
        count += 1;
        plays += is_play;
        assert_eq!(sums(&nginx, count).0, plays, "{what}");
    }
}

#[test]
fn short_pieces_of_a_short_file_are_a_play() {
    let content = bytes(3, 1000);
    let nginx = counting("", "").file(FILE, &content).start();
    let mut connection = nginx.connect(Protocol::Http1);
    for at in 0..1000 {
        let response = connection.send(&Request::get(PATH).range(&format!("bytes={at}-{at}")));
        assert_eq!(response.status, 206);
    }
    assert_eq!(sums(&nginx, 1000), (1, 0, 1000));
}

/// `$xspace_played` is known when the access log is written, and is the same for all of them.
#[test]
fn the_variable() {
    let log = "log_format test '$request_uri|$xspace_played';
               map $xspace_played $by_map { 1 yes; default no; }
               log_format map '$request_uri|$by_map';";
    let target = "access_log {dir}/access.log test;
                  access_log {dir}/plays.log test if=$xspace_played;
                  access_log {dir}/map.log map;
                  log_subrequest on; add_after_body /after;
                  add_header X-Played \"<$xspace_played>\";";
    let target = if build().require("http_addition") {
        target.to_owned()
    } else {
        target.replace("add_after_body /after;", "")
    };
    let nginx =
        counting("", &target).http(log).server("location = /after { return 200 ''; }").start();
    for number in 0..5 {
        let response = nginx.get(&format!("{PATH}?n={number}"));
        assert_eq!(response.header("x-played"), Some("<>"), "not known yet");
        stats(&nginx, number + 1);
    }
    let lines = nginx.log_lines("access.log", 5);
    let of_players: Vec<&String> = lines.iter().filter(|line| line.ends_with("|1")).collect();
    assert_eq!(of_players, [&format!("{PATH}?n=0|1")], "{lines:?}");
    assert_eq!(nginx.log_lines("plays.log", 1), [format!("{PATH}?n=0|1")]);
    let lines = nginx.log_lines("map.log", 5);
    assert_eq!(lines.iter().filter(|line| line.ends_with("|yes")).count(), 1, "{lines:?}");
}

/// The configuration is that of the location with `xspace_download`, wherever the request ends.
#[test]
fn requests_that_end_elsewhere() {
    let nginx = counting("", "")
        .server(
            "location = /page.html { }
             location ^~ /missing/ { xspace_download /downloads/; error_page 404 /page.html; }
             location ^~ /again/ {
                 xspace_download /downloads/; error_page 404 /download/1lDxLnrWjwkGm;
             }
             location ^~ /never/ {
                 xspace_download /downloads/; xspace_id x; rewrite ^ /page.html last;
             }
             location ^~ /denied/ { xspace_download /downloads/; deny all; }",
        )
        .file("html/page.html", "page")
        .start();
    let rows = [
        ("/missing/none", 404, "not_found", 0, "an error page"),
        ("/never/x", 200, "", 0, "a rewrite leads away"),
        ("/denied/x", 403, "none", 0, "refused before the module is asked"),
        ("/again/none", 404, "found", 0, "a recording as an error page"),
        (PATH, 200, "found", 1, "a recording"),
    ];
    let mut count = 0;
    let mut plays = 0;
    for (path, status, outcome, is_play, what) in rows {
        let before = stats(&nginx, count);
        let response = nginx.get(path);
        assert_eq!(response.status, status, "{what}");
        count += u64::from(!outcome.is_empty());
        plays += is_play;
        let after = stats(&nginx, count);
        assert_eq!(number(&after, "/plays"), plays, "{what}");
        if !outcome.is_empty() {
            let name = format!("/requests/{outcome}");
            assert_eq!(number(&after, &name), number(&before, &name) + 1, "{what}: {after}");
        }
    }
}

#[test]
fn a_reload_keeps_the_counts() {
    let nginx = counting("", "").workers(2).allow("cannot get another").start();
    let conf = fs::read_to_string(nginx.site().conf_path()).expect("nginx.conf");
    let write = |zone: &str, stats: &str| {
        let conf = conf.replace("plays:1m;", zone).replace("xspace_stats plays;", stats);
        fs::write(nginx.site().conf_path(), conf).expect("nginx.conf");
    };
    assert_recording(&nginx.get(PATH), "a play");
    assert_eq!(sums(&nginx, 1), (1, 0, SIZE as u64));
    nginx.reload();
    assert_eq!(sums(&nginx, 1), (1, 0, SIZE as u64));
    assert_recording(&nginx.get(PATH), "the same listener");
    assert_eq!(sums(&nginx, 2), (1, 0, 2 * SIZE as u64));

    write("plays:1m listeners=8;", "xspace_stats plays;");
    nginx.hang_up();
    let message =
        "zone \"plays\" cannot get another \"listeners\" or \"state\" without another size";
    assert!(poll(|| nginx.error_log().contains(message)), "{}", nginx.error_log());
    assert_eq!(sums(&nginx, 2), (1, 0, 2 * SIZE as u64));

    write("plays:2m listeners=8;", "xspace_stats plays;");
    nginx.reload();
    assert_eq!(sums(&nginx, 0), (0, 0, 0), "a new zone");
    assert_recording(&nginx.get(PATH), "counted anew");
    assert_eq!(sums(&nginx, 1), (1, 0, SIZE as u64));
    write("plays:2m listeners=8;", "");
    nginx.reload();
    assert_recording(&nginx.get(PATH), "not counted");
    assert_eq!(sums(&nginx, 1), (1, 0, SIZE as u64), "the page keeps the zone");
}

/// Without a location that uses it, a zone takes no memory, and nothing is set up.
#[test]
fn zone_that_is_not_used() {
    const SIZE: u64 = 16 << 20;
    let is_shared = |site: Site| {
        let nginx = site.http("xspace_stats_zone plays:16m;").file(FILE, recording()).start();
        let maps = fs::read_to_string(format!("/proc/{}/maps", nginx.wait_worker()));
        assert_recording(&nginx.get(PATH), "served");
        maps.expect("its mappings").lines().any(|line| {
            let (range, rest) = line.split_once(' ').expect("a range");
            let address = |text: &str| u64::from_str_radix(text, 16).expect("an address");
            let (start, end) = range.split_once('-').expect("two addresses");
            rest.starts_with("rw-s") && address(end) - address(start) == SIZE
        })
    };
    let status = "location = /status { xspace_status json; }";
    for (site, expected, what) in [
        (Site::simple(), false, "declared alone"),
        (Site::simple().http("xspace_stats off;"), false, "off"),
        (Site::simple().server(status), true, "shown"),
        (Site::simple().http("xspace_stats plays;"), true, "counted"),
    ] {
        assert_eq!(is_shared(site), expected, "{what}");
    }
}

/// A clock that is set back over midnight stays in the newer window; one that goes on does not.
#[test]
fn windows_and_the_clock() {
    if !build().require("preload") {
        return;
    }
    let (preload, site) = Preload::new(counting("xspace_play bytes=100000 window=24h;", ""));
    let nginx = site.start();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs() as i64;
    let day = 24 * 60 * 60;
    // A minute before a midnight that is to come.
    let eve = day - now % day - 60;
    let rows = [
        (0, 1, "today"),
        (0, 0, "again"),
        (eve, 0, "before midnight"),
        (eve + 120, 1, "tomorrow"),
        (eve, 0, "set back over midnight"),
        (eve + 120, 0, "and on again"),
        (eve + day + 120, 1, "the day after"),
        (-30 * day, 1, "a month back: it was wrong before"),
        (-30 * day, 0, "again"),
        (0, 1, "right again"),
    ];
    let mut plays = 0;
    for (count, (offset, is_play, what)) in (1..).zip(rows) {
        preload.set_clock_offset(offset);
        // The first request lets the event loop see the time.
        assert_eq!(nginx.get("/status").status, 200);
        assert_recording(&nginx.get(PATH), what);
        plays += is_play;
        assert_eq!(sums(&nginx, count).0, plays, "{what}");
    }
}

/// What the metrics are for Prometheus.
#[test]
fn the_pages() {
    let nginx = counting("", "").start();
    assert_recording(&nginx.get(PATH), "a play");
    stats(&nginx, 1);
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get("/metrics"));
        assert_eq!(response.status, 200);
        assert_eq!(response.header("content-type"), Some("text/plain; version=0.0.4"));
        assert_eq!(response.header("cache-control"), Some("no-store"));
        let text = response.text();
        for line in [
            "xspace_plays_total 1",
            "xspace_downloads_total 0",
            &format!("xspace_sent_bytes_total {SIZE}"),
            "xspace_requests_total{outcome=\"found\"} 1",
            "xspace_requests_total{outcome=\"none\"} 0",
        ] {
            assert!(text.lines().any(|own| own == line), "{line}: {text}");
        }
        let head = nginx.send(protocol, &Request::head("/metrics"));
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), Some(&*text.len().to_string()));
        let post = nginx.send(protocol, &Request::new("POST", "/metrics"));
        assert_eq!(post.status, 405);
    }
    let response = nginx.get("/status");
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert!(stats_of(&nginx, "/status").get("space").is_none());
    for (space, plays) in [(ID, 1), (OTHER, 0)] {
        let stats = stats_of(&nginx, &format!("/status?space={space}"));
        assert_eq!(number(&stats, "/space/counts/plays"), plays, "{space}");
    }
    for bad in ["", "a.b", "%41", &"x".repeat(129)] {
        assert_eq!(nginx.get(&format!("/status?space={bad}")).status, 400, "{bad}");
    }
}

/// Several workers, none of which disturbs another: sums are exact.
#[test]
fn many_requests_at_once_while_nginx_reloads() {
    const CLIENTS: usize = 8;
    const EACH: usize = 400;
    let site = counting("xspace_listener $arg_who;", "").workers(4).refuse_errors();
    let spaces: Vec<String> = (0..5).map(|n| format!("space-{n}")).collect();
    for (n, space) in (1..).zip(&spaces) {
        site.write(&format!("downloads/{space}.mp3"), bytes(n, 300_000));
    }
    let nginx = site.start();
    let address = nginx.address(Protocol::Http1);
    let sent: u64 = thread::scope(|scope| {
        let run = |client: usize| {
            let spaces = &spaces;
            move || {
                let mut random = Random::new(client as u64);
                let mut sent = 0;
                for _ in 0..EACH {
                    let space = &spaces[random.below(spaces.len())];
                    let who = random.below(6);
                    let (first, len) = (random.below(200_000), 1 + random.below(30_000));
                    let mut connection = RawConnection::open(address);
                    let response = connection.ask(format!(
                        "GET /download/{space}?who={who} HTTP/1.1\r\nHost: localhost\r\n\
                         Range: bytes={first}-{}\r\nConnection: close\r\n\r\n",
                        first + len - 1
                    ));
                    assert_eq!((response.status, response.body.len()), (206, len));
                    sent += len as u64;
                }
                sent
            }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|n| scope.spawn(run(n))).collect();
        while !clients.iter().all(|client| client.is_finished()) {
            nginx.reload();
        }
        clients.into_iter().map(|client| client.join().expect("a client")).sum()
    });
    // Each of six listeners had more than a minute of each space.
    assert_eq!(sums(&nginx, (CLIENTS * EACH) as u64), (30, 0, sent));
}

/// Requests of kept connections while nginx reloads: each is counted once. `XSPACE_TEST_SOAK_REQUESTS`
/// sets how many; with many of them nginx reloads every five seconds.
#[test]
fn totals_of_kept_connections_while_nginx_reloads() {
    const CLIENTS: u64 = 4;
    let count = setting("XSPACE_TEST_SOAK_REQUESTS", 6000) / CLIENTS * CLIENTS;
    let pause = Duration::from_millis(if count > 100_000 { 5000 } else { 100 });
    let site = counting("xspace_listener $arg_who;", "").workers(2).refuse_errors();
    let nginx = site.http("keepalive_requests 1000000;").start();
    let address = nginx.address(Protocol::Http1);
    let began = Instant::now();
    let mut reloads = 0;
    thread::scope(|scope| {
        let run = |client: u64| {
            move || {
                let mut stream = None;
                for n in 0..count / CLIENTS {
                    // A connection that waits is closed at a reload: then nothing was responded.
                    while !ask_kept(
                        address,
                        &mut stream,
                        &format!("{PATH}?who={client}-{}", n % 100),
                    ) {}
                }
            }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(run(client))).collect();
        let mut last = Instant::now();
        while !clients.iter().all(|client| client.is_finished()) {
            if last.elapsed() >= pause {
                nginx.reload();
                reloads += 1;
                last = Instant::now();
            }
            thread::sleep(Duration::from_millis(10));
        }
    });
    println!("{count} requests, {reloads} reloads, {:.1} s", began.elapsed().as_secs_f64());
    // A minute is 100,000 bytes: of 1000 bytes each, the hundredth request is the play.
    let each = count / CLIENTS / 100;
    let plays = if each >= 100 { CLIENTS * 100 } else { 0 };
    assert_eq!(sums(&nginx, count), (plays, 0, 1000 * count));
    assert!(reloads > 0);
}

/// Asks for 1000 bytes on a connection that is kept. `false` if it was closed before the response.
fn ask_kept(address: SocketAddr, stream: &mut Option<TcpStream>, path: &str) -> bool {
    let mut kept = stream.take().unwrap_or_else(|| {
        let kept = TcpStream::connect(address).expect("a connection");
        kept.set_nodelay(true).expect("a connection");
        kept
    });
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-999\r\n\r\n");
    let (mut response, mut buffer) = (Vec::new(), [0; 4096]);
    if kept.write_all(request.as_bytes()).is_err() {
        return false;
    }
    loop {
        let len = match kept.read(&mut buffer) {
            Ok(len) if len > 0 => len,
            _ if response.is_empty() => return false,
            end => panic!("{end:?} in a response: {}", String::from_utf8_lossy(&response)),
        };
        response.extend_from_slice(&buffer[..len]);
        let header = response.windows(4).position(|end| end == b"\r\n\r\n");
        if header.is_some_and(|at| response.len() >= at + 4 + 1000) {
            assert!(
                response.starts_with(b"HTTP/1.1 206 "),
                "{}",
                String::from_utf8_lossy(&response)
            );
            let text = String::from_utf8_lossy(&response);
            if !text.contains("\r\nConnection: close\r\n") {
                *stream = Some(kept);
            }
            return true;
        }
    }
}

/// A worker that is killed takes nothing with it but the requests that it had.
#[test]
fn workers_are_killed() {
    let site = counting("xspace_listener $arg_who;", "")
        .workers(2)
        .allow("exited on signal 9")
        .allow("worker process");
    let nginx = site.start();
    let (mut done, mut lost) = (0, 0);
    let mut random = Random::new(1);
    let end = Instant::now() + Duration::from_secs(setting("XSPACE_TEST_FAULT_SECONDS", 0));
    let mut rounds = 0;
    while rounds < 12 || Instant::now() < end {
        let round = rounds;
        rounds += 1;
        let victim = nginx.wait_worker();
        let address = nginx.address(Protocol::Http1);
        let ask = |who: usize| {
            let request = format!(
                "GET {PATH}?who={who} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            );
            let mut response = Vec::new();
            // Any of this may fail: its worker may be dead.
            let asked = TcpStream::connect(address).and_then(|mut stream| {
                stream.write_all(request.as_bytes())?;
                stream.read_to_end(&mut response)
            });
            asked.is_ok() && response.len() > SIZE
        };
        let answered: Vec<bool> = thread::scope(|scope| {
            let clients: Vec<_> = (0..40)
                .map(|_| {
                    let who = random.below(9);
                    scope.spawn(move || ask(who))
                })
                .collect();
            nginx.signal_worker(victim, libc::SIGKILL);
            clients.into_iter().map(|client| client.join().expect("a client")).collect()
        });
        done += answered.iter().filter(|&&is_done| is_done).count() as u64;
        lost += answered.iter().filter(|&&is_done| !is_done).count() as u64;
        nginx.wait_gone(victim);
        assert!(poll(|| nginx.workers().len() == 2), "round {round}: no new worker");
    }
    let mut last = Value::Null;
    // A client may have all of a response whose worker was killed before it was counted.
    let is_counted = poll(|| {
        last = stats_of(&nginx, &format!("/status?space={ID}"));
        requests(&last) + rounds * 40 >= done
    });
    let counted = requests(&last);
    assert!(is_counted && counted <= done + lost, "{counted} of {done} and {lost}: {last}");
    assert_eq!(number(&last, "/plays"), 9, "{last}");
    assert_eq!(number(&last, "/plays"), number(&last, "/space/counts/plays"), "{last}");
    // Nobody waits for what a killed worker had.
    assert_recording(&nginx.get(&format!("{PATH}?who=new")), "after all");
    assert!(poll(|| number(&stats_of(&nginx, "/status"), "/plays") == 10));
}

/// Entries are those of the newest reading; the time tells when the file was seen to be good.
#[test]
fn the_health_of_catalogs() {
    if !build().require("preload") || !build().require("threads") {
        return;
    }
    let site = counting("xspace_catalog {dir}/first.json refresh=50ms;", "")
        .server(
            "location ^~ /second/ {
                 xspace_download /downloads/; xspace_catalog {dir}/second.json refresh=50ms;
             }",
        )
        .workers(3)
        .file("first.json", r#"{"a": "a.mp3", "b": {"status": 7}, "c": "c.mp3"}"#)
        .file("second.json", "{}");
    let (preload, site) = Preload::new(site);
    let nginx = site.start();
    let path = |name: &str| nginx.dir().join(name).display().to_string();
    let (first, second) = (path("first.json"), path("second.json"));
    let value = |metric: &str, catalog: &str| {
        let value = stats_of(&nginx, "/status")[metric][catalog].as_u64();
        value.unwrap_or_else(|| panic!("no {metric} of {catalog}"))
    };
    let time = |catalog: &str| value("catalog_last_success_timestamp_seconds", catalog);
    // Until each worker has begun it is 0.
    assert!(poll(|| time(&first) > 0 && time(&second) > 0));
    assert_eq!(value("catalog_entries", &first), 2);
    assert_eq!(value("catalog_unusable_entries", &first), 1);
    assert_eq!(value("catalog_entries", &second), 0);
    let start = time(&first).min(time(&second));
    assert!(start > 1_700_000_000, "{start}");

    preload.set_clock_offset(1000);
    assert!(poll(|| time(&first) >= start + 1000), "found unchanged by all workers");
    nginx.site().replace("first.json", "{");
    nginx.wait_errors(&["[error]", "first.json", "not reloaded"], 3);
    preload.set_clock_offset(2000);
    assert!(poll(|| time(&second) >= start + 2000));
    preload.set_clock_offset(3000);
    // Each worker has looked at the first one, too, at the same intervals.
    assert!(poll(|| time(&second) >= start + 3000));
    assert!(time(&first) < start + 2000, "the file is bad: {} and {start}", time(&first));
    assert_eq!(value("catalog_entries", &first), 2, "the previous version");

    nginx.site().replace("first.json", r#"{"a": "a.mp3"}"#);
    assert!(poll(|| value("catalog_entries", &first) == 1 && time(&first) >= start + 3000));
    assert_eq!(value("catalog_unusable_entries", &first), 0);
    let metrics = nginx.get("/metrics").text();
    let line = format!("xspace_catalog_entries{{catalog=\"{first}\"}} 1");
    assert!(metrics.lines().any(|own| own == line), "{metrics}");
}

/// The table of spaces is walked through in steps, during which the client may leave.
#[test]
fn the_spaces_with_the_most_plays() {
    for (size, what) in [("1m", "one step"), ("48m", "many steps")] {
        let site = Site::with_directives("xspace_listener $arg_who;", "limit_rate 0;")
            .http(&format!("xspace_stats_zone plays:{size}; xspace_stats plays;"))
            .http("xspace_play bytes=1000;")
            .server("location = /status { access_log off; xspace_status json; }")
            .refuse_errors();
        for n in 0..12 {
            site.write(&format!("downloads/space-{n}.mp3"), bytes(n, 1000));
        }
        let nginx = site.start();
        let mut connection = nginx.connect(Protocol::Http1);
        let mut count = 0;
        for n in 0..12 {
            for who in 0..n {
                let path = format!("/download/space-{n}?who={who}");
                assert_eq!(connection.send(&Request::get(&path)).status, 200);
                count += 1;
            }
        }
        stats(&nginx, count);
        let top = |path: &str, protocol| -> Vec<(String, u64)> {
            let response = nginx.send(protocol, &Request::get(path));
            assert_eq!(response.status, 200, "{what}: {response:?}");
            let stats: Value = serde_json::from_str(&response.text()).expect("JSON");
            let listed = stats["top"].as_array().unwrap_or_else(|| panic!("no list: {stats}"));
            let id = |space: &Value| space["id"].as_str().expect("an id").to_owned();
            listed.iter().map(|space| (id(space), number(space, "/counts/plays"))).collect()
        };
        let expected = |limit: u64| {
            (0..limit).map(|n| (format!("space-{}", 11 - n), 11 - n)).collect::<Vec<_>>()
        };
        for protocol in nginx.protocols() {
            // Each limit is walked for anew, and then once more from what was found.
            for limit in [1, 3, 10, 3] {
                let path = format!("/status?top={limit}");
                assert_eq!(top(&path, protocol), expected(limit), "{what}, {protocol:?}, {limit}");
            }
            assert_eq!(top("/status?top=1000", protocol).len(), 11, "{what}, {protocol:?}");
            let head = nginx.send(protocol, &Request::head("/status?top=7"));
            assert_eq!((head.status, head.body.len()), (200, 0), "{what}, {protocol:?}");
        }
        for bad in ["0", "1001", "", "x", "-1", "99999999999999999999"] {
            assert_eq!(nginx.get(&format!("/status?top={bad}")).status, 400, "{what}, {bad}");
        }
        assert!(!nginx.get("/status").text().contains("\"top\""), "{what}");
        // Many at once, of which some leave.
        thread::scope(|scope| {
            for client in 0..20_u64 {
                let (nginx, top) = (&nginx, &top);
                scope.spawn(move || {
                    for round in 0..10 {
                        let path = format!("/status?top={}", 20 + client * 10 + round);
                        if client % 2 == 0 {
                            assert_eq!(top(&path, Protocol::Http1).len(), 11, "{what}");
                        } else {
                            let mut connection = nginx.raw();
                            connection.write(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
                            connection.reset();
                        }
                    }
                });
            }
        });
        for protocol in nginx.protocols() {
            let request = Request::get("/status?top=999");
            (0..10).for_each(|_| nginx.connect(protocol).start(request.clone()).leave());
            assert_eq!(top("/status?top=2", protocol), expected(2), "{what}");
        }
    }
}

#[test]
fn how_long_lookups_take() {
    if !build().require("http_proxy") {
        return;
    }
    let application = Application::start(|asked| match asked.argument("id") {
        Some(OTHER) => Reply::status(204).delay(Duration::from_millis(600)),
        _ => Reply::status(204),
    });
    let nginx = counting("xspace_lookup /_space;", "")
        .server(&format!(
            "location = /_space {{ internal; proxy_pass http://{}; }}",
            application.address()
        ))
        .file(&format!("downloads/{OTHER}.mp3"), recording())
        .start();
    let value =
        |stats: &Value, name: &str| number(stats, &format!("/lookup_duration_seconds/{name}"));
    for count in 1..=5 {
        assert_recording(&nginx.get(PATH), "found");
        let stats = stats(&nginx, count);
        assert_eq!((value(&stats, "count"), value(&stats, "buckets/+Inf")), (count, count));
    }
    let before = value(&stats(&nginx, 5), "buckets/0.5");
    assert_eq!(nginx.get(&format!("/download/{OTHER}")).status, 200);
    let after = stats(&nginx, 6);
    assert_eq!((value(&after, "count"), value(&after, "buckets/0.5")), (6, before), "{after}");
    let sum = after["lookup_duration_seconds"]["sum"].as_f64().expect("a number");
    assert!(sum >= 0.5, "{after}");
    // Answered before a lookup is sent.
    assert_eq!(nginx.get("/download/a.b.c").status, 404);
    assert_eq!(value(&stats(&nginx, 7), "count"), 6);
}

/// Several requests of one connection are told apart, also with TLS.
#[test]
fn connections_that_are_kept() {
    let nginx = counting("xspace_listener $arg_who;", "").start();
    let (mut count, mut sent) = (0, 0);
    for protocol in nginx.protocols() {
        let mut connection = nginx.connect(protocol);
        for n in 0..20 {
            let len = 1 + 997 * n;
            let path = format!("{PATH}?who={protocol:?}{}", n % 4);
            let range = format!("bytes={n}-{}", n + len - 1);
            let response = connection.send(&Request::get(&path).range(&range));
            assert_eq!((response.status, response.body.len()), (206, len));
            count += 1;
            sent += len as u64;
        }
        if protocol != Protocol::Http1 {
            let path = |n| format!("{PATH}?who={protocol:?}{n}");
            let requests: Vec<Request> = (0..30).map(|n| Request::get(&path(n))).collect();
            for response in connection.send_all(&requests) {
                assert_recording(&response, "many streams");
                count += 1;
                sent += SIZE as u64;
            }
        }
        assert_eq!(sums(&nginx, count).2, sent, "{protocol:?}");
    }
    if build().require("http_ssl") {
        let address = nginx.address(Protocol::Http2);
        let output = Command::new("curl")
            .args(["-s", "-k", "--http1.1", "--range", "5-70004", "--range", "5-70004"])
            .args([format!("https://{address}{PATH}?who=tls"), format!("https://{address}{PATH}")])
            .output()
            .expect("curl can be run");
        assert_eq!(output.stdout.len(), 140_000, "{output:?}");
        assert_eq!(sums(&nginx, count + 2).2, sent + 140_000, "TLS");
    }
}

/// A zone that is full goes on counting, and tells what it could not remember.
#[test]
fn a_zone_that_is_full() {
    const SPACES: usize = 120;
    let site = Site::with_directives("xspace_listener $arg_who;", "limit_rate 0;")
        .http("xspace_stats_zone plays:32k listeners=8; xspace_stats plays;")
        .http("xspace_play bytes=1000;")
        .server("location = /status { access_log off; xspace_status json; }")
        .refuse_errors();
    for n in 0..SPACES {
        site.write(&format!("downloads/space-{n}.mp3"), bytes(n as u64, 1000));
    }
    let nginx = site.start();
    let mut connection = nginx.connect(Protocol::Http1);
    let mut ask = |space: usize, who: usize, range: &str| {
        let path = format!("/download/space-{space}?who={who}");
        let response = connection.send(&Request::get(&path).range(range));
        assert_eq!(response.status, 206, "{response:?}");
    };
    // Eight listeners have a play, and are not forgotten for others.
    for who in 0..8 {
        ask(0, who, "bytes=0-999");
    }
    assert_eq!(sums(&nginx, 8).0, 8);
    for who in 100..140 {
        ask(0, who, "bytes=0-499");
    }
    for who in 0..8 {
        ask(0, who, "bytes=0-999");
    }
    let counted = stats(&nginx, 56);
    assert_eq!(number(&counted, "/plays"), 8, "{counted}");
    assert_eq!(number(&counted, "/listeners_discarded"), 40, "{counted}");
    for space in 1..SPACES {
        ask(space, 0, "bytes=0-999");
    }
    let count = 56 + SPACES as u64 - 1;
    let counted = stats(&nginx, count);
    let limit = number(&counted, "/spaces_limit");
    assert!((5..SPACES as u64).contains(&limit), "{counted}");
    assert_eq!(number(&counted, "/spaces"), limit, "{counted}");
    let others = SPACES as u64 - limit;
    assert_eq!(number(&counted, "/spaces_discarded"), others, "{counted}");
    assert_eq!(number(&counted, "/other/plays"), others, "judged by itself: {counted}");
    assert_eq!(number(&counted, "/other/sent_bytes"), 1000 * others, "{counted}");
    assert_eq!(number(&counted, "/plays"), 8 + SPACES as u64 - 1, "{counted}");
}

/// The new master has a zone of its own, and the old one goes on with its own.
#[test]
fn a_binary_upgrade_begins_anew() {
    let mut nginx = counting("", "").daemon().start();
    assert_recording(&nginx.get(PATH), "a play");
    assert_eq!(sums(&nginx, 1), (1, 0, SIZE as u64));
    nginx.upgrade();
    assert_eq!(sums(&nginx, 0), (0, 0, 0));
    assert_recording(&nginx.get(PATH), "a play");
    assert_eq!(sums(&nginx, 1), (1, 0, SIZE as u64));
}

#[test]
fn one_process() {
    let nginx = counting("", "").single().start();
    for count in 1..4 {
        assert_recording(&nginx.get(PATH), "served");
        assert_eq!(sums(&nginx, count), (1, 0, count * SIZE as u64));
    }
}

/// Links that were refused, by reason. One that another module has let in was not.
#[cfg(feature = "links")]
#[test]
fn links_that_were_refused() {
    let key = LinkKey::new("k1");
    let site = counting("xspace_link $arg_token; xspace_link_keys keys;", "")
        .server(
            "location ^~ /any/ {
                 xspace_download /downloads/; xspace_link $arg_token; xspace_link_keys keys;
                 satisfy any; allow all;
             }",
        )
        .file("keys", key.line());
    site.chmod("keys", 0o600);
    let nginx = site.start();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let soon = now.expect("after 1970").as_secs() + 600;
    let any = ["-", "-", "-"];
    let other = LinkKey::new("k2");
    let rows = [
        (PATH.to_owned(), 403, "missing"),
        (format!("{PATH}?token=x"), 403, "bad"),
        (format!("{PATH}?token={}", key.token(OTHER, soon, any)), 403, "bad"),
        (format!("{PATH}?token={}", other.token(ID, soon, any)), 403, "key"),
        (format!("{PATH}?token={}", key.token(ID, 1, any)), 403, "expired"),
        (format!("{PATH}?token={}", key.token(ID, soon, ["-", "-", "0a0000"])), 403, "address"),
        (format!("{PATH}?token={}", key.token(ID, soon, ["wav", "-", "-"])), 403, "format"),
        (format!("{PATH}?token={}", key.token(ID, soon, any)), 200, ""),
        (format!("/any/{ID}"), 200, ""),
    ];
    let mut expected = std::collections::BTreeMap::<&str, u64>::new();
    for (count, (path, status, reason)) in (1..).zip(rows) {
        assert_eq!(nginx.get(&path).status, status, "{path}");
        if !reason.is_empty() {
            *expected.entry(reason).or_default() += 1;
        }
        let stats = stats(&nginx, count);
        for reason in ["missing", "bad", "key", "expired", "address", "format"] {
            let counted = number(&stats, &format!("/link_refused/{reason}"));
            assert_eq!(counted, expected.get(reason).copied().unwrap_or(0), "{path}: {stats}");
        }
    }
    let metrics = nginx.get("/metrics").text();
    let line = "xspace_link_refused_total{reason=\"bad\"} 2";
    assert!(metrics.lines().any(|own| own == line), "{metrics}");
}

/// Each allocation of a page fails once: it is 500, and the worker goes on.
#[test]
fn pages_without_memory() {
    if !build().require("preload") {
        return;
    }
    let site = counting("xspace_catalog {dir}/spaces.json;", "")
        .file("spaces.json", "{}")
        .server("request_pool_size 128;")
        .http("xspace_stats_zone large:48m;")
        .server("location = /large { xspace_status json zone=large; }");
    let (preload, site) = Preload::new(site);
    let nginx = site.allow("(12: Cannot allocate memory)").allow("no memory").start();
    assert_recording(&nginx.get(PATH), "a play");
    let workers = nginx.workers();
    for (at, path) in
        ["/metrics", "/status?space=x", "/status?top=N", "/large?top=N"].iter().enumerate()
    {
        let mut asked = 10 * at;
        let mut ask = || {
            // Each limit is searched for anew.
            asked += 1;
            let path = path.replace('N', &(asked % 1000 + 1).to_string());
            let mut connection = nginx.raw();
            connection
                .write(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
            String::from_utf8_lossy(&connection.read_whatever_comes()).into_owned()
        };
        assert!(ask().starts_with("HTTP/1.1 200 "), "{path}");
        let (mut failed, mut answered) = (0, 0);
        for number in 1.. {
            let before = preload.failures();
            preload.fail_allocation(number);
            let answer = ask();
            if preload.failures() == before {
                preload.fail_allocation(0);
                break;
            }
            failed += 1;
            let is_error = answer.starts_with("HTTP/1.1 500 ");
            answered += u64::from(is_error);
            let is_fine = answer.is_empty() || is_error || answer.starts_with("HTTP/1.1 200 ");
            assert!(is_fine, "{path}, allocation {number}: {answer}");
            assert_eq!(nginx.workers(), workers, "{path}, allocation {number}");
        }
        assert!(ask().starts_with("HTTP/1.1 200 "), "{path}, afterwards");
        assert!(failed > 3 && answered > 1, "{path}: {failed} failed, {answered} answered");
    }
}
