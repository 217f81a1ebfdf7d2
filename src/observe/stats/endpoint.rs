//! What is counted of an endpoint.
use super::{
    CATEGORIES,
    counter::{Counter, Gauge, Histogram, HistogramTotal, add_all},
    route::{CLASSES, class},
};
use crate::message::Category;
use std::sync::{Arc, OnceLock};

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
    pub(super) shards: Box<[OnceLock<Box<EndpointShard>>]>,
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

    /// How many shards the node has.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    fn used(&self) -> impl Iterator<Item = &EndpointShard> {
        self.shards.iter().filter_map(OnceLock::get).map(|b| &**b)
    }

    /// Adds how long first bytes took, on all shards.
    pub fn add_first_byte(&self, total: &mut HistogramTotal) {
        self.used().for_each(|shard| total.add(&shard.first_byte));
    }

    /// Answers below 500, of all shards.
    pub fn successes(&self) -> u64 {
        self.used().flat_map(|s| s.classes.iter().take(CLASSES.len() - 1)).map(Counter::get).sum()
    }

    /// How long the first byte took, of all shards.
    pub fn first_byte(&self) -> HistogramTotal {
        let mut total = HistogramTotal::default();
        self.used().for_each(|shard| total.add(&shard.first_byte));
        total
    }

    /// Answers of all shards.
    pub fn hits(&self) -> u64 {
        self.used().flat_map(|s| &s.classes).map(Counter::get).sum()
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
