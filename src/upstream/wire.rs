//! One request's way on a connection to an endpoint, whatever protocol the connection speaks.
use super::{
    Request,
    h1::{self, Lease},
    h2,
    pool::Conn,
};
use crate::{
    message::{BodySink, BodySize, BodySource, Category, Fault, Fill, Side},
    proto::{
        h1::{Framing, upstream_fault},
        h2::Cut,
    },
};
use edge_io::{
    head::{Head, Method},
    http1,
    stream::Stream,
};
use std::task::{Context, Poll};

/// What a request was given to be sent on.
pub enum Lane {
    /// A connection of its own.
    H1(Conn),
    /// A stream of a shared connection.
    H2(h2::Lane),
}

impl Lane {
    /// The way, with the buffers that it needs.
    pub fn wire<'a>(&'a mut self, lease: &'a mut Lease) -> Option<Wire<'a>> {
        match self {
            Lane::H1(conn) => Some(Wire::H1 { stream: conn.stream()?, lease }),
            Lane::H2(lane) => Some(Wire::H2 { lane, lease }),
        }
    }

    /// Whether a failure may only mean that a kept connection had died before.
    pub fn was_stale(&self) -> bool {
        match self {
            Lane::H1(conn) => conn.reused,
            Lane::H2(lane) => lane.was_stale(),
        }
    }

    /// Whether the connection carried a request before.
    pub fn is_reused(&self) -> bool {
        match self {
            Lane::H1(conn) => conn.reused,
            Lane::H2(lane) => lane.reused,
        }
    }
}

/// The way of one request and its answer.
pub enum Wire<'a> {
    /// HTTP/1.1.
    H1 {
        /// The connection.
        stream: &'a Stream,
        /// Its buffers.
        lease: &'a mut Lease,
    },
    /// HTTP/2.
    H2 {
        /// The stream.
        lane: &'a mut h2::Lane,
        /// Where the answer's head goes.
        lease: &'a mut Lease,
    },
}

/// What an answer's head means for what follows.
pub struct Answer {
    /// The status that the client is to see; 101 for an upgrade, however the endpoint says it.
    pub status: u16,
    /// The connection can carry another request afterwards.
    pub keep_alive: bool,
    /// The body that follows.
    pub size: BodySize,
    /// Trailers may follow a body of known length.
    pub may_trail: bool,
}

impl Wire<'_> {
    /// Begins the request: its head is gathered, and goes out with the first flush.
    pub fn begin(&mut self, head: &Head, request: &Request<'_>, authority: &str) -> Result<(), Fault> {
        match self {
            Wire::H1 { lease, .. } => {
                lease.reader.begin_message();
                lease.head.clear();
                lease.writer.reset();
                let framing = h1::write_request_head(&mut lease.writer.out, head, request, authority);
                lease.writer.begin(framing);
                Ok(())
            }
            Wire::H2 { lane, lease } => {
                lease.head.clear();
                lane.begin(head, request, authority)
            }
        }
    }

    /// Waits for the next head; `Ok(false)` when the endpoint closed instead.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Fault>> {
        match self {
            Wire::H1 { stream, lease } => lease.reader.poll_head(cx, stream, &h1::RESPONSE_LIMITS, &mut lease.head),
            Wire::H2 { lane, lease } => lane.poll_head(cx, &mut lease.head).map(|r| r.map(|()| true)),
        }
    }

    /// The head that came.
    pub fn head(&self) -> &Head {
        match self {
            Wire::H1 { lease, .. } | Wire::H2 { lease, .. } => &lease.head,
        }
    }

    /// What it means, for a request of `method`; its body begins.
    pub fn answer(&mut self, method: Method, request: &Request<'_>) -> Result<Answer, Fault> {
        match self {
            Wire::H1 { lease, .. } => {
                let semantics =
                    http1::response_semantics(&lease.head, method, request.websocket).map_err(upstream_fault)?;
                let status = lease.head.status();
                if status == 101 {
                    h1::check_handshake(&lease.head, request)?;
                }
                if status >= 200 || status == 101 {
                    lease.reader.begin_body(semantics.framing);
                }
                Ok(Answer {
                    status,
                    keep_alive: semantics.keep_alive,
                    size: h1::body_size(semantics.framing),
                    may_trail: false,
                })
            }
            Wire::H2 { lane, lease } => lane.answer(&lease.head, request),
        }
    }

    /// After an informational head another one follows.
    pub fn begin_next_head(&mut self) {
        match self {
            Wire::H1 { lease, .. } => {
                lease.reader.begin_next_head();
                lease.head.clear();
            }
            Wire::H2 { lease, .. } => lease.head.clear(),
        }
    }

    /// Bytes of the answer so far: enough to tell progress from none.
    pub fn received(&self) -> u64 {
        match self {
            Wire::H1 { lease, .. } => lease.reader.received,
            Wire::H2 { lane, .. } => lane.received(),
        }
    }

    /// Whether the answer was read to its end and nothing stands behind it.
    pub fn is_through(&self) -> bool {
        match self {
            Wire::H1 { lease, .. } => lease.reader.is_done() && !lease.reader.has_leftover(),
            Wire::H2 { .. } => true, // the connection goes on whatever became of the stream
        }
    }

    /// Bytes without framing from now on, towards the endpoint.
    pub fn begin_tunnel(&mut self) {
        if let Wire::H1 { lease, .. } = self {
            lease.writer.begin(Framing::Tunnel);
        }
    }
}

impl BodySource for Wire<'_> {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, Fault>> {
        match self {
            Wire::H1 { stream, lease } => lease.reader.poll_fill(cx, stream, &h1::RESPONSE_LIMITS),
            Wire::H2 { lane, .. } => lane.poll_fill(cx),
        }
    }

    fn data(&self) -> &[u8] {
        match self {
            Wire::H1 { lease, .. } => lease.reader.data(),
            Wire::H2 { lane, .. } => lane.data(),
        }
    }

    fn consume(&mut self, n: usize) {
        match self {
            Wire::H1 { lease, .. } => lease.reader.consume(n),
            Wire::H2 { lane, .. } => lane.consume(n),
        }
    }

    fn trailers(&self) -> &Head {
        match self {
            Wire::H1 { lease, .. } => lease.reader.trailers(),
            Wire::H2 { lane, .. } => lane.trailers(),
        }
    }

    fn upgrade(&mut self) {
        if let Wire::H1 { lease, .. } = self {
            lease.reader.begin_body(http1::Framing::Tunnel);
        }
    }
}

impl BodySink for Wire<'_> {
    fn poll_push(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Fault>> {
        match self {
            Wire::H1 { stream, lease } => lease.writer.poll_push(cx, stream, data),
            Wire::H2 { lane, .. } => lane.poll_push(cx, data),
        }
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>, trailers: &Head) -> Poll<Result<(), Fault>> {
        match self {
            Wire::H1 { stream, lease } => lease.writer.poll_finish(cx, stream, Some(trailers)),
            Wire::H2 { lane, .. } => lane.poll_finish(cx, trailers),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        match self {
            Wire::H1 { stream, lease } => lease.writer.poll_flush(cx, stream),
            Wire::H2 { .. } => Poll::Ready(Ok(())), // its driver writes at the end of the turn
        }
    }
}

/// What an endpoint did to a stream, as a fault.
pub fn cut_fault(cut: Cut) -> Fault {
    use edge_io::http2::ErrorCode;
    let (category, detail) = match (cut.connection, cut.by_peer) {
        (true, _) => (Category::UpstreamReset, "the connection ended in the middle of a message"),
        (_, true) if cut.code == ErrorCode::REFUSED_STREAM => {
            (Category::UpstreamReset, "the endpoint refused the stream")
        }
        (_, true) => (Category::UpstreamReset, "the endpoint reset the stream"),
        _ => (Category::UpstreamProtocol, "a message that breaks HTTP/2"),
    };
    let fault = Fault::new(category, Side::Upstream, detail);
    if cut.unprocessed { fault.unsent() } else { fault }
}
