//! What answers over TCP say of HTTP/3 on the same port (RFC 7838).
use crate::harness::{
    Addr, Ask, Edge, Origin, Pair, Reply, Setup,
    edge::{Extra, listener_text, proxy_text_over},
};

crate::suite!("alt_svc";
    over_tls_and_tcp:
        every_answer_says_where_http3_is,
        whoever_has_said_it_already_is_not_corrected,
        it_is_said_as_long_as_it_is_so,
        it_is_not_said_where_the_age_is_zero;
);

const ROUTES: &str = "\
    [[route]]\nmatch = \"/own\"\nrespond = { body = \"own\", content_type = \"text/plain\" }\n\
    [[route]]\nmatch = \"/bare\"\nrespond = { status = 204 }\n\
    [[route]]\nmatch = \"/clear\"\nrespond = { headers = { Alt-Svc = \"clear\", X-A = \"b\" } }\n\
    [[route]]\nmatch = \"/fields\"\nrespond = { headers = { X-A = \"b\" } }\n\
    [[route]]\nmatch = \"/moved\"\nredirect = { to = \"https://{host}/new\" }\n\
    [pool.nobody]\nendpoints = [\"unix:@DIR@/nobody.sock\"]\n\
    [[route]]\nmatch = \"/nobody\"\npool = \"nobody\"\n";

/// A listener `web` that speaks HTTP/3 too, a listener `plain` that does not, and routes of every kind.
fn text(at: Pair, origin: &Origin, h3: bool, keys: &str) -> String {
    let web = proxy_text_over(at.down, origin, &Extra { listener: keys, ..Extra::default() });
    let protocols = if h3 { "[\"h1\", \"h2\", \"h3\"]" } else { "[\"h1\", \"h2\"]" };
    web.replacen("[\"h1\", \"h2\"]", protocols, 1)
        + &listener_text("other", at.down, "")
        + &listener_text("plain", crate::harness::Protocol::H1, "https_redirect = false")
        + ROUTES
}

fn start(at: Pair, origin: &Origin, keys: &str) -> Edge {
    Setup::over(at).shards(2).text(&text(at, origin, true, keys)).start()
}

fn origin(at: Pair) -> Origin {
    Origin::serving(at.up, |served| {
        let own = served.target() == "/theirs";
        let reply = Reply::new(200, "ok");
        served.answer(&if own { reply.field("Alt-Svc", "h3=\":1\"") } else { reply })
    })
}

fn port(addr: &Addr) -> u16 {
    match addr {
        Addr::Tcp(addr) => addr.port(),
        other => panic!("{other} is not TCP"),
    }
}

fn every_answer_says_where_http3_is(at: Pair) {
    let origin = origin(at);
    let edge = start(at, &origin, "");
    let said = format!("h3=\":{}\"; ma=86400", port(&edge.addr()));
    let udp = edge.status()["listeners"][0]["address"][1].clone();
    assert_eq!(udp, format!("udp:127.0.0.1:{}", port(&edge.addr())), "{}", edge.status());
    let client = edge.client();
    for (target, status) in
        [("/", 200), ("/own", 200), ("/bare", 204), ("/fields", 200), ("/moved", 302), ("/nobody", 502)]
    {
        let got = client.get(target);
        assert_eq!(got.status(), status, "{target}: {got:?}");
        assert_eq!(got.all("alt-svc"), [&said], "{target}: {got:?}");
    }
    let grpc = client.ask(Ask::get("/nobody").field("Content-Type", "application/grpc"));
    assert_eq!((grpc.get("grpc-status"), grpc.get("alt-svc")), (Some("14"), Some(&*said)), "{grpc:?}");
    for name in ["other", "plain"] {
        let addr = edge.listener(name).remove(0);
        let down = if name == "plain" { crate::harness::Protocol::H1 } else { at.down };
        let got = crate::harness::Client::connect(down, &addr).get("/own");
        assert_eq!((got.status(), got.has("alt-svc")), (200, false), "{name}: {got:?}");
    }
}

fn whoever_has_said_it_already_is_not_corrected(at: Pair) {
    let origin = origin(at);
    let edge = start(at, &origin, "");
    let client = edge.client();
    assert_eq!(client.get("/theirs").all("alt-svc"), ["h3=\":1\""]);
    assert!(client.get("/theirs").has("x-request-id"));
    assert_eq!(client.get("/clear").all("alt-svc"), ["clear"]);
}

fn it_is_said_as_long_as_it_is_so(at: Pair) {
    let origin = origin(at);
    let edge = start(at, &origin, "");
    let client = edge.client();
    for h3 in [true, false, true, false] {
        edge.rewrite(&text(at, &origin, h3, ""));
        let out = edge.reload();
        assert_eq!(out.code, 0, "{out:?}");
        // On the connection that is there already.
        for target in ["/", "/own"] {
            let got = client.get(target);
            assert_eq!((got.status(), got.has("alt-svc")), (200, h3), "{target}: {got:?}");
        }
    }
}

fn it_is_not_said_where_the_age_is_zero(at: Pair) {
    let origin = origin(at);
    let edge = start(at, &origin, "http3 = { alt_svc_max_age = \"0s\" }");
    assert!(!edge.client().get("/").has("alt-svc"));
    edge.rewrite(&text(at, &origin, true, "http3 = { alt_svc_max_age = \"90s\" }"));
    assert_eq!(edge.reload().code, 0);
    assert!(edge.client().get("/").get("alt-svc").is_some_and(|said| said.ends_with("; ma=90")));
}
