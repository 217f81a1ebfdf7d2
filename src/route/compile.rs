//! From `match` sections to a router: read every pattern, sort, refuse what is ambiguous, name what is unreachable.
use super::{
    MatchConfig, MatchError, Problem, RouteConfig, Router, Warning,
    compare::{disjoint, implies},
    host::HostPattern,
    path::PathPattern,
    predicate::{self, Methods, Predicates},
    table::{Builder, GroupSpec, HostSpec, Kind, Record, Tables},
};
use std::{
    cmp::{Ordering, Reverse},
    collections::{HashMap, HashSet},
    ops::ControlFlow,
};

/// See [`Router::compile`].
pub fn compile(routes: &[RouteConfig<'_>]) -> Result<(Router, Vec<Warning>), Vec<MatchError>> {
    let mut reader = Reader::default();
    let mut variants = Vec::with_capacity(routes.len());
    for (route, config) in routes.iter().enumerate() {
        reader.read(route, config, &mut variants);
    }
    if !reader.errors.is_empty() {
        return Err(reader.errors);
    }
    variants.sort_unstable_by(Variant::in_table_order);
    let errors = ambiguities(routes, &variants);
    if !errors.is_empty() {
        return Err(errors);
    }
    let tables = build(&variants).map_err(|e| vec![e])?;
    let ranks = ranks(&variants);
    let warnings = Shadows { routes, variants: &variants, tables: &tables, ranks: &ranks }.warnings();
    let mixed = routes.iter().any(|route| route.priority != routes[0].priority);
    let router = Router {
        tables,
        predicates: reader.predicates.into(),
        ranks: if mixed { ranks.into() } else { Box::default() },
        methods: reader.methods,
        allow: Default::default(),
    };
    Ok((router, warnings))
}

/// One host and the path of one route.
struct Variant<'a> {
    host: HostPattern<'a>,
    path: PathPattern<'a>,
    priority: i32,
    /// Among regex hosts: where the pattern first stands in the file; 0 otherwise.
    host_order: u32,
    /// The same among globs and regexes.
    path_order: u32,
    predicate_count: u16,
    predicates: u32,
    route: u32,
}

impl Variant<'_> {
    /// Most specific host first: class, longer wildcard, file order.
    fn host_rank(&self) -> (u8, Reverse<usize>, u32) {
        let (class, len) = match &self.host {
            HostPattern::Exact(_) => (0, 0),
            HostPattern::Wildcard(name) => (1, name.len()),
            HostPattern::Regex(_) => (2, 0),
            HostPattern::Any => (3, 0),
        };
        (class, Reverse(len), self.host_order)
    }

    /// Most specific path first: class, longer prefix, file order.
    fn path_rank(&self) -> (u8, Reverse<usize>, u32) {
        let (class, len) = match &self.path {
            PathPattern::Exact(_) => (0, 0),
            PathPattern::Prefix(text) => (1, text.len()),
            PathPattern::Glob(_) | PathPattern::Regex(_) => (2, 0),
            PathPattern::Any => (3, 0),
        };
        (class, Reverse(len), self.path_order)
    }

    /// Within one host and path.
    fn group_rank(&self) -> (Reverse<i32>, Reverse<u16>, u32) {
        (Reverse(self.priority), Reverse(self.predicate_count), self.route)
    }

    fn same_group(&self, other: &Variant<'_>) -> bool {
        self.host == other.host && self.path == other.path
    }

    /// Records in a row, in each its groups in a row, in each the entries as they are tried.
    fn in_table_order(a: &Variant<'_>, b: &Variant<'_>) -> Ordering {
        (a.host_rank(), &a.host)
            .cmp(&(b.host_rank(), &b.host))
            .then_with(|| (a.path_rank(), &a.path).cmp(&(b.path_rank(), &b.path)))
            .then_with(|| a.group_rank().cmp(&b.group_rank()))
    }
}

/// Reads routes; keeps what they share.
#[derive(Default)]
struct Reader<'a> {
    errors: Vec<MatchError>,
    methods: Methods,
    predicates: Vec<Predicates>,
    /// What the configuration of each predicate was, without host and path.
    predicate_numbers: HashMap<MatchConfig, u32>,
    host_order: HashMap<&'a str, u32>,
    path_order: HashMap<PathPattern<'a>, u32>,
}

impl<'a> Reader<'a> {
    fn error(&mut self, route: usize, key: &'static str, index: usize, problem: Problem) {
        self.errors.push(MatchError { route, key, index, message: problem.message, help: problem.help });
    }

    fn read(&mut self, route: usize, config: &RouteConfig<'a>, out: &mut Vec<Variant<'a>>) {
        let hosts = self.hosts(route, config.matches);
        let path = self.path(route, config.matches);
        let predicates = self.predicates(route, config.matches);
        let (Some(path), Some(predicates)) = (path, predicates) else { return };
        let predicate_count = predicate::count(config.matches);
        let path_order = self.path_order.get(&path).copied().unwrap_or(0);
        for host in hosts {
            let host_order = match &host {
                HostPattern::Regex(pattern) => self.host_order.get(pattern).copied().unwrap_or(0),
                _ => 0,
            };
            let priority = config.priority;
            let route = route as u32;
            out.push(Variant { host, path, priority, host_order, path_order, predicate_count, predicates, route });
        }
    }

    fn hosts(&mut self, route: usize, config: &'a MatchConfig) -> Vec<HostPattern<'a>> {
        if config.host.is_empty() {
            return vec![HostPattern::Any];
        }
        let mut hosts = Vec::with_capacity(config.host.len());
        for (index, text) in config.host.iter().enumerate() {
            match HostPattern::parse(text) {
                Ok(host) => {
                    if let HostPattern::Regex(pattern) = host {
                        let next = self.host_order.len() as u32;
                        self.host_order.entry(pattern).or_insert(next);
                    }
                    hosts.push(host);
                }
                Err(problem) => self.error(route, "host", index, problem),
            }
        }
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    fn path(&mut self, route: usize, config: &'a MatchConfig) -> Option<PathPattern<'a>> {
        let checked = path_of(config).and_then(|path| match path {
            // Each distinct regex is compiled once here, for its own message.
            PathPattern::Glob(_) | PathPattern::Regex(_) if !self.path_order.contains_key(&path) => {
                path.test().map_err(|problem| (path.key(), problem))?;
                self.path_order.insert(path, self.path_order.len() as u32);
                Ok(path)
            }
            _ => Ok(path),
        });
        match checked {
            Ok(path) => Some(path),
            Err((key, problem)) => {
                self.error(route, key, 0, problem);
                None
            }
        }
    }

    /// The number of the route's predicates, `u32::MAX` for none.
    fn predicates(&mut self, route: usize, config: &MatchConfig) -> Option<u32> {
        if predicate::count(config) == 0 {
            return Some(u32::MAX);
        }
        let only = MatchConfig {
            host: Vec::new(),
            path: None,
            path_prefix: None,
            path_glob: None,
            path_regex: None,
            ..config.clone()
        };
        if let Some(number) = self.predicate_numbers.get(&only) {
            return Some(*number);
        }
        match Predicates::compile(&only, &mut self.methods) {
            Ok(predicates) => {
                let number = self.predicates.len() as u32;
                self.predicates.push(predicates);
                self.predicate_numbers.insert(only, number);
                Some(number)
            }
            Err(problems) => {
                for (key, index, problem) in problems {
                    self.error(route, key, index, problem);
                }
                None
            }
        }
    }
}

/// The one path condition of a match.
pub fn path_of(config: &MatchConfig) -> Result<PathPattern<'_>, (&'static str, Problem)> {
    let keys = [
        ("path", &config.path),
        ("path_prefix", &config.path_prefix),
        ("path_glob", &config.path_glob),
        ("path_regex", &config.path_regex),
    ];
    let mut set = keys.iter().filter_map(|(key, value)| value.as_deref().map(|text| (*key, text)));
    let Some((key, text)) = set.next() else { return Ok(PathPattern::Any) };
    if let Some((second, _)) = set.next() {
        let help = format!("keep one; more stand in `any = [{{ {key} = … }}, {{ {second} = … }}]`");
        return Err((second, Problem::new(format!("`{key}` is there already"), help)));
    }
    let path = match key {
        "path" => PathPattern::exact(text),
        "path_prefix" => PathPattern::prefix(text),
        "path_glob" => PathPattern::glob(text),
        _ => Ok(PathPattern::Regex(text)),
    };
    path.map_err(|problem| (key, problem))
}

/// Pairs that could both take a request and stand equal in priority.
fn ambiguities(routes: &[RouteConfig<'_>], variants: &[Variant<'_>]) -> Vec<MatchError> {
    let equal = |a: &Variant<'_>, b: &Variant<'_>| {
        a.same_group(b) && a.priority == b.priority && a.predicate_count == b.predicate_count
    };
    let mut pairs = HashSet::new();
    let mut errors = Vec::new();
    for group in variants.chunk_by(equal) {
        for (n, second) in group.iter().enumerate() {
            let clash = group[..n]
                .iter()
                .find(|first| !disjoint(routes[first.route as usize].matches, routes[second.route as usize].matches));
            if let Some(first) = clash
                && pairs.insert((first.route, second.route))
            {
                errors.push(ambiguity(routes, first, second));
            }
        }
    }
    errors.sort_by_key(|e| e.route);
    errors
}

fn ambiguity(routes: &[RouteConfig<'_>], first: &Variant<'_>, second: &Variant<'_>) -> MatchError {
    let (a, b) = (routes[first.route as usize].id, routes[second.route as usize].id);
    let place = place(second);
    MatchError {
        route: second.route as usize,
        key: "match",
        index: 0,
        message: format!("routes {a:?} and {b:?} can both take a request to {place}, and neither goes first"),
        help: "give one of them a higher `priority`, or a condition that the other excludes".to_string(),
    }
}

fn place(variant: &Variant<'_>) -> String {
    let host = match &variant.host {
        HostPattern::Exact(name) => format!("host {name:?}"),
        HostPattern::Wildcard(name) => format!("host \"*.{name}\""),
        HostPattern::Regex(pattern) => format!("host \"~{pattern}\""),
        HostPattern::Any => "any host".to_string(),
    };
    let path = match variant.path {
        PathPattern::Exact(text) => format!("path {text:?}"),
        PathPattern::Prefix(text) => format!("path_prefix {text:?}"),
        PathPattern::Glob(text) => format!("path_glob {text:?}"),
        PathPattern::Regex(text) => format!("path_regex {text:?}"),
        PathPattern::Any => "any path".to_string(),
    };
    format!("{host}, {path}")
}

/// `variants` in table order.
fn build(variants: &[Variant<'_>]) -> Result<Tables, MatchError> {
    let mut builder = Builder::default();
    let mut groups = Vec::new();
    let at = |route: u32, key| {
        move |p: Problem| MatchError { route: route as usize, key, index: 0, message: p.message, help: p.help }
    };
    for host in variants.chunk_by(|a, b| a.host == b.host) {
        groups.clear();
        for group in host.chunk_by(|a, b| a.path == b.path) {
            groups.push(GroupSpec { path: group[0].path, entries: group.len() as u32 });
        }
        let spec = match &host[0].host {
            HostPattern::Exact(name) => HostSpec::Exact(name),
            HostPattern::Wildcard(name) => HostSpec::Wildcard(name),
            HostPattern::Regex(pattern) => HostSpec::Regex(pattern),
            HostPattern::Any => HostSpec::Any,
        };
        let entries = host.iter().map(|v| (v.route, v.predicates));
        builder.host(spec, &groups, entries).map_err(at(host[0].route, "path_regex"))?;
    }
    builder.build().map_err(at(0, "host"))
}

/// For each variant (= entry id) its place in the order of decision.
fn ranks(variants: &[Variant<'_>]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..variants.len() as u32).collect();
    // Table order is the order of decision but for the priority, and a stable sort keeps it. Between different exact
    // hosts the order means nothing.
    order.sort_by_key(|n| Reverse(variants[*n as usize].priority));
    let mut ranks = vec![0; variants.len()];
    for (rank, n) in order.iter().enumerate() {
        ranks[*n as usize] = rank as u32;
    }
    ranks
}

/// Looks for routes that never take a request, because others that go first take all of theirs.
struct Shadows<'c> {
    routes: &'c [RouteConfig<'c>],
    /// In table order: a variant's place is its entry's id.
    variants: &'c [Variant<'c>],
    tables: &'c Tables,
    ranks: &'c [u32],
}

impl Shadows<'_> {
    fn warnings(&self) -> Vec<Warning> {
        // Per route: who takes the requests of its variants so far; `None` once a variant is reachable.
        let mut by: Vec<Option<u32>> = vec![Some(u32::MAX); self.routes.len()];
        for id in 0..self.variants.len() {
            let route = self.variants[id].route as usize;
            if by[route].is_some() {
                by[route] = self.shadow(id);
            }
        }
        let found = by.into_iter().enumerate().filter_map(|(route, by)| Some((route, by?)));
        found.filter(|(_, by)| *by != u32::MAX).map(|(route, by)| self.warning(route, by)).collect()
    }

    fn warning(&self, route: usize, by: u32) -> Warning {
        let (id, by) = (self.routes[route].id, self.routes[by as usize].id);
        Warning {
            route,
            message: format!(
                "route {id:?} never takes a request: route {by:?} goes first and takes all of its requests"
            ),
            help: format!("give {id:?} a higher `priority`, or remove it"),
        }
    }

    /// A route that takes all requests of the variant.
    fn shadow(&self, id: usize) -> Option<u32> {
        let variant = &self.variants[id];
        let mut look = |record| self.shadow_in(record, id);
        let found = match &variant.host {
            HostPattern::Exact(name) => self.tables.visit_hosts(Some(name.as_bytes()), true, look),
            // A label no host has finds the wildcard and the shorter ones above it, but no exact host.
            HostPattern::Wildcard(name) => self.tables.visit_hosts(Some(format!("\0.{name}").as_bytes()), false, look),
            HostPattern::Regex(_) => {
                let own = self.tables.regex_host(variant.host_order as usize).into_iter();
                own.chain(self.tables.any_host()).try_for_each(&mut look)
            }
            HostPattern::Any => self.tables.any_host().into_iter().try_for_each(look),
        };
        found.break_value().or_else(|| self.shadow_in_group(id))
    }

    /// The same among the paths of one host that takes all the variant's hosts.
    fn shadow_in(&self, record: Record, id: usize) -> ControlFlow<u32> {
        let variant = &self.variants[id];
        let exact = matches!(variant.path, PathPattern::Exact(_));
        let path = match variant.path {
            // Takes beyond "/" only `*`, which no route asks for on purpose.
            PathPattern::Any => "/",
            _ => variant.path.literal_start(),
        };
        self.tables.visit_paths(record, path.as_bytes(), |candidate| {
            let covers = exact || matches!(candidate.kind, Kind::Prefix | Kind::Any);
            match covers && self.goes_first(candidate.id as usize, id) {
                true => ControlFlow::Break(candidate.route),
                false => ControlFlow::Continue(()),
            }
        })
    }

    /// The same among routes with the very same host and glob or regex.
    fn shadow_in_group(&self, id: usize) -> Option<u32> {
        let variant = &self.variants[id];
        if !matches!(variant.path, PathPattern::Glob(_) | PathPattern::Regex(_)) {
            return None;
        }
        let before = self.variants[..id].iter().enumerate().rev().take_while(|(_, v)| v.same_group(variant));
        before.into_iter().find(|(n, _)| self.goes_first(*n, id)).map(|(_, v)| v.route)
    }

    fn goes_first(&self, first: usize, second: usize) -> bool {
        let (a, b) = (&self.variants[first], &self.variants[second]);
        a.route != b.route
            && self.ranks[first] < self.ranks[second]
            && implies(self.routes[b.route as usize].matches, self.routes[a.route as usize].matches)
    }
}
