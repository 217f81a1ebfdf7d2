//! What clients get over QUIC: the same as over TCP, and nothing of what it must not have.
use crate::tls::{
    ClientAuth, ListenerConfig, ListenerTls, MinVersion, Pair, Place, Store,
    testing::{Authority, Files, authority, client_params, handshake, issue},
};
use rcgen::KeyPair;
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    quic::{ClientConnection, Connection, KeyChange, ServerConnection, Version},
};
use std::sync::Arc;

struct House {
    files: Files,
    root: Authority,
    clients: Authority,
    store: Store,
}

impl House {
    fn new() -> House {
        let (root, clients) = (authority("root"), authority("clients"));
        let house = House { files: Files::new(), root, clients, store: Store::default() };
        house.files.write("ca.pem", &house.clients.pem());
        house.files.issued("a", &house.root, &["a.example"]);
        house
    }

    fn config(&self) -> ListenerConfig {
        ListenerConfig {
            certificates: vec![Pair { cert: self.files.path("a.pem"), key: self.files.path("a.key") }],
            h1: true,
            h2: true,
            h3: true,
            max_handshakes: 1,
            ..ListenerConfig::default()
        }
    }

    fn made(&self, config: &ListenerConfig) -> ListenerTls {
        self.store.listener(config).unwrap_or_else(|problems| panic!("{problems:?}")).0
    }

    fn client(&self, shows: Option<&Authority>, alpn: &str) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let mut config = match shows {
            None => builder.with_no_client_auth(),
            Some(issuer) => {
                let key = KeyPair::generate().unwrap();
                let cert = issue(issuer, client_params("somebody", 7), &key);
                let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![alpn.into()];
        config.enable_early_data = true;
        Arc::new(config)
    }
}

/// What the sides know after a handshake over QUIC.
struct Done {
    client: Connection,
    server: Connection,
    /// Whether the client could send early.
    tried: bool,
    /// Whether the server took it.
    taken: bool,
}

impl Done {
    fn resumed(&self) -> bool {
        self.server.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

/// Carries what `from` says at each level to `to`.
fn carry(from: &mut Connection, to: &mut Connection) -> Result<(), rustls::Error> {
    loop {
        let mut said = Vec::new();
        let change: Option<KeyChange> = from.write_hs(&mut said);
        if !said.is_empty() {
            to.read_hs(&said)?;
        }
        if said.is_empty() && change.is_none() {
            return Ok(());
        }
    }
}

fn over_quic(client: &Arc<ClientConfig>, tls: &ListenerTls) -> Result<Done, rustls::Error> {
    let name = ServerName::try_from("a.example").unwrap();
    let config = tls.quic().expect("it speaks h3").config().clone();
    let mut client = Connection::from(ClientConnection::new(client.clone(), Version::V1, name, vec![]).unwrap());
    let mut server = Connection::from(ServerConnection::new(config, Version::V1, vec![]).unwrap());
    let tried = client.zero_rtt_keys().is_some();
    carry(&mut client, &mut server)?;
    let taken = server.zero_rtt_keys().is_some();
    for _ in 0..3 {
        carry(&mut server, &mut client)?;
        carry(&mut client, &mut server)?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(Done { client, server, tried, taken })
}

#[test]
fn only_a_listener_that_speaks_h3_has_quic() {
    let house = House::new();
    assert!(house.made(&ListenerConfig { h3: false, ..house.config() }).quic().is_none());
    let tls = house.made(&house.config());
    let done = over_quic(&house.client(None, "h3"), &tls).unwrap();
    assert_eq!(done.client.alpn_protocol(), Some(&b"h3"[..]));
    assert_eq!(done.server.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    for wrong in ["h2", "http/1.1"] {
        assert!(over_quic(&house.client(None, wrong), &tls).is_err(), "{wrong} is not spoken over QUIC");
    }
    let over_tcp = handshake(&house.client(None, "h2"), &tls.server, "a.example").unwrap();
    assert_eq!(over_tcp.server.alpn_protocol(), Some(&b"h2"[..]));
    assert!(handshake(&house.client(None, "h3"), &tls.server, "a.example").is_err(), "h3 is not spoken over TCP");
}

#[test]
fn ciphers_must_have_one_for_quic() {
    let house = House::new();
    let old = ListenerConfig { ciphers: vec!["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"], ..house.config() };
    let problems = house.store.listener(&old).expect_err("QUIC has no suite");
    assert_eq!((problems.len(), problems[0].place), (1, Place::Table));
    assert!(problems[0].message.contains("TLS 1.3 only"), "{problems:?}");
    assert!(problems[0].help.contains("TLS_AES_128_GCM_SHA256"), "{problems:?}");
    house.made(&ListenerConfig { h3: false, ..old });
    for (min_version, ciphers) in [
        (MinVersion::Tls13, vec!["TLS_CHACHA20_POLY1305_SHA256"]),
        (MinVersion::Tls12, vec!["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"]),
    ] {
        let wanted = *ciphers.last().unwrap();
        let tls = house.made(&ListenerConfig { min_version, ciphers, ..house.config() });
        let suite = over_quic(&house.client(None, "h3"), &tls).unwrap().server.negotiated_cipher_suite().unwrap();
        assert_eq!(suite.suite().as_str().unwrap().replace("TLS13", "TLS"), wanted);
    }
}

#[test]
fn a_certificate_that_is_replaced_is_shown_over_quic_too() {
    let house = House::new();
    let (tls, client) = (house.made(&house.config()), house.client(None, "h3"));
    let shown = |done: &Done| done.client.peer_certificates().unwrap()[0].to_vec();
    let first = shown(&over_quic(&client, &tls).unwrap());
    house.files.issued("a", &house.root, &["a.example"]);
    house.store.refresh(&tls);
    let second = shown(&over_quic(&house.client(None, "h3"), &tls).unwrap());
    assert_ne!(first, second);
    let over_tcp = handshake(&house.client(None, "h2"), &tls.server, "a.example").unwrap();
    assert_eq!(over_tcp.client.peer_certificates().unwrap()[0].to_vec(), second);
}

#[test]
fn who_is_let_in_is_decided_as_over_tcp_and_changes_with_it() {
    for early_data in [false, true] {
        let house = House::new();
        let config = ListenerConfig {
            client_auth: ClientAuth::Required,
            client_ca: Some(house.files.path("ca.pem")),
            early_data,
            ..house.config()
        };
        let tls = house.made(&config);
        let (good, stranger) = (house.client(Some(&house.clients), "h3"), house.client(Some(&house.root), "h3"));
        assert!(over_quic(&stranger, &tls).is_err());
        assert!(over_quic(&house.client(None, "h3"), &tls).is_err());
        for resumed in [false, true] {
            let done = over_quic(&good, &tls).unwrap();
            assert_eq!(done.resumed(), resumed);
            let shown = &done.server.peer_certificates().unwrap()[0];
            assert_eq!(crate::tls::subject(shown).as_deref(), Some("CN=somebody"));
        }
        house.files.write("ca.pem", &house.root.pem());
        assert_eq!(house.store.refresh(&tls).changed.len(), 1);
        assert!(over_quic(&good, &tls).is_err(), "not even with a session from before");
        assert!(!over_quic(&stranger, &tls).unwrap().resumed());
    }
}

#[test]
fn early_data_is_off_unless_it_is_asked_for() {
    let house = House::new();
    let (tls, client) = (house.made(&house.config()), house.client(None, "h3"));
    over_quic(&client, &tls).unwrap();
    let again = over_quic(&client, &tls).unwrap();
    assert!(again.resumed() && !again.tried);
    // Over TCP there is none, whatever is asked for.
    let tls = house.made(&ListenerConfig { early_data: true, ..house.config() });
    assert_eq!(tls.server.max_early_data_size, 0);
    assert!(house.made(&ListenerConfig { h3: false, early_data: true, ..house.config() }).quic().is_none());
}

#[test]
fn early_data_survives_a_reload_that_changes_nothing_about_it() {
    let house = House::new();
    let wanted = ListenerConfig { early_data: true, ..house.config() };
    let (first, client) = (house.made(&wanted), house.client(None, "h3"));
    first.set_quic_limits(1);
    assert!(!over_quic(&client, &first).unwrap().resumed());
    let reloaded = house.made(&ListenerConfig { max_handshakes: 5, ..wanted });
    for (tls, limits, taken) in [(&first, 1, true), (&reloaded, 1, true), (&reloaded, 2, false), (&reloaded, 2, true)] {
        tls.set_quic_limits(limits);
        let done = over_quic(&client, tls).unwrap();
        assert!(done.tried);
        assert_eq!((done.taken, done.resumed()), (taken, taken), "{limits}");
    }
    let off = house.made(&house.config());
    let done = over_quic(&client, &off).unwrap();
    assert!(done.tried && !done.taken && !done.resumed(), "the handshake goes on without");
}
