//! The limiter before a simulated origin: so many servers, exponential service times, one queue (M/M/c), and clients that
//! always want more than it can do.
use super::*;
use crate::upstream::balance::Rng;
use std::{cmp::Reverse, collections::BinaryHeap, collections::VecDeque};

const TICK_US: u64 = 100_000;

struct Origin {
    servers: usize,
    service_us: f64,
    /// When each request that is served ends, and when it came.
    busy: BinaryHeap<Reverse<(u64, u64)>>,
    queue: VecDeque<u64>,
}

impl Origin {
    fn in_flight(&self) -> usize {
        self.busy.len() + self.queue.len()
    }

    fn start(&mut self, now_us: u64, rng: &mut Rng) {
        while self.busy.len() < self.servers
            && let Some(came) = self.queue.pop_front()
        {
            let uniform = (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
            let takes = -(1.0 - uniform).ln() * self.service_us;
            self.busy.push(Reverse((now_us + 1 + takes as u64, came)));
        }
    }
}

/// What a stretch of time looked like.
#[derive(Debug)]
struct Stretch {
    /// Answers, as a share of what the origin can do.
    goodput: f64,
    /// Mean latency over the mean service time.
    latency: f64,
    limits: (u32, u32),
}

struct Run {
    origin: Origin,
    adaptive: Adaptive,
    rule: AdaptiveRule,
    rng: Rng,
    now_us: u64,
    limit: u32,
    /// Share of the capacity that clients ask for; above 1 they always wait.
    load: f64,
}

impl Run {
    fn new(servers: usize, service_us: f64, seed: u64) -> Run {
        let rule = AdaptiveRule { min: 1, max: 10_000, probe_every: Duration::from_secs(30) };
        let adaptive = Adaptive::new(0);
        let limit = adaptive.published(&rule);
        let origin = Origin { servers, service_us, busy: BinaryHeap::new(), queue: VecDeque::new() };
        Run { origin, adaptive, rule, rng: Rng::new(seed | 1), now_us: 0, limit, load: 2.0 }
    }

    fn seconds(&mut self, seconds: u64) -> Stretch {
        let (mut answers, mut latency, mut capacity) = (0u64, 0u64, 0.0);
        let mut limits = (u32::MAX, 0);
        for _ in 0..seconds * 1_000_000 / TICK_US {
            let mut sample = Sample::default();
            let end = self.now_us + TICK_US;
            let most = if self.load > 1.0 { usize::MAX } else { (self.origin.servers as f64 * self.load) as usize };
            while self.now_us < end {
                while self.origin.in_flight() < (self.limit as usize).min(most) {
                    self.origin.queue.push_back(self.now_us);
                }
                self.origin.start(self.now_us, &mut self.rng);
                match self.origin.busy.peek() {
                    Some(Reverse((done, _))) if *done <= end => {
                        let Some(Reverse((done, came))) = self.origin.busy.pop() else { break };
                        self.now_us = done;
                        sample.answers += 1;
                        sample.latency_us += done - came;
                    }
                    _ => self.now_us = end,
                }
            }
            sample.in_flight = self.origin.in_flight() as u32;
            sample.waiting = self.load > 1.0;
            self.limit = self.adaptive.tick(self.now_us, &self.rule, sample);
            answers += sample.answers;
            latency += sample.latency_us;
            capacity += self.origin.servers as f64 * TICK_US as f64 / self.origin.service_us;
            limits = (limits.0.min(self.limit), limits.1.max(self.limit));
        }
        Stretch {
            goodput: answers as f64 / capacity,
            latency: latency as f64 / answers.max(1) as f64 / self.origin.service_us,
            limits,
        }
    }
}

#[test]
fn capacity_is_used_and_nothing_queues_long() {
    for seed in 0..40 {
        for (servers, service_us) in [(8, 5_000.0), (32, 10_000.0), (100, 20_000.0), (400, 50_000.0)] {
            let mut run = Run::new(servers, service_us, seed);
            run.seconds(40);
            let steady = run.seconds(120);
            assert!(steady.goodput >= 0.9, "seed {seed}, {servers} servers: {steady:?}");
            assert!(steady.latency <= 2.0, "seed {seed}, {servers} servers: {steady:?}");
        }
    }
}

#[test]
fn when_capacity_halves_the_limit_follows() {
    for seed in 0..40 {
        for (servers, service_us) in [(16, 5_000.0), (64, 10_000.0), (200, 20_000.0)] {
            let mut run = Run::new(servers, service_us, seed);
            run.seconds(40);
            run.origin.servers /= 2;
            run.seconds(2);
            let after = run.seconds(100);
            assert!(after.goodput >= 0.9, "seed {seed}, {servers} servers: {after:?}");
            assert!(after.latency <= 2.0, "seed {seed}, {servers} servers: {after:?}");
            run.origin.servers *= 2;
            run.seconds(20);
            let back = run.seconds(60);
            assert!(back.goodput >= 0.9, "seed {seed}, {servers} servers: {back:?}");
        }
    }
}

#[test]
fn an_origin_that_became_slower_for_itself_is_measured_anew() {
    for seed in 0..20 {
        let mut run = Run::new(64, 10_000.0, seed);
        run.seconds(40);
        run.origin.service_us *= 3.0;
        run.seconds(10);
        let after = run.seconds(60);
        assert!(after.goodput >= 0.9 && after.latency <= 2.0, "seed {seed}: {after:?}");
    }
}

#[test]
fn without_pressure_the_limit_stays_where_it_is() {
    for seed in 0..20 {
        let mut run = Run::new(400, 10_000.0, seed);
        run.seconds(60);
        run.load = 0.2;
        run.seconds(10);
        let idle = run.seconds(25);
        assert!(idle.limits.1 >= 300, "{idle:?}");
        run.load = 2.0;
        let again = run.seconds(10);
        assert!(again.goodput >= 0.85, "{again:?}");
    }
}

#[test]
fn nothing_comes_of_no_answers() {
    let rule = AdaptiveRule { min: 3, max: 50, probe_every: Duration::from_secs(1) };
    let mut adaptive = Adaptive::new(0);
    for tick in 0..1000 {
        let limit = adaptive.tick(tick * TICK_US, &rule, Sample { in_flight: 50, waiting: true, ..Sample::default() });
        assert!((3..=50).contains(&limit));
    }
    assert_eq!(adaptive.base(), None);
}
