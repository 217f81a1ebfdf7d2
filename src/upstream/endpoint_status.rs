//! Whether an endpoint may be used, as shards read it; and why not and since when, as people are told.
//!
//! The control thread decides and publishes; a shard reads one read-mostly word per request. What shards write is rare
//! (a failure) and stands on a cache line of its own.
use super::registry::EndpointState;
use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
};

/// The active health check says that it is down.
pub const UNHEALTHY: u32 = 1;
/// It failed too often, or is far slower than the others of its pool: it is left out for a while.
pub const EJECTED: u32 = 2;
/// The whole of a weight, in [`EndpointState::share_permille`].
pub const FULL_SHARE: u32 = 1000;

/// What shards report of one endpoint's failures. Written when something fails; read by the control thread.
#[derive(Debug, Default)]
#[repr(align(128))] // two lines: neighbours are fetched in pairs
pub(super) struct Trouble {
    /// Failures since the last success, of all shards in the order they reported.
    consecutive: AtomicU32,
    /// The most that `consecutive` has been since the control thread last looked.
    longest: AtomicU32,
    /// All failures ever.
    failures: AtomicU64,
    /// A request succeeded while the endpoint was not to be used.
    proof: AtomicBool,
}

/// Why an endpoint is out, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// Seconds since 1970.
    pub since: u64,
    /// A few words: `5 consecutive failures`, `connection refused`.
    pub reason: String,
    /// Seconds since 1970 when it may be used again without further ado; `None` = when it is found well.
    pub until: Option<u64>,
}

/// What people are told of an endpoint. The control thread writes and reads it; shards never touch it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Why the active check says that it is down.
    pub unhealthy: Option<Why>,
    /// Why it is left out for a while.
    pub ejected: Option<Why>,
    /// How often it was left out.
    pub ejections: u64,
    /// When the state last changed, seconds since 1970; `None` = never.
    pub changed: Option<u64>,
    /// Whether it was ever checked actively.
    pub checked: bool,
    /// How the last active check ended: `200 in 3 ms`, `timeout`.
    pub last_check: String,
}

/// Trouble and what is told of it: what [`EndpointState`] has for this file.
#[derive(Debug, Default)]
pub struct Condition {
    pub(super) trouble: Trouble,
    told: Mutex<Told>,
}

impl EndpointState {
    /// Whether it may be used: neither unhealthy nor left out. One relaxed load.
    #[inline]
    pub fn usable(&self) -> bool {
        self.status.load(Relaxed) == 0
    }

    /// The share of its weight that it gets now, per mille: less than [`FULL_SHARE`] while it starts slowly.
    #[inline]
    pub fn share(&self) -> u32 {
        self.share_permille.load(Relaxed)
    }

    /// An attempt at it failed: a 5xx answer, no connection, TLS, a reset, a timeout. Any shard calls it.
    pub fn failed(&self) {
        let trouble = &self.condition.trouble;
        let run = trouble.consecutive.fetch_add(1, Relaxed).saturating_add(1);
        trouble.longest.fetch_max(run, Relaxed);
        trouble.failures.fetch_add(1, Relaxed);
    }

    /// An attempt at it succeeded. Writes only after a failure, or while it should not have been used.
    #[inline]
    pub fn succeeded(&self) {
        let trouble = &self.condition.trouble;
        if trouble.consecutive.load(Relaxed) != 0 {
            trouble.consecutive.store(0, Relaxed);
        }
        if !self.usable() && !trouble.proof.load(Relaxed) {
            trouble.proof.store(true, Relaxed);
        }
    }

    /// Failures since the last success, of all shards. A load of a line that only failures write.
    #[inline]
    pub fn failures_in_a_row(&self) -> u32 {
        self.condition.trouble.consecutive.load(Relaxed)
    }

    /// The longest run of failures since this was last asked, and all failures ever. For the control thread.
    pub fn take_failures(&self) -> (u32, u64) {
        let trouble = &self.condition.trouble;
        // A run that goes on still counts from its beginning.
        let longest = match trouble.longest.load(Relaxed) {
            0 => 0,
            _ => trouble.longest.swap(0, Relaxed),
        };
        (longest, trouble.failures.load(Relaxed))
    }

    /// Forgets the run of failures: the endpoint gets another chance.
    pub fn forgive(&self) {
        self.condition.trouble.consecutive.store(0, Relaxed);
        self.condition.trouble.longest.store(0, Relaxed);
    }

    /// Whether a request succeeded while the endpoint was not to be used, since this was last asked.
    pub fn take_proof(&self) -> bool {
        let proof = &self.condition.trouble.proof;
        proof.load(Relaxed) && proof.swap(false, Relaxed)
    }

    /// Sets or clears bits of the status that shards see; whether that changed it. For the control thread.
    pub fn set_status(&self, bit: u32, on: bool) -> bool {
        let before = if on { self.status.fetch_or(bit, Relaxed) } else { self.status.fetch_and(!bit, Relaxed) };
        (before & bit != 0) != on
    }

    /// Whether `bit` is set.
    pub fn has_status(&self, bit: u32) -> bool {
        self.status.load(Relaxed) & bit != 0
    }

    /// Publishes the share of its weight, per mille. For the control thread.
    pub fn set_share(&self, permille: u32) {
        if self.share_permille.load(Relaxed) != permille {
            self.share_permille.store(permille, Relaxed);
        }
    }

    /// What people are told.
    pub fn told(&self) -> MutexGuard<'_, Told> {
        // Plain data: nothing in it can be half done.
        self.condition.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Registry;

    #[test]
    fn a_run_of_failures_is_seen_even_if_a_success_ends_it_before_anybody_looks() {
        let state = Registry::new().endpoint("app", "a");
        (0..5).for_each(|_| state.failed());
        state.succeeded();
        state.failed();
        assert_eq!(state.take_failures(), (5, 6));
        assert_eq!(state.take_failures(), (0, 6));
        (0..2).for_each(|_| state.failed());
        assert_eq!(state.take_failures(), (3, 8), "the run began before the last look");
        state.forgive();
        state.failed();
        assert_eq!(state.take_failures(), (1, 9));
    }

    #[test]
    fn bits_are_set_and_cleared_apart_from_each_other() {
        let state = Registry::new().endpoint("app", "a");
        assert!(state.usable() && state.share() == 1000);
        assert!(state.set_status(UNHEALTHY, true) && !state.set_status(UNHEALTHY, true));
        assert!(state.set_status(EJECTED, true) && !state.usable());
        assert!(state.set_status(UNHEALTHY, false) && !state.usable() && state.has_status(EJECTED));
        assert!(state.set_status(EJECTED, false) && state.usable());
    }

    #[test]
    fn a_success_is_a_proof_only_while_the_endpoint_is_out() {
        let state = Registry::new().endpoint("app", "a");
        state.succeeded();
        assert!(!state.take_proof());
        state.set_status(UNHEALTHY, true);
        state.succeeded();
        assert!(state.take_proof() && !state.take_proof());
    }
}
