//! An application under gunicorn.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::nginx::poll;
use crate::process;
use crate::workbench::{Result, Workbench};

/// Worker processes: as many as gunicorn's own documentation takes for one processor and a few.
const WORKERS: u32 = 3;

/// A running application; ended when it goes out of scope.
#[derive(Debug)]
pub struct Application {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Application {
    /// Starts a Flask application `module:name` of `demo/application`, on the processors of a list as `taskset`
    /// takes it.
    pub fn start(
        bench: &Workbench,
        application: &str,
        processors: &str,
        environment: &[(&str, &Path)],
    ) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut command = Command::new("taskset");
        command
            .args(["--cpu-list", processors])
            // Debian's, for which Debian's Flask is.
            .arg("/usr/bin/gunicorn")
            .arg("--chdir")
            .arg(bench.application())
            .args(["--bind", &address.to_string(), "--workers", &WORKERS.to_string()])
            .args(["--log-level", "warning"])
            .arg(application)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PATH", path())
            .envs(environment.iter().map(|(name, value)| (*name, value.as_os_str())))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(bench.dir.join("gunicorn.stderr"))?);
        let child = process::spawn_bound(&mut command)?;
        let mut application = Self { child, address };
        poll(|| {
            if let Some(status) = application.child.try_wait()? {
                return Err(format!("the application ended with {status}").into());
            }
            Ok(TcpStream::connect(address).ok())
        })?;
        // The first worker answers before the last one is there.
        poll(|| Ok((application.workers()?.len() == WORKERS as usize).then_some(())))?;
        Ok(application)
    }

    /// The worker processes.
    pub fn workers(&self) -> Result<Vec<u32>> {
        process::children(self.child.id())
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        if let Ok(pid) = libc::pid_t::try_from(self.child.id()) {
            // SAFETY: a plain system call; the process was not waited for, so the id is its own.
            unsafe { libc::kill(pid, libc::SIGTERM) };
            // Nothing can be done about one that does not end.
            let _ = poll(|| Ok(self.child.try_wait()?));
        }
    }
}

/// Debian's programs first: another Python on the way has no Flask.
fn path() -> std::ffi::OsString {
    let mut path = OsStr::new("/usr/bin:/bin:").to_owned();
    path.push(env::var_os("PATH").unwrap_or_default());
    path
}
