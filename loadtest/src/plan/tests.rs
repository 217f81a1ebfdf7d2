//! Plans as command lines ask for them, and what is said when they ask for what cannot be.
use super::*;
use options::*;
use std::io::Write;

fn asked(url: &str) -> Options {
    // An address, so that no test depends on a resolver.
    Options { urls: vec![url.into()], ..Options::default() }
}

fn plan(change: impl FnOnce(&mut Options)) -> Plan {
    let mut options = asked("https://127.0.0.1:8443/a?b");
    change(&mut options);
    build(&options).unwrap()
}

fn mistake(change: impl FnOnce(&mut Options)) -> String {
    let mut options = asked("https://127.0.0.1:8443/a?b");
    change(&mut options);
    build(&options).map(|_| "no mistake").unwrap_err().to_string()
}

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn a_url_alone_is_a_plan_with_defaults() {
    let plan = plan(|_| ());
    assert_eq!((plan.connections, plan.streams), (64, 1));
    assert_eq!((plan.duration, plan.warmup), (Duration::from_secs(10), Duration::from_secs(2)));
    assert_eq!((plan.timeout, plan.connect_timeout), (Duration::from_secs(10), Duration::from_secs(5)));
    assert_eq!((plan.protocol, plan.load, &plan.exchange), (Protocol::Auto, Load::Closed, &Exchange::Requests));
    assert_eq!((plan.expect.status, plan.body_max), ((200, 399), 1 << 30));
    assert!(!plan.cores.is_empty() && plan.cores.len() <= plan.connections);
    let [origin] = plan.origins.as_slice() else { panic!("{:?}", plan.origins) };
    assert_eq!((origin.secure, origin.port), (true, 8443));
    assert_eq!((origin.host.as_str(), origin.authority.as_str()), ("127.0.0.1", "127.0.0.1:8443"));
    assert_eq!(origin.server_name, "127.0.0.1");
    assert_eq!(origin.addresses, [Address::Ip("127.0.0.1:8443".parse().unwrap())]);
    assert_eq!((origin.requests[0].method.as_str(), origin.requests[0].target.as_str()), ("GET", "/a?b"));
    assert!(origin.requests[0].fields.is_empty() && origin.requests[0].body.is_empty());
}

#[test]
fn what_is_asked_for_is_planned() {
    let body = file(b"{}");
    let plan = plan(|o| {
        o.fields = vec!["Content-Type: application/json".into()];
        o.body = Body::File(body.path().into());
        o.host = Some("shop.example".into());
        o.sni = Some("sni.example".into());
        o.connect_to = Some("[::1]:9".into());
        o.h2 = true;
        (o.connections, o.streams) = (Some(3), Some(100));
        (o.rate, o.arrivals) = (Some(500.0), Some(Arrivals::Poisson));
        (o.requests, o.requests_per_connection) = (Some(7), Some(9));
        o.connect_rate = Some(10.0);
        (o.timeout, o.connect_timeout) = (Some(Duration::from_millis(1)), Some(Duration::from_secs(1)));
        (o.insecure, o.no_resume) = (true, true);
        o.cores = Some(edge_io::cores::affinity().unwrap()[0].to_string());
        (o.expect_status, o.expect_body) = (Some("2xx".into()), Some("ok".into()));
        (o.seed, o.server_pid) = (Some(5), Some(std::process::id()));
    });
    let origin = &plan.origins[0];
    assert_eq!((origin.authority.as_str(), origin.server_name.as_str()), ("shop.example", "sni.example"));
    assert_eq!(origin.addresses, [Address::Ip("[::1]:9".parse().unwrap())]);
    let request = &origin.requests[0];
    assert_eq!((request.method.as_str(), &request.body[..]), ("POST", &b"{}"[..]));
    assert_eq!(request.fields, [("content-type".into(), b"application/json".to_vec())]);
    assert_eq!((plan.protocol, plan.connections, plan.streams), (Protocol::H2, 3, 100));
    assert_eq!(plan.load, Load::Open { rate: 500.0, arrivals: Arrivals::Poisson });
    assert_eq!((plan.requests, plan.requests_per_connection), (NonZeroU64::new(7), NonZeroU64::new(9)));
    assert_eq!((plan.duration, plan.warmup), (DURATION_OF_COUNTED, Duration::ZERO), "a counted run ends by its count");
    assert!(plan.tls.insecure && plan.tls.no_resume && plan.cores.len() == 1);
    assert_eq!((plan.expect.status, plan.body_max), ((200, 299), KEPT_ANSWERS_MAX / 300), "for 3 × 100 at once");
    assert_eq!((plan.seed, plan.server_pid), (5, Some(std::process::id())));
}

#[test]
fn urls_are_grouped_by_server_in_their_order() {
    let urls = file(b"# a comment\n\nhttp://127.0.0.1:1/a\nhttp://127.0.0.2:1/b\r\n  http://127.0.0.1:1/c  \n");
    let plan = plan(|o| {
        o.urls = vec!["http://127.0.0.1:1/first".into()];
        o.url_files = vec![urls.path().into()];
    });
    let shown: Vec<(&str, Vec<&str>)> = plan
        .origins
        .iter()
        .map(|o| (o.authority.as_str(), o.requests.iter().map(|r| r.target.as_str()).collect()))
        .collect();
    assert_eq!(shown, [("127.0.0.1:1", vec!["/first", "/a", "/c"]), ("127.0.0.2:1", vec!["/b"])]);
}

#[test]
fn a_unix_socket_is_connected_to_for_any_url() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let there = plan(|o| {
        o.urls = vec!["http://no-such-name.invalid/x".into()];
        o.unix = Some(path.clone());
    });
    assert_eq!(there.origins[0].addresses, [Address::Unix(path)]);
    assert_eq!(there.origins[0].authority, "no-such-name.invalid");
    let hidden = plan(|o| o.unix = Some("@hidden".into()));
    assert_eq!(hidden.origins[0].addresses, [Address::Unix("@hidden".into())]);
    assert!(mistake(|o| o.unix = Some(dir.path().join("none"))).contains("no such file"));
    assert!(mistake(|o| o.unix = Some("/".repeat(108).into())).contains("107 at most"));
    assert!(mistake(|o| o.unix = Some("@".into())).contains("@NAME"));
}

#[test]
fn websockets_and_event_streams_go_over_tcp() {
    let ws = plan(|o| (o.urls, o.websocket) = (vec!["wss://127.0.0.1/".into()], true));
    assert_eq!((ws.exchange, ws.protocol), (Exchange::WebSocket { size: MESSAGE }, Protocol::H1));
    let several = plan(|o| (o.websocket, o.h2, o.streams) = (true, true, Some(4)));
    assert_eq!((several.protocol, several.streams), (Protocol::H2, 4));
    let sse = plan(|o| o.events = true);
    assert_eq!((sse.exchange, sse.protocol), (Exchange::Events, Protocol::Auto));
}

#[test]
fn every_mistake_is_told_at_once() {
    let text = mistake(|o| {
        o.urls = vec!["localhost".into()];
        o.connections = Some(0);
        o.rate = Some(-1.0);
        o.fields = vec!["nonsense".into()];
        o.timeout = Some(Duration::ZERO);
    });
    assert_eq!(text.lines().count(), 5, "{text}");
}

#[test]
fn mistakes_name_the_option_and_what_to_do() {
    let told = |said: &str, change: &dyn Fn(&mut Options)| {
        let text = mistake(change);
        assert!(text.contains(said), "expected {said:?} in: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    };
    told("there is no URL", &|o| o.urls.clear());
    told("no-such.invalid", &|o| o.urls = vec!["http://no-such.invalid/".into()]);
    told("--header 'authorization", &|o| o.urls = vec!["http://a:b@127.0.0.1/".into()]);
    told("-c 1000001: expected 1 to 1,000,000", &|o| o.connections = Some(CONNECTIONS_MAX + 1));
    told("-m 10001: expected 1 to 10,000", &|o| o.streams = Some(STREAMS_MAX + 1));
    told("the most is 10,000,000", &|o| (o.connections, o.streams, o.h3) = (Some(2_000), Some(10_000), true));
    told("-n 0", &|o| o.requests = Some(0));
    told("--requests-per-conn 0", &|o| o.requests_per_connection = Some(0));
    told("--conn-rate 0", &|o| o.connect_rate = Some(0.0));
    told("--conn-rate NaN", &|o| o.connect_rate = Some(f64::NAN));
    told("-d 1ns: expected 10ms to 168h", &|o| o.duration = Some(Duration::from_nanos(1)));
    told("--warmup", &|o| o.warmup = Some(Duration::from_secs(7200)));
    told("--connect-timeout", &|o| o.connect_timeout = Some(Duration::ZERO));
    told("leave all out", &|o| (o.h1, o.h2) = (true, true));
    told("write https://127.0.0.1", &|o| (o.urls, o.h3) = (vec!["http://127.0.0.1/".into()], true));
    told("leave out --h3 or --unix", &|o| (o.unix, o.h3) = (Some("@x".into()), true));
    told("leave one out", &|o| (o.unix, o.connect_to) = (Some("@x".into()), Some("127.0.0.1:1".into())));
    told("there is no port", &|o| o.connect_to = Some("127.0.0.1".into()));
    told("in brackets", &|o| o.connect_to = Some("::1:80".into()));
    told("--host: ", &|o| o.host = Some("a b".into()));
    told("--sni \"a b\"", &|o| o.sni = Some("a b".into()));
    told("no URL is https", &|o| (o.urls, o.sni) = (vec!["http://127.0.0.1/".into()], Some("a".into())));
    told("write GET", &|o| o.method = Some("get".into()));
    told("leave out --body", &|o| (o.method, o.body) = (Some("TRACE".into()), Body::Text("x".into())));
    told("/nowhere/b: it cannot be read: no such file", &|o| o.body = Body::File("/nowhere/b".into()));
    told("/nowhere/u: it cannot be read: no such file", &|o| o.url_files = vec!["/nowhere/u".into()]);
    told("--ca /nowhere/c: it cannot be read", &|o| o.ca = Some("/nowhere/c".into()));
    told("-k and --ca", &|o| (o.ca, o.insecure) = (Some("/etc/ssl/certs/ca-certificates.crt".into()), true));
    told("add -r RATE", &|o| o.arrivals = Some(Arrivals::Poisson));
    told("add --ws", &|o| o.urls = vec!["ws://127.0.0.1/".into()]);
    told("add --ws", &|o| o.message_size = Some(5));
    told("--ws-size 16777217: expected 0 to 16,777,216", &|o| {
        (o.websocket, o.message_size) = (true, Some(MESSAGE_MAX + 1));
    });
    told("one of them; leave one out", &|o| (o.websocket, o.events) = (true, true));
    told("leave out --h3", &|o| (o.websocket, o.h3) = (true, true));
    told("leave out --method", &|o| (o.events, o.method) = (true, Some("PUT".into())));
    told("--expect-status: with --sse", &|o| (o.events, o.expect_status) = (true, Some("200".into())));
    told("--expect-status: with --ws", &|o| (o.websocket, o.expect_status) = (true, Some("101".into())));
    told("-r: with --sse", &|o| (o.events, o.rate) = (true, Some(10.0)));
    told("-n: with --sse", &|o| (o.events, o.requests) = (true, Some(10)));
    told("--requests-per-conn: with --sse", &|o| (o.events, o.requests_per_connection) = (true, Some(10)));
    told("use -c for more", &|o| (o.events, o.streams) = (true, Some(2)));
    told("--expect-status", &|o| o.expect_status = Some("fine".into()));
    told("--body-max", &|o| o.body_max = Some(u64::MAX));
    told("4,294,967,296 bytes in all; expected 671088 at most", &|o| {
        (o.expect_body, o.body_max) = (Some("x".into()), Some(1 << 20));
        (o.connections, o.streams) = (Some(64), Some(100));
    });
    told("--server-pid", &|o| o.server_pid = Some(u32::MAX));
    told("may not run on core 8191", &|o| o.cores = Some("8191".into()));
    let text = mistake(|o| o.expect_body = Some("(".into()));
    assert!(text.starts_with("--expect-body \"(\": "), "{text}");
}

#[test]
fn files_are_checked_by_line_and_size() {
    let urls = file(b"http://127.0.0.1/\nhttp://127.0.0.1/ x\n");
    let told = mistake(|o| o.url_files = vec![urls.path().into()]);
    assert!(told.starts_with(&format!("{}, line 2: URL ", urls.path().display())), "{told}");
    let empty = file(b"# none\n");
    assert!(mistake(|o| o.url_files = vec![empty.path().into()]).contains("there is no URL in it"));
    let many = file("http://127.0.0.1/\n".repeat(URLS_MAX + 1).as_bytes());
    assert!(mistake(|o| o.url_files = vec![many.path().into()]).contains("more than 100,000 URLs"));
    let large = tempfile::NamedTempFile::new().unwrap();
    large.as_file().set_len(BODY_FILE_MAX + 1).unwrap();
    assert!(mistake(|o| o.body = Body::File(large.path().into())).contains("larger than 268,435,456 bytes"));
    let servers: String = (0..=ORIGINS_MAX).map(|n| format!("http://127.0.{}.{}/\n", n / 250, n % 250 + 1)).collect();
    let servers = file(servers.as_bytes());
    assert!(mistake(|o| (o.urls, o.url_files) = (vec![], vec![servers.path().into()])).contains("the most is 1000"));
    let two = file(b"http://127.0.0.1/\nhttp://127.0.0.2/\n");
    let told = mistake(|o| (o.urls, o.url_files, o.connections) = (vec![], vec![two.path().into()], Some(1)));
    assert!(told.contains("2 servers"), "{told}");
}
