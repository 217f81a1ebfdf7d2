//! Endpoints that are not well: asked actively, judged by their answers, left out, let back in; and a pool with none left.
use crate::harness::{
    Driver, Edge, Origin, Protocol, Reply, Setup,
    edge::{listener_text, pool_text},
    eventually,
    origin::answer,
    wire::Wire,
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

crate::suite!("health";
    each_driver:
        a_failing_endpoint_gets_nothing_within_a_second,
        what_clients_do_leaves_no_endpoint_out,
        when_all_are_down_one_a_second_passes_and_brings_them_back,
        when_all_are_down_all_pass_if_so_configured,
        an_endpoint_that_is_well_again_gets_its_share_bit_by_bit,
        an_endpoint_that_was_ejected_gets_its_share_bit_by_bit;
    once:
        an_endpoint_goes_out_and_comes_back_as_its_checks_say,
        many_shards_ask_once_per_interval,
        a_reload_keeps_what_is_known_and_when_the_next_check_is,
        every_kind_of_endpoint_can_be_asked,
);

/// An origin whose checks fail or not, and which counts checks and requests, with their times.
struct Patient {
    origin: Origin,
    well: Arc<AtomicBool>,
    checks: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<Instant>>>,
}

impl Patient {
    fn new(well: bool) -> Patient {
        let (well, checks) = (Arc::new(AtomicBool::new(well)), Arc::new(AtomicUsize::new(0)));
        let requests: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let (is_well, count, times) = (well.clone(), checks.clone(), requests.clone());
        let origin = Origin::answering(move |request| {
            let status = if is_well.load(SeqCst) { 200 } else { 503 };
            match request.target() {
                "/healthz" => _ = count.fetch_add(1, SeqCst),
                _ => times.lock().unwrap().push(Instant::now()),
            }
            answer(status, "x")
        });
        Patient { origin, well, checks, requests }
    }

    fn served(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

fn text(origins: &[&Origin], keys: &str) -> String {
    listener_text("web", Protocol::H1, "")
        + &pool_text("app", origins, keys)
        + "[[route]]\nid = \"all\"\npool = \"app\"\npolicy = \"plain\"\n[policy.plain]\nretry = \"off\"\n"
}

fn start(driver: Driver, shards: usize, origins: &[&Origin], keys: &str) -> Edge {
    Setup::new(driver).text(&text(origins, keys)).shards(shards).start()
}

/// States of the pool's endpoints, in their order.
fn states(edge: &Edge) -> Vec<String> {
    let status = edge.status();
    let endpoints = status["pools"][0]["endpoints"].as_array().cloned().unwrap_or_default();
    endpoints.iter().map(|e| e["state"].as_str().unwrap_or("?").to_owned()).collect()
}

fn wait_states(edge: &Edge, wanted: &[&str]) -> Duration {
    let began = Instant::now();
    eventually(&format!("{wanted:?}"), || (states(edge) == wanted).then_some(()));
    began.elapsed()
}

fn an_endpoint_goes_out_and_comes_back_as_its_checks_say() {
    let driver = Driver::Epoll; // the control thread has none
    let (a, b) = (Patient::new(true), Patient::new(true));
    let keys = "health = { interval = \"1s\", timeout = \"500ms\" }";
    let edge = start(driver, 2, &[&a.origin, &b.origin], keys);
    eventually("a first check", || (a.checks.load(SeqCst) > 0).then_some(()));
    a.well.store(false, SeqCst);
    let out = wait_states(&edge, &["unhealthy", "usable"]);
    assert!(out <= Duration::from_millis(3 * 1100 + 500 + 500), "out after {out:?}");
    let (before, mut client) = (a.served(), edge.connect());
    (0..50).for_each(|_| assert_eq!(client.get("/").status(), 200));
    assert_eq!(a.served(), before, "an unhealthy endpoint is not used");
    let status = edge.status();
    let told = &status["pools"][0]["endpoints"][0];
    assert!(told["reason"].as_str().unwrap().starts_with("503 in "), "{told}");
    assert!(told["since"].as_u64().unwrap() > 1_600_000_000, "{told}");
    let line = edge.wait_stderr("the change", |line| line.contains("is unhealthy: 503"));
    assert!(line.contains("pool app: "), "{line}");
    a.well.store(true, SeqCst);
    let back = wait_states(&edge, &["usable", "usable"]);
    assert!(back <= Duration::from_millis(2 * 1100 + 500), "back after {back:?}");
    eventually("metrics", || {
        let metrics = edge.metrics();
        let usable = metrics.sum("edge_pool_endpoints", &[("pool", "app"), ("state", "usable")]);
        let failed = metrics.sum("edge_health_checks_total", &[("pool", "app"), ("result", "status")]);
        (usable == 2.0 && failed >= 3.0).then_some(())
    });
}

fn many_shards_ask_once_per_interval() {
    let driver = Driver::Epoll; // the control thread has none
    let a = Patient::new(true);
    let edge = start(driver, 8, &[&a.origin], "health = { path = \"/healthz\", interval = \"500ms\" }");
    eventually("a first check", || (a.checks.load(SeqCst) > 0).then_some(()));
    let (first, began) = (a.checks.load(SeqCst), Instant::now());
    eventually("ten checks more", || (a.checks.load(SeqCst) >= first + 10).then_some(()));
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(4_300), "ten checks in {took:?}: more than one per interval");
    assert!(took <= Duration::from_millis(7_000), "ten checks in {took:?}");
    drop(edge);
}

fn a_failing_endpoint_gets_nothing_within_a_second(driver: Driver) {
    let well: Vec<Patient> = (0..3).map(|_| Patient::new(true)).collect();
    let bad = Patient::new(false);
    let origins = [&well[0].origin, &well[1].origin, &well[2].origin, &bad.origin];
    let edge = start(driver, 2, &origins, "");
    let addr = edge.addr();
    let began = Instant::now();
    // About a thousand a second: eight clients, each each 8 ms.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Wire::connect(&addr);
                let mut next = Instant::now();
                while began.elapsed() < Duration::from_secs(3) {
                    client.get("/");
                    next += Duration::from_millis(8);
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            });
        }
    });
    let failed = bad.requests.lock().unwrap().clone();
    let (first, last) = (failed[0], failed[failed.len() - 1]);
    let share = last.duration_since(first);
    assert!(share < Duration::from_secs(1), "it was used for {share:?}, by {} requests", failed.len());
    assert_eq!(states(&edge), ["usable", "usable", "usable", "ejected"]);
    let status = edge.status();
    let told = &status["pools"][0]["endpoints"][3];
    assert!(told["reason"].as_str().unwrap().contains("failures in a row"), "{told}");
    assert!(told["until"].as_u64() > told["since"].as_u64(), "{told}");
    let reason = [("pool", "app"), ("reason", "consecutive")];
    eventually("metrics", || (edge.metrics().sum("edge_outlier_ejections_total", &reason) == 1.0).then_some(()));
}

/// Clients that give their calls no time would else have any endpoint left out for all others.
fn what_clients_do_leaves_no_endpoint_out(driver: Driver) {
    let other = Patient::new(true);
    let slow = Origin::answering(|_| {
        std::thread::sleep(Duration::from_millis(100));
        answer(200, "x")
    });
    let edge = start(driver, 1, &[&slow, &other.origin], "balance = \"first\"");
    let hurried = "POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\ngrpc-timeout: 1m\r\n\
                   content-length: 0\r\nte: trailers\r\n\r\n";
    for _ in 0..20 {
        let told = Wire::connect(&edge.addr()).ask(hurried);
        assert_eq!(told.get("grpc-status"), Some("4"), "{told:?}");
    }
    assert_eq!(other.served(), 0, "the first was passed over");
    assert_eq!(states(&edge), ["usable", "usable"]);
}

fn when_all_are_down_one_a_second_passes_and_brings_them_back(driver: Driver) {
    let all = [Patient::new(false), Patient::new(false)];
    // The next regular check is far away: what brings them back is a request that passed.
    let keys = "health = { interval = \"1m\", unhealthy = 1 }";
    let edge = start(driver, 2, &[&all[0].origin, &all[1].origin], keys);
    wait_states(&edge, &["unhealthy", "unhealthy"]);
    let mut client = edge.connect();
    let (began, before) = (Instant::now(), all.iter().map(Patient::served).sum::<usize>());
    let mut refused = 0;
    while began.elapsed() < Duration::from_secs(3) {
        let got = client.get("/");
        assert_eq!(got.status(), 503);
        refused += usize::from(got.get("retry-after") == Some("1"));
        std::thread::sleep(Duration::from_millis(5));
    }
    let passed = all.iter().map(Patient::served).sum::<usize>() - before;
    assert!((2..=4).contains(&passed), "{passed} passed in 3 s");
    assert!(refused > 50, "{refused} were told to come back");
    all.iter().for_each(|patient| patient.well.store(true, SeqCst));
    let began = Instant::now();
    eventually("recovery", || {
        client.get("/");
        states(&edge).contains(&"usable".to_owned()).then_some(())
    });
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "recovered after {took:?}");
    assert_eq!(client.get("/").status(), 200);
    assert!(edge.metrics().sum("edge_outlier_fail_open_total", &[("pool", "app")]) >= 2.0);
}

fn when_all_are_down_all_pass_if_so_configured(driver: Driver) {
    // Their checks fail, they do not.
    let served: Vec<Arc<AtomicUsize>> = (0..2).map(|_| Arc::default()).collect();
    let origins: Vec<Origin> = served
        .iter()
        .cloned()
        .map(|served| {
            Origin::answering(move |request| match request.target() {
                "/healthz" => answer(503, "x"),
                _ => {
                    served.fetch_add(1, SeqCst);
                    answer(200, "x")
                }
            })
        })
        .collect();
    let keys = "panic = \"spread\"\nhealth = { interval = \"1m\", unhealthy = 1 }";
    let edge = start(driver, 2, &[&origins[0], &origins[1]], keys);
    wait_states(&edge, &["unhealthy", "unhealthy"]);
    let addr = edge.addr();
    (0..10).for_each(|_| {
        let mut client = Wire::connect(&addr);
        (0..20).for_each(|_| assert_eq!(client.get("/").status(), 200));
    });
    let served: Vec<usize> = served.iter().map(|served| served.load(SeqCst)).collect();
    assert!(served.iter().all(|served| *served >= 20) && served.iter().sum::<usize>() == 200, "{served:?}");
    let passed = || edge.metrics().sum("edge_outlier_fail_open_total", &[("pool", "app")]);
    eventually("all of them counted", || (passed() == 200.0).then_some(()));
    assert_eq!(states(&edge), ["unhealthy", "unhealthy"]);
}

/// The share of requests that the second of two endpoints gets after it was out as `down` and came back.
fn comes_back(driver: Driver, keys: &str, down: &str) {
    const RAMP: f64 = 3.0;
    let (a, b) = (Patient::new(true), Patient::new(true));
    let keys = format!("{keys}\nbalance = \"round_robin\"\nslow_start = \"{RAMP}s\"");
    let edge = start(driver, 2, &[&a.origin, &b.origin], &keys);
    // New endpoints begin slowly, too.
    eventually("both have their share", || (shares(&edge) == [1000, 1000]).then_some(()));
    let (addr, stop) = (edge.addr(), AtomicBool::new(false));
    let well_again = std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Wire::connect(&addr);
                while !stop.load(SeqCst) {
                    client.get("/");
                    std::thread::sleep(Duration::from_millis(4));
                }
            });
        }
        b.well.store(false, SeqCst);
        wait_states(&edge, &["usable", down]);
        b.well.store(true, SeqCst);
        let well_again = Instant::now();
        wait_states(&edge, &["usable", "usable"]);
        eventually("all of its share", || (shares(&edge) == [1000, 1000]).then_some(()));
        std::thread::sleep(Duration::from_secs(1)); // in which that shows
        stop.store(true, SeqCst);
        well_again
    });
    let (a, b) = (a.requests.lock().unwrap().clone(), b.requests.lock().unwrap().clone());
    // Who was on the way when it was left out is of the time before.
    let back = *b.iter().find(|at| **at > well_again + Duration::from_millis(50)).expect("it is used again");
    let share = |from: f64, to: f64| {
        let range = back + Duration::from_secs_f64(from)..back + Duration::from_secs_f64(to);
        let [a, b] = [&a, &b].map(|all| all.iter().filter(|at| range.contains(*at)).count() as f64);
        b / (a + b)
    };
    // A tenth of a share is an eleventh of what two get, half of one a third.
    let curve = [share(0.0, 0.15 * RAMP), share(0.4 * RAMP, 0.6 * RAMP), share(1.05 * RAMP, 1.3 * RAMP)];
    let expected = [0.08..0.25, 0.27..0.43, 0.44..0.56];
    assert!(expected.iter().zip(curve).all(|(expected, share)| expected.contains(&share)), "{curve:?}");
}

/// Of its weight, what each endpoint of the pool gets now, per mille.
fn shares(edge: &Edge) -> Vec<u64> {
    let status = edge.status();
    let endpoints = status["pools"][0]["endpoints"].as_array().cloned().unwrap_or_default();
    endpoints.iter().filter_map(|endpoint| endpoint["share_permille"].as_u64()).collect()
}

fn an_endpoint_that_is_well_again_gets_its_share_bit_by_bit(driver: Driver) {
    comes_back(driver, "outlier = \"off\"\nhealth = { interval = \"400ms\", unhealthy = 1, healthy = 1 }", "unhealthy");
}

fn an_endpoint_that_was_ejected_gets_its_share_bit_by_bit(driver: Driver) {
    comes_back(driver, "outlier = { consecutive = 5, ejection = \"500ms\", latency_factor = 0 }", "ejected");
}

fn a_reload_keeps_what_is_known_and_when_the_next_check_is() {
    let driver = Driver::Epoll; // the control thread has none
    let (a, b) = (Patient::new(false), Patient::new(true));
    let origins = [&a.origin, &b.origin];
    let keys = "health = { interval = \"1m\", unhealthy = 1 }\n";
    let edge = start(driver, 2, &origins, keys);
    wait_states(&edge, &["unhealthy", "usable"]);
    eventually("both checked", || (b.checks.load(SeqCst) == 1).then_some(()));
    let since = edge.status()["pools"][0]["endpoints"][0]["since"].clone();
    edge.rewrite(&text(&origins, &format!("{keys}keepalive = 7\n")));
    assert_eq!(edge.reload().code, 0);
    assert_eq!(states(&edge), ["unhealthy", "usable"]);
    // An endpoint that has a new rule is asked within a second; these have the old one.
    edge.rewrite(&text(&origins, &format!("{keys}keepalive = 8\n")));
    assert_eq!(edge.reload().code, 0);
    std::thread::sleep(Duration::from_millis(1_500)); // in which nothing is to happen
    assert_eq!((a.checks.load(SeqCst), b.checks.load(SeqCst)), (1, 1));
    assert_eq!(edge.status()["pools"][0]["endpoints"][0]["since"], since);
    let mut client = edge.connect();
    (0..20).for_each(|_| assert_eq!(client.get("/").status(), 200));
    assert_eq!(a.served(), 0);
    // Without the rule nobody says that it is unhealthy.
    edge.rewrite(&text(&origins, "outlier = \"off\""));
    assert_eq!(edge.reload().code, 0);
    wait_states(&edge, &["usable", "usable"]);
}

fn every_kind_of_endpoint_can_be_asked() {
    let driver = Driver::Epoll; // the control thread has none
    let serving = |status: u8| {
        move |_: &crate::harness::Message| {
            Reply::new(200, [0, 0, 0, 0, 2, 8, status])
                .field("content-type", "application/grpc")
                .trailer("grpc-status", "0")
        }
    };
    let checked = |origin: &Origin, health: &str, result: &str| {
        let keys = format!("health = {{ interval = \"200ms\", {health} }}");
        let edge = start(driver, 1, &[origin], &keys);
        let labels = [("pool", "app"), ("result", result)];
        eventually(&format!("{result} of {health}"), || {
            (edge.metrics().sum("edge_health_checks_total", &labels) >= 2.0).then_some(())
        });
    };
    for protocol in [Protocol::H1, Protocol::H1Tls, Protocol::H2, Protocol::H2c] {
        let origin = Origin::replying(protocol, |request| {
            let fine = request.target().ends_with("/up?x=1") && request.method() == "HEAD";
            Reply::new(if fine { 204 } else { 500 }, "")
        });
        checked(&origin, "path = \"/up?x=1\", method = \"HEAD\", status = \"204\"", "ok");
        checked(&origin, "path = \"/down\"", "status");
        checked(&origin, "kind = \"tcp\"", "ok");
    }
    for protocol in [Protocol::H2, Protocol::H2c] {
        checked(&Origin::replying(protocol, serving(1)), "kind = \"grpc\", service = \"a.B\"", "ok");
        checked(&Origin::replying(protocol, serving(2)), "kind = \"grpc\"", "status");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("o.sock").display().to_string();
    checked(&Origin::answering_unix(&path, |_| answer(200, "")), "path = \"/\"", "ok");
    let garbage = Origin::scripted(|wire, _| wire.try_send(b"SSH-2.0-OpenSSH\r\n"));
    checked(&garbage, "path = \"/\"", "protocol");
    let silent = Origin::scripted(|wire, _| wire.wait_hangup());
    checked(&silent, "timeout = \"50ms\"", "timeout");
}
