//! What a good server answers.
use super::support::{NAME, PATIENCE, Server, Trust, ask, get, on_shard, pattern, request};
use edge_quic::client::Settings;
use std::sync::Arc;

#[test]
fn answers_of_all_sizes_many_at_once() {
    let trust = Trust::new();
    let server = Server::good(trust.server());
    let addr = server.addr;
    on_shard(move |local| async move {
        let mut connection = trust.client(&local).connect(addr, NAME).unwrap();
        let info = connection.connected(PATIENCE).await.unwrap();
        assert!(!info.resumed);
        let sizes = [0, 1, 100, 1024, 1200, 16_384, 100_000, 3_000_000];
        let requests: Vec<_> = sizes.iter().cycle().take(160).map(|n| get(&format!("/bytes/{n}"))).collect();
        let got = ask(&mut connection, &requests, 37).await;
        assert!(connection.lost().is_none(), "{:?}", connection.lost());
        assert_eq!(got.len(), 160);
        for (got, n) in got.iter().zip(sizes.iter().cycle()) {
            assert!(got.is_whole() && got.status == 200);
            assert!(got.body == pattern(*n), "{} of {n} bytes", got.body.len());
        }
        assert!(connection.bytes().0 > 60_000_000);
    });
}

#[test]
fn more_requests_than_the_server_allows_at_once_wait() {
    let trust = Trust::new();
    let server = Server::good(trust.server());
    let addr = server.addr;
    on_shard(move |local| async move {
        let mut connection = trust.client(&local).connect(addr, NAME).unwrap();
        connection.connected(PATIENCE).await.unwrap();
        let requests: Vec<_> = (0..500).map(|n| get(&format!("/bytes/{n}"))).collect();
        let got = ask(&mut connection, &requests, 1000).await;
        assert!(got.iter().enumerate().all(|(n, got)| got.is_whole() && got.body.len() == n));
        assert_eq!(connection.requests(), 0);
    });
}

#[test]
fn bodies_go_out_whole() {
    let trust = Trust::new();
    let server = Server::good(trust.server());
    let addr = server.addr;
    on_shard(move |local| async move {
        let mut connection = trust.client(&local).connect(addr, NAME).unwrap();
        connection.connected(PATIENCE).await.unwrap();
        let bodies: Vec<_> = [1, 4096, 4097, 50_000, 4_000_000].into_iter().map(pattern).collect();
        let requests: Vec<_> = bodies.iter().map(|body| request("POST", "/echo", body)).collect();
        let got = ask(&mut connection, &requests, 5).await;
        for (got, body) in got.iter().zip(&bodies) {
            assert!(got.is_whole() && got.body == *body, "{} of {}", got.body.len(), body.len());
        }
    });
}

#[test]
fn heads_without_bodies_trailers_and_statuses() {
    let trust = Trust::new();
    let server = Server::good(trust.server());
    let addr = server.addr;
    on_shard(move |local| async move {
        let mut settings = Settings::default();
        settings.h3.keep_fields = true;
        let mut connection = trust.client_with(&local, &settings).connect(addr, NAME).unwrap();
        connection.connected(PATIENCE).await.unwrap();
        let requests = [request("HEAD", "/bytes/500", b""), get("/trailers"), get("/none")];
        let got = ask(&mut connection, &requests, 3).await;
        assert!(got.iter().all(|got| got.is_whole()), "{got:?}");
        assert_eq!((got[0].status, got[0].body.len()), (200, 0));
        assert_eq!((got[1].status, got[1].trailers), (200, 1));
        assert_eq!(got[2].status, 404);
    });
}

#[test]
fn a_table_of_qpacks_may_be_offered() {
    let trust = Trust::new();
    let server = Server::good(trust.server());
    let addr = server.addr;
    on_shard(move |local| async move {
        let mut settings = Settings::default();
        (settings.h3.table_bytes, settings.h3.blocked_streams) = (4096, 16);
        let mut connection = trust.client_with(&local, &settings).connect(addr, NAME).unwrap();
        connection.connected(PATIENCE).await.unwrap();
        let requests: Vec<_> = (0..50).map(|n| get(&format!("/bytes/{n}"))).collect();
        let got = ask(&mut connection, &requests, 10).await;
        assert!(got.iter().enumerate().all(|(n, got)| got.is_whole() && got.body.len() == n));
    });
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
