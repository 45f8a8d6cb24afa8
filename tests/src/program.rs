//! Servers that a test starts beside nginx: gunicorn, memcached.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

use crate::nginx::{poll, wait_for};
use crate::ports::free_port;
use crate::process::{Process, children, end_with_this_process, send_signal};

/// A server; it is stopped when it goes out of scope.
#[derive(Debug)]
pub struct Program {
    process: Process,
    address: Address,
    log: PathBuf,
}

/// Where a server listens, as `proxy_pass http://…` takes it.
#[derive(Clone, Debug)]
pub enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// A port.
    Tcp(SocketAddr),
}

impl Address {
    /// A port of the loopback interface that is free.
    pub fn free() -> Self {
        Self::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())))
    }

    fn answers(&self) -> bool {
        match self {
            Self::Unix(path) => UnixStream::connect(path).is_ok(),
            Self::Tcp(address) => TcpStream::connect(address).is_ok(),
        }
    }

    /// Where a server's output is kept: beside its socket, or among the temporary files.
    fn log(&self) -> PathBuf {
        match self {
            Self::Unix(path) => path.with_extension("log"),
            Self::Tcp(address) => {
                env::temp_dir().join(format!("xspace-{}-{}.log", process::id(), address.port()))
            }
        }
    }
}

impl From<&Path> for Address {
    fn from(socket: &Path) -> Self {
        Self::Unix(socket.to_owned())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

/// The command that runs a Flask application, `module:object` of a directory, under gunicorn.
pub fn gunicorn(
    options: &[&str],
    dir: &Path,
    application: &str,
    address: &Address,
    environment: &[(&str, &OsStr)],
) -> Command {
    // Debian's, for which Debian's Flask is; another Python on the way would have none.
    let mut path = OsStr::new("/usr/bin:/bin:").to_owned();
    path.push(env::var_os("PATH").unwrap_or_default());
    let mut command = Command::new("/usr/bin/gunicorn");
    command
        .arg("--chdir")
        .arg(dir)
        .args(["--bind", &address.to_string()])
        // nginx's workers are another user.
        .args(["--umask", "0"])
        // A worker of gunicorn 26 that ends waits for an idle connection of nginx all of this time.
        .args(["--graceful-timeout", "5"])
        .args(options)
        .arg(application)
        // No compiled files beside the source.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PATH", path)
        .envs(environment.iter().copied());
    command
}

impl Program {
    /// Runs a Flask application, the object `application` of a Python module, under gunicorn.
    pub fn gunicorn(
        dir: &Path,
        module: &str,
        socket: &Path,
        environment: &[(&str, &OsStr)],
    ) -> Self {
        let options = ["--workers", "2", "--threads", "4"];
        let application = format!("{module}:application");
        let address = Address::from(socket);
        Self::start(gunicorn(&options, dir, &application, &address, environment), address)
    }

    /// Runs memcached, with room for so many megabytes.
    pub fn memcached(socket: &Path, megabytes: u32) -> Self {
        let mut command = Command::new("/usr/bin/memcached");
        command.args(["-u", "root", "-a", "0777", "-t", "1", "-m", &megabytes.to_string()]);
        command.arg("-s").arg(socket);
        Self::start(command, Address::from(socket))
    }

    /// Runs a server and waits until it answers.
    pub fn start(mut command: Command, address: Address) -> Self {
        let log = address.log();
        let file = fs::File::create(&log).expect("a file for what the program says");
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second descriptor"))
            .stderr(file);
        end_with_this_process(&mut command);
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let mut program = Self { process: Process::Child(child), address, log };
        let mut ended = None;
        let is_ready = poll(|| {
            ended = program.process.try_wait().expect("it can be waited for");
            ended.is_some() || program.address.answers()
        });
        assert!(is_ready && ended.is_none(), "{command:?}: {ended:?} {}", program.log());
        program
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its worker processes, once there are so many of them.
    #[track_caller]
    pub fn wait_workers(&self, count: usize) -> Vec<u32> {
        let workers = wait_for(|| {
            let workers = children(self.process.id());
            (workers.len() == count).then_some(workers)
        });
        workers.unwrap_or_else(|| panic!("not {count} workers: {}", self.log()))
    }

    /// What it has written.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it and its children at once.
    pub fn kill(&mut self) {
        let children = children(self.process.id());
        self.process.kill();
        for &child in &children {
            send_signal(child, libc::SIGKILL);
        }
        // What they shared can be used again only when they are gone. A zombie has no program.
        let is_gone = |pid| fs::read_link(format!("/proc/{pid}/exe")).is_err();
        poll(|| children.iter().all(is_gone));
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: libc::c_int) {
        send_signal(self.process.id(), signal);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let workers = children(self.process.id());
        // To gunicorn, SIGTERM means to wait for its connections, and nginx 1.29.7 keeps them open.
        self.signal(libc::SIGINT);
        if !poll(|| self.process.try_wait().is_ok_and(|status| status.is_some())) {
            self.process.kill();
            // They would go on to answer.
            for worker in workers {
                send_signal(worker, libc::SIGKILL);
            }
        }
        if std::thread::panicking() {
            println!("--- {} ---\n{}", self.log.display(), self.log());
        } else {
            // That of a socket goes with its directory, if not here.
            let _ = fs::remove_file(&self.log);
        }
    }
}
