//! Random routes and requests: the router and the naive matcher decide alike.
use super::{FieldMatch, FieldOp, MatchConfig, Request, Route, compile, field, find, reference};
use proptest::{collection::vec, option, prelude::*, sample::select};

const HOSTS: [&str; 12] =
    ["*.z.x", "x", "a.x", "b.x", "b.a.x", "*.x", "*.a.x", "*", "~^b", "~a\\.x$", "127.0.0.1", "[::1]"];
const REQUEST_HOSTS: [&str; 13] =
    ["a.z.x", "x", "A.x", "b.x:80", "b.a.x.", "c.b.a.X", "c", "", "bx", ".x", "127.0.0.1:8080", "[::1]:80", "x.."];
const PATHS: [&str; 14] = [
    "/segment/a",
    "/segment/b",
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/a/b/",
    "/a/b/c",
    "/ab",
    "/b",
    "/b/",
    "//",
    "/a//",
    "/a/b%2Fc",
];
const GLOBS: [&str; 6] = ["/*", "/a/*", "/a/*/c", "/a/**", "/**/c", "/*b"];
const REGEXES: [&str; 4] = ["^/a", "b$", "^/[ab]/", "c"];
const REQUEST_PATHS: [&str; 23] = [
    "/segment/a",
    "/segment/b/c",
    "/segment/c",
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/a/b/",
    "/a/b/c",
    "/ab",
    "/abc",
    "/b",
    "/b/",
    "/b/c",
    "//",
    "//a",
    "/a//",
    "/a//b",
    "/c",
    "/a/b%2Fc",
    "/a/c",
    "/A",
    "/a/b/c/d/e",
];

fn text<T: From<&'static str> + std::fmt::Debug>(pool: &'static [&'static str]) -> impl Strategy<Value = T> {
    select(pool).prop_map(T::from)
}

fn op() -> impl Strategy<Value = FieldOp> {
    prop_oneof![
        Just(FieldOp::Present),
        text(&["a", "ab", "b", "a, b"]).prop_map(FieldOp::Exact),
        text(&["a", "b", ""]).prop_map(FieldOp::Prefix),
        text(&["b$", "^a"]).prop_map(FieldOp::Regex),
    ]
}

fn fields(names: &'static [&'static str]) -> impl Strategy<Value = Vec<FieldMatch>> {
    prop_oneof![4 => Just(Vec::new()), 1 => vec((select(names), op()).prop_map(|(n, op)| field(n, op)), 1..3)]
}

/// Conditions beyond host and path, without `any` and `not`.
fn flat() -> impl Strategy<Value = MatchConfig> {
    let method = prop_oneof![3 => Just(vec![]), 2 => vec(text(&["GET", "POST", "PUT", "HEAD", "PURGE"]), 1..3)];
    let nets = text(&["10.0.0.0/8", "10.1.0.0/16", "192.0.2.1", "2001:db8::/32", "::ffff:10.2.0.0/112"]);
    let client = prop_oneof![5 => Just(vec![]), 1 => vec(nets, 1..3)];
    let tls = prop_oneof![5 => Just(None), 1 => any::<bool>().prop_map(Some)];
    let names = (fields(&["x-a", "X-B"]), fields(&["q", "r"]), fields(&["c", "d"]));
    (method, client, tls, names).prop_map(|(method, client, tls, (header, query, cookie))| MatchConfig {
        method: method.into(),
        client: client.into(),
        tls,
        header: header.into(),
        query: query.into(),
        cookie: cookie.into(),
        ..MatchConfig::default()
    })
}

fn with_place(many_hosts: bool) -> impl Strategy<Value = MatchConfig> {
    let hosts = vec(text(&HOSTS), 0..if many_hosts { 3 } else { 1 });
    let path = prop_oneof![
        3 => text(&PATHS).prop_map(|p| (Some(p), None, None, None)),
        5 => text(&PATHS).prop_map(|p| (None, Some(p), None, None)),
        1 => text(&GLOBS).prop_map(|p| (None, None, Some(p), None)),
        1 => text(&REGEXES).prop_map(|p| (None, None, None, Some(p))),
        1 => Just((None, None, None, None)),
    ];
    (hosts, path, flat()).prop_map(|(host, (path, path_prefix, path_glob, path_regex), flat)| MatchConfig {
        host,
        path,
        path_prefix,
        path_glob,
        path_regex,
        ..flat
    })
}

fn matches(many_hosts: bool) -> impl Strategy<Value = MatchConfig> {
    let nested = || prop_oneof![with_place(true), flat()].prop_filter("empty", |m| *m != MatchConfig::default());
    let any = prop_oneof![6 => Just(vec![]), 1 => vec(nested(), 1..3)];
    let not = prop_oneof![6 => Just(None), 1 => nested().prop_map(|m| Some(Box::new(m)))];
    (with_place(many_hosts), any, not).prop_map(|(place, any, not)| MatchConfig { any: any.into(), not, ..place })
}

fn routes(many_hosts: bool, most: usize) -> impl Strategy<Value = Vec<Route>> {
    let priority = prop_oneof![8 => Just(0), 1 => -1..3];
    let mixed = any::<bool>();
    (vec((priority, matches(many_hosts)), 1..most), mixed).prop_map(|(routes, mixed)| {
        let route = |(n, (priority, matches))| Route {
            id: format!("r{n}"),
            priority: if mixed { priority } else { 0 },
            matches,
        };
        routes.into_iter().enumerate().map(route).collect()
    })
}

fn request() -> impl Strategy<Value = Request> {
    let query = option::of(select(vec!["", "q=a", "q=ab&r=b", "r=%61&q", "q=b&q=a", "q=a+b"]));
    let fields = vec(
        select(vec![("x-a", "a"), ("X-A", "b"), ("x-b", "ab"), ("cookie", "c=a; d=b"), ("Cookie", "d=ab"), ("y", "")]),
        0..4,
    );
    let client = select(vec!["10.1.2.3", "10.2.3.4", "192.0.2.1", "::ffff:10.2.0.9", "2001:db8::1", "::1"]);
    let method = select(vec!["GET", "HEAD", "POST", "PUT", "PURGE", "OTHER"]);
    let place = (select(&REQUEST_HOSTS[..]), select(&REQUEST_PATHS[..]), query);
    (method, place, fields, client, any::<bool>()).prop_map(|(method, (host, path, query), fields, client, tls)| {
        let target = query.map_or(path.to_string(), |query| format!("{path}?{query}"));
        let request = fields.iter().fold(Request::new(method, host, &target), |r, (name, value)| r.field(name, value));
        Request { tls, ..request.client(client) }
    })
}

/// Takes out what compiling refuses until it refuses nothing.
fn usable(mut routes: Vec<Route>) -> Vec<Route> {
    while let Err(errors) = compile(&routes) {
        let mut refused: Vec<usize> = errors.iter().map(|e| e.route).collect();
        refused.sort_unstable();
        refused.dedup();
        for n in refused.into_iter().rev() {
            routes.remove(n);
        }
    }
    routes
}

fn decides_like_the_reference(routes: Vec<Route>, requests: &[Request]) -> Result<(), TestCaseError> {
    let routes = usable(routes);
    let (router, warnings) = compile(&routes).unwrap();
    for request in requests {
        let found = find(&router, &routes, request);
        prop_assert_eq!(&found, &reference::find(&routes, request), "{:?}\n{:#?}", request, routes);
        for warning in &warnings {
            prop_assert_ne!(&found, &routes[warning.route].id, "warned as unreachable: {:?}", request);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn many_hosts(routes in routes(true, 14), requests in vec(request(), 40)) {
        decides_like_the_reference(routes, &requests)?;
    }

    /// All routes on one table, so that it is large enough for an index.
    #[test]
    fn one_host(routes in routes(false, 40), requests in vec(request(), 40)) {
        decides_like_the_reference(routes, &requests)?;
    }

    #[test]
    fn file_order_does_not_matter(
        routes in routes(true, 14),
        order in vec(any::<u32>(), 14),
        requests in vec(request(), 40),
    ) {
        let ordered = |m: &MatchConfig| {
            m.path_glob.is_some() || m.path_regex.is_some() || m.host.iter().any(|host| host.starts_with('~'))
        };
        let mut routes = routes;
        routes.retain(|route| !ordered(&route.matches));
        let routes = usable(routes);
        let mut shuffled: Vec<(u32, Route)> = order.into_iter().zip(routes.iter().cloned()).collect();
        shuffled.sort_by_key(|(n, _)| *n);
        let shuffled: Vec<Route> = shuffled.into_iter().map(|(_, route)| route).collect();
        let (router, _) = compile(&routes).unwrap();
        let (other, _) = compile(&shuffled).unwrap();
        for request in &requests {
            prop_assert_eq!(find(&router, &routes, request), find(&other, &shuffled, request), "{:?}", request);
        }
    }
}
