//! Handshakes that fail: of which kind, what the peer is told, and that nothing spins or grows.
use super::{
    pki,
    pki::Authority,
    shard::{self, adopt, both, pair},
};
use edge_io::tls::{self, ErrorKind};
use rustls::{ClientConfig, ServerConfig, pki_types::ServerName};
use std::{
    io::{Read, Write},
    sync::Arc,
};

/// How both sides of a handshake fail.
fn fail(client: ClientConfig, server: ServerConfig, name: &'static str) -> (Option<ErrorKind>, Option<ErrorKind>) {
    let (client, server) = (Arc::new(client), Arc::new(server));
    shard::run(move |local| async move {
        let (a, b) = pair(false);
        let (a, b) = (adopt(&local, a), adopt(&local, b));
        let name = ServerName::try_from(name).expect("name");
        let come = async {
            match tls::connect(a, client, name).await {
                // In TLS 1.3 the client is done before the server has looked at its certificate.
                Ok(s) => shard::read(&s, &mut [0; 1]).await.err().map(|e| match e.kind() {
                    std::io::ErrorKind::InvalidData => ErrorKind::AlertReceived,
                    _ => ErrorKind::Closed,
                }),
                Err(e) => Some(e.kind),
            }
        };
        let (a, b) = both(come, async {
            match tls::accept(b, server).await {
                Ok(s) => {
                    s.close_notify();
                    None
                }
                Err(e) => Some(e.kind),
            }
        })
        .await;
        (a, b)
    })
}

#[test]
fn kinds_of_certificates_that_are_refused() {
    let (ca, stranger) = (Authority::new(), Authority::new());
    let old = ca.issue_with("localhost", |p| {
        p.not_before = rcgen::date_time_ymd(2001, 1, 1);
        p.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    let future = ca.issue_with("localhost", |p| {
        p.not_before = rcgen::date_time_ymd(2990, 1, 1);
        p.not_after = rcgen::date_time_ymd(2991, 1, 1);
    });
    let purpose = ca.issue_with("localhost", |p| {
        p.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    let refused = Some(ErrorKind::AlertReceived);
    for versions in pki::EACH {
        let client = || ca.client(versions);
        let cases = [
            (stranger.server(versions), "localhost", ErrorKind::UnknownCa),
            (ca.server(versions), "other.example", ErrorKind::NameMismatch),
            (ca.server_as(&old, versions), "localhost", ErrorKind::Expired),
            (ca.server_as(&future, versions), "localhost", ErrorKind::Expired),
            (ca.server_as(&purpose, versions), "localhost", ErrorKind::BadCertificate),
        ];
        for (server, name, kind) in cases {
            assert_eq!(fail(client(), server, name), (Some(kind), refused));
        }
    }
}

#[test]
fn client_certificates_that_are_missing_or_foreign() {
    let (ca, stranger) = (Authority::new(), Authority::new());
    let foreign = stranger.issue("someone");
    for versions in pki::EACH {
        let (told, missing) = fail(ca.client(versions), ca.asking_server(versions), "localhost");
        assert_eq!((told, missing), (Some(ErrorKind::AlertReceived), Some(ErrorKind::CertificateRequired)));
        let (told, unknown) = fail(ca.client_as(&foreign, versions), ca.asking_server(versions), "localhost");
        assert_eq!((told, unknown), (Some(ErrorKind::AlertReceived), Some(ErrorKind::UnknownCa)));
    }
}

#[test]
fn nothing_in_common() {
    let ca = Authority::new();
    let told = Some(ErrorKind::AlertReceived);
    let versions = fail(ca.client(pki::EACH[0]), ca.server(pki::EACH[1]), "localhost");
    assert_eq!(versions, (told, Some(ErrorKind::NoSharedVersion)));
    let (mut client, mut server) = (ca.client(pki::ALL), ca.server(pki::ALL));
    client.alpn_protocols = vec![b"acme".to_vec()];
    server.alpn_protocols = vec![b"h2".to_vec()];
    // Its alert says so to the other side too (RFC 7301 3.2).
    let unshared = Some(ErrorKind::NoSharedProtocol);
    assert_eq!(fail(client, server, "localhost"), (unshared, unshared));
    let server = ServerConfig::builder().with_no_client_auth().with_cert_resolver(Arc::new(Nobody));
    assert_eq!(fail(ca.client(pki::ALL), server, "localhost"), (told, Some(ErrorKind::UnknownName)));
}

#[derive(Debug)]
struct Nobody;

impl rustls::server::ResolvesServerCert for Nobody {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }
}

/// What a server of ours makes of these bytes and then the end of input; and what it answered.
fn feed(bytes: Vec<u8>) -> (tls::Error, Vec<u8>) {
    let config = Arc::new(Authority::new().server(pki::ALL));
    let (mut a, b) = pair(false);
    let thread = std::thread::spawn(move || {
        let _ = a.write_all(&bytes);
        let _ = a.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = a.read_to_end(&mut answer);
        answer
    });
    let error = shard::run(move |local| async move {
        let mut e = tls::accept(adopt(&local, b), config).await.err().expect("an error");
        // Sockets of a shard do not leave its thread; the bytes go into the text.
        if let Some(clear) = e.clear.take() {
            clear.tcp.try_send(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("an answer in clear text");
            e.detail = String::from_utf8_lossy(clear.received.filled()).into();
        }
        (e.kind, e.detail)
    });
    (tls::Error { kind: error.0, detail: error.1, clear: None }, thread.join().expect("client"))
}

#[test]
fn clear_text_is_recognised_and_kept() {
    let (e, answer) = feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec());
    assert_eq!((e.kind, e.detail.as_str()), (ErrorKind::NotTls, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert!(answer.starts_with(b"HTTP/1.1 400"));
}

#[test]
fn other_bytes_fail_at_once() {
    for (bytes, kind) in [
        (vec![], ErrorKind::Closed),
        (vec![0x16], ErrorKind::Closed),
        (vec![0x16, 3, 1, 0], ErrorKind::Closed),
        (vec![0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0], ErrorKind::Protocol),
        (vec![0x16, 3, 1, 0xff, 0xff, 1, 0, 0, 1, 0], ErrorKind::Protocol),
        (vec![0x16, 9, 9, 0, 5, 1, 0, 0, 1, 0], ErrorKind::Protocol),
        ([&[0x16, 3, 1, 0x40, 0][..], &[0; 0x4000]].concat(), ErrorKind::Protocol),
    ] {
        let (e, answer) = feed(bytes.clone());
        assert_eq!(e.kind, kind, "{e}: {:?}", &bytes[..bytes.len().min(10)]);
        if kind == ErrorKind::Protocol {
            assert_eq!(answer.first(), Some(&21), "an alert: {answer:?}");
        }
    }
}

#[test]
fn a_hello_without_end_is_cut_off() {
    // A handshake message that claims 16 MiB, one that claims 60 KiB and comes byte by byte in records of its own.
    let record = |payload: &[u8]| {
        let mut r = vec![0x16, 3, 1];
        r.extend((payload.len() as u16).to_be_bytes());
        r.extend(payload);
        r
    };
    let mut endless = record(&[1, 0xff, 0xff, 0xff]);
    (0..40).for_each(|_| endless.extend(record(&[0; 16000])));
    assert_eq!(feed(endless).0.kind, ErrorKind::Protocol);
    let mut crumbs = record(&[1, 0, 0xea, 0x60]);
    (0..60_000).for_each(|_| crumbs.extend(record(&[0])));
    assert_eq!(feed(crumbs).0.kind, ErrorKind::Protocol);
}

#[test]
fn random_bytes_never_panic() {
    let config = Authority::new().server(pki::ALL);
    let hello = {
        let client = Authority::new().client(pki::ALL);
        let mut c = rustls::ClientConnection::new(Arc::new(client), pki::localhost()).expect("client");
        let mut bytes = Vec::new();
        c.write_tls(&mut bytes).expect("hello");
        bytes
    };
    let config = Arc::new(config);
    shard::run(move |local| async move {
        let mut dice = super::peer::Dice::new(5);
        for _ in 0..300 {
            let mut bytes = hello.clone();
            for _ in 0..dice.up_to(5) {
                let at = dice.up_to(bytes.len()) - 1;
                bytes[at] = dice.next() as u8;
            }
            bytes.truncate(dice.up_to(bytes.len() * 2));
            let (mut a, b) = pair(false);
            a.write_all(&bytes).expect("write");
            a.shutdown(std::net::Shutdown::Write).expect("shutdown");
            assert!(tls::accept(adopt(&local, b), config.clone()).await.is_err());
        }
    });
}
