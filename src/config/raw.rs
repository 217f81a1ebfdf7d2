//! The configuration as it was typed: every key read, defaults filled in, names resolved, nothing compiled.
use super::{
    address::{self, Scheme},
    check::{self, Names},
    http3,
    limits::{self, NAME_BYTES_MAX},
    report::{Log, Problem},
    resolver, routes,
    section::{Origin, Scene, Section, Text, cut, wrong_type},
    split::split,
    tls::{self, Protocols, TlsSpans},
    upstream::{balance, health, inflight, retry},
};
use crate::{
    answer::RespondConfig,
    message::{Priority, ProtectRule},
    policy::rewrite::RewriteConfig,
    proto::{Http2Limits, Http3Limits, QuicSockets},
    route::MatchConfig,
    tls::{ListenerConfig, UpstreamConfig},
    upstream::{
        AdaptiveRule, BalanceConfig, BreakerRule, EndpointAddr, GateConfig, HedgeRule, Panic, Protocol, RetryRule,
        Target, Timeouts, health::HealthRule, names::ResolverRule, outlier::OutlierRule, sticky::StickyConfig,
    },
};
use ipnet::IpNet;
use std::{
    collections::HashSet,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// `[server]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// `None` = one per core that the process may use.
    pub shards: Option<usize>,
    /// Where the admin API listens; never abstract.
    pub admin: Vec<EndpointAddr>,
    /// Where access-log lines go.
    pub access_log: AccessLog,
    /// After SIGTERM, how long connections are still accepted.
    pub lb_grace: Duration,
    /// After that, how long requests in flight may take.
    pub drain_timeout: Duration,
    /// Client connections per shard.
    pub max_connections: usize,
    /// UDP sockets.
    pub quic: QuicSockets,
    /// When a shard protects itself.
    pub protect: ProtectRule,
    /// How names of endpoints are looked up.
    pub resolver: ResolverRule,
}

/// Where access-log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// A file.
    File(PathBuf),
}

/// `[[listener]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// Where it listens; not empty.
    pub address: Vec<EndpointAddr>,
    /// What it speaks; at least one of them.
    pub protocols: Protocols,
    /// With TLS, if at all; and where that is said.
    pub tls: Option<(ListenerConfig, TlsSpans)>,
    /// Whether requests for hosts with a certificate are sent to `https://`; without TLS only.
    pub https_redirect: bool,
    /// Bounds of an HTTP/2 connection.
    pub http2: Http2Limits,
    /// Bounds of an HTTP/3 connection.
    pub http3: Http3Limits,
    /// Peers whose forwarding fields are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Also send RFC 7239 `Forwarded`.
    pub forwarded: bool,
    /// Pass 1xx answers to HTTP/1.1 clients.
    pub early_hints_h1: bool,
    /// Bounds of a request's head.
    pub limits: ListenerLimits,
    /// How slow a client may be.
    pub timeouts: ListenerTimeouts,
}

/// `[listener.limits]`, bytes unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Request line.
    pub request_line: usize,
    /// Request line and fields.
    pub head: usize,
    /// Number of fields.
    pub fields: usize,
    /// Line with a chunk's size.
    pub chunk_line: usize,
    /// Trailer fields.
    pub trailers: usize,
    /// Requests that may wait behind the one being answered.
    pub pipeline_depth: usize,
}

/// `[listener.timeouts]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerTimeouts {
    /// For a TLS handshake.
    pub handshake: Duration,
    /// For a request's head.
    pub header: Duration,
    /// Between two reads of a body.
    pub body: Duration,
    /// Between two writes that make progress.
    pub write: Duration,
    /// Between two requests.
    pub keepalive: Duration,
    /// Least rate of a body, bytes per second; 0 is no limit.
    pub min_body_rate: u64,
}

/// `[pool.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its endpoints in file order; not empty.
    pub endpoints: Vec<Endpoint>,
    /// How one is chosen.
    pub balance: BalanceConfig,
    /// How long an endpoint that is new or came back takes to get its whole share.
    pub slow_start: Option<Duration>,
    /// Keeps clients at their endpoints.
    pub sticky: Option<StickyConfig>,
    /// TLS to those that want it, and where that is said.
    pub tls: (UpstreamConfig, TlsSpans),
    /// Requests at a time on one HTTP/2 connection.
    pub max_streams: u32,
    /// Idle connections kept per shard and endpoint.
    pub keepalive: usize,
    /// How long they are kept.
    pub keepalive_idle: Duration,
    /// How old a connection may be when it is used again.
    pub keepalive_age: Duration,
    /// Open connections per endpoint, of all shards together.
    pub max_connections: u32,
    /// Requests that may wait for a connection, per shard and endpoint.
    pub max_waiting: usize,
    /// How long one may wait.
    pub wait_timeout: Duration,
    /// Requests in flight.
    pub gate: Option<GateConfig>,
    /// How their limit is found by measuring.
    pub adaptive: Option<AdaptiveRule>,
    /// How slow an endpoint may be.
    pub timeouts: Timeouts,
    /// How endpoints are asked whether they are well.
    pub health: Option<HealthRule>,
    /// Which of them are left out for a while.
    pub outlier: Option<OutlierRule>,
    /// What happens while none may be used.
    pub panic: Panic,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// As it was typed.
    pub name: String,
    /// Where it listens.
    pub target: Target,
    /// The value of `Host` that belongs to it.
    pub authority: String,
    /// Whether it wants TLS.
    pub tls: bool,
    /// What it is spoken to.
    pub protocol: Protocol,
    /// Its share.
    pub weight: u16,
    /// Requests in flight.
    pub gate: Option<GateConfig>,
}

/// `[policy.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// What replaces the pool's.
    pub timeouts: TimeoutChanges,
    /// Largest request body; `None` is no limit.
    pub max_body: Option<u64>,
    /// Whether access-log lines are written.
    pub access_log: bool,
    /// Whether only clients with a certificate are served.
    pub require_mtls: bool,
    /// Whether endpoints are told the client's certificate (RFC 9440).
    pub client_cert_header: bool,
    /// Requests in flight, of each route.
    pub gate: Option<GateConfig>,
    /// Who goes first.
    pub priority: Priority,
    /// How failed requests are sent again.
    pub retry: Option<RetryRule>,
    /// When requests are refused because too many fail.
    pub breaker: Option<BreakerRule>,
    /// When slow requests are sent twice.
    pub hedge: Option<HedgeRule>,
}

impl Default for Policy {
    /// What routes without a policy have.
    fn default() -> Policy {
        let kind = |name: &str| limits::POLICY.key(name).map(|(_, key)| key.kind);
        let max_body = match kind("max_body") {
            Some(limits::Kind::Size(limits::Bounds { default: limits::Default::Is(bytes), .. }, _)) => Some(bytes),
            _ => None,
        };
        let access_log = matches!(kind("access_log"), Some(limits::Kind::Flag(true)));
        Policy {
            name: "default".to_owned(),
            timeouts: TimeoutChanges::default(),
            max_body,
            access_log,
            require_mtls: false,
            client_cert_header: false,
            gate: None,
            priority: Priority::default(),
            retry: retry::default(),
            breaker: None,
            hedge: None,
        }
    }
}

/// Timeouts that replace a pool's, each on its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeoutChanges {
    /// Until the connection stands.
    pub connect: Option<Duration>,
    /// For the TLS handshake.
    pub tls: Option<Duration>,
    /// To the answer's head.
    pub first_byte: Option<Duration>,
    /// Between two reads of its body.
    pub body_idle: Option<Duration>,
    /// The whole exchange; `Some(None)` is no limit.
    pub total: Option<Option<Duration>>,
    /// An upgraded connection without a byte.
    pub tunnel_idle: Option<Duration>,
}

/// `[[route]]`. There may be tens of thousands: what is rare is boxed.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Its id.
    pub id: Box<str>,
    /// Which requests.
    pub matches: MatchConfig,
    /// What is done with them.
    pub action: Action,
    /// Index into `Config::policies`.
    pub policy: Option<u32>,
    /// Higher wins over every other rule of precedence.
    pub priority: i32,
    /// Whether it is served without TLS even where others are redirected.
    pub allow_http: bool,
    /// Where its text is, so that a later mistake can point at the very key.
    pub(crate) place: Place,
}

/// Where a route's text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A `[[route]]` table: its bytes.
    Table { start: u32, end: u32 },
    /// An element of `route = [ … ]`: its bytes.
    Element { start: u32, end: u32 },
}

/// What a route does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Forwards.
    Proxy {
        /// Index into `Config::pools`.
        pool: u32,
        /// Whether the client's `Host` is forwarded.
        preserve_host: bool,
        /// Changes of the target.
        rewrite: Option<Box<RewriteConfig>>,
    },
    /// Redirects.
    Redirect(Box<Redirect>),
    /// Answers.
    Respond(Box<RespondConfig>),
}

impl Action {
    /// The index of the pool that is forwarded to.
    pub fn pool(&self) -> Option<u32> {
        match self {
            Action::Proxy { pool, .. } => Some(*pool),
            Action::Redirect(_) | Action::Respond(_) => None,
        }
    }
}

/// `redirect`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Redirect {
    /// The location's template.
    pub to: String,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// Append what follows the route's `path_prefix`, and the query.
    pub append: bool,
}

/// Everything that a source says.
pub(crate) struct Read {
    pub server: Server,
    pub listeners: Vec<Listener>,
    pub pools: Vec<Pool>,
    pub policies: Vec<Policy>,
    pub routes: Vec<Route>,
}

/// Reads `text`; relative paths start at `base`. What is wrong is in `log`; what was read has defaults in its place.
pub(crate) fn read(text: &str, base: &Path, log: &Log) -> Read {
    let cut = split(text);
    let (origin, rest) = Origin::glue(text, &cut.rest);
    let scene = Scene { origin: &origin, log };
    let parsed = parse(scene, &rest);
    let empty = DeTable::new();
    let top = Section::new(scene, &limits::TOP, parsed.as_ref().map_or(&empty, Spanned::get_ref), 0..0);
    let mut read = read_top(&top, base);
    // After some mistakes it is not known what pools there are: then only the routes' own mistakes are told.
    let complete = |key: &str, read: usize| parsed.is_some() && all_read(&top, key, read);
    let names = Names::new(&read.pools, complete("pool", read.pools.len()), base)
        .with_policies(&read.policies, complete("policy", read.policies.len()));
    read.routes = routes::read(text, &top, &cut.routes, &names, log);
    if parsed.is_some() {
        check::whole(&top, &read, &cut.routes);
    }
    top.finish();
    read
}

/// Parses a piece of the source; a syntax error is noted.
pub(crate) fn parse<'t>(scene: Scene<'_>, piece: &'t str) -> Option<Spanned<DeTable<'t>>> {
    match DeTable::parse(piece) {
        Ok(table) => Some(table),
        Err(error) => {
            let end = piece.trim_end().len();
            let span = error.span().unwrap_or(end..end);
            scene.mistake(span, |at| Problem::new(at, format!("TOML: {}", cut(error.message()))));
            None
        }
    }
}

/// Whether every table under `key` was read, and no unknown key was meant to be `key`.
fn all_read(top: &Section<'_>, key: &str, read: usize) -> bool {
    match top.value(key).map(Spanned::get_ref) {
        Some(DeValue::Table(table)) => table.len() == read,
        Some(_) => false,
        None => top.misses(key),
    }
}

fn read_top(top: &Section<'_>, base: &Path) -> Read {
    top.count("version");
    let mut sockets = Vec::new();
    let server = read_server(top, base, &mut sockets);
    let listeners: Vec<_> = (1..)
        .zip(top.tables("listener"))
        .map(|(n, section)| read_listener(n, section, base, server.shards, &mut sockets))
        .collect();
    check::no_socket_twice(top.scene, &sockets);
    check::no_name_twice(top, "listener", listeners.iter().map(|(name, _)| name));
    let pools = named(top, "pool").into_iter().filter_map(|(name, value)| read_pool(top, name, value, base)).collect();
    let policies = named(top, "policy").into_iter().filter_map(|(name, value)| read_policy(top, name, value)).collect();
    let listeners = listeners.into_iter().map(|(_, listener)| listener).collect();
    Read { server, listeners, pools, policies, routes: Vec::new() }
}

/// A socket that is to be listened on, and where it was asked for.
pub(crate) type Socket = (EndpointAddr, Range<usize>);

fn read_server(top: &Section<'_>, base: &Path, sockets: &mut Vec<Socket>) -> Server {
    let empty = DeTable::new();
    let given = top.table("server");
    let section = match &given {
        Some(section) => section,
        None => &Section::new(top.scene, &limits::SERVER, &empty, 0..0),
    };
    let server = Server {
        shards: section.count_or_word("shards").map(to_usize),
        admin: read_admin(section, base, sockets),
        access_log: read_access_log(section, base),
        lb_grace: section.time("lb_grace"),
        drain_timeout: section.time("drain_timeout"),
        max_connections: to_usize(section.count("max_connections")),
        quic: http3::read_sockets(section),
        protect: inflight::read_protect(section),
        resolver: resolver::read(section, base),
    };
    if let Some(section) = given {
        section.finish();
    }
    server
}

/// Saturates; bounds were checked, so that this loses nothing.
pub(crate) fn to_usize(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// Saturates, as above.
pub(crate) fn to_u32(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Saturates, as above.
pub(crate) fn to_u16(n: u64) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}

fn read_admin(section: &Section<'_>, base: &Path, sockets: &mut Vec<Socket>) -> Vec<EndpointAddr> {
    if !section.has("admin") {
        let default = limits::SERVER.default_text("admin");
        return address::listen(default, base).into_iter().collect();
    }
    let given = section.texts("admin");
    let read = addresses(section.scene, &given, base, sockets);
    for (addr, text) in read.iter().zip(&given) {
        if matches!(addr, EndpointAddr::Abstract(_)) {
            section.scene.mistake(text.span.clone(), |at| {
                Problem::new(at, "the admin API does not listen on abstract sockets: any user could connect")
                    .help("write \"unix:/run/edge/admin.sock\"")
            });
        }
    }
    read
}

/// Reads addresses to listen on, noting each socket.
fn addresses(scene: Scene<'_>, given: &[Text<'_>], base: &Path, sockets: &mut Vec<Socket>) -> Vec<EndpointAddr> {
    let mut read = Vec::with_capacity(given.len());
    for text in given {
        match address::listen(text.value, base) {
            Ok(addr) => {
                sockets.push((addr.clone(), text.span.clone()));
                read.push(addr);
            }
            Err(wrong) => scene.mistake(text.span.clone(), |at| {
                Problem::new(at, cut(&wrong.message)).expected(address::LISTEN_FORMS).help(wrong.help)
            }),
        }
    }
    read
}

fn read_access_log(section: &Section<'_>, base: &Path) -> AccessLog {
    match section.text_not_empty("access_log") {
        None => AccessLog::Stdout,
        Some(Text { value: "off", .. }) => AccessLog::Off,
        Some(Text { value: "stdout", .. }) => AccessLog::Stdout,
        Some(text) if text.value.contains('/') && !text.value.contains('\0') => AccessLog::File(base.join(text.value)),
        Some(text) => {
            section.scene.mistake(text.span, |at| {
                Problem::new(at, format!("access_log = {:?} is not known", cut(text.value)))
                    .expected("\"off\", \"stdout\" or a path with at least one \"/\"")
                    .help(super::suggest::did_you_mean(text.value, ["off", "stdout"]))
            });
            AccessLog::Stdout
        }
    }
}

fn read_listener(
    number: usize,
    section: Section<'_>,
    base: &Path,
    shards: Option<usize>,
    sockets: &mut Vec<Socket>,
) -> ((String, Range<usize>), Listener) {
    let name = match section.text("name") {
        Some(text) => {
            check::name(section.scene, &text);
            text.value.to_owned()
        }
        None => format!("listener-{number}"),
    };
    let given = section.texts("address");
    no_empty_list(&section, "address", "add address = \"127.0.0.1:8080\"");
    if section.misses("address") {
        section.scene.mistake(section.span.clone(), |at| {
            Problem::new(at, "the listener has no address").help("add address = \"127.0.0.1:8080\"")
        });
    }
    let known = sockets.len();
    let address = addresses(section.scene, &given, base, sockets);
    let (protocols, h3) = tls::read_protocols(&section);
    let limits = read_listener_limits(&section);
    let http3 = http3::read(&section, &limits);
    let tls = tls::read_listener(&section, protocols, http3.early_data, base);
    if let Some(at) = h3 {
        let sockets = sockets.get(known..).unwrap_or_default();
        http3::check(&section, at, sockets, tls.as_ref().map(|(config, _)| config), shards);
    }
    let listener = Listener {
        name: name.clone(),
        address,
        protocols,
        tls,
        https_redirect: section.flag("https_redirect"),
        http2: tls::read_http2(&section, limits.head, limits.fields),
        http3,
        trusted_proxies: read_ranges(&section, "trusted_proxies"),
        forwarded: section.flag("forwarded"),
        early_hints_h1: section.flag("early_hints_h1"),
        limits,
        timeouts: read_listener_timeouts(&section),
    };
    let at = section.span_of("name");
    section.finish();
    ((name, at), listener)
}

/// An empty list where something is needed, or where nobody knows whether it means none or all.
pub(crate) fn no_empty_list(section: &Section<'_>, name: &str, help: &str) {
    if let Some(value) = section.value(name)
        && value.get_ref().as_array().is_some_and(|list| list.is_empty())
    {
        section.scene.mistake(value.span(), |at| Problem::new(at, format!("{name} is an empty list")).help(help));
    }
}

/// Reads address ranges.
fn read_ranges(section: &Section<'_>, name: &str) -> Vec<IpNet> {
    let mut ranges = Vec::new();
    for text in section.texts(name) {
        match address::range(text.value) {
            Ok(range) => ranges.push(range),
            Err(wrong) => section.scene.mistake(text.span, |at| {
                Problem::new(at, cut(&wrong.message))
                    .expected("an address or a range such as \"10.0.0.0/8\"")
                    .help(wrong.help)
            }),
        }
    }
    ranges
}

fn read_listener_limits(listener: &Section<'_>) -> ListenerLimits {
    with_table(listener, "limits", &limits::LISTENER_LIMITS, |section| {
        let limits = ListenerLimits {
            request_line: to_usize(section.size("request_line")),
            head: to_usize(section.size("head")),
            fields: to_usize(section.count("fields")),
            chunk_line: to_usize(section.size("chunk_line")),
            trailers: to_usize(section.size("trailers")),
            pipeline_depth: to_usize(section.count("pipeline_depth")),
        };
        if limits.request_line > limits.head {
            let name = if section.has("request_line") { "request_line" } else { "head" };
            section.scene.mistake(section.span_of(name), |at| {
                Problem::new(at, "request_line is larger than head, of which it is a part")
                    .help(format!("head is \"{}\"", super::units::show_size(limits.head as u64)))
            });
        }
        limits
    })
}

fn read_listener_timeouts(listener: &Section<'_>) -> ListenerTimeouts {
    with_table(listener, "timeouts", &limits::LISTENER_TIMEOUTS, |section| ListenerTimeouts {
        handshake: section.time("handshake"),
        header: section.time("header"),
        body: section.time("body"),
        write: section.time("write"),
        keepalive: section.time("keepalive"),
        min_body_rate: section.rate("min_body_rate"),
    })
}

/// Reads the sub-table `name`, or an empty one (all defaults) when it is not given.
pub(super) fn with_table<T>(
    parent: &Section<'_>,
    name: &str,
    shape: &'static limits::Shape,
    read: impl Fn(&Section<'_>) -> T,
) -> T {
    let empty = DeTable::new();
    let section = match parent.table(name) {
        Some(section) => section,
        None => Section::new(parent.scene, shape, &empty, parent.span.clone()),
    };
    let value = read(&section);
    section.finish();
    value
}

/// The named tables under `key`, in the order of the file; their names are checked.
fn named<'a>(top: &Section<'a>, key: &str) -> Vec<(Text<'a>, &'a Spanned<DeValue<'a>>)> {
    let entries = top.entries(key, &format!("[{key}.NAME] tables"));
    for (name, _) in &entries {
        check::name(top.scene, name);
    }
    entries
}

fn read_pool(top: &Section<'_>, name: Text<'_>, value: &Spanned<DeValue<'_>>, base: &Path) -> Option<Pool> {
    let section = named_section(top, &limits::POOL, "pool", &name, value)?;
    let endpoints = read_endpoints(&section, &name, base);
    let adaptive = inflight::read_adaptive(&section);
    let pool = Pool {
        name: name.value.to_owned(),
        tls: tls::read_pool(&section, endpoints.iter().any(|endpoint| endpoint.tls), base),
        endpoints,
        max_streams: to_u32(section.count("max_streams")),
        balance: balance::read_balance(&section),
        slow_start: balance::read_slow_start(&section),
        sticky: balance::read_sticky(&section, base),
        keepalive: to_usize(section.count("keepalive")),
        keepalive_idle: section.time("keepalive_idle"),
        keepalive_age: section.time("keepalive_age"),
        max_connections: to_u32(section.count("max_connections")),
        max_waiting: to_usize(section.count("max_waiting")),
        wait_timeout: section.time("wait_timeout"),
        gate: inflight::read_gate(&section, adaptive.map(|rule| rule.max)),
        adaptive,
        timeouts: with_table(&section, "timeouts", &limits::POOL_TIMEOUTS, |section| Timeouts {
            connect: section.time("connect"),
            tls: section.time("tls"),
            first_byte: section.time("first_byte"),
            body_idle: section.time("body_idle"),
            total: section.time_or_off("total"),
            tunnel_idle: section.time("tunnel_idle"),
        }),
        health: health::read_health(&section),
        outlier: health::read_outlier(&section),
        panic: health::read_panic(&section),
    };
    section.finish();
    Some(pool)
}

/// The table of `[KIND.NAME]`. `[pool]` with the keys themselves in it is a mistake of its own.
fn named_section<'a>(
    top: &Section<'a>,
    shape: &'static limits::Shape,
    kind: &str,
    name: &Text<'_>,
    value: &'a Spanned<DeValue<'a>>,
) -> Option<Section<'a>> {
    if let DeValue::Table(table) = value.get_ref() {
        let span = if value.span().is_empty() { name.span.clone() } else { value.span() };
        return Some(Section::new(top.scene, shape, table, span));
    }
    top.scene.mistake(name.span.clone(), |at| {
        wrong_type(at, name.value, value.get_ref()).expected(format!("a table [{kind}.NAME]")).help(
            match shape.key(name.value) {
                Some(_) => format!("give the {kind} a name: [{kind}.app]"),
                None => String::new(),
            },
        )
    });
    None
}

fn read_endpoints(section: &Section<'_>, pool: &Text<'_>, base: &Path) -> Vec<Endpoint> {
    let example = "add endpoints = [\"http://127.0.0.1:3000\"]";
    if section.misses("endpoints") {
        let message = format!("pool {:?} has no endpoints", cut(pool.value));
        section.scene.mistake(pool.span.clone(), |at| Problem::new(at, message).help(example));
    }
    let Some(value) = section.value("endpoints") else {
        section.word("protocol");
        return Vec::new();
    };
    let (mut endpoints, mut seen) = (Vec::new(), HashSet::new());
    let protocol = section.word("protocol");
    for item in section.list_of("endpoints", value, "a list of endpoints") {
        if let Some(endpoint) = read_endpoint(section, item, protocol, base) {
            check::no_endpoint_twice(section.scene, &mut seen, &endpoint, item.span());
            endpoints.push(endpoint);
        }
    }
    no_empty_list(section, "endpoints", example);
    endpoints
}

fn read_endpoint(section: &Section<'_>, item: &Spanned<DeValue<'_>>, protocol: &str, base: &Path) -> Option<Endpoint> {
    let (text, weight, gate) = match item.get_ref() {
        DeValue::Table(_) => {
            let table = Section::of(section.scene, "an endpoint", &limits::ENDPOINT, item)?;
            let text = table.text("address");
            if table.misses("address") {
                section.scene.mistake(item.span(), |at| Problem::new(at, "the endpoint has no address"));
            }
            let weight = table.count("weight");
            if table.has("weight") && text.as_ref().is_some_and(|text| text.value.starts_with("srv+")) {
                section.scene.mistake(table.span_of("weight"), |at| {
                    Problem::new(at, "the weights of a service are in its SRV records").help("leave weight out")
                });
            }
            let gate = inflight::read_gate(&table, None);
            table.finish();
            (text?, weight, gate)
        }
        _ => (section.text_of("an endpoint", item, "a string, or a table with `address` and `weight`")?, 1, None),
    };
    match address::endpoint(text.value, base) {
        Ok((scheme, target, authority)) => {
            let protocol = match (scheme, protocol) {
                (Scheme::H2c, "h1") => {
                    section.scene.mistake(text.span, |at| {
                        Problem::new(at, "h2c:// is HTTP/2, but the pool's protocol is \"h1\"").help("write http://")
                    });
                    Protocol::Http1
                }
                (_, "h2") | (Scheme::H2c, _) => Protocol::Http2,
                (Scheme::Https, "auto") => Protocol::Alpn,
                _ => Protocol::Http1,
            };
            let (name, tls, weight) = (text.value.to_owned(), scheme == Scheme::Https, to_u16(weight));
            Some(Endpoint { name, target, authority, tls, protocol, weight, gate })
        }
        Err(wrong) => {
            section.scene.mistake(text.span, |at| {
                Problem::new(at, cut(&wrong.message)).expected(address::ENDPOINT_FORMS).help(wrong.help)
            });
            None
        }
    }
}

fn read_policy(top: &Section<'_>, name: Text<'_>, value: &Spanned<DeValue<'_>>) -> Option<Policy> {
    let section = named_section(top, &limits::POLICY, "policy", &name, value)?;
    let mut timeouts = with_table(&section, "timeouts", &limits::POLICY_TIMEOUTS, |section| TimeoutChanges {
        connect: section.has("connect").then(|| section.time("connect")),
        tls: section.has("tls").then(|| section.time("tls")),
        first_byte: section.has("first_byte").then(|| section.time("first_byte")),
        body_idle: section.has("body_idle").then(|| section.time("body_idle")),
        total: section.has("total").then(|| section.time_or_off("total")),
        tunnel_idle: section.has("tunnel_idle").then(|| section.time("tunnel_idle")),
    });
    if section.has("timeout") {
        if timeouts.total.is_some() {
            section.scene.mistake(section.span_of_key("timeout"), |at| {
                Problem::new(at, "timeout and timeouts.total are the same thing").help("keep one of them")
            });
        }
        timeouts.total = Some(section.time_or_off("timeout"));
    }
    let policy = Policy {
        name: name.value.to_owned(),
        timeouts,
        max_body: section.size_or_off("max_body"),
        access_log: section.flag("access_log"),
        require_mtls: section.flag("require_mtls"),
        client_cert_header: section.flag("client_cert_header"),
        gate: inflight::read_gate(&section, None),
        priority: inflight::read_priority(&section),
        retry: retry::read_retry(&section),
        breaker: retry::read_breaker(&section),
        hedge: retry::read_hedge(&section),
    };
    section.finish();
    Some(policy)
}

/// What a name looks like, for messages.
pub(crate) const NAME_RULE: &str = "1 to 64 letters, digits, `-`, `_` or `.`";
const _: () = assert!(NAME_BYTES_MAX == 64);
