//! An HTTP/1.1 connection that carries one long exchange: asked for once, granted, and then its bytes alone.
use super::{
    Ended, Shard, Ticket, Why,
    pipe::{Pipe, Read},
    talk::Talk,
};
use crate::{
    plan::{Origin, Request},
    record::Fault,
};
use edge_io::{
    head::{Head, Method},
    http1::{BodyDecoder, Framing, HeadParser, Limits, response_semantics},
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
/// Interim answers before the final one.
const INTERIM_MAX: u32 = 16;

/// How an exchange is asked for.
pub trait Opening {
    /// Appends the request.
    fn write(&self, out: &mut Vec<u8>, origin: &Origin, request: &Request);

    /// Whether the answer grants it, and how what follows is framed.
    fn granted(&self, head: &Head) -> Option<Framing>;
}

/// Asks, and has `talk` speak until the connection ends.
pub async fn drive(
    shard: &Rc<Shard>,
    origin: usize,
    stream: &Stream,
    opening: &dyn Opening,
    talk: &mut dyn Talk,
) -> Ended {
    let nothing = Ended { why: Why::Served, answered: 0 };
    let plan = shard.plan.clone();
    let Some(of) = plan.origins.get(origin) else { return nothing };
    let Some(request) = of.requests.get(shard.request_of(origin)) else { return nothing };
    let mut out = Vec::new();
    opening.write(&mut out, of, request);
    // It counts as sent, and is not in flight: what is awaited is what it opens.
    shard.sent(&Ticket { request: 0, intended_us: shard.now() });
    let timer = shard.timer();
    timer.set(plan.timeout);
    let mut driver = Driver {
        shard,
        opening,
        talk,
        pipe: Pipe::new(stream),
        out,
        timer: Some(timer),
        parser: HeadParser::response(),
        head: Head::new(),
        interim: 0,
        body: None,
        limits: Limits::default(),
    };
    let why = poll_fn(|cx| driver.poll(cx)).await;
    driver.pipe.leave(driver.talk.out());
    Ended { why, answered: driver.talk.answered() }
}

struct Driver<'a> {
    shard: &'a Rc<Shard>,
    opening: &'a dyn Opening,
    talk: &'a mut dyn Talk,
    pipe: Pipe<'a>,
    /// The request.
    out: Vec<u8>,
    /// Until it is granted.
    timer: Option<Timer>,
    parser: HeadParser,
    head: Head,
    interim: u32,
    /// Once it is granted.
    body: Option<BodyDecoder>,
    limits: Limits,
}

impl Driver<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Why> {
        for _ in 0..TURNS {
            match self.turn(cx) {
                Ok(true) => {}
                Ok(false) => return self.poll_timer(cx),
                Err(ended) => return Poll::Ready(ended),
            }
        }
        cx.waker().wake_by_ref(); // others first
        Poll::Pending
    }

    /// One read, all that it brought, all that is due, one write. Whether there may be more to read.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<bool, Why> {
        let read = self.pipe.read(cx).map_err(|fault| self.cut(Some(fault)))?;
        match read {
            Read::Nothing => {}
            Read::Some => {
                let now_us = self.shard.now();
                self.receive(now_us)?;
                self.pipe.count(self.shard, now_us);
            }
            Read::End => return Err(self.at_end()),
        }
        if self.body.is_none() {
            if self.shard.is_over() {
                return Err(Why::Over);
            }
            self.pipe.send_all(cx, &mut self.out).map_err(|fault| self.failed(fault))?;
            return Ok(read == Read::Some);
        }
        let room = !self.pipe.is_blocked();
        if let Poll::Ready(ended) = self.talk.poll(cx, room) {
            return Err(ended);
        }
        self.pipe.send_all(cx, self.talk.out()).map_err(|fault| self.cut(Some(fault)))?;
        Ok(read == Read::Some)
    }

    fn receive(&mut self, now_us: u64) -> Result<(), Why> {
        while self.body.is_none() {
            if !self.read_head()? {
                return Ok(());
            }
        }
        loop {
            let Some(body) = &mut self.body else { return Ok(()) };
            let step = match body.decode(self.pipe.input.filled(), &self.limits, &mut self.head) {
                Ok(step) => step,
                Err(_) => return Err(self.cut(Some(Fault::Protocol))),
            };
            let data = self.pipe.input.filled().get(step.data.clone()).unwrap_or_default();
            if !data.is_empty() {
                self.talk.receive(data, now_us)?;
            }
            self.pipe.input.consume(step.consumed);
            if step.done {
                return Err(self.cut(None));
            }
            if step.consumed == 0 || self.pipe.input.is_empty() {
                return Ok(());
            }
        }
    }

    /// Whether a head was there; then it is granted, or another one follows.
    fn read_head(&mut self) -> Result<bool, Why> {
        let parsed = self.parser.parse(self.pipe.input.filled(), &self.limits, &mut self.head);
        let Ok(parsed) = parsed else { return Err(self.failed(Fault::Protocol)) };
        let Some(n) = parsed else { return Ok(false) };
        self.pipe.input.consume(n);
        self.parser.reset();
        if (100..200).contains(&self.head.status()) && self.head.status() != 101 {
            self.interim += 1;
            return if self.interim > INTERIM_MAX { Err(self.failed(Fault::Protocol)) } else { Ok(true) };
        }
        let Some(framing) = self.opening.granted(&self.head) else {
            return Err(self.failed(Fault::Upgrade));
        };
        self.body = Some(BodyDecoder::new(framing));
        self.timer = None;
        Ok(true)
    }

    fn at_end(&mut self) -> Why {
        match &self.body {
            // Answers without a length end with the connection; a WebSocket knows better.
            Some(body) if body.end_of_input().is_ok() => self.cut(None),
            Some(_) => self.cut(Some(Fault::Truncated)),
            None => self.failed(if self.pipe.input.is_empty() { Fault::Closed } else { Fault::Truncated }),
        }
    }

    fn cut(&mut self, fault: Option<Fault>) -> Why {
        let now_us = self.shard.now();
        self.pipe.count(self.shard, now_us);
        match fault {
            Some(fault) if self.body.is_none() => self.failed(fault),
            fault => self.talk.cut(fault, now_us),
        }
    }

    /// It was not granted.
    fn failed(&mut self, fault: Fault) -> Why {
        self.shard.failed(fault, None, self.shard.now());
        Why::Failed(fault)
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Why> {
        match &self.timer {
            Some(timer) if timer.poll_fired(cx).is_ready() => Poll::Ready(self.failed(Fault::Timeout)),
            _ => Poll::Pending,
        }
    }
}

/// The framing of an answer to a GET that is a body.
pub fn framing(head: &Head) -> Option<Framing> {
    response_semantics(head, Method::Get, false).ok().map(|s| s.framing)
}
