//! The QUIC endpoint of one shard on one address: datagrams in, connections looked at, datagrams out. One task drives it.
//!
//! A turn reads what has come, hands each packet to its connection, and only then looks at each connection that
//! something happened to, once: answers and acknowledgements to all of its packets go out together.
mod core;
mod incoming;
mod receive;

pub use self::core::{Core, Count, Owner};
use crate::{
    cid::{CID_LEN, Generator},
    connection::Connection,
    crypto,
    deadlines::Deadlines,
    forward::Port,
    group::Group,
    h3::ErrorCode,
    keys::Shared,
    outbox::Outbox,
    policy::Policy,
    socket::{Inbox, Socket},
};
use edge_io::{
    reactor::Reactor,
    timer::{Timer, Timers},
};
use quinn_proto::{ConnectionEvent, ConnectionHandle, EndpointConfig, EndpointEvent};
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// How soon an endpoint without connections notices that the other shards have none either.
const LINGER: Duration = Duration::from_millis(50);
/// Entries of deadlines that may be out of date, beside some for each connection.
const ENTRIES_KEPT: usize = 256;
const ENTRIES_PER_CONNECTION: usize = 4;

/// What an endpoint is made of.
pub struct Parts<'a> {
    /// Its sockets.
    pub group: Arc<Group>,
    /// Which shard this is.
    pub shard: usize,
    /// Watches the socket.
    pub reactor: &'a Rc<Reactor>,
    /// The shard's timers.
    pub timers: &'a Rc<Timers>,
    /// The keys of all shards.
    pub keys: &'a Shared,
    /// After so long connections get new IDs.
    pub cid_lifetime: Option<Duration>,
    /// Largest UDP payload that is taken, bytes.
    pub max_udp_payload: u16,
    /// To hand packets to other shards.
    pub port: Rc<Port>,
    /// The shard's receive memory.
    pub inbox: Rc<RefCell<Inbox>>,
    /// What connections are accepted under.
    pub policy: Arc<Policy>,
    /// Who is told.
    pub owner: Rc<dyn Owner>,
}

/// One shard's endpoint on one address.
pub struct Endpoint {
    core: Rc<Core>,
    shard: usize,
    socket: Socket,
    port: Rc<Port>,
    inbox: Rc<RefCell<Inbox>>,
    policy: RefCell<Arc<Policy>>,
    closed: Cell<bool>,
    connections: RefCell<Vec<Option<Rc<Connection>>>>,
    open: Cell<usize>,
    deadlines: RefCell<Deadlines>,
    timer: Timer,
    outbox: RefCell<Outbox>,
    /// Looked at in this turn; kept for its memory.
    turn: RefCell<Vec<Rc<Connection>>>,
    send_errors: Cell<u64>,
    /// Last: whoever lets go of it last has no socket of it open any more.
    group: Arc<Group>,
}

impl Endpoint {
    /// An endpoint that takes connections as soon as it is run. Errors are those of registering its socket.
    pub fn new(parts: Parts<'_>) -> io::Result<Rc<Endpoint>> {
        let Parts { group, shard, reactor, timers, keys, cid_lifetime, max_udp_payload, port, inbox, policy, owner } =
            parts;
        let socket = Socket::from_fd(reactor, group.fd(shard)?)?;
        let mut config = EndpointConfig::new(keys.reset());
        let (shards, key) = (group.shards(), keys.cid());
        config.cid_generator(move || Box::new(Generator::new(shard, shards, key, cid_lifetime)));
        config.max_udp_payload_size(max_udp_payload).map_err(io::Error::other)?;
        config.supported_versions(vec![crypto::VERSION]);
        let server = Some(policy.server.clone());
        let proto = quinn_proto::Endpoint::new(Arc::new(config), server, true, None);
        Ok(Rc::new(Endpoint {
            core: Rc::new(Core::new(proto, timers, owner)),
            group,
            shard,
            socket,
            port,
            inbox,
            policy: RefCell::new(policy),
            closed: Cell::new(false),
            connections: RefCell::default(),
            open: Cell::new(0),
            deadlines: RefCell::default(),
            timer: Timer::new(timers),
            outbox: RefCell::default(),
            turn: RefCell::default(),
            send_errors: Cell::new(0),
        }))
    }

    /// Its sockets' number.
    pub fn group(&self) -> u64 {
        self.group.id()
    }

    /// Connections that are not forgotten yet.
    pub fn open(&self) -> usize {
        self.open.get()
    }

    /// Connections from now on are accepted under `policy`, also if the endpoint was closed.
    pub fn renew(&self, policy: Arc<Policy>) {
        self.core.proto().set_server_config(Some(policy.server.clone()));
        *self.policy.borrow_mut() = policy;
        self.closed.set(false);
    }

    /// Whether any shard has a connection that came by the sockets of this one's group.
    pub fn is_live(&self) -> bool {
        self.group.is_live()
    }

    /// No connection is accepted any more, those that are there end gracefully; when all are gone, also those of the
    /// other shards on this address, `run` ends.
    pub fn close(&self) {
        self.closed.set(true);
        for connection in self.each() {
            connection.go_away();
        }
        self.core.wake();
    }

    /// Ends every connection at once.
    pub fn abort(&self) {
        self.closed.set(true);
        for connection in self.each() {
            connection.close(ErrorCode::H3_NO_ERROR, b"");
        }
        self.core.wake();
    }

    /// Frees what idle connections do not need.
    pub fn trim(&self) {
        for connection in self.connections.borrow().iter().flatten() {
            connection.release_memory();
        }
        self.core.trim();
    }

    fn each(&self) -> impl Iterator<Item = Rc<Connection>> {
        let all: Vec<_> = self.connections.borrow().iter().flatten().cloned().collect();
        all.into_iter()
    }

    /// Serves until it is closed and the last connection is gone.
    pub async fn run(self: Rc<Self>) {
        let gone = Gone(&self);
        poll_fn(|cx| self.poll(cx)).await;
        drop(gone);
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.core.begin_turn(cx);
        let more = self.turn(cx);
        self.core.end_turn();
        if self.closed.get() && self.open.get() == 0 {
            if !self.group.is_live() {
                return Poll::Ready(());
            }
            // Packets of other shards' connections still come to this socket, and beginners are to be refused.
            self.timer.set(LINGER);
            let _ = self.timer.poll_fired(cx);
        }
        if more {
            self.core.wake();
        }
        Poll::Pending
    }

    /// `true` when another turn should follow at once.
    fn turn(&self, cx: &mut Context<'_>) -> bool {
        let mut more = false;
        if !self.outbox.borrow_mut().unblock(&self.socket, cx) {
            return false; // nothing can be answered: nothing more is read
        }
        more |= self.receive(cx);
        self.expire();
        more |= self.look(cx);
        self.tidy();
        self.count_errors();
        self.arm(cx);
        more
    }

    fn connection_event(&self, handle: ConnectionHandle, event: ConnectionEvent) {
        let connection = self.connections.borrow().get(handle.0).cloned().flatten();
        let Some(connection) = connection else { return };
        self.guard(&connection, || {
            connection.quic().handle_event(event);
            self.mark(&connection);
        });
    }

    /// Does something with a connection. If it panics, the connection alone is lost.
    fn guard(&self, connection: &Rc<Connection>, what: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(what)).is_err() {
            edge_io::tasks::note_panic();
            self.remove(connection, true);
        }
    }

    fn mark(&self, connection: &Rc<Connection>) {
        if !connection.dirty.replace(true) {
            self.core.push_dirty(connection.clone());
        }
    }

    /// `forget`: the state machine did not end by itself.
    fn remove(&self, connection: &Rc<Connection>, forget: bool) {
        let index = connection.index();
        let known = match self.connections.borrow_mut().get_mut(index) {
            Some(place) if place.as_ref().is_some_and(|c| Rc::ptr_eq(c, connection)) => place.take().is_some(),
            _ => false,
        };
        if !known {
            return;
        }
        self.open.set(self.open.get() - 1);
        if forget {
            let _ = self.core.endpoint_event(index, EndpointEvent::drained());
        }
        self.core.count(Count::Lost(connection.lost_packets()));
        connection.abandon();
    }

    /// Connections whose deadline has passed.
    fn expire(&self) {
        let now = self.core.now();
        loop {
            let Some((at, index)) = self.deadlines.borrow_mut().next(now) else { return };
            let connection = self.connections.borrow().get(index).cloned().flatten();
            let Some(connection) = connection else { continue };
            let mut entry = connection.entry.get();
            let due = self.deadlines.borrow_mut().fired(&mut entry, index, at, now);
            connection.entry.set(entry);
            if due {
                self.guard(&connection, || {
                    connection.quic().handle_timeout(now);
                    self.mark(&connection);
                });
            }
        }
    }

    /// Looks at each connection that something happened to.
    fn look(&self, cx: &mut Context<'_>) -> bool {
        let mut turn = self.turn.borrow_mut();
        self.core.take_dirty(&mut turn);
        for connection in turn.drain(..) {
            self.guard(&connection, || self.look_at(&connection, cx));
        }
        self.core.any_dirty() && !self.outbox.borrow().is_blocked()
    }

    fn look_at(&self, connection: &Rc<Connection>, cx: &mut Context<'_>) {
        if connection.is_drained() {
            return self.remove(connection, false);
        }
        // While it is set, what streams' tasks put in does not ask for another look: this one sees it.
        connection.dirty.set(true);
        let woken = connection.process(self.core.now());
        if connection.has_moved() {
            self.core.count(Count::Migration);
        }
        // Streams' tasks that were woken run next, and have something to say as a rule: it goes out together with this.
        // But once only: a connection whose tasks are woken in each turn has something to acknowledge meanwhile.
        let hold = woken > 0 && !connection.is_over() && !connection.held.get();
        connection.held.set(hold);
        let more = hold || self.transmit(connection, cx) || connection.wants_more();
        connection.dirty.set(false);
        if connection.is_drained() {
            return self.remove(connection, false);
        }
        if more {
            self.mark(connection);
        }
        let mut entry = connection.entry.get();
        self.deadlines.borrow_mut().set(&mut entry, connection.index(), connection.deadline());
        connection.entry.set(entry);
    }

    /// Deadlines that were moved forward leave entries behind.
    fn tidy(&self) {
        let mut deadlines = self.deadlines.borrow_mut();
        if deadlines.len() > ENTRIES_KEPT + ENTRIES_PER_CONNECTION * self.open.get() {
            let all = self.connections.borrow();
            let entry = |index: usize| all.get(index)?.as_ref().map(|c| c.entry.get());
            deadlines.retain(|at, index| entry(index).is_some_and(|entry| entry.is_at(at)));
        }
    }

    /// Sends what a connection has; whether there is more.
    fn transmit(&self, connection: &Rc<Connection>, cx: &mut Context<'_>) -> bool {
        let sent = self.outbox.borrow_mut().transmit(&self.socket, &mut connection.quic(), self.core.now(), cx);
        if sent.datagrams > 0 {
            self.core.count(Count::Sent(sent.datagrams));
        }
        sent.more
    }

    fn count_errors(&self) {
        let errors = self.socket.send_errors();
        let new = errors - self.send_errors.replace(errors);
        if new > 0 {
            self.core.count(Count::SendErrors(new));
        }
    }

    /// The task is woken when the first deadline has passed.
    fn arm(&self, cx: &mut Context<'_>) {
        match self.deadlines.borrow().first() {
            Some(at) => self.timer.set(at.saturating_duration_since(self.core.now())),
            None => self.timer.clear(),
        }
        let _ = self.timer.poll_fired(cx);
    }
}

/// Whatever ends the driver, what is left of its connections does not wait for it.
struct Gone<'a>(&'a Endpoint);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        for connection in self.0.each() {
            self.0.remove(&connection, true);
        }
        self.0.core.forget_dirty();
    }
}

/// QUIC knows no longer ones (RFC 9000 17.2).
const _: () = assert!(CID_LEN <= 20);
