//! HTTP/2 on a stream socket: one driver task per connection, and its streams as exchanges (server) or attempts (client).
mod exchange;
mod heads;
mod link;
mod server;
mod slots;
mod stream;
pub use exchange::H2Exchange;
pub use heads::empty as empty_head;
pub use link::{Link, Over};
pub use server::{Connection, serve};
pub use stream::{Cut, H2Stream};
