//! Where an answer is put together and stays until it has gone out: it is large, and every hand that it went through
//! would copy it.

use std::cell::RefCell;

use http::{HeaderMap, Response, StatusCode};

use super::body::ResponseBody;

/// A place for one answer.
#[derive(Default)]
pub(super) struct Answer(RefCell<Option<Response<ResponseBody>>>);

/// An answer with this head and body.
pub(super) fn of((status, headers): (StatusCode, HeaderMap), body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    response
}

/// Says that an answer has been given.
#[derive(Debug)]
pub(super) struct Given(());

impl Answer {
    /// Gives this answer.
    pub(super) fn give(&self, response: Response<ResponseBody>) -> Given {
        *self.0.borrow_mut() = Some(response);
        Given(())
    }

    /// The status of what has been given.
    pub(super) fn status(&self, _: &Given) -> Option<StatusCode> {
        self.0.borrow().as_ref().map(Response::status)
    }

    /// Changes what has been given.
    pub(super) fn edit(&self, _: &Given, edit: impl FnOnce(&mut Response<ResponseBody>)) {
        if let Some(response) = &mut *self.0.borrow_mut() {
            edit(response);
        }
    }

    /// Makes another answer of what has been given.
    pub(super) fn replace(&self, _: &Given, change: impl FnOnce(Response<ResponseBody>) -> Response<ResponseBody>) {
        let mut place = self.0.borrow_mut();
        *place = place.take().map(change);
    }

    /// The place itself; nothing is in it before an answer is given, and after its last part has gone out.
    pub(super) fn place(&self) -> &RefCell<Option<Response<ResponseBody>>> {
        &self.0
    }
}
