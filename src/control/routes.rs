//! What the steward does for routes: circuits change, and pools whose routes hedge are watched for how fast they answer.
//!
//! There may be tens of thousands of routes. Those with nothing of the kind are looked at once for each snapshot.
use super::steward::Look;
use crate::{
    admin::view,
    observe::{
        notice,
        stats::{EndpointStats, HistogramTotal},
    },
    snapshot::{PolicyRule, Snapshot},
    upstream::{CircuitState, HedgeAfter, PoolRule, PoolState, RouteState, hedge::Percentile},
};
use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

/// What is watched, and what was seen so far.
#[derive(Default)]
pub(super) struct Routes {
    /// Whose these are.
    snapshot: Weak<Snapshot>,
    guarded: Vec<(Arc<RouteState>, Arc<PolicyRule>)>,
    pools: HashMap<Arc<str>, Pool>,
}

/// A pool that routes hedge on.
struct Pool {
    state: Arc<PoolState>,
    endpoints: Vec<Arc<EndpointStats>>,
    first_byte: Percentile,
}

impl Routes {
    /// One tick.
    pub fn tick(&mut self, look: Look<'_>) {
        if !std::ptr::eq(self.snapshot.as_ptr(), Arc::as_ptr(look.snapshot)) {
            self.adopt(look.snapshot);
        }
        for (state, policy) in &self.guarded {
            let (Some(breaker), Some(rule)) = (state.breaker(), &policy.breaker) else { continue };
            if let Some(now) = breaker.tick(rule, look.now_us) {
                state.publish_circuit();
                tell(state, now);
            }
        }
        for pool in self.pools.values_mut().filter(|pool| pool.first_byte.is_due(look.now_us)) {
            let mut total = HistogramTotal::default();
            pool.endpoints.iter().for_each(|endpoint| endpoint.add_first_byte(&mut total));
            pool.state.set_first_byte_p95(pool.first_byte.look(look.now_us, &total));
        }
    }

    /// Another snapshot: what is still watched goes on as it was.
    fn adopt(&mut self, snapshot: &Arc<Snapshot>) {
        self.snapshot = Arc::downgrade(snapshot);
        self.guarded.iter().for_each(|(state, _)| state.stats.set_circuit(None));
        let guarded = snapshot.routes.iter().filter(|route| route.policy.breaker.is_some());
        self.guarded = guarded.filter_map(|route| Some((route.state.clone()?, route.policy.clone()))).collect();
        self.guarded.iter().for_each(|(state, _)| state.publish_circuit());
        let mut before = std::mem::take(&mut self.pools);
        let hedging = |policy: &PolicyRule| policy.hedge.is_some_and(|hedge| hedge.after == HedgeAfter::P95);
        for route in snapshot.routes.iter().filter(|route| hedging(&route.policy)) {
            if let Some(pool) = route.pool(snapshot)
                && !self.pools.contains_key(&pool.id)
            {
                self.pools.insert(pool.id.clone(), Pool::watch(pool, before.remove(&pool.id)));
            }
        }
        before.into_values().for_each(|gone| gone.state.set_first_byte_p95(None));
    }
}

impl Pool {
    fn watch(rule: &PoolRule, before: Option<Pool>) -> Pool {
        let endpoints: Vec<_> = rule.endpoints.iter().map(|endpoint| endpoint.stats.clone()).collect();
        let same = |before: &Pool| {
            let pairs = before.endpoints.iter().zip(&endpoints);
            before.endpoints.len() == endpoints.len() && pairs.into_iter().all(|(a, b)| Arc::ptr_eq(a, b))
        };
        // Sums over other endpoints are no continuation.
        let first_byte = before.filter(same).map(|before| before.first_byte).unwrap_or_default();
        Pool { state: rule.state.clone(), endpoints, first_byte }
    }
}

/// Brings up to date what a scrape shows of budgets that were ever asked.
pub(super) fn publish_budgets(snapshot: &Snapshot) {
    for route in snapshot.routes.iter() {
        if let (Some(state), Some(retry)) = (&route.state, &route.policy.retry) {
            state.publish_retry_tokens(retry);
        }
    }
}

/// Circuits that are not closed.
pub(super) fn circuit_views(snapshot: &Snapshot) -> Vec<view::Circuit> {
    let guarded = snapshot.routes.iter().filter(|route| route.policy.breaker.is_some());
    let states = guarded.filter_map(|route| Some((route.state.as_ref()?, route.state.as_ref()?.breaker()?.state())));
    let broken = states.filter(|(_, state)| *state != CircuitState::Closed);
    let view = |(route, state): (&Arc<RouteState>, CircuitState)| view::Circuit {
        route: route.stats.id.to_string(),
        pool: route.pool.to_string(),
        state: state.as_str().to_owned(),
        trips: route.stats.circuit().map_or(0, |(_, trips)| trips),
    };
    broken.take(view::CIRCUITS_MAX).map(view).collect()
}

/// Counts a change, and says it where people read.
fn tell(route: &RouteState, now: CircuitState) {
    let (id, pool) = (&route.stats.id, &route.pool);
    if now == CircuitState::Open {
        route.stats.tripped();
    }
    match now {
        CircuitState::Open => notice(format_args!("route {id}: too much of pool {pool} fails; its circuit is open")),
        CircuitState::HalfOpen => notice(format_args!("route {id}: its circuit to pool {pool} is half open")),
        CircuitState::Closed => notice(format_args!("route {id}: its circuit to pool {pool} is closed")),
    }
}
