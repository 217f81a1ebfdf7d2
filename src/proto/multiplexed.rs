//! One stream of a multiplexed downstream connection (HTTP/2, HTTP/3) as the house's `Exchange`: request body in,
//! answer out. What differs between the protocols is behind [`Stream`].
use super::{
    ClientTimeouts, Patience,
    h1::ListenerShare,
    hop,
    websocket::{self, Frames, GOING_AWAY},
};
use crate::message::{
    BodySink, BodySize, BodySource, Category, Deadlines, Exchange, Fault, Fill, Peer, Phase, ResponseHead,
    ResponseSink, Side,
};
use bytes::Bytes;
use edge_io::{
    head::{FieldId, FieldRef, Head, Method, spare},
    http1::Decimal,
    http2::Protocol,
    tls,
};
use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

const CLOSED: Fault = Fault::new(Category::ClientAbort, Side::Downstream, "the client closed the connection");
const CANCELLED: Fault = Fault::new(Category::ClientAbort, Side::Downstream, "the client reset the stream");
const BROKEN: Fault =
    Fault::new(Category::BadRequest, Side::Downstream, "the client broke the protocol on this stream");
const TOO_SLOW: Fault = Fault::new(Category::BodyTimeout, Side::Downstream, "the request body came too slowly");
/// Frame and field overhead that a request's log line counts beside its fields, bytes.
const FRAME_BYTES: u64 = 9;

/// Why a stream goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The whole connection is gone.
    Connection,
    /// The peer gave the stream up.
    Cancelled,
    /// The peer broke the protocol on it.
    Broken,
}

impl From<Ended> for Fault {
    fn from(ended: Ended) -> Fault {
        match ended {
            Ended::Connection => CLOSED,
            Ended::Cancelled => CANCELLED,
            Ended::Broken => BROKEN,
        }
    }
}

/// A stream that the peer opened with a request, as its exchange needs it. Dropped before both directions are through,
/// it is reset.
pub trait Stream {
    /// The peer's direction.
    type Recv<'s>: Receive
    where
        Self: 's;
    /// Our direction.
    type Send<'s>: Answer
    where
        Self: 's;
    /// What the access log and the metrics call it.
    const PROTOCOL: &'static str;

    /// Both directions, borrowed apart.
    fn halves(&mut self) -> (Self::Recv<'_>, Self::Send<'_>);
    /// The handshake, if its connection is encrypted.
    fn tls(&self) -> Option<&tls::Info>;
    /// Whether the peer's direction was read to its end.
    fn is_received(&self) -> bool;
    /// Whether our direction is through.
    fn is_sent(&self) -> bool;
    /// Body bytes that came.
    fn received(&self) -> u64;
    /// The answer cannot be completed: a reset says that it is our fault.
    fn fail(&mut self);
    /// The connection takes no more requests.
    fn end_connection(&self);
    /// The request came before the handshake was complete, and may be a replay (RFC 8470).
    fn is_early(&self) -> bool {
        false
    }
}

/// The peer's direction of a stream.
pub trait Receive {
    /// Waits for body data, or the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, Ended>>;
    /// Body bytes that wait.
    fn data(&self) -> &[u8];
    /// The first `n` of them are done with.
    fn consume(&mut self, n: usize);
    /// Trailer fields that came with the end.
    fn trailers(&self) -> Option<&Head>;
    /// Body bytes that came so far.
    fn bytes(&self) -> u64;
}

/// Our direction of a stream.
pub trait Answer {
    /// Sends a response head, also an interim one: the bytes it took.
    fn response<'f>(&mut self, status: u16, fields: impl Iterator<Item = FieldRef<'f>>, end: bool) -> u64;
    /// How long the body will be, if that is known and it can be framed as one.
    fn announce(&mut self, _length: u64) {}
    /// Takes some of `data`: how many bytes. `end` ends our direction with the last of them.
    fn poll_data(&mut self, cx: &mut Context<'_>, data: &[u8], end: bool) -> Poll<Result<usize, Ended>>;
    /// The same of bytes that are shared.
    fn poll_shared(&mut self, cx: &mut Context<'_>, data: &Bytes, end: bool) -> Poll<Result<usize, Ended>> {
        self.poll_data(cx, data, end)
    }
    /// Ends our direction with trailers.
    fn trailers<'f>(&mut self, fields: impl Iterator<Item = FieldRef<'f>>) -> Result<(), Ended>;
    /// What was held back to go out together with more goes out now.
    fn flush(&mut self) {}
    /// Ready when the stream is gone.
    fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<Ended>;
}

/// How a stream begins.
pub struct Opening {
    /// Its request.
    pub head: Box<Head>,
    /// Nothing follows it.
    pub end: bool,
    /// What an extended CONNECT asks for.
    pub protocol: Protocol,
}

/// How far the answer is.
struct State {
    status: u16,
    head_request: bool,
    websocket: bool,
    /// What of a body of known length is still to come; the last byte ends the stream.
    left: Option<u64>,
    has_body: bool,
    bytes_out: u64,
    frames: Frames,
}

/// One request and its answer.
pub struct StreamExchange<S: Stream> {
    stream: S,
    head: Option<Box<Head>>,
    peer: Peer,
    deadlines: Deadlines,
    size: BodySize,
    expects_continue: bool,
    refused: Option<Fault>,
    timeouts: ClientTimeouts,
    patience: Patience,
    state: State,
}

impl<S: Stream> StreamExchange<S> {
    /// A request on a stream.
    pub fn new(stream: S, opening: Opening, peer: Peer, share: &ListenerShare) -> StreamExchange<S> {
        let Opening { mut head, end, protocol } = opening;
        let deadlines = Deadlines::new(&share.timers);
        let websocket = head.method() == Method::Connect && protocol == Protocol::WebSocket;
        let refused = refusal(&head, protocol, websocket, share.limits.get().line_bytes);
        if websocket {
            // It is the handshake that HTTP/1.1 makes with GET (RFC 8441 5, RFC 9220 3): routes know it as such.
            head.set_method_name(b"GET");
        }
        let size = match head.get(FieldId::ContentLength).and_then(decimal) {
            _ if end => BodySize::Empty,
            Some(n) if !websocket => BodySize::Exact(n),
            _ if websocket => BodySize::Empty,
            _ => BodySize::Unknown,
        };
        let expects_continue = head.get(FieldId::Expect).is_some_and(|v| v.eq_ignore_ascii_case(b"100-continue"));
        let state = State {
            status: 0,
            head_request: head.method() == Method::Head,
            websocket,
            left: None,
            has_body: true,
            bytes_out: 0,
            frames: Frames::default(),
        };
        let timeouts = share.timeouts.get();
        StreamExchange {
            stream,
            head: Some(head),
            peer,
            deadlines,
            size,
            expects_continue: expects_continue && !end,
            refused,
            timeouts,
            patience: Patience::default(),
            state,
        }
    }

    /// What is wrong with the request, if it must be refused.
    pub fn refused(&self) -> Option<Fault> {
        self.refused
    }

    /// The connection takes no more requests.
    pub fn end_connection(&self) {
        self.stream.end_connection();
    }

    fn request(&self) -> &Head {
        match &self.head {
            Some(head) => head,
            None => spare::empty(),
        }
    }
}

/// CONNECT asks for a tunnel, which only WebSocket gets (RFC 9110 9.3.6, RFC 8441 4).
fn refusal(head: &Head, protocol: Protocol, websocket: bool, target_bytes_max: usize) -> Option<Fault> {
    let fault = |category, detail| Fault::new(category, Side::Downstream, detail);
    if head.path_and_query().len() > target_bytes_max {
        return Some(fault(Category::HeadTooLarge, "the request target is too long").with_status(414));
    }
    if head.get_all(FieldId::Expect).any(|v| !v.eq_ignore_ascii_case(b"100-continue")) {
        return Some(fault(Category::BadRequest, "an expectation that is not 100-continue").with_status(417));
    }
    if protocol == Protocol::Other {
        let fault = fault(Category::BadRequest, "an extended CONNECT for another protocol than websocket");
        return Some(fault.with_status(501));
    }
    (head.method() == Method::Connect && !websocket)
        .then(|| fault(Category::MethodNotAllowed, "CONNECT is not for this server"))
}

fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

impl<S: Stream> Drop for StreamExchange<S> {
    fn drop(&mut self) {
        if !self.stream.is_sent() && self.state.status != 0 {
            self.stream.fail(); // an answer that was cut off is not a cancelled one
        }
        if let Some(head) = self.head.take() {
            spare::give(head);
        }
    }
}

impl<S: Stream> Exchange for StreamExchange<S> {
    type Source<'a>
        = RequestBody<'a, S::Recv<'a>>
    where
        Self: 'a;
    type Sink<'a>
        = Response<'a, S::Send<'a>>
    where
        Self: 'a;

    fn head(&self) -> &Head {
        self.request()
    }

    fn body_size(&self) -> BodySize {
        self.size
    }

    fn may_trail(&self) -> bool {
        true
    }

    fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    fn wants_websocket(&self) -> bool {
        self.state.websocket
    }

    fn peer(&self) -> Peer {
        self.peer
    }

    fn tls(&self) -> Option<&tls::Info> {
        self.stream.tls()
    }

    fn early_data(&self) -> bool {
        self.stream.is_early()
    }

    fn protocol(&self) -> &'static str {
        S::PROTOCOL
    }

    fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    fn takes_trailers(&self) -> bool {
        self.request().get(FieldId::Te).is_some_and(|v| v.eq_ignore_ascii_case(b"trailers"))
    }

    fn started(&self) -> bool {
        self.state.status != 0
    }

    fn take_back(&mut self) -> bool {
        false // it stands among other streams' frames, and the field table has moved on
    }

    fn is_body_read(&self) -> bool {
        self.stream.is_received()
    }

    fn close_after(&mut self) {} // the stream ends; the connection need not

    fn status(&self) -> u16 {
        self.state.status
    }

    fn bytes_in(&self) -> u64 {
        FRAME_BYTES + self.request().fields_bytes() as u64 + self.stream.received()
    }

    fn bytes_out(&self) -> u64 {
        self.state.bytes_out
    }

    fn parts(&mut self) -> (&Head, Self::Source<'_>, Self::Sink<'_>, &Deadlines) {
        let StreamExchange { stream, head, deadlines, timeouts, patience, state, .. } = self;
        let request = match head {
            Some(head) => &**head,
            None => spare::empty(),
        };
        let (recv, send) = stream.halves();
        let source = RequestBody { recv, deadlines, timeouts: *timeouts, patience };
        let sink = Response { send, deadlines, write_timeout: timeouts.write, patience, state };
        (request, source, sink, deadlines)
    }
}

/// The request's body as it comes.
pub struct RequestBody<'a, R> {
    recv: R,
    deadlines: &'a Deadlines,
    timeouts: ClientTimeouts,
    patience: &'a Patience,
}

impl<R: Receive> BodySource for RequestBody<'_, R> {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, Fault>> {
        match self.recv.poll_fill(cx) {
            Poll::Ready(done) => {
                self.deadlines.clear(Phase::ClientBody);
                self.patience.came(self.deadlines.now());
                if matches!(done, Ok(Fill::Data)) && self.patience.is_over(self.recv.bytes(), &self.timeouts) {
                    return Poll::Ready(Err(TOO_SLOW));
                }
                Poll::Ready(done.map_err(Fault::from))
            }
            Poll::Pending => {
                self.patience.waits(self.deadlines.now());
                // An upgraded stream has no such deadline: setting one at each poll would put off the others.
                if self.timeouts.body != Duration::MAX && !self.deadlines.is_set(Phase::ClientBody) {
                    self.deadlines.set(Phase::ClientBody, self.timeouts.body);
                }
                Poll::Pending
            }
        }
    }

    fn data(&self) -> &[u8] {
        self.recv.data()
    }

    fn consume(&mut self, n: usize) {
        self.recv.consume(n);
    }

    fn trailers(&self) -> &Head {
        self.recv.trailers().unwrap_or(spare::empty())
    }

    fn upgrade(&mut self) {
        self.take_time();
    }

    fn take_time(&mut self) {
        self.timeouts.min_body_rate = 0;
        self.timeouts.body = Duration::MAX;
    }
}

/// The way of the answer.
pub struct Response<'a, A> {
    send: A,
    deadlines: &'a Deadlines,
    write_timeout: Duration,
    patience: &'a Patience,
    state: &'a mut State,
}

impl<A: Answer> Response<'_, A> {
    /// Whether so many bytes are what was still to come.
    fn is_last(&self, bytes: usize) -> Result<bool, Fault> {
        match self.state.left {
            Some(left) if left < bytes as u64 => {
                Err(Fault::new(Category::UpstreamProtocol, Side::Upstream, "more body than its length"))
            }
            left => Ok(left == Some(bytes as u64)),
        }
    }

    /// What became of `data`.
    fn pushed(&mut self, pushed: Poll<Result<usize, Ended>>, data: &[u8]) -> Poll<Result<usize, Fault>> {
        match pushed {
            Poll::Ready(Ok(n)) => {
                self.deadlines.clear(Phase::ClientWrite);
                self.state.bytes_out += n as u64;
                if let Some(left) = &mut self.state.left {
                    *left -= n as u64;
                }
                if self.state.websocket {
                    self.state.frames.feed(data.get(..n).unwrap_or_default());
                }
                Poll::Ready(Ok(n))
            }
            Poll::Ready(Err(ended)) => Poll::Ready(Err(ended.into())),
            Poll::Pending => {
                if !self.deadlines.is_set(Phase::ClientWrite) {
                    self.deadlines.set(Phase::ClientWrite, self.write_timeout);
                }
                Poll::Pending
            }
        }
    }
}

impl<A: Answer> BodySink for Response<'_, A> {
    fn poll_push(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Fault>> {
        let last = self.is_last(data.len())?;
        let pushed = self.send.poll_data(cx, data, last);
        self.pushed(pushed, data)
    }

    fn poll_push_shared(&mut self, cx: &mut Context<'_>, data: &Bytes) -> Poll<Result<usize, Fault>> {
        let last = self.is_last(data.len())?;
        let pushed = self.send.poll_shared(cx, data, last);
        self.pushed(pushed, data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>, trailers: &Head) -> Poll<Result<(), Fault>> {
        if self.state.left.is_some_and(|left| left > 0) {
            let fault = Fault::new(Category::UpstreamReset, Side::Upstream, "less body than its length");
            return Poll::Ready(Err(fault));
        }
        if !trailers.is_empty() {
            return Poll::Ready(self.send.trailers(hop::trailer_fields(trailers)).map_err(Fault::from));
        }
        match ready!(self.send.poll_data(cx, b"", true)) {
            Ok(_) => Poll::Ready(Ok(())),
            Err(ended) => Poll::Ready(Err(ended.into())),
        }
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.send.flush(); // the connection's driver writes what is there at the end of each turn
        Poll::Ready(Ok(()))
    }
}

impl<A: Answer> ResponseSink for Response<'_, A> {
    fn inform(&mut self, status: u16, fields: &mut dyn Iterator<Item = FieldRef<'_>>) {
        if self.state.status == 0 {
            self.state.bytes_out += self.send.response(status, fields, false);
        }
    }

    fn start(&mut self, head: ResponseHead<'_>) {
        // A stream that was upgraded says so with 200 (RFC 8441 5).
        let upgraded = head.status == 101;
        let status = if upgraded { 200 } else { head.status };
        let bodiless = self.state.head_request || matches!(status, 204 | 304);
        let end = !upgraded && (bodiless || head.size == BodySize::Empty);
        let length = match head.size {
            _ if upgraded || status == 204 => None,
            _ if bodiless => head.shown_length,
            BodySize::Exact(n) => Some(n),
            BodySize::Empty => Some(0),
            BodySize::Unknown => None,
        };
        let digits = length.map(Decimal::new);
        let own = head.extra.iter().map(|(name, value)| FieldRef { id: FieldId::of(name), name, value });
        let date = head.date.map(|value| FieldRef { id: FieldId::Date, name: b"date", value });
        let size = digits.as_ref().map(|digits| FieldRef {
            id: FieldId::ContentLength,
            name: b"content-length",
            value: digits.as_bytes(),
        });
        self.patience.end();
        self.state.status = status;
        self.state.has_body = !end;
        self.state.websocket = upgraded;
        self.state.left = match head.size {
            BodySize::Exact(n) if !end && !upgraded && !head.may_trail => Some(n),
            _ => None,
        };
        let rest = date.into_iter().chain(own).chain(size);
        let written = match head.fields {
            Some(fields) => {
                let kept = hop::response_fields(fields).filter(|f| !upgraded || !websocket::is_handshake_field(f));
                self.send.response(status, kept.chain(rest), end)
            }
            None => self.send.response(status, rest, end),
        };
        self.state.bytes_out += written;
        if let Some(left) = self.state.left {
            self.send.announce(left);
        }
    }

    fn started(&self) -> bool {
        self.state.status != 0
    }

    fn close_after(&mut self) {}

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        self.send.poll_cut(cx).map(Fault::from)
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn is_whole(&self) -> bool {
        false // the end of the stream says so, and nothing else
    }

    fn say_goodbye(&mut self) {
        if self.state.websocket && self.state.frames.at_boundary() {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            // It ends our direction, so that no reset takes it away again. No room: then without.
            let _ = self.send.poll_data(&mut cx, &GOING_AWAY, true);
        }
    }

    fn has_body(&self) -> bool {
        self.state.has_body
    }
}
