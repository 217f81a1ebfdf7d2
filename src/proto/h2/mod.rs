//! HTTP/2 on a stream socket: one driver task per connection, and its streams as exchanges (server) or attempts (client).
mod link;
mod server;
mod slots;
mod stream;
pub use edge_io::head::spare::empty as empty_head;
pub use link::{Link, Over};
pub use server::{Connection, serve};
pub use stream::{Cut, H2Stream};

/// A request on a stream.
pub type H2Exchange = super::StreamExchange<H2Stream>;
