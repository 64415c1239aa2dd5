//! A walk along a chunked body (RFC 9112 7.1), stricter than the grammar where leniency has hidden requests.

use super::{Refusal, class, is_field_value};

/// Where in a chunked body the walk stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Chunked {
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
    /// In a line of the trailer section, which is kept until it is whole, with the bytes of those before it.
    Trailer(Vec<u8>, usize),
    /// Past the empty line that ends the body.
    Done,
}

/// An extension longer than this has no use; hyper would let 16 KiB of them pass.
const MAX_EXTENSION: u16 = 256;
/// All trailer fields together.
const MAX_TRAILERS: usize = 8 * 1024;

impl Chunked {
    /// Walks on and says how many of the bytes belong to the body; fewer than given only when the body has ended.
    pub(super) fn walk(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut rest = bytes;
        while let [byte, after @ ..] = rest {
            let byte = *byte;
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
                    (b'\n', 0) => Self::Trailer(Vec::new(), 0),
                    (b'\n', size) => Self::Data(size),
                    _ => return Err(Refusal::Chunk),
                },
                Self::Data(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    rest = rest.get(here..).unwrap_or_default();
                    *self = match left - here as u64 {
                        0 => Self::DataCr,
                        left => Self::Data(left),
                    };
                    continue;
                }
                Self::DataCr if byte == b'\r' => Self::DataLf,
                Self::DataLf if byte == b'\n' => Self::Start,
                Self::DataCr | Self::DataLf => return Err(Refusal::Chunk),
                Self::Trailer(line, before) => trailer(line, before, byte)?,
                Self::Done => {
                    *self = Self::Done;
                    return Ok(bytes.len() - rest.len());
                }
            };
            rest = after;
        }
        Ok(bytes.len())
    }

    /// Whether the body has ended.
    pub(super) fn is_done(&self) -> bool {
        *self == Self::Done
    }
}

fn trailer(mut line: Vec<u8>, before: usize, byte: u8) -> Result<Chunked, Refusal> {
    line.push(byte);
    let total = before + line.len();
    if total > MAX_TRAILERS {
        return Err(Refusal::HeadTooLarge);
    }
    match line.as_slice() {
        b"\r\n" => Ok(Chunked::Done),
        [field @ .., b'\r', b'\n'] => {
            let colon = memchr::memchr(b':', field).ok_or(Refusal::Field)?;
            let (name, value) = field.split_at(colon);
            if name.is_empty() || !class::all(name, class::TOKEN) || !is_field_value(value) {
                return Err(Refusal::Field);
            }
            Ok(Chunked::Trailer(Vec::new(), total))
        }
        [.., b'\n'] => Err(Refusal::Field),
        [.., b'\r', other] if *other != b'\n' => Err(Refusal::Field),
        _ => Ok(Chunked::Trailer(line, before)),
    }
}

fn hex(byte: u8) -> Result<u64, Refusal> {
    char::from(byte).to_digit(16).map(u64::from).ok_or(Refusal::Chunk)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn walk(bytes: &[u8]) -> Result<(usize, bool), Refusal> {
        let mut state = Chunked::default();
        state.walk(bytes).map(|taken| (taken, state.is_done()))
    }

    #[test]
    fn bodies_end_where_they_say() {
        for body in ["0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "A;x=\"y\"\r\n0123456789\r\n0\r\nX-T: v\r\nY: \r\n\r\n"] {
            let with_more = format!("{body}GET / HTTP/1.1\r\n");
            assert_eq!(walk(with_more.as_bytes()), Ok((body.len(), true)), "{body:?}");
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
            assert!(walk(body.as_bytes()).is_err(), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn where_reads_are_cut_does_not_matter(body in "[0-3]{0,2}[a;\r\n]{0,4}([0-9a]\r\n[a-z]{0,9}\r\n){0,3}0\r\n(X: y\r\n)?\r\n", cuts in prop::collection::vec(1usize..5, 0..40)) {
            let whole = walk(body.as_bytes());
            let mut state = Chunked::default();
            let mut rest = body.as_bytes();
            let mut taken = 0;
            let mut cuts = cuts.into_iter().cycle();
            let pieces = loop {
                if rest.is_empty() || state.is_done() { break Ok((taken, state.is_done())); }
                let piece = &rest[..cuts.next().unwrap_or(1).min(rest.len())];
                match state.walk(piece) {
                    Ok(n) => { taken += n; rest = &rest[n..]; if n < piece.len() { break Ok((taken, state.is_done())); } }
                    Err(refusal) => break Err(refusal),
                }
            };
            prop_assert_eq!(whole, pieces);
        }
    }
}
