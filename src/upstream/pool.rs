//! One shard's connections to endpoints: idle ones kept for reuse, new ones within the node-wide limit.
use super::{
    EndpointRule, EndpointState, PoolRule, PoolState,
    balance::Ewma,
    dial,
    gate::{Counted, LOOK_AGAIN},
    h2::{self, Live},
    permits::Holder,
    rule::Protocol,
    wire::Lane,
};
use crate::{
    message::{Category, Fault, Line, Priority, Side, Turn},
    observe::stats::{EndpointStats, Limit, Queue, Refusal, ShardStats},
    tls::UpstreamTls,
};
use edge_io::{
    runtime::Local,
    stream::Stream,
    timer::{Timer, Timers},
};
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    sync::{Arc, Weak},
    task::Poll,
    time::Duration,
};

/// How far from the top of the idle list an older connection is looked for.
const NEAR: usize = 16;

/// One shard's view of one endpoint.
pub struct Endpoint {
    /// Node-wide state.
    pub state: Arc<EndpointState>,
    stats: Arc<EndpointStats>,
    idle: RefCell<Vec<Idle>>,
    /// One permit for each open connection.
    permits: Holder,
    /// Open connections of this shard, idle ones included.
    pub open: Cell<u32>,
    /// Requests of this shard that use the endpoint now.
    pub in_flight: Cell<u32>,
    /// How long it takes to answer.
    pub ewma: Ewma,
    /// Requests of this shard that use the pool now.
    of_pool: Rc<Cell<u32>>,
    line: Line,
    timers: Rc<Timers>,
    /// Not in the newest snapshot any more: connections close after use.
    retired: Cell<bool>,
    max_connections: Cell<u32>,
    keepalive: Cell<usize>,
    /// HTTP/2 connections, which requests share.
    pub h2: h2::Links,
    /// How TLS is spoken to it; connections made otherwise are not used again.
    secure: RefCell<Option<Arc<UpstreamTls>>>,
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
    /// How TLS was spoken when it was made.
    secure: Option<Arc<UpstreamTls>>,
}

impl Idle {
    fn close(self) {
        self.stream.close_notify();
    }
}

/// A connection that a request uses. Dropping it closes it and gives its permit back.
pub struct Conn {
    stream: Option<Stream>,
    endpoint: Rc<Endpoint>,
    born_ms: u64,
    /// It carried a request before.
    pub reused: bool,
    secure: Option<Arc<UpstreamTls>>,
}

impl Conn {
    /// Its socket.
    pub fn stream(&self) -> Option<&Stream> {
        self.stream.as_ref()
    }

    /// Puts it back for the next request, unless the pool is full or the endpoint is going.
    pub fn put_back(mut self, rule: &PoolRule, local: &Local, jitter: u64, doubtful: bool) {
        let endpoint = self.endpoint.clone();
        if endpoint.retired.get()
            || endpoint.is_wanted_elsewhere()
            || endpoint.idle.borrow().len() >= endpoint.keepalive.get()
        {
            if let Some(stream) = &self.stream {
                stream.close_notify();
            }
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
                secure: self.secure.take(),
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
    fn new(rule: &EndpointRule, of_pool: Rc<Cell<u32>>, local: &Local) -> Endpoint {
        Endpoint {
            state: rule.state.clone(),
            stats: rule.stats.clone(),
            idle: RefCell::default(),
            permits: Holder::new(rule.state.permits.clone(), local.shard),
            timers: local.timers.clone(),
            open: Cell::new(0),
            in_flight: Cell::new(0),
            ewma: Ewma::default(),
            of_pool,
            line: Line::default(),
            retired: Cell::new(false),
            max_connections: Cell::new(u32::MAX),
            keepalive: Cell::new(0),
            h2: h2::Links::default(),
            secure: RefCell::new(rule.tls.clone()),
        }
    }

    /// The endpoint is spoken to as `rule` says; connections made under other settings are not used again.
    fn follow(&self, rule: &EndpointRule) {
        if *self.secure.borrow() != rule.tls {
            *self.secure.borrow_mut() = rule.tls.clone();
            self.drop_idle();
            self.h2.retire();
            self.h2.spoken.set(None);
            self.h2.no_websocket_until.set(0);
        }
    }

    /// Idle connections of this shard.
    pub fn idle_len(&self) -> usize {
        self.idle.borrow().len()
    }

    /// A connection is gone.
    pub(super) fn closed(&self) {
        self.open.set(self.open.get() - 1);
        self.permits.give(self.max_connections.get(), self.timers.now());
        self.line.wake_first();
    }

    /// A stream of a shared connection is done: another may have its place.
    pub(super) fn stream_closed(&self) {
        self.line.wake_first();
    }

    /// Another shard waits for a permit and has the better claim.
    fn is_wanted_elsewhere(&self) -> bool {
        let over = || self.permits.is_turn_over(self.max_connections.get(), self.timers.now());
        self.permits.others_wait() > 0 && (self.line.is_empty() || over())
    }

    fn take_permit(&self) -> bool {
        self.permits.take(self.max_connections.get(), self.timers.now())
    }

    /// The most recently used idle connection that is still good. `careful` asks the kernel too: for requests that
    /// must not be sent twice.
    fn take_idle(&self, local: &Local, careful: bool, secure: &Option<Arc<UpstreamTls>>) -> Option<(Stream, u64)> {
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
            let good = now < idle.until_ms
                && idle.secure == *secure
                && !idle.stream.has_news()
                && (!ask || idle.stream.is_quiet());
            if good {
                return Some((idle.stream, idle.born_ms));
            }
            idle.close();
            self.closed();
        }
    }

    /// Closes idle connections that ended, grew old, or are wanted elsewhere; gives scarce permits back.
    fn sweep(&self, now: u64) {
        let wanted = self.permits.others_wait() > 0 && self.line.is_empty();
        if self.retired.get() {
            self.h2.retire();
        }
        let all = self.retired.get() || wanted;
        let good = |i: &mut Idle| !all && now < i.until_ms && i.since_ms <= now && !i.stream.has_news();
        let ended: Vec<Idle> = self.idle.borrow_mut().extract_if(.., |i| !good(i)).collect();
        for idle in ended {
            idle.close();
            self.closed();
        }
        if self.retired.get() {
            self.permits.permits().empty_pocket(self.permits.shard());
        }
    }

    /// Closes this shard's idle connections: one of them turned out to be dead, and the others are as old.
    pub fn drop_idle(&self) {
        let dropped = std::mem::take(&mut *self.idle.borrow_mut());
        for idle in dropped {
            idle.close(); // before its permit goes to another
            self.closed();
        }
    }

    fn is_gone(&self) -> bool {
        self.retired.get() && self.open.get() == 0 && self.in_flight.get() == 0
    }
}

/// Counts a request on an endpoint while it lives.
pub struct InFlight(Rc<Endpoint>);

impl InFlight {
    /// One more.
    pub fn new(endpoint: &Rc<Endpoint>) -> InFlight {
        endpoint.in_flight.set(endpoint.in_flight.get() + 1);
        endpoint.of_pool.set(endpoint.of_pool.get() + 1);
        InFlight(endpoint.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
        self.0.of_pool.set(self.0.of_pool.get() - 1);
    }
}

/// All endpoints that this shard knows, by slot.
pub struct Endpoints {
    local: Local,
    by_slot: RefCell<Vec<Option<Rc<Endpoint>>>>,
    /// Requests in flight by pool, by the slots of pools.
    of_pools: RefCell<Vec<Option<OfPool>>>,
    /// By slot: whether the newest snapshot has the endpoint. Others are used by requests that began before it, and not kept.
    current: RefCell<Vec<bool>>,
}

/// A pool, and this shard's requests that use it.
type OfPool = (Weak<PoolState>, Rc<Cell<u32>>);

impl Endpoints {
    /// None yet.
    pub fn new(local: Local) -> Endpoints {
        Endpoints { local, by_slot: RefCell::default(), of_pools: RefCell::default(), current: RefCell::default() }
    }

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
        let made = Rc::new(Endpoint::new(rule, self.of_pool(pool), &self.local));
        made.max_connections.set(pool.max_connections);
        made.keepalive.set(pool.keepalive);
        made.retired.set(!self.current.borrow().get(slot).is_some_and(|current| *current));
        all[slot] = Some(made.clone());
        made
    }

    /// Requests of this shard that use `pool` now.
    pub fn in_flight(&self, pool: &PoolRule) -> u32 {
        self.of_pool(pool).get()
    }

    fn of_pool(&self, pool: &PoolRule) -> Rc<Cell<u32>> {
        let mut all = self.of_pools.borrow_mut();
        let slot = pool.state.slot;
        if all.len() <= slot {
            all.resize_with(slot + 1, || None);
        }
        match &all[slot] {
            Some((state, count)) if state.as_ptr() == Arc::as_ptr(&pool.state) => count.clone(),
            _ => all[slot].insert((Arc::downgrade(&pool.state), Rc::default())).1.clone(),
        }
    }

    /// A new snapshot has these pools: limits are renewed, endpoints that are not in it drain and go.
    pub fn adopt(&self, pools: &[Arc<PoolRule>]) {
        for e in self.by_slot.borrow().iter().flatten() {
            e.retired.set(true);
        }
        for count in self.of_pools.borrow_mut().iter_mut() {
            // whoever uses the pool has it too
            count.take_if(|(_, count)| Rc::strong_count(count) == 1);
        }
        let mut current = self.current.borrow_mut();
        current.clear();
        for pool in pools {
            for rule in &pool.endpoints {
                if current.len() <= rule.state.slot {
                    current.resize(rule.state.slot + 1, false);
                }
                current[rule.state.slot] = true;
                if let Some(Some(e)) = self.by_slot.borrow().get(rule.state.slot)
                    && Arc::ptr_eq(&e.state, &rule.state)
                {
                    e.retired.set(false);
                    e.max_connections.set(pool.max_connections);
                    e.keepalive.set(pool.keepalive);
                    e.follow(rule);
                }
            }
        }
    }

    /// Housekeeping, a few times a second.
    pub fn sweep(&self, now: u64, shard: usize) {
        for e in self.by_slot.borrow_mut().iter_mut() {
            if let Some(endpoint) = e {
                endpoint.sweep(now);
                let idle = (endpoint.idle_len() + endpoint.h2.idle()) as i64;
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
        live.fold((0, 0), |(idle, open), e| (idle + e.idle_len() + e.h2.idle(), open + e.open.get() as usize))
    }
}

/// What a request asks of a connection.
#[derive(Clone, Copy)]
pub struct Wish<'a> {
    /// Its place in line.
    pub class: Priority,
    /// It must not be sent twice: the kernel is asked whether a kept connection still stands.
    pub careful: bool,
    /// It upgrades to WebSocket.
    pub websocket: bool,
    /// HTTP/2 would not take it: it is not offered.
    pub h1_only: bool,
    /// The shared connection that would not take it: not that one again.
    pub refused: Option<&'a Rc<Live>>,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// How long TLS on it may take.
    pub tls_timeout: Duration,
}

/// What shards and pools are needed for a checkout, borrowed together.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The shard.
    pub local: &'a Local,
    /// Its counters.
    pub stats: &'a Arc<ShardStats>,
    /// The pool.
    pub pool: &'a PoolRule,
    /// The endpoint, as the pool has it.
    pub rule: &'a EndpointRule,
    /// The endpoint, as the shard has it.
    pub endpoint: &'a Rc<Endpoint>,
}

impl Place<'_> {
    /// The endpoint speaks HTTP/2 and takes no WebSocket over it.
    fn knows_no_websocket(&self) -> bool {
        self.local.timers.now() < self.endpoint.h2.no_websocket_until.get()
    }
}

/// A way to the endpoint: a kept connection or a stream of one, or a new connection when the limit has room, or either
/// after a wait in line.
///
/// Faults: `overloaded` when the line is full or the wait too long, `upstream_connect_failed`, `upstream_timeout`,
/// `upstream_tls`; all are `unsent`.
pub async fn checkout(place: Place<'_>, mut wish: Wish<'_>) -> Result<Lane, Fault> {
    if wish.websocket && place.rule.protocol != Protocol::Http1 {
        place.endpoint.h2.learn_of_websocket(place.local.timers.now());
        // Whether the endpoint takes it over HTTP/2 is known once it was asked; ALPN leaves another way.
        if !place.knows_no_websocket() {
            let taken = Box::pin(take(place, wish)).await;
            if taken.is_ok() || place.rule.protocol != Protocol::Alpn || !place.knows_no_websocket() {
                return taken;
            }
        } else if place.rule.protocol == Protocol::Http2 {
            return Err(h2::NO_WEBSOCKET.unsent());
        }
        wish.h1_only = true;
    }
    take(place, wish).await
}

async fn take(place: Place<'_>, wish: Wish<'_>) -> Result<Lane, Fault> {
    let Place { endpoint, .. } = place;
    let queued = !endpoint.line.is_free_for(wish.class);
    if !queued && let Some(kept) = kept(place, wish) {
        return Ok(kept);
    }
    if may_be_h2(place.rule, wish)
        && endpoint.h2.connecting.get() > 0
        && let Some(kept) = Box::pin(wait_for_made(place, wish)).await
    {
        return Ok(kept);
    }
    if (queued || !endpoint.take_permit())
        && let Some(kept) = Box::pin(wait_in_line(place, wish)).await?
    {
        return Ok(kept);
    }
    endpoint.open.set(endpoint.open.get() + 1);
    let opening = Opening(Some(endpoint.clone()));
    Box::pin(open(place, wish, opening)).await
}

/// Whether a connection made for this request may turn out to be HTTP/2, which others could share.
fn may_be_h2(rule: &EndpointRule, wish: Wish<'_>) -> bool {
    match rule.protocol {
        Protocol::Http1 => false,
        Protocol::Http2 => true,
        Protocol::Alpn => !wish.h1_only,
    }
}

/// What is there already.
fn kept(place: Place<'_>, wish: Wish<'_>) -> Option<Lane> {
    let Place { local, endpoint, rule, .. } = place;
    if rule.protocol != Protocol::Http1
        && let Some(live) = endpoint.h2.pick(wish.websocket, &rule.tls, wish.refused)
    {
        return Some(Lane::H2(h2::Lane::new(live, endpoint, true)));
    }
    if rule.protocol == Protocol::Http2 {
        return None;
    }
    let (stream, born_ms) = endpoint.take_idle(local, wish.careful, &rule.tls)?;
    let secure = rule.tls.clone();
    Some(Lane::H1(Conn { stream: Some(stream), endpoint: endpoint.clone(), born_ms, reused: true, secure }))
}

/// Makes a connection, with a permit that `opening` holds.
async fn open(place: Place<'_>, wish: Wish<'_>, opening: Opening) -> Result<Lane, Fault> {
    let Place { local, stats, pool, rule, endpoint } = place;
    let shared = may_be_h2(rule, wish).then(|| Making::new(endpoint));
    let dialed = dial::dial(local, rule, wish.h1_only, (wish.connect_timeout, wish.tls_timeout)).await?;
    opening.done();
    endpoint.h2.spoken.set(Some(dialed.h2));
    if !dialed.h2 {
        let (stream, born_ms) = (Some(dialed.stream), local.timers.now());
        let secure = rule.tls.clone();
        return Ok(Lane::H1(Conn { stream, endpoint: endpoint.clone(), born_ms, reused: false, secure }));
    }
    let keep = h2::Keep {
        idle: if pool.keepalive == 0 { Duration::ZERO } else { pool.keepalive_idle },
        age: pool.keepalive_age,
        max_streams: pool.max_streams as usize,
    };
    let live = h2::start(local, stats, endpoint, dialed.stream, &rule.tls, keep);
    // The lane first: those who wait for the connection are woken after it has its place.
    let lane = h2::Lane::new(live, endpoint, false);
    if wish.websocket {
        lane.settled(local, wish.connect_timeout).await?;
    }
    drop(shared);
    Ok(Lane::H2(lane))
}

/// A connection is being made that others may share; those who wait for it are woken however it ends.
struct Making(Rc<Endpoint>);

impl Making {
    fn new(endpoint: &Rc<Endpoint>) -> Making {
        endpoint.h2.connecting.set(endpoint.h2.connecting.get() + 1);
        Making(endpoint.clone())
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        let links = &self.0.h2;
        links.connecting.set(links.connecting.get() - 1);
        links.made.wake_all();
    }
}

/// Waits for connections that other requests are making, as long as they may have room for this one.
async fn wait_for_made(place: Place<'_>, wish: Wish<'_>) -> Option<Lane> {
    let links = &place.endpoint.h2;
    let at = links.made.place();
    // No longer than making one would take: the endpoint may be there for nobody.
    let timer = Timer::new(&place.local.timers);
    timer.set(wish.connect_timeout + if place.rule.tls.is_some() { wish.tls_timeout } else { Duration::ZERO });
    poll_fn(|cx| {
        if let Some(lane) = kept(place, wish) {
            return Poll::Ready(Some(lane));
        }
        if links.connecting.get() == 0 || links.spoken.get() == Some(false) {
            return Poll::Ready(None);
        }
        at.wait(cx);
        timer.poll_fired(cx).map(|()| None)
    })
    .await
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

/// A place in the endpoint's line.
struct Waiting<'a> {
    endpoint: &'a Endpoint,
    turn: Option<Turn<'a>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.turn = None;
        self.endpoint.permits.set_waits(!self.endpoint.line.is_empty());
    }
}

const LINE_FULL: &str = "too many requests wait for a connection";
const TOO_LONG: &str = "waited too long for a connection";
const DISPLACED: &str = "requests of a higher priority took its place in line";

/// By class, and then first in, first out. Ends with a kept connection, or with a permit for a new one (`None`).
async fn wait_in_line(at: Place<'_>, wish: Wish<'_>) -> Result<Option<Lane>, Fault> {
    let Place { local, stats, pool, endpoint, .. } = at;
    let refuse = |why, detail| {
        stats.queues.refused(Queue::Connection, why);
        Fault::new(Category::Overloaded, Side::Edge, detail).unsent()
    };
    if endpoint.line.len() >= pool.max_waiting && (pool.max_waiting == 0 || !endpoint.line.displace(wish.class)) {
        stats.limit_hit(Limit::PoolWaiting);
        return Err(refuse(Refusal::Full, LINE_FULL));
    }
    stats.limit_hit(Limit::PoolConnections);
    let _counted = Counted::new(stats, local, Queue::Connection);
    let (again, give_up) = (Timer::new(&local.timers), Timer::new(&local.timers));
    give_up.set(pool.wait_timeout);
    let mut place = Waiting { endpoint, turn: None };
    poll_fn(|cx| {
        let turn = place.turn.get_or_insert_with(|| {
            let turn = endpoint.line.enter(cx.waker(), wish.class);
            endpoint.permits.set_waits(true);
            turn
        });
        turn.follow(cx.waker());
        if turn.is_displaced() {
            return Poll::Ready(Err(refuse(Refusal::Displaced, DISPLACED)));
        }
        if turn.is_first() {
            if let Some(found) = kept(at, wish) {
                return Poll::Ready(Ok(Some(found)));
            }
            if endpoint.take_permit() {
                return Poll::Ready(Ok(None));
            }
            again.set(LOOK_AGAIN); // another shard may give one back
            let _ = again.poll_fired(cx);
        }
        give_up.poll_fired(cx).map(|()| Err(refuse(Refusal::TooLong, TOO_LONG)))
    })
    .await
}
