//! The keys of limits on requests in flight, and of how shards protect themselves, with their defaults and bounds.
use super::{Bounds, Default, HOUR, Key, Kind, SECOND, Shape, count, is, key, percent, time};

/// Most requests in flight that a limit may allow.
pub const INFLIGHT_MAX: u64 = 1_000_000;

const fn max_inflight(about: &'static str) -> Key {
    key("max_inflight", Kind::Count(Bounds { default: Default::Off, min: 1, max: INFLIGHT_MAX }, Some("off")), about)
}

/// `max_inflight` of a pool.
pub(super) const OF_POOL: Key =
    max_inflight("Requests in flight to the pool, of all shards together; others wait in `queue`, then get 503");
/// `max_inflight` of an endpoint.
pub(super) const OF_ENDPOINT: Key =
    max_inflight("Requests in flight to the endpoint, of all shards together; others wait in `queue`, then get 503");
/// `max_inflight` of a policy.
pub(super) const OF_POLICY: Key = max_inflight(
    "Requests in flight of each route with this policy, of all shards together; others wait in `queue`, then get 503",
);
/// How many wait.
pub(super) const QUEUE: Key = count(
    "queue",
    100,
    0,
    INFLIGHT_MAX,
    "Requests that may wait where `max_inflight` is reached, of all shards together",
);
/// How long they wait.
pub(super) const QUEUE_TIMEOUT: Key =
    time("queue_timeout", SECOND, 0, HOUR, "How long a request waits there; then it gets 503");

/// `adaptive` of a pool.
pub(super) const ADAPTIVE_KEY: Key = Key {
    name: "adaptive",
    kind: Kind::Other("`true`, `false` or a table `[pool.NAME.adaptive]`"),
    default: "false",
    example: "",
    about: "Find by measuring how many requests the pool takes at a time before they queue there, and limit them to that; `max_inflight`, if it is set, is the most",
};

/// `priority` of a policy.
pub(super) const PRIORITY_KEY: Key = key(
    "priority",
    Kind::Word(&["normal", "critical", "bulk"]),
    "In every queue `critical` goes first and `bulk` last; a shard that cannot keep up refuses `bulk`, then `normal`, never `critical`",
);

/// `[pool.NAME.adaptive]`.
pub static ADAPTIVE: Shape = Shape {
    title: "[pool.NAME.adaptive]",
    place: "in [pool.NAME.adaptive]",
    about: "The limit follows the time to the first byte: it grows while that is as short as it is without a queue, and shrinks as it \
            becomes longer. Others wait in the pool's `queue`. Reloads keep the limit that was found.",
    keys: &[
        count("min", 4, 1, INFLIGHT_MAX, "The limit never goes below this"),
        count("max", 1000, 1, INFLIGHT_MAX, "Nor above this"),
        time(
            "probe_every",
            30 * SECOND,
            SECOND,
            HOUR,
            "The limit goes down to a quarter for a moment this often (10 % sooner or later), to measure without a queue",
        ),
    ],
};

/// `[server.protect]`.
pub static PROTECT: Shape = Shape {
    title: "[server.protect]",
    place: "in [server.protect]",
    about: "A shard that cannot keep up accepts no connections for a while and answers requests with 503, `bulk` before `normal`. \
            Requests of policies with `priority = \"critical\"` and the admin API are never refused for this.",
    keys: &[
        key(
            "lag",
            Kind::Time(is(50, 5, 10 * SECOND), true),
            "A turn of the shard's loop that takes longer is a sign; if that lasts 0.2 s, or one takes ten times this, it costs \
             `normal` requests too",
        ),
        percent(
            "memory",
            900,
            100,
            1000,
            "Resident memory above this share of the cgroup's limit (without one: of the machine's memory) is the other; \
             `\"100%\"` is never",
        ),
    ],
};
