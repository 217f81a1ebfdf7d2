//! HTTP/3 as a client: a connection is made here and driven until it ends. Up to `plan.streams` requests are under way on
//! it at once, without a task for any.
mod connect;
mod flights;
#[cfg(test)]
mod tests;

use super::{Ended, Shard, Supply, Why, deadline::Deadline};
use crate::{
    plan::{Origin, Plan, Protocol},
    record::Fault,
};
pub(super) use connect::one;
use edge_io::{
    head::{FieldId, FieldRef},
    runtime::Local,
};
use edge_quic::{
    client::{Client, Connection, Prepared, Settings},
    crypto::ClientCrypto,
    h3::{ErrorCode, RequestHead},
};
use flights::Flights;
use rustls::ClientConfig;
use std::{
    io,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

/// What HTTP/3 connections of one shard share.
#[derive(Default)]
pub(in crate::client) struct Shared {
    client: Option<Rc<Client>>,
    requests: Vec<Vec<Prepared>>,
}

impl Shared {
    /// Nothing, where the plan has another protocol.
    ///
    /// # Errors
    /// QUIC cannot be spoken with this TLS; no random bytes.
    pub fn new(plan: &Plan, local: &Local, tls: &Arc<ClientConfig>) -> io::Result<Shared> {
        if plan.protocol != Protocol::H3 {
            return Ok(Shared::default());
        }
        let crypto = Arc::new(ClientCrypto::new(tls.clone()).map_err(io::Error::other)?);
        // Who wants whole handshakes is a new client each time, and has no token of an earlier one either.
        let settings = Settings { tokens: !plan.tls.no_resume, ..Settings::default() };
        let client = Client::new(&local.reactor, &local.timers, crypto, &settings)?;
        Ok(Shared { client: Some(client), requests: plan.origins.iter().map(prepare).collect() })
    }
}

/// The requests of an origin as they are on the wire.
fn prepare(origin: &Origin) -> Vec<Prepared> {
    let of = |request: &crate::plan::Request| {
        let head = RequestHead {
            method: request.method.as_bytes(),
            scheme: b"https",
            authority: origin.authority.as_bytes(),
            path: request.target.as_bytes(),
            protocol: None,
        };
        let length = request.content_length().map(|length| length.to_string());
        let own = length.as_ref().map(|length| ("content-length", length.as_bytes()));
        let given = request.fields.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        let fields = given.chain(own).map(|(name, value)| FieldRef {
            id: FieldId::of(name.as_bytes()),
            name: name.as_bytes(),
            value,
        });
        Prepared::new(&head, fields, &request.body)
    };
    origin.requests.iter().map(of).collect()
}

/// Receive calls of one turn, before others have theirs.
const BATCHES_PER_TURN: u32 = 4;

/// One connection, and what is under way on it.
struct Driver<'a> {
    shard: &'a Rc<Shard>,
    origin: usize,
    connection: Connection,
    flights: Flights<'a>,
    supply: Supply,
    deadline: Deadline,
    /// Bytes that were told to the shard, in and out.
    told: (u64, u64),
}

impl<'a> Driver<'a> {
    fn new(shard: &'a Rc<Shard>, origin: usize, connection: Connection) -> Driver<'a> {
        Driver {
            shard,
            origin,
            connection,
            flights: Flights::new(shard),
            supply: Supply::new(shard, origin),
            deadline: Deadline::new(shard.timer()),
            told: (0, 0),
        }
    }

    /// Everything that one wake-up brings.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let why = if self.shard.is_over() { Some(self.over()) } else { self.turn(cx) };
        let (received, sent) = self.connection.bytes();
        let (before_in, before_out) = std::mem::replace(&mut self.told, (received, sent));
        if (received, sent) != (before_in, before_out) {
            let (bytes_in, bytes_out) = ((received - before_in) as usize, (sent - before_out) as usize);
            self.shard.moved(bytes_in, bytes_out, self.flights.now_us());
        }
        match why {
            Some(why) => Poll::Ready(Ended { why, answered: self.flights.answered }),
            None => Poll::Pending,
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Option<Why> {
        // The time of answers is when they were read, not when the first of a long turn was.
        let mut batches = 0;
        loop {
            self.flights.begin_turn();
            let flights = &mut self.flights;
            let more = self.connection.batch(cx, &mut |place, event| flights.on(place, event));
            batches += 1;
            match (more, batches < BATCHES_PER_TURN) {
                (true, true) => {}
                (true, false) => break cx.waker().wake_by_ref(),
                (false, _) => break,
            }
        }
        for place in self.flights.unwanted() {
            self.connection.cancel(place);
        }
        if self.connection.lost().is_some() {
            self.connection.flush(cx); // it may have something to say why
            return Some(self.lost());
        }
        let now = self.flights.now_us();
        self.expire(cx, now);
        self.fill(cx, now);
        if self.supply.is_over() && self.flights.is_empty() {
            self.connection.close(ErrorCode::H3_NO_ERROR);
            return Some(Why::Served);
        }
        self.connection.flush(cx);
        None
    }

    /// Fills the free places with what is due.
    fn fill(&mut self, cx: &mut Context<'_>, now: u64) {
        if self.connection.is_going() {
            self.supply.stop();
        }
        while self.flights.len() < self.shard.plan.streams && self.connection.can_open() {
            let Some(ticket) = self.supply.take(cx, now) else { return };
            let requests = self.shard.h3.requests.get(self.origin).map_or(&[][..], Vec::as_slice);
            let place = requests.get(ticket.request).and_then(|request| self.connection.open(request));
            let Some(place) = place else {
                self.shard.failed(Fault::Closed, Some(ticket), now);
                continue;
            };
            self.shard.sent(&ticket);
            self.deadline.by(self.flights.add(place, ticket, now), now);
        }
        self.supply.give_up();
    }

    /// Cancels what has taken too long; the connection goes on.
    fn expire(&mut self, cx: &mut Context<'_>, now: u64) {
        if !self.deadline.has_passed(cx, || now) {
            return;
        }
        for place in self.flights.late(now) {
            self.connection.cancel(place);
        }
        if let Some(due) = self.flights.first_due() {
            self.deadline.by(due, now);
        }
    }

    /// The connection is gone, and with it what was under way.
    fn lost(&mut self) -> Why {
        let Some(lost) = self.connection.lost() else { return Why::ByPeer };
        let fault = connect::lost_fault(lost);
        if self.flights.is_empty() && matches!(fault, Fault::Closed | Fault::Timeout) {
            return Why::ByPeer;
        }
        if self.flights.is_empty() {
            self.shard.failed(fault, None, self.flights.now_us());
        }
        self.flights.fail(fault);
        Why::Failed(fault)
    }

    fn over(&mut self) -> Why {
        self.flights.begin_turn();
        self.flights.unanswered();
        self.connection.close(ErrorCode::H3_NO_ERROR);
        Why::Over
    }
}
