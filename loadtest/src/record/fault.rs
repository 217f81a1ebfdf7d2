//! What can go wrong with a request or a connection, by kind.
use serde::{Deserialize, Serialize};
use std::fmt;

/// The kinds, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Nothing listens there.
    ConnectRefused,
    /// No connection, or no handshake, within the time for it.
    ConnectTimeout,
    /// No connection for another reason.
    ConnectFailed,
    /// This machine has no free port for that address.
    PortsExhausted,
    /// This machine's limit of open files is reached.
    NoDescriptors,
    /// The TLS or QUIC handshake failed.
    Handshake,
    /// The server chose another protocol than was asked for.
    Alpn,
    /// The answer was not there within the time for it.
    Timeout,
    /// The connection was closed before the answer's first byte.
    Closed,
    /// The connection was closed in the middle of an answer.
    Truncated,
    /// The connection was reset.
    Reset,
    /// The stream was reset (HTTP/2, HTTP/3).
    StreamReset,
    /// The server said goodbye without having taken the request (GOAWAY, REFUSED_STREAM).
    Refused,
    /// What came is not the protocol.
    Protocol,
    /// The answer is larger than is read.
    TooLarge,
    /// A status that is not expected.
    Status,
    /// A body that is not expected; of a WebSocket, an echo that is not what was sent.
    Body,
    /// A WebSocket or an event stream was not granted.
    Upgrade,
}

/// All of them.
pub const FAULTS: [Fault; 18] = [
    Fault::ConnectRefused,
    Fault::ConnectTimeout,
    Fault::ConnectFailed,
    Fault::PortsExhausted,
    Fault::NoDescriptors,
    Fault::Handshake,
    Fault::Alpn,
    Fault::Timeout,
    Fault::Closed,
    Fault::Truncated,
    Fault::Reset,
    Fault::StreamReset,
    Fault::Refused,
    Fault::Protocol,
    Fault::TooLarge,
    Fault::Status,
    Fault::Body,
    Fault::Upgrade,
];

impl Fault {
    /// The word for it, the same in every report.
    pub fn name(self) -> &'static str {
        match self {
            Fault::ConnectRefused => "connect_refused",
            Fault::ConnectTimeout => "connect_timeout",
            Fault::ConnectFailed => "connect_failed",
            Fault::PortsExhausted => "ports_exhausted",
            Fault::NoDescriptors => "no_descriptors",
            Fault::Handshake => "handshake",
            Fault::Alpn => "alpn",
            Fault::Timeout => "timeout",
            Fault::Closed => "closed",
            Fault::Truncated => "truncated",
            Fault::Reset => "reset",
            Fault::StreamReset => "stream_reset",
            Fault::Refused => "refused",
            Fault::Protocol => "protocol",
            Fault::TooLarge => "too_large",
            Fault::Status => "status",
            Fault::Body => "body",
            Fault::Upgrade => "upgrade",
        }
    }

    /// Its place in [`FAULTS`].
    #[inline]
    pub fn index(self) -> usize {
        self as usize
    }

    /// Whether an answer came whole, and is only not the one that was expected.
    pub fn has_answer(self) -> bool {
        matches!(self, Fault::Status | Fault::Body)
    }

    /// Whether it ends a request (and not a connection that had none).
    pub fn is_of_request(self) -> bool {
        !matches!(
            self,
            Fault::ConnectRefused
                | Fault::ConnectTimeout
                | Fault::ConnectFailed
                | Fault::PortsExhausted
                | Fault::NoDescriptors
                | Fault::Handshake
                | Fault::Alpn
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_stands_at_its_index_under_its_name() {
        for (i, fault) in FAULTS.iter().enumerate() {
            assert_eq!(fault.index(), i);
            assert_eq!(serde_json::to_string(fault).unwrap(), format!("\"{fault}\""));
        }
    }
}
