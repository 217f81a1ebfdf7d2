//! What the edge adds to and takes from the fields of a message: forwarding headers, hop-by-hop hygiene.
use crate::harness::{Driver, Message, Origin, Setup, edge::Extra, origin::answer};

crate::suite!("headers";
    each_driver:
        forwarding_headers_are_set,
        spoofed_forwarding_headers_never_reach_the_origin,
        trusted_proxies_are_appended_to,
        client_is_the_rightmost_untrusted_address,
        forwarded_is_sent_where_configured,
        hop_by_hop_fields_of_requests_stop_here,
        hop_by_hop_fields_of_responses_stop_here,
        end_to_end_fields_pass_unchanged,
        host_is_kept_or_replaced,
        underscores_in_names_are_refused,
        date_is_added_where_missing;
    once:
);

/// Sends one request and returns what the origin got.
fn through(driver: Driver, listener: &str, fields: &str) -> Message {
    let origin = Origin::ok();
    let edge = Setup::proxy_with(driver, &origin, &Extra { listener, ..Extra::default() }).start();
    let got = edge.connect().ask(format!("GET /p HTTP/1.1\r\nHost: shop.test:8080\r\n{fields}\r\n"));
    assert_eq!(got.status(), 200, "{got:?}");
    origin.requests().remove(0)
}

fn forwarding_headers_are_set(driver: Driver) {
    let seen = through(driver, "", "");
    assert_eq!(seen.all("host"), ["shop.test:8080"]);
    assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.all("x-real-ip"), ["127.0.0.1"]);
    assert_eq!(seen.all("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.all("x-forwarded-host"), ["shop.test:8080"]);
    assert!(seen.get("x-forwarded-port").is_some_and(|p| p.parse::<u16>().is_ok()), "{seen:?}");
    assert!(seen.get("via").is_some_and(|v| v.starts_with("1.1 ")), "{seen:?}");
    assert!(seen.get("x-request-start").is_some_and(|t| t.bytes().any(|b| b.is_ascii_digit())), "{seen:?}");
    assert!(seen.get("x-request-id").is_some_and(|id| !id.is_empty()), "{seen:?}");
    assert!(!seen.has("forwarded"), "off by default: {seen:?}");
}

const SPOOFED: &str = "X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 6.6.6.7, 6.6.6.8\r\nX-Real-IP: 6.6.6.6\r\n\
     X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\nX-Forwarded-Port: 666\r\n\
     Forwarded: for=6.6.6.6;host=evil.test;proto=https\r\n";

fn spoofed_forwarding_headers_never_reach_the_origin(driver: Driver) {
    for trusted in ["", "trusted_proxies = [\"10.0.0.0/8\", \"::1\"]"] {
        let mut seen = through(driver, trusted, SPOOFED);
        // Random and time may hold any digits.
        seen.fields
            .retain(|(name, _)| !matches!(name.to_ascii_lowercase().as_str(), "x-request-id" | "x-request-start"));
        let whole = format!("{seen:?}");
        assert!(!whole.contains("6.6.6.") && !whole.contains("evil") && !whole.contains("666"), "{whole}");
        assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(seen.all("x-forwarded-proto"), ["http"]);
    }
}

fn trusted_proxies_are_appended_to(driver: Driver) {
    let fields = "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: outside.test\r\n";
    let seen = through(driver, "trusted_proxies = [\"127.0.0.0/8\"]", fields);
    assert_eq!(seen.all("x-forwarded-for").join(", "), "203.0.113.7, 127.0.0.1");
    assert_eq!(seen.all("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.all("x-forwarded-host"), ["outside.test"]);
    assert_eq!(seen.all("x-real-ip"), ["203.0.113.7"]);
}

fn client_is_the_rightmost_untrusted_address(driver: Driver) {
    let origin = Origin::ok();
    let listener = "trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]";
    let edge = Setup::proxy_with(driver, &origin, &Extra { listener, ..Extra::default() }).start();
    let cases = [
        ("/one", "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.1.2.3\r\n", "203.0.113.9"),
        ("/two", "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 203.0.113.8\r\n", "203.0.113.8"),
        ("/none", "", "127.0.0.1"),
        ("/odd", "X-Forwarded-For: 6.6.6.6, not an address\r\n", "127.0.0.1"),
    ];
    for (path, fields, client) in cases {
        edge.connect().ask(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(edge.wait_log_path(path)["client_ip"], client, "{path}");
    }
}

fn forwarded_is_sent_where_configured(driver: Driver) {
    let seen = through(driver, "forwarded = true", SPOOFED);
    let forwarded = seen.all("forwarded").join(", ").to_ascii_lowercase();
    assert!(forwarded.contains("for=127.0.0.1") && forwarded.contains("proto=http"), "{forwarded}");
    assert!(!forwarded.contains("6.6.6.6"), "{forwarded}");
}

fn hop_by_hop_fields_of_requests_stop_here(driver: Driver) {
    let origin = Origin::ok();
    let edge = Setup::proxy(driver, &origin).start();
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
    ];
    let mut client = edge.connect();
    for (i, (fields, word)) in crafted.iter().enumerate() {
        let got = client.ask(format!("GET /{i} HTTP/1.1\r\nHost: a\r\nX-Kept: yes\r\n{fields}\r\n"));
        assert_eq!(got.status(), 200, "{fields:?}: {got:?}");
        if fields.contains("close") {
            client = edge.connect();
        }
        let seen = origin.wait_requests(i + 1).into_iter().find(|r| r.target() == format!("/{i}"));
        let seen = seen.expect("the request at the origin");
        assert_eq!(seen.get("x-kept"), Some("yes"));
        let text = format!("{seen:?}").to_ascii_lowercase();
        assert!(!text.contains(word), "sent {fields:?}, the origin saw {seen:?}");
    }
    // Naming an end-to-end field that the edge itself needs must not take it away or change the framing.
    let mut client = edge.connect();
    client.send("POST /named HTTP/1.1\r\nHost: a\r\nConnection: Host, Content-Length, X-Forwarded-For\r\nContent-Length: 2\r\n\r\nok");
    if client.response().status() == 200 {
        let seen = origin.requests().into_iter().find(|r| r.target() == "/named").expect("the request at the origin");
        assert_eq!(
            (seen.get("host"), seen.text().as_str(), seen.get("x-forwarded-for")),
            (Some("a"), "ok", Some("127.0.0.1"))
        );
    }
}

fn hop_by_hop_fields_of_responses_stop_here(driver: Driver) {
    let origin = Origin::answering(|_| {
        b"HTTP/1.1 200 OK\r\nConnection: X-Secret, keep-alive\r\nX-Secret: marked\r\nKeep-Alive: timeout=marked\r\n\
          Proxy-Connection: marked\r\nProxy-Authenticate: marked\r\nUpgrade: marked\r\nX-Kept: yes\r\nContent-Length: 2\r\n\r\nok"
            .to_vec()
    });
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    for _ in 0..2 {
        let got = client.get("/");
        assert_eq!((got.status(), got.get("x-kept")), (200, Some("yes")));
        assert!(!format!("{got:?}").contains("marked"), "{got:?}");
    }
}

fn end_to_end_fields_pass_unchanged(driver: Driver) {
    let origin = Origin::answering(|_| {
        b"HTTP/1.1 200 Fine By Me\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nServer: origin/1\r\nX-Empty:\r\n\
          Date: Tue, 15 Nov 1994 08:12:31 GMT\r\nX-Latin: caf\xe9\r\nContent-Length: 0\r\n\r\n"
            .to_vec()
    });
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    client.send(b"GET /a//b/../c%2Fd?x=%00&y=[1] HTTP/1.1\r\nHost: a\r\nCookie: a=1; b=2\r\nAuthorization: Basic eDp5\r\nX-Tab:\ta \t b\t\r\nX-Twice: 1\r\nX-Twice: 2\r\nX-Latin: caf\xe9\r\nX-Empty:\r\nUser-Agent:  spaced  \r\n\r\n");
    let got = client.response();
    assert_eq!(got.all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!((got.get("server"), got.get("x-empty")), (Some("origin/1"), Some("")));
    assert_eq!(got.get("date"), Some("Tue, 15 Nov 1994 08:12:31 GMT"));
    assert_eq!(got.start, "HTTP/1.1 200 Fine By Me");
    let seen = origin.requests().remove(0);
    assert_eq!(seen.get("cookie"), Some("a=1; b=2"));
    assert_eq!(seen.get("authorization"), Some("Basic eDp5"));
    assert_eq!(
        (seen.get("x-tab"), seen.get("x-empty"), seen.get("user-agent")),
        (Some("a \t b"), Some(""), Some("spaced"))
    );
    assert_eq!(seen.all("x-twice"), ["1", "2"]);
    let raw = origin.received().remove(0);
    assert!(raw.windows(4).any(|w| w == b"caf\xe9"), "bytes above 0x7f pass as they are");
    assert!(seen.target().ends_with("?x=%00&y=[1]"), "the query is kept: {}", seen.target());
    assert!(seen.target().contains("c%2Fd"), "%2F stays: {}", seen.target());
}

fn host_is_kept_or_replaced(driver: Driver) {
    let origin = Origin::answering(|r| answer(200, r.get("host").unwrap_or("-")));
    let authority = origin.addr().tcp().to_string();
    for (route, expected) in [("", "shop.test"), ("preserve_host = false", authority.as_str())] {
        let edge = Setup::proxy_with(driver, &origin, &Extra { route, ..Extra::default() }).start();
        assert_eq!(edge.connect().ask("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").text(), expected);
    }
}

fn underscores_in_names_are_refused(driver: Driver) {
    let origin = Origin::ok();
    let edge = Setup::proxy(driver, &origin).start();
    let got = edge.connect().ask("GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: 6.6.6.6\r\n\r\n");
    assert_eq!(got.status(), 400, "CGI cannot tell it from the dashed name: {got:?}");
    assert_eq!(origin.connections(), 0);
}

fn date_is_added_where_missing(driver: Driver) {
    let origin = Origin::ok();
    let edge = Setup::proxy(driver, &origin).start();
    let got = edge.connect().get("/");
    let date = got.get("date").unwrap_or_else(|| panic!("RFC 9110 6.6.1 wants a Date: {got:?}"));
    let date = httpdate::parse_http_date(date).expect("an HTTP date");
    let off = date.elapsed().unwrap_or_else(|e| e.duration());
    assert!(off.as_secs() < 5, "{off:?} off");
}
