//! A page of the application that the module replaces, before and after the steps of
//! docs/coming-from-flask.md.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use xspace_tests::{Address, Nginx, Program, Protocol, Site, gunicorn, hour, project_dir};

use crate::site::{
    LOG, MP3, SLOW, alone, array, can_run, check_log, log_of, median_and_worst, places, scenario,
    text, times,
};

const SEEKS: usize = 10;

/// The operator's server block.
const SERVER: &str = "
    location / {
        proxy_pass http://unix:{dir}/application.sock:;
        proxy_http_version 1.1;
        proxy_set_header Host $host;
    }";

/// The application and nginx, with this in `http` and in the server.
fn start(http: &str, server: &str) -> (Nginx, Program) {
    let site = Site::new()
        .http(LOG)
        .http(http)
        .server(&format!("{SLOW} {server}\n{SERVER}"))
        .shared(&hour("hour.mp3"), &format!("downloads/{}", MP3.file()));
    site.make_dir("log");
    let database = site.dir().join("spaces.db");
    let tables = format!(
        "CREATE TABLE spaces (space_id TEXT, title TEXT, downloads INT DEFAULT 0);
         INSERT INTO spaces (space_id, title) VALUES ('{}', 'An hour');",
        MP3.id
    );
    let done = Command::new("sqlite3").arg(&database).arg(tables).status();
    assert!(done.expect("sqlite3 can be run").success());
    let address = Address::from(&*site.dir().join("application.sock"));
    let application = gunicorn(
        &["--workers", "3"],
        &project_dir().join("tests/applications"),
        "replaced:application",
        &address,
        &[
            ("RECORDINGS", site.dir().join("downloads").as_os_str()),
            ("DATABASE", OsStr::new(&format!("sqlite:{}", database.display()))),
            ("SENDS", OsStr::new("by-hand")),
        ],
    );
    let application = Program::start(application, address);
    (site.start(), application)
}

/// A file of nginx-conf/, or the page's location for players, for this site. The rate is the test's.
fn written(text: &str) -> String {
    let text = text
        .replace("/srv/xspace/downloads/", "{dir}/downloads/")
        .replace("http://127.0.0.1:8080", "http://unix:{dir}/application.sock:")
        .replace("/var/log/nginx/access.log combined", "{dir}/access.log json")
        .replace("/var/log/nginx/", "{dir}/log/");
    let is_rate = |line: &&str| line.trim_start().starts_with("limit_rate");
    text.lines().filter(|line| !is_rate(line)).collect::<Vec<_>>().join("\n")
}

fn file(name: impl AsRef<Path>) -> String {
    fs::read_to_string(project_dir().join(name)).expect("a file")
}

#[test]
fn page_of_the_application_plays_and_seeks_before_and_after() {
    if !can_run() {
        return;
    }
    let _alone = alone();
    let page = file("docs/coming-from-flask.md");
    let (_, players) = page.split_once("```nginx\nlocation ~ ^/audio/").expect("the location");
    let (players, _) = players.split_once("```").expect("its end");
    let http = written(&file("nginx-conf/replaced-application-http.conf"));
    let server = written(&format!(
        "location ~ ^/audio/{players}\n{}",
        file("nginx-conf/replaced-application.conf")
    ));
    let path = format!("/audio/{}.mp3", MP3.id);
    for (http, server, is_after) in [("", "", false), (&*http, &*server, true)] {
        let (nginx, _application) = start(http, server);
        let result = scenario(
            &nginx,
            Protocol::Http2,
            "migration",
            json!({
                "recordings": [{ "id": MP3.id, "code": MP3.code(), "places": places(SEEKS) }],
                "sizes": { &path: MP3.size(), MP3.path(): MP3.size() },
            }),
        );
        assert_eq!(array(&result["seeks"]).len(), SEEKS);
        assert!(check_log(&nginx, Protocol::Http2, &path, MP3.size()) > SEEKS / 2);
        let title = if is_after { "" } else { "An-hour_" };
        assert_eq!(text(&result, "name"), format!("{title}{}.mp3", MP3.id));
        // No byte comes from the application any more.
        for path in [&path, &MP3.path()] {
            let lines = log_of(&nginx, path);
            assert!(!lines.is_empty(), "{path}");
            for line in lines {
                assert_eq!(text(&line, "upstream_bytes").is_empty(), is_after, "{line}");
            }
        }
        let (median, worst) = median_and_worst(&times(&result));
        println!("is_after {is_after}: median {median:.0} ms, worst {worst:.0} ms");
    }
}
