//! How far a run has come: what the live line shows, told a few times a second.

/// A moment of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// The time before the measured one is still running; `elapsed` and `total` are of it then.
    pub warmup: bool,
    /// Seconds of this part of the run.
    pub elapsed: f64,
    /// How many seconds it takes; a run that is over after a number of requests may end sooner.
    pub total: f64,
    /// Answers so far, and the number after which the run is over where one was asked for.
    pub answered: u64,
    /// See `answered`.
    pub requests: Option<u64>,
    /// Answers a second, in the last second.
    pub rate: f64,
    /// Response times of the last second, µs: half of them are not above it. `None`: nothing was answered.
    pub p50_us: Option<u64>,
    /// 99 % of them are not above it.
    pub p99_us: Option<u64>,
    /// What went wrong so far, all kinds together.
    pub errors: u64,
}
