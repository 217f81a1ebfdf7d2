//! An upgraded connection: bytes both ways until both ends are done, nothing moves for too long, or the shard ends.
//!
//! It outlives the request that made it: it holds no snapshot, so that old configurations do not pile up behind
//! connections that stay open for days.
use super::{
    Upstreams,
    h1::Lease,
    pool::InFlight,
    wire::{Lane, Wire},
};
use crate::message::{BodySource, Category, Deadlines, Fault, Phase, Pump, ResponseSink, Side};
use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
    time::Duration,
};

/// When the client has ended its direction, the endpoint may be silent for so long.
const HALF_CLOSED_IDLE: Duration = Duration::from_secs(60);

/// The endpoint's side of an upgraded connection.
pub struct Tunnel {
    pub(super) lane: Lane,
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
        deadlines.clear_all();
        let Some(mut wire) = self.lane.wire(&mut self.lease) else { return Ok(()) };
        wire.begin_tunnel();
        let open = Open::new(upstreams);
        let mut relay = Relay {
            wire,
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
            upstreams.tunnels.wait(open.place, cx);
            Poll::Pending
        })
        .await;
        deadlines.clear_all();
        upstreams.release(self.lease);
        result
    }
}

/// Counts an upgraded connection, and keeps its place among those that are told when the shard ends.
struct Open<'a> {
    upstreams: &'a Upstreams,
    place: usize,
}

impl<'a> Open<'a> {
    fn new(upstreams: &'a Upstreams) -> Open<'a> {
        upstreams.stats.upgrades_active.inc();
        Open { upstreams, place: upstreams.tunnels.enter() }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.upstreams.stats.upgrades_active.dec();
        self.upstreams.tunnels.leave(self.place);
    }
}

struct Relay<'a, S, D> {
    wire: Wire<'a>,
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
            match self.up.poll(cx, self.source, &mut self.wire, None) {
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
                Poll::Ready(Ok(())) => self.moved = u64::MAX, // half closed: another idle time from now on
                Poll::Pending => {}
            }
        }
        if let Poll::Ready(done) = self.down.poll(cx, &mut self.wire, self.sink, None) {
            return Poll::Ready(done);
        }
        if self.sink.is_stream()
            && let Poll::Ready(fault) = self.sink.poll_gone(cx)
        {
            return Poll::Ready(Err(fault));
        }
        let moved = self.up.bytes + self.down.bytes;
        if moved != self.moved {
            self.moved = moved;
            let idle = if self.up.done { self.idle.min(HALF_CLOSED_IDLE) } else { self.idle };
            self.deadlines.set(Phase::Upstream, idle);
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
