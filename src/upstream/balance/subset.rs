//! Which endpoints of a large pool a shard uses: each shard a part, so that a node does not hold shards × endpoints connections.
//! All shards see the pool in one order and begin at places evenly apart: together they use all of it (deterministic
//! subsetting, Beyer et al., Site Reliability Engineering 2016, chapter 20).
use super::{LARGE, hash::hash};

/// Fewest endpoints that a shard uses.
const LEAST: usize = 8;

/// The part of a pool that one shard uses.
#[derive(Clone, Debug)]
pub struct Subset {
    /// All endpoints in the common order, beginning with the shard's own; `len` of them are used.
    order: Vec<u32>,
    len: usize,
    least: usize,
}

impl Subset {
    /// For shard `shard` of `shards`, and endpoints with these names. Pools that are not large are used whole.
    pub fn new<'e>(names: impl Iterator<Item = &'e str>, shard: usize, shards: usize) -> Subset {
        let shards = shards.max(1);
        let mut ranked: Vec<(u64, u32)> = names.map(|name| hash(name.as_bytes())).zip(0..).collect();
        let n = ranked.len();
        if n > LARGE {
            ranked.sort_unstable();
        }
        let mut order: Vec<u32> = ranked.into_iter().map(|(_, index)| index).collect();
        let least = if n > LARGE { n.div_ceil(shards).max(LEAST) } else { n };
        if n > LARGE {
            order.rotate_left(shard % shards * n / shards);
        }
        Subset { order, len: least, least }
    }

    /// The indices of the endpoints in use.
    pub fn members(&self) -> &[u32] {
        self.order.get(..self.len).unwrap_or(&self.order)
    }

    /// Takes as many again, up to all; false when all are in use already.
    pub fn grow(&mut self) -> bool {
        let before = self.len;
        self.len = (before * 2).min(self.order.len());
        self.len > before
    }

    /// Whether it is not all of the pool.
    pub fn may_grow(&self) -> bool {
        self.len < self.order.len()
    }

    /// Whether it is larger than it was at first.
    pub fn has_grown(&self) -> bool {
        self.len > self.least
    }

    /// As it was at first.
    pub fn shrink(&mut self) {
        self.len = self.least;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("http://10.{}.{}.{}:80", i >> 16, i >> 8 & 255, i & 255)).collect()
    }

    fn of(names: &[String], shard: usize, shards: usize) -> Subset {
        Subset::new(names.iter().map(String::as_str), shard, shards)
    }

    #[test]
    fn small_pools_are_used_whole_and_large_ones_in_parts() {
        let len = |n: usize, shards| of(&names(n), 0, shards).members().len();
        assert_eq!([len(1, 16), len(64, 16), len(65, 16)], [1, 64, 8]);
        assert_eq!([len(1000, 16), len(1000, 1), len(1000, 300)], [63, 1000, 8]);
        assert!(of(&[], 0, 4).members().is_empty());
    }

    #[test]
    fn it_grows_to_all_and_back() {
        let names = names(100);
        let mut subset = of(&names, 3, 8);
        assert_eq!(subset.members().len(), 13);
        let lens: Vec<usize> = std::iter::from_fn(|| subset.grow().then(|| subset.members().len())).collect();
        assert_eq!(lens, [26, 52, 100]);
        let mut all = subset.members().to_vec();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        assert!(subset.has_grown());
        subset.shrink();
        assert!(subset.members().len() == 13 && !subset.has_grown());
    }

    #[test]
    fn one_more_endpoint_changes_little() {
        let (before, after) = (names(1000), names(1001));
        for shard in 0..16 {
            let (old, new) = (of(&before, shard, 16), of(&after, shard, 16));
            let kept = new.members().iter().filter(|i| old.members().contains(i)).count();
            assert!(kept >= 60, "{kept} of 63");
        }
    }

    proptest! {
        #[test]
        fn together_the_shards_use_all_alike(n in 1usize..400, shards in 1usize..40) {
            let names = names(n);
            let mut used = vec![0usize; n];
            for shard in 0..shards {
                of(&names, shard, shards).members().iter().for_each(|i| used[*i as usize] += 1);
            }
            let (least, most) = (used.iter().min().unwrap(), used.iter().max().unwrap());
            prop_assert!(*least >= 1 && most - least <= 2, "{least} to {most}");
        }
    }
}
