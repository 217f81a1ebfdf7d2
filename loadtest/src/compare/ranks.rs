//! Mann and Whitney's test: whether values of one side tend to be above those of the other.

/// Chance that ranks are at least so far apart where both sides are alike: two-sided, by the normal approximation, ties
/// taken into account. 1 when a side is empty or all values are the same.
pub(super) fn p_value(a: &[f64], b: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> = a.iter().map(|x| (*x, true)).chain(b.iter().map(|x| (*x, false))).collect();
    all.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (n_a, n_b, n) = (a.len() as f64, b.len() as f64, all.len() as f64);
    let (mut ranks_a, mut ties, mut before) = (0.0, 0.0, 0.0);
    for same in all.chunk_by(|x, y| x.0 == y.0) {
        let count = same.len() as f64;
        let of_a = same.iter().filter(|(_, is_a)| *is_a).count() as f64;
        ranks_a += of_a * (before + (count + 1.0) / 2.0);
        ties += count.powi(3) - count;
        before += count;
    }
    let u = ranks_a - n_a * (n_a + 1.0) / 2.0;
    let variance = n_a * n_b / 12.0 * ((n + 1.0) - ties / (n * (n - 1.0)));
    // Not a number, too, when a side is empty.
    if variance.is_nan() || variance <= 0.0 {
        return 1.0;
    }
    let away = ((u - n_a * n_b / 2.0).abs() - 0.5).max(0.0);
    two_sided(away / variance.sqrt())
}

/// Chance that a normal variable is further than `z` from 0 (Abramowitz and Stegun, 7.1.26: within 1.5e-7).
fn two_sided(z: f64) -> f64 {
    let x = z / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let factors = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let sum = factors.iter().fold(0.0, |sum, factor| (sum + factor) * t);
    (sum * (-x * x).exp()).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_distribution_has_its_tails() {
        for (z, p) in [(0.0, 1.0), (1.0, 0.317_31), (1.959_964, 0.05), (3.0, 0.002_7)] {
            assert!((two_sided(z) - p).abs() < 1e-5, "{z}: {}", two_sided(z));
        }
    }

    #[test]
    fn ranks_agree_with_published_figures() {
        // R: wilcox.test(c(1,2,3,4,5), c(6,7,8,9,10), exact = FALSE)
        assert!((p_value(&[1.0, 2.0, 3.0, 4.0, 5.0], &[6.0, 7.0, 8.0, 9.0, 10.0]) - 0.012_19).abs() < 1e-4);
        // R: wilcox.test(c(1,2,2,3), c(2,3,4,5,5), exact = FALSE): W = 3.5
        assert!((p_value(&[1.0, 2.0, 2.0, 3.0], &[2.0, 3.0, 4.0, 5.0, 5.0]) - 0.131_9).abs() < 1e-3);
        assert_eq!(p_value(&[1.0; 5], &[1.0; 5]), 1.0);
        assert_eq!(p_value(&[], &[1.0]), 1.0);
    }
}
