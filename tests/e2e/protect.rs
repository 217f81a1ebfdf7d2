//! Shards that cannot keep up, and limits that are found by measuring.
use crate::harness::{
    Driver, Origin, PATIENCE, Protocol, Reply, Setup, Wire,
    edge::{Extra, listener_text, proxy_text},
    eventually,
    room::{CLASSES, Ends, reload},
    wire::Addr,
};
use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

crate::suite!("protect";
    each_driver:
        a_shard_that_cannot_keep_up_refuses_bulk_and_recovers;
    once:
        a_limit_that_is_found_follows_its_origin;
);

/// Asks for `target` without a pause, so much at once on each of its connections that a turn of the loop takes long.
fn flood(addr: &Addr, target: &str, stop: &AtomicBool, refused: &AtomicUsize) {
    const AT_ONCE: usize = 100;
    let requests = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(AT_ONCE);
    let mut all: Vec<Wire> = (0..64).map(|_| Wire::connect(addr)).collect();
    while !stop.load(Relaxed) {
        all.iter_mut().for_each(|wire| wire.send(&requests));
        for wire in &mut all {
            for _ in 0..AT_ONCE {
                refused.fetch_add(usize::from(wire.response().status() == 503), Relaxed);
            }
        }
    }
}

fn a_shard_that_cannot_keep_up_refuses_bulk_and_recovers(driver: Driver) {
    let respond = "respond = { status = 200, body = \"ok\" }";
    let text = listener_text("web", Protocol::H1, "") + &CLASSES.replace("pool = \"app\"", respond);
    let edge = Setup::new(driver).server("protect", "{ lag = \"10ms\" }").text(&text).start();
    let addr = edge.addr();
    let (mut critical, mut bulk) = (Wire::connect(&addr), Wire::connect(&addr));
    assert_eq!((critical.get("/critical").status(), bulk.get("/bulk").status()), (200, 200));
    let shed = |class: &str| edge.metrics().sum("edge_shed_total", &[("priority", class)]);
    let recovered: Vec<Duration> = ["/bulk", "/normal", "/bulk"]
        .into_iter()
        .map(|round| {
            let (stop, refused) = (AtomicBool::new(false), AtomicUsize::new(0));
            std::thread::scope(|scope| {
                let floods: Vec<_> = (0..2).map(|_| scope.spawn(|| flood(&addr, round, &stop, &refused))).collect();
                let _ends = Ends(&stop);
                eventually("some are refused", || (refused.load(Relaxed) > 0).then_some(()));
                for _ in 0..20 {
                    assert_eq!(critical.get("/critical").status(), 200, "round {round}");
                    assert_eq!(edge.admin_get("/ready").status(), 200, "round {round}");
                }
                stop.store(true, Relaxed);
                floods.into_iter().for_each(|flood| flood.join().expect("every request is answered"));
            });
            let begun = Instant::now();
            eventually("nothing is refused any more", || {
                let refused = edge.metrics().sum("edge_shedding_ratio", &[]);
                (refused == 0.0 && bulk.get("/bulk").status() == 200).then_some(())
            });
            begun.elapsed()
        })
        .collect();
    // Once at least: others on this machine may keep it from its turn, too.
    assert!(recovered.iter().any(|took| *took < Duration::from_secs(1)), "{recovered:?}");
    assert_eq!(Wire::connect(&addr).get("/normal").status(), 200, "it accepts again");
    assert!(shed("bulk") > 0.0 && shed("normal") > 0.0);
    assert_eq!(shed("critical"), 0.0);
    let line = edge.wait_log("a refused request", |line| line["status"] == 503);
    assert_eq!(line["category"], "overloaded", "{line}");
    assert!(edge.log().iter().all(|line| line["status"] == 200 || line["route"] != "critical"));
}

/// An origin with so many hands: others wait there for one.
struct Workshop {
    hands: Mutex<usize>,
    changed: Condvar,
}

impl Workshop {
    fn work(&self) {
        let free = self.hands.lock().unwrap();
        *self.changed.wait_while(free, |free| *free == 0).unwrap() -= 1;
        std::thread::sleep(Duration::from_millis(10));
        self.add(1);
    }

    fn add(&self, hands: usize) {
        *self.hands.lock().unwrap() += hands;
        self.changed.notify_all();
    }

    /// Takes hands away, each when it is free.
    fn remove(&self, hands: usize) {
        for _ in 0..hands {
            let free = self.hands.lock().unwrap();
            *self.changed.wait_while(free, |free| *free == 0).unwrap() -= 1;
        }
    }
}

fn a_limit_that_is_found_follows_its_origin() {
    let workshop = Arc::new(Workshop { hands: Mutex::new(200), changed: Condvar::new() });
    let works = workshop.clone();
    let origin = Origin::replying(Protocol::H1, move |_| {
        works.work();
        Reply::new(200, "ok")
    });
    let pool = "adaptive = { max = 60, probe_every = \"1h\" }\nqueue = 1000\nqueue_timeout = \"1m\"";
    let edge = Setup::proxy_with(Driver::Epoll, &origin, &Extra { pool, ..Extra::default() }).shards(2).start();
    let addr = edge.addr();
    let limit = || edge.metrics().sum("edge_pool_concurrency_limit", &[("pool", "app")]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = Ends(&stop);
        for _ in 0..60 {
            scope.spawn(|| {
                let mut client = Wire::connect(&addr);
                client.patience(PATIENCE * 3);
                while !stop.load(Relaxed) {
                    assert_eq!(client.get("/").status(), 200);
                }
            });
        }
        eventually("room for most of them", || (limit() >= 40.0).then_some(()));
        workshop.remove(196);
        eventually("room for few", || (limit() <= 20.0).then_some(()));
        workshop.add(196);
        eventually("room for most of them again", || (limit() >= 40.0).then_some(()));
    });
    reload(&edge, &proxy_text(&origin, &Extra::default()));
    eventually("the limit is gone", || (limit() == 0.0).then_some(()));
}
