//! One planned connection: made, timed, driven until it ends, and made again while the run lasts.
use super::{Ended, Shard, Why, connect, h1, h2, h3, sse, ws};
use crate::{
    plan::{Exchange, Protocol},
    record::Fault,
};
use std::{cell::Cell, future::poll_fn, pin::pin, rc::Rc, task::Poll, time::Duration};

/// The pause after a connection that failed or answered nothing, doubled up to `PAUSE_MAX` while that goes on: a server
/// that refuses is not asked in a hot loop.
const PAUSE: Duration = Duration::from_millis(10);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// When connections may be made, where their rate is bounded: one for all slots of a shard.
pub(crate) struct Gate {
    /// Between two of them, µs; 0: no bound.
    gap_us: f64,
    next_us: Cell<f64>,
}

impl Gate {
    /// `rate`: connections a second of this shard.
    pub fn new(rate: Option<f64>, begin_us: u64) -> Gate {
        Gate { gap_us: rate.map_or(0.0, |rate| 1e6 / rate), next_us: Cell::new(begin_us as f64) }
    }

    /// When the next connection may be made: the place is taken. Unused time is not made up for.
    fn take(&self, now_us: u64) -> u64 {
        let at = self.next_us.get().max(now_us as f64);
        self.next_us.set(at + self.gap_us);
        at as u64
    }
}

/// Keeps connection `number` of `origin` up until the run is over.
pub(crate) async fn run(shard: Rc<Shard>, gate: Rc<Gate>, origin: usize, number: usize) {
    poll_fn(|cx| {
        shard.attend(cx);
        Poll::Ready(())
    })
    .await;
    let mut pause = PAUSE;
    let mut turn = number;
    while shard.goes_on() {
        let at = gate.take(shard.now());
        if !sleep_until(&shard, at).await {
            return;
        }
        let ended = one(&shard, origin, turn).await;
        turn = turn.wrapping_add(1);
        match ended {
            None => return,
            Some(Ended { why: Why::Over, .. }) => return,
            Some(Ended { answered: 1.., .. }) => pause = PAUSE,
            // Whoever announces the end of each connection at once (GOAWAY) refuses as well.
            Some(_) => {
                let until = shard.now() + pause.as_micros() as u64;
                if !sleep_until(&shard, until).await {
                    return;
                }
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// One connection, from its making to its end. `None`: the run is over.
async fn one(shard: &Rc<Shard>, origin: usize, turn: usize) -> Option<Ended> {
    if shard.plan.protocol == Protocol::H3 {
        return h3::one(shard, origin, turn).await;
    }
    let connected = match establish(shard, origin, turn).await? {
        Ok(connected) => connected,
        Err(fault) => {
            shard.failed(fault, None, shard.now());
            return Some(Ended { why: Why::Failed(fault), answered: 0 });
        }
    };
    shard.connected(connected.connect_us, connected.tls_us, connected.resumed, shard.now());
    shard.speaks(connected.h2);
    let ended = drive(shard, origin, &connected).await;
    if !matches!(ended.why, Why::Failed(_)) {
        connected.stream.close_notify();
    }
    shard.closed(shard.now());
    Some(ended)
}

/// Drives an established connection, by what was agreed on and by what it is to carry.
async fn drive(shard: &Rc<Shard>, origin: usize, connected: &connect::Connected) -> Ended {
    let stream = &connected.stream;
    match shard.plan.exchange {
        _ if connected.h2 => h2::drive(shard, origin, stream).await,
        Exchange::Requests => h1::drive(shard, origin, stream).await,
        Exchange::WebSocket { size } => ws::drive(shard, origin, stream, size).await,
        Exchange::Events => sse::drive(shard, origin, stream).await,
    }
}

/// Connects within the time for it. `None`: the run is over.
async fn establish(shard: &Shard, origin: usize, turn: usize) -> Option<Result<connect::Connected, Fault>> {
    let of = shard.plan.origins.get(origin)?;
    let timer = shard.timer();
    timer.set(shard.plan.connect_timeout);
    let mut connecting = pin!(connect::connect(shard, of, turn));
    poll_fn(|cx| {
        if let Poll::Ready(done) = connecting.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        if !shard.goes_on() {
            return Poll::Ready(None);
        }
        timer.poll_fired(cx).map(|()| Some(Err(Fault::ConnectTimeout)))
    })
    .await
}

/// Whether the run still lasts when the time has come (to a few milliseconds).
async fn sleep_until(shard: &Shard, at_us: u64) -> bool {
    let wait = at_us.saturating_sub(shard.now());
    if wait > 0 {
        let timer = shard.timer();
        timer.set(Duration::from_micros(wait));
        poll_fn(|cx| if shard.is_over() { Poll::Ready(()) } else { timer.poll_fired(cx) }).await;
    }
    shard.goes_on()
}
