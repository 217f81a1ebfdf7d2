//! The data listeners' sockets: opened here, before any shard hears of a configuration, so that one which cannot be
//! listened on changes nothing.
use crate::{
    proto::QuicSockets,
    snapshot::{ListenAddr, ListenerRule, Snapshot, command::ShardListener},
};
use edge_io::listen::{self, SocketName};
use edge_quic::group::{Buffers, Group, Wanted};
use std::{
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    path::Path,
    sync::{Arc, Weak},
};

/// Anyone may connect to a data socket, as anyone may to a port.
const UNIX_MODE: u32 = 0o666;
/// How many free TCP ports are tried before one is free for UDP as well.
const PORTS_TRIED: usize = 32;

/// What is open.
#[derive(Clone, Debug, Default)]
pub(super) struct Sockets {
    open: Vec<Open>,
    /// Every group of UDP sockets that may be in use: by `open`, or by shards whose connections drain. A second group on
    /// an address would take packets from the first.
    groups: Vec<Weak<Group>>,
    next_id: u64,
}

/// One open address.
#[derive(Clone, Debug)]
struct Open {
    id: u64,
    listener: Arc<str>,
    /// As the configuration says it.
    configured: ListenAddr,
    /// With the port that 0 became.
    actual: ListenAddr,
    /// Whether there are stream sockets.
    stream: bool,
    udp: Option<Arc<Group>>,
    /// Goes with the last plan that uses it.
    _name: Option<Arc<SocketName>>,
}

/// What will be open, and what to tell each shard. Dropping it closes what was newly opened.
#[derive(Debug)]
pub(super) struct Plan {
    /// To replace the current set once the shards have heard.
    pub sockets: Sockets,
    /// By shard: the whole set, with descriptors where they are new.
    pub per_shard: Vec<Vec<ShardListener>>,
    /// What the kernel did not grant to new UDP sockets.
    pub warnings: Vec<String>,
}

impl Sockets {
    /// Opens what `snapshot` wants and is not open yet.
    ///
    /// # Errors
    /// Every address that cannot be listened on, with the reason.
    pub fn plan(&self, snapshot: &Snapshot, shards: usize) -> Result<Plan, Vec<String>> {
        let groups = self.groups.iter().filter(|group| group.strong_count() > 0).cloned().collect();
        let mut plan = Plan {
            sockets: Sockets { open: Vec::new(), groups, next_id: self.next_id },
            per_shard: (0..shards).map(|_| Vec::new()).collect(),
            warnings: Vec::new(),
        };
        let mut errors = Vec::new();
        for rule in &snapshot.listeners {
            let first = plan.sockets.open.len();
            for addr in &rule.address {
                if let Err(e) = plan.add(self, rule, addr, &snapshot.server.quic) {
                    errors.push(format!("listener {:?}: {}: {e}", &*rule.name, show(addr)));
                }
            }
            plan.announce(rule, first);
        }
        if errors.is_empty() { Ok(plan) } else { Err(errors) }
    }

    /// Every open address: the listener's name, and where it really listens, UDP as `udp:ADDRESS`.
    pub fn list(&self) -> impl Iterator<Item = (&str, String)> {
        self.open.iter().flat_map(|open| {
            let stream = open.stream.then(|| show(&open.actual));
            let udp = open.udp.as_ref().map(|group| format!("udp:{}", group.local_addr()));
            stream.into_iter().chain(udp).map(|addr| (&*open.listener, addr))
        })
    }

    /// Whether there are UDP sockets.
    pub fn any_udp(&self) -> bool {
        self.open.iter().any(|open| open.udp.is_some())
    }

    /// Where `rule` listens on `addr` already, unless an earlier line of the same plan has taken that. An address with
    /// port 0 is a listener's own: another one of the same spelling is another port.
    fn find(&self, rule: &ListenerRule, addr: &ListenAddr, taken: &[Open]) -> Option<&Open> {
        let any_port = matches!(addr, ListenAddr::Tcp(a) if a.port() == 0);
        self.open.iter().find(|open| {
            open.configured == *addr
                && (!any_port || open.listener == rule.name)
                && taken.iter().all(|t| (&t.configured, &t.actual) != (&open.configured, &open.actual))
        })
    }

    /// Why there cannot be UDP sockets on `addr`.
    fn explained(&self, addr: SocketAddr, e: &io::Error) -> io::Error {
        let overlaps = |other: &Group| {
            let (a, b) = (addr, other.local_addr());
            let same = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
            a.port() == b.port() && a.is_ipv4() == b.is_ipv4() && same
        };
        let ours = self.groups.iter().filter_map(Weak::upgrade).find(|group| overlaps(group));
        let whose = match ours.filter(|_| e.kind() == io::ErrorKind::AddrInUse) {
            Some(group) => format!(", by HTTP/3 connections of this edge on {}", group.local_addr()),
            None => String::new(),
        };
        io::Error::new(e.kind(), format!("UDP: {e}{whose}"))
    }

    /// The group on `addr`, if there is one that somebody still uses.
    fn group(&self, addr: SocketAddr) -> Option<Arc<Group>> {
        self.groups.iter().filter_map(Weak::upgrade).find(|group| group.local_addr() == addr)
    }
}

impl Plan {
    fn add(
        &mut self,
        now: &Sockets,
        rule: &Arc<ListenerRule>,
        addr: &ListenAddr,
        quic: &QuicSockets,
    ) -> io::Result<()> {
        let known = now.find(rule, addr, &self.sockets.open);
        let (open, fds) = self.open(known, rule, addr, quic)?;
        if let (Some(tls), ListenAddr::Tcp(actual)) = (&rule.tls, &open.actual)
            && tls.port() == 0
        {
            tls.set_port(actual.port());
        }
        let mut fds = fds.into_iter();
        for listeners in &mut self.per_shard {
            let (addr, rule, udp) = (open.actual.clone(), rule.clone(), open.udp.clone());
            listeners.push(ShardListener { id: open.id, addr, rule, fd: fds.next(), udp });
        }
        self.sockets.open.push(open);
        Ok(())
    }

    /// What `rule` needs on `addr`: of what is open there, as much as it can use, and the rest newly opened.
    fn open(
        &mut self,
        known: Option<&Open>,
        rule: &ListenerRule,
        addr: &ListenAddr,
        quic: &QuicSockets,
    ) -> io::Result<(Open, Vec<OwnedFd>)> {
        let stream = rule.speaks_over_tcp();
        let keeps_stream = known.is_some_and(|open| open.stream == stream);
        let wanted = known.map_or(addr, |open| &open.actual);
        let sockets = match (stream && !keeps_stream, wanted) {
            (true, ListenAddr::Tcp(addr)) if rule.h3 && addr.port() == 0 => self.any_port(*addr, quic)?,
            (true, addr) => New { udp: None, ..listen(addr, self.per_shard.len())? },
            (false, addr) => New { actual: addr.clone(), name: None, fds: Vec::new(), udp: None },
        };
        let New { mut actual, name, fds, mut udp } = sockets;
        if let (true, None, ListenAddr::Tcp(addr)) = (rule.h3, &udp, &mut actual) {
            let group = self.udp(*addr, quic)?;
            *addr = group.local_addr();
            udp = Some(group);
        }
        let id = match known {
            Some(open) if keeps_stream => open.id,
            _ => {
                self.sockets.next_id += 1;
                self.sockets.next_id - 1
            }
        };
        let name = known.and_then(|open| open._name.clone()).or(name.map(Arc::new));
        let (listener, configured) = (rule.name.clone(), addr.clone());
        Ok((Open { id, listener, configured, actual, stream, udp, _name: name }, fds))
    }

    /// The UDP sockets on `addr`: those that are there, or new ones.
    fn udp(&mut self, addr: SocketAddr, quic: &QuicSockets) -> io::Result<Arc<Group>> {
        if addr.port() != 0
            && let Some(group) = self.sockets.group(addr)
        {
            return Ok(group);
        }
        let buffers = Buffers { receive: quic.receive_buffer, send: quic.send_buffer };
        let bound = Group::bind(addr, self.per_shard.len(), quic.steering, buffers);
        let group = bound.map_err(|e| self.sockets.explained(addr, &e))?;
        self.sockets.groups.push(Arc::downgrade(&group));
        self.compare(&group, quic.steering, buffers);
        Ok(group)
    }

    /// Notes what the kernel did not grant, once for all sockets.
    fn compare(&mut self, group: &Group, wanted: Wanted, buffers: Buffers) {
        let granted = group.buffers();
        let sizes = [("receive", granted.receive, buffers.receive, "r"), ("send", granted.send, buffers.send, "w")];
        for (which, granted, wanted, letter) in sizes.into_iter().filter(|(_, granted, wanted, _)| granted < wanted) {
            self.warn(format!(
                "server.quic.{which}_buffer: UDP sockets have {granted} of {wanted} bytes; the system's net.core.{letter}mem_max \
                 allows no more"
            ));
        }
        if wanted == Wanted::Auto && group.steering() == edge_quic::group::Steering::Forward {
            self.warn(
                "server.quic.steering: the kernel does not take the filter; shards forward packets to each other"
                    .into(),
            );
        }
    }

    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// TCP and UDP on one port that is free for both.
    fn any_port(&mut self, addr: SocketAddr, quic: &QuicSockets) -> io::Result<New> {
        // Those that do not do are held until one does: the kernel would offer them again.
        let mut others = Vec::new();
        loop {
            let (actual, fds) = listen_tcp(addr, self.per_shard.len())?;
            match self.udp(actual, quic) {
                Ok(group) => {
                    return Ok(New { actual: ListenAddr::Tcp(actual), name: None, fds, udp: Some(group) });
                }
                Err(e) if e.kind() == io::ErrorKind::AddrInUse && others.len() < PORTS_TRIED => others.push(fds),
                Err(e) => return Err(e),
            }
        }
    }

    /// Answers over TCP may say from now on that there is UDP as well: `rule` has the addresses from `first` on.
    fn announce(&self, rule: &ListenerRule, first: usize) {
        let opened = self.sockets.open.iter().skip(first).filter(|open| open.stream);
        let ports: Vec<u16> = opened.filter_map(|open| Some(open.udp.as_ref()?.local_addr().port())).collect();
        rule.alt_svc.announce(&ports);
    }
}

/// Sockets that were newly opened.
struct New {
    actual: ListenAddr,
    name: Option<SocketName>,
    fds: Vec<OwnedFd>,
    udp: Option<Arc<Group>>,
}

/// Stream sockets: one per shard on TCP, one shared by all otherwise.
fn listen(addr: &ListenAddr, shards: usize) -> io::Result<New> {
    let (actual, name, fds) = match addr {
        ListenAddr::Tcp(addr) => {
            let (addr, fds) = listen_tcp(*addr, shards)?;
            (ListenAddr::Tcp(addr), None, fds)
        }
        ListenAddr::Unix(path) => {
            let (fd, name) = listen::unix(Path::new(path), UNIX_MODE)?.into_parts();
            (addr.clone(), Some(name), share(fd, shards)?)
        }
        ListenAddr::Abstract(name) => (addr.clone(), None, share(listen::abstract_(name)?, shards)?),
    };
    Ok(New { actual, name, fds, udp: None })
}

fn listen_tcp(addr: SocketAddr, shards: usize) -> io::Result<(SocketAddr, Vec<OwnedFd>)> {
    // Our own sockets share the port with each other, and would silently share it with another edge's too.
    listen::probe(addr)?;
    let first = listen::tcp(addr)?;
    let actual = listen::local_addr(&first)?;
    let mut fds = vec![first];
    while fds.len() < shards {
        fds.push(listen::tcp(actual)?);
    }
    Ok((actual, fds))
}

fn share(fd: OwnedFd, shards: usize) -> io::Result<Vec<OwnedFd>> {
    let mut fds = (1..shards).map(|_| fd.try_clone()).collect::<io::Result<Vec<_>>>()?;
    fds.push(fd);
    Ok(fds)
}

/// As the configuration spells it.
pub(super) fn show(addr: &ListenAddr) -> String {
    match addr {
        ListenAddr::Tcp(addr) => addr.to_string(),
        ListenAddr::Unix(path) => format!("unix:{}", path.display()),
        ListenAddr::Abstract(name) => format!("unix:@{}", String::from_utf8_lossy(name)),
    }
}

#[cfg(test)]
mod tests;
