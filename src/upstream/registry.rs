//! Mutable state of pools, endpoints and TLS, keyed by stable ids and living across snapshots.
use super::{
    Permits,
    endpoint_status::{Condition, FULL_SHARE},
    hedge::Lately,
    panic::Passed,
    route_state::{RouteState, Wanted},
};
use crate::observe::stats::RouteStats;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Instant,
};

/// Node-wide state of one endpoint. Shards read and write it without locks.
#[derive(Debug)]
pub struct EndpointState {
    /// `pool/endpoint`, the key in the registry.
    pub key: String,
    /// Dense index for shard-local tables; reused only after the state is gone.
    pub slot: usize,
    /// Connection permits: each one in use is an open or opening connection.
    pub permits: Arc<Permits>,
    /// Bits of [`endpoint_status`](super::endpoint_status): 0 = it may be used. The control thread writes it.
    pub status: AtomicU32,
    /// The share of its weight that it gets, per mille. The control thread writes it.
    pub share_permille: AtomicU32,
    /// Its failures, and what is told of them.
    pub condition: Condition,
}

impl EndpointState {
    fn new(key: String, slot: usize) -> EndpointState {
        EndpointState {
            key,
            slot,
            permits: Arc::new(Permits::new(slot)),
            status: AtomicU32::new(0),
            share_permille: AtomicU32::new(FULL_SHARE),
            condition: Condition::default(),
        }
    }
}

/// Node-wide state of one pool.
#[derive(Debug)]
pub struct PoolState {
    /// The pool's id.
    pub id: Arc<str>,
    /// Dense index for per-shard counter tables.
    pub slot: usize,
    /// What passed while no endpoint was to be used.
    pub(super) passed: Passed,
    /// How fast it answered lately, where a route hedges.
    pub(super) lately: Lately,
}

/// Finds or makes the state of pools and endpoints by key. Used by the control thread when it compiles a snapshot.
#[derive(Debug, Default)]
pub struct Registry {
    /// Certificates, ticket keys and sessions.
    pub tls: crate::tls::Store,
    /// What sticky cookies are signed with where no secret is given.
    sticky: OnceLock<[u8; 32]>,
    /// What the names among the endpoints were last found to mean.
    pub names: super::names::Answers,
    /// What was known of removed endpoints.
    removed: Mutex<super::removed::Removed>,
    endpoints: Mutex<Table<EndpointState>>,
    pools: Mutex<Table<PoolState>>,
    routes: Mutex<Table<RouteState>>,
    permits: Mutex<Table<Permits>>,
    /// One past the highest endpoint slot ever given out.
    endpoint_slots: AtomicUsize,
    /// One past the highest pool slot ever given out.
    pool_slots: AtomicUsize,
}

#[derive(Debug)]
struct Table<T> {
    by_key: HashMap<String, Weak<T>>,
    /// Slot -> who has it; a dead one is free again.
    slots: Vec<Weak<T>>,
    /// Slots that were free at the last sweep and were not given out since.
    free: Vec<usize>,
    /// Sweep when there are this many keys: a sweep costs as much as there are keys, so that it must be rare.
    sweep_at: usize,
}

/// Fewest keys that are worth a sweep.
const SWEEP_AT_MIN: usize = 64;

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { by_key: HashMap::new(), slots: Vec::new(), free: Vec::new(), sweep_at: SWEEP_AT_MIN }
    }
}

impl<T> Table<T> {
    fn get_or_make(&mut self, key: &str, make: impl FnOnce(usize) -> T) -> Arc<T> {
        if let Some(found) = self.by_key.get(key).and_then(Weak::upgrade) {
            return found;
        }
        if self.by_key.len() >= self.sweep_at {
            self.sweep();
        }
        let slot = self.free.pop().unwrap_or(self.slots.len());
        let made = Arc::new(make(slot));
        let weak = Arc::downgrade(&made);
        match self.slots.get_mut(slot) {
            Some(s) => *s = weak.clone(),
            None => self.slots.push(weak.clone()),
        }
        self.by_key.insert(key.to_owned(), weak);
        made
    }

    /// Forgets the dead and frees their slots.
    fn sweep(&mut self) {
        self.by_key.retain(|_, weak| weak.strong_count() > 0);
        self.sweep_at = SWEEP_AT_MIN.max(self.by_key.len() * 2);
        let dead = self.slots.iter().enumerate().rev().filter(|(_, weak)| weak.strong_count() == 0);
        self.free = dead.map(|(slot, _)| slot).collect();
    }
}

/// A poisoned lock means a panic while holding it; the tables hold no invariant that a panic could break.
fn open<T>(m: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Registry {
    /// An empty one.
    pub fn new() -> Registry {
        Registry::default()
    }

    /// A secret by chance, the same as long as the process lives; `None` when there is no randomness.
    pub fn sticky_secret(&self) -> Option<[u8; 32]> {
        if self.sticky.get().is_none() {
            let mut fresh = [0; 32];
            SystemRandom::new().fill(&mut fresh).ok()?;
            return Some(*self.sticky.get_or_init(|| fresh));
        }
        self.sticky.get().copied()
    }

    /// The state of endpoint `endpoint` of pool `pool`.
    pub fn endpoint(&self, pool: &str, endpoint: &str) -> Arc<EndpointState> {
        let key = format!("{pool}/{endpoint}");
        open(&self.endpoints).get_or_make(&key, |slot| {
            self.endpoint_slots.fetch_max(slot + 1, Ordering::Relaxed);
            EndpointState::new(key.clone(), slot)
        })
    }

    /// The permits of the limit `key` on requests in flight.
    pub fn permits(&self, key: &str) -> Arc<Permits> {
        open(&self.permits).get_or_make(key, Permits::new)
    }

    /// `pools` are in force from `now` on: the state of endpoints that are not among them is kept for
    /// [`REMEMBERED`](super::removed::REMEMBERED).
    pub fn keep(&self, pools: &[Arc<super::PoolRule>], now: Instant) {
        open(&self.removed).keep(pools, now);
    }

    /// Forgets removed endpoints whose time is over.
    pub fn reap(&self, now: Instant) {
        open(&self.removed).reap(now);
    }

    /// How many removed endpoints are remembered.
    #[cfg(test)]
    pub(super) fn removed_len(&self) -> usize {
        open(&self.removed).len()
    }

    /// The state of pool `id`.
    pub fn pool(&self, id: &str) -> Arc<PoolState> {
        open(&self.pools).get_or_make(id, |slot| {
            self.pool_slots.fetch_max(slot + 1, Ordering::Relaxed);
            PoolState { id: id.into(), slot, passed: Passed::default(), lately: Lately::default() }
        })
    }

    /// The state of the route that is counted in `stats` with pool `pool`, with what is `wanted` of it.
    pub fn route(&self, stats: &Arc<RouteStats>, pool: &Arc<str>, wanted: Wanted) -> Arc<RouteState> {
        // No id holds a NUL, so no two pairs share a key.
        let key = format!("{}\0{pool}", stats.id);
        let make = |_| RouteState::new(stats.clone(), pool.clone(), wanted);
        let state = open(&self.routes).get_or_make(&key, make);
        state.want(wanted);
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_found_again_while_it_lives_and_slots_are_reused_after() {
        let registry = Registry::new();
        let kept = registry.endpoint("app", "a");
        assert!(Arc::ptr_eq(&kept, &registry.endpoint("app", "a")));
        assert_ne!(kept.slot, registry.endpoint("app", "b").slot);
        for i in 0..100 * SWEEP_AT_MIN {
            registry.endpoint("app", &i.to_string());
        }
        let last = registry.endpoint("app", "last");
        assert!(last.slot <= 2 * SWEEP_AT_MIN, "slot {}", last.slot);
        assert_ne!(kept.slot, last.slot);
    }

    #[test]
    fn no_two_living_share_a_slot() {
        let registry = Registry::new();
        let mut living: Vec<_> = (0..500).map(|i| registry.pool(&format!("old-{i}"))).collect();
        living.retain(|pool| pool.slot % 3 == 0);
        living.extend((0..500).map(|i| registry.pool(&format!("new-{i}"))));
        let slots: std::collections::HashSet<usize> = living.iter().map(|pool| pool.slot).collect();
        assert_eq!(slots.len(), living.len());
    }
}
