//! HTTP/1.1, HTTP/2 and HTTP/3 clients behind one type of request and response.

use std::error::Error as _;
use std::fmt;
use std::future::{Future, poll_fn};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, OnceLock};

use bytes::{Buf, Bytes};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::certificate::certificate;
use crate::settings::deadline;

/// For one request and its answer, in seconds; an answer that takes longer will not come.
const DEADLINE: u64 = 60;

/// How a request is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Plain HTTP/1.1.
    Http1,
    /// HTTP/2 over TLS.
    Http2,
    /// HTTP/3.
    Http3,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// An answer with all of its body.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in small letters, in the order of arrival.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A connection that can carry several requests.
pub struct Connection {
    sender: Sender,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
    Http3(h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>, quinn::Endpoint),
}

/// Why there is no answer.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Runs a future on the runtime that all clients share.
pub fn block_on<F: Future>(future: F) -> F::Output {
    runtime().block_on(future)
}

/// A request on its way, whose answer nobody will look at.
#[derive(Debug)]
pub struct Pending(JoinHandle<()>);

impl Pending {
    /// The client takes no more interest: HTTP/2 and HTTP/3 cancel the stream, HTTP/1.1 closes the
    /// connection, and so do the others if this was its only user.
    pub fn leave(self) {
        self.0.abort();
    }
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime")
    })
}

impl Request {
    /// A GET.
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// A HEAD.
    pub fn head(path: &str) -> Self {
        Self::new("HEAD", path)
    }

    /// Any method.
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Asks for a range.
    #[must_use]
    pub fn range(self, value: &str) -> Self {
        self.header("Range", value)
    }

    /// Sends a body.
    #[must_use]
    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    fn build<B>(&self, authority: Option<SocketAddr>, body: B) -> http::Request<B> {
        let uri = match authority {
            Some(address) => format!("https://localhost:{}{}", address.port(), self.path),
            None => self.path.clone(),
        };
        let mut builder = http::Request::builder().method(self.method.as_str()).uri(uri);
        let has_host = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
        if authority.is_none() && !has_host {
            builder = builder.header("Host", "localhost");
        }
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        builder.body(body).unwrap_or_else(|e| panic!("{self:?} is no request: {e}"))
    }
}

impl Response {
    /// The only header of that name. Two of them are never right here, so that fails.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value);
        let first = values.next();
        assert!(values.next().is_none(), "{name} more than once: {self:?}");
        first.map(String::as_str)
    }

    /// The headers without those that differ from one answer to the next by themselves.
    pub fn lasting_headers(&self) -> Vec<(String, String)> {
        self.headers.iter().filter(|(name, _)| name != "date").cloned().collect()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.status)?;
        for (name, value) in &self.headers {
            writeln!(f, "{name}: {value}")?;
        }
        let start = &self.body[..self.body.len().min(200)];
        write!(f, "({} bytes) {:?}", self.body.len(), String::from_utf8_lossy(start))
    }
}

impl Connection {
    /// Opens a connection.
    pub async fn open(protocol: Protocol, address: SocketAddr) -> Self {
        match timeout(deadline(DEADLINE), Self::try_open(protocol, address)).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(e)) => panic!("{protocol:?} connection to {address}: {e}"),
            Err(_) => panic!("{protocol:?} connection to {address}: no answer"),
        }
    }

    /// Opens a connection, or tells why not.
    pub async fn try_open(protocol: Protocol, address: SocketAddr) -> Result<Self, Error> {
        let sender = match protocol {
            Protocol::Http1 => {
                let stream = TcpStream::connect(address).await?;
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                // Its errors reach the request.
                tokio::spawn(connection);
                Sender::Http1(sender)
            }
            Protocol::Http2 => {
                let stream = TcpStream::connect(address).await?;
                let stream = TlsConnector::from(Arc::new(tls(b"h2")))
                    .connect(ServerName::try_from("localhost")?, stream)
                    .await?;
                let (sender, connection) =
                    http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                Sender::Http2(sender)
            }
            Protocol::Http3 => {
                let mut endpoint = quic_endpoint()?;
                let config = QuicClientConfig::try_from(tls(b"h3"))?;
                endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(config)));
                let connection = endpoint.connect(address, "localhost")?.await?;
                let connection = h3_quinn::Connection::new(connection);
                // Not the reserved frame that h3 likes to put behind the request: with it NGINX
                // takes the end of a request to a proxied location for a broken one.
                let (mut driver, sender) =
                    h3::client::builder().send_grease(false).build(connection).await?;
                tokio::spawn(async move { poll_fn(|cx| driver.poll_close(cx)).await });
                Sender::Http3(sender, endpoint)
            }
        };
        Ok(Self { sender })
    }

    /// One request; fails if there is no whole answer.
    #[track_caller]
    pub fn send(&mut self, request: &Request) -> Response {
        match block_on(self.try_send(request)) {
            Ok(response) => response,
            Err(e) => panic!("{request:?}: {e:?}"),
        }
    }

    /// One request, and its whole answer or what went wrong.
    pub async fn try_send(&mut self, request: &Request) -> Result<Response, Error> {
        timeout(deadline(DEADLINE), self.exchange(request)).await?
    }

    /// Sends a request and does not wait.
    pub fn start(mut self, request: Request) -> Pending {
        Pending(runtime().spawn(async move {
            // Whoever leaves does not look at an answer.
            let _ = self.try_send(&request).await;
        }))
    }

    /// The same HTTP/2 or HTTP/3 connection, for requests at the same time.
    pub fn share(&self) -> Self {
        let sender = match &self.sender {
            Sender::Http1(_) => panic!("HTTP/1.1 has one request at a time"),
            Sender::Http2(sender) => Sender::Http2(sender.clone()),
            Sender::Http3(sender, endpoint) => Sender::Http3(sender.clone(), endpoint.clone()),
        };
        Self { sender }
    }

    /// One request, of whose answer the body is read up to at least `count` bytes and then no more,
    /// as a player does that seeks. HTTP/2 and HTTP/3 cancel the stream, and the connection goes
    /// on; that of HTTP/1.1 has to be closed, and cannot be used again.
    #[track_caller]
    pub fn send_until(&mut self, request: &Request, count: usize) -> Response {
        let response =
            block_on(async { timeout(deadline(DEADLINE), self.begin(request, count)).await? });
        response.unwrap_or_else(|e: Error| panic!("{request:?}: {e:?}"))
    }

    /// All at once on this HTTP/2 or HTTP/3 connection; answers in the order of the requests.
    pub fn send_all(&mut self, requests: &[Request]) -> Vec<Response> {
        let tasks: Vec<_> =
            requests.iter().map(|request| (self.share(), request.clone())).collect();
        block_on(async move {
            let handles: Vec<_> = tasks
                .into_iter()
                .map(|(mut connection, request)| {
                    tokio::spawn(async move { connection.try_send(&request).await })
                })
                .collect();
            let mut responses = Vec::new();
            for handle in handles {
                match handle.await.expect("the task ends") {
                    Ok(response) => responses.push(response),
                    Err(e) => panic!("stream {} of many: {e:?}", responses.len()),
                }
            }
            responses
        })
    }

    /// Drops the rest of the body.
    async fn begin(&mut self, request: &Request, count: usize) -> Result<Response, Error> {
        let body = Full::new(Bytes::copy_from_slice(&request.body));
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request.build(None, body)).await?
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request.build(Some(ANY_ADDRESS), body)).await?
            }
            Sender::Http3(sender, _) => {
                let mut stream = sender.send_request(request.build(Some(ANY_ADDRESS), ())).await?;
                stream.finish().await?;
                let (parts, ()) = stream.recv_response().await?.into_parts();
                let mut body = Vec::new();
                while body.len() < count {
                    let Some(chunk) = stream.recv_data().await? else { break };
                    read_all(chunk, &mut body);
                }
                // To drop it cancels the stream; h3-quinn's own way to do that panics where it has
                // begun to read on.
                drop(stream);
                let (status, headers) = (parts.status.as_u16(), headers(&parts.headers));
                return Ok(Response { status, headers, body });
            }
        };
        let (parts, mut incoming) = response.into_parts();
        let mut body = Vec::new();
        while body.len() < count {
            let Some(frame) = incoming.frame().await else { break };
            body.extend(frame?.into_data().unwrap_or_default());
        }
        Ok(Response { status: parts.status.as_u16(), headers: headers(&parts.headers), body })
    }

    async fn exchange(&mut self, request: &Request) -> Result<Response, Error> {
        let body = Full::new(Bytes::copy_from_slice(&request.body));
        match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                collect(sender.send_request(request.build(None, body)).await?).await
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                // The port does not matter to a server with one name.
                let request = request.build(Some(ANY_ADDRESS), body);
                collect(sender.send_request(request).await?).await
            }
            Sender::Http3(sender, _) => {
                let mut stream = sender.send_request(request.build(Some(ANY_ADDRESS), ())).await?;
                // A server that has answered may stop reading (RFC 9114, 4.1): the answer counts.
                if !request.body.is_empty() {
                    let _ = stream.send_data(Bytes::copy_from_slice(&request.body)).await;
                }
                let _ = stream.finish().await;
                let (parts, ()) = stream.recv_response().await?.into_parts();
                let mut body = Vec::new();
                while let Some(chunk) = stream.recv_data().await? {
                    read_all(chunk, &mut body);
                }
                let response = Response {
                    status: parts.status.as_u16(),
                    headers: headers(&parts.headers),
                    body,
                };
                response.check_length(request.method == "HEAD")
            }
        }
    }
}

impl Response {
    /// hyper looks at this itself, h3 does not.
    fn check_length(self, head: bool) -> Result<Self, Error> {
        match self.header("content-length").map(str::parse::<usize>) {
            Some(Ok(length)) if !head && length != self.body.len() && self.status != 304 => {
                Err(format!("{} bytes of {length}", self.body.len()).into())
            }
            _ => Ok(self),
        }
    }
}

/// Whether the server closed the connection before it looked at the request, as it may close one
/// that has nothing to do: a client asks again on another one.
pub fn was_not_processed(error: &Error) -> bool {
    let Some(error) = error.downcast_ref::<hyper::Error>() else { return false };
    let went_away =
        error.source().and_then(|source| source.downcast_ref::<h2::Error>()).is_some_and(|e| {
            e.is_go_away() && e.is_remote() && e.reason() == Some(h2::Reason::NO_ERROR)
        });
    // Closed: the request was not even sent.
    error.is_canceled() || error.is_closed() || went_away
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.sender {
            Sender::Http1(_) => "HTTP/1.1 connection",
            Sender::Http2(_) => "HTTP/2 connection",
            Sender::Http3(..) => "HTTP/3 connection",
        })
    }
}

fn read_all(mut chunk: impl Buf, body: &mut Vec<u8>) {
    while chunk.has_remaining() {
        let part = chunk.chunk();
        body.extend_from_slice(part);
        let count = part.len();
        chunk.advance(count);
    }
}

/// Stands in the authority of HTTP/2 and HTTP/3 requests.
const ANY_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 443);

/// A QUIC client.
fn quic_endpoint() -> std::io::Result<quinn::Endpoint> {
    let mut config = quinn::EndpointConfig::default();
    // quinn sends a transport parameter with a random number, of which NGINX looks at the last 16
    // bits: one connection in a few thousand would fail, for the parameter is taken for another.
    // The seed makes it the same number each time. Connection ids are random all the same.
    config.rng_seed(Some([1; 32]));
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    quinn::Endpoint::new(config, None, socket, Arc::new(quinn::TokioRuntime))
}

async fn collect(response: http::Response<hyper::body::Incoming>) -> Result<Response, Error> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes().to_vec();
    Ok(Response { status: parts.status.as_u16(), headers: headers(&parts.headers), body })
}

fn headers(map: &http::HeaderMap) -> Vec<(String, String)> {
    map.iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect()
}

/// A TLS client that trusts the certificate of this run and nothing else.
fn tls(protocol: &[u8]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate().der.clone()).expect("our own certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the ring provider has the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    config
}
