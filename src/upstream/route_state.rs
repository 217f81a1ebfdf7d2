//! What a route and its pool share on all shards, and across reloads: budgets of retries and hedges, and the circuit.
use super::{
    PoolState,
    breaker::{self, Breaker, BreakerRule, Circuit},
    budget::Budget,
    hedge::{HedgeAfter, HedgeRule},
    retry::RetryRule,
};
use crate::observe::stats::RouteStats;
use edge_io::clock::monotonic_us;
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

/// Node-wide state of one route with one pool. There may be tens of thousands: what is rare is made when it is wanted.
#[derive(Debug)]
pub struct RouteState {
    /// The pool's id.
    pub pool: Arc<str>,
    /// What is counted of the route: successes are what budgets live on.
    pub stats: Arc<RouteStats>,
    retries: Budget,
    hedges: OnceLock<Box<Budget>>,
    breaker: OnceLock<Box<Breaker>>,
}

/// What of a state is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Retries before anything has succeeded.
    pub burst: u32,
    /// A circuit, and for how many shards.
    pub breaker: Option<usize>,
    /// A budget of hedges.
    pub hedge: bool,
}

impl RouteState {
    /// A fresh one.
    pub fn new(stats: Arc<RouteStats>, pool: Arc<str>, wanted: Wanted) -> RouteState {
        let retries = Budget::new(wanted.burst, stats.successes(), now_ms());
        let state = RouteState { pool, stats, retries, hedges: OnceLock::new(), breaker: OnceLock::new() };
        state.want(wanted);
        state
    }

    /// Makes what is wanted now and was not before; what was made stays.
    pub fn want(&self, wanted: Wanted) {
        if let Some(shards) = wanted.breaker {
            self.breaker.get_or_init(|| Box::new(Breaker::new(shards)));
        }
        if wanted.hedge {
            self.hedges.get_or_init(|| Box::new(Budget::new(0, self.stats.successes(), now_ms())));
        }
    }

    /// Takes a retry from the budget, if there is one left. For rare moments: it may add up counters of all shards.
    pub fn take_retry(&self, rule: &RetryRule) -> bool {
        let taken = self.retries.take(rule.budget, now_ms(), || self.stats.successes());
        self.stats.set_retry_tokens(self.retries.tokens());
        taken
    }

    /// Takes a hedge from the budget, if there is one left; as above.
    pub fn take_hedge(&self, rule: &HedgeRule) -> bool {
        self.hedges.get().is_some_and(|budget| budget.take(rule.budget, now_ms(), || self.stats.successes()))
    }

    /// How long the first attempt is waited for before a second one joins it; `None`: nobody knows yet.
    pub fn hedge_after(&self, rule: &HedgeRule, pool: &PoolState) -> Option<Duration> {
        match rule.after {
            HedgeAfter::Fixed(after) => Some(after),
            HedgeAfter::P95 => pool.first_byte_p95(),
        }
    }

    /// Whether a request may pass. A probe's end is told to the probe, and counted like any other's.
    pub fn circuit(self: &Arc<Self>, rule: &BreakerRule) -> Circuit {
        breaker::ask(self, rule)
    }

    /// Counts for the circuit how the pool answered, for requests that were sent: `failed` for a status of 500 and above
    /// and for failures of the endpoint, not for a client that went away, nor for what the edge refused itself.
    pub fn count(&self, shard: usize, failed: bool) {
        if let Some(breaker) = self.breaker() {
            breaker.count(shard, failed);
        }
    }

    /// The circuit, if there ever was one.
    pub fn breaker(&self) -> Option<&Breaker> {
        self.breaker.get().map(|b| &**b)
    }

    /// Tells the scrape how many retries are left now, if one was ever asked for.
    pub fn publish_retry_tokens(&self, rule: &RetryRule) {
        if self.stats.retry_tokens().is_some() {
            self.retries.refill(rule.budget, now_ms(), || self.stats.successes());
            self.stats.set_retry_tokens(self.retries.tokens());
        }
    }

    /// Tells the scrape where the circuit stands.
    pub fn publish_circuit(&self) {
        self.stats.set_circuit(self.breaker().map(|breaker| breaker.state() as usize));
    }
}

/// Milliseconds of the clock that all shards share.
fn now_ms() -> u64 {
    monotonic_us() / 1000
}
