//! p50, p99 and the largest response time of each second.
use super::{
    Size,
    points::{Point, Points},
    scale::log_bounds,
    svg::{Svg, polyline},
    timeline::Timeline,
};
use crate::{record::Outcome, report::facts::words};

/// The plot; nothing where nothing was answered.
pub fn plot(outcome: &Outcome, points: &Points, size: Size, description: &str) -> Option<String> {
    let at = Timeline::new(size, points, 10.0, size.of(250.0, 220.0));
    let min = points.all.iter().filter_map(|p| p.p50).min()?;
    let max = points.all.iter().filter_map(|p| p.max).max()?;
    let id = format!("times-{}", size.name());
    let mut svg = Svg::new(&id, size.name(), (size.width(), at.bottom + 24.0), "Latency over time", description);
    at.silence(&mut svg, points);
    let y = at.time_scale(&mut svg, log_bounds(min as f64, max as f64));
    at.time_axis(&mut svg);
    let through = |of: fn(&Point) -> Option<u64>| {
        polyline(points.all.iter().map(|p| of(p).map(|us| (at.middle(p), y.at(us as f64)))))
    };
    svg.path("max", &through(|p| p.max));
    svg.path("b", &through(|p| p.p99));
    svg.path("a", &through(|p| p.p50));
    at.hits(&mut svg, points, words(outcome), at.top);
    Some(svg.end())
}
