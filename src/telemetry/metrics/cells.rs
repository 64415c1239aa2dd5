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

/// Upper bounds of buckets, in nanoseconds; an observation belongs to the first bound that is not below it.
///
/// Whole nanoseconds instead of floating-point seconds, so that sums of sums are exact whatever their order.
pub(super) type Bounds<const N: usize> = [u64; N];

const MILLISECOND: u64 = 1_000_000;

/// OpenTelemetry's advice for HTTP servers, with two finer steps below and two above.
pub(super) const DURATION: Bounds<17> = [
    MILLISECOND,
    2_500_000,
    5 * MILLISECOND,
    10 * MILLISECOND,
    25 * MILLISECOND,
    50 * MILLISECOND,
    75 * MILLISECOND,
    100 * MILLISECOND,
    250 * MILLISECOND,
    500 * MILLISECOND,
    750 * MILLISECOND,
    1_000 * MILLISECOND,
    2_500 * MILLISECOND,
    5_000 * MILLISECOND,
    7_500 * MILLISECOND,
    10_000 * MILLISECOND,
    30_000 * MILLISECOND,
];

/// What a proxy itself takes: from what it should be to what nobody would accept.
pub(super) const OVERHEAD: Bounds<9> =
    [50_000, 100_000, 250_000, 500_000, MILLISECOND, 2_500_000, 5 * MILLISECOND, 10 * MILLISECOND, 50 * MILLISECOND];

/// Seconds as whole nanoseconds; what is no time counts as none.
pub(super) fn nanoseconds(seconds: f64) -> u64 {
    // The cast saturates, and makes 0 of what is negative or no number.
    (seconds * 1e9) as u64
}

/// How often a time fell between which bounds.
#[derive(Debug)]
pub(super) struct Histogram<const N: usize> {
    buckets: [Counter; N],
    above: Counter,
    sum: Counter,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self { buckets: [const { Counter(AtomicU64::new(0)) }; N], above: Counter::default(), sum: Counter::default() }
    }
}

impl<const N: usize> Histogram<N> {
    /// Counts a time; for the one writer only.
    pub(super) fn observe(&self, bounds: &Bounds<N>, nanoseconds: u64) {
        let bucket = bounds.partition_point(|bound| *bound < nanoseconds);
        self.buckets.get(bucket).unwrap_or(&self.above).add(1);
        self.sum.add(nanoseconds);
    }

    /// What it holds now.
    pub(super) fn sample(&self) -> HistogramSample<N> {
        HistogramSample {
            buckets: self.buckets.each_ref().map(Counter::get),
            above: self.above.get(),
            sum: self.sum.get(),
        }
    }
}

/// What a histogram held at some moment, or several together. All arithmetic wraps: a difference that is negative for
/// a while comes out right once what it belongs to has been added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HistogramSample<const N: usize> {
    buckets: [u64; N],
    above: u64,
    sum: u64,
}

impl<const N: usize> Default for HistogramSample<N> {
    fn default() -> Self {
        Self { buckets: [0; N], above: 0, sum: 0 }
    }
}

impl<const N: usize> HistogramSample<N> {
    /// Counts a time.
    pub(super) fn observe(&mut self, bounds: &Bounds<N>, nanoseconds: u64) {
        let bucket = bounds.partition_point(|bound| *bound < nanoseconds);
        *self.buckets.get_mut(bucket).unwrap_or(&mut self.above) += 1;
        self.sum = self.sum.wrapping_add(nanoseconds);
    }

    /// Adds another.
    pub(super) fn add(&mut self, other: &Self) {
        self.combine(other, u64::wrapping_add);
    }

    /// Takes another away.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.combine(other, u64::wrapping_sub);
    }

    fn combine(&mut self, other: &Self, op: impl Fn(u64, u64) -> u64) {
        for (bucket, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *bucket = op(*bucket, *more);
        }
        self.above = op(self.above, other.above);
        self.sum = op(self.sum, other.sum);
    }

    /// How many times were counted.
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().fold(self.above, |count, bucket| count.wrapping_add(*bucket))
    }

    /// How many were counted up to each bound.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = u64> {
        self.buckets.iter().scan(0u64, |count, bucket| {
            *count = count.wrapping_add(*bucket);
            Some(*count)
        })
    }

    /// All times together, in nanoseconds.
    pub(super) fn sum(&self) -> u64 {
        self.sum
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

impl<const N: usize> Cell for Histogram<N> {
    fn clear(&self) {
        self.buckets.iter().chain([&self.above, &self.sum]).for_each(Counter::clear);
    }
}

/// How many tiers a [`Keyed`] can grow to, each four times the one before.
const TIERS: usize = 5;
/// How many places a key is looked for in one tier.
const WINDOW: usize = 16;

/// Cells by a number that is not dense: an open hash table that grows by tiers and never moves what it holds, so that
/// the scraper can read it meanwhile. Most routes see a handful of keys and stay in the first tier.
///
/// What does not fit any more shares one cell: the table is bounded whatever its keys are.
pub(super) struct Keyed<V> {
    tiers: [OnceLock<Box<[Entry<V>]>>; TIERS],
    first: usize,
    overflow: V,
}

#[derive(Default)]
struct Entry<V> {
    /// 0 as long as nobody has the place.
    key: AtomicU64,
    cell: V,
}

impl<V> fmt::Debug for Keyed<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed")
            .field("tiers", &self.tiers.iter().flat_map(OnceLock::get).count())
            .finish_non_exhaustive()
    }
}

impl<V: Cell> Keyed<V> {
    /// An empty one whose first tier has `first` places, a power of two.
    pub(super) fn new(first: usize) -> Self {
        debug_assert!(first.is_power_of_two());
        Self { tiers: [const { OnceLock::new() }; TIERS], first, overflow: V::default() }
    }

    /// The cell of a key; for the one writer only. Allocates only when a tier is entered for the first time.
    pub(super) fn at(&self, key: NonZeroU64) -> &V {
        let key = key.get();
        // The multiplier is 2^64 divided by the golden ratio: it spreads neighbours over the upper bits.
        let hash = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
        let mut places = self.first;
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

    /// Every key with its cell, and the shared cell of those that did not fit with none.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Option<NonZeroU64>, &V)> {
        self.tiers
            .iter()
            .flat_map(OnceLock::get)
            .flatten()
            .filter_map(|entry| Some((Some(NonZeroU64::new(entry.key.load(Ordering::Acquire))?), &entry.cell)))
            .chain([(None, &self.overflow)])
    }

    /// Back to nothing; for the one writer only. What was allocated stays.
    pub(super) fn clear(&self) {
        for entry in self.tiers.iter().flat_map(OnceLock::get).flatten() {
            entry.key.store(0, Ordering::Relaxed);
            entry.cell.clear();
        }
        self.overflow.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_belongs_to_the_first_bound_that_is_not_below_it() {
        let histogram = Histogram::default();
        for nanoseconds in [0, 10, 11, 20, 21] {
            histogram.observe(&[10, 20], nanoseconds);
        }
        let sample = histogram.sample();
        assert_eq!(sample, HistogramSample { buckets: [2, 2], above: 1, sum: 62 });
        assert_eq!((sample.count(), sample.cumulative().collect::<Vec<_>>()), (5, vec![2, 4]));
    }

    #[test]
    fn what_is_no_time_counts_as_none() {
        assert_eq!([-1.0, f64::NAN, f64::INFINITY, 1.5e-9].map(nanoseconds), [0, 0, u64::MAX, 1]);
    }

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
        assert!(keyed.iter().count() <= 2 + 8 + 32 + 128 + 512 + 1);
        keyed.clear();
        assert!(keyed.iter().all(|(key, counter)| key.is_none() && counter.get() == 0));
    }
}
