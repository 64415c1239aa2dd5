//! Numbers with one writer and any number of readers.
//!
//! A worker owns its cells: nobody else writes them, so adding is a plain load, an add and a plain store, without a
//! locked instruction and without a cache line that several cores write. The scraper reads them with relaxed loads and
//! may be one exchange behind.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds; for the one writer only.
    pub(super) fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    /// Takes a number that is counted elsewhere; for the one writer only.
    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// What it is now.
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A cell that can begin anew.
pub(super) trait Cell: Default {
    /// Back to nothing; for the one writer only.
    fn clear(&self);
}

impl Cell for Counter {
    fn clear(&self) {
        self.set(0);
    }
}

/// How many tiers a [`Keyed`] can grow to, each four times the one before.
const TIERS: usize = 5;
/// How many places a key is looked for in one tier.
const WINDOW: usize = 16;

/// Cells by a number that is not dense. The first one is at hand: most routes see one key, or a handful, and memory that is
/// looked for elsewhere is in no cache when there are many routes. The others are in a table of their own.
pub(super) struct Keyed<V> {
    first: Entry<V>,
    more: OnceLock<Box<More<V>>>,
    /// Places in the first tier of the others.
    places: usize,
}

#[derive(Default)]
struct Entry<V> {
    /// 0 as long as nobody has the place.
    key: AtomicU64,
    cell: V,
}

/// An open hash table that grows by tiers and never moves what it holds, so that the scraper can read it meanwhile.
///
/// What does not fit any more shares one cell: the table is bounded whatever its keys are.
#[derive(Default)]
struct More<V> {
    tiers: [OnceLock<Box<[Entry<V>]>>; TIERS],
    overflow: V,
}

impl<V> fmt::Debug for Keyed<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").field("more", &self.more.get().is_some()).finish_non_exhaustive()
    }
}

impl<V: Cell> Keyed<V> {
    /// An empty one. Behind the first cell there will be so many, a power of two, before the table grows.
    pub(super) fn new(places: usize) -> Self {
        debug_assert!(places.is_power_of_two());
        Self { first: Entry::default(), more: OnceLock::new(), places }
    }

    /// The cell of a key; for the one writer only. Allocates only when a tier is entered for the first time.
    pub(super) fn at(&self, key: NonZeroU64) -> &V {
        match self.first.key.load(Ordering::Relaxed) {
            held if held == key.get() => &self.first.cell,
            0 => {
                self.first.key.store(key.get(), Ordering::Release);
                &self.first.cell
            }
            _ => self.more.get_or_init(Box::default).at(key.get(), self.places),
        }
    }

    /// The key that is at hand, or 0.
    pub(super) fn glance(&self) -> u64 {
        self.first.key.load(Ordering::Relaxed)
    }

    /// Every key with its cell, and the shared cell of those that did not fit with none.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Option<NonZeroU64>, &V)> {
        let more = self.more.get();
        let entries = more.into_iter().flat_map(|more| more.entries());
        [&self.first]
            .into_iter()
            .chain(entries)
            .filter_map(|entry| Some((Some(NonZeroU64::new(entry.key.load(Ordering::Acquire))?), &entry.cell)))
            .chain(more.map(|more| (None, &more.overflow)))
    }

    /// Back to nothing; for the one writer only. What was allocated stays.
    pub(super) fn clear(&self) {
        let more = self.more.get();
        for entry in [&self.first].into_iter().chain(more.into_iter().flat_map(|more| more.entries())) {
            entry.key.store(0, Ordering::Relaxed);
            entry.cell.clear();
        }
        if let Some(more) = more {
            more.overflow.clear();
        }
    }
}

impl<V: Cell> More<V> {
    fn entries(&self) -> impl Iterator<Item = &Entry<V>> {
        self.tiers.iter().flat_map(OnceLock::get).flatten()
    }

    fn at(&self, key: u64, mut places: usize) -> &V {
        // The multiplier is 2^64 divided by the golden ratio: it spreads neighbours over the upper bits.
        let hash = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
        for tier in &self.tiers {
            let entries = match tier.get() {
                Some(entries) => entries,
                None => tier.get_or_init(|| (0..places).map(|_| Entry::default()).collect()),
            };
            for step in 0..places.min(WINDOW) {
                let Some(entry) = entries.get(hash.wrapping_add(step) & (places - 1)) else { break };
                match entry.key.load(Ordering::Relaxed) {
                    held if held == key => return &entry.cell,
                    0 => {
                        entry.key.store(key, Ordering::Release);
                        return &entry.cell;
                    }
                    _ => {}
                }
            }
            places *= 4;
        }
        &self.overflow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_cell_of_its_own_until_the_table_is_full() {
        let keyed = Keyed::<Counter>::new(2);
        let key = |n| NonZeroU64::new(n).unwrap();
        for n in 1..=400 {
            keyed.at(key(n)).add(n);
        }
        for n in 1..=400 {
            keyed.at(key(n)).add(1);
            assert_eq!(keyed.at(key(n)).get(), n + 1, "{n}");
        }
        for n in 401..=10_000 {
            keyed.at(key(n)).add(1);
        }
        let counted: u64 = keyed.iter().map(|(_, counter)| counter.get()).sum();
        assert_eq!(counted, (1..=400).map(|n| n + 1).sum::<u64>() + 9_600, "nothing is lost");
        assert!(keyed.iter().count() <= 1 + 2 + 8 + 32 + 128 + 512 + 1);
        keyed.clear();
        assert!(keyed.iter().all(|(key, counter)| key.is_none() && counter.get() == 0));
    }
}
