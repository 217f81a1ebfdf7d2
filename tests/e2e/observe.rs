//! What is seen from outside: access log, metrics, health.
use crate::harness::{
    Ask, Driver, Edge, Origin, Pair, Protocol, Reply, Setup,
    edge::{Extra, log_lines, proxy_text},
    eventually,
    wire::Wire,
};
use rustix::process::Signal;
use std::collections::BTreeSet;

crate::suite!("observe";
    each_pair:
        access_log_has_its_fields,
        metrics_agree_with_the_requests,
        byte_counters_count_bodies;
    each_downstream:
        request_ids_are_unique;
    each_driver:
        access_log_escapes_what_clients_send,
        access_log_can_go_to_stdout,
        access_log_can_be_off_for_a_route,
        pipelined_requests_are_logged_in_order,
        reopened_log_loses_no_line,
        metrics_are_well_formed,
        health_and_readiness,
        admin_is_not_on_data_listeners,
        status_has_its_shape;
);

fn access_log_has_its_fields(at: Pair) {
    let origin = Origin::replying(at.up, |_| Reply::new(201, "twelve bytes"));
    let edge = Setup::pair(at, &origin).start();
    let ask = Ask::post("/a/b?x=1&y=2", "hello").host("shop.test:8080");
    let got = edge.client().ask(ask.field("User-Agent", "agent/1").field("Referer", "http://before.test/"));
    assert_eq!(got.status(), 201);
    let line = edge.wait_log_path("/a/b");
    for (key, value) in [
        ("listener", "web"),
        ("client_ip", "127.0.0.1"),
        ("method", "POST"),
        ("scheme", at.down.scheme()),
        ("path", "/a/b"),
        ("query", "x=1&y=2"),
        ("route", "all"),
        ("pool", "app"),
        ("user_agent", "agent/1"),
        ("referer", "http://before.test/"),
    ] {
        assert_eq!(line[key], value, "{key} in {line}");
    }
    assert!(line["host"].as_str().is_some_and(|h| h.starts_with("shop.test")), "{line}");
    let protocol = match at.down {
        Protocol::H1 | Protocol::H1Tls => '1',
        Protocol::H2 | Protocol::H2c => '2',
        Protocol::H3 => '3',
    };
    assert!(line["protocol"].as_str().is_some_and(|p| p.contains(protocol)), "{line}");
    assert!(line["endpoint"].as_str().is_some_and(|e| e.contains(&origin.addr().tcp().to_string())), "{line}");
    assert_eq!((line["status"].as_u64(), line["config_version"].as_u64()), (Some(201), Some(1)), "{line}");
    assert!(line["client_port"].as_u64().is_some_and(|p| p > 0), "{line}");
    assert!(
        line["bytes_in"].as_u64().is_some_and(|n| n >= 5) && line["bytes_out"].as_u64().is_some_and(|n| n >= 12),
        "{line}"
    );
    assert!(line["duration_ms"].as_f64().is_some_and(|d| d > 0.0 && d < 20_000.0), "{line}");
    assert!(line["shard"].as_u64() == Some(0), "{line}");
    let ts = line["ts"].as_str().expect("a time stamp");
    let stamp: jiff::Timestamp = ts.parse().expect("RFC 3339");
    assert!(ts.ends_with('Z') && jiff::Timestamp::now().duration_since(stamp).as_secs().abs() < 60, "{ts}");
    assert!(line["category"].is_null(), "no failure, no category: {line}");
}

fn access_log_escapes_what_clients_send(driver: Driver) {
    let origin = Origin::ok();
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    client.send(b"GET /quote HTTP/1.1\r\nHost: a\r\nUser-Agent: \"quoted\" \\ \ttab \xff\xc3\xa9 end\r\n\r\n");
    client.response();
    let line = edge.wait_log("any line", |_| true);
    let agent = line["user_agent"].as_str().expect("text");
    assert!(agent.starts_with("\"quoted\" \\ \ttab ") && agent.ends_with(" end"), "{agent:?}");
}

fn access_log_can_go_to_stdout(driver: Driver) {
    let origin = Origin::ok();
    let edge = Setup::proxy(driver, &origin).server("access_log", "\"stdout\"").start();
    edge.connect().get("/out");
    let line = edge.wait_stdout("the request", |l| l.contains("/out"));
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(line["path"], "/out");
}

fn access_log_can_be_off_for_a_route(driver: Driver) {
    let origin = Origin::ok();
    let quiet = "[policy.quiet]\naccess_log = false\n[[route]]\nid = \"quiet\"\nmatch = { path = \"/quiet\" }\npool = \"app\"\npolicy = \"quiet\"\n";
    let edge = Setup::new(driver).text(&(proxy_text(&origin, &Extra::default()) + quiet)).start();
    let mut client = edge.connect();
    for _ in 0..5 {
        assert_eq!(client.get("/quiet").status(), 200);
    }
    client.get("/loud");
    edge.wait_log_path("/loud");
    assert_eq!(edge.log().len(), 1, "{:?}", edge.log());
    assert_eq!(edge.metrics().sum("edge_http_requests_total", &[("route", "quiet")]), 5.0);
}

fn pipelined_requests_are_logged_in_order(driver: Driver) {
    let origin = Origin::ok();
    let edge = Setup::proxy(driver, &origin).start();
    let mut client = edge.connect();
    client.send((0..30).map(|i| format!("GET /{i} HTTP/1.1\r\nHost: a\r\n\r\n")).collect::<String>());
    for _ in 0..30 {
        client.response();
    }
    edge.wait_log_path("/29");
    let paths: Vec<String> = edge.log().iter().map(|l| l["path"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(paths, (0..30).map(|i| format!("/{i}")).collect::<Vec<_>>());
}

fn reopened_log_loses_no_line(driver: Driver) {
    let origin = Origin::ok();
    let edge = Setup::proxy(driver, &origin).shards(2).start();
    let (addr, current) = (edge.addr(), edge.dir().join("access.log"));
    let clients = 3;
    let each = 300;
    let mut rotated = Vec::new();
    std::thread::scope(|s| {
        let running: Vec<_> = (0..clients)
            .map(|c| {
                let addr = &addr;
                s.spawn(move || {
                    let mut client = Wire::connect(addr);
                    for i in 0..each {
                        client.get(&format!("/{c}/{i}"));
                    }
                })
            })
            .collect();
        while !running.iter().all(|t| t.is_finished()) && rotated.len() < 20 {
            if current.exists() {
                let old = edge.dir().join(format!("access.log.{}", rotated.len()));
                std::fs::rename(&current, &old).expect("a rename within a directory");
                rotated.push(old);
                edge.signal(Signal::USR1);
                eventually("a new log file", || current.exists().then_some(()));
            }
        }
    });
    assert!(!rotated.is_empty());
    rotated.push(current);
    let paths = || -> Vec<String> {
        rotated.iter().flat_map(|f| log_lines(f)).map(|l| l["path"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let all = eventually("every line", || Some(paths()).filter(|p| p.len() >= clients * each));
    let unique: BTreeSet<_> = all.iter().collect();
    assert_eq!((all.len(), unique.len()), (clients * each, clients * each), "each line once");
    assert_eq!(edge.metrics().sum("edge_log_dropped_total", &[]), 0.0);
}

fn metrics_agree_with_the_requests(at: Pair) {
    let origin = Origin::replying(at.up, |r| match r.target() {
        "/500" => Reply::new(500, "no"),
        _ => Reply::new(200, "ok"),
    });
    let edge = Setup::pair(at, &origin).shards(2).start();
    for _ in 0..10 {
        let client = edge.client();
        assert_eq!(client.get("/a").status(), 200);
        assert_eq!(client.get("/500").status(), 500);
        let posted = client.ask(Ask::post("/b", "x"));
        assert_eq!(posted.status(), 200, "{posted:?}");
    }
    let total = |labels: &[(&str, &str)]| edge.metrics().sum("edge_http_requests_total", labels);
    eventually("thirty requests", || (total(&[]) == 30.0).then_some(()));
    assert_eq!(total(&[("route", "all"), ("method", "GET")]), 20.0);
    let posted = total(&[("route", "all"), ("method", "POST"), ("code_class", "2xx")]);
    let odd = || edge.log().into_iter().filter(|l| l["status"] != 200 && l["status"] != 500).collect::<Vec<_>>();
    eventually("thirty lines", || (edge.log().len() == 30).then_some(()));
    assert_eq!(posted, 10.0, "every answer was whole: {:?}", odd());
    assert_eq!(total(&[("code_class", "5xx")]), 10.0);
    let metrics = edge.metrics();
    assert_eq!(metrics.sum("edge_http_request_duration_seconds_count", &[("route", "all")]), 30.0);
    let inf = metrics.sum("edge_http_request_duration_seconds_bucket", &[("route", "all"), ("le", "+Inf")]);
    assert_eq!(inf, 30.0);
    let seconds = metrics.sum("edge_http_request_duration_seconds_sum", &[("route", "all")]);
    assert!(seconds > 0.0 && seconds < 600.0, "{seconds}");
    assert_eq!(metrics.sum("edge_upstream_requests_total", &[("pool", "app")]), 30.0);
    assert_eq!(metrics.sum("edge_http_requests_in_flight", &[]), 0.0);
    assert_eq!(metrics.sum("edge_errors_total", &[]), 0.0, "a 500 of the origin is no failure of the edge");
    eventually("thirty lines", || (edge.log().len() == 30).then_some(()));
}

fn metrics_are_well_formed(driver: Driver) {
    let origin = Origin::ok();
    let edge = Setup::proxy(driver, &origin).shards(2).start();
    edge.connect().get("/");
    let answer = edge.admin_get("/metrics");
    let kind = answer.get("content-type").unwrap_or_default();
    assert!(kind.starts_with("text/plain") && kind.contains("version=0.0.4") || kind.contains("openmetrics"), "{kind}");
    let metrics = edge.metrics();
    assert_eq!(metrics.faults(), Vec::<String>::new());
    for name in ["edge_build_info", "edge_config_info", "edge_config_version", "edge_connections", "edge_accepts_total"]
    {
        assert!(metrics.has(name), "{name} is missing");
    }
    assert!(metrics.has("process_resident_memory_bytes") || metrics.has("process_open_fds"), "process_* metrics");
}

fn byte_counters_count_bodies(at: Pair) {
    let origin = Origin::replying(at.up, |_| Reply::new(200, [b'x'; 20_000]));
    let edge = Setup::pair(at, &origin).start();
    edge.client().ask(Ask::post("/", "y".repeat(10_000)));
    let at_least = |name: &str, least: f64| {
        eventually(name, || Some(edge.metrics().sum(name, &[("route", "all")])).filter(|n| *n >= least))
    };
    assert!(at_least("edge_http_request_size_bytes_total", 10_000.0) < 12_000.0);
    assert!(at_least("edge_http_response_size_bytes_total", 20_000.0) < 22_000.0);
}

fn health_and_readiness(driver: Driver) {
    let origin = Origin::ok();
    let edge = Setup::proxy(driver, &origin).shards(2).start();
    for path in ["/healthz", "/ready"] {
        let got = edge.admin_get(path);
        assert_eq!(got.status(), 200, "{path}: {got:?}");
    }
    assert_eq!(edge.admin_get("/no-such-thing").status(), 404);
}

fn admin_is_not_on_data_listeners(driver: Driver) {
    let text = "[[listener]]\nname = \"web\"\naddress = [\"127.0.0.1:0\"]\n\
                [[route]]\nid = \"one\"\nmatch = { path = \"/one\" }\nrespond = { body = \"one\" }\n";
    let edge = Setup::new(driver).text(text).start();
    for path in ["/metrics", "/healthz", "/ready", "/status", "/reload"] {
        let got = edge.connect().get(path);
        assert_eq!(got.status(), 404, "{path}: {got:?}");
    }
}

fn status_has_its_shape(driver: Driver) {
    let origin = Origin::ok();
    let edge: Edge = Setup::proxy(driver, &origin).shards(3).start();
    let status = edge.status();
    assert_eq!(status["pid"].as_u64(), Some(u64::from(edge.pid())));
    assert_eq!(status["version"].as_u64(), Some(1));
    assert_eq!(status["shards"].as_array().map(Vec::len), Some(3), "{status}");
    assert_eq!(status["listeners"][0]["name"], "web");
    let human = crate::harness::edge::cli(&["status", "--admin", &edge.admin()]);
    assert_eq!(human.code, 0, "{human:?}");
    assert!(human.stdout.contains("web"), "{human:?}");
}

fn request_ids_are_unique(at: Pair) {
    let origin = Origin::fine(at.up);
    let edge = Setup::pair(at, &origin).shards(2).start();
    for _ in 0..20 {
        let client = edge.client();
        for _ in 0..10 {
            client.get("/");
        }
    }
    let lines = eventually("200 lines", || Some(edge.log()).filter(|l| l.len() >= 200));
    let ids: BTreeSet<_> = lines.iter().map(|l| l["request_id"].as_str().expect("an id").to_owned()).collect();
    assert_eq!(ids.len(), 200);
    let seen: BTreeSet<_> =
        origin.requests().iter().map(|r| r.get("x-request-id").expect("an id").to_owned()).collect();
    assert_eq!(seen, ids, "the origin and the log know a request by the same id");
}
