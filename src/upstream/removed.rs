//! Endpoints that are no longer in any pool: their state and counters stay for a while, so that one that comes back soon
//! is known.
use super::{EndpointState, PoolRule};
use crate::observe::stats::EndpointStats;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

/// How long a removed endpoint is remembered.
pub const REMEMBERED: Duration = Duration::from_secs(300);
/// Most of them; beyond, those that went first are forgotten first.
pub const REMEMBERED_MAX: usize = 4096;

/// What is kept of an endpoint.
type Kept = (Arc<EndpointState>, Arc<EndpointStats>);

/// Endpoints in use, and removed ones.
#[derive(Debug, Default)]
pub(super) struct Removed {
    /// By slot, which no two have at a time.
    current: HashMap<usize, Kept>,
    /// In the order in which they went.
    gone: VecDeque<(Instant, Kept)>,
}

impl Removed {
    /// `pools` are in force from `now` on.
    pub fn keep(&mut self, pools: &[Arc<PoolRule>], now: Instant) {
        let all = pools.iter().flat_map(|pool| &pool.endpoints);
        let kept = |rule: &super::EndpointRule| (rule.state.slot, (rule.state.clone(), rule.stats.clone()));
        let new: HashMap<usize, Kept> = all.map(kept).collect();
        let before = std::mem::replace(&mut self.current, new);
        self.gone.retain(|(_, (state, _))| !self.current.contains_key(&state.slot));
        let went = before.into_iter().filter(|(slot, _)| !self.current.contains_key(slot));
        self.gone.extend(went.map(|(_, kept)| (now, kept)));
        while self.gone.len() > REMEMBERED_MAX {
            self.gone.pop_front();
        }
    }

    /// How many removed ones are remembered.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.gone.len()
    }

    /// Forgets those that went [`REMEMBERED`] ago; what still uses their state keeps it alive.
    pub fn reap(&mut self, now: Instant) {
        while self.gone.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) >= REMEMBERED) {
            self.gone.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{EndpointAddr, Registry, names},
        *,
    };
    use crate::{observe::stats::StatsRegistry, upstream::Question};
    use std::net::{IpAddr, Ipv4Addr};

    struct House {
        registry: Registry,
        stats: StatsRegistry,
        pool: PoolRule,
    }

    impl House {
        /// A pool with one name.
        fn new() -> House {
            let (registry, stats) = (Registry::new(), StatsRegistry::new(1));
            let named = names::NamedRule {
                question: Question::Host("a".into()),
                port: Some(80),
                name: "http://a".into(),
                authority: "a".into(),
                tls: None,
                protocol: Default::default(),
                weight: 1,
            };
            let second = Duration::from_secs(1);
            let pool = PoolRule {
                id: "app".into(),
                endpoints: Vec::new(),
                members: [names::Member::Named(named)].into(),
                balance: Default::default(),
                max_streams: 1,
                keepalive: 1,
                keepalive_idle: second,
                keepalive_age: second,
                max_connections: 1,
                max_waiting: 1,
                wait_timeout: second,
                timeouts: super::super::Timeouts {
                    connect: second,
                    first_byte: second,
                    body_idle: second,
                    total: None,
                    tunnel_idle: second,
                },
                state: registry.pool("app"),
            };
            House { registry, stats, pool }
        }

        /// The pool when its name stands for `addresses`, in force from `now` on.
        fn keep(&self, addresses: impl Iterator<Item = u16>, now: Instant) -> Arc<PoolRule> {
            let ip = |n: u16| IpAddr::from(Ipv4Addr::from(0x0a00_0000 + u32::from(n)));
            let answer = names::Answer::of_host(addresses.map(ip));
            self.registry.names.set(&Question::Host("a".into()), Arc::new(answer));
            let endpoints = names::endpoints("app", &self.pool.members, &self.registry, &self.stats);
            let pool = Arc::new(self.pool.clone().with_endpoints(endpoints));
            self.registry.keep(std::slice::from_ref(&pool), now);
            self.registry.reap(now);
            pool
        }
    }

    /// Where the state is; nothing else tells two of them apart.
    fn slot(pool: &PoolRule) -> (usize, EndpointAddr) {
        (pool.endpoints[0].state.slot, pool.endpoints[0].addr.clone())
    }

    #[test]
    fn one_that_comes_back_soon_is_known() {
        let (house, start) = (House::new(), Instant::now());
        let first = house.keep(1..2, start);
        first.endpoints[0].state.take_permits(1, 7);
        let state = Arc::downgrade(&first.endpoints[0].state);
        let before = slot(&first);
        drop(first);
        house.keep(2..3, start);
        let just_before = start + REMEMBERED - Duration::from_millis(1);
        let back = house.keep(1..2, just_before);
        assert_eq!((slot(&back), back.endpoints[0].state.taken()), (before, 1));
        drop(back);
        // It was in use again, and so its time begins anew when it goes again.
        house.keep(3..4, just_before);
        house.keep(3..4, start + REMEMBERED);
        assert!(state.strong_count() > 0);
        house.keep(3..4, just_before + REMEMBERED);
        assert_eq!(state.strong_count(), 0, "reaped");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (house, start) = (House::new(), Instant::now());
        let n = names::ADDRESSES_MAX as u16;
        for turn in 0..200u16 {
            house.keep((0..n).map(|i| turn * n + i), start);
        }
        let removed = house.registry.removed_len();
        assert_eq!(removed, REMEMBERED_MAX);
        house.keep(0..0, start + REMEMBERED * 2);
        house.keep(0..0, start + REMEMBERED * 4);
        assert_eq!(house.registry.removed_len(), 0);
    }
}
