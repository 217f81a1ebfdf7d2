//! The better of two (Mitzenmacher 2001), by requests in flight and peak latency (Finagle).
use super::{Candidates, Draw, Rng};

/// Added to every latency, µs: what differs by less is chance, not speed. Without it one of two endpoints that answer in 80 µs and
/// in 90 µs would get everything.
const NOISE_US: f32 = 1_000.0;

/// The better of two that are drawn by weight; `None` when none may be chosen.
///
/// The first one drawn is kept unless the second is better, and then with the more likelihood the better it is: with twice the
/// requests in flight 1 of 16 stays, with twice the latency 1 of 4, for that is by far the less sure of the two. So equals share exactly as their weights say, and those that are a little worse get a little less instead of
/// nothing, which would also leave unknown whether they are still worse.
pub fn p2c(pool: &impl Candidates, draw: &Draw, rng: &mut Rng) -> Option<usize> {
    let first = draw.pick(pool, None, rng)?;
    let Some(second) = draw.pick(pool, Some(first), rng) else { return Some(first) };
    let times = match (pool.latency_us(first), pool.latency_us(second)) {
        (Some(a), Some(b)) => (b + NOISE_US) / (a + NOISE_US),
        _ => 1.0, // who never answered yet is taken for as fast as the other
    };
    let loads = (1.0 + loaded(pool, draw, second)) / (1.0 + loaded(pool, draw, first));
    let ratio = loads * loads * times;
    let stays = ratio >= 1.0 || rng.unit() < ratio * ratio;
    Some(if stays { first } else { second })
}

/// Requests in flight of an endpoint, as if it had the mean weight and its whole share.
fn loaded(pool: &impl Candidates, draw: &Draw, index: usize) -> f32 {
    match pool.load(index) {
        0 => 0.0,
        load => load as f32 * draw.mean() * 1000.0 / pool.pull(index).max(1) as f32,
    }
}

#[cfg(test)]
mod tests {
    use super::super::simulation::Pool;
    use super::*;

    fn hits(pool: &Pool, n: usize) -> Vec<usize> {
        let draw = Draw::new((0..pool.weight.len() as u32).collect(), |i| pool.weight[i]);
        let mut rng = Rng::new(7);
        let mut hits = vec![0; pool.weight.len()];
        (0..n).for_each(|_| hits[p2c(pool, &draw, &mut rng).unwrap()] += 1);
        hits
    }

    #[test]
    fn equals_share_as_their_weights_say() {
        for weights in [&[1, 1, 1, 1][..], &[5, 1, 1], &[1, 1000], &[3, 7]] {
            let pool = Pool::weighted(weights);
            let sum: u32 = weights.iter().sum();
            for (got, weight) in hits(&pool, 100_000).into_iter().zip(weights) {
                let wanted = 100_000 * *weight as usize / sum as usize;
                assert!(got.abs_diff(wanted) <= 2_000, "{weights:?}: {got}, not {wanted}");
            }
        }
    }

    #[test]
    fn load_counts_for_its_weight() {
        let mut pool = Pool::weighted(&[8, 2]);
        pool.load = vec![80, 20];
        let got = hits(&pool, 100_000);
        assert!(got[0].abs_diff(80_000) <= 2_000, "as loaded as their weights: {got:?}");
        pool.load = vec![1000, 0];
        assert_eq!(hits(&pool, 1_000)[0], 0, "the busy one gets nothing while the other is idle");
        pool.load = vec![0, 20];
        assert_eq!(hits(&pool, 1_000)[1], 0);
    }

    #[test]
    fn what_differs_by_microseconds_shares_alike_and_what_is_slow_gets_little() {
        let share = |a: f32, b: f32| {
            let mut pool = Pool::equal(2);
            pool.latency = vec![Some(a), Some(b)];
            hits(&pool, 100_000)[1] as f32 / 100_000.0
        };
        assert!(share(80.0, 95.0) > 0.45);
        assert!(share(100.0, 200.0) > 0.35);
        assert!((0.01..0.2).contains(&share(2_000.0, 5_000.0)), "worse, but not forgotten");
        assert!(share(2_000.0, 100_000.0) < 0.001);
        let mut pool = Pool::equal(2);
        pool.latency = vec![Some(90_000.0), None];
        assert!(hits(&pool, 100_000)[1].abs_diff(50_000) < 2_000, "a new one is not overrun");
    }

    #[test]
    fn slow_start_is_kept_under_load() {
        let mut pool = Pool::equal(4);
        pool.share[3] = 100;
        pool.load = vec![20, 20, 20, 2];
        let got = hits(&pool, 100_000);
        assert!(got[3].abs_diff(100_000 / 31) < 700, "a tenth of what the others get: {got:?}");
    }
}
