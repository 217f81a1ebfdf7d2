//! The server's side of an HTTP/1.1 connection: request after request, in order, each handed on as an `Exchange`.
use super::{
    Reader,
    exchange::H1Exchange,
    response::State,
    share::ListenerShare,
    writer::{Framing, Writer},
};
use crate::{
    message::{Category, Deadlines, Fault, Fill, Peer, Phase, Side},
    observe::stats::Limit,
    proto::{Patience, h1::client_fault, websocket::Frames},
};
use edge_io::{
    buf::Buf,
    head::{Head, Method},
    http1::{self, Limits, RequestSemantics},
    stream::Stream,
};
use std::{future::poll_fn, rc::Rc, task::Poll, time::Duration};

/// An idle connection sleeps as a whole task for so long, then as a small record.
pub const PARK_AFTER: Duration = Duration::from_millis(100);
/// Of a refused request's body so much is read and thrown away, so that the answer arrives; bytes and time.
const LINGER_BYTES: u64 = 256 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(2);

/// What a refused request counts as: no body that anybody reads, and the end of the connection.
const REFUSED: RequestSemantics = RequestSemantics {
    framing: http1::Framing::None,
    keep_alive: false,
    expect_continue: false,
    upgrade: http1::Upgrade::None,
    te_trailers: false,
};

/// One downstream connection.
pub struct Connection {
    /// Its socket.
    pub stream: Stream,
    /// Who is there.
    pub peer: Peer,
    /// Its timers.
    pub deadlines: Deadlines,
    /// What it shares with the listener's others.
    pub share: Rc<ListenerShare>,
    /// Requests answered so far.
    pub requests: u64,
}

/// What a connection needs while a request is read and answered: leased from the shard, so that idle ones hold none.
pub struct Lease {
    reader: Reader,
    writer: Writer,
    head: Head,
}

impl Default for Lease {
    fn default() -> Self {
        Lease::new()
    }
}

impl Lease {
    /// A new one; shards keep used ones.
    pub fn new() -> Lease {
        Lease { reader: Reader::new(Side::Downstream), writer: Writer::new(Side::Downstream), head: Head::new() }
    }

    /// Ready for another connection.
    pub fn reset(&mut self) {
        self.reader.reset();
        self.writer.reset();
    }
}

/// What becomes of a connection.
pub enum After {
    /// It ends.
    Close,
    /// It sleeps until the client sends.
    Park,
    /// It is HTTP/2 by prior knowledge; the bytes were read already.
    Http2(Buf),
}

/// Serves a connection until it ends or falls idle. `lease` and `release` lend the shard's buffers; `handle` answers a
/// request, or, given a fault, refuses it.
pub async fn serve<H>(
    conn: &mut Connection,
    lease: impl Fn() -> Box<Lease>,
    release: impl Fn(Box<Lease>),
    mut handle: H,
) -> After
where
    H: AsyncFnMut(&mut H1Exchange<'_>, Option<Fault>),
{
    loop {
        if let Err(after) = idle(conn).await {
            if matches!(after, After::Close) {
                conn.stream.close_notify();
            }
            return after;
        }
        let mut work = lease();
        let mut in_turn = 0;
        let next = loop {
            match one_request(conn, &mut work, &mut handle).await {
                Next::Close => break Some(After::Close),
                Next::Http2 => break Some(After::Http2(work.reader.take_leftover())),
                Next::Request => {}
            }
            if !work.reader.has_leftover() {
                break None;
            }
            in_turn += 1;
            if in_turn == conn.share.pipeline_depth.get() {
                in_turn = 0;
                conn.share.stats.limit_hit(Limit::PipelineDepth);
                yield_now().await; // others first: a client cannot hold the shard by pipelining
            }
        };
        release(work);
        if let Some(after) = next {
            return after;
        }
    }
}

/// What may follow a request.
enum Next {
    Request,
    Close,
    Http2,
}

async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Waits for the first byte of the next request.
async fn idle(conn: &mut Connection) -> Result<(), After> {
    conn.deadlines.set(Phase::ClientHead, PARK_AFTER.min(conn.share.timeouts.get().keepalive));
    let place = conn.share.waiting.enter();
    let result = poll_fn(|cx| {
        if conn.stream.poll_readable(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        if conn.share.closing.get() {
            return Poll::Ready(Err(After::Close));
        }
        conn.share.waiting.wait(place, cx);
        conn.deadlines.poll_expired(cx).map(|_| Err(After::Park))
    })
    .await;
    conn.share.waiting.leave(place);
    conn.deadlines.clear_all();
    result
}

/// The first line of HTTP/2's connection preface (RFC 9113 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// Whether what the parser refused is the beginning of HTTP/2: of a preface that comes in pieces, too.
async fn is_http2(conn: &Connection, work: &mut Lease) -> bool {
    conn.deadlines.set(Phase::ClientHead, conn.share.timeouts.get().header);
    let found = poll_fn(|cx| match work.reader.poll_starts_with(cx, &conn.stream, PREFACE) {
        Poll::Pending => conn.deadlines.poll_expired(cx).map(|_| false),
        ready => ready,
    })
    .await;
    conn.deadlines.clear(Phase::ClientHead);
    found
}

/// Reads one request and has it answered.
async fn one_request<H>(conn: &mut Connection, work: &mut Lease, handle: &mut H) -> Next
where
    H: AsyncFnMut(&mut H1Exchange<'_>, Option<Fault>),
{
    let limits = conn.share.limits.get();
    work.reader.begin_message();
    work.writer.begin(Framing::None);
    work.head.clear();
    let read = read_head(conn, work, &limits).await;
    let (semantics, refused) = match read {
        Ok(None) => {
            conn.stream.close_notify(); // closed between requests, or idle for too long
            return Next::Close;
        }
        Ok(Some(semantics)) => (semantics, None),
        Err(fault) if fault.category == Category::ClientAbort => return Next::Close,
        Err(_) if conn.requests == 0 && conn.share.h2.get() && Box::pin(is_http2(conn, work)).await => {
            return Next::Http2;
        }
        Err(fault) => (REFUSED, Some(fault)),
    };
    conn.requests += 1;
    work.reader.begin_body(semantics.framing);
    let keep_alive = semantics.keep_alive && refused.is_none() && !conn.share.closing.get();
    let mut exchange = H1Exchange {
        stream: &conn.stream,
        peer: conn.peer,
        deadlines: &conn.deadlines,
        share: &conn.share,
        reader: &mut work.reader,
        writer: &mut work.writer,
        head: &work.head,
        limits,
        semantics,
        patience: Patience::default(),
        state: State {
            keep_alive,
            status: 0,
            head_request: work.head.method() == Method::Head,
            frames: Frames::default(),
        },
    };
    handle(&mut exchange, refused).await;
    let state = exchange.state;
    conn.deadlines.clear_all();
    if state.status == 0 || !work.writer.is_complete(&conn.stream) {
        return Next::Close; // the answer was cut off: the end of the connection says so
    }
    if state.keep_alive && work.reader.is_done() {
        return Next::Request;
    }
    Box::pin(linger(conn, work, refused.is_some())).await;
    Next::Close
}

async fn read_head(conn: &Connection, work: &mut Lease, limits: &Limits) -> Result<Option<RequestSemantics>, Fault> {
    let (reader, head) = (&mut work.reader, &mut work.head);
    let timeouts = conn.share.timeouts.get();
    let mut begun = false;
    let complete = poll_fn(|cx| {
        if let Poll::Ready(done) = reader.poll_head(cx, &conn.stream, limits, head) {
            return Poll::Ready(done);
        }
        let has_begun = reader.received > 0 || reader.has_leftover();
        if has_begun && !std::mem::replace(&mut begun, true) {
            conn.deadlines.set(Phase::ClientHead, timeouts.header);
        } else if !has_begun && !conn.deadlines.is_set(Phase::ClientHead) {
            conn.deadlines.set(Phase::ClientHead, timeouts.keepalive); // woken for nothing: still idle
        }
        conn.deadlines.poll_expired(cx).map(|_| match has_begun {
            true => Err(Fault::new(Category::RequestTimeout, Side::Downstream, "the request head took too long")),
            false => Ok(false),
        })
    })
    .await?;
    conn.deadlines.clear(Phase::ClientHead);
    match complete {
        true => http1::request_semantics(&work.head).map(Some).map_err(client_fault),
        false => Ok(None),
    }
}

/// Ends our direction and reads what the client still sends, for a while: closing at once would reset the connection
/// and could take the answer with it (RFC 9112 9.6).
async fn linger(conn: &Connection, work: &mut Lease, unread: bool) {
    if !unread && work.reader.is_done() && !work.reader.has_leftover() && conn.stream.is_quiet() {
        conn.stream.close_notify();
        return;
    }
    conn.stream.shutdown_write();
    work.reader.reset();
    work.reader.begin_body(http1::Framing::Close);
    conn.deadlines.set(Phase::ClientBody, LINGER_TIME);
    let limits = conn.share.limits.get();
    poll_fn(|cx| {
        while let Poll::Ready(Ok(Fill::Data)) = work.reader.poll_fill(cx, &conn.stream, &limits) {
            let n = work.reader.data().len();
            work.reader.consume(n);
            if work.reader.received > LINGER_BYTES {
                return Poll::Ready(());
            }
        }
        if work.reader.is_done() || conn.stream.is_closed() {
            return Poll::Ready(());
        }
        conn.deadlines.poll_expired(cx).map(|_| ())
    })
    .await;
    conn.deadlines.clear_all();
}
