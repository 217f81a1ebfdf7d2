//! A hedged request: a second endpoint is asked beside a first one that takes long; the first good answer counts, and the
//! other attempt is cancelled.
use super::{
    EndpointRule,
    breaker::Probe,
    course::{Call, Course},
    gate::Pass,
    h1::Lease,
    hedge::HedgeRule,
    pool::{self, Endpoint, InFlight},
    report::Report,
    wire::{Lane, Wire},
};
use crate::{
    message::{BodySink, Category, Fault, Side},
    observe::stats::HedgeOutcome,
    proto::h2::empty_head,
};
use edge_io::timer::Timer;
use std::{
    cell::Cell,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

const NO_ANSWER: Fault = Fault::new(Category::UpstreamTimeout, Side::Upstream, "no answer in time");
const CLOSED: Fault = Fault::new(Category::UpstreamReset, Side::Upstream, "closed without an answer");
const GONE: Fault = Fault::new(Category::NoHealthyEndpoint, Side::Edge, "the pool has no endpoint");

/// An attempt whose answer's head is there.
pub(super) struct Ahead<'a> {
    /// The endpoint's index in the pool.
    pub index: usize,
    /// The endpoint, as the pool has it.
    pub rule: &'a EndpointRule,
    /// The endpoint, as the shard has it.
    pub endpoint: Rc<Endpoint>,
    /// It is a request in flight.
    pub in_flight: InFlight,
    /// Its place at the endpoint's gate.
    pub pass: Option<Pass>,
    /// Its connection.
    pub lane: Lane,
    /// Its buffers, with the head.
    pub lease: Box<Lease>,
    /// How long connecting took, if it was needed.
    pub connect_us: Option<u64>,
    /// When it had a connection.
    pub began_us: u64,
}

/// An attempt that failed; its endpoint has been blamed.
pub(super) struct Behind {
    /// The endpoint's index in the pool.
    pub index: usize,
    /// Why.
    pub fault: Fault,
}

type Attempting<'a> = Pin<Box<dyn Future<Output = Result<Ahead<'a>, Behind>> + 'a>>;

/// One endpoint that is asked.
struct Runner<'a> {
    index: usize,
    /// When it was asked; 0: it waits at the endpoint's gate.
    asked_us: Rc<Cell<u64>>,
    attempting: Attempting<'a>,
}

/// Two attempts, of which the second begins when the first takes long.
pub(super) struct Race<'a> {
    call: Call<'a>,
    rule: &'a HedgeRule,
    course: Course,
    timer: Timer,
    first: Option<Runner<'a>>,
    second: Option<Runner<'a>>,
    /// A second one was thought of.
    asked: bool,
    /// What the one that lost ended with.
    lost: Option<Result<Ahead<'a>, Behind>>,
    outcome: Option<HedgeOutcome>,
}

impl<'a> Race<'a> {
    /// Endpoint `index` is asked; another one `after` that.
    pub fn new(call: Call<'a>, index: usize, rule: &'a HedgeRule, after: Duration, course: Course) -> Race<'a> {
        let timer = Timer::new(&call.upstreams.local.timers);
        timer.set(after);
        let first = Some(Runner::new(call, index));
        Race { call, rule, course, timer, first, second: None, asked: false, lost: None, outcome: None }
    }

    /// What became of hedging; `None`: the first endpoint was quick.
    pub fn outcome(&self) -> Option<HedgeOutcome> {
        self.outcome
    }

    /// Ready with the better end.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ahead<'a>, Behind>> {
        loop {
            for second in [false, true] {
                let runner = if second { &mut self.second } else { &mut self.first };
                if let Some(running) = runner
                    && let Poll::Ready(end) = running.attempting.as_mut().poll(cx)
                {
                    *runner = None;
                    if let Some(end) = self.ended(end, second) {
                        return Poll::Ready(end);
                    }
                }
            }
            if self.asked || self.first.is_none() || self.timer.poll_fired(cx).is_pending() {
                return Poll::Pending;
            }
            self.ask_another();
        }
    }

    /// One has ended: whether that decides the race.
    fn ended(&mut self, end: Result<Ahead<'a>, Behind>, second: bool) -> Option<Result<Ahead<'a>, Behind>> {
        let good = end.as_ref().is_ok_and(|ahead| ahead.lease.head.status() < 500);
        let other = if second { &self.first } else { &self.second };
        if good || other.is_none() {
            let end = match (end, self.lost.take()) {
                // An answer that says no is better than none.
                (Err(_), Some(Ok(ahead))) => Ok(ahead),
                (end, lost) => {
                    if let Some(Ok(lost)) = lost {
                        passed_over(self.call, &lost);
                    }
                    end
                }
            };
            if self.second_began() && good {
                self.outcome = Some(if second { HedgeOutcome::Won } else { HedgeOutcome::Lost });
            }
            if self.second_began() && end.is_err() {
                self.outcome = Some(HedgeOutcome::Failed);
            }
            self.cancel();
            return Some(end);
        }
        self.lost = Some(end);
        None
    }

    fn second_began(&self) -> bool {
        self.outcome == Some(HedgeOutcome::Lost)
    }

    fn ask_another(&mut self) {
        self.asked = true;
        let Some(state) = self.call.plan.state else { return };
        let Some(index) = self.call.other(&self.course) else { return };
        if !state.take_hedge(self.rule) {
            self.outcome = Some(HedgeOutcome::NoBudget);
            return;
        }
        self.outcome = Some(HedgeOutcome::Lost);
        self.second = Some(Runner::new(self.call, index));
    }

    /// The one that is still running took at least so long: that much is known of its endpoint.
    fn cancel(&mut self) {
        let timers = &self.call.upstreams.local.timers;
        for runner in [self.first.take(), self.second.take()].into_iter().flatten() {
            if let (asked_us @ 1.., Some((_, endpoint))) = (runner.asked_us.get(), self.call.endpoint(runner.index)) {
                endpoint.ewma.observe(timers.now(), timers.clock().now_us().saturating_sub(asked_us));
            }
        }
    }

    /// Nobody waits for either any more: endpoints that a route's time was up for hear of it.
    pub fn given_up(&mut self, fault: Fault) {
        for runner in [self.first.take(), self.second.take()].into_iter().flatten() {
            if let (asked_us @ 1.., Some((rule, endpoint))) = (runner.asked_us.get(), self.call.endpoint(runner.index))
            {
                let mut none: Option<Probe> = None;
                Report { call: self.call, rule, endpoint: &endpoint, probe: &mut none }.failed(fault, true, asked_us);
            }
        }
    }
}

/// An answer that says no, where another one was better or came later.
fn passed_over(call: Call<'_>, ahead: &Ahead<'_>) {
    let (clock, status) = (call.upstreams.local.timers.clock(), ahead.lease.head.status());
    let latency_us = clock.now_us().saturating_sub(ahead.began_us);
    let mut none: Option<Probe> = None;
    let mut report = Report { call, rule: ahead.rule, endpoint: &ahead.endpoint, probe: &mut none };
    report.answered(status, latency_us, call.upstreams.local.timers.now());
    report.discarded(status, latency_us);
}

impl<'a> Runner<'a> {
    fn new(call: Call<'a>, index: usize) -> Runner<'a> {
        let asked_us = Rc::new(Cell::new(0));
        Runner { index, attempting: Box::pin(run(call, index, asked_us.clone())), asked_us }
    }
}

/// Sends the request to endpoint `index` and waits for its answer's head.
async fn run(call: Call<'_>, index: usize, asked: Rc<Cell<u64>>) -> Result<Ahead<'_>, Behind> {
    let (rule, endpoint) = call.endpoint(index).ok_or(Behind { index, fault: GONE })?;
    let pass = match &rule.gate {
        Some(gate) => {
            let entered = call.upstreams.gates.get(gate).enter(call.plan.priority).await;
            Some(entered.map_err(|fault| Behind { index, fault })?)
        }
        None => None,
    };
    let in_flight = InFlight::new(&endpoint);
    let timer = Timer::new(&call.upstreams.local.timers);
    let mut repeated = false;
    loop {
        let asked_us = call.upstreams.local.timers.clock().now_us();
        asked.set(asked_us);
        let mut lease = call.upstreams.lease();
        let end = ask(call, rule, &endpoint, &timer, repeated, &mut lease).await;
        let (fault, stale) = match end {
            Ok((lane, connect_us)) => {
                let began_us = asked_us + connect_us.unwrap_or(0);
                return Ok(Ahead { index, rule, endpoint, in_flight, pass, lane, lease, connect_us, began_us });
            }
            Err(end) => end,
        };
        call.upstreams.release(lease);
        if stale && !repeated {
            repeated = true;
            continue;
        }
        let mut none: Option<Probe> = None;
        Report { call, rule, endpoint: &endpoint, probe: &mut none }.failed(fault, true, asked_us);
        return Err(Behind { index, fault });
    }
}

/// One request on one connection. Errors: why, and whether only because a kept connection had died.
async fn ask(
    call: Call<'_>,
    rule: &EndpointRule,
    endpoint: &Rc<Endpoint>,
    timer: &Timer,
    fresh: bool,
    lease: &mut Lease,
) -> Result<(Lane, Option<u64>), (Fault, bool)> {
    let clock = call.upstreams.local.timers.clock();
    let began = clock.now_us();
    if fresh {
        endpoint.drop_idle();
    }
    let checkout = pool::checkout(call.place(rule, endpoint), call.wish(None));
    let mut lane = checkout.await.map_err(|fault| (fault, false))?;
    let connect_us = (!lane.is_reused()).then(|| clock.exact_us().saturating_sub(began));
    timer.set(call.plan.timeouts.first_byte);
    let Some(mut wire) = lane.wire(lease) else { return Err((CLOSED, false)) };
    let mut begun = wire.begin(call.head, call.request, &rule.authority);
    if begun.is_ok() {
        let mut sent = false;
        begun = poll_fn(|cx| match poll_head(cx, &mut wire, &mut sent) {
            Poll::Pending => timer.poll_fired(cx).map(|()| Err(NO_ANSWER)),
            done => done,
        })
        .await;
    }
    match begun {
        Ok(()) => Ok((lane, connect_us)),
        Err(fault) => {
            let stale = fault.unsent || fault.category == Category::UpstreamReset && lane.was_stale();
            Err((fault, stale))
        }
    }
}

/// Sends what is left of a request without a body, and waits for the final head. 1xx answers are nobody's: it is not known yet
/// whose the final one will be.
fn poll_head(cx: &mut Context<'_>, wire: &mut Wire<'_>, sent: &mut bool) -> Poll<Result<(), Fault>> {
    let mut failed = None;
    if !*sent && let Poll::Ready(done) = wire.poll_finish(cx, empty_head()) {
        *sent = done.is_ok();
        failed = done.err();
    }
    loop {
        match wire.poll_head(cx) {
            Poll::Ready(Ok(true)) if wire.head().status() >= 200 => return Poll::Ready(Ok(())),
            Poll::Ready(Ok(true)) => wire.begin_next_head(),
            Poll::Ready(Ok(false)) => return Poll::Ready(Err(CLOSED)),
            Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
            // The endpoint may have answered before it closed; nothing more comes from it otherwise.
            Poll::Pending => return failed.map_or(Poll::Pending, |fault| Poll::Ready(Err(fault))),
        }
    }
}
