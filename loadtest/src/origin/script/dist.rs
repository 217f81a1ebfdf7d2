//! How delays and sizes are distributed.
use super::{
    DELAY_MAX, Mistake, Random, micros,
    units::{duration, size, unit_of},
};
use std::{str::FromStr, time::Duration};

/// Most quantiles that describe a distribution.
const QUANTILES_MAX: usize = 16;
/// Largest shape of a lognormal distribution: beyond, its tail is the bound on delays and nothing else.
const SIGMA_MAX: f64 = 5.0;

/// How long answers take. None takes longer than `DELAY_MAX`: a tail is cut there.
#[derive(Clone, Debug, PartialEq)]
pub enum Delay {
    /// Always so long.
    Fixed(Duration),
    /// Between the two, each as likely.
    Uniform(Duration, Duration),
    /// Exponential, with this mean.
    Exponential(Duration),
    /// In terms of the standard normal distribution: points (z, ln µs), ascending, at least two. Between two, and beyond
    /// the outer ones, the logarithm goes in a straight line. Two points are a lognormal distribution.
    Quantiles(Box<[(f64, f64)]>),
}

impl Default for Delay {
    /// None.
    fn default() -> Delay {
        Delay::Fixed(Duration::ZERO)
    }
}

impl Delay {
    /// One of them, µs.
    pub fn draw(&self, random: &mut Random) -> u64 {
        match self {
            Delay::Fixed(d) => micros(*d),
            Delay::Uniform(low, high) => random.between(micros(*low), micros(*high)),
            Delay::Exponential(mean) => bounded(-random.unit().ln() * micros(*mean) as f64),
            Delay::Quantiles(points) => bounded(along(points, normal_quantile(random.unit())).exp()),
        }
    }
}

fn bounded(us: f64) -> u64 {
    us.clamp(0.0, micros(DELAY_MAX) as f64) as u64
}

/// The value at `z` on the line through `points`.
fn along(points: &[(f64, f64)], z: f64) -> f64 {
    let segment =
        points.windows(2).find(|pair| matches!(pair, [_, (end, _)] if z <= *end)).or(points.windows(2).last());
    match segment {
        Some([(z0, v0), (z1, v1)]) => v0 + (v1 - v0) * (z - z0) / (z1 - z0),
        _ => 0.0,
    }
}

/// Below which value a standard normal variable stays with probability `p` (between 0 and 1): P. J. Acklam's rational
/// approximation, relative error below 1.15e-9.
fn normal_quantile(p: f64) -> f64 {
    const LOW: f64 = 0.02425;
    let tail = |q: f64| {
        let top = [
            -7.784_894_002_430_293e-3,
            -3.223_964_580_411_365e-1,
            -2.400_758_277_161_838,
            -2.549_732_539_343_734,
            4.374_664_141_464_968,
            2.938_163_982_698_783,
        ];
        let bottom =
            [7.784_695_709_041_462e-3, 3.224_671_290_700_398e-1, 2.445_134_137_142_996, 3.754_408_661_907_416, 1.0];
        polynomial(&top, q) / polynomial(&bottom, q)
    };
    if p < LOW {
        return tail((-2.0 * p.ln()).sqrt());
    }
    if p > 1.0 - LOW {
        return -tail((-2.0 * (1.0 - p).ln()).sqrt());
    }
    let q = p - 0.5;
    let top = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_690e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    let bottom = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
        1.0,
    ];
    q * polynomial(&top, q * q) / polynomial(&bottom, q * q)
}

/// Highest power first.
fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().fold(0.0, |sum, c| sum * x + c)
}

impl FromStr for Delay {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Delay, Mistake> {
        let text = text.trim();
        if let Some(mean) = text.strip_prefix("exp:") {
            return Ok(Delay::Exponential(duration(mean)?));
        }
        if let Some(parameters) = text.strip_prefix("lognormal:") {
            return lognormal(text, parameters);
        }
        if text.starts_with('p') {
            return quantiles(text);
        }
        if let Some((middle, by)) = text.split_once('±').or(text.split_once("+-")) {
            return around(middle, by);
        }
        if let Some((low, high)) = text.split_once('-').filter(|(low, _)| !low.is_empty()) {
            let (low, high) = (duration(low)?, duration(high)?);
            return if low <= high {
                Ok(Delay::Uniform(low, high))
            } else {
                Err(Mistake(format!("`{text}`: the shorter delay comes first, as in 1ms-9ms")))
            };
        }
        duration(text).map(Delay::Fixed).map_err(|mistake| {
            Mistake(format!(
                "{mistake}; or a distribution: 5ms±2ms, 1ms-9ms, exp:5ms, lognormal:5ms,0.5, p50=5ms,p99=50ms"
            ))
        })
    }
}

/// `5ms±2ms`, or `5ms±2`.
fn around(middle: &str, by: &str) -> Result<Delay, Mistake> {
    let with_unit = format!("{by}{}", unit_of(middle));
    let by = duration(if unit_of(by).is_empty() { &with_unit } else { by })?;
    let middle = duration(middle)?;
    let low = middle.checked_sub(by).ok_or_else(|| {
        Mistake(format!("{middle:?}±{by:?} would begin below zero: the second must not be longer than the first"))
    })?;
    Ok(Delay::Uniform(low, (middle + by).min(DELAY_MAX)))
}

/// `5ms,0.5`: median and shape.
fn lognormal(text: &str, parameters: &str) -> Result<Delay, Mistake> {
    let wrong =
        || Mistake(format!("`{text}`: a median and a shape up to {SIGMA_MAX} are expected, as in lognormal:5ms,0.5"));
    let (median, sigma) = parameters.split_once(',').ok_or_else(wrong)?;
    let sigma: f64 = sigma.trim().parse().map_err(|_| wrong())?;
    if !(0.0..=SIGMA_MAX).contains(&sigma) {
        return Err(wrong());
    }
    let median = (micros(duration(median)?).max(1) as f64).ln();
    Ok(Delay::Quantiles(Box::new([(0.0, median), (1.0, median + sigma)])))
}

/// `p50=5ms,p99=50ms`.
fn quantiles(text: &str) -> Result<Delay, Mistake> {
    let wrong =
        || Mistake(format!("`{text}`: two percentiles or more are expected, ascending, as in p50=5ms,p99=50ms"));
    let mut points: Vec<(f64, f64)> = Vec::new();
    for part in text.split(',') {
        let (percent, delay) = part.trim().strip_prefix('p').and_then(|p| p.split_once('=')).ok_or_else(wrong)?;
        let percent: f64 = percent.parse().map_err(|_| wrong())?;
        if !(percent > 0.0 && percent < 100.0) || points.len() == QUANTILES_MAX {
            return Err(wrong());
        }
        let point = (normal_quantile(percent / 100.0), (micros(duration(delay)?).max(1) as f64).ln());
        if points.last().is_some_and(|last| last.0 >= point.0 || last.1 > point.1) {
            return Err(wrong());
        }
        points.push(point);
    }
    if points.len() < 2 { Err(wrong()) } else { Ok(Delay::Quantiles(points.into())) }
}

/// How large bodies are: from, to, both included, each as likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    low: u64,
    high: u64,
}

impl Default for Size {
    /// 1 KiB.
    fn default() -> Size {
        Size { low: 1024, high: 1024 }
    }
}

impl Size {
    /// One of them, bytes.
    pub fn draw(&self, random: &mut Random) -> u64 {
        if self.low == self.high { self.low } else { random.between(self.low, self.high) }
    }
}

impl FromStr for Size {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Size, Mistake> {
        let Some((low, high)) = text.split_once('-') else {
            let bytes = size(text)?;
            return Ok(Size { low: bytes, high: bytes });
        };
        let (low, high) = (size(low)?, size(high)?);
        if low > high {
            return Err(Mistake(format!("`{text}`: the smaller size comes first, as in 1k-64k")));
        }
        Ok(Size { low, high })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sorted draws, µs.
    fn draws(text: &str) -> Vec<u64> {
        let delay: Delay = text.parse().unwrap();
        let mut random = Random::new(42);
        let mut all: Vec<u64> = (0..100_000).map(|_| delay.draw(&mut random)).collect();
        all.sort_unstable();
        all
    }

    fn near(is: f64, wanted: f64, within: f64) {
        assert!((is / wanted - 1.0).abs() < within, "{is} instead of {wanted}");
    }

    fn mean(all: &[u64]) -> f64 {
        all.iter().sum::<u64>() as f64 / all.len() as f64
    }

    fn at(all: &[u64], q: f64) -> f64 {
        all[(all.len() as f64 * q) as usize] as f64
    }

    #[test]
    fn fixed_and_uniform() {
        assert!(draws("5ms").iter().all(|d| *d == 5000));
        for text in ["5ms±2ms", "5ms+-2ms", "5ms±2", "3ms-7ms"] {
            let all = draws(text);
            assert_eq!((all[0], all[all.len() - 1]), (3000, 7000), "{text}");
            near(mean(&all), 5000.0, 0.01);
            near(at(&all, 0.25), 4000.0, 0.01);
        }
    }

    #[test]
    fn exponential() {
        let all = draws("exp:5ms");
        near(mean(&all), 5000.0, 0.02);
        near(at(&all, 0.5), 5000.0 * 2f64.ln(), 0.02);
        near(at(&all, 0.99), 5000.0 * 100f64.ln(), 0.03);
    }

    #[test]
    fn lognormal_by_shape_and_by_percentiles() {
        let all = draws("lognormal:5ms,0.5");
        near(at(&all, 0.5), 5000.0, 0.01);
        near(mean(&all), 5000.0 * 0.125f64.exp(), 0.01);
        let all = draws("p50=5ms,p99=50ms");
        near(at(&all, 0.5), 5000.0, 0.02);
        near(at(&all, 0.99), 50_000.0, 0.04);
        let all = draws("p50=5ms,p90=6ms,p99=200ms");
        near(at(&all, 0.5), 5000.0, 0.01);
        near(at(&all, 0.9), 6000.0, 0.01);
        near(at(&all, 0.99), 200_000.0, 0.1);
        assert!(draws("p50=1s,p51=50s").last() <= Some(&60_000_000));
    }

    #[test]
    fn quantiles_of_the_normal_distribution() {
        for (p, z) in [(0.5, 0.0), (0.975, 1.959_963_985), (0.001, -3.090_232_306), (0.9, 1.281_551_566)] {
            assert!((normal_quantile(p) - z).abs() < 1e-7, "{p}");
        }
    }

    #[test]
    fn sizes() {
        let mut random = Random::new(1);
        let size: Size = "1k-64k".parse().unwrap();
        let all: Vec<u64> = (0..20_000).map(|_| size.draw(&mut random)).collect();
        assert!(all.iter().all(|n| (1024..=65_536).contains(n)));
        near(mean(&all), 33_280.0, 0.02);
        assert_eq!("300".parse::<Size>().unwrap().draw(&mut random), 300);
    }

    #[test]
    fn mistakes_say_what_was_expected() {
        for (text, part) in [
            ("fast", "5ms±2ms"),
            ("2ms±5ms", "below zero"),
            ("9ms-1ms", "comes first"),
            ("exp:x", "expected a duration"),
            ("lognormal:5ms", "lognormal:5ms,0.5"),
            ("lognormal:5ms,9", "up to 5"),
            ("p50=5ms", "p50=5ms,p99=50ms"),
            ("p99=5ms,p50=9ms", "ascending"),
            ("p50=9ms,p99=5ms", "ascending"),
            ("p100=9ms,p99=5ms", "percentiles"),
            ("61s", "longest delay"),
        ] {
            let mistake = text.parse::<Delay>().unwrap_err();
            assert!(mistake.0.contains(part), "{text}: {mistake}");
        }
        assert!("9k-1k".parse::<Size>().unwrap_err().0.contains("comes first"));
    }
}
