//! What the steward does for pools whose limit is found by measuring: reads how fast they answer, and publishes the limit.
use super::steward::Look;
use crate::{
    observe::stats::{EndpointStats, HistogramTotal},
    snapshot::Snapshot,
    upstream::{
        PoolRule,
        adaptive::{Adaptive, Sample},
    },
};
use std::sync::{Arc, Weak};

/// Limiters of pools, which outlive snapshots.
#[derive(Default)]
pub(super) struct Limiters {
    /// Whose these are.
    snapshot: Weak<Snapshot>,
    pools: Vec<Pool>,
}

struct Pool {
    rule: Arc<PoolRule>,
    limiter: Adaptive,
    endpoints: Vec<Endpoint>,
}

/// An endpoint, and what was counted of it until the last tick.
struct Endpoint {
    stats: Arc<EndpointStats>,
    answers: u64,
    latency_us: u64,
}

impl Endpoint {
    fn new(stats: &Arc<EndpointStats>) -> Endpoint {
        let mut endpoint = Endpoint { stats: stats.clone(), answers: 0, latency_us: 0 };
        endpoint.since();
        endpoint
    }

    /// Answers since this was last asked, and how long they took to their first byte, µs.
    fn since(&mut self) -> (u64, u64) {
        let mut total = HistogramTotal::default();
        self.stats.add_first_byte(&mut total);
        let (answers, latency_us) = (total.count(), total.sum_us);
        let since = (answers.wrapping_sub(self.answers), latency_us.wrapping_sub(self.latency_us));
        (self.answers, self.latency_us) = (answers, latency_us);
        since
    }
}

impl Limiters {
    /// One tick.
    pub fn tick(&mut self, look: Look<'_>) {
        if !std::ptr::eq(self.snapshot.as_ptr(), Arc::as_ptr(look.snapshot)) {
            self.adopt(look);
        }
        self.pools.iter_mut().for_each(|pool| pool.tick(look.now_us));
    }

    /// Another snapshot: limits that were found go on, others are taken back.
    fn adopt(&mut self, look: Look<'_>) {
        self.snapshot = Arc::downgrade(look.snapshot);
        let mut old = std::mem::take(&mut self.pools);
        for rule in look.snapshot.pools.iter().filter(|rule| rule.adaptive.is_some()) {
            let known = old.iter().position(|pool| Arc::ptr_eq(&pool.rule.state, &rule.state));
            let (limiter, mut endpoints) = match known.map(|at| old.swap_remove(at)) {
                Some(pool) => (pool.limiter, pool.endpoints),
                None => (Adaptive::new(look.now_us), Vec::new()),
            };
            let endpoints = rule.endpoints.iter().map(|endpoint| {
                let known = endpoints.iter().position(|e| Arc::ptr_eq(&e.stats, &endpoint.stats));
                known.map_or_else(|| Endpoint::new(&endpoint.stats), |at| endpoints.swap_remove(at))
            });
            let endpoints = endpoints.collect();
            self.pools.push(Pool { rule: rule.clone(), limiter, endpoints });
        }
        for gone in old {
            gone.rule.stats.limit.set(0);
            if let Some(gate) = &gone.rule.gate {
                gate.permits.set_found(None);
            }
        }
    }
}

impl Pool {
    fn tick(&mut self, now_us: u64) {
        let (Some(adaptive), Some(gate)) = (&self.rule.adaptive, &self.rule.gate) else { return };
        let mut sample =
            Sample { in_flight: gate.permits.used(), waiting: gate.permits.queued() > 0, ..Sample::default() };
        for endpoint in &mut self.endpoints {
            let (answers, latency_us) = endpoint.since();
            sample.answers += answers;
            sample.latency_us += latency_us;
        }
        let limit = self.limiter.tick(now_us, adaptive, sample);
        gate.permits.set_found(Some(limit));
        self.rule.stats.limit.set(i64::from(limit));
    }
}
