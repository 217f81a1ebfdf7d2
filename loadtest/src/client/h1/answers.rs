//! The receiving side: heads, bodies, and what they mean for the requests in flight.
use super::{Broken, Driver, prepare::Meaning};
use crate::{
    plan::Plan,
    record::{Done, Fault},
};
use edge_io::{
    head::Head,
    http1::{BodyDecoder, Framing, HeadParser, Limits},
};

/// Interim answers to one request before it counts as garbage.
const INTERIM_MAX: u32 = 16;

/// How far the oldest request's answer has come.
pub(super) struct Answers {
    parser: HeadParser,
    head: Head,
    limits: Limits,
    /// `Some` behind the head.
    body: Option<Body>,
    interim: u32,
    /// When the first byte of the head was seen, once it was.
    first_us: Option<u64>,
    body_max: u64,
    /// The body, where the plan expects something of it.
    kept: Option<Vec<u8>>,
}

struct Body {
    decoder: BodyDecoder,
    bytes: u64,
    status: u16,
    keep_alive: bool,
    until_close: bool,
}

impl Answers {
    pub fn new(plan: &Plan) -> Answers {
        Answers {
            parser: HeadParser::response(),
            head: Head::new(),
            limits: Limits::default(),
            body: None,
            interim: 0,
            first_us: None,
            body_max: plan.body_max,
            kept: plan.expect.body.is_some().then(Vec::new),
        }
    }

    /// Whether a byte of the oldest request's final answer was seen.
    pub fn has_begun(&self) -> bool {
        self.body.is_some() || self.first_us.is_some()
    }
}

impl Driver<'_> {
    /// Works through `input`; answers how many bytes are done with. The others are the beginning of a head.
    pub(super) fn digest(&mut self, input: &[u8], now: u64) -> Result<usize, Broken> {
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or(&[]);
            if self.answers.body.is_some() {
                let (used, done) = self.digest_body(rest)?;
                at += used;
                if !done {
                    return Ok(at);
                }
                self.answered(now);
                continue;
            }
            if rest.is_empty() {
                return Ok(at);
            }
            match self.digest_head(rest, now)? {
                Some(used) => at += used,
                None => return Ok(at),
            }
        }
    }

    /// `None`: the head is not complete.
    fn digest_head(&mut self, input: &[u8], now: u64) -> Result<Option<usize>, Broken> {
        // Bytes that nobody asked for, or that come behind the announced end.
        let Some(flight) = self.flights.front().filter(|f| f.sent_us.is_some()) else {
            return Err(Broken::Answer(Fault::Protocol));
        };
        let Some(request) = self.shard.h1.requests(self.origin).get(flight.ticket.request) else {
            return Err(Broken::Answer(Fault::Protocol));
        };
        let answers = &mut self.answers;
        let fresh = answers.first_us.is_none();
        answers.first_us.get_or_insert(now);
        let understood = match fresh.then(|| request.recognize(input)).flatten() {
            Some(known) => Some(known),
            None => request
                .understand(&mut answers.parser, &mut answers.head, &answers.limits, input)
                .map_err(|_| Broken::Answer(Fault::Protocol))?,
        };
        let Some((length, meaning)) = understood else { return Ok(None) };
        if meaning.status < 200 {
            answers.first_us = None;
            answers.interim += 1;
            if answers.interim > INTERIM_MAX {
                return Err(Broken::Answer(Fault::Protocol));
            }
            return Ok(Some(length));
        }
        self.begin_body(meaning)?;
        Ok(Some(length))
    }

    fn begin_body(&mut self, meaning: Meaning) -> Result<(), Broken> {
        let answers = &mut self.answers;
        if matches!(meaning.framing, Framing::Length(n) if n > answers.body_max) {
            return Err(Broken::Answer(Fault::TooLarge));
        }
        answers.body = Some(Body {
            decoder: BodyDecoder::new(meaning.framing),
            bytes: 0,
            status: meaning.status,
            keep_alive: meaning.keep_alive,
            until_close: meaning.framing == Framing::Close,
        });
        Ok(())
    }

    /// How many bytes are done with, and whether the body is at its end.
    fn digest_body(&mut self, input: &[u8]) -> Result<(usize, bool), Broken> {
        let Answers { body, limits, head, kept, body_max, .. } = &mut self.answers;
        let Some(body) = body else { return Ok((0, false)) };
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or(&[]);
            let step = body.decoder.decode(rest, limits, head).map_err(|_| Broken::Answer(Fault::Protocol))?;
            body.bytes += step.data.len() as u64;
            if body.bytes > *body_max {
                return Err(Broken::Answer(Fault::TooLarge));
            }
            if let Some(kept) = kept {
                kept.extend_from_slice(rest.get(step.data.clone()).unwrap_or(&[]));
            }
            at += step.consumed;
            if step.done || at >= input.len() {
                return Ok((at, step.done));
            }
        }
    }

    /// The peer closed: whether that ends an answer, as it should.
    pub(super) fn end_by_close(&mut self, now: u64) -> bool {
        let ends = self.answers.body.as_ref().is_some_and(|body| body.until_close);
        if ends {
            self.answered(now);
        }
        ends
    }

    /// The oldest request is answered.
    fn answered(&mut self, now: u64) {
        let answers = &mut self.answers;
        let (Some(body), Some(flight)) = (answers.body.take(), self.flights.pop_front()) else { return };
        let sent_us = flight.sent_us.unwrap_or(flight.ticket.intended_us);
        // An answer may come before its request has left whole. The rest of it is not sent then, and with that the
        // connection is of no use any more.
        let early = self.unsent > self.flights.len();
        let done = Done {
            intended_us: flight.ticket.intended_us,
            sent_us,
            first_us: answers.first_us.take().unwrap_or(now),
            end_us: now,
            status: body.status,
            body: body.bytes,
        };
        answers.interim = 0;
        self.shard.done(&done, answers.kept.as_deref());
        if let Some(kept) = &mut answers.kept {
            kept.clear();
        }
        self.answered += 1;
        self.cut |= early || !body.keep_alive;
    }
}
