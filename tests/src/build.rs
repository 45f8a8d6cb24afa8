//! What is under test: the nginx executable, the module and what this nginx was built with.

use std::collections::BTreeSet;
use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use crate::files::project_dir;

/// What every nginx has that was not configured without it, as far as tests use it.
const DEFAULT_FEATURES: [&str; 12] = [
    "http_access",
    "http_auth_basic",
    "http_charset",
    "http_fastcgi",
    "http_gzip",
    "http_map",
    "http_proxy",
    "http_rewrite",
    "http_scgi",
    "http_ssi",
    "http_uwsgi",
    "pcre",
];

/// The nginx and the module under test.
#[derive(Debug)]
pub struct Build {
    /// The nginx executable.
    pub nginx: PathBuf,
    /// The module; none if it is compiled into nginx.
    pub module: Option<PathBuf>,
    /// The module with the cargo feature `fault-injection`.
    pub fault_module: Option<PathBuf>,
    /// An nginx of the same version that was built without threads and without TLS.
    pub plain_nginx: Option<PathBuf>,
    /// Other modules that each nginx loads, those before the module and those after it.
    pub neighbours: [Vec<PathBuf>; 2],
    version: (u32, u32, u32),
    arguments: String,
}

/// The build that the environment names, `build/nginx` with its module by default.
pub fn build() -> &'static Build {
    static BUILD: OnceLock<Build> = OnceLock::new();
    BUILD.get_or_init(Build::from_environment)
}

impl Build {
    fn from_environment() -> Self {
        let nginx = match env::var_os("XSPACE_TEST_NGINX") {
            Some(path) if !path.is_empty() => PathBuf::from(path),
            _ => project_dir().join("build/nginx"),
        };
        let module = match env::var_os("XSPACE_TEST_MODULE") {
            Some(path) if path.is_empty() => None,
            Some(path) => Some(PathBuf::from(path)),
            None => Some(project_dir().join("build/ngx_http_xspace_module.so")),
        };
        let path_in = |name| env::var_os(name).filter(|p| !p.is_empty()).map(PathBuf::from);
        let fault_module = path_in("XSPACE_TEST_FAULT_MODULE");
        let plain_nginx = path_in("XSPACE_TEST_PLAIN_NGINX");

        let paths_in = |name| env::var_os(name).iter().flat_map(env::split_paths).collect();
        let neighbours: [Vec<_>; 2] = ["XSPACE_TEST_BEFORE", "XSPACE_TEST_AFTER"].map(paths_in);

        let named = module.iter().chain(&fault_module).chain(&plain_nginx);
        for path in named.chain(neighbours.iter().flatten()) {
            assert!(path.is_file(), "there is nothing at {}", path.display());
        }

        let output = Command::new(&nginx)
            .arg("-V")
            .output()
            .unwrap_or_else(|e| panic!("cannot run {}: {e}", nginx.display()));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let version = parse_version(&text)
            .unwrap_or_else(|| panic!("{} -V names no version: {text}", nginx.display()));

        Self { nginx, module, fault_module, plain_nginx, neighbours, version, arguments: text }
    }

    /// The version of this nginx, (1, 28, 3) say.
    pub fn version(&self) -> (u32, u32, u32) {
        self.version
    }

    /// Whether this nginx was configured `--with-<feature>`, `http_v3` or `threads` say, or, of what
    /// is there by default, not `--without-<feature>`.
    pub fn has(&self, feature: &str) -> bool {
        match feature {
            "bare_module" => env::var_os("XSPACE_TEST_BARE_MODULE").is_some(),
            "fault_module" => self.fault_module.is_some(),
            "plain_nginx" => self.plain_nginx.is_some(),
            // A checker of memory has allocation functions of its own.
            "preload" => env::var_os("XSPACE_TEST_NO_PRELOAD").is_none(),
            "http2_directive" => self.version >= (1, 25, 1),
            "add_header_inherit" => self.version >= (1, 29, 3),
            "early_hints" => self.version >= (1, 29, 0),
            "max_headers" => self.version >= (1, 29, 8),
            "brotli" => self.other_module("ngx_http_brotli_filter_module").is_some(),
            "headers_more" => self.other_module("ngx_http_headers_more_filter_module").is_some(),
            "lua" => self.other_module("ngx_http_lua_module").is_some(),
            "njs" => self.other_module("ngx_http_js_module").is_some(),
            _ if DEFAULT_FEATURES.contains(&feature) => !self.is_configured("--without-", feature),
            _ => self.is_configured("--with-", feature),
        }
    }

    fn is_configured(&self, option: &str, feature: &str) -> bool {
        self.arguments.split_whitespace().any(|word| match word.strip_prefix(option) {
            Some(name) => name == feature || name.strip_suffix("_module") == Some(feature),
            None => false,
        })
    }

    /// The file of somebody else's module that is installed for this nginx.
    pub fn other_module(&self, name: &str) -> Option<PathBuf> {
        let directory =
            self.arguments.split_whitespace().find_map(|word| word.strip_prefix("--modules-path="));
        let path = PathBuf::from(directory?).join(format!("{name}.so"));
        path.is_file().then_some(path)
    }

    /// Tells whether this build has the feature, and says on stdout, past the capture of the
    /// test runner, that a test, or its rows for the
    /// feature, were passed over if it has not.
    #[must_use = "a test without the feature it needs has to return"]
    pub fn require(&self, feature: &str) -> bool {
        let has = self.has(feature);
        if !has {
            static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

            let thread = std::thread::current();
            let test = thread.name().unwrap_or("a test");
            let line = format!("passed over: {test} (this nginx has no {feature})\n");
            let mut said = SAID.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if said.insert(line.clone()) {
                // Nothing depends on stdout being open.
                let _ = io::stdout().write_all(line.as_bytes());
            }
        }
        has
    }
}

fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let rest = text.split("nginx version: nginx/").nth(1)?;
    let mut numbers =
        rest.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    Some((numbers.next()?, numbers.next()?, numbers.next()?))
}
