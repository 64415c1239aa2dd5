//! A connection in the hands of one exchange.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri, header, uri};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{BoxError, Pool, Shared, Stream};
use crate::field_kinds::FieldKinds;
use crate::slot::Slot;
use crate::upstream::http1::{self, Head, Http1, KEEP_ALIVE};
use crate::upstream::{Announced, Permit};

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
    /// When the connection was made, and how many exchanges it has served.
    pub(super) born: u64,
    pub(super) served: u32,
    pub(super) connection: Connection<B>,
    /// Whom the connection speaks for, if it has said so.
    pub(super) speaks_for: Option<Rc<Announced>>,
    /// The exchange's place among those under way, where they are bounded.
    permit: Option<Permit>,
}

pub(super) enum Connection<B>
where
    B: Body + 'static,
{
    Http1(Box<Http1<Stream, B>>),
    Http2(Rc<Shared<B>>),
    /// Given back or closed.
    Gone,
}

/// An exchange with an endpoint broke off.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// Over HTTP/1.1.
    #[error(transparent)]
    Http1(#[from] http1::Error),
    /// Over HTTP/2.
    #[error(transparent)]
    Http2(#[from] hyper::Error),
}

impl ExchangeError {
    /// Whether the endpoint has answered something that is no HTTP.
    pub fn is_malformed(&self) -> bool {
        match self {
            Self::Http1(error) => matches!(error, http1::Error::Malformed(_)),
            Self::Http2(error) => error.is_parse(),
        }
    }

    /// Whether the endpoint says that it did not process the request (RFC 9113 8.7): it refused the stream, or is going
    /// away and began it no more.
    pub fn is_refused(&self) -> bool {
        let Self::Http2(error) = self else { return false };
        let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
        cause.is_some_and(|cause| {
            cause.is_remote() && (cause.reason() == Some(h2::Reason::REFUSED_STREAM) || cause.is_go_away())
        })
    }
}

/// A request that got no response.
#[derive(Debug)]
pub struct SendError<B> {
    /// What happened.
    pub error: ExchangeError,
    /// The request's body, when nothing of the request was sent.
    pub unsent: Option<B>,
}

/// The head of a response, whose body is still to come.
pub struct Answered {
    /// How the endpoint has answered.
    pub status: StatusCode,
    /// The response's fields.
    pub headers: HeaderMap,
    /// What they are.
    pub(crate) kinds: FieldKinds,
    /// Over HTTP/2, where hyper reads the body.
    pub incoming: Option<Incoming>,
}

impl<B> Lease<B>
where
    B: Body + 'static,
{
    /// A lease still without its connection.
    pub(super) fn empty(pool: Pool<B>, endpoint: Slot, speaks_for: Option<Rc<Announced>>) -> Self {
        let born = pool.now();
        let connection = Connection::Gone;
        Self { pool, endpoint, reused: false, keep_for: None, born, served: 0, connection, speaks_for, permit: None }
    }

    /// Keeps a place among the exchanges under way for as long as this one lasts.
    pub fn hold(&mut self, permit: Option<Permit>) {
        self.permit = permit;
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

    /// Sends the request and waits for the response's head, doing the connection's work meanwhile. The body is then read
    /// by [`into_body`](Self::into_body).
    ///
    /// # Errors
    /// When no response came; the body of a request that was not sent at all is handed back.
    pub async fn send(&mut self, head: &Head<'_>, body: B) -> Result<Answered, SendError<B>> {
        match &mut self.connection {
            Connection::Http1(http1) => {
                // One that has served before was looked at when it was taken from the pool.
                if !self.reused && !http1.is_usable() {
                    return Err(SendError { error: http1::Error::Closed.into(), unsent: Some(body) });
                }
                http1.begin(head, body);
                let answer = poll_fn(|cx| http1.poll_response(cx)).await;
                let (status, headers, kinds) =
                    answer.map_err(|error| SendError { error: error.into(), unsent: None })?;
                self.keep_for = if kinds.has(FieldKinds::HOP_BY_HOP) { keep_alive(&headers) } else { None };
                Ok(Answered { status, headers, kinds, incoming: None })
            }
            Connection::Http2(shared) => {
                let mut sender = shared.sender.clone();
                let response = sender.try_send_request(http2_request(head, shared.secure, body)).await;
                let response = response.map_err(|mut error| SendError {
                    unsent: error.take_message().map(Request::into_body),
                    error: error.into_error().into(),
                })?;
                if let Err(error) = http1::content_length(response.headers()) {
                    return Err(SendError { error: http1::Error::from(error).into(), unsent: None });
                }
                let (parts, incoming) = response.into_parts();
                let kinds = FieldKinds::of_all(&parts.headers);
                Ok(Answered { status: parts.status, headers: parts.headers, kinds, incoming: Some(incoming) })
            }
            Connection::Gone => unreachable_lease().await,
        }
    }

    /// The body of the response whose head has come, from where [`Answered::incoming`] says.
    pub fn into_body(self, incoming: Option<Incoming>) -> UpstreamBody<B> {
        let mut body = UpstreamBody { http2: incoming, lease: Some(self) };
        body.finish_if_answered();
        body
    }

    /// The connection itself, after it has answered 101; with what has been read past that. The endpoint counts as busy
    /// for as long as the lease is held.
    pub fn take_stream(&mut self) -> Option<(Stream, Bytes)> {
        match std::mem::replace(&mut self.connection, Connection::Gone) {
            Connection::Http1(http1) => {
                let (mut stream, read) = http1.into_inner();
                stream.become_tunnel();
                Some((stream, read))
            }
            Connection::Http2(_) | Connection::Gone => None,
        }
    }
}

/// The request in the form that HTTP/2 wants: the host is its authority, and the body needs no framing (RFC 9113 8.3.1).
fn http2_request<B>(head: &Head<'_>, secure: bool, body: B) -> Request<B> {
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    let headers = request.headers_mut();
    headers.clone_from(head.headers);
    headers.remove(header::TRANSFER_ENCODING);
    let mut parts = uri::Parts::default();
    parts.scheme = Some(if secure { uri::Scheme::HTTPS } else { uri::Scheme::HTTP });
    parts.authority = headers.remove(header::HOST).and_then(|host| uri::Authority::try_from(host.as_bytes()).ok());
    parts.path_and_query = Some(head.target.clone());
    // An authority that is none was refused when the request came in; the target alone is a URI in any case.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_else(|_| Uri::from(head.target.clone()));
    request
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
    /// Over HTTP/2, where hyper reads it.
    http2: Option<Incoming>,
    /// Given back as soon as the body has been read to its end.
    lease: Option<Lease<B>>,
}

impl<B> Body for UpstreamBody<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = ExchangeError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        let this = self.get_mut();
        if let Some(incoming) = &mut this.http2 {
            let frame = ready!(Pin::new(incoming).poll_frame(cx));
            if frame.is_none() {
                this.lease = None;
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(ExchangeError::from)));
        }
        let Some(Lease { connection: Connection::Http1(http1), .. }) = &mut this.lease else {
            return Poll::Ready(None);
        };
        let frame = ready!(http1.poll_frame(cx));
        this.finish_if_answered();
        Poll::Ready(frame.map(|frame| frame.map_err(ExchangeError::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.http2.as_ref().map_or(self.lease.is_none(), Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.http2, &self.lease) {
            (Some(incoming), _) => incoming.size_hint(),
            (None, Some(Lease { connection: Connection::Http1(http1), .. })) => http1.size_hint(),
            (None, _) => SizeHint::with_exact(0),
        }
    }
}

impl<B> UpstreamBody<B>
where
    B: Body + 'static,
{
    /// Gives the connection back once everything on it has been read.
    fn finish_if_answered(&mut self) {
        let answered =
            |lease: &mut Lease<B>| matches!(&lease.connection, Connection::Http1(http1) if http1.is_answered());
        if let Some(lease) = self.lease.take_if(answered) {
            lease.give_back();
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
            && let Connection::Http1(mut http1) = std::mem::replace(&mut self.connection, Connection::Gone)
        {
            http1.rest();
            self.pool.clone().keep(&mut self, http1);
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
            self.pool.tell_waiting(self.endpoint);
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
