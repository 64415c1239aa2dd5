//! A client that keeps its one connection: HTTP/1.1 or HTTP/2, in clear or over TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use super::http::Response;

/// Nothing that is waited for takes this long unless it never comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection and what was agreed on it. It is driven while something waits for an answer.
pub(crate) struct Client {
    pub(crate) session: Option<Session>,
    sender: Sender,
    runtime: Runtime,
}

/// What a TLS handshake came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// The server's own certificate, as DER.
    pub(crate) leaf: Vec<u8>,
    pub(crate) version: ProtocolVersion,
    pub(crate) alpn: Option<String>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    /// HTTP/1.1 in clear.
    pub(crate) fn http1(address: SocketAddr) -> Self {
        let runtime = runtime();
        let sender = runtime.block_on(async { http1(TcpStream::connect(address).await.unwrap()).await.unwrap() });
        Self { session: None, sender, runtime }
    }

    /// HTTP/2 in clear, by prior knowledge.
    pub(crate) fn http2(address: SocketAddr) -> Self {
        let runtime = runtime();
        let sender = runtime.block_on(async { http2(TcpStream::connect(address).await.unwrap()).await.unwrap() });
        Self { session: None, sender, runtime }
    }

    /// TLS as configured, asking for a name; HTTP/2 when that is agreed on.
    pub(crate) fn tls(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> io::Result<Self> {
        let runtime = runtime();
        let (session, sender) = runtime.block_on(async {
            let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
            let tcp = TcpStream::connect(address).await?;
            let shaking = TlsConnector::from(config.clone()).connect(name, tcp);
            let stream = tokio::time::timeout(PATIENCE, shaking).await??;
            let tls = stream.get_ref().1;
            let session = Session {
                leaf: tls.peer_certificates().unwrap_or_default()[0].to_vec(),
                version: tls.protocol_version().unwrap(),
                alpn: tls.alpn_protocol().map(|protocol| String::from_utf8_lossy(protocol).into_owned()),
            };
            let sender = match session.alpn.as_deref() {
                Some("h2") => http2(stream).await,
                _ => http1(stream).await,
            };
            sender.map(|sender| (session, sender)).map_err(io::Error::other)
        })?;
        Ok(Self { session: Some(session), sender, runtime })
    }

    /// `GET path` of a host.
    pub(crate) fn get(&mut self, host: &str, path: &str) -> Response {
        self.request("GET", host, path, &[]).unwrap()
    }

    /// Any request without a body.
    pub(crate) fn request(
        &mut self,
        method: &str,
        host: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Response, hyper::Error> {
        let scheme = if self.session.is_some() { "https" } else { "http" };
        let mut request = match &self.sender {
            Sender::Http1(_) => Request::builder().uri(path).header("host", host),
            Sender::Http2(_) => Request::builder().uri(format!("{scheme}://{host}{path}")),
        };
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.method(method).body(Full::default()).unwrap();
        let Self { sender, runtime, .. } = self;
        runtime.block_on(async {
            let exchange = async {
                let response = match sender {
                    Sender::Http1(sender) => {
                        sender.ready().await?;
                        sender.send_request(request).await?
                    }
                    Sender::Http2(sender) => {
                        sender.ready().await?;
                        sender.send_request(request).await?
                    }
                };
                let (parts, body) = response.into_parts();
                let body = body.collect().await?.to_bytes().to_vec();
                let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
                Ok(Response {
                    version: format!("{:?}", parts.version),
                    status: parts.status.as_u16(),
                    headers: parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
                    body,
                })
            };
            tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| panic!("no answer: {host}{path}"))
        })
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn http1(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> hyper::Result<Sender> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(Sender::Http1(sender))
}

async fn http2(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> hyper::Result<Sender> {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(Sender::Http2(sender))
}
