//! What the answer to a request says of its quotas, whoever makes the answer.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue, RETRY_AFTER};

use super::Desk;
use crate::filter::rate_limit::{
    RATELIMIT, RATELIMIT_POLICY, X_RATELIMIT_LIMIT, X_RATELIMIT_REMAINING, X_RATELIMIT_RESET, append_remaining, seconds,
};
use crate::limit::{Algorithm, Decision, Place};
use crate::table::{RateLimit, RateLimits};

/// What is told of the limits that have been looked at.
#[derive(Debug, Default)]
pub(in super::super) struct Mark<'t> {
    limits: Option<&'t RateLimits>,
    /// The items of `RateLimit` so far.
    items: Bytes,
    /// The limit with the least left.
    tightest: Option<Tightest<'t>>,
    retry_after: Option<Duration>,
    /// The request's places among those that are under way.
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Tightest<'t> {
    rate: &'t RateLimit,
    remaining: u32,
    reset_after: Duration,
}

impl<'t> Mark<'t> {
    /// The limits are about to be looked at.
    pub(in super::super) fn of(&mut self, limits: &'t RateLimits) {
        self.limits = Some(limits);
    }

    /// Takes in what a limit has decided.
    pub(super) fn tell(&mut self, desk: &Desk, rate: &'t RateLimit, decision: Decision) {
        let Some(RateLimits { answer, .. }) = self.limits else { return };
        // Those headers know quotas of a period only.
        if rate.limit.quota.algorithm == Algorithm::Concurrency {
            return;
        }
        let Decision { outcome: _, remaining, reset_after } = decision;
        if answer.headers.is_ietf() {
            let before = std::mem::take(&mut self.items);
            self.items = desk.text(|text| {
                text.extend_from_slice(&before);
                append_remaining(text, &rate.limit.name, remaining, reset_after);
            });
        }
        if self.tightest.is_none_or(|tightest| remaining < tightest.remaining) {
            self.tightest = Some(Tightest { rate, remaining, reset_after });
        }
    }

    /// The request has a place among those that are under way.
    pub(super) fn entered(&mut self, place: Place) {
        self.places.push(place);
    }

    /// Its places, to be kept for as long as it is.
    pub(in super::super) fn take_places(&mut self) -> Vec<Place> {
        std::mem::take(&mut self.places)
    }

    /// The limit with the least left of those that have been asked, with its policy and what is left.
    pub(in super::super) fn tightest(&self) -> Option<(&'t RateLimits, &'t RateLimit, u32)> {
        let Tightest { rate, remaining, reset_after: _ } = self.tightest?;
        Some((self.limits?, rate, remaining))
    }

    /// The request is refused, and may come again after this time.
    pub(super) fn retry_after(&mut self, time: Duration) {
        self.retry_after = self.retry_after.max(Some(time));
    }

    /// Puts it all into the answer. `wall` is the time in milliseconds since 1970.
    pub(in super::super) fn put(self, headers: &mut HeaderMap, desk: &Desk, wall: u64) {
        let Self { limits: Some(RateLimits { answer, .. }), items, tightest, retry_after, places: _ } = self else {
            return;
        };
        let number = |number: u64| {
            let text = desk.text(|text| text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()));
            HeaderValue::from_maybe_shared(text).unwrap_or(HeaderValue::from_static("0"))
        };
        if let Some(time) = retry_after {
            // A client that comes again at once would only be refused again.
            headers.insert(RETRY_AFTER, number(seconds(time).max(1)));
        }
        if !items.is_empty()
            && let Some(policy) = &answer.policy
            && let Ok(items) = HeaderValue::from_maybe_shared(items)
        {
            headers.insert(RATELIMIT_POLICY, policy.clone());
            headers.insert(RATELIMIT, items);
        }
        if answer.headers.is_x()
            && let Some(Tightest { rate, remaining, reset_after }) = tightest
        {
            headers.insert(X_RATELIMIT_LIMIT, number(rate.limit.quota.requests.get().into()));
            headers.insert(X_RATELIMIT_REMAINING, number(remaining.into()));
            headers.insert(X_RATELIMIT_RESET, number(wall / 1_000 + seconds(reset_after)));
        }
    }
}
