//! A server under full load: requests per second, and the processor time that each one takes.

use std::error::Error;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use xspace_tests::{
    Address, Nginx, Program, Protocol, Request, Site, gunicorn, median, project_dir,
};

use crate::process;
use crate::variants::{self, Agent, Files, Variant};
use crate::workbench::{Result, Workbench};

/// The server has one processor, nginx and application alike, and the client another one.
pub const SERVER: &str = "0";
const CLIENT: &str = "1";

/// Worker processes of an application: as many as gunicorn's own documentation takes for one
/// processor and a few.
pub const WORKERS: usize = 3;

/// How long status line and header of all responses with 64 KiB are made, in bytes, by HTTP/1.1.
///
/// wrk is faster or slower by up to a fifth with another length, and nothing else: so it is with
/// plain static files and an `add_header` of 20 or of 50 bytes. The field of padding costs all of
/// them about the same.
const HEAD_LEN: usize = 640;

/// The range that is asked for to learn how long a header is.
const LEN_TO_LEARN_FROM: usize = 64 * 1024;

/// How long one variant has the processors in a round.
const TURN: Duration = Duration::from_secs(1);

/// Connections of the client, and streams at once on each where there are streams.
const CONNECTIONS: usize = 16;
const HTTP2_CONNECTIONS: usize = 4;
const STREAMS: usize = 16;

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// wrk
    Http1,
    /// h2load, without TLS
    Http2,
    /// quinn and h3, in this process
    Http3,
}

/// A variant that runs.
#[derive(Debug)]
pub struct Running {
    /// What tables call it.
    pub name: &'static str,
    nginx: Nginx,
    /// The application that it asks, if it asks one.
    application: Option<Program>,
    uri: &'static str,
    cookie: String,
}

/// One turn.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Answers per second.
    pub rate: f64,
    /// Processor time of nginx and application for each, in nanoseconds.
    pub cpu: f64,
}

/// The median of many turns, and the medians of the ratios to another variant in the same rounds.
#[derive(Clone, Debug)]
pub struct Measured {
    pub rate: f64,
    pub cpu: f64,
    pub rate_ratio: f64,
    pub cpu_ratio: f64,
    pub samples: Vec<Sample>,
}

impl Running {
    /// Starts nginx for a variant, beside an application where it asks one.
    pub fn start(
        bench: &Workbench,
        files: &Files,
        variant: &Variant,
        application: Option<Program>,
        cookie: String,
    ) -> Result<Self> {
        let address = application.as_ref().map(|application| application.address().clone());
        Self::start_site(variant, application, cookie, |padding| {
            files.site(bench, variant, address.as_ref(), padding)
        })
    }

    /// Starts nginx for a variant on a site that `site` makes, with responses made as long as
    /// `HEAD_LEN` says by so much padding as it is given.
    pub fn start_site(
        variant: &Variant,
        application: Option<Program>,
        cookie: String,
        site: impl Fn(usize) -> Result<Site>,
    ) -> Result<Self> {
        let start = |padding| {
            Ok::<_, Box<dyn Error>>(
                site(padding)?.under(&["taskset", "--cpu-list", SERVER]).start(),
            )
        };
        let mut running =
            Self { name: variant.name, nginx: start(0)?, application, uri: variant.uri, cookie };
        let padding = HEAD_LEN.saturating_sub(running.head_len()?);
        running.nginx = start(padding)?;
        match running.head_len()? {
            HEAD_LEN => Ok(running),
            len => {
                let name = running.name;
                Err(format!("{name}: a header of {len} bytes can't be made {HEAD_LEN}").into())
            }
        }
    }

    /// The length of status line and header of a response.
    fn head_len(&self) -> Result<usize> {
        let mut connection = self.nginx.raw();
        match connection.ask(self.request(LEN_TO_LEARN_FROM)) {
            response if response.status == 206 => {
                Ok(connection.received().len() - response.body.len())
            }
            response => Err(format!("{}: status {}", self.name, response.status).into()),
        }
    }

    fn request(&self, len: usize) -> Vec<u8> {
        variants::request(self.uri, &self.cookie, len, Agent::Curl)
    }

    /// Asks once and looks at the answer.
    pub fn check(&self, files: &Files, len: usize) -> Result<()> {
        let mut connection = self.nginx.raw();
        files
            .ask(&mut connection, &self.request(len), len)
            .map_err(|e| format!("{}: {e}", self.name).into())
    }

    /// Processor time of nginx and of the application so far, in nanoseconds.
    fn ran(&self) -> Result<u64> {
        self.nginx.wait_worker();
        let mut sum = 0;
        for worker in self.nginx.workers() {
            sum += process::ran(worker)?;
        }
        if let Some(application) = &self.application {
            for worker in application.wait_workers(WORKERS) {
                sum += process::ran(worker)?;
            }
        }
        Ok(sum)
    }

    /// Where nginx listens.
    pub fn address(&self) -> SocketAddr {
        self.nginx.address(Protocol::Http1)
    }

    /// A turn of one client.
    pub fn turn(&self, client: Client, len: usize) -> Result<Sample> {
        self.turn_of(client, len, CONNECTIONS, TURN)
    }

    /// The same with so many connections and for so long. A turn in which somebody else had the
    /// processors, so that nothing was answered at all, is taken again.
    pub fn turn_of(
        &self,
        client: Client,
        len: usize,
        connections: usize,
        time: Duration,
    ) -> Result<Sample> {
        const TRIES: usize = 10;
        for _ in 0..TRIES {
            if let Some(sample) = self.try_turn(client, len, connections, time)? {
                return Ok(sample);
            }
        }
        Err(format!("{}: no answer", self.name).into())
    }

    fn try_turn(
        &self,
        client: Client,
        len: usize,
        connections: usize,
        time: Duration,
    ) -> Result<Option<Sample>> {
        let before = self.ran()?;
        let (count, seconds) = match client {
            Client::Http1 => self.wrk(len, connections, time),
            Client::Http2 => self.h2load(len, time),
            Client::Http3 => self.http3(len, time),
        }
        .map_err(|e| format!("{}: {e}", self.name))?;
        let ran = self.ran()? - before;
        if count == 0 {
            return Ok(None);
        }
        Ok(Some(Sample { rate: count as f64 / seconds, cpu: ran as f64 / count as f64 }))
    }

    fn fields(&self, len: usize) -> Vec<String> {
        let mut fields = vec![format!("Range: {}", variants::range(len))];
        if !self.cookie.is_empty() {
            fields.push(format!("Cookie: {}", self.cookie));
        }
        fields
    }

    fn wrk(&self, len: usize, connections: usize, time: Duration) -> Result<(u64, f64)> {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", CLIENT, "wrk", "--threads", "1", "--timeout", "30s"]);
        command.args(["--connections", &connections.to_string()]);
        command.args(["--duration", &format!("{}s", time.as_secs().max(1))]);
        for field in self.fields(len) {
            command.args(["--header", &field]);
        }
        let text = output(command.arg(self.nginx.url(self.uri)))?;
        if text.contains("Non-2xx") || text.contains("Socket errors") {
            return Err(text.into());
        }
        // `  31234 requests in 1.10s, 2.10GB read`
        let line = text.lines().find(|line| line.contains(" requests in ")).ok_or(&*text)?;
        let mut words = line.split_whitespace();
        let count = words.next().ok_or(line)?.parse()?;
        let time = words.nth(2).ok_or(line)?.trim_end_matches(',');
        let seconds = match (time.strip_suffix("ms"), time.strip_suffix('s')) {
            (Some(milliseconds), _) => milliseconds.parse::<f64>()? / 1e3,
            (None, Some(seconds)) => seconds.parse()?,
            (None, None) => return Err(line.into()),
        };
        Ok((count, seconds))
    }

    fn h2load(&self, len: usize, time: Duration) -> Result<(u64, f64)> {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", CLIENT, "h2load", "--threads", "1"]);
        command.args(["--clients", &HTTP2_CONNECTIONS.to_string()]);
        command.args(["--max-concurrent-streams", &STREAMS.to_string()]);
        command.args(["--duration", &time.as_secs().max(1).to_string()]);
        for field in self.fields(len) {
            command.args(["--header", &field]);
        }
        let text = output(command.arg(self.nginx.url(self.uri)))?;
        let number = |before: &str| {
            let start = text.find(before)? + before.len();
            text.get(start..)?.split([' ', ',']).next()?.parse::<f64>().ok()
        };
        // `status codes: 12345 2xx, …` and `finished in 1.00s, 12345.00 req/s, …`
        let count = number("status codes: ").ok_or(&*text)?;
        for bad in ["3xx", "4xx", "5xx"] {
            if !text.contains(&format!(" 0 {bad}")) {
                return Err(text.into());
            }
        }
        Ok((count as u64, time.as_secs_f64().max(1.0)))
    }

    fn http3(&self, len: usize, time: Duration) -> Result<(u64, f64)> {
        let request = Request::get(self.uri).range(&variants::range(len));
        let requests = vec![request; STREAMS];
        let mut connection = self.nginx.connect(Protocol::Http3);
        let start = Instant::now();
        let mut count = 0;
        while start.elapsed() < time {
            for response in connection.send_all(&requests) {
                if response.status != 206 || response.body.len() != len {
                    return Err(format!("{response:?}").into());
                }
                count += 1;
            }
        }
        Ok((count, start.elapsed().as_secs_f64()))
    }

    /// Ends nginx and fails if it did not run well.
    pub fn stop(self) {
        self.nginx.finish();
    }
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{command:?}: {text}{errors}").into());
    }
    Ok(text)
}

/// Starts a Flask application, `module:name` of `demo/application`, on the server's processor.
pub fn application(name: &str, environment: &[(&str, &OsStr)]) -> Program {
    let workers = WORKERS.to_string();
    let options = ["--workers", &workers, "--log-level", "warning"];
    let address = Address::free();
    let dir = project_dir().join("demo/application");
    let command = gunicorn(&options, &dir, name, &address, environment);
    let application = Program::start(process::on_processors(SERVER, &command), address);
    // The first worker answers before the last one is there.
    application.wait_workers(WORKERS);
    application
}

/// Rounds in which each variant has a turn, one after the other. All are compared with the one at
/// the place `base`, round by round.
pub fn rounds(
    running: &[Running],
    count: usize,
    base: usize,
    turn: impl Fn(&Running) -> Result<Sample>,
) -> Result<Vec<Measured>> {
    let mut samples = vec![Vec::new(); running.len()];
    for _ in 0..count {
        for (running, samples) in running.iter().zip(&mut samples) {
            samples.push(turn(running)?);
        }
    }
    let base = samples[base].clone();
    let measured = samples.into_iter().map(|samples: Vec<Sample>| {
        let ratios = |of: fn(&Sample) -> f64| {
            median(samples.iter().zip(&base).map(|(one, base)| of(one) / of(base)))
        };
        Measured {
            rate: median(samples.iter().map(|sample| sample.rate)),
            cpu: median(samples.iter().map(|sample| sample.cpu)),
            rate_ratio: ratios(|sample| sample.rate),
            cpu_ratio: ratios(|sample| sample.cpu),
            samples,
        }
    });
    Ok(measured.collect())
}
