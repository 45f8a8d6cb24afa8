//! Catalogs in LMDB that follow a database: nginx-conf/catalog-to-lmdb with `--follow`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use xspace_tests::{
    LmdbWriter, Nginx, Protocol, Random, Request, Site, deadline, end_with_this_process, poll,
    project_dir, setting, slowness,
};

use crate::catalog_from_sql::{
    SPACES, Source, lmdb_expected, lmdb_site, mdb_stat, read_lmdb, serves_all,
};
use crate::database::{Kind, tested};

const KINDS: [Kind; 2] = [Kind::Postgresql, Kind::Mariadb];

fn program() -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.arg(project_dir().join("nginx-conf/catalog-to-lmdb")).stdin(Stdio::null());
    end_with_this_process(&mut command);
    command
}

/// A database with the triggers that the program prints.
pub fn source(site: &Site, kind: Kind) -> Source {
    let source = Source::new(site, kind);
    let output = program().args(["--triggers", kind.name()]).output().expect("Python can be run");
    assert!(output.status.success());
    source.run(&String::from_utf8(output.stdout).expect("UTF-8"));
    source
}

/// The program; it is killed when it goes out of scope.
pub struct Follower {
    process: Child,
    messages: PathBuf,
}

impl Follower {
    fn start(source: &Source) -> Self {
        Self::start_with(source, &source.database.url(), None)
    }

    /// With another name of the database, and a directory of Python modules.
    pub fn start_with(source: &Source, url: &str, modules: Option<&Path>) -> Self {
        let messages = source.lmdb().with_file_name("messages");
        let file = File::options().create(true).append(true).open(&messages).expect("a file");
        let process = program()
            .args(["--follow", url])
            .arg(source.lmdb())
            .envs(modules.map(|dir| ("PYTHONPATH", dir)))
            .stderr(file)
            .spawn()
            .expect("Python can be run");
        Self { process, messages }
    }

    pub fn said(&self) -> String {
        fs::read_to_string(&self.messages).unwrap_or_default()
    }

    #[track_caller]
    pub fn waits_for(&self, word: &str) {
        assert!(poll(|| self.said().contains(word)), "not {word:?}: {}", self.said());
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// LMDB has these entries after some time.
#[track_caller]
pub fn becomes(source: &Source, follower: &Follower, expected: &Map<String, Value>, what: &str) {
    let mut last = Map::new();
    let is_so = poll(|| {
        last = read_lmdb(&source.lmdb());
        last == *expected
    });
    if !is_so {
        expected.iter().for_each(|(id, entry)| {
            if last.get(id) != Some(entry) {
                println!("{id}: {:?}, not {entry}", last.get(id));
            }
        });
        panic!("{:?}, {what}: {} entries: {}", source.kind, last.len(), follower.said());
    }
}

/// All changes were applied.
fn is_done(source: &Source) -> bool {
    source.database.query("site", "SELECT COUNT(*) FROM catalog_changes").trim() == "0"
}

/// `$xspace_outcome`, `$xspace_file` and `$xspace_title` of a space.
fn says(nginx: &Nginx, id: &str) -> String {
    let response = nginx.get(&format!("/download/{id}"));
    response.header("x-says").unwrap_or_default().to_owned()
}

#[test]
fn all_is_there_after_the_start() {
    for kind in tested(&KINDS) {
        let nginx = lmdb_site("").start();
        let source = source(nginx.site(), kind);
        source.insert(&SPACES);
        // What was there before: another entry, those of spaces that are gone, keys that are no ids.
        LmdbWriter::open(&source.lmdb()).write(&[
            ("titled", Some("\"d.mp3\"")),
            ("gone", Some("{}")),
            ("titled\n", Some("{}")),
            ("zzz", Some("{}")),
        ]);
        let follower = Follower::start(&source);
        becomes(&source, &follower, &lmdb_expected(), "after the start");
        serves_all(&nginx, kind);
        assert!(poll(|| is_done(&source)), "{kind:?}: changes of the time before");
        let said = follower.said();
        for id in [r#""""#, r#""a/b""#, r#""a\"\\b""#, r#""\ud83c\udf99""#, r#""line\n""#] {
            assert!(said.contains(&format!("{id} is not an id")), "{kind:?}, {id}: {said}");
        }

        // A second one would undo what the first one does.
        let output = program()
            .args(["--follow", &source.database.url()])
            .arg(source.lmdb())
            .output()
            .expect("Python can be run");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("another process writes"), "{said}");
    }
}

/// The time from the commit to the response of nginx, of changes of each kind.
#[test]
fn change_is_visible_in_under_a_second() {
    for kind in tested(&KINDS) {
        let nginx = lmdb_site("only").start();
        let source = source(nginx.site(), kind);
        source.insert(&[("titled", Some("0"), false, &["d.mp3"])]);
        let follower = Follower::start(&source);
        let mut connection = nginx.connect(Protocol::Http1);
        let mut get = |id: &str| {
            let response = connection.send(&Request::get(&format!("/download/{id}")));
            response.header("x-says").unwrap_or_default().to_owned()
        };
        assert!(poll(|| get("titled") == "found|d.mp3|0"), "{kind:?}: {}", follower.said());
        let mut times = Vec::new();
        let mut changes = |statement: &str, id: &str, expected: &str| {
            source.run(statement);
            let start = Instant::now();
            assert!(poll(|| get(id) == expected), "{kind:?}: {statement}: {}", follower.said());
            times.push(start.elapsed());
        };
        for number in 1..=20 {
            let statement = format!("UPDATE spaces SET title = '{number}'");
            changes(&statement, "titled", &format!("found|d.mp3|{number}"));
        }
        for (statement, id, expected) in [
            ("INSERT INTO spaces VALUES ('new', 'New', FALSE)", "new", "not_found||New"),
            ("INSERT INTO files VALUES ('new', 'by-id.mp3')", "new", "found|by-id.mp3|New"),
            ("UPDATE files SET path = 'd.mp3' WHERE space_id = 'new'", "new", "found|d.mp3|New"),
            (
                "UPDATE files SET space_id = 'new' WHERE space_id = 'titled'",
                "titled",
                "not_found||20",
            ),
            ("DELETE FROM files WHERE space_id = 'new'", "new", "not_found||New"),
            ("UPDATE spaces SET removed = TRUE WHERE space_id = 'new'", "new", "status||"),
            ("UPDATE spaces SET space_id = 'other' WHERE space_id = 'new'", "new", "not_found||"),
            ("SELECT 1", "other", "status||"),
            ("DELETE FROM spaces WHERE space_id = 'other'", "other", "not_found||"),
        ] {
            changes(statement, id, expected);
        }
        times.sort_unstable();
        let [median, slowest] = [times[times.len() / 2], times[times.len() - 1]];
        println!("{kind:?}: a change is visible after {median:?}, {slowest:?} at most");
        // The slowest one may have met a machine that had other work.
        assert!(median < Duration::from_secs(1) * slowness(), "{kind:?}: {times:?}");
        assert_eq!(follower.said(), "", "{kind:?}");
    }
}

#[test]
fn transaction_that_is_rolled_back_is_never_seen() {
    for kind in tested(&KINDS) {
        let nginx = lmdb_site("").start();
        let source = source(nginx.site(), kind);
        source.insert(&[("titled", Some("0"), false, &["d.mp3"])]);
        let follower = Follower::start(&source);
        assert!(poll(|| says(&nginx, "titled") == "found|d.mp3|0"), "{}", follower.said());
        // Longer than it takes to see what is committed.
        let sleep = match kind {
            Kind::Mariadb => "SELECT SLEEP(0.6)",
            Kind::Sqlite | Kind::Postgresql => "SELECT pg_sleep(0.6)",
        };
        let statements = format!(
            "BEGIN; UPDATE spaces SET title = 'never'; {sleep}; ROLLBACK;
             INSERT INTO spaces VALUES ('after', 'x', FALSE);"
        );
        thread::scope(|scope| {
            let change = scope.spawn(|| source.run(&statements));
            while !change.is_finished() {
                assert_eq!(says(&nginx, "titled"), "found|d.mp3|0", "{kind:?}");
            }
        });
        assert!(poll(|| read_lmdb(&source.lmdb()).contains_key("after")), "{}", follower.said());
        assert_eq!(says(&nginx, "titled"), "found|d.mp3|0", "{kind:?}");
        assert!(poll(|| is_done(&source)), "{kind:?}");
    }
}

/// A row that cannot be read, entries that nginx refuses, and ids that are not ids.
#[test]
fn bad_rows_are_refused_and_the_others_go_on() {
    for kind in tested(&KINDS) {
        let nginx = lmdb_site("").file("downloads/z-last.mp3", "withheld").start();
        let source = source(nginx.site(), kind);
        source
            .insert(&[("z-last", Some("0"), false, &[]), ("titled", Some("0"), false, &["d.mp3"])]);
        let rename = match kind {
            // Triggers cannot be on a view.
            Kind::Mariadb => "RENAME TABLE spaces TO all_spaces",
            Kind::Sqlite | Kind::Postgresql => "ALTER TABLE spaces RENAME TO all_spaces",
        };
        source.run(rename);
        source.last_is("FALSE");
        let follower = Follower::start(&source);
        assert!(poll(|| says(&nginx, "z-last") == "found|z-last.mp3|0"), "{}", follower.said());

        let (failing, error) = match kind {
            Kind::Mariadb => {
                ("(SELECT 1 FROM all_spaces o WHERE o.space_id <= s.space_id)", "more than 1 row")
            }
            Kind::Sqlite | Kind::Postgresql => {
                ("1 / (length(space_id) - 6) > 0", "division by zero")
            }
        };
        // Between the two statements there is no view, and a reader has to try again.
        source.last_is(failing);
        source.run("UPDATE all_spaces SET title = '1'");
        assert!(poll(|| says(&nginx, "titled") == "found|d.mp3|1"), "{}", follower.said());
        follower.waits_for("space \"z-last\" is refused: ");
        follower.waits_for(error);
        assert!(poll(|| nginx.get("/download/z-last").status == 500), "{}", follower.said());
        nginx.wait_error(&["[error]", "entry of space \"z-last\"", "is unusable: unknown key"]);

        // Entries that only nginx refuses.
        for id in ["many", "dots", "line\n", "line"] {
            let id = source.literal(id);
            source.run(&format!("INSERT INTO all_spaces VALUES ({id}, 'x', FALSE)"));
        }
        let many: Vec<String> = (0..65).map(|number| format!("('many', '{number}.mp3')")).collect();
        source.run(&format!("INSERT INTO files VALUES ('dots', '../d.mp3'), {}", many.join(",")));
        source.run("UPDATE all_spaces SET title = '2' WHERE space_id = 'titled'");
        assert!(poll(|| says(&nginx, "titled") == "found|d.mp3|2"), "{}", follower.said());
        assert!(poll(|| is_done(&source)), "{kind:?}: {}", follower.said());
        for id in ["many", "dots", "line"] {
            assert_eq!(nginx.get(&format!("/download/{id}")).status, 500, "{kind:?}: {id}");
            nginx.wait_error(&["[error]", &format!("entry of space \"{id}\""), "is unusable: "]);
        }
        follower.waits_for(r#""line\n" is not an id"#);
        // The good row of this space does not undo it, until the other one is gone.
        source.run("UPDATE all_spaces SET title = '3' WHERE space_id = 'line'");
        assert!(poll(|| is_done(&source)), "{kind:?}: {}", follower.said());
        assert_eq!(nginx.get("/download/line").status, 500, "{kind:?}");
        let id = source.literal("line\n");
        source.run(&format!("DELETE FROM all_spaces WHERE space_id = {id}"));
        assert!(poll(|| says(&nginx, "line") == "found|line.mp3|3"), "{}", follower.said());

        // What was wrong is right again.
        source.last_is("FALSE");
        source.run("UPDATE all_spaces SET title = '4' WHERE space_id = 'z-last'");
        assert!(poll(|| says(&nginx, "z-last") == "found|z-last.mp3|4"), "{}", follower.said());
    }
}

/// TRUNCATE, and what else starts no trigger.
#[test]
fn all_spaces_are_compared_on_demand() {
    for kind in tested(&KINDS) {
        let site = lmdb_site("");
        let source = source(&site, kind);
        source.insert_many(2500);
        let follower = Follower::start(&source);
        assert!(poll(|| read_lmdb(&source.lmdb()).len() == 2500), "{}", follower.said());
        assert!(poll(|| is_done(&source)), "{kind:?}: {}", follower.said());
        source.run("TRUNCATE TABLE files");
        if kind == Kind::Mariadb {
            source.run("INSERT INTO catalog_changes (space_id) VALUES (NULL)");
        }
        let has_none = |entry: &Value| entry["files"] == Value::Null;
        assert!(
            poll(|| read_lmdb(&source.lmdb()).values().all(has_none)),
            "{kind:?}: {}",
            follower.said()
        );
        assert!(poll(|| is_done(&source)), "{kind:?}");
        assert_eq!(follower.said(), "", "{kind:?}");
    }
}

/// Changes a random space, and what is expected.
fn change(source: &Source, random: &mut Random, expected: &mut Map<String, Value>, number: usize) {
    let id = format!("space-{}", random.below(40));
    let mut statements = format!(
        "DELETE FROM files WHERE space_id = '{id}'; DELETE FROM spaces WHERE space_id = '{id}';"
    );
    expected.remove(&id);
    let entry = match random.below(4) {
        0 => None,
        1 => {
            statements += &format!("INSERT INTO spaces VALUES ('{id}', '{number}', TRUE);");
            Some(json!({ "status": 410 }))
        }
        _ => {
            statements += &format!(
                "INSERT INTO spaces VALUES ('{id}', '{number}', FALSE);
                 INSERT INTO files VALUES ('{id}', '{number}.mp3');"
            );
            Some(json!({ "title": number.to_string(), "files": [format!("{number}.mp3")] }))
        }
    };
    expected.extend(entry.map(|entry| (id, entry)));
    source.run(&format!("BEGIN; {statements} COMMIT;"));
}

/// The follower is killed again and again, the database several times, while rows change: at the end
/// LMDB is equal to the tables.
fn nothing_is_lost(kind: Kind) {
    let kills = setting("XSPACE_TEST_KILLS", 50) / 5;
    let site = lmdb_site("");
    let mut source = source(&site, kind);
    // More than one transaction, and than one page of ids.
    source.insert_many(2500);
    let mut random = Random::new(kind as u64 + 11);
    let follower = Follower::start(&source);
    let start = Instant::now();
    assert!(poll(|| read_lmdb(&source.lmdb()).len() == 2500), "{kind:?}: {}", follower.said());
    let usual = start.elapsed().min(Duration::from_millis(500));
    drop(follower);
    let mut expected = read_lmdb(&source.lmdb());
    assert_eq!(expected["7"]["files"], json!(["d.mp3"]));
    let mut number = 0;
    let mut applied = 0;
    for kill in 0..kills {
        let follower = Follower::start(&source);
        // It may meet it at its start, while it compares, and while it follows.
        let end = Instant::now() + usual * random.below(2000) as u32 / 1000;
        loop {
            number += 1;
            change(&source, &mut random, &mut expected, number);
            if Instant::now() > end {
                break;
            }
        }
        if kill % 10 == 4 {
            source.database.kill();
            thread::sleep(Duration::from_millis(50));
            source.database.resume();
        }
        drop(follower);
        applied += usize::from(read_lmdb(&source.lmdb()) == expected);
    }
    let follower = Follower::start(&source);
    becomes(&source, &follower, &expected, "after the kills");
    assert!(poll(|| is_done(&source)), "{kind:?}: {}", follower.said());
    assert!(!follower.said().contains("Traceback"), "{kind:?}: {}", follower.said());
    assert!(expected.len() > 2500, "{kind:?}: {} entries", expected.len());
    println!("{kind:?}: {number} changes, {kills} kills; equal at {applied} of them");
}

#[test]
fn kills_with_postgresql() {
    nothing_is_lost(Kind::Postgresql);
}

#[test]
fn kills_with_mariadb() {
    nothing_is_lost(Kind::Mariadb);
}

/// One that goes on while its database is away, and says so once.
#[test]
fn it_goes_on_by_itself() {
    for kind in tested(&KINDS) {
        let nginx = lmdb_site("").start();
        let mut source = source(nginx.site(), kind);
        source.insert(&[("titled", Some("0"), false, &["d.mp3"])]);
        let follower = Follower::start(&source);
        assert!(poll(|| says(&nginx, "titled") == "found|d.mp3|0"), "{}", follower.said());
        for round in 1..=2 {
            source.database.kill();
            assert!(poll(|| follower.said().ends_with("trying again\n")), "{}", follower.said());
            assert_eq!(says(&nginx, "titled"), format!("found|d.mp3|{}", round - 1), "{kind:?}");
            source.database.resume();
            source.run(&format!("UPDATE spaces SET title = '{round}'"));
            let title = format!("found|d.mp3|{round}");
            assert!(poll(|| says(&nginx, "titled") == title), "{kind:?}: {}", follower.said());
            assert!(poll(|| follower.said().ends_with("going on\n")), "{}", follower.said());
        }
        assert!(!follower.said().contains("Traceback"), "{kind:?}: {}", follower.said());
    }
}

/// What a database of a million spaces takes, with XSPACE_TEST_FOLLOWED=1000000: all of it is compared at
/// the start, and changes are visible meanwhile.
#[test]
fn changes_are_visible_while_all_is_compared() {
    let count: u32 = setting("XSPACE_TEST_FOLLOWED", 20_000);
    for kind in tested(&KINDS) {
        let nginx = lmdb_site("only").start();
        let source = source(nginx.site(), kind);
        source.insert_many(count);
        // They are all in catalog_changes, too, and would be in the way.
        source.run("DELETE FROM catalog_changes");
        let follower = Follower::start(&source);
        assert!(poll(|| says(&nginx, "1").contains("xxx")), "{}", follower.said());
        let start = Instant::now();
        source.run("INSERT INTO spaces VALUES ('zz-new', 'new', FALSE)");
        assert!(poll(|| says(&nginx, "zz-new") == "not_found||new"), "{}", follower.said());
        let visible = start.elapsed();
        let end = Instant::now() + deadline(600);
        while mdb_stat(&source.lmdb(), "Entries: ") != u64::from(count) + 1 {
            assert!(Instant::now() < end, "{kind:?}: {}", follower.said());
        }
        println!("{kind:?}: {count} spaces in {:?}, a new one in {visible:?}", start.elapsed());
        assert!(visible < Duration::from_secs(2) * slowness(), "{kind:?}: {visible:?}");
    }
}
