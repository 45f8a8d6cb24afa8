//! HTTP/1 by hand: pipelining, malformed requests, slow readers, requests byte for byte and at
//! little cost.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_linger;

use crate::client::Response;
use crate::settings::deadline;

/// A TCP connection.
#[derive(Debug)]
pub struct RawConnection {
    stream: TcpStream,
    is_nonblocking: bool,
    /// What has come of the response to the last request of [`RawConnection::send`].
    received: Vec<u8>,
}

/// How much is read of a response at once.
const CHUNK: usize = 16 * 1024;

impl RawConnection {
    /// Opens a connection.
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("nginx can be reached");
        stream.set_nodelay(true).expect("an option");
        stream.set_read_timeout(Some(deadline(30))).expect("a read timeout");
        Self { stream, is_nonblocking: false, received: Vec::new() }
    }

    /// Opens a connection on which [`RawConnection::receive`] does not wait.
    pub fn open_nonblocking(address: SocketAddr) -> Self {
        let connection = Self::open(address);
        connection.stream.set_nonblocking(true).expect("an option");
        Self { is_nonblocking: true, ..connection }
    }

    /// Sends a request and gives its response, which has to have a Content-Length or no body.
    #[track_caller]
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(request);
        loop {
            if let Some(response) = self.receive() {
                return response;
            }
        }
    }

    /// Sends a request, all responses before it having come in whole.
    pub fn send(&mut self, request: impl AsRef<[u8]>) {
        self.received.clear();
        self.write(request);
    }

    /// Reads once, and gives the response to the request that was sent if it is complete.
    #[track_caller]
    pub fn receive(&mut self) -> Option<Response> {
        let start = self.received.len();
        self.received.resize(start + CHUNK, 0);
        let count = match self.stream.read(&mut self.received[start..]) {
            Ok(0) => panic!("nginx closed the connection"),
            Ok(count) => count,
            Err(e) if e.kind() == ErrorKind::Interrupted => 0,
            Err(e) if e.kind() == ErrorKind::WouldBlock && self.is_nonblocking => 0,
            Err(e) => panic!("reading from nginx: {e}"),
        };
        self.received.truncate(start + count);
        let (response, len) = parse(&self.received, true)?;
        assert_eq!(self.received.len(), len, "more than one response");
        Some(response)
    }

    /// The bytes of the response that came last.
    pub fn received(&self) -> &[u8] {
        &self.received
    }

    /// Writes all of it.
    pub fn write(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).expect("nginx reads");
    }

    /// Reads exactly as many bytes.
    pub fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        let mut buffer = vec![0; count];
        self.stream.read_exact(&mut buffer).expect("nginx writes");
        buffer
    }

    /// Reads until the other side closes.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut buffer = Vec::new();
        match self.stream.read_to_end(&mut buffer) {
            Ok(_) => {}
            // What was read before is the answer all the same.
            Err(e) if e.kind() == ErrorKind::ConnectionReset && !buffer.is_empty() => {}
            Err(e) => panic!("reading from nginx: {e}, after {} bytes", buffer.len()),
        }
        buffer
    }

    /// Reads until the other side closes, in whatever way it does so.
    pub fn read_whatever_comes(&mut self) -> Vec<u8> {
        let mut buffer = Vec::new();
        match self.stream.read_to_end(&mut buffer) {
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("no end of the answer: {:?}", String::from_utf8_lossy(&buffer))
            }
            Ok(_) | Err(_) => buffer,
        }
    }

    /// Closes the connection with a reset, as a client does that has lost its network or its life.
    pub fn reset(self) {
        set_socket_linger(&self.stream, Some(Duration::ZERO)).expect("an option");
    }

    /// Says that nothing more will be sent.
    pub fn end_writing(&self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is open");
    }
}

/// Waits until connections can be read, at most so long, and gives their places.
pub fn wait_readable<'c>(
    connections: impl IntoIterator<Item = &'c RawConnection>,
    timeout: Duration,
) -> Vec<usize> {
    let mut fds: Vec<PollFd<'_>> = connections
        .into_iter()
        .map(|connection| PollFd::new(&connection.stream, PollFlags::IN))
        .collect();
    let timeout = Timespec::try_from(timeout).expect("a time that is not too long");
    match rustix::event::poll(&mut fds, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(e) => panic!("poll: {e}"),
    }
    let ready = fds.iter().enumerate().filter(|(_, fd)| !fd.revents().is_empty());
    ready.map(|(place, _)| place).collect()
}

/// Splits a stream of HTTP/1.1 answers with Content-Length; `bodies` tells for each whether a
/// body follows (none does after HEAD).
pub fn read_responses(mut stream: &[u8], bodies: &[bool]) -> Vec<Response> {
    let mut responses = Vec::new();
    for &has_body in bodies {
        let (response, len) = parse(stream, has_body)
            .unwrap_or_else(|| panic!("no whole answer: {:?}", String::from_utf8_lossy(stream)));
        responses.push(response);
        stream = &stream[len..];
    }
    assert!(stream.is_empty(), "{} bytes too many", stream.len());
    responses
}

/// The first response of a stream, and its length in bytes; nothing if there is no whole one.
fn parse(stream: &[u8], has_body: bool) -> Option<(Response, usize)> {
    let end = stream.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&stream[..end]).expect("headers in ASCII");
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("no status in {head:?}"));
    let headers = lines
        .map(|line| {
            let (name, value) = line.split_once(": ").expect("a header line");
            (name.to_ascii_lowercase(), value.to_owned())
        })
        .collect();
    let mut response = Response { status, headers, body: Vec::new() };
    let mut len = end + 4;
    if has_body {
        let body: usize = response
            .header("content-length")
            .unwrap_or("0")
            .parse()
            .expect("a number in Content-Length");
        response.body = stream.get(len..len + body)?.to_vec();
        len += body;
    }
    Some((response, len))
}
