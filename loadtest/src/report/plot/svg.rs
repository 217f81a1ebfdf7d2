//! Elements of SVG as text. Numbers are always finite and short, words always escaped.
use crate::report::units::clean;
use std::fmt::Write as _;

/// Longest text of a label or a description, characters.
const TEXT_MAX: usize = 600;

/// A drawing under way.
#[derive(Debug)]
pub struct Svg {
    out: String,
}

/// A coordinate: a tenth of a pixel is all that can be seen.
pub fn n(value: f64) -> String {
    if !value.is_finite() {
        return "0".to_owned();
    }
    let tenths = (value * 10.0).round() / 10.0;
    // Not "-0".
    if tenths == 0.0 { "0".to_owned() } else { tenths.to_string() }
}

/// Text within an element or an attribute, of HTML or XML.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in clean(text, TEXT_MAX).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Where a text is anchored.
#[derive(Clone, Copy, Debug)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

impl Svg {
    /// Begins a drawing with its name and what it shows, for those who do not see it. `id` is unique in the page.
    pub fn new(id: &str, class: &str, (width, height): (f64, f64), title: &str, description: &str) -> Svg {
        let mut out = String::new();
        let (w, h) = (n(width), n(height));
        let _ = write!(
            out,
            "<svg class=\"{class}\" viewBox=\"0 0 {w} {h}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
             <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>\n",
            escape(title),
            escape(description)
        );
        Svg { out }
    }

    /// The whole element.
    pub fn end(mut self) -> String {
        self.out.push_str("</svg>\n");
        self.out
    }

    /// A straight line.
    pub fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let (x1, y1, x2, y2) = (n(x1), n(y1), n(x2), n(y2));
        let _ = writeln!(self.out, "<path class=\"{class}\" d=\"M{x1} {y1}L{x2} {y2}\"/>");
    }

    /// A rectangle.
    pub fn rect(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
        let (x, y, w, h) = (n(x), n(y), n(width.max(0.0)), n(height.max(0.0)));
        let _ = writeln!(self.out, "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\"/>");
    }

    /// A path; nothing where it is empty.
    pub fn path(&mut self, class: &str, d: &str) {
        if !d.is_empty() {
            let _ = writeln!(self.out, "<path class=\"{class}\" d=\"{d}\"/>");
        }
    }

    /// A dot.
    pub fn dot(&mut self, class: &str, (x, y): (f64, f64), radius: f64) {
        let _ = writeln!(self.out, "<circle class=\"{class}\" cx=\"{}\" cy=\"{}\" r=\"{}\"/>", n(x), n(y), n(radius));
    }

    /// Words.
    pub fn text(&mut self, class: &str, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (x, y) = (n(x), n(y));
        let _ = writeln!(
            self.out,
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{}</text>",
            escape(text)
        );
    }

    /// Columns over a plot that say what is under them: as a tooltip, and to the page's script.
    pub fn hits(&mut self, columns: impl Iterator<Item = ((f64, f64), String)>, (top, height): (f64, f64)) {
        self.out.push_str("<g class=\"hit\">");
        let (y, h) = (n(top), n(height));
        for ((from, to), text) in columns {
            let (x, w) = (n(from), n((to - from).max(0.5)));
            let _ = write!(
                self.out,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\"><title>{}</title></rect>",
                escape(&text)
            );
        }
        self.out.push_str("</g>\n");
    }
}

/// The path through points; where there is none it is interrupted. A point without neighbours becomes a short stroke, which
/// would not be seen otherwise.
pub fn polyline(points: impl Iterator<Item = Option<(f64, f64)>>) -> String {
    let (mut d, mut run) = (String::new(), Vec::new());
    let mut flush = |run: &mut Vec<(f64, f64)>| {
        if let [(x, y)] = run[..] {
            let _ = write!(d, "M{} {}h3", n(x - 1.5), n(y));
        } else {
            for (i, (x, y)) in run.iter().enumerate() {
                let _ = write!(d, "{}{} {}", if i == 0 { 'M' } else { 'L' }, n(*x), n(*y));
            }
        }
        run.clear();
    };
    for point in points {
        match point {
            Some(at) => run.push(at),
            None => flush(&mut run),
        }
    }
    flush(&mut run);
    d
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_are_finite_and_short() {
        assert_eq!([n(1.0), n(1.26), n(-0.01), n(f64::NAN), n(f64::INFINITY)], ["1", "1.3", "0", "0", "0"]);
    }

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(escape("<a b=\"c\">&'\u{1b}\u{202e}"), "&lt;a b=&quot;c&quot;&gt;&amp;&#39;\u{fffd}\u{fffd}");
    }

    #[test]
    fn lines_are_interrupted_where_nothing_is_known() {
        let points = [Some((0.0, 1.0)), Some((1.0, 2.0)), None, None, Some((4.0, 1.0))];
        assert_eq!(polyline(points.into_iter()), "M0 1L1 2M2.5 1h3");
        assert_eq!(polyline([None].into_iter()), "");
    }
}
