//! Random numbers that are the same for a seed in every version of the program: of schedules and of resampling.

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014): one word of state, every seed
/// is as good as another, and seeds that follow each other give sequences that have nothing in common.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    /// The sequence of one of several that share a seed, as the shards of a run do.
    pub fn of(seed: u64, member: u64) -> Random {
        let mut first = Random::new(seed);
        let mut second = Random::new(first.word() ^ member.wrapping_mul(0xd1b5_4a32_d192_ed03));
        Random::new(second.word())
    }

    /// Any 64 bits.
    #[inline]
    pub fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 (included) to 1 (not included), evenly.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// An index below `n`, which is at least 1. The bias is below n / 2^64.
    #[inline]
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.word()) * n as u128) >> 64) as usize
    }

    /// Exponentially distributed with mean 1.
    #[inline]
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_sequence_and_members_have_their_own() {
        let first = |mut r: Random| (0..4).map(|_| r.word()).collect::<Vec<_>>();
        assert_eq!(first(Random::new(7)), first(Random::new(7)));
        assert_ne!(first(Random::new(7)), first(Random::new(8)));
        assert_ne!(first(Random::of(7, 0)), first(Random::of(7, 1)));
        assert_eq!(first(Random::of(7, 1)), first(Random::of(7, 1)));
        // The published sequence of seed 1234567.
        assert_eq!(first(Random::new(1_234_567))[..2], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn units_are_even_and_indices_reach_every_place() {
        let mut random = Random::new(1);
        let mean = (0..100_000).map(|_| random.unit()).sum::<f64>() / 1e5;
        assert!((mean - 0.5).abs() < 0.005, "{mean}");
        let mut seen = [0u32; 7];
        for _ in 0..70_000 {
            seen[random.below(7)] += 1;
        }
        assert!(seen.iter().all(|n| (9_500..10_500).contains(n)), "{seen:?}");
        let mean = (0..100_000).map(|_| random.exponential()).sum::<f64>() / 1e5;
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
    }
}
