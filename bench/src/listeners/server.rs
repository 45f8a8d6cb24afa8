//! nginx as listeners find it, and what it takes for them.

use std::fs;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use xspace_tests::{Address, Nginx, Program, Protocol, Site, open_files};

use super::RECORDING_LEN;
use super::client::{Over, Target, word};
use crate::catalog::data;
use crate::load::{SERVER, WORKERS, application};
use crate::process::{self, Memory};
use crate::site::site;
use crate::variants;
use crate::workbench::{Result, Workbench};

/// How many recordings there are; they stay in the kernel's cache.
const RECORDINGS: u32 = 8;

/// Listeners per worker process: each takes two files, the connection and the recording, and some
/// systems allow a process no more than 20 000.
const PER_WORKER: usize = 5000;

/// What serves recordings.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    pub name: &'static str,
    /// As in `variants.rs`; `{target}` is what a measurement adds to the target.
    pub locations: &'static str,
    /// With `{id}`.
    pub path: &'static str,
    /// Whether there is an application.
    pub application: bool,
}

/// What is set beside what nginx.conf of distributions has: in `http`, in the target, and for the
/// sockets that TCP connections are accepted from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    pub http: &'static str,
    pub target: &'static str,
    pub listen: &'static str,
}

/// Recordings of which every eight bytes tell their place, and a catalog with them.
#[derive(Debug)]
pub struct Recordings {
    dir: TempDir,
    /// How many more entries the catalog has.
    entries: u32,
}

impl Recordings {
    /// Makes them; they go with the value.
    pub fn make(entries: u32) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("xs").rand_bytes(4).tempdir_in("/tmp")?;
        fs::create_dir(dir.path().join("downloads"))?;
        let recordings = Self { dir, entries };
        for number in 0..RECORDINGS {
            let mut bytes = Vec::with_capacity(RECORDING_LEN as usize);
            for position in (0..RECORDING_LEN).step_by(8) {
                bytes.extend(word(number as usize, position));
            }
            fs::write(recordings.path(&format!("downloads/{}.mp3", data::id(number))), bytes)?;
        }
        recordings.write_catalog("Rust in production")?;
        Ok(recordings)
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Puts another catalog in the place of the one that is there.
    pub fn replace_catalog(&self) -> Result<()> {
        self.write_catalog("Rust in production, part two")
    }

    fn write_catalog(&self, title: &str) -> Result<()> {
        let entry = |number: u32| {
            let id = data::id(number);
            format!(r#""{id}": {{"title": "{title}", "files": ["{id}.mp3"]}}"#)
        };
        let entries: Vec<String> = (0..RECORDINGS + self.entries).map(entry).collect();
        let new = self.path("catalog.json.new");
        fs::write(&new, format!("{{\n{}\n}}\n", entries.join(",\n")))?;
        Ok(fs::rename(new, self.path("catalog.json"))?)
    }
}

/// What nginx, and the application, took in the window.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time, in nanoseconds.
    pub ran: u64,
    /// Memory of all processes (PSS) towards the end, less that before anybody came, in bytes.
    pub memory: u64,
    /// What the kernel has for sockets then, those of the clients included, in bytes.
    pub socket_memory: u64,
    /// Files that the workers have open then.
    pub files: usize,
    /// Segments that arrived and were dropped for want of memory for sockets: with many of them,
    /// `net.ipv4.tcp_mem` is the limit, and times are those of repetitions.
    pub dropped: u64,
}

/// A running nginx.
#[derive(Debug)]
pub struct Server {
    subject: &'static str,
    nginx: Nginx,
    application: Option<Program>,
    target: Target,
    /// Memory before anybody came.
    memory: u64,
}

impl Server {
    /// Starts a subject for so many listeners.
    pub fn start(
        bench: &Workbench,
        recordings: &Recordings,
        subject: &Subject,
        over: Over,
        listeners: usize,
        settings: Settings,
    ) -> Result<Self> {
        let downloads = recordings.dir.path().join("downloads");
        let application = subject
            .application
            .then(|| application("old_application:app", &[("RECORDINGS", downloads.as_os_str())]));
        let address = application.as_ref().map(Program::address);
        let site = site_of(bench, recordings, subject, address, settings)
            .connections(connections(over))
            .workers(listeners.div_ceil(PER_WORKER))
            .under(&["taskset", "--cpu-list", SERVER]);
        let nginx = site.start();
        let paths = (0..RECORDINGS).map(|n| subject.path.replace("{id}", &data::id(n))).collect();
        let address = match over {
            Over::Http1 => nginx.other_address(),
            Over::Tls | Over::Http2 => nginx.address(Protocol::Http2),
            Over::Http3 => nginx.address(Protocol::Http3),
        };
        let target = Target { over, address, paths };
        let mut server = Self { subject: subject.name, nginx, application, target, memory: 0 };
        // Each worker is at its work when it has answered, and none has more than another.
        server.nginx.wait_worker();
        server.memory = server.memory();
        Ok(server)
    }

    pub fn name(&self) -> &'static str {
        self.subject
    }

    pub fn nginx(&self) -> &Nginx {
        &self.nginx
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    fn processes(&self) -> Vec<u32> {
        let application = self.application.iter().flat_map(|one| one.wait_workers(WORKERS));
        self.nginx.workers().into_iter().chain(application).collect()
    }

    /// What is taken from one moment to another one, in which something may be done.
    pub fn usage(
        &self,
        from: Instant,
        to: Instant,
        look: impl FnOnce() -> Result<()>,
    ) -> Result<Usage> {
        let wait = |until: Instant| {
            std::thread::sleep(until.saturating_duration_since(Instant::now()));
        };
        wait(from);
        let before = (self.ran()?, dropped_segments()?);
        look()?;
        // At the end everybody leaves at once.
        wait(to - Duration::from_secs(1));
        let memory = self.memory().saturating_sub(self.memory);
        let files = self.nginx.workers().into_iter().map(|pid| open_files(pid).len()).sum();
        let socket_memory = socket_memory()?;
        wait(to);
        // After a reload some of the processes are others.
        let ran = self.ran()?.saturating_sub(before.0);
        let dropped = dropped_segments()?.saturating_sub(before.1);
        Ok(Usage { ran, memory, socket_memory, files, dropped })
    }

    fn memory(&self) -> u64 {
        let all = [self.nginx.pid()].into_iter().chain(self.processes());
        all.map(|pid| Memory::of(pid).pss).sum()
    }

    fn ran(&self) -> Result<u64> {
        self.processes().into_iter().map(process::ran).sum()
    }

    /// Ends nginx and fails if it did not run well.
    pub fn stop(self) {
        // Whoever still listens would be waited for.
        self.nginx.terminate();
    }
}

/// Connections for each worker process: more than its listeners take, because nginx closes idle ones
/// when few are left.
fn connections(over: Over) -> u32 {
    match over {
        Over::Http1 | Over::Tls | Over::Http2 => 15_000,
        // A listener takes six: for nginx, each stream is one too, and besides that of the request
        // the client opens three, and nginx another one.
        Over::Http3 => 45_000,
    }
}

/// A site that listens for all protocols.
fn site_of(
    bench: &Workbench,
    recordings: &Recordings,
    subject: &Subject,
    application: Option<&Address>,
    settings: Settings,
) -> Site {
    const LISTEN: &str = "
        listen 127.0.0.1:{other} {listen};
        listen 127.0.0.1:{tls} ssl {listen};
        listen 127.0.0.1:{tls} quic reuseport;
        http2 on;
        ssl_certificate {dir}/cert.pem;
        ssl_certificate_key {dir}/key.pem;
        ssl_session_cache shared:tls:10m;";
    let site = site()
        .http1_only()
        // Of a client of HTTP/3 that goes away while nginx has much to send.
        .allow("failed to send stream cancellation")
        .log_level("notice")
        .main("worker_rlimit_nofile 20000;")
        .http(&variants::http(bench))
        .http(settings.http)
        .server(&LISTEN.replace("{listen}", settings.listen));
    site.write_certificate();
    let site = if subject.locations.contains("xspace_download ") {
        site.http("xspace_stats_zone plays:32m;")
    } else {
        site.without_module()
    };
    let locations = subject
        .locations
        .replace("{dir}", &recordings.path("downloads"))
        .replace("{catalog}", &recordings.path("catalog.json"))
        .replace("{app}", &application.map_or(String::new(), Address::to_string))
        .replace("{target}", settings.target);
    site.server(&locations)
}

fn socket_memory() -> Result<u64> {
    // `TCP: inuse 5 orphan 0 tw 0 alloc 6 mem 1`, in pages
    let text = fs::read_to_string("/proc/net/sockstat")?;
    let pages = text.lines().filter_map(|line| line.rsplit_once(" mem ")?.1.parse::<u64>().ok());
    Ok(pages.sum::<u64>() * rustix::param::page_size() as u64)
}

/// Since the start of the system, for both ends of all connections.
fn dropped_segments() -> Result<u64> {
    const NAME: &str = "TCPRcvQDrop";
    let text = fs::read_to_string("/proc/net/netstat")?;
    // A line of names, and one of values.
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, values) = lines.next().zip(lines.next()).ok_or("no TcpExt")?;
    let mut both = names.split(' ').zip(values.split(' '));
    let (_, value) = both.find(|(name, _)| *name == NAME).ok_or("no count of segments")?;
    Ok(value.parse()?)
}
