//! HTTP/1.1 on a stream socket: the reading and the writing half (both roles), and the server's connection loop.
mod exchange;
mod reader;
mod response;
mod server;
mod share;
mod writer;
pub use exchange::H1Exchange;
pub use reader::Reader;
pub use server::{After, Connection, Lease, PARK_AFTER, serve};
pub use share::{ListenerShare, Waiting};
pub use writer::{Framing, Writer};

use crate::message::{Category, Fault, Side};
use edge_io::http1::Reject;

/// The answer to HTTP without TLS where TLS is spoken.
pub const PLAIN_ON_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 56\r\n\
    connection: close\r\n\r\nThis port speaks TLS: the address begins with https://.\n"
    .as_slice();

/// What a client did wrong, as a fault with the status that the engine names.
pub fn client_fault(reject: Reject) -> Fault {
    let category = match reject.status() {
        405 => Category::MethodNotAllowed,
        413 => Category::BodyTooLarge,
        414 | 431 => Category::HeadTooLarge,
        _ => Category::BadRequest,
    };
    Fault::new(category, Side::Downstream, reject.as_str()).with_status(reject.status())
}

/// What an endpoint did wrong.
pub fn upstream_fault(reject: Reject) -> Fault {
    Fault::new(Category::UpstreamProtocol, Side::Upstream, reject.as_str())
}
