//! Which endpoint a request goes to: pure decisions over weights and requests in flight.

mod ewma;
mod hash;
mod maglev;
mod rng;
pub mod slow_start;
pub use ewma::Ewma;
pub use hash::{HashBy, HashRule};
pub use maglev::Maglev;
pub use rng::Rng;
use std::cmp::Ordering;

/// How an endpoint is chosen, as the configuration says it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum BalanceConfig {
    /// See [`Balance::P2c`].
    #[default]
    P2c,
    /// See [`Balance::RoundRobin`].
    RoundRobin,
    /// See [`Balance::Random`].
    Random,
    /// See [`Balance::LeastConn`].
    LeastConn,
    /// See [`Balance::First`].
    First,
    /// See [`Balance::Hash`].
    Hash(HashBy),
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// The better of two random ones, by requests in flight and latency.
    P2c,
    /// Smooth weighted round robin.
    RoundRobin,
    /// By chance, as weights say.
    Random,
    /// The one with the fewest requests in flight for its weight.
    LeastConn,
    /// The first in the file that may be used.
    First,
    /// The one that the request's key belongs to, unless it has too much to do.
    Hash(HashRule),
}

impl Balance {
    /// What `config` means for endpoints with these names and weights.
    pub fn new<'e>(config: &BalanceConfig, endpoints: impl Iterator<Item = (&'e str, u16)>) -> Balance {
        match config {
            BalanceConfig::P2c => Balance::P2c,
            BalanceConfig::RoundRobin => Balance::RoundRobin,
            BalanceConfig::Random => Balance::Random,
            BalanceConfig::LeastConn => Balance::LeastConn,
            BalanceConfig::First => Balance::First,
            BalanceConfig::Hash(by) => Balance::Hash(HashRule::new(by.clone(), endpoints)),
        }
    }
}

impl Balance {
    /// The same for other endpoints.
    pub fn with_endpoints<'e>(&self, endpoints: impl Iterator<Item = (&'e str, u16)>) -> Balance {
        match self {
            Balance::Hash(rule) => Balance::Hash(HashRule::new(rule.by.clone(), endpoints)),
            other => other.clone(),
        }
    }
}

/// What a decision looks at.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Relative share, at least 1.
    pub weight: u32,
    /// Requests in flight.
    pub load: u32,
    /// Already tried by this request, or not usable.
    pub excluded: bool,
}

/// The better of two weighted random ones, by load per weight (Mitzenmacher 2001). `None`: all are excluded.
pub fn p2c(candidates: impl Iterator<Item = Candidate> + Clone, rng: &mut Rng) -> Option<usize> {
    let first = weighted(candidates.clone(), None, rng)?;
    let Some(second) = weighted(candidates.clone(), Some(first), rng) else {
        return Some(first);
    };
    let mut score = candidates.map(|c| (u64::from(c.load) + 1, u64::from(c.weight.max(1))));
    let (low, high) = (first.min(second), first.max(second));
    let (a, b) = (score.nth(low)?, score.nth(high - low - 1)?);
    // A tie goes to the one drawn first, which is random; the lower one would starve the last.
    Some(match (a.0 * b.1).cmp(&(b.0 * a.1)) {
        Ordering::Less => low,
        Ordering::Equal => first,
        Ordering::Greater => high,
    })
}

fn weighted(candidates: impl Iterator<Item = Candidate> + Clone, but: Option<usize>, rng: &mut Rng) -> Option<usize> {
    let usable = |(i, c): &(usize, Candidate)| !c.excluded && Some(*i) != but;
    let total: u64 = candidates.clone().enumerate().filter(usable).map(|(_, c)| u64::from(c.weight.max(1))).sum();
    if total == 0 {
        return None;
    }
    let mut at = rng.below(total);
    for (i, c) in candidates.enumerate().filter(usable) {
        let w = u64::from(c.weight.max(1));
        if at < w {
            return Some(i);
        }
        at -= w;
    }
    None
}

/// Smooth weighted round robin: each gets its share without bursts. `current` is the state, one entry per candidate.
pub fn round_robin(candidates: impl Iterator<Item = Candidate>, current: &mut Vec<i64>) -> Option<usize> {
    let (mut total, mut best) = (0, None);
    for (i, c) in candidates.enumerate() {
        if current.len() <= i {
            current.push(0);
        }
        if c.excluded {
            continue;
        }
        let weight = i64::from(c.weight.max(1));
        total += weight;
        current[i] += weight;
        if best.is_none_or(|b: usize| current[i] > current[b]) {
            best = Some(i);
        }
    }
    if let Some(b) = best {
        current[b] -= total;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three(loads: [u32; 3], excluded: [bool; 3]) -> Vec<Candidate> {
        (0..3).map(|i| Candidate { weight: [5, 1, 1][i], load: loads[i], excluded: excluded[i] }).collect()
    }

    #[test]
    fn round_robin_is_smooth_and_exact() {
        let (c, mut state) = (three([0; 3], [false; 3]), Vec::new());
        let picks: Vec<_> = (0..7).filter_map(|_| round_robin(c.iter().copied(), &mut state)).collect();
        assert_eq!(picks, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn p2c_follows_weights_when_even_and_avoids_the_loaded() {
        let mut rng = Rng::new(7);
        let mut counts = [0u32; 3];
        for _ in 0..70_000 {
            let c = three([0; 3], [false; 3]);
            counts[p2c(c.iter().copied(), &mut rng).expect("some")] += 1;
        }
        assert!(counts[0] > counts[1] && counts[0] > counts[2], "{counts:?}");
        let even: Vec<_> = (0..4).map(|_| Candidate { weight: 1, load: 0, excluded: false }).collect();
        let mut counts = [0u32; 4];
        for _ in 0..40_000 {
            counts[p2c(even.iter().copied(), &mut rng).expect("some")] += 1;
        }
        assert!(counts.iter().all(|n| (9_000..11_000).contains(n)), "idle equals share alike: {counts:?}");
        let busy = three([1000, 0, 0], [false; 3]);
        let hits = (0..1000).filter(|_| p2c(busy.iter().copied(), &mut rng) == Some(0)).count();
        assert_eq!(hits, 0);
    }

    #[test]
    fn excluded_ones_are_never_picked() {
        let (mut rng, mut state) = (Rng::new(1), Vec::new());
        let c = three([0; 3], [true, false, true]);
        for _ in 0..100 {
            assert_eq!(p2c(c.iter().copied(), &mut rng), Some(1));
            assert_eq!(round_robin(c.iter().copied(), &mut state), Some(1));
        }
        let none = three([0; 3], [true; 3]);
        assert_eq!(p2c(none.iter().copied(), &mut rng), None);
        assert_eq!(round_robin(none.iter().copied(), &mut state), None);
    }
}
