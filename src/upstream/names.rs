//! Endpoints that are names: what is looked up, what was found, and the endpoints that this makes. Looking up is
//! control's part.
use super::{EndpointAddr, EndpointRule, GateConfig, GateRule, PoolRule, Protocol, Registry};
use crate::{
    observe::stats::{Queue, StatsRegistry},
    tls::UpstreamTls,
};
use std::{
    collections::{HashMap, HashSet},
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Most addresses that one name stands for: the lowest ones, so that they are the same ones each time.
pub const ADDRESSES_MAX: usize = 64;
/// Largest weight of an endpoint.
const WEIGHT_MAX: u128 = 1000;

/// How names are looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolverRule {
    /// Name servers; those of `/etc/resolv.conf` when there are none.
    pub servers: Vec<SocketAddr>,
    /// An answer holds at least so long, whatever its TTL.
    pub ttl_min: Duration,
    /// And at most so long.
    pub ttl_max: Duration,
    /// For one answer of a server; it is asked twice.
    pub timeout: Duration,
}

/// What is looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Question {
    /// The addresses of a host: A and AAAA records.
    Host(Arc<str>),
    /// Where a service is (RFC 2782), and the addresses of these hosts.
    Srv(Arc<str>),
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Question::Host(name) => f.write_str(name),
            Question::Srv(name) => write!(f, "SRV {name}"),
        }
    }
}

/// Where the configuration says that an endpoint listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// An address, as it is.
    Addr(EndpointAddr),
    /// What a name stands for at the time.
    Name {
        /// What to look up.
        question: Question,
        /// The port; `None` where the answer says it.
        port: Option<u16>,
    },
}

/// One address that a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Found {
    /// The address.
    pub ip: IpAddr,
    /// The port, where the answer says it.
    pub port: Option<u16>,
    /// Its share among the addresses of the name, 1..=1000.
    pub weight: u16,
}

/// The addresses that a name stands for: ascending, none twice, at most [`ADDRESSES_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer(Vec<Found>);

impl Answer {
    /// The answer of a host.
    pub fn of_host(addresses: impl IntoIterator<Item = IpAddr>) -> Answer {
        Answer::new(addresses.into_iter().map(|ip| Found { ip, port: None, weight: 1 }).collect())
    }

    /// The answer of a service: `servers` with their ports, weights and addresses, all of one priority. A server's
    /// weight is divided among its addresses; 0 is a tenth of 1 ("a very small chance", RFC 2782).
    pub fn of_service(servers: &[Server]) -> Answer {
        let servers = || servers.iter().filter(|server| !server.addresses.is_empty());
        let common = servers().map(|server| server.addresses.len() as u128).fold(1, lcm);
        let share = |server: &Server| match server.weight {
            0 => common,
            weight => u128::from(weight) * 10 * common,
        } / server.addresses.len() as u128;
        let unit = servers().map(share).fold(0, gcd).max(1);
        let most = servers().map(share).max().unwrap_or(0) / unit;
        let found = servers().flat_map(|server| {
            let share = share(server) / unit;
            let scaled = if most > WEIGHT_MAX { share * WEIGHT_MAX / most } else { share };
            let weight = u16::try_from(scaled.clamp(1, WEIGHT_MAX)).unwrap_or(1);
            server.addresses.iter().map(move |ip| Found { ip: *ip, port: Some(server.port), weight })
        });
        Answer::new(found.collect())
    }

    fn new(mut found: Vec<Found>) -> Answer {
        found.sort_unstable();
        found.dedup_by_key(|found| (found.ip, found.port));
        found.truncate(ADDRESSES_MAX);
        Answer(found)
    }

    /// The addresses.
    pub fn found(&self) -> &[Found] {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Answer {
    /// `10.0.0.3, 10.0.0.4`, or `no address`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no address");
        }
        for (i, found) in self.0.iter().enumerate() {
            write!(f, "{}{found}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Found {
    /// `10.0.0.3`, or with the port that the answer says.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}", SocketAddr::new(self.ip, port)),
            None => write!(f, "{}", self.ip),
        }
    }
}

/// A server of a service: what an SRV record says, and the addresses of its host (at most [`ADDRESSES_MAX`] count).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its port.
    pub port: u16,
    /// Its share among those of its priority.
    pub weight: u16,
    /// Its addresses; without any it is as if it were not there.
    pub addresses: Vec<IpAddr>,
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Of numbers of addresses: those that matter are at most [`ADDRESSES_MAX`], and so this stays far from its bounds.
fn lcm(a: u128, b: u128) -> u128 {
    let b = b.clamp(1, ADDRESSES_MAX as u128);
    a / gcd(a, b) * b
}

/// The last answers to all questions, for snapshots that are compiled: a reload begins with what is known.
#[derive(Debug, Default)]
pub struct Answers(Mutex<HashMap<Question, Arc<Answer>>>);

impl Answers {
    /// The last answer, if there was one.
    pub fn get(&self, question: &Question) -> Option<Arc<Answer>> {
        self.open().get(question).cloned()
    }

    /// Notes the newest answer.
    pub fn set(&self, question: &Question, answer: Arc<Answer>) {
        self.open().insert(question.clone(), answer);
    }

    /// Forgets the answers to all other questions.
    pub fn retain(&self, questions: &HashSet<Question>) {
        self.open().retain(|question, _| questions.contains(question));
    }

    /// A poisoned lock means a panic while holding it; a map has no invariant that a panic could break.
    fn open(&self) -> MutexGuard<'_, HashMap<Question, Arc<Answer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An endpoint as the configuration says it.
#[derive(Clone, Debug)]
pub enum Member {
    /// At an address.
    Fixed(EndpointRule),
    /// By a name.
    Named(NamedRule),
}

/// An endpoint by a name: what all endpoints of its addresses have in common. The fields are those of
/// [`EndpointRule`].
#[derive(Clone, Debug)]
pub struct NamedRule {
    /// What is looked up.
    pub question: Question,
    /// The port; `None` where the answer says it.
    pub port: Option<u16>,
    /// As the configuration spells it.
    pub name: Arc<str>,
    /// The value of `Host`: the name, whatever its address.
    pub authority: Arc<str>,
    /// TLS; the name is what certificates are checked against.
    pub tls: Option<Arc<UpstreamTls>>,
    /// What is spoken.
    pub protocol: Protocol,
    /// Share of each address; those of a service have their own.
    pub weight: u16,
    /// Requests in flight, of each address.
    pub gate: Option<GateConfig>,
}

impl NamedRule {
    /// The label of one address: `http://app.internal:8000 [10.0.0.3]`. The same name and address have the same label
    /// at any time, so that their state is found again.
    pub fn label(&self, found: &Found) -> String {
        format!("{} [{found}]", self.name)
    }

    fn endpoint(&self, pool: &str, found: &Found, registry: &Registry, stats: &StatsRegistry) -> EndpointRule {
        let label = self.label(found);
        let port = found.port.or(self.port).unwrap_or_default();
        EndpointRule {
            addr: EndpointAddr::Tcp(SocketAddr::new(found.ip, port)),
            gate: GateRule::made(registry, Queue::Endpoint, &format!("{pool}/{label}"), self.gate),
            state: registry.endpoint(pool, &label),
            stats: stats.endpoint(pool, &label),
            name: label.into(),
            authority: self.authority.clone(),
            tls: self.tls.clone(),
            protocol: self.protocol,
            weight: match self.question {
                Question::Host(_) => self.weight,
                Question::Srv(_) => found.weight,
            },
        }
    }
}

/// The endpoints that `members` of the pool `pool` are by the last answers.
pub fn endpoints(pool: &str, members: &[Member], registry: &Registry, stats: &StatsRegistry) -> Vec<EndpointRule> {
    let mut all = Vec::with_capacity(members.len());
    for member in members {
        match member {
            Member::Fixed(rule) => all.push(rule.clone()),
            Member::Named(rule) => {
                let answer = registry.names.get(&rule.question).unwrap_or_default();
                all.extend(answer.found().iter().map(|found| rule.endpoint(pool, found, registry, stats)));
            }
        }
    }
    all
}

/// The questions that `pools` ask.
pub fn questions(pools: &[Arc<PoolRule>]) -> HashSet<Question> {
    let named = pools.iter().flat_map(|pool| pool.members.iter()).filter_map(|member| match member {
        Member::Named(rule) => Some(rule.question.clone()),
        Member::Fixed(_) => None,
    });
    named.collect()
}

/// `pools` by the last answers, or `None` when these change nothing. Pools that stay the same are the same ones.
pub fn renewed(pools: &[Arc<PoolRule>], registry: &Registry, stats: &StatsRegistry) -> Option<Vec<Arc<PoolRule>>> {
    let mut changed = false;
    let renewed = pools.iter().map(|pool| {
        if pool.members.is_empty() {
            return pool.clone();
        }
        let endpoints = endpoints(&pool.id, &pool.members, registry, stats);
        let same = |(a, b): (&EndpointRule, &EndpointRule)| a.name == b.name && a.weight == b.weight;
        if endpoints.len() == pool.endpoints.len() && endpoints.iter().zip(&pool.endpoints).all(same) {
            return pool.clone();
        }
        changed = true;
        Arc::new(PoolRule::clone(pool).with_endpoints(endpoints))
    });
    let renewed = renewed.collect();
    changed.then_some(renewed)
}

#[cfg(test)]
mod tests;
