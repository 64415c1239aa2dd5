//! A client of HTTP/2 that says what it is told to, right or wrong: frames by hand, fields as plain literals.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Nothing that is waited for takes this long unless it never comes.
const PATIENCE: Duration = Duration::from_secs(8);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// A field in bytes, pseudo-fields included.
pub(crate) type Field<'a> = (&'a [u8], &'a [u8]);

/// What became of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Answered; 0 stands for a status that HPACK's static table does not have.
    Answered(u16, Vec<u8>),
    /// RST_STREAM with this code.
    Reset(u32),
    /// The connection ended, with GOAWAY of this code if there was one.
    Ended(Option<u32>),
}

/// A connection of HTTP/2 by prior knowledge.
pub(crate) struct RawH2 {
    stream: TcpStream,
    received: VecDeque<u8>,
    next: u32,
}

impl RawH2 {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut connection = Self { stream, received: VecDeque::new(), next: 1 };
        connection.write(PREFACE);
        connection.frame(SETTINGS, 0, 0, &[]);
        connection
    }

    /// Begins a request and says on which stream.
    pub(crate) fn headers(&mut self, fields: &[Field<'_>], ends: bool) -> u32 {
        let stream = self.next;
        self.next += 2;
        self.fields(stream, fields, ends);
        stream
    }

    /// Ends a request with trailers.
    pub(crate) fn trailers(&mut self, stream: u32, fields: &[Field<'_>]) {
        self.fields(stream, fields, true);
    }

    fn fields(&mut self, stream: u32, fields: &[Field<'_>], ends: bool) {
        let mut block = Vec::new();
        for (name, value) in fields {
            // Literal without indexing, both parts spelt out (RFC 7541 6.2.2).
            block.push(0);
            literal(&mut block, name);
            literal(&mut block, value);
        }
        let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
        self.frame(HEADERS, flags, stream, &block);
    }

    /// Sends a part of a request's body.
    pub(crate) fn data(&mut self, stream: u32, bytes: &[u8], ends: bool) {
        self.frame(DATA, if ends { END_STREAM } else { 0 }, stream, bytes);
    }

    /// Waits for what becomes of a stream; other streams' frames are passed over.
    pub(crate) fn fate(&mut self, stream: u32) -> Fate {
        let mut status = None;
        let mut body = Vec::new();
        let mut going = None;
        loop {
            let Some((kind, flags, id, payload)) = self.next_frame() else { return Fate::Ended(going) };
            match kind {
                SETTINGS if flags & ACK == 0 => self.frame(SETTINGS, ACK, 0, &[]),
                PING if flags & ACK == 0 => self.frame(PING, ACK, 0, &payload),
                GOAWAY => going = Some(number(&payload[4..8])),
                RST_STREAM if id == stream => {
                    // A reset without error after the whole answer only says that the body was not needed.
                    return match status {
                        Some(status) if number(&payload) == 0 => Fate::Answered(status, body),
                        _ => Fate::Reset(number(&payload)),
                    };
                }
                HEADERS if id == stream => {
                    status.get_or_insert_with(|| known_status(&payload));
                }
                DATA if id == stream => body.extend_from_slice(&payload),
                _ => {}
            }
            if matches!(kind, HEADERS | DATA) && id == stream && flags & END_STREAM != 0 {
                return Fate::Answered(status.unwrap_or(0), body);
            }
        }
    }

    fn next_frame(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let head = self.take(9)?;
        let length = number(&[0, head[0], head[1], head[2]]);
        let id = number(&head[5..9]) & 0x7fff_ffff;
        Some((head[3], head[4], id, self.take(length as usize)?))
    }

    fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut buffer = [0; 16 * 1024];
        while self.received.len() < count {
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(read) => self.received.extend(&buffer[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("neither answered nor closed: {error}"),
            }
        }
        Some(self.received.drain(..count).collect())
    }

    /// Sends so many pings, or as many as the other side takes.
    pub(crate) fn pings(&mut self, count: usize) {
        for _ in 0..count {
            self.frame(PING, 0, 0, &[0; 8]);
        }
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend_from_slice(&[kind, flags]);
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.write(&frame);
    }

    fn write(&mut self, bytes: &[u8]) {
        // A connection that the other side has closed swallows it; what was read before says why.
        let _ = self.stream.write_all(bytes);
    }
}

/// A string literal without Huffman coding (RFC 7541 5.2).
fn literal(block: &mut Vec<u8>, text: &[u8]) {
    let mut length = text.len();
    if length < 0x7f {
        block.push(length as u8);
    } else {
        block.push(0x7f);
        length -= 0x7f;
        while length >= 0x80 {
            block.push((length % 0x80) as u8 | 0x80);
            length /= 0x80;
        }
        block.push(length as u8);
    }
    block.extend_from_slice(text);
}

/// The status, when it is one of those that HPACK knows by number (RFC 7541 appendix A, 8 to 14).
fn known_status(block: &[u8]) -> u16 {
    match block.first() {
        Some(0x88) => 200,
        Some(0x89) => 204,
        Some(0x8a) => 206,
        Some(0x8b) => 304,
        Some(0x8c) => 400,
        Some(0x8d) => 404,
        Some(0x8e) => 500,
        _ => 0,
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}
