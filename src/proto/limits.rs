//! What the configuration says of HTTP/3 and QUIC: bounds of a connection, and the node's UDP sockets.
pub use edge_quic::{Congestion, group::Wanted as Steering};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

/// Bounds and settings of a listener's HTTP/3 connections (RFC 9000, RFC 9114, RFC 9204).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http3Limits {
    /// Requests in progress on one connection: bidirectional streams that the client may have open.
    pub streams: u32,
    /// Bytes of one request's body that may wait to be forwarded (RFC 9000 4.1).
    pub stream_window: u32,
    /// The same for all requests of a connection.
    pub connection_window: u32,
    /// Bytes of answers that one connection holds, queued or not acknowledged yet.
    pub send_buffer: usize,
    /// Without a packet for so long, the connection is forgotten (RFC 9000 10.1).
    pub idle_timeout: Duration,
    /// Largest head, bytes.
    pub head_bytes: usize,
    /// Most fields of a head.
    pub fields: usize,
    /// Bytes of the QPACK table that is offered (RFC 9204 3.2.3).
    pub table_bytes: u32,
    /// Streams that may wait for table entries (RFC 9204 2.1.2).
    pub blocked_streams: u32,
    /// Streams that a client resets or gets reset in 10 s.
    pub resets: u32,
    /// Frames in 1 s that carry nothing of a message.
    pub control_frames: u32,
    /// Bytes of incomplete and blocked heads of one connection.
    pub memory_bytes: usize,
    /// Whether WebSocket over HTTP/3 is taken (RFC 9220).
    pub connect_protocol: bool,
    /// Whether requests are taken from the first flight of a resumed connection (RFC 8470).
    pub early_data: bool,
    /// Half-open connections of the node from which on a client must show that its address is its own (RFC 9000
    /// 8.1.2); 0 = always.
    pub retry_after: usize,
    /// Half-open connections of the node beyond which new ones are refused.
    pub max_handshakes: usize,
    /// Whether a client may go on from another address (RFC 9000 9).
    pub migration: bool,
    /// Whether larger packets are tried where the path may take them (RFC 8899).
    pub mtu_discovery: bool,
    /// Largest UDP payload, bytes: what is taken, and where discovery ends.
    pub max_udp_payload: u16,
    /// UDP payload that a connection begins with, bytes; at most `max_udp_payload`.
    pub initial_mtu: u16,
    /// After so long a connection gets new connection ids; `None` = never.
    pub cid_lifetime: Option<Duration>,
    /// How the sending rate is found.
    pub congestion: Congestion,
    /// For how long clients may remember from `Alt-Svc` that HTTP/3 is spoken (RFC 7838 3.1); `None` = it is not said.
    pub alt_svc_max_age: Option<Duration>,
}

impl Http3Limits {
    /// Stands for what a client is granted by transport parameters and SETTINGS, within one process: it may rely on that
    /// in early data (RFC 9000 7.4.1, RFC 9114 7.2.4.2).
    pub fn granted(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.streams, self.stream_window, self.connection_window, self.idle_timeout).hash(&mut hasher);
        (self.migration, self.max_udp_payload).hash(&mut hasher);
        (self.head_bytes, self.table_bytes, self.blocked_streams, self.connect_protocol).hash(&mut hasher);
        hasher.finish()
    }
}

/// The node's UDP sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuicSockets {
    /// How packets come to the shard that has their connection.
    pub steering: Steering,
    /// Kernel memory for packets that wait to be read, bytes per socket.
    pub receive_buffer: usize,
    /// Kernel memory for packets that wait to be sent, bytes per socket.
    pub send_buffer: usize,
    /// Packets that one shard may have under way to another one; more are dropped.
    pub forward_queue: usize,
}
