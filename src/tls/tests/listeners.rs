//! What clients get from a listener: which certificate, which protocol, which session again.
use crate::tls::{
    ListenerConfig, ListenerTls, MinVersion, Pair, Secret, Store,
    testing::{Authority, Files, authority, handshake, issue, params},
};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use rustls::{
    ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion, RootCertStore,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
};
use std::{slice::from_ref, sync::Arc};

fn config(pairs: &[Pair]) -> ListenerConfig {
    ListenerConfig { certificates: pairs.to_vec(), h1: true, h2: true, max_handshakes: 1, ..ListenerConfig::default() }
}

fn made(store: &Store, config: &ListenerConfig) -> ListenerTls {
    store.listener(config).unwrap_or_else(|problems| panic!("{problems:?}")).0
}

/// A client that trusts `authority`, after `change` of what it offers.
fn client(authority: &Authority, change: impl FnOnce(&mut CryptoProvider)) -> ClientConfig {
    let mut provider = aws_lc_rs::default_provider();
    change(&mut provider);
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let mut client = builder.with_no_client_auth();
    client.resumption = Resumption::disabled();
    client
}

fn plain(authority: &Authority) -> Arc<ClientConfig> {
    Arc::new(client(authority, |_| {}))
}

/// The certificate that a client asking for `name` is shown; an error when it does not take it.
fn shown(client: &Arc<ClientConfig>, tls: &ListenerTls, name: &str) -> Result<Vec<u8>, String> {
    let done = handshake(client, &tls.server, name)?;
    Ok(done.client.peer_certificates().unwrap()[0].to_vec())
}

fn print(der: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(der).into()
}

#[test]
fn the_name_decides_which_certificate_is_shown() {
    let (files, root, store) = (Files::new(), authority("root"), Store::default());
    let first = files.issued("first", &root, &["a.example"]);
    let wild = files.issued("wild", &root, &["*.w.example", "W.Example"]);
    let other = files.issued("other", &root, &["x.b.example"]);
    let tls = made(&store, &config(&[first, wild, other]));
    let expected = |index: usize| tls.certificates()[index].fingerprint;
    let client = plain(&root);
    for (name, index) in [("a.example", 0), ("A.EXAMPLE", 0), ("z.w.example", 1), ("w.example", 1), ("x.b.example", 2)]
    {
        assert_eq!(print(&shown(&client, &tls, name).unwrap()), expected(index), "{name}");
    }
    // Nothing is for these: the first one is shown, and the client does not take it.
    for name in ["y.b.example", "other.test", "127.0.0.1"] {
        let refused = shown(&client, &tls, name).unwrap_err();
        assert!(refused.contains("NotValidForName") || refused.contains("not valid for name"), "{name}: {refused}");
    }
    assert!(tls.has("q.w.example") && !tls.has("q.example"));
    for (name, host, yes) in [
        ("a.example", "a.example", true),
        ("a.example", "A.example", true),
        ("a.example", "z.w.example", false),
        ("z.w.example", "q.w.example", true),
        ("z.w.example", "a.example", false),
        ("unknown.test", "unknown.test", true),
        ("unknown.test", "a.example", true), // the first one is shown
        ("unknown.test", "z.w.example", false),
    ] {
        assert_eq!(tls.covers(name, host), yes, "{name} {host}");
    }
}

#[test]
fn clients_get_the_kind_of_key_that_they_can_check() {
    let (files, root, store) = (Files::new(), authority("root"), Store::default());
    let rsa_key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let rsa = files.pair("rsa", &issue(&root, params(&["a.example"]), &rsa_key), &rsa_key);
    let ecdsa = files.issued("ecdsa", &root, &["a.example"]);
    let (tls, warnings) = store.listener(&config(&[rsa, ecdsa])).unwrap();
    assert_eq!(warnings, [], "two kinds of key for one name are no mistake");
    let prints: Vec<_> = tls.certificates().iter().map(|c| c.fingerprint).collect();
    assert_eq!(print(&shown(&plain(&root), &tls, "a.example").unwrap()), prints[1], "ECDSA is cheaper");
    // Of TLS 1.2, suites say which keys a client takes.
    let rsa_only = client(&root, |provider| {
        provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256];
    });
    assert_eq!(print(&shown(&Arc::new(rsa_only), &tls, "a.example").unwrap()), prints[0]);
}

#[test]
fn what_is_agreed_on() {
    let (files, root, store) = (Files::new(), authority("root"), Store::default());
    let pair = files.issued("a", &root, &["a.example"]);
    let tls = made(&store, &config(from_ref(&pair)));
    let done = handshake(&plain(&root), &tls.server, "a.example").unwrap();
    assert_eq!(done.server.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let group = done.server.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, NamedGroup::X25519MLKEM768, "the hybrid group is the default");
    for (offered, chosen) in [
        (vec![b"http/1.1".to_vec(), b"h2".to_vec()], Some(b"h2".as_slice())),
        (vec![b"http/1.1".to_vec()], Some(b"http/1.1")),
        (vec![], None),
    ] {
        let mut client = client(&root, |_| {});
        client.alpn_protocols = offered;
        let done = handshake(&Arc::new(client), &tls.server, "a.example").unwrap();
        assert_eq!(done.server.alpn_protocol(), chosen);
    }
    let only_h1 = made(&store, &ListenerConfig { h2: false, ..config(from_ref(&pair)) });
    let mut only_h2 = client(&root, |_| {});
    only_h2.alpn_protocols = vec![b"h2".to_vec()];
    assert!(handshake(&Arc::new(only_h2), &only_h1.server, "a.example").is_err());
    let narrow = ListenerConfig {
        curves: vec!["X25519"],
        ciphers: vec!["TLS_CHACHA20_POLY1305_SHA256"],
        min_version: MinVersion::Tls13,
        ..config(from_ref(&pair))
    };
    let narrow = made(&store, &narrow);
    let done = handshake(&plain(&root), &narrow.server, "a.example").unwrap();
    assert_eq!(done.server.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519);
    let suite = done.server.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    let old = client(&root, |provider| provider.cipher_suites.retain(|suite| suite.tls13().is_none()));
    let old = Arc::new(old);
    let done = handshake(&old, &tls.server, "a.example").unwrap();
    assert_eq!(done.server.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    assert!(handshake(&old, &narrow.server, "a.example").is_err(), "TLS 1.2 is off there");
}

#[test]
fn sessions_are_resumed_on_every_listener_that_demands_the_same() {
    let (files, root) = (Files::new(), authority("root"));
    let pair = files.issued("a", &root, &["a.example"]);
    let secret = Some(Secret::File(files.write("secret", &"s3cret".repeat(8))));
    let fleet = ListenerConfig { ticket_secret: secret, ..config(from_ref(&pair)) };
    // One store is one edge: two of them share nothing but a secret.
    let (one, two) = (Store::default(), Store::default());
    for (tickets_of, used_on, resumed) in [
        (made(&one, &config(from_ref(&pair))), made(&one, &config(from_ref(&pair))), true),
        (made(&one, &fleet), made(&two, &fleet), true),
        (made(&one, &config(from_ref(&pair))), made(&two, &config(from_ref(&pair))), false),
        (made(&one, &config(from_ref(&pair))), made(&one, &fleet), false),
    ] {
        for tls12 in [false, true] {
            let mut client = client(&root, |provider| {
                provider.cipher_suites.retain(|suite| !tls12 || suite.tls13().is_none());
            });
            client.resumption = Resumption::in_memory_sessions(8);
            let client = Arc::new(client);
            let first = handshake(&client, &tickets_of.server, "a.example").unwrap();
            assert_ne!(first.server.handshake_kind(), Some(HandshakeKind::Resumed));
            let again = handshake(&client, &used_on.server, "a.example").unwrap();
            let kind = again.server.handshake_kind();
            assert_eq!(kind == Some(HandshakeKind::Resumed), resumed, "{kind:?}, TLS 1.2: {tls12}");
        }
    }
}

#[test]
fn two_tickets_are_given_and_each_is_good_once_more() {
    let (files, root, store) = (Files::new(), authority("root"), Store::default());
    let tls = made(&store, &config(&[files.issued("a", &root, &["a.example"])]));
    let mut client = client(&root, |_| {});
    client.resumption = Resumption::in_memory_sessions(8);
    let client = Arc::new(client);
    let done = handshake(&client, &tls.server, "a.example").unwrap();
    assert_eq!(done.client.tls13_tickets_received(), 2);
}

#[test]
fn a_self_signed_certificate_is_kept_across_reloads_and_serves_what_no_other_covers() {
    let (files, root, store) = (Files::new(), authority("root"), Store::default());
    let alone = ListenerConfig { self_signed: true, ..config(&[]) };
    let first = made(&store, &alone).certificates()[0].fingerprint;
    let tls = made(&store, &alone);
    assert_eq!(tls.certificates()[0].fingerprint, first);
    let mut roots = RootCertStore::empty();
    roots.add(tls.certificates()[0].key.cert[0].clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap();
    let client = Arc::new(client.with_root_certificates(roots).with_no_client_auth());
    for name in ["localhost", "127.0.0.1"] {
        handshake(&client, &tls.server, name).unwrap();
    }
    let pair = files.issued("a", &root, &["a.example"]);
    let both = made(&store, &ListenerConfig { self_signed: true, ..config(&[pair]) });
    assert!(shown(&plain(&root), &both, "a.example").is_ok());
    handshake(&client, &both.server, "localhost").unwrap();
}

#[test]
fn files_are_read_again_and_what_cannot_be_used_changes_nothing() {
    let (files, root, store) = (Files::new(), authority("root"), Store::default());
    let pair = files.issued("a", &root, &["a.example"]);
    let wanted = config(&[pair.clone(), files.issued("b", &root, &["b.example"])]);
    let tls = made(&store, &wanted);
    let now = || tls.certificates()[0].fingerprint;
    let first = now();
    assert_eq!(store.refresh(&tls), Default::default(), "nothing has changed");

    files.issued("a", &root, &["a.example", "new.example"]);
    let done = store.refresh(&tls);
    assert_eq!((done.changed, done.problems), (vec!["a.example".to_owned()], vec![]));
    assert_ne!(now(), first);
    assert!(tls.has("new.example"));
    assert!(shown(&plain(&root), &tls, "new.example").is_ok());
    assert_eq!((store.failures(), store.unusable().len()), (0, 0));

    let second = now();
    files.write("a.key", "half a key");
    for told in [1, 0] {
        let done = store.refresh(&tls);
        assert_eq!((done.changed.len(), done.problems.len()), (0, told), "a failure is told once: {:?}", done.problems);
    }
    assert_eq!((now(), store.failures()), (second, 1));
    let unusable = store.unusable();
    assert_eq!(unusable[0].cert, pair.cert);
    assert!(unusable[0].why.contains("a.key: holds no private key"), "{unusable:?}");

    // A reload of the configuration goes on with the pair that was good ...
    let (reloaded, warnings) = store.listener(&wanted).unwrap();
    assert_eq!(reloaded.certificates()[0].fingerprint, second);
    assert!(warnings.iter().any(|w| w.message.ends_with("the earlier certificate stays in use")), "{warnings:?}");
    assert_eq!(store.failures(), 1);
    // ... but not with one that never was.
    let never = Pair { cert: pair.cert.clone(), key: files.write("c.key", "x") };
    assert!(store.listener(&config(&[never])).is_err());

    files.issued("a", &root, &["a.example"]);
    assert_eq!(store.refresh(&tls).changed, ["a.example"]);
    assert_eq!((store.failures(), store.unusable().len()), (1, 0));
    drop(reloaded);
    // What no listener needs is forgotten: it would have to be good again.
    drop(tls);
    store.sweep();
    files.write("a.pem", "");
    assert!(store.listener(&wanted).is_err());
}
