//! Ports for parallel tests.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process;
use std::sync::Mutex;

/// Below the range that Linux gives to outgoing connections, which could take a port between the
/// look here and the start of nginx.
const FIRST: u16 = 10_000;
const BLOCKS: u32 = 44;
const BLOCK_LEN: u16 = 500;

/// A loopback port that is free for TCP and UDP, and that neither this run of the suite nor another
/// one at the same time hands out once more.
pub fn free_port() -> u16 {
    static BLOCK: Mutex<Option<Block>> = Mutex::new(None);

    let mut block = BLOCK.lock().expect("no test panics while it takes a port");
    loop {
        for port in &mut block.get_or_insert_with(Block::take).ports {
            let address = (Ipv4Addr::LOCALHOST, port);
            if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
                return port;
            }
        }
        // All used up. The old block is given back only after a new one was taken.
        *block = Some(Block::take());
    }
}

/// Ports that are this process's own.
struct Block {
    ports: Range<u16>,
    /// A name that only one process can have. The system takes it back when the process ends.
    _name: UnixListener,
}

impl Block {
    fn take() -> Self {
        for step in 0..BLOCKS {
            let block = process::id().wrapping_add(step) % BLOCKS;
            let name = SocketAddr::from_abstract_name(format!("xspace-test-ports-{block}"))
                .expect("the name is valid");
            if let Ok(name) = UnixListener::bind_addr(&name) {
                let first = FIRST + block as u16 * BLOCK_LEN;
                return Self { ports: first..first + BLOCK_LEN, _name: name };
            }
        }
        panic!("all blocks of ports are taken");
    }
}
