//! One request on an HTTP/1.1 connection as the house's `Exchange`, and its body as it comes.
use super::{
    Reader,
    response::{Response, State},
    share::ListenerShare,
    writer::Writer,
};
use crate::{
    message::{BodySize, BodySource, Category, Deadlines, Exchange, Fault, Fill, Peer, Phase, Side},
    proto::{ClientTimeouts, Patience},
};
use edge_io::{
    head::Head,
    http1::{self, Limits, RequestSemantics},
    stream::Stream,
    tls,
};
use std::{
    task::{Context, Poll},
    time::Duration,
};

/// One request on an HTTP/1.1 connection.
pub struct H1Exchange<'c> {
    pub(super) stream: &'c Stream,
    pub(super) peer: Peer,
    pub(super) deadlines: &'c Deadlines,
    pub(super) share: &'c ListenerShare,
    pub(super) reader: &'c mut Reader,
    pub(super) writer: &'c mut Writer,
    pub(super) head: &'c Head,
    pub(super) limits: Limits,
    pub(super) semantics: RequestSemantics,
    pub(super) patience: Patience,
    pub(super) state: State,
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

    fn may_trail(&self) -> bool {
        false
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

    fn tls(&self) -> Option<&tls::Info> {
        self.stream.tls()
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
            patience: &self.patience,
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
    patience: &'a Patience,
}

const TOO_SLOW: Fault = Fault::new(Category::BodyTimeout, Side::Downstream, "the request body came too slowly");

impl RequestBody<'_> {
    fn too_slow(&self) -> bool {
        self.patience.is_over(self.reader.received, &self.timeouts)
    }
}

impl BodySource for RequestBody<'_> {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, Fault>> {
        let before = self.reader.received;
        match self.reader.poll_fill(cx, self.stream, &self.limits) {
            Poll::Ready(done) => {
                self.deadlines.clear(Phase::ClientBody);
                self.patience.came(self.deadlines.now());
                if done.is_ok_and(|f| f == Fill::Data) && self.too_slow() {
                    return Poll::Ready(Err(TOO_SLOW));
                }
                Poll::Ready(done)
            }
            Poll::Pending => {
                // Framing and trailers can dribble in as well as data.
                self.patience.came(self.deadlines.now());
                self.patience.waits(self.deadlines.now());
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
        self.take_time();
    }

    fn take_time(&mut self) {
        self.timeouts.min_body_rate = 0;
        self.timeouts.body = Duration::MAX;
    }
}
