//! FEATURES C1 to C5, a table each.
use super::{FieldOp, MatchConfig, Request, Route, compile, field, find, strings};

/// "id: host path_prefix" per line; `-` for none.
fn routes(lines: &[&str]) -> Vec<Route> {
    let route = |line: &&str| {
        let (id, rest) = line.split_once(": ").unwrap();
        let (hosts, path) = rest.split_once(' ').unwrap();
        let some = |prefix: &str| path.strip_prefix(prefix).map(Box::from);
        let matches = MatchConfig {
            host: hosts.split(',').filter(|host| *host != "-").map(String::from).collect(),
            path: some("="),
            path_prefix: Some(path).filter(|path| path.starts_with('/')).map(Box::from),
            path_glob: some("?"),
            path_regex: some("~"),
            ..MatchConfig::default()
        };
        Route { id: id.into(), priority: 0, matches }
    };
    lines.iter().map(route).collect()
}

fn check(routes: &[Route], table: &[(&str, &str, &str)]) {
    let (router, _) = compile(routes).unwrap();
    for (host, target, expected) in table {
        assert_eq!(find(&router, routes, &Request::new("GET", host, target)), *expected, "{host} {target}");
    }
}

#[test]
fn c1_hosts() {
    let routes = routes(&[
        "exact: www.example.com,Other.Example. /",
        "wildcard: *.example.com /",
        "longer: *.api.example.com /",
        "regex: ~^shop[0-9]+\\.example\\.org$ /",
        "alabel: xn--mnchen-3ya.de /",
        "v6: [2001:DB8::1] /",
        "rest: * /rest",
    ]);
    check(
        &routes,
        &[
            ("www.example.com", "/", "exact"),
            ("WWW.Example.COM:8443", "/", "exact"),
            ("www.example.com.", "/", "exact"),
            ("www.example.com..", "/", "-"),
            ("other.example", "/", "exact"),
            ("a.example.com", "/", "wildcard"),
            ("a.b.example.com", "/", "wildcard"),
            ("example.com", "/", "-"),
            (".example.com", "/", "-"),
            ("v1.api.example.com", "/", "longer"),
            ("api.example.com", "/", "wildcard"),
            ("shop7.example.org", "/", "regex"),
            ("SHOP7.example.org:80", "/", "regex"),
            ("shop.example.org", "/", "-"),
            ("XN--mnchen-3ya.de", "/", "alabel"),
            ("[2001:db8::1]:443", "/", "v6"),
            ("anything", "/rest", "rest"),
            ("", "/rest", "rest"),
            (&"a".repeat(300), "/rest", "rest"),
            (&format!("{}.example.com", "a".repeat(300)), "/", "-"),
        ],
    );
}

#[test]
fn c1_a_host_without_a_fitting_path_falls_to_the_next_best() {
    let routes = routes(&["exact: a.b.c /x", "wildcard: *.b.c /y", "short: *.c /z", "any: - /"]);
    check(
        &routes,
        &[
            ("a.b.c", "/x", "exact"),
            ("a.b.c", "/y", "wildcard"),
            ("a.b.c", "/z", "short"),
            ("a.b.c", "/", "any"),
            ("q", "/x", "any"),
        ],
    );
}

#[test]
fn c2_paths() {
    let routes = routes(&[
        "exact: - =/api",
        "prefix: - /api",
        "deep: - /api/v1",
        "slash: - /dir/",
        "long: - /resources/a",
        "other: - =/resources/b",
        "glob: - ?/u/*/posts/*.json",
        "rest: - ?/files/**",
        "regex: - ~^/item-[0-9]+$",
    ]);
    check(
        &routes,
        &[
            ("h", "/api", "exact"),
            ("h", "/api?x=/api/v1", "exact"),
            ("h", "/api/", "prefix"),
            ("h", "/api/x", "prefix"),
            ("h", "/apix", "-"),
            ("h", "/API", "-"),
            ("h", "/api/v1", "deep"),
            ("h", "/api/v1/x", "deep"),
            ("h", "/api/v10", "prefix"),
            ("h", "/api/v1/../x", "prefix"),
            ("h", "/api/%2e%2e/dir/", "slash"),
            ("h", "/api%2Fx", "-"),
            ("h", "/dir", "-"),
            ("h", "/resources/a/x", "long"),
            ("h", "/resources/c/x", "-"),
            ("h", "/resources/b", "other"),
            ("h", "/resources/c", "-"),
            ("h", "/dir/a", "slash"),
            ("h", "/u/7/posts/a.json", "glob"),
            ("h", "/u/7/8/posts/a.json", "-"),
            ("h", "/files/", "rest"),
            ("h", "/files/a/b", "rest"),
            ("h", "/files", "-"),
            ("h", "/item-12", "regex"),
            ("h", "/item-12/", "-"),
        ],
    );
}

#[test]
fn c2_ten_thousand_paths_on_one_host() {
    let lines: Vec<String> = (0..10_000)
        .map(|n| match n % 2 {
            0 => format!("r{n}: h /s{}/p{n}", n % 100),
            _ => format!("r{n}: h =/s{}/p{n}", n % 100),
        })
        .collect();
    let routes = routes(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let (router, warnings) = compile(&routes).unwrap();
    assert!(warnings.is_empty());
    for n in 0..10_000 {
        let (path, below) = (format!("/s{}/p{n}", n % 100), format!("/s{}/p{n}/x", n % 100));
        assert_eq!(find(&router, &routes, &Request::new("GET", "h", &path)), format!("r{n}"));
        let expected = if n % 2 == 0 { format!("r{n}") } else { "-".into() };
        assert_eq!(find(&router, &routes, &Request::new("GET", "h", &below)), expected);
    }
}

#[test]
fn c3_each_step_of_the_order_decides() {
    let mut ladder = routes(&[
        "any-host: - =/a/b",
        "regex-host: ~a =/a/b",
        "wildcard: *.x =/a/b",
        "long-wildcard: *.a.x =/a/b",
        "no-path: b.a.x -",
        "regex: b.a.x ~^/a/b$",
        "glob: b.a.x ?/a/*",
        "prefix: b.a.x /a",
        "long-prefix: b.a.x /a/b",
        "exact: b.a.x =/a/b",
        "exact-more: b.a.x =/a/b",
        "priority: - /",
    ]);
    ladder[10].matches.method = strings(&["GET"]);
    ladder[11].priority = 1;
    let request = Request::new("GET", "b.a.x", "/a/b");
    // From the top: whatever goes first is taken out, and the next one is found. In any file order.
    for reversed in [false, true] {
        let mut left = ladder.clone();
        let mut expected: Vec<String> = left.iter().map(|route| route.id.clone()).collect();
        if reversed {
            left.reverse();
            // Between glob and regex it is the file that decides.
            expected.swap(5, 6);
        }
        // The regex stands first in the file, so it goes before the glob.
        expected.swap(5, 6);
        while let Some(id) = expected.pop() {
            let (router, _) = compile(&left).unwrap();
            assert_eq!(find(&router, &left, &request), id, "reversed: {reversed}");
            left.retain(|route| route.id != id);
        }
    }
}

#[test]
fn c3_the_order_holds_beside_priorities() {
    // "z.x" sorts behind "x": length decides, and a priority elsewhere changes nothing here.
    let mut routes = routes(&["short: *.x /", "long: *.z.x /", "low: a.z.x /low", "else: y /"]);
    routes[2].priority = -1;
    check(&routes, &[("a.z.x", "/", "long"), ("a.z.x", "/low", "long"), ("a.x", "/", "short")]);
}

#[test]
fn c3_equal_routes_are_refused() {
    let mut pair = routes(&["one: a.x,b.x /api", "two: b.x /api"]);
    let errors = compile(&pair).unwrap_err();
    assert_eq!((errors.len(), errors[0].route, errors[0].key), (1, 1, "match"));
    assert!(errors[0].message.contains("\"one\"") && errors[0].message.contains("\"two\""), "{}", errors[0].message);
    assert!(errors[0].help.contains("priority"));

    pair[1].priority = -1;
    assert!(compile(&pair).is_ok(), "a priority settles it");
    pair[1].priority = 0;
    pair[0].matches.method = strings(&["GET"]);
    assert!(compile(&pair).is_ok(), "more predicates settle it");
    pair[1].matches.method = strings(&["POST"]);
    assert!(compile(&pair).is_ok(), "disjoint");
    pair[1].matches.method = strings(&["POST", "HEAD"]);
    assert!(compile(&pair).is_err(), "GET implies HEAD");
}

#[test]
fn c3_shadowed_routes_are_named() {
    for (lines, priorities, shadowed) in [
        (vec!["top: - /", "below: a.x /api"], [1, 0], Some(("below", "top"))),
        (vec!["top: - /", "below: a.x /api"], [0, 0], None),
        (vec!["top: *.x /api/", "below: a.x /api"], [1, 0], None),
        (vec!["top: *.x /api", "below: a.x,b.x ?/api/*"], [1, 0], Some(("below", "top"))),
        (vec!["top: *.x /api", "below: a.x,b.y ?/api/*"], [1, 0], None),
        (vec!["top: *.x /api", "below: *.a.x /api/v1"], [1, 0], Some(("below", "top"))),
        (vec!["below: a.x ~^/v[0-9]", "top: a.x /"], [0, 0], Some(("below", "top"))),
        (vec!["top: a.x ~^/v[0-9]", "below: a.x ~^/v[0-9]"], [1, 0], Some(("below", "top"))),
        (vec!["top: a.x ~^/v[0-9]", "below: a.x =/v1"], [1, 0], Some(("below", "top"))),
        (vec!["top: - /", "below: ~^a =/v1"], [1, 0], Some(("below", "top"))),
        (vec!["top: a.x =/api", "below: a.x /api"], [1, 0], None),
    ] {
        let mut routes = routes(&lines);
        for (route, priority) in routes.iter_mut().zip(priorities) {
            route.priority = priority;
        }
        let (_, warnings) = compile(&routes).unwrap();
        assert_eq!(warnings.len(), usize::from(shadowed.is_some()), "{lines:?} {warnings:?}");
        if let Some((below, top)) = shadowed {
            assert_eq!(routes[warnings[0].route].id, below);
            assert!(warnings[0].message.contains(top));
        }
    }
    let mut routes = routes(&["top: - /", "below: a.x /api"]);
    routes[0].priority = 1;
    routes[0].matches.method = strings(&["GET"]);
    assert!(compile(&routes).unwrap().1.is_empty(), "other methods still reach it");
    routes[1].matches.method = strings(&["HEAD"]);
    assert_eq!(compile(&routes).unwrap().1.len(), 1);
}

#[test]
fn c4_predicates() {
    use FieldOp::{Exact, Prefix, Present, Regex};
    let none = MatchConfig::default;
    let get = || Request::new("GET", "h", "/p?a=1&b=x%20y&c&a=2");
    let header = |name: &str, op| MatchConfig { header: vec![field(name, op)].into(), ..none() };
    let query = |name: &str, op| MatchConfig { query: vec![field(name, op)].into(), ..none() };
    let cookie = |name: &str, op| MatchConfig { cookie: vec![field(name, op)].into(), ..none() };
    let client = |nets: &[&str]| MatchConfig { client: strings(nets), ..none() };
    let not = |inner: MatchConfig| MatchConfig { not: Some(Box::new(inner)), ..none() };
    let cookies = || get().field("Cookie", "s=1; theme=dark").field("cookie", "late=x=y");
    for (matches, request, expected) in [
        (MatchConfig { method: strings(&["GET"]), ..none() }, Request::new("HEAD", "h", "/"), true),
        (MatchConfig { method: strings(&["PURGE"]), ..none() }, Request::new("PURGE", "h", "/"), true),
        (header("X-A", Present), get(), false),
        (header("X-A", Present), get().field("x-a", ""), true),
        (header("x-a", Exact("v".into())), get().field("X-A", "v"), true),
        (header("x-a", Exact("v".into())), get().field("X-A", "V"), false),
        (header("x-a", Exact("v".into())), get().field("X-A", "v").field("X-A", "w"), false),
        (header("x-a", Exact("v, w".into())), get().field("X-A", "v").field("X-A", "w"), true),
        (header("x-a", Prefix("ab".into())), get().field("X-A", "abc"), true),
        (header("x-a", Regex("^[0-9]+$".into())), get().field("X-A", "12"), true),
        (header("x-a", Regex("^[0-9]+$".into())), get().field("X-A", "1x"), false),
        (query("a", Exact("1".into())), get(), true),
        (query("a", Exact("2".into())), get(), false),
        (query("b", Exact("x y".into())), get(), true),
        (query("c", Exact(String::new())), get(), true),
        (query("d", Present), get(), false),
        (query("d", Present), Request::new("GET", "h", "/p"), false),
        (cookie("theme", Exact("dark".into())), cookies(), true),
        (cookie("late", Exact("x=y".into())), cookies(), true),
        (cookie("THEME", Present), cookies(), false),
        (client(&["10.0.0.0/8"]), get().client("10.9.9.9"), true),
        (client(&["10.0.0.0/8"]), get().client("::ffff:10.9.9.9"), true),
        (client(&["::ffff:10.0.0.0/104"]), get().client("10.9.9.9"), true),
        (client(&["10.0.0.0/8", "2001:db8::/32"]), get().client("2001:db8::7"), true),
        (client(&["10.0.0.0/8"]), get().client("11.0.0.1"), false),
        (client(&["0.0.0.0/0"]), get().client("2001:db8::7"), false),
        (MatchConfig { tls: Some(true), ..none() }, get(), false),
        (MatchConfig { tls: Some(true), ..none() }, Request { tls: true, ..get() }, true),
        (not(header("x-a", Present)), get(), true),
        (not(header("x-a", Present)), get().field("x-a", "1"), false),
        (not(MatchConfig { path_prefix: Some("/p".into()), ..none() }), get(), false),
        (not(MatchConfig { host: strings(&["*.x", "h"]), ..none() }), get(), false),
        (MatchConfig { any: vec![header("x-a", Present), query("a", Present)].into(), ..none() }, get(), true),
        (MatchConfig { any: vec![header("x-a", Present), query("z", Present)].into(), ..none() }, get(), false),
        (MatchConfig { tls: Some(false), ..header("x-a", Present) }, get().field("x-a", "1"), true),
        (MatchConfig { tls: Some(true), ..header("x-a", Present) }, get().field("x-a", "1"), false),
    ] {
        let routes = [Route { id: "r".into(), priority: 0, matches }];
        let (router, _) = compile(&routes).unwrap();
        let found = find(&router, &routes, &request);
        assert_eq!(found, if expected { "r" } else { "-" }, "{:?} {request:?}", routes[0].matches);
    }
}

#[test]
fn c4_mistakes_name_key_and_index() {
    let none = MatchConfig::default;
    let header = |name: &str, op| MatchConfig { header: vec![field(name, op)].into(), ..none() };
    let nested = MatchConfig { any: vec![none(), header("x", FieldOp::Regex("(".into()))].into(), ..none() };
    for (matches, key, index, message) in [
        (MatchConfig { method: strings(&["GET", "post"]), ..none() }, "method", 1, "case-sensitive"),
        (MatchConfig { host: strings(&["a", "b:1"]), ..none() }, "host", 1, "port"),
        (MatchConfig { path: Some("a".into()), ..none() }, "path", 0, "begin with"),
        (MatchConfig { path_regex: Some("(".into()), ..none() }, "path_regex", 0, "unclosed"),
        (MatchConfig { path: Some("/a".into()), path_prefix: Some("/b".into()), ..none() }, "path_prefix", 0, "`path`"),
        (MatchConfig { client: strings(&["10.0.0.1/8"]), ..none() }, "client", 0, "prefix length"),
        (MatchConfig { client: strings(&["10.0.0.0/8", "x"]), ..none() }, "client", 1, "no address"),
        (header("a b", FieldOp::Present), "header", 0, "name"),
        (header("a", FieldOp::Regex("[".into())), "header", 0, "unclosed"),
        (nested.clone(), "any", 0, "empty match"),
        (MatchConfig { not: Some(Box::new(none())), ..none() }, "not", 0, "empty match"),
    ] {
        let errors = compile(&[Route { id: "r".into(), priority: 0, matches }]).err().unwrap();
        assert_eq!((errors[0].key, errors[0].index), (key, index), "{errors:?}");
        assert!(errors[0].message.contains(message), "{}", errors[0].message);
    }
    let errors = compile(&[Route { id: "r".into(), priority: 0, matches: nested }]).err().unwrap();
    assert!(errors.len() == 2 && errors[1].message.starts_with("header[0]: "), "{errors:?}");
}

#[test]
fn c4_all_mistakes_are_told_at_once() {
    let mut many = routes(&["a: a..b /", "b: - x", "c: h:1 /"]);
    many[1].matches.path_prefix = Some("x".into());
    let errors = compile(&many).unwrap_err();
    assert_eq!(errors.iter().map(|e| e.route).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn c5_method_not_allowed() {
    let mut routes = routes(&["get: a.x /api", "put: *.x /api", "purge: a.x =/api/x", "page: b.x /"]);
    routes[0].matches.method = strings(&["GET"]);
    routes[1].matches.method = strings(&["PUT", "DELETE"]);
    routes[2].matches.method = strings(&["PURGE"]);
    routes[2].matches.header = vec![field("x-key", FieldOp::Present)].into();
    let (router, _) = compile(&routes).unwrap();
    let ask = |method: &str, host: &str, path: &str| find(&router, &routes, &Request::new(method, host, path));
    assert_eq!(ask("HEAD", "a.x", "/api"), "get");
    assert_eq!(ask("PUT", "a.x", "/api"), "put", "a less specific route takes what the better one refuses");
    assert_eq!(ask("POST", "a.x", "/api"), "405 DELETE, GET, HEAD, PUT");
    assert_eq!(ask("POST", "c.x", "/api"), "405 DELETE, PUT");
    assert_eq!(ask("get", "a.x", "/api"), "405 DELETE, GET, HEAD, PUT", "methods are case-sensitive");
    assert_eq!(ask("POST", "a.x", "/api/x"), "405 DELETE, GET, HEAD, PUT", "the key is missing, too");
    assert_eq!(ask("POST", "a.x", "/other"), "-");
    assert_eq!(ask("POST", "b.x", "/"), "page");
    let keyed = Request::new("POST", "a.x", "/api/x").field("X-Key", "1");
    assert_eq!(find(&router, &routes, &keyed), "405 DELETE, GET, HEAD, PURGE, PUT");
}
