//! A bound on every span of a period: by a log of what has passed, which is exact, or by two counters, which costs the
//! same whatever the quota is and takes what has passed in the period before as even.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Decision, Outcome, Quota};

/// What has passed within a period, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    total: u32,
}

/// Requests that passed at one moment, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    at: u64,
    cost: u32,
}

/// What has passed in a period of the clock, and in the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// The number of the period.
    pub(super) window: u64,
    pub(super) current: u32,
    pub(super) previous: u32,
}

// === impl Log ===

impl Log {
    /// What one request takes in memory.
    pub(super) const ENTRY: usize = size_of::<Entry>();

    /// Forgets what no span that ends now, or later, has in it.
    pub(super) fn forget(&mut self, period: Duration, now: u64) {
        let period = nanoseconds(period);
        while let Some(oldest) = self.entries.front()
            && now.saturating_sub(oldest.at) >= period
        {
            self.total -= oldest.cost;
            self.entries.pop_front();
        }
    }

    /// Forgets the oldest although it still counts.
    pub(super) fn forget_oldest(&mut self) {
        if let Some(oldest) = self.entries.pop_front() {
            self.total -= oldest.cost;
        }
    }

    /// How many requests it holds, and has room for.
    pub(super) fn room(&self) -> (usize, usize) {
        (self.entries.len(), self.entries.capacity())
    }

    /// Makes room for so many requests in all.
    pub(super) fn reserve(&mut self, room: usize) {
        self.entries.reserve_exact(room.saturating_sub(self.entries.len()));
    }

    /// Decides about a request of this cost at `now`, in nanoseconds, once the log has forgotten what it should.
    pub(super) fn decide(&mut self, quota: Quota, now: u64, cost: u32) -> Decision {
        let requests = quota.requests.get();
        let period = nanoseconds(quota.period);
        // Workers look at the clock on their own, so one may come a little late; the log stays in order.
        let now = self.entries.back().map_or(now, |newest| newest.at.max(now));
        let left = requests.saturating_sub(self.total);
        let outcome = if cost <= left {
            self.entries.push_back(Entry { at: now, cost });
            self.total += cost;
            Outcome::Allowed
        } else {
            let mut missing = cost - left;
            let frees = self.entries.iter().find(|entry| {
                missing = missing.saturating_sub(entry.cost);
                missing == 0
            });
            let at = frees.map_or(now, |entry| entry.at);
            Outcome::Refused { retry_after: Duration::from_nanos((at + period).saturating_sub(now)) }
        };
        let reset = self.entries.back().map_or(0, |newest| (newest.at + period).saturating_sub(now));
        let remaining = requests.saturating_sub(self.total);
        Decision { outcome, remaining, reset_after: Duration::from_nanos(reset) }
    }

    /// Takes back a request that had passed at about this time.
    pub(super) fn give_back(&mut self, at: u64, cost: u32) {
        let counted = self.entries.iter().position(|entry| entry.at >= at && entry.cost == cost);
        if let Some(entry) = counted.and_then(|index| self.entries.remove(index)) {
            self.total -= entry.cost;
        }
    }
}

// === impl Counters ===

impl Counters {
    /// Decides about a request of this cost at `now`, in nanoseconds; the state that follows.
    pub(super) fn decide(self, quota: Quota, now: u64, cost: u32) -> (Self, Decision) {
        let period = nanoseconds(quota.period);
        let mut state = self.at(now / period);
        // A clock that came late is taken to stand at the begin of the period.
        let elapsed = now.saturating_sub(state.window.saturating_mul(period)).min(period);
        // Counts times nanoseconds, so that nothing is rounded: what the quota has room for, and what is used of it.
        let (whole, left) = (u128::from(period), u128::from(period - elapsed));
        let room = u128::from(quota.requests.get()) * whole;
        let used = |state: Self| u128::from(state.previous) * left + u128::from(state.current) * whole;
        let outcome = if used(state) + u128::from(cost) * whole <= room {
            state.current += cost;
            Outcome::Allowed
        } else {
            Outcome::Refused { retry_after: time(state.retry_after(room, whole, left, u128::from(cost))) }
        };
        let remaining = u32::try_from(room.saturating_sub(used(state)) / whole).unwrap_or(u32::MAX);
        let reset = state.expiry(quota.period).saturating_sub(now);
        (state, Decision { outcome, remaining, reset_after: Duration::from_nanos(reset) })
    }

    /// How long until a request of this cost would pass, if nothing else came.
    fn retry_after(self, room: u128, whole: u128, left: u128, cost: u128) -> u128 {
        let (current, previous) = (u128::from(self.current), u128::from(self.previous));
        // The part of a window that must have gone by for what is `counted` in the one before to weigh no more than `free`.
        let until =
            |counted: u128, free: u128| free.checked_div(counted).map_or(0, |weighs| whole.saturating_sub(weighs));
        match room.checked_sub((current + cost) * whole) {
            Some(free) => until(previous, free).saturating_sub(whole - left),
            None => left + until(current, room.saturating_sub(cost * whole)),
        }
    }

    /// Takes back a request that had passed at this time.
    pub(super) fn give_back(mut self, period: Duration, at: u64, cost: u32) -> Self {
        let window = at / nanoseconds(period);
        if window == self.window {
            self.current = self.current.saturating_sub(cost);
        } else if window + 1 == self.window {
            self.previous = self.previous.saturating_sub(cost);
        }
        self
    }

    /// When it has forgotten everything, in nanoseconds.
    pub(super) fn expiry(self, period: Duration) -> u64 {
        let windows = match (self.current, self.previous) {
            (0, 0) => return 0,
            (0, _) => 1,
            (_, _) => 2,
        };
        self.window.saturating_add(windows).saturating_mul(nanoseconds(period))
    }

    /// The counters as of a window; one that is past is taken for the latest.
    fn at(self, window: u64) -> Self {
        match window.checked_sub(self.window) {
            None | Some(0) => self,
            Some(1) => Self { window, current: 0, previous: self.current },
            Some(_) => Self { window, current: 0, previous: 0 },
        }
    }
}

fn nanoseconds(period: Duration) -> u64 {
    u64::try_from(period.as_nanos()).unwrap_or(u64::MAX).max(1)
}

fn time(nanoseconds: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}
