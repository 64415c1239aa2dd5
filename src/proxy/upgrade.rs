//! WebSocket: another protocol on the client's connection, once the backend has agreed to it and not before.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::attempt::{self, Attempt, Elapsed, How};
use super::body::{RequestBody, ResponseBody};
use super::clock::Deadline;
use super::error::Error;
use super::forward;
use crate::upstream::pool::{Lease, Stream};

/// A backend that has agreed, and what it has sent already.
pub(super) struct Tunnel {
    stream: Stream,
    read: Bytes,
    /// How long nothing may move either way.
    idle: Duration,
    deadline: Deadline,
    /// The endpoint is busy with it.
    _lease: Lease<RequestBody>,
}

/// A side of a tunnel that tells when something has moved.
struct Watched<'a, S> {
    io: S,
    moved: &'a Cell<bool>,
}

/// Asks the backend. Only its 101 makes the client's connection a tunnel; any other answer is an ordinary response.
pub(super) async fn forward(mut attempt: Attempt<'_>) -> Result<Response<ResponseBody>, Error> {
    let worker = attempt.worker;
    let timeouts = attempt.route.timeouts;
    let due = attempt.due;
    let mut deadline = worker.clock.deadline();
    let permit = attempt.admit()?;
    let (endpoint, lease) = attempt.connect(How::Upgrade, &mut deadline, due).await?;
    if lease.is_http2() {
        return Err(Error::UpstreamProtocol);
    }
    attempt.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    attempt.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    attempt.record.trying(&mut attempt.headers);
    let head = attempt.head(&RequestBody::Empty)?;
    let (now, limit) = (worker.clock.now(), timeouts.backend_request);
    let began = Instant::now();
    let sent = attempt::within(&mut deadline, now, limit, due, pin!(lease.send(&head, RequestBody::Empty))).await;
    let status = sent.as_ref().ok().and_then(|sent| sent.as_ref().ok()).map(Response::status);
    attempt.record.tried(&endpoint, began.elapsed().as_secs_f64(), status);
    let response = match sent {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            attempt.report(&endpoint, false);
            return Err(attempt.failure(&error.error, None));
        }
        Err(elapsed) => {
            attempt.report(&endpoint, false);
            return Err(match elapsed {
                Elapsed::Step => Error::UpstreamTimeout,
                Elapsed::Exchange => Error::RequestTimeout,
            });
        }
    };
    let (mut parts, mut body) = response.into_parts();
    attempt.report(&endpoint, !parts.status.is_server_error());
    body.hold(permit);
    attempt.keep_client(&endpoint, &mut parts.headers);
    if parts.status != StatusCode::SWITCHING_PROTOCOLS {
        forward::clean_response(&mut parts.headers);
        attempt.record.streaming(parts.status);
        deadline.clear();
        return Ok(Response::from_parts(parts, ResponseBody::upstream(body, timeouts.idle, due, deadline)));
    }
    let agreed = parts.headers.get(header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let mut lease = body.into_lease().filter(|_| agreed).ok_or(Error::UpstreamProtocol)?;
    let (stream, read) = lease.take_stream().ok_or(Error::UpstreamProtocol)?;
    attempt.client.open_tunnel(Tunnel { stream, read, idle: timeouts.idle, deadline, _lease: lease });
    attempt.record.answered(parts.status, crate::telemetry::Reason::Ok);

    forward::clean_response(&mut parts.headers);
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    parts.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    Ok(Response::from_parts(parts, ResponseBody::full(Bytes::new())))
}

impl Tunnel {
    /// Carries bytes both ways until both sides have ended or nothing has moved for too long. `early` is what the client
    /// has sent already.
    pub(super) async fn run(self, client: impl AsyncRead + AsyncWrite + Unpin, early: &[u8]) -> io::Result<()> {
        let Self { stream, read, idle, mut deadline, _lease } = self;
        let moved = Cell::new(true);
        let mut client = Watched { io: client, moved: &moved };
        let mut backend = Watched { io: stream, moved: &moved };
        let carried = async {
            client.write_all(&read).await?;
            client.flush().await?;
            backend.write_all(early).await?;
            tokio::io::copy_bidirectional(&mut client, &mut backend).await
        };
        let mut carried = pin!(carried);
        poll_fn(|cx| {
            if let Poll::Ready(result) = carried.as_mut().poll(cx) {
                return Poll::Ready(result.map(drop));
            }
            if moved.take() {
                deadline.set(idle);
            }
            deadline.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
        })
        .await
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<'_, S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_read(cx, buf);
        if result.is_ready() {
            this.moved.set(true);
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<'_, S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_write(cx, buf);
        if result.is_ready() {
            this.moved.set(true);
        }
        result
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
