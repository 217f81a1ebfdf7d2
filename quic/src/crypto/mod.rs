//! TLS for QUIC (RFC 9001), over rustls: what quinn-proto asks of it, and what the rest of the edge wants to know.
//!
//! Only version 1 of QUIC. Why a handshake failed stays known ([`failure`]), what it agreed on is the same [`Info`] as
//! over TCP ([`info`]).
mod hello;
mod packet;
mod padding;
mod retry;
mod session;
mod store;

pub use store::{Sessions, Storage};

use edge_io::tls::{Error, ErrorKind, Info};
use packet::Padding;
use quinn_proto::{
    ConnectError, Connection, ConnectionError, ConnectionId, Side,
    crypto::{self, Keys, UnsupportedVersion},
    transport_parameters::TransportParameters,
};
use rustls::{
    pki_types::ServerName,
    quic::{self, Version},
};
use session::Session;
use std::{fmt, sync::Arc};

/// QUIC version 1 (RFC 9000 15).
pub const VERSION: u32 = 1;
/// Error codes of transport that carry a TLS alert (RFC 9001 4.8).
const ALERTS: std::ops::Range<u64> = 0x100..0x200;
/// Bytes that transport parameters take, mostly.
const PARAMETERS_BYTES: usize = 160;

/// A server's side of TLS, for quinn-proto.
pub struct ServerCrypto {
    config: Arc<rustls::ServerConfig>,
}

/// A client's side of TLS, for quinn-proto.
pub struct ClientCrypto {
    config: Arc<rustls::ClientConfig>,
}

impl fmt::Debug for ServerCrypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerCrypto")
    }
}

impl fmt::Debug for ClientCrypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCrypto")
    }
}

impl ServerCrypto {
    /// Over `config`, which must have TLS 1.3, ALPN, and for `max_early_data_size` 0 or `u32::MAX` (RFC 9001 4.6.1).
    ///
    /// # Errors
    /// `config` cannot be used for QUIC.
    pub fn new(config: Arc<rustls::ServerConfig>) -> Result<ServerCrypto, rustls::Error> {
        need_alpn(&config.alpn_protocols)?;
        need_initial_keys()?;
        // What cannot be said by types is tried: no connection fails at its start then.
        quic::ServerConnection::new(config.clone(), Version::V1, Vec::new())?;
        Ok(ServerCrypto { config })
    }

    /// What it was made of.
    pub fn config(&self) -> &Arc<rustls::ServerConfig> {
        &self.config
    }
}

impl ClientCrypto {
    /// Over `config`, which must have TLS 1.3 and ALPN.
    ///
    /// # Errors
    /// `config` cannot be used for QUIC.
    pub fn new(config: Arc<rustls::ClientConfig>) -> Result<ClientCrypto, rustls::Error> {
        need_alpn(&config.alpn_protocols)?;
        need_initial_keys()?;
        let name = ServerName::try_from("localhost").map_err(|e| rustls::Error::General(e.to_string()))?;
        quic::ClientConnection::new(config.clone(), Version::V1, name, Vec::new())?;
        Ok(ClientCrypto { config })
    }
}

fn need_alpn(protocols: &[Vec<u8>]) -> Result<(), rustls::Error> {
    // RFC 9001 8.1
    if protocols.is_empty() { Err(rustls::Error::General("QUIC needs ALPN".into())) } else { Ok(()) }
}

fn need_initial_keys() -> Result<(), rustls::Error> {
    let keys = packet::initial(&ConnectionId::new(&[0; 8]), Side::Client, Padding::Goes);
    keys.map(drop).ok_or_else(|| rustls::Error::General("QUIC needs TLS_AES_128_GCM_SHA256".into()))
}

fn encoded(params: &TransportParameters) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PARAMETERS_BYTES);
    params.write(&mut bytes);
    bytes
}

impl crypto::ServerConfig for ServerCrypto {
    fn initial_keys(&self, version: u32, dst_cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        match version {
            VERSION => packet::initial(dst_cid, Side::Server, Padding::Stays).ok_or(UnsupportedVersion),
            _ => Err(UnsupportedVersion),
        }
    }

    fn retry_tag(&self, _version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        // A wrong tag makes the client wait for another answer, if the cryptography should ever fail.
        retry::tag(orig_dst_cid, [packet, &[]]).unwrap_or_default()
    }

    fn start_session(self: Arc<Self>, _version: u32, params: &TransportParameters) -> Box<dyn crypto::Session> {
        let connection = quic::ServerConnection::new(self.config.clone(), Version::V1, encoded(params));
        // It depends on nothing but the configuration.
        Box::new(Session::new(connection.expect("`new` has tried the configuration").into()))
    }
}

impl crypto::ClientConfig for ClientCrypto {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn crypto::Session>, ConnectError> {
        if version != VERSION {
            return Err(ConnectError::UnsupportedVersion);
        }
        let invalid = |_| ConnectError::InvalidServerName(server_name.into());
        let name = ServerName::try_from(server_name).map_err(invalid)?.to_owned();
        let connection = quic::ClientConnection::new(self.config.clone(), Version::V1, name, encoded(params));
        // There is no randomness: all else `new` has tried.
        let connection = connection.map_err(|_| ConnectError::EndpointStopping)?;
        Ok(Box::new(Session::new(connection.into())))
    }
}

/// What the handshake of `connection` agreed on. On a server from the ClientHello on (quinn-proto's
/// `HandshakeDataReady`), but the client's certificate is there, and everything certain, with `Connected` only. `None`
/// before, and after a failure.
pub fn info(connection: &Connection) -> Option<Info> {
    let data = connection.crypto_session().handshake_data()?;
    data.downcast::<Info>().ok().map(|info| *info)
}

/// Why a handshake failed that ended with `why` before `Connected`: the same kinds as over TCP. More words where there is
/// a connection still (quinn-proto's `Endpoint::accept` fails without one).
pub fn failure(why: &ConnectionError, connection: Option<&Connection>) -> Error {
    if let ConnectionError::TransportError(_) = why
        && let Some(data) = connection.and_then(|c| c.crypto_session().handshake_data())
        && let Ok(error) = data.downcast::<Error>()
    {
        return *error;
    }
    let kind = match why {
        // `Session` has put the kind there.
        ConnectionError::TransportError(e) => {
            ErrorKind::ALL.into_iter().find(|kind| kind.as_str() == e.reason).unwrap_or(ErrorKind::Protocol)
        }
        ConnectionError::ConnectionClosed(close) if ALERTS.contains(&u64::from(close.error_code)) => {
            ErrorKind::AlertReceived
        }
        ConnectionError::VersionMismatch => ErrorKind::NoSharedVersion,
        ConnectionError::CidsExhausted => ErrorKind::Internal,
        _ => ErrorKind::Closed,
    };
    Error::new(kind, why.to_string())
}
