//! MariaDB, MySQL, PostgreSQL, SQLite.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fmt, fs};

use xspace_tests::{Address, Program, free_port, is_root, project_dir, wait_for};

use crate::site::SPACES;

/// A kind of database.
#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Sqlite,
    Postgresql,
    /// MariaDB, or MySQL if [`mysql`] has it.
    Mariadb,
}

impl Kind {
    /// Its name for plays-to-sql and catalog-to-lmdb.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgresql => "postgresql",
            Self::Mariadb if mysql().is_some() => "mysql",
            Self::Mariadb => "mariadb",
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Those of these kinds that are tested: only MySQL if it takes MariaDB's place.
pub fn tested(kinds: &[Kind]) -> impl Iterator<Item = Kind> {
    kinds.iter().copied().filter(|&kind| kind == Kind::Mariadb || mysql().is_none())
}

/// The directory of `mysqld` and `mysql`, programs of MySQL that take the place of MariaDB's.
pub fn mysql() -> Option<PathBuf> {
    let dir = env::var_os("XSPACE_TEST_MYSQL").filter(|dir| !dir.is_empty())?;
    Some(PathBuf::from(dir))
}

/// A database with a name, in a directory of its own.
pub struct Database {
    kind: Kind,
    dir: PathBuf,
    server: Option<Program>,
    /// Where MySQL listens, besides its socket.
    pub port: u16,
}

impl Database {
    /// A new, empty database, which is running.
    pub fn start(kind: Kind, dir: &Path) -> Self {
        let dir = dir.join("database");
        fs::create_dir(&dir).expect("a directory");
        match kind {
            Kind::Sqlite => {}
            Kind::Postgresql => {
                if is_root() {
                    run(Command::new("chown").arg("postgres:").arg(&dir));
                }
                run(postgresql("initdb")
                    .args(["--auth=trust", "--username=site", "--encoding=UTF8", "--no-locale"])
                    .args(["--no-sync", "--pgdata"])
                    .arg(dir.join("data")));
            }
            Kind::Mariadb => {
                let socket = dir.join("socket");
                let mut options = format!(
                    "[client]\nuser = root\ndatabase = site\nsocket = {}\n",
                    socket.display()
                );
                if let Some(programs) = mysql() {
                    // After each start, clients are asked for the password itself (caching_sha2_password).
                    options += "password = secret\n";
                    let statements = dir.join("statements");
                    fs::write(&statements, "ALTER USER root@localhost IDENTIFIED BY 'secret';\n")
                        .expect("a file of statements");
                    run(mysqld(&programs, &dir)
                        .arg("--initialize-insecure")
                        .arg(format!("--init-file={}", statements.display())));
                    make_path(&dir.join("path"), &programs);
                } else {
                    run(mariadb("mariadb-install-db", &dir)
                        .args(["--no-defaults", "--auth-root-authentication-method=normal"])
                        .args(["--skip-test-db", user()])
                        .arg(format!("--datadir={}", dir.join("data").display())));
                }
                fs::write(dir.join("options"), options).expect("a file of options");
            }
        }
        let mut database = Self { kind, dir, server: None, port: free_port() };
        database.resume();
        match kind {
            Kind::Sqlite => drop(fs::File::create(database.dir.join("site.db"))),
            Kind::Postgresql => drop(database.query("postgres", "CREATE DATABASE site")),
            Kind::Mariadb => drop(database.query("mysql", "CREATE DATABASE site")),
        }
        database
    }

    /// What plays-to-sql and catalog-to-lmdb are told of it.
    pub fn url(&self) -> String {
        match self.kind {
            Kind::Sqlite => format!("sqlite:{}", self.dir.join("site.db").display()),
            Kind::Postgresql => format!("postgresql://site@/site?host={}", self.dir.display()),
            Kind::Mariadb => format!("{}:{}", self.kind.name(), self.dir.join("options").display()),
        }
    }

    /// The script in nginx-conf/ that writes a catalog from such a database, and what it is told of
    /// this one.
    pub fn catalog_from(&self) -> (PathBuf, String) {
        let (kind, url) = match self.kind {
            Kind::Sqlite => ("sqlite", self.dir.join("site.db").display().to_string()),
            Kind::Postgresql => {
                ("postgresql", format!("host={} user=site dbname=site", self.dir.display()))
            }
            Kind::Mariadb => ("mysql", self.dir.join("options").display().to_string()),
        };
        (project_dir().join(format!("nginx-conf/catalog-from-{kind}")), url)
    }

    /// The `PATH` of a script, if it has to be another one.
    pub fn path(&self) -> Option<PathBuf> {
        Some(self.dir.join("path")).filter(|path| path.exists())
    }

    /// Ends the server at once; the file of SQLite gets another name.
    pub fn kill(&mut self) {
        match self.server.take() {
            Some(mut server) => server.kill(),
            None => fs::rename(self.dir.join("site.db"), self.dir.join("away.db"))
                .expect("the database is there"),
        }
    }

    /// Starts it.
    pub fn resume(&mut self) {
        let (command, socket) = match self.kind {
            Kind::Sqlite => {
                // There is none the first time.
                let _ = fs::rename(self.dir.join("away.db"), self.dir.join("site.db"));
                return;
            }
            Kind::Postgresql => {
                let mut command = postgresql("postgres");
                command
                    .args(["-c", "listen_addresses=", "-c", "shared_buffers=16MB"])
                    // It is killed, but the machine is not.
                    .args(["-c", "fsync=off", "-D"])
                    .arg(self.dir.join("data"))
                    .arg("-k")
                    .arg(&self.dir);
                (command, ".s.PGSQL.5432")
            }
            Kind::Mariadb => {
                let mut command = mysql().map_or_else(
                    || {
                        let mut command = mariadb("/usr/sbin/mariadbd", &self.dir);
                        command
                            .args(["--no-defaults", "--skip-networking", user()])
                            .arg(format!("--datadir={}", self.dir.join("data").display()));
                        command
                    },
                    |programs| {
                        let mut command = mysqld(&programs, &self.dir);
                        command
                            .arg("--bind-address=127.0.0.1")
                            .arg(format!("--port={}", self.port));
                        command
                    },
                );
                command
                    .arg(format!("--pid-file={}", self.dir.join("pid").display()))
                    .arg(format!("--socket={}", self.dir.join("socket").display()));
                (command, "socket")
            }
        };
        let socket = self.dir.join(socket);
        // One that was killed has left it.
        let _ = fs::remove_file(&socket);
        self.server = Some(Program::start(command, Address::from(&*socket)));
    }

    /// Plays and downloads of each space.
    pub fn counts(&self) -> BTreeMap<String, (u64, u64)> {
        let query = "SELECT space_id, SUM(plays), SUM(downloads) FROM plays GROUP BY space_id";
        let text = self.query("site", query);
        let line = |line: &str| {
            let fields: Vec<&str> = line.split(['|', '\t']).collect();
            let [space, plays, downloads] = fields[..] else { panic!("{text}") };
            assert!(SPACES.contains(&space), "{text}");
            let number = |text: &str| text.parse().expect("a number");
            (space.to_owned(), (number(plays), number(downloads)))
        };
        text.lines().map(line).collect()
    }

    /// What the database's own client prints.
    pub fn query(&self, name: &str, text: &str) -> String {
        // A server that has just started may refuse a client; a writer may have locked a file.
        wait_for(|| {
            let mut command = match self.kind {
                Kind::Sqlite => {
                    let mut command = Command::new("sqlite3");
                    command.args(["-cmd", ".timeout 10000"]).arg(self.dir.join("site.db"));
                    command.arg(text);
                    command
                }
                Kind::Postgresql => {
                    let mut command = Command::new("psql");
                    command.args(["-XAtU", "site", name, "-c", text, "-h"]).arg(&self.dir);
                    command
                }
                Kind::Mariadb => {
                    let client =
                        mysql().map_or("mariadb".into(), |programs| programs.join("mysql"));
                    let mut command = Command::new(client);
                    command
                        .arg(format!("--defaults-file={}", self.dir.join("options").display()))
                        .args(["-BNe", text, name]);
                    command
                }
            };
            let output = command.stdin(Stdio::null()).output().expect("the client can be run");
            output.status.success().then(|| String::from_utf8(output.stdout).expect("UTF-8"))
        })
        .unwrap_or_else(|| panic!("{:?} refuses {text}", self.kind))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Nobody needs what it would write.
        if let Some(server) = &mut self.server {
            server.kill();
        }
    }
}

/// A program of PostgreSQL, which refuses to run as root.
fn postgresql(name: &str) -> Command {
    let dirs = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed").flatten();
    let newest = dirs.map(|entry| entry.path()).max().expect("a version");
    let program = newest.join("bin").join(name);
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

/// A program of MariaDB with a directory of its own for temporary files: a server that starts removes
/// those of another one.
fn mariadb(name: &str, dir: &Path) -> Command {
    let mut command = Command::new(name);
    command.env("TMPDIR", dir);
    command
}

/// MySQL's server, likewise, with a redo log that is not of 100 MB. Numbers of rows come from a recursion.
fn mysqld(programs: &Path, dir: &Path) -> Command {
    let mut command = Command::new(programs.join("mysqld"));
    command
        .env("TMPDIR", dir)
        .args(["--no-defaults", "--mysqlx=OFF", "--secure-file-priv=NULL"])
        .args(["--innodb-redo-log-capacity=32M", "--cte-max-recursion-depth=10000000"])
        .arg(format!("--datadir={}", dir.join("data").display()))
        .args(is_root().then_some("--user=root"));
    command
}

/// Fills a directory with the client of MySQL, without that of MariaDB, and with what scripts need
/// besides.
fn make_path(dir: &Path, programs: &Path) {
    fs::create_dir(dir).expect("a directory");
    symlink(programs.join("mysql"), dir.join("mysql")).expect("a link");
    for name in ["awk", "chmod", "cmp", "dirname", "mktemp", "mv", "rm", "sort"] {
        symlink(Path::new("/usr/bin").join(name), dir.join(name)).expect("a link");
    }
}

/// Root's is the only name that MariaDB refuses to run with unless it is told to.
fn user() -> &'static str {
    if is_root() { "--user=root" } else { "--console" }
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (said, stderr) = (String::from_utf8_lossy(&output.stdout), output.stderr);
    assert!(output.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&stderr));
}
