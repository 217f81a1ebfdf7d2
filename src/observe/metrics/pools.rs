//! Metrics of pools' health: which endpoints may be used, and what was found out how.
use super::{OTHER, Text, split_top};
use crate::observe::{
    names,
    stats::{CHECK_RESULTS, EJECTIONS, ENDPOINT_STATES, PoolTotal, StatsRegistry},
};
use std::sync::Arc;

/// Writes them. As many pools as of other kinds have their names; the rest is summed up.
pub(super) fn write(text: &mut Text, stats: &StatsRegistry) {
    let total = |pool: &crate::observe::stats::PoolStats| {
        let mut total = PoolTotal::default();
        total.add(pool);
        total
    };
    let (top, rest) = split_top(stats.pools(), |pool| total(pool).weight());
    let mut totals: Vec<(Arc<str>, PoolTotal)> = top.iter().map(|pool| (pool.pool.clone(), total(pool))).collect();
    if !rest.is_empty() {
        let mut other = PoolTotal::default();
        rest.iter().for_each(|pool| other.add(pool));
        totals.push((OTHER.into(), other));
    }
    text.begin(&names::POOL_ENDPOINTS);
    for (pool, total) in &totals {
        for (state, n) in ENDPOINT_STATES.iter().zip(total.endpoints) {
            text.sample(&names::POOL_ENDPOINTS, &[pool, state], n);
        }
    }
    text.begin(&names::HEALTH_CHECKS);
    for (pool, total) in &totals {
        for (result, n) in CHECK_RESULTS.iter().zip(total.checks).filter(|(_, n)| *n > 0) {
            text.sample(&names::HEALTH_CHECKS, &[pool, result], n);
        }
    }
    text.begin(&names::EJECTIONS);
    for (pool, total) in &totals {
        for (reason, n) in EJECTIONS.iter().zip(total.ejections).filter(|(_, n)| *n > 0) {
            text.sample(&names::EJECTIONS, &[pool, reason], n);
        }
    }
    text.begin(&names::EJECTIONS_CAPPED);
    for (pool, total) in totals.iter().filter(|(_, total)| total.ejections_capped > 0) {
        text.sample(&names::EJECTIONS_CAPPED, &[pool], total.ejections_capped);
    }
    text.begin(&names::FAIL_OPEN);
    for (pool, total) in totals.iter().filter(|(_, total)| total.failed_open > 0) {
        text.sample(&names::FAIL_OPEN, &[pool], total.failed_open);
    }
    // A limit cannot be summed up: those of pools without a name are not told.
    text.begin(&names::POOL_LIMIT);
    for pool in top.iter().filter(|pool| pool.limit.get() > 0) {
        text.sample(&names::POOL_LIMIT, &[&pool.pool], pool.limit.get());
    }
}
