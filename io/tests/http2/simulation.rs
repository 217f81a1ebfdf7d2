//! Both roles against each other: whatever the pieces in which bytes arrive, messages arrive whole.
use crate::support::*;
use edge_io::http2::{Event, Limits, Role};

#[test]
fn bodies_go_both_ways() {
    let mut client = Side::new(Role::Client, &Limits::default());
    let mut server = Side::new(Role::Server, &Limits::default());
    exchange(&mut client, &mut server, || usize::MAX);
    assert_eq!(client.take_events(), [Event::Settings]);
    let request = edge_io::http2::RequestHead {
        method: b"POST",
        scheme: b"https",
        authority: b"a.test",
        path: b"/up",
        protocol: None,
    };
    let stream = client.conn.send_request(&request, fields(&[("User-Agent", "x"), ("x-y", "z")]), false).unwrap();
    let body: Vec<u8> = (0..2_000_000u32).map(|n| (n * 7) as u8).collect();
    let mut sent = client.conn.send_data(stream, &body, true).unwrap();
    assert!(sent < 70_000);
    exchange(&mut client, &mut server, || usize::MAX);
    while let Some(next) = client.conn.next_writable() {
        assert_eq!(next, stream);
        sent += client.conn.send_data(stream, &body[sent..], true).unwrap();
        exchange(&mut client, &mut server, || 1000);
    }
    assert_eq!(sent, body.len());
    assert_eq!(server.data[0].1, body);
    assert_eq!(server.heads[0].path(), b"/up");
    server.conn.send_response(stream, 200, fields(&[("server", "x")]), false).unwrap();
    assert_eq!(server.conn.send_data(stream, b"done", false), Ok(4));
    server.conn.send_trailers(stream, fields(&[("x-t", "1")])).unwrap();
    exchange(&mut client, &mut server, || 3);
    assert_eq!(client.data[0].1, b"done");
    assert_eq!(client.heads[0].status(), 200);
    assert_eq!(client.heads[1].get_name(b"x-t"), Some(&b"1"[..]));
    assert_eq!((client.conn.open_streams(), server.conn.open_streams()), (0, 0));
}
