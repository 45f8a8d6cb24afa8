//! The client of a listener, over each protocol: as light as can be, so that it is not what is
//! measured. It compares the first bytes of each response with the recording and then lets the
//! kernel throw away what arrives, if the protocol allows that.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use quinn::crypto::rustls::QuicClientConfig;
use rustix::net::RecvFlags;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::spawn_local;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use xspace_tests::certificate;

use crate::workbench::Result;

/// How the error begins that is not one of the network.
pub const WRONG: &str = "wrong bytes";

/// What listeners speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// HTTP/1.1
    Http1,
    /// HTTP/1.1 over TLS
    Tls,
    /// HTTP/2 over TLS
    Http2,
    /// HTTP/3
    Http3,
}

impl Over {
    /// What tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Tls => "HTTP/1.1, TLS",
            Self::Http2 => "HTTP/2, TLS",
            Self::Http3 => "HTTP/3",
        }
    }

    fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 | Self::Tls => b"http/1.1",
            Self::Http2 => b"h2",
            Self::Http3 => b"h3",
        }
    }
}

/// What is listened to.
#[derive(Clone, Debug)]
pub struct Target {
    pub over: Over,
    pub address: SocketAddr,
    /// The path of each recording.
    pub paths: Vec<String>,
}

/// How much of a response the receiving side of a connection takes before the player does: as a
/// phone has it, and so that tens of thousands of them fit into the memory of one machine.
const WINDOW: u32 = 32 * 1024;

/// Segments are those of an Ethernet. With those of the loopback device, nginx's sockets would hold
/// fifty times as much.
const SEGMENT: libc::c_int = 1448;

/// Loopback addresses that connections come from: each has 28 000 ports.
const ADDRESSES: u64 = 16;

/// What TLS adds to a record of 16 KiB: its header, the type of its content, its tag.
const RECORD: usize = 16 * 1024;
const RECORD_OVERHEAD: usize = 5 + 1 + 16;

/// The recording's bytes from a position on, which is a multiple of 8: each word has its place.
pub fn word(recording: usize, position: u64) -> [u8; 8] {
    (((recording as u64) << 40) | position).to_le_bytes()
}

/// What the clients of one thread share.
pub struct Shared {
    target: Target,
    tls: ClientConfig,
    endpoints: Vec<quinn::Endpoint>,
}

impl Shared {
    /// In a thread that has a runtime of tokio.
    pub fn new(target: &Target) -> Result<Self> {
        const ENDPOINTS: u8 = 16;
        let endpoints = match target.over {
            Over::Http3 => (0..ENDPOINTS).map(endpoint).collect::<Result<_>>()?,
            _ => Vec::new(),
        };
        Ok(Self { target: target.clone(), tls: tls(target.over)?, endpoints })
    }

    /// How many recordings there are.
    pub fn recordings(&self) -> usize {
        self.target.paths.len()
    }
}

/// A listener's client. It has one connection at a time, and one response on it.
pub struct Client {
    shared: Rc<Shared>,
    number: u64,
    /// Keeps the session of its own, so that only the first handshake of a listener is a full one.
    tls: Arc<ClientConfig>,
    connection: Connection,
    body: Option<Body>,
}

enum Connection {
    None,
    /// Waits for the next request.
    Http1(Line),
    Http2(h2::client::SendRequest<Bytes>, Rc<Cell<bool>>),
    Http3(h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>),
}

enum Body {
    /// The rest of the response is all that comes on it.
    Http1(Line),
    Http2(h2::RecvStream),
    Http3(Box<h3::client::RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>>),
}

enum Line {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Client {
    /// Of the listener with this number.
    pub fn new(shared: &Rc<Shared>, number: u64) -> Self {
        let mut tls = shared.tls.clone();
        tls.resumption = Resumption::in_memory_sessions(1);
        let connection = Connection::None;
        Self { shared: Rc::clone(shared), number, tls: Arc::new(tls), connection, body: None }
    }

    /// Asks for two bytes and reads them, as players do to learn whether there are ranges.
    pub async fn probe(&mut self, recording: usize) -> Result<()> {
        let (body, _) = self.request(recording, 0, Some(1)).await?;
        if let Body::Http1(line) = body {
            self.connection = Connection::Http1(line);
        }
        Ok(())
    }

    /// Asks for a recording from a position on; gives how many bytes came with the header. A
    /// connection that the server has closed meanwhile is replaced by another one, once.
    pub async fn open(&mut self, recording: usize, position: u64) -> Result<usize> {
        let is_kept = !matches!(self.connection, Connection::None);
        let (body, len) = match self.request(recording, position, None).await {
            Err(_) if is_kept => {
                self.connection = Connection::None;
                self.request(recording, position, None).await?
            }
            result => result?,
        };
        self.body = Some(body);
        Ok(len)
    }

    /// Waits for more of the body; gives how many bytes have come, at most so many.
    pub async fn read(&mut self, most: usize) -> Result<usize> {
        match &mut self.body {
            None => Err("no response".into()),
            Some(Body::Http1(line)) => Ok(line.throw_away(most).await?),
            Some(Body::Http2(body)) => {
                let data = body.data().await.ok_or("the response ends")??;
                body.flow_control().release_capacity(data.len())?;
                Ok(data.len())
            }
            Some(Body::Http3(body)) => {
                Ok(body.recv_data().await?.ok_or("the response ends")?.remaining())
            }
        }
    }

    /// The rest of the response is not wanted: HTTP/1.1 closes the connection, the others cancel
    /// the stream.
    pub fn stop(&mut self) {
        self.body = None;
    }

    /// The connection is not good any more.
    pub fn hang_up(&mut self) {
        self.body = None;
        self.connection = Connection::None;
    }

    /// From now on nothing is read or written, and nothing closed until this value goes.
    pub fn vanish(&mut self) {
        if let Connection::Http2(_, is_gone) = &self.connection {
            is_gone.set(true);
        }
    }

    /// A response with its first bytes; gives how many. `last` is the last byte of the range.
    async fn request(
        &mut self,
        recording: usize,
        position: u64,
        last: Option<u64>,
    ) -> Result<(Body, usize)> {
        let range = match last {
            Some(last) => format!("bytes={position}-{last}"),
            None => format!("bytes={position}-"),
        };
        let wanted = last.map_or(usize::MAX, |last| (last + 1 - position) as usize);
        let expected = word(recording, position);
        let (body, first) = match self.shared.target.over {
            Over::Http1 | Over::Tls => {
                let (line, first) = self.request_http1(recording, &range, wanted).await?;
                (Body::Http1(line), first)
            }
            Over::Http2 => {
                let mut body = self.request_http2(recording, &range).await?;
                let first = body.data().await.ok_or("an empty response")??;
                body.flow_control().release_capacity(first.len())?;
                (Body::Http2(body), first)
            }
            Over::Http3 => {
                let mut body = self.request_http3(recording, &range).await?;
                let mut first = body.recv_data().await?.ok_or("an empty response")?;
                let first = first.copy_to_bytes(first.remaining());
                (Body::Http3(Box::new(body)), first)
            }
        };
        let compared = expected.len().min(first.len()).min(wanted);
        if first.is_empty() || first[..compared] != expected[..compared] {
            return Err(format!("{WRONG} for {range}: {:?}", &first[..compared]).into());
        }
        Ok((body, first.len()))
    }

    async fn request_http1(
        &mut self,
        recording: usize,
        range: &str,
        wanted: usize,
    ) -> Result<(Line, Bytes)> {
        let mut line = match std::mem::replace(&mut self.connection, Connection::None) {
            Connection::Http1(line) => line,
            _ => self.connect().await?,
        };
        let path = self.path(recording);
        let agent = self.agent();
        line.write(
            format!(
                "GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {agent}\r\nAccept: */*\r\n\
                 Accept-Encoding: identity\r\nRange: {range}\r\n\r\n"
            )
            .as_bytes(),
        )
        .await?;
        // The rest stays in the kernel.
        let mut buffer = Vec::with_capacity(1024);
        loop {
            if line.read(&mut buffer).await? == 0 {
                return Err("the connection was closed".into());
            }
            let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            if !buffer.starts_with(b"HTTP/1.1 206 ") {
                return Err(String::from_utf8_lossy(&buffer[..end]).into());
            }
            let len = buffer.len() - (end + 4);
            if len >= wanted.min(8) {
                let mut first = Bytes::from(buffer);
                first.advance(end + 4);
                return Ok((line, first));
            }
        }
    }

    async fn request_http2(&mut self, recording: usize, range: &str) -> Result<h2::RecvStream> {
        if !matches!(self.connection, Connection::Http2(..)) {
            let is_gone = Rc::new(Cell::new(false));
            let Line::Tls(stream) = self.connect().await? else { return Err("no TLS".into()) };
            let stream = Gone { stream, is_gone: Rc::clone(&is_gone) };
            let mut builder = h2::client::Builder::new();
            builder.initial_window_size(2 * WINDOW).initial_connection_window_size(4 * WINDOW);
            let (sender, connection) = builder.handshake(stream).await?;
            // Its errors reach the requests.
            spawn_local(async move { drop(connection.await) });
            self.connection = Connection::Http2(sender, is_gone);
        }
        let request = self.message(recording, range)?;
        let Connection::Http2(sender, _) = &mut self.connection else { unreachable!() };
        let mut ready = sender.clone().ready().await?;
        let (response, _) = ready.send_request(request, true)?;
        let response = response.await?;
        match response.status().as_u16() {
            206 => Ok(response.into_body()),
            status => Err(format!("status {status}").into()),
        }
    }

    async fn request_http3(
        &mut self,
        recording: usize,
        range: &str,
    ) -> Result<h3::client::RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>> {
        if !matches!(self.connection, Connection::Http3(_)) {
            let mut transport = quinn::TransportConfig::default();
            transport
                .stream_receive_window((2 * WINDOW).into())
                .receive_window((4 * WINDOW).into());
            let tls = QuicClientConfig::try_from(Arc::clone(&self.tls))?;
            let mut config = quinn::ClientConfig::new(Arc::new(tls));
            config.transport_config(Arc::new(transport));
            let endpoints = &self.shared.endpoints;
            let endpoint = &endpoints[self.number as usize % endpoints.len()];
            let address = self.shared.target.address;
            let connection = endpoint.connect_with(config, address, "localhost")?.await?;
            let connection = h3_quinn::Connection::new(connection);
            let (mut driver, sender) =
                h3::client::builder().send_grease(false).build(connection).await?;
            spawn_local(async move { poll_fn(|cx| driver.poll_close(cx)).await });
            self.connection = Connection::Http3(sender);
        }
        let request = self.message(recording, range)?;
        let Connection::Http3(sender) = &mut self.connection else { unreachable!() };
        let mut stream = sender.send_request(request).await?;
        stream.finish().await?;
        match stream.recv_response().await?.status().as_u16() {
            206 => Ok(stream),
            status => Err(format!("status {status}").into()),
        }
    }

    fn message(&self, recording: usize, range: &str) -> Result<http::Request<()>> {
        let uri = format!("https://localhost{}", self.path(recording));
        Ok(http::Request::get(uri)
            .header("user-agent", self.agent())
            .header("accept", "*/*")
            .header("accept-encoding", "identity")
            .header("range", range)
            .body(())?)
    }

    fn path(&self, recording: usize) -> &str {
        &self.shared.target.paths[recording]
    }

    /// The module tells listeners at one address apart by this field.
    fn agent(&self) -> String {
        format!("listener/{}", self.number)
    }

    async fn connect(&self) -> Result<Line> {
        let socket = TcpSocket::new_v4()?;
        set_option(&socket, libc::IPPROTO_TCP, libc::TCP_MAXSEG, SEGMENT)?;
        // The port is chosen when the other end is known: it can be that of other connections.
        set_option(&socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
        // The kernel doubles it and keeps half for itself.
        socket.set_recv_buffer_size(WINDOW)?;
        socket.bind((source((self.number % ADDRESSES) as u8), 0).into())?;
        let stream = socket.connect(self.shared.target.address).await?;
        stream.set_nodelay(true)?;
        if self.shared.target.over == Over::Http1 {
            return Ok(Line::Plain(stream));
        }
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let stream = connector.connect(ServerName::try_from("localhost")?, stream).await?;
        Ok(Line::Tls(Box::new(stream)))
    }
}

impl Line {
    async fn write(&mut self, request: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(request).await,
            Self::Tls(stream) => {
                stream.write_all(request).await?;
                stream.flush().await
            }
        }
    }

    async fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read_buf(buffer).await,
            Self::Tls(stream) => stream.read_buf(buffer).await,
        }
    }

    /// What comes is neither copied nor decrypted: of TLS, all that follows on the connection is
    /// counted as full records.
    async fn throw_away(&mut self, most: usize) -> io::Result<usize> {
        const BUFFER_LEN: usize = 256 * 1024;
        thread_local!(static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) });

        let (stream, is_encrypted) = match self {
            Self::Plain(stream) => (&*stream, false),
            Self::Tls(stream) => {
                let (stream, tls) = stream.get_mut();
                // Decrypted before it was clear that it is not needed.
                let mut buffer = [0; 4096];
                match tls.reader().read(&mut buffer) {
                    Ok(len) if len > 0 => return Ok(len),
                    _ => (&*stream, true),
                }
            }
        };
        loop {
            let result = stream.try_io(Interest::READABLE, || {
                // With TRUNC, nothing is written to it.
                let mut buffer = BUFFER.take();
                buffer.resize(BUFFER_LEN, 0);
                let end = most.clamp(1, BUFFER_LEN);
                let received = rustix::net::recv(stream, &mut buffer[..end], RecvFlags::TRUNC);
                BUFFER.set(buffer);
                Ok(received?.1)
            });
            match result {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) if is_encrypted => return Ok(len - len * RECORD_OVERHEAD / RECORD),
                Ok(len) => return Ok(len),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => stream.readable().await?,
                Err(e) => return Err(e),
            }
        }
    }
}

/// A connection that goes silent when it is told to.
struct Gone {
    stream: Box<TlsStream<TcpStream>>,
    is_gone: Rc<Cell<bool>>,
}

impl AsyncRead for Gone {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_gone.get() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Gone {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_gone.get() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_gone.get() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_gone.get() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// An address that connections come from.
fn source(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 2 + number)
}

fn endpoint(number: u8) -> Result<quinn::Endpoint> {
    let mut config = quinn::EndpointConfig::default();
    // As in the harness: of a transport parameter with a random number, NGINX looks at the last 16
    // bits only, and may take it for another one.
    config.rng_seed(Some([1; 32]));
    let socket = std::net::UdpSocket::bind((source(number), 0))?;
    Ok(quinn::Endpoint::new(config, None, socket, Arc::new(quinn::TokioRuntime))?)
}

fn tls(over: Over) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate().der.clone())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![over.alpn().to_vec()];
    Ok(config)
}

fn set_option(
    socket: impl AsFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the pointer is to a variable of the length that is given with it.
    let status = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
