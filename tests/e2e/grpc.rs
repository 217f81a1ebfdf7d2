//! gRPC with a client and a server that are not ours: calls of every kind, deadlines, and what the edge says in their terms.
use crate::harness::{
    Origin, PATIENCE, Pair, Setup,
    edge::{Edge, listener_text},
    eventually,
    grpc::{Channel, Codec, GrpcOrigin, Number, Sent, connect},
    http2::Engine,
    pattern,
};
use http::uri::PathAndQuery;
use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tonic::{Code, Request, Status, client::Grpc};

crate::suite!("grpc";
    streams_both_sides:
        unary_calls,
        errors_of_the_server_arrive_as_they_are,
        server_stream_of_a_thousand_messages,
        ten_thousand_messages_both_ways,
        messages_are_passed_on_as_they_come,
        deadline_is_kept_by_the_edge,
        cancelled_call_is_cancelled_at_the_server,
        lost_server_is_unavailable;
    from_streams:
        refused_connection_is_unavailable;
    each_downstream:
        errors_of_the_edge_are_http_to_others;
);

fn before(at: Pair, origin: &GrpcOrigin, keys: &str) -> Edge {
    let text = listener_text("web", at.down, "")
        + &origin.pool_text("app", keys)
        + "[[route]]\nid = \"all\"\nmatch = { path_prefix = \"/\" }\npool = \"app\"\n";
    Setup::over(at).text(&text).start()
}

fn method(name: &str) -> PathAndQuery {
    format!("/test.Numbers/{name}").parse().expect("a path")
}

/// Runs a client's work, bounded.
fn work<T>(at: Pair, edge: &Edge, work: impl AsyncFnOnce(Grpc<Channel>) -> T) -> T {
    let engine = Engine::start();
    let addr = edge.addr();
    let done = engine.wait_for(PATIENCE * 3, async {
        let client = connect(at.down, &addr).await.expect("a connection");
        work(client).await
    });
    done.expect("an end in time")
}

async fn unary(
    client: &mut Grpc<Channel>,
    name: &str,
    request: Request<Number>,
) -> Result<tonic::Response<Number>, Status> {
    client.ready().await.map_err(|e| Status::unknown(e.to_string()))?;
    client.unary(request, method(name), Codec::default()).await
}

fn unary_calls(at: Pair) {
    let origin = GrpcOrigin::start(at.up);
    let edge = before(at, &origin, "");
    work(at, &edge, async |mut client| {
        for (value, size) in [(1, 0), (2, 10), (3, 100_000), (4, 3_000_000)] {
            let mut request = Request::new(Number { value, data: pattern(size) });
            request.metadata_mut().insert("x-word", "kept".parse().expect("ascii"));
            let got = unary(&mut client, "Next", request).await.expect("an answer");
            assert_eq!(got.metadata().get("x-word").map(|w| w.as_bytes()), Some(b"kept".as_slice()));
            assert!(got.get_ref() == &Number { value: value + 1, data: pattern(size) }, "{value}");
        }
    });
    assert_eq!(edge.wait_log_path("/test.Numbers/Next")["status"], 200);
}

fn errors_of_the_server_arrive_as_they_are(at: Pair) {
    let origin = GrpcOrigin::start(at.up);
    let edge = before(at, &origin, "");
    work(at, &edge, async |mut client| {
        for _ in 0..3 {
            let e = unary(&mut client, "Fail", Request::new(Number::of(1))).await.expect_err("an error");
            assert_eq!((e.code(), e.message()), (Code::NotFound, "no such number: 100 %"));
        }
    });
}

fn server_stream_of_a_thousand_messages(at: Pair) {
    let origin = GrpcOrigin::start(at.up);
    let edge = before(at, &origin, "");
    work(at, &edge, async |mut client| {
        client.ready().await.expect("ready");
        let request = Request::new(Number::of(1_000));
        let answer = client.server_streaming(request, method("Count"), Codec::default()).await.expect("a stream");
        let mut numbers = answer.into_inner();
        for expected in 0..1_000 {
            assert_eq!(numbers.message().await.expect("no error").map(|n: Number| n.value), Some(expected));
        }
        assert_eq!(numbers.message().await.expect("status 0"), None);
    });
}

fn ten_thousand_messages_both_ways(at: Pair) {
    let origin = GrpcOrigin::start(at.up);
    let edge = before(at, &origin, "");
    work(at, &edge, async |mut client| {
        client.ready().await.expect("ready");
        let sent = tokio_stream::iter((0..10_000).map(|n| Number { value: n, data: pattern(n as usize % 50) }));
        let answer = client.streaming(Request::new(sent), method("Each"), Codec::default()).await.expect("a stream");
        let mut numbers = answer.into_inner();
        for n in 0..10_000u64 {
            let got = numbers.message().await.expect("no error").expect("ten thousand");
            assert!(got == Number { value: n + 1, data: pattern(n as usize % 50) }, "message {n}: {got:?}");
        }
        assert_eq!(numbers.message().await.expect("status 0"), None);
    });
}

fn messages_are_passed_on_as_they_come(at: Pair) {
    let origin = GrpcOrigin::start(at.up);
    let edge = before(at, &origin, "");
    work(at, &edge, async |mut client| {
        client.ready().await.expect("ready");
        let (send, sent) = mpsc::channel(1);
        send.send(Number::of(0)).await.expect("the stream is there");
        let answer =
            client.streaming(Request::new(Sent(sent)), method("Each"), Codec::default()).await.expect("a stream");
        let mut numbers = answer.into_inner();
        // Each message is sent only once the answer to the one before it is here.
        for n in 1..=200 {
            let got = numbers.message().await.expect("no error").expect("an answer");
            assert_eq!(got.value, n);
            send.send(got).await.expect("the stream is there");
        }
        drop(send);
        assert_eq!(numbers.message().await.expect("no error").map(|n: Number| n.value), Some(201));
        assert_eq!(numbers.message().await.expect("status 0"), None);
    });
}

fn deadline_is_kept_by_the_edge(at: Pair) {
    let origin = GrpcOrigin::start(at.up);
    let edge = before(at, &origin, "");
    work(at, &edge, async |mut client| {
        let mut request = Request::new(Number::of(1));
        request.set_timeout(Duration::from_millis(400));
        let begun = Instant::now();
        let e = unary(&mut client, "Sleep", request).await.expect_err("an error");
        let took = begun.elapsed();
        assert_eq!(e.code(), Code::DeadlineExceeded, "{e}");
        assert!((Duration::from_millis(350)..Duration::from_secs(5)).contains(&took), "after {took:?}");
        // The connection goes on.
        assert!(unary(&mut client, "Next", Request::new(Number::of(1))).await.is_ok());
    });
    eventually("the call to end at the server", || (origin.waiting.load(Ordering::SeqCst) == 0).then_some(()));
    assert_eq!(edge.wait_log_path("/test.Numbers/Sleep")["category"], "upstream_timeout");
}

fn cancelled_call_is_cancelled_at_the_server(at: Pair) {
    let origin = GrpcOrigin::start(at.up);
    let edge = before(at, &origin, "");
    work(at, &edge, async |mut client| {
        {
            let call = unary(&mut client, "Sleep", Request::new(Number::of(1)));
            tokio::pin!(call);
            while origin.waiting.load(Ordering::SeqCst) == 0 {
                let _ = tokio::time::timeout(Duration::from_millis(5), &mut call).await;
            }
        }
        while origin.waiting.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert_eq!(edge.wait_log_path("/test.Numbers/Sleep")["category"], "client_abort");
}

fn lost_server_is_unavailable(at: Pair) {
    let origin = GrpcOrigin::start(at.up);
    let edge = before(at, &origin, "");
    work(at, &edge, async |mut client| {
        assert!(unary(&mut client, "Next", Request::new(Number::of(1))).await.is_ok());
        let waiting = &origin.waiting;
        let killing = async {
            while waiting.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            origin.kill();
        };
        let mut second = client.clone();
        let (lost, ()) = tokio::join!(unary(&mut client, "Sleep", Request::new(Number::of(1))), killing);
        // Under way when the server went, and with nobody there to ask.
        assert_eq!(lost.expect_err("an error").code(), Code::Unavailable);
        let refused = unary(&mut second, "Next", Request::new(Number::of(1))).await;
        assert_eq!(refused.expect_err("an error").code(), Code::Unavailable);
    });
}

fn refused_connection_is_unavailable(at: Pair) {
    let origin = Origin::fine(at.up);
    let text = crate::harness::edge::proxy_text_over(at.down, &origin, &crate::harness::edge::Extra::default());
    let edge = Setup::over(at).text(&text).start();
    drop(origin);
    work(at, &edge, async |mut client| {
        for _ in 0..2 {
            let e = unary(&mut client, "Next", Request::new(Number::of(1))).await.expect_err("an error");
            assert_eq!(e.code(), Code::Unavailable, "{e}");
        }
    });
    assert_eq!(edge.wait_log_path("/test.Numbers/Next")["category"], "upstream_connect_failed");
}

fn errors_of_the_edge_are_http_to_others(at: Pair) {
    use crate::harness::{Ask, edge::Extra, edge::proxy_text_over};
    let origin = Origin::fine(at.up);
    let edge = Setup::over(at).text(&proxy_text_over(at.down, &origin, &Extra::default())).start();
    drop(origin);
    let client = edge.client();
    assert_eq!(client.get("/plain").status(), 502);
    let grpc = client.ask(Ask::post("/test.Numbers/Next", "").field("content-type", "application/grpc"));
    assert_eq!(grpc.status(), 200, "an error of gRPC is in its trailers or head: {grpc:?}");
    assert_eq!(grpc.get("grpc-status").or(grpc.trailer("grpc-status")), Some("14"), "{grpc:?}");
}
