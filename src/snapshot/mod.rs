//! One version of the configuration, compiled: immutable, shared by all shards, pinned by each request for its life.
mod alt_svc;
pub mod command;
pub mod compile;
pub mod diff;
mod tls;
pub use alt_svc::AltSvc;
pub use compile::{Valid, compile, validate};
pub use diff::{Diff, diff};

use crate::{
    answer::{RedirectRule, RespondRule},
    message::{Priority, ProtectRule},
    observe::stats::RouteStats,
    policy::rewrite::RewriteRule,
    proto::{ClientTimeouts, Http2Limits, Http3Limits, QuicSockets},
    route::Router,
    tls::ListenerTls,
    upstream::{
        BreakerRule, GateConfig, GateRule, HedgeRule, PoolRule, RetryRule, RouteState, Timeouts, names::ResolverRule,
    },
};
use edge_io::http1;
use ipnet::IpNet;
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration, time::SystemTime};

/// One version of the configuration, compiled. A copy is cheap: what is large is shared.
#[derive(Clone)]
pub struct Snapshot {
    /// Counts up from 1 with every applied configuration of this process.
    pub version: u64,
    /// Of the source text.
    pub sha256: [u8; 32],
    /// Where it came from: a path, `--proxy`, `demo`.
    pub source: String,
    /// When it was compiled.
    pub compiled_at: SystemTime,
    /// Node-wide settings.
    pub server: ServerRule,
    /// Data listeners.
    pub listeners: Vec<Arc<ListenerRule>>,
    /// Finds the route; indexes into `routes`.
    pub router: Arc<Router>,
    /// In file order.
    pub routes: Arc<[RouteRule]>,
    /// Those with a limit on requests in flight; there may be tens of thousands without.
    pub gated_routes: Arc<[u32]>,
    /// In file order.
    pub pools: Vec<Arc<PoolRule>>,
    /// What in the source is hardly meant so, a line each.
    pub warnings: Vec<String>,
}

impl Snapshot {
    /// The same configuration with other `pools`, which stand at the places of the old ones: names have other addresses.
    /// Its version is the same.
    pub fn with_pools(&self, pools: Vec<Arc<PoolRule>>) -> Snapshot {
        debug_assert_eq!(pools.len(), self.pools.len(), "routes know pools by their places");
        Snapshot { pools, ..self.clone() }
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("version", &self.version).field("source", &self.source).finish_non_exhaustive()
    }
}

/// Node-wide settings.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerRule {
    /// `None` = one per allowed core. Changing it needs a restart (a warning says so).
    pub shards: Option<usize>,
    /// Where the admin listener is; changing it needs a restart.
    pub admin: Vec<AdminAddr>,
    /// Access log target.
    pub access_log: AccessLogTarget,
    /// After SIGTERM, how long new connections are still accepted while /ready says 503.
    pub lb_grace: Duration,
    /// After that, how long requests in flight may take.
    pub drain_timeout: Duration,
    /// Downstream connections per shard.
    pub max_connections: usize,
    /// UDP sockets; what each key holds for is said where it is read.
    pub quic: QuicSockets,
    /// When a shard protects itself.
    pub protect: ProtectRule,
    /// How names of endpoints are looked up.
    pub resolver: ResolverRule,
}

/// Where the admin API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddr {
    /// TCP, loopback recommended.
    Tcp(SocketAddr),
    /// A unix socket, mode 0660.
    Unix(PathBuf),
}

/// Where access-log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// A file, appended to; reopened on SIGUSR1.
    File(PathBuf),
}

/// Where a data listener listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddr {
    /// TCP with SO_REUSEPORT, one socket per shard.
    Tcp(SocketAddr),
    /// A unix socket at a path.
    Unix(PathBuf),
    /// A unix socket in the abstract namespace (without the leading NUL).
    Abstract(Vec<u8>),
}

/// One `[[listener]]`.
#[derive(Debug, PartialEq)]
pub struct ListenerRule {
    /// Its name: the label in logs and metrics.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: Vec<ListenAddr>,
    /// What it speaks: HTTP/1.1. With TLS, ALPN chooses among these; without, the first bytes do.
    pub h1: bool,
    /// What it speaks: HTTP/2.
    pub h2: bool,
    /// What it speaks: HTTP/3, on the UDP ports of the same numbers. Alone, there is no TCP socket; only with TLS.
    pub h3: bool,
    /// TLS, if it is spoken here.
    pub tls: Option<Arc<ListenerTls>>,
    /// Requests for hosts that have a certificate are sent to `https://`: TCP without TLS only.
    pub https_redirect: bool,
    /// Bounds of an HTTP/2 connection.
    pub http2: Http2Limits,
    /// Bounds of an HTTP/3 connection.
    pub http3: Http3Limits,
    /// What answers over HTTP/1.1 and HTTP/2 say of it.
    pub alt_svc: AltSvc,
    /// Peers whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Head limits.
    pub limits: http1::Limits,
    /// Pipelined requests of one connection that are answered before other connections get their turn.
    pub pipeline_depth: usize,
    /// Client-side timeouts.
    pub timeouts: ClientTimeouts,
    /// Forward 103 and other 1xx (but 100) to HTTP/1.1 clients.
    pub early_hints_h1: bool,
    /// Also send RFC 7239 `Forwarded`.
    pub forwarded: bool,
}

impl ListenerRule {
    /// Whether it has stream sockets: TCP or unix.
    pub fn speaks_over_tcp(&self) -> bool {
        self.h1 || self.h2
    }
}

/// One `[[route]]`.
pub struct RouteRule {
    /// Its id: the label in logs and metrics.
    pub id: Arc<str>,
    /// What it does.
    pub action: Action,
    /// Its share of its policy; routes without one share a default.
    pub policy: Arc<PolicyRule>,
    /// Limits its requests in flight, node-wide; `None` = nothing does.
    pub gate: Option<Box<GateRule>>,
    /// Counters, made at the first request; they outlive the snapshot.
    pub stats: Arc<RouteStats>,
    /// What it shares with its pool on all shards, for routes that forward.
    pub state: Option<Arc<RouteState>>,
    /// Whether it is served without TLS even where others are sent to `https://`.
    pub allow_http: bool,
    /// Hash of what the route says but for its policy and the name of its pool; equal within one process only.
    pub fingerprint: u64,
}

impl Snapshot {
    /// Every limit on requests in flight.
    pub fn gates(&self) -> impl Iterator<Item = &GateRule> {
        let endpoints =
            self.pools.iter().flat_map(|pool| &pool.endpoints).filter_map(|endpoint| endpoint.gate.as_ref());
        let pools = self.pools.iter().filter_map(|pool| pool.gate.as_ref());
        let routes = self.gated_routes.iter().filter_map(|index| self.routes.get(*index as usize)?.gate.as_deref());
        pools.chain(endpoints).chain(routes)
    }
}

impl RouteRule {
    /// The pool it forwards to, if it does.
    pub fn pool<'s>(&self, snapshot: &'s Snapshot) -> Option<&'s PoolRule> {
        match self.action {
            Action::Proxy { pool, .. } => snapshot.pools.get(pool as usize).map(|p| &**p),
            _ => None,
        }
    }
}

/// What a route does with a request.
pub enum Action {
    /// Forward it to a pool.
    Proxy {
        /// Index into `Snapshot::pools`.
        pool: u32,
        /// Changes of target or host.
        rewrite: Option<Box<RewriteRule>>,
        /// Keep the client's `Host` (the default) or send the endpoint's authority.
        preserve_host: bool,
    },
    /// Answer with a redirect.
    Redirect(Box<RedirectRule>),
    /// Answer with a fixed response.
    Respond(Box<RespondRule>),
}

/// A compiled `[policy.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyRule {
    /// Its name, or "default".
    pub id: Arc<str>,
    /// Replaces the pool's where set.
    pub timeouts: Option<Timeouts>,
    /// Request bodies above it get 413; `None` is no limit.
    pub max_body: Option<u64>,
    /// Access-log lines for this route.
    pub access_log: bool,
    /// Only clients with a certificate; others get 403.
    pub require_mtls: bool,
    /// Endpoints are told the client's certificate (RFC 9440).
    pub client_cert_header: bool,
    /// Failed requests are sent again; `None`: only where a kept connection turned out to be dead.
    pub retry: Option<RetryRule>,
    /// Requests are refused while too many fail.
    pub breaker: Option<BreakerRule>,
    /// Slow requests are sent to another endpoint too.
    pub hedge: Option<HedgeRule>,
    /// Limits the requests in flight of each route that has this policy.
    pub gate: Option<GateConfig>,
    /// Who goes first in every queue, and who is shed first.
    pub priority: Priority,
}

#[cfg(test)]
mod tests;
