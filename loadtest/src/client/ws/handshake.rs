//! The opening handshake of a WebSocket over HTTP/1.1 (RFC 6455, section 4), the client's side.
use crate::{
    plan::{Origin, Request},
    websocket::accept,
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use edge_io::{
    head::{FieldId, Head, has_member},
    http1::{write_request_line, write_valid_field},
};

/// A `Sec-WebSocket-Key`.
pub fn key(random: [u8; 16]) -> String {
    BASE64.encode(random)
}

/// Fields of the handshake: the plan's are left out.
fn is_ours(name: &str) -> bool {
    matches!(name, "host" | "upgrade" | "connection" | "sec-websocket-key" | "sec-websocket-version")
}

/// Appends the request.
pub fn write(out: &mut Vec<u8>, origin: &Origin, request: &Request, key: &str) {
    write_request_line(out, b"GET", request.target.as_bytes());
    write_valid_field(out, b"host", origin.authority.as_bytes());
    write_valid_field(out, b"upgrade", b"websocket");
    write_valid_field(out, b"connection", b"Upgrade");
    write_valid_field(out, b"sec-websocket-key", key.as_bytes());
    write_valid_field(out, b"sec-websocket-version", b"13");
    for (name, value) in request.fields.iter().filter(|(name, _)| !is_ours(name)) {
        write_valid_field(out, name.as_bytes(), value);
    }
    out.extend_from_slice(b"\r\n");
}

/// Whether the answer grants what was asked for (RFC 6455, section 4.1).
pub fn is_granted(head: &Head, key: &str) -> bool {
    let has = |id, member: &[u8]| head.get_all(id).any(|value| has_member(value, member));
    head.status() == 101
        && has(FieldId::Upgrade, b"websocket")
        && has(FieldId::Connection, b"upgrade")
        && head.get_all(FieldId::SecWebSocketAccept).eq([accept(key.as_bytes()).as_bytes()])
        // None was offered.
        && !head.has(FieldId::SecWebSocketExtensions)
}
