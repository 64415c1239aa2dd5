//! HPACK (RFC 7541): how fields are written in HTTP/2.

mod decoder;
mod encoder;
mod fixed;
mod huffman;
#[cfg(test)]
mod tests;

pub(super) use decoder::{Decoder, Field, Scratch};
pub(super) use encoder::Encoder;

/// The block of fields is not HPACK: both sides' tables differ from here on, so the connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// What a table may hold on either side, in bytes as RFC 7541 4.1 counts them: what it is if nobody says otherwise.
const TABLE: usize = 4096;
/// What an entry counts beside its texts.
const ENTRY: usize = 32;
