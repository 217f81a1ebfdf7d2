//! When a shard protects itself, as the configuration says it.
use std::time::Duration;

/// What makes a shard refuse the lowest classes of requests, and connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtectRule {
    /// A turn of the loop that takes longer; `None`: none does.
    pub lag: Option<Duration>,
    /// Memory in use, per mille of what the process may have; 1000 = however much.
    pub memory_permille: u32,
}
