//! Counting, summing, and what outlives what.
use super::{registry::open, route::COMBINATIONS, *};
use edge_io::head::{Method, Version};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

#[test]
fn a_duration_falls_into_the_bucket_whose_bound_it_does_not_pass() {
    let naive = |us: u64| BOUNDS_US.iter().position(|&b| us <= b).unwrap_or(BOUNDS_US.len());
    let near = BOUNDS_US.iter().flat_map(|&b| [b - 1, b, b + 1]);
    for us in near.chain([0, 1, u64::MAX, u64::MAX / 2]).chain((0..64).map(|p| 1 << p)) {
        let h = Histogram::default();
        h.observe(us);
        assert_eq!(h.buckets.iter().position(|b| b.get() == 1), Some(naive(us)), "{us}");
        assert_eq!(h.sum_us.get(), us);
    }
}

#[test]
fn every_combination_is_counted_once_however_many_there_are() {
    let methods = [
        Method::Get,
        Method::Head,
        Method::Post,
        Method::Put,
        Method::Delete,
        Method::Options,
        Method::Patch,
        Method::Trace,
        Method::Connect,
        Method::Other,
    ];
    let route = RouteStats::new("r".into(), 2);
    for (m, method) in methods.into_iter().enumerate() {
        assert_eq!(method as usize, m);
        for (v, version) in [Version::Http11, Version::Http2, Version::Http3].into_iter().enumerate() {
            for class in 1..=5 {
                for _ in 0..=(m + v) {
                    route.shard(m % 2).request(method, class * 100, version, 700, 10, 20);
                }
            }
        }
    }
    let mut total = RouteTotal::default();
    total.add_route(&route);
    let seen: Vec<_> = total.requests().collect();
    assert_eq!(seen.len(), COMBINATIONS);
    for (method, class, protocol, n) in seen {
        let m = METHODS.iter().position(|x| *x == method).unwrap();
        let v = PROTOCOLS.iter().position(|x| *x == protocol).unwrap();
        assert_eq!(n as usize, m + v + 1, "{method} {class} {protocol}");
    }
    let all: u64 = total.requests().map(|r| r.3).sum();
    assert_eq!(route.hits(), all);
    assert_eq!(total.durations.iter().map(HistogramTotal::count).sum::<u64>(), all);
    assert_eq!((total.bytes_in, total.bytes_out), (all * 10, all * 20));
}

#[test]
fn http10_counts_as_h1_and_odd_statuses_have_a_class() {
    let s = RouteShard::default();
    s.request(Method::Get, 200, Version::Http10, 1, 0, 0);
    s.request(Method::Get, 0, Version::Http11, 1, 0, 0);
    s.request(Method::Get, 999, Version::Http11, 1, 0, 0);
    let mut total = RouteTotal::default();
    total.add(&s);
    let seen: Vec<_> = total.requests().map(|(_, c, p, n)| (c, p, n)).collect();
    assert_eq!(seen, [("1xx", "h1", 1), ("2xx", "h1", 1), ("5xx", "h1", 1)]);
}

#[test]
fn an_idle_route_is_small_and_a_used_one_bounded() {
    let idle = size_of::<RouteStats>() + 2 * size_of::<OnceLock<Box<RouteShard>>>();
    assert!(idle <= 80, "{idle}");
    assert!(size_of::<RouteShard>() <= 320, "{}", size_of::<RouteShard>());
}

#[test]
fn counters_survive_while_someone_holds_them() {
    let registry = StatsRegistry::new(1);
    let old = registry.route("a");
    old.shard(0).request(Method::Get, 200, Version::Http11, 1, 0, 0);
    let new = registry.route("a");
    assert!(Arc::ptr_eq(&old, &new));
    drop(old);
    assert_eq!(registry.route("a").hits(), 1);
    drop(new);
    assert_eq!(registry.routes().len(), 0);
    assert_eq!(registry.route("a").hits(), 0);
}

#[test]
fn dead_entries_are_swept() {
    let registry = StatsRegistry::new(1);
    for i in 0..10_000 {
        registry.route(&format!("r{i}"));
    }
    assert!(open(&registry.routes).by_key.len() <= 128);
}

#[test]
fn pool_and_endpoint_names_do_not_run_together() {
    let registry = StatsRegistry::new(1);
    let a = registry.endpoint("a/b", "c");
    let b = registry.endpoint("a", "b/c");
    assert!(!Arc::ptr_eq(&a, &b));
}

#[test]
fn silence_is_the_time_since_the_last_beat() {
    let registry = StatsRegistry::new(1);
    let shard = &registry.shards[0];
    let later = shard.origin + Duration::from_secs(5);
    assert_eq!(shard.silence(later), Duration::from_secs(5));
    shard.beat(later);
    assert_eq!(shard.silence(later + Duration::from_millis(700)), Duration::from_millis(700));
}

#[test]
fn another_thread_reads_what_one_counted() {
    let registry = Arc::new(StatsRegistry::new(2));
    let route = registry.route("r");
    let threads: Vec<_> = (0..2)
        .map(|shard| {
            let route = route.clone();
            std::thread::spawn(move || {
                for _ in 0..10_000 {
                    route.shard(shard).request(Method::Get, 200, Version::Http11, 100, 1, 2);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(route.hits(), 20_000);
}
