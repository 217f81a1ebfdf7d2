//! Failover: the first in the order of the file.
use super::Candidates;

/// The first endpoint that may be chosen.
pub fn first(pool: &impl Candidates) -> Option<usize> {
    (0..pool.len()).find(|index| pool.share(*index) > 0)
}

#[cfg(test)]
mod tests {
    use super::super::simulation::Pool;
    use super::*;

    #[test]
    fn the_next_stands_in_and_the_first_comes_back() {
        let mut pool = Pool::equal(3);
        assert_eq!(first(&pool), Some(0));
        pool.load[0] = 1_000_000;
        assert_eq!(first(&pool), Some(0), "however busy");
        pool.share[0] = 0;
        assert_eq!(first(&pool), Some(1));
        pool.share[0] = 1;
        assert_eq!(first(&pool), Some(0), "even while it starts slowly: there is no other first");
        pool.share = vec![0; 3];
        assert_eq!(first(&pool), None);
    }
}
