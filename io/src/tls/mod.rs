//! TLS 1.2 and 1.3 on a shard's stream sockets: handshakes, and records both ways with leased buffers.
//!
//! rustls keeps the state machine and the keys; bytes stay ours (its unbuffered interface), so that an idle connection
//! holds no buffer and a write of any size is one system call. Renegotiation does not exist: rustls refuses it.
mod error;
mod handshake;
mod info;
mod machine;
mod names;
mod session;
mod unverified;
mod write;
pub use error::{ClearText, Error, ErrorKind};
pub use handshake::{HANDSHAKE_BYTES, HANDSHAKE_READS, accept, connect};
pub use info::{Alpn, EarlyData, Info, Role};
pub(crate) use session::Session;
pub use unverified::Unverified;

/// The most plaintext that one record carries, bytes (RFC 8446 5.1).
const RECORD: usize = 16 * 1024;
