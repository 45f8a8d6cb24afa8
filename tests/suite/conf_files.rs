//! Every file of nginx-conf/ is accepted by `nginx -t`, and does what it says.
//!
//! The first line of each tells the features of NGINX that it is for: `# nginx: any` or
//! `# nginx: http_v3`. Of those with `# nginx: include`, `NAME-http.conf` is included in `http`, and
//! `NAME.conf` in a server that passes all else to an application.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use xspace_tests::{
    Application, LinkKey, Nginx, Program, Protocol, Reply, Request, Site, StoreKey, build, bytes,
    lmdb_entries, lmdb_load, poll, project_dir, same_bytes,
};

use crate::common::{
    FILE, Hangs, ID, MISSING, MISSING_PATH, PATH, only_for_workers, with_hanging_file,
};
use crate::plays;

/// Long enough for every xspace_min_size in the files.
pub const LONG: usize = 1_200_000;

/// Names and texts of the files.
fn conf_files() -> Vec<(String, String)> {
    let dir = project_dir().join("nginx-conf");
    let mut files: Vec<(String, String)> = fs::read_dir(&dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("UTF-8 text"))
        })
        .collect();
    let (included, mut files): (Vec<_>, Vec<_>) =
        files.drain(..).partition(|(_, text)| text.starts_with("# nginx: include\n"));
    for (name, http) in &included {
        let Some(stem) = name.strip_suffix("-http.conf") else { continue };
        let server = included.iter().find(|(name, _)| *name == format!("{stem}.conf"));
        let (name, server) = server.unwrap_or_else(|| panic!("{name} stands alone"));
        files.push((name.clone(), around(http, server)));
    }
    assert_eq!(included.len() % 2, 0, "{included:?}");
    files.sort();
    assert!(files.len() >= 6, "{files:?}");
    files
}

/// The configuration of an operator that includes these.
fn around(http: &str, server: &str) -> String {
    let server = server.replace('\n', "\n        ");
    format!(
        "# nginx: any
load_module modules/ngx_http_xspace_module.so;
events {{
}}
http {{
    access_log /var/log/nginx/access.log combined;
    add_header X-Frame-Options SAMEORIGIN;
{http}
    server {{
        listen 80;
        {server}
        location / {{
            proxy_pass http://127.0.0.1:8080;
        }}
    }}
}}
"
    )
}

/// The catalog of files that name one; all tests but those of it ask for other spaces.
const CATALOG: &str = r#"{
    "titled": { "title": "Rust in production", "files": ["2025/06/titled.mp3"] },
    "gone": { "status": 410 }
}"#;

/// Whether this nginx has what the file needs; says so if not.
fn is_for_this_nginx(name: &str, text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    let features = first
        .strip_prefix("# nginx: ")
        .unwrap_or_else(|| panic!("{name} does not begin with \"# nginx: \""));
    features.split_whitespace().all(|feature| match feature {
        "any" => true,
        // Of the module.
        "links" => cfg!(feature = "links"),
        "lmdb" => cfg!(feature = "lmdb"),
        "s3" => cfg!(feature = "s3"),
        _ => build().require(feature),
    })
}

/// The text of a file.
pub fn conf_file(name: &str) -> String {
    let files = conf_files().into_iter();
    let text = files.filter(|(file, _)| file == name).map(|(_, text)| text).next();
    text.unwrap_or_else(|| panic!("there is no {name}"))
}

/// The site of a file: its paths, ports and addresses are those of the test.
pub fn site(name: &str, text: &str) -> Site {
    const LOAD: &str = "load_module modules/ngx_http_xspace_module.so;";
    // In front of nginx with the module.
    let has_directives = text.lines().any(|line| line.trim_start().starts_with("xspace_"));
    assert!(text.contains(LOAD) || !has_directives, "{name} does not load the module");
    let text = text
        .replace(LOAD, "{load_module}")
        .replace("/srv/xspace/", "{dir}/srv/")
        .replace("/var/log/nginx/", "{dir}/srv/log/")
        .replace("/etc/ssl/xspace/fullchain.pem", "{dir}/cert.pem")
        .replace("/etc/ssl/xspace/privkey.pem", "{dir}/key.pem")
        .replace(" listen 80;", " listen 127.0.0.1:{port};")
        .replace(" listen 443 ", " listen 127.0.0.1:{tls} ")
        // The test has a block of these of its own, and may not raise its limits.
        .replace("\nworker_processes auto;\n", "\n")
        .replace("\nworker_rlimit_nofile 65536;\n", "\n")
        .replace(" worker_connections 60000;", " worker_connections 512;")
        // Tests fetch more than the beginning, and do not wait for it.
        .replace("limit_rate_after 512k;", "limit_rate_after 100m;")
        .replace("127.0.0.1:8080", "127.0.0.1:{other}")
        .replace("s3.eu-west-1.amazonaws.com:443", "127.0.0.1:{tls}")
        .replace("/etc/ssl/certs/ca-certificates.crt", "{dir}/cert.pem")
        .replace("127.0.0.1:11211", "unix:{dir}/memcached.sock");
    let main = "{user} daemon off; worker_processes 1; pid {dir}/nginx.pid;
                lock_file {dir}/nginx.lock; error_log {dir}/error.log info;";
    let http = "http {
                {temp_paths} access_log {dir}/access.log;
                server {
                    listen 127.0.0.1:{other};
                    location / { return 200 \"app: $request_uri\"; }
                    location = /lookup { return 204; }
                    location = /auth { return 204; }
                }";
    let site = Site::new()
        .whole(&format!("{main}\n{}", text.replacen("\nhttp {", &format!("\n{http}"), 1)));
    site.write_certificate();
    site.make_dir("srv/log");
    site.make_dir("srv/downloads");
    site.write("srv/catalog.json", CATALOG);
    if text.contains(" lmdb:") {
        let gone = ("gone", "{\"status\": 410}");
        let titled = "{\"title\": \"Rust in production\", \"files\": [\"2025/06/titled.mp3\"]}";
        lmdb_load(&site.dir().join("srv/catalog"), 1 << 20, [gone, ("titled", titled)]);
    }
    site.write("srv/links.keys", LinkKey::new("k1").line());
    site.chmod("srv/links.keys", 0o600);
    site.write("srv/s3.credentials", StoreKey::new("AKIDEXAMPLE").file());
    only_for_workers(&site, "srv/s3.credentials");
    site.file(&format!("srv/{FILE}"), bytes(1, LONG))
}

fn start(name: &str) -> Option<Nginx> {
    let text = conf_file(name);
    is_for_this_nginx(name, &text).then(|| site(name, &text).start())
}

#[test]
fn each_is_accepted_without_a_warning() {
    let mut tried = 0;
    for (name, text) in conf_files() {
        if !is_for_this_nginx(&name, &text) {
            continue;
        }
        let checked = site(&name, &text).check();
        assert!(checked.ok, "{name}: {}", checked.output);
        let warning = checked.output.lines().find(|line| {
            // A file for older versions has to write it in the old way.
            line.contains("[warn]")
                && !line.contains("\"listen ... http2\" directive is deprecated")
        });
        assert_eq!(warning, None, "{name}");
        tried += 1;
    }
    assert!(tried >= 5, "only {tried} files are for this nginx");
}

#[test]
fn each_serves_a_recording() {
    for (name, text) in conf_files() {
        if !text.starts_with("# nginx: any") || !text.contains("location ^~ /download/") {
            continue;
        }
        if !text.contains(" listen 80;") || text.contains("return 301") {
            // Only over TLS: tried over all protocols below.
            continue;
        }
        let site = site(&name, &text);
        let _memcached = text
            .contains("memcached_pass")
            .then(|| Program::memcached(&site.dir().join("memcached.sock"), 16));
        let nginx = site.start();
        let response = nginx.get_with(PATH, "Range", "bytes=0-9");
        assert_eq!(response.status, 206, "{name}: {response:?}");
        assert_eq!(response.body, &bytes(1, LONG)[..10], "{name}");
        assert_eq!(response.header("content-type"), Some("audio/mpeg"), "{name}");
        // It can be replaced, and with some be refused: no browser may replay it unasked.
        let said = response.header("cache-control").unwrap_or_default();
        let is_private = said.contains("private");
        assert!(said.contains("no-cache"), "{name}: {response:?}");
        assert_eq!(
            is_private,
            text.contains("lookup /") || text.contains("auth_request /"),
            "{name}"
        );
        let direct = nginx.get(&format!("/downloads/{ID}.mp3"));
        assert!(direct.header("content-disposition").is_none(), "{name}: {direct:?}");
        assert!(direct.body.len() < LONG, "{name}: {direct:?}");
    }
}

#[test]
fn answers_after_auth_request_are_private() {
    let text = conf_file("auth-request.conf");
    for (status, answers) in [(204, [206, 304, 416, 404]), (403, [403; 4]), (401, [401; 4])] {
        let application = Application::always(Reply::status(status));
        let text = text.replace("127.0.0.1:8080", &application.address().to_string());
        let nginx = site("auth-request.conf", &text).start();
        for (request, expected) in [
            Request::get(PATH).range("bytes=0-9"),
            Request::get(PATH).header("If-None-Match", "*"),
            Request::get(PATH).range("bytes=99999999-"),
            Request::get(MISSING_PATH),
        ]
        .iter()
        .zip(answers)
        {
            let response = nginx.send(Protocol::Http1, request);
            assert_eq!(response.status, expected, "{request:?}");
            assert_eq!(response.header("cache-control"), Some("private, no-cache"), "{request:?}");
        }
    }
}

#[test]
fn cors_headers_are_on_every_answer() {
    let Some(nginx) = start("cors.conf") else { return };
    for request in [
        Request::get(PATH),
        Request::get(PATH).range("bytes=0-9"),
        Request::get(PATH).range("bytes=99999999-"),
        Request::get(MISSING_PATH),
        Request::new("OPTIONS", PATH),
    ] {
        let request = request.header("Origin", "https://a.example");
        let response = nginx.send(Protocol::Http1, &request);
        assert_eq!(response.header("access-control-allow-origin"), Some("*"), "{response:?}");
    }
    let response = nginx.get_with(PATH, "Range", "bytes=0-9");
    let exposed = response.header("access-control-expose-headers").expect("exposed headers");
    for name in ["Content-Range", "Accept-Ranges", "Content-Length", "Content-Disposition"] {
        assert!(exposed.contains(name), "{exposed}");
    }
}

#[test]
fn replaced_applications_routes_are_served() {
    const NAME: &str = "replaced-application.conf";
    let text = conf_file(NAME);
    if !is_for_this_nginx(NAME, &text) {
        return;
    }
    let application = Application::start(|asked| {
        Reply::status(302).header("Location", &format!("/app{}", asked.target))
    });
    let text = text.replace("127.0.0.1:8080", &application.address().to_string());
    let nginx = site(NAME, &text).file(&format!("srv/downloads/{ID}.mp4"), bytes(2, LONG)).start();
    for path in [PATH.to_owned(), format!("/spaces/{ID}/download")] {
        // Formats that the old application did not know were ignored.
        for (argument, media_type) in [
            ("", "audio/mpeg"),
            ("?format=mp4", "video/mp4"),
            ("?format=MP4", "video/mp4"),
            ("?format=Audio", "audio/mpeg"),
            ("?format=wav", "audio/mpeg"),
            ("?format=other", "audio/mpeg"),
        ] {
            let response = nginx.get_with(&format!("{path}{argument}"), "Range", "bytes=0-1");
            assert_eq!((response.status, response.body.len()), (206, 2), "{path}{argument}");
            assert_eq!(response.header("content-type"), Some(media_type), "{path}{argument}");
            assert_eq!(response.header("cache-control"), Some("no-cache"), "{path}{argument}");
            assert_eq!(response.header("x-frame-options"), Some("SAMEORIGIN"), "{path}{argument}");
        }
    }
    assert!(application.take_asked().is_empty());
    for path in [MISSING_PATH.to_owned(), format!("/spaces/{MISSING}/download?a=b")] {
        let response = nginx.get_with(&path, "Host", "www.example.com");
        assert_eq!(response.status, 302, "{response:?}");
        let location = response.header("location").expect("a location");
        assert!(location.ends_with(&format!("/app{path}")), "{location}");
        let asked = application.take_only();
        assert_eq!(asked.target, path);
        for (name, value) in [
            ("host", "www.example.com"),
            ("x-real-ip", "127.0.0.1"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
        ] {
            assert_eq!(asked.header(name), Some(value), "{asked:?}");
        }
        // HTTP/1.1: 1.0 would have "Connection: close".
        assert_eq!(asked.header("connection"), None, "{asked:?}");
    }
}

#[test]
fn links_are_renewed_by_the_application_and_not_logged() {
    const NAME: &str = "links.conf";
    let text = conf_file(NAME);
    if !is_for_this_nginx(NAME, &text) {
        return;
    }
    let application = Application::always(Reply::status(302).header("Location", "/login"));
    let text = text.replace("127.0.0.1:8080", &application.address().to_string());
    let nginx = site(NAME, &text).start();
    let (key, any) = (LinkKey::new("k1"), ["-", "user_7", "-"]);
    let good = format!("{PATH}?token={}", key.token(ID, 999_999_999_999, any));
    let expired = format!("{PATH}?token={}", key.token(ID, 1, any));
    let log = |count: usize| {
        let lines = nginx.log_lines("srv/log/access.log", count);
        assert_eq!(lines.len(), count, "{lines:?}");
        assert!(lines.iter().all(|line| line.contains(PATH)), "{lines:?}");
        assert!(lines.iter().all(|line| !line.contains("1.k1.")), "{lines:?}");
        lines.into_iter().next_back().expect("a line")
    };

    // A good link: nothing in front of the recording but nginx.
    let response = nginx.get(&good);
    assert_eq!((response.status, response.body.len()), (200, LONG));
    assert_eq!(response.header("cache-control"), Some("private, no-cache"));
    assert!(log(1).ends_with(" ok user_7"));
    assert!(application.take_asked().is_empty());
    for request in [
        Request::get(&good).range("bytes=0-9"),
        Request::get(&good)
            .header("If-Modified-Since", response.header("last-modified").expect("it")),
        Request::head(&good),
    ] {
        let response = nginx.send(Protocol::Http1, &request);
        assert!([200, 206, 304].contains(&response.status), "{response:?}");
        assert_eq!(response.header("referrer-policy"), Some("no-referrer"), "{response:?}");
    }
    assert_eq!(response.header("referrer-policy"), Some("no-referrer"));

    // Without one the application answers, whatever is the matter, and is told what.
    for (count, path, status) in
        [(5, expired.as_str(), "expired"), (6, PATH, "missing"), (7, &format!("{good}x"), "bad")]
    {
        let response = nginx.get(path);
        assert_eq!(response.status, 302, "{path}: {response:?}");
        assert_eq!(response.header("location"), Some("/login"), "{path}");
        let asked = application.take_only();
        assert_eq!(asked.target, path);
        assert_eq!(asked.header("x-link-status"), Some(status), "{path}");
        assert!(log(count).ends_with(&format!(" {status} -")), "{path}");
    }

    // A session takes the place of the link.
    let cookie = response.header("set-cookie").expect("a session");
    let cookie = cookie.split(';').next().expect("a pair");
    let response = nginx.get_with(&expired, "Cookie", cookie);
    assert_eq!((response.status, response.body.len()), (200, LONG));
    assert!(log(8).ends_with(" session user_7"));
    assert!(application.take_asked().is_empty());

    // No location is selected for this one.
    let malformed = format!("GET {good} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert_eq!(nginx.raw().ask(malformed).status, 400);
    assert!(log(9).contains("\" 400 "));
}

#[test]
fn access_log_has_beginnings() {
    let Some(nginx) = start("access-log.conf") else { return };
    nginx.get(PATH);
    nginx.get_with(PATH, "Range", "bytes=5000-");
    nginx.get_with(PATH, "Range", "bytes=0-1");
    nginx.get_with(PATH, "Range", "bytes=0-");
    nginx.get(MISSING_PATH);
    let lines = nginx.log_lines("srv/log/plays.log", 2);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains(ID)), "{lines:?}");
}

/// Where plays are logged, the target has the log of all requests, too: an `access_log` there replaces
/// that of the outer level. What a player fetches in advance is limited in all of them.
#[test]
fn each_limits_the_rate_and_writes_both_logs() {
    for (name, text) in conf_files() {
        // edges.conf has none: its edges have.
        if !is_for_this_nginx(&name, &text) || !text.contains("xspace_download ") {
            continue;
        }
        let targets = ["downloads/ {\n", "location ^~ /recordings/ {"];
        let target = targets.iter().find_map(|target| Some(text.split_once(target)?.1));
        let target = target.expect("a target");
        let (target, _) = target.split_once("\n        }\n").expect("its end");
        for directive in ["limit_rate_after ", "limit_rate "] {
            let is_there = target.lines().any(|line| line.trim().starts_with(directive));
            assert!(is_there, "{name} has no {directive}");
        }
        if name == "minimal.conf" {
            assert!(!text.contains("access_log /"), "{name} leaves all logs as they are");
            continue;
        }
        let nginx = site(&name, &text).start();
        // links.conf lets nobody in, object-store.conf has a store: s3::the_example.
        if !name.starts_with("links")
            && !name.starts_with("object-store")
            && text.contains(" listen 80;")
            && !text.contains("return 301")
        {
            let path = if text.contains("location ^~ /download/") {
                PATH.to_owned()
            } else {
                format!("/spaces/{ID}/download")
            };
            let _memcached = text
                .contains("memcached_pass")
                .then(|| Program::memcached(&nginx.dir().join("memcached.sock"), 16));
            assert_eq!(nginx.get(&path).status, 200, "{name}");
            assert_eq!(nginx.get_with(&path, "Range", "bytes=5-9").status, 206, "{name}");
            // The application of the test writes to the same log.
            let all = || {
                let log = fs::read_to_string(nginx.dir().join("srv/log/access.log"));
                let log = log.expect("the log");
                log.lines().filter(|line| line.contains(&format!("GET {path} "))).count()
            };
            assert!(poll(|| all() == 2), "{name}: {} lines", all());
            let plays = nginx.log_lines("srv/log/plays.log", 1);
            assert!(plays.len() == 1 && plays[0].contains(ID), "{name}: {plays:?}");
        } else {
            let logs: Vec<&str> =
                target.lines().filter(|line| line.contains("access_log ")).collect();
            assert!(
                logs.len() == 2
                    && !logs[0].contains("if=")
                    && logs[1].contains("if=$xspace_played"),
                "{name}: {logs:?}"
            );
        }
    }
}

/// Another edge takes over for one that does not answer, and not for one whose store does not.
#[test]
fn edges_have_one_front() {
    const NAME: &str = "edges.conf";
    let text = conf_file(NAME);
    if !is_for_this_nginx(NAME, &text) {
        return;
    }
    let edge = Application::start(|asked| match asked.path() {
        "/download/down" => Reply::status(502),
        _ => Reply::new(206, "audio/mpeg", "a range"),
    });
    let address = edge.address().to_string();
    // Nothing listens there.
    let text = text.replace("192.0.2.11:80", "127.0.0.1:1");
    let text = text.replace("192.0.2.12:80", &address).replace("192.0.2.13:80", &address);
    let nginx = site(NAME, &text).start();
    for number in 0..20 {
        let request = Request::get(&format!("/download/id{number}?attachment=1"))
            .range("bytes=5-9")
            .header("If-Range", "\"etag\"")
            .header("X-Forwarded-For", "203.0.113.1")
            .header("Host", "media.example.com");
        let response = nginx.send(Protocol::Http1, &request);
        assert_eq!((response.status, response.text()), (206, "a range".to_owned()));
        let asked = edge.take_only();
        assert_eq!(asked.target, format!("/download/id{number}?attachment=1"));
        for (name, value) in [
            ("range", "bytes=5-9"),
            ("if-range", "\"etag\""),
            ("x-forwarded-for", "127.0.0.1"),
            ("host", "media.example.com"),
        ] {
            assert_eq!(asked.header(name), Some(value), "{asked:?}");
        }
    }
    nginx.wait_error(&["connect() failed", "127.0.0.1:1"]);
    assert_eq!(nginx.get("/download/down").status, 502);
    edge.take_only();
    assert_eq!(nginx.get("/download/id0").status, 206, "the edge is not disabled");
}

/// Neither request has a minute of the recording; both together have.
#[test]
fn counting_counts_plays() {
    let Some(nginx) = start("counting.conf") else { return };
    let ranges = ["bytes=0-499999", "bytes=500000-999999", "bytes=0-9"];
    for (count, range) in (1..).zip(ranges) {
        assert_eq!(nginx.get_with(PATH, "Range", range).status, 206, "{range}");
        assert_eq!(plays::sums(&nginx, count).0, u64::from(count >= 2), "{range}");
    }
    let lines = nginx.log_lines("srv/log/plays.log", 1);
    assert!(lines.len() == 1 && lines[0].contains(ID), "{lines:?}");
    assert_eq!(nginx.log_lines("srv/log/access.log", 3).len(), 3);
    assert!(nginx.get("/metrics").text().contains("xspace_plays_total 1\n"));
    let top = nginx.get("/status?top=20").text();
    assert!(top.contains(&format!("\"top\":[{{\"id\":\"{ID}\",")), "{top}");
}

#[test]
fn encrypted_protocols_are_served() {
    for (name, protocols) in [
        ("https-http2.conf", &[Protocol::Http2][..]),
        ("https-http2-http3.conf", &[Protocol::Http2, Protocol::Http3]),
        ("high-traffic.conf", &[Protocol::Http2, Protocol::Http3]),
    ] {
        let Some(nginx) = start(name) else { continue };
        for protocol in protocols {
            let response = nginx.send(*protocol, &Request::get(PATH));
            assert_eq!(response.status, 200, "{name} {protocol:?}");
            same_bytes(&response.body, &bytes(1, LONG), name);
        }
    }
}

/// What stands behind `# ` for some machines only is accepted, too.
#[test]
fn high_traffic_can_have_what_only_some_machines_need() {
    const NAME: &str = "high-traffic.conf";
    let mut text = conf_file(NAME);
    if !is_for_this_nginx(NAME, &text) {
        return;
    }
    for line in ["ssl_conf_command Options KTLS;", "aio threads;"] {
        assert!(text.contains(&format!("# {line}")), "{line}");
        text = text.replace(&format!("# {line}"), line);
    }
    let nginx = site(NAME, &text).start();
    let response = nginx.send(Protocol::Http2, &Request::get(PATH));
    same_bytes(&response.body, &bytes(1, LONG), NAME);
}

/// A disk that is slower than the network holds up those who wait for it, and nobody else.
#[test]
fn high_traffic_with_threads_waits_for_no_disk() {
    const NAME: &str = "high-traffic.conf";
    const GATE: &str = "srv/downloads/slow.mp3.hang";
    let text = conf_file(NAME);
    if !is_for_this_nginx(NAME, &text) || !build().require("preload") {
        return;
    }
    let text = text.replace("# aio threads;", "aio threads;");
    let site = site(NAME, &text).file("srv/downloads/slow.mp3", bytes(2, LONG));
    let site = with_hanging_file(site, "srv/downloads/slow.mp3", Hangs::From(0));
    let gate = site.write(GATE, "");
    site.chmod(GATE, 0o666);
    let nginx = site.start();
    let slow = nginx.connect(Protocol::Http2).start(Request::get("/download/slow"));
    assert!(poll(|| fs::metadata(&gate).expect("the gate").len() > 0), "nobody reads");
    let response = nginx.send(Protocol::Http2, &Request::get(PATH));
    same_bytes(&response.body, &bytes(1, LONG), NAME);
    fs::remove_file(gate).expect("the disk is fast again");
    let response = nginx.send(Protocol::Http2, &Request::get("/download/slow"));
    same_bytes(&response.body, &bytes(2, LONG), NAME);
    slow.leave();
}

/// Requests count while they go on, not from when they began: who seeks has the place of the request
/// that is not wanted any more.
#[test]
fn high_traffic_limits_requests_at_a_time() {
    const NAME: &str = "high-traffic.conf";
    const LIMIT: &str = "limit_conn per_address 200;";
    let text = conf_file(NAME);
    if !is_for_this_nginx(NAME, &text) {
        return;
    }
    assert!(text.contains(LIMIT));
    let text = text
        .replace(LIMIT, "limit_conn per_address 2;")
        .replace("limit_rate_after 512k;", "limit_rate_after 1;")
        .replace("limit_rate $rate;", "limit_rate 1k;");
    let nginx = site(NAME, &text).start();
    let probe = Request::get(PATH).range("bytes=0-9");
    let status = || nginx.send(Protocol::Http2, &probe).status;
    let connection = nginx.connect(Protocol::Http2);
    let first = connection.share().start(Request::get(PATH));
    assert_eq!(status(), 206);
    let second = connection.share().start(Request::get(PATH).range("bytes=500000-"));
    assert!(poll(|| status() == 429), "a third one");
    first.leave();
    assert!(poll(|| status() == 206), "a seek");
    second.leave();
}

/// What the file says of fields that both locations inherit.
#[test]
fn fields_of_the_server_are_kept_beside_those_of_a_location() {
    const NAME: &str = "https-http2-http3.conf";
    const MERGE: &str = "# add_header_inherit merge;";
    let text = conf_file(NAME);
    if !is_for_this_nginx(NAME, &text) || !build().require("add_header_inherit") {
        return;
    }
    let text = text.replace("expires -1;", "expires -1; add_header X-Own yes;");
    for (text, is_kept) in [(text.replace(MERGE, &MERGE[2..]), true), (text, false)] {
        let nginx = site(NAME, &text).start();
        let response = nginx.send(Protocol::Http2, &Request::get(PATH));
        assert_eq!(response.header("x-own"), Some("yes"));
        assert_eq!(response.header("alt-svc").is_some(), is_kept);
    }
}

#[test]
fn catalog_names_files_and_answers_for_those_that_are_gone() {
    for name in ["catalog.conf", "catalog-lmdb.conf"] {
        let Some(nginx) = start(name) else { continue };
        nginx.site().write("srv/downloads/2025/06/titled.mp3", "titled");
        let response = nginx.get("/download/titled");
        assert_eq!(response.text(), "titled", "{name}");
        assert_eq!(
            response.header("content-disposition"),
            Some("inline; filename=\"Rust-in-production_titled.mp3\""),
            "{name}"
        );
        assert_eq!(nginx.get("/download/gone").status, 410, "{name}");
        assert_eq!(nginx.get(PATH).body.len(), LONG, "{name}: by the directory");
    }
}

/// A database as the query in catalog-from-sqlite expects it.
const DATABASE: &str = r#"
    CREATE TABLE spaces (space_id TEXT PRIMARY KEY, title TEXT, removed INTEGER DEFAULT 0);
    CREATE TABLE files (space_id TEXT, path TEXT);
    INSERT INTO spaces (space_id, title) VALUES ('titled', 'Gespräch "Rust" \ 100%');
    INSERT INTO spaces (space_id, title) VALUES ('untitled', NULL);
    INSERT INTO spaces (space_id, title) VALUES ('lines', 'a' || char(13, 10) || 'b');
    INSERT INTO spaces (space_id, title, removed) VALUES ('removed', 'Gone', 1);
    INSERT INTO spaces (space_id, title) VALUES ('by-id', 'No file');
    INSERT INTO files VALUES ('titled', '2025/a "b" \ 100%.mp3'), ('titled', '2025/c.mp4');
    INSERT INTO files VALUES ('untitled', 'd.mp3'), ('lines', 'd.mp3');"#;

fn sqlite(database: &Path, text: &str) {
    let done = Command::new("sqlite3").arg(database).arg(text).status();
    assert!(done.expect("sqlite3 can be run").success(), "{text}");
}

fn write_catalog(database: &Path, catalog: impl AsRef<OsStr>) -> bool {
    let script = project_dir().join("nginx-conf/catalog-from-sqlite");
    let output = Command::new(script).arg(database).arg(catalog).output();
    output.expect("bash can be run").status.success()
}

#[test]
fn catalog_from_a_database_is_taken() {
    for name in ["catalog.conf", "catalog-lmdb.conf"] {
        let Some(nginx) = start(name) else { continue };
        takes_catalog(&nginx, name == "catalog-lmdb.conf");
    }
}

fn takes_catalog(nginx: &Nginx, is_lmdb: bool) {
    let site = nginx.site();
    for (file, text) in [
        (r#"2025/a "b" \ 100%.mp3"#, "odd"),
        ("2025/c.mp4", "video"),
        ("d.mp3", "d"),
        ("by-id.mp3", "by id"),
    ] {
        site.write(&format!("srv/downloads/{file}"), text);
    }
    let database = site.dir().join("spaces.db");
    sqlite(&database, DATABASE);
    if is_lmdb {
        let catalog = format!("lmdb:{}", site.dir().join("srv/catalog").display());
        assert!(write_catalog(&database, catalog));
    } else {
        assert!(write_catalog(&database, site.dir().join("srv/catalog.json")));
        nginx.reload();
    }
    for (path, status, text) in [
        ("gone", 404, ""),
        ("titled", 200, "odd"),
        ("titled.mp4", 200, "video"),
        ("untitled", 200, "d"),
        ("lines", 200, "d"),
        ("by-id", 200, "by id"),
        ("removed", 410, ""),
    ] {
        let response = nginx.get(&format!("/download/{path}"));
        assert_eq!(response.status, status, "{path}: {response:?}");
        assert!(status != 200 || response.text() == text, "{path}: {response:?}");
    }
}

#[test]
fn database_that_cannot_be_read_leaves_the_catalog() {
    let site = Site::new().file("catalog.json", CATALOG);
    let catalog = site.dir().join("catalog.json");
    let database = site.dir().join("spaces.db");
    sqlite(&database, DATABASE);
    sqlite(&database, "DROP TABLE files");
    assert!(!write_catalog(&database, &catalog), "no such table");
    assert!(!write_catalog(&site.dir().join("none.db"), &catalog), "no such database");
    lmdb_load(&site.dir().join("db"), 1 << 20, [("gone", "{\"status\": 410}")]);
    let lmdb = format!("lmdb:{}", site.dir().join("db").display());
    assert!(!write_catalog(&database, &lmdb), "no such table");
    assert_eq!(lmdb_entries(&site.dir().join("db")).len(), 1);
    assert_eq!(fs::read_to_string(&catalog).expect("the catalog"), CATALOG);
    let left = fs::read_dir(site.dir()).expect("a directory").flatten();
    let left: Vec<_> = left
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().starts_with("catalog.json."))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn database_without_spaces_makes_an_empty_catalog() {
    let Some(nginx) = start("catalog.conf") else { return };
    let database = nginx.dir().join("empty.db");
    let (tables, _) = DATABASE.split_once("INSERT").expect("tables first");
    sqlite(&database, tables);
    assert!(write_catalog(&database, nginx.dir().join("srv/catalog.json")));
    let checked = nginx.check();
    assert!(checked.ok, "{}", checked.output);
    nginx.reload();
    assert_eq!(nginx.get("/download/gone").status, 404);
}
