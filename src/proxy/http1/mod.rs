//! HTTP/1.1 towards clients (RFC 9112): one exchange after another, each driven by the task of its connection.
//!
//! Nothing is spawned and nothing goes through a channel. A connection at rest has neither a buffer nor the future of an
//! exchange: heads are read into memory that all connections of a worker share, and exchanges take place in seats that
//! they share as well. What is taken for a request is for `framing` to say; hyper's server is the oracle for what is
//! made of it.

mod answer;
mod request;
#[cfg(test)]
mod tests;
mod wire;

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::{io, mem};

use bytes::Bytes;
use http::{HeaderName, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};

use super::body::{BodyError, Incoming};
use super::connection::{Client, LAST_CHANCE};
use super::connections::Registration;
use super::date::Date;
use super::seat::{Asked, Seat};
use super::{Worker, linger};
use crate::drain::Phase;
use crate::telemetry::Protocol;
use crate::upstream::{declared_trailers, give_headers, write_trailers};
use answer::Coding;
use request::Request;
pub(super) use request::name_of;
use wire::{Source, Wire};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Parts of a body that are no larger go out together, with the head before them, up to this many bytes: one call sends
/// them. Larger ones are not copied.
const SMALL: usize = 8 * 1024;
const TOGETHER: usize = 16 * 1024;

/// A request's body on its connection.
#[derive(Debug)]
pub(super) struct Body {
    source: Rc<RefCell<dyn Source>>,
    turn: u64,
}

impl Body {
    /// The next part of it.
    pub(super) fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.source.borrow_mut().poll_frame(self.turn, cx).map_err(|_| BodyError::Broken)
    }

    /// Whether it has come in whole.
    pub(super) fn is_end(&self) -> bool {
        self.source.borrow().is_end(self.turn)
    }

    /// What is known of the length of what is to come.
    pub(super) fn size_hint(&self) -> SizeHint {
        self.source.borrow().size_hint(self.turn)
    }
}

/// How a connection goes on after an exchange.
enum Next {
    /// With another request.
    Request,
    /// It is closed; what the client still sends is read past first.
    Close { unread: bool },
    /// With another protocol.
    Tunnel,
    /// The client has gone.
    Gone,
}

/// Serves a connection to its end.
pub(super) async fn serve<S>(worker: Rc<Worker>, client: Rc<Client>, io: S, already: &[u8])
where
    S: AsyncRead + AsyncWrite + Unpin + std::fmt::Debug + 'static,
{
    let spoken = worker.hold_protocol(client.tls.is_some(), Protocol::Http1);
    let wire =
        Rc::new(RefCell::new(Wire::new(io, already, worker.spare.clone(), client.refusal.clone(), &worker.clock)));
    let registration = worker.connections.register();
    let next = loop {
        let request = match next_head(&worker, &client, &wire, &registration).await {
            Ok(Some(request)) => request,
            Ok(None) => break Next::Close { unread: false },
            Err(error) => {
                tracing::debug!(%error, client = %client.peer_ip(), "client connection ended");
                break Next::Gone;
            }
        };
        match exchange(&worker, &client, &wire, request).await {
            Next::Request => wire.borrow_mut().rest(),
            next => break next,
        }
    };
    let (io, early) = wire.borrow_mut().take_io();
    drop(wire);
    let Some(mut io) = io else { return };
    match next {
        Next::Tunnel => {
            let Some(tunnel) = client.take_tunnel() else { return };
            drop(spoken);
            let _spoken = worker.hold_protocol(client.tls.is_some(), Protocol::Tunnel);
            let is_over = |cx: &mut Context<'_>| {
                registration.waker(cx);
                worker.phase() >= Phase::Ended
            };
            if let Err(error) = tunnel.run(io, &early, is_over).await {
                tracing::debug!(%error, client = %client.peer_ip(), "tunnel ended");
            }
        }
        Next::Close { unread } => linger::close(&worker, &mut io, unread).await,
        Next::Request | Next::Gone => {}
    }
}

/// Waits for what is asked next, unless the drain comes first. What has been sent by then is still answered, and what a
/// connection was opened for, or has begun to be asked, gets a moment to come.
async fn next_head<S>(
    worker: &Worker,
    client: &Client,
    wire: &RefCell<Wire<S>>,
    registration: &Registration,
) -> io::Result<Option<Request>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut last_chance = None;
    poll_fn(|cx| {
        registration.waker(cx);
        let mut wire = wire.borrow_mut();
        if let Poll::Ready(received) = wire.poll_head(cx) {
            return Poll::Ready(received);
        }
        if worker.phase() < Phase::Draining {
            return Poll::Pending;
        }
        if client.has_asked() && wire.is_at_rest() {
            return Poll::Ready(Ok(None));
        }
        let deadline = last_chance.get_or_insert_with(|| {
            let mut deadline = worker.clock.deadline();
            deadline.set(LAST_CHANCE);
            deadline
        });
        deadline.poll(cx).map(|()| Ok(None))
    })
    .await
}

/// One exchange, from its head to the last byte of the answer.
async fn exchange<S>(worker: &Rc<Worker>, client: &Rc<Client>, wire: &Rc<RefCell<Wire<S>>>, request: Request) -> Next
where
    S: AsyncRead + AsyncWrite + Unpin + std::fmt::Debug + 'static,
{
    let Request { parts, has_body, received, persistent, takes_trailers } = request;
    client.ask();
    let (method, version) = (parts.method.clone(), parts.version);
    let body = if has_body {
        let turn = wire.borrow().turn();
        Incoming::Http1(Body { source: wire.clone(), turn })
    } else {
        Incoming::None
    };
    let mut seat = worker.seats.take();
    seat.begin(Asked { worker: worker.clone(), client: client.clone(), parts, body, received });
    let answered = poll_fn(|cx| match seat.poll(cx) {
        Poll::Ready(()) => Poll::Ready(true),
        Poll::Pending => wire.borrow_mut().poll_gone(cx).map(|()| false),
    })
    .await;
    if !answered {
        return Next::Gone;
    }
    let persistent = persistent && client.refusal.get().is_none() && worker.phase() < Phase::Draining;
    let asked = answer::Asked { method: &method, version, persistent, takes_trailers };
    match send(worker, wire, seat, asked).await {
        Ok(After { tunnel: true, .. }) => Next::Tunnel,
        Ok(After { persistent, .. }) => {
            let received = poll_fn(|cx| Poll::Ready(wire.borrow_mut().discard(cx))).await;
            let goes_on = persistent && received && !client.is_outdated() && worker.phase() < Phase::Draining;
            if goes_on { Next::Request } else { Next::Close { unread: !wire.borrow().is_at_rest() } }
        }
        Err(error) => {
            tracing::debug!(%error, client = %client.peer_ip(), "client connection ended");
            Next::Gone
        }
    }
}

/// What an answer has said of the connection.
struct After {
    /// It may be used again.
    persistent: bool,
    /// It is another protocol's now.
    tunnel: bool,
}

/// Sends the answer that is in a seat.
async fn send<S>(
    worker: &Worker,
    wire: &RefCell<Wire<S>>,
    seat: Seat,
    asked: answer::Asked<'_>,
) -> Result<After, BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let date = (&worker.date, worker.clock.wall());
    let (sending, after) = {
        let mut wire = wire.borrow_mut();
        wire.begin_answer();
        Sending::begin(&mut wire.out().own, seat.answer(), asked, date)
    };
    // Most answers are there as a whole.
    let first = poll_fn(|cx| Poll::Ready(sending.poll(wire, seat.answer(), cx))).await;
    let Poll::Ready(sent) = first else {
        // This one may take its time, and somebody else can have the seat.
        let answer = Box::new(RefCell::new(seat.answer().take()));
        worker.seats.give(seat);
        poll_fn(|cx| sending.poll(wire, &answer, cx)).await?;
        return Ok(after);
    };
    worker.seats.give(seat);
    sent.map(|()| after)
}

/// What is left of an answer.
struct Sending {
    coding: Coding,
    /// Those that were declared and may come.
    trailers: Box<[HeaderName]>,
}

impl Sending {
    /// Writes the head.
    fn begin<B>(
        out: &mut Vec<u8>,
        answer: &RefCell<Option<Response<B>>>,
        asked: answer::Asked<'_>,
        date: (&Date, u64),
    ) -> (Self, After)
    where
        B: HttpBody,
    {
        let mut place = answer.borrow_mut();
        let Some(answer) = &mut *place else {
            return (
                Self { coding: Coding::None, trailers: Box::default() },
                After { persistent: false, tunnel: false },
            );
        };
        let (coding, persistent) = answer::write(out, answer, asked, date);
        let trailers = match coding {
            Coding::Chunked if asked.takes_trailers => declared_trailers(answer.headers()),
            _ => Box::default(),
        };
        let tunnel = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        // The body may take its time.
        give_headers(mem::take(answer.headers_mut()));
        if coding == Coding::None {
            *place = None;
        }
        (Self { coding, trailers }, After { persistent, tunnel })
    }

    /// Sends what is there; ready once nothing is left.
    fn poll<S, B>(
        &self,
        wire: &RefCell<Wire<S>>,
        answer: &RefCell<Option<Response<B>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), BoxError>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        B: HttpBody<Data = Bytes, Error = BoxError> + Unpin,
    {
        loop {
            let waits = self.gather(wire, &mut answer.borrow_mut(), cx)?.is_pending();
            let mut wire = wire.borrow_mut();
            ready!(wire.poll_flush(cx))?;
            if waits {
                // While nothing is to be sent, only this shows that nobody waits for it.
                return wire.poll_gone(cx).map(|()| Err(io::Error::from(io::ErrorKind::BrokenPipe).into()));
            }
            if answer.borrow().is_none() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Puts together what goes out at once; pending when there would be more and it is not there yet.
    fn gather<S, B>(
        &self,
        wire: &RefCell<Wire<S>>,
        place: &mut Option<Response<B>>,
        cx: &mut Context<'_>,
    ) -> Result<Poll<()>, BoxError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        B: HttpBody<Data = Bytes, Error = BoxError> + Unpin,
    {
        while let Some(answer) = place {
            let body = answer.body_mut();
            {
                let mut wire = wire.borrow_mut();
                let out = wire.out();
                if !out.takes_piece() || out.own.len() >= TOGETHER {
                    break;
                }
            }
            // It may read the request's body meanwhile, so the wire must be free.
            let frame = match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(frame) => frame.transpose()?,
            };
            let ended = frame.is_none() || body.is_end_stream();
            let mut wire = wire.borrow_mut();
            let out = wire.out();
            match frame.map(Frame::into_data) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) if data.len() <= SMALL => match self.coding {
                    Coding::Chunked => out.copy_chunk(&data),
                    _ => out.own.extend_from_slice(&data),
                },
                Some(Ok(data)) => match self.coding {
                    Coding::Chunked => out.put_chunk(data),
                    _ => out.put_piece(data),
                },
                // They are the end of it.
                Some(Err(frame)) => {
                    if let (Coding::Chunked, Ok(trailers)) = (self.coding, frame.into_trailers()) {
                        out.own.extend_from_slice(b"0\r\n");
                        write_trailers(&mut out.own, &trailers, &self.trailers);
                    }
                    *place = None;
                    break;
                }
                None => {}
            }
            if ended {
                if self.coding == Coding::Chunked {
                    out.end_chunks();
                }
                *place = None;
            }
        }
        Ok(Poll::Ready(()))
    }
}
