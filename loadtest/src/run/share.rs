//! How a plan is shared out: connections among origins and shards, rates and numbers of requests among shards. Pure.
use crate::{
    pace::Pace,
    plan::{Load, Plan},
};

/// What one shard does.
#[derive(Clone, Debug, Default)]
pub(super) struct Share {
    /// The origin of each of its connections, and the connection's number among all.
    pub connections: Vec<(usize, usize)>,
    /// Per origin, its schedule in an open loop.
    pub paces: Vec<Option<Pace>>,
    /// How many requests it sends, where a number is given.
    pub requests: Option<u64>,
    /// Connections that it may make a second, where that is bounded.
    pub connect_rate: Option<f64>,
}

/// Shares the plan out among `shards`; each has at least one connection when there are as many.
///
/// # Errors
/// A sentence: there are fewer connections than origins.
pub(super) fn share(plan: &Plan, shards: usize, begin_us: u64) -> Result<Vec<Share>, String> {
    let mut shares = vec![Share::default(); shards];
    let weights: Vec<usize> = plan.origins.iter().map(|origin| origin.requests.len().max(1)).collect();
    let counts = apportion(plan.connections, &weights).ok_or_else(|| {
        format!(
            "{} connections cannot reach {} servers: each needs one of its own; raise -c",
            plan.connections,
            plan.origins.len()
        )
    })?;
    let origins = counts.iter().enumerate().flat_map(|(origin, n)| std::iter::repeat_n(origin, *n));
    for (number, origin) in origins.enumerate() {
        if let Some(share) = shares.get_mut(number % shards.max(1)) {
            share.connections.push((origin, number));
        }
    }
    let (requests, all) = (plan.requests.map(u64::from), shards.max(1) as u64);
    for (i, share) in (0u64..).zip(&mut shares) {
        share.requests = requests.map(|n| n / all + u64::from(i < n % all));
        share.connect_rate = plan.connect_rate.map(|rate| rate / all as f64);
    }
    paces(plan, &weights, begin_us, &mut shares);
    Ok(shares)
}

/// `n` in parts as the weights say, each at least 1. `None`: there are too few.
fn apportion(n: usize, weights: &[usize]) -> Option<Vec<usize>> {
    let left = n.checked_sub(weights.len())?;
    let sum: usize = weights.iter().sum();
    let (mut given, mut before) = (0, 0);
    let parts = weights.iter().map(|weight| {
        // By the sums, so that what is rounded off goes to the next.
        before += weight;
        let upto = (left as u128 * before as u128 / sum.max(1) as u128) as usize;
        let part = upto - given;
        given = upto;
        1 + part
    });
    Some(parts.collect())
}

/// Each origin has its part of the rate, by its requests, and that is shared among the shards that connect to it: a slow
/// origin takes nothing from another's schedule.
fn paces(plan: &Plan, weights: &[usize], begin_us: u64, shares: &mut [Share]) {
    let Load::Open { rate, arrivals } = plan.load else {
        shares.iter_mut().for_each(|share| share.paces = vec![None; weights.len()]);
        return;
    };
    let sum: usize = weights.iter().sum();
    for (origin, weight) in weights.iter().enumerate() {
        let of_origin = rate * *weight as f64 / sum.max(1) as f64;
        // Origins begin one after another, so that evenly spaced schedules are not on top of each other.
        let begin = begin_us + (origin as f64 * 1e6 / rate) as u64;
        let seed = plan.seed.wrapping_add((origin as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let has = |share: &Share| share.connections.iter().any(|(of, _)| *of == origin);
        let n = shares.iter().filter(|share| has(share)).count();
        let mut k = 0;
        for share in shares.iter_mut() {
            let pace = has(share).then(|| Pace::new(of_origin, arrivals, (k, n), seed, begin));
            k += usize::from(pace.is_some());
            // A shard without connections to it has nobody to ask: its schedule is never looked at.
            share.paces.push(pace);
        }
    }
}
