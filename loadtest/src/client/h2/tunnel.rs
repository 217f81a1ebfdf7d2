//! One stream that carries one long exchange: a WebSocket by extended CONNECT (RFC 8441), or an event stream.
use super::wire::Wire;
use crate::{
    client::{Ended, Shard, Ticket, Why, pipe::Read, sse, talk::Talk, ws},
    plan::{Exchange, Origin, Request},
    record::Fault,
};
use edge_io::{
    head::{FieldId, FieldRef},
    http2::{ErrorCode, Event, RequestHead},
    stream::Stream,
    timer::Timer,
};
use std::{
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
};

/// Reads and what they lead to, before other connections have their turn.
const TURNS: usize = 4;

/// Drives a connection with one such stream until either ends.
pub async fn drive(shard: &Rc<Shard>, origin: usize, stream: &Stream) -> Ended {
    let nothing = Ended { why: Why::Served, answered: 0 };
    let plan = shard.plan.clone();
    let Some(of) = plan.origins.get(origin) else { return nothing };
    let Some(request) = of.requests.get(shard.request_of(origin)) else { return nothing };
    match plan.exchange {
        Exchange::WebSocket { size } => {
            let mut echo = ws::Echo::new(shard, origin, size, ws::secret());
            carry(shard, of, request, stream, &mut echo, true).await
        }
        _ => carry(shard, of, request, stream, &mut sse::Events::new(shard), false).await,
    }
}

async fn carry(
    shard: &Rc<Shard>,
    origin: &Origin,
    request: &Request,
    stream: &Stream,
    talk: &mut dyn Talk,
    websocket: bool,
) -> Ended {
    let timer = shard.timer();
    timer.set(shard.plan.timeout);
    let wire = Wire::new(stream, 1, shard.now());
    let mut driver = Driver { shard, origin, request, websocket, talk, wire, timer, stream: 0, granted: false };
    let why = poll_fn(|cx| driver.poll(cx)).await;
    if driver.granted {
        driver.say(true);
    }
    driver.wire.leave();
    Ended { why, answered: driver.talk.answered() }
}

struct Driver<'a> {
    shard: &'a Rc<Shard>,
    origin: &'a Origin,
    request: &'a Request,
    /// Or else an event stream.
    websocket: bool,
    talk: &'a mut dyn Talk,
    wire: Wire<'a>,
    /// Until it is granted.
    timer: Timer,
    /// The one stream; 0 until it is asked for.
    stream: u32,
    granted: bool,
}

impl Driver<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Why> {
        for _ in 0..TURNS {
            match self.turn(cx) {
                Ok(true) => {}
                Ok(false) if !self.granted && self.timer.poll_fired(cx).is_ready() => {
                    return Poll::Ready(self.cut(Some(Fault::Timeout)));
                }
                Ok(false) => return Poll::Pending,
                Err(why) => return Poll::Ready(why),
            }
        }
        if !self.granted && self.timer.poll_fired(cx).is_ready() {
            return Poll::Ready(self.cut(Some(Fault::Timeout)));
        }
        cx.waker().wake_by_ref(); // others first
        Poll::Pending
    }

    /// One read, all that it brought, all that is due, one write. Whether there may be more to read.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<bool, Why> {
        let read = self.wire.pipe.read(cx).map_err(|fault| self.cut(Some(fault)))?;
        match read {
            Read::Nothing => {}
            Read::Some => {
                let now_us = self.shard.now();
                self.receive(now_us)?;
                self.wire.pipe.count(self.shard, now_us);
            }
            Read::End => return Err(self.cut(Some(Fault::Closed))),
        }
        if self.granted {
            let room = self.talk.out().is_empty() && !self.wire.pipe.is_blocked();
            if let Poll::Ready(why) = self.talk.poll(cx, room) {
                return Err(why);
            }
        } else if self.shard.is_over() {
            return Err(Why::Over);
        }
        loop {
            self.say(false);
            if !self.wire.write(cx).map_err(|fault| self.cut(Some(fault)))? {
                return Ok(read == Read::Some);
            }
        }
    }

    /// Hands over what the exchange has to say, as far as windows let it; `end`: it says nothing more.
    fn say(&mut self, end: bool) {
        while self.wire.engine.next_writable().is_some() {}
        let out = self.talk.out();
        if self.granted
            && (end || !out.is_empty())
            && let Ok(n) = self.wire.engine.send_data(self.stream, out, end)
        {
            out.drain(..n);
        }
    }

    fn receive(&mut self, now_us: u64) -> Result<(), Why> {
        loop {
            let (n, event) = self.wire.next(now_us).map_err(|fault| self.cut(Some(fault)))?;
            let Some(event) = event else {
                self.wire.pipe.input.consume(n);
                return Ok(());
            };
            self.on_event(event, now_us)?;
            self.wire.pipe.input.consume(n);
        }
    }

    fn on_event(&mut self, event: Event, now_us: u64) -> Result<(), Why> {
        match event {
            Event::Settings if self.stream == 0 => self.ask(),
            Event::Head { end, .. } if self.wire.head.status() >= 200 => self.on_head(end),
            Event::Data { stream, range, end } if self.granted => {
                let n = range.len();
                self.talk.receive(self.wire.pipe.input.filled().get(range).unwrap_or_default(), now_us)?;
                self.wire.engine.consumed(stream, n);
                if end { Err(self.cut(None)) } else { Ok(()) }
            }
            Event::Trailers { .. } => Err(self.cut(None)),
            Event::Reset { unprocessed: true, .. } => Err(self.cut(Some(Fault::Refused))),
            Event::Reset { by_peer: true, code, .. } if code != ErrorCode::NO_ERROR => {
                Err(self.cut(Some(Fault::StreamReset)))
            }
            Event::Reset { by_peer: true, .. } => Err(self.cut(None)),
            Event::Reset { .. } => Err(self.cut(Some(Fault::Protocol))),
            // What was taken goes on; without a stream there is nothing to wait for.
            Event::GoAway { .. } if self.stream == 0 => Err(self.cut(Some(Fault::Refused))),
            _ => Ok(()),
        }
    }

    /// The server's settings are here: whether it knows such exchanges, they say.
    fn ask(&mut self) -> Result<(), Why> {
        if self.websocket && !self.wire.engine.peer_allows_connect_protocol() {
            return Err(self.cut(Some(Fault::Upgrade)));
        }
        let head = RequestHead {
            method: if self.websocket { b"CONNECT" } else { b"GET" },
            scheme: if self.origin.secure { b"https" } else { b"http" },
            authority: self.origin.authority.as_bytes(),
            path: self.request.target.as_bytes(),
            protocol: self.websocket.then_some(b"websocket"),
        };
        let ours: (&[u8], &[u8]) =
            if self.websocket { (b"sec-websocket-version", b"13") } else { (b"accept", b"text/event-stream") };
        let theirs = self.request.fields.iter().map(|(name, value)| (name.as_bytes(), &value[..]));
        let fields = std::iter::once(ours).chain(theirs.filter(|(name, _)| *name != ours.0));
        let fields = fields.map(|(name, value)| FieldRef { id: FieldId::of(name), name, value });
        match self.wire.engine.send_request(&head, fields, !self.websocket) {
            Ok(stream) => {
                self.stream = stream;
                self.shard.sent(&Ticket { request: 0, intended_us: self.shard.now() });
                Ok(())
            }
            Err(_) => Err(self.cut(Some(Fault::Refused))),
        }
    }

    fn on_head(&mut self, end: bool) -> Result<(), Why> {
        let head = &self.wire.head;
        let good = if self.websocket { (200..300).contains(&head.status()) } else { sse::is_stream(head) };
        if !good || (end && self.websocket) {
            return Err(self.cut(Some(Fault::Upgrade)));
        }
        self.granted = true;
        self.timer.clear();
        if end { Err(self.cut(None)) } else { Ok(()) }
    }

    /// The stream is at its end.
    fn cut(&mut self, fault: Option<Fault>) -> Why {
        let now_us = self.shard.now();
        self.wire.pipe.count(self.shard, now_us);
        if self.granted {
            return self.talk.cut(fault, now_us);
        }
        let fault = fault.unwrap_or(Fault::Closed);
        self.shard.failed(fault, None, now_us);
        Why::Failed(fault)
    }
}
