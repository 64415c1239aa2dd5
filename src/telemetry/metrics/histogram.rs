//! How long things took: counts of times between fixed bounds.

use std::time::Duration;

use super::cells::{Cell, Counter};

/// The upper bounds of buckets, in nanoseconds, and a way to the bucket of a time that is shorter than a search.
///
/// Whole nanoseconds instead of floating-point seconds, so that sums of sums are exact whatever their order.
#[derive(Debug)]
pub(super) struct Bounds<const N: usize> {
    bounds: [u64; N],
    /// For each number of significant bits, the bucket of the lowest time that has so many.
    first: [u8; 65],
    /// How many bounds lie between two powers of two at most: the way from there is never longer.
    steps: u8,
}

impl<const N: usize> Bounds<N> {
    #[allow(clippy::indexing_slicing, reason = "a constant is evaluated by the compiler")]
    const fn new(bounds: [u64; N]) -> Self {
        let (mut first, mut steps, mut bits) = ([0; 65], 0, 0);
        let mut bucket = 0;
        while bits <= 64 {
            let lowest = if bits == 0 { 0 } else { 1 << (bits - 1) };
            let before = bucket;
            while (bucket as usize) < N && bounds[bucket as usize] < lowest {
                bucket += 1;
            }
            first[bits] = bucket;
            if bucket - before > steps {
                steps = bucket - before;
            }
            bits += 1;
        }
        Self { bounds, first, steps }
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        self.bounds.iter().copied()
    }

    /// The bucket of a time: that of the first bound that is not below it, or one more than there are.
    fn bucket(&self, nanoseconds: u64) -> usize {
        let bits = (u64::BITS - nanoseconds.leading_zeros()) as usize;
        let mut bucket = self.first.get(bits).copied().map_or(N, usize::from);
        // Always as many steps, so that no branch depends on the time.
        for _ in 0..self.steps {
            bucket += usize::from(self.bounds.get(bucket).is_some_and(|bound| *bound < nanoseconds));
        }
        bucket
    }
}

const MILLISECOND: u64 = 1_000_000;
const DURATIONS: usize = 17;
const OVERHEADS: usize = 9;

/// OpenTelemetry's advice for HTTP servers, with two finer steps below and two above.
pub(super) static DURATION: Bounds<DURATIONS> = Bounds::new([
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
]);

/// What a proxy itself takes: from what it should be to what nobody would accept.
pub(super) static OVERHEAD: Bounds<OVERHEADS> = Bounds::new([
    50_000,
    100_000,
    250_000,
    500_000,
    MILLISECOND,
    2_500_000,
    5 * MILLISECOND,
    10 * MILLISECOND,
    50 * MILLISECOND,
]);

/// A time in nanoseconds.
pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Times of exchanges, by [`DURATION`].
pub(super) type DurationHistogram = Histogram<DURATIONS>;
/// What [`DurationHistogram`]s hold.
pub(super) type DurationSample = HistogramSample<DURATIONS>;
/// Times that we take ourselves, by [`OVERHEAD`].
pub(super) type OverheadHistogram = Histogram<OVERHEADS>;

/// How often a time fell between which bounds. The sum is next to the short times, which most are.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Histogram<const N: usize> {
    sum: Counter,
    buckets: [Counter; N],
    above: Counter,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self { buckets: [const { Counter::new() }; N], above: Counter::default(), sum: Counter::default() }
    }
}

impl<const N: usize> Histogram<N> {
    /// Counts a time; for the one writer only.
    pub(super) fn observe(&self, bounds: &Bounds<N>, nanoseconds: u64) {
        self.buckets.get(bounds.bucket(nanoseconds)).unwrap_or(&self.above).add(1);
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
        *self.buckets.get_mut(bounds.bucket(nanoseconds)).unwrap_or(&mut self.above) += 1;
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

impl<const N: usize> Cell for Histogram<N> {
    fn clear(&self) {
        self.buckets.iter().chain([&self.above, &self.sum]).for_each(Counter::clear);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_belongs_to_the_first_bound_that_is_not_below_it() {
        let histogram = Histogram::default();
        for nanoseconds in [0, 10, 11, 20, 21] {
            histogram.observe(&Bounds::new([10, 20]), nanoseconds);
        }
        let sample = histogram.sample();
        assert_eq!(sample, HistogramSample { buckets: [2, 2], above: 1, sum: 62 });
        assert_eq!((sample.count(), sample.cumulative().collect::<Vec<_>>()), (5, vec![2, 4]));
    }

    #[test]
    fn the_short_way_leads_where_a_search_leads() {
        fn check<const N: usize>(bounds: &Bounds<N>) {
            let edges = bounds.iter().chain((0..64).map(|bits| 1 << bits)).chain([0, u64::MAX]);
            for time in edges.flat_map(|edge| [edge.saturating_sub(1), edge, edge.saturating_add(1)]) {
                assert_eq!(bounds.bucket(time), bounds.bounds.partition_point(|bound| *bound < time), "{time}");
            }
        }
        check(&DURATION);
        check(&OVERHEAD);
        check(&Bounds::new([0, 1, 2, 3, u64::MAX]));
        check(&Bounds::new([]));
    }

    #[test]
    fn a_time_that_is_too_long_counts_as_the_longest() {
        assert_eq!([Duration::ZERO, Duration::from_micros(3), Duration::MAX].map(nanoseconds), [0, 3_000, u64::MAX]);
    }
}
