//! Connection IDs: whose they are, that they cannot be made up, and that they do not repeat.
use edge_quic::{
    cid::{CID_LEN, Generator},
    steer::shard_of_cid,
};
use proptest::prelude::*;
use quinn_proto::{ConnectionId, ConnectionIdGenerator};
use std::{collections::HashSet, time::Duration};

proptest! {
    #[test]
    fn only_its_shard_takes_an_id_and_every_shard_knows_it(
        shards in 1usize..=256, a in any::<usize>(), b in any::<usize>(), key in any::<[u8; 16]>(),
        flip in 0..CID_LEN * 8,
    ) {
        let (a, b) = (a % shards, b % shards);
        let mut here = Generator::new(a, shards, key, None);
        let there = Generator::new(b, shards, key, None);
        for _ in 0..8 {
            let cid = here.generate_cid();
            prop_assert_eq!(cid.len(), CID_LEN);
            prop_assert_eq!(shard_of_cid(&cid, shards), Some(a));
            prop_assert!(here.validate(&cid).is_ok());
            prop_assert!(there.is_ours(&cid));
            prop_assert_eq!(there.validate(&cid).is_ok(), a == b);
            let mut changed = cid.to_vec();
            changed[flip / 8] ^= 1 << (flip % 8);
            prop_assert!(!here.is_ours(&changed));
            prop_assert!(here.validate(&ConnectionId::new(&changed)).is_err());
            let mut other = key;
            other[flip / 8] ^= 1 << (flip % 8);
            prop_assert!(!Generator::new(a, shards, other, None).is_ours(&cid));
        }
    }

    #[test]
    fn what_a_client_invents_is_not_ours(cid in prop::collection::vec(any::<u8>(), 0..=20)) {
        let here = Generator::new(0, 1, [3; 16], None);
        prop_assert!(!here.is_ours(&cid));
        prop_assert!(here.validate(&ConnectionId::new(&cid)).is_err());
    }
}

#[test]
fn ids_do_not_repeat_even_with_the_same_key() {
    let mut seen = HashSet::new();
    for shards in [1, 2, 256] {
        for _ in 0..2 {
            let mut generator = Generator::new(shards - 1, shards, [5; 16], None);
            for _ in 0..5_000 {
                assert!(seen.insert(generator.generate_cid().to_vec()));
            }
        }
    }
}

#[test]
fn all_first_words_of_a_shard_occur() {
    let mut generator = Generator::new(255, 256, [5; 16], None);
    let words: HashSet<_> = (0..10_000).map(|_| generator.generate_cid()[..2].to_vec()).collect();
    assert_eq!(words.len(), 256);
}

#[test]
fn numbers_out_of_range_are_cut() {
    for (shard, shards) in [(0, 0), (9, 0), (9, 4), (usize::MAX, usize::MAX)] {
        let mut generator = Generator::new(shard, shards, [0; 16], Some(Duration::from_secs(60)));
        let cid = generator.generate_cid();
        assert!(generator.validate(&cid).is_ok());
        assert_eq!(generator.cid_len(), cid.len());
        assert_eq!(generator.cid_lifetime(), Some(Duration::from_secs(60)));
    }
}
