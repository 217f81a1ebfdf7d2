//! Bodies in both directions: chunks, trailers, 100-continue, 1xx, and answers before the end of the request.
use crate::harness::{
    Ask, Driver, Origin, Pair, Reply, Setup, edge::Extra, eventually, exchange::Fields, pattern, served::Order,
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

crate::suite!("body";
    each_pair:
        bodies_arrive_whole,
        request_trailers_reach_the_origin,
        response_trailers_reach_a_client_that_wants_them,
        forbidden_trailers_are_dropped,
        pieces_are_passed_on_as_they_come,
        upload_is_passed_on_as_it_comes,
        expect_is_answered_before_the_body,
        expect_refused_by_the_origin_ends_the_exchange,
        early_hints_only_where_asked_for,
        interim_answers_do_not_end_the_exchange,
        early_final_answer_to_an_upload;
    each_downstream:
        expect_with_too_large_a_body_is_refused_first,
        streamed_body_over_the_limit_is_refused,
        other_expectations_fail;
    some_pairs:
        early_answer_outlasts_an_upload_that_stops;
    from_h1:
        response_trailers_are_kept_from_a_client_that_does_not;
    each_driver:
        chunks_of_any_shape_arrive_whole,
        http10_gets_no_interim_answer;
);

fn none() -> Fields {
    Fields::new()
}

fn bodies_arrive_whole(at: Pair) {
    let origin = Origin::serving(at.up, |served| {
        let request = served.request()?;
        let length = request.body.len().to_string();
        served.begin(200, &vec![("X-Length".to_owned(), length.into_bytes())], None)?;
        for piece in request.body.chunks(7_777) {
            served.send(piece)?;
        }
        served.finish(&none())
    });
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    for size in [0, 1, 1000, 65_535, 65_536, 65_537, 1_000_000] {
        let body = pattern(size);
        let got = client.ask(Ask::post("/l", &body).host("a"));
        assert_eq!(got.get("x-length"), Some(size.to_string().as_str()), "{got:?}");
        assert!(got.body == body, "a body of {size} bytes comes back changed");

        let mut call = client.begin(Ask::upload("/c", None).host("a"));
        body.chunks(3_001).for_each(|piece| call.send(piece));
        call.finish();
        let got = call.response();
        assert_eq!(got.get("x-length"), Some(size.to_string().as_str()), "{got:?}");
        assert!(got.body == body, "a streamed body of {size} bytes comes back changed");
    }
    let requests = origin.requests();
    let framed = |target: &'static str| requests.iter().filter(move |r| r.target() == target);
    assert!(framed("/l").all(|r| !r.chunked && r.has("content-length")));
    assert!(framed("/c").all(|r| r.chunked != at.up.http2() || r.body.is_empty()), "{requests:?}");
    assert!(framed("/c").all(|r| !r.has("content-length") || r.body.is_empty()), "{requests:?}");
}

fn request_trailers_reach_the_origin(at: Pair) {
    let origin = Origin::fine(at.up);
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    for body in ["body", ""] {
        let mut call = client.begin(Ask::upload("/", None).host("a").field("Trailer", "X-Sum"));
        call.send(body);
        call.finish_with(&vec![("X-Sum".to_owned(), b"42".to_vec())]);
        assert_eq!(call.response().status(), 200);
        let request = origin.requests().pop().expect("the request at the origin");
        assert_eq!((request.text().as_str(), request.trailer("x-sum")), (body, Some("42")), "{request:?}");
    }
}

fn with_trailers(at: Pair) -> Origin {
    Origin::replying(at.up, |_| {
        Reply::new(200, "body")
            .field("Trailer", "Server-Timing, grpc-status")
            .trailer("Server-Timing", "db;dur=1")
            .trailer("grpc-status", "0")
    })
}

fn response_trailers_reach_a_client_that_wants_them(at: Pair) {
    let origin = with_trailers(at);
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    for _ in 0..2 {
        let got = client.ask(client.wanting_trailers(Ask::get("/").host("a")));
        assert_eq!(got.text(), "body");
        let trailers = (got.trailer("server-timing"), got.trailer("grpc-status"));
        assert_eq!(trailers, (Some("db;dur=1"), Some("0")), "{got:?}");
    }
    assert!(origin.requests().iter().all(|r| r.get("te") == Some("trailers")), "{:?}", origin.requests());
}

fn response_trailers_are_kept_from_a_client_that_does_not(at: Pair) {
    let origin = with_trailers(at);
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    for _ in 0..2 {
        let got = client.get("/");
        assert_eq!(got.text(), "body");
        assert!(got.trailers.is_empty(), "RFC 9110 6.5.1: {got:?}");
    }
}

fn forbidden_trailers_are_dropped(at: Pair) {
    let origin = Origin::replying(at.up, |_| {
        Reply::new(200, "ok").trailer("Content-Length", "7").trailer("Host", "evil").trailer("X-Good", "1")
    });
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    let mut call = client.begin(client.wanting_trailers(Ask::upload("/t", None).host("a")));
    call.send("x");
    let line = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    let forbidden = [line("Content-Length", "5"), line("Host", "evil"), line("Authorization", "evil")];
    call.finish_with(&[forbidden.to_vec(), vec![line("X-Fine", "1")]].concat());
    // Dropping the fields and refusing the message are both safe; passing them on is not.
    if let Ok(got) = call.whole() {
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

fn pieces_are_passed_on_as_they_come(at: Pair) {
    // The origin sends each piece only when the client says that the one before it has arrived.
    let (go, turn) = mpsc::channel::<()>();
    let turn = Mutex::new(turn);
    let origin = Origin::serving(at.up, move |served| {
        served.request()?;
        served.begin(200, &vec![("Content-Type".to_owned(), b"text/event-stream".to_vec())], None)?;
        for i in 0..20 {
            served.send(format!("data: {i:02}\n"))?;
            let _ = turn.lock().expect("one exchange").recv();
        }
        served.finish(&none())
    });
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    let mut call = client.begin(Ask::get("/events").host("a"));
    assert_eq!(call.head().get("content-type"), Some("text/event-stream"));
    for i in 0..20 {
        assert_eq!(String::from_utf8_lossy(&call.take(9)), format!("data: {i:02}\n"), "before the next is sent");
        go.send(()).expect("the origin waits");
    }
    assert_eq!(call.next().expect("an end"), None);
}

fn upload_is_passed_on_as_it_comes(at: Pair) {
    for length in [Some(20), None] {
        let got = Arc::new(AtomicUsize::new(0));
        let origin = Origin::serving(at.up, {
            let got = Arc::clone(&got);
            move |served| {
                while let Some(piece) = served.next()? {
                    got.fetch_add(piece.len(), Ordering::SeqCst);
                }
                served.reply(&Reply::new(200, "all"))
            }
        });
        let edge = Setup::pair(at, &origin).start();
        let client = edge.client();
        let mut call = client.begin(Ask::upload("/", length).host("a"));
        for i in 1..=20 {
            call.send("x");
            eventually("each byte to arrive before the next is sent", || {
                (got.load(Ordering::SeqCst) == i).then_some(())
            });
        }
        call.finish();
        assert_eq!(call.response().text(), "all");
        assert_eq!(origin.requests()[0].get("content-length"), length.map(|_| "20"));
    }
}

fn expect_is_answered_before_the_body(at: Pair) {
    // One origin says 100 itself, the other reads on: either way the client must hear it before it sends.
    for says in [true, false] {
        let origin = Origin::serving(at.up, move |served| {
            if says && served.head().has("expect") {
                served.interim(100, &none())?;
            }
            let body = served.request()?.body;
            served.reply(&Reply::new(200, body))
        });
        let edge = Setup::pair(at, &origin).start();
        let client = edge.client();
        let put = || Ask::upload("/", Some(5)).host("a").field("Expect", "100-continue");
        for _ in 0..2 {
            let mut call = client.begin(put());
            let interim = call.next_head().expect("an interim answer");
            assert_eq!(interim.status(), 100, "origin that says 100: {says}");
            call.send("hello");
            call.finish();
            let last = call.next_head().expect("a final answer");
            assert_eq!(last.status(), 200, "no second 100");
            assert_eq!(call.response().text(), "hello");
        }
        // A client that does not wait gets along as well.
        let mut hasty = client.begin(put());
        hasty.send("hasty");
        hasty.finish();
        assert_eq!(hasty.response().text(), "hasty");
    }
}

fn expect_with_too_large_a_body_is_refused_first(at: Pair) {
    let origin = Origin::fine(at.up);
    let extra = Extra { policy: "max_body = \"1KiB\"", ..Extra::default() };
    let edge = Setup::pair_with(at, &origin, &extra).start();
    let client = edge.client();
    let mut call = client.begin(Ask::upload("/big", Some(1025)).host("a").field("Expect", "100-continue"));
    let got = call.next_head().expect("an answer");
    assert_eq!(got.status(), 413, "413 and not 100: {got:?}");
    drop(call);
    assert_eq!(origin.connections(), 0);
    assert_eq!(edge.wait_log_path("/big")["category"], "body_too_large");
    assert_eq!(edge.client().ask(Ask::post("/fits", "x".repeat(1024))).status(), 200);
}

fn expect_refused_by_the_origin_ends_the_exchange(at: Pair) {
    let origin = Origin::serving(at.up, |served| {
        served.reply(&Reply::new(417, "no"))?;
        served.order(Order::GoAway);
        Ok(())
    });
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    let call = client.begin(Ask::upload("/", Some(5)).host("a").field("Expect", "100-continue"));
    let got = call.response();
    assert_eq!((got.status(), got.text().as_str()), (417, "no"));
}

fn streamed_body_over_the_limit_is_refused(at: Pair) {
    let origin = Origin::fine(at.up);
    let extra = Extra { policy: "max_body = \"1KiB\"", ..Extra::default() };
    let edge = Setup::pair_with(at, &origin, &extra).start();
    let client = edge.client();
    let mut call = client.begin(Ask::upload("/c", None).host("a"));
    call.send("x".repeat(1024));
    call.send("x");
    let got = call.response();
    assert_eq!(got.status(), 413, "{got:?}");
    assert_eq!(edge.wait_log_path("/c")["category"], "body_too_large");
    assert!(origin.requests().is_empty(), "the cut body must not look complete to the origin");
    origin.wait_quiet();
}

fn other_expectations_fail(at: Pair) {
    let origin = Origin::fine(at.up);
    let edge = Setup::pair(at, &origin).start();
    let got = edge.client().ask(Ask::post("/", "x").host("a").field("Expect", "200-ok"));
    assert_eq!(got.status(), 417, "RFC 9110 10.1.1: {got:?}");
}

fn early_hints_only_where_asked_for(at: Pair) {
    let origin = Origin::replying(at.up, |_| Reply::new(200, "ok").interim(103, "Link", "</a.css>; rel=preload"));
    for listener in ["early_hints_h1 = true", ""] {
        let edge = Setup::pair_with(at, &origin, &Extra { listener, ..Extra::default() }).start();
        let client = edge.client();
        for _ in 0..2 {
            let mut call = client.begin(Ask::get("/").host("a"));
            // Every HTTP/2 client can take them (RFC 8297 3 warns of HTTP/1.1 ones).
            if at.down.multiplexed() || !listener.is_empty() {
                let hints = call.next_head().expect("a head");
                assert_eq!((hints.status(), hints.get("link")), (103, Some("</a.css>; rel=preload")), "{hints:?}");
            }
            let last = call.next_head().expect("a head");
            assert_eq!((last.status(), last.has("link")), (200, false), "with {listener:?}: {last:?}");
            assert_eq!(call.response().text(), "ok");
        }
    }
}

fn http10_gets_no_interim_answer(driver: Driver) {
    let origin = Origin::answering(|_| {
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()
    });
    let extra = Extra { listener: "early_hints_h1 = true", ..Extra::default() };
    let edge = Setup::proxy_with(driver, &origin, &extra).start();
    assert_eq!(edge.connect().ask("GET / HTTP/1.0\r\nHost: a\r\n\r\n").status(), 200, "RFC 9110 15.2");
}

fn interim_answers_do_not_end_the_exchange(at: Pair) {
    let origin = Origin::replying(at.up, |_| {
        Reply::new(200, "ok").interim(102, "X-A", "1").interim(100, "X-B", "2").interim(199, "X-C", "3")
    });
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    for _ in 0..3 {
        let got = client.get("/");
        assert_eq!((got.status(), got.text().as_str()), (200, "ok"));
    }
    assert_eq!(origin.connections(), 1);
}

fn early_final_answer_to_an_upload(at: Pair) {
    // The origin refuses without reading the body; the client must get the refusal, whatever becomes of the rest.
    let origin = Origin::serving(at.up, |served| {
        served.reply(&Reply::new(403, "no").streamed())?;
        if !served.is_http2() {
            served.order(Order::Cut);
        }
        Ok(())
    });
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    let mut call = client.begin(Ask::upload("/", Some(1_000_000)).host("a"));
    // The answer may be there already.
    let _ = call.try_send("begin");
    let got = call.response();
    assert_eq!((got.status(), got.text().as_str()), (403, "no"));
}

fn early_answer_outlasts_an_upload_that_stops(at: Pair) {
    const PIECES: usize = 30;
    let origin = Origin::serving(at.up, |served| {
        served.begin(200, &none(), Some(PIECES * 100))?;
        for piece in pattern(PIECES * 100).chunks(100) {
            std::thread::sleep(Duration::from_millis(100));
            served.send(piece)?;
        }
        served.finish(&none())?;
        let _ = served.skip();
        Ok(())
    });
    let extra = Extra { listener: "timeouts = { body = \"1s\" }", ..Extra::default() };
    let edge = Setup::pair_with(at, &origin, &extra).start();
    let upload = |length: Option<usize>, begin: &str| {
        let client = edge.client();
        let begun = Instant::now();
        let mut call = client.begin(Ask::upload("/early", length).host("a"));
        call.send(begin);
        let got = call.response();
        assert_eq!(got.status(), 200, "{got:?}");
        assert!(got.body == pattern(PIECES * 100), "{length:?}: {got:?}");
        assert!(begun.elapsed() > Duration::from_secs(2), "longer than the body's timeout");
    };
    std::thread::scope(|s| {
        s.spawn(|| upload(Some(100_000), "begin"));
        s.spawn(|| upload(None, "begin"));
    });
}

fn chunks_of_any_shape_arrive_whole(driver: Driver) {
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
    for size in [0, 1, 65_537] {
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
