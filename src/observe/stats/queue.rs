//! What is counted of requests that wait for something scarce, and of those that are refused for it.
use super::{
    counter::{Counter, Gauge, Histogram},
    shard::Limit,
};
use crate::message::Priority;

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Queue {
    /// A connection to an endpoint (`max_connections`).
    Connection,
    /// A pool's `max_inflight`.
    Pool,
    /// An endpoint's `max_inflight`.
    Endpoint,
    /// A route's `max_inflight`, which its policy sets.
    Route,
}

impl Queue {
    /// The limit that makes requests wait here.
    pub const fn limit(self) -> Limit {
        match self {
            Queue::Connection => Limit::PoolConnections,
            Queue::Pool => Limit::PoolInflight,
            Queue::Endpoint => Limit::EndpointInflight,
            Queue::Route => Limit::RouteInflight,
        }
    }
}

/// Queues as metric labels, in the order of their discriminants.
pub const QUEUES: [&str; 4] = ["connection", "pool", "endpoint", "route"];

/// Why a request was refused with `overloaded`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// The queue was full.
    Full,
    /// It waited too long.
    TooLong,
    /// A request of a higher priority took its place in a full queue.
    Displaced,
}

/// Refusals as metric labels, in the order of their discriminants.
pub const REFUSALS: [&str; 3] = ["queue_full", "queue_timeout", "displaced"];

/// What one shard counts of its queues. Only that shard writes.
#[derive(Debug, Default)]
pub struct QueueStats {
    depth: [Gauge; QUEUES.len()],
    waits: [Histogram; QUEUES.len()],
    refused: [[Counter; REFUSALS.len()]; QUEUES.len()],
    shed: [Counter; Priority::ALL.len()],
    /// Per mille: of bulk up to 1000, of normal what is beyond.
    shedding: Gauge,
}

impl QueueStats {
    /// A request waits.
    pub fn entered(&self, queue: Queue) {
        self.depth[queue as usize].inc();
    }

    /// It does not wait any more, however its wait of `waited_us` ended.
    pub fn left(&self, queue: Queue, waited_us: u64) {
        self.depth[queue as usize].dec();
        self.waits[queue as usize].observe(waited_us);
    }

    /// A request was refused.
    pub fn refused(&self, queue: Queue, why: Refusal) {
        self.refused[queue as usize][why as usize].inc();
    }

    /// A request was refused because the shard protects itself.
    pub fn shed(&self, class: Priority) {
        self.shed[class as usize].inc();
    }

    /// Says how much is refused now, per mille: of bulk up to 1000, of normal what is beyond.
    pub fn set_shedding(&self, permille: u32) {
        self.shedding.set(i64::from(permille));
    }

    /// The share of each class that is refused now, in the order of `Priority::ALL`.
    pub fn shedding(&self) -> [f64; Priority::ALL.len()] {
        let permille = self.shedding.get();
        [0, (permille - 1000).max(0), permille.min(1000)].map(|share| share as f64 / 1000.0)
    }

    /// How many wait, in the order of `QUEUES`.
    pub fn depths(&self) -> [i64; QUEUES.len()] {
        std::array::from_fn(|i| self.depth[i].get())
    }

    /// How long they waited, in the order of `QUEUES`.
    pub fn waits(&self) -> &[Histogram; QUEUES.len()] {
        &self.waits
    }

    /// Refusals by queue and reason, in the order of `QUEUES` and `REFUSALS`.
    pub fn refusals(&self) -> [[u64; REFUSALS.len()]; QUEUES.len()] {
        std::array::from_fn(|q| std::array::from_fn(|why| self.refused[q][why].get()))
    }

    /// Requests shed, by class, in the order of `Priority::ALL`.
    pub fn sheds(&self) -> [u64; Priority::ALL.len()] {
        std::array::from_fn(|i| self.shed[i].get())
    }
}
