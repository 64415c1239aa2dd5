//! What goes to a client, and what is read of what it has sent.

use std::mem;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::{Frame, SizeHint};

use super::connection::Connection;
use super::frame::{self, Head};
use super::hpack::Encoder;
use super::patience;
use super::request::is_of_connection;
use super::streams::{Turn, WINDOW};
use crate::proxy::body::BodyError;
use crate::proxy::waker;

impl Connection {
    /// Writes a block of fields for a stream.
    fn write_fields(&mut self, id: u32, ends: bool, write: impl FnOnce(&mut Vec<u8>, &mut Encoder)) {
        let (out, encoder) = self.out_and_encoder();
        let begin = out.len();
        out.extend_from_slice(&[0; frame::HEAD]);
        encoder.begin(out);
        write(out, encoder);
        let length = out.len() - begin - frame::HEAD;
        let ends = if ends { frame::END_STREAM } else { 0 };
        if length <= frame::LONGEST {
            let head = Head { length, kind: frame::HEADERS, flags: ends | frame::END_HEADERS, stream: id };
            if let Some(place) = out.get_mut(begin..begin + frame::HEAD) {
                place.copy_from_slice(&head.bytes());
            }
        } else {
            let block = out.split_off(begin + frame::HEAD);
            out.truncate(begin);
            let mut kind = frame::HEADERS;
            let mut parts = block.chunks(frame::LONGEST).peekable();
            while let Some(part) = parts.next() {
                let last = if parts.peek().is_none() { frame::END_HEADERS } else { 0 };
                let ends = if kind == frame::HEADERS { ends } else { 0 };
                frame::write(out, kind, ends | last, id, part);
                kind = frame::CONTINUATION;
            }
        }
        self.call();
    }

    /// Writes the head of an answer with these fields added, and whether it is all of it.
    pub(super) fn send_head(
        &mut self,
        id: u32,
        (status, headers): (StatusCode, &HeaderMap),
        added: [Option<(HeaderName, HeaderValue)>; 2],
        ends: bool,
    ) {
        let Some(stream) = self.streams.get(id) else { return };
        stream.to_continue = false;
        self.write_fields(id, ends, |out, encoder| {
            Encoder::status(out, status);
            let all = headers.iter().chain(added.iter().flatten().map(|(name, value)| (name, value)));
            all.filter(|(name, _)| !is_of_connection(name)).for_each(|(name, value)| encoder.field(out, name, value));
        });
        if ends {
            self.answered(id);
        }
    }

    /// Writes what comes after the body of an answer, and ends it.
    pub(super) fn send_trailers(&mut self, id: u32, trailers: &HeaderMap) {
        if self.streams.has(id) {
            self.write_fields(id, true, |out, encoder| {
                let fit = trailers.iter().filter(|(name, _)| !is_of_connection(name));
                fit.for_each(|(name, value)| encoder.field(out, name, value));
            });
            self.answered(id);
        }
    }

    /// Waits until some of an answer's body may be sent; says how much of it. `None` when the stream is over.
    pub(super) fn poll_room(&mut self, id: u32, cx: &Context<'_>) -> Poll<Option<usize>> {
        let has_room = self.window > 0 && self.room() > 0;
        let nobody_waits = self.line.is_empty() && self.called == 0;
        let Some(stream) = self.streams.get(id) else { return Poll::Ready(None) };
        let turn = stream.turn;
        if stream.window > 0 && has_room && (turn == Turn::Next || turn == Turn::Out && nobody_waits) {
            stream.turn = Turn::Out;
            let window = stream.window.min(self.window);
            if turn == Turn::Next {
                self.pass();
            }
            return Poll::Ready(Some(usize::try_from(window).unwrap_or(0).min(frame::LONGEST)));
        }
        waker::remember(&mut stream.task, cx);
        match turn {
            Turn::Waits => {}
            // Until the client takes more of it, others may go first.
            _ if stream.window <= 0 => {
                stream.turn = Turn::Out;
                if turn == Turn::Next {
                    self.pass();
                }
            }
            Turn::Out => {
                stream.turn = Turn::Waits;
                self.line.push_back(id);
            }
            Turn::Next => {
                stream.turn = Turn::Waits;
                self.line.push_front(id);
                self.pass();
            }
        }
        Poll::Pending
    }

    /// Has those go on who wait in line, as far as there is room.
    pub(super) fn grant(&mut self) {
        let room = self.room().min(usize::try_from(self.window).unwrap_or(0));
        while self.called < room.div_ceil(frame::LONGEST) {
            let Some(id) = self.line.pop_front() else { break };
            let Some(stream) = self.streams.get(id).filter(|stream| stream.turn == Turn::Waits) else { continue };
            stream.turn = Turn::Next;
            self.called += 1;
            if let Some(task) = stream.task.take() {
                task.wake();
            }
        }
    }

    /// Writes a part of an answer's body, for which there is room.
    pub(super) fn send_data(&mut self, id: u32, data: Bytes, ends: bool) {
        let Some(stream) = self.streams.get(id) else { return };
        let length = data.len() as i64;
        stream.window -= length;
        self.window -= length;
        self.patience.give(patience::PART);
        self.write_piece(if ends { frame::END_STREAM } else { 0 }, id, data);
        if ends {
            self.answered(id);
        }
    }

    fn answered(&mut self, id: u32) {
        if let Some(stream) = self.streams.get(id) {
            stream.answered = true;
            self.finish(id);
        }
    }

    /// Ready once a stream is over, for whoever waits for something else meanwhile.
    pub(super) fn poll_over(&mut self, id: u32, cx: &Context<'_>) -> Poll<()> {
        let Some(stream) = self.streams.get(id) else { return Poll::Ready(()) };
        waker::remember(&mut stream.task, cx);
        Poll::Pending
    }

    /// The next part of a request's body.
    pub(super) fn poll_body(&mut self, id: u32, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(stream) = self.streams.get(id) else { return Poll::Ready(Some(Err(BodyError::Broken))) };
        if !stream.held.is_empty() {
            let data = mem::take(&mut stream.held).freeze();
            let length = data.len() as u32;
            stream.taken += length;
            if stream.taken >= WINDOW / 2 && !stream.received {
                let taken = mem::take(&mut stream.taken);
                stream.allowance += taken;
                self.write(frame::WINDOW_UPDATE, 0, id, &taken.to_be_bytes());
            }
            self.take(length);
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if stream.received {
            return Poll::Ready(stream.trailers.take().map(|trailers| Ok(Frame::trailers(*trailers))));
        }
        waker::remember(&mut stream.reader, cx);
        if mem::take(&mut stream.to_continue) {
            self.write_fields(id, false, |out, _| Encoder::status(out, StatusCode::CONTINUE));
        }
        Poll::Pending
    }

    /// Whether nothing is left to be read of a request's body. What broke off has no end.
    pub(super) fn is_body_end(&mut self, id: u32) -> bool {
        self.streams
            .get(id)
            .is_some_and(|stream| stream.received && stream.held.is_empty() && stream.trailers.is_none())
    }

    /// What is known of the length of what is left to be read.
    pub(super) fn body_size(&mut self, id: u32) -> SizeHint {
        match self.streams.get(id) {
            Some(stream) if stream.left.is_some() => {
                SizeHint::with_exact(stream.left.unwrap_or(0) + stream.held.len() as u64)
            }
            Some(stream) if stream.received && stream.trailers.is_none() => {
                SizeHint::with_exact(stream.held.len() as u64)
            }
            _ => SizeHint::default(),
        }
    }

    /// Nobody reads any more of a request's body.
    pub(super) fn abandon(&mut self, id: u32) {
        let Some(stream) = self.streams.get(id) else { return };
        stream.has_reader = false;
        let unread = mem::take(&mut stream.held).len() as u32;
        self.take(unread);
        self.finish(id);
    }
}
