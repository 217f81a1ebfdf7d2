//! Hedging: a second attempt beside a slow first one, where both can be carried out. The one that answers first counts.
//!
//! After Dean and Barroso, "The Tail at Scale" (2013): to ask again after the 95th percentile costs 5 % more requests, and
//! takes off the tail what two endpoints do not share.
use super::{budget::Share, registry::PoolState};
use crate::observe::stats::{BOUNDS_US, BUCKETS, HistogramTotal};
use edge_io::head::Method;
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// `hedge` of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HedgeRule {
    /// How long the first attempt is waited for.
    pub after: HedgeAfter,
    /// Second attempts per successes, node-wide.
    pub budget: Share,
}

/// How long the first attempt is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeAfter {
    /// Longer than 95 of 100 answers of the pool took lately to their first byte.
    P95,
    /// This long.
    Fixed(Duration),
}

impl HedgeRule {
    /// Whether a request may have a second attempt beside its first: GET and HEAD without a body.
    pub fn takes(method: Method, has_body: bool) -> bool {
        matches!(method, Method::Get | Method::Head) && !has_body
    }
}

/// Fewer answers than this say nothing of a percentile.
const SAMPLES_MIN: u64 = 100;
/// What was counted loses half of its weight in this time, µs.
const HALF_LIFE_US: u64 = 5_000_000;
/// How often the counters are looked at, µs.
const LOOK_US: u64 = 500_000;

/// The 95th percentile of lately counted durations. Time is an argument.
#[derive(Clone, Debug, Default)]
pub struct Percentile {
    looked_us: Option<u64>,
    past: HistogramTotal,
    weights: [f64; BUCKETS],
}

impl Percentile {
    /// Whether it is time to look again.
    pub fn is_due(&self, now_us: u64) -> bool {
        self.looked_us.is_none_or(|at| now_us.saturating_sub(at) >= LOOK_US)
    }

    /// Takes in all that was ever counted; answers the percentile in µs, if enough was counted lately.
    pub fn look(&mut self, now_us: u64, total: &HistogramTotal) -> Option<u64> {
        let since = self.looked_us.map_or(0, |at| now_us.saturating_sub(at));
        let kept = 0.5f64.powf(since as f64 / HALF_LIFE_US as f64);
        let first = self.looked_us.is_none();
        for ((weight, now), past) in self.weights.iter_mut().zip(total.buckets).zip(self.past.buckets) {
            let new = if first { 0 } else { now.saturating_sub(past) };
            *weight = *weight * kept + new as f64;
        }
        self.looked_us = Some(now_us);
        self.past = total.clone();
        self.value()
    }

    /// Within a bucket, durations are taken to be spread evenly.
    fn value(&self) -> Option<u64> {
        let all: f64 = self.weights.iter().sum();
        if all < SAMPLES_MIN as f64 {
            return None;
        }
        let (mut rank, mut low) = (all * 0.95, 0);
        for (weight, high) in self.weights.iter().zip(BOUNDS_US) {
            if *weight >= rank {
                return Some(low + ((high - low) as f64 * rank / weight) as u64);
            }
            rank -= weight;
            low = high;
        }
        None // beyond the last bound: so slow that asking again helps nobody
    }
}

/// What [`PoolState`] has for this file. Control writes it twice a second.
#[derive(Debug, Default)]
pub(super) struct Lately {
    /// 0 = not known.
    p95_us: AtomicU64,
}

impl PoolState {
    /// What 95 of 100 answers took to their first byte lately, if that is known.
    pub fn first_byte_p95(&self) -> Option<Duration> {
        match self.lately.p95_us.load(Relaxed) {
            0 => None,
            us => Some(Duration::from_micros(us)),
        }
    }

    /// Publishes it; `None`: it is not known any more.
    pub fn set_first_byte_p95(&self, us: Option<u64>) {
        self.lately.p95_us.store(us.map_or(0, |us| us.max(1)), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::stats::Histogram;

    fn total(of: &Histogram) -> HistogramTotal {
        let mut total = HistogramTotal::default();
        total.add(of);
        total
    }

    #[test]
    fn the_percentile_is_near_the_truth() {
        let (counted, mut watched) = (Histogram::default(), Percentile::default());
        assert_eq!(watched.look(0, &total(&counted)), None);
        (0..980).for_each(|_| counted.observe(700));
        (0..20).for_each(|_| counted.observe(500_000));
        let p95 = watched.look(LOOK_US, &total(&counted)).expect("enough");
        assert!((700..=1000).contains(&p95), "{p95}");
        // 4 of 100 at 30 ms, 2 of 100 at 500 ms: the 95th is among the former
        let (counted, mut watched) = (Histogram::default(), Percentile::default());
        watched.look(0, &total(&counted));
        (0..940).for_each(|_| counted.observe(700));
        (0..40).for_each(|_| counted.observe(30_000));
        (0..20).for_each(|_| counted.observe(500_000));
        let p95 = watched.look(LOOK_US, &total(&counted)).expect("enough");
        assert!((25_000..=50_000).contains(&p95), "{p95}");
    }

    #[test]
    fn what_was_counted_before_is_not_looked_at_and_fades_after() {
        let (counted, mut watched) = (Histogram::default(), Percentile::default());
        (0..10_000).for_each(|_| counted.observe(2_000_000));
        assert_eq!(watched.look(0, &total(&counted)), None, "long ago");
        (0..1000).for_each(|_| counted.observe(60_000));
        assert!(watched.look(LOOK_US, &total(&counted)).is_some_and(|p95| p95 > 50_000));
        let mut now = LOOK_US;
        for _ in 0..120 {
            now += LOOK_US;
            (0..100).for_each(|_| counted.observe(900));
            watched.look(now, &total(&counted));
        }
        assert!(watched.look(now, &total(&counted)).is_some_and(|p95| p95 <= 1000), "a minute later");
        assert_eq!(watched.look(now + 60 * HALF_LIFE_US, &total(&counted)), None, "nothing for five minutes");
    }

    #[test]
    fn few_answers_and_hopeless_ones_say_nothing() {
        let (counted, mut watched) = (Histogram::default(), Percentile::default());
        watched.look(0, &total(&counted));
        (0..SAMPLES_MIN - 1).for_each(|_| counted.observe(700));
        assert_eq!(watched.look(LOOK_US, &total(&counted)), None);
        (0..10_000).for_each(|_| counted.observe(20_000_000));
        assert_eq!(watched.look(2 * LOOK_US, &total(&counted)), None);
    }

    #[test]
    fn only_plain_questions_are_asked_twice() {
        assert!(HedgeRule::takes(Method::Get, false) && HedgeRule::takes(Method::Head, false));
        assert!(!HedgeRule::takes(Method::Get, true));
        for method in [Method::Post, Method::Put, Method::Delete, Method::Options, Method::Patch, Method::Connect] {
            assert!(!HedgeRule::takes(method, false), "{method:?}");
        }
    }
}
