//! One count, one level, durations in buckets; and sums of them.
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// A count that only grows. One thread writes; any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Takes over a count kept elsewhere.
    pub fn set_total(&self, total: u64) {
        self.0.store(total, Relaxed);
    }

    /// Adds `n`. Only the owning thread may call it: two writers would lose counts (but nothing worse).
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A level that goes up and down. One thread writes; any thread reads.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Moves the level by `n`. Only the owning thread may call it.
    #[inline]
    pub fn add(&self, n: i64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// One more.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// One less.
    #[inline]
    pub fn dec(&self) {
        self.add(-1);
    }

    /// Sets the level.
    #[inline]
    pub fn set(&self, level: i64) {
        self.0.store(level, Relaxed);
    }

    /// The level.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of the duration buckets, in µs; the last bucket has none. OpenTelemetry's advice for HTTP with three
/// finer ones in front, as a proxy adds microseconds.
pub const BOUNDS_US: [u64; 17] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000, 1_000_000, 2_500_000,
    5_000_000, 7_500_000, 10_000_000,
];

/// How many buckets a histogram has.
pub const BUCKETS: usize = BOUNDS_US.len() + 1;

/// For each power of two, the first bucket that a duration of that magnitude can fall into.
const FIRST_BUCKET: [u8; 64] = {
    let mut table = [0; 64];
    let mut power = 0;
    while power < 64 {
        let mut bucket = 0;
        while bucket < BOUNDS_US.len() && BOUNDS_US[bucket] < 1 << power {
            bucket += 1;
        }
        table[power] = bucket as u8;
        power += 1;
    }
    table
};

/// Durations, counted in buckets. One thread writes; any thread reads.
#[derive(Debug, Default)]
#[repr(C)] // in this order: see `RouteShard`
pub struct Histogram {
    pub(super) sum_us: Counter,
    pub(super) buckets: [Counter; BUCKETS],
}

impl Histogram {
    /// Counts one duration.
    #[inline]
    pub fn observe(&self, duration_us: u64) {
        let mut bucket = FIRST_BUCKET[(duration_us | 1).ilog2() as usize] as usize;
        while BOUNDS_US.get(bucket).is_some_and(|&bound| bound < duration_us) {
            bucket += 1;
        }
        if let Some(counter) = self.buckets.get(bucket) {
            counter.inc();
        }
        self.sum_us.add(duration_us);
    }
}

/// The sum of histograms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistogramTotal {
    /// Not cumulative: one count per bucket.
    pub buckets: [u64; BUCKETS],
    /// Of all durations, µs.
    pub sum_us: u64,
}

impl HistogramTotal {
    /// Adds one histogram.
    pub fn add(&mut self, one: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&one.buckets) {
            *sum += bucket.get();
        }
        self.sum_us = self.sum_us.wrapping_add(one.sum_us.get());
    }

    /// Adds another sum.
    pub fn add_total(&mut self, other: &HistogramTotal) {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(sum, n)| *sum += n);
        self.sum_us = self.sum_us.wrapping_add(other.sum_us);
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// Adds counters to sums, one by one.
pub(super) fn add_all(sums: &mut [u64], counters: &[Counter]) {
    for (sum, counter) in sums.iter_mut().zip(counters) {
        *sum += counter.get();
    }
}
