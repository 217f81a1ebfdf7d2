//! What all shards of a route have in common, published for the scrape: any thread writes, none counts on the way of a request.
use super::route::RouteStats;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What became of a request that was slow enough for a second attempt beside the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum HedgeOutcome {
    /// The second attempt answered first.
    Won,
    /// The first attempt answered first.
    Lost,
    /// Both failed.
    Failed,
    /// There was no budget for a second attempt.
    NoBudget,
}

impl HedgeOutcome {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        HEDGE_OUTCOMES[self as usize]
    }
}

/// Outcomes as metric labels, in the order of their discriminants.
pub const HEDGE_OUTCOMES: [&str; 4] = ["won", "lost", "failed", "no_budget"];

/// States of a circuit as metric labels.
pub const CIRCUIT_STATES: [&str; 3] = ["closed", "open", "half_open"];

/// Made when there is something to publish.
#[derive(Debug, Default)]
pub(super) struct RouteShared {
    /// 1 + retries left in the budget; 0 = nobody ever asked for one.
    tokens: AtomicU64,
    /// 1 + the index in `CIRCUIT_STATES`; 0 = there is no circuit.
    circuit: AtomicU64,
    /// How often the circuit opened.
    trips: AtomicU64,
}

impl RouteStats {
    fn publish(&self) -> &RouteShared {
        self.shared.get_or_init(Box::default)
    }

    /// Publishes how many retries are left.
    pub fn set_retry_tokens(&self, tokens: u64) {
        self.publish().tokens.store(tokens.saturating_add(1), Relaxed);
    }

    /// Retries left, if one was ever asked for.
    pub fn retry_tokens(&self) -> Option<u64> {
        self.shared.get()?.tokens.load(Relaxed).checked_sub(1)
    }

    /// Publishes where the circuit stands, as an index of `CIRCUIT_STATES`; `None` = there is none.
    pub fn set_circuit(&self, state: Option<usize>) {
        if state.is_some() || self.shared.get().is_some() {
            self.publish().circuit.store(state.map_or(0, |state| state as u64 + 1), Relaxed);
        }
    }

    /// Where the circuit stands, as an index of `CIRCUIT_STATES`, and how often it opened.
    pub fn circuit(&self) -> Option<(usize, u64)> {
        let shared = self.shared.get()?;
        let state = shared.circuit.load(Relaxed).checked_sub(1)?;
        Some((usize::try_from(state).ok()?, shared.trips.load(Relaxed)))
    }

    /// The circuit opened.
    pub fn tripped(&self) {
        self.publish().trips.fetch_add(1, Relaxed);
    }
}
