//! A connection as the protocol sees it: bytes that have come go in, and bytes that are to go out come out of it. It does
//! no input or output of its own.

use std::collections::VecDeque;
use std::mem;
use std::rc::Rc;
use std::task::{Context, Waker};

use bytes::Bytes;
use http::request::Parts;

use super::frame::{self, Code, Head};
use super::hpack::{Decoder, Encoder};
use super::out::Out;
use super::patience::{self, Patience};
use super::streams::{Stream, Streams, Turn, WINDOW};
use crate::proxy::framing::{MAX_HEAD, Received};
use crate::proxy::spare::Spare;
use crate::proxy::waker;

/// What every connection of HTTP/2 begins with (RFC 9113 3.4).
pub(in crate::proxy) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// So many requests may be under way on a connection.
pub(super) const MAX_STREAMS: usize = 100;
/// What the client may send on all streams together before it is told that some of it has been taken, in bytes.
pub(super) const ALLOWANCE: u32 = 1024 * 1024;
/// What a connection's windows are until somebody says otherwise (RFC 9113 6.9.2).
pub(super) const INITIAL: u32 = 65_535;
/// More than this does not wait to go out, in bytes: what makes it has to wait.
pub(super) const AHEAD: usize = 64 * 1024;
/// So many streams that we have reset are remembered: their clients may not have known of it when they went on.
const REMEMBERED: usize = 128;
/// What the ping carries that asks whether the client knows that we leave.
pub(super) const PARTING: [u8; 8] = *b"headgate";

/// A request whose head has come.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) stream: u32,
    pub(super) parts: Box<Parts>,
    pub(super) has_body: bool,
    /// What else its head has shown.
    pub(super) received: Received,
}

/// Fields that come in several frames.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) head: Head,
    pub(super) bytes: Vec<u8>,
}

/// How far we have come with leaving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Leaving {
    Not,
    /// The client has been told, and may have asked something before it knew.
    Told,
    /// Nothing more is taken.
    Settled,
}

/// What both directions of a connection share.
#[derive(Debug)]
pub(in crate::proxy) struct Connection {
    pub(super) spare: Rc<Spare>,
    pub(super) streams: Streams,
    /// The highest stream that the client has begun.
    pub(super) last: u32,
    pub(super) arrived: VecDeque<Arrived>,
    pub(super) greeted: bool,
    /// The client's first settings have come.
    pub(super) has_settings: bool,
    pub(super) block: Option<Block>,
    pub(super) decoder: Decoder,
    /// What the client may still send, and what has been read since it was told last.
    pub(super) allowance: u32,
    pub(super) taken: u32,
    pub(super) patience: Patience,
    /// The milliseconds of the worker's clock.
    pub(super) now: u64,
    pub(super) encoder: Encoder,
    /// What the client still takes, of all streams and of one that begins now.
    pub(super) window: i64,
    pub(super) stream_window: i64,
    /// Streams that have something to send and have to wait for others or for the client.
    pub(super) line: VecDeque<u32>,
    /// How many of them are next.
    pub(super) called: usize,
    resets: VecDeque<u32>,
    pub(super) leaving: Leaving,
    ended: bool,
    out: Out,
    task: Option<Waker>,
    woken: bool,
}

impl Connection {
    /// One that has just begun.
    pub(super) fn new(spare: Rc<Spare>, now: u64) -> Self {
        let mut connection = Self {
            spare,
            streams: Streams::default(),
            last: 0,
            arrived: VecDeque::new(),
            greeted: false,
            has_settings: false,
            block: None,
            decoder: Decoder::default(),
            allowance: ALLOWANCE,
            taken: 0,
            patience: Patience::new(now),
            now,
            encoder: Encoder::default(),
            window: INITIAL.into(),
            stream_window: INITIAL.into(),
            line: VecDeque::new(),
            called: 0,
            resets: VecDeque::new(),
            leaving: Leaving::Not,
            ended: false,
            out: Out::default(),
            task: None,
            woken: false,
        };
        let settings = [
            (frame::MAX_CONCURRENT_STREAMS, MAX_STREAMS as u32),
            (frame::INITIAL_WINDOW_SIZE, WINDOW),
            (frame::MAX_HEADER_LIST_SIZE, MAX_HEAD as u32),
        ];
        frame::write_settings(connection.out(), &settings);
        connection.write(frame::WINDOW_UPDATE, 0, 0, &(ALLOWANCE - INITIAL).to_be_bytes());
        connection
    }

    /// Remembers the task that reads and writes for it.
    pub(super) fn attend(&mut self, cx: &Context<'_>, now: u64) {
        self.now = now;
        self.woken = false;
        waker::remember(&mut self.task, cx);
    }

    /// Has that task look again.
    pub(super) fn call(&mut self) {
        if !mem::replace(&mut self.woken, true)
            && let Some(task) = &self.task
        {
            task.wake_by_ref();
        }
    }

    /// What is to go out, to write behind.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        if self.out.own.capacity() == 0 {
            self.out.own = self.spare.take_out();
        }
        &mut self.out.own
    }

    /// The same, with what fields are written by.
    pub(super) fn out_and_encoder(&mut self) -> (&mut Vec<u8>, &mut Encoder) {
        self.out();
        (&mut self.out.own, &mut self.encoder)
    }

    /// Writes a frame.
    pub(super) fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        frame::write(self.out(), kind, flags, stream, payload);
        self.call();
    }

    /// Writes a frame whose payload is a part of a body.
    pub(super) fn write_piece(&mut self, flags: u8, stream: u32, piece: Bytes) {
        let head = Head { length: piece.len(), kind: frame::DATA, flags, stream };
        self.out().extend_from_slice(&head.bytes());
        self.out.put(piece);
        self.call();
    }

    /// What waits to go out.
    pub(super) fn unwritten(&mut self) -> &mut Out {
        &mut self.out
    }

    /// How many bytes more may be put there now.
    pub(super) fn room(&self) -> usize {
        AHEAD.saturating_sub(self.out.len())
    }

    /// Gives back the memory that a connection at rest has no need of.
    pub(super) fn rest(&mut self) {
        if self.out.is_empty() && self.streams.is_empty() {
            self.spare.give_out(mem::take(&mut self.out.own));
        }
    }

    /// Whether the client has begun something that it should soon end.
    pub(super) fn is_midway(&self) -> bool {
        !self.has_settings || self.block.is_some()
    }

    /// Whether nothing is left to do on it.
    pub(super) fn is_over(&self) -> bool {
        self.ended || self.leaving == Leaving::Settled && self.streams.is_empty()
    }

    /// Tells the client to ask nothing more on it. What it has asked before it knows is answered.
    pub(super) fn leave(&mut self) {
        if self.leaving == Leaving::Not {
            self.leaving = Leaving::Told;
            self.go_away(frame::HIGHEST, Code::NoError);
            self.write(frame::PING, 0, 0, &PARTING);
        }
    }

    /// Takes nothing more.
    pub(super) fn settle(&mut self) {
        if self.leaving < Leaving::Settled {
            self.leaving = Leaving::Settled;
            self.go_away(self.last, Code::NoError);
        }
    }

    /// Asks the client whether it is still there.
    pub(super) fn ask_for_life(&mut self) {
        self.write(frame::PING, 0, 0, &[0; 8]);
    }

    fn go_away(&mut self, last: u32, code: Code) {
        let [last, code] = [last, code as u32].map(u32::to_be_bytes);
        self.write(frame::GOAWAY, 0, 0, &[last, code].concat());
    }

    /// Ends it, and tells the client why if there is a reason. Whoever waits for something on it finds out.
    pub(super) fn end(&mut self, code: Option<Code>) {
        if let Some(code) = code.filter(|_| !self.ended) {
            self.go_away(self.last, code);
        }
        self.ended = true;
        self.streams.clear();
        self.line.clear();
        self.called = 0;
    }

    /// Takes patience for a frame that nobody needs.
    pub(super) fn bear(&mut self, cost: u32) -> Result<(), Code> {
        if self.patience.take(cost, self.now) { Ok(()) } else { Err(Code::EnhanceYourCalm) }
    }

    /// Ends a stream early. Whoever waits for something on it finds out.
    pub(super) fn reset(&mut self, id: u32, code: Code) {
        self.reset_as(id, code as u32);
    }

    /// The same, with a reason that somebody else has given.
    pub(super) fn reset_as(&mut self, id: u32, code: u32) {
        self.write(frame::RST_STREAM, 0, id, &code.to_be_bytes());
        if self.resets.len() >= REMEMBERED {
            self.resets.pop_front();
        }
        self.resets.push_back(id);
        self.remove(id);
    }

    /// Whether the answer on a stream is not whole yet.
    pub(super) fn is_unanswered(&mut self, id: u32) -> bool {
        self.streams.get(id).is_some_and(|stream| !stream.answered)
    }

    /// Whether we have reset this stream not long ago.
    pub(super) fn has_reset(&self, id: u32) -> bool {
        self.resets.contains(&id)
    }

    /// Forgets a stream.
    pub(super) fn remove(&mut self, id: u32) {
        if let Some(stream) = self.streams.remove(id) {
            self.take(stream.held.len() as u32);
            match stream.turn {
                Turn::Out => {}
                Turn::Waits => self.line.retain(|other| *other != id),
                Turn::Next => self.pass(),
            }
            if self.streams.is_empty() {
                self.call();
            }
        }
    }

    /// One that was next has had its turn, or has no use for it.
    pub(super) fn pass(&mut self) {
        self.called = self.called.saturating_sub(1);
        self.call();
    }

    /// So much of what the client has sent has been read or is not wanted: it may send more.
    pub(super) fn take(&mut self, bytes: u32) {
        self.taken += bytes;
        if self.taken >= ALLOWANCE / 2 {
            let taken = mem::take(&mut self.taken);
            self.allowance += taken;
            self.write(frame::WINDOW_UPDATE, 0, 0, &taken.to_be_bytes());
        }
    }

    /// Ends what is left of a stream whose answer is on its way and whose body nobody reads.
    pub(super) fn finish(&mut self, id: u32) {
        let Some(&mut Stream { answered: true, has_reader: false, received, .. }) = self.streams.get(id) else {
            return;
        };
        self.patience.give(patience::EXCHANGE);
        if received {
            self.remove(id);
        } else {
            // The client need not send the rest (RFC 9113 8.1).
            self.reset(id, Code::NoError);
        }
    }

    /// The next request that has come. Of one that has been taken back by now nobody hears.
    pub(super) fn take_arrived(&mut self) -> Option<Arrived> {
        loop {
            let arrived = self.arrived.pop_front()?;
            if self.streams.has(arrived.stream) {
                return Some(arrived);
            }
            self.spare.give_parts(arrived.parts);
        }
    }
}
