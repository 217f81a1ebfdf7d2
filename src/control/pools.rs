//! The steward's part for pools: outliers are left out and come back, endpoints start slowly, and how many are in which
//! state is told. What is remembered outlives snapshots as far as the endpoints do.
use super::{changes::Changes, steward::Look};
use crate::{
    snapshot::Snapshot,
    upstream::{
        EndpointRule, EndpointState, PoolRule, Why,
        balance::slow_start,
        endpoint_status::{EJECTED, FULL_SHARE, UNHEALTHY},
        outlier::{Counts, Decision, Detector, Member, Sample, Wants},
    },
};
use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Weak},
};

/// Levels are set each so many ticks.
const LEVELS_EVERY: u64 = 5;

/// The part.
pub(super) struct Pools {
    seen: Weak<Snapshot>,
    watches: Vec<Watch>,
    changes: Rc<RefCell<Changes>>,
}

/// One pool.
struct Watch {
    rule: Arc<PoolRule>,
    detector: Detector,
    starts: Vec<Start>,
}

/// Where an endpoint is on its way to its whole share.
#[derive(Clone, Copy)]
enum Start {
    /// It has it.
    Done,
    /// It is out of use.
    Out,
    /// It came into use then, µs.
    Since(u64),
}

impl Pools {
    pub(super) fn new(changes: Rc<RefCell<Changes>>) -> Pools {
        Pools { seen: Weak::new(), watches: Vec::new(), changes }
    }

    pub(super) fn tick(&mut self, look: Look<'_>) {
        if !std::ptr::eq(self.seen.as_ptr(), Arc::as_ptr(look.snapshot)) {
            self.follow(look);
        }
        let mut changes = self.changes.borrow_mut();
        for watch in &mut self.watches {
            watch.outliers(look, &mut changes);
            watch.slow_starts(look.now_us);
            if look.tick.is_multiple_of(LEVELS_EVERY) {
                watch.levels();
            }
        }
        changes.tick(look.now_us);
    }

    /// Another snapshot: what is known of endpoints that are still there stays.
    fn follow(&mut self, look: Look<'_>) {
        let first = self.seen.strong_count() == 0 && self.watches.is_empty();
        self.seen = Arc::downgrade(look.snapshot);
        let old = std::mem::take(&mut self.watches);
        let mut old: HashMap<*const (), Watch> =
            old.into_iter().map(|watch| (Arc::as_ptr(&watch.rule.state).cast(), watch)).collect();
        for rule in &look.snapshot.pools {
            let known = old.remove(&Arc::as_ptr(&rule.state).cast());
            self.watches.push(Watch::new(rule.clone(), known, first, look.now_us));
        }
    }
}

impl Watch {
    fn new(rule: Arc<PoolRule>, known: Option<Watch>, first: bool, now_us: u64) -> Watch {
        // In a pool that is new as a whole nobody has more than the others.
        let fresh = if first || known.is_none() { Start::Done } else { Start::Since(now_us) };
        let mut detector = Detector::default();
        let mut members: HashMap<*const EndpointState, (Member, Start)> = HashMap::new();
        if let Some(watch) = known {
            let Watch { rule, detector: was, starts } = watch;
            let mut memories = was.members.iter().cloned();
            for (endpoint, start) in rule.endpoints.iter().zip(starts) {
                let member = memories.next().unwrap_or_default();
                members.insert(Arc::as_ptr(&endpoint.state), (member, start));
            }
            detector = was;
            detector.members.clear();
        }
        let mut starts = Vec::with_capacity(rule.endpoints.len());
        for endpoint in &rule.endpoints {
            let (member, start) =
                members.remove(&Arc::as_ptr(&endpoint.state)).unwrap_or_else(|| (Member::default(), fresh));
            if member.out_until().is_none() && endpoint.state.set_status(EJECTED, false) {
                endpoint.state.told().ejected = None; // it was gone for a while
            }
            detector.members.push(member);
            starts.push(start);
        }
        Watch { rule, detector, starts }
    }

    fn outliers(&mut self, look: Look<'_>, changes: &mut Changes) {
        let decisions = match &self.rule.outlier {
            Some(rule) if self.rule.endpoints.len() > 1 => {
                let wants = self.detector.wants(rule, look.now_us);
                let samples: Vec<Sample> = self.rule.endpoints.iter().map(|e| sample(e, wants)).collect();
                self.detector.tick(rule, look.now_us, &samples)
            }
            _ if self.detector.members.is_empty() => return,
            _ => self.detector.clear(),
        };
        self.rule.stats.ejections_capped.set_total(self.detector.capped);
        for (index, decision) in decisions {
            if let Some(endpoint) = self.rule.endpoints.get(index) {
                apply(&self.rule, endpoint, decision, look, changes);
            }
        }
    }

    /// Those that came back, or are new in a pool that others were in already, get their share bit by bit.
    fn slow_starts(&mut self, now_us: u64) {
        let ramp = self.rule.slow_start.filter(|_| self.rule.endpoints.len() > 1);
        for (endpoint, start) in self.rule.endpoints.iter().zip(&mut self.starts) {
            let usable = endpoint.state.usable();
            *start = match (*start, usable, ramp) {
                (_, false, _) => Start::Out,
                (Start::Out, true, Some(_)) => Start::Since(now_us),
                (_, true, None) => Start::Done,
                (start, true, Some(_)) => start,
            };
            let share = match (*start, ramp) {
                (Start::Since(since), Some(ramp)) => slow_start::share(since, now_us, ramp),
                _ => FULL_SHARE,
            };
            if share == FULL_SHARE && usable {
                *start = Start::Done;
            }
            endpoint.state.set_share(share);
        }
    }

    fn levels(&self) {
        let mut levels = [0; 3];
        for endpoint in &self.rule.endpoints {
            let state = &endpoint.state;
            levels[if state.usable() { 0 } else { 2 - usize::from(state.has_status(UNHEALTHY)) }] += 1;
        }
        self.rule.stats.set_endpoints(levels);
        self.rule.stats.failed_open.set_total(self.rule.state.failed_open());
    }
}

fn sample(endpoint: &EndpointRule, wants: Wants) -> Sample {
    let (longest, failures) = endpoint.state.take_failures();
    let counts = || Counts { failures, successes: endpoint.stats.successes() };
    Sample {
        longest,
        unhealthy: endpoint.state.has_status(UNHEALTHY),
        counts: wants.counts.then(counts),
        latency: wants.latency.then(|| endpoint.stats.first_byte()),
    }
}

fn apply(pool: &PoolRule, endpoint: &EndpointRule, decision: Decision, look: Look<'_>, changes: &mut Changes) {
    let state = &endpoint.state;
    let mut told = state.told();
    match decision {
        Decision::Eject(reason, until_us) => {
            let seconds = until_us.saturating_sub(look.now_us).div_ceil(1_000_000);
            told.ejected =
                Some(Why { since: look.unix_s, reason: reason.to_string(), until: Some(look.unix_s + seconds) });
            told.ejections += 1;
            pool.stats.ejected(reason.label());
            state.set_status(EJECTED, true);
            changes.tell(
                look.now_us,
                format_args!("pool {}: {} is left out for {seconds} s: {reason}", pool.id, endpoint.name),
            );
        }
        Decision::Readmit => {
            told.ejected = None;
            state.forgive();
            state.set_status(EJECTED, false);
            changes.tell(look.now_us, format_args!("pool {}: {} is back", pool.id, endpoint.name));
        }
    }
    told.changed = Some(look.unix_s);
}
