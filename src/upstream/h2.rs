//! The client's side of HTTP/2: connections that a shard's requests to one endpoint share, and one request's stream.
use super::{
    Request,
    h1::RESPONSE_LIMITS,
    pool::Endpoint,
    wire::{Answer, cut_fault},
};
use crate::tls::UpstreamTls;
use crate::{
    message::{BodySize, Category, Fault, Fill, Side},
    observe::stats::ShardStats,
    proto::{
        h1::Waiting,
        h2::{H2Stream, Link, Over},
        hop, websocket,
    },
};
use edge_io::{
    buf::Buf,
    head::{FieldId, FieldRef, Head},
    http1::Decimal,
    http2::{ErrorCode, Limits, RequestHead, Role},
    runtime::Local,
    stream::Stream,
    timer::Timer,
    tls::ErrorKind,
};
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// Answer bytes of one stream that may wait here, bytes (FEATURES A9).
const STREAM_WINDOW: u32 = 64 * 1024;
/// What an answer's head takes as a rule, bytes.
const HEAD_BYTES_USUAL: usize = 8 * 1024;
/// The last bytes of a connection have so long to leave.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// One shard's HTTP/2 connections to one endpoint.
#[derive(Default)]
pub struct Links {
    open: RefCell<Vec<Rc<Live>>>,
    /// Connections being made, by requests that do not know yet what the endpoint speaks.
    pub connecting: Cell<u32>,
    /// What the endpoint chose last (ALPN): whether it was HTTP/2.
    pub spoken: Cell<Option<bool>>,
    /// Requests that wait for a connection that another one is making.
    pub made: Waiting,
    /// Until then, on the shard's clock in milliseconds, the endpoint is known to take no WebSocket over HTTP/2.
    pub no_websocket_until: Cell<u64>,
}

/// A connection that takes streams.
pub struct Live {
    link: Rc<Link>,
    /// Old, or of an endpoint that is gone: no new streams.
    retired: Cell<bool>,
    /// It has carried a request.
    served: Cell<bool>,
    max_streams: usize,
    /// How TLS was spoken to the endpoint when it was made.
    secure: Option<Arc<UpstreamTls>>,
}

impl Live {
    /// It takes no new streams, and ends with its last.
    pub fn retire(&self) {
        self.retired.set(true);
        self.link.wake_driver();
    }

    fn has_room(&self) -> bool {
        !self.retired.get() && self.link.open_streams() < self.max_streams && self.link.can_open()
    }
}

impl Links {
    /// A connection with room for a stream: the one with the most streams, so that others fall idle. It was made under
    /// `secure`, and is not `refused`.
    pub fn pick(
        &self,
        websocket: bool,
        secure: &Option<Arc<UpstreamTls>>,
        refused: Option<&Rc<Live>>,
    ) -> Option<Rc<Live>> {
        let open = self.open.borrow();
        let fit = |l: &&Rc<Live>| {
            l.has_room()
                && (!websocket || l.link.takes_connect_protocol())
                && l.secure == *secure
                && refused.is_none_or(|r| !Rc::ptr_eq(r, l))
        };
        open.iter().filter(fit).max_by_key(|l| l.link.open_streams()).cloned()
    }

    /// What a connection that stands has said already need not be asked again.
    pub fn learn_of_websocket(&self, now_ms: u64) {
        let open = self.open.borrow();
        let mut settled = open.iter().filter(|l| !l.retired.get() && l.link.is_settled()).peekable();
        if settled.peek().is_some() && settled.all(|l| !l.link.takes_connect_protocol()) {
            self.no_websocket_until.set(now_ms + NO_WEBSOCKET_MS);
        }
    }

    /// No stream is opened on any of them any more.
    pub fn retire(&self) {
        for live in &*self.open.borrow() {
            live.retire();
        }
    }

    /// Connections without a stream.
    pub fn idle(&self) -> usize {
        self.open.borrow().iter().filter(|l| l.link.open_streams() == 0).count()
    }

    fn remove(&self, live: &Rc<Live>) {
        self.open.borrow_mut().retain(|l| !Rc::ptr_eq(l, live));
        self.made.wake_all();
    }
}

/// For so long a request for WebSocket is refused without asking an endpoint again that has none, milliseconds.
const NO_WEBSOCKET_MS: u64 = 60_000;

/// The endpoint has no word for WebSocket over HTTP/2.
pub const NO_WEBSOCKET: Fault =
    Fault::new(Category::UpstreamProtocol, Side::Upstream, "the endpoint takes no WebSocket over HTTP/2 (RFC 8441)");

/// Whether a request for WebSocket got no connection because the endpoint has no such thing: that fault, or TLS refused where
/// only HTTP/1.1 was offered. It says something of the request, and nothing of how well the endpoint is.
pub fn lacks_websocket(fault: &Fault) -> bool {
    let alpn =
        || [ErrorKind::NoSharedProtocol, ErrorKind::AlertReceived].iter().any(|kind| fault.detail == kind.as_str());
    match fault.category {
        Category::UpstreamProtocol => fault.detail == NO_WEBSOCKET.detail,
        Category::UpstreamTls => alpn(),
        _ => false,
    }
}

/// How long a connection is kept, and how many streams it takes.
#[derive(Clone, Copy)]
pub struct Keep {
    /// Without a stream it ends after this.
    pub idle: Duration,
    /// It takes no new streams after this.
    pub age: Duration,
    /// Streams at once.
    pub max_streams: usize,
}

/// A connection that was made: its driver starts. It holds a permit of its endpoint until it ends.
pub fn start(
    local: &Local,
    stats: &Arc<ShardStats>,
    endpoint: &Rc<Endpoint>,
    stream: Stream,
    secure: &Option<Arc<UpstreamTls>>,
    keep: Keep,
) -> Rc<Live> {
    let limits = Limits {
        streams: keep.max_streams as u32,
        // As for answers over HTTP/1.1; all streams may have one at a time. Streams that fail by an answer's fault are
        // no attack: the connection goes on.
        head_bytes: RESPONSE_LIMITS.head_bytes,
        fields: RESPONSE_LIMITS.fields,
        memory_bytes: (1 << 20) + keep.max_streams.saturating_mul(HEAD_BYTES_USUAL),
        resets: u32::MAX,
        stream_window: STREAM_WINDOW,
        connection_window: STREAM_WINDOW.saturating_mul(keep.max_streams.clamp(1, 1024) as u32),
        ..Limits::default()
    };
    let link = Link::new(stream, Role::Client, &limits, local.timers.now(), Buf::none());
    let Keep { max_streams, .. } = keep;
    let live = Rc::new(Live {
        link,
        retired: Cell::new(false),
        served: Cell::new(false),
        max_streams,
        secure: secure.clone(),
    });
    endpoint.h2.open.borrow_mut().push(live.clone());
    edge_io::tasks::spawn(drive(local.clone(), stats.clone(), endpoint.clone(), live.clone(), keep));
    live
}

async fn drive(local: Local, stats: Arc<ShardStats>, endpoint: Rc<Endpoint>, live: Rc<Live>, keep: Keep) {
    let held = Held { endpoint, live };
    let Held { live, .. } = &held;
    let (idle, age) = (Timer::new(&local.timers), Timer::new(&local.timers));
    age.set(keep.age);
    let mut waits = false;
    let over = poll_fn(|cx| {
        let driven = live.link.poll_drive(cx, local.timers.now(), &mut |_, _, _| {});
        if let Some(abuse) = live.link.abuse() {
            stats.http2_abused(&abuse);
        }
        if driven.is_ready() {
            return driven;
        }
        if age.poll_fired(cx).is_ready() {
            live.retired.set(true);
        }
        let empty = live.link.open_streams() == 0;
        if empty && (live.retired.get() || live.link.is_going()) {
            return Poll::Ready(Over::Drained);
        }
        if !empty {
            waits = false;
            return Poll::Pending;
        }
        if keep.idle.is_zero() && live.served.get() {
            return Poll::Ready(Over::Drained);
        }
        if !std::mem::replace(&mut waits, true) {
            idle.set(keep.idle.max(LAST_WORDS));
        }
        idle.poll_fired(cx).map(|()| Over::Drained)
    })
    .await;
    live.retired.set(true);
    if matches!(over, Over::Drained) {
        live.link.go_away(ErrorCode::NO_ERROR);
    }
    live.link.abandon();
    if !matches!(over, Over::Closed) {
        idle.set(LAST_WORDS);
        poll_fn(|cx| match live.link.poll_flush(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => idle.poll_fired(cx),
        })
        .await;
        live.link.stream.shutdown_write();
    }
}

/// Takes a connection off its endpoint's list, and gives its permit back, whatever ends its driver.
struct Held {
    endpoint: Rc<Endpoint>,
    live: Rc<Live>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.live.link.abandon();
        self.endpoint.h2.remove(&self.live);
        self.endpoint.closed();
    }
}

/// One request's place on a shared connection.
pub struct Lane {
    live: Rc<Live>,
    endpoint: Rc<Endpoint>,
    stream: Option<H2Stream>,
    /// What of a body of known length is still to go; the last byte ends our direction.
    left: Option<u64>,
    /// The connection carried a request before.
    pub reused: bool,
    /// Heads that came.
    heads: u64,
    secure: bool,
}

const CUT_SHORT: Fault = Fault::new(Category::UpstreamReset, Side::Upstream, "no stream");

impl Lane {
    /// A place on `live`.
    pub fn new(live: Rc<Live>, endpoint: &Rc<Endpoint>, reused: bool) -> Lane {
        let secure = live.link.stream.tls().is_some();
        Lane { live, endpoint: endpoint.clone(), stream: None, left: None, reused, heads: 0, secure }
    }

    /// Its connection.
    pub fn live(&self) -> &Rc<Live> {
        &self.live
    }

    /// Whether the connection had carried requests before and is gone now: it may have been dead already.
    pub fn was_stale(&self) -> bool {
        self.reused && self.live.link.is_over()
    }

    /// Waits for the endpoint's settings: only they tell whether it takes extended CONNECT (RFC 8441 3).
    pub async fn settled(&self, local: &Local, timeout: Duration) -> Result<(), Fault> {
        let link = &self.live.link;
        let timer = Timer::new(&local.timers);
        timer.set(timeout);
        let place = link.changed().place();
        let settled = poll_fn(|cx| {
            if link.is_settled() || link.is_going() {
                return Poll::Ready(true);
            }
            place.wait(cx);
            timer.poll_fired(cx).map(|()| false)
        })
        .await;
        let fault = match (settled, link.takes_connect_protocol()) {
            (true, true) => return Ok(()),
            (true, false) => {
                self.endpoint.h2.no_websocket_until.set(local.timers.now() + NO_WEBSOCKET_MS);
                self.live.retire(); // nobody asked for another connection
                NO_WEBSOCKET
            }
            _ => Fault::new(Category::UpstreamTimeout, Side::Upstream, "no HTTP/2 settings in time"),
        };
        Err(fault.unsent())
    }

    /// Opens the stream.
    pub fn begin(&mut self, head: &Head, request: &Request<'_>, authority: &str) -> Result<(), Fault> {
        let pseudo = RequestHead {
            method: if request.websocket { b"CONNECT" } else { head.method_bytes() },
            scheme: if self.secure { b"https" } else { b"http" },
            authority: if request.host.is_empty() { authority.as_bytes() } else { request.host },
            path: request.target,
            protocol: request.websocket.then_some(&b"websocket"[..]),
        };
        let length = match request.body {
            BodySize::Exact(n) => Some(Decimal::new(n)),
            BodySize::Empty if head.has(FieldId::ContentLength) => Some(Decimal::new(0)),
            _ => None,
        };
        let te = request.te_trailers.then_some(FieldRef { id: FieldId::Te, name: b"te", value: b"trailers" });
        let expect = (request.expects_continue).then_some(FieldRef {
            id: FieldId::Expect,
            name: b"expect",
            value: b"100-continue",
        });
        let length = length.as_ref().map(|d| FieldRef {
            id: FieldId::ContentLength,
            name: b"content-length",
            value: d.as_bytes(),
        });
        let theirs = hop::request_fields(head).filter(|f| !request.websocket || !websocket::is_handshake_field(f));
        let fields = theirs.chain(hop::lines(request.our_fields)).chain(te).chain(expect).chain(length);
        let end = request.body == BodySize::Empty && !request.websocket;
        self.left = match request.body {
            BodySize::Exact(n) if !request.may_trail => Some(n),
            _ => None,
        };
        let full = Fault::new(Category::UpstreamReset, Side::Upstream, "the connection takes no more streams");
        self.live.served.set(true);
        self.stream = Some(H2Stream::request(&self.live.link, &pseudo, fields, end).ok_or(full.unsent())?);
        Ok(())
    }

    fn stream(&mut self) -> Result<&mut H2Stream, Fault> {
        self.stream.as_mut().ok_or(CUT_SHORT)
    }

    /// The next head.
    pub fn poll_head(&mut self, cx: &mut Context<'_>, into: &mut Box<Head>) -> Poll<Result<(), Fault>> {
        let done = self.stream()?.recv().poll_head(cx, into);
        if let Poll::Ready(Ok(_)) = done {
            self.heads += 1;
        }
        done.map(|r| r.map(|_| ()).map_err(cut_fault))
    }

    /// What the head means.
    pub fn answer(&mut self, head: &Head, request: &Request<'_>) -> Result<Answer, Fault> {
        let ended = self.stream.as_ref().is_none_or(H2Stream::is_received);
        let upgraded = request.websocket && (200..300).contains(&head.status());
        let size = match head.get(FieldId::ContentLength).and_then(|v| std::str::from_utf8(v).ok()?.parse().ok()) {
            _ if ended => BodySize::Empty,
            Some(n) => BodySize::Exact(n),
            None => BodySize::Unknown,
        };
        let status = if upgraded { 101 } else { head.status() };
        Ok(Answer { status, keep_alive: true, size, may_trail: true })
    }

    /// Progress so far: heads and body bytes.
    pub fn received(&self) -> u64 {
        self.heads + self.stream.as_ref().map_or(0, H2Stream::received)
    }

    /// Waits for body data, or the end.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, Fault>> {
        self.stream()?.recv().poll_fill(cx).map_err(cut_fault)
    }

    /// Body bytes that wait.
    pub fn data(&self) -> &[u8] {
        self.stream.as_ref().map_or(&[], H2Stream::data)
    }

    /// The first `n` of them are done with.
    pub fn consume(&mut self, n: usize) {
        if let Some(stream) = &mut self.stream {
            stream.recv().consume(n);
        }
    }

    /// Trailers that came with the end.
    pub fn trailers(&self) -> &Head {
        self.stream.as_ref().and_then(H2Stream::trailers).unwrap_or(crate::proto::h2::empty_head())
    }

    /// Takes some of the request's body.
    pub fn poll_push(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Fault>> {
        let last = self.left == Some(data.len() as u64);
        if self.left.is_some_and(|left| left < data.len() as u64) {
            let fault = Fault::new(Category::BadRequest, Side::Downstream, "more body than its length");
            return Poll::Ready(Err(fault));
        }
        let sent = self.stream()?.send().poll_data(cx, data, last).map_err(cut_fault);
        if let (Poll::Ready(Ok(n)), Some(left)) = (&sent, &mut self.left) {
            *left -= *n as u64;
        }
        sent
    }

    /// Ends the request.
    pub fn poll_finish(&mut self, cx: &mut Context<'_>, trailers: &Head) -> Poll<Result<(), Fault>> {
        let mut stream = self.stream()?.send();
        if !trailers.is_empty() {
            return Poll::Ready(stream.trailers(hop::trailer_fields(trailers)).map_err(cut_fault));
        }
        stream.poll_data(cx, b"", true).map(|r| r.map(|_| ()).map_err(cut_fault))
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.stream = None;
        self.endpoint.stream_closed();
    }
}
