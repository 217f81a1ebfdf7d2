//! What the control thread counts of a pool: checks, endpoints left out, and how many are in which state.
use super::counter::{Counter, Gauge};
use std::sync::Arc;

/// How an active health check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CheckResult {
    /// The endpoint is well.
    Ok,
    /// It answered that it is not: another status, or not serving.
    Status,
    /// It did not answer in time.
    Timeout,
    /// No connection could be made.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The connection ended before the answer, or the answer breaks the protocol.
    Protocol,
}

/// Results as metric labels, in the order of their discriminants.
pub const CHECK_RESULTS: [&str; 6] = ["ok", "status", "timeout", "connect", "tls", "protocol"];

/// Why endpoints are left out, as metric labels.
pub const EJECTIONS: [&str; 3] = ["consecutive", "error_share", "latency"];

/// States of endpoints as metric labels. One that is unhealthy and left out is unhealthy.
pub const ENDPOINT_STATES: [&str; 3] = ["usable", "unhealthy", "ejected"];

/// What is counted of a pool. The control thread alone writes.
#[derive(Debug)]
pub struct PoolStats {
    /// The pool's name: the label.
    pub pool: Arc<str>,
    checks: [Counter; CHECK_RESULTS.len()],
    ejections: [Counter; EJECTIONS.len()],
    /// How often an endpoint was not left out because too many were out already.
    pub ejections_capped: Counter,
    /// Requests that passed although no endpoint was to be used.
    pub failed_open: Counter,
    /// How many requests in flight it takes, where that is found by measuring; 0 = it is not.
    pub limit: Gauge,
    endpoints: [Gauge; ENDPOINT_STATES.len()],
}

impl PoolStats {
    pub(super) fn new(pool: Arc<str>) -> PoolStats {
        PoolStats {
            pool,
            checks: Default::default(),
            ejections: Default::default(),
            ejections_capped: Counter::default(),
            failed_open: Counter::default(),
            limit: Gauge::default(),
            endpoints: Default::default(),
        }
    }

    /// Counts a check.
    pub fn checked(&self, result: CheckResult) {
        self.checks[result as usize].inc();
    }

    /// Counts an endpoint that was left out; `why` is a place in [`EJECTIONS`].
    pub fn ejected(&self, why: usize) {
        if let Some(counter) = self.ejections.get(why) {
            counter.inc();
        }
    }

    /// Says how many endpoints are in which state, in the order of [`ENDPOINT_STATES`].
    pub fn set_endpoints(&self, states: [usize; ENDPOINT_STATES.len()]) {
        for (gauge, n) in self.endpoints.iter().zip(states) {
            gauge.set(i64::try_from(n).unwrap_or(i64::MAX));
        }
    }
}

/// The sum of what was counted of pools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolTotal {
    /// Checks, in the order of [`CHECK_RESULTS`].
    pub checks: [u64; CHECK_RESULTS.len()],
    /// Endpoints left out, in the order of [`EJECTIONS`].
    pub ejections: [u64; EJECTIONS.len()],
    /// Endpoints that were not, because too many were.
    pub ejections_capped: u64,
    /// Requests that passed although no endpoint was to be used.
    pub failed_open: u64,
    /// Endpoints, in the order of [`ENDPOINT_STATES`].
    pub endpoints: [i64; ENDPOINT_STATES.len()],
}

impl PoolTotal {
    /// Adds one pool.
    pub fn add(&mut self, pool: &PoolStats) {
        self.checks.iter_mut().zip(&pool.checks).for_each(|(sum, n)| *sum += n.get());
        self.ejections.iter_mut().zip(&pool.ejections).for_each(|(sum, n)| *sum += n.get());
        self.ejections_capped += pool.ejections_capped.get();
        self.failed_open += pool.failed_open.get();
        self.endpoints.iter_mut().zip(&pool.endpoints).for_each(|(sum, n)| *sum += n.get());
    }

    /// What makes a pool worth looking at: those with less are summed up where there are too many.
    pub fn weight(&self) -> u64 {
        let troubled = self.endpoints.iter().skip(1).sum::<i64>();
        let seen = self.checks.iter().chain(&self.ejections).sum::<u64>() + self.failed_open;
        seen.saturating_add(u64::try_from(troubled).unwrap_or(0).saturating_mul(1 << 40))
    }
}
