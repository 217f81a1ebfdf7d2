//! Clients that change their address in the middle of a download, knowingly or not: the same shard goes on serving them.
use crate::{
    client::{Client, config, endpoint, run},
    harness::{Driver, Edge},
    relay::{Relay, Weather},
    site::{MIB, Site, by_shard, loopbacks, udp_addr},
    suite,
};
use std::{sync::atomic::Ordering::SeqCst, time::Instant};

suite! {
    "moving";
    each_driver: kernel_with_2_shards, forward_with_2_shards;
    once: kernel_with_8_shards, forward_with_8_shards, nat_kernel_with_2_shards, nat_forward_with_2_shards,
        nat_kernel_with_8_shards, nat_forward_with_8_shards, two_at_once, a_move_that_is_not_allowed, many_connections_of_one_socket,
        a_full_forward_queue;
}

/// Times that a client moves.
const MOVES: usize = 20;
/// Of the download, in bytes.
const LENGTH: usize = 100 * MIB;

fn kernel_with_2_shards(driver: Driver) {
    new_ports(driver, "kernel", 2);
}

fn forward_with_2_shards(driver: Driver) {
    new_ports(driver, "forward", 2);
}

fn kernel_with_8_shards() {
    new_ports(Driver::IoUring, "kernel", 8);
}

fn forward_with_8_shards() {
    new_ports(Driver::IoUring, "forward", 8);
}

fn nat_kernel_with_2_shards() {
    nat(Driver::IoUring, "kernel", 2);
}

fn nat_forward_with_2_shards() {
    nat(Driver::IoUring, "forward", 2);
}

fn nat_kernel_with_8_shards() {
    nat(Driver::IoUring, "kernel", 8);
}

fn nat_forward_with_8_shards() {
    nat(Driver::IoUring, "forward", 8);
}

/// Calls `change` each time that another part of the download has come.
fn each_part(mut change: impl FnMut()) -> impl FnMut(usize) {
    let mut moved = 0;
    move |so_far| {
        if moved < MOVES && so_far > LENGTH / (MOVES + 1) * (moved + 1) {
            moved += 1;
            change();
        }
    }
}

/// The client itself takes another port.
fn new_ports(driver: Driver, steering: &str, shards: usize) {
    for address in loopbacks() {
        let site = Site::new();
        let edge = site.edge(driver, shards, steering, address);
        let begun = Instant::now();
        run(async {
            let client = Client::connect(udp_addr(&edge)).await;
            client.download_watched(LENGTH, each_part(|| client.rebind())).await;
        });
        println!("{address}: {:.1} MiB/s", (LENGTH / MIB) as f64 / begun.elapsed().as_secs_f64());
        check(&edge, steering, shards, MOVES);
    }
}

/// A NAT in front of the client forgets it, and the client does not know.
fn nat(driver: Driver, steering: &str, shards: usize) {
    for address in loopbacks() {
        let site = Site::new();
        let edge = site.edge(driver, shards, steering, address);
        let relay = Relay::start(udp_addr(&edge), Weather::fair());
        let begun = Instant::now();
        run(async {
            let client = Client::connect(relay.addr()).await;
            client.download_watched(LENGTH, each_part(|| relay.rebind())).await;
        });
        println!("{address}: {:.1} MiB/s", (LENGTH / MIB) as f64 / begun.elapsed().as_secs_f64());
        let ports = relay.counts().ports.load(SeqCst) as usize;
        assert!(ports > MOVES / 2, "{ports} ports");
        check(&edge, steering, shards, ports - 1);
    }
}

/// One shard served all of it, and knew of the moves; packets went there as the steering says.
fn check(edge: &Edge, steering: &str, shards: usize, moves: usize) {
    let line = edge.wait_log_path(&format!("/bytes/{LENGTH}"));
    let shard = line["shard"].as_u64().expect("a shard") as usize;
    let metrics = edge.metrics();
    let of = |name: &str, labels: &[(&str, &str)]| by_shard(&metrics, shards, name, labels);
    let sent = of("edge_quic_packets_total", &[("direction", "sent")]);
    let received = of("edge_quic_packets_total", &[("direction", "received")]);
    let forwarded = of("edge_quic_packets_total", &[("direction", "forwarded")]);
    let full = of("edge_quic_packets_dropped_total", &[("reason", "forward_queue")]);
    let moved = of("edge_quic_migrations_total", &[]);
    println!(
        "shard {shard}: sent {sent:?} received {received:?} forwarded {forwarded:?} full {full:?} moved {moved:?}"
    );
    let elsewhere = |all: &[f64]| all.iter().sum::<f64>() - all[shard];
    assert!(sent[shard] > 70_000.0, "the shard of the log is not that of the packets: {sent:?}");
    assert_eq!(elsewhere(&sent), 0.0, "other shards answered: {sent:?}");
    assert_eq!(moved[shard] as usize, moves, "moves that were noticed: {moved:?}");
    match steering {
        "kernel" => {
            assert_eq!(forwarded.iter().sum::<f64>(), 0.0, "misrouted by the kernel: {forwarded:?}");
            assert_eq!(elsewhere(&received), 0.0, "received elsewhere: {received:?}");
        }
        _ => assert!(elsewhere(&forwarded) > 0.0, "nothing was forwarded: {forwarded:?}"),
    }
}

/// Two connections of one socket move together, and each stays with its shard.
fn two_at_once() {
    const PART: usize = 20 * MIB;
    for steering in ["kernel", "forward"] {
        let site = Site::new();
        let edge = site.edge(Driver::IoUring, 4, steering, "127.0.0.1:0");
        let relay = Relay::start(udp_addr(&edge), Weather::fair());
        run(async {
            let (a, b) = (Client::connect(relay.addr()).await, Client::connect(relay.addr()).await);
            let mut change = each_part(|| relay.rebind());
            tokio::join!(a.download_watched(PART, |so_far| change(so_far * (LENGTH / PART))), b.download(PART));
        });
        let metrics = edge.metrics();
        assert_eq!(metrics.sum("edge_tls_handshakes_total", &[("transport", "quic"), ("result", "ok")]), 2.0);
        assert!(metrics.sum("edge_quic_migrations_total", &[]) > MOVES as f64);
    }
}

/// With `migration = false` a client that moves is not heard any more.
fn a_move_that_is_not_allowed() {
    let site = Site::new();
    let text = site.text("127.0.0.1:0", "http3 = { migration = false, idle_timeout = \"1s\" }\n", "");
    let edge = site.setup(Driver::IoUring, 2, "auto").text(&text).start();
    run(async {
        let client = Client::connect(udp_addr(&edge)).await;
        client.download(1000).await;
        client.rebind();
        let got = client.get_watched("/bytes/1000", |_| {}).await;
        assert!(got.is_err(), "{got:?}");
    });
    assert_eq!(edge.metrics().sum("edge_quic_migrations_total", &[]), 0.0);
}

/// Their packets come together, joined by the kernel perhaps, and belong to different shards.
fn many_connections_of_one_socket() {
    for steering in ["kernel", "forward"] {
        let site = Site::new();
        let edge = site.edge(Driver::IoUring, 4, steering, "127.0.0.1:0");
        let shards = run(async {
            let addr = udp_addr(&edge);
            let endpoint = endpoint(addr);
            let mut all = tokio::task::JoinSet::new();
            for _ in 0..12 {
                let endpoint = endpoint.clone();
                all.spawn(async move {
                    let client = Client::connect_from(endpoint, addr, config()).await;
                    client.upload(2 * MIB).await;
                    client.download(2 * MIB).await;
                });
            }
            while let Some(done) = all.join_next().await {
                done.expect("no panic");
            }
            by_shard(&edge.metrics(), 4, "edge_quic_packets_total", &[("direction", "sent")])
        });
        assert!(shards.iter().filter(|sent| **sent > 0.0).count() > 1, "all by one shard: {shards:?}");
        // A connection is never cut in two: what goes astray is lost, not answered.
        let metrics = edge.metrics();
        assert_eq!(metrics.sum("edge_tls_handshakes_total", &[("transport", "quic"), ("result", "ok")]), 12.0);
        assert_eq!(metrics.sum("edge_quic_stateless_resets_total", &[]), 0.0);
    }
}

/// Shards hand on more than fits: what is dropped is sent again.
fn a_full_forward_queue() {
    let site = Site::new();
    let setup = site.setup(Driver::IoUring, 2, "forward");
    let setup = setup.server("quic", "{ steering = \"forward\", forward_queue = 16 }");
    let edge = setup.text(&site.text("127.0.0.1:0", "", "")).start();
    run(async {
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let addr = udp_addr(&edge);
            all.spawn(async move { Client::connect(addr).await.upload(5 * MIB).await });
        }
        while let Some(done) = all.join_next().await {
            done.expect("no panic");
        }
    });
    let metrics = edge.metrics();
    let dropped = metrics.sum("edge_quic_packets_dropped_total", &[("reason", "forward_queue")]);
    let forwarded = metrics.sum("edge_quic_packets_total", &[("direction", "forwarded")]);
    println!("forwarded {forwarded}, dropped {dropped}");
    assert!(forwarded > 0.0);
}
