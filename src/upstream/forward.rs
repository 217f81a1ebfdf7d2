//! Forwarding: what `flow` wants sent, a shard's ways to endpoints, and the door to the attempt loop.
use super::{
    BreakerRule, HedgeRule, PoolRule, Protocol, RetryRule, RouteState, Timeouts, Tunnel,
    attempts::Attempts,
    balance::Rng,
    choose::Views,
    course::Call,
    gate::{GateRule, Gates},
    h1::Lease,
    pool::Endpoints,
    replay::Replay,
    retry::is_idempotent,
};
use crate::{
    message::{BodySize, BodySource, Deadlines, Fault, Priority, ResponseSink, Spare},
    observe::stats::{HedgeOutcome, ShardStats},
    proto::h1::Waiting,
};
use edge_io::{head::Head, runtime::Local};
use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    sync::Arc,
};

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
    /// Its place in queues.
    pub priority: Priority,
    /// The most body bytes, and the fault beyond.
    pub max_body: Option<(u64, Fault)>,
}

/// What the log and the metrics want to know of a forwarded request. Times in µs of the shard's clock.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// When forwarding began.
    pub began_us: u64,
    /// When the last attempt began, or the race that it won: what came before is not its endpoint's doing.
    pub asked_us: u64,
    /// How long connecting took, if it was needed.
    pub connect_us: Option<u64>,
    /// From `began_us` to the answer's head.
    pub ttfb_us: Option<u64>,
    /// The answer's status, 0 before there is one.
    pub status: u16,
    /// Which endpoint of the pool was used last.
    pub endpoint: Option<usize>,
    /// Attempts beyond the first, but for repetitions where a kept connection turned out to be dead.
    pub retries: u32,
    /// There was no budget for another attempt.
    pub no_budget: bool,
    /// What became of a second attempt beside a slow first one.
    pub hedged: Option<HedgeOutcome>,
    /// The value of a `Set-Cookie` that binds the client to its endpoint.
    pub cookie: Option<Vec<u8>>,
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
    /// Its side of the limits on requests in flight.
    pub gates: Gates,
    pub(super) rng: RefCell<Rng>,
    pub(super) views: Views,
    leases: Spare<Lease>,
    pub(super) draining: Cell<bool>,
    /// Upgraded connections end now.
    pub(super) farewell: Cell<bool>,
    pub(super) tunnels: Waiting,
}

impl Upstreams {
    /// None used yet.
    pub fn new(local: Local, stats: Arc<ShardStats>, seed: u64) -> Upstreams {
        Upstreams {
            endpoints: Endpoints::new(local.clone()),
            gates: Gates::new(local.clone(), stats.clone()),
            local,
            stats,
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

    /// Seconds since 1970.
    pub(super) fn unix_s(&self) -> u64 {
        self.local.timers.clock().wall_us() / 1_000_000
    }

    /// 128 random bits; not for secrets.
    pub fn random(&self) -> [u8; 16] {
        let mut rng = self.rng.borrow_mut();
        (u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())).to_be_bytes()
    }

    pub(super) fn lease(&self) -> Box<Lease> {
        self.leases.take()
    }

    pub(super) fn release(&self, mut lease: Box<Lease>) {
        lease.reset();
        self.leases.give(lease);
    }
}

/// How a request is to be forwarded: the rows of its route's policy, and the route's state on this node.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// How slow endpoints may be.
    pub timeouts: &'a Timeouts,
    /// When it may be tried again; `None` = only where a kept connection turned out to be dead.
    pub retry: Option<&'a RetryRule>,
    /// When a second endpoint is asked beside the first.
    pub hedge: Option<&'a HedgeRule>,
    /// Budgets and circuit breaker.
    pub state: Option<&'a Arc<RouteState>>,
    /// When the circuit opens; `None` = there is none.
    pub breaker: Option<&'a BreakerRule>,
    /// The route's limit on requests in flight.
    pub gate: Option<&'a GateRule>,
    /// Who goes first where requests wait.
    pub priority: Priority,
    /// The client: the key of `hash = "client_ip"`.
    pub client: IpAddr,
    /// The normalized path: the key of `hash = "path"`.
    pub path: &'a [u8],
    /// Whether the client speaks TLS.
    pub secure: bool,
    /// The client gives it less time in all than the route does: an endpoint that does not make it is not to blame.
    pub hurried: bool,
}

/// Forwards one request to `rule`'s pool and its answer back; a tunnel is what is left to do after an upgrade. Faults: what the client is to be told, if the answer has
/// not begun; otherwise the connection ends.
#[allow(clippy::too_many_arguments)] // the parts of one exchange, borrowed apart
pub async fn forward<S: BodySource, D: ResponseSink>(
    upstreams: &Upstreams,
    rule: &PoolRule,
    plan: Plan<'_>,
    request: &Request<'_>,
    head: &Head,
    source: &mut S,
    sink: &mut D,
    deadlines: &Deadlines,
    trace: &mut Trace,
) -> Result<Option<Tunnel>, Fault> {
    let idempotent = is_idempotent(head.method());
    let kept = match plan.retry {
        // Others are sent again only where the endpoint says that it did nothing, which HTTP/1.1 has no word for.
        Some(retry)
            if request.body != BodySize::Empty
                && (idempotent || rule.endpoints.iter().any(|endpoint| endpoint.protocol != Protocol::Http1)) =>
        {
            retry.replay
        }
        _ => 0,
    };
    let mut lease = upstreams.lease();
    let source = Replay::new(source, kept);
    let call = Call { upstreams, pool: rule, plan, request, head, idempotent };
    let mut attempts = Attempts::new(call, source, sink, deadlines, trace);
    let result = attempts.run(&mut lease).await;
    if let Ok(Some((lane, in_flight))) = result {
        return Ok(Some(Tunnel { lane, lease, _in_flight: in_flight, idle: plan.timeouts.tunnel_idle }));
    }
    upstreams.release(lease);
    result.map(|_| None)
}
