//! Making a connection to an endpoint.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::upstream::{Permit, Transport};

/// A connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// TCP.
    #[error("connect: {0}")]
    Tcp(#[source] io::Error),
    /// TLS, the certificate's verification included.
    #[error("TLS handshake: {0}")]
    Tls(#[source] io::Error),
    /// HTTP/2's preface and settings.
    #[error("HTTP handshake: {0}")]
    Http(#[source] hyper::Error),
    /// As many requests wait for a connection as may.
    #[error("too many requests wait for a connection")]
    Full,
}

/// How far the making of a connection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// It waits for a connection that may be used, or for the right to make one.
    #[default]
    Acquire,
    /// TCP.
    Connect,
    /// The TLS handshake.
    Tls,
}

/// A connection to an endpoint, in clear or not.
#[derive(Debug)]
pub enum Stream {
    /// In clear.
    Tcp(Socket),
    /// Over TLS.
    Tls(Box<TlsStream<Socket>>),
}

/// A socket whose other end may stop listening before it stops talking.
///
/// A backend that has heard enough of a request answers and closes, and the rest of the request meets a reset. A
/// TLS library would take the failed write for the end of the connection, and the answer would never be read. Here a write to a peer that is
/// gone succeeds and goes nowhere; what the peer said is read, and then its end.
#[derive(Debug)]
pub struct Socket {
    tcp: TcpStream,
    /// It is a tunnel's: a failed write is the end.
    tunnel: bool,
    /// A write has failed.
    deaf: bool,
    /// Its place under the bound on connections, where there is one.
    permit: Option<Permit>,
}

impl Socket {
    fn new(tcp: TcpStream, permit: Option<Permit>) -> Self {
        Self { tcp, tunnel: false, deaf: false, permit }
    }

    fn written(&mut self, result: Poll<io::Result<usize>>, length: usize) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Err(error))
                if !self.tunnel
                    && matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                self.deaf = true;
                Poll::Ready(Ok(length))
            }
            result => result,
        }
    }
}

impl Stream {
    /// From here on it is a tunnel, with no answer to be read.
    pub(super) fn become_tunnel(&mut self) {
        let socket = match self {
            Self::Tcp(socket) => socket,
            Self::Tls(stream) => stream.get_mut().0,
        };
        socket.tunnel = true;
    }

    /// Its place under the bound on connections, where there is one.
    pub(super) fn permit(&self) -> Option<&Permit> {
        match self {
            Self::Tcp(socket) => socket.permit.as_ref(),
            Self::Tls(stream) => stream.get_ref().0.permit.as_ref(),
        }
    }
}

/// Which versions of HTTP an endpoint may choose from, where it has the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Versions {
    /// HTTP/2 and HTTP/1.1.
    Any,
    /// HTTP/1.1.
    OnlyHttp1,
}

/// A connection, and whether HTTP/2 is spoken on it. It begins with the announcement; `reached` is told how far it has come.
pub(super) async fn connect(
    transport: &Transport,
    address: SocketAddr,
    versions: Versions,
    announcement: Option<Vec<u8>>,
    permit: Option<Permit>,
    reached: impl Fn(Stage),
) -> Result<(Stream, bool), ConnectError> {
    reached(Stage::Connect);
    let mut tcp = TcpStream::connect(address).await.map_err(ConnectError::Tcp)?;
    // A request goes out in one write; waiting for more would only delay it. Failing to say so hurts nothing.
    let _ = tcp.set_nodelay(true);
    if let Some(announcement) = announcement {
        tcp.write_all(&announcement).await.map_err(ConnectError::Tcp)?;
    }
    let tcp = Socket::new(tcp, permit);
    match transport {
        Transport::Http1 => Ok((Stream::Tcp(tcp), false)),
        Transport::H2c => Ok((Stream::Tcp(tcp), true)),
        Transport::Tls(tls) => {
            let config = match versions {
                Versions::Any => tls.config.clone(),
                Versions::OnlyHttp1 => {
                    let mut config = rustls::ClientConfig::clone(&tls.config);
                    config.alpn_protocols = vec![b"http/1.1".to_vec()];
                    Arc::new(config)
                }
            };
            reached(Stage::Tls);
            let connector = TlsConnector::from(config);
            let stream = connector.connect(tls.server_name.clone(), tcp).await.map_err(ConnectError::Tls)?;
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            Ok((Stream::Tls(Box::new(stream)), http2))
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.deaf {
            return Poll::Ready(Ok(buf.len()));
        }
        let result = Pin::new(&mut this.tcp).poll_write(cx, buf);
        this.written(result, buf.len())
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length = bufs.iter().map(|buf| buf.len()).sum();
        if this.deaf {
            return Poll::Ready(Ok(length));
        }
        let result = Pin::new(&mut this.tcp).poll_write_vectored(cx, bufs);
        this.written(result, length)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match (self.get_mut(), bufs) {
            // A request without a body is one piece, and sending one piece is cheaper than gathering it.
            (Self::Tcp(stream), [head]) => Pin::new(stream).poll_write(cx, head),
            (Self::Tcp(stream), _) => Pin::new(stream).poll_write_vectored(cx, bufs),
            (Self::Tls(stream), _) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
