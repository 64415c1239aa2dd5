//! What is on its way to a client: what we have put together, and parts of bodies that are not worth a copy.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

/// Parts of a body that are no larger are copied, since a call that gathers costs more with every piece.
const SMALL: usize = 4 * 1024;
/// So many pieces go out with one call.
const GATHERED: usize = 16;

/// Bytes that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Out {
    /// Frames, without the payloads that are pieces.
    pub(super) own: Vec<u8>,
    written: usize,
    /// Pieces, and after how many of our own bytes each of them comes.
    pieces: VecDeque<(usize, Bytes)>,
    pieces_length: usize,
}

impl Out {
    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.own.len() - self.written + self.pieces_length
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts in a part of a body.
    pub(super) fn put(&mut self, piece: Bytes) {
        if piece.len() <= SMALL {
            self.own.extend_from_slice(&piece);
        } else {
            self.pieces_length += piece.len();
            self.pieces.push_back((self.own.len(), piece));
        }
    }

    /// Writes as much as is taken at once; there is something to write.
    pub(super) fn poll_write(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let written = if self.pieces.is_empty() {
            ready!(Pin::new(io).poll_write(cx, self.own.get(self.written..).unwrap_or_default()))?
        } else {
            ready!(self.poll_gather(io, cx))?
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(written);
        Poll::Ready(Ok(()))
    }

    fn poll_gather(&self, io: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); 2 * GATHERED];
        let mut from = self.written;
        let mut filled = 0;
        let ends = self.pieces.iter().take(GATHERED).map(|(place, piece)| (*place, &piece[..]));
        let rest = (self.pieces.len() < GATHERED).then_some((self.own.len(), &[][..]));
        for ((to, piece), places) in ends.chain(rest).zip(slices.chunks_exact_mut(2)) {
            if let [before, place] = places {
                (*before, *place) = (IoSlice::new(self.own.get(from..to).unwrap_or_default()), IoSlice::new(piece));
            }
            from = to;
            filled += 2;
        }
        Pin::new(io).poll_write_vectored(cx, slices.get(..filled).unwrap_or_default())
    }

    /// So much of it has gone out.
    fn advance(&mut self, mut written: usize) {
        while let Some((place, piece)) = self.pieces.front_mut() {
            let own = written.min(*place - self.written);
            self.written += own;
            let here = (written - own).min(piece.len());
            piece.advance(here);
            self.pieces_length -= here;
            written -= own + here;
            if !piece.is_empty() || self.written < *place {
                return;
            }
            self.pieces.pop_front();
        }
        self.written += written;
        if self.written >= self.own.len() {
            self.own.clear();
            self.written = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use proptest::prelude::*;

    use super::*;

    /// Takes so many bytes with each call.
    struct Taker {
        taken: Vec<u8>,
        takes: usize,
    }

    impl AsyncWrite for Taker {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let here = bytes.len().min(self.takes);
            self.taken.extend_from_slice(&bytes[..here]);
            Poll::Ready(Ok(here))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
            self.poll_write(cx, &all)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    proptest! {
        #[test]
        fn bytes_go_out_in_their_order(
            parts in prop::collection::vec((any::<bool>(), prop_oneof![0..100usize, 4_000..9_000usize]), 0..40),
            takes in prop::collection::vec(1..20_000usize, 1..20),
        ) {
            let (mut out, mut expected) = (Out::default(), Vec::new());
            let mut taker = Taker { taken: Vec::new(), takes: 0 };
            let mut takes = takes.iter().cycle();
            let mut write = |out: &mut Out| {
                taker.takes = *takes.next().unwrap();
                let wrote = out.poll_write(&mut taker, &mut Context::from_waker(Waker::noop()));
                assert!(matches!(wrote, Poll::Ready(Ok(()))));
            };
            for (number, (own, length)) in parts.into_iter().enumerate() {
                let part = vec![number as u8; length];
                expected.extend_from_slice(&part);
                if own { out.own.extend_from_slice(&part) } else { out.put(part.into()) }
                if number % 3 == 0 && !out.is_empty() {
                    write(&mut out);
                }
            }
            while !out.is_empty() {
                write(&mut out);
            }
            prop_assert_eq!(taker.taken, expected);
            prop_assert!(out.own.is_empty());
        }
    }
}
