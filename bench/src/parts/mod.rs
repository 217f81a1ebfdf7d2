//! The scenarios, by part of the house.
mod fields;
mod hpack;
mod http1;
mod http2;
mod http3;
mod observing;
mod qpack;
mod routing;
mod shard;
mod snapshots;

use crate::scenario::Scenario;

/// All of them.
pub fn all() -> Vec<Scenario> {
    [
        http1::scenarios(),
        http2::scenarios(),
        http3::scenarios(),
        hpack::scenarios(),
        qpack::scenarios(),
        routing::scenarios(),
        snapshots::scenarios(),
        observing::scenarios(),
        shard::scenarios(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
