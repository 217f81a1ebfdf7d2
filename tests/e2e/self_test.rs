//! The judges judged: the strict reader and the recording origin, without an edge between them.
use crate::harness::{
    Addr, Metrics, Origin,
    message::{self, Kind},
    origin::answer,
    wire::Wire,
};

crate::suite!("self_test";
    each_driver: ;
    once:
        strict_reader_takes_good_messages,
        strict_reader_refuses_ambiguous_ones,
        strict_reader_waits_for_the_rest,
        origin_records_every_byte,
        metrics_reader_sees_faults,
);

fn strict_reader_takes_good_messages() {
    let bytes = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\nGE";
    let (all, rest) = message::every(bytes, Kind::Request).expect("two good requests");
    assert_eq!((all.len(), rest.as_slice()), (2, b"GE".as_slice()));
    assert_eq!((all[0].text().as_str(), all[0].trailer("x")), ("0123456789", Some("y")));
    assert_eq!((all[1].method(), all[1].target(), all[1].get("HOST")), ("GET", "/", Some("b")));
    let until_close = b"HTTP/1.1 200 OK\r\n\r\nbody";
    assert_eq!(message::whole(until_close, Kind::Response, false), Ok(None));
    let (m, taken) = message::whole(until_close, Kind::Response, true).expect("good").expect("whole");
    assert_eq!((m.text().as_str(), taken), ("body", until_close.len()));
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
    assert!(message::whole(head, Kind::ResponseToHead, false).expect("good").is_some());
}

fn strict_reader_refuses_ambiguous_ones() {
    let field = |f: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{f}\r\n\r\n");
    let chunk = |c: &str| field("Transfer-Encoding: chunked") + c;
    let bad = [
        field("Content-Length: 1\r\nTransfer-Encoding: chunked"),
        field("Content-Length: 1\r\nContent-Length: 1"),
        field("Content-Length: +1"),
        field("Content-Length: 1, 1"),
        field("Content-Length:"),
        field("Transfer-Encoding: gzip, chunked"),
        field("Transfer-Encoding: xchunked"),
        field("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        field("X : y"),
        field(" X: y"),
        field("X: y\n Z: z"),
        field("X: a\rb"),
        field("X: a\0b"),
        field("X"),
        field("Host: twice"),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(),
        chunk("0x1\r\nx\r\n0\r\n\r\n"),
        chunk("1 \r\nx\r\n0\r\n\r\n"),
        chunk("1;a=b\r\nx\r\n0\r\n\r\n"),
        chunk("1\r\nxy\r\n0\r\n\r\n"),
        chunk("1\nx\r\n0\r\n\r\n"),
        chunk("\r\n0\r\n\r\n"),
    ];
    for text in bad {
        assert!(message::whole(text.as_bytes(), Kind::Request, false).is_err(), "taken for good: {text:?}");
    }
}

fn strict_reader_waits_for_the_rest() {
    let whole = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n";
    for cut in 0..whole.len() {
        assert_eq!(message::whole(&whole[..cut], Kind::Request, false), Ok(None), "cut at {cut}");
    }
    assert!(message::whole(whole, Kind::Request, false).expect("good").is_some());
}

fn origin_records_every_byte() {
    let origin = Origin::answering(|r| answer(200, r.target()));
    let mut first = Wire::connect(origin.addr());
    assert_eq!(first.get("/1").text(), "/1");
    assert_eq!(first.get("/2").text(), "/2");
    let mut second = Wire::connect(origin.addr());
    assert_eq!(second.get("/3").text(), "/3");
    let seen: Vec<String> = origin.wait_requests(3).iter().map(|r| r.target().to_owned()).collect();
    assert_eq!(seen, ["/1", "/2", "/3"]);
    assert_eq!((origin.connections(), origin.open(), origin.open_max()), (2, 2, 2));
    drop((first, second));
    origin.wait_idle();
    let Addr::Tcp(addr) = origin.addr().clone() else { unreachable!("it listens on TCP") };
    drop(origin);
    assert!(std::net::TcpStream::connect(addr).is_err(), "it listens until dropped");
}

fn metrics_reader_sees_faults() {
    let good =
        "# HELP a_total Some.\n# TYPE a_total counter\na_total{x=\"1\",y=\"q\\\"}\"} 2\na_total{x=\"2\",y=\"\"} 3\n";
    let metrics = Metrics::parse(good);
    assert_eq!((metrics.sum("a_total", &[]), metrics.sum("a_total", &[("x", "2")])), (5.0, 3.0));
    assert_eq!(metrics.faults(), Vec::<String>::new());
    assert_eq!(metrics.values("a_total", "y").len(), 2);
    assert_eq!(Metrics::parse("b 1\nb 1\n").faults().len(), 3, "twice untold, once doubled");
}
