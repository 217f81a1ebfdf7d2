//! The detector against a clock turned by hand.
use super::*;
use crate::{observe::stats::Histogram, upstream::balance::Rng};
use proptest::prelude::{prop_assert_eq, proptest};

const SECOND: u64 = 1_000_000;
const TICK: u64 = SECOND / 10;

fn rule() -> OutlierRule {
    OutlierRule {
        consecutive: 5,
        error_share: 500,
        min_requests: 20,
        window: Duration::from_secs(30),
        latency_factor: 3,
        ejection: Duration::from_secs(30),
        ejection_max: Duration::from_secs(600),
        max_ejected: 500,
    }
}

/// A pool whose endpoints do as told, tick by tick.
struct Pool {
    rule: OutlierRule,
    detector: Detector,
    now: u64,
    totals: Vec<Counts>,
    times: Vec<Histogram>,
    unhealthy: Vec<bool>,
}

impl Pool {
    fn new(endpoints: usize) -> Pool {
        let times = (0..endpoints).map(|_| Histogram::default()).collect();
        let (totals, unhealthy) = (vec![Counts::default(); endpoints], vec![false; endpoints]);
        Pool { rule: rule(), detector: Detector::default(), now: SECOND, totals, times, unhealthy }
    }

    /// One tick; `longest` by endpoint.
    fn tick(&mut self, longest: &[u32]) -> Vec<(usize, Decision)> {
        self.now += TICK;
        let wants = self.detector.wants(&self.rule, self.now);
        let samples: Vec<Sample> = (0..self.totals.len())
            .map(|i| {
                let times = |_| {
                    let mut total = HistogramTotal::default();
                    total.add(&self.times[i]);
                    total
                };
                Sample {
                    longest: longest.get(i).copied().unwrap_or(0),
                    unhealthy: self.unhealthy[i],
                    counts: wants.counts.then_some(self.totals[i]),
                    latency: wants.latency.then_some(()).map(times),
                }
            })
            .collect();
        self.detector.tick(&self.rule, self.now, &samples)
    }

    /// Ticks for a while with `answers` (failures, successes) of each endpoint per tick; what was decided, and when.
    fn run(&mut self, seconds: u64, answers: &[(u64, u64)]) -> Vec<(u64, usize, Decision)> {
        let mut all = Vec::new();
        for _ in 0..seconds * 10 {
            for (total, (failures, successes)) in self.totals.iter_mut().zip(answers) {
                total.add(Counts { failures: *failures, successes: *successes });
            }
            let decided = self.tick(&[]);
            all.extend(decided.into_iter().map(|(index, d)| (self.now, index, d)));
        }
        all
    }

    fn out(&self) -> Vec<usize> {
        (0..self.detector.members.len()).filter(|i| self.detector.members[*i].out_until.is_some()).collect()
    }
}

#[test]
fn five_in_a_row_are_acted_on_at_once_and_four_are_not() {
    let mut pool = Pool::new(4);
    assert_eq!(pool.tick(&[0, 4, 0, 0]), []);
    assert_eq!(pool.tick(&[0, 5, 0, 0]), [(1, Decision::Eject(Reason::Consecutive(5), pool.now + 30 * SECOND))]);
    assert_eq!(pool.tick(&[0, 9, 0, 0]), [], "it is out already");
    let back = pool.run(40, &[]);
    assert_eq!(back.iter().map(|(_, i, d)| (*i, *d)).collect::<Vec<_>>(), [(1, Decision::Readmit)]);
}

#[test]
fn each_time_out_is_twice_as_long_up_to_ten_minutes_and_that_is_forgotten_as_it_came() {
    let mut pool = Pool::new(2);
    let mut lengths = Vec::new();
    for _ in 0..7 {
        let [(0, Decision::Eject(_, until))] = pool.tick(&[5])[..] else { panic!("not left out") };
        lengths.push((until - pool.now) / SECOND);
        pool.now = until;
        assert_eq!(pool.tick(&[]), [(0, Decision::Readmit)]);
    }
    assert_eq!(lengths, [30, 60, 120, 240, 480, 600, 600]);
    // It served for 600 + 600 + 480 s: three times are forgotten.
    pool.now += 1680 * SECOND;
    pool.tick(&[]);
    let [(0, Decision::Eject(_, until))] = pool.tick(&[5])[..] else { panic!("not left out") };
    assert_eq!((until - pool.now) / SECOND, 480);
}

#[test]
fn half_of_twenty_answers_in_the_window_suffice_and_less_does_not() {
    let mut pool = Pool::new(3);
    assert_eq!(pool.run(20, &[(0, 3), (0, 3), (0, 3)]), []);
    // 49 of 100 fail.
    let mut pool = Pool::new(3);
    pool.run(1, &[]);
    for _ in 0..60 {
        assert_eq!(pool.run(5, &[(0, 4), (1, 3), (0, 4)]), []);
    }
    // Half of them, from then on: the window must have moved on first.
    let decided = pool.run(60, &[(0, 4), (2, 2), (0, 4)]);
    assert!(matches!(decided[..], [(_, 1, Decision::Eject(Reason::Share(..), _)), ..]), "{decided:?}");
    let mut pool = Pool::new(3);
    pool.run(1, &[]);
    pool.totals[1].failures += 19;
    assert_eq!(pool.run(60, &[]), [], "19 are too few");
}

#[test]
fn counts_that_began_before_the_detector_are_not_held_against_anybody() {
    let mut pool = Pool::new(2);
    pool.totals[0].failures = 1_000_000;
    assert_eq!(pool.run(60, &[]), []);
}

#[test]
fn what_failed_while_it_was_out_is_not_held_against_it_when_it_is_back() {
    let mut pool = Pool::new(4);
    pool.run(1, &[]);
    pool.tick(&[5]);
    let decided = pool.run(29, &[(10, 0)]);
    assert_eq!(decided, []);
    let decided = pool.run(20, &[(0, 1), (0, 1), (0, 1), (0, 1)]);
    assert!(matches!(decided[..], [(_, 0, Decision::Readmit)]), "{decided:?}");
}

#[test]
fn a_median_three_times_the_others_in_three_windows_is_an_outlier() {
    let mut pool = Pool::new(4);
    let mut decided = Vec::new();
    for _ in 0..350 {
        for (i, times) in pool.times.iter().enumerate() {
            times.observe(if i == 2 { 60_000 } else { 8_000 });
        }
        decided.extend(pool.tick(&[]).into_iter().map(|d| (pool.now, d)));
    }
    let [(when, (2, Decision::Eject(Reason::Latency(its, others), _)))] = decided[..] else {
        panic!("{decided:?}");
    };
    assert!((30 * SECOND..=32 * SECOND).contains(&when), "after three windows of 10 s: {when}");
    assert!((50_000..=75_000).contains(&its) && (5_000..=10_000).contains(&others), "{its} {others}");
}

#[test]
fn two_slow_windows_or_tiny_times_or_slowness_of_all_are_not() {
    for (slow_us, fast_us, slow_ticks) in [(60_000, 8_000, 190), (2_000, 300, 900), (60_000, 60_000, 900)] {
        let mut pool = Pool::new(4);
        for tick in 0..900 {
            for (i, times) in pool.times.iter().enumerate() {
                times.observe(if i == 2 && tick < slow_ticks { slow_us } else { fast_us });
            }
            assert_eq!(pool.tick(&[]), [], "{slow_us} {fast_us}");
        }
    }
}

#[test]
fn a_single_endpoint_is_never_left_out_and_of_three_one_may_be() {
    let mut pool = Pool::new(1);
    assert_eq!(pool.tick(&[100]), []);
    let mut pool = Pool::new(3);
    assert_eq!(pool.tick(&[5, 7, 6]).len(), 1);
    assert_eq!((pool.out(), pool.detector.capped), (vec![1], 2), "the worst of them");
}

#[test]
fn when_others_become_unhealthy_those_left_out_come_back() {
    let mut pool = Pool::new(4);
    pool.tick(&[5, 5]);
    assert_eq!(pool.out(), [0, 1]);
    pool.unhealthy[3] = true;
    assert_eq!(pool.tick(&[]), [(0, Decision::Readmit)]);
    pool.unhealthy = vec![false, false, true, true];
    assert_eq!(pool.tick(&[]), [(1, Decision::Readmit)]);
    assert_eq!(pool.tick(&[9, 9]), [], "half of the pool is out already");
}

#[test]
fn a_rule_that_is_gone_leaves_nobody_out() {
    let mut pool = Pool::new(4);
    pool.tick(&[5, 0, 5]);
    assert_eq!(pool.detector.clear(), [(0, Decision::Readmit), (2, Decision::Readmit)]);
    assert_eq!(pool.out(), [0; 0]);
}

#[test]
fn medians_lie_within_their_bucket() {
    let of = |durations: &[u64]| {
        let (counted, mut total) = (Histogram::default(), HistogramTotal::default());
        durations.iter().for_each(|us| counted.observe(*us));
        total.add(&counted);
        median(&total)
    };
    assert_eq!(of(&[]), 0);
    assert!((5_000..=10_000).contains(&of(&[6_000, 7_000, 8_000])));
    assert!((25_000..=50_000).contains(&of(&[100, 30_000, 40_000, 5_000_000])));
    assert_eq!(of(&[u64::MAX >> 8]), 10_000_000);
}

/// One schedule: a pool of random size whose endpoints fail, stall, sicken and recover at random, and is resized now and
/// then. What must hold at every tick is checked at every tick.
fn schedule(seed: u64, max_ejected: u32) {
    let mut rng = Rng::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut below = move |n: u64| rng.next_u64() % n;
    let mut pool = Pool::new(1 + below(12) as usize);
    pool.rule.max_ejected = max_ejected;
    let mut bits = vec![false; pool.totals.len()];
    let mut ejections = 0u64;
    for _ in 0..100 {
        if below(40) == 0 {
            let size = 1 + below(12) as usize;
            pool.totals.resize(size, Counts::default());
            pool.times.resize_with(size, Histogram::default);
            pool.unhealthy.resize(size, false);
            bits.resize(size, false);
        }
        pool.now += below(3) * below(60 * SECOND);
        for i in 0..pool.totals.len() {
            pool.totals[i].add(Counts { failures: below(30), successes: below(30) });
            pool.times[i].observe(below(200_000));
            pool.unhealthy[i] ^= below(20) == 0;
        }
        let longest: Vec<u32> = (0..pool.totals.len()).map(|_| below(8) as u32).collect();
        for (index, decision) in pool.tick(&longest) {
            match decision {
                Decision::Eject(_, until) => {
                    assert!(!bits[index], "seed {seed}: left out twice");
                    let length = until - pool.now;
                    assert!((30 * SECOND..=600 * SECOND).contains(&length), "seed {seed}: {length} µs");
                    bits[index] = true;
                    ejections += 1;
                }
                Decision::Readmit => bits[index] = false,
            }
        }
        let told: Vec<usize> = (0..bits.len()).filter(|i| bits[*i]).collect();
        assert_eq!(told, pool.out(), "seed {seed}: what was told is what is remembered");
        let most = pool.totals.len() * max_ejected as usize / 1000;
        assert!(told.len() <= most, "seed {seed}: {} of {} are left out", told.len(), pool.totals.len());
        let unhealthy = pool.unhealthy.iter().filter(|u| **u).count();
        let usable = (0..bits.len()).filter(|i| !bits[*i] && !pool.unhealthy[*i]).count();
        let least = pool.totals.len() - unhealthy.max(most);
        assert!(usable >= least, "seed {seed}: {usable} are left, and {least} should be");
        assert!(told.iter().all(|i| pool.detector.members[*i].out_until.is_some_and(|u| u > pool.now)));
    }
    // Whoever is well for long enough is back.
    pool.unhealthy.fill(false);
    for _ in 0..2 {
        pool.now += 601 * SECOND; // at the first, what was counted before may still be news
        pool.tick(&[]);
    }
    assert_eq!(pool.out(), [0; 0], "seed {seed}");
    assert!(ejections > 0 || pool.totals.len() < 4 || max_ejected < 500, "seed {seed}: nothing happened");
}

#[test]
fn over_thousands_of_schedules_no_more_than_the_share_are_left_out() {
    (0..3_000).for_each(|seed| schedule(seed, 500));
    (3_000..4_000).for_each(|seed| schedule(seed, [0, 100, 340, 999, 1000][seed as usize % 5]));
}

proptest! {
    #[test]
    fn times_out_double_and_stay_within_their_bounds(first in 1u64..600, most in 1u64..86_400, times in 0u32..200) {
        let rule = OutlierRule {
            ejection: Duration::from_secs(first),
            ejection_max: Duration::from_secs(most.max(first)),
            ..rule()
        };
        let expected = (u128::from(first) << times.min(60)).min(u128::from(most.max(first)));
        prop_assert_eq!(u128::from(rule.time_out(times)), expected * 1_000_000);
    }
}

#[test]
fn one_that_is_spared_for_long_is_counted_once() {
    let rule = OutlierRule { consecutive: 0, error_share: 500, min_requests: 10, max_ejected: 0, ..rule() };
    let mut detector = Detector::default();
    for tick in 0..100u64 {
        let counts = Counts { failures: tick * 10, successes: 0 };
        let well = Counts { failures: 0, successes: tick * 10 };
        let samples = [counts, well].map(|counts| Sample { counts: Some(counts), ..Sample::default() });
        assert_eq!(detector.tick(&rule, tick * 100_000, &samples), []);
    }
    assert_eq!(detector.capped, 1);
}
