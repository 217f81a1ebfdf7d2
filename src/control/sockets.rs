//! The data listeners' sockets: opened here, before any shard hears of a configuration, so that one which cannot be
//! listened on changes nothing.
use crate::snapshot::{ListenAddr, ListenerRule, Snapshot, command::ShardListener};
use edge_io::listen::{self, SocketName};
use std::{io, net::SocketAddr, os::fd::OwnedFd, path::Path, sync::Arc};

/// Anyone may connect to a data socket, as anyone may to a port.
const UNIX_MODE: u32 = 0o666;

/// What is open.
#[derive(Clone, Debug, Default)]
pub(super) struct Sockets {
    open: Vec<Open>,
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
}

impl Sockets {
    /// Opens what `snapshot` wants and is not open yet.
    ///
    /// # Errors
    /// Every address that cannot be listened on, with the reason.
    pub fn plan(&self, snapshot: &Snapshot, shards: usize) -> Result<Plan, Vec<String>> {
        let mut plan = Plan {
            sockets: Sockets { open: Vec::new(), next_id: self.next_id },
            per_shard: (0..shards).map(|_| Vec::new()).collect(),
        };
        let mut errors = Vec::new();
        for rule in &snapshot.listeners {
            for addr in &rule.address {
                if let Err(e) = plan.add(self, rule, addr) {
                    errors.push(format!("listener {:?}: {}: {e}", &*rule.name, show(addr)));
                }
            }
        }
        if errors.is_empty() { Ok(plan) } else { Err(errors) }
    }

    /// Every open address: the listener's name, and where it really listens.
    pub fn list(&self) -> impl Iterator<Item = (&str, String)> {
        self.open.iter().map(|open| (&*open.listener, show(&open.actual)))
    }

    /// Where `rule` listens on `addr` already, unless an earlier line of the same plan has taken that. An address with
    /// port 0 is a listener's own: another one of the same spelling is another port.
    fn find(&self, rule: &ListenerRule, addr: &ListenAddr, taken: &[Open]) -> Option<&Open> {
        let any_port = matches!(addr, ListenAddr::Tcp(a) if a.port() == 0);
        self.open.iter().find(|open| {
            open.configured == *addr
                && (!any_port || open.listener == rule.name)
                && taken.iter().all(|t| t.id != open.id)
        })
    }
}

impl Plan {
    fn add(&mut self, now: &Sockets, rule: &Arc<ListenerRule>, addr: &ListenAddr) -> io::Result<()> {
        let shards = self.per_shard.len();
        let (open, fds) = match now.find(rule, addr, &self.sockets.open) {
            Some(open) => (Open { listener: rule.name.clone(), ..open.clone() }, Vec::new()),
            None => {
                let (actual, name, fds) = listen(addr, shards)?;
                let id = self.sockets.next_id;
                self.sockets.next_id += 1;
                let (listener, configured) = (rule.name.clone(), addr.clone());
                (Open { id, listener, configured, actual, _name: name.map(Arc::new) }, fds)
            }
        };
        if let (Some(tls), ListenAddr::Tcp(actual)) = (&rule.tls, &open.actual)
            && tls.port() == 0
        {
            tls.set_port(actual.port());
        }
        let mut fds = fds.into_iter();
        for listeners in &mut self.per_shard {
            let (addr, rule) = (open.actual.clone(), rule.clone());
            listeners.push(ShardListener { id: open.id, addr, rule, fd: fds.next() });
        }
        self.sockets.open.push(open);
        Ok(())
    }
}

/// One socket per shard on TCP, one shared by all otherwise.
fn listen(addr: &ListenAddr, shards: usize) -> io::Result<(ListenAddr, Option<SocketName>, Vec<OwnedFd>)> {
    match addr {
        ListenAddr::Tcp(addr) => {
            let (addr, fds) = listen_tcp(*addr, shards)?;
            Ok((ListenAddr::Tcp(addr), None, fds))
        }
        ListenAddr::Unix(path) => {
            let (fd, name) = listen::unix(Path::new(path), UNIX_MODE)?.into_parts();
            Ok((addr.clone(), Some(name), share(fd, shards)?))
        }
        ListenAddr::Abstract(name) => Ok((addr.clone(), None, share(listen::abstract_(name)?, shards)?)),
    }
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
mod tests {
    use super::*;
    use crate::{config, observe::stats::StatsRegistry, snapshot, upstream::Registry};

    fn snapshot(listeners: &[(&str, &[&str])]) -> Snapshot {
        let mut text = "version = 1\n".to_owned();
        for (name, addresses) in listeners {
            text += &format!("[[listener]]\nname = {name:?}\naddress = {addresses:?}\n");
        }
        text += "[[route]]\nid = \"r\"\nrespond = { status = 204 }\n";
        let config = config::parse(&text, Path::new("test.toml")).unwrap_or_else(|e| panic!("{e}"));
        snapshot::compile(&config, &Registry::new(), &StatsRegistry::default(), 1).unwrap_or_else(|e| panic!("{e}"))
    }

    fn new_fds(plan: &Plan) -> Vec<usize> {
        plan.per_shard.iter().map(|s| s.iter().filter(|l| l.fd.is_some()).count()).collect()
    }

    #[test]
    fn shards_share_the_port_that_zero_became_and_keep_it() {
        let snap = snapshot(&[("a", &["127.0.0.1:0"]), ("b", &["127.0.0.1:0"])]);
        let first = Sockets::default().plan(&snap, 3).unwrap();
        assert_eq!(new_fds(&first), [2, 2, 2]);
        let ports: Vec<SocketAddr> =
            first.per_shard[0].iter().map(|l| listen::local_addr(l.fd.as_ref().unwrap()).unwrap()).collect();
        assert_ne!(ports[0], ports[1]);
        for shard in &first.per_shard {
            for (l, port) in shard.iter().zip(&ports) {
                assert_eq!(listen::local_addr(l.fd.as_ref().unwrap()).unwrap(), *port);
                assert_eq!(l.addr, ListenAddr::Tcp(*port));
            }
        }
        let again = first.sockets.plan(&snapshot(&[("b", &["127.0.0.1:0"])]), 3).unwrap();
        assert_eq!(new_fds(&again), [0, 0, 0]);
        assert_eq!(again.per_shard[0][0].id, first.per_shard[0][1].id);
        assert_eq!(again.sockets.list().collect::<Vec<_>>(), [("b", ports[1].to_string())]);
    }

    #[test]
    fn a_renamed_listener_keeps_its_socket() {
        let free = listen::local_addr(&listen::tcp("127.77.0.1:0".parse().unwrap()).unwrap()).unwrap().to_string();
        let first = Sockets::default().plan(&snapshot(&[("a", &[&free])]), 1).unwrap();
        let again = first.sockets.plan(&snapshot(&[("z", &[&free])]), 1).unwrap();
        assert_eq!(new_fds(&again), [0]);
        assert_eq!(&*again.per_shard[0][0].rule.name, "z");
    }

    #[test]
    fn an_address_in_use_is_named_and_nothing_stays_open() {
        let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = holder.local_addr().unwrap().to_string();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let unix = format!("unix:{}", path.display());
        let errors =
            Sockets::default().plan(&snapshot(&[("a", &[&unix, &taken]), ("b", &["192.0.2.1:1"])]), 2).unwrap_err();
        assert!(!path.exists());
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].contains("\"a\"") && errors[0].contains(&taken), "{errors:?}");
    }

    #[test]
    fn another_edge_on_the_same_port_is_noticed() {
        let other = listen::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listen::local_addr(&other).unwrap().to_string();
        assert!(Sockets::default().plan(&snapshot(&[("a", &[&addr])]), 1).is_err());
    }

    #[test]
    fn a_unix_name_lives_as_long_as_a_plan_uses_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let unix = format!("unix:{}", path.display());
        let one = Sockets::default().plan(&snapshot(&[("a", &[&unix])]), 2).unwrap();
        assert_eq!(new_fds(&one), [1, 1]);
        let two = one.sockets.plan(&snapshot(&[("a", &[&unix])]), 2).unwrap();
        drop(one);
        assert!(path.exists());
        let none = two.sockets.plan(&snapshot(&[("a", &["unix:@edge-test-names"])]), 2).unwrap();
        drop(two);
        assert!(!path.exists());
        assert_eq!(none.sockets.list().next().unwrap().1, "unix:@edge-test-names");
    }
}
