//! Policies over thousands of schedules that a seed makes again: arrivals by chance, endpoints that are fast, slow, full, out of use
//! and back, and a clock that is turned by hand.
use super::*;
use std::{cmp::Reverse, collections::BinaryHeap, sync::OnceLock};

/// Endpoints as a test wants them.
#[derive(Clone, Debug)]
pub struct Pool {
    pub weight: Vec<u32>,
    pub share: Vec<u32>,
    pub load: Vec<u32>,
    pub latency: Vec<Option<f32>>,
}

impl Pool {
    pub fn weighted(weights: &[u32]) -> Pool {
        let n = weights.len();
        Pool { weight: weights.to_vec(), share: vec![1000; n], load: vec![0; n], latency: vec![None; n] }
    }

    pub fn equal(n: usize) -> Pool {
        Pool::weighted(&vec![1; n])
    }
}

impl Candidates for Pool {
    fn len(&self) -> usize {
        self.weight.len()
    }

    fn weight(&self, index: usize) -> u32 {
        self.weight[index]
    }

    fn share(&self, index: usize) -> u32 {
        self.share[index]
    }

    fn load(&self, index: usize) -> u32 {
        self.load[index]
    }

    fn latency_us(&self, index: usize) -> Option<f32> {
        self.latency[index]
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Policy {
    P2c,
    RoundRobin,
    Random,
    LeastConn,
    First,
    Hash,
}

const ALL: [Policy; 6] =
    [Policy::P2c, Policy::RoundRobin, Policy::Random, Policy::LeastConn, Policy::First, Policy::Hash];

/// Tables are made for so many endpoints at most, for they take long; the others of a larger pool have no keys.
const TABLES: usize = 20;

fn tables() -> &'static [Maglev] {
    static MADE: OnceLock<Vec<Maglev>> = OnceLock::new();
    MADE.get_or_init(|| {
        let names: Vec<String> = (0..TABLES).map(|i| i.to_string()).collect();
        (0..=TABLES).map(|n| Maglev::new(names.iter().take(n).map(|name| (name.as_str(), 1)))).collect()
    })
}

/// A policy with what it remembers.
struct Chooser {
    policy: Policy,
    draw: Draw,
    turns: Turns,
    table: Maglev,
    rng: Rng,
}

impl Chooser {
    fn new(policy: Policy, pool: &Pool, seed: u64) -> Chooser {
        let mut rng = Rng::new(seed);
        let members: Vec<u32> = (0..pool.len() as u32).collect();
        let turns = Turns::new(pool, &members, &mut rng);
        let table = tables()[pool.len().min(TABLES)].clone();
        Chooser { policy, draw: Draw::new(members, |i| pool.weight[i]), turns, table, rng }
    }

    fn choose(&mut self, pool: &Pool) -> Option<usize> {
        match self.policy {
            Policy::P2c => p2c(pool, &self.draw, &mut self.rng),
            Policy::RoundRobin => self.turns.next(pool, self.draw.members()),
            Policy::Random => self.draw.pick(pool, None, &mut self.rng),
            Policy::LeastConn => least_conn(pool, &self.draw, &mut self.rng),
            Policy::First => first(pool),
            Policy::Hash => {
                let pull = (0..pool.len()).map(|i| pool.pull(i)).sum();
                let demand = Demand { in_flight: pool.load.iter().sum(), pull };
                bounded(pool, &self.table, self.rng.next_u64(), demand)
            }
        }
    }
}

/// Endpoints that answer one request after another, each in its time.
struct Origins {
    /// Mean time of one answer, µs.
    service: Vec<f64>,
    /// When each is done with what it has, µs.
    busy_until: Vec<f64>,
    ewma: Vec<Ewma>,
    /// Answers on their way: when, from whom, how long they took.
    due: BinaryHeap<Reverse<(u64, usize, u64)>>,
}

impl Origins {
    fn new(service: Vec<f64>) -> Origins {
        let n = service.len();
        let ewma = (0..n).map(|_| Ewma::default()).collect();
        Origins { service, busy_until: vec![0.0; n], ewma, due: BinaryHeap::new() }
    }

    /// What was answered until `now` has its effect.
    fn settle(&mut self, pool: &mut Pool, now: u64) {
        while let Some(Reverse((at, index, took))) = self.due.peek().copied().filter(|Reverse((at, ..))| *at <= now) {
            self.due.pop();
            pool.load[index] -= 1;
            self.ewma[index].observe(at / 1000, took);
        }
        for (latency, ewma) in pool.latency.iter_mut().zip(&self.ewma) {
            *latency = ewma.get(now / 1000);
        }
    }

    /// Sends a request to `index`; answers how long it will take, µs.
    fn send(&mut self, pool: &mut Pool, index: usize, now: u64, rng: &mut Rng) -> u64 {
        let begins = self.busy_until[index].max(now as f64);
        let ends = begins + exponential(self.service[index], rng);
        self.busy_until[index] = ends;
        pool.load[index] += 1;
        let took = (ends as u64).saturating_sub(now).max(1);
        self.due.push(Reverse((now + took, index, took)));
        took
    }
}

fn exponential(mean: f64, rng: &mut Rng) -> f64 {
    -mean * f64::from(1.0 - rng.unit()).ln()
}

/// Endpoints of different speeds, and arrivals that use three fifths of what they can do together.
fn speeds(rng: &mut Rng) -> (Vec<f64>, f64) {
    let n = 3 + rng.below(8) as usize;
    let service: Vec<f64> = (0..n).map(|_| 2_000.0 * (1 + rng.below(4)) as f64).collect();
    let able: f64 = service.iter().map(|s| 1.0 / s).sum();
    (service, 1.0 / (able * 0.6))
}

/// The mean latency of `requests` under `policy`, µs.
fn mean_latency(policy: Policy, seed: u64, requests: usize) -> f64 {
    let mut rng = Rng::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (service, gap) = speeds(&mut rng);
    let mut pool = Pool::equal(service.len());
    let mut origins = Origins::new(service);
    let mut chooser = Chooser::new(policy, &pool, seed);
    let (mut now, mut sum) = (1_000_000.0, 0.0);
    for _ in 0..requests {
        now += exponential(gap, &mut rng);
        origins.settle(&mut pool, now as u64);
        let index = chooser.choose(&pool).unwrap();
        sum += origins.send(&mut pool, index, now as u64, &mut rng) as f64;
    }
    sum / requests as f64
}

#[test]
fn p2c_answers_sooner_than_chance_and_turns() {
    let (mut sums, mut won, seeds) = ([0.0; 3], 0, 150);
    for seed in 1..=seeds {
        let means = [Policy::P2c, Policy::Random, Policy::RoundRobin].map(|policy| mean_latency(policy, seed, 1_000));
        sums.iter_mut().zip(means).for_each(|(sum, mean)| *sum += mean);
        won += u64::from(means[0] < means[1] && means[0] < means[2]);
    }
    assert!(won * 100 >= seeds * 97, "in {won} of {seeds} schedules");
    assert!(sums[0] * 2.0 < sums[1] && sums[0] * 2.0 < sums[2], "{sums:?}");
}

#[test]
fn none_out_of_use_is_chosen_and_one_in_use_always_is() {
    for seed in 1..=3_000u64 {
        let mut rng = Rng::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // every eighth pool is a large one
        let n = if seed % 8 == 0 { 65 + rng.below(200) } else { 1 + rng.below(12) } as usize;
        let weights: Vec<u32> = (0..n).map(|_| 1 + rng.below(20) as u32).collect();
        for policy in ALL {
            let mut pool = Pool::weighted(&weights);
            let mut chooser = Chooser::new(policy, &pool, seed);
            for _ in 0..40 {
                let at = rng.below(n as u64) as usize;
                pool.share[at] = [0, 0, 100, 550, 1000][rng.below(5) as usize];
                pool.load[at] = rng.below(50) as u32;
                pool.latency[at] = [None, Some(rng.below(1 << 20) as f32)][rng.below(2) as usize];
                let some = pool.share.iter().any(|share| *share > 0);
                match chooser.choose(&pool) {
                    Some(chosen) => assert!(pool.share[chosen] > 0, "{policy:?}, seed {seed}: {chosen}"),
                    None => assert!(!some, "{policy:?}, seed {seed}: nobody"),
                }
            }
        }
    }
}

#[test]
fn nobody_in_use_starves() {
    for seed in 1..=100 {
        for policy in [Policy::P2c, Policy::RoundRobin, Policy::Random, Policy::LeastConn] {
            let mut rng = Rng::new(seed * 77);
            let (service, gap) = speeds(&mut rng);
            let n = service.len();
            let mut pool = Pool::equal(n);
            let mut origins = Origins::new(service);
            let mut chooser = Chooser::new(policy, &pool, seed);
            // one was once so slow that it looked dead
            origins.ewma[0].observe(1_000, 20_000_000);
            let (mut now, mut hits) = (1_000_000.0, vec![0u32; n]);
            let end = now + 120e6;
            while now < end {
                now += exponential(gap * 20.0, &mut rng); // hardly anything to do: loads tell nothing
                origins.settle(&mut pool, now as u64);
                let index = chooser.choose(&pool).unwrap();
                origins.send(&mut pool, index, now as u64, &mut rng);
                hits[index] += 1;
            }
            let least = hits.iter().min().unwrap();
            assert!(*least >= 10, "{policy:?}, seed {seed}: {hits:?}");
        }
    }
}

#[test]
fn a_hundred_thousand_follow_their_weights() {
    let weights = [1, 2, 3, 4, 10];
    for policy in [Policy::P2c, Policy::RoundRobin, Policy::Random, Policy::LeastConn] {
        let mut rng = Rng::new(9);
        let mut pool = Pool::weighted(&weights);
        // as fast as each other, and as good as idle: nothing but weights tells them apart
        let mut origins = Origins::new(vec![200.0; 5]);
        let mut chooser = Chooser::new(policy, &pool, 3);
        let (mut now, mut hits) = (1_000_000.0, [0u32; 5]);
        for _ in 0..100_000 {
            now += exponential(4_000.0, &mut rng);
            origins.settle(&mut pool, now as u64);
            let index = chooser.choose(&pool).unwrap();
            origins.send(&mut pool, index, now as u64, &mut rng);
            hits[index] += 1;
        }
        for (hits, weight) in hits.iter().zip(weights) {
            // p2c sees that the heaviest, being no faster than the others, is busy more often
            let most = if policy == Policy::P2c { 3_000 } else { 2_000 };
            assert!(hits.abs_diff(weight * 5_000) <= most, "{policy:?}: {hits} for weight {weight}");
        }
    }
}
