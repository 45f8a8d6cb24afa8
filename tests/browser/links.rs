//! The page of links that end after a minute, as `make run` serves it: with a session, a listener
//! goes on after a pause of an hour, and without one not.
//!
//! It is the server's clock that is moved, by a library in front of nginx's C library. The browser's
//! is not: it keeps a cookie for longer than the pause in any case.

use std::fs;

use serde_json::{Value, json};
use xspace_tests::{
    Address, Application, LinkKey, Nginx, Preload, Program, Protocol, Reply, build, gunicorn,
    project_dir,
};

use crate::site::{
    LOG, MP3, SLOW, alone, array, can_run, check_log, log_of, name_in_log, number, places,
    scenario, site, text,
};

/// Seeks while the link is good, and after the pause.
const BEFORE: usize = 2;
const AFTER: usize = 50;

/// nginx with the demonstration's own configuration, whose clock an application moves, and the
/// application that signs links.
fn start() -> (Nginx, Program, Application) {
    let site = site(&[&MP3], "");
    site.write("links.keys", LinkKey::new("k1").line());
    site.chmod("links.keys", 0o600);
    site.write_certificate();
    let (preload, site) = Preload::new(site);
    let clock = Application::start(move |asked| {
        let seconds = asked.argument("seconds").and_then(|seconds| seconds.parse().ok());
        preload.set_clock_offset(seconds.expect("seconds"));
        Reply::status(200)
    });
    let file = project_dir().join("demo/nginx.conf");
    let mut conf = fs::read_to_string(file).expect("the demonstration's configuration");
    let address = clock.address();
    let listen = format!(
        "listen 127.0.0.1:{{port}};
         location = /clock {{ proxy_pass http://{address}; }}"
    );
    for (from, to) in [
        ("load_module ../ngx_http_xspace_module.so;", "{load_module}"),
        ("@USER@", "{user}"),
        ("pid nginx.pid;", "pid {dir}/nginx.pid; lock_file {dir}/nginx.lock;"),
        ("error_log stderr warn;", "error_log {dir}/error.log info;"),
        ("http {\n", "http {\n{temp_paths}\n"),
        ("access_log access.log plays;", LOG),
        ("listen 127.0.0.1:@PORT@;", &listen),
        ("@TLS_PORT@", "{tls}"),
        (" certificate.pem;", " {dir}/cert.pem;"),
        (" key.pem;", " {dir}/key.pem;"),
        ("root ../../demo/www;", "root {dir}/html;"),
        ("root .;", "root {dir}/html;"),
        ("alias ../npm/demo/node_modules/plyr/dist/;", "alias {dir}/html/plyr/;"),
        ("limit_rate_after 512k;", ""),
        ("limit_rate $rate;", ""),
        ("alias recordings/;", &format!("alias {{dir}}/downloads/; {SLOW}")),
        ("unix:links.sock:", "unix:{dir}/links.sock:"),
    ] {
        assert!(conf.contains(from), "the demonstration's configuration has no {from:?}");
        conf = conf.replace(from, to);
    }
    let nginx = site.whole(&conf).start();
    let dir = nginx.dir();
    let address = Address::Unix(dir.join("links.sock"));
    let application = gunicorn(
        &["--workers", "1"],
        &project_dir().join("demo/application"),
        "links:application",
        &address,
        &[
            ("KEYS", dir.join("links.keys").as_os_str()),
            ("RECORDINGS", dir.join("html/recordings.json").as_os_str()),
        ],
    );
    let application = Program::start(application, address);
    (nginx, application, clock)
}

#[test]
fn a_session_survives_a_pause_of_an_hour() {
    if !can_run() || !build().require("preload") {
        return;
    }
    let _alone = alone();
    let (nginx, _application, _clock) = start();
    for protocol in nginx.protocols() {
        let recording =
            json!({ "id": MP3.id, "code": MP3.code(), "places": places(BEFORE + AFTER) });
        let result = scenario(&nginx, protocol, "links", json!({ "recording": recording }));
        with_session(&nginx, protocol, &result["withSession"]);
        without_session(&nginx, protocol, &result["withoutSession"]);
    }
}

/// What both pages have to show.
#[track_caller]
fn check_page(result: &Value) {
    assert_eq!(array(&result["before"]).len(), BEFORE, "{result}");
    assert!(text(result, "good").starts_with("The link is good until "), "{result}");
    // What WCAG 2 wants of text (AA).
    for (scheme, ratio) in result["contrasts"].as_object().expect("an object") {
        assert!(ratio.as_f64().unwrap_or_default() >= 4.5, "{scheme}: {ratio}");
    }
}

fn with_session(nginx: &Nginx, protocol: Protocol, result: &Value) {
    let what = format!("{protocol:?}: {result}");
    check_page(result);
    assert_eq!(result["error"], Value::Null, "{what}");
    assert_eq!(result["problems"], json!([]), "{what}");
    let after = array(&result["after"]);
    assert_eq!(after.len(), AFTER, "{what}");
    for seek in after {
        assert!((number(seek, "decoded") - number(seek, "current")).abs() <= 0.5, "{what}");
    }
    let cookies = array(&result["cookies"]);
    assert_eq!(cookies.len(), 1, "{what}");
    assert_eq!(cookies[0]["httpOnly"], true, "{what}");
    assert_eq!(cookies[0]["secure"], protocol != Protocol::Http1, "{what}");

    let path = format!("/with-session/{}", MP3.id);
    check_log(nginx, protocol, &path, MP3.size());
    let log = log_of(nginx, &path);
    let mine = || log.iter().filter(|line| text(line, "protocol") == name_in_log(protocol));
    let count = |status| mine().filter(|line| text(line, "link") == status).count();
    // Some places are still in the browser's memory; most are not.
    assert!(count("ok") >= 1 && count("session") >= AFTER / 2, "{what}");
    assert_eq!(count("ok") + count("session"), mine().count(), "{what}");
}

fn without_session(nginx: &Nginx, protocol: Protocol, result: &Value) {
    let what = format!("{protocol:?}: {result}");
    check_page(result);
    assert!(array(&result["after"]).len() < AFTER, "{what}");
    assert_ne!(result["error"], Value::Null, "{what}");
    assert!(text(result, "refused").starts_with("The player was refused"), "{what}");
    let resumed = &result["resumed"];
    let late = number(resumed, "current") - number(resumed, "place");
    assert!((0.0..30.0).contains(&late), "{what}");
    assert_eq!(result["cookies"], json!([]), "{what}");
    let complaints = array(&result["problems"]).iter().map(|problem| problem.as_str());
    assert!(complaints.flatten().all(|problem| problem.contains("403")), "{what}");

    let path = format!("/without-session/{}", MP3.id);
    let log = log_of(nginx, &path);
    let mine = log.iter().filter(|line| text(line, "protocol") == name_in_log(protocol));
    let refused = |line: &Value| number(line, "status") == 403.0;
    let after: Vec<&Value> = mine.skip_while(|line| !refused(line)).collect();
    let (refused, resumed): (Vec<&Value>, _) = after.into_iter().partition(|line| refused(line));
    assert!(!refused.is_empty() && !resumed.is_empty(), "{what}");
    assert!(refused.iter().all(|line| text(line, "link") == "expired"), "{what}");
    assert!(resumed.iter().all(|line| text(line, "link") == "ok"), "{what}");
}
