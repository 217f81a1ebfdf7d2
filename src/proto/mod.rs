//! Engines to and from `Exchange`: how each protocol's bytes become a request, and an answer bytes.
pub mod h1;
pub mod h2;
pub mod h3;
pub mod hop;
mod limits;
mod multiplexed;
mod patience;
pub mod websocket;
pub use limits::{Congestion, Http3Limits, QuicSockets, Steering};
pub use multiplexed::{Answer, Ended, Opening, Receive, Stream, StreamExchange};
pub use patience::Patience;

pub use edge_io::http2::Limits as Http2Limits;
use std::time::Duration;

/// One timeout for each phase on the client's side (FEATURES A1, A20).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientTimeouts {
    /// From an accepted connection to the end of its TLS handshake.
    pub handshake: Duration,
    /// From a request's first byte to the end of its head.
    pub header: Duration,
    /// Between two reads of a request body.
    pub body: Duration,
    /// Between two writes of an answer that make progress.
    pub write: Duration,
    /// Between two requests.
    pub keepalive: Duration,
    /// Least average rate of a request body after 10 s, bytes per second; 0 is no limit.
    pub min_body_rate: u64,
}
