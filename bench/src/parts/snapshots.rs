//! A reload: the configuration's text read, compiled to a snapshot, and adopted by a shard.
use crate::scenario::{Scenario, Work};
use edge::{
    config::{self, Config},
    flow,
    observe::{
        access_log::{self, RING_BYTES, Target},
        stats::StatsRegistry,
    },
    snapshot::{self, Snapshot},
    upstream::Registry,
};
use edge_io::{reactor::Reactor, ring::Driver, runtime::Local, timer::Timers};
use std::{fmt::Write as _, hint::black_box, path::Path, sync::Arc};

/// Routes of one pool.
const ROUTES_OF_A_POOL: usize = 10;

pub fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (name, count, calls) in [("10", 10, 20), ("1,000", 1000, 4), ("10,000", 10_000, 1)] {
        let (text, made) = (format!("snapshot/read text/{name}"), format!("snapshot/compile/{name}"));
        all.push(Scenario::new(text, move || read(count)).calls(calls));
        all.push(Scenario::new(made, move || compile(count)).calls(calls));
        all.push(Scenario::new(format!("snapshot/adopt/{name}"), move || adopt(count)).calls(20));
    }
    all
}

/// A listener, and `count` routes by host and path, ten to a pool of two endpoints.
fn text(count: usize) -> String {
    let mut text = String::from("[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:8080\"\n");
    for pool in 0..count.div_ceil(ROUTES_OF_A_POOL) {
        let _ = writeln!(
            text,
            "[pool.app-{pool}]\nendpoints = [\"http://10.0.{}.{}:3000\", \"http://10.1.{}.{}:3000\"]",
            pool / 250,
            pool % 250,
            pool / 250,
            pool % 250,
        );
    }
    for n in 0..count {
        let pool = n / ROUTES_OF_A_POOL;
        let _ = writeln!(
            text,
            "[[route]]\nid = \"route-{n}\"\nmatch = \"site{n}.example.com/api/\"\npool = \"app-{pool}\""
        );
    }
    text
}

fn parse(text: &str) -> Config {
    config::parse(text, Path::new("bench.toml")).unwrap_or_else(|report| panic!("{report}"))
}

/// A snapshot, with what outlives it.
fn made(config: &Config, registry: &Registry, stats: &StatsRegistry) -> Snapshot {
    snapshot::compile(config, registry, stats, 1).unwrap_or_else(|report| panic!("{report}"))
}

fn read(count: usize) -> Work {
    let text = text(count);
    Box::new(move || {
        black_box(parse(black_box(&text)));
    })
}

/// As a reload does it: the routes' counters and the endpoints' state are there already, and the snapshot before goes when
/// the new one is there.
fn compile(count: usize) -> Work {
    let (config, registry, stats) = (parse(&text(count)), Registry::new(), StatsRegistry::new(1));
    let mut before = Some(made(&config, &registry, &stats));
    Box::new(move || drop(black_box(before.replace(made(black_box(&config), &registry, &stats)))))
}

/// Two snapshots in turn: both stay, so that no figure holds the end of one.
fn adopt(count: usize) -> Work {
    let (config, registry, stats) = (parse(&text(count)), Registry::new(), Arc::new(StatsRegistry::new(1)));
    let mut snapshots = [(); 2].map(|()| Arc::new(made(&config, &registry, &stats)));
    let log = access_log::start(Target::Off, stats.clone()).expect("a thread");
    let writer = log.writer(stats.shards[0].clone(), RING_BYTES);
    let reactor = Reactor::new(Driver::Epoll).expect("an epoll set");
    let local = Local { shard: 0, reactor, timers: Timers::new().expect("a timer") };
    let shard = flow::Shard::new(local, snapshots[0].clone(), stats.shards[0].clone(), writer, 1);
    Box::new(move || {
        snapshots.swap(0, 1);
        shard.adopt(black_box(snapshots[0].clone()));
        black_box(shard.pin());
    })
}
