//! TLS to endpoints.
use crate::tls::{
    ClientAuth, ListenerConfig, Store, UpstreamConfig, UpstreamTls,
    testing::{Files, authority, client_params, handshake, issue, params},
};
use rcgen::KeyPair;
use rustls::HandshakeKind;
use std::sync::Arc;

const BOTH: (bool, bool) = (true, true);

#[test]
fn endpoints_are_checked_unless_somebody_says_otherwise() {
    let (files, root, store) = (Files::new(), authority("root"), Store::default());
    let origin = ListenerConfig {
        certificates: vec![files.issued("a", &root, &["app.internal", "127.0.0.1"])],
        h2: true,
        max_handshakes: 1,
        ..ListenerConfig::default()
    };
    let origin = store.listener(&origin).unwrap().0;
    let ca = UpstreamConfig { ca: Some(files.write("ca.pem", &root.pem())), ..UpstreamConfig::default() };
    let name = |host: &str| rustls::pki_types::ServerName::try_from(host.to_owned()).unwrap().to_str().into_owned();

    let (client, warnings) = store.client("p", &ca, BOTH).unwrap();
    assert_eq!(warnings, []);
    let tls = UpstreamTls::new(client.clone(), &ca, "127.0.0.1").unwrap();
    let done = handshake(&tls.client, &origin.server, &tls.name.to_str()).unwrap();
    assert_eq!(done.client.alpn_protocol(), Some(b"h2".as_slice()));
    assert!(handshake(&client, &origin.server, &name("other.internal")).is_err(), "not its name");
    let named = UpstreamConfig { server_name: Some("app.internal".to_owned()), ..ca.clone() };
    assert_eq!(UpstreamTls::new(client.clone(), &named, "127.0.0.1").unwrap().name.to_str(), "app.internal");
    assert_eq!(UpstreamTls::new(client.clone(), &ca, "[::1]").unwrap().name.to_str(), "::1");

    let stranger = UpstreamConfig { ca: Some(files.write("no.pem", &authority("root").pem())), ..ca.clone() };
    let client = store.client("p", &stranger, BOTH).unwrap().0;
    assert!(handshake(&client, &origin.server, "app.internal").is_err(), "not its issuer");

    let blind = UpstreamConfig { verify: false, ..UpstreamConfig::default() };
    let client = store.client("p", &blind, BOTH).unwrap().0;
    handshake(&client, &origin.server, "whatever.test").unwrap();

    let h1 = store.client("p", &ca, (true, false)).unwrap().0;
    assert!(handshake(&h1, &origin.server, "app.internal").is_err(), "the origin speaks h2 alone");
    let missing = UpstreamConfig { ca: Some(files.path("gone.pem")), ..ca };
    assert!(store.client("p", &missing, BOTH).is_err());
}

#[test]
fn the_same_settings_are_the_same_value_and_resume_sessions() {
    let (files, root, store) = (Files::new(), authority("root"), Store::default());
    let origin = ListenerConfig {
        certificates: vec![files.issued("a", &root, &["app.internal"])],
        h1: true,
        max_handshakes: 1,
        ..ListenerConfig::default()
    };
    let origin = store.listener(&origin).unwrap().0;
    let config = UpstreamConfig { ca: Some(files.write("ca.pem", &root.pem())), ..UpstreamConfig::default() };
    let first = store.client("p", &config, BOTH).unwrap().0;
    handshake(&first, &origin.server, "app.internal").unwrap();
    store.sweep();
    let again = store.client("p", &config, BOTH).unwrap().0;
    assert!(Arc::ptr_eq(&first, &again));
    let done = handshake(&again, &origin.server, "app.internal").unwrap();
    assert_eq!(done.client.handshake_kind(), Some(HandshakeKind::Resumed));

    for other in [
        store.client("q", &config, BOTH).unwrap().0,
        store.client("p", &config, (true, false)).unwrap().0,
        store.client("p", &UpstreamConfig { verify: false, ..UpstreamConfig::default() }, BOTH).unwrap().0,
    ] {
        assert!(!Arc::ptr_eq(&first, &other));
    }
    files.write("ca.pem", &authority("root").pem());
    assert!(!Arc::ptr_eq(&first, &store.client("p", &config, BOTH).unwrap().0), "other authorities are trusted now");
}

#[test]
fn endpoints_are_shown_a_certificate_and_its_successor() {
    let (files, root, store) = (Files::new(), authority("root"), Store::default());
    let ours = authority("ours");
    let show = |serial: u64| {
        let key = KeyPair::generate().unwrap();
        files.pair("edge", &issue(&ours, client_params("edge", serial), &key), &key)
    };
    let key = KeyPair::generate().unwrap();
    let origin = ListenerConfig {
        certificates: vec![files.pair("a", &issue(&root, params(&["app.internal"]), &key), &key)],
        client_auth: ClientAuth::Required,
        client_ca: Some(files.write("ours.pem", &ours.pem())),
        h1: true,
        max_handshakes: 1,
        ..ListenerConfig::default()
    };
    let origin = store.listener(&origin).unwrap().0;
    let config = UpstreamConfig {
        ca: Some(files.write("ca.pem", &root.pem())),
        identity: Some(show(1)),
        ..UpstreamConfig::default()
    };
    let client = store.client("p", &config, BOTH).unwrap().0;
    let shown = |client: &Arc<_>| {
        let done = handshake(client, &origin.server, "app.internal").unwrap();
        done.server.peer_certificates().unwrap()[0].to_vec()
    };
    let first = shown(&client);
    assert_eq!(crate::tls::subject(&first).as_deref(), Some("CN=edge"));
    assert_eq!(store.refresh_identities(), Default::default());
    show(2);
    assert_eq!(store.refresh_identities().changed.len(), 1);
    // A resumed session would show what was shown first.
    let fresh = store.client("q", &config, BOTH).unwrap().0;
    assert_ne!(shown(&fresh), first);
    files.write("edge.key", "");
    for told in [1, 0] {
        let done = store.refresh_identities();
        assert_eq!((done.changed.len(), done.problems.len(), store.failures()), (0, told, 1), "{done:?}");
    }
    let nothing = UpstreamConfig { identity: None, ..config };
    assert!(handshake(&store.client("p", &nothing, BOTH).unwrap().0, &origin.server, "app.internal").is_err());
}
