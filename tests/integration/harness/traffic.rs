//! Clients that keep their connections, over hyper and over the bare socket.

use std::error::Error as _;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::endpoint::{Bodied, Failure, empty, read_exactly, read_head};

/// Nothing that is waited for takes this long unless it never comes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A whole response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Answer {
    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Status and reason of an answer that is the gateway's own.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        (self.status.as_u16(), problem["reason"].as_str().unwrap_or_default().to_owned())
    }
}

/// What a future gives, which must not take for ever.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes for ever")
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let waiting = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "never came: {what}");
}

/// Asks again and again until the answer is the one that is waited for.
pub(crate) async fn until_asked(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, asking).await.is_ok(), "never came: {what}");
}

/// Whether a request certainly did nothing, so that every client asks it again: it never left this side, or its stream is
/// one that a GOAWAY without an error says was not looked at (RFC 9113 6.8).
pub(crate) fn was_not_begun(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    error.is_canceled()
        || error.is_closed()
        || cause.is_some_and(|cause| {
            cause.is_go_away() && cause.is_remote() && cause.reason() == Some(h2::Reason::NO_ERROR)
        })
}

/// A client connection of HTTP/1.1.
pub(crate) async fn http1(address: SocketAddr) -> http1::SendRequest<Bodied> {
    let tcp = TcpStream::connect(address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let (sender, connection) = http1::handshake(TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// A client connection of HTTP/2 by prior knowledge.
pub(crate) async fn http2(address: SocketAddr) -> http2::SendRequest<Bodied> {
    let tcp = TcpStream::connect(address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// A request for HTTP/1.1, of the host `test`.
pub(crate) fn request(method: Method, path: &str, body: Bodied) -> Request<Bodied> {
    Request::builder().method(method).uri(path).header(header::HOST, "test").body(body).unwrap()
}

/// The same for HTTP/2.
pub(crate) fn request2(method: Method, path: &str, body: Bodied) -> Request<Bodied> {
    Request::builder().method(method).uri(format!("http://test{path}")).body(body).unwrap()
}

/// The answer to a request over HTTP/1.1.
pub(crate) async fn ask(sender: &mut http1::SendRequest<Bodied>, request: Request<Bodied>) -> Result<Answer, Failure> {
    sender.ready().await?;
    whole(sender.send_request(request).await?).await
}

/// The answer to a request over HTTP/2.
pub(crate) async fn ask2(sender: &mut http2::SendRequest<Bodied>, request: Request<Bodied>) -> Result<Answer, Failure> {
    sender.ready().await?;
    whole(sender.send_request(request).await?).await
}

/// `GET path` on a connection of its own.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    soon(ask(&mut http1(address).await, request(Method::GET, path, empty()))).await.unwrap()
}

/// Reads a response to its end.
pub(crate) async fn whole(response: http::Response<hyper::body::Incoming>) -> Result<Answer, Failure> {
    let (parts, body) = response.into_parts();
    let collected = body.collect().await?;
    let trailers = collected.trailers().cloned();
    Ok(Answer { status: parts.status, headers: parts.headers, body: collected.to_bytes(), trailers })
}

/// A response's head over the bare socket, and the body that its `Content-Length` promises.
pub(crate) async fn read_response(tcp: &mut TcpStream) -> (String, String) {
    let head = soon(read_head(tcp)).await;
    let length = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.parse().unwrap());
    let body = soon(read_exactly(tcp, length)).await;
    (head, body)
}
