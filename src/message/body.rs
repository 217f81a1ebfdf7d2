//! Bodies in motion: a source, a sink, and the pump between them. Nothing is collected; back-pressure is the pump's.
use super::Fault;
use bytes::Bytes;
use edge_io::head::Head;
use std::task::{Context, Poll, ready};

/// How long a body is, as far as its framing tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodySize {
    /// There is none.
    Empty,
    /// So many bytes.
    Exact(u64),
    /// Until it ends.
    Unknown,
}

/// What `poll_fill` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// `data()` is not empty.
    Data,
    /// The body is complete; `trailers()` are final.
    End,
}

/// Where a body comes from. Like `BufRead`: fill, look, consume.
pub trait BodySource {
    /// Waits until there is data, or the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, Fault>>;
    /// The data that waits; at most 64 KiB.
    fn data(&self) -> &[u8];
    /// The first `n` bytes of `data()` are done with.
    fn consume(&mut self, n: usize);
    /// Trailer fields, once the end is reached.
    fn trailers(&self) -> &Head;
    /// Its sender may take its time: a conversation rather than an upload.
    fn take_time(&mut self) {}
    /// The connection was upgraded: from now on bytes without framing, until the peer ends its direction.
    fn upgrade(&mut self);
}

/// Where a body goes. Small pieces gather until `poll_flush` or until there are enough for a write.
pub trait BodySink {
    /// Takes some of `data` (not empty): how many bytes.
    fn poll_push(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Fault>>;
    /// The same of bytes that are shared: a sink that keeps what it sends until it has arrived copies none of them.
    fn poll_push_shared(&mut self, cx: &mut Context<'_>, data: &Bytes) -> Poll<Result<usize, Fault>> {
        self.poll_push(cx, data)
    }
    /// Ends the body, with trailers where the framing can carry them, and flushes.
    fn poll_finish(&mut self, cx: &mut Context<'_>, trailers: &Head) -> Poll<Result<(), Fault>>;
    /// Hands what was gathered to the kernel.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>>;
}

/// Pieces a pump moves before it lets the shard's other tasks run: 16 × 64 KiB.
const PIECES_PER_TURN: usize = 16;

/// Moves one body from its source to its sink.
#[derive(Debug, Default)]
pub struct Pump {
    /// Body bytes moved so far.
    pub bytes: u64,
    ended: bool,
    /// The sink has everything.
    pub done: bool,
}

impl Pump {
    /// One for another body, which goes on counting.
    pub fn again(&self) -> Pump {
        Pump { bytes: self.bytes, ended: false, done: false }
    }

    /// Moves what can be moved now. Ready when the sink has the whole body; `limit` is the most bytes it may have, and
    /// `over` the fault if it has more. Errors name the side they came from.
    pub fn poll<S: BodySource, D: BodySink>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut S,
        sink: &mut D,
        limit: Option<(u64, Fault)>,
    ) -> Poll<Result<(), Fault>> {
        let mut pieces = 0;
        while !self.ended {
            match source.poll_fill(cx) {
                Poll::Ready(Ok(Fill::Data)) => {
                    let n = ready!(sink.poll_push(cx, source.data()))?;
                    source.consume(n);
                    self.bytes += n as u64;
                    if let Some((most, fault)) = limit
                        && self.bytes > most
                    {
                        return Poll::Ready(Err(fault));
                    }
                    pieces += 1;
                    if pieces == PIECES_PER_TURN {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
                Poll::Ready(Ok(Fill::End)) => self.ended = true,
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
                Poll::Pending => {
                    // Nothing more for now: what was gathered goes out at once (streams, events).
                    ready!(sink.poll_flush(cx))?;
                    return Poll::Pending;
                }
            }
        }
        ready!(sink.poll_finish(cx, source.trailers()))?;
        self.done = true;
        Poll::Ready(Ok(()))
    }
}
