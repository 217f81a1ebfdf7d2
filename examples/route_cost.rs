//! What finding a route costs: `cargo run --profile quick --example route_cost`.
//!
//! Prints compile time, bytes on the heap and nanoseconds per `find` (median and 99th percentile of batches) for a few
//! shapes of configuration. The time to write the request into the head is measured alone and subtracted, so that what
//! remains is the look-up with the cache misses that many hosts bring.
use edge::route::{Found, MatchConfig, Query, RouteConfig, Router};
use edge_io::head::{Head, Version};
use std::{hint::black_box, net::IpAddr, net::Ipv4Addr, time::Instant};

/// Finds per batch: one timer reading is shared by them.
const BATCH: usize = 64;
/// Batches per measurement.
const BATCHES: usize = 4000;

struct Case {
    name: &'static str,
    matches: Vec<MatchConfig>,
    /// Authority and target of requests that find a route.
    requests: Vec<(String, String)>,
}

fn main() {
    println!(
        "{:<28} {:>10} {:>10} {:>12} {:>8} {:>8}",
        "case", "routes", "compile ms", "heap bytes", "p50 ns", "p99 ns"
    );
    for case in [
        hosts("1 host x 3", 1),
        hosts("10 hosts x 3", 10),
        hosts("1,000 hosts x 3", 1000),
        hosts("10,000 hosts x 3", 10_000),
        own_paths("10,000 hosts x 3, own paths", 10_000),
        wildcards("10,000 wildcards x 3", 10_000),
        paths("1 host x 10,000 prefixes", false),
        paths("1 host x 10,000 exact", true),
    ] {
        measure(&case);
    }
}

fn prefix(host: String, path: String) -> MatchConfig {
    MatchConfig { host: vec![host], path_prefix: Some(path), ..MatchConfig::default() }
}

fn hosts(name: &'static str, count: usize) -> Case {
    let host = |n: usize| format!("site{n}.tenant.example.com");
    let paths = ["/", "/api", "/static"];
    Case {
        name,
        matches: (0..count).flat_map(|n| paths.map(|path| prefix(host(n), path.into()))).collect(),
        requests: requests(count, |n| (host(n), "/api/v1/items?id=7".into())),
    }
}

fn own_paths(name: &'static str, count: usize) -> Case {
    let host = |n: usize| format!("site{n}.tenant.example.com");
    let paths = |n: usize| ["/".to_string(), format!("/api{n}"), format!("/static{n}")];
    Case {
        name,
        matches: (0..count).flat_map(|n| paths(n).map(|path| prefix(host(n), path))).collect(),
        requests: requests(count, |n| (host(n), format!("/api{n}/v1/items?id=7"))),
    }
}

fn wildcards(name: &'static str, count: usize) -> Case {
    let paths = ["/", "/api", "/static"];
    let host = |n: usize| format!("site{n}.tenant.example.com");
    Case {
        name,
        matches: (0..count).flat_map(|n| paths.map(|path| prefix(format!("*.{}", host(n)), path.into()))).collect(),
        requests: requests(count, |n| (format!("www.{}", host(n)), "/api/v1/items?id=7".into())),
    }
}

fn paths(name: &'static str, exact: bool) -> Case {
    let path = |n: usize| format!("/service{}/resource{n}", n % 100);
    let route = |n: usize| match exact {
        true => MatchConfig { host: vec!["example.com".into()], path: Some(path(n)), ..MatchConfig::default() },
        false => prefix("example.com".into(), path(n)),
    };
    let target = |n: usize| if exact { path(n) } else { format!("{}/items/7", path(n)) };
    Case {
        name,
        matches: (0..10_000).map(route).collect(),
        requests: requests(10_000, |n| ("example.com".into(), target(n))),
    }
}

/// Requests in a random but fixed order (xorshift).
fn requests(count: usize, request: impl Fn(usize) -> (String, String)) -> Vec<(String, String)> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize % count
    };
    (0..BATCH * 256).map(|_| request(next())).collect()
}

fn measure(case: &Case) {
    let ids: Vec<String> = (0..case.matches.len()).map(|n| format!("route-{n}")).collect();
    let routes: Vec<_> =
        case.matches.iter().zip(&ids).map(|(matches, id)| RouteConfig { id, priority: 0, matches }).collect();
    let began = Instant::now();
    let (router, warnings) = Router::compile(&routes).expect("the routes are valid");
    let compiled = began.elapsed();
    assert!(warnings.is_empty());
    let empty = batches(case, |_, _| ());
    let full = batches(case, |head, path| {
        let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let found = router.find(&Query { head, path, client, tls: false });
        assert!(matches!(black_box(found), Found::Route(_)));
    });
    println!(
        "{:<28} {:>10} {:>10.1} {:>12} {:>8.1} {:>8.1}",
        case.name,
        routes.len(),
        compiled.as_secs_f64() * 1e3,
        router.heap_bytes(),
        percentile(&full, 50) - percentile(&empty, 50),
        percentile(&full, 99) - percentile(&empty, 50),
    );
}

/// Nanoseconds per request of each batch, sorted.
fn batches(case: &Case, mut work: impl FnMut(&Head, &[u8])) -> Vec<f64> {
    let mut head = Head::new();
    let mut times = Vec::with_capacity(BATCHES);
    for batch in 0..BATCHES {
        let from = batch * BATCH % case.requests.len();
        let began = Instant::now();
        for (authority, target) in &case.requests[from..from + BATCH] {
            head.clear();
            let written = head.set_request(b"GET", authority.as_bytes(), target.as_bytes(), Version::Http11);
            assert!(written.is_ok());
            work(black_box(&head), head.path());
        }
        times.push(began.elapsed().as_nanos() as f64 / BATCH as f64);
    }
    times.sort_by(f64::total_cmp);
    times
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100]
}
