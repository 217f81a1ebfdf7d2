//! Plots as SVG, each drawn twice: for a page's width and for a phone's, so that its words are never scaled down.
pub mod heat;
pub mod percentiles;
pub mod points;
pub mod rates;
pub mod scale;
pub mod svg;
mod timeline;
pub mod times;

/// For which width a plot is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Above 600 pixels.
    Wide,
    /// A phone.
    Narrow,
}

impl Size {
    /// Both, in the order in which they stand in the page.
    pub const BOTH: [Size; 2] = [Size::Wide, Size::Narrow];

    /// Name in ids and classes.
    pub fn name(self) -> &'static str {
        match self {
            Size::Wide => "wide",
            Size::Narrow => "narrow",
        }
    }

    /// Width of the drawing, units of which one is about a pixel.
    pub fn width(self) -> f64 {
        match self {
            Size::Wide => 760.0,
            Size::Narrow => 360.0,
        }
    }

    /// One or the other.
    pub fn of<T>(self, wide: T, narrow: T) -> T {
        match self {
            Size::Wide => wide,
            Size::Narrow => narrow,
        }
    }

    /// Points of a series at most; longer ones are folded.
    pub fn points(self) -> usize {
        self.of(POINTS_WIDE, POINTS_NARROW)
    }
}

/// About two pixels each; also what bounds the page's size, whatever the run took.
const POINTS_WIDE: usize = 300;
/// As wide as a finger can still find its second on a phone.
const POINTS_NARROW: usize = 120;
