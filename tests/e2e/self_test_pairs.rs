//! The judges judged, over every protocol: clients and origins of the harness against each other, without an edge.
use crate::harness::{
    Ask, Client, Origin, Protocol, Reply, eventually, exchange::Fields, http2::reason, pattern, served::Order, tls,
};
use h2::Reason;
use std::{io, time::Duration};

crate::suite!("self_test_pairs";
    once:
        whole_messages_go_both_ways,
        pieces_go_both_ways_at_once,
        interim_answers_and_trailers_arrive,
        messages_without_a_body,
        many_exchanges_at_once,
        cancelled_requests_are_noticed,
        cut_answers_do_not_look_whole,
        reset_streams_have_their_code,
        goaway_ends_a_connection_in_order,
        a_slow_reader_holds_the_origin_back,
        websockets_echo,
        tls_trusts_only_its_authority,
);

fn each(test: impl Fn(Protocol)) {
    Protocol::UP.into_iter().for_each(test);
}

/// A client of an origin, with nothing between them.
fn straight(protocol: Protocol, origin: &Origin) -> Client {
    let config = tls::client(&[protocol.alpn()]);
    Client::with_tls(protocol, origin.addr(), config, tls::ORIGIN_NAME).expect("the origin accepts")
}

fn whole_messages_go_both_ways() {
    each(|protocol| {
        let origin = Origin::replying(protocol, |r| {
            Reply::new(201, &r.body)
                .field("X-Method", r.method())
                .field("X-Target", r.target())
                .field("X-Latin", b"\xe9")
        });
        let client = straight(protocol, &origin);
        for size in [0, 1, 100_000, 2_000_000] {
            let body = pattern(size);
            let got =
                client.ask(Ask::post("/a?b=c", &body).host("shop.test").field("X-Twice", "1").field("X-Twice", "2"));
            assert_eq!((got.status(), got.get("x-method"), got.get("x-target")), (201, Some("POST"), Some("/a?b=c")));
            assert!(got.body == body, "{protocol}: {size} bytes come back changed");
            assert_eq!(got.get("content-length"), Some(size.to_string().as_str()));
        }
        let seen = origin.requests().remove(3);
        assert_eq!((seen.method(), seen.target(), seen.get("host")), ("POST", "/a?b=c", Some("shop.test")));
        assert_eq!((seen.all("x-twice"), seen.body.len()), (vec!["1", "2"], 2_000_000));
        assert_eq!((origin.connections(), origin.begun().len()), (1, 4), "{protocol}");
        drop(client);
        origin.wait_idle();
    });
}

fn pieces_go_both_ways_at_once() {
    each(|protocol| {
        let origin = Origin::serving(protocol, |served| {
            served.begin(200, &Fields::new(), None)?;
            while let Some(piece) = served.next()? {
                served.send(piece)?;
            }
            served.finish(&Fields::new())
        });
        let client = straight(protocol, &origin);
        for length in [None, Some(30)] {
            let mut call = client.begin(Ask::upload("/echo", length));
            assert_eq!(call.head().status(), 200);
            for i in 0..10 {
                call.send(format!("{i:03}"));
                assert_eq!(call.take(3), format!("{i:03}").as_bytes(), "{protocol}");
            }
            call.finish();
            assert_eq!(call.next().expect("an end"), None);
        }
    });
}

fn interim_answers_and_trailers_arrive() {
    each(|protocol| {
        let origin = Origin::serving(protocol, |served| {
            if served.head().has("expect") {
                served.interim(100, &Fields::new())?;
            }
            let request = served.request()?;
            let sum = request.trailer("x-sum").unwrap_or("-").to_owned();
            served.reply(&Reply::new(200, "body").interim(103, "Link", "</a.css>").trailer("X-Sum", &sum))
        });
        let client = straight(protocol, &origin);
        for _ in 0..2 {
            let mut call = client.begin(Ask::upload("/", None).field("Expect", "100-continue"));
            assert_eq!(call.next_head().expect("a head").status(), 100);
            call.send("body");
            call.finish_with(&vec![("X-Sum".to_owned(), b"42".to_vec())]);
            let hint = call.next_head().expect("a head");
            assert_eq!((hint.status(), hint.get("link")), (103, Some("</a.css>")));
            let got = call.response();
            assert_eq!((got.status(), got.text().as_str(), got.trailer("x-sum")), (200, "body", Some("42")));
        }
        assert_eq!(origin.requests()[1].trailer("x-sum"), Some("42"));
    });
}

fn messages_without_a_body() {
    each(|protocol| {
        let origin = Origin::replying(protocol, |r| match r.target() {
            "/204" => Reply::new(204, ""),
            "/304" => Reply::new(304, "").field("ETag", "\"x\"").length(999),
            "/empty" => Reply::new(200, ""),
            _ => Reply::new(200, "").length(12_345),
        });
        let client = straight(protocol, &origin);
        for _ in 0..2 {
            assert_eq!(client.ask(Ask::new("HEAD", "/")).get("content-length"), Some("12345"));
            let none = client.get("/204");
            assert!(none.status() == 204 && !none.has("content-length"), "{none:?}");
            assert_eq!(client.get("/304").get("content-length"), Some("999"));
            assert_eq!(client.get("/empty").status(), 200);
        }
        assert_eq!(origin.connections(), 1, "{protocol}");
    });
}

fn many_exchanges_at_once() {
    each(|protocol| {
        let origin = Origin::serving(protocol, |served| {
            served.request()?;
            served.begin(200, &Fields::new(), None)?;
            served.wait_cancel()
        });
        let client = straight(protocol, &origin);
        let calls: Vec<_> = (0..100).map(|i| client.begin(Ask::get(&format!("/{i}")))).collect();
        eventually("a hundred at once", || (origin.active() == 100).then_some(()));
        assert_eq!(origin.connections(), if protocol.http2() { 1 } else { 100 });
        calls.into_iter().for_each(crate::harness::Call::cancel);
        origin.wait_quiet();
    });
}

fn cancelled_requests_are_noticed() {
    each(|protocol| {
        for answered in [false, true] {
            let origin = Origin::serving(protocol, move |served| {
                if answered {
                    served.begin(200, &Fields::new(), None)?;
                    served.send("x")?;
                }
                served.wait_cancel()
            });
            let client = straight(protocol, &origin);
            let mut call = client.begin(Ask::get("/"));
            origin.wait_begun(1);
            if answered {
                assert_eq!(call.head().status(), 200);
                call.take(1);
            }
            call.cancel();
            origin.wait_quiet();
            assert_eq!(origin.open() == 1, protocol.http2(), "only HTTP/2 keeps its connection");
        }
    });
}

fn cut_answers_do_not_look_whole() {
    each(|protocol| {
        for (length, trailing) in [(Some(100), "length"), (None, "streamed")] {
            let origin = Origin::serving(protocol, move |served| {
                served.begin(200, &Fields::new(), length)?;
                served.send("ten bytes.")
            });
            let client = straight(protocol, &origin);
            let cut = client.try_ask(Ask::get("/")).expect_err("a cut answer");
            assert_ne!(cut.kind(), io::ErrorKind::TimedOut, "{protocol} {trailing}: {cut}");
        }
    });
}

fn reset_streams_have_their_code() {
    for protocol in [Protocol::H2, Protocol::H2c] {
        let origin = Origin::serving(protocol, |served| {
            let begun = served.target() == "/begun";
            if begun {
                served.begin(200, &Fields::new(), None)?;
                served.send("x")?;
            }
            served.reset(if begun { Reason::INTERNAL_ERROR } else { Reason::REFUSED_STREAM });
            Ok(())
        });
        let client = straight(protocol, &origin);
        for (target, code) in [("/begun", Reason::INTERNAL_ERROR), ("/", Reason::REFUSED_STREAM)] {
            let e = client.try_ask(Ask::get(target)).expect_err("a reset");
            assert_eq!(reason(&e), Some(code), "{e}");
        }
    }
}

fn goaway_ends_a_connection_in_order() {
    for protocol in [Protocol::H2, Protocol::H2c] {
        let origin = Origin::serving(protocol, |served| {
            served.order(Order::GoAway);
            std::thread::sleep(Duration::from_millis(20));
            served.answer(&Reply::new(200, "last"))
        });
        let client = straight(protocol, &origin);
        let call = client.begin(Ask::get("/"));
        client.wait_go_away().expect("GOAWAY");
        assert_eq!(call.response().text(), "last");
        client.wait_end().expect("an end in order");
        origin.wait_idle();
    }
}

fn a_slow_reader_holds_the_origin_back() {
    each(|protocol| {
        let origin = Origin::serving(protocol, |served| {
            served.begin(200, &Fields::new(), None)?;
            let piece = pattern(1 << 16);
            loop {
                served.send(&piece)?;
            }
        });
        let client = straight(protocol, &origin);
        let mut call = client.begin(Ask::get("/"));
        assert_eq!(call.head().status(), 200);
        call.take(1 << 16);
        drop(call);
        origin.wait_quiet();
    });
}

fn websockets_echo() {
    each(|protocol| {
        let origin = Origin::echoing(protocol);
        let client = straight(protocol, &origin);
        let mut ws = client.websocket("/ws");
        let large = pattern(1 << 20);
        ws.send(tungstenite::Message::binary(large.clone())).expect("sent");
        assert!(ws.read().expect("an echo").into_data() == large, "{protocol}");
        ws.send(tungstenite::Message::text("hello")).expect("sent");
        assert_eq!(ws.read().expect("an echo").to_text().expect("text"), "hello");
        ws.close(None).expect("a close frame");
        while ws.read().is_ok() {}
        drop(ws);
        origin.wait_quiet();
    });
}

fn tls_trusts_only_its_authority() {
    for protocol in [Protocol::H1Tls, Protocol::H2] {
        let stranger = tls::Authority::new("nobody knows").issue(&[tls::EDGE_NAME]);
        let origin =
            Origin::serving_with(protocol, stranger.server(&[protocol.alpn()]), |s| s.answer(&Reply::new(200, "")));
        assert!(Client::try_connect(protocol, origin.addr()).is_err(), "an unknown authority");
        let good = tls::pki().edge.clone();
        let origin =
            Origin::serving_with(protocol, good.server(&[protocol.alpn()]), |s| s.answer(&Reply::new(200, "ok")));
        assert_eq!(Client::connect(protocol, origin.addr()).get("/").text(), "ok");
        let wrong = Client::with_tls(protocol, origin.addr(), tls::client(&[protocol.alpn()]), "elsewhere.example");
        assert!(wrong.is_err(), "a name that the certificate does not have");
    }
}
