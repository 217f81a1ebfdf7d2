//! Connection IDs that say which shard they belong to.
