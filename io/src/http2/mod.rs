//! HTTP/2 (RFC 9113), sans-IO: bytes in, events out.
pub mod hpack;
