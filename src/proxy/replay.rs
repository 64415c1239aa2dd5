//! A request's body that can be sent again: what has gone out of it is kept as long as that is little.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::body::{BodyError, RequestBody};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The most of a body that is kept for a repetition.
const MOST: u64 = 64 * 1024;

/// A body and what has been read of it. Whoever began to read last reads on; all others are cut off.
#[derive(Debug)]
pub(super) struct Replay {
    inner: RefCell<Inner>,
}

#[derive(Debug)]
struct Inner {
    source: RequestBody,
    kept: Vec<Bytes>,
    size: u64,
    trailers: Option<HeaderMap>,
    /// The source has ended.
    ended: bool,
    /// There was more than is kept, so there is no second time.
    overflown: bool,
    /// The number of the last reader.
    reader: u32,
}

/// One reading of it.
#[derive(Debug)]
pub(super) struct Reading {
    replay: Rc<Replay>,
    reader: u32,
    /// How many of the kept pieces have been given.
    given: usize,
    trailers_given: bool,
}

impl Replay {
    /// Keeps what is read of `source`, unless that is known to be too much.
    pub(super) fn new(source: RequestBody) -> Result<Rc<Self>, RequestBody> {
        // What is held as a whole is kept already, whatever its size.
        if let RequestBody::Held(held) = &source {
            let inner = Inner {
                kept: vec![held.data.clone()],
                size: held.data.len() as u64,
                trailers: held.trailers.clone(),
                ended: true,
                overflown: false,
                reader: 0,
                source,
            };
            return Ok(Rc::new(Self { inner: RefCell::new(inner) }));
        }
        if source.size_hint().lower() > MOST {
            return Err(source);
        }
        let inner =
            Inner { source, kept: Vec::new(), size: 0, trailers: None, ended: false, overflown: false, reader: 0 };
        Ok(Rc::new(Self { inner: RefCell::new(inner) }))
    }

    /// Whether it can be read from its beginning.
    pub(super) fn is_whole(&self) -> bool {
        !self.inner.borrow().overflown
    }

    /// The body from its beginning, unless too much of it has gone.
    pub(super) fn read(self: &Rc<Self>) -> Option<RequestBody> {
        let mut inner = self.inner.borrow_mut();
        if inner.overflown {
            return None;
        }
        inner.reader += 1;
        let reading = Reading { replay: self.clone(), reader: inner.reader, given: 0, trailers_given: false };
        Some(RequestBody::Kept(Box::new(reading)))
    }
}

impl Inner {
    fn keep(&mut self, data: &Bytes) {
        self.size += data.len() as u64;
        if self.size > MOST {
            self.overflown = true;
            self.kept = Vec::new();
        } else {
            self.kept.push(data.clone());
        }
    }
}

impl Body for Reading {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let mut inner = this.replay.inner.borrow_mut();
        if inner.reader != this.reader {
            return Poll::Ready(Some(Err(BodyError::Broken.into())));
        }
        if let Some(piece) = inner.kept.get(this.given) {
            this.given += 1;
            return Poll::Ready(Some(Ok(Frame::data(piece.clone()))));
        }
        if inner.ended {
            let trailers = inner.trailers.clone().filter(|_| !this.trailers_given);
            this.trailers_given = true;
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let frame = ready!(Pin::new(&mut inner.source).poll_frame(cx));
        match &frame {
            None => inner.ended = true,
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref()
                    && !inner.overflown
                {
                    inner.keep(data);
                    this.given += 1;
                }
                if let Some(trailers) = frame.trailers_ref() {
                    inner.trailers = Some(trailers.clone());
                    inner.ended = true;
                    this.trailers_given = true;
                }
            }
            // What cannot be read once cannot be read again.
            Some(Err(_)) => inner.overflown = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let inner = self.replay.inner.borrow();
        let all_given = inner.kept.len() <= self.given;
        let trailers_due = inner.trailers.is_some() && !self.trailers_given;
        all_given && !trailers_due && (inner.ended || inner.source.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.replay.inner.borrow();
        let kept: u64 = inner.kept.iter().skip(self.given).map(|piece| piece.len() as u64).sum();
        let rest = if inner.ended { SizeHint::with_exact(0) } else { inner.source.size_hint() };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + kept);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + kept);
        }
        hint
    }
}
