//! Requests and answers: what is due goes out on free streams, and every stream ends as an answer or a fault.
use super::{
    flights::{Flight, Flights},
    wire::Wire,
};
use crate::{
    client::{Ended, Shard, Supply, Ticket, Why, deadline::Deadline, pipe::Read},
    plan::{Origin, Plan},
    record::{Done, Fault},
};
use edge_io::{
    head::{FieldId, FieldRef},
    http1::Decimal,
    http2::{ErrorCode, Event, RequestHead},
    stream::Stream,
};
use std::{
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

/// Reads and the writes they lead to, before other connections have their turn.
const TURNS: usize = 4;
/// Streams before the server has said how many it takes: one, so that none is refused for our haste.
const STREAMS_UNTOLD: usize = 1;

/// Drives a connection until it ends.
pub async fn drive(shard: &Rc<Shard>, origin: usize, stream: &Stream) -> Ended {
    let plan = shard.plan.clone();
    let Some(of) = plan.origins.get(origin) else { return Ended { why: Why::Served, answered: 0 } };
    let mut driver = Driver::new(shard, &plan, of, origin, stream);
    let why = poll_fn(|cx| driver.poll(cx)).await;
    driver.wire.leave();
    Ended { why, answered: driver.answered }
}

struct Driver<'a> {
    shard: &'a Rc<Shard>,
    plan: &'a Arc<Plan>,
    origin: &'a Origin,
    wire: Wire<'a>,
    flights: Flights,
    supply: Supply,
    deadline: Deadline,
    timeout_us: u64,
    answered: u64,
    /// With which code the server said goodbye.
    farewell: Option<ErrorCode>,
    keeps_bodies: bool,
    secure: bool,
}

impl<'a> Driver<'a> {
    fn new(shard: &'a Rc<Shard>, plan: &'a Arc<Plan>, origin: &'a Origin, at: usize, stream: &'a Stream) -> Driver<'a> {
        Driver {
            shard,
            plan,
            origin,
            wire: Wire::new(stream, plan.streams, shard.now()),
            flights: Flights::new(plan.streams),
            supply: Supply::new(shard, at),
            deadline: Deadline::new(shard.timer()),
            timeout_us: plan.timeout.as_micros() as u64,
            answered: 0,
            farewell: None,
            keeps_bodies: shard.keeps_bodies(),
            secure: origin.secure,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Why> {
        if self.deadline.has_passed(cx, || self.shard.now())
            && let Some(why) = self.expire()
        {
            return Poll::Ready(why);
        }
        for _ in 0..TURNS {
            if self.shard.is_over() {
                return Poll::Ready(self.over());
            }
            let more = match self.turn(cx) {
                Ok(more) => more,
                Err(fault) => return Poll::Ready(self.broke(fault)),
            };
            if let Some(ended) = self.ended() {
                return Poll::Ready(ended);
            }
            if !more {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref(); // others first
        Poll::Pending
    }

    /// One read, all that it brought, all that is due, one write. Whether there may be more to read.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<bool, Fault> {
        let read = self.wire.pipe.read(cx)?;
        match read {
            Read::Nothing => {}
            Read::Some => {
                let now_us = self.shard.now();
                self.receive(now_us)?;
                self.wire.pipe.count(self.shard, now_us);
            }
            Read::End => return Err(Fault::Closed),
        }
        self.fill(cx);
        while self.wire.write(cx)? && self.upload() {}
        Ok(read == Read::Some)
    }

    /// Works through what was read.
    fn receive(&mut self, now_us: u64) -> Result<(), Fault> {
        loop {
            let (n, event) = self.wire.next(now_us)?;
            match event {
                None => {
                    self.wire.pipe.input.consume(n);
                    self.upload();
                    return Ok(());
                }
                Some(Event::Head { stream, end }) => self.on_head(stream, end, now_us),
                Some(Event::Data { stream, range, end }) => self.on_data(stream, range, end, now_us),
                Some(Event::Trailers { stream }) => self.answered(stream, now_us),
                Some(Event::Reset { stream, code, by_peer, unprocessed }) => {
                    self.failed(stream, fault_of_reset(code, by_peer, unprocessed), now_us);
                }
                Some(Event::GoAway { code, .. }) => {
                    self.farewell = Some(code);
                    self.supply.stop();
                }
                Some(Event::Writable | Event::Settings | Event::Pong(_) | Event::Busy) => {}
            }
            self.wire.pipe.input.consume(n);
        }
    }

    #[inline]
    fn on_head(&mut self, stream: u32, end: bool, now_us: u64) {
        let status = self.wire.head.status();
        if status < 200 {
            return;
        }
        if let Some(flight) = self.flights.get(stream) {
            (flight.status, flight.first_us) = (status, now_us);
        }
        if end {
            self.answered(stream, now_us);
        }
    }

    #[inline]
    fn on_data(&mut self, stream: u32, range: std::ops::Range<usize>, end: bool, now_us: u64) {
        let n = range.len();
        let Some(flight) = self.flights.get(stream) else {
            return self.wire.engine.consumed(stream, n);
        };
        flight.body += n as u64;
        if flight.body > self.plan.body_max {
            self.wire.engine.reset(stream, ErrorCode::CANCEL);
            return self.failed(stream, Fault::TooLarge, now_us);
        }
        if self.keeps_bodies {
            flight.kept.extend_from_slice(self.wire.pipe.input.filled().get(range).unwrap_or_default());
        }
        if end {
            self.answered(stream, now_us);
        } else {
            self.wire.engine.consumed(stream, n);
        }
    }

    /// An answer is complete.
    #[inline]
    fn answered(&mut self, stream: u32, now_us: u64) {
        let Some(flight) = self.flights.remove(stream) else { return };
        if flight.uploaded < self.body_of(flight.ticket).len() {
            // The server has answered without all of it: nobody wants the rest (RFC 9113, section 8.1).
            self.wire.engine.reset(stream, ErrorCode::CANCEL);
        }
        let done = Done {
            intended_us: flight.ticket.intended_us,
            sent_us: flight.sent_us,
            first_us: flight.first_us,
            end_us: now_us,
            status: flight.status,
            body: flight.body,
        };
        self.answered += 1;
        self.shard.done(&done, self.keeps_bodies.then_some(&flight.kept[..]));
    }

    fn failed(&mut self, stream: u32, fault: Fault, now_us: u64) {
        if let Some(flight) = self.flights.remove(stream) {
            self.shard.failed(fault, Some(flight.ticket), now_us);
        }
    }

    fn body_of(&self, ticket: Ticket) -> &'a [u8] {
        self.origin.requests.get(ticket.request).map_or(&[], |r| &r.body)
    }

    /// Sends what is due, as far as there are places. A connection whose output waits takes nothing on.
    fn fill(&mut self, cx: &mut Context<'_>) {
        if self.wire.pipe.is_blocked() || self.supply.is_over() {
            return self.supply.give_up();
        }
        let told = self.wire.engine.has_peer_settings();
        let places = if told { self.plan.streams } else { STREAMS_UNTOLD.min(self.plan.streams) };
        let mut now_us = 0;
        while self.flights.len() < places && self.wire.engine.can_open() {
            if now_us == 0 {
                now_us = self.shard.now();
            }
            let Some(ticket) = self.supply.take(cx, now_us) else { return };
            self.send(ticket, now_us);
        }
        self.supply.give_up();
        if self.flights.len() == 0 {
            // No streams are allowed: that must not last.
            let now_us = self.shard.now();
            self.deadline.by(now_us.saturating_add(self.timeout_us), now_us);
        }
    }

    /// Opens a stream.
    #[inline]
    fn send(&mut self, ticket: Ticket, now_us: u64) {
        let Some(request) = self.origin.requests.get(ticket.request) else {
            return self.shard.failed(Fault::Protocol, Some(ticket), now_us);
        };
        let head = RequestHead {
            method: request.method.as_bytes(),
            scheme: if self.secure { b"https" } else { b"http" },
            authority: self.origin.authority.as_bytes(),
            path: request.target.as_bytes(),
            protocol: None,
        };
        let bodiless = request.body.is_empty();
        let length = request.content_length().map(Decimal::new);
        let fields = request.fields.iter().map(|(name, value)| {
            let name = name.as_bytes();
            FieldRef { id: FieldId::of(name), name, value }
        });
        let length = length.as_ref().map(|n| FieldRef {
            id: FieldId::ContentLength,
            name: b"content-length",
            value: n.as_bytes(),
        });
        let Ok(id) = self.wire.engine.send_request(&head, fields.chain(length), bodiless) else {
            return self.shard.failed(Fault::Refused, Some(ticket), now_us);
        };
        self.flights.insert(Flight::new(id, ticket, now_us));
        self.shard.sent(&ticket);
        self.deadline.by(ticket.intended_us.saturating_add(self.timeout_us), now_us);
        if !bodiless {
            self.push(id);
        }
    }

    /// Hands over more of a request's body; the engine lists the stream if that is not all.
    fn push(&mut self, id: u32) {
        let Some(flight) = self.flights.get(id) else { return };
        let body = self.origin.requests.get(flight.ticket.request).map_or(&[][..], |r| &r.body);
        let rest = body.get(flight.uploaded..).unwrap_or_default();
        if !rest.is_empty()
            && let Ok(n) = self.wire.engine.send_data(id, rest, true)
        {
            flight.uploaded += n;
        }
    }

    /// Streams that were blocked go on. Whether there were any.
    fn upload(&mut self) -> bool {
        let mut any = false;
        while let Some(id) = self.wire.engine.next_writable() {
            self.push(id);
            any = true;
        }
        any
    }

    /// Whether the server allows no stream at all.
    fn is_kept_out(&self) -> bool {
        self.wire.engine.has_peer_settings() && self.wire.engine.streams_max() == 0
    }

    /// Ends requests whose time is up. Answers why the connection ends, if it does: a server that let nothing be asked for
    /// so long.
    fn expire(&mut self) -> Option<Why> {
        let now_us = self.shard.now();
        if self.flights.len() == 0 && !self.supply.is_over() && self.is_kept_out() {
            self.shard.failed(Fault::Refused, None, now_us);
            return Some(Why::Failed(Fault::Refused));
        }
        let deadline = |f: &Flight| f.ticket.intended_us.saturating_add(self.timeout_us);
        let late: Vec<u32> = self.flights.iter().filter(|f| deadline(f) <= now_us).map(|f| f.id).collect();
        let next = self.flights.iter().map(deadline).filter(|at| *at > now_us).min();
        for id in late {
            self.wire.engine.reset(id, ErrorCode::CANCEL);
            self.failed(id, Fault::Timeout, now_us);
        }
        if let Some(at) = next {
            self.deadline.by(at, now_us);
        }
        None
    }

    /// Whether nothing more is to be done here.
    fn ended(&mut self) -> Option<Why> {
        if self.flights.len() > 0 {
            return None;
        }
        match self.farewell {
            Some(ErrorCode::NO_ERROR) => Some(Why::ByPeer),
            Some(_) => {
                self.shard.failed(Fault::Closed, None, self.shard.now());
                Some(Why::Failed(Fault::Closed))
            }
            None if self.supply.is_over() => Some(Why::Served),
            // All ids are used up.
            None if !self.wire.engine.can_open() && !self.is_kept_out() => Some(Why::Served),
            None => None,
        }
    }

    /// The connection is at its end, and with it all that was in flight.
    fn broke(&mut self, fault: Fault) -> Why {
        let now_us = self.shard.now();
        self.wire.pipe.count(self.shard, now_us);
        if self.flights.len() == 0 {
            let was_well = self.wire.engine.has_peer_settings() && self.farewell.unwrap_or(ErrorCode::NO_ERROR).0 == 0;
            if fault == Fault::Closed && was_well {
                return Why::ByPeer;
            }
            self.shard.failed(fault, None, now_us);
            return Why::Failed(fault);
        }
        for flight in self.flights.drain() {
            let begun = fault == Fault::Closed && flight.first_us > 0;
            let fault = if begun { Fault::Truncated } else { fault };
            self.shard.failed(fault, Some(flight.ticket), now_us);
        }
        Why::Failed(fault)
    }

    fn over(&mut self) -> Why {
        let now_us = self.shard.now();
        self.wire.pipe.count(self.shard, now_us);
        for flight in self.flights.drain() {
            self.shard.unanswered(flight.ticket, now_us);
        }
        Why::Over
    }
}

/// What the end of a stream without an answer is counted as.
fn fault_of_reset(code: ErrorCode, by_peer: bool, unprocessed: bool) -> Fault {
    match (by_peer, unprocessed, code) {
        (_, true, _) => Fault::Refused,
        (true, ..) => Fault::StreamReset,
        // Ours, for a head that is larger than is read.
        (false, _, ErrorCode::ENHANCE_YOUR_CALM) => Fault::TooLarge,
        (false, ..) => Fault::Protocol,
    }
}
