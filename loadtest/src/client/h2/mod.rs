//! An HTTP/2 connection in the client role: one task moves all its streams, straight from the engine's events.
mod flights;
#[cfg(test)]
mod raw;
mod requests;
#[cfg(test)]
mod tests;
mod tunnel;
mod wire;

use super::{Ended, Shard};
use crate::plan::Exchange;
use edge_io::stream::Stream;
use std::rc::Rc;

/// Drives an established connection until it ends.
pub async fn drive(shard: &Rc<Shard>, origin: usize, stream: &Stream) -> Ended {
    match shard.plan.exchange {
        Exchange::Requests => requests::drive(shard, origin, stream).await,
        Exchange::WebSocket { .. } | Exchange::Events => tunnel::drive(shard, origin, stream).await,
    }
}
