//! Several edges of an object store, `object-store.conf`, behind an nginx that chooses one of them for each
//! recording, `edges.conf`.
//!
//! A short form here, with the store of the tests; `make edge-test` for a cluster of three Garage nodes, and
//! more clients and recordings.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use xspace_tests::{
    Application, Connection, Nginx, Protocol, Request, Site, Store, allow_many_files, block_on,
    build, bytes, free_port, poll, same_bytes, setting,
};

use crate::common::only_for_workers;
use crate::conf_files::{self, conf_file};
use crate::garage::{Garage, NODES};
use crate::s3::{REGION, key};
use crate::seekers::{CLIENTS, Recording, Seekers};

/// The bucket of `object-store.conf`.
const BUCKET: &str = "example-recordings";

/// As in `object-store.conf`.
const SLICE: usize = 1 << 20;

/// How many ids are requested to learn how many of them an edge has, and how many on one connection.
const IDS: usize = 500;
const IDS_OF_CONNECTION: usize = 20;

/// How many edges.
const EDGES: usize = 3;

/// How much is tried.
struct Plan {
    recordings: usize,
    /// Clients of a recording that is new, at the same time.
    herd: usize,
    /// Where the edges listen. The share of each depends on its address, so it is the same in each
    /// long run.
    port: u16,
    /// Garage's program.
    garage: String,
}

impl Plan {
    /// The short one, unless the environment names Garage's program.
    fn new() -> Self {
        let garage: String = setting("XSPACE_TEST_GARAGE", String::new());
        if garage.is_empty() {
            Self { recordings: 8, herd: 100, port: free_port(), garage }
        } else {
            Self { recordings: 40, herd: 1000, port: 9019, garage }
        }
    }

    fn address(&self, edge: usize) -> String {
        format!("127.0.19.{}:{}", edge + 1, self.port)
    }
}

/// A store with the bucket.
enum Objects {
    /// The store of the tests, which takes a moment to answer.
    Own(Arc<Store>, Application),
    Garage(Box<Garage>),
}

impl Objects {
    fn start(garage: &str) -> Self {
        if !garage.is_empty() {
            let garage = Garage::start(Path::new(garage), BUCKET, REGION);
            return Self::Garage(Box::new(garage));
        }
        let store = Arc::new(Store::new(BUCKET, REGION, &key()));
        let for_app = Arc::clone(&store);
        let app = Application::start(move |asked| {
            for_app.answer(asked).delay(Duration::from_millis(100))
        });
        Self::Own(store, app)
    }

    fn put(&self, name: &str, content: &[u8]) {
        match self {
            Self::Own(store, _) => store.put(name, content),
            Self::Garage(garage) => garage.put(name, content),
        }
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        match self {
            Self::Own(_, app) => vec![app.address()],
            Self::Garage(garage) => garage.addresses().to_vec(),
        }
    }

    fn credentials(&self) -> String {
        match self {
            Self::Own(..) => key().file(),
            Self::Garage(garage) => garage.key().file(),
        }
    }
}

/// What edges have fetched from the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fetched {
    /// Or the beginning of one.
    slices: usize,
    /// With the header.
    bytes: usize,
}

/// Edges, the nginx in front of them, and the store behind them.
struct Edges {
    front: Nginx,
    edges: Vec<Option<Nginx>>,
    plan: Plan,
    objects: Objects,
    recordings: Vec<Vec<u8>>,
    /// Caches and logs, which an edge has again when it comes back.
    kept: Site,
}

/// Whether this nginx has what it takes; says so if not.
fn is_possible() -> bool {
    ["http_ssl", "http_slice", "http_realip", "pcre"].iter().all(|feature| build().require(feature))
}

impl Edges {
    fn start() -> Self {
        allow_many_files().expect("a process may have more files");
        let plan = Plan::new();
        let objects = Objects::start(&plan.garage);
        let recordings: Vec<_> = (0..plan.recordings)
            .map(|number| bytes(number as u64, 3 * SLICE + 1000 * number + 7))
            .collect();
        for (number, content) in recordings.iter().enumerate() {
            objects.put(&object(number), content);
        }
        let kept = Site::new();
        kept.make_dir("logs");
        let front = front(&plan, None);
        let mut all = Self { front, edges: Vec::new(), plan, objects, recordings, kept };
        all.edges = (0..EDGES).map(|number| Some(all.edge(number))).collect();
        all
    }

    /// An edge: `object-store.conf` with a store that has no TLS, on an address of its own.
    fn edge(&self, number: usize) -> Nginx {
        let kept = self.kept.dir().display();
        let servers = self.objects.addresses().into_iter();
        let servers: Vec<_> = servers.map(|address| format!("server {address};\n")).collect();
        // The herd arrives at once.
        let listen = format!(" listen 80; listen {} backlog=4096;", self.plan.address(number));
        // One line for each slice.
        let log = format!("access_log {kept}/logs/edge{number} edge;");
        let text = with_connections(&conf_file("object-store.conf"))
            .replace("server s3.eu-west-1.amazonaws.com:443;", &servers.concat())
            .replace("proxy_pass https://store", "proxy_pass http://store")
            .replace("/srv/xspace/cache", &format!("{kept}/cache{number}"))
            .replace("# set_real_ip_from 192.0.2.10;", "set_real_ip_from 127.0.0.1;")
            .replace("# real_ip_header", "real_ip_header")
            .replace(" listen 80;", &listen)
            .replace("access_log /srv/xspace/log/access.log;", &log)
            .replacen(
                &log,
                &format!(
                    "log_subrequest on;
                     log_format edge '$remote_addr|$upstream_cache_status|$upstream_bytes_received';
                     {log}"
                ),
                1,
            );
        let entries: Vec<String> = (0..self.recordings.len())
            .map(|number| format!("\"r{number}\": {{\"files\": [\"{}\"]}}", object(number)))
            .collect();
        let site = conf_files::site("object-store.conf", &text)
            .file("srv/catalog.json", format!("{{{}}}", entries.join(",")))
            .file("srv/s3.credentials", self.objects.credentials());
        only_for_workers(&site, "srv/s3.credentials");
        site.start()
    }

    /// What all edges have fetched so far, those that are lost too.
    fn fetched(&self) -> Fetched {
        let mut fetched = Fetched::default();
        for number in 0..self.edges.len() {
            let log = self.kept.dir().join(format!("logs/edge{number}"));
            for line in fs::read_to_string(log).unwrap_or_default().lines() {
                // A slice that one node did not send was requested from the next one.
                let bytes = line.rsplit('|').next().unwrap_or_default();
                let bytes = bytes.split([',', ':', ' ']).filter_map(|n| n.parse::<usize>().ok());
                let bytes: usize = bytes.sum();
                fetched.slices += usize::from(bytes > 0);
                fetched.bytes += bytes;
            }
        }
        fetched
    }

    /// How many slices are in the caches of all edges, those that are lost too.
    fn cached(&self) -> usize {
        (0..EDGES).map(|n| files(&self.kept.dir().join(format!("cache{n}")))).sum()
    }

    #[track_caller]
    fn wait_cached(&self, slices: usize) {
        let is_so = poll(|| self.cached() + self.strays(slices) >= slices);
        assert!(is_so, "{} slices are in caches, not {slices}", self.cached());
    }

    /// How many of so many slices may be in another cache or requested again. When a Garage node is lost, an
    /// edge has to break responses off. Of one that has not begun, the front requests the range from the
    /// next edge.
    fn strays(&self, slices: usize) -> usize {
        match self.objects {
            Objects::Own(..) => 0,
            Objects::Garage(_) => slices / 20,
        }
    }

    /// Fails unless so many slices are in caches, and each was fetched once.
    #[track_caller]
    fn assert_fetched(&self, slices: usize) -> Fetched {
        let (fetched, cached, strays) = (self.fetched(), self.cached(), self.strays(slices));
        assert!(cached.abs_diff(slices) <= strays, "{cached} slices are in caches, not {slices}");
        match self.objects {
            Objects::Own(..) => assert_eq!(fetched.slices, slices),
            // Requests that broke off have few bytes.
            Objects::Garage(_) => {
                assert!(fetched.bytes <= (slices + strays) * SLICE, "{fetched:?}")
            }
        }
        fetched
    }

    /// The edges that ids belong to now: no object is requested for these.
    fn chosen(front: &Nginx) -> Vec<String> {
        let address = front.address(Protocol::Http1);
        block_on(async {
            let of_connection = move |first: usize| async move {
                let mut connection = Connection::open(Protocol::Http1, address).await;
                let mut chosen = Vec::new();
                for number in first..first + IDS_OF_CONNECTION {
                    let request = Request::get(&format!("/download/key{number}"));
                    let response = connection.try_send(&request).await.expect("a response");
                    assert_eq!(response.status, 404, "{response:?}");
                    // Those that did not answer come first.
                    let tried = response.header("x-edge").expect("an edge");
                    chosen.push(tried.rsplit(", ").next().expect("an edge").to_owned());
                }
                chosen
            };
            let firsts = (0..IDS).step_by(IDS_OF_CONNECTION);
            let tasks: Vec<_> = firsts.map(|first| tokio::spawn(of_connection(first))).collect();
            let mut all = Vec::new();
            for task in tasks {
                all.extend(task.await.expect("each id has an edge"));
            }
            all
        })
    }

    /// The edges that the recordings belong to now.
    fn edges_of_recordings(&self) -> Vec<String> {
        let mut connection = self.front.connect(Protocol::Http1);
        (0..self.recordings.len())
            .map(|number| {
                let response = connection.send(&Request::get(&path(number)).range("bytes=0-0"));
                assert_eq!(response.status, 206, "{response:?}");
                response.header("x-edge").expect("an edge").to_owned()
            })
            .collect()
    }

    /// What the clients seek in.
    fn seekers(&self) -> Seekers {
        let recordings = self.recordings.iter().enumerate().map(|(number, content)| Recording {
            path: path(number),
            contents: vec![content.clone()],
        });
        Seekers::start_http1(&self.front, recordings.collect())
    }
}

/// How many files a cache has. Those that are being written have other names.
fn files(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path()),
            _ => usize::from(entry.file_name().len() == 32),
        })
        .sum()
}

/// `edges.conf`, with the test's edges, and without the one that is removed.
fn front(plan: &Plan, removed: Option<usize>) -> Nginx {
    let text = conf_file("edges.conf");
    let (before, rest) = text.split_once("server 192.0.2.11").expect("an edge");
    let (_, after) = rest.split_once("keepalive ").expect("they are kept");
    let servers: Vec<_> = (0..EDGES)
        .filter(|&edge| removed != Some(edge))
        // So that a test does not wait long for an edge that is back.
        .map(|edge| format!("server {} max_fails=2 fail_timeout=1s;\n", plan.address(edge)))
        .collect();
    let text = with_connections(&format!("{before}{}keepalive {after}", servers.concat())).replace(
        "proxy_pass http://edges;",
        "proxy_pass http://edges; add_header X-Edge $upstream_addr always;",
    );
    conf_files::site("edges.conf", &text).start()
}

/// Room for all clients of the long form.
fn with_connections(text: &str) -> String {
    text.replacen("events {", "events { worker_connections 4096;", 1)
}

fn object(number: usize) -> String {
    format!("2025/{number}.mp3")
}

fn path(number: usize) -> String {
    format!("/download/r{number}")
}

/// Each slice is fetched once; when an edge is lost, its slices and no others are fetched again, and none when
/// it is back. A client whose response was broken gets it when it asks again.
#[test]
fn an_edge_is_lost_and_comes_back() {
    if !is_possible() {
        return;
    }
    let mut all = Edges::start();
    let slices: Vec<usize> = all.recordings.iter().map(|r| r.len().div_ceil(SLICE)).collect();
    let (total, size) =
        (slices.iter().sum::<usize>(), all.recordings.iter().map(Vec::len).sum::<usize>());
    let home = Edges::chosen(&all.front);
    let seekers = thread::scope(|scope| {
        if let Objects::Garage(garage) = &all.objects {
            // A node of the store is lost while slices are fetched.
            let all = &all;
            scope.spawn(move || {
                all.wait_cached(total / 4);
                garage.kill(NODES - 1);
                println!("a node of the store was lost with {} slices in caches", all.cached());
            });
        }
        all.seekers()
    });
    all.wait_cached(total);
    seekers.serve_all();
    let cold = all.assert_fetched(total);
    println!("{CLIENTS} clients, {size} bytes in {total} slices, fetched: {cold:?}");
    assert!(cold.bytes as f64 <= size as f64 * 1.05, "{cold:?} of {size} bytes");

    let owner = all.edges_of_recordings();
    // An edge that has some of them.
    let number = (0..EDGES).find(|&edge| all.plan.address(edge) == owner[0]).expect("an edge");
    let lost = all.plan.address(number);
    let of_lost: usize =
        owner.iter().zip(&slices).filter(|(edge, _)| **edge == lost).map(|(_, n)| n).sum();
    assert!(of_lost > 0 && of_lost < total, "{owner:?}");
    all.edges[number].take().expect("it is there").crash();
    let began = Instant::now();
    seekers.serve_all();
    println!("an edge was lost: each client was served again after {:?}", began.elapsed());
    let moved = Edges::chosen(&all.front);
    for (was, is) in home.iter().zip(&moved) {
        assert!(was == is || *was == lost, "{was} is there, and {is} was chosen");
        assert_ne!(*is, lost);
    }
    // The same if it is removed from the configuration.
    assert!(Edges::chosen(&front(&all.plan, Some(number))) == moved, "other edges are chosen");
    let share = home.iter().filter(|edge| **edge == lost).count() as f64 / IDS as f64;
    all.wait_cached(total + of_lost);
    seekers.serve_all();
    // Those of the lost edge, and no others.
    let again = all.assert_fetched(total + of_lost);
    println!(
        "{:.1} % of ids went to another edge, {of_lost} of {total} slices were fetched again, in {} requests",
        share * 100.0,
        again.slices - cold.slices
    );
    // With addresses that differ from one run to the next, an edge may have more than usual.
    let limit = if all.plan.garage.is_empty() { 0.5 } else { 0.38 };
    assert!(share <= limit, "{share}");

    let back = all.edge(number);
    all.edges[number] = Some(back);
    assert!(poll(|| Edges::chosen(&all.front) == home), "the edge has its recordings again");
    seekers.serve_all();
    // It has its slices.
    let back = all.assert_fetched(total + of_lost);
    assert!(back.bytes - again.bytes <= all.strays(total) * SLICE, "{back:?} after {again:?}");
    let counts = seekers.finish();
    println!("the edge is back: no slice was fetched; {counts}");
    assert!(counts.statuses.is_empty(), "{counts}");
    assert_eq!(counts.broken_again, 0, "{counts}: {}", counts.example);
}

/// Clients of a new recording share its slices.
#[test]
fn a_herd() {
    if !is_possible() {
        return;
    }
    let all = Edges::start();
    let content = bytes(99, 20 * SLICE + 4321);
    // In place of an object that was never fetched.
    all.objects.put(&object(0), &content);
    let clients = all.plan.herd;
    let part = |number: usize| {
        let len = content.len().div_ceil(clients);
        (len * number, (len * (number + 1)).min(content.len()))
    };
    let address = all.front.address(Protocol::Http1);
    let began = Instant::now();
    let responses = block_on(async {
        let tasks: Vec<_> = (0..clients)
            .map(|number| {
                let (first, end) = part(number);
                let range = format!("bytes={first}-{}", end - 1);
                tokio::spawn(async move {
                    let mut connection = Connection::try_open(Protocol::Http1, address).await?;
                    connection.try_send(&Request::get(&path(0)).range(&range)).await
                })
            })
            .collect();
        let mut responses = Vec::new();
        for task in tasks {
            responses.push(task.await.expect("no client panics"));
        }
        responses
    });
    let time = began.elapsed();
    for (number, response) in responses.into_iter().enumerate() {
        let response = response.unwrap_or_else(|e| panic!("client {number}: {e:?}"));
        assert_eq!(response.status, 206, "{response:?}");
        let (first, end) = part(number);
        same_bytes(&response.body, &content[first..end], "in a herd");
    }
    let slices = content.len().div_ceil(SLICE);
    all.wait_cached(slices);
    assert!(poll(|| all.fetched().slices >= slices));
    let fetched = all.fetched();
    let ratio = fetched.bytes as f64 / content.len() as f64;
    println!("{clients} clients at once: the store sent {ratio:.4} times the recording, {time:?}");
    assert_eq!(fetched.slices, slices);
    assert!(ratio <= 1.05, "{ratio}");
}

/// The store verifies signatures.
#[test]
fn unsigned_requests_are_refused() {
    let garage: String = setting("XSPACE_TEST_GARAGE", String::new());
    if garage.is_empty() {
        println!("passed over: unsigned_requests_are_refused needs Garage");
        return;
    }
    let garage = Garage::start(Path::new(&garage), BUCKET, REGION);
    garage.put(&object(0), b"a recording");
    assert_eq!(garage.get_unsigned(&object(0)), 403);
}

/// An edge knows the address of the listener, whatever the listener's own fields are, and a space is at
/// one edge in all formats.
#[test]
fn edges_know_the_listener() {
    if !is_possible() {
        return;
    }
    let all = Edges::start();
    const LISTENER: &str = "127.0.0.5";
    for number in 0..all.recordings.len() {
        let [first, second] = [path(number), format!("{}.mp3", path(number))].map(|path| {
            let field = "X-Forwarded-For: 203.0.113.1";
            let options = ["--interface", LISTENER, "--header", field, "--range", "0-99"];
            let url = all.front.url(&path);
            let output = ["--dump-header", "-", "--output", "/dev/null", &url];
            let header = all.front.curl(&[&options[..], &output[..]].concat());
            let header = String::from_utf8_lossy(&header).into_owned();
            assert!(header.starts_with("HTTP/1.1 206"), "{path}: {header}");
            let edge = header.split("X-Edge: ").nth(1).and_then(|rest| rest.lines().next());
            edge.expect("an edge").to_owned()
        });
        assert_eq!(first, second, "both are of one space");
    }
    let lines = || -> Vec<String> {
        let logs = (0..EDGES).map(|n| all.kept.dir().join(format!("logs/edge{n}")));
        let text: String = logs.map(|log| fs::read_to_string(log).unwrap_or_default()).collect();
        text.lines().map(str::to_owned).collect()
    };
    assert!(poll(|| lines().len() == 2 * all.recordings.len()), "{:?}", lines());
    for line in lines() {
        assert!(line.starts_with(&format!("{LISTENER}|")), "{line}");
    }
}
