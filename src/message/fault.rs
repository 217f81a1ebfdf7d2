//! What went wrong, on which side, and whether it may be retried. The closed set of failure categories.

/// Why a request failed. The same word stands in the access log, the metric, the error body and `Proxy-Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Category {
    /// No route matches host and path (404).
    NoRoute,
    /// A route matches host and path, but not the method (405).
    MethodNotAllowed,
    /// The client sent a message that breaks the protocol (400, or the status the engine names).
    BadRequest,
    /// The request head or line is larger than the limit (431 or 414).
    HeadTooLarge,
    /// The request body is larger than the limit (413).
    BodyTooLarge,
    /// The client did not finish its request head in time (408).
    RequestTimeout,
    /// The client stopped sending its body, or sent too slowly (408).
    BodyTimeout,
    /// The client stopped reading the answer, or read too slowly.
    WriteTimeout,
    /// The client went away before the answer was complete (logged as 499).
    ClientAbort,
    /// No connection to the endpoint could be made (502).
    UpstreamConnectFailed,
    /// The endpoint did not connect, answer or continue in time (504).
    UpstreamTimeout,
    /// The endpoint closed or reset the connection before the answer was complete (502).
    UpstreamReset,
    /// The TLS handshake with the endpoint failed (502).
    UpstreamTls,
    /// The endpoint sent a message that breaks the protocol (502).
    UpstreamProtocol,
    /// The pool has no endpoint that may be used (503).
    NoHealthyEndpoint,
    /// The circuit breaker is open (503).
    CircuitOpen,
    /// A limit on concurrency or connections is reached (503).
    Overloaded,
    /// The rate limit is reached (429).
    RateLimited,
    /// Credentials are missing or wrong (401).
    Unauthorized,
    /// The client may not do this (403).
    Forbidden,
    /// The route wants a client certificate, and the client showed none (403).
    MtlsRequired,
    /// The connection's certificate is not for this host (421).
    Misdirected,
    /// The request came in TLS early data, which its method does not allow (425, RFC 8470).
    TooEarly,
    /// The edge is shutting down (503).
    Draining,
    /// A bug in the edge: the request's task panicked (500).
    Panic,
}

impl Category {
    /// Every category, in the order of their discriminants: the index of a counter table.
    pub const ALL: [Category; 25] = [
        Category::NoRoute,
        Category::MethodNotAllowed,
        Category::BadRequest,
        Category::HeadTooLarge,
        Category::BodyTooLarge,
        Category::RequestTimeout,
        Category::BodyTimeout,
        Category::WriteTimeout,
        Category::ClientAbort,
        Category::UpstreamConnectFailed,
        Category::UpstreamTimeout,
        Category::UpstreamReset,
        Category::UpstreamTls,
        Category::UpstreamProtocol,
        Category::NoHealthyEndpoint,
        Category::CircuitOpen,
        Category::Overloaded,
        Category::RateLimited,
        Category::Unauthorized,
        Category::Forbidden,
        Category::MtlsRequired,
        Category::Misdirected,
        Category::TooEarly,
        Category::Draining,
        Category::Panic,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Category::NoRoute => "no_route",
            Category::MethodNotAllowed => "method_not_allowed",
            Category::BadRequest => "bad_request",
            Category::HeadTooLarge => "head_too_large",
            Category::BodyTooLarge => "body_too_large",
            Category::RequestTimeout => "request_timeout",
            Category::BodyTimeout => "body_timeout",
            Category::WriteTimeout => "write_timeout",
            Category::ClientAbort => "client_abort",
            Category::UpstreamConnectFailed => "upstream_connect_failed",
            Category::UpstreamTimeout => "upstream_timeout",
            Category::UpstreamReset => "upstream_reset",
            Category::UpstreamTls => "upstream_tls",
            Category::UpstreamProtocol => "upstream_protocol",
            Category::NoHealthyEndpoint => "no_healthy_endpoint",
            Category::CircuitOpen => "circuit_open",
            Category::Overloaded => "overloaded",
            Category::RateLimited => "rate_limited",
            Category::Unauthorized => "unauthorized",
            Category::Forbidden => "forbidden",
            Category::MtlsRequired => "mtls_required",
            Category::Misdirected => "misdirected",
            Category::TooEarly => "too_early",
            Category::Draining => "draining",
            Category::Panic => "panic",
        }
    }

    /// The status a client sees for it, unless the fault names another.
    pub const fn status(self) -> u16 {
        match self {
            Category::NoRoute => 404,
            Category::MethodNotAllowed => 405,
            Category::BadRequest => 400,
            Category::HeadTooLarge => 431,
            Category::BodyTooLarge => 413,
            Category::RequestTimeout | Category::BodyTimeout => 408,
            Category::WriteTimeout | Category::ClientAbort => 499,
            Category::UpstreamConnectFailed
            | Category::UpstreamReset
            | Category::UpstreamTls
            | Category::UpstreamProtocol => 502,
            Category::UpstreamTimeout => 504,
            Category::NoHealthyEndpoint | Category::CircuitOpen | Category::Overloaded | Category::Draining => 503,
            Category::RateLimited => 429,
            Category::Unauthorized => 401,
            Category::Forbidden | Category::MtlsRequired => 403,
            Category::Misdirected => 421,
            Category::TooEarly => 425,
            Category::Panic => 500,
        }
    }
}

/// Whose doing a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client's.
    Downstream,
    /// The edge's own.
    Edge,
    /// The endpoint's.
    Upstream,
}

/// One failure: category, whose, the status to answer with, what exactly, and whether another attempt is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The closed-set word.
    pub category: Category,
    /// Whose doing it is.
    pub side: Side,
    /// The status to answer with.
    pub status: u16,
    /// What exactly, in a few words for the log; never from the wire.
    pub detail: &'static str,
    /// Whether nothing of the request can have been processed, so that sending it again is safe whatever its method.
    pub unsent: bool,
}

impl Fault {
    /// A fault with its category's own status.
    pub const fn new(category: Category, side: Side, detail: &'static str) -> Fault {
        Fault { category, side, status: category.status(), detail, unsent: false }
    }

    /// The same with another status (what an engine names: 414, 501, 505 …).
    pub const fn with_status(self, status: u16) -> Fault {
        Fault { status, ..self }
    }

    /// The same, marked as provably not processed by the endpoint.
    pub const fn unsent(self) -> Fault {
        Fault { unsent: true, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_in_discriminant_order_and_words_are_unique() {
        let mut words = std::collections::HashSet::new();
        for (i, c) in Category::ALL.into_iter().enumerate() {
            assert_eq!(c as usize, i);
            assert!(words.insert(c.as_str()), "{} twice", c.as_str());
            assert!((400..=504).contains(&c.status()));
        }
    }
}
