//! Logs of exact windows: their size goes with what passes, so they draw on a budget that all shards share.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;

use super::super::Quota;
use super::super::sliding_window::Log;
use super::Budget;
use crate::hash::AsIs;

/// What a log takes beside its requests, about: its place in the map, with what a map leaves empty, and in the queue.
const OVERHEAD: usize = 160;
/// How many requests a log has room for at first.
const FIRST: usize = 4;
/// How many logs a new one looks at, to drop them if they have run out.
const LOOKS: usize = 2;
/// How many logs are looked at for one that has run out, before one that has not is dropped.
const TRIES: usize = 8;

/// The logs of a shard.
#[derive(Debug, Default)]
pub(super) struct Logs {
    logs: HashMap<u64, Kept, BuildHasherDefault<AsIs>>,
    /// Their keys, in the order in which they are looked at.
    queue: VecDeque<u64>,
}

#[derive(Debug)]
struct Kept {
    log: Log,
    expires: u64,
    /// What it takes of the budget.
    bytes: usize,
}

impl Logs {
    pub(super) fn len(&self) -> usize {
        self.logs.len()
    }

    /// The log of a key that has one.
    pub(super) fn get(&mut self, hash: u64) -> Option<&mut Log> {
        self.logs.get_mut(&hash).map(|kept| &mut kept.log)
    }

    /// The log of a key, an empty one if it has none yet, with room for one more request; and how much was forgotten
    /// for it that still counted.
    pub(super) fn at(&mut self, hash: u64, quota: Quota, now: u64, budget: &Budget) -> (&mut Log, u64) {
        let is_new = !self.logs.contains_key(&hash);
        if is_new {
            for _ in 0..LOOKS {
                self.drop_next(now, budget, false);
            }
        }
        let expires = now.saturating_add(u64::try_from(quota.period.as_nanos()).unwrap_or(u64::MAX));
        let (length, room) = match self.logs.get_mut(&hash) {
            Some(kept) => {
                kept.expires = expires;
                kept.log.forget(quota.period, now);
                kept.log.room()
            }
            None => (0, 0),
        };
        // No log has more requests than the quota, give or take the one that is asked for.
        let most = (quota.requests.get() as usize).saturating_add(1);
        let larger = (room * 2).clamp(FIRST.min(most), most).max(room + 1);
        let mut wanted = 0;
        let mut forgotten = 0;
        if length == room {
            wanted = (larger - room) * Log::ENTRY + if is_new { OVERHEAD } else { 0 };
            while !budget.take(wanted) {
                let Some(counted) = self.drop_someone(hash, now, budget) else {
                    wanted = 0;
                    break;
                };
                forgotten += u64::from(counted);
            }
        }
        let kept = match self.logs.entry(hash) {
            Entry::Occupied(kept) => kept.into_mut(),
            Entry::Vacant(place) => {
                self.queue.push_back(hash);
                place.insert(Kept { log: Log::default(), expires, bytes: 0 })
            }
        };
        if wanted > 0 {
            kept.bytes += wanted;
            kept.log.reserve(larger);
        } else if length == room && room > 0 {
            // Others have all there is: the oldest makes room.
            kept.log.forget_oldest();
            forgotten += 1;
        }
        (&mut kept.log, forgotten)
    }

    /// Drops some log that is not the one of `keep`, one that has run out if it finds one; whether it still counted.
    fn drop_someone(&mut self, keep: u64, now: u64, budget: &Budget) -> Option<bool> {
        for _ in 0..TRIES {
            if self.queue.front() == Some(&keep) {
                self.queue.rotate_left(1);
            }
            if self.drop_next(now, budget, false)? {
                return Some(false);
            }
        }
        if self.queue.front() == Some(&keep) {
            self.queue.rotate_left(1);
        }
        if self.queue.front() == Some(&keep) {
            return None;
        }
        self.drop_next(now, budget, true)?;
        Some(true)
    }

    /// Drops the log whose turn it is if it has run out, or in any case; otherwise its turn comes again later. Whether
    /// it was dropped; none when there is none.
    fn drop_next(&mut self, now: u64, budget: &Budget, in_any_case: bool) -> Option<bool> {
        let key = self.queue.pop_front()?;
        match self.logs.entry(key) {
            Entry::Occupied(kept) if in_any_case || kept.get().expires <= now => {
                budget.give(kept.remove().bytes);
                Some(true)
            }
            Entry::Occupied(_) => {
                self.queue.push_back(key);
                Some(false)
            }
            Entry::Vacant(_) => Some(true),
        }
    }
}
