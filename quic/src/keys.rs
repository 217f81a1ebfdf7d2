//! Keys that all shards share: resets, tokens, connection IDs.
