//! A running nginx.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::build::build;
use crate::client::{Connection, Protocol, Request, Response, block_on};
use crate::raw::RawConnection;
use crate::site::{Checked, Site};

/// Long enough for a machine under load; nothing waits as long when all is well.
const DEADLINE: Duration = Duration::from_secs(30);

/// Between two looks at something that is about to happen.
const POLL: Duration = Duration::from_millis(5);

/// A running nginx; stopped and checked when it goes out of scope.
#[derive(Debug)]
pub struct Nginx {
    child: Option<Child>,
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
            end_with_this_process(&mut command);
            let mut child = command.spawn().expect("nginx can be run");
            if wait_ready(&mut child, &site) {
                return Self { child: Some(child), site };
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
        self.child.as_ref().expect("nginx runs").id()
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

    /// The protocols that this nginx speaks; one that it does not is mentioned on stdout.
    pub fn protocols(&self) -> Vec<Protocol> {
        let mut protocols = vec![Protocol::Http1, Protocol::Http2];
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
            .args(["--silent", "--show-error", "--max-time", "30"])
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
        let mut found = None;
        poll(|| {
            found = self
                .error_log()
                .lines()
                .find(|line| parts.iter().all(|part| line.contains(part)))
                .map(str::to_owned);
            found.is_some()
        });
        found.unwrap_or_else(|| panic!("no line with {parts:?} in\n{}", self.error_log()))
    }

    /// Process ids of the workers.
    pub fn workers(&self) -> Vec<u32> {
        let pid = self.pid();
        let text =
            fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
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

    /// Runs `nginx -t` on the configuration as it is on disk.
    pub fn check(&self) -> Checked {
        let output = self.site.command().arg("-t").output().expect("nginx can be run");
        Checked {
            ok: output.status.success(),
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
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

    fn stop_and_check(&mut self) {
        if self.child.is_none() {
            return;
        }
        self.signal(libc::SIGQUIT);
        let mut status = None;
        poll(|| {
            let child = self.child.as_mut().expect("nginx runs");
            status = child.try_wait().expect("nginx can be waited for");
            status.is_some()
        });
        if status.is_none() {
            self.kill();
            panic!("nginx did not stop: {}", self.error_log());
        }
        self.child = None;
        let status = status.expect("just looked at");
        assert!(status.success(), "nginx ended with {status}: {}", self.error_log());
        if let Err(message) = self.site.check_error_log() {
            panic!("{message}");
        }
    }

    /// Ends nginx without any ado, the workers too.
    fn kill(&mut self) {
        if self.child.is_some() {
            self.signal(libc::SIGTERM);
            let mut child = self.child.take().expect("just looked at");
            let ended = poll(|| child.try_wait().is_ok_and(|status| status.is_some()));
            if !ended {
                // Nothing more can be done about a process that ignores this as well.
                let _ = child.kill();
                let _ = child.wait();
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

fn send_signal(pid: u32, signal: libc::c_int) {
    let pid = libc::pid_t::try_from(pid).expect("a process id");
    // SAFETY: a plain system call.
    unsafe { libc::kill(pid, signal) };
}

/// Lets nginx end when the tests are interrupted.
fn end_with_this_process(command: &mut Command) {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::process::CommandExt;

        // SAFETY: prctl() is a plain system call and may be used between fork and exec.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            })
        };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = command;
}

/// Looks again and again until it is so or the deadline is over; tells whether it is so.
fn poll(mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + DEADLINE;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        thread::sleep(POLL);
    }
}

/// Whether nginx came up; false if it ended.
fn wait_ready(child: &mut Child, site: &Site) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, site.ports[0]));
    let mut ended = false;
    let ready = poll(|| {
        ended = child.try_wait().expect("nginx can be waited for").is_some();
        // The master listens before the workers exist: a connection would be answered late, but
        // nothing could be said about workers yet.
        ended
            || (site.error_log().contains("start worker process ")
                && TcpStream::connect(address).is_ok())
    });
    if !ready {
        // It neither came up nor ended.
        let _ = child.kill();
        let _ = child.wait();
    }
    ready && !ended
}
