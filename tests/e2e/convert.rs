//! From one version of HTTP to the other: nothing that means something there gets through from where it means nothing.
use crate::harness::{
    Ask, Edge, Origin, Pair, Protocol, Reply, Setup,
    edge::{Extra, listener_text},
    exchange::Fields,
    frames::{END_HEADERS, END_STREAM, Outcome, Peer, RawClient, block, frame, kind},
    http3,
    message::Kind,
    served::Order,
    wire::{Stream, Wire},
};

crate::suite!("convert";
    from_streams:
        malformed_requests_reach_no_origin,
        bodies_of_another_length_look_whole_to_no_origin,
        host_stands_in_for_authority,
        cookie_crumbs_are_joined;
    from_h1:
        odd_http1_requests_arrive_as_meant;
    to_h2:
        malformed_http2_answers_reach_no_client;
    each_pair:
        methods_and_targets_arrive_as_they_are,
        head_has_a_length_and_no_body,
        statuses_without_a_body_end_at_their_head,
        answers_of_another_length_do_not_look_whole;
);

type Lines<'a> = Vec<(&'a [u8], &'a [u8])>;

/// What becomes of a request that is sent as it is, over a connection of its own.
fn outcome(at: Pair, edge: &Edge, lines: &[(&[u8], &[u8])], body: Option<&[u8]>) -> Outcome {
    if at.down == Protocol::H3 {
        return http3::outcome(&edge.addr(), lines, body);
    }
    let mut client = RawClient::connect(at.down, &edge.addr());
    let stream = client.request(lines, body);
    client.outcome(stream)
}

/// A good request to `/bad` and what is added to it, or put in the place of a pseudo-header field.
fn with<'a>(scheme: &'a str, name: &'a [u8], value: &'a [u8]) -> Lines<'a> {
    let mut lines: Lines<'a> =
        vec![(b":method", b"GET"), (b":scheme", scheme.as_bytes()), (b":authority", b"a"), (b":path", b"/bad")];
    match lines.iter_mut().find(|(n, _)| *n == name) {
        Some(line) => line.1 = value,
        None => lines.push((name, value)),
    }
    lines
}

/// Each: a field, and its value. All of them are malformed (RFC 9113 8.1–8.3, 8.5; RFC 9114 4.1–4.4).
const MALFORMED: [(&[u8], &[u8]); 44] = [
    (b"transfer-encoding", b"chunked"),
    (b"connection", b"close"),
    (b"connection", b"x-secret"),
    (b"keep-alive", b"timeout=5"),
    (b"proxy-connection", b"keep-alive"),
    (b"upgrade", b"websocket"),
    (b"te", b"gzip"),
    (b"te", b"trailers, chunked"),
    (b"X-Upper", b"1"),
    (b"Transfer-Encoding", b"chunked"),
    (b"x bad", b"1"),
    (b"x:bad", b"1"),
    (b"x-bad\r\ntransfer-encoding", b"chunked"),
    (b"x-bad\n", b"1"),
    (b"x-bad\0", b"1"),
    (b"x-bad\xff", b"1"),
    (b"", b"1"),
    (b"x-bad", b"1\r\ntransfer-encoding: chunked"),
    (b"x-bad", b"1\nx: y"),
    (b"x-bad", b"1\rx"),
    (b"x-bad", b"1\0"),
    (b"x-bad", b" 1"),
    (b"x-bad", b"1\t"),
    (b"host", b"b"),
    (b"content-length", b"5"),
    (b"content-length", b"+0"),
    (b"content-length", b"0, 0 "),
    (b"content-length", b"-1"),
    (b":path", b""),
    (b":path", b"bad"),
    (b":path", b"*"),
    (b":path", b"/a b"),
    (b":path", b"/ HTTP/1.1\r\nHost: b\r\n\r\nGET /x"),
    (b":path", b"/a\0b"),
    (b":path", b"http://b/"),
    (b":authority", b"user@a"),
    (b":authority", b"a\r\nx: y"),
    (b":authority", b"a/b"),
    (b":authority", b"a b"),
    (b":method", b"GET /evil HTTP/1.1\r\nx:"),
    (b":method", b"G ET"),
    (b":method", b""),
    (b":scheme", b"http\r\nx: y"),
    (b":status", b"200"),
];

fn malformed_requests_reach_no_origin(at: Pair) {
    let origin = Origin::fine(at.up);
    let edge = Setup::pair(at, &origin).start();
    let scheme = at.down.scheme();
    let good = with(scheme, b"x-good", b"1");
    let mut cases: Vec<Lines<'_>> = MALFORMED.iter().map(|(n, v)| with(scheme, n, v)).collect();
    for missing in 0..4 {
        let mut lines = good.clone();
        // Without an authority there may be a Host instead, but here is none.
        lines.remove(missing);
        cases.push(lines);
    }
    for twice in 0..4 {
        let mut lines = good.clone();
        lines.insert(twice, good[twice]);
        cases.push(lines);
    }
    let mut late = good.clone();
    late.rotate_left(1);
    cases.push(late);
    let mut tricky = vec![(b":method".as_slice(), b"CONNECT".as_slice()), (b":authority", b"a:1"), (b":path", b"/bad")];
    cases.push(tricky.clone());
    tricky.truncate(1);
    cases.push(tricky);

    let mut faults = Vec::new();
    for lines in &cases {
        let shown: Vec<_> =
            lines.iter().map(|(n, v)| (String::from_utf8_lossy(n), String::from_utf8_lossy(v))).collect();
        let outcome = outcome(at, &edge, lines, None);
        // 0x88 is `:status: 200`. A stream error, a connection error and 400 are all refusals.
        if matches!(outcome, Outcome::Answer(0x88) | Outcome::Closed) || !origin.begun().is_empty() {
            faults.push(format!("{shown:?}: {outcome:?}, the origin saw {:?}", origin.begun()));
            if !origin.begun().is_empty() {
                break;
            }
        }
    }
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), cases.len(), faults.join("\n"));
    assert_eq!(outcome(at, &edge, &good, None), Outcome::Answer(0x88), "the good one is served");
    assert_eq!(edge.metrics().sum("edge_panics_total", &[]), 0.0);
}

fn bodies_of_another_length_look_whole_to_no_origin(at: Pair) {
    let origin = Origin::fine(at.up);
    let edge = Setup::pair(at, &origin).start();
    let post = |length: &'static [u8]| {
        let mut lines = with(at.down.scheme(), b":method", b"POST");
        lines.push((b"content-length", length));
        lines
    };
    for (length, body) in
        [(b"5".as_slice(), b"GET / HTTP/1.1\r\n".as_slice()), (b"20", b"short"), (b"0", b"x"), (b"1", b"")]
    {
        assert_ne!(outcome(at, &edge, &post(length), Some(body)), Outcome::Answer(0x88), "{length:?} with {body:?}");
    }
    let mut twice = post(b"2");
    twice.push((b"content-length", b"3"));
    assert_ne!(outcome(at, &edge, &twice, Some(b"ok")), Outcome::Answer(0x88), "two lengths");
    assert!(origin.requests().is_empty(), "{:?}", origin.requests());
    assert_eq!(outcome(at, &edge, &post(b"2"), Some(b"ok")), Outcome::Answer(0x88));
    assert_eq!(origin.requests().len(), 1);
}

fn host_stands_in_for_authority(at: Pair) {
    let origin = Origin::fine(at.up);
    let edge = Setup::pair(at, &origin).start();
    for (number, authority) in [None, Some(b"shop.test".as_slice())].into_iter().enumerate() {
        let mut lines = with(at.down.scheme(), b"host", b"shop.test");
        lines.remove(2);
        if let Some(authority) = authority {
            lines.insert(0, (b":authority", authority));
        }
        assert_eq!(outcome(at, &edge, &lines, None), Outcome::Answer(0x88), "{lines:?}");
        let seen = origin.wait_requests(number + 1).remove(number);
        assert_eq!(seen.all("host"), ["shop.test"], "{seen:?}");
    }
}

fn cookie_crumbs_are_joined(at: Pair) {
    let origin = Origin::fine(at.up);
    let edge = Setup::pair(at, &origin).start();
    let ask = Ask::get("/").field("cookie", "a=1").field("x", "y").field("cookie", "b=2").field("cookie", "c=3");
    assert_eq!(edge.client().ask(ask).status(), 200);
    let seen = origin.requests().remove(0);
    assert_eq!(seen.all("cookie").join("; "), "a=1; b=2; c=3", "RFC 9113 8.2.3");
    assert!(at.up.http2() || seen.all("cookie").len() == 1, "one Cookie line on HTTP/1.1: {seen:?}");
}

fn odd_http1_requests_arrive_as_meant(at: Pair) {
    let origin = Origin::fine(at.up);
    let edge = Setup::pair(at, &origin).start();
    let connect = || match Stream::connect(&edge.addr()).expect("the listener accepts") {
        Stream::Tcp(socket) if at.down.tls() => {
            use crate::harness::tls::{EDGE_NAME, TlsStream, client};
            let tls = TlsStream::connect(socket, client(&["http/1.1"]), EDGE_NAME).expect("a handshake");
            Wire::over(Stream::Tls(tls), None).expect("a socket takes timeouts")
        }
        stream => Wire::over(stream, None).expect("a socket takes timeouts"),
    };
    // Refused, all of them; an origin that sees one has been fooled.
    for bad in [
        "GET / HTTP/1.1\r\nHost: a\r\n:path: /evil\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n:authority: evil\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
        "G:ET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ] {
        let mut wire = connect();
        wire.send(bad);
        let got = wire.message(Kind::Response);
        let refused = match &got {
            Ok(Some(got)) => matches!(got.status(), 400 | 505),
            Ok(None) => true,
            // A preface that goes wrong is answered in frames.
            Err(_) => bad.starts_with("PRI"),
        };
        assert!(refused, "{bad:?}: {got:?}");
    }
    assert!(origin.begun().is_empty(), "{:?}", origin.begun());
    let mut wire = connect();
    let got = wire.ask(
        "POST http://a/p?q HTTP/1.1\r\nHost: a\r\nX-MiXeD: Case\r\nCookie: a=1\r\nTransfer-Encoding: chunked\r\n\
         TE: trailers, gzip;q=0.5\r\nConnection: TE, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n\
         3;x=y\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
    );
    assert_eq!(got.status(), 200, "{got:?}");
    let seen = origin.requests().remove(0);
    assert_eq!(
        (seen.method(), seen.target(), seen.get("host"), seen.get("x-mixed")),
        ("POST", "/p?q", Some("a"), Some("Case"))
    );
    assert_eq!((seen.text().as_str(), seen.trailer("x-sum"), seen.get("te")), ("abc", Some("1"), Some("trailers")));
    assert!(!seen.has("upgrade") && !seen.has("http2-settings"), "{seen:?}");
}

/// Answers of an HTTP/2 origin that are malformed from their head on.
fn malformed_http2_answers_reach_no_client(at: Pair) {
    let cases: [&[(&[u8], &[u8])]; 12] = [
        &[],
        &[(b":status", b"200"), (b"x-evil", b"1\r\nset-cookie: a=b")],
        &[(b":status", b"200"), (b"x-evil\r\nset-cookie", b"a=b")],
        &[(b":status", b"200"), (b"X-Upper", b"1")],
        &[(b":status", b"200"), (b"connection", b"close")],
        &[(b":status", b"200"), (b"transfer-encoding", b"chunked")],
        &[(b":status", b"2000")],
        &[(b":status", b"20")],
        &[(b":status", b"101")],
        &[(b":status", b"200"), (b":status", b"204")],
        &[(b":status", b"200"), (b":path", b"/")],
        &[(b":status", b"200"), (b"content-length", b"1"), (b"content-length", b"2")],
    ];
    for lines in cases {
        let bytes = block(lines);
        let origin = Peer::answering(at.up, move |_, stream| {
            vec![
                frame(kind::HEADERS, END_HEADERS, stream, &bytes),
                frame(kind::DATA, END_STREAM, stream, "HTTP/1.1 200 OK\r\n\r\n"),
            ]
        });
        let text = listener_text("web", at.down, "")
            + &origin.pool_text("app")
            + "[[route]]\nid = \"all\"\nmatch = {}\npool = \"app\"\n";
        let edge: Edge = Setup::over(at).text(&text).start();
        let shown: Vec<_> =
            lines.iter().map(|(n, v)| (String::from_utf8_lossy(n), String::from_utf8_lossy(v))).collect();
        let got = edge.client().ask(Ask::post("/", "x"));
        assert_eq!(got.status(), 502, "{shown:?}: {got:?}");
        assert!(!got.has("set-cookie"), "{got:?}");
        let line = edge.wait_log_path("/");
        assert!(matches!(line["category"].as_str(), Some("upstream_protocol" | "upstream_reset")), "{shown:?}: {line}");
    }
}

fn methods_and_targets_arrive_as_they_are(at: Pair) {
    let origin = Origin::fine(at.up);
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    let cases = [
        ("GET", "/?"),
        ("GET", "/a?b?c=/../d&e=%20"),
        ("PROPFIND", "/dav"),
        ("M-SEARCH", "/~x;v=1/(y)!$&'*+,=:@z"),
        ("DELETE", "/%E2%82%AC"),
        ("OPTIONS", "/options"),
        ("patch", "/lower"),
    ];
    for (i, (method, target)) in cases.into_iter().enumerate() {
        assert_eq!(client.ask(Ask::new(method, target).host("a")).status(), 200, "{method} {target}");
        let seen = origin.wait_requests(i + 1).remove(i);
        assert_eq!((seen.method(), seen.target(), seen.all("host")), (method, target, vec!["a"]));
        assert!(seen.body.is_empty() && !seen.chunked, "{seen:?}");
    }
}

fn head_has_a_length_and_no_body(at: Pair) {
    let origin = Origin::replying(at.up, |r| match r.target() {
        "/streamed" => Reply::new(200, "").streamed(),
        _ => Reply::new(200, "").length(12_345),
    });
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    for _ in 0..3 {
        let got = client.ask(Ask::new("HEAD", "/length"));
        assert_eq!((got.get("content-length"), got.body.len()), (Some("12345"), 0));
        assert_eq!(client.ask(Ask::new("HEAD", "/streamed")).status(), 200);
    }
    assert_eq!((origin.requests().len(), origin.connections()), (6, 1), "the connection stays usable");
}

fn statuses_without_a_body_end_at_their_head(at: Pair) {
    let origin = Origin::replying(at.up, |r| match r.target() {
        "/204" => Reply::new(204, ""),
        "/304" => Reply::new(304, "").field("ETag", "\"x\"").length(999),
        "/empty" => Reply::new(200, ""),
        _ => Reply::new(200, "body"),
    });
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    for _ in 0..3 {
        let none = client.get("/204");
        assert_eq!(none.status(), 204);
        assert!(!none.has("content-length") && !none.has("transfer-encoding"), "RFC 9110 8.6, RFC 9112 6.1: {none:?}");
        let unchanged = client.get("/304");
        assert_eq!((unchanged.status(), unchanged.get("etag"), unchanged.body.len()), (304, Some("\"x\""), 0));
        assert_eq!(client.get("/empty").get("content-length"), Some("0"));
        assert_eq!(client.get("/body").text(), "body");
    }
    assert_eq!(origin.connections(), 1);
}

fn answers_of_another_length_do_not_look_whole(at: Pair) {
    // Too short for what they declare; HTTP/2 origins end the stream in order, HTTP/1.1 ones the connection.
    let origin = Origin::serving(at.up, |served| {
        served.request()?;
        served.begin(200, &Fields::new(), Some(100))?;
        served.send("ten bytes.")?;
        if served.is_http2() {
            return served.finish(&Fields::new());
        }
        served.order(Order::Cut);
        Ok(())
    });
    let edge = Setup::pair_with(at, &origin, &Extra::default()).start();
    match edge.client().try_ask(Ask::get("/short")) {
        Ok(got) => assert_eq!(got.status(), 502, "{got:?}"),
        Err(e) => assert_ne!(e.kind(), std::io::ErrorKind::TimedOut, "{e}"),
    }
    let line = edge.wait_log_path("/short");
    assert!(matches!(line["category"].as_str(), Some("upstream_protocol" | "upstream_reset")), "{line}");
}
