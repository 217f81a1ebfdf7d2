//! What is seen from outside: counters, metric names, access log.
pub mod access_log;
pub mod manual;
pub mod metrics;
pub mod names;
pub mod stats;
