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
