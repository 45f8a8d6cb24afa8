//! An edge of an object store: what a recording in its cache costs beside a local file, and what a signature
//! costs; what the store sends for a listener who seeks in a new recording, and for many at once.

use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use model::s3::{Bucket, Credentials, EMPTY_PAYLOAD, SignedRequest, Signer, Style, Timestamp};
use serde_json::{Value, json};
use xspace_tests::{
    Address, Application, Nginx, Protocol, RawConnection, Site, Store, allow_many_files, bytes,
    median, wait_readable,
};

use crate::callgrind;
use crate::load::{Client, Running, SERVER, rounds};
use crate::report::{Table, grouped, megabytes, milliseconds};
use crate::site;
use crate::strace;
use crate::throughput::report;
use crate::variants::{self, Agent, Files, ID, Modules, Variant, request, store_key};
use crate::workbench::{Measurement, Result, Workbench};

/// The part's name.
const PART: &str = "edge";

const MEASUREMENTS: [(&str, Measurement); 5] = [
    ("requests", requests),
    ("throughput", throughput),
    ("signing", signing),
    ("seek", seek),
    ("herd", herd),
];

/// The length of the ranges of cached slices.
const LEN: usize = 4096;

const BUCKET: &str = "recordings";
const REGION: &str = "eu-west-1";

/// An hour at 128 kbit/s, in bytes.
const HOUR: usize = 57_600_000;

/// How long the store takes to answer.
const DELAY: Duration = Duration::from_millis(30);

/// How much it sends in a second for a request: 100 Mbit.
const STORE_RATE: &str = "12500k";

/// How long a listener listens who seeks.
const LISTENS: usize = 20;

/// What goes to each listener at once, and then in each second, as in `nginx-conf/object-store.conf`.
const AT_ONCE: usize = 512 * 1024;
const EACH_SECOND: usize = 32 * 1024;

/// Measures all, or what is wanted of it.
pub fn measure(bench: &Workbench) -> Result<()> {
    allow_many_files()?;
    bench.measure(PART, &MEASUREMENTS)
}

/// `nginx-conf/object-store.conf` without the store's TLS. What differs is given.
macro_rules! edge {
    ($($target:tt)*) => {
        concat!(
            "
location ^~ /recordings/ {
    internal;
    xspace_s3 bucket=recordings region=eu-west-1 credentials={credentials};
    proxy_pass http://{app}$xspace_s3_uri;
    proxy_pass_request_headers off;
    proxy_pass_request_body off;
    proxy_set_header Content-Length \"\";
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    proxy_set_header Host $xspace_s3_host;
    proxy_set_header X-Amz-Date $xspace_s3_date;
    proxy_set_header X-Amz-Content-Sha256 $xspace_s3_content_sha256;
    proxy_set_header X-Amz-Security-Token $xspace_s3_token;
    proxy_set_header Authorization $xspace_s3_authorization;
",
            $($target)*,
            "
}
location ^~ /store/ {
    xspace_download /recordings/; xspace_directory off; xspace_catalog {catalog} refresh=off;
}"
        )
    };
}

/// The same for a bucket that anybody may read.
macro_rules! public {
    ($($target:tt)*) => {
        concat!(
            "
location ^~ /recordings/ {
    internal;
    proxy_pass http://{app};
    proxy_pass_request_headers off;
    proxy_pass_request_body off;
    proxy_set_header Content-Length \"\";
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    proxy_set_header Host s3.eu-west-1.amazonaws.com;
",
            $($target)*,
            "
}
location ^~ /store/ {
    xspace_download /recordings/; xspace_directory off; xspace_catalog {catalog} refresh=off;
}"
        )
    };
}

/// The cache of `nginx-conf/object-store.conf`, perhaps with slices of another size, or without a lock.
macro_rules! sliced {
    () => {
        sliced!("1m")
    };
    ($size:literal) => {
        concat!(
            sliced!($size, without lock),
            "proxy_cache_lock on; proxy_cache_lock_timeout 60s; proxy_cache_lock_age 60s;"
        )
    };
    ($size:literal, without lock) => {
        concat!(
            "slice ",
            $size,
            ";
             proxy_set_header Range $slice_range;
             proxy_cache slices;
             proxy_cache_key $uri$slice_range;
             proxy_cache_valid 200 206 30d;"
        )
    };
}

/// The client's range, and no cache.
macro_rules! direct {
    () => {
        "proxy_set_header Range $http_range; proxy_set_header If-Range $http_if_range;"
    };
}

macro_rules! paced {
    () => {
        "limit_rate_after 512k; limit_rate 32k;"
    };
}

/// Files of this machine.
macro_rules! local {
    () => {
        "
location ^~ /downloads/ { internal; alias {dir}/; }
location ^~ /local/ { xspace_download /downloads/; xspace_catalog {catalog} refresh=off; }
location ^~ /static/ { alias {dir}/; }"
    };
}

const fn variant(name: &'static str, locations: &'static str, uri: &'static str) -> Variant {
    Variant { name, locations, uri, ..variants::DIRECTORY_FIRST }
}

const STATIC: &str = variants::STATIC_FILES.uri;
const LOCAL: &str = "/local/1lDxLnrWjwkGm";
const STORE: &str = "/store/1lDxLnrWjwkGm";

const STATIC_FILE: Variant = variant("static file", local!(), STATIC);
const LOCAL_FILE: Variant = variant("catalog, local file", local!(), LOCAL);
const SIGNED: Variant =
    variant("catalog, cached slice, xspace_s3", concat!(edge!(sliced!()), local!()), STORE);
const UNSIGNED: Variant =
    variant("catalog, cached slice, public bucket", concat!(public!(sliced!()), local!()), STORE);

/// A bucket that anybody may read, without the module.
const NO_MODULE: Variant = Variant {
    modules: Modules::None,
    ..variant(
        "no module, cached slice, public bucket",
        concat!(
            "
location ^~ /slice/ {
    proxy_pass http://{app}/recordings/;
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    proxy_hide_header x-amz-id-2;
    proxy_hide_header x-amz-request-id;
    proxy_hide_header x-amz-meta-uploaded-by;
",
            sliced!(),
            "}"
        ),
        "/slice/1lDxLnrWjwkGm.mp3",
    )
};

/// What is requested of the cache, and beside it. The first one is what all are compared with.
const REQUESTS: [Variant; 9] = [
    STATIC_FILE,
    LOCAL_FILE,
    NO_MODULE,
    UNSIGNED,
    SIGNED,
    Variant { name: "static file, beside a public bucket", uri: STATIC, ..UNSIGNED },
    Variant { name: "static file, beside xspace_s3", uri: STATIC, ..SIGNED },
    Variant { name: "catalog, local file, beside a public bucket", uri: LOCAL, ..UNSIGNED },
    Variant { name: "catalog, local file, beside xspace_s3", uri: LOCAL, ..SIGNED },
];

/// A request that goes to the store, with and without a signature.
const SIGNING: [Variant; 2] = [
    variant("proxy_pass, public bucket", public!(direct!()), STORE),
    variant("the same, signed", edge!(direct!()), STORE),
];

/// Ways to the middle of a new recording.
const SEEK: [Variant; 5] = [
    variant("slices of 1 MB in a cache", edge!(concat!(sliced!(), paced!())), STORE),
    variant("slices of 128 kB in a cache", edge!(concat!(sliced!("128k"), paced!())), STORE),
    variant(
        "cache without slices",
        edge!(concat!(
            "proxy_cache slices; proxy_cache_key $uri; proxy_cache_valid 200 30d; proxy_cache_lock on;",
            paced!()
        )),
        STORE,
    ),
    variant("no cache, range of the client", edge!(concat!(direct!(), paced!())), STORE),
    variant(
        "the same, proxy_max_temp_file_size 0",
        edge!(concat!(direct!(), paced!(), "proxy_max_temp_file_size 0;")),
        STORE,
    ),
];

const HERD: [Variant; 2] = [
    variant("proxy_cache_lock on", edge!(sliced!()), STORE),
    variant("proxy_cache_lock off", edge!(sliced!("1m", without lock)), STORE),
];

/// A store with an object. Anybody may read the bucket.
fn store(content: &[u8], delay: Duration) -> Application {
    let store = Store::new(BUCKET, REGION, &store_key()).public();
    store.put(format!("{ID}.mp3"), content);
    Application::start(move |asked| store.answer(asked).delay(delay))
}

/// The site of a variant, with a store at an address.
fn site_of(
    bench: &Workbench,
    files: &Files,
    variant: &Variant,
    address: &Address,
    padding: usize,
) -> Result<Site> {
    let site = files.site(bench, variant, Some(address), padding)?.http1_only();
    Ok(site.http("proxy_cache_path {dir}/slices keys_zone=slices:10m use_temp_path=off;"))
}

/// Instructions and system calls of a request of each variant, beside those of the first one.
fn costs(bench: &Workbench, variants: &[Variant], title: &str) -> Result<Value> {
    let files = Files::make()?;
    let app = store(files.recording(), Duration::ZERO);
    let address = Address::Tcp(app.address());
    let mut table = Table::new(&["", "instructions", "more", "calls", "more"]);
    let (mut rows, mut first) = (Vec::new(), None);
    for variant in variants {
        let bytes = request(variant.uri, "", LEN, Agent::Curl);
        let site = || site_of(bench, &files, variant, &address, 0);
        let ask = |connection: &mut RawConnection, _| files.ask(connection, &bytes, LEN);
        let instructions = callgrind::instructions(site()?, ask)?;
        let (calls, names) = strace::calls(site()?, ask)?;
        let base = *first.get_or_insert((instructions, calls));
        table.row([
            variant.name.into(),
            grouped(instructions.round() as u64),
            format!("{:+.0}", instructions - base.0),
            format!("{calls:.2}"),
            format!("{:+.2}", calls - base.1),
        ]);
        rows.push(json!({
            "with": variant.name, "instructions": instructions, "calls": calls,
            "calls_by_name": names,
        }));
    }
    table.print(title);
    Ok(rows.into())
}

fn requests(bench: &Workbench) -> Result<Value> {
    costs(bench, &REQUESTS, "User-mode instructions and system calls of a request (4 KiB range)")
}

/// Requests per second, in turns.
fn throughput(bench: &Workbench) -> Result<Value> {
    let files = Files::make()?;
    let app = store(files.recording(), Duration::ZERO);
    let address = Address::Tcp(app.address());
    let mut running = Vec::new();
    for variant in &REQUESTS[..5] {
        running.push(Running::start_site(variant, None, String::new(), |padding| {
            site_of(bench, &files, variant, &address, padding)
        })?);
    }
    for running in &running {
        running.check(&files, LEN)?;
    }
    // Not ranges of 64 KiB: over the loopback device, whose segments are as large as that, the end of a
    // file whose beginning is no page's waits 40 ms for an acknowledgement. With segments of 1448 bytes
    // it does not.
    let count = if bench.quick { 3 } else { 7 };
    let measured = rounds(&running, count, 0, |running| running.turn(Client::Http1, LEN))?;
    let results = report("Ranges of 4 KiB", &running, &measured);
    for running in running {
        running.stop();
    }
    Ok(results)
}

/// What a signature costs: in a request that goes to the store, and alone.
fn signing(bench: &Workbench) -> Result<Value> {
    let title = "A request to the store (4 KiB range), instructions without those for SHA";
    let requests = costs(bench, &SIGNING, title)?;
    let (first, again) = times_of_signatures()?;
    let has_sha = fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains(" sha_ni"));
    let mut table = Table::new(&["", "ns"]);
    table.row(["the first one of a day".into(), format!("{first:.0}")]);
    table.row(["any other".into(), format!("{again:.0}")]);
    let with = if has_sha { "with" } else { "without" };
    table.print(&format!("Time of a signature, {with} SHA instructions"));
    Ok(json!({
        "requests": requests, "sha_instructions": has_sha, "first_ns": first, "again_ns": again,
    }))
}

/// Medians in nanoseconds: of the first signature of a day, and of others.
fn times_of_signatures() -> Result<(f64, f64)> {
    const TIMES: usize = 200;
    const EACH: u64 = 500;
    const DAY: u64 = 24 * 60 * 60;
    let credentials = Credentials::parse(store_key().file().as_bytes(), "default");
    let credentials = Rc::new(credentials.map_err(|e| e.to_string())?);
    let bucket = Bucket::new(BUCKET, "s3.eu-west-1.amazonaws.com", Style::Path);
    let bucket = bucket.map_err(|e| e.to_string())?;
    let signer = Signer::new(REGION, "s3");
    let object = format!("{ID}.mp3");
    let sign = |seconds: u64| {
        let time = Timestamp::new(seconds);
        let fields = [
            ("host", bucket.host().as_bytes()),
            ("x-amz-content-sha256", EMPTY_PAYLOAD.as_bytes()),
            ("x-amz-date", time.as_bytes()),
        ];
        let request = SignedRequest {
            method: b"GET",
            path: bucket.path(object.as_bytes()),
            query: "",
            fields: &fields,
            payload_hash: EMPTY_PAYLOAD,
        };
        black_box(signer.sign(&credentials, time, black_box(&request)));
    };
    let time = |step: u64| {
        let start = Instant::now();
        (0..EACH).for_each(|number| sign(black_box(number * step)));
        start.elapsed().as_nanos() as f64 / EACH as f64
    };
    Ok((median((0..TIMES).map(|_| time(DAY))), median((0..TIMES).map(|_| time(1)))))
}

/// A new store with a recording of an hour, and an edge without any of it.
struct Cold {
    content: Vec<u8>,
    /// As fast as a store's network, with a log of what it has sent.
    network: Nginx,
    log: PathBuf,
    edge: Nginx,
    _store: Application,
}

impl Cold {
    fn start(bench: &Workbench, variant: &Variant, files: &Files) -> Result<Self> {
        let content = bytes(1, HOUR);
        let store = store(&content, DELAY);
        let log = bench.dir.join("edge-store.log");
        // That of an earlier run may be there.
        let _ = fs::remove_file(&log);
        let network = site::site()
            .http1_only()
            .without_module()
            .connections(8192)
            .http("log_format sent $bytes_sent;")
            .server(&format!(
                "location / {{
                     proxy_pass http://{};
                     proxy_http_version 1.1;
                     proxy_set_header Connection \"\";
                     proxy_set_header Host $http_host;
                     proxy_max_temp_file_size 0;
                     limit_rate {STORE_RATE};
                     access_log {} sent;
                 }}",
                store.address(),
                log.display()
            ))
            .start();
        let address = Address::Tcp(network.address(Protocol::Http1));
        let site = site_of(bench, files, variant, &address, 0)?.connections(8192);
        let edge = site.under(&["taskset", "--cpu-list", SERVER]).start();
        Ok(Self { content, network, log, edge, _store: store })
    }

    fn request(variant: &Variant, first: usize, last: &str) -> String {
        let Variant { uri, .. } = variant;
        format!("GET {uri} HTTP/1.1\r\nHost: localhost\r\nRange: bytes={first}-{last}\r\n\r\n")
    }

    /// Requests to the store, and the bytes that it has sent when the edge has ended.
    fn sent(self) -> Result<(usize, u64)> {
        self.edge.finish();
        self.network.finish();
        let log = fs::read_to_string(self.log)?;
        let sent: Vec<u64> = log.lines().map(str::parse).collect::<std::result::Result<_, _>>()?;
        Ok((sent.len(), sent.iter().sum()))
    }
}

/// The first listener of a recording seeks into the middle, listens and goes.
fn seek(bench: &Workbench) -> Result<Value> {
    let files = Files::make()?;
    let mut table = Table::new(&["", "first byte", "requests", "store sent"]);
    let mut rows = Vec::new();
    for variant in &SEEK {
        let cold = Cold::start(bench, variant, &files)?;
        let mut listener = cold.edge.raw();
        let began = Instant::now();
        listener.write(Cold::request(variant, HOUR / 2, ""));
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(listener.read_exactly(1));
        }
        if !head.starts_with(b"HTTP/1.1 206") {
            return Err(format!("{}: {}", variant.name, String::from_utf8_lossy(&head)).into());
        }
        let mut content = listener.read_exactly(1);
        let first = began.elapsed().as_nanos() as u64;
        content.extend(listener.read_exactly(AT_ONCE + LISTENS * EACH_SECOND));
        if content != cold.content[HOUR / 2..HOUR / 2 + content.len()] {
            return Err(format!("{}: other bytes than those of the object", variant.name).into());
        }
        listener.reset();
        let (requests, sent) = cold.sent()?;
        table.row([
            variant.name.into(),
            milliseconds(first),
            requests.to_string(),
            megabytes(sent),
        ]);
        rows.push(json!({
            "with": variant.name, "first_byte_ns": first, "requests": requests, "sent": sent,
        }));
    }
    table.print(&format!(
        "The first listener of an hour ({}) seeks into the middle and listens for {LISTENS} s",
        megabytes(HOUR as u64)
    ));
    Ok(rows.into())
}

/// Many listeners of a new recording at once, each somewhere else in it.
fn herd(bench: &Workbench) -> Result<Value> {
    const EACH: usize = 100_000;
    let count = if bench.quick { 100 } else { 1000 };
    let files = Files::make()?;
    let mut table =
        Table::new(&["", "requests", "store sent", "to the recording", "last listener"]);
    let mut rows = Vec::new();
    for variant in &HERD {
        let cold = Cold::start(bench, variant, &files)?;
        let first = |number: usize| (HOUR - EACH) / (count - 1) * number;
        let began = Instant::now();
        let mut listeners: Vec<_> = (0..count)
            .map(|number| {
                let address = cold.edge.address(Protocol::Http1);
                let mut connection = RawConnection::open_nonblocking(address);
                let first = first(number);
                let last = (first + EACH - 1).to_string();
                connection.send(Cold::request(variant, first, &last));
                (number, connection)
            })
            .collect();
        while !listeners.is_empty() {
            let connections = listeners.iter().map(|(_, connection)| connection);
            let ready = wait_readable(connections, Duration::from_secs(60));
            if ready.is_empty() {
                return Err(format!("{}: no response", variant.name).into());
            }
            // The last one takes the place of one that has ended.
            for place in ready.into_iter().rev() {
                let (number, connection) = &mut listeners[place];
                let Some(response) = connection.receive() else { continue };
                let first = first(*number);
                if response.status != 206 || response.body != cold.content[first..first + EACH] {
                    return Err(format!("{}: {response:?}", variant.name).into());
                }
                listeners.swap_remove(place);
            }
        }
        let time = began.elapsed().as_nanos() as u64;
        let (requests, sent) = cold.sent()?;
        let ratio = sent as f64 / HOUR as f64;
        table.row([
            variant.name.into(),
            requests.to_string(),
            megabytes(sent),
            format!("{ratio:.3}"),
            milliseconds(time),
        ]);
        rows.push(json!({
            "with": variant.name, "requests": requests, "sent": sent, "to_recording": ratio,
            "last_ns": time,
        }));
    }
    table.print(&format!("{count} listeners of a new recording at once, a range of 100 kB each"));
    Ok(json!({ "listeners": count, "rows": rows }))
}
