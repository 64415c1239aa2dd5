//! What is on its way to an endpoint.

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
pub(super) struct Out {
    /// Heads and sizes of chunks. Kept from one message to the next.
    pub(super) own: Vec<u8>,
    written: usize,
    piece: Bytes,
    tail: &'static [u8],
}

impl Out {
    pub(super) fn is_empty(&self) -> bool {
        self.written >= self.own.len() && self.piece.is_empty() && self.tail.is_empty()
    }

    /// Whether another piece of the body may be put in.
    pub(super) fn takes_piece(&self) -> bool {
        self.piece.is_empty() && self.tail.is_empty()
    }

    pub(super) fn put_piece(&mut self, piece: Bytes) {
        self.piece = piece;
    }

    pub(super) fn put_chunk(&mut self, piece: Bytes) {
        // Writing to memory cannot fail.
        let _ = write!(self.own, "{:x}\r\n", piece.len());
        self.piece = piece;
        self.tail = b"\r\n";
    }

    /// Gives back memory that an ordinary head does not need.
    pub(super) fn shrink(&mut self) {
        if self.own.capacity() > KEPT {
            self.own = Vec::new();
        }
    }

    /// Writes all there is.
    pub(super) fn poll_write(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
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
        }
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
