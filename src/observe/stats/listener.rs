//! What is counted of a listener.
use super::{
    counter::{Counter, Gauge},
    route::{PROTOCOLS, protocol},
};
use edge_io::head::Version;
use std::sync::{Arc, OnceLock};

/// What one shard counts of one listener.
#[derive(Debug, Default)]
pub struct ListenerShard {
    /// Connections accepted.
    pub accepts: Counter,
    /// Open connections by protocol, in the order of `PROTOCOLS`.
    connections: [Gauge; PROTOCOLS.len()],
}

impl ListenerShard {
    /// The level of open connections that speak `version`.
    #[inline]
    pub fn connections(&self, version: Version) -> &Gauge {
        &self.connections[protocol(version)]
    }
}

/// What all shards count of one listener.
#[derive(Debug)]
pub struct ListenerStats {
    /// The listener's name: the label.
    pub name: Arc<str>,
    pub(super) shards: Box<[OnceLock<Box<ListenerShard>>]>,
}

impl ListenerStats {
    /// The counters of shard `shard`, made at its first call. Only that shard writes to them.
    ///
    /// # Panics
    /// When there is no such shard.
    #[inline]
    pub fn shard(&self, shard: usize) -> &ListenerShard {
        self.shards[shard].get_or_init(Box::default)
    }

    /// Connections accepted by all shards.
    pub fn accepts(&self) -> u64 {
        self.used().map(|s| s.accepts.get()).sum()
    }

    /// Open connections of all shards by protocol, in the order of `PROTOCOLS`.
    pub fn connections(&self) -> [i64; PROTOCOLS.len()] {
        std::array::from_fn(|p| self.used().map(|s| s.connections[p].get()).sum())
    }

    fn used(&self) -> impl Iterator<Item = &ListenerShard> {
        self.shards.iter().filter_map(OnceLock::get).map(|b| &**b)
    }
}
