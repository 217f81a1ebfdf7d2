//! When requests should be sent in an open loop. Pure: it has no clock, and waits for nothing.
use crate::{plan::Arrivals, random::Random};

/// The schedule of one shard: times in microseconds of the run's clock, never decreasing.
///
/// The shards of a run share one schedule: with constant gaps shard `k` of `n` takes every `n`th request from the `k`th,
/// so that all together are evenly spaced; with exponential gaps each has a sequence of its own, which together are
/// again exponential.
#[derive(Clone, Debug)]
pub struct Pace {
    start_us: u64,
    /// Requests a second, all shards together.
    rate: f64,
    shard: u64,
    shards: u64,
    taken: u64,
    next_us: u64,
    /// Where exponential gaps come from, and their sum so far, µs.
    poisson: Option<(Random, f64)>,
}

impl Pace {
    /// The schedule of shard `shard` of `shards` (at least 1), of `rate` requests a second over all (above 0), from
    /// `start_us` on. The same arguments make the same schedule.
    pub fn new(rate: f64, arrivals: Arrivals, (shard, shards): (usize, usize), seed: u64, start_us: u64) -> Pace {
        let poisson = match arrivals {
            Arrivals::Constant => None,
            Arrivals::Poisson => Some((Random::of(seed, shard as u64), 0.0)),
        };
        let (shard, shards) = (shard as u64, shards as u64);
        let mut pace = Pace { start_us, rate, shard, shards, taken: 0, next_us: 0, poisson };
        pace.advance();
        pace
    }

    /// When the next request should be sent, µs.
    #[inline]
    pub fn peek(&self) -> u64 {
        self.next_us
    }

    /// Takes the next request; answers when it should be sent, µs.
    #[inline]
    pub fn take(&mut self) -> u64 {
        let due = self.next_us;
        self.taken += 1;
        self.advance();
        due
    }

    /// Requests taken so far.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    fn advance(&mut self) {
        let after_us = match &mut self.poisson {
            // From the count over all shards, never from the last: rounding does not add up over hours, and the shards'
            // times are those that one would have.
            None => (self.shard + self.taken * self.shards) as f64 * 1e6 / self.rate,
            Some((random, sum)) => {
                *sum += random.exponential() * 1e6 * self.shards as f64 / self.rate;
                *sum
            }
        };
        // The cast saturates: a schedule that reaches beyond the clock has no more requests.
        self.next_us = self.start_us.saturating_add(after_us as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shard(pace: &mut Pace, until_us: u64) -> Vec<u64> {
        std::iter::from_fn(|| (pace.peek() < until_us).then(|| pace.take())).collect()
    }

    fn all(rate: f64, arrivals: Arrivals, shards: usize, seed: u64, until_us: u64) -> Vec<u64> {
        let mut times: Vec<u64> =
            (0..shards).flat_map(|k| shard(&mut Pace::new(rate, arrivals, (k, shards), seed, 0), until_us)).collect();
        times.sort_unstable();
        times
    }

    fn within(times: &[u64], from: u64, until: u64) -> usize {
        times.partition_point(|t| *t < until) - times.partition_point(|t| *t < from)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn constant_has_the_rate_in_every_window(
            rate in 0.5f64..5_000.0,
            shards in 1usize..9,
            windows in proptest::collection::vec((0u64..2_000_000, 0u64..2_000_000), 20),
        ) {
            let times = all(rate, Arrivals::Constant, shards, 1, 2_000_000);
            for (a, b) in windows {
                let (from, until) = (a.min(b), a.max(b));
                let expected = rate * (until - from) as f64 / 1e6;
                let count = within(&times, from, until) as f64;
                prop_assert!((count - expected).abs() <= 1.0 + 1e-6, "{count} of {expected} in {from}..{until}");
            }
        }

        #[test]
        fn the_number_of_shards_does_not_change_a_constant_schedule(rate in 0.5f64..50_000.0, shards in 1usize..9) {
            let alone = all(rate, Arrivals::Constant, 1, 1, 500_000);
            prop_assert_eq!(alone, all(rate, Arrivals::Constant, shards, 1, 500_000));
        }

        #[test]
        fn poisson_has_the_rate_and_the_variance(rate in 2_000.0f64..10_000.0, shards in 1usize..5, seed: u64) {
            let seconds = 10;
            let times = all(rate, Arrivals::Poisson, shards, seed, seconds * 1_000_000);
            let total = rate * seconds as f64;
            // Six standard deviations: one failure in 500 million tries.
            prop_assert!((times.len() as f64 - total).abs() < 6.0 * total.sqrt(), "{} of {total}", times.len());
            // The counts of windows have the variance that is their mean: the ratio is 1, give or take sqrt(2 / windows).
            let windows = 2_000;
            let width = seconds * 1_000_000 / windows;
            let counts: Vec<f64> =
                (0..windows).map(|w| within(&times, w * width, (w + 1) * width) as f64).collect();
            let mean = counts.iter().sum::<f64>() / windows as f64;
            let variance = counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / (windows - 1) as f64;
            let off = (2.0 / windows as f64 + 1.0 / (mean * windows as f64)).sqrt();
            prop_assert!((variance / mean - 1.0).abs() < 6.0 * off, "{variance} of {mean}");
        }

        #[test]
        fn the_same_seed_is_the_same_schedule(seed: u64, shards in 1usize..5) {
            let first = all(5_000.0, Arrivals::Poisson, shards, seed, 100_000);
            prop_assert_eq!(&first, &all(5_000.0, Arrivals::Poisson, shards, seed, 100_000));
            prop_assert_ne!(&first, &all(5_000.0, Arrivals::Poisson, shards, seed ^ 1, 100_000));
        }
    }

    #[test]
    fn hours_do_not_drift() {
        // A rate whose gap no float holds: the request after ten hours is where it belongs, to the microsecond.
        let mut pace = Pace::new(30_000.0, Arrivals::Constant, (0, 1), 1, 7);
        pace.taken = 36_000 * 30_000 - 1;
        pace.take();
        assert_eq!(pace.peek(), 7 + 36_000_000_000);
        pace.take();
        assert_eq!(pace.peek(), 7 + 36_000_000_033);
    }

    #[test]
    fn times_never_decrease_and_take_answers_what_peek_did() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            let mut pace = Pace::new(900_000.0, arrivals, (1, 2), 3, 1_000);
            let mut last = 1_000;
            for n in 0..100_000 {
                assert_eq!(pace.taken(), n);
                let due = pace.peek();
                assert!(due >= last);
                assert_eq!(pace.take(), due);
                last = due;
            }
        }
    }

    #[test]
    fn a_rate_near_nothing_waits_beyond_the_clock() {
        let mut pace = Pace::new(1e-300, Arrivals::Constant, (0, 1), 1, 5);
        assert_eq!(pace.take(), 5);
        assert_eq!(pace.peek(), u64::MAX);
    }
}
