//! The end of the process: what is in flight is finished, what is idle is closed, what hangs is cut off.
use crate::{
    harness::{Driver, Edge, Origin, Setup, eventually, origin::answer, wire::Wire},
    upgrade::{EchoServer, websocket},
};
use rustix::process::Signal;
use std::{
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

crate::suite!("drain";
    each_driver:
        requests_in_flight_finish,
        idle_connections_are_closed_at_once,
        connections_are_accepted_during_lb_grace,
        second_signal_ends_at_once,
        drain_timeout_ends_what_hangs,
        websockets_end_with_the_drain,
        websocket_is_told_that_the_edge_goes_away,
        unfinished_upload_is_finished,
        sigint_drains_too,
        socket_files_are_removed;
    once:
);

/// Holds answers back until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn open(&self) {
        *self.0.0.lock().expect("no panic while open") = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let guard = self.0.0.lock().expect("no panic while open");
        let wait = self.0.1.wait_timeout_while(guard, crate::harness::PATIENCE, |open| !*open);
        drop(wait.expect("no panic while open"));
    }
}

fn gated(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::answering(move |r| {
        if r.target() == "/hold" {
            gate.wait();
        }
        answer(200, "finished")
    })
}

fn requests_in_flight_finish(driver: Driver) {
    let gate = Gate::default();
    let origin = gated(&gate);
    let edge = Setup::proxy(driver, &origin).shards(2).start();
    let addr = edge.addr();
    let mut clients: Vec<Wire> = (0..50)
        .map(|_| {
            let mut w = Wire::connect(&addr);
            w.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
            w
        })
        .collect();
    origin.wait_requests(50);
    edge.signal(Signal::TERM);
    eventually("no new connections", || Wire::try_connect(&addr).is_err().then_some(()));
    assert_eq!(edge.ended(), None);
    gate.open();
    for client in &mut clients {
        let got = client.response();
        assert_eq!((got.status(), got.text().as_str()), (200, "finished"));
        assert_eq!(got.get("connection").map(str::to_ascii_lowercase).as_deref(), Some("close"), "{got:?}");
        client.expect_end();
    }
    assert_eq!(edge.wait_exit(), 0);
    assert_eq!(edge.log().len(), 50, "every request is logged before the end");
}

fn idle_connections_are_closed_at_once(driver: Driver) {
    let origin = Origin::ok();
    let edge = Setup::proxy(driver, &origin).start();
    let mut used = edge.connect();
    assert_eq!(used.get("/").status(), 200);
    let mut unused = edge.connect();
    let begun = Instant::now();
    edge.signal(Signal::TERM);
    used.expect_end();
    unused.expect_end();
    assert_eq!(edge.wait_exit(), 0);
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
    origin.wait_idle();
}

fn ready(edge: &Edge) -> u16 {
    edge.admin_get("/ready").status()
}

fn connections_are_accepted_during_lb_grace(driver: Driver) {
    let origin = Origin::ok();
    let edge = Setup::proxy(driver, &origin).server("lb_grace", "\"2s\"").start();
    let addr = edge.addr();
    assert_eq!(ready(&edge), 200);
    edge.signal(Signal::TERM);
    eventually("/ready to say 503", || (ready(&edge) == 503).then_some(()));
    assert_eq!(Wire::connect(&addr).get("/").status(), 200, "a balancer that has not noticed yet is served");
    assert_eq!(edge.admin_get("/healthz").status(), 200, "draining is healthy");
    assert_eq!(edge.wait_exit(), 0);
}

fn hanging(driver: Driver, drain_timeout: &str) -> (Gate, Origin, Edge, Wire) {
    let gate = Gate::default();
    let origin = gated(&gate);
    let edge = Setup::proxy(driver, &origin).server("drain_timeout", drain_timeout).start();
    let mut client = edge.connect();
    client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_requests(1);
    (gate, origin, edge, client)
}

fn second_signal_ends_at_once(driver: Driver) {
    let (gate, _origin, edge, mut client) = hanging(driver, "\"60s\"");
    let addr = edge.addr();
    edge.signal(Signal::TERM);
    eventually("no new connections", || Wire::try_connect(&addr).is_err().then_some(()));
    let begun = Instant::now();
    edge.signal(Signal::TERM);
    edge.wait_exit();
    assert!(begun.elapsed() < Duration::from_millis(1_500), "it took {:?}", begun.elapsed());
    client.read_to_close();
    gate.open();
}

fn drain_timeout_ends_what_hangs(driver: Driver) {
    let (gate, _origin, edge, mut client) = hanging(driver, "\"500ms\"");
    let begun = Instant::now();
    edge.signal(Signal::TERM);
    edge.wait_exit();
    let took = begun.elapsed();
    assert!((Duration::from_millis(400)..Duration::from_secs(5)).contains(&took), "it took {took:?}");
    client.read_to_close();
    gate.open();
}

fn websockets_end_with_the_drain(driver: Driver) {
    let server = EchoServer::start();
    let edge = Setup::new(driver).server("drain_timeout", "\"500ms\"").text(&server.text("")).start();
    let mut ws = websocket(&edge);
    edge.signal(Signal::TERM);
    ws.send(tungstenite::Message::text("still there")).expect("open until the end");
    assert_eq!(ws.read().expect("an echo").to_text().expect("text"), "still there");
    while ws.read().is_ok() {}
    edge.wait_exit();
}

fn websocket_is_told_that_the_edge_goes_away(driver: Driver) {
    let server = EchoServer::start();
    let edge = Setup::new(driver).server("drain_timeout", "\"1s\"").text(&server.text("")).start();
    let mut ws = websocket(&edge);
    ws.send(tungstenite::Message::text("hello")).expect("sent");
    assert_eq!(ws.read().expect("an echo").to_text().expect("text"), "hello");
    let begun = Instant::now();
    edge.signal(Signal::TERM);
    let told = ws.read().expect("a last word");
    let took = begun.elapsed();
    let tungstenite::Message::Close(Some(frame)) = told else { panic!("{told:?} instead of a close frame") };
    assert_eq!(u16::from(frame.code), 1001, "going away (RFC 6455 7.4.1)");
    assert!((Duration::from_millis(900)..Duration::from_secs(2)).contains(&took), "told after {took:?}");
    assert_eq!(edge.wait_exit(), 0);
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(2_500), "ended after {took:?}");
    let line = edge.wait_log_path("/ws");
    assert_eq!((line["status"].as_u64(), line["category"].as_str()), (Some(101), Some("draining")), "{line}");
}

fn unfinished_upload_is_finished(driver: Driver) {
    let origin = Origin::answering(|r| answer(200, &r.body.len().to_string()));
    let edge = Setup::proxy(driver, &origin).start();
    let addr = edge.addr();
    let mut client = edge.connect();
    client.send("PUT /up HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst");
    origin.wait_connections(1);
    edge.signal(Signal::TERM);
    eventually("no new connections", || Wire::try_connect(&addr).is_err().then_some(()));
    client.send("later");
    assert_eq!(client.response().text(), "10");
    assert_eq!(edge.wait_exit(), 0);
}

fn sigint_drains_too(driver: Driver) {
    let (gate, _origin, edge, mut client) = hanging(driver, "\"10s\"");
    edge.signal(Signal::INT);
    gate.open();
    assert_eq!(client.response().text(), "finished");
    assert_eq!(edge.wait_exit(), 0);
}

fn socket_files_are_removed(driver: Driver) {
    let origin = Origin::ok();
    let edge = Setup::proxy(driver, &origin).start();
    let socket = edge.dir().join("admin.sock");
    assert!(socket.exists());
    edge.signal(Signal::TERM);
    assert_eq!(edge.wait_exit(), 0);
    assert!(!socket.exists(), "the admin socket is left behind");
}
