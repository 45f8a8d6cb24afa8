//! What all parts share: where things are, how much is to be measured, on which machine.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Map, Value, json};
use xspace_tests::{build, project_dir};

use crate::plot;

/// The part that a short run measures: it alone can fail for what it measures.
const QUICK_PART: &str = "cost";

/// Whatever goes wrong ends the run.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A measurement of a part.
pub type Measurement = fn(&Workbench) -> Result<Value>;

/// What is to be measured, and where to put things.
#[derive(Debug)]
pub struct Workbench {
    /// A short run: for a look, not for numbers to keep.
    pub quick: bool,
    /// For what is generated, and for the directories that nginx runs in.
    pub dir: PathBuf,
    only: Option<String>,
}

impl Workbench {
    /// Measures the nginx and the module of the harness: `build/nginx` and its module.
    pub fn new(quick: bool, only: Option<String>) -> Result<Self> {
        let bench = Self { quick, dir: project_dir().join("build/bench"), only };
        fs::create_dir_all(&bench.dir)?;
        Ok(bench)
    }

    /// The module for Debian's nginx, which `make debian-module` makes.
    pub fn debian_module(&self) -> PathBuf {
        project_dir().join("build/debian/ngx_http_xspace_module.so")
    }

    /// The media types that come with nginx.
    pub fn mime_types(&self) -> PathBuf {
        project_dir().join("build/bundled/source/conf/mime.types")
    }

    /// Whether all of a part is measured as it is to be kept.
    fn is_whole(&self, part: &str) -> bool {
        !self.quick && self.only.as_ref().is_none_or(|only| only == part)
    }

    /// Where the results of a part are kept.
    fn results(&self, part: &str) -> Result<PathBuf> {
        let dir = if self.is_whole(part) {
            project_dir().join("bench/results")
        } else {
            self.dir.clone()
        };
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// Whether any of a part is wanted. A short run is of one part, unless it is told of another.
    pub fn has_part(&self, part: &str) -> bool {
        match &self.only {
            Some(only) => only.split('/').next() == Some(part),
            None => !self.quick || part == QUICK_PART,
        }
    }

    /// Whether a measurement of a part is wanted.
    pub fn has(&self, part: &str, measurement: &str) -> bool {
        match self.only.as_ref().map(|only| only.split_once('/')) {
            Some(Some(only)) => only == (part, measurement),
            Some(None) => self.has_part(part),
            None => true,
        }
    }

    /// Takes the measurements of a part, or what is wanted of them, and keeps their results.
    pub fn measure(&self, part: &str, measurements: &[(&str, Measurement)]) -> Result<()> {
        self.keep(part, &self.take(part, measurements)?)
    }

    /// Takes the measurements of a part, or what is wanted of them.
    pub fn take(&self, part: &str, measurements: &[(&str, Measurement)]) -> Result<Value> {
        let mut results = Map::new();
        results.insert("machine".into(), self.machine());
        for (name, measure) in measurements {
            if self.has(part, name) {
                let result = measure(self).map_err(|e| format!("{part}/{name}: {e}"))?;
                results.insert((*name).into(), result);
            }
        }
        Ok(Value::Object(results))
    }

    /// Keeps the results of a part: in `bench/results`, which is part of the project, or, if not
    /// all of it was measured, in `build/bench`.
    pub fn keep(&self, part: &str, results: &Value) -> Result<()> {
        let dir = self.results(part)?;
        let path = dir.join(format!("{part}.json"));
        fs::write(&path, format!("{results:#}\n"))?;
        plot::draw(part, results, &dir)?;
        println!("\nWritten to {}", path.display());
        Ok(())
    }

    /// What was measured, and on what.
    pub fn machine(&self) -> Value {
        let version = Command::new(&build().nginx).arg("-v").output();
        let version = version.map(|v| String::from_utf8_lossy(&v.stderr).trim().to_owned());
        let field = |file: &str, name: &str| {
            let text = fs::read_to_string(file).ok()?;
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let word = |file: &str, n: usize| {
            fs::read_to_string(file).ok()?.split_whitespace().nth(n).map(str::to_owned)
        };
        json!({
            "nginx": version.unwrap_or_default(),
            "processor": field("/proc/cpuinfo", "model name"),
            "processors": std::thread::available_parallelism().map_or(0, |n| n.get()),
            "memory": field("/proc/meminfo", "MemTotal"),
            "kernel": word("/proc/sys/kernel/osrelease", 0),
            "load average before": word("/proc/loadavg", 0),
            "tcp_mem in pages": fs::read_to_string("/proc/sys/net/ipv4/tcp_mem")
                .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).ok(),
            "quick": self.quick,
        })
    }
}
