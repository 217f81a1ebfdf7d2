//! Requests as they are on the wire, made once for a shard, and what their last answers' heads meant.
use crate::plan::{Origin, Plan, Request};
use bytes::Bytes;
use edge_io::{
    buf,
    head::{Head, Method},
    http1::{Framing, HeadParser, Limits, Reject, ResponseSemantics, response_semantics},
};
use std::{cell::RefCell, io::Write};

/// Bodies up to this many bytes are copied behind their head: one piece is cheaper to send than two.
const JOIN_MAX: usize = 16 * 1024;
/// Longest head that is remembered, bytes; longer ones are parsed each time.
const KNOWN_MAX: usize = 4096;

/// What HTTP/1.1 connections of one shard share.
pub(in crate::client) struct Shared {
    origins: Vec<Vec<Prepared>>,
    /// Where all of them read: it stays in the cache, and what was not worked through is moved to the connection.
    pub(super) scratch: RefCell<Box<[u8]>>,
}

impl Shared {
    pub fn new(plan: &Plan) -> Shared {
        let prepare = |origin: &Origin| origin.requests.iter().map(|request| Prepared::new(origin, request)).collect();
        let scratch = vec![0; buf::LARGE].into_boxed_slice();
        Shared { origins: plan.origins.iter().map(prepare).collect(), scratch: RefCell::new(scratch) }
    }

    /// The requests of an origin.
    pub(super) fn requests(&self, origin: usize) -> &[Prepared] {
        self.origins.get(origin).map_or(&[], Vec::as_slice)
    }
}

/// One request.
pub(super) struct Prepared {
    method: Method,
    /// The head, with a small body behind it.
    head: Box<[u8]>,
    /// A large body.
    body: Bytes,
    known: RefCell<Known>,
}

/// The head of the last answer and what it meant. Servers send the same head again and again, within a second even the
/// same date: to compare it is a tenth of parsing it, and equal bytes mean the same.
#[derive(Default)]
struct Known {
    bytes: Vec<u8>,
    meaning: Option<Meaning>,
}

/// What of an answer's head matters here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meaning {
    pub status: u16,
    pub framing: Framing,
    pub keep_alive: bool,
}

impl Prepared {
    fn new(origin: &Origin, request: &Request) -> Prepared {
        let mut head = Vec::with_capacity(512);
        let text = |head: &mut Vec<u8>, parts: &[&[u8]]| parts.iter().for_each(|part| head.extend_from_slice(part));
        text(&mut head, &[request.method.as_bytes(), b" ", request.target.as_bytes(), b" HTTP/1.1\r\n"]);
        text(&mut head, &[b"host: ", origin.authority.as_bytes(), b"\r\n"]);
        for (name, value) in &request.fields {
            text(&mut head, &[name.as_bytes(), b": ", value, b"\r\n"]);
        }
        let method = Method::of(request.method.as_bytes());
        if let Some(length) = request.content_length() {
            let _ = write!(head, "content-length: {length}\r\n");
        }
        head.extend_from_slice(b"\r\n");
        let mut body = request.body.clone();
        if body.len() <= JOIN_MAX {
            head.extend_from_slice(&body);
            body = Bytes::new();
        }
        Prepared { method, head: head.into(), body, known: RefCell::default() }
    }

    /// Bytes of the whole request.
    #[inline]
    pub fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// What is left after `offset` bytes: of the head, of the body.
    #[inline]
    pub fn parts(&self, offset: usize) -> (&[u8], &[u8]) {
        let head = self.head.get(offset..).unwrap_or(&[]);
        let body = self.body.get(offset.saturating_sub(self.head.len())..).unwrap_or(&[]);
        (head, body)
    }

    /// What a head means that begins with the same bytes as the last one, and how long it is.
    #[inline]
    pub fn recognize(&self, input: &[u8]) -> Option<(usize, Meaning)> {
        let known = self.known.borrow();
        let meaning = known.meaning?;
        input.starts_with(&known.bytes).then_some((known.bytes.len(), meaning))
    }

    /// Reads a head: its length and meaning, once it is complete. `None`: it is an interim one that was skipped.
    pub fn understand(
        &self,
        parser: &mut HeadParser,
        head: &mut Head,
        limits: &Limits,
        input: &[u8],
    ) -> Result<Option<(usize, Meaning)>, Reject> {
        let Some(length) = parser.parse(input, limits, head)? else { return Ok(None) };
        parser.reset();
        let ResponseSemantics { framing, keep_alive } = response_semantics(head, self.method, false)?;
        let meaning = Meaning { status: head.status(), framing, keep_alive };
        if let Some(bytes) = input.get(..length)
            && length <= KNOWN_MAX
            && meaning.status >= 200
        {
            let known = &mut *self.known.borrow_mut();
            known.bytes.clear();
            known.bytes.extend_from_slice(bytes);
            known.meaning = Some(meaning);
        }
        Ok(Some((length, meaning)))
    }
}
