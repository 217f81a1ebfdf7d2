//! Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2018): a key stays with its endpoint unless that has
//! more than its part to do; then it goes to the next of its row.
use super::{Candidates, Maglev, hash::mix};

/// The most an endpoint may have in flight, as a part of the mean: 5/4.
const BOUND: (u64, u64) = (5, 4);
/// So many requests in flight an endpoint may always have, on one shard: where all have little to do, a mean says nothing, and a
/// key that is asked for twice at a time must not move.
const ALWAYS: u32 = 8;
/// Entries of a row that are looked at. At least a fifth of the endpoints in use is below the bound.
const ROW: usize = 256;

/// What all endpoints of a pool have to do together.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// Requests in flight, this one not among them.
    pub in_flight: u32,
    /// Weight of those that may be chosen, as [`Candidates::pull`] has it.
    pub pull: u64,
}

/// The endpoint for `key`; `None` when none may be chosen.
pub fn bounded(pool: &impl Candidates, table: &Maglev, key: u64, demand: Demand) -> Option<usize> {
    let mut usable = None;
    for index in table.owners(key).take(ROW) {
        let share = pool.share(index);
        if share == 0 {
            continue;
        }
        usable = usable.or(Some(index));
        // of one that starts slowly, always the same of its keys come first
        let is_its = share >= 1000 || mix(key ^ index as u64) % 1000 < u64::from(share);
        if is_its && pool.load(index) < most(pool.pull(index), demand) {
            return Some(index);
        }
    }
    usable.or_else(|| nearest(pool, key))
}

/// How many an endpoint may have in flight, this request among them.
fn most(pull: u64, demand: Demand) -> u32 {
    let all = u128::from(demand.in_flight) + 1;
    let part =
        (all * u128::from(BOUND.0) * u128::from(pull)).div_ceil(u128::from(BOUND.1) * u128::from(demand.pull.max(1)));
    u32::try_from(part).unwrap_or(u32::MAX).max(ALWAYS)
}

/// The endpoint that likes `key` most (rendezvous hashing): where hardly any is in use, so that rows have no other end.
fn nearest(pool: &impl Candidates, key: u64) -> Option<usize> {
    let usable = (0..pool.len()).filter(|index| pool.share(*index) > 0);
    usable.max_by_key(|index| mix(key ^ mix(*index as u64 + 1)))
}

#[cfg(test)]
mod tests {
    use super::super::simulation::Pool;
    use super::*;

    fn table(pool: &Pool) -> Maglev {
        let names: Vec<String> =
            (0..pool.weight.len()).map(|i| format!("http://10.0.{}.{}:80", i / 250, i % 250)).collect();
        Maglev::new(names.iter().zip(&pool.weight).map(|(name, weight)| (name.as_str(), *weight as u16)))
    }

    fn demand(pool: &Pool) -> Demand {
        let pull = (0..pool.len()).map(|i| pool.pull(i)).sum();
        Demand { in_flight: pool.load.iter().sum(), pull }
    }

    fn go(pool: &Pool, table: &Maglev, key: u64) -> usize {
        bounded(pool, table, key, demand(pool)).unwrap()
    }

    #[test]
    fn few_requests_stay_with_their_endpoint() {
        let mut pool = Pool::equal(10);
        let table = table(&pool);
        for key in 0..1_000 {
            let owner = go(&pool, &table, key);
            pool.load[owner] = ALWAYS - 1;
            assert_eq!(go(&pool, &table, key), owner);
            pool.load[owner] = 0;
        }
    }

    #[test]
    fn one_hot_key_never_overloads_its_endpoint() {
        for weights in [vec![1; 10], vec![4, 1, 1, 2]] {
            let mut pool = Pool::weighted(&weights);
            let (table, sum) = (table(&pool), weights.iter().sum::<u32>());
            for n in 1..=2_000u32 {
                let chosen = go(&pool, &table, 42);
                pool.load[chosen] += 1;
                for (i, weight) in weights.iter().enumerate() {
                    let bound = (n * 5 * weight).div_ceil(4 * sum).max(ALWAYS);
                    assert!(pool.load[i] <= bound, "{} of {n} on {i}, bound {bound}", pool.load[i]);
                }
            }
        }
    }

    #[test]
    fn keys_of_the_dead_spread_and_the_others_stay() {
        let mut pool = Pool::equal(10);
        let table = table(&pool);
        let before: Vec<usize> = (0..20_000).map(|key| go(&pool, &table, key)).collect();
        pool.share[3] = 0;
        let mut hits = vec![0; 10];
        for (key, was) in before.iter().enumerate() {
            let now = go(&pool, &table, key as u64);
            assert!(now != 3 && (*was == 3 || now == *was));
            hits[now] += usize::from(*was == 3);
        }
        assert!(hits.iter().enumerate().all(|(i, n)| i == 3 || (100..400).contains(n)), "{hits:?}");
    }

    #[test]
    fn a_slow_start_brings_keys_back_one_by_one() {
        let mut pool = Pool::equal(10);
        let table = table(&pool);
        let owned: Vec<u64> = (0..20_000).filter(|key| go(&pool, &table, *key) == 3).collect();
        let mut last = Vec::new();
        for share in [100, 400, 700, 1000] {
            pool.share[3] = share;
            let has: Vec<u64> = owned.iter().copied().filter(|key| go(&pool, &table, *key) == 3).collect();
            let part = has.len() * 1000 / owned.len();
            assert!(part.abs_diff(share as usize) < 60, "{part} of {share}");
            assert!(last.iter().all(|key| has.contains(key)), "what came stays");
            last = has;
        }
    }

    #[test]
    fn the_last_in_use_is_found() {
        let mut pool = Pool::equal(1_000);
        let table = table(&pool);
        pool.share = vec![0; 1_000];
        assert_eq!(bounded(&pool, &table, 1, demand(&pool)), None);
        pool.share[500] = 1_000;
        assert!((0..500).all(|key| go(&pool, &table, key) == 500));
    }
}
