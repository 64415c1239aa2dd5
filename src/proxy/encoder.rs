//! The codings of compressed bodies.

use std::io::{self, Write};

use brotli::CompressorWriter;
use brotli::enc::BrotliEncoderParams;
use flate2::write::GzEncoder;
use zstd::stream::write::Encoder as ZstdEncoder;
use zstd::zstd_safe::CParameter;

use crate::filter::Coding;

/// How far back a coding looks for what it has seen, as a power of two. It decides what memory one body takes, and more
/// finds little in text.
const WINDOW: u32 = 17;
/// The least that both brotli and Zstandard take.
const LEAST_WINDOW: u32 = 10;
/// Levels at which a body takes no more than 0.7 MiB of memory, and a tenth more bytes than at levels that take twice
/// the memory and time.
const ZSTD_LEVEL: i32 = 2;
const BROTLI_QUALITY: i32 = 3;
const GZIP_LEVEL: u32 = 5;
/// How much brotli collects before it writes.
const BROTLI_BUFFER: usize = 4096;

/// A body on its way through a coding. What comes out is taken when there is some.
pub(super) enum Encoder {
    Zstd(ZstdEncoder<'static, Vec<u8>>),
    Br(Box<CompressorWriter<Vec<u8>>>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Encoder {
    /// For a body of that many bytes, if that is known.
    pub(super) fn new(coding: Coding, size: Option<u64>) -> io::Result<Self> {
        let bits = size.map_or(WINDOW, |size| u64::BITS - size.leading_zeros()).clamp(LEAST_WINDOW, WINDOW);
        Ok(match coding {
            Coding::Zstd => {
                let mut encoder = ZstdEncoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.set_parameter(CParameter::WindowLog(bits))?;
                Self::Zstd(encoder)
            }
            Coding::Br => {
                let params = BrotliEncoderParams {
                    quality: BROTLI_QUALITY,
                    lgwin: i32::try_from(bits).unwrap_or_default(),
                    ..BrotliEncoderParams::default()
                };
                Self::Br(Box::new(CompressorWriter::with_params(Vec::new(), BROTLI_BUFFER, &params)))
            }
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL))),
        })
    }

    /// Takes the next bytes of the body.
    pub(super) fn write(&mut self, data: &[u8]) -> io::Result<()> {
        match self {
            Self::Zstd(encoder) => encoder.write_all(data),
            Self::Br(encoder) => encoder.write_all(data),
            Self::Gzip(encoder) => encoder.write_all(data),
        }
    }

    /// Brings out whatever has gone in.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Zstd(encoder) => encoder.flush(),
            Self::Br(encoder) => encoder.flush(),
            Self::Gzip(encoder) => encoder.flush(),
        }
    }

    /// Ends the body, and gives what has not been taken of it.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Zstd(encoder) => encoder.finish(),
            Self::Br(encoder) => Ok(encoder.into_inner()),
            Self::Gzip(encoder) => encoder.finish(),
        }
    }

    /// How much has come out and not been taken.
    pub(super) fn ready(&self) -> usize {
        match self {
            Self::Zstd(encoder) => encoder.get_ref().len(),
            Self::Br(encoder) => encoder.get_ref().len(),
            Self::Gzip(encoder) => encoder.get_ref().len(),
        }
    }

    /// Takes what has come out.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Br(encoder) => encoder.get_mut(),
            Self::Gzip(encoder) => encoder.get_mut(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    const CODINGS: [Coding; 3] = [Coding::Zstd, Coding::Br, Coding::Gzip];

    fn decoded(coding: Coding, data: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        let read = match coding {
            Coding::Zstd => zstd::stream::read::Decoder::new(data).unwrap().read_to_end(&mut plain),
            Coding::Br => brotli::Decompressor::new(data, 4096).read_to_end(&mut plain),
            Coding::Gzip => flate2::read::GzDecoder::new(data).read_to_end(&mut plain),
        };
        read.unwrap();
        plain
    }

    #[test]
    fn what_goes_in_comes_out_whatever_was_known_of_its_size() {
        let text: Vec<u8> = (0..60_000u32).flat_map(|number| format!("{} ", number % 977).into_bytes()).collect();
        for coding in CODINGS {
            // Also where what was said of the size is wrong.
            for size in [None, Some(0), Some(1), Some(5000), Some(text.len() as u64), Some(u64::MAX)] {
                let mut encoder = Encoder::new(coding, size).unwrap();
                let mut out = Vec::new();
                for piece in text.chunks(7001) {
                    encoder.write(piece).unwrap();
                    out.extend(encoder.take());
                }
                out.extend(encoder.finish().unwrap());
                assert!(out.len() * 2 < text.len(), "{coding:?} {size:?}: {} of {}", out.len(), text.len());
                assert!(decoded(coding, &out) == text, "{coding:?} {size:?}");
            }
            assert_eq!(decoded(coding, &Encoder::new(coding, None).unwrap().finish().unwrap()), b"", "{coding:?}");
        }
    }

    #[test]
    fn a_flush_brings_out_all_that_went_in() {
        for coding in CODINGS {
            let mut encoder = Encoder::new(coding, None).unwrap();
            encoder.write(b"tick").unwrap();
            encoder.flush().unwrap();
            assert!(encoder.ready() > 0);
            let first = encoder.take();
            assert_eq!(encoder.ready(), 0);
            let mut begun = [0; 4];
            // Its end has not come yet, so no more than this may be asked for.
            match coding {
                Coding::Zstd => zstd::stream::read::Decoder::new(&*first).unwrap().read_exact(&mut begun),
                Coding::Br => brotli::Decompressor::new(&*first, 4096).read_exact(&mut begun),
                Coding::Gzip => flate2::read::GzDecoder::new(&*first).read_exact(&mut begun),
            }
            .unwrap();
            assert_eq!(&begun, b"tick", "{coding:?}");
            encoder.write(b"tock").unwrap();
            assert_eq!(decoded(coding, &[first, encoder.finish().unwrap()].concat()), b"ticktock", "{coding:?}");
        }
    }
}
