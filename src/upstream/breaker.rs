//! A circuit breaker: when too much of what a route asks of its pool fails, the rest is refused for a while.
//!
//! Closed → open, when `errors` of the last `window` failed; open → half open after `open`; half open → closed or open, when
//! `probes` requests were let through and are answered (Nygard, Release It!). Control decides, shards read a word. Only
//! probes write it.
use super::route_state::RouteState;
use crate::observe::stats::CIRCUIT_STATES;
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// `breaker` of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRule {
    /// The circuit opens when this many of a thousand failed, 1..=1000.
    pub errors_permille: u32,
    /// Fewer requests in the window say nothing.
    pub min_requests: u32,
    /// How far back failures count.
    pub window: Duration,
    /// How long the circuit stays open.
    pub open: Duration,
    /// Requests that are let through to see whether it is over, 1..=`PROBES_MAX`.
    pub probes: u32,
}

/// Most probes.
pub const PROBES_MAX: u32 = 1000;

impl BreakerRule {
    /// Whether `failed` of `all` are too many.
    fn is_too_much(&self, failed: u64, all: u64) -> bool {
        failed > 0 && u128::from(failed) * 1000 >= u128::from(all) * u128::from(self.errors_permille)
    }
}

/// What a request finds.
#[derive(Debug)]
pub enum Circuit {
    /// It may pass.
    Closed,
    /// It may pass, and what becomes of it decides what becomes of the circuit.
    Probe(Probe),
    /// It may not.
    Open,
}

/// Where a circuit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CircuitState {
    /// All pass.
    Closed = 0,
    /// None passes.
    Open = 1,
    /// Probes pass.
    HalfOpen = 2,
}

impl CircuitState {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        CIRCUIT_STATES[self as usize]
    }
}

/// The published word: state, and of the half-open state how many probes were let through and how they ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word {
    /// Counts changes of state: what began before one says nothing after it.
    turn: u32,
    state: CircuitState,
    issued: u32,
    passed: u32,
    failed: u32,
}

const COUNT_BITS: u32 = 10;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const _: () = assert!(PROBES_MAX as u64 <= COUNT_MASK && 3 * COUNT_BITS + 2 == 32);

impl Word {
    fn new(turn: u32, state: CircuitState) -> Word {
        Word { turn, state, issued: 0, passed: 0, failed: 0 }
    }

    fn pack(self) -> u64 {
        let counts = [self.issued, self.passed, self.failed].into_iter();
        let counts = counts.fold(0, |all, n| all << COUNT_BITS | u64::from(n) & COUNT_MASK);
        u64::from(self.turn) << 32 | (self.state as u64) << (3 * COUNT_BITS) | counts
    }

    fn unpack(word: u64) -> Word {
        let count = |nth: u32| (word >> (nth * COUNT_BITS) & COUNT_MASK) as u32;
        let state = match word >> (3 * COUNT_BITS) & 3 {
            1 => CircuitState::Open,
            2 => CircuitState::HalfOpen,
            _ => CircuitState::Closed,
        };
        Word { turn: (word >> 32) as u32, state, issued: count(2), passed: count(1), failed: count(0) }
    }
}

/// What one shard counts for a breaker; on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counts {
    passed: AtomicU64,
    failed: AtomicU64,
}

/// The circuit of one route and pool.
#[derive(Debug)]
pub struct Breaker {
    /// Read by each request, written when something changes.
    word: AtomicU64,
    /// By shard; only that shard writes.
    counts: Box<[Counts]>,
    /// Control's alone.
    judge: Mutex<Judge>,
}

impl Breaker {
    /// A closed one, for shards `0..shards`.
    pub fn new(shards: usize) -> Breaker {
        Breaker {
            word: AtomicU64::new(Word::new(0, CircuitState::Closed).pack()),
            counts: (0..shards).map(|_| Counts::default()).collect(),
            judge: Mutex::default(),
        }
    }

    fn load(&self) -> Word {
        Word::unpack(self.word.load(Relaxed))
    }

    /// Where it stands.
    pub fn state(&self) -> CircuitState {
        self.load().state
    }

    /// Whether a request may pass; `Err` where it may not. A probe is told the turn it belongs to.
    fn enter(&self, rule: &BreakerRule) -> Result<Option<u32>, ()> {
        let mut word = self.load();
        loop {
            match word.state {
                CircuitState::Closed => return Ok(None),
                CircuitState::Open => return Err(()),
                CircuitState::HalfOpen if word.issued >= rule.probes => return Err(()),
                CircuitState::HalfOpen => {}
            }
            match self.swap(word, Word { issued: word.issued + 1, ..word }) {
                Ok(()) => return Ok(Some(word.turn)),
                Err(other) => word = other,
            }
        }
    }

    /// Notes how a probe of `turn` ended: whether it failed, or `None` when nobody knows. Its place goes to another one then.
    fn leave(&self, turn: u32, failed: Option<bool>) {
        let mut word = self.load();
        while word.turn == turn && word.state == CircuitState::HalfOpen {
            let next = match failed {
                Some(true) => Word { failed: word.failed + 1, ..word },
                Some(false) => Word { passed: word.passed + 1, ..word },
                None => Word { issued: word.issued.saturating_sub(1), ..word },
            };
            match self.swap(word, next) {
                Ok(()) => return,
                Err(other) => word = other,
            }
        }
    }

    fn swap(&self, from: Word, to: Word) -> Result<(), Word> {
        let swapped = self.word.compare_exchange_weak(from.pack(), to.pack(), Relaxed, Relaxed);
        swapped.map(|_| ()).map_err(Word::unpack)
    }

    /// Counts an answer, or a failure, of the pool.
    pub fn count(&self, shard: usize, failed: bool) {
        if let Some(counts) = self.counts.get(shard) {
            let counter = if failed { &counts.failed } else { &counts.passed };
            counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }

    fn totals(&self) -> Totals {
        let sum = |of: fn(&Counts) -> &AtomicU64| self.counts.iter().map(|c| of(c).load(Relaxed)).sum();
        Totals { passed: sum(|c| &c.passed), failed: sum(|c| &c.failed) }
    }

    /// Decides, ten times a second, from one thread. Answers the new state when it changed.
    pub fn tick(&self, rule: &BreakerRule, now_us: u64) -> Option<CircuitState> {
        let mut judge = self.judge.lock().unwrap_or_else(PoisonError::into_inner);
        let word = self.load();
        let next = judge.tick(rule, now_us, word, self.totals())?;
        // Whatever a probe adds at this very moment belongs to the turn that ends.
        self.word.store(Word::new(word.turn.wrapping_add(1), next).pack(), Relaxed);
        Some(next)
    }
}

/// What all shards counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    passed: u64,
    failed: u64,
}

/// Steps that a window is kept in.
const STEPS: u32 = 20;

/// Decides when a circuit changes. Time is an argument.
#[derive(Debug, Default)]
struct Judge {
    /// When the state began.
    since_us: u64,
    /// What was counted at earlier times, oldest first: at most `STEPS` + 1 of them.
    past: VecDeque<(u64, Totals)>,
}

impl Judge {
    fn tick(&mut self, rule: &BreakerRule, now_us: u64, word: Word, totals: Totals) -> Option<CircuitState> {
        let next = match word.state {
            CircuitState::Closed => self.look_back(rule, now_us, totals).then_some(CircuitState::Open),
            CircuitState::Open => {
                (now_us.saturating_sub(self.since_us) >= micros(rule.open)).then_some(CircuitState::HalfOpen)
            }
            CircuitState::HalfOpen => of_probes(rule, word),
        };
        if next.is_some() {
            self.since_us = now_us;
            self.past.clear(); // what led here is not held against the next state
        }
        next
    }

    /// Whether too much failed within the window.
    fn look_back(&mut self, rule: &BreakerRule, now_us: u64, totals: Totals) -> bool {
        let window = micros(rule.window);
        let step = window / u64::from(STEPS);
        if self.past.back().is_none_or(|(at, _)| now_us.saturating_sub(*at) >= step) {
            self.past.push_back((now_us, totals));
        }
        while self.past.len() > STEPS as usize + 1
            || self.past.front().is_some_and(|(at, _)| now_us.saturating_sub(*at) > window)
        {
            self.past.pop_front();
        }
        let (_, first) = self.past.front().copied().unwrap_or((now_us, totals));
        let failed = totals.failed.wrapping_sub(first.failed);
        let all = failed.saturating_add(totals.passed.wrapping_sub(first.passed));
        all >= u64::from(rule.min_requests) && rule.is_too_much(failed, all)
    }
}

/// What the probes say: open again as soon as too many failed, closed when all are through.
fn of_probes(rule: &BreakerRule, word: Word) -> Option<CircuitState> {
    if rule.is_too_much(word.failed.into(), rule.probes.into()) {
        return Some(CircuitState::Open);
    }
    (word.passed + word.failed >= rule.probes).then_some(CircuitState::Closed)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A request that was let through to see whether it is over. Dropped without a word, its place goes to another one.
#[derive(Debug)]
pub struct Probe {
    route: Arc<RouteState>,
    turn: u32,
    told: bool,
}

impl Probe {
    /// The pool answered, or failed.
    pub fn done(mut self, failed: bool) {
        self.told = true;
        if let Some(breaker) = self.route.breaker() {
            breaker.leave(self.turn, Some(failed));
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if !self.told
            && let Some(breaker) = self.route.breaker()
        {
            breaker.leave(self.turn, None);
        }
    }
}

/// Asks the circuit of `route`, if it has one.
pub(super) fn ask(route: &Arc<RouteState>, rule: &BreakerRule) -> Circuit {
    match route.breaker().map_or(Ok(None), |breaker| breaker.enter(rule)) {
        Ok(None) => Circuit::Closed,
        Ok(Some(turn)) => Circuit::Probe(Probe { route: route.clone(), turn, told: false }),
        Err(()) => Circuit::Open,
    }
}

#[cfg(test)]
mod tests;
