//! Servers that are not there, do not answer, answer something else, or go away in the middle.
use super::support::{Got, NAME, PATIENCE, Server, Trust, ask, client, get, on_shard, request};
use edge_io::{runtime::Local, tls::ErrorKind};
use edge_quic::{
    client::{Event, Failure, Lost, Settings},
    h3::ErrorCode,
};
use std::{
    future::poll_fn,
    net::{SocketAddr, UdpSocket},
    task::Poll,
    time::{Duration, Instant},
};

/// A head of status 200, and of a body of 10 bytes the first 4.
const HALF: &[u8] = &[1, 3, 0, 0, 0xd9, 0, 10, b'h', b'a', b'l', b'f'];

async fn cannot_connect(local: &Local, trust: &Trust, addr: SocketAddr, patience: Duration) -> Lost {
    let mut connection = trust.client(local).connect(addr, NAME).unwrap();
    connection.connected(patience).await.unwrap_err()
}

#[test]
fn nobody_listens() {
    let addr = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    on_shard(move |local| async move {
        let lost = cannot_connect(&local, &Trust::new(), addr, PATIENCE).await;
        assert!(matches!(lost, Lost::Refused), "{lost}");
    });
}

#[test]
fn nobody_answers() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    on_shard(move |local| async move {
        let begin = Instant::now();
        let lost = cannot_connect(&local, &Trust::new(), addr, Duration::from_millis(300)).await;
        assert!(matches!(lost, Lost::TimedOut), "{lost}");
        assert!((Duration::from_millis(300)..Duration::from_secs(10)).contains(&begin.elapsed()));
    });
    drop(socket);
}

/// A peer that answers each datagram with what `make` makes of it.
fn with_answers(make: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static, test: impl FnOnce(SocketAddr)) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            let Ok((n, from)) = socket.recv_from(&mut buffer) else { continue };
            for datagram in make(&buffer[..n]) {
                let _ = socket.send_to(&datagram, from);
            }
        }
    });
    test(addr);
    drop(stop);
    thread.join().unwrap();
}

#[test]
fn garbage_is_passed_over() {
    let make = |got: &[u8]| {
        let long = [&[0xc0, 0, 0, 0, 1, 0, 0][..], &got[..200]].concat();
        vec![vec![], vec![0x40; 30], got.to_vec(), long, vec![0xff; 1200], vec![0xc3; 7]]
    };
    with_answers(make, |addr| {
        on_shard(move |local| async move {
            let lost = cannot_connect(&local, &Trust::new(), addr, Duration::from_millis(500)).await;
            assert!(matches!(lost, Lost::TimedOut), "{lost}");
        });
    });
}

#[test]
fn another_version() {
    // Version negotiation (RFC 9000, section 17.2.1): the ids change places, and one version is offered.
    let make = |got: &[u8]| {
        let (to, rest) = got[6..].split_at(usize::from(got[5]));
        let from = &rest[1..1 + usize::from(rest[0])];
        let ids = [&[from.len() as u8][..], from, &[to.len() as u8], to].concat();
        vec![[&[0x80, 0, 0, 0, 0][..], &ids, &[0x6b, 0x33, 0x43, 0xcf]].concat()]
    };
    with_answers(make, |addr| {
        on_shard(move |local| async move {
            let lost = cannot_connect(&local, &Trust::new(), addr, PATIENCE).await;
            assert!(matches!(lost, Lost::Version), "{lost}");
        });
    });
}

#[test]
fn certificates_and_protocols_that_are_not_wanted() {
    let trust = Trust::new();
    let mut other = trust.server_tls();
    other.alpn_protocols = vec![b"hq".to_vec()];
    let servers = [Server::good(trust.server()), Server::good(trust.server_of(other))];
    let (good, hq) = (servers[0].addr, servers[1].addr);
    on_shard(move |local| async move {
        let lost = cannot_connect(&local, &Trust::new(), good, PATIENCE).await;
        // Both name themselves alike, and only the keys differ.
        assert!(matches!(&lost, Lost::Handshake(e) if e.kind == ErrorKind::BadCertificate), "{lost}");
        let mut connection = trust.client(&local).connect(good, "other.example").unwrap();
        let lost = connection.connected(PATIENCE).await.unwrap_err();
        assert!(matches!(&lost, Lost::Handshake(e) if e.kind == ErrorKind::NameMismatch), "{lost}");
        let lost = cannot_connect(&local, &trust, hq, PATIENCE).await;
        assert!(matches!(&lost, Lost::Handshake(e) if e.kind == ErrorKind::NoSharedProtocol), "{lost}");
    });
}

/// Ten requests, of which a server does to the third and what follows as `answer` does.
fn ask_ten<F, M>(answer: F) -> (Vec<Got>, Option<String>)
where
    F: Fn(quinn::Connection, quinn::SendStream, u64) -> M + Clone + Send + 'static,
    M: Future<Output = ()> + 'static,
{
    let trust = Trust::new();
    let server = Server::raw(trust.server(), answer);
    let addr = server.addr;
    on_shard(move |local| async move {
        let mut connection = trust.client(&local).connect(addr, NAME).unwrap();
        connection.connected(PATIENCE).await.unwrap();
        let requests: Vec<_> = (0..10).map(|_| get("/")).collect();
        let got = ask(&mut connection, &requests, 3).await;
        (got, connection.lost().map(|lost| format!("{lost:?}")))
    })
}

#[test]
fn a_close_in_the_middle_of_an_answer() {
    let (got, lost) = ask_ten(|connection, mut send, number| async move {
        let _ = send.write_all(HALF).await;
        if number == 2 {
            connection.close(0x100u32.into(), b"");
        }
        std::future::pending::<()>().await;
    });
    assert_eq!(lost.as_deref(), Some("Closed(H3_NO_ERROR(0x100))"));
    assert_eq!(got.len(), 3);
    assert!(got.iter().all(|got| got.end.is_none()), "{got:?}");
}

#[test]
fn streams_that_are_reset() {
    let (got, lost) = ask_ten(|_, mut send, number| async move {
        let _ = send.write_all(HALF).await;
        let code = [ErrorCode::H3_INTERNAL_ERROR, ErrorCode::H3_REQUEST_REJECTED][number as usize % 2];
        let _ = send.reset((code.0 as u32).into());
    });
    assert_eq!(lost, None);
    assert_eq!(got.len(), 10);
    let ends: Vec<_> = got.iter().map(|got| got.end).collect();
    let reset = Some(Err(Failure::Reset(ErrorCode::H3_INTERNAL_ERROR)));
    assert!(ends.chunks(2).all(|two| two == [reset, Some(Err(Failure::Rejected))]), "{ends:?}");
}

#[test]
fn answers_that_are_none() {
    let (got, lost) = ask_ten(|_, mut send, number| async move {
        let bytes: &[u8] = match number % 3 {
            0 => &[1, 3, 0, 0, 0xd1],                   // a request's :path
            1 => &[1, 3, 0, 0, 0xd9],                   // good
            _ => &[1, 6, 0, 0, 0xd9, 0xc4, 0xd9, 0xd9], // two statuses
        };
        let _ = send.write_all(bytes).await;
        let _ = send.finish();
        let _ = send.stopped().await;
    });
    assert_eq!(lost, None);
    for (n, got) in got.iter().enumerate() {
        match n % 3 {
            1 => assert!(got.is_whole(), "{got:?}"),
            _ => assert!(matches!(got.end, Some(Err(Failure::Broken(ErrorCode::H3_MESSAGE_ERROR, _)))), "{n}: {got:?}"),
        }
    }
}

#[test]
fn a_broken_protocol_ends_the_connection() {
    let (got, lost) = ask_ten(|_, mut send, _| async move {
        let _ = send.write_all(&[0, 1, 1]).await; // DATA before the head
        std::future::pending::<()>().await;
    });
    assert!(lost.as_deref().is_some_and(|lost| lost.contains("H3_FRAME_UNEXPECTED")), "{lost:?}");
    assert!(got.iter().all(|got| got.end.is_none()));
}

#[test]
fn a_cut_frame_ends_the_connection() {
    let (_, lost) = ask_ten(|_, mut send, _| async move {
        let _ = send.write_all(HALF).await;
        let _ = send.finish();
        std::future::pending::<()>().await;
    });
    assert!(lost.as_deref().is_some_and(|lost| lost.contains("H3_FRAME_ERROR")), "{lost:?}");
}

#[test]
fn who_waits_no_longer_cancels() {
    let trust = Trust::new();
    let (told, is_told) = std::sync::mpsc::channel();
    let server = Server::raw(trust.server(), move |_, mut send, number| {
        let told = told.clone();
        async move {
            if number == 0 {
                let _ = send.write_all(HALF).await;
                // Both directions are given up: the answer is stopped.
                let _ = told.send(send.stopped().await.map(|code| code.map(u64::from)));
            } else {
                let _ = send.write_all(&[1, 3, 0, 0, 0xd9]).await;
                let _ = send.finish();
                let _ = send.stopped().await;
            }
        }
    });
    let addr = server.addr;
    on_shard(move |local| async move {
        let mut connection = trust.client(&local).connect(addr, NAME).unwrap();
        connection.connected(PATIENCE).await.unwrap();
        let mut place = None;
        poll_fn(|cx| {
            let mut seen = false;
            connection.turn(cx, &mut |_, event| seen |= matches!(event, Event::Data(_)));
            place = place.or_else(|| connection.open(&get("/")));
            connection.flush(cx);
            if seen { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        connection.cancel(place.unwrap());
        assert_eq!(connection.requests(), 0);
        let got = ask(&mut connection, &[get("/")], 1).await;
        assert!(got[0].is_whole(), "the connection goes on");
    });
    assert_eq!(is_told.recv().unwrap().unwrap(), Some(ErrorCode::H3_REQUEST_CANCELLED.0));
}

#[test]
fn a_request_that_is_stopped_may_be_answered() {
    let trust = Trust::new();
    let server = Server::start(trust.server(), |incoming| async move {
        let Ok(connection) = incoming.await else { return };
        let Ok((mut send, mut receive)) = connection.accept_bi().await else { return };
        receive.stop(0x100u32.into()).unwrap();
        send.write_all(&[1, 3, 0, 0, 0xd9]).await.unwrap();
        send.finish().unwrap();
        connection.closed().await;
    });
    let addr = server.addr;
    on_shard(move |local| async move {
        let mut connection = trust.client(&local).connect(addr, NAME).unwrap();
        connection.connected(PATIENCE).await.unwrap();
        let got = ask(&mut connection, &[request("POST", "/", &vec![7; 8_000_000])], 1).await;
        assert!(got[0].is_whole() && got[0].status == 200, "{:?}", connection.lost());
    });
}

#[test]
fn a_server_that_is_gone_is_found_out() {
    let trust = Trust::new();
    let server = Server::raw(trust.server(), |_, send, _| async move {
        let _send = send;
        std::future::pending::<()>().await;
    });
    let addr = server.addr;
    let mut server = Some(server);
    let settings = Settings { keepalive: Duration::from_millis(100), ..Settings::default() };
    let (begun, has_begun) = std::sync::mpsc::channel();
    let killer = std::thread::spawn(move || {
        has_begun.recv().unwrap();
        server.take();
    });
    let lost = on_shard(move |local| async move {
        let mut connection = client(&local, trust.client_tls(), &settings).connect(addr, NAME).unwrap();
        connection.connected(PATIENCE).await.unwrap();
        begun.send(()).unwrap();
        ask(&mut connection, &[get("/")], 1).await;
        connection.lost().map(|lost| format!("{lost:?}"))
    });
    killer.join().unwrap();
    // It closes its connections when it ends, or its port is closed.
    assert!(matches!(lost.as_deref(), Some("Refused" | "Closed(UNKNOWN(0x0))" | "GivenUp(0)")), "{lost:?}");
}

#[test]
fn silence_ends_a_connection() {
    let trust = Trust::new();
    let mut config = trust.server();
    let mut transport = quinn::TransportConfig::default();
    transport.max_idle_timeout(None);
    config.transport_config(transport.into());
    let (socket, server) = super::lossy::relayed(config, |_, _| super::lossy::Fate::Arrives);
    let addr = socket.addr;
    let settings = Settings {
        idle_timeout: Duration::from_millis(400),
        keepalive: Duration::from_millis(100),
        ..Settings::default()
    };
    on_shard(move |local| async move {
        let mut connection = client(&local, trust.client_tls(), &settings).connect(addr, NAME).unwrap();
        connection.connected(PATIENCE).await.unwrap();
        let got = ask(&mut connection, &[get("/bytes/10")], 1).await;
        assert!(got[0].is_whole());
        socket.silence();
        ask(&mut connection, &[get("/bytes/10")], 1).await;
        assert!(matches!(connection.lost(), Some(Lost::TimedOut)), "{:?}", connection.lost());
    });
    drop(server);
}
