//! What a pool does when none of its endpoints may be used: now and then a request passes all the same, for it may show
//! that one of them is well again.
use super::registry::PoolState;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Between two requests that pass.
pub const TRICKLE_US: u64 = 1_000_000;

/// What happens to requests while no endpoint may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Panic {
    /// One a second passes, the others are told 503: a pool that is down is not also flooded.
    #[default]
    Trickle,
    /// All pass, as if every endpoint were well: the checks are believed less than the endpoints.
    Spread,
}

/// What [`PoolState`] has for this file. Touched only while no endpoint may be used.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Passed {
    /// When the next one may pass.
    next_us: AtomicU64,
    /// How many have passed.
    total: AtomicU64,
}

impl PoolState {
    /// Whether this request may pass although no endpoint may be used: at most one a second of all shards together.
    /// `now_us` is [`edge_io::clock::monotonic_us`], which is the same on all of them.
    pub fn trickle(&self, now_us: u64) -> bool {
        let next = self.passed.next_us.load(Relaxed);
        let mine =
            now_us >= next && self.passed.next_us.compare_exchange(next, now_us + TRICKLE_US, Relaxed, Relaxed).is_ok();
        if mine {
            self.passed.total.fetch_add(1, Relaxed);
        }
        mine
    }

    /// The same by the pool's rule.
    pub fn fail_open(&self, panic: Panic, now_us: u64) -> bool {
        match panic {
            Panic::Trickle => self.trickle(now_us),
            Panic::Spread => {
                self.passed.total.fetch_add(1, Relaxed);
                true
            }
        }
    }

    /// Requests that passed although no endpoint was to be used.
    pub fn failed_open(&self) -> u64 {
        self.passed.total.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Registry;
    use std::sync::{Arc, Barrier, atomic::AtomicUsize};

    #[test]
    fn one_a_second_passes_however_many_ask() {
        let pool = Registry::new().pool("app");
        let passed: Vec<u64> = (0..10_000).map(|i| i * 500).filter(|now| pool.trickle(*now)).collect();
        assert_eq!(passed, [0, 1_000_000, 2_000_000, 3_000_000, 4_000_000]);
        assert_eq!(pool.failed_open(), 5);
        assert!((0..3).all(|_| pool.fail_open(Panic::Spread, 0)));
        assert_eq!(pool.failed_open(), 8);
    }

    #[test]
    fn of_many_threads_at_the_same_instant_one_passes() {
        let pool = Registry::new().pool("app");
        for second in 1..200 {
            let (passed, start) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(4)));
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    let (pool, passed, start) = (pool.clone(), passed.clone(), start.clone());
                    scope.spawn(move || {
                        start.wait();
                        if pool.trickle(second * TRICKLE_US) {
                            passed.fetch_add(1, Relaxed);
                        }
                    });
                }
            });
            assert_eq!(passed.load(Relaxed), 1);
        }
    }
}
