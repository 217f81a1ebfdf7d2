//! One UDP socket of a shard: datagrams in batches, with GSO, GRO and ECN.
