//! Reads what the configuration says of the way to endpoints, feature by feature.
pub(super) mod balance;
pub(super) mod health;
pub(super) mod inflight;
pub(super) mod retry;
