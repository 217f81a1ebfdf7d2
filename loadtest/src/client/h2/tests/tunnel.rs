//! WebSockets and event streams over a stream of HTTP/2.
use super::{against, other_house, requests, whys};
use crate::{
    client::{Why, h2::raw::*, harness::run},
    plan::{Exchange, Plan},
    record::Fault,
};
use std::num::NonZeroU64;

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
