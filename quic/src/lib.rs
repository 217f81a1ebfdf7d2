//! QUIC on a shard (RFC 9000): sockets, steering of packets to their shard, connections, and HTTP/3.
pub mod cid;
pub mod client;
mod connection;
pub mod crypto;
mod deadlines;
mod endpoint;
pub mod forward;
pub mod group;
pub mod h3;
mod inflow;
pub mod keys;
mod nascent;
mod outbox;
mod policy;
pub mod socket;
mod sockopt;
pub mod steer;
mod stream;
mod tail;
pub mod tokens;
mod waiters;

pub use connection::{Connection, Handler, Request};
pub use endpoint::{Count, Endpoint, Owner, Parts};
pub use policy::{Congestion, Policy, Settings};
pub use stream::{Cut, Next, RecvHalf, SendHalf, Stream};
