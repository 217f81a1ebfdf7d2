//! The keys of health checks, outlier detection and panic, with their defaults and bounds.
use super::{DAY, HOUR, Key, Kind, MINUTE, SECOND, Shape, count, is, key, other, percent, text, time};

/// `health` of a pool.
pub(super) const HEALTH_KEY: Key = other(
    "health",
    "`\"off\"`, a path such as `\"/healthz\"`, or a table `[pool.NAME.health]`",
    "\"/healthz\"",
    "Ask each endpoint now and then whether it is well, whatever requests show; off unless given",
);

/// `outlier` of a pool.
pub(super) const OUTLIER_KEY: Key = other(
    "outlier",
    "`\"off\"` or a table `[pool.NAME.outlier]`",
    "\"off\"",
    "Leave endpoints out for a while that fail, or are slow, where the others are not; on unless `\"off\"`",
);

/// `panic` of a pool.
pub(super) const PANIC_KEY: Key = key(
    "panic",
    Kind::Word(&["trickle", "spread"]),
    "While no endpoint may be used: let one request a second through and refuse the others (503), or send all as if \
     every endpoint were well",
);

/// `[pool.NAME.health]`.
pub static HEALTH: Shape = Shape {
    title: "[pool.NAME.health]",
    place: "in [pool.NAME.health]",
    about: "One probe per endpoint and interval, whatever the number of shards, by the pool's `tls` and `protocol`. An endpoint \
            that was never asked may be used. A reload keeps what is known, and when the next probe is due.",
    keys: &[
        key(
            "kind",
            Kind::Word(&["http", "tcp", "grpc"]),
            "What is asked: a request, a connection (with TLS for `https://`), or `grpc.health.v1` (HTTP/2)",
        ),
        Key {
            name: "path",
            kind: Kind::Text("path, maybe with a query"),
            default: "\"/healthz\"",
            example: "",
            about: "What `http` asks for",
        },
        key("method", Kind::Word(&["GET", "HEAD", "OPTIONS"]), "How `http` asks for it"),
        Key {
            name: "status",
            kind: Kind::Texts("status or range of them"),
            default: "\"200-399\"",
            example: "",
            about: "Answers of `http` that mean well: `\"200\"`, `\"200-399\"`, `[\"200-299\", \"404\"]`",
        },
        text(
            "host",
            "authority",
            "\"app.internal\"",
            "`Host` of `http` and `grpc`; the endpoint's address unless given",
        ),
        text(
            "service",
            "name",
            "\"app.v1.Orders\"",
            "Service that `grpc` asks for; the server as a whole unless given",
        ),
        time("interval", 5 * SECOND, 100, HOUR, "Between two probes of an endpoint, ±10 %"),
        time("timeout", SECOND, 10, MINUTE, "How long a probe may take in all"),
        count("healthy", 2, 1, 100, "Successes in a row that bring an endpoint back"),
        count("unhealthy", 3, 1, 100, "Failures in a row that take it out"),
    ],
};

/// `[pool.NAME.outlier]`.
pub static OUTLIER: Shape = Shape {
    title: "[pool.NAME.outlier]",
    place: "in [pool.NAME.outlier]",
    about: "What counts as a failure: 5xx answers, and attempts without an answer (`connect`, TLS, a reset, a timeout), of all \
            shards together. A pool with one endpoint leaves nobody out.",
    keys: &[
        count("consecutive", 5, 0, 10_000, "Failures in a row; 0 = not looked at"),
        percent("error_share", 500, 0, 1000, "Failures among the answers of `window`; `\"0%\"` = not looked at"),
        count("min_requests", 20, 1, 1_000_000, "Fewer answers than this tell nothing"),
        time("window", 30 * SECOND, SECOND, HOUR, "What `error_share` looks back on"),
        count(
            "latency_factor",
            3,
            0,
            1000,
            "How many times the others' median time to the first byte an endpoint's may be, in three thirds of `window` \
             in a row (and at least 5 ms more); 0 = not looked at",
        ),
        time(
            "ejection",
            30 * SECOND,
            100,
            DAY,
            "How long an endpoint is left out first; each further time twice as long",
        ),
        time("ejection_max", 10 * MINUTE, 100, DAY, "But no longer than this"),
        key(
            "max_ejected",
            Kind::Percent(is(500, 0, 1000)),
            "How many endpoints of the pool may be out, rounded down; unhealthy ones count",
        ),
    ],
};
