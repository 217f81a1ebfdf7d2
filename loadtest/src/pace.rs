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
    /// Between two requests of this shard, µs.
    gap_us: f64,
    /// From the start to this shard's first request, µs; constant gaps.
    offset_us: f64,
    taken: u64,
    next_us: u64,
    /// Where exponential gaps come from, and their sum so far.
    poisson: Option<(Random, f64)>,
}

impl Pace {
    /// The schedule of shard `shard` of `shards` (at least 1), of `rate` requests a second over all (above 0), from
    /// `start_us` on. The same arguments make the same schedule.
    pub fn new(rate: f64, arrivals: Arrivals, (shard, shards): (usize, usize), seed: u64, start_us: u64) -> Pace {
        let between_all = 1e6 / rate;
        let mut pace = Pace {
            start_us,
            gap_us: between_all * shards as f64,
            offset_us: between_all * shard as f64,
            taken: 0,
            next_us: 0,
            poisson: match arrivals {
                Arrivals::Constant => None,
                Arrivals::Poisson => Some((Random::of(seed, shard as u64), 0.0)),
            },
        };
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
        let after = match &mut self.poisson {
            // From the count, never from the last: rounding does not add up over hours.
            None => self.offset_us + self.taken as f64 * self.gap_us,
            Some((random, sum)) => {
                *sum += random.exponential() * self.gap_us;
                *sum
            }
        };
        // A cast saturates: a schedule that reaches beyond the clock has no more requests.
        self.next_us = self.start_us.saturating_add(after as u64);
    }
}
