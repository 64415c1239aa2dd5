//! How many repetitions a cluster may get, so that they cannot multiply the load on endpoints in trouble.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A bound on repetitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BudgetLimits {
    /// Most repetitions in percent of the requests of the interval.
    pub percent: u32,
    /// The time over which both are counted.
    pub interval: Duration,
    /// So many repetitions in a second are allowed however few requests there are.
    pub min_per_second: u32,
}

/// A cluster's budget, counted by all workers together.
///
/// Two intervals are counted: the current one, and of the former one the part that is not over an interval ago yet.
#[derive(Debug)]
pub struct Budget {
    limits: BudgetLimits,
    /// The number of the current interval.
    current: AtomicU64,
    /// By the parity of the interval's number.
    requests: [AtomicU64; 2],
    repetitions: [AtomicU64; 2],
    /// The number of the current second in the upper half, its repetitions in the lower.
    second: AtomicU64,
}

/// Where in time a moment is.
struct Turn {
    now: usize,
    before: usize,
    /// How much of the former interval still counts, in milliseconds, and how long an interval is.
    rest: u64,
    length: u64,
}

impl Budget {
    /// A budget of which nothing is spent.
    pub fn new(limits: BudgetLimits) -> Self {
        Self {
            limits,
            current: AtomicU64::new(0),
            requests: Default::default(),
            repetitions: Default::default(),
            second: AtomicU64::new(0),
        }
    }

    /// Counts a request, not its repetitions; `now` in milliseconds of a clock that all workers share.
    pub fn request(&self, now: u64) {
        let turn = self.turn(now);
        if let Some(requests) = self.requests.get(turn.now) {
            requests.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes a repetition from the budget if there is one left in it.
    pub fn try_repeat(&self, now: u64) -> bool {
        let turn = self.turn(now);
        // In parts of an interval: whole numbers would leave out most of the few repetitions of a quiet one.
        let count = |counts: &[AtomicU64; 2]| {
            let of = |index: usize| counts.get(index).map_or(0, |count| u128::from(count.load(Ordering::Relaxed)));
            of(turn.now) * u128::from(turn.length) + of(turn.before) * u128::from(turn.rest)
        };
        let Some(made) = self.repetitions.get(turn.now) else { return false };
        // Counted before it is compared, so that two workers do not both take the last one.
        made.fetch_add(1, Ordering::Relaxed);
        let within_share = count(&self.repetitions) * 100 <= count(&self.requests) * u128::from(self.limits.percent);
        if self.count_in_second(now, within_share) {
            return true;
        }
        made.fetch_sub(1, Ordering::Relaxed);
        false
    }

    /// Counts a repetition in its second; one that must not exceed the minimum only if it does not.
    fn count_in_second(&self, now: u64, anyway: bool) -> bool {
        let second = now / 1000;
        let counted = self.second.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            let made = if held >> 32 == second & 0xffff_ffff { held & 0xffff_ffff } else { 0 };
            (anyway || made < u64::from(self.limits.min_per_second)).then(|| second << 32 | (made + 1).min(0xffff_ffff))
        });
        counted.is_ok()
    }

    fn turn(&self, now: u64) -> Turn {
        let length = u64::try_from(self.limits.interval.as_millis()).unwrap_or(u64::MAX).max(1);
        let seen = self.current.load(Ordering::Relaxed);
        // Workers' clocks tick one after the other: one that is behind counts in the interval that has begun.
        let number = seen.max(now / length);
        let (here, before) = ((number % 2) as usize, ((number + 1) % 2) as usize);
        if number > seen && self.current.compare_exchange(seen, number, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let clear = |index: usize| {
                for counts in [&self.requests, &self.repetitions] {
                    if let Some(count) = counts.get(index) {
                        count.store(0, Ordering::Relaxed);
                    }
                }
            };
            clear(here);
            if number > seen + 1 {
                clear(before);
            }
        }
        let gone = now.saturating_sub(number * length).min(length);
        Turn { now: here, before, rest: length - gone, length }
    }
}

impl fmt::Display for BudgetLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { percent, interval, min_per_second } = self;
        write!(f, "repeats at most {percent}% of the requests of {interval:?}, or {min_per_second} a second")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn budget(percent: u32, min_per_second: u32) -> Budget {
        Budget::new(BudgetLimits { percent, interval: Duration::from_secs(10), min_per_second })
    }

    #[test]
    fn repetitions_are_a_share_of_the_requests() {
        let budget = budget(20, 0);
        assert!(!budget.try_repeat(0));
        for _ in 0..100 {
            budget.request(5_000);
        }
        let made = (0..100).filter(|_| budget.try_repeat(6_000)).count();
        assert_eq!(made, 20);
        // Half of the former interval still counts, requests and repetitions alike.
        for _ in 0..100 {
            budget.request(15_000);
        }
        assert_eq!((0..100).filter(|_| budget.try_repeat(15_000)).count(), 20);
        // What is longer ago than an interval does not.
        assert!(!budget.try_repeat(60_000));
    }

    #[test]
    fn a_few_a_second_are_allowed_whatever_the_load() {
        let few = budget(20, 3);
        for second in 0..5 {
            assert_eq!((0..100).filter(|_| few.try_repeat(second * 1_000 + 1)).count(), 3);
        }
        // They are no addition to the share.
        let budget = budget(20, 3);
        for _ in 0..100 {
            budget.request(20_000);
        }
        assert_eq!((0..100).filter(|_| budget.try_repeat(20_000)).count(), 20);
    }

    #[test]
    fn a_quiet_storm_stays_within_the_share_as_well() {
        let budget = budget(20, 0);
        let made = (0..200).map(|second| second * 1_000).filter(|now| {
            budget.request(*now);
            budget.try_repeat(*now)
        });
        assert!((39..=40).contains(&made.count()));
    }

    proptest! {
        /// Whatever the times, a storm in which every request asks to be repeated stays within the share.
        #[test]
        fn a_storm_stays_within_the_share(steps in proptest::collection::vec(0u64..2_000, 50..400)) {
            let budget = budget(20, 0);
            let (mut now, mut repeated) = (0, 0);
            for step in &steps {
                now += step;
                budget.request(now);
                repeated += usize::from(budget.try_repeat(now));
            }
            prop_assert!(repeated * 5 <= steps.len() + 5, "{repeated} of {}", steps.len());
        }
    }
}
