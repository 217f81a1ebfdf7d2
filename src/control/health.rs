//! The prober: one for the process. It asks the endpoints of pools with a health rule when it is their time, and publishes
//! what it concludes. Its memory outlives snapshots: an endpoint whose rule stays the same keeps its schedule.
use super::{
    changes::Changes,
    probe::{self, Outcome, Target},
    steward::Look,
};
use crate::{
    observe::stats::{CheckResult, PoolStats},
    snapshot::Snapshot,
    upstream::{
        EndpointState, PoolState, Why,
        balance::Rng,
        endpoint_status::UNHEALTHY,
        health::{HealthRule, Judge, Schedule, Verdict},
    },
};
use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Weak},
    time::Instant,
};
use tokio::task::spawn_local;

/// Probes at a time. Others wait for their turn, those that are due longest first.
const AT_ONCE: usize = 256;
/// A request that passed and succeeded is no reason to ask more often than this.
const HURRY_EVERY_US: u64 = 900_000;

/// What probes have ended with: by their endpoint and the number of its watch.
type Ended = Rc<RefCell<Vec<(*const EndpointState, u64, Outcome)>>>;

/// The part of the steward.
pub(super) struct Prober {
    seen: Weak<Snapshot>,
    watches: HashMap<*const EndpointState, Watch>,
    /// What probes have ended with since the last tick.
    ended: Ended,
    running: usize,
    next_id: u64,
    rng: Rng,
    changes: Rc<RefCell<Changes>>,
}

/// One endpoint.
struct Watch {
    /// No other watch has it.
    id: u64,
    name: Arc<str>,
    rule: Arc<HealthRule>,
    target: Rc<Target>,
    /// Held so that nobody else gets its address.
    state: Arc<EndpointState>,
    pool: Arc<PoolState>,
    stats: Arc<PoolStats>,
    judge: Judge,
    schedule: Schedule,
    busy: bool,
    hurried_us: u64,
}

impl Prober {
    pub(super) fn new(changes: Rc<RefCell<Changes>>) -> Prober {
        let rng = Rng::new(edge_io::clock::monotonic_us().wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let (watches, ended) = (HashMap::new(), Rc::default());
        Prober { seen: Weak::new(), watches, ended, running: 0, next_id: 0, rng, changes }
    }

    pub(super) fn tick(&mut self, look: Look<'_>) {
        let ended = std::mem::take(&mut *self.ended.borrow_mut());
        for (key, id, outcome) in ended {
            self.running -= 1;
            if let Some(watch) = self.watches.get_mut(&key).filter(|watch| watch.id == id) {
                watch.ended(&outcome, look, &mut self.changes.borrow_mut());
            }
        }
        if !std::ptr::eq(self.seen.as_ptr(), Arc::as_ptr(look.snapshot)) {
            self.follow(look);
        }
        self.ask(look.now_us);
    }

    /// Begins the probes that are due.
    fn ask(&mut self, now_us: u64) {
        let mut due: Vec<&mut Watch> = Vec::new();
        for watch in self.watches.values_mut() {
            watch.hurry(now_us);
            if !watch.busy && watch.schedule.next_us() <= now_us {
                due.push(watch);
            }
        }
        due.sort_by_key(|watch| watch.schedule.next_us());
        for watch in due.into_iter().take(AT_ONCE.saturating_sub(self.running)) {
            watch.schedule.began(&watch.rule, now_us, &mut self.rng);
            watch.busy = true;
            self.running += 1;
            let (key, id, ended) = (Arc::as_ptr(&watch.state), watch.id, self.ended.clone());
            let (rule, target) = (watch.rule.clone(), watch.target.clone());
            drop(spawn_local(async move {
                let began = Instant::now();
                // However it ends, its place is given back.
                let mut report = Report { ended, key, id, outcome: None };
                let done = tokio::time::timeout(rule.timeout, probe::ask(&target, &rule.probe)).await;
                report.outcome = Some(match done {
                    Ok(outcome) => outcome.took(began.elapsed()),
                    Err(_) => {
                        Outcome::new(CheckResult::Timeout, format!("no answer in {} ms", rule.timeout.as_millis()))
                    }
                });
            }));
        }
    }

    /// Another snapshot: endpoints come, change and go.
    fn follow(&mut self, look: Look<'_>) {
        self.seen = Arc::downgrade(look.snapshot);
        let mut old = std::mem::take(&mut self.watches);
        for pool in &look.snapshot.pools {
            for endpoint in &pool.endpoints {
                let key = Arc::as_ptr(&endpoint.state);
                let known = old.remove(&key);
                let Some(rule) = &pool.health else {
                    if endpoint.state.has_status(UNHEALTHY) || known.is_some() {
                        forget(&endpoint.state);
                    }
                    continue;
                };
                let target = Target::new(endpoint);
                let watch = match known {
                    Some(watch) if watch.rule == *rule && *watch.target == target => {
                        Watch { stats: pool.stats.clone(), pool: pool.state.clone(), ..watch }
                    }
                    _ => {
                        // What was concluded by another rule holds until this one says otherwise.
                        let unhealthy = endpoint.state.has_status(UNHEALTHY);
                        self.next_id += 1;
                        Watch {
                            id: self.next_id,
                            name: endpoint.name.clone(),
                            rule: rule.clone(),
                            target: Rc::new(target),
                            state: endpoint.state.clone(),
                            pool: pool.state.clone(),
                            stats: pool.stats.clone(),
                            judge: Judge::new(if unhealthy { Verdict::Unhealthy } else { Verdict::Healthy }),
                            schedule: Schedule::new(rule, look.now_us, &mut self.rng),
                            busy: false,
                            hurried_us: 0,
                        }
                    }
                };
                self.watches.insert(key, watch);
            }
        }
    }
}

/// It is not asked any more: what was concluded is worth nothing.
fn forget(state: &EndpointState) {
    state.set_status(UNHEALTHY, false);
    let mut told = state.told();
    (told.unhealthy, told.checked, told.last_check) = (None, false, String::new());
}

/// Tells how a probe ended when it does: also when it is dropped, or panics.
struct Report {
    ended: Ended,
    key: *const EndpointState,
    id: u64,
    outcome: Option<Outcome>,
}

impl Drop for Report {
    fn drop(&mut self) {
        let outcome = self.outcome.take();
        let outcome = outcome.unwrap_or_else(|| Outcome::new(CheckResult::Protocol, "the probe failed".to_owned()));
        self.ended.borrow_mut().push((self.key, self.id, outcome));
    }
}

impl Watch {
    fn ended(&mut self, outcome: &Outcome, look: Look<'_>, changes: &mut Changes) {
        let well = outcome.result == CheckResult::Ok;
        self.busy = false;
        self.schedule.ended(well);
        self.stats.checked(outcome.result);
        let verdict = self.judge.judge(&self.rule, well);
        let mut told = self.state.told();
        (told.checked, told.last_check) = (true, outcome.text.clone());
        match verdict {
            None => return,
            Some(Verdict::Unhealthy) => {
                told.unhealthy = Some(Why { since: look.unix_s, reason: outcome.text.clone(), until: None });
                self.state.set_status(UNHEALTHY, true);
                self.state.take_proof();
                changes.tell(
                    look.now_us,
                    format_args!("pool {}: {} is unhealthy: {}", self.stats.pool, self.name, outcome.text),
                );
            }
            Some(Verdict::Healthy) => {
                told.unhealthy = None;
                self.state.forgive();
                self.state.set_status(UNHEALTHY, false);
                changes.tell(
                    look.now_us,
                    format_args!("pool {}: {} is healthy again: {}", self.stats.pool, self.name, outcome.text),
                );
            }
        }
        told.changed = Some(look.unix_s);
    }

    /// While no endpoint of the pool may be used, now and then a request passes; when it succeeds, the endpoint is asked
    /// at once instead of at its time.
    fn hurry(&mut self, now_us: u64) {
        if self.judge.verdict() == Verdict::Healthy || !self.state.take_proof() {
            return;
        }
        if now_us.saturating_sub(self.hurried_us) >= HURRY_EVERY_US && self.pool.failed_open() > 0 {
            self.hurried_us = now_us;
            self.schedule.hurry(self.judge.missing(&self.rule));
        }
    }
}
