//! One QUIC connection that speaks HTTP/3, server role: its streams' events, what is written for it, and its end.
//!
//! quinn-proto keeps the state machine. Body bytes stay in it until a stream's task asks for them, so that its flow
//! control is the back-pressure; what is kept here is whom to wake.
mod ending;
mod own;
mod requests;

use crate::{
    crypto,
    deadlines::Entry,
    endpoint::{Core, Count},
    group::Member,
    h3::{self, Control, ErrorCode, Fatal, Uni},
    nascent::{Nascent, Step},
    policy::Policy,
    stream::Stream,
    tail::Tails,
    waiters::Waiters,
};
use edge_io::{
    head::Head,
    message::{Priority, Protocol},
    tls,
};
use ending::Going;
use quinn_proto::{ConnectionError, Dir, StreamEvent, StreamId, VarInt};
use std::{
    cell::{Cell, OnceCell, RefCell, RefMut},
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    task::Context,
    time::Instant,
};

/// What a connection's owner does with it. Dropped when the connection is over.
pub trait Handler {
    /// The handshake is done.
    fn established(&self, info: &tls::Info);
    /// It ended before its handshake was done; `None`: the time for it was over.
    fn failed(&self, why: Option<&tls::Error>);
    /// A request has come.
    fn request(&self, request: Request);
}

/// Whom a connection belongs to, for as long as it is not over.
pub(crate) struct Owned {
    pub handler: Rc<dyn Handler>,
    /// Keeps the sockets of its address read, on all shards.
    pub _member: Member,
}

/// A request whose head is complete.
pub struct Request {
    /// The stream, for its body and its answer.
    pub stream: Stream,
    /// Its head.
    pub head: Box<Head>,
    /// Nothing follows the head.
    pub end: bool,
    /// What an extended CONNECT asks for (RFC 9220).
    pub protocol: Protocol,
}

/// One connection.
pub struct Connection {
    core: Rc<Core>,
    index: usize,
    quic: RefCell<quinn_proto::Connection>,
    engine: RefCell<h3::Connection>,
    policy: Arc<Policy>,
    owned: RefCell<Option<Owned>>,
    waiters: RefCell<Waiters>,
    nascent: RefCell<HashMap<u64, Box<Nascent>>>,
    uni: RefCell<Vec<(StreamId, Uni)>>,
    own: Cell<[Option<StreamId>; 3]>,
    tails: RefCell<Tails>,
    /// Priorities that came before their requests.
    early: RefCell<Vec<(u64, Priority)>>,
    /// Streams that got room in this turn, with quinn-proto's priority of each.
    writable: RefCell<Vec<(i32, StreamId)>>,
    /// Those of them whose tasks have not run yet.
    writers: RefCell<Vec<(i32, StreamId)>>,
    /// Streams that had something to write, and left the room to those.
    stood_back: RefCell<Vec<StreamId>>,
    info: OnceCell<tls::Info>,
    /// What the handshake had settled when the first request came in early data.
    early_info: OnceCell<Box<tls::Info>>,
    pub(crate) entry: Cell<Entry>,
    pub(crate) dirty: Cell<bool>,
    remote: Cell<SocketAddr>,
    going: Cell<Going>,
    over: Cell<bool>,
    born: Instant,
    established: Cell<bool>,
    drained: Cell<bool>,
    /// Requests under way.
    requests: Cell<u32>,
    /// The first id that was not accepted yet.
    next_request: Cell<u64>,
    /// There are some that were not accepted yet.
    more_requests: Cell<bool>,
    /// What there is to send was held back once, for what streams' tasks would add to it.
    pub(crate) held: Cell<bool>,
    idle_since: Cell<Instant>,
    ping_at: Cell<Instant>,
    /// How often a stream's task was woken.
    woken: Cell<u32>,
    released: Cell<bool>,
}

impl Connection {
    pub(crate) fn new(
        core: Rc<Core>,
        index: usize,
        quic: quinn_proto::Connection,
        policy: Arc<Policy>,
        owned: Owned,
        now: Instant,
    ) -> Rc<Connection> {
        let remote = quic.remote_address();
        Rc::new(Connection {
            engine: RefCell::new(h3::Connection::new(h3::Role::Server, &policy.h3, core.now_ms())),
            core,
            index,
            quic: RefCell::new(quic),
            policy,
            owned: RefCell::new(Some(owned)),
            waiters: RefCell::default(),
            nascent: RefCell::default(),
            uni: RefCell::default(),
            own: Cell::new([None; 3]),
            tails: RefCell::default(),
            early: RefCell::default(),
            writable: RefCell::default(),
            writers: RefCell::default(),
            stood_back: RefCell::default(),
            info: OnceCell::new(),
            early_info: OnceCell::new(),
            entry: Cell::default(),
            dirty: Cell::new(false),
            remote: Cell::new(remote),
            going: Cell::new(Going::No),
            over: Cell::new(false),
            born: now,
            established: Cell::new(false),
            drained: Cell::new(false),
            requests: Cell::new(0),
            next_request: Cell::new(0),
            more_requests: Cell::new(false),
            held: Cell::new(false),
            idle_since: Cell::new(now),
            ping_at: Cell::new(now),
            woken: Cell::new(0),
            released: Cell::new(false),
        })
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// quinn-proto's state machine.
    pub(crate) fn quic(&self) -> RefMut<'_, quinn_proto::Connection> {
        self.quic.borrow_mut()
    }

    /// The HTTP/3 engine.
    pub(crate) fn engine(&self) -> RefMut<'_, h3::Connection> {
        self.engine.borrow_mut()
    }

    pub(crate) fn waiters(&self) -> RefMut<'_, Waiters> {
        self.waiters.borrow_mut()
    }

    pub(crate) fn tails(&self) -> RefMut<'_, Tails> {
        self.tails.borrow_mut()
    }

    /// The handshake's result once it is done; for requests in early data, what is settled by then.
    pub fn tls(&self) -> Option<&tls::Info> {
        self.info.get().or_else(|| self.early_info.get().map(|info| &**info))
    }

    /// Where the client is now: it may move.
    pub fn remote(&self) -> SocketAddr {
        self.remote.get()
    }

    /// The address that the client sent to, where the kernel tells.
    pub fn local_ip(&self) -> Option<IpAddr> {
        self.quic.borrow().local_ip()
    }

    /// Whether the handshake is under way: what comes now is early data, and may be a replay.
    pub fn is_early(&self) -> bool {
        !self.established.get()
    }

    /// Whether the connection has ended.
    pub fn is_over(&self) -> bool {
        self.over.get()
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.drained.get()
    }

    /// Requests under way.
    pub fn requests(&self) -> u32 {
        self.requests.get()
    }

    /// What the client allows, or asks: whether it takes extended CONNECT.
    pub fn peer_settled(&self) -> bool {
        self.engine.borrow().peer_settled()
    }

    /// Something was put into it: the endpoint looks at it after the tasks that are ready now.
    pub(crate) fn touch(self: &Rc<Self>) {
        // Of one that is gone from its endpoint nobody wants to know anything.
        if !self.drained.get() && !self.dirty.replace(true) {
            self.core.dirty(self.clone());
        }
    }

    /// The peer broke the protocol, or a bound.
    pub(crate) fn fail(self: &Rc<Self>, fatal: Fatal) {
        if !self.over.get() {
            self.core.count(Count::Error(fatal.code));
            self.count_abuse();
            self.close(fatal.code, fatal.detail.as_bytes());
        }
    }

    /// Tells which bounds were hit since the last call.
    fn count_abuse(&self) {
        let abuse = self.engine().limits_hit();
        if abuse.iter().any(|n| *n > 0) {
            self.core.count(Count::Abuse(&abuse));
        }
    }

    fn handler(&self) -> Option<Rc<dyn Handler>> {
        self.owned.borrow().as_ref().map(|owned| owned.handler.clone())
    }

    /// No stream goes on, and its owner is told.
    fn end(&self, why: &ConnectionError) {
        self.over.set(true);
        self.nascent.borrow_mut().clear();
        self.tails().clear();
        self.waiters().wake_all();
        let owned = self.owned.take();
        if !self.established.replace(true) {
            self.core.half_open(-1);
            if let Some(owned) = owned {
                let late = *why == ConnectionError::TimedOut;
                let error = (!late).then(|| crypto::failure(why, Some(&self.quic.borrow())));
                owned.handler.failed(error.as_ref());
            }
        }
    }

    /// The connection is gone from its endpoint: whatever is left of it sees that.
    pub(crate) fn abandon(&self) {
        self.drained.set(true);
        self.end(&ConnectionError::LocallyClosed);
    }

    /// Packets that were declared lost.
    pub(crate) fn lost_packets(&self) -> u64 {
        self.quic.borrow().stats().path.lost_packets
    }

    /// Looks at everything that has happened. Answers how many tasks were woken: they may have something to say that
    /// can go out together with what there is now.
    pub(crate) fn process(self: &Rc<Self>, now: Instant) -> u32 {
        self.released.set(false);
        let before = self.woken.get();
        loop {
            self.endpoint_events();
            let event = self.quic().poll();
            match event {
                None => break,
                Some(quinn_proto::Event::Stream(event)) => self.on_stream_event(event),
                Some(quinn_proto::Event::HandshakeDataReady) => self.open_own(),
                Some(quinn_proto::Event::Connected) => self.on_connected(),
                Some(quinn_proto::Event::ConnectionLost { reason }) => self.on_lost(&reason),
                Some(quinn_proto::Event::DatagramReceived | quinn_proto::Event::DatagramsUnblocked) => {}
            }
        }
        self.wake_writable();
        if self.more_requests.get() {
            self.accept_requests(); // behind the others, so that it is known who waits for room
        }
        self.after_events();
        self.keep_time(now);
        self.woken.get().wrapping_sub(before)
    }

    fn endpoint_events(self: &Rc<Self>) {
        loop {
            let event = self.quic().poll_endpoint_events();
            let Some(event) = event else { return };
            self.drained.set(self.drained.get() || event.is_drained());
            if let Some(answer) = self.core.endpoint_event(self.index, event) {
                self.quic().handle_event(answer);
            }
        }
    }

    fn on_stream_event(self: &Rc<Self>, event: StreamEvent) {
        match event {
            StreamEvent::Opened { dir: Dir::Bi } => self.more_requests.set(true),
            StreamEvent::Opened { dir: Dir::Uni } => self.accept_uni(),
            StreamEvent::Readable { id } if id.dir() == Dir::Uni => self.read_uni(id),
            StreamEvent::Readable { id } => self.on_readable(id),
            StreamEvent::Writable { id } => {
                self.flush_tail(id);
                let priority = self.quic().send_stream(id).priority().unwrap_or_default();
                self.writable.borrow_mut().push((priority, id));
            }
            StreamEvent::Stopped { id, .. } => {
                if self.tails().remove(id.into()) {
                    // Its task is gone: nobody else would end it (RFC 9000 3.5).
                    let _ = self.quic().send_stream(id).reset(varint(ErrorCode::H3_REQUEST_CANCELLED.0));
                }
                if self.own.get().contains(&Some(id)) {
                    self.fail(Fatal::new(ErrorCode::H3_CLOSED_CRITICAL_STREAM, "a critical stream was stopped"));
                } else {
                    self.count_reset();
                }
                self.wake(id);
            }
            StreamEvent::Finished { .. } | StreamEvent::Available { dir: Dir::Bi } => {}
            StreamEvent::Available { dir: Dir::Uni } => self.open_own(),
        }
    }

    fn on_connected(self: &Rc<Self>) {
        self.open_own();
        self.allow_all_requests();
        if self.established.replace(true) {
            return;
        }
        self.core.half_open(-1);
        if let Some(info) = crypto::info(&self.quic.borrow()) {
            let _ = self.info.set(info);
        }
        self.idle_since.set(self.core.now());
        let handler = self.handler();
        if let (Some(handler), Some(info)) = (handler, self.info.get()) {
            handler.established(info);
        }
    }

    fn on_lost(&self, reason: &ConnectionError) {
        self.core.count_lost(reason);
        self.end(reason);
    }

    /// Who is woken first takes what room there is: the most urgent (RFC 9218, section 10), and of those the oldest.
    /// They are the writers of this turn: until they have run, nobody else takes the room from them.
    fn wake_writable(&self) {
        let mut writers = self.writers.borrow_mut();
        writers.clear();
        writers.append(&mut self.writable.borrow_mut());
        writers.sort_unstable_by_key(|(priority, id)| (-priority, *id));
        writers.retain(|(_, id)| self.wake(*id));
        self.stood_back.borrow_mut().drain(..).for_each(|id| {
            self.wake(id);
        });
    }

    /// Whether there is something to do in the next turn, whatever comes: requests to accept, or streams to wake that
    /// left the room to others.
    pub(crate) fn wants_more(&self) -> bool {
        !self.over.get() && (self.more_requests.get() || !self.stood_back.borrow().is_empty())
    }

    /// Whether stream `id` may write much now: not before those who have waited for room, were told of some, and are as
    /// urgent. Otherwise it is woken when they have had their turn. Without this, new answers took the room from older
    /// ones, again and again.
    pub(crate) fn may_write(self: &Rc<Self>, id: StreamId) -> bool {
        let mut writers = self.writers.borrow_mut();
        if writers.is_empty() {
            return true;
        }
        if let Some(at) = writers.iter().position(|(_, writer)| *writer == id) {
            writers.remove(at);
            return true;
        }
        let own = self.quic().send_stream(id).priority().unwrap_or_default();
        if writers.iter().all(|(priority, _)| *priority < own) {
            return true;
        }
        drop(writers);
        self.stood_back.borrow_mut().push(id);
        self.touch();
        false
    }

    /// The client reset a request. If it stopped the answer as well, that counts for both.
    pub(crate) fn given_up(self: &Rc<Self>, id: StreamId) {
        let stopped = self.quic().send_stream(id).stopped();
        if stopped == Ok(None) {
            self.count_reset();
        }
    }

    fn count_reset(self: &Rc<Self>) {
        let counted = self.engine().reset_by_peer(self.core.now_ms());
        if let Err(fatal) = counted {
            self.fail(fatal);
        }
    }

    /// Whether there was anybody to wake.
    fn wake(&self, id: StreamId) -> bool {
        let woken = self.waiters().wake(id.into());
        self.woken.set(self.woken.get().wrapping_add(u32::from(woken)));
        woken
    }

    /// What the engine has to say after what came.
    fn after_events(self: &Rc<Self>) {
        if self.over.get() {
            return;
        }
        loop {
            let unblocked = self.engine().next_unblocked();
            let Some(id) = unblocked else { break };
            let nascent = self.nascent.borrow_mut().remove(&id);
            match (nascent, stream_id(id)) {
                (Some(mut nascent), id) => match nascent.resume(self, id) {
                    Step::Waiting => {
                        self.nascent.borrow_mut().insert(id.into(), nascent);
                    }
                    step => self.head_done(id, *nascent, step),
                },
                (None, id) => {
                    self.wake(id);
                }
            }
        }
        loop {
            let control = self.engine().next_control();
            match control {
                Some(Control::PriorityUpdate { stream, priority }) => self.on_priority(stream, priority),
                Some(Control::Settings | Control::GoAway(_)) => {}
                None => break,
            }
        }
        self.count_abuse();
        self.open_own();
        self.flush_own();
    }

    fn flush_tail(&self, id: StreamId) {
        let mut tails = self.tails();
        if !tails.is_empty() {
            tails.flush(&mut self.quic(), id, varint(ErrorCode::H3_REQUEST_CANCELLED.0));
        }
    }

    /// A stream's task is done with it.
    pub(crate) fn stream_closed(self: &Rc<Self>, id: StreamId) {
        self.waiters().remove(id.into());
        let left = self.requests.get().saturating_sub(1);
        self.requests.set(left);
        if left == 0 {
            self.idle_since.set(self.core.refreshed());
        }
        self.touch();
    }

    /// Whether the client has moved since the last call.
    pub(crate) fn has_moved(&self) -> bool {
        let now = self.quic.borrow().remote_address();
        self.remote.replace(now) != now
    }

    /// The task of `cx` waits for something to happen to stream `id`.
    pub(crate) fn wait(&self, id: StreamId, cx: &Context<'_>) {
        self.waiters().wait(id.into(), cx);
    }

    /// What it holds beyond its fixed size is given back, if nothing has happened since the last call.
    pub(crate) fn release_memory(&self) {
        if self.requests.get() > 0 || self.released.replace(true) {
            return;
        }
        self.engine().release_memory();
        self.waiters().release_memory();
        self.writable.take();
        self.writers.take();
        self.stood_back.take();
        if self.nascent.borrow().is_empty() {
            *self.nascent.borrow_mut() = HashMap::new();
        }
    }
}

/// An HTTP/3 error code as QUIC sends it: all of ours are far below its bound of 62 bits.
pub(crate) fn varint(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

pub(crate) fn stream_id(id: u64) -> StreamId {
    StreamId::from(varint(id))
}
