//! What is on its way out, to an endpoint or to a client.

use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

/// Memory for heads that a connection at rest keeps.
const KEPT: usize = 4 * 1024;

/// Bytes that wait to be written: what we have put together, then a piece of the body as it came, then the end of a
/// chunk.
#[derive(Debug, Default)]
pub(crate) struct Out {
    /// Heads and sizes of chunks. Kept from one message to the next.
    pub(crate) own: Vec<u8>,
    written: usize,
    piece: Bytes,
    tail: &'static [u8],
}

impl Out {
    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.written >= self.own.len() && self.piece.is_empty() && self.tail.is_empty()
    }

    /// Whether another piece of the body may be put in.
    pub(crate) fn takes_piece(&self) -> bool {
        self.piece.is_empty() && self.tail.is_empty()
    }

    /// Puts in a part of a body.
    pub(crate) fn put_piece(&mut self, piece: Bytes) {
        self.piece = piece;
    }

    /// Puts in a part of a body as a chunk (RFC 9112 7.1).
    pub(crate) fn put_chunk(&mut self, piece: Bytes) {
        // Writing to memory cannot fail.
        let _ = write!(self.own, "{:x}\r\n", piece.len());
        self.piece = piece;
        self.tail = b"\r\n";
    }

    /// The same, of a part that is not worth sending by itself.
    pub(crate) fn copy_chunk(&mut self, piece: &[u8]) {
        let _ = write!(self.own, "{:x}\r\n", piece.len());
        self.own.extend_from_slice(piece);
        self.own.extend_from_slice(b"\r\n");
    }

    /// Puts in the end of a body in chunks that has no trailers.
    pub(crate) fn end_chunks(&mut self) {
        if self.takes_piece() {
            self.own.extend_from_slice(b"0\r\n\r\n");
        } else {
            self.tail = b"\r\n0\r\n\r\n";
        }
    }

    /// Gives back memory that an ordinary head does not need.
    pub(crate) fn shrink(&mut self) {
        if self.own.capacity() > KEPT {
            self.own = Vec::new();
        }
    }

    /// Writes as much as is taken at once; there is something to write.
    pub(crate) fn poll_write(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let own = self.own.get(self.written..).unwrap_or_default();
        let written = if self.takes_piece() {
            // One piece is cheaper to send than to gather.
            ready!(Pin::new(&mut *io).poll_write(cx, own))?
        } else {
            let all = [IoSlice::new(own), IoSlice::new(&self.piece), IoSlice::new(self.tail)];
            ready!(Pin::new(&mut *io).poll_write_vectored(cx, &all))?
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(written);
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, written: usize) {
        let own = written.min(self.own.len() - self.written);
        self.written += own;
        if self.written >= self.own.len() {
            self.own.clear();
            self.written = 0;
        }
        let piece = (written - own).min(self.piece.len());
        self.piece.advance(piece);
        self.tail = self.tail.get(written - own - piece..).unwrap_or_default();
        if self.piece.is_empty() {
            // Whoever made it may use its memory again.
            self.piece = Bytes::new();
        }
    }
}
