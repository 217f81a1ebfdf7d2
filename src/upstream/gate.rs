//! A gate: so many requests in flight, node-wide; the others wait in a bounded line, or are refused.
//!
//! It stands before a pool, an endpoint or a route that has a limit; where none has, there is no gate.
use super::{
    Registry,
    permits::{Holder, Permits},
};
use crate::{
    message::{Category, Fault, Line, Priority, Side, Turn},
    observe::stats::{Queue, Refusal, ShardStats},
};
use edge_io::{runtime::Local, timer::Timer};
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};

/// The first in line looks again at the next tick of the wheel (8 ms): another shard may have given a permit back.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// A limit on requests in flight, as a snapshot holds it.
#[derive(Clone, Debug)]
pub struct GateRule {
    /// The node's permits, which outlive snapshots.
    pub permits: Arc<Permits>,
    /// What it stands before.
    pub of: Queue,
    /// Orders what snapshots say of the same limit ([`Permits::next_version`]).
    pub version: u32,
    /// The limit.
    pub config: GateConfig,
}

/// A limit on requests in flight, all shards together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateConfig {
    /// Requests in flight.
    pub max: u32,
    /// Requests that may wait.
    pub queue: u32,
    /// How long one may wait.
    pub timeout: Duration,
}

impl GateRule {
    /// A limit over `permits`, newer than those that were made of them before.
    pub fn new(permits: Arc<Permits>, of: Queue, config: GateConfig) -> GateRule {
        GateRule { version: permits.next_version(), permits, of, config }
    }

    /// The limit before what is called `name`, if `config` sets one; its permits are found again by that name.
    pub fn made(registry: &Registry, of: Queue, name: &str, config: Option<GateConfig>) -> Option<GateRule> {
        config.map(|config| GateRule::new(registry.permits(&format!("{of:?}/{name}")), of, config))
    }

    /// Tells the node's permits of the limit.
    fn publish(&self) {
        self.permits.set_limit(self.version, self.config.max);
    }
}

/// One shard's side of a limit.
pub struct Gate {
    holder: Holder,
    of: Queue,
    line: Line,
    queue: Cell<u32>,
    timeout: Cell<Duration>,
    /// The configuration has no limit here any more.
    open: Cell<bool>,
    local: Local,
    stats: Arc<ShardStats>,
}

impl Gate {
    fn new(rule: &GateRule, local: &Local, stats: &Arc<ShardStats>) -> Gate {
        let gate = Gate {
            holder: Holder::new(rule.permits.clone(), local.shard),
            of: rule.of,
            line: Line::default(),
            queue: Cell::new(rule.config.queue),
            timeout: Cell::new(rule.config.timeout),
            open: Cell::new(false),
            local: local.clone(),
            stats: stats.clone(),
        };
        rule.publish();
        gate
    }

    fn follow(&self, rule: &GateRule) {
        rule.publish();
        self.queue.set(rule.config.queue);
        self.timeout.set(rule.config.timeout);
        self.open.set(false);
    }

    fn remove(&self) {
        self.open.set(true);
        self.line.wake_all();
    }

    /// Requests of this shard that wait.
    pub fn waiting(&self) -> usize {
        self.line.len()
    }

    /// A pass, if there is one at once and nobody waits who goes before `class`.
    #[inline]
    pub fn try_enter(self: &Rc<Self>, class: Priority) -> Option<Pass> {
        if self.open.get() {
            return Some(Pass(None));
        }
        (self.line.is_free_for(class) && self.take()).then(|| Pass(Some(self.clone())))
    }

    fn take(&self) -> bool {
        self.holder.take(self.holder.permits().limit(), self.local.timers.now())
    }

    /// A pass, at once or after a wait in line.
    ///
    /// Errors: `overloaded`, unsent: the line is full, the wait too long, or the place was lost to a higher class.
    /// Dropping the future leaves the line.
    pub async fn enter(self: &Rc<Self>, class: Priority) -> Result<Pass, Fault> {
        if let Some(pass) = self.try_enter(class) {
            return Ok(pass);
        }
        let queues = &self.stats.queues;
        self.stats.limit_hit(self.of.limit());
        let Some(_seat) = self.seat(class) else {
            queues.refused(self.of, Refusal::Full);
            return Err(refused("too many requests are in flight and waiting"));
        };
        let _counted = Counted::new(&self.stats, &self.local, self.of);
        self.wait(class).await.map_err(|why| {
            queues.refused(self.of, why);
            refused(match why {
                Refusal::Displaced => "requests of a higher priority took its place in line",
                _ => "waited too long for others in flight",
            })
        })
    }

    /// A place among those that may wait; in a full queue, that of a lower class.
    fn seat(&self, class: Priority) -> Option<Seat<'_>> {
        let (permits, most) = (&**self.holder.permits(), self.queue.get());
        if !permits.try_queue(most) {
            if most == 0 || !self.line.displace(class) {
                return None;
            }
            permits.queue();
        }
        Some(Seat(permits))
    }

    async fn wait(self: &Rc<Self>, class: Priority) -> Result<Pass, Refusal> {
        let (again, give_up) = (Timer::new(&self.local.timers), Timer::new(&self.local.timers));
        give_up.set(self.timeout.get());
        let mut place = Place { gate: self, turn: None };
        poll_fn(|cx| {
            let turn = place.turn.get_or_insert_with(|| {
                let turn = self.line.enter(cx.waker(), class);
                self.holder.set_waits(true);
                turn
            });
            turn.follow(cx.waker());
            if self.open.get() {
                return Poll::Ready(Ok(Pass(None)));
            }
            if turn.is_displaced() {
                return Poll::Ready(Err(Refusal::Displaced));
            }
            if turn.is_first() {
                if self.take() {
                    return Poll::Ready(Ok(Pass(Some(self.clone()))));
                }
                again.set(LOOK_AGAIN);
                let _ = again.poll_fired(cx);
            }
            give_up.poll_fired(cx).map(|()| Err(Refusal::TooLong))
        })
        .await
    }

    fn leave(&self) {
        if self.holder.give(self.holder.permits().limit(), self.local.timers.now()) {
            self.line.wake_first();
        }
    }
}

fn refused(why: &'static str) -> Fault {
    Fault::new(Category::Overloaded, Side::Edge, why).unsent()
}

/// One of those that may wait.
struct Seat<'a>(&'a Permits);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.leave_queue();
    }
}

/// Counts a request that waits, however its wait ends.
pub(super) struct Counted<'a> {
    stats: &'a ShardStats,
    local: &'a Local,
    queue: Queue,
    began_us: u64,
}

impl<'a> Counted<'a> {
    pub(super) fn new(stats: &'a ShardStats, local: &'a Local, queue: Queue) -> Counted<'a> {
        stats.queues.entered(queue);
        Counted { stats, local, queue, began_us: local.timers.clock().now_us() }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let waited = self.local.timers.clock().now_us().saturating_sub(self.began_us);
        self.stats.queues.left(self.queue, waited);
    }
}

/// A place in a gate's line.
struct Place<'a> {
    gate: &'a Gate,
    turn: Option<Turn<'a>>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.turn = None; // whatever this one was woken for, the next may have
        self.gate.holder.set_waits(!self.gate.line.is_empty());
    }
}

/// A request in flight; dropped, it gives its permit back.
#[must_use]
pub struct Pass(Option<Rc<Gate>>);

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.leave();
        }
    }
}

/// All gates that this shard knows, by slot.
pub struct Gates {
    local: Local,
    stats: Arc<ShardStats>,
    by_slot: RefCell<Vec<Option<Rc<Gate>>>>,
}

impl Gates {
    /// None yet.
    pub fn new(local: Local, stats: Arc<ShardStats>) -> Gates {
        Gates { local, stats, by_slot: RefCell::default() }
    }

    /// This shard's side of `rule`.
    pub fn get(&self, rule: &GateRule) -> Rc<Gate> {
        let slot = rule.permits.slot;
        let mut all = self.by_slot.borrow_mut();
        if all.len() <= slot {
            all.resize_with(slot + 1, || None);
        }
        if let Some(gate) = &all[slot]
            && Arc::ptr_eq(gate.holder.permits(), &rule.permits)
        {
            return gate.clone();
        }
        let made = Rc::new(Gate::new(rule, &self.local, &self.stats));
        all[slot] = Some(made.clone());
        made
    }

    /// A new snapshot has these limits: those who wait follow them, and gates that are not among them open.
    pub fn adopt<'r>(&self, rules: impl Iterator<Item = &'r GateRule>) {
        let mut old = std::mem::take(&mut *self.by_slot.borrow_mut());
        for rule in rules {
            let known = old.get_mut(rule.permits.slot).and_then(Option::take);
            match known {
                Some(gate) if Arc::ptr_eq(gate.holder.permits(), &rule.permits) => {
                    gate.follow(rule);
                    self.put(rule.permits.slot, gate);
                }
                Some(other) => other.remove(),
                None => rule.publish(),
            }
        }
        old.into_iter().flatten().for_each(|gate| gate.remove());
    }

    fn put(&self, slot: usize, gate: Rc<Gate>) {
        let mut all = self.by_slot.borrow_mut();
        if all.len() <= slot {
            all.resize_with(slot + 1, || None);
        }
        all[slot] = Some(gate);
    }
}

#[cfg(test)]
mod tests;
