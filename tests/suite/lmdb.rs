//! Catalogs that are LMDB environments, while their writers write.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use xspace_tests::{
    Connection, LmdbWriter, Nginx, Preload, Protocol, Request, Site, deadline, lmdb_load,
    lmdb_readers, poll,
};

use crate::common::{ID, MISSING, MISSING_PATH, OTHER, PATH, each_allocation};

/// Tells the worker, and what the module's variables say, also of an error.
pub const SAYS: &str = "add_header X-Pid $pid always;
    add_header X-Says '$xspace_outcome|$xspace_source|$xspace_file|$xspace_title' always;";

/// A site with the catalog `lmdb:{dir}/db`, which has to be made, and a recording.
pub fn site(parameters: &str) -> Site {
    Site::with_directives(&format!("xspace_catalog lmdb:{{dir}}/db {parameters};"), "")
        .server(SAYS)
        .server("keepalive_requests 1000000;")
        .file("downloads/a.mp3", "a")
        .file("downloads/b.mp3", "b")
        .file(&format!("downloads/{ID}.mp3"), "by id")
}

/// A catalog's entry with a title.
pub fn titled(title: &str) -> String {
    json!({"title": title, "files": ["a.mp3"]}).to_string()
}

/// A running nginx with a catalog, and the writer that has it open.
pub fn start(site: Site, entries: &[(&str, Option<&str>)]) -> (Nginx, LmdbWriter) {
    let mut writer = LmdbWriter::open(&site.dir().join("db"));
    writer.write(entries);
    (site.start(), writer)
}

/// What the variables said of a request for a path.
#[track_caller]
pub fn says(nginx: &Nginx, path: &str) -> (u16, String) {
    let response = nginx.get(path);
    (response.status, response.header("x-says").unwrap_or_default().to_owned())
}

/// Connections to so many different workers.
fn connections(nginx: &Nginx, count: usize) -> Vec<Connection> {
    let mut found: Vec<(String, Connection)> = Vec::new();
    let end = Instant::now() + deadline(30);
    while found.len() < count {
        assert!(Instant::now() < end, "{} of {count} workers", found.len());
        let mut connection = nginx.connect(Protocol::Http1);
        let response = connection.send(&Request::get(PATH));
        let pid = response.header("x-pid").expect("a process id").to_owned();
        if found.iter().all(|(known, _)| *known != pid) {
            found.push((pid, connection));
        }
    }
    found.into_iter().map(|(_, connection)| connection).collect()
}

#[test]
fn change_is_visible_to_the_next_request_of_every_worker() {
    const WORKERS: usize = 3;
    let site = site("").workers(WORKERS).refuse_errors();
    let (nginx, mut writer) = start(site, &[(ID, Some(&titled("0")))]);
    let mut connections = connections(&nginx, WORKERS);
    for number in 1..=100 {
        let title = number.to_string();
        writer.put(ID, &titled(&title));
        for connection in &mut connections {
            let response = connection.send(&Request::get(PATH));
            let says = response.header("x-says").expect("says");
            assert_eq!(says, format!("found|catalog|a.mp3|{title}"), "{response:?}");
            assert_eq!(response.text(), "a");
        }
    }
    assert_eq!(nginx.count_errors(&["catalog \"lmdb:"]), 0, "nothing to say");
}

#[test]
fn every_kind_of_entry_may_change_into_every_other() {
    let (nginx, mut writer) = start(site(""), &[]);
    for (entry, status, expected) in [
        (Some("\"a.mp3\""), 200, "found|catalog|a.mp3|"),
        (Some(r#"{"status": 410}"#), 410, "status|||"),
        (Some(r#"{"title": "A talk"}"#), 200, "found|directory|1lDxLnrWjwkGm.mp3|A talk"),
        (None, 200, "found|directory|1lDxLnrWjwkGm.mp3|"),
        (Some(r#"{"files": []}"#), 404, "not_found|||"),
        (
            Some(r#"{"title": null, "files": ["b.mp3"], "status": null}"#),
            200,
            "found|catalog|b.mp3|",
        ),
        (Some(r#"{"files": ["no.mp3"]}"#), 404, "not_found|||"),
        (Some(r#"{"status": 451, "title": "Gone"}"#), 451, "status|||Gone"),
        (Some("{}"), 200, "found|directory|1lDxLnrWjwkGm.mp3|"),
        (
            Some("\u{feff}{\"title\": \"Gespr\\u00e4ch\", \"duration\": 12.5}"),
            200,
            "found|directory|1lDxLnrWjwkGm.mp3|Gespräch",
        ),
        (Some(r#"{"status": 403}"#), 403, "status|||"),
    ] {
        writer.write(&[(ID, entry)]);
        assert_eq!(says(&nginx, PATH), (status, expected.to_owned()), "{entry:?}");
    }
}

#[test]
fn entry_that_cannot_be_used_is_never_the_directorys_recording() {
    let (nginx, mut writer) = start(site(""), &[]);
    let long = format!(r#"{{"title": "{}"}}"#, "x".repeat(5 << 20));
    let deep = format!("{}{}", "[".repeat(40_000), "]".repeat(40_000));
    for (entry, cause) in [
        ("", "unexpected end of file at line 1 column 0"),
        ("{", "unexpected end of file at line 1 column 1"),
        ("{\"title\": \"x\"}}", "at line 1 column 15"),
        ("[]", "entry is neither a path nor an object: [] at line 1 column 1"),
        ("null", "entry is neither a path nor an object: null"),
        ("{\"titel\": \"x\"}", "unknown key \"titel\" at line 1 column 2"),
        ("{\n \"title\": 7}", "title is not a string: 7 at line 2 column 11"),
        ("{\"status\": 200}", "status is not 403, 404, 410 or 451: 200"),
        ("{\"status\": 410, \"status\": 410}", "duplicate key \"status\""),
        ("\"../a.mp3\"", "dot segment in path: \"../a.mp3\""),
        ("{\"duration\": 0}", "duration is not a number of seconds greater than 0: 0"),
        ("{\"title\": \"\u{0}\"}", "at line 1 column "),
        (&long, "entry longer than 4 MiB"),
        (&deep, "entry nested too deeply"),
    ] {
        writer.put(ID, entry);
        let before = nginx.count_errors(&["is unusable", cause]);
        let shown = entry.get(..40).unwrap_or(entry);
        assert_eq!(says(&nginx, PATH), (500, "error|||".to_owned()), "{shown}");
        let start = format!("entry of space \"{ID}\" in catalog \"lmdb:");
        nginx.wait_errors(&["[error]", &start, "/db\" is unusable: ", cause], before + 1);
    }
    // The next entry is read as if nothing had been.
    writer.put(ID, &titled("good"));
    assert_eq!(says(&nginx, PATH).0, 200);
}

#[test]
fn database_in_the_environment_is_no_entry() {
    let site = site("");
    let mut writer = LmdbWriter::open_with(&site.dir().join("db"), &json!({"max_dbs": 2}));
    assert_eq!(writer.send(&json!(["database", ID])).as_deref(), Some("ok"));
    let nginx = site.start();
    assert_eq!(says(&nginx, PATH), (500, "error|||".to_owned()), "{}", nginx.error_log());
}

#[test]
fn only_answers_404_for_what_is_not_there() {
    let (nginx, mut writer) = start(site("only"), &[(OTHER, Some("\"b.mp3\""))]);
    assert_eq!(says(&nginx, PATH), (404, "not_found|||".to_owned()));
    nginx.wait_error(&["[error]", &format!("space \"{ID}\" is not in catalog \"lmdb:"), "/db\""]);
    writer.put(ID, "{}");
    assert_eq!(says(&nginx, PATH).0, 200);
    writer.delete(ID);
    assert_eq!(says(&nginx, PATH).0, 404);
}

#[test]
fn keys_are_the_ids_and_nothing_else() {
    let longest = "x".repeat(128);
    let (nginx, _writer) = start(
        site("only"),
        &[
            (&longest, Some("\"a.mp3\"")),
            ("x", Some("\"b.mp3\"")),
            (&format!("{ID}\n"), Some("\"a.mp3\"")),
            (&format!("{OTHER}.mp3"), Some("\"a.mp3\"")),
            (&"y".repeat(500), Some("\"a.mp3\"")),
        ],
    );
    assert_eq!(says(&nginx, &format!("/download/{longest}")).1, "found|catalog|a.mp3|");
    assert_eq!(says(&nginx, "/download/x").1, "found|catalog|b.mp3|");
    for path in [PATH, &format!("/download/{OTHER}"), "/download/xx", &format!("{PATH}%0a")] {
        assert_eq!(nginx.get(path).status, 404, "{path}");
    }
}

#[test]
fn environment_is_read_whoever_opens_it_first() {
    // Written before nginx starts, by a process that is gone.
    let first = site("").workers(2);
    lmdb_load(&first.dir().join("db"), 1 << 20, [(ID, titled("\"loaded\"").as_str())]);
    let nginx = first.start();
    assert_eq!(says(&nginx, PATH).1, "found|catalog|a.mp3|\"loaded\"");
    // A writer that comes later, and one after it.
    let path = nginx.dir().join("db");
    let mut writer = LmdbWriter::open(&path);
    let version = writer.send(&json!(["version"])).expect("a version");
    assert!(version.starts_with("0.9."), "{version}");
    writer.put(ID, &titled("second"));
    assert_eq!(says(&nginx, PATH).1, "found|catalog|a.mp3|second");
    writer.kill();
    lmdb_load(&path, 1 << 20, [(OTHER, "\"b.mp3\"")]);
    assert_eq!(nginx.get(&format!("/download/{OTHER}")).text(), "b");
    assert_eq!(lmdb_readers(&path).len(), 2, "a slot for each worker");

    // Opened before nginx starts, and held.
    let second = site("");
    let mut writer = LmdbWriter::open_with(&second.dir().join("db"), &json!({"max_readers": 20}));
    writer.put(ID, &titled("held"));
    let nginx = second.start();
    assert_eq!(says(&nginx, PATH).1, "found|catalog|a.mp3|held");
    writer.put(ID, &titled("again"));
    assert_eq!(says(&nginx, PATH).1, "found|catalog|a.mp3|again");
    nginx.reload();
    writer.put(ID, &titled("after the reload"));
    assert_eq!(says(&nginx, PATH).1, "found|catalog|a.mp3|after the reload");
}

#[test]
fn many_changes_under_load_are_each_seen_whole() {
    const SECONDS: u64 = 3;
    // Both entries are written in one transaction, with the same number.
    let site = site("").workers(2).refuse_errors();
    let (nginx, mut writer) = start(site, &[(ID, Some(&titled("0"))), (OTHER, Some(&titled("0")))]);
    let end = Instant::now() + Duration::from_secs(SECONDS);
    let writing = thread::spawn(move || {
        let mut last = 0;
        while Instant::now() < end {
            last += 1;
            let title = titled(&last.to_string());
            writer.write(&[(ID, Some(&title)), (OTHER, Some(&title))]);
        }
        (last, writer)
    });
    let mut connection = nginx.connect(Protocol::Http1);
    let mut newest = 0;
    let mut seen = 0;
    while Instant::now() < end {
        for path in [PATH, &format!("/download/{OTHER}")] {
            let response = connection.send(&Request::get(path));
            assert_eq!(response.status, 200, "{response:?}");
            let says = response.header("x-says").expect("says");
            let title = says.rsplit_once('|').expect("a title").1;
            let number: u64 = title.parse().expect("a number");
            assert!(number >= newest, "{path} went back from {newest} to {number}");
            seen += usize::from(number > newest);
            newest = number;
        }
    }
    let (last, _writer) = writing.join().expect("the writer ends");
    assert_eq!(says(&nginx, PATH).1, format!("found|catalog|a.mp3|{last}"));
    assert!(seen > 20 && last > 50, "{seen} of {last} changes seen");
}

#[test]
fn each_worker_has_one_slot_and_gives_it_back() {
    let site = site("").workers(2).server(
        "location ^~ /other/ { xspace_download /downloads/; xspace_catalog lmdb:{dir}/link/; }",
    );
    site.symlink("db", "link");
    let (nginx, _writer) = start(site, &[(ID, Some(&titled("x")))]);
    let path = nginx.dir().join("db");
    let slots = |expected: &[u32]| {
        let (mut found, mut expected) = (lmdb_readers(&path), expected.to_vec());
        found.sort_unstable();
        expected.sort_unstable();
        found == expected
    };
    assert!(poll(|| slots(&nginx.workers())), "{:?}", lmdb_readers(&path));
    for _ in 0..20 {
        assert_eq!(says(&nginx, PATH).0, 200);
        assert_eq!(says(&nginx, &format!("/other/{ID}")).1, "found|catalog|a.mp3|x");
    }
    assert!(slots(&nginx.workers()), "one environment by two names: {:?}", lmdb_readers(&path));

    // A worker that is exiting has none, however long its last request goes on.
    nginx.site().write("downloads/long.mp3", vec![b'x'; 30_000_000]);
    let mut long = nginx.raw();
    long.write("GET /download/long HTTP/1.1\r\nHost: x\r\n\r\n");
    long.read_exactly(1000);
    let old = nginx.start_reload();
    let is_left = |pid: &u32| lmdb_readers(&path).contains(pid);
    assert!(poll(|| !old.iter().any(is_left)), "old workers keep slots: {:?}", nginx.error_log());
    assert!(
        nginx.workers().iter().any(|pid| old.contains(pid)),
        "an old worker was still there: {}",
        nginx.error_log()
    );
    drop(long);
    assert!(poll(|| slots(&nginx.workers())), "{:?}", lmdb_readers(&path));
}

/// After a reload a single process takes no more connections, with the module and without it; it has
/// to keep the rules of LMDB all the same.
#[test]
fn single_process_has_the_environment_open_once() {
    let site = site("").single().server(
        "location ^~ /other/ { xspace_download /downloads/; xspace_catalog lmdb:{dir}/link; }",
    );
    site.symlink("db", "link");
    let (nginx, mut writer) = start(site, &[(ID, Some(&titled("0")))]);
    let path = nginx.dir().join("db");
    for number in 1..=20 {
        writer.put(ID, &titled(&number.to_string()));
        assert_eq!(says(&nginx, PATH).1, format!("found|catalog|a.mp3|{number}"));
        assert_eq!(
            says(&nginx, &format!("/other/{ID}")).1,
            format!("found|catalog|a.mp3|{number}")
        );
    }
    assert_eq!(lmdb_readers(&path), [nginx.pid()], "{}", nginx.error_log());
    // `nginx -t` of another process and a reload of this one open it without locks.
    let checked = nginx.check();
    assert!(checked.ok, "{}", checked.output);
    for count in 1..=3 {
        nginx.hang_up();
        nginx.wait_errors(&["using the \"epoll\" event method"], count + 1);
        assert!(poll(|| crate::single::waits(nginx.pid())), "{}", nginx.error_log());
        writer.put(ID, &titled("again"));
        // Until the old configuration is freed it has its slot, which no check of readers takes away.
        let slots = writer.send(&json!(["readers"]));
        assert!(matches!(slots.as_deref(), Some("0" | "1")), "{slots:?}");
    }
}

#[test]
fn binary_upgrade_and_reloads_leave_no_request_out() {
    let site = site("").workers(2).daemon();
    let (mut nginx, mut writer) = start(site, &[(ID, Some(&titled("0")))]);
    for number in 1..=3 {
        nginx.reload();
        writer.put(ID, &titled(&number.to_string()));
        assert_eq!(says(&nginx, PATH).1, format!("found|catalog|a.mp3|{number}"));
    }
    nginx.upgrade();
    writer.put(ID, &titled("upgraded"));
    assert_eq!(says(&nginx, PATH).1, "found|catalog|a.mp3|upgraded");
    let path = nginx.dir().join("db");
    assert!(poll(|| lmdb_readers(&path).len() == 2), "{:?}", lmdb_readers(&path));
}

#[test]
fn optional_catalog_is_opened_when_it_comes() {
    let nginx = site("optional").start();
    let response = nginx.get(PATH);
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
    let start = format!("could not serve space \"{ID}\": catalog \"lmdb:");
    nginx.wait_error(&["[error]", &start, "/db\" is not open"]);
    nginx.wait_error(&[
        "[error]",
        "/db\" not opened: stat() \"",
        "/db/data.mdb\" failed (2: No such",
    ]);
    let mut writer = LmdbWriter::open(&nginx.dir().join("db"));
    writer.put(ID, &titled("here"));
    assert!(poll(|| nginx.get(PATH).status == 200), "{}", nginx.error_log());
    nginx.wait_error(&["[notice]", "catalog \"lmdb:", "/db\" reopened: 1 entries"]);
    assert_eq!(nginx.count_errors(&["not opened: "]), 1, "told once: {}", nginx.error_log());
    assert_eq!(says(&nginx, PATH).1, "found|catalog|a.mp3|here");
}

#[test]
fn nothing_of_lmdb_is_loaded_without_such_a_catalog() {
    let maps = |pid: u32| fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
    let nginx = Site::simple().file("downloads/x.mp3", "x").start();
    assert_eq!(nginx.get("/download/x").status, 200);
    for pid in [nginx.pid(), nginx.wait_worker()] {
        assert!(!maps(pid).contains("liblmdb"), "{}", maps(pid));
    }
    let (nginx, _writer) = start(site(""), &[]);
    let (master, worker) = (maps(nginx.pid()), nginx.wait_worker());
    assert!(master.contains("liblmdb") && maps(worker).contains("liblmdb"));
    assert!(!master.contains("data.mdb") && !master.contains("lock.mdb"), "closed: {master}");
    // A worker is there before it has opened anything.
    let is_open = |file: &str| poll(|| maps(worker).contains(file));
    assert!(is_open("/db/data.mdb") && is_open("/db/lock.mdb"), "{}", maps(worker));
}

#[test]
fn metrics_show_the_entries_and_that_it_can_be_read() {
    let site = site("")
        .http("xspace_stats_zone plays:1m; xspace_stats plays;")
        .server("location = /status { xspace_status json zone=plays; }");
    let (nginx, mut writer) = start(site, &[(ID, Some("{}")), (OTHER, Some("{}"))]);
    let name = format!("lmdb:{}/db", nginx.dir().display());
    let json = || -> Value { serde_json::from_str(&nginx.get("/status").text()).expect("JSON") };
    assert_eq!(json()["catalog_entries"][&name], 2, "{}", json());
    writer.put(MISSING, "{}");
    assert!(poll(|| json()["catalog_entries"][&name] == 3), "{}", json());
    // Without requests, too, as long as it can be read.
    let success = || json()["catalog_last_success_timestamp_seconds"][&name].as_u64();
    let before = success().expect("a time");
    assert!(poll(|| success() > Some(before + 1)), "{}", json());
    fs::remove_file(nginx.dir().join("db/data.mdb")).expect("removed");
    nginx.wait_error(&["not opened: "]);
    let (stopped, since) = (success(), Instant::now());
    assert!(poll(|| success() != stopped || since.elapsed() > Duration::from_millis(2500)));
    assert_eq!(success(), stopped, "it stays: {}", json());
}

#[test]
fn each_allocation_may_fail() {
    if !xspace_tests::build().require("preload") {
        return;
    }
    let long = format!(r#"{{"title": "{}", "files": ["a.mp3"]}}"#, "ä".repeat(2000));
    let site = site("").http("request_pool_size 128;");
    let (preload, site) = Preload::new(site);
    let (nginx, _writer) = start(site.allow("(12: Cannot allocate memory)"), &[(ID, Some(&long))]);
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: x");
    assert!(nginx.get(PATH).status == 200);
    let failed = each_allocation(&nginx, &preload, &request, |answer, log, what| {
        let is_good = answer.starts_with("HTTP/1.1 200 ") || answer.is_empty();
        let is_refused = answer.starts_with("HTTP/1.1 500 ");
        assert!(is_good || is_refused && !log.is_empty(), "{what}");
        assert!(!answer.ends_with("\r\n\r\nby id"), "the directory's recording: {what}");
    });
    assert!(failed > 5, "{failed}");
    assert_eq!(nginx.get(MISSING_PATH).status, 404);
}
