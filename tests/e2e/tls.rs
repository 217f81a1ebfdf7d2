//! TLS on both sides: which protocol, which certificate, who may connect, and what happens when something is wrong.
use crate::harness::{
    Addr, Ask, Client, Driver, Edge, Origin, Pair, Protocol, Reply, Setup, Wire,
    edge::{Extra, cli, listener_text, pool_text, protocols_text, proxy_text_over, run},
    eventually,
    message::Kind,
    programs,
    tls::{self, Authority, EDGE_NAME, Identity, TlsStream, pki},
    wire::Stream,
};
use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion,
    version::{TLS12, TLS13},
};
use std::{
    io,
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

crate::suite!("tls";
    each_driver:
        alpn_chooses_the_protocol,
        sni_chooses_the_certificate,
        plain_http_is_told_so,
        stalled_handshakes_end,
        clients_show_certificates_where_they_must,
        cut_bodies_without_close_notify_do_not_look_whole;
    over_tls:
        hosts_of_other_certificates_are_misdirected,
        routes_may_want_a_certificate,
        log_tells_of_the_handshake;
    to_tls:
        endpoints_with_bad_certificates_are_upstream_tls,
        endpoints_may_see_a_certificate;
    each_downstream:
        plain_requests_for_hosts_with_a_certificate_go_to_https;
    once:
        sessions_are_resumed_on_every_shard,
        certificates_are_replaced_under_load,
        bad_pairs_are_kept_out,
        old_versions_are_refused,
);

/// A listener `web` with these pairs, written into the directory under their names, and routes that answer by themselves.
fn serving(driver: Driver, pairs: &[(&str, &Identity)], keys: &str) -> Edge {
    let setup = Setup::new(driver);
    let mut list = Vec::new();
    for (name, identity) in pairs {
        identity.write(setup.dir(), name);
        list.push(format!("{{ cert = \"@DIR@/{name}.pem\", key = \"@DIR@/{name}.key\" }}"));
    }
    let (tls_keys, listener_keys): (Vec<&str>, Vec<&str>) =
        keys.lines().partition(|l| ["client_", "min_version"].iter().any(|k| l.starts_with(k)));
    let tls_keys: String = tls_keys.iter().map(|l| format!(", {l}")).collect();
    setup
        .text(&format!(
            "[[listener]]\nname = \"web\"\naddress = [\"127.0.0.1:0\"]\n{}\ntls = {{ certificates = [{}]{tls_keys} }}\n\
             [[route]]\nid = \"own\"\nmatch = {{ path_prefix = \"/\" }}\nrespond = {{ body = \"own\" }}\n",
            listener_keys.join("\n"),
            list.join(", ")
        ))
        .start()
}

/// Shakes hands with `edge`, asking for `name`.
fn shake(edge: &Addr, config: &Arc<ClientConfig>, name: &str) -> io::Result<TlsStream> {
    let socket = TcpStream::connect(edge.tcp())?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(crate::harness::PATIENCE))?;
    TlsStream::connect(socket, Arc::clone(config), name)
}

/// GETs over what shook hands.
fn get(stream: TlsStream, host: &str) -> io::Result<crate::harness::Message> {
    let mut wire = Wire::over(Stream::Tls(stream), None)?;
    wire.try_send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))?;
    wire.message(Kind::Response)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn alpn_chooses_the_protocol(driver: Driver) {
    let both = serving(driver, &[("edge", &pki().edge)], "");
    let h1 = serving(driver, &[("edge", &pki().edge)], "protocols = [\"h1\"]");
    let h2 = serving(driver, &[("edge", &pki().edge)], "protocols = [\"h2\"]");
    let chosen = |edge: &Edge, offered: &[&str]| -> Option<String> {
        let stream = shake(&edge.addr(), &tls::client(offered), EDGE_NAME).ok()?;
        Some(stream.look(|c| c.alpn_protocol().map_or("-".to_owned(), |p| String::from_utf8_lossy(p).into_owned())))
    };
    let cases: [(&Edge, &[&str], Option<&str>); 9] = [
        (&both, &["h2", "http/1.1"], Some("h2")),
        (&both, &["http/1.1", "h2"], Some("h2")),
        (&both, &["http/1.1"], Some("http/1.1")),
        (&both, &["spdy/3", "http/1.1"], Some("http/1.1")),
        (&both, &[], Some("-")),
        // RFC 7301 3.2: no_application_protocol.
        (&both, &["spdy/3"], None),
        (&h1, &["h2", "http/1.1"], Some("http/1.1")),
        (&h2, &["h2", "http/1.1"], Some("h2")),
        (&h2, &["http/1.1"], None),
    ];
    for (edge, offered, expected) in cases {
        assert_eq!(chosen(edge, offered).as_deref(), expected, "{offered:?}");
    }
    let silent = shake(&both.addr(), &tls::client(&[]), EDGE_NAME).expect("a handshake");
    assert_eq!(get(silent, "a").expect("an answer").text(), "own", "without ALPN it is HTTP/1.1");
    assert_eq!(Client::connect(Protocol::H2, &both.addr()).get("/").text(), "own");
}

fn sni_chooses_the_certificate(driver: Driver) {
    let issue = |names: &[&str]| pki().authority.issue(names);
    let (first, exact) = (issue(&["first.example"]), issue(&["www.wild.example", "two.example"]));
    let (wild, deep) = (issue(&["*.wild.example"]), issue(&["*.deep.wild.example"]));
    let edge = serving(driver, &[("first", &first), ("wild", &wild), ("exact", &exact), ("deep", &deep)], "");
    let addr = edge.addr();
    let config = tls::curious(&["http/1.1"], &[&TLS12, &TLS13]);
    let cases = [
        ("first.example", &first),
        ("www.wild.example", &exact),
        ("two.example", &exact),
        ("other.wild.example", &wild),
        ("OTHER.Wild.Example", &wild),
        ("a.deep.wild.example", &deep),
        // A wildcard stands for one label (RFC 9525 6.3).
        ("a.b.wild.example", &first),
        ("wild.example", &first),
        ("unknown.example", &first),
        // No name at all.
        ("127.0.0.1", &first),
    ];
    for (name, expected) in cases {
        let stream = shake(&addr, &config, name).unwrap_or_else(|e| panic!("{name}: {e}"));
        let shown = stream.look(|c| c.peer_certificates().map(|all| all[0].clone()));
        assert!(shown.as_ref() == Some(&expected.der), "{name} got another certificate");
    }
}

fn hosts_of_other_certificates_are_misdirected(at: Pair) {
    let setup = Setup::over(at);
    for name in ["one", "two"] {
        pki().authority.issue(&[&format!("{name}.example"), &format!("*.{name}.example")]).write(setup.dir(), name);
    }
    let list = ["one", "two"].map(|n| format!("{{ cert = \"@DIR@/{n}.pem\", key = \"@DIR@/{n}.key\" }}")).join(", ");
    let edge = setup
        .text(&format!(
            "[[listener]]\nname = \"web\"\naddress = [\"127.0.0.1:0\"]\ntls = {{ certificates = [{list}] }}\n{}\
             [[route]]\nid = \"own\"\nmatch = {{}}\nrespond = {{ body = \"own\" }}\n",
            protocols_text(at.down)
        ))
        .start();
    let config = tls::client(&[at.down.alpn()]);
    let client = Client::with_tls(at.down, &edge.addr(), config, "www.one.example").expect("a handshake");
    // RFC 9110 7.4, 15.5.20: the client may ask again on a connection of its own.
    for (host, status) in [
        ("www.one.example", 200),
        ("one.example", 200),
        ("a.one.example:443", 200),
        ("two.example", 421),
        ("a.two.example", 421),
    ] {
        let got = client.ask(Ask::get("/").host(host));
        assert_eq!(got.status(), status, "{host}: {got:?}");
    }
    assert_eq!(edge.wait_log("the misdirected one", |l| l["status"] == 421)["category"], "misdirected");
}

fn clients_show_certificates_where_they_must(driver: Driver) {
    let ours = Authority::new("clients");
    let setup_keys = "client_auth = \"required\"\nclient_ca = \"@DIR@/clients.pem\"";
    let good = ours.issue(&["someone"]);
    let wrong = Authority::new("others").issue(&["someone"]);
    let expired = ours.issue_with(&["someone"], |p| p.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let edge = {
        let anchor = Identity { pem: ours.pem.clone(), ..good.clone() };
        // Written under its name by the list of pairs too; only its certificate is used.
        let setup = Setup::new(driver);
        anchor.write(setup.dir(), "clients");
        pki().edge.write(setup.dir(), "edge");
        let tls = setup_keys.replace('\n', ", ");
        setup
            .text(&format!(
                "[[listener]]\nname = \"web\"\naddress = [\"127.0.0.1:0\"]\n\
                 tls = {{ certificates = [{{ cert = \"@DIR@/edge.pem\", key = \"@DIR@/edge.key\" }}], {tls} }}\n\
                 [[route]]\nid = \"own\"\nmatch = {{}}\nrespond = {{ body = \"own\" }}\n"
            ))
            .start()
    };
    let addr = edge.addr();
    let ask = |config: Arc<ClientConfig>| get(shake(&addr, &config, EDGE_NAME)?, "a");
    for _ in 0..2 {
        assert_eq!(ask(good.client(&["http/1.1"])).expect("a client with a good certificate").text(), "own");
        for (what, config) in [
            ("none", tls::client(&["http/1.1"])),
            ("of another authority", wrong.client(&["http/1.1"])),
            ("expired", expired.client(&["http/1.1"])),
        ] {
            let e = ask(config).expect_err("a client without a good certificate");
            assert_ne!(e.kind(), io::ErrorKind::TimedOut, "{what}: {e}");
        }
    }
    let refused = || edge.metrics().sum("edge_tls_handshakes_total", &[("result", "client_certificate")]);
    eventually("six refusals in the metric", || (refused() == 6.0).then_some(()));
}

fn routes_may_want_a_certificate(at: Pair) {
    let ours = Authority::new("clients");
    let setup = Setup::over(at);
    std::fs::write(setup.dir().join("clients.pem"), &ours.pem).expect("the temporary directory takes files");
    let edge = setup
        .text(&format!(
            "[[listener]]\nname = \"web\"\naddress = [\"127.0.0.1:0\"]\n\
             tls = {{ certificates = [{{ cert = \"@DIR@/edge.pem\", key = \"@DIR@/edge.key\" }}], client_auth = \"optional\", client_ca = \"@DIR@/clients.pem\" }}\n{}\
             [policy.known]\nrequire_mtls = true\n\
             [[route]]\nid = \"open\"\nmatch = {{}}\nrespond = {{ body = \"open\" }}\n\
             [[route]]\nid = \"known\"\nmatch = {{ path_prefix = \"/known\" }}\nrespond = {{ body = \"known\" }}\npolicy = \"known\"\n",
            protocols_text(at.down)
        ))
        .start();
    let connect = |config| Client::with_tls(at.down, &edge.addr(), config, EDGE_NAME).expect("a handshake");
    let stranger = connect(tls::client(&[at.down.alpn()]));
    assert_eq!(stranger.get("/").text(), "open");
    let got = stranger.get("/known");
    assert_eq!(got.status(), 403, "{got:?}");
    assert_eq!(stranger.get("/").text(), "open", "the connection goes on");
    let friend = connect(ours.issue(&["friend"]).client(&[at.down.alpn()]));
    assert_eq!((friend.get("/").text(), friend.get("/known").text()), ("open".to_owned(), "known".to_owned()));
}

fn plain_http_is_told_so(driver: Driver) {
    let edge = serving(driver, &[("edge", &pki().edge)], "");
    let mut wire = edge.connect();
    let got = wire.get("/");
    assert_eq!(got.status(), 400, "{got:?}");
    wire.expect_end();
    let mut garbage = edge.connect();
    let _ = garbage.try_send([0xff; 100]);
    let answer = garbage.read_to_close();
    assert!(!answer.starts_with(b"HTTP/1.1 2"), "{answer:?}");
    assert_eq!(Client::connect(Protocol::H1Tls, &edge.addr()).get("/").text(), "own", "the listener goes on");
}

fn stalled_handshakes_end(driver: Driver) {
    let edge = serving(driver, &[("edge", &pki().edge)], "timeouts = { handshake = \"300ms\" }");
    let hello = {
        let mut c = rustls::ClientConnection::new(tls::client(&["h2"]), tls::server_name(EDGE_NAME)).expect("a client");
        let mut out = Vec::new();
        c.write_tls(&mut out).expect("a hello");
        out
    };
    // Nothing at all, half a hello, a whole one and nothing more.
    for sent in [0, hello.len() / 2, hello.len()] {
        let mut wire = edge.connect();
        wire.send(&hello[..sent]);
        let begun = Instant::now();
        wire.read_to_close();
        let took = begun.elapsed();
        assert!(
            (Duration::from_millis(200)..Duration::from_secs(4)).contains(&took),
            "{sent}: it ended after {took:?}"
        );
    }
    // Who says nothing has not begun.
    let timeouts = || edge.metrics().sum("edge_tls_handshakes_total", &[("result", "timeout")]);
    eventually("two timeouts in the metric", || (timeouts() == 2.0).then_some(()));
}

/// RFC 8446 6.1, RFC 9112 9.8: an end without `close_notify` is no end.
fn cut_bodies_without_close_notify_do_not_look_whole(driver: Driver) {
    for orderly in [true, false] {
        let origin = Origin::raw(Protocol::H1Tls, move |wire, _| {
            wire.request()?;
            wire.try_send("HTTP/1.1 200 OK\r\n\r\nuntil the end")?;
            if !orderly {
                wire.end_without_close_notify();
            }
            Ok(())
        });
        let at = Pair { driver, down: Protocol::H1, up: Protocol::H1Tls };
        let edge = Setup::pair(at, &origin).start();
        let got = edge.client().try_ask(Ask::get("/"));
        match (orderly, got) {
            (true, got) => assert_eq!(got.expect("a whole answer").text(), "until the end"),
            (false, Ok(got)) => assert_eq!(got.status(), 502, "a cut answer looks whole: {got:?}"),
            (false, Err(e)) => assert_ne!(e.kind(), io::ErrorKind::TimedOut, "{e}"),
        }
    }
}

fn endpoints_with_bad_certificates_are_upstream_tls(at: Pair) {
    let stranger = Authority::new("nobody knows").issue(&[tls::ORIGIN_NAME]);
    let misnamed = pki().authority.issue(&["elsewhere.test"]);
    let expired = pki().authority.issue_with(&[tls::ORIGIN_NAME], |p| p.not_after = rcgen::date_time_ymd(2020, 1, 1));
    for (what, identity) in [("of a stranger", stranger), ("for another name", misnamed), ("expired", expired)] {
        let origin = Origin::serving_with(at.up, identity.server(&[at.up.alpn()]), |served| {
            served.answer(&Reply::new(200, "secret"))
        });
        let edge = Setup::pair(at, &origin).start();
        let client = edge.client();
        for _ in 0..2 {
            let got = client.get("/bad");
            assert_eq!(got.status(), 502, "{what}: {got:?}");
            assert!(got.text().contains("upstream_tls"), "{what}: {got:?}");
        }
        assert_eq!(edge.wait_log_path("/bad")["category"], "upstream_tls", "{what}");
        assert!(origin.begun().is_empty(), "nothing is said to it");
        let trusting = proxy_text_over(at.down, &origin, &Extra::default());
        let trusting = trusting.replace("tls = { ca = ", "tls = { verify = false, ca = ");
        let trusting = trusting.replace("ca = \"@DIR@/ca.pem\", ", "");
        edge.rewrite(&trusting);
        let out = edge.reload();
        assert_eq!(out.code, 0, "{out:?}");
        assert_eq!(client.get("/good").text(), "secret", "{what}: as the configuration wants it");
    }
}

fn endpoints_may_see_a_certificate(at: Pair) {
    let ours = Authority::new("endpoints trust");
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(ours.roots()),
        Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
    );
    let config = pki().origin.server_with(&[at.up.alpn()], verifier.build().expect("a verifier"));
    let origin = Origin::serving_with(at.up, config, |served| served.answer(&Reply::new(200, "known")));
    let text = proxy_text_over(at.down, &origin, &Extra::default());
    let setup = Setup::over(at);
    ours.issue(&["edge"]).write(setup.dir(), "shown");
    let shown = text.replace("tls = { ca = ", "tls = { cert = \"@DIR@/shown.pem\", key = \"@DIR@/shown.key\", ca = ");
    let edge = setup.text(&text).start();
    let client = edge.client();
    assert_eq!(client.get("/").status(), 502, "the endpoint wants a certificate");
    edge.rewrite(&shown);
    let out = edge.reload();
    assert_eq!(out.code, 0, "{out:?}");
    assert_eq!(client.get("/").text(), "known");
}

fn plain_requests_for_hosts_with_a_certificate_go_to_https(at: Pair) {
    let origin = Origin::fine(at.up);
    // The listener under test has no TLS whatever the pair says; its protocols are the pair's.
    let down = if at.down.multiplexed() { Protocol::H2c } else { Protocol::H1 };
    let text = |keys: &str, route: &str| {
        listener_text("web", down, keys)
            + &listener_text("secure", Protocol::H1Tls, "")
            + &pool_text("app", &[&origin], "")
            + &format!("[[route]]\nid = \"all\"\nmatch = {{ path_prefix = \"/\" }}\npool = \"app\"\n{route}\n")
    };
    let edge = Setup::over(Pair { down, ..at }).text(&text("", "")).start();
    let client = edge.client();
    let got = client.ask(Ask::get("/p/q?x=%2F").host("shop.test"));
    assert_eq!(got.status(), 308, "{got:?}");
    let location = got.get("location").expect("a Location");
    assert!(location.starts_with("https://shop.test") && location.ends_with("/p/q?x=%2F"), "{location}");
    assert_eq!(client.ask(Ask::post("/", "body").host("shop.test")).status(), 308);
    let acme = client.ask(Ask::get("/.well-known/acme-challenge/token").host("shop.test"));
    assert_eq!(acme.status(), 200, "{acme:?}");
    assert_eq!(client.ask(Ask::get("/").host("plain.example")).status(), 200, "a host without a certificate");
    for (keys, route) in [("https_redirect = false", ""), ("", "allow_http = true")] {
        edge.rewrite(&text(keys, route));
        assert_eq!(edge.reload().code, 0);
        assert_eq!(client.ask(Ask::get("/").host("shop.test")).status(), 200, "{keys}{route}");
    }
}

fn log_tells_of_the_handshake(at: Pair) {
    let origin = Origin::fine(at.up);
    let edge = Setup::pair(at, &origin).start();
    edge.client().get("/seen");
    let line = edge.wait_log_path("/seen");
    assert_eq!((line["scheme"].as_str(), line["tls_version"].as_str()), (Some("https"), Some("1.3")), "{line}");
    assert!(line["tls_group"].is_string(), "{line}");
    let handshakes = edge.metrics().sum("edge_tls_handshakes_total", &[("result", "ok"), ("resumed", "no")]);
    assert_eq!(handshakes, 1.0);
}

fn sessions_are_resumed_on_every_shard() {
    const CONNECTIONS: usize = 1_000;
    let text = listener_text("web", Protocol::H1Tls, "")
        + "[[route]]\nid = \"own\"\nmatch = {}\nrespond = { body = \"own\" }\n";
    let edge = Setup::new(Driver::IoUring).shards(4).text(&text).start();
    let addr = edge.addr();
    for version in [&TLS13, &TLS12] {
        // A client of its own remembers its tickets alone.
        let one = || {
            let config = tls::curious(&["http/1.1"], &[version]);
            let mut resumed = 0;
            for i in 0..CONNECTIONS / 8 {
                let stream = shake(&addr, &config, EDGE_NAME).unwrap_or_else(|e| panic!("connection {i}: {e}"));
                resumed += usize::from(stream.look(|c| c.handshake_kind()) == Some(HandshakeKind::Resumed));
                assert_eq!(get(stream, "a").expect("an answer").text(), "own");
            }
            resumed
        };
        let resumed: usize = std::thread::scope(|s| {
            (0..4).map(|_| s.spawn(one)).collect::<Vec<_>>().into_iter().map(|t| t.join().expect("a client")).sum()
        });
        let all = CONNECTIONS / 2;
        // Each of the four clients begins without a ticket.
        assert!(resumed * 100 >= (all - 4) * 99, "{resumed} of {all} were resumed by {:?}", version.version);
    }
    let shards = edge.metrics().values("edge_shard_accepts_total", "shard").len();
    assert_eq!(shards, 4);
}

fn certificates_are_replaced_under_load() {
    let names = [EDGE_NAME, "test"];
    let certs: Vec<Identity> = (0..4).map(|_| pki().authority.issue(&names)).collect();
    let edge = serving(Driver::IoUring, &[("pair", &certs[0])], "");
    let addr = edge.addr();
    let stop = AtomicBool::new(false);
    let done = AtomicUsize::new(0);
    let shown = || {
        let config = tls::curious(&["http/1.1"], &[&TLS13]);
        shake(&addr, &config, EDGE_NAME).expect("a handshake").look(|c| c.peer_certificates().map(|all| all[0].clone()))
    };
    let outcome = std::thread::scope(|s| {
        for protocol in [Protocol::H1Tls, Protocol::H2] {
            let (addr, stop, done) = (&addr, &stop, &done);
            s.spawn(move || {
                let kept = Client::connect(protocol, addr);
                while !stop.load(Ordering::SeqCst) {
                    // A kept connection keeps the certificate it began with; new ones come all the time.
                    assert_eq!(kept.get("/").text(), "own");
                    assert_eq!(Client::connect(protocol, addr).get("/").text(), "own");
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for (i, cert) in certs.iter().enumerate().skip(1) {
                cert.write(edge.dir(), "pair");
                if i == 2 {
                    assert_eq!(edge.reload().code, 0);
                    assert!(shown().as_ref() == Some(&cert.der), "a reload shows it at once");
                }
                eventually("the new certificate", || (shown().as_ref() == Some(&cert.der)).then_some(()));
            }
        }));
        stop.store(true, Ordering::SeqCst);
        outcome
    });
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
    assert!(done.load(Ordering::SeqCst) > 10, "{done:?}");
}

fn bad_pairs_are_kept_out() {
    let good = pki().authority.issue(&[EDGE_NAME, "a"]);
    let other = pki().authority.issue(&[EDGE_NAME, "a"]);
    let expired = pki().authority.issue_with(&[EDGE_NAME], |p| p.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let edge = serving(Driver::IoUring, &[("pair", &good)], "");
    let addr = edge.addr();
    let shown = || {
        let config = tls::curious(&["http/1.1"], &[&TLS13]);
        shake(&addr, &config, EDGE_NAME).expect("a handshake").look(|c| c.peer_certificates().map(|all| all[0].clone()))
    };
    let failures = || edge.metrics().sum("edge_cert_reload_failures_total", &[]);
    let mismatched = Identity { key_pem: other.key_pem.clone(), ..good.clone() };
    let garbled = Identity { pem: "-----BEGIN CERTIFICATE-----\nnot\n".to_owned(), ..good.clone() };
    for (what, bad) in [("another key", mismatched), ("garbage", garbled), ("expired", expired)] {
        let (told, failed) = (edge.stderr().len(), failures());
        bad.write(edge.dir(), "pair");
        eventually(&format!("the metric to tell of {what}"), || (failures() > failed).then_some(()));
        edge.wait_stderr_from(told, "why", |l| l.contains("pair"));
        assert!(shown().as_ref() == Some(&good.der), "{what}: the old pair stays");
    }
    other.write(edge.dir(), "pair");
    eventually("the next good one", || (shown().as_ref() == Some(&other.der)).then_some(()));
    // A file that is bad from the start is a mistake in the configuration.
    let text = listener_text("web", Protocol::H1Tls, "") + "[[route]]\nid = \"own\"\nrespond = {}\n";
    let setup = Setup::new(Driver::IoUring).text(&text);
    let config = setup.write();
    std::fs::write(setup.dir().join("edge.key"), "nothing").expect("the temporary directory takes files");
    let out = cli(&["validate", "--config", &config.display().to_string()]);
    assert!(out.code != 0 && out.stderr.contains("edge.key"), "it says which file: {out:?}");
}

fn old_versions_are_refused() {
    let edge = serving(Driver::IoUring, &[("edge", &pki().edge)], "");
    let strict = serving(Driver::IoUring, &[("edge", &pki().edge)], "min_version = \"1.3\"");
    let speaks = |edge: &Edge, version| {
        let stream = shake(&edge.addr(), &tls::curious(&["h2"], &[version]), EDGE_NAME).ok()?;
        stream.look(|c| c.protocol_version())
    };
    assert_eq!(speaks(&edge, &TLS12), Some(ProtocolVersion::TLSv1_2));
    assert_eq!(speaks(&edge, &TLS13), Some(ProtocolVersion::TLSv1_3));
    assert_eq!((speaks(&strict, &TLS12), speaks(&strict, &TLS13)), (None, Some(ProtocolVersion::TLSv1_3)));
    let Some(openssl) = programs::find("openssl") else { return };
    for old in ["-tls1", "-tls1_1"] {
        let mut command = programs::command(&openssl);
        command.args(["s_client", old, "-cipher", "ALL:@SECLEVEL=0", "-connect"]).arg(edge.addr().to_string());
        let out = run(command);
        assert!(!out.stdout.contains("Cipher is ECDHE") && out.code != 0, "{old}: {out:?}");
    }
}
