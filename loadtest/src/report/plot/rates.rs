//! Answers a second and errors a second, one above the other.
use super::{
    Size,
    points::Points,
    scale::{Scale, linear_axis, linear_ticks},
    svg::{Anchor, Svg, n, polyline},
    timeline::Timeline,
};
use crate::{
    record::Outcome,
    report::{
        facts::words,
        units::{clean, rate},
    },
};

/// Height of the upper part, and of the lower one, which is there only when something went wrong.
const HEIGHTS: (f64, f64) = (180.0, 78.0);
/// Room above each part for its name.
const NAME: f64 = 24.0;

/// The plot. `description` says what it shows.
pub fn plot(outcome: &Outcome, points: &Points, size: Size, description: &str) -> String {
    let bad = points.all.iter().any(|p| p.errors > 0.0);
    let upper = Timeline::new(size, points, NAME, NAME + HEIGHTS.0);
    let lower = Timeline::new(size, points, upper.bottom + NAME + 6.0, upper.bottom + NAME + 6.0 + HEIGHTS.1);
    let last = if bad { lower } else { upper };
    let id = format!("rates-{}", size.name());
    let title = format!("{} and errors over time", clean(words(outcome).many, 20));
    let mut svg = Svg::new(&id, size.name(), (size.width(), last.bottom + 24.0), &title, description);
    answers(&mut svg, outcome, points, &upper);
    if bad {
        svg.line("axis", (upper.left, upper.bottom), (upper.right, upper.bottom));
        errors(&mut svg, points, &lower);
    }
    last.time_axis(&mut svg);
    last.hits(&mut svg, points, words(outcome), upper.top);
    svg.end()
}

fn answers(svg: &mut Svg, outcome: &Outcome, points: &Points, at: &Timeline) {
    let words = words(outcome);
    svg.text("name", (0.0, 12.0), Anchor::Start, &format!("{} {} a second", words.many, words.answered));
    let asked = outcome.asked.rate.filter(|r| r.is_finite() && *r > 0.0);
    let max = points.all.iter().map(|p| p.rate).fold(asked.unwrap_or(0.0), f64::max);
    let axis = linear_axis(max, 4.0);
    let y = Scale::linear((0.0, axis.0), (at.bottom, at.top));
    for tick in linear_ticks(axis) {
        at.mark(svg, y.at(tick), &short(tick));
    }
    // Steps: a rate holds for its whole second, and one second alone is still seen.
    let steps: Vec<Option<(f64, f64)>> = points
        .all
        .iter()
        .flat_map(|p| [Some((at.x.at(p.from), y.at(p.rate))), Some((at.x.at(p.to), y.at(p.rate)))])
        .collect();
    if let (Some(Some(first)), Some(Some(last))) = (steps.first(), steps.last()) {
        let line = polyline(steps.iter().copied());
        svg.path("area", &format!("{line}L{} {b}L{} {b}Z", n(last.0), n(first.0), b = n(at.bottom)));
        svg.path("a", &line);
    }
    if let Some(asked) = asked {
        let place = y.at(asked);
        svg.line("asked", (at.left, place), (at.right, place));
        // Under the line where there is no room above it, which is only when it is the top.
        let below = place < at.top + 14.0;
        let baseline = if below { place + 14.0 } else { place - 5.0 };
        svg.text("note", (at.right, baseline), Anchor::End, &format!("asked {}/s", rate(asked)));
    }
}

fn errors(svg: &mut Svg, points: &Points, at: &Timeline) {
    svg.text("name", (0.0, at.top - 12.0), Anchor::Start, "errors a second");
    let axis = linear_axis(points.all.iter().map(|p| p.errors).fold(0.0, f64::max), 2.0);
    let y = Scale::linear((0.0, axis.0), (at.bottom, at.top));
    for tick in linear_ticks(axis) {
        at.mark(svg, y.at(tick), &short(tick));
    }
    for point in points.all.iter().filter(|p| p.errors > 0.0) {
        let (from, to) = (at.x.at(point.from), at.x.at(point.to));
        // A single error among millions is still a mark.
        let height = (at.bottom - y.at(point.errors)).max(1.5);
        svg.rect("bad", (from, at.bottom - height), ((to - from).max(1.0), height));
    }
}

/// A round number on an axis: `250`, `12.5k`, `3M`.
fn short(value: f64) -> String {
    let trimmed = |v: f64, unit: &str| format!("{}{unit}", (v * 1000.0).round() / 1000.0);
    match value {
        v if v >= 1e12 => format!("{v:.1e}"),
        v if v >= 1e9 => trimmed(v / 1e9, "G"),
        v if v >= 1e6 => trimmed(v / 1e6, "M"),
        v if v >= 1e4 => trimmed(v / 1e3, "k"),
        v => trimmed(v, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_short() {
        assert_eq!(
            [short(0.0), short(0.25), short(2500.0), short(12_500.0), short(3e6)],
            ["0", "0.25", "2500", "12.5k", "3M"]
        );
    }
}
