//! A site: a directory with files and the configuration that serves them.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::build::build;
use crate::certificate::certificate;
use crate::nginx::{Nginx, wait_for};
use crate::ports::free_port;
use crate::process::is_root;

/// Files and configuration, not running yet.
///
/// In every piece of configuration `{dir}` stands for the site's directory, `{port}` for the
/// plain port, `{tls}` for the port of TLS and QUIC and `{other}` for one more plain port, on
/// which nothing listens unless the configuration says so.
#[derive(Debug)]
pub struct Site {
    dir: PathBuf,
    first: String,
    main: String,
    events: String,
    http: String,
    server: String,
    after: String,
    whole: Option<String>,
    nginx: PathBuf,
    module: Option<PathBuf>,
    /// In front of nginx on its command line.
    wrapper: Vec<String>,
    has_tls: bool,
    has_user: bool,
    log_level: String,
    refuses_errors: bool,
    pub(crate) workers: usize,
    connections: u32,
    pub(crate) daemon: bool,
    environment: Vec<(String, String)>,
    pub(crate) allowed: Vec<String>,
    pub(crate) ports: [u16; 3],
}

/// What `nginx -t` said.
#[derive(Debug)]
pub struct Checked {
    /// Whether it accepted the configuration.
    pub ok: bool,
    /// All it wrote.
    pub output: String,
}

impl Site {
    /// A server without any location.
    #[expect(clippy::new_without_default, reason = "makes a directory")]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);

        let parent = std::env::temp_dir();
        let dir = loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let dir = parent.join(format!("xspace-{}-{number}", process::id()));
            match fs::create_dir(&dir) {
                Ok(()) => break dir,
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => panic!("cannot make {}: {e}", dir.display()),
            }
        };
        let site = Self {
            dir,
            first: String::new(),
            main: String::new(),
            events: String::new(),
            http: String::new(),
            server: String::new(),
            after: String::new(),
            whole: None,
            nginx: build().nginx.clone(),
            module: build().module.clone(),
            wrapper: Vec::new(),
            has_tls: true,
            has_user: true,
            log_level: "info".to_owned(),
            refuses_errors: false,
            workers: 1,
            connections: 512,
            daemon: false,
            environment: Vec::new(),
            allowed: Vec::new(),
            ports: [0; 3],
        };
        set_mode(&site.dir, 0o755);
        site.make_dir("html");
        site.make_dir("downloads");
        site
    }

    /// A server with the smallest useful configuration: `/download/` is redirected to
    /// `/downloads/`, an alias for `{dir}/downloads/`.
    pub fn simple() -> Self {
        Self::with_download("").server(DOWNLOADS)
    }

    /// `location ^~ /download/` with `xspace_download` and what is given here; no target.
    pub fn with_download(directives: &str) -> Self {
        Self::new().server(&format!(
            "location ^~ /download/ {{ xspace_download /downloads/; {directives} }}"
        ))
    }

    /// The smallest useful configuration with more directives in `/download/` and in the target.
    pub fn with_directives(download: &str, target: &str) -> Self {
        Self::with_download(download).server(&format!(
            "location ^~ /downloads/ {{ internal; alias {{dir}}/downloads/; {target} }}"
        ))
    }

    /// Adds to the main context, above the line that loads the module.
    #[must_use]
    pub fn first(mut self, text: &str) -> Self {
        push_line(&mut self.first, text);
        self
    }

    /// Adds to the main context.
    #[must_use]
    pub fn main(mut self, text: &str) -> Self {
        push_line(&mut self.main, text);
        self
    }

    /// Adds to `events {}`.
    #[must_use]
    pub fn events(mut self, text: &str) -> Self {
        push_line(&mut self.events, text);
        self
    }

    /// Adds to `http {}`.
    #[must_use]
    pub fn http(mut self, text: &str) -> Self {
        push_line(&mut self.http, text);
        self
    }

    /// Adds to the server.
    #[must_use]
    pub fn server(mut self, text: &str) -> Self {
        push_line(&mut self.server, text);
        self
    }

    /// Adds to the main context, below `http {}`.
    #[must_use]
    pub fn after_http(mut self, text: &str) -> Self {
        push_line(&mut self.after, text);
        self
    }

    /// The whole configuration, in place of the pieces. `{load_module}`, `{user}` and, for
    /// `http {}`, `{temp_paths}` stand for what the pieces have there.
    #[must_use]
    pub fn whole(mut self, text: &str) -> Self {
        self.whole = Some(text.to_owned());
        self
    }

    /// Another module than the one under test.
    #[must_use]
    pub fn module(mut self, path: &Path) -> Self {
        self.module = Some(path.to_owned());
        self
    }

    /// Another nginx than the one under test, and no module.
    #[must_use]
    pub fn nginx(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.nginx);
        self.without_module()
    }

    /// The nginx without threads and TLS, if there is one to test with: HTTP/1.1 only.
    pub fn plain(mut self) -> Option<Self> {
        if !build().require("plain_nginx") {
            return None;
        }
        self.nginx.clone_from(build().plain_nginx.as_ref()?);
        Some(self.http1_only())
    }

    /// No module at all.
    #[must_use]
    pub fn without_module(mut self) -> Self {
        self.module = None;
        self
    }

    /// nginx runs under another program, which is given with its options.
    #[must_use]
    pub fn under(mut self, program: &[&str]) -> Self {
        self.wrapper = program.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// The plain port only.
    #[must_use]
    pub fn http1_only(mut self) -> Self {
        self.has_tls = false;
        self
    }

    /// No directive `user`, whose place and value are the test's own matter.
    #[must_use]
    pub fn without_user(mut self) -> Self {
        self.has_user = false;
        self
    }

    /// The level of the error log, or nothing. Tests that wait for a line need `info`, which it is
    /// unless this is called.
    #[must_use]
    pub fn log_level(mut self, level: &str) -> Self {
        level.clone_into(&mut self.log_level);
        self
    }

    /// Lines of level `error` are no more expected than those of higher levels.
    #[must_use]
    pub fn refuse_errors(mut self) -> Self {
        self.refuses_errors = true;
        self
    }

    /// As many worker processes; one unless this is called. With 0 the configuration has to say
    /// `master_process off`.
    #[must_use]
    pub fn workers(mut self, count: usize) -> Self {
        self.workers = count;
        self
    }

    /// How many connections a worker can have; 512 unless this is called.
    #[must_use]
    pub fn connections(mut self, count: u32) -> Self {
        self.connections = count;
        self
    }

    /// One process without a master, which serves requests itself.
    #[must_use]
    pub fn single(self) -> Self {
        self.workers(0).main("master_process off;")
    }

    /// nginx leaves the process that starts it, as under an init system. Only such a master
    /// process lets itself be replaced by another executable.
    #[must_use]
    pub fn daemon(mut self) -> Self {
        self.daemon = true;
        self
    }

    /// Sets a variable in the environment of nginx itself; workers have it only if the
    /// configuration says so.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lines of the error log with this text are expected, whatever their level.
    #[must_use]
    pub fn allow(mut self, text: &str) -> Self {
        self.allowed.push(text.to_owned());
        self
    }

    /// Writes a file that the workers can read.
    #[must_use]
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.write(name, content);
        self
    }

    /// Puts a large file of another place into the site, without a copy where that can be.
    #[must_use]
    pub fn shared(self, from: &Path, name: &str) -> Self {
        self.share(from, name);
        self
    }

    /// Puts a large file of another place into the site, without a copy where that can be.
    pub fn share(&self, from: &Path, name: &str) {
        if let Some((parent, _)) = name.rsplit_once('/') {
            self.make_dir(parent);
        }
        let to = self.dir.join(name);
        if fs::hard_link(from, &to).is_err() {
            fs::copy(from, &to).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
        }
        set_mode(&to, 0o644);
    }

    /// Writes a file of this site, its directories as well.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        if let Some((parent, _)) = name.rsplit_once('/') {
            self.make_dir(parent);
        }
        let path = self.dir.join(name);
        fs::write(&path, content).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        set_mode(&path, 0o644);
        path
    }

    /// Replaces a file as a careful writer does: under another name first, then by a rename.
    pub fn replace(&self, name: &str, content: impl AsRef<[u8]>) {
        let new = self.write(&format!("{name}.new"), content);
        let path = self.dir.join(name);
        fs::rename(new, &path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// Makes a directory, and those above it, for the workers to read.
    pub fn make_dir(&self, name: &str) -> PathBuf {
        let mut path = self.dir.clone();
        for segment in name.split('/').filter(|s| !s.is_empty()) {
            path.push(segment);
            match fs::create_dir(&path) {
                Ok(()) => set_mode(&path, 0o755),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => panic!("cannot make {}: {e}", path.display()),
            }
        }
        path
    }

    /// Sets the mode of a file of this site.
    pub fn chmod(&self, name: &str, mode: u32) {
        set_mode(&self.dir.join(name), mode);
    }

    /// Makes a symbolic link in the site that points to `to`.
    pub fn symlink(&self, to: impl AsRef<Path>, name: &str) {
        std::os::unix::fs::symlink(to, self.dir.join(name))
            .unwrap_or_else(|e| panic!("symbolic link {name}: {e}"));
    }

    /// The site's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the configuration is written.
    pub fn conf_path(&self) -> PathBuf {
        self.dir.join("nginx.conf")
    }

    /// Writes the configuration with the present ports and gives its text.
    pub fn write_conf(&self) -> String {
        let text = self.render();
        fs::write(self.conf_path(), &text).expect("nginx.conf can be written");
        text
    }

    /// Writes `cert.pem` and `key.pem`, which the clients trust.
    pub fn write_certificate(&self) {
        fs::write(self.dir.join("cert.pem"), &certificate().pem).expect("cert.pem");
        fs::write(self.dir.join("key.pem"), &certificate().key_pem).expect("key.pem");
    }

    /// Runs `nginx -t`.
    pub fn check(&mut self) -> Checked {
        self.check_command();
        self.check_as_written()
    }

    /// Writes the configuration and gives the command `nginx -t` for it.
    pub fn check_command(&mut self) -> Command {
        if self.ports[0] == 0 {
            self.choose_ports();
        }
        self.write_conf();
        self.command_to_check()
    }

    fn command_to_check(&self) -> Command {
        let mut command = self.command();
        command.arg("-t");
        command
    }

    /// Runs `nginx -t` on the configuration as it is on disk.
    pub(crate) fn check_as_written(&self) -> Checked {
        let path = self.dir.join("check.stderr");
        let stderr = fs::File::create(&path).expect("a file for what nginx -t says");
        let mut child = self.command_to_check().stderr(stderr).spawn().expect("nginx can be run");
        let status = wait_for(|| child.try_wait().expect("nginx can be waited for"));
        if status.is_none() {
            // Nothing more can be done about it if this fails as well.
            let _ = child.kill();
            let _ = child.wait();
        }
        let output = fs::read(&path).expect("what nginx -t said");
        let output = String::from_utf8_lossy(&output).into_owned();
        let status = status.unwrap_or_else(|| panic!("nginx -t does not end: {output}"));
        Checked { ok: status.success(), output }
    }

    /// Starts nginx and waits until it answers.
    pub fn start(self) -> Nginx {
        Nginx::start(self)
    }

    pub(crate) fn choose_ports(&mut self) {
        self.ports = [free_port(), free_port(), free_port()];
    }

    /// nginx on this site's configuration.
    pub(crate) fn command(&self) -> Command {
        let mut words = self.wrapper.iter().map(OsStr::new).chain([self.nginx.as_os_str()]);
        let mut command = Command::new(words.next().expect("nginx at least"));
        command
            .args(words)
            .arg("-p")
            .arg(format!("{}/", self.dir.display()))
            .arg("-c")
            .arg(self.conf_path())
            .arg("-e")
            .arg(self.dir.join("error.log"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn error_log(&self) -> String {
        match fs::read(self.dir.join("error.log")) {
            Ok(text) => String::from_utf8_lossy(&text).into_owned(),
            Err(_) => String::new(),
        }
    }

    /// Fails if the error log has a line that a healthy run does not write.
    pub(crate) fn check_error_log(&self) -> Result<(), String> {
        const BAD: [&str; 5] = ["[alert]", "[crit]", "[emerg]", "panicked", "exited on signal"];
        let is_bad = |line: &str| {
            BAD.iter().any(|word| line.contains(word))
                || exited_badly(line)
                || self.refuses_errors && line.contains("[error]")
        };
        let log = self.error_log();
        let bad: Vec<&str> = log
            .lines()
            .filter(|line| is_bad(line))
            .filter(|line| !self.allowed.iter().any(|text| line.contains(text)))
            .collect();
        if bad.is_empty() { Ok(()) } else { Err(format!("the error log has {}", bad.join("\n"))) }
    }

    /// `load_module` for the module under test, if it is not compiled in, and its neighbours. One
    /// line, so that messages name the same lines with all of them.
    fn load_module(&self) -> String {
        let [before, after] = &build().neighbours;
        let all = before.iter().chain(&self.module).chain(after);
        all.map(|path| format!("load_module \"{}\";", path.display())).collect::<Vec<_>>().join(" ")
    }

    fn render(&self) -> String {
        let text = match &self.whole {
            Some(text) => text.clone(),
            None => self.render_pieces(),
        };
        let [port, tls, other] = self.ports.map(|port| port.to_string());
        text.replace("{load_module}", &self.load_module())
            .replace("{user}", &user_directive())
            .replace("{temp_paths}", &temp_paths())
            .replace("{dir}", self.dir.to_str().expect("a UTF-8 path"))
            .replace("{port}", &port)
            .replace("{tls}", &tls)
            .replace("{other}", &other)
    }

    fn render_pieces(&self) -> String {
        let mut listen = String::from("listen 127.0.0.1:{port};\n");
        if self.has_tls && build().has("http_ssl") {
            self.write_certificate();
            listen.push_str("        ssl_certificate {dir}/cert.pem;\n");
            listen.push_str("        ssl_certificate_key {dir}/key.pem;\n");
            if build().has("http2_directive") {
                listen.push_str("        listen 127.0.0.1:{tls} ssl;\n        http2 on;\n");
            } else {
                listen.push_str("        listen 127.0.0.1:{tls} ssl http2;\n");
            }
            if build().has("http_v3") {
                listen.push_str("        listen 127.0.0.1:{tls} quic;\n");
            }
        }

        // "off" outranks every other access_log of its level.
        let access_log = if self.http.contains("access_log") { "" } else { "access_log off;" };
        let Self { first, main, connections, events, http, server, after, log_level, .. } = self;
        let user = if self.has_user { "{user}" } else { "" };
        let processes = match self.workers {
            0 => String::new(),
            count => format!("worker_processes {count};"),
        };
        let daemon = if self.daemon { "on" } else { "off" };
        // nginx hands no more of its environment to a new executable than the configuration says.
        let kept = if self.daemon { "env ASAN_OPTIONS;\nenv LSAN_OPTIONS;" } else { "" };
        format!(
            "{first}
{{load_module}}
{user}
daemon {daemon};
{kept}
{processes}
pid {{dir}}/nginx.pid;
lock_file {{dir}}/nginx.lock;
error_log {{dir}}/error.log {log_level};
{main}
events {{
    worker_connections {connections};
{events}
}}
http {{
    {access_log}
    {{temp_paths}}
    default_type application/octet-stream;
{http}
    server {{
        {listen}
        server_name localhost;
        root {{dir}}/html;
{server}
    }}
}}
{after}"
        )
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the site is kept in {}", self.dir.display());
            return;
        }
        if let Err(e) = fs::remove_dir_all(&self.dir) {
            println!("{} could not be removed: {e}", self.dir.display());
        }
    }
}

impl Checked {
    /// Fails unless there is a line with the level, the message and, behind it, one of the places.
    #[track_caller]
    pub fn expect_line(&self, level: &str, message: &str, places: &[String], what: &str) {
        let found = self.output.lines().any(|line| {
            line.contains(&format!("[{level}]"))
                && line.contains(message)
                && (places.is_empty() || places.iter().any(|place| line.ends_with(place)))
        });
        assert!(
            found,
            "{what}: no [{level}] line with {message:?} and its place {places:?} in\n{}",
            self.output
        );
    }
}

/// Whether the line says of a process that it ended with another code than 0.
fn exited_badly(line: &str) -> bool {
    line.split_once(" exited with code ").is_some_and(|(_, code)| code.trim() != "0")
}

/// Numbers of the lines that have the comment `#!`, as `:LINE`.
pub fn lines_marked(conf_path: &Path, conf: &str) -> Vec<String> {
    conf.lines()
        .enumerate()
        .filter(|(_, line)| line.contains("#!"))
        .map(|(index, _)| format!(" in {}:{}", conf_path.display(), index + 1))
        .collect()
}

/// The target of the smallest configuration.
const DOWNLOADS: &str = "location ^~ /downloads/ { internal; alias {dir}/downloads/; }";

/// Keeps nginx's temporary files in the site's directory, those of the modules that it was built with.
fn temp_paths() -> String {
    let others = ["proxy", "fastcgi", "uwsgi", "scgi"];
    let others = others.into_iter().filter(|name| build().has(&format!("http_{name}")));
    std::iter::once("client_body")
        .chain(others)
        .map(|name| format!("{name}_temp_path {{dir}}/temp-{name};"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Workers without privileges, also when the tests run as root: what root may read says nothing.
fn user_directive() -> String {
    if !is_root() {
        return String::new();
    }
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let group = if groups.contains("\nnogroup:") { "nogroup" } else { "nobody" };
    format!("user nobody {group};")
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .unwrap_or_else(|e| panic!("mode of {}: {e}", path.display()));
}

fn push_line(to: &mut String, text: &str) {
    to.push_str(text);
    to.push('\n');
}
