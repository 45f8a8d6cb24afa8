//! HTTP/1 by hand: pipelining, malformed requests, slow readers.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;

use crate::client::Response;
use crate::settings::deadline;

/// A TCP connection.
#[derive(Debug)]
pub struct RawConnection {
    stream: TcpStream,
}

impl RawConnection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("nginx can be reached");
        stream.set_read_timeout(Some(deadline(30))).expect("a read timeout");
        Self { stream }
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
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        // SAFETY: the descriptor is open and the structure is of the size that is named.
        let done = unsafe {
            libc::setsockopt(
                self.stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of::<libc::linger>() as libc::socklen_t,
            )
        };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }

    /// Says that nothing more will be sent.
    pub fn end_writing(&self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is open");
    }
}

/// Splits a stream of HTTP/1.1 answers with Content-Length; `bodies` tells for each whether a
/// body follows (none does after HEAD).
pub fn read_responses(mut stream: &[u8], bodies: &[bool]) -> Vec<Response> {
    let mut responses = Vec::new();
    for &has_body in bodies {
        let end = stream
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap_or_else(|| panic!("no header block in {:?}", String::from_utf8_lossy(stream)));
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
        stream = &stream[end + 4..];
        let mut response = Response { status, headers, body: Vec::new() };
        if has_body {
            let length: usize = response
                .header("content-length")
                .unwrap_or("0")
                .parse()
                .expect("a number in Content-Length");
            assert!(stream.len() >= length, "a body of {} bytes, not {length}", stream.len());
            response.body = stream[..length].to_vec();
            stream = &stream[length..];
        }
        responses.push(response);
    }
    assert!(stream.is_empty(), "{} bytes too many", stream.len());
    responses
}
