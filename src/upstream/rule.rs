//! Pools and endpoints as a snapshot holds them: immutable, compiled from the configuration.
use super::{
    Panic,
    adaptive::AdaptiveRule,
    balance::Balance,
    gate::GateRule,
    health::HealthRule,
    names::Member,
    outlier::OutlierRule,
    registry::{EndpointState, PoolState},
    sticky::StickyRule,
};
use crate::{
    observe::stats::{EndpointStats, PoolStats},
    tls::UpstreamTls,
};
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Where an endpoint listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EndpointAddr {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket at a path.
    Unix(PathBuf),
    /// A unix socket in the abstract namespace (without the leading NUL).
    Abstract(Vec<u8>),
}

/// What an endpoint is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// HTTP/1.1; over TLS, ALPN offers nothing else.
    #[default]
    Http1,
    /// HTTP/2: by prior knowledge, or over TLS with nothing else offered.
    Http2,
    /// What ALPN agrees on: HTTP/2 before HTTP/1.1; over TLS only.
    Alpn,
}

/// One timeout for each phase of an upstream request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the connection stands.
    pub connect: Duration,
    /// From then until the TLS handshake is done.
    pub tls: Duration,
    /// From the request's last byte (or the last progress of its body) to the answer's head.
    pub first_byte: Duration,
    /// Between two reads of the answer's body.
    pub body_idle: Duration,
    /// The whole exchange; `None` is no limit.
    pub total: Option<Duration>,
    /// An upgraded connection (WebSocket) without a byte either way.
    pub tunnel_idle: Duration,
}

/// One endpoint of a pool.
#[derive(Clone, Debug)]
pub struct EndpointRule {
    /// Where it listens.
    pub addr: EndpointAddr,
    /// As the configuration spells it: the label in logs and metrics, and `{upstream}`.
    pub name: Arc<str>,
    /// The value of `Host` when the route does not keep the client's: the endpoint's authority.
    pub authority: Arc<str>,
    /// TLS to it; `None` = none. The same settings have the same `client` across reloads: idle connections made with
    /// another one are not to be used again.
    pub tls: Option<Arc<UpstreamTls>>,
    /// What it is spoken to.
    pub protocol: Protocol,
    /// Relative share, 1..=1000.
    pub weight: u16,
    /// Node-wide state that outlives snapshots.
    pub state: Arc<EndpointState>,
    /// Limits its requests in flight, node-wide; `None` = nothing does.
    pub gate: Option<GateRule>,
    /// What is counted of it.
    pub stats: Arc<EndpointStats>,
}

/// One pool.
#[derive(Clone, Debug)]
pub struct PoolRule {
    /// Its name in the configuration: the label in logs and metrics.
    pub id: Arc<str>,
    /// Its endpoints, in file order. A name stands for as many as it has addresses, which may be none: then the pool may
    /// be empty.
    pub endpoints: Vec<EndpointRule>,
    /// What the configuration says where there are names among it, which `endpoints` was made of; empty otherwise.
    pub members: Arc<[Member]>,
    /// How one is chosen.
    pub balance: Balance,
    /// Which making of the rule this is ([`next_generation`]): what shards keep of a pool belongs to one.
    pub generation: u64,
    /// How long an endpoint that is new or came back takes to get its whole share; `None` is at once.
    pub slow_start: Option<Duration>,
    /// Keeps a client at its endpoint.
    pub sticky: Option<Arc<StickyRule>>,
    /// Requests at a time on one HTTP/2 connection, unless the endpoint allows fewer.
    pub max_streams: u32,
    /// Idle connections kept per shard and endpoint.
    pub keepalive: usize,
    /// An idle connection is closed after this.
    pub keepalive_idle: Duration,
    /// A connection is not reused past this age (each ±10 %).
    pub keepalive_age: Duration,
    /// Open connections per endpoint, node-wide, exact.
    pub max_connections: u32,
    /// Requests that may wait for a connection permit, per shard and endpoint.
    pub max_waiting: usize,
    /// How long one waits for a permit.
    pub wait_timeout: Duration,
    /// Limits its requests in flight, node-wide; `None` = nothing does.
    pub gate: Option<GateRule>,
    /// How that limit is found by measuring; `None` = it is as configured.
    pub adaptive: Option<AdaptiveRule>,
    /// Timeouts of requests that use the pool, unless the route's policy has others.
    pub timeouts: Timeouts,
    /// How endpoints are asked whether they are well; `None` = they are not.
    pub health: Option<Arc<HealthRule>>,
    /// Which of them are left out for a while; `None` = none.
    pub outlier: Option<OutlierRule>,
    /// What happens while none may be used.
    pub panic: Panic,
    /// What the control thread counts of it.
    pub stats: Arc<PoolStats>,
    /// Node-wide state that outlives snapshots.
    pub state: Arc<PoolState>,
}

impl PoolRule {
    /// The pool with these endpoints. Everything that is made of endpoints is made here, so that a pool whose names have
    /// other addresses now is as one that was just compiled.
    pub fn with_endpoints(self, endpoints: Vec<EndpointRule>) -> PoolRule {
        let named = || endpoints.iter().map(|e| (&*e.name, e.weight));
        let balance = self.balance.with_endpoints(named());
        let sticky = self.sticky.as_ref().map(|sticky| Arc::new(sticky.with_endpoints(named().map(|(name, _)| name))));
        let generation = next_generation();
        PoolRule { balance, sticky, generation, endpoints, ..self }
    }
}

/// A number that no other rule of this process has.
pub fn next_generation() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
