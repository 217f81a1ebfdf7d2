//! QUIC on a shard (RFC 9000): sockets, steering of packets to their shard, connections, and HTTP/3.
pub mod cid;
pub mod crypto;
pub mod forward;
pub mod group;
pub mod h3;
pub mod keys;
pub mod socket;
mod sockopt;
pub mod steer;
pub mod tokens;
