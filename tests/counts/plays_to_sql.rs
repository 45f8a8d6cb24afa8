//! Plays in the log that nginx-conf/plays-to-sql brings into a database.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use xspace_tests::{
    Nginx, Protocol, Random, end_with_this_process, poll, project_dir, setting, wait_for,
};

use crate::database::{Database, Kind, tested};
use crate::site::{SPACES, counting, play};

const LOG: &str = "log/plays.log";

/// Plays and downloads of each space.
type Counts = BTreeMap<String, (u64, u64)>;

/// Debian's Python, for which the drivers are.
fn script(arguments: &[&str], database: &Database, log: Option<&Path>) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.arg(project_dir().join("nginx-conf/plays-to-sql")).args(arguments);
    command.arg(database.url()).args(log).stdin(Stdio::null());
    end_with_this_process(&mut command);
    command
}

/// A database with the tables.
pub fn database(kind: Kind, nginx: &Nginx) -> Database {
    let database = Database::start(kind, nginx.dir());
    let status = script(&["--create"], &database, None).status().expect("Python can be run");
    assert!(status.success(), "{kind:?}");
    database
}

/// Reads what is there; gives what it complains about.
#[track_caller]
pub fn read_once(database: &Database, nginx: &Nginx) -> String {
    let log = nginx.dir().join(LOG);
    let output = script(&["--once"], database, Some(&log)).output().expect("Python can be run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// Starts the script as a site does, but for the interval: kills are to meet it at work.
fn follow(database: &Database, log: &Path, messages: &Path) -> Child {
    let file = fs::File::options().create(true).append(true).open(messages).expect("a file");
    let mut command = script(&["--interval", "0.005"], database, Some(log));
    command.stderr(file).spawn().expect("Python can be run")
}

/// Renames the log and all that came before it, as logrotate does, and compresses some.
fn rotate(nginx: &Nginx, is_compressed: bool) {
    let log = nginx.dir().join(LOG);
    let old = |number: u32, extension: &str| -> PathBuf {
        PathBuf::from(format!("{}.{number}{extension}", log.display()))
    };
    let last = (1..).find(|&number| !old(number, "").exists() && !old(number, ".gz").exists());
    for number in (1..last.expect("an end")).rev() {
        for extension in ["", ".gz"] {
            if old(number, extension).exists() {
                fs::rename(old(number, extension), old(number + 1, extension)).expect("renamed");
            }
        }
    }
    // nginx goes on writing to the file until it opens the new one.
    fs::rename(&log, old(1, "")).expect("the log is there");
    nginx.reopen_logs();
    assert!(poll(|| log.exists()), "no new log");
    // The log that was renamed last may still be written to.
    if is_compressed && old(2, "").exists() {
        let status = Command::new("gzip").arg(old(2, "")).status().expect("gzip can be run");
        assert!(status.success());
    }
}

fn add(counts: &mut Counts, space: &str, is_download: bool) {
    let (plays, downloads) = counts.entry(space.to_owned()).or_default();
    if is_download {
        *downloads += 1;
    } else {
        *plays += 1;
    }
}

/// Tells clients to end, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The script is killed again and again, the database twice, while plays arrive and logs are
/// rotated.
fn nothing_is_lost_or_counted_twice(kind: Kind) {
    let kills = setting("XSPACE_TEST_KILLS", 50);
    let nginx = counting(&format!("{{dir}}/{LOG}")).workers(2).start();
    let mut database = database(kind, &nginx);
    let (log, messages) = (nginx.dir().join(LOG), nginx.dir().join("messages"));
    let mut random = Random::new(kind as u64 + 1);
    // Python takes some time to start, and a busy machine takes longer.
    let start = Instant::now();
    read_once(&database, &nginx);
    let usual = start.elapsed().min(Duration::from_millis(400));
    let is_over = AtomicBool::new(false);
    let expected = thread::scope(|scope| {
        let over = Over(&is_over);
        let clients = [0, 1].map(|client| {
            let (nginx, is_over) = (&nginx, &is_over);
            scope.spawn(move || {
                let mut counts = Counts::new();
                let mut random = Random::new(client + 7);
                let mut connection = nginx.connect(Protocol::Http1);
                for number in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let (space, is_download) = (random.pick(&SPACES), random.one_in(4));
                    play(&mut connection, space, &format!("{client}-{number}"), is_download);
                    add(&mut counts, space, is_download);
                    // Some, not as many as the machine can.
                    thread::sleep(Duration::from_millis(1));
                }
                counts
            })
        });
        for kill in 0..kills {
            let mut script = follow(&database, &log, &messages);
            thread::sleep(usual / 2 + usual * random.below(1000) as u32 / 500);
            if kill % 5 == 1 {
                rotate(&nginx, kill % 2 == 0);
            }
            if kill % 25 == 10 {
                database.kill();
                thread::sleep(Duration::from_millis(200));
                database.resume();
            }
            script.kill().expect("it is running");
            script.wait().expect("it has ended");
        }
        drop(over);
        let mut counts = Counts::new();
        for client in clients {
            for (space, (plays, downloads)) in client.join().expect("a client") {
                let sum = counts.entry(space).or_default();
                *sum = (sum.0 + plays, sum.1 + downloads);
            }
        }
        counts
    });
    let before = database.counts();
    let mut script = follow(&database, &log, &messages);
    let mut last = Counts::new();
    let is_same = poll(|| {
        last = database.counts();
        last == expected
    });
    script.kill().expect("it is running");
    script.wait().expect("it has ended");
    let said = fs::read_to_string(&messages).expect("messages");
    assert!(is_same, "{kind:?}: {last:?} of {expected:?}\n{said}");
    assert!(!said.contains("Traceback") && !said.contains("not as counting.conf"), "{said}");
    assert_eq!(read_once(&database, &nginx), "");
    assert_eq!(database.counts(), expected, "{kind:?}: read again");
    let sum = |counts: &Counts| counts.values().map(|(plays, _)| plays).sum::<u64>();
    assert!(sum(&before) > 0, "{kind:?}: it was killed before it did anything");
    println!(
        "{kind:?}: {} plays, {} of them read between {kills} kills",
        sum(&expected),
        sum(&before)
    );
}

#[test]
fn kills_with_sqlite() {
    nothing_is_lost_or_counted_twice(Kind::Sqlite);
}

#[test]
fn kills_with_postgresql() {
    nothing_is_lost_or_counted_twice(Kind::Postgresql);
}

#[test]
fn kills_with_mariadb() {
    nothing_is_lost_or_counted_twice(Kind::Mariadb);
}

/// One that goes on after it was stopped, its database gone and its log away.
#[test]
fn it_goes_on_by_itself() {
    for kind in tested(&[Kind::Sqlite, Kind::Postgresql, Kind::Mariadb]) {
        let nginx = counting(&format!("{{dir}}/{LOG}")).start();
        let mut database = database(kind, &nginx);
        let (log, messages) = (nginx.dir().join(LOG), nginx.dir().join("messages"));
        let said = || fs::read_to_string(&messages).unwrap_or_default();
        let mut connection = nginx.connect(Protocol::Http1);
        let mut expected = Counts::new();
        let mut play = |who: &str| {
            play(&mut connection, SPACES[0], who, false);
            add(&mut expected, SPACES[0], false);
            expected.clone()
        };
        let mut script = follow(&database, &log, &messages);
        let counts = play("first");
        assert!(poll(|| database.counts() == counts), "{kind:?}: {}", said());
        for round in ["once", "twice"] {
            database.kill();
            play(round);
            rotate(&nginx, true);
            assert!(poll(|| said().ends_with("trying again\n")), "{kind:?}: {}", said());
            let counts = play(&format!("{round}-more"));
            database.resume();
            assert!(poll(|| said().ends_with("going on\n")), "{kind:?}: {}", said());
            assert!(poll(|| database.counts() == counts), "{kind:?}: {}", said());
        }
        script.kill().expect("it is running");
        script.wait().expect("it has ended");
    }
}

/// Two scripts on one database, and the part of a transaction that a killed one has left.
#[test]
fn two_at_once_count_once() {
    for kind in tested(&[Kind::Sqlite, Kind::Postgresql, Kind::Mariadb]) {
        let nginx = counting(&format!("{{dir}}/{LOG}")).start();
        let database = database(kind, &nginx);
        let (log, messages) = (nginx.dir().join(LOG), nginx.dir().join("messages"));
        let mut scripts = [(); 3].map(|()| follow(&database, &log, &messages));
        let mut connection = nginx.connect(Protocol::Http1);
        let mut expected = Counts::new();
        for number in 0..300 {
            let space = SPACES[number % SPACES.len()];
            play(&mut connection, space, &number.to_string(), false);
            add(&mut expected, space, false);
            if number % 100 == 50 {
                rotate(&nginx, false);
            }
        }
        let said = || fs::read_to_string(&messages).unwrap_or_default();
        assert!(poll(|| database.counts() == expected), "{kind:?}: {}", said());
        for script in &mut scripts {
            assert!(script.try_wait().expect("it can be waited for").is_none(), "{}", said());
            script.kill().expect("it is running");
            script.wait().expect("it has ended");
        }
        read_once(&database, &nginx);
        assert_eq!(database.counts(), expected, "{kind:?}");
        assert!(!said().contains("Traceback"), "{}", said());
    }
}

/// What a log can be like: empty, with the half of a line, copied and truncated, with lines that are
/// none; old logs in all forms.
#[test]
fn odd_logs() {
    let nginx = counting(&format!("{{dir}}/{LOG}")).start();
    let database = database(Kind::Sqlite, &nginx);
    let log = nginx.dir().join(LOG);
    let mut connection = nginx.connect(Protocol::Http1);
    let mut expected = Counts::new();
    let mut play = |who: &str| {
        play(&mut connection, SPACES[0], who, false);
        add(&mut expected, SPACES[0], false);
        nginx.log_lines(LOG, 1);
        expected.clone()
    };
    let append = |text: &str| {
        let mut file = fs::File::options().append(true).open(&log).expect("the log");
        file.write_all(text.as_bytes()).expect("written");
    };
    assert_eq!(read_once(&database, &nginx), "", "an empty log");
    assert_eq!(database.counts(), Counts::new());

    // The line of another request, in two pieces.
    play("a");
    let whole =
        fs::read_to_string(&log).expect("the log").replace("\"request\":\"", "\"request\":\"0");
    fs::write(&log, "").expect("truncated");
    let (start, end) = whole.split_at(50);
    append(start);
    assert_eq!(read_once(&database, &nginx), "", "half of the first line");
    assert_eq!(database.counts(), Counts::new());
    append(end);
    append(start);
    read_once(&database, &nginx);
    assert_eq!(database.counts().values().next(), Some(&(1, 0)), "half of the second line");
    append(end);
    read_once(&database, &nginx);
    assert_eq!(database.counts().values().next(), Some(&(2, 0)));
    add(&mut expected, SPACES[0], false);

    let said = {
        append("no play\n\n{}\n{\"space\":\"../x\"}\n\u{0}\n");
        append(&whole.replace("\"as\":\"inline\"", "\"as\":\"\""));
        append(&whole.replace("\"time\":\"2", "\"time\":\"x"));
        read_once(&database, &nginx)
    };
    assert!(said.contains("7 lines before byte"), "{said}");
    assert_eq!(read_once(&database, &nginx), "", "they are behind it");
    assert_eq!(database.counts(), expected);
    println!("{said}");
}

/// A log that is copied and truncated (logrotate's copytruncate): the lines that were not yet copied
/// are lost, as for every reader of such a log, but the copy is not counted again.
#[test]
fn copied_logs() {
    let nginx = counting(&format!("{{dir}}/{LOG}")).start();
    let database = database(Kind::Sqlite, &nginx);
    let log = nginx.dir().join(LOG);
    let mut connection = nginx.connect(Protocol::Http1);
    let mut expected = Counts::new();
    for round in 0..6 {
        for number in 0..=round {
            play(&mut connection, SPACES[1], &format!("{round}-{number}"), false);
            add(&mut expected, SPACES[1], false);
        }
        wait_for(|| {
            let lines = fs::read_to_string(&log).expect("the log").lines().count();
            (lines == round + 1).then_some(())
        })
        .expect("the lines are there");
        if round % 3 == 0 {
            read_once(&database, &nginx);
        }
        fs::copy(&log, format!("{}-2026010{round}", log.display())).expect("copied");
        if round % 3 == 1 {
            read_once(&database, &nginx);
        }
        fs::write(&log, "").expect("truncated");
    }
    assert_eq!(read_once(&database, &nginx), "");
    assert_eq!(database.counts(), expected);
}
