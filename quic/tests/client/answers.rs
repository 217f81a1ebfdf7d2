//! What a good server answers.
use super::support::{NAME, PATIENCE, Server, Trust, ask, get, on_shard, pattern, request};
use edge_quic::client::Settings;
use std::sync::Arc;

/// A request to the good server and its answer. Bodies, both ways, are [`pattern`]s.
struct Asked {
    method: &'static str,
    path: String,
    upload: usize,
    status: u16,
    body: usize,
    trailers: usize,
}

fn bytes(n: usize) -> Asked {
    Asked { method: "GET", path: format!("/bytes/{n}"), upload: 0, status: 200, body: n, trailers: 0 }
}

fn echo(n: usize) -> Asked {
    Asked { method: "POST", path: "/echo".into(), upload: n, ..bytes(n) }
}

/// What is asked on one connection, how much of it at once, and how the client is set.
struct Case {
    name: &'static str,
    asked: Vec<Asked>,
    at_once: usize,
    set: fn(&mut Settings),
}

fn cases() -> [Case; 5] {
    let usual = |_: &mut Settings| ();
    let sizes = [0, 1, 100, 1024, 1200, 16_384, 100_000, 3_000_000];
    let uploads = [1, 4096, 4097, 50_000, 4_000_000];
    let oddities = vec![
        Asked { method: "HEAD", body: 0, ..bytes(500) },
        Asked { path: "/trailers".into(), trailers: 1, ..bytes(0) },
        Asked { path: "/none".into(), status: 404, ..bytes(0) },
    ];
    let all = |of: &[usize], n: usize| of.iter().copied().cycle().take(n).map(bytes).collect();
    [
        Case { name: "all sizes, many at once", asked: all(&sizes, 160), at_once: 37, set: usual },
        Case { name: "more than the server allows", asked: (0..500).map(bytes).collect(), at_once: 1000, set: usual },
        Case { name: "bodies both ways", asked: uploads.map(echo).into(), at_once: 5, set: usual },
        Case { name: "kept fields", asked: oddities, at_once: 3, set: |settings| settings.h3.keep_fields = true },
        Case {
            name: "a table of QPACK's",
            asked: (0..50).map(bytes).collect(),
            at_once: 10,
            set: |settings| (settings.h3.table_bytes, settings.h3.blocked_streams) = (4096, 16),
        },
    ]
}

#[test]
fn a_good_server_answers_whatever_is_asked() {
    let trust = Arc::new(Trust::new());
    let server = Server::good(trust.server());
    for Case { name, asked, at_once, set } in cases() {
        let (trust, addr) = (trust.clone(), server.addr);
        on_shard(move |local| async move {
            let mut settings = Settings::default();
            set(&mut settings);
            let mut connection = trust.client_with(&local, &settings).connect(addr, NAME).unwrap();
            assert!(!connection.connected(PATIENCE).await.unwrap().resumed);
            let requests: Vec<_> = asked.iter().map(|a| request(a.method, &a.path, &pattern(a.upload))).collect();
            let got = ask(&mut connection, &requests, at_once).await;
            assert!(connection.lost().is_none(), "{name}: {:?}", connection.lost());
            assert_eq!((got.len(), connection.requests()), (asked.len(), 0), "{name}");
            for (got, a) in got.iter().zip(&asked) {
                let (is, is_to_be) = ((got.status, got.trailers), (a.status, a.trailers));
                assert!(got.is_whole() && is == is_to_be, "{name}: {} {}: {is:?} {:?}", a.method, a.path, got.end);
                assert!(got.body == pattern(a.body), "{name}: {} bytes of {}", got.body.len(), a.body);
            }
            let bodies: usize = asked.iter().map(|a| a.body).sum();
            assert!(connection.bytes().0 > bodies as u64, "{name}");
        });
    }
}

#[test]
fn sessions_are_resumed() {
    let trust = Trust::new();
    let server = Server::good(trust.server());
    let addr = server.addr;
    on_shard(move |local| async move {
        let client = trust.client(&local);
        let mut resumed = Vec::new();
        for _ in 0..3 {
            let mut connection = client.connect(addr, NAME).unwrap();
            resumed.push(connection.connected(PATIENCE).await.unwrap().resumed);
            assert!(ask(&mut connection, &[get("/bytes/10")], 1).await[0].is_whole());
        }
        assert_eq!(resumed, [false, true, true]);
    });
}

#[test]
fn a_retry_is_answered() {
    let trust = Trust::new();
    let retried = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = retried.clone();
    let server = Server::start(trust.server(), move |incoming| {
        let count = count.clone();
        async move {
            if !incoming.remote_address_validated() {
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                return incoming.retry().unwrap();
            }
            if let Ok(connection) = incoming.await {
                connection.closed().await;
            }
        }
    });
    let addr = server.addr;
    on_shard(move |local| async move {
        let mut connection = trust.client(&local).connect(addr, NAME).unwrap();
        connection.connected(PATIENCE).await.unwrap();
    });
    assert_eq!(retried.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[test]
fn a_goaway_rejects_what_was_not_processed() {
    let trust = Trust::new();
    let server = Server::start(trust.server(), |incoming| async move {
        let Ok(connection) = incoming.await else { return };
        let mut control = connection.open_uni().await.unwrap();
        control.write_all(&[0, 4, 0]).await.unwrap();
        // Of four requests the first two are processed.
        let mut sends = Vec::new();
        for _ in 0..4 {
            let Ok((send, _)) = connection.accept_bi().await else { return };
            sends.push(send);
        }
        control.write_all(&[7, 1, 8]).await.unwrap();
        for send in sends.iter_mut().take(2) {
            send.write_all(&[1, 3, 0, 0, 0xd9]).await.unwrap();
            send.finish().unwrap();
        }
        connection.closed().await;
    });
    let addr = server.addr;
    on_shard(move |local| async move {
        let mut connection = trust.client(&local).connect(addr, NAME).unwrap();
        connection.connected(PATIENCE).await.unwrap();
        let requests: Vec<_> = (0..10).map(|_| get("/")).collect();
        let got = ask(&mut connection, &requests, 4).await;
        assert!(connection.is_going() && connection.lost().is_none());
        assert!(got[..2].iter().all(|got| got.is_whole() && got.status == 200), "{got:?}");
        let rejected = Some(Err(edge_quic::client::Failure::Rejected));
        assert!(got[2..].iter().all(|got| got.end == rejected), "{got:?}");
        assert!(got.len() <= 6, "nothing is sent behind it");
        assert!(connection.open(&get("/")).is_none());
    });
}
