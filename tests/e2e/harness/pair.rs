//! Which protocols a test runs over: a downstream and an upstream one.
//!
//! HTTP/3 is a downstream protocol like the others; where a group leaves it out, that is because of what the group is about:
//! the bytes of HTTP/1.1 (`from_h1`, `h1_to_h2`), an origin's protocol that no client's changes (`each_upstream`), or what is
//! said of HTTP/3 to others (`over_tls_and_tcp`). One test is about listeners without TLS, which HTTP/3 does not have, and
//! says so. What only HTTP/3 has is in `http3.rs` and `http3_listeners.rs`.
use super::Driver;
use std::fmt;

/// What a client and the edge, or the edge and an origin, speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    H1,
    /// HTTP/1.1 over TLS.
    H1Tls,
    /// HTTP/2 over TLS.
    H2,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
    /// HTTP/3; downstream only.
    H3,
}

impl Protocol {
    /// All that origins speak. Another protocol is another entry here, and no new test.
    pub const UP: [Protocol; 4] = [Protocol::H1, Protocol::H1Tls, Protocol::H2, Protocol::H2c];
    /// All that clients speak.
    pub const DOWN: [Protocol; 5] = [Protocol::H1, Protocol::H1Tls, Protocol::H2, Protocol::H2c, Protocol::H3];

    /// Whether it runs over TLS.
    pub fn tls(self) -> bool {
        matches!(self, Protocol::H1Tls | Protocol::H2 | Protocol::H3)
    }

    /// Whether it is HTTP/2.
    pub fn http2(self) -> bool {
        matches!(self, Protocol::H2 | Protocol::H2c)
    }

    /// Whether one connection carries many exchanges at once, each on a stream.
    pub fn multiplexed(self) -> bool {
        self.http2() || self == Protocol::H3
    }

    /// The scheme of its URIs.
    pub fn scheme(self) -> &'static str {
        if self.tls() { "https" } else { "http" }
    }

    /// Its ALPN name.
    pub fn alpn(self) -> &'static str {
        match self {
            Protocol::H1 | Protocol::H1Tls => "http/1.1",
            Protocol::H2 | Protocol::H2c => "h2",
            Protocol::H3 => "h3",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::H1 => "h1",
            Protocol::H1Tls => "h1tls",
            Protocol::H2 => "h2",
            Protocol::H2c => "h2c",
            Protocol::H3 => "h3",
        })
    }
}

/// Where a test runs.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// The edge's I/O driver.
    pub driver: Driver,
    /// Between client and edge.
    pub down: Protocol,
    /// Between edge and origin.
    pub up: Protocol,
}

impl Pair {
    /// Every pair on the first driver; the second driver, which does not know what it carries, only on the diagonal.
    pub fn each_pair() -> Vec<Pair> {
        let on = |driver, down, up| Pair { driver, down, up };
        let first = Protocol::DOWN.into_iter().flat_map(|d| Protocol::UP.map(|u| on(Driver::IoUring, d, u)));
        let second = Protocol::UP.map(|p| on(Driver::Epoll, p, p));
        first.chain(second).chain([on(Driver::Epoll, Protocol::H3, Protocol::H2)]).collect()
    }

    fn pairs_where(fits: fn(&Pair) -> bool) -> Vec<Pair> {
        Pair::each_pair().into_iter().filter(fits).collect()
    }

    /// Those whose clients speak HTTP/1.1.
    pub fn from_h1() -> Vec<Pair> {
        Pair::pairs_where(|p| !p.down.multiplexed())
    }

    /// Those whose clients send each request on a stream: HTTP/2 and HTTP/3.
    pub fn from_streams() -> Vec<Pair> {
        Pair::pairs_where(|p| p.down.multiplexed())
    }

    /// Those whose origins speak HTTP/1.1.
    pub fn to_h1() -> Vec<Pair> {
        Pair::pairs_where(|p| !p.up.http2())
    }

    /// Those whose origins speak HTTP/2.
    pub fn to_h2() -> Vec<Pair> {
        Pair::pairs_where(|p| p.up.http2())
    }

    /// Clients of HTTP/1.1 before origins of HTTP/2.
    pub fn h1_to_h2() -> Vec<Pair> {
        Pair::pairs_where(|p| !p.down.multiplexed() && p.up.http2())
    }

    /// Those whose clients speak HTTP/3.
    pub fn from_http3() -> Vec<Pair> {
        Pair::pairs_where(|p| p.down == Protocol::H3)
    }

    /// Streams on both sides.
    pub fn streams_both_sides() -> Vec<Pair> {
        Pair::pairs_where(|p| p.down.multiplexed() && p.up.http2())
    }

    /// Those whose clients use TLS, over HTTP/1.1 to the origin.
    pub fn over_tls() -> Vec<Pair> {
        Pair::pairs_where(|p| p.down.tls() && p.up == Protocol::H1)
    }

    /// Those whose clients use TLS over TCP, over HTTP/1.1 to the origin.
    pub fn over_tls_and_tcp() -> Vec<Pair> {
        Pair::over_tls().into_iter().filter(|p| p.down != Protocol::H3).collect()
    }

    /// Those whose origins use TLS, under what needs no TLS to the client, and HTTP/3.
    pub fn to_tls() -> Vec<Pair> {
        Pair::pairs_where(|p| p.up.tls() && (!p.down.tls() || p.down == Protocol::H3))
    }

    /// Each downstream protocol, over HTTP/1.1 to the origin: for tests that no origin takes part in, or whose origin's
    /// protocol means nothing.
    pub fn each_downstream() -> Vec<Pair> {
        Pair::pairs_where(|p| p.up == Protocol::H1)
            .into_iter()
            .chain([Protocol::H2, Protocol::H3].map(|down| Pair { driver: Driver::Epoll, down, up: Protocol::H1 }))
            .collect()
    }

    /// Each upstream protocol, under HTTP/1.1 to the client.
    pub fn each_upstream() -> Vec<Pair> {
        Pair::pairs_where(|p| p.down == Protocol::H1)
            .into_iter()
            .chain([Pair { driver: Driver::Epoll, down: Protocol::H1, up: Protocol::H2 }])
            .collect()
    }

    /// Each protocol on both sides, for tests too heavy for every pair.
    pub fn some_pairs() -> Vec<Pair> {
        use Protocol::{H1, H1Tls, H2, H2c, H3};
        let on = |driver| move |(down, up)| Pair { driver, down, up };
        let first = [(H1, H1), (H1, H2c), (H1Tls, H1Tls), (H2, H1), (H2, H2), (H2c, H2c), (H3, H1), (H3, H2)]
            .map(on(Driver::IoUring));
        first.into_iter().chain([(H1, H1), (H2, H2c), (H3, H1)].map(on(Driver::Epoll))).collect()
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}::{}", self.down, self.up, self.driver)
    }
}
