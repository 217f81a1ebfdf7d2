//! Engines to and from `Exchange`: how each protocol's bytes become a request, and an answer bytes.
pub mod h1;
pub mod hop;
pub mod websocket;

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

/// Bounds of an HTTP/2 connection with a client. Their defaults are the configuration's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2Limits {
    /// Requests in progress (`SETTINGS_MAX_CONCURRENT_STREAMS`).
    pub streams: u32,
    /// Receive window of a stream, bytes.
    pub stream_window: u32,
    /// Receive window of the connection, bytes.
    pub connection_window: u32,
    /// A request's fields, bytes, each with 32 more (RFC 9113 6.5.2).
    pub head_bytes: usize,
    /// Fields of a request; each piece of a cookie counts.
    pub fields: usize,
    /// Largest frame that is taken, bytes.
    pub frame_bytes: u32,
    /// Dynamic table of either direction, bytes (RFC 7541 4.2).
    pub table_bytes: u32,
    /// Heads of open streams, fragments and unsent frames, bytes.
    pub memory_bytes: usize,
    /// Queued answers, bytes; above it endpoints have to wait.
    pub out_bytes: usize,
    /// Unsent replies to control frames, bytes.
    pub control_out_bytes: usize,
    /// Streams that the client resets or gets reset, per 10 s.
    pub resets: u32,
    /// Frames that carry nothing, per second.
    pub control_frames: u32,
    /// CONTINUATION frames of one head.
    pub continuations: u32,
    /// Whether extended CONNECT (RFC 8441) is advertised.
    pub connect_protocol: bool,
}
