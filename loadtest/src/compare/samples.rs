//! The figures that are compared, and their samples: one for each second of each run.
use crate::record::{Outcome, Second, Spread};
use serde::Serialize;

/// Samples of each run of a side; at least one run, and none of them empty.
pub(super) type Runs = Vec<Vec<f64>>;

/// Fewest whole seconds of a run: fewer do not say how much they differ among themselves.
const SECONDS_MIN: usize = 5;

/// Shorter ones (the last of a run) are no sample: percentiles of less than that are another figure.
const WHOLE: f64 = 0.9;

/// A figure of each second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Answers a second.
    AnswersASecond,
    /// Mean response time.
    Mean,
    /// Its 50 %.
    P50,
    /// Its 90 %.
    P90,
    /// Its 99 %.
    P99,
    /// 99 % of the service times.
    ServiceP99,
    /// 99 % of the times to the first byte.
    FirstByteP99,
    /// Share of requests that failed.
    Errors,
    /// CPU time of the server for an answer.
    ServerCpu,
}

/// All, in the order in which they are shown.
pub(super) const MEASURES: [Measure; 9] = [
    Measure::AnswersASecond,
    Measure::Mean,
    Measure::P50,
    Measure::P90,
    Measure::P99,
    Measure::ServiceP99,
    Measure::FirstByteP99,
    Measure::Errors,
    Measure::ServerCpu,
];

/// Whether each run of a side has seconds enough.
pub(super) fn long_enough(side: &str, runs: &[Outcome]) -> Result<(), String> {
    for (n, run) in runs.iter().enumerate() {
        let seconds = whole(run).count();
        if seconds < SECONDS_MIN {
            return Err(format!(
                "result {} of {side} has {seconds} whole seconds; at least {SECONDS_MIN} are needed to tell change from \
                 chance",
                n + 1
            ));
        }
    }
    Ok(())
}

fn whole(run: &Outcome) -> impl Iterator<Item = &Second> {
    run.series.iter().filter(|second| second.length >= WHOLE)
}

impl Measure {
    /// Short name, in tables.
    pub fn name(self) -> &'static str {
        match self {
            Measure::AnswersASecond => "requests/s",
            Measure::Mean => "mean",
            Measure::P50 => "p50",
            Measure::P90 => "p90",
            Measure::P99 => "p99",
            Measure::ServiceP99 => "service p99",
            Measure::FirstByteP99 => "first byte p99",
            Measure::Errors => "errors",
            Measure::ServerCpu => "server CPU/request",
        }
    }

    /// Whether more is better.
    pub fn higher_is_better(self) -> bool {
        self == Measure::AnswersASecond
    }

    /// Whether its change is a ratio. Errors are mostly none, and nothing is a multiple of that.
    pub fn is_ratio(self) -> bool {
        self != Measure::Errors
    }

    /// Its samples. `None`: one of the runs has none, or errors are none at all and there is nothing to tell.
    pub(super) fn samples(self, runs: &[Outcome]) -> Option<Runs> {
        let of = |run: &Outcome| whole(run).filter_map(|second| self.of(second)).collect::<Vec<f64>>();
        let runs: Runs = runs.iter().map(of).collect();
        // Seconds without an answer have no times: what is left may be too little.
        runs.iter().all(|run| run.len() >= SECONDS_MIN).then_some(runs)
    }

    fn of(self, second: &Second) -> Option<f64> {
        let some = |spread: &Spread, value: f64| (spread.count > 0).then_some(value);
        let response = &second.response;
        match self {
            Measure::AnswersASecond => Some(second.counts.answered as f64 / second.length),
            Measure::Mean => some(response, response.mean),
            Measure::P50 => some(response, response.p50 as f64),
            Measure::P90 => some(response, response.p90 as f64),
            Measure::P99 => some(response, response.p99 as f64),
            Measure::ServiceP99 => second.service.as_ref().and_then(|service| some(service, service.p99 as f64)),
            Measure::FirstByteP99 => some(&second.first_byte, second.first_byte.p99 as f64),
            Measure::Errors => (second.counts.finished() > 0).then(|| second.counts.error_share()),
            Measure::ServerCpu => {
                let answered = second.counts.answered;
                second.server_cpu_us.filter(|_| answered > 0).map(|us| us as f64 / answered as f64)
            }
        }
    }
}
