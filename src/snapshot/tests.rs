//! Compiling and comparing snapshots.
use super::{diff::Changes, *};
use crate::{
    config::{self, Config},
    observe::stats::StatsRegistry,
    upstream::Registry,
};
use std::{fmt::Write as _, path::Path};

fn config(text: &str) -> Config {
    config::parse(text, Path::new("test.toml")).unwrap_or_else(|report| panic!("{report}"))
}

/// A snapshot and the state behind it.
struct Compiler {
    registry: Registry,
    stats: StatsRegistry,
}

impl Compiler {
    fn new() -> Compiler {
        Compiler { registry: Registry::new(), stats: StatsRegistry::new(2) }
    }

    fn compile(&self, text: &str) -> Snapshot {
        compile(&config(text), &self.registry, &self.stats, 1).unwrap_or_else(|report| panic!("{report}"))
    }
}

const HEAD: &str =
    "[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:8080\"\n[pool.app]\nendpoints = [\"http://127.0.0.1:3000\"]\n";

fn with(rest: &str) -> String {
    format!("{HEAD}{rest}")
}

#[test]
fn policies_replace_single_timeouts_of_the_pool() {
    let text = with(
        "timeouts = { connect = \"2s\", first_byte = \"7s\" }
        [policy.quick]
        timeout = \"3s\"
        timeouts = { first_byte = \"1s\" }
        [[route]]
        id = \"quick\"
        match = \"/quick\"
        pool = \"app\"
        policy = \"quick\"
        [[route]]
        id = \"also\"
        match = \"/also\"
        pool = \"app\"
        policy = \"quick\"
        [[route]]
        match = \"/plain\"
        pool = \"app\"
        [[route]]
        match = \"/pong\"
        respond = { body = \"pong\" }
        ",
    );
    let snapshot = Compiler::new().compile(&text);
    let [quick, also, plain, pong] = &snapshot.routes[..] else { panic!("4 routes") };
    let timeouts = quick.policy.timeouts.expect("replaced");
    assert_eq!(timeouts.total, Some(Duration::from_secs(3)));
    assert_eq!(timeouts.first_byte, Duration::from_secs(1));
    assert_eq!(timeouts.connect, Duration::from_secs(2));
    assert!(Arc::ptr_eq(&quick.policy, &also.policy) && Arc::ptr_eq(&plain.policy, &pong.policy));
    assert_eq!((&*plain.policy.id, plain.policy.timeouts, plain.policy.max_body), ("default", None, Some(10 << 20)));
    assert_eq!(snapshot.pools[0].timeouts.first_byte, Duration::from_secs(7));
}

#[test]
fn an_attempt_has_the_shorter_of_two_times() {
    let policy = |retry: &str, timeouts: &str| {
        let text = format!("[policy.p]\nretry = {retry}\n{timeouts}\n[[route]]\npool = \"app\"\npolicy = \"p\"\n");
        let policy = Compiler::new().compile(&with(&text)).routes[0].policy.clone();
        (policy.timeouts.map(|t| t.first_byte.as_millis()), policy.retry.as_ref().is_some_and(|r| r.on.timeout))
    };
    assert_eq!(policy("\"off\"", ""), (None, false));
    assert_eq!(policy("{}", ""), (None, false));
    assert_eq!(policy("{ per_try_timeout = \"200ms\" }", ""), (Some(200), true));
    assert_eq!(policy("{ per_try_timeout = \"2s\" }", "timeouts = { first_byte = \"1s\" }"), (Some(1000), true));
}

#[test]
fn what_routes_share_is_made_where_it_is_wanted_and_outlives_a_snapshot() {
    let compiler = Compiler::new();
    let text = |keys: &str| {
        with(&format!(
            "[policy.p]\n{keys}\n[[route]]\nid = \"a\"\npool = \"app\"\npolicy = \"p\"\n[[route]]\nmatch = \"/b\"\nrespond = {{}}\n"
        ))
    };
    let plain = compiler.compile(&text(""));
    let state = plain.routes[0].state.clone().expect("it forwards");
    assert!(state.breaker().is_none() && plain.routes[1].state.is_none());
    let guarded = compiler.compile(&text("breaker = true"));
    assert!(guarded.routes[0].state.as_ref().is_some_and(|now| Arc::ptr_eq(now, &state)));
    assert!(state.breaker().is_some());
    assert!(guarded.routes[0].policy.breaker.is_some_and(|rule| (rule.errors_permille, rule.probes) == (500, 5)));
    let retry = plain.routes[0].policy.retry.as_ref().expect("on");
    assert_eq!((retry.attempts, retry.on.statuses.as_slice(), retry.replay), (2, &[502, 503, 504][..], 64 << 10));
    assert_eq!((retry.budget.permille, retry.budget.burst, retry.on.timeout), (100, 10, false));
}

#[test]
fn state_outlives_a_snapshot() {
    let compiler = Compiler::new();
    let text = with("[[route]]\nid = \"a\"\npool = \"app\"\n");
    let (old, new) = (compiler.compile(&text), compiler.compile(&text));
    assert!(Arc::ptr_eq(&old.routes[0].stats, &new.routes[0].stats));
    assert!(Arc::ptr_eq(&old.pools[0].state, &new.pools[0].state));
    assert!(Arc::ptr_eq(&old.pools[0].endpoints[0].state, &new.pools[0].endpoints[0].state));
}

#[test]
fn diff_names_what_came_changed_and_went() {
    let compiler = Compiler::new();
    let route = |id: &str, rest: &str| format!("[[route]]\nid = \"{id}\"\nmatch = \"/{id}\"\n{rest}\n");
    let old = compiler.compile(&with(&format!(
        "[pool.gone]\nendpoints = [\"unix:@gone\"]\n{}{}{}{}",
        route("same", "pool = \"app\""),
        route("moved", "pool = \"gone\""),
        route("tuned", "pool = \"app\""),
        route("old", "respond = {}"),
    )));
    let new = compiler.compile(&with(&format!(
        "max_connections = 7\n[policy.p]\nmax_body = \"off\"\n# another order, and a comment\n{}{}{}{}",
        route("new", "redirect = { to = \"/\" }"),
        route("tuned", "pool = \"app\"\npolicy = \"p\""),
        route("moved", "pool = \"app\""),
        route("same", "pool = \"app\""),
    )));
    assert_eq!(diff(&old, &new).to_string(), "routes: +new ~moved ~tuned -old; pools: ~app -gone");
    assert_eq!(diff(&new, &new).to_string(), "no change");
    let other = compiler.compile(&format!(
        "[server]\nlb_grace = \"1s\"\n{}",
        with("[listener.limits]\nfields = 7\n[[listener]]\naddress = \"127.0.0.1:8081\"\n[[route]]\npool = \"app\"\n")
            .replacen("[listener.limits]\nfields = 7\n", "", 1)
            .replacen("[pool.app]", "limits = { fields = 7 }\n[pool.app]", 1),
    ));
    let plain = compiler.compile(&with("[[route]]\npool = \"app\"\n"));
    assert_eq!(diff(&plain, &other).to_string(), "listeners: +listener-2 ~web; server: changed");
}

#[test]
fn a_long_diff_is_cut() {
    let changes = Changes { added: (0..25).map(|i| i.to_string()).collect(), ..Changes::default() };
    assert!(changes.to_string().ends_with(" +19 and 5 more"));
}

/// A configuration with `hosts` hosts of three routes each.
fn large(hosts: usize) -> String {
    let mut text = with("");
    for host in 0..hosts {
        for (name, path) in [("root", "/"), ("api", "/api/"), ("static", "/static/")] {
            let _ = write!(
                text,
                "[[route]]\nid = \"h{host}-{name}\"\nmatch = {{ host = \"h{host}.example.com\", path_prefix = \"{path}\" }}\npool = \"app\"\n\n"
            );
        }
    }
    text
}

/// Seconds that this thread ran on a core: unlike the time of day, the same on a busy machine.
fn ran() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

/// Seconds from text to snapshot.
fn timed(compiler: &Compiler, text: &str, hosts: usize) -> f64 {
    let start = ran();
    let config = config(text);
    let read = ran() - start;
    let snapshot = compile(&config, &compiler.registry, &compiler.stats, 1).unwrap_or_else(|report| panic!("{report}"));
    let all = ran() - start;
    assert_eq!(snapshot.routes.len(), hosts * 3);
    println!("{} KiB, {hosts} hosts: read {read:.3} s, compiled {:.3} s", text.len() >> 10, all - read);
    all
}

/// Parsing, checking and compiling grow with the number of routes, not with its square; figures with `--nocapture`.
#[test]
fn many_hosts_compile_in_proportion() {
    let hosts_max: usize = std::env::var("EDGE_TEST_HOSTS").ok().and_then(|n| n.parse().ok()).unwrap_or(2_000);
    let compiler = Compiler::new();
    let mut per_route = Vec::new();
    for hosts in [hosts_max / 4, hosts_max] {
        let text = large(hosts);
        let best = (0..3).map(|_| timed(&compiler, &text, hosts)).fold(f64::INFINITY, f64::min);
        per_route.push(best / (hosts * 3) as f64);
    }
    // 10 µs are the clock's own grain, spread over the routes.
    assert!(per_route[1] < per_route[0] * 4.0 + 10e-6, "seconds per route: {per_route:?}");
}

/// What one route costs while a configuration is compiled and after.
#[test]
fn a_route_is_small() {
    assert!(size_of::<config::raw::Route>() <= 216);
    assert!(size_of::<RouteRule>() <= 80);
}

#[test]
fn nobody_is_redirected_to_a_port_that_speaks_http3_alone() {
    let port = |protocols: &str| {
        let tls =
            format!("[[listener]]\naddress = \"127.0.0.1:8443\"\nprotocols = {protocols}\ntls = \"self-signed\"\n");
        Compiler::new().compile(&format!("{tls}[[route]]\nrespond = {{}}\n")).https_port("localhost")
    };
    assert_eq!(port("[\"h1\", \"h3\"]"), Some(8443));
    assert_eq!(port("[\"h3\"]"), None, "clients begin with TCP");
}
