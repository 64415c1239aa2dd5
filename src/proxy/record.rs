//! What is told of an exchange once it is over.

use std::rc::Rc;
use std::time::Instant;

use http::{Method, StatusCode};

use super::Worker;
use super::body::Upload;
use super::connection::Client;
use crate::slot::Slot;
use crate::telemetry::{Exchange, Reason};

/// One exchange from its head to the last byte of its response; told to the metrics when it is dropped, wherever that
/// happens: a client that goes away drops everything.
pub(super) struct Record {
    worker: Rc<Worker>,
    client: Rc<Client>,
    start: Instant,
    method: Method,
    route: Option<Slot>,
    backend: Option<u16>,
    status: StatusCode,
    reason: Reason,
    upstream_seconds: f64,
    sent: u64,
    upload: Option<Rc<Upload>>,
}

impl Record {
    /// An exchange that begins now. Until something else is known, it is one whose client went away.
    pub(super) fn begin(worker: Rc<Worker>, client: Rc<Client>, method: Method) -> Self {
        client.peer.begin();
        worker.metrics.began(client.secure());
        Self {
            worker,
            client,
            start: Instant::now(),
            method,
            route: None,
            backend: None,
            status: CLIENT_CLOSED,
            reason: Reason::ClientClosed,
            upstream_seconds: 0.0,
            sent: 0,
            upload: None,
        }
    }

    /// It belongs to this route.
    pub(super) fn route(&mut self, route: Slot) {
        self.route = Some(route);
    }

    /// It goes to the route's backend of this number.
    pub(super) fn backend(&mut self, number: usize) {
        self.backend = u16::try_from(number).ok();
    }

    /// It has a request body, of which this knows.
    pub(super) fn uploads(&mut self, upload: Rc<Upload>) {
        self.upload = Some(upload);
    }

    /// The endpoint's head took this long.
    pub(super) fn upstream(&mut self, seconds: f64) {
        self.upstream_seconds += seconds;
    }

    /// It is answered so, for this reason, if the client stays to hear it.
    pub(super) fn answered(&mut self, status: StatusCode, reason: Reason) {
        self.status = status;
        self.reason = reason;
    }

    /// The body is on its way: until it is complete, a drop means that the client went away.
    pub(super) fn streaming(&mut self, status: StatusCode) {
        self.status = status;
        self.reason = Reason::ClientClosed;
    }

    /// So much of the body has been handed on.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    /// The whole body has been handed on.
    pub(super) fn completed(&mut self) {
        if self.reason == Reason::ClientClosed {
            self.reason = Reason::Ok;
        }
    }

    /// The body broke off.
    pub(super) fn broke(&mut self, reason: Reason) {
        self.reason = reason;
    }
}

/// What the access log of every proxy calls a client that did not wait.
const CLIENT_CLOSED: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => StatusCode::BAD_REQUEST,
};

impl Drop for Record {
    fn drop(&mut self) {
        self.client.peer.end();
        self.worker.metrics.record(&Exchange {
            secure: self.client.secure(),
            route: self.route,
            backend: self.backend,
            method: &self.method,
            status: self.status,
            reason: self.reason,
            seconds: self.start.elapsed().as_secs_f64(),
            upstream_seconds: self.upstream_seconds,
            sent: self.sent,
            received: self.upload.as_ref().map_or(0, |upload| upload.bytes.get()),
        });
    }
}
