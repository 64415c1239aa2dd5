//! What a limit has decided, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// What became of a request at a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passed.
    Allowed,
    /// It was refused.
    Limited,
    /// It would have been refused, by a limit that only looks on.
    Shadow,
    /// The shared store did not answer.
    Error,
}

impl Verdict {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Allowed, Self::Limited, Self::Shadow, Self::Error];

    /// The value of a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Limited => "limited",
            Self::Shadow => "shadow",
            Self::Error => "error",
        }
    }
}

/// As many groups of counters as workers commonly are.
const STRIPES: usize = 8;

/// Counters of one limit; they live for as long as it is declared. Workers count in groups, so that they seldom write to
/// one cache line.
#[derive(Debug, Default)]
pub struct Tally([Stripe; STRIPES]);

/// Aligned so that no two lie on one cache line, nor on a pair that is fetched together.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe([AtomicU64; 4]);

impl Tally {
    /// Counts one verdict, found by the worker of this number.
    pub fn count(&self, worker: usize, verdict: Verdict) {
        if let Some(counter) = self.0.get(worker % STRIPES).and_then(|stripe| stripe.0.get(verdict as usize)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often there was this verdict.
    pub fn total(&self, verdict: Verdict) -> u64 {
        self.0
            .iter()
            .filter_map(|stripe| stripe.0.get(verdict as usize))
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_and_verdict_counts() {
        let tally = Tally::default();
        for worker in 0..20 {
            for (verdict, times) in Verdict::ALL.into_iter().zip(1..) {
                (0..times).for_each(|_| tally.count(worker, verdict));
            }
        }
        assert_eq!(Verdict::ALL.map(|verdict| tally.total(verdict)), [20, 40, 60, 80]);
    }
}
