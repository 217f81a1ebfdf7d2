//! What is seen from outside: counters, metric names, access log.
pub mod access_log;
pub mod manual;
pub mod metrics;
pub mod names;
pub mod stats;

use std::{
    fmt,
    io::{self, Write},
};

/// Tells the operator, on standard error: one line, `edge: ` in front. Unlike `eprintln!`, it does not panic when nobody
/// reads standard error any more: a closed terminal is no reason to end.
pub fn notice(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "edge: {text}");
}
