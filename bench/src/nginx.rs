//! A running nginx.

use std::fs::{self, File};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::process;
use crate::workbench::{Result, Workbench};

/// Long enough for a million entries under valgrind.
const DEADLINE: Duration = Duration::from_secs(300);

/// Between two looks at something that is about to happen.
const POLL: Duration = Duration::from_millis(5);

/// A configuration, and a directory for nginx to run in.
#[derive(Clone, Debug)]
pub struct Site {
    /// The directory.
    pub dir: PathBuf,
    /// The nginx executable.
    pub nginx: PathBuf,
    /// The modules that it loads.
    pub modules: Vec<PathBuf>,
    /// In front of nginx on its command line.
    pub wrapper: Vec<String>,
    /// How many connections a worker can have.
    pub connections: u32,
    /// One process does it all, without a master process.
    pub single: bool,
    /// Inside `http {}`.
    pub http: String,
    /// Inside `server {}`; `{port}` is the port, `{padding}` the field of padding where a location
    /// has an `add_header` of its own and so takes over none.
    pub server: String,
    /// The length of the value of the field of padding; 0: there is no field.
    padding: usize,
}

/// The field that makes responses longer.
const PADDING: &str = "Padding";

impl Site {
    /// An empty directory with that name.
    pub fn new(bench: &Workbench, name: &str) -> Result<Self> {
        let dir = bench.dir.join("sites").join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        Ok(Self {
            dir,
            nginx: bench.nginx.clone(),
            modules: vec![bench.module.clone()],
            wrapper: Vec::new(),
            connections: 256,
            single: false,
            http: String::new(),
            server: String::new(),
            padding: 0,
        })
    }

    /// Makes responses longer by so many bytes, if a field can be as short as that.
    pub fn pad(&mut self, by: usize) {
        self.padding = by.saturating_sub(format!("{PADDING}: \r\n").len());
    }

    fn padding(&self) -> String {
        match self.padding {
            0 => String::new(),
            len => format!("add_header {PADDING} {};", "x".repeat(len)),
        }
    }

    /// Writes the configuration and gives the command that runs nginx with it.
    pub fn command(&self, port: u16) -> Result<Command> {
        // SAFETY: a plain system call.
        let is_root = unsafe { libc::geteuid() } == 0;
        // Other users may not reach the directory that root builds in.
        let user = if is_root { "user root root;" } else { "" };
        let master = if self.single { "off" } else { "on" };
        let Self { connections, http, .. } = self;
        let padding = self.padding();
        let server =
            self.server.replace("{port}", &port.to_string()).replace("{padding}", &padding);
        let load = |module: &PathBuf| format!("load_module {};\n", module.display());
        let modules: String = self.modules.iter().map(load).collect();
        let conf = format!(
            "{modules}{user}
daemon off;
master_process {master};
worker_processes 1;
pid nginx.pid;
error_log error.log notice;
events {{
    worker_connections {connections};
}}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
    {http}
    {padding}
    server {{
        listen 127.0.0.1:{port};
        location = /nothing {{
            return 204;
        }}
        {server}
    }}
}}
",
        );
        fs::write(self.dir.join("nginx.conf"), conf)?;

        let mut words = self.wrapper.iter().map(String::as_str).map(Path::new);
        let mut command = match words.next() {
            Some(first) => {
                let mut command = Command::new(first);
                command.args(words).arg(&self.nginx);
                command
            }
            None => Command::new(&self.nginx),
        };
        command
            .arg("-p")
            .arg(format!("{}/", self.dir.display()))
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(self.dir.join("stderr"))?);
        Ok(command)
    }

    /// What nginx wrote to stderr.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.dir.join("stderr")).unwrap_or_default()
    }
}

/// A running nginx; ended when it goes out of scope.
#[derive(Debug)]
pub struct Nginx {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it runs with.
    pub site: Site,
}

impl Nginx {
    /// Starts nginx and waits until it answers.
    pub fn start(site: Site) -> Result<Self> {
        // Somebody else may take the port between the look and nginx's own bind().
        for _ in 0..5 {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            let mut command = site.command(port)?;
            let mut child = process::spawn_bound(&mut command)?;
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let ready = poll(|| {
                if child.try_wait()?.is_some() {
                    return Ok(Some(false));
                }
                Ok(TcpStream::connect(address).is_ok().then_some(true))
            });
            match ready {
                Ok(true) => return Ok(Self { child, address, site }),
                Ok(false) if site.stderr().contains("Address already in use") => {}
                Ok(false) => return Err(format!("nginx ended: {}", site.stderr()).into()),
                Err(error) => {
                    child.kill()?;
                    child.wait()?;
                    return Err(error);
                }
            }
        }
        Err("no free port for nginx".into())
    }

    /// The process that was started: nginx's master process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The one worker process.
    pub fn worker(&self) -> Result<u32> {
        let pid = self.pid();
        let path = format!("/proc/{pid}/task/{pid}/children");
        poll(|| {
            let children = fs::read_to_string(&path)?;
            Ok(children.split_whitespace().next().and_then(|pid| pid.parse().ok()))
        })
    }

    /// The error log, to be followed.
    pub fn log(&self) -> Result<Log> {
        Ok(Log { file: File::open(self.site.dir.join("error.log"))?, text: String::new() })
    }

    /// Ends nginx and fails if it did not end well.
    pub fn stop(mut self) -> Result<()> {
        let status = self.end()?;
        let log = fs::read_to_string(self.site.dir.join("error.log"))?;
        let bad = ["[emerg]", "[alert]", "[crit]", "[error]"];
        match log.lines().find(|line| bad.iter().any(|level| line.contains(level))) {
            Some(line) => Err(format!("in the error log: {line}").into()),
            None if !status.success() => Err(format!("nginx ended with {status}").into()),
            None => Ok(()),
        }
    }

    /// Tells nginx to end, and waits until it has. One process without a master can miss a signal
    /// that comes just before it waits for events, so it is told again.
    fn end(&mut self) -> Result<ExitStatus> {
        const AGAIN: Duration = Duration::from_secs(1);
        let mut told: Option<Instant> = None;
        poll(|| {
            if told.is_none_or(|told| told.elapsed() > AGAIN) {
                self.quit();
                told = Some(Instant::now());
            }
            Ok(self.child.try_wait()?)
        })
    }

    fn quit(&self) {
        if let Ok(pid) = libc::pid_t::try_from(self.pid()) {
            // SAFETY: a plain system call; the process was not waited for, so the id is its own.
            unsafe { libc::kill(pid, libc::SIGQUIT) };
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) && self.end().is_err() {
            // Nothing more can be done about a process that ignores this as well.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// An error log that is read as it grows.
#[derive(Debug)]
pub struct Log {
    file: File,
    text: String,
}

impl Log {
    /// How many lines with a text there are now.
    pub fn count(&mut self, text: &str) -> Result<usize> {
        self.file.read_to_string(&mut self.text)?;
        let bad = ["[emerg]", "[alert]", "[crit]", "[error]"];
        let mut count = 0;
        for line in self.text.lines() {
            if bad.iter().any(|level| line.contains(level)) {
                return Err(format!("in the error log: {line}").into());
            }
            count += usize::from(line.contains(text));
        }
        Ok(count)
    }
}

/// Looks again and again until there is something.
pub fn poll<T>(mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + DEADLINE;
    while Instant::now() < end {
        if let Some(found) = look()? {
            return Ok(found);
        }
        thread::sleep(POLL);
    }
    Err("waited too long".into())
}
