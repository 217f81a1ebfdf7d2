//! What happened: times and counts of each second, and of the whole run. Written by one shard, merged by the coordinator.
mod fault;
mod hdr_log;
mod interval;
mod outcome;
mod progress;
mod recorder;
mod spread;
mod totals;
pub use fault::{FAULTS, Fault};
pub use hdr_log::HdrLog;
use hdrhistogram::Histogram;
pub(crate) use interval::merge;
pub use interval::{DIGITS, HIGHEST_US, LOWEST_US, histogram};
pub use outcome::{Asked, Environment, Outcome, SCHEMA, Second, ShardUse, Spread, Times, Verdict};
pub use progress::Progress;
pub use recorder::{Early, Recorder};
use serde::{Deserialize, Serialize};
pub use spread::{heat, heat_bucket, heat_from_us};
use std::collections::BTreeMap;
pub use totals::{SERIES_MAX, Totals};

/// A request that was answered. Times are microseconds of the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// When it should have been sent; when it was, in a closed loop.
    pub intended_us: u64,
    /// When its first byte was handed to the kernel.
    pub sent_us: u64,
    /// When the first byte of the answer's head was seen.
    pub first_us: u64,
    /// When its last byte was seen.
    pub end_us: u64,
    /// Its status.
    pub status: u16,
    /// Bytes of its body.
    pub body: u64,
}

/// Counts and times of one stretch, of one shard or of all.
#[derive(Clone, Debug)]
pub struct Interval {
    /// From when a request should have been sent to its answer's last byte, µs.
    pub response: Histogram<u64>,
    /// From sending to the last byte, µs. Empty in a closed loop, where it is the same.
    pub service: Histogram<u64>,
    /// From sending to the first byte, µs.
    pub first_byte: Histogram<u64>,
    /// From SYN (or the first QUIC packet) to established, µs. For QUIC that is the handshake too.
    pub connect: Histogram<u64>,
    /// From ClientHello to the end of the handshake, µs. Empty for QUIC and without TLS.
    pub tls: Histogram<u64>,
    /// Counts.
    pub counts: Counts,
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests that were sent.
    pub sent: u64,
    /// Answers that came whole, whatever their status.
    pub answered: u64,
    /// Bytes of answer bodies.
    pub body_bytes: u64,
    /// Bytes that the connections received, framing included (before TLS or QUIC is taken off where that is known).
    pub bytes_in: u64,
    /// Bytes that they sent.
    pub bytes_out: u64,
    /// Connections that became usable.
    pub connections: u64,
    /// Of these, with a resumed TLS session.
    pub resumed: u64,
    /// Connections that ended, by whichever side.
    pub closed: u64,
    /// Answers by status.
    pub status: BTreeMap<u16, u64>,
    /// What went wrong, by kind.
    pub faults: BTreeMap<Fault, u64>,
    /// Requests of the schedule that were not sent when the run ended; each is in `response` with the time it waited.
    pub unsent: u64,
}
