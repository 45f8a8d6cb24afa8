//! A running nginx.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::build::build;
use crate::client::{Connection, Protocol, Request, Response, block_on};
use crate::process::{
    Process, adopt_orphans, children, end_with_this_process, open_files, send_signal,
};
use crate::raw::RawConnection;
use crate::settings::deadline;
use crate::site::{Checked, Site};

/// For whatever nginx is to do soon, in seconds.
const DEADLINE: u64 = 30;

/// Between two looks at something that is about to happen.
const POLL: Duration = Duration::from_millis(5);

/// A running nginx; stopped and checked when it goes out of scope.
#[derive(Debug)]
pub struct Nginx {
    master: Option<Process>,
    site: Site,
}

impl Nginx {
    pub(crate) fn start(mut site: Site) -> Self {
        for _ in 0..5 {
            site.choose_ports();
            site.write_conf();
            let mut command = site.command();
            command
                .stdout(Stdio::null())
                .stderr(fs::File::create(site.dir().join("stderr")).expect("stderr"));
            if site.daemon {
                adopt_orphans();
            } else {
                end_with_this_process(&mut command);
            }
            let master = Process::Child(command.spawn().expect("nginx can be run"));
            if let Some(master) = wait_ready(master, &site) {
                return Self { master: Some(master), site };
            }
            let log = site.error_log();
            if !log.contains("Address already in use") {
                let stderr = fs::read_to_string(site.dir().join("stderr")).unwrap_or_default();
                panic!("nginx did not start: {stderr}\n{log}");
            }
            fs::write(site.dir().join("error.log"), "").expect("error.log can be emptied");
        }
        panic!("no free ports for nginx");
    }

    /// The site that it serves.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.site.dir()
    }

    /// The process id of the master.
    pub fn pid(&self) -> u32 {
        self.master.as_ref().expect("nginx runs").id()
    }

    /// The address of a protocol.
    pub fn address(&self, protocol: Protocol) -> SocketAddr {
        let port = match protocol {
            Protocol::Http1 => self.site.ports[0],
            Protocol::Http2 | Protocol::Http3 => self.site.ports[1],
        };
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    /// The address with the path on the plain port.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address(Protocol::Http1))
    }

    /// The address of the port `{other}`.
    pub fn other_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.site.ports[2]))
    }

    /// The address with the path on the port `{other}`.
    pub fn other_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.site.ports[2])
    }

    /// The protocols that this nginx speaks; one that it does not is mentioned on stdout.
    pub fn protocols(&self) -> Vec<Protocol> {
        let mut protocols = vec![Protocol::Http1];
        if build().require("http_v2") {
            protocols.push(Protocol::Http2);
        }
        if build().require("http_v3") {
            protocols.push(Protocol::Http3);
        }
        protocols
    }

    /// Opens a connection.
    pub fn connect(&self, protocol: Protocol) -> Connection {
        block_on(Connection::open(protocol, self.address(protocol)))
    }

    /// One request on a connection of its own.
    pub fn send(&self, protocol: Protocol, request: &Request) -> Response {
        self.connect(protocol).send(request)
    }

    /// A GET over HTTP/1.1.
    pub fn get(&self, path: &str) -> Response {
        self.send(Protocol::Http1, &Request::get(path))
    }

    /// A GET over HTTP/1.1 with one header.
    pub fn get_with(&self, path: &str, name: &str, value: &str) -> Response {
        self.send(Protocol::Http1, &Request::get(path).header(name, value))
    }

    /// A plain TCP connection, for what no client library would send.
    pub fn raw(&self) -> RawConnection {
        RawConnection::open(self.address(Protocol::Http1))
    }

    /// Runs curl and gives what it wrote to stdout; fails if curl does.
    #[track_caller]
    pub fn curl(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time"])
            .arg(deadline(30).as_secs().to_string())
            .arg("--cacert")
            .arg(self.dir().join("cert.pem"))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|e| panic!("cannot run curl: {e}"));
        assert!(
            output.status.success(),
            "curl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// The error log so far.
    pub fn error_log(&self) -> String {
        self.site.error_log()
    }

    /// The lines of a log file once there are at least `count` of them.
    #[track_caller]
    pub fn log_lines(&self, name: &str, count: usize) -> Vec<String> {
        let path = self.dir().join(name);
        let mut lines = Vec::new();
        let enough = poll(|| {
            let text = fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            // A line is written at once, yet be sure not to read half of one.
            lines = text.split_inclusive('\n').map(str::to_owned).collect();
            lines.retain(|line| line.ends_with('\n'));
            lines.len() >= count
        });
        assert!(enough, "{name} has {} lines, not {count}: {lines:?}", lines.len());
        lines.iter().map(|line| line.trim_end_matches('\n').to_owned()).collect()
    }

    /// Waits for a line of the error log that has all of `parts`.
    #[track_caller]
    pub fn wait_error(&self, parts: &[&str]) -> String {
        let found = wait_for(|| {
            let log = self.error_log();
            let line = log.lines().find(|line| parts.iter().all(|part| line.contains(part)))?;
            Some(line.to_owned())
        });
        found.unwrap_or_else(|| panic!("no line with {parts:?} in\n{}", self.error_log()))
    }

    /// Waits until exactly so many lines of the error log have all of `parts`.
    #[track_caller]
    pub fn wait_errors(&self, parts: &[&str], count: usize) {
        poll(|| self.count_errors(parts) >= count);
        let found = self.count_errors(parts);
        assert_eq!(found, count, "lines with {parts:?} in\n{}", self.error_log());
    }

    /// How many lines of the error log have all of `parts`.
    pub fn count_errors(&self, parts: &[&str]) -> usize {
        let log = self.error_log();
        log.lines().filter(|line| parts.iter().all(|part| line.contains(part))).count()
    }

    /// Process ids of the workers; of the cache manager too, if there is one.
    pub fn workers(&self) -> Vec<u32> {
        children(self.pid())
    }

    /// Whether these, one at least, are still there. Others may have been started since: the
    /// processes of a cache come last, when the first request may have been answered.
    pub fn has_still(&self, workers: &[u32]) -> bool {
        let now = self.workers();
        !workers.is_empty() && workers.iter().all(|worker| now.contains(worker))
    }

    /// Waits until a process has ended.
    #[track_caller]
    pub fn wait_gone(&self, pid: u32) {
        let is_gone = poll(|| !self.workers().contains(&pid));
        assert!(is_gone, "{pid} does not end: {}", self.error_log());
    }

    /// Waits until there is a worker; gives the first one.
    #[track_caller]
    pub fn wait_worker(&self) -> u32 {
        let worker = wait_for(|| self.workers().first().copied());
        worker.unwrap_or_else(|| panic!("no worker: {}", self.error_log()))
    }

    /// Waits until a process has opened a file of the site.
    #[track_caller]
    pub fn wait_open(&self, pid: u32, name: &str) {
        let path = self.dir().join(name);
        let end = Instant::now() + deadline(DEADLINE);
        // Without a pause, for the file may not be open for long.
        while !open_files(pid).contains(&path) {
            assert!(Instant::now() < end, "{pid} did not open {name}: {}", self.error_log());
            thread::yield_now();
        }
    }

    /// Replaces the running executable: a new master process with workers of its own takes over
    /// the sockets, the old workers leave, then the old master.
    #[track_caller]
    pub fn upgrade(&mut self) {
        assert!(self.site.daemon, "a master process that is a child of the tests ignores USR2");
        let old = self.pid();
        let old_workers = self.workers();
        self.signal(libc::SIGUSR2);
        let mut new = old;
        let is_up = poll(|| {
            new = pid_in(&self.site).unwrap_or(old);
            new != old && children(new).len() == old_workers.len()
        });
        assert!(is_up, "no new master process: {}", self.error_log());
        assert!(self.dir().join("nginx.pid.oldbin").exists(), "two masters, two files");

        self.signal(libc::SIGWINCH);
        let are_gone = poll(|| children(old).iter().all(|pid| !old_workers.contains(pid)));
        assert!(are_gone, "old workers did not leave: {}", self.error_log());

        let mut master = self.master.replace(Process::Adopted(new)).expect("nginx runs");
        send_signal(old, libc::SIGQUIT);
        let status = wait_for(|| master.try_wait().expect("nginx can be waited for"));
        let Some(status) = status else {
            master.kill();
            panic!("the old master process did not leave: {}", self.error_log())
        };
        assert!(status.success(), "the old master process ended with {status}");
        assert!(!self.dir().join("nginx.pid.oldbin").exists(), "nginx.pid.oldbin is left behind");
    }

    /// Reloads the configuration as it is on disk and waits until the old workers are gone.
    #[track_caller]
    pub fn reload(&self) {
        let old = self.start_reload();
        let gone = poll(|| self.workers().iter().all(|pid| !old.contains(pid)));
        assert!(gone, "old workers did not leave: {}", self.error_log());
    }

    /// Reloads and waits until new workers are up; gives the old ones, which may go on with what
    /// they had begun.
    #[track_caller]
    pub fn start_reload(&self) -> Vec<u32> {
        let old = self.workers();
        let starts = || self.error_log().matches("start worker process ").count();
        let before = starts();
        self.hang_up();
        let new = poll(|| starts() > before && self.workers().iter().any(|pid| !old.contains(pid)));
        assert!(new, "no new worker after the reload: {}", self.error_log());
        old
    }

    /// Asks for a reload and does not wait.
    pub fn hang_up(&self) {
        self.signal(libc::SIGHUP);
    }

    /// Has the logs opened again, as logrotate does.
    pub fn reopen_logs(&self) {
        self.signal(libc::SIGUSR1);
    }

    /// Runs `nginx -t` on the configuration as it is on disk.
    pub fn check(&self) -> Checked {
        self.site.check_as_written()
    }

    /// Stops nginx and checks that all was well. Dropping does the same.
    pub fn finish(mut self) {
        self.stop_and_check();
    }

    /// Sends a signal to one of the workers.
    pub fn signal_worker(&self, pid: u32, signal: libc::c_int) {
        assert!(self.workers().contains(&pid), "{pid} is no worker");
        send_signal(pid, signal);
    }

    fn signal(&self, signal: libc::c_int) {
        // The child was not waited for yet, so the id is its own.
        send_signal(self.pid(), signal);
    }

    /// The same with TERM, which does not wait for requests.
    pub fn terminate(mut self) {
        self.stop_by_and_check(libc::SIGTERM);
    }

    /// Kills the master process and the workers, and looks at nothing afterwards.
    pub fn crash(mut self) {
        let workers = self.workers();
        let mut master = self.master.take().expect("nginx runs");
        master.kill();
        workers.iter().for_each(|&pid| send_signal(pid, libc::SIGKILL));
        assert!(poll(|| workers.iter().all(|&pid| open_files(pid).is_empty())));
    }

    fn stop_and_check(&mut self) {
        self.stop_by_and_check(libc::SIGQUIT);
    }

    fn stop_by_and_check(&mut self, signal: libc::c_int) {
        if self.master.is_none() {
            return;
        }
        let Some(status) = self.stop_by(signal) else {
            self.kill();
            panic!("nginx did not stop: {}", self.error_log());
        };
        self.master = None;
        assert!(status.success(), "nginx ended with {status}: {}", self.error_log());
        if let Err(message) = self.site.check_error_log() {
            panic!("{message}");
        }
    }

    /// How it ended. One process without a master can miss a signal that comes just before it waits
    /// for events, so it is sent again.
    fn stop_by(&mut self, signal: libc::c_int) -> Option<ExitStatus> {
        const AGAIN: Duration = Duration::from_secs(1);
        self.signal(signal);
        let mut sent = Instant::now();
        wait_for(|| {
            if self.site.workers == 0 && sent.elapsed() > AGAIN {
                self.signal(signal);
                sent = Instant::now();
            }
            let master = self.master.as_mut().expect("nginx runs");
            master.try_wait().expect("nginx can be waited for")
        })
    }

    /// Ends nginx without any ado, the workers too.
    fn kill(&mut self) {
        if self.master.is_some() {
            self.signal(libc::SIGTERM);
            let mut master = self.master.take().expect("just looked at");
            if !poll(|| master.try_wait().is_ok_and(|status| status.is_some())) {
                master.kill();
            }
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if thread::panicking() {
            self.kill();
            let log = self.site.error_log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(30)..];
            println!("--- end of the error log ---\n{}", tail.join("\n"));
        } else {
            self.stop_and_check();
        }
    }
}

/// The process id that nginx has written to its file.
fn pid_in(site: &Site) -> Option<u32> {
    fs::read_to_string(site.dir().join("nginx.pid")).ok()?.trim().parse().ok()
}

/// Looks again and again until it is so or the deadline is over; tells whether it is so.
pub fn poll(mut is_so: impl FnMut() -> bool) -> bool {
    wait_for(|| is_so().then_some(())).is_some()
}

/// Looks again and again until there is something or the deadline is over.
pub fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline(DEADLINE);
    loop {
        let found = look();
        if found.is_some() || Instant::now() > end {
            return found;
        }
        thread::sleep(POLL);
    }
}

/// The master process once nginx is up; `None` if it ended.
fn wait_ready(mut started: Process, site: &Site) -> Option<Process> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, site.ports[0]));
    let mut ended = None;
    let ready = poll(|| {
        ended = ended.or_else(|| started.try_wait().expect("nginx can be waited for"));
        let has_failed = match ended {
            Some(status) => !site.daemon || !status.success(),
            None => false,
        };
        // The master listens before the workers exist: a connection would be answered late, but
        // nothing could be said about workers yet.
        has_failed
            || (site.error_log().matches("start worker process ").count() >= site.workers
                && TcpStream::connect(address).is_ok()
                && (!site.daemon || ended.is_some()))
    });
    if !ready {
        // It neither came up nor ended.
        started.kill();
        return None;
    }
    match (ended, pid_in(site)) {
        (None, _) => Some(started),
        (Some(status), Some(master)) if site.daemon && status.success() => {
            Some(Process::Adopted(master))
        }
        _ => None,
    }
}
