//! What only HTTP/3 has: early data, Retry, its error codes, priorities of streams, the limits of a QUIC connection.
use crate::harness::{
    Ask, Call, Client, Driver, Edge, Origin, Pair, Protocol, Reply, Setup,
    edge::{Extra, listener_text},
    eventually,
    http3::{Duplex, Options, Session, code, frame, frame_bytes, request, transport, varint, why},
    pattern,
    tls::{self, Authority, EDGE_NAME},
    wire::timed_out,
};
use h2::Reason;
use rustls::ClientConfig;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

crate::suite!("http3";
    from_http3:
        cut_answer_is_a_reset_with_internal_error,
        client_that_stops_reading_aborts_at_the_origin,
        client_that_resets_its_request_aborts_at_the_origin;
    each_driver:
        early_data_is_not_taken_unless_asked_for,
        early_data_carries_safe_requests_only,
        early_data_is_held_to_its_host,
        retry_makes_clients_show_their_address,
        idle_timeout_spares_slow_requests;
    once:
        resets_of_an_origin_are_bad_gateways_or_internal_errors,
        answer_complete_before_the_request_stops_it_with_no_error,
        urgent_answers_overtake,
        priority_update_reorders,
        priority_update_outlasts_the_field_behind_it,
        streams_beyond_the_limit_wait,
        certificates_of_clients_are_checked,
        unknown_frames_and_streams_are_skipped,
        broken_connections_are_told_why,
);

fn over(driver: Driver) -> Pair {
    Pair { driver, down: Protocol::H3, up: Protocol::H2c }
}

fn with_listener(driver: Driver, origin: &Origin, listener: &str) -> Edge {
    Setup::pair_with(over(driver), origin, &Extra { listener, ..Extra::default() }).start()
}

fn open(edge: &Edge) -> Session {
    Session::open(&edge.addr(), tls::client(&["h3"]), EDGE_NAME).expect("a connection")
}

/// What an error says: a code, and whether the whole connection ended.
fn told(e: &io::Error) -> (Option<u64>, bool) {
    let why = why(e).unwrap_or_else(|| panic!("no end of a stream: {e}"));
    (why.code, why.connection)
}

fn cut_answer_is_a_reset_with_internal_error(at: Pair) {
    let origin = Origin::serving(at.up, |served| {
        served.request()?;
        if served.target() == "/whole" {
            return served.reply(&Reply::new(200, "whole"));
        }
        served.begin(200, &Vec::new(), None)?;
        served.send("some of it")?;
        if served.is_http2() {
            served.reset(Reason::CANCEL);
        }
        Ok(())
    });
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    let mut call = client.begin(Ask::get("/cut"));
    let e = match call.try_head() {
        // The edge may have seen the end before it sent a byte.
        Ok(head) if head.status() == 502 => return,
        Ok(_) => loop {
            match call.next() {
                Ok(piece) => assert!(piece.is_some(), "a cut answer looks whole"),
                Err(e) => break e,
            }
        },
        Err(e) => e,
    };
    assert_eq!(told(&e), (Some(code::INTERNAL_ERROR), false), "{e}");
    assert_eq!(client.get("/whole").text(), "whole", "the connection goes on");
}

/// An origin that tells when an answer of it was given up.
fn endless(at: Pair) -> (Origin, mpsc::Receiver<io::Result<Option<Reason>>>) {
    let (tell, told) = mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let origin = Origin::serving(at.up, move |served| {
        if served.target() == "/whole" {
            return served.answer(&Reply::new(200, "whole"));
        }
        served.begin(200, &Vec::new(), None)?;
        served.send("beginning")?;
        let end =
            if served.is_http2() { served.wait_cancel_code() } else { served.wait_without_reading().map(|()| None) };
        let _ = tell.lock().expect("nobody panics with it").send(end);
        Ok(())
    });
    (origin, told)
}

fn given_up(at: Pair, edge: &Edge, told: &mpsc::Receiver<io::Result<Option<Reason>>>, path: &str) {
    let code = told.recv_timeout(crate::harness::PATIENCE).expect("the origin hears of it").expect("in time");
    assert_eq!(code, at.up.http2().then_some(Reason::CANCEL));
    assert_eq!(edge.wait_log_path(path)["category"], "client_abort");
}

fn client_that_stops_reading_aborts_at_the_origin(at: Pair) {
    let (origin, told) = endless(at);
    let edge = Setup::pair(at, &origin).start();
    let session = open(&edge);
    let stream = session.stream().expect("a stream");
    stream.raw(&request(&Ask::get("/stop"))).and_then(|()| stream.end()).expect("a request");
    assert_eq!(stream.head(false).expect("a head").status(), 200);
    stream.stop(code::REQUEST_CANCELLED);
    given_up(at, &edge, &told, "/stop");
    assert_eq!(
        session.begin(&Ask::get("/whole")).expect("a request").duplex.head(false).expect("a head").status(),
        200
    );
}

fn client_that_resets_its_request_aborts_at_the_origin(at: Pair) {
    let (origin, told) = endless(at);
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    let mut call = client.begin(Ask::upload("/reset", None));
    assert_eq!(call.head().status(), 200);
    call.send("half of it");
    call.cancel();
    given_up(at, &edge, &told, "/reset");
    assert_eq!(client.get("/whole").text(), "whole", "the connection goes on");
}

fn resets_of_an_origin_are_bad_gateways_or_internal_errors() {
    const CODES: [Reason; 6] = [
        Reason::NO_ERROR,
        Reason::PROTOCOL_ERROR,
        Reason::INTERNAL_ERROR,
        Reason::CANCEL,
        Reason::ENHANCE_YOUR_CALM,
        Reason::HTTP_1_1_REQUIRED,
    ];
    let origin = Origin::serving(Protocol::H2c, |served| {
        let (when, code) = served.target()[1..].split_once('/').unwrap_or_default();
        let (begun, code) = (when == "after", code.parse::<u32>().unwrap_or_default());
        served.request()?;
        if begun {
            served.begin(200, &Vec::new(), None)?;
            served.send("some of it")?;
        }
        served.reset(code.into());
        Ok(())
    });
    let edge = with_listener(Driver::IoUring, &origin, "");
    let client = edge.client();
    for reset in CODES.map(u32::from) {
        let got = client.ask(Ask::post(&format!("/before/{reset}"), "x"));
        assert_eq!(got.status(), 502, "{reset}: {got:?}");
        match client.try_ask(Ask::post(&format!("/after/{reset}"), "x")) {
            // The edge may have seen the end before it sent a byte.
            Ok(got) => assert_eq!(got.status(), 502, "{reset}: {got:?}"),
            Err(e) => assert_eq!(told(&e), (Some(code::INTERNAL_ERROR), false), "{reset}: {e}"),
        }
    }
}

fn answer_complete_before_the_request_stops_it_with_no_error() {
    let origin = Origin::serving(Protocol::H2c, |served| served.reply(&Reply::new(403, "not you")));
    let edge = with_listener(Driver::IoUring, &origin, "");
    let client = edge.client();
    let Call::Http3(mut call) = client.begin(Ask::upload("/early", None)) else { panic!("not HTTP/3") };
    assert_eq!(call.next_head().expect("an answer").status(), 403);
    while call.duplex.next().expect("a body").is_some() {}
    assert_eq!(call.duplex.wait_stopped().expect("STOP_SENDING"), Some(code::NO_ERROR), "RFC 9114 4.1");
}

/// A client's configuration that keeps tickets and sends early data where they allow it.
fn eager() -> Arc<ClientConfig> {
    let mut config = (*tls::client(&["h3"])).clone();
    config.enable_early_data = true;
    Arc::new(config)
}

fn early(edge: &Edge, config: &Arc<ClientConfig>) -> Session {
    let options = Options { early: true, ..Options::default() };
    Session::open_with(&edge.addr(), Arc::clone(config), EDGE_NAME, options).expect("a connection")
}

fn early_data_is_not_taken_unless_asked_for(driver: Driver) {
    let origin = Origin::fine(Protocol::H2c);
    let edge = with_listener(driver, &origin, "");
    let config = eager();
    for _ in 0..5 {
        let session = early(&edge, &config);
        assert_eq!(session.early_accepted().expect("no wait"), None, "no ticket allows it");
        let call = session.begin(&Ask::get("/")).expect("a request");
        assert_eq!(Call::Http3(Box::new(call)).response().status(), 200);
    }
    let resumed = edge.metrics().sum("edge_tls_handshakes_total", &[("transport", "quic"), ("resumed", "yes")]);
    assert!(resumed >= 1.0, "the tickets are good: {resumed}");
    assert!(origin.requests().iter().all(|r| !r.has("early-data")), "{:?}", origin.requests());
}

fn early_data_carries_safe_requests_only(driver: Driver) {
    let origin = Origin::fine(Protocol::H2c);
    let edge = with_listener(driver, &origin, "http3 = { early_data = true }");
    let config = eager();
    let ask = |ask: Ask| {
        let session = early(&edge, &config);
        let answer = Call::Http3(Box::new(session.begin(&ask).expect("a request"))).response();
        (session.early_accepted().expect("an answer"), answer)
    };
    // Whether a request is on its way before the handshake ends is for the machine to say: sooner or later it is.
    eventually("a GET in early data", || {
        let (accepted, answer) = ask(Ask::get("/get").field("X-Once", "1"));
        assert_eq!(answer.status(), 200, "{answer:?}");
        let marked = origin.requests().iter().any(|r| r.get("early-data") == Some("1"));
        (accepted == Some(true) && marked).then_some(())
    });
    let before = origin.begun().len();
    let refused = eventually("a POST in early data", || {
        let (_, answer) = ask(Ask::post("/post", "twice?"));
        assert!(matches!(answer.status(), 200 | 425), "{answer:?}");
        (answer.status() == 425).then_some(answer)
    });
    assert_eq!(refused.status(), 425, "RFC 8470 5.2");
    assert!(origin.begun()[before..].iter().all(|r| !r.has("early-data")), "no POST is passed on as early data");
    assert_eq!(edge.wait_log("the refused one", |l| l["status"] == 425)["category"], "too_early");
    let counted = |result| edge.metrics().sum("edge_early_data_total", &[("result", result)]);
    assert!(counted("accepted") >= 1.0 && counted("too_early") >= 1.0);
}

fn early_data_is_held_to_its_host(driver: Driver) {
    let origin = Origin::fine(Protocol::H2c);
    let edge = with_listener(driver, &origin, "http3 = { early_data = true }");
    let config = eager();
    eventually("two requests in early data", || {
        let session = early(&edge, &config);
        let begin = |ask: Ask| Call::Http3(Box::new(session.begin(&ask).expect("a request")));
        // Where the second one was early, the first was too.
        let (other, own) = (begin(Ask::get("/other").host("nowhere.example")), begin(Ask::get("/own")));
        assert_eq!((other.response().status(), own.response().status()), (421, 200));
        origin.requests().iter().any(|r| r.get("early-data") == Some("1")).then_some(())
    });
    assert!(origin.requests().iter().all(|r| r.target() == "/own"), "{:?}", origin.requests());
}

fn retry_makes_clients_show_their_address(driver: Driver) {
    let origin = Origin::fine(Protocol::H2c);
    let edge = with_listener(driver, &origin, "http3 = { retry_after = 0 }");
    for _ in 0..5 {
        assert_eq!(edge.client().get("/").status(), 200);
    }
    assert!(edge.metrics().sum("edge_quic_retries_total", &[]) >= 5.0);
    let calm = with_listener(driver, &origin, "");
    assert_eq!(calm.client().get("/").status(), 200);
    assert_eq!(calm.metrics().sum("edge_quic_retries_total", &[]), 0.0, "not without need");
}

fn idle_timeout_spares_slow_requests(driver: Driver) {
    let (open_gate, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let origin = Origin::serving(Protocol::H2c, move |served| {
        served.request()?;
        let _ = gate.lock().expect("nobody panics with it").recv_timeout(crate::harness::PATIENCE);
        served.reply(&Reply::new(200, "late"))
    });
    let edge = with_listener(driver, &origin, "http3 = { idle_timeout = \"1s\" }");
    let (busy, idle) = (edge.client(), edge.client());
    let call = busy.begin(Ask::get("/slow"));
    origin.wait_begun(1);
    let begun = Instant::now();
    let end = idle.http3().wait_closed().expect("an end of the idle one");
    assert!(end.connection, "{end}");
    // Three times as long as a connection without a packet lasts.
    let quiet = Duration::from_secs(3).saturating_sub(begun.elapsed());
    assert!(timed_out(&busy.http3().closed_within(quiet).expect_err("the busy one goes on")));
    open_gate.send(()).expect("the origin waits");
    assert_eq!(call.response().text(), "late");
}

/// A client whose whole connection takes little before it is read, so that the order in which the edge sends shows.
fn narrow(edge: &Edge) -> Session {
    let mut transport = transport();
    transport.receive_window(NARROW.into());
    let options = Options { transport: Some(transport), ..Options::default() };
    Session::open_with(&edge.addr(), tls::client(&["h3"]), EDGE_NAME, options).expect("a connection")
}

const NARROW: u32 = 64 << 10;
const BULK: usize = 3 << 20;
const URGENT: usize = 400_000;

/// An edge with both answers in memory.
fn with_both() -> Edge {
    let setup = Setup::over(over(Driver::IoUring));
    let mut text = listener_text("web", Protocol::H3, "");
    for (name, size) in [("bulk", BULK), ("urgent", URGENT)] {
        std::fs::write(setup.dir().join(name), pattern(size)).expect("the temporary directory takes files");
        text += &format!(
            "[[route]]\nid = \"{name}\"\nmatch = {{ path = \"/{name}\" }}\nrespond = {{ body_file = \"@DIR@/{name}\" }}\n"
        );
    }
    setup.text(&text).start()
}

/// Reads both answers once the edge is at both; how much of the bulk has come when the urgent one is complete.
fn race(edge: &Edge, bulk: &Duplex, urgent: &Duplex) -> usize {
    let both = || edge.metrics().sum("edge_shard_requests_in_flight", &[]) == 2.0;
    eventually("two answers under way", || both().then_some(()));
    let read = AtomicUsize::new(0);
    std::thread::scope(|s| {
        s.spawn(|| {
            while let Ok(Some(piece)) = bulk.next() {
                read.fetch_add(piece.len(), Ordering::SeqCst);
            }
        });
        assert_eq!(urgent.head(false).expect("a head").status(), 200);
        let mut left = URGENT;
        while left > 0 {
            left -= urgent.next().expect("more of it").expect("all of it").len();
        }
        read.load(Ordering::SeqCst)
    })
}

fn ask_with(session: &Session, path: &str, priority: &str) -> Duplex {
    let ask = Ask::get(path).field("priority", priority);
    session.begin(&ask).expect("a request").duplex
}

fn urgent_answers_overtake() {
    let edge = with_both();
    let session = narrow(&edge);
    let bulk = ask_with(&session, "/bulk", "u=7");
    assert_eq!(bulk.head(false).expect("a head").status(), 200);
    let urgent = ask_with(&session, "/urgent", "u=0");
    let before = race(&edge, &bulk, &urgent);
    assert!(before < URGENT / 2, "{before} bytes of the less urgent answer came first");
}

fn priority_update_reorders() {
    let edge = with_both();
    let session = narrow(&edge);
    let bulk = ask_with(&session, "/bulk", "u=3");
    assert_eq!(bulk.head(false).expect("a head").status(), 200);
    let urgent = ask_with(&session, "/urgent", "u=7");
    update_priority(&session, &urgent, b"u=0");
    let before = race(&edge, &bulk, &urgent);
    assert!(before < URGENT / 2, "{before} bytes of the less urgent answer came first");
}

fn priority_update_outlasts_the_field_behind_it() {
    let edge = with_both();
    let session = narrow(&edge);
    // An answer says that what was sent before its request has been read.
    let settle = || assert_eq!(ask_with(&session, "/nothing", "u=0").head(false).expect("a head").status(), 404);
    let ask = request(&Ask::get("/urgent").field("priority", "u=7"));
    let (begun, rest) = ask.split_at(ask.len() / 2);
    let urgent = session.stream().expect("a stream");
    urgent.raw(begun).expect("the edge reads");
    settle();
    update_priority(&session, &urgent, b"u=0");
    settle();
    let bulk = ask_with(&session, "/bulk", "u=3");
    assert_eq!(bulk.head(false).expect("a head").status(), 200);
    urgent.raw(rest).and_then(|()| urgent.end()).expect("the edge reads");
    let before = race(&edge, &bulk, &urgent);
    assert!(before < URGENT / 2, "{before} bytes of the less urgent answer came first");
}

fn update_priority(session: &Session, of: &Duplex, priority: &[u8]) {
    let mut update = Vec::new();
    varint(&mut update, of.id());
    update.extend_from_slice(priority);
    session.send_control(&frame_bytes(frame::PRIORITY_UPDATE, &update)).expect("the edge reads");
}

fn streams_beyond_the_limit_wait() {
    let (release, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let origin = Origin::serving(Protocol::H2c, move |served| {
        served.request()?;
        if served.target() == "/hold" {
            let _ = gate.lock().expect("nobody panics with it").recv_timeout(crate::harness::PATIENCE);
        }
        served.reply(&Reply::new(200, "done"))
    });
    let edge = with_listener(Driver::IoUring, &origin, "http3 = { max_concurrent_streams = 2 }");
    let client = edge.client();
    let held = [client.begin(Ask::get("/hold")), client.begin(Ask::get("/hold"))];
    origin.wait_begun(2);
    let third = client.http3().stream_within(Duration::from_millis(300));
    assert!(third.is_err_and(|e| timed_out(&e)), "no third stream beside two");
    for call in held {
        release.send(()).expect("the origin waits");
        assert_eq!(call.response().text(), "done");
    }
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "done", "places come back");
    }
}

fn certificates_of_clients_are_checked() {
    let ours = Authority::new("clients");
    let setup = Setup::over(over(Driver::IoUring));
    std::fs::write(setup.dir().join("clients.pem"), &ours.pem).expect("the temporary directory takes files");
    let edge = setup
        .text(
            "[[listener]]\nname = \"web\"\naddress = [\"127.0.0.1:0\"]\nprotocols = [\"h3\"]\n\
             tls = { certificates = [{ cert = \"@DIR@/edge.pem\", key = \"@DIR@/edge.key\" }], client_auth = \"required\", client_ca = \"@DIR@/clients.pem\" }\n\
             [[route]]\nid = \"own\"\nmatch = {}\nrespond = { body = \"own\" }\n",
        )
        .start();
    let addr = edge.addr();
    let ask = |config| Client::with_tls(Protocol::H3, &addr, config, EDGE_NAME)?.try_ask(Ask::get("/").host("a"));
    let expired = ours.issue_with(&["someone"], |p| p.not_after = rcgen::date_time_ymd(2020, 1, 1));
    for _ in 0..2 {
        assert_eq!(ask(ours.issue(&["someone"]).client(&["h3"])).expect("a good certificate").text(), "own");
        for (what, config) in [
            ("none", tls::client(&["h3"])),
            ("of another authority", Authority::new("others").issue(&["someone"]).client(&["h3"])),
            ("expired", expired.client(&["h3"])),
        ] {
            let e = ask(config).expect_err(what);
            assert!(!timed_out(&e), "{what}: {e}");
        }
    }
    let refused = [("transport", "quic"), ("result", "client_certificate")];
    eventually("six refusals in the metric", || {
        (edge.metrics().sum("edge_tls_handshakes_total", &refused) == 6.0).then_some(())
    });
}

/// Types and settings that mean nothing (RFC 9114 7.2.8).
const GREASE: u64 = 0x1f * 7 + 0x21;

fn unknown_frames_and_streams_are_skipped() {
    let origin = Origin::fine(Protocol::H2c);
    let edge = with_listener(Driver::IoUring, &origin, "");
    let session = open(&edge);
    let grease = frame_bytes(GREASE, &pattern(300));
    session.send_control(&grease).expect("the edge reads");
    let mut kind = Vec::new();
    varint(&mut kind, GREASE);
    let _unknown = session.send_uni(&kind).expect("the edge reads");
    let stream = session.stream().expect("a stream");
    let parts = [&grease[..], &request(&Ask::post("/", "").lines("X-A: b\r\n")), &grease];
    stream.raw(&parts.concat()).and_then(|()| stream.end()).expect("a request");
    assert_eq!(stream.head(false).expect("an answer").status(), 200);
}

fn broken_connections_are_told_why() {
    let origin = Origin::fine(Protocol::H2c);
    let edge = with_listener(Driver::IoUring, &origin, "");
    let on_stream = |session: &Session, bytes: &[u8]| {
        let stream = session.stream()?;
        stream.raw(bytes)?;
        stream.head(false).map(drop)
    };
    type Fault = Box<dyn Fn(&Session) -> io::Result<()>>;
    let faults: [(&str, u64, Fault); 8] = [
        ("DATA before HEADERS", 0x105, Box::new(move |s| on_stream(s, &frame_bytes(frame::DATA, b"x")))),
        ("a reference to nothing", 0x200, Box::new(move |s| on_stream(s, &frame_bytes(frame::HEADERS, &[0, 0, 0x80])))),
        ("SETTINGS on a request", 0x105, Box::new(move |s| on_stream(s, &frame_bytes(frame::SETTINGS, &[])))),
        ("SETTINGS twice", 0x105, Box::new(|s| s.send_control(&frame_bytes(frame::SETTINGS, &[])))),
        ("PING of HTTP/2", 0x105, Box::new(|s| s.send_control(&frame_bytes(6, &[0; 8])))),
        ("a second control stream", 0x103, Box::new(|s| s.send_uni(&[0, 4, 0]).map(std::mem::forget))),
        ("the end of a QPACK stream", 0x104, Box::new(|s| s.send_uni(&[2]).map(drop))),
        (
            "a broken encoder instruction",
            0x201,
            Box::new(|s| s.send_uni(&[2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).map(std::mem::forget)),
        ),
    ];
    for (what, code, fault) in faults {
        let session = open(&edge);
        // Whatever the fault's own stream says, the connection says why.
        let _ = fault(&session);
        let end = session.wait_closed().unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(end.code, Some(code), "{what}: {end}");
    }
    assert_eq!(edge.client().get("/").status(), 200, "others go on");
    assert!(edge.metrics().sum("edge_http3_connection_errors_total", &[]) >= 8.0);
}
