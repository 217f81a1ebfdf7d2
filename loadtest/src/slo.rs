//! The language of `--assert` and `--slo`: `p99<5ms, err<0.1%, rps>=10000`; read, and judged against a result.
//!
//! | figure | unit | of |
//! |---|---|---|
//! | `p50` … `p99.99`, `min`, `mean`, `max`, `stdev` | a time | response times; with `service.`, `ttfb.`, `connect.`, `tls.` before it of those |
//! | `err` | % or a share | requests that failed, of all that ended |
//! | `errors`, `unsent`, `sent`, `answers`, `connections` | a count | the measured time |
//! | `fault.NAME` | a count | faults of one kind |
//! | `status.200`, `status.5xx` | a count | answers |
//! | `rps`, `cps` | a count | answers and new connections a second |
//!
//! Comparisons are `<`, `<=`, `>`, `>=`, `==`, `!=`; times have a unit: `us`, `ms`, `s`, `m`.
mod eval;
mod parse;

pub(crate) use eval::time_text;
pub use eval::{Figure, Judged, judge};
pub use parse::{Mistake, parse, parse_all};
use std::fmt;

/// Most objectives of a run: more than there are figures.
pub const OBJECTIVES_MAX: usize = 100;

/// One objective: a figure, a comparison, a limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// What is looked at.
    pub metric: Metric,
    /// How it must stand to the limit.
    pub must_be: Must,
    /// In microseconds, as a share (0 to 1), or a count, as the metric has it.
    pub limit: f64,
    /// As it was written, without blanks.
    pub text: String,
}

/// How a figure must stand to its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Must {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
    /// `!=`
    Differ,
}

/// A figure of a result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Metric {
    /// Of a distribution of times.
    Time(Phase, Point),
    /// Share of requests that failed.
    ErrorShare,
    /// Requests and connections that failed.
    Errors,
    /// Faults of one kind.
    Fault(crate::record::Fault),
    /// Answers with a status from, to (both included).
    Status(u16, u16),
    /// Requests of the schedule that were never sent.
    Unsent,
    /// Requests sent.
    Sent,
    /// Answers.
    Answers,
    /// New connections.
    Connections,
    /// Answers a second.
    AnswersASecond,
    /// New connections a second.
    ConnectionsASecond,
}

/// Which times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// From when a request should have been sent.
    Response,
    /// From sending; in a closed loop the same.
    Service,
    /// To the first byte.
    FirstByte,
    /// Establishing connections.
    Connect,
    /// TLS handshakes.
    Tls,
}

/// Which point of a distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Point {
    /// The value that a share (0 to 1) is not above.
    Quantile(f64),
    /// The smallest.
    Min,
    /// The mean.
    Mean,
    /// Standard deviation.
    Stdev,
    /// The largest.
    Max,
}

impl Must {
    /// Whether a figure stands so to the limit.
    pub fn holds(self, figure: f64, limit: f64) -> bool {
        match self {
            Must::Below => figure < limit,
            Must::AtMost => figure <= limit,
            Must::Above => figure > limit,
            Must::AtLeast => figure >= limit,
            Must::Equal => figure == limit,
            Must::Differ => figure != limit,
        }
    }
}

impl fmt::Display for Must {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Must::Below => "<",
            Must::AtMost => "<=",
            Must::Above => ">",
            Must::AtLeast => ">=",
            Must::Equal => "==",
            Must::Differ => "!=",
        })
    }
}
