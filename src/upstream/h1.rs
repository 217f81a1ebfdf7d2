//! The client's side of an HTTP/1.1 connection to an endpoint: body source and sink, and the request's head.
use super::Request;
use crate::{
    message::{BodySink, BodySize, BodySource, Fault, Fill, Side},
    proto::{
        h1::{Framing, Reader, Writer},
        hop,
    },
};
use edge_io::{
    head::{FieldId, Head},
    http1::{self, Limits},
    stream::Stream,
};
use std::task::{Context, Poll};

/// What talking to an endpoint needs: leased from the shard for one request.
pub struct Lease {
    /// The answer, as it comes.
    pub reader: Reader,
    /// The request, as it goes.
    pub writer: Writer,
    /// The answer's head.
    pub head: Head,
}

impl Default for Lease {
    fn default() -> Self {
        Lease::new()
    }
}

impl Lease {
    /// A new one; shards keep used ones.
    pub fn new() -> Lease {
        Lease { reader: Reader::new(Side::Upstream), writer: Writer::new(Side::Upstream), head: Head::new() }
    }

    /// Ready for another connection.
    pub fn reset(&mut self) {
        self.reader.reset();
        self.writer.reset();
    }
}

/// Limits on what an endpoint sends: as for clients, with room for the cookies of large applications.
pub const RESPONSE_LIMITS: Limits = Limits {
    line_bytes: 16 * 1024,
    head_bytes: 64 * 1024 - 1,
    fields: 200,
    chunk_line_bytes: 256,
    trailer_bytes: 16 * 1024,
};

/// Writes the request's head for this hop, and says how its body is framed.
pub fn write_request_head(out: &mut Vec<u8>, head: &Head, request: &Request<'_>, authority: &str) -> Framing {
    http1::write_request_line(out, head.method_bytes(), request.target);
    let host = if request.host.is_empty() { authority.as_bytes() } else { request.host };
    http1::write_valid_field(out, b"Host", host);
    hop::write_request_fields(head, out);
    out.extend_from_slice(request.our_fields);
    if request.websocket {
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
    } else if request.te_trailers {
        out.extend_from_slice(b"te: trailers\r\nconnection: te\r\n");
    }
    if request.expects_continue {
        out.extend_from_slice(b"expect: 100-continue\r\n");
    }
    let framing = match request.body {
        BodySize::Empty if head.has(FieldId::ContentLength) => {
            http1::write_content_length(out, 0);
            Framing::None
        }
        BodySize::Empty => Framing::None,
        BodySize::Exact(n) => {
            http1::write_content_length(out, n);
            Framing::Length(n)
        }
        BodySize::Unknown => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            Framing::Chunked
        }
    };
    out.extend_from_slice(b"\r\n");
    framing
}

/// How long an answer's body is, from its framing.
pub fn body_size(framing: http1::Framing) -> BodySize {
    match framing {
        http1::Framing::None | http1::Framing::Length(0) => BodySize::Empty,
        http1::Framing::Length(n) => BodySize::Exact(n),
        _ => BodySize::Unknown,
    }
}

/// The answer's body as it comes.
pub struct ResponseBody<'a> {
    /// The connection.
    pub stream: &'a Stream,
    /// Its reading half.
    pub reader: &'a mut Reader,
}

impl BodySource for ResponseBody<'_> {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, Fault>> {
        self.reader.poll_fill(cx, self.stream, &RESPONSE_LIMITS)
    }

    fn data(&self) -> &[u8] {
        self.reader.data()
    }

    fn consume(&mut self, n: usize) {
        self.reader.consume(n);
    }

    fn trailers(&self) -> &Head {
        self.reader.trailers()
    }

    fn upgrade(&mut self) {
        self.reader.begin_body(http1::Framing::Tunnel);
    }
}

/// The request's body as it goes.
pub struct RequestSink<'a> {
    /// The connection.
    pub stream: &'a Stream,
    /// Its writing half.
    pub writer: &'a mut Writer,
}

impl BodySink for RequestSink<'_> {
    fn poll_push(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Fault>> {
        self.writer.poll_push(cx, self.stream, data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>, trailers: &Head) -> Poll<Result<(), Fault>> {
        self.writer.poll_finish(cx, self.stream, Some(trailers))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.writer.poll_flush(cx, self.stream)
    }
}
