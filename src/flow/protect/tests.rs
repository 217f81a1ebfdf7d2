//! The controller before a simulated loop: each turn serves what came during the one before.
use super::*;
use crate::upstream::balance::Rng;
use std::{collections::VecDeque, time::Duration};

const RULE: ProtectRule = ProtectRule { lag: Some(Duration::from_millis(50)), memory_permille: 900 };
/// A request that is served, and one that is refused, µs.
const SERVE_US: u64 = 100;
const REFUSE_US: u64 = 10;

#[derive(Default, Debug)]
struct Counts {
    asked: u64,
    latencies: Vec<u64>,
    shed: u64,
}

struct Loop {
    now_us: u64,
    looked_us: u64,
    idle_us: u64,
    longest_us: u64,
    controller: Controller,
    shedder: Shedder,
    waiting: VecDeque<(u64, Priority)>,
    next_us: f64,
    rng: Rng,
    mix: [u64; 3],
}

impl Loop {
    fn new(seed: u64, mix: [u64; 3]) -> Loop {
        Loop {
            now_us: 0,
            looked_us: 0,
            idle_us: 0,
            longest_us: 0,
            controller: Controller::default(),
            shedder: Shedder::default(),
            waiting: VecDeque::new(),
            next_us: 0.0,
            rng: Rng::new(seed | 1),
            mix,
        }
    }

    fn class(&mut self) -> Priority {
        let n = self.rng.next_u64() % self.mix.iter().sum::<u64>();
        match n {
            n if n < self.mix[0] => Priority::Critical,
            n if n < self.mix[0] + self.mix[1] => Priority::Normal,
            _ => Priority::Bulk,
        }
    }

    fn arrivals(&mut self, load: f64) {
        while self.next_us <= self.now_us as f64 {
            let class = self.class();
            self.waiting.push_back((self.next_us as u64, class));
            let uniform = (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
            self.next_us += -(1.0 - uniform).ln() * SERVE_US as f64 / load;
        }
    }

    /// Runs for so long under `load` times what the loop can serve.
    fn run(&mut self, load: f64, for_us: u64) -> [Counts; 3] {
        let mut counts: [Counts; 3] = Default::default();
        let end = self.now_us + for_us;
        while self.now_us < end {
            self.arrivals(load);
            if self.waiting.is_empty() {
                let next = (self.next_us as u64 + 1).min(self.looked_us + LOOK_MS * 1000).max(self.now_us + 1);
                self.idle_us += next - self.now_us;
                self.now_us = next;
            }
            self.look();
            let began = self.now_us;
            for (came, class) in std::mem::take(&mut self.waiting) {
                let count = &mut counts[class as usize];
                count.asked += 1;
                if self.shedder.sheds(class) {
                    count.shed += 1;
                    self.now_us += REFUSE_US;
                } else {
                    self.now_us += SERVE_US;
                    count.latencies.push(self.now_us - came);
                }
            }
            self.longest_us = self.longest_us.max(self.now_us - began);
        }
        counts
    }

    fn look(&mut self) {
        let since = self.now_us - self.looked_us;
        let slow = self.longest_us > 50_000;
        if since < LOOK_MS * 1000 && !slow || since == 0 {
            return;
        }
        let idle_permille = (self.idle_us * 1000 / since) as u32;
        let signs = Signs { lag_us: self.longest_us, idle_permille, memory_permille: 0 };
        self.shedder.set(self.controller.look(self.now_us, &RULE, signs));
        (self.looked_us, self.idle_us, self.longest_us) = (self.now_us, 0, 0);
    }
}

fn p99(mut latencies: Vec<u64>) -> u64 {
    latencies.sort_unstable();
    latencies[(latencies.len() - 1) * 99 / 100]
}

#[test]
fn five_times_too_much_is_served_in_time_or_refused() {
    for seed in 0..30 {
        for mix in [[0, 1, 0], [1, 9, 90], [2, 49, 49], [5, 95, 0]] {
            let mut shard = Loop::new(seed, mix);
            shard.run(0.5, 2_000_000);
            shard.run(5.0, 8_000_000); // what came before it was noticed is worked off
            let counts = shard.run(5.0, 10_000_000);
            let admitted: Vec<u64> = counts.iter().flat_map(|c| c.latencies.iter().copied()).collect();
            let served = admitted.len() as u64 * SERVE_US;
            assert!(served > 10_000_000 * 35 / 100, "seed {seed}, {mix:?}: {served} µs of work done");
            assert_eq!(counts[0].shed, 0);
            let bulk_admitted = counts[2].asked - counts[2].shed;
            if counts[1].shed > counts[1].asked / 5 {
                assert!(bulk_admitted * 20 <= counts[2].asked, "bulk is let in while normal is refused: {mix:?}");
            }
            let p99 = p99(admitted);
            assert!(p99 <= 2 * 50_000, "seed {seed}, {mix:?}: p99 {p99} µs");
        }
    }
}

#[test]
fn it_recovers_within_a_second() {
    for seed in 0..100 {
        let mut shard = Loop::new(seed, [1, 49, 50]);
        shard.run(5.0, 5_000_000);
        assert!(shard.shedder.level().shed > 0);
        shard.run(0.5, 1_000_000);
        assert_eq!(shard.shedder.level(), Level::default(), "seed {seed}");
        let after = shard.run(0.5, 1_000_000);
        assert_eq!(after.iter().map(|c| c.shed).sum::<u64>(), 0);
    }
}

#[test]
fn nothing_is_refused_where_there_is_room() {
    for seed in 0..50 {
        let mut shard = Loop::new(seed, [1, 1, 1]);
        let counts = shard.run(0.9, 10_000_000);
        assert_eq!(counts.iter().map(|c| c.shed).sum::<u64>(), 0);
    }
}

#[test]
fn one_long_turn_costs_bulk_alone_and_not_for_long() {
    let mut controller = Controller::default();
    let mut look = |ms: u64, lag_ms: u64| {
        let signs = Signs { lag_us: lag_ms * 1000, idle_permille: 800, memory_permille: 0 };
        controller.look(ms * 1000, &RULE, signs)
    };
    assert_eq!(look(100, 20), Level::default());
    assert_eq!(look(200, 90), Level { shed: 1000, pause: true });
    assert!(!look(216, 1).pause);
    let calm = (1..20).map(|n| look(216 + n * 16, 1)).find(|level| *level == Level::default());
    assert!(calm.is_some());
}

#[test]
fn memory_that_runs_out_refuses_bulk_then_normal_and_never_critical() {
    let level = |memory_permille| {
        Controller::default().look(0, &RULE, Signs { memory_permille, idle_permille: 1000, ..Signs::default() })
    };
    assert_eq!(level(900), Level::default());
    assert_eq!(level(901).shed, 1010);
    assert_eq!(level(950).shed, 1500);
    assert_eq!(level(1000), Level { shed: 2000, pause: true });
    let shedder = Shedder::default();
    shedder.set(level(950));
    let shed = |class| (0..1000).filter(|_| shedder.sheds(class)).count();
    assert_eq!((shed(Priority::Critical), shed(Priority::Normal), shed(Priority::Bulk)), (0, 500, 1000));
    let off = ProtectRule { lag: None, memory_permille: 1000 };
    let signs = Signs { lag_us: 10_000_000, idle_permille: 0, memory_permille: 1000 };
    assert_eq!(Controller::default().look(0, &off, signs), Level::default());
}
