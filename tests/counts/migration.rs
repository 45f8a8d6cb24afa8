//! A site of the kind that the module replaces, before and after the steps of
//! docs/coming-from-flask.md.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use xspace_tests::{
    Address, Nginx, Program, Protocol, Request, Response, Site, bytes, gunicorn, project_dir,
};

use crate::database::{Database, Kind};

const ID: &str = "1lDxLnrWjwkGm";

/// One without a title.
const UNTITLED: &str = "1YqKDqWqdPLGV";

/// One whose title has letters outside ASCII.
const FOREIGN: &str = "1OwxWYzDXjWGQ";

/// One without a recording.
const MISSING: &str = "1ZkKzXbYyLmGv";

/// More than 1 MiB.
const LONG: usize = 1_200_000;

const TABLES: &str = "
    CREATE TABLE spaces (
        space_id VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin PRIMARY KEY,
        title TEXT, downloads INT NOT NULL DEFAULT 0
    ) CHARACTER SET utf8mb4;
    INSERT INTO spaces (space_id, title) VALUES
        ('1lDxLnrWjwkGm', 'Rust: in production!'), ('1YqKDqWqdPLGV', NULL),
        ('1OwxWYzDXjWGQ', 'Über Töne'), ('1ZkKzXbYyLmGv', 'No file');";

/// What a catalog would have of that.
const CATALOG: &str = r#"{
    "1lDxLnrWjwkGm": {"title": "Rust: in production!"}, "1YqKDqWqdPLGV": {"title": null},
    "1OwxWYzDXjWGQ": {"title": "Über Töne"}, "1ZkKzXbYyLmGv": {"title": "No file"}
}"#;

/// What the operator's server block has. What the site adds to all responses is of the server.
const SERVER: &str = "
    add_header X-Frame-Options SAMEORIGIN always;
    location ^~ /protected/ { internal; alias {dir}/downloads/; }
    location /downloads { alias {dir}/downloads; }
    location / {
        proxy_pass http://unix:{dir}/application.sock:;
        proxy_http_version 1.1;
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
    }";

fn page() -> String {
    fs::read_to_string(project_dir().join("docs/coming-from-flask.md")).expect("the page")
}

/// A file of nginx-conf/, changed as the page tells for this site.
fn conf_file(name: &str) -> String {
    let text = fs::read_to_string(project_dir().join("nginx-conf").join(name)).expect("a file");
    text.replace("/srv/xspace/downloads/", "{dir}/downloads/")
        .replace("http://127.0.0.1:8080", "http://unix:{dir}/application.sock:")
        .replace("/var/log/nginx/", "{dir}/log/")
}

/// The recordings and the database, which all that run share.
struct Migration {
    site: Site,
    database: Database,
}

impl Migration {
    fn start() -> Self {
        let site = Site::new();
        for (file, seed) in [
            (format!("{ID}.mp3"), 1),
            (format!("{ID}.mp4"), 2),
            (format!("{UNTITLED}.m4a"), 3),
            (format!("{FOREIGN}.wav"), 4),
        ] {
            site.write(&format!("downloads/{file}"), bytes(seed, LONG));
        }
        // Unfinished, by one byte.
        site.write(&format!("downloads/{FOREIGN}.mp3"), vec![7; 1024 * 1024]);
        let database = Database::start(Kind::Mariadb, site.dir());
        database.query("site", TABLES);
        // Each request of the old application is a transaction; the machine is not switched off.
        database.query("site", "SET GLOBAL innodb_flush_log_at_trx_commit = 0");
        Self { site, database }
    }

    fn downloads(&self) -> u64 {
        let text = self.database.query("site", "SELECT SUM(downloads) FROM spaces");
        text.trim().parse().expect("a number")
    }

    /// The application, and an nginx that passes everything to it but what `server` has. It shares
    /// the recordings with all others.
    fn run(&self, site: Site, sends: &str, server: &str) -> (Nginx, Program) {
        for name in
            [(ID, "mp3"), (ID, "mp4"), (UNTITLED, "m4a"), (FOREIGN, "wav"), (FOREIGN, "mp3")]
        {
            let file = format!("downloads/{}.{}", name.0, name.1);
            site.share(&self.site.dir().join(&file), &file);
        }
        site.make_dir("log");
        let address = Address::from(&*site.dir().join("application.sock"));
        let application = gunicorn(
            &["--workers", "2"],
            &project_dir().join("tests/applications"),
            "replaced:application",
            &address,
            &[
                ("RECORDINGS", site.dir().join("downloads").as_os_str()),
                ("DATABASE", OsStr::new(&self.database.url())),
                ("SENDS", OsStr::new(sends)),
            ],
        );
        let application = Program::start(application, address);
        let site =
            site.http("access_log {dir}/log/access.log;").server(&format!("{server}\n{SERVER}"));
        (site.start(), application)
    }

    fn before(&self, sends: &str) -> (Nginx, Program) {
        self.run(Site::new().without_module(), sends, "")
    }

    /// The steps of the page; `change` is what is written differently in the included file.
    fn after(&self, sends: &str, change: &[(&str, &str)]) -> (Nginx, Program) {
        let mut text = conf_file("replaced-application.conf");
        for (from, to) in change {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        let site = Site::new().file("catalog.json", CATALOG);
        let dir = site.dir().to_str().expect("UTF-8").to_owned();
        site.write("xspace.conf", text.replace("{dir}", &dir));
        let http = conf_file("replaced-application-http.conf");
        site.write("xspace-http.conf", http.replace("{dir}", &dir));
        let site = site.http("include {dir}/xspace-http.conf;");
        self.run(site, sends, "include {dir}/xspace.conf;")
    }
}

/// A row of the table.
#[derive(Debug)]
struct Row {
    name: String,
    seen: String,
    is_right: bool,
}

fn table() -> Vec<Row> {
    let page = page();
    let (_, table) = page.split_once("| difference | seen with |").expect("the table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, seen, _, _, right, _, _] = cells[..] else { panic!("{line}") };
        assert!(["nginx", "decide"].contains(&right), "{line}");
        Row { name: name.to_owned(), seen: seen.to_owned(), is_right: right == "nginx" }
    })
    .collect()
}

/// Runs tools/compare: its exit status, and the kinds of differences that it finds.
fn compare(old: &Nginx, new: &Nginx, spaces: &[&str], more: &[&str]) -> (i32, BTreeSet<String>) {
    let mut command = Command::new("python3");
    command.arg(project_dir().join("tools/compare")).args(more);
    for nginx in [old, new] {
        command.arg(format!("https://127.0.0.1:{}", nginx.address(Protocol::Http2).port()));
    }
    let output = command.args(["--host", "localhost", "--insecure"]).args(spaces).output();
    let output = output.expect("python3 can be run");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    let kinds = text.lines().filter(|line| !line.starts_with([' ', '/']));
    let kinds = kinds.filter_map(|line| line.split_once(": ")).map(|(name, _)| name.to_owned());
    (output.status.code().expect("a status"), kinds.collect())
}

#[test]
fn program_knows_the_differences_of_the_table() {
    let output = Command::new("python3")
        .arg(project_dir().join("tools/compare"))
        .arg("--list")
        .output()
        .expect("python3 can be run");
    let listed = String::from_utf8(output.stdout).expect("UTF-8");
    let rows = table();
    assert!(rows.len() > 20, "{rows:?}");
    let rows: Vec<String> = rows
        .iter()
        .map(|row| {
            let right = if row.is_right { "nginx is right" } else { "decide" };
            format!("{}\t{right}", row.name)
        })
        .collect();
    assert_eq!(listed.lines().collect::<Vec<_>>(), rows);
}

/// What the page says to write if the old fields are wanted, and the titles.
const KEPT: [(&str, &str); 2] = [
    (
        "    xspace_stats plays;\n",
        "    xspace_stats plays; xspace_catalog {dir}/catalog.json;
         add_header Access-Control-Allow-Origin * always;\n",
    ),
    (
        "    expires -1;\n",
        "    expires -1;
         add_header Access-Control-Allow-Origin *;
         add_header X-Content-Type-Options nosniff;
         add_header X-Frame-Options SAMEORIGIN;\n",
    ),
];

#[test]
fn only_differences_of_the_table_are_found() {
    let migration = Migration::start();
    let rows = table();
    let check = &|sends: &str, seen: &str| {
        let is_seen = |row: &&Row| row.seen == "all" || row.seen.split(", ").any(|one| one == seen);
        let rows = || rows.iter().filter(is_seen);
        let (old, _old) = migration.before(sends);
        let (new, _new) = migration.after(sends, &[]);
        let (status, mut kinds) = compare(&old, &new, &[ID], &["--missing", MISSING]);
        assert_eq!(status, 1, "{sends}");

        // What is to be decided is decided as the page says: the rest is right.
        let (kept, _kept) = migration.after(
            sends,
            match sends {
                // It never had other fields of the application on a recording.
                "x-accel" => &KEPT[..1],
                _ => &KEPT,
            },
        );
        let (status, right) = compare(&old, &kept, &[UNTITLED, FOREIGN], &["--missing", MISSING]);
        assert_eq!(status, 0, "{sends}");
        assert!(rows().filter(|row| !row.is_right).all(|row| !right.contains(&row.name)));

        kinds.extend(right);
        let expected: BTreeSet<String> = rows().map(|row| row.name.clone()).collect();
        assert_eq!(kinds, expected, "{sends}");
    };
    // Each request of the old sites waits for the database.
    thread::scope(|scope| {
        for (sends, seen) in
            [("x-accel", "X-Accel-Redirect"), ("send-file", "send_file"), ("by-hand", "own ranges")]
        {
            scope.spawn(move || check(sends, seen));
        }
    });
}

/// Logs in, and gives the session's cookie.
fn log_in(nginx: &Nginx) -> String {
    let request = Request::new("POST", "/login")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(b"user=alice");
    cookie(&nginx.send(Protocol::Http1, &request))
}

#[track_caller]
fn cookie(response: &Response) -> String {
    let cookie = response.header("set-cookie").unwrap_or_else(|| panic!("no cookie: {response:?}"));
    cookie.split(';').next().expect("a pair").to_owned()
}

/// The page's location for players.
fn players() -> String {
    let page = page();
    let (_, block) = page.split_once("```nginx\nlocation ~ ^/audio/").expect("the location");
    let (block, _) = block.split_once("```").expect("its end");
    format!("location ~ ^/audio/{block}")
}

#[test]
fn site_is_as_before_and_counts_plays() {
    let migration = Migration::start();
    pages_and_sessions_are_as_before(&migration);
    counts_are_of_plays_and_both_logs_are_written(&migration);
    players_pages_get_any_audio_format(&migration);
}

fn pages_and_sessions_are_as_before(migration: &Migration) {
    let (old, _old) = migration.before("x-accel");
    let (new, _new) = migration.after("x-accel", &[]);
    for nginx in [&old, &new] {
        for path in [format!("/download/{MISSING}"), format!("/spaces/{MISSING}/download")] {
            let response = nginx.get_with(&path, "Cookie", &log_in(nginx));
            assert_eq!(response.status, 302, "{response:?}");
            let location = response.header("location").expect("a location").to_owned();
            assert_eq!(location, format!("/spaces/{MISSING}"));
            let page = nginx.get_with(&location, "Cookie", &cookie(&response)).text();
            assert!(page.contains("Space file not found"), "{page}");
            assert!(page.contains("Signed in as alice"), "{page}");
        }
        for path in [format!("/download/{ID}"), format!("/spaces/{ID}/download")] {
            let response = nginx.get_with(&path, "Range", "bytes=500-599");
            assert_eq!((response.status, &*response.body), (206, &bytes(1, LONG)[500..600]));
        }
        // It is public, and still is.
        let response = nginx.get_with(&format!("/downloads/{ID}.mp4"), "Range", "bytes=0-9");
        assert_eq!((response.status, &*response.body), (206, &bytes(2, LONG)[..10]));
        assert_eq!(nginx.get(&format!("/_xspace_downloads/{ID}.mp3")).status, 404);
    }
    // What is saved is not paced: it would take 21 seconds.
    let begin = Instant::now();
    assert_eq!(new.get(&format!("/download/{ID}?attachment=1")).body.len(), LONG);
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    let response = new.get_with(&format!("/download/{ID}"), "Range", "bytes=0-9");
    assert_eq!(response.header("x-frame-options"), Some("SAMEORIGIN"), "that of the server");
}

fn counts_are_of_plays_and_both_logs_are_written(migration: &Migration) {
    const SEEKS: usize = 10;

    let (old, _old) = migration.before("by-hand");
    // Nobody waits here for a recording to be played.
    let (new, _new) =
        migration.after("by-hand", &[("limit_rate_after 512k;", "limit_rate_after 100m;")]);
    let path = format!("/download/{ID}");
    for (nginx, counted) in [(&old, SEEKS as u64 + 1), (&new, 0)] {
        let before = migration.downloads();
        assert_eq!(nginx.get(&path).body.len(), LONG);
        for seek in 0..SEEKS {
            let range = format!("bytes={}-", LONG - 100 * (seek + 1));
            assert_eq!(nginx.get_with(&path, "Range", &range).status, 206);
        }
        assert_eq!(migration.downloads() - before, counted);
        let lines = nginx.log_lines("log/access.log", SEEKS + 1);
        assert_eq!(lines.len(), SEEKS + 1, "{lines:?}");
    }
    let plays = new.log_lines("log/plays.log", 1);
    assert!(plays.len() == 1 && plays[0].contains(ID), "{plays:?}");
}

fn players_pages_get_any_audio_format(migration: &Migration) {
    let before = migration.downloads();
    let end = "location @replaced_application {";
    let (new, _new) = migration.after("send-file", &[(end, &format!("{}\n{end}", players()))]);
    for (id, media_type, seed) in [(ID, "audio/mpeg", 1), (UNTITLED, "audio/mp4", 3)] {
        let response = new.get_with(&format!("/audio/{id}.mp3"), "Range", "bytes=0-99");
        assert_eq!((response.status, &*response.body), (206, &bytes(seed, LONG)[..100]), "{id}");
        assert_eq!(response.header("content-type"), Some(media_type));
    }
    assert_eq!(new.get(&format!("/audio/{MISSING}.mp3")).status, 302, "of the application");
    assert_eq!(migration.downloads(), before);
}
