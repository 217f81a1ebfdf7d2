//! Downstream connections: a whole task while requests come, a small record while they do not.
use super::{Shard, listener::Listener};
use crate::{
    flow,
    message::{Deadlines, Peer, Phase},
    proto::h1::{self, After, Connection, Lease},
};
use edge_io::{head::Version, stream::Stream, tasks};
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
};

/// Leases kept for reuse per shard.
const SPARE_LEASES: usize = 64;

/// What all connections of a shard share.
#[derive(Default)]
pub(super) struct Shared {
    open: Cell<usize>,
    when_none: RefCell<Option<Waker>>,
    #[allow(clippy::vec_box)] // lent out whole: a lease moves as a pointer
    leases: RefCell<Vec<Box<Lease>>>,
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
        self.leases.borrow_mut().pop().unwrap_or_default()
    }

    fn release(&self, mut lease: Box<Lease>) {
        lease.reset();
        let mut spare = self.leases.borrow_mut();
        if spare.len() < SPARE_LEASES {
            spare.push(lease);
        }
    }
}

/// A connection with what it belongs to; counted while it lives.
struct Open {
    shard: Rc<Shard>,
    listener: Rc<Listener>,
    conn: Connection,
}

/// A new connection.
pub(super) fn open(shard: &Rc<Shard>, listener: &Rc<Listener>, stream: Stream, peer: Peer) {
    let deadlines = Deadlines::new(&shard.flow.local.timers);
    let conn = Connection { stream, peer, deadlines, share: listener.share.clone(), requests: 0 };
    shard.connections.open.set(shard.connections.open.get() + 1);
    shard.flow.stats.connections.inc();
    listener.stats.shard(shard.flow.index).connections(Version::Http11).inc();
    tasks::spawn(active(Open { shard: shard.clone(), listener: listener.clone(), conn }));
}

impl Drop for Open {
    fn drop(&mut self) {
        let shared = &self.shard.connections;
        shared.open.set(shared.open.get() - 1);
        self.shard.flow.stats.connections.dec();
        self.listener.stats.shard(self.shard.flow.index).connections(Version::Http11).dec();
        if shared.open.get() == 0
            && let Some(waker) = shared.when_none.borrow_mut().take()
        {
            waker.wake();
        }
    }
}

async fn active(mut open: Open) {
    let Open { shard, listener, conn } = &mut open;
    let after = h1::serve(
        conn,
        || shard.connections.lease(),
        |lease| shard.connections.release(lease),
        async |exchange, refused| {
            let rule = listener.rule.borrow().clone();
            flow::handle(&shard.flow, &rule, exchange, refused).await;
        },
    )
    .await;
    if after == After::Park {
        tasks::spawn(parked(open));
    }
}

/// Sleeps until the client sends, or its keep-alive time is over.
#[allow(clippy::manual_async_fn)] // an `async fn` would hold `open` twice
fn parked(open: Open) -> impl Future<Output = ()> {
    async move {
        open.shard.flow.stats.connections_idle.inc();
        let awake = sleep(&open.conn).await;
        open.shard.flow.stats.connections_idle.dec();
        if awake {
            tasks::spawn(active(open));
        }
    }
}

async fn sleep(conn: &Connection) -> bool {
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
