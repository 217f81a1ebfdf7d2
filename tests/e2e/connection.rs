//! One connection, many requests: keep-alive, pipelining, old versions, targets, messages without a body.
use crate::harness::{
    Driver, Message, Origin, Pair, Reply, Setup,
    origin::{answer, answer_with},
    peers::{HyperOrigin, hyper_ask},
};
use bytes::Bytes;
use hyper::Request;

crate::suite!("connection";
    each_pair:
        keep_alive_reuses_both_connections;
    each_driver:
        pipelined_answers_keep_their_order,
        pipelining_deeper_than_the_queue_still_answers_all,
        pipelined_requests_in_single_bytes,
        http10_closes_unless_asked_to_stay,
        close_is_honoured_and_announced,
        origin_close_does_not_close_the_client,
        absolute_form_names_the_host,
        options_asterisk_passes,
        connect_is_refused,
        empty_lines_before_a_request_are_skipped,
        hyper_on_both_sides;
);

fn echo_target(request: &Message) -> Vec<u8> {
    answer(200, request.target())
}

fn keep_alive_reuses_both_connections(at: Pair) {
    let origin = Origin::replying(at.up, |r| Reply::new(200, r.target()));
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    for i in 0..50 {
        let got = client.get(&format!("/{i}"));
        assert_eq!((got.status(), got.text()), (200, format!("/{i}")));
        assert!(!got.has("connection"), "{got:?}");
    }
    assert_eq!(origin.connections(), 1, "the idle upstream connection is used again");
    let accepts = edge.metrics().sum("edge_accepts_total", &[("listener", "web")]);
    assert_eq!(accepts, 1.0, "and so is the client's");
}

fn pipelined_answers_keep_their_order(driver: Driver) {
    // The first answer is the slowest: it waits until the others could have overtaken it.
    let origin = Origin::answering(|r| {
        let size = if r.target() == "/0" { 300_000 } else { 10 };
        answer_with(200, &format!("X-Target: {}\r\n", r.target()), &vec![b'x'; size])
    });
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    let all: String = (0..8).map(|i| format!("GET /{i} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    client.send(all);
    for i in 0..8 {
        let got = client.response();
        assert_eq!(got.get("x-target"), Some(format!("/{i}").as_str()));
    }
}

fn pipelining_deeper_than_the_queue_still_answers_all(driver: Driver) {
    let origin = Origin::answering(echo_target);
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    let all: String = (0..200)
        .map(|i| match i % 3 {
            0 => format!("GET /{i} HTTP/1.1\r\nHost: a\r\n\r\n"),
            1 => format!("POST /{i} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /"),
            _ => format!("POST /{i} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        })
        .collect();
    client.send(all);
    for i in 0..200 {
        assert_eq!(client.response().text(), format!("/{i}"));
    }
    assert_eq!(origin.requests().len(), 200);
}

fn pipelined_requests_in_single_bytes(driver: Driver) {
    let origin = Origin::answering(|r| answer(200, &format!("{} {}", r.target(), r.text())));
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    let all = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n\
               POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n\
               POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nyou";
    for byte in all.bytes() {
        client.send([byte]);
    }
    let got: Vec<String> = (0..3).map(|_| client.response().text()).collect();
    assert_eq!(got, ["/a ", "/b hi", "/c you"]);
}

fn http10_closes_unless_asked_to_stay(driver: Driver) {
    let origin = Origin::answering(echo_target);
    let edge = Setup::proxy(driver, &origin).start();
    let mut plain = edge.connect();
    assert_eq!(plain.ask("GET /old HTTP/1.0\r\nHost: a\r\n\r\n").text(), "/old");
    plain.expect_end();

    let mut hostless = edge.connect();
    assert_eq!(hostless.ask("GET /hostless HTTP/1.0\r\n\r\n").status(), 200, "HTTP/1.0 needs no Host");

    let mut staying = edge.connect();
    let got = staying.ask("GET /stay HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    assert!(got.get("connection").is_some_and(|c| c.eq_ignore_ascii_case("keep-alive")), "{got:?}");
    assert_eq!(staying.ask("GET /again HTTP/1.0\r\nHost: a\r\n\r\n").text(), "/again");
    staying.expect_end();

    // An HTTP/1.0 client does not know chunks: the body ends with the connection.
    let chunked =
        Origin::answering(|_| b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_vec());
    let edge = Setup::proxy(driver, &chunked).start();
    let mut client = edge.connect();
    let got = client.ask("GET /c HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    assert!(!got.has("transfer-encoding"), "{got:?}");
    assert_eq!(got.text(), "hello");
}

fn close_is_honoured_and_announced(driver: Driver) {
    let origin = Origin::answering(echo_target);
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    let got =
        client.ask("GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(got.get("connection").map(str::to_ascii_lowercase).as_deref(), Some("close"));
    client.expect_end();
    assert_eq!(edge.connect().get("/after").status(), 200);
    assert_eq!(origin.requests().iter().map(Message::target).collect::<Vec<_>>(), ["/last", "/after"]);
    assert_eq!(origin.connections(), 1, "the client's Connection: close says nothing about the upstream connection");
}

fn origin_close_does_not_close_the_client(driver: Driver) {
    let origin = Origin::scripted(|wire, _| {
        wire.request()?;
        wire.try_send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end")
    });
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    for _ in 0..3 {
        let got = client.get("/");
        assert_eq!(got.text(), "until the end");
        assert!(got.chunked && !got.has("connection"), "{got:?}");
    }
    assert_eq!(origin.connections(), 3);
}

fn absolute_form_names_the_host(driver: Driver) {
    let origin = Origin::answering(|r| answer(200, &format!("{} {}", r.get("host").unwrap_or("-"), r.target())));
    let edge = Setup::proxy(driver, &origin).start();
    let got = edge.connect().ask("GET http://right.test/p?q=1 HTTP/1.1\r\nHost: right.test\r\n\r\n");
    assert_eq!(got.text(), "right.test /p?q=1");
    // RFC 9112 3.2.2 lets the target win; who sends two names wants two parsers to differ, so it is refused instead.
    let got = edge.connect().ask("GET http://right.test/p?q=1 HTTP/1.1\r\nHost: wrong.test\r\n\r\n");
    assert!(got.status() == 400 || got.text() == "right.test /p?q=1", "{got:?}");
    let got = edge.connect().ask("GET http://right.test HTTP/1.1\r\nHost: right.test\r\n\r\n");
    assert_eq!(got.text(), "right.test /");
}

fn options_asterisk_passes(driver: Driver) {
    let origin = Origin::answering(echo_target);
    let edge = Setup::proxy(driver, &origin).start();
    let got = edge.connect().ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    // "*" names no path, so a route for "/" may or may not take it; either is an answer, a malformed target is not.
    match got.status() {
        200 => assert_eq!(got.text(), "*"),
        status => assert!(matches!(status, 204 | 400 | 404), "{got:?}"),
    }
}

fn connect_is_refused(driver: Driver) {
    let origin = Origin::answering(echo_target);
    let edge = Setup::proxy(driver, &origin).start();
    let got = edge.connect().ask("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n");
    assert_eq!(got.status(), 405, "{got:?}");
    assert_eq!(origin.connections(), 0);
}

fn empty_lines_before_a_request_are_skipped(driver: Driver) {
    let origin = Origin::answering(echo_target);
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    assert_eq!(client.ask("\r\nGET /one HTTP/1.1\r\nHost: a\r\n\r\n").text(), "/one");
    assert_eq!(client.ask("\r\nGET /two HTTP/1.1\r\nHost: a\r\n\r\n").text(), "/two");
}

fn hyper_on_both_sides(driver: Driver) {
    let origin = HyperOrigin::start();
    let text = format!(
        "[[listener]]\nname = \"web\"\naddress = [\"127.0.0.1:0\"]\n[pool.app]\nendpoints = [{}]\n\
         [[route]]\nid = \"all\"\nmatch = {{ path_prefix = \"/\" }}\npool = \"app\"\n",
        origin.endpoint()
    );
    let edge = Setup::new(driver).text(&text).start();
    let ask = |method: &str, path: &str| {
        Request::builder().method(method).uri(path).header("host", "a").body(()).expect("a request")
    };
    let pieces: Vec<Bytes> = (0..20u8).map(|i| Bytes::from(vec![i; 10_000])).collect();
    let sent = pieces.concat();
    let requests = vec![
        (ask("GET", "/hello"), vec![]),
        (ask("POST", "/echo"), pieces),
        (ask("POST", "/echo"), vec![Bytes::from_static(b"whole")]),
        (ask("HEAD", "/bytes/1000"), vec![]),
        (ask("GET", "/bytes/1000000"), vec![]),
    ];
    let got = hyper_ask(&edge.addr(), requests);
    assert!(got.iter().all(|a| a.status == 200), "{got:?}");
    assert!(String::from_utf8_lossy(&got[0].body).starts_with("GET /hello\n"));
    assert!(got[1].body == sent, "an echoed chunked body");
    assert_eq!(got[2].body, b"whole");
    assert_eq!(got[3].fields["content-length"], "1000");
    assert!(got[4].body == crate::harness::pattern(1_000_000));
}
