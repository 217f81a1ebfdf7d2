//! Weighted chance in constant time: an alias table (Walker 1977, Vose 1991) over some of a pool's endpoints. What changes by the
//! request, who is out of use and who has a part of its share only, is left to trying again.
use super::{Candidates, Rng};

/// Draws before all are looked at instead: with most endpoints in use it does not come to that.
const TRIES: usize = 16;

/// Endpoints that are drawn by weight.
#[derive(Clone, Debug)]
pub struct Draw {
    /// Their indices in the pool.
    members: Box<[u32]>,
    /// For each: below which of 2³² it is drawn itself, and who is drawn otherwise. Empty where all weigh the same.
    alias: Box<[(u32, u32)]>,
    mean: f32,
}

impl Draw {
    /// For the endpoints `members` of a pool, whose weights `weight` says.
    pub fn new(members: Vec<u32>, weight: impl Fn(usize) -> u32) -> Draw {
        let weights: Vec<u64> = members.iter().map(|i| u64::from(weight(*i as usize).max(1))).collect();
        let sum: u64 = weights.iter().sum();
        let alike = weights.windows(2).all(|pair| pair[0] == pair[1]);
        let mean = if members.is_empty() { 1.0 } else { sum as f32 / members.len() as f32 };
        let alias = if alike { Box::default() } else { alias(&weights, sum) };
        Draw { members: members.into(), alias, mean }
    }

    /// The endpoints, as indices of the pool.
    pub fn members(&self) -> &[u32] {
        &self.members
    }

    /// The mean of their weights.
    pub fn mean(&self) -> f32 {
        self.mean
    }

    /// One of them that is not `but`, each as likely as weight and share say; `None` when none may be chosen.
    pub fn pick(&self, pool: &impl Candidates, but: Option<usize>, rng: &mut Rng) -> Option<usize> {
        for _ in 0..TRIES {
            let index = self.any(rng)?;
            if Some(index) == but {
                continue;
            }
            match pool.share(index) {
                0 => {}
                1000.. => return Some(index),
                part if rng.below(1000) < u64::from(part) => return Some(index),
                _ => {}
            }
        }
        self.scan(pool, but, rng)
    }

    /// One of them by weight alone.
    fn any(&self, rng: &mut Rng) -> Option<usize> {
        let at = rng.below(self.members.len() as u64) as usize;
        let at = match self.alias.get(at) {
            Some((own, other)) if (rng.next_u64() >> 32) as u32 >= *own => *other as usize,
            _ => at,
        };
        self.members.get(at).map(|i| *i as usize)
    }

    /// The same as [`Draw::pick`], by looking at each.
    fn scan(&self, pool: &impl Candidates, but: Option<usize>, rng: &mut Rng) -> Option<usize> {
        let rest = || self.members.iter().map(|i| *i as usize).filter(|i| Some(*i) != but);
        let total: u64 = rest().map(|i| pool.pull(i)).sum();
        let mut at = rng.below(total);
        for index in rest() {
            let pull = pool.pull(index);
            if at < pull {
                return Some(index);
            }
            at -= pull;
        }
        None
    }
}

/// Vose's way: those with less than the mean get the rest of their place filled by those with more.
fn alias(weights: &[u64], sum: u64) -> Box<[(u32, u32)]> {
    const WHOLE: u128 = 1 << 32;
    let n = weights.len() as u128;
    // the mean is `sum` in this scale, so that nothing is rounded before the end
    let mut left: Vec<u128> = weights.iter().map(|w| u128::from(*w) * n).collect();
    let sum = u128::from(sum);
    let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..weights.len()).partition(|i| left[*i] < sum);
    let mut table: Vec<(u32, u32)> = (0..weights.len()).map(|i| (u32::MAX, i as u32)).collect();
    while let (Some(low), Some(high)) = (small.pop(), large.last().copied()) {
        table[low] = ((left[low] * WHOLE / sum).min(WHOLE - 1) as u32, high as u32);
        left[high] -= sum - left[low];
        if left[high] < sum {
            large.pop();
            small.push(high);
        }
    }
    table.into()
}

#[cfg(test)]
mod tests {
    use super::super::simulation::Pool;
    use super::*;
    use proptest::{prop_assert, proptest};

    #[test]
    fn weights_and_shares_are_kept() {
        let mut pool = Pool::weighted(&[1, 5, 2, 1, 1]);
        pool.share = vec![1000, 1000, 500, 0, 1000];
        let draw = Draw::new(vec![0, 1, 2, 3], |i| pool.weight[i]);
        let mut rng = Rng::new(3);
        let mut hits = [0; 5];
        for _ in 0..100_000 {
            hits[draw.pick(&pool, None, &mut rng).unwrap()] += 1;
        }
        for (i, wanted) in [14_286, 71_429, 14_286, 0, 0].into_iter().enumerate() {
            assert!(i32::abs(hits[i] - wanted) < 700, "{hits:?}");
        }
    }

    #[test]
    fn the_last_one_in_use_is_found() {
        let mut pool = Pool::equal(1000);
        pool.share = vec![0; 1000];
        let draw = Draw::new((0..1000).collect(), |_| 1);
        let mut rng = Rng::new(3);
        assert_eq!(draw.pick(&pool, None, &mut rng), None);
        pool.share[777] = 1;
        assert_eq!(draw.pick(&pool, None, &mut rng), Some(777));
        assert_eq!(draw.pick(&pool, Some(777), &mut rng), None);
        assert_eq!(Draw::new(Vec::new(), |_| 1).pick(&pool, None, &mut rng), None);
    }

    proptest! {
        #[test]
        fn the_table_gives_each_its_weight(weights in proptest::collection::vec(1u64..=1000, 1..80)) {
            let sum: u64 = weights.iter().sum();
            let table = alias(&weights, sum);
            let mut got = vec![0.0; weights.len()];
            for (i, (own, other)) in table.iter().enumerate() {
                let own = if *other as usize == i { 1.0 } else { f64::from(*own) / 4_294_967_296.0 };
                got[i] += own;
                got[*other as usize] += 1.0 - own;
            }
            for (got, weight) in got.iter().zip(&weights) {
                let wanted = *weight as f64 * weights.len() as f64 / sum as f64;
                prop_assert!((got - wanted).abs() < 1e-6, "{got} {wanted}");
            }
        }
    }
}
