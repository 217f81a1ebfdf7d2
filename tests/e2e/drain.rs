//! The end of the process: what is in flight is finished, what is idle is closed, what hangs is cut off.
use crate::harness::{
    Ask, Call, Client, Edge, Origin, Pair, Protocol, Reply, Setup, Wire,
    edge::{Extra, listener_text, proxy_text_over},
    eventually,
    frames::{RawClient, kind},
    http2::is_go_away,
    http3,
};
use rustix::process::Signal;
use std::{
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

crate::suite!("drain";
    each_pair:
        requests_in_flight_finish,
        idle_connections_are_closed_at_once,
        websockets_end_with_the_drain,
        unfinished_upload_is_finished;
    each_downstream:
        connections_are_accepted_during_lb_grace,
        second_signal_ends_at_once,
        drain_timeout_ends_what_hangs,
        websocket_is_told_that_the_edge_goes_away,
        removed_listener_finishes_what_is_in_flight,
        sigint_drains_too;
    from_streams:
        goaway_is_said_twice;
    each_driver:
        socket_files_are_removed;
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

fn gated(at: Pair, gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::replying(at.up, move |r| {
        if r.target() == "/hold" {
            gate.wait();
        }
        Reply::new(200, "finished")
    })
}

fn requests_in_flight_finish(at: Pair) {
    let gate = Gate::default();
    let origin = gated(at, &gate);
    // Handshakes by the dozen take their time on a busy machine.
    let extra =
        Extra { pool: "timeouts = { connect = \"20s\", tls = \"20s\", first_byte = \"30s\" }", ..Extra::default() };
    let edge = Setup::pair_with(at, &origin, &extra).shards(2).start();
    let addr = edge.addr();
    let clients: Vec<Client> = (0..5).map(|_| edge.client()).collect();
    let calls: Vec<Call> = (0..50).map(|i| clients[i % 5].begin(Ask::get("/hold"))).collect();
    origin.wait_requests(50);
    edge.signal(Signal::TERM);
    eventually("no new connections", || Wire::try_connect(&addr).is_err().then_some(()));
    assert_eq!(edge.ended(), None);
    if at.down.multiplexed() {
        clients.iter().for_each(|c| c.wait_go_away().expect("GOAWAY while streams are open"));
    }
    gate.open();
    for call in calls {
        let got = call.response();
        assert_eq!((got.status(), got.text().as_str()), (200, "finished"));
        let close = (!at.down.multiplexed()).then_some("close");
        assert_eq!(got.get("connection").map(str::to_ascii_lowercase).as_deref(), close, "{got:?}");
    }
    clients.iter().for_each(ends_in_order);
    assert_eq!(edge.wait_exit(), 0);
    assert_eq!(edge.log().len(), 50, "every request is logged before the end");
}

fn ends_in_order(client: &Client) {
    match client.wait_end() {
        Ok(()) => {}
        Err(e) => assert!(is_go_away(&e) && crate::harness::http2::reason(&e) == Some(h2::Reason::NO_ERROR), "{e}"),
    }
}

fn idle_connections_are_closed_at_once(at: Pair) {
    let origin = Origin::fine(at.up);
    let edge = Setup::pair(at, &origin).start();
    let used = edge.client();
    assert_eq!(used.get("/").status(), 200);
    let unused = edge.client();
    let begun = Instant::now();
    edge.signal(Signal::TERM);
    ends_in_order(&used);
    ends_in_order(&unused);
    assert_eq!(edge.wait_exit(), 0);
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
    origin.wait_idle();
}

fn ready(edge: &Edge) -> u16 {
    edge.admin_get("/ready").status()
}

fn connections_are_accepted_during_lb_grace(at: Pair) {
    let origin = Origin::fine(at.up);
    let edge = Setup::pair(at, &origin).server("lb_grace", "\"2s\"").start();
    assert_eq!(ready(&edge), 200);
    let addr = edge.addr();
    edge.signal(Signal::TERM);
    eventually("/ready to say 503", || (ready(&edge) == 503).then_some(()));
    assert_eq!(Client::connect(at.down, &addr).get("/").status(), 200, "a balancer that has not noticed yet is served");
    assert_eq!(edge.admin_get("/healthz").status(), 200, "draining is healthy");
    assert_eq!(edge.wait_exit(), 0);
}

fn hanging(at: Pair, drain_timeout: &str) -> (Gate, Origin, Edge, Client, Call) {
    let gate = Gate::default();
    let origin = gated(at, &gate);
    let edge = Setup::pair(at, &origin).server("drain_timeout", drain_timeout).start();
    let client = edge.client();
    let call = client.begin(Ask::get("/hold"));
    origin.wait_requests(1);
    (gate, origin, edge, client, call)
}

fn second_signal_ends_at_once(at: Pair) {
    let (gate, _origin, edge, _client, call) = hanging(at, "\"60s\"");
    let addr = edge.addr();
    edge.signal(Signal::TERM);
    eventually("no new connections", || Wire::try_connect(&addr).is_err().then_some(()));
    let begun = Instant::now();
    edge.signal(Signal::TERM);
    edge.wait_exit();
    assert!(begun.elapsed() < Duration::from_millis(1_500), "it took {:?}", begun.elapsed());
    call.whole().expect_err("no answer");
    gate.open();
}

fn drain_timeout_ends_what_hangs(at: Pair) {
    let (gate, _origin, edge, _client, call) = hanging(at, "\"500ms\"");
    let begun = Instant::now();
    edge.signal(Signal::TERM);
    edge.wait_exit();
    let took = begun.elapsed();
    assert!((Duration::from_millis(400)..Duration::from_secs(5)).contains(&took), "it took {took:?}");
    match call.whole() {
        Ok(got) => assert_eq!(got.status(), 503, "{got:?}"),
        Err(e) => assert_ne!(e.kind(), std::io::ErrorKind::TimedOut),
    }
    gate.open();
}

fn websockets_end_with_the_drain(at: Pair) {
    let origin = Origin::echoing(at.up);
    let edge = Setup::pair(at, &origin).server("drain_timeout", "\"500ms\"").start();
    let client = edge.client();
    let mut ws = client.websocket("/ws");
    edge.signal(Signal::TERM);
    ws.send(tungstenite::Message::text("still there")).expect("open until the end");
    assert_eq!(ws.read().expect("an echo").to_text().expect("text"), "still there");
    while ws.read().is_ok() {}
    edge.wait_exit();
}

fn websocket_is_told_that_the_edge_goes_away(at: Pair) {
    let origin = Origin::echoing(at.up);
    let edge = Setup::pair(at, &origin).server("drain_timeout", "\"1s\"").start();
    let client = edge.client();
    let mut ws = client.websocket("/ws");
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
    let status = if at.down.multiplexed() { 200 } else { 101 };
    assert_eq!((line["status"].as_u64(), line["category"].as_str()), (Some(status), Some("draining")), "{line}");
}

fn unfinished_upload_is_finished(at: Pair) {
    let origin = Origin::replying(at.up, |r| Reply::new(200, r.body.len().to_string()));
    let edge = Setup::pair(at, &origin).start();
    let addr = edge.addr();
    let client = edge.client();
    let mut call = client.begin(Ask::upload("/up", Some(10)));
    call.send("first");
    origin.wait_begun(1);
    edge.signal(Signal::TERM);
    eventually("no new connections", || Wire::try_connect(&addr).is_err().then_some(()));
    call.send("later");
    call.finish();
    assert_eq!(call.response().text(), "10");
    assert_eq!(edge.wait_exit(), 0);
}

/// RFC 9113 6.8: first with the highest number, so that requests on their way are still taken, then with the last one.
fn goaway_is_said_twice(at: Pair) {
    let gate = Gate::default();
    let origin = gated(at, &gate);
    let edge = Setup::pair(at, &origin).start();
    if at.down == Protocol::H3 {
        return goaway_is_said_twice_by_http3(&gate, &origin, &edge);
    }
    let scheme = at.down.scheme();
    let ask = |path: &'static [u8]| -> Vec<(&[u8], &[u8])> {
        vec![(b":method", b"GET"), (b":scheme", scheme.as_bytes()), (b":authority", b"a"), (b":path", path)]
    };
    let mut client = RawClient::connect(at.down, &edge.addr());
    let first = client.request(&ask(b"/hold"), None);
    origin.wait_requests(1);
    edge.signal(Signal::TERM);
    let goaway = client.wait(kind::GOAWAY).expect("GOAWAY");
    let last = u32::from_be_bytes(goaway.payload[..4].try_into().expect("four bytes"));
    assert_eq!((last, &goaway.payload[4..8]), (0x7fff_ffff, &[0; 4][..]), "no error, and nothing is lost yet");
    gate.open();
    let mut answered = false;
    let mut last = last;
    while let Some(frame) = client.next_frame() {
        answered |= frame.kind == kind::DATA && frame.stream == first;
        if frame.kind == kind::GOAWAY {
            last = u32::from_be_bytes(frame.payload[..4].try_into().expect("four bytes"));
            assert_eq!(&frame.payload[4..8], &[0; 4], "NO_ERROR");
        }
    }
    assert!(answered, "the stream is finished");
    assert_eq!(last, first, "the last stream that was taken");
    assert_eq!(edge.wait_exit(), 0);
}

fn goaway_is_said_twice_by_http3(gate: &Gate, origin: &Origin, edge: &Edge) {
    let client = edge.client();
    let session = client.http3();
    let call = client.begin(Ask::get("/hold"));
    origin.wait_requests(1);
    edge.signal(Signal::TERM);
    let first = session.wait_said(|s| !s.go_away.is_empty()).expect("GOAWAY").go_away[0];
    assert_eq!(first, (1 << 62) - 4, "the largest number of a request: nothing is lost yet (RFC 9114 5.2)");
    // One that was on its way when GOAWAY was sent is served, or refused as one that may be sent again (RFC 9114 4.1.1).
    let late = session.stream().expect("a stream");
    let _ = late.raw(&http3::request(&Ask::get("/late"))).and_then(|()| late.end());
    let taken = match late.head(false) {
        Ok(head) => head.status() == 200,
        Err(e) => {
            let code = http3::why(&e).and_then(|e| e.code);
            assert_eq!(code, Some(http3::code::REQUEST_REJECTED), "{e}");
            false
        }
    };
    gate.open();
    assert_eq!(call.response().text(), "finished");
    let last = session.wait_said(|s| s.go_away.len() > 1).expect("a second GOAWAY").go_away[1];
    assert_eq!(last, late.id() + if taken { 4 } else { 0 }, "the first request that was not taken");
    session.wait_end().expect("an end in order");
    assert_eq!(edge.wait_exit(), 0);
}

fn removed_listener_finishes_what_is_in_flight(at: Pair) {
    let gate = Gate::default();
    let origin = gated(at, &gate);
    let text = proxy_text_over(at.down, &origin, &Extra::default());
    let edge = Setup::over(at).text(&(text.clone() + &listener_text("second", at.down, ""))).start();
    let second = edge.listener("second").remove(0);
    let (client, idle) = (Client::connect(at.down, &second), Client::connect(at.down, &second));
    assert_eq!(idle.get("/").status(), 200);
    let call = client.begin(Ask::get("/hold"));
    origin.wait_begun(2);
    edge.rewrite(&text);
    assert_eq!(edge.reload().code, 0);
    eventually("the second listener to be gone", || Wire::try_connect(&second).is_err().then_some(()));
    ends_in_order(&idle);
    if at.down.multiplexed() {
        client.wait_go_away().expect("GOAWAY while the stream is open");
    }
    gate.open();
    assert_eq!(call.response().text(), "finished");
    ends_in_order(&client);
    assert_eq!(edge.client().get("/").status(), 200, "the other one goes on");
}

fn sigint_drains_too(at: Pair) {
    let (gate, _origin, edge, _client, call) = hanging(at, "\"10s\"");
    edge.signal(Signal::INT);
    gate.open();
    assert_eq!(call.response().text(), "finished");
    assert_eq!(edge.wait_exit(), 0);
}

fn socket_files_are_removed(driver: crate::harness::Driver) {
    let origin = Origin::ok();
    let edge = Setup::proxy(driver, &origin).start();
    let socket = edge.dir().join("admin.sock");
    assert!(socket.exists());
    edge.signal(Signal::TERM);
    assert_eq!(edge.wait_exit(), 0);
    assert!(!socket.exists(), "the admin socket is left behind");
}
