//! Ports for parallel tests.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the range that Linux gives to outgoing connections, which could take a port between the
/// look here and the start of nginx.
const FIRST: u32 = 10_000;
const COUNT: u32 = 22_000;

/// A loopback port that is free for TCP and UDP; never the same one twice in a run, unless it
/// has gone through all of them.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);

    // Two runs at once begin at different places; should they meet, nginx says that the port
    // is taken and is started again with other ports.
    let start = process::id().wrapping_mul(7919);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = (FIRST + start.wrapping_add(step) % COUNT) as u16;
        let address = (Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}
