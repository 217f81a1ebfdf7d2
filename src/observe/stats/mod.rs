//! Counters: one writer (a shard) each, read by the control thread at scrape.
//!
//! A count is a relaxed load and a relaxed store, no read-modify-write: exact, because nobody else writes it. What is
//! counted per route or endpoint is allocated by each shard at its first use, so that 30,000 idle routes cost little
//! and no two shards write to one cache line.
mod control;
mod counter;
mod dns;
mod endpoint;
mod listener;
mod pool;
mod queue;
mod quic;
mod registry;
mod route;
mod shard;
mod shared;
mod tls;

pub use control::{APPLY_RESULTS, ApplyResult, ControlStats};
pub use counter::{BOUNDS_US, BUCKETS, Counter, Gauge, Histogram, HistogramTotal};
pub use dns::{DNS_RESULTS, DnsResult, DnsStats, NameStats};
pub use endpoint::{EndpointShard, EndpointStats, EndpointTotal};
pub use listener::{ListenerShard, ListenerStats};
pub use pool::{CHECK_RESULTS, CheckResult, EJECTIONS, ENDPOINT_STATES, PoolStats, PoolTotal};
pub use queue::{QUEUES, Queue, QueueStats, REFUSALS, Refusal};
pub use quic::{DIRECTIONS, DROPPED, Direction, Dropped, EARLY_DATA, EarlyData, HTTP3_CODES, QuicStats};
pub use registry::StatsRegistry;
pub use route::{CLASSES, METHODS, PROTOCOLS, RETRY_OUTCOMES, RetryOutcome, RouteShard, RouteStats, RouteTotal};
pub use shard::{Driver, LIMITS, Limit, ShardStats};
pub use shared::{CIRCUIT_STATES, HEDGE_OUTCOMES, HedgeOutcome};
pub use tls::{Handshake, HandshakeResult, Handshakes, TLS_GROUPS, TLS_RESULTS, TLS_VERSIONS, TRANSPORTS};

const CATEGORIES: usize = crate::message::Category::ALL.len();

#[cfg(test)]
mod tests;
