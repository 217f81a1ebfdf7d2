//! dev only: one shard from a config file, no control plane
use edge::*;
use std::sync::Arc;
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
fn main() {
    let path = std::env::args().nth(1).unwrap();
    let config = config::load(std::path::Path::new(&path)).unwrap_or_else(|e| {
        eprintln!("{e}");
        std::process::exit(3)
    });
    let stats = Arc::new(observe::stats::StatsRegistry::new(1));
    let snap = snapshot::compile(&config, &upstream::Registry::new(), &stats, 1).unwrap_or_else(|e| {
        eprintln!("{e}");
        std::process::exit(3)
    });
    let snap = Arc::new(snap);
    let target = match &snap.server.access_log {
        snapshot::AccessLogTarget::Off => observe::access_log::Target::Off,
        snapshot::AccessLogTarget::File(p) => observe::access_log::Target::File(p.clone()),
        _ => observe::access_log::Target::Stdout,
    };
    let log = observe::access_log::start(target, stats.clone()).unwrap();
    let (tx, rx) = edge_io::mailbox::channel(8).unwrap();
    let mut listeners = vec![];
    for l in &snap.listeners {
        for a in &l.address {
            if let snapshot::ListenAddr::Tcp(s) = a {
                listeners.push(snapshot::command::ShardListener {
                    id: listeners.len() as u64,
                    addr: a.clone(),
                    rule: l.clone(),
                    fd: Some(edge_io::listen::tcp(*s).unwrap()),
                });
            }
        }
    }
    let (driver, _) = edge_io::ring::choose().unwrap();
    let ss = stats.shards[0].clone();
    let w = log.writer(ss.clone(), observe::access_log::RING_BYTES);
    let t = shard::start(shard::Start {
        index: 0,
        core: Some(0),
        driver,
        mailbox: rx,
        stats: ss,
        registry: stats.clone(),
        log: w,
        seed: 42,
    })
    .unwrap();
    let (a, b) = std::sync::mpsc::channel();
    tx.send(snapshot::command::Command::Adopt(snapshot::command::Adopt {
        snapshot: snap,
        listeners,
        ack: snapshot::command::Ack::new(move |r| {
            let _ = a.send(r);
        }),
    }))
    .ok();
    eprintln!("{:?}", b.recv());
    t.join().unwrap();
}
