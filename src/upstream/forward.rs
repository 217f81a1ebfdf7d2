//! The attempt loop: choose an endpoint, get a connection, try; again only where nothing can happen twice.
use super::{
    EndpointRule, PoolRule, Timeouts,
    attempt::{Attempt, Ended, Failed},
    balance::Rng,
    choose::{Ask, Tried, Views},
    h1::Lease,
    h2::Live,
    pool::{self, Endpoint, Endpoints, InFlight, Place, Wish},
    tunnel::Tunnel,
    wire::Lane,
};
use crate::{
    message::{BodySize, BodySource, Category, Deadlines, Fault, Phase, Pump, ResponseSink, Side, Spare},
    observe::stats::ShardStats,
    proto::h1::Waiting,
};
use edge_io::{
    head::{Head, Method},
    runtime::Local,
};
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
};

/// Attempts at most, whatever the reason: the first, and others on fresh connections or other endpoints.
const ATTEMPTS: u32 = 3;

/// What `flow` wants sent.
pub struct Request<'a> {
    /// Path and query for the endpoint.
    pub target: &'a [u8],
    /// The `Host` to send; empty = the endpoint's authority.
    pub host: &'a [u8],
    /// Ready-made field lines of the edge: `Via`, forwarding fields, request id.
    pub our_fields: &'a [u8],
    /// The time as `Date` has it, for an answer that has none (RFC 9110 6.6.1).
    pub date: &'a [u8],
    /// Fields added to the answer.
    pub response_fields: &'a [(&'a [u8], &'a [u8])],
    /// Whether the last of them is `Alt-Svc`, which gives way to the endpoint's own.
    pub alt_svc: bool,
    /// How long the body is.
    pub body: BodySize,
    /// Whether the client waits for `100 Continue`.
    pub expects_continue: bool,
    /// Whether to ask for WebSocket.
    pub websocket: bool,
    /// The edge's own `Sec-WebSocket-Key`, where the client's protocol has none.
    pub websocket_key: Option<String>,
    /// Whether the client takes trailers.
    pub te_trailers: bool,
    /// Whether trailers may follow even a body of known length.
    pub may_trail: bool,
    /// The most body bytes, and the fault beyond.
    pub max_body: Option<(u64, Fault)>,
}

/// What the log and the metrics want to know of a forwarded request. Times in µs of the shard's clock.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// When forwarding began.
    pub began_us: u64,
    /// How long connecting took, if it was needed.
    pub connect_us: Option<u64>,
    /// From `began_us` to the answer's head.
    pub ttfb_us: Option<u64>,
    /// The answer's status, 0 before there is one.
    pub status: u16,
    /// Which endpoint of the pool was used last.
    pub endpoint: Option<usize>,
    /// Attempts beyond the first.
    pub retries: u32,
    /// Body bytes of the answer.
    pub response_bytes: u64,
    /// Body bytes of the request that were sent.
    pub request_body_bytes: u64,
}

/// One shard's way to all endpoints.
pub struct Upstreams {
    pub(super) local: Local,
    pub(super) stats: Arc<ShardStats>,
    /// Its view of endpoints, with idle connections.
    pub endpoints: Endpoints,
    pub(super) rng: RefCell<Rng>,
    pub(super) views: Views,
    leases: Spare<Lease>,
    draining: Cell<bool>,
    /// Upgraded connections end now.
    pub(super) farewell: Cell<bool>,
    pub(super) tunnels: Waiting,
}

impl Upstreams {
    /// None used yet.
    pub fn new(local: Local, stats: Arc<ShardStats>, seed: u64) -> Upstreams {
        Upstreams {
            local,
            stats,
            endpoints: Endpoints::default(),
            rng: RefCell::new(Rng::new(seed)),
            views: Views::default(),
            leases: Spare::default(),
            draining: Cell::new(false),
            farewell: Cell::new(false),
            tunnels: Waiting::default(),
        }
    }

    /// Endpoints that are not in `pools` drain.
    pub fn adopt(&self, pools: &[Arc<PoolRule>]) {
        self.endpoints.adopt(pools);
        self.views.clear();
    }

    /// A burst is over: what it needed goes back, bit by bit.
    pub fn trim(&self) {
        self.leases.trim();
    }

    /// No connection is kept from now on.
    pub fn drain(&self) {
        self.draining.set(true);
        self.endpoints.close_idle();
    }

    /// Upgraded connections say goodbye and end.
    pub fn end_tunnels(&self) {
        self.farewell.set(true);
        self.tunnels.wake_all();
    }

    /// 128 random bits; not for secrets.
    pub fn random(&self) -> [u8; 16] {
        let mut rng = self.rng.borrow_mut();
        (u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())).to_be_bytes()
    }

    fn lease(&self) -> Box<Lease> {
        self.leases.take()
    }

    pub(super) fn release(&self, mut lease: Box<Lease>) {
        lease.reset();
        self.leases.give(lease);
    }
}

/// Forwards one request to `rule`'s pool and its answer back; a tunnel is what is left to do after an upgrade. Faults: what the client is to be told, if the answer has
/// not begun; otherwise the connection ends.
#[allow(clippy::too_many_arguments)] // the parts of one exchange, borrowed apart
pub async fn forward<S: BodySource, D: ResponseSink>(
    upstreams: &Upstreams,
    rule: &PoolRule,
    timeouts: &Timeouts,
    request: &Request<'_>,
    head: &Head,
    source: &mut S,
    sink: &mut D,
    deadlines: &Deadlines,
    trace: &mut Trace,
) -> Result<Option<Tunnel>, Fault> {
    let mut lease = upstreams.lease();
    let mut attempts =
        Attempts { upstreams, rule, timeouts, request, head, source, sink, deadlines, trace, refused: None };
    let result = attempts.run(&mut lease).await;
    if let Ok(Some((lane, in_flight))) = result {
        return Ok(Some(Tunnel { lane, lease, _in_flight: in_flight, idle: timeouts.tunnel_idle }));
    }
    upstreams.release(lease);
    result.map(|_| None)
}

/// A connection that was upgraded, and its place among the requests in flight.
type Upgraded = (Lane, InFlight);

struct Attempts<'a, S, D> {
    upstreams: &'a Upstreams,
    rule: &'a PoolRule,
    timeouts: &'a Timeouts,
    request: &'a Request<'a>,
    head: &'a Head,
    source: &'a mut S,
    sink: &'a mut D,
    deadlines: &'a Deadlines,
    trace: &'a mut Trace,
    /// The shared connection that the last attempt failed on.
    refused: Option<Rc<Live>>,
}

impl<S: BodySource, D: ResponseSink> Attempts<'_, S, D> {
    async fn run(&mut self, lease: &mut Lease) -> Result<Option<Upgraded>, Fault> {
        let mut tried = Tried::new();
        let mut fresh = false;
        let mut last = None;
        for attempt in 0..ATTEMPTS {
            let now_ms = self.upstreams.local.timers.now();
            let ask = Ask { tried: &tried, key: None, sticky: None, any: false, now_ms };
            let Some(index) = self.upstreams.choose(self.rule, ask) else { break };
            self.trace.retries = attempt;
            self.trace.endpoint = Some(index);
            let failed = match self.one(index, fresh, lease).await {
                Ok(done) => return Ok(done),
                Err(failed) => failed,
            };
            last = Some(failed.fault);
            if failed.fault.side == Side::Upstream
                && let Some(rule) = self.rule.endpoints.get(index)
            {
                rule.stats.shard(self.upstreams.local.shard).error(failed.fault.category);
            }
            match failed.again {
                Again::Fresh => fresh = true,
                Again::Elsewhere => tried.add(index),
                _ => break,
            }
        }
        let none = Fault::new(Category::NoHealthyEndpoint, Side::Edge, "the pool has no endpoint to try");
        Err(last.unwrap_or(none))
    }

    async fn one(&mut self, index: usize, fresh: bool, lease: &mut Lease) -> Result<Option<Upgraded>, OneFailed> {
        let Some(rule) = self.rule.endpoints.get(index) else {
            let fault = Fault::new(Category::NoHealthyEndpoint, Side::Edge, "the pool has no endpoint to try");
            return Err(OneFailed { fault, again: Again::No });
        };
        let local = &self.upstreams.local;
        let endpoint = self.upstreams.endpoints.get(self.rule, rule);
        let in_flight = InFlight::new(&endpoint);
        let mut lane = self.connect(rule, &endpoint, fresh).await?;
        let Some(wire) = lane.wire(lease) else {
            let fault = Fault::new(Category::UpstreamConnectFailed, Side::Edge, "no connection");
            return Err(OneFailed { fault, again: Again::No });
        };
        let attempt = Attempt {
            wire,
            request: self.request,
            head: self.head,
            source: self.source,
            sink: self.sink,
            deadlines: self.deadlines,
            timeouts: self.timeouts,
            trace: self.trace,
            clock: local.timers.clock(),
            up: Pump::default(),
            down: Pump::default(),
        };
        match attempt.run(&rule.authority).await {
            Ok(Ended::Reusable) if !self.upstreams.draining.get() => {
                if let Lane::H1(conn) = lane {
                    let jitter = self.upstreams.rng.borrow_mut().next_u64();
                    conn.put_back(self.rule, local, jitter, self.head.method() == Method::Head);
                }
                Ok(None)
            }
            Ok(Ended::Upgraded) => Ok(Some((lane, in_flight))),
            Ok(_) => Ok(None),
            Err(failed) => {
                if let Lane::H2(lane) = &lane {
                    self.refused = Some(lane.live().clone());
                }
                Err(OneFailed { fault: failed.fault, again: self.again(&failed, lane.was_stale()) })
            }
        }
    }

    async fn connect(&mut self, rule: &EndpointRule, endpoint: &Rc<Endpoint>, fresh: bool) -> Result<Lane, OneFailed> {
        let local = &self.upstreams.local;
        let clock = local.timers.clock();
        let began = clock.now_us();
        if self.trace.began_us == 0 {
            self.trace.began_us = began;
        }
        // What cannot be sent again (RFC 9110 9.2.2), or only with a body that is gone by then.
        let careful = !is_idempotent(self.head.method()) || self.request.body != BodySize::Empty;
        if fresh {
            endpoint.drop_idle();
        }
        let place = Place { local, stats: &self.upstreams.stats, pool: self.rule, rule, endpoint };
        let refused = self.refused.take();
        let (websocket, connect_timeout) = (self.request.websocket, self.timeouts.connect);
        let wish = Wish { careful, websocket, connect_timeout, h1_only: false, refused: refused.as_ref() };
        let checkout = pool::checkout(place, wish);
        match self.unless_gone(checkout).await {
            Ok(lane) => {
                if !lane.is_reused() {
                    self.trace.connect_us = Some(clock.exact_us().saturating_sub(began));
                }
                Ok(lane)
            }
            // Nothing was sent: another endpoint may do, if there is one.
            Err(fault) if fault.side == Side::Upstream => Err(OneFailed { fault, again: Again::Elsewhere }),
            Err(fault) => Err(OneFailed { fault, again: Again::No }),
        }
    }

    /// A client that goes away while its request waits takes it along.
    async fn unless_gone<T>(&mut self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            if let Poll::Ready(fault) = self.sink.poll_gone(cx) {
                return Poll::Ready(Err(fault));
            }
            match self.deadlines.poll_expired(cx) {
                Poll::Ready(Phase::Total) => Poll::Ready(Err(super::attempt::TOTAL_EXCEEDED)),
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// A kept connection may have died before the request reached anybody: one more on a fresh one, unless it could
    /// happen twice (RFC 9110 9.2.2, RFC 9112 9.3.1).
    fn again(&self, failed: &Failed, stale: bool) -> Again {
        let stale = failed.fault.category == Category::UpstreamReset && stale;
        let safe = failed.fault.unsent || stale && is_idempotent(self.head.method());
        match safe && failed.repeatable && !self.sink.started() {
            true => Again::Fresh,
            false => Again::No,
        }
    }
}

struct OneFailed {
    fault: Fault,
    again: Again,
}

enum Again {
    /// On a new connection to the same endpoint.
    Fresh,
    /// At another endpoint.
    Elsewhere,
    No,
}

/// RFC 9110 9.2.2.
fn is_idempotent(method: Method) -> bool {
    matches!(method, Method::Get | Method::Head | Method::Put | Method::Delete | Method::Options | Method::Trace)
}
