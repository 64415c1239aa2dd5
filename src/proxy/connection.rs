//! One client connection, from its first byte to its last.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::framing::Refusal;
use super::tls::{HandshakeError, Session};
use super::told::Told;
use super::upgrade::Tunnel;
use super::{Worker, forward, http1, http2, proxy_protocol};
use crate::address::Trust;
use crate::drain::Phase;
use crate::telemetry::HandshakeFailure;
use crate::upstream::Announced;

/// The first bytes of a connection must tell the protocol within this time.
const FIRST_BYTES: Duration = Duration::from_secs(60);
/// A load balancer says within this time whom it has connected for.
const ANNOUNCEMENT: Duration = Duration::from_secs(5);
/// A connection that nothing has been asked on has this long once the process drains: what it was opened for may be on
/// its way.
pub(super) const LAST_CHANCE: Duration = Duration::from_millis(500);

/// The head of a request must be whole this long after its first byte.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A client must take some of what is sent within this time.
pub(super) const WRITE_STALL: Duration = Duration::from_secs(30);

/// The client at the other end of a connection, or the one that a proxy we trust has told of.
pub(super) struct Client {
    /// Why what it sent last was refused, if that was so.
    pub(super) refusal: Rc<Cell<Option<Refusal>>>,
    /// Its address, as headers carry it.
    pub(super) ip_text: HeaderValue,
    /// Its address and those of the proxies after it.
    pub(super) chain: HeaderValue,
    /// The host that it asked for, if that is not the one of the request.
    pub(super) host: Option<HeaderValue>,
    /// The port it came to, as headers carry it.
    pub(super) port_text: HeaderValue,
    /// The connection's TLS, if it has that.
    pub(super) tls: Option<Session>,
    ip: IpAddr,
    secure: bool,
    /// It is a proxy whose word is taken.
    trusted: bool,
    connection: Rc<Connection>,
}

/// What requests of one connection share.
struct Connection {
    address: SocketAddr,
    address_text: HeaderValue,
    /// Our end of it.
    local: SocketAddr,
    http1: Cell<bool>,
    /// Something has been asked on the connection.
    asked: Cell<bool>,
    /// Nothing more is to be asked on it: what its client proved is not what has to be proved now.
    outdated: Cell<bool>,
    tunnel: RefCell<Option<Tunnel>>,
}

impl Client {
    fn new(trust: &Trust, address: SocketAddr, local: SocketAddr, tls: Option<Session>) -> Rc<Self> {
        let ip_text = forward::ip_value(address.ip());
        let secure = tls.is_some();
        Rc::new(Self {
            refusal: Rc::default(),
            chain: ip_text.clone(),
            ip_text: ip_text.clone(),
            host: None,
            port_text: HeaderValue::from(local.port()),
            tls,
            ip: address.ip(),
            secure,
            trusted: trust.proxies.contains(address.ip()),
            connection: Rc::new(Connection {
                address,
                address_text: ip_text,
                local,
                http1: Cell::new(true),
                asked: Cell::new(false),
                outdated: Cell::new(false),
                tunnel: RefCell::new(None),
            }),
        })
    }

    /// The client of a request with these headers: this one, unless it is a proxy that speaks for another.
    pub(super) fn as_told(self: Rc<Self>, trust: &Trust, headers: &HeaderMap) -> Rc<Self> {
        if !self.trusted {
            return self;
        }
        let Told { client, chain, secure, host, port } = Told::read(headers, self.ip, &trust.proxies);
        Rc::new(Self {
            refusal: self.refusal.clone(),
            ip_text: forward::ip_value(client),
            chain,
            host,
            port_text: port.unwrap_or_else(|| self.port_text.clone()),
            tls: self.tls.clone(),
            ip: client,
            secure: secure.unwrap_or(self.secure),
            trusted: true,
            connection: self.connection.clone(),
        })
    }

    /// Its address.
    pub(super) fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The address at the other end of the connection.
    pub(super) fn peer_ip(&self) -> IpAddr {
        self.connection.address.ip()
    }

    /// The same, as headers carry addresses.
    pub(super) fn peer_text(&self) -> &HeaderValue {
        &self.connection.address_text
    }

    /// Whom a connection to an endpoint speaks for on its behalf. Of a client that a proxy has told of, no port is known.
    pub(super) fn announced(&self) -> Announced {
        let Connection { address, local, .. } = *self.connection;
        let port = if self.ip == address.ip() { address.port() } else { 0 };
        Announced { source: SocketAddr::new(self.ip, port), destination: local }
    }

    /// Whether it speaks TLS, to us or to a proxy that we trust.
    pub(super) fn secure(&self) -> bool {
        self.secure
    }

    /// Something is being asked on the connection.
    pub(super) fn ask(&self) {
        self.connection.asked.set(true);
    }

    /// Whether something has been asked on it.
    pub(super) fn has_asked(&self) -> bool {
        self.connection.asked.get()
    }

    /// It speaks HTTP/2.
    pub(super) fn speaks_http2(&self) {
        self.connection.http1.set(false);
    }

    /// Whether it speaks HTTP/1.
    pub(super) fn is_http1(&self) -> bool {
        self.connection.http1.get()
    }

    /// The connection is closed as soon as what has been asked on it is answered.
    pub(super) fn outdate(&self) {
        self.connection.outdated.set(true);
    }

    /// Whether it is to be closed.
    pub(super) fn is_outdated(&self) -> bool {
        self.connection.outdated.get()
    }

    /// The connection becomes a tunnel as soon as the response to the upgrade has gone out.
    pub(super) fn open_tunnel(&self, tunnel: Tunnel) {
        *self.connection.tunnel.borrow_mut() = Some(tunnel);
    }

    /// What the connection has become, if that is a tunnel.
    pub(super) fn take_tunnel(&self) -> Option<Tunnel> {
        self.connection.tunnel.borrow_mut().take()
    }
}

/// Whom a connection is for: its other end, unless that is a load balancer that says so first. `None` when one that is to
/// say so does not.
async fn announced(worker: &Worker, tcp: &mut TcpStream, address: SocketAddr) -> Option<SocketAddr> {
    if !worker.trust.proxy_protocol.contains(address.ip()) {
        return Some(address);
    }
    match in_time(worker, ANNOUNCEMENT, proxy_protocol::read(tcp)).await? {
        Ok(announced) => Some(announced.unwrap_or(address)),
        Err(error) => {
            // Those that only look whether the port is open are no mistake.
            if error.kind() == std::io::ErrorKind::InvalidData {
                worker.complain(|| tracing::warn!(%error, from = %address, "connection refused: no PROXY protocol"));
            }
            None
        }
    }
}

/// Serves a connection in clear: HTTP/1.1, or HTTP/2 by prior knowledge.
pub(super) async fn serve_clear(worker: Rc<Worker>, mut tcp: TcpStream, address: SocketAddr, local: SocketAddr) {
    let Some(address) = announced(&worker, &mut tcp, address).await else { return };
    let Some(Ok((already, http2))) = in_time(&worker, FIRST_BYTES, sniff(&mut tcp)).await else { return };
    let client = Client::new(&worker.trust, address, local, None);
    if http2 {
        Box::pin(http2::serve(worker, client, tcp, &already)).await;
    } else {
        http1::serve(worker, client, tcp, &already).await;
    }
}

/// Serves a connection over TLS, with what ALPN has agreed on.
pub(super) async fn serve_tls(worker: Rc<Worker>, mut tcp: TcpStream, address: SocketAddr, local: SocketAddr) {
    let Some(address) = announced(&worker, &mut tcp, address).await else { return };
    let began = Instant::now();
    // Boxed, like what follows for HTTP/2, since a connection is to take no more memory than what it is now needs.
    let handshake = in_time(&worker, super::tls::HANDSHAKE, Box::pin(worker.tls.accept(tcp))).await;
    let (stream, session) = match handshake {
        Some(Ok(accepted)) => accepted,
        Some(Err(error)) => {
            worker.metrics.handshake_failed(match error {
                HandshakeError::NoCertificate => HandshakeFailure::NoCertificate,
                HandshakeError::ClientCertificate(_) => HandshakeFailure::ClientCertificate,
                HandshakeError::Hello(_) | HandshakeError::Handshake(_) => HandshakeFailure::Protocol,
            });
            tracing::debug!(%error, client = %address, "TLS handshake failed");
            return;
        }
        None => {
            worker.metrics.handshake_failed(HandshakeFailure::Timeout);
            return;
        }
    };
    worker.metrics.handshake_done(began.elapsed());
    let http2 = session.http2;
    let client = Client::new(&worker.trust, address, local, Some(session));
    if http2 {
        Box::pin(http2::serve(worker, client, stream, &[])).await;
    } else {
        http1::serve(worker, client, stream, &[]).await;
    }
}

/// What comes before the first request of a connection, unless it takes longer than `limit` or the drain cuts it short.
async fn in_time<T>(worker: &Worker, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut deadline = worker.clock.deadline();
    deadline.set(limit);
    let mut told = false;
    let registration = worker.connections.register();
    poll_fn(|cx| {
        registration.waker(cx);
        if let Poll::Ready(value) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(value));
        }
        if !told && worker.phase() >= Phase::Draining {
            told = true;
            deadline.set(LAST_CHANCE);
        }
        deadline.poll(cx).map(|()| None)
    })
    .await
}

/// Reads until it is clear whether the connection begins with HTTP/2's preface.
async fn sniff(tcp: &mut TcpStream) -> std::io::Result<(Vec<u8>, bool)> {
    let mut read = Vec::with_capacity(1024);
    loop {
        if tcp.read_buf(&mut read).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let common = read.iter().zip(http2::PREFACE).take_while(|(a, b)| a == b).count();
        if common == http2::PREFACE.len() {
            return Ok((read, true));
        }
        if common < read.len() {
            return Ok((read, false));
        }
    }
}
