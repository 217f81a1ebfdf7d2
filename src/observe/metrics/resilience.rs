//! Budgets of retries, hedges and circuits as text.
use super::{OTHER, Text, split_top};
use crate::{
    message::Category,
    observe::{
        names,
        stats::{CIRCUIT_STATES, HEDGE_OUTCOMES, RouteStats, RouteTotal, StatsRegistry},
    },
};
use std::sync::Arc;

/// Renders them. `totals` are routes by label, as many as are shown.
pub(super) fn write(text: &mut Text, stats: &StatsRegistry, totals: &[(String, RouteTotal)]) {
    let routes = stats.routes();
    budgets(text, &routes);
    text.begin(&names::HEDGES);
    for (id, total) in totals {
        for (outcome, n) in HEDGE_OUTCOMES.iter().zip(total.hedges).filter(|(_, n)| *n > 0) {
            text.sample(&names::HEDGES, &[id, outcome], n);
        }
    }
    circuits(text, routes);
    text.begin(&names::CIRCUIT_OPEN);
    for (id, total) in totals {
        let refused = total.errors.get(Category::CircuitOpen as usize).copied().unwrap_or(0);
        if refused > 0 {
            text.sample(&names::CIRCUIT_OPEN, &[id], refused);
        }
    }
}

/// Those that are nearest to their end, if there are many.
fn budgets(text: &mut Text, routes: &[Arc<RouteStats>]) {
    text.begin(&names::RETRY_TOKENS);
    let asked: Vec<_> = routes.iter().filter(|route| route.retry_tokens().is_some()).cloned().collect();
    let (shown, _) = split_top(asked, |route| u64::MAX - route.retry_tokens().unwrap_or(0));
    for route in shown {
        text.sample(&names::RETRY_TOKENS, &[&route.id], route.retry_tokens().unwrap_or(0));
    }
}

/// Those that are not closed before the others, if there are many.
fn circuits(text: &mut Text, routes: Vec<Arc<RouteStats>>) {
    let guarded: Vec<_> = routes.into_iter().filter(|route| route.circuit().is_some()).collect();
    let rank = |route: &RouteStats| route.circuit().map_or(0, |(state, trips)| u64::from(state != 0) << 63 | trips);
    let (shown, rest) = split_top(guarded, rank);
    text.begin(&names::BREAKER_STATE);
    let of = |routes: &[Arc<RouteStats>], state: usize| {
        routes.iter().filter(|route| route.circuit().is_some_and(|(now, _)| now == state)).count()
    };
    let mut labelled: Vec<(&str, &[Arc<RouteStats>])> =
        shown.iter().map(|route| (&*route.id, std::slice::from_ref(route))).collect();
    if !rest.is_empty() {
        labelled.push((OTHER, &rest));
    }
    for (label, routes) in &labelled {
        for (index, state) in CIRCUIT_STATES.iter().enumerate() {
            text.sample(&names::BREAKER_STATE, &[label, state], of(routes, index));
        }
    }
    text.begin(&names::BREAKER_TRIPS);
    for (label, routes) in &labelled {
        let trips: u64 = routes.iter().filter_map(|route| route.circuit()).map(|(_, trips)| trips).sum();
        text.sample(&names::BREAKER_TRIPS, &[label], trips);
    }
}
