//! Reads what the configuration says of the way to endpoints, feature by feature.
pub(super) mod health;
pub(super) mod retry;
