//! Many shards before one limit, on one thread, with clocks turned by hand: whatever order things happen in, never more
//! in flight than the limit, none lost, and whoever waits is let in when there is room.
use super::*;
use crate::{observe::stats::StatsRegistry, upstream::balance::Rng};
use edge_io::{reactor::Reactor, ring::Driver, timer::Timers};
use std::{
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Wake, Waker},
};

/// A turn of the hand-turned clocks, milliseconds: a tick of the wheel.
const TURN: u64 = 8;

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type Entering = Pin<Box<dyn Future<Output = Result<Pass, Fault>>>>;

struct Task {
    shard: usize,
    class: Priority,
    woken: Arc<Flag>,
    entering: Entering,
}

/// Shards, their tasks before one gate, and what was let in.
struct World {
    shards: Vec<(Local, Gates)>,
    rule: GateRule,
    waiting: Vec<Task>,
    inside: Vec<Pass>,
    now_ms: u64,
    refused: usize,
}

fn locals(n: usize) -> Vec<Local> {
    let local = |shard| Local {
        shard,
        reactor: Reactor::new(Driver::Epoll).expect("a reactor"),
        timers: Timers::new().expect("timers"),
    };
    (0..n).map(local).collect()
}

impl World {
    fn new(locals: &[Local], stats: &StatsRegistry, max: u32, queue: u32, timeout: Duration) -> World {
        let gates = |local: &Local| (local.clone(), Gates::new(local.clone(), stats.shards[local.shard].clone()));
        let now_ms = locals[0].timers.now();
        World {
            shards: locals.iter().map(gates).collect(),
            rule: GateRule::new(Arc::new(Permits::new(0)), Queue::Pool, GateConfig { max, queue, timeout }),
            waiting: Vec::new(),
            inside: Vec::new(),
            now_ms,
            refused: 0,
        }
    }

    fn set_max(&mut self, max: u32) {
        self.rule = GateRule::new(self.rule.permits.clone(), Queue::Pool, GateConfig { max, ..self.rule.config });
    }

    fn adopt(&self, shard: usize) {
        self.shards[shard].1.adopt(std::iter::once(&self.rule));
    }

    fn arrive(&mut self, shard: usize, class: Priority) {
        let gate = self.shards[shard].1.get(&self.rule);
        let entering: Entering = Box::pin(async move { gate.enter(class).await });
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        self.waiting.push(Task { shard, class, woken, entering });
        self.poll(self.waiting.len() - 1);
        // Whoever lost its place to this one goes before anybody looks at the order again.
        let displaced = |t: &Task| t.shard == shard && t.class > class && t.woken.0.load(Ordering::Relaxed);
        while let Some(at) = self.waiting.iter().position(displaced) {
            self.poll(at);
        }
    }

    /// Polls one; `true` when it is done.
    fn poll(&mut self, at: usize) -> bool {
        let task = &mut self.waiting[at];
        task.woken.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(task.woken.clone());
        let Poll::Ready(done) = task.entering.as_mut().poll(&mut Context::from_waker(&waker)) else { return false };
        let task = self.waiting.remove(at);
        match done {
            Ok(pass) => {
                self.inside.push(pass);
                let limit = self.rule.permits.limit() as usize;
                assert!(self.inside.len() <= limit, "{} inside, {limit} allowed", self.inside.len());
                let before = self.waiting[..at].iter().filter(|t| t.shard == task.shard && t.class == task.class);
                assert_eq!(before.count(), 0, "first come, first served within a class");
                let above = self.waiting.iter().filter(|t| t.shard == task.shard && t.class < task.class);
                assert_eq!(above.count(), 0, "higher classes first");
            }
            Err(fault) => {
                assert_eq!(fault.category, Category::Overloaded);
                assert!(fault.unsent);
                self.refused += 1;
            }
        }
        true
    }

    /// Polls whoever was woken, until nobody is.
    fn settle(&mut self, rng: &mut Rng) {
        loop {
            let woken = |t: &Task| t.woken.0.load(Ordering::Relaxed);
            let all: Vec<usize> = (0..self.waiting.len()).filter(|i| woken(&self.waiting[*i])).collect();
            if all.is_empty() {
                return;
            }
            self.poll(all[rng.next_u64() as usize % all.len()]);
        }
    }

    fn advance(&mut self, rng: &mut Rng) {
        self.now_ms += TURN;
        let first = rng.next_u64() as usize;
        for i in 0..self.shards.len() {
            let timers = &self.shards[(first + i) % self.shards.len()].0.timers;
            timers.clock().set(self.now_ms * 1000, 0);
            timers.fire_due();
            self.settle(rng);
        }
    }

    /// After this nobody waits while there is room.
    fn rest(&mut self, rng: &mut Rng) {
        self.settle(rng);
        for _ in 0..8 {
            self.advance(rng);
        }
        let limit = self.rule.permits.limit() as usize;
        let (inside, waiting) = (self.inside.len(), self.waiting.len());
        assert!(waiting == 0 || inside >= limit, "{waiting} wait while {inside} of {limit} are inside");
    }
}

fn class(rng: &mut Rng) -> Priority {
    Priority::ALL[rng.next_u64() as usize % 3]
}

fn schedule(seed: u64, locals: &[Local], stats: &StatsRegistry) {
    let mut rng = Rng::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let shards = 2 + rng.next_u64() as usize % (locals.len() - 1);
    let max = 1 + (rng.next_u64() % 12) as u32;
    let mut world = World::new(&locals[..shards], stats, max, 30, Duration::from_millis(400));
    for _ in 0..120 {
        let shard = rng.next_u64() as usize % shards;
        match rng.next_u64() % 20 {
            0..=7 => {
                let class = class(&mut rng);
                world.arrive(shard, class);
            }
            8..=13 if !world.inside.is_empty() => {
                let at = rng.next_u64() as usize % world.inside.len();
                drop(world.inside.swap_remove(at));
            }
            14 if !world.waiting.is_empty() => {
                let at = rng.next_u64() as usize % world.waiting.len();
                drop(world.waiting.remove(at));
            }
            15 => {
                world.set_max(1 + (rng.next_u64() % 12) as u32);
                world.adopt(shard);
                for other in 0..shards {
                    world.adopt(other);
                }
            }
            16 => world.rule.permits.set_found(Some(1 + (rng.next_u64() % 12) as u32).filter(|n| *n < 10)),
            17 => world.rest(&mut rng),
            18 => world.advance(&mut rng),
            _ => world.settle(&mut rng),
        }
        assert!(world.rule.permits.queued() as usize <= world.waiting.len());
    }
    // All leave, some of those who wait are let in, and they leave too.
    while !world.inside.is_empty() || !world.waiting.is_empty() {
        world.inside.clear();
        world.rest(&mut rng);
    }
    let permits = world.rule.permits.clone();
    assert_eq!((permits.used(), permits.starving(), permits.queued()), (0, 0, 0), "seed {seed}");
    drop(world);
    assert_eq!(permits.taken(), 0, "seed {seed}: what shards kept went back");
}

#[test]
fn thousands_of_schedules() {
    let (locals, stats) = (locals(8), StatsRegistry::new(8));
    for seed in 0..3_000 {
        schedule(seed, &locals, &stats);
    }
    let depths: i64 = stats.shards.iter().flat_map(|s| s.queues.depths()).sum();
    assert_eq!(depths, 0);
}

#[test]
fn bulk_starves_first() {
    let (locals, stats) = (locals(4), StatsRegistry::new(4));
    let mut world = World::new(&locals, &stats, 8, 1000, Duration::from_secs(3600));
    let mut rng = Rng::new(7);
    let mut shares = [[0; 2]; 3];
    for _ in 0..400 {
        for shard in 0..4 {
            for class in Priority::ALL {
                world.arrive(shard, class);
                shares[class as usize][0] += 1;
            }
        }
        world.advance(&mut rng);
        world.inside.clear();
        world.settle(&mut rng);
    }
    for class in Priority::ALL {
        let left = world.waiting.iter().filter(|task| task.class == class).count();
        shares[class as usize][1] = shares[class as usize][0] - left;
    }
    let [critical, normal, bulk] = shares;
    assert_eq!(critical[0], critical[1], "nobody critical is left");
    assert_eq!(normal[0], normal[1], "nor normal");
    assert!(bulk[1] * 2 < bulk[0], "{bulk:?}");
}

#[test]
fn every_shard_that_waits_gets_its_part() {
    let (locals, stats) = (locals(8), StatsRegistry::new(8));
    for max in [1, 2, 5, 8, 9, 30] {
        let mut world = World::new(&locals, &stats, max, 10_000, Duration::from_secs(3600));
        let mut rng = Rng::new(u64::from(max));
        for shard in 0..8 {
            for _ in 0..1000 {
                world.arrive(shard, Priority::Normal);
            }
        }
        for _ in 0..600 {
            for _ in 0..world.inside.len() {
                let at = rng.next_u64() as usize % world.inside.len();
                drop(world.inside.swap_remove(at));
                world.settle(&mut rng);
            }
            world.advance(&mut rng);
        }
        let left = |shard| world.waiting.iter().filter(|t| t.shard == shard).count();
        let served: Vec<usize> = (0..8).map(|shard| 1000 - left(shard)).collect();
        let (least, most) = (served.iter().min().copied(), served.iter().max().copied());
        assert!(least > Some(10), "limit {max}: {served:?}");
        let all: usize = served.iter().sum();
        assert!(most < Some(all / 2), "limit {max}: {served:?}");
        world.inside.clear();
        world.waiting.clear();
    }
}

#[test]
fn a_limit_that_is_taken_away_lets_everybody_in() {
    let (locals, stats) = (locals(2), StatsRegistry::new(2));
    let mut world = World::new(&locals, &stats, 1, 100, Duration::from_secs(3600));
    for shard in [0, 1, 0, 1] {
        world.arrive(shard, Priority::Normal);
    }
    assert_eq!((world.inside.len(), world.waiting.len()), (1, 3));
    world.rule.permits.set_limit(world.rule.permits.next_version(), 4); // for the count in `poll` only
    world.shards.iter().for_each(|(_, gates)| gates.adopt(std::iter::empty()));
    (0..3).for_each(|_| assert!(world.poll(0)));
    assert_eq!((world.inside.len(), world.waiting.len()), (4, 0));
    world.inside.clear();
    assert_eq!(world.rule.permits.used(), 0);
}

#[test]
fn a_full_queue_refuses_and_a_long_wait_ends() {
    let (locals, stats) = (locals(2), StatsRegistry::new(2));
    let mut world = World::new(&locals, &stats, 1, 2, Duration::from_millis(100));
    for shard in [0, 0, 1, 0, 1] {
        world.arrive(shard, Priority::Normal);
    }
    assert_eq!((world.inside.len(), world.waiting.len(), world.refused), (1, 2, 2), "two wait, of all shards together");
    world.arrive(1, Priority::Critical);
    world.settle(&mut Rng::new(3));
    assert_eq!((world.waiting.len(), world.refused), (2, 3), "a higher class takes the place of the last of a lower");
    for _ in 0..16 {
        world.advance(&mut Rng::new(4));
    }
    assert_eq!((world.waiting.len(), world.refused), (0, 5));
    let refusals = stats.shards.iter().map(|s| s.queues.refusals()[Queue::Pool as usize]);
    let sum = refusals.fold([0; 3], |sum, one| std::array::from_fn(|i| sum[i] + one[i]));
    assert_eq!(sum, [2, 2, 1], "full, too long, displaced");
}
