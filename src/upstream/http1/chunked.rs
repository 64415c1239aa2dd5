//! Taking a response's body out of its chunks (RFC 9112 7.1).

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use memchr::memmem;

use super::head::{self, Malformed};

/// All of a chunk's extensions; they mean nothing to us.
const MAX_EXTENSION: u16 = 4096;
/// All trailer fields together.
const MAX_TRAILERS: usize = 16 * 1024;

/// Where in a chunked body the reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunked {
    /// In the digits of a size: the size so far and how many digits it had.
    Size(u64, u8),
    /// After the digits, where old servers pad with spaces.
    Padding(u64, u16),
    /// In an extension, so many bytes long already.
    Extension(u64, u16),
    /// After the CR of a size line.
    SizeEnd(u64),
    /// In the data, with so many bytes to come.
    Data(u64),
    /// After the data, at its CR.
    DataCr,
    /// After the data, at its LF.
    DataLf,
    /// In the trailer section, of which so many bytes have been looked at.
    Trailers(usize),
}

/// What a read has brought.
#[derive(Debug)]
pub(super) enum Piece {
    Data(Bytes),
    /// The end, and the fields after it if there are any.
    End(Option<HeaderMap>),
}

impl Default for Chunked {
    fn default() -> Self {
        Self::Size(0, 0)
    }
}

impl Chunked {
    /// The next piece, as far as it has been read.
    pub(super) fn next(&mut self, read: &mut BytesMut) -> Result<Option<Piece>, Malformed> {
        loop {
            match *self {
                Self::Data(left) => {
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
                Self::Trailers(seen) => return self.trailers(seen, read),
                _ => {
                    let Some(byte) = read.first().copied() else { return Ok(None) };
                    read.advance(1);
                    *self = self.step(byte)?;
                }
            }
        }
    }

    fn step(self, byte: u8) -> Result<Self, Malformed> {
        const BAD: Malformed = Malformed("malformed chunk");
        Ok(match (self, byte) {
            (Self::Size(size, digits), _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).ok_or(BAD)?;
                // Sixteen digits are all that 64 bits hold.
                if digits >= 15 {
                    return Err(BAD);
                }
                Self::Size(size << 4 | u64::from(digit), digits + 1)
            }
            (Self::Size(_, 0), _) => return Err(BAD),
            (Self::Size(size, _) | Self::Padding(size, _) | Self::Extension(size, _), b'\r') => Self::SizeEnd(size),
            (Self::Size(size, _) | Self::Padding(size, _), b';') => Self::Extension(size, 0),
            (Self::Size(size, _), b' ' | b'\t') => Self::Padding(size, 0),
            (Self::Padding(size, length), b' ' | b'\t') if length < MAX_EXTENSION => Self::Padding(size, length + 1),
            (Self::Extension(size, length), _) if length < MAX_EXTENSION && byte != b'\n' => {
                Self::Extension(size, length + 1)
            }
            (Self::SizeEnd(0), b'\n') => Self::Trailers(0),
            (Self::SizeEnd(size), b'\n') => Self::Data(size),
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::default(),
            _ => return Err(BAD),
        })
    }

    fn trailers(&mut self, seen: usize, read: &mut BytesMut) -> Result<Option<Piece>, Malformed> {
        let end = match &**read {
            [b'\r', b'\n', ..] => {
                read.advance(2);
                return Ok(Some(Piece::End(None)));
            }
            // Three bytes back, since an end may be cut anywhere.
            bytes => {
                let from = seen.saturating_sub(3);
                memmem::find(bytes.get(from..).unwrap_or_default(), b"\r\n\r\n").map(|at| from + at + 4)
            }
        };
        match end {
            None if read.len() > MAX_TRAILERS => Err(Malformed("trailers over 16 KiB")),
            None => {
                *self = Self::Trailers(read.len());
                Ok(None)
            }
            Some(end) => Ok(Some(Piece::End(Some(head::read_trailers(&read.split_to(end).freeze())?)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Data and trailers, when the bytes come in pieces of this size.
    fn decode(body: &[u8], step: usize) -> Result<(Vec<u8>, Option<HeaderMap>, usize), Malformed> {
        let (mut decoder, mut read, mut data) = (Chunked::default(), BytesMut::new(), Vec::new());
        for piece in body.chunks(step) {
            read.extend_from_slice(piece);
            while let Some(piece) = decoder.next(&mut read)? {
                match piece {
                    Piece::Data(bytes) => data.extend_from_slice(&bytes),
                    Piece::End(trailers) => return Ok((data, trailers, read.len())),
                }
            }
        }
        Err(Malformed("no end"))
    }

    #[test]
    fn data_and_trailers_come_out_however_reads_are_cut() {
        let body = b"5\r\nhello\r\n1  \r\n,\r\n06;a=\"b\"\r\n world\r\n0\r\nX-Sum: 1\r\nx-b:2\r\n\r\n";
        for step in 1..=body.len() {
            let (data, trailers, rest) = decode(body, step).unwrap();
            assert_eq!(data, b"hello, world", "{step}");
            let trailers = trailers.unwrap();
            assert_eq!((&trailers["x-sum"], &trailers["x-b"], rest), (&"1".parse().unwrap(), &"2".parse().unwrap(), 0));
        }
        assert_eq!(decode(b"0\r\n\r\nHTTP", 64).unwrap().2, 4);
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for body in [
            "\r\n",
            "x\r\n",
            ";a\r\n",
            "-1\r\n",
            "5\nhello\r\n",
            "5\r\nhelloX\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "1000000000000000\r\n",
            "0\r\nno colon\r\n\r\n",
            "0\r\nbad name: x\r\n\r\n",
            "5;a\n",
            "5 a\r\nhello\r\n",
        ] {
            for step in 1..=body.len() {
                let refused = decode(body.as_bytes(), step).unwrap_err();
                assert_ne!(refused, Malformed("no end"), "{body:?} by {step}");
            }
        }
        let long = format!("0\r\nX: {}", "y".repeat(MAX_TRAILERS));
        assert_eq!(decode(long.as_bytes(), 1000).unwrap_err(), Malformed("trailers over 16 KiB"));
        let long = format!("5;{}", "y".repeat(usize::from(MAX_EXTENSION) + 1));
        assert_eq!(decode(long.as_bytes(), 1000).unwrap_err(), Malformed("malformed chunk"));
    }
}
