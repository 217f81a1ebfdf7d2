//! An upgraded connection: bytes both ways until both ends are done, nothing moves for too long, or the shard ends.
//!
//! It outlives the request that made it: it holds no snapshot, so that old configurations do not pile up behind
//! connections that stay open for days.
use super::{
    Upstreams,
    h1::{Lease, RequestSink, ResponseBody},
    pool::{Conn, InFlight},
};
use crate::{
    message::{BodySource, Category, Deadlines, Fault, Phase, Pump, ResponseSink, Side},
    proto::h1::Framing,
};
use edge_io::tcp::Stream;
use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
    time::Duration,
};

/// The endpoint's side of an upgraded connection.
pub struct Tunnel {
    pub(super) conn: Conn,
    pub(super) lease: Box<Lease>,
    /// Counts as a request in flight at its endpoint.
    pub(super) _in_flight: InFlight,
    /// Without a byte either way it ends after this.
    pub(super) idle: Duration,
}

impl Tunnel {
    /// Relays until the end. The fault says why it ended, when neither side ended it.
    pub async fn run<S: BodySource, D: ResponseSink>(
        mut self,
        upstreams: &Upstreams,
        source: &mut S,
        sink: &mut D,
        deadlines: &Deadlines,
    ) -> Result<(), Fault> {
        source.upgrade();
        self.lease.writer.begin(Framing::Tunnel);
        deadlines.clear_all();
        let Some(stream) = self.conn.stream() else { return Ok(()) };
        let gauge = &upstreams.stats.upgrades_active;
        let place = upstreams.tunnels.enter();
        gauge.inc();
        let mut relay = Relay {
            stream,
            lease: &mut self.lease,
            source,
            sink,
            deadlines,
            idle: self.idle,
            up: Pump::default(),
            down: Pump::default(),
            moved: u64::MAX,
            said_goodbye: false,
        };
        let result = poll_fn(|cx| {
            if let Poll::Ready(done) = relay.poll(cx) {
                return Poll::Ready(done);
            }
            if upstreams.farewell.get() {
                return relay.poll_goodbye(cx).map(Err);
            }
            upstreams.tunnels.wait(place, cx);
            Poll::Pending
        })
        .await;
        gauge.dec();
        upstreams.tunnels.leave(place);
        deadlines.clear_all();
        upstreams.release(self.lease);
        result
    }
}

struct Relay<'a, S, D> {
    stream: &'a Stream,
    lease: &'a mut Lease,
    source: &'a mut S,
    sink: &'a mut D,
    deadlines: &'a Deadlines,
    idle: Duration,
    up: Pump,
    down: Pump,
    /// Bytes both ways when the deadline was last set.
    moved: u64,
    said_goodbye: bool,
}

impl<S: BodySource, D: ResponseSink> Relay<'_, S, D> {
    /// Ready when the endpoint is done, or something went wrong. A client that is done may still be answered.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        if !self.up.done {
            let mut to = RequestSink { stream: self.stream, writer: &mut self.lease.writer };
            if let Poll::Ready(Err(fault)) = self.up.poll(cx, self.source, &mut to, None) {
                return Poll::Ready(Err(fault));
            }
        }
        let mut from = ResponseBody { stream: self.stream, reader: &mut self.lease.reader };
        if let Poll::Ready(done) = self.down.poll(cx, &mut from, self.sink, None) {
            return Poll::Ready(done);
        }
        let moved = self.up.bytes + self.down.bytes;
        if moved != self.moved {
            self.moved = moved;
            self.deadlines.set(Phase::Upstream, self.idle);
        }
        self.deadlines.poll_expired(cx).map(|phase| {
            Err(match phase {
                Phase::ClientWrite => {
                    Fault::new(Category::WriteTimeout, Side::Downstream, "the client stopped reading")
                }
                _ => Fault::new(Category::UpstreamTimeout, Side::Edge, "the upgraded connection was idle too long"),
            })
        })
    }

    /// The shard ends: the client is told where its protocol has a word for it.
    fn poll_goodbye(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        if !std::mem::replace(&mut self.said_goodbye, true) {
            self.sink.say_goodbye();
        }
        ready!(self.sink.poll_flush(cx)).ok();
        Poll::Ready(Fault::new(Category::Draining, Side::Edge, "the edge is shutting down"))
    }
}
