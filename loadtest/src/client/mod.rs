//! Shards, their connections, and the engines in their client role.
//!
//! A shard is a pinned thread with one task per connection. An engine (`h1` and its siblings) drives one established
//! connection until it ends: it asks its [`Supply`] what it may send, and tells the [`Shard`] what became of that. It never connects
//! and never counts anything itself.
//!
//! What an engine promises: every [`Ticket`] is ended exactly once, by `done`, `failed` or `unanswered`; at each wake-up it
//! asks [`Shard::is_over`]; it sends what is due of one wake-up in one write, as far as the socket takes it; it gives up its
//! place among the waiting connections while it has no free one ([`Supply::give_up`]).
pub(crate) mod connect;
mod deadline;
mod feed;
pub mod h1;
pub mod h2;
mod h3;
#[cfg(test)]
mod harness;
mod opening;
mod pipe;
mod shard;
pub(crate) mod slot;
pub mod sse;
mod supply;
mod talk;
#[cfg(test)]
pub(crate) mod testing;
pub mod tls;
pub mod ws;
pub(crate) use shard::{Health, Parts};
pub use shard::{Shard, Span, Ticket};
pub use supply::Supply;

use crate::record::Fault;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Why.
    pub why: Why,
    /// Requests that were answered on it: a server that answers nothing is not asked again at once.
    pub answered: u64,
}

/// Why an engine stopped driving a connection. What went wrong was told to the shard before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It carried the requests that it was to carry, the server announced its end, or there is nothing more to send.
    Served,
    /// The server closed it while nothing was in flight.
    ByPeer,
    /// It failed.
    Failed(Fault),
    /// The run is over.
    Over,
}
