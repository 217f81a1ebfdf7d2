//! Finding a route among 10 to 100,000: by host, by path, by predicates. (`benches/route_cost.rs` has the cache misses.)
use crate::scenario::{Scenario, Work};
use edge::route::{FieldMatch, FieldOp, Found, MatchConfig, Query, RouteConfig, Router};
use edge_io::head::{Head, Version};
use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
};

/// Requests that are made ahead, one look-up each in a call.
const REQUESTS: usize = 64;
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (name, count) in [("10", 10), ("100", 100), ("1,000", 1000), ("10,000", 10_000), ("100,000", 100_000)] {
        all.push(Scenario::new(format!("route/host/{name}"), move || find(count, by_host, to_host)));
        all.push(Scenario::new(format!("route/wildcard/{name}"), move || find(count, by_wildcard, to_wildcard)));
        let prefix = format!("route/path prefix/{name}");
        all.push(Scenario::new(&*prefix, move || find(count, by_prefix, to_prefix)));
        all.push(Scenario::beside(&prefix, "matchit", move || matchit(count)));
    }
    all.push(Scenario::new("route/predicates/16 of one path", || find(16, by_field, to_field)));
    all.push(Scenario::new("route/no route/1,000", || no_route(1000)));
    all.into_iter().map(|scenario| scenario.of(REQUESTS as u32).calls(8)).collect()
}

fn by_host(n: usize) -> MatchConfig {
    MatchConfig { host: vec![format!("site{n:05}.tenant.example.com")], ..MatchConfig::default() }
}

fn to_host(n: usize) -> Head {
    request(&format!("site{n:05}.tenant.example.com"), "/api/v1/items?id=7")
}

fn by_wildcard(n: usize) -> MatchConfig {
    MatchConfig { host: vec![format!("*.site{n:05}.tenant.example.com")], ..MatchConfig::default() }
}

fn to_wildcard(n: usize) -> Head {
    request(&format!("www.site{n:05}.tenant.example.com"), "/api/v1/items?id=7")
}

fn by_prefix(n: usize) -> MatchConfig {
    let path_prefix = Some(format!("/service/resource-{n:05}").into());
    MatchConfig { host: vec!["example.com".into()], path_prefix, ..MatchConfig::default() }
}

fn to_prefix(n: usize) -> Head {
    request("example.com", &format!("/service/resource-{n:05}/items/7"))
}

/// All look at the same path; what tells them apart are a method, a query parameter and a field.
fn by_field(n: usize) -> MatchConfig {
    let is = |name: &str, value: String| std::iter::once(FieldMatch { name: name.into(), op: FieldOp::Exact(value) });
    MatchConfig {
        host: vec!["example.com".into()],
        path_prefix: Some("/api".into()),
        method: std::iter::once("GET".to_owned()).collect(),
        query: is("version", "2".into()).collect(),
        header: is("x-tenant", format!("tenant-{n}")).collect(),
        ..MatchConfig::default()
    }
}

fn to_field(n: usize) -> Head {
    let mut head = request("example.com", "/api/v1/items?page=3&version=2");
    head.push(b"accept", b"*/*").expect("there is room");
    head.push(b"x-tenant", format!("tenant-{n}").as_bytes()).expect("there is room");
    head
}

fn request(authority: &str, target: &str) -> Head {
    let mut head = Head::new();
    head.set_request(b"GET", authority.as_bytes(), target.as_bytes(), Version::Http11).expect("there is room");
    head
}

fn compile(count: usize, route: fn(usize) -> MatchConfig) -> Router {
    let matches: Vec<_> = (0..count).map(route).collect();
    let ids: Vec<_> = (0..count).map(|n| format!("route-{n}")).collect();
    let routes: Vec<_> =
        matches.iter().zip(&ids).map(|(matches, id)| RouteConfig { id, priority: 0, matches }).collect();
    Router::compile(&routes).expect("the routes are valid").0
}

/// Which routes are asked for: spread over all, and always the same.
fn asked(count: usize) -> impl Iterator<Item = usize> {
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    std::iter::repeat_with(move || {
        // xorshift
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        ((random >> 32) as usize * count) >> 32
    })
    .take(REQUESTS)
}

fn find(count: usize, route: fn(usize) -> MatchConfig, to: fn(usize) -> Head) -> Work {
    let router = compile(count, route);
    let requests: Vec<_> = asked(count).map(|n| (n as u32, to(n))).collect();
    Box::new(move || {
        for (n, head) in black_box(&requests) {
            let found = router.find(&Query { head, path: head.path(), client: CLIENT, tls: false });
            assert_eq!(found, Found::Route(*n));
        }
    })
}

fn no_route(count: usize) -> Work {
    let router = compile(count, by_host);
    let requests: Vec<_> = asked(count).map(to_wildcard).collect();
    Box::new(move || {
        for head in black_box(&requests) {
            let found = router.find(&Query { head, path: head.path(), client: CLIENT, tls: false });
            assert_eq!(found, Found::None);
        }
    })
}

/// It knows no hosts and no predicates: one tree for one host, and the same paths.
fn matchit(count: usize) -> Work {
    let mut router = matchit::Router::new();
    for n in 0..count {
        router.insert(format!("/service/resource-{n:05}/{{*rest}}"), n).expect("the routes are valid");
    }
    let requests: Vec<_> = asked(count).map(|n| (n, format!("/service/resource-{n:05}/items/7"))).collect();
    Box::new(move || {
        for (n, path) in black_box(&requests) {
            assert_eq!(router.at(path).map(|found| *found.value), Ok(*n));
        }
    })
}
