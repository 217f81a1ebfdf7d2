//! Event streams: one GET whose answer does not end, and the events that it brings.
mod events;
mod parse;
#[cfg(test)]
mod tests;
pub use events::Events;

use super::{
    Ended, Shard,
    opening::{self, Opening},
};
use crate::plan::{Origin, Request};
use edge_io::{
    head::{FieldId, Head},
    http1::{Framing, write_request_line, write_valid_field},
    stream::Stream,
};
use std::rc::Rc;

/// The media type of event streams.
const EVENT_STREAM: &[u8] = b"text/event-stream";

/// Drives an established HTTP/1.1 connection: asks, and listens until it ends.
pub async fn drive(shard: &Rc<Shard>, origin: usize, stream: &Stream) -> Ended {
    opening::drive(shard, origin, stream, &Get, &mut Events::new(shard)).await
}

/// Whether an answer is an event stream.
pub fn is_stream(head: &Head) -> bool {
    let essence =
        |value: &[u8]| value.split(|b| *b == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    head.status() == 200 && head.get(FieldId::ContentType).is_some_and(|value| essence(value) == EVENT_STREAM)
}

struct Get;

impl Opening for Get {
    fn write(&self, out: &mut Vec<u8>, origin: &Origin, request: &Request) {
        write_request_line(out, b"GET", request.target.as_bytes());
        write_valid_field(out, b"host", origin.authority.as_bytes());
        write_valid_field(out, b"accept", EVENT_STREAM);
        for (name, value) in request.fields.iter().filter(|(name, _)| !matches!(&name[..], "host" | "accept")) {
            write_valid_field(out, name.as_bytes(), value);
        }
        out.extend_from_slice(b"\r\n");
    }

    fn granted(&self, head: &Head) -> Option<Framing> {
        if is_stream(head) { opening::framing(head) } else { None }
    }
}
