//! Responses that are compressed on their way: a piece at a time, held back no longer than more is at hand, in a bounded
//! number at once.

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http::header::{self, HeaderMap};
use http_body::Frame;

use super::Worker;
use super::body::{BodyError, Broken, ResponseBody, Upstream};
use super::encoder::Encoder;
use crate::filter::{Compression, Wish};
use crate::telemetry::Reason;

/// Bodies that one worker compresses at once; what comes beyond goes as it is. Each takes up to 0.7 MiB for as
/// long as its client takes to read it.
const MOST: usize = 64;
/// What goes into a coding at once.
const PIECE: usize = 16 * 1024;
/// What one body may have compressed before others have their turn.
const TURN: usize = 32 * 1024;
/// How much comes out before it is sent, unless there is nothing more to wait for.
const ENOUGH: usize = 8 * 1024;

/// A backend's body on its way through a coding.
pub(super) struct Compressed {
    upstream: Upstream,
    /// `None` once the body has ended.
    encoder: Option<Encoder>,
    /// Has come, and not gone into the coding.
    rest: Bytes,
    /// Something has gone in since the last flush.
    held_back: bool,
    /// What has gone in since others had their turn.
    spent: usize,
    trailers: Option<HeaderMap>,
    place: Option<Place>,
}

/// A place among the bodies that a worker compresses.
struct Place {
    worker: Rc<Worker>,
}

/// Compresses the response, if the route and the client want that.
pub(super) fn compress(
    worker: &Rc<Worker>,
    compression: &Compression,
    wish: Wish,
    response: Response<ResponseBody>,
) -> Response<ResponseBody> {
    let (mut parts, body) = response.into_parts();
    let size = parts.headers.get(header::CONTENT_LENGTH).and_then(|size| size.to_str().ok()?.parse().ok());
    let mut place = None;
    let mut encoder = None;
    let coding = compression.apply(wish, parts.status, &mut parts.headers, |coding| {
        place = Place::take(worker);
        // A coding has no reason to fail but a want of memory; the body is whole without it.
        encoder = place.as_ref().and_then(|_| Encoder::new(coding, size).ok());
        encoder.is_some()
    });
    let body = match (coding, encoder) {
        (Some(_), Some(encoder)) => body.compressed(|upstream| Compressed {
            upstream,
            encoder: Some(encoder),
            rest: Bytes::new(),
            held_back: false,
            spent: 0,
            trailers: None,
            place,
        }),
        (None, _) | (_, None) => body,
    };
    Response::from_parts(parts, body)
}

impl Compressed {
    /// The next part of what goes to the client.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let failed = |_| (Reason::UpstreamReset, BodyError::Broken.into());
        loop {
            let Some(encoder) = &mut self.encoder else {
                return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            };
            if !self.rest.is_empty() {
                if self.spent >= TURN {
                    self.spent = 0;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let piece = self.rest.split_to(self.rest.len().min(PIECE));
                self.spent += piece.len();
                self.held_back = true;
                encoder.write(&piece).map_err(failed)?;
                if encoder.ready() >= ENOUGH {
                    return Poll::Ready(Some(Ok(Frame::data(encoder.take().into()))));
                }
                if !(self.rest.is_empty() && self.upstream.is_end()) {
                    continue;
                }
            } else {
                match self.upstream.poll(cx) {
                    Poll::Pending => {
                        self.spent = 0;
                        if std::mem::take(&mut self.held_back) {
                            encoder.flush().map_err(failed)?;
                            if encoder.ready() > 0 {
                                return Poll::Ready(Some(Ok(Frame::data(encoder.take().into()))));
                            }
                        }
                        return Poll::Pending;
                    }
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) => {
                            self.rest = data;
                            continue;
                        }
                        Err(frame) => self.trailers = frame.into_trailers().ok(),
                    },
                    Poll::Ready(None) => {}
                }
            }
            let last = self.encoder.take().map(Encoder::finish).transpose().map_err(failed)?.unwrap_or_default();
            self.place = None;
            if !last.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(last.into()))));
            }
        }
    }

    /// Whether there is no next part.
    pub(super) fn is_end(&self) -> bool {
        self.encoder.is_none() && self.trailers.is_none()
    }
}

impl Place {
    fn take(worker: &Rc<Worker>) -> Option<Self> {
        let under_way = worker.encoders.get();
        (under_way < MOST).then(|| {
            worker.encoders.set(under_way + 1);
            Self { worker: worker.clone() }
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.worker.encoders.set(self.worker.encoders.get().saturating_sub(1));
    }
}
