//! What seeing costs a request: counted, and written to the access log.
use crate::scenario::{Scenario, Work};
use edge::observe::{
    access_log::{self, RING_BYTES, Record, Target},
    stats::{RouteStats, StatsRegistry},
};
use edge_io::head::{Method, Version};
use std::{hint::black_box, io, sync::Arc};

pub fn scenarios() -> Vec<Scenario> {
    vec![Scenario::new("observe/count request", count), Scenario::new("observe/access log line", log)]
}

fn count() -> Work {
    let (route, mut n) = (RouteStats::new("r".into(), 1), 0u64);
    Box::new(move || {
        n += 1;
        route.shard(0).request(Method::Get, 200, Version::Http11, black_box(n) & 0xfff, 300, 1200);
    })
}

/// Into the ring; when it is full because the log thread cannot keep up, the line is formatted all the same.
fn log() -> Work {
    let stats = Arc::new(StatsRegistry::new(1));
    let log = access_log::start(Target::Writer(Box::new(io::sink())), stats.clone()).expect("a thread");
    let (mut writer, mut n) = (log.writer(stats.shards[0].clone(), RING_BYTES), 0);
    Box::new(move || {
        n += 1;
        writer.line(&Record { bytes_out: n & 0xfff, ..black_box(record()) });
    })
}

fn record() -> Record<'static> {
    Record {
        wall_us: 1_700_000_000_000_000,
        request_id: b"01a1fe4c-de80-7c1a-81df-9c9e785eadb3",
        listener: "web",
        client: "192.0.2.7:51234".parse().ok(),
        version: Version::Http11,
        tls_version: None,
        tls_group: None,
        sni: None,
        mtls_subject: None,
        method: b"GET",
        scheme: "http",
        host: b"www.example.com",
        path: b"/articles/2026/11/a-title",
        query: None,
        route: Some("articles"),
        pool: Some("app"),
        endpoint: Some("http://127.0.0.1:8000"),
        status: 200,
        category: None,
        detail: None,
        bytes_in: 300,
        bytes_out: 1200,
        duration_us: 1234,
        connect_us: None,
        ttfb_us: Some(1000),
        upstream_us: Some(1200),
        retries: 0,
        hedged: None,
        config_version: 1,
        user_agent: Some(b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        referer: None,
    }
}
