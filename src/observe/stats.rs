//! Counters: one writer (a shard) each, read by the control thread at scrape.
//!
//! A count is a relaxed load and a relaxed store, no read-modify-write: exact, because nobody else writes it. What is
//! counted per route or endpoint is allocated by each shard at its first use, so that 30,000 idle routes cost little
//! and no two shards write to one cache line.
use crate::message::Category;
use edge_io::head::{Method, Version};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// A count that only grows. One thread writes; any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Takes over a count kept elsewhere.
    pub fn set_total(&self, total: u64) {
        self.0.store(total, Relaxed);
    }

    /// Adds `n`. Only the owning thread may call it: two writers would lose counts (but nothing worse).
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A level that goes up and down. One thread writes; any thread reads.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Moves the level by `n`. Only the owning thread may call it.
    #[inline]
    pub fn add(&self, n: i64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// One more.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// One less.
    #[inline]
    pub fn dec(&self) {
        self.add(-1);
    }

    /// Sets the level.
    #[inline]
    pub fn set(&self, level: i64) {
        self.0.store(level, Relaxed);
    }

    /// The level.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of the duration buckets, in µs; the last bucket has none. OpenTelemetry's advice for HTTP with three
/// finer ones in front, as a proxy adds microseconds.
pub const BOUNDS_US: [u64; 17] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000, 1_000_000, 2_500_000,
    5_000_000, 7_500_000, 10_000_000,
];

/// How many buckets a histogram has.
pub const BUCKETS: usize = BOUNDS_US.len() + 1;

/// For each power of two, the first bucket that a duration of that magnitude can fall into.
const FIRST_BUCKET: [u8; 64] = {
    let mut table = [0; 64];
    let mut power = 0;
    while power < 64 {
        let mut bucket = 0;
        while bucket < BOUNDS_US.len() && BOUNDS_US[bucket] < 1 << power {
            bucket += 1;
        }
        table[power] = bucket as u8;
        power += 1;
    }
    table
};

/// Durations, counted in buckets. One thread writes; any thread reads.
#[derive(Debug, Default)]
#[repr(C)] // in this order: see `RouteShard`
pub struct Histogram {
    sum_us: Counter,
    buckets: [Counter; BUCKETS],
}

impl Histogram {
    /// Counts one duration.
    #[inline]
    pub fn observe(&self, duration_us: u64) {
        let mut bucket = FIRST_BUCKET[(duration_us | 1).ilog2() as usize] as usize;
        while BOUNDS_US.get(bucket).is_some_and(|&bound| bound < duration_us) {
            bucket += 1;
        }
        if let Some(counter) = self.buckets.get(bucket) {
            counter.inc();
        }
        self.sum_us.add(duration_us);
    }
}

/// The kinds of status a request can end with: 1xx to 5xx.
pub const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Protocols as metric labels.
pub const PROTOCOLS: [&str; 3] = ["h1", "h2", "h3"];
/// Methods as metric labels, in the order of their discriminants; everything else is one.
pub const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "other"];

const COMBINATIONS: usize = METHODS.len() * CLASSES.len() * PROTOCOLS.len();
const CATEGORIES: usize = Category::ALL.len();

#[inline]
fn class(status: u16) -> usize {
    usize::from((status / 100).clamp(1, 5)) - 1
}

#[inline]
fn protocol(version: Version) -> usize {
    match version {
        Version::Http10 | Version::Http11 => 0,
        Version::Http2 => 1,
        Version::Http3 => 2,
    }
}

/// How a retried request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RetryOutcome {
    /// A later attempt answered.
    Success,
    /// Every attempt failed.
    Exhausted,
    /// There was no budget for another attempt.
    Budget,
}

/// Outcomes as metric labels, in the order of their discriminants.
pub const RETRY_OUTCOMES: [&str; 3] = ["success", "exhausted", "budget"];

/// What one shard counts of one route. About 300 bytes, as long as nothing unusual happens on it.
///
/// What every request touches stands in the first cache line, but for its duration's bucket: with thousands of routes
/// in use, that is what counting costs.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct RouteShard {
    /// Counts by method, class and protocol of the first few combinations seen: the combination (1-based) in the top
    /// byte, the count below it. Most routes see no more of them than this.
    few: [AtomicU64; 4],
    /// Requests being served now.
    pub in_flight: Gauge,
    /// Bytes of requests, heads and bodies.
    pub bytes_in: Counter,
    /// Bytes of answers, heads and bodies.
    pub bytes_out: Counter,
    h1: Histogram,
    h2_h3: OnceLock<Box<[Histogram; 2]>>,
    /// Counts of all other combinations.
    others: OnceLock<Box<[Counter; COMBINATIONS]>>,
    rare: OnceLock<Box<Rare>>,
}

#[derive(Debug, Default)]
struct Rare {
    errors: [Counter; CATEGORIES],
    retries: [Counter; RETRY_OUTCOMES.len()],
}

/// The part of a `few` slot that says which combination it counts.
const COMBINATION: u64 = 0xff << 56;
const _: () = assert!(COMBINATIONS < 255);

impl RouteShard {
    /// Counts a finished request. `status` is what the client was answered.
    #[inline]
    pub fn request(
        &self,
        method: Method,
        status: u16,
        version: Version,
        duration_us: u64,
        bytes_in: u64,
        bytes_out: u64,
    ) {
        let protocol = protocol(version);
        self.count(method as usize, class(status), protocol);
        self.durations(protocol).observe(duration_us);
        self.bytes_in.add(bytes_in);
        self.bytes_out.add(bytes_out);
    }

    /// Counts a request that failed. It is counted by `request` as well.
    #[inline]
    pub fn error(&self, category: Category) {
        self.rare().errors[category as usize].inc();
    }

    /// Counts a request that was retried, once, when it is over.
    pub fn retried(&self, outcome: RetryOutcome) {
        self.rare().retries[outcome as usize].inc();
    }

    #[inline]
    fn count(&self, method: usize, class: usize, protocol: usize) {
        let combination = (method * CLASSES.len() + class) * PROTOCOLS.len() + protocol;
        let tag = (combination as u64 + 1) << 56;
        for slot in &self.few {
            let now = slot.load(Relaxed);
            if now & COMBINATION == tag {
                return slot.store(now + 1, Relaxed);
            }
            if now == 0 {
                return slot.store(tag + 1, Relaxed);
            }
        }
        self.others.get_or_init(|| Box::new([const { Counter(AtomicU64::new(0)) }; COMBINATIONS]))[combination].inc();
    }

    #[inline]
    fn durations(&self, protocol: usize) -> &Histogram {
        match protocol {
            0 => &self.h1,
            h2_or_h3 => &self.h2_h3.get_or_init(Box::default)[h2_or_h3 - 1],
        }
    }

    fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }

    /// Requests counted so far.
    fn hits(&self) -> u64 {
        let few: u64 = self.few.iter().map(|s| s.load(Relaxed) & !COMBINATION).sum();
        few + self.others.get().map_or(0, |o| o.iter().map(Counter::get).sum())
    }
}

/// What all shards count of one route.
#[derive(Debug)]
pub struct RouteStats {
    /// The route's id: the label.
    pub id: Arc<str>,
    shards: Box<[OnceLock<Box<RouteShard>>]>,
}

impl RouteStats {
    /// Of route `id`, for shards `0..shards`. Allocates no counters yet.
    pub fn new(id: Arc<str>, shards: usize) -> RouteStats {
        RouteStats { id, shards: (0..shards).map(|_| OnceLock::new()).collect() }
    }

    /// The counters of shard `shard`, made at its first call. Only that shard writes to them.
    ///
    /// # Panics
    /// When there is no such shard.
    #[inline]
    pub fn shard(&self, shard: usize) -> &RouteShard {
        self.shards[shard].get_or_init(Box::default)
    }

    fn used(&self) -> impl Iterator<Item = &RouteShard> {
        self.shards.iter().filter_map(OnceLock::get).map(|b| &**b)
    }

    /// Requests of all shards.
    pub fn hits(&self) -> u64 {
        self.used().map(RouteShard::hits).sum()
    }
}

/// What one shard counts of one endpoint.
#[derive(Debug, Default)]
pub struct EndpointShard {
    classes: [Counter; CLASSES.len()],
    errors: OnceLock<Box<[Counter; CATEGORIES]>>,
    connect: Histogram,
    first_byte: Histogram,
    total: Histogram,
    /// Connections that wait for a request.
    pub idle: Gauge,
    /// Connections that serve a request, or are being opened.
    pub active: Gauge,
}

impl EndpointShard {
    /// Counts an answer: its status, the time from the request's start at the endpoint to the answer's first byte, and
    /// to its last.
    #[inline]
    pub fn response(&self, status: u16, first_byte_us: u64, total_us: u64) {
        self.classes[class(status)].inc();
        self.first_byte.observe(first_byte_us);
        self.total.observe(total_us);
    }

    /// Counts a connection that was made, and how long it took.
    #[inline]
    pub fn connected(&self, duration_us: u64) {
        self.connect.observe(duration_us);
    }

    /// Counts an attempt that failed.
    pub fn error(&self, category: Category) {
        self.errors.get_or_init(Box::default)[category as usize].inc();
    }
}

/// What all shards count of one endpoint.
#[derive(Debug)]
pub struct EndpointStats {
    /// The pool's id: a label.
    pub pool: Arc<str>,
    /// The endpoint's name: a label.
    pub endpoint: Arc<str>,
    shards: Box<[OnceLock<Box<EndpointShard>>]>,
}

impl EndpointStats {
    /// The counters of shard `shard`, made at its first call. Only that shard writes to them.
    ///
    /// # Panics
    /// When there is no such shard.
    #[inline]
    pub fn shard(&self, shard: usize) -> &EndpointShard {
        self.shards[shard].get_or_init(Box::default)
    }

    fn used(&self) -> impl Iterator<Item = &EndpointShard> {
        self.shards.iter().filter_map(OnceLock::get).map(|b| &**b)
    }

    /// Answers of all shards.
    pub fn hits(&self) -> u64 {
        self.used().flat_map(|s| &s.classes).map(Counter::get).sum()
    }
}

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
    shards: Box<[OnceLock<Box<ListenerShard>>]>,
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
}

/// Limits as metric labels, in the order of their discriminants.
pub const LIMITS: [&str; 7] =
    ["connections", "descriptors", "head_size", "body_size", "pipeline_depth", "pool_connections", "pool_waiting"];

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
    origin: Instant,
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
    limits: [Counter; LIMITS.len()],
    /// Requests that never found a route: route `_none`.
    pub unrouted: RouteShard,
}

impl ShardStats {
    fn new(shard: usize, origin: Instant) -> ShardStats {
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
            limits: Default::default(),
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

    /// Says which driver the shard runs on, once.
    pub fn set_driver(&self, driver: Driver) {
        let _ = self.driver.set(driver);
    }

    /// The driver, once the shard has said it.
    pub fn driver(&self) -> Option<Driver> {
        self.driver.get().copied()
    }
}

/// How an attempt to apply a configuration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ApplyResult {
    /// Every shard serves it.
    Applied,
    /// It has mistakes.
    Invalid,
    /// A listener could not be opened.
    BindFailed,
    /// Too many retired configurations are still in use.
    Pressure,
    /// A shard did not acknowledge in time.
    Timeout,
}

/// Results as metric labels, in the order of their discriminants.
pub const APPLY_RESULTS: [&str; 5] = ["applied", "invalid", "bind_failed", "config_pressure", "timeout"];

/// What the control thread and the log thread count. Each field has one writer.
#[derive(Debug, Default)]
pub struct ControlStats {
    applies: [Counter; APPLY_RESULTS.len()],
    apply_durations: Histogram,
    /// Access-log lines lost because they could not be written. The log thread writes it.
    pub log_write_dropped: Counter,
    /// Failed writes of the access log. The log thread writes it.
    pub log_write_errors: Counter,
    /// Version and source of the configuration in use.
    config: Mutex<(u64, String)>,
}

impl ControlStats {
    /// Counts an attempt to apply a configuration, from reading it to the last acknowledgement.
    pub fn applied(&self, result: ApplyResult, duration: Duration) {
        self.applies[result as usize].inc();
        self.apply_durations.observe(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// Attempts by result, in the order of `APPLY_RESULTS`.
    pub fn applies(&self) -> [u64; APPLY_RESULTS.len()] {
        std::array::from_fn(|i| self.applies[i].get())
    }

    /// How long the attempts took.
    pub fn apply_durations(&self) -> HistogramTotal {
        let mut total = HistogramTotal::default();
        total.add(&self.apply_durations);
        total
    }

    /// Says which configuration is in use.
    pub fn set_config(&self, version: u64, source: &str) {
        *open(&self.config) = (version, source.to_owned());
    }

    /// Version and source of the configuration in use.
    pub fn config(&self) -> (u64, String) {
        open(&self.config).clone()
    }
}

/// Finds or makes the counters of routes, endpoints and listeners by key. They outlive snapshots, and go with their
/// last user.
#[derive(Debug)]
pub struct StatsRegistry {
    /// One per shard.
    pub shards: Vec<Arc<ShardStats>>,
    /// Of the control and the log thread.
    pub control: ControlStats,
    started: Instant,
    routes: Mutex<Table<RouteStats>>,
    endpoints: Mutex<Table<EndpointStats>>,
    listeners: Mutex<Table<ListenerStats>>,
}

#[derive(Debug)]
struct Table<T> {
    by_key: HashMap<Arc<str>, Weak<T>>,
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
fn open<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
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

    /// How long the process has been up.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The sum of histograms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistogramTotal {
    /// Not cumulative: one count per bucket.
    pub buckets: [u64; BUCKETS],
    /// Of all durations, µs.
    pub sum_us: u64,
}

impl HistogramTotal {
    /// Adds one histogram.
    pub fn add(&mut self, one: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&one.buckets) {
            *sum += bucket.get();
        }
        self.sum_us = self.sum_us.wrapping_add(one.sum_us.get());
    }

    /// Adds another sum.
    pub fn add_total(&mut self, other: &HistogramTotal) {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(sum, n)| *sum += n);
        self.sum_us = self.sum_us.wrapping_add(other.sum_us);
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// The sum of what shards counted of one route, or of several.
#[derive(Clone, Debug)]
pub struct RouteTotal {
    combinations: [u64; COMBINATIONS],
    /// By protocol.
    pub durations: [HistogramTotal; PROTOCOLS.len()],
    /// By category.
    pub errors: [u64; CATEGORIES],
    /// By outcome.
    pub retries: [u64; RETRY_OUTCOMES.len()],
    /// Being served now.
    pub in_flight: i64,
    /// Bytes of requests.
    pub bytes_in: u64,
    /// Bytes of answers.
    pub bytes_out: u64,
}

impl Default for RouteTotal {
    fn default() -> Self {
        RouteTotal {
            combinations: [0; COMBINATIONS],
            durations: Default::default(),
            errors: [0; CATEGORIES],
            retries: Default::default(),
            in_flight: 0,
            bytes_in: 0,
            bytes_out: 0,
        }
    }
}

impl RouteTotal {
    /// Adds all shards of a route.
    pub fn add_route(&mut self, route: &RouteStats) {
        route.used().for_each(|shard| self.add(shard));
    }

    /// Adds one shard.
    pub fn add(&mut self, shard: &RouteShard) {
        for slot in &shard.few {
            let now = slot.load(Relaxed);
            if let Some(sum) = (now >> 56).checked_sub(1).and_then(|i| self.combinations.get_mut(i as usize)) {
                *sum += now & !COMBINATION;
            }
        }
        if let Some(others) = shard.others.get() {
            add_all(&mut self.combinations, &others[..]);
        }
        let [h1, h2, h3] = &mut self.durations;
        h1.add(&shard.h1);
        if let Some(pair) = shard.h2_h3.get() {
            h2.add(&pair[0]);
            h3.add(&pair[1]);
        }
        if let Some(rare) = shard.rare.get() {
            add_all(&mut self.errors, &rare.errors);
            add_all(&mut self.retries, &rare.retries);
        }
        self.in_flight += shard.in_flight.get();
        self.bytes_in += shard.bytes_in.get();
        self.bytes_out += shard.bytes_out.get();
    }

    /// Requests that are not zero: (method, class, protocol, count).
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, &'static str, &'static str, u64)> {
        self.combinations.iter().enumerate().filter(|(_, n)| **n > 0).map(|(i, n)| {
            let protocol = i % PROTOCOLS.len();
            let class = i / PROTOCOLS.len() % CLASSES.len();
            let method = i / PROTOCOLS.len() / CLASSES.len();
            (METHODS[method], CLASSES[class], PROTOCOLS[protocol], *n)
        })
    }
}

/// The sum of what shards counted of one endpoint, or of several.
#[derive(Clone, Debug, Default)]
pub struct EndpointTotal {
    /// Answers by class.
    pub classes: [u64; CLASSES.len()],
    /// Failed attempts by category.
    pub errors: [u64; CATEGORIES],
    /// How long connecting took.
    pub connect: HistogramTotal,
    /// How long the first byte took.
    pub first_byte: HistogramTotal,
    /// How long the exchange took.
    pub total: HistogramTotal,
    /// Connections that wait.
    pub idle: i64,
    /// Connections in use.
    pub active: i64,
}

impl EndpointTotal {
    /// Adds all shards of an endpoint.
    pub fn add_endpoint(&mut self, endpoint: &EndpointStats) {
        for shard in endpoint.used() {
            add_all(&mut self.classes, &shard.classes);
            if let Some(errors) = shard.errors.get() {
                add_all(&mut self.errors, &errors[..]);
            }
            self.connect.add(&shard.connect);
            self.first_byte.add(&shard.first_byte);
            self.total.add(&shard.total);
            self.idle += shard.idle.get();
            self.active += shard.active.get();
        }
    }

    /// Adds another sum.
    pub fn add_total(&mut self, other: &EndpointTotal) {
        self.classes.iter_mut().zip(other.classes).for_each(|(sum, n)| *sum += n);
        self.errors.iter_mut().zip(other.errors).for_each(|(sum, n)| *sum += n);
        self.connect.add_total(&other.connect);
        self.first_byte.add_total(&other.first_byte);
        self.total.add_total(&other.total);
        self.idle += other.idle;
        self.active += other.active;
    }
}

fn add_all(sums: &mut [u64], counters: &[Counter]) {
    for (sum, counter) in sums.iter_mut().zip(counters) {
        *sum += counter.get();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_bucket_whose_bound_it_does_not_pass() {
        let naive = |us: u64| BOUNDS_US.iter().position(|&b| us <= b).unwrap_or(BOUNDS_US.len());
        let near = BOUNDS_US.iter().flat_map(|&b| [b - 1, b, b + 1]);
        for us in near.chain([0, 1, u64::MAX, u64::MAX / 2]).chain((0..64).map(|p| 1 << p)) {
            let h = Histogram::default();
            h.observe(us);
            assert_eq!(h.buckets.iter().position(|b| b.get() == 1), Some(naive(us)), "{us}");
            assert_eq!(h.sum_us.get(), us);
        }
    }

    #[test]
    fn every_combination_is_counted_once_however_many_there_are() {
        let methods = [
            Method::Get,
            Method::Head,
            Method::Post,
            Method::Put,
            Method::Delete,
            Method::Options,
            Method::Patch,
            Method::Trace,
            Method::Connect,
            Method::Other,
        ];
        let route = RouteStats::new("r".into(), 2);
        for (m, method) in methods.into_iter().enumerate() {
            assert_eq!(method as usize, m);
            for (v, version) in [Version::Http11, Version::Http2, Version::Http3].into_iter().enumerate() {
                for class in 1..=5 {
                    for _ in 0..=(m + v) {
                        route.shard(m % 2).request(method, class * 100, version, 700, 10, 20);
                    }
                }
            }
        }
        let mut total = RouteTotal::default();
        total.add_route(&route);
        let seen: Vec<_> = total.requests().collect();
        assert_eq!(seen.len(), COMBINATIONS);
        for (method, class, protocol, n) in seen {
            let m = METHODS.iter().position(|x| *x == method).unwrap();
            let v = PROTOCOLS.iter().position(|x| *x == protocol).unwrap();
            assert_eq!(n as usize, m + v + 1, "{method} {class} {protocol}");
        }
        let all: u64 = total.requests().map(|r| r.3).sum();
        assert_eq!(route.hits(), all);
        assert_eq!(total.durations.iter().map(HistogramTotal::count).sum::<u64>(), all);
        assert_eq!((total.bytes_in, total.bytes_out), (all * 10, all * 20));
    }

    #[test]
    fn http10_counts_as_h1_and_odd_statuses_have_a_class() {
        let s = RouteShard::default();
        s.request(Method::Get, 200, Version::Http10, 1, 0, 0);
        s.request(Method::Get, 0, Version::Http11, 1, 0, 0);
        s.request(Method::Get, 999, Version::Http11, 1, 0, 0);
        let mut total = RouteTotal::default();
        total.add(&s);
        let seen: Vec<_> = total.requests().map(|(_, c, p, n)| (c, p, n)).collect();
        assert_eq!(seen, [("1xx", "h1", 1), ("2xx", "h1", 1), ("5xx", "h1", 1)]);
    }

    #[test]
    fn an_idle_route_is_small_and_a_used_one_bounded() {
        let idle = size_of::<RouteStats>() + 2 * size_of::<OnceLock<Box<RouteShard>>>();
        assert!(idle <= 80, "{idle}");
        assert!(size_of::<RouteShard>() <= 320, "{}", size_of::<RouteShard>());
    }

    #[test]
    fn counters_survive_while_someone_holds_them() {
        let registry = StatsRegistry::new(1);
        let old = registry.route("a");
        old.shard(0).request(Method::Get, 200, Version::Http11, 1, 0, 0);
        let new = registry.route("a");
        assert!(Arc::ptr_eq(&old, &new));
        drop(old);
        assert_eq!(registry.route("a").hits(), 1);
        drop(new);
        assert_eq!(registry.routes().len(), 0);
        assert_eq!(registry.route("a").hits(), 0);
    }

    #[test]
    fn dead_entries_are_swept() {
        let registry = StatsRegistry::new(1);
        for i in 0..10_000 {
            registry.route(&format!("r{i}"));
        }
        assert!(open(&registry.routes).by_key.len() <= 128);
    }

    #[test]
    fn pool_and_endpoint_names_do_not_run_together() {
        let registry = StatsRegistry::new(1);
        let a = registry.endpoint("a/b", "c");
        let b = registry.endpoint("a", "b/c");
        assert!(!Arc::ptr_eq(&a, &b));
    }

    #[test]
    fn silence_is_the_time_since_the_last_beat() {
        let registry = StatsRegistry::new(1);
        let shard = &registry.shards[0];
        let later = shard.origin + Duration::from_secs(5);
        assert_eq!(shard.silence(later), Duration::from_secs(5));
        shard.beat(later);
        assert_eq!(shard.silence(later + Duration::from_millis(700)), Duration::from_millis(700));
    }

    #[test]
    fn another_thread_reads_what_one_counted() {
        let registry = Arc::new(StatsRegistry::new(2));
        let route = registry.route("r");
        let threads: Vec<_> = (0..2)
            .map(|shard| {
                let route = route.clone();
                std::thread::spawn(move || {
                    for _ in 0..10_000 {
                        route.shard(shard).request(Method::Get, 200, Version::Http11, 100, 1, 2);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(route.hits(), 20_000);
    }
}
