//! What `nginx -t` says about a catalog that is an LMDB environment.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use xspace_tests::{Site, is_root, lmdb_load, lmdb_set_dupsort};

use crate::common::{ID, PATH};
use crate::config::{TARGET, expect_site, fine_site};
use crate::docs::code_blocks;

/// A site with this directive in `/download/`, on a line of its own.
fn with_directive(directive: &str) -> Site {
    Site::new().server(&format!(
        "location ^~ /download/ {{\n xspace_download /downloads/;\n {directive} #!\n}}\n{TARGET}"
    ))
}

/// A site whose catalog is the environment `db`, with one entry.
fn with_catalog(parameters: &str) -> Site {
    let site = with_directive(&format!("xspace_catalog lmdb:{{dir}}/db {parameters};"));
    lmdb_load(&site.dir().join("db"), 1 << 20, [(ID, "{}")]);
    site
}

/// `nginx -t` refuses the site, and warns if the catalog is optional. `change` is what is wrong.
#[track_caller]
fn refused(what: &str, change: impl Fn(&Path), message: &str) {
    let site = with_catalog("");
    change(&site.dir().join("db"));
    expect_site("emerg", what, site, &format!("invalid catalog \"lmdb:{{dir}}/db\": {message}"));
    let site = with_catalog("only optional");
    change(&site.dir().join("db"));
    let message = format!(
        "optional catalog \"lmdb:{{dir}}/db\" not opened, requests that need it are answered with \
         503: {message}"
    );
    expect_site("warn", what, site, &message);
}

/// Writes to the file `data.mdb` of an environment.
fn patch(at: usize, bytes: &'static [u8]) -> impl Fn(&Path) {
    move |directory| {
        let path = directory.join("data.mdb");
        let mut data = fs::read(&path).expect("data.mdb");
        data[at..at + bytes.len()].copy_from_slice(bytes);
        fs::write(&path, data).expect("written");
    }
}

#[test]
fn environment_is_accepted() {
    fine_site("plain", with_catalog(""));
    fine_site("only", with_catalog("only"));
    fine_site("both", with_catalog("optional only"));
    let site = with_directive("xspace_catalog lmdb:db/;");
    lmdb_load(&site.dir().join("db"), 1 << 20, [(ID, "{}")]);
    fine_site("relative to the configuration, with a slash", site);
    let site = with_directive("xspace_catalog lmdb:{dir}/link;");
    lmdb_load(&site.dir().join("db"), 1 << 20, [("", ""); 0]);
    site.symlink("db", "link");
    fine_site("empty, by a link", site);
}

#[test]
fn parameters_of_a_file_are_refused() {
    for parameter in ["refresh=5s", "refresh=off", "Only", "only=on", "optional optional"] {
        let last = parameter.rsplit(' ').next().expect("a word");
        let message = format!("invalid parameter \"{last}\" in \"xspace_catalog\"");
        expect_site("emerg", parameter, with_catalog(parameter), &message);
    }
    let message = "invalid path \"lmdb:\" in \"xspace_catalog\": it is empty";
    expect_site("emerg", "no path", with_directive("xspace_catalog lmdb:;"), message);
    let message = "invalid path \"lmdb:/$host\" in \"xspace_catalog\": variables are not supported";
    expect_site("emerg", "a variable", with_directive("xspace_catalog lmdb:/$host;"), message);
    let site = Site::new()
        .http("xspace_catalog lmdb:{dir}/db;")
        .server("xspace_catalog lmdb:{dir}/db/ optional; #!");
    let message = "conflicting \"optional\" for catalog \"lmdb:{dir}/db\", first set in ";
    expect_site("emerg", "optional for one of two", site, message);
}

#[test]
fn files_that_are_missing_are_named() {
    let missing = "stat() \"{dir}/db/data.mdb\" failed (2: No such file or directory)";
    refused("no directory", |db| fs::remove_dir_all(db).expect("removed"), missing);
    let remove =
        |name: &'static str| move |db: &Path| fs::remove_file(db.join(name)).expect("removed");
    refused("no data", remove("data.mdb"), missing);
    let missing = "stat() \"{dir}/db/lock.mdb\" failed (2: No such file or directory)";
    refused("no lock", remove("lock.mdb"), missing);
    let directory = |db: &Path| {
        remove("data.mdb")(db);
        fs::create_dir(db.join("data.mdb")).expect("a directory");
    };
    refused("a directory", directory, "\"{dir}/db/data.mdb\" is not a regular file");
    let fifo = |db: &Path| {
        remove("data.mdb")(db);
        let made = Command::new("mkfifo").arg(db.join("data.mdb")).status().expect("mkfifo");
        assert!(made.success());
    };
    refused("a FIFO", fifo, "\"{dir}/db/data.mdb\" is not a regular file");
    let site = with_directive("xspace_catalog lmdb:{dir}/file;").file("file", "");
    let message = "stat() \"{dir}/file/data.mdb\" failed (20: Not a directory)";
    expect_site("emerg", "a file", site, message);
}

#[test]
fn what_lmdb_could_not_read_is_refused() {
    let write = |content: &'static [u8]| {
        move |db: &Path| fs::write(db.join("data.mdb"), content).expect("written")
    };
    let message = |text: &str| format!("\"{{dir}}/db/data.mdb\": {text}");
    refused("empty", write(b""), &message("file is cut off"));
    refused("short", write(&[0; 100]), &message("file is cut off"));
    let cut = |db: &Path| {
        let file = fs::OpenOptions::new().write(true).open(db.join("data.mdb")).expect("data.mdb");
        file.set_len(4100).expect("cut");
    };
    refused("cut in the second meta page", cut, &message("file is cut off"));
    let foreign = message("not an LMDB environment, or damaged");
    refused("zeros", write(&[0; 8192]), &foreign);
    refused("text", write(&[b'x'; 8192]), &foreign);
    refused("no meta page", patch(10, &[0, 0]), &foreign);
    refused("magic", patch(16, &[0]), &foreign);
    refused("second magic", patch(4096 + 16, &[0]), &foreign);
    // mdb.master and LMDB 1.0 have other versions.
    let version = message("data format has version 999, LMDB 0.9 has 1");
    refused("another version", patch(20, &[0xe7, 3, 0, 0]), &version);
    let machine = message("written on a machine with another word size or byte order");
    refused("another byte order", patch(16, &[0xbe, 0xef, 0xc0, 0xde]), &machine);
    // LMDB would divide by it.
    refused("page size 0", patch(40, &[0, 0, 0, 0]), &message("damaged: page size is 0"));
    refused("page size 3", patch(40, &[3, 0, 0, 0]), &message("damaged: page size is 3"));
    let flags =
        message("main database has flags 0x04 (MDB_REVERSEKEY, MDB_DUPSORT, MDB_INTEGERKEY");
    refused("several values for a key", lmdb_set_dupsort, &flags);
    // Larger than any address.
    let huge = |db: &Path| {
        patch(32, &[0xff; 8])(db);
        patch(4096 + 32, &[0xff; 8])(db);
    };
    refused("map size", huge, "mdb_env_open() failed (12: Cannot allocate memory)");
}

#[test]
fn permissions_of_workers_are_checked() {
    if !is_root() {
        // Master and workers are the same user then.
        return;
    }
    let lacks = |what: &str, name: &str| {
        format!("worker user \"nobody\" has no permission to {what} \"{{dir}}/db{name}\"")
    };
    type Row = (&'static str, u32, u32, u32, Option<(&'static str, &'static str)>);
    let rows: [Row; 9] = [
        ("for everybody", 0o755, 0o644, 0o666, None),
        ("directory to be searched only", 0o711, 0o644, 0o666, None),
        ("directory", 0o750, 0o644, 0o666, Some(("search", ""))),
        ("data", 0o755, 0o640, 0o666, Some(("read", "/data.mdb"))),
        ("lock not to be read", 0o755, 0o644, 0o662, Some(("read", "/lock.mdb"))),
        ("lock not to be written", 0o755, 0o644, 0o664, Some(("write", "/lock.mdb"))),
        ("as root makes it", 0o755, 0o644, 0o640, Some(("read", "/lock.mdb"))),
        ("as a writer with umask 022 makes it", 0o755, 0o644, 0o644, Some(("write", "/lock.mdb"))),
        ("nothing", 0o700, 0o600, 0o600, Some(("search", ""))),
    ];
    for (what, directory, data, lock, lack) in rows {
        let set = |db: &Path| {
            for (path, mode) in [
                (db.join("data.mdb"), data),
                (db.join("lock.mdb"), lock),
                (db.to_owned(), directory),
            ] {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
                fs::set_permissions(path, mode).expect("a mode");
            }
        };
        match lack {
            Some((permission, name)) => refused(what, set, &lacks(permission, name)),
            None => {
                let site = with_catalog("");
                set(&site.dir().join("db"));
                let nginx = site.start();
                assert_eq!(nginx.get(PATH).status, 404, "{what}: {}", nginx.error_log());
                assert_eq!(nginx.count_errors(&["not opened"]), 0, "{what}: {}", nginx.error_log());
            }
        }
    }
}

#[test]
fn access_control_list_is_left_to_the_workers() {
    let has_setfacl = Command::new("setfacl").arg("--version").output().is_ok();
    if !is_root() || !has_setfacl {
        println!(
            "passed over: access_control_list_is_left_to_the_workers (no setfacl, or not root)"
        );
        return;
    }
    let site = with_catalog("");
    let db = site.dir().join("db");
    for name in ["data.mdb", "lock.mdb"] {
        let path = db.join(name);
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .expect("mode");
        let set = Command::new("setfacl").args(["-m", "u:nobody:rw"]).arg(path).status();
        if !set.expect("setfacl").success() {
            println!("passed over: access_control_list_is_left_to_the_workers (no ACLs here)");
            return;
        }
    }
    let nginx = site.start();
    assert_eq!(nginx.get(PATH).status, 404, "{}", nginx.error_log());
    assert_eq!(nginx.count_errors(&["not opened"]), 0, "{}", nginx.error_log());
}

/// The commands of docs/catalog.md, with other users and another path.
#[test]
fn recipe_of_the_documentation_works() {
    if !is_root() {
        println!("passed over: recipe_of_the_documentation_works (not root)");
        return;
    }
    let site = with_directive("xspace_catalog lmdb:{dir}/catalog;").file("downloads/a.mp3", "a");
    let path = site.dir().join("catalog");
    let blocks = code_blocks("docs/catalog.md", "sh");
    let recipe = blocks.iter().find(|block| block.contains("install -d")).expect("the recipe");
    let recipe = recipe
        .replace("/srv/xspace/catalog", path.to_str().expect("UTF-8"))
        .replace("application", "daemon")
        .replace("www-data", "nogroup");
    let run = Command::new("sh").args(["-e", "-c", &recipe]).output().expect("sh");
    assert!(run.status.success(), "{recipe}\n{}", String::from_utf8_lossy(&run.stderr));
    let metadata = |name: &str| fs::metadata(path.join(name)).expect("a file");
    for (name, mode) in [("", 0o42770), ("data.mdb", 0o100660), ("lock.mdb", 0o100660)] {
        let file = metadata(name);
        assert_eq!((file.uid(), file.gid(), file.mode()), (1, 65534, mode), "{name:?}");
    }
    let nginx = site.start();
    assert_eq!(nginx.get("/download/1ZkKzXbYyLmGv").status, 410, "{}", nginx.error_log());
    assert_eq!(nginx.count_errors(&["not opened"]), 0, "{}", nginx.error_log());
    // The script of the documentation, as the same user.
    let blocks = code_blocks("docs/catalog.md", "python");
    let script = blocks.iter().find(|block| block.contains("lmdb.open")).expect("the script");
    let script = script.replace("/srv/xspace/catalog", path.to_str().expect("UTF-8"));
    let run = Command::new("setpriv")
        .args(["--reuid", "daemon", "--regid", "daemon", "--clear-groups"])
        .args(["sh", "-c", "umask 007; exec /usr/bin/python3 -c \"$0\"", &script])
        .output()
        .expect("setpriv");
    assert!(run.status.success(), "{script}\n{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(nginx.get("/download/1ZkKzXbYyLmGv").status, 404, "no longer withheld");
    let title = "Rust-in-production_1lDxLnrWjwkGm";
    nginx.site().write("downloads/2025/06/1lDxLnrWjwkGm.mp3", "x");
    let response = nginx.get("/download/1lDxLnrWjwkGm");
    let name = response.header("content-disposition").unwrap_or_default();
    assert!(name.contains(title), "{response:?}");
}

/// A library of this name in a directory of its own, made from C.
fn library(site: &Site, name: &str, code: &str) -> PathBuf {
    let source = site.write("library/lmdb.c", code);
    let library = source.with_file_name(name);
    let made =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    assert!(made.expect("cc").success());
    library
}

#[test]
fn library_that_is_missing_or_too_old_is_named() {
    const NAMES: [&str; 2] = ["liblmdb.so.0", "liblmdb.so.0.0.0"];
    let with_path = |site: Site| {
        let directory = site.dir().join("library");
        site.environment("LD_LIBRARY_PATH", directory.to_str().expect("UTF-8"))
    };
    let functions = "env_create env_set_maxreaders env_open env_close env_get_fd env_info env_stat
        env_set_mapsize reader_check txn_begin txn_reset txn_renew txn_abort dbi_open dbi_flags get
        strerror";
    let source = |version: [u8; 3]| {
        let [major, minor, patch] = version;
        let functions: Vec<String> = functions
            .split_whitespace()
            .map(|name| format!("int mdb_{name}(void){{return 1;}}\n"))
            .collect();
        let functions = functions.concat();
        format!(
            "{functions} char *mdb_version(int *a, int *b, int *c) \
             {{ *a = {major}; *b = {minor}; *c = {patch}; return \"\"; }}"
        )
    };
    let start = "invalid catalog \"lmdb:{dir}/db\": ";
    for version in [[0, 9, 23], [0, 10, 0], [1, 0, 0], [0, 8, 99]] {
        let site = with_catalog("");
        library(&site, NAMES[0], &source(version));
        let [major, minor, patch] = version;
        let message = format!(
            "{start}\"liblmdb.so.0\" is LMDB {major}.{minor}.{patch}, a release of 0.9 from 0.9.24 on \
             is required"
        );
        expect_site("emerg", "another version", with_path(site), &message);
    }
    // These can be loaded in the place of LMDB's, and fail.
    let site = with_catalog("");
    for name in NAMES {
        site.write(&format!("library/{name}"), "no library");
    }
    let message = format!("{start}dlopen() \"liblmdb.so.0\" failed (");
    expect_site("emerg", "no library", with_path(site), &message);
    let site = with_catalog("");
    library(&site, NAMES[0], "int mdb_version(void) { return 0; }");
    let message = format!("{start}dlsym() \"liblmdb.so.0\" failed (");
    expect_site("emerg", "another library", with_path(site), &message);
    // Without such a catalog it does not matter.
    let site = with_directive("xspace_catalog off;");
    site.write("library/liblmdb.so.0", "no library");
    fine_site("not loaded", with_path(site));
}

#[test]
fn large_environment_is_checked_at_once() {
    // A map of 64 GB, of which a few pages are there.
    let site = with_directive("xspace_catalog lmdb:{dir}/db;");
    lmdb_load(&site.dir().join("db"), 64 << 30, [(ID, "{}")]);
    fine_site("64 GB", site);
}
