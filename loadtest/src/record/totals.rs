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
                service: (!merged.service.is_empty()).then(|| Spread::brief(&merged.service)),
                first_byte: Spread::brief(&merged.first_byte),
                heat: heat(&merged.response),
                server_cpu_us,
            };
            self.series.push(second);
            self.last = Some(merged.response.clone());
        }
    }

    /// What came after the measured time and belongs to it: answers that were waited for, requests never sent. It counts
    /// in the sums and, but for service and first-byte times, in the last second (not, if there are more than [`SERIES_MAX`]).
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Done, Fault, Recorder};

    fn shard(times: &[u64]) -> Recorder {
        let mut recorder = Recorder::new(true, 0, u64::MAX);
        for us in times {
            recorder.done(&Done { intended_us: 0, sent_us: 1, first_us: 1, end_us: *us, status: 200, body: 1 });
        }
        recorder
    }

    #[test]
    fn shards_merge_into_what_one_would_have_recorded() {
        let (mut a, mut b) = (shard(&[10, 1_000, 3]), shard(&[7_000_000, 20]));
        b.failed(Fault::Reset, 0, 5);
        let mut merged = Interval::new();
        merged.add(&a.take_interval());
        merged.add(&b.take_interval());
        let mut one = shard(&[10, 1_000, 3, 7_000_000, 20]);
        one.failed(Fault::Reset, 0, 5);
        let one = one.take_interval();
        assert_eq!(merged.response, one.response);
        assert_eq!(merged.service, one.service);
        assert_eq!(merged.counts, one.counts);
        assert_eq!((merged.response.min(), merged.response.max()), (one.response.min(), one.response.max()));
    }

    #[test]
    fn seconds_add_up_to_the_whole_and_late_answers_join_the_last() {
        let mut totals = Totals::new();
        totals.second(1.0, 1.0, &shard(&[10, 20]).take_interval(), Some(5));
        totals.second(2.0, 1.0, &shard(&[30]).take_interval(), None);
        assert_eq!(totals.last().unwrap().counts.answered, 1);
        totals.late(&shard(&[900_000]).take_interval());
        let mut recorder = Recorder::new(true, 100, 200);
        recorder.connected(1, 77, None, false);
        totals.early(recorder.early());
        assert_eq!(totals.sum().counts.answered, 4);
        let (counts, times, series) = totals.finish();
        assert_eq!((counts.answered, times.response.count), (4, 4));
        assert_eq!(series.iter().map(|s| s.counts.answered).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(series.iter().map(|s| s.response.count).sum::<u64>(), 4);
        assert_eq!(series.iter().flat_map(|s| &s.heat).map(|(_, n)| n).sum::<u64>(), 4);
        assert!(series[1].response.max >= 900_000 && series[1].response.hdr.is_empty());
        assert_eq!((series[0].server_cpu_us, series[1].server_cpu_us), (Some(5), None));
        assert_eq!(times.connect.unwrap().p50, 77);
        assert!(times.tls.is_none() && times.service.is_some());
        assert!(!times.response.hdr.is_empty());
    }
}
