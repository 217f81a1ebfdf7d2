//! Bodies in both directions: chunks, trailers, 100-continue, 1xx, streaming with back-pressure, flat memory.
use crate::harness::{
    Driver, Origin, Setup,
    edge::Extra,
    eventually,
    message::{Ends, Kind, ends},
    origin::answer,
    pattern,
    wire::{Wire, timed_out},
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

crate::suite!("body";
    each_driver:
        length_and_chunked_bodies_arrive_whole,
        request_trailers_reach_the_origin,
        response_trailers_reach_a_client_that_wants_them,
        response_trailers_are_kept_from_a_client_that_does_not,
        forbidden_trailers_are_dropped,
        chunks_are_passed_on_as_they_come,
        upload_is_passed_on_as_it_comes,
        expect_is_answered_before_the_body,
        expect_with_too_large_a_body_is_refused_first,
        expect_refused_by_the_origin_ends_the_exchange,
        chunked_body_over_the_limit_is_refused,
        other_expectations_fail,
        early_hints_only_where_asked_for,
        interim_answers_do_not_end_the_exchange,
        early_final_answer_to_an_upload,
        early_answer_outlasts_an_upload_that_stops,
        upload_of_256_mib_in_flat_memory,
        download_of_256_mib_in_flat_memory,
        slow_reader_holds_the_origin_back,
        slow_origin_holds_the_client_back;
    once:
);

fn length_and_chunked_bodies_arrive_whole(driver: Driver) {
    let origin = Origin::answering(|r| {
        let mut out =
            format!("HTTP/1.1 200 OK\r\nX-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n", r.body.len()).into_bytes();
        for (i, piece) in r.body.chunks(7_777).enumerate() {
            let extension = if i % 2 == 0 { "" } else { ";note=\"a b\"" };
            out.extend_from_slice(format!("{:X}{extension}\r\n", piece.len()).as_bytes());
            out.extend_from_slice(piece);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"0\r\n\r\n");
        out
    });
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    for size in [0, 1, 1000, 65_535, 65_536, 65_537, 1_000_000] {
        let body = pattern(size);
        let mut request = format!("POST /l HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n").into_bytes();
        request.extend_from_slice(&body);
        let got = client.ask(&request);
        assert_eq!(got.get("x-length"), Some(size.to_string().as_str()));
        assert!(got.body == body, "a body of {size} bytes comes back changed");

        let mut request = b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for piece in body.chunks(3_001) {
            request.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            request.extend_from_slice(piece);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"0\r\n\r\n");
        let got = client.ask(&request);
        assert_eq!(got.get("x-length"), Some(size.to_string().as_str()));
        assert!(got.body == body, "a chunked body of {size} bytes comes back changed");
    }
    let requests = origin.requests();
    assert!(requests.iter().filter(|r| r.target() == "/l").all(|r| !r.chunked && r.has("content-length")));
    assert!(requests.iter().filter(|r| r.target() == "/c").all(|r| r.chunked && !r.has("content-length")));
}

fn request_trailers_reach_the_origin(driver: Driver) {
    let origin = Origin::ok();
    let edge = Setup::proxy(driver, &origin).start();
    let got = edge.connect().ask(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 42\r\n\r\n",
    );
    assert_eq!(got.status(), 200);
    let request = origin.requests().remove(0);
    assert_eq!((request.text().as_str(), request.trailer("x-sum")), ("body", Some("42")));
}

const WITH_TRAILERS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Server-Timing, grpc-status\r\n\r\n\
     4\r\nbody\r\n0\r\nServer-Timing: db;dur=1\r\ngrpc-status: 0\r\n\r\n";

fn response_trailers_reach_a_client_that_wants_them(driver: Driver) {
    let origin = Origin::answering(|_| WITH_TRAILERS.into());
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    for _ in 0..2 {
        let got = client.ask("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
        assert_eq!(got.text(), "body");
        assert_eq!(
            (got.trailer("server-timing"), got.trailer("grpc-status")),
            (Some("db;dur=1"), Some("0")),
            "{got:?}"
        );
    }
    assert!(origin.requests().iter().all(|r| r.get("te") == Some("trailers")), "{:?}", origin.requests());
}

fn response_trailers_are_kept_from_a_client_that_does_not(driver: Driver) {
    let origin = Origin::answering(|_| WITH_TRAILERS.into());
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    for _ in 0..2 {
        let got = client.get("/");
        assert_eq!(got.text(), "body");
        assert!(got.trailers.is_empty(), "RFC 9110 6.5.1: {got:?}");
    }
}

fn forbidden_trailers_are_dropped(driver: Driver) {
    let origin = Origin::answering(|_| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\
          Content-Length: 7\r\nTransfer-Encoding: chunked\r\nHost: evil\r\nX-Good: 1\r\n\r\n"
            .to_vec()
    });
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    client.send(
        "POST /t HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\
         Content-Length: 5\r\nHost: evil\r\nAuthorization: evil\r\nX-Fine: 1\r\n\r\n",
    );
    // Dropping the fields and refusing the message are both safe; passing them on is not.
    if let Ok(Some(got)) = client.message(Kind::Response) {
        if got.status() == 200 {
            assert!(got.trailers.iter().all(|(n, _)| n.eq_ignore_ascii_case("x-good")), "{got:?}");
        } else {
            assert!(matches!(got.status(), 400 | 502), "{got:?}");
        }
    }
    for request in origin.requests() {
        assert!(request.trailers.iter().all(|(n, _)| n.eq_ignore_ascii_case("x-fine")), "{request:?}");
    }
}

fn chunks_are_passed_on_as_they_come(driver: Driver) {
    // The origin sends each piece only when the client says that the one before it has arrived.
    let (go, turn) = std::sync::mpsc::channel::<()>();
    let turn = std::sync::Mutex::new(turn);
    let origin = Origin::scripted(move |wire, _| {
        wire.request()?;
        wire.try_send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for i in 0..20 {
            wire.try_send(format!("9\r\ndata: {i:02}\n\r\n"))?;
            let _ = turn.lock().expect("one connection").recv();
        }
        wire.try_send("0\r\n\r\n")
    });
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head(Kind::Response).expect("a head before the body's end").expect("an answer");
    let mut seen = Vec::new();
    for i in 0..20 {
        let event = format!("data: {i:02}\n");
        while !String::from_utf8_lossy(&seen).contains(&event) {
            seen.extend(client.take(1).expect("each event arrives before the next is sent"));
        }
        go.send(()).expect("the origin waits");
    }
}

fn upload_is_passed_on_as_it_comes(driver: Driver) {
    let got = Arc::new(AtomicUsize::new(0));
    let origin = Origin::scripted({
        let got = Arc::clone(&got);
        move |wire, _| {
            let head = wire.head(Kind::Request)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            assert_eq!(ends(&head, Kind::Request), Ok(Ends::After(20)));
            for i in 1..=20 {
                wire.skip(1)?;
                got.store(i, Ordering::SeqCst);
            }
            wire.try_send(answer(200, "all"))
        }
    });
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n");
    for i in 1..=20 {
        client.send("x");
        eventually("each byte to arrive before the next is sent", || (got.load(Ordering::SeqCst) == i).then_some(()));
    }
    assert_eq!(client.response().text(), "all");
}

fn expect_is_answered_before_the_body(driver: Driver) {
    // One origin says 100 itself, the other reads on: either way the client must hear it before it sends.
    for says in [true, false] {
        let origin = Origin::scripted(move |wire, _| {
            while let Some(head) = wire.head(Kind::Request)? {
                if says && head.has("expect") {
                    wire.try_send("HTTP/1.1 100 Continue\r\n\r\n")?;
                }
                let body = wire.take(5)?;
                wire.try_send(answer(200, &String::from_utf8_lossy(&body)))?;
            }
            Ok(())
        });
        let edge = Setup::proxy(driver, &origin).start();
        let mut client = edge.connect();
        for _ in 0..2 {
            let interim = client.ask("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
            assert_eq!(interim.status(), 100, "origin that says 100: {says}");
            let last = client.ask("hello");
            assert_eq!((last.status(), last.text().as_str()), (200, "hello"), "no second 100");
        }
        // A client that does not wait gets along as well.
        client.send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhasty");
        let mut got = client.response();
        if got.status() == 100 {
            got = client.response();
        }
        assert_eq!(got.text(), "hasty");
    }
}

fn expect_with_too_large_a_body_is_refused_first(driver: Driver) {
    let origin = Origin::ok();
    let extra = Extra { policy: "max_body = \"1KiB\"", ..Extra::default() };
    let edge = Setup::proxy_with(driver, &origin, &extra).start();
    let mut client = edge.connect();
    let got = client.ask("PUT /big HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1025\r\n\r\n");
    assert_eq!(got.status(), 413, "413 and not 100: {got:?}");
    assert_eq!(origin.connections(), 0);
    assert_eq!(edge.wait_log_path("/big")["category"], "body_too_large");
    let mut fits = edge.connect();
    fits.send(format!("PUT /fits HTTP/1.1\r\nHost: a\r\nContent-Length: 1024\r\n\r\n{}", "x".repeat(1024)));
    assert_eq!(fits.response().status(), 200);
}

fn expect_refused_by_the_origin_ends_the_exchange(driver: Driver) {
    let origin = Origin::scripted(|wire, _| {
        wire.head(Kind::Request)?;
        wire.try_send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
    });
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let mut got = client.response();
    if got.status() == 100 {
        got = client.response();
    }
    assert_eq!((got.status(), got.text().as_str()), (417, "no"));
}

fn chunked_body_over_the_limit_is_refused(driver: Driver) {
    let origin = Origin::ok();
    let extra = Extra { policy: "max_body = \"1KiB\"", ..Extra::default() };
    let edge = Setup::proxy_with(driver, &origin, &extra).start();
    let mut client = edge.connect();
    let piece = format!("400\r\n{}\r\n", "x".repeat(1024));
    client.send(format!("POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{piece}1\r\nx\r\n"));
    let got = client.response();
    assert_eq!(got.status(), 413, "{got:?}");
    client.expect_end();
    assert_eq!(edge.wait_log_path("/c")["category"], "body_too_large");
    assert!(origin.requests().is_empty(), "the cut body must not look complete to the origin");
}

fn other_expectations_fail(driver: Driver) {
    let origin = Origin::ok();
    let edge = Setup::proxy(driver, &origin).start();
    let got = edge.connect().ask("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(got.status(), 417, "RFC 9110 10.1.1: {got:?}");
}

fn early_hints_only_where_asked_for(driver: Driver) {
    let answer =
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for (extra, expected) in [("early_hints_h1 = true", vec![103, 200]), ("", vec![200])] {
        let origin = Origin::answering(|_| answer.into());
        let edge = Setup::proxy_with(driver, &origin, &Extra { listener: extra, ..Extra::default() }).start();
        let mut client = edge.connect();
        for _ in 0..2 {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            for status in &expected {
                let got = client.response();
                assert_eq!(got.status(), *status, "with {extra:?}: {got:?}");
                assert_eq!(got.has("link"), *status == 103);
            }
        }
        assert_eq!(
            client.ask("GET / HTTP/1.0\r\nHost: a\r\n\r\n").status(),
            200,
            "no 1xx for HTTP/1.0 (RFC 9110 15.2)"
        );
    }
}

fn interim_answers_do_not_end_the_exchange(driver: Driver) {
    let origin = Origin::answering(|_| {
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 199 Odd\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            .to_vec()
    });
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    for _ in 0..3 {
        let got = client.get("/");
        assert_eq!((got.status(), got.text().as_str()), (200, "ok"));
    }
    assert_eq!(origin.connections(), 1);
}

fn early_final_answer_to_an_upload(driver: Driver) {
    // The origin refuses without reading the body; the client must get the refusal, whatever becomes of the rest.
    let origin = Origin::scripted(|wire, _| {
        wire.head(Kind::Request)?;
        wire.try_send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")?;
        wire.finish();
        wire.read_to_close();
        Ok(())
    });
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin");
    let got = client.response();
    assert_eq!((got.status(), got.text().as_str()), (403, "no"));
}

fn early_answer_outlasts_an_upload_that_stops(driver: Driver) {
    const PIECES: usize = 30;
    let origin = Origin::scripted(|wire, _| {
        wire.head(Kind::Request)?;
        wire.try_send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", PIECES * 100))?;
        for piece in pattern(PIECES * 100).chunks(100) {
            std::thread::sleep(Duration::from_millis(100));
            wire.try_send(piece)?;
        }
        wire.finish();
        wire.read_to_close();
        Ok(())
    });
    let extra = Extra { listener: "timeouts = { body = \"1s\" }", ..Extra::default() };
    let edge = Setup::proxy_with(driver, &origin, &extra).start();
    let addr = edge.addr();
    let upload = |framing: &str, begin: &str| {
        let mut client = Wire::connect(&addr);
        let begun = Instant::now();
        client.send(format!("POST /early HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{begin}"));
        let got = client.response();
        assert_eq!(got.status(), 200, "{got:?}");
        assert!(got.body == pattern(PIECES * 100), "{framing}: {got:?}");
        assert!(begun.elapsed() > Duration::from_secs(2), "longer than the body's timeout");
    };
    std::thread::scope(|s| {
        s.spawn(|| upload("Content-Length: 100000", "begin"));
        s.spawn(|| upload("Transfer-Encoding: chunked", "5\r\nbegin\r\n"));
        s.spawn(|| upload("Transfer-Encoding: chunked", "5\r\nbe"));
    });
}

const LARGE: usize = 256 << 20;
const UNLIMITED: Extra<'_> = Extra { listener: "", pool: "", policy: "max_body = \"off\"", route: "" };

/// Watches the edge's memory while `work` goes on and returns growth in KiB over the state before.
fn rss_growth(edge: &crate::harness::Edge, work: impl FnOnce(&mut dyn FnMut())) -> u64 {
    let before = edge.rss_kib();
    let mut most = before;
    work(&mut || most = most.max(edge.rss_kib()));
    most.max(edge.rss_kib()) - before
}

fn upload_of_256_mib_in_flat_memory(driver: Driver) {
    let origin = Origin::scripted(|wire, _| {
        while let Some(head) = wire.head(Kind::Request)? {
            if let Ok(Ends::After(n)) = ends(&head, Kind::Request) {
                wire.skip(n)?;
            }
            wire.try_send(answer(200, "got it"))?;
        }
        Ok(())
    });
    let edge = Setup::proxy_with(driver, &origin, &UNLIMITED).start();
    let mut client = edge.connect();
    assert_eq!(client.get("/warm").status(), 200);
    let piece = pattern(1 << 20);
    let grown = rss_growth(&edge, |look| {
        client.send(format!("PUT /up HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"));
        for _ in 0..LARGE / piece.len() {
            client.send(&piece);
            look();
        }
        assert_eq!(client.response().text(), "got it");
    });
    assert!(grown <= 4096, "memory grew by {grown} KiB");
    assert_eq!(edge.wait_log_path("/up")["bytes_in"].as_u64().map(|n| n >= LARGE as u64), Some(true));
}

fn download_of_256_mib_in_flat_memory(driver: Driver) {
    let origin = Origin::scripted(|wire, _| {
        let piece = pattern(1 << 20);
        while let Some(request) = wire.request()? {
            if request.target() == "/warm" {
                wire.try_send(answer(200, "warm"))?;
                continue;
            }
            wire.try_send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"))?;
            for _ in 0..LARGE / piece.len() {
                wire.try_send(&piece)?;
            }
        }
        Ok(())
    });
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    assert_eq!(client.get("/warm").status(), 200);
    let grown = rss_growth(&edge, |look| {
        client.send("GET /down HTTP/1.1\r\nHost: a\r\n\r\n");
        client.head(Kind::Response).expect("an answer").expect("an answer");
        for _ in 0..LARGE >> 20 {
            client.skip(1 << 20).expect("the whole body");
            look();
        }
    });
    assert!(grown <= 4096, "memory grew by {grown} KiB");
    assert_eq!(client.get("/warm").status(), 200, "the connection goes on");
}

/// Sends until the peer takes no more for a while; returns how much it took.
fn send_until_stuck(wire: &mut Wire, limit: usize) -> usize {
    wire.patience(Duration::from_millis(400));
    let piece = pattern(64 << 10);
    let mut sent = 0;
    while sent < limit {
        match wire.try_send(&piece) {
            Ok(()) => sent += piece.len(),
            Err(e) if timed_out(&e) => break,
            Err(e) => panic!("sending: {e}"),
        }
    }
    sent
}

/// Socket buffers of two loopback connections may hold this much; the edge itself at most 64 KiB of it.
const STUCK_BELOW: usize = 40 << 20;

fn slow_reader_holds_the_origin_back(driver: Driver) {
    let sent = Arc::new(AtomicUsize::new(usize::MAX));
    let origin = Origin::scripted({
        let sent = Arc::clone(&sent);
        move |wire, _| {
            wire.request()?;
            wire.try_send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"))?;
            sent.store(send_until_stuck(wire, LARGE), Ordering::SeqCst);
            Ok(())
        }
    });
    let edge = Setup::proxy(driver, &origin).start();
    edge.addr();
    let before = edge.rss_kib();
    let mut client = edge.connect();
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head(Kind::Response).expect("an answer").expect("an answer");
    eventually("the origin to get stuck", || (sent.load(Ordering::SeqCst) != usize::MAX).then_some(()));
    let sent = sent.load(Ordering::SeqCst);
    assert!(sent < STUCK_BELOW, "the edge took {sent} bytes for a client that reads nothing");
    let grown = edge.rss_kib().saturating_sub(before);
    assert!(grown <= 4096, "memory grew by {grown} KiB");
}

fn slow_origin_holds_the_client_back(driver: Driver) {
    let origin = Origin::scripted(|wire, _| {
        wire.head(Kind::Request)?;
        wire.patience(Duration::from_secs(60));
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) && wire.fill()? > 0 && wire.unread().len() < 100 {}
        // Reads nothing more until the edge goes away.
        std::thread::park_timeout(Duration::from_secs(5));
        Ok(())
    });
    let edge = Setup::proxy_with(driver, &origin, &UNLIMITED).start();
    let mut client = edge.connect();
    client.send(format!("PUT /slow HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"));
    let sent = send_until_stuck(&mut client, LARGE);
    assert!(sent < STUCK_BELOW, "the edge took {sent} bytes for an origin that reads nothing");
}
