//! Certificates of clients.
use crate::tls::{
    ClientAuth, ListenerConfig, ListenerTls, Store,
    testing::{Authority, Files, authority, client_params, handshake, issue, revoke},
};
use rcgen::KeyPair;
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::sync::Arc;

/// A client that trusts `root` and shows a certificate by `issuer` with this serial number.
fn client(root: &Authority, shows: Option<(&Authority, u64)>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(root.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    Arc::new(match shows {
        None => builder.with_no_client_auth(),
        Some((issuer, serial)) => {
            let key = KeyPair::generate().unwrap();
            let cert = issue(issuer, client_params("somebody", serial), &key);
            let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    })
}

struct House {
    files: Files,
    root: Authority,
    clients: Authority,
    store: Store,
}

impl House {
    fn new() -> House {
        let house = House {
            files: Files::new(),
            root: authority("root"),
            clients: authority("clients"),
            store: Store::default(),
        };
        house.files.write("ca.pem", &house.clients.pem());
        house.files.issued("a", &house.root, &["a.example"]);
        house
    }

    fn config(&self, client_auth: ClientAuth) -> ListenerConfig {
        let asks = client_auth != ClientAuth::Off;
        ListenerConfig {
            certificates: vec![crate::tls::Pair { cert: self.files.path("a.pem"), key: self.files.path("a.key") }],
            client_auth,
            client_ca: asks.then(|| self.files.path("ca.pem")),
            h1: true,
            max_handshakes: 1,
            ..ListenerConfig::default()
        }
    }

    fn made(&self, config: &ListenerConfig) -> ListenerTls {
        self.store.listener(config).unwrap_or_else(|problems| panic!("{problems:?}")).0
    }
}

#[test]
fn who_is_let_in() {
    let house = House::new();
    let stranger = authority("clients"); // another one of the same name
    let (good, bad) = (client(&house.root, Some((&house.clients, 7))), client(&house.root, Some((&stranger, 7))));
    let without = client(&house.root, None);
    for (auth, lets_in_without) in [(ClientAuth::Optional, true), (ClientAuth::Required, false)] {
        let tls = house.made(&house.config(auth));
        let done = handshake(&good, &tls.server, "a.example").unwrap();
        let shown = done.server.peer_certificates().unwrap()[0].to_vec();
        assert_eq!(crate::tls::subject(&shown).as_deref(), Some("CN=somebody"));
        assert!(handshake(&bad, &tls.server, "a.example").is_err(), "{auth:?}");
        assert_eq!(handshake(&without, &tls.server, "a.example").is_ok(), lets_in_without, "{auth:?}");
    }
}

#[test]
fn the_revoked_are_not_let_in_and_do_not_come_back_by_a_ticket() {
    let house = House::new();
    house.files.write("crl.pem", &revoke(&house.clients, &[8]));
    let config = ListenerConfig { client_crl: vec![house.files.path("crl.pem")], ..house.config(ClientAuth::Required) };
    let tls = house.made(&config);
    let (seven, eight) =
        (client(&house.root, Some((&house.clients, 7))), client(&house.root, Some((&house.clients, 8))));
    assert!(handshake(&eight, &tls.server, "a.example").is_err());
    handshake(&seven, &tls.server, "a.example").unwrap();
    let again = handshake(&seven, &tls.server, "a.example").unwrap();
    assert_eq!(again.server.handshake_kind(), Some(HandshakeKind::Resumed));
    assert!(again.server.peer_certificates().is_some(), "a resumed session knows its client");

    house.files.write("crl.pem", &revoke(&house.clients, &[7]));
    let done = house.store.refresh(&tls);
    assert_eq!((done.changed.len(), done.problems.len()), (1, 0), "{done:?}");
    assert!(handshake(&seven, &tls.server, "a.example").is_err(), "not even with a ticket from before");
    handshake(&eight, &tls.server, "a.example").unwrap();

    house.files.write("crl.pem", "no list");
    for told in [1, 0] {
        let done = house.store.refresh(&tls);
        assert_eq!((done.changed.len(), done.problems.len(), house.store.failures()), (0, told, 1), "{done:?}");
    }
    assert!(handshake(&seven, &tls.server, "a.example").is_err());
    handshake(&eight, &tls.server, "a.example").unwrap();
}

#[test]
fn a_ticket_of_a_listener_that_asks_for_nothing_opens_no_other() {
    let house = House::new();
    let (open, closed) = (house.made(&house.config(ClientAuth::Off)), house.made(&house.config(ClientAuth::Required)));
    let without = client(&house.root, None);
    handshake(&without, &open.server, "a.example").unwrap();
    let again = handshake(&without, &open.server, "a.example").unwrap();
    assert_eq!(again.server.handshake_kind(), Some(HandshakeKind::Resumed));
    assert!(handshake(&without, &closed.server, "a.example").is_err());
}

#[test]
fn files_that_say_nothing_of_clients_are_mistakes() {
    let house = House::new();
    house.files.write("ca.pem", "");
    let problems = house.store.listener(&house.config(ClientAuth::Required)).err().unwrap();
    assert!(problems[0].message.contains("ca.pem: holds no certificate"), "{problems:?}");
    house.files.write("ca.pem", &house.clients.pem());
    for bad in ["", "\u{30}not DER"] {
        let config = ListenerConfig {
            client_crl: vec![house.files.write("crl.pem", bad)],
            ..house.config(ClientAuth::Required)
        };
        let problems = house.store.listener(&config).err().unwrap();
        assert!(problems[0].message.contains("crl.pem: "), "{problems:?}");
    }
}
