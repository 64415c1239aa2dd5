//! The arithmetic that the buckets share: GCRA, the generic cell rate algorithm (ITU-T I.371, annex A).
//!
//! All there is to know of a bucket is the moment at which everything that has passed is paid for. Times are kept in
//! parts of a nanosecond of which one is `1 / requests`: then one request costs exactly `period` parts, and nothing is
//! ever rounded, whatever the rate.

use std::time::Duration;

use super::Quota;

/// The moment at which a bucket is as if nothing had ever passed; a bucket that nothing has passed has the earliest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn(pub(super) u128);

/// A rate, to reckon by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    requests: u128,
    period: u128,
}

impl Pace {
    pub(super) fn of(quota: Quota) -> Self {
        Self { requests: u128::from(quota.requests.get()), period: quota.period.as_nanos().max(1) }
    }

    /// A moment, given in nanoseconds.
    pub(super) fn moment(self, nanoseconds: u64) -> Turn {
        Turn(u128::from(nanoseconds) * self.requests)
    }

    /// How long so many requests take.
    pub(super) fn span(self, requests: u32) -> u128 {
        u128::from(requests) * self.period
    }

    /// This time in parts.
    pub(super) fn parts(self, time: Duration) -> u128 {
        time.as_nanos() * self.requests
    }

    /// So many parts as time, rounded up: who waits so long does not come too early.
    pub(super) fn time(self, parts: u128) -> Duration {
        let nanoseconds = parts.div_ceil(self.requests);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// How many whole requests fit into so many parts.
    pub(super) fn requests_in(self, parts: u128) -> u32 {
        u32::try_from(parts / self.period).unwrap_or(u32::MAX)
    }

    /// The bucket without a request that had passed it, after all.
    pub(super) fn give_back(self, state: Turn, cost: u32) -> Turn {
        Turn(state.0.saturating_sub(self.span(cost)))
    }

    /// When a bucket is as if nothing had ever passed, in nanoseconds.
    pub(super) fn expiry(self, state: Turn) -> u64 {
        u64::try_from(state.0.div_ceil(self.requests)).unwrap_or(u64::MAX)
    }
}
