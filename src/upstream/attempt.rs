//! One attempt: a request and its answer on one connection, both directions at once, until the answer is through.
use super::{
    Request, Timeouts, Trace,
    replay::Replay,
    report::Report,
    retry::{Ending, RetryRule},
    wire::{Answer, Wire},
};
use crate::{
    message::{BodySink, BodySource, Category, Deadlines, Fault, Fill, Phase, Pump, ResponseHead, ResponseSink, Side},
    proto::hop,
};
use edge_io::{
    clock::Clock,
    head::{FieldId, Head, Method},
};
use std::{
    task::{Context, Poll},
    time::Duration,
};

/// Without an answer to `Expect: 100-continue`, the body is asked for after this (RFC 9110 10.1.1).
const CONTINUE_AFTER: Duration = Duration::from_secs(1);

/// The route's time is up, in whatever phase.
pub(super) const TOTAL_EXCEEDED: Fault =
    Fault::new(Category::UpstreamTimeout, Side::Edge, "the request took longer than its route allows");
/// Of an answer that nobody takes, so much is read for the sake of its connection, bytes.
const DISCARD_MAX: usize = 64 * 1024;
/// 1xx heads before the final one.
const INFORMATIONAL_MAX: u32 = 16;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The answer is through and the connection can carry another request.
    Reusable,
    /// The answer is through; the connection ends.
    Spent,
    /// The endpoint switched protocols and the client was told: bytes both ways are what is left to do.
    Upgraded,
}

/// A failed attempt, and whether another one is safe.
#[derive(Clone, Copy, Debug)]
pub struct Failed {
    /// Why.
    pub fault: Fault,
    /// Nothing of the answer came.
    pub untouched: bool,
    /// The whole request was sent.
    pub sent: bool,
}

/// Where an attempt stands when it lets its owner decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The answer's head has this status, which another attempt may better; nothing of it went to the client. `accept`
    /// makes it the client's answer.
    Question(u16),
    /// The answer is through.
    Done(Ended),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The client waits for `100 Continue`, and so does its body.
    Continue,
    /// The answer's head is to come.
    Head,
    /// The answer's body is under way.
    Body,
    /// The endpoint switched protocols.
    Upgraded,
}

/// The parts of one attempt.
pub struct Attempt<'a, 'b, S, D> {
    /// The way to the endpoint.
    pub wire: Wire<'a>,
    /// The request.
    pub request: &'a Request<'a>,
    /// Its head.
    pub head: &'a Head,
    /// Its body.
    pub source: &'a mut Replay<'b, S>,
    /// The way of the answer.
    pub sink: &'a mut D,
    /// The client connection's deadlines.
    pub deadlines: &'a Deadlines,
    /// How long each phase may take.
    pub timeouts: &'a Timeouts,
    /// What the log and the metrics want to know.
    pub trace: &'a mut Trace,
    /// The shard's clock.
    pub clock: &'a Clock,
    /// When this attempt began, µs of that clock.
    pub began_us: u64,
    /// Who hears how the endpoint does.
    pub(super) report: Report<'a>,
    /// Which statuses are a question; `None` = none.
    pub questions: Option<&'a RetryRule>,
    /// Moves the request's body.
    pub up: Pump,
    /// Moves the answer's body.
    pub down: Pump,
    /// How far it has come.
    pub state: State,
}

impl<S: BodySource, D: ResponseSink> Attempt<'_, '_, S, D> {
    /// Begins the request.
    pub fn begin(&mut self, authority: &str) -> Result<(), Failed> {
        self.wire.begin(self.head, self.request, authority).map_err(|fault| Failed {
            fault,
            untouched: true,
            sent: false,
        })?;
        let expects_continue = self.request.expects_continue;
        self.state.step = if expects_continue { Step::Continue } else { Step::Head };
        self.deadlines.set(Phase::Upstream, if expects_continue { CONTINUE_AFTER } else { self.timeouts.first_byte });
        Ok(())
    }

    /// Goes on from a request that is sent and whose final head is there already.
    pub fn resume(&mut self) -> Result<(), Failed> {
        (self.state.step, self.up.done) = (Step::Head, true);
        self.head_came().map_err(|fault| Failed { fault, untouched: false, sent: true })
    }

    /// Runs it to its end, or to a question.
    pub async fn run(&mut self) -> Result<Stage, Failed> {
        let result = std::future::poll_fn(|cx| self.poll(cx)).await;
        self.deadlines.clear(Phase::Upstream);
        self.deadlines.clear(Phase::ClientBody);
        if let (Ok(()), Some(answer)) = (&result, &self.state.question) {
            return Ok(Stage::Question(answer.status));
        }
        self.trace.response_bytes += self.down.bytes;
        self.trace.request_body_bytes += self.up.bytes;
        match result {
            Ok(()) if self.state.step == Step::Upgraded => Ok(Stage::Done(Ended::Upgraded)),
            Ok(()) if self.is_reusable() => Ok(Stage::Done(Ended::Reusable)),
            Ok(()) => Ok(Stage::Done(Ended::Spent)),
            Err(fault) => Err(Failed { fault, untouched: self.wire.received() == 0, sent: self.up.done }),
        }
    }

    /// The answer in question is the client's.
    pub fn accept(&mut self) {
        if let Some(answer) = self.state.question.take() {
            self.start(&answer);
        }
    }

    /// The answer in question is nobody's. Whether the connection can carry another request: what there is of the answer by
    /// now is read, and no more is waited for.
    pub async fn discard(&mut self) -> bool {
        let Some(answer) = self.state.question.take() else { return false };
        (self.state.step, self.state.keep_alive) = (Step::Body, answer.keep_alive);
        let (wire, mut left) = (&mut self.wire, DISCARD_MAX);
        let whole = std::future::poll_fn(|cx| {
            loop {
                match wire.poll_fill(cx) {
                    Poll::Ready(Ok(Fill::Data)) => {
                        let n = wire.data().len();
                        if n > left {
                            return Poll::Ready(false); // an endpoint could keep the shard reading
                        }
                        left -= n;
                        wire.consume(n);
                    }
                    Poll::Ready(Ok(Fill::End)) => return Poll::Ready(true),
                    Poll::Ready(Err(_)) | Poll::Pending => return Poll::Ready(false),
                }
            }
        });
        whole.await && self.is_reusable()
    }

    fn is_reusable(&self) -> bool {
        let state = &self.state;
        state.step == Step::Body
            && state.keep_alive
            && self.up.done
            && state.send_failed.is_none()
            && self.wire.is_through()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        loop {
            let step = self.state.step;
            if let Poll::Ready(Err(fault)) = self.poll_request(cx) {
                return Poll::Ready(Err(fault));
            }
            match self.poll_response(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(self.state.send_failed.unwrap_or(fault))),
                Poll::Pending => {}
            }
            let body_may_go = step == Step::Continue && self.state.step == Step::Head;
            if !body_may_go {
                break;
            }
        }
        if self.deadlines.is_past(Phase::Total) {
            return Poll::Ready(Err(TOTAL_EXCEEDED)); // however well it goes on
        }
        self.keep_deadline();
        if (self.up.done || self.state.step == Step::Continue || self.sink.is_stream())
            && let Poll::Ready(fault) = self.sink.poll_gone(cx)
        {
            return Poll::Ready(if self.sink.is_whole() { Ok(()) } else { Err(fault) });
        }
        match self.deadlines.poll_expired(cx) {
            Poll::Ready(phase) => self.expired(cx, phase),
            Poll::Pending => Poll::Pending,
        }
    }

    /// The endpoint has its time anew after progress in either direction; while the client is what everybody waits
    /// for, the endpoint's time stands still.
    fn keep_deadline(&mut self) {
        let state = &mut self.state;
        if state.step == Step::Body {
            // The answer is under way: whether the client still sends is no reason to cut it (RFC 9112 9.5).
            self.deadlines.clear(Phase::ClientBody);
        }
        let after = match state.step {
            Step::Continue | Step::Upgraded => return,
            Step::Head if self.deadlines.is_set(Phase::ClientBody) => return self.deadlines.clear(Phase::Upstream),
            Step::Body if self.deadlines.is_set(Phase::ClientWrite) => return self.deadlines.clear(Phase::Upstream),
            Step::Head => self.timeouts.first_byte,
            Step::Body => self.timeouts.body_idle,
        };
        // Until the answer's head is complete only the request's progress counts: one that dribbles in is late.
        let received = if state.step == Step::Head { 0 } else { self.wire.received() };
        let seen = received + self.up.bytes;
        if seen != state.seen || !self.deadlines.is_set(Phase::Upstream) {
            state.seen = seen;
            self.deadlines.set(Phase::Upstream, after);
        }
    }

    /// Sends head and body. A send that fails is remembered: the endpoint may have answered before it closed.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let state = &mut self.state;
        if self.up.done || state.send_failed.is_some() {
            return Poll::Pending;
        }
        let sent = match state.step {
            Step::Continue => self.wire.poll_flush(cx),
            // Nothing is sent, and our direction is not ended, before the endpoint has switched.
            _ if self.request.websocket => self.wire.poll_flush(cx).map(|sent| {
                self.up.done = sent.is_ok();
                sent
            }),
            _ => self.up.poll(cx, self.source, &mut self.wire, self.request.max_body),
        };
        match sent {
            Poll::Ready(Err(fault)) if fault.side == Side::Upstream => {
                state.send_failed = Some(fault);
                Poll::Pending
            }
            other => other,
        }
    }

    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        while matches!(self.state.step, Step::Head | Step::Continue) {
            match self.wire.poll_head(cx) {
                Poll::Ready(Ok(true)) => self.head_came()?,
                Poll::Ready(Ok(false)) => {
                    let fault = Fault::new(Category::UpstreamReset, Side::Upstream, "closed without an answer");
                    return Poll::Ready(Err(fault));
                }
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
                Poll::Pending => {
                    // A 1xx may have been gathered.
                    return match self.sink.poll_flush(cx) {
                        Poll::Ready(Err(fault)) => Poll::Ready(Err(fault)),
                        _ => Poll::Pending,
                    };
                }
            }
        }
        if self.state.step == Step::Upgraded || self.state.question.is_some() {
            return Poll::Ready(Ok(()));
        }
        self.down.poll(cx, &mut self.wire, self.sink, None)
    }

    /// Any head: informational ones are passed on, the final one begins the answer or is a question.
    fn head_came(&mut self) -> Result<(), Fault> {
        let answer = self.wire.answer(self.head.method(), self.request)?;
        let status = answer.status;
        if status < 200 && status != 101 {
            return self.informed(status);
        }
        let now = self.clock.now_us();
        self.trace.status = status;
        self.trace.ttfb_us = Some(now.saturating_sub(self.trace.began_us));
        self.report.answered(status, now.saturating_sub(self.began_us), self.deadlines.now());
        self.state.step = if status == 101 { Step::Upgraded } else { Step::Body };
        if status >= 400
            && self.questions.is_some_and(|rule| rule.on.names(&Ending::Status(status)))
            && self.source.is_whole()
        {
            self.state.question = Some(answer);
        } else {
            self.start(&answer);
        }
        Ok(())
    }

    /// The answer goes to the client.
    fn start(&mut self, answer: &Answer) {
        let status = answer.status;
        self.state.keep_alive = answer.keep_alive;
        if !self.up.done && status != 101 {
            self.sink.close_after(); // the rest of the request's body will not be read
        }
        self.source.release();
        let head = self.wire.head();
        let extra = match self.request.response_fields {
            [rest @ .., _] if self.request.alt_svc && head.has(FieldId::AltSvc) => rest,
            all => all,
        };
        let cookie = self.trace.cookie.as_deref().map(|cookie| with_cookie(extra, cookie));
        self.sink.start(ResponseHead {
            status,
            reason: head.reason(),
            fields: Some(head),
            date: (!head.has(FieldId::Date)).then_some(self.request.date),
            extra: cookie.as_deref().unwrap_or(extra),
            size: answer.size,
            shown_length: shown_length(head, self.head.method(), status),
            may_trail: answer.may_trail,
        });
        self.deadlines.set(Phase::Upstream, self.timeouts.body_idle);
    }

    /// A 1xx: passed on, and another head follows.
    fn informed(&mut self, status: u16) -> Result<(), Fault> {
        let state = &mut self.state;
        state.informational += 1;
        if state.informational > INFORMATIONAL_MAX {
            return Err(Fault::new(Category::UpstreamProtocol, Side::Upstream, "too many informational answers"));
        }
        if status == 100 && state.step == Step::Continue {
            state.step = Step::Head;
            self.deadlines.set(Phase::Upstream, self.timeouts.first_byte);
        }
        self.sink.inform(status, &mut hop::response_fields(self.wire.head()));
        self.wire.begin_next_head();
        Ok(())
    }

    fn expired(&mut self, cx: &mut Context<'_>, phase: Phase) -> Poll<Result<(), Fault>> {
        let state = &mut self.state;
        let fault = match (phase, state.step) {
            (Phase::Upstream, Step::Continue) => {
                // The endpoint does not know 100-continue: the body goes ahead.
                state.step = Step::Head;
                self.sink.inform(100, &mut std::iter::empty());
                self.deadlines.set(Phase::Upstream, self.timeouts.first_byte);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            (Phase::Upstream, Step::Head) => Fault::new(Category::UpstreamTimeout, Side::Upstream, "no answer in time"),
            (Phase::Upstream, Step::Body | Step::Upgraded) => {
                Fault::new(Category::UpstreamTimeout, Side::Upstream, "the answer stalled")
            }
            (Phase::ClientBody, _) => Fault::new(Category::BodyTimeout, Side::Downstream, "the request body stalled"),
            (Phase::ClientWrite, _) => {
                Fault::new(Category::WriteTimeout, Side::Downstream, "the client stopped reading")
            }
            (Phase::Total, _) => TOTAL_EXCEEDED,
            (Phase::ClientHead, _) => return Poll::Pending,
        };
        Poll::Ready(Err(fault))
    }
}

/// How far an attempt has come.
pub struct State {
    step: Step,
    send_failed: Option<Fault>,
    keep_alive: bool,
    /// Bytes both ways when the deadline was last set.
    seen: u64,
    /// 1xx heads so far.
    informational: u32,
    /// The answer that the owner is to decide on.
    question: Option<Answer>,
}

impl Default for State {
    fn default() -> State {
        State { step: Step::Head, send_failed: None, keep_alive: false, seen: 0, informational: 0, question: None }
    }
}

/// The edge's fields and the cookie that binds the client to its endpoint: once an hour or so for each client.
fn with_cookie<'f>(fields: &[(&'f [u8], &'f [u8])], cookie: &'f [u8]) -> Vec<(&'f [u8], &'f [u8])> {
    fields.iter().copied().chain([(&b"set-cookie"[..], cookie)]).collect()
}

/// HEAD and 304 tell the length that a GET would have had.
fn shown_length(head: &Head, method: Method, status: u16) -> Option<u64> {
    if method != Method::Head && status != 304 {
        return None;
    }
    let text = std::str::from_utf8(head.get(FieldId::ContentLength)?).ok()?;
    text.parse().ok()
}
