//! Getting a request to an endpoint and the head of an answer back: choose, connect, send, and once more where that
//! is safe.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::header::{self, HeaderMap};
use http::uri::PathAndQuery;
use http::{Method, StatusCode};

use super::again::Again;
use super::answer::{Answer, Given};
use super::body::{RequestBody, ResponseBody, Upload, discard};
use super::clock::Deadline;
use super::connection::Client;
use super::error::Error;
use super::record::Record;
use super::session::{self, Pinned};
use super::{Worker, answer, forward};
use crate::table::Route;
use crate::upstream::balance::Choice;
use crate::upstream::pool::{Answered, ConnectError, Destination, ExchangeError, Lease, SendError, Stage};
use crate::upstream::{Announced, Bound, Cluster, Endpoint, EndpointSet, Fit, Head, Outcome, Repeat};

/// A request that is ready to go out, and where to.
pub(super) struct Attempt<'a> {
    pub(super) worker: &'a Rc<Worker>,
    pub(super) client: &'a Rc<Client>,
    pub(super) route: &'a Arc<Route>,
    pub(super) cluster: &'a Arc<Cluster>,
    /// The hash of the key, when the route balances by one.
    pub(super) key: Option<u64>,
    pub(super) method: &'a Method,
    pub(super) target: PathAndQuery,
    pub(super) headers: &'a mut HeaderMap,
    /// The client has sent a `Content-Length`.
    pub(super) says_length: bool,
    pub(super) record: &'a mut Record,
    /// When the whole exchange must be over, by the worker's clock.
    pub(super) due: Option<u64>,
    /// Whom connections speak for, where the cluster's say so.
    pub(super) speaks_for: Option<Rc<Announced>>,
    /// The endpoint that the client is to stay with.
    pub(super) pinned: Option<Pinned>,
    /// What it takes to send it once more.
    pub(super) again: Again,
}

/// Which connection a request wants.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    /// One that rests, or a new one.
    Pooled,
    /// A new one to this endpoint, since the one that was tried is of no use.
    New(Endpoint),
    /// A new one of HTTP/1.1, to change its protocol.
    Upgrade,
}

/// Something took too long.
pub(super) enum Elapsed {
    /// The step itself.
    Step,
    /// The exchange as a whole.
    Exchange,
}

/// How often a request goes out again without anybody asking for it, at most: once because its connection was stale, and
/// once because the new one was closed by an endpoint that did not care to wait for it.
const RETRIES: u8 = 2;

/// When to come again where there was no room, in milliseconds.
pub(super) const FULL: u64 = 1_000;

/// Sends the request with its body, of which `upload` knows, and gives the answer, its body still to come.
pub(super) async fn forward(
    attempt: &mut Attempt<'_>,
    mut body: RequestBody,
    upload: Option<Rc<Upload>>,
    answer: &Answer,
) -> Result<Given, Error> {
    let worker = attempt.worker;
    let timeouts = attempt.route.timeouts;
    let due = attempt.due;
    let mut deadline = worker.clock.deadline();
    let permit = attempt.admit()?;
    if let Some(budget) = &attempt.cluster.budget {
        budget.request(worker.clock.now());
    }
    if !body.is_empty() {
        body = attempt.hold(body);
    }
    let mut how = How::Pooled;
    let mut again = RETRIES;
    loop {
        let (endpoint, mut lease) = match attempt.connect(how, &mut deadline, due).await {
            Ok(connected) => connected,
            Err(error) => {
                let pause =
                    error.is_unreachable().then(|| attempt.repeat_unsent(Repeat::ConnectFailure, due)).flatten();
                let Some(pause) = pause else { return Err(error) };
                rest(pause).await;
                (how, again) = (How::Pooled, RETRIES);
                continue;
            }
        };
        let reused = lease.reused();
        let was_empty = body.is_empty();
        attempt.record.trying(attempt.headers);
        let head = attempt.head(&body)?;
        let began = Instant::now();
        let (now, limit) = (worker.clock.now(), timeouts.backend_request);
        let sent = within(&mut deadline, now, limit, due, pin!(lease.send(&head, body))).await;
        let waited = began.elapsed();
        let status = sent.as_ref().ok().and_then(|sent| sent.as_ref().ok()).map(|answered| answered.status);
        attempt.record.tried(&endpoint, waited, status);
        let (error, repeat) = match sent {
            Ok(Ok(Answered { status, mut headers, kinds, incoming })) => {
                worker.pool.observe(endpoint.slot, waited);
                if status == StatusCode::SWITCHING_PROTOCOLS {
                    // Whatever else is on that connection, nobody else may get it.
                    return Err(Error::UpstreamProtocol);
                }
                attempt.report(&endpoint, status.into());
                if let Some(why) = attempt.failed_by(status, &headers)
                    && let Some((next, pause)) = attempt.repeat(why, due)
                {
                    discard(lease.into_body(incoming));
                    attempt.again.tried.push(endpoint);
                    rest(pause).await;
                    (body, how, again) = (next, How::Pooled, RETRIES);
                    continue;
                }
                forward::clean_response(&mut headers, kinds);
                attempt.keep_client(&endpoint, &mut headers);
                attempt.record.streaming(status);
                deadline.clear();
                lease.hold(permit);
                let body = ResponseBody::upstream(lease.into_body(incoming), timeouts.idle, due, deadline);
                return Ok(answer.give(answer::of((status, headers), body)));
            }
            Ok(Err(SendError { error, unsent })) => {
                let refused = error.is_refused();
                // It may have been sent; only what does no harm twice may go out again. An endpoint that answers nonsense
                // has answered.
                let harmless = refused || forward::is_idempotent(attempt.method);
                let replay = was_empty && harmless && !error.is_malformed();
                let next = match how {
                    // Nothing was sent, so any method may go out again.
                    _ if again > 0 && unsent.is_some() => unsent.map(|unsent| (unsent, endpoint)),
                    _ if again == 0 || !replay => None,
                    // The connection was closed while it rested, which says nothing of the endpoint.
                    _ if reused && !refused => Some((RequestBody::Empty, endpoint)),
                    How::New(_) => {
                        attempt.again.tried.push(endpoint);
                        let to = attempt.another().unwrap_or(endpoint);
                        attempt.affords(refused).then_some((RequestBody::Empty, to))
                    }
                    How::Pooled | How::Upgrade => {
                        attempt.again.tried.push(endpoint);
                        let to = attempt.another().filter(|_| attempt.affords(refused));
                        to.map(|other| (RequestBody::Empty, other))
                    }
                };
                if let Some((next, to)) = next {
                    let why = if refused { Repeat::RefusedStream } else { Repeat::StaleConnection };
                    attempt.cluster.tally.repeat(if to == endpoint || refused { why } else { Repeat::Reset });
                    if to != endpoint {
                        attempt.report(&endpoint, Outcome::GatewayFailed);
                    }
                    (body, how) = (next, How::New(to));
                    again -= 1;
                    continue;
                }
                let why = if refused { Repeat::RefusedStream } else { Repeat::Reset };
                let (malformed, failure) = (error.is_malformed(), attempt.failure(&error, upload.as_deref()));
                if matches!(failure, Error::UpstreamReset | Error::UpstreamProtocol) {
                    attempt.report(&endpoint, Outcome::GatewayFailed);
                } else {
                    attempt.no_verdict(&endpoint);
                }
                (failure, (!malformed && failure == Error::UpstreamReset).then_some(why))
            }
            Err(elapsed) => {
                let stuck = upload.as_ref().is_some_and(|upload| upload.is_stuck());
                // An endpoint that still waits for the client's body is not late.
                if stuck || upload.as_ref().is_none_or(|upload| upload.ended.get()) {
                    attempt.report(&endpoint, Outcome::GatewayFailed);
                } else {
                    attempt.no_verdict(&endpoint);
                }
                match elapsed {
                    Elapsed::Step if stuck => (Error::RequestWriteTimeout, Some(Repeat::Timeout)),
                    Elapsed::Step => (Error::UpstreamTimeout, Some(Repeat::Timeout)),
                    Elapsed::Exchange => (Error::RequestTimeout, None),
                }
            }
        };
        let Some((next, pause)) = repeat.and_then(|why| attempt.repeat(why, due)) else { return Err(error) };
        attempt.again.tried.push(endpoint);
        rest(pause).await;
        (body, how, again) = (next, How::Pooled, RETRIES);
    }
}

/// Waits before a repetition. Boxed, since it is rare and would make the future of every exchange larger.
async fn rest(pause: Duration) {
    Box::pin(tokio::time::sleep(pause)).await;
}

impl<'a> Attempt<'a> {
    /// A connection to an endpoint, or to another one if there is none to be had: nothing has been sent yet, so any
    /// method may.
    pub(super) async fn connect(
        &mut self,
        how: How,
        deadline: &mut Deadline,
        due: Option<u64>,
    ) -> Result<(Endpoint, Lease<RequestBody>), Error> {
        let endpoint = match how {
            // It may have gone meanwhile: that is how connections to it come to be closed.
            How::New(endpoint) if self.stands(&endpoint) => endpoint,
            How::New(_) | How::Pooled | How::Upgrade => self.select()?,
        };
        let pool = &self.worker.pool;
        pool.set_now(self.worker.clock.now());
        if matches!(how, How::Pooled)
            && let Some(lease) = pool.lease_existing(endpoint.slot, self.speaks_for.as_ref())
        {
            return Ok((endpoint, lease));
        }
        // Boxed, since it is rare and would make the future of every exchange several times as large.
        Box::pin(self.connect_anew(endpoint, how, deadline, due)).await
    }

    async fn connect_anew(
        &mut self,
        endpoint: Endpoint,
        how: How,
        deadline: &mut Deadline,
        due: Option<u64>,
    ) -> Result<(Endpoint, Lease<RequestBody>), Error> {
        let error = match self.reach(&endpoint, how, deadline, due).await {
            Ok(lease) => return Ok((endpoint, lease)),
            Err(error) if error.is_unreachable() => error,
            Err(error) => return Err(error),
        };
        let Some(other) = self.another() else { return Err(error) };
        self.cluster.tally.repeat(Repeat::ConnectFailure);
        Ok((other, self.reach(&other, how, deadline, due).await?))
    }

    /// A connection to the endpoint; it has failed the request if there is none to be had.
    async fn reach(
        &mut self,
        endpoint: &Endpoint,
        how: How,
        deadline: &mut Deadline,
        due: Option<u64>,
    ) -> Result<Lease<RequestBody>, Error> {
        let began = Instant::now();
        let lease = self.lease(endpoint, how, deadline, due).await;
        let took = began.elapsed();
        match &lease {
            Ok(lease) if lease.reused() => self.record.waited(took),
            Ok(_) => self.record.connected(took),
            Err(Error::PoolTimeout) => self.record.waited(took),
            Err(error) if error.is_unreachable() => {
                self.record.unreachable(endpoint, took);
                self.report(endpoint, Outcome::Unreachable);
                self.again.tried.push(*endpoint);
            }
            Err(_) => {}
        }
        lease
    }

    /// Any endpoint that has not failed the request yet.
    fn another(&self) -> Option<Endpoint> {
        let failed = |other: &Endpoint| self.again.tried.iter().any(|failed| failed.address == other.address);
        self.select().ok().filter(|other| !failed(other))
    }

    /// Whether the endpoint is still one of the cluster's.
    fn stands(&self, endpoint: &Endpoint) -> bool {
        self.cluster.endpoints().endpoints.iter().any(|known| **known == *endpoint)
    }

    /// The endpoint to try, any that has not failed the request if there is a choice.
    fn select(&self) -> Result<Endpoint, Error> {
        let pool = &self.worker.pool;
        let set = self.cluster.endpoints();
        let policy = &*self.cluster.policy;
        if let Some(pinned) = self.pinned.as_ref().filter(|_| self.again.tried.is_empty()) {
            return Ok(pinned.endpoint);
        }
        let now = self.worker.clock.now();
        let fit = set.group.fit(&set.health, policy.outlier.as_ref(), now, |number| self.may_try(&set, number));
        let choice = Choice {
            loads: pool,
            turn: pool.turn(self.cluster.slot),
            random: self.worker.random(),
            hash: self.key,
            exclude: &self.again.tried,
            fit,
            slow_start: policy.slow_start.map(|window| (window, now)),
        };
        let chosen = self.cluster.balancer.select(&set, &choice).map(|endpoint| **endpoint);
        match (fit, chosen) {
            (Fit::None(wait), _) => Err(Error::CircuitOpen(wait)),
            (_, None) => Err(Error::NoEndpoint),
            (Fit::Trial(_), Some(endpoint)) => {
                self.again.on_trial.set(true);
                let service = &self.cluster.name;
                tracing::info!(%service, endpoint = %endpoint.address, circuit = "half-open", "endpoint is tried");
                Ok(endpoint)
            }
            (Fit::All | Fit::Some(_), Some(endpoint)) => Ok(endpoint),
        }
    }

    /// Whether the request may try an endpoint that was left out: it must not have failed already, and with a key it must
    /// belong there.
    fn may_try(&self, set: &EndpointSet, number: usize) -> bool {
        let at_home = match (&set.ring, self.key) {
            (Some(ring), Some(key)) => ring.owner(key) == Some(number),
            (None, _) | (_, None) => true,
        };
        self.again.tried.is_empty() && at_home
    }

    /// A connection to the endpoint, within the time for that.
    async fn lease(
        &self,
        endpoint: &Endpoint,
        how: How,
        deadline: &mut Deadline,
        due: Option<u64>,
    ) -> Result<Lease<RequestBody>, Error> {
        let pool = &self.worker.pool;
        let now = self.worker.clock.now();
        let stage = Cell::new(Stage::Acquire);
        let to = Destination { cluster: self.cluster, endpoint, speaks_for: self.speaks_for.as_ref() };
        let connect = pin!(async {
            match how {
                How::Pooled => pool.lease(&to, &stage).await,
                How::New(_) => pool.lease_new(&to, &stage).await,
                How::Upgrade => pool.lease_new_http1(&to, &stage).await,
            }
        });
        match within(deadline, now, Some(self.route.timeouts.connect), due, connect).await {
            Ok(Ok(lease)) => Ok(lease),
            Ok(Err(ConnectError::Full)) => {
                self.tell_refusal(Bound::Pending);
                Err(Error::CircuitOpen(FULL))
            }
            Ok(Err(error)) => {
                self.worker.tell_connect_failure(self.cluster, endpoint, &error);
                Err(match error {
                    ConnectError::Tcp(_) | ConnectError::Tls(_) => Error::ConnectFailed,
                    ConnectError::Http(_) | ConnectError::Full => Error::UpstreamProtocol,
                })
            }
            Err(Elapsed::Step) => Err(match stage.get() {
                Stage::Acquire => Error::PoolTimeout,
                Stage::Connect => Error::ConnectTimeout,
                Stage::Tls => Error::TlsTimeout,
            }),
            Err(Elapsed::Exchange) => Err(Error::RequestTimeout),
        }
    }

    /// Has the client stay with the endpoint that has served it, if the route wants that.
    pub(super) fn keep_client(&self, endpoint: &Endpoint, headers: &mut HeaderMap) {
        if let Some(session) = &self.route.session {
            let (secure, now) = (self.client.secure(), self.worker.clock.wall());
            session::give(session, self.cluster, self.pinned.as_ref(), endpoint, secure, now, headers);
        }
    }

    /// The request as the endpoint is to get it.
    pub(super) fn head(&self, body: &RequestBody) -> Result<Head<'_>, Error> {
        // What a backend is told to wait for must come.
        if self.says_length
            && body.is_empty()
            && self.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0")
        {
            return Err(Error::BadRequest("a Content-Length without a body"));
        }
        Ok(Head { method: self.method, target: &self.target, headers: self.headers })
    }

    /// What the exchange makes of a failure to send or to be answered.
    pub(super) fn failure(&self, error: &ExchangeError, upload: Option<&Upload>) -> Error {
        if let Some(upload) = upload.filter(|upload| upload.broken.get() || upload.too_large.get()) {
            return upload.error(self.client);
        }
        if error.is_malformed() { Error::UpstreamProtocol } else { Error::UpstreamReset }
    }
}

/// The moment `limit` after `now`, by the worker's clock.
pub(super) fn after(now: u64, limit: Duration) -> u64 {
    now.saturating_add(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX))
}

/// What the future gives, unless its own limit or the whole exchange's moment comes first. It comes pinned, since moving
/// it in would copy it twice.
pub(super) async fn within<T>(
    deadline: &mut Deadline,
    now: u64,
    limit: Option<Duration>,
    due: Option<u64>,
    mut future: Pin<&mut impl Future<Output = T>>,
) -> Result<T, Elapsed> {
    let step = limit.map(|limit| after(now, limit));
    let moment = step.into_iter().chain(due).min();
    match moment {
        Some(moment) => deadline.set_at(moment),
        None => deadline.clear(),
    }
    std::future::poll_fn(|cx| {
        if let Poll::Ready(value) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(value));
        }
        if deadline.poll(cx).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(Err(if moment == due { Elapsed::Exchange } else { Elapsed::Step }))
    })
    .await
}
