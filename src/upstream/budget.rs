//! A budget of extra requests: a share of what succeeds, and a few to begin with. Node-wide, without a lock.
//!
//! Retries that are a share of successes cannot make an overload worse than by that share: when nothing succeeds, nothing is
//! earned (the token bucket of retries that Finagle's `RetryBudget` describes).
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a budget earns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Tokens for each thousand successes, 0..=1000.
    pub permille: u32,
    /// Tokens that are kept whatever succeeds.
    pub burst: u32,
}

/// One token, in the unit that is counted: what one success earns at one per mille.
pub const TOKEN: u64 = 1000;
/// Successes are looked at again after this, milliseconds.
const REFILL_MS: u64 = 100;
/// Beyond the burst, what is earned within this time is kept, milliseconds: a long quiet time must not end in a storm.
const HOARD_MS: u64 = 1000;

/// Tokens that shards take, and that successes earn.
///
/// In any run, no more tokens are taken than the first ones and `permille` of the successes since: a success is counted
/// once, whoever looks at it.
#[derive(Debug)]
pub struct Budget {
    /// Tokens left, in thousandths.
    left: AtomicU64,
    /// Successes that earned something already.
    seen: AtomicU64,
    /// When successes were last looked at, milliseconds of the node's clock.
    looked_ms: AtomicU64,
}

impl Budget {
    /// A budget of `first` tokens; of the successes, `seen` are past and earn nothing.
    pub fn new(first: u32, seen: u64, now_ms: u64) -> Budget {
        Budget {
            left: AtomicU64::new(u64::from(first) * TOKEN),
            seen: AtomicU64::new(seen),
            looked_ms: AtomicU64::new(now_ms),
        }
    }

    /// Takes a token, if there is one. `successes` counts all there ever were; it is asked a few times a second.
    pub fn take(&self, share: Share, now_ms: u64, successes: impl FnOnce() -> u64) -> bool {
        self.refill(share, now_ms, successes);
        let mut left = self.left.load(Relaxed);
        while let Some(less) = left.checked_sub(TOKEN) {
            match self.left.compare_exchange_weak(left, less, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(other) => left = other,
            }
        }
        false
    }

    /// Adds what was earned since the last look, if that is long enough ago.
    pub fn refill(&self, share: Share, now_ms: u64, successes: impl FnOnce() -> u64) {
        let looked = self.looked_ms.load(Relaxed);
        let since = now_ms.saturating_sub(looked);
        // One shard looks; the others go on with what there is.
        if since < REFILL_MS || self.looked_ms.compare_exchange(looked, now_ms, Relaxed, Relaxed).is_err() {
            return;
        }
        let now = successes();
        // The highest count wins: a shard that was late with a lower one earns nothing twice.
        let earned = now.saturating_sub(self.seen.fetch_max(now, Relaxed)).saturating_mul(u64::from(share.permille));
        let hoard = u128::from(earned) * u128::from(HOARD_MS) / u128::from(since);
        let most = (u64::from(share.burst) * TOKEN).saturating_add(u64::try_from(hoard).unwrap_or(u64::MAX));
        let add = |left: u64| Some(left.saturating_add(earned).min(most));
        let _ = self.left.fetch_update(Relaxed, Relaxed, add);
    }

    /// Tokens left.
    pub fn tokens(&self) -> u64 {
        self.left.load(Relaxed) / TOKEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::balance::Rng;
    use std::sync::atomic::AtomicBool;

    const TENTH: Share = Share { permille: 100, burst: 10 };

    /// Takes until there is none; answers how many.
    fn drained(budget: &Budget, share: Share, now_ms: u64, successes: u64) -> usize {
        std::iter::repeat_with(|| budget.take(share, now_ms, || successes))
            .take_while(|taken| *taken)
            .take(100_000)
            .count()
    }

    #[test]
    fn without_successes_there_is_the_burst_and_no_more() {
        let budget = Budget::new(10, 500, 0);
        assert_eq!(drained(&budget, TENTH, 1, 500), 10);
        assert_eq!(drained(&budget, TENTH, 3_600_000, 500), 0);
    }

    #[test]
    fn a_tenth_of_successes_is_earned() {
        let budget = Budget::new(10, 0, 0);
        assert_eq!(drained(&budget, TENTH, 1, 0), 10);
        // 1,000 requests a second, for ten seconds
        let taken: usize = (1..=100).map(|tick| drained(&budget, TENTH, tick * 100, tick * 100)).sum();
        assert_eq!(taken, 1000);
    }

    #[test]
    fn a_long_quiet_time_is_not_saved_up() {
        let budget = Budget::new(10, 0, 0);
        let hour = 3_600_000;
        // 100 a second for an hour: of the 36,000 tokens, those of the last second are there
        assert_eq!(drained(&budget, TENTH, hour, 360_000), 10 + 10);
        // what was there goes when nothing succeeds any more
        let busy = Budget::new(10, 0, 0);
        busy.refill(TENTH, 1000, || 10_000);
        assert_eq!(busy.tokens(), 10 + 1000);
        busy.refill(TENTH, 1100, || 10_000);
        assert_eq!(busy.tokens(), 10);
    }

    #[test]
    fn a_share_that_changes_holds_from_then_on() {
        let budget = Budget::new(10, 0, 0);
        assert_eq!(drained(&budget, Share { permille: 0, burst: 3 }, 100, 1_000), 3, "the burst became smaller");
        assert_eq!(drained(&budget, Share { permille: 1000, burst: 3 }, 200, 1_005), 5);
    }

    /// Several shards with clocks and counters that are seen late: whatever they do, the sum holds.
    #[test]
    fn in_no_run_is_the_budget_exceeded() {
        for seed in 0..3000 {
            let mut rng = Rng::new(seed * 7919 + 1);
            let mut below = |n: u64| rng.next_u64() % n;
            let share = Share { permille: below(1001) as u32, burst: below(30) as u32 };
            let began = below(1_000_000);
            let budget = Budget::new(share.burst, began, 0);
            let (mut now, mut successes, mut taken) = (0, began, 0);
            for _ in 0..200 {
                now += below(300);
                successes += below(60);
                // A shard may have read the clock and the counters a while ago.
                let (seen_at, seen) = (now.saturating_sub(below(150)), successes.saturating_sub(below(40)).max(began));
                for _ in 0..below(20) {
                    taken += u64::from(budget.take(share, seen_at, || seen));
                }
                let most = u64::from(share.burst) * TOKEN + (successes - began) * u64::from(share.permille);
                assert!(taken * TOKEN <= most, "seed {seed}: {taken} of {most} thousandths");
            }
        }
    }

    /// The same with real threads, which also find everything that there is.
    #[test]
    fn threads_share_it_exactly() {
        let budget = Budget::new(10, 0, 0);
        let (successes, over) = (AtomicU64::new(0), AtomicBool::new(false));
        let taken: u64 = std::thread::scope(|scope| {
            let shard = || {
                let (mut taken, mut now) = (0, 0);
                while !over.load(Relaxed) {
                    now = successes.load(Relaxed).max(now);
                    taken += u64::from(budget.take(TENTH, now, || successes.load(Relaxed)));
                }
                taken
            };
            let shards: Vec<_> = (0..4).map(|_| scope.spawn(shard)).collect();
            for _ in 0..20_000 {
                successes.fetch_add(1, Relaxed);
                std::hint::spin_loop();
            }
            over.store(true, Relaxed);
            shards.into_iter().map(|shard| shard.join().unwrap()).sum()
        });
        let left = drained(&budget, TENTH, 1_000_000, 20_000) as u64;
        assert!((10..=10 + 2000).contains(&(taken + left)), "{taken} and {left}");
    }
}
