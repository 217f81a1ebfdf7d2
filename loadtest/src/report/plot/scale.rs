//! From values to places on a plot, and which values are marked on its axes.

/// Steps of a linear axis within a decade.
const STEPS: [f64; 4] = [1.0, 2.0, 2.5, 5.0];
/// Steps of an axis of time, seconds.
const TIME_STEPS: [f64; 19] = [
    0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0,
    86_400.0,
];
/// Marks on any axis, whatever it is given.
const TICKS_MAX: usize = 64;

/// Values from `lo` to `hi` on places from `from` to `to`.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    lo: f64,
    hi: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Scale {
    /// A linear scale.
    pub fn linear((lo, hi): (f64, f64), (from, to): (f64, f64)) -> Scale {
        Scale { lo, hi: if hi > lo { hi } else { lo + 1.0 }, from, to, log: false }
    }

    /// A logarithmic one, for values from 1 on.
    pub fn log((lo, hi): (f64, f64), (from, to): (f64, f64)) -> Scale {
        let lo = lo.max(1.0);
        Scale { lo: lo.log10(), hi: (if hi > lo { hi } else { lo * 10.0 }).log10(), from, to, log: true }
    }

    /// The place of a value; what is outside stands at the edge.
    pub fn at(&self, value: f64) -> f64 {
        let value = if self.log { value.max(1.0).log10() } else { value };
        let share = ((value - self.lo) / (self.hi - self.lo)).clamp(0.0, 1.0);
        self.from + (self.to - self.from) * if share.is_finite() { share } else { 0.0 }
    }
}

/// The top of a linear axis that begins at 0, and the distance of its marks: about `marks` of them.
pub fn linear_axis(max: f64, marks: f64) -> (f64, f64) {
    let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
    let raw = max / marks.max(1.0);
    let decade = 10f64.powf(raw.log10().floor());
    let step = STEPS.iter().map(|s| s * decade).find(|s| *s >= raw * 0.999).unwrap_or(decade * 10.0);
    ((max / step).ceil() * step, step)
}

/// The marks of that axis.
pub fn linear_ticks((top, step): (f64, f64)) -> Vec<f64> {
    (0..TICKS_MAX).map(|i| i as f64 * step).take_while(|v| *v <= top * 1.0001).collect()
}

/// Bounds of a logarithmic axis around values in microseconds: 1, 2 or 5 of a decade.
pub fn log_bounds(min: f64, max: f64) -> (f64, f64) {
    let min = min.clamp(1.0, 1e13);
    let max = max.clamp(min, 1e13);
    let below = [1.0, 2.0, 5.0].iter().map(|s| s * decade(min)).filter(|v| *v <= min).fold(1.0, f64::max);
    let above = [1.0, 2.0, 5.0, 10.0].iter().map(|s| s * decade(max)).find(|v| *v >= max).unwrap_or(max);
    if above > below { (below, above) } else { (below, below * 10.0) }
}

fn decade(value: f64) -> f64 {
    10f64.powf((value.log10() + 1e-9).floor())
}

/// The marks of that axis: the decades; also 2 and 5 of each where there are few.
pub fn log_ticks((lo, hi): (f64, f64)) -> Vec<f64> {
    let decades = (hi / lo).log10();
    let within: &[f64] = if decades < 1.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let first = decade(lo);
    let all = (0..TICKS_MAX as i32).flat_map(|i| within.iter().map(move |s| s * first * 10f64.powi(i)));
    let ticks: Vec<f64> = all.take_while(|v| *v <= hi * 1.001).filter(|v| *v >= lo * 0.999).collect();
    ticks.into_iter().take(TICKS_MAX).collect()
}

/// The marks of an axis of time, at most `most` steps.
pub fn time_ticks(total: f64, most: f64) -> Vec<f64> {
    let step = TIME_STEPS.iter().find(|s| total / **s <= most).copied().unwrap_or(total / most.max(1.0));
    (0..TICKS_MAX).map(|i| i as f64 * step).take_while(|v| *v <= total * 1.0001).collect()
}

/// A moment on an axis of time: `0.5 s`, `90 s`, `12 min`, `2 h`.
pub fn moment(seconds: f64, total: f64) -> String {
    let whole = |v: f64| ((v * 100.0).round() / 100.0).to_string();
    if total >= 7200.0 {
        format!("{} h", whole(seconds / 3600.0))
    } else if total > 300.0 {
        format!("{} min", whole(seconds / 60.0))
    } else {
        format!("{} s", whole(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_where_they_should() {
        let linear = Scale::linear((0.0, 10.0), (100.0, 0.0));
        assert_eq!([linear.at(0.0), linear.at(5.0), linear.at(10.0), linear.at(99.0)], [100.0, 50.0, 0.0, 0.0]);
        let log = Scale::log((1.0, 100.0), (0.0, 200.0));
        assert_eq!([log.at(0.0), log.at(10.0), log.at(100.0)], [0.0, 100.0, 200.0]);
        for odd in [Scale::linear((1.0, 1.0), (0.0, 9.0)), Scale::log((5.0, 5.0), (0.0, 9.0))] {
            assert!(odd.at(5.0).is_finite() && odd.at(f64::NAN).is_finite());
        }
    }

    #[test]
    fn linear_axes_end_above_the_largest_value_at_a_round_one() {
        assert_eq!(linear_ticks(linear_axis(19_998.0, 4.0)), [0.0, 5000.0, 10_000.0, 15_000.0, 20_000.0]);
        assert_eq!(linear_axis(0.0, 4.0).0, 1.0);
        assert_eq!(linear_axis(f64::NAN, 4.0).0, 1.0);
        for max in [0.003, 1.0, 7.3, 99.0, 101.0, 1e9, u64::MAX as f64] {
            let axis = linear_axis(max, 4.0);
            assert!(axis.0 >= max * 0.999 && axis.0 <= max * 2.6, "{max}: {axis:?}");
            assert!((2..=6).contains(&linear_ticks(axis).len()), "{max}: {axis:?}");
        }
    }

    #[test]
    fn logarithmic_axes_hold_their_values_between_round_ones() {
        assert_eq!(log_bounds(63.0, 1_200_000.0), (50.0, 2e6));
        assert_eq!(log_ticks((50.0, 2e6)), [100.0, 1e3, 1e4, 1e5, 1e6]);
        assert_eq!(log_ticks((50.0, 500.0)), [50.0, 100.0, 200.0, 500.0]);
        assert_eq!(log_bounds(0.0, 0.0), (1.0, 10.0));
        for (min, max) in [(1.0, 1.0), (100.0, 100.0), (3.0, 5.0), (1.0, u64::MAX as f64)] {
            let (lo, hi) = log_bounds(min, max);
            assert!(lo <= min && hi > lo && (hi >= max || max > 1e13), "{min} {max}: {lo} {hi}");
            assert!(!log_ticks((lo, hi)).is_empty());
        }
    }

    #[test]
    fn time_is_marked_at_round_moments() {
        assert_eq!(time_ticks(30.0, 8.0), [0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0]);
        assert_eq!(time_ticks(600.0, 8.0).len(), 6);
        assert!(time_ticks(1e9, 8.0).len() <= 9);
        assert_eq!([moment(0.5, 1.0), moment(90.0, 120.0), moment(720.0, 3600.0)], ["0.5 s", "90 s", "12 min"]);
        assert_eq!(moment(5400.0, 9000.0), "1.5 h");
    }
}
