//! Which endpoint the next attempt goes to, and what a shard remembers to decide it.
use super::{
    PoolRule, Upstreams,
    balance::{self, Balance, Candidates, Demand, Draw, Rng, Subset, Turns, slow_start},
    rule::Protocol,
};
use std::cell::RefCell;

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

/// How long a subset stays grown, ms: then those that were out of use may be back.
const GROWN_MS: u64 = 600_000;
/// How long the weight of the endpoints in use is taken for the same, ms.
const PULL_MS: u64 = 100;

/// One request in so many may go to an endpoint that fails again and again.
const LOOK_EVERY: u64 = 32;

/// What one shard remembers of its pools to choose their endpoints, by the slots of the pools.
#[derive(Default)]
pub(super) struct Views(RefCell<Vec<Option<Box<View>>>>);

impl Views {
    /// Forgets all: there is a new snapshot. What is still needed is made again.
    pub fn clear(&self) {
        self.0.borrow_mut().clear();
    }
}

/// What one shard remembers of one pool.
struct View {
    /// Of which making of the pool it is.
    generation: u64,
    subset: Subset,
    draw: Draw,
    turns: Turns,
    /// When the subset grew, ms.
    grew_ms: u64,
    /// Weight of the endpoints in use, and when it was found out, ms.
    pull: Option<(u64, u64)>,
}

impl View {
    fn new(pool: &Seen<'_>, rng: &mut Rng) -> View {
        let names = pool.rule.endpoints.iter().map(|e| &*e.name);
        let shards = pool.rule.endpoints.first().map_or(1, |e| e.stats.shards());
        let subset = match pool.rule.balance {
            // the order, or the key, is among all of them
            Balance::First | Balance::Hash(_) => Subset::new(names, 0, 1),
            _ => Subset::new(names, pool.upstreams.local.shard, shards),
        };
        let draw = Draw::new(subset.members().to_vec(), |index| pool.weight(index));
        let turns = Turns::new(pool, draw.members(), rng);
        View { generation: pool.rule.generation, subset, draw, turns, grew_ms: 0, pull: None }
    }

    fn renew(&mut self, pool: &Seen<'_>, rng: &mut Rng) {
        self.draw = Draw::new(self.subset.members().to_vec(), |index| pool.weight(index));
        self.turns = Turns::new(pool, self.draw.members(), rng);
    }

    /// Uses more of the pool; false when it uses all of it.
    fn grow(&mut self, pool: &Seen<'_>, rng: &mut Rng) -> bool {
        let grew = self.subset.grow();
        if grew {
            self.grew_ms = pool.ask.now_ms;
            self.renew(pool, rng);
        }
        grew
    }

    fn choose(&mut self, pool: &Seen<'_>, rng: &mut Rng) -> Option<usize> {
        if self.subset.has_grown() && pool.ask.now_ms.saturating_sub(self.grew_ms) > GROWN_MS {
            self.subset.shrink();
            self.renew(pool, rng);
        }
        loop {
            let found = match &pool.rule.balance {
                Balance::First => return balance::first(pool),
                Balance::Hash(rule) => {
                    // what has no key belongs to nobody
                    let owned = pool.ask.key.map(|key| balance::bounded(pool, &rule.table, key, self.demand(pool)));
                    return owned.unwrap_or_else(|| balance::p2c(pool, &self.draw, rng));
                }
                Balance::P2c => balance::p2c(pool, &self.draw, rng),
                Balance::Random => self.draw.pick(pool, None, rng),
                Balance::LeastConn => balance::least_conn(pool, &self.draw, rng),
                Balance::RoundRobin => self.turns.next(pool, self.draw.members()),
            };
            match found {
                Some(index) => {
                    if self.subset.may_grow() && pool.is_full(index) {
                        self.grow(pool, rng);
                    }
                    return found;
                }
                None if self.grow(pool, rng) => {}
                None => return None,
            }
        }
    }

    fn demand(&mut self, pool: &Seen<'_>) -> Demand {
        let now = pool.ask.now_ms;
        let pull = match self.pull {
            Some((pull, at)) if now.saturating_sub(at) < PULL_MS => pull,
            _ => {
                let pull = (0..pool.len()).map(|index| pool.pull(index)).sum();
                self.pull = Some((pull, now));
                pull
            }
        };
        Demand { in_flight: pool.upstreams.endpoints.in_flight(pool.rule), pull }
    }
}

/// A pool as one request sees it.
#[derive(Clone, Copy)]
struct Seen<'a> {
    upstreams: &'a Upstreams,
    rule: &'a PoolRule,
    ask: Ask<'a>,
    /// One that has failed so often in a row is passed over, as if it were left out already.
    wary_of: u32,
}

impl Seen<'_> {
    /// Whether endpoint `index` may be chosen.
    fn allows(&self, index: usize) -> bool {
        self.share(index) > 0
    }

    /// Whether this shard has as much on its way to endpoint `index` as the limit on connections allows to all.
    fn is_full(&self, index: usize) -> bool {
        let Some(endpoint) = self.rule.endpoints.get(index) else { return false };
        let streams = if endpoint.protocol == Protocol::Http1 { 1 } else { self.rule.max_streams.max(1) };
        self.load(index) >= self.rule.max_connections.saturating_mul(streams)
    }
}

impl Candidates for Seen<'_> {
    fn len(&self) -> usize {
        self.rule.endpoints.len()
    }

    fn weight(&self, index: usize) -> u32 {
        self.rule.endpoints.get(index).map_or(1, |e| u32::from(e.weight))
    }

    fn share(&self, index: usize) -> u32 {
        match self.rule.endpoints.get(index) {
            Some(endpoint) if !self.ask.tried.has(index) => match self.ask.any {
                true => slow_start::FULL,
                false if endpoint.state.usable() && endpoint.state.failures_in_a_row() < self.wary_of => {
                    endpoint.state.share()
                }
                false => 0,
            },
            _ => 0,
        }
    }

    fn load(&self, index: usize) -> u32 {
        let load = |e| self.upstreams.endpoints.get(self.rule, e).in_flight.get();
        self.rule.endpoints.get(index).map_or(0, load)
    }

    fn latency_us(&self, index: usize) -> Option<f32> {
        let endpoint = self.upstreams.endpoints.get(self.rule, self.rule.endpoints.get(index)?);
        endpoint.ewma.get(self.ask.now_ms)
    }
}

impl Upstreams {
    /// The endpoint for the next attempt; `None` when none is usable and untried.
    ///
    /// The control thread leaves an endpoint out up to a tenth of a second after it failed too often in a row, and not at all
    /// where too much of the pool is out: until then it is passed over wherever there is another one. But now and then it is
    /// taken all the same, or else nobody would notice that it is well again.
    pub(super) fn choose(&self, rule: &PoolRule, ask: Ask<'_>) -> Option<usize> {
        let calm = Seen { upstreams: self, rule, ask, wary_of: u32::MAX };
        if rule.endpoints.len() == 1 {
            return calm.allows(0).then_some(0);
        }
        let wary_of = rule.outlier.map_or(u32::MAX, |outlier| outlier.consecutive);
        if wary_of == 0 || wary_of == u32::MAX || self.rng.borrow_mut().below(LOOK_EVERY) == 0 {
            return self.choose_of(&calm);
        }
        self.choose_of(&Seen { wary_of, ..calm }).or_else(|| self.choose_of(&calm))
    }

    fn choose_of(&self, pool: &Seen<'_>) -> Option<usize> {
        let Seen { rule, ask, .. } = *pool;
        if let Some(index) = ask.sticky.filter(|index| pool.allows(*index)) {
            return Some(index);
        }
        let (mut views, mut rng) = (self.views.0.borrow_mut(), self.rng.borrow_mut());
        let slot = rule.state.slot;
        if views.len() <= slot {
            views.resize_with(slot + 1, || None);
        }
        let view = views.get_mut(slot)?;
        match view {
            Some(view) if view.generation == rule.generation => view.choose(pool, &mut rng),
            _ => view.insert(Box::new(View::new(pool, &mut rng))).choose(pool, &mut rng),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_tried_is_known_near_and_far() {
        let mut tried = Tried::new();
        assert!(tried.is_empty() && !tried.has(0) && !tried.has(64) && !tried.has(9_999));
        for index in [0, 63, 64, 9_999, 64] {
            tried.add(index);
        }
        assert!([0, 63, 64, 9_999].iter().all(|index| tried.has(*index)));
        assert!([1, 62, 65, 9_998].iter().all(|index| !tried.has(*index)));
        (100..100 + FAR).for_each(|index| tried.add(index));
        assert!((100..100 + FAR).all(|index| tried.has(index)) && tried.has(63), "the last are remembered");
    }
}
