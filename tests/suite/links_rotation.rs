//! The key of links is replaced while clients seek.

use std::env;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use xspace_tests::{LinkKey, Nginx, Protocol, Request, poll};

use crate::common::{ID, PATH, ask, assert_no_recording, assert_recording, recording};
use crate::links::{ANY, cookie, now, site, with_token};

/// For how many seconds a link is good, and a session from its last renewal and from its start.
const LINK: u64 = 2;
const SESSION: &str = "xspace_link_session 2s max=3s;";
const MAX: u64 = 3;

const CLIENTS: usize = 12;

/// Every other pair of clients takes a new link after so many requests, the others keep a session as
/// long as it is good.
const BRIEF: usize = 10;

fn is_brief(client: usize) -> bool {
    client % 4 < 2
}

/// Two servers with the same keys, an application that signs links, and what clients have done.
struct Servers {
    nginx: [Nginx; 2],
    signer: Mutex<LinkKey>,
    stop: AtomicBool,
    /// Requests served for a link and for a session, by client.
    served: Vec<[AtomicUsize; 2]>,
}

impl Servers {
    fn start(key: LinkKey) -> Self {
        let start = || site(SESSION, "").file("keys", key.line()).start();
        Self {
            nginx: [start(), start()],
            signer: Mutex::new(key),
            stop: AtomicBool::new(false),
            served: (0..CLIENTS).map(|_| Default::default()).collect(),
        }
    }

    fn write(&self, server: usize, keys: &[&LinkKey]) {
        let lines: Vec<String> = keys.iter().map(|key| key.line()).collect();
        self.nginx[server].site().write("keys", lines.concat());
        self.nginx[server].reload();
    }

    /// The same keys on both servers, one after the other. Clients go to both in between.
    fn write_all(&self, keys: &[&LinkKey]) {
        for server in 0..self.nginx.len() {
            self.write(server, keys);
            self.wait_served();
        }
    }

    /// Waits until each client was served, and those that are brief with a link and with a session.
    fn wait_served(&self) {
        let load = |counts: &[AtomicUsize; 2]| counts.each_ref().map(|n| n.load(Ordering::Acquire));
        let before: Vec<_> = self.served.iter().map(load).collect();
        let goes_on = || {
            let now = self.served.iter().map(load);
            now.zip(&before).enumerate().all(|(client, (now, before))| {
                let (link, session) = (now[0] > before[0], now[1] > before[1]);
                if is_brief(client) { link && session } else { link || session }
            })
        };
        let stopped = || self.stop.load(Ordering::Acquire);
        assert!(poll(|| stopped() || goes_on()) && !stopped(), "not every client is served");
    }

    /// The three steps of docs/links.md.
    fn rotate(&self, old: &LinkKey, new: &LinkKey) {
        self.write_all(&[old, new]);
        self.write_all(&[new, old]);
        *self.signer.lock().unwrap_or_else(PoisonError::into_inner) = new.clone();
        let ended = now() + MAX;
        assert!(poll(|| now() > ended), "the clock stands still");
        self.write_all(&[new]);
    }

    /// Seeks at both servers in turns: with a link, then with the session alone, then with a new
    /// link.
    fn seek(&self, number: usize) {
        let protocol = [Protocol::Http1, Protocol::Http2][number % 2];
        let addresses: [SocketAddr; 2] = self.nginx.each_ref().map(|nginx| nginx.address(protocol));
        let mut session: Option<(String, u64)> = None;
        let mut turns = addresses.iter().cycle();
        let mut count = 0;
        while !self.stop.load(Ordering::Acquire) {
            let (request, until, kind) = match &session {
                Some((pair, until)) => (Request::get(PATH).header("Cookie", pair), *until, 1),
                None => {
                    let signer = self.signer.lock().unwrap_or_else(PoisonError::into_inner);
                    let until = now() + LINK;
                    let path = with_token(PATH, &signer.token(ID, until, ANY));
                    (Request::get(&path), until, 0)
                }
            };
            let address = *turns.next().expect("it is endless");
            count += 1;
            let request = request.range("bytes=1000-1999");
            let response = ask(protocol, address, &request);
            match response.status {
                206 => {
                    assert_eq!(response.body, &recording()[1000..2000], "{protocol:?}");
                    self.served[number][kind].fetch_add(1, Ordering::AcqRel);
                    if response.header("set-cookie").is_some() {
                        let (pair, _) = cookie(&response);
                        let expiry = pair.rsplit('.').nth(5).and_then(|text| text.parse().ok());
                        session = Some((pair, expiry.expect("an expiry")));
                    }
                }
                // It may have been too late when nginx decided.
                403 if now() > until => session = None,
                _ => panic!("{protocol:?} {request:?}, good until {until}: {response:?}"),
            }
            if is_brief(number) && count % BRIEF == 0 {
                session = None;
            }
        }
    }
}

/// Lets a client that panics end the test at once.
struct StopAtPanic<'s>(&'s AtomicBool);

impl Drop for StopAtPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Release);
        }
    }
}

/// `XSPACE_TEST_ROTATIONS`: how often; once if it is not set.
#[test]
fn no_client_is_refused_while_the_key_is_replaced() {
    let rotations = env::var("XSPACE_TEST_ROTATIONS").map_or(1, |text| {
        text.parse().unwrap_or_else(|_| panic!("XSPACE_TEST_ROTATIONS is {text:?}"))
    });
    let key = |number: usize| LinkKey::new(&format!("k{number}"));
    let servers = Servers::start(key(0));
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let servers = &servers;
            scope.spawn(move || {
                let _stop = StopAtPanic(&servers.stop);
                servers.seek(number);
            });
        }
        let _stop = StopAtPanic(&servers.stop);
        servers.wait_served();
        for number in 0..rotations {
            servers.rotate(&key(number), &key(number + 1));
        }
        servers.stop.store(true, Ordering::Release);
    });
    let sum = |kind: usize| -> usize {
        servers.served.iter().map(|counts| counts[kind].load(Ordering::Acquire)).sum()
    };
    println!("{rotations} rotations: {} requests with a link, {} with a session", sum(0), sum(1));
    // What the old key signed is refused now.
    let path = with_token(PATH, &key(0).token(ID, now() + 60, ANY));
    for nginx in servers.nginx {
        assert_no_recording(&nginx.get(&path), 403, "the old key");
        nginx.finish();
    }
}

/// Why the new key has to be known everywhere before it signs.
#[test]
fn a_key_that_signs_at_once_is_refused_by_the_other_server() {
    let (old, new) = (LinkKey::new("old"), LinkKey::new("new"));
    let servers = Servers::start(old.clone());
    servers.write(0, &[&new, &old]);
    let path = with_token(PATH, &old.token(ID, now() + 60, ANY));
    let (pair, _) = cookie(&servers.nginx[0].get(&path));
    let response = |server: usize| servers.nginx[server].get_with(PATH, "Cookie", &pair);
    assert_recording(&response(0), "it has the new key");
    assert_no_recording(&response(1), 403, "it does not have the new key");
    servers.write(1, &[&old, &new]);
    assert_recording(&response(1), "now it has");
}
