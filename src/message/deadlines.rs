//! The deadlines of one connection: one for each phase that may be waiting, over a single timer.
use edge_io::timer::{Timer, Timers};
use std::{
    cell::Cell,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

/// What may be waited for; each has its own timeout and its own fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Phase {
    /// The client's head, or its next request.
    ClientHead,
    /// The client's body.
    ClientBody,
    /// The client's reading of the answer.
    ClientWrite,
    /// The endpoint: connecting, then its head, then its body.
    Upstream,
    /// The whole exchange.
    Total,
}

const PHASES: usize = 5;
const NEVER: u64 = u64::MAX;

/// One deadline for each phase.
pub struct Deadlines {
    timer: Timer,
    timers: Rc<Timers>,
    at: [Cell<u64>; PHASES],
}

impl Deadlines {
    /// None set.
    pub fn new(timers: &Rc<Timers>) -> Deadlines {
        Deadlines { timer: Timer::new(timers), timers: timers.clone(), at: [const { Cell::new(NEVER) }; PHASES] }
    }

    /// `phase` may take `after` from now; replaces what was set for it.
    #[inline]
    pub fn set(&self, phase: Phase, after: Duration) {
        let after = u64::try_from(after.as_millis()).unwrap_or(NEVER);
        self.at[phase as usize].set(self.timers.now().saturating_add(after).saturating_add(1));
        self.apply();
    }

    /// `phase` is not waited for any more.
    #[inline]
    pub fn clear(&self, phase: Phase) {
        // The timer may fire early now; `poll_expired` looks again then.
        self.at[phase as usize].set(NEVER);
    }

    /// Whether the deadline of `phase` has passed.
    #[inline]
    pub fn is_past(&self, phase: Phase) -> bool {
        self.at[phase as usize].get() <= self.timers.now()
    }

    /// Milliseconds of the shard's clock.
    pub fn now(&self) -> u64 {
        self.timers.now()
    }

    /// None is waited for.
    pub fn clear_all(&self) {
        for at in &self.at {
            at.set(NEVER);
        }
        self.timer.clear();
    }

    /// Whether `phase` has a deadline.
    pub fn is_set(&self, phase: Phase) -> bool {
        self.at[phase as usize].get() != NEVER
    }

    fn apply(&self) {
        let next = self.at.iter().map(Cell::get).min().unwrap_or(NEVER);
        if next == NEVER { self.timer.clear() } else { self.timer.set_at(next) }
    }

    /// Ready with the phase whose deadline has passed; otherwise the task is woken when one does.
    pub fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<Phase> {
        loop {
            if self.timer.poll_fired(cx).is_pending() {
                return Poll::Pending;
            }
            let now = self.timers.now();
            let all =
                [Phase::ClientHead, Phase::ClientBody, Phase::ClientWrite, Phase::Upstream, Phase::Total].into_iter();
            if let Some(phase) = all.min_by_key(|p| self.at[*p as usize].get())
                && self.at[phase as usize].get() <= now
            {
                return Poll::Ready(phase);
            }
            self.apply(); // the one that it fired for was cleared since
        }
    }
}
