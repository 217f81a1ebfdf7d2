//! TLS handshakes: a bounded number at a time, so that a flood of them leaves room for those who are through.
use super::{
    Shard,
    connection::{Counted, open_h1, open_h2},
};
use crate::{
    message::{Line, Peer, Priority},
    observe::stats::{Handshake, HandshakeResult, Limit},
    proto::h1::PLAIN_ON_TLS,
    tls::ListenerTls,
};
use edge_io::{
    buf::Buf,
    stream::Stream,
    tasks, tcp,
    timer::Timer,
    tls::{self, Alpn, ErrorKind},
};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

/// With others in line, a handshake that has waited so long for its client gives its place away, milliseconds.
const PATIENCE_MS: u64 = 1000;
/// The first in line looks again after this.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The handshakes of one shard.
#[derive(Default)]
pub(super) struct Handshakes {
    busy: RefCell<VecDeque<Rc<Place>>>,
    line: Line,
}

/// One of those in progress.
struct Place {
    since_ms: u64,
    evicted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// A place, as its handshake holds it.
struct Held<'a> {
    shard: &'a Shard,
    place: Rc<Place>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let all = &self.shard.handshakes;
        all.busy.borrow_mut().retain(|p| !Rc::ptr_eq(p, &self.place));
        self.shard.flow.stats.handshakes_in_progress.dec();
        all.line.wake_first();
    }
}

fn try_take(shard: &Shard, most: usize, now_ms: u64) -> Option<Held<'_>> {
    let mut busy = shard.handshakes.busy.borrow_mut();
    if busy.len() >= most {
        return None;
    }
    let place = Rc::new(Place { since_ms: now_ms, evicted: Cell::new(false), waker: RefCell::default() });
    busy.push_back(place.clone());
    shard.flow.stats.handshakes_in_progress.inc();
    Some(Held { shard, place })
}

impl Handshakes {
    /// The oldest one has to go, if it had its chance.
    fn evict(&self, now_ms: u64) {
        if let Some(oldest) = self.busy.borrow().front()
            && now_ms.saturating_sub(oldest.since_ms) > PATIENCE_MS
        {
            oldest.evicted.set(true);
            if let Some(waker) = oldest.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }
}

/// A connection was accepted on a TLS listener.
pub(super) fn begin(counted: Counted, socket: tcp::Stream, peer: Peer, rule: Arc<ListenerTls>) {
    tasks::spawn(run(counted, socket, peer, rule));
}

async fn run(counted: Counted, socket: tcp::Stream, mut peer: Peer, rule: Arc<ListenerTls>) {
    let shard = counted.shard.clone();
    let timer = Timer::new(&shard.flow.local.timers);
    timer.set(counted.listener.share.timeouts.get().handshake);
    if !first_bytes(&counted, &socket, &timer).await {
        return;
    }
    let Some(held) = place(&counted, &timer, rule.max_handshakes).await else { return };
    let mut handshake = pin!(tls::accept(socket, rule.server.clone()));
    let done = poll_fn(|cx| {
        if let Poll::Ready(done) = handshake.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        if held.place.evicted.get() {
            return Poll::Ready(None);
        }
        *held.place.waker.borrow_mut() = Some(cx.waker().clone());
        timer.poll_fired(cx).map(|()| None)
    })
    .await;
    drop(held);
    let stats = &shard.flow.stats.handshakes;
    let failed = |result| Handshake { result, version: "", group: "", resumed: false };
    match done {
        Some(Ok(stream)) => {
            if let Some(info) = stream.tls() {
                let (version, group, resumed) = (info.version, info.group, info.resumed);
                stats.count(&Handshake { result: HandshakeResult::Ok, version, group, resumed });
            }
            peer.tls = true;
            serve(counted, stream, peer);
        }
        Some(Err(e)) => {
            stats.count(&failed(result_of(e.kind)));
            if let Some(clear) = e.clear {
                Box::pin(refuse_plain(&clear.tcp, &timer)).await;
            }
        }
        None => stats.count(&failed(HandshakeResult::Timeout)),
    }
}

pub(super) fn result_of(kind: ErrorKind) -> HandshakeResult {
    use ErrorKind as E;
    match kind {
        E::Closed => HandshakeResult::Closed,
        E::AlertReceived => HandshakeResult::Refused,
        E::CertificateRequired | E::UnknownCa | E::Expired | E::Revoked | E::NameMismatch | E::BadCertificate => {
            HandshakeResult::ClientCertificate
        }
        E::NoSharedVersion
        | E::NoSharedCipher
        | E::NoSharedGroup
        | E::NoSharedProtocol
        | E::Incompatible
        | E::UnknownName => HandshakeResult::Incompatible,
        E::NotTls | E::Protocol | E::Internal => HandshakeResult::Protocol,
    }
}

/// A client that sends nothing takes no place. `false`: it never did, or the listener closes.
async fn first_bytes(counted: &Counted, socket: &tcp::Stream, timer: &Timer) -> bool {
    let share = &counted.listener.share;
    let at = share.waiting.enter();
    let came = poll_fn(|cx| {
        if socket.poll_readable(cx).is_ready() {
            return Poll::Ready(true);
        }
        if share.closing.get() {
            return Poll::Ready(false);
        }
        share.waiting.wait(at, cx);
        timer.poll_fired(cx).map(|()| false)
    })
    .await;
    share.waiting.leave(at);
    came
}

/// One of the places, at once or after a wait in line; `None` when the time is over.
async fn place<'a>(counted: &'a Counted, timer: &Timer, most: usize) -> Option<Held<'a>> {
    let all = &counted.shard.handshakes;
    let timers = &counted.shard.flow.local.timers;
    if all.line.is_empty()
        && let Some(held) = try_take(&counted.shard, most, timers.now())
    {
        return Some(held);
    }
    counted.shard.flow.stats.limit_hit(Limit::Handshakes);
    let again = Timer::new(timers);
    let mut turn = None;
    poll_fn(|cx| {
        let turn: &crate::message::Turn<'_> = turn.get_or_insert_with(|| all.line.enter(cx.waker(), Priority::Normal));
        if turn.is_first() {
            if let Some(held) = try_take(&counted.shard, most, timers.now()) {
                return Poll::Ready(Some(held));
            }
            all.evict(timers.now());
            again.set(LOOK_AGAIN);
            let _ = again.poll_fired(cx);
        }
        timer.poll_fired(cx).map(|()| None)
    })
    .await
}

/// ALPN chose; a client without ALPN speaks what the listener speaks.
fn serve(counted: Counted, stream: Stream, peer: Peer) {
    let chosen = stream.tls().map(|t| t.alpn).unwrap_or_default();
    let h1 = counted.listener.rule.borrow().h1;
    match chosen {
        Alpn::H2 => open_h2(counted, stream, peer, Buf::none()),
        _ if h1 => open_h1(counted, stream, peer),
        Alpn::None => open_h2(counted, stream, peer, Buf::none()),
        _ => {}
    }
}

/// Somebody spoke HTTP without TLS here, and deserves to be told.
async fn refuse_plain(socket: &tcp::Stream, timer: &Timer) {
    let mut rest = PLAIN_ON_TLS;
    poll_fn(|cx| {
        while !rest.is_empty() {
            if socket.poll_writable(cx).is_pending() {
                return timer.poll_fired(cx);
            }
            match socket.try_send(rest) {
                Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Ready(())
    })
    .await;
    socket.shutdown_write();
    // What it sent is read, so that closing does not reset the connection before the answer arrives.
    let mut buf = Buf::small();
    timer.set(Duration::from_secs(1));
    poll_fn(|cx| {
        loop {
            buf.clear();
            match socket.poll_recv(cx, &mut buf) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return timer.poll_fired(cx),
            }
        }
    })
    .await;
}
