//! What an endpoint's connections share with it: its clock, its list of those to be looked at, and its owner.
use crate::{
    connection::{Connection, Handler},
    h3::{AbuseCounts, ErrorCode},
};
use edge_io::timer::Timers;
use quinn_proto::{ConnectionError, ConnectionEvent, ConnectionHandle, EndpointEvent};
use std::{
    cell::{Cell, RefCell, RefMut},
    net::{IpAddr, SocketAddr},
    rc::Rc,
    task::{Context, Waker},
    time::Instant,
};

/// Buffers for heads that are kept.
const SCRATCHES: usize = 64;
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
    pub(crate) fn new(proto: quinn_proto::Endpoint, timers: &Rc<Timers>, owner: Rc<dyn Owner>) -> Core {
        Core {
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
        }
    }

    /// quinn-proto's part of the endpoint.
    pub(crate) fn proto(&self) -> RefMut<'_, quinn_proto::Endpoint> {
        self.proto.borrow_mut()
    }

    pub(crate) fn owner(&self) -> &dyn Owner {
        &*self.owner
    }

    /// The endpoint's task runs.
    pub(crate) fn begin_turn(&self, cx: &Context<'_>) {
        self.woken.set(false);
        let mut waker = self.waker.borrow_mut();
        match &*waker {
            Some(w) if w.will_wake(cx.waker()) => {}
            _ => *waker = Some(cx.waker().clone()),
        }
        self.driving.set(true);
        self.now.set(Instant::now());
    }

    /// It is about to wait.
    pub(crate) fn end_turn(&self) {
        self.driving.set(false);
    }

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

    /// The same, within a turn.
    pub(crate) fn push_dirty(&self, connection: Rc<Connection>) {
        self.dirty.borrow_mut().push(connection);
    }

    /// Those that are to be looked at, in exchange for an empty list.
    pub(crate) fn take_dirty(&self, into: &mut Vec<Rc<Connection>>) {
        std::mem::swap(into, &mut *self.dirty.borrow_mut());
    }

    /// Whether any is to be looked at.
    pub(crate) fn any_dirty(&self) -> bool {
        !self.dirty.borrow().is_empty()
    }

    /// None will be looked at any more.
    pub(crate) fn forget_dirty(&self) {
        self.dirty.take();
    }

    /// Has the endpoint's task run.
    pub(crate) fn wake(&self) {
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

    /// Buffers that nobody uses are given back.
    pub(crate) fn trim(&self) {
        self.scratches.take();
    }

    /// Connections whose handshake is in progress.
    pub(crate) fn half_open_now(&self) -> usize {
        self.half_open.get()
    }

    /// There are more of them, or fewer.
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
