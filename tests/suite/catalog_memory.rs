//! Catalogs for which a worker has no memory: it goes on with the last good one.

use std::fs::File;
use std::io::{BufWriter, Write};

use xspace_tests::{Nginx, Site, build, memory};

use crate::common::ID;

/// More than a worker needs to read any catalog, and its entries if there are few.
const ROOM: u64 = 24 * 1024 * 1024;

/// More than that.
const MUCH: usize = 40 * 1024 * 1024;

/// Gives the site a new worker, which may have no more than [`ROOM`] besides what the one before it
/// has. The master hands the limit on.
fn limit(nginx: &Nginx) {
    let [worker] = nginx.workers()[..] else { panic!("one worker: {:?}", nginx.workers()) };
    let most = memory(worker, "VmSize") + ROOM;
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    let pid = libc::pid_t::try_from(nginx.pid()).expect("a process id");
    // SAFETY: the limit is valid, and the old one is not asked for.
    let set =
        unsafe { libc::prlimit(pid, libc::RLIMIT_AS, &raw const limit, std::ptr::null_mut()) };
    assert_eq!(set, 0, "prlimit: {}", std::io::Error::last_os_error());
    nginx.signal_worker(worker, libc::SIGTERM);
    nginx.wait_gone(worker);
    nginx.wait_worker();
}

/// Writes a catalog: `begin`, `part` until it is large, `end`.
fn put(nginx: &Nginx, begin: &str, part: &str, end: &str) {
    let dir = nginx.dir();
    let mut file = BufWriter::new(File::create(dir.join("new.json")).expect("created"));
    file.write_all(begin.as_bytes()).expect("written");
    let parts = part.repeat(1 + 65_536 / part.len());
    for _ in 0..MUCH / parts.len() {
        file.write_all(parts.as_bytes()).expect("written");
    }
    file.write_all(end.as_bytes()).expect("written");
    file.flush().expect("written");
    drop(file);
    std::fs::rename(dir.join("new.json"), dir.join("catalog.json")).expect("renamed");
}

/// The end of a file that has none.
const CUT_OFF: &str = "cut off";

#[test]
fn no_catalog_ends_a_worker() {
    if !build().require("threads") {
        return;
    }
    let good = format!("{{\"{ID}\": {{\"title\": \"good\", \"files\": [\"a.mp3\"]}}}}");
    let nginx = Site::with_directives("xspace_catalog {dir}/catalog.json refresh=50ms;", "")
        .main("thread_pool default threads=1;")
        // glibc would take the address space for a heap of the thread's own, or not.
        .environment("MALLOC_ARENA_MAX", "1")
        .server("add_header X-Title $xspace_title always;")
        .file("downloads/a.mp3", "a")
        .file("downloads/many.mp3", "many")
        .file("catalog.json", &good)
        .start();
    nginx.get(&format!("/download/{ID}"));
    limit(&nginx);
    let workers = nginx.workers();
    // What is there besides the entry of `ID`: its beginning, what follows very often, and its end.
    // Without an end the file is cut off, and refused.
    let rows: [[&str; 4]; 13] = [
        ["a member", "{\"m\": {\"titel\": [", "\"x\",", "\"x\"]}, "],
        ["a string", "{\"m\": \"", "x", "\", "],
        ["an escaped string", "{\"m\": {\"title\": \"", "\\\"", "\"}, "],
        ["a title", "{\"m\": {\"title\": \"", "x", "\"}, "],
        ["a key", "{\"", "x", "\": 1, "],
        ["an escaped key", "{\"", "\\u0041", "\": 1, "],
        ["a key of an entry", "{\"m\": {\"", "\\n", "\": 1}, "],
        ["a number", "{\"m\": {\"status\": 1", "0", "}, "],
        ["white space", "", " \n", "{"],
        ["white space inside", "{\"m\": 1,", "\t\r", ""],
        ["nesting", "{\"m\": ", "[", CUT_OFF],
        ["no quote", "{\"m\": \"", "x", CUT_OFF],
        ["no quote behind escapes", "{\"m\": \"", "\\n", CUT_OFF],
    ];
    let mut title = "good".to_owned();
    let mut refused = 0;
    for (index, [what, begin, part, end]) in rows.into_iter().enumerate() {
        if end == CUT_OFF {
            refused += 1;
            put(&nginx, begin, part, "");
            nginx.wait_errors(
                &["[error]", "not reloaded, keeping the previous version: unexpected end of file"],
                refused,
            );
        } else {
            title = what.to_owned();
            let entry = format!("\"{ID}\": {{\"title\": \"{title}\", \"files\": [\"a.mp3\"]}}}}");
            put(&nginx, begin, part, &format!("{end}{entry}"));
            nginx.wait_errors(&["[notice]", "reloaded: 1 entries"], index + 1);
        }
        let response = nginx.get(&format!("/download/{ID}"));
        assert_eq!((response.status, response.header("x-title")), (200, Some(&*title)), "{what}");
        assert!(nginx.has_still(&workers), "{what}");
    }

    // Entries for which there is no room: some millions of them.
    let mut file = BufWriter::new(File::create(nginx.dir().join("new.json")).expect("created"));
    write!(file, "{{\"a\":1").expect("written");
    for n in 0..1_500_000 {
        write!(file, ",\"{n}\":{{}}").expect("written");
    }
    write!(file, "}}").expect("written");
    file.flush().expect("written");
    drop(file);
    std::fs::rename(nginx.dir().join("new.json"), nginx.dir().join("catalog.json"))
        .expect("renamed");
    nginx.wait_error(&["[error]", "not reloaded, keeping the previous version: no memory"]);
    let response = nginx.get(&format!("/download/{ID}"));
    assert_eq!((response.status, response.header("x-title")), (200, Some(&*title)), "many entries");
    assert!(nginx.has_still(&workers), "many entries");

    nginx.site().replace("catalog.json", &good);
    nginx.wait_error(&["[notice]", "reloaded: 1 entries"]);
    let end = nginx.get(&format!("/download/{ID}"));
    assert_eq!(end.status, 200);
    assert!(nginx.has_still(&workers), "in the end");
}
