//! Requests that are sent again, beside each other, or not at all: retries and their budget, hedging, circuits, and the time of
//! each phase.
use crate::harness::{
    Ask, Driver, Edge, Origin, Pair, Reply, Setup,
    edge::{Extra, listener_text, pool_text},
    eventually,
    origin::answer,
    served::Order,
    wire::{Addr, Wire},
};
use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

crate::suite!("again";
    each_pair:
        a_post_is_never_seen_twice,
        a_put_is_replayed_whole;
    each_driver:
        retries_of_an_origin_that_always_fails_end_with_the_budget,
        retries_are_a_share_of_successes,
        a_circuit_opens_tries_and_closes,
        a_circuit_that_is_open_outlives_a_reload,
        hedging_takes_stalls_off_the_tail,
        an_attempt_has_its_own_time;
    each_upstream:
        a_tls_handshake_has_its_own_time;
);

/// Whatever can be tried again, is.
const EAGER: &str = "retry = { attempts = 3, on = [\"connect\", \"reset\", \"timeout\", \"500\", \"502\", \"503\", \"504\"], \
     backoff = \"1ms\", budget_burst = 10000 }";
const QUICK: &str = "timeouts = { connect = \"20s\", tls = \"20s\", first_byte = \"300ms\" }";

/// How often each id was seen.
fn seen(origin: &Origin) -> HashMap<String, usize> {
    let mut seen = HashMap::new();
    for request in origin.begun() {
        *seen.entry(request.get("x-id").unwrap_or_default().to_owned()).or_default() += 1;
    }
    seen
}

fn a_post_is_never_seen_twice(at: Pair) {
    let origin = Origin::serving(at.up, |served| match served.target().trim_start_matches('/') {
        "reset" => {
            served.request()?;
            served.reset(h2::Reason::INTERNAL_ERROR);
            Ok(())
        }
        "cut" => {
            served.request()?;
            served.order(Order::Cut);
            if served.is_http2() { served.wait_cancel() } else { Ok(()) }
        }
        "silent" => served.wait_cancel(),
        "late" => {
            served.request()?;
            served.wait_cancel()
        }
        status => {
            let reply = Reply::new(status.parse().unwrap_or(200), "no");
            served.request()?;
            served.reply(&reply)
        }
    });
    let edge = Setup::pair_with(at, &origin, &Extra { pool: QUICK, policy: EAGER, ..Extra::default() }).start();
    let client = edge.client();
    let paths = ["/reset", "/cut", "/500", "/502", "/503", "/504", "/silent", "/late", "/200"];
    for (round, path) in (0..2).flat_map(|round| paths.map(|path| (round, path))) {
        for method in ["POST", "PATCH", "GET"] {
            let id = format!("{method} {path} {round}");
            let body = if method == "GET" { Ask::get(path) } else { Ask::post(path, "pay once") };
            let ask = Ask { method: method.into(), ..body }.field("x-id", &id);
            let got = client.ask(ask);
            assert_eq!(got.status() == 200, path == "/200", "{id}: {got:?}");
        }
    }
    let seen = seen(&origin);
    for (id, times) in &seen {
        let most = if id.starts_with("GET") { 3 } else { 1 };
        assert!(*times <= most, "{id} was seen {times} times");
    }
    // The same failures of a GET are tried again: it is the method that makes the difference.
    for path in ["/reset", "/502", "/503", "/504", "/late"] {
        assert_eq!(seen.get(&format!("GET {path} 0")), Some(&3), "{path}");
    }
}

fn a_put_is_replayed_whole(at: Pair) {
    let failed: Mutex<HashMap<String, usize>> = Mutex::default();
    let origin = Origin::replying(at.up, move |request| {
        let id = request.get("x-id").unwrap_or_default().to_owned();
        let mut failed = failed.lock().expect("not poisoned");
        let times = failed.entry(id).or_default();
        *times += 1;
        if *times == 1 { Reply::new(502, "not now") } else { Reply::new(200, &request.body) }
    });
    let policy = "retry = { backoff = \"1ms\", replay = \"8KiB\", budget_burst = 1000 }";
    let edge = Setup::pair_with(at, &origin, &Extra { policy, ..Extra::default() }).start();
    let client = edge.client();
    for (length, whole) in [(0, true), (1, true), (5000, true), (8192, true), (20_000, false)] {
        let body: Vec<u8> = (0..length).map(|i| (i * 31 % 251) as u8).collect();
        let ask = Ask { method: "PUT".into(), ..Ask::post("/put", &body) };
        let got = client.ask(ask.field("x-id", length.to_string()));
        assert_eq!(got.status(), if whole { 200 } else { 502 }, "{length} bytes: {got:?}");
        assert!(!whole || got.body == body, "{length} bytes came back as {}", got.body.len());
    }
}

fn many(addr: &Addr, threads: usize, each: usize) -> Vec<(u16, Duration)> {
    std::thread::scope(|scope| {
        let client = || {
            let mut wire = Wire::connect(addr);
            let mut one = || {
                let begun = Instant::now();
                let status = wire.get("/").status();
                (status, begun.elapsed())
            };
            (0..each).map(|_| one()).collect::<Vec<_>>()
        };
        let clients: Vec<_> = (0..threads).map(|_| scope.spawn(client)).collect();
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    })
}

fn retries_of_an_origin_that_always_fails_end_with_the_budget(driver: Driver) {
    let origin = Origin::answering(|_| answer(502, "broken"));
    let policy = "retry = { backoff = \"0ms\" }";
    let edge = Setup::proxy_with(driver, &origin, &Extra { policy, ..Extra::default() }).shards(4).start();
    let answers = many(&edge.addr(), 8, 100);
    assert!(answers.iter().all(|(status, _)| *status == 502));
    assert_eq!(origin.requests().len(), 800 + 10, "the burst, and a tenth of no successes");
    let metrics = edge.metrics();
    assert_eq!(metrics.sum("edge_retries_total", &[("route", "all"), ("outcome", "exhausted")]), 10.0);
    assert_eq!(metrics.sum("edge_retries_total", &[("route", "all"), ("outcome", "budget")]), 790.0);
    assert_eq!(metrics.sum("edge_retry_budget_tokens", &[("route", "all")]), 0.0);
}

fn retries_are_a_share_of_successes(driver: Driver) {
    // Every other request fails, so that far more retries are wanted than there are.
    let count = AtomicUsize::new(0);
    let origin = Origin::answering(move |_| match count.fetch_add(1, Relaxed) % 2 {
        0 => answer(200, "fine"),
        _ => answer(502, "broken"),
    });
    let policy = "retry = { backoff = \"0ms\" }";
    let edge = Setup::proxy_with(driver, &origin, &Extra { policy, ..Extra::default() }).shards(4).start();
    let answers = many(&edge.addr(), 8, 400);
    let succeeded = answers.iter().filter(|(status, _)| *status == 200).count();
    let retries = origin.requests().len() - answers.len();
    assert!(retries <= 10 + succeeded / 10, "{retries} retries, {succeeded} successes");
    assert!(retries > 10, "successes earn some: {retries}");
}

/// An origin that fails while it is told to, and an edge with a circuit before it.
fn guarded(driver: Driver, open: &str) -> (Origin, Arc<AtomicBool>, Edge) {
    let broken = Arc::new(AtomicBool::new(true));
    let told = broken.clone();
    let origin =
        Origin::answering(move |_| if told.load(Relaxed) { answer(500, "broken") } else { answer(200, "fine") });
    let policy = format!("retry = \"off\"\nbreaker = {{ open = \"{open}\" }}");
    let pool = "keepalive = 0";
    let edge =
        Setup::proxy_with(driver, &origin, &Extra { policy: &policy, pool, ..Extra::default() }).shards(4).start();
    (origin, broken, edge)
}

fn state(edge: &Edge, state: &str) -> f64 {
    edge.metrics().sum("edge_breaker_state", &[("route", "all"), ("state", state)])
}

fn wait_state(edge: &Edge, wanted: &str) {
    eventually(&format!("a circuit that is {wanted}"), || (state(edge, wanted) == 1.0).then_some(()));
}

fn a_circuit_opens_tries_and_closes(driver: Driver) {
    let (origin, broken, edge) = guarded(driver, "2s");
    wait_state(&edge, "closed");
    let mut client = edge.connect();
    for _ in 0..20 {
        assert_eq!(client.get("/").status(), 500);
    }
    wait_state(&edge, "open");
    let opened = Instant::now();
    let before = origin.connections();
    let got = client.get("/refused");
    if opened.elapsed() < Duration::from_secs(1) {
        assert_eq!((got.status(), got.get("x-edge-circuit-open")), (503, Some("1")), "{got:?}");
        assert_eq!(got.get("retry-after"), Some("1"));
        assert!(
            many(&edge.addr(), 4, 20).iter().all(|(status, _)| *status == 503) || opened.elapsed().as_millis() > 1500
        );
        assert_eq!(edge.wait_log_path("/refused")["category"], "circuit_open");
    }
    if opened.elapsed() < Duration::from_millis(1500) {
        assert_eq!(origin.connections(), before, "nobody troubles the origin");
        assert_eq!(edge.status()["circuits"][0]["state"], "open");
    }
    // It is still broken when the probes come.
    wait_state(&edge, "half_open");
    let probed = many(&edge.addr(), 4, 20).iter().filter(|(status, _)| *status == 500).count();
    assert!((3..=5).contains(&probed), "{probed} probes");
    wait_state(&edge, "open");
    broken.store(false, Relaxed);
    wait_state(&edge, "half_open");
    for _ in 0..5 {
        assert_eq!(client.get("/").status(), 200, "a probe");
    }
    wait_state(&edge, "closed");
    assert!(many(&edge.addr(), 4, 20).iter().all(|(status, _)| *status == 200));
    let metrics = edge.metrics();
    assert_eq!(metrics.sum("edge_breaker_trips_total", &[("route", "all")]), 2.0);
    let refused = metrics.sum("edge_circuit_open_total", &[("route", "all")]);
    assert!(refused > 0.0);
    assert_eq!(refused, metrics.sum("edge_errors_total", &[("category", "circuit_open")]));
    assert!(edge.status()["circuits"].as_array().is_some_and(Vec::is_empty));
}

fn a_circuit_that_is_open_outlives_a_reload(driver: Driver) {
    let (origin, _broken, edge) = guarded(driver, "1h");
    let mut client = edge.connect();
    for _ in 0..20 {
        assert_eq!(client.get("/").status(), 500);
    }
    wait_state(&edge, "open");
    let whole = std::fs::read_to_string(edge.config()).expect("the configuration");
    let text = &whole[whole.find("[[listener]]").expect("a listener")..];
    edge.rewrite(&text.replace("open = \"1h\"", "open = \"30m\""));
    let reload = edge.reload();
    assert_eq!(reload.code, 0, "{}{}", reload.stdout, reload.stderr);
    let before = origin.connections();
    assert_eq!(edge.connect().get("/").status(), 503);
    assert_eq!(origin.connections(), before);
    edge.rewrite(&text.replace("breaker = { open = \"1h\" }", ""));
    let reload = edge.reload();
    assert_eq!(reload.code, 0, "{}{}", reload.stdout, reload.stderr);
    assert_eq!(edge.connect().get("/").status(), 500, "without a breaker all pass");
    let gone = || !edge.metrics().values("edge_breaker_state", "route").contains("all");
    eventually("metrics without a circuit", || gone().then_some(()));
}

/// The 99th percentile of answers, and how many requests the origins saw, of an edge before two that stall now and then.
fn tail(driver: Driver, policy: &str) -> (Duration, f64) {
    const EACH: usize = 250;
    const CLIENTS: usize = 8;
    let count = Arc::new(AtomicUsize::new(0));
    let origins: Vec<Origin> = (0..2)
        .map(|_| {
            let count = count.clone();
            Origin::answering(move |_| {
                if count.fetch_add(1, Relaxed) % 50 == 49 {
                    std::thread::sleep(Duration::from_millis(1500));
                }
                answer(200, "fine")
            })
        })
        .collect();
    let pool = pool_text("app", &[&origins[0], &origins[1]], "");
    let policy = format!("[policy.api]\n{policy}\n");
    let route = "[[route]]\nid = \"all\"\npool = \"app\"\npolicy = \"api\"\n";
    let listener = listener_text("web", crate::harness::Protocol::H1, "");
    let edge = Setup::new(driver).text(&format!("{listener}{pool}{policy}{route}")).shards(2).start();
    let mut took: Vec<Duration> = many(&edge.addr(), CLIENTS, EACH).into_iter().map(|(_, took)| took).collect();
    took.sort_unstable();
    let requests = count.load(Relaxed) as f64 / (CLIENTS * EACH) as f64;
    (took[took.len() * 99 / 100], requests)
}

fn hedging_takes_stalls_off_the_tail(driver: Driver) {
    let (before, once) = tail(driver, "");
    let (after, hedged) = tail(driver, "hedge = \"100ms\"");
    assert_eq!(once, 1.0);
    assert!(before >= Duration::from_millis(1500), "{before:?}");
    assert!(after * 5 <= before, "{after:?} after {before:?}");
    assert!((1.0..=1.05).contains(&hedged), "{hedged} requests for one");
}

fn an_attempt_has_its_own_time(driver: Driver) {
    let count = AtomicUsize::new(0);
    let origin = Origin::answering(move |_| {
        if count.fetch_add(1, Relaxed) == 0 {
            std::thread::sleep(Duration::from_secs(3));
        }
        answer(200, "fine")
    });
    let policy = "retry = { per_try_timeout = \"300ms\" }";
    let edge = Setup::proxy_with(driver, &origin, &Extra { policy, ..Extra::default() }).start();
    let begun = Instant::now();
    assert_eq!(edge.connect().get("/slow").status(), 200);
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    assert_eq!(edge.wait_log_path("/slow")["retries"], 1);
}

fn a_tls_handshake_has_its_own_time(at: Pair) {
    if !at.up.tls() {
        return;
    }
    // It accepts, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr: SocketAddr = silent.local_addr().expect("an address");
    let pool =
        format!("[pool.app]\nendpoints = [\"https://{addr}\"]\ntimeouts = {{ connect = \"20s\", tls = \"300ms\" }}\n");
    let text = listener_text("web", at.down, "")
        + &pool
        + "[policy.default]\nretry = \"off\"\n[[route]]\nid = \"all\"\npool = \"app\"\n";
    let edge = Setup::over(at).text(&text).start();
    let begun = Instant::now();
    let got = edge.client().ask(Ask::post("/silent", "x"));
    assert_eq!(got.status(), 504, "{got:?}");
    assert!((Duration::from_millis(300)..Duration::from_secs(15)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    let line = edge.wait_log_path("/silent");
    assert_eq!(
        (&line["category"], &line["detail"]),
        (&"upstream_timeout".into(), &"the TLS handshake took too long".into())
    );
}
