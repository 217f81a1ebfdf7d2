//! The UDP sockets of one address, one per shard, and the filter that steers packets among them.
