//! Upstream failures and vanishing clients: the right status, and the same word in body, access log and metric.
use crate::harness::{
    Ask, Driver, Edge, Message, Origin, Pair, Reply, Served, Setup,
    edge::{Extra, listener_text, proxy_text_over},
    eventually,
    exchange::Fields,
    message::Kind,
    origin::answer,
    served::Order,
    wire::{Wire, timed_out},
};
use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

crate::suite!("failure";
    each_pair:
        reset_before_the_answer_is_upstream_reset,
        close_before_the_answer_is_upstream_reset,
        truncated_bodies_do_not_look_whole,
        no_first_byte_is_upstream_timeout,
        stalled_body_is_upstream_timeout,
        whole_exchange_has_a_timeout,
        client_abort_cancels_the_upstream_request,
        client_abort_during_an_upload_cancels_the_upstream_request,
        fresh_connections_are_not_retried;
    each_downstream:
        refused_connection_is_upstream_connect_failed,
        garbage_is_upstream_protocol,
        no_route_has_its_word;
    each_upstream:
        refusing_endpoint_is_passed_over;
    some_pairs:
        whole_exchange_ends_however_well_it_goes_on,
        origin_that_does_not_read_is_upstream_timeout;
    each_driver:
        unanswered_connection_is_upstream_timeout,
        close_within_the_head_is_upstream_reset,
        endless_head_is_upstream_protocol,
        dribbled_head_is_upstream_timeout,
        broken_chunks_of_a_client_are_bad_request,
        stale_connections_are_retried_for_get,
        unsafe_requests_are_never_seen_twice,
        bad_request_has_its_word;
);

/// The failure must show as this status and this word everywhere.
fn shows(edge: &Edge, got: &Message, path: &str, status: u16, category: &str) {
    assert_eq!(got.status(), status, "{got:?}");
    assert!(got.text().contains(category), "the body does not say {category}: {got:?}");
    logged(edge, path, status, category);
}

fn logged(edge: &Edge, path: &str, status: u16, category: &str) {
    let line = edge.wait_log_path(path);
    assert_eq!(
        (line["status"].as_u64(), line["category"].as_str()),
        (Some(u64::from(status)), Some(category)),
        "{line}"
    );
    counted(edge, category, 1.0);
}

fn counted(edge: &Edge, category: &str, times: f64) {
    let metrics = eventually(&format!("edge_errors_total of {category}"), || {
        Some(edge.metrics()).filter(|m| m.sum("edge_errors_total", &[("category", category)]) >= times)
    });
    assert_eq!(metrics.sum("edge_errors_total", &[("category", category)]), times, "{category}");
}

fn text(endpoint: SocketAddr, pool: &str) -> String {
    format!(
        "[[listener]]\nname = \"web\"\naddress = [\"127.0.0.1:0\"]\n[pool.app]\nendpoints = [\"http://{endpoint}\"]\n{pool}\n\
         [[route]]\nid = \"all\"\nmatch = {{ path_prefix = \"/\" }}\npool = \"app\"\n"
    )
}

fn text_over(at: Pair, endpoint: SocketAddr, pool: &str) -> String {
    text(endpoint, pool)
        .replace("[[listener]]\nname = \"web\"\naddress = [\"127.0.0.1:0\"]\n", &listener_text("web", at.down, ""))
}

/// An address that is taken and does not accept, so that nobody else's listener can appear there.
fn not_listening() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    let addr = socket.local_addr().expect("an address").as_socket().expect("an IP address");
    (socket, addr)
}

fn refused_connection_is_upstream_connect_failed(at: Pair) {
    let (_held, addr) = not_listening();
    let edge = Setup::over(at).text(&text_over(at, addr, "")).start();
    let client = edge.client();
    let got = client.get("/refused");
    shows(&edge, &got, "/refused", 502, "upstream_connect_failed");
    assert_eq!(client.get("/again").status(), 502, "the client's connection goes on");
}

fn unanswered_connection_is_upstream_timeout(driver: Driver) {
    // A listener whose queue is full drops further handshakes.
    let (socket, addr) = not_listening();
    socket.listen(0).expect("a listening socket");
    let mut filling = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&addr, Duration::from_millis(300)) {
        filling.push(stream);
        assert!(filling.len() < 100, "the queue does not fill up");
    }
    let edge = Setup::new(driver).text(&text(addr, "timeouts = { connect = \"300ms\" }")).start();
    let got = edge.connect().get("/unanswered");
    shows(&edge, &got, "/unanswered", 504, "upstream_timeout");
}

fn refusing_endpoint_is_passed_over(at: Pair) {
    // Nothing was sent to the endpoint that refuses, so any request may go to another one.
    let (_held, dead) = not_listening();
    let alive = Origin::fine(at.up);
    let beside = alive.endpoint().replace(&alive.addr().to_string(), &dead.to_string());
    let text = proxy_text_over(at.down, &alive, &Extra::default())
        .replace("endpoints = [", &format!("endpoints = [{beside}, "));
    let edge = Setup::over(at).text(&text).start();
    let client = edge.client();
    for i in 0..40 {
        let got = match i % 2 {
            0 => client.get("/get"),
            _ => client.ask(Ask::post("/post", "ok")),
        };
        assert_eq!(got.status(), 200, "request {i}: {got:?}");
    }
}

/// One request through an origin that does this with each connection after it has read the request's head.
fn after_head(
    driver: Driver,
    pool: &str,
    act: impl Fn(&mut Wire) -> io::Result<()> + Send + Sync + 'static,
) -> (Origin, Edge) {
    let origin = Origin::scripted(move |wire, _| {
        wire.head(Kind::Request)?;
        act(wire)
    });
    let edge = Setup::proxy_with(driver, &origin, &Extra { pool, ..Extra::default() }).start();
    (origin, edge)
}

/// An edge before an origin that does this with each exchange once it has the request's head.
fn serving(
    at: Pair,
    extra: &Extra<'_>,
    act: impl Fn(&mut Served<'_>) -> io::Result<()> + Send + Sync + 'static,
) -> (Origin, Edge) {
    let origin = Origin::serving(at.up, act);
    let edge = Setup::pair_with(at, &origin, extra).start();
    (origin, edge)
}

fn none() -> Fields {
    Fields::new()
}

fn reset_before_the_answer_is_upstream_reset(at: Pair) {
    let (_origin, edge) = serving(at, &Extra::default(), |served| {
        served.reset(h2::Reason::INTERNAL_ERROR);
        Ok(())
    });
    let client = edge.client();
    let got = client.get("/reset");
    shows(&edge, &got, "/reset", 502, "upstream_reset");
    assert_eq!(client.get("/again").status(), 502, "the client's connection goes on");
}

fn close_before_the_answer_is_upstream_reset(at: Pair) {
    let (_origin, edge) = serving(at, &Extra::default(), |served| {
        served.request()?;
        served.order(Order::Cut);
        if served.is_http2() { served.wait_cancel() } else { Ok(()) }
    });
    let got = edge.client().ask(Ask::post("/closed", "x"));
    shows(&edge, &got, "/closed", 502, "upstream_reset");
}

fn close_within_the_head_is_upstream_reset(driver: Driver) {
    let (_origin, edge) = after_head(driver, "", |w| w.try_send("HTTP/1.1 200 OK\r\nContent-Le"));
    let got = edge.connect().get("/cut");
    shows(&edge, &got, "/cut", 502, "upstream_reset");
}

fn garbage_is_upstream_protocol(at: Pair) {
    for garbage in
        ["\x16\x03\x01 nothing like HTTP\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nA B: c\r\n\r\n"]
    {
        let origin = Origin::scripted(move |wire, _| {
            wire.head(Kind::Request)?;
            wire.try_send(garbage)?;
            wire.read_to_close();
            Ok(())
        });
        let edge = Setup::pair(at, &origin).start();
        let client = edge.client();
        let got = client.get("/garbage");
        shows(&edge, &got, "/garbage", 502, "upstream_protocol");
        assert_eq!(client.get("/next").status(), 502, "the client's connection goes on");
    }
}

fn endless_head_is_upstream_protocol(driver: Driver) {
    let (_origin, edge) = after_head(driver, "", |w| {
        w.try_send("HTTP/1.1 200 OK\r\n")?;
        loop {
            w.try_send("X-More: and more and more and more and more\r\n".repeat(20))?;
        }
    });
    let got = edge.connect().get("/endless");
    shows(&edge, &got, "/endless", 502, "upstream_protocol");
}

fn truncated_bodies_do_not_look_whole(at: Pair) {
    let (_origin, edge) = serving(at, &Extra::default(), |served| {
        served.request()?;
        let length = (served.target() == "/length").then_some(100);
        served.begin(200, &none(), length)?;
        served.send("ten bytes.")?;
        if served.is_http2() {
            served.reset(h2::Reason::INTERNAL_ERROR);
        }
        Ok(())
    });
    for path in ["/length", "/streamed"] {
        match edge.client().try_ask(Ask::get(path)) {
            // The edge may have seen the end before it sent a byte.
            Ok(got) => assert_eq!(got.status(), 502, "{path}: {got:?}"),
            Err(e) => {
                assert!(e.kind() != io::ErrorKind::InvalidData && !timed_out(&e), "{path}: {e}");
                // RST_STREAM for this stream; the connection goes on.
                assert!(!at.down.multiplexed() || crate::harness::http2::reason(&e).is_some(), "{path}: {e}");
            }
        }
        assert_eq!(edge.wait_log_path(path)["category"], "upstream_reset", "{path}");
    }
}

const QUICK: &str = "timeouts = { connect = \"20s\", tls = \"20s\", first_byte = \"300ms\", body_idle = \"300ms\" }";

fn no_first_byte_is_upstream_timeout(at: Pair) {
    let (origin, edge) = serving(at, &Extra { pool: QUICK, ..Extra::default() }, |served| served.wait_cancel());
    let client = edge.client();
    let got = client.get("/silent");
    shows(&edge, &got, "/silent", 504, "upstream_timeout");
    origin.wait_quiet();
    assert_eq!(client.get("/again").status(), 504, "the client's connection goes on");
}

fn dribbled_head_is_upstream_timeout(driver: Driver) {
    let (_origin, edge) = after_head(driver, QUICK, |w| {
        w.try_send("HTTP/1.1 200 OK\r\nX-Slow: ")?;
        loop {
            w.try_send("x")?;
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let got = edge.connect().get("/dribble");
    shows(&edge, &got, "/dribble", 504, "upstream_timeout");
}

fn stalled_body_is_upstream_timeout(at: Pair) {
    let (origin, edge) = serving(at, &Extra { pool: QUICK, ..Extra::default() }, |served| {
        served.begin(200, &none(), Some(100))?;
        served.send("ten bytes.")?;
        served.wait_cancel()
    });
    let e = edge.client().try_ask(Ask::get("/stalled")).expect_err("a cut body");
    assert!(!timed_out(&e) && e.kind() != io::ErrorKind::InvalidData, "{e}");
    assert_eq!(edge.wait_log_path("/stalled")["category"], "upstream_timeout");
    counted(&edge, "upstream_timeout", 1.0);
    origin.wait_quiet();
}

fn whole_exchange_has_a_timeout(at: Pair) {
    let policy = Extra { policy: "timeout = \"300ms\"", ..Extra::default() };
    let (origin, edge) = serving(at, &policy, |served| served.wait_cancel());
    let got = edge.client().get("/total");
    assert_eq!(got.status(), 504, "{got:?}");
    let category = edge.wait_log_path("/total")["category"].as_str().unwrap_or_default().to_owned();
    assert!(matches!(category.as_str(), "upstream_timeout" | "request_timeout"), "{category}");
    origin.wait_quiet();
}

fn whole_exchange_ends_however_well_it_goes_on(at: Pair) {
    // Much work for each byte, some of it new at every turn, and several at once: the edge waits for nobody.
    let (origin, edge) = serving(at, &Extra { policy: "timeout = \"1s\"", ..Extra::default() }, |served| {
        served.begin(200, &none(), None)?;
        loop {
            for _ in 0..200 {
                served.send([b'x'; 5_000])?;
            }
        }
    });
    let endless = || {
        let client = edge.client();
        let begun = Instant::now();
        let mut call = client.begin(Ask::get("/endless"));
        assert_eq!(call.head().status(), 200);
        let end = loop {
            match call.next() {
                Ok(piece) => assert!(piece.is_some(), "a cut answer looks whole"),
                Err(e) => break e,
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "still going on");
        };
        let took = begun.elapsed();
        assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&took), "cut after {took:?}: {end}");
    };
    std::thread::scope(|s| (0..6).for_each(|_| drop(s.spawn(endless))));
    assert_eq!(edge.wait_log_path("/endless")["category"], "upstream_timeout");
    counted(&edge, "upstream_timeout", 6.0);
    origin.wait_quiet();
}

fn origin_that_does_not_read_is_upstream_timeout(at: Pair) {
    let extra = Extra { pool: QUICK, policy: "max_body = \"off\"", ..Extra::default() };
    let (_origin, edge) = serving(at, &extra, |served| served.wait_without_reading());
    let client = edge.client();
    let mut call = client.begin(Ask::upload("/unread", Some(1 << 30)));
    let piece = vec![b'x'; 1 << 20];
    let mut sent = 0;
    while sent < 1 << 10 && call.try_send(&piece).is_ok() {
        sent += 1;
    }
    assert!(sent < 1 << 10, "all of it was taken");
    let line = edge.wait_log_path("/unread");
    assert_eq!(line["category"], "upstream_timeout", "{line}");
}

fn client_abort_cancels_the_upstream_request(at: Pair) {
    let (origin, edge) = serving(at, &Extra::default(), |served| served.wait_cancel());
    for (path, by_connection) in [("/stream", false), ("/connection", true)] {
        let client = edge.client();
        let call = client.begin(Ask::get(path));
        eventually("the request at the origin", || (origin.active() == 1).then_some(()));
        if by_connection {
            drop((client, call));
        } else {
            call.cancel();
        }
        origin.wait_quiet();
        let line = edge.wait_log_path(path);
        assert_eq!((line["status"].as_u64(), line["category"].as_str()), (Some(499), Some("client_abort")), "{line}");
    }
    counted(&edge, "client_abort", 2.0);
    assert!(!at.up.http2() || origin.connections() == 1, "a cancelled stream costs no connection");
}

fn client_abort_during_an_upload_cancels_the_upstream_request(at: Pair) {
    let (origin, edge) = serving(at, &Extra::default(), |served| served.request().map(drop));
    for length in [Some(1000), None] {
        let client = edge.client();
        let mut call = client.begin(Ask::upload("/upload", length));
        call.send("begin");
        eventually("the request at the origin", || (origin.active() == 1).then_some(()));
        call.cancel();
        origin.wait_quiet();
        assert_eq!(edge.wait_log_path("/upload")["category"], "client_abort");
    }
    assert!(origin.requests().is_empty(), "half a body must not look whole to the origin");
}

fn broken_chunks_of_a_client_are_bad_request(driver: Driver) {
    let origin = Origin::ok();
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    client.send("POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n0\r\n\r\n");
    let got = client.response();
    assert_eq!(got.status(), 400, "{got:?}");
    client.expect_end();
    assert_eq!(edge.wait_log_path("/chunks")["category"], "bad_request");
    assert!(origin.requests().is_empty(), "a broken body must not look whole to the origin");
}

fn stale_connections_are_retried_for_get(driver: Driver) {
    // An origin that keeps connections for one to five requests, and closes some only when the next one has been read.
    let origin = Origin::scripted(|wire, number| {
        for _ in 0..=number % 5 {
            let Some(request) = wire.request()? else { return Ok(()) };
            wire.try_send(answer(200, request.target()))?;
        }
        if number % 2 == 0 {
            wire.request()?;
        }
        Ok(())
    });
    let edge = Setup::proxy(driver, &origin).shards(2).start();
    let addr = edge.addr();
    std::thread::scope(|s| {
        for c in 0..4 {
            let addr = &addr;
            s.spawn(move || {
                let mut client = Wire::connect(addr);
                for i in 0..150 {
                    let target = format!("/{c}/{i}");
                    let got = client.get(&target);
                    assert_eq!((got.status(), got.text()), (200, target));
                }
            });
        }
    });
}

fn unsafe_requests_are_never_seen_twice(driver: Driver) {
    let origin = Origin::scripted(|wire, number| {
        for _ in 0..=number % 3 {
            if wire.request()?.is_none() {
                return Ok(());
            }
            wire.try_send(answer(200, "done"))?;
        }
        // Processed, never answered.
        wire.request()?;
        Ok(())
    });
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    let mut answered = 0;
    for i in 0..100 {
        let body = format!("payment {i}");
        client.send(format!("POST /{i} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        let got = client.response();
        assert!(matches!(got.status(), 200 | 502), "{got:?}");
        answered += usize::from(got.status() == 200);
        if got.get("connection") == Some("close") {
            client = edge.connect();
        }
    }
    let mut seen: HashMap<String, usize> = HashMap::new();
    for request in origin.requests() {
        *seen.entry(request.target().to_owned()).or_default() += 1;
    }
    let twice: Vec<_> = seen.iter().filter(|(_, n)| **n > 1).collect();
    assert!(twice.is_empty(), "seen more than once: {twice:?}");
    assert!(answered >= 50, "only {answered} of 100 were answered");
}

fn fresh_connections_are_not_retried(at: Pair) {
    let (origin, edge) = serving(at, &Extra::default(), |served| {
        served.request()?;
        served.order(Order::Cut);
        if served.is_http2() { served.wait_cancel() } else { Ok(()) }
    });
    assert_eq!(edge.client().ask(Ask::post("/", "once")).status(), 502);
    assert_eq!(origin.begun().len(), 1, "without a retry policy a request is sent once");
}

fn no_route_has_its_word(at: Pair) {
    let origin = Origin::replying(at.up, |_| Reply::new(200, "ok"));
    let text =
        proxy_text_over(at.down, &origin, &Extra::default()).replace("path_prefix = \"/\"", "host = [\"only.test\"]");
    let edge = Setup::over(at).text(&text).start();
    let client = edge.client();
    let got = client.get("/nowhere");
    shows(&edge, &got, "/nowhere", 404, "no_route");
    assert_eq!(client.ask(Ask::get("/").host("only.test")).status(), 200);
}

fn bad_request_has_its_word(driver: Driver) {
    let origin = Origin::ok();
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    let got = client.ask("GET /x HTTP/1.1\r\nHost : a\r\n\r\n");
    assert_eq!(got.status(), 400, "{got:?}");
    assert!(got.text().contains("bad_request"), "{got:?}");
    client.expect_end();
    counted(&edge, "bad_request", 1.0);
}
