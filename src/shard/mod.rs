//! One shard: accepts, adopts snapshots, drains. Owns its connections, pools, buffers and counters.
mod accept;
mod connection;
mod handshake;
mod listener;
mod protect;
pub mod quic;

use crate::{
    flow,
    observe::{
        access_log,
        stats::{self, ShardStats, StatsRegistry},
    },
    proto::h1::Waiting,
    snapshot::command::{Adopt, Command, ShardReport},
};
use edge_io::{
    mailbox::Receiver,
    reactor::Source,
    ring::Driver,
    runtime::{self, Local},
    tasks,
    timer::Timer,
};
use listener::Listeners;
use std::{
    future::poll_fn,
    io,
    os::fd::AsFd,
    rc::Rc,
    sync::Arc,
    task::Poll,
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How often a shard looks after its pools, buffers and counters; also its heartbeat.
const HOUSEKEEPING: Duration = Duration::from_millis(250);

/// Upgraded connections have so long to say goodbye when a drain ends.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How often a shard that drains looks whether the others are done.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What a shard is given.
pub struct Start {
    /// Its number, from 0.
    pub index: usize,
    /// The core it is pinned to.
    pub core: Option<usize>,
    /// How it waits for sockets.
    pub driver: Driver,
    /// Commands; the first must be `Adopt`.
    pub mailbox: Receiver<Command>,
    /// Where it counts.
    pub stats: Arc<ShardStats>,
    /// Where it finds the counters of its listeners.
    pub registry: Arc<StatsRegistry>,
    /// Its end of the access log.
    pub log: access_log::Writer,
    /// Sets its random choices and request ids apart from other shards' and processes'.
    pub seed: u64,
    /// For HTTP/3.
    pub quic: quic::Start,
}

/// Starts a shard's thread. It serves once its first snapshot has come, and ends when it is told to and drained.
///
/// Errors: the thread, its ring or its descriptors could not be made.
pub fn start(start: Start) -> io::Result<JoinHandle<()>> {
    runtime::spawn_shard(start.index, start.core, start.driver, move |local| run(local, start))
}

async fn run(local: Local, start: Start) {
    start.stats.set_driver(match start.driver {
        Driver::IoUring | Driver::IoUringPoll => stats::Driver::IoUring,
        Driver::Epoll => stats::Driver::Epoll,
    });
    let Ok(bell) = start.mailbox.as_fd().try_clone_to_owned().and_then(|fd| local.reactor.register(fd)) else {
        return; // control sees that nobody acknowledges
    };
    let Some(Command::Adopt(first)) = next_command(&start.mailbox, &bell).await else {
        return;
    };
    let Start { mailbox, stats, registry, log, seed, quic, .. } = start;
    let flow = Rc::new(flow::Shard::new(local, first.snapshot.clone(), stats, log, seed));
    let shard = Rc::new(Shard {
        flow,
        listeners: Listeners::new(registry.clone()),
        accepting: Waiting::default(),
        connections: Default::default(),
        handshakes: Default::default(),
        quic: quic::Quic::new(quic),
    });
    tasks::spawn(quic::receive_foreign(shard.clone()));
    tasks::spawn(housekeeping(shard.clone()));
    tasks::spawn(protect::run(shard.clone(), registry));
    adopt(&shard, first);
    loop {
        match next_command(&mailbox, &bell).await {
            Some(Command::Adopt(next)) => adopt(&shard, next),
            Some(Command::Drain { accept_until, force }) => {
                return drain(&shard, &mailbox, &bell, accept_until, force).await;
            }
            Some(Command::Stop) | None => return,
        }
    }
}

/// What the tasks of a shard share.
pub(crate) struct Shard {
    flow: Rc<flow::Shard>,
    listeners: Listeners,
    /// Accept loops that pause until the shard keeps up again.
    accepting: Waiting,
    connections: connection::Shared,
    handshakes: handshake::Handshakes,
    quic: quic::Quic,
}

async fn next_command(mailbox: &Receiver<Command>, bell: &Source) -> Option<Command> {
    poll_fn(|cx| {
        loop {
            if let Some(command) = mailbox.try_recv() {
                return Poll::Ready(Some(command));
            }
            if bell.poll_readable(cx).is_pending() {
                return Poll::Pending;
            }
            mailbox.clear_wake();
            bell.not_readable();
            if let Some(command) = mailbox.try_recv() {
                return Poll::Ready(Some(command));
            }
        }
    })
    .await
}

/// Requests that begin from now on see the new snapshot; listeners follow it.
fn adopt(shard: &Rc<Shard>, next: Adopt) {
    let flow = &shard.flow;
    let version = next.snapshot.version;
    flow.adopt(next.snapshot);
    flow.stats.config_version.set(i64::try_from(version).unwrap_or(i64::MAX));
    let errors = listener::adopt(shard, next.listeners);
    next.ack.done(ShardReport { shard: flow.index, version, errors });
}

/// K4: accepts until `accept_until`, then closes idle connections and waits for the busy ones, until `force`.
async fn drain(shard: &Rc<Shard>, mailbox: &Receiver<Command>, bell: &Source, accept_until: Instant, force: Instant) {
    let timer = Timer::new(&shard.flow.local.timers);
    let stop = |stop_at: Instant, done: &dyn Fn() -> bool, cx: &mut std::task::Context<'_>| {
        let stopped = loop {
            match std::pin::pin!(next_command(mailbox, bell)).poll(cx) {
                Poll::Ready(Some(Command::Adopt(late))) => {
                    let errors = vec!["draining".to_owned()];
                    late.ack.done(ShardReport { shard: shard.flow.index, version: 0, errors });
                }
                Poll::Ready(_) => break true,
                Poll::Pending => break false,
            }
        };
        let now = Instant::now();
        if stopped || done() || now >= stop_at {
            return Poll::Ready(stopped);
        }
        timer.set(stop_at.saturating_duration_since(now).min(LOOK_AGAIN));
        let _ = timer.poll_fired(cx); // it is the clock that decides: this only has the task woken
        Poll::Pending
    };
    if poll_fn(|cx| stop(accept_until, &|| false, cx)).await {
        return;
    }
    shard.listeners.close_all();
    shard.quic.close_all();
    shard.flow.upstreams.drain();
    // As long as another shard has QUIC connections, this one hands their packets on.
    let gone = || shard.connections.open() == 0 && !shard.quic.is_live();
    let stopped = poll_fn(|cx| {
        shard.connections.wait_for_none(cx);
        stop(force, &gone, cx)
    });
    if stopped.await {
        return;
    }
    shard.flow.upstreams.end_tunnels();
    let last_words = Instant::now() + LAST_WORDS;
    poll_fn(|cx| {
        shard.connections.wait_for_none(cx);
        stop(last_words, &gone, cx)
    })
    .await;
    shard.quic.abort_all();
    tasks::turn().await; // in which their last packets go out
}

async fn housekeeping(shard: Rc<Shard>) {
    let flow = &shard.flow;
    let timer = Timer::new(&flow.local.timers);
    let mut turns = 0u32;
    loop {
        let due = flow.local.timers.now() + HOUSEKEEPING.as_millis() as u64;
        flow.stats.beat(Instant::now());
        flow.upstreams.endpoints.sweep(flow.local.timers.now(), flow.index);
        let (idle, open) = flow.upstreams.endpoints.counts();
        flow.stats.pool_idle.set(idle as i64);
        flow.stats.pool_active.set(open.saturating_sub(idle) as i64);
        flow.stats.panics.set_total(tasks::panics());
        flow.stats.cq_overflow.set_total(flow.local.reactor.overflows());
        turns += 1;
        if turns.is_multiple_of(4) {
            edge_io::buf::trim();
            flow.trim();
            shard.connections.trim();
            shard.quic.trim();
            edge_io::alloc::collect();
        }
        timer.set_at(due);
        timer.fired().await;
        flow.stats.loop_lag.observe(flow.local.timers.now().saturating_sub(due) * 1000);
    }
}
