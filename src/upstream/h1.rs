//! The client's side of an HTTP/1.1 connection to an endpoint: body source and sink, and the request's head.
use super::Request;
use crate::{
    message::{BodySize, Category, Fault, Side},
    proto::{
        h1::{Framing, Reader, Writer},
        hop, websocket,
    },
};
use edge_io::{
    head::{FieldId, Head},
    http1::{self, Limits},
};

/// What talking to an endpoint needs: leased from the shard for one request.
pub struct Lease {
    /// The answer, as it comes.
    pub reader: Reader,
    /// The request, as it goes.
    pub writer: Writer,
    /// The answer's head.
    pub head: Box<Head>,
}

impl Default for Lease {
    fn default() -> Self {
        Lease::new()
    }
}

impl Lease {
    /// A new one; shards keep used ones.
    pub fn new() -> Lease {
        Lease { reader: Reader::new(Side::Upstream), writer: Writer::new(Side::Upstream), head: Box::default() }
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
    match request.websocket_key {
        // The edge speaks for itself in a handshake that the client's protocol does not have.
        Some(_) => hop::request_fields(head)
            .filter(|f| !websocket::is_handshake_field(f))
            .for_each(|f| http1::write_valid_field(out, f.name, f.value)),
        None => hop::write_request_fields(head, out),
    }
    out.extend_from_slice(request.our_fields);
    if request.websocket {
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
        if let Some(key) = &request.websocket_key {
            http1::write_valid_field(out, b"sec-websocket-key", key.as_bytes());
        }
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

/// An endpoint that switches protocols must have understood the handshake. Where the edge made the key, it looks; where
/// the client did, the client looks.
pub fn check_handshake(head: &Head, request: &Request<'_>) -> Result<(), Fault> {
    let Some(key) = &request.websocket_key else { return Ok(()) };
    let accept = head.get_name(b"sec-websocket-accept").unwrap_or_default();
    match accept == websocket::accept(key.as_bytes()).as_bytes() {
        true => Ok(()),
        false => Err(Fault::new(Category::UpstreamProtocol, Side::Upstream, "a wrong Sec-WebSocket-Accept")),
    }
}
