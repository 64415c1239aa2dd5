//! Grants of several requests at once, for counts that much is asked of.
//!
//! The first request of a key asks for itself alone. From then on each grant is made for what [`AHEAD`] of traffic has
//! been lately, and the next one is asked for when half of it is used, so that requests do not wait for it. What is
//! granted has been counted in the store: replicas never let more pass than the store has counted, only later, by
//! [`LIFE`] at most. Of a window of a count, no more can be in grants than a tenth for each worker that holds one.
//!
//! A refusal is remembered too: until something can have become free, nobody asks again.

use std::time::Duration;

use crate::limit::{Decision, Outcome, Quota};

/// A grant is made for so much traffic.
const AHEAD: Duration = Duration::from_millis(100);
/// After so long a grant is worth nothing any more.
const LIFE: Duration = Duration::from_secs(1);
/// What one grant may take of a quota's capacity.
const SHARE: u32 = 10;
/// The largest grant: one call must not keep the store busy for long.
const LARGEST: u32 = 1000;
/// A refusal is remembered for no longer: others may have given back what they had counted.
const MEMORY: Duration = Duration::from_secs(1);

/// What a worker holds of one count. Times are nanoseconds of a clock that does not go back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    /// Requests that may pass.
    left: u32,
    /// How many there were when it was granted.
    granted: u32,
    /// Until when.
    until: u64,
    /// What the store had left after it, in units of cost.
    remaining: u32,
    /// Until when the store forgets everything.
    reset: u64,
    /// What the store said of requests beyond it: until when not to ask again, and when one would pass.
    refused: Option<(u64, u64)>,
    /// Requests that came since the last grant, and when that was.
    came: u32,
    since: u64,
    /// A grant is on its way.
    asking: bool,
}

/// What a lease says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Take {
    /// This, at once.
    Decided(Decision),
    /// To wait for a grant that is on its way.
    Wait,
}

impl Lease {
    /// Nothing held yet.
    pub(super) fn new(now: u64) -> Self {
        Self {
            left: 0,
            granted: 0,
            until: now,
            remaining: 0,
            reset: now,
            refused: None,
            came: 0,
            since: now,
            asking: false,
        }
    }

    /// A request comes. The second is how large a grant to ask for now, if one is to be asked for.
    pub(super) fn take(&mut self, quota: Quota, cost: u32, now: u64) -> (Take, Option<u32>) {
        self.came = self.came.saturating_add(1);
        self.take_again(quota, cost, now)
    }

    /// The same for a request that has waited.
    pub(super) fn take_again(&mut self, quota: Quota, cost: u32, now: u64) -> (Take, Option<u32>) {
        if now >= self.until {
            self.left = 0;
        }
        let refused = self.refused.filter(|(until, _)| now < *until);
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            let remaining = self.remaining.saturating_add(left.saturating_mul(cost));
            let decision = Decision { outcome: Outcome::Allowed, remaining, reset_after: time(self.reset, now) };
            let low = left <= self.granted / 2 && refused.is_none();
            return (Take::Decided(decision), if low { self.ask(quota, cost, now) } else { None });
        }
        match refused {
            Some((_, passes)) => {
                let outcome = Outcome::Refused { retry_after: time(passes, now) };
                let decision = Decision { outcome, remaining: self.remaining, reset_after: time(self.reset, now) };
                (Take::Decided(decision), None)
            }
            None => (Take::Wait, self.ask(quota, cost, now)),
        }
    }

    /// A request did not pass after all.
    pub(super) fn give_back(&mut self, now: u64) {
        if now < self.until {
            self.left = self.left.saturating_add(1);
        }
    }

    /// The store has granted so many, and said this of the limit.
    pub(super) fn granted(&mut self, counted: u32, decision: &Decision, quota: Quota, now: u64) {
        self.asking = false;
        self.remaining = decision.remaining;
        self.reset = now.saturating_add(nanoseconds(decision.reset_after));
        if counted == 0 {
            let Outcome::Refused { retry_after } = decision.outcome else { return };
            let passes = nanoseconds(retry_after);
            let until = passes.min(nanoseconds(MEMORY));
            self.refused = Some((now.saturating_add(until), now.saturating_add(passes)));
            return;
        }
        self.refused = None;
        if now >= self.until {
            self.left = 0;
        }
        self.left = self.left.saturating_add(counted);
        self.granted = self.left;
        self.until = now.saturating_add(nanoseconds(LIFE.min(quota.period)));
    }

    /// The store did not answer.
    pub(super) fn failed(&mut self) {
        self.asking = false;
    }

    /// Whether nothing would be lost with it.
    pub(super) fn is_over(&self, now: u64) -> bool {
        !self.asking && now >= self.until && self.refused.is_none_or(|(until, _)| now >= until)
    }

    fn ask(&mut self, quota: Quota, cost: u32, now: u64) -> Option<u32> {
        if std::mem::replace(&mut self.asking, true) {
            return None;
        }
        let passed = now.saturating_sub(self.since).max(1);
        let wanted = u128::from(self.came) * AHEAD.as_nanos() / u128::from(passed);
        let most = (quota.capacity() / SHARE / cost.max(1)).min(LARGEST);
        self.came = 0;
        self.since = now;
        Some(u32::try_from(wanted).unwrap_or(u32::MAX).min(most).max(1))
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn time(moment: u64, now: u64) -> Duration {
    Duration::from_nanos(moment.saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::limit::{Algorithm, Precision};

    const MS: u64 = 1_000_000;

    fn quota(requests: u32) -> Quota {
        let requests = NonZeroU32::new(requests).unwrap();
        Quota { algorithm: Algorithm::SlidingWindow(Precision::Exact), requests, period: Duration::from_secs(10) }
    }

    fn says(outcome: Outcome, remaining: u32) -> Decision {
        Decision { outcome, remaining, reset_after: Duration::from_secs(10) }
    }

    fn passes(take: Take) -> bool {
        matches!(take, Take::Decided(decision) if decision.passes())
    }

    #[test]
    fn grants_grow_with_what_comes_and_are_asked_for_ahead() {
        let quota = quota(10_000);
        let mut lease = Lease::new(0);
        let (take, grant) = lease.take(quota, 1, 10_000 * MS);
        assert_eq!((take, grant), (Take::Wait, Some(1)), "the first asks for itself");
        assert_eq!(lease.take(quota, 1, 10_000 * MS), (Take::Wait, None), "nobody asks twice");
        lease.granted(1, &says(Outcome::Allowed, 9_999), quota, 10_001 * MS);
        let (take, grant) = lease.take_again(quota, 1, 10_001 * MS);
        assert!(passes(take));
        assert_eq!(grant, Some(100), "one came in a millisecond, so a hundred come in 100 ms");
        lease.granted(100, &says(Outcome::Allowed, 9_899), quota, 10_002 * MS);
        let grants: Vec<Option<u32>> = (0..60)
            .map(|request| {
                let (take, grant) = lease.take(quota, 1, 10_002 * MS + request * MS);
                assert!(passes(take));
                grant
            })
            .collect();
        assert_eq!(grants.iter().position(Option::is_some), Some(49), "asked for when half was used");
        assert_eq!(grants.iter().flatten().count(), 1);
    }

    #[test]
    fn no_grant_takes_more_than_its_share() {
        let quota = quota(50);
        let mut lease = Lease::new(0);
        for _ in 0..1000 {
            lease.take(quota, 1, MS);
        }
        lease.failed();
        assert_eq!(lease.take(quota, 1, 2 * MS).1, Some(5));
        lease.failed();
        assert_eq!(lease.take(quota, 10, 3 * MS).1, Some(1), "one request, at least");
    }

    #[test]
    fn a_grant_ends() {
        let quota = quota(1000);
        let mut lease = Lease::new(0);
        lease.take(quota, 1, 0);
        lease.granted(10, &says(Outcome::Allowed, 990), quota, 0);
        assert!(passes(lease.take_again(quota, 1, 999 * MS).0));
        assert_eq!(lease.take(quota, 1, 1000 * MS).0, Take::Wait);
        lease.failed();
        assert!(lease.is_over(1000 * MS));
    }

    #[test]
    fn a_refusal_is_remembered_until_something_is_free() {
        let quota = quota(10);
        let mut lease = Lease::new(0);
        lease.take(quota, 1, 0);
        lease.granted(0, &says(Outcome::Refused { retry_after: Duration::from_millis(300) }, 0), quota, 0);
        let (take, grant) = lease.take(quota, 1, 100 * MS);
        let expected = Outcome::Refused { retry_after: Duration::from_millis(200) };
        let Take::Decided(decision) = take else { panic!("{take:?}") };
        assert_eq!((decision.outcome, grant), (expected, None));
        assert_eq!(lease.take(quota, 1, 300 * MS), (Take::Wait, Some(1)));
        // A long one is asked about again all the same.
        lease.granted(0, &says(Outcome::Refused { retry_after: Duration::from_secs(8) }, 0), quota, 300 * MS);
        assert_eq!(lease.take(quota, 1, 1299 * MS).1, None);
        assert_eq!(lease.take(quota, 1, 1300 * MS).0, Take::Wait);
    }

    #[test]
    fn what_is_given_back_is_used_again() {
        let quota = quota(1000);
        let mut lease = Lease::new(0);
        lease.take(quota, 1, 0);
        lease.granted(1, &says(Outcome::Allowed, 0), quota, 0);
        assert!(passes(lease.take_again(quota, 1, 0).0));
        lease.give_back(0);
        assert!(passes(lease.take_again(quota, 1, 0).0));
        assert_eq!(lease.take_again(quota, 1, 0).0, Take::Wait);
    }
}
