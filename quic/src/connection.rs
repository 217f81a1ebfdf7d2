//! One QUIC connection that speaks HTTP/3, server role: its streams' events, what is written for it, and its end.
//!
//! quinn-proto keeps the state machine. Body bytes stay in it until a stream's task asks for them, so that its flow
//! control is the back-pressure; what is kept here is whom to wake.
use crate::{
    crypto,
    deadlines::Entry,
    endpoint::{Core, Count},
    group::Member,
    h3::{self, Control, ErrorCode, Fatal, Own, Uni, UniNext},
    inflow::{Inflow, State},
    nascent::{Nascent, Step},
    policy::Policy,
    stream::Stream,
    tail::Tails,
    waiters::Waiters,
};
use bytes::Bytes;
use edge_io::{
    head::{Head, spare},
    message::{Priority, Protocol},
    tls,
};
use quinn_proto::{ConnectionError, Dir, StreamEvent, StreamId, VarInt};
use std::{
    cell::{Cell, OnceCell, RefCell, RefMut},
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    task::Context,
    time::{Duration, Instant},
};

/// Streams that are opened at most before other connections get their turn.
const OPENED_PER_TURN: u32 = 256;
/// Above every id that a client can open (RFC 9114 5.2): "no new requests, but I do not yet know the last one".
const NO_LAST_REQUEST: u64 = (1 << 62) - 4;
/// How long a client that was told so may still be sending requests, if round trips are shorter.
const LATE_REQUESTS: Duration = Duration::from_millis(100);

/// Our own unidirectional streams.
const OWN: [Own; 3] = [Own::Control, Own::Encoder, Own::Decoder];

/// What a connection's owner does with it. Dropped when the connection is over.
pub trait Handler {
    /// The handshake is done.
    fn established(&self, info: &tls::Info);
    /// It ended before its handshake was done.
    fn failed(&self, why: &tls::Error);
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

/// How far the end of the connection, as this side wants it, has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Going {
    No,
    /// "No new requests" was said; the last one is named at this time.
    Announced(Instant),
    /// Requests from this id on are not answered; the connection stays until this time at least, so that its peer hears
    /// of that before the end.
    Last(u64, Instant),
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
        if !self.dirty.replace(true) {
            self.core.dirty(self.clone());
        }
    }

    /// Begins a graceful end: no new requests, those under way are finished.
    pub fn go_away(self: &Rc<Self>) {
        if self.going.get() != Going::No || self.over.get() {
            return;
        }
        if !self.established.get() {
            return self.close(ErrorCode::H3_NO_ERROR, b"");
        }
        self.engine().go_away(NO_LAST_REQUEST);
        self.flush_own();
        self.going.set(Going::Announced(self.core.now() + self.late()));
        self.touch();
    }

    /// How long what was said takes to have an effect on what arrives.
    fn late(&self) -> Duration {
        (self.quic.borrow().rtt() * 2).min(LATE_REQUESTS)
    }

    /// Ends the connection at once.
    pub fn close(self: &Rc<Self>, code: ErrorCode, reason: &'static [u8]) {
        self.quic().close(self.core.now(), varint(code.0), Bytes::from_static(reason));
        self.end(&ConnectionError::LocallyClosed);
        self.touch();
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
                let error = crypto::failure(why, Some(&self.quic.borrow()));
                owned.handler.failed(&error);
            }
        }
    }

    /// The connection is gone from its endpoint: whatever is left of it sees that.
    pub(crate) fn abandon(&self) {
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
        let mut opened = 0;
        loop {
            self.endpoint_events();
            let event = self.quic().poll();
            match event {
                None => break,
                Some(quinn_proto::Event::Stream(event)) => {
                    if self.on_stream_event(event, &mut opened) {
                        break;
                    }
                }
                Some(quinn_proto::Event::HandshakeDataReady) => self.open_own(),
                Some(quinn_proto::Event::Connected) => self.on_connected(),
                Some(quinn_proto::Event::ConnectionLost { reason }) => self.on_lost(&reason),
                Some(quinn_proto::Event::DatagramReceived | quinn_proto::Event::DatagramsUnblocked) => {}
            }
        }
        self.wake_writable();
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

    /// `true`: enough for this turn, and more is there.
    fn on_stream_event(self: &Rc<Self>, event: StreamEvent, opened: &mut u32) -> bool {
        match event {
            StreamEvent::Opened { dir: Dir::Bi } => return self.accept_requests(opened),
            StreamEvent::Opened { dir: Dir::Uni } => self.accept_uni(),
            StreamEvent::Readable { id } if id.dir() == Dir::Uni => self.read_uni(id),
            StreamEvent::Readable { id } => self.on_readable(id),
            StreamEvent::Writable { id } => {
                self.flush_tail(id);
                let priority = self.quic().send_stream(id).priority().unwrap_or_default();
                self.writable.borrow_mut().push((priority, id));
            }
            StreamEvent::Stopped { id, .. } => {
                self.tails().remove(id.into());
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
        false
    }

    fn on_connected(self: &Rc<Self>) {
        self.open_own();
        if self.established.replace(true) {
            return;
        }
        self.core.half_open(-1);
        if let Some(info) = crypto::info(&self.quic.borrow()) {
            let _ = self.info.set(info);
        }
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
    fn wake_writable(&self) {
        let mut writable = self.writable.borrow_mut();
        writable.sort_unstable_by_key(|(priority, id)| (-priority, *id));
        writable.drain(..).for_each(|(_, id)| self.wake(id));
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

    fn wake(&self, id: StreamId) {
        if self.waiters().wake(id.into()) {
            self.woken.set(self.woken.get().wrapping_add(1));
        }
    }

    /// Streams that the client opened.
    fn accept_requests(self: &Rc<Self>, opened: &mut u32) -> bool {
        loop {
            if *opened == OPENED_PER_TURN {
                self.core.again(self);
                return true;
            }
            let id = self.quic().streams().accept(Dir::Bi);
            let Some(id) = id else { return false };
            *opened += 1;
            if let Going::Last(last, _) = self.going.get()
                && u64::from(id) >= last
            {
                self.refuse(id, ErrorCode::H3_REQUEST_REJECTED);
                continue;
            }
            self.next_request.set(u64::from(id) + 4);
            self.read_head(id, Nascent::new(self.core.now()));
        }
    }

    /// A request whose head is not complete may be now.
    fn on_readable(self: &Rc<Self>, id: StreamId) {
        let nascent = match self.nascent.try_borrow_mut() {
            Ok(mut all) if !all.is_empty() => all.remove(&u64::from(id)),
            _ => None,
        };
        match nascent {
            Some(nascent) => self.read_head(id, *nascent),
            None => self.wake(id),
        }
    }

    fn read_head(self: &Rc<Self>, id: StreamId, mut nascent: Nascent) {
        match nascent.advance(self, id) {
            Step::Waiting => {
                self.nascent.borrow_mut().insert(id.into(), Box::new(nascent));
            }
            step => self.head_done(id, nascent, step),
        }
    }

    fn head_done(self: &Rc<Self>, id: StreamId, nascent: Nascent, step: Step) {
        match step {
            Step::Waiting => {}
            Step::Complete { end } => self.begin(id, nascent, end),
            Step::Reset => {
                self.given_up(id);
                self.refuse(id, ErrorCode::H3_REQUEST_CANCELLED);
            }
            Step::Refused { code, respond } => self.refuse_with(id, nascent, code, respond),
            Step::Fatal(fatal) => self.fail(fatal),
            Step::Gone => {}
        }
    }

    fn begin(self: &Rc<Self>, id: StreamId, nascent: Nascent, end: bool) {
        let handler = self.handler();
        let Some(handler) = handler else { return };
        let protocol = self.engine.borrow().protocol();
        self.settle_early();
        self.prioritize(id, &nascent.head);
        self.requests.set(self.requests.get() + 1);
        let Nascent { engine, head, inflow, .. } = nascent;
        let stream = Stream::opened(self.clone(), id, engine, inflow, end);
        handler.request(Request { stream, head, end, protocol });
    }

    /// A request in early data is held to the host that was asked for, and to the certificate of the session.
    fn settle_early(&self) {
        if self.is_early()
            && self.early_info.get().is_none()
            && let Some(info) = crypto::info(&self.quic.borrow())
        {
            let _ = self.early_info.set(Box::new(info));
        }
    }

    /// RFC 9218: what the client asked for, if it is not the default.
    fn prioritize(&self, id: StreamId, head: &Head) {
        let early = match &mut *self.early.borrow_mut() {
            early if early.is_empty() => None,
            early => early.iter().position(|(e, _)| *e == u64::from(id)).map(|at| early.swap_remove(at).1),
        };
        let field = head.get(edge_io::head::FieldId::Priority).map(Priority::parse);
        if let Some(priority) = early.or(field) {
            let _ = self.quic().send_stream(id).set_priority(level(priority));
        }
    }

    /// Ends both directions of a stream that nobody was told of.
    fn refuse(&self, id: StreamId, code: ErrorCode) {
        let mut quic = self.quic();
        let _ = quic.recv_stream(id).stop(varint(code.0));
        let _ = quic.send_stream(id).reset(varint(code.0));
    }

    fn refuse_with(self: &Rc<Self>, id: StreamId, mut nascent: Nascent, code: ErrorCode, respond: Option<u16>) {
        self.engine().cancelled(&mut nascent.engine, id.into());
        spare::give(nascent.head);
        let Some(status) = respond else {
            return self.refuse(id, code);
        };
        let mut out = self.core.scratch();
        self.engine().write_response(id.into(), status, std::iter::empty(), &mut out);
        let mut quic = self.quic();
        let written = quic.send_stream(id).write(&out);
        if written == Ok(out.len()) && quic.send_stream(id).finish().is_ok() {
            let _ = quic.recv_stream(id).stop(varint(ErrorCode::H3_NO_ERROR.0));
        } else {
            drop(quic);
            self.refuse(id, code);
        }
        self.core.give_scratch(out);
    }

    fn accept_uni(self: &Rc<Self>) {
        loop {
            let id = self.quic().streams().accept(Dir::Uni);
            let Some(id) = id else { return };
            self.uni.borrow_mut().push((id, Uni::default()));
            self.read_uni(id);
        }
    }

    fn read_uni(self: &Rc<Self>, id: StreamId) {
        let at = self.uni.borrow().iter().position(|(known, _)| *known == id);
        let Some(at) = at else { return };
        let (_, mut uni) = self.uni.borrow_mut().swap_remove(at);
        if self.advance_uni(id, &mut uni) {
            self.uni.borrow_mut().push((id, uni));
        }
    }

    /// Whether it goes on.
    fn advance_uni(self: &Rc<Self>, id: StreamId, uni: &mut Uni) -> bool {
        let mut inflow = Inflow::default();
        loop {
            inflow.fill(self, id);
            let chunk = inflow.take();
            let fin = inflow.is_last();
            if chunk.is_empty() && !fin {
                return match inflow.state() {
                    State::Reset(_) => {
                        let lost = self.engine().uni_was_reset(uni);
                        if let Err(fatal) = lost {
                            self.fail(fatal);
                        }
                        false
                    }
                    state => state == State::Open,
                };
            }
            let next = self.engine().receive_uni(uni, &chunk, fin, self.core.now_ms());
            match next {
                Ok(UniNext::More) if fin => return false,
                Ok(UniNext::More) => {}
                Ok(UniNext::Stop(code)) => {
                    let _ = self.quic().recv_stream(id).stop(varint(code.0));
                    return false;
                }
                Err(fatal) => {
                    self.fail(fatal);
                    return false;
                }
            }
        }
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
                (None, id) => self.wake(id),
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

    fn on_priority(self: &Rc<Self>, id: u64, priority: Priority) {
        let next = self.next_request.get();
        if id >= next + 4 * u64::from(self.policy.streams) {
            // RFC 9218 7.2: a request that it may not make.
            return self.fail(Fatal::new(ErrorCode::H3_ID_ERROR, "the priority of a request beyond the limit"));
        }
        if id >= next {
            let mut early = self.early.borrow_mut();
            early.retain(|(e, _)| *e != id);
            if early.len() < self.policy.streams as usize {
                early.push((id, priority));
            }
            return;
        }
        let _ = self.quic().send_stream(stream_id(id)).set_priority(level(priority));
    }

    /// Opens our own unidirectional streams as far as the peer allows and as they are needed.
    fn open_own(&self) {
        let mut own = self.own.get();
        if own.iter().all(Option::is_some) {
            return;
        }
        let mut quic = self.quic();
        for (which, stream) in OWN.into_iter().zip(&mut own) {
            if stream.is_none() && !self.engine().out(which).is_empty() {
                *stream = quic.streams().open(Dir::Uni);
                if let Some(id) = *stream {
                    let _ = quic.send_stream(id).set_priority(i32::MAX);
                }
            }
        }
        self.own.set(own);
    }

    /// Writes what waits for our unidirectional streams.
    fn flush_own(&self) {
        let mut engine = self.engine();
        if !engine.has_out() {
            return;
        }
        let mut quic = self.quic();
        for (which, id) in OWN.into_iter().zip(self.own.get()) {
            let out = engine.out(which);
            if let (Some(id), false) = (id, out.is_empty())
                && let Ok(n) = quic.send_stream(id).write(out)
            {
                out.drain(..n);
            }
        }
    }

    fn flush_tail(&self, id: StreamId) {
        let mut tails = self.tails();
        if !tails.is_empty() {
            tails.flush(&mut self.quic(), id);
        }
    }

    /// A stream's task is done with it.
    pub(crate) fn stream_closed(self: &Rc<Self>, id: StreamId) {
        self.waiters().remove(id.into());
        let left = self.requests.get().saturating_sub(1);
        self.requests.set(left);
        if left == 0 {
            self.idle_since.set(self.core.now());
        }
        self.touch();
    }

    /// What has to happen at some time, and has.
    fn keep_time(self: &Rc<Self>, now: Instant) {
        if self.over.get() {
            return;
        }
        if !self.established.get() && now >= self.born + self.policy.handshake_timeout {
            self.end(&ConnectionError::TimedOut);
            return self.close(ErrorCode::H3_NO_ERROR, b"");
        }
        self.late_heads(now);
        if let Going::Announced(at) = self.going.get()
            && at <= now
        {
            let last = self.next_request.get();
            self.engine().go_away(last);
            self.going.set(Going::Last(last, now + self.late()));
            self.flush_own();
        }
        let busy = self.requests.get() > 0;
        if busy && self.ping_at.get() <= now {
            // A peer that is there answers: a request that takes long does not end with its silence.
            self.quic().ping();
            self.ping_at.set(now + self.policy.ping_every);
        }
        if !busy && self.established.get() {
            if now.saturating_duration_since(self.idle_since.get()) >= self.policy.keepalive {
                self.go_away();
            }
            self.close_when_done(now);
        }
    }

    /// Heads that do not come to an end.
    fn late_heads(self: &Rc<Self>, now: Instant) {
        if self.nascent.borrow().is_empty() {
            return;
        }
        let timeout = self.policy.header_timeout;
        let late = |n: &Nascent| now.saturating_duration_since(n.since) >= timeout;
        let ids: Vec<u64> = self.nascent.borrow().iter().filter(|(_, n)| late(n)).map(|(id, _)| *id).collect();
        for id in ids {
            let nascent = self.nascent.borrow_mut().remove(&id);
            if let Some(nascent) = nascent {
                self.refuse_with(stream_id(id), *nascent, ErrorCode::H3_REQUEST_INCOMPLETE, Some(408));
            }
        }
    }

    /// A graceful end is complete when every answer has arrived.
    fn close_when_done(self: &Rc<Self>, now: Instant) {
        let own = self.own.get().iter().flatten().count();
        let done = matches!(self.going.get(), Going::Last(_, heard) if heard <= now)
            && self.nascent.borrow().is_empty()
            && self.tails.borrow().is_empty()
            && self.quic().streams().send_streams() <= own;
        if done {
            self.close(ErrorCode::H3_NO_ERROR, b"");
        }
    }

    /// When it has to be looked at again, whatever comes.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let quic = self.quic().poll_timeout();
        if self.over.get() {
            return quic;
        }
        let own = if !self.established.get() {
            Some(self.born + self.policy.handshake_timeout)
        } else if self.requests.get() > 0 {
            Some(self.ping_at.get())
        } else {
            // Once it has passed, it is the client's acknowledgements that are waited for.
            (self.going.get() == Going::No).then(|| self.idle_since.get() + self.policy.keepalive)
        };
        let going = match self.going.get() {
            Going::Announced(at) => Some(at),
            // Afterwards the end waits for events, not for time.
            Going::Last(_, heard) => Some(heard).filter(|heard| *heard > self.core.now()),
            Going::No => None,
        };
        let nascent = self.nascent.borrow().values().map(|n| n.since).min();
        let head = nascent.map(|oldest| oldest + self.policy.header_timeout);
        [quic, own, going, head].into_iter().flatten().min()
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

/// quinn-proto sends higher ones first; 0 is what streams begin with, and urgency 3.
fn level(priority: Priority) -> i32 {
    3 - i32::from(priority.urgency)
}
