//! A network that loses, repeats and reorders datagrams, by a choice that a seed fixes.
use super::support::{NAME, PATIENCE, Server, Trust, ask, get, on_shard, pattern, request};
use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// What becomes of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Arrives,
    IsLost,
    ComesTwice,
    /// Behind the next.
    ComesLate,
}

/// Stands between one client and a server.
pub struct Relay {
    /// Where clients send to.
    pub addr: SocketAddr,
    silent: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Relay {
    /// From now on nothing arrives.
    pub fn silence(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

/// A good server behind a relay. `fate` is asked for each datagram: whether it goes to the server, and its number.
pub fn relayed(
    config: quinn::ServerConfig,
    fate: impl Fn(bool, u64) -> Fate + Clone + Send + 'static,
) -> (Relay, Server) {
    let server = Server::good(config);
    let outer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let inner = UdpSocket::bind("127.0.0.1:0").unwrap();
    inner.connect(server.addr).unwrap();
    let addr = outer.local_addr().unwrap();
    for socket in [&outer, &inner] {
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    }
    let (silent, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let client = Arc::new(std::sync::Mutex::new(None));
    let there = {
        let (from, to, client) = (outer.try_clone().unwrap(), inner.try_clone().unwrap(), client.clone());
        let (silent, over, fate) = (silent.clone(), over.clone(), fate.clone());
        std::thread::spawn(move || {
            carry(
                &over,
                &silent,
                |n| fate(true, n),
                &from,
                |datagram, sender| {
                    *client.lock().unwrap() = sender;
                    let _ = to.send(datagram);
                },
            );
        })
    };
    let back = {
        let (silent, over) = (silent.clone(), over.clone());
        std::thread::spawn(move || {
            carry(
                &over,
                &silent,
                |n| fate(false, n),
                &inner,
                |datagram, _| {
                    if let Some(client) = *client.lock().unwrap() {
                        let _ = outer.send_to(datagram, client);
                    }
                },
            );
        })
    };
    (Relay { addr, silent, over, threads: vec![there, back] }, server)
}

fn carry(
    over: &AtomicBool,
    silent: &AtomicBool,
    fate: impl Fn(u64) -> Fate,
    from: &UdpSocket,
    send: impl Fn(&[u8], Option<SocketAddr>),
) {
    let mut buffer = vec![0; 1 << 16];
    let (mut number, mut late) = (0, None);
    while !over.load(Ordering::Relaxed) {
        let Ok((n, sender)) = from.recv_from(&mut buffer) else { continue };
        if silent.load(Ordering::Relaxed) {
            continue;
        }
        let fate = fate(number);
        number += 1;
        match fate {
            Fate::IsLost => {}
            Fate::ComesLate => late = Some(buffer[..n].to_vec()),
            Fate::Arrives | Fate::ComesTwice => {
                send(&buffer[..n], Some(sender));
                if fate == Fate::ComesTwice {
                    send(&buffer[..n], Some(sender));
                }
                if let Some(late) = late.take() {
                    send(&late, Some(sender));
                }
            }
        }
    }
}

/// One of `of` by chance, by the seed, the direction and the number.
fn chance(seed: u64, to_server: bool, number: u64) -> u64 {
    let mut x = seed ^ (number << 1 | u64::from(to_server)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for shift in [30, 27, 31] {
        x = (x ^ (x >> shift)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    x >> 33
}

#[test]
fn everything_arrives_however_much_is_lost() {
    for seed in [1, 2, 3] {
        let trust = Trust::new();
        let (relay, server) =
            relayed(trust.server(), move |to_server, number| match chance(seed, to_server, number) % 20 {
                0 => Fate::IsLost,
                1 => Fate::ComesTwice,
                2 => Fate::ComesLate,
                _ => Fate::Arrives,
            });
        let addr = relay.addr;
        on_shard(move |local| async move {
            let mut connection = trust.client(&local).connect(addr, NAME).unwrap();
            connection.connected(PATIENCE).await.unwrap();
            let mut requests: Vec<_> = (0..60).map(|n| get(&format!("/bytes/{}", n * 97))).collect();
            requests.push(get("/bytes/300000"));
            requests.push(request("POST", "/echo", &pattern(100_000)));
            let got = ask(&mut connection, &requests, 20).await;
            assert!(connection.lost().is_none(), "seed {seed}: {:?}", connection.lost());
            let sizes = (0..60).map(|n| n * 97).chain([300_000, 100_000]);
            for (got, n) in got.iter().zip(sizes) {
                assert!(got.is_whole() && got.body == pattern(n), "seed {seed}: {} of {n} bytes", got.body.len());
            }
            assert!(connection.path().0 > 0, "seed {seed}: none of ours was lost");
        });
        drop((relay, server));
    }
}

#[test]
fn a_handshake_whose_first_packets_are_lost_is_repeated() {
    let trust = Trust::new();
    let (relay, server) = relayed(trust.server(), |_, number| if number == 0 { Fate::IsLost } else { Fate::Arrives });
    let addr = relay.addr;
    on_shard(move |local| async move {
        let mut connection = trust.client(&local).connect(addr, NAME).unwrap();
        connection.connected(PATIENCE).await.unwrap();
        assert!(ask(&mut connection, &[get("/bytes/5000")], 1).await[0].is_whole());
    });
    drop((relay, server));
}
