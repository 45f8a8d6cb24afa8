//! An application for NGINX to ask: answers by a script and remembers what it was asked. It speaks
//! HTTP/1.1, FastCGI and uwsgi, and can break each rule of theirs that a test wants broken.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use crate::gateway;
use crate::nginx::{poll, wait_for};

/// A server on loopback; it ends when it goes out of scope.
pub struct Application {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// A request as the application got it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// GET, say.
    pub method: String,
    /// Path and query string, as they were sent.
    pub target: String,
    /// Names in small letters, in the order of arrival. Of FastCGI and uwsgi the `HTTP_…`
    /// parameters.
    pub headers: Vec<(String, String)>,
    /// Parameters of FastCGI and uwsgi.
    pub parameters: HashMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
    /// The connection on which it came, counted from 0.
    pub connection: usize,
}

/// An answer, or the beginning of one.
#[derive(Clone, Debug)]
pub struct Reply {
    head: Vec<u8>,
    body: Vec<u8>,
    gate: Option<Gate>,
    delay: Duration,
    pause: Option<Gate>,
    end: End,
}

/// What follows an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The next request.
    KeepAlive,
    /// The connection is closed.
    Close,
    /// The connection is torn down.
    Reset,
}

/// Holds answers back until it is opened.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

/// What an application speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// HTTP/1.1.
    Http,
    /// FastCGI, one request at a time.
    FastCgi,
    /// uwsgi.
    Uwsgi,
}

struct Shared {
    wire: Wire,
    script: Box<dyn Fn(&Asked) -> Reply + Send + Sync>,
    asked: Mutex<Vec<Asked>>,
    /// Requests whose client went away before they were answered.
    left: AtomicUsize,
    stop: AtomicBool,
}

impl Application {
    /// An HTTP server that answers each request as `script` says.
    pub fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::speaking(Wire::Http, script)
    }

    /// A server that gives everyone the same answer.
    pub fn always(reply: Reply) -> Self {
        Self::start(move |_| reply.clone())
    }

    /// A server that speaks what is asked for.
    pub fn speaking(wire: Wire, script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
        Self::listening(listener, wire, script)
    }

    /// A server that gives everyone the same answer, in place of one that has just ended.
    pub fn always_at(address: SocketAddr, reply: Reply) -> Self {
        let listener = wait_for(|| TcpListener::bind(address).ok());
        let listener = listener.unwrap_or_else(|| panic!("{address} is not given up"));
        Self::listening(listener, Wire::Http, move |_| reply.clone())
    }

    fn listening(
        listener: TcpListener,
        wire: Wire,
        script: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            wire,
            script: Box::new(script),
            asked: Mutex::default(),
            left: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let for_thread = Arc::clone(&shared);
        thread::spawn(move || for_thread.listen(&listener));
        Self { address, shared }
    }

    /// Address and port, as `proxy_pass` and `server` take it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked().clone()
    }

    /// The requests so far, which are forgotten.
    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.shared.asked())
    }

    /// The only request so far, which is forgotten.
    #[track_caller]
    pub fn take_only(&self) -> Asked {
        let asked = self.take_asked();
        match <[Asked; 1]>::try_from(asked) {
            Ok([asked]) => asked,
            Err(asked) => panic!("asked {} times, not once: {asked:#?}", asked.len()),
        }
    }

    /// Waits until it was asked so often.
    #[track_caller]
    pub fn wait_asked(&self, count: usize) {
        let enough = poll(|| self.shared.asked().len() >= count);
        assert!(enough, "asked {} times, not {count}", self.shared.asked().len());
    }

    /// Waits until so many clients have gone away before they were answered.
    #[track_caller]
    pub fn wait_left(&self, count: usize) {
        let left = || self.shared.left.load(Ordering::SeqCst);
        assert!(poll(|| left() >= count), "{} clients went away, not {count}", left());
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts; if that cannot be reached it has ended.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn asked(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.asked.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn listen(self: &Arc<Self>, listener: &TcpListener) {
        for (number, stream) in listener.incoming().enumerate() {
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let Ok(stream) = stream else { continue };
            let shared = Arc::clone(self);
            thread::spawn(move || shared.serve(stream, number));
        }
    }

    /// Errors end the connection: what they mean is for nginx, and for the test, to see.
    fn serve(&self, mut stream: TcpStream, connection: usize) {
        // What is written is to leave at once, and in the pieces in which it was written.
        let _ = stream.set_nodelay(true);
        let mut kept = Vec::new();
        loop {
            let request = match self.wire {
                Wire::Http => read_http(&mut stream, &mut kept),
                Wire::FastCgi => gateway::read_fastcgi(&mut stream),
                Wire::Uwsgi => gateway::read_uwsgi(&mut stream),
            };
            let Ok(Some(mut asked)) = request else { return };
            asked.connection = connection;
            self.asked().push(asked.clone());
            match self.answer((self.script)(&asked), &mut stream) {
                Ok(End::KeepAlive) => {}
                Ok(End::Close) | Err(_) => return,
                Ok(End::Reset) => return reset(stream),
            }
        }
    }

    fn answer(&self, reply: Reply, stream: &mut TcpStream) -> io::Result<End> {
        thread::sleep(reply.delay);
        self.pass(reply.gate.as_ref(), stream)?;
        match self.wire {
            Wire::FastCgi => {
                let cgi = [gateway::cgi_head(&reply.head), reply.body].concat();
                stream.write_all(&gateway::fastcgi_reply(&cgi, reply.end == End::KeepAlive))?;
                return Ok(if reply.end == End::KeepAlive { End::Close } else { reply.end });
            }
            // Close follows a uwsgi answer; that ends the body.
            Wire::Uwsgi => {
                stream.write_all(&reply.head)?;
                stream.write_all(&reply.body)?;
                return Ok(if reply.end == End::KeepAlive { End::Close } else { reply.end });
            }
            Wire::Http => {}
        }
        stream.write_all(&reply.head)?;
        self.pass(reply.pause.as_ref(), stream)?;
        stream.write_all(&reply.body)?;
        Ok(reply.end)
    }

    /// Waits for a gate; notes if nginx closes the connection meanwhile.
    fn pass(&self, gate: Option<&Gate>, stream: &TcpStream) -> io::Result<()> {
        let Some(gate) = gate else { return Ok(()) };
        while !gate.wait(Duration::from_millis(20)) {
            if is_closed(stream)? || self.stop.load(Ordering::SeqCst) {
                self.left.fetch_add(1, Ordering::SeqCst);
                return Err(ErrorKind::ConnectionAborted.into());
            }
        }
        Ok(())
    }
}

impl Asked {
    /// The path without the query string.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The query string.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// An argument of the query string, as it was sent.
    pub fn argument(&self, name: &str) -> Option<&str> {
        let mut pairs = self.query().split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The only header of that name.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value);
        let first = values.next();
        assert!(values.next().is_none(), "{name} more than once: {self:#?}");
        first.map(String::as_str)
    }
}

impl Reply {
    /// An answer without a body.
    pub fn status(status: u16) -> Self {
        Self::new(status, "text/plain", "")
    }

    /// An answer with a body, whose length is given.
    pub fn new(status: u16, media_type: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref().to_vec();
        let mut head = format!("HTTP/1.1 {status} Status\r\nContent-Type: {media_type}\r\n");
        // A 204 has no length.
        if status != 204 {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        Self {
            head: head.into_bytes(),
            body,
            gate: None,
            delay: Duration::ZERO,
            pause: None,
            end: End::KeepAlive,
        }
    }

    /// 200 with JSON.
    pub fn json(text: &str) -> Self {
        Self::new(200, "application/json", text)
    }

    /// These bytes and nothing else, then the end of the connection.
    pub fn raw(bytes: impl AsRef<[u8]>) -> Self {
        Self { head: bytes.as_ref().to_vec(), body: Vec::new(), ..Self::status(200) }.close()
    }

    /// One more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let at = self.head.len() - 2;
        self.head.splice(at..at, format!("{name}: {value}\r\n").into_bytes());
        self
    }

    /// The body in chunks of so many bytes, in place of its length.
    #[must_use]
    pub fn chunked(mut self, size: usize) -> Self {
        let head = String::from_utf8(self.head).expect("a head in ASCII");
        let length = format!("Content-Length: {}\r\n", self.body.len());
        self.head = head.replace(&length, "Transfer-Encoding: chunked\r\n").into_bytes();
        let mut chunks = Vec::new();
        for chunk in self.body.chunks(size) {
            chunks.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            chunks.extend_from_slice(chunk);
            chunks.extend_from_slice(b"\r\n");
        }
        chunks.extend_from_slice(b"0\r\n\r\n");
        self.body = chunks;
        self
    }

    /// The body without its length: it ends with the connection.
    #[must_use]
    pub fn without_length(mut self) -> Self {
        let head = String::from_utf8(self.head).expect("a head in ASCII");
        self.head = head.replace(&format!("Content-Length: {}\r\n", self.body.len()), "").into();
        self.close()
    }

    /// Header and body are sent at once, after all else is known of them.
    #[must_use]
    pub fn in_one_piece(mut self) -> Self {
        self.head.append(&mut self.body);
        self
    }

    /// Only the first bytes of the body.
    #[must_use]
    pub fn cut(mut self, len: usize) -> Self {
        self.body.truncate(len);
        self
    }

    /// Nothing is sent before the gate is open.
    #[must_use]
    pub fn behind(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    /// The body is not sent before the gate is open.
    #[must_use]
    pub fn pause_before_body(mut self, gate: &Gate) -> Self {
        self.pause = Some(gate.clone());
        self
    }

    /// Takes so long.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Closes the connection behind it.
    #[must_use]
    pub fn close(mut self) -> Self {
        self.end = End::Close;
        self
    }

    /// Tears the connection down behind it.
    #[must_use]
    pub fn reset(mut self) -> Self {
        self.end = End::Reset;
        self
    }
}

impl Gate {
    /// Lets all pass, also those who come later.
    pub fn open(&self) {
        *self.is_open() = true;
        self.0.1.notify_all();
    }

    fn is_open(&self) -> MutexGuard<'_, bool> {
        self.0.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn wait(&self, longest: Duration) -> bool {
        let is_open = self.is_open();
        if *is_open {
            return true;
        }
        match self.0.1.wait_timeout(is_open, longest) {
            Ok((is_open, _)) => *is_open,
            Err(poisoned) => *poisoned.into_inner().0,
        }
    }
}

/// A request, or nothing if the connection has ended. What came behind it stays in `kept`.
fn read_http(stream: &mut TcpStream, kept: &mut Vec<u8>) -> io::Result<Option<Asked>> {
    let mut buffer = [0; 4096];
    let end = loop {
        if let Some(end) = kept.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        match stream.read(&mut buffer)? {
            0 => return Ok(None),
            count => kept.extend_from_slice(&buffer[..count]),
        }
    };
    let rest = kept.split_off(end + 4);
    let head = String::from_utf8_lossy(&kept[..end]).into_owned();
    *kept = rest;
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let mut asked = Asked {
        method: words.next().unwrap_or_default().to_owned(),
        target: words.next().unwrap_or_default().to_owned(),
        headers: lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
        ..Asked::default()
    };
    let length = asked.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    while kept.len() < length {
        match stream.read(&mut buffer)? {
            0 => return Ok(None),
            count => kept.extend_from_slice(&buffer[..count]),
        }
    }
    let rest = kept.split_off(length);
    asked.body = std::mem::replace(kept, rest);
    Ok(Some(asked))
}

/// Whether the other side has closed the connection.
fn is_closed(stream: &TcpStream) -> io::Result<bool> {
    stream.set_nonblocking(true)?;
    let closed = match stream.peek(&mut [0]) {
        Ok(count) => count == 0,
        Err(e) => e.kind() != ErrorKind::WouldBlock,
    };
    stream.set_nonblocking(false)?;
    Ok(closed)
}

/// Closes a connection with RST in place of FIN.
fn reset(stream: TcpStream) {
    // What happens to a connection that is closed already is for nginx to see.
    let _ = set_socket_linger(&stream, Some(Duration::ZERO));
}
