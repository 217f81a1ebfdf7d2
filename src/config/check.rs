//! What no single key can tell: names twice, sockets twice, references to nothing.
use super::{
    Config,
    limits::{NAME_BYTES_MAX, NAMES_MAX},
    raw::{Endpoint, NAME_RULE, Policy, Pool, Read, Socket},
    report::{Log, Problem},
    section::{Scene, Section, Text, cut},
    suggest,
};
use crate::upstream::{EndpointAddr, Target};
use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    path::Path,
};

/// What routes may refer to: names, and files.
pub(crate) struct Names<'r> {
    base: &'r Path,
    pools: Table<'r>,
    policies: Table<'r>,
}

/// Names of one kind.
#[derive(Default)]
struct Table<'r> {
    index: HashMap<&'r str, u32>,
    /// Whether these are all; otherwise an unknown name is no mistake.
    complete: bool,
}

impl<'r> Table<'r> {
    fn new(names: impl Iterator<Item = &'r str>, complete: bool) -> Table<'r> {
        Table { index: names.zip(0..).collect(), complete }
    }
}

impl<'r> Names<'r> {
    /// The names of `pools`; `complete` says whether these are all there are. Relative paths start at `base`.
    pub fn new(pools: &'r [Pool], complete: bool, base: &'r Path) -> Names<'r> {
        let pools = Table::new(pools.iter().map(|pool| pool.name.as_str()), complete);
        Names { base, pools, policies: Table::default() }
    }

    /// Where relative paths start.
    pub fn base(&self) -> &Path {
        self.base
    }

    /// With the names of `policies`.
    pub fn with_policies(self, policies: &'r [Policy], complete: bool) -> Names<'r> {
        Names { policies: Table::new(policies.iter().map(|policy| policy.name.as_str()), complete), ..self }
    }

    /// The index of the pool that `text` names; 0 and a mistake when there is none.
    pub fn pool(&self, scene: Scene<'_>, text: &Text<'_>) -> u32 {
        find(&self.pools, "pool", scene, text).unwrap_or(0)
    }

    /// The index of the policy that `text` names; a mistake when there is none.
    pub fn policy(&self, scene: Scene<'_>, text: &Text<'_>) -> Option<u32> {
        find(&self.policies, "policy", scene, text)
    }

    /// The index of `[policy.default]`, which routes without a policy have.
    pub fn default_policy(&self) -> Option<u32> {
        self.policies.index.get("default").copied()
    }
}

fn find(table: &Table<'_>, kind: &str, scene: Scene<'_>, text: &Text<'_>) -> Option<u32> {
    let found = table.index.get(text.value).copied();
    if found.is_none() && table.complete && scene.log.is_full() {
        scene.mistake(text.span.clone(), |at| Problem::new(at, format!("there is no such {kind}")));
    } else if found.is_none() && table.complete {
        scene.mistake(text.span.clone(), |at| {
            let mut known: Vec<&str> = table.index.keys().copied().collect();
            known.sort_unstable();
            let help = match suggest::did_you_mean(text.value, known) {
                help if help.is_empty() && text.value.contains("://") => {
                    format!("define [{kind}.app] with endpoints = [{:?}] and write \"app\"", cut(text.value))
                }
                help if help.is_empty() => format!("define [{kind}.{}]", cut(text.value)),
                help => help,
            };
            Problem::new(at, format!("there is no {kind} {:?}", cut(text.value))).help(help)
        });
    }
    found
}

/// Checks a name or id: it becomes the label of metrics and a word in the log.
pub(crate) fn name(scene: Scene<'_>, text: &Text<'_>) {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if text.value.is_empty() || text.value.len() > NAME_BYTES_MAX || !text.value.bytes().all(fits) {
        scene.mistake(text.span.clone(), |at| {
            Problem::new(at, format!("{:?} is not a name", cut(text.value))).expected(NAME_RULE)
        });
    }
}

/// Names must differ among those of a kind.
pub(crate) fn no_name_twice<'n>(
    top: &Section<'_>,
    kind: &str,
    names: impl Iterator<Item = &'n (String, Range<usize>)>,
) {
    let mut seen = HashSet::new();
    for (name, span) in names {
        if !seen.insert(name) {
            top.scene.mistake(span.clone(), |at| Problem::new(at, format!("there are two {kind}s {name:?}")));
        }
    }
}

/// A socket can be listened on once. Port 0 is a free one each time.
pub(crate) fn no_socket_twice(scene: Scene<'_>, sockets: &[Socket]) {
    let mut seen: HashSet<&EndpointAddr> = HashSet::new();
    for (addr, span) in sockets {
        let any_port = matches!(addr, EndpointAddr::Tcp(addr) if addr.port() == 0);
        if !any_port && !seen.insert(addr) {
            scene.mistake(span.clone(), |at| Problem::new(at, "this address is listened on twice"));
        }
    }
}

/// Endpoints of a pool must differ: their names are labels, and their connections are counted by them.
pub(crate) fn no_endpoint_twice(scene: Scene<'_>, seen: &mut HashSet<Target>, new: &Endpoint, span: Range<usize>) {
    if !seen.insert(new.target.clone()) {
        scene.mistake(span, |at| {
            Problem::new(at, format!("the endpoint {:?} stands twice in the pool", cut(&new.name)))
                .help("give it a weight instead")
        });
    }
}

/// What only the whole file shows.
pub(crate) fn whole(top: &Section<'_>, read: &Read, tables: &[Range<usize>]) {
    if top.misses("listener") {
        top.scene.log.mistake(
            Problem::of_file("there is no listener").help("add [[listener]] with address = \"127.0.0.1:8080\""),
        );
    }
    if tables.is_empty() && top.misses("route") {
        top.scene.log.mistake(Problem::of_file("there is no route").help("add [[route]] with pool = \"NAME\""));
    }
    let targets = read.pools.iter().flat_map(|pool| &pool.endpoints).map(|endpoint| &endpoint.target);
    let names = targets.filter_map(|target| match target {
        Target::Name { question, .. } => Some(question),
        Target::Addr(_) => None,
    });
    let names = names.collect::<HashSet<_>>().len();
    if names > NAMES_MAX {
        let message = format!("endpoints have {names} different names; {NAMES_MAX} are looked up at most");
        top.scene.log.mistake(Problem::of_file(message).help("let one name stand for many addresses"));
    }
    if top.scene.log.is_clean() {
        unused(top, "pool", read.routes.iter().filter_map(|route| route.action.pool()));
        unused(top, "policy", read.routes.iter().filter_map(|route| route.policy));
    }
}

/// Warns of tables that no route refers to; `used` are indexes in the order of the file.
fn unused(top: &Section<'_>, kind: &str, used: impl Iterator<Item = u32>) {
    let used: HashSet<u32> = used.collect();
    for (index, (name, _)) in (0..).zip(top.entries(kind, "")) {
        if !used.contains(&index) {
            let at = top.scene.origin.locate(name.span);
            top.scene.log.warning(Problem::new(at, format!("{kind} {:?} is used by no route", cut(name.value))));
        }
    }
}

/// Ids of routes must differ; a mistake points at the later one.
pub(crate) fn no_id_twice(config: &Config, log: &Log) {
    let mut seen: HashSet<&str> = HashSet::with_capacity(config.routes.len());
    for (index, route) in config.routes.iter().enumerate() {
        if !seen.insert(&route.id) {
            let span = config.span_unless(log.is_full(), index, &["id"]);
            log.mistake(Problem::new(span, format!("there are two routes {:?}", route.id)));
        }
    }
}
