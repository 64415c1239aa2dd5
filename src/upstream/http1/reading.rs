//! Reading from many connections into little memory.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

/// What a thread reads small things into, whichever connection they come from. A read has at least `ROOM` of it.
const BLOCK: usize = 16 * 1024;
const ROOM: usize = 4 * 1024;
/// The most that one read asks for.
const MOST: usize = 64 * 1024;
/// What all connections of a thread may be in the middle of, about: the more there are, the smaller are the pieces that
/// each of them takes. A client that reads slowly keeps one of them.
const IN_HAND: usize = 8 * 1024 * 1024;
/// Up to this the block will do.
const SMALL: usize = 8 * 1024;

thread_local! {
    static SHARED: RefCell<BytesMut> = RefCell::default();
    /// Connections of the thread.
    static LIVING: Cell<usize> = const { Cell::new(0) };
}

/// How much of a connection is read at once: as its last reads have filled the room that they had, and as there are others.
#[derive(Debug)]
pub(crate) struct Appetite(usize);

impl Default for Appetite {
    fn default() -> Self {
        LIVING.set(LIVING.get() + 1);
        Self(SMALL)
    }
}

impl Drop for Appetite {
    fn drop(&mut self) {
        LIVING.set(LIVING.get().saturating_sub(1));
    }
}

impl Appetite {
    /// Reads what there is behind what is held, of which at most so much is to come. 0 is the end of the connection.
    pub(crate) fn poll_read(
        &mut self,
        io: &mut (impl AsyncRead + Unpin),
        held: &mut BytesMut,
        most: u64,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let (read, room) = if self.0 <= SMALL || most <= ROOM {
            ready!(poll_read_little(io, held, cx))?
        } else {
            held.reserve(self.0.min(most));
            let room = held.capacity() - held.len();
            (ready!(pin!(io.read_buf(held)).poll(cx))?, room)
        };
        if read == room {
            let share = IN_HAND / LIVING.get().max(1);
            self.0 = (self.0 * 2).min(share.clamp(2 * SMALL, MOST));
        } else if read < self.0 / 4 {
            self.0 = (self.0 / 2).max(SMALL);
        }
        Poll::Ready(Ok(read))
    }
}

/// Reads into the block of the thread; says how much was read, and into how much room.
pub(crate) fn poll_read_little(
    io: &mut (impl AsyncRead + Unpin),
    held: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(usize, usize)>> {
    SHARED.with_borrow_mut(|block| {
        // From its beginning again when nobody has any of it left, which is in reach of the processor.
        if !block.try_reclaim(BLOCK) && block.capacity() < ROOM {
            block.reserve(BLOCK);
        }
        let room = block.capacity();
        let read = ready!(pin!(io.read_buf(block)).poll(cx))?;
        if held.is_empty() {
            *held = block.split();
        } else {
            held.extend_from_slice(block);
            block.clear();
        }
        Poll::Ready(Ok((read, room)))
    })
}

/// Has what is held no longer keep the block of the thread: it may be held for long.
pub(crate) fn keep(held: &mut BytesMut) {
    // What was read behind it has moved it into memory of its own, with room for more: copying it for every byte that
    // trickles in would take the square of them.
    if held.capacity() == held.len() {
        *held = BytesMut::from(&**held);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn read(appetite: &mut Appetite, mut bytes: &[u8], held: &mut BytesMut, most: u64) -> usize {
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(read)) = appetite.poll_read(&mut bytes, held, most, &mut cx) else { panic!("nothing") };
        read
    }

    #[test]
    fn what_is_read_comes_behind_what_is_held() {
        let (mut appetite, mut held) = (Appetite::default(), BytesMut::new());
        assert_eq!(read(&mut appetite, b"ab", &mut held, u64::MAX), 2);
        let first = held.split().freeze();
        assert_eq!(read(&mut appetite, b"cd", &mut held, u64::MAX), 2);
        assert_eq!(read(&mut appetite, b"ef", &mut held, u64::MAX), 2);
        assert_eq!((&first[..], &held[..]), (&b"ab"[..], &b"cdef"[..]));
        let mut held = BytesMut::new();
        assert_eq!(read(&mut appetite, b"cdef", &mut held, u64::MAX), 4);
        keep(&mut held);
        assert_eq!(&held[..], b"cdef");
        assert_eq!(read(&mut appetite, b"g", &mut held, u64::MAX), 1);
        let (kept, room) = (held.as_ptr(), held.capacity() - held.len());
        keep(&mut held);
        assert!(room > 0 && held.as_ptr() == kept && held.capacity() < BLOCK, "copied again, or too large");
        assert_eq!(read(&mut appetite, b"", &mut held, u64::MAX), 0);
    }

    #[test]
    fn much_is_read_in_large_pieces_and_little_in_none_of_its_own() {
        let (mut appetite, much) = (Appetite::default(), vec![0; 1 << 20]);
        let mut sizes = Vec::new();
        for _ in 0..8 {
            sizes.push(read(&mut appetite, &much, &mut BytesMut::new(), u64::MAX));
        }
        assert_eq!(*sizes.last().unwrap(), MOST);
        assert!(sizes.is_sorted());
        // Where there are many, each takes less.
        let others: Vec<_> = (0..10_000).map(|_| Appetite::default()).collect();
        for _ in 0..8 {
            read(&mut appetite, &much, &mut BytesMut::new(), u64::MAX);
        }
        assert_eq!(appetite.0, 2 * SMALL);
        drop(others);
        for _ in 0..8 {
            read(&mut appetite, &much, &mut BytesMut::new(), u64::MAX);
        }
        assert_eq!(appetite.0, MOST);
        // What is known to be small does not need more.
        assert!(read(&mut appetite, &much[..100], &mut BytesMut::new(), 100) == 100 && appetite.0 < MOST);
        for _ in 0..4 {
            read(&mut appetite, b"little", &mut BytesMut::new(), u64::MAX);
        }
        assert_eq!(appetite.0, SMALL);
        let mut held = BytesMut::new();
        read(&mut appetite, b"little", &mut held, u64::MAX);
        assert!(held.capacity() <= BLOCK);
    }
}
