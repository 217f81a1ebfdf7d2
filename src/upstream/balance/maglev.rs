//! Whose a key is: the lookup table of Maglev (Eisenbud et al., NSDI 2016), with weights. Each endpoint has its share of the
//! table to the entry, and when one comes or goes hardly any key of the others moves.
use super::hash::{hash, mix};
use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

/// Sizes of tables, primes. The paper wants a hundred entries for each endpoint.
const SIZES: [usize; 4] = [65_537, 131_071, 524_287, 1_048_573];

/// Whose a key is. Two bytes an entry.
#[derive(Clone, Debug)]
pub struct Maglev {
    entries: Arc<[u16]>,
}

/// One endpoint while the table is made.
struct Claim {
    index: u16,
    weight: u64,
    at: usize,
    skip: usize,
    turns: u64,
}

impl Maglev {
    /// For endpoints with these names and weights. The same for the same names, whatever their order.
    pub fn new<'e>(endpoints: impl Iterator<Item = (&'e str, u16)>) -> Maglev {
        let known: Vec<(u16, u64, u16)> = (0..=u16::MAX)
            .zip(endpoints)
            .map(|(i, (name, weight))| (i, hash(name.as_bytes()), weight.max(1)))
            .collect();
        let size = size(&known);
        let claim = |(index, hash, weight): &(u16, u64, u16)| Claim {
            index: *index,
            weight: u64::from(*weight),
            at: (hash % size as u64) as usize,
            skip: (mix(hash ^ 0x9e37_79b9_7f4a_7c15) % (size as u64 - 1)) as usize + 1,
            turns: 0,
        };
        let claims = known.iter().map(claim).collect();
        let rank: Vec<u64> = known.iter().map(|(_, hash, _)| *hash).collect();
        Maglev { entries: fill(size, claims, &rank).into() }
    }

    /// Entries.
    pub fn size(&self) -> usize {
        self.entries.len()
    }

    /// The endpoint that `key` belongs to, and after it those that it falls to in turn; one may come several times.
    pub fn owners(&self, key: u64) -> impl Iterator<Item = usize> {
        let first = ((u128::from(mix(key)) * self.entries.len() as u128) >> 64) as usize;
        let (before, from) = self.entries.split_at(first.min(self.entries.len()));
        from.iter().chain(before).map(|index| usize::from(*index))
    }
}

fn size(known: &[(u16, u64, u16)]) -> usize {
    let weights = known.iter().map(|(_, _, weight)| usize::from(*weight));
    let (sum, least) = (weights.clone().sum::<usize>(), weights.min().unwrap_or(1));
    // the lightest is to have ten entries at least
    let wanted = (known.len() * 100).max(sum / least * 10);
    SIZES.into_iter().find(|size| *size >= wanted).unwrap_or(SIZES[SIZES.len() - 1])
}

/// Lets each endpoint claim its next free entry in turn, as often as its weight says.
fn fill(size: usize, mut claims: Vec<Claim>, rank: &[u64]) -> Vec<u16> {
    const FREE: u16 = u16::MAX;
    const TURN: u64 = 1 << 40;
    let due = |c: &Claim| (c.turns + 1) * TURN / c.weight;
    let mut next: BinaryHeap<_> = claims.iter().enumerate().map(|(i, c)| Reverse((due(c), rank[i], i))).collect();
    if next.is_empty() {
        return Vec::new();
    }
    let mut entries = vec![FREE; size];
    let mut taken = vec![false; size];
    for _ in 0..size {
        let Some(mut top) = next.peek_mut() else { break };
        let i = top.0.2;
        let claim = &mut claims[i];
        while taken[claim.at] {
            claim.at = (claim.at + claim.skip) % size; // `size` is a prime: all entries come round
        }
        (entries[claim.at], taken[claim.at]) = (claim.index, true);
        claim.turns += 1;
        *top = Reverse((due(claim), rank[i], i));
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("http://10.0.0.{i}:8000")).collect()
    }

    fn table<'a>(names: &'a [String], weight: impl Fn(usize) -> u16 + 'a) -> Maglev {
        Maglev::new(names.iter().enumerate().map(|(i, name)| (name.as_str(), weight(i))))
    }

    fn owner<'n>(table: &Maglev, names: &'n [String], key: u64) -> &'n str {
        &names[table.owners(key).next().unwrap()]
    }

    #[test]
    fn shares_follow_weights() {
        let names = names(10);
        let t = table(&names, |i| [1, 2, 5][i % 3]);
        let total: usize = (0..10).map(|i| [1, 2, 5][i % 3]).sum();
        let mut hits = [0usize; 10];
        for key in 0..100_000 {
            hits[t.owners(key).next().unwrap()] += 1;
        }
        for (i, n) in hits.iter().enumerate() {
            let wanted = 100_000 * [1, 2, 5][i % 3] / total;
            assert!(n.abs_diff(wanted) < 2_000, "{i}: {n}, not {wanted}"); // ±2 % of all
        }
    }

    #[test]
    fn one_more_of_ten_moves_a_tenth() {
        let eleven = names(11);
        for gone in 0..11 {
            let ten: Vec<String> =
                eleven.iter().enumerate().filter(|(i, _)| *i != gone).map(|(_, n)| n.clone()).collect();
            let (before, after) = (table(&ten, |_| 1), table(&eleven, |_| 1));
            let moved = (0..100_000).filter(|k| owner(&before, &ten, *k) != owner(&after, &eleven, *k)).count();
            assert!((8_000..=12_000).contains(&moved), "{gone}: {moved} of 100,000");
        }
    }

    #[test]
    fn the_order_of_the_file_does_not_matter() {
        let (here, mut there) = (names(40), names(40));
        there.reverse();
        let (a, b) = (table(&here, |_| 1), table(&there, |_| 1));
        assert!((0..10_000).all(|k| owner(&a, &here, k) == owner(&b, &there, k)));
    }

    #[test]
    fn large_and_lopsided_pools_have_room_for_everybody() {
        let many = names(1_000);
        let t = table(&many, |i| if i == 0 { 1000 } else { 1 });
        let mut hits = vec![0usize; 1_000];
        t.entries.iter().for_each(|i| hits[usize::from(*i)] += 1);
        assert!(hits.iter().all(|n| *n >= 10), "{:?}", hits.iter().min());
        assert_eq!(Maglev::new(std::iter::empty()).owners(7).next(), None);
        assert_eq!(table(&names(1), |_| 3).owners(u64::MAX).next(), Some(0));
    }
}
