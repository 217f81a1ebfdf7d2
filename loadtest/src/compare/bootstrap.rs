//! How far a side's mean might lie from where it was found: resampled blocks of seconds, resampled runs.
//!
//! Blocks (moving, and closed to a ring so that every second is drawn as often as any other) keep what seconds that follow
//! each other have in common (Künsch, "The jackknife and the bootstrap for general stationary observations", 1989); their
//! length is what Politis and White ("Automatic block-length selection for the dependent bootstrap", 2004) give for a series
//! whose seconds are as alike as the first-order correlation says. Three corrections keep the intervals honest with few
//! samples, where the plain method finds differences too often:
//! - the variance that blocks of this length do not see of such a series is added;
//! - deviations are spread as Student's t is against the normal distribution, by the samples that the series is worth;
//! - with a single run, what differs between runs of the same thing cannot be seen: [`RUN_NOISE`] is assumed.
use super::samples::Runs;
use crate::random::Random;

/// Standard deviation of the mean from run to run, as a share of it, that is assumed where there is only one run.
pub(super) const RUN_NOISE: f64 = 0.005;
/// Stronger correlations are taken as this: beyond, a series of a minute has no two samples.
const CORRELATION_MAX: f64 = 0.9;
/// Fewest degrees of freedom: with fewer an interval has no end.
const FREEDOM_MIN: f64 = 2.0;

/// One run, ready to be resampled.
struct Run {
    /// Sums of the samples before each place, twice around.
    sums: Vec<f64>,
    len: usize,
    mean: f64,
    block: usize,
    /// What deviations are multiplied by.
    scale: f64,
    /// Samples that it is worth, if they were independent.
    worth: f64,
}

/// A side, ready to be resampled.
pub(super) struct Resampled {
    runs: Vec<Run>,
    /// Of all runs, each weighing the same.
    pub mean: f64,
    scale: f64,
    freedom: f64,
    noise: f64,
}

impl Run {
    fn new(samples: &[f64]) -> Run {
        let len = samples.len();
        let mut sums = Vec::with_capacity(2 * len + 1);
        let mut sum = 0.0;
        sums.push(sum);
        for sample in samples.iter().chain(samples) {
            sum += sample;
            sums.push(sum);
        }
        let mean = samples.iter().sum::<f64>() / len as f64;
        let alike = correlation(samples, mean);
        let block = block_length(alike, len);
        let n = len as f64;
        let worth = (n * (1.0 - alike) / (1.0 + alike)).max(1.5);
        // The mean takes a part of the variance with it: of so many samples as the series is worth.
        let scale = (worth / (worth - 1.0)).min(3.0).sqrt() * (1.0 / seen(alike, block)).sqrt();
        Run { sums, len, mean, block, scale, worth }
    }

    /// The mean of as many samples, from blocks that begin anywhere.
    fn resample(&self, random: &mut Random) -> f64 {
        let (mut sum, mut left) = (0.0, self.len);
        while left > 0 {
            let length = self.block.min(left);
            let from = random.below(self.len);
            let at = |place: usize| self.sums.get(place).copied().unwrap_or(0.0);
            sum += at(from + length) - at(from);
            left -= length;
        }
        self.mean + (sum / self.len as f64 - self.mean) * self.scale
    }
}

impl Resampled {
    pub(super) fn new(runs: &Runs) -> Resampled {
        let runs: Vec<Run> = runs.iter().map(|run| Run::new(run)).collect();
        let n = runs.len() as f64;
        let mean = runs.iter().map(|run| run.mean).sum::<f64>() / n;
        match runs.as_slice() {
            [only] => {
                let freedom = (only.worth - 1.0).max(FREEDOM_MIN);
                Resampled { runs, mean, scale: 1.0, freedom, noise: RUN_NOISE * mean.abs() }
            }
            // Runs differ by what they are and by what each of them saw: drawing them again sees both.
            _ => {
                let freedom = (n - 1.0).max(FREEDOM_MIN);
                Resampled { runs, mean, scale: (n / (n - 1.0)).sqrt(), freedom, noise: 0.0 }
            }
        }
    }

    /// One way in which the mean might have come out otherwise.
    pub(super) fn deviation(&self, random: &mut Random) -> f64 {
        let mut sum = 0.0;
        for run in &self.runs {
            let drawn = if self.runs.len() == 1 { Some(run) } else { self.runs.get(random.below(self.runs.len())) };
            sum += drawn.map_or(0.0, |run| run.resample(random));
        }
        let deviation = (sum / self.runs.len() as f64 - self.mean) * self.scale;
        let student = (self.freedom / random.chi_squared(self.freedom)).sqrt();
        deviation * student + self.noise * random.normal()
    }
}

/// How alike seconds are that follow each other: the first-order correlation, without what a short series hides of it;
/// 0 to [`CORRELATION_MAX`].
fn correlation(samples: &[f64], mean: f64) -> f64 {
    let variance: f64 = samples.iter().map(|x| (x - mean).powi(2)).sum();
    if variance <= 0.0 {
        return 0.0;
    }
    let together: f64 = samples.iter().zip(samples.iter().skip(1)).map(|(x, y)| (x - mean) * (y - mean)).sum();
    let found = together / variance;
    // Kendall, 1954: what is found is too low by about (1 + 4ρ) / n.
    let n = samples.len() as f64;
    (found + (1.0 + 4.0 * found) / n).clamp(0.0, CORRELATION_MAX)
}

/// Seconds of a block: (6ρ² / (1 − ρ²)² · n)^⅓, from 1 to a third of the run.
fn block_length(alike: f64, len: usize) -> usize {
    let odds = alike / (1.0 - alike * alike);
    let best = (6.0 * odds * odds * len as f64).cbrt().ceil() as usize;
    best.clamp(1, (len / 3).max(1))
}

/// The share that blocks of this length see of the variance of such a series' mean.
fn seen(alike: f64, block: usize) -> f64 {
    let length = block as f64;
    let in_block: f64 = (1..block).map(|k| (1.0 - k as f64 / length) * alike.powi(k as i32)).sum();
    (1.0 + 2.0 * in_block) / ((1.0 + alike) / (1.0 - alike))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_longer_for_series_that_remember() {
        assert_eq!(block_length(0.0, 60), 1);
        assert!(block_length(0.3, 60) >= 3 && block_length(0.7, 60) > block_length(0.3, 60));
        assert_eq!(block_length(0.9, 9), 3);
        assert_eq!(block_length(0.9, 1), 1);
    }

    #[test]
    fn short_blocks_see_a_part_of_the_variance() {
        assert!((seen(0.0, 1) - 1.0).abs() < 1e-12);
        assert!((seen(0.5, 1) - 1.0 / 3.0).abs() < 1e-12);
        assert!(seen(0.5, 5) > seen(0.5, 2) && seen(0.5, 1_000) > 0.99);
    }

    #[test]
    fn correlation_is_found() {
        let mut random = Random::new(3);
        let mut last = 0.0;
        let series: Vec<f64> = (0..5_000)
            .map(|_| {
                last = 0.6 * last + random.normal();
                last
            })
            .collect();
        assert!((correlation(&series, 0.0) - 0.6).abs() < 0.05);
        assert_eq!(correlation(&[5.0; 10], 5.0), 0.0);
    }

    #[test]
    fn what_never_varies_deviates_by_the_noise_of_runs_only() {
        let mut random = Random::new(3);
        let one = Resampled::new(&vec![vec![100.0; 10]]);
        let far = (0..10_000).map(|_| one.deviation(&mut random).powi(2)).sum::<f64>() / 10_000.0;
        assert!((far.sqrt() - 100.0 * RUN_NOISE).abs() < 0.02, "{far}");
        let several = Resampled::new(&vec![vec![100.0; 10]; 3]);
        assert!((0..100).all(|_| several.deviation(&mut random).abs() < 1e-9));
    }
}
