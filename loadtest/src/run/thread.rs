//! A shard's side of a run: its connections, the ticks of its clock, and a report each second.
use super::share::Share;
use crate::{
    check::cpu::{self, Used},
    client::{Health, Parts, Shard, Span, slot},
    plan::{Load, Plan},
    record::{Early, Interval},
};
use edge_io::{alarm::Alarm, runtime::Local, tasks, timer::Timer};
use rustls::ClientConfig;
use std::{
    cell::Cell,
    future::poll_fn,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError},
    },
    task::Poll,
    time::Duration,
};

/// Between two looks at the clock, µs: how late each is tells whether the thread gets its processor.
const TICK_US: u64 = 10_000;
/// A second, µs.
pub(super) const SECOND_US: u64 = 1_000_000;
/// Answers of requests that were sent in the measured time are waited for so long after it, and never longer than one
/// may take.
pub(super) const GRACE_MAX: Duration = Duration::from_secs(2);
/// Connections may take so long to close when the run is over.
const CLOSING: Duration = Duration::from_millis(500);

/// What a shard tells the coordinator.
pub(super) enum Report {
    /// What it recorded since the last report, up to the end of second `upto` of the measured time (from 1).
    Seconds { shard: usize, upto: u64, interval: Box<Interval> },
    /// It is done.
    End(Box<End>),
}

/// A shard's last word.
pub(super) struct End {
    pub shard: usize,
    /// What came after the last whole second.
    pub interval: Box<Interval>,
    pub early: Early,
    pub health: Health,
    /// In the measured time.
    pub used: Used,
    /// When it sent nothing any more, µs.
    pub ended_us: u64,
    /// Whether HTTP/1.1 and HTTP/2 were spoken.
    pub spoken: (bool, bool),
    pub panics: u64,
}

/// What a shard's thread is given.
pub(super) struct Job {
    pub plan: Arc<Plan>,
    pub span: Span,
    pub share: Share,
    pub tls: Arc<ClientConfig>,
    pub stop: Arc<AtomicBool>,
    pub reports: SyncSender<Report>,
    /// Intervals that were merged and can be filled again.
    pub empties: Receiver<Box<Interval>>,
}

/// Runs a shard's part from beginning to end.
pub(super) async fn run(local: Local, job: Job) {
    let index = local.shard;
    let Job { plan, span, share, tls, stop, reports, empties } = job;
    let alarm = Alarm::new(&local.reactor);
    let parts = Parts { local, plan, span, tls, paces: share.paces, requests: share.requests };
    let (Ok(shard), Ok(alarm)) = (Shard::new(parts), alarm) else { return };
    let panics = tasks::panics();
    let alive = Rc::new(Cell::new(share.connections.len()));
    let gate = Rc::new(slot::Gate::new(share.connect_rate, span.begin_us));
    for (origin, number) in share.connections {
        let (shard, gate, alive) = (shard.clone(), gate.clone(), Alive(alive.clone()));
        tasks::spawn(async move {
            let _alive = alive;
            slot::run(shard, gate, origin, number).await;
        });
    }
    if matches!(shard.plan.load, Load::Open { .. }) {
        tasks::spawn(shard.clone().pace());
    }
    let mut clock = Clock { shard, alarm, stop, reports, empties, index, upto: 0, kept: None, base: None, used: None };
    clock.run(&alive).await;
    clock.finish(&alive, panics).await;
}

/// Counts a connection's task as long as it lives, be its end a panic.
struct Alive(Rc<Cell<usize>>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// What the shard's own task sees to.
struct Clock {
    shard: Rc<Shard>,
    alarm: Alarm,
    stop: Arc<AtomicBool>,
    reports: SyncSender<Report>,
    empties: Receiver<Box<Interval>>,
    index: usize,
    /// Seconds of the measured time that were reported.
    upto: u64,
    /// A report that the coordinator had no room for: it goes with the next.
    kept: Option<Box<Interval>>,
    /// CPU used when the measured time began.
    base: Option<Used>,
    /// CPU used in the measured time.
    used: Option<Used>,
}

impl Clock {
    /// Until the run is over.
    async fn run(&mut self, alive: &Cell<usize>) {
        let span = self.shard.span;
        let grace = self.shard.plan.timeout.min(GRACE_MAX).as_micros() as u64;
        let mut tick = span.begin_us;
        let mut sending = true;
        while !self.shard.is_over() {
            self.alarm.set_at(if sending { tick.min(span.end_us) } else { tick });
            self.alarm.fired().await;
            let now = self.shard.now();
            while tick <= now {
                if tick >= span.start_us && tick < span.end_us {
                    self.shard.lagged(now - tick);
                }
                tick += TICK_US;
            }
            self.see_to_seconds(now);
            if self.stop.load(Ordering::Relaxed) || alive.get() == 0 || self.shard.is_in_vain(now) {
                break;
            }
            if sending && now >= span.end_us {
                sending = false;
                self.shard.count_unsent(span.end_us);
            }
            if !sending && (self.shard.in_flight() == 0 || now >= span.end_us.saturating_add(grace)) {
                break;
            }
        }
        self.shard.count_unsent(self.shard.now());
        self.shard.finish();
    }

    /// Reports whole seconds that are over, and reads the CPU used at the beginning and the end of the measured time.
    fn see_to_seconds(&mut self, now: u64) {
        let span = self.shard.span;
        if self.base.is_none() && now >= span.start_us {
            self.base = Some(cpu::this_thread());
        }
        if self.used.is_none() && now >= span.end_us {
            self.used = self.base.map(|base| cpu::this_thread().since(base));
        }
        let over = now.min(span.end_us).saturating_sub(span.start_us) / SECOND_US;
        if over > self.upto {
            self.upto = over;
            self.report();
        }
    }

    fn take(&mut self) -> Box<Interval> {
        let empty = self.empties.try_recv().unwrap_or_default();
        let mut interval = self.shard.swap(empty);
        if let Some(kept) = self.kept.take() {
            interval.add(&kept);
        }
        interval
    }

    fn report(&mut self) {
        let interval = self.take();
        let report = Report::Seconds { shard: self.index, upto: self.upto, interval };
        // The coordinator may be slow; a shard never waits for it.
        if let Err(TrySendError::Full(Report::Seconds { interval, .. })) = self.reports.try_send(report) {
            self.kept = Some(interval);
        }
    }

    /// Waits for the connections to close, and says the last word.
    async fn finish(mut self, alive: &Cell<usize>, panics: u64) {
        let ended_us = self.shard.over_us().min(self.shard.span.end_us);
        let now = self.shard.now();
        let used = self.used.or_else(|| self.base.map(|base| cpu::this_thread().since(base)));
        let closing = Timer::new(&self.shard.local.timers);
        closing.set(CLOSING);
        while alive.get() > 0 && self.shard.now() < now + CLOSING.as_micros() as u64 {
            self.alarm.set_at(self.shard.now() + TICK_US / 10);
            poll_fn(|cx| match closing.poll_fired(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => self.alarm.poll_fired(cx),
            })
            .await;
        }
        let end = End {
            shard: self.index,
            interval: self.take(),
            early: self.shard.early(),
            health: self.shard.health(),
            used: used.unwrap_or_default(),
            ended_us,
            spoken: self.shard.spoken(),
            panics: tasks::panics().saturating_sub(panics),
        };
        // Nothing is measured any more: now it may wait. A coordinator that is gone needs no report.
        let _ = self.reports.send(Report::End(Box::new(end)));
    }
}
