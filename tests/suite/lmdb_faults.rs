//! LMDB environments that are damaged, replaced, full, or killed with their writers.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;
use xspace_tests::{
    LmdbWriter, Nginx, Protocol, Random, Request, Site, is_root, lmdb_load, lmdb_readers,
    lmdb_set_dupsort, poll, send_signal, setting,
};

use crate::common::{ID, OTHER, PATH, ask};
use crate::lmdb::{says, site, start, titled};

/// The variables of a request that has found the file by its entry.
fn found(title: &str) -> (u16, String) {
    (200, format!("found|catalog|a.mp3|{title}"))
}

/// Waits until a request is answered so.
#[track_caller]
fn wait_says(nginx: &Nginx, expected: &(u16, String)) {
    assert!(poll(|| says(nginx, PATH) == *expected), "{expected:?}: {:?}", says(nginx, PATH));
}

/// Fails unless an answer is one of these.
fn says_one_of(nginx: &Nginx, expected: &[(u16, String)], what: &str) {
    let seen = says(nginx, PATH);
    assert!(expected.contains(&seen), "{what}: {seen:?} {}", nginx.error_log());
}

/// Waits until two workers have the environment open.
#[track_caller]
fn wait_open(nginx: &Nginx) {
    let is_open = || {
        let (workers, readers) = (nginx.workers(), lmdb_readers(&nginx.dir().join("db")));
        workers.len() == 2 && workers.iter().all(|worker| readers.contains(worker))
    };
    assert!(poll(is_open), "{}", nginx.error_log());
}

const CLOSED: u16 = 503;

fn closed() -> (u16, String) {
    (CLOSED, "error|||".to_owned())
}

#[test]
fn environment_that_is_removed_is_503_until_it_is_back() {
    let (nginx, writer) = start(site(""), &[(ID, Some(&titled("x")))]);
    drop(writer);
    let (db, away) = (nginx.dir().join("db"), nginx.dir().join("away"));
    for round in 0..2 {
        fs::rename(&db, &away).expect("moved away");
        wait_says(&nginx, &closed());
        nginx.wait_errors(&["[error]", "/db\" not opened: stat() \""], round + 1);
        // Nobody keeps what may have been deleted.
        let maps = fs::read_to_string(format!("/proc/{}/maps", nginx.wait_worker()));
        assert!(!maps.expect("maps").contains("/data.mdb"), "still mapped");
        fs::rename(&away, &db).expect("moved back");
        wait_says(&nginx, &found("x"));
        nginx.wait_errors(&["[notice]", "/db\" reopened: 1 entries"], round + 1);
    }
    // One file after the other.
    for (round, name) in ["lock.mdb", "data.mdb"].into_iter().enumerate() {
        fs::rename(db.join(name), &away).expect("moved away");
        wait_says(&nginx, &closed());
        let message = format!("/db/{name}\" failed (2: No such file or directory)");
        nginx.wait_errors(&["[error]", "not opened: stat()", &message], 1 + 2 * round);
        fs::rename(&away, db.join(name)).expect("moved back");
        wait_says(&nginx, &found("x"));
    }
}

#[test]
fn environment_that_is_replaced_as_a_whole_is_read_anew() {
    let (nginx, mut writer) = start(site("").workers(2), &[(ID, Some(&titled("0")))]);
    wait_open(&nginx);
    let (db, old, new) = (nginx.dir().join("db"), nginx.dir().join("old"), nginx.dir().join("new"));
    for number in 1..=3 {
        let (before, after) = ((number - 1).to_string(), number.to_string());
        lmdb_load(&new, 1 << 20, [(ID, titled(&after).as_str()), (OTHER, "{}")]);
        fs::rename(&db, &old).expect("moved away");
        fs::rename(&new, &db).expect("moved there");
        // What is not there for a moment is 503, and never the directory's recording.
        let expected = [found(&before), found(&after), closed()];
        for _ in 0..20 {
            says_one_of(&nginx, &expected, "replaced");
        }
        wait_says(&nginx, &found(&after));
        nginx.wait_errors(&["[notice]", "reopened: 2 entries"], 2 * number);
        fs::remove_dir_all(&old).expect("removed");
    }
    // The writer has the old one open, and notices nothing.
    writer.put(ID, &titled("nowhere"));
    assert_eq!(says(&nginx, PATH), found("3"));
    let mut writer = LmdbWriter::open(&db);
    writer.put(ID, &titled("4"));
    assert_eq!(says(&nginx, PATH), found("4"));
}

/// The documentation says that nobody should: a writer that is open would write to a file that has no
/// name any more.
#[test]
fn file_that_is_replaced_alone_is_read_anew() {
    // Two catalogs of each worker that are one environment.
    let site = site("").workers(2).server(
        "location ^~ /other/ { xspace_download /downloads/; xspace_catalog lmdb:{dir}/link; }",
    );
    site.symlink("db", "link");
    let (nginx, writer) = start(site, &[(ID, Some(&titled("old")))]);
    wait_open(&nginx);
    writer.kill();
    let (db, new) = (nginx.dir().join("db"), nginx.dir().join("new"));
    for (number, name) in ["data.mdb", "lock.mdb", "data.mdb"].into_iter().enumerate() {
        let title = number.to_string();
        lmdb_load(&new, 1 << 20, [(ID, titled(&title).as_str())]);
        fs::rename(new.join(name), db.join(name)).expect("renamed");
        let expected = if name == "data.mdb" { &title } else { "0" };
        wait_says(&nginx, &found(expected));
        // By each worker, for both: the second may find what the first has opened.
        let reopened = || nginx.count_errors(&["[notice]", "reopened: 1 entries"]);
        assert!(poll(|| reopened() >= 2 * (number + 1)), "{}", nginx.error_log());
        assert_eq!(says(&nginx, PATH), found(expected), "{name}");
        assert_eq!(says(&nginx, &format!("/other/{ID}")), found(expected), "{name}");
        let mut workers = nginx.workers();
        workers.sort_unstable();
        let readers = || {
            let mut readers = lmdb_readers(&db);
            readers.sort_unstable();
            readers
        };
        assert!(poll(|| readers() == workers), "{name}: {:?} {workers:?}", readers());
        fs::remove_dir_all(&new).expect("removed");
    }
    // All agree on the locks again.
    let mut writer = LmdbWriter::open(&db);
    for number in 0..50 {
        writer.put(ID, &titled(&format!("after {number}")));
        assert_eq!(says(&nginx, PATH), found(&format!("after {number}")));
        assert_eq!(says(&nginx, &format!("/other/{ID}")), found(&format!("after {number}")));
    }
}

#[test]
fn environment_that_has_outgrown_the_map_is_mapped_anew() {
    let site = site("").workers(2).refuse_errors();
    let mut writer = LmdbWriter::open_with(&site.dir().join("db"), &json!({"map_size": 1 << 20}));
    writer.put(ID, &titled("small"));
    let nginx = site.start();
    assert_eq!(says(&nginx, PATH), found("small"));
    let filler = "x".repeat(100_000);
    for (round, size) in [8 << 20, 32 << 20, 64 << 20].into_iter().enumerate() {
        assert_eq!(writer.send(&json!(["grow", size])).as_deref(), Some("ok"));
        for number in 0..size / 2 / filler.len() {
            let key = format!("filler-{round}-{number}");
            writer.put(&key, &filler);
        }
        // The entry comes to be on a page behind the old map.
        let title = format!("{round}, large");
        writer.put(ID, &titled(&title));
        for _ in 0..20 {
            assert_eq!(says(&nginx, PATH), found(&title), "{size}");
        }
    }
}

#[test]
fn flags_that_are_set_while_it_is_open_are_500() {
    let (nginx, writer) = start(site(""), &[(ID, Some(&titled("x")))]);
    assert_eq!(says(&nginx, PATH), found("x"));
    drop(writer);
    lmdb_set_dupsort(&nginx.dir().join("db"));
    assert_eq!(says(&nginx, PATH), (500, "error|||".to_owned()));
    nginx.wait_error(&["could not serve space", "cannot be read: main database has flags 0x04"]);
}

/// The root of the tree is a page that does not exist.
#[test]
fn error_of_lmdb_is_500_and_no_missing_entry() {
    let (nginx, writer) = start(site(""), &[(ID, Some(&titled("x")))]);
    drop(writer);
    assert_eq!(says(&nginx, PATH), found("x"));
    let path = nginx.dir().join("db/data.mdb");
    let before = fs::read(&path).expect("data.mdb");
    let mut damaged = before.clone();
    for meta in [0, 4096] {
        damaged[meta + 128..meta + 136].copy_from_slice(&(1_u64 << 40).to_ne_bytes());
    }
    fs::write(&path, damaged).expect("damaged");
    for _ in 0..3 {
        assert_eq!(says(&nginx, PATH), (500, "error|||".to_owned()));
    }
    let start = format!("could not serve space \"{ID}\": catalog \"lmdb:");
    nginx
        .wait_errors(&["[error]", &start, "cannot be read: mdb_get() failed (-30797: MDB_PAGE"], 3);
    fs::write(&path, before).expect("as it was");
    assert_eq!(says(&nginx, PATH), found("x"));
}

/// Where the file system of a test is mounted; unmounted with the value.
struct Mount(PathBuf);

impl Mount {
    /// A file system in memory, if the tests may mount one.
    fn tmpfs(path: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir_all(&path).expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(&path)
            .stderr(Stdio::null())
            .status();
        if is_root() && mounted.is_ok_and(|status| status.success()) {
            return Some(Self(path));
        }
        let thread = thread::current();
        println!("passed over: {} (nothing can be mounted)", thread.name().unwrap_or("a test"));
        None
    }

    fn remount(&self, options: &str) {
        let mounted = Command::new("mount").args(["-o", options]).arg(&self.0).status();
        assert!(mounted.expect("mount").success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn environment_on_a_tmpfs_is_as_any_other() {
    let site = site("").refuse_errors();
    let Some(mount) = Mount::tmpfs(site.dir().join("db"), "size=16m") else { return };
    let (nginx, mut writer) = start(site, &[(ID, Some(&titled("0")))]);
    for number in 1..=100 {
        writer.put(ID, &titled(&number.to_string()));
        assert_eq!(says(&nginx, PATH), found(&number.to_string()));
    }
    drop(nginx);
    drop(mount);
}

#[test]
fn environment_on_a_read_only_file_system_is_refused() {
    let site = site("optional");
    let Some(mount) = Mount::tmpfs(site.dir().join("db"), "size=16m") else { return };
    lmdb_load(&site.dir().join("db"), 1 << 20, [(ID, titled("x").as_str())]);
    mount.remount("remount,ro");
    let nginx = site.start();
    let checked = nginx.check();
    let why = format!(
        "access() \"{}/db/lock.mdb\" failed (30: Read-only file system)",
        nginx.dir().display()
    );
    checked.expect_line("warn", &why, &[], "read-only");
    assert_eq!(says(&nginx, PATH), closed());
    let why = "not opened: its file system is read-only, so there are no locks";
    nginx.wait_error(&["[error]", why]);
    // As soon as it can be written to, there are locks.
    mount.remount("remount,rw");
    wait_says(&nginx, &found("x"));
    drop(nginx);
    drop(mount);
}

#[test]
fn disk_that_is_full_for_the_writer_leaves_the_last_state() {
    let (nginx, mut writer) = start(site("").refuse_errors(), &[(ID, Some(&titled("before")))]);
    let size = fs::metadata(nginx.dir().join("db/data.mdb")).expect("data.mdb").len();
    assert_eq!(writer.send(&json!(["limit", size])).as_deref(), Some("ok"));
    let mut failures = 0;
    for number in 0..20 {
        let (title, filler) = (titled(&format!("failed {number}")), "x".repeat(50_000));
        let answer = writer.try_write(&[(ID, Some(&title)), ("filler", Some(&filler))]);
        let answer = answer.expect("the writer lives");
        failures += usize::from(answer != "ok");
        assert_eq!(says(&nginx, PATH), found("before"), "{answer}");
    }
    assert_eq!(failures, 20, "the disk was full");
    // With a full disk what fits into free pages is written.
    drop(writer);
    let mut writer = LmdbWriter::open(&nginx.dir().join("db"));
    writer.put(ID, &titled("after"));
    assert_eq!(says(&nginx, PATH), found("after"));
}

#[test]
fn table_of_readers_that_is_full_is_503_until_there_is_room() {
    let site = site("optional");
    let path = site.dir().join("db");
    // Whoever comes first makes the table. Readers of a process count one by one.
    let mut writer = LmdbWriter::open_with(&path, &json!({"max_readers": 1}));
    writer.put(ID, &titled("x"));
    let mut reader = LmdbWriter::open(&path);
    assert_eq!(reader.send(&json!(["hold"])).as_deref(), Some("ok"));
    let nginx = site.start();
    assert_eq!(says(&nginx, PATH), closed());
    nginx.wait_error(&[
        "[error]",
        "not opened: mdb_txn_begin() failed (-30790: MDB_READERS_FULL: ",
        "the process that opened it first has set \"maxreaders\" too low",
    ]);
    // A reader that was killed gives its slot to the next one.
    reader.kill();
    wait_says(&nginx, &found("x"));
    assert_eq!(lmdb_readers(&path).len(), 1);
    writer.put(ID, &titled("y"));
    assert_eq!(says(&nginx, PATH), found("y"));
}

#[test]
fn process_id_that_another_namespace_uses_is_told() {
    let site = site("optional");
    let path = site.dir().join("db");
    drop(LmdbWriter::open(&path));
    // The byte of each process id is locked, as it is for those of other processes.
    let code = "import fcntl, sys\n\
                file = open(sys.argv[1], 'r+b')\n\
                fcntl.lockf(file, fcntl.LOCK_EX, 1 << 23, 1)\n\
                print('ok', flush=True)\n\
                sys.stdin.read()";
    let mut other = Command::new("/usr/bin/python3")
        .args(["-c", code])
        .arg(path.join("lock.mdb"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python");
    let mut line = String::new();
    let output = other.stdout.take().expect("a pipe");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).expect("a line");
    let nginx = site.start();
    assert_eq!(says(&nginx, PATH), closed());
    nginx.wait_error(&[
        "not opened: mdb_txn_begin() failed (11: Resource temporarily unavailable): a process with \
         the same id has the environment open in another PID namespace",
    ]);
    other.kill().expect("killed");
    other.wait().expect("ended");
    assert!(poll(|| nginx.get(PATH).status == 200), "{}", nginx.error_log());
}

/// The command of a writer in a PID namespace of its own that has this process id there; `None` if the
/// tests may not make one.
fn writer_in_a_namespace(path: &Path, pid: u32) -> Option<Command> {
    let as_root: &[&str] = if is_root() { &[] } else { &["--user", "--map-root-user"] };
    // The next process that is started gets the id.
    let script = format!("echo {} >/proc/sys/kernel/ns_last_pid && \"$@\"; exit", pid - 1);
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(as_root).args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.args(["sh", "-c", &script, "sh"]);
        command
    };
    let tried = unshare().arg("true").stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        let thread = thread::current();
        let name = thread.name().unwrap_or("a test");
        println!("passed over: {name} (there can be no PID namespaces)");
        return None;
    }
    let (mut command, writer) = (unshare(), LmdbWriter::command());
    command.arg(writer.get_program()).args(writer.get_args()).arg(path).arg("{}");
    Some(command)
}

#[test]
fn writer_in_another_pid_namespace_matters_only_with_the_id_of_a_worker() {
    let site = site("");
    let path = site.dir().join("db");
    lmdb_load(&path, 1 << 20, [(ID, titled("0").as_str())]);
    let nginx = site.start();
    assert_eq!(says(&nginx, PATH), found("0"));
    let worker = nginx.wait_worker();

    let Some(mut command) = writer_in_a_namespace(&path, worker + 1) else { return };
    let mut writer = LmdbWriter::start(&mut command);
    assert_eq!(writer.send(&json!(["hold"])).as_deref(), Some("ok"));
    assert_eq!(lmdb_readers(&path), [worker, worker + 1]);
    for number in 1..=3 {
        // Neither takes the other for dead.
        assert_eq!(writer.send(&json!(["readers"])).as_deref(), Some("2"));
        writer.put(ID, &titled(&number.to_string()));
        assert_eq!(says(&nginx, PATH), found(&number.to_string()));
    }
    drop(writer);

    // Of two processes with one id, the one that comes second can't read: the writer, then nginx.
    let Some(mut command) = writer_in_a_namespace(&path, worker) else { return };
    let output = command.output().expect("a writer");
    let output = String::from_utf8_lossy(&output.stderr);
    assert!(output.contains("mdb_txn_begin: Resource temporarily unavailable"), "{output}");
    assert_eq!(says(&nginx, PATH), found("3"));
    let away = nginx.dir().join("away");
    fs::rename(&path, &away).expect("moved away");
    wait_says(&nginx, &closed());
    let Some(mut command) = writer_in_a_namespace(&away, worker) else { return };
    let mut writer = LmdbWriter::start(&mut command);
    writer.put(ID, &titled("4"));
    fs::rename(&away, &path).expect("moved back");
    nginx.wait_error(&[
        "not opened: mdb_txn_begin() failed (11: Resource temporarily unavailable): a process with \
         the same id has the environment open in another PID namespace",
    ]);
    assert_eq!(says(&nginx, PATH), closed());
    drop(writer);
    wait_says(&nginx, &found("4"));
}

#[test]
fn lock_file_of_another_lmdb_is_told() {
    let site = site("optional");
    let path = site.dir().join("db");
    let mut writer = LmdbWriter::open(&path);
    writer.put(ID, &titled("x"));
    // As long as somebody has it open, the lock file is what the first one has made of it.
    let lock = path.join("lock.mdb");
    let mut file = OpenOptions::new().write(true).open(&lock).expect("lock.mdb");
    file.seek(SeekFrom::Start(4)).expect("the version");
    file.write_all(&[9]).expect("written");
    let nginx = site.start();
    assert_eq!(says(&nginx, PATH), closed());
    nginx.wait_error(&[
        "not opened: mdb_env_open() failed (-30794: MDB_VERSION_MISMATCH: ",
        "it is open in a process whose LMDB is not of 0.9",
    ]);
    writer.kill();
    wait_says(&nginx, &found("x"));
}

/// How often something is killed or damaged; 1000 for the long form.
fn rounds(short: usize) -> usize {
    setting("XSPACE_TEST_LMDB_ROUNDS", short)
}

#[test]
fn writers_killed_at_any_moment_leave_whole_entries() {
    let site = site("").workers(2).refuse_errors();
    let (nginx, writer) = start(site, &[(ID, Some(&titled("0"))), (OTHER, Some(&titled("0")))]);
    drop(writer);
    let path = nginx.dir().join("db");
    let stop = Arc::new(AtomicBool::new(false));
    let address = nginx.address(Protocol::Http1);
    let asking = {
        let stop = Arc::clone(&stop);
        thread::spawn(move || {
            let (mut newest, mut asked) = (0, 0);
            while !stop.load(Ordering::Acquire) {
                for id in [ID, OTHER] {
                    let request = Request::get(&format!("/download/{id}"));
                    let response = ask(Protocol::Http1, address, &request);
                    assert_eq!(response.status, 200, "{response:?}");
                    let says = response.header("x-says").expect("says");
                    let title = says.rsplit_once('|').expect("a title").1;
                    let number: u64 = title.parse().expect("a number");
                    assert!(number >= newest, "{id} went back from {newest} to {number}");
                    newest = number;
                    asked += 1;
                }
            }
            asked
        })
    };
    let mut random = Random::new(7);
    let mut number = 0;
    for _ in 0..rounds(15) {
        let mut writer = LmdbWriter::open(&path);
        let pid = writer.pid();
        let delay = Duration::from_micros(random.below(30_000) as u64);
        let killer = thread::spawn(move || {
            // A random moment is what is tested.
            thread::sleep(delay);
            send_signal(pid, libc::SIGKILL);
        });
        loop {
            number += 1;
            let title = titled(&number.to_string());
            // What was being written when it was killed may be there or not.
            if writer.try_write(&[(ID, Some(&title)), (OTHER, Some(&title))]).is_none() {
                break;
            }
            assert_eq!(says(&nginx, PATH), found(&number.to_string()));
        }
        killer.join().expect("killed");
    }
    // The next one is not kept waiting by a lock of a dead one.
    let mut writer = LmdbWriter::open(&path);
    writer.write(&[(ID, Some(&titled("1000000"))), (OTHER, Some(&titled("1000000")))]);
    assert_eq!(says(&nginx, PATH), found("1000000"));
    stop.store(true, Ordering::Release);
    assert!(asking.join().expect("no wrong answer") > 10);
    assert_eq!(lmdb_readers(&path).len(), 2);
}

#[test]
fn workers_killed_at_any_moment_leave_no_reader_behind() {
    let site = site("").workers(2).allow("exited on signal 9");
    let (nginx, mut writer) = start(site, &[(ID, Some(&titled("0")))]);
    let path = nginx.dir().join("db");
    let stop = Arc::new(AtomicBool::new(false));
    let address = nginx.address(Protocol::Http1);
    // Clients whose connection may break.
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut answers = 0;
                while !stop.load(Ordering::Acquire) {
                    let answer = std::net::TcpStream::connect(address).and_then(|mut stream| {
                        write!(
                            stream,
                            "GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                        )?;
                        let mut answer = String::new();
                        std::io::Read::read_to_string(&mut stream, &mut answer)?;
                        Ok(answer)
                    });
                    let Ok(answer) = answer else { continue };
                    if let Some((head, _)) = answer.split_once("\r\n\r\n") {
                        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
                        assert!(head.contains("X-Says: found|catalog|a.mp3|"), "{head}");
                        answers += 1;
                    }
                }
                answers
            })
        })
        .collect();
    let mut random = Random::new(8);
    let mut number = 0;
    for _ in 0..rounds(15) {
        let workers = nginx.workers();
        if let Some(&worker) = workers.get(random.below(2)) {
            nginx.signal_worker(worker, libc::SIGKILL);
            nginx.wait_gone(worker);
        }
        for _ in 0..random.below(20) {
            number += 1;
            writer.put(ID, &titled(&number.to_string()));
        }
        assert!(poll(|| nginx.workers().len() == 2), "{}", nginx.error_log());
    }
    stop.store(true, Ordering::Release);
    for client in clients {
        assert!(client.join().expect("no wrong answer") > 0);
    }
    writer.put(ID, &titled("last"));
    wait_says(&nginx, &found("last"));
    // The slots of dead workers are free again, as soon as a new worker has looked.
    let are_alive = || lmdb_readers(&path).iter().all(|pid| nginx.workers().contains(pid));
    assert!(poll(are_alive), "{:?} {:?}", lmdb_readers(&path), nginx.workers());
    // Nothing that a dead one was reading is kept: the file does not grow with each change.
    let size = || fs::metadata(path.join("data.mdb")).expect("data.mdb").len();
    let before = size();
    for number in 0..200 {
        writer.put(ID, &titled(&number.to_string()));
    }
    assert!(size() <= before + 100_000, "{before} {}", size());
}

/// Damages a file in random bytes; gives what it was before.
fn damage(path: &Path, random: &mut Random) -> Vec<u8> {
    let before = fs::read(path).expect("data.mdb");
    let mut file = OpenOptions::new().write(true).open(path).expect("data.mdb");
    for _ in 0..=random.below(8) {
        let at = random.below(before.len()) as u64;
        file.seek(SeekFrom::Start(at)).expect("within the file");
        file.write_all(&[random.below(256) as u8]).expect("written");
    }
    before
}

/// LMDB has no checksums: whatever comes of damage, a worker that dies is replaced, and when the file is
/// as it was, so are the answers.
#[test]
fn damage_is_survived_as_far_as_lmdb_can() {
    let site = site("only")
        .allow("exited on signal")
        .allow("worker process")
        .environment("MALLOC_CHECK_", "0");
    let path = site.dir().join("db");
    let entries: Vec<String> = (0..3000).map(|n| format!("{n:05}")).collect();
    let entry = titled("x");
    lmdb_load(&path, 16 << 20, entries.iter().map(|id| (id.as_str(), entry.as_str())));
    let nginx = site.start();
    let mut random = Random::new(setting("XSPACE_TEST_LMDB_SEED", 9));
    let data = path.join("data.mdb");
    let mut seen = [0; 4];
    for round in 0..rounds(40) {
        let before = damage(&data, &mut random);
        for _ in 0..30 {
            let id = &entries[random.below(3000)];
            let answer = raw_status(&nginx, &format!("/download/{id}"));
            match answer {
                Some(200) => seen[0] += 1,
                Some(404) => seen[1] += 1,
                Some(500 | 503) => seen[2] += 1,
                None => seen[3] += 1,
                Some(status) => panic!("round {round}: {status} {}", nginx.error_log()),
            }
        }
        fs::write(&data, before).expect("as it was");
        let is_good = || raw_status(&nginx, "/download/00000") == Some(200);
        assert!(poll(is_good), "round {round}: {}", nginx.error_log());
    }
    println!(
        "200: {}, 404: {}, 500 or 503: {}, worker died: {}",
        seen[0], seen[1], seen[2], seen[3]
    );
    assert!(seen[0] > 0);
}

/// The status of a request; `None` if the connection breaks.
fn raw_status(nginx: &Nginx, path: &str) -> Option<u16> {
    let address = nginx.address(Protocol::Http1);
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut answer).ok()?;
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

#[test]
fn damaged_meta_pages_are_refused_and_not_divided_by() {
    let (nginx, writer) = start(site("").allow("invalid catalog"), &[(ID, Some(&titled("x")))]);
    drop(writer);
    let (db, new) = (nginx.dir().join("db"), nginx.dir().join("new"));
    lmdb_load(&new, 1 << 20, [(ID, titled("y").as_str())]);
    let mut data = fs::read(new.join("data.mdb")).expect("data.mdb");
    data[40..44].fill(0);
    fs::write(new.join("data.mdb"), data).expect("written");
    fs::rename(&db, nginx.dir().join("old")).expect("moved away");
    fs::rename(&new, &db).expect("moved there");
    wait_says(&nginx, &closed());
    nginx.wait_error(&["[error]", "not opened: \"", "/db/data.mdb\": damaged: page size is 0"]);
    nginx.hang_up();
    nginx.wait_error(&["[emerg]", "invalid catalog \"lmdb:", "damaged: page size is 0"]);
    fs::rename(&db, &new).expect("moved away");
    fs::rename(nginx.dir().join("old"), &db).expect("moved back");
    wait_says(&nginx, &found("x"));
}

/// A file that is cut off while it is mapped ends the worker that looks behind the end.
#[test]
fn file_that_is_cut_off_costs_no_more_than_workers() {
    let site = site("only").allow("exited on signal");
    let path = site.dir().join("db");
    let entries: Vec<String> = (0..3000).map(|n| format!("{n:05}")).collect();
    let entry = titled("x");
    lmdb_load(&path, 16 << 20, entries.iter().map(|id| (id.as_str(), entry.as_str())));
    let nginx = site.start();
    let data = path.join("data.mdb");
    let before = fs::read(&data).expect("data.mdb");
    let file = OpenOptions::new().write(true).open(&data).expect("data.mdb");
    file.set_len(before.len() as u64 / 2).expect("cut off");
    let statuses: Vec<_> = ["00000", "01500", "02999"]
        .iter()
        .map(|id| raw_status(&nginx, &format!("/download/{id}")))
        .collect();
    assert!(statuses.iter().all(|status| !matches!(status, Some(404))), "{statuses:?}");
    fs::write(&data, before).expect("as it was");
    assert!(poll(|| raw_status(&nginx, "/download/02999") == Some(200)), "{}", nginx.error_log());
}

#[test]
fn threads_of_nginx_do_not_matter() {
    if !xspace_tests::build().require("threads") {
        return;
    }
    let site = site("")
        .http("aio threads;")
        .server("location ^~ /file/ { xspace_catalog {dir}/catalog.json refresh=50ms; }")
        .file("catalog.json", "{}")
        .workers(2)
        .refuse_errors();
    let (nginx, mut writer) = start(site, &[(ID, Some(&titled("0")))]);
    for number in 1..=200 {
        writer.put(ID, &titled(&number.to_string()));
        assert_eq!(says(&nginx, PATH), found(&number.to_string()));
    }
}

/// A site on which two servers name one environment, and a third another one.
#[test]
fn several_environments_are_kept_apart() {
    let site = Site::new()
        .server("location ^~ /downloads/ { internal; alias {dir}/downloads/; }")
        .server(crate::lmdb::SAYS)
        .server("location ^~ /one/ { xspace_download /downloads/; xspace_catalog lmdb:{dir}/one; }")
        .server("location ^~ /two/ { xspace_download /downloads/; xspace_catalog lmdb:{dir}/two; }")
        .file("downloads/a.mp3", "a")
        .refuse_errors();
    let mut one = LmdbWriter::open(&site.dir().join("one"));
    let mut two = LmdbWriter::open(&site.dir().join("two"));
    one.put(ID, &titled("one"));
    two.put(ID, &titled("two"));
    let nginx = site.start();
    for number in 0..20 {
        let title = |name: &str| format!("{name} {number}");
        one.put(ID, &titled(&title("one")));
        two.put(ID, &titled(&title("two")));
        assert_eq!(says(&nginx, &format!("/one/{ID}")), found(&title("one")));
        assert_eq!(says(&nginx, &format!("/two/{ID}")), found(&title("two")));
    }
}
