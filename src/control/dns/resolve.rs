//! Asking name servers, and the file of hosts before them.
use super::entry::{Heard, HostHeard, Miss, Records, Service};
use crate::{
    observe::notice,
    upstream::{Question, names::ResolverRule},
};
use hickory_resolver::{
    Hosts, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig},
    lookup::Lookup,
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::{Query, ResponseCode},
        rr::{Name, RData, RecordType},
    },
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::timeout;

/// Servers of a service whose addresses are asked for: those of the lowest priorities.
const SERVERS_MAX: usize = 64;
/// Whoever names no server asks this one, as resolv.conf(5) has it.
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53);
/// What decides where names are asked for.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// When each of [`FILES`] was last changed.
type Stamps = [Option<SystemTime>; FILES.len()];

/// Asks for names as one rule and the system's files say.
pub struct Resolver {
    rule: ResolverRule,
    stamps: Stamps,
    hosts: Hosts,
    servers: TokioResolver,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("rule", &self.rule).finish_non_exhaustive()
    }
}

impl Resolver {
    /// One that asks as `rule` says: `old`, unless something changed. `None` when there cannot be one.
    pub fn renewed(old: Option<Rc<Resolver>>, rule: &ResolverRule) -> Option<Rc<Resolver>> {
        let stamps = FILES.map(|file| std::fs::metadata(file).and_then(|meta| meta.modified()).ok());
        if let Some(old) = old.filter(|old| old.rule == *rule && old.stamps == stamps) {
            return Some(old);
        }
        match servers(rule) {
            Ok(servers) => {
                let hosts = Hosts::from_system().unwrap_or_default();
                Some(Rc::new(Resolver { rule: rule.clone(), stamps, hosts, servers }))
            }
            Err(why) => {
                notice(format_args!("warning: names of endpoints cannot be looked up: {why}"));
                None
            }
        }
    }

    /// Asks, in bounded time.
    pub async fn ask(&self, question: &Question) -> Heard {
        // Twice the time of a question for its records, and again for the addresses of a service.
        let patience = self.rule.timeout * 5;
        let heard = timeout(patience, self.ask_on(question)).await;
        heard.unwrap_or_else(|_| Heard::failed(question, Miss::Timeout))
    }

    async fn ask_on(&self, question: &Question) -> Heard {
        let name = match question {
            Question::Host(name) => return Heard::Host(self.host(name).await),
            Question::Srv(name) => name,
        };
        let services = match self.records(name, RecordType::SRV).await {
            Ok(lookup) => services(&lookup),
            Err(miss) => return Heard::Service(Err(miss), BTreeMap::new()),
        };
        let mut hosts = BTreeMap::new();
        let mut asked = Vec::new();
        for service in &services.all {
            if !asked.contains(&&service.host) {
                asked.push(&service.host);
            }
        }
        let mut asking = tokio::task::JoinSet::new();
        for host in asked {
            let (host, known, servers) = (host.clone(), self.known(host), self.servers.clone());
            asking.spawn_local(async move {
                let heard = match known {
                    Some(known) => known,
                    None => ask_host(&servers, &host).await,
                };
                (host, heard)
            });
        }
        while let Some(done) = asking.join_next().await {
            if let Ok((host, heard)) = done {
                hosts.insert(host, heard);
            }
        }
        Heard::Service(Ok(services), hosts)
    }

    async fn host(&self, name: &str) -> HostHeard {
        match self.known(name) {
            Some(known) => known,
            None => ask_host(&self.servers, name).await,
        }
    }

    /// What the file of hosts says: when it knows a name, nobody else is asked.
    fn known(&self, name: &str) -> Option<HostHeard> {
        let name = Name::from_ascii(name).ok()?;
        let of = |kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind));
        let (v4, v6) = (of(RecordType::A), of(RecordType::AAAA));
        if v4.is_none() && v6.is_none() {
            return None;
        }
        // The file may change at any time: it holds for the least time that anything does.
        let read = |found: Option<Lookup>| match found {
            Some(lookup) => Ok(Records { ttl: Duration::ZERO, ..addresses(&lookup) }),
            None => Err(Miss::Nothing),
        };
        Some(HostHeard { v4: read(v4), v6: read(v6) })
    }

    async fn records(&self, name: &str, kind: RecordType) -> Result<Lookup, Miss> {
        ask_server(&self.servers, name, kind).await
    }
}

fn servers(rule: &ResolverRule) -> Result<TokioResolver, NetError> {
    let chosen = |servers: &[SocketAddr]| {
        let server = |addr: &SocketAddr| {
            let on_port = |mut connection: ConnectionConfig| {
                connection.port = addr.port();
                connection
            };
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(on_port);
            NameServerConfig::new(addr.ip(), true, connections.into())
        };
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.iter().map(server).collect());
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let mut builder = match &rule.servers[..] {
        // The system may name none: then there may be one here.
        [] => TokioResolver::builder_tokio().unwrap_or_else(|_| chosen(&[LOCAL])),
        servers => chosen(servers),
    };
    let options = builder.options_mut();
    options.timeout = rule.timeout;
    options.attempts = 1; // and so two times
    options.cache_size = 0; // when to ask again is decided elsewhere
    options.use_hosts_file = ResolveHosts::Never; // it was asked already
    builder.build()
}

async fn ask_host(servers: &TokioResolver, name: &str) -> HostHeard {
    let (v4, v6) = tokio::join!(ask_server(servers, name, RecordType::A), ask_server(servers, name, RecordType::AAAA));
    HostHeard { v4: v4.map(|lookup| addresses(&lookup)), v6: v6.map(|lookup| addresses(&lookup)) }
}

async fn ask_server(servers: &TokioResolver, name: &str, kind: RecordType) -> Result<Lookup, Miss> {
    // What the configuration takes is a name here too; an SRV record may say anything.
    let name = Name::from_ascii(name).map_err(|_| Miss::Nothing)?;
    servers.lookup(name, kind).await.map_err(|why| match why {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain | ResponseCode::NoError => Miss::Nothing,
            _ => Miss::Refused,
        },
        NetError::Dns(DnsError::ResponseCode(ResponseCode::NXDomain)) => Miss::Nothing,
        NetError::Dns(_) => Miss::Refused,
        NetError::Timeout => Miss::Timeout,
        _ => Miss::Failed,
    })
}

/// The least TTL of an answer, with the aliases on the way.
fn ttl(lookup: &Lookup) -> Duration {
    let least = lookup.answers().iter().map(|record| record.ttl).min();
    Duration::from_secs(u64::from(least.unwrap_or(0)))
}

/// Some servers say 0.0.0.0 for what they block; who connects there ends up on this very machine.
fn is_of_a_host(ip: &IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !ip.to_canonical().is_unspecified() && !ip.to_canonical().is_multicast() && !broadcast
}

fn addresses(lookup: &Lookup) -> Records<IpAddr> {
    let address = |data: &RData| match data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(a) => Some(IpAddr::V6(a.0)),
        _ => None,
    };
    let all = lookup.answers().iter().filter_map(|record| address(&record.data)).filter(is_of_a_host).collect();
    Records { all, ttl: ttl(lookup) }
}

/// The root as a host says that the service is not there (RFC 2782).
fn services(lookup: &Lookup) -> Records<Service> {
    let service = |data: &RData| match data {
        RData::SRV(srv) if !srv.target.is_root() => Some(Service {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            host: Arc::from(srv.target.to_ascii().to_ascii_lowercase()),
        }),
        _ => None,
    };
    let mut all: Vec<Service> = lookup.answers().iter().filter_map(|record| service(&record.data)).collect();
    all.retain(|service| service.port != 0);
    all.sort_by(|a, b| (a.priority, &a.host, a.port).cmp(&(b.priority, &b.host, b.port)));
    all.truncate(SERVERS_MAX);
    Records { all, ttl: ttl(lookup) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_configuration_takes_can_be_asked_for() {
        for name in
            ["app", "my_app.internal", "_http._tcp.app.internal", "x--1.xn--bcher-kva.", "3com.example", "a.b-c"]
        {
            let there_and_back = Name::from_ascii(name).unwrap_or_else(|e| panic!("{name}: {e}")).to_ascii();
            assert_eq!(there_and_back, name);
        }
    }

    #[test]
    fn some_addresses_are_of_nobody() {
        for (text, fine) in [
            ("10.0.0.1", true),
            ("127.0.0.1", true),
            ("::1", true),
            ("fd00::1", true),
            ("0.0.0.0", false),
            ("::", false),
            ("::ffff:0.0.0.0", false),
            ("255.255.255.255", false),
            ("224.0.0.1", false),
            ("ff02::1", false),
        ] {
            let ip = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(is_of_a_host(&ip), fine, "{text}");
        }
    }
}
