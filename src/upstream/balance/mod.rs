//! Which endpoint a request goes to: pure decisions over weights, requests in flight and latencies.
//!
//! A policy sees endpoints as [`Candidates`], by index. None of them chooses one whose share is 0.
mod bounded;
mod draw;
mod ewma;
mod first;
mod hash;
mod least_conn;
mod maglev;
mod p2c;
mod rng;
mod round_robin;
#[cfg(test)]
mod simulation;
pub mod slow_start;
mod subset;
pub use bounded::{Demand, bounded};
pub use draw::Draw;
pub use ewma::Ewma;
pub use first::first;
pub use hash::{HashBy, HashRule};
pub use least_conn::least_conn;
pub use maglev::Maglev;
pub use p2c::p2c;
pub use rng::Rng;
pub use round_robin::Turns;
pub use subset::Subset;

/// A pool of more endpoints than this counts as large: nothing looks at all of them for one request.
pub const LARGE: usize = 64;

/// What a policy sees of a pool's endpoints.
pub trait Candidates {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The weight that the configuration gives endpoint `index`, at least 1.
    fn weight(&self, index: usize) -> u32;

    /// How much of that it has now, per mille; 0 = it must not be chosen.
    fn share(&self, index: usize) -> u32;

    /// Its requests in flight.
    fn load(&self, index: usize) -> u32;

    /// How long it takes to answer, µs; `None` while nobody knows.
    fn latency_us(&self, index: usize) -> Option<f32>;

    /// Weight and share in one, thousandths of a weight; 0 = it must not be chosen.
    fn pull(&self, index: usize) -> u64 {
        u64::from(self.weight(index).max(1)) * u64::from(self.share(index))
    }
}

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
