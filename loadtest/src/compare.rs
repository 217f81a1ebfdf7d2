//! Two results side by side: which figures changed, by how much, and whether that is more than chance.
//!
//! The samples are seconds. Seconds of a run are not independent, so intervals come from resampling blocks of them, and
//! with several runs on a side from resampling runs as well. Looking at several figures finds a difference in one of them
//! by chance more often than in one alone: verdicts are corrected for that (Holm).
mod bootstrap;
mod ranks;
mod samples;
#[cfg(test)]
mod tests;
mod text;
mod warn;

use crate::{random::Random, record::Outcome};
use bootstrap::Resampled;
pub use samples::Measure;
use samples::{MEASURES, Runs};
use serde::Serialize;

/// Chance of a verdict where nothing differs, over all figures together.
pub const SIGNIFICANCE: f64 = 0.05;
/// Resamples of each figure unless asked otherwise.
pub const RESAMPLES: usize = 4_000;
/// Fewest and most resamples that may be asked for: with fewer no figure passes the correction.
pub const RESAMPLES_BOUNDS: (usize, usize) = (500, 1_000_000);
/// A change for the worse beyond this share fails the comparison unless asked otherwise.
pub const THRESHOLD: f64 = 0.05;
/// Most runs on a side.
pub const RUNS_MAX: usize = 1_000;

/// How to compare.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// A change for the worse beyond this share is a regression.
    pub threshold: f64,
    /// Resamples of each figure; brought into [`RESAMPLES_BOUNDS`].
    pub resamples: usize,
    /// Of the resampling: the same results compare the same every time.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { threshold: THRESHOLD, resamples: RESAMPLES, seed: 1 }
    }
}

/// What became of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Nothing that chance does not explain.
    NoDifference,
    /// B is better.
    Better,
    /// B is worse.
    Worse,
}

/// One figure on both sides.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Which.
    pub measure: Measure,
    /// Its mean over the seconds of A, and of B: microseconds, a share, or a count.
    pub a: f64,
    /// See `a`.
    pub b: f64,
    /// B/A − 1; for the share of errors B − A.
    pub change: f64,
    /// In which `change` lies with 95 % confidence, this figure alone looked at.
    pub interval: (f64, f64),
    /// Chance of such a change where there is none, this figure alone looked at.
    pub p: f64,
    /// The same by Mann and Whitney's test of ranks, which takes seconds as independent: a second opinion.
    pub p_ranks: f64,
    /// With all figures looked at.
    pub decision: Decision,
    /// Worse, and by more than the threshold.
    pub regressed: bool,
}

/// The comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Runs on each side.
    pub runs: (usize, usize),
    /// Figures that both sides have.
    pub rows: Vec<Row>,
    /// What speaks against comparing these results.
    pub warnings: Vec<String>,
    /// See [`Settings::threshold`].
    pub threshold: f64,
}

impl Comparison {
    /// A figure became worse by more than the threshold, and not by chance.
    pub fn regressed(&self) -> bool {
        self.rows.iter().any(|row| row.regressed)
    }
}

/// Compares two sides, each of one run or several.
///
/// # Errors
/// A side has no run, too many, or one that is too short to say anything; a sentence says which.
pub fn compare(a: &[Outcome], b: &[Outcome], settings: &Settings) -> Result<Comparison, String> {
    for (side, runs) in [("A", a), ("B", b)] {
        if runs.is_empty() || runs.len() > RUNS_MAX {
            return Err(format!("{side} has {} results; expected 1 to {RUNS_MAX}", runs.len()));
        }
        samples::long_enough(side, runs)?;
    }
    let resamples = settings.resamples.clamp(RESAMPLES_BOUNDS.0, RESAMPLES_BOUNDS.1);
    let mut rows: Vec<Row> = Vec::new();
    for (place, measure) in MEASURES.into_iter().enumerate() {
        let (Some(a), Some(b)) = (measure.samples(a), measure.samples(b)) else { continue };
        let mut random = Random::of(settings.seed, place as u64);
        rows.extend(row(measure, &a, &b, resamples, &mut random));
    }
    if rows.is_empty() {
        return Err("there is no figure that both sides have: no request was answered on one of them".into());
    }
    decide(&mut rows, settings.threshold);
    let warnings = warn::warnings(a, b);
    Ok(Comparison { runs: (a.len(), b.len()), rows, warnings, threshold: settings.threshold })
}

/// `None` when a ratio has nothing to be one of.
fn row(measure: Measure, a: &Runs, b: &Runs, resamples: usize, random: &mut Random) -> Option<Row> {
    let alike = bootstrap::correlation(a.iter().chain(b));
    let (side_a, side_b) = (Resampled::new(a, alike), Resampled::new(b, alike));
    let (mean_a, mean_b) = (side_a.mean, side_b.mean);
    // Figures of a file that no run has may add up to what is no number.
    if !(mean_a.is_finite() && mean_b.is_finite()) {
        return None;
    }
    let ratio = measure.is_ratio();
    if ratio && (mean_a <= 0.0 || mean_b <= 0.0) {
        return None;
    }
    // Ratios as logarithms: then a half and a double are equally far from no change.
    let change = if ratio { (mean_b / mean_a).ln() } else { mean_b - mean_a };
    let mut deviations: Vec<f64> = (0..resamples)
        .map(|_| {
            let (a, b) = (side_a.deviation(random), side_b.deviation(random));
            if ratio { b / mean_b - a / mean_a } else { b - a }
        })
        .collect();
    deviations.sort_by(f64::total_cmp);
    let at = |share: f64| deviations.get(((resamples - 1) as f64 * share).round() as usize).copied().unwrap_or(0.0);
    let interval = (change - at(1.0 - SIGNIFICANCE / 2.0), change - at(SIGNIFICANCE / 2.0));
    let as_far = deviations.iter().filter(|d| d.abs() >= change.abs()).count();
    let shown = |x: f64| if ratio { x.exp() - 1.0 } else { x };
    Some(Row {
        measure,
        a: mean_a,
        b: mean_b,
        change: shown(change),
        interval: (shown(interval.0), shown(interval.1)),
        p: (as_far + 1) as f64 / (resamples + 1) as f64,
        p_ranks: ranks::p_value(&a.concat(), &b.concat()),
        decision: Decision::NoDifference,
        regressed: false,
    })
}

/// Holm's step-down correction: from the least likely on, each must pass a limit that is divided among those that are left.
fn decide(rows: &mut [Row], threshold: f64) {
    let mut order: Vec<&mut Row> = rows.iter_mut().collect();
    order.sort_by(|x, y| x.p.total_cmp(&y.p));
    let all = order.len();
    for (passed, row) in order.into_iter().enumerate() {
        if row.p > SIGNIFICANCE / (all - passed) as f64 {
            break;
        }
        let excludes_none = row.interval.0 > 0.0 || row.interval.1 < 0.0;
        if !excludes_none || row.change == 0.0 {
            continue;
        }
        let worse = (row.change < 0.0) == row.measure.higher_is_better();
        row.decision = if worse { Decision::Worse } else { Decision::Better };
        // Errors that were none before are more by any share.
        let relative = if row.measure.is_ratio() { row.change.abs() } else { row.change.abs() / row.a };
        row.regressed = worse && relative > threshold;
    }
}
