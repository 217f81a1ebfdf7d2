//! The sending side: takes what is due, and sends it in as few writes as possible.
use super::{Driver, Flight};
use std::{
    io::{self, IoSlice},
    task::Context,
};

/// Pieces of one write: two for each request of a long pipeline.
const PIECES: usize = 64;

impl Driver<'_> {
    /// Fills the free places with what is due.
    pub(super) fn take(&mut self, cx: &mut Context<'_>, now: u64) {
        while !self.broken && self.flights.len() < self.shard.plan.streams {
            let Some(ticket) = self.supply.take(cx, now) else { return };
            self.deadline.by(self.due(&ticket), now);
            self.flights.push_back(Flight { ticket, sent_us: None });
            self.unsent += 1;
        }
        self.supply.give_up();
    }

    /// Sends as far as the socket takes it.
    pub(super) fn send(&mut self, cx: &mut Context<'_>, now: u64) {
        while self.unsent > 0 && !self.broken {
            match self.write() {
                Ok(n) => self.sent(n, now),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if self.stream.poll_writable(cx).is_pending() {
                        break;
                    }
                }
                // The reading side learns what it was, after what the server has still said.
                Err(_) => self.broken = true,
            }
        }
        if !self.stream.is_flushed() && matches!(self.stream.poll_flush(cx), std::task::Poll::Ready(Err(_))) {
            self.broken = true;
        }
    }

    /// One write of all that waits.
    fn write(&self) -> io::Result<usize> {
        let requests = self.shard.h1.requests(self.origin);
        let first = self.flights.len() - self.unsent;
        let mut offset = self.offset;
        let mut waiting = self.flights.iter().skip(first).filter_map(|f| requests.get(f.ticket.request)).map(|r| {
            let parts = r.parts(offset);
            offset = 0;
            parts
        });
        if self.unsent == 1 {
            let (head, body) = waiting.next().unwrap_or_default();
            return match (head.is_empty(), body.is_empty()) {
                (_, true) => self.stream.try_send(head),
                (true, false) => self.stream.try_send(body),
                _ => self.stream.try_sendv(&[IoSlice::new(head), IoSlice::new(body)]),
            };
        }
        let mut pieces = [IoSlice::new(&[]); PIECES];
        let mut n = 0;
        for (head, body) in waiting {
            for part in [head, body] {
                if !part.is_empty()
                    && let Some(piece) = pieces.get_mut(n)
                {
                    *piece = IoSlice::new(part);
                    n += 1;
                }
            }
            if n + 2 > PIECES {
                break;
            }
        }
        self.stream.try_sendv(pieces.get(..n).unwrap_or(&[]))
    }

    /// `n` more bytes are the kernel's.
    fn sent(&mut self, n: usize, now: u64) {
        self.moved.1 += n;
        self.offset += n;
        let requests = self.shard.h1.requests(self.origin);
        let first = self.flights.len() - self.unsent;
        for flight in self.flights.iter_mut().skip(first) {
            if self.offset == 0 {
                break;
            }
            if flight.sent_us.is_none() {
                flight.sent_us = Some(now);
                self.shard.sent(&flight.ticket);
            }
            let length = requests.get(flight.ticket.request).map_or(0, |r| r.len());
            if self.offset < length {
                break;
            }
            self.offset -= length;
            self.unsent -= 1;
        }
    }
}
