//! Load over HTTP/3 against servers of quinn's: good ones, and such as do what servers should not.
use super::super::testing::plan;
use crate::{
    plan::{Arrivals, Load, Plan, Protocol},
    record::{Fault, Outcome},
};
use std::{
    future::pending,
    net::{SocketAddr, UdpSocket},
    num::NonZeroU64,
    sync::Arc,
    time::Duration,
};

// The servers that the client's own tests have.
#[allow(dead_code)]
#[path = "../../../../quic/tests/client/support.rs"]
mod support;
use support::{Server, Trust};

/// A head of status 200.
const OK: &[u8] = &[1, 3, 0, 0, 0xd9];
/// The same, and of a body of 10 bytes the first 4.
const HALF: &[u8] = &[1, 3, 0, 0, 0xd9, 0, 10, b'h', b'a', b'l', b'f'];

fn h3(address: SocketAddr, path: &str, requests: u64) -> Plan {
    let mut plan = plan(address);
    plan.protocol = Protocol::H3;
    plan.tls.insecure = true;
    plan.requests = NonZeroU64::new(requests);
    for origin in &mut plan.origins {
        (origin.secure, origin.server_name) = (true, support::NAME.into());
        origin.requests[0].target = path.into();
    }
    plan
}

fn run(plan: Plan) -> Outcome {
    crate::run::run(plan, &mut |_| (), &Arc::default()).expect("it runs")
}

fn faults(outcome: &Outcome) -> Vec<(Fault, u64)> {
    outcome.counts.faults.iter().map(|(fault, n)| (*fault, *n)).collect()
}

#[test]
fn many_streams_on_several_connections() {
    let server = Server::good(Trust::new().server());
    let mut plan = h3(server.addr, "/bytes/1000", 1000);
    (plan.connections, plan.streams) = (4, 25);
    let outcome = run(plan);
    assert_eq!((outcome.counts.answered, outcome.counts.sent), (1000, 1000), "{:?}", outcome.counts);
    assert_eq!(outcome.counts.body_bytes, 1_000_000);
    assert_eq!(outcome.counts.status.get(&200), Some(&1000));
    assert_eq!((outcome.counts.connections, outcome.counts.closed), (4, 4));
    assert!(faults(&outcome).is_empty(), "{:?}", faults(&outcome));
    assert!(outcome.counts.bytes_in > 1_000_000 && outcome.counts.bytes_out > 10_000);
    assert_eq!(outcome.times.response.count, 1000);
    assert_eq!(outcome.times.connect.expect("connections were made").count, 4);
    assert_eq!(outcome.asked.protocol, ["h3"]);
}

#[test]
fn an_open_loop_keeps_to_its_schedule() {
    let server = Server::good(Trust::new().server());
    let mut plan = h3(server.addr, "/bytes/10", 0);
    (plan.requests, plan.duration) = (None, Duration::from_secs(1));
    (plan.connections, plan.streams) = (2, 10);
    plan.load = Load::Open { rate: 400.0, arrivals: Arrivals::Constant };
    let outcome = run(plan);
    assert_eq!(outcome.counts.answered + outcome.counts.unsent, 400, "{:?}", outcome.counts);
    assert!(faults(&outcome).is_empty(), "{:?}", faults(&outcome));
}

#[test]
fn connections_are_replaced_and_sessions_resumed_unless_that_is_not_wanted() {
    let server = Server::good(Trust::new().server());
    for no_resume in [false, true] {
        let mut plan = h3(server.addr, "/bytes/10", 30);
        (plan.streams, plan.requests_per_connection) = (3, NonZeroU64::new(5));
        plan.tls.no_resume = no_resume;
        let outcome = run(plan);
        let counts = &outcome.counts;
        assert_eq!((counts.answered, counts.connections, counts.closed), (30, 6, 6), "{counts:?}");
        assert_eq!(counts.resumed, if no_resume { 0 } else { 5 });
        assert!(faults(&outcome).is_empty(), "{:?}", faults(&outcome));
    }
}

#[test]
fn bodies_go_out_and_answers_are_checked() {
    let server = Server::good(Trust::new().server());
    let mut plan = h3(server.addr, "/echo", 20);
    let request = &mut plan.origins[0].requests[0];
    (request.method, request.body) = ("POST".into(), support::pattern(50_000).into());
    request.fields = vec![("x-extra".into(), b"yes".to_vec())];
    plan.streams = 4;
    let mut other = plan.clone();
    other.expect.body = Some(regex::bytes::Regex::new("^nothing like it").expect("a pattern"));
    let outcome = run(plan);
    assert_eq!((outcome.counts.answered, outcome.counts.body_bytes), (20, 1_000_000), "{:?}", outcome.counts);
    assert!(faults(&outcome).is_empty());
    assert_eq!(faults(&run(other)), [(Fault::Body, 20)]);
}

#[test]
fn statuses_and_sizes_that_are_not_expected() {
    let server = Server::good(Trust::new().server());
    assert_eq!(faults(&run(h3(server.addr, "/none", 10))), [(Fault::Status, 10)]);
    let mut plan = h3(server.addr, "/bytes/100000", 10);
    (plan.streams, plan.body_max) = (2, 50_000);
    assert_eq!(faults(&run(plan)), [(Fault::TooLarge, 10)]);
}

/// Twelve requests, three at once, each with an end of its own.
fn against<F, M>(answer: F, timeout: Duration) -> Outcome
where
    F: Fn(quinn::Connection, quinn::SendStream, u64) -> M + Clone + Send + 'static,
    M: Future<Output = ()> + 'static,
{
    let server = Server::raw(Trust::new().server(), answer);
    let mut plan = h3(server.addr, "/", 12);
    (plan.streams, plan.timeout) = (3, timeout);
    let outcome = run(plan);
    let counts = &outcome.counts;
    let failed: u64 = counts.faults.values().sum();
    assert_eq!((counts.sent, counts.answered + failed), (12, 12), "each has one end: {counts:?}");
    outcome
}

#[test]
fn streams_are_reset_and_refused() {
    let outcome = against(
        |_, mut send, number| async move {
            let _ = send.write_all(HALF).await;
            let _ = send.reset([0x102u32, 0x10b][number as usize % 2].into());
        },
        support::PATIENCE,
    );
    assert_eq!(faults(&outcome), [(Fault::StreamReset, 6), (Fault::Refused, 6)]);
    assert_eq!(outcome.counts.connections, 1);
}

#[test]
fn a_server_that_stalls_costs_the_request_and_not_the_connection() {
    let outcome = against(
        |_, mut send, number| async move {
            if number % 2 == 0 {
                let _ = send.write_all(OK).await;
                let _ = send.finish();
                let _ = send.stopped().await;
            } else {
                let _ = send.stopped().await; // until it is cancelled
            }
        },
        Duration::from_millis(200),
    );
    assert_eq!(faults(&outcome), [(Fault::Timeout, 6)]);
    assert_eq!((outcome.counts.answered, outcome.counts.connections), (6, 1));
}

#[test]
fn closes_before_and_in_the_middle_of_answers() {
    let outcome = against(
        |connection, mut send, number| async move {
            if number % 3 == 0 {
                let _ = send.write_all(HALF).await;
            }
            if number % 3 == 2 {
                tokio::task::yield_now().await;
                connection.close(0x100u32.into(), b"");
            }
            pending::<()>().await;
        },
        support::PATIENCE,
    );
    assert_eq!(outcome.counts.connections, 4, "{:?}", outcome.counts);
    let kinds: Vec<_> = faults(&outcome).into_iter().map(|(fault, _)| fault).collect();
    assert!(kinds.iter().all(|fault| matches!(fault, Fault::Closed | Fault::Truncated)), "{kinds:?}");
}

#[test]
fn what_is_not_the_protocol() {
    let malformed = |_, mut send: quinn::SendStream, _| async move {
        let _ = send.write_all(&[1, 3, 0, 0, 0xd1]).await; // a :path in an answer
        let _ = send.finish();
        let _ = send.stopped().await;
    };
    let outcome = against(malformed, support::PATIENCE);
    assert_eq!((faults(&outcome), outcome.counts.connections), (vec![(Fault::Protocol, 12)], 1));
    let broken = |_, mut send: quinn::SendStream, _| async move {
        let _ = send.write_all(&[0, 1, 1]).await; // DATA before the head
        pending::<()>().await;
    };
    let outcome = against(broken, support::PATIENCE);
    assert_eq!(faults(&outcome), [(Fault::Protocol, 12)]);
    assert_eq!(outcome.counts.connections, 4);
}

#[test]
fn a_goaway_ends_the_connection_and_another_takes_its_place() {
    let server = Server::start(Trust::new().server(), |incoming| async move {
        let Ok(connection) = incoming.await else { return };
        let Ok(mut control) = connection.open_uni().await else { return };
        let _ = control.write_all(&[0, 4, 0]).await;
        // Of three requests the first is processed.
        let mut sends = Vec::new();
        for _ in 0..3 {
            let Ok((send, _)) = connection.accept_bi().await else { return };
            sends.push(send);
        }
        let _ = control.write_all(&[7, 1, 4]).await;
        let _ = sends[0].write_all(OK).await;
        let _ = sends[0].finish();
        connection.closed().await;
    });
    let mut plan = h3(server.addr, "/", 12);
    plan.streams = 3;
    let outcome = run(plan);
    assert_eq!((outcome.counts.answered, outcome.counts.connections), (4, 4), "{:?}", outcome.counts);
    assert_eq!(faults(&outcome), [(Fault::Refused, 8)]);
}

/// The faults of connections that are tried for a while.
fn tried(plan: Plan) -> Vec<Fault> {
    let plan = Plan { requests: None, duration: Duration::from_millis(700), ..plan };
    let outcome = run(plan);
    assert_eq!((outcome.counts.sent, outcome.counts.connections), (0, 0), "{:?}", outcome.counts);
    faults(&outcome).into_iter().map(|(fault, _)| fault).collect()
}

#[test]
fn connections_that_cannot_be_made() {
    let addr = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    assert_eq!(tried(h3(addr, "/", 1)), [Fault::ConnectRefused]);
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let mut plan = h3(silent.local_addr().expect("bound"), "/", 1);
    plan.connect_timeout = Duration::from_millis(200);
    assert_eq!(tried(plan), [Fault::ConnectTimeout]);
    let trust = Trust::new();
    let mut hq = trust.server_tls();
    hq.alpn_protocols = vec![b"hq".to_vec()];
    let server = Server::good(trust.server_of(hq));
    assert_eq!(tried(h3(server.addr, "/", 1)), [Fault::Alpn]);
}

#[test]
fn an_untrusted_certificate() {
    let authority = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(authority.path(), Trust::new().pem()).expect("written");
    let server = Server::good(Trust::new().server());
    let mut plan = h3(server.addr, "/", 1);
    (plan.tls.insecure, plan.tls.ca) = (false, Some(authority.path().to_owned()));
    assert_eq!(tried(plan), [Fault::Handshake]);
}

#[test]
fn a_server_that_always_says_goodbye_is_not_asked_in_a_hot_loop() {
    let server = Server::start(Trust::new().server(), |incoming| async move {
        let Ok(connection) = incoming.await else { return };
        let Ok(mut control) = connection.open_uni().await else { return };
        let _ = control.write_all(&[0, 4, 0, 7, 1, 0]).await;
        connection.closed().await;
    });
    let mut plan = h3(server.addr, "/", 1);
    (plan.requests, plan.duration) = (None, Duration::from_millis(600));
    let outcome = run(plan);
    // Pauses of 10, 20, 40, 80, 160, 320 ms.
    assert!((2..=7).contains(&outcome.counts.connections), "{:?}", outcome.counts);
    assert_eq!(outcome.counts.answered, 0);
}
