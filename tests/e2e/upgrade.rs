//! Upgrades: WebSocket through the edge, relayed byte by byte, idle and closing.
use crate::harness::{
    Driver, Edge, Origin, Setup,
    edge::Extra,
    eventually,
    message::Kind,
    origin::answer,
    pattern,
    wire::{Stream, Wire},
};
use std::{net::TcpListener, sync::mpsc, time::Duration};
use tungstenite::{Message, WebSocket, protocol::Role};

crate::suite!("upgrade";
    each_driver:
        websocket_echoes_a_mebibyte,
        many_messages_both_ways_at_once,
        bytes_behind_the_handshake_are_not_lost,
        client_close_reaches_the_origin,
        origin_close_reaches_the_client,
        idle_websocket_is_ended_by_its_own_timeout_only,
        refused_upgrade_is_an_ordinary_answer,
        unasked_switch_is_an_upstream_error,
        upgrades_of_other_kinds_are_not_passed_on,
        open_upgrades_are_counted;
    once:
);

/// A tungstenite server that echoes.
pub struct EchoServer {
    addr: std::net::SocketAddr,
}

impl EchoServer {
    /// Serves until the test process ends; each connection ends with its peer.
    pub fn start() -> EchoServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let Ok(mut ws) = tungstenite::accept(stream) else { return };
                    while let Ok(message) = ws.read() {
                        if (message.is_text() || message.is_binary()) && ws.send(message).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        EchoServer { addr }
    }

    /// Listener, pool and route to it.
    pub fn text(&self, pool: &str) -> String {
        format!(
            "[[listener]]\nname = \"web\"\naddress = [\"127.0.0.1:0\"]\n[pool.app]\nendpoints = [\"http://{}\"]\n{pool}\n\
             [[route]]\nid = \"all\"\nmatch = {{ path_prefix = \"/\" }}\npool = \"app\"\n",
            self.addr
        )
    }
}

/// A WebSocket through the edge.
pub fn websocket(edge: &Edge) -> WebSocket<Stream> {
    let stream = edge.connect().into_stream();
    tungstenite::client("ws://edge.test/ws", stream).expect("an upgraded connection").0
}

fn websocket_echoes_a_mebibyte(driver: Driver) {
    let server = EchoServer::start();
    let edge = Setup::new(driver).text(&server.text("")).start();
    let mut ws = websocket(&edge);
    let large = pattern(1 << 20);
    ws.send(Message::binary(large.clone())).expect("sent");
    assert!(ws.read().expect("an echo").into_data() == large);
    for i in 0..100 {
        ws.send(Message::text(format!("message {i}"))).expect("sent");
        assert_eq!(ws.read().expect("an echo").to_text().expect("text"), format!("message {i}"));
    }
    ws.close(None).expect("a close frame");
    while ws.read().is_ok() {}
    let line = edge.wait_log_path("/ws");
    assert_eq!(line["status"], 101);
}

fn many_messages_both_ways_at_once(driver: Driver) {
    let server = EchoServer::start();
    let edge = Setup::new(driver).text(&server.text("")).start();
    let stream = websocket(&edge).into_inner();
    let Stream::Tcp(socket) = stream else { unreachable!("the listener is TCP") };
    let other = socket.try_clone().expect("a second handle");
    let mut out = WebSocket::from_raw_socket(socket, Role::Client, None);
    let mut back = WebSocket::from_raw_socket(other, Role::Client, None);
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

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
const ASK: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn switched(edge: &Edge) -> Wire {
    let mut client = edge.connect();
    let got = client.ask(ASK);
    assert_eq!(got.status(), 101, "{got:?}");
    assert!(got.get("upgrade").is_some_and(|u| u.eq_ignore_ascii_case("websocket")), "{got:?}");
    assert!(got.get("connection").is_some_and(|c| c.eq_ignore_ascii_case("upgrade")), "{got:?}");
    client
}

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

fn client_close_reaches_the_origin(driver: Driver) {
    let (tell, told) = mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let origin = Origin::scripted(move |wire, _| {
        wire.head(Kind::Request)?;
        wire.try_send(SWITCH)?;
        let rest = wire.read_to_close();
        let _ = tell.lock().expect("one connection").send(rest);
        Ok(())
    });
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = switched(&edge);
    client.send("last words");
    drop(client);
    assert_eq!(told.recv_timeout(crate::harness::PATIENCE).expect("the origin sees the end"), b"last words");
}

fn origin_close_reaches_the_client(driver: Driver) {
    let origin = Origin::scripted(|wire, _| {
        wire.head(Kind::Request)?;
        wire.try_send(SWITCH)?;
        wire.try_send("last words")
    });
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = switched(&edge);
    assert_eq!(client.read_to_close(), b"last words");
}

fn idle_websocket_is_ended_by_its_own_timeout_only(driver: Driver) {
    let origin = Origin::scripted(|wire, _| {
        wire.head(Kind::Request)?;
        wire.try_send(SWITCH)?;
        loop {
            let byte = wire.take(1)?;
            wire.try_send(byte)?;
        }
    });
    let extra = Extra {
        listener: "timeouts = { header = \"100ms\", body = \"100ms\", write = \"100ms\", keepalive = \"100ms\" }",
        pool: "timeouts = { first_byte = \"100ms\", body_idle = \"100ms\", total = \"200ms\", tunnel_idle = \"1500ms\" }",
        ..Extra::default()
    };
    let edge = Setup::proxy_with(driver, &origin, &extra).start();
    let mut client = switched(&edge);
    // Longer than every other timeout, shorter than the tunnel's.
    std::thread::sleep(Duration::from_millis(700));
    client.send("x");
    assert_eq!(client.take(1).expect("still open"), b"x");
    let begun = std::time::Instant::now();
    client.expect_end();
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(1_200), "the tunnel ended after {took:?}");
}

fn refused_upgrade_is_an_ordinary_answer(driver: Driver) {
    let origin = Origin::answering(|r| match r.has("upgrade") {
        true => answer(403, "no sockets"),
        false => answer(200, "fine"),
    });
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    let got = client.ask(ASK);
    assert_eq!((got.status(), got.text().as_str()), (403, "no sockets"));
    assert_eq!(client.get("/next").text(), "fine");
}

fn unasked_switch_is_an_upstream_error(driver: Driver) {
    let origin = Origin::scripted(|wire, _| {
        wire.request()?;
        wire.try_send(SWITCH)?;
        wire.read_to_close();
        Ok(())
    });
    let edge = Setup::proxy(driver, &origin).start();
    let got = edge.connect().get("/plain");
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

fn open_upgrades_are_counted(driver: Driver) {
    let server = EchoServer::start();
    let edge = Setup::new(driver).text(&server.text("")).start();
    let open: Vec<_> = (0..5).map(|_| websocket(&edge)).collect();
    let active = || edge.metrics().sum("edge_upgrades_active", &[]) as usize;
    eventually("five upgrades in the gauge", || (active() == 5).then_some(()));
    drop(open);
    eventually("no upgrade in the gauge", || (active() == 0).then_some(()));
}
