//! Which route a request takes: pure tables, compiled once per snapshot, asked once per request.
//!
//! Order of decision (FEATURES C3): explicit `priority` → exact host → longest wildcard host → regex host (file order) →
//! any host → exact path → longest prefix → glob or regex (file order) → no path → more predicates. Two routes that
//! could both take a request and stand equal in all of it are an error, so that nothing else depends on file order.
mod compare;
mod compile;
mod hash;
pub mod host;
pub mod path;
mod predicate;
mod table;
#[cfg(test)]
mod tests;

use crate::message::Problem;
use crate::message::few::Few;
use edge_io::head::Head;
use host::Folded;
use predicate::{MethodSet, Methods, Predicates, Subject};
use std::{net::IpAddr, ops::ControlFlow, sync::OnceLock};
use table::{Candidate, Tables};

/// One `match`: all that is named must hold. Small, because there may be tens of thousands while a snapshot is compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MatchConfig {
    /// Any of these: `name`, `*.name` (one or more labels before it), `*`, `~regex`. None: every host.
    pub host: Vec<String>,
    /// The whole path.
    pub path: Option<Box<str>>,
    /// The path and what is below it, by whole segments.
    pub path_prefix: Option<Box<str>>,
    /// `*` is one segment or a part of one, `**` all that is left.
    pub path_glob: Option<Box<str>>,
    /// A regex searched for in the path.
    pub path_regex: Option<Box<str>>,
    /// Any of these; GET implies HEAD.
    pub method: Few<String>,
    /// Each must hold; several lines of one name count as one, joined with ", ".
    pub header: Few<FieldMatch>,
    /// Each must hold of the first parameter of its name, decoded.
    pub query: Few<FieldMatch>,
    /// Each must hold of the first cookie of its name.
    pub cookie: Few<FieldMatch>,
    /// Any of these addresses or networks (CIDR); IPv4-mapped IPv6 counts as IPv4.
    pub client: Few<String>,
    /// Whether the request came over TLS.
    pub tls: Option<bool>,
    /// At least one of these must hold.
    pub any: Few<MatchConfig>,
    /// This must not hold.
    pub not: Option<Box<MatchConfig>>,
}

/// A condition on a named value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldMatch {
    /// Which one; header names in any case.
    pub name: String,
    /// What of it.
    pub op: FieldOp,
}

/// What is asked of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FieldOp {
    /// It is there.
    Present,
    /// It equals this.
    Exact(String),
    /// It begins with this.
    Prefix(String),
    /// This regex is found in it.
    Regex(String),
}

/// One route for [`Router::compile`]; its place in the slice is its index.
#[derive(Clone, Copy, Debug)]
pub struct RouteConfig<'a> {
    /// Its id, for messages.
    pub id: &'a str,
    /// Higher goes first, whatever else the routes match.
    pub priority: i32,
    /// What it takes.
    pub matches: &'a MatchConfig,
}

/// A route that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchError {
    /// Its index.
    pub route: usize,
    /// The key in its `match` ("match" itself when two routes stand equal).
    pub key: &'static str,
    /// Which element, when the key holds an array; 0 otherwise.
    pub index: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead; may be empty.
    pub help: String,
}

/// A route that can be used but will not do what it seems to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Its index.
    pub route: usize,
    /// What is odd.
    pub message: String,
    /// What to do; may be empty.
    pub help: String,
}

/// What the router looks at.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    /// Host, method, query string and fields.
    pub head: &'a Head,
    /// The path, normalized (see [`path::normalize`]), without query.
    pub path: &'a [u8],
    /// The client's address as policies see it.
    pub client: IpAddr,
    /// Whether the request came over TLS.
    pub tls: bool,
}

/// The router's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'r> {
    /// The route of this index.
    Route(u32),
    /// Routes match but for the method: 405 with this value of `Allow`.
    MethodNotAllowed(&'r str),
    /// No route.
    None,
}

/// The compiled routes of one snapshot.
#[derive(Debug)]
pub struct Router {
    tables: Tables,
    predicates: Box<[Predicates]>,
    /// By candidate id, the smaller goes first. Empty when all priorities are equal: then tables give the order.
    ranks: Box<[u32]>,
    methods: Methods,
    allow: AllowTexts,
}

impl Router {
    /// Compiles routes; all mistakes at once. Warnings name routes that no request can reach.
    pub fn compile(routes: &[RouteConfig<'_>]) -> Result<(Router, Vec<Warning>), Vec<MatchError>> {
        compile::compile(routes)
    }

    /// The route for a request. Allocates nothing for routes by host, path and method; a host with several regexes or a
    /// condition on a field sent in several lines may.
    pub fn find<'r>(&'r self, query: &Query<'_>) -> Found<'r> {
        let host = Folded::new(query.head.authority());
        let host = host.as_ref().map(Folded::as_bytes);
        let method = self.methods.of(query.head);
        let subject = Subject { query, host: host.unwrap_or_default(), method };
        let route = match self.ranks.is_empty() {
            true => self.first(host, &subject),
            false => self.best(host, &subject),
        };
        match route {
            Some(route) => Found::Route(route),
            None => self.not_found(host, &subject),
        }
    }

    fn first(&self, host: Option<&[u8]>, subject: &Subject<'_>) -> Option<u32> {
        let found = self.tables.visit(host, subject.query.path, |candidate| match self.takes(&candidate, subject) {
            true => ControlFlow::Break(candidate.route),
            false => ControlFlow::Continue(()),
        });
        found.break_value()
    }

    /// With explicit priorities a less specific route may go first: look at all of them.
    fn best(&self, host: Option<&[u8]>, subject: &Subject<'_>) -> Option<u32> {
        let mut best = (u32::MAX, None);
        let _ = self.tables.visit::<()>(host, subject.query.path, |candidate| {
            let rank = self.ranks.get(candidate.id as usize).copied().unwrap_or(u32::MAX);
            if rank < best.0 && self.takes(&candidate, subject) {
                best = (rank, Some(candidate.route));
            }
            ControlFlow::Continue(())
        });
        best.1
    }

    #[inline]
    fn takes(&self, candidate: &Candidate, subject: &Subject<'_>) -> bool {
        match self.predicates.get(candidate.predicates as usize) {
            Some(predicates) => predicates.allows_method(subject) && predicates.hold(subject),
            None => true,
        }
    }

    /// Nothing took the request: because of its method alone (C5)?
    #[cold]
    fn not_found(&self, host: Option<&[u8]>, subject: &Subject<'_>) -> Found<'_> {
        let mut allowed: MethodSet = 0;
        let _ = self.tables.visit::<()>(host, subject.query.path, |candidate| {
            if let Some(predicates) = self.predicates.get(candidate.predicates as usize)
                && predicates.hold(subject)
            {
                allowed |= predicates.methods;
            }
            ControlFlow::Continue(())
        });
        match allowed {
            0 => Found::None,
            set => Found::MethodNotAllowed(self.allow.get(set, &self.methods)),
        }
    }

    /// Bytes on the heap, without those inside compiled regexes and predicates' values.
    pub fn heap_bytes(&self) -> usize {
        self.tables.heap_bytes() + size_of_val(&*self.predicates) + size_of_val(&*self.ranks)
    }
}

/// `Allow` values, each made when first needed. Which sets can occur depends on the routes, not on the client.
#[derive(Debug, Default)]
struct AllowTexts(OnceLock<Box<AllowText>>);

#[derive(Debug)]
struct AllowText {
    set: MethodSet,
    text: String,
    next: AllowTexts,
}

impl AllowTexts {
    fn get(&self, set: MethodSet, methods: &Methods) -> &str {
        let mut link = self;
        loop {
            let new = || Box::new(AllowText { set, text: methods.allow(set), next: AllowTexts::default() });
            let node = link.0.get_or_init(new);
            if node.set == set {
                return &node.text;
            }
            link = &node.next;
        }
    }
}
