//! The one with the fewest requests in flight for its weight.
use super::{Candidates, Draw, LARGE, Rng};

/// Of a large pool so many are drawn and compared.
const SAMPLE: usize = 16;

/// The endpoint with the fewest requests in flight for its weight; of equals, by chance as their weights say. In a large pool it is
/// the best of 16. `None` when none may be chosen.
pub fn least_conn(pool: &impl Candidates, draw: &Draw, rng: &mut Rng) -> Option<usize> {
    if draw.members().len() > LARGE {
        return of_some(pool, draw, rng);
    }
    let (mut best, mut found, mut tied) = (None, None, 0);
    for index in draw.members().iter().map(|i| *i as usize) {
        let pull = pool.pull(index);
        if pull == 0 {
            continue;
        }
        let load = pool.load(index);
        match best {
            Some(held) if better(held, (load, pull)) => continue,
            Some(held) if !better((load, pull), held) => tied += pull,
            _ => {
                (best, tied) = (Some((load, pull)), pull);
            }
        }
        if rng.below(tied) < pull {
            found = Some(index);
        }
    }
    found
}

fn of_some(pool: &impl Candidates, draw: &Draw, rng: &mut Rng) -> Option<usize> {
    let mut best = draw.pick(pool, None, rng)?;
    for _ in 1..SAMPLE {
        let other = draw.pick(pool, None, rng)?;
        if better((pool.load(other), pool.pull(other)), (pool.load(best), pool.pull(best))) {
            best = other;
        }
    }
    Some(best)
}

/// Whether the first has less to do for its weight; both as requests in flight, and weight.
fn better(a: (u32, u64), b: (u32, u64)) -> bool {
    u128::from(a.0) * u128::from(b.1) < u128::from(b.0) * u128::from(a.1)
}

#[cfg(test)]
mod tests {
    use super::super::simulation::Pool;
    use super::*;

    fn pick(pool: &Pool, rng: &mut Rng) -> Option<usize> {
        let draw = Draw::new((0..pool.weight.len() as u32).collect(), |i| pool.weight[i]);
        least_conn(pool, &draw, rng)
    }

    #[test]
    fn the_least_busy_for_its_weight() {
        let mut rng = Rng::new(1);
        let mut pool = Pool::weighted(&[1, 4, 2, 1]);
        pool.load = vec![3, 8, 6, 5];
        assert_eq!(pick(&pool, &mut rng), Some(1));
        pool.share[1] = 0;
        assert!((0..50).all(|_| matches!(pick(&pool, &mut rng), Some(0 | 2))));
        pool.share[2] = 100;
        assert!((0..50).all(|_| pick(&pool, &mut rng) == Some(0)), "slow start counts as less weight");
        pool.share = vec![0; 4];
        assert_eq!(pick(&pool, &mut rng), None);
    }

    #[test]
    fn equals_share_as_their_weights_say() {
        let mut rng = Rng::new(1);
        let pool = Pool::weighted(&[5, 3, 2]);
        let mut hits = [0usize; 3];
        (0..100_000).for_each(|_| hits[pick(&pool, &mut rng).unwrap()] += 1);
        for (got, weight) in hits.into_iter().zip([5, 3, 2]) {
            assert!(got.abs_diff(weight * 10_000) <= 2_000, "{hits:?}");
        }
    }

    #[test]
    fn in_a_large_pool_the_busy_are_avoided() {
        let mut rng = Rng::new(1);
        let mut pool = Pool::equal(1000);
        (0..500).for_each(|i| pool.load[i] = 10);
        let busy = (0..10_000).filter(|_| pick(&pool, &mut rng).unwrap() < 500).count();
        assert!(busy < 10, "{busy} of 10,000");
    }
}
