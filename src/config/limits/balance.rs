//! The keys of balancing, slow start and sticky sessions, with their defaults and bounds.
use super::{DAY, HOUR, Key, Kind, SECOND, Shape, is, key, other, text, time};

/// The words that `balance` takes; the first is its default.
pub const BALANCE_WORDS: [&str; 5] = ["p2c", "round_robin", "random", "least_conn", "first"];

/// `balance` of a pool.
pub(super) const BALANCE_KEY: Key = Key {
    name: "balance",
    kind: Kind::Other(
        "`\"p2c\"`, `\"round_robin\"`, `\"random\"`, `\"least_conn\"`, `\"first\"`, or a table `[pool.NAME.balance]` with `hash`",
    ),
    default: "\"p2c\"",
    example: "",
    about: "How an endpoint is chosen: the better of two random ones by requests in flight and latency, in turn, by chance, the one \
            with the fewest requests in flight, the first that is in use, or by hash; all but `first` by weight. Of more than 64 \
            endpoints each shard uses a part (all shards together use all), and more when none of its part is in use; `first` and \
            hashes always mean all",
};

/// `slow_start` of a pool.
pub(super) const SLOW_START_KEY: Key = key(
    "slow_start",
    Kind::Time(is(30 * SECOND, 0, HOUR), true),
    "An endpoint that is new or came back gets a tenth of its weight at first, and all of it after this",
);

/// `sticky` of a pool.
pub(super) const STICKY_KEY: Key = super::table(
    "sticky",
    &STICKY,
    "Keep each client at its endpoint with a cookie, as long as that is in use; off unless given",
);

/// `[pool.NAME.balance]`.
pub static BALANCE: Shape = Shape {
    title: "[pool.NAME.balance]",
    place: "in [pool.NAME.balance]",
    about: "By hash (Maglev): requests with the same key go to the same endpoint, from every shard and every edge with the same \
            endpoints. One that has more than 5/4 of its part in flight, and at least 8 requests on a shard, gives further ones to the \
            next in the key's row. Requests without a key are balanced as with `p2c`.",
    keys: &[text(
        "hash",
        "`client_ip`, `path`, `header:NAME` or `cookie:NAME`",
        "\"client_ip\"",
        "What is hashed: the client's address, the path without query, the first header or cookie of a name",
    )],
};

/// `[pool.NAME.sticky]`.
pub static STICKY: Shape = Shape {
    title: "[pool.NAME.sticky]",
    place: "in [pool.NAME.sticky]",
    about: "The cookie is signed, and tells nobody an address. It has `HttpOnly`, `SameSite=Lax`, and over TLS `Secure`; it is made anew when \
            half of its time is over, and when its endpoint is gone or out of use and another one answered. Requests of clients that have one \
            are not hedged.",
    keys: &[
        Key {
            name: "cookie",
            kind: Kind::Text("name of a cookie"),
            default: "\"edge_sticky\"",
            example: "",
            about: "Its name",
        },
        time("ttl", HOUR, SECOND, 30 * DAY, "How long it is good"),
        other(
            "secret",
            "`file:PATH` or `env:NAME`",
            "\"file:/etc/edge/sticky.key\"",
            "What it is signed with, at least 32 bytes, the same on edges that share clients; by chance unless given, and then \
             kept until the edge ends",
        ),
    ],
};
