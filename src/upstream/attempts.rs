//! The attempt loop: choose an endpoint, get a connection, try; again only where nothing can happen twice.
use super::{
    EndpointRule, Trace,
    attempt::{Attempt, Ended, Failed, Stage},
    breaker::{Circuit, Probe},
    course::{Call, Course, NO_ENDPOINT},
    forward::Plan,
    gate::{GateRule, Pass},
    h1::Lease,
    h2::{Live, lacks_websocket},
    hedge::HedgeRule,
    hedged,
    pool::{self, Endpoint, InFlight},
    replay::Replay,
    report::Report,
    retry::{Ending, Outcome, RetryRule},
    wire::Lane,
};
use crate::message::{BodySize, BodySource, Category, Deadlines, Fault, Phase, Pump, ResponseSink, Side};
use edge_io::{head::Method, timer::Timer};
use std::{future::poll_fn, pin::pin, rc::Rc, task::Poll, time::Duration};

/// Times that a request may be sent again on a fresh connection because a kept one turned out to be dead, or an endpoint
/// refused a stream: that costs nobody anything, and is not counted as a retry.
const REPEATS_MAX: u32 = 2;
const CIRCUIT_OPEN: Fault =
    Fault::new(Category::CircuitOpen, Side::Edge, "too much of what the route asked its pool failed");

/// A connection that was upgraded, and its place among the requests in flight.
pub(super) type Upgraded = (Lane, InFlight);

/// One request's attempts.
pub(super) struct Attempts<'a, S, D> {
    call: Call<'a>,
    source: Replay<'a, S>,
    sink: &'a mut D,
    deadlines: &'a Deadlines,
    trace: &'a mut Trace,
    /// The shared connection that the last attempt failed on.
    refused: Option<Rc<Live>>,
    /// It decides what becomes of the route's circuit.
    probe: Option<Probe>,
    course: Course,
}

/// A failed attempt, and what follows.
struct OneFailed {
    fault: Fault,
    then: Then,
}

enum Then {
    /// The same on a new connection to the same endpoint.
    Repeat,
    /// Another attempt after a wait, at another endpoint if there is one.
    Retry(Duration),
    GiveUp,
}

impl From<Fault> for OneFailed {
    fn from(fault: Fault) -> OneFailed {
        OneFailed { fault, then: Then::GiveUp }
    }
}

/// An endpoint that is asked, by its index, and a connection to it.
struct Reached<'r> {
    rule: &'r EndpointRule,
    endpoint: Rc<Endpoint>,
    in_flight: InFlight,
    /// Its place at the endpoint's gate.
    pass: Option<Pass>,
    lane: Lane,
    began_us: u64,
    /// The request was sent, and the answer's head is in the lease.
    answered: bool,
}

impl<'a, S: BodySource, D: ResponseSink> Attempts<'a, S, D> {
    /// None yet.
    pub fn new(
        call: Call<'a>,
        source: Replay<'a, S>,
        sink: &'a mut D,
        deadlines: &'a Deadlines,
        trace: &'a mut Trace,
    ) -> Self {
        Attempts { call, source, sink, deadlines, trace, refused: None, probe: None, course: Course::default() }
    }

    /// Tries until there is an answer, or nothing more may be tried.
    pub async fn run(&mut self, lease: &mut Box<Lease>) -> Result<Option<Upgraded>, Fault> {
        self.pass_circuit()?;
        let Call { plan, pool, .. } = self.call;
        let _route_pass = self.enter(plan.gate).await?;
        let _pool_pass = self.enter(pool.gate.as_ref()).await?;
        let (mut index, mut fresh) = (self.course.first(&self.call)?, false);
        loop {
            self.bind(index);
            let failed = match self.one(index, fresh, lease).await {
                Ok(done) => return Ok(done),
                Err(failed) => failed,
            };
            lease.reset();
            self.source.rewind();
            match failed.then {
                Then::Repeat => fresh = true,
                Then::Retry(wait) => {
                    self.trace.retries += 1;
                    self.course.tried.add(index);
                    Box::pin(self.pause(wait)).await?;
                    (index, fresh) = (self.course.next(&self.call).ok_or(failed.fault)?, false);
                }
                Then::GiveUp => return Err(failed.fault),
            }
        }
    }

    fn pass_circuit(&mut self) -> Result<(), Fault> {
        let Plan { state: Some(state), breaker: Some(rule), .. } = self.call.plan else { return Ok(()) };
        match state.circuit(rule) {
            Circuit::Closed => {}
            Circuit::Probe(probe) => self.probe = Some(probe),
            Circuit::Open => return Err(CIRCUIT_OPEN),
        }
        Ok(())
    }

    /// The attempt at endpoint `index` begins: its client is told whose it is, if that is new.
    fn bind(&mut self, index: usize) {
        self.trace.endpoint = Some(index);
        (self.trace.status, self.trace.connect_us, self.trace.ttfb_us) = (0, None, None);
        if let Some(sticky) = &self.call.pool.sticky
            && self.course.stuck.is_none_or(|stuck| stuck.endpoint != index || stuck.renew)
        {
            let cookie = self.trace.cookie.get_or_insert_default();
            cookie.clear();
            sticky.set_cookie(index, self.call.upstreams.unix_s(), self.call.plan.secure, cookie);
        } else {
            self.trace.cookie = None;
        }
    }

    async fn one(&mut self, index: usize, fresh: bool, lease: &mut Box<Lease>) -> Result<Option<Upgraded>, OneFailed> {
        if let Some((rule, after)) = self.hedges() {
            return Box::pin(self.hedged(index, rule, after, lease)).await;
        }
        let (rule, endpoint) = self.call.endpoint(index).ok_or(NO_ENDPOINT)?;
        let pass = self.enter(rule.gate.as_ref()).await?;
        let in_flight = InFlight::new(&endpoint);
        self.begin();
        let lane = self.connect(rule, &endpoint, fresh).await?;
        // Connecting says little of how fast it answers.
        let began_us = self.call.upstreams.local.timers.clock().now_us();
        let reached = Reached { rule, endpoint, in_flight, pass, lane, began_us, answered: false };
        self.exchange(reached, lease).await
    }

    /// Waits for a place at a gate, if there is one.
    async fn enter(&mut self, gate: Option<&GateRule>) -> Result<Option<Pass>, Fault> {
        let Some(rule) = gate else { return Ok(None) };
        let (gate, class) = (self.call.upstreams.gates.get(rule), self.call.plan.priority);
        if let Some(pass) = gate.try_enter(class) {
            return Ok(Some(pass));
        }
        Box::pin(self.unless_gone(gate.enter(class))).await.map(Some)
    }

    /// Whether a second endpoint may be asked beside the first, and when.
    fn hedges(&self) -> Option<(&'a HedgeRule, Duration)> {
        let Call { pool, plan, request, head, .. } = self.call;
        let (rule, state) = (plan.hedge?, plan.state?);
        let may = self.course.tries == 0
            && self.course.stuck.is_none() // the other one does not know this client
            && pool.endpoints.len() > 1
            && !request.websocket
            && HedgeRule::takes(head.method(), request.body != BodySize::Empty);
        if !may {
            return None;
        }
        Some((rule, state.hedge_after(rule, &pool.state)?))
    }

    fn begin(&mut self) {
        self.trace.asked_us = self.call.upstreams.local.timers.clock().now_us();
        if self.trace.began_us == 0 {
            self.trace.began_us = self.trace.asked_us;
        }
    }

    /// The request and its answer, on a connection.
    async fn exchange(&mut self, reached: Reached<'_>, lease: &mut Lease) -> Result<Option<Upgraded>, OneFailed> {
        let call = self.call;
        let Reached { rule, endpoint, in_flight, pass: _pass, mut lane, began_us, answered } = reached;
        let local = &call.upstreams.local;
        let Some(wire) = lane.wire(lease) else {
            return Err(Fault::new(Category::UpstreamConnectFailed, Side::Edge, "no connection").into());
        };
        let (once, tries) = (self.course.once, self.course.tries);
        let may_retry = |retry: &&RetryRule| call.idempotent && !once && tries + 1 < retry.attempts;
        let mut attempt = Attempt {
            wire,
            request: call.request,
            head: call.head,
            source: &mut self.source,
            sink: self.sink,
            deadlines: self.deadlines,
            timeouts: call.plan.timeouts,
            trace: self.trace,
            clock: local.timers.clock(),
            began_us,
            report: Report { call, rule, endpoint: &endpoint, probe: &mut self.probe },
            questions: call.plan.retry.filter(may_retry),
            up: Pump::default(),
            down: Pump::default(),
            state: Default::default(),
        };
        let begun = if answered { attempt.resume() } else { attempt.begin(&rule.authority) };
        let mut ended = match begun {
            Ok(()) => attempt.run().await,
            Err(failed) => Err(failed),
        };
        if let Ok(Stage::Question(status)) = ended {
            let ending = Ending::Status(status);
            let outcome = Outcome { ending, idempotent: call.idempotent, answered: false, replayable: true };
            if let Some(wait) = self.course.grant(&call, attempt.trace, &outcome) {
                let reusable = attempt.discard().await;
                attempt.report.discarded(status, local.timers.clock().now_us().saturating_sub(began_us));
                if reusable {
                    put_back(&call, lane);
                }
                let fault = Fault::new(Category::UpstreamProtocol, Side::Upstream, "an answer that was not taken");
                return Err(OneFailed { fault, then: Then::Retry(wait) });
            }
            attempt.accept();
            ended = attempt.run().await;
        }
        match ended {
            Ok(Stage::Done(Ended::Reusable)) => {
                put_back(&call, lane);
                Ok(None)
            }
            Ok(Stage::Done(Ended::Upgraded)) => Ok(Some((lane, in_flight))),
            Ok(_) => Ok(None),
            Err(failed) => Err(self.failed(failed, rule, &endpoint, &lane, began_us)),
        }
    }

    /// What follows a failed attempt.
    fn failed(
        &mut self,
        failed: Failed,
        rule: &EndpointRule,
        endpoint: &Endpoint,
        lane: &Lane,
        began_us: u64,
    ) -> OneFailed {
        let (call, Failed { fault, untouched, sent }) = (self.call, failed);
        if let Lane::H2(lane) = lane {
            self.refused = Some(lane.live().clone());
        }
        let (answered, replayable) = (self.sink.started(), self.source.is_whole());
        // A kept connection may have died before the request reached anybody (RFC 9110 9.2.2, RFC 9112 9.3.1).
        let stale = lane.was_stale() && fault.category == Category::UpstreamReset && call.idempotent;
        if (fault.unsent || stale) && untouched && replayable && !answered && self.course.repeats < REPEATS_MAX {
            self.course.repeats += 1;
            return OneFailed { fault, then: Then::Repeat };
        }
        // A route whose time is up while the client still sends waited for the client.
        if sent || fault.side == Side::Upstream {
            self.blame(fault, rule, endpoint, began_us);
        }
        let ending = Ending::Failed(fault);
        let outcome = Outcome { ending, idempotent: call.idempotent, answered, replayable };
        self.again(fault, &outcome)
    }

    fn again(&mut self, fault: Fault, outcome: &Outcome) -> OneFailed {
        let then = self.course.grant(&self.call, self.trace, outcome).map_or(Then::GiveUp, Then::Retry);
        OneFailed { fault, then }
    }

    fn blame(&mut self, fault: Fault, rule: &EndpointRule, endpoint: &Endpoint, began_us: u64) {
        let call = self.call;
        let unanswered = self.trace.status == 0;
        Report { call, rule, endpoint, probe: &mut self.probe }.failed(fault, unanswered, began_us);
    }

    async fn connect(&mut self, rule: &EndpointRule, endpoint: &Rc<Endpoint>, fresh: bool) -> Result<Lane, OneFailed> {
        let call = self.call;
        let clock = call.upstreams.local.timers.clock();
        let began = clock.now_us();
        if fresh {
            endpoint.drop_idle();
        }
        let refused = self.refused.take();
        let checkout = pool::checkout(call.place(rule, endpoint), call.wish(refused.as_ref()));
        match self.unless_gone(checkout).await {
            Ok(lane) => {
                if !lane.is_reused() {
                    self.trace.connect_us = Some(clock.exact_us().saturating_sub(began));
                }
                Ok(lane)
            }
            // Nothing was sent: another endpoint may do, if there is one.
            Err(fault) if fault.side == Side::Upstream => {
                // Whoever asks for what an endpoint does not offer must not have it left out.
                if !(call.request.websocket && lacks_websocket(&fault)) {
                    self.blame(fault, rule, endpoint, began);
                }
                let ending = Ending::Failed(fault);
                let (idempotent, replayable) = (call.idempotent, self.source.is_whole());
                Err(self.again(fault, &Outcome { ending, idempotent, answered: false, replayable }))
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// Asks endpoint `index`, and another one beside it when it takes long; the first answer counts.
    async fn hedged(
        &mut self,
        index: usize,
        rule: &'a HedgeRule,
        after: Duration,
        lease: &mut Box<Lease>,
    ) -> Result<Option<Upgraded>, OneFailed> {
        self.begin();
        let call = self.call;
        self.course.tried.add(index);
        let (won, hedged) = {
            let mut race = hedged::Race::new(call, index, rule, after, self.course.clone());
            let won = self.unless_gone(poll_fn(|cx| race.poll(cx).map(Ok))).await;
            if let Err(fault) = &won {
                race.given_up(*fault);
            }
            (won, race.outcome())
        };
        self.trace.hedged = hedged;
        match won? {
            Ok(ahead) => {
                self.bind(ahead.index);
                // Counted from the race's beginning: the percentile that hedging goes by must not lose its tail to hedging.
                self.trace.connect_us = ahead.connect_us;
                call.upstreams.release(std::mem::replace(lease, ahead.lease));
                let reached = Reached {
                    rule: ahead.rule,
                    endpoint: ahead.endpoint,
                    in_flight: ahead.in_flight,
                    pass: ahead.pass,
                    lane: ahead.lane,
                    began_us: ahead.began_us,
                    answered: true,
                };
                self.exchange(reached, lease).await
            }
            Err(behind) => {
                self.trace.endpoint = Some(behind.index);
                if behind.fault.side == Side::Upstream
                    && let Some(probe) = self.probe.take()
                {
                    probe.done(true);
                }
                let ending = Ending::Failed(behind.fault);
                let outcome = Outcome { ending, idempotent: true, answered: false, replayable: true };
                Err(self.again(behind.fault, &outcome))
            }
        }
    }

    /// Waits, unless the client goes or the route's time is up.
    async fn pause(&mut self, wait: Duration) -> Result<(), Fault> {
        if wait.is_zero() {
            return Ok(());
        }
        let timer = Timer::new(&self.call.upstreams.local.timers);
        timer.set(wait);
        self.unless_gone(async {
            timer.fired().await;
            Ok(())
        })
        .await
    }

    /// A client that goes away while its request waits takes it along.
    async fn unless_gone<T>(&mut self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            if let Poll::Ready(fault) = self.sink.poll_gone(cx) {
                return Poll::Ready(Err(fault));
            }
            match self.deadlines.poll_expired(cx) {
                Poll::Ready(Phase::Total) => Poll::Ready(Err(super::attempt::TOTAL_EXCEEDED)),
                _ => Poll::Pending,
            }
        })
        .await
    }
}

/// The connection can carry another request.
fn put_back(call: &Call<'_>, lane: Lane) {
    if let Lane::H1(conn) = lane
        && !call.upstreams.draining.get()
    {
        let jitter = call.upstreams.rng.borrow_mut().next_u64();
        conn.put_back(call.pool, &call.upstreams.local, jitter, call.head.method() == Method::Head);
    }
}
