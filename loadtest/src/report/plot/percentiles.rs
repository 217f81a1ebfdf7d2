//! Latency by percentile, as HdrHistogram's plots show it: each step to the right is a tenth of the requests that are left.
use super::{
    Size,
    scale::{Scale, log_bounds, log_ticks},
    svg::{Anchor, Svg, polyline},
    timeline::micros_mark,
};
use crate::{
    record::{Outcome, Spread},
    report::units::micros,
};
use base64::Engine as _;
use hdrhistogram::{Histogram, serialization::Deserializer};

/// Points of a curve.
const CURVE: usize = 160;
/// As far to the right as a plot goes: 99.99999 %.
const NINES_MAX: f64 = 7.0;
/// Marks of the axis, with the number of nines (the logarithm) that each has.
const MARKS: [(&str, f64); 9] = [
    ("0", 0.0),
    ("50", std::f64::consts::LOG10_2),
    ("90", 1.0),
    ("99", 2.0),
    ("99.9", 3.0),
    ("99.99", 4.0),
    ("99.999", 5.0),
    ("99.9999", 6.0),
    ("99.99999", 7.0),
];

/// A distribution as a curve: logarithm of 1/(1−p), and the time at it, µs.
fn curve(spread: &Spread) -> Vec<(f64, f64)> {
    if spread.count == 0 {
        return Vec::new();
    }
    let end = nines(spread);
    let mut points = match decoded(spread) {
        Some(histogram) => (0..=CURVE)
            .map(|i| end * i as f64 / CURVE as f64)
            .map(|t| (t, histogram.value_at_quantile(1.0 - 10f64.powf(-t)) as f64))
            .collect(),
        None => known(spread, end),
    };
    points.push((end, spread.max as f64));
    points
}

/// The percentiles that a spread names, where its distribution is not there.
fn known(s: &Spread, end: f64) -> Vec<(f64, f64)> {
    let named =
        [(0.0, s.min), (0.5, s.p50), (0.75, s.p75), (0.9, s.p90), (0.95, s.p95), (0.99, s.p99), (0.999, s.p999)];
    let all = named.into_iter().chain([(0.9999, s.p9999)]);
    all.map(|(p, us)| (-(1.0f64 - p).log10(), us as f64)).filter(|(t, _)| *t < end).collect()
}

fn decoded(spread: &Spread) -> Option<Histogram<u64>> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(&spread.hdr).ok()?;
    let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).ok()?;
    (!histogram.is_empty()).then_some(histogram)
}

/// Where its last value stands: one of a thousand is at 99.9 %.
fn nines(spread: &Spread) -> f64 {
    (spread.count.max(1) as f64).log10().clamp(1.0, NINES_MAX)
}

/// The plot; nothing where nothing was answered.
pub fn plot(outcome: &Outcome, size: Size, description: &str) -> Option<String> {
    let response = curve(&outcome.times.response);
    let service = outcome.times.service.as_ref().map(curve).unwrap_or_default();
    let values = || response.iter().chain(&service).map(|(_, us)| *us);
    let bounds = log_bounds(values().reduce(f64::min)?, values().reduce(f64::max)?);
    let (left, right, top, bottom) = (56.0, size.width() - size.of(16.0, 14.0), 10.0, size.of(290.0, 250.0));
    let end = nines(&outcome.times.response);
    let x = Scale::linear((0.0, end), (left, right));
    let y = Scale::log(bounds, (bottom, top));
    let id = format!("percentiles-{}", size.name());
    let mut svg = Svg::new(&id, size.name(), (size.width(), bottom + 40.0), "Latency by percentile", description);
    for tick in log_ticks(bounds) {
        svg.line("grid", (left, y.at(tick)), (right, y.at(tick)));
        svg.text("tick", (left - 6.0, y.at(tick) + 4.0), Anchor::End, &micros_mark(tick));
    }
    axis(&mut svg, &x, end, (left, right, bottom), size);
    let through = |curve: &[(f64, f64)]| polyline(curve.iter().map(|(t, us)| Some((x.at(*t), y.at(*us)))));
    svg.path("b dash", &through(&service));
    svg.path("a", &through(&response));
    landmarks(&mut svg, &outcome.times.response, end, &x, &y);
    let step = (right - left) / (CURVE as f64 / 4.0);
    let columns = (0..CURVE / 4).map(|i| {
        let from = left + step * i as f64;
        ((from, from + step), said(&response, &service, end * (i as f64 + 0.5) / (CURVE as f64 / 4.0)))
    });
    svg.hits(columns, (top, bottom - top));
    Some(svg.end())
}

fn axis(svg: &mut Svg, x: &Scale, end: f64, (left, right, bottom): (f64, f64, f64), size: Size) {
    svg.line("axis", (left, bottom), (right, bottom));
    for (name, t) in MARKS.iter().filter(|(_, t)| *t <= end + 1e-9) {
        svg.line("axis", (x.at(*t), bottom), (x.at(*t), bottom + 4.0));
        let percent = size.of(" %", if end <= 4.0 { " %" } else { "" });
        // 0 and 50 % are near each other on a phone.
        if *t == 0.0 && matches!(size, Size::Narrow) {
            continue;
        }
        let anchor = if x.at(*t) > right - 20.0 { Anchor::End } else { Anchor::Middle };
        let place = if matches!(anchor, Anchor::End) { right + 12.0 } else { x.at(*t) };
        svg.text("tick", (place, bottom + 17.0), anchor, &format!("{name}{percent}"));
    }
    let what = size.of("percentile: so many requests took no longer", "percentile");
    svg.text("note", ((left + right) / 2.0, bottom + 34.0), Anchor::Middle, what);
}

/// The figures that people quote, on the curve.
fn landmarks(svg: &mut Svg, s: &Spread, end: f64, x: &Scale, y: &Scale) {
    let quoted = [("p50", MARKS[1].1, s.p50), ("p99", 2.0, s.p99), ("p99.9", 3.0, s.p999), ("max", end, s.max)];
    let mut last = f64::NEG_INFINITY;
    for (name, t, us) in quoted.into_iter().filter(|(name, t, _)| *t < end - 0.2 || *name == "max") {
        let (px, py) = (x.at(t), y.at(us as f64));
        svg.dot("dot", (px, py), 3.5);
        let label = format!("{name} {}", micros(us));
        // The curve only rises: up and to the left of a point there is nothing, unless the point is near the left edge.
        let start = px < last.max(0.0) + 6.6 * label.chars().count() as f64 + 60.0 && name == "p50";
        let (at, anchor) =
            if start { ((px - 2.0, py - 12.0), Anchor::Start) } else { ((px - 7.0, py - 6.0), Anchor::End) };
        svg.text("mark", (at.0, at.1.max(10.0)), anchor, &label);
        last = px;
    }
}

/// What is at a place of the axis.
fn said(response: &[(f64, f64)], service: &[(f64, f64)], t: f64) -> String {
    let near = |curve: &[(f64, f64)]| {
        let at = curve.iter().min_by(|a, b| (a.0 - t).abs().total_cmp(&(b.0 - t).abs()));
        at.map(|(_, us)| micros(*us as u64))
    };
    let percent = 100.0 * (1.0 - 10f64.powf(-t));
    let digits = (t.floor().max(0.0) as usize).min(7);
    let mut out = format!("{percent:.digits$} %");
    match (near(response), near(service)) {
        (Some(response), Some(service)) => out.push_str(&format!(": response {response}, service {service}")),
        (Some(alone), None) => out.push_str(&format!(": {alone}")),
        _ => {}
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{Sample, outcome};

    #[test]
    fn the_curve_is_the_distribution() {
        let spread = outcome(&Sample::default()).times.response;
        let points = curve(&spread);
        assert!(points.windows(2).all(|w| w[0].0 <= w[1].0 && w[0].1 <= w[1].1), "it rises");
        assert_eq!(points.last().map(|p| p.1), Some(spread.max as f64));
        let at = |t: f64| points.iter().min_by(|a, b| (a.0 - t).abs().total_cmp(&(b.0 - t).abs())).unwrap().1;
        for (t, us) in [(MARKS[1].1, spread.p50), (2.0, spread.p99), (3.0, spread.p999)] {
            let close = at(t) / us as f64;
            assert!((0.9..1.12).contains(&close), "{t}: {} {us}", at(t));
        }
    }

    #[test]
    fn without_the_distribution_the_named_percentiles_have_to_do() {
        for hdr in ["", "not base64!", "AAAA"] {
            let spread = Spread { hdr: hdr.to_owned(), ..outcome(&Sample::default()).times.response };
            let points = curve(&spread);
            assert_eq!(points.len(), 9, "{hdr}");
            assert!(points.iter().any(|p| p.1 == spread.p99 as f64));
        }
        assert!(curve(&Spread::default()).is_empty());
        let one = Spread { count: 1, min: 7, p50: 7, p9999: 7, max: 7, ..Spread::default() };
        assert_eq!(curve(&one).last(), Some(&(1.0, 7.0)));
    }
}
