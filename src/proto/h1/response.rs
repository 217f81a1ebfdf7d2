//! The way of an answer on an HTTP/1.1 connection: informational heads, the final one, its body.
use super::{
    share::ListenerShare,
    writer::{Framing, Writer, write_fields},
};
use crate::{
    message::{BodySink, BodySize, Category, Deadlines, Fault, Phase, ResponseHead, ResponseSink, Side},
    proto::{
        hop,
        websocket::{self, Frames, GOING_AWAY},
    },
};
use edge_io::{
    head::{FieldRef, Head, Version},
    http1,
    stream::Stream,
};
use std::{
    cell::Cell,
    task::{Context, Poll, ready},
    time::Duration,
};

/// How far the answer is, and what becomes of the connection after it.
#[derive(Clone, Copy)]
pub(super) struct State {
    pub(super) keep_alive: bool,
    /// The final status that was sent; 0 before.
    pub(super) status: u16,
    pub(super) head_request: bool,
    /// Frames of an upgraded connection, towards the client.
    pub(super) frames: Frames,
}

/// The way of the answer.
pub struct Response<'a> {
    pub(super) stream: &'a Stream,
    pub(super) writer: &'a mut Writer,
    pub(super) deadlines: &'a Deadlines,
    pub(super) write_timeout: Duration,
    pub(super) share: &'a ListenerShare,
    pub(super) closing: &'a Cell<bool>,
    pub(super) request: &'a Head,
    pub(super) expect_continue: bool,
    pub(super) te_trailers: bool,
    pub(super) state: &'a mut State,
}

impl Response<'_> {
    /// Keeps the write deadline while the socket takes no more.
    fn watch<T>(&mut self, before: u64, result: Poll<T>) -> Poll<T> {
        if self.writer.blocked {
            let moved = self.writer.progress_mark(self.stream) != before;
            if moved || !self.deadlines.is_set(Phase::ClientWrite) {
                self.deadlines.set(Phase::ClientWrite, self.write_timeout);
            }
        } else if self.deadlines.is_set(Phase::ClientWrite) {
            self.deadlines.clear(Phase::ClientWrite);
        }
        result
    }

    /// How the answer is delimited for this client (RFC 9112 6.3).
    fn frame(&mut self, size: BodySize, status: u16) -> Framing {
        if status == 101 {
            return Framing::Tunnel;
        }
        if self.state.head_request || matches!(status, 204 | 304) {
            return Framing::None;
        }
        match size {
            BodySize::Empty => Framing::Length(0),
            BodySize::Exact(n) => Framing::Length(n),
            BodySize::Unknown if self.request.version() == Version::Http10 => {
                self.state.keep_alive = false;
                Framing::Close
            }
            BodySize::Unknown => Framing::Chunked,
        }
    }
}

/// An endpoint that speaks HTTP/2 has no word for the handshake's proof (RFC 8441 5): the edge gives it.
fn accept_handshake(request: &Head, answer: Option<&Head>, out: &mut Vec<u8>) {
    let given = answer.is_some_and(|a| a.get_name(b"sec-websocket-accept").is_some());
    if let (false, Some(key)) = (given, request.get_name(b"sec-websocket-key")) {
        http1::write_valid_field(out, b"sec-websocket-accept", websocket::accept(key).as_bytes());
    }
}

impl BodySink for Response<'_> {
    fn poll_push(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Fault>> {
        let before = self.writer.progress_mark(self.stream);
        let result = self.writer.poll_push(cx, self.stream, data);
        if let (Framing::Tunnel, Poll::Ready(Ok(n))) = (self.writer.framing(), &result) {
            self.state.frames.feed(&data[..*n]);
        }
        self.watch(before, result)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>, trailers: &Head) -> Poll<Result<(), Fault>> {
        let before = self.writer.progress_mark(self.stream);
        let result = self.writer.poll_finish(cx, self.stream, self.te_trailers.then_some(trailers));
        self.watch(before, result)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let before = self.writer.progress_mark(self.stream);
        let result = self.writer.poll_flush(cx, self.stream);
        self.watch(before, result)
    }
}

impl ResponseSink for Response<'_> {
    fn inform(&mut self, status: u16, fields: &mut dyn Iterator<Item = FieldRef<'_>>) {
        let wanted = if status == 100 { self.expect_continue } else { self.share.early_hints.get() };
        if !wanted || self.state.status != 0 || self.request.version() == Version::Http10 {
            return;
        }
        let out = &mut self.writer.out;
        http1::write_status_line(out, status, http1::reason_phrase(status).as_bytes());
        write_fields(out, fields);
        out.extend_from_slice(b"\r\n");
    }

    fn start(&mut self, head: ResponseHead<'_>) {
        if self.closing.get() {
            self.state.keep_alive = false; // the drain began while the request was under way
        }
        let framing = self.frame(head.size, head.status);
        self.state.status = head.status;
        self.state.keep_alive &= !self.share.closing.get();
        self.writer.begin(framing);
        let out = &mut self.writer.out;
        let reason = if head.reason.is_empty() { http1::reason_phrase(head.status).as_bytes() } else { head.reason };
        http1::write_status_line(out, head.status, reason);
        if let Some(fields) = head.fields {
            hop::write_response_fields(fields, out);
        }
        if let Some(date) = head.date {
            http1::write_valid_field(out, b"date", date);
        }
        for (name, value) in head.extra {
            http1::write_valid_field(out, name, value);
        }
        match framing {
            Framing::Length(n) => http1::write_content_length(out, n),
            Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Framing::None if head.status != 204 => {
                if let Some(n) = head.shown_length {
                    http1::write_content_length(out, n);
                }
            }
            _ => {}
        }
        if framing == Framing::Tunnel {
            self.state.keep_alive = false;
            out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
            accept_handshake(self.request, head.fields, out);
        } else if !self.state.keep_alive {
            out.extend_from_slice(b"connection: close\r\n");
        } else if self.request.version() == Version::Http10 {
            out.extend_from_slice(b"connection: keep-alive\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }

    fn started(&self) -> bool {
        self.state.status != 0
    }

    fn close_after(&mut self) {
        self.state.keep_alive = false;
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        // Registers for the next event; bytes that wait (pipelined requests) are left alone.
        let readable = self.stream.poll_readable(cx);
        if !self.stream.is_closed() {
            return Poll::Pending;
        }
        ready!(readable);
        match self.stream.at_end() {
            true => {
                Poll::Ready(Fault::new(Category::ClientAbort, Side::Downstream, "the client closed the connection"))
            }
            false => Poll::Pending,
        }
    }

    fn is_stream(&self) -> bool {
        false
    }

    fn is_whole(&self) -> bool {
        let complete = matches!(self.writer.framing(), Framing::Length(0) | Framing::None);
        self.state.status != 0 && complete && self.writer.is_flushed() && self.stream.is_flushed()
    }

    fn say_goodbye(&mut self) {
        if self.writer.framing() == Framing::Tunnel && self.state.frames.at_boundary() {
            self.writer.out.extend_from_slice(&GOING_AWAY);
        }
    }

    fn has_body(&self) -> bool {
        !matches!(self.writer.framing(), Framing::None | Framing::Length(0))
    }
}
