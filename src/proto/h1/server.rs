//! The server's side of an HTTP/1.1 connection: request after request, in order, each handed on as an `Exchange`.
use super::{
    Reader,
    writer::{Framing, Writer, write_fields},
};
use crate::{
    message::{
        BodySink, BodySize, BodySource, Category, Deadlines, Exchange, Fault, Fill, Peer, Phase, ResponseHead,
        ResponseSink, Side,
    },
    observe::stats::{Limit, ShardStats},
    proto::{
        ClientTimeouts,
        h1::client_fault,
        hop,
        websocket::{Frames, GOING_AWAY},
    },
};
use edge_io::{
    head::{FieldRef, Head, Method, Version},
    http1::{self, Limits, RequestSemantics},
    tcp::Stream,
};
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

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

/// What the connections of one listener share on one shard; a reload changes it under them.
pub struct ListenerShare {
    /// Head limits.
    pub limits: Cell<Limits>,
    /// Client-side timeouts.
    pub timeouts: Cell<ClientTimeouts>,
    /// Pipelined requests answered before other connections get their turn.
    pub pipeline_depth: Cell<usize>,
    /// Whether 1xx other than 100 go to HTTP/1.1 clients.
    pub early_hints: Cell<bool>,
    /// Answers carry `Connection: close`, idle connections end: the listener or the process is going.
    pub closing: Cell<bool>,
    /// The shard's counters.
    pub stats: Arc<ShardStats>,
    /// Idle connections, to be woken when `closing` is set.
    pub waiting: Waiting,
}

/// Tasks that wait for something to change.
#[derive(Default)]
pub struct Waiting {
    wakers: RefCell<(Vec<Option<Waker>>, Vec<usize>)>,
}

impl Waiting {
    /// A place in it.
    pub fn enter(&self) -> usize {
        let (wakers, free) = &mut *self.wakers.borrow_mut();
        free.pop().unwrap_or_else(|| {
            wakers.push(None);
            wakers.len() - 1
        })
    }

    /// The task of `cx` waits at `place`.
    pub fn wait(&self, place: usize, cx: &Context<'_>) {
        if let Some(w) = self.wakers.borrow_mut().0.get_mut(place) {
            *w = Some(cx.waker().clone());
        }
    }

    /// The place is free again.
    pub fn leave(&self, place: usize) {
        let (wakers, free) = &mut *self.wakers.borrow_mut();
        if let Some(w) = wakers.get_mut(place) {
            *w = None;
            free.push(place);
        }
    }

    /// Wakes all.
    pub fn wake_all(&self) {
        for w in self.wakers.borrow_mut().0.iter_mut().filter_map(Option::take) {
            w.wake();
        }
    }
}

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It ends.
    Close,
    /// It sleeps until the client sends.
    Park,
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
            return after;
        }
        let mut work = lease();
        let mut in_turn = 0;
        let next = loop {
            if !one_request(conn, &mut work, &mut handle).await {
                break false;
            }
            if !work.reader.has_leftover() {
                break true;
            }
            in_turn += 1;
            if in_turn == conn.share.pipeline_depth.get() {
                in_turn = 0;
                conn.share.stats.limit_hit(Limit::PipelineDepth);
                yield_now().await; // others first: a client cannot hold the shard by pipelining
            }
        };
        release(work);
        if !next {
            return After::Close;
        }
    }
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

/// Reads one request and has it answered; whether another may follow.
async fn one_request<H>(conn: &mut Connection, work: &mut Lease, handle: &mut H) -> bool
where
    H: AsyncFnMut(&mut H1Exchange<'_>, Option<Fault>),
{
    let limits = conn.share.limits.get();
    work.reader.begin_message();
    work.writer.begin(Framing::None);
    work.head.clear();
    let read = read_head(conn, work, &limits).await;
    let (semantics, refused) = match read {
        Ok(None) => return false, // closed between requests
        Ok(Some(semantics)) => (semantics, None),
        Err(fault) if fault.category == Category::ClientAbort => return false,
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
    if state.status == 0 || !work.writer.is_complete() {
        return false; // the answer was cut off: the end of the connection says so
    }
    if state.keep_alive && work.reader.is_done() {
        return true;
    }
    Box::pin(linger(conn, work, refused.is_some())).await;
    false
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

/// One request on an HTTP/1.1 connection.
pub struct H1Exchange<'c> {
    stream: &'c Stream,
    peer: Peer,
    deadlines: &'c Deadlines,
    share: &'c ListenerShare,
    reader: &'c mut Reader,
    writer: &'c mut Writer,
    head: &'c Head,
    limits: Limits,
    semantics: RequestSemantics,
    state: State,
}

#[derive(Clone, Copy)]
struct State {
    keep_alive: bool,
    /// The final status that was sent; 0 before.
    status: u16,
    head_request: bool,
    /// Frames of an upgraded connection, towards the client.
    frames: Frames,
}

impl Exchange for H1Exchange<'_> {
    type Source<'a>
        = RequestBody<'a>
    where
        Self: 'a;
    type Sink<'a>
        = Response<'a>
    where
        Self: 'a;

    fn head(&self) -> &Head {
        self.head
    }

    fn body_size(&self) -> BodySize {
        match self.semantics.framing {
            http1::Framing::Length(0) | http1::Framing::None => BodySize::Empty,
            http1::Framing::Length(n) => BodySize::Exact(n),
            _ => BodySize::Unknown,
        }
    }

    fn expects_continue(&self) -> bool {
        self.semantics.expect_continue
    }

    fn wants_websocket(&self) -> bool {
        self.semantics.upgrade == http1::Upgrade::WebSocket
    }

    fn peer(&self) -> Peer {
        self.peer
    }

    fn protocol(&self) -> &'static str {
        "h1"
    }

    fn deadlines(&self) -> &Deadlines {
        self.deadlines
    }

    fn takes_trailers(&self) -> bool {
        self.semantics.te_trailers
    }

    fn started(&self) -> bool {
        self.state.status != 0
    }

    fn take_back(&mut self) -> bool {
        if !self.writer.is_untouched() {
            return false;
        }
        self.writer.reset();
        self.state.status = 0;
        true
    }

    fn is_body_read(&self) -> bool {
        self.reader.is_done()
    }

    fn close_after(&mut self) {
        self.state.keep_alive = false;
    }

    fn status(&self) -> u16 {
        self.state.status
    }

    fn bytes_in(&self) -> u64 {
        self.reader.taken
    }

    fn bytes_out(&self) -> u64 {
        self.writer.bytes
    }

    fn parts(&mut self) -> (&Head, RequestBody<'_>, Response<'_>, &Deadlines) {
        let source = RequestBody {
            stream: self.stream,
            reader: self.reader,
            limits: self.limits,
            deadlines: self.deadlines,
            timeouts: self.share.timeouts.get(),
            began_ms: None,
        };
        let sink = Response {
            stream: self.stream,
            writer: self.writer,
            deadlines: self.deadlines,
            write_timeout: self.share.timeouts.get().write,
            share: self.share,
            closing: &self.share.closing,
            request: self.head,
            expect_continue: self.semantics.expect_continue,
            te_trailers: self.semantics.te_trailers,
            state: &mut self.state,
        };
        (self.head, source, sink, self.deadlines)
    }
}

/// The request's body as it comes.
pub struct RequestBody<'a> {
    stream: &'a Stream,
    reader: &'a mut Reader,
    limits: Limits,
    deadlines: &'a Deadlines,
    timeouts: ClientTimeouts,
    began_ms: Option<u64>,
}

const TOO_SLOW: Fault = Fault::new(Category::BodyTimeout, Side::Downstream, "the request body came too slowly");
/// The least rate is asked for after this, milliseconds (FEATURES A20).
const RATE_GRACE_MS: u64 = 10_000;

impl RequestBody<'_> {
    fn too_slow(&self) -> bool {
        let now = self.deadlines.now();
        let spent = now.saturating_sub(self.began_ms.unwrap_or(now));
        self.timeouts.min_body_rate > 0
            && spent > RATE_GRACE_MS
            && self.reader.received < self.timeouts.min_body_rate.saturating_mul(spent / 1000)
    }
}

impl BodySource for RequestBody<'_> {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, Fault>> {
        let before = self.reader.received;
        self.began_ms.get_or_insert_with(|| self.deadlines.now());
        match self.reader.poll_fill(cx, self.stream, &self.limits) {
            Poll::Ready(done) => {
                self.deadlines.clear(Phase::ClientBody);
                if done.is_ok_and(|f| f == Fill::Data) && self.too_slow() {
                    return Poll::Ready(Err(TOO_SLOW));
                }
                Poll::Ready(done)
            }
            Poll::Pending => {
                // Framing and trailers can dribble in as well as data.
                if self.reader.received != before && self.too_slow() {
                    return Poll::Ready(Err(TOO_SLOW));
                }
                // An upgraded connection has no such deadline: setting one at each poll would put off the others.
                if self.timeouts.body != Duration::MAX
                    && (self.reader.received != before || !self.deadlines.is_set(Phase::ClientBody))
                {
                    self.deadlines.set(Phase::ClientBody, self.timeouts.body);
                }
                Poll::Pending
            }
        }
    }

    fn data(&self) -> &[u8] {
        self.reader.data()
    }

    fn consume(&mut self, n: usize) {
        self.reader.consume(n);
    }

    fn trailers(&self) -> &Head {
        self.reader.trailers()
    }

    fn upgrade(&mut self) {
        self.reader.begin_body(http1::Framing::Tunnel);
        self.timeouts.min_body_rate = 0;
        self.timeouts.body = Duration::MAX;
    }
}

/// The way of the answer.
pub struct Response<'a> {
    stream: &'a Stream,
    writer: &'a mut Writer,
    deadlines: &'a Deadlines,
    write_timeout: Duration,
    share: &'a ListenerShare,
    closing: &'a Cell<bool>,
    request: &'a Head,
    expect_continue: bool,
    te_trailers: bool,
    state: &'a mut State,
}

impl Response<'_> {
    /// Keeps the write deadline while the socket takes no more.
    fn watch<T>(&mut self, before: u64, result: Poll<T>) -> Poll<T> {
        if self.writer.blocked {
            if self.writer.bytes != before || !self.deadlines.is_set(Phase::ClientWrite) {
                self.deadlines.set(Phase::ClientWrite, self.write_timeout);
            }
        } else if self.deadlines.is_set(Phase::ClientWrite) {
            self.deadlines.clear(Phase::ClientWrite);
        }
        result
    }

    /// How the answer is delimited for this client (RFC 9112 6.3).
    fn frame(&mut self, size: BodySize, status: u16) -> Framing {
        if status == 101 {
            return Framing::Tunnel;
        }
        if self.state.head_request || matches!(status, 204 | 304) {
            return Framing::None;
        }
        match size {
            BodySize::Empty => Framing::Length(0),
            BodySize::Exact(n) => Framing::Length(n),
            BodySize::Unknown if self.request.version() == Version::Http10 => {
                self.state.keep_alive = false;
                Framing::Close
            }
            BodySize::Unknown => Framing::Chunked,
        }
    }
}

impl BodySink for Response<'_> {
    fn poll_push(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Fault>> {
        let before = self.writer.bytes;
        let result = self.writer.poll_push(cx, self.stream, data);
        if let (Framing::Tunnel, Poll::Ready(Ok(n))) = (self.writer.framing(), &result) {
            self.state.frames.feed(&data[..*n]);
        }
        self.watch(before, result)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>, trailers: &Head) -> Poll<Result<(), Fault>> {
        let before = self.writer.bytes;
        let result = self.writer.poll_finish(cx, self.stream, self.te_trailers.then_some(trailers));
        self.watch(before, result)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let before = self.writer.bytes;
        let result = self.writer.poll_flush(cx, self.stream);
        self.watch(before, result)
    }
}

impl ResponseSink for Response<'_> {
    fn inform(&mut self, status: u16, fields: &mut dyn Iterator<Item = FieldRef<'_>>) {
        let wanted = if status == 100 { self.expect_continue } else { self.share.early_hints.get() };
        if !wanted || self.state.status != 0 || self.request.version() == Version::Http10 {
            return;
        }
        let out = &mut self.writer.out;
        http1::write_status_line(out, status, http1::reason_phrase(status).as_bytes());
        write_fields(out, fields);
        out.extend_from_slice(b"\r\n");
    }

    fn start(&mut self, head: ResponseHead<'_>) {
        if self.closing.get() {
            self.state.keep_alive = false; // the drain began while the request was under way
        }
        let framing = self.frame(head.size, head.status);
        self.state.status = head.status;
        self.state.keep_alive &= !self.share.closing.get();
        self.writer.begin(framing);
        let out = &mut self.writer.out;
        let reason = if head.reason.is_empty() { http1::reason_phrase(head.status).as_bytes() } else { head.reason };
        http1::write_status_line(out, head.status, reason);
        if let Some(fields) = head.fields {
            hop::write_response_fields(fields, out);
        }
        if let Some(date) = head.date {
            http1::write_valid_field(out, b"date", date);
        }
        for (name, value) in head.extra {
            http1::write_valid_field(out, name, value);
        }
        match framing {
            Framing::Length(n) => http1::write_content_length(out, n),
            Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Framing::None if head.status != 204 => {
                if let Some(n) = head.shown_length {
                    http1::write_content_length(out, n);
                }
            }
            _ => {}
        }
        if framing == Framing::Tunnel {
            self.state.keep_alive = false;
            out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
        } else if !self.state.keep_alive {
            out.extend_from_slice(b"connection: close\r\n");
        } else if self.request.version() == Version::Http10 {
            out.extend_from_slice(b"connection: keep-alive\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }

    fn started(&self) -> bool {
        self.state.status != 0
    }

    fn close_after(&mut self) {
        self.state.keep_alive = false;
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        // Registers for the next event; bytes that wait (pipelined requests) are left alone.
        let readable = self.stream.poll_readable(cx);
        if !self.stream.is_closed() {
            return Poll::Pending;
        }
        ready!(readable);
        match self.stream.at_end() {
            true => {
                Poll::Ready(Fault::new(Category::ClientAbort, Side::Downstream, "the client closed the connection"))
            }
            false => Poll::Pending,
        }
    }

    fn say_goodbye(&mut self) {
        if self.writer.framing() == Framing::Tunnel && self.state.frames.at_boundary() {
            self.writer.out.extend_from_slice(&GOING_AWAY);
        }
    }

    fn has_body(&self) -> bool {
        !matches!(self.writer.framing(), Framing::None | Framing::Length(0))
    }
}
