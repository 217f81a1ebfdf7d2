//! A warm HTTP/2 connection takes requests and sends responses without allocating, in both roles.
use edge_io::{
    count_alloc::{CountingAllocator, counts},
    head::{FieldId, FieldRef, Head},
    http2::{Connection, Event, Limits, RequestHead, Role},
};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: CountingAllocator<System> = CountingAllocator(System);

/// How often `work` allocates on this thread.
fn allocations(work: impl FnOnce()) -> u64 {
    let tid = std::fs::read_link("/proc/thread-self").expect("a thread");
    let tid: i32 = tid.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse().ok()).expect("a thread's id");
    let mine = || counts().into_iter().find(|c| c.tid == tid).map_or(0, |c| c.allocations);
    // The counts are read into a vector: what one reading costs is taken off.
    let first = mine();
    let cost = mine() - first;
    let before = mine();
    work();
    mine() - before - cost
}

fn fields() -> impl Iterator<Item = FieldRef<'static>> {
    [
        (FieldId::UserAgent, "user-agent", "some client/1.0"),
        (FieldId::Other, "x-mine", "y"),
        (FieldId::Cookie, "cookie", "a=b"),
    ]
    .into_iter()
    .map(|(id, name, value)| FieldRef { id, name: name.as_bytes(), value: value.as_bytes() })
}

struct Pair {
    client: Connection,
    server: Connection,
    heads: [Head; 2],
}

impl Pair {
    /// Moves all bytes until both sides are quiet; the server answers with a body and trailers.
    fn turn(&mut self, body: &[u8]) {
        loop {
            let mut moved = false;
            for flip in [false, true] {
                let (from, to) =
                    if flip { (&mut self.server, &mut self.client) } else { (&mut self.client, &mut self.server) };
                let n = from.out().len();
                let mut at = 0;
                loop {
                    let (taken, event) =
                        to.receive(&from.out()[at..], 0, &mut self.heads[usize::from(flip)]).expect("a good peer");
                    at += taken;
                    match event {
                        None => break,
                        Some(Event::Data { stream, range, end }) => {
                            to.consumed(stream, range.len());
                            if end && !flip {
                                to.send_response(stream, 200, fields(), false).expect("open");
                                assert_eq!(to.send_data(stream, body, false), Ok(body.len()));
                                to.send_trailers(stream, fields()).expect("open");
                            }
                        }
                        Some(_) => {}
                    }
                }
                assert_eq!(at, n);
                from.sent(n);
                moved |= n > 0;
            }
            if !moved {
                return;
            }
        }
    }

    fn requests(&mut self, body: &[u8]) {
        for _ in 0..8 {
            let request =
                RequestHead { method: b"POST", scheme: b"https", authority: b"a.test", path: b"/a", protocol: None };
            let stream = self.client.send_request(&request, fields(), false).expect("room");
            assert_eq!(self.client.send_data(stream, body, true), Ok(body.len()));
        }
        self.turn(body);
        assert_eq!((self.client.open_streams(), self.server.open_streams()), (0, 0));
    }
}

#[test]
fn a_warm_connection_allocates_nothing() {
    let limits = Limits::default();
    let mut pair = Pair {
        client: Connection::new(Role::Client, &limits, 0),
        server: Connection::new(Role::Server, &limits, 0),
        heads: [Head::new(), Head::new()],
    };
    let body = [7; 3000];
    for _ in 0..50 {
        pair.requests(&body);
    }
    assert_eq!(allocations(|| (0..200).for_each(|_| pair.requests(&body))), 0);
}
