//! Which endpoint the next attempt goes to, and what a shard remembers to decide it.
use super::{
    PoolRule, Upstreams,
    balance::{self, Balance, Candidate},
};

/// What a request asks of a choice.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Where it was already.
    pub tried: &'a Tried,
    /// What it is hashed by, where the pool's balance is that.
    pub key: Option<u64>,
    /// The endpoint that its client belongs to.
    pub sticky: Option<usize>,
    /// Whether endpoints that are out of use may be chosen too: for the few requests that look whether all is as bad as it seems.
    pub any: bool,
    /// The shard's clock, ms.
    pub now_ms: u64,
}

/// The endpoints that a request tried, by their index in the pool. Of those past the 64th, the last few.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    bits: u64,
    /// Index plus one; 0 is none.
    far: [u32; FAR],
    next: usize,
}

/// How many endpoints past the 64th are remembered.
const FAR: usize = 8;

impl Tried {
    /// None.
    pub fn new() -> Tried {
        Tried::default()
    }

    /// Endpoint `index` was tried.
    pub fn add(&mut self, index: usize) {
        if index < 64 {
            self.bits |= 1 << index;
        } else if !self.has(index) {
            self.far[self.next % FAR] = u32::try_from(index + 1).unwrap_or(u32::MAX);
            self.next += 1;
        }
    }

    /// Whether endpoint `index` was tried.
    pub fn has(&self, index: usize) -> bool {
        match index {
            0..64 => self.bits >> index & 1 == 1,
            _ => self.next > 0 && self.far.contains(&u32::try_from(index + 1).unwrap_or(u32::MAX)),
        }
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.bits == 0 && self.next == 0
    }
}

impl Upstreams {
    /// The endpoint for the next attempt; `None` when none is usable and untried.
    pub(super) fn choose(&self, rule: &PoolRule, ask: Ask<'_>) -> Option<usize> {
        let allowed = |i: usize| {
            let endpoint = rule.endpoints.get(i)?;
            (!ask.tried.has(i) && (ask.any || endpoint.state.usable())).then_some(i)
        };
        if rule.endpoints.len() == 1 {
            return allowed(0);
        }
        if let Some(stuck) = ask.sticky.and_then(allowed) {
            return Some(stuck);
        }
        let candidates = rule.endpoints.iter().enumerate().map(|(i, e)| Candidate {
            weight: u32::from(e.weight),
            load: self.endpoints.get(rule, e).in_flight.get(),
            excluded: allowed(i).is_none(),
        });
        match rule.balance {
            Balance::RoundRobin => {
                let mut turns = self.turns.borrow_mut();
                let state = turns.entry(rule.state.slot).or_default();
                state.truncate(rule.endpoints.len());
                balance::round_robin(candidates, state)
            }
            _ => balance::p2c(candidates, &mut self.rng.borrow_mut()),
        }
    }
}
