//! The keys of retries, circuit breakers and hedging, with their defaults and bounds.
use super::{Bounds, DAY, Default, HOUR, KIB, Key, Kind, MIB, MINUTE, SECOND, Shape, count, key, percent, size, time};
use crate::upstream::breaker::PROBES_MAX;

/// `retry` of a policy.
pub(super) const RETRY_KEY: Key = Key {
    name: "retry",
    kind: Kind::Other("`\"off\"` or a table `[policy.NAME.retry]`"),
    default: "",
    example: "\"off\"",
    about: "How requests that failed are sent again; `off`: only where a kept connection turned out to be dead",
};
/// `breaker` of a policy.
pub(super) const BREAKER_KEY: Key = Key {
    name: "breaker",
    kind: Kind::Other("`true`, `false` or a table `[policy.NAME.breaker]`"),
    default: "false",
    example: "",
    about: "Refuse requests with 503 for a while when too many fail; `true` is the table with its defaults",
};
/// `hedge` of a policy.
pub(super) const HEDGE_KEY: Key = Key {
    name: "hedge",
    kind: Kind::Other("`\"off\"`, `\"p95\"`, a duration or a table `[policy.NAME.hedge]`"),
    default: "\"off\"",
    example: "",
    about: "Send a GET or HEAD without a body to a second endpoint when the first is slow, and take the answer that comes first; a word or a duration is short for `after`",
};

/// `[policy.NAME.retry]`.
pub static RETRY: Shape = Shape {
    title: "[policy.NAME.retry]",
    place: "in [policy.NAME.retry]",
    about: "A request is sent again when its method is idempotent (RFC 9110 9.2.2) or nothing of it was sent, when the \
            client has seen nothing of an answer, and while the budget lasts; another endpoint comes first.",
    keys: &[
        count("attempts", 2, 2, 10, "Attempts at most, the first among them"),
        Key {
            name: "on",
            kind: Kind::Texts("cause"),
            default: "[\"connect\", \"reset\", \"502\", \"503\", \"504\"]",
            example: "",
            about: "What is tried again: `connect` (nothing was sent), `reset` (the connection ended before the answer began), `timeout` (no answer in time), and statuses from `400` to `599`",
        },
        time(
            "backoff",
            25,
            0,
            MINUTE,
            "Wait before the second attempt, at random between half of this and all of it; each further one is twice as long",
        ),
        time("max_backoff", SECOND, 0, MINUTE, "Longest wait"),
        key(
            "per_try_timeout",
            Kind::Time(Bounds { default: Default::Off, min: 1, max: DAY }, true),
            "From the last byte of a request to the answer's head, for each attempt, if that is shorter than `first_byte`; `on` has `timeout` then",
        ),
        size(
            "replay",
            64 * KIB,
            0,
            16 * MIB,
            "Bytes of a request's body that are kept for another attempt; a longer body is sent once",
        ),
        percent("budget", 100, 0, 1000, "Retries per successes of the route, on all shards together"),
        count("budget_burst", 10, 0, 1_000_000, "Retries that are allowed besides"),
    ],
};

/// `[policy.NAME.breaker]`.
pub static BREAKER: Shape = Shape {
    title: "[policy.NAME.breaker]",
    place: "in [policy.NAME.breaker]",
    about: "For each route and its pool, on all shards together. Failures are answers from 500 on and failures of endpoints.",
    keys: &[
        percent("errors", 500, 1, 1000, "The circuit opens when this part of all requests in the window failed"),
        count("min_requests", 20, 1, 1_000_000, "Fewer requests in the window say nothing"),
        time("window", 10 * SECOND, SECOND, HOUR, "How far back failures count"),
        time("open", 30 * SECOND, 100, HOUR, "How long the circuit stays open; requests get 503 meanwhile"),
        count(
            "probes",
            5,
            1,
            PROBES_MAX as u64,
            "Requests that are let through then; when they are answered, the circuit closes, or opens again if too many of them failed",
        ),
    ],
};

/// `[policy.NAME.hedge]`.
pub static HEDGE: Shape = Shape {
    title: "[policy.NAME.hedge]",
    place: "in [policy.NAME.hedge]",
    about: "",
    keys: &[
        Key {
            name: "after",
            kind: Kind::Other("`\"p95\"` or a duration, 1ms to 1m"),
            default: "\"p95\"",
            example: "",
            about: "How long the first endpoint is waited for; `p95`: longer than 95 of 100 answers of the pool took lately to their first byte",
        },
        percent("budget", 50, 1, 1000, "Second attempts per successes of the route, on all shards together"),
    ],
};
