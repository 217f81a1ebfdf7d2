//! Upstream failures and vanishing clients: the right status, and the same word in body, access log and metric.
use crate::harness::{
    Driver, Edge, Message, Origin, Setup,
    edge::Extra,
    eventually,
    message::Kind,
    origin::{answer, answer_with},
    wire::Wire,
};
use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

crate::suite!("failure";
    each_driver:
        refused_connection_is_upstream_connect_failed,
        unanswered_connection_is_upstream_timeout,
        refusing_endpoint_is_passed_over,
        reset_before_the_answer_is_upstream_reset,
        close_before_the_answer_is_upstream_reset,
        close_within_the_head_is_upstream_reset,
        garbage_is_upstream_protocol,
        endless_head_is_upstream_protocol,
        truncated_bodies_do_not_look_whole,
        no_first_byte_is_upstream_timeout,
        dribbled_head_is_upstream_timeout,
        stalled_body_is_upstream_timeout,
        whole_exchange_has_a_timeout,
        whole_exchange_ends_however_well_it_goes_on,
        origin_that_does_not_read_is_upstream_timeout,
        client_abort_cancels_the_upstream_request,
        client_abort_during_an_upload_cancels_the_upstream_request,
        broken_chunks_of_a_client_are_bad_request,
        stale_connections_are_retried_for_get,
        unsafe_requests_are_never_seen_twice,
        fresh_connections_are_not_retried,
        no_route_has_its_word,
        bad_request_has_its_word;
    once:
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

/// An address that is taken and does not accept, so that nobody else's listener can appear there.
fn not_listening() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    let addr = socket.local_addr().expect("an address").as_socket().expect("an IP address");
    (socket, addr)
}

fn refused_connection_is_upstream_connect_failed(driver: Driver) {
    let (_held, addr) = not_listening();
    let edge = Setup::new(driver).text(&text(addr, "")).start();
    let mut client = edge.connect();
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

fn refusing_endpoint_is_passed_over(driver: Driver) {
    // Nothing was sent to the endpoint that refuses, so any request may go to another one.
    let (_held, dead) = not_listening();
    let alive = Origin::ok();
    let text = text(dead, "").replace("endpoints = [", &format!("endpoints = [{}, ", alive.endpoint()));
    let edge = Setup::new(driver).text(&text).start();
    let mut client = edge.connect();
    for i in 0..40 {
        let got = match i % 2 {
            0 => client.get("/get"),
            _ => client.ask("POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok"),
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

fn reset_before_the_answer_is_upstream_reset(driver: Driver) {
    let origin = Origin::scripted(|wire, _| {
        wire.head(Kind::Request)?;
        wire.reset_on_close();
        Ok(())
    });
    let edge = Setup::proxy(driver, &origin).start();
    let got = edge.connect().get("/reset");
    shows(&edge, &got, "/reset", 502, "upstream_reset");
}

fn close_before_the_answer_is_upstream_reset(driver: Driver) {
    let (_origin, edge) = after_head(driver, "", |_| Ok(()));
    let got = edge.connect().get("/closed");
    shows(&edge, &got, "/closed", 502, "upstream_reset");
}

fn close_within_the_head_is_upstream_reset(driver: Driver) {
    let (_origin, edge) = after_head(driver, "", |w| w.try_send("HTTP/1.1 200 OK\r\nContent-Le"));
    let got = edge.connect().get("/cut");
    shows(&edge, &got, "/cut", 502, "upstream_reset");
}

fn garbage_is_upstream_protocol(driver: Driver) {
    for garbage in
        ["\x16\x03\x01 nothing like HTTP\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nA B: c\r\n\r\n"]
    {
        let (_origin, edge) = after_head(driver, "", move |w| {
            w.try_send(garbage)?;
            w.read_to_close();
            Ok(())
        });
        let mut client = edge.connect();
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

fn truncated_bodies_do_not_look_whole(driver: Driver) {
    for (path, answer) in [
        ("/length", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes."),
        ("/chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nten bytes."),
        ("/between", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nten bytes.\r\n"),
    ] {
        let (_origin, edge) = after_head(driver, "", move |w| w.try_send(answer));
        let mut client = edge.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let got = client.message(Kind::Response);
        match got {
            // The edge may have seen the end before it sent a byte.
            Ok(Some(got)) => assert_eq!(got.status(), 502, "{path}: {got:?}"),
            Ok(None) => {}
            Err(e) => assert_ne!(e.kind(), io::ErrorKind::InvalidData, "{path}: {e}"),
        }
        assert_eq!(edge.wait_log_path(path)["category"], "upstream_reset", "{path}");
    }
}

const QUICK: &str = "timeouts = { connect = \"2s\", first_byte = \"300ms\", body_idle = \"300ms\" }";

fn no_first_byte_is_upstream_timeout(driver: Driver) {
    let (origin, edge) = after_head(driver, QUICK, |w| {
        w.read_to_close();
        Ok(())
    });
    let mut client = edge.connect();
    let got = client.get("/silent");
    shows(&edge, &got, "/silent", 504, "upstream_timeout");
    origin.wait_idle();
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

fn stalled_body_is_upstream_timeout(driver: Driver) {
    let (origin, edge) = after_head(driver, QUICK, |w| {
        w.try_send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes.")?;
        w.read_to_close();
        Ok(())
    });
    let mut client = edge.connect();
    client.send("GET /stalled HTTP/1.1\r\nHost: a\r\n\r\n");
    let e = client.message(Kind::Response).expect_err("a cut body");
    assert_eq!(e.kind(), io::ErrorKind::UnexpectedEof, "{e}");
    assert_eq!(edge.wait_log_path("/stalled")["category"], "upstream_timeout");
    counted(&edge, "upstream_timeout", 1.0);
    origin.wait_idle();
}

fn whole_exchange_has_a_timeout(driver: Driver) {
    let origin = Origin::scripted(|wire, _| {
        wire.head(Kind::Request)?;
        wire.read_to_close();
        Ok(())
    });
    let edge = Setup::proxy_with(driver, &origin, &Extra { policy: "timeout = \"300ms\"", ..Extra::default() }).start();
    let got = edge.connect().get("/total");
    assert_eq!(got.status(), 504, "{got:?}");
    let category = edge.wait_log_path("/total")["category"].as_str().unwrap_or_default().to_owned();
    assert!(matches!(category.as_str(), "upstream_timeout" | "request_timeout"), "{category}");
}

fn whole_exchange_ends_however_well_it_goes_on(driver: Driver) {
    let origin = Origin::scripted(|wire, _| {
        wire.request()?;
        wire.try_send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        // Much work for each byte, some of it new at every turn, and several at once: the edge waits for nobody.
        let chunk = [b"1388\r\n".to_vec(), vec![b'x'; 5_000], b"\r\n".to_vec()].concat();
        let chunks = chunk.repeat(200);
        loop {
            wire.try_send(&chunks)?;
        }
    });
    let edge = Setup::proxy_with(driver, &origin, &Extra { policy: "timeout = \"1s\"", ..Extra::default() }).start();
    let addr = edge.addr();
    let endless = || {
        let mut client = Wire::connect(&addr);
        let begun = Instant::now();
        client.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.head(Kind::Response).expect("a head").expect("a head").status(), 200);
        while client.skip(1 << 16).is_ok() {
            assert!(begun.elapsed() < Duration::from_secs(10), "still going on");
        }
        let took = begun.elapsed();
        assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&took), "cut after {took:?}");
        assert!(!client.unread().ends_with(b"0\r\n\r\n"), "a cut answer looks whole");
    };
    std::thread::scope(|s| (0..6).for_each(|_| drop(s.spawn(endless))));
    assert_eq!(edge.wait_log_path("/endless")["category"], "upstream_timeout");
    counted(&edge, "upstream_timeout", 6.0);
    origin.wait_idle();
}

fn origin_that_does_not_read_is_upstream_timeout(driver: Driver) {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let stopped = std::sync::Mutex::new(stopped);
    let extra = Extra { pool: QUICK, policy: "max_body = \"off\"", ..Extra::default() };
    let origin = Origin::scripted(move |wire, _| {
        wire.head(Kind::Request)?;
        let _ = stopped.lock().expect("one connection").recv_timeout(crate::harness::PATIENCE);
        Ok(())
    });
    let edge = Setup::proxy_with(driver, &origin, &extra).start();
    let mut client = edge.connect();
    client.send(format!("PUT /unread HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 1 << 30));
    let piece = vec![b'x'; 1 << 20];
    let mut sent = 0;
    while sent < 1 << 10 && client.try_send(&piece).is_ok() {
        sent += 1;
    }
    let line = edge.wait_log_path("/unread");
    assert_eq!(line["category"], "upstream_timeout", "{line}");
    drop(stop);
}

fn client_abort_cancels_the_upstream_request(driver: Driver) {
    for reset in [false, true] {
        let (origin, edge) = after_head(driver, "", |w| {
            w.read_to_close();
            Ok(())
        });
        let mut client = edge.connect();
        client.send("GET /gone HTTP/1.1\r\nHost: a\r\n\r\n");
        origin.wait_requests(1);
        if reset {
            client.reset_on_close();
        }
        drop(client);
        origin.wait_idle();
        logged(&edge, "/gone", 499, "client_abort");
    }
}

fn client_abort_during_an_upload_cancels_the_upstream_request(driver: Driver) {
    let origin = Origin::scripted(|wire, _| {
        wire.head(Kind::Request)?;
        wire.read_to_close();
        Ok(())
    });
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    client.send("PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nbegin");
    origin.wait_connections(1);
    drop(client);
    origin.wait_idle();
    assert_eq!(edge.wait_log_path("/upload")["category"], "client_abort");
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

fn fresh_connections_are_not_retried(driver: Driver) {
    let asked = Arc::new(AtomicUsize::new(0));
    let (_origin, edge) = after_head(driver, "", {
        let asked = Arc::clone(&asked);
        move |_| {
            asked.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    });
    assert_eq!(edge.connect().get("/").status(), 502);
    assert_eq!(asked.load(Ordering::SeqCst), 1, "without a retry policy a request is sent once");
}

fn no_route_has_its_word(driver: Driver) {
    let origin = Origin::answering(|_| answer_with(200, "", b"ok"));
    let text = crate::harness::edge::proxy_text(&origin, &Extra::default())
        .replace("path_prefix = \"/\"", "host = [\"only.test\"]");
    let edge = Setup::new(driver).text(&text).start();
    let mut client = edge.connect();
    let got = client.get("/nowhere");
    shows(&edge, &got, "/nowhere", 404, "no_route");
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: only.test\r\n\r\n").status(), 200);
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
