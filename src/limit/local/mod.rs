//! Counts of this process: one for each key, shared by all workers.
//!
//! Keys are spread over shards with a lock each, which is held for one look and one addition. A shard never grows beyond
//! its part of the memory: a key that finds no room takes the place of one whose count has run out, or else of the one
//! whose count runs out first. So too many keys can make a limit let too much pass, never too little, and it is counted.

mod counts;
mod logs;

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use self::counts::{Counts, Slot};
use self::logs::Logs;
use super::pace::{Pace, Turn};
use super::sliding_window::Counters;
use super::{Algorithm, Ask, Decision, Outcome, Precision, Quota, leaky_bucket, token_bucket};

/// How much memory counts may take unless something else is said.
pub const DEFAULT_MEMORY: usize = 64 << 20;

/// A power of two, and more than workers: two of them seldom want one at the same time.
const SHARDS: usize = 64;

/// The counts of this process.
pub struct LocalStore {
    epoch: Instant,
    /// Nobody outside knows it, so nobody can choose two keys that share a count.
    seed: u64,
    shards: Box<[Shard]>,
    logs: Budget,
    forgotten: AtomicU64,
}

/// Aligned so that no two locks lie on one cache line, nor on a pair that is fetched together.
#[repr(align(128))]
struct Shard(Mutex<Inner>);

struct Inner {
    counts: Counts,
    logs: Logs,
}

/// Memory that all shards draw from.
#[derive(Debug)]
struct Budget {
    used: AtomicUsize,
    limit: usize,
}

/// A request's place among those that are under way, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    store: Arc<LocalStore>,
    hash: u64,
    quota: Quota,
    cost: u32,
}

/// What a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many keys have a count.
    pub keys: u64,
    /// Bytes that they take.
    pub memory: u64,
    /// How many counts were dropped, or lost a part, before they had run out, because there was no room.
    pub forgotten: u64,
}

// === impl LocalStore ===

impl LocalStore {
    /// An empty store that never takes more than about so many bytes. Half of them are for counts of a fixed size,
    /// 32 bytes each, and half for the logs of exact windows.
    pub fn new(memory: usize) -> Self {
        let shard = || Shard(Mutex::new(Inner { counts: Counts::new(memory / 2 / SHARDS), logs: Logs::default() }));
        Self {
            epoch: Instant::now(),
            seed: RandomState::new().hash_one(0),
            shards: (0..SHARDS).map(|_| shard()).collect(),
            logs: Budget { used: AtomicUsize::new(0), limit: memory / 2 },
            forgotten: AtomicU64::new(0),
        }
    }

    /// Decides about one question by a quota, which is the limit's or a part of it.
    pub fn check(&self, ask: &Ask<'_>, quota: Quota, now: Instant) -> Decision {
        let hash = self.hash(ask, quota);
        self.decide(hash, quota, self.nanoseconds(now), ask.cost.get())
    }

    /// Takes back what [`Self::check`] has counted at `then` for a request that did not pass after all.
    pub fn give_back(&self, ask: &Ask<'_>, quota: Quota, then: Instant) {
        let hash = self.hash(ask, quota);
        self.take_back(hash, quota, self.nanoseconds(then), ask.cost.get());
    }

    /// Decides about one question by a quota of what may be under way at once. What passes is under way until its place is
    /// dropped.
    pub fn enter(self: &Arc<Self>, ask: &Ask<'_>, quota: Quota, now: Instant) -> (Decision, Option<Place>) {
        let (hash, cost) = (self.hash(ask, quota), ask.cost.get());
        let decision = self.decide(hash, quota, self.nanoseconds(now), cost);
        let place = decision.passes().then(|| Place { store: self.clone(), hash, quota, cost });
        (decision, place)
    }

    /// What it holds.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage { forgotten: self.forgotten.load(Ordering::Relaxed), ..Usage::default() };
        for shard in &self.shards {
            let inner = shard.lock();
            usage.keys += (inner.counts.len() + inner.logs.len()) as u64;
            usage.memory += inner.counts.memory() as u64;
        }
        usage.memory += self.logs.used.load(Ordering::Relaxed) as u64;
        usage
    }

    fn decide(&self, hash: u64, quota: Quota, now: u64, cost: u32) -> Decision {
        let mut inner = self.shard(hash).lock();
        if let Algorithm::SlidingWindow(Precision::Exact) = quota.algorithm {
            let (log, forgotten) = inner.logs.at(hash, quota, now, &self.logs);
            if forgotten > 0 {
                self.forgotten.fetch_add(forgotten, Ordering::Relaxed);
            }
            return log.decide(quota, now, cost);
        }
        let (slot, forgotten) = inner.counts.at(hash, now);
        if forgotten {
            self.forgotten.fetch_add(1, Ordering::Relaxed);
        }
        let decision = match quota.algorithm {
            Algorithm::TokenBucket { burst } => {
                let (turn, decision) = token_bucket::decide(quota, burst.get(), slot.turn(), now, cost);
                slot.set_turn(turn, Pace::of(quota));
                decision
            }
            Algorithm::LeakyBucket { burst, max_delay } => {
                let (turn, decision) = leaky_bucket::decide(quota, burst.get(), max_delay, slot.turn(), now, cost);
                slot.set_turn(turn, Pace::of(quota));
                decision
            }
            Algorithm::SlidingWindow(Precision::Approximate | Precision::Exact) => {
                let (counters, decision) = slot.counters().decide(quota, now, cost);
                slot.set_counters(counters, quota.period);
                decision
            }
            Algorithm::Concurrency => slot.enter(quota.requests.get(), cost),
        };
        drop(inner);
        decision
    }

    fn take_back(&self, hash: u64, quota: Quota, then: u64, cost: u32) {
        let mut inner = self.shard(hash).lock();
        match quota.algorithm {
            Algorithm::SlidingWindow(Precision::Exact) => {
                if let Some(log) = inner.logs.get(hash) {
                    log.give_back(then, cost);
                }
            }
            Algorithm::SlidingWindow(Precision::Approximate) => {
                if let Some(slot) = inner.counts.get(hash) {
                    let counters = slot.counters().give_back(quota.period, then, cost);
                    slot.set_counters(counters, quota.period);
                }
            }
            Algorithm::TokenBucket { .. } | Algorithm::LeakyBucket { .. } => {
                if let Some(slot) = inner.counts.get(hash) {
                    let pace = Pace::of(quota);
                    slot.set_turn(pace.give_back(slot.turn(), cost), pace);
                }
            }
            Algorithm::Concurrency => {
                if let Some(slot) = inner.counts.get(hash) {
                    slot.leave(cost);
                }
            }
        }
    }

    /// Counts of a quota's part are counts of another quota: they are kept in other units.
    fn hash(&self, ask: &Ask<'_>, quota: Quota) -> u64 {
        let of_quota = u64::from(quota.requests.get()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        xxh3_64_with_seed(ask.key, self.seed ^ ask.limit.fingerprint() ^ of_quota)
    }

    /// By the upper bits; a shard looks at the lower ones.
    fn shard(&self, hash: u64) -> &Shard {
        let index = (hash >> 58) as usize % SHARDS;
        // There are `SHARDS` of them, made above.
        #[allow(clippy::indexing_slicing)]
        &self.shards[index]
    }

    fn nanoseconds(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }
}

impl fmt::Debug for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalStore").field("usage", &self.usage()).finish_non_exhaustive()
    }
}

impl Shard {
    /// A panic elsewhere leaves counts behind, and none of them is worth refusing everything for.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Self { store, hash, quota, cost } = self;
        store.take_back(*hash, *quota, 0, *cost);
    }
}

// === impl Slot ===

impl Slot {
    /// One more is under way, unless that would be more than `most`. Such a count does not run out by itself.
    fn enter(&mut self, most: u32, cost: u32) -> Decision {
        let [taken, _] = self.state;
        let most = u64::from(most);
        let with = taken.saturating_add(cost.into());
        let fits = with <= most;
        if fits {
            (self.state, self.expires) = ([with, 0], u64::MAX);
        }
        let remaining = most.saturating_sub(if fits { with } else { taken });
        let outcome = if fits { Outcome::Allowed } else { Outcome::Refused { retry_after: Duration::ZERO } };
        Decision { outcome, remaining: u32::try_from(remaining).unwrap_or(u32::MAX), reset_after: Duration::ZERO }
    }

    /// One is not under way any more. Its count may have been dropped meanwhile for lack of room.
    fn leave(&mut self, cost: u32) {
        let [taken, _] = self.state;
        let left = taken.saturating_sub(cost.into());
        (self.state, self.expires) = ([left, 0], if left == 0 { 0 } else { u64::MAX });
    }

    fn turn(&self) -> Turn {
        let [high, low] = self.state;
        Turn(u128::from(high) << 64 | u128::from(low))
    }

    fn set_turn(&mut self, turn: Turn, pace: Pace) {
        self.state = [(turn.0 >> 64) as u64, turn.0 as u64];
        self.expires = pace.expiry(turn);
    }

    fn counters(&self) -> Counters {
        let [window, counts] = self.state;
        Counters { window, current: (counts >> 32) as u32, previous: counts as u32 }
    }

    fn set_counters(&mut self, counters: Counters, period: Duration) {
        let Counters { window, current, previous } = counters;
        self.state = [window, u64::from(current) << 32 | u64::from(previous)];
        self.expires = counters.expiry(period);
    }
}

// === impl Budget ===

impl Budget {
    /// Takes so many bytes, if there are so many left.
    fn take(&self, bytes: usize) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.limit;
        if !fits {
            self.give(bytes);
        }
        fits
    }

    fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
