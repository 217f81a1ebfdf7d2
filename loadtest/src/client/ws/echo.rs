//! Messages out, echoes back: a WebSocket that is open, without I/O.
use super::frame::{self, Broken, Opcode, Piece, Reader};
use crate::{
    client::{Shard, Supply, Ticket, Why, deadline::Deadline, talk::Talk},
    random::Random,
    record::{Done, Fault},
};
use std::{
    collections::VecDeque,
    rc::Rc,
    task::{Context, Poll},
};

/// Every message is a stretch of the same random bytes, and begins at one of so many places, so that two in a row differ.
const STARTS: usize = 256;
/// Unsent answers to pings and the like, bytes; a server that asks more and does not read is no WebSocket's.
const REPLIES_MAX: usize = 64 * 1024;

/// Codes of close frames (RFC 6455, section 7.4.1).
mod code {
    pub const NORMAL: u16 = 1000;
    pub const GOING_AWAY: u16 = 1001;
    pub const PROTOCOL_ERROR: u16 = 1002;
    pub const UNSUPPORTED: u16 = 1003;
    pub const INVALID: u16 = 1007;
    pub const TOO_LARGE: u16 = 1009;
}

/// A message whose echo is awaited.
struct Flight {
    ticket: Ticket,
    sent_us: u64,
    /// When the echo's first byte came; 0 until it does.
    first_us: u64,
    /// Where in `bytes` it begins.
    start: usize,
    /// Its time was over and it was counted; the echo may come yet, and is then nothing.
    late: bool,
}

/// One open WebSocket.
pub struct Echo {
    shard: Rc<Shard>,
    size: usize,
    /// Messages at once.
    places: usize,
    supply: Supply,
    bytes: Vec<u8>,
    random: Random,
    reader: Reader,
    in_flight: VecDeque<Flight>,
    /// Bytes of the echo that is coming, and whether they are what was sent.
    come: usize,
    same: bool,
    answered: u64,
    out: Vec<u8>,
    deadline: Deadline,
    timeout_us: u64,
}

impl Echo {
    /// Messages of `size` bytes. `secret`: what the peer cannot know, for masks.
    pub fn new(shard: &Rc<Shard>, origin: usize, size: usize, secret: u64) -> Echo {
        let mut random = Random::new(secret);
        let bytes = std::iter::repeat_with(|| random.word() as u8).take(size + STARTS).collect();
        let plan = &shard.plan;
        Echo {
            shard: shard.clone(),
            size,
            places: plan.streams.max(1),
            supply: Supply::new(shard, origin),
            bytes,
            random,
            reader: Reader::default(),
            in_flight: VecDeque::new(),
            come: 0,
            same: true,
            answered: 0,
            out: Vec::new(),
            deadline: Deadline::new(shard.timer()),
            timeout_us: plan.timeout.as_micros() as u64,
        }
    }

    /// Sends what is due, as far as there are places.
    fn fill(&mut self, cx: &mut Context<'_>) {
        let mut now_us = 0;
        while self.in_flight.len() < self.places {
            if now_us == 0 {
                now_us = self.shard.now();
            }
            let Some(ticket) = self.supply.take(cx, now_us) else { return };
            self.send(ticket, now_us);
        }
        self.supply.give_up();
    }

    fn send(&mut self, ticket: Ticket, now_us: u64) {
        let (start, mask) = (self.random.below(STARTS), self.mask());
        let message = self.bytes.get(start..start + self.size).unwrap_or_default();
        frame::write(&mut self.out, Opcode::Binary, message, mask);
        self.in_flight.push_back(Flight { ticket, sent_us: now_us, first_us: 0, start, late: false });
        self.shard.sent(&ticket);
        self.deadline.by(ticket.intended_us.saturating_add(self.timeout_us), now_us);
    }

    fn mask(&mut self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.random.word().to_le_bytes();
        [a, b, c, d]
    }

    /// Compares a piece of an echo with what was sent.
    fn on_data(&mut self, kind: Opcode, bytes: &[u8], end: bool, now_us: u64) -> Result<(), Fault> {
        let Some(flight) = self.in_flight.front_mut() else {
            return Err(Fault::Protocol); // nobody said anything
        };
        if flight.first_us == 0 {
            flight.first_us = now_us;
        }
        let sent = self.bytes.get(flight.start..flight.start + self.size).unwrap_or_default();
        let to = self.come.saturating_add(bytes.len());
        self.same &= kind == Opcode::Binary && sent.get(self.come..to) == Some(bytes);
        self.come = to;
        if to as u64 > self.shard.plan.body_max.max(self.size as u64) {
            return Err(Fault::TooLarge);
        }
        if end {
            self.on_echo(now_us);
        }
        Ok(())
    }

    fn on_echo(&mut self, now_us: u64) {
        let good = std::mem::replace(&mut self.same, true) && self.come == self.size;
        let body = std::mem::take(&mut self.come) as u64;
        let Some(flight) = self.in_flight.pop_front() else { return };
        if flight.late {
            return;
        }
        let done = Done {
            intended_us: flight.ticket.intended_us,
            sent_us: flight.sent_us,
            first_us: flight.first_us,
            end_us: now_us,
            status: 0,
            body,
        };
        self.answered += 1;
        if good {
            self.shard.done(&done, None);
        } else {
            self.shard.done_wrong(&done);
        }
    }

    /// The server closes: our answer goes out, and what is in flight will not be answered.
    fn on_close(&mut self, payload: &[u8], now_us: u64) -> Why {
        let fault = match payload {
            [] => Fault::Closed,
            [a, b, ..] => fault_of_close(u16::from_be_bytes([*a, *b])),
            _ => Fault::Protocol,
        };
        self.close(if fault == Fault::Protocol { code::PROTOCOL_ERROR } else { code::NORMAL });
        if fault == Fault::Closed && self.in_flight.is_empty() {
            return Why::ByPeer;
        }
        self.abandon(fault, now_us)
    }

    /// Queues a close frame.
    fn close(&mut self, code: u16) {
        let mask = self.mask();
        frame::write(&mut self.out, Opcode::Close, &code.to_be_bytes(), mask);
    }

    /// All that is in flight ends so.
    fn abandon(&mut self, fault: Fault, now_us: u64) -> Why {
        if self.in_flight.iter().all(|f| f.late) {
            self.shard.failed(fault, None, now_us);
        }
        for flight in self.in_flight.drain(..).filter(|f| !f.late) {
            let begun = fault == Fault::Closed && flight.first_us > 0;
            let fault = if begun { Fault::Truncated } else { fault };
            self.shard.failed(fault, Some(flight.ticket), now_us);
        }
        Why::Failed(fault)
    }

    /// Sees to deadlines. An echo that is late keeps its place for as long again: echoes are told apart by their order.
    fn expire(&mut self, now_us: u64) -> Option<Why> {
        let deadline = |f: &Flight| f.ticket.intended_us.saturating_add(self.timeout_us);
        let mut next = None::<u64>;
        for flight in &mut self.in_flight {
            let at = deadline(flight);
            if at <= now_us && !flight.late {
                flight.late = true;
                self.shard.failed(Fault::Timeout, Some(flight.ticket), now_us);
            }
            let at = if flight.late { at.saturating_add(self.timeout_us) } else { at };
            next = Some(next.map_or(at, |next| next.min(at)));
        }
        let next = next?;
        if next <= now_us {
            self.close(code::NORMAL);
            return Some(self.given_up(now_us));
        }
        self.deadline.by(next, now_us);
        None
    }

    /// A server that has answered nothing for so long is left. The others had time yet, and are cut off.
    fn given_up(&mut self, now_us: u64) -> Why {
        for flight in self.in_flight.drain(..).filter(|f| !f.late) {
            self.shard.failed(Fault::Closed, Some(flight.ticket), now_us);
        }
        Why::Failed(Fault::Timeout)
    }

    fn over(&mut self) -> Why {
        let now_us = self.shard.now();
        for flight in self.in_flight.drain(..).filter(|f| !f.late) {
            self.shard.unanswered(flight.ticket, now_us);
        }
        self.close(code::NORMAL);
        Why::Over
    }

    fn read(&mut self, reader: &mut Reader, mut bytes: &[u8], now_us: u64) -> Result<(), Why> {
        loop {
            match reader.next(&mut bytes) {
                Ok(None) => return Ok(()),
                Ok(Some(piece)) => self.on_piece(piece, now_us)?,
                Err(Broken(_)) => {
                    self.close(code::PROTOCOL_ERROR);
                    return Err(self.abandon(Fault::Protocol, now_us));
                }
            }
        }
    }

    fn on_piece(&mut self, piece: Piece<'_>, now_us: u64) -> Result<(), Why> {
        match piece {
            Piece::Data { kind, bytes, end } => self.on_data(kind, bytes, end, now_us).map_err(|fault| {
                self.close(if fault == Fault::TooLarge { code::TOO_LARGE } else { code::PROTOCOL_ERROR });
                self.abandon(fault, now_us)
            }),
            Piece::Control(Opcode::Ping, payload) if self.out.len() < REPLIES_MAX.max(self.size * self.places * 2) => {
                let mask = self.mask();
                frame::write(&mut self.out, Opcode::Pong, payload, mask);
                Ok(())
            }
            Piece::Control(Opcode::Ping, _) => Err(self.abandon(Fault::Protocol, now_us)),
            Piece::Control(Opcode::Close, payload) => Err(self.on_close(payload, now_us)),
            Piece::Control(..) => Ok(()),
        }
    }
}

impl Talk for Echo {
    fn poll(&mut self, cx: &mut Context<'_>, room: bool) -> Poll<Why> {
        if self.shard.is_over() {
            return Poll::Ready(self.over());
        }
        if self.deadline.has_passed(cx, || self.shard.now())
            && let Some(ended) = self.expire(self.shard.now())
        {
            return Poll::Ready(ended);
        }
        if room {
            self.fill(cx);
        } else {
            self.supply.give_up();
        }
        if self.in_flight.is_empty() && self.supply.is_over() {
            self.close(code::NORMAL);
            return Poll::Ready(Why::Served);
        }
        Poll::Pending
    }

    fn receive(&mut self, bytes: &[u8], now_us: u64) -> Result<(), Why> {
        let mut reader = std::mem::take(&mut self.reader);
        let read = self.read(&mut reader, bytes, now_us);
        self.reader = reader;
        read
    }

    fn answered(&self) -> u64 {
        self.answered
    }

    fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    fn cut(&mut self, fault: Option<Fault>, now_us: u64) -> Why {
        // RFC 6455, section 7.1.5: without a close frame it is no orderly end.
        self.abandon(fault.unwrap_or(Fault::Closed), now_us)
    }
}

/// What a server's reason to close is counted as.
fn fault_of_close(reason: u16) -> Fault {
    match reason {
        code::NORMAL | code::GOING_AWAY => Fault::Closed,
        code::PROTOCOL_ERROR | code::UNSUPPORTED | code::INVALID => Fault::Protocol,
        code::TOO_LARGE => Fault::TooLarge,
        // Those that may not stand in a frame (RFC 6455, section 7.4).
        0..=999 | 1004..=1006 | 1015..=2999 | 5000.. => Fault::Protocol,
        _ => Fault::Closed,
    }
}
