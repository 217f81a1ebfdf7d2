//! Clients of HTTP/3 that do what ordinary ones do not: give requests up at once, ask for much in one turn, read slowly or
//! nothing at all, go away. The connection, and the others on it, outlast that, or end in time.
use crate::harness::{
    Ask, Call, Driver, Edge, Origin, Pair, Protocol, Reply, Setup,
    edge::{Extra, listener_text},
    eventually,
    http3::{Duplex, Options, Session, code, headers, transport, why},
    pattern,
    tls::{self, Authority, EDGE_NAME},
};
use rustix::process::Signal;
use std::{
    io::{self, Read, Write},
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

crate::suite!("http3_bounds";
    each_driver:
        requests_stopped_at_once_are_reset,
        answers_stopped_at_their_ends_are_reset,
        many_requests_in_one_turn_are_answered,
        large_packets_are_all_taken,
        answer_that_nobody_reads_ends,
        fast_upload_leaves_a_download_its_share;
    once:
        websocket_ends_between_frames_or_by_a_reset,
        handshakes_that_take_too_long_are_counted,
        end_without_a_code_is_no_error,
        early_data_is_held_to_its_certificate,
);

fn over(driver: Driver, up: Protocol) -> Pair {
    Pair { driver, down: Protocol::H3, up }
}

/// More than fits [`TINY`], and little enough for the edge to be done with it before it is read.
const SHORT: usize = 2000;
/// What clients that read nothing let the server send of each answer, bytes.
const TINY: u32 = 64;

/// An edge that answers by itself, with [`SHORT`] bytes; `server` and `listener` are more keys.
fn answering(driver: Driver, drain: &str, listener: &str) -> Edge {
    let setup = Setup::over(over(driver, Protocol::H1)).server("drain_timeout", drain);
    std::fs::write(setup.dir().join("short"), pattern(SHORT)).expect("the temporary directory takes files");
    let route = "[[route]]\nid = \"own\"\nmatch = {}\nrespond = { body_file = \"@DIR@/short\" }\n";
    setup.text(&(listener_text("web", Protocol::H3, listener) + route)).start()
}

fn open_with(edge: &Edge, transport: quinn::TransportConfig) -> Session {
    let options = Options { transport: Some(transport), ..Options::default() };
    Session::open_with(&edge.addr(), tls::client(&["h3"]), EDGE_NAME, options).expect("a connection")
}

/// A client that takes [`TINY`] bytes of each answer until it reads.
fn tiny(edge: &Edge, change: impl FnOnce(&mut quinn::TransportConfig)) -> Session {
    let mut transport = transport();
    transport.stream_receive_window(TINY.into());
    change(&mut transport);
    open_with(edge, transport)
}

fn get() -> Vec<u8> {
    let host = EDGE_NAME.as_bytes();
    headers([(&b":method"[..], &b"GET"[..]), (b":scheme", b"https"), (b":path", b"/"), (b":authority", host)])
}

fn whole(duplex: &Duplex) -> usize {
    assert_eq!(duplex.head(false).expect("a head").status(), 200);
    let mut length = 0;
    while let Some(piece) = duplex.next().expect("a whole body") {
        length += piece.len();
    }
    length
}

/// SIGTERM ends it long before the drain would be cut off.
fn ends_promptly(edge: &Edge, session: &Session) {
    let begun = Instant::now();
    edge.signal(Signal::TERM);
    session.wait_end().expect("an end in order");
    assert_eq!(edge.wait_exit(), 0);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(8), "it took {took:?}");
}

/// One fewer than are allowed: places that came back are told of only when they are more than an eighth of all.
const STREAMS: usize = 8;
const ROUNDS: usize = 4;

/// It may come more than once, where an acknowledgement is late.
fn reset_comes_for_each(session: &Session) {
    let all = (STREAMS * ROUNDS) as u64;
    eventually("a RESET_STREAM for each", || (session.stats().frame_rx.reset_stream >= all).then_some(()));
}

fn requests_stopped_at_once_are_reset(driver: Driver) {
    let edge = answering(driver, "\"30s\"", "http3 = { max_concurrent_streams = 9, resets = 100000 }");
    // No answer arrives before its refusal does.
    let session = tiny(&edge, |_| {});
    for _ in 0..ROUNDS {
        session.burst(STREAMS, &get(), Some(code::REQUEST_CANCELLED)).expect("places come back");
    }
    reset_comes_for_each(&session);
    let last = session.burst(STREAMS, &get(), None).expect("places come back");
    assert!(last.iter().all(|duplex| whole(duplex) == SHORT));
    ends_promptly(&edge, &session);
}

fn answers_stopped_at_their_ends_are_reset(driver: Driver) {
    let edge = answering(driver, "\"30s\"", "http3 = { max_concurrent_streams = 9, resets = 100000 }");
    let session = tiny(&edge, |_| {});
    for round in 1..=ROUNDS {
        let answers = session.burst(STREAMS, &get(), None).expect("places come back");
        eventually("the edge to be done", || (edge.log().len() == STREAMS * round).then_some(()));
        answers.iter().for_each(|answer| answer.stop(code::REQUEST_CANCELLED));
    }
    reset_comes_for_each(&session);
    let last = session.burst(STREAMS, &get(), None).expect("places come back");
    assert!(last.iter().all(|duplex| whole(duplex) == SHORT));
    ends_promptly(&edge, &session);
}

fn many_requests_in_one_turn_are_answered(driver: Driver) {
    const MANY: usize = 800;
    let edge = answering(driver, "\"10s\"", "http3 = { max_concurrent_streams = 1000 }");
    let mut transport = transport();
    let mut pace = quinn::congestion::CubicConfig::default();
    pace.initial_window(1 << 20);
    transport.congestion_controller_factory(Arc::new(pace));
    let session = open_with(&edge, transport);
    eventually("the right to ask for so much", || (session.stats().frame_rx.max_streams_bidi > 0).then_some(()));
    // While it stands still, what is sent piles up in front of it.
    edge.signal(Signal::STOP);
    let answers = session.burst(MANY, &get(), None).expect("so many are allowed");
    eventually("all of them to be sent", || (session.stats().frame_tx.stream >= MANY as u64).then_some(()));
    edge.signal(Signal::CONT);
    for answer in &answers {
        assert_eq!(whole(answer), SHORT);
    }
    assert_eq!(edge.metrics().sum("edge_http3_connection_errors_total", &[]), 0.0);
}

fn large_packets_are_all_taken(driver: Driver) {
    const LENGTH: usize = 16 << 20;
    const PAYLOAD: u16 = 9000;
    let origin = Origin::replying(Protocol::H1, |_| Reply::new(200, pattern(LENGTH)));
    let extra = Extra { listener: "http3 = { max_udp_payload = 9000 }", ..Extra::default() };
    let edge = Setup::pair_with(over(driver, Protocol::H1), &origin, &extra).start();
    let options = Options { udp_payload: PAYLOAD, ..Options::default() };
    let session = Session::open_with(&edge.addr(), tls::client(&["h3"]), EDGE_NAME, options).expect("a connection");
    // The larger size is found while the first goes on.
    for _ in 0..2 {
        assert_eq!(whole(&session.begin(&Ask::get("/")).expect("a request").duplex), LENGTH);
    }
    let metrics = edge.metrics();
    // Loopback takes packets of any size, probes too.
    assert_eq!(metrics.sum("edge_quic_packets_dropped_total", &[("reason", "send_error")]), 0.0);
    let sent = metrics.sum("edge_quic_packets_total", &[("direction", "sent")]);
    let small = (2 * LENGTH) as f64 / 1452.0;
    assert!(sent < small * 0.75, "{sent} packets: hardly any was larger than usual");
}

fn answer_that_nobody_reads_ends(driver: Driver) {
    let edge = answering(driver, "\"10s\"", "timeouts = { keepalive = \"1s\", write = \"1s\" }");
    // It is there, and says so.
    let session = tiny(&edge, |transport| {
        transport.keep_alive_interval(Some(Duration::from_millis(200)));
    });
    let _unread = session.burst(1, &get(), None).expect("a request");
    eventually("the edge to be done", || (edge.log().len() == 1).then_some(()));
    let begun = Instant::now();
    let end = session.closed_within(Duration::from_secs(10)).expect("an end");
    assert!(end.connection, "{end}");
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1500), "no time to read it: {took:?}");
}

fn fast_upload_leaves_a_download_its_share(driver: Driver) {
    const LENGTH: usize = 4 << 20;
    let origin = Origin::serving(Protocol::H1, |served| {
        if served.target() == "/down" {
            served.request()?;
            return served.reply(&Reply::new(200, pattern(LENGTH)));
        }
        let length = served.request()?.body.len();
        served.reply(&Reply::new(200, length.to_string()))
    });
    let listener = "http3 = { stream_window = \"16MiB\", connection_window = \"64MiB\" }";
    let extra = Extra { listener, policy: "max_body = \"off\"", ..Extra::default() };
    let edge = Setup::pair_with(over(driver, Protocol::H1), &origin, &extra).start();
    let mut transport = transport();
    let mut pace = quinn::congestion::CubicConfig::default();
    pace.initial_window(64 << 20);
    transport.congestion_controller_factory(Arc::new(pace)).send_window(64 << 20);
    let session = open_with(&edge, transport);
    let upload = session.begin(&Ask::upload("/up", None)).expect("a request").duplex;
    let enough = AtomicBool::new(false);
    let sent = std::thread::scope(|s| {
        let sending = s.spawn(|| {
            let piece = pattern(16 << 10);
            let mut sent = 0;
            while !enough.load(Ordering::SeqCst) {
                upload.send(&piece).expect("the edge takes it");
                sent += piece.len();
            }
            upload.end().expect("the edge takes it");
            sent
        });
        let begun = Instant::now();
        let down = session.begin(&Ask::get("/down")).map(|call| whole(&call.duplex));
        let took = begun.elapsed();
        enough.store(true, Ordering::SeqCst);
        assert_eq!(down.expect("a request"), LENGTH);
        assert!(took < Duration::from_secs(10), "it took {took:?}");
        sending.join().expect("an upload")
    });
    assert_eq!(whole(&upload), sent.to_string().len());
    assert!(sent > 1 << 20, "the upload came to {sent} bytes only");
}

fn websocket_ends_between_frames_or_by_a_reset() {
    let at = over(Driver::IoUring, Protocol::H1);
    // Every second byte ends a message of its own: a word of the edge's fits there, if the frame of HTTP/3 has room for it.
    let origin = Origin::serving(at.up, |served| {
        let mut tunnel = served.tunnel()?;
        let _ = tunnel.write_all(&[0x82, 0].repeat(1 << 18)).and_then(|()| tunnel.read_to_end(&mut Vec::new()));
        Ok(())
    });
    // The window of one of them is full between two messages.
    for window in [50_000_u32, 50_001] {
        let edge = Setup::pair(at, &origin).server("drain_timeout", "\"500ms\"").start();
        let mut transport = transport();
        transport.stream_receive_window(window.into());
        let session = open_with(&edge, transport);
        let call = session.begin(&edge.client().websocket_ask("/ws")).expect("a request");
        eventually("a full window", || (session.stats().udp_rx.bytes > u64::from(window)).then_some(()));
        edge.signal(Signal::TERM);
        edge.wait_log_path("/ws");
        let end = call.duplex.head(false).and_then(|_| {
            while call.duplex.next()?.is_some() {}
            Ok(())
        });
        if let Err(e) = end {
            let cut = matches!(e.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData);
            assert!(why(&e).is_some() && !cut, "{e}");
        }
        edge.wait_exit();
    }
}

fn handshakes_that_take_too_long_are_counted() {
    let edge = answering(Driver::IoUring, "\"10s\"", "timeouts = { handshake = \"300ms\" }");
    let nobody = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    nobody.set_read_timeout(Some(crate::harness::PATIENCE)).expect("a timeout");
    let to = crate::harness::Addr::Tcp(nobody.local_addr().expect("an address"));
    let mut transport = transport();
    transport.max_idle_timeout(Some(Duration::from_secs(1).try_into().expect("a second")));
    let options = Options { transport: Some(transport), ..Options::default() };
    let silent = Session::open_with(&to, tls::client(&["h3"]), EDGE_NAME, options);
    assert!(silent.is_err(), "nobody is there");
    // What it began with, from somebody who never says more.
    let mut hello = [0; 2000];
    let length = nobody.recv(&mut hello).expect("a first packet");
    nobody.send_to(&hello[..length], edge.addr().tcp()).expect("loopback takes it");
    let late = [("transport", "quic"), ("result", "timeout")];
    eventually("one in the metric", || (edge.metrics().sum("edge_tls_handshakes_total", &late) == 1.0).then_some(()));
    let all = edge.metrics().sum("edge_tls_handshakes_total", &[("transport", "quic")]);
    assert_eq!(all, 1.0, "and nowhere else");
}

fn end_without_a_code_is_no_error() {
    let edge = answering(Driver::IoUring, "\"10s\"", "");
    let gone = || edge.metrics().sum("edge_connections", &[("protocol", "h3")]) == 0.0;
    let errors = || edge.metrics().sum("edge_http3_connection_errors_total", &[]);
    for (code, counted) in [(0, 0.0), (code::NO_ERROR, 0.0), (code::INTERNAL_ERROR, 1.0)] {
        let session = open_with(&edge, transport());
        assert_eq!(whole(&session.burst(1, &get(), None).expect("a request")[0]), SHORT);
        session.close(code);
        eventually("the edge to hear of it", || gone().then_some(()));
        assert_eq!(errors(), counted, "{code:#x}");
    }
}

fn early_data_is_held_to_its_certificate() {
    let ours = Authority::new("clients");
    let origin = Origin::fine(Protocol::H1);
    let setup = Setup::over(over(Driver::IoUring, Protocol::H1));
    std::fs::write(setup.dir().join("clients.pem"), &ours.pem).expect("the temporary directory takes files");
    let edge = setup
        .text(&format!(
            "[[listener]]\nname = \"web\"\naddress = [\"127.0.0.1:0\"]\nprotocols = [\"h3\"]\n\
             tls = {{ certificates = [{{ cert = \"@DIR@/edge.pem\", key = \"@DIR@/edge.key\" }}], client_auth = \"optional\", client_ca = \"@DIR@/clients.pem\" }}\n\
             http3 = {{ early_data = true }}\n{}\
             [policy.known]\nrequire_mtls = true\n\
             [[route]]\nid = \"all\"\nmatch = {{}}\npool = \"app\"\npolicy = \"known\"\n",
            crate::harness::edge::pool_text("app", &[&origin], "")
        ))
        .start();
    let early = |config: &Arc<rustls::ClientConfig>, expected: u16| {
        let options = Options { early: true, ..Options::default() };
        let session = Session::open_with(&edge.addr(), Arc::clone(config), EDGE_NAME, options).expect("a connection");
        let call = session.begin(&Ask::get("/")).expect("a request");
        let answer = Call::Http3(Box::new(call)).response();
        assert_eq!(answer.status(), expected, "{answer:?}");
        (session.early_accepted().expect("an answer") == Some(true)).then_some(())
    };
    let eager = |config: Arc<rustls::ClientConfig>| {
        let mut config = (*config).clone();
        config.enable_early_data = true;
        Arc::new(config)
    };
    let friend = eager(ours.issue(&["friend"]).client(&["h3"]));
    eventually("a friend's early data", || {
        early(&friend, 200)?;
        origin.requests().iter().any(|r| r.get("early-data") == Some("1")).then_some(())
    });
    let before = origin.begun().len();
    let stranger = eager(tls::client(&["h3"]));
    eventually("a stranger's early data", || early(&stranger, 403));
    assert_eq!(origin.begun().len(), before, "nothing of it is passed on");
}
