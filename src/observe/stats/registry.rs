//! Finds the counters of routes, endpoints and listeners by their names.
use super::{
    control::ControlStats, endpoint::EndpointStats, listener::ListenerStats, pool::PoolStats, route::RouteStats,
    shard::ShardStats,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::{Duration, Instant},
};

/// Finds or makes the counters of routes, endpoints and listeners by key. They outlive snapshots, and go with their
/// last user.
#[derive(Debug)]
pub struct StatsRegistry {
    /// One per shard.
    pub shards: Vec<Arc<ShardStats>>,
    /// Of the control and the log thread.
    pub control: ControlStats,
    started: Instant,
    pub(super) routes: Mutex<Table<RouteStats>>,
    endpoints: Mutex<Table<EndpointStats>>,
    listeners: Mutex<Table<ListenerStats>>,
    pools: Mutex<Table<PoolStats>>,
}

#[derive(Debug)]
pub(super) struct Table<T> {
    pub(super) by_key: HashMap<Arc<str>, Weak<T>>,
    /// Dead entries are swept when the table has grown to this: the cost is spread over the insertions between.
    sweep_at: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { by_key: HashMap::new(), sweep_at: 64 }
    }
}

impl<T> Table<T> {
    fn get_or_make(&mut self, key: &str, make: impl FnOnce(Arc<str>) -> T) -> Arc<T> {
        if let Some(found) = self.by_key.get(key).and_then(Weak::upgrade) {
            return found;
        }
        if self.by_key.len() >= self.sweep_at {
            self.by_key.retain(|_, weak| weak.strong_count() > 0);
            self.sweep_at = 64.max(self.by_key.len() * 2);
        }
        let key: Arc<str> = key.into();
        let made = Arc::new(make(key.clone()));
        self.by_key.insert(key, Arc::downgrade(&made));
        made
    }

    /// Everything alive, by key.
    fn alive(&self) -> Vec<Arc<T>> {
        let mut all: Vec<_> = self.by_key.iter().filter_map(|(k, weak)| Some((k, weak.upgrade()?))).collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all.into_iter().map(|(_, arc)| arc).collect()
    }
}

/// A poisoned lock means a panic while holding it; the tables hold no invariant that a panic could break.
pub(super) fn open<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for StatsRegistry {
    /// Without shards: for looking at a configuration that nobody serves.
    fn default() -> Self {
        StatsRegistry::new(0)
    }
}

impl StatsRegistry {
    /// For shards `0..shards`.
    pub fn new(shards: usize) -> StatsRegistry {
        let started = Instant::now();
        StatsRegistry {
            shards: (0..shards).map(|i| Arc::new(ShardStats::new(i, started))).collect(),
            control: ControlStats::default(),
            started,
            routes: Mutex::default(),
            endpoints: Mutex::default(),
            listeners: Mutex::default(),
            pools: Mutex::default(),
        }
    }

    /// The counters of route `id`.
    pub fn route(&self, id: &str) -> Arc<RouteStats> {
        open(&self.routes).get_or_make(id, |id| RouteStats::new(id, self.shards.len()))
    }

    /// The counters of endpoint `endpoint` of pool `pool`.
    pub fn endpoint(&self, pool: &str, endpoint: &str) -> Arc<EndpointStats> {
        // No id holds a NUL, so no two pairs share a key.
        open(&self.endpoints).get_or_make(&format!("{pool}\0{endpoint}"), |_| EndpointStats {
            pool: pool.into(),
            endpoint: endpoint.into(),
            shards: self.shards.iter().map(|_| OnceLock::new()).collect(),
        })
    }

    /// The counters of listener `name`.
    pub fn listener(&self, name: &str) -> Arc<ListenerStats> {
        open(&self.listeners).get_or_make(name, |name| ListenerStats {
            name,
            shards: self.shards.iter().map(|_| OnceLock::new()).collect(),
        })
    }

    /// The counters of pool `id`.
    pub fn pool(&self, id: &str) -> Arc<PoolStats> {
        open(&self.pools).get_or_make(id, PoolStats::new)
    }

    /// QUIC connections of all shards whose handshake is in progress. One read per shard: cheap enough to be asked for
    /// each new connection.
    pub fn quic_half_open(&self) -> i64 {
        self.shards.iter().map(|shard| shard.quic.half_open.get()).sum()
    }

    /// Every route in use, by id.
    pub fn routes(&self) -> Vec<Arc<RouteStats>> {
        open(&self.routes).alive()
    }

    /// Every endpoint in use, by pool and name.
    pub fn endpoints(&self) -> Vec<Arc<EndpointStats>> {
        open(&self.endpoints).alive()
    }

    /// Every listener in use, by name.
    pub fn listeners(&self) -> Vec<Arc<ListenerStats>> {
        open(&self.listeners).alive()
    }

    /// Every pool in use, by name.
    pub fn pools(&self) -> Vec<Arc<PoolStats>> {
        open(&self.pools).alive()
    }

    /// How long the process has been up.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}
