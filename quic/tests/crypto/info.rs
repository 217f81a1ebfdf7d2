//! What a handshake agreed on is told, on both sides, as over TCP.
use super::{
    net::{CLIENT, Net, SERVER, say},
    pki::{Authority, NAME, client, client_config, server, server_config, server_config_with, small_client_config},
};
use edge_io::tls::{Alpn, EarlyData};
use edge_quic::crypto::info;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use std::sync::Arc;

#[test]
fn a_full_handshake_tells_everything() {
    let authority = Authority::new();
    let mut net = Net::new(server(server_config(&authority)));
    let number = net.begin(&client(client_config(&authority, None)), "Edge.Example");
    assert!(info(&net.client.connections[&number]).is_none(), "nothing is known yet");
    net.settle();
    let (on_client, on_server) = (net.client.info(number), net.server.info(0));
    for told in [&on_client, &on_server] {
        assert_eq!(told.version, "TLSv1.3");
        assert_eq!(told.suite, "TLS_AES_256_GCM_SHA384");
        assert_eq!(told.group, "X25519MLKEM768");
        assert_eq!(told.alpn, Alpn::H3);
        assert!(!told.resumed);
        assert_eq!(told.early_data, EarlyData::None);
        assert_eq!(told.client_certificate, None);
    }
    assert_eq!(on_server.server_name.as_deref(), Some("edge.example"));
    assert_eq!(on_client.server_name, None);
}

#[test]
fn suites_and_groups_are_those_of_the_configuration() {
    let authority = Authority::new();
    for (suite, name) in [
        (aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256"),
        (aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256"),
    ] {
        let mut config = server_config(&authority);
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites = vec![suite];
        provider.kx_groups = vec![kx_group::SECP256R1];
        let builder = rustls::ServerConfig::builder_with_provider(Arc::new(provider));
        let mut narrow = builder
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(config.cert_resolver.clone());
        narrow.alpn_protocols = std::mem::take(&mut config.alpn_protocols);
        let mut net = Net::new(server(narrow));
        // The client's first share is of another group: the server asks for this one (HelloRetryRequest).
        let (on_client, on_server) = net.connect(&client(client_config(&authority, None)));
        for told in [net.client.info(on_client), net.server.info(on_server)] {
            assert_eq!((told.suite, told.group), (name, "secp256r1"));
        }
        net.say(on_client, b"over this suite");
        net.settle();
        assert_eq!(net.server.received, b"over this suite");
    }
}

#[test]
fn a_ticket_resumes_a_session() {
    let authority = Authority::new();
    let crypto = client(client_config(&authority, None));
    let mut net = Net::new(server(server_config(&authority)));
    for resumed in [false, true, true] {
        let (on_client, on_server) = net.connect(&crypto);
        for told in [net.client.info(on_client), net.server.info(on_server)] {
            assert_eq!(told.resumed, resumed);
            assert_eq!(told.group, "X25519MLKEM768", "a resumed session has keys of its own");
            assert_eq!(told.early_data, EarlyData::None);
        }
        assert_eq!(net.server.info(on_server).server_name.as_deref(), Some(NAME));
    }
}

#[test]
fn the_first_flight_is_larger_than_a_packet_and_may_come_in_any_order() {
    let authority = Authority::new();
    let crypto = client(client_config(&authority, None));
    for reversed in [false, true] {
        let mut net = Net::new(server(server_config(&authority)));
        let number = net.begin(&crypto, NAME);
        net.work();
        assert!(net.to_server.len() >= 2, "the key share alone has 1,216 bytes");
        assert!(net.to_server.iter().all(|datagram| datagram.len() >= 1200));
        if reversed {
            net.to_server.make_contiguous().reverse();
        }
        net.settle();
        assert_eq!(net.server.info(0).group, "X25519MLKEM768");
        net.say(number, b"hello");
        net.settle();
        assert_eq!(net.server.received, b"hello");
    }
}

#[test]
fn all_bytes_of_the_first_packet_count_for_what_may_be_sent() {
    let authority = Authority::new();
    let mut net = Net::new(server(server_config_with(authority.large_server(), None)));
    let number = net.begin(&client(small_client_config(&authority)), NAME);
    net.work();
    assert_eq!(net.to_server.len(), 1);
    let hello = net.to_server.pop_front().unwrap();
    net.server.take(&hello, CLIENT, net.now, &mut net.to_client);
    net.work();
    // RFC 9000 8.1: three times what came, most of which is padding. The whole flight fits.
    let sent: usize = net.to_client.iter().map(Vec::len).sum();
    assert!((2500..=3 * hello.len()).contains(&sent), "{sent}");
    for datagram in std::mem::take(&mut net.to_client) {
        net.client.take(&datagram, SERVER, net.now, &mut net.to_server);
    }
    assert!(!net.client.connections[&number].is_handshaking(), "after one round trip");
    net.settle();
    assert_eq!(net.server.info(0).group, "X25519");
}

#[test]
fn what_was_agreed_stays_known_when_the_connection_lives_on() {
    let authority = Authority::new();
    let mut net = Net::new(server(server_config(&authority)));
    let (on_client, on_server) = net.connect(&client(client_config(&authority, None)));
    let before = net.server.info(on_server);
    for text in ["one", "two"] {
        net.say(on_client, text.as_bytes());
        say(net.server.connections.get_mut(&on_server).unwrap(), text.as_bytes());
        net.settle();
    }
    assert_eq!(net.server.info(on_server), before);
    assert_eq!((net.server.received.as_slice(), net.client.received.as_slice()), (&b"onetwo"[..], &b"onetwo"[..]));
}
