//! The QUIC endpoint of one shard on one address: datagrams in, connections looked at, datagrams out. One task drives it.
//!
//! A turn reads what has come, hands each packet to its connection, and only then looks at each connection that
//! something happened to, once: answers and acknowledgements to all of its packets go out together.
use crate::{
    cid::{CID_LEN, Generator},
    connection::{Connection, Handler, Owned},
    crypto,
    deadlines::Deadlines,
    forward::{Packet, Port},
    group::Group,
    h3::{AbuseCounts, ErrorCode},
    keys::Shared,
    outbox::{Outbox, Sent},
    policy::Policy,
    socket::{Inbox, Received, Socket},
    steer,
};
use bytes::BytesMut;
use edge_io::{
    reactor::Reactor,
    timer::{Timer, Timers},
};
use quinn_proto::{
    ConnectionError, ConnectionEvent, ConnectionHandle, DatagramEvent, EndpointConfig, EndpointEvent, Incoming,
};
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

/// Receive calls before other tasks get their turn.
const BATCHES_PER_TURN: u32 = 4;
/// Buffers for heads that are kept.
const SCRATCHES: usize = 64;
/// How soon an endpoint without connections notices that the other shards have none either.
const LINGER: Duration = Duration::from_millis(50);
/// Entries of deadlines that may be out of date, beside some for each connection.
const ENTRIES_KEPT: usize = 256;
const ENTRIES_PER_CONNECTION: usize = 4;
/// A buffer that grew beyond this is freed rather than kept, bytes.
const SCRATCH_KEPT: usize = 16 * 1024;

/// What an endpoint counts.
#[derive(Clone, Copy, Debug)]
pub enum Count<'a> {
    /// Datagrams that came.
    Received(u64),
    /// Datagrams that went.
    Sent(u64),
    /// Handed on to the shard that has their connection.
    Forwarded(u64),
    /// That shard's ring was full.
    ForwardFull(u64),
    /// For no connection, and not the beginning of one.
    Invalid,
    /// Too short to have a connection ID.
    TooShort,
    /// The kernel did not take them.
    SendErrors(u64),
    /// A client was asked to validate its address.
    Retry,
    /// RFC 9000 10.3.
    StatelessReset,
    /// RFC 9000 6.
    VersionNegotiation,
    /// A client has moved.
    Migration,
    /// Packets of a connection that is over that were declared lost.
    Lost(u64),
    /// More or fewer connections whose handshake is in progress.
    HalfOpen(i64),
    /// A connection ended with an error of HTTP/3.
    Error(ErrorCode),
    /// Bounds that were hit.
    Abuse(&'a AbuseCounts),
    /// A connection was refused: too many are half open.
    Refused,
}

/// Who owns an endpoint.
pub trait Owner {
    /// A client begins a handshake: what is to be done with its connection; `None` refuses it.
    fn admit(&self, remote: SocketAddr, local_ip: Option<IpAddr>) -> Option<Rc<dyn Handler>>;
    /// Something happened that is counted.
    fn count(&self, what: Count<'_>);
}

/// What an endpoint's connections share with it.
pub struct Core {
    proto: RefCell<quinn_proto::Endpoint>,
    dirty: RefCell<Vec<Rc<Connection>>>,
    waker: RefCell<Option<Waker>>,
    woken: Cell<bool>,
    /// A turn is under way: what is put into connections now is seen before it ends.
    driving: Cell<bool>,
    now: Cell<Instant>,
    timers: Rc<Timers>,
    scratches: RefCell<Vec<Vec<u8>>>,
    half_open: Cell<usize>,
    owner: Rc<dyn Owner>,
}

impl Core {
    pub(crate) fn now(&self) -> Instant {
        self.now.get()
    }

    /// The same, also outside of a turn.
    pub(crate) fn refreshed(&self) -> Instant {
        if !self.driving.get() {
            self.now.set(Instant::now());
        }
        self.now.get()
    }

    /// Milliseconds of the shard's clock.
    pub(crate) fn now_ms(&self) -> u64 {
        self.timers.now()
    }

    /// Has the endpoint look at `connection` after the tasks that are ready now.
    pub(crate) fn dirty(&self, connection: Rc<Connection>) {
        self.dirty.borrow_mut().push(connection);
        self.wake();
    }

    /// The same, for one that is being looked at.
    pub(crate) fn again(&self, connection: &Rc<Connection>) {
        connection.dirty.set(true);
        self.dirty.borrow_mut().push(connection.clone());
        self.wake();
    }

    fn wake(&self) {
        if !self.driving.get()
            && !self.woken.replace(true)
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn endpoint_event(&self, index: usize, event: EndpointEvent) -> Option<ConnectionEvent> {
        self.proto.borrow_mut().handle_event(ConnectionHandle(index), event)
    }

    /// An empty buffer for a head.
    pub(crate) fn scratch(&self) -> Vec<u8> {
        self.scratches.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(1024))
    }

    /// Keeps a buffer for the next head.
    pub(crate) fn give_scratch(&self, mut scratch: Vec<u8>) {
        if (1..=SCRATCH_KEPT).contains(&scratch.capacity()) {
            scratch.clear();
            let mut kept = self.scratches.borrow_mut();
            if kept.len() < SCRATCHES {
                kept.push(scratch);
            }
        }
    }

    pub(crate) fn half_open(&self, change: i64) {
        self.half_open.set(self.half_open.get().saturating_add_signed(change as isize));
        self.count(Count::HalfOpen(change));
    }

    pub(crate) fn count(&self, what: Count<'_>) {
        self.owner.count(what);
    }

    pub(crate) fn count_lost(&self, why: &ConnectionError) {
        // Zero is what those say who have no code for it.
        if let ConnectionError::ApplicationClosed(close) = why
            && ![0, ErrorCode::H3_NO_ERROR.0].contains(&close.error_code.into())
        {
            self.count(Count::Error(ErrorCode(close.error_code.into())));
        }
    }
}

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
        let core = Core {
            proto: RefCell::new(proto),
            dirty: RefCell::default(),
            waker: RefCell::default(),
            woken: Cell::new(false),
            driving: Cell::new(false),
            now: Cell::new(Instant::now()),
            timers: timers.clone(),
            scratches: RefCell::default(),
            half_open: Cell::new(0),
            owner,
        };
        Ok(Rc::new(Endpoint {
            core: Rc::new(core),
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
        self.core.proto.borrow_mut().set_server_config(Some(policy.server.clone()));
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
        self.core.scratches.borrow_mut().clear();
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
        self.core.woken.set(false);
        self.register(cx);
        self.core.driving.set(true);
        self.core.now.set(Instant::now());
        let more = self.turn(cx);
        self.core.driving.set(false);
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

    fn register(&self, cx: &Context<'_>) {
        let mut waker = self.core.waker.borrow_mut();
        match &*waker {
            Some(w) if w.will_wake(cx.waker()) => {}
            _ => *waker = Some(cx.waker().clone()),
        }
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

    /// Reads what has come. `true`: there may be more.
    fn receive(&self, cx: &mut Context<'_>) -> bool {
        let mut inbox = self.inbox.borrow_mut();
        for _ in 0..BATCHES_PER_TURN {
            if self.socket.poll_readable(cx).is_pending() {
                return false;
            }
            match self.socket.try_recv(&mut inbox, |message| self.message(&message)) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return true,
            }
        }
        true
    }

    fn message(&self, message: &Received<'_>) {
        let mut n = 0;
        for datagram in message.datagrams() {
            n += 1;
            match steer::shard_of(datagram, self.group.shards()) {
                Some(shard) if shard == self.shard => {
                    let Received { remote, local_ip, ecn, .. } = *message;
                    self.datagram(remote, local_ip, ecn, datagram.into());
                }
                Some(shard) => self.forward(shard, message, datagram),
                None => self.core.count(Count::TooShort),
            }
        }
        self.core.count(Count::Received(n));
    }

    fn forward(&self, shard: usize, message: &Received<'_>, datagram: &[u8]) {
        let Received { remote, local_ip, ecn, .. } = *message;
        let packet =
            Packet { group: self.group.id(), remote, local_ip, ecn, stride: datagram.len(), data: datagram.into() };
        self.core.count(match self.port.send(shard, packet) {
            Ok(()) => Count::Forwarded(1),
            Err(_) => Count::ForwardFull(1),
        });
    }

    /// A packet that came to another shard's socket.
    pub fn foreign(&self, packet: Packet) {
        self.core.now.set(Instant::now());
        self.datagram(packet.remote, packet.local_ip, packet.ecn, packet.data);
        self.core.wake();
    }

    /// One datagram. If it makes the state machine panic, it alone is lost.
    fn datagram(
        &self,
        remote: SocketAddr,
        local_ip: Option<IpAddr>,
        ecn: Option<quinn_proto::EcnCodepoint>,
        data: BytesMut,
    ) {
        if catch_unwind(AssertUnwindSafe(|| self.handle(remote, local_ip, ecn, data))).is_err() {
            edge_io::tasks::note_panic();
        }
    }

    fn handle(
        &self,
        remote: SocketAddr,
        local_ip: Option<IpAddr>,
        ecn: Option<quinn_proto::EcnCodepoint>,
        data: BytesMut,
    ) {
        let now = self.core.now();
        let mut outbox = self.outbox.borrow_mut();
        let out = outbox.answer();
        let event = self.core.proto.borrow_mut().handle(now, remote, local_ip, ecn, data, out);
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                drop(outbox);
                self.connection_event(handle, event);
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                drop(outbox);
                self.incoming(incoming);
            }
            Some(DatagramEvent::Response(transmit)) => {
                self.count_response(outbox.answered());
                self.core.count(Count::Sent(1));
                outbox.send_answer(&self.socket, &transmit);
            }
            None => self.core.count(Count::Invalid),
        }
    }

    fn count_response(&self, packet: &[u8]) {
        match packet {
            [first, 0, 0, 0, 0, ..] if first & 0x80 != 0 => self.core.count(Count::VersionNegotiation),
            [first, ..] if first & 0x80 == 0 => self.core.count(Count::StatelessReset),
            _ => {}
        }
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
            self.core.dirty.borrow_mut().push(connection.clone());
        }
    }

    /// A client begins a handshake.
    fn incoming(&self, incoming: Incoming) {
        let policy = self.policy.borrow().clone();
        let half_open = self.core.half_open.get();
        let mut proto = self.core.proto.borrow_mut();
        let mut outbox = self.outbox.borrow_mut();
        if !self.closed.get()
            && half_open >= policy.retry_after
            && incoming.may_retry()
            && !incoming.remote_address_validated()
        {
            if let Ok(transmit) = proto.retry(incoming, outbox.answer()) {
                self.core.count(Count::Retry);
                self.core.count(Count::Sent(1));
                outbox.send_answer(&self.socket, &transmit);
            }
            return;
        }
        let full = half_open >= policy.max_handshakes;
        if full {
            self.core.count(Count::Refused);
        }
        let handler = match self.closed.get() || full {
            true => None,
            false => self.core.owner.admit(incoming.remote_address(), incoming.local_ip()),
        };
        let Some(handler) = handler else {
            let transmit = proto.refuse(incoming, outbox.answer());
            self.core.count(Count::Sent(1));
            outbox.send_answer(&self.socket, &transmit);
            return;
        };
        match proto.accept(incoming, self.core.now(), outbox.answer(), None) {
            Ok((handle, quic)) => {
                drop((proto, outbox));
                self.core.half_open(1);
                self.insert(handle, quic, policy, handler);
            }
            Err(e) => {
                if let Some(transmit) = e.response {
                    self.core.count(Count::Sent(1));
                    outbox.send_answer(&self.socket, &transmit);
                }
                drop((proto, outbox));
                handler.failed(Some(&crypto::failure(&e.cause, None)));
            }
        }
    }

    fn insert(
        &self,
        handle: ConnectionHandle,
        quic: quinn_proto::Connection,
        policy: Arc<Policy>,
        handler: Rc<dyn Handler>,
    ) {
        let connection = Connection::new(
            self.core.clone(),
            handle.0,
            quic,
            policy,
            Owned { handler, _member: self.group.join() },
            self.core.now(),
        );
        let mut all = self.connections.borrow_mut();
        if all.len() <= handle.0 {
            all.resize_with(handle.0 + 1, || None);
        }
        if let Some(place) = all.get_mut(handle.0) {
            *place = Some(connection.clone());
            self.open.set(self.open.get() + 1);
        }
        drop(all);
        self.mark(&connection);
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
        std::mem::swap(&mut *turn, &mut *self.core.dirty.borrow_mut());
        for connection in turn.drain(..) {
            self.guard(&connection, || self.look_at(&connection, cx));
        }
        !self.core.dirty.borrow().is_empty() && !self.outbox.borrow().is_blocked()
    }

    fn look_at(&self, connection: &Rc<Connection>, cx: &mut Context<'_>) {
        if connection.is_drained() {
            return self.remove(connection, false);
        }
        // While it is set, what streams' tasks put in does not ask for another turn.
        connection.dirty.set(true);
        let woken = connection.process(self.core.now());
        if connection.has_moved() {
            self.core.count(Count::Migration);
        }
        connection.dirty.set(false);
        if woken > 0 && !connection.is_over() && !connection.held.replace(true) {
            // Streams' tasks run next, and have something to say as a rule: it goes out together with this. But once
            // only: a connection whose tasks are woken in each turn has something to acknowledge meanwhile.
            self.core.again(connection);
            return;
        }
        connection.held.set(false);
        self.transmit(connection, cx);
        if connection.has_stood_back() {
            self.core.again(connection);
        }
        if connection.is_drained() {
            return self.remove(connection, false);
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

    fn transmit(&self, connection: &Rc<Connection>, cx: &mut Context<'_>) {
        let sent = self.outbox.borrow_mut().transmit(&self.socket, &mut connection.quic(), self.core.now(), cx);
        match sent {
            Sent::All(0) => {}
            Sent::All(n) => self.core.count(Count::Sent(n)),
            Sent::Some(n) => {
                self.core.count(Count::Sent(n));
                self.core.again(connection);
            }
        }
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
        self.0.core.dirty.borrow_mut().clear();
    }
}

/// QUIC knows no longer ones (RFC 9000 17.2).
const _: () = assert!(CID_LEN <= 20);
