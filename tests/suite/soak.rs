//! Requests of all kinds for a long time, with reloads and new catalogs all the while: what nginx
//! holds at the end is what it held at the start.
//!
//! A short run here; `make soak REQUESTS=1000000` for a long one.

use std::fmt;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use xspace_tests::{
    Connection, Nginx, Protocol, Random, Request, Site, block_on, build, bytes, memory, open_files,
    setting, wait_for, was_not_processed,
};

use crate::common::{FILE, ID, OTHER, SIZE, recording};

/// How many requests a short run has.
const REQUESTS: usize = 6000;

const CLIENTS: usize = 32;

/// A catalog's content; each is larger or smaller than the one before.
fn catalog(number: usize) -> String {
    let filler: Vec<String> = (0..1000 + number % 7 * 100)
        .map(|n| {
            format!("\"s{n}\": {{\"title\": \"number {number}\", \"files\": [\"a/{n}.mp3\"]}}")
        })
        .collect();
    format!(
        "{{\"{OTHER}\": {{\"title\": \"Talk {number}\", \"files\": [\"2025/talk.m4a\"]}},
          \"gone\": {{\"status\": 410}}, {}}}",
        filler.join(",\n")
    )
}

fn site() -> Site {
    Site::with_download("xspace_catalog {dir}/catalog.json refresh=100ms; limit_conn one 100;")
        .http(
            "limit_conn_zone $xspace_id zone=one:1m;
             limit_req_zone $xspace_id zone=rate:1m rate=1000000r/s;
             log_format soak '$status $xspace_id $xspace_outcome $xspace_counted';
             access_log {dir}/access.log soak;",
        )
        .server(
            "location ^~ /downloads/ { internal; alias {dir}/downloads/; }
             location ^~ /lookup/ {
                 xspace_download /downloads/;
                 xspace_lookup /_space;
                 limit_req zone=rate burst=1000 nodelay;
             }
             location = /_space { internal; alias {dir}/answers/$arg_id; }
             location = /status { stub_status; access_log off; }
             location = /page { return 200 \"$xspace_id $xspace_title\"; }
             keepalive_requests 1000;",
        )
        .workers(2)
        .file(FILE, recording())
        .file("downloads/2025/talk.m4a", bytes(5, 20_000))
        .file("catalog.json", catalog(0))
        .file("answers/named", "{\"title\": \"Gespräch\", \"files\": [\"2025/talk.m4a\"]}")
        .file("answers/bad", "{\"files\": [\"../../etc/passwd\"]}")
        .file(&format!("answers/{ID}"), "")
}

/// A request and the status that it has to be answered with.
fn request(random: &mut Random) -> (Request, u16) {
    let recording = format!("/download/{ID}");
    let other = format!("/download/{OTHER}");
    match random.below(20) {
        0 => (Request::get(&recording), 200),
        1 => (Request::head(&recording), 200),
        2 => (Request::get(&format!("{recording}.mp3?attachment=1")), 200),
        3 => (Request::get(&format!("{recording}?format=video")), 404),
        4 => (Request::get(&recording).range(&format!("bytes={}-", SIZE + 1)), 416),
        5 => (Request::get(&recording).header("If-None-Match", "*"), 304),
        6 => (Request::get(&recording).range("bytes=0-1,5-9,100-200"), 206),
        7 => (Request::get(&other), 200),
        8 => (Request::get(&other).range("bytes=100-199"), 206),
        9 => (Request::get("/download/gone"), 410),
        10 => (Request::get("/download/missing"), 404),
        11 => (Request::get("/download/not%20an%20id"), 404),
        12 => (Request::new("POST", &recording).body(b"a body"), 405),
        13 => (Request::new("OPTIONS", &recording), 204),
        14 => (Request::get("/lookup/named"), 200),
        15 => (Request::get("/lookup/bad"), 502),
        16 => (Request::get(&format!("/lookup/{ID}")).range("bytes=7-70000"), 206),
        17 => (Request::get("/page"), 200),
        _ => {
            let first = random.below(SIZE);
            let last = (first + random.below(40_000)).min(SIZE - 1);
            (Request::get(&recording).range(&format!("bytes={first}-{last}")), 206)
        }
    }
}

/// Asks until so many requests were answered, by all clients together.
fn ask(nginx: &Nginx, count: usize, seed: u64) {
    let left = Arc::new(AtomicUsize::new(count));
    block_on(async {
        let tasks: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let protocol = if client % 4 == 0 { Protocol::Http2 } else { Protocol::Http1 };
                let address = nginx.address(protocol);
                let left = Arc::clone(&left);
                tokio::spawn(async move {
                    let mut random = Random::new(seed * 1000 + client as u64);
                    let mut connection: Option<Connection> = None;
                    let take = |n: usize| n.checked_sub(1);
                    while left.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok() {
                        let (request, status) = request(&mut random);
                        let mut kept = match connection.take() {
                            Some(kept) => kept,
                            None => Connection::open(protocol, address).await,
                        };
                        match kept.try_send(&request).await {
                            Ok(response) => {
                                assert_eq!(response.status, status, "{request:?}: {response:?}");
                                connection = Some(kept);
                            }
                            // A server may close a connection that has nothing to do.
                            Err(e) if was_not_processed(&e) || protocol == Protocol::Http1 => {
                                left.fetch_add(1, Ordering::AcqRel);
                            }
                            Err(e) => panic!("{protocol:?} {request:?}: {e:?}"),
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("every answer is right");
        }
    });
}

/// What nginx holds.
#[derive(Clone, Debug)]
struct Holdings {
    /// Memory of its own of the master and of all workers, in KiB.
    master: u64,
    workers: u64,
    /// Open descriptors of the master and of each worker.
    master_files: usize,
    worker_files: Vec<usize>,
    /// Mappings that are shared between the processes, in KiB.
    shared: u64,
    /// What the status page says of connections.
    active: String,
}

impl fmt::Display for Holdings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { master, workers, master_files, worker_files, shared, active } = self;
        write!(
            f,
            "master {master} KiB, {master_files} files; workers {workers} KiB, files \
             {worker_files:?}; shared {shared} KiB; {active}"
        )
    }
}

impl Holdings {
    /// Looks once all clients are gone.
    fn of(nginx: &Nginx) -> Self {
        let active = wait_for(|| {
            let status = nginx.get("/status").text();
            let is_alone =
                status.starts_with("Active connections: 1 ") && status.contains("Waiting: 0");
            is_alone.then(|| status.lines().next().unwrap_or_default().to_owned())
        });
        let active = active.expect("no connection stays open");
        let workers = nginx.workers();
        let mut worker_files: Vec<usize> =
            workers.iter().map(|&pid| open_files(pid).len()).collect();
        // A client's socket that is about to be closed, a catalog that is being read: what stays
        // open is the least of many looks.
        for _ in 0..100 {
            thread::sleep(Duration::from_millis(3));
            for (least, &pid) in worker_files.iter_mut().zip(&workers) {
                *least = open_files(pid).len().min(*least);
            }
        }
        worker_files.sort_unstable();
        Self {
            master: own_memory(nginx.pid()),
            workers: workers.iter().map(|&pid| own_memory(pid)).sum(),
            master_files: open_files(nginx.pid()).len(),
            worker_files,
            shared: shared_memory(nginx.pid()),
            active,
        }
    }
}

/// In kB.
fn own_memory(pid: u32) -> u64 {
    memory(pid, "RssAnon") / 1024
}

fn shared_memory(pid: u32) -> u64 {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("a process");
    maps.lines()
        .filter(|line| line.split_whitespace().nth(1).is_some_and(|mode| mode.ends_with('s')))
        .filter_map(|line| line.split_whitespace().next()?.split_once('-'))
        .filter_map(|(from, to)| {
            let number = |text| u64::from_str_radix(text, 16).ok();
            Some((number(to)? - number(from)?) / 1024)
        })
        .sum()
}

/// Memory may differ by so much: the allocators of the C library keep what they think fit.
const TOLERANCE: u64 = 4096;

#[test]
fn nginx_holds_at_the_end_what_it_held_at_the_start() {
    if !build().require("threads") || !build().require("http_stub_status_module") {
        return;
    }
    let total: usize = setting("XSPACE_TEST_SOAK_REQUESTS", REQUESTS);
    let nginx = site().start();
    let mut written = 0;
    let mut replace_catalog = || {
        written += 1;
        nginx.site().replace("catalog.json", catalog(written));
    };
    // A generation of workers with as much behind it as the one that is compared with it.
    let mut generation = |seed: u64| {
        nginx.reload();
        for part in 0..5 {
            replace_catalog();
            ask(&nginx, total / 60, seed * 10 + part);
        }
        Holdings::of(&nginx)
    };

    // The first ones make nginx and the C library take what they will keep.
    generation(1);
    generation(2);
    let start = generation(3);
    let mut reloads = 3;
    for round in 10..16 {
        generation(round);
        reloads += 1;
    }
    let middle = generation(20);
    // And one generation for long.
    for part in 0..20 {
        ask(&nginx, total / 240, 1000 + part);
    }
    let old = Holdings::of(&nginx);
    let end = generation(30);
    reloads += 2;
    // Eleven generations of as many requests each, and as many more in one of them.
    println!("{total} requests, {reloads} reloads, {written} catalogs");
    println!("at the start: {start}");
    println!("in the middle: {middle}");
    println!("workers that stayed: {old}");
    println!("at the end: {end}");
    for (what, now) in [("middle", &middle), ("workers that stayed", &old), ("end", &end)] {
        assert!(now.master <= start.master + TOLERANCE, "{what}: {start}\n{now}");
        assert!(now.workers <= start.workers + 2 * TOLERANCE, "{what}: {start}\n{now}");
        assert_eq!(now.master_files, start.master_files, "{what}: {start}\n{now}");
        assert_eq!(now.worker_files, start.worker_files, "{what}: {start}\n{now}");
        assert_eq!(now.shared, start.shared, "{what}: {start}\n{now}");
    }
}
