//! HTTP/2 towards clients (RFC 9113): one task reads and writes for a connection, and each request on it is answered by a
//! task of its own, which writes into memory that goes out at once for all.
//!
//! `receive` takes in what a client sends, `send` is what exchanges do, and both work on a `connection` that does no input
//! or output itself. A client that asks for nothing, and for that again and again, runs out of `patience`. hyper's client
//! is the oracle.

mod connection;
mod exchange;
mod frame;
mod hpack;
mod out;
mod patience;
mod receive;
mod request;
mod send;
mod streams;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};

use super::body::BodyError;
use super::clock::{Clock, Deadline};
use super::connection::{Client, HEAD_TIMEOUT, WRITE_STALL};
use super::{Worker, attempt, linger};
use crate::drain::Phase;
use crate::telemetry::Protocol;
use crate::upstream::{Appetite, keep};
use connection::Connection;
pub(super) use connection::PREFACE;
use frame::Code;
use hpack::Scratch;

/// After so long a silence a client is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(30);
/// It must say so within this time.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// What a client is told last has so long to go out.
const FAREWELL: Duration = Duration::from_secs(10);

/// What the connections of a worker share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    scratch: RefCell<Scratch>,
}

/// A request's body on its stream.
pub(super) struct Body {
    connection: Rc<RefCell<Connection>>,
    stream: u32,
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl Body {
    /// The next part of it.
    pub(super) fn poll_frame(&self, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.connection.borrow_mut().poll_body(self.stream, cx)
    }

    /// Whether it has come in whole, and has been read.
    pub(super) fn is_end(&self) -> bool {
        self.connection.borrow_mut().is_body_end(self.stream)
    }

    /// What is known of the length of what is to come.
    pub(super) fn size_hint(&self) -> SizeHint {
        self.connection.borrow_mut().body_size(self.stream)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.connection.borrow_mut().abandon(self.stream);
    }
}

/// How a connection has ended.
enum End {
    /// The client has gone, or does not move.
    Gone(io::Error),
    /// There is nothing left to do on it.
    Over,
    /// It cannot go on.
    Broken(Code),
}

/// A connection with what moves its bytes.
struct Wire<S> {
    io: S,
    /// Read, and no whole frame.
    held: BytesMut,
    appetite: Appetite,
    unflushed: bool,
    /// Something must move until then.
    due: Deadline,
    /// What has begun must be whole by then.
    head_due: Deadline,
    /// The client has been asked whether it is still there.
    asked: bool,
    /// It does not take what is sent.
    blocked: bool,
}

/// Serves a connection to its end.
pub(super) async fn serve<S>(worker: Rc<Worker>, client: Rc<Client>, io: S, already: &[u8])
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    client.speaks_http2();
    let _spoken = worker.hold_protocol(client.tls.is_some(), Protocol::Http2);
    let connection = Rc::new(RefCell::new(Connection::new(worker.spare.clone(), worker.clock.now())));
    let mut wire = Wire::new(io, already, &worker.clock);
    let registration = worker.connections.register();
    let end = poll_fn(|cx| {
        registration.waker(cx);
        connection.borrow_mut().attend(cx, worker.clock.now());
        // To say that we leave loses nothing that was asked before, so it goes out as soon as clients should look
        // elsewhere; but a connection that was opened just now gets to ask something first.
        let phase = worker.phase();
        let leaves = phase >= Phase::Draining || phase >= Phase::Leaving && client.has_asked();
        if leaves || client.is_outdated() {
            connection.borrow_mut().leave();
        }
        wire.poll(&worker, &client, &connection, cx)
    })
    .await;
    let code = match &end {
        End::Broken(code) => Some(*code),
        End::Over | End::Gone(_) => None,
    };
    connection.borrow_mut().end(code);
    match end {
        End::Gone(error) => {
            tracing::debug!(%error, client = %client.peer_ip(), "client connection ended");
            return;
        }
        End::Over => {}
        End::Broken(Code::EnhanceYourCalm) => worker.complain(|| {
            tracing::warn!(client = %client.peer_ip(), "HTTP/2 connection closed: too much on it that asks for nothing");
        }),
        End::Broken(code) => {
            tracing::debug!(?code, client = %client.peer_ip(), "HTTP/2 connection closed: its client broke the protocol");
        }
    }
    let mut deadline = worker.clock.deadline();
    let flushed = pin!(poll_fn(|cx| wire.poll_write(&connection, cx)));
    let flushed = attempt::within(&mut deadline, worker.clock.now(), Some(FAREWELL), None, flushed).await;
    if matches!(flushed, Ok(Ok(()))) {
        linger::close(&worker, &mut wire.io, code.is_some()).await;
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// A wire of which `already` has been read.
    fn new(io: S, already: &[u8], clock: &Clock) -> Self {
        let mut due = clock.deadline();
        due.set(SILENCE);
        Self {
            io,
            held: BytesMut::from(already),
            appetite: Appetite::default(),
            unflushed: false,
            due,
            head_due: clock.deadline(),
            asked: false,
            blocked: false,
        }
    }

    /// Reads and writes what there is; ready when the connection has ended.
    fn poll(
        &mut self,
        worker: &Rc<Worker>,
        client: &Rc<Client>,
        connection: &Rc<RefCell<Connection>>,
        cx: &mut Context<'_>,
    ) -> Poll<End> {
        loop {
            if let Err(code) = self.take_in(worker, client, connection) {
                return Poll::Ready(End::Broken(code));
            }
            match self.poll_write(connection, cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(End::Gone(error)),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            let mut this = connection.borrow_mut();
            this.grant();
            if this.is_over() {
                return Poll::Ready(End::Over);
            }
            if this.room() == 0 {
                // Who takes no answers gets to ask nothing either.
                break;
            }
            drop(this);
            match self.appetite.poll_read(&mut self.io, &mut self.held, u64::MAX, cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Poll::Ready(End::Gone(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(Ok(_)) => {
                    if !self.blocked {
                        self.asked = false;
                        self.due.set(SILENCE);
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(End::Gone(error)),
            }
        }
        self.poll_due(connection, cx)
    }

    /// Takes in what has been read, and has what is asked answered.
    fn take_in(
        &mut self,
        worker: &Rc<Worker>,
        client: &Rc<Client>,
        connection: &Rc<RefCell<Connection>>,
    ) -> Result<(), Code> {
        if self.held.is_empty() {
            return Ok(());
        }
        let received = connection.borrow_mut().receive(&mut self.held, &mut worker.http2.scratch.borrow_mut());
        loop {
            let arrived = connection.borrow_mut().take_arrived();
            let Some(arrived) = arrived else { break };
            client.ask();
            tokio::task::spawn_local(exchange::answer(worker.clone(), client.clone(), connection.clone(), arrived));
        }
        if self.held.is_empty() {
            self.held = BytesMut::new();
        } else {
            keep(&mut self.held);
        }
        received
    }

    /// Writes what is to go out.
    fn poll_write(&mut self, connection: &RefCell<Connection>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut connection = connection.borrow_mut();
        loop {
            let out = connection.unwritten();
            let step = if !out.is_empty() {
                self.unflushed = true;
                out.poll_write(&mut self.io, cx)
            } else if self.unflushed {
                Pin::new(&mut self.io).poll_flush(cx).map_ok(|()| self.unflushed = false)
            } else {
                connection.rest();
                return Poll::Ready(Ok(()));
            };
            match step {
                Poll::Ready(Ok(())) => {
                    if self.blocked {
                        self.blocked = false;
                        self.due.set(SILENCE);
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    if !self.blocked {
                        self.blocked = true;
                        self.due.set(WRITE_STALL);
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Ready when the client has been silent for too long, or does not move on.
    fn poll_due(&mut self, connection: &RefCell<Connection>, cx: &mut Context<'_>) -> Poll<End> {
        let timed_out = || End::Gone(io::ErrorKind::TimedOut.into());
        if !connection.borrow().is_midway() {
            self.head_due.clear();
        } else if self.head_due.due().is_none() {
            self.head_due.set(HEAD_TIMEOUT);
        }
        if self.head_due.poll(cx).is_ready() {
            return Poll::Ready(timed_out());
        }
        if self.due.poll(cx).is_pending() {
            return Poll::Pending;
        }
        if self.blocked || self.asked {
            return Poll::Ready(timed_out());
        }
        self.asked = true;
        self.due.set(SIGN_OF_LIFE);
        connection.borrow_mut().ask_for_life();
        match self.poll_write(connection, cx) {
            Poll::Ready(Err(error)) => Poll::Ready(End::Gone(error)),
            Poll::Ready(Ok(())) | Poll::Pending => self.due.poll(cx).map(|()| timed_out()),
        }
    }
}
