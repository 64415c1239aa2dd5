//! What is told of an exchange once it is over.

use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, StatusCode, request};

use super::Worker;
use super::body::Upload;
use super::connection::Client;
use super::limits::Mark;
use super::noted::{Noted, Part};
use super::{forward, traces};
use crate::auth::Claims;
use crate::field_kinds::FieldKinds;
use crate::limit::Place;
use crate::slot::Slot;
use crate::table::{PathMatch, Route};
use crate::telemetry::trace::{Caller, Finished, Traced};
use crate::telemetry::{Entry, Exchange, Reason, Remaining, TraceIds, Tracer, WorkerLog};
use crate::upstream::Endpoint;

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
    upstream: Duration,
    connecting: Duration,
    queued: Duration,
    sent: u64,
    upload: Option<Rc<Upload>>,
    /// What those who tell of single exchanges want to know; none when nobody does.
    noted: Option<Box<Noted>>,
    /// The trace it belongs to, if it belongs to one.
    trace: Option<TraceIds>,
    /// Its places among those that are under way, where it is bounded how many there may be.
    places: Vec<Place>,
}

impl Record {
    /// An exchange that begins now. Until something else is known, it is one whose client went away.
    pub(super) fn begin(worker: Rc<Worker>, client: Rc<Client>, method: Method) -> Self {
        worker.metrics.began(client.tls.is_some());
        Self {
            worker,
            client,
            start: Instant::now(),
            method,
            route: None,
            backend: None,
            status: CLIENT_CLOSED,
            reason: Reason::ClientClosed,
            upstream: Duration::ZERO,
            connecting: Duration::ZERO,
            queued: Duration::ZERO,
            sent: 0,
            upload: None,
            noted: None,
            trace: None,
            places: Vec::new(),
        }
    }

    /// Its head is this, with fields of these kinds.
    pub(super) fn note(&mut self, parts: &request::Parts, kinds: FieldKinds, request_id: &HeaderValue) {
        let worker = &self.worker;
        let propagators = worker.tracer.as_ref().map(Tracer::propagators).unwrap_or_default();
        let caller = if kinds.has(FieldKinds::TRACE) { propagators.read(&parts.headers) } else { Caller::default() };
        self.trace = caller.ids;
        let mut traced = None;
        if let Some(tracer) = &worker.tracer {
            let ids = traces::place(caller, || worker.random());
            self.trace = Some(ids);
            // Most are not recorded, and have nothing remembered of them. Their route may still want them to be.
            traced = tracer.sampler().decide(ids.trace, caller.recorded, None).then(|| Traced::below(caller, ids));
        }
        if traced.is_none() && worker.log.is_none() && !worker.tap.is_watched() {
            return;
        }
        self.remember(parts, request_id).traced = traced;
    }

    fn remember(&mut self, parts: &request::Parts, request_id: &HeaderValue) -> &mut Noted {
        let worker = &self.worker;
        let mut noted = worker.notes.begin(worker.clock.micros_at(self.start), parts, request_id);
        if let Some(log) = &worker.log {
            noted.headers(log.headers(), &parts.headers);
            if log.wants_head() {
                noted.measure(&self.method, parts);
            }
        }
        self.noted.insert(noted)
    }

    /// The trace it belongs to, if it belongs to one.
    pub(super) fn trace(&self) -> Option<TraceIds> {
        self.trace
    }

    /// An endpoint is about to be asked: it is told its place in the trace.
    pub(super) fn trying(&mut self, headers: &mut HeaderMap) {
        let Some(tracer) = &self.worker.tracer else { return };
        let traced = self.noted.as_mut().and_then(|noted| noted.traced.as_mut());
        let (told, recorded) = match (traced, self.trace) {
            (Some(traced), _) => (traces::call(traced, || self.worker.random()), true),
            (None, Some(ids)) => (ids, false),
            (None, None) => return,
        };
        tracer.propagators().write(headers, told, recorded, |text| self.worker.value(text));
    }

    /// When it began.
    pub(super) fn start(&self) -> Instant {
        self.start
    }

    /// It belongs to this route.
    pub(super) fn route(&mut self, route: &Route, path: &PathMatch, parts: &request::Parts) {
        self.route = Some(route.slot);
        self.worker.metrics.expect(route.slot);
        if let Some(percent) = route.observe.trace_percent {
            self.decide(percent, parts);
        }
        let Some(noted) = &mut self.noted else { return };
        noted.route(route);
        if noted.traced.is_some() {
            noted.template(path);
        }
    }

    /// So many of a hundred of its route are recorded, where the caller has not decided that.
    fn decide(&mut self, percent: u8, parts: &request::Parts) {
        let (Some(tracer), Some(ids)) = (&self.worker.tracer, self.trace) else { return };
        let caller = tracer.propagators().read(&parts.headers);
        let recorded = tracer.sampler().decide(ids.trace, caller.recorded, Some(percent));
        let traced = recorded.then(|| Traced::below(caller, ids));
        match &mut self.noted {
            Some(noted) => noted.traced = traced,
            None if recorded => {
                let request_id = parts.headers.get(forward::X_REQUEST_ID).cloned();
                self.remember(parts, &request_id.unwrap_or(HeaderValue::from_static("-"))).traced = traced;
            }
            None => {}
        }
    }

    /// It goes to the route's backend of this number and name.
    pub(super) fn backend(&mut self, number: usize, name: &str) {
        self.backend = u16::try_from(number).ok();
        if let Some(noted) = &mut self.noted {
            noted.service(name);
        }
    }

    /// Its limits have been asked, if it has any.
    pub(super) fn limits(&mut self, mark: &Mark<'_>) {
        if let Some(noted) = &mut self.noted
            && let Some((limits, rate, remaining)) = mark.tightest()
        {
            noted.limited(&limits.policy, &rate.limit.name, remaining);
        }
    }

    /// It is under way from here on, by these places.
    pub(super) fn enters(&mut self, mut places: Vec<Place>) {
        self.places.append(&mut places);
    }

    /// It is over as far as answers go, and stays under way as a tunnel.
    pub(super) fn take_places(&mut self) -> Vec<Place> {
        std::mem::take(&mut self.places)
    }

    /// Its caller has proved these claims. Who that is, is personal: it is remembered only where it was asked for.
    pub(super) fn identified(&mut self, claims: &Claims) {
        if let Some(noted) = &mut self.noted
            && self.worker.log.as_ref().is_some_and(WorkerLog::wants_subject)
            && let Some(subject) = claims.get("sub")
        {
            noted.subject(&subject);
        }
    }

    /// It has a request body, of which this knows.
    pub(super) fn uploads(&mut self, upload: Rc<Upload>) {
        self.upload = Some(upload);
    }

    /// This endpoint was asked: how long its head took, and the status in it if one came.
    pub(super) fn tried(&mut self, endpoint: &Endpoint, waited: Duration, status: Option<StatusCode>) {
        self.upstream += waited;
        if let Some(noted) = &mut self.noted {
            let status = status.map(|status| status.as_u16());
            noted.tried(endpoint.address, waited, status);
            if let Some(call) = noted.traced.as_mut().and_then(|traced| traced.calls.last_mut()) {
                (call.endpoint, call.waited, call.status) = (Some(endpoint.address), waited, status);
            }
        }
    }

    /// A connection to an endpoint was made, in this time.
    pub(super) fn connected(&mut self, took: Duration) {
        self.connecting += took;
    }

    /// It waited so long for a connection that others had.
    pub(super) fn waited(&mut self, waited: Duration) {
        self.queued += waited;
    }

    /// No connection to this endpoint was to be had, after so long.
    pub(super) fn unreachable(&mut self, endpoint: &Endpoint, waited: Duration) {
        let Some(noted) = &mut self.noted else { return };
        noted.tried(endpoint.address, waited, None);
        if let Some(traced) = &mut noted.traced {
            traces::unreachable(traced, || self.worker.random(), endpoint.address, waited);
        }
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

    /// A page of this status takes the place of its answer.
    pub(super) fn paged(&mut self, status: StatusCode) {
        self.status = status;
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

    /// Tells those who tell of single exchanges.
    fn tell(&self, noted: &mut Noted, duration: Duration, received: u64) {
        let traced = noted.traced.take();
        let text = |part| noted.part(part).unwrap_or_default();
        let tls = self.client.tls.as_ref();
        let entry = Entry {
            began: noted.began,
            secure: self.client.secure(),
            method: self.method.as_str(),
            version: noted.version,
            host: text(Part::Host),
            path: text(Part::Path),
            query: noted.part(Part::Query),
            status: self.status.as_u16(),
            reason: self.reason,
            duration,
            upstream: self.upstream,
            received,
            sent: self.sent,
            head: noted.head,
            client_ip: self.client.ip_text.as_bytes(),
            peer_ip: self.client.peer_text().as_bytes(),
            route: text(Part::Route),
            rule: text(Part::Rule),
            service: text(Part::Service),
            limit: noted.remaining.map(|remaining| Remaining {
                policy: text(Part::Policy),
                limit: text(Part::Limit),
                remaining,
            }),
            subject: noted.part(Part::Subject),
            tries: &noted.tries,
            tls_version: tls.map(|tls| tls.version.as_str()),
            sni: tls.and_then(|tls| tls.name.as_deref()).map(str::as_bytes),
            request_id: text(Part::RequestId),
            trace: self.trace,
            user_agent: noted.part(Part::UserAgent),
            referer: noted.part(Part::Referer),
            headers: noted.values(),
            wanted: noted.wanted,
            plain: noted.is_plain(),
        };
        if let Some(log) = &self.worker.log {
            log.record(&entry, || self.worker.random());
        }
        if self.worker.tap.is_watched() {
            self.worker.tap.show(&entry);
        }
        if let (Some(tracer), Some(traced)) = (&self.worker.tracer, traced) {
            tracer.tell(Finished::new(&entry, traced, text(Part::Template)));
        }
    }
}

/// What the access log of every proxy calls a client that did not wait.
const CLIENT_CLOSED: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => StatusCode::BAD_REQUEST,
};

impl Drop for Record {
    fn drop(&mut self) {
        let duration = self.start.elapsed();
        let received = self.upload.as_ref().map_or(0, |upload| upload.bytes.get());
        self.worker.metrics.record(&Exchange {
            secure: self.client.tls.is_some(),
            route: self.route,
            backend: self.backend,
            method: &self.method,
            status: self.status,
            reason: self.reason,
            duration,
            upstream: self.upstream,
            connecting: self.connecting,
            queued: self.queued,
            sent: self.sent,
            received,
        });
        if let Some(mut noted) = self.noted.take() {
            self.tell(&mut noted, duration, received);
            self.worker.notes.end(noted);
        }
    }
}
