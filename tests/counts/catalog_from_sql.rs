//! Catalogs that the scripts in nginx-conf/ write from a database.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use xspace_tests::{Site, poll, project_dir, setting};

use crate::database::{Database, Kind};

const KINDS: [Kind; 3] = [Kind::Sqlite, Kind::Postgresql, Kind::Mariadb];

/// A space as the queries of the scripts expect it: id, title, whether it is removed, files.
type Space = (&'static str, Option<&'static str>, bool, &'static [&'static str]);

const SPACES: [Space; 14] = [
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
struct Source {
    database: Database,
    kind: Kind,
    dir: PathBuf,
}

impl Source {
    fn new(site: &Site, kind: Kind) -> Self {
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

    fn run(&self, statements: &str) {
        self.database.query("site", statements);
    }

    /// Text in SQL, whatever is in it.
    fn literal(&self, text: &str) -> String {
        let hex = data_encoding::HEXLOWER.encode(text.as_bytes());
        match self.kind {
            Kind::Sqlite => format!("CAST(X'{hex}' AS TEXT)"),
            Kind::Postgresql => format!("convert_from('\\x{hex}', 'UTF8')"),
            Kind::Mariadb => format!("CONVERT(X'{hex}' USING utf8mb4)"),
        }
    }

    fn insert(&self, spaces: &[Space]) {
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
    fn insert_many(&self, count: u32) {
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
    fn last_is(&self, expression: &str) {
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
        let (script, url) = self.database.catalog_from();
        let mut command = Command::new("/bin/bash");
        command
            .args(["-c", &format!("{limits} exec \"$0\" \"$@\"")])
            .arg(script)
            .arg(url)
            .arg(self.catalog())
            // Names that are not ASCII must not depend on the locale, which cron does not set.
            .env("LC_ALL", "C")
            // A sort would need all rows before the first.
            .env("PGOPTIONS", "-c enable_sort=off")
            .stdin(Stdio::null());
        command
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

    /// Whether rows are on their way into a new file.
    fn has_begun(&self) -> bool {
        let names = self.names();
        let new = names.iter().find(|&name| name != "catalog.json");
        let metadata = new.map(|name| fs::metadata(self.dir.join(name)));
        metadata.is_some_and(|metadata| metadata.is_ok_and(|metadata| metadata.len() > 1_000_000))
    }

    /// The script has failed, with a message that has a word, and has left all as it was.
    #[track_caller]
    fn has_failed(&self, output: &Output, word: &str, what: &str) {
        let said = String::from_utf8_lossy(&output.stderr);
        let what = format!("{:?}, {what}: {said}", self.kind);
        assert!(!output.status.success(), "{what}");
        assert!(said.contains(word), "{what}");
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

#[test]
fn each_space_is_served_as_the_database_says() {
    for kind in KINDS {
        let mut site = site();
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
        let nginx = site.start();
        let output = checked.output;
        assert!(output.contains("8 usable entries, 2 unusable, 4 skipped"), "{kind:?}: {output}");
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
}

/// No space at all, numbers in the place of text, and databases that are not in UTF-8.
#[test]
fn odd_tables() {
    for kind in KINDS {
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
    for kind in KINDS {
        let site = site().file("catalog/catalog.json", OLD);
        let mut source = Source::new(&site, kind);
        let fails = |source: &Source, limits: &str, word: &str, what: &str| {
            let output = source.script(limits).output().expect("bash can be run");
            source.has_failed(&output, word, what);
        };
        source.insert_many(20_000);
        fails(&source, "ulimit -f 100;", "", "the disk is full");

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
            let mut script = source.script("");
            let script = script.stderr(Stdio::piped()).spawn().expect("bash can be run");
            assert!(poll(|| source.has_begun()), "{kind:?}: no rows");
            source.database.kill();
            let output = script.wait_with_output().expect("it ends");
            source.has_failed(&output, "connection", "the connection breaks");
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
}

/// What is held in memory does not depend on the number of spaces: 64 MiB are enough for a catalog
/// of 90 MB, and for one of 450 MB with XSPACE_TEST_SPACES=1000000.
#[test]
fn many_spaces_need_little_memory() {
    let count = setting("XSPACE_TEST_SPACES", 200_000);
    for kind in KINDS {
        let site = site();
        let source = Source::new(&site, kind);
        source.insert_many(count);
        let output = source.script("ulimit -v 65536;").output().expect("bash can be run");
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
    let text = fs::read_to_string(dir.join("xspace-catalog.service")).expect("the service");
    let commands: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim_start_matches("# ").strip_prefix("ExecStart="))
        .collect();
    assert_eq!(commands.len(), 2, "{text}");
    let site = Site::new();
    for command in commands {
        let others: Vec<&str> = text.lines().filter(|line| !line.contains("ExecStart=")).collect();
        let command =
            command.replace("/usr/local/bin/", &format!("{}/nginx-conf/", project_dir().display()));
        let unit =
            others.join("\n").replace("[Service]\n", &format!("[Service]\nExecStart={command}\n"));
        let service = site.write("xspace-catalog.service", unit);
        let timer = dir.join("xspace-catalog.timer");
        let timer = site.write("xspace-catalog.timer", fs::read(timer).expect("the timer"));
        for arguments in [
            vec!["verify".as_ref(), service.as_os_str(), timer.as_os_str()],
            // At most 2.0 of 10.
            vec![
                "security".as_ref(),
                "--offline=yes".as_ref(),
                "--threshold=20".as_ref(),
                service.as_os_str(),
            ],
        ] {
            let mut systemd = Command::new("systemd-analyze");
            let output = systemd.args(&arguments).output().expect("systemd-analyze can be run");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.is_empty(), "{command}: {said}");
        }
    }
}
