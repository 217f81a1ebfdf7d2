//! What is counted of the names of endpoints. The control thread writes it.
use super::{counter::Counter, registry::open};
use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex},
    time::Instant,
};

/// How looking up a name ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DnsResult {
    /// With an answer.
    Answered,
    /// There is no such name, or it has no address.
    NoSuchName,
    /// No server answered in time.
    Timeout,
    /// A server said that it cannot tell.
    Refused,
    /// No server could be asked.
    Failed,
}

/// Results as metric labels, in the order of their discriminants.
pub const DNS_RESULTS: [&str; 5] = ["answered", "no_such_name", "timeout", "refused", "failed"];

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameStats {
    /// The name.
    pub name: Arc<str>,
    /// Its addresses.
    pub addresses: usize,
    /// When the last good answer came.
    pub answered: Option<Instant>,
}

/// What is counted of names.
#[derive(Debug, Default)]
pub struct DnsStats {
    results: [Counter; DNS_RESULTS.len()],
    /// Times that the shards adopted other addresses.
    pub adopted: Counter,
    names: Mutex<BTreeMap<Arc<str>, NameStats>>,
}

impl DnsStats {
    /// Counts that a name was looked up.
    pub fn resolved(&self, result: DnsResult) {
        self.results[result as usize].inc();
    }

    /// How often by result, in the order of [`DNS_RESULTS`].
    pub fn results(&self) -> [u64; DNS_RESULTS.len()] {
        std::array::from_fn(|i| self.results[i].get())
    }

    /// Says what is known of a name.
    pub fn set(&self, stats: NameStats) {
        open(&self.names).insert(stats.name.clone(), stats);
    }

    /// Forgets all names but these.
    pub fn retain(&self, names: &HashSet<Arc<str>>) {
        open(&self.names).retain(|name, _| names.contains(name));
    }

    /// All names, in the order of the alphabet.
    pub fn names(&self) -> Vec<NameStats> {
        open(&self.names).values().cloned().collect()
    }
}
