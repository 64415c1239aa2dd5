//! Sending a request once more because its route asks for that, and telling an endpoint's health how it went.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::attempt::{Attempt, FULL};
use super::body::RequestBody;
use super::error::Error;
use super::replay::Replay;
use crate::upstream::health::Change;
use crate::upstream::{Bound, Endpoint, Outcome, Permit, Repeat};

/// What an exchange keeps so that its request can go out again.
#[derive(Debug, Default)]
pub(super) struct Again {
    /// The endpoints that have failed it.
    pub(super) tried: Vec<Endpoint>,
    /// How often the route's policy has had it repeated.
    made: u32,
    /// Its place among the repetitions under way.
    permit: Option<Permit>,
    body: Held,
    /// It tries an endpoint that was left out, and must tell how that went.
    pub(super) on_trial: Cell<bool>,
}

/// What is left of the request's body once it has been sent.
#[derive(Debug, Default)]
enum Held {
    /// There was none.
    #[default]
    Empty,
    /// It went by.
    Gone,
    /// What has gone of it is kept.
    Kept(Rc<Replay>),
}

impl Attempt<'_> {
    /// Has the body kept for a repetition, if the route may ask for one and it is not too large.
    pub(super) fn hold(&mut self, body: RequestBody) -> RequestBody {
        self.again.body = Held::Gone;
        if self.route.retry.is_none() {
            return body;
        }
        match Replay::new(body) {
            Ok(replay) => {
                // Of a body that nobody has read there is always a first reading.
                let first = replay.read().unwrap_or(RequestBody::Empty);
                self.again.body = Held::Kept(replay);
                first
            }
            Err(body) => body,
        }
    }

    /// Why the route takes the answer for a failed attempt, if it does.
    pub(super) fn failed_by(&self, status: StatusCode, headers: &HeaderMap) -> Option<Repeat> {
        let retry = self.route.retry.as_ref()?;
        if retry.is_failed(status) {
            return Some(Repeat::Status);
        }
        retry.is_failed_call(headers).then_some(Repeat::GrpcStatus)
    }

    /// The request's body and the pause before it goes out again after it may have reached an endpoint; `None` when it
    /// must not, or there is nothing left to spend on it.
    pub(super) fn repeat(&mut self, why: Repeat, due: Option<u64>) -> Option<(RequestBody, Duration)> {
        let readable = match &self.again.body {
            Held::Empty => true,
            Held::Gone => false,
            Held::Kept(replay) => replay.is_whole(),
        };
        let pause = if readable { self.repeat_unsent(why, due)? } else { return None };
        let body = match &self.again.body {
            Held::Kept(replay) => replay.read()?,
            Held::Empty | Held::Gone => RequestBody::Empty,
        };
        Some((body, pause))
    }

    /// The same for a request of which nothing was sent, so that its body is still at hand.
    pub(super) fn repeat_unsent(&mut self, why: Repeat, due: Option<u64>) -> Option<Duration> {
        let retry = self.route.retry.as_ref()?;
        if self.again.made >= retry.attempts {
            return None;
        }
        let asked = match why {
            Repeat::ConnectFailure => retry.on_connect_failure,
            Repeat::RefusedStream => retry.on_refused_stream,
            Repeat::Reset => retry.on_reset,
            // What we would answer in the endpoint's place.
            Repeat::Timeout => retry.is_failed(StatusCode::GATEWAY_TIMEOUT),
            Repeat::Status | Repeat::GrpcStatus => true,
            Repeat::StaleConnection => false,
        };
        let processed = !matches!(why, Repeat::ConnectFailure | Repeat::RefusedStream);
        if !asked || (processed && !retry.may_repeat(self.method, self.headers)) {
            return None;
        }
        let now = self.worker.clock.now();
        let pause = retry.pause(self.again.made, self.worker.random());
        if due.is_some_and(|due| super::attempt::after(now, pause) >= due) {
            return None;
        }
        if let Some(breaker) = &self.cluster.breaker {
            // The one that is over makes room for the next.
            self.again.permit = None;
            let Some(permit) = breaker.take(Bound::Retries) else {
                self.tell_refusal(Bound::Retries);
                return None;
            };
            self.again.permit = Some(permit);
        }
        if self.cluster.budget.as_ref().is_some_and(|budget| !budget.try_repeat(now)) {
            self.again.permit = None;
            return None;
        }
        self.again.made += 1;
        self.cluster.tally.repeat(why);
        Some(pause)
    }

    /// Whether a request that may have reached an endpoint may go out again without its route's asking for it: within
    /// the budget for repetitions, where there is one. What was refused was no work for anybody.
    pub(super) fn affords(&self, refused: bool) -> bool {
        let budget = self.cluster.budget.as_ref().filter(|_| !refused);
        budget.is_none_or(|budget| budget.try_repeat(self.worker.clock.now()))
    }

    /// The exchange's place among those under way to the cluster, where they are bounded.
    pub(super) fn admit(&self) -> Result<Option<Permit>, Error> {
        let Some(breaker) = &self.cluster.breaker else { return Ok(None) };
        let permit = breaker.take(Bound::Requests);
        if permit.is_none() {
            self.tell_refusal(Bound::Requests);
            return Err(Error::CircuitOpen(FULL));
        }
        Ok(permit)
    }

    /// A bound has turned something away. It is said once, until there has been room for a while.
    pub(super) fn tell_refusal(&self, bound: Bound) {
        let Some(breaker) = &self.cluster.breaker else { return };
        if breaker.refuse(self.worker.clock.now()) {
            let (service, limit) = (&self.cluster.name, breaker.limits().of(bound));
            tracing::warn!(%service, circuit = "open", bound = bound.as_str(), limit, "no more is let through to the service");
        }
    }

    /// The client broke off, so a trial has shown nothing.
    pub(super) fn no_verdict(&self, endpoint: &Endpoint) {
        if self.again.on_trial.take()
            && let Some(health) = self.cluster.endpoints().health_of(endpoint)
        {
            health.abandon_trial(self.worker.clock.now());
        }
    }

    /// Tells the endpoint's health how an attempt went.
    pub(super) fn report(&self, endpoint: &Endpoint, outcome: Outcome) {
        let own = self.cluster.policy.outlier.as_ref();
        if own.is_none() && !self.again.on_trial.take() {
            return;
        }
        let set = self.cluster.endpoints();
        let Some(health) = set.health_of(endpoint) else { return };
        let now = self.worker.clock.now();
        let change = match own {
            own if outcome == Outcome::Well => health.succeeded(own, now),
            Some(outlier) => health.failed(outlier, outcome, set.endpoints.len(), now),
            // By the settings of whoever left it out.
            None => health.failed(&health.left_out_by(), outcome, set.endpoints.len(), now),
        };
        let service = &self.cluster.name;
        match change {
            None => {}
            Some(Change::Ejected(milliseconds)) => {
                self.cluster.tally.eject();
                tracing::warn!(
                    %service,
                    endpoint = %endpoint.address,
                    circuit = "open",
                    seconds = milliseconds as f64 / 1e3,
                    "endpoint is left out: it has failed too often"
                );
            }
            Some(Change::Returned) => {
                tracing::info!(%service, endpoint = %endpoint.address, circuit = "closed", "endpoint is used again");
            }
        }
    }
}
