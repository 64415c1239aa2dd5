//! A connection in the hands of one exchange.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{BoxError, Http1, Pool, Shared, Stream};
use crate::slot::Slot;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// A connection to one endpoint for one exchange. Dropping it gives the connection back if nothing is left on it, and
/// closes it otherwise.
pub struct Lease<B>
where
    B: Body + 'static,
{
    pub(super) pool: Pool<B>,
    pub(super) endpoint: Slot,
    pub(super) reused: bool,
    /// How long the endpoint keeps the connection when nothing is asked of it, if it has said.
    pub(super) keep_for: Option<Duration>,
    pub(super) connection: Connection<B>,
}

pub(super) enum Connection<B>
where
    B: Body + 'static,
{
    Http1(Box<Http1<B>>),
    Http2(Rc<Shared<B>>),
    /// Given back or closed.
    Gone,
}

/// A request that got no response.
#[derive(Debug)]
pub struct SendError<B> {
    /// What happened.
    pub error: hyper::Error,
    /// The request, when none of it was sent.
    pub request: Option<Request<B>>,
}

impl<B> Http1<B>
where
    B: Body + 'static,
{
    /// Whether nothing is left on it: the request has gone out whole and the response has come in whole.
    fn is_at_rest(&self) -> bool {
        !self.ended && self.sender.is_ready()
    }
}

impl<B> Http1<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// Lets the connection work; `true` once it has ended.
    fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.ended && self.connection.poll_without_shutdown(cx).is_ready() {
            self.ended = true;
        }
        self.ended
    }

    /// Whether an idle connection can take a request: neither closed nor with bytes on it that nobody asked for.
    pub(super) fn is_usable(&mut self, cx: &mut Context<'_>) -> bool {
        !self.drive(cx) && self.sender.is_ready()
    }
}

impl<B> Lease<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// Whether the connection has served before.
    pub fn reused(&self) -> bool {
        self.reused
    }

    /// Whether HTTP/2 is spoken on it.
    pub fn is_http2(&self) -> bool {
        matches!(self.connection, Connection::Http2(_))
    }

    /// Sends the request and waits for the response's head, doing the connection's work meanwhile.
    ///
    /// # Errors
    /// When no response came; a request that was not sent at all is handed back.
    pub async fn send(mut self, request: Request<B>) -> Result<Response<UpstreamBody<B>>, SendError<B>> {
        let failed = |mut error: hyper::client::conn::TrySendError<Request<B>>| {
            let request = error.take_message();
            SendError { error: error.into_error(), request }
        };
        let response = match &mut self.connection {
            Connection::Http1(http1) => {
                let mut response = pin!(http1.sender.try_send_request(request));
                // The sender is only borrowed to make the future; the rest of the connection is polled beside it.
                let Http1 { connection, ended, .. } = &mut **http1;
                poll_fn(|cx| {
                    if !*ended && connection.poll_without_shutdown(cx).is_ready() {
                        *ended = true;
                    }
                    response.as_mut().poll(cx)
                })
                .await
            }
            Connection::Http2(shared) => {
                let mut sender = shared.sender.clone();
                sender.try_send_request(request).await
            }
            Connection::Gone => unreachable_lease().await,
        };
        let response = response.map_err(failed)?;
        self.keep_for = keep_alive(response.headers());
        Ok(response.map(|incoming| UpstreamBody::new(incoming, self)))
    }

    /// The connection itself, after it has answered 101; with what has been read past that.
    pub fn into_stream(mut self) -> Option<(Stream, Bytes)> {
        match std::mem::replace(&mut self.connection, Connection::Gone) {
            Connection::Http1(http1) => {
                let parts = http1.connection.into_parts();
                let mut stream = parts.io.into_inner();
                stream.become_tunnel();
                Some((stream, parts.read_buf))
            }
            Connection::Http2(_) | Connection::Gone => None,
        }
    }
}

/// A lease is made with a connection and loses it only when it is dropped or taken apart.
async fn unreachable_lease<T>() -> T {
    std::future::pending().await
}

/// The body of a response; its connection is driven by whoever reads it.
pub struct UpstreamBody<B>
where
    B: Body + 'static,
{
    incoming: Incoming,
    lease: Option<Lease<B>>,
}

impl<B> UpstreamBody<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    fn new(incoming: Incoming, lease: Lease<B>) -> Self {
        Self { incoming, lease: Some(lease) }
    }

    /// The lease, for a response that changes protocols.
    pub fn into_lease(mut self) -> Option<Lease<B>> {
        self.lease.take()
    }
}

impl<B> Body for UpstreamBody<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        if let Some(Lease { connection: Connection::Http1(http1), .. }) = &mut this.lease {
            http1.drive(cx);
        }
        let frame = ready!(Pin::new(&mut this.incoming).poll_frame(cx));
        if frame.is_none() {
            this.finish();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl<B> UpstreamBody<B>
where
    B: Body + 'static,
{
    /// Gives the connection back: everything on it has been read.
    fn finish(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }
}

impl<B> Drop for UpstreamBody<B>
where
    B: Body + 'static,
{
    fn drop(&mut self) {
        // hyper stops asking once it has the bytes that Content-Length promised, so the end may never be polled.
        if self.incoming.is_end_stream() {
            self.finish();
        }
    }
}

impl<B> Lease<B>
where
    B: Body + 'static,
{
    /// Gives the connection back if nothing is left on it, and closes it otherwise. A response can end before its
    /// request does: the connection is of no use to anybody else then, and closing it is what ends the upload.
    fn give_back(mut self) {
        if matches!(&self.connection, Connection::Http1(http1) if http1.is_at_rest())
            && let Connection::Http1(http1) = std::mem::replace(&mut self.connection, Connection::Gone)
        {
            self.pool.keep(self.endpoint, http1, self.keep_for);
        }
    }
}

impl<B> Drop for Lease<B>
where
    B: Body + 'static,
{
    fn drop(&mut self) {
        if let Connection::Http2(shared) = &self.connection {
            shared.streams.set(shared.streams.get().saturating_sub(1));
            shared.idle_since.set(self.pool.now());
        }
        self.pool.finished(self.endpoint);
    }
}

/// The time that a response's `Keep-Alive: timeout=5` promises (RFC 2068 19.7.1.1, as servers still write it).
fn keep_alive(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(KEEP_ALIVE)?.to_str().ok()?;
    let timeout = value.split(',').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("timeout").then_some(value.trim())
    })?;
    timeout.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_says_how_long_it_keeps_a_connection() {
        let said = |value: &'static str| {
            keep_alive(&HeaderMap::from_iter([(KEEP_ALIVE, http::HeaderValue::from_static(value))]))
        };
        assert_eq!(said("timeout=5"), Some(Duration::from_secs(5)));
        assert_eq!(said("max=100, Timeout = 2"), Some(Duration::from_secs(2)));
        assert_eq!(said("max=100"), None);
        assert_eq!(said("timeout=soon"), None);
        assert_eq!(keep_alive(&HeaderMap::new()), None);
    }
}
