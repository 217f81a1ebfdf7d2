//! Every key of the configuration with its default and its bounds: one table, read by the reader and by the manual.
//!
//! A number that other rooms need reaches them through the snapshot, so that it is written down only here.
mod balance;
mod health;
mod http3;
mod inflight;
mod resolver;
mod retry;
mod tls;
pub use balance::{BALANCE, BALANCE_WORDS, STICKY};
pub use health::{HEALTH, OUTLIER};
pub use http3::{HTTP3, QUIC};
pub use inflight::{ADAPTIVE, PROTECT};
pub use resolver::{NAMES_MAX, RESOLVER};
pub use retry::{BREAKER, HEDGE, RETRY};
pub use tls::{CERTIFICATE, CERTIFICATES_MAX, HTTP2, HTTPS_PORT, LISTENER_TLS, POOL_TLS, TICKET_SECRET_BYTES_MIN};

/// Largest configuration file, bytes: 30,000 routes take about 4 MiB.
pub const FILE_BYTES_MAX: u64 = 16 * MIB;
/// Most mistakes that one report shows; the rest is counted.
pub const REPORT_ITEMS_MAX: usize = 100;
/// Longest piece of a source line that a report shows, characters.
pub const REPORT_LINE_CHARS_MAX: usize = 120;
/// Longest name of a listener, pool or policy and longest id of a route, bytes: they are labels of metrics.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest path or abstract name of a unix socket, bytes (`sun_path` of unix(7), less its final NUL).
pub const UNIX_PATH_BYTES_MAX: usize = 107;
/// Most routes.
pub const ROUTES_MAX: usize = 200_000;
/// Most elements of one list, whatever it holds (addresses, endpoints, hosts, predicates).
pub const LIST_MAX: usize = 10_000;
/// Deepest nesting of `any` and `not` in a match.
pub const MATCH_DEPTH_MAX: usize = 4;
/// Client connections per shard, unless the configuration says otherwise.
pub const CONNECTIONS_DEFAULT: usize = 100_000;
/// The port of an `http://` endpoint that names none (RFC 9110 4.2.1).
pub const HTTP_PORT: u16 = 80;
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The default of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// This many (items, milliseconds, bytes, bytes per second).
    Is(u64),
    /// No limit, or chosen by the program.
    Off,
    /// Taken from elsewhere; the words say where.
    From(&'static str),
}

/// Default and bounds of a number, in the unit of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Its default.
    pub default: Default,
    /// The least that is allowed.
    pub min: u64,
    /// The most that is allowed.
    pub max: u64,
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`; the default.
    Flag(bool),
    /// A whole number; a word, if there is one, stands for "chosen by the program".
    Count(Bounds, Option<&'static str>),
    /// A whole number from minus this to this; 0 unless given.
    Signed(i64),
    /// A duration in milliseconds, and whether `"off"` is allowed.
    Time(Bounds, bool),
    /// A size in bytes, and whether `"off"` is allowed.
    Size(Bounds, bool),
    /// Bytes per second; `"off"` is 0.
    Rate(Bounds),
    /// A part of a whole, in thousandths.
    Percent(Bounds),
    /// One of these words; the first is the default.
    Word(&'static [&'static str]),
    /// A string: what it is.
    Text(&'static str),
    /// A string or a list of strings: what each is.
    Texts(&'static str),
    /// A table.
    Table(&'static Shape),
    /// A list of tables.
    Tables(&'static Shape),
    /// Something with a reader of its own: what it is.
    Other(&'static str),
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// As it is typed.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Its default in TOML where `kind` does not hold it; empty = none.
    pub default: &'static str,
    /// A value to show where there is no default, in TOML.
    pub example: &'static str,
    /// What it does, one sentence without the full stop.
    pub about: &'static str,
}

/// The keys of one table.
#[derive(Debug)]
pub struct Shape {
    /// As a header in the manual: `[[listener]]`, `[pool.NAME.timeouts]`.
    pub title: &'static str,
    /// Where a key of it stands, for messages: "in [[listener]]".
    pub place: &'static str,
    /// What the table is for.
    pub about: &'static str,
    /// Its keys, in the order of the manual.
    pub keys: &'static [Key],
}

impl Shape {
    /// The key called `name`.
    pub fn key(&self, name: &str) -> Option<(usize, &'static Key)> {
        self.keys.iter().enumerate().find(|(_, k)| k.name == name)
    }

    /// The default of the string key `name`, without its quotes.
    pub fn default_text(&self, name: &str) -> &'static str {
        self.key(name).map_or("", |(_, key)| key.default.trim_matches('"'))
    }
}

/// A key with nothing but its kind.
const fn key(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { name, kind, default: "", example: "", about }
}

const fn is(default: u64, min: u64, max: u64) -> Bounds {
    Bounds { default: Default::Is(default), min, max }
}

const fn flag(name: &'static str, default: bool, about: &'static str) -> Key {
    key(name, Kind::Flag(default), about)
}

const fn count(name: &'static str, default: u64, min: u64, max: u64, about: &'static str) -> Key {
    key(name, Kind::Count(is(default, min, max), None), about)
}

const fn time(name: &'static str, default: u64, min: u64, max: u64, about: &'static str) -> Key {
    key(name, Kind::Time(is(default, min, max), false), about)
}

/// A timeout of a policy: the pool's own unless given.
const fn time_of_pool(name: &'static str, off: bool, max: u64, example: &'static str, about: &'static str) -> Key {
    let bounds = Bounds { default: Default::From("the pool's"), min: 1, max };
    Key { name, kind: Kind::Time(bounds, off), default: "", example, about }
}

const fn size(name: &'static str, default: u64, min: u64, max: u64, about: &'static str) -> Key {
    key(name, Kind::Size(is(default, min, max), false), about)
}

const fn percent(name: &'static str, default: u64, min: u64, max: u64, about: &'static str) -> Key {
    key(name, Kind::Percent(is(default, min, max)), about)
}

const fn text(name: &'static str, what: &'static str, example: &'static str, about: &'static str) -> Key {
    Key { name, kind: Kind::Text(what), default: "", example, about }
}

const fn texts(name: &'static str, what: &'static str, example: &'static str, about: &'static str) -> Key {
    Key { name, kind: Kind::Texts(what), default: "", example, about }
}

const fn table(name: &'static str, shape: &'static Shape, about: &'static str) -> Key {
    key(name, Kind::Table(shape), about)
}

const fn tables(name: &'static str, shape: &'static Shape, about: &'static str) -> Key {
    key(name, Kind::Tables(shape), about)
}

const fn other(name: &'static str, what: &'static str, example: &'static str, about: &'static str) -> Key {
    Key { name, kind: Kind::Other(what), default: "", example, about }
}

/// The top of the file.
pub static TOP: Shape = Shape {
    title: "Top level",
    place: "at the top level",
    about: "",
    keys: &[
        key("version", Kind::Count(is(1, 1, 1), None), "Version of this vocabulary"),
        table("server", &SERVER, "Node-wide settings"),
        tables("listener", &LISTENER, "Where clients connect, one `[[listener]]` each"),
        other("pool", "a table of pools, each `[pool.NAME]`", "", "Groups of endpoints that serve the same thing"),
        other(
            "policy",
            "a table of policies, each `[policy.NAME]`",
            "",
            "Limits and timeouts that routes refer to by name",
        ),
        tables("route", &ROUTE, "What is done with which requests, one `[[route]]` each"),
    ],
};

/// `[server]`.
pub static SERVER: Shape = Shape {
    title: "[server]",
    place: "in [server]",
    about: "Node-wide settings. `shards`, `admin` and `quic.forward_queue` are read at the start; changing them needs a restart.",
    keys: &[
        key(
            "shards",
            Kind::Count(Bounds { default: Default::Off, min: 1, max: 1024 }, Some("auto")),
            "Threads that serve traffic, each pinned to a core; `auto` is one per core that the process may use. At \
             most 256 where a listener speaks `h3`",
        ),
        Key {
            name: "admin",
            kind: Kind::Texts("address"),
            default: "\"127.0.0.1:9090\"",
            example: "",
            about: "Where metrics, health, status and reload are served: `127.0.0.1:9090`, `unix:/run/edge/admin.sock`",
        },
        Key {
            name: "access_log",
            kind: Kind::Text("`off`, `stdout` or the path of a file"),
            default: "\"stdout\"",
            example: "",
            about: "Where access-log lines go: `off`, `stdout` or the path of a file (reopened on SIGUSR1)",
        },
        time(
            "lb_grace",
            10 * SECOND,
            0,
            HOUR,
            "After SIGTERM, how long connections are still accepted while `/ready` says 503",
        ),
        time("drain_timeout", 30 * SECOND, 0, DAY, "After that, how long requests in flight may take"),
        count(
            "max_connections",
            CONNECTIONS_DEFAULT as u64,
            1,
            10_000_000,
            "Client connections per shard; further ones are closed at once",
        ),
        table("quic", &QUIC, "UDP sockets of listeners that speak `h3`"),
        table("protect", &PROTECT, "When a shard cannot keep up"),
        table("resolver", &RESOLVER, "How names of endpoints are looked up"),
    ],
};

/// `[[listener]]`.
pub static LISTENER: Shape = Shape {
    title: "[[listener]]",
    place: "in [[listener]]",
    about: "",
    keys: &[
        text("name", "name", "\"web\"", "Label in logs and metrics; `listener-1`, `listener-2` … unless given"),
        texts(
            "address",
            "address",
            "\"127.0.0.1:8080\"",
            "Where it listens: `0.0.0.0:80`, `[::]:80`, `unix:/run/edge.sock`, `unix:@abstract`; port 0 takes a free one",
        ),
        Key {
            name: "protocols",
            kind: Kind::Texts("protocol"),
            default: "[\"h1\", \"h2\"]",
            example: "",
            about: "What is spoken: `h1` (HTTP/1.1 and HTTP/1.0), `h2` (HTTP/2; without TLS by prior knowledge), `h3` (HTTP/3, on the UDP port of the same number; needs `tls`)",
        },
        Key {
            name: "trusted_proxies",
            kind: Kind::Texts("address or CIDR range"),
            default: "[]",
            example: "",
            about: "Peers whose `X-Forwarded-*` and `Forwarded` fields are believed: `10.0.0.0/8`, `::1`",
        },
        flag("forwarded", false, "Also send `Forwarded` (RFC 7239) to endpoints"),
        flag("early_hints_h1", false, "Pass 103 and other 1xx answers to HTTP/1.1 clients"),
        other(
            "tls",
            "`\"self-signed\"` or a table `[listener.tls]`",
            "\"self-signed\"",
            "Speak TLS here, with these certificates",
        ),
        flag(
            "https_redirect",
            true,
            "Without TLS: send requests for hosts that have a certificate to `https://` (308), but `/.well-known/acme-challenge/`",
        ),
        table("http2", &HTTP2, "Bounds of an HTTP/2 connection"),
        table("http3", &HTTP3, "Bounds of an HTTP/3 connection"),
        table("limits", &LISTENER_LIMITS, "Bounds of a request's head"),
        table("timeouts", &LISTENER_TIMEOUTS, "How slow a client may be"),
    ],
};

/// `[listener.limits]`.
pub static LISTENER_LIMITS: Shape = Shape {
    title: "[listener.limits]",
    place: "in [listener.limits]",
    about: "Bounds of what a client sends.",
    keys: &[
        size("request_line", 8 * KIB, 64, 64 * KIB, "Request line; longer ones get 414"),
        size("head", 32 * KIB, 512, 64 * KIB, "Request line and fields together; larger ones get 431"),
        count("fields", 100, 1, 1000, "Fields of a head; more get 431"),
        size("chunk_line", 256, 18, 4 * KIB, "Line with a chunk's size and extensions; longer ones get 400"),
        size("trailers", 8 * KIB, 0, 64 * KIB, "Trailer fields together; larger ones get 431"),
        count(
            "pipeline_depth",
            16,
            1,
            256,
            "Pipelined requests of one connection answered before other connections get their turn",
        ),
    ],
};

/// `[listener.timeouts]`.
pub static LISTENER_TIMEOUTS: Shape = Shape {
    title: "[listener.timeouts]",
    place: "in [listener.timeouts]",
    about: "",
    keys: &[
        tls::HANDSHAKE,
        time("header", 10 * SECOND, 1, HOUR, "From a request's first byte to the end of its head; then 408"),
        time("body", 30 * SECOND, 1, HOUR, "Between two reads of a request's body; then 408"),
        time(
            "write",
            30 * SECOND,
            1,
            HOUR,
            "Between two writes of an answer that make progress; then the connection is closed",
        ),
        time("keepalive", 75 * SECOND, 1, DAY, "Between two requests; then the connection is closed"),
        key(
            "min_body_rate",
            Kind::Rate(is(500, 1, GIB)),
            "Least average rate of a request's body after 10 s; slower ones get 408",
        ),
    ],
};

/// `[pool.NAME]`.
pub static POOL: Shape = Shape {
    title: "[pool.NAME]",
    place: "in [pool.NAME]",
    about: "",
    keys: &[
        other(
            "endpoints",
            "a list of endpoints",
            "[\"http://127.0.0.1:3000\"]",
            "Where requests go: `http://127.0.0.1:8000`, `https://127.0.0.1:8443`, `h2c://127.0.0.1:8000` (HTTP/2 without TLS), a name instead of the address (`http://app.internal:8000`: each of its addresses is an endpoint), a service by its SRV records (`srv+http://_http._tcp.app.internal`, `srv+https://`, `srv+h2c://`), `unix:/run/app.sock`, `unix:@abstract`, or a table with `address`, `weight` and `max_inflight`",
        ),
        balance::BALANCE_KEY,
        balance::SLOW_START_KEY,
        balance::STICKY_KEY,
        key(
            "protocol",
            Kind::Word(&["auto", "h1", "h2"]),
            "What endpoints are spoken to: HTTP/1.1, HTTP/2, or what TLS agrees on (without TLS: HTTP/1.1)",
        ),
        table("tls", &POOL_TLS, "TLS to `https://` endpoints"),
        tls::MAX_STREAMS,
        count("keepalive", 64, 0, 10_000, "Idle connections kept per shard and endpoint"),
        time("keepalive_idle", 55 * SECOND, 1, DAY, "An idle connection is closed after this"),
        time("keepalive_age", 10 * MINUTE, 1, 7 * DAY, "A connection is not reused past this age (each ±10 %)"),
        count("max_connections", 1024, 1, 1_000_000, "Open connections per endpoint, of all shards together"),
        count(
            "max_waiting",
            100,
            0,
            100_000,
            "Requests that may wait for a connection, per shard and endpoint; more get 503",
        ),
        time("wait_timeout", SECOND, 0, HOUR, "How long a request waits for a connection; then 503"),
        inflight::OF_POOL,
        inflight::QUEUE,
        inflight::QUEUE_TIMEOUT,
        inflight::ADAPTIVE_KEY,
        table("timeouts", &POOL_TIMEOUTS, "How slow an endpoint may be"),
        health::HEALTH_KEY,
        health::OUTLIER_KEY,
        health::PANIC_KEY,
    ],
};

/// An element of `endpoints` as a table.
pub static ENDPOINT: Shape = Shape {
    title: "[pool.NAME].endpoints",
    place: "in an endpoint",
    about: "An endpoint as a table.",
    keys: &[
        text("address", "address", "\"http://127.0.0.1:3000\"", "Where it listens"),
        count(
            "weight",
            1,
            1,
            1000,
            "Share relative to the other endpoints; of a name, the share of each of its addresses; a service's SRV records say it themselves",
        ),
        inflight::OF_ENDPOINT,
        inflight::QUEUE,
        inflight::QUEUE_TIMEOUT,
    ],
};

/// `[pool.NAME.timeouts]`.
pub static POOL_TIMEOUTS: Shape = Shape {
    title: "[pool.NAME.timeouts]",
    place: "in [pool.NAME.timeouts]",
    about: "Past any of these the client gets 504.",
    keys: &[
        time("connect", SECOND, 1, HOUR, "Until the connection stands"),
        time("tls", 3 * SECOND, 1, HOUR, "From then until the TLS handshake is done"),
        time("first_byte", 30 * SECOND, 1, DAY, "From the request's last byte to the answer's head"),
        time("body_idle", MINUTE, 1, DAY, "Between two reads of the answer's body"),
        key("total", Kind::Time(Bounds { default: Default::Off, min: 1, max: DAY }, true), "The whole exchange"),
        time("tunnel_idle", HOUR, 1, 7 * DAY, "An upgraded connection (WebSocket) without a byte either way"),
    ],
};

/// `[policy.NAME]`.
pub static POLICY: Shape = Shape {
    title: "[policy.NAME]",
    place: "in [policy.NAME]",
    about: "Routes without a policy have `[policy.default]` if there is one, and otherwise every key at its default.",
    keys: &[
        time_of_pool("timeout", true, DAY, "\"3s\"", "The whole exchange; short for `timeouts.total`"),
        table("timeouts", &POLICY_TIMEOUTS, "Replace the pool's, each on its own"),
        key("max_body", Kind::Size(is(10 * MIB, 0, 1024 * GIB), true), "Largest request body; larger ones get 413"),
        flag("access_log", true, "Write access-log lines for these routes"),
        flag("require_mtls", false, "Only clients with a certificate that was checked; others get 403"),
        flag(
            "client_cert_header",
            false,
            "Tell endpoints the client's certificate as `Client-Cert` (RFC 9440); a client's own field is never passed on",
        ),
        inflight::OF_POLICY,
        inflight::QUEUE,
        inflight::QUEUE_TIMEOUT,
        inflight::PRIORITY_KEY,
        retry::RETRY_KEY,
        retry::BREAKER_KEY,
        retry::HEDGE_KEY,
    ],
};

/// `[policy.NAME.timeouts]`.
pub static POLICY_TIMEOUTS: Shape = Shape {
    title: "[policy.NAME.timeouts]",
    place: "in [policy.NAME.timeouts]",
    about: "As in `[pool.NAME.timeouts]`; what is not given is the pool's.",
    keys: &[
        time_of_pool("connect", false, HOUR, "\"1s\"", "Until the connection stands"),
        time_of_pool("tls", false, HOUR, "\"3s\"", "From then until the TLS handshake is done"),
        time_of_pool("first_byte", false, DAY, "\"30s\"", "From the request's last byte to the answer's head"),
        time_of_pool("body_idle", false, DAY, "\"1m\"", "Between two reads of the answer's body"),
        time_of_pool("total", true, DAY, "\"off\"", "The whole exchange"),
        time_of_pool(
            "tunnel_idle",
            false,
            7 * DAY,
            "\"1h\"",
            "An upgraded connection (WebSocket) without a byte either way",
        ),
    ],
};

/// `[[route]]`.
pub static ROUTE: Shape = Shape {
    title: "[[route]]",
    place: "in [[route]]",
    about: "Exactly one of `pool`, `redirect` and `respond`. The most specific match wins, whatever the order in \
            the file: exact host before wildcard, regex and any; exact path before the longest prefix, and a prefix (even `/`) \
            before glob and regex.",
    keys: &[
        text(
            "id",
            "name",
            "\"api\"",
            "Label in logs and metrics; `route-1`, `route-2` … by place in the file unless given",
        ),
        key("priority", Kind::Signed(1_000_000), "Higher wins over every other rule of precedence"),
        other(
            "match",
            "a string (`\"example.com/api/\"`) or a table",
            "\"example.com/api/\"",
            "Which requests; all unless given. The string is a host, a path prefix, or both",
        ),
        text("pool", "name of a pool", "\"app\"", "Forward to this pool"),
        table("redirect", &REDIRECT, "Answer with a redirect"),
        table("respond", &RESPOND, "Answer with a fixed response"),
        text("policy", "name of a policy", "\"api\"", "Limits and timeouts; `default` unless given"),
        table("rewrite", &REWRITE, "Change the request's target before it is forwarded"),
        flag("allow_http", false, "Serve this without TLS too, where `https_redirect` would redirect"),
        flag("preserve_host", true, "Forward the client's `Host`; otherwise the endpoint's address"),
    ],
};

/// `match` as a table.
pub static MATCH: Shape = Shape {
    title: "[route.match]",
    place: "in [route.match]",
    about: "Every given key must hold; a list holds when one of its elements does, but `header`, `query` and `cookie` need all. At most one of the four `path` keys.",
    keys: &[
        texts(
            "host",
            "host",
            "[\"example.com\", \"*.example.com\"]",
            "Exact, `*.example.com`, `*`, or a regular expression `~^shop-[0-9]+[.]`; without port",
        ),
        text("path", "path", "\"/login\"", "The whole path"),
        text(
            "path_prefix",
            "path prefix",
            "\"/api\"",
            "Whole segments: `/api` matches `/api` and `/api/x`, not `/apix`",
        ),
        text(
            "path_glob",
            "path pattern",
            "\"/img/*.png\"",
            "`*` is one segment or a part of one, `**` is all that is left",
        ),
        text(
            "path_regex",
            "regular expression",
            "\"^/user/([0-9]+)$\"",
            "Anywhere in the path unless anchored; groups are `{1}` … in redirects",
        ),
        texts("method", "method", "[\"GET\", \"HEAD\"]", "Methods; GET includes HEAD"),
        other(
            "header",
            "a table of fields",
            "{ x-canary = \"1\" }",
            "Request fields: name = value, or `{ present = true }`, `{ exact = … }`, `{ prefix = … }`, `{ regex = … }`",
        ),
        other("query", "a table of parameters", "{ debug = { present = true } }", "Query parameters, as with `header`"),
        other("cookie", "a table of cookies", "{ beta = \"1\" }", "Cookies, as with `header`"),
        texts("client", "address or CIDR range", "[\"10.0.0.0/8\"]", "Client addresses"),
        Key {
            name: "tls",
            kind: Kind::Other("true or false"),
            default: "",
            example: "false",
            about: "Whether the request came over TLS",
        },
        other(
            "any",
            "a list of matches",
            "[{ method = \"PUT\" }, { header = { x-write = \"1\" } }]",
            "At least one of these",
        ),
        other("not", "a match", "{ path_prefix = \"/internal\" }", "None of this"),
    ],
};

/// The predicate on a field, parameter or cookie.
pub static FIELD: Shape = Shape {
    title: "[route.match].header, .query, .cookie",
    place: "in a condition on a field",
    about: "Exactly one of these; a plain string is `exact`.",
    keys: &[
        Key {
            name: "present",
            kind: Kind::Other("true"),
            default: "",
            example: "true",
            about: "It is there, whatever its value",
        },
        text("exact", "value", "\"1\"", "This value"),
        text("prefix", "prefix", "\"v2\"", "A value that begins so"),
        text("regex", "regular expression", "\"^v[0-9]+$\"", "A value in which this is found"),
    ],
};

/// `rewrite`.
pub static REWRITE: Shape = Shape {
    title: "[route.rewrite]",
    place: "in [route.rewrite]",
    about: "The path is changed in this order: `strip_prefix`, `regex` with `replace`, `add_prefix`.",
    keys: &[
        text("strip_prefix", "path prefix", "\"/api\"", "Taken off the path"),
        text("add_prefix", "path prefix", "\"/v1\"", "Put before the path"),
        text("regex", "regular expression", "\"^/old/(.*)$\"", "What `replace` replaces: the first match in the path"),
        text(
            "replace",
            "template",
            "\"/new/{1}\"",
            "The replacement, with `{1}` … for the groups of `regex`, and `{host}`",
        ),
        text(
            "host",
            "host",
            "\"app.internal\"",
            "The `Host` that is forwarded; may hold `{host}`, the client's without port",
        ),
        text("query", "query", "\"a=1\"", "Replaces the query; empty takes it off"),
    ],
};

/// `redirect`.
pub static REDIRECT: Shape = Shape {
    title: "[route.redirect]",
    place: "in [route.redirect]",
    about: "",
    keys: &[
        text(
            "to",
            "location",
            "\"https://{host}{path}{query}\"",
            "The `Location`, with `{scheme}` `{host}` `{path}` `{query}` and groups of `path_regex` as `{1}` …",
        ),
        count("status", 302, 300, 399, "301, 302, 303, 307 or 308"),
        flag(
            "append",
            false,
            "Append what follows the route's `path_prefix` in the path (without one: the path), and the query",
        ),
    ],
};

/// `respond`.
pub static RESPOND: Shape = Shape {
    title: "[route.respond]",
    place: "in [route.respond]",
    about: "",
    keys: &[
        count("status", 200, 200, 599, "Status code"),
        Key { name: "body", kind: Kind::Text("text"), default: "\"\"", example: "", about: "Body, at most 64 KiB" },
        text(
            "body_file",
            "path",
            "\"maintenance.html\"",
            "Instead of `body`: a file, at most 16 MiB; read with the configuration and kept in memory",
        ),
        text(
            "content_type",
            "media type",
            "\"text/html\"",
            "`Content-Type`; with a body `text/plain; charset=utf-8` unless given",
        ),
        other("headers", "a table of strings", "{ cache-control = \"no-store\" }", "Further fields"),
    ],
};

/// Every table, in the order of the manual.
pub static SHAPES: &[&Shape] = &[
    &TOP,
    &SERVER,
    &QUIC,
    &PROTECT,
    &RESOLVER,
    &LISTENER,
    &LISTENER_LIMITS,
    &LISTENER_TIMEOUTS,
    &LISTENER_TLS,
    &CERTIFICATE,
    &HTTP2,
    &HTTP3,
    &POOL,
    &ENDPOINT,
    &POOL_TIMEOUTS,
    &POOL_TLS,
    &BALANCE,
    &STICKY,
    &HEALTH,
    &OUTLIER,
    &ADAPTIVE,
    &POLICY,
    &POLICY_TIMEOUTS,
    &RETRY,
    &BREAKER,
    &HEDGE,
    &ROUTE,
    &MATCH,
    &FIELD,
    &REWRITE,
    &REDIRECT,
    &RESPOND,
];
