//! HTTP/1.1 as a client: one connection, its requests pipelined as far as the plan says.
mod answers;
mod prepare;
mod requests;
#[cfg(test)]
mod tests;

use super::{Ended, Shard, Supply, Ticket, Why, deadline::Deadline};
use crate::record::Fault;
use answers::Answers;
use edge_io::{buf::Buf, stream::Stream};
pub(super) use prepare::Shared;
use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    rc::Rc,
    task::{Context, Poll},
};

/// Reads of one wake-up: after so many full ones other connections have their turn.
const TURNS: usize = 8;

/// Drives the connection until it ends.
pub async fn drive(shard: &Rc<Shard>, origin: usize, stream: &Stream) -> Ended {
    let mut driver = Driver::new(shard, origin, stream);
    let why = poll_fn(|cx| driver.poll(cx)).await;
    Ended { why, answered: driver.answered }
}

/// A request on its way.
struct Flight {
    ticket: Ticket,
    /// When its first byte was handed to the kernel; `None` before.
    sent_us: Option<u64>,
}

struct Driver<'a> {
    shard: &'a Rc<Shard>,
    origin: usize,
    stream: &'a Stream,
    /// Oldest first: in the order of their answers.
    flights: VecDeque<Flight>,
    /// How many of them, the last ones, are not wholly sent.
    unsent: usize,
    /// Bytes sent of the first of these.
    offset: usize,
    /// Bytes that were read and are not worked through: part of a head. Holds memory only while there are some.
    rest: Buf,
    answers: Answers,
    supply: Supply,
    answered: u64,
    /// The server takes no other request on it, be it sent or not.
    cut: bool,
    /// The socket takes nothing any more. What the server has said before may still be read.
    broken: bool,
    deadline: Deadline,
    timeout_us: u64,
    /// The time of this wake-up.
    now_us: u64,
    /// Bytes of this wake-up, in and out.
    moved: (usize, usize),
}

/// What one read came to.
enum Read {
    /// There is nothing to read now.
    Nothing,
    /// Bytes came, and were worked through at this time.
    Some(u64),
    /// The connection ends.
    End(Why),
}

impl<'a> Driver<'a> {
    fn new(shard: &'a Rc<Shard>, origin: usize, stream: &'a Stream) -> Driver<'a> {
        Driver {
            shard,
            origin,
            stream,
            flights: VecDeque::with_capacity(shard.plan.streams.min(64)),
            unsent: 0,
            offset: 0,
            rest: Buf::none(),
            answers: Answers::new(&shard.plan),
            supply: Supply::new(shard, origin),
            answered: 0,
            cut: false,
            broken: false,
            deadline: Deadline::new(shard.timer()),
            timeout_us: shard.plan.timeout.as_micros() as u64,
            now_us: 0,
            moved: (0, 0),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Why> {
        let poll = self.turn(cx);
        let (received, sent) = std::mem::take(&mut self.moved);
        if received | sent != 0 {
            self.shard.moved(received, sent, self.now_us);
        }
        poll
    }

    /// Everything that one wake-up brings.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Why> {
        if self.shard.is_over() {
            return Poll::Ready(self.over());
        }
        let mut now = 0;
        for turn in 0.. {
            match self.read(cx) {
                Read::Nothing => break,
                Read::Some(at) => now = at,
                Read::End(why) => return Poll::Ready(why),
            }
            if turn == TURNS {
                cx.waker().wake_by_ref();
                break;
            }
        }
        if now == 0 {
            now = self.shard.now();
        }
        self.now_us = now;
        if self.cut {
            return Poll::Ready(match self.flights.is_empty() {
                true => Why::Served,
                false => self.fail(Fault::Closed, Fault::Closed, now),
            });
        }
        self.take(cx, now);
        self.send(cx, now);
        if self.flights.is_empty() && self.supply.is_over() {
            return Poll::Ready(Why::Served);
        }
        self.look_at_time(cx, now)
    }

    /// One read, and all whole answers in it.
    fn read(&mut self, cx: &mut Context<'_>) -> Read {
        loop {
            if self.stream.poll_readable(cx).is_pending() {
                return Read::Nothing;
            }
            let received = if self.rest.is_empty() { self.read_scratch() } else { self.read_rest() };
            match received {
                Ok(Some(now)) => return Read::Some(now),
                Ok(None) => return Read::End(self.end_of_input(self.shard.now())),
                Err(Broken::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(Broken::Io(e)) => return Read::End(self.broke(&e, self.shard.now())),
                Err(Broken::Answer(fault)) => return Read::End(self.fail(fault, Fault::Closed, self.shard.now())),
            }
        }
    }

    /// Reads into the shard's buffer, which no connection keeps. Answers when; `None`: the end of input.
    fn read_scratch(&mut self) -> Result<Option<u64>, Broken> {
        let mut scratch = self.shard.h1.scratch.borrow_mut();
        let n = self.stream.try_recv(&mut scratch)?;
        if n == 0 {
            return Ok(None);
        }
        self.moved.0 += n;
        let now = self.shard.now();
        let input = scratch.get(..n).unwrap_or(&[]);
        let used = self.digest(input, now)?;
        let left = input.get(used..).unwrap_or(&[]);
        if !left.is_empty() {
            if !self.rest.reserve(left.len()) {
                return Err(Broken::Answer(Fault::Protocol));
            }
            if let Some(room) = self.rest.spare().get_mut(..left.len()) {
                room.copy_from_slice(left);
            }
            self.rest.advance(left.len());
        }
        Ok(Some(now))
    }

    /// Reads behind what is there already.
    fn read_rest(&mut self) -> Result<Option<u64>, Broken> {
        let mut rest = std::mem::replace(&mut self.rest, Buf::none());
        if !rest.make_room() {
            return Err(Broken::Answer(Fault::Protocol));
        }
        let n = match self.stream.try_recv(rest.spare()) {
            Ok(0) => return Ok(None),
            Ok(n) => n,
            Err(e) => {
                self.rest = rest;
                return Err(e.into());
            }
        };
        rest.advance(n);
        self.moved.0 += n;
        let now = self.shard.now();
        let used = self.digest(rest.filled(), now)?;
        rest.consume(used);
        if !rest.is_empty() {
            self.rest = rest;
        }
        Ok(Some(now))
    }

    /// The peer sends nothing any more.
    fn end_of_input(&mut self, now: u64) -> Why {
        if self.flights.is_empty() {
            return Why::ByPeer;
        }
        if self.end_by_close(now) {
            // The answer was one that lasts until the connection is closed.
            return if self.flights.is_empty() { Why::Served } else { self.fail(Fault::Closed, Fault::Closed, now) };
        }
        let begun = self.answers.has_begun() || !self.rest.is_empty();
        self.fail(if begun { Fault::Truncated } else { Fault::Closed }, Fault::Closed, now)
    }

    fn broke(&mut self, e: &io::Error, now: u64) -> Why {
        let begun = self.answers.has_begun() || !self.rest.is_empty();
        match e.kind() {
            io::ErrorKind::UnexpectedEof if self.flights.is_empty() => Why::ByPeer,
            // TLS that ends without saying so: nothing is whole that is not delimited otherwise (RFC 8446, section 6.1).
            io::ErrorKind::UnexpectedEof if begun => self.fail(Fault::Truncated, Fault::Closed, now),
            io::ErrorKind::UnexpectedEof => self.fail(Fault::Closed, Fault::Closed, now),
            io::ErrorKind::InvalidData => self.fail(Fault::Protocol, Fault::Closed, now),
            _ => self.fail(Fault::Reset, Fault::Reset, now),
        }
    }

    /// Everything in flight failed: the oldest by `first`, those behind it by `others`.
    fn fail(&mut self, first: Fault, others: Fault, now: u64) -> Why {
        if self.flights.is_empty() {
            self.shard.failed(first, None, now);
        }
        for (i, flight) in self.flights.drain(..).enumerate() {
            self.shard.failed(if i == 0 { first } else { others }, Some(flight.ticket), now);
        }
        Why::Failed(first)
    }

    fn over(&mut self) -> Why {
        let now = self.shard.now();
        for flight in self.flights.drain(..) {
            self.shard.unanswered(flight.ticket, now);
        }
        Why::Over
    }

    /// Requests are answered in their order: when the oldest has taken too long, the connection is of no use to the others.
    fn look_at_time(&mut self, cx: &mut Context<'_>, now: u64) -> Poll<Why> {
        if self.deadline.has_passed(cx, || now)
            && let Some(oldest) = self.flights.front()
        {
            let due = self.due(&oldest.ticket);
            if due <= now {
                return Poll::Ready(self.timed_out(now));
            }
            self.deadline.by(due, now);
        }
        Poll::Pending
    }

    /// When a request has taken too long.
    #[inline]
    fn due(&self, ticket: &Ticket) -> u64 {
        ticket.intended_us.saturating_add(self.timeout_us)
    }

    /// The connection is left. Who had time yet was cut off: it did not wait as long as a timeout says.
    fn timed_out(&mut self, now: u64) -> Why {
        while let Some(flight) = self.flights.pop_front() {
            let fault = if self.due(&flight.ticket) <= now { Fault::Timeout } else { Fault::Closed };
            self.shard.failed(fault, Some(flight.ticket), now);
        }
        Why::Failed(Fault::Timeout)
    }
}

/// Why a read was the last one.
enum Broken {
    Io(io::Error),
    Answer(Fault),
}

impl From<io::Error> for Broken {
    fn from(e: io::Error) -> Broken {
        Broken::Io(e)
    }
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Broken {
        Broken::Answer(fault)
    }
}
