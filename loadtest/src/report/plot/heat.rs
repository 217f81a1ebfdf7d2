//! How many answers took how long, second by second: a cell for each bucket of each second, darker for more.
use super::{
    Size,
    points::Points,
    scale::{Scale, log_ticks},
    svg::{Anchor, Svg, n},
    timeline::{Timeline, micros_mark},
};
use crate::{
    record::Outcome,
    report::{facts::words, units::rate},
};
use std::fmt::Write as _;

/// Shades. Eight can be told apart, also by those who see fewer colours.
pub const SHADES: usize = 8;
/// Buckets to an octave, as recorded.
const BUCKETS: f64 = 4.0;

/// Which shade stands for how many answers a second: equal steps of the logarithm, since rare slow answers matter.
#[derive(Clone, Copy, Debug)]
struct Shading {
    least: f64,
    most: f64,
}

impl Shading {
    fn of(points: &Points) -> Option<Shading> {
        let rates = || points.all.iter().flat_map(|p| p.heat.values().copied());
        let most = rates().reduce(f64::max)?;
        Some(Shading { least: rates().fold(most, f64::min), most })
    }

    fn shade(&self, rate: f64) -> usize {
        let share = (rate / self.least).ln() / (self.most / self.least).ln();
        // All alike: the highest shade.
        if share.is_finite() { ((share * SHADES as f64) as usize).min(SHADES - 1) } else { SHADES - 1 }
    }

    /// The lowest rate of a shade.
    fn from(&self, shade: usize) -> f64 {
        self.least * (self.most / self.least).powf(shade as f64 / SHADES as f64)
    }
}

/// The lower bound of a bucket, µs.
fn bound(bucket: f64) -> f64 {
    2f64.powf(bucket / BUCKETS)
}

/// The plot with its legend; nothing where nothing was answered.
pub fn plot(outcome: &Outcome, points: &Points, size: Size, description: &str) -> Option<String> {
    let shading = Shading::of(points)?;
    let at = Timeline::new(size, points, 44.0, size.of(320.0, 280.0));
    let buckets = || points.all.iter().flat_map(|p| p.heat.keys().copied());
    let (low, high) = (f64::from(buckets().min()?), f64::from(buckets().max()?) + 1.0);
    let id = format!("heat-{}", size.name());
    let mut svg = Svg::new(&id, size.name(), (size.width(), at.bottom + 24.0), "Heat map of latency", description);
    legend(&mut svg, shading, outcome, size);
    at.silence(&mut svg, points);
    let y = Scale::linear((low, high), (at.bottom, at.top));
    for (shade, d) in cells(points, shading, &at, &y).iter().enumerate() {
        svg.path(&format!("h{shade}"), d);
    }
    for tick in log_ticks((bound(low), bound(high))) {
        at.mark(&mut svg, y.at(tick.log2() * BUCKETS), &micros_mark(tick));
    }
    at.time_axis(&mut svg);
    at.hits(&mut svg, points, words(outcome), at.top);
    Some(svg.end())
}

/// One path for each shade: a rectangle for each cell would be ten times as long.
fn cells(points: &Points, shading: Shading, at: &Timeline, y: &Scale) -> [String; SHADES] {
    let mut paths: [String; SHADES] = Default::default();
    for point in &points.all {
        let (from, to) = (at.x.at(point.from), at.x.at(point.to));
        // A hairline of background between cells, where they are wide enough to spare it.
        let width = (to - from - if to - from > 6.0 { 0.6 } else { 0.0 }).max(0.5);
        for (bucket, rate) in &point.heat {
            let (top, bottom) = (y.at(f64::from(*bucket) + 1.0), y.at(f64::from(*bucket)));
            let height = (bottom - top - if bottom - top > 5.0 { 0.6 } else { 0.0 }).max(0.5);
            if let Some(d) = paths.get_mut(shading.shade(*rate)) {
                let _ = write!(d, "M{} {}h{w}v{}h-{w}z", n(from), n(top), n(height), w = n(width));
            }
        }
    }
    paths
}

fn legend(svg: &mut Svg, shading: Shading, outcome: &Outcome, size: Size) {
    let words = words(outcome);
    svg.text("name", (0.0, 12.0), Anchor::Start, &format!("{} a second in a cell", words.many));
    let right = size.width() - 10.0;
    let width = size.of(34.0, 20.0);
    let left = right - width * SHADES as f64;
    for shade in 0..SHADES {
        svg.rect(&format!("h{shade}"), (left + width * shade as f64, 2.0), (width - 1.0, 11.0));
    }
    svg.text("tick", (left, 26.0), Anchor::Start, &rate(shading.from(0)));
    svg.text("tick", (left + width * SHADES as f64 / 2.0, 26.0), Anchor::Middle, &rate(shading.from(SHADES / 2)));
    svg.text("tick", (right - 1.0, 26.0), Anchor::End, &rate(shading.most));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_go_from_the_rarest_to_the_most_frequent() {
        let shading = Shading { least: 1.0, most: 10_000.0 };
        assert_eq!([shading.shade(1.0), shading.shade(101.0), shading.shade(10_000.0)], [0, SHADES / 2, SHADES - 1]);
        assert!((shading.from(SHADES / 2) - 100.0).abs() < 1e-6);
        let alike = Shading { least: 3.0, most: 3.0 };
        assert_eq!(alike.shade(3.0), SHADES - 1);
    }

    #[test]
    fn buckets_are_those_of_the_record() {
        assert_eq!([bound(0.0), bound(4.0), bound(40.0)], [1.0, 2.0, 1024.0]);
    }
}
