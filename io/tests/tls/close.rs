//! Ends: `close_notify`, a connection that is cut, alerts, and damaged bytes.
use super::{
    peer, pki,
    pki::Authority,
    shard::{self, adopt, both, flush, pair, read, read_to_end, write, write_all},
};
use edge_io::{stream::Stream, tls};
use std::{
    io::{self, IoSlice, Read, Write},
    sync::Arc,
};

/// A server of ours whose client does `act`; what the server reads until the end.
fn server_reads(act: impl FnOnce(peer::Client) + Send + 'static) -> (Vec<u8>, io::Result<()>) {
    let ca = Authority::new();
    let (a, b) = pair(false);
    let client = peer::client(a, ca.client(pki::ALL), 7, 100_000);
    let config = Arc::new(ca.server(pki::ALL));
    let thread = std::thread::spawn(move || act(client));
    let result = shard::run(move |local| async move {
        let s = tls::accept(adopt(&local, b), config).await.expect("accept");
        let result = read_to_end(&s).await;
        assert!(s.is_closed() && s.at_end() && !s.is_quiet());
        let again = read(&s, &mut [0; 8]).await;
        assert_eq!(again.as_ref().ok().copied(), result.1.as_ref().ok().map(|()| 0), "the end stays");
        result
    });
    thread.join().expect("client");
    result
}

#[test]
fn close_notify_is_the_end() {
    let (data, end) = server_reads(|mut client| {
        client.write_all(b"all of it").expect("write");
        client.conn.send_close_notify();
        client.flush().expect("flush");
        let _ = client.read(&mut [0; 1]); // keeps the socket open until the server is done
    });
    assert_eq!(data, b"all of it");
    end.expect("an orderly end");
}

#[test]
fn an_end_without_close_notify_is_told_apart() {
    let (data, end) = server_reads(|mut client| {
        client.write_all(b"the beginning").expect("write");
        client.flush().expect("flush");
    });
    assert_eq!(data, b"the beginning");
    assert_eq!(end.expect_err("cut").kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn an_end_in_the_middle_of_a_record_is_told_apart() {
    let (data, end) = server_reads(|mut client| {
        client.write_all(b"whole").expect("write");
        client.flush().expect("flush");
        client.sock.inner.write_all(&[23, 3, 3, 0, 100, 1, 2, 3]).expect("write");
    });
    assert_eq!(data, b"whole");
    assert_eq!(end.expect_err("cut").kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn damaged_records_are_an_error_and_an_alert() {
    let (data, end) = server_reads(|mut client| {
        client.write_all(b"whole").expect("write");
        client.flush().expect("flush");
        client.sock.inner.write_all(&[23, 3, 3, 0, 40]).expect("write");
        client.sock.inner.write_all(&[9; 40]).expect("write");
        let told = client.read(&mut [0; 1]).expect_err("an alert");
        assert!(told.to_string().contains("BadRecordMac"), "{told}");
    });
    assert_eq!(data, b"whole");
    assert_eq!(end.expect_err("damaged").kind(), io::ErrorKind::InvalidData);
}

#[test]
fn records_that_cannot_be_are_refused() {
    let (data, end) = server_reads(|mut client| {
        client.write_all(b"whole").expect("write");
        client.flush().expect("flush");
        for _ in 0..100 {
            if client.sock.inner.write_all(&[22, 3, 3, 0, 0]).is_err() {
                break;
            }
        }
        let _ = client.read(&mut [0; 1]);
    });
    assert_eq!(data, b"whole");
    assert_eq!(end.expect_err("refused").kind(), io::ErrorKind::InvalidData);
}

/// A client of the peer's kind reads what our server does with `act`.
fn client_reads<F>(act: impl FnOnce(Stream) -> F + Send + 'static) -> (Vec<u8>, io::Result<()>)
where
    F: Future<Output = ()> + 'static,
{
    let ca = Authority::new();
    let (a, b) = pair(false);
    let mut client = peer::client(a, ca.client(pki::ALL), 7, 100_000);
    let config = Arc::new(ca.server(pki::ALL));
    let thread = std::thread::spawn(move || {
        client.write_all(b"request").expect("request");
        let mut all = Vec::new();
        let end = client.read_to_end(&mut all).map(|_| ());
        (all, end)
    });
    shard::run(move |local| async move {
        let s = tls::accept(adopt(&local, b), config).await.expect("accept");
        let mut room = [0; 7];
        assert_eq!(read(&s, &mut room).await.expect("request"), 7);
        act(s).await;
    });
    thread.join().expect("client")
}

#[test]
fn an_orderly_end_says_so() {
    for shut in [true, false] {
        let (data, end) = client_reads(async move |s| {
            write_all(&s, b"answer").await.expect("write");
            if shut {
                s.shutdown_write()
            } else {
                s.close_notify()
            }
            s.close_notify(); // once is enough
            let refused = write(&s, &[IoSlice::new(b"more")]).await.expect_err("nothing after the end");
            assert_eq!(refused.kind(), io::ErrorKind::BrokenPipe);
        });
        assert_eq!(data, b"answer");
        end.expect("an orderly end");
    }
}

#[test]
fn an_abort_does_not() {
    let (data, end) = client_reads(async |s| {
        write_all(&s, b"half an ans").await.expect("write");
    });
    assert_eq!(data, b"half an ans");
    assert_eq!(end.expect_err("cut").kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn the_end_follows_what_still_waits() {
    let (data, end) = client_reads(async |s| {
        let answer = vec![5; 2_000_000];
        let mut rest = &answer[..];
        while !rest.is_empty() {
            rest = &rest[write(&s, &[IoSlice::new(rest)]).await.expect("write")..];
        }
        s.shutdown_write(); // the socket's direction ends when the rest is gone
        flush(&s).await.expect("flush");
    });
    assert_eq!(data.len(), 2_000_000);
    end.expect("an orderly end");
}

#[test]
fn each_direction_ends_on_its_own() {
    let ca = Authority::new();
    let (client, server) = (Arc::new(ca.client(pki::ALL)), Arc::new(ca.server(pki::ALL)));
    shard::run(move |local| async move {
        let (a, b) = pair(false);
        let (a, b) = (adopt(&local, a), adopt(&local, b));
        let (a, b) = both(
            async {
                let s = tls::connect(a, client, pki::localhost()).await.expect("client's side");
                write_all(&s, b"question").await.expect("write");
                s.shutdown_write();
                read_to_end(&s).await
            },
            async {
                let s = tls::accept(b, server).await.expect("server's side");
                let (question, end) = read_to_end(&s).await;
                end.expect("an orderly end");
                assert_eq!(question, b"question");
                write_all(&s, b"answer after the end").await.expect("write");
                s.shutdown_write();
            },
        )
        .await;
        let ((), (answer, end)) = (b, a);
        end.expect("an orderly end");
        assert_eq!(answer, b"answer after the end");
    });
}

#[test]
fn a_peer_that_is_gone_fails_writes() {
    let ca = Authority::new();
    let (client, server) = (Arc::new(ca.client(pki::ALL)), Arc::new(ca.server(pki::ALL)));
    shard::run(move |local| async move {
        let (a, b) = pair(false);
        let (a, b) = (adopt(&local, a), adopt(&local, b));
        let (a, b) = both(shard::connected(a, client), tls::accept(b, server)).await;
        drop(b.expect("server's side"));
        let e = write_all(&a, &vec![0; 1_000_000]).await.expect_err("nobody reads");
        assert_ne!(e.kind(), io::ErrorKind::WouldBlock);
    });
}
