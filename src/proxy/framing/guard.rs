//! The guard on a client connection: reads pass through it on their way to the parser.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Refusal;
use super::chunked::Chunked;
use super::head::{Body, Head};
use crate::proxy::clock::{Clock, Deadline};

/// A head must be whole this long after its first byte.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest silence inside a request's body.
const BODY_GAP: Duration = Duration::from_secs(30);
/// The longest silence between two requests.
const IDLE: Duration = Duration::from_secs(60);
/// A client must take some of a response within this time.
const WRITE_STALL: Duration = Duration::from_secs(30);

/// The target of the request that stands in for a refused one. No client can send it: `GET *` is refused.
pub const REFUSED_TARGET: &str = "*";
const STAND_IN: &[u8] = b"GET * HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// What the guard and the exchanges of one connection tell each other.
#[derive(Debug, Default)]
pub struct Peer {
    refusal: Cell<Option<Refusal>>,
    upgrade: Cell<Upgrade>,
    waiting: RefCell<Option<Waker>>,
    in_flight: Cell<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Upgrade {
    #[default]
    None,
    Asked,
    Granted,
    Denied,
}

impl Peer {
    /// Why the connection's last request, or the body it is sending, was refused.
    pub fn refusal(&self) -> Option<Refusal> {
        self.refusal.get()
    }

    /// Whether the guard has stopped behind a request to change protocols and waits for the answer.
    pub fn upgrade_asked(&self) -> bool {
        self.upgrade.get() == Upgrade::Asked
    }

    /// The answer: from here on another protocol, or the next request.
    pub fn answer_upgrade(&self, granted: bool) {
        if self.upgrade_asked() {
            self.upgrade.set(if granted { Upgrade::Granted } else { Upgrade::Denied });
            if let Some(waker) = self.waiting.borrow_mut().take() {
                waker.wake();
            }
        }
    }

    /// An exchange has begun; while one is there, silence is not idleness.
    pub fn begin(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
    }

    /// An exchange has ended.
    pub fn end(&self) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
    }

    /// Exchanges that have begun and not ended.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }
}

#[derive(Debug)]
enum State {
    Head(Head),
    Body(u64),
    Chunks(Chunked),
    Upgrade,
    Tunnel,
    Refused,
}

/// A client connection of HTTP/1.1 whose bytes are looked at before they are parsed.
#[derive(Debug)]
pub struct Guard<S> {
    io: S,
    peer: Rc<Peer>,
    state: State,
    /// Read and not yet looked at to the end: an unfinished head, or what followed a request to upgrade.
    held: Vec<u8>,
    /// Looked at and not yet handed on, from `handed`.
    cleared: Vec<u8>,
    handed: usize,
    read_deadline: Deadline,
    write_deadline: Deadline,
}

impl<S> Guard<S> {
    /// A guard on `io`, of which `already` has been read.
    pub fn new(io: S, already: Vec<u8>, peer: Rc<Peer>, clock: &Clock) -> Self {
        let mut guard = Self {
            io,
            peer,
            state: State::Head(Head::default()),
            held: already,
            cleared: Vec::new(),
            handed: 0,
            read_deadline: clock.deadline(),
            write_deadline: clock.deadline(),
        };
        if !guard.held.is_empty() {
            guard.look_at_held();
        }
        guard
    }

    /// Whether a request's body has not come in whole.
    pub fn is_mid_body(&self) -> bool {
        matches!(self.state, State::Body(_) | State::Chunks(_))
    }

    /// The connection underneath, with what was read of it and not handed on.
    pub fn into_inner(mut self) -> (S, Vec<u8>) {
        let mut rest = self.cleared.split_off(self.handed.min(self.cleared.len()));
        rest.append(&mut self.held);
        (self.io, rest)
    }

    /// Looks at what is held and moves what may pass to `cleared`.
    fn look_at_held(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        let pass = self.look(&held).min(held.len());
        // A head that is not whole stays where it is.
        let rest = if pass == 0 { std::mem::take(&mut held) } else { held.split_off(pass) };
        if self.handed >= self.cleared.len() {
            self.handed = 0;
            self.cleared = held;
        } else {
            self.cleared.append(&mut held);
        }
        match self.state {
            State::Refused => self.cleared.extend_from_slice(STAND_IN),
            State::Head(_) | State::Upgrade | State::Body(_) | State::Chunks(_) | State::Tunnel => self.held = rest,
        }
    }

    /// How many of the bytes may pass now. The others are to be held: they begin a head that is not whole, follow a
    /// request to upgrade, or are refused.
    fn look(&mut self, bytes: &[u8]) -> usize {
        let mut pass = 0;
        while pass < bytes.len() {
            let rest = bytes.get(pass..).unwrap_or_default();
            match &mut self.state {
                State::Head(head) => match head.look(rest) {
                    Ok(None) => return pass,
                    Ok(Some((length, body))) => {
                        pass += length;
                        self.state = match body {
                            Body::Length(0) => State::Head(Head::default()),
                            Body::Length(length) => State::Body(length),
                            Body::Chunked => State::Chunks(Chunked::default()),
                            Body::Upgrade => {
                                self.peer.upgrade.set(Upgrade::Asked);
                                State::Upgrade
                            }
                        };
                    }
                    Err(refusal) => {
                        self.peer.refusal.set(Some(refusal));
                        self.state = State::Refused;
                        return pass;
                    }
                },
                State::Body(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    pass += here;
                    *left -= here as u64;
                    if *left == 0 {
                        self.state = State::Head(Head::default());
                    }
                }
                State::Chunks(chunks) => match chunks.walk(rest) {
                    Ok(taken) => {
                        pass += taken;
                        if chunks.is_done() {
                            self.state = State::Head(Head::default());
                        }
                    }
                    Err(refusal) => {
                        // The body ends in an error; what came before it may have gone upstream, unfinished.
                        self.peer.refusal.set(Some(refusal));
                        return pass;
                    }
                },
                State::Upgrade | State::Refused => return pass,
                State::Tunnel => return bytes.len(),
            }
        }
        pass
    }

    /// Whether a body has turned out malformed.
    fn is_broken(&self) -> bool {
        matches!(self.state, State::Chunks(_)) && self.peer.refusal.get().is_some()
    }

    fn hand_on(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let rest = self.cleared.get(self.handed..).unwrap_or_default();
        let here = rest.len().min(buf.remaining());
        buf.put_slice(rest.get(..here).unwrap_or_default());
        self.handed += here;
        if self.handed >= self.cleared.len() {
            self.cleared = Vec::new();
            self.handed = 0;
        }
        here > 0
    }
}

impl<S: AsyncRead + Unpin> Guard<S> {
    /// Waits for bytes, for as long as the state allows.
    fn wait(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_read(cx, buf) {
            Poll::Ready(result) => {
                // An unfinished head keeps its deadline: bytes that trickle in do not extend it.
                if self.held.is_empty() {
                    self.read_deadline.clear();
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                let limit = match &self.state {
                    State::Head(_) if !self.held.is_empty() => Some(HEAD_TIMEOUT),
                    State::Head(_) if self.peer.in_flight() == 0 => Some(IDLE),
                    State::Body(_) | State::Chunks(_) => Some(BODY_GAP),
                    State::Head(_) | State::Upgrade | State::Tunnel | State::Refused => None,
                };
                match limit {
                    None => self.read_deadline.clear(),
                    Some(limit) if self.read_deadline.due().is_none() => self.read_deadline.set(limit),
                    Some(_) => {}
                }
                if self.read_deadline.poll(cx).is_ready() {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                Poll::Pending
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.hand_on(buf) {
                return Poll::Ready(Ok(()));
            }
            if this.is_broken() {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            match (&this.state, this.peer.upgrade.get()) {
                (State::Refused, _) => return Poll::Pending,
                (State::Upgrade, Upgrade::Granted) => this.state = State::Tunnel,
                (State::Upgrade, Upgrade::Denied) => {
                    this.peer.upgrade.set(Upgrade::None);
                    this.state = State::Head(Head::default());
                }
                (State::Upgrade, _) => {
                    *this.peer.waiting.borrow_mut() = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                _ => {}
            }
            if matches!(this.state, State::Tunnel) || (this.peer.refusal.get().is_none() && !this.held.is_empty()) {
                let before = this.held.len();
                this.look_at_held();
                if this.held.len() != before || this.handed < this.cleared.len() {
                    continue;
                }
            }
            let start = buf.filled().len();
            ready!(this.wait(cx, buf))?;
            let end = buf.filled().len();
            if start == end {
                return Poll::Ready(Ok(()));
            }
            let new = buf.filled().get(start..).unwrap_or_default();
            if this.held.is_empty() {
                let pass = this.look(new);
                if let Some(rest) = new.get(pass..)
                    && !matches!(this.state, State::Refused)
                {
                    this.held.extend_from_slice(rest);
                }
                buf.set_filled(start + pass);
                if matches!(this.state, State::Refused) {
                    this.cleared.extend_from_slice(STAND_IN);
                }
                if pass > 0 {
                    return Poll::Ready(Ok(()));
                }
            } else {
                this.held.extend_from_slice(new);
                buf.set_filled(start);
                this.look_at_held();
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> Guard<S> {
    fn written(&mut self, cx: &Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(result) => {
                self.write_deadline.clear();
                Poll::Ready(result)
            }
            Poll::Pending => {
                if self.write_deadline.due().is_none() {
                    self.write_deadline.set(WRITE_STALL);
                }
                match self.write_deadline.poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_write(cx, buf);
        this.written(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
