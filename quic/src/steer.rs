//! Which shard a packet is for.
