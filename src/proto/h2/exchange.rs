//! One stream of a downstream HTTP/2 connection as the house's `Exchange`: request body in, answer out.
use super::{
    heads,
    link::Link,
    stream::{Cut, H2Stream, RecvHalf, SendHalf},
};
use crate::{
    message::{
        BodySink, BodySize, BodySource, Category, Deadlines, Exchange, Fault, Fill, Peer, Phase, ResponseHead,
        ResponseSink, Side,
    },
    proto::{
        ClientTimeouts, Patience,
        h1::ListenerShare,
        hop,
        websocket::{self, Frames, GOING_AWAY},
    },
};
use edge_io::{
    head::{FieldId, FieldRef, Head, Method},
    http1::Decimal,
    http2::ErrorCode,
    tls,
};
use std::{
    rc::Rc,
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

fn fault_of(cut: Cut) -> Fault {
    match (cut.connection, cut.by_peer) {
        (true, _) => CLOSED,
        (_, true) => CANCELLED,
        _ => BROKEN,
    }
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
pub struct H2Exchange {
    stream: H2Stream,
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

impl H2Exchange {
    pub(super) fn new(
        link: &Rc<Link>,
        id: u32,
        end: bool,
        mut head: Box<Head>,
        peer: Peer,
        share: &Rc<ListenerShare>,
    ) -> H2Exchange {
        let protocol = link.engine().protocol();
        let stream = H2Stream::opened(link.clone(), id, end);
        let deadlines = Deadlines::new(&share.timers);
        let websocket = head.method() == Method::Connect && protocol == edge_io::http2::Protocol::WebSocket;
        let refused = refusal(&head, protocol, websocket, share.limits.get().line_bytes);
        if websocket {
            // It is the handshake that HTTP/1.1 makes with GET (RFC 8441 5): routes know it as such.
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
        H2Exchange {
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
        self.stream.link().go_away_gracefully();
    }

    fn request(&self) -> &Head {
        match &self.head {
            Some(head) => head,
            None => heads::empty(),
        }
    }
}

/// CONNECT asks for a tunnel, which only WebSocket gets (RFC 9110 9.3.6, RFC 8441 4).
fn refusal(head: &Head, protocol: edge_io::http2::Protocol, websocket: bool, target_bytes_max: usize) -> Option<Fault> {
    use edge_io::http2::Protocol;
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

impl Drop for H2Exchange {
    fn drop(&mut self) {
        if !self.stream.is_sent() && self.state.status != 0 {
            self.stream.code = ErrorCode::INTERNAL_ERROR; // an answer that was cut off is not a cancelled one
        }
        if let Some(head) = self.head.take() {
            heads::give(head);
        }
    }
}

impl Exchange for H2Exchange {
    type Source<'a> = RequestBody<'a>;
    type Sink<'a> = Response<'a>;

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
        self.stream.link().stream.tls()
    }

    fn protocol(&self) -> &'static str {
        "h2"
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

    fn parts(&mut self) -> (&Head, RequestBody<'_>, Response<'_>, &Deadlines) {
        let H2Exchange { stream, head, deadlines, timeouts, patience, state, .. } = self;
        let request = match head {
            Some(head) => &**head,
            None => heads::empty(),
        };
        let (recv, send) = stream.halves();
        let source = RequestBody { recv, deadlines, timeouts: *timeouts, patience };
        let sink = Response { send, deadlines, write_timeout: timeouts.write, patience, state };
        (request, source, sink, deadlines)
    }
}

/// The request's body as it comes.
pub struct RequestBody<'a> {
    recv: RecvHalf<'a>,
    deadlines: &'a Deadlines,
    timeouts: ClientTimeouts,
    patience: &'a Patience,
}

impl BodySource for RequestBody<'_> {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, Fault>> {
        match self.recv.poll_fill(cx) {
            Poll::Ready(done) => {
                self.deadlines.clear(Phase::ClientBody);
                self.patience.came(self.deadlines.now());
                if matches!(done, Ok(Fill::Data)) && self.patience.is_over(self.recv.bytes(), &self.timeouts) {
                    return Poll::Ready(Err(TOO_SLOW));
                }
                Poll::Ready(done.map_err(fault_of))
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
        self.recv.trailers().unwrap_or(heads::empty())
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
pub struct Response<'a> {
    send: SendHalf<'a>,
    deadlines: &'a Deadlines,
    write_timeout: Duration,
    patience: &'a Patience,
    state: &'a mut State,
}

impl BodySink for Response<'_> {
    fn poll_push(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Fault>> {
        let last = self.state.left == Some(data.len() as u64);
        if self.state.left.is_some_and(|left| left < data.len() as u64) {
            let fault = Fault::new(Category::UpstreamProtocol, Side::Upstream, "more body than its length");
            return Poll::Ready(Err(fault));
        }
        match self.send.poll_data(cx, data, last) {
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
            Poll::Ready(Err(cut)) => Poll::Ready(Err(fault_of(cut))),
            Poll::Pending => {
                if !self.deadlines.is_set(Phase::ClientWrite) {
                    self.deadlines.set(Phase::ClientWrite, self.write_timeout);
                }
                Poll::Pending
            }
        }
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>, trailers: &Head) -> Poll<Result<(), Fault>> {
        if self.state.left.is_some_and(|left| left > 0) {
            let fault = Fault::new(Category::UpstreamReset, Side::Upstream, "less body than its length");
            return Poll::Ready(Err(fault));
        }
        if !trailers.is_empty() {
            return Poll::Ready(self.send.trailers(hop::trailer_fields(trailers)).map_err(fault_of));
        }
        match ready!(self.send.poll_data(cx, b"", true)) {
            Ok(_) => Poll::Ready(Ok(())),
            Err(cut) => Poll::Ready(Err(fault_of(cut))),
        }
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(())) // the connection's driver writes what is there at the end of each turn
    }
}

impl ResponseSink for Response<'_> {
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
    }

    fn started(&self) -> bool {
        self.state.status != 0
    }

    fn close_after(&mut self) {}

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        self.send.poll_cut(cx).map(fault_of)
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
