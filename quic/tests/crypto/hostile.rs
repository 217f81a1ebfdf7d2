//! Whatever comes, nothing breaks: damaged, cut and invented datagrams, and TLS messages at the wrong time.
use super::{
    net::{CLIENT, End, Net},
    pki::{Authority, NAME, client, client_config, server, server_config},
};
use edge_io::tls::ErrorKind;
use edge_quic::{
    crypto::{VERSION, failure},
    keys::Shared,
};
use proptest::{collection::vec, prelude::any, proptest};
use quinn_proto::{
    ConnectionError, ConnectionId, Side, TransportErrorCode,
    crypto::{ClientConfig as _, ServerConfig as _},
    transport_parameters::TransportParameters,
};
use std::collections::VecDeque;

/// Transport parameters that say nothing.
fn params() -> TransportParameters {
    TransportParameters::read(Side::Client, &mut &[][..]).unwrap()
}

#[test]
fn damaged_and_cut_datagrams_harm_nobody() {
    let authority = Authority::new();
    let (crypto, clients) = (server(server_config(&authority)), client(client_config(&authority, None)));
    let mut net = Net::new(crypto.clone());
    let (number, _) = net.connect(&clients);
    net.say(number, b"something");
    net.settle();
    let recorded = net.sent.clone();
    let mut end = End::server(crypto, &Shared::new().unwrap());
    let mut out = VecDeque::new();
    for datagram in &recorded {
        for at in (0..datagram.len()).step_by(7) {
            let mut damaged = datagram.clone();
            damaged[at] ^= 1 << (at % 8);
            for bytes in [&damaged, &datagram[..at]] {
                end.take(bytes, CLIENT, net.now, &mut out);
                net.server.take(bytes, CLIENT, net.now, &mut out);
            }
        }
        end.work(net.now, &mut out);
        net.server.work(net.now, &mut out);
    }
    net.say(number, b" else");
    net.settle();
    assert_eq!(net.server.received, b"something else", "the connection lives on");
}

proptest! {
    #[test]
    fn invented_datagrams_harm_nobody(first in any::<u8>(), bytes in vec(any::<u8>(), 0..1500), version in any::<bool>()) {
        let authority = Authority::new();
        let mut end = End::server(server(server_config(&authority)), &Shared::new().unwrap());
        let mut datagram = vec![first];
        if version {
            datagram.extend(VERSION.to_be_bytes());
            datagram.extend([8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0]);
        }
        datagram.extend(bytes);
        let mut out = VecDeque::new();
        end.take(&datagram, CLIENT, std::time::Instant::now(), &mut out);
        end.work(std::time::Instant::now(), &mut out);
    }

    #[test]
    fn invented_handshakes_end_with_an_alert(bytes in vec(any::<u8>(), 0..600), kind in 0u8..30) {
        let authority = Authority::new();
        let crypto = server(server_config(&authority));
        let params = params();
        let mut session = crypto.start_session(VERSION, &params);
        let mut message = vec![kind, 0];
        message.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
        message.extend(bytes);
        for piece in message.chunks(100) {
            if let Err(e) = session.read_handshake(piece) {
                assert!(u64::from(e.code) >= 0x100 || e.code == TransportErrorCode::PROTOCOL_VIOLATION);
                assert!(e.reason.len() < 40);
            }
        }
        let mut out = Vec::new();
        assert!(session.write_handshake(&mut out).is_none());
        assert!(session.next_1rtt_keys().is_none() && session.early_crypto().is_none());
        assert!(session.is_handshaking());
        assert!(session.export_keying_material(&mut [0; 8], b"x", b"").is_err());
    }
}

/// Messages between two sessions, without packets: until neither says anything.
fn talk(client: &mut dyn quinn_proto::crypto::Session, server: &mut dyn quinn_proto::crypto::Session) {
    for _ in 0..12 {
        {
            let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
            client.write_handshake(&mut to_server);
            if !to_server.is_empty() {
                server.read_handshake(&to_server).unwrap();
            }
            server.write_handshake(&mut to_client);
            if !to_client.is_empty() {
                client.read_handshake(&to_client).unwrap();
            }
        }
    }
}

#[test]
fn a_client_has_nothing_to_say_after_the_handshake() {
    let authority = Authority::new();
    let params = params();
    let mut client = client(client_config(&authority, None)).start_session(VERSION, NAME, &params).unwrap();
    let mut server = server(server_config(&authority)).start_session(VERSION, &params);
    talk(&mut *client, &mut *server);
    assert!(!client.is_handshaking() && !server.is_handshaking());
    // A KeyUpdate (RFC 9001 6), and nothing that has a meaning.
    for message in [&[24, 0, 0, 1, 0][..], &[0xff; 9]] {
        let e = server.read_handshake(message).unwrap_err();
        assert_eq!(e.code, TransportErrorCode::crypto(10), "unexpected_message");
        let why = ConnectionError::TransportError(e);
        assert_eq!(failure(&why, None).kind, ErrorKind::Protocol);
    }
    assert!(server.next_1rtt_keys().is_some());
}

#[test]
fn a_clients_hello_without_what_quic_needs() {
    // Bytes that are not a message at all, then the server knows why.
    let authority = Authority::new();
    let mut session = server(server_config(&authority)).start_session(VERSION, &params());
    let e = session.read_handshake(&[1, 0, 0, 2, 3, 3]).unwrap_err();
    assert!(u64::from(e.code) > 0x100, "{e}");
    assert_eq!(failure(&ConnectionError::TransportError(e), None).kind, ErrorKind::Protocol);
    assert!(session.handshake_data().unwrap().downcast::<edge_io::tls::Error>().is_ok());
}

#[test]
fn other_versions_have_no_keys() {
    let authority = Authority::new();
    let crypto = server(server_config(&authority));
    let cid = ConnectionId::new(&[1; 8]);
    for version in [0, 2, 0xff00_001d, 0x6b33_43cf, u32::MAX] {
        assert!(crypto.initial_keys(version, &cid).is_err(), "{version:x}");
    }
    let keys = crypto.initial_keys(VERSION, &cid).unwrap();
    assert_eq!(keys.packet.local.tag_len(), 16);
    let client = client(client_config(&authority, None));
    assert!(client.clone().start_session(2, NAME, &params()).is_err());
    assert!(client.clone().start_session(VERSION, "not a name!", &params()).is_err());
    let session = client.start_session(VERSION, NAME, &params()).unwrap();
    assert_eq!(session.initial_keys(&cid, Side::Client).packet.local.tag_len(), 16);
}
