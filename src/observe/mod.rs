//! What is seen from outside: counters, metric names, access log.
pub mod stats;
