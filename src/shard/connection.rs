//! Downstream connections: a whole task while requests come, a small record while they do not.
use super::{Shard, listener::Listener};
use crate::{
    flow,
    message::{Category, Deadlines, Exchange, Fault, Peer, Phase, Side, Spare},
    proto::{
        self, StreamExchange,
        h1::{self, After, Lease},
        h2,
    },
};
use edge_io::{buf::Buf, head::Version, stream::Stream, tasks};
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
};

/// What all connections of a shard share.
#[derive(Default)]
pub(super) struct Shared {
    open: Cell<usize>,
    when_none: RefCell<Option<Waker>>,
    leases: Spare<Lease>,
}

impl Shared {
    /// Open connections.
    pub fn open(&self) -> usize {
        self.open.get()
    }

    /// Wakes the task of `cx` when the last connection is gone.
    pub fn wait_for_none(&self, cx: &Context<'_>) {
        *self.when_none.borrow_mut() = Some(cx.waker().clone());
    }

    fn lease(&self) -> Box<Lease> {
        self.leases.take()
    }

    fn release(&self, mut lease: Box<Lease>) {
        lease.reset();
        self.leases.give(lease);
    }

    /// A burst is over: what it needed goes back, bit by bit.
    pub fn trim(&self) {
        self.leases.trim();
    }
}

/// What a connection belongs to; counted there while it lives.
pub(super) struct Counted {
    pub shard: Rc<Shard>,
    pub listener: Rc<Listener>,
    version: Version,
    /// What was demanded of clients when its handshake began.
    pub demand: Option<u64>,
}

impl Counted {
    /// One more connection; HTTP/1.1 until it turns out otherwise.
    pub fn new(shard: &Rc<Shard>, listener: &Rc<Listener>) -> Counted {
        shard.connections.open.set(shard.connections.open.get() + 1);
        shard.flow.stats.connections.inc();
        let demand = listener.demand();
        let counted = Counted { shard: shard.clone(), listener: listener.clone(), version: Version::Http11, demand };
        counted.gauge(1);
        counted
    }

    fn gauge(&self, change: i64) {
        self.listener.stats.shard(self.shard.flow.index).connections(self.version).add(change);
    }

    /// It speaks something else than it began with.
    pub fn becomes(&mut self, version: Version) {
        self.gauge(-1);
        self.version = version;
        self.gauge(1);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let shared = &self.shard.connections;
        shared.open.set(shared.open.get() - 1);
        self.shard.flow.stats.connections.dec();
        self.gauge(-1);
        if shared.open.get() == 0
            && let Some(waker) = shared.when_none.borrow_mut().take()
        {
            waker.wake();
        }
    }
}

/// A connection that speaks HTTP/1.1, as far as anybody knows.
pub(super) fn open_h1(counted: Counted, stream: Stream, peer: Peer) {
    let deadlines = Deadlines::new(&counted.shard.flow.local.timers);
    let conn = h1::Connection { stream, peer, deadlines, share: counted.listener.share.clone(), requests: 0 };
    tasks::spawn(active(Open { counted, conn }));
}

/// A connection that speaks HTTP/2; `input` was read already.
pub(super) fn open_h2(mut counted: Counted, stream: Stream, peer: Peer, input: Buf) {
    counted.becomes(Version::Http2);
    let deadlines = Deadlines::new(&counted.shard.flow.local.timers);
    let conn = h2::Connection::new(stream, peer, deadlines, counted.listener.share.clone(), input);
    tasks::spawn(async move {
        let Counted { shard, listener, demand, .. } = &counted;
        h2::serve(conn, |exchange| tasks::spawn_now(|| answer(shard.clone(), listener.clone(), *demand, exchange)))
            .await;
    });
}

/// Answers one request of a connection that speaks a multiplexed protocol.
#[allow(clippy::manual_async_fn)] // an `async fn` would hold `exchange` twice
pub(super) fn answer<S: proto::Stream>(
    shard: Rc<Shard>,
    listener: Rc<Listener>,
    demand: Option<u64>,
    mut exchange: StreamExchange<S>,
) -> impl Future<Output = ()> {
    async move {
        let rule = listener.rule.borrow().clone();
        let mut refused = exchange.refused();
        if listener.demand() != demand {
            refused = Some(OTHER_DEMANDS);
            exchange.end_connection();
        }
        flow::handle(&shard.flow, &rule, &mut exchange, refused).await;
    }
}

/// Who may connect has changed since this connection's handshake: another connection may do (RFC 9110 15.5.20).
const OTHER_DEMANDS: Fault =
    Fault::new(Category::Misdirected, Side::Downstream, "what is demanded of clients has changed since the handshake");

struct Open {
    counted: Counted,
    conn: h1::Connection,
}

async fn active(mut open: Open) {
    let Open { counted: Counted { shard, listener, demand, .. }, conn } = &mut open;
    let after = h1::serve(
        conn,
        || shard.connections.lease(),
        |lease| shard.connections.release(lease),
        async |exchange, mut refused| {
            let rule = listener.rule.borrow().clone();
            if listener.demand() != *demand {
                refused = Some(OTHER_DEMANDS);
                exchange.close_after();
            }
            flow::handle(&shard.flow, &rule, exchange, refused).await;
        },
    )
    .await;
    match after {
        After::Close => {}
        After::Park => tasks::spawn(parked(open)),
        After::Http2(input) => open_h2(open.counted, open.conn.stream, open.conn.peer, input),
    }
}

/// Sleeps until the client sends, or its keep-alive time is over.
#[allow(clippy::manual_async_fn)] // an `async fn` would hold `open` twice
fn parked(open: Open) -> impl Future<Output = ()> {
    async move {
        let stats = &open.counted.shard.flow.stats;
        stats.connections_idle.inc();
        let awake = sleep(&open.conn).await;
        stats.connections_idle.dec();
        if awake {
            tasks::spawn(active(open));
        } else {
            open.conn.stream.close_notify();
        }
    }
}

async fn sleep(conn: &h1::Connection) -> bool {
    let share = &conn.share;
    conn.deadlines.set(Phase::ClientHead, share.timeouts.get().keepalive.saturating_sub(h1::PARK_AFTER));
    let place = share.waiting.enter();
    let awake = poll_fn(|cx| {
        if conn.stream.poll_readable(cx).is_ready() {
            return Poll::Ready(true);
        }
        if share.closing.get() {
            return Poll::Ready(false);
        }
        share.waiting.wait(place, cx);
        conn.deadlines.poll_expired(cx).map(|_| false)
    })
    .await;
    share.waiting.leave(place);
    conn.deadlines.clear_all();
    awake
}
