//! QUIC and HTTP/3 in the client's role, on a shard: connections that ask as much as they can.
//!
//! One task drives a connection. It calls [`Connection::turn`], which reads all that has come and tells every answer's
//! events; opens what requests it likes; and calls [`Connection::flush`], which sends all that there is to send in as few
//! messages as possible. There is no task, no waker and no lock for a request.
//!
//! Each connection has a socket of its own, and so a port, and an endpoint of quinn-proto's for itself: no connection id is
//! needed to tell its packets from others', and it chooses empty ones (RFC 9000, section 5.1).
mod answers;
mod basket;
mod connection;
mod control;
mod ending;
mod request;
mod sending;
mod streams;
mod tokens;
mod wire;

pub use connection::{Connection, Event, Failure};
pub use ending::Lost;
pub use request::Prepared;
pub use streams::Place;

use crate::{crypto, crypto::ClientCrypto, h3, keys};
use basket::Basket;
use edge_io::{head::Head, reactor::Reactor, timer::Timers};
use quinn_proto::{
    ClientConfig, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, NoneTokenStore, RandomConnectionIdGenerator,
    TransportConfig,
};
use std::{cell::RefCell, io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};
use tokens::Tokens;

/// The smallest UDP payload that QUIC works with, bytes (RFC 9000, section 14).
const MTU_MIN: u16 = 1200;
/// Unidirectional streams that a server may have open at a time: its control and QPACK streams, and some of types that we
/// do not know, which are stopped.
const UNI_STREAMS: u32 = 8;

/// Settings of a shard's client connections.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bounds of HTTP/3. Those of resets and control frames are there against a server that means harm.
    pub h3: h3::Limits,
    /// Bytes of one answer that may be under way.
    pub stream_window: u32,
    /// The same of all answers of a connection.
    pub connection_window: u32,
    /// Without a packet for so long, a connection is given up; at most 2^62 ms.
    pub idle_timeout: Duration,
    /// A connection on which nothing happens sends something so often.
    pub keepalive: Duration,
    /// Whether tokens that servers give for next connections are used.
    pub tokens: bool,
    /// Largest UDP payload that is tried and taken, bytes.
    pub max_udp_payload: u16,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            // Without a table of QPACK's there is less to do for each answer, on both sides.
            h3: h3::Limits {
                table_bytes: 0,
                blocked_streams: 0,
                resets: u32::MAX,
                keep_fields: false,
                ..h3::Limits::default()
            },
            stream_window: 4 << 20,
            connection_window: 16 << 20,
            idle_timeout: Duration::from_secs(30),
            keepalive: Duration::from_secs(5),
            tokens: true,
            max_udp_payload: 1472,
        }
    }
}

/// What the client connections of a shard share.
pub struct Client {
    reactor: Rc<Reactor>,
    timers: Rc<Timers>,
    endpoint: Arc<EndpointConfig>,
    config: ClientConfig,
    limits: h3::Limits,
    memory: RefCell<Memory>,
}

/// Memory that one turn of one connection needs.
struct Memory {
    basket: Basket,
    /// Packets on their way out.
    out: Vec<u8>,
    answer: Answer,
}

/// The last head that was read, on whichever connection.
#[derive(Default)]
struct Answer {
    head: Box<Head>,
    /// The frame that it was read from.
    known: h3::Known,
}

impl Client {
    /// For connections under `settings`, whose servers `crypto` judges.
    ///
    /// # Errors
    /// The system gives no random bytes; a setting is out of range.
    pub fn new(
        reactor: &Rc<Reactor>,
        timers: &Rc<Timers>,
        crypto: Arc<ClientCrypto>,
        settings: &Settings,
    ) -> io::Result<Rc<Client>> {
        let keys = keys::Shared::new().map_err(io::Error::other)?;
        let mut endpoint = EndpointConfig::new(keys.reset());
        endpoint.cid_generator(|| Box::new(RandomConnectionIdGenerator::new(0)));
        endpoint.max_udp_payload_size(settings.max_udp_payload).map_err(io::Error::other)?;
        endpoint.supported_versions(vec![crypto::VERSION]);
        let mut config = ClientConfig::new(crypto);
        config.transport_config(Arc::new(transport(settings)));
        match settings.tokens {
            true => config.token_store(Arc::new(Tokens::new())),
            false => config.token_store(Arc::new(NoneTokenStore)),
        };
        let memory = Memory { basket: Basket::new(), out: Vec::new(), answer: Answer::default() };
        Ok(Rc::new(Client {
            reactor: reactor.clone(),
            timers: timers.clone(),
            endpoint: Arc::new(endpoint),
            config,
            limits: settings.h3.clone(),
            memory: RefCell::new(memory),
        }))
    }

    /// Begins a connection to `remote`, whose certificate has to be that of `server_name`. Nothing is sent before
    /// [`Connection::flush`]; [`Connection::connected`] waits for its handshake.
    ///
    /// # Errors
    /// There is no socket or port for it (`EMFILE`, `EADDRNOTAVAIL`, `EAGAIN`), or the name is none (`InvalidInput`).
    pub fn connect(self: &Rc<Self>, remote: SocketAddr, server_name: &str) -> io::Result<Connection> {
        Connection::new(self, remote, server_name)
    }
}

fn transport(settings: &Settings) -> TransportConfig {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(settings.max_udp_payload);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(0u32.into())
        .max_concurrent_uni_streams(UNI_STREAMS.into())
        .stream_receive_window(settings.stream_window.into())
        .receive_window(settings.connection_window.into())
        .max_idle_timeout(IdleTimeout::try_from(settings.idle_timeout).ok())
        .keep_alive_interval(Some(settings.keepalive))
        .min_mtu(MTU_MIN)
        .mtu_discovery_config(Some(discovery))
        .send_fairness(false) // requests are short: one after the other, whole
        .datagram_receive_buffer_size(None);
    transport
}
