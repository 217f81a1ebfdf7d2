//! Limits on what a client sends and on how slowly it may do so, each with its status and its word.
use crate::harness::{
    Ask, Client, Driver, Edge, Origin, Pair, Setup,
    edge::Extra,
    exchange::Fields,
    http2::reason,
    message::Kind,
    origin::answer,
    wire::{Wire, timed_out},
};
use std::time::{Duration, Instant};

crate::suite!("limits";
    each_downstream:
        too_large_heads_reach_nobody,
        used_connection_is_closed_after_keepalive,
        stalled_body_gets_408,
        stalled_reader_is_cut_off,
        connections_beyond_the_limit_are_turned_away;
    each_driver:
        long_request_lines_get_414,
        large_heads_get_431,
        many_fields_get_431,
        limits_hold_at_their_exact_value,
        slow_head_gets_408,
        dribbled_head_gets_408_all_the_same,
        silent_connection_is_closed_without_a_word,
        idle_connection_is_closed_after_keepalive,
        idle_connection_is_never_a_late_request,
        slow_clients_do_not_slow_the_others;
    once:
        trickled_body_falls_below_the_least_rate,
        trickled_framing_falls_below_the_least_rate,
);

fn limited(driver: Driver, origin: &Origin, listener: &str) -> Edge {
    Setup::proxy_with(driver, origin, &Extra { listener, ..Extra::default() }).start()
}

/// Sends a request that must be refused with this status; the connection then ends and nothing reaches the origin.
fn refused(edge: &Edge, origin: &Origin, request: &str, status: u16) {
    let mut client = edge.connect();
    // The edge may close while the rest is still on its way.
    let _ = client.try_send(request);
    let got = client.response();
    assert_eq!(got.status(), status, "{got:?}");
    client.read_to_close();
    assert_eq!(origin.connections(), 0);
}

fn long_request_lines_get_414(driver: Driver) {
    let origin = Origin::ok();
    let edge = Setup::proxy(driver, &origin).start();
    refused(&edge, &origin, &format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(8192)), 414);
    // Also before the line has ended: nobody waits for the end of an endless line.
    refused(&edge, &origin, &format!("GET /{}", "x".repeat(9000)), 414);
    assert_eq!(edge.metrics().sum("edge_errors_total", &[("category", "head_too_large")]), 2.0);
}

fn large_heads_get_431(driver: Driver) {
    let origin = Origin::ok();
    let edge = Setup::proxy(driver, &origin).start();
    refused(&edge, &origin, &format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n", "x".repeat(33_000)), 431);
    refused(&edge, &origin, &format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {}", "x".repeat(33_000)), 431);
    assert_eq!(edge.metrics().sum("edge_errors_total", &[("category", "head_too_large")]), 2.0);
}

fn many_fields_get_431(driver: Driver) {
    let origin = Origin::ok();
    let edge = Setup::proxy(driver, &origin).start();
    refused(&edge, &origin, &format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(100)), 431);
}

fn limits_hold_at_their_exact_value(driver: Driver) {
    let origin = Origin::ok();
    let edge = limited(driver, &origin, "limits = { request_line = \"100B\", head = \"600B\", fields = 5 }");
    let line = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(len - 14));
    let fields = |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(n - 1));
    refused(&edge, &origin, &line(103), 414);
    refused(&edge, &origin, &fields(6), 431);
    assert_eq!(edge.connect().ask(line(98)).status(), 200);
    assert_eq!(edge.connect().ask(fields(5)).status(), 200);
}

const QUICK: &str = "timeouts = { header = \"300ms\", body = \"300ms\", write = \"500ms\", keepalive = \"300ms\", min_body_rate = \"off\" }";

/// Waits for the end of the connection and checks when it came.
fn ends_between(client: &mut Wire, begun: Instant, least: u64, most: u64) -> Vec<u8> {
    let rest = client.read_to_close();
    let took = begun.elapsed().as_millis() as u64;
    assert!((least..most).contains(&took), "it ended after {took} ms, not {least}–{most}");
    rest
}

/// Timers may be coarse, machines slow.
const SLACK: u64 = 3_000;

fn slow_head_gets_408(driver: Driver) {
    let origin = Origin::ok();
    let edge = limited(driver, &origin, QUICK);
    let mut client = edge.connect();
    let begun = Instant::now();
    client.send("GET / HTTP/1.1\r\nHost:");
    let got = client.response();
    assert_eq!(got.status(), 408, "{got:?}");
    ends_between(&mut client, begun, 250, SLACK);
    assert_eq!(edge.metrics().sum("edge_errors_total", &[("category", "request_timeout")]), 1.0);
}

fn dribbled_head_gets_408_all_the_same(driver: Driver) {
    let origin = Origin::ok();
    let edge = limited(driver, &origin, QUICK);
    let mut client = edge.connect();
    client.patience(Duration::from_millis(50));
    let begun = Instant::now();
    let mut sent = 0;
    // A byte every 50 ms: each read makes progress, the whole does not.
    let got = loop {
        if client.try_send("x").is_err() {
            panic!("closed without an answer after {sent} bytes");
        }
        sent += 1;
        match client.message(Kind::Response) {
            Ok(got) => break got.expect("an answer"),
            Err(e) if timed_out(&e) => assert!(begun.elapsed() < Duration::from_secs(5), "{sent} bytes and still open"),
            Err(e) => panic!("{e}"),
        }
    };
    assert_eq!(got.status(), 408);
}

fn silent_connection_is_closed_without_a_word(driver: Driver) {
    let origin = Origin::ok();
    let edge = limited(driver, &origin, QUICK);
    let mut client = edge.connect();
    let rest = ends_between(&mut client, Instant::now(), 100, SLACK);
    assert!(rest.is_empty(), "nothing was asked: {:?}", String::from_utf8_lossy(&rest));
    assert!(edge.log().is_empty(), "no request, no line: {:?}", edge.log());
}

fn idle_connection_is_closed_after_keepalive(driver: Driver) {
    let origin = Origin::ok();
    let edge = limited(driver, &origin, QUICK);
    let mut client = edge.connect();
    for _ in 0..3 {
        assert_eq!(client.get("/").status(), 200);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(client.get("/").status(), 200, "the timeout starts anew with each request");
    let rest = ends_between(&mut client, Instant::now(), 200, SLACK);
    assert!(rest.is_empty());
}

fn idle_connection_is_never_a_late_request(driver: Driver) {
    let origin = Origin::ok();
    let timeouts = "timeouts = { header = \"200ms\", keepalive = \"1s\" }";
    let edge = limited(driver, &origin, timeouts);
    let addr = edge.addr();
    // One that fills a read to its last byte leaves open whether more is there.
    let get = |len: usize| {
        let head = "GET /get HTTP/1.1\r\nHost: a\r\n".to_owned();
        let pad = len - head.len() - 3 * "X-Pad: \r\n".len() - 2;
        let line = |n: usize| format!("X-Pad: {}\r\n", "x".repeat(n));
        head + &line(pad / 3) + &line(pad / 3) + &line(pad - 2 * (pad / 3)) + "\r\n"
    };
    let post = |len: usize| {
        let head = |n: usize| format!("POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: {n}\r\n\r\n");
        let n = len - head(10_000).len();
        head(n) + &"x".repeat(n)
    };
    let small = "GET /small HTTP/1.1\r\nHost: a\r\n\r\n".to_owned();
    let idles = |requests: Vec<String>| {
        let mut client = Wire::connect(&addr);
        for request in &requests {
            assert_eq!(client.ask(request).status(), 200);
        }
        let rest = ends_between(&mut client, Instant::now(), 800, SLACK);
        assert!(rest.is_empty(), "nothing was asked: {:?}", String::from_utf8_lossy(&rest));
    };
    assert_eq!((get(16_384).len(), post(16_384).len()), (16_384, 16_384));
    std::thread::scope(|s| {
        s.spawn(|| idles(vec![]));
        s.spawn(|| idles(vec![small.clone()]));
        s.spawn(|| idles(vec![get(16_384)]));
        s.spawn(|| idles(vec![post(16_384)]));
        s.spawn(|| idles(vec![get(16_384), post(16_384), get(16_384)]));
    });
    assert!(edge.log().iter().all(|l| l["status"] == 200), "{:?}", edge.log());
    assert_eq!(edge.metrics().sum("edge_errors_total", &[("category", "request_timeout")]), 0.0);
}

fn stalled_body_gets_408(at: Pair) {
    let origin = Origin::fine(at.up);
    let edge = Setup::pair_with(at, &origin, &Extra { listener: QUICK, ..Extra::default() }).start();
    for (path, length) in [("/length", Some(10)), ("/streamed", None)] {
        let client = edge.client();
        let mut call = client.begin(Ask::upload(path, length));
        call.send("half");
        let got = call.response();
        assert_eq!(got.status(), 408, "{got:?}");
        assert_eq!(edge.wait_log_path(path)["category"], "body_timeout");
    }
    assert!(origin.requests().is_empty(), "half a body must not look whole to the origin");
    origin.wait_quiet();
}

fn stalled_reader_is_cut_off(at: Pair) {
    let origin = Origin::serving(at.up, |served| {
        served.begin(200, &Fields::new(), Some(1_000_000_000))?;
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..1000 {
            served.send(&piece)?;
        }
        Ok(())
    });
    let edge = Setup::pair_with(at, &origin, &Extra { listener: QUICK, ..Extra::default() }).start();
    let client = edge.client();
    let mut call = client.begin(Ask::get("/slow"));
    assert_eq!(call.head().status(), 200);
    let line = edge.wait_log_path("/slow");
    assert_eq!(line["category"], "write_timeout", "{line}");
    origin.wait_quiet();
}

fn slow_clients_do_not_slow_the_others(driver: Driver) {
    let origin = Origin::ok();
    let edge = Setup::proxy(driver, &origin).start();
    let addr = edge.addr();
    let slow: Vec<Wire> = (0..300)
        .map(|_| {
            let mut w = Wire::connect(&addr);
            w.send("GET / HTTP/1.1\r\nHost: a\r\nX-");
            w
        })
        .collect();
    let mut good = Wire::connect(&addr);
    for _ in 0..200 {
        assert_eq!(good.get("/").status(), 200);
    }
    for mut w in slow {
        assert_eq!(w.ask("Slow: yes\r\n\r\n").status(), 200);
    }
}

fn connections_beyond_the_limit_are_turned_away(at: Pair) {
    let origin = Origin::fine(at.up);
    let edge = Setup::pair(at, &origin).server("max_connections", "3").start();
    let mut served: Vec<Client> = (0..3)
        .map(|_| {
            let client = edge.client();
            assert_eq!(client.get("/").status(), 200);
            client
        })
        .collect();
    let addr = edge.addr();
    let fourth = Client::try_connect(at.down, &addr).and_then(|c| c.try_ask(Ask::get("/fourth")));
    let e = fourth.expect_err("closed without an answer");
    assert!(!timed_out(&e), "{e}");
    assert!(edge.metrics().sum("edge_limit_hits_total", &[("limit", "connections")]) >= 1.0);
    assert!(served.iter().all(|c| c.get("/").status() == 200), "the others go on");
    served.pop();
    crate::harness::eventually("the free place", || {
        Client::try_connect(at.down, &addr).ok()?.try_ask(Ask::get("/next")).ok().filter(|m| m.status() == 200)
    });
}

fn too_large_heads_reach_nobody(at: Pair) {
    let origin = Origin::fine(at.up);
    let edge = Setup::pair(at, &origin).start();
    let large = Ask::get("/large").field("X-Long", "x".repeat(33_000));
    let many = (0..101).fold(Ask::get("/many"), |ask, i| ask.field(&format!("x-{i}"), "y"));
    let long = Ask::get(&format!("/{}", "x".repeat(9_000)));
    for ask in [large, many, long] {
        // Refused with a status, or by the protocol's own means.
        let what: String = ask.target.chars().take(10).collect();
        match edge.client().try_ask(ask) {
            Ok(got) => assert!(matches!(got.status(), 414 | 431), "{what}: {got:?}"),
            Err(e) => assert!(at.down.multiplexed() && !timed_out(&e), "{e}"),
        }
    }
    assert_eq!(edge.client().get("/small").status(), 200);
    assert_eq!(origin.begun().len(), 1);
    assert!(edge.metrics().sum("edge_limit_hits_total", &[]) >= 1.0 || !at.down.multiplexed(), "it is counted");
}

fn used_connection_is_closed_after_keepalive(at: Pair) {
    let origin = Origin::fine(at.up);
    let edge = Setup::pair_with(at, &origin, &Extra { listener: QUICK, ..Extra::default() }).start();
    let client = edge.client();
    for _ in 0..3 {
        assert_eq!(client.get("/").status(), 200);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(client.get("/").status(), 200, "the timeout starts anew with each request");
    let begun = Instant::now();
    if let Err(e) = client.wait_end() {
        assert_eq!(reason(&e), Some(h2::Reason::NO_ERROR), "{e}");
    }
    let took = begun.elapsed().as_millis() as u64;
    assert!((200..SLACK).contains(&took), "it ended after {took} ms");
}

fn trickled_body_falls_below_the_least_rate() {
    let origin = Origin::answering(|_| answer(200, "whole"));
    let listener = "timeouts = { min_body_rate = \"1000B/s\" }";
    let edge = limited(Driver::IoUring, &origin, listener);
    let mut client = edge.connect();
    client.patience(Duration::from_millis(500));
    client.send("POST /trickle HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    let begun = Instant::now();
    let got = loop {
        let _ = client.try_send("x".repeat(100));
        match client.message(Kind::Response) {
            Ok(got) => break got.expect("an answer"),
            Err(e) if timed_out(&e) => assert!(begun.elapsed() < Duration::from_secs(25), "still taken after 25 s"),
            Err(e) => panic!("{e}"),
        }
    };
    assert_eq!(got.status(), 408, "{got:?}");
    assert!(begun.elapsed() > Duration::from_secs(9), "the first ten seconds are free");
    assert_eq!(edge.wait_log_path("/trickle")["category"], "body_timeout");
}

fn trickled_framing_falls_below_the_least_rate() {
    let origin = Origin::answering(|_| answer(200, "whole"));
    let edge = limited(Driver::IoUring, &origin, "timeouts = { min_body_rate = \"1000B/s\" }");
    let addr = edge.addr();
    // Bytes without end that are no data: a field behind the last chunk, an extension of a chunk's size.
    let trickle = |path: &str, begin: &str| {
        let mut client = Wire::connect(&addr);
        client.patience(Duration::from_millis(100));
        client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{begin}"));
        let begun = Instant::now();
        let got = loop {
            let _ = client.try_send("x");
            match client.message(Kind::Response) {
                Ok(got) => break got.expect("an answer"),
                Err(e) if timed_out(&e) => assert!(begun.elapsed() < Duration::from_secs(20), "{path}: still taken"),
                Err(e) => panic!("{path}: {e}"),
            }
        };
        assert_eq!(got.status(), 408, "{path}: {got:?}");
        assert!(begun.elapsed() > Duration::from_secs(9), "the first ten seconds are free");
        assert_eq!(edge.wait_log_path(path)["category"], "body_timeout");
    };
    std::thread::scope(|s| {
        s.spawn(|| trickle("/trailers", "4\r\ndata\r\n0\r\nX-Long: "));
        s.spawn(|| trickle("/size", "4\r\ndata\r\n4;long="));
        s.spawn(|| trickle("/first-size", "4;long="));
    });
}
