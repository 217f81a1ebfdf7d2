//! Which route takes a request, and what routes without a pool answer.
use crate::harness::{
    Ask, Driver, Edge, Message, Origin, Pair, Reply, Setup,
    edge::{Extra, listener_text, pool_text, proxy_text_over},
    http2::reason,
};
use h2::Reason;

crate::suite!("routing";
    each_downstream:
        most_specific_route_wins,
        predicates_narrow_a_route,
        method_mismatch_is_405_with_allow,
        redirects_have_their_location,
        fixed_responses,
        rewrites_change_the_target_and_keep_the_query,
        paths_are_normalised_before_matching,
        needless_escapes_are_undone_before_matching,
        error_bodies_follow_accept;
    each_driver:
        error_bodies_are_escaped;
);

fn listener(at: Pair) -> String {
    listener_text("web", at.down, "")
}

fn ask(edge: &Edge, method: &str, host: &str, target: &str, fields: &str) -> Message {
    let got = edge.client().try_ask(Ask::new(method, target).host(host).lines(fields));
    got.unwrap_or_else(|e| panic!("{method} {target}: {e}"))
}

/// Routes that answer with their own id.
fn answering_with_id(at: Pair, matches: &[(&str, &str)]) -> String {
    let route =
        |(id, m): &(&str, &str)| format!("[[route]]\nid = \"{id}\"\nmatch = {m}\nrespond = {{ body = \"{id}\" }}\n");
    listener(at) + &matches.iter().map(route).collect::<String>()
}

fn most_specific_route_wins(at: Pair) {
    let mut routes = vec![
        ("catch-all", "{}"),
        ("prefix", "{ path_prefix = \"/api\" }"),
        ("longer", "{ path_prefix = \"/api/v1\" }"),
        ("exact", "{ path = \"/api/v1/users\" }"),
        ("glob", "{ path_glob = \"/img/*.png\" }"),
        ("path-regex", "{ path_regex = \"^/user/([0-9]+)$\" }"),
        ("host", "{ host = [\"shop.test\"] }"),
        ("wildcard", "{ host = [\"*.shop.test\"] }"),
        ("deeper", "{ host = [\"*.eu.shop.test\"] }"),
        ("host-regex", "{ host = [\"~^app-[0-9]+[.]test$\"] }"),
        ("prioritised", "{ path_prefix = \"/first\" }\npriority = 10"),
    ];
    let cases = [
        ("a", "/", "catch-all"),
        ("a", "/apix", "catch-all"),
        ("a", "/api", "prefix"),
        ("a", "/api/", "prefix"),
        ("a", "/api/v1/x?y=1", "longer"),
        ("a", "/api/v1/users", "exact"),
        ("a", "/api/v1/users?a=/b", "exact"),
        ("a", "/img/x.png", "glob"),
        ("a", "/img/x/y.png", "catch-all"),
        ("a", "/user/42", "path-regex"),
        ("shop.test", "/api/v1/users", "host"),
        ("SHOP.test:8080", "/", "host"),
        ("shop.test.", "/", "host"),
        ("www.shop.test", "/", "wildcard"),
        ("a.b.shop.test", "/", "wildcard"),
        ("www.eu.shop.test", "/", "deeper"),
        ("app-7.test", "/", "host-regex"),
        ("shop.test", "/first", "prioritised"),
    ];
    // Whatever the order in the file.
    for _ in 0..2 {
        let edge = Setup::over(at).text(&answering_with_id(at, &routes)).start();
        let client = edge.client();
        for (host, target, expected) in cases {
            let got = client.ask(Ask::get(target).host(host));
            assert_eq!((got.status(), got.text().as_str()), (200, expected), "{host}{target}");
        }
        routes.reverse();
    }
}

fn predicates_narrow_a_route(at: Pair) {
    let edge = Setup::over(at)
        .text(&answering_with_id(
            at,
            &[
                ("plain", "{ path_prefix = \"/\" }"),
                ("header", "{ path_prefix = \"/\", header = { x-canary = \"1\" } }"),
                ("header-regex", "{ path_prefix = \"/h\", header = { x-v = { regex = \"^v[0-9]+$\" } } }"),
                ("query", "{ path_prefix = \"/q\", query = { debug = { present = true } } }"),
                ("cookie", "{ path_prefix = \"/c\", cookie = { beta = { prefix = \"y\" } } }"),
                ("client", "{ path_prefix = \"/l\", client = [\"127.0.0.0/8\"] }"),
                ("elsewhere", "{ path_prefix = \"/e\", client = [\"10.0.0.0/8\"] }"),
                ("any", "{ path_prefix = \"/a\", any = [{ method = [\"PUT\"] }, { header = { x-write = \"1\" } }] }"),
                ("not", "{ path_prefix = \"/n\", not = { header = { x-no = { present = true } } } }"),
                ("tls", "{ path_prefix = \"/t\", tls = true }"),
            ],
        ))
        .start();
    let cases = [
        ("GET", "/", "", "plain"),
        ("GET", "/", "X-Canary: 1\r\n", "header"),
        ("GET", "/", "X-Canary: 12\r\n", "plain"),
        ("GET", "/", "x-canary: 1\r\n", "header"),
        ("GET", "/h", "X-V: v12\r\n", "header-regex"),
        ("GET", "/h", "X-V: w12\r\n", "plain"),
        ("GET", "/q?debug", "", "query"),
        ("GET", "/q?a=1&debug=0", "", "query"),
        ("GET", "/q?nodebug=1", "", "plain"),
        ("GET", "/c", "Cookie: a=1; beta=yes\r\n", "cookie"),
        ("GET", "/c", "Cookie: alphabeta=yes\r\n", "plain"),
        ("GET", "/l", "", "client"),
        ("GET", "/e", "", "plain"),
        ("PUT", "/a", "Content-Length: 0\r\n", "any"),
        ("GET", "/a", "X-Write: 1\r\n", "any"),
        ("GET", "/a", "", "plain"),
        ("GET", "/n", "", "not"),
        ("GET", "/n", "X-No: 1\r\n", "plain"),
        ("GET", "/t", "", if at.down.tls() { "tls" } else { "plain" }),
    ];
    for (method, target, fields, expected) in cases {
        assert_eq!(ask(&edge, method, "a", target, fields).text(), expected, "{method} {target} {fields:?}");
    }
}

fn method_mismatch_is_405_with_allow(at: Pair) {
    let edge = Setup::over(at)
        .text(&answering_with_id(
            at,
            &[
                ("read", "{ path_prefix = \"/item\", method = [\"GET\", \"HEAD\"] }"),
                ("write", "{ path_prefix = \"/item\", method = [\"PUT\"] }"),
            ],
        ))
        .start();
    assert_eq!(ask(&edge, "GET", "a", "/item", "").text(), "read");
    assert_eq!(ask(&edge, "PUT", "a", "/item", "Content-Length: 0\r\n").text(), "write");
    let head = ask(&edge, "HEAD", "a", "/item", "");
    assert_eq!((head.status(), head.get("content-length")), (200, Some("4")));
    let got = ask(&edge, "DELETE", "a", "/item", "");
    assert_eq!(got.status(), 405, "{got:?}");
    let mut allow: Vec<&str> =
        got.get("allow").expect("RFC 9110 15.5.6 wants Allow").split(',').map(str::trim).collect();
    allow.sort_unstable();
    assert_eq!(allow, ["GET", "HEAD", "PUT"]);
    assert!(got.text().contains("method_not_allowed"), "{got:?}");
    assert_eq!(ask(&edge, "DELETE", "a", "/other", "").status(), 404);
    assert_eq!(ask(&edge, "get", "a", "/item", "").status(), 405, "methods are case-sensitive");
}

fn redirects_have_their_location(at: Pair) {
    let redirects = [
        ("https", "{ host = [\"plain.test\"] }", "{ to = \"https://{host}{path}{query}\", status = 308 }"),
        ("moved", "{ path_prefix = \"/old\" }", "{ to = \"/new\", status = 301 }"),
        ("default", "{ path = \"/found\" }", "{ to = \"https://else.test/\" }"),
        ("group", "{ path_regex = \"^/u/([a-z]+)/([0-9]+)$\" }", "{ to = \"/{2}/{1}\", status = 307 }"),
    ];
    let text: String = redirects
        .iter()
        .map(|(id, m, to)| format!("[[route]]\nid = \"{id}\"\nmatch = {m}\nredirect = {to}\n"))
        .collect();
    let edge = Setup::over(at).text(&(listener(at) + &text)).start();
    let cases = [
        ("plain.test", "/a/b?c=%2F&d", 308, "https://plain.test/a/b?c=%2F&d"),
        ("plain.test:8080", "/", 308, "https://plain.test/"),
        ("a", "/old/x", 301, "/new"),
        ("a", "/found", 302, "https://else.test/"),
        ("a", "/u/bob/42", 307, "/42/bob"),
    ];
    for (host, target, status, location) in cases {
        let got = ask(&edge, "GET", host, target, "");
        assert_eq!(got.status(), status, "{got:?}");
        let to = got.get("location").expect("a Location");
        let same = to == location || host.contains(':') && to == location.replace("plain.test/", "plain.test:8080/");
        assert!(same, "{host}{target} → {to}, not {location}");
    }
    let evil = ask(&edge, "GET", "plain.test", "/%0d%0aSet-Cookie:x", "");
    assert!(!evil.has("set-cookie") && !evil.has("x"), "{evil:?}");
}

fn fixed_responses(at: Pair) {
    let text = "[[route]]\nid = \"json\"\nmatch = { path = \"/json\" }\n\
         respond = { status = 201, body = '{\"a\":1}', content_type = \"application/json\", headers = { cache-control = \"no-store\" } }\n\
         [[route]]\nid = \"empty\"\nmatch = { path = \"/empty\" }\nrespond = { status = 204 }\n\
         [[route]]\nid = \"gone\"\nmatch = { path = \"/gone\" }\nrespond = { status = 410, body = \"gone for good\" }\n";
    let edge = Setup::over(at).text(&(listener(at) + text)).start();
    let client = edge.client();
    for _ in 0..3 {
        let got = client.get("/json");
        assert_eq!((got.status(), got.text().as_str()), (201, "{\"a\":1}"));
        assert_eq!((got.get("content-type"), got.get("cache-control")), (Some("application/json"), Some("no-store")));
        let empty = client.get("/empty");
        assert_eq!(empty.status(), 204);
        assert!(!empty.has("content-length") && !empty.has("content-type"), "{empty:?}");
        assert_eq!(client.get("/gone").text(), "gone for good");
        assert_eq!(client.ask(Ask::new("HEAD", "/gone")).get("content-length"), Some("13"));
        // A body that nobody wants must not be taken for the next request.
        assert_eq!(client.ask(Ask::post("/gone", "GET /x HTTP/1.1\r\n\r\n")).status(), 410);
    }
}

fn rewrites_change_the_target_and_keep_the_query(at: Pair) {
    let origin =
        Origin::replying(at.up, |r| Reply::new(200, format!("{} {}", r.get("host").unwrap_or("-"), r.target())));
    let rewrites = [
        ("strip", "/strip", "{ strip_prefix = \"/strip\" }"),
        ("add", "/add", "{ add_prefix = \"/v1\" }"),
        ("both", "/both", "{ strip_prefix = \"/both\", add_prefix = \"/v2\" }"),
        ("regex", "/re", "{ regex = \"^/re/([a-z]+)/(.*)$\", replace = \"/{2}/{1}\" }"),
        ("host", "/host", "{ host = \"inner.test\" }"),
        ("query", "/query", "{ query = \"fixed=1\" }"),
        ("noquery", "/noquery", "{ query = \"\" }"),
    ];
    let routes: String = rewrites
        .iter()
        .map(|(id, p, r)| {
            format!("[[route]]\nid = \"{id}\"\nmatch = {{ path_prefix = \"{p}\" }}\npool = \"app\"\nrewrite = {r}\n")
        })
        .collect();
    let text = listener(at) + &pool_text("app", &[&origin], "") + &routes;
    let edge = Setup::over(at).text(&text).start();
    let cases = [
        ("/strip/a/b?a=1&b=%2F", "a /a/b?a=1&b=%2F"),
        ("/strip", "a /"),
        ("/strip?x", "a /?x"),
        ("/add/a?q", "a /v1/add/a?q"),
        ("/both/a%2Fb", "a /v2/a%2Fb"),
        ("/re/abc/d/e?x=1", "a /d/e/abc?x=1"),
        ("/re/123", "a /re/123"),
        ("/host/x", "inner.test /host/x"),
        ("/query/x?a=1", "a /query/x?fixed=1"),
        ("/noquery/x?a=1", "a /noquery/x"),
    ];
    let client = edge.client();
    for (target, expected) in cases {
        let got = client.ask(Ask::get(target).host("a"));
        assert_eq!((got.status(), got.text().as_str()), (200, expected), "{target}");
    }
}

fn paths_are_normalised_before_matching(at: Pair) {
    let origin = Origin::replying(at.up, |r| Reply::new(200, r.target()));
    let text = proxy_text_over(at.down, &origin, &Extra::default())
        + "[[route]]\nid = \"secret\"\nmatch = { path_prefix = \"/secret\" }\nrespond = { status = 403, body = \"secret\" }\n";
    let edge = Setup::over(at).text(&text).start();
    // Whatever way around: what matches as public must not be understood as secret by an origin that merges dots.
    for target in [
        "/secret",
        "/secret/x",
        "/a/../secret",
        "/./secret",
        "/a/b/../../secret/x",
        "/a/%2e%2e/secret",
        "/a/%2E./secret",
        "/%73ecret",
        "/%73%65%63%72%65%74/x",
        "/a/%2e%2e/secre%74",
    ] {
        let got = ask(&edge, "GET", "a", target, "");
        assert!(matches!(got.status(), 403 | 400), "{target}: {got:?}");
    }
    assert_eq!(ask(&edge, "GET", "a", "/a%2Fb/c", "").text(), "/a%2Fb/c", "%2F is no slash");
    for nul in ["/a%00b", "/%00"] {
        // HTTP/2 has a word for a malformed request besides the status (RFC 9113 8.1.1).
        match edge.client().try_ask(Ask::get(nul).host("a")) {
            Ok(got) => assert_eq!(got.status(), 400, "{nul}"),
            Err(e) => assert!(at.down.multiplexed() && reason(&e) == Some(Reason::PROTOCOL_ERROR), "{nul}: {e}"),
        }
    }
    assert!(
        origin.requests().iter().all(|r| !r.target().contains("secret") && !r.target().contains("..")),
        "{:?}",
        origin.requests()
    );
}

fn needless_escapes_are_undone_before_matching(at: Pair) {
    let origin = Origin::replying(at.up, |r| Reply::new(200, r.target()));
    for m in
        ["path = \"/secret\"", "path_prefix = \"/secret\"", "path_glob = \"/secre*\"", "path_regex = \"^/secret$\""]
    {
        let text = listener(at)
            + &pool_text("app", &[&origin], "")
            + &format!(
                "[[route]]\nid = \"secret\"\nmatch = {{ {m} }}\npool = \"app\"\n\
                 [[route]]\nid = \"rest\"\nmatch = {{}}\nrespond = {{ status = 404, body = \"rest\" }}\n"
            );
        let edge = Setup::over(at).text(&text).start();
        for (target, forwarded) in [
            ("/%73ecret", "/secret"),
            ("/secre%74?q=%73", "/secret?q=%73"),
            ("/%73%65%63%72%65%74", "/secret"),
            ("/a/%2e%2e/%73ecret", "/secret"),
        ] {
            let got = ask(&edge, "GET", "a", target, "");
            assert_eq!((got.status(), got.text().as_str()), (200, forwarded), "{m}: {target}");
        }
        // Twice escaped is something else.
        assert_eq!(ask(&edge, "GET", "a", "/%2573ecret", "").text(), "rest", "{m}");
    }
}

fn error_bodies_follow_accept(at: Pair) {
    let origin = Origin::fine(at.up);
    let text = proxy_text_over(at.down, &origin, &Extra::default()).replace("path_prefix = \"/\"", "path = \"/only\"");
    let edge = Setup::over(at).text(&text).start();
    let get = |accept: &str| ask(&edge, "GET", "a", "/missing", accept);
    let json = get("Accept: application/json\r\n");
    assert_eq!(json.status(), 404);
    assert!(json.get("content-type").is_some_and(|t| t.starts_with("application/problem+json")), "RFC 9457: {json:?}");
    let body: serde_json::Value = serde_json::from_slice(&json.body).expect("JSON");
    assert_eq!((body["status"].as_u64(), body["category"].as_str()), (Some(404), Some("no_route")), "{body}");
    let id = body["request_id"].as_str().expect("a request id");
    edge.wait_log("the same request id", |l| l["request_id"] == id);
    let html = get("Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n");
    assert!(html.get("content-type").is_some_and(|t| t.starts_with("text/html")), "{html:?}");
    assert!(html.text().contains("404") && html.text().contains("no_route"), "{html:?}");
    let text = get("Accept: text/plain\r\n");
    assert!(text.get("content-type").is_some_and(|t| t.starts_with("text/plain")), "{text:?}");
    assert!(text.text().contains("no_route"), "{text:?}");
    let any = get("");
    assert!(any.text().contains("no_route"), "{any:?}");
}

fn error_bodies_are_escaped(driver: Driver) {
    let text = "[[listener]]\nname = \"web\"\naddress = [\"127.0.0.1:0\"]\n\
                [[route]]\nid = \"only\"\nmatch = { path = \"/only\" }\nrespond = {}\n";
    let edge = Setup::new(driver).text(text).start();
    let evil = edge.connect().ask("GET /<script>alert(1)</script> HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n");
    assert!(!evil.text().contains("<script>alert"), "{evil:?}");
}
