//! A site with an application of its own: Flask under gunicorn, with sessions, and what the
//! documentation has about it.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use xspace_tests::{
    Nginx, Program, Protocol, Request, Response, Site, bytes, poll, project_dir, same_bytes,
};

use crate::asking::own_errors;
use crate::common::{ID, MISSING, OTHER, assert_no_recording};
use crate::conf_files::{LONG, conf_file, site};
use crate::docs::code_blocks;

/// A space that everybody may listen to.
const OPEN: &str = "1OwxWYzDXjWGQ";

const UNKNOWN: &str = "nobody-knows-it";

/// The demo's application behind one of the configurations.
struct Running {
    nginx: Nginx,
    application: Program,
}

impl Running {
    fn start(conf: &str) -> Self {
        // A busy machine may take its time.
        let text = conf_file(conf)
            .replace("127.0.0.1:8080", "unix:{dir}/app.sock")
            .replace("proxy_cache_valid 200 204 403 10s;", "proxy_cache_valid 200 204 403 10m;");
        let site = site(conf, &text)
            // A socket that is gone is critical to NGINX; each test looks at what it answers.
            .allow("connect() to unix:")
            .file("srv/downloads/2025/06/talk.mp3", bytes(2, LONG))
            .file(&format!("srv/downloads/{OTHER}.mp3"), bytes(3, LONG))
            .file(&format!("srv/downloads/{OPEN}.mp3"), bytes(4, LONG))
            .file(&format!("srv/downloads/{UNKNOWN}.mp3"), bytes(5, LONG))
            .file(&format!("srv/downloads/{MISSING}.mp3"), bytes(6, LONG));
        let plays = site.dir().join("plays.db");
        let environment =
            [("SECRET_KEY", OsStr::new("of the test")), ("PLAYS_DB", plays.as_os_str())];
        let application = Program::gunicorn(
            &project_dir().join("demo/application"),
            "app",
            &site.dir().join("app.sock"),
            &environment,
        );
        Self { nginx: site.start(), application }
    }

    /// Logs in and gives the session's cookie.
    fn log_in(&self, user: &str, password: &str) -> String {
        let request = Request::new("POST", "/login")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(format!("user={user}&password={password}").as_bytes());
        let response = self.nginx.send(Protocol::Http1, &request);
        assert_eq!(response.status, 302, "{user}: {response:?} {}", self.application.log());
        let cookie = response.header("set-cookie").expect("a session");
        cookie.split(';').next().expect("a cookie").to_owned()
    }

    fn get_text(&self, path: &str) -> String {
        let response = self.nginx.get(path);
        assert_eq!(response.status, 200, "{path}: {response:?} {}", self.application.log());
        response.text()
    }

    fn get(&self, id: &str, cookie: Option<&str>) -> Response {
        self.send(Request::get(&format!("/download/{id}")), cookie)
    }

    fn send(&self, mut request: Request, cookie: Option<&str>) -> Response {
        if let Some(cookie) = cookie {
            request = request.header("Cookie", cookie);
        }
        self.nginx.send(Protocol::Http1, &request)
    }
}

#[track_caller]
fn assert_served(response: &Response, seed: u64, name: &str, what: &str) {
    assert_eq!(response.status, 200, "{what}: {response:?}");
    same_bytes(&response.body, &bytes(seed, LONG), what);
    assert_eq!(
        response.header("content-disposition"),
        Some(format!("inline; filename=\"{name}\"").as_str()),
        "{what}"
    );
    assert_eq!(response.header("content-type"), Some("audio/mpeg"), "{what}");
    assert_eq!(response.header("set-cookie"), None, "{what}");
}

/// Each user gets what they may hear, again and again, and nothing else.
fn assert_rules(site: &Running) {
    let alice = site.log_in("alice", "wonderland");
    let bob = site.log_in("bob", "builder");
    assert_ne!(alice, bob);
    for round in 0..3 {
        for (cookie, user) in [(Some(&*alice), "alice"), (Some(&*bob), "bob"), (None, "nobody")] {
            let what = format!("{user}, round {round}");
            let get = |id: &str| site.get(id, cookie);
            assert_served(&get(OPEN), 4, &format!("For-everybody_{OPEN}.mp3"), &what);
            assert_no_recording(&get(UNKNOWN), 404, &what);
            assert_no_recording(&get(MISSING), 410, &what);
            let title = format!("Rust-in-production_{ID}.mp3");
            match user {
                "alice" => {
                    assert_served(&get(ID), 1, &title, &what);
                    // The application names the file, which is not <id>.mp3.
                    assert_served(&get(OTHER), 2, &format!("Only-for-Alice_{OTHER}.mp3"), &what);
                }
                "bob" => {
                    assert_served(&get(ID), 1, &title, &what);
                    assert_no_recording(&get(OTHER), 403, &what);
                }
                _ => {
                    assert_no_recording(&get(ID), 401, &what);
                    assert_no_recording(&get(OTHER), 401, &what);
                }
            }
        }
    }
    assert_eq!(own_errors(&site.nginx), Vec::<String>::new());
}

#[test]
fn flask_authorizes_and_resolves() {
    assert_rules(&Running::start("lookup.conf"));
}

#[test]
fn flask_behind_a_cache_keeps_users_apart() {
    let site = Running::start("lookup-cached.conf");
    assert_rules(&site);
    let kept = fs::read_dir(site.nginx.dir().join("srv/cache")).expect("a cache").count();
    assert!(kept >= 6, "{kept} answers are kept");
}

#[test]
fn cached_answers_need_no_application() {
    let site = Running::start("lookup-cached.conf");
    let alice = site.log_in("alice", "wonderland");
    assert_eq!(site.get(ID, Some(&alice)).status, 200);
    let Running { nginx, application } = site;
    drop(application);
    // All cookies are in the key: with another one beside the session's it is another question.
    for (cookie, status) in [(alice.clone(), 200), (format!("visits=7; {alice}"), 502)] {
        let request = Request::get(&format!("/download/{ID}")).header("Cookie", &cookie);
        assert_eq!(nginx.send(Protocol::Http1, &request).status, status, "{cookie}");
    }
    assert_no_recording(&nginx.get(&format!("/download/{ID}")), 502, "nobody has asked yet");
}

#[test]
fn ranges_and_head_pass_flask_by() {
    let site = Running::start("lookup.conf");
    let alice = site.log_in("alice", "wonderland");
    let path = format!("/download/{OTHER}");
    for range in ["bytes=0-9", "bytes=500000-500999", "bytes=-1"] {
        let response = site.send(Request::get(&path).range(range), Some(&alice));
        assert_eq!(response.status, 206, "{range}: {response:?}");
    }
    let head = site.send(Request::head(&path), Some(&alice));
    assert_eq!(head.header("content-length"), Some(LONG.to_string().as_str()));
    let etag = head.header("etag").expect("an ETag");
    let request = Request::get(&path).header("If-None-Match", etag);
    assert_eq!(site.send(request, Some(&alice)).status, 304);
    let request = Request::new("POST", &path).body(b"x");
    assert_eq!(site.send(request, Some(&alice)).status, 405);
}

/// Nothing is lost or counted twice when the log is rotated and everything is started anew.
#[test]
fn plays_are_counted_from_the_log() {
    let site = Running::start("lookup.conf");
    let alice = site.log_in("alice", "wonderland");
    let dir = site.nginx.dir().to_owned();
    let (database, log) = (dir.join("plays.db"), dir.join("srv/log/plays.log"));
    let url = format!("sqlite:{}", database.display());
    let run = |arguments: &[&OsStr]| {
        let script = project_dir().join("nginx-conf/plays-to-sql");
        let status = Command::new("/usr/bin/python3").arg(script).args(arguments).status();
        assert!(status.expect("Python can be run").success(), "{arguments:?}");
    };
    fs::write(&database, "").expect("an empty database");
    run(&["--create", &url].map(OsStr::new));
    let assert_plays = |site: &Running, expected: &str| {
        run(&[OsStr::new("--once"), OsStr::new(&url), log.as_os_str()]);
        // Two processes answer.
        for _ in 0..6 {
            let text: String = site.get_text("/plays").split_whitespace().collect();
            assert_eq!(text, expected);
        }
    };
    assert_plays(&site, "{}");
    let path = format!("/download/{ID}");
    // A minute is 960,000 bytes, and all of them are of one listener.
    for range in ["bytes=0-1", "bytes=700000-", "bytes=-5", "bytes=0-99999", "bytes=0-", "bytes=0-"]
    {
        site.send(Request::get(&path).range(range), Some(&alice));
    }
    site.send(Request::head(&path), Some(&alice));
    site.get(ID, None);
    site.get(OPEN, None);
    site.nginx.log_lines("srv/log/plays.log", 2);
    assert_plays(&site, &format!("{{\"{OPEN}\":1,\"{ID}\":1}}"));

    let play = |site: &Running, agent: &str| {
        site.send(Request::get(&format!("/download/{OPEN}")).header("User-Agent", agent), None);
    };
    play(&site, "before");
    site.nginx.log_lines("srv/log/plays.log", 3);
    fs::rename(&log, dir.join("srv/log/plays.log.1")).expect("the log is there");
    play(&site, "to the renamed log");
    site.nginx.reopen_logs();
    // Its workers are started anew.
    site.application.signal(libc::SIGHUP);
    assert!(poll(|| log.exists()));
    // One that ends may not answer.
    let ended = |text: String| text.matches("Worker exiting").count();
    assert!(poll(|| ended(site.application.log()) == 2), "{}", site.application.log());
    play(&site, "to the new log");
    site.nginx.log_lines("srv/log/plays.log", 1);
    assert_plays(&site, &format!("{{\"{OPEN}\":4,\"{ID}\":1}}"));
}

#[test]
fn session_that_ended_or_was_forged_is_none() {
    let site = Running::start("lookup.conf");
    let alice = site.log_in("alice", "wonderland");
    // Not the last character of the signature: of its bits, some belong to no byte.
    let (signed, signature) = alice.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{signed}.{other}{}", &signature[1..]);
    for cookie in [forged, "session=alice".into(), "session=".into(), "user=alice".into()] {
        assert_no_recording(&site.get(ID, Some(&cookie)), 401, &cookie);
    }
    for (user, password) in [("alice", "builder"), ("alice", ""), ("eve", ""), ("", "")] {
        let request = Request::new("POST", "/login")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(format!("user={user}&password={password}").as_bytes());
        let response = site.nginx.send(Protocol::Http1, &request);
        assert_eq!((response.status, response.header("set-cookie")), (403, None), "{user}");
    }
}

#[test]
fn flask_only_authorizes_by_auth_request() {
    let site = Running::start("auth-request.conf");
    let alice = site.log_in("alice", "wonderland");
    let bob = site.log_in("bob", "builder");
    for (cookie, own, others) in
        [(Some(&*alice), 200, 200), (Some(&*bob), 200, 403), (None, 401, 401)]
    {
        let what = format!("{cookie:?}");
        for (id, seed, status) in
            [(ID, 1, own), (OTHER, 3, others), (OPEN, 4, 200), (UNKNOWN, 5, 403)]
        {
            let response = site.get(id, cookie);
            if status == 200 {
                // Title and file are not the application's business here.
                assert_served(&response, seed, &format!("{id}.mp3"), &what);
            } else {
                assert_no_recording(&response, status, &what);
            }
        }
    }
    let request = Request::get(&format!("/download/{OTHER}")).range("bytes=5-9");
    let response = site.send(request, Some(&alice));
    assert_eq!((response.status, &response.body[..]), (206, &bytes(3, LONG)[5..10]));
}

#[test]
fn application_that_ends_is_an_error_and_nothing_is_served() {
    let Running { nginx, application } = Running::start("lookup.conf");
    assert_eq!(nginx.get(&format!("/download/{OPEN}")).status, 200);
    drop(application);
    for _ in 0..2 {
        assert_no_recording(&nginx.get(&format!("/download/{OPEN}")), 502, "gone");
    }
    let errors = own_errors(&nginx);
    assert_eq!(errors.len(), 2, "{errors:#?}");
    assert!(errors[1].contains("failed: invalid response: status 502"), "{errors:#?}");
}

// The pages of the documentation.

/// What the page takes for granted: an application, its users and its spaces.
const PRELUDE: &str = r#"
import os
import re
from pathlib import Path

from flask import Flask, Response, abort, redirect, request

application = Flask(__name__)
DOWNLOADS = Path(os.environ["DOWNLOADS"])
TYPES = {"mp3": "audio/mpeg", "m4a": "audio/mp4", "wav": "audio/wav", "mp4": "video/mp4"}
SPACES = {"1lDxLnrWjwkGm": {"title": "Rust in production", "owner": "alice"},
          "1OwxWYzDXjWGQ": {"title": "Für alle", "owner": None},
          "1ZkKzXbYyLmGv": {"title": "No file", "owner": "alice"}}


def authorized(space_id):
    space = SPACES.get(space_id) or abort(404)
    user = request.cookies.get("user")
    if space["owner"] and not user:
        abort(401)
    if space["owner"] not in (None, user):
        abort(403)
    return space


"#;

#[test]
fn page_turns_the_old_route_into_a_lookup() {
    let python = code_blocks("docs/coming-from-flask.md", "python");
    let [old, new] = &python[..] else { panic!("two pieces of Python: {python:#?}") };
    let nginx = code_blocks("docs/coming-from-flask.md", "nginx");
    let configuration = nginx.iter().find(|block| block.contains("xspace_lookup"));
    let configuration = configuration.expect("a lookup");
    let socket = "unix:{dir}/app.sock";
    let configuration = configuration
        .replace("/srv/xspace/", "{dir}/")
        .replace("http://127.0.0.1:8080/", &format!("http://{socket}:/"));
    assert!(configuration.contains(socket), "{configuration}");

    let replaced = Site::new()
        .server(&format!("location /download/ {{ proxy_pass http://{socket}:; }}"))
        .server("location ^~ /downloads/ { internal; alias {dir}/downloads/; }");
    let replacing = Site::new().server(&configuration);
    let [(before, _before), (after, _after)] =
        [(replaced, old), (replacing, new)].map(|(site, code)| {
            let mut site = site
                .file(&format!("downloads/{ID}.mp3"), bytes(1, LONG))
                .file(&format!("downloads/{OPEN}.mp3"), "unfinished")
                .file(&format!("downloads/{OPEN}.m4a"), bytes(2, LONG));
            site.write("python/readme.py", format!("{PRELUDE}{code}"));
            let checked = site.check();
            assert!(checked.ok && !checked.output.contains("[warn]"), "{}", checked.output);
            let downloads = site.dir().join("downloads");
            let application = Program::gunicorn(
                &site.dir().join("python"),
                "readme",
                &site.dir().join("app.sock"),
                &[("DOWNLOADS", downloads.as_os_str())],
            );
            (site.start(), application)
        });

    for id in [ID, OPEN, UNKNOWN] {
        for user in ["alice", "bob", ""] {
            for suffix in ["", "?attachment=1"] {
                let request = Request::get(&format!("/download/{id}{suffix}"));
                let request = match user {
                    "" => request,
                    user => request.header("Cookie", &format!("user={user}")),
                };
                let request = request.range("bytes=100-199");
                let [old, new] =
                    [&before, &after].map(|nginx| nginx.send(Protocol::Http1, &request));
                let what = format!("{id}{suffix} {user}: {old:?} {new:?}");
                assert_eq!(new.status, old.status, "{what}");
                if new.status != 206 {
                    assert_no_recording(&new, new.status, &what);
                    continue;
                }
                assert_eq!(new.body, old.body, "{what}");
                for name in ["content-type", "content-range", "etag", "last-modified"] {
                    let value = new.header(name).map(str::to_owned);
                    // The files of the two sites are the same, but written at other times.
                    let is_of_the_file = ["etag", "last-modified"].contains(&name);
                    assert!(value.is_some(), "{name} {what}");
                    assert!(
                        is_of_the_file || value.as_deref() == old.header(name),
                        "{name} {what}"
                    );
                }
                let disposition = new.header("content-disposition").expect("a name");
                if id == ID {
                    assert_eq!(Some(disposition), old.header("content-disposition"), "{what}");
                } else {
                    // The old route wrote letters into the header that are none there.
                    assert!(disposition.contains("filename*=UTF-8''F%C3%BCr-alle_"), "{what}");
                }
            }
        }
    }
    // The old route sent who asked for a missing recording to its page.
    let request = Request::get(&format!("/download/{MISSING}")).header("Cookie", "user=alice");
    assert_eq!(before.send(Protocol::Http1, &request).status, 302);
    assert_no_recording(&after.send(Protocol::Http1, &request), 404, "no file");
}

#[test]
fn cache_of_the_page_has_the_key_of_the_examples() {
    let nginx = code_blocks("docs/lookup.md", "nginx");
    let conf = conf_file("lookup-cached.conf");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let key = words(&nginx[1]).split(';').nth(1).expect("a key").trim().to_owned();
    assert!(key.starts_with("proxy_cache_key"), "{key}");
    assert!(words(&conf).contains(&key), "{key}");
    for name in fs::read_dir(project_dir().join("nginx-conf")).expect("a directory") {
        let text = fs::read_to_string(name.expect("an entry").path()).expect("text");
        // Caches objects of a store, which are the same for everybody who may have them.
        if text.contains("xspace_s3 ") {
            continue;
        }
        let uses = text.lines().filter(|line| line.trim().starts_with("proxy_cache ")).count();
        assert_eq!(uses, words(&text).matches(&key).count(), "{text}");
    }
}
