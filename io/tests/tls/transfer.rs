//! Bytes both ways: any sizes, any splits, any socket buffers, and messages of the protocol in between.
use super::{
    peer::{self, Dice},
    pki,
    pki::Authority,
    shard::{self, adopt, both, flush, pair, read, read_exact, write, write_all},
};
use edge_io::{buf, stream::Stream, tls};
use std::{
    io::{IoSlice, Read, Write},
    sync::Arc,
};

fn pattern(n: usize, seed: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    (0..n).map(|_| dice.next() as u8).collect()
}

/// Writes `data` in random pieces, one or several per call.
async fn send(stream: &Stream, data: &[u8], dice: &mut Dice, most: usize) {
    let mut rest = data;
    while !rest.is_empty() {
        let mut parts = Vec::new();
        let mut ahead = rest;
        for _ in 0..dice.up_to(4) {
            let (part, more) = ahead.split_at(dice.up_to(most).min(ahead.len()));
            parts.push(IoSlice::new(part));
            ahead = more;
        }
        let n = write(stream, &parts).await.expect("write");
        assert!(n > 0 && n <= rest.len() - ahead.len(), "{n}");
        rest = &rest[n..];
        if dice.up_to(3) == 1 {
            flush(stream).await.expect("flush");
            assert!(stream.is_flushed() && stream.unsent() == 0);
        }
    }
    flush(stream).await.expect("flush");
}

/// Reads so many bytes into rooms of random sizes.
async fn receive(stream: &Stream, n: usize, dice: &mut Dice, most: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < n {
        let mut room = vec![0; dice.up_to(most)];
        let got = read(stream, &mut room).await.expect("read");
        assert!(got > 0, "ended after {} of {n}", all.len());
        all.extend_from_slice(&room[..got]);
    }
    all
}

#[test]
fn both_ways_at_once_through_a_ragged_peer() {
    let ca = Authority::new();
    for seed in 0..24 {
        let versions = pki::EACH[seed as usize % 2];
        let (n, most, step) = [(200, 7, 50), (40_000, 900, 9000), (600_000, 70_000, 100_000)][seed as usize % 3];
        let (a, b) = pair(seed % 4 < 2);
        let (server_side, client, server) = (seed % 8 < 4, ca.client(versions), ca.server(versions));
        let (peer, ours) = if server_side {
            (peer::echo(peer::client(a, client, seed, step)), None)
        } else {
            (peer::echo(peer::server(a, server.clone(), seed, step)), Some(client))
        };
        shard::run(move |local| async move {
            let b = adopt(&local, b);
            let s = match ours {
                None => tls::accept(b, Arc::new(server)).await.expect("accept"),
                Some(client) => tls::connect(b, Arc::new(client), pki::localhost()).await.expect("connect"),
            };
            let data = pattern(n, seed);
            let (mut d1, mut d2) = (Dice::new(seed + 100), Dice::new(seed + 200));
            let (_, back) = both(send(&s, &data, &mut d1, most), receive(&s, n, &mut d2, most)).await;
            assert!(back == data, "seed {seed}");
            s.shutdown_write();
            assert_eq!(read(&s, &mut [0; 1]).await.expect("close_notify"), 0);
        });
        peer.join().expect("peer").expect("an orderly end");
    }
}

#[test]
fn big_transfers_both_ways_between_both_roles() {
    const N: usize = 3_000_000;
    let ca = Authority::new();
    for tiny in [false, true] {
        let (client, server) = (Arc::new(ca.client(pki::ALL)), Arc::new(ca.server(pki::ALL)));
        shard::run(move |local| async move {
            let (a, b) = pair(tiny);
            let (a, b) = (adopt(&local, a), adopt(&local, b));
            let (a, b) = both(shard::connected(a, client), tls::accept(b, server)).await;
            let b = b.expect("server's side");
            let (up, down) = (pattern(N, 1), pattern(N, 2));
            let mut dice: Vec<Dice> = (0..4).map(Dice::new).collect();
            let [d0, d1, d2, d3] = &mut dice[..] else { unreachable!() };
            let left = both(send(&a, &up, d0, 100_000), receive(&a, N, d1, 100_000));
            let right = both(send(&b, &down, d2, 100_000), receive(&b, N, d3, 100_000));
            let ((_, got_down), (_, got_up)) = both(left, right).await;
            assert!(got_up == up && got_down == down);
        });
    }
}

/// A client that reads raw records off the wire: how long each is.
fn records(mut from: impl Read, until: usize) -> Vec<usize> {
    let (mut lengths, mut seen) = (Vec::new(), 0);
    while seen < until {
        let mut header = [0; 5];
        from.read_exact(&mut header).expect("header");
        let n = usize::from(u16::from_be_bytes([header[3], header[4]]));
        from.read_exact(&mut vec![0; n]).expect("record");
        lengths.push(n);
        seen += n;
    }
    lengths
}

#[test]
fn head_and_body_share_records() {
    let ca = Authority::new();
    let (a, b) = pair(false);
    let mut client = peer::client(a, ca.client(pki::EACH[0]), 1, 100_000);
    let mut config = ca.server(pki::EACH[0]);
    config.send_tls13_tickets = 0;
    let thread = std::thread::spawn(move || {
        shard::run(move |local| async move {
            let s = tls::accept(adopt(&local, b), Arc::new(config)).await.expect("accept");
            let (head, body) = (vec![1; 300], vec![2; buf::LARGE]);
            let small = write(&s, &[IoSlice::new(&head), IoSlice::new(&body[..2000])]).await.expect("write");
            flush(&s).await.expect("flush");
            let large = write(&s, &[IoSlice::new(&head), IoSlice::new(&body)]).await.expect("write");
            flush(&s).await.expect("flush");
            (small, large)
        })
    });
    peer::shake(&mut client).expect("handshake");
    const ADDED: usize = 17;
    assert_eq!(records(&client.sock.inner, 2000), [2300 + ADDED]);
    let large = records(&client.sock.inner, 60_000);
    let (small, taken) = thread.join().expect("server");
    assert_eq!(small, 2300);
    assert_eq!(large.len(), 5, "{large:?}");
    assert_eq!(large[..4], [300 + ADDED, 16384 + ADDED, 16384 + ADDED, 16384 + ADDED]);
    assert_eq!(large.iter().sum::<usize>(), taken + 5 * ADDED);
    assert!(taken > 64_000, "{taken}");
}

#[test]
fn writing_does_not_wait_for_reading() {
    let ca = Authority::new();
    let (a, b) = pair(false);
    let mut client = peer::client(a, ca.client(pki::ALL), 1, 100_000);
    let config = Arc::new(ca.server(pki::ALL));
    let thread = std::thread::spawn(move || {
        shard::run(move |local| async move {
            let s = tls::accept(adopt(&local, b), config).await.expect("accept");
            std::future::poll_fn(|cx| s.poll_readable(cx)).await;
            write_all(&s, b"early").await.expect("a write before anything is read");
            assert_eq!(read_exact(&s, 40_000).await, pattern(40_000, 3));
            write_all(&s, b"late").await.expect("write");
        });
    });
    client.write_all(&pattern(40_000, 3)).expect("request");
    let mut answer = [0; 9];
    client.read_exact(&mut answer).expect("answer");
    assert_eq!(&answer, b"earlylate");
    thread.join().expect("server");
}

#[test]
fn keys_are_updated_on_the_way() {
    let ca = Authority::new();
    let (a, b) = pair(false);
    let mut client = peer::client(a, ca.client(pki::EACH[0]), 1, 100_000);
    let config = Arc::new(ca.server(pki::EACH[0]));
    let thread = std::thread::spawn(move || {
        shard::run(move |local| async move {
            let s = tls::accept(adopt(&local, b), config).await.expect("accept");
            for _ in 0..100 {
                assert_eq!(read_exact(&s, 4).await, b"ping");
                write_all(&s, b"pong").await.expect("write");
            }
        });
    });
    for _ in 0..100 {
        client.write_all(b"pi").expect("write");
        client.conn.refresh_traffic_keys().expect("key update");
        client.write_all(b"ng").expect("write");
        let mut answer = [0; 4];
        client.read_exact(&mut answer).expect("read");
        assert_eq!(&answer, b"pong");
    }
    thread.join().expect("server");
}

#[test]
fn a_ticket_is_no_news() {
    let ca = Authority::new();
    let (a, b) = pair(false);
    let mut server = peer::server(a, ca.server(pki::EACH[0]), 1, 100_000);
    let (sent, has_sent) = std::sync::mpsc::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        peer::shake(&mut server).expect("handshake");
        server.flush().expect("tickets");
        sent.send(()).expect("told");
        may_go_on.recv().expect("told");
        server.write_all(b"now").expect("write");
        may_go_on.recv().expect("told");
    });
    let client = Arc::new(ca.client(pki::EACH[0]));
    shard::run(move |local| async move {
        let s = tls::connect(adopt(&local, b), client, pki::localhost()).await.expect("connect");
        flush(&s).await.expect("flush");
        has_sent.recv().expect("told");
        assert!(s.is_quiet() && !s.has_news() && !s.at_end() && !s.is_closed());
        go_on.send(()).expect("told");
        std::future::poll_fn(|cx| s.poll_readable(cx)).await;
        assert!(!s.is_quiet() && s.has_news() && !s.at_end());
        assert_eq!(read_exact(&s, 3).await, b"now");
        assert!(s.is_quiet() && !s.has_news());
        go_on.send(()).expect("told");
    });
    thread.join().expect("server");
}
