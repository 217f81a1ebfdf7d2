//! What opens, what stays and what goes, without shards.
use super::*;
use crate::{config, observe::stats::StatsRegistry, snapshot, upstream::Registry};

fn snapshot(listeners: &[(&str, &[&str])]) -> Snapshot {
    with_protocols(
        &listeners.iter().map(|(name, addresses)| (*name, *addresses, &["h1", "h2"][..])).collect::<Vec<_>>(),
    )
}

/// Those with `h3` have TLS.
fn with_protocols(listeners: &[(&str, &[&str], &[&str])]) -> Snapshot {
    let mut text = "version = 1\n".to_owned();
    for (name, addresses, protocols) in listeners {
        text += &format!("[[listener]]\nname = {name:?}\naddress = {addresses:?}\nprotocols = {protocols:?}\n");
        if protocols.contains(&"h3") {
            text += "tls = \"self-signed\"\n";
        }
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

const ALL: &[&str] = &["h1", "h2", "h3"];
const TCP: &[&str] = &["h1", "h2"];
const H3: &[&str] = &["h3"];

/// One listener on one address, with these protocols.
fn one(address: &str, protocols: &[&str]) -> Snapshot {
    with_protocols(&[("a", &[address], protocols)])
}

/// The only listener of the first shard.
fn only(plan: &Plan) -> &ShardListener {
    let [listener] = &plan.per_shard[0][..] else { panic!("{plan:?}") };
    listener
}

fn group(plan: &Plan) -> Arc<Group> {
    only(plan).udp.clone().expect("UDP sockets")
}

#[test]
fn udp_has_the_port_of_tcp_and_one_group_for_all_shards() {
    for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
        let plan = Sockets::default().plan(&one(address, ALL), 3).unwrap();
        assert_eq!(new_fds(&plan), [1, 1, 1]);
        let group = group(&plan);
        assert_eq!(only(&plan).addr, ListenAddr::Tcp(group.local_addr()));
        assert_eq!(group.shards(), 3);
        assert!(plan.per_shard.iter().all(|s| Arc::ptr_eq(s[0].udp.as_ref().unwrap(), &group)));
        let port = group.local_addr().port();
        assert_ne!(port, 0);
        let (tcp, udp) = (show(&only(&plan).addr), format!("udp:{}", group.local_addr()));
        assert_eq!(plan.sockets.list().collect::<Vec<_>>(), [("a", tcp), ("a", udp)]);
    }
}

#[test]
fn a_listener_that_keeps_its_address_keeps_its_udp_sockets() {
    let first = Sockets::default().plan(&one("127.0.0.1:0", ALL), 2).unwrap();
    let again = first.sockets.plan(&one("127.0.0.1:0", ALL), 2).unwrap();
    assert_eq!(new_fds(&again), [0, 0]);
    assert_eq!(only(&again).id, only(&first).id);
    assert!(Arc::ptr_eq(&group(&again), &group(&first)));
    let address = group(&first).local_addr().to_string();
    let fixed = Sockets::default();
    drop((first, again));
    let first = fixed.plan(&one(&address, ALL), 2).unwrap();
    let renamed = first.sockets.plan(&with_protocols(&[("z", &[&address], ALL)]), 2).unwrap();
    assert_eq!(new_fds(&renamed), [0, 0]);
    assert!(Arc::ptr_eq(&group(&renamed), &group(&first)));
}

#[test]
fn http3_comes_and_goes_beside_tcp_which_stays() {
    let without = Sockets::default().plan(&one("127.0.0.1:0", TCP), 2).unwrap();
    assert!(only(&without).udp.is_none());
    let with = without.sockets.plan(&one("127.0.0.1:0", ALL), 2).unwrap();
    assert_eq!((new_fds(&with), only(&with).id), (vec![0, 0], only(&without).id));
    assert_eq!(only(&with).addr, ListenAddr::Tcp(group(&with).local_addr()));
    let without = with.sockets.plan(&one("127.0.0.1:0", TCP), 2).unwrap();
    assert_eq!((new_fds(&without), only(&without).id), (vec![0, 0], only(&with).id));
    assert!(only(&without).udp.is_none());
    assert_eq!(without.sockets.list().count(), 1);
}

#[test]
fn while_connections_drain_their_udp_sockets_are_used_again() {
    let first = Sockets::default().plan(&one("127.0.0.1:0", ALL), 2).unwrap();
    let draining = group(&first); // as a shard holds it
    let (id, address) = (draining.id(), draining.local_addr());
    for gone in [one("127.0.0.1:0", TCP), snapshot(&[("other", &["127.0.0.1:0"])])] {
        let without = first.sockets.plan(&gone, 2).unwrap();
        // another reload between changes nothing
        let without = without.sockets.plan(&gone, 2).unwrap();
        let again = without.sockets.plan(&one(&address.to_string(), H3), 2).unwrap();
        assert!(Arc::ptr_eq(&group(&again), &draining));
    }
    let without = first.sockets.plan(&snapshot(&[("other", &["127.0.0.1:0"])]), 2).unwrap();
    drop((first, draining));
    let again = without.sockets.plan(&one(&address.to_string(), H3), 2).unwrap();
    assert_eq!(group(&again).local_addr(), address);
    assert_ne!(group(&again).id(), id, "nobody held them: they are new");
}

#[test]
fn http3_alone_has_no_tcp_socket_until_another_protocol_needs_one() {
    let alone = Sockets::default().plan(&one("127.0.0.1:0", H3), 2).unwrap();
    let address = group(&alone).local_addr();
    assert_eq!((new_fds(&alone), &only(&alone).addr), (vec![0, 0], &ListenAddr::Tcp(address)));
    assert_eq!(alone.sockets.list().collect::<Vec<_>>(), [("a", format!("udp:{address}"))]);
    assert!(std::net::TcpStream::connect(address).is_err());
    let same = alone.sockets.plan(&one("127.0.0.1:0", H3), 2).unwrap();
    assert_eq!(only(&same).id, only(&alone).id);
    let both = alone.sockets.plan(&one("127.0.0.1:0", ALL), 2).unwrap();
    assert_eq!((new_fds(&both), &only(&both).addr), (vec![1, 1], &ListenAddr::Tcp(address)));
    assert_ne!(only(&both).id, only(&alone).id, "a stream socket that shards do not know");
    assert!(Arc::ptr_eq(&group(&both), &group(&alone)));
    let back = both.sockets.plan(&one("127.0.0.1:0", H3), 2).unwrap();
    assert_eq!(new_fds(&back), [0, 0]);
    assert_ne!(only(&back).id, only(&both).id, "shards close the stream socket that they know");
    assert!(Arc::ptr_eq(&group(&back), &group(&alone)));
}

#[test]
fn a_udp_port_in_use_is_named_and_nothing_stays_open() {
    let holder = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let errors = Sockets::default().plan(&one(&taken.to_string(), ALL), 2).unwrap_err();
    assert!(
        errors[0].contains("\"a\"") && errors[0].contains("UDP") && errors[0].contains(&taken.to_string()),
        "{errors:?}"
    );
    assert!(listen::probe(taken).is_ok(), "TCP is closed again");
    let first = Sockets::default().plan(&one("127.0.0.1:0", TCP), 1).unwrap();
    let ListenAddr::Tcp(addr) = only(&first).addr else { panic!("not TCP") };
    let _holder = std::net::UdpSocket::bind(addr).unwrap();
    assert!(first.sockets.plan(&one("127.0.0.1:0", ALL), 1).is_err());
    assert!(first.sockets.plan(&one("127.0.0.1:0", TCP), 1).is_ok());
}

#[test]
fn an_address_that_our_own_connections_still_use_is_explained() {
    let first = Sockets::default().plan(&one("0.0.0.0:0", H3), 1).unwrap();
    let draining = group(&first);
    let none = first.sockets.plan(&snapshot(&[("other", &["127.0.0.1:0"])]), 1).unwrap();
    let narrow = format!("127.0.0.1:{}", draining.local_addr().port());
    let errors = none.sockets.plan(&one(&narrow, H3), 1).unwrap_err();
    assert!(errors[0].contains(&draining.local_addr().to_string()), "{errors:?}");
}

#[test]
fn answers_speak_of_http3_while_it_is_there() {
    let value = |snapshot: &Snapshot, plan: &Plan| {
        let ListenAddr::Tcp(addr) = plan.per_shard[0].last().unwrap().addr else { panic!("not TCP") };
        let value = snapshot.listeners.last().unwrap().alt_svc.at(addr.port());
        value.map(|value| String::from_utf8_lossy(value).replace(&addr.port().to_string(), "PORT"))
    };
    let all = with_protocols(&[("plain", &["127.0.0.1:0"], TCP), ("a", &["127.0.0.1:0"], ALL)]);
    let first = Sockets::default().plan(&all, 1).unwrap();
    assert_eq!(value(&all, &first).as_deref(), Some("h3=\":PORT\"; ma=86400"));
    let ListenAddr::Tcp(plain) = first.per_shard[0][0].addr else { panic!("not TCP") };
    assert!(all.listeners.iter().all(|l| l.alt_svc.at(plain.port()).is_none()), "not where it is not spoken");
    for (protocols, said) in [(ALL, true), (TCP, false), (H3, false)] {
        let snap = one("127.0.0.1:0", protocols);
        let plan = first.sockets.plan(&snap, 1).unwrap();
        assert_eq!(value(&snap, &plan).is_some(), said, "{protocols:?}");
    }
}
