//! Who waits for whom: capacity, places, and stalls, as times on paper.
//!
//! A request's delay is known when it comes, so when it will be answered is too: nothing has to be kept per request but
//! when those begin that still wait.
use super::{Rate, Script, Stalls};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::{Mutex, PoisonError},
};

/// The queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// First come, first served: `capacity` says how often a request begins, `concurrency` how many are under way.
#[derive(Debug)]
pub struct Gate {
    /// Between two that begin, ns.
    interval_ns: u64,
    /// When the next one may begin, ns.
    next_ns: u64,
    /// When each place is free, ns; none: there are places for all.
    places: BinaryHeap<Reverse<u64>>,
    /// When those begin that have not, ns, ascending.
    waiting: VecDeque<u64>,
    queue: usize,
}

impl Gate {
    /// One that lets pass `capacity` requests a second, `concurrency` (0: any number) at a time, and has `queue` wait.
    pub fn new(capacity: Option<Rate>, concurrency: usize, queue: usize) -> Gate {
        Gate {
            interval_ns: capacity.map_or(0, |rate| (1e9 / rate.per_second()).round() as u64),
            next_ns: 0,
            places: (0..concurrency).map(|_| Reverse(0)).collect(),
            waiting: VecDeque::new(),
            queue,
        }
    }

    /// A request comes at `now_ns` and will take `takes_ns`: when it is answered, ns.
    ///
    /// # Errors
    /// Too many wait already.
    pub fn admit(&mut self, now_ns: u64, takes_ns: u64) -> Result<u64, Full> {
        while self.waiting.front().is_some_and(|begins| *begins <= now_ns) {
            self.waiting.pop_front();
        }
        let free = self.places.peek().map_or(0, |Reverse(free)| *free);
        let begins = now_ns.max(self.next_ns).max(free);
        if begins > now_ns {
            if self.waiting.len() >= self.queue {
                return Err(Full);
            }
            self.waiting.push_back(begins);
        }
        self.next_ns = begins.saturating_add(self.interval_ns);
        let done = begins.saturating_add(takes_ns);
        if self.places.pop().is_some() {
            self.places.push(Reverse(done));
        }
        Ok(done)
    }
}

/// When answers go out: the gate and the stalls of a whole origin, which its threads share.
#[derive(Debug)]
pub struct Pace {
    stalls: Stalls,
    gate: Option<Mutex<Gate>>,
}

impl Pace {
    /// That of `script`.
    pub fn new(script: &Script) -> Pace {
        let places = script.concurrency.map_or(0, usize::from);
        let gate = || Mutex::new(Gate::new(script.capacity, places, script.queue));
        let gated = script.capacity.is_some() || script.concurrency.is_some();
        Pace { stalls: script.stalls.clone(), gate: gated.then(gate) }
    }

    /// A request is complete at `now`, and takes `takes`: when it is answered. All µs since the origin's start.
    ///
    /// # Errors
    /// Too many wait already.
    pub fn due(&self, now: u64, takes: u64) -> Result<u64, Full> {
        if self.gate.is_none() && self.stalls.is_empty() {
            return Ok(now.saturating_add(takes));
        }
        let mut done = self.stalls.working(now).saturating_add(takes);
        if let Some(gate) = &self.gate {
            // A gate is whole between any two steps: a panic elsewhere says nothing about it.
            let mut gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
            done = gate.admit((done - takes).saturating_mul(1000), takes.saturating_mul(1000))?.div_ceil(1000);
        }
        Ok(self.stalls.real(done))
    }

    /// When what is due at `at` may go out, µs.
    pub fn release(&self, at: u64) -> u64 {
        self.stalls.release(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::script::Random;
    use std::{num::NonZeroUsize, time::Duration};

    const SECOND: u64 = 1_000_000;

    #[test]
    fn capacity_is_kept_however_fast_requests_come() {
        let script = Script { capacity: Rate::new(5000.0), queue: 1_000_000, ..Script::default() };
        let pace = Pace::new(&script);
        // 8,000 a second come for 10 s: 5,000 a second are answered.
        let done: Vec<u64> = (0..80_000).map(|n| pace.due(n * 125, 0).unwrap()).collect();
        let in_time = done.iter().filter(|at| **at < 10 * SECOND).count();
        assert!((49_950..=50_050).contains(&in_time), "{in_time}");
        assert!(done.is_sorted());
    }

    #[test]
    fn below_capacity_only_those_that_come_together_wait() {
        let pace = Pace::new(&Script { capacity: Rate::new(1000.0), ..Script::default() });
        assert!((0..1000).all(|n| pace.due(n * 1000, 0) == Ok(n * 1000)));
        let now = 5 * SECOND;
        assert_eq!(
            [pace.due(now, 7), pace.due(now, 7), pace.due(now + 1, 0)],
            [Ok(now + 7), Ok(now + 1007), Ok(now + 2000)]
        );
    }

    #[test]
    fn places_are_taken_and_given_back() {
        let concurrency = NonZeroUsize::new(2);
        let pace = Pace::new(&Script { concurrency, queue: 2, ..Script::default() });
        let ten = 10_000;
        assert_eq!([pace.due(0, ten), pace.due(0, ten), pace.due(0, ten)], [Ok(ten), Ok(ten), Ok(2 * ten)]);
        assert_eq!([pace.due(5, ten), pace.due(5, ten)], [Ok(2 * ten), Err(Full)]);
        // Two places of 10 ms are 200 a second.
        assert_eq!([pace.due(ten, 0), pace.due(ten, 5)], [Ok(2 * ten), Ok(2 * ten + 5)]);
        let pace = Pace::new(&Script { concurrency, queue: 100_000, ..Script::default() });
        let mut random = Random::new(1);
        let last = (0..10_000).map(|_| pace.due(0, random.between(5_000, 15_000)).unwrap()).max().unwrap();
        assert!((49 * SECOND..51 * SECOND).contains(&last), "{last}");
    }

    #[test]
    fn a_stall_stops_the_gate_too() {
        let one = Duration::from_secs(1);
        let stalls = Stalls::default().at(one, one).unwrap();
        let pace = Pace::new(&Script { capacity: Rate::new(1000.0), stalls, ..Script::default() });
        assert_eq!(pace.due(SECOND - 500, 0), Ok(SECOND - 500));
        // 100 come in the stall: they are answered behind it, one a millisecond, the first half a millisecond late.
        let done: Vec<u64> = (0..100).map(|n| pace.due(SECOND + n * 10_000, 0).unwrap()).collect();
        assert!(done.iter().zip(0..).all(|(at, n)| *at == 2 * SECOND + 500 + n * 1000), "{done:?}");
        assert_eq!(pace.release(SECOND + 5), 2 * SECOND);
    }

    #[test]
    fn a_capacity_of_next_to_nothing_is_one_request() {
        let pace = Pace::new(&Script { capacity: Rate::new(1e-12), queue: 10, ..Script::default() });
        assert_eq!(pace.due(5, 0), Ok(5));
        assert!((0..3).all(|_| pace.due(6, 0).is_ok_and(|at| at > 1000 * 365 * 86_400 * SECOND / 10)));
    }
}
