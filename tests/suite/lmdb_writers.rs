//! Writers of an LMDB environment in the documentation, in other languages than Python.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use xspace_tests::{Nginx, Site, end_with_this_process, lmdb_load, poll, project_dir};

use crate::docs::code_blocks;

const PAGE: &str = "docs/catalog.md";

/// The part of the page in a language.
fn block(language: &str) -> String {
    let blocks = code_blocks(PAGE, language);
    assert_eq!(blocks.len(), 1, "{language}");
    blocks.into_iter().next().expect("a block")
}

/// A site with an environment whose writers run as this user, and workers as another one.
fn site() -> Site {
    Site::with_directives("xspace_catalog lmdb:{dir}/db;", "")
        .file("downloads/2025/06/1lDxLnrWjwkGm.mp3", "x")
        .file("downloads/1ZkKzXbYyLmGv.mp3", "withheld")
}

/// The entry that the writers of the page remove.
fn load(site: &Site) {
    lmdb_load(&site.dir().join("db"), 1 << 20, [("1ZkKzXbYyLmGv", "{\"status\": 410}")]);
}

/// A program that has an environment open until it goes out of scope.
struct Writer {
    process: Child,
    line: String,
}

impl Writer {
    /// Starts a program, which writes a line when it is done: "ok" or an error.
    fn start(mut command: Command) -> Self {
        end_with_this_process(&mut command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let mut line = String::new();
        let output = process.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut line).expect("UTF-8");
        Self { process, line: line.trim_end().to_owned() }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The workers have another user.
fn chmod(directory: &Path) {
    for name in ["data.mdb", "lock.mdb"] {
        let mode = fs::Permissions::from_mode(0o666);
        fs::set_permissions(directory.join(name), mode).expect("a mode");
    }
}

#[track_caller]
fn has_what_was_written(nginx: &Nginx) {
    let response = nginx.get("/download/1lDxLnrWjwkGm");
    let name = response.header("content-disposition").unwrap_or_default();
    assert!(name.contains("Rust-in-production_1lDxLnrWjwkGm.mp3"), "{response:?}");
    assert_eq!(nginx.get("/download/1ZkKzXbYyLmGv").text(), "withheld", "not any more");
}

/// A site whose environment a program has made and open.
#[track_caller]
fn opened_before_nginx(command: impl FnOnce(&Site) -> Command) -> (Site, Writer) {
    let site = site();
    let db = site.make_dir("db");
    let writer = Writer::start(command(&site));
    assert_eq!(writer.line, "ok");
    chmod(&db);
    (site, writer)
}

/// The writer fits, whoever opens the environment first.
#[track_caller]
fn fits(command: impl Fn(&Site) -> Command) {
    let (site, writer) = opened_before_nginx(&command);
    let nginx = site.start();
    has_what_was_written(&nginx);
    drop(writer);

    let site = self::site();
    load(&site);
    let nginx = site.start();
    assert_eq!(nginx.get("/download/1ZkKzXbYyLmGv").status, 410);
    let writer = Writer::start(command(nginx.site()));
    assert_eq!(writer.line, "ok");
    has_what_was_written(&nginx);
}

/// The writer fails if nginx has the environment open.
#[track_caller]
fn fails_after_nginx(command: impl Fn(&Site) -> Command, message: &str) {
    let site = site();
    load(&site);
    let nginx = site.start();
    assert_eq!(nginx.get("/download/1ZkKzXbYyLmGv").status, 410);
    let writer = Writer::start(command(nginx.site()));
    assert!(writer.line != "ok" && writer.line.contains(message), "{}", writer.line);
    assert_eq!(nginx.get("/download/1ZkKzXbYyLmGv").status, 410, "as it was");
}

/// Where npm packages are, as installed, or built here: in `v1`, `lmdb` is for the format of LMDB 0.9.
fn node_modules(folder: &str) -> PathBuf {
    project_dir().join("build/npm/tests/writers").join(folder).join("node_modules")
}

/// A script of Node.js with the path of the site's environment. It stays when it is done.
fn node(site: &Site, code: &str, modules: PathBuf) -> Command {
    let db = site.dir().join("db");
    let code = code.replace("/srv/xspace/catalog", db.to_str().expect("UTF-8"));
    let script = format!(
        "process.on('uncaughtException', (error) => {{
           console.log(String(error).replaceAll('\\n', ' '))
           process.exit(1)
         }})
         {code}
         console.log('ok')
         process.stdin.resume()
"
    );
    let mut command = Command::new("node");
    command.arg(site.write("writer.js", script)).env("NODE_PATH", modules);
    command
}

/// The page has a row of its table for a package in this version.
#[track_caller]
fn is_in_the_table(package: &str, folder: &str) {
    let text = fs::read_to_string(node_modules(folder).join(package).join("package.json"));
    let text: serde_json::Value = serde_json::from_str(&text.expect("a package")).expect("JSON");
    let version = text["version"].as_str().expect("a version");
    let page = fs::read_to_string(project_dir().join(PAGE)).expect("the page");
    let start = format!("| npm, `{package}` {version}");
    assert!(page.lines().any(|line| line.starts_with(&start)), "no row {start:?}");
}

#[test]
#[ignore = "needs lmdb of npm, built: make suite-writers"]
fn node_with_the_format_of_lmdb_0_9() {
    is_in_the_table("lmdb", "v1");
    fits(|site| node(site, &block("js"), node_modules("v1")));
}

/// The package as npm installs it.
#[test]
#[ignore = "needs lmdb of npm: make suite-writers"]
fn node_with_another_format_is_refused() {
    is_in_the_table("lmdb", "");
    let command = |site: &Site| node(site, &block("js"), node_modules(""));
    // It dies, whether or not nginx has the environment open.
    fails_after_nginx(command, "");

    let (mut site, writer) = opened_before_nginx(command);
    let checked = site.check();
    assert!(!checked.ok, "{}", checked.output);
    let message = "not an LMDB environment, or damaged";
    assert!(checked.output.contains(message), "{}", checked.output);
    drop(writer);
}

/// The format of the file is that of 0.9, that of the locks is not.
#[test]
#[ignore = "needs node-lmdb of npm: make suite-writers"]
fn node_with_other_locks_is_refused() {
    const CODE: &str = "
        const lmdb = require('node-lmdb')
        const env = new lmdb.Env()
        env.open({ path: '/srv/xspace/catalog', mapSize: 2 ** 30 })
        const dbi = env.openDbi({ name: null, keyIsBuffer: true })
        const txn = env.beginTxn()
        txn.putBinary(dbi, Buffer.from('1lDxLnrWjwkGm'), Buffer.from('{}'))
        txn.commit()";
    is_in_the_table("node-lmdb", "v1");
    let command = |site: &Site| node(site, CODE, node_modules("v1"));
    fails_after_nginx(command, "MDB_VERSION_MISMATCH");

    let (mut site, writer) = opened_before_nginx(command);
    let checked = site.check();
    assert!(checked.ok, "{}", checked.output);
    let nginx = site.start();
    assert_eq!(nginx.get("/download/1ZkKzXbYyLmGv").status, 503);
    nginx.wait_error(&["not opened: ", "it is open in a process whose LMDB is not of 0.9"]);
    drop(writer);
    assert!(poll(|| nginx.get("/download/1ZkKzXbYyLmGv").status == 200), "{}", nginx.error_log());
}

/// By GCC's Go, which is enough for cgo, and Debian's package of the binding.
#[test]
#[ignore = "needs gccgo: make suite-writers"]
fn go() {
    const MAIN: &str = r#"package main

import (
	"fmt"
	"os"
)

func main() {
	env, err := openCatalog(os.Args[1])
	if err == nil {
		err = publish(env)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ok")
	os.Stdin.Read(make([]byte, 1))
}
"#;
    let site = Site::new();
    let main = site.write("main.go", MAIN);
    let catalog = site.write("catalog.go", format!("package main\n\n{}", block("go")));
    let programs = fs::read_dir("/usr/bin").expect("a directory").flatten();
    let is_go = |name: &str| {
        name.strip_prefix("go-").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
    };
    let names = programs.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let newest = names.filter(|name| is_go(name)).max().expect("gccgo is installed");
    let writer = site.dir().join("writer");
    let output = Command::new(newest)
        .arg("build")
        .arg("-o")
        .args([&writer, &main, &catalog])
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .env("GOCACHE", site.dir().join("cache"))
        .env("CGO_ENABLED", "1")
        .output()
        .expect("go can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fits(|site| {
        let mut command = Command::new(&writer);
        command.arg(site.dir().join("db"));
        command
    });
}
