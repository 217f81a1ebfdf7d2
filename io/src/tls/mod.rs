//! TLS on a shard's stream sockets.
mod info;
pub use info::{Alpn, Info};
