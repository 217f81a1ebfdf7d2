//! The configuration as a whole: shipped files, generated files, arbitrary input.
use super::*;
use proptest::prelude::*;
use std::time::Duration;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn parsed(text: &str) -> Config {
    parse(text, Path::new("test.toml")).unwrap_or_else(|report| panic!("{report}"))
}

fn refused(text: &str) -> String {
    parse(text, Path::new("test.toml")).err().map(|report| report.to_string()).unwrap_or_default()
}

/// Compares a generated file with the one in the repository; `EDGE_BLESS` writes it.
fn assert_up_to_date(path: &str, text: &str) {
    if std::env::var_os("EDGE_BLESS").is_some() {
        std::fs::write(root(path), text).unwrap();
    }
    let there = std::fs::read_to_string(root(path)).unwrap_or_default();
    assert!(there == text, "{path} is out of date: EDGE_BLESS=1 cargo test -p edge config:: writes it anew");
}

const MINIMAL: &str = "[[listener]]\naddress = \"127.0.0.1:8080\"\n[pool.app]\nendpoints = [\"http://127.0.0.1:3000\"]\n[[route]]\npool = \"app\"\n";

#[test]
fn the_manual_is_up_to_date() {
    assert_up_to_date("docs/CONFIG.md", &manual::config_md());
}

#[test]
fn minimal_is_what_it_seems() {
    let config = load(&root("configs/minimal.toml")).unwrap_or_else(|report| panic!("{report}"));
    assert!(config.says_the_same(&parsed(MINIMAL)));
    assert!(config.warnings.warnings().is_empty());
}

#[test]
fn the_example_of_endpoints_that_fail_has_nothing_that_is_hardly_meant_so() {
    let config = load(&root("configs/resilient.toml")).unwrap_or_else(|report| panic!("{report}"));
    assert!(config.warnings.warnings().is_empty());
}

#[test]
fn the_example_of_http3_speaks_it_beside_the_others() {
    let config = load(&root("configs/h3.toml")).unwrap_or_else(|report| panic!("{report}"));
    assert!(config.warnings.warnings().is_empty());
    let spoken: Vec<_> = config.listeners.iter().map(|l| (l.protocols.h1, l.protocols.h2, l.protocols.h3)).collect();
    assert_eq!(spoken, [(true, true, false), (true, true, true)]);
}

#[test]
fn tls_is_told_of_http3_and_early_data() {
    let told = |protocols: &str, early: bool| {
        let listener =
            format!("protocols = {protocols}\ntls = \"self-signed\"\nhttp3 = {{ early_data = {early} }}\n[pool.app]");
        let (tls, _) = parsed(&MINIMAL.replace("[pool.app]", &listener)).listeners[0].tls.clone().unwrap();
        (tls.h1, tls.h2, tls.h3, tls.early_data)
    };
    assert_eq!(told("[\"h3\"]", false), (false, false, true, false));
    assert_eq!(told("[\"h2\", \"h3\"]", true), (false, true, true, true));
    assert_eq!(told("[\"h1\", \"h2\"]", true), (true, true, false, false), "there is nothing to take it");
}

#[test]
fn what_clients_are_granted_is_told_apart() {
    let granted = |key: &str| {
        let text = MINIMAL.replace("[pool.app]", &format!("[listener.http3]\n{key}\n[pool.app]"));
        parsed(&text).listeners[0].http3.granted()
    };
    for (key, same) in [
        ("stream_window = \"64KiB\"", false),
        ("max_concurrent_streams = 7", false),
        ("qpack_table = \"0B\"", false),
        ("connect_protocol = false", false),
        ("migration = false", false),
        ("resets = 7", true),
        ("alt_svc_max_age = \"1h\"", true),
    ] {
        assert_eq!(granted(key) == granted(""), same, "{key}");
    }
}

#[test]
fn a_time_of_zero_turns_off_what_it_is_the_time_of() {
    let text = |http3: &str| MINIMAL.replace("[pool.app]", &format!("[listener.http3]\n{http3}\n[pool.app]"));
    let read = |http3: &str| parsed(&text(http3)).listeners[0].http3.clone();
    let given = read("cid_lifetime = \"0s\"\nalt_svc_max_age = \"0s\"");
    assert_eq!((given.cid_lifetime, given.alt_svc_max_age), (None, None));
    let hour = Duration::from_secs(3600);
    assert_eq!((read("").cid_lifetime, read("").alt_svc_max_age), (Some(hour), Some(hour * 24)));
}

/// What the file spells out is what leaving it out means.
#[test]
fn everything_has_each_key_at_its_default() {
    let text = manual::everything_toml();
    assert_up_to_date("configs/everything.toml", &text);
    let bare = "
        [[listener]]
        address = \"127.0.0.1:8080\"
        [[listener]]
        address = \"127.0.0.1:8443\"
        tls = \"self-signed\"
        [pool.app]
        endpoints = [\"http://127.0.0.1:3000\"]
        [pool.secure]
        endpoints = [\"https://127.0.0.1:3443\"]
        [pool.weighted]
        endpoints = [\"http://127.0.0.1:3000\"]
        [pool.hashed]
        endpoints = [\"http://127.0.0.1:3000\"]
        balance = { hash = \"client_ip\" }
        [pool.kept]
        endpoints = [\"http://127.0.0.1:3000\"]
        sticky = {}
        [pool.checked]
        endpoints = [\"http://127.0.0.1:3000\"]
        health = \"/healthz\"
        [pool.measured]
        endpoints = [\"http://127.0.0.1:3000\"]
        adaptive = true
        [policy.api]
        [policy.guarded]
        breaker = true
        hedge = \"p95\"
        [[route]]
        pool = \"app\"
        match = { path_prefix = \"/api\", header = { x-canary = \"1\" } }
        rewrite = { add_prefix = \"/v1\" }
        [[route]]
        match = \"old.example.com\"
        redirect = { to = \"https://{host}{path}{query}\" }
        [[route]]
        match = \"/ping\"
        respond = {}
    ";
    let (everything, bare) = (parsed(&text), parsed(bare));
    assert_eq!(everything.server, bare.server);
    assert_eq!(everything.listeners, bare.listeners);
    assert_eq!(everything.pools, bare.pools);
    assert_eq!(everything.policies, bare.policies);
    assert!(everything.says_the_same(&bare), "{:?}\n{:?}", everything.routes, bare.routes);
}

/// Each example of the manual can be used where it stands.
#[test]
fn every_example_is_accepted() {
    let everything = manual::everything_toml();
    let lines: Vec<&str> = everything.lines().collect();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("# ") && line.contains(" = ")) {
        let mut with = lines.clone();
        with[at] = &line[2..];
        let report = refused(&with.join("\n"));
        // an example may contradict a neighbour, but must never be of a wrong type or out of bounds
        let contradiction = [
            "has both",
            "has no meaning with",
            "without",
            "the same thing",
            "there is no",
            "predicates",
            "duplicate key",
            "inline table",
            "is for routes",
            "does nothing",
            "has no meaning",
        ];
        let fine = report.is_empty() || contradiction.iter().any(|c| report.contains(c));
        assert!(fine, "{line}\n{report}");
    }
}

#[test]
fn defaults_are_those_of_the_table() {
    let config = parsed(MINIMAL);
    assert_eq!(config.server.shards, None);
    assert_eq!(config.listeners[0].limits.head, 32 * 1024);
    assert_eq!(config.listeners[0].timeouts.keepalive, Duration::from_secs(75));
    assert_eq!(config.pools[0].timeouts.total, None);
    assert_eq!(&*config.routes[0].id, "route-1");
    assert_eq!(raw::Policy::default().max_body, Some(10 << 20));
}

#[test]
fn routes_as_a_list_and_as_tables_say_the_same() {
    let list = "route = [{ id = \"a\", respond = {} }, { match = \"/x\", pool = \"app\" }]\n";
    let tables = "[[route]]\nid = \"a\"\n[route.respond]\n[[route]]\nmatch = \"/x\"\npool = \"app\"\n";
    let head = MINIMAL.split_once("[[route]]").unwrap().0;
    assert!(parsed(&format!("{list}{head}")).says_the_same(&parsed(&format!("{head}{tables}"))));
}

#[test]
fn a_later_stage_finds_the_very_value() {
    let route =
        "[[route]]\nid = \"x\"\nmatch = { host = [\"a.example\", \"b.example\"], path = \"/p\" }\nrespond = {}\n";
    let text = format!("{MINIMAL}{route}[pool.late]\nendpoints = [\"unix:@y\"]\n");
    let config = parsed(&text);
    let at = |path: &[&str]| &text[config.span_in_route(1, path)];
    assert_eq!(at(&["match", "host", "1"]), "\"b.example\"");
    assert_eq!(at(&["match", "path", "0"]), "\"/p\"");
    assert_eq!(at(&["id"]), "\"x\"");
    assert_eq!(config.span_in_route(7, &["id"]), 0..0);
    let head = MINIMAL.split_once("[[route]]").unwrap().0;
    let text = format!(
        "route = [{{ pool = \"app\" }}, {{ id = \"y\", match = {{ header = {{ a = \"1\", b = \"2\" }} }}, pool = \"app\" }}]\n{head}"
    );
    let config = parsed(&text);
    assert_eq!(&text[config.span_in_route(1, &["match", "header", "1"])], "\"2\"");
}

#[test]
fn a_policy_called_default_is_the_default() {
    let config = parsed(&format!("{MINIMAL}[policy.default]\nmax_body = \"off\"\n"));
    assert_eq!(config.routes[0].policy, Some(0));
    assert!(config.warnings.warnings().is_empty());
}

#[test]
fn hostile_input_is_refused_politely() {
    let deep = |open: &str, close: &str| format!("a = {}{}", open.repeat(100_000), close.repeat(100_000));
    let dotted = format!("{} = 1", vec!["a"; 50_000].join("."));
    let inputs = [
        deep("[", "]"),
        deep("{a=", "}"),
        format!("[[route]]\nmatch = {}{}", "{ not = ".repeat(60), "}".repeat(60)),
        dotted,
        "\0".to_owned(),
        "[server]\nshards = 99999999999999999999999999999999999999999999".to_owned(),
        "[server]\nshards = 1e999\nadmin = 1979-05-27".to_owned(),
        "[[route]]".repeat(10_000),
        "[[route]]\n".repeat(10_000),
        "[\n[[\n[route".to_owned(),
        // work for each mistake must not grow with the file
        format!(
            "route = [{}]",
            "{ id = \"a\", match = \"/x/../y\", respond = { status = 204, body = \"x\" } },".repeat(20_000)
        ),
        (0..5_000).map(|i| format!("[pool.p{i}]\nendpoints = [\"unix:@{i}\"]\n[[route]]\npool = \"q{i}\"\n")).collect(),
        "x".repeat(FILE_BYTES_MAX as usize + 1),
    ];
    for text in inputs {
        let report = refused(&text);
        assert!(!report.is_empty() && report.len() < 60_000, "{report}");
    }
}

#[test]
fn what_cannot_be_read_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let missing = load(&dir.path().join("no.toml")).unwrap_err().to_string();
    assert!(missing.contains("cannot be read"), "{missing}");
    let latin1 = dir.path().join("latin1.toml");
    std::fs::write(&latin1, b"a = 1\nb = \"\xe9\"\n").unwrap();
    assert!(load(&latin1).unwrap_err().to_string().contains("line 2 is not UTF-8"));
}

/// Text that is nearly a configuration: pieces of a good one, cut, doubled and peppered.
fn nearly() -> impl Strategy<Value = String> {
    let lines: Vec<String> = manual::everything_toml().lines().map(|l| l.trim_start_matches("# ").to_owned()).collect();
    let line = prop::sample::select(lines);
    let spice = prop::sample::select(vec![
        "\"",
        "'",
        "\"\"\"",
        "[",
        "]",
        "{",
        "}",
        "[[route]]",
        "=",
        "#",
        "\n",
        "\r\n",
        "\0",
        "é",
        "\\",
        "-1",
        "1e9",
        "0x",
        "..",
        "\u{feff}",
        "\t",
        "[[pool]]",
        "route.x = 1",
    ]);
    let piece = (line, spice, any::<prop::sample::Index>(), any::<bool>()).prop_map(|(mut line, spice, at, whole)| {
        if !whole {
            let boundaries: Vec<usize> = line.char_indices().map(|(i, _)| i).chain([line.len()]).collect();
            line.insert_str(*at.get(&boundaries), spice);
        }
        line
    });
    prop::collection::vec(piece, 0..60).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever the input, there is a configuration or a report that says something.
    #[test]
    fn parse_never_panics(text in nearly()) {
        if let Err(report) = parse(&text, Path::new("p.toml")) {
            prop_assert!(!report.mistakes().is_empty());
            prop_assert!(report.to_string().starts_with("1. p.toml"));
        }
    }

    #[test]
    fn parse_never_panics_on_noise(text in "\\PC{0,200}|[\\[\\]{}\"'=#.\n a-z0-9\\\\]{0,200}") {
        let _ = parse(&text, Path::new("p.toml"));
    }

    /// Cutting routes out before parsing changes nothing: positions of mistakes show it.
    #[test]
    fn cutting_keeps_every_byte(text in nearly()) {
        let cut = split::split(&text);
        let mut ranges: Vec<_> = cut.rest.into_iter().chain(cut.routes).collect();
        ranges.sort_by_key(|r| r.start);
        let glued: String = ranges.iter().map(|r| &text[r.clone()]).collect();
        prop_assert_eq!(glued, text);
    }
}

#[test]
fn a_body_comes_from_a_file_and_what_is_wrong_with_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("page.html"), "<p>back soon").unwrap();
    let read = |name: &str| {
        let text = format!("version = 1\n[[listener]]\naddress = \"127.0.0.1:1\"\n[[route]]\nrespond = {{ {name} }}\n");
        parse(&text, &dir.path().join("edge.toml"))
    };
    let config = read("body_file = \"page.html\"").unwrap_or_else(|e| panic!("{e}"));
    let raw::Action::Respond(respond) = &config.routes[0].action else { panic!("a response") };
    assert_eq!((&respond.body[..], respond.from_file), (&b"<p>back soon"[..], true));
    assert!(read("body_file = \"none.html\"").unwrap_err().to_string().contains("none.html"));
    assert!(read("body_file = \"page.html\", body = \"x\"").unwrap_err().to_string().contains("has both"));
    let file = std::fs::File::create(dir.path().join("large")).unwrap();
    file.set_len(20 << 20).unwrap();
    // So much that it is refused where the response is made, and no more.
    let config = read("body_file = \"large\"").unwrap_or_else(|e| panic!("{e}"));
    let raw::Action::Respond(respond) = &config.routes[0].action else { panic!("a response") };
    assert_eq!(respond.body.len(), (16 << 20) + 1);
}
