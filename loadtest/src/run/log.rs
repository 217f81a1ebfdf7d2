//! Response times second by second, handed on as they are complete: for logs that hold whole distributions.
use crate::record::merge;
use hdrhistogram::Histogram;
use std::time::{Duration, SystemTime};

/// Response times of all shards in one second (or what was joined to one).
pub struct LoggedSecond<'a> {
    /// Microseconds.
    pub response: &'a Histogram<u64>,
    /// When the measured time of the run began.
    pub started: SystemTime,
    /// When the second began, from then on.
    pub from: Duration,
    /// How long it was: the last may be shorter.
    pub length: Duration,
}

/// What is told of each second.
pub type EachSecond<'a> = dyn FnMut(&LoggedSecond<'_>) + 'a;

/// Holds the last second back, for late answers join it.
pub(super) struct Log<'a> {
    to: Option<&'a mut EachSecond<'a>>,
    started: SystemTime,
    /// When it began and how long it was, seconds.
    last: Option<(f64, f64, Histogram<u64>)>,
}

impl<'a> Log<'a> {
    /// `None`: nobody is told.
    pub fn new(to: Option<&'a mut EachSecond<'a>>, started: SystemTime) -> Log<'a> {
        Log { to, started, last: None }
    }

    /// A second is over that began at `from` and was so long, both in seconds.
    pub fn second(&mut self, from: f64, length: f64, response: &Histogram<u64>) {
        if self.to.is_some() {
            self.end();
            self.last = Some((from, length, response.clone()));
        }
    }

    /// What belongs to the last second and came later.
    pub fn late(&mut self, response: &Histogram<u64>) {
        if let Some((.., last)) = &mut self.last {
            merge(last, response);
        }
    }

    /// Nothing comes to the last second any more.
    pub fn end(&mut self) {
        let (Some(to), Some((from, length, response))) = (&mut self.to, self.last.take()) else { return };
        let seconds = |s: f64| Duration::try_from_secs_f64(s).unwrap_or_default();
        to(&LoggedSecond { response: &response, started: self.started, from: seconds(from), length: seconds(length) });
    }
}
