//! Taking a request's body out of its chunks (RFC 9112 7.1), stricter than the grammar where leniency has hidden requests.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Refusal, class, is_field_value, trim};

/// Where in a chunked body the walk stands.
#[derive(Debug, Default)]
pub(in crate::proxy) enum Chunked {
    /// Before the first digit of a size.
    #[default]
    Start,
    /// In the digits of a size: the size so far and how many digits it had.
    Size(u64, u8),
    /// In an extension, of a chunk of this size, so many bytes long already.
    Extension(u64, u16),
    /// After the CR of a size line.
    SizeEnd(u64),
    /// In the data, with so many bytes to come.
    Data(u64),
    /// After the data, at its CR.
    DataCr,
    /// After the data, at its LF.
    DataLf,
    /// In the trailer section.
    Trailers(Box<Trailers>),
}

/// A trailer section as far as it is there.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Trailers {
    /// The line that is not whole yet.
    line: Vec<u8>,
    /// Bytes of those before it.
    before: usize,
    fields: HeaderMap,
}

/// A part of a body.
#[derive(Debug)]
pub(in crate::proxy) enum Piece {
    /// Some of the data.
    Data(Bytes),
    /// The end, and the fields after it if there are any.
    End(Option<HeaderMap>),
}

/// An extension longer than this has no use.
const MAX_EXTENSION: u16 = 256;
/// All trailer fields together.
const MAX_TRAILERS: usize = 8 * 1024;

impl Chunked {
    /// The next piece, as far as it has been read; what follows the end stays where it is.
    pub(in crate::proxy) fn next(&mut self, read: &mut BytesMut) -> Result<Option<Piece>, Refusal> {
        loop {
            if let Self::Data(left) = *self {
                if read.is_empty() {
                    return Ok(None);
                }
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(read.len());
                *self = match left - here as u64 {
                    0 => Self::DataCr,
                    left => Self::Data(left),
                };
                return Ok(Some(Piece::Data(read.split_to(here).freeze())));
            }
            let Some(byte) = read.first().copied() else { return Ok(None) };
            read.advance(1);
            *self = match std::mem::take(self) {
                Self::Start => Self::Size(hex(byte)?, 1),
                Self::Size(size, digits) => match byte {
                    b'\r' => Self::SizeEnd(size),
                    b';' => Self::Extension(size, 0),
                    // Sixteen digits are all that 64 bits hold; a size near that is a game with somebody's overflow.
                    _ if digits < 15 => Self::Size(size << 4 | hex(byte)?, digits + 1),
                    _ => return Err(Refusal::Chunk),
                },
                Self::Extension(size, length) => match byte {
                    b'\r' => Self::SizeEnd(size),
                    _ if length < MAX_EXTENSION && is_field_value(&[byte]) => Self::Extension(size, length + 1),
                    _ => return Err(Refusal::Chunk),
                },
                Self::SizeEnd(size) => match (byte, size) {
                    (b'\n', 0) => Self::Trailers(Box::default()),
                    (b'\n', size) => Self::Data(size),
                    _ => return Err(Refusal::Chunk),
                },
                Self::DataCr if byte == b'\r' => Self::DataLf,
                Self::DataLf if byte == b'\n' => Self::Start,
                Self::Data(_) | Self::DataCr | Self::DataLf => return Err(Refusal::Chunk),
                Self::Trailers(mut trailers) => {
                    if trailers.take(byte)? {
                        return Ok(Some(Piece::End(Some(trailers.fields).filter(|fields| !fields.is_empty()))));
                    }
                    Self::Trailers(trailers)
                }
            };
        }
    }
}

impl Trailers {
    /// Takes the next byte; `true` at the end.
    fn take(&mut self, byte: u8) -> Result<bool, Refusal> {
        self.line.push(byte);
        if self.before + self.line.len() > MAX_TRAILERS {
            return Err(Refusal::HeadTooLarge);
        }
        match self.line.as_slice() {
            b"\r\n" => return Ok(true),
            [field @ .., b'\r', b'\n'] => {
                let colon = memchr::memchr(b':', field).ok_or(Refusal::Field)?;
                let (name, value) = field.split_at(colon);
                if name.is_empty() || !class::all(name, class::TOKEN) || !is_field_value(value) {
                    return Err(Refusal::Field);
                }
                let value = trim(value.get(1..).unwrap_or_default());
                let name = HeaderName::from_bytes(name).map_err(|_| Refusal::Field)?;
                let value = HeaderValue::from_bytes(value).map_err(|_| Refusal::Field)?;
                self.fields.try_append(name, value).map_err(|_| Refusal::HeadTooLarge)?;
                self.before += self.line.len();
                self.line.clear();
            }
            [.., b'\n'] => return Err(Refusal::Field),
            [.., b'\r', other] if *other != b'\n' => return Err(Refusal::Field),
            _ => {}
        }
        Ok(false)
    }
}

fn hex(byte: u8) -> Result<u64, Refusal> {
    char::from(byte).to_digit(16).map(u64::from).ok_or(Refusal::Chunk)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data and the trailers of a body, and how many bytes it was; `None` when its end is not there.
    type Read = Option<(Vec<u8>, Option<HeaderMap>, usize)>;

    /// Reads what comes in pieces of these sizes, over and over.
    fn read(bytes: &[u8], sizes: &[usize]) -> Result<Read, Refusal> {
        let (mut state, mut held, mut data) = (Chunked::default(), BytesMut::new(), Vec::new());
        let (mut rest, mut sizes) = (bytes, sizes.iter().copied().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(sizes.next().unwrap_or(usize::MAX).min(rest.len()));
            held.extend_from_slice(piece);
            rest = after;
            while let Some(piece) = state.next(&mut held)? {
                match piece {
                    Piece::Data(bytes) => data.extend_from_slice(&bytes),
                    Piece::End(trailers) => return Ok(Some((data, trailers, bytes.len() - rest.len() - held.len()))),
                }
            }
        }
        Ok(None)
    }

    #[test]
    fn bodies_end_where_they_say() {
        for (body, data) in [
            ("0\r\n\r\n", ""),
            ("5\r\nhello\r\n0\r\n\r\n", "hello"),
            ("A;x=\"y\"\r\n0123456789\r\n0\r\nX-T: v\r\nY: \r\n\r\n", "0123456789"),
        ] {
            let with_more = format!("{body}GET / HTTP/1.1\r\n");
            let (read, trailers, length) = read(with_more.as_bytes(), &[]).unwrap().unwrap();
            assert_eq!((read.as_slice(), length), (data.as_bytes(), body.len()), "{body:?}");
            let trailers = trailers.unwrap_or_default();
            assert_eq!(trailers.get("x-t").is_some_and(|value| value == "v"), body.contains("X-T"));
            assert_eq!(trailers.get("y").is_some_and(HeaderValue::is_empty), body.contains("X-T"));
        }
    }

    #[test]
    fn what_two_parsers_could_read_in_two_ways_is_refused() {
        for body in [
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhelloX\r\n0\r\n\r\n",
            " 5\r\nhello\r\n",
            "5 \r\nhello\r\n",
            "0x5\r\nhello\r\n",
            "+5\r\nhello\r\n",
            "\r\nhello\r\n",
            "5;a\nhello\r\n",
            "5;a\rb\r\nhello\r\n",
            "10000000000000005\r\nhello\r\n",
            "0\r\nbad name: x\r\n\r\n",
            "0\r\n: x\r\n\r\n",
            "0\r\nno colon\r\n\r\n",
            "0\r\nX: a\r\n b\r\n\r\n",
            "0\r\nX: a\n\r\n",
            "0\r\nX: a\rb\r\n\r\n",
        ] {
            assert!(read(body.as_bytes(), &[]).is_err(), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn where_reads_are_cut_does_not_matter(body in "[0-3]{0,2}[a;\r\n]{0,4}([0-9a]\r\n[a-z]{0,9}\r\n){0,3}0\r\n(X: y\r\n)?\r\n", cuts in prop::collection::vec(1usize..5, 1..40)) {
            prop_assert_eq!(read(body.as_bytes(), &[]), read(body.as_bytes(), &cuts));
        }
    }
}
