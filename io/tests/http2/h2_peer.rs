//! A peer that is not ours: the `h2` crate as client and as server, over a pipe in memory, polled by hand.
use crate::support::*;
use bytes::Bytes;
use edge_io::{
    head::Method,
    http2::{ErrorCode, Event, Limits, RequestHead, Role},
};
use std::{
    cell::RefCell,
    collections::VecDeque,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes on their way; the other end is the test.
#[derive(Default)]
struct Wires {
    to_h2: VecDeque<u8>,
    from_h2: VecDeque<u8>,
}

#[derive(Clone, Default)]
struct Pipe(Rc<RefCell<Wires>>);

impl AsyncRead for Pipe {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut wires = self.0.borrow_mut();
        if wires.to_h2.is_empty() {
            return Poll::Pending;
        }
        let n = room.remaining().min(wires.to_h2.len()).min(777);
        let bytes: Vec<u8> = wires.to_h2.drain(..n).collect();
        room.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let n = bytes.len().min(1234);
        self.0.borrow_mut().from_h2.extend(&bytes[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Pipe {
    /// Moves bytes between the pipe and our side.
    fn pump(&self, side: &mut Side) {
        let bytes: Vec<u8> = self.0.borrow_mut().from_h2.drain(..).collect();
        side.feed(&bytes);
        let out = side.conn.out().to_vec();
        side.conn.sent(out.len());
        self.0.borrow_mut().to_h2.extend(out);
    }
}

/// Polls a future, with `turn` between polls, until it is ready.
fn drive<T>(future: impl Future<Output = T>, mut turn: impl FnMut()) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..100_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        turn();
    }
    panic!("the peer does not go on");
}

/// Polls the connection of the peer beside `future`.
async fn beside<T>(connection: &mut (impl Future + Unpin), future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let _ = Pin::new(&mut *connection).poll(cx);
        future.as_mut().poll(cx)
    })
    .await
}

fn body(n: usize) -> Vec<u8> {
    (0..n).map(|n| (n / 3) as u8).collect()
}

/// Responses on their way: stream, body, how much of it is sent.
type Pending = Vec<(u32, Vec<u8>, usize)>;

/// Answers each request with its own body, after an interim response and before trailers.
fn echo(side: &mut Side, pending: &mut Pending) {
    for event in std::mem::take(&mut side.events) {
        let (Event::Head { stream, end: true } | Event::Data { stream, end: true, .. }) = event else { continue };
        let data = side.data.iter().find(|(id, _)| *id == stream).map_or_else(Vec::new, |(_, data)| data.clone());
        side.conn.send_response(stream, 103, fields(&[("link", "</x>")]), false).unwrap();
        side.conn.send_response(stream, 200, fields(&[("Server", "edge")]), false).unwrap();
        pending.push((stream, data, 0));
        go_on(side, pending, stream);
    }
    while let Some(stream) = side.conn.next_writable() {
        go_on(side, pending, stream);
    }
}

fn go_on(side: &mut Side, pending: &mut Pending, stream: u32) {
    let at = pending.iter().position(|(id, ..)| *id == stream).unwrap();
    let (_, data, sent) = &mut pending[at];
    *sent += side.conn.send_data(stream, &data[*sent..], false).unwrap();
    if *sent == data.len() {
        side.conn.send_trailers(stream, fields(&[("x-trailer", "end")])).unwrap();
        pending.remove(at);
    }
}

/// One request of `n` bytes of body, and all of its response.
async fn exchange_with_h2(send: &mut h2::client::SendRequest<Bytes>, n: usize, size: usize) {
    let request = http::Request::put(format!("https://a.test/path/{n}?q={n}"))
        .header("user-agent", "h2")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("x-number", n.to_string())
        .body(())
        .unwrap();
    let sent = body(size);
    poll_fn(|cx| send.poll_ready(cx)).await.unwrap();
    let (response, mut stream) = send.send_request(request, size == 0).unwrap();
    let mut rest = Bytes::from(sent.clone());
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap().unwrap();
        let piece = rest.split_to(room.min(rest.len()));
        stream.send_data(piece, rest.is_empty()).unwrap();
    }
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["server"], "edge");
    let mut got = Vec::new();
    let mut received = response.into_body();
    while let Some(piece) = received.data().await {
        let piece = piece.unwrap();
        received.flow_control().release_capacity(piece.len()).unwrap();
        got.extend_from_slice(&piece);
    }
    assert!(got == sent, "{} of {}", got.len(), sent.len());
    assert_eq!(received.trailers().await.unwrap().unwrap()["x-trailer"], "end");
}

#[test]
fn an_h2_client_gets_its_bodies_back() {
    let pipe = Pipe::default();
    let mut side = Side::new(Role::Server, &Limits::default());
    let mut pending = Vec::new();
    let sizes = [0usize, 1, 5000, 70_000, 300_000, 1_200_000];
    let client = async {
        let (mut send, mut connection) = h2::client::handshake(pipe.clone()).await.unwrap();
        for (n, size) in sizes.into_iter().enumerate() {
            beside(&mut connection, exchange_with_h2(&mut send, n, size)).await;
        }
    };
    drive(client, || {
        pipe.pump(&mut side);
        echo(&mut side, &mut pending);
        pipe.pump(&mut side);
        assert_eq!(side.fatal, None);
    });
    let heads: Vec<_> = side.heads.iter().filter(|h| h.method() == Method::Put).collect();
    assert_eq!(heads.len(), sizes.len());
    for (n, head) in heads.into_iter().enumerate() {
        assert_eq!(head.path_and_query(), format!("/path/{n}?q={n}").as_bytes());
        assert_eq!(head.authority(), b"a.test");
        assert_eq!(head.get_name(b"cookie"), Some(&b"a=1; b=2"[..]));
        assert_eq!(head.get_name(b"x-number"), Some(n.to_string().as_bytes()));
    }
    assert_eq!(side.conn.open_streams(), 0);
    assert!(side.conn.is_acknowledged());
}

#[test]
fn an_h2_client_finishes_what_a_graceful_goaway_leaves() {
    let pipe = Pipe::default();
    let mut side = Side::new(Role::Server, &Limits::default());
    let mut turns = 0;
    let client = async {
        let (mut send, mut connection) = h2::client::handshake(pipe.clone()).await.unwrap();
        let request = http::Request::get("https://a.test/").body(()).unwrap();
        let (response, _) = send.send_request(request, true).unwrap();
        let response = beside(&mut connection, response).await.unwrap();
        assert_eq!(response.status(), 204);
        // The second step follows the answer to the PING; the connection then ends without an error.
        poll_fn(|cx| Pin::new(&mut connection).poll(cx)).await.unwrap();
    };
    drive(client, || {
        pipe.pump(&mut side);
        turns += 1;
        if turns == 20 {
            side.conn.go_away_gracefully();
        }
        if turns == 40 {
            side.conn.send_response(1, 204, fields(&[]), true).unwrap();
        }
        pipe.pump(&mut side);
    });
    assert!(side.conn.is_drained());
    assert_eq!(side.fatal, None);
}

#[test]
fn an_h2_client_is_told_of_refusals() {
    let pipe = Pipe::default();
    let mut side = Side::new(Role::Server, &Limits::default());
    let client = async {
        let (mut send, mut connection) = h2::client::handshake(pipe.clone()).await.unwrap();
        let request = http::Request::get("https://a.test/").body(()).unwrap();
        let (response, _) = send.send_request(request, true).unwrap();
        beside(&mut connection, response).await.unwrap_err()
    };
    let error = drive(client, || {
        pipe.pump(&mut side);
        side.conn.reset(1, ErrorCode::REFUSED_STREAM);
        pipe.pump(&mut side);
    });
    assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM));
}

/// Reads a request's body and sends it back.
async fn answer_from_h2(request: http::Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    assert_eq!(request.uri(), "https://b.test/up?x");
    assert_eq!(request.headers()["x-size"], "some");
    let mut received = request.into_body();
    let mut got = Vec::new();
    while let Some(piece) = received.data().await {
        let piece = piece.unwrap();
        received.flow_control().release_capacity(piece.len()).unwrap();
        got.extend_from_slice(&piece);
    }
    let response = http::Response::builder().status(201).header("x-y", "z").body(()).unwrap();
    let mut stream = respond.send_response(response, got.is_empty()).unwrap();
    if !got.is_empty() {
        stream.send_data(Bytes::from(got), true).unwrap();
    }
}

#[test]
fn an_h2_server_answers_our_client() {
    let pipe = Pipe::default();
    let mut side = Side::new(Role::Client, &Limits::default());
    let mut sending: Vec<(u32, Vec<u8>, Option<usize>)> = Vec::new();
    for size in [0usize, 3, 40_000, 250_000] {
        let request =
            RequestHead { method: b"POST", scheme: b"https", authority: b"b.test", path: b"/up?x", protocol: None };
        let sent = [("User-Agent", "edge"), ("X-Size", "some")];
        let stream = side.conn.send_request(&request, fields(&sent), false).unwrap();
        sending.push((stream, body(size), Some(0)));
    }
    let answered = Rc::new(RefCell::new(false));
    let server = async {
        let mut connection = h2::server::handshake(pipe.clone()).await.unwrap();
        let mut tasks: Vec<Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
        poll_fn(|cx| {
            while let Poll::Ready(Some(accepted)) = connection.poll_accept(cx) {
                let (request, respond) = accepted.unwrap();
                tasks.push(Box::pin(answer_from_h2(request, respond)));
            }
            tasks.retain_mut(|task| task.as_mut().poll(cx).is_pending());
            let _ = connection.poll_closed(cx);
            if *answered.borrow() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    };
    drive(server, || {
        for (stream, data, sent) in &mut sending {
            if let Some(at) = *sent {
                let n = at + side.conn.send_data(*stream, &data[at..], true).unwrap();
                *sent = (n < data.len()).then_some(n);
            }
        }
        while side.conn.next_writable().is_some() {}
        pipe.pump(&mut side);
        assert_eq!(side.fatal, None);
        *answered.borrow_mut() = side.conn.open_streams() == 0;
    });
    for (stream, data, _) in &sending {
        let got = side.data.iter().find(|(id, _)| id == stream).map_or(&[][..], |(_, data)| data);
        assert!(got == data, "{} of {}", got.len(), data.len());
    }
    assert_eq!(side.heads.len(), sending.len());
    assert!(side.heads.iter().all(|h| h.status() == 201 && h.get_name(b"x-y") == Some(b"z")));
}
