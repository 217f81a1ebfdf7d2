//! The series as it is drawn: second by second, or several seconds folded into one point where there are too many.
use crate::{
    record::{Fault, Outcome, Second},
    report::facts::per,
};
use std::collections::BTreeMap;

/// One point of the plots over time.
#[derive(Clone, Debug, Default)]
pub struct Point {
    /// Where it begins and ends, seconds.
    pub from: f64,
    /// See `from`.
    pub to: f64,
    /// Answers a second.
    pub rate: f64,
    /// Faults a second.
    pub errors: f64,
    /// Faults by kind.
    pub faults: BTreeMap<Fault, u64>,
    /// The median; of folded seconds the middle one of their medians. `None`: nothing was answered.
    pub p50: Option<u64>,
    /// Of folded seconds the highest one.
    pub p99: Option<u64>,
    /// The largest.
    pub max: Option<u64>,
    /// Buckets (see [`Second`]), and answers a second in each.
    pub heat: BTreeMap<u8, f64>,
}

/// All of them.
#[derive(Clone, Debug)]
pub struct Points {
    /// In the order of time.
    pub all: Vec<Point>,
    /// Seconds in one point.
    pub folded: usize,
    /// Where the axis of time ends, seconds; above 0.
    pub end: f64,
}

/// At most `most` points, and at least as many seconds in each as that takes.
pub fn points(outcome: &Outcome, most: usize) -> Points {
    let folded = outcome.series.len().div_ceil(most.max(1)).max(1);
    let all: Vec<Point> = outcome.series.chunks(folded).map(fold).collect();
    let end = all.iter().map(|p| p.to).fold(outcome.seconds, f64::max);
    Points { all, folded, end: if end.is_finite() && end > 0.0 { end } else { 1.0 } }
}

fn fold(seconds: &[Second]) -> Point {
    let length: f64 = seconds.iter().map(|s| s.length).sum();
    let from = seconds.first().map_or(0.0, |s| s.at - s.length).max(0.0);
    let mut point = Point { from, to: seconds.last().map_or(0.0, |s| s.at).max(from), ..Point::default() };
    let mut heat = BTreeMap::<u8, u64>::new();
    let mut answered = 0.0;
    let mut medians = Vec::new();
    for second in seconds {
        answered += second.counts.answered as f64;
        for (fault, n) in &second.counts.faults {
            let sum = point.faults.entry(*fault).or_default();
            *sum = sum.saturating_add(*n);
        }
        for (bucket, n) in &second.heat {
            let sum = heat.entry(*bucket).or_default();
            *sum = sum.saturating_add(*n);
        }
        if second.response.count > 0 {
            medians.push(second.response.p50);
            point.p99 = point.p99.max(Some(second.response.p99));
            point.max = point.max.max(Some(second.response.max));
        }
    }
    medians.sort_unstable();
    point.p50 = medians.get(medians.len() / 2).copied();
    point.rate = per(answered, length);
    point.errors = per(point.faults.values().map(|n| *n as f64).sum(), length);
    let rates = heat.into_iter().filter(|(_, n)| *n > 0).map(|(b, n)| (b, per(n as f64, length)));
    point.heat = rates.filter(|(_, r)| *r > 0.0).collect();
    point
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{Sample, outcome};

    #[test]
    fn short_runs_are_drawn_second_by_second() {
        let outcome = outcome(&Sample::default());
        let points = points(&outcome, 300);
        assert_eq!((points.all.len(), points.folded, points.end), (30, 1, 30.0));
        assert_eq!((points.all[3].from, points.all[3].to), (3.0, 4.0));
        assert_eq!(points.all[3].rate, outcome.series[3].counts.answered as f64);
        assert_eq!(points.all[3].p99, Some(outcome.series[3].response.p99));
        assert_eq!(points.all[14].max, None, "nothing was answered: that is not 0 µs");
        assert!(points.all[14].heat.is_empty());
    }

    #[test]
    fn long_runs_are_folded_and_lose_no_worst_case() {
        let outcome = outcome(&Sample { seconds: 100, ..Sample::default() });
        let points = points(&outcome, 30);
        assert_eq!((points.all.len(), points.folded), (25, 4));
        let of = &outcome.series[12..16];
        let point = &points.all[3];
        assert_eq!((point.from, point.to), (12.0, 16.0));
        assert_eq!(point.max, of.iter().filter(|s| s.response.count > 0).map(|s| s.response.max).max());
        assert_eq!(point.rate, of.iter().map(|s| s.counts.answered).sum::<u64>() as f64 / 4.0);
        assert_eq!(point.errors, of.iter().flat_map(|s| s.counts.faults.values()).sum::<u64>() as f64 / 4.0);
        let heat: f64 = points.all.iter().flat_map(|p| p.heat.values()).sum::<f64>() * 4.0;
        let all: u64 = outcome.series.iter().flat_map(|s| &s.heat).map(|(_, n)| n).sum();
        assert!((heat - all as f64).abs() < 1.0, "{heat} {all}");
    }

    #[test]
    fn no_seconds_are_no_points() {
        let none = outcome(&Sample { seconds: 0, ..Sample::default() });
        let points = points(&none, 30);
        assert!(points.all.is_empty() && points.end > 0.0);
    }
}
