//! Upgrades: WebSocket through the edge over every pair of protocols, relayed byte by byte, idle and closing.
use crate::harness::{
    Ask, Driver, Edge, Origin, PATIENCE, Pair, Reply, Setup, client::WEBSOCKET_KEY, edge::Extra, eventually,
    message::Kind, pattern,
};
use std::{
    io::{Read, Write},
    sync::{Mutex, mpsc},
    time::{Duration, Instant},
};
use tungstenite::{Message, WebSocket, protocol::Role};

crate::suite!("upgrade";
    each_pair:
        websocket_echoes_a_mebibyte,
        client_close_reaches_the_origin,
        origin_close_reaches_the_client,
        origin_cut_reaches_the_client,
        refused_upgrade_is_an_ordinary_answer,
        open_upgrades_are_counted;
    some_pairs:
        many_messages_both_ways_at_once,
        many_websockets_at_once,
        idle_websocket_is_ended_by_its_own_timeout_only;
    each_downstream:
        unasked_switch_is_an_upstream_error;
    each_driver:
        bytes_behind_the_handshake_are_not_lost,
        upgrades_of_other_kinds_are_not_passed_on;
);

/// The status of an accepted handshake.
fn accepted(at: Pair) -> u64 {
    if at.down.multiplexed() { 200 } else { 101 }
}

fn websocket_echoes_a_mebibyte(at: Pair) {
    let origin = Origin::echoing(at.up);
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    let mut ws = client.websocket("/ws");
    let large = pattern(1 << 20);
    ws.send(Message::binary(large.clone())).expect("sent");
    assert!(ws.read().expect("an echo").into_data() == large);
    for i in 0..100 {
        ws.send(Message::text(format!("message {i}"))).expect("sent");
        assert_eq!(ws.read().expect("an echo").to_text().expect("text"), format!("message {i}"));
    }
    ws.close(None).expect("a close frame");
    while ws.read().is_ok() {}
    drop(ws);
    let line = edge.wait_log_path("/ws");
    // Routes and logs know a WebSocket by its GET, whichever way it was asked for.
    assert_eq!((line["status"].as_u64(), line["method"].as_str()), (Some(accepted(at)), Some("GET")), "{line}");
    // However the other side asks: an ordinary handshake for its version (RFC 6455 4.1, RFC 8441 4).
    let seen = origin.begun().remove(0);
    if at.up.http2() {
        assert_eq!((seen.method(), seen.get(":protocol")), ("CONNECT", Some("websocket")), "{seen:?}");
        assert!(!seen.has("upgrade") && !seen.has("connection") && !seen.has("sec-websocket-key"), "{seen:?}");
    } else {
        assert_eq!(seen.method(), "GET");
        assert!(seen.get("upgrade").is_some_and(|u| u.eq_ignore_ascii_case("websocket")), "{seen:?}");
        let key = seen.get("sec-websocket-key").expect("RFC 6455 4.1 wants a key");
        assert!(at.down.multiplexed() || key == WEBSOCKET_KEY, "the client's own key: {seen:?}");
        assert_eq!(key.len(), 24, "16 bytes in base 64");
    }
    assert_eq!((seen.target(), seen.get("sec-websocket-version")), ("/ws", Some("13")));
}

fn many_messages_both_ways_at_once(at: Pair) {
    let origin = Origin::echoing(at.up);
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    let tunnel = client.begin(client.websocket_ask("/ws")).tunnel().expect("a WebSocket");
    let mut back = WebSocket::from_raw_socket(tunnel.second(), Role::Client, None);
    let mut out = WebSocket::from_raw_socket(tunnel, Role::Client, None);
    let payload = pattern(10_000);
    let expected = payload.clone();
    let sender = std::thread::spawn(move || {
        for _ in 0..1_000 {
            out.send(Message::binary(payload.clone())).expect("sent");
        }
        out
    });
    for i in 0..1_000 {
        assert!(back.read().expect("an echo").into_data() == expected, "message {i}");
    }
    sender.join().expect("all sent");
}

fn many_websockets_at_once(at: Pair) {
    let origin = Origin::echoing(at.up);
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    let mut open: Vec<_> = (0..30).map(|i| client.websocket(&format!("/{i}"))).collect();
    for round in 0..5 {
        for (i, ws) in open.iter_mut().enumerate() {
            ws.send(Message::text(format!("{round} {i}"))).expect("sent");
        }
        for (i, ws) in open.iter_mut().enumerate() {
            assert_eq!(ws.read().expect("an echo").to_text().expect("text"), format!("{round} {i}"));
        }
    }
    drop(open);
    origin.wait_quiet();
}

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
const ASK: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn bytes_behind_the_handshake_are_not_lost(driver: Driver) {
    // Both sides speak in the same segment as their half of the handshake.
    let origin = Origin::scripted(|wire, _| {
        wire.head(Kind::Request)?;
        wire.try_send(format!("{SWITCH}origin first"))?;
        let heard = wire.take(12)?;
        wire.try_send(heard)
    });
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    client.send(format!("{ASK}client first"));
    assert_eq!(client.head(Kind::Response).expect("an answer").expect("an answer").status(), 101);
    assert_eq!(client.take(24).expect("both"), b"origin firstclient first");
    let seen = origin.requests();
    assert_eq!(seen[0].get("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
}

fn client_close_reaches_the_origin(at: Pair) {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let origin = Origin::serving(at.up, move |served| {
        let mut tunnel = served.tunnel()?;
        let rest = tunnel.read_to_finish();
        let _ = tell.lock().expect("one exchange").send(rest);
        tunnel.finish();
        Ok(())
    });
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    let mut tunnel = client.begin(client.websocket_ask("/ws")).tunnel().expect("a WebSocket");
    tunnel.write_all(b"last words").expect("sent");
    tunnel.finish();
    let heard = told.recv_timeout(PATIENCE).expect("the origin sees the end").expect("an end in order");
    assert_eq!(heard, b"last words");
    assert_eq!(tunnel.read_to_finish().expect("an end in order"), b"");
    origin.wait_quiet();
}

fn origin_close_reaches_the_client(at: Pair) {
    let origin = Origin::serving(at.up, |served| {
        let mut tunnel = served.tunnel()?;
        tunnel.write_all(b"last words")?;
        tunnel.finish();
        tunnel.read_to_finish().map(drop)
    });
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    let mut tunnel = client.begin(client.websocket_ask("/ws")).tunnel().expect("a WebSocket");
    assert_eq!(tunnel.read_to_finish().expect("an end in order"), b"last words");
    tunnel.finish();
    origin.wait_quiet();
}

fn origin_cut_reaches_the_client(at: Pair) {
    let origin = Origin::serving(at.up, |served| {
        let mut tunnel = served.tunnel()?;
        let mut byte = [0];
        tunnel.read_exact(&mut byte)?;
        served.reset(h2::Reason::INTERNAL_ERROR);
        Ok(())
    });
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    let mut tunnel = client.begin(client.websocket_ask("/ws")).tunnel().expect("a WebSocket");
    tunnel.write_all(b"x").expect("sent");
    match tunnel.read_to_finish() {
        Ok(rest) => assert!(rest.is_empty(), "{rest:?}"),
        Err(e) => assert!(!crate::harness::wire::timed_out(&e), "{e}"),
    }
    edge.wait_log_path("/ws");
}

fn idle_websocket_is_ended_by_its_own_timeout_only(at: Pair) {
    let origin = Origin::serving(at.up, |served| {
        let mut tunnel = served.tunnel()?;
        let mut byte = [0];
        while tunnel.read(&mut byte)? > 0 {
            tunnel.write_all(&byte)?;
        }
        Ok(())
    });
    let extra = Extra {
        listener: "timeouts = { header = \"100ms\", body = \"100ms\", write = \"100ms\", keepalive = \"100ms\" }",
        pool: "timeouts = { connect = \"20s\", tls = \"20s\", first_byte = \"1s\", body_idle = \"100ms\", total = \"600ms\", tunnel_idle = \"1500ms\" }",
        ..Extra::default()
    };
    let edge = Setup::pair_with(at, &origin, &extra).start();
    let client = edge.client();
    let mut tunnel = client.begin(client.websocket_ask("/ws")).tunnel().expect("a WebSocket");
    // Longer than every other timeout, shorter than the tunnel's.
    std::thread::sleep(Duration::from_millis(900));
    tunnel.write_all(b"x").expect("still open");
    let mut byte = [0];
    tunnel.read_exact(&mut byte).expect("still open");
    let begun = Instant::now();
    let _ = tunnel.read_to_finish();
    let took = begun.elapsed();
    assert!((Duration::from_millis(1_200)..PATIENCE).contains(&took), "the tunnel ended after {took:?}");
    origin.wait_quiet();
}

fn refused_upgrade_is_an_ordinary_answer(at: Pair) {
    let origin = Origin::serving(at.up, |served| match served.target() {
        // What a CONNECT has behind its head is no body to wait for.
        "/ws" => served.reply(&Reply::new(403, "no sockets")),
        _ => served.answer(&Reply::new(200, "fine")),
    });
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    let mut call = client.begin(client.websocket_ask("/ws"));
    assert_eq!(call.head().status(), 403);
    if at.down.multiplexed() {
        call.finish();
    }
    assert_eq!(call.response().text(), "no sockets");
    assert_eq!(client.ask(Ask::get("/next")).text(), "fine");
}

fn unasked_switch_is_an_upstream_error(at: Pair) {
    let origin = Origin::scripted(|wire, _| {
        wire.request()?;
        wire.try_send(SWITCH)?;
        wire.read_to_close();
        Ok(())
    });
    let edge = Setup::pair(at, &origin).start();
    let got = edge.client().get("/plain");
    assert_eq!(got.status(), 502, "{got:?}");
    assert_eq!(edge.wait_log_path("/plain")["category"], "upstream_protocol");
}

fn upgrades_of_other_kinds_are_not_passed_on(driver: Driver) {
    let origin = Origin::ok();
    let edge = Setup::proxy(driver, &origin).start();
    let got = edge.connect().ask(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n",
    );
    assert_eq!(got.status(), 200, "an unsupported upgrade is ignored (RFC 9110 7.8)");
    let seen = origin.requests().remove(0);
    assert!(!seen.has("upgrade") && !seen.has("http2-settings"), "{seen:?}");
}

fn open_upgrades_are_counted(at: Pair) {
    let origin = Origin::echoing(at.up);
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    let open: Vec<_> = (0..5).map(|_| client.websocket("/ws")).collect();
    let active = |edge: &Edge| edge.metrics().sum("edge_upgrades_active", &[]) as usize;
    eventually("five upgrades in the gauge", || (active(&edge) == 5).then_some(()));
    drop(open);
    eventually("no upgrade in the gauge", || (active(&edge) == 0).then_some(()));
}
