//! What a shard counts of itself.
use super::{
    counter::{Counter, Gauge, Histogram},
    queue::QueueStats,
    quic::QuicStats,
    route::RouteShard,
    tls::Handshakes,
};
use edge_io::http2::{Abuse, AbuseCounts};
use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// A bound that was hit; each has a default and a name in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Limit {
    /// `server.max_connections`: a connection was refused.
    Connections,
    /// The process has no descriptors left: accepting paused.
    Descriptors,
    /// A request head or line was too large.
    HeadSize,
    /// A request body was too large.
    BodySize,
    /// A client pipelined more than `pipeline_depth` requests: others got their turn first.
    PipelineDepth,
    /// A pool's `max_connections`: a request had to wait.
    PoolConnections,
    /// A pool's `max_waiting`: a request was refused.
    PoolWaiting,
    /// A listener's `tls.max_handshakes`: a connection had to wait for its handshake.
    Handshakes,
    /// A listener's `http3.max_handshakes`: a connection was refused.
    QuicHandshakes,
    /// A pool's `max_inflight`: a request had to wait.
    PoolInflight,
    /// An endpoint's `max_inflight`: a request had to wait.
    EndpointInflight,
    /// A policy's `max_inflight`: a request to a route had to wait.
    RouteInflight,
}

/// Limits as metric labels, in the order of their discriminants.
pub const LIMITS: [&str; 12] = [
    "connections",
    "descriptors",
    "head_size",
    "body_size",
    "pipeline_depth",
    "pool_connections",
    "pool_waiting",
    "handshakes",
    "quic_handshakes",
    "pool_inflight",
    "endpoint_inflight",
    "route_inflight",
];

/// How a shard talks to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Driver {
    /// The shard sleeps in an io_uring.
    IoUring = 1,
    /// epoll alone: io_uring is denied.
    Epoll = 2,
}

impl Driver {
    /// Its name in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Driver::IoUring => "io_uring",
            Driver::Epoll => "epoll",
        }
    }
}

/// What one shard counts of itself. Only that shard writes.
#[derive(Debug)]
#[repr(align(128))] // two cache lines: neighbours are prefetched in pairs
pub struct ShardStats {
    /// The shard's number.
    pub shard: usize,
    pub(super) origin: Instant,
    heartbeat_ms: AtomicU64,
    driver: OnceLock<Driver>,
    /// Connections accepted.
    pub accepts: Counter,
    /// Client connections open.
    pub connections: Gauge,
    /// Of those, parked between two requests.
    pub connections_idle: Gauge,
    /// Requests being served.
    pub requests_in_flight: Gauge,
    /// Upgraded connections (WebSocket) open.
    pub upgrades_active: Gauge,
    /// Upstream connections that wait for a request.
    pub pool_idle: Gauge,
    /// Upstream connections in use.
    pub pool_active: Gauge,
    /// Bytes read from clients.
    pub bytes_in: Counter,
    /// Bytes written to clients.
    pub bytes_out: Counter,
    /// Access-log lines lost because the ring was full.
    pub log_dropped: Counter,
    /// Panics caught; each cost its connection.
    pub panics: Counter,
    /// Completions that did not fit into the completion queue at once.
    pub cq_overflow: Counter,
    /// The version of the configuration that new requests see.
    pub config_version: Gauge,
    /// How late the loop came to what was due.
    pub loop_lag: Histogram,
    /// TLS handshakes with clients over TCP that are over.
    pub handshakes: Handshakes,
    /// TLS handshakes with clients over TCP in progress.
    pub handshakes_in_progress: Gauge,
    limits: [Counter; LIMITS.len()],
    http2_abuse: [Counter; Abuse::ALL.len()],
    /// Requests that wait, and those refused.
    pub queues: QueueStats,
    /// QUIC and HTTP/3.
    pub quic: QuicStats,
    /// Requests that never found a route: route `_none`.
    pub unrouted: RouteShard,
}

impl ShardStats {
    pub(super) fn new(shard: usize, origin: Instant) -> ShardStats {
        ShardStats {
            shard,
            origin,
            heartbeat_ms: AtomicU64::new(0),
            driver: OnceLock::new(),
            accepts: Counter::default(),
            connections: Gauge::default(),
            connections_idle: Gauge::default(),
            requests_in_flight: Gauge::default(),
            upgrades_active: Gauge::default(),
            pool_idle: Gauge::default(),
            pool_active: Gauge::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            log_dropped: Counter::default(),
            panics: Counter::default(),
            cq_overflow: Counter::default(),
            config_version: Gauge::default(),
            loop_lag: Histogram::default(),
            handshakes: Handshakes::default(),
            handshakes_in_progress: Gauge::default(),
            limits: Default::default(),
            http2_abuse: Default::default(),
            queues: QueueStats::default(),
            quic: QuicStats::default(),
            unrouted: RouteShard::default(),
        }
    }

    /// The shard is alive. To be called at each turn of its loop, and at least twice a second.
    #[inline]
    pub fn beat(&self, now: Instant) {
        let ms = now.saturating_duration_since(self.origin).as_millis();
        self.heartbeat_ms.store(u64::try_from(ms).unwrap_or(u64::MAX), Relaxed);
    }

    /// Time since the last `beat`; since the start, when there was none.
    pub fn silence(&self, now: Instant) -> Duration {
        let since_origin = now.saturating_duration_since(self.origin);
        since_origin.saturating_sub(Duration::from_millis(self.heartbeat_ms.load(Relaxed)))
    }

    /// Counts that a limit was hit.
    #[inline]
    pub fn limit_hit(&self, limit: Limit) {
        self.limits[limit as usize].inc();
    }

    /// How often a limit was hit, in the order of `LIMITS`.
    pub fn limit_hits(&self) -> [u64; LIMITS.len()] {
        std::array::from_fn(|i| self.limits[i].get())
    }

    /// Counts what peers of an HTTP/2 connection did beyond its bounds.
    pub fn http2_abused(&self, counts: &AbuseCounts) {
        for (counter, n) in self.http2_abuse.iter().zip(counts) {
            counter.add(u64::from(*n));
        }
    }

    /// How often each kind of abuse was met, in the order of `Abuse::ALL`.
    pub fn http2_abuses(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Abuse::ALL.iter().zip(&self.http2_abuse).map(|(kind, n)| (kind.as_str(), n.get()))
    }

    /// Says which driver the shard runs on, once.
    pub fn set_driver(&self, driver: Driver) {
        let _ = self.driver.set(driver);
    }

    /// The driver, once the shard has said it.
    pub fn driver(&self) -> Option<Driver> {
        self.driver.get().copied()
    }
}
