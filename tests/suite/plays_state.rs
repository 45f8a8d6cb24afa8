//! `state=` of `xspace_stats_zone`: what was counted, over restarts.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use xspace_tests::{Nginx, Protocol, Random, Request, Site, is_root, poll, setting, wait_for};

use crate::common::{FILE, ID, PATH, SIZE, assert_recording, recording};
use crate::plays::requests;

/// A directory that the workers can write to, which outlives the sites that use it.
struct Home(Site);

impl Home {
    fn new() -> Self {
        let site = Site::new();
        site.make_dir("state");
        site.chmod("state", 0o777);
        Self(site)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.dir().join("state").join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A site that counts, with this zone.
    fn site_with(&self, zone: &str) -> Site {
        Site::with_directives("xspace_listener $arg_who;", "limit_rate 0;")
            .http(&format!("xspace_stats_zone plays:{zone}; xspace_stats plays;"))
            .http("xspace_play bytes=100000;")
            .server("location = /status { access_log off; xspace_status json zone=plays; }")
            .server("location = /metrics { access_log off; xspace_status prometheus zone=plays; }")
            .file(FILE, recording())
    }

    fn zone(&self, save: &str) -> String {
        format!("1m state={} save={save}", self.path("plays").display())
    }

    fn site(&self, save: &str) -> Site {
        self.site_with(&self.zone(save))
    }
}

fn json(nginx: &Nginx) -> Value {
    let text = nginx.get(&format!("/status?space={ID}")).text();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn number(stats: &Value, path: &str) -> u64 {
    stats.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {path} in {stats}"))
}

/// Waits until so many requests were counted in all, which all have sent the recording to listeners of
/// their own, and compares all sums.
#[track_caller]
fn expect(nginx: &Nginx, count: u64, what: &str) {
    let mut last = Value::Null;
    let is_so = poll(|| {
        last = json(nginx);
        requests(&last) >= count
    });
    assert!(is_so, "{what}: not {count} requests: {last}");
    let sums = |stats: &Value| {
        [
            "plays",
            "sent_bytes",
            "space/counts/requests",
            "space/counts/plays",
            "space/counts/sent_bytes",
        ]
        .map(|name| number(stats, &format!("/{name}")))
    };
    let bytes = count * SIZE as u64;
    // The space is counted last.
    let is_so = poll(|| sums(&json(nginx)) == [count, bytes, count, count, bytes]);
    let last = json(nginx);
    assert!(is_so && requests(&last) == count, "{what}: not {count}: {last}");
}

/// Asks so many times, each time as another listener.
fn ask(nginx: &Nginx, who: &mut u64, times: u64) {
    let mut connection = nginx.connect(Protocol::Http1);
    for _ in 0..times {
        let response = connection.send(&Request::get(&format!("{PATH}?who={who}")));
        assert_recording(&response, "served");
        *who += 1;
    }
}

fn prometheus(nginx: &Nginx, metric: &str) -> u64 {
    let text = nginx.get("/metrics").text();
    let value = text.lines().find_map(|line| line.strip_prefix(metric)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {metric}: {text}"))
}

#[test]
fn stop_and_start() {
    for workers in [0, 2] {
        let home = Home::new();
        let (mut who, mut since) = (0, 0);
        for round in 0..4 {
            let site = home.site("1h").refuse_errors();
            let mut site = if workers == 0 { site.single() } else { site.workers(workers) };
            let before = home.read("plays");
            let checked = site.check();
            assert!(checked.ok, "{}", checked.output);
            assert_eq!(home.read("plays"), before, "nginx -t changes nothing");
            assert!(round > 0 || !home.path("plays.lock").exists(), "nginx -t makes nothing");
            let nginx = site.start();
            expect(&nginx, who, "read at the start");
            let stats = json(&nginx);
            if round > 0 {
                assert_eq!(number(&stats, "/since"), since);
            }
            since = number(&stats, "/since");
            let before = who;
            ask(&nginx, &mut who, 5);
            expect(&nginx, who, "counted on");
            assert_eq!(prometheus(&nginx, "xspace_plays_total"), who - before, "since the start");
            if workers > 0 {
                nginx.reload();
            }
            ask(&nginx, &mut who, 2);
            expect(&nginx, who, "a reload");
            if round % 2 == 0 { nginx.finish() } else { nginx.terminate() }
        }
        let text = home.read("plays");
        assert!(
            text.starts_with("xspace-counts: 1\nsince: ") && text.ends_with("end: 1\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 6, "one zone, one space: {text}");
        let metadata = fs::metadata(home.path("plays")).expect("the file");
        assert_eq!(metadata.mode() & 0o777, 0o640);
        let directory: Vec<_> = fs::read_dir(home.path("")).expect("the directory").collect();
        assert_eq!(directory.len(), 2, "the lock file, nothing else: {directory:?}");
        if is_root() && workers > 0 {
            assert_ne!(metadata.uid(), 0, "the workers' user owns it");
        }
    }
}

/// Old processes go on counting in a zone of their own, and what they count appears in the new one.
#[test]
fn another_size_while_requests_are_open() {
    let home = Home::new();
    let zone = home.zone("100ms");
    let nginx = home.site_with(&zone).workers(2).server(
        "location ^~ /slow/ { xspace_download /slowly/; }
         location ^~ /slowly/ {
             internal; limit_rate_after 100k; limit_rate 100k; alias {dir}/downloads/;
         }",
    );
    let nginx = nginx.start();
    let conf = fs::read_to_string(nginx.site().conf_path()).expect("nginx.conf");
    let mut who = 0;
    ask(&nginx, &mut who, 3);
    expect(&nginx, who, "before");
    let mut slow = nginx.raw();
    slow.write(format!("GET /slow/{ID}?who=slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    slow.read_exactly(50_000);
    assert!(poll(|| home.read("plays").contains(&format!("{ID} 0 0 0 0 3 3 "))), "saved");
    fs::write(nginx.site().conf_path(), conf.replace("plays:1m", "plays:2m")).expect("nginx.conf");
    nginx.start_reload();
    expect(&nginx, who, "read by the new zone");
    ask(&nginx, &mut who, 4);
    // Those of the old zone, from the last process that has it.
    slow.read_to_end();
    who += 1;
    expect(&nginx, who, "the old zone's last request");
    assert!(poll(|| home.read("plays").matches("zone: ").count() == 1), "one zone is left");
    nginx.finish();
    let nginx = home.site("1h").start();
    expect(&nginx, who, "after a restart");
}

#[test]
fn binary_upgrade() {
    let home = Home::new();
    let mut nginx = home.site("100ms").workers(2).daemon().start();
    let mut who = 0;
    ask(&nginx, &mut who, 5);
    expect(&nginx, who, "before");
    for _ in 0..2 {
        nginx.upgrade();
        ask(&nginx, &mut who, 5);
        expect(&nginx, who, "after an upgrade");
    }
    nginx.finish();
    let nginx = home.site("1h").start();
    expect(&nginx, who, "after a restart");
}

/// Plays and bytes of the totals, requests and plays of the space, in a state file.
fn saved(text: &str) -> [u64; 4] {
    let mut sums = [0; 4];
    for line in text.lines() {
        let numbers = |line: &str, skip: usize| -> Vec<u64> {
            line.split(' ').skip(skip).map(|n| n.parse().expect("a number")).collect()
        };
        let totals = match line.split_once(": ") {
            Some(("past", values)) => numbers(values, 0),
            Some(("zone", values)) => numbers(values, 1),
            _ if line.starts_with(ID) => {
                for counts in numbers(line, 1).chunks(4) {
                    sums[2] += counts[0];
                    sums[3] += counts[1];
                }
                continue;
            }
            _ => continue,
        };
        // By their indexes: bytes, plays.
        sums[0] += totals[17];
        sums[1] += totals[16];
    }
    sums
}

/// Everything is killed at any moment: what was counted since the file was written is lost, and nothing
/// is counted twice.
#[test]
fn master_and_workers_are_killed() {
    let home = Home::new();
    let end = Instant::now() + Duration::from_secs(setting("XSPACE_TEST_FAULT_SECONDS", 0));
    const SUMS: [&str; 4] = ["plays", "sent_bytes", "space/counts/requests", "space/counts/plays"];
    let (mut random, mut who) = (Random::new(4), 0);
    // What each of them is at least, and at most: a pass may have read one before a request was
    // counted, and another one afterwards.
    let mut bounds = SUMS.map(|_| (0, 0));
    for round in 0.. {
        let nginx = home.site("20ms").workers(2).start();
        let stats = json(&nginx);
        let found = SUMS.map(|name| number(&stats, &format!("/{name}")));
        for ((name, found), (least, most)) in SUMS.iter().zip(found).zip(bounds) {
            let is_so = (least..=most).contains(&found);
            assert!(is_so, "round {round}, {name}: {found}, not {least} to {most}: {stats}");
        }
        let asked = 1 + random.below(4) as u64;
        ask(&nginx, &mut who, asked);
        let [plays, bytes, requests, of_space] = found;
        let all = [plays + asked, bytes + asked * SIZE as u64, requests + asked, of_space + asked];
        let is_saved = round % 3 == 2;
        if is_saved {
            let is_so = poll(|| saved(&home.read("plays")) == all);
            assert!(is_so, "{all:?}: {}", home.read("plays"));
        } else {
            std::thread::sleep(Duration::from_millis(random.below(40) as u64));
        }
        bounds = [0, 1, 2, 3].map(|at| (if is_saved { all[at] } else { found[at] }, all[at]));
        nginx.crash();
        if round >= 11 && Instant::now() > end {
            break;
        }
    }
}

/// Two zones have a file each, and do not mix.
#[test]
fn two_zones() {
    let home = Home::new();
    let other = format!("xspace_stats_zone other:1m state={};", home.path("other").display());
    let mut who = 0;
    for round in 1..3 {
        let nginx = home.site("1h").http(&other).server(
            "location ^~ /other/ { xspace_download /downloads/; xspace_stats other; }
             location = /others { access_log off; xspace_status json zone=other; }",
        );
        let nginx = nginx.start();
        ask(&nginx, &mut who, 2);
        assert_recording(&nginx.get(&format!("/other/{ID}?who={who}")), "the other");
        expect(&nginx, who, "one zone");
        let others = || {
            let stats: Value = serde_json::from_str(&nginx.get("/others").text()).expect("JSON");
            (requests(&stats), number(&stats, "/plays"))
        };
        assert!(poll(|| others() == (round, round)), "{round}: {:?}", others());
    }
}

#[test]
fn files_that_cannot_be_used() {
    let home = Home::new();
    let mut who = 0;
    let nginx = home.site("1h").start();
    ask(&nginx, &mut who, 3);
    expect(&nginx, who, "before");
    nginx.finish();
    let good = home.read("plays");
    let path = home.path("plays").display().to_string();
    let link = home.path("link");
    std::os::unix::fs::symlink(home.path("plays"), &link).expect("a link");
    for (content, message) in [
        (good.replace("end: 1", "end: 2"), "wrong number of spaces in line 6"),
        (good[..good.len() - 9].to_owned(), "unexpected end of file in line 5"),
        (good.replace("counts: 1", "counts: 2"), "the format has another version"),
        (String::new(), "unexpected end of file in line 1"),
        ("{}\n".to_owned(), "not a state file: unknown format in line 1"),
    ] {
        fs::write(&path, &content).expect("the file");
        let mut site = home.site("1h");
        let checked = site.check();
        let message = format!("zone \"plays\" cannot use its state file: \"{path}\": {message}");
        assert!(!checked.ok && checked.output.contains(&message), "{message}: {}", checked.output);
        assert_eq!(home.read("plays"), content, "nothing is changed");
    }
    for (zone, message) in [
        ("1m state={link}", "open() \"{link}\" failed (40: Too many levels of symbolic links)"),
        ("1m state={dir}/state", "\"{dir}/state\" is not a regular file"),
    ] {
        let dir = home.path("").parent().expect("a directory").display().to_string();
        let text =
            |s: &str| s.replace("{link}", &link.display().to_string()).replace("{dir}", &dir);
        let checked = home.site_with(&text(zone)).check();
        assert!(!checked.ok && checked.output.contains(&text(message)), "{}", checked.output);
    }
    fs::write(&path, &good).expect("the file");
    let nginx = home.site("1h").start();
    expect(&nginx, who, "good again");
}

/// A file that is damaged or deleted while nginx runs is written anew, with what is in memory.
#[test]
fn damaged_while_nginx_runs() {
    let home = Home::new();
    let mut who = 0;
    let nginx = home.site("1h").start();
    ask(&nginx, &mut who, 3);
    nginx.finish();
    let nginx = home.site("100ms").allow("could not write the state file").start();
    ask(&nginx, &mut who, 3);
    assert!(poll(|| home.read("plays").contains(&format!("{ID} 3 3 0 ")) && {
        home.read("plays").contains(&format!(" 3 3 0 {}\n", 3 * SIZE))
    }));
    // At once: nginx may read it at any moment.
    home.0.replace("state/plays", "damaged\n");
    nginx.wait_error(&["could not write the state file of zone \"plays\"", "unknown format"]);
    nginx.wait_error(&["the state file of zone \"plays\" was renamed to", "plays.damaged"]);
    assert!(poll(|| home.read("plays").ends_with("end: 1\n")), "{}", home.read("plays"));
    assert_eq!(home.read("plays.damaged"), "damaged\n");
    ask(&nginx, &mut who, 1);
    expect(&nginx, who, "shown");
    fs::remove_file(home.path("plays")).expect("the file");
    assert!(poll(|| home.read("plays").ends_with("end: 1\n")), "{}", home.read("plays"));
    nginx.finish();
    let nginx = home.site("1h").start();
    expect(&nginx, who, "after a restart");
}

/// Nothing is lost but what would be in the file, and each failure is logged.
#[test]
fn directory_that_cannot_be_written_to() {
    let home = Home::new();
    let mut who = 0;
    let failed = "could not write the state file";
    let nginx = home.site("100ms").workers(1).allow(failed).start();
    ask(&nginx, &mut who, 2);
    expect(&nginx, who, "before");
    assert!(poll(|| home.read("plays").contains(&format!("{ID} 0 0 0 0 2 2 "))));
    home.0.chmod("state", 0o555);
    if is_root() {
        let checked = nginx.check();
        let directory = home.0.dir().join("state").display().to_string();
        let message = "state file of zone \"plays\" will not be written: worker user";
        let is_warned = checked.output.contains(message) && checked.output.contains(&directory);
        assert!(checked.ok && is_warned, "{}", checked.output);
    }
    // It can't be opened, nor removed if one was being written.
    nginx.wait_error(&[failed, "() \"", "plays.tmp\" failed (13: Permission denied)"]);
    ask(&nginx, &mut who, 2);
    expect(&nginx, who, "counted on");
    home.0.chmod("state", 0o777);
    assert!(poll(|| home.read("plays").contains(&format!("{ID} 0 0 0 0 4 4 "))));
    nginx.finish();
    let mut site = home.site_with("1m state=/no-such-directory/plays");
    let checked = site.check();
    let message = "state file of zone \"plays\" not writable: stat() \"/no-such-directory\" failed (2: \
                   No such file or directory)";
    assert!(!checked.ok && checked.output.contains(message), "{}", checked.output);
}

/// A file system that is full: the last version stays, and nothing is left behind.
#[test]
fn disk_that_is_full() {
    let home = Home::new();
    let directory = home.path("");
    let mount = |arguments: &[&str]| {
        Command::new("mount")
            .args(arguments)
            .arg(&directory)
            .output()
            .is_ok_and(|o| o.status.success())
    };
    if !is_root() || !mount(&["-t", "tmpfs", "-o", "size=16k,mode=777", "tmpfs"]) {
        println!("passed over: disk_that_is_full (no file system can be mounted)");
        return;
    }
    struct Mounted(PathBuf);
    impl Drop for Mounted {
        fn drop(&mut self) {
            // Left to the end of the machine otherwise.
            let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        }
    }
    let _mounted = Mounted(directory.clone());
    let mut who = 0;
    let failed = "could not write the state file";
    let nginx = home.site("100ms").allow(failed).start();
    ask(&nginx, &mut who, 2);
    assert!(poll(|| home.read("plays").contains(&format!("{ID} 0 0 0 0 2 2 "))));
    let good = home.read("plays");
    let filled = fs::write(home.path("filler"), vec![1; 64 << 10]);
    assert!(filled.is_err(), "the file system is full");
    ask(&nginx, &mut who, 2);
    nginx.wait_error(&[failed, "write() ", "plays.tmp", "(28: No space left on device)"]);
    expect(&nginx, who, "counted on");
    assert!(good.lines().count() == home.read("plays").lines().count(), "the last version");
    fs::remove_file(home.path("filler")).expect("the filler");
    assert!(poll(|| home.read("plays").contains(&format!("{ID} 0 0 0 0 4 4 "))));
    assert!(wait_for(|| (!home.path("plays.tmp").exists()).then_some(())).is_some());
    nginx.finish();
}

/// A zone that is too small for the spaces in the file keeps them there.
#[test]
fn zone_with_less_room() {
    let home = Home::new();
    let names: Vec<String> = (0..150).map(|n| format!("space-{n}")).collect();
    let zone = |size: &str| format!("{size} state={}", home.path("plays").display());
    let site = |size: &str| {
        let site = home.site_with(&zone(size));
        names.iter().for_each(|name| {
            site.write(&format!("downloads/{name}.mp3"), recording());
        });
        site
    };
    let nginx = site("1m").start();
    let mut connection = nginx.connect(Protocol::Http1);
    for name in &names {
        let response = connection.send(&Request::get(&format!("/download/{name}")));
        assert_eq!(response.status, 200, "{name}");
    }
    drop(connection);
    nginx.finish();
    let nginx = site("32k listeners=8").allow("has no room for").start();
    nginx.wait_error(&["[warn]", "zone \"plays\" has no room for", "spaces of its state file"]);
    assert_eq!(requests(&json(&nginx)), 150);
    nginx.finish();
    let nginx = site("1m").start();
    for name in &names {
        let text = nginx.get(&format!("/status?space={name}")).text();
        let stats: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(number(&stats, "/space/counts/plays"), 1, "{name}");
    }
}

/// A configuration that is reloaded with another file goes on there.
#[test]
fn another_path() {
    let home = Home::new();
    let mut who = 0;
    let nginx = home.site("1h").start();
    let conf = fs::read_to_string(nginx.site().conf_path()).expect("nginx.conf");
    ask(&nginx, &mut who, 3);
    expect(&nginx, who, "before");
    fs::write(nginx.site().conf_path(), conf.replace("state/plays", "state/new"))
        .expect("nginx.conf");
    nginx.reload();
    ask(&nginx, &mut who, 3);
    expect(&nginx, who, "after");
    nginx.finish();
    assert!(home.read("plays").contains(&format!("{ID} 0 0 0 0 3 3 ")), "{}", home.read("plays"));
    assert!(home.read("new").contains(&format!("{ID} 0 0 0 0 6 6 ")), "{}", home.read("new"));
}
