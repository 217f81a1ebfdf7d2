//! An interval: made, filled, merged, emptied.
use super::{Counts, Interval};
use hdrhistogram::Histogram;

/// Shortest time that is told apart from others, microseconds.
pub const LOWEST_US: u64 = 1;
/// Longest time that is told apart from others, microseconds: an hour. What takes longer counts as an hour.
pub const HIGHEST_US: u64 = 3_600_000_000;
/// Significant decimal digits of every recorded time.
pub const DIGITS: u8 = 3;

/// An empty histogram with the bounds that all of them have, so that any two merge exactly. About 190 KB.
pub fn histogram() -> Histogram<u64> {
    match Histogram::new_with_bounds(LOWEST_US, HIGHEST_US, DIGITS) {
        Ok(histogram) => histogram,
        Err(e) => unreachable!("the bounds are constants that the crate permits: {e}"),
    }
}

/// Records a time, µs; what is out of bounds counts as the bound.
#[inline]
pub(super) fn record(into: &mut Histogram<u64>, us: u64) {
    into.saturating_record(us.clamp(LOWEST_US, HIGHEST_US));
}

/// Adds all values of another.
pub(crate) fn merge(into: &mut Histogram<u64>, from: &Histogram<u64>) {
    if into.add(from).is_err() {
        // Made with wider bounds than ours: value by value, and none is lost.
        for value in from.iter_recorded() {
            let us = value.value_iterated_to().clamp(LOWEST_US, HIGHEST_US);
            into.saturating_record_n(us, value.count_at_value());
        }
    }
}

impl Default for Interval {
    fn default() -> Interval {
        Interval::new()
    }
}

impl Interval {
    /// An empty one. About a megabyte: make few, and use them again.
    pub fn new() -> Interval {
        Interval {
            response: histogram(),
            service: histogram(),
            first_byte: histogram(),
            connect: histogram(),
            tls: histogram(),
            counts: Counts::default(),
        }
    }

    fn histograms(&mut self) -> [&mut Histogram<u64>; 5] {
        [&mut self.response, &mut self.service, &mut self.first_byte, &mut self.connect, &mut self.tls]
    }

    /// Empties it for its next use.
    pub fn clear(&mut self) {
        for histogram in self.histograms() {
            if !histogram.is_empty() {
                histogram.reset();
            }
        }
        self.counts = Counts::default();
    }

    /// Adds another: of another shard, or of another stretch of time.
    pub fn add(&mut self, other: &Interval) {
        let others = [&other.response, &other.service, &other.first_byte, &other.connect, &other.tls];
        for (into, from) in self.histograms().into_iter().zip(others) {
            merge(into, from);
        }
        self.counts.add(&other.counts);
    }
}

impl Counts {
    /// Adds another's.
    pub fn add(&mut self, other: &Counts) {
        self.sent += other.sent;
        self.answered += other.answered;
        self.body_bytes += other.body_bytes;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.connections += other.connections;
        self.resumed += other.resumed;
        self.closed += other.closed;
        self.unsent += other.unsent;
        for (status, n) in &other.status {
            *self.status.entry(*status).or_default() += n;
        }
        for (fault, n) in &other.faults {
            *self.faults.entry(*fault).or_default() += n;
        }
    }

    /// Faults of all kinds together.
    pub fn errors(&self) -> u64 {
        self.faults.values().fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// What the share of errors is a share of: answers, and the requests that ended without one. Answers whose status or
    /// body is not expected are among both the answers and the errors, and count once.
    pub fn finished(&self) -> u64 {
        let unanswered = self.faults.iter().filter(|(fault, _)| !fault.has_answer());
        // Not even figures of a file that somebody else wrote overflow.
        unanswered.fold(self.answered, |sum, (_, n)| sum.saturating_add(*n))
    }

    /// Errors of all that finished, 0 to 1; 0 when nothing finished.
    pub fn error_share(&self) -> f64 {
        match self.finished() {
            0 => 0.0,
            finished => self.errors() as f64 / finished as f64,
        }
    }
}
