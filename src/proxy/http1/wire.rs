//! The wire to a client: bytes in and out, the time they may take, and which request they belong to.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use std::{fmt, io, mem};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};

use super::request::{self, Request};
use crate::proxy::clock::{Clock, Deadline};
use crate::proxy::connection::{HEAD_TIMEOUT, WRITE_STALL};
use crate::proxy::framing::{Body as Framed, Chunked, Head, Piece, Received, Refusal};
use crate::proxy::spare::Spare;
use crate::upstream::{Appetite, Out, keep, poll_read_little};

/// The longest silence inside a request's body.
const BODY_GAP: Duration = Duration::from_secs(30);
/// The longest silence between two requests.
const IDLE: Duration = Duration::from_secs(60);

/// So much may come behind a request that is not answered yet.
const MOST_AHEAD: usize = 64 * 1024;
/// What is there already of a body that nobody wants is read past, up to this.
const UNWANTED: usize = 64 * 1024;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A client's connection of HTTP/1.1.
#[derive(Debug)]
pub(super) struct Wire<S> {
    /// None once it has become something else.
    io: Option<S>,
    spare: Rc<Spare>,
    /// Read, and neither part of a request yet nor handed on.
    held: BytesMut,
    /// The client sends no more.
    ended: bool,
    inbound: Inbound,
    appetite: Appetite,
    /// Which request the body belongs to: what is left of an earlier one must not have it.
    turn: u64,
    /// The client is to be told to go on before it sends the body.
    to_continue: bool,
    /// That is on its way.
    continuing: bool,
    /// It was not told to, and may send the body or not.
    unsure: bool,
    refusal: Rc<Cell<Option<Refusal>>>,
    out: Out,
    unflushed: bool,
    read_due: Deadline,
    write_due: Deadline,
    /// The connection's own task; a body may be read by another.
    task: Option<Waker>,
}

/// What comes next from the client.
#[derive(Debug)]
enum Inbound {
    Head(Head),
    /// So many bytes of a body.
    Length(u64),
    Chunks(Chunked),
    /// Nothing that is looked at.
    Refused,
}

impl<S> Wire<S> {
    /// A wire of which `already` has been read.
    pub(super) fn new(
        io: S,
        already: &[u8],
        spare: Rc<Spare>,
        refusal: Rc<Cell<Option<Refusal>>>,
        clock: &Clock,
    ) -> Self {
        Self {
            io: Some(io),
            spare,
            held: BytesMut::from(already),
            ended: false,
            inbound: Inbound::Head(Head::default()),
            appetite: Appetite::default(),
            turn: 0,
            to_continue: false,
            continuing: false,
            unsure: false,
            refusal,
            out: Out::default(),
            unflushed: false,
            read_due: clock.deadline(),
            write_due: clock.deadline(),
            task: None,
        }
    }

    /// Which request is under way.
    pub(super) fn turn(&self) -> u64 {
        self.turn
    }

    /// Whether nothing of a request has come.
    pub(super) fn is_at_rest(&self) -> bool {
        self.held.is_empty() && matches!(self.inbound, Inbound::Head(_))
    }

    /// Whether all of the request has come.
    pub(super) fn is_received(&self) -> bool {
        matches!(self.inbound, Inbound::Head(_))
    }

    /// The connection itself, and what has been read of what comes after its last request.
    pub(super) fn take_io(&mut self) -> (Option<S>, BytesMut) {
        (self.io.take(), mem::take(&mut self.held))
    }

    /// What is on its way to the client.
    pub(super) fn out(&mut self) -> &mut Out {
        if self.out.own.capacity() == 0 {
            self.out.own = self.spare.take_out();
        }
        &mut self.out
    }

    /// Gives back what a wire at rest has no need of.
    pub(super) fn rest(&mut self) {
        if self.out.is_empty() {
            self.spare.give_out(mem::take(&mut self.out.own));
        }
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
    }

    /// The answer begins: whoever waited to be told to go on has it instead.
    pub(super) fn begin_answer(&mut self) {
        self.unsure = self.to_continue;
        self.to_continue = false;
        self.continuing = false;
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Waits for the next head; none when the client asks for nothing more. In place of one that is refused comes one
    /// that says so and nothing else.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Request>>> {
        if self.task.is_none() {
            self.task = Some(cx.waker().clone());
        }
        loop {
            if !self.held.is_empty() {
                match self.look() {
                    Ok(None) => {}
                    Ok(Some(request)) => {
                        self.read_due.clear();
                        return Poll::Ready(Ok(Some(request)));
                    }
                    Err(refusal) => {
                        self.refuse(refusal);
                        return Poll::Ready(Ok(Some(Request::refused(self.spare.take_parts(), refusal))));
                    }
                }
            }
            if self.ended {
                return Poll::Ready(Ok(None));
            }
            match self.fill(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    if self.held.is_empty() {
                        return self.poll_read_due(cx, IDLE).map(|_| Ok(None));
                    }
                    // A head that has begun keeps its deadline: bytes that trickle in do not extend it.
                    return self.poll_read_due(cx, HEAD_TIMEOUT).map(Err);
                }
            }
        }
    }

    /// The head that is held, if it is whole.
    fn look(&mut self) -> Result<Option<Request>, Refusal> {
        let Inbound::Head(head) = &mut self.inbound else { return Err(Refusal::RequestLine) };
        head.lend(self.spare.take_head());
        let Some((length, body)) = head.look(&self.held)? else {
            keep(&mut self.held);
            return Ok(None);
        };
        let bytes = if length < self.held.len() { self.held.split_to(length) } else { mem::take(&mut self.held) };
        let mut parts = self.spare.take_parts();
        request::fill(&mut parts, &bytes.freeze(), head)?;
        let (waits, persistent, takes_trailers) = (head.waits(), head.is_persistent(), head.takes_trailers());
        let received = Received { upgrade: body == Framed::Upgrade, kinds: head.kinds(), refusal: None };
        let (has_body, next) = match body {
            Framed::Length(0) | Framed::Upgrade => (false, Inbound::Head(Head::default())),
            Framed::Length(length) => (true, Inbound::Length(length)),
            Framed::Chunked => (true, Inbound::Chunks(Chunked::default())),
        };
        if let Inbound::Head(head) = mem::replace(&mut self.inbound, next) {
            self.spare.give_head(head.into_memory());
        }
        self.turn += 1;
        self.to_continue = waits && has_body;
        Ok(Some(Request { parts, has_body, received, persistent, takes_trailers }))
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.refusal.set(Some(refusal));
        self.inbound = Inbound::Refused;
        self.read_due.clear();
        self.turn += 1;
    }

    /// Ready once the client has gone, which is looked for while it is being answered.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Whoever reads the body finds out by itself.
        while matches!(self.inbound, Inbound::Head(_)) && self.held.len() < MOST_AHEAD {
            match self.fill(cx) {
                Poll::Ready(Ok(())) if !self.ended => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        Poll::Pending
    }

    /// Drops what is there of a body that nobody wants; says whether all of the request has come.
    pub(super) fn discard(&mut self, cx: &mut Context<'_>) -> bool {
        let mut dropped = 0;
        // Who waits to be told to send it may send it or not, and nobody can say which.
        while !self.is_received() && !self.unsure && dropped < UNWANTED {
            match self.poll_body(self.turn, cx) {
                Poll::Ready(Some(Ok(frame))) => dropped += frame.data_ref().map_or(0, Bytes::len),
                Poll::Ready(None | Some(Err(_))) | Poll::Pending => break,
            }
        }
        self.is_received()
    }

    /// Reads what there is.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(io) = &mut self.io else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        // A head is small, and what comes behind a request is bounded.
        let begins = self.held.is_empty();
        let (read, _) = ready!(poll_read_little(io, &mut self.held, cx))?;
        self.ended = read == 0;
        if begins {
            // The time of a head is counted from its first byte.
            self.read_due.clear();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read_due(&mut self, cx: &Context<'_>, limit: Duration) -> Poll<io::Error> {
        if self.read_due.due().is_none() {
            self.read_due.set(limit);
        }
        self.read_due.poll(cx).map(|()| io::ErrorKind::TimedOut.into())
    }

    /// The next part of the body of this turn's request.
    pub(super) fn poll_body(&mut self, turn: u64, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.turn != turn {
            return Poll::Ready(Some(Err(io::ErrorKind::BrokenPipe.into())));
        }
        if self.to_continue && self.held.is_empty() {
            self.to_continue = false;
            self.continuing = true;
            self.out().own.extend_from_slice(CONTINUE);
        }
        if self.continuing {
            if let Err(error) = ready!(self.poll_flush(cx)) {
                return Poll::Ready(Some(Err(error)));
            }
            self.continuing = false;
        }
        loop {
            match self.next_frame(cx) {
                Ok(Some(frame)) => {
                    self.read_due.clear();
                    return Poll::Ready(frame.map(Ok));
                }
                Ok(None) => {}
                Err(refusal) => {
                    self.refuse(refusal);
                    return Poll::Ready(Some(Err(io::ErrorKind::InvalidData.into())));
                }
            }
            if self.ended {
                return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
            }
            match self.fill_body(cx) {
                Poll::Ready(Ok(())) => self.read_due.clear(),
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                Poll::Pending => return self.poll_read_due(cx, BODY_GAP).map(|error| Some(Err(error))),
            }
        }
    }

    /// The next part of a body, if it is held; of a body that has ended there is none.
    fn next_frame(&mut self, cx: &Context<'_>) -> Result<Option<Option<Frame<Bytes>>>, Refusal> {
        match &mut self.inbound {
            Inbound::Head(_) | Inbound::Refused => Ok(Some(None)),
            Inbound::Length(_) if self.held.is_empty() => Ok(None),
            Inbound::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(self.held.len());
                *left -= here as u64;
                if *left == 0 {
                    self.end_body(cx);
                }
                Ok(Some(Some(Frame::data(self.held.split_to(here).freeze()))))
            }
            Inbound::Chunks(chunks) => match chunks.next(&mut self.held)? {
                None => Ok(None),
                Some(Piece::Data(data)) => Ok(Some(Some(Frame::data(data)))),
                Some(Piece::End(trailers)) => {
                    self.end_body(cx);
                    Ok(Some(trailers.map(Frame::trailers)))
                }
            },
        }
    }

    fn end_body(&mut self, cx: &Context<'_>) {
        self.inbound = Inbound::Head(Head::default());
        // From here on it is for the connection to see whether the client goes away.
        if let Some(task) = &self.task
            && !task.will_wake(cx.waker())
        {
            task.wake_by_ref();
        }
    }

    /// Reads some of a body; large ones get large pieces.
    fn fill_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(io) = &mut self.io else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        let most = match self.inbound {
            Inbound::Length(left) => left,
            _ => u64::MAX,
        };
        self.ended = ready!(self.appetite.poll_read(io, &mut self.held, most, cx))? == 0;
        Poll::Ready(Ok(()))
    }

    /// Writes all that is on its way.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(io) = &mut self.io else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        loop {
            let step = if !self.out.is_empty() {
                self.unflushed = true;
                self.out.poll_write(io, cx)
            } else if self.unflushed {
                Pin::new(&mut *io).poll_flush(cx).map_ok(|()| self.unflushed = false)
            } else {
                return Poll::Ready(Ok(()));
            };
            match step {
                Poll::Ready(Ok(())) => self.write_due.clear(),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    if self.write_due.due().is_none() {
                        self.write_due.set(WRITE_STALL);
                    }
                    return self.write_due.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
    }
}

/// What a request's body is read from, whatever the connection is made of. Each asks for the body of one turn.
pub(super) trait Source: fmt::Debug {
    /// The next part of it.
    fn poll_frame(&mut self, turn: u64, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>>;
    /// Whether it has come in whole.
    fn is_end(&self, turn: u64) -> bool;
    /// What is known of the length of what is to come.
    fn size_hint(&self, turn: u64) -> SizeHint;
}

impl<S: AsyncRead + AsyncWrite + Unpin + fmt::Debug> Source for Wire<S> {
    fn poll_frame(&mut self, turn: u64, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.poll_body(turn, cx)
    }

    fn is_end(&self, turn: u64) -> bool {
        self.turn != turn || self.is_received()
    }

    fn size_hint(&self, turn: u64) -> SizeHint {
        match self.inbound {
            Inbound::Length(left) if self.turn == turn => SizeHint::with_exact(left),
            Inbound::Chunks(_) if self.turn == turn => SizeHint::default(),
            _ => SizeHint::with_exact(0),
        }
    }
}

#[cfg(test)]
mod tests;
