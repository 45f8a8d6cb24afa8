//! What several themes need.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::process::Command;

use xspace_tests::{
    Connection, Nginx, Preload, Protocol, Request, Response, Site, block_on, bytes, is_root,
    was_not_processed,
};

/// A space with an mp3 in most tests.
pub const ID: &str = "1lDxLnrWjwkGm";

/// Another space, with an m4a where it has a file.
pub const OTHER: &str = "1YqKDqWqdPLGV";

/// No file has this id.
pub const MISSING: &str = "1ZkKzXbYyLmGv";

/// The address of [`ID`].
pub const PATH: &str = "/download/1lDxLnrWjwkGm";

/// The address of [`MISSING`].
pub const MISSING_PATH: &str = "/download/1ZkKzXbYyLmGv";

/// The file of [`ID`] below the site's directory.
pub const FILE: &str = "downloads/1lDxLnrWjwkGm.mp3";

/// Length of [`recording`]; not a multiple of any buffer's size.
pub const SIZE: usize = 300_007;

/// The content of [`FILE`].
pub fn recording() -> Vec<u8> {
    bytes(1, SIZE)
}

/// The smallest configuration with one recording.
pub fn one_recording() -> Site {
    Site::simple().file(FILE, recording())
}

/// Fails unless it is the whole recording of [`ID`] with the module's headers.
#[track_caller]
pub fn assert_recording(response: &Response, what: &str) {
    assert_eq!(response.status, 200, "{what}: {response:?}");
    assert_eq!(response.header("content-type"), Some("audio/mpeg"), "{what}");
    assert_eq!(
        response.header("content-disposition"),
        Some("inline; filename=\"1lDxLnrWjwkGm.mp3\""),
        "{what}"
    );
    xspace_tests::same_bytes(&response.body, &recording(), what);
}

/// Fails if the answer has anything of the module's headers or of a recording.
#[track_caller]
pub fn assert_no_recording(response: &Response, status: u16, what: &str) {
    assert_eq!(response.status, status, "{what}: {response:?}");
    assert_eq!(response.header("content-disposition"), None, "{what}: {response:?}");
    let media_type = response.header("content-type").unwrap_or_default();
    assert!(
        !media_type.starts_with("audio/") && !media_type.starts_with("video/"),
        "{what}: {response:?}"
    );
    assert!(response.body.len() < SIZE / 2, "{what}: {response:?}");
}

/// GET over HTTP/2.
pub fn get_http2(nginx: &Nginx, path: &str) -> Response {
    nginx.send(Protocol::Http2, &Request::get(path))
}

/// One request on a new connection. An old worker may close an HTTP/2 connection with which it has
/// nothing to do yet; a client then asks again.
pub fn ask(protocol: Protocol, address: SocketAddr, request: &Request) -> Response {
    block_on(async {
        for _ in 0..10 {
            let mut connection = Connection::open(protocol, address).await;
            match connection.try_send(request).await {
                Ok(response) => return response,
                Err(e) if protocol == Protocol::Http2 && was_not_processed(&e) => {}
                Err(e) => panic!("{protocol:?} {request:?}: {e:?}"),
            }
        }
        panic!("{protocol:?} {request:?}: refused ten times");
    })
}

/// What nginx answers to a request, of which this is all but the end of its header, on a connection of
/// its own; empty if it closes the connection.
pub fn ask_once(nginx: &Nginx, request: &str) -> String {
    let mut connection = nginx.raw();
    connection.write(format!("{request}\r\nConnection: close\r\n\r\n"));
    String::from_utf8_lossy(&connection.read_whatever_comes()).into_owned()
}

/// Lets the allocations of one request fail one after the other, each in a request of its own. `check`
/// gets what that was answered, and what the error log has of it. Gives how many have failed.
///
/// With `request_pool_size 128` nearly everything in a pool is an allocation.
pub fn each_allocation(
    nginx: &Nginx,
    preload: &Preload,
    request: &str,
    check: impl Fn(&str, &str, &str),
) -> usize {
    let workers = nginx.workers();
    let mut failed = 0;
    for number in 1.. {
        let (logged, before) = (nginx.error_log().len(), preload.failures());
        preload.fail_allocation(number);
        let answer = ask_once(nginx, request);
        if preload.failures() == before {
            // The request has needed fewer.
            preload.fail_allocation(0);
            break;
        }
        failed += 1;
        let log = nginx.error_log();
        let log = log.get(logged..).unwrap_or_default();
        let what = format!("{request}, allocation {number}: {answer}\n{log}");
        check(&answer, log, &what);
        assert!(nginx.has_still(&workers), "{what}");
    }
    failed
}

/// Lets the workers read a file of a site, and no other user but root.
pub fn only_for_workers(site: &Site, name: &str) {
    site.chmod(name, 0o600);
    if is_root() {
        let users = fs::read_to_string("/etc/passwd").expect("there are users");
        let line = users.lines().find(|line| line.starts_with("nobody:")).expect("nobody is one");
        let id = line.split(':').nth(2).and_then(|id| id.parse().ok()).expect("it has an id");
        chown(site.dir().join(name), Some(id), None).expect("root may do that");
    }
}

/// What hangs of a file.
#[derive(Clone, Copy, Debug)]
pub enum Hangs {
    /// open(), when the file is open.
    Open,
    /// Reads from this byte on.
    From(usize),
}

/// A site where this hangs as long as there is a file of that name with `.hang` behind
/// (`hanging_read.c`).
pub fn with_hanging_file(site: Site, name: &str, hangs: Hangs) -> Site {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/suite/hanging_read.c");
    let library = site.dir().join("hanging_read.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library);
    assert!(compiler.arg(source).arg("-ldl").status().expect("cc can be run").success());
    let path = site.dir().join(name);
    let from = match hangs {
        Hangs::Open => "open".to_owned(),
        Hangs::From(byte) => byte.to_string(),
    };
    site.environment("LD_PRELOAD", library.to_str().expect("UTF-8"))
        .environment("XSPACE_TEST_HANGING", path.to_str().expect("UTF-8"))
        .environment("XSPACE_TEST_HANGING_FROM", &from)
}
