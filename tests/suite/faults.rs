//! Something goes wrong while 200 clients seek: see the table in tests/README.md.
//!
//! Each row is a short round here; `make test-faults SECONDS=60` lets each go on for a minute.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use xspace_tests::{
    Application, Nginx, Preload, RawConnection, Reply, Site, build, bytes, open_files, poll,
    same_bytes, setting,
};

use crate::common::{SIZE, ask_once, each_allocation, recording};
use crate::seekers::{Counts, Recording, Seekers};

/// A space whose file is found in the directory, and one whose file the catalog names.
const FOUND: &str = "found";
const NAMED: &str = "named";

/// The file of [`FOUND`], which most faults happen to.
const FOUND_FILE: &str = "downloads/found.mp3";

/// The content of the catalog's file.
fn named_content() -> Vec<u8> {
    bytes(2, SIZE + 1000)
}

/// What [`FOUND_FILE`] is replaced by.
fn other_content() -> Vec<u8> {
    bytes(3, SIZE)
}

fn catalog(title: &str) -> String {
    format!("{{\"{NAMED}\": {{\"title\": \"{title}\", \"files\": [\"2025/06/a.mp3\"]}}}}")
}

/// Two workers, a catalog and two recordings.
fn site() -> Site {
    Site::with_download("xspace_catalog {dir}/catalog.json refresh=50ms;")
        .server(
            "location ^~ /downloads/ { internal; alias {dir}/downloads/; }
             keepalive_requests 1000000;",
        )
        .workers(2)
        .file(FOUND_FILE, recording())
        .file("downloads/2025/06/a.mp3", named_content())
        .file("catalog.json", catalog("one"))
}

/// What the clients seek in: the file of [`FOUND`] may also have these contents.
fn recordings(others: Vec<Vec<u8>>) -> Vec<Recording> {
    let mut contents = vec![recording()];
    contents.extend(others);
    vec![
        Recording { path: format!("/download/{FOUND}"), contents },
        Recording { path: format!("/download/{NAMED}"), contents: vec![named_content()] },
    ]
}

/// Does it so many times, or for as long as the environment says.
fn again_and_again(times: usize, mut fault: impl FnMut(usize)) {
    let end = Instant::now() + Duration::from_secs(setting("XSPACE_TEST_FAULT_SECONDS", 0));
    let mut round = 0;
    while round < times || Instant::now() < end {
        fault(round);
        round += 1;
    }
}

/// Ends the clients and says what became of them. Nothing of a recording may stay open.
#[track_caller]
fn finish(seekers: Seekers, nginx: &Nginx, what: &str) -> Counts {
    seekers.serve_all();
    let counts = seekers.finish();
    println!("{what}: {counts}");
    assert_nothing_open(nginx);
    counts
}

/// Fails if a worker does not close the recordings when nobody wants them any more.
#[track_caller]
fn assert_nothing_open(nginx: &Nginx) {
    let open = || -> Vec<String> {
        nginx
            .workers()
            .into_iter()
            .flat_map(open_files)
            .map(|path| path.to_string_lossy().into_owned())
            .filter(|path| path.contains("/downloads/"))
            .collect()
    };
    assert!(poll(|| open().is_empty()), "still open: {:?}", open());
}

/// No client has noticed anything.
#[track_caller]
fn assert_unharmed(counts: &Counts) {
    assert_eq!(counts.broken, 0, "{counts}: {}", counts.example);
    assert!(counts.statuses.is_empty(), "{counts}");
}

#[test]
fn worker_killed() {
    let nginx = site().allow("exited on signal 9").start();
    let seekers = Seekers::start(&nginx, recordings(vec![]));
    again_and_again(3, |_| {
        nginx.wait_worker();
        let victim = nginx.workers()[0];
        nginx.signal_worker(victim, libc::SIGKILL);
        nginx.wait_gone(victim);
        seekers.serve_all();
    });
    let counts = finish(seekers, &nginx, "worker killed");
    assert!(counts.statuses.is_empty(), "{counts}");
}

#[test]
fn reloads_one_after_the_other() {
    let nginx = site().start();
    let seekers = Seekers::start(&nginx, recordings(vec![]));
    again_and_again(5, |_| {
        nginx.start_reload();
        // As often as a site that is badly looked after might do it.
        thread::sleep(Duration::from_millis(100));
    });
    seekers.serve_all();
    assert_unharmed(&finish(seekers, &nginx, "reload every 100 ms"));
}

#[test]
fn binary_upgrades() {
    let mut nginx = site().daemon().start();
    let seekers = Seekers::start(&nginx, recordings(vec![]));
    again_and_again(1, |_| {
        nginx.upgrade();
        seekers.serve_all();
    });
    assert_unharmed(&finish(seekers, &nginx, "binary upgrade"));
    nginx.finish();
}

#[test]
fn logs_reopened() {
    let nginx = site()
        .http("log_format range '$status $http_range'; access_log {dir}/access.log range;")
        .start();
    let seekers = Seekers::start(&nginx, recordings(vec![]));
    let log = nginx.dir().join("access.log");
    let mut lines = 0;
    again_and_again(5, |round| {
        let old = nginx.dir().join("access.log.old");
        fs::rename(&log, &old).expect("the log can be moved");
        nginx.reopen_logs();
        assert!(poll(|| log.exists()), "no new access.log");
        seekers.go_on();
        // Each worker has its new file by now: to the old one nothing is added.
        lines += whole_lines(&old, &format!("round {round}"));
    });
    let counts = finish(seekers, &nginx, "logs reopened");
    assert_unharmed(&counts);
    let asked = counts.served + counts.unprocessed;
    assert!(poll(|| lines + whole_lines(&log, "the last") >= counts.served), "lines are missing");
    lines += whole_lines(&log, "the last");
    assert!(lines <= asked, "{lines} lines for {asked} requests");
}

/// The number of lines, each of which is one request's.
fn whole_lines(path: &Path, what: &str) -> usize {
    let text = fs::read_to_string(path).expect("an access log");
    for line in text.lines() {
        assert!(line.starts_with("206 bytes="), "{what}: {line:?}");
    }
    text.lines().count()
}

#[test]
fn disk_of_the_logs_full() {
    // A device on which every write fails with ENOSPC.
    let nginx = site()
        .main("error_log /dev/full info;")
        .http("access_log /dev/full;")
        .allow("write() to \"/dev/full\"")
        .start();
    let seekers = Seekers::start(&nginx, recordings(vec![]));
    again_and_again(2, |_| {
        seekers.serve_all();
        assert_eq!(nginx.get("/download/nobody").status, 404, "an error that can't be logged");
    });
    assert_unharmed(&finish(seekers, &nginx, "disk of the logs full"));
    nginx.wait_error(&["write() to \"/dev/full\"", "(28: No space left on device)"]);
}

#[test]
fn file_deleted_and_back() {
    let nginx = site().start();
    let seekers = Seekers::start(&nginx, recordings(vec![]));
    seekers.allow(&[404]);
    let path = nginx.dir().join(FOUND_FILE);
    let away = nginx.dir().join("away");
    again_and_again(3, |_| {
        fs::rename(&path, &away).expect("moved away");
        seekers.go_on();
        fs::rename(&away, &path).expect("moved back");
        seekers.serve_all();
    });
    let counts = finish(seekers, &nginx, "file deleted");
    assert_eq!(counts.broken, 0, "{counts}: {}", counts.example);
    assert!(counts.statuses.contains_key(&404), "{counts}");
}

#[test]
fn file_truncated_while_it_is_sent() {
    let short = recording()[..SIZE / 3].to_vec();
    let nginx =
        site().allow("was truncated").allow("sendfile() failed").allow("pread() read only").start();
    let seekers = Seekers::start(&nginx, recordings(vec![short.clone()]));
    // A range behind the new end.
    seekers.allow(&[416]);
    let path = nginx.dir().join(FOUND_FILE);
    again_and_again(3, |_| {
        let file = fs::File::options().write(true).open(&path).expect("the recording");
        file.set_len(short.len() as u64).expect("truncated");
        seekers.go_on();
        // Written over in place, by somebody who should not: between the two, a client can get
        // what is neither the one nor the other, so it is replaced.
        nginx.site().replace(FOUND_FILE, recording());
        seekers.serve_all();
    });
    let counts = finish(seekers, &nginx, "file truncated");
    assert!(counts.statuses.contains_key(&416), "{counts}");
}

#[test]
fn file_replaced_by_rename() {
    let nginx = site().start();
    let seekers = Seekers::start(&nginx, recordings(vec![other_content()]));
    again_and_again(10, |round| {
        let content = if round % 2 == 0 { other_content() } else { recording() };
        nginx.site().replace(FOUND_FILE, content);
        thread::sleep(Duration::from_millis(20));
    });
    assert_unharmed(&finish(seekers, &nginx, "file replaced by rename"));
}

#[test]
fn file_replaced_by_a_directory() {
    let nginx = site().start();
    let seekers = Seekers::start(&nginx, recordings(vec![]));
    seekers.allow(&[404]);
    let path = nginx.dir().join(FOUND_FILE);
    let away = nginx.dir().join("away");
    again_and_again(3, |_| {
        fs::rename(&path, &away).expect("moved away");
        fs::create_dir(&path).expect("a directory in its place");
        seekers.go_on();
        fs::remove_dir(&path).expect("the directory is empty");
        fs::rename(&away, &path).expect("moved back");
        seekers.serve_all();
    });
    let counts = finish(seekers, &nginx, "file replaced by a directory");
    assert_eq!(counts.broken, 0, "{counts}: {}", counts.example);
    assert!(counts.statuses.contains_key(&404), "{counts}");
}

#[test]
fn file_made_unreadable() {
    let nginx = site().start();
    let seekers = Seekers::start(&nginx, recordings(vec![]));
    seekers.allow(&[403]);
    again_and_again(3, |_| {
        nginx.site().chmod(FOUND_FILE, 0);
        seekers.go_on();
        nginx.site().chmod(FOUND_FILE, 0o644);
        seekers.serve_all();
    });
    let counts = finish(seekers, &nginx, "file made unreadable");
    assert_eq!(counts.broken, 0, "{counts}: {}", counts.example);
    assert!(counts.statuses.contains_key(&403), "{counts}");
}

#[test]
fn no_file_descriptors_left() {
    // Enough for the clients, but not for all of those who hold a file open as well.
    let nginx = site()
        .workers(1)
        .main("worker_rlimit_nofile 250;")
        .allow("(24: Too many open files)")
        .file("downloads/big.mp3", bytes(4, 20_000_000))
        .start();
    let seekers = Seekers::start(&nginx, recordings(vec![]));
    seekers.allow(&[500, 503]);
    again_and_again(1, |_| {
        // Each of these needs two descriptors.
        let hoarders: Vec<_> = (0..40)
            .map(|_| {
                let mut connection = nginx.raw();
                connection.write("GET /download/big HTTP/1.1\r\nHost: localhost\r\n\r\n");
                connection
            })
            .collect();
        nginx.wait_error(&["(24: Too many open files)"]);
        seekers.go_on();
        drop(hoarders);
        seekers.serve_all();
    });
    finish(seekers, &nginx, "no file descriptors left");
}

#[test]
fn no_memory_now_and_then() {
    if !build().require("preload") {
        return;
    }
    let (preload, site) = Preload::new(site());
    let nginx = site.allow("(12: Cannot allocate memory)").start();
    // nginx's HTTP/2 may then forget a request, for which its client would wait in vain.
    let seekers = Seekers::start_http1(&nginx, recordings(vec![]));
    seekers.allow(&[500]);
    let workers = nginx.workers();
    again_and_again(3, |_| {
        preload.fail_one_in(500);
        seekers.go_on();
        preload.fail_one_in(0);
        seekers.serve_all();
    });
    finish(seekers, &nginx, "no memory now and then");
    println!("{} of {} allocations failed", preload.failures(), preload.allocations());
    assert!(preload.failures() > 0, "no allocation failed");
    assert_eq!(nginx.workers(), workers, "a worker has ended: {}", nginx.error_log());
}

#[test]
fn catalog_going_bad() {
    if !build().require("threads") {
        return;
    }
    let nginx = site().start();
    let seekers = Seekers::start(&nginx, recordings(vec![]));
    let stays = ["[error]", "catalog.json", "keeping the previous version"];
    let taken = ["[notice]", "catalog.json", "reloaded: "];
    again_and_again(3, |round| {
        let count = 2 * (round + 1);
        nginx.site().replace("catalog.json", "{\"named\": {\"files\": [\"../../etc/passwd\"]]}");
        nginx.wait_errors(&stays, count);
        seekers.go_on();
        nginx.site().replace("catalog.json", catalog(&format!("title {round}")));
        nginx.wait_errors(&taken, count);
    });
    assert_unharmed(&finish(seekers, &nginx, "catalog going bad"));
}

#[test]
fn lookup_service_stopping_and_back() {
    let undecided = || Reply::status(204);
    let application = Application::always(undecided());
    let address = application.address();
    let mut application = Some(application);
    let nginx = Site::with_download("xspace_lookup /_space;")
        .server(&format!(
            "location = /_space {{
                 internal;
                 proxy_pass http://{address};
                 proxy_pass_request_body off;
             }}
             location ^~ /downloads/ {{ internal; alias {{dir}}/downloads/; }}"
        ))
        .main("worker_rlimit_nofile 4096;")
        .workers(2)
        .file(FOUND_FILE, recording())
        .start();
    let mut recordings = recordings(vec![]);
    recordings.truncate(1);
    let seekers = Seekers::start(&nginx, recordings);
    seekers.allow(&[502]);
    again_and_again(2, |_| {
        drop(application.take());
        seekers.go_on();
        application = Some(Application::always_at(address, undecided()));
        seekers.serve_all();
    });
    let counts = finish(seekers, &nginx, "lookup service stopping");
    assert_eq!(counts.broken, 0, "{counts}: {}", counts.example);
    assert!(counts.statuses.contains_key(&502), "{counts}");
}

/// Asks for a file and gives the connection; nothing is read yet.
fn begin(nginx: &Nginx, id: &str) -> RawConnection {
    let mut connection = nginx.raw();
    connection.write(format!(
        "GET /download/{id} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    ));
    connection
}

#[test]
fn slow_readers() {
    let big = bytes(4, 5_000_000);
    let nginx = site().file("downloads/big.mp3", &big).start();
    let seekers = Seekers::start(&nginx, recordings(vec![]));
    again_and_again(1, |round| {
        let mut readers: Vec<_> = (0..50).map(|_| (begin(&nginx, "big"), Vec::new())).collect();
        for _ in 0..5 {
            for (connection, answer) in &mut readers {
                answer.extend(connection.read_exactly(10_000));
            }
            seekers.go_on();
        }
        for (mut connection, mut answer) in readers {
            answer.extend(connection.read_to_end());
            let start = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("headers") + 4;
            same_bytes(&answer[start..], &big, &format!("round {round}"));
        }
    });
    assert_unharmed(&finish(seekers, &nginx, "slow readers"));
}

#[test]
fn clients_that_vanish() {
    let nginx = site().file("downloads/big.mp3", bytes(4, 5_000_000)).start();
    let seekers = Seekers::start(&nginx, recordings(vec![]));
    again_and_again(3, |_| {
        let vanishing: Vec<_> = (0..100)
            .map(|_| {
                let mut connection = begin(&nginx, "big");
                connection.read_exactly(1000);
                connection
            })
            .collect();
        for (number, connection) in vanishing.into_iter().enumerate() {
            if number % 2 == 0 { connection.reset() } else { drop(connection) }
        }
        seekers.go_on();
    });
    assert_unharmed(&finish(seekers, &nginx, "clients that vanish"));
}

#[test]
fn clock_jumps() {
    if !build().require("preload") || !build().require("threads") {
        return;
    }
    let (preload, site) = Preload::new(site());
    let nginx = site.start();
    let seekers = Seekers::start(&nginx, recordings(vec![]));
    let day = 86_400;
    again_and_again(1, |round| {
        for (step, offset) in [day, -day, 3650 * day, -3650 * day, 1, -1].into_iter().enumerate() {
            preload.set_clock_offset(offset);
            seekers.serve_all();
            // Time goes on for the catalog as well.
            nginx.site().replace("catalog.json", catalog(&format!("{round} {step}")));
            let count = 2 * (6 * round + step + 1);
            nginx.wait_errors(&["[notice]", "catalog.json", "reloaded: "], count);
        }
    });
    assert_unharmed(&finish(seekers, &nginx, "clock jumps"));
}

/// The allocations of one request fail one after the other, each in a request of its own. A failure
/// is answered with 500, or as a lookup without an answer with 502, and the log has the cause.
fn each_allocation_fails(site: Site, requests: &[&str], what: &str) {
    if !build().require("preload") {
        return;
    }
    let (preload, site) = Preload::new(site);
    let nginx = site
        .allow("(12: Cannot allocate memory)")
        // With a pool as small as this nearly everything is an allocation of its own.
        .server("request_pool_size 128; add_header X-Outcome $xspace_outcome always;")
        .file("downloads/small.mp3", "a small recording")
        .start();
    let told_when_found = Cell::new(0);
    for request in requests {
        let request = format!("{request} HTTP/1.1\r\nHost: localhost");
        let first_line = |answer: &str| answer.lines().next().unwrap_or_default().to_owned();
        let expected = first_line(&ask_once(&nginx, &request));
        let answered = Cell::new(0);
        let failed = each_allocation(&nginx, &preload, &request, |answer, log, what| {
            let first = first_line(answer);
            let is_error = [" 500 ", " 502 "].iter().any(|status| first.contains(status));
            assert!(answer.is_empty() || first == expected || is_error, "{what}");
            if is_error {
                answered.set(answered.get() + 1);
                let own = own_causes(log, first.contains(" 502 "));
                // NGINX's allocation, or the module's own.
                let causes = ["(12: Cannot allocate memory)", "no memory"];
                assert!(causes.iter().any(|cause| log.contains(cause)), "{what}");
                if answer.contains("\r\nX-Outcome: found\r\n") {
                    // The target's file could not be sent; NGINX itself does most of that.
                    told_when_found.set(told_when_found.get() + own);
                } else if request.contains(" /download/") {
                    assert_eq!(own, 1, "{what}");
                }
            }
            assert_eq!(first_line(&ask_once(&nginx, &request)), expected, "{what}, afterwards");
        });
        let answered = answered.get();
        println!("{what}, {request}: {failed} allocations failed, {answered} of them answered");
        assert!(answered > 0, "{request}: no failure was answered");
    }
    assert!(told_when_found.get() > 0, "{what}: the header filters have not failed");
}

/// How many lines of a log are the module's own about a request that it has answered with 500, or
/// with 502 because of a lookup.
fn own_causes(log: &str, is_lookup: bool) -> usize {
    let cause = if is_lookup {
        "lookup \"/_space\" for space \""
    } else {
        "xspace request failed: no memory"
    };
    log.lines().filter(|line| line.contains("[error]") && line.contains(cause)).count()
}

#[test]
fn each_allocation_of_a_request_fails_once() {
    let site = Site::with_download("xspace_catalog {dir}/catalog.json refresh=off;")
        .server(
            "location ^~ /downloads/ { internal; alias {dir}/downloads/; }
             location /variables {
                 return 200 \"$xspace_id $xspace_format $xspace_file $xspace_title\";
             }",
        )
        .http(
            "log_format all '$xspace_id $xspace_format $xspace_file $xspace_title $xspace_filename \
             $xspace_disposition $xspace_source $xspace_outcome $xspace_counted';
             access_log {dir}/access.log all;",
        )
        .file(
            "catalog.json",
            "{\"named\": {\"title\": \"Gespräch\", \"files\": [\"small.mp3\"]},
              \"gone\": {\"status\": 410}}",
        );
    let requests = [
        "GET /download/small",
        "HEAD /download/small.mp3?attachment=1",
        "GET /download/named?format=audio",
        "GET /download/gone",
        "GET /download/missing",
        "GET /download/in%20valid",
        "OPTIONS /download/small",
        "POST /download/small",
        "GET /variables",
    ];
    each_allocation_fails(site, &requests, "catalog and directory");
}

#[test]
fn each_allocation_of_a_lookup_fails_once() {
    let site = Site::with_download("xspace_lookup /_space;")
        .server(
            "location = /_space { internal; alias {dir}/answers/$arg_id; }
             location ^~ /downloads/ { internal; alias {dir}/downloads/; }",
        )
        .file("answers/named", "{\"title\": \"Gespräch\", \"files\": [\"small.mp3\"]}")
        .file("answers/gone", "{\"status\": 410}")
        .file("answers/small", "");
    let requests = ["GET /download/named", "GET /download/gone", "GET /download/small"];
    each_allocation_fails(site, &requests, "lookup");
}
