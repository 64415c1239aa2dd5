//! What a client sends.

use std::mem;

use bytes::{Buf, Bytes, BytesMut};
use http::header;
use http::request::Parts;

use super::connection::{Arrived, Block, Connection, Leaving, MAX_STREAMS, PARTING, PREFACE};
use super::frame::{self, Code, Head};
use super::hpack::{Malformed, Scratch};
use super::patience;
use super::request::{Reading, Unfit};
use super::streams::Stream;
use crate::field_kinds::FieldKinds;
use crate::proxy::framing::{MAX_HEAD, Received};
use crate::upstream::content_length;

/// Fields that come in several frames may be so long together, as they are written.
const MAX_BLOCK: usize = 2 * MAX_HEAD;

impl Connection {
    /// Takes in whole frames; what is left of the bytes is the beginning of one.
    ///
    /// # Errors
    /// When the connection cannot go on.
    pub(super) fn receive(&mut self, bytes: &mut BytesMut, scratch: &mut Scratch) -> Result<(), Code> {
        if !self.greeted {
            let greeting = bytes.get(..PREFACE.len().min(bytes.len())).unwrap_or_default();
            if !PREFACE.starts_with(greeting) {
                return Err(Code::Protocol);
            }
            if greeting.len() < PREFACE.len() {
                return Ok(());
            }
            bytes.advance(PREFACE.len());
            self.greeted = true;
        }
        while let Some(head) = Head::read(bytes) {
            if head.length > frame::LONGEST {
                return Err(Code::FrameSize);
            }
            if bytes.len() < frame::HEAD + head.length {
                break;
            }
            bytes.advance(frame::HEAD);
            self.frame(head, bytes, scratch)?;
        }
        Ok(())
    }

    /// Takes in one frame, whose payload is at the beginning of these bytes.
    fn frame(&mut self, head: Head, bytes: &mut BytesMut, scratch: &mut Scratch) -> Result<(), Code> {
        if self.block.is_some() != (head.kind == frame::CONTINUATION) {
            return Err(Code::Protocol);
        }
        if !self.has_settings && (head.kind != frame::SETTINGS || head.has(frame::ACK)) {
            return Err(Code::Protocol);
        }
        match head.kind {
            frame::DATA => return self.data(head, bytes.split_to(head.length)),
            frame::HEADERS => return self.headers(head, bytes.split_to(head.length), scratch),
            _ => {}
        }
        let payload = bytes.get(..head.length).unwrap_or_default();
        match head.kind {
            frame::SETTINGS => self.settings(head, payload)?,
            frame::PING => self.ping(head, payload)?,
            frame::WINDOW_UPDATE => self.window_update(head, payload)?,
            frame::RST_STREAM => self.rst_stream(head, payload)?,
            frame::PRIORITY => self.priority(head, payload)?,
            frame::GOAWAY => self.goaway(head)?,
            frame::CONTINUATION => self.continuation(head, payload, scratch)?,
            frame::PUSH_PROMISE => return Err(Code::Protocol),
            // Unknown ones mean nothing to us (RFC 9113 4.1).
            _ => self.bear(patience::IDLE)?,
        }
        bytes.advance(head.length);
        Ok(())
    }

    /// Whether the client has never begun this stream, so that there is nothing to say of it.
    fn is_idle(&self, id: u32) -> bool {
        id > self.last || id.is_multiple_of(2)
    }

    fn data(&mut self, head: Head, mut payload: BytesMut) -> Result<(), Code> {
        let (id, length) = (head.stream, head.length as u32);
        if self.is_idle(id) {
            return Err(Code::Protocol);
        }
        self.allowance = self.allowance.checked_sub(length).ok_or(Code::FlowControl)?;
        let ends = head.has(frame::END_STREAM);
        let Some(stream) = self.streams.get(id) else {
            self.take(length);
            return self.closed(id);
        };
        unpad(head, &mut payload)?;
        let (here, padding) = (payload.len() as u32, length - payload.len() as u32);
        let Some(allowance) = stream.allowance.checked_sub(length) else {
            return self.fail(id, Code::FlowControl, length);
        };
        if stream.received {
            return self.fail(id, Code::StreamClosed, length);
        }
        stream.allowance = allowance;
        stream.taken += padding;
        if let Some(left) = &mut stream.left {
            match left.checked_sub(here.into()) {
                Some(rest) if rest == 0 || !ends => *left = rest,
                _ => return self.fail(id, Code::Protocol, length),
            }
        }
        stream.received = ends;
        let mut unwanted = padding;
        if !stream.has_reader {
            unwanted = length;
        } else if stream.held.is_empty() {
            stream.held = payload;
        } else {
            stream.held.extend_from_slice(&payload);
        }
        if let Some(reader) = stream.reader.take() {
            reader.wake();
        }
        self.take(unwanted);
        if ends {
            self.finish(id);
        } else if here == 0 {
            self.bear(patience::IDLE)?;
        }
        Ok(())
    }

    /// Ends a stream on which the client has done wrong.
    fn fail(&mut self, id: u32, code: Code, unread: u32) -> Result<(), Code> {
        self.take(unread);
        self.reset(id, code);
        self.bear(patience::WASTED)
    }

    /// Something has come on a stream that is over: of one that we have reset the client may not have known it.
    fn closed(&mut self, id: u32) -> Result<(), Code> {
        if self.has_reset(id) { self.bear(patience::IDLE) } else { self.fail(id, Code::StreamClosed, 0) }
    }

    fn headers(&mut self, head: Head, mut payload: BytesMut, scratch: &mut Scratch) -> Result<(), Code> {
        if head.stream.is_multiple_of(2) {
            return Err(Code::Protocol);
        }
        unpad(head, &mut payload)?;
        if head.has(frame::PRIORITISED) {
            let depends = frame::number(&payload).filter(|_| payload.len() >= 5).ok_or(Code::FrameSize)?;
            if depends & frame::HIGHEST == head.stream {
                return Err(Code::Protocol);
            }
            payload.advance(5);
        }
        if head.has(frame::END_HEADERS) {
            return self.fields(head, &payload.freeze(), scratch);
        }
        self.block = Some(Block { head, bytes: payload.to_vec() });
        Ok(())
    }

    fn continuation(&mut self, head: Head, payload: &[u8], scratch: &mut Scratch) -> Result<(), Code> {
        self.bear(patience::IDLE)?;
        let block = self.block.as_mut().filter(|block| block.head.stream == head.stream).ok_or(Code::Protocol)?;
        if block.bytes.len() + payload.len() > MAX_BLOCK {
            return Err(Code::EnhanceYourCalm);
        }
        block.bytes.extend_from_slice(payload);
        if head.has(frame::END_HEADERS)
            && let Some(block) = self.block.take()
        {
            self.fields(block.head, &Bytes::from(block.bytes), scratch)?;
        }
        Ok(())
    }

    /// Takes in the fields of a request, or those after its body.
    fn fields(&mut self, head: Head, block: &Bytes, scratch: &mut Scratch) -> Result<(), Code> {
        let mut parts = self.spare.take_parts();
        let mut reading = Reading::begin(&mut parts);
        let decoded = self.decoder.decode(block, scratch, |field, size| reading.take(field, size));
        decoded.map_err(|Malformed| Code::Compression)?;
        let id = head.stream;
        if id > self.last {
            self.last = id;
            let read = reading.request();
            return self.request(head, parts, read);
        }
        let read = reading.trailers();
        let outcome = self.trailers(head, &mut parts, read);
        self.spare.give_parts(parts);
        outcome
    }

    fn request(&mut self, head: Head, parts: Box<Parts>, read: Result<Received, Unfit>) -> Result<(), Code> {
        let (id, ends) = (head.stream, head.has(frame::END_STREAM));
        if self.leaving == Leaving::Settled {
            // It has been told that nobody looks at this.
            self.spare.give_parts(parts);
            return self.bear(patience::WASTED);
        }
        let length = match &read {
            // What is no length is for the exchange to refuse, which tells the client why.
            Ok(received) if received.kinds.has(FieldKinds::LENGTH) => content_length(&parts.headers).unwrap_or(None),
            Ok(_) | Err(_) => None,
        };
        let unfit = if read.is_err() || ends && length.is_some_and(|length| length > 0) {
            Some(Code::Protocol)
        } else if self.streams.len() >= MAX_STREAMS {
            Some(Code::RefusedStream)
        } else {
            None
        };
        if let Some(code) = unfit {
            self.spare.give_parts(parts);
            return self.fail(id, code, 0);
        }
        let received = read.unwrap_or_default();
        let to_continue = !ends && parts.headers.contains_key(header::EXPECT);
        self.streams.insert(Stream::new((id, self.now), self.stream_window, ends, length, to_continue));
        self.arrived.push_back(Arrived { stream: id, parts, has_body: !ends, received });
        if received.refusal.is_some() { self.bear(patience::WASTED) } else { Ok(()) }
    }

    fn trailers(&mut self, head: Head, parts: &mut Parts, read: Result<(), Unfit>) -> Result<(), Code> {
        let id = head.stream;
        let Some(stream) = self.streams.get(id) else {
            // Unlike a body, nobody sends them by mistake (RFC 9113 5.1).
            return if self.has_reset(id) { self.bear(patience::IDLE) } else { Err(Code::StreamClosed) };
        };
        if stream.received {
            return self.fail(id, Code::StreamClosed, 0);
        }
        let whole = stream.left.is_none_or(|left| left == 0);
        if read.is_err() || !head.has(frame::END_STREAM) || !whole {
            return self.fail(id, Code::Protocol, 0);
        }
        stream.received = true;
        stream.trailers = Some(Box::new(mem::take(&mut parts.headers)));
        if let Some(reader) = stream.reader.take() {
            reader.wake();
        }
        self.finish(id);
        Ok(())
    }

    fn settings(&mut self, head: Head, payload: &[u8]) -> Result<(), Code> {
        if head.stream != 0 {
            return Err(Code::Protocol);
        }
        if head.has(frame::ACK) {
            return if payload.is_empty() { self.bear(patience::IDLE) } else { Err(Code::FrameSize) };
        }
        if !payload.len().is_multiple_of(6) {
            return Err(Code::FrameSize);
        }
        self.bear(patience::ANSWERED)?;
        for (name, value) in frame::settings(payload) {
            match name {
                frame::HEADER_TABLE_SIZE => self.encoder.set_limit(value as usize),
                frame::ENABLE_PUSH if value > 1 => return Err(Code::Protocol),
                frame::INITIAL_WINDOW_SIZE if value > frame::HIGHEST => return Err(Code::FlowControl),
                frame::INITIAL_WINDOW_SIZE => self.set_stream_window(value.into())?,
                frame::MAX_FRAME_SIZE if !(frame::LONGEST as u32..1 << 24).contains(&value) => {
                    return Err(Code::Protocol);
                }
                _ => {}
            }
        }
        self.has_settings = true;
        self.write(frame::SETTINGS, frame::ACK, 0, &[]);
        Ok(())
    }

    /// Streams that are there already get as much more, or less (RFC 9113 6.9.2).
    fn set_stream_window(&mut self, window: i64) -> Result<(), Code> {
        let more = window - self.stream_window;
        self.stream_window = window;
        for stream in self.streams.iter_mut() {
            stream.window += more;
            if stream.window > frame::HIGHEST.into() {
                return Err(Code::FlowControl);
            }
            if let Some(task) = stream.task.take_if(|_| more > 0) {
                task.wake();
            }
        }
        Ok(())
    }

    fn ping(&mut self, head: Head, payload: &[u8]) -> Result<(), Code> {
        if head.stream != 0 {
            return Err(Code::Protocol);
        }
        let payload = <[u8; 8]>::try_from(payload).map_err(|_| Code::FrameSize)?;
        if head.has(frame::ACK) {
            if payload == PARTING && self.leaving == Leaving::Told {
                self.settle();
            }
            return self.bear(patience::IDLE);
        }
        self.bear(patience::ANSWERED)?;
        self.write(frame::PING, frame::ACK, 0, &payload);
        Ok(())
    }

    fn window_update(&mut self, head: Head, payload: &[u8]) -> Result<(), Code> {
        let Some(more) = frame::number(payload).filter(|_| payload.len() == 4) else { return Err(Code::FrameSize) };
        let more = i64::from(more & frame::HIGHEST);
        self.bear(patience::IDLE)?;
        let id = head.stream;
        if id == 0 {
            if more == 0 {
                return Err(Code::Protocol);
            }
            self.window += more;
            self.call();
            return if self.window <= frame::HIGHEST.into() { Ok(()) } else { Err(Code::FlowControl) };
        }
        if self.is_idle(id) {
            return Err(Code::Protocol);
        }
        // What comes for a stream that is over has crossed its end.
        let Some(stream) = self.streams.get(id) else { return Ok(()) };
        stream.window += more;
        if more == 0 {
            return self.fail(id, Code::Protocol, 0);
        }
        if stream.window > frame::HIGHEST.into() {
            return self.fail(id, Code::FlowControl, 0);
        }
        if let Some(task) = stream.task.take() {
            task.wake();
        }
        Ok(())
    }

    fn rst_stream(&mut self, head: Head, payload: &[u8]) -> Result<(), Code> {
        if payload.len() != 4 {
            return Err(Code::FrameSize);
        }
        if self.is_idle(head.stream) {
            return Err(Code::Protocol);
        }
        let cost = match self.streams.get(head.stream) {
            Some(stream) if self.now - stream.begun < patience::RASH => patience::WASTED,
            // There are no more of them than there may be streams: clients lose interest, and have deadlines of their own.
            Some(_) => 0,
            None => patience::IDLE,
        };
        self.remove(head.stream);
        self.bear(cost)
    }

    /// Nobody is served before others because a client says so (RFC 9113 5.3).
    fn priority(&mut self, head: Head, payload: &[u8]) -> Result<(), Code> {
        let depends = frame::number(payload).filter(|_| payload.len() == 5).ok_or(Code::FrameSize)?;
        if head.stream == 0 || depends & frame::HIGHEST == head.stream {
            return Err(Code::Protocol);
        }
        self.bear(patience::IDLE)
    }

    /// The client asks nothing more.
    fn goaway(&mut self, head: Head) -> Result<(), Code> {
        if head.stream != 0 {
            return Err(Code::Protocol);
        }
        if head.length < 8 {
            return Err(Code::FrameSize);
        }
        self.settle();
        Ok(())
    }
}

/// Takes away what a payload is padded with (RFC 9113 6.1).
fn unpad(head: Head, payload: &mut BytesMut) -> Result<(), Code> {
    if head.has(frame::PADDED) {
        let padding = usize::from(*payload.first().ok_or(Code::FrameSize)?);
        let left = payload.len().checked_sub(padding + 1).ok_or(Code::Protocol)?;
        payload.advance(1);
        payload.truncate(left);
    }
    Ok(())
}
