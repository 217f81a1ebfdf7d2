//! One shard: accept, adopt snapshots, drain. Owns its connections, pools, buffers and counters.
use crate::snapshot::Snapshot;
use std::sync::Arc;

/// What control tells a shard through its mailbox.
pub enum Command {
    /// Use this snapshot for every request that begins from now on; open and close listeners accordingly; then acknowledge.
    Adopt(Arc<Snapshot>, Ack),
    /// K4: `Connection: close` on answers, idle connections are closed; when the last one is gone, or at `force`, report drained.
    Drain {
        /// Accept new connections until then (`lb_grace`).
        accept_until: std::time::Instant,
        /// Close what is left then.
        force: std::time::Instant,
    },
    /// End now.
    Stop,
}

/// Tells control that a shard did it (any thread may wait on the other end).
pub type Ack = std::sync::mpsc::Sender<ShardReport>;

/// What a shard answers to `Adopt`.
#[derive(Debug)]
pub struct ShardReport {
    /// Which shard.
    pub shard: usize,
    /// The version it serves now.
    pub version: u64,
    /// Listeners that could not be opened, and why.
    pub errors: Vec<String>,
}
