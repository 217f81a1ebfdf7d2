//! What all plots over time share: their place, the axis of time, and what is said of a second under the pointer.
use super::{
    Size,
    points::{Point, Points},
    scale::{Scale, log_ticks, moment, time_ticks},
    svg::{Anchor, Svg},
};
use crate::report::{
    facts::{Words, by_number},
    units::{micros, rate},
};

/// Room at the left for the values' names: the same in every plot, so that a second is in the same place in all.
const LEFT: f64 = 56.0;
/// Room at the right.
const RIGHT: f64 = 10.0;

/// The place of a plot over time.
#[derive(Clone, Copy, Debug)]
pub struct Timeline {
    /// For which width.
    pub size: Size,
    /// Its left edge.
    pub left: f64,
    /// Its right edge.
    pub right: f64,
    /// Its upper edge.
    pub top: f64,
    /// Its lower edge.
    pub bottom: f64,
    /// Seconds to places.
    pub x: Scale,
    /// Seconds.
    end: f64,
}

impl Timeline {
    /// Between two heights.
    pub fn new(size: Size, points: &Points, top: f64, bottom: f64) -> Timeline {
        let (left, right) = (LEFT, size.width() - RIGHT);
        Timeline { size, left, right, top, bottom, x: Scale::linear((0.0, points.end), (left, right)), end: points.end }
    }

    /// The middle of a point.
    pub fn middle(&self, point: &Point) -> f64 {
        self.x.at((point.from + point.to) / 2.0)
    }

    /// The axis of time, with its moments.
    pub fn time_axis(&self, svg: &mut Svg) {
        svg.line("axis", (self.left, self.bottom), (self.right, self.bottom));
        for tick in time_ticks(self.end, self.size.of(10.0, 5.0)) {
            let x = self.x.at(tick);
            svg.line("axis", (x, self.bottom), (x, self.bottom + 4.0));
            let anchor = if x > self.right - 14.0 { Anchor::End } else { Anchor::Middle };
            let x = if matches!(anchor, Anchor::End) { self.right + RIGHT - 1.0 } else { x };
            svg.text("tick", (x, self.bottom + 17.0), anchor, &moment(tick, self.end));
        }
    }

    /// A value's mark: a line across, and its name.
    pub fn mark(&self, svg: &mut Svg, y: f64, name: &str) {
        if y < self.bottom - 0.5 {
            svg.line("grid", (self.left, y), (self.right, y));
        }
        svg.text("tick", (self.left - 6.0, y + 4.0), Anchor::End, name);
    }

    /// Marks of times, and the scale for them.
    pub fn time_scale(&self, svg: &mut Svg, bounds: (f64, f64)) -> Scale {
        let y = Scale::log(bounds, (self.bottom, self.top));
        for tick in log_ticks(bounds) {
            self.mark(svg, y.at(tick), &micros_mark(tick));
        }
        y
    }

    /// Shades the time in which nothing was answered.
    pub fn silence(&self, svg: &mut Svg, points: &Points) {
        for point in points.all.iter().filter(|p| p.max.is_none()) {
            let (from, to) = (self.x.at(point.from), self.x.at(point.to));
            svg.rect("gap", (from, self.top), (to - from, self.bottom - self.top));
        }
    }

    /// Columns that say what is under them.
    pub fn hits(&self, svg: &mut Svg, points: &Points, words: Words, top: f64) {
        let columns = points.all.iter().map(|p| ((self.x.at(p.from), self.x.at(p.to)), said(p, words)));
        svg.hits(columns, (top, self.bottom - top));
    }
}

/// A round time on an axis: `50 µs`, `1 ms`, `10 s`.
pub fn micros_mark(us: f64) -> String {
    match us {
        us if us >= 1e6 => format!("{} s", us / 1e6),
        us if us >= 1e3 => format!("{} ms", us / 1e3),
        us => format!("{us} µs"),
    }
}

/// All that is known of a point, in one line.
fn said(point: &Point, words: Words) -> String {
    let second = |s: f64| ((s * 10.0).round() / 10.0).to_string();
    let mut out = format!("{}–{} s: {}/s {}", second(point.from), second(point.to), rate(point.rate), words.answered);
    match (point.p50, point.p99, point.max) {
        (Some(p50), Some(p99), Some(max)) => {
            out.push_str(&format!("; p50 {}, p99 {}, max {}", micros(p50), micros(p99), micros(max)));
        }
        _ => out.push_str("; nothing came"),
    }
    let faults: Vec<String> = by_number(&point.faults).iter().take(3).map(|(f, n)| format!("{f} {n}")).collect();
    if !faults.is_empty() {
        out.push_str(&format!("; errors: {}", faults.join(", ")));
    }
    out
}
