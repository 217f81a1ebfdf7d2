//! The keys of looking up names, with their defaults and bounds.
use super::{DAY, HOUR, Key, Kind, MINUTE, SECOND, Shape, time};

/// Most different names of endpoints in one configuration.
pub const NAMES_MAX: usize = 1000;

/// `server.resolver`.
pub static RESOLVER: Shape = Shape {
    title: "[server.resolver]",
    place: "in [server.resolver]",
    about: "How names of endpoints are looked up. `/etc/hosts` comes first: a name that stands there is not asked for. At most \
            1,000 different names are looked up, and at most 64 addresses of each are used.",
    keys: &[
        Key {
            name: "servers",
            kind: Kind::Texts("address"),
            default: "[]",
            example: "",
            about: "Name servers, `127.0.0.1:5353` (port 53 unless given), which are asked for names as they stand; unless \
                    given, those of `/etc/resolv.conf` with its search list",
        },
        time("ttl_min", 5 * SECOND, 100, HOUR, "An answer holds at least this long, whatever its TTL"),
        time("ttl_max", 5 * MINUTE, 100, DAY, "An answer holds at most this long"),
        time("timeout", 2 * SECOND, 10, MINUTE, "For an answer of a server; it is asked twice"),
    ],
};
