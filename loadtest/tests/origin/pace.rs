//! When answers come: delays, capacity, places, stalls, as a client sees them.
use super::*;
use bytes::Bytes;
use edge_loadtest::origin::script::{Rate, Stalls};
use h2::client::SendRequest;
use hyper::Request;
use std::{num::NonZeroUsize, time::Instant};
use tokio::sync::mpsc;

async fn open(origin: &Running) -> SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(addr(origin)).await.unwrap();
    let (send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    send.ready().await.unwrap()
}

/// When each of `count` answers came, `at_once` requests being under way all the time; with its status.
async fn load(origin: &Running, at_once: usize, count: usize) -> Vec<(Instant, u16)> {
    let send = open(origin).await;
    let (done, mut answers) = mpsc::channel(at_once);
    for _ in 0..at_once {
        let (mut send, done, uri) = (send.clone(), done.clone(), format!("http://{}/?size=0", addr(origin)));
        tokio::spawn(async move {
            loop {
                let (answer, _) = send.send_request(Request::get(&uri).body(()).unwrap(), true).unwrap();
                let status = answer.await.unwrap().status().as_u16();
                if done.send((Instant::now(), status)).await.is_err() {
                    return;
                }
            }
        });
    }
    let mut all = Vec::new();
    while all.len() < count {
        all.push(answers.recv().await.unwrap());
    }
    all
}

#[test]
fn a_delay_is_kept_to_less_than_a_millisecond() {
    let origin = serve(Script { delay: "5ms".parse().unwrap(), ..Script::default() });
    let mut stream = connect(&origin);
    let mut took: Vec<Duration> = (0..60)
        .map(|_| {
            let begun = Instant::now();
            stream.write_all(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            assert!(stream.read(&mut [0; 1024]).unwrap() > 50);
            begun.elapsed()
        })
        .collect();
    took.sort_unstable();
    assert!(took[0] >= Duration::from_millis(5), "{took:?}");
    // Half a millisecond for both ends on a quiet machine; tests share theirs.
    assert!(took[15] < Duration::from_micros(6500), "{took:?}");
}

#[test]
fn the_capacity_is_what_clients_get() {
    let origin = serve(Script { capacity: Rate::new(500.0), ..Script::default() });
    let all = block_on(load(&origin, 100, 1101));
    // The first hundred find the queue empty; what follows is the steady state.
    let span = (all[1100].0 - all[100].0).as_secs_f64();
    assert!((span / 2.0 - 1.0).abs() < 0.01, "1000 answers in {span} s at 500 a second");
}

#[test]
fn places_limit_what_is_under_way_and_the_queue_what_waits() {
    let script =
        Script { concurrency: NonZeroUsize::new(4), delay: "20ms".parse().unwrap(), queue: 10, ..Script::default() };
    let origin = serve(script);
    let all = block_on(load(&origin, 14, 200));
    assert!(all.iter().all(|(_, status)| *status == 200), "14 fit: 4 are served and 10 wait");
    let span = (all[199].0 - all[20].0).as_secs_f64();
    let rate = 179.0 / span;
    assert!((170.0..=204.0).contains(&rate), "4 places of 20 ms are 200 a second: {rate}");
    let crowded = block_on(load(&origin, 40, 40));
    assert!(crowded.iter().any(|(_, status)| *status == 503));
    assert!(origin.stats().refused > 0);
}

#[test]
fn in_a_stall_nothing_is_answered_whatever_the_protocol() {
    let (from, long) = (Duration::from_millis(400), Duration::from_millis(500));
    let stalls = Stalls::default().at(from, long).unwrap();
    let origin = serve(Script { stalls, ..Script::default() });
    // The origin's clock began a little earlier than this one.
    let begun = Instant::now();
    let mut stream = connect(&origin);
    let mut answered = Vec::new();
    while begun.elapsed() < Duration::from_millis(1100) {
        let sent = begun.elapsed();
        stream.write_all(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert!(stream.read(&mut [0; 1024]).unwrap() > 50);
        answered.push((sent, begun.elapsed()));
    }
    let gap = answered.windows(2).map(|pair| pair[1].1 - pair[0].1).max().unwrap();
    assert!(gap >= Duration::from_millis(490) && gap < Duration::from_millis(700), "{gap:?}");
    let quiet = |at: &Duration| *at > Duration::from_millis(410) && *at < Duration::from_millis(890);
    assert!(!answered.iter().any(|(_, at)| quiet(at)), "none is answered meanwhile");
}

#[test]
fn the_same_seed_makes_the_same_answers() {
    let statuses = |seed| {
        let script = Script { seed, status: "5xx=30%".parse().unwrap(), ..Script::default() };
        let origin = serve(script);
        (0..40).map(|_| get(&origin, "/")[9..12].to_owned()).collect::<Vec<_>>()
    };
    let first = statuses(11);
    assert_eq!(first, statuses(11));
    assert_ne!(first, statuses(12));
}
