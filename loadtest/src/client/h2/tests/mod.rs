//! The driver against servers of every kind: one of another house, and ones that misbehave.
mod faults;
mod tunnel;

use super::raw::*;
use crate::{
    client::{
        Why,
        harness::{Came, plan, run, server},
    },
    plan::{Expect, Plan},
    record::Fault,
};
use std::{net::SocketAddr, num::NonZeroU64, sync::mpsc, time::Duration};

/// A plan for so many requests.
fn requests(server: SocketAddr, n: u64) -> Plan {
    Plan { requests: NonZeroU64::new(n), ..plan(server) }
}

/// Runs against one connection of a peer that does as `script` says, then reads to the end.
fn against(
    settings: &'static [(u16, u32)],
    change: impl FnOnce(&mut Plan),
    script: impl FnOnce(&mut Peer) + Send + 'static,
) -> Came {
    let mut script = Some(script);
    let (address, thread) = server(1, move |_, socket| {
        let mut peer = Peer::new(socket, settings);
        script.take().unwrap()(&mut peer);
        peer.read_to_end();
    });
    let mut plan = plan(address);
    change(&mut plan);
    let came = run(plan, 1);
    thread.join().unwrap();
    came
}

fn whys(came: &Came) -> Vec<Why> {
    came.ends.iter().map(|end| end.why).collect()
}

/// A server of the `h2` crate: answers each request with its method, path and body, and trailers where asked.
fn other_house() -> SocketAddr {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut builder = h2::server::Builder::new();
                    builder.max_concurrent_streams(20).initial_window_size(30_000).enable_connect_protocol();
                    let Ok(mut connection) = builder.handshake::<_, bytes::Bytes>(socket).await else { return };
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(respond_to(request, respond));
                    }
                });
            }
        });
    });
    told.recv().unwrap()
}

async fn respond_to(
    request: hyper::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<bytes::Bytes>,
) -> Option<()> {
    let (parts, mut body) = request.into_parts();
    if let Some(protocol) = parts.extensions.get::<h2::ext::Protocol>() {
        assert_eq!((protocol.as_str(), parts.uri.path()), ("websocket", "/"));
        let mut send = respond.send_response(hyper::Response::new(()), false).ok()?;
        while let Some(Ok(frame)) = body.data().await {
            let _ = body.flow_control().release_capacity(frame.len());
            let [0x82, 0x82, a, b, _, _, x, y] = frame[..] else { break };
            send.send_data(vec![0x82, 2, x ^ a, y ^ b].into(), false).ok()?;
        }
        return send.send_data(bytes::Bytes::new(), true).ok();
    }
    let mut text = format!("{} {} ", parts.method, parts.uri.path()).into_bytes();
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        text.extend_from_slice(&data);
    }
    let length = parts.headers.get("content-length").and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    let status = if parts.method == "POST" && length.is_none() { 411 } else { 200 };
    let response = hyper::Response::builder().status(status).body(()).unwrap();
    let mut send = respond.send_response(response, false).ok()?;
    let trailers = parts.headers.contains_key("te");
    send.send_data(text.into(), !trailers).ok()?;
    if trailers {
        let fields = [("x-sum", "1")].map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()));
        send.send_trailers(hyper::HeaderMap::from_iter(fields)).ok()?;
    }
    Some(())
}

#[test]
fn a_server_of_another_house_answers_all() {
    let address = other_house();
    let mut plan = requests(address, 3000);
    plan.connections = 3;
    plan.streams = 50;
    let came = run(plan, 1);
    assert_eq!((came.all_faults(), came.answered()), (vec![], 3000));
    assert_eq!(came.record.counts.status.get(&200), Some(&3000));
    assert_eq!(came.record.counts.body_bytes, 3000 * "GET / ".len() as u64);
    assert!(came.record.counts.bytes_in > 0 && came.record.counts.bytes_out > 0);
}

#[test]
fn bodies_go_up_and_come_back() {
    let body: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
    let mut plan = requests(other_house(), 40);
    plan.streams = 8;
    let request = &mut plan.origins[0].requests[0];
    (request.method, request.target, request.body) = ("POST".into(), "/up".into(), body.clone().into());
    request.fields.push(("te".into(), b"trailers".to_vec()));
    plan.expect = Expect { status: (200, 200), body: regex::bytes::Regex::new("^POST /up \\x00").ok() };
    let came = run(plan, 1);
    assert_eq!((came.all_faults(), came.answered()), (vec![], 40));
    assert_eq!(came.record.counts.body_bytes, 40 * (body.len() as u64 + 9));
}

#[test]
fn a_post_without_a_body_says_so() {
    let mut plan = requests(other_house(), 3);
    plan.origins[0].requests[0].method = "POST".into();
    plan.expect = Expect { status: (200, 200), body: regex::bytes::Regex::new("^POST / $").ok() };
    let came = run(plan, 1);
    assert_eq!((came.all_faults(), came.answered()), (vec![], 3));
}

#[test]
fn a_body_that_is_not_expected_is_a_fault() {
    let mut plan = requests(other_house(), 10);
    plan.expect.body = regex::bytes::Regex::new("PUT").ok();
    let came = run(plan, 1);
    assert_eq!((came.all_faults(), came.answered()), (vec![(Fault::Body, 10)], 10));
}

#[test]
fn an_open_loop_keeps_its_schedule() {
    let mut plan = plan(other_house());
    plan.load = crate::plan::Load::Open { rate: 1000.0, arrivals: crate::plan::Arrivals::Constant };
    plan.duration = Duration::from_millis(500);
    plan.streams = 10;
    let came = run(plan, 1);
    assert_eq!(came.all_faults(), []);
    assert!((450..=500).contains(&came.answered()), "{}", came.answered());
}

#[test]
fn a_connection_carries_as_many_requests_as_it_is_to() {
    let (tell, told) = mpsc::channel();
    let (address, thread) = server(3, move |_, socket| {
        let (mut peer, mut n) = (Peer::new(socket, &[]), 0);
        while let Some(stream) = peer.request() {
            n += 1;
            peer.answer(stream, b"");
        }
        tell.send(n).unwrap();
    });
    let mut plan = requests(address, 12);
    plan.requests_per_connection = NonZeroU64::new(4);
    plan.streams = 3;
    let came = run(plan, 3);
    thread.join().unwrap();
    assert_eq!(told.iter().collect::<Vec<_>>(), [4, 4, 4]);
    assert_eq!((came.all_faults(), came.answered()), (vec![], 12));
    assert!(came.ends.iter().all(|end| end.answered == 4));
}

#[test]
fn no_more_streams_than_the_server_takes() {
    let came = against(
        &[(3, 2)],
        |plan| (plan.streams, plan.requests) = (8, NonZeroU64::new(41)),
        |peer| {
            // The first comes alone: the limit was not known.
            let first = peer.request().unwrap();
            peer.answer(first, b"");
            for _ in 0..20 {
                let pair = [peer.request().unwrap(), peer.request().unwrap()];
                // A third would be read before the window is known to be open again.
                peer.socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
                assert!(peer.next().is_none_or(|f| f.kind != HEADERS), "three at once");
                peer.socket.set_read_timeout(None).unwrap();
                for stream in pair {
                    peer.answer(stream, b"");
                }
            }
        },
    );
    assert_eq!((came.all_faults(), came.answered()), (vec![], 41));
}

#[test]
fn an_answer_before_the_request_is_whole_ends_it() {
    let came = against(
        &[],
        |plan| {
            plan.requests = NonZeroU64::new(2);
            let request = &mut plan.origins[0].requests[0];
            (request.method, request.body) = ("POST".into(), vec![7; 200_000].into());
        },
        |peer| {
            for _ in 0..2 {
                let stream = peer.request().unwrap();
                peer.send(HEADERS, END_HEADERS | END_STREAM, stream, OK);
                assert_eq!(peer.wait(RST_STREAM).unwrap().stream, stream);
                peer.send(WINDOW_UPDATE, 0, 0, &200_000u32.to_be_bytes());
            }
        },
    );
    assert_eq!((came.all_faults(), came.answered()), (vec![], 2));
}

#[test]
fn small_windows_are_kept_to() {
    const BODY: usize = 3000;
    let came = against(
        &[(4, 100)],
        |plan| {
            (plan.requests, plan.streams) = (NonZeroU64::new(3), 1);
            let request = &mut plan.origins[0].requests[0];
            (request.method, request.body) = ("POST".into(), vec![7; BODY].into());
        },
        |peer| {
            for n in 0..3 {
                let stream = peer.request().unwrap();
                let mut got = 0;
                loop {
                    let frame = peer.wait(DATA).unwrap();
                    // The first request may go out before the window is known.
                    assert!(n == 0 || frame.payload.len() <= 100, "{}", frame.payload.len());
                    got += frame.payload.len();
                    if frame.flags & END_STREAM != 0 {
                        break;
                    }
                    peer.send(WINDOW_UPDATE, 0, stream, &100u32.to_be_bytes());
                }
                assert_eq!(got, BODY);
                peer.answer(stream, b"");
            }
        },
    );
    assert_eq!((came.all_faults(), came.answered()), (vec![], 3));
}
