//! Packets for another shard, handed over without locks.
