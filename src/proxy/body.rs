//! Bodies on their way through: counted, timed, and otherwise left alone.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

use super::Worker;
use super::clock::Deadline;
use super::compressed::Compressed;
use super::connection::Client;
use super::error::Error;
use super::grpc_web::{Decoder, Webbed};
use super::hold::Held;
use super::mirror::Mirrored;
use super::record::Record;
use super::replay::Reading;
use super::{forward, http1, http2};
use crate::table::Route;
use crate::telemetry::Reason;
use crate::upstream::pool::{ExchangeError, UpstreamBody};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body that did not come to its end.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// Nothing came for too long.
    #[error("no data in time")]
    Idle,
    /// The exchange took longer than its route allows.
    #[error("the exchange took too long")]
    Overdue,
    /// The side that sends it broke off.
    #[error("ended early")]
    Broken,
    /// It is larger than its route allows.
    #[error("too large")]
    TooLarge,
    /// It is not in the coding that its head says.
    #[error("malformed base64")]
    Malformed,
}

/// What the exchange can see of a request's body that has gone upstream.
#[derive(Debug, Default)]
pub(super) struct Upload {
    /// The client broke off or sent nonsense.
    pub(super) broken: Cell<bool>,
    /// It is larger than its route allows.
    pub(super) too_large: Cell<bool>,
    /// It is not in the coding that its head says.
    pub(super) malformed: Cell<bool>,
    /// Bytes handed on.
    pub(super) bytes: Cell<u64>,
    /// It has come in whole.
    pub(super) ended: Cell<bool>,
    /// The next of it is asked for and has not come.
    pub(super) awaited: Cell<bool>,
}

/// A request's body as it comes from the client.
#[derive(Debug)]
pub(super) enum Incoming {
    /// There is none.
    None,
    /// On a connection of its own.
    Http1(http1::Body),
    /// On a stream of a connection of HTTP/2.
    Http2(http2::Body),
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::None => Poll::Ready(None),
            Self::Http1(body) => body.poll_frame(cx),
            Self::Http2(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::None => true,
            Self::Http1(body) => body.is_end(),
            Self::Http2(body) => body.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::None => SizeHint::with_exact(0),
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}

/// A request's body on its way to the backend.
#[derive(Debug)]
pub(super) enum RequestBody {
    /// None.
    Empty,
    /// As it comes from the client.
    Streaming(Box<Streaming>),
    /// The same, kept for a repetition.
    Kept(Box<Reading>),
    /// It is there already.
    Held(Box<Held>),
}

/// The moving part of a request's body.
#[derive(Debug)]
pub(super) struct Streaming {
    incoming: Incoming,
    upload: Rc<Upload>,
    /// The most bytes that its route takes.
    most: Option<u64>,
    /// The route, where some trailers are for it alone to say. Elsewhere nobody needs it, and all workers count on it.
    strict: Option<Arc<Route>>,
    /// A copy that goes out when this has come in whole.
    copy: Option<Box<Mirrored>>,
    /// What makes bytes of its text.
    decoder: Option<Box<Decoder>>,
    idle: Duration,
    deadline: Deadline,
}

impl RequestBody {
    /// The client's body on its way by a route, and what it will be known by once it has gone.
    pub(super) fn begin(
        incoming: Incoming,
        worker: &Worker,
        route: &Arc<Route>,
        record: &mut Record,
    ) -> (Self, Option<Rc<Upload>>) {
        if incoming.is_end_stream() {
            return (Self::Empty, None);
        }
        let upload = Rc::new(Upload::default());
        record.uploads(upload.clone());
        let (idle, deadline) = (route.timeouts.idle, worker.clock.deadline());
        let (most, strict) = (route.access.body.most, forward::has_unforgeable(route).then(|| route.clone()));
        let streaming =
            Streaming { incoming, upload: upload.clone(), most, strict, copy: None, decoder: None, idle, deadline };
        (Self::Streaming(Box::new(streaming)), Some(upload))
    }

    /// Has the copy sent, now or once the body has come in whole.
    pub(super) fn mirror(&mut self, mut copy: Box<Mirrored>) {
        match self {
            Self::Empty => copy.send(),
            Self::Held(held) => {
                if copy.take(&held.data) {
                    copy.send();
                }
            }
            Self::Streaming(streaming) => streaming.copy = Some(copy),
            // That is what others become once they are sent.
            Self::Kept(_) => {}
        }
    }

    /// Takes it for base64 from here on, whose bytes go upstream.
    pub(super) fn decode(&mut self) -> Result<(), Error> {
        match self {
            Self::Streaming(streaming) => streaming.decoder = Some(Box::default()),
            Self::Held(held) => {
                let mut decoder = Decoder::default();
                let decoded = decoder.decode(&held.data).filter(|_| decoder.is_whole());
                held.data = decoded.ok_or(Error::MALFORMED_BASE64)?;
            }
            // The first is nothing in either form; the other is what bodies become once they are sent.
            Self::Empty | Self::Kept(_) => {}
        }
        Ok(())
    }

    /// Whether it can be sent again because there is none.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Kept(reading) => Pin::new(&mut **reading).poll_frame(cx),
            Self::Held(held) => Poll::Ready(held.next().map(Ok)),
            Self::Streaming(streaming) => streaming.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streaming(streaming) => streaming.is_end(),
            Self::Kept(reading) => reading.is_end_stream(),
            Self::Held(held) => held.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streaming(streaming) if streaming.decoder.is_some() => SizeHint::new(),
            Self::Streaming(streaming) => streaming.incoming.size_hint(),
            Self::Kept(reading) => reading.size_hint(),
            Self::Held(held) => SizeHint::with_exact(held.data.len() as u64),
        }
    }
}

impl Streaming {
    /// The next part of what goes upstream.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            let frame = ready!(self.poll_sent(cx));
            let Some(decoder) = &mut self.decoder else { return Poll::Ready(frame) };
            let decoded = match frame.transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => decoder.decode(&data),
                Some(Err(trailers)) if decoder.is_whole() => return Poll::Ready(Some(Ok(trailers))),
                None if decoder.is_whole() => return Poll::Ready(None),
                Some(Err(_)) | None => None,
            };
            match decoded {
                Some(bytes) if bytes.is_empty() => {}
                Some(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None => {
                    self.upload.malformed.set(true);
                    self.upload.broken.set(true);
                    return Poll::Ready(Some(Err(BodyError::Malformed.into())));
                }
            }
        }
    }

    /// The next part of what the client has sent.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = Pin::new(&mut self.incoming).poll_frame(cx);
        self.upload.awaited.set(frame.is_pending());
        match frame {
            Poll::Pending => {
                if self.deadline.due().is_none() {
                    self.deadline.set(self.idle);
                }
                if self.deadline.poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.upload.broken.set(true);
                Poll::Ready(Some(Err(BodyError::Idle.into())))
            }
            Poll::Ready(None) => {
                self.upload.ended.set(true);
                self.send_copy();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(frame))) => {
                self.deadline.clear();
                if self.incoming.is_end_stream() {
                    self.upload.ended.set(true);
                }
                if let Some(data) = frame.data_ref() {
                    let bytes = self.upload.bytes.get() + data.remaining() as u64;
                    self.upload.bytes.set(bytes);
                    if self.most.is_some_and(|most| bytes > most) {
                        self.upload.too_large.set(true);
                        return Poll::Ready(Some(Err(BodyError::TooLarge.into())));
                    }
                    self.copy.take_if(|copy| !copy.take(data));
                }
                // Nobody asks a body for its end who knows its length.
                if frame.is_trailers() || self.incoming.is_end_stream() {
                    self.send_copy();
                }
                Poll::Ready(Some(Ok(match frame.into_trailers() {
                    Ok(mut trailers) => {
                        forward::clean_trailers(&mut trailers);
                        if let Some(route) = &self.strict {
                            forward::drop_unforgeable(&mut trailers, route);
                        }
                        Frame::trailers(trailers)
                    }
                    Err(frame) => frame,
                })))
            }
            Poll::Ready(Some(Err(_))) => {
                self.upload.broken.set(true);
                Poll::Ready(Some(Err(BodyError::Broken.into())))
            }
        }
    }

    /// Whether there is no next part. What has come of a group that is not whole has to be told of.
    fn is_end(&self) -> bool {
        self.incoming.is_end_stream() && self.decoder.as_ref().is_none_or(|decoder| decoder.is_whole())
    }

    fn send_copy(&mut self) {
        if let Some(copy) = self.copy.take() {
            copy.send();
        }
    }
}

impl Upload {
    /// Whether there is more of it than the endpoint takes.
    pub(super) fn is_stuck(&self) -> bool {
        !self.ended.get() && !self.awaited.get()
    }

    /// What the exchange makes of a body that broke off.
    pub(super) fn error(&self, client: &Client) -> Error {
        if self.too_large.get() {
            return Error::BodyTooLarge;
        }
        if self.malformed.get() {
            return Error::MALFORMED_BASE64;
        }
        client.refusal.get().map_or(Error::ClientClosed, Error::Framing)
    }
}

/// A response's body on its way to the client.
pub(crate) struct ResponseBody {
    kind: Kind,
    record: Option<Record>,
}

enum Kind {
    Full(Bytes),
    Upstream(Upstream),
    Compressed(Box<Compressed>),
    Webbed(Box<Webbed>),
}

/// The most that is read of an answer that nobody wants.
const DISCARDED: usize = 64 * 1024;

/// A backend's body as it comes.
pub(super) struct Upstream {
    body: UpstreamBody<RequestBody>,
    idle: Duration,
    /// When the whole exchange must be over, by the worker's clock.
    due: Option<u64>,
    deadline: Deadline,
}

impl ResponseBody {
    /// A body that is there already.
    pub(super) fn full(bytes: Bytes) -> Self {
        Self { kind: Kind::Full(bytes), record: None }
    }

    /// The backend's body as it comes.
    pub(super) fn upstream(
        body: UpstreamBody<RequestBody>,
        idle: Duration,
        due: Option<u64>,
        deadline: Deadline,
    ) -> Self {
        Self { kind: Kind::Upstream(Upstream { body, idle, due, deadline }), record: None }
    }

    /// The backend's body as the coding makes it.
    pub(super) fn compressed(self, by: impl FnOnce(Upstream) -> Compressed) -> Self {
        self.becomes(|upstream| Kind::Compressed(Box::new(by(upstream))))
    }

    /// The backend's body as clients of gRPC-Web read it.
    pub(super) fn webbed(self, by: impl FnOnce(Upstream) -> Webbed) -> Self {
        self.becomes(|upstream| Kind::Webbed(Box::new(by(upstream))))
    }

    /// A backend's body as something else; any other stays what it is.
    fn becomes(self, by: impl FnOnce(Upstream) -> Kind) -> Self {
        let Self { kind, record } = self;
        let kind = match kind {
            Kind::Upstream(upstream) => by(upstream),
            kind @ (Kind::Full(_) | Kind::Compressed(_) | Kind::Webbed(_)) => kind,
        };
        Self { kind, record }
    }

    /// Nobody wants it.
    pub(super) fn discard(self) {
        if let Kind::Upstream(Upstream { body, .. }) = self.kind {
            discard(body);
        }
    }

    /// Has the exchange recorded once this body is done with.
    pub(super) fn record(&mut self, mut record: Record) {
        // Nobody asks a body for its end that has none: the answer to a HEAD, a 204, a 304.
        if self.kind.is_end() {
            record.completed();
        }
        self.record = Some(record);
    }
}

/// Reads what has come already of an answer that nobody wants, so that its connection can be used again.
pub(super) fn discard(mut body: UpstreamBody<RequestBody>) {
    let mut cx = Context::from_waker(Waker::noop());
    let mut read = 0;
    while read < DISCARDED
        && let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut cx)
    {
        // Trailers count for something too, or an endpoint that sends nothing else would not end.
        read += frame.data_ref().map_or(1, Bytes::len).max(1);
    }
}

/// Why a response's body broke off, for the record and for the client's connection.
pub(super) type Broken = (Reason, BoxError);

impl Upstream {
    /// The next part of it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => {
                if self.deadline.due().is_none() {
                    self.deadline.set(self.idle);
                    if let Some(due) = self.due
                        && self.deadline.due().is_some_and(|idle| due < idle)
                    {
                        self.deadline.set_at(due);
                    }
                }
                if self.deadline.poll(cx).is_pending() {
                    return Poll::Pending;
                }
                let overdue = self.due.is_some() && self.deadline.due() == self.due;
                let error = if overdue {
                    (Reason::RequestTimeout, BodyError::Overdue.into())
                } else {
                    (Reason::UpstreamTimeout, BodyError::Idle.into())
                };
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Ok(frame))) => {
                self.deadline.clear();
                Poll::Ready(Some(Ok(match frame.into_trailers() {
                    Ok(mut trailers) => {
                        forward::clean_response_trailers(&mut trailers);
                        Frame::trailers(trailers)
                    }
                    Err(frame) => frame,
                })))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err((Reason::UpstreamReset, broken(error))))),
        }
    }

    /// Whether there is no next part.
    pub(super) fn is_end(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// What the client learns of a response that broke off. If the backend reset the stream, it is the code, which is
/// in the error's cause: gRPC makes a status of it.
fn broken(error: ExchangeError) -> BoxError {
    let ExchangeError::Http2(error) = error else { return BodyError::Broken.into() };
    let reset = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    if reset.is_some_and(h2::Error::is_reset) { error.into() } else { BodyError::Broken.into() }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = match &mut this.kind {
            Kind::Full(bytes) if bytes.is_empty() => None,
            Kind::Full(bytes) => Some(Ok(Frame::data(std::mem::take(bytes)))),
            Kind::Upstream(upstream) => match upstream.poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(frame) => frame,
            },
            Kind::Compressed(compressed) => match compressed.poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(frame) => frame,
            },
            Kind::Webbed(webbed) => match webbed.poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(frame) => frame,
            },
        };
        if let Some(record) = &mut this.record {
            match &frame {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        record.sent(data.len() as u64);
                    }
                    if this.kind.is_end() {
                        record.completed();
                    }
                }
                Some(Err((reason, _))) => record.broke(*reason),
                None => record.completed(),
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(|(_, error)| error)))
    }

    fn is_end_stream(&self) -> bool {
        self.kind.is_end()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Upstream(upstream) => upstream.body.size_hint(),
            Kind::Compressed(_) | Kind::Webbed(_) => SizeHint::new(),
        }
    }
}

impl Kind {
    fn is_end(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_empty(),
            Self::Upstream(upstream) => upstream.is_end(),
            Self::Compressed(compressed) => compressed.is_end(),
            Self::Webbed(webbed) => webbed.is_end(),
        }
    }
}
