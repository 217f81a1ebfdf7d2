//! One generator thread's side of a run: what its connections may send now, and where they tell what happened.
use super::{
    feed::{Feed, Place, Taken},
    h1, h3,
};
use crate::{
    pace::Pace,
    plan::{Load, Plan},
    record::{Done, Early, Fault, Interval, Recorder},
};
use edge_io::{alarm::Alarm, clock::monotonic_us, runtime::Local, timer::Timer};
use hdrhistogram::Histogram;
use rustls::ClientConfig;
use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    sync::Arc,
    task::{Context, Waker},
};

/// A request that is to be sent now. Whoever has one tells its end exactly once: [`Shard::done`], [`Shard::failed`] or
/// [`Shard::unanswered`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Which of the origin's requests, an index.
    pub request: usize,
    /// When it should be sent, µs; the present in a closed loop.
    pub intended_us: u64,
}

/// What a connection with a free place does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Sends this.
    Send(Ticket),
    /// Nothing is due: [`Shard::wait_for_due`] wakes it.
    Wait,
    /// Sends nothing any more: what is in flight is awaited (until [`Shard::is_over`]), then it closes.
    Stop,
}

/// The times of a run, µs of the monotonic clock, the same for all shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The load begins.
    pub begin_us: u64,
    /// The warm-up ends and the measured time begins.
    pub start_us: u64,
    /// The measured time ends: nothing is sent any more.
    pub end_us: u64,
}

/// How late what the shard does itself is.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    /// How late the ticks of its clock were, µs.
    pub lag: Histogram<u64>,
    /// How late requests were taken from the schedule although a place was free, µs.
    pub slip: Histogram<u64>,
}

/// One generator thread. Belongs to it; all its connections share it.
pub struct Shard {
    /// Its reactor and timers.
    pub local: Local,
    /// What was asked.
    pub plan: Arc<Plan>,
    /// The times of the run.
    pub span: Span,
    /// TLS as the plan wants it, with the ALPN of its protocol. Sessions are kept per shard.
    pub tls: Arc<ClientConfig>,
    /// What its HTTP/1.1 connections share.
    pub(super) h1: h1::Shared,
    /// The same of HTTP/3.
    pub(super) h3: h3::Shared,
    timeout_us: u64,
    /// HTTP/1.1 and HTTP/2 were spoken.
    spoken: Cell<(bool, bool)>,
    feeds: Vec<RefCell<Feed>>,
    recorder: RefCell<Recorder>,
    health: RefCell<Health>,
    alarm: Alarm,
    /// Requests that may still be sent in the measured time.
    left: Cell<u64>,
    limited: bool,
    in_flight: Cell<u64>,
    /// A connection stood at least once.
    reached: Cell<bool>,
    over: Cell<bool>,
    /// When it became so, µs.
    over_us: Cell<u64>,
    /// Who is woken when the run is over.
    attending: RefCell<Vec<Waker>>,
}

/// What a shard is made from.
pub(crate) struct Parts {
    pub local: Local,
    pub plan: Arc<Plan>,
    pub span: Span,
    pub tls: Arc<ClientConfig>,
    /// Per origin, its schedule in an open loop.
    pub paces: Vec<Option<Pace>>,
    /// Its share of `plan.requests`.
    pub requests: Option<u64>,
}

impl Shard {
    /// Errors: no descriptor for its alarm.
    pub(crate) fn new(parts: Parts) -> io::Result<Rc<Shard>> {
        let Parts { local, plan, span, tls, paces, requests } = parts;
        let open = matches!(plan.load, Load::Open { .. });
        let feeds = plan
            .origins
            .iter()
            .zip(paces)
            .map(|(origin, pace)| RefCell::new(Feed::new(pace, origin.requests.len(), local.shard, span.end_us)));
        Ok(Rc::new(Shard {
            feeds: feeds.collect(),
            h1: h1::Shared::new(&plan),
            h3: h3::Shared::new(&plan, &local, &tls)?,
            timeout_us: plan.timeout.as_micros() as u64,
            spoken: Cell::default(),
            recorder: RefCell::new(Recorder::new(open, span.start_us, span.end_us)),
            health: RefCell::new(Health { lag: lateness(), slip: lateness() }),
            alarm: Alarm::new(&local.reactor)?,
            left: Cell::new(requests.unwrap_or(u64::MAX)),
            limited: requests.is_some(),
            in_flight: Cell::new(0),
            reached: Cell::new(false),
            over: Cell::new(requests == Some(0)),
            over_us: Cell::new(span.start_us),
            attending: RefCell::default(),
            local,
            plan,
            span,
            tls,
        }))
    }

    /// Microseconds of the monotonic clock, read now. One reading serves for all that one batch of bytes brought.
    #[inline]
    pub fn now(&self) -> u64 {
        monotonic_us()
    }

    /// What a connection of `origin` with a free place may send at `now_us`. A ticket is to be used at once.
    ///
    /// An arrival that could not be sent within `plan.timeout` is not sent any more: it is counted as a timeout, as its
    /// user would count it. Otherwise a server that was too slow for a while would get nothing but stale requests.
    #[inline]
    pub(super) fn next(&self, origin: usize, now_us: u64) -> Next {
        loop {
            if now_us >= self.span.end_us || self.left.get() == 0 || self.over.get() {
                return Next::Stop;
            }
            let Some(feed) = self.feeds.get(origin) else { return Next::Stop };
            let mut feed = feed.borrow_mut();
            let Some(taken) = feed.take(now_us) else { return Next::Wait };
            let ticket = Ticket { request: feed.request(), intended_us: taken.intended_us };
            drop(feed);
            self.took(taken, now_us);
            if now_us.saturating_sub(ticket.intended_us) <= self.timeout_us {
                return Next::Send(ticket);
            }
            self.failed(Fault::Timeout, Some(ticket), now_us);
        }
    }

    #[inline]
    fn took(&self, taken: Taken, now_us: u64) {
        let measured = taken.intended_us >= self.span.start_us;
        if measured && self.limited {
            self.left.set(self.left.get().saturating_sub(1));
        }
        if measured && taken.place_was_free {
            self.health.borrow_mut().slip.saturating_record(now_us.saturating_sub(taken.intended_us));
        }
        self.in_flight.set(self.in_flight.get() + 1);
    }

    /// The next of the origin's requests in turn, without a ticket: for what is asked for once for a connection.
    pub fn request_of(&self, origin: usize) -> usize {
        self.feeds.get(origin).map_or(0, |feed| feed.borrow_mut().request())
    }

    /// Wakes the task when something of `origin` is due for it, after [`Next::Wait`]. To be called again, with the place
    /// that it answers, after each wake-up that found nothing: others may have been quicker.
    pub(super) fn wait_for_due(&self, origin: usize, place: Option<Place>, cx: &mut Context<'_>) -> Option<Place> {
        let mut feed = self.feeds.get(origin)?.borrow_mut();
        let place = feed.wait(place, cx.waker());
        if let Some(at) = feed.due_us()
            && self.alarm.is_set_for().is_none_or(|set| at < set)
        {
            self.alarm.set_at(at);
        }
        Some(place)
    }

    /// Whoever has this place takes nothing any more: what it may have been woken for goes to another one.
    pub(super) fn does_not_wait(&self, origin: usize, place: Place) {
        let Some(feed) = self.feeds.get(origin) else { return };
        let mut feed = feed.borrow_mut();
        if feed.leave(place) {
            feed.pass_on();
        }
    }

    /// The request's first byte was handed to the kernel (or to the QUIC connection).
    #[inline]
    pub fn sent(&self, ticket: &Ticket) {
        self.recorder.borrow_mut().sent(ticket.intended_us);
    }

    /// Bytes that a connection received and sent, framing included; of TLS the plaintext.
    #[inline]
    pub fn moved(&self, bytes_in: usize, bytes_out: usize, now_us: u64) {
        self.recorder.borrow_mut().bytes(bytes_in as u64, bytes_out as u64, now_us);
    }

    /// An event of `bytes` came, so long after the one before it; its age, where it says when it was sent.
    pub fn event(&self, delay_us: Option<u64>, age_us: Option<u64>, bytes: u64, now_us: u64) {
        self.recorder.borrow_mut().event(delay_us, age_us, bytes, now_us);
    }

    /// A ticket's request was answered. `body` is needed where the plan expects something of it (`keeps_bodies`).
    /// Statuses and bodies that are not expected are counted as faults here, and answers that came too late.
    #[inline]
    pub fn done(&self, done: &Done, body: Option<&[u8]>) {
        if done.end_us.saturating_sub(done.intended_us) > self.timeout_us {
            self.recorder.borrow_mut().failed(Fault::Timeout, done.intended_us, done.end_us);
        } else {
            self.observed(done, body);
        }
        self.one_less(done.end_us);
    }

    /// As [`Shard::done`], of an answer that is known not to be what was expected: it came, and counts as an answer, and
    /// its body is a fault.
    pub fn done_wrong(&self, done: &Done) {
        let mut recorder = self.recorder.borrow_mut();
        if done.end_us.saturating_sub(done.intended_us) > self.timeout_us {
            recorder.failed(Fault::Timeout, done.intended_us, done.end_us);
        } else {
            recorder.done(done);
            recorder.failed(Fault::Body, done.intended_us, done.end_us);
        }
        drop(recorder);
        self.one_less(done.end_us);
    }

    /// As [`Shard::done`], of something that no ticket asked for, an event. Status 0 is none.
    #[inline]
    pub fn observed(&self, done: &Done, body: Option<&[u8]>) {
        let mut recorder = self.recorder.borrow_mut();
        recorder.done(done);
        let expect = &self.plan.expect;
        if done.status != 0 && (done.status < expect.status.0 || done.status > expect.status.1) {
            recorder.failed(Fault::Status, done.intended_us, done.end_us);
        } else if let Some(wanted) = &expect.body
            && !body.is_some_and(|body| wanted.is_match(body))
        {
            recorder.failed(Fault::Body, done.intended_us, done.end_us);
        }
    }

    /// A request failed (`ticket`), or a connection that had none to answer.
    pub fn failed(&self, fault: Fault, ticket: Option<Ticket>, now_us: u64) {
        let Some(ticket) = ticket else {
            return self.recorder.borrow_mut().connection_failed(fault, now_us);
        };
        self.recorder.borrow_mut().failed(fault, ticket.intended_us, now_us);
        self.one_less(now_us);
    }

    /// The run is over and the request had no answer yet: it is recorded as at least that late. It is no fault, for the
    /// time that an answer may take is not over; `sent` is above what was answered and what failed by so many.
    pub fn unanswered(&self, ticket: Ticket, now_us: u64) {
        self.recorder.borrow_mut().unanswered(ticket.intended_us, now_us);
        self.one_less(now_us);
    }

    /// A connection became usable: how long connecting took and, apart from that, the TLS handshake.
    pub fn connected(&self, connect_us: u64, tls_us: Option<u64>, resumed: bool, now_us: u64) {
        self.reached.set(true);
        self.recorder.borrow_mut().connected(now_us, connect_us, tls_us, resumed);
    }

    /// A connection that was usable ended.
    pub fn closed(&self, now_us: u64) {
        self.recorder.borrow_mut().closed(now_us);
    }

    /// Whether bodies are to be kept for [`Shard::done`], up to `plan.body_max`.
    #[inline]
    pub fn keeps_bodies(&self) -> bool {
        self.plan.expect.body.is_some()
    }

    /// Whether the run is over: a connection tells [`Shard::unanswered`] of each request in flight and closes. To be
    /// asked at each wake-up; the connection's task is woken when it becomes true.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.over.get()
    }

    /// A timer for a connection's own use.
    pub fn timer(&self) -> Timer {
        Timer::new(&self.local.timers)
    }

    #[inline]
    fn one_less(&self, now_us: u64) {
        let left = self.in_flight.get().saturating_sub(1);
        self.in_flight.set(left);
        if left == 0 && (self.left.get() == 0 || now_us >= self.span.end_us) {
            self.finish();
        }
    }

    /// Whether connections are still to be made.
    pub(crate) fn goes_on(&self) -> bool {
        !self.over.get() && self.left.get() > 0 && self.now() < self.span.end_us
    }

    /// Whether a run that ends by a number of requests would not end: two connections in turn had all their time, and none
    /// ever stood. What is measured for a given time lasts that long, whoever is there.
    pub(crate) fn is_in_vain(&self, now_us: u64) -> bool {
        let patience = self.plan.connect_timeout.as_micros() as u64 * 2;
        self.limited && !self.reached.get() && now_us >= self.span.begin_us.saturating_add(patience)
    }

    /// A connection speaks HTTP/2, or HTTP/1.1.
    pub(crate) fn speaks(&self, h2: bool) {
        let (h1, was_h2) = self.spoken.get();
        self.spoken.set((h1 || !h2, was_h2 || h2));
    }

    /// Whether HTTP/1.1 and HTTP/2 were spoken.
    pub(crate) fn spoken(&self) -> (bool, bool) {
        self.spoken.get()
    }

    /// Requests in flight.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.get()
    }

    /// The run is over: every connection is woken to see it.
    pub(crate) fn finish(&self) {
        if !self.over.replace(true) {
            self.over_us.set(self.now());
            let attending = std::mem::take(&mut *self.attending.borrow_mut());
            attending.into_iter().for_each(Waker::wake);
        }
    }

    /// When the run was over, µs.
    pub(crate) fn over_us(&self) -> u64 {
        self.over_us.get()
    }

    /// Has the task woken when the run is over. Once for each task.
    pub(crate) fn attend(&self, cx: &mut Context<'_>) {
        self.attending.borrow_mut().push(cx.waker().clone());
    }

    /// Wakes waiting connections as arrivals become due. Runs as a task of its own in an open loop.
    pub(crate) async fn pace(self: Rc<Self>) {
        while !self.over.get() {
            self.alarm.fired().await;
            if let Some(at) = self.grant(self.now()) {
                self.alarm.set_at(at);
            }
        }
    }

    /// Wakes connections for what is due. Answers when to do that again, if anyone waits.
    pub(super) fn grant(&self, now_us: u64) -> Option<u64> {
        let mut next: Option<u64> = None;
        for feed in &self.feeds {
            let mut feed = feed.borrow_mut();
            feed.grant(now_us);
            next = [next, feed.wake_at()].into_iter().flatten().min();
        }
        next
    }

    /// At the end of the sending time: what was due before `now_us` and not sent is recorded with the time it waited. Of a
    /// run of so many requests, what comes after the last of them was never to be sent.
    pub(crate) fn count_unsent(&self, now_us: u64) {
        for feed in &self.feeds {
            feed.borrow_mut().drain_due(now_us, |intended_us| {
                if self.limited && intended_us >= self.span.start_us {
                    let Some(left) = self.left.get().checked_sub(1) else { return };
                    self.left.set(left);
                }
                self.recorder.borrow_mut().unsent(intended_us, now_us);
            });
        }
    }

    /// A tick of its clock came so late.
    pub(crate) fn lagged(&self, late_us: u64) {
        self.health.borrow_mut().lag.saturating_record(late_us);
    }

    /// What was recorded since the last call, for an empty interval.
    pub(crate) fn swap(&self, empty: Box<Interval>) -> Box<Interval> {
        self.recorder.borrow_mut().swap(empty)
    }

    /// Times of connections from before the measured time.
    pub(crate) fn early(&self) -> Early {
        self.recorder.borrow().early().clone()
    }

    /// How late it was itself.
    pub(crate) fn health(&self) -> Health {
        self.health.borrow().clone()
    }
}

/// A histogram of how late something was: 1 µs to a minute, two digits.
fn lateness() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 2).unwrap_or_else(|_| unreachable!("the bounds are valid"))
}
