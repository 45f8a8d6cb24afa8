//! Catalogs that the scripts in nginx-conf/ write from a database, as files and to LMDB.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Map, Value, json};
use xspace_tests::{
    LmdbWriter, Nginx, Random, Site, children, lmdb_entries, poll, project_dir, setting,
};

use crate::database::{Database, Kind, mysql, tested};

const KINDS: [Kind; 3] = [Kind::Sqlite, Kind::Postgresql, Kind::Mariadb];

/// A space as the queries of the scripts expect it: id, title, whether it is removed, files.
pub type Space = (&'static str, Option<&'static str>, bool, &'static [&'static str]);

pub const SPACES: [Space; 14] = [
    ("titled", Some("Gespräch \"Rust\" \\ 100% 🎙"), false, &[ODD_FILE, "2025/c.mp4"]),
    ("untitled", None, false, &["d.mp3"]),
    ("empty", Some(""), false, &["d.mp3"]),
    ("lines", Some("a\r\nb\tc\u{1}d\u{2028}"), false, &["d.mp3"]),
    ("by-id", Some("No file"), false, &[]),
    ("BY-ID", Some("2025"), false, &["d.mp3"]),
    ("nothing-known", None, false, &[]),
    ("removed", Some("Gone"), true, &["d.mp3"]),
    // No ids. nginx is told of them: an entry may have been meant to withhold the recording.
    ("", None, false, &["d.mp3"]),
    ("a/b", None, false, &["d.mp3"]),
    ("a\"\\b", None, false, &["d.mp3"]),
    ("🎙", None, false, &["d.mp3"]),
    ("line\n", None, true, &["d.mp3"]),
    ("suffix.mp3", None, true, &["d.mp3"]),
];

const ODD_FILE: &str = "2025/a \"b\" \\ 🎙 'c' 100%.mp3";

/// A database, and the directory of the catalog that is written from it.
pub struct Source {
    pub database: Database,
    pub kind: Kind,
    dir: PathBuf,
}

impl Source {
    pub fn new(site: &Site, kind: Kind) -> Self {
        let database = Database::start(kind, site.dir());
        let source = Self { database, kind, dir: site.make_dir("catalog") };
        if kind == Kind::Mariadb {
            // As old servers and careful administrators have it.
            source.run("SET GLOBAL group_concat_max_len = 20");
            source.run("SET GLOBAL sql_mode = 'ANSI,TRADITIONAL,NO_BACKSLASH_ESCAPES'");
        }
        source.create("VARCHAR(128)", "TEXT", "utf8mb4 COLLATE utf8mb4_bin");
        source
    }

    /// Creates the tables, with these types of ids and titles, and a character set of MariaDB.
    fn create(&self, id: &str, title: &str, charset: &str) {
        let options = match self.kind {
            Kind::Mariadb => format!("CHARACTER SET {charset}"),
            Kind::Sqlite | Kind::Postgresql => String::new(),
        };
        self.run(&format!(
            "CREATE TABLE spaces (space_id {id} PRIMARY KEY, title {title},
                                  removed BOOLEAN DEFAULT FALSE) {options};
             CREATE TABLE files (space_id {id}, path TEXT) {options};
             CREATE INDEX files_of_space ON files (space_id);"
        ));
    }

    pub fn run(&self, statements: &str) {
        self.database.query("site", statements);
    }

    /// Text in SQL, whatever is in it.
    pub fn literal(&self, text: &str) -> String {
        let hex = data_encoding::HEXLOWER.encode(text.as_bytes());
        match self.kind {
            Kind::Sqlite => format!("CAST(X'{hex}' AS TEXT)"),
            Kind::Postgresql => format!("convert_from('\\x{hex}', 'UTF8')"),
            Kind::Mariadb => format!("CONVERT(X'{hex}' USING utf8mb4)"),
        }
    }

    pub fn insert(&self, spaces: &[Space]) {
        let mut statements = String::new();
        for (id, title, is_removed, files) in spaces {
            let id = self.literal(id);
            let title = title.map_or("NULL".to_owned(), |title| self.literal(title));
            statements += &format!("INSERT INTO spaces VALUES ({id}, {title}, {is_removed});");
            for file in *files {
                let file = self.literal(file);
                statements += &format!("INSERT INTO files VALUES ({id}, {file});");
            }
        }
        self.run(&statements);
    }

    /// So many spaces, with titles of 400 characters and a file each.
    pub fn insert_many(&self, count: u32) {
        let (number, numbers, title) = match self.kind {
            Kind::Sqlite => (
                "value",
                format!("generate_series(1, {count})"),
                // The shell of SQLite has this table, SQLite itself has no repeat().
                "replace(hex(zeroblob(200)), '0', 'x')",
            ),
            Kind::Postgresql => {
                ("value", format!("generate_series(1, {count}) value"), "repeat('x', 400)")
            }
            Kind::Mariadb if mysql().is_some() => (
                "seq",
                format!(
                    "(WITH RECURSIVE numbers AS (
                          SELECT 1 AS seq UNION ALL SELECT seq + 1 FROM numbers WHERE seq < {count}
                      ) SELECT seq FROM numbers) AS numbers"
                ),
                "repeat('x', 400)",
            ),
            Kind::Mariadb => ("seq", format!("seq_1_to_{count}"), "repeat('x', 400)"),
        };
        let id = format!("CAST({number} AS CHAR(10))");
        self.run(&format!(
            "INSERT INTO spaces SELECT {id}, {title}, FALSE FROM {numbers};
             INSERT INTO files SELECT {id}, 'd.mp3' FROM {numbers};"
        ));
    }

    /// Makes `spaces` a view of the spaces, whose `removed` is another expression for the last one,
    /// that with the greatest id.
    pub fn last_is(&self, expression: &str) {
        self.run(&format!(
            "DROP VIEW IF EXISTS spaces;
             CREATE VIEW spaces AS
                 SELECT space_id, title,
                        CASE WHEN space_id = 'z-last' THEN {expression} ELSE removed END AS removed
                   FROM all_spaces s;"
        ));
    }

    fn catalog(&self) -> PathBuf {
        self.dir.join("catalog.json")
    }

    /// The script, started by a shell that gives itself limits before.
    fn script(&self, limits: &str) -> Command {
        self.script_for(limits, self.catalog().into())
    }

    fn script_for(&self, limits: &str, catalog: OsString) -> Command {
        let (script, url) = self.database.catalog_from();
        let mut command = Command::new("/bin/bash");
        command
            .args(["-c", &format!("{limits} exec \"$0\" \"$@\"")])
            .arg(script)
            .arg(url)
            .arg(catalog)
            // Names that are not ASCII must not depend on the locale, which cron does not set.
            .env("LC_ALL", "C")
            // A sort would need all rows before the first.
            .env("PGOPTIONS", "-c enable_sort=off")
            .envs(self.database.path().map(|path| ("PATH", path)))
            .stdin(Stdio::null());
        command
    }

    /// The script that writes to LMDB.
    fn script_for_lmdb(&self, limits: &str) -> Command {
        self.script_for(limits, format!("lmdb:{}", self.lmdb().display()).into())
    }

    /// The environment, which [`lmdb_site`] makes.
    pub fn lmdb(&self) -> PathBuf {
        self.dir.with_file_name("lmdb")
    }

    /// Writes to LMDB; gives the messages.
    #[track_caller]
    fn write_lmdb(&self) -> String {
        let output = self.script_for_lmdb("").output().expect("bash can be run");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{:?}: {said}", self.kind);
        said
    }

    #[track_caller]
    fn write(&self) {
        let output = self.script("").output().expect("bash can be run");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{:?}: {said}", self.kind);
        assert_eq!(self.names(), ["catalog.json"], "{:?}", self.kind);
    }

    #[track_caller]
    fn read(&self) -> Value {
        let text = fs::read(self.catalog()).expect("the catalog");
        serde_json::from_slice(&text)
            .unwrap_or_else(|e| panic!("{:?}: {e}: {}", self.kind, String::from_utf8_lossy(&text)))
    }

    /// What is in the catalog's directory.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.dir).expect("a directory").flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Whether rows are on their way into a new file, or to catalog-to-lmdb of this shell.
    fn has_begun(&self, script: Option<u32>) -> bool {
        if let Some(script) = script {
            let sorts = children(script).into_iter().flat_map(children);
            return sorts.into_iter().any(|pid| {
                let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
                let read = io.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok());
                read > Some(1_000_000)
            });
        }
        let names = self.names();
        let new = names.iter().find(|&name| name != "catalog.json");
        let metadata = new.map(|name| fs::metadata(self.dir.join(name)));
        metadata.is_some_and(|metadata| metadata.is_ok_and(|metadata| metadata.len() > 1_000_000))
    }

    /// The script has failed, with a message that has a word, and has left all as it was.
    #[track_caller]
    fn has_failed(&self, is_lmdb: bool, output: &Output, word: &str, what: &str) {
        let said = String::from_utf8_lossy(&output.stderr);
        let what = format!("{:?}, {what}: {said}", self.kind);
        assert!(!output.status.success(), "{what}");
        assert!(said.contains(word) && !said.contains("Traceback"), "{what}");
        if is_lmdb {
            let old = json!({ "removed": { "status": 410 } });
            assert_eq!(Value::Object(read_lmdb(&self.lmdb())), old, "{what}");
            return;
        }
        assert_eq!(self.names(), ["catalog.json"], "{what}");
        assert_eq!(fs::read_to_string(self.catalog()).expect("the catalog"), OLD, "{what}");
    }
}

/// The catalog before.
const OLD: &str = r#"{"removed":{"status":410}}"#;

/// The entries of [`SPACES`].
fn entries() -> Value {
    let entry = |&(id, title, is_removed, files): &Space| {
        let files = if files.is_empty() { Value::Null } else { json!(files) };
        let entry = json!({ "title": title, "files": files });
        (id.to_owned(), if is_removed { json!({ "status": 410 }) } else { entry })
    };
    SPACES.iter().map(entry).collect()
}

fn site() -> Site {
    Site::with_directives("xspace_catalog {dir}/catalog/catalog.json;", "")
}

/// A site with an empty environment, which workers of any user may read.
pub fn lmdb_site(parameters: &str) -> Site {
    let site =
        Site::with_directives(&format!("xspace_catalog lmdb:{{dir}}/lmdb {parameters};"), "")
            .server("add_header X-Says '$xspace_outcome|$xspace_file|$xspace_title' always;");
    LmdbWriter::open(&site.dir().join("lmdb")).kill();
    with_files(site)
}

/// The files of [`SPACES`].
fn with_files(mut site: Site) -> Site {
    for (file, text) in [
        (ODD_FILE, "odd"),
        ("d.mp3", "d"),
        ("by-id.mp3", "by id"),
        ("nothing-known.mp3", "nothing"),
        ("removed.mp3", "withheld"),
        ("line.mp3", "withheld"),
        ("suffix.mp3", "withheld"),
    ] {
        site = site.file(&format!("downloads/{file}"), text);
    }
    site
}

/// The entries in an environment, as JSON, those that are refused as the string "refused".
pub fn read_lmdb(directory: &Path) -> Map<String, Value> {
    let entry = |(key, text): (String, String)| {
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        (key, if value.get("error").is_some() { json!("refused") } else { value })
    };
    lmdb_entries(directory).into_iter().map(entry).collect()
}

/// The entries of [`SPACES`] in LMDB: there is no key that is not an id.
pub fn lmdb_expected() -> Map<String, Value> {
    let is_id =
        |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let entries = entries();
    let mut entries = entries.as_object().expect("an object").clone();
    entries.retain(|id, _| is_id(id));
    for id in ["line", "suffix"] {
        entries.insert(id.to_owned(), json!("refused"));
    }
    entries
}

#[test]
fn lmdb_has_what_the_database_says() {
    for kind in tested(&KINDS) {
        let nginx = lmdb_site("").start();
        let source = Source::new(nginx.site(), kind);
        source.insert(&SPACES);
        let said = source.write_lmdb();
        for id in [r#""""#, r#""a/b""#, r#""a\"\\b""#, r#""\ud83c\udf99""#] {
            assert!(said.contains(&format!("{id} is not an id")), "{kind:?}, {id}: {said}");
        }
        assert!(said.contains(r#"space "line\n" is refused: it is not an id"#), "{kind:?}: {said}");
        assert_eq!(read_lmdb(&source.lmdb()), lmdb_expected(), "{kind:?}");
        serves_all(&nginx, kind);

        // Only what differs is written.
        let transaction = || last_transaction(&source.lmdb());
        let before = transaction();
        assert_eq!(source.write_lmdb(), said, "{kind:?}");
        assert_eq!(transaction(), before, "{kind:?}: nothing has changed");
        source.run(
            "DELETE FROM spaces WHERE space_id IN ('titled', 'suffix.mp3');
             UPDATE spaces SET title = 'new' WHERE space_id = 'untitled';",
        );
        source.write_lmdb();
        assert_eq!(transaction(), before + 1, "{kind:?}: one transaction");
        assert_eq!(nginx.get("/download/titled").status, 404, "{kind:?}");
        assert_eq!(nginx.get("/download/suffix").text(), "withheld", "{kind:?}: not any more");
        let says = nginx.get("/download/untitled").header("x-says").map(str::to_owned);
        assert_eq!(says.as_deref(), Some("found|d.mp3|new"), "{kind:?}");

        // None is left of a thousand, and of none.
        source.insert_many(3000);
        source.write_lmdb();
        assert_eq!(lmdb_entries(&source.lmdb()).len(), 3000 + lmdb_expected().len() - 2);
        source.run("DELETE FROM files; DELETE FROM spaces;");
        source.write_lmdb();
        assert_eq!(read_lmdb(&source.lmdb()), Map::new(), "{kind:?}");
        source.write_lmdb();
    }
}

/// The number of the last transaction in an environment.
fn last_transaction(directory: &Path) -> u64 {
    mdb_stat(directory, "Last transaction ID: ")
}

/// A number that `mdb_stat -e` shows.
pub fn mdb_stat(directory: &Path, name: &str) -> u64 {
    let output = Command::new("mdb_stat").arg("-e").arg(directory).output().expect("mdb_stat");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let value = text.lines().find_map(|line| line.trim().strip_prefix(name)).expect("a number");
    value.parse().expect("a number")
}

/// A new environment can be read and written by the group, as the documentation has it.
#[test]
fn files_of_a_new_environment_are_for_the_group() {
    let site = site();
    let source = Source::new(&site, Kind::Sqlite);
    let catalog = site.dir().join("new");
    let script = || source.script_for("", format!("lmdb:{}", catalog.display()).into());
    let output = script().output().expect("bash can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("No such file or directory"), "{said}");
    fs::create_dir(&catalog).expect("a directory");
    assert!(script().status().expect("bash can be run").success());
    for name in ["data.mdb", "lock.mdb"] {
        let metadata = fs::metadata(catalog.join(name)).expect("a file");
        assert_eq!(metadata.mode(), 0o100660, "{name}");
    }
}

/// Two rows of one id, and of an id with what is not one.
#[test]
fn space_with_two_rows_is_refused() {
    for kind in tested(&KINDS) {
        let nginx = lmdb_site("").start();
        let source = Source::new(nginx.site(), kind);
        source.run("DROP TABLE spaces");
        let id = if kind == Kind::Mariadb { "VARCHAR(128) COLLATE utf8mb4_bin" } else { "TEXT" };
        source.run(&format!("CREATE TABLE spaces (space_id {id}, title TEXT, removed BOOLEAN)"));
        source.insert(&[
            ("two", Some("one"), false, &["d.mp3"]),
            ("two", Some("other"), false, &[]),
            ("by-id", Some("x"), false, &[]),
            ("by-id.mp3", None, true, &[]),
            ("untitled", None, false, &[]),
        ]);
        let said = source.write_lmdb();
        assert!(said.contains(r#"space "two" is refused: it has 2 rows"#), "{kind:?}: {said}");
        assert!(said.contains(r#"space "by-id" is refused: it has 2 rows"#), "{kind:?}: {said}");
        let entries = read_lmdb(&source.lmdb());
        let untitled = json!({ "title": null, "files": null });
        let expected = json!({ "two": "refused", "by-id": "refused", "untitled": untitled });
        assert_eq!(Value::Object(entries), expected, "{kind:?}");
        assert_eq!(nginx.get("/download/by-id").status, 500, "{kind:?}");
        nginx.wait_error(&["entry of space \"by-id\"", "is unusable: unknown key \"error\""]);
    }
}

/// The script and its programs are killed at any moment: LMDB has old and new entries, and the next
/// script writes the rest.
#[test]
fn script_that_is_killed_leaves_whole_entries() {
    let kills = setting("XSPACE_TEST_KILLS", 50) / 5;
    for kind in tested(&KINDS) {
        let site = lmdb_site("");
        let source = Source::new(&site, kind);
        source.insert_many(20_000);
        let start = Instant::now();
        source.write_lmdb();
        let usual = start.elapsed();
        let mut random = Random::new(kind as u64 + 1);
        let mut changed = 0;
        for kill in 1..=kills {
            source.run(&format!("UPDATE spaces SET title = '{kill}'"));
            let mut script = source.script_for_lmdb("");
            let mut script = script.process_group(0).spawn().expect("bash can be run");
            thread::sleep(usual * random.below(1000) as u32 / 1000);
            let group = Pid::from_child(&script);
            kill_process_group(group, Signal::KILL).expect("not waited for");
            script.wait().expect("it has ended");
            let entries = read_lmdb(&source.lmdb());
            assert_eq!(entries.len(), 20_000, "{kind:?}");
            let new = json!(kill.to_string());
            changed += entries.values().filter(|entry| entry["title"] == new).count();
            let is_whole = |entry: &Value| entry["files"] == json!(["d.mp3"]);
            assert!(entries.values().all(is_whole), "{kind:?}");
        }
        println!("{kind:?}: {changed} entries written between {kills} kills");
        source.write_lmdb();
        let entries = read_lmdb(&source.lmdb());
        let last = json!({ "title": kills.to_string(), "files": ["d.mp3"] });
        assert!(entries.len() == 20_000 && entries.values().all(|entry| *entry == last));
    }
}

/// What is held in memory does not depend on the number of spaces. The map of LMDB is not counted: its
/// pages are the page cache's.
#[test]
fn many_spaces_need_little_memory_with_lmdb() {
    let count: u32 = setting("XSPACE_TEST_SPACES", 200_000);
    for kind in tested(&KINDS) {
        let site = lmdb_site("");
        let source = Source::new(&site, kind);
        source.insert_many(count);
        let start = Instant::now();
        let output = source.script_for_lmdb("ulimit -d 65536;").output().expect("bash can be run");
        let first = start.elapsed();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{kind:?}: {said}");
        let transactions = last_transaction(&source.lmdb());
        assert!(transactions >= u64::from(count) / 1000, "{kind:?}: {transactions} transactions");
        assert_eq!(mdb_stat(&source.lmdb(), "Entries: "), u64::from(count), "{kind:?}");
        let start = Instant::now();
        source.write_lmdb();
        println!("{kind:?}: {count} spaces in {first:?}, again in {:?}", start.elapsed());
    }
}

#[test]
fn each_space_is_served_as_the_database_says() {
    for kind in tested(&KINDS) {
        let mut site = with_files(site());
        let source = Source::new(&site, kind);
        source.insert(&SPACES);
        source.write();
        assert_eq!(source.read(), entries(), "{kind:?}");
        let metadata = || fs::metadata(source.catalog()).expect("the catalog");
        let before = metadata();
        assert_eq!(before.mode() & 0o777, 0o644);
        source.write();
        let identity = |metadata: &fs::Metadata| (metadata.ino(), metadata.mtime_nsec());
        assert_eq!(identity(&metadata()), identity(&before), "{kind:?}: nothing has changed");

        let checked = site.check();
        assert!(checked.ok, "{kind:?}: {}", checked.output);
        let output = checked.output;
        assert!(output.contains("8 usable entries, 2 unusable, 4 skipped"), "{kind:?}: {output}");
        serves_all(&site.start(), kind);
    }
}

/// Each of [`SPACES`] is answered as it has to be.
#[track_caller]
pub fn serves_all(nginx: &Nginx, kind: Kind) {
    for (id, status, text, name) in [
        ("titled", 200, "odd", "filename*=UTF-8''Gespr%C3%A4ch-Rust-100_titled.mp3"),
        ("untitled", 200, "d", "filename=\"untitled.mp3\""),
        ("empty", 200, "d", "filename=\"empty.mp3\""),
        ("lines", 200, "d", "filename=\"a-b-cd_lines.mp3\""),
        ("by-id", 200, "by id", "filename=\"No-file_by-id.mp3\""),
        ("BY-ID", 200, "d", "filename=\"2025_BY-ID.mp3\""),
        ("nothing-known", 200, "nothing", "filename=\"nothing-known.mp3\""),
        ("removed", 410, "", ""),
        ("line", 500, "", ""),
        ("suffix", 500, "", ""),
    ] {
        let response = nginx.get(&format!("/download/{id}"));
        assert_eq!(response.status, status, "{kind:?}, {id}: {response:?}");
        assert!(!response.text().contains("withheld"), "{kind:?}, {id}");
        if status == 200 {
            assert_eq!(response.text(), text, "{kind:?}, {id}");
            let field = response.header("content-disposition").expect("a name");
            assert!(field.contains(name), "{kind:?}, {id}: {field}");
        }
    }
}

/// No space at all, numbers in the place of text, and databases that are not in UTF-8.
#[test]
fn odd_tables() {
    for kind in tested(&KINDS) {
        let site = site();
        let source = Source::new(&site, kind);
        let drop_tables = || source.run("DROP TABLE spaces; DROP TABLE files;");
        source.write();
        assert_eq!(source.read(), json!({}), "{kind:?}");

        drop_tables();
        source.create("INTEGER", "INTEGER", "utf8mb4");
        source
            .run("INSERT INTO spaces VALUES (7, 2025, FALSE); INSERT INTO files VALUES (7, 'd');");
        source.write();
        let expected = json!({ "7": { "title": "2025", "files": ["d"] } });
        assert_eq!(source.read(), expected, "{kind:?}");

        match kind {
            Kind::Mariadb => drop_tables(),
            Kind::Postgresql => {
                for statement in [
                    "DROP DATABASE site",
                    "CREATE DATABASE site TEMPLATE template0 ENCODING 'LATIN1'",
                ] {
                    source.database.query("postgres", statement);
                }
            }
            Kind::Sqlite => continue,
        }
        source.create("VARCHAR(128)", "TEXT", "latin1");
        source.insert(&[("latin", Some("Größe"), false, &["ä.mp3"])]);
        source.write();
        let expected = json!({ "latin": { "title": "Größe", "files": ["ä.mp3"] } });
        assert_eq!(source.read(), expected, "{kind:?}");
    }
}

/// Whatever happens, the old catalog stays.
#[test]
fn failures_leave_the_catalog() {
    for kind in tested(&KINDS) {
        failures_leave(false, kind);
    }
}

/// LMDB is written when all rows are there.
#[test]
fn failures_leave_lmdb() {
    for kind in tested(&KINDS) {
        failures_leave(true, kind);
    }
}

fn failures_leave(is_lmdb: bool, kind: Kind) {
    let site = lmdb_site("").file("catalog/catalog.json", OLD);
    let mut source = Source::new(&site, kind);
    LmdbWriter::open(&source.lmdb()).put("removed", r#"{"status":410}"#);
    let script = |source: &Source, limits: &str| {
        if is_lmdb { source.script_for_lmdb(limits) } else { source.script(limits) }
    };
    let fails = |source: &Source, limits: &str, word: &str, what: &str| {
        let output = script(source, limits).output().expect("bash can be run");
        source.has_failed(is_lmdb, &output, word, what);
    };
    source.insert_many(20_000);
    // The first page of a file is too much.
    let limits = if is_lmdb { "ulimit -f 0;" } else { "ulimit -f 100;" };
    fails(&source, limits, "", "the disk is full");

    // Behind the others, which are on their way by then.
    source.insert(&[("z-last", None, false, &[])]);
    source.run("ALTER TABLE spaces RENAME TO all_spaces");
    source.last_is(match kind {
        Kind::Sqlite => "abs(-9223372036854775802 - length(space_id))",
        Kind::Postgresql => "1 / (length(space_id) - 6) > 0",
        Kind::Mariadb => "(SELECT 1 FROM all_spaces o WHERE o.space_id <= s.space_id)",
    });
    let error = match kind {
        Kind::Sqlite => "integer overflow",
        Kind::Postgresql => "division by zero",
        Kind::Mariadb => "more than 1 row",
    };
    fails(&source, "", error, "an error in the last row");

    if kind != Kind::Sqlite {
        if kind == Kind::Postgresql {
            // All rows of a view with a volatile function would come before the first is sorted.
            source.run(
                "CREATE FUNCTION sleep(seconds INTEGER) RETURNS BOOLEAN STABLE
                         LANGUAGE plpgsql AS 'BEGIN RETURN pg_sleep(seconds) IS NULL; END'",
            );
        }
        source.last_is("sleep(100)");
        let mut script = script(&source, "");
        let script = script.stderr(Stdio::piped()).spawn().expect("bash can be run");
        let shell = is_lmdb.then_some(script.id());
        assert!(poll(|| source.has_begun(shell)), "{kind:?}: no rows");
        source.database.kill();
        let output = script.wait_with_output().expect("it ends");
        source.has_failed(is_lmdb, &output, "connection", "the connection breaks");
        source.database.resume();
    }

    source.run(
        "DROP VIEW spaces;
             CREATE VIEW spaces AS SELECT NULL AS space_id, NULL AS title, 1 = 0 AS removed;",
    );
    fails(&source, "", "row without an id", "a space without an id");
    source.run("DROP TABLE files;");
    fails(&source, "", "files", "no table");
    source.database.kill();
    fails(&source, "", "", "no database");
}

/// What is held in memory does not depend on the number of spaces: 64 MiB are enough for a catalog
/// of 90 MB, and for one of 450 MB with XSPACE_TEST_SPACES=1000000.
#[test]
fn many_spaces_need_little_memory() {
    let count = setting("XSPACE_TEST_SPACES", 200_000);
    for kind in tested(&KINDS) {
        let site = site();
        let source = Source::new(&site, kind);
        source.insert_many(count);
        // The client of MySQL has larger libraries, and a buffer of 16 MiB for the query.
        let kib = if kind == Kind::Mariadb && mysql().is_some() { 98_304 } else { 65_536 };
        let output = source.script(&format!("ulimit -v {kib};")).output().expect("bash can be run");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{kind:?}: {said}");
        let file = fs::File::open(source.catalog()).expect("the catalog");
        let lines = BufReader::new(file).lines().count();
        assert_eq!(lines, count as usize + 2, "{kind:?}");
    }
}

/// systemd takes the units, with each of the commands that they name, and has nothing against them.
#[test]
fn units_of_systemd_are_valid() {
    let dir = project_dir().join("nginx-conf");
    let site = Site::new();
    let copy = |name: &str| site.write(name, fs::read(dir.join(name)).expect("a unit"));
    for (name, timer) in [
        ("xspace-catalog.service", Some(copy("xspace-catalog.timer"))),
        ("xspace-catalog-follow.service", None),
    ] {
        let text = fs::read_to_string(dir.join(name)).expect("the service");
        let commands: Vec<&str> = text
            .lines()
            .filter_map(|line| line.trim_start_matches("# ").strip_prefix("ExecStart="))
            .collect();
        assert_eq!(commands.len(), 2, "{text}");
        for command in commands {
            let others: Vec<&str> =
                text.lines().filter(|line| !line.contains("ExecStart=")).collect();
            let command = command.replace("/usr/local/bin", dir.to_str().expect("UTF-8"));
            let start = format!("[Service]\nExecStart={command}\n");
            let service = site.write(name, others.join("\n").replace("[Service]\n", &start));
            let mut verify: Vec<&OsStr> = vec!["verify".as_ref(), service.as_os_str()];
            verify.extend(timer.as_ref().map(|path| path.as_os_str()));
            // At most 2.0 of 10.
            let security: Vec<&OsStr> = vec![
                "security".as_ref(),
                "--offline=yes".as_ref(),
                "--threshold=20".as_ref(),
                service.as_os_str(),
            ];
            for arguments in [verify, security] {
                let mut systemd = Command::new("systemd-analyze");
                let output = systemd.args(&arguments).output().expect("systemd-analyze can be run");
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success() && said.is_empty(), "{command}: {said}");
            }
        }
    }
}
