//! What the edge adds to and takes from the fields of a message: forwarding headers, hop-by-hop hygiene.
use crate::harness::{Ask, Driver, Message, Origin, Pair, Protocol, Reply, Setup, edge::Extra};

crate::suite!("headers";
    each_pair:
        forwarding_headers_are_set,
        spoofed_forwarding_headers_never_reach_the_origin,
        end_to_end_fields_pass_unchanged,
        host_is_kept_or_replaced;
    each_downstream:
        trusted_proxies_are_appended_to,
        client_is_the_rightmost_untrusted_address,
        forwarded_is_sent_where_configured,
        underscores_in_names_are_refused;
    each_upstream:
        date_is_added_where_missing;
    from_h1:
        hop_by_hop_fields_of_requests_stop_here;
    to_h1:
        hop_by_hop_fields_of_responses_stop_here;
    each_driver:
        status_text_and_odd_bytes_pass;
);

/// Sends one request and returns what the origin got.
fn through(at: Pair, listener: &str, ask: Ask) -> Message {
    let origin = Origin::fine(at.up);
    let edge = Setup::pair_with(at, &origin, &Extra { listener, ..Extra::default() }).start();
    let got = edge.client().ask(ask);
    assert_eq!(got.status(), 200, "{got:?}");
    origin.requests().remove(0)
}

fn shop() -> Ask {
    Ask::get("/p").host("shop.test:8080")
}

fn forwarding_headers_are_set(at: Pair) {
    let seen = through(at, "", shop());
    assert_eq!(seen.all("host"), ["shop.test:8080"]);
    assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.all("x-real-ip"), ["127.0.0.1"]);
    assert_eq!(seen.all("x-forwarded-proto"), [at.down.scheme()]);
    assert_eq!(seen.all("x-forwarded-host"), ["shop.test:8080"]);
    assert!(seen.get("x-forwarded-port").is_some_and(|p| p.parse::<u16>().is_ok()), "{seen:?}");
    // RFC 9110 7.6.3: the protocol in which this server got the message.
    let via: &[&str] = match at.down {
        Protocol::H1 | Protocol::H1Tls => &["1.1 "],
        Protocol::H2 | Protocol::H2c => &["2 ", "2.0 "],
        Protocol::H3 => &["3 ", "3.0 "],
    };
    assert!(seen.get("via").is_some_and(|v| via.iter().any(|p| v.starts_with(p))), "{seen:?}");
    assert!(seen.get("x-request-start").is_some_and(|t| t.bytes().any(|b| b.is_ascii_digit())), "{seen:?}");
    assert!(seen.get("x-request-id").is_some_and(|id| !id.is_empty()), "{seen:?}");
    assert!(!seen.has("forwarded"), "off by default: {seen:?}");
    if at.up.http2() {
        assert_eq!(seen.get(":scheme"), Some(at.up.scheme()), "RFC 9113 8.3.1: {seen:?}");
    }
}

const SPOOFED: &str = "X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 6.6.6.7, 6.6.6.8\r\nX-Real-IP: 6.6.6.6\r\n\
     X-Forwarded-Proto: gopher\r\nX-Forwarded-Host: evil.test\r\nX-Forwarded-Port: 666\r\n\
     Forwarded: for=6.6.6.6;host=evil.test;proto=gopher\r\nEarly-Data: 1\r\n";

fn spoofed_forwarding_headers_never_reach_the_origin(at: Pair) {
    for trusted in ["", "trusted_proxies = [\"10.0.0.0/8\", \"::1\"]"] {
        let mut seen = through(at, trusted, shop().lines(SPOOFED));
        // Random and time may hold any digits.
        seen.fields
            .retain(|(name, _)| !matches!(name.to_ascii_lowercase().as_str(), "x-request-id" | "x-request-start"));
        let whole = format!("{seen:?}");
        let spoofed = ["6.6.6.", "evil", "x-forwarded-port: 666", "gopher", "early-data"];
        assert!(!spoofed.iter().any(|s| whole.to_ascii_lowercase().contains(s)), "{whole}");
        assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(seen.all("x-forwarded-proto"), [at.down.scheme()]);
    }
}

fn trusted_proxies_are_appended_to(at: Pair) {
    let fields = "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: outside.test\r\n\
        Early-Data: 1\r\n";
    let seen = through(at, "trusted_proxies = [\"127.0.0.0/8\"]", shop().lines(fields));
    assert_eq!(seen.all("x-forwarded-for").join(", "), "203.0.113.7, 127.0.0.1");
    assert_eq!(seen.all("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.all("x-forwarded-host"), ["outside.test"]);
    assert_eq!(seen.all("x-real-ip"), ["203.0.113.7"]);
    assert_eq!(seen.all("early-data"), ["1"], "RFC 8470 5.1: it must not be taken off");
}

fn client_is_the_rightmost_untrusted_address(at: Pair) {
    let origin = Origin::fine(at.up);
    let listener = "trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]";
    let edge = Setup::pair_with(at, &origin, &Extra { listener, ..Extra::default() }).start();
    let cases = [
        ("/one", "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.1.2.3\r\n", "203.0.113.9"),
        ("/two", "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 203.0.113.8\r\n", "203.0.113.8"),
        ("/none", "", "127.0.0.1"),
        ("/odd", "X-Forwarded-For: 6.6.6.6, not an address\r\n", "127.0.0.1"),
    ];
    for (path, fields, client) in cases {
        edge.client().ask(Ask::get(path).host("a").lines(fields));
        assert_eq!(edge.wait_log_path(path)["client_ip"], client, "{path}");
    }
}

fn forwarded_is_sent_where_configured(at: Pair) {
    let seen = through(at, "forwarded = true", shop().lines(SPOOFED));
    let forwarded = seen.all("forwarded").join(", ").to_ascii_lowercase();
    let proto = format!("proto={}", at.down.scheme());
    assert!(forwarded.contains("for=127.0.0.1") && forwarded.contains(&proto), "{forwarded}");
    assert!(!forwarded.contains("6.6.6.6"), "{forwarded}");
}

/// An HTTP/2 origin of the harness refuses a request with any field of a connection, so whatever gets through to it is
/// told as well.
fn hop_by_hop_fields_of_requests_stop_here(at: Pair) {
    let origin = Origin::fine(at.up);
    let edge = Setup::pair(at, &origin).start();
    // Each: what is sent, and a word that must not be seen.
    let crafted = [
        ("Connection: X-Secret\r\nX-Secret: marked\r\n", "marked"),
        ("Connection: x-a, X-B\r\nX-A: marked\r\nx-b: marked\r\n", "marked"),
        ("Connection: close, X-C\r\nX-c: marked\r\n", "marked"),
        ("Connection: X-D\r\nConnection: X-E\r\nX-D: marked\r\nX-E: marked\r\n", "marked"),
        ("Keep-Alive: timeout=marked\r\n", "marked"),
        ("Proxy-Connection: marked\r\n", "marked"),
        ("Proxy-Authorization: Basic marked\r\n", "marked"),
        ("Proxy-Authenticate: marked\r\n", "marked"),
        ("TE: gzip, marked\r\nConnection: TE\r\n", "marked"),
        ("Upgrade: marked/1.0\r\nConnection: Upgrade\r\n", "marked"),
        ("Connection: , ,X-F,\r\nX-F: marked\r\n", "marked"),
        ("Connection: keep-alive\r\nKeep-Alive: max=5\r\nProxy-Connection: keep-alive\r\n", "keep-alive"),
        ("HTTP2-Settings: marked\r\nConnection: HTTP2-Settings\r\n", "marked"),
    ];
    let client = edge.client();
    for (i, (fields, word)) in crafted.iter().enumerate() {
        let target = format!("/{i}");
        let got = client.ask(Ask::get(&target).host("a").field("X-Kept", "yes").lines(fields));
        assert_eq!(got.status(), 200, "{fields:?}: {got:?}");
        let seen = origin.wait_requests(i + 1).into_iter().find(|r| r.target() == target);
        let seen = seen.expect("the request at the origin");
        assert_eq!(seen.get("x-kept"), Some("yes"));
        let text = format!("{seen:?}").to_ascii_lowercase();
        assert!(!text.contains(word), "sent {fields:?}, the origin saw {seen:?}");
    }
    // Naming an end-to-end field that the edge itself needs must not take it away or change the framing.
    let named = Ask::post("/named", "ok").host("a").field("Connection", "Host, Content-Length, X-Forwarded-For");
    if edge.client().ask(named).status() == 200 {
        let seen = origin.requests().into_iter().find(|r| r.target() == "/named").expect("the request at the origin");
        assert_eq!(
            (seen.get("host"), seen.text().as_str(), seen.get("x-forwarded-for")),
            (Some("a"), "ok", Some("127.0.0.1"))
        );
    }
}

/// The `h2` client of the harness takes an answer with any field of a connection for malformed.
fn hop_by_hop_fields_of_responses_stop_here(at: Pair) {
    let origin = Origin::replying(at.up, |_| {
        Reply::new(200, "ok")
            .field("Connection", "X-Secret, keep-alive")
            .field("X-Secret", "marked")
            .field("Keep-Alive", "timeout=marked")
            .field("Proxy-Connection", "marked")
            .field("Proxy-Authenticate", "marked")
            .field("Upgrade", "marked")
            .field("X-Kept", "yes")
    });
    let edge = Setup::pair(at, &origin).start();
    let client = edge.client();
    for _ in 0..2 {
        let got = client.get("/");
        assert_eq!((got.status(), got.get("x-kept")), (200, Some("yes")));
        assert!(!format!("{got:?}").contains("marked"), "{got:?}");
    }
}

fn end_to_end_fields_pass_unchanged(at: Pair) {
    let origin = Origin::replying(at.up, |_| {
        Reply::new(200, "")
            .field("Set-Cookie", "a=1")
            .field("Set-Cookie", "b=2")
            .field("Server", "origin/1")
            .field("X-Empty", "")
            .field("Date", "Tue, 15 Nov 1994 08:12:31 GMT")
    });
    let edge = Setup::pair(at, &origin).start();
    let fields = "Cookie: a=1; b=2\r\nAuthorization: Basic eDp5\r\nX-Tab: a \t b\r\nX-Twice: 1\r\nX-Twice: 2\r\n\
                  X-Empty:\r\nUser-Agent:  spaced  \r\n";
    let got = edge.client().ask(Ask::get("/a//b/../c%2Fd?x=%00&y=[1]").host("a").lines(fields));
    assert_eq!(got.all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!((got.get("server"), got.get("x-empty")), (Some("origin/1"), Some("")));
    assert_eq!(got.get("date"), Some("Tue, 15 Nov 1994 08:12:31 GMT"));
    let seen = origin.requests().remove(0);
    assert_eq!(seen.get("cookie"), Some("a=1; b=2"));
    assert_eq!(seen.get("authorization"), Some("Basic eDp5"));
    assert_eq!(
        (seen.get("x-tab"), seen.get("x-empty"), seen.get("user-agent")),
        (Some("a \t b"), Some(""), Some("spaced"))
    );
    assert_eq!(seen.all("x-twice"), ["1", "2"]);
    assert!(seen.target().ends_with("?x=%00&y=[1]"), "the query is kept: {}", seen.target());
    assert!(seen.target().contains("c%2Fd"), "%2F stays: {}", seen.target());
}

fn status_text_and_odd_bytes_pass(driver: Driver) {
    let origin =
        Origin::answering(|_| b"HTTP/1.1 200 Fine By Me\r\nX-Latin: caf\xe9\r\nContent-Length: 0\r\n\r\n".to_vec());
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Latin: caf\xe9\r\n\r\n");
    assert_eq!(client.response().start, "HTTP/1.1 200 Fine By Me");
    let raw = origin.received().remove(0);
    assert!(raw.windows(4).any(|w| w == b"caf\xe9"), "bytes above 0x7f pass as they are");
}

fn host_is_kept_or_replaced(at: Pair) {
    let origin = Origin::replying(at.up, |r| Reply::new(200, r.get("host").unwrap_or("-")));
    let authority = origin.addr().tcp().to_string();
    for (route, expected) in [("", "shop.test"), ("preserve_host = false", authority.as_str())] {
        let edge = Setup::pair_with(at, &origin, &Extra { route, ..Extra::default() }).start();
        let got = edge.client().ask(Ask::get("/").host("shop.test"));
        assert_eq!(got.text(), expected);
    }
    assert!(origin.requests().iter().all(|r| r.all("host").len() == 1), "one name only: {:?}", origin.requests());
}

fn underscores_in_names_are_refused(at: Pair) {
    let origin = Origin::fine(at.up);
    let edge = Setup::pair(at, &origin).start();
    match edge.client().try_ask(Ask::get("/").host("a").field("X_Forwarded_For", "6.6.6.6")) {
        Ok(got) => assert_eq!(got.status(), 400, "CGI cannot tell it from the dashed name: {got:?}"),
        Err(e) => assert!(at.down != Protocol::H1 && at.down != Protocol::H1Tls, "{e}"),
    }
    assert_eq!(origin.connections(), 0);
}

fn date_is_added_where_missing(at: Pair) {
    let origin = Origin::fine(at.up);
    let edge = Setup::pair(at, &origin).start();
    let got = edge.client().get("/");
    let date = got.get("date").unwrap_or_else(|| panic!("RFC 9110 6.6.1 wants a Date: {got:?}"));
    let date = httpdate::parse_http_date(date).expect("an HTTP date");
    let off = date.elapsed().unwrap_or_else(|e| e.duration());
    assert!(off.as_secs() < 5, "{off:?} off");
}
