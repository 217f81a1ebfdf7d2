//! HPACK (RFC 7541): field compression for HTTP/2. Bounded, and without an allocation per field.
mod decoder;
mod encoder;
mod literal;
mod static_table;

pub use crate::field_codec::{Decoded, FIELD_OVERHEAD, Pseudo, is_name, is_value};
pub use decoder::{DecodeError, Decoder, Fault, NAME_COPIES_MAX};
pub use encoder::Encoder;

/// Size of both tables before any setting or update says otherwise, in bytes (RFC 9113, section 6.5.2).
pub const TABLE_BYTES_DEFAULT: u32 = 4096;
