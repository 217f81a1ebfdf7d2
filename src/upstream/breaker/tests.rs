//! Circuits under a clock that is turned by hand: single steps, and thousands of runs with several shards.
use super::*;
use crate::{
    observe::stats::RouteStats,
    upstream::{balance::Rng, route_state::Wanted},
};

const RULE: BreakerRule = BreakerRule {
    errors_permille: 500,
    min_requests: 20,
    window: Duration::from_secs(10),
    open: Duration::from_secs(30),
    probes: 5,
};
const SECOND: u64 = 1_000_000;
const TICK: u64 = 100_000;

fn route(shards: usize) -> Arc<RouteState> {
    let stats = Arc::new(RouteStats::new("r".into(), shards));
    Arc::new(RouteState::new(stats, "p".into(), Wanted { breaker: Some(shards), ..Wanted::default() }))
}

fn tick(route: &RouteState, now_us: u64) -> Option<CircuitState> {
    route.breaker().and_then(|breaker| breaker.tick(&RULE, now_us))
}

/// Opens it; answers when.
fn opened(route: &RouteState) -> u64 {
    tick(route, 0);
    (0..20).for_each(|_| route.count(0, true));
    assert_eq!(tick(route, TICK), Some(CircuitState::Open));
    TICK
}

fn probes(route: &Arc<RouteState>) -> Vec<Probe> {
    let ask = || match route.circuit(&RULE) {
        Circuit::Probe(probe) => Some(probe),
        Circuit::Closed | Circuit::Open => None,
    };
    std::iter::from_fn(ask).take(100).collect()
}

#[test]
fn it_opens_when_half_of_enough_requests_failed() {
    for (passed, failed, opens) in [(0, 19, false), (0, 20, true), (10, 10, true), (11, 10, false), (1000, 999, false)]
    {
        let route = route(2);
        tick(&route, 0);
        (0..passed).for_each(|i| route.count(i % 2, false));
        (0..failed).for_each(|i| route.count(i % 2, true));
        assert_eq!(tick(&route, TICK).is_some(), opens, "{passed} passed, {failed} failed");
        assert_eq!(matches!(route.circuit(&RULE), Circuit::Open), opens);
    }
}

#[test]
fn failures_outside_the_window_are_forgotten() {
    let route = route(1);
    for second in 0..60 {
        route.count(0, true); // 10 within any window: fewer than count
        for part in 0..10 {
            assert_eq!(tick(&route, second * SECOND + part * TICK), None, "second {second}");
        }
    }
}

#[test]
fn after_its_time_five_probes_pass_and_decide() {
    for (failed, then) in [(0, CircuitState::Closed), (2, CircuitState::Closed), (3, CircuitState::Open)] {
        let route = route(1);
        let at = opened(&route);
        assert_eq!(tick(&route, at + 30 * SECOND - 1), None);
        assert!(probes(&route).is_empty(), "open");
        assert_eq!(tick(&route, at + 30 * SECOND), Some(CircuitState::HalfOpen));
        let probes = probes(&route);
        assert_eq!(probes.len(), 5);
        assert!(matches!(route.circuit(&RULE), Circuit::Open), "the others wait");
        probes.into_iter().enumerate().for_each(|(i, probe)| probe.done(i < failed));
        assert_eq!(tick(&route, at + 30 * SECOND + TICK), Some(then), "{failed} failed");
    }
}

#[test]
fn old_failures_do_not_open_a_circuit_that_has_just_closed() {
    let route = route(1);
    let at = opened(&route) + 30 * SECOND;
    tick(&route, at);
    probes(&route).into_iter().for_each(|probe| probe.done(false));
    assert_eq!(tick(&route, at + TICK), Some(CircuitState::Closed));
    (2..200).for_each(|n| assert_eq!(tick(&route, at + n * TICK), None));
}

#[test]
fn the_place_of_a_cancelled_probe_goes_to_another() {
    let route = route(1);
    let at = opened(&route) + 30 * SECOND;
    tick(&route, at);
    for _ in 0..50 {
        drop(probes(&route)); // the clients went away
    }
    let probes = probes(&route);
    assert_eq!(probes.len(), 5);
    probes.into_iter().for_each(|probe| probe.done(false));
    assert_eq!(tick(&route, at + TICK), Some(CircuitState::Closed));
}

#[test]
fn a_probe_that_is_late_says_nothing_of_the_next_turn() {
    let route = route(1);
    let at = opened(&route) + 30 * SECOND;
    tick(&route, at);
    let mut late = probes(&route);
    late.drain(..3).for_each(|probe| probe.done(true));
    assert_eq!(tick(&route, at + TICK), Some(CircuitState::Open));
    tick(&route, at + 31 * SECOND);
    let now = probes(&route);
    assert_eq!(now.len(), 5);
    late.into_iter().enumerate().for_each(|(i, probe)| if i == 0 { drop(probe) } else { probe.done(true) });
    assert!(probes(&route).is_empty(), "no place was given back by one of another turn");
    now.into_iter().for_each(|probe| probe.done(false));
    assert_eq!(tick(&route, at + 32 * SECOND), Some(CircuitState::Closed));
}

#[test]
fn words_hold_what_was_put_in() {
    for state in [CircuitState::Closed, CircuitState::Open, CircuitState::HalfOpen] {
        let word = Word { turn: u32::MAX - 1, state, issued: PROBES_MAX, passed: 7, failed: 999 };
        assert_eq!(Word::unpack(word.pack()), word);
    }
    assert!(
        CIRCUIT_STATES.iter().zip([0, 1, 2]).all(|(word, n)| {
            [CircuitState::Closed, CircuitState::Open, CircuitState::HalfOpen][n].as_str() == *word
        })
    );
}

/// What a run of requests over several shards saw.
struct Run {
    rng: Rng,
    route: Arc<RouteState>,
    rule: BreakerRule,
    /// Requests under way: when each ends, and its probe.
    under_way: Vec<(u64, Option<(u32, Probe)>)>,
    since: (CircuitState, u64, u32),
}

impl Run {
    fn below(&mut self, n: u64) -> u64 {
        self.rng.next_u64() % n
    }

    /// A request comes on some shard.
    fn ask(&mut self, now: u64) {
        let (state, _, turn) = self.since;
        let probe = match self.route.circuit(&self.rule) {
            Circuit::Open => return assert_ne!(state, CircuitState::Closed),
            Circuit::Closed => {
                assert_eq!(state, CircuitState::Closed, "nothing passes but probes");
                None
            }
            Circuit::Probe(probe) => {
                assert_eq!(state, CircuitState::HalfOpen);
                Some((turn, probe))
            }
        };
        let ends = now + self.below(3 * SECOND);
        self.under_way.push((ends, probe));
        let at_once = self.under_way.iter().filter(|(_, p)| p.as_ref().is_some_and(|(of, _)| *of == turn)).count();
        assert!(at_once <= self.rule.probes as usize, "{at_once} probes at once");
    }

    /// Requests end: answered, failed, or given up by their clients.
    fn end(&mut self, now: u64, origin_fails: u64) {
        for i in (0..self.under_way.len()).rev() {
            if self.under_way[i].0 > now {
                continue;
            }
            let (_, probe) = self.under_way.swap_remove(i);
            let (cancelled, failed, shard) = (self.below(10) == 0, self.below(100) < origin_fails, self.below(3));
            if cancelled {
                continue;
            }
            self.route.count(shard as usize, failed);
            if let Some((_, probe)) = probe {
                probe.done(failed);
            }
        }
    }

    fn tick(&mut self, now: u64) {
        let Some(next) = self.route.breaker().and_then(|breaker| breaker.tick(&self.rule, now)) else { return };
        let (state, since, turn) = self.since;
        match (state, next) {
            (CircuitState::Closed, CircuitState::Open) => {}
            (CircuitState::Open, CircuitState::HalfOpen) => assert!(now - since >= micros(self.rule.open)),
            (CircuitState::HalfOpen, CircuitState::Open | CircuitState::Closed) => {}
            other => panic!("{other:?}"),
        }
        self.since = (next, now, turn + 1);
    }
}

#[test]
fn in_thousands_of_runs_no_circuit_lets_more_pass_than_it_may_and_all_recover() {
    let mut turns = 0;
    for seed in 0..2000 {
        let mut rng = Rng::new(seed * 104_729 + 1);
        let mut below = |n: u64| rng.next_u64() % n;
        let rule = BreakerRule {
            errors_permille: 100 + below(900) as u32,
            min_requests: 1 + below(40) as u32,
            window: Duration::from_millis(1000 + below(10_000)),
            open: Duration::from_millis(100 + below(5000)),
            probes: 1 + below(8) as u32,
        };
        let mut run = Run { rng, route: route(3), rule, under_way: Vec::new(), since: (CircuitState::Closed, 0, 0) };
        let (bad_from, bad_to) = (run.below(20), 20 + run.below(20));
        let mut now = 0;
        // The origin is bad for a while, and well from second 40 on.
        while now < 120 * SECOND {
            let second = now / SECOND;
            let fails = if (bad_from..bad_to).contains(&second) { 100 } else { 0 };
            (0..run.below(6)).for_each(|_| run.ask(now));
            run.end(now, fails);
            run.tick(now);
            now += TICK + run.below(TICK / 4);
        }
        assert_eq!(run.since.0, CircuitState::Closed, "seed {seed}: no probe is lost, so it closes");
        turns += run.since.2;
    }
    assert!(turns > 4000, "circuits did open: {turns}");
}

/// Real threads for shards, a thread for control: nothing is counted twice and no place is lost.
#[test]
fn shards_share_the_probes_exactly() {
    use std::sync::atomic::{AtomicBool, AtomicI64};
    let (route, over) = (route(4), AtomicBool::new(false));
    let (inside, most) = (AtomicI64::new(0), AtomicI64::new(0));
    let at = opened(&route) + 30 * SECOND;
    tick(&route, at);
    std::thread::scope(|scope| {
        for shard in 0..4 {
            let (route, over, inside, most) = (&route, &over, &inside, &most);
            scope.spawn(move || {
                let mut rng = Rng::new(shard + 1);
                while !over.load(Relaxed) {
                    if let Circuit::Probe(probe) = route.circuit(&RULE) {
                        most.fetch_max(inside.fetch_add(1, Relaxed) + 1, Relaxed);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Relaxed);
                        // Most are given up; in the end five are not.
                        if rng.next_u64().is_multiple_of(200) { probe.done(false) } else { drop(probe) }
                    }
                }
            });
        }
        let began = std::time::Instant::now();
        while tick(&route, at + TICK).is_none() {
            assert!(began.elapsed() < Duration::from_secs(60), "five probes in a minute");
            std::thread::yield_now();
        }
        over.store(true, Relaxed);
    });
    assert_eq!(route.breaker().map(Breaker::state), Some(CircuitState::Closed));
    assert!(most.load(Relaxed) <= 5, "{most:?} at once");
}
