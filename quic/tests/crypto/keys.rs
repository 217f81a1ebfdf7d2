//! Keys that shards share: what one has made, the other one knows.
use super::{
    net::{CLIENT, End, Net},
    pki::{Authority, NAME, client, client_config, server, server_config},
};
use edge_quic::keys::Shared;
use quinn_proto::ConnectionError;

fn reset_token(shared: &Shared, cid: &[u8]) -> Vec<u8> {
    let key = shared.reset();
    let mut token = vec![0; key.signature_len()];
    key.sign(cid, &mut token);
    key.verify(cid, &token).unwrap();
    assert!(key.verify(b"other", &token).is_err());
    token
}

#[test]
fn clones_are_the_same_keys_and_others_are_not() {
    let shared = Shared::new().unwrap();
    let (clone, other) = (shared.clone(), Shared::new().unwrap());
    assert_eq!(reset_token(&shared, b"connection"), reset_token(&clone, b"connection"));
    assert_ne!(reset_token(&shared, b"connection"), reset_token(&shared, b"connectioN"));
    assert_ne!(reset_token(&shared, b"connection"), reset_token(&other, b"connection"));
    assert_eq!(shared.cid(), clone.cid());
    assert_ne!(shared.cid(), other.cid());
    let mut sealed = b"token".to_vec();
    shared.token().aead_from_hkdf(b"random").seal(&mut sealed, b"").unwrap();
    assert_eq!(clone.token().aead_from_hkdf(b"random").open(&mut sealed.clone(), b"").unwrap(), b"token");
    assert!(clone.token().aead_from_hkdf(b"other").open(&mut sealed.clone(), b"").is_err());
    assert!(clone.token().aead_from_hkdf(b"random").open(&mut sealed.clone(), b"more").is_err());
    assert!(other.token().aead_from_hkdf(b"random").open(&mut sealed.clone(), b"").is_err());
    assert!(shared.token().aead_from_hkdf(b"random").open(&mut [], b"").is_err());
}

#[test]
fn another_shard_can_reset_a_connection_that_is_lost() {
    let (authority, shared) = (Authority::new(), Shared::new().unwrap());
    let crypto = server(server_config(&authority));
    for (other, heard) in [(shared.clone(), true), (Shared::new().unwrap(), false)] {
        let mut net = Net::with(End::server(crypto.clone(), &shared));
        let (on_client, _) = net.connect(&client(client_config(&authority, None)));
        net.server = End::server(crypto.clone(), &other);
        net.say(on_client, &[7; 500]);
        net.settle();
        let reset = net.client.lost.iter().any(|(_, why)| matches!(why, ConnectionError::Reset));
        assert_eq!(reset, heard);
    }
}

#[test]
fn a_retry_of_one_shard_is_good_on_another() {
    let (authority, shared) = (Authority::new(), Shared::new().unwrap());
    let crypto = server(server_config(&authority));
    for (other, good) in [(shared.clone(), true), (Shared::new().unwrap(), false)] {
        let mut net = Net::with(End::server(crypto.clone(), &shared));
        net.server.retry = true;
        let number = net.begin(&client(client_config(&authority, None)), NAME);
        net.work();
        for datagram in std::mem::take(&mut net.to_server) {
            net.server.take(&datagram, CLIENT, net.now, &mut net.to_client);
        }
        assert!(net.server.connections.is_empty() && !net.to_client.is_empty());
        net.server = End::server(crypto.clone(), &other);
        net.settle();
        // What cannot be opened counts as no token: the transport parameters then say that there was no Retry.
        assert_eq!(!net.client.connections[&number].is_handshaking() && net.client.lost.is_empty(), good);
    }
}
