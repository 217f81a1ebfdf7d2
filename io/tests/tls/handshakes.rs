//! What handshakes agree on: versions, names, protocols, resumption, client certificates.
use super::{
    peer, pki,
    pki::Authority,
    shard::{self, adopt, both, flush, pair, read_exact, write_all},
};
use edge_io::{
    stream::Stream,
    tls::{self, Alpn, Info},
};
use rustls::{ClientConfig, ServerConfig};
use std::{io::Read, sync::Arc};

/// Both roles against each other, `times` connections one after the other, a few bytes each way on each; what the
/// client and the server know at the end of each.
fn meet(client: ClientConfig, server: ServerConfig, times: usize) -> Vec<(Info, Info)> {
    let (client, server) = (Arc::new(client), Arc::new(server));
    shard::run(move |local| async move {
        let mut all = Vec::new();
        for _ in 0..times {
            let (a, b) = pair(false);
            let (a, b) = (adopt(&local, a), adopt(&local, b));
            let talk_first = async {
                let s = tls::connect(a, client.clone(), pki::localhost()).await.expect("client's side");
                write_all(&s, b"ping").await.expect("write");
                assert_eq!(read_exact(&s, 4).await, b"pong");
                s
            };
            let answer = async {
                let s = tls::accept(b, server.clone()).await.expect("server's side");
                assert_eq!(read_exact(&s, 4).await, b"ping");
                write_all(&s, b"pong").await.expect("write");
                s
            };
            let (a, b) = both(talk_first, answer).await;
            let info = |s: &Stream| s.tls().expect("TLS").clone();
            all.push((info(&a), info(&b)));
        }
        all
    })
}

#[test]
fn both_roles_agree_in_both_versions() {
    let ca = Authority::new();
    for (versions, name) in pki::EACH.into_iter().zip(["TLSv1.3", "TLSv1.2"]) {
        let (client, server) = meet(ca.client(versions), ca.server(versions), 1).remove(0);
        assert_eq!((client.version, server.version), (name, name));
        assert_eq!((client.suite, client.group), (server.suite, server.group));
        assert!(client.suite.starts_with("TLS_") && !client.group.is_empty(), "{client:?}");
        assert_eq!((client.resumed, server.resumed), (false, false));
        assert_eq!((client.alpn, server.alpn), (Alpn::None, Alpn::None));
        assert_eq!((client.server_name, server.server_name.as_deref()), (None, Some("localhost")));
        assert_eq!((client.client_certificate, server.client_certificate), (None, None));
    }
}

#[test]
fn the_hybrid_group_is_preferred() {
    let ca = Authority::new();
    let (client, _) = meet(ca.client(pki::ALL), ca.server(pki::ALL), 1).remove(0);
    assert_eq!((client.version, client.group), ("TLSv1.3", "X25519MLKEM768"));
}

#[test]
fn the_second_connection_resumes() {
    let ca = Authority::new();
    for versions in pki::EACH {
        let all = meet(ca.client(versions), ca.server(versions), 3);
        assert_eq!(all.iter().map(|(c, _)| c.resumed).collect::<Vec<_>>(), [false, true, true]);
        assert_eq!(all.iter().map(|(_, s)| s.resumed).collect::<Vec<_>>(), [false, true, true]);
        assert!(all.iter().all(|(_, s)| s.server_name.as_deref() == Some("localhost")), "{all:?}");
    }
}

#[test]
fn protocols_are_negotiated() {
    let ca = Authority::new();
    for (offer, want) in [
        (vec![b"h2".to_vec(), b"http/1.1".to_vec()], Alpn::H2),
        (vec![b"http/1.1".to_vec()], Alpn::H1),
        (vec![b"acme".to_vec()], Alpn::Other),
        (vec![], Alpn::None),
    ] {
        let (mut client, mut server) = (ca.client(pki::ALL), ca.server(pki::ALL));
        client.alpn_protocols = offer;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), b"acme".to_vec()];
        let (client, server) = meet(client, server, 1).remove(0);
        assert_eq!((client.alpn, server.alpn), (want, want));
    }
}

#[test]
fn client_certificates_are_told_also_when_resumed() {
    let ca = Authority::new();
    for versions in pki::EACH {
        let who = ca.issue("someone");
        let all = meet(ca.client_as(&who, versions), ca.asking_server(versions), 2);
        assert_eq!(all.iter().map(|(_, s)| s.resumed).collect::<Vec<_>>(), [false, true]);
        for (_, server) in all {
            assert_eq!(server.client_certificate.as_deref(), Some(who.chain[0].as_ref()));
        }
    }
}

#[test]
fn names_do_not_leak_from_one_configuration_or_connection_to_another() {
    let ca = Authority::new();
    let (named, mut nameless) = (ca.client(pki::ALL), ca.client(pki::ALL));
    nameless.enable_sni = false;
    let servers = [Arc::new(ca.server(pki::ALL)), Arc::new(ca.server(pki::EACH[1]))];
    let clients = [Arc::new(named), Arc::new(nameless)];
    let names = shard::run(move |local| async move {
        let mut names = Vec::new();
        for _ in 0..2 {
            for server in &servers {
                for client in &clients {
                    let (a, b) = pair(false);
                    let (a, b) = (adopt(&local, a), adopt(&local, b));
                    let come = async {
                        let s = tls::connect(a, client.clone(), pki::localhost()).await.expect("client's side");
                        flush(&s).await.expect("flush");
                        s
                    };
                    let (_, s) = both(come, tls::accept(b, server.clone())).await;
                    names.push(s.expect("server's side").tls().expect("TLS").server_name.clone());
                }
            }
        }
        names
    });
    for name in names.chunks(2) {
        assert_eq!((name[0].as_deref(), &name[1]), (Some("localhost"), &None));
    }
}

#[test]
fn tickets_go_out_with_the_first_write() {
    let ca = Authority::new();
    let (a, b) = pair(false);
    let mut client = peer::client(a, ca.client(pki::EACH[0]), 1, 100_000);
    let server = Arc::new(ca.server(pki::EACH[0]));
    let (accepted, has_accepted) = std::sync::mpsc::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        shard::run(move |local| async move {
            let s = tls::accept(adopt(&local, b), server).await.expect("accept");
            assert!(!s.has_news() && s.is_quiet(), "nothing came, and asking sends nothing");
            accepted.send(()).expect("told");
            may_go_on.recv().expect("told");
            write_all(&s, b"answer").await.expect("write");
        });
    });
    peer::shake(&mut client).expect("handshake");
    has_accepted.recv_timeout(shard::PATIENCE).expect("accepted");
    client.sock.inner.set_nonblocking(true).expect("non-blocking");
    let early = client.sock.inner.read(&mut [0; 10]).expect_err("nothing is sent before the answer");
    assert_eq!(early.kind(), std::io::ErrorKind::WouldBlock);
    client.sock.inner.set_nonblocking(false).expect("blocking");
    go_on.send(()).expect("told");
    let mut answer = [0; 6];
    client.read_exact(&mut answer).expect("answer");
    assert_eq!((&answer, client.conn.tls13_tickets_received()), (b"answer", 1));
    thread.join().expect("server");
}

#[test]
fn a_clients_finished_goes_out_when_it_only_listens() {
    let ca = Authority::new();
    let (a, b) = pair(false);
    let mut server = peer::server(a, ca.server(pki::EACH[0]), 1, 100_000);
    let thread = std::thread::spawn(move || {
        peer::shake(&mut server)?;
        std::io::Write::write_all(&mut server, b"hello")?;
        std::io::Result::Ok(server)
    });
    let client = Arc::new(ca.client(pki::EACH[0]));
    let hello = shard::run(move |local| async move {
        let s = tls::connect(adopt(&local, b), client, pki::localhost()).await.expect("connect");
        read_exact(&s, 5).await
    });
    assert_eq!(hello, b"hello");
    thread.join().expect("server").expect("server");
}
