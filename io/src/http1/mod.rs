//! HTTP/1.0 and HTTP/1.1 without I/O, both roles: bytes in, heads and body pieces out. Strict RFC 9112: never a message
//! that two parsers could read differently.
//!
//! A connection reads a head with [`HeadParser`], asks [`request_semantics`] or [`response_semantics`] what it means,
//! and feeds what follows to a [`BodyDecoder`]. Any [`Reject`] ends the connection: what follows it has no meaning.
mod body;
pub(crate) mod chars;
mod encode;
mod field_lines;
mod limits;
mod parse;
mod reject;
mod semantics;

pub use body::{BodyDecoder, Step};
pub use chars::is_token;
pub use encode::{
    Decimal, reason_phrase, write_chunk_start, write_content_length, write_decimal, write_field, write_last_chunk,
    write_request_line, write_status_line, write_valid_field,
};
pub use limits::Limits;
pub use parse::HeadParser;
pub use reject::Reject;
pub(crate) use semantics::length;
pub use semantics::{
    Framing, RequestSemantics, ResponseSemantics, Upgrade, is_authority, request_semantics, response_semantics,
};
