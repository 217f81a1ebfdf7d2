//! Early data (0-RTT): taken once, on whatever shard, and only where it is wanted.
use super::{
    net::{CLIENT, End, Net},
    pki::{Authority, NAME, client, client_config, early_config, server, server_config},
};
use edge_io::tls::EarlyData;
use edge_quic::{
    crypto::{ClientCrypto, ServerCrypto, Sessions, Storage},
    keys::Shared,
};
use std::{collections::VecDeque, sync::Arc, thread};

struct House {
    authority: Authority,
    storage: Arc<Storage>,
    server: Arc<ServerCrypto>,
    client: Arc<ClientCrypto>,
}

/// A client that has a session with a server that takes early data.
fn house() -> House {
    let authority = Authority::new();
    let sessions = Sessions::new(64);
    let (config, storage) = early_config(&authority, &sessions);
    let (server, client) = (server(config), client(client_config(&authority, None)));
    let mut net = Net::new(server.clone());
    net.connect(&client);
    assert!(sessions.bytes() > 0);
    House { authority, storage, server, client }
}

/// A client says something before the handshake, to this server.
fn early(house: &House, server: Arc<ServerCrypto>) -> (Net, usize) {
    let mut net = Net::new(server);
    let number = net.begin(&house.client, NAME);
    assert!(net.client.connections[&number].has_0rtt(), "there is a session for it");
    net.say(number, b"early");
    (net, number)
}

#[test]
fn early_data_is_taken_before_the_handshake_is_through() {
    let house = house();
    let (mut net, number) = early(&house, house.server.clone());
    net.work();
    for datagram in std::mem::take(&mut net.to_server) {
        net.server.take(&datagram, CLIENT, net.now, &mut net.to_client);
    }
    net.work();
    assert_eq!(net.server.received, b"early");
    assert!(net.server.connections[&0].is_handshaking());
    assert_eq!(net.server.info(0).early_data, EarlyData::Accepted);
    net.settle();
    assert!(net.client.connections[&number].accepted_0rtt());
    for told in [net.client.info(number), net.server.info(0)] {
        assert!(told.resumed);
        assert_eq!(told.early_data, EarlyData::Accepted);
    }
    assert_eq!(net.server.received, b"early", "once");
}

#[test]
fn each_connection_brings_a_session_for_the_next() {
    let house = house();
    for _ in 0..3 {
        let (mut net, number) = early(&house, house.server.clone());
        net.settle();
        assert!(net.client.connections[&number].accepted_0rtt());
        assert_eq!(net.server.received, b"early");
    }
}

#[test]
fn what_is_played_again_is_not_taken_on_any_shard() {
    let house = house();
    let (mut net, _) = early(&house, house.server.clone());
    net.settle();
    assert_eq!(net.server.received, b"early");
    let recorded = net.sent.clone();
    for _ in 0..2 {
        let mut other = End::server(house.server.clone(), &Shared::new().unwrap());
        let mut out = VecDeque::new();
        for datagram in &recorded {
            other.take(datagram, CLIENT, net.now, &mut out);
            other.work(net.now, &mut out);
        }
        assert_eq!(other.received, b"");
        assert!(!out.is_empty(), "the handshake goes on, for who has the keys");
        let told = other.info(0);
        assert_eq!((told.early_data, told.resumed), (EarlyData::Rejected, false));
    }
}

#[test]
fn of_two_shards_at_once_one_takes_it() {
    for _ in 0..20 {
        let house = house();
        let (mut net, _) = early(&house, house.server.clone());
        net.work();
        let flight: Vec<Vec<u8>> = net.to_server.drain(..).collect();
        let (now, barrier) = (net.now, std::sync::Barrier::new(4));
        let taken: usize = thread::scope(|scope| {
            let shard = || {
                let mut end = End::server(house.server.clone(), &Shared::new().unwrap());
                let mut out = VecDeque::new();
                barrier.wait();
                for datagram in &flight {
                    end.take(datagram, CLIENT, now, &mut out);
                    end.work(now, &mut out);
                }
                usize::from(end.received == b"early")
            };
            let shards: Vec<_> = (0..4).map(|_| scope.spawn(shard)).collect();
            shards.into_iter().map(|shard| shard.join().unwrap()).sum()
        });
        assert_eq!(taken, 1, "shards that have taken it");
    }
}

/// The client sends early, `server` does not take it, and everything arrives after the handshake.
fn not_taken(house: &House, server: Arc<ServerCrypto>) {
    let (mut net, number) = early(house, server);
    net.settle();
    assert!(!net.client.connections[&number].accepted_0rtt());
    assert!(!net.client.connections[&number].is_handshaking());
    for told in [net.client.info(number), net.server.info(0)] {
        assert_eq!(told.early_data, EarlyData::Rejected);
    }
    assert_eq!(net.server.received, b"");
    net.say(number, b"again");
    net.settle();
    assert_eq!(net.server.received, b"again");
}

#[test]
fn a_server_that_does_not_take_early_data_goes_on_with_the_handshake() {
    let house = house();
    not_taken(&house, server(server_config(&house.authority)));
}

#[test]
fn after_a_change_of_demands_or_limits_sessions_from_before_are_worth_nothing() {
    let house = house();
    house.storage.demand(2);
    not_taken(&house, house.server.clone());
    // The session that this handshake left is from after the change.
    let (mut net, number) = early(&house, house.server.clone());
    net.settle();
    assert!(net.client.connections[&number].accepted_0rtt());
}

#[test]
fn a_client_that_may_not_does_not_try() {
    let house = house();
    let mut config = client_config(&house.authority, None);
    config.enable_early_data = false;
    let crypto = client(config);
    let mut net = Net::new(house.server.clone());
    net.connect(&crypto);
    let number = net.begin(&crypto, NAME);
    assert!(!net.client.connections[&number].has_0rtt());
    net.settle();
    assert_eq!(net.client.info(number).early_data, EarlyData::None);
    assert!(net.client.info(number).resumed);
}

#[test]
fn memory_is_bounded_and_what_is_used_is_given_back() {
    use rustls::server::StoresServerSessions as _;
    let name = |n: u64| {
        let mut name = vec![7; 32];
        name[..8].copy_from_slice(&n.to_le_bytes());
        name
    };
    let sessions = Sessions::new(32);
    let storage = Storage::new(sessions.clone(), 0);
    for n in 0..10_000 {
        storage.put(name(n), vec![0; 900]);
    }
    assert!(sessions.bytes() <= 32 * 512, "{}", sessions.bytes());
    assert!(!storage.put(name(1), vec![0; 1 << 20]), "too large");
    assert!(!storage.put(vec![1; 31], vec![0]), "not a name");
    for n in 0..10_000 {
        storage.take(&name(n));
        assert_eq!(storage.take(&name(n)), None);
    }
    assert_eq!(sessions.bytes(), 0);
    assert!(storage.put(name(5), vec![9; 100]));
    assert_eq!(storage.get(&name(5)), None, "looking is not taking");
    assert_eq!(storage.take(&name(37)), None, "the same place, another name");
    assert_eq!(storage.take(&name(5)), Some(vec![9; 100]));
    assert_eq!(storage.take(&[]), None);
}
