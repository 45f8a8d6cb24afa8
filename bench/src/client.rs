//! A client for HTTP/1.1 that keeps its connection: it costs little, and sends what it is told.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use crate::workbench::Result;

/// How much is read at once.
const CHUNK: usize = 16 * 1024;

/// A connection with at most one request on its way.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer that has come in whole.
#[derive(Clone, Copy, Debug)]
pub struct Response<'c> {
    /// The status code.
    pub status: u16,
    head: &'c str,
    /// The body.
    pub body: &'c [u8],
}

impl<'c> Response<'c> {
    /// The length of status line and header, in bytes.
    pub fn head_len(&self) -> usize {
        self.head.len()
    }

    /// The value of a header field, whose name stands here as nginx writes it.
    pub fn header(&self, name: &str) -> Option<&'c str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn parse(bytes: &'c [u8]) -> Result<Option<Self>> {
        let Some(len) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else {
            return Ok(None);
        };
        let (head, body) = bytes.split_at(len + 4);
        let head = std::str::from_utf8(head)?;
        let status = head.get(9..12).ok_or("no status")?.parse()?;
        let mut response = Self { status, head, body };
        let len = match response.header("Content-Length") {
            Some(len) => len.parse()?,
            None if status == 204 => 0,
            None => return Err(format!("no length: {head}").into()),
        };
        if body.len() > len {
            return Err("more than was asked for".into());
        }
        response.body = body;
        Ok((body.len() == len).then_some(response))
    }
}

/// Waits until connections can be read, at most so long, and gives their places.
pub fn wait(connections: &[Connection], timeout: Duration) -> Result<Vec<usize>> {
    let mut fds: Vec<libc::pollfd> = connections
        .iter()
        .map(|connection| libc::pollfd { fd: connection.fd(), events: libc::POLLIN, revents: 0 })
        .collect();
    let timeout = libc::timespec {
        tv_sec: timeout.as_secs() as libc::time_t,
        tv_nsec: timeout.subsec_nanos().into(),
    };
    let count = fds.len() as libc::nfds_t;
    // SAFETY: the addresses are those of `count` elements and of a time; no signal mask is given.
    let ready =
        unsafe { libc::ppoll(fds.as_mut_ptr(), count, &raw const timeout, std::ptr::null()) };
    if ready < 0 {
        let error = std::io::Error::last_os_error();
        if error.kind() != ErrorKind::Interrupted {
            return Err(error.into());
        }
        return Ok(Vec::new());
    }
    Ok(fds.iter().enumerate().filter(|(_, fd)| fd.revents != 0).map(|(place, _)| place).collect())
}

impl Connection {
    /// Opens a connection on which reading and writing wait, but not for ever.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        Ok(Self { stream, buffer: Vec::with_capacity(2 * CHUNK) })
    }

    /// Opens a connection on which nothing waits.
    pub fn open_for_polling(address: SocketAddr) -> Result<Self> {
        let connection = Self::open(address)?;
        connection.stream.set_nonblocking(true)?;
        Ok(connection)
    }

    /// For `poll()`.
    pub fn fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// Sends a request. The last answer is forgotten.
    pub fn send(&mut self, request: &[u8]) -> Result<()> {
        self.buffer.clear();
        // Some hundred bytes always fit into an empty socket buffer.
        Ok(self.stream.write_all(request)?)
    }

    /// Reads what there is and returns the answer if it is complete.
    pub fn receive(&mut self) -> Result<Option<Response<'_>>> {
        let start = self.buffer.len();
        self.buffer.resize(start + CHUNK, 0);
        let read = match self.stream.read(&mut self.buffer[start..]) {
            Ok(0) => return Err("nginx closed the connection".into()),
            Ok(read) => read,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
            Err(e) => return Err(e.into()),
        };
        self.buffer.truncate(start + read);
        Response::parse(&self.buffer)
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, request: &[u8]) -> Result<Response<'_>> {
        self.send(request)?;
        loop {
            let start = self.buffer.len();
            self.buffer.resize(start + CHUNK, 0);
            let read = self.stream.read(&mut self.buffer[start..])?;
            self.buffer.truncate(start + read);
            if read == 0 {
                return Err("nginx closed the connection".into());
            }
            if Response::parse(&self.buffer)?.is_some() {
                break;
            }
        }
        Response::parse(&self.buffer)?.ok_or_else(|| "no answer".into())
    }
}
