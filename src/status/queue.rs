//! What is to be done and when, and how fast.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// The wait after a first failure; doubled with every further one.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest wait.
const LAST_RETRY: Duration = Duration::from_secs(300);

/// Things to do, each at most once, in the order in which they become due.
#[derive(Debug)]
pub(super) struct Queue<T> {
    due: BTreeSet<(Instant, T)>,
    at: HashMap<T, Instant>,
    failures: HashMap<T, u32>,
}

impl<T: Clone + Eq + Hash + Ord> Queue<T> {
    pub(super) fn new() -> Self {
        Self { due: BTreeSet::new(), at: HashMap::new(), failures: HashMap::new() }
    }

    /// Adds `item`, to be done at `when`; one that is waiting already stays where it is.
    pub(super) fn push(&mut self, item: T, when: Instant) {
        if !self.at.contains_key(&item) {
            self.due.insert((when, item.clone()));
            self.at.insert(item, when);
        }
    }

    /// Adds an item that failed, to be done again after a wait that grows. Says how often it has failed in a row.
    pub(super) fn failed(&mut self, item: T, now: Instant) -> u32 {
        let failures = self.failures.entry(item.clone()).or_default();
        *failures = failures.saturating_add(1);
        let failures = *failures;
        let wait = FIRST_RETRY.saturating_mul(1 << (failures - 1).min(16)).min(LAST_RETRY);
        if let Some(when) = self.at.remove(&item) {
            self.due.remove(&(when, item.clone()));
        }
        self.push(item, now + wait);
        failures
    }

    /// Forgets the failures of an item.
    pub(super) fn succeeded(&mut self, item: &T) {
        self.failures.remove(item);
    }

    /// Takes what has been due the longest.
    pub(super) fn pop(&mut self, now: Instant) -> Option<T> {
        if self.due.first()?.0 > now {
            return None;
        }
        let (_, item) = self.due.pop_first()?;
        self.at.remove(&item);
        Some(item)
    }

    /// When there is something to do next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(when, _)| *when)
    }
}

/// So many requests a second, after so many at once: a bucket that is kept as the time at which it would be full.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    burst: u32,
    full: Instant,
}

impl Pace {
    pub(super) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        Self { interval: Duration::from_secs(1) / per_second.max(1), burst: burst.max(1), full: now }
    }

    /// The earliest time of the next request.
    pub(super) fn free_at(&self) -> Instant {
        self.full.checked_sub(self.interval * (self.burst - 1)).unwrap_or(self.full)
    }

    /// Counts a request.
    pub(super) fn spend(&mut self, now: Instant) {
        self.full = self.full.max(now) + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_waits_once_and_comes_in_its_turn() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut queue = Queue::new();
        queue.push("late", now + second);
        queue.push("a", now);
        queue.push("a", now + second);
        queue.push("b", now);
        assert_eq!(queue.next(), Some(now));
        assert_eq!([queue.pop(now), queue.pop(now), queue.pop(now)], [Some("a"), Some("b"), None]);
        assert_eq!(queue.next(), Some(now + second));
        assert_eq!(queue.pop(now + second), Some("late"));
        assert_eq!(queue.next(), None);
    }

    #[test]
    fn failures_are_tried_again_ever_later() {
        let now = Instant::now();
        let mut queue = Queue::new();
        let mut waits = Vec::new();
        for failures in 1..=12 {
            // What changes meanwhile does not cut the wait short.
            assert_eq!(queue.failed("a", now), failures);
            queue.push("a", now);
            waits.push((queue.next().unwrap() - now).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        queue.succeeded(&"a");
        assert_eq!(queue.failed("a", now), 1);
    }

    #[test]
    fn the_pace_allows_a_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut pace = Pace::new(50, 100, start);
        let mut now = start;
        for _ in 0..100 {
            assert!(pace.free_at() <= now);
            pace.spend(now);
        }
        for _ in 0..100 {
            assert!(pace.free_at() > now);
            now = pace.free_at();
            pace.spend(now);
        }
        assert_eq!(now - start, Duration::from_secs(2));
    }
}
