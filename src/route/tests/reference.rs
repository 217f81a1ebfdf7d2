//! The order of decision written down once more, without tables: every route is asked, the best is taken.
use super::{FieldOp, MatchConfig, Request, Route};
use regex::bytes::RegexBuilder;
use std::{cmp::Reverse, net::IpAddr};

fn regex(pattern: &str, text: &[u8]) -> bool {
    RegexBuilder::new(pattern).unicode(false).build().unwrap().is_match(text)
}

fn host_of(request: &Request) -> String {
    let host = match request.authority.rsplit_once(':') {
        Some((host, _)) if !request.authority.ends_with(']') => host,
        _ => &request.authority,
    };
    host.strip_suffix('.').unwrap_or(host).to_lowercase()
}

fn path_of(request: &Request) -> &str {
    request.target.split('?').next().unwrap()
}

fn host_matches(pattern: &str, host: &str) -> bool {
    if pattern == "*" {
        true
    } else if let Some(pattern) = pattern.strip_prefix('~') {
        regex(pattern, host.as_bytes())
    } else if let Some(suffix) = pattern.strip_prefix('*') {
        host.len() > suffix.len() && host.ends_with(suffix)
    } else {
        host == pattern
    }
}

/// `alone`: whether the text before begins a segment.
fn glob_matches(glob: &[u8], text: &[u8], alone: bool) -> bool {
    match glob {
        [] => text.is_empty(),
        [b'*', b'*', rest @ ..] => (0..=text.len()).any(|n| glob_matches(rest, &text[n..], false)),
        [b'*', rest @ ..] => {
            let least = usize::from(alone && matches!(rest, [] | [b'/', ..]));
            let most = text.iter().position(|b| *b == b'/').unwrap_or(text.len());
            (least..=most).any(|n| glob_matches(rest, &text[n..], false))
        }
        [byte, rest @ ..] => text.first() == Some(byte) && glob_matches(rest, &text[1..], *byte == b'/'),
    }
}

fn path_matches(config: &MatchConfig, path: &str) -> bool {
    let exact = config.path.as_deref().is_none_or(|p| p == path);
    let prefix = config
        .path_prefix
        .as_deref()
        .is_none_or(|p| path == p || path.starts_with(&format!("{p}/")) || (p.ends_with('/') && path.starts_with(p)));
    let glob = config.path_glob.as_ref().is_none_or(|p| glob_matches(p.as_bytes(), path.as_bytes(), false));
    exact && prefix && glob && config.path_regex.as_ref().is_none_or(|p| regex(p, path.as_bytes()))
}

fn op_holds(op: &FieldOp, value: Option<String>) -> bool {
    let Some(value) = value else { return false };
    match op {
        FieldOp::Present => true,
        FieldOp::Exact(text) => value == *text,
        FieldOp::Prefix(text) => value.starts_with(text.as_str()),
        FieldOp::Regex(text) => regex(text, value.as_bytes()),
    }
}

fn header(request: &Request, name: &str) -> Option<String> {
    let lines = request.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
    let lines: Vec<&str> = lines.map(|(_, value)| value.as_str()).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

fn query(request: &Request, name: &str) -> Option<String> {
    let (_, query) = request.target.split_once('?')?;
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find(|(n, _)| *n == name).map(|(_, value)| value.replace('+', " ").replace("%61", "a"))
}

fn cookie(request: &Request, name: &str) -> Option<String> {
    let lines = request.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case("cookie"));
    let mut pairs = lines.flat_map(|(_, value)| value.split("; ")).filter_map(|pair| pair.split_once('='));
    pairs.find(|(n, _)| *n == name).map(|(_, value)| value.to_string())
}

/// IPv4 and its IPv4-mapped form are one address, whichever the request and the network use.
fn client_matches(net: &str, client: IpAddr) -> bool {
    let net: ipnet::IpNet = net.parse().or_else(|_| net.parse::<IpAddr>().map(ipnet::IpNet::from)).unwrap();
    let mapped = match client.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V6(v4.to_ipv6_mapped()),
        v6 => v6,
    };
    net.contains(&client.to_canonical()) || net.contains(&mapped)
}

fn method_matches(methods: &[String], method: &str) -> bool {
    methods.iter().any(|m| m == method || (m == "GET" && method == "HEAD"))
}

fn predicates_hold(config: &MatchConfig, request: &Request) -> bool {
    config.header.iter().all(|f| op_holds(&f.op, header(request, &f.name)))
        && config.query.iter().all(|f| op_holds(&f.op, query(request, &f.name)))
        && config.cookie.iter().all(|f| op_holds(&f.op, cookie(request, &f.name)))
        && (config.client.is_empty() || config.client.iter().any(|net| client_matches(net, request.client)))
        && config.tls.is_none_or(|tls| tls == request.tls)
        && (config.any.is_empty() || config.any.iter().any(|any| all_holds(any, request)))
        && config.not.as_ref().is_none_or(|not| !all_holds(not, request))
}

fn all_holds(config: &MatchConfig, request: &Request) -> bool {
    let host = host_of(request);
    (config.host.is_empty() || config.host.iter().any(|pattern| host_matches(pattern, &host)))
        && path_matches(config, path_of(request))
        && (config.method.is_empty() || method_matches(&config.method, &request.method))
        && predicates_hold(config, request)
}

fn predicate_count(c: &MatchConfig) -> usize {
    let lists = c.header.len() + c.query.len() + c.cookie.len();
    let ones = [!c.method.is_empty(), !c.client.is_empty(), c.tls.is_some(), !c.any.is_empty(), c.not.is_some()];
    lists + ones.into_iter().filter(|one| *one).count()
}

/// Where a pattern first stands in the file.
fn first(routes: &[Route], is_it: impl Fn(&MatchConfig) -> bool) -> usize {
    routes.iter().position(|route| is_it(&route.matches)).unwrap()
}

type Key = (Reverse<i32>, (u8, Reverse<usize>, (usize, usize)), (u8, Reverse<usize>, usize), Reverse<usize>);

fn key(routes: &[Route], route: &Route, host: &str) -> Key {
    let place = |list: &MatchConfig| list.host.iter().position(|h| h == host);
    let host = if host == "*" {
        (3, Reverse(0), (0, 0))
    } else if host.starts_with('~') {
        let at = first(routes, |m| m.host.iter().any(|h| h == host));
        (2, Reverse(0), (at, place(&routes[at].matches).unwrap()))
    } else if host.starts_with('*') {
        (1, Reverse(host.len()), (0, 0))
    } else {
        (0, Reverse(0), (0, 0))
    };
    let m = &route.matches;
    let path = match (&m.path, &m.path_prefix) {
        (Some(_), _) => (0, Reverse(0), 0),
        (_, Some(prefix)) => (1, Reverse(prefix.len()), 0),
        _ if m.path_glob.is_some() => (2, Reverse(0), first(routes, |other| other.path_glob == m.path_glob)),
        _ if m.path_regex.is_some() => (2, Reverse(0), first(routes, |other| other.path_regex == m.path_regex)),
        _ => (3, Reverse(0), 0),
    };
    (Reverse(route.priority), host, path, Reverse(predicate_count(m)))
}

/// The same answer as [`super::find`]; panics when two routes stand equal, which compiling must have refused.
pub fn find(routes: &[Route], request: &Request) -> String {
    let any = vec!["*".to_string()];
    let host = host_of(request);
    let mut taken: Vec<(Key, &Route)> = Vec::new();
    let mut allow: Vec<&str> = Vec::new();
    for route in routes {
        let m = &route.matches;
        let hosts = if m.host.is_empty() { &any } else { &m.host };
        for pattern in hosts.iter().filter(|pattern| host_matches(pattern, &host)) {
            if path_matches(m, path_of(request)) && predicates_hold(m, request) {
                if m.method.is_empty() || method_matches(&m.method, &request.method) {
                    taken.push((key(routes, route, pattern), route));
                } else {
                    allow.extend(m.method.iter().map(String::as_str));
                    allow.extend(m.method.iter().any(|method| method == "GET").then_some("HEAD"));
                }
            }
        }
    }
    taken.sort_by_key(|(key, _)| *key);
    allow.sort_unstable();
    allow.dedup();
    match taken.as_slice() {
        [(a, first), (b, second), ..] if a == b && first.id != second.id => {
            panic!("{} and {} stand equal", first.id, second.id)
        }
        [(_, route), ..] => route.id.clone(),
        [] if allow.is_empty() => "-".into(),
        [] => format!("405 {}", allow.join(", ")),
    }
}
