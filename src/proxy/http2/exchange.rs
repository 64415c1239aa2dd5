//! One exchange on a stream, from its head to the last byte of the answer, in a task of its own.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::{error, mem};

use bytes::Bytes;
use http::header;
use http::{Method, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};

use super::Body;
use super::connection::{Arrived, Connection};
use super::frame::Code;
use crate::proxy::Worker;
use crate::proxy::body::Incoming;
use crate::proxy::clock::Deadline;
use crate::proxy::connection::{Client, WRITE_STALL};
use crate::proxy::date::Date;
use crate::proxy::seat::Asked;
use crate::upstream::give_headers;

type BoxError = Box<dyn error::Error + Send + Sync>;
/// The place of an answer, as far as it has not gone out.
type Place<B> = RefCell<Option<Response<B>>>;

/// A stream that is being answered. If it is dropped before the answer is whole, the client is told so.
pub(super) struct Stream {
    pub(super) connection: Rc<RefCell<Connection>>,
    pub(super) id: u32,
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut connection = self.connection.borrow_mut();
        if connection.is_unanswered(self.id) {
            connection.reset(self.id, Code::Internal);
        }
    }
}

/// Answers a request that has come.
pub(super) async fn answer(
    worker: Rc<Worker>,
    client: Rc<Client>,
    connection: Rc<RefCell<Connection>>,
    arrived: Arrived,
) {
    let Arrived { stream: id, parts, has_body, received } = arrived;
    let stream = Stream { connection, id };
    let to_head = parts.method == Method::HEAD;
    let body = if has_body {
        Incoming::Http2(Body { connection: stream.connection.clone(), stream: id })
    } else {
        Incoming::None
    };
    let mut seat = worker.seats.take();
    seat.begin(Asked { worker: worker.clone(), client, parts, body, received });
    let answered = poll_fn(|cx| match seat.poll(cx) {
        Poll::Ready(()) => Poll::Ready(true),
        Poll::Pending => stream.connection.borrow_mut().poll_over(id, cx).map(|()| false),
    })
    .await;
    if !answered {
        return;
    }
    let mut sending = Sending::begin(&stream, seat.answer(), to_head, (&worker.date, worker.clock.wall()));
    // Most answers are there as a whole.
    let first = poll_fn(|cx| Poll::Ready(sending.poll(&stream, seat.answer(), cx))).await;
    if first.is_ready() {
        worker.seats.give(seat);
        return;
    }
    // This one may take its time, and somebody else can have the seat.
    let answer = Box::new(RefCell::new(seat.answer().take()));
    worker.seats.give(seat);
    let mut stall = worker.clock.deadline();
    poll_fn(|cx| sending.poll_in_time(&stream, &answer, &mut stall, cx)).await;
}

/// What is left of an answer.
#[derive(Default)]
pub(super) struct Sending {
    /// A part of the body that has not gone out as a whole.
    piece: Bytes,
    /// There is no other part after it.
    last: bool,
    /// The client takes none of what is there.
    stalled: bool,
    /// It has taken some.
    moved: bool,
}

impl Sending {
    /// Sends the head.
    pub(super) fn begin<B: HttpBody>(stream: &Stream, answer: &Place<B>, to_head: bool, date: (&Date, u64)) -> Self {
        let mut place = answer.borrow_mut();
        let Some(answer) = &mut *place else { return Self::default() };
        let status = answer.status();
        let size = answer.body().size_hint();
        let bodiless = to_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let ends = bodiless || answer.body().is_end_stream();
        let headers = answer.headers();
        let date = (!headers.contains_key(header::DATE)).then(|| (header::DATE, date.0.at(date.1)));
        let length = size.exact().filter(|size| {
            // Of what a HEAD would be told, nobody knows whether it is nothing.
            !headers.contains_key(header::CONTENT_LENGTH)
                && (*size > 0 || !bodiless)
                && status != StatusCode::NO_CONTENT
        });
        let length = length.map(|length| (header::CONTENT_LENGTH, length.into()));
        let mut connection = stream.connection.borrow_mut();
        connection.send_head(stream.id, (status, headers), [length, date], ends);
        drop(connection);
        // The body may take its time.
        give_headers(mem::take(answer.headers_mut()));
        if ends {
            *place = None;
        }
        Self::default()
    }

    /// Sends what is there; ready once nothing is left, or nobody takes it.
    pub(super) fn poll<B>(&mut self, stream: &Stream, answer: &Place<B>, cx: &mut Context<'_>) -> Poll<()>
    where
        B: HttpBody<Data = Bytes, Error = BoxError> + Unpin,
    {
        self.stalled = false;
        let mut place = answer.borrow_mut();
        while let Some(answer) = &mut *place {
            if !self.piece.is_empty() {
                self.stalled = true;
                let mut connection = stream.connection.borrow_mut();
                let Some(room) = ready!(connection.poll_room(stream.id, cx)) else { break };
                let here = room.min(self.piece.len());
                let last = self.last && here == self.piece.len();
                connection.send_data(stream.id, self.piece.split_to(here), last);
                (self.stalled, self.moved) = (false, true);
                drop(connection);
                if last {
                    *place = None;
                }
                continue;
            }
            let body = answer.body_mut();
            // It may read the request's body meanwhile, so the connection must be free.
            let frame = match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    ready!(stream.connection.borrow_mut().poll_over(stream.id, cx));
                    break;
                }
            };
            self.last = frame.is_none() || body.is_end_stream();
            self.take(stream, frame);
            if self.last && self.piece.is_empty() {
                *place = None;
            }
        }
        *place = None;
        Poll::Ready(())
    }

    /// Takes the next part of the body.
    fn take(&mut self, stream: &Stream, frame: Option<Result<Frame<Bytes>, BoxError>>) {
        let mut connection = stream.connection.borrow_mut();
        match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) if !data.is_empty() => self.piece = data,
            Some(Ok(Ok(_))) if !self.last => {}
            Some(Ok(Ok(_))) | None => connection.send_data(stream.id, Bytes::new(), true),
            Some(Ok(Err(frame))) => {
                self.last = true;
                connection.send_trailers(stream.id, &frame.into_trailers().unwrap_or_default());
            }
            Some(Err(error)) => {
                self.last = true;
                connection.reset_as(stream.id, reason(&*error));
            }
        }
    }

    /// The same, while the client takes some of it now and then.
    pub(super) fn poll_in_time<B>(
        &mut self,
        stream: &Stream,
        answer: &Place<B>,
        stall: &mut Deadline,
        cx: &mut Context<'_>,
    ) -> Poll<()>
    where
        B: HttpBody<Data = Bytes, Error = BoxError> + Unpin,
    {
        self.moved = false;
        if self.poll(stream, answer, cx).is_ready() {
            return Poll::Ready(());
        }
        if !self.stalled {
            stall.clear();
            return Poll::Pending;
        }
        if stall.due().is_none() || self.moved {
            stall.set(WRITE_STALL);
        }
        ready!(stall.poll(cx));
        stream.connection.borrow_mut().reset(stream.id, Code::Cancel);
        Poll::Ready(())
    }
}

/// What the client is told of an answer that broke off: the reason that the endpoint gave, where it spoke HTTP/2 as well.
fn reason(error: &(dyn error::Error + 'static)) -> u32 {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(reason) = error.downcast_ref::<h2::Error>().and_then(h2::Error::reason) {
            return reason.into();
        }
        cause = error.source();
    }
    Code::Internal as u32
}
