//! What a listener's configuration says of its QUIC connections: fixed for a connection when it is accepted.
use crate::{crypto::ServerCrypto, h3, keys::Shared, tokens::Log};
use quinn_proto::{
    IdleTimeout, MtuDiscoveryConfig, ServerConfig, TransportConfig, ValidationTokenConfig,
    congestion::{BbrConfig, ControllerFactory, CubicConfig, NewRenoConfig},
};
use std::{sync::Arc, time::Duration};

/// Unidirectional streams that a client may have open at a time: its control and QPACK streams, and some of types that
/// we do not know, which are stopped.
const UNI_STREAMS: u32 = 8;
/// How long a client may take to come back with the token of a Retry packet.
const RETRY_TOKEN_LIFETIME: Duration = Duration::from_secs(15);
/// How long a token is of use that a client was given for its next connections: the log of those that were used holds as
/// many as come in that time.
const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Requests that a client may have open before its handshake is done.
pub(crate) const STREAMS_AT_FIRST: u32 = 128;
/// Validation tokens that a client is given for its next connections.
const TOKENS: u32 = 2;
/// The smallest UDP payload that QUIC works with, bytes (RFC 9000 14).
const MTU_MIN: u16 = 1200;

/// How the sending rate is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Congestion {
    /// RFC 9438.
    #[default]
    Cubic,
    /// RFC 9002 7.
    NewReno,
    /// By bandwidth and round-trip time.
    Bbr,
}

/// Settings of the connections of one listener.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bounds of HTTP/3.
    pub h3: h3::Limits,
    /// Requests in progress on one connection.
    pub streams: u32,
    /// Body bytes of one request that wait, bytes.
    pub stream_window: u32,
    /// The same for all requests of a connection.
    pub connection_window: u32,
    /// Bytes of answers that are queued or not acknowledged, per connection.
    pub send_buffer: usize,
    /// Without a packet for so long, a connection is forgotten; at most 2^62 ms.
    pub idle_timeout: Duration,
    /// Without a request for so long, it is ended.
    pub keepalive: Duration,
    /// A head must be complete so long after its stream was opened.
    pub header_timeout: Duration,
    /// A handshake must be complete so long after its first packet.
    pub handshake_timeout: Duration,
    /// Behind a graceful end, what was sent must have arrived after so long.
    pub write_timeout: Duration,
    /// Half-open connections of this shard from which on clients must validate their address.
    pub retry_after: usize,
    /// Half-open connections of this shard beyond which new ones are refused.
    pub max_handshakes: usize,
    /// Whether a client may move.
    pub migration: bool,
    /// Whether larger packets are tried.
    pub mtu_discovery: bool,
    /// Largest UDP payload that is tried, bytes.
    pub max_udp_payload: u16,
    /// What a connection begins with, bytes.
    pub initial_mtu: u16,
    /// How the sending rate is found.
    pub congestion: Congestion,
}

/// The same, as quinn-proto takes it.
pub struct Policy {
    /// For the handshake, and what goes over the wire.
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) h3: h3::Limits,
    pub(crate) streams: u32,
    pub(crate) keepalive: Duration,
    pub(crate) header_timeout: Duration,
    pub(crate) handshake_timeout: Duration,
    pub(crate) write_timeout: Duration,
    /// A connection with requests under way sends something at least this often.
    pub(crate) ping_every: Duration,
    pub(crate) retry_after: usize,
    pub(crate) max_handshakes: usize,
}

impl Policy {
    /// Puts them together. `keys` and `tokens` are those of all shards.
    pub fn new(settings: &Settings, crypto: Arc<ServerCrypto>, keys: &Shared, tokens: &Arc<Log>) -> Policy {
        let mut server = ServerConfig::new(crypto, keys.token());
        let mut validation = ValidationTokenConfig::default();
        validation.log(tokens.clone()).lifetime(TOKEN_LIFETIME).sent(TOKENS);
        server
            .transport_config(Arc::new(transport(settings)))
            .migration(settings.migration)
            .retry_token_lifetime(RETRY_TOKEN_LIFETIME)
            .validation_token_config(validation);
        Policy {
            server: Arc::new(server),
            h3: settings.h3.clone(),
            streams: settings.streams,
            keepalive: settings.keepalive,
            header_timeout: settings.header_timeout,
            handshake_timeout: settings.handshake_timeout,
            write_timeout: settings.write_timeout,
            ping_every: (settings.idle_timeout / 3).max(Duration::from_millis(100)),
            retry_after: settings.retry_after,
            max_handshakes: settings.max_handshakes,
        }
    }
}

fn transport(settings: &Settings) -> TransportConfig {
    let congestion: Arc<dyn ControllerFactory + Send + Sync> = match settings.congestion {
        Congestion::Cubic => Arc::new(CubicConfig::default()),
        Congestion::NewReno => Arc::new(NewRenoConfig::default()),
        Congestion::Bbr => Arc::new(BbrConfig::default()),
    };
    let discovery = settings.mtu_discovery.then(|| {
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.upper_bound(settings.max_udp_payload);
        discovery
    });
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(settings.streams.min(STREAMS_AT_FIRST).into())
        .max_concurrent_uni_streams(UNI_STREAMS.into())
        .stream_receive_window(settings.stream_window.into())
        .receive_window(settings.connection_window.into())
        .send_window(settings.send_buffer as u64)
        .max_idle_timeout(IdleTimeout::try_from(settings.idle_timeout).ok())
        .min_mtu(MTU_MIN)
        .initial_mtu(settings.initial_mtu.max(MTU_MIN))
        .mtu_discovery_config(discovery)
        .congestion_controller_factory(congestion)
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(None);
    transport
}
