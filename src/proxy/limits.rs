//! The step that limits how often may be asked.
//!
//! The limits of a route are looked at twice: before it is known who asks those that need not know it, and after it those
//! that do. All limits of one look are counted as one: if one of them refuses, none has counted the request.
//!
//! What is counted in this process is decided at once. Whoever has to ask the shared store, or to wait for its turn,
//! does so in a future of its own, so that the future of every other exchange stays small.

mod desk;
mod global;
mod mark;

use std::future::ready;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::future::Either;
use http::Response;
use http::header;

pub(super) use self::desk::Desk;
pub(super) use self::mark::Mark;
use super::Worker;
use super::body::ResponseBody;
use super::error::Error;
use super::record::Record;
use crate::limit::{Algorithm, Decision, Outcome, Verdict};
use crate::table::{KeySource, OnMissing, RateLimit, RateLimits, RequestHead, Scope};
use crate::telemetry::Reason;

/// Which of a route's limits are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Those that need not know who asks.
    Anonymous,
    /// Those that do.
    Identified,
}

/// One look at the limits of a request.
#[derive(Clone, Copy)]
pub(super) struct Look<'a, 't> {
    pub(super) worker: &'a Rc<Worker>,
    pub(super) limits: &'t RateLimits,
    pub(super) phase: Phase,
    pub(super) head: RequestHead<'a, 'a>,
    pub(super) source: KeySource<'a>,
    /// When the request came.
    pub(super) at: Instant,
}

/// A request does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is over a limit, or has no key where it must have one.
    OverLimit,
    /// Whether it is cannot be found out.
    Unchecked,
}

/// What has to be done beside counting in this process.
#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    /// The longest time that a limit wants the request to wait.
    delay: Duration,
    /// Some limit is counted in the shared store.
    shared: bool,
}

impl<'t> Look<'_, 't> {
    /// Counts the request, and waits for its turn. What clients are told goes into `mark`.
    ///
    /// What this process decides is decided before this returns, and costs nothing; only what has to be waited for is a
    /// future of its own, on the heap.
    pub(super) fn pass(self, mark: &mut Mark<'t>) -> impl Future<Output = Result<(), Refused>> {
        match self.count_here(mark) {
            Ok(Rest { delay: Duration::ZERO, shared: false }) => Either::Left(ready(Ok(()))),
            Ok(rest) => Either::Right(Box::pin(self.settle(rest, mark))),
            Err(refused) => Either::Left(ready(Err(refused))),
        }
    }

    /// Counts it in the shared store, and waits for its turn.
    async fn settle(self, rest: Rest, mark: &mut Mark<'t>) -> Result<(), Refused> {
        let Rest { mut delay, shared } = rest;
        // Given back if the client leaves meanwhile.
        let mut counted = Counted { look: self, shared: Vec::new(), stands: false };
        if shared {
            delay = delay.max(global::ask(&mut counted, mark).await?);
        }
        if !delay.is_zero() {
            // The worker's own deadlines come by the tick, which is too coarse for a pace.
            tokio::time::sleep(delay).await;
        }
        counted.stands = true;
        Ok(())
    }

    /// The limits of this look that apply, with their numbers.
    fn limits(self) -> impl Iterator<Item = (usize, &'t RateLimit)> {
        let wanted = move |rate: &RateLimit| {
            rate.needs_identity() == (self.phase == Phase::Identified) && rate.when.accepts(&self.head, &self.source)
        };
        self.limits.list.iter().enumerate().filter(move |(_, rate)| wanted(rate))
    }

    /// Decides about the limits that are counted in this process.
    fn count_here(self, mark: &mut Mark<'t>) -> Result<Rest, Refused> {
        let mut rest = Rest::default();
        let desk = &self.worker.desk;
        for (number, rate) in self.limits() {
            if let Scope::Global { .. } = rate.scope {
                rest.shared = true;
                continue;
            }
            let quota = rate.limit.quota;
            let decision = desk.with_key(rate, &self.source, |ask| match quota.algorithm {
                Algorithm::Concurrency => desk.local.enter(&ask, quota, self.at),
                _ => (desk.local.check(&ask, quota, self.at), None),
            });
            let taken = match decision {
                Ok((decision, place)) => {
                    place.into_iter().for_each(|place| mark.entered(place));
                    self.take(rate, decision, mark)
                }
                Err(missing) => self.take_missing(rate, missing, mark),
            };
            match taken {
                Ok(delay) => rest.delay = rest.delay.max(delay),
                Err(refused) => {
                    self.give_back_here(number);
                    return Err(refused);
                }
            }
        }
        Ok(rest)
    }

    /// Takes a limit's decision in; how long it wants the request to wait.
    fn take(self, rate: &'t RateLimit, decision: Decision, mark: &mut Mark<'t>) -> Result<Duration, Refused> {
        let verdict = match decision.outcome {
            Outcome::Allowed | Outcome::Delayed(_) => Verdict::Allowed,
            Outcome::Refused { .. } if rate.shadow => Verdict::Shadow,
            Outcome::Refused { .. } => Verdict::Limited,
        };
        rate.tally.count(self.worker.desk.index, verdict);
        if rate.shadow {
            return Ok(Duration::ZERO);
        }
        mark.tell(&self.worker.desk, rate, decision);
        match decision.outcome {
            Outcome::Allowed => Ok(Duration::ZERO),
            Outcome::Delayed(delay) => Ok(delay),
            Outcome::Refused { retry_after } => {
                mark.retry_after(retry_after);
                Err(Refused::OverLimit)
            }
        }
    }

    /// A part of the key is missing.
    fn take_missing(self, rate: &RateLimit, missing: OnMissing, mark: &mut Mark<'t>) -> Result<Duration, Refused> {
        if missing != OnMissing::Reject {
            return Ok(Duration::ZERO);
        }
        let verdict = if rate.shadow { Verdict::Shadow } else { Verdict::Limited };
        rate.tally.count(self.worker.desk.index, verdict);
        if rate.shadow {
            return Ok(Duration::ZERO);
        }
        // Waiting does not help; but a refusal says when to come back, and clients look for it.
        mark.retry_after(rate.limit.quota.period);
        Err(Refused::OverLimit)
    }

    /// Gives back what limits before the one of this number have counted in this process.
    fn give_back_here(self, before: usize) {
        let desk = &self.worker.desk;
        for (_, rate) in self.limits().take_while(|(number, _)| *number < before) {
            if let Scope::Local = rate.scope {
                // A shadow may have refused, and so counted nothing; and a place is given back by itself.
                if !rate.shadow && rate.limit.quota.algorithm != Algorithm::Concurrency {
                    let _ =
                        desk.with_key(rate, &self.source, |ask| desk.local.give_back(&ask, rate.limit.quota, self.at));
                }
            }
        }
    }
}

/// What has been counted for a request that does not stand yet: it is given back if the request goes no further.
struct Counted<'a, 't> {
    look: Look<'a, 't>,
    /// What the shared store has counted: the number of the limit, and the key.
    shared: Vec<(usize, Vec<u8>)>,
    stands: bool,
}

impl Drop for Counted<'_, '_> {
    fn drop(&mut self) {
        if !self.stands {
            self.look.give_back_here(usize::MAX);
            global::give_back(self);
        }
    }
}

/// The answer to a request that did not pass.
pub(super) fn answer(
    refused: Refused,
    limits: &RateLimits,
    record: &mut Record,
) -> Result<Response<ResponseBody>, Error> {
    let status = match refused {
        Refused::OverLimit => limits.answer.status,
        Refused::Unchecked => return Err(Error::LimitUnchecked),
    };
    let Some((content_type, body)) = &limits.answer.body else { return Err(Error::RateLimited(status)) };
    let mut response = Response::new(ResponseBody::full(body.clone()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type.clone());
    record.answered(status, Reason::RateLimited);
    Ok(response)
}
