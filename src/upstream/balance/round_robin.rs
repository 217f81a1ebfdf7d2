//! In turn by weight, without bursts: smooth weighted round robin, as nginx does it, and where that would mean to look at a
//! thousand endpoints for each request, whose turn is due first.
use super::{Candidates, LARGE, Rng, slow_start};
use std::{cmp::Reverse, collections::BinaryHeap};

/// Time between two turns of one with a thousandth of a weight.
const TURN: u64 = 1 << 40;
/// Turns of endpoints out of use that are passed over before it is asked whether any is in use.
const TRIES: usize = 16;

/// Whose turn it is, among some endpoints of a pool.
#[derive(Clone, Debug)]
pub enum Turns {
    /// What each has saved up.
    Few(Vec<i64>),
    /// When the turn of each is due, and its place among them.
    Many(BinaryHeap<Reverse<(u64, u32)>>),
}

impl Turns {
    /// For `members`, all at their beginning. `rng` decides where a large pool begins.
    pub fn new(pool: &impl Candidates, members: &[u32], rng: &mut Rng) -> Turns {
        if members.len() <= LARGE {
            return Turns::Few(vec![0; members.len()]);
        }
        let first = |(at, index): (u32, &u32)| Reverse((rng.below(period(pool, *index)), at));
        Turns::Many((0..).zip(members).map(first).collect())
    }

    /// Whose turn it is; `None` when none may be chosen. `members` are those that this was made for.
    pub fn next(&mut self, pool: &impl Candidates, members: &[u32]) -> Option<usize> {
        match self {
            Turns::Few(saved) => smooth(saved, pool, members),
            Turns::Many(due) => earliest(due, pool, members),
        }
    }
}

fn smooth(saved: &mut [i64], pool: &impl Candidates, members: &[u32]) -> Option<usize> {
    let (mut total, mut best) = (0, None::<(usize, i64)>);
    for (at, (saved, index)) in saved.iter_mut().zip(members).enumerate() {
        let pull = i64::try_from(pool.pull(*index as usize)).unwrap_or(0);
        if pull == 0 {
            continue;
        }
        total += pull;
        *saved += pull;
        if best.is_none_or(|(_, most)| *saved > most) {
            best = Some((at, *saved));
        }
    }
    let (at, _) = best?;
    *saved.get_mut(at)? -= total;
    members.get(at).map(|index| *index as usize)
}

fn earliest(due: &mut BinaryHeap<Reverse<(u64, u32)>>, pool: &impl Candidates, members: &[u32]) -> Option<usize> {
    for passed in 0..=members.len() {
        if passed == TRIES && !members.iter().any(|index| pool.share(*index as usize) > 0) {
            return None;
        }
        let mut top = due.peek_mut()?;
        let Reverse((at, place)) = *top;
        let index = *members.get(place as usize)?;
        // who is out of use loses its turn: it is owed nothing when it comes back
        *top = Reverse((at.saturating_add(period(pool, index)), place));
        if pool.share(index as usize) > 0 {
            return Some(index as usize);
        }
    }
    None
}

fn period(pool: &impl Candidates, index: u32) -> u64 {
    let index = index as usize;
    let share = Some(pool.share(index)).filter(|share| *share > 0).unwrap_or(slow_start::FULL);
    TURN / (u64::from(pool.weight(index).max(1)) * u64::from(share))
}

#[cfg(test)]
mod tests {
    use super::super::simulation::Pool;
    use super::*;

    fn all(pool: &Pool) -> (Vec<u32>, Turns) {
        let members: Vec<u32> = (0..pool.weight.len() as u32).collect();
        let turns = Turns::new(pool, &members, &mut Rng::new(5));
        (members, turns)
    }

    #[test]
    fn it_is_smooth_and_exact() {
        let pool = Pool::weighted(&[5, 1, 1]);
        let (members, mut turns) = all(&pool);
        let picks: Vec<_> = (0..7).filter_map(|_| turns.next(&pool, &members)).collect();
        assert_eq!(picks, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn large_pools_keep_weights_too() {
        let mut pool = Pool::weighted(&(0..200).map(|i| 1 + i % 5).collect::<Vec<_>>());
        pool.share[7] = 0;
        pool.share[9] = 100; // weight 5
        let (members, mut turns) = all(&pool);
        let mut hits = vec![0u32; 200];
        let rounds = 500;
        let sum: f64 = (0..200).map(|i| pool.pull(i) as f64 / 1000.0).sum();
        for _ in 0..(sum * f64::from(rounds)) as usize {
            hits[turns.next(&pool, &members).unwrap()] += 1;
        }
        for (i, n) in hits.iter().enumerate() {
            let wanted = pool.pull(i) as u32 * rounds / 1000;
            assert!(n.abs_diff(wanted) <= 2, "{i}: {n}, not {wanted}");
        }
    }

    #[test]
    fn who_comes_back_is_owed_nothing() {
        for n in [3, 100] {
            let mut pool = Pool::equal(n);
            let (members, mut turns) = all(&pool);
            pool.share[0] = 0;
            (0..n * 50).for_each(|_| assert_ne!(turns.next(&pool, &members), Some(0)));
            pool.share[0] = 1000;
            let hits = (0..n * 10).filter(|_| turns.next(&pool, &members) == Some(0)).count();
            assert!((9..=11).contains(&hits), "{hits} of {n} after it came back");
        }
    }

    #[test]
    fn none_in_use_is_none() {
        for n in [3, 100] {
            let mut pool = Pool::equal(n);
            let (members, mut turns) = all(&pool);
            pool.share = vec![0; n];
            assert_eq!(turns.next(&pool, &members), None);
            pool.share[2] = 1;
            assert_eq!(turns.next(&pool, &members), Some(2));
        }
    }
}
