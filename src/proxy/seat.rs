//! Where exchanges take place. The future of one is large, so a connection at rest has none, and where one has ended the
//! next one begins, whatever connection it is of: that memory is near.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::Response;
use http::request::Parts;

use super::Worker;
use super::answer::Answer;
use super::body::{Incoming, ResponseBody};
use super::connection::Client;
use super::exchange;
use super::framing::Received;

/// So many are kept for the next ones.
const KEPT: usize = 256;

/// All that an exchange needs.
pub(super) struct Asked {
    pub(super) worker: Rc<Worker>,
    pub(super) client: Rc<Client>,
    pub(super) parts: Box<Parts>,
    pub(super) body: Incoming,
    pub(super) received: Received,
}

/// A place for an exchange: it takes place again and again in the same memory.
pub(super) struct Seat {
    work: Pin<Box<dyn Future<Output = Infallible>>>,
    desk: Rc<Desk>,
}

#[derive(Default)]
struct Desk {
    asked: Cell<Option<Asked>>,
    answer: Answer,
    /// The answer can go out.
    answered: Cell<bool>,
}

/// The places of a worker that are free.
#[derive(Default)]
pub(super) struct Seats(RefCell<Vec<Seat>>);

impl Seats {
    /// A free one.
    pub(super) fn take(&self) -> Seat {
        self.0.borrow_mut().pop().unwrap_or_else(Seat::new)
    }

    /// Gives one back whose exchange has ended.
    pub(super) fn give(&self, seat: Seat) {
        let mut free = self.0.borrow_mut();
        if free.len() < KEPT {
            *seat.answer().borrow_mut() = None;
            free.push(seat);
        }
    }
}

impl Seat {
    fn new() -> Self {
        let desk = Rc::<Desk>::default();
        Self { work: Box::pin(work(desk.clone())), desk }
    }

    /// Begins an exchange; the one before has ended.
    pub(super) fn begin(&self, asked: Asked) {
        self.desk.asked.set(Some(asked));
    }

    /// Waits until the answer is there. It is large, and stays where it is.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Poll::Pending = self.work.as_mut().poll(cx);
        if self.desk.answered.take() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The answer, once it is there, as far as it has not gone out.
    pub(super) fn answer(&self) -> &RefCell<Option<Response<ResponseBody>>> {
        self.desk.answer.place()
    }
}

async fn work(desk: Rc<Desk>) -> Infallible {
    loop {
        let Asked { worker, client, mut parts, body, received } =
            poll_fn(|_| desk.asked.take().map_or(Poll::Pending, Poll::Ready)).await;
        exchange::answer(&worker, client, &mut parts, body, received, &desk.answer).await;
        worker.spare.give_parts(parts);
        desk.answered.set(true);
    }
}
