//! What finding a route costs where many hosts bring cache misses: `cargo bench --profile instructions -p edge-bench --bench route_cost`.
//!
//! Prints compile time, bytes on the heap and nanoseconds per `find` (median and 99th percentile of batches) for a few
//! shapes of configuration. Hosts and paths are asked in random order. The time to write the request into the head is
//! measured alone and subtracted, so that what remains is the look-up with the cache misses that many hosts bring.
use edge::route::{Found, MatchConfig, Query, RouteConfig, Router};
use edge_io::head::{Head, Version};
use std::{hint::black_box, net::IpAddr, net::Ipv4Addr, time::Instant};

/// Finds per batch: one timer reading is shared by them.
const BATCH: usize = 64;
/// Batches per measurement.
const BATCHES: usize = 8000;

/// `#####` in a text stands for the number of a host or path.
struct Case {
    name: &'static str,
    /// How many numbers.
    count: usize,
    host: &'static str,
    /// One route each; `=` before an exact path.
    paths: &'static [&'static str],
    /// What is asked.
    authority: &'static str,
    target: &'static str,
}

const COMMON: &[&str] = &["/", "/api", "/static"];
const SITE: &str = "site#####.tenant.example.com";
const ITEM: &str = "/api/v1/items?id=7";

const CASES: [Case; 8] = [
    Case { name: "1 host x 3", count: 1, host: SITE, paths: COMMON, authority: SITE, target: ITEM },
    Case { name: "10 hosts x 3", count: 10, host: SITE, paths: COMMON, authority: SITE, target: ITEM },
    Case { name: "1,000 hosts x 3", count: 1000, host: SITE, paths: COMMON, authority: SITE, target: ITEM },
    Case { name: "10,000 hosts x 3", count: 10_000, host: SITE, paths: COMMON, authority: SITE, target: ITEM },
    Case {
        name: "10,000 hosts x 3, own paths",
        count: 10_000,
        host: SITE,
        paths: &["/", "/api#####", "/static#####"],
        authority: SITE,
        target: "/api#####/v1/items?id=7",
    },
    Case {
        name: "10,000 wildcards x 3",
        count: 10_000,
        host: "*.site#####.tenant.example.com",
        paths: COMMON,
        authority: "www.site#####.tenant.example.com",
        target: ITEM,
    },
    Case {
        name: "1 host x 10,000 prefixes",
        count: 10_000,
        host: "example.com",
        paths: &["/service/resource-#####"],
        authority: "example.com",
        target: "/service/resource-#####/items/7",
    },
    Case {
        name: "1 host x 10,000 exact",
        count: 10_000,
        host: "example.com",
        paths: &["=/service/resource-#####"],
        authority: "example.com",
        target: "/service/resource-#####",
    },
];

fn main() {
    println!(
        "{:<28} {:>10} {:>10} {:>12} {:>8} {:>8}",
        "case", "routes", "compile ms", "heap bytes", "p50 ns", "p99 ns"
    );
    CASES.iter().for_each(measure);
}

fn numbered(text: &str, n: usize) -> String {
    text.replace("#####", &format!("{n:05}"))
}

fn config(case: &Case, n: usize, path: &str) -> MatchConfig {
    let host = vec![numbered(case.host, n)];
    match path.strip_prefix('=') {
        Some(path) => MatchConfig { host, path: Some(numbered(path, n).into()), ..MatchConfig::default() },
        None => MatchConfig { host, path_prefix: Some(numbered(path, n).into()), ..MatchConfig::default() },
    }
}

fn measure(case: &Case) {
    let numbers = 0..case.count;
    let matches: Vec<_> = numbers.flat_map(|n| case.paths.iter().map(move |path| config(case, n, path))).collect();
    let ids: Vec<String> = (0..matches.len()).map(|n| format!("route-{n}")).collect();
    let routes = matches.iter().zip(&ids).map(|(matches, id)| RouteConfig { id, priority: 0, matches });
    let routes: Vec<_> = routes.collect();
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

/// A text whose number is written over in place, so that requests take no memory that would push out the tables.
struct Numbered {
    text: Vec<u8>,
    at: Option<usize>,
}

impl Numbered {
    fn new(text: &str) -> Numbered {
        Numbered { text: text.into(), at: text.find("#####") }
    }

    fn with(&mut self, mut n: usize) -> &[u8] {
        if let Some(at) = self.at {
            for digit in self.text[at..at + 5].iter_mut().rev() {
                *digit = b'0' + (n % 10) as u8;
                n /= 10;
            }
        }
        &self.text
    }
}

/// Nanoseconds per request of each batch, sorted.
fn batches(case: &Case, mut work: impl FnMut(&Head, &[u8])) -> Vec<f64> {
    let mut head = Head::new();
    let (mut authority, mut target) = (Numbered::new(case.authority), Numbered::new(case.target));
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut times = Vec::with_capacity(BATCHES);
    for _ in 0..BATCHES {
        let began = Instant::now();
        for _ in 0..BATCH {
            // xorshift
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let n = ((random >> 32) as usize * case.count) >> 32;
            head.clear();
            let written = head.set_request(b"GET", authority.with(n), target.with(n), Version::Http11);
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
