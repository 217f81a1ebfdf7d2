//! The driver against servers of every kind: one of another house, and ones that misbehave.
use super::raw::*;
use crate::{
    client::{
        Why,
        harness::{Came, plan, run, say, server},
    },
    plan::{Exchange, Expect, Plan},
    record::Fault,
};
use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    num::NonZeroU64,
    sync::mpsc,
    time::Duration,
};

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
fn a_goaway_lets_finish_what_was_taken() {
    let (address, thread) = server(2, |n, socket| {
        let mut peer = Peer::new(socket, &[]);
        if n == 1 {
            while let Some(stream) = peer.request() {
                peer.answer(stream, b"");
            }
            return;
        }
        let first = peer.request().unwrap();
        peer.answer(first, b"");
        let taken = peer.request().unwrap();
        peer.request().unwrap();
        peer.request().unwrap();
        let mut payload = taken.to_be_bytes().to_vec();
        payload.extend([0; 4]);
        peer.send(GOAWAY, 0, 0, &payload);
        peer.answer(taken, b"");
        peer.read_to_end();
    });
    let mut plan = requests(address, 10);
    plan.streams = 3;
    let came = run(plan, 2);
    thread.join().unwrap();
    assert_eq!((came.all_faults(), came.answered()), (vec![(Fault::Refused, 2)], 8));
    assert_eq!(came.ends[0].answered, 2);
}

#[test]
fn reset_streams_are_counted_by_kind_and_the_connection_goes_on() {
    let came = against(
        &[],
        |plan| (plan.streams, plan.requests) = (4, NonZeroU64::new(600)),
        |peer| {
            for n in 0..600u32 {
                let stream = peer.request().unwrap();
                match n % 3 {
                    0 => peer.answer(stream, b""),
                    1 => peer.send(RST_STREAM, 0, stream, &8u32.to_be_bytes()),
                    _ => peer.send(RST_STREAM, 0, stream, &7u32.to_be_bytes()),
                }
            }
        },
    );
    assert_eq!(came.all_faults(), [(Fault::StreamReset, 200), (Fault::Refused, 200)]);
    assert_eq!(came.answered(), 200);
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

#[test]
fn a_server_that_stalls_is_left_waiting() {
    let came = against(
        &[],
        |plan| (plan.requests, plan.streams, plan.timeout) = (NonZeroU64::new(7), 3, Duration::from_millis(60)),
        |peer| {
            let first = peer.request().unwrap();
            peer.answer(first, b"");
            for _ in 0..6 {
                let cancelled = peer.wait(RST_STREAM).unwrap();
                assert_eq!(cancelled.payload, 8u32.to_be_bytes());
                peer.answer(cancelled.stream, b"too late");
            }
        },
    );
    assert_eq!((came.all_faults(), came.answered()), (vec![(Fault::Timeout, 6)], 1));
    assert!(came.record.response.max() >= 60_000);
}

#[test]
fn a_server_that_says_nothing_at_all_is_left_waiting() {
    let (address, thread) = server(1, |_, mut socket| crate::client::harness::read_to_end(&mut socket));
    let mut plan = requests(address, 3);
    plan.timeout = Duration::from_millis(30);
    let came = run(plan, 1);
    thread.join().unwrap();
    assert_eq!((came.all_faults(), came.answered()), (vec![(Fault::Timeout, 3)], 0));
}

#[test]
fn a_server_that_takes_no_streams_is_given_up() {
    let came = against(
        &[(3, 0)],
        |plan| plan.timeout = Duration::from_millis(50),
        |peer| {
            // What came before the settings could.
            let stream = peer.request().unwrap();
            peer.send(RST_STREAM, 0, stream, &7u32.to_be_bytes());
        },
    );
    assert_eq!(came.all_faults(), [(Fault::Refused, 2)]);
    assert_eq!(whys(&came), [Why::Failed(Fault::Refused)]);
}

/// What ends the connection when it is the answer to the second of two requests at once, after the first was answered.
fn after_one_answer(
    change: impl FnOnce(&mut Plan),
    script: impl FnOnce(&mut Peer, u32) + Send + 'static,
) -> Vec<(Fault, u64)> {
    let came = against(
        &[],
        |plan| {
            plan.streams = 2;
            change(plan);
        },
        |peer| {
            let first = peer.request().unwrap();
            peer.answer(first, b"");
            let (second, third) = (peer.request().unwrap(), peer.request().unwrap());
            assert_eq!(third, second + 2);
            script(peer, second);
        },
    );
    assert_eq!(came.answered(), 1);
    assert!(matches!(whys(&came)[..], [Why::Failed(_)]), "{:?}", came.ends);
    came.all_faults()
}

fn close(peer: &mut Peer) {
    peer.socket.shutdown(std::net::Shutdown::Both).unwrap();
}

#[test]
fn what_breaks_a_connection_is_counted_by_kind() {
    let same = |_: &mut Plan| {};
    assert_eq!(after_one_answer(same, |peer, _| say(&mut peer.socket, &[0xff; 64])), [(Fault::Protocol, 2)]);
    assert_eq!(
        after_one_answer(same, |peer, id| peer.send(PUSH_PROMISE, END_HEADERS, id, &[0, 0, 0, 2, 0x82])),
        [(Fault::Protocol, 2)]
    );
    assert_eq!(after_one_answer(same, |peer, id| peer.send(HEADERS, 4, id, &[0xff; 9])), [(Fault::Protocol, 2)]);
    assert_eq!(after_one_answer(same, |peer, _| close(peer)), [(Fault::Closed, 2)]);
    let begun = after_one_answer(same, |peer, id| {
        peer.send(HEADERS, END_HEADERS, id, OK);
        peer.send(DATA, 0, id, b"half");
        close(peer);
    });
    assert_eq!(begun, [(Fault::Closed, 1), (Fault::Truncated, 1)]);
    let reset = after_one_answer(same, |peer, _| {
        socket2::SockRef::from(&peer.socket).set_linger(Some(Duration::ZERO)).unwrap();
        // Dropping it sends the reset. What takes its place is at its end, too.
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
        peer.socket = TcpStream::connect(nobody.local_addr().unwrap()).unwrap();
    });
    assert_eq!(reset, [(Fault::Reset, 2)]);
    let endless = after_one_answer(same, |peer, id| {
        peer.send(HEADERS, 0, id, OK);
        for _ in 0..100 {
            peer.send(CONTINUATION, 0, id, &[0; 16_000]);
        }
    });
    assert_eq!(endless, [(Fault::TooLarge, 2)]);
}

#[test]
fn no_http_2_at_all_is_a_fault() {
    let (address, thread) = server(1, |_, mut socket| {
        say(&mut socket, b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
        crate::client::harness::read_to_end(&mut socket);
    });
    let came = run(plan(address), 1);
    thread.join().unwrap();
    assert_eq!(whys(&came), [Why::Failed(Fault::Protocol)]);
    assert_eq!(came.faults(Fault::Protocol), 1);
}

#[test]
fn a_bad_answer_ends_its_stream_alone() {
    let came = against(
        &[],
        |plan| (plan.requests, plan.body_max) = (NonZeroU64::new(5), 10),
        |peer| {
            let mut next = || peer.request().unwrap();
            let first = next();
            peer.answer(first, b"0123456789");
            // A name in capitals.
            let id = peer.request().unwrap();
            peer.send(HEADERS, END_HEADERS, id, &[0x88, 0x00, 1, b'X', 1, b'y']);
            // One byte where two are announced.
            let id = peer.request().unwrap();
            peer.send(HEADERS, END_HEADERS, id, &[0x88, 0x0f, 0x0d, 1, b'2']);
            peer.send(DATA, END_STREAM, id, b"1");
            // More than is read.
            let id = peer.request().unwrap();
            peer.send(HEADERS, END_HEADERS, id, OK);
            peer.send(DATA, 0, id, b"01234567890");
            // Larger than a head may be, and than one is told of.
            let id = peer.request().unwrap();
            let mut long = vec![0x88];
            for name in b'a'..=b'f' {
                long.extend([0x00, 1, name, 0x7f, 0xe1, 0x5c]); // 12,000 bytes
                long.extend([b'x'; 12_000]);
            }
            let mut parts = long.chunks(16_000).enumerate().peekable();
            while let Some((n, part)) = parts.next() {
                let last = if parts.peek().is_none() { END_HEADERS } else { 0 };
                peer.send(if n == 0 { HEADERS } else { CONTINUATION }, last, id, part);
            }
        },
    );
    assert_eq!(came.answered(), 1);
    assert_eq!(came.all_faults(), [(Fault::Protocol, 2), (Fault::TooLarge, 2)]);
}

/// A plan for one WebSocket.
fn websocket(plan: &mut Plan) {
    plan.exchange = Exchange::WebSocket { size: 2 };
}

/// SETTINGS_ENABLE_CONNECT_PROTOCOL.
const CONNECT: &[(u16, u32)] = &[(8, 1)];

#[test]
fn a_websocket_goes_over_a_stream() {
    let came = against(
        CONNECT,
        |plan| {
            websocket(plan);
            plan.requests = NonZeroU64::new(10);
        },
        |peer| {
            let asked = peer.wait(HEADERS).unwrap();
            assert_eq!(asked.flags & END_STREAM, 0);
            let has = |text: &[u8]| asked.payload.windows(text.len()).any(|w| w == text);
            // The second is "websocket" in HPACK's Huffman code.
            assert!(has(b"CONNECT") && has(b"\xf0X\xd0ru*\x7f"), "{}", asked.payload.escape_ascii());
            let stream = asked.stream;
            peer.send(HEADERS, END_HEADERS, stream, OK);
            for _ in 0..10 {
                let frame = peer.wait(DATA).unwrap().payload;
                let [0x82, 0x82, a, b, _, _, x, y] = frame[..] else { panic!("{frame:?}") };
                // The echo comes in two frames.
                peer.send(DATA, 0, stream, &[0x82, 2]);
                peer.send(DATA, 0, stream, &[x ^ a, y ^ b]);
            }
            let last = peer.wait(DATA).unwrap();
            assert_eq!((last.payload[0], last.flags & END_STREAM), (0x88, END_STREAM));
        },
    );
    assert_eq!((came.all_faults(), came.answered()), (vec![], 10));
}

#[test]
fn a_websocket_at_another_house() {
    let mut plan = requests(other_house(), 200);
    websocket(&mut plan);
    let came = run(plan, 1);
    assert_eq!((came.all_faults(), came.answered()), (vec![], 200));
}

#[test]
fn a_websocket_that_is_not_granted_is_an_upgrade_fault() {
    let refused = against(CONNECT, websocket, |peer| {
        let stream = peer.request().unwrap();
        peer.send(HEADERS, END_HEADERS | END_STREAM, stream, &[0x8d]); // 404
    });
    assert_eq!(refused.all_faults(), [(Fault::Upgrade, 1)]);
    assert_eq!(against(&[], websocket, |_| {}).all_faults(), [(Fault::Upgrade, 1)], "not offered");
    let reset = against(CONNECT, websocket, |peer| {
        let stream = peer.request().unwrap();
        peer.send(HEADERS, END_HEADERS, stream, OK);
        peer.wait(DATA).unwrap();
        peer.send(RST_STREAM, 0, stream, &8u32.to_be_bytes());
    });
    assert_eq!(reset.all_faults(), [(Fault::StreamReset, 1)]);
    assert_eq!(whys(&reset), [Why::Failed(Fault::StreamReset)]);
}

#[test]
fn events_come_over_a_stream() {
    let came = against(
        &[],
        |plan| plan.exchange = Exchange::Events,
        |peer| {
            let asked = peer.wait(HEADERS).unwrap();
            assert_eq!(asked.flags & END_STREAM, END_STREAM);
            // Literal, name 31 of the static table: content-type.
            let mut head = vec![0x88, 0x0f, 0x10, 17];
            head.extend(b"text/event-stream");
            peer.send(HEADERS, END_HEADERS, asked.stream, &head);
            for part in ["data: 1\n\nda", "ta: 2\n\n", "data: 3"] {
                peer.send(DATA, 0, asked.stream, part.as_bytes());
            }
            peer.send(DATA, END_STREAM, asked.stream, b"\n\n");
        },
    );
    assert_eq!((came.all_faults(), came.answered()), (vec![], 3));
    assert_eq!((came.record.response.len(), whys(&came)), (2, vec![Why::ByPeer]));
    let page = against(
        &[],
        |plan| plan.exchange = Exchange::Events,
        |peer| {
            let stream = peer.request().unwrap();
            peer.answer(stream, b"<html>");
        },
    );
    assert_eq!(page.all_faults(), [(Fault::Upgrade, 1)]);
}
