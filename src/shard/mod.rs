//! One shard: accept, adopt snapshots, drain. Owns its connections, pools, buffers and counters.
pub use crate::snapshot::command::{Ack, Adopt, Command, ShardListener, ShardReport};
