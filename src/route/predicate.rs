//! What a route may ask of a request beyond host and path: method, header, query, cookie, client, TLS, `any`, `not`.
use super::{
    FieldMatch, FieldOp, MatchConfig, Problem, Query,
    compile::path_of,
    host::{HostPattern, HostTest},
    path::PathTest,
};
use crate::message::{compile_regex, cookie::cookies};
use edge_io::head::{Head, Method};
use ipnet::{IpNet, Ipv4Net};
use regex::bytes::Regex;
use std::{borrow::Cow, fmt::Write as _, net::IpAddr};

/// A set of methods: bit `n` is the method [`Methods`] knows by that number.
pub type MethodSet = u64;

const KNOWN: [(Method, &str); 9] = [
    (Method::Get, "GET"),
    (Method::Head, "HEAD"),
    (Method::Post, "POST"),
    (Method::Put, "PUT"),
    (Method::Delete, "DELETE"),
    (Method::Options, "OPTIONS"),
    (Method::Patch, "PATCH"),
    (Method::Trace, "TRACE"),
    (Method::Connect, "CONNECT"),
];
const GET: MethodSet = 1;
const HEAD: MethodSet = 1 << 1;

/// Numbers the methods that routes name: nine of the standards, and up to 55 others.
#[derive(Debug, Default)]
pub struct Methods {
    others: Vec<Box<str>>,
}

impl Methods {
    /// The set a `method` list means; GET implies HEAD. 0 for an empty list: every method.
    pub fn set(&mut self, names: &[String]) -> Result<MethodSet, (usize, Problem)> {
        let mut set = 0;
        for (i, name) in names.iter().enumerate() {
            set |= self.bit(name).map_err(|p| (i, p))?;
        }
        Ok(if set & GET != 0 { set | HEAD } else { set })
    }

    fn bit(&mut self, name: &str) -> Result<MethodSet, Problem> {
        if let Some(n) = KNOWN.iter().position(|(_, known)| *known == name) {
            return Ok(1 << n);
        }
        let upper = name.to_ascii_uppercase();
        if KNOWN.iter().any(|(_, known)| *known == upper) {
            return Err(Problem::new(format!("{name:?}: methods are case-sensitive"), format!("write {upper:?}")));
        }
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return Err(Problem::new(format!("{name:?} is no method"), "a method is a word like \"GET\""));
        }
        let n = match self.others.iter().position(|other| **other == *name) {
            Some(n) => n,
            None => {
                self.others.push(name.into());
                self.others.len() - 1
            }
        };
        match KNOWN.len() + n < 64 {
            true => Ok(1 << (KNOWN.len() + n)),
            false => Err(Problem::new("more than 55 methods beyond the standard ones are named", "")),
        }
    }

    /// The request's method as a set of one; empty for a method no route names.
    pub fn of(&self, head: &Head) -> MethodSet {
        let method = head.method();
        if method != Method::Other {
            return 1 << (method as u8);
        }
        let bytes = head.method_bytes();
        match self.others.iter().position(|other| other.as_bytes() == bytes) {
            Some(n) => 1 << (KNOWN.len() + n),
            None => 0,
        }
    }

    /// The value of `Allow` (RFC 9110 section 10.2.1) for a set, sorted.
    pub fn allow(&self, set: MethodSet) -> String {
        let known = KNOWN.iter().map(|(_, name)| *name);
        let mut names: Vec<&str> = known
            .chain(self.others.iter().map(|name| &**name))
            .enumerate()
            .filter(|(n, _)| set & (1 << n) != 0)
            .map(|(_, name)| name)
            .collect();
        names.sort_unstable();
        names.join(", ")
    }
}

/// RFC 9110 section 5.6.2.
pub fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// Everything a route asks beyond its own host and path; shared by the routes that ask the same.
#[derive(Debug, Default)]
pub struct Predicates {
    /// 0 is every method.
    pub methods: MethodSet,
    checks: Box<[Check]>,
}

/// What the checks look at.
pub struct Subject<'a> {
    /// The request.
    pub query: &'a Query<'a>,
    /// Its host, folded; empty when it is too long for any name.
    pub host: &'a [u8],
    /// Its method as a set of one.
    pub method: MethodSet,
}

impl Predicates {
    /// Compiles a route's match without its own host and path.
    pub fn compile(
        config: &MatchConfig,
        methods: &mut Methods,
    ) -> Result<Predicates, Vec<(&'static str, usize, Problem)>> {
        let mut compiler = Compiler { methods, problems: Vec::new() };
        let methods = compiler.method_set(config);
        let mut checks = Vec::new();
        compiler.checks(config, &mut checks);
        match compiler.problems.is_empty() {
            true => Ok(Predicates { methods, checks: checks.into() }),
            false => Err(compiler.problems),
        }
    }

    /// Whether the route allows the request's method.
    pub fn allows_method(&self, subject: &Subject<'_>) -> bool {
        self.methods == 0 || self.methods & subject.method != 0
    }

    /// Whether all but the method holds.
    pub fn hold(&self, subject: &Subject<'_>) -> bool {
        self.checks.iter().all(|check| check.holds(subject))
    }
}

/// How many predicates a route has: what decides between routes with the same host and path (C3). A list of methods or
/// of clients, `tls`, `any` and `not` count as one each, and so does each header, query and cookie condition.
pub fn count(config: &MatchConfig) -> u16 {
    let ones = [
        !config.method.is_empty(),
        !config.client.is_empty(),
        config.tls.is_some(),
        !config.any.is_empty(),
        config.not.is_some(),
    ];
    let ones = ones.into_iter().filter(|set| *set).count();
    (ones + config.header.len() + config.query.len() + config.cookie.len()).min(usize::from(u16::MAX)) as u16
}

#[derive(Debug)]
enum Check {
    Tls(bool),
    Method(MethodSet),
    Client(Box<[IpNet]>),
    Host(Box<[HostTest]>),
    Path(PathTest),
    Header(Box<[u8]>, Value),
    Query(Box<[u8]>, Value),
    Cookie(Box<[u8]>, Value),
    Not(Box<[Check]>),
    Any(Box<[Box<[Check]>]>),
}

impl Check {
    fn holds(&self, subject: &Subject<'_>) -> bool {
        let query = subject.query;
        match self {
            Check::Tls(tls) => query.tls == *tls,
            Check::Method(set) => set & subject.method != 0,
            Check::Client(nets) => {
                let client = query.client.to_canonical();
                nets.iter().any(|net| net.contains(&client))
            }
            Check::Host(tests) => tests.iter().any(|test| test.matches(subject.host)),
            Check::Path(test) => test.matches(query.path),
            Check::Header(name, value) => header(query.head, name).is_some_and(|v| value.holds(&v)),
            Check::Query(name, value) => {
                query_value(query.head.query().unwrap_or_default(), name).is_some_and(|v| value.holds(&v))
            }
            Check::Cookie(name, value) => cookies(query.head, name).next().is_some_and(|v| value.holds(v)),
            Check::Not(checks) => !checks.iter().all(|check| check.holds(subject)),
            Check::Any(sets) => sets.iter().any(|set| set.iter().all(|check| check.holds(subject))),
        }
    }
}

#[derive(Debug)]
enum Value {
    Present,
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Regex(Regex),
}

impl Value {
    fn holds(&self, value: &[u8]) -> bool {
        match self {
            Value::Present => true,
            Value::Exact(text) => value == &**text,
            Value::Prefix(text) => value.starts_with(text),
            Value::Regex(regex) => regex.is_match(value),
        }
    }
}

/// A field's value; several lines of one name count as one, joined with ", " (RFC 9110 section 5.3).
fn header<'a>(head: &'a Head, name: &[u8]) -> Option<Cow<'a, [u8]>> {
    let mut lines = head.fields().filter(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value);
    let mut value = Cow::Borrowed(lines.next()?);
    for line in lines {
        value.to_mut().extend_from_slice(b", ");
        value.to_mut().extend_from_slice(line);
    }
    Some(value)
}

/// The first parameter of that name, percent-decoded, `+` as space.
fn query_value<'a>(query: &'a [u8], name: &[u8]) -> Option<Cow<'a, [u8]>> {
    query.split(|b| *b == b'&').find_map(|pair| {
        let at = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        let value = pair.get(at + 1..).unwrap_or_default();
        (*form_decoded(&pair[..at]) == *name).then(|| form_decoded(value))
    })
}

fn form_decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let (byte, next) = match (first, after) {
            (b'+', _) => (b' ', after),
            (b'%', [high, low, next @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, next),
                _ => (b'%', after),
            },
            (byte, _) => (*byte, after),
        };
        out.push(byte);
        rest = next;
    }
    Cow::Owned(out)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|d| d as u8)
}

/// Reads `client`: an address or a network without host bits; IPv4-mapped ones become IPv4.
pub fn client_net(text: &str) -> Result<IpNet, Problem> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(ip.to_canonical()));
    }
    let Ok(net) = text.parse::<IpNet>() else {
        return Err(Problem::new(
            format!("{text:?} is no address or network"),
            "write an address or CIDR: \"10.0.0.0/8\", \"2001:db8::/32\"",
        ));
    };
    if net.trunc() != net {
        let message = format!("{text:?} has bits set behind its prefix length");
        return Err(Problem::new(message, format!("write \"{}\" or \"{}\"", net.trunc(), net.addr())));
    }
    Ok(canonical(net))
}

fn canonical(net: IpNet) -> IpNet {
    match (net.addr().to_canonical(), net.prefix_len()) {
        (IpAddr::V4(v4), len) if matches!(net, IpNet::V6(_)) && len >= 96 => {
            Ipv4Net::new(v4, len - 96).map_or(net, IpNet::V4)
        }
        _ => net,
    }
}

struct Compiler<'m> {
    methods: &'m mut Methods,
    problems: Vec<(&'static str, usize, Problem)>,
}

impl Compiler<'_> {
    fn problem(&mut self, key: &'static str, index: usize, problem: Problem) {
        self.problems.push((key, index, problem));
    }

    fn method_set(&mut self, config: &MatchConfig) -> MethodSet {
        match self.methods.set(&config.method) {
            Ok(set) => set,
            Err((index, problem)) => {
                self.problem("method", index, problem);
                0
            }
        }
    }

    /// All but host, path and method, the cheap ones first.
    fn checks(&mut self, config: &MatchConfig, out: &mut Vec<Check>) {
        out.extend(config.tls.map(Check::Tls));
        self.client(config, out);
        self.fields("cookie", &config.cookie, Check::Cookie, out);
        self.fields("header", &config.header, Check::Header, out);
        self.fields("query", &config.query, Check::Query, out);
        if let Some(not) = &config.not {
            let inner = self.nested("not", 0, not);
            out.push(Check::Not(inner));
        }
        if !config.any.is_empty() {
            let sets = config.any.iter().enumerate().map(|(i, set)| self.nested("any", i, set)).collect();
            out.push(Check::Any(sets));
        }
    }

    fn client(&mut self, config: &MatchConfig, out: &mut Vec<Check>) {
        let mut nets = Vec::new();
        for (i, text) in config.client.iter().enumerate() {
            match client_net(text) {
                Ok(net) => nets.push(net),
                Err(problem) => self.problem("client", i, problem),
            }
        }
        if !config.client.is_empty() {
            out.push(Check::Client(nets.into()));
        }
    }

    fn fields(
        &mut self,
        key: &'static str,
        matches: &[FieldMatch],
        check: impl Fn(Box<[u8]>, Value) -> Check,
        out: &mut Vec<Check>,
    ) {
        for (i, field) in matches.iter().enumerate() {
            let token = field.name.bytes().all(is_token_byte);
            if field.name.is_empty() || (key != "query" && !token) {
                let problem = Problem::new(format!("{:?} cannot be the name of a {key}", field.name), "");
                self.problem(key, i, problem);
                continue;
            }
            match value(&field.op) {
                Ok(value) => out.push(check(field.name.as_bytes().into(), value)),
                Err(problem) => self.problem(key, i, problem),
            }
        }
    }

    /// A match inside `any` or `not`: host, path and method are checks like the others there.
    fn nested(&mut self, key: &'static str, index: usize, config: &MatchConfig) -> Box<[Check]> {
        let mut inner = Compiler { methods: &mut *self.methods, problems: Vec::new() };
        let mut out = Vec::new();
        match inner.method_set(config) {
            0 => {}
            set => out.push(Check::Method(set)),
        }
        inner.host_and_path(config, &mut out);
        inner.checks(config, &mut out);
        if inner.problems.is_empty() && out.is_empty() {
            let problem = Problem::new("an empty match holds for every request", "name a condition, or leave it out");
            self.problem(key, index, problem);
            return Box::default();
        }
        for (inner_key, i, mut problem) in inner.problems {
            let mut place = String::from(inner_key);
            if !matches!(inner_key, "not" | "path" | "path_prefix" | "path_glob" | "path_regex") {
                // Writing to a String does not fail.
                let _ = write!(place, "[{i}]");
            }
            problem.message = format!("{place}: {}", problem.message);
            self.problem(key, index, problem);
        }
        out.into()
    }

    fn host_and_path(&mut self, config: &MatchConfig, out: &mut Vec<Check>) {
        let mut hosts = Vec::new();
        for (i, text) in config.host.iter().enumerate() {
            match HostPattern::parse(text).and_then(|pattern| pattern.test()) {
                Ok(test) => hosts.push(test),
                Err(problem) => self.problem("host", i, problem),
            }
        }
        if !config.host.is_empty() {
            out.push(Check::Host(hosts.into()));
        }
        match path_of(config).and_then(|path| path.test().map_err(|p| (path.key(), p))) {
            Ok(PathTest::Any) => {}
            Ok(test) => out.push(Check::Path(test)),
            Err((key, problem)) => self.problem(key, 0, problem),
        }
    }
}

fn value(op: &FieldOp) -> Result<Value, Problem> {
    Ok(match op {
        FieldOp::Present => Value::Present,
        FieldOp::Exact(text) => Value::Exact(text.as_bytes().into()),
        FieldOp::Prefix(text) => Value::Prefix(text.as_bytes().into()),
        FieldOp::Regex(text) => Value::Regex(compile_regex(text)?),
    })
}
