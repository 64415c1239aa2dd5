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

use super::answer;
use super::attempt::{self, Attempt, Elapsed, How};
use super::body::{RequestBody, ResponseBody};
use super::clock::Deadline;
use super::error::Error;
use super::forward;
use crate::limit::Place;
use crate::upstream::Outcome;
use crate::upstream::pool::{Answered, Lease, Stream};

/// A backend that has agreed, and what it has sent already.
pub(super) struct Tunnel {
    stream: Stream,
    read: Bytes,
    /// How long nothing may move either way.
    idle: Duration,
    deadline: Deadline,
    /// The endpoint is busy with it.
    _lease: Lease<RequestBody>,
    /// Nor is the client's own bound on what is under way free of it.
    _places: Vec<Place>,
}

/// A side of a tunnel that tells when something has moved.
struct Watched<'a, S> {
    io: S,
    moved: &'a Cell<bool>,
    /// What it has been sent.
    sent: Frames,
}

/// Where one direction of a WebSocket is in its frames (RFC 6455 5.2).
#[derive(Debug, Default)]
struct Frames {
    /// How many bytes of a frame's header have passed.
    read: u8,
    /// How many of those are an extended length.
    wide: u8,
    masked: bool,
    length: u64,
    /// What is still to come of a payload.
    left: u64,
}

/// A frame that closes with 1001, "going away" (RFC 6455 5.5.1, 7.4.1), as a server sends it and as a client does, masked
/// with zeros.
const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];
const GOING_AWAY_MASKED: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9];

/// Asks the backend. Only its 101 makes the client's connection a tunnel; any other answer is an ordinary response.
pub(super) async fn forward(attempt: &mut Attempt<'_>) -> Result<Response<ResponseBody>, Error> {
    let worker = attempt.worker;
    let timeouts = attempt.route.timeouts;
    let due = attempt.due;
    let mut deadline = worker.clock.deadline();
    let permit = attempt.admit()?;
    let (endpoint, mut lease) = attempt.connect(How::Upgrade, &mut deadline, due).await?;
    if lease.is_http2() {
        return Err(Error::UpstreamProtocol);
    }
    attempt.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    attempt.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    attempt.record.trying(attempt.headers);
    let head = attempt.head(&RequestBody::Empty)?;
    let (now, limit) = (worker.clock.now(), timeouts.backend_request);
    let began = Instant::now();
    let sent = attempt::within(&mut deadline, now, limit, due, pin!(lease.send(&head, RequestBody::Empty))).await;
    let status = sent.as_ref().ok().and_then(|sent| sent.as_ref().ok()).map(|answered| answered.status);
    attempt.record.tried(&endpoint, began.elapsed(), status);
    let Answered { status, mut headers, kinds, incoming } = match sent {
        Ok(Ok(answered)) => answered,
        Ok(Err(error)) => {
            attempt.report(&endpoint, Outcome::GatewayFailed);
            return Err(attempt.failure(&error.error, None));
        }
        Err(elapsed) => {
            attempt.report(&endpoint, Outcome::GatewayFailed);
            return Err(match elapsed {
                Elapsed::Step => Error::UpstreamTimeout,
                Elapsed::Exchange => Error::RequestTimeout,
            });
        }
    };
    attempt.report(&endpoint, status.into());
    lease.hold(permit);
    let agreed = headers.get(header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    forward::clean_response(&mut headers, kinds);
    attempt.keep_client(&endpoint, &mut headers);
    let body = if status == StatusCode::SWITCHING_PROTOCOLS {
        let (stream, read) = lease.take_stream().filter(|_| agreed).ok_or(Error::UpstreamProtocol)?;
        let places = attempt.record.take_places();
        let idle = timeouts.idle;
        attempt.client.open_tunnel(Tunnel { stream, read, idle, deadline, _lease: lease, _places: places });
        attempt.record.answered(status, crate::telemetry::Reason::Ok);
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        ResponseBody::full(Bytes::new())
    } else {
        attempt.record.streaming(status);
        deadline.clear();
        ResponseBody::upstream(lease.into_body(incoming), timeouts.idle, due, deadline)
    };
    Ok(answer::of((status, headers), body))
}

impl Tunnel {
    /// Carries bytes both ways until both sides have ended, nothing has moved for too long, or all is over, which both are
    /// told then. `early` is what the client has sent already.
    pub(super) async fn run(
        self,
        client: impl AsyncRead + AsyncWrite + Unpin,
        early: &[u8],
        mut is_over: impl FnMut(&mut Context<'_>) -> bool,
    ) -> io::Result<()> {
        let Self { stream, read, idle, mut deadline, _lease, _places } = self;
        let moved = Cell::new(true);
        let mut client = Watched { io: client, moved: &moved, sent: Frames::default() };
        let mut backend = Watched { io: stream, moved: &moved, sent: Frames::default() };
        {
            let carried = async {
                client.write_all(&read).await?;
                client.flush().await?;
                backend.write_all(early).await?;
                tokio::io::copy_bidirectional(&mut client, &mut backend).await
            };
            let mut carried = pin!(carried);
            let ended = poll_fn(|cx| {
                if is_over(cx) {
                    return Poll::Ready(None);
                }
                if let Poll::Ready(result) = carried.as_mut().poll(cx) {
                    return Poll::Ready(Some(result.map(drop)));
                }
                if moved.take() {
                    deadline.set(idle);
                }
                deadline.poll(cx).map(|()| Some(Err(io::ErrorKind::TimedOut.into())))
            });
            if let Some(result) = ended.await {
                return result;
            }
        }
        poll_fn(|cx| {
            client.part(cx, &GOING_AWAY);
            backend.part(cx, &GOING_AWAY_MASKED);
            Poll::Ready(())
        })
        .await;
        Ok(())
    }
}

impl<S: AsyncWrite + Unpin> Watched<'_, S> {
    /// Sends a last frame, if the one before is whole and there is room for it at once.
    fn part(&mut self, cx: &mut Context<'_>, frame: &[u8]) {
        if self.sent.is_between() && Pin::new(&mut self.io).poll_write(cx, frame).is_ready() {
            let _ = Pin::new(&mut self.io).poll_flush(cx);
            let _ = Pin::new(&mut self.io).poll_shutdown(cx);
        }
    }
}

impl Frames {
    /// More of it.
    fn pass(&mut self, mut bytes: &[u8]) {
        while let [first, rest @ ..] = bytes {
            if self.left > 0 {
                let skipped = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.left -= skipped as u64;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            bytes = rest;
            self.read += 1;
            match self.read {
                1 => {}
                2 => {
                    self.masked = first & 0x80 != 0;
                    (self.wide, self.length) = match first & 0x7f {
                        126 => (2, 0),
                        127 => (8, 0),
                        length => (0, length.into()),
                    };
                }
                read if read <= 2 + self.wide => self.length = self.length << 8 | u64::from(*first),
                // The key.
                _ => {}
            }
            if self.read >= 2 && self.read == 2 + self.wide + if self.masked { 4 } else { 0 } {
                (self.read, self.left) = (0, self.length);
            }
        }
    }

    /// Whether what has passed ends with a whole frame.
    fn is_between(&self) -> bool {
        self.read == 0 && self.left == 0
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
        if let Poll::Ready(written) = &result {
            this.moved.set(true);
            let sent = written.as_ref().map_or(0, |length| *length);
            this.sent.pass(buf.get(..sent).unwrap_or_default());
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of this payload's length.
    fn frame(length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x82];
        match length {
            ..126 => frame.push(mask | length as u8),
            126..=0xffff => {
                frame.push(mask | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(std::iter::repeat_n(0x5a, length + if masked { 4 } else { 0 }));
        frame
    }

    #[test]
    fn frames_end_where_they_end_however_they_are_cut() {
        for masked in [false, true] {
            let frames = [0, 1, 125, 126, 300, 65_535, 65_536, 3].map(|length| frame(length, masked));
            for size in [1, 2, 3, 7, 100, 1 << 20] {
                let (mut state, mut passed, mut ends) = (Frames::default(), 0, frames.iter());
                let mut end = 0;
                for piece in frames.concat().chunks(size) {
                    state.pass(piece);
                    passed += piece.len();
                    while end < passed {
                        end += ends.next().unwrap().len();
                    }
                    assert_eq!(state.is_between(), passed == end, "{passed} in pieces of {size}");
                }
            }
        }
    }

    #[test]
    fn partings_are_whole_frames() {
        for frame in [&GOING_AWAY[..], &GOING_AWAY_MASKED] {
            let mut state = Frames::default();
            state.pass(frame);
            assert!(state.is_between());
        }
    }
}
