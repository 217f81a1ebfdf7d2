//! What is counted of a route.
use super::{
    CATEGORIES,
    counter::{Counter, Gauge, Histogram, HistogramTotal, add_all},
    shared::{HEDGE_OUTCOMES, HedgeOutcome, RouteShared},
};
use crate::message::Category;
use edge_io::head::{Method, Version};
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// The kinds of status a request can end with: 1xx to 5xx.
pub const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Protocols as metric labels.
pub const PROTOCOLS: [&str; 3] = ["h1", "h2", "h3"];
/// Methods as metric labels, in the order of their discriminants; everything else is one.
pub const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "other"];

/// The class of statuses from 500 on.
const FAILED: usize = 4;

pub(super) const COMBINATIONS: usize = METHODS.len() * CLASSES.len() * PROTOCOLS.len();

#[inline]
pub(super) fn class(status: u16) -> usize {
    usize::from((status / 100).clamp(1, 5)) - 1
}

#[inline]
pub(super) fn protocol(version: Version) -> usize {
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
    hedges: [Counter; HEDGE_OUTCOMES.len()],
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

    /// Counts a request that was slow enough for a second attempt, once, when it is over.
    pub fn hedged(&self, outcome: HedgeOutcome) {
        self.rare().hedges[outcome as usize].inc();
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
        self.others.get_or_init(|| Box::new(std::array::from_fn(|_| Counter::default())))[combination].inc();
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

    /// Requests that were answered with less than 500.
    fn successes(&self) -> u64 {
        let failed = |combination: usize| combination / PROTOCOLS.len() % CLASSES.len() == FAILED;
        let few = self.few.iter().map(|slot| slot.load(Relaxed));
        // A combination is 1-based in its slot.
        let few: u64 = few.filter(|n| *n != 0 && !failed((n >> 56) as usize - 1)).map(|n| n & !COMBINATION).sum();
        let others = self.others.get().into_iter().flat_map(|others| others.iter().enumerate());
        few + others.filter(|(i, _)| !failed(*i)).map(|(_, n)| n.get()).sum::<u64>()
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
    pub(super) shared: OnceLock<Box<RouteShared>>,
}

impl RouteStats {
    /// Of route `id`, for shards `0..shards`. Allocates no counters yet.
    pub fn new(id: Arc<str>, shards: usize) -> RouteStats {
        RouteStats { id, shards: (0..shards).map(|_| OnceLock::new()).collect(), shared: OnceLock::new() }
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

    /// Requests of all shards that were answered with less than 500.
    pub fn successes(&self) -> u64 {
        self.used().map(RouteShard::successes).sum()
    }

    /// Requests of all shards.
    pub fn hits(&self) -> u64 {
        self.used().map(RouteShard::hits).sum()
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
    /// By outcome.
    pub hedges: [u64; HEDGE_OUTCOMES.len()],
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
            hedges: Default::default(),
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
            add_all(&mut self.hedges, &rare.hedges);
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
