//! Accounts of MySQL, which have passwords by `caching_sha2_password` and only the rights that the
//! documentation names. The server has none of these passwords in its cache.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use xspace_tests::{Site, project_dir};

use crate::catalog_follow::{Follower, becomes, source};
use crate::catalog_from_sql::{SPACES, Source, lmdb_expected, lmdb_site};
use crate::database::Kind;

/// What the programs say if they cannot send a password.
const MISSING: &str = "'cryptography' package is required";

struct Accounts {
    site: Site,
    source: Source,
}

impl Accounts {
    fn new() -> Self {
        let site = lmdb_site("");
        let source = source(&site, Kind::Mariadb);
        source.insert(&SPACES);
        source.run(
            "CREATE USER reader IDENTIFIED BY 'secret';
             GRANT SELECT ON site.spaces TO reader;
             GRANT SELECT ON site.files TO reader;
             GRANT SELECT, DELETE ON site.catalog_changes TO reader;
             INSTALL PLUGIN auth_socket SONAME 'auth_socket.so';
             CREATE USER owner IDENTIFIED BY 'secret';
             GRANT ALL ON site.* TO owner;",
        );
        // One that needs no password, because it is the user of this process.
        let output = Command::new("id").arg("-un").output().expect("id can be run");
        let user = String::from_utf8(output.stdout).expect("UTF-8");
        source.run(&format!(
            "CREATE USER local@localhost IDENTIFIED WITH auth_socket AS '{}';
             GRANT SELECT ON site.spaces TO local@localhost;
             GRANT SELECT ON site.files TO local@localhost;
             GRANT SELECT, DELETE ON site.catalog_changes TO local@localhost;",
            user.trim()
        ));
        // A Python without the package.
        site.write("modules/cryptography.py", "raise ImportError\n");
        Self { site, source }
    }

    /// An option file of an account; it connects by the socket or by TCP.
    fn options(&self, account: &str, is_local: bool) -> PathBuf {
        // What it sends is not the password itself while the server remembers it.
        self.source.run("FLUSH PRIVILEGES");
        let place = if is_local {
            format!("socket = {}", self.site.dir().join("database/socket").display())
        } else {
            format!("host = 127.0.0.1\nport = {}", self.source.database.port)
        };
        let password = if account == "local" { "" } else { "password = secret\n" };
        let text = format!("[client]\nuser = {account}\n{password}database = site\n{place}\n");
        self.site.write(&format!("{account}-{is_local}"), text)
    }

    fn modules(&self) -> PathBuf {
        self.site.dir().join("modules")
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
#[ignore = "needs MySQL: make suite-mysql"]
fn account_that_may_only_read_is_enough() {
    let accounts = Accounts::new();
    let source = &accounts.source;
    let mut catalogs = Vec::new();
    for (account, is_local) in [("reader", true), ("reader", false), ("local", true)] {
        // MySQL's client, and MariaDB's, which is preferred where there are both.
        let path = source.database.path().expect("a path");
        for path in [path.into_os_string(), "/usr/bin:/bin".into()] {
            let options = accounts.options(account, is_local);
            let catalog = accounts.site.dir().join("catalog/catalog.json");
            let (script, _) = source.database.catalog_from();
            let mut command = Command::new(script);
            let output = command.arg(options).arg(&catalog).env("PATH", &path).output();
            let output = output.expect("bash can be run");
            assert!(output.status.success(), "{path:?}, {account}: {}", said(&output));
            catalogs.push(fs::read_to_string(&catalog).expect("a catalog"));
            fs::remove_file(&catalog).expect("it is there");
        }
        let url = format!("mysql:{}", accounts.options(account, is_local).display());
        let follower = Follower::start_with(source, &url, None);
        becomes(source, &follower, &lmdb_expected(), "with few rights");
        source.run("DELETE FROM files; DELETE FROM spaces");
        becomes(source, &follower, &serde_json::Map::new(), "with few rights");
        drop(follower);
        source.insert(&SPACES);
    }
    assert!(catalogs[0].contains("Gespräch"), "{}", catalogs[0]);
    assert!(catalogs.iter().all(|catalog| *catalog == catalogs[0]), "{catalogs:?}");
}

/// PyMySQL encrypts the password if the connection is neither local nor encrypted.
#[test]
#[ignore = "needs MySQL: make suite-mysql"]
fn missing_package_is_named() {
    let accounts = Accounts::new();
    let source = &accounts.source;
    let plays = |arguments: &[&str], is_local: bool| {
        let options = accounts.options("owner", is_local);
        let output = Command::new("/usr/bin/python3")
            .arg(project_dir().join("nginx-conf/plays-to-sql"))
            .args(arguments)
            .arg(format!("mysql:{}", options.display()))
            .env("PYTHONPATH", accounts.modules())
            .output();
        output.expect("Python can be run")
    };
    let output = plays(&["--create"], true);
    assert!(output.status.success(), "{}", said(&output));
    let output = plays(&["--create"], false);
    let message = said(&output);
    assert!(!output.status.success() && message.contains(MISSING), "{message}");
    assert!(!message.contains("Traceback"), "{message}");

    let follow = |is_local| {
        let url = format!("mysql:{}", accounts.options("reader", is_local).display());
        Follower::start_with(source, &url, Some(&accounts.modules()))
    };
    let follower = follow(false);
    follower.waits_for("trying again");
    assert!(follower.said().contains(MISSING), "{}", follower.said());
    assert!(!follower.said().contains("Traceback"), "{}", follower.said());
    drop(follower);
    becomes(source, &follow(true), &lmdb_expected(), "over a socket");
}

/// The binary log is on, as it is by default: triggers take an administrator.
#[test]
#[ignore = "needs MySQL: make suite-mysql"]
fn triggers_take_an_administrator() {
    let accounts = Accounts::new();
    let options = accounts.options("owner", true);
    let trigger = "CREATE TRIGGER other AFTER INSERT ON spaces
                       FOR EACH ROW INSERT INTO catalog_changes (space_id) VALUES (NEW.space_id)";
    let client = accounts.source.database.path().expect("a path").join("mysql");
    let output = Command::new(client)
        .arg(format!("--defaults-file={}", options.display()))
        .args(["-e", trigger])
        .output()
        .expect("the client can be run");
    let message = said(&output);
    assert!(!output.status.success() && message.contains("ERROR 1419"), "{message}");
    accounts.source.run(trigger);
}
