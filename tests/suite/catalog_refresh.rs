//! A catalog's file changes while nginx runs.
//!
//! The module looks at a file every `refresh`. Where a test has to know that it has looked again
//! and found nothing to say, it lets a second catalog with the same `refresh` change a few times
//! and waits for what the log says of that one: see [`Clocked::let_it_look`].

use std::cell::Cell;
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use xspace_tests::{
    Nginx, Protocol, Request, Site, build, bytes, deadline, is_root, memory, poll, same_bytes,
};

use crate::common::{Hangs, ID, OTHER, ask, with_hanging_file};

/// What the log says of a catalog that was taken, and of a change that was not.
const TAKEN: &str = " reloaded: ";
const STAYS: &str = "keeping the previous version";

/// A catalog of one space, whose title is this.
fn titled(title: &str) -> String {
    format!("{{\"{ID}\": {{ \"title\": \"{title}\", \"files\": [\"a.mp3\"] }}}}")
}

/// Two spaces, the first and the last of so many, with the number in every title.
fn generation(number: usize, count: usize) -> String {
    let mut text = String::with_capacity(count * 60);
    let title = format!("{{ \"title\": \"{number:06}\", \"files\": [\"a.mp3\"] }}");
    text.push_str(&format!("{{\"first\": {title}"));
    for n in 0..count.saturating_sub(2) {
        text.push_str(&format!(",\n\"s{n}\": {title}"));
    }
    text.push_str(&format!(",\n\"last\": {title}}}\n"));
    text
}

/// A site with `catalog.json`, looked at every 50 ms, and `clock.json` beside it.
fn site(json: impl AsRef<[u8]>) -> Site {
    site_with("refresh=50ms", json)
}

fn site_with(parameters: &str, json: impl AsRef<[u8]>) -> Site {
    Site::with_directives(&format!("xspace_catalog {{dir}}/catalog.json {parameters};"), "")
        .server("location ^~ /clock/ { xspace_catalog {dir}/clock.json refresh=50ms; }")
        .server("add_header X-Title $xspace_title; keepalive_requests 1000000;")
        .file("downloads/a.mp3", "a")
        .file("catalog.json", json)
        .file("clock.json", "{}")
}

/// Starts the site, if this nginx can refresh at all.
fn start(site: Site) -> Option<Clocked> {
    build().require("threads").then(|| Clocked { nginx: site.start(), ticks: Cell::new(0) })
}

/// An nginx with one worker and a second catalog.
struct Clocked {
    nginx: Nginx,
    ticks: Cell<usize>,
}

impl Deref for Clocked {
    type Target = Nginx;

    fn deref(&self) -> &Nginx {
        &self.nginx
    }
}

impl Clocked {
    /// Returns after the module has looked at each file at least twice.
    #[track_caller]
    fn let_it_look(&self) {
        for _ in 0..3 {
            self.ticks.set(self.ticks.get() + 1);
            let entries: Vec<String> =
                (0..self.ticks.get()).map(|n| format!("\"s{n}\": {{}}")).collect();
            self.site().replace("clock.json", format!("{{{}}}", entries.join(",")));
            self.wait_errors(&["[notice]", "clock.json", TAKEN], self.ticks.get());
        }
    }

    /// How often `catalog.json` was taken, and how often it was not.
    fn counts(&self) -> (usize, usize) {
        (self.count("[notice]", TAKEN), self.count("[error]", STAYS))
    }

    fn count(&self, level: &str, what: &str) -> usize {
        self.count_errors(&[level, "/catalog.json\"", what])
    }

    /// Waits until `catalog.json` was taken so often.
    #[track_caller]
    fn wait_taken(&self, count: usize) {
        self.wait_errors(&["[notice]", "/catalog.json\"", TAKEN], count);
    }

    /// Waits until so many changes were refused.
    #[track_caller]
    fn wait_refused(&self, count: usize) {
        self.wait_errors(&["[error]", "/catalog.json\"", STAYS], count);
    }

    /// Waits until the title is this one.
    #[track_caller]
    fn wait_title(&self, title: &str, what: &str) {
        let end = Instant::now() + deadline(30);
        let path = format!("/download/{ID}");
        while self.get(&path).header("x-title") != Some(title) {
            assert!(Instant::now() < end, "{what}: not {title:?}\n{}", self.error_log());
            thread::yield_now();
        }
    }

    #[track_caller]
    fn assert_title(&self, title: &str, what: &str) {
        let response = self.get(&format!("/download/{ID}"));
        assert_eq!(response.status, 200, "{what}: {response:?}");
        assert_eq!(response.header("x-title"), Some(title), "{what}");
    }
}

fn set_modified(path: &Path, time: SystemTime) {
    let file = File::options().write(true).open(path).expect("the catalog can be opened");
    file.set_modified(time).expect("its time can be set");
}

/// Writes over a file of the same size, in one piece.
fn overwrite(path: &Path, json: &str) {
    let mut file = OpenOptions::new().write(true).open(path).expect("the file can be opened");
    assert_eq!(file.metadata().expect("a size").len(), json.len() as u64, "of the same size");
    file.write_all(json.as_bytes()).expect("written");
}

/// Puts `new` in the place of `catalog.json`, whatever either of them is; there is no moment
/// without a file, unless there was none before.
fn put(site: &Site) {
    let new = site.dir().join("new");
    let path = site.dir().join("catalog.json");
    if fs::symlink_metadata(&path).is_err() {
        return fs::rename(new, path).expect("renamed");
    }
    let c_path = |path: &Path| CString::new(path.as_os_str().as_bytes()).expect("no NUL");
    let (from, to) = (c_path(&new), c_path(&path));
    // SAFETY: both are C strings.
    let done = unsafe {
        let (here, flags) = (libc::AT_FDCWD, libc::RENAME_EXCHANGE);
        libc::renameat2(here, from.as_ptr(), here, to.as_ptr(), flags)
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    if new.is_dir() {
        fs::remove_dir(new).expect("an empty directory");
    } else {
        fs::remove_file(new).expect("what was there before");
    }
}

/// The same for a file with this text.
fn put_file(site: &Site, json: &str) {
    site.write("new", json);
    put(site);
}

#[test]
fn file_replaced_by_a_rename_is_taken() {
    let Some(nginx) = start(site(titled("one"))) else { return };
    nginx.assert_title("one", "at start");
    for (index, title) in ["two", "three", "Gespräch", "five"].iter().enumerate() {
        nginx.site().replace("catalog.json", titled(title));
        nginx.wait_taken(index + 1);
        nginx.assert_title(title, "replaced");
    }
    nginx.let_it_look();
    assert_eq!(nginx.counts(), (4, 0), "one line a change: {}", nginx.error_log());
    nginx.wait_error(&["[notice]", "catalog.json", TAKEN, "1 entries"]);
}

#[test]
fn file_that_stays_as_it_is_is_not_read_again() {
    let Some(nginx) = start(site(titled("one"))) else { return };
    nginx.let_it_look();
    nginx.let_it_look();
    assert_eq!(nginx.counts(), (0, 0), "{}", nginx.error_log());
}

#[test]
fn every_kind_of_entry_may_change_into_every_other() {
    let Some(nginx) = start(site("{}")) else { return };
    nginx.site().write(&format!("downloads/{ID}.mp3"), "by id");
    let path = format!("/download/{ID}");
    let mut taken = 0;
    for (json, status, text) in [
        ("\"a.mp3\"", 200, "a"),
        ("{ \"status\": 410 }", 410, ""),
        ("{ \"title\": \"A talk\" }", 200, "by id"),
        ("{ \"files\": [\"missing.mp3\"] }", 404, ""),
        ("{ \"status\": 451 }", 451, ""),
        ("\"a.mp3\"", 200, "a"),
    ] {
        nginx.site().replace("catalog.json", format!("{{\"{ID}\": {json}}}"));
        taken += 1;
        nginx.wait_taken(taken);
        let response = nginx.get(&path);
        assert_eq!(response.status, status, "{json}: {response:?}");
        if status == 200 {
            assert_eq!(response.text(), text, "{json}");
        }
    }
    nginx.site().replace("catalog.json", "{}");
    nginx.wait_taken(taken + 1);
    assert_eq!(nginx.get(&path).text(), "by id", "no longer in the catalog");
}

/// Something that makes a catalog's file unfit, in one step.
type Spoil = fn(&Site, &Path);

/// Changes that can't be taken, and what the log says of each. The first three need a file.
const FAILURES: [(&str, Spoil, &str); 13] = [
    ("emptied", |_, path| fs::write(path, "").expect("emptied"), "at line 1 column 0"),
    ("unreadable", |site, _| site.chmod("catalog.json", 0), "(13: Permission denied)"),
    (
        "deleted",
        |_, path| fs::remove_file(path).expect("deleted"),
        "(2: No such file or directory)",
    ),
    ("replaced by nothing", |site, _| put_file(site, ""), "at line 1 column 0"),
    ("no JSON", |site, _| put_file(site, "{\n\"a\": oops"), "at line 2 column "),
    ("cut off", |site, _| put_file(site, "{\"a\": \"a.mp3\","), "at line 1 column 14"),
    (
        "no JSON behind an unknown key",
        |site, _| put_file(site, "{\"bad\": {\"titel\": \"x\"]}"),
        "expected `,` or `}` at line 1 column 22",
    ),
    (
        "a directory",
        |site, _| {
            site.make_dir("new");
            put(site);
        },
        "not a regular file",
    ),
    ("UTF-16", |site, _| put_file(site, "\u{0}{\u{0}}"), "it is UTF-16"),
    (
        "a FIFO",
        |site, _| {
            let new = site.dir().join("new");
            assert!(Command::new("mkfifo").arg(new).status().expect("mkfifo").success());
            put(site);
        },
        "not a regular file",
    ),
    (
        "a comma too many",
        |site, _| put_file(site, "{\"bad\": \"a.mp3\",\n}"),
        "trailing comma at line 2 column ",
    ),
    (
        "a dangling link",
        |site, _| {
            site.symlink("nowhere", "new");
            put(site);
        },
        "(2: No such file or directory)",
    ),
    (
        "a device",
        |site, _| {
            site.symlink("/dev/zero", "new");
            put(site);
        },
        "not a regular file",
    ),
];

#[test]
fn failed_change_is_told_once_and_the_last_good_catalog_stays() {
    let Some(nginx) = start(site(titled("good 0"))) else { return };
    let path = nginx.dir().join("catalog.json");
    for (index, (what, spoil, message)) in FAILURES.iter().enumerate() {
        let good = format!("good {index}");
        spoil(nginx.site(), &path);
        nginx.wait_refused(index + 1);
        nginx.assert_title(&good, what);
        nginx.let_it_look();
        assert_eq!(nginx.counts(), (index, index + 1), "{what}: {}", nginx.error_log());
        nginx.assert_title(&good, what);
        let log = nginx.error_log();
        let last = log.lines().rfind(|line| line.contains(STAYS)).expect("a line");
        assert!(last.contains(message), "{what}: {last}");

        let next = format!("good {}", index + 1);
        put_file(nginx.site(), &titled(&next));
        nginx.wait_taken(index + 1);
        nginx.assert_title(&next, what);
    }
    nginx.let_it_look();
    assert_eq!(nginx.counts(), (FAILURES.len(), FAILURES.len()));
}

#[test]
fn failures_one_after_the_other_are_each_told_once() {
    let Some(nginx) = start(site(titled("good"))) else { return };
    let path = nginx.dir().join("catalog.json");
    for (index, (what, spoil, _)) in FAILURES.iter().enumerate() {
        spoil(nginx.site(), &path);
        nginx.wait_refused(index + 1);
        nginx.let_it_look();
        assert_eq!(nginx.counts(), (0, index + 1), "{what}: {}", nginx.error_log());
        nginx.assert_title("good", what);
    }
    put_file(nginx.site(), &titled("better"));
    nginx.wait_taken(1);
    nginx.assert_title("better", "mended");
}

#[test]
fn same_mistake_in_a_new_file_is_a_new_change() {
    let Some(nginx) = start(site(titled("good"))) else { return };
    for count in 1..=3 {
        nginx.site().replace("catalog.json", "{\"a\": x}");
        nginx.wait_refused(count);
        nginx.let_it_look();
        assert_eq!(nginx.counts(), (0, count), "{}", nginx.error_log());
    }
}

#[test]
fn file_that_comes_back_as_it_was_is_taken_again() {
    let Some(nginx) = start(site(titled("good"))) else { return };
    let path = nginx.dir().join("catalog.json");
    let away = nginx.dir().join("away.json");
    fs::rename(&path, &away).expect("moved away");
    nginx.wait_refused(1);
    fs::rename(&away, &path).expect("moved back");
    nginx.wait_taken(1);
    nginx.site().chmod("catalog.json", 0);
    nginx.wait_refused(2);
    nginx.site().chmod("catalog.json", 0o644);
    nginx.wait_taken(2);
    nginx.assert_title("good", "as it was");
    nginx.let_it_look();
    assert_eq!(nginx.counts(), (2, 2), "{}", nginx.error_log());
}

/// Writes a catalog in some way.
type Change<'a> = &'a dyn Fn(&str);

#[test]
fn change_is_seen_whatever_the_time_stamp_says() {
    let Some(nginx) = start(site(titled("000"))) else { return };
    let path = nginx.dir().join("catalog.json");
    let site = nginx.site();
    let day = Duration::from_secs(86_400);
    let now = SystemTime::now();
    // All of the same size.
    // A time that is put back where it was, as `touch -r`, `tar` with a clamped time and `rsync
    // --inplace --times` do: only the inode tells of the change.
    let clamped = SystemTime::UNIX_EPOCH + 20_000 * day;
    let put_back = |json: &str, time: SystemTime| {
        overwrite(&path, json);
        set_modified(&path, time);
    };
    let rows: [(&str, Change<'_>); 11] = [
        ("in place, with a clamped time", &|json| put_back(json, clamped)),
        ("in place, with the same clamped time", &|json| put_back(json, clamped)),
        ("in place, with the time put back", &|json| {
            let before = fs::metadata(&path).and_then(|file| file.modified()).expect("a time");
            put_back(json, before);
        }),
        ("by an open file, with the time put back", &|json| {
            let before = fs::metadata(&path).and_then(|file| file.modified()).expect("a time");
            let file = OpenOptions::new().write(true).open(&path).expect("opened");
            file.write_all_at(json.as_bytes(), 0).expect("written");
            file.set_modified(before).expect("dated");
        }),
        ("in place", &|json| overwrite(&path, json)),
        ("in place, dated back", &|json| {
            overwrite(&path, json);
            set_modified(&path, now - day);
        }),
        ("in place, dated further back", &|json| {
            overwrite(&path, json);
            set_modified(&path, now - 2 * day);
        }),
        ("renamed, dated back", &|json| {
            let new = site.write("new.json", json);
            set_modified(&new, now - 3 * day);
            fs::rename(new, &path).expect("renamed");
        }),
        ("renamed, with the same time", &|json| {
            let new = site.write("new.json", json);
            set_modified(&new, now - 3 * day);
            fs::rename(new, &path).expect("renamed");
        }),
        ("in place, before 1970", &|json| {
            overwrite(&path, json);
            set_modified(&path, SystemTime::UNIX_EPOCH - day);
        }),
        ("renamed, in the future", &|json| {
            let new = site.write("new.json", json);
            set_modified(&new, now + day);
            fs::rename(new, &path).expect("renamed");
        }),
    ];
    for (index, (what, change)) in rows.iter().enumerate() {
        let title = format!("{:03}", index + 1);
        change(&titled(&title));
        // Between writing and dating the module may have looked already: one line or two.
        nginx.wait_title(&title, what);
        nginx.let_it_look();
        nginx.assert_title(&title, what);
    }
    assert_eq!(nginx.counts().1, 0, "{}", nginx.error_log());
}

#[test]
fn rewriting_in_place_is_taken_when_it_is_done() {
    let Some(nginx) = start(site(titled("one"))) else { return };
    for count in 1..=5 {
        let title = format!("in place {count}");
        fs::write(nginx.dir().join("catalog.json"), titled(&title)).expect("written");
        nginx.wait_title(&title, "in place");
    }
}

#[test]
fn torn_file_is_never_taken() {
    // Large enough that it is read for much longer than a writer pauses; written over in place,
    // byte for byte as long as before: each mixture of the two is valid JSON.
    const COUNT: usize = 150_000;
    let Some(nginx) = start(site(generation(0, COUNT))) else { return };
    let path = nginx.dir().join("catalog.json");
    let title_of = |id: &str| {
        let response = nginx.get(&format!("/download/{id}"));
        assert_eq!(response.status, 200, "{id}: {response:?}");
        response.header("x-title").expect("a title").to_owned()
    };
    // How often a mixture would have told.
    let mut told = 0;
    for number in 1..=6 {
        let text = generation(number, COUNT);
        let done = Arc::new(AtomicBool::new(false));
        let writer = {
            let (path, done) = (path.clone(), Arc::clone(&done));
            thread::spawn(move || {
                let mut file = OpenOptions::new().write(true).open(path).expect("opened");
                file.seek(SeekFrom::Start(0)).expect("at the start");
                let mut longest = Duration::ZERO;
                for chunk in text.as_bytes().chunks(64 * 1024) {
                    let before = Instant::now();
                    file.write_all(chunk).expect("written");
                    // A slow writer: its pauses are what is tested.
                    thread::sleep(Duration::from_millis(3));
                    longest = longest.max(before.elapsed());
                }
                done.store(true, Ordering::Release);
                longest
            })
        };
        let (old, new) = (format!("{:06}", number - 1), format!("{number:06}"));
        let mut mixtures = 0;
        while !done.load(Ordering::Acquire) {
            // The first is written first: only a mixture has it new and the last one old.
            let first = title_of("first");
            let last = title_of("last");
            assert!([&old, &new].contains(&&first) && [&old, &new].contains(&&last));
            mixtures += usize::from(first == new && last == old);
        }
        let longest = writer.join().expect("the writer ends");
        nginx.wait_error(&["[notice]", "/catalog.json\"", TAKEN]);
        let end = Instant::now() + deadline(30);
        while title_of("last") != new {
            assert!(Instant::now() < end, "{}", nginx.error_log());
            thread::yield_now();
        }
        assert_eq!(title_of("first"), new);
        // A writer that was held up for as long as the reader needs has made a whole file of it,
        // as far as anybody can tell: that round says nothing.
        if longest < Duration::from_millis(60) {
            assert_eq!(mixtures, 0, "round {number}, longest pause {longest:?}");
            told += 1;
        }
        if told == 2 {
            break;
        }
    }
}

#[test]
fn file_replaced_many_times_a_second_is_always_whole() {
    let Some(nginx) = start(site(generation(0, 1000))) else { return };
    let stop = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicUsize::new(0));
    let writer = {
        let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
        let dir = nginx.dir().to_owned();
        thread::spawn(move || {
            for number in 1.. {
                let new = dir.join("new.json");
                fs::write(&new, generation(number, 1000)).expect("written");
                fs::rename(new, dir.join("catalog.json")).expect("renamed");
                written.store(number, Ordering::Release);
                if stop.load(Ordering::Acquire) {
                    return number;
                }
            }
            unreachable!()
        })
    };
    let mut connection = nginx.connect(Protocol::Http1);
    let mut number_of = |id: &str| -> usize {
        let response = connection.send(&Request::get(&format!("/download/{id}")));
        assert_eq!(response.status, 200, "{id}: {response:?}");
        response.header("x-title").and_then(|title| title.parse().ok()).expect("a number")
    };
    let mut newest = 0;
    let end = Instant::now() + deadline(30);
    while nginx.count("[notice]", TAKEN) < 20 {
        assert!(Instant::now() < end, "{}", nginx.error_log());
        for id in ["first", "last"] {
            let number = number_of(id);
            assert!(number >= newest, "{id} went back from {newest} to {number}");
            newest = number;
        }
    }
    stop.store(true, Ordering::Release);
    let last = writer.join().expect("the writer ends");
    assert!(last > 20, "replaced more often than taken");
    while number_of("first") != last {
        assert!(Instant::now() < end, "{}", nginx.error_log());
    }
    assert_eq!(number_of("last"), last);
    assert_eq!(nginx.counts().1, 0, "{}", nginx.error_log());
}

#[test]
fn huge_file_is_taken_while_requests_are_answered() {
    const COUNT: usize = 300_000;
    let Some(nginx) = start(site(generation(0, 2))) else { return };
    let [worker] = nginx.workers()[..] else { panic!("one worker: {:?}", nginx.workers()) };
    let text = generation(1, COUNT);
    let mut connection = nginx.connect(Protocol::Http1);
    nginx.site().replace("catalog.json", text);
    nginx.wait_open(worker, "catalog.json");
    let mut before = 0;
    loop {
        let response = connection.send(&Request::get("/download/first"));
        assert_eq!(response.status, 200, "{response:?}");
        match response.header("x-title") {
            Some("000000") => before += 1,
            Some("000001") => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(before > 0, "a request while the file was read");
    nginx.wait_taken(1);
    nginx.wait_error(&["[notice]", TAKEN, &format!("{COUNT} entries")]);
    for id in ["first", "s0", "s299997", "last"] {
        let response = connection.send(&Request::get(&format!("/download/{id}")));
        assert_eq!(response.header("x-title"), Some("000001"), "{id}");
    }
    nginx.site().replace("catalog.json", generation(2, 2));
    nginx.wait_taken(2);
    let response = connection.send(&Request::get("/download/first"));
    assert_eq!(response.header("x-title"), Some("000002"), "small again");
}

#[test]
fn file_with_a_mistake_at_its_very_end_is_refused_whole() {
    let Some(nginx) = start(site(generation(0, 2))) else { return };
    let text = generation(1, 50_000).replace("\"last\": {", "\"last\": { \"title\" 1,");
    nginx.site().replace("catalog.json", text);
    nginx.wait_error(&["[error]", STAYS, "expected `:` at line 50000 "]);
    for id in ["first", "last"] {
        let response = nginx.get(&format!("/download/{id}"));
        assert_eq!(response.header("x-title"), Some("000000"), "{id}");
    }
    assert_eq!(nginx.get("/download/s0").status, 404);
}

#[test]
fn unusable_entry_at_the_very_end_leaves_the_others() {
    let Some(nginx) = start(site(generation(0, 2))) else { return };
    let text = generation(1, 50_000).replace("\"last\": {", "\"last\": { \"colour\": 1,");
    nginx.site().replace("catalog.json", text);
    nginx.wait_error(&["[notice]", "/catalog.json\"", TAKEN, "49999 entries"]);
    nginx.wait_error(&["[warn]", "/catalog.json\": 49999 usable entries, 1 unusable, 0 skipped"]);
    nginx.wait_error(&["[warn]", "unusable \"last\": unknown key \"colour\" at line 50000 "]);
    for id in ["first", "s0"] {
        let response = nginx.get(&format!("/download/{id}"));
        assert_eq!(response.header("x-title"), Some("000001"), "{id}");
    }
    assert_eq!(nginx.get("/download/last").status, 500);
    nginx.site().replace("catalog.json", generation(2, 2));
    nginx.wait_taken(2);
    assert_eq!(nginx.get("/download/last").header("x-title"), Some("000002"));
}

#[test]
fn refresh_off_reads_only_at_a_reload() {
    let Some(nginx) = start(site_with("refresh=off", titled("one"))) else { return };
    nginx.site().replace("catalog.json", titled("two"));
    nginx.let_it_look();
    nginx.assert_title("one", "not looked at");
    nginx.reload();
    nginx.assert_title("two", "after a reload");
    nginx.site().replace("catalog.json", "{");
    fs::remove_file(nginx.dir().join("catalog.json")).expect("deleted");
    nginx.assert_title("two", "nobody looks");
    assert_eq!(nginx.counts(), (0, 0), "{}", nginx.error_log());
}

/// A site with `catalog.json` that is looked at once in an hour, after its first look. With one
/// thread the looks of both catalogs follow each other.
fn start_with_long_refresh() -> Option<Clocked> {
    let site = site_with("refresh=1h", titled("one")).main("thread_pool default threads=1;");
    let nginx = start(site)?;
    nginx.let_it_look();
    Some(nginx)
}

#[test]
fn long_refresh_waits() {
    let Some(nginx) = start_with_long_refresh() else { return };
    nginx.site().replace("catalog.json", titled("two"));
    nginx.let_it_look();
    nginx.assert_title("one", "not looked at yet");
    nginx.reload();
    nginx.assert_title("two", "a reload reads it at once");
    assert_eq!(nginx.counts(), (0, 0), "{}", nginx.error_log());
}

#[test]
fn worker_looks_as_soon_as_it_starts() {
    let Some(nginx) = start_with_long_refresh() else { return };
    nginx.site().replace("catalog.json", titled("two"));
    let [worker] = nginx.workers()[..] else { panic!("one worker: {:?}", nginx.workers()) };
    // The master starts another one, which has from it what it read long ago.
    nginx.signal_worker(worker, libc::SIGTERM);
    nginx.wait_gone(worker);
    nginx.wait_worker();
    nginx.wait_taken(1);
    nginx.assert_title("two", "read by the new worker");
}

/// Resident memory of a process, in bytes.
fn memory_of(pid: u32) -> u64 {
    memory(pid, "VmRSS")
}

#[test]
fn worker_does_not_grow_with_each_refresh() {
    const COUNT: usize = 100_000;
    let Some(nginx) = start(site(generation(0, COUNT))) else { return };
    let [worker] = nginx.workers()[..] else { panic!("one worker: {:?}", nginx.workers()) };
    let before = memory_of(worker);
    // Each time another thread of the pool reads, and yet another one frees.
    for number in 1..=24 {
        nginx.site().replace("catalog.json", generation(number, COUNT));
        nginx.wait_taken(number);
        // The old catalog may still be being freed.
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let memory = memory_of(worker);
            if memory < before + 12_000_000 {
                break;
            }
            assert!(Instant::now() < end, "refresh {number}: {memory} bytes, {before} before");
            thread::yield_now();
        }
    }
    let response = nginx.get("/download/last");
    assert_eq!(response.header("x-title"), Some("000024"));
}

#[test]
fn reload_with_an_invalid_catalog_leaves_everything_as_it_is() {
    let Some(nginx) = start(site(titled("one")).allow("invalid catalog")) else { return };
    let workers = nginx.workers();
    nginx.site().replace("catalog.json", "{");
    nginx.wait_refused(1);
    nginx.hang_up();
    nginx.wait_error(&["[emerg]", "invalid catalog", "catalog.json", "nginx.conf:"]);
    nginx.assert_title("one", "refused");
    assert!(nginx.has_still(&workers));
    nginx.site().replace("catalog.json", titled("two"));
    nginx.wait_taken(1);
    nginx.assert_title("two", "the old worker goes on looking");
    nginx.reload();
    nginx.assert_title("two", "reloaded");
    nginx.site().replace("catalog.json", titled("three"));
    nginx.wait_taken(2);
    nginx.assert_title("three", "the new worker looks");
}

#[test]
fn locations_and_servers_share_one_catalog() {
    let site = Site::new()
        .http("xspace_catalog catalog.json refresh=50ms;")
        .server(
            "add_header X-Title $xspace_title;
             location ^~ /clock/ { xspace_catalog {dir}/clock.json refresh=50ms; }
             location ^~ /inherits/ { xspace_download /downloads/; }
             location ^~ /names/ {
                 xspace_download /downloads/; xspace_catalog {dir}/catalog.json refresh=50ms;
             }
             location ^~ /only/ {
                 xspace_download /downloads/; xspace_catalog catalog.json only refresh=50ms;
             }
             location ^~ /downloads/ { internal; alias {dir}/downloads/; }",
        )
        .http(
            "server {
                 listen 127.0.0.1:{other};
                 location ^~ /names/ {
                     xspace_download /downloads/; xspace_catalog catalog.json refresh=50ms;
                 }
                 location ^~ /downloads/ {
                     internal; alias {dir}/downloads/; add_header X-Title $xspace_title;
                 }
             }",
        )
        .file("downloads/a.mp3", "a")
        .file(&format!("downloads/{OTHER}.mp3"), "by id")
        .file("catalog.json", titled("one"))
        .file("clock.json", "{}");
    let Some(nginx) = start(site) else { return };
    let assert_titles = |title: &str| {
        for location in ["/inherits/", "/names/", "/only/"] {
            let response = nginx.get(&format!("{location}{ID}"));
            assert_eq!(response.header("x-title"), Some(title), "{location}");
        }
        let url = nginx.other_url(&format!("/names/{ID}"));
        let text = nginx.curl(&["--include", &url]);
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(text.contains(&format!("X-Title: {title}\r\n")), "{text}");
        assert_eq!(nginx.get(&format!("/only/{OTHER}")).status, 404);
        assert_eq!(nginx.get(&format!("/names/{OTHER}")).text(), "by id");
    };
    assert_titles("one");
    nginx.site().replace("catalog.json", titled("two"));
    nginx.wait_taken(1);
    assert_titles("two");
    nginx.site().replace("catalog.json", "{");
    nginx.wait_refused(1);
    assert_titles("two");
    nginx.let_it_look();
    assert_eq!(nginx.counts(), (1, 1), "{}", nginx.error_log());
}

#[test]
fn each_worker_tells_once() {
    if !build().require("threads") {
        return;
    }
    let nginx = site(titled("one")).workers(3).start();
    let workers = nginx.workers();
    assert_eq!(workers.len(), 3);
    let parts = |pid: &u32, level, what| (format!(" [{level}] {pid}#"), what, "/catalog.json\"");
    for round in 1..=2 {
        nginx.site().replace("catalog.json", titled("two"));
        for pid in &workers {
            let (place, what, file) = parts(pid, "notice", TAKEN);
            nginx.wait_errors(&[&place, what, file], round);
        }
        nginx.site().replace("catalog.json", "{");
        for pid in &workers {
            let (place, what, file) = parts(pid, "error", STAYS);
            nginx.wait_errors(&[&place, what, file], round);
        }
    }
    assert_eq!(nginx.count_errors(&[TAKEN]), 6, "{}", nginx.error_log());
    assert_eq!(nginx.count_errors(&[STAYS]), 6, "{}", nginx.error_log());
}

#[test]
fn file_for_root_alone_is_told_by_the_workers() {
    if !is_root() {
        return;
    }
    let site = site(titled("one"));
    site.chmod("catalog.json", 0o600);
    let Some(nginx) = start(site) else { return };
    nginx.wait_error(&["[warn]", "catalog.json", "will not be refreshed: worker user"]);
    nginx.wait_error(&["[error]", "catalog.json", STAYS, "(13: Permission denied)"]);
    nginx.let_it_look();
    assert_eq!(nginx.counts(), (0, 1), "{}", nginx.error_log());
    nginx.assert_title("one", "what root has read");
    nginx.site().replace("catalog.json", titled("two"));
    nginx.wait_taken(1);
    nginx.assert_title("two", "readable");
}

#[test]
fn cache_manager_and_loader_are_left_alone() {
    let site = site(titled("one")).http("proxy_cache_path {dir}/cache keys_zone=x:1m;");
    let Some(nginx) = start(site) else { return };
    nginx.wait_error(&["start cache manager process"]);
    let log = nginx.error_log();
    let worker: u32 = log
        .split("start worker process ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|pid| pid.parse().ok())
        .expect("the worker's id");
    nginx.site().replace("catalog.json", "{");
    nginx.wait_refused(1);
    nginx.site().replace("catalog.json", titled("two"));
    nginx.wait_taken(1);
    nginx.assert_title("two", "beside a cache manager");
    nginx.let_it_look();
    assert_eq!(nginx.counts(), (1, 1), "{}", nginx.error_log());
    for line in nginx.error_log().lines().filter(|line| line.contains("catalog.json")) {
        assert!(line.contains(&format!(" {worker}#")), "{line}");
    }
}

#[test]
fn own_thread_pool_of_the_site_serves_both() {
    let site = Site::with_directives("xspace_catalog catalog.json refresh=50ms;", "aio threads;")
        .main("thread_pool default threads=1 max_queue=100;")
        .server("add_header X-Title $xspace_title;")
        .server("location ^~ /clock/ { xspace_catalog clock.json refresh=50ms; }")
        .file("downloads/a.mp3", bytes(3, 500_000))
        .file("catalog.json", titled("0"))
        .file("clock.json", "{}");
    let Some(nginx) = start(site) else { return };
    for count in 1..=3 {
        nginx.site().replace("catalog.json", titled(&count.to_string()));
        nginx.wait_taken(count);
        nginx.assert_title(&count.to_string(), "with one thread");
        same_bytes(&nginx.get(&format!("/download/{ID}")).body, &bytes(3, 500_000), "read by aio");
    }
}

#[test]
fn process_without_a_master_serves_what_it_read_at_start() {
    // Such a process looks at no catalog again; `single` has its reloads.
    let nginx = site(titled("one")).single().start();
    let response = nginx.get(&format!("/download/{ID}"));
    assert_eq!(response.header("x-title"), Some("one"));
}

#[test]
fn nginx_without_threads_reads_at_start_and_reload() {
    let Some(site) = site(titled("one")).plain() else { return };
    let nginx = Clocked { nginx: site.start(), ticks: Cell::new(0) };
    nginx.assert_title("one", "read at start");
    nginx.site().replace("catalog.json", titled("two"));
    nginx.assert_title("one", "not looked at");
    nginx.reload();
    nginx.assert_title("two", "a reload reads it");
    nginx.site().replace("catalog.json", generation(3, 100_000));
    nginx.reload();
    nginx.site().replace("catalog.json", titled("four"));
    nginx.reload();
    nginx.assert_title("four", "a large one was let go of");
    assert_eq!(nginx.counts(), (0, 0), "{}", nginx.error_log());
}

/// A file on a mount that hangs and comes back, as nginx sees it.
struct Hanging<'n>(&'n Clocked);

impl<'n> Hanging<'n> {
    /// A site where this can be made to hang for `catalog.json`.
    fn site(site: Site, hangs: Hangs) -> Site {
        with_hanging_file(site, "catalog.json", hangs)
    }

    /// From now on it hangs. The catalog is changed, and a thread hangs.
    #[track_caller]
    fn during(nginx: &'n Clocked, change: impl FnOnce(&Site)) -> Self {
        let site = nginx.site();
        let gate = site.write("catalog.json.hang", "");
        site.chmod("catalog.json.hang", 0o666);
        change(site);
        let end = Instant::now() + Duration::from_secs(30);
        while fs::metadata(&gate).expect("the gate").len() == 0 {
            assert!(Instant::now() < end, "nothing hangs: {}", nginx.error_log());
            thread::yield_now();
        }
        Self(nginx)
    }

    fn end(self) {
        fs::remove_file(self.0.dir().join("catalog.json.hang")).expect("the mount is back");
    }
}

#[test]
fn file_on_a_mount_that_hangs_holds_up_no_request_and_no_other_catalog() {
    if !build().require("preload") {
        return;
    }
    let Some(nginx) = start(Hanging::site(site(titled("one")), Hangs::From(0))) else { return };
    let hanging = Hanging::during(&nginx, |site| site.replace("catalog.json", titled("two")));
    nginx.let_it_look();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get(&format!("/download/{ID}")));
        assert_eq!((response.status, response.header("x-title")), (200, Some("one")));
    }
    assert_eq!(nginx.counts(), (0, 0), "{}", nginx.error_log());
    hanging.end();
    nginx.wait_taken(1);
    nginx.assert_title("two", "read when the mount was back");

    // nginx waits for its threads: a worker leaves as soon as the mount is back.
    let [worker] = nginx.workers()[..] else { panic!("one worker: {:?}", nginx.workers()) };
    let hanging = Hanging::during(&nginx, |site| site.replace("catalog.json", titled("three")));
    nginx.signal_worker(worker, libc::SIGTERM);
    hanging.end();
    nginx.wait_gone(worker);
    // The old worker may still have taken it.
    nginx.wait_title("three", "read by the next worker");
    assert_eq!(nginx.counts().1, 0, "{}", nginx.error_log());
}

#[test]
fn file_written_over_in_the_middle_of_a_read_is_read_once_more() {
    if !build().require("preload") {
        return;
    }
    const COUNT: usize = 10_000;
    const MIDDLE: usize = 300_000;
    let Some(nginx) = start(Hanging::site(site(generation(1, COUNT)), Hangs::From(MIDDLE))) else {
        return;
    };
    let texts = [generation(2, COUNT), generation(3, COUNT)];
    assert!(texts.iter().all(|text| text.len() > MIDDLE + 100_000), "read in several pieces");
    let path = nginx.dir().join("catalog.json");
    // Its beginning is the second catalog and its end the third: valid, but neither of them.
    let hanging = Hanging::during(&nginx, |_| overwrite(&path, &texts[0]));
    overwrite(&path, &texts[1]);
    hanging.end();
    nginx.wait_taken(1);
    for id in ["first", "s0", "last"] {
        let response = nginx.get(&format!("/download/{id}"));
        assert_eq!(response.header("x-title"), Some("000003"), "{id}");
    }
    nginx.let_it_look();
    assert_eq!(nginx.counts(), (1, 0), "{}", nginx.error_log());
}

#[test]
fn file_replaced_after_it_was_opened_is_not_taken_once_more() {
    if !build().require("preload") {
        return;
    }
    let site = Hanging::site(site(titled("one")), Hangs::Open);
    // The first file keeps another name.
    site.share(&site.dir().join("catalog.json"), "other.json");
    let Some(nginx) = start(site) else { return };
    // The rename changes the inode of the file that is already open.
    for (count, title) in [(1, "two"), (2, "three")] {
        let hanging = Hanging::during(&nginx, |_| {});
        nginx.site().replace("catalog.json", titled(title));
        hanging.end();
        nginx.wait_taken(count);
        nginx.assert_title(title, "one change, one line");
    }

    // Nor is a file taken that was deleted meanwhile.
    let hanging = Hanging::during(&nginx, |_| {});
    fs::remove_file(nginx.dir().join("catalog.json")).expect("deleted");
    hanging.end();
    nginx.wait_refused(1);
    assert_eq!(nginx.counts(), (2, 1), "{}", nginx.error_log());
    nginx.assert_title("three", "the last good one");
}

/// Starts a download that is not read to its end, so that it goes on for as long as the test
/// likes; gives what has come.
fn begin_download(nginx: &Nginx, id: &str) -> (xspace_tests::RawConnection, Vec<u8>) {
    begin(nginx, &format!("/download/{id}"))
}

/// The same for any path.
fn begin(nginx: &Nginx, path: &str) -> (xspace_tests::RawConnection, Vec<u8>) {
    let mut connection = nginx.raw();
    connection
        .write(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    let begun = connection.read_exactly(20_000);
    (connection, begun)
}

#[test]
fn download_goes_on_with_what_it_found() {
    let big = bytes(6, 20_000_000);
    let site = site(titled("one"))
        .http(
            "log_format test '$xspace_title|$xspace_filename|$xspace_file|$xspace_source|$status';
             access_log {dir}/access.log test;",
        )
        .file("downloads/a.mp3", &big);
    let Some(nginx) = start(site) else { return };
    let (mut slow, mut answer) = begin_download(&nginx, ID);
    for count in 1..=4 {
        // Large ones too, so that the memory of the first would be used again.
        let two = format!("{{\"{ID}\": {{ \"title\": \"two\", \"files\": [\"b.mp3\"] }},");
        nginx.site().replace("catalog.json", generation(count, 5000).replacen('{', &two, 1));
        nginx.wait_taken(count);
    }
    nginx.site().replace("catalog.json", "{}");
    nginx.wait_taken(5);
    assert_eq!(nginx.get(&format!("/download/{ID}")).status, 404, "no longer named");
    let lines = nginx.log_lines("access.log", 1);
    assert_eq!(lines, ["-|-|-|-|404"], "the slow one has not ended");
    answer.extend(slow.read_to_end());
    let start = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("headers") + 4;
    same_bytes(&answer[start..], &big, "the whole file");
    let lines = nginx.log_lines("access.log", 2);
    assert_eq!(lines[1], format!("one|one_{ID}.mp3|a.mp3|catalog|200"));
}

#[test]
fn download_goes_on_through_a_reload_of_its_catalog() {
    let big = bytes(6, 20_000_000);
    let site = site(titled("one"))
        .http("log_format test '$xspace_title|$status'; access_log {dir}/access.log test;")
        .file("downloads/a.mp3", &big);
    let Some(nginx) = start(site) else { return };
    let (mut slow, mut answer) = begin_download(&nginx, ID);
    nginx.site().replace("catalog.json", titled("two"));
    let old = nginx.start_reload();
    let [old] = old[..] else { panic!("one worker: {old:?}") };
    let old_line = format!(" [notice] {old}#");
    nginx.wait_error(&[&old_line, "gracefully shutting down"]);
    let told = nginx.count_errors(&[&old_line, TAKEN]);
    nginx.assert_title("two", "the new worker");
    assert!(nginx.workers().contains(&old), "the old worker still sends");
    // The old worker does not look any more; the new one does.
    nginx.site().replace("catalog.json", titled("three"));
    nginx.wait_title("three", "the new worker");
    nginx.let_it_look();
    assert_eq!(nginx.count_errors(&[&old_line, TAKEN]), told, "{}", nginx.error_log());
    answer.extend(slow.read_to_end());
    let start = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("headers") + 4;
    same_bytes(&answer[start..], &big, "the whole file");
    nginx.wait_gone(old);
    let lines = nginx.log_lines("access.log", 3);
    assert!(lines.contains(&"one|200".to_owned()), "{lines:?}");
}

#[test]
fn client_may_go_away_after_its_catalog_was_replaced() {
    let site = site(titled("one")).file("downloads/a.mp3", bytes(6, 20_000_000));
    let Some(nginx) = start(site) else { return };
    for count in 1..=5 {
        let (slow, _) = begin_download(&nginx, ID);
        nginx.site().replace("catalog.json", titled(&format!("{count}")));
        nginx.wait_taken(count);
        drop(slow);
        let response = nginx.send(Protocol::Http1, &Request::head(&format!("/download/{ID}")));
        assert_eq!(response.header("x-title"), Some(&*count.to_string()));
    }
}

/// A slow request must not keep the catalog that it was found in, whatever the outcome: there
/// would be as many as there are changes. What is no download is a long error page here.
#[test]
fn slow_downloads_keep_no_catalog() {
    const CHANGES: usize = 10;
    const OUTCOMES: [(&str, u16); 7] = [
        ("/download/s1", 200),
        ("/download/nobody", 404),
        ("/download/withheld", 410),
        ("/download/unusable", 500),
        ("/refused/s1", 403),
        ("/failed/s1", 502),
        ("/undecided/s1", 200),
    ];
    // Each catalog takes more than 10 MB.
    let large = |number: usize| {
        let title = format!("{number:06} {}", "a b".repeat(80));
        let entries: Vec<String> = (0..20_000)
            .map(|n| format!("\"s{n}\": {{\"title\": \"{title}\", \"files\": [\"a.mp3\"]}}"))
            .chain(["\"withheld\": {\"status\": 410}".into(), "\"unusable\": 1".into()])
            .collect();
        format!("{{{}}}", entries.join(",\n"))
    };
    let mut site = site(large(0))
        .server("error_page 403 404 410 500 502 /sorry;")
        .server("location = /sorry { internal; alias {dir}/downloads/a.mp3; }")
        .file("downloads/a.mp3", bytes(6, 20_000_000));
    for (path, answer) in [("refused", 403), ("failed", 200), ("undecided", 204)] {
        site = site.server(&format!(
            "location ^~ /{path}/ {{
                 xspace_download /downloads/;
                 xspace_catalog {{dir}}/catalog.json refresh=50ms;
                 xspace_lookup /_{path};
             }}
             location = /_{path} {{ internal; return {answer} \"no JSON\"; }}"
        ));
    }
    let Some(nginx) = start(site) else { return };
    let [worker] = nginx.workers()[..] else { panic!("one worker: {:?}", nginx.workers()) };
    nginx.site().replace("catalog.json", large(1));
    nginx.wait_taken(1);
    let before = memory_of(worker);
    let mut slow = Vec::new();
    for number in 2..2 + CHANGES {
        for (path, status) in OUTCOMES {
            let (connection, answer) = begin(&nginx, path);
            assert!(answer.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{path}");
            slow.push((connection, answer));
        }
        nginx.site().replace("catalog.json", large(number));
        nginx.wait_taken(number);
    }
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let memory = memory_of(worker);
        if memory < before + 25_000_000 {
            break;
        }
        assert!(
            Instant::now() < end,
            "{memory} bytes with {} requests, {before} before",
            slow.len()
        );
        thread::yield_now();
    }
    // All of them went on until now.
    for (mut connection, mut answer) in slow.drain(..OUTCOMES.len()) {
        answer.extend(connection.read_to_end());
        assert!(answer.len() > 20_000_000, "the whole file");
    }
}

/// Clients that ask for the first and the last space of a [`generation`] until they are stopped,
/// and somebody who replaces the catalog all the while.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
    addresses: [SocketAddr; 2],
}

/// How many spaces the catalogs of a [`Load`] have.
const LOAD_COUNT: usize = 500;

impl Load {
    fn start(nginx: &Nginx) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicUsize::new(0));
        let dir = nginx.dir().to_owned();
        let mut clients: Vec<_> = [Protocol::Http1, Protocol::Http1, Protocol::Http2]
            .into_iter()
            .map(|protocol| {
                let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
                let address = nginx.address(protocol);
                thread::spawn(move || {
                    while !stop.load(Ordering::Acquire) {
                        ask_for_both(protocol, address);
                        done.fetch_add(1, Ordering::AcqRel);
                    }
                })
            })
            .collect();
        let stopped = Arc::clone(&stop);
        clients.push(thread::spawn(move || {
            for number in 1.. {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                let new = dir.join("new.json");
                fs::write(&new, generation(number, LOAD_COUNT)).expect("written");
                fs::rename(new, dir.join("catalog.json")).expect("renamed");
                // Somebody who writes now and then, not one who keeps the machine busy.
                thread::sleep(Duration::from_millis(5));
            }
        }));
        let addresses = [Protocol::Http1, Protocol::Http2].map(|protocol| nginx.address(protocol));
        Self { stop, done, clients, addresses }
    }

    /// Waits until each client can have asked a few times more.
    fn go_on(&self) {
        let before = self.done.load(Ordering::Acquire);
        while self.done.load(Ordering::Acquire) < before + 12
            && self.clients.iter().all(|client| !client.is_finished())
        {
            thread::yield_now();
        }
    }

    fn finish(self) {
        self.stop.store(true, Ordering::Release);
        for client in self.clients {
            // A connection that has woken a worker which is just leaving (EPOLLEXCLUSIVE) is taken
            // by another one only when the next connection comes.
            poll(|| {
                let _ = self.addresses.map(TcpStream::connect);
                client.is_finished()
            });
            client.join().expect("no request failed");
        }
    }
}

/// Each answer is wholly of one catalog: title, name of the file and its content.
fn ask_for_both(protocol: Protocol, address: SocketAddr) {
    for id in ["first", "last"] {
        let response = ask(protocol, address, &Request::get(&format!("/download/{id}")));
        assert_eq!((response.status, response.text()), (200, "a".to_owned()), "{response:?}");
        let title = response.header("x-title").expect("a title");
        assert_eq!(title.len(), 6, "{title}");
        assert_eq!(
            response.header("content-disposition"),
            Some(&*format!("inline; filename=\"{title}_{id}.mp3\""))
        );
    }
    let missing = ask(protocol, address, &Request::get("/download/missing"));
    assert_eq!(missing.status, 404, "{missing:?}");
}

#[test]
fn reload_under_load_fails_no_request() {
    let site = site_with("refresh=20ms", generation(0, LOAD_COUNT)).workers(2);
    let Some(nginx) = start(site) else { return };
    let load = Load::start(&nginx);
    for _ in 0..5 {
        nginx.reload();
        load.go_on();
    }
    load.finish();
    assert!(nginx.count("[notice]", TAKEN) > 0, "it was replaced");
    assert_eq!(nginx.counts().1, 0, "{}", nginx.error_log());
}

#[test]
fn binary_upgrade_under_load_fails_no_request() {
    if !build().require("threads") {
        return;
    }
    let mut nginx =
        site_with("refresh=20ms", generation(0, LOAD_COUNT)).workers(2).daemon().start();
    let load = Load::start(&nginx);
    for _ in 0..2 {
        load.go_on();
        nginx.upgrade();
        load.go_on();
        nginx.reload();
    }
    load.finish();
    assert_eq!(nginx.count_errors(&[STAYS]), 0, "{}", nginx.error_log());
    // The new executable's workers look at the file as well.
    nginx.site().replace("catalog.json", titled("upgraded"));
    for pid in nginx.workers() {
        nginx.wait_error(&[&format!(" [notice] {pid}#"), "/catalog.json\"", TAKEN, "1 entries"]);
    }
    let response = nginx.get(&format!("/download/{ID}"));
    assert_eq!(response.header("x-title"), Some("upgraded"));
    assert!(!nginx.dir().join("nginx.pid.oldbin").exists());
    nginx.finish();
}

/// Large enough that reading it takes much longer than leaving should.
const LONG_READ: usize = 400_000;

/// How long it takes until the worker has ended that was told to while it read a large file, in
/// relation to the whole reading: the least of three tries, for the machine may be busy.
fn leaving(tell: impl Fn(&Nginx, u32)) -> Option<f64> {
    let nginx = start(site(generation(0, 2)))?;
    let mut least = f64::INFINITY;
    for number in 1..=3 {
        let [worker] = nginx.workers()[..] else { panic!("one worker: {:?}", nginx.workers()) };
        nginx.site().replace("catalog.json", generation(number, LONG_READ));
        nginx.wait_open(worker, "catalog.json");
        let begin = Instant::now();
        tell(&nginx, worker);
        nginx.wait_gone(worker);
        let left = begin.elapsed();

        // The next worker has what the master gave it and reads the whole file.
        nginx.wait_worker();
        let [worker] = nginx.workers()[..] else { panic!("one worker: {:?}", nginx.workers()) };
        nginx.wait_open(worker, "catalog.json");
        let begin = Instant::now();
        nginx.wait_taken(number);
        let read = begin.elapsed();
        least = least.min(left.as_secs_f64() / read.as_secs_f64());
        if least < 0.5 {
            break;
        }
    }
    assert_eq!(nginx.counts().1, 0, "{}", nginx.error_log());
    Some(least)
}

#[test]
fn worker_told_to_quit_leaves_while_it_reads() {
    let Some(part) = leaving(|nginx, worker| nginx.signal_worker(worker, libc::SIGQUIT)) else {
        return;
    };
    assert!(part < 0.5, "leaving took {part} of reading the file");
}

#[test]
fn worker_told_to_terminate_leaves_while_it_reads() {
    let Some(part) = leaving(|nginx, worker| nginx.signal_worker(worker, libc::SIGTERM)) else {
        return;
    };
    assert!(part < 0.5, "leaving took {part} of reading the file");
}

#[test]
fn nginx_ends_cleanly_while_it_reads() {
    for terminate in [false, true] {
        let Some(nginx) = start(site(generation(0, 2)).workers(2)) else { return };
        let text = generation(1, LONG_READ);
        nginx.site().replace("catalog.json", text);
        for worker in nginx.workers() {
            nginx.wait_open(worker, "catalog.json");
        }
        let Clocked { nginx, .. } = nginx;
        if terminate {
            nginx.terminate();
        } else {
            nginx.finish();
        }
    }
}

#[test]
fn reload_while_it_reads_leaves_one_generation_of_workers() {
    let Some(nginx) = start(site(generation(0, 2))) else { return };
    for number in 1..=3 {
        nginx.site().replace("catalog.json", generation(number, 100_000));
        let [worker] = nginx.workers()[..] else { panic!("one worker: {:?}", nginx.workers()) };
        nginx.wait_open(worker, "catalog.json");
        nginx.reload();
        let response = nginx.get("/download/last");
        assert_eq!(response.header("x-title"), Some(&*format!("{number:06}")));
        assert_eq!(nginx.workers().len(), 1);
    }
}

#[test]
fn worker_ends_cleanly_after_its_catalog_was_replaced() {
    for signal in [libc::SIGTERM, libc::SIGQUIT] {
        let site = site(generation(0, 1000)).file("downloads/a.mp3", bytes(6, 20_000_000));
        let Some(nginx) = start(site) else { return };
        let [worker] = nginx.workers()[..] else { panic!("one worker: {:?}", nginx.workers()) };
        let (mut slow, _) = begin_download(&nginx, "first");
        nginx.site().replace("catalog.json", generation(1, 1000));
        nginx.wait_taken(1);
        nginx.signal_worker(worker, signal);
        if signal == libc::SIGQUIT {
            nginx.wait_error(&["gracefully shutting down"]);
            // Sent to its end, from a worker that is leaving.
            assert!(slow.read_to_end().len() > 19_000_000);
        }
        nginx.wait_gone(worker);
        // The next worker begins with what the master has read, and looks.
        nginx.wait_taken(2);
        let response = nginx.send(Protocol::Http1, &Request::head("/download/first"));
        assert_eq!(response.header("x-title"), Some("000001"));
    }
}
