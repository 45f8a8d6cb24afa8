//! The harness itself: what has to fail a test does.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use xspace_tests::{
    Nginx, Protocol, RawConnection, Site, bytes, read_responses, same_bytes, wait_for,
    wait_readable,
};

/// Whether the check at the end of a test fails.
fn fails_at_the_end(nginx: Nginx) -> bool {
    let dir = nginx.dir().to_owned();
    let failed = catch_unwind(AssertUnwindSafe(|| nginx.finish())).is_err();
    if failed {
        // A failed test keeps its directory.
        fs::remove_dir_all(dir).expect("the directory of the test");
    }
    failed
}

/// Adds a line to the error log.
fn log(nginx: &Nginx, line: &str) {
    let path = nginx.dir().join("error.log");
    let text = fs::read_to_string(&path).expect("error.log");
    fs::write(path, format!("{text}2025/01/01 00:00:00 {line}\n")).expect("error.log");
}

#[test]
fn worker_that_dies_of_a_signal_fails_the_test() {
    let nginx = Site::simple().start();
    let [worker] = nginx.workers()[..] else { panic!("one worker: {:?}", nginx.workers()) };
    nginx.signal_worker(worker, libc::SIGSEGV);
    nginx.wait_error(&["exited on signal 11"]);
    assert!(fails_at_the_end(nginx));
}

/// A worker that ended by itself, as one does in which a memory checker found something.
const EXIT: &str = "[notice] 1#1: worker process 2 exited with code 99";

#[test]
fn bad_lines_in_the_error_log_fail_the_test() {
    for line in ["[alert] x", "[crit] x", "[emerg] x", "[error] thread panicked at x", EXIT] {
        let nginx = Site::simple().start();
        log(&nginx, line);
        assert!(fails_at_the_end(nginx), "{line}");
    }
    let nginx = Site::simple().start();
    log(&nginx, "[error] x");
    log(&nginx, "[notice] 1#1: worker process 2 exited with code 0");
    assert!(!fails_at_the_end(nginx), "an error is not always a fault");
    let nginx = Site::simple().refuse_errors().start();
    log(&nginx, "[error] x");
    assert!(fails_at_the_end(nginx), "an error where the test expects none");
    let nginx = Site::simple().allow("expected").start();
    log(&nginx, "[alert] this one is expected");
    assert!(!fails_at_the_end(nginx), "what the test allows");
}

#[test]
fn tests_run_as_an_unprivileged_worker() {
    let nginx = Site::simple().start();
    // A worker that answers has given up what it had from its master.
    assert_eq!(nginx.get("/nothing").status, 404);
    let [worker] = nginx.workers()[..] else { panic!("one worker: {:?}", nginx.workers()) };
    let status = fs::read_to_string(format!("/proc/{worker}/status")).expect("a process");
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:\t")).expect("a user");
    assert!(!uid.starts_with("0\t"), "{uid}");
}

#[test]
fn whole_responses_come_one_after_the_other() {
    const LONG: usize = 100_000;
    let site = Site::simple().file("downloads/long.mp3", bytes(1, LONG));
    let nginx = site.server("location = /nothing { return 204; }").start();
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut connection = nginx.raw();
    for _ in 0..3 {
        let response = connection.ask(request("/download/long"));
        assert_eq!(response.status, 200);
        same_bytes(&response.body, &bytes(1, LONG), "in several pieces");
        assert!(connection.received().ends_with(&response.body));
        assert_eq!(connection.ask(request("/nothing")).status, 204);
    }

    let address = nginx.address(Protocol::Http1);
    let mut connections = [0; 2].map(|_| RawConnection::open_nonblocking(address));
    assert!(connections[1].receive().is_none(), "nothing was sent");
    connections[1].send(request("/nothing"));
    let response = wait_for(|| {
        let ready = wait_readable(&connections, Duration::from_secs(1));
        ready.into_iter().find_map(|place| Some((place, connections[place].receive()?.status)))
    });
    assert_eq!(response, Some((1, 204)));
    assert!(wait_readable(&connections, Duration::ZERO).is_empty());
}

#[test]
fn doubled_headers_fail_the_test() {
    let stream = b"HTTP/1.1 204 No Content\r\nX-A: 1\r\nX-A: 1\r\n\r\n";
    let responses = read_responses(stream, &[false]);
    assert!(catch_unwind(|| responses[0].header("x-a").is_some()).is_err());
}
