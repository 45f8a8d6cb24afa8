//! Servers that a test starts beside nginx: gunicorn, memcached.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::nginx::{end_with_this_process, poll};
use crate::process::Process;

/// A server that listens on a Unix socket; it is stopped when it goes out of scope.
#[derive(Debug)]
pub struct Program {
    process: Process,
    socket: PathBuf,
    log: PathBuf,
}

impl Program {
    /// Runs a Flask application, the object `application` of a Python module, under gunicorn.
    pub fn gunicorn(
        dir: &Path,
        module: &str,
        socket: &Path,
        environment: &[(&str, &OsStr)],
    ) -> Self {
        let workers = ["--workers", "2", "--threads", "4"];
        Self::gunicorn_with(&workers, dir, &format!("{module}:application"), socket, environment)
    }

    /// The same with options for gunicorn, and an object of any name: `module:object`.
    pub fn gunicorn_with(
        options: &[&str],
        dir: &Path,
        application: &str,
        socket: &Path,
        environment: &[(&str, &OsStr)],
    ) -> Self {
        let mut command = Command::new("/usr/bin/gunicorn");
        command
            .arg("--chdir")
            .arg(dir)
            .arg("--bind")
            .arg(format!("unix:{}", socket.display()))
            // nginx's workers are another user.
            .args(["--umask", "0"])
            .args(options)
            .arg(application)
            // No compiled files beside the source.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .envs(environment.iter().copied());
        Self::start(command, socket)
    }

    /// Runs memcached.
    pub fn memcached(socket: &Path) -> Self {
        let mut command = Command::new("/usr/bin/memcached");
        command.args(["-u", "root", "-a", "0777", "-m", "16", "-t", "1"]).arg("-s").arg(socket);
        Self::start(command, socket)
    }

    fn start(mut command: Command, socket: &Path) -> Self {
        let log = socket.with_extension("log");
        let file = fs::File::create(&log).expect("a file for what the program says");
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second descriptor"))
            .stderr(file);
        end_with_this_process(&mut command);
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let mut program = Self { process: Process::Child(child), socket: socket.to_owned(), log };
        let mut ended = None;
        let is_ready = poll(|| {
            ended = program.process.try_wait().expect("it can be waited for");
            ended.is_some() || UnixStream::connect(socket).is_ok()
        });
        assert!(is_ready && ended.is_none(), "{command:?}: {ended:?} {}", program.log());
        program
    }

    /// The Unix socket on which it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What it has written.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.process.id()).expect("a process id");
        // SAFETY: a plain system call; nobody has waited for the process, so the id is its own.
        unsafe { libc::kill(pid, signal) };
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.signal(libc::SIGTERM);
        if !poll(|| self.process.try_wait().is_ok_and(|status| status.is_some())) {
            self.process.kill();
        }
        if std::thread::panicking() {
            println!("--- {} ---\n{}", self.log.display(), self.log());
        }
    }
}
