//! Pools: reuse of connections, exact limits over shards, balance, unix sockets on both sides.
use crate::harness::{
    Driver, Edge, Origin, Pair, Reply, Setup,
    edge::{Extra, listener_text},
    eventually,
    origin::{answer, answer_with},
    wire::{Addr, Wire},
};
use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

crate::suite!("upstream";
    each_upstream:
        round_robin_takes_turns_by_weight,
        p2c_uses_every_endpoint,
        keepalive_zero_closes_after_each_request,
        idle_connections_are_closed_in_time;
    each_driver:
        max_connections_is_exact_over_shards,
        one_permit_serves_every_shard_in_turn,
        idle_connections_do_not_starve_another_shard,
        waiting_is_bounded_in_number,
        waiting_is_bounded_in_time,
        busy_endpoint_gets_less_by_p2c,
        unix_sockets_on_both_sides,
        abstract_sockets_on_both_sides,
        ipv6_on_both_sides,
        pool_connections_are_counted;
    once:
);

fn pooled(driver: Driver, shards: usize, origin: &Origin, pool: &str) -> Edge {
    Setup::proxy_with(driver, origin, &Extra { pool, ..Extra::default() }).shards(shards).start()
}

/// An origin that takes its time over each answer.
fn slow(time: Duration) -> Origin {
    Origin::answering(move |_| {
        std::thread::sleep(time);
        answer(200, "slow")
    })
}

fn max_connections_is_exact_over_shards(driver: Driver) {
    let origin = slow(Duration::from_millis(5));
    let pool = "max_connections = 6\nmax_waiting = 1000\nwait_timeout = \"20s\"";
    let edge = pooled(driver, 4, &origin, pool);
    let addr = edge.addr();
    let start = Barrier::new(40);
    std::thread::scope(|s| {
        for _ in 0..40 {
            s.spawn(|| {
                let mut client = Wire::connect(&addr);
                start.wait();
                for _ in 0..10 {
                    assert_eq!(client.get("/").status(), 200);
                }
            });
        }
    });
    assert_eq!(origin.open_max(), 6, "all permits are used and none is exceeded");
}

fn one_permit_serves_every_shard_in_turn(driver: Driver) {
    let origin = Origin::ok();
    let edge = pooled(driver, 4, &origin, "max_connections = 1\nwait_timeout = \"10s\"");
    let addr = edge.addr();
    // Every connection lands on some shard; the one before it leaves an idle upstream connection with the only permit.
    for i in 0..24 {
        let got = Wire::connect(&addr).get("/");
        assert_eq!(got.status(), 200, "client {i}: {got:?}");
    }
    assert_eq!(origin.open_max(), 1);
}

fn idle_connections_do_not_starve_another_shard(driver: Driver) {
    let origin = slow(Duration::from_millis(2));
    let edge = pooled(driver, 4, &origin, "max_connections = 4\nmax_waiting = 1000\nwait_timeout = \"10s\"");
    let addr = edge.addr();
    std::thread::scope(|s| {
        for _ in 0..16 {
            s.spawn(|| {
                for _ in 0..15 {
                    let got = Wire::connect(&addr).get("/");
                    assert_eq!(got.status(), 200, "{got:?}");
                }
            });
        }
    });
    assert!(origin.open_max() <= 4, "{} connections", origin.open_max());
}

fn waiting_is_bounded_in_number(driver: Driver) {
    let origin = Origin::scripted(|wire, _| {
        wire.request()?;
        wire.read_to_close();
        Ok(())
    });
    let edge = pooled(driver, 1, &origin, "max_connections = 1\nmax_waiting = 1\nwait_timeout = \"15s\"");
    let addr = edge.addr();
    let mut first = Wire::connect(&addr);
    first.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_requests(1);
    // One waits; which of the two others it is depends on who arrives first, so both are asked and one is refused.
    let mut others = [Wire::connect(&addr), Wire::connect(&addr)];
    for (i, w) in others.iter_mut().enumerate() {
        w.send(format!("GET /other{i} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    let refused = edge.wait_log("a refused request", |l| l["status"] == 503);
    assert_eq!(refused["category"], "overloaded", "{refused}");
    assert_eq!(edge.metrics().sum("edge_errors_total", &[("category", "overloaded")]), 1.0);
}

fn waiting_is_bounded_in_time(driver: Driver) {
    let origin = Origin::scripted(|wire, _| {
        wire.request()?;
        wire.read_to_close();
        Ok(())
    });
    let edge = pooled(driver, 1, &origin, "max_connections = 1\nwait_timeout = \"200ms\"");
    let mut first = edge.connect();
    first.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_requests(1);
    let got = edge.connect().get("/second");
    assert_eq!(got.status(), 503, "{got:?}");
    assert_eq!(edge.wait_log_path("/second")["category"], "overloaded");
}

/// An edge before several origins, each answering with its number.
fn several(at: Pair, count: usize, weights: &[u32], balance: &str) -> (Vec<Origin>, Edge) {
    let number = |i: usize| Origin::replying(at.up, move |_| Reply::new(200, i.to_string()));
    let origins: Vec<Origin> = (0..count).map(number).collect();
    let endpoints: Vec<String> = origins
        .iter()
        .enumerate()
        .map(|(i, o)| format!("{{ address = {}, weight = {} }}", o.endpoint(), weights.get(i).unwrap_or(&1)))
        .collect();
    let text = listener_text("web", at.down, "")
        + &format!(
            "[pool.app]\nendpoints = [{}]\nbalance = \"{balance}\"\n{}timeouts = {{ connect = \"20s\", tls = \"20s\" }}\n\
             [[route]]\nid = \"all\"\nmatch = {{ path_prefix = \"/\" }}\npool = \"app\"\n",
            endpoints.join(", "),
            origins[0].pool_keys()
        );
    (origins, Setup::over(at).text(&text).start())
}

fn spread(edge: &Edge, requests: usize, origins: usize) -> Vec<usize> {
    let client = edge.client();
    let mut counts = vec![0; origins];
    for _ in 0..requests {
        let got = client.get("/").text();
        counts[got.parse::<usize>().expect("an origin's number")] += 1;
    }
    counts
}

fn round_robin_takes_turns_by_weight(at: Pair) {
    let (_origins, edge) = several(at, 3, &[], "round_robin");
    assert_eq!(spread(&edge, 30, 3), [10, 10, 10]);
    let (_origins, edge) = several(at, 3, &[5, 1, 2], "round_robin");
    assert_eq!(spread(&edge, 80, 3), [50, 10, 20]);
}

fn p2c_uses_every_endpoint(at: Pair) {
    let (_origins, edge) = several(at, 4, &[], "p2c");
    let counts = spread(&edge, 400, 4);
    // Who answered slowly once is asked less for a while, and never not at all.
    assert!(counts.iter().all(|n| (4..=250).contains(n)), "{counts:?}");
}

fn busy_endpoint_gets_less_by_p2c(driver: Driver) {
    let busy = Origin::answering(|_| {
        std::thread::sleep(Duration::from_millis(40));
        answer(200, "busy")
    });
    let quick = Origin::answering(|_| answer(200, "quick"));
    let text = format!(
        "[[listener]]\nname = \"web\"\naddress = [\"127.0.0.1:0\"]\n[pool.app]\nendpoints = [{}, {}]\n\
         [[route]]\nid = \"all\"\nmatch = {{ path_prefix = \"/\" }}\npool = \"app\"\n",
        busy.endpoint(),
        quick.endpoint()
    );
    let edge = Setup::new(driver).text(&text).start();
    let addr = edge.addr();
    let (slow, total) = (AtomicUsize::new(0), 8 * 40);
    std::thread::scope(|s| {
        for _ in 0..8 {
            s.spawn(|| {
                let mut client = Wire::connect(&addr);
                for _ in 0..40 {
                    slow.fetch_add(usize::from(client.get("/").text() == "busy"), Ordering::SeqCst);
                }
            });
        }
    });
    let slow = slow.load(Ordering::SeqCst);
    assert!(slow < total * 2 / 5, "{slow} of {total} went to the busy one");
}

fn keepalive_zero_closes_after_each_request(at: Pair) {
    let origin = Origin::fine(at.up);
    let edge = Setup::pair_with(at, &origin, &Extra { pool: "keepalive = 0", ..Extra::default() }).start();
    let client = edge.client();
    for _ in 0..5 {
        assert_eq!(client.get("/").status(), 200);
        origin.wait_idle();
    }
    assert_eq!(origin.connections(), 5);
}

fn idle_connections_are_closed_in_time(at: Pair) {
    let origin = Origin::fine(at.up);
    let edge = Setup::pair_with(at, &origin, &Extra { pool: "keepalive_idle = \"200ms\"", ..Extra::default() }).start();
    let client = edge.client();
    assert_eq!(client.get("/").status(), 200);
    origin.wait_idle();
    assert_eq!(client.get("/").status(), 200);
    assert_eq!(origin.connections(), 2);
}

/// One edge with a listener and an origin at these addresses; returns what a client got.
fn between(driver: Driver, listener: &str, origin: &Origin) -> (Edge, Addr) {
    let text = format!(
        "[[listener]]\nname = \"web\"\naddress = [{listener:?}]\n[pool.app]\nendpoints = [{}]\n\
         [[route]]\nid = \"all\"\nmatch = {{ path_prefix = \"/\" }}\npool = \"app\"\n",
        origin.endpoint()
    );
    let edge = Setup::new(driver).shards(2).text(&text).start();
    let addr = edge.addr();
    (edge, addr)
}

fn serves(edge: &Edge, addr: &Addr, origin: &Origin) {
    for _ in 0..4 {
        let mut client = Wire::connect(addr);
        for _ in 0..5 {
            let got = client.ask("POST /p HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\nabc");
            assert_eq!((got.status(), got.text().as_str()), (200, "abc"), "{got:?}");
        }
    }
    assert!(origin.requests().iter().all(|r| r.get("host") == Some("shop.test")));
    assert_eq!(edge.wait_log_path("/p")["status"], 200);
}

fn unix_sockets_on_both_sides(driver: Driver) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let at = dir.path().join("origin.sock");
    let origin = Origin::answering_unix(at.to_str().expect("a plain path"), |r| answer_with(200, "", &r.body));
    let listener = format!("unix:{}", dir.path().join("edge.sock").display());
    let (edge, addr) = between(driver, &listener, &origin);
    serves(&edge, &addr, &origin);
    drop(edge);
    // A socket file left behind by a killed process does not keep the next one from starting.
    let (edge, addr) = between(driver, &listener, &origin);
    serves(&edge, &addr, &origin);
}

fn abstract_sockets_on_both_sides(driver: Driver) {
    let unique = format!("edge-e2e-{}-{driver}", std::process::id());
    let origin = Origin::answering_unix(&format!("@{unique}-origin"), |r| answer_with(200, "", &r.body));
    let (edge, addr) = between(driver, &format!("unix:@{unique}-edge"), &origin);
    serves(&edge, &addr, &origin);
}

fn ipv6_on_both_sides(driver: Driver) {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return crate::harness::not_run("tests with IPv6: no ::1 here");
    }
    let origin = Origin::scripted_at("[::1]:0", |wire, _| {
        while let Some(request) = wire.request()? {
            wire.try_send(answer_with(200, "", &request.body))?;
        }
        Ok(())
    });
    let (edge, addr) = between(driver, "[::1]:0", &origin);
    serves(&edge, &addr, &origin);
    assert_eq!(origin.requests()[0].get("x-forwarded-for"), Some("::1"));
}

fn pool_connections_are_counted(driver: Driver) {
    let hold = Arc::new(Barrier::new(2));
    let origin = Origin::answering({
        let hold = Arc::clone(&hold);
        move |r| {
            if r.target() == "/hold" {
                hold.wait();
            }
            answer(200, "ok")
        }
    });
    let edge = pooled(driver, 1, &origin, "");
    let count = |state: &str| edge.metrics().sum("edge_pool_connections", &[("pool", "app"), ("state", state)]) as i64;
    let mut client = edge.connect();
    client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("one active connection", || (count("active") == 1).then_some(()));
    hold.wait();
    client.response();
    eventually("one idle connection", || ((count("active"), count("idle")) == (0, 1)).then_some(()));
}
