//! Objectives against a result: the figure of each, and whether it is met.
use super::{Metric, Objective, Phase, Point};
use crate::record::{Outcome, Spread};
use std::fmt;

/// An objective and what became of it.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The objective.
    pub objective: Objective,
    /// What the result has. `None`: the result has no such figure (no answers, no new connections, no TLS).
    pub figure: Option<f64>,
    /// Whether the figure is as it must be. Without a figure it is not.
    pub met: bool,
}

/// A figure as people read it.
pub struct Figure(
    /// What it is of.
    pub Metric,
    /// In microseconds, as a share, or a count.
    pub f64,
);

/// Judges a result by each objective.
pub fn judge(objectives: &[Objective], outcome: &Outcome) -> Vec<Judged> {
    let judged = |objective: &Objective| {
        let figure = figure(objective.metric, outcome);
        let met = figure.is_some_and(|figure| objective.must_be.holds(figure, objective.limit));
        Judged { objective: objective.clone(), figure, met }
    };
    objectives.iter().map(judged).collect()
}

fn figure(metric: Metric, outcome: &Outcome) -> Option<f64> {
    let counts = &outcome.counts;
    let a_second = |n: u64| (outcome.seconds > 0.0).then(|| n as f64 / outcome.seconds);
    Some(match metric {
        Metric::Time(phase, point) => return time(spread(phase, outcome)?, point),
        // Without a request that ended there is no share of them: a server that nothing reached is not without errors.
        Metric::ErrorShare if counts.finished() == 0 => return None,
        Metric::ErrorShare => counts.error_share(),
        Metric::Errors => counts.errors() as f64,
        Metric::Fault(fault) => counts.faults.get(&fault).copied().unwrap_or(0) as f64,
        Metric::Status(from, to) => counts.status.range(from..=to).map(|(_, n)| n).sum::<u64>() as f64,
        Metric::Unsent => counts.unsent as f64,
        Metric::Sent => counts.sent as f64,
        Metric::Answers => counts.answered as f64,
        Metric::Connections => counts.connections as f64,
        Metric::AnswersASecond => a_second(counts.answered)?,
        Metric::ConnectionsASecond => a_second(counts.connections)?,
    })
}

fn spread(phase: Phase, outcome: &Outcome) -> Option<&Spread> {
    let times = &outcome.times;
    match phase {
        Phase::Response => Some(&times.response),
        // In a closed loop they are the same.
        Phase::Service => times.service.as_ref().or_else(|| outcome.asked.rate.is_none().then_some(&times.response)),
        Phase::FirstByte => Some(&times.first_byte),
        Phase::Connect => times.connect.as_ref(),
        Phase::Tls => times.tls.as_ref(),
    }
}

fn time(spread: &Spread, point: Point) -> Option<f64> {
    if spread.count == 0 {
        return None;
    }
    Some(match point {
        Point::Quantile(quantile) => spread.quantile(quantile)? as f64,
        Point::Min => spread.min as f64,
        Point::Mean => spread.mean,
        Point::Stdev => spread.stdev,
        Point::Max => spread.max as f64,
    })
}

/// A time, µs, with three digits and its unit.
pub(crate) fn time_text(us: f64) -> String {
    let (n, unit) = match us {
        us if us < 1e3 => (us, "us"),
        us if us < 1e6 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    let digits = if n >= 100.0 || n == n.trunc() { 0 } else { 2 - usize::from(n >= 10.0) };
    format!("{n:.digits$}{unit}")
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Metric::Time(..) => f.write_str(&time_text(self.1)),
            Metric::ErrorShare => write!(f, "{:.3}%", self.1 * 100.0),
            Metric::AnswersASecond | Metric::ConnectionsASecond => write!(f, "{:.1}", self.1),
            _ => write!(f, "{}", self.1),
        }
    }
}

/// One line: the objective, `met` or `NOT MET`, and the figure.
impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.met { "met" } else { "NOT MET" };
        write!(f, "{}: {word}: ", self.objective.text)?;
        match self.figure {
            Some(figure) => Figure(self.objective.metric, figure).fmt(f),
            None => f.write_str("the result has no such figure"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        record::{Fault, histogram},
        slo::parse,
        testing::outcome,
    };

    fn some() -> Outcome {
        let mut response = histogram();
        (1..=1000u64).for_each(|n| response.record(n * 10).unwrap());
        let mut outcome = outcome();
        outcome.seconds = 10.0;
        outcome.times.response = Spread::of(&response);
        outcome.counts.sent = 1010;
        outcome.counts.answered = 1000;
        outcome.counts.status = [(200, 990), (503, 6), (599, 4)].into();
        outcome.counts.faults = [(Fault::Status, 10), (Fault::Reset, 10)].into();
        outcome
    }

    #[test]
    fn figures_meet_their_limits_or_do_not() {
        let outcome = some();
        for (text, met, figure) in [
            ("p99<9.95ms", true, "9.90ms"),
            ("p99<9ms", false, "9.90ms"),
            ("p42.5<=4.26ms", true, "4.25ms"),
            ("mean<6ms", true, "5.01ms"),
            ("max<10ms", false, "10.0ms"),
            ("min==10us", true, "10us"),
            ("err<1%", false, "1.980%"),
            ("err<2%", true, "1.980%"),
            ("errors==20", true, "20"),
            ("fault.reset<=10", true, "10"),
            ("fault.alpn==0", true, "0"),
            ("status.5xx==10", true, "10"),
            ("status.503!=6", false, "6"),
            ("rps>=100", true, "100.0"),
            ("rps>100", false, "100.0"),
            ("answers==1000", true, "1000"),
            ("sent==1010", true, "1010"),
            ("service.p50<6ms", true, "5.00ms"),
            ("connections==0", true, "0"),
            ("cps<1", true, "0.0"),
            ("unsent==0", true, "0"),
        ] {
            let judged = &judge(&parse(text).unwrap(), &outcome)[0];
            assert_eq!(judged.met, met, "{judged}");
            assert!(judged.to_string().ends_with(&format!(": {figure}")), "{judged}");
            assert!(judged.to_string().contains("NOT MET") != met);
        }
    }

    #[test]
    fn what_the_result_does_not_have_is_not_met() {
        let nothing = outcome();
        for text in ["p99<5ms", "err<1%", "connect.p99<1s", "tls.max<1s", "ttfb.p50<1s", "rps<5"] {
            let judged = &judge(&parse(text).unwrap(), &nothing)[0];
            assert!(!judged.met && judged.figure.is_none(), "{judged}");
        }
        // A server that answers nothing before the end of the run has no share of errors that could be a good one.
        let mut stalled = outcome();
        (stalled.counts.sent, stalled.counts.unsent) = (1, 500);
        assert!(!judge(&parse("err<1%").unwrap(), &stalled)[0].met);
        let mut open = some();
        open.asked.rate = Some(100.0);
        assert!(!judge(&parse("service.p99<60m").unwrap(), &open)[0].met);
    }

    #[test]
    fn times_have_three_digits() {
        let texts = [0.0, 7.0, 12.34, 999.0, 1_000.0, 1_234.0, 12_345.0, 123_456.0, 1_234_567.0].map(time_text);
        assert_eq!(texts, ["0us", "7us", "12.3us", "999us", "1ms", "1.23ms", "12.3ms", "123ms", "1.23s"]);
    }
}
