//! How client connections end.
use super::Connection;
use crate::{
    crypto,
    h3::{ErrorCode, Fatal},
};
use edge_io::tls;
use quinn_proto::{ConnectionError, VarInt};
use std::{fmt, time::Instant};

/// Error codes of the transport that carry a TLS alert (RFC 9001, section 4.8).
const ALERTS: std::ops::Range<u64> = 0x100..0x200;
/// The alert of a server that speaks none of the protocols that were offered (RFC 7301, section 3.2).
const NO_APPLICATION_PROTOCOL: u64 = 0x178;

/// Why a connection is over.
#[derive(Debug)]
pub enum Lost {
    /// Nothing listens at that address (ICMP said so).
    Refused,
    /// No answer for too long.
    TimedOut,
    /// TLS failed.
    Handshake(tls::Error),
    /// The server does not speak this version of QUIC.
    Version,
    /// The server closed it, with this code of HTTP/3.
    Closed(ErrorCode),
    /// The server's QUIC gave it up, with this code (RFC 9000, section 20.1).
    GivenUp(u64),
    /// The server does not know the connection any more (a stateless reset, RFC 9000, section 10.3).
    Reset,
    /// The server broke the protocol.
    Protocol(String),
    /// We closed it.
    Local,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Refused => f.write_str("nothing listens there"),
            Lost::TimedOut => f.write_str("no answer for too long"),
            Lost::Handshake(e) => write!(f, "{}: {}", e.kind.as_str(), e.detail),
            Lost::Version => f.write_str("the server does not speak QUIC version 1"),
            Lost::Closed(code) => write!(f, "closed by the server: {code}"),
            Lost::GivenUp(code) => write!(f, "given up by the server: transport error {code:#x}"),
            Lost::Reset => f.write_str("the server does not know the connection any more"),
            Lost::Protocol(what) => write!(f, "the server broke the protocol: {what}"),
            Lost::Local => f.write_str("closed"),
        }
    }
}

impl std::error::Error for Lost {}

impl Connection {
    /// Why it is over, if it is.
    pub fn lost(&self) -> Option<&Lost> {
        self.lost.as_ref()
    }

    /// QUIC says that it is over.
    pub(super) fn on_lost(&mut self, why: &ConnectionError) {
        let lost = match why {
            ConnectionError::ConnectionClosed(close) if u64::from(close.error_code) == NO_APPLICATION_PROTOCOL => {
                Lost::Handshake(tls::Error::new(tls::ErrorKind::NoSharedProtocol, why.to_string()))
            }
            _ if !self.is_established() && is_of_tls(why) => Lost::Handshake(crypto::failure(why, Some(&self.quic))),
            ConnectionError::VersionMismatch => Lost::Version,
            ConnectionError::TimedOut => Lost::TimedOut,
            ConnectionError::Reset => Lost::Reset,
            ConnectionError::ApplicationClosed(close) => Lost::Closed(ErrorCode(close.error_code.into())),
            ConnectionError::ConnectionClosed(close) => Lost::GivenUp(close.error_code.into()),
            ConnectionError::TransportError(e) => Lost::Protocol(e.to_string()),
            ConnectionError::LocallyClosed | ConnectionError::CidsExhausted => Lost::Local,
        };
        self.lost.get_or_insert(lost);
    }

    /// The server broke HTTP/3, or a bound.
    #[cold]
    pub(super) fn fail(&mut self, fatal: Fatal) {
        self.quic.close(self.now, varint(fatal.code.0), fatal.detail.as_bytes().into());
        self.lost.get_or_insert(Lost::Protocol(fatal.to_string()));
    }

    /// Ends it at once, and tells the server; requests under way are not told of. Harmless when it is over.
    pub fn close(&mut self, code: ErrorCode) {
        if self.lost.is_none() {
            self.lost = Some(Lost::Local);
            self.now = Instant::now();
            self.quic.close(self.now, varint(code.0), bytes::Bytes::new());
        }
        self.send_last();
    }
}

/// Whether it ended because of what TLS found, here or there.
fn is_of_tls(why: &ConnectionError) -> bool {
    let code = match why {
        ConnectionError::TransportError(e) => u64::from(e.code),
        ConnectionError::ConnectionClosed(close) => close.error_code.into(),
        _ => return false,
    };
    ALERTS.contains(&code)
}

/// An error code as QUIC sends it: all of ours are far below its bound of 62 bits.
pub(super) fn varint(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}
