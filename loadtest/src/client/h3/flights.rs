//! The requests under way on one connection, and what became of them.
use crate::{
    client::{Shard, Ticket},
    record::{Done, Fault},
};
use edge_quic::{
    client::{Event, Failure, Place},
    h3::ErrorCode,
};
use std::rc::Rc;

/// A request under way.
#[derive(Default)]
struct Flight {
    /// `None`: the place is free, or the request was told of already.
    ticket: Option<Ticket>,
    sent_us: u64,
    /// When the head of its final answer was seen; 0 before.
    first_us: u64,
    status: u16,
    body: u64,
    /// The body, where the plan expects something of it.
    kept: Vec<u8>,
}

/// All of a connection, by place.
pub(super) struct Flights<'a> {
    shard: &'a Rc<Shard>,
    places: Vec<Flight>,
    /// Places with a ticket.
    live: usize,
    /// Places whose answers nobody wants any more.
    unwanted: Vec<Place>,
    /// Requests that were answered.
    pub answered: u64,
    /// The time of this turn; 0: nobody asked.
    now_us: u64,
    timeout_us: u64,
    keeps: bool,
}

impl<'a> Flights<'a> {
    pub fn new(shard: &'a Rc<Shard>) -> Flights<'a> {
        Flights {
            shard,
            places: Vec::new(),
            live: 0,
            unwanted: Vec::new(),
            answered: 0,
            now_us: 0,
            timeout_us: shard.plan.timeout.as_micros() as u64,
            keeps: shard.keeps_bodies(),
        }
    }

    /// The clock is read again when it is asked for.
    pub fn begin_turn(&mut self) {
        self.now_us = 0;
    }

    /// The time of this turn: that of the first event, or of the first question.
    #[inline]
    pub fn now_us(&mut self) -> u64 {
        if self.now_us == 0 {
            self.now_us = self.shard.now();
        }
        self.now_us
    }

    pub fn len(&self) -> usize {
        self.live
    }

    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// `ticket`'s request has `place`. Answers when it has taken too long, µs.
    #[inline]
    pub fn add(&mut self, place: Place, ticket: Ticket, now: u64) -> u64 {
        let at = place as usize;
        let due = ticket.intended_us.saturating_add(self.timeout_us);
        if at >= self.places.len() {
            self.places.resize_with(at + 1, Flight::default);
        }
        let Some(flight) = self.places.get_mut(at) else { return due };
        (flight.ticket, flight.sent_us, flight.first_us) = (Some(ticket), now, 0);
        (flight.status, flight.body) = (0, 0);
        flight.kept.clear();
        self.live += 1;
        due
    }

    /// What happened to the request in `place`.
    #[inline]
    pub fn on(&mut self, place: Place, event: Event<'_>) {
        let now = self.now_us();
        let Some(flight) = self.places.get_mut(place as usize).filter(|flight| flight.ticket.is_some()) else { return };
        match event {
            Event::Head(head) => {
                if head.status() >= 200 {
                    (flight.status, flight.first_us) = (head.status(), now);
                }
            }
            Event::Data(data) => {
                flight.body += data.len() as u64;
                if flight.body > self.shard.plan.body_max {
                    self.unwanted.push(place);
                    self.end(place, Fault::TooLarge);
                } else if self.keeps {
                    flight.kept.extend_from_slice(data);
                }
            }
            Event::Trailers(_) => {}
            Event::End => self.done(place, now),
            Event::Failed(failure) => self.end(place, fault(failure)),
        }
    }

    fn done(&mut self, place: Place, now: u64) {
        let Some(flight) = self.places.get_mut(place as usize) else { return };
        let Some(ticket) = flight.ticket.take() else { return };
        let Flight { sent_us, first_us, status, body, .. } = *flight;
        let done = Done { intended_us: ticket.intended_us, sent_us, first_us, end_us: now, status, body };
        self.shard.done(&done, self.keeps.then_some(&flight.kept));
        self.live -= 1;
        self.answered += 1;
    }

    /// The request in `place` failed.
    fn end(&mut self, place: Place, fault: Fault) {
        let now = self.now_us();
        if let Some(ticket) = self.places.get_mut(place as usize).and_then(|flight| flight.ticket.take()) {
            self.live -= 1;
            self.shard.failed(fault, Some(ticket), now);
        }
    }

    /// Places whose answers nobody wants any more: to be cancelled.
    pub fn unwanted(&mut self) -> Vec<Place> {
        std::mem::take(&mut self.unwanted)
    }

    /// When the first of them has taken too long, µs. Linear in the places; asked once in a request's patience.
    pub fn first_due(&self) -> Option<u64> {
        let due = |flight: &Flight| Some(flight.ticket?.intended_us.saturating_add(self.timeout_us));
        self.places.iter().filter_map(due).min()
    }

    /// Those that have taken too long fail: their places, to be cancelled.
    pub fn late(&mut self, now: u64) -> Vec<Place> {
        let late = |flight: &Flight| {
            flight.ticket.is_some_and(|ticket| ticket.intended_us.saturating_add(self.timeout_us) <= now)
        };
        let places = (0..).zip(&self.places).filter(|(_, flight)| late(flight));
        let places: Vec<Place> = places.map(|(place, _)| place).collect();
        for place in &places {
            self.end(*place, Fault::Timeout);
        }
        places
    }

    /// All of them fail. One whose answer had begun was closed in its middle.
    pub fn fail(&mut self, fault: Fault) {
        for place in 0..self.places.len() {
            let begun = self.places.get(place).is_some_and(|flight| flight.first_us > 0);
            let fault = if begun && fault == Fault::Closed { Fault::Truncated } else { fault };
            self.end(place as Place, fault);
        }
    }

    /// The run is over before their answers.
    pub fn unanswered(&mut self) {
        let now = self.now_us();
        for flight in &mut self.places {
            if let Some(ticket) = flight.ticket.take() {
                self.shard.unanswered(ticket, now);
            }
        }
        self.live = 0;
    }
}

/// What a failure is called.
fn fault(failure: Failure) -> Fault {
    match failure {
        Failure::Reset(_) => Fault::StreamReset,
        Failure::Rejected => Fault::Refused,
        Failure::Broken(ErrorCode::H3_EXCESSIVE_LOAD, _) => Fault::TooLarge,
        Failure::Broken(..) => Fault::Protocol,
    }
}
