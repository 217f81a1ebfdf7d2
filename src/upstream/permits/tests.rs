//! Permits under threads, and what pockets do with them.
use super::*;
use crate::upstream::balance::Rng;
use std::sync::atomic::AtomicBool;

#[test]
fn what_lies_in_a_pocket_is_found_by_others() {
    let permits = Permits::new(0);
    assert!(permits.take(0, 10), "and three more for later");
    assert_eq!((permits.taken(), permits.used()), (4, 1));
    for _ in 0..9 {
        assert!(permits.take(1, 10));
    }
    assert!(!permits.take(1, 10) && !permits.take(0, 10));
    assert_eq!((permits.taken(), permits.used()), (10, 10));
}

#[test]
fn a_lower_limit_holds_for_pockets_too() {
    let permits = Permits::new(0);
    assert!(permits.take(0, 100));
    assert_eq!(permits.taken(), 4);
    assert!(!permits.take(0, 1) && !permits.take(1, 1));
    assert_eq!((permits.taken(), permits.used()), (1, 1), "what lay in the pocket went back");
    permits.give(0, 1, false);
    assert!(permits.take(1, 1));
}

#[test]
fn a_later_version_wins_whatever_the_order() {
    let permits = Permits::new(0);
    assert_eq!(permits.limit(), u32::MAX);
    let (old, new) = (permits.next_version(), permits.next_version());
    permits.set_limit(new, 5);
    permits.set_limit(old, 500);
    assert_eq!(permits.limit(), 5);
    permits.set_found(Some(3));
    assert_eq!(permits.limit(), 3);
    permits.set_found(None);
    permits.set_limit(permits.next_version(), 7);
    assert_eq!(permits.limit(), 7);
}

#[test]
fn a_shard_that_has_its_share_leaves_the_rest_to_others_that_wait() {
    let permits = Arc::new(Permits::new(0));
    let (mine, other) = (Holder::new(permits.clone(), 0), Holder::new(permits.clone(), 1));
    for _ in 0..8 {
        assert!(mine.take(8, 0));
    }
    other.set_waits(true);
    mine.set_waits(true);
    for _ in 0..4 {
        assert!(!mine.give(8, 0), "above its half");
    }
    assert!(!mine.take(8, 0));
    for _ in 0..4 {
        assert!(other.take(8, 0));
    }
    assert!(mine.give(8, 1_000_000), "its own half stays");
    assert!(mine.take(8, 0));
}

#[test]
fn one_permit_goes_round() {
    let permits = Arc::new(Permits::new(0));
    let holders = [0, 1, 2].map(|shard| Holder::new(permits.clone(), shard));
    let mut had = [0; 3];
    let mut who = 0;
    assert!(holders[0].take(1, 0));
    holders.iter().for_each(|h| h.set_waits(true));
    for now in (0..3000).step_by(4) {
        if !holders[who].give(1, now) {
            let next = (1..=3).map(|step| (who + step) % 3).find(|other| holders[*other].take(1, now));
            who = next.expect("one that waits may have it");
        } else {
            assert!(holders[who].take(1, now));
        }
        had[who] += 1;
    }
    assert!(had.iter().all(|n| *n >= 200), "{had:?}");
}

/// Eight threads take and give as they like while the limit moves: never more in use than the highest limit, nothing
/// lost, and a low limit is kept once what was above it has gone back.
#[test]
fn never_more_than_the_limit_whatever_threads_do() {
    const SHARDS: usize = 8;
    for (cap, rounds) in [(1, 2_000), (3, 4_000), (8, 4_000), (50, 8_000)] {
        let (permits, in_use) = (Arc::new(Permits::new(0)), AtomicU32::new(0));
        let served = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for shard in 0..SHARDS {
                let (permits, in_use, served) = (permits.clone(), &in_use, &served);
                scope.spawn(move || {
                    let holder = Holder::new(permits, shard);
                    let mut rng = Rng::new(shard as u64 + 99);
                    let mut held = 0;
                    for now in 0..rounds {
                        let r = rng.next_u64();
                        if r.is_multiple_of(3) && held > 0 {
                            in_use.fetch_sub(1, Ordering::SeqCst);
                            holder.give(cap, now);
                            held -= 1;
                        } else if held < 8 && holder.take(cap, now) {
                            held += 1;
                            served.fetch_add(1, Ordering::Relaxed);
                            assert!(in_use.fetch_add(1, Ordering::SeqCst) < cap);
                        } else if r % 64 == 1 {
                            holder.permits().empty_pocket(shard);
                        }
                        if r % 16 == 2 {
                            holder.set_waits(r % 32 == 2);
                        }
                    }
                    for _ in 0..held {
                        in_use.fetch_sub(1, Ordering::SeqCst);
                        holder.give(cap, rounds);
                    }
                });
            }
        });
        assert!(served.load(Ordering::Relaxed) > 0);
        assert_eq!((permits.taken(), permits.starving()), (0, 0), "limit {cap}");
    }
}

#[test]
fn a_limit_that_moves_under_threads_loses_no_permit() {
    let permits = Arc::new(Permits::new(0));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|shard| {
                let permits = permits.clone();
                scope.spawn(move || {
                    let holder = Holder::new(permits.clone(), shard);
                    for now in 0..4_000 {
                        if holder.take(permits.limit(), now) {
                            if now % 5 == 0 {
                                std::thread::yield_now();
                            }
                            holder.give(permits.limit(), now);
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let mut rng = Rng::new(5);
            while !done.load(Ordering::Relaxed) {
                permits.set_limit(permits.next_version(), 1 + (rng.next_u64() % 20) as u32);
                assert!(permits.taken() <= 8 * LEASE + 20);
                std::thread::yield_now();
            }
        });
        for worker in workers {
            worker.join().expect("no thread failed");
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!((permits.taken(), permits.used()), (0, 0));
}
