//! One shard's connections to endpoints: idle ones kept for reuse, new ones within the node-wide limit.
use super::{EndpointAddr, EndpointRule, EndpointState, PoolRule};
use crate::{
    message::{Category, Fault, Side},
    observe::stats::{EndpointStats, Limit, ShardStats},
};
use edge_io::{runtime::Local, stream::Stream, tcp, timer::Timer};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

/// Permits leased from the node at once while there are plenty.
const LEASE: u32 = 4;
/// How far from the top of the idle list an older connection is looked for.
const NEAR: usize = 16;
/// A request that waits for a permit looks again after this: another shard may have given one back.
const LOOK_AGAIN: Duration = Duration::from_millis(8);

/// One shard's view of one endpoint.
pub struct Endpoint {
    /// Node-wide state.
    pub state: Arc<EndpointState>,
    stats: Arc<EndpointStats>,
    idle: RefCell<Vec<Idle>>,
    /// Permits this shard holds without a connection.
    spare: Cell<u32>,
    /// Open connections of this shard, idle ones included.
    pub open: Cell<u32>,
    /// Requests of this shard that use the endpoint now.
    pub in_flight: Cell<u32>,
    line: Line,
    /// Not in the newest snapshot any more: connections close after use.
    retired: Cell<bool>,
    max_connections: Cell<u32>,
    keepalive: Cell<usize>,
}

struct Idle {
    stream: Stream,
    born_ms: u64,
    since_ms: u64,
    /// It is not reused after this, on the shard's clock: the pool's age or idle time, whichever ends first.
    until_ms: u64,
    /// The turn of the loop in which it was put back: bytes that came since are known from the next turn on.
    turn: u64,
    /// Its last answer had a body by its head but not by its request (HEAD): endpoints get that wrong.
    doubtful: bool,
}

/// A connection that a request uses. Dropping it closes it and gives its permit back.
pub struct Conn {
    stream: Option<Stream>,
    endpoint: Rc<Endpoint>,
    born_ms: u64,
    /// It carried a request before.
    pub reused: bool,
}

impl Conn {
    /// Its socket.
    pub fn stream(&self) -> Option<&Stream> {
        self.stream.as_ref()
    }

    /// Puts it back for the next request, unless the pool is full or the endpoint is going.
    pub fn put_back(mut self, rule: &PoolRule, local: &Local, jitter: u64, doubtful: bool) {
        let endpoint = self.endpoint.clone();
        let starving = endpoint.line.is_empty() && endpoint.state.is_starving();
        if endpoint.retired.get() || starving || endpoint.idle.borrow().len() >= endpoint.keepalive.get() {
            return;
        }
        if let Some(stream) = self.stream.take() {
            let now = local.timers.now();
            // ±10 %, so that connections made together do not end together
            let age = rule.keepalive_age.as_millis() as u64 * (90 + jitter % 21) / 100;
            let until_ms = (self.born_ms + age).min(now + rule.keepalive_idle.as_millis() as u64);
            endpoint.idle.borrow_mut().push(Idle {
                stream,
                born_ms: self.born_ms,
                since_ms: now,
                until_ms,
                turn: local.reactor.turn(),
                doubtful,
            });
            endpoint.line.wake_first();
        }
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        if self.stream.take().is_some() {
            self.endpoint.closed();
        }
    }
}

impl Endpoint {
    fn new(rule: &EndpointRule) -> Endpoint {
        Endpoint {
            state: rule.state.clone(),
            stats: rule.stats.clone(),
            idle: RefCell::default(),
            spare: Cell::new(0),
            open: Cell::new(0),
            in_flight: Cell::new(0),
            line: Line::default(),
            retired: Cell::new(false),
            max_connections: Cell::new(u32::MAX),
            keepalive: Cell::new(0),
        }
    }

    /// Idle connections of this shard.
    pub fn idle_len(&self) -> usize {
        self.idle.borrow().len()
    }

    fn closed(&self) {
        self.open.set(self.open.get() - 1);
        self.spare.set(self.spare.get() + 1);
        self.give_back();
        self.line.wake_first();
    }

    /// Gives permits back: all but a few while there are plenty, all of them when they are scarce.
    fn give_back(&self) {
        let keep = match self.scarce() || self.retired.get() {
            true if self.line.is_empty() => 0,
            true => 1,
            false => LEASE,
        };
        let spare = self.spare.get();
        if spare > keep {
            self.spare.set(keep);
            self.state.give_permits(spare - keep);
        }
    }

    /// More than half of the node's permits are out: single ones only, so that none is stranded on an idle shard.
    fn scarce(&self) -> bool {
        self.state.taken() >= self.max_connections.get() / 2
    }

    fn take_permit(&self) -> bool {
        if self.spare.get() == 0 {
            let want = if self.scarce() { 1 } else { LEASE };
            self.spare.set(self.state.take_permits(want, self.max_connections.get()));
        }
        match self.spare.get() {
            0 => false,
            n => {
                self.spare.set(n - 1);
                true
            }
        }
    }

    /// The most recently used idle connection that is still good. `careful` asks the kernel too: for requests that
    /// must not be sent twice.
    fn take_idle(&self, local: &Local, careful: bool) -> Option<(Stream, u64)> {
        let (now, turn) = (local.timers.now(), local.reactor.turn());
        loop {
            let idle = {
                let mut all = self.idle.borrow_mut();
                // One of an earlier turn is known to be quiet without asking.
                let nearest = all.iter().rev().take(NEAR).position(|i| i.turn != turn).unwrap_or(0);
                let at = all.len().checked_sub(nearest + 1)?;
                all.remove(at)
            };
            let ask = careful || idle.doubtful || idle.turn == turn;
            let good = now < idle.until_ms && !idle.stream.has_news() && (!ask || idle.stream.is_quiet());
            if good {
                return Some((idle.stream, idle.born_ms));
            }
            drop(idle);
            self.closed();
        }
    }

    /// Closes idle connections that ended, grew old, or are wanted elsewhere; gives scarce permits back.
    fn sweep(&self, now: u64) {
        let starving = self.state.is_starving() && self.line.is_empty();
        let before = self.idle.borrow().len();
        if self.retired.get() || starving {
            self.idle.borrow_mut().clear();
        } else {
            self.idle.borrow_mut().retain(|i| now < i.until_ms && i.since_ms <= now && !i.stream.has_news());
        }
        for _ in self.idle.borrow().len()..before {
            self.closed();
        }
        self.give_back();
    }

    /// Closes this shard's idle connections: one of them turned out to be dead, and the others are as old.
    pub fn drop_idle(&self) {
        let dropped = std::mem::take(&mut *self.idle.borrow_mut());
        for idle in dropped {
            drop(idle); // before its permit goes to another
            self.closed();
        }
    }

    fn is_gone(&self) -> bool {
        self.retired.get() && self.open.get() == 0 && self.in_flight.get() == 0
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let idle = self.idle.get_mut().len() as u32;
        let held = self.spare.get() + idle;
        if held > 0 {
            self.state.give_permits(held);
        }
    }
}

/// Requests that wait for a connection, first come, first served.
#[derive(Default)]
struct Line {
    queue: RefCell<VecDeque<(u64, Waker)>>,
    next: Cell<u64>,
}

impl Line {
    fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    fn len(&self) -> usize {
        self.queue.borrow().len()
    }

    /// A connection or a permit is there: the first may look. It stays the first until it leaves.
    fn wake_first(&self) {
        if let Some((_, waker)) = self.queue.borrow().front() {
            waker.wake_by_ref();
        }
    }

    fn enter(&self, waker: &Waker) -> Place<'_> {
        let ticket = self.next.get();
        self.next.set(ticket + 1);
        self.queue.borrow_mut().push_back((ticket, waker.clone()));
        Place { line: self, ticket }
    }
}

/// A place in the line; whatever ends the wait, the place goes with it, and the next one may look.
struct Place<'a> {
    line: &'a Line,
    ticket: u64,
}

impl Place<'_> {
    fn is_first(&self) -> bool {
        self.line.queue.borrow().front().is_some_and(|(t, _)| *t == self.ticket)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.line.queue.borrow_mut().retain(|(t, _)| *t != self.ticket);
        self.line.wake_first();
    }
}

/// Counts a request on an endpoint while it lives.
pub struct InFlight(Rc<Endpoint>);

impl InFlight {
    /// One more.
    pub fn new(endpoint: &Rc<Endpoint>) -> InFlight {
        endpoint.in_flight.set(endpoint.in_flight.get() + 1);
        InFlight(endpoint.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}

/// All endpoints that this shard knows, by slot.
#[derive(Default)]
pub struct Endpoints {
    by_slot: RefCell<Vec<Option<Rc<Endpoint>>>>,
}

impl Endpoints {
    /// This shard's view of an endpoint.
    pub fn get(&self, pool: &PoolRule, rule: &EndpointRule) -> Rc<Endpoint> {
        let slot = rule.state.slot;
        let mut all = self.by_slot.borrow_mut();
        if all.len() <= slot {
            all.resize_with(slot + 1, || None);
        }
        if let Some(e) = &all[slot]
            && Arc::ptr_eq(&e.state, &rule.state)
        {
            return e.clone();
        }
        let made = Rc::new(Endpoint::new(rule));
        made.max_connections.set(pool.max_connections);
        made.keepalive.set(pool.keepalive);
        all[slot] = Some(made.clone());
        made
    }

    /// A new snapshot has these pools: limits are renewed, endpoints that are not in it drain and go.
    pub fn adopt(&self, pools: &[Arc<PoolRule>]) {
        for e in self.by_slot.borrow().iter().flatten() {
            e.retired.set(true);
        }
        for pool in pools {
            for rule in &pool.endpoints {
                if let Some(Some(e)) = self.by_slot.borrow().get(rule.state.slot)
                    && Arc::ptr_eq(&e.state, &rule.state)
                {
                    e.retired.set(false);
                    e.max_connections.set(pool.max_connections);
                    e.keepalive.set(pool.keepalive);
                }
            }
        }
    }

    /// Housekeeping, a few times a second.
    pub fn sweep(&self, now: u64, shard: usize) {
        for e in self.by_slot.borrow_mut().iter_mut() {
            if let Some(endpoint) = e {
                endpoint.sweep(now);
                let idle = endpoint.idle_len() as i64;
                let counters = endpoint.stats.shard(shard);
                counters.idle.set(idle);
                counters.active.set(i64::from(endpoint.open.get()) - idle);
                if endpoint.is_gone() {
                    *e = None;
                }
            }
        }
    }

    /// Closes every idle connection: the shard drains.
    pub fn close_idle(&self) {
        for e in self.by_slot.borrow().iter().flatten() {
            e.retired.set(true);
            e.sweep(u64::MAX);
        }
    }

    /// Idle and open connections of this shard, over all endpoints.
    pub fn counts(&self) -> (usize, usize) {
        let all = self.by_slot.borrow();
        let live = all.iter().flatten();
        live.fold((0, 0), |(idle, open), e| (idle + e.idle_len(), open + e.open.get() as usize))
    }
}

/// A connection to `rule`'s endpoint: an idle one, or a new one when the limit has room, or after a wait in line.
///
/// Faults: `overloaded` when the line is full or the wait too long, `upstream_connect_failed`, `upstream_timeout`; all
/// are `unsent`.
pub async fn checkout(
    local: &Local,
    stats: &ShardStats,
    pool: &PoolRule,
    rule: &EndpointRule,
    endpoint: &Rc<Endpoint>,
    careful: bool,
    connect_timeout: Duration,
) -> Result<Conn, Fault> {
    let conn = |stream, born_ms, reused| Conn { stream: Some(stream), endpoint: endpoint.clone(), born_ms, reused };
    let queued = !endpoint.line.is_empty();
    if !queued && let Some((stream, born_ms)) = endpoint.take_idle(local, careful) {
        return Ok(conn(stream, born_ms, true));
    }
    if (queued || !endpoint.take_permit())
        && let Some((stream, born_ms)) = Box::pin(wait_in_line(local, stats, pool, endpoint, careful)).await?
    {
        return Ok(conn(stream, born_ms, true));
    }
    endpoint.open.set(endpoint.open.get() + 1);
    let opening = Opening(Some(endpoint.clone()));
    let stream = Box::pin(connect(local, rule, connect_timeout)).await?;
    opening.done();
    Ok(conn(stream, local.timers.now(), false))
}

/// Holds a permit while a connection is being made; dropped early, gives it back.
struct Opening(Option<Rc<Endpoint>>);

impl Opening {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(e) = self.0.take() {
            e.closed();
        }
    }
}

/// Keeps the node's count of waiting requests right, whatever ends the wait.
struct Starving<'a>(&'a EndpointState);

impl<'a> Starving<'a> {
    fn new(state: &'a EndpointState) -> Starving<'a> {
        state.starve(1);
        Starving(state)
    }
}

impl Drop for Starving<'_> {
    fn drop(&mut self) {
        self.0.starve(-1);
    }
}

/// First in, first out. Ends with an idle connection, or with a permit for a new one (`None`).
async fn wait_in_line(
    local: &Local,
    stats: &ShardStats,
    pool: &PoolRule,
    endpoint: &Rc<Endpoint>,
    careful: bool,
) -> Result<Option<(Stream, u64)>, Fault> {
    if endpoint.line.len() >= pool.max_waiting {
        stats.limit_hit(Limit::PoolWaiting);
        return Err(Fault::new(Category::Overloaded, Side::Edge, "too many requests wait for a connection").unsent());
    }
    stats.limit_hit(Limit::PoolConnections);
    let _starving = Starving::new(&endpoint.state);
    let (again, give_up) = (Timer::new(&local.timers), Timer::new(&local.timers));
    give_up.set(pool.wait_timeout);
    let mut place = None;
    poll_fn(|cx| {
        let place: &Place<'_> = place.get_or_insert_with(|| endpoint.line.enter(cx.waker()));
        if place.is_first() {
            if let Some(found) = endpoint.take_idle(local, careful) {
                return Poll::Ready(Ok(Some(found)));
            }
            if endpoint.take_permit() {
                return Poll::Ready(Ok(None));
            }
            again.set(LOOK_AGAIN); // another shard may give one back
            let _ = again.poll_fired(cx);
        }
        give_up
            .poll_fired(cx)
            .map(|()| Err(Fault::new(Category::Overloaded, Side::Edge, "waited too long for a connection").unsent()))
    })
    .await
}

async fn connect(local: &Local, rule: &EndpointRule, timeout: Duration) -> Result<Stream, Fault> {
    let addr = match &rule.addr {
        EndpointAddr::Tcp(a) => Ok(socket2::SockAddr::from(*a)),
        EndpointAddr::Unix(path) => socket2::SockAddr::unix(path),
        EndpointAddr::Abstract(name) => edge_io::listen::abstract_addr(name),
    };
    let failed = |e: io::Error| {
        let detail = match e.kind() {
            io::ErrorKind::ConnectionRefused => "connection refused",
            io::ErrorKind::NotFound => "no such socket",
            io::ErrorKind::PermissionDenied => "permission denied",
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "unreachable",
            io::ErrorKind::AddrNotAvailable => "no local port left",
            _ => "connect failed",
        };
        Fault::new(Category::UpstreamConnectFailed, Side::Upstream, detail).unsent()
    };
    let addr = addr.map_err(failed)?;
    let timer = Timer::new(&local.timers);
    timer.set(timeout);
    let mut connecting = pin!(tcp::Stream::connect(&local.reactor, &addr));
    poll_fn(|cx| {
        if let Poll::Ready(done) = connecting.as_mut().poll(cx) {
            return Poll::Ready(done.map(Stream::from).map_err(failed));
        }
        timer
            .poll_fired(cx)
            .map(|()| Err(Fault::new(Category::UpstreamTimeout, Side::Upstream, "connect took too long").unsent()))
    })
    .await
}
