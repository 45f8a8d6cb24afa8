//! Clients that seek in recordings without end, for tests that make life hard for nginx meanwhile.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use xspace_tests::{
    Connection, Error, Nginx, Protocol, Random, Request, Response, block_on, deadline,
    was_not_processed,
};

/// How many there are.
pub const CLIENTS: usize = 200;

/// A recording that is sought in.
pub struct Recording {
    /// The path that is asked for.
    pub path: String,
    /// All contents that the file may have while the clients ask. A range has to be of one of them.
    pub contents: Vec<Vec<u8>>,
}

/// How a client treats its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// HTTP/1.1, a connection for each request: whatever happens to it, happens to the request.
    Anew,
    /// HTTP/1.1, one connection for as long as it lasts.
    Kept,
    /// HTTP/2, one connection for as long as it lasts.
    Http2,
}

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Ranges that came whole and were those of the file.
    pub served: usize,
    /// Answers with another status than 206.
    pub statuses: BTreeMap<u16, usize>,
    /// Requests on a kept connection that was closed before an answer began, as a server may.
    pub unprocessed: usize,
    /// Connections that could not be opened or were lost in the middle of an answer.
    pub broken: usize,
    /// An example of the latter.
    pub example: String,
    /// Those of them that a client had repeated, because the same request was broken before.
    pub broken_again: usize,
    /// What no fault may bring about.
    pub wrong: Vec<String>,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { served, statuses, unprocessed, broken, wrong, .. } = self;
        write!(
            f,
            "{served} served, other statuses {statuses:?}, {unprocessed} not processed, {broken} \
             broken, {} wrong",
            wrong.len()
        )
    }
}

struct Shared {
    address: [SocketAddr; 2],
    recordings: Vec<Recording>,
    stop: AtomicBool,
    counts: Mutex<Counts>,
    /// For each client, how many requests it has made, and how many were served.
    asked: Vec<AtomicUsize>,
    served: Vec<AtomicUsize>,
    /// Statuses that are no mistake now.
    allowed: RwLock<Vec<u16>>,
}

/// The clients at work.
pub struct Seekers {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl Seekers {
    /// Sends the clients off.
    pub fn start(nginx: &Nginx, recordings: Vec<Recording>) -> Self {
        Self::start_as(nginx, recordings, |number| match number % 4 {
            0 => Manner::Http2,
            1 => Manner::Anew,
            _ => Manner::Kept,
        })
    }

    /// Sends clients off that speak HTTP/1.1 only.
    pub fn start_http1(nginx: &Nginx, recordings: Vec<Recording>) -> Self {
        Self::start_as(nginx, recordings, |number| match number % 2 {
            0 => Manner::Anew,
            _ => Manner::Kept,
        })
    }

    fn start_as(nginx: &Nginx, recordings: Vec<Recording>, manner: fn(usize) -> Manner) -> Self {
        let per_client = || (0..CLIENTS).map(|_| AtomicUsize::new(0)).collect();
        let shared = Arc::new(Shared {
            address: [nginx.address(Protocol::Http1), nginx.address(Protocol::Http2)],
            recordings,
            stop: AtomicBool::new(false),
            counts: Mutex::default(),
            asked: per_client(),
            served: per_client(),
            allowed: RwLock::default(),
        });
        let tasks = block_on(async {
            (0..CLIENTS)
                .map(|number| tokio::spawn(seek(Arc::clone(&shared), number, manner(number))))
                .collect()
        });
        let seekers = Self { shared, tasks };
        seekers.serve_all();
        seekers
    }

    /// Answers with these statuses are no mistake from now on.
    pub fn allow(&self, statuses: &[u16]) {
        *self.shared.allowed.write().expect("no client panics") = statuses.to_vec();
    }

    /// Waits until each client has made two more requests, so that one of them began after now.
    #[track_caller]
    pub fn go_on(&self) {
        self.wait(&self.shared.asked, "no client goes on");
    }

    /// Waits until each client was served twice more.
    #[track_caller]
    pub fn serve_all(&self) {
        self.wait(&self.shared.served, "not every client is served");
    }

    #[track_caller]
    fn wait(&self, numbers: &[AtomicUsize], what: &str) {
        let load = |number: &AtomicUsize| number.load(Ordering::Acquire);
        let before: Vec<usize> = numbers.iter().map(load).collect();
        let end = Instant::now() + deadline(120);
        while numbers.iter().zip(&before).any(|(number, before)| load(number) < before + 2) {
            assert!(Instant::now() < end, "{what}: {}", self.counts());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// What has become of the requests so far.
    pub fn counts(&self) -> Counts {
        self.shared.counts.lock().expect("no client panics").clone()
    }

    /// Lets the clients end with the request that they are at. Fails if one of them got what it
    /// must not get, whatever happened.
    #[track_caller]
    pub fn finish(self) -> Counts {
        self.shared.stop.store(true, Ordering::Release);
        block_on(async {
            for task in self.tasks {
                task.await.expect("no client panics");
            }
        });
        let counts = self.shared.counts.lock().expect("no client panics").clone();
        assert!(counts.wrong.is_empty(), "{counts}: {}", counts.wrong.join("\n"));
        counts
    }
}

async fn seek(shared: Arc<Shared>, number: usize, manner: Manner) {
    let mut random = Random::new(number as u64);
    let mut connection = None;
    // A range that did not come: a player asks for it again.
    let mut missing = None;
    while !shared.stop.load(Ordering::Acquire) {
        let is_repeated = missing.is_some();
        let (recording, first, last) = missing.take().unwrap_or_else(|| {
            let recording = &shared.recordings[random.below(shared.recordings.len())];
            let size = recording.contents[0].len();
            let first = random.below(size);
            (recording, first, (first + random.below(64 * 1024)).min(size - 1))
        });
        let request = Request::get(&recording.path).range(&format!("bytes={first}-{last}"));

        let is_new = connection.is_none();
        let outcome = exchange(&shared, manner, connection.take(), &request).await;
        shared.asked[number].fetch_add(1, Ordering::AcqRel);
        let note = |note: &mut dyn FnMut(&mut Counts)| {
            note(&mut shared.counts.lock().expect("no client panics"));
        };
        match outcome {
            Ok((kept, response)) => {
                connection = kept.filter(|_| manner != Manner::Anew);
                let judged = shared.judge(recording, (first, last), &response);
                if matches!(judged, Ok(206)) {
                    shared.served[number].fetch_add(1, Ordering::AcqRel);
                }
                note(&mut |counts| match &judged {
                    Ok(206) => counts.served += 1,
                    Ok(status) => *counts.statuses.entry(*status).or_default() += 1,
                    Err(why) if counts.wrong.len() < 10 => counts.wrong.push(why.clone()),
                    Err(_) => {}
                });
            }
            Err(error) => {
                let unprocessed = was_not_processed(&error)
                    || (!is_new && manner == Manner::Kept && !was_begun(&error));
                note(&mut |counts| {
                    if unprocessed {
                        counts.unprocessed += 1;
                    } else {
                        counts.broken += 1;
                        counts.broken_again += usize::from(is_repeated);
                        counts.example = format!("{manner:?}: {error:?}");
                    }
                });
                missing = Some((recording, first, last));
                // A client that is refused waits a little.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn exchange(
    shared: &Shared,
    manner: Manner,
    connection: Option<Connection>,
    request: &Request,
) -> Result<(Option<Connection>, Response), Error> {
    let mut connection = match connection {
        Some(connection) => connection,
        None if manner == Manner::Http2 => {
            tokio::time::timeout(
                deadline(60),
                Connection::try_open(Protocol::Http2, shared.address[1]),
            )
            .await??
        }
        None => Connection::try_open(Protocol::Http1, shared.address[0]).await?,
    };
    let response = connection.try_send(request).await?;
    Ok((Some(connection), response))
}

/// Whether an answer had begun when the connection was lost.
fn was_begun(error: &Error) -> bool {
    let Some(error) = error.downcast_ref::<hyper::Error>() else { return true };
    // "Connection closed before message completed", or what the system says of such a connection.
    let mut source = std::error::Error::source(error);
    let mut by_system = false;
    while let Some(cause) = source {
        by_system |= cause.downcast_ref::<std::io::Error>().is_some_and(|e| {
            use std::io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
            matches!(e.kind(), BrokenPipe | ConnectionReset | NotConnected)
        });
        source = cause.source();
    }
    !(error.is_incomplete_message() || error.is_canceled() || error.is_closed() || by_system)
}

impl Shared {
    /// The status if all is well with the answer.
    fn judge(
        &self,
        recording: &Recording,
        (first, last): (usize, usize),
        response: &Response,
    ) -> Result<u16, String> {
        let what = format!("{} {first}-{last}", recording.path);
        let Response { status, body, .. } = response;
        if *status != 206 {
            let allowed = self.allowed.read().expect("no client panics");
            // A fault may just have ended: what it allowed is allowed to those who began before.
            return match allowed.contains(status) {
                true => Ok(*status),
                false => Err(format!("{what}: {response:?}")),
            };
        }
        let range = response.header("content-range").unwrap_or_default();
        let fits = recording.contents.iter().any(|content| {
            let last = last.min(content.len() - 1);
            range == format!("bytes {first}-{last}/{}", content.len())
                && content.get(first..=last) == Some(body)
        });
        match fits {
            true => Ok(206),
            false => Err(format!("{what}: not these bytes: {response:?}")),
        }
    }
}
