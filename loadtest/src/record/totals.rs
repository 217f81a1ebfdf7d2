//! A run's figures as they grow: seconds and sums.
use super::{Counts, Early, Interval, Second, Spread, Times, interval::merge, spread::heat};
use hdrhistogram::Histogram;

/// Seconds that are kept one by one: a day of them. Later ones count in the sums only.
pub const SERIES_MAX: usize = 86_400;

/// What all shards recorded together.
#[derive(Default)]
pub struct Totals {
    sum: Interval,
    early: Early,
    series: Vec<Second>,
    /// Response times of the last second, which late answers join.
    last: Option<Histogram<u64>>,
}

impl Totals {
    /// Nothing yet.
    pub fn new() -> Totals {
        Totals::default()
    }

    /// A second is over: `merged` is what all shards recorded in it. `at`: when it ended, `length`: how long it was, both
    /// in seconds; `at` from the beginning of the measured time.
    pub fn second(&mut self, at: f64, length: f64, merged: &Interval, server_cpu_us: Option<u64>) {
        self.sum.add(merged);
        self.last = None;
        if self.series.len() < SERIES_MAX {
            let second = Second {
                at,
                length,
                counts: merged.counts.clone(),
                response: Spread::brief(&merged.response),
                heat: heat(&merged.response),
                server_cpu_us,
            };
            self.series.push(second);
            self.last = Some(merged.response.clone());
        }
    }

    /// What came after the measured time and belongs to it: answers that were waited for, requests never sent. It counts
    /// in the sums and in the last second (not, if there are more than [`SERIES_MAX`]).
    pub fn late(&mut self, merged: &Interval) {
        self.sum.add(merged);
        if let (Some(second), Some(response)) = (self.series.last_mut(), &mut self.last) {
            merge(response, &merged.response);
            second.counts.add(&merged.counts);
            second.response = Spread::brief(response);
            second.heat = heat(response);
        }
    }

    /// Times of a shard's connections that were made before the measured time.
    pub fn early(&mut self, early: &Early) {
        merge(&mut self.early.connect, &early.connect);
        merge(&mut self.early.tls, &early.tls);
    }

    /// All of the measured time so far.
    pub fn sum(&self) -> &Interval {
        &self.sum
    }

    /// The last second that is over.
    pub fn last(&self) -> Option<&Second> {
        self.series.last()
    }

    /// The parts of a result: counts, times, and the seconds.
    pub fn finish(self) -> (Counts, Times, Vec<Second>) {
        let spread = |h: &Histogram<u64>| (!h.is_empty()).then(|| Spread::of(h));
        let Interval { response, service, first_byte, connect, tls, counts } = &self.sum;
        let times = Times {
            response: Spread::of(response),
            service: spread(service),
            first_byte: Spread::of(first_byte),
            // Without new connections in the measured time those that carried it are of interest.
            connect: spread(connect).or_else(|| spread(&self.early.connect)),
            tls: spread(tls).or_else(|| spread(&self.early.tls)),
        };
        (counts.clone(), times, self.series)
    }
}
