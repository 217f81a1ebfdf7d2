//! What is seen from outside: counters, metric names, access log.
pub mod access_log;
pub mod stats;
