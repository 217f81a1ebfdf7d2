//! From a checked configuration to a snapshot: everything that can be decided before the first request is decided here.
use super::{
    AccessLogTarget, Action, AdminAddr, AltSvc, ClientTimeouts, ListenAddr, ListenerRule, PolicyRule, RouteRule,
    ServerRule, Snapshot, tls,
};
use crate::{
    config::{
        Config, Report,
        raw::{self, AccessLog, TimeoutChanges},
        report::{Log, Problem},
        rules::{self, Rule},
    },
    observe::stats::{Queue, StatsRegistry},
    upstream::{
        Balance, EndpointAddr, EndpointRule, GateRule, PoolRule, Registry, Target, Timeouts, Wanted,
        names::{self, Member, NamedRule},
        sticky::StickyRule,
    },
};
use edge_io::http1;
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Compiles `config` as version `version`. State that outlives snapshots comes from `registry` and `stats`.
///
/// # Errors
/// What only compiling finds: patterns, templates and headers that cannot be used, routes that nothing tells apart.
pub fn compile(config: &Config, registry: &Registry, stats: &StatsRegistry, version: u64) -> Result<Snapshot, Report> {
    let log = Log::default();
    let router = rules::router(config, &log);
    registry.tls.sweep();
    let pools: Vec<Arc<PoolRule>> =
        config.pools.iter().map(|pool| Arc::new(compile_pool(pool, registry, stats, &log))).collect();
    let listeners = config.listeners.iter();
    let listeners = listeners.map(|listener| Arc::new(compile_listener(listener, registry, &log))).collect();
    let mut policies = Policies { config, made: HashMap::new() };
    let mut routes = Vec::with_capacity(config.routes.len());
    for (index, route) in config.routes.iter().enumerate() {
        if let Some(action) = rules::rule(config, index, &log).map(compile_action) {
            let policy = policies.get(route.policy, route.action.pool());
            let state = route.action.pool().and_then(|pool| pools.get(pool as usize));
            let limit = policy.gate.filter(|_| route.action.pool().is_some());
            let gate = GateRule::made(registry, Queue::Route, &route.id, limit).map(Box::new);
            let (shards, stats) = (stats.shards.len(), stats.route(&route.id));
            let state = state.map(|pool| registry.route(&stats, &pool.id, wanted(&policy, shards)));
            let (id, allow_http, fingerprint) = (stats.id.clone(), route.allow_http, fingerprint(route));
            routes.push(RouteRule { id, action, policy, gate, stats, state, allow_http, fingerprint });
        }
    }
    let clean = log.is_clean();
    let mut report = config.report(log);
    let Some(router) = router.filter(|_| clean) else { return Err(report) };
    report.prepend(config.warnings.clone());
    Ok(Snapshot {
        version,
        sha256: config.sha256,
        source: config.file.display().to_string(),
        compiled_at: SystemTime::now(),
        server: compile_server(&config.server),
        listeners,
        router: Arc::new(router),
        gated_routes: (0..).zip(&routes).filter(|(_, route)| route.gate.is_some()).map(|(index, _)| index).collect(),
        routes: routes.into(),
        pools,
        warnings: report.warning_lines(),
    })
}

/// What is to be said of a configuration that can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Valid {
    /// What is hardly meant so, a line each; among it directories that are not there (yet): of log files and of unix
    /// sockets.
    pub warnings: Vec<String>,
    /// What is dangerous, even if it is meant so.
    pub alarms: Vec<String>,
}

/// Loads and compiles the file at `path` without binding or creating anything; needs no privileges but to read the
/// files that it names.
///
/// # Errors
/// Everything that is wrong with the file.
pub fn validate(path: &Path) -> Result<Valid, Report> {
    let config = crate::config::load(path)?;
    let snapshot = compile(&config, &Registry::new(), &StatsRegistry::new(1), 0)?;
    let missing = directories(&config).into_iter().filter(|(directory, _)| !directory.is_dir());
    let missing =
        missing.map(|(dir, what)| format!("{}: {what}: there is no directory {}", path.display(), dir.display()));
    let blind = config.pools.iter().filter(|pool| !pool.tls.0.verify);
    let alarm = |pool: &raw::Pool| {
        format!("{}: pool {:?} DOES NOT CHECK its endpoints' certificates (verify = false)", path.display(), pool.name)
    };
    Ok(Valid { warnings: snapshot.warnings.into_iter().chain(missing).collect(), alarms: blind.map(alarm).collect() })
}

/// The directories that must be there when the edge runs, and what for.
fn directories(config: &Config) -> Vec<(PathBuf, &'static str)> {
    let mut found = Vec::new();
    let mut note = |path: &Path, what| {
        // the parent of "x.sock" is "": the current directory
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        found.push((parent.to_owned(), what));
    };
    if let AccessLog::File(path) = &config.server.access_log {
        note(path, "access_log");
    }
    let sockets = |list: &[EndpointAddr]| list.iter().filter_map(unix_path).cloned().collect::<Vec<_>>();
    sockets(&config.server.admin).iter().for_each(|path| note(path, "admin"));
    for listener in &config.listeners {
        sockets(&listener.address).iter().for_each(|path| note(path, "listener"));
    }
    found
}

fn unix_path(addr: &EndpointAddr) -> Option<&PathBuf> {
    match addr {
        EndpointAddr::Unix(path) => Some(path),
        EndpointAddr::Tcp(_) | EndpointAddr::Abstract(_) => None,
    }
}

fn compile_action(rule: Rule) -> Action {
    match rule {
        Rule::Proxy { pool, preserve_host, rewrite } => Action::Proxy { pool, rewrite, preserve_host },
        Rule::Redirect(rule) => Action::Redirect(rule),
        Rule::Respond(rule) => Action::Respond(rule),
    }
}

/// What a route's policy wants of the state it shares with its pool.
fn wanted(policy: &PolicyRule, shards: usize) -> Wanted {
    Wanted {
        burst: policy.retry.as_ref().map_or(0, |retry| retry.budget.burst),
        breaker: policy.breaker.map(|_| shards),
        hedge: policy.hedge.is_some(),
    }
}

/// What [`RouteRule::fingerprint`] says.
fn fingerprint(route: &raw::Route) -> u64 {
    let mut hasher = DefaultHasher::new();
    (route.priority, route.allow_http, &route.matches).hash(&mut hasher);
    match &route.action {
        raw::Action::Proxy { pool: _, preserve_host, rewrite } => {
            let r = rewrite.as_deref();
            let rewrite = r.map(|r| (&r.strip_prefix, &r.add_prefix, &r.regex, &r.replace, &r.host, &r.query));
            (1, preserve_host, rewrite).hash(&mut hasher);
        }
        raw::Action::Redirect(redirect) => (2, redirect).hash(&mut hasher),
        raw::Action::Respond(r) => (3, r.status, &r.content_type, &r.headers, &r.body).hash(&mut hasher),
    }
    hasher.finish()
}

/// Compiled policies, shared by the routes that mean the same.
struct Policies<'c> {
    config: &'c Config,
    /// By policy, and by pool where the policy replaces some of its timeouts.
    made: HashMap<(Option<u32>, Option<u32>), Arc<PolicyRule>>,
}

impl Policies<'_> {
    fn get(&mut self, policy: Option<u32>, pool: Option<u32>) -> Arc<PolicyRule> {
        let config = self.config;
        let given = policy.and_then(|index| config.policies.get(index as usize));
        let changed = given.filter(|given| given.timeouts != TimeoutChanges::default() || per_try(given).is_some());
        let pool = pool.filter(|_| changed.is_some());
        let make = || {
            let timeouts = pool.and_then(|index| config.pools.get(index as usize)).map(|pool| pool.timeouts);
            Arc::new(compile_policy(given.unwrap_or(&raw::Policy::default()), timeouts))
        };
        self.made.entry((policy, pool)).or_insert_with(make).clone()
    }
}

/// What one attempt may take to the answer's head, where the policy says that.
fn per_try(policy: &raw::Policy) -> Option<Duration> {
    policy.retry.as_ref()?.per_try_timeout
}

/// `pool` has the timeouts that the policy replaces some of.
fn compile_policy(policy: &raw::Policy, pool: Option<Timeouts>) -> PolicyRule {
    let TimeoutChanges { connect, tls, first_byte, body_idle, total, tunnel_idle } = policy.timeouts;
    let timeouts = pool.map(|pool| Timeouts {
        connect: connect.unwrap_or(pool.connect),
        tls: tls.unwrap_or(pool.tls),
        first_byte: first_byte.unwrap_or(pool.first_byte).min(per_try(policy).unwrap_or(Duration::MAX)),
        body_idle: body_idle.unwrap_or(pool.body_idle),
        total: total.unwrap_or(pool.total),
        tunnel_idle: tunnel_idle.unwrap_or(pool.tunnel_idle),
    });
    PolicyRule {
        id: policy.name.as_str().into(),
        timeouts,
        max_body: policy.max_body,
        access_log: policy.access_log,
        require_mtls: policy.require_mtls,
        client_cert_header: policy.client_cert_header,
        retry: policy.retry.clone(),
        breaker: policy.breaker,
        hedge: policy.hedge,
        gate: policy.gate,
        priority: policy.priority,
    }
}

fn compile_pool(pool: &raw::Pool, registry: &Registry, stats: &StatsRegistry, log: &Log) -> PoolRule {
    let mut tls = tls::OfPool::new(pool, &registry.tls, log);
    let mut member = |endpoint: &raw::Endpoint| {
        let label = &endpoint.name;
        let name: Arc<str> = label.as_str().into();
        let (authority, tls) = (endpoint.authority.as_str().into(), tls.endpoint(endpoint));
        let (protocol, weight) = (endpoint.protocol, endpoint.weight);
        match &endpoint.target {
            Target::Addr(addr) => Member::Fixed(EndpointRule {
                addr: addr.clone(),
                name,
                authority,
                tls,
                protocol,
                weight,
                gate: GateRule::made(registry, Queue::Endpoint, &format!("{}/{label}", pool.name), endpoint.gate),
                state: registry.endpoint(&pool.name, label),
                stats: stats.endpoint(&pool.name, label),
            }),
            Target::Name { question, port } => {
                let (question, port) = (question.clone(), *port);
                Member::Named(NamedRule { question, port, name, authority, tls, protocol, weight, gate: endpoint.gate })
            }
        }
    };
    let members: Vec<Member> = pool.endpoints.iter().map(&mut member).collect();
    let endpoints = names::endpoints(&pool.name, &members, registry, stats);
    let has_names = members.iter().any(|member| matches!(member, Member::Named(_)));
    PoolRule {
        id: pool.name.as_str().into(),
        endpoints: Vec::new(),
        members: if has_names { members.into() } else { Arc::default() },
        balance: Balance::new(&pool.balance, std::iter::empty()),
        generation: 0,
        slow_start: pool.slow_start,
        sticky: compile_sticky(pool, registry, log),
        max_streams: pool.max_streams,
        keepalive: pool.keepalive,
        keepalive_idle: pool.keepalive_idle,
        keepalive_age: pool.keepalive_age,
        max_connections: pool.max_connections,
        max_waiting: pool.max_waiting,
        wait_timeout: pool.wait_timeout,
        gate: GateRule::made(registry, Queue::Pool, &pool.name, pool.gate),
        adaptive: pool.adaptive,
        timeouts: pool.timeouts,
        health: pool.health.clone().map(Arc::new),
        outlier: pool.outlier,
        panic: pool.panic,
        stats: stats.pool(&pool.name),
        state: registry.pool(&pool.name),
    }
    .with_endpoints(endpoints)
}

/// The endpoints come later.
fn compile_sticky(pool: &raw::Pool, registry: &Registry, log: &Log) -> Option<Arc<StickyRule>> {
    let sticky = pool.sticky.as_ref()?;
    let said = |(message, help)| Problem::of_file(format!("pool {:?}: {message}", pool.name)).help(help);
    let secret = match &sticky.secret {
        None => registry.sticky_secret().map(Vec::from).ok_or_else(|| {
            ("there is no randomness to sign cookies with".to_owned(), "give sticky a secret".to_owned())
        }),
        Some(secret) => secret.read("secret of sticky").map(|(bytes, warning)| {
            warning.into_iter().for_each(|warning| log.warning(said(warning)));
            bytes
        }),
    };
    let secret = secret.map_err(|mistake| log.mistake(said(mistake))).ok()?;
    Some(Arc::new(StickyRule::new(&sticky.cookie, sticky.ttl, &secret, &pool.name, std::iter::empty())))
}

/// Where access-log lines go.
pub fn access_log_target(target: &AccessLog) -> AccessLogTarget {
    match target {
        AccessLog::Off => AccessLogTarget::Off,
        AccessLog::Stdout => AccessLogTarget::Stdout,
        AccessLog::File(path) => AccessLogTarget::File(path.clone()),
    }
}

fn compile_server(server: &raw::Server) -> ServerRule {
    let admin = |addr: &EndpointAddr| match addr {
        EndpointAddr::Tcp(addr) => Some(AdminAddr::Tcp(*addr)),
        EndpointAddr::Unix(path) => Some(AdminAddr::Unix(path.clone())),
        // the reader refuses them
        EndpointAddr::Abstract(_) => None,
    };
    ServerRule {
        shards: server.shards,
        admin: server.admin.iter().filter_map(admin).collect(),
        access_log: access_log_target(&server.access_log),
        lb_grace: server.lb_grace,
        drain_timeout: server.drain_timeout,
        max_connections: server.max_connections,
        quic: server.quic.clone(),
        protect: server.protect,
        resolver: server.resolver.clone(),
    }
}

fn compile_listener(listener: &raw::Listener, registry: &Registry, log: &Log) -> ListenerRule {
    let addr = |addr: &EndpointAddr| match addr {
        EndpointAddr::Tcp(addr) => ListenAddr::Tcp(*addr),
        EndpointAddr::Unix(path) => ListenAddr::Unix(path.clone()),
        EndpointAddr::Abstract(name) => ListenAddr::Abstract(name.clone()),
    };
    let (limits, timeouts) = (&listener.limits, &listener.timeouts);
    ListenerRule {
        name: listener.name.as_str().into(),
        address: listener.address.iter().map(addr).collect(),
        h1: listener.protocols.h1,
        h2: listener.protocols.h2,
        h3: listener.protocols.h3,
        tls: tls::listener(listener, &registry.tls, log),
        https_redirect: listener.https_redirect && listener.tls.is_none(),
        http2: listener.http2.clone(),
        http3: listener.http3.clone(),
        alt_svc: AltSvc::new(listener.http3.alt_svc_max_age.filter(|_| listener.protocols.h3)),
        trusted_proxies: listener.trusted_proxies.clone(),
        limits: http1::Limits {
            line_bytes: limits.request_line,
            head_bytes: limits.head,
            fields: limits.fields,
            chunk_line_bytes: limits.chunk_line,
            trailer_bytes: limits.trailers,
        },
        pipeline_depth: limits.pipeline_depth,
        timeouts: ClientTimeouts {
            handshake: timeouts.handshake,
            header: timeouts.header,
            body: timeouts.body,
            write: timeouts.write,
            keepalive: timeouts.keepalive,
            min_body_rate: timeouts.min_body_rate,
        },
        early_hints_h1: listener.early_hints_h1,
        forwarded: listener.forwarded,
    }
}
