//! The streams of a connection that are not over.

use std::task::Waker;

use bytes::BytesMut;
use http::HeaderMap;

/// What the client may send on a stream before it is told that some of it has been taken, in bytes.
pub(super) const WINDOW: u32 = 64 * 1024;

/// A connection at rest keeps memory for so many at most.
const KEPT: usize = 8;

/// One exchange on a connection.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// When it began, in milliseconds of the worker's clock.
    pub(super) begun: u64,
    /// What has come of the request's body and has not been read.
    pub(super) held: BytesMut,
    pub(super) trailers: Option<Box<HeaderMap>>,
    /// How much of the body is to come, when its head has said so.
    pub(super) left: Option<u64>,
    /// All of the request has come.
    pub(super) received: bool,
    /// There is somebody who may read the body.
    pub(super) has_reader: bool,
    /// The client waits to be told to go on before it sends the body.
    pub(super) to_continue: bool,
    /// What the client may still send, and what has been read since it was told last.
    pub(super) allowance: u32,
    pub(super) taken: u32,
    pub(super) reader: Option<Waker>,
    /// What the client still takes. Below zero when it has made its windows smaller.
    pub(super) window: i64,
    /// All of the answer is on its way.
    pub(super) answered: bool,
    pub(super) turn: Turn,
    pub(super) task: Option<Waker>,
}

/// Whether a stream is in line for sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is not.
    Out,
    /// There are others before it.
    Waits,
    /// It is next.
    Next,
}

impl Stream {
    pub(super) fn new(
        (id, begun): (u32, u64),
        window: i64,
        received: bool,
        left: Option<u64>,
        to_continue: bool,
    ) -> Self {
        Self {
            id,
            begun,
            held: BytesMut::new(),
            trailers: None,
            left,
            received,
            has_reader: !received,
            to_continue,
            allowance: WINDOW,
            taken: 0,
            reader: None,
            window,
            answered: false,
            turn: Turn::Out,
            task: None,
        }
    }

    /// Has everybody look who waits for something on it.
    pub(super) fn wake(&mut self) {
        for waker in [self.task.take(), self.reader.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

/// All of them. There are a hundred at most, so they are looked for one after the other.
#[derive(Debug, Default)]
pub(super) struct Streams {
    ids: Vec<u32>,
    streams: Vec<Stream>,
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub(super) fn get(&mut self, id: u32) -> Option<&mut Stream> {
        self.place(id).and_then(|place| self.streams.get_mut(place))
    }

    pub(super) fn has(&self, id: u32) -> bool {
        self.place(id).is_some()
    }

    pub(super) fn insert(&mut self, stream: Stream) {
        self.ids.push(stream.id);
        self.streams.push(stream);
    }

    /// Takes one out, and has everybody find out who waits for something on it.
    pub(super) fn remove(&mut self, id: u32) -> Option<Stream> {
        let place = self.place(id)?;
        self.ids.swap_remove(place);
        let mut stream = self.streams.swap_remove(place);
        if self.ids.is_empty() && self.ids.capacity() > KEPT {
            *self = Self::default();
        }
        stream.wake();
        Some(stream)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.streams.iter_mut()
    }

    /// Takes all out.
    pub(super) fn clear(&mut self) {
        self.ids.clear();
        self.streams.drain(..).for_each(|mut stream| stream.wake());
    }

    fn place(&self, id: u32) -> Option<usize> {
        self.ids.iter().position(|other| *other == id)
    }
}
