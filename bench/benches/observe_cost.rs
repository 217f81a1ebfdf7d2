//! What seeing costs a request: nanoseconds per counted request and per access-log line.
//!
//! `cargo bench --profile instructions -p edge-bench --bench observe_cost`
use edge::observe::{
    access_log::{self, RING_BYTES, Record, Target},
    stats::{RouteStats, StatsRegistry},
};
use edge_io::head::{Method, Version};
use std::{hint::black_box, io, sync::Arc, time::Instant};

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

fn main() -> io::Result<()> {
    let route = RouteStats::new("r".into(), 1);
    let rounds = 20_000_000u64;
    let begin = Instant::now();
    for i in 0..rounds {
        route.shard(0).request(Method::Get, 200, Version::Http11, black_box(i) & 0xfff, 300, 1200);
    }
    println!("{:.1} ns per counted request", begin.elapsed().as_nanos() as f64 / rounds as f64);

    let stats = Arc::new(StatsRegistry::new(1));
    let log = access_log::start(Target::Writer(Box::new(io::sink())), stats.clone())?;
    let mut writer = log.writer(stats.shards[0].clone(), RING_BYTES);
    let rounds = 1_000_000u64;
    let begin = Instant::now();
    for i in 0..rounds {
        writer.line(&Record { wall_us: 1_700_000_000_000_000 + i * 5, bytes_out: i, ..black_box(record()) });
    }
    let spent = begin.elapsed().as_nanos() as f64 / rounds as f64;
    println!("{spent:.0} ns per log line; {} of {rounds} lines found the ring full", stats.shards[0].log_dropped.get());
    Ok(())
}
