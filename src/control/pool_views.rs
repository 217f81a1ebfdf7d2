//! Pools and endpoints as `edge status` shows them: what is out of use first.
use crate::{
    admin::view,
    snapshot::Snapshot,
    upstream::{EndpointRule, Panic, PoolRule},
};

/// The pools, those with trouble first, as many as have [`view::ENDPOINTS_MAX`] endpoints together; and how many there are.
pub(super) fn views(snapshot: &Snapshot) -> (Vec<view::Pool>, usize) {
    let mut pools: Vec<_> = snapshot.pools.iter().collect();
    pools.sort_by_key(|pool| pool.endpoints.iter().all(|e| e.state.usable()));
    let mut left = view::ENDPOINTS_MAX;
    let mut views = Vec::new();
    for pool in pools {
        if left == 0 {
            break;
        }
        views.push(pool_view(pool, left));
        left = left.saturating_sub(pool.endpoints.len().max(1));
    }
    (views, snapshot.pools.len())
}

fn pool_view(pool: &PoolRule, most: usize) -> view::Pool {
    let mut endpoints: Vec<_> = pool.endpoints.iter().collect();
    if endpoints.len() > most {
        endpoints.sort_by_key(|e| e.state.usable());
    }
    view::Pool {
        name: pool.id.to_string(),
        usable: pool.endpoints.iter().filter(|e| e.state.usable()).count(),
        total: pool.endpoints.len(),
        checked: pool.health.is_some(),
        panic: if pool.panic == Panic::Spread { "spread" } else { "trickle" }.to_owned(),
        failed_open: pool.state.failed_open(),
        endpoints: endpoints.into_iter().take(most).map(endpoint_view).collect(),
    }
}

fn endpoint_view(endpoint: &EndpointRule) -> view::Endpoint {
    let told = endpoint.state.told().clone();
    let (state, why) = match (told.unhealthy, told.ejected) {
        (Some(why), _) => ("unhealthy", Some(why)),
        (None, Some(why)) => ("ejected", Some(why)),
        (None, None) => ("usable", None),
    };
    view::Endpoint {
        name: endpoint.name.to_string(),
        state: state.to_owned(),
        since: why.as_ref().map(|why| why.since).or(told.changed),
        until: why.as_ref().and_then(|why| why.until),
        reason: why.map(|why| why.reason),
        weight: endpoint.weight,
        share_permille: endpoint.state.share(),
        ejections: told.ejections,
        last_check: told.checked.then_some(told.last_check),
    }
}
