//! Loss, reordering, duplicates, forged copies and narrow paths: every transfer arrives, and arrives whole.
use crate::{
    client::{Client, run},
    harness::Driver,
    relay::{Relay, Weather},
    site::{Body, MIB, Site, udp_addr},
    suite,
};
use std::{
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

suite! {
    "weather";
    each_driver: light_loss, everything_at_once;
    once: heavy_loss, many_small_requests, a_narrow_path, a_path_that_becomes_narrow, several_seeds,
        small_pieces_for_slow_acknowledgements;
}

/// Everything happens, moderately.
fn changeable(seed: u64) -> Weather {
    let (loss, duplicate, reorder, mutate) = (50, 30, 50, 30);
    Weather { seed, loss, duplicate, reorder, mutate, delay: Duration::from_micros(500), ..Weather::fair() }
}

/// Down and up through this weather; how much of it there was is printed.
fn transfer(driver: Driver, weather: Weather, length: usize) {
    let site = Site::new();
    let edge = site.edge(driver, 2, "auto", "127.0.0.1:0");
    let relay = Relay::start(udp_addr(&edge), weather);
    let speed = |begun: Instant| (length / MIB) as f64 / begun.elapsed().as_secs_f64();
    run(async {
        let (a, b) = tokio::join!(Client::connect(relay.addr()), Client::connect(relay.addr()));
        let begun = Instant::now();
        let down = async {
            a.download(length).await;
            speed(begun)
        };
        let up = async {
            b.upload(length).await;
            speed(begun)
        };
        let (down, up) = tokio::join!(down, up);
        println!("download {down:.1} MiB/s, upload {up:.1} MiB/s");
    });
    println!("{weather:?}: {:?}", relay.counts());
    assert!(weather.loss == 0 || relay.counts().lost.load(SeqCst) > 0, "no weather: {:?}", relay.counts());
}

fn light_loss(driver: Driver) {
    transfer(driver, Weather { seed: 1, loss: 50, ..Weather::fair() }, 10 * MIB);
}

fn heavy_loss() {
    transfer(Driver::IoUring, Weather { seed: 2, loss: 200, ..Weather::fair() }, 10 * MIB);
}

fn everything_at_once(driver: Driver) {
    transfer(driver, changeable(3), 10 * MIB);
}

fn several_seeds() {
    for seed in 10..14 {
        transfer(Driver::IoUring, changeable(seed), MIB);
    }
}

fn many_small_requests() {
    let site = Site::new();
    let edge = site.edge(Driver::IoUring, 2, "auto", "127.0.0.1:0");
    let relay = Relay::start(udp_addr(&edge), changeable(4));
    run(async {
        let client = std::sync::Arc::new(Client::connect(relay.addr()).await);
        let mut all = tokio::task::JoinSet::new();
        for i in 0..600_usize {
            if all.len() == 50 {
                all.join_next().await.expect("there are 50").expect("no panic");
            }
            let client = client.clone();
            all.spawn(async move {
                match i % 3 {
                    0 => client.upload(i * 7).await,
                    _ => client.download(i * 5).await,
                }
            });
        }
        while let Some(done) = all.join_next().await {
            done.expect("no panic");
        }
    });
    assert!(relay.counts().lost.load(SeqCst) > 0);
}

/// Larger packets are tried and never arrive: that costs nothing but them.
fn a_narrow_path() {
    let narrow = Weather { mtu: 1300, ..Weather::fair() };
    transfer(Driver::IoUring, narrow, 10 * MIB);
}

/// Packets that used to fit vanish from one moment to the next (RFC 8899 4.3).
fn a_path_that_becomes_narrow() {
    let site = Site::new();
    let edge = site.edge(Driver::IoUring, 2, "auto", "127.0.0.1:0");
    let relay = Relay::start(udp_addr(&edge), Weather::fair());
    run(async {
        let client = Client::connect(relay.addr()).await;
        client
            .download_watched(20 * MIB, |so_far| {
                if so_far > 5 * MIB {
                    relay.shrink(1250);
                }
            })
            .await;
        client.upload(2 * MIB).await;
    });
    assert!(relay.counts().too_long.load(SeqCst) > 0, "larger packets were in use: {:?}", relay.counts());
}

/// Little pieces, of which the edge has more than it may send: what waits in front of the next goes out as soon as
/// there is room, be it in parts.
fn small_pieces_for_slow_acknowledgements() {
    const LENGTH: usize = 4 * MIB;
    let site = Site::new();
    let text = site.text("127.0.0.1:0", "http3 = { send_buffer = \"64KiB\" }\n", "");
    let edge = site.setup(Driver::IoUring, 1, "auto").text(&text).start();
    let relay = Relay::start(udp_addr(&edge), Weather { delay: Duration::from_millis(1), ..Weather::fair() });
    run(async {
        let client = Client::connect(relay.addr()).await;
        let all = (0..4).map(|_| client.get_watched("/bits/4194304", |_| {}));
        for got in futures_of(all).await {
            let got = got.expect("a download");
            assert_eq!((got.status, got.length, got.hash), (200, LENGTH, Body::hash(LENGTH)));
        }
    });
}

/// The results of all of them, which go on at the same time.
async fn futures_of<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|cx| {
        for (one, done) in running.iter_mut().filter(|(_, done)| done.is_none()) {
            if let std::task::Poll::Ready(got) = one.as_mut().poll(cx) {
                *done = Some(got);
            }
        }
        match running.iter().all(|(_, done)| done.is_some()) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    running.into_iter().filter_map(|(_, done)| done).collect()
}
