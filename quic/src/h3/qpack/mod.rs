//! QPACK (RFC 9204): field compression for HTTP/3. Bounded, and without an allocation per field.
mod decoder;
mod dynamic;
mod encoder;
mod fault;
mod instruction;
mod literal;
mod outstanding;
mod section;
mod static_table;

pub use decoder::{Decode, DecodeError, Decoder};
pub use edge_io::field_codec::{Decoded, FIELD_OVERHEAD, Pseudo};
pub use encoder::Encoder;
pub use fault::Fault;

/// The largest dynamic table that our encoder uses, whatever the peer allows, in bytes (RFC 9204, section 3.2.2).
pub const ENCODER_TABLE_BYTES_MAX: u32 = 4096;

/// Most bytes of names and entries that the encoder stream may have copied inside the dynamic table between two field
/// sections: one octet on the wire can copy an entry as large as the table. More is [`Fault::Copies`].
pub const COPIES_MAX: usize = 64 * 1024;

/// Most bytes of instructions that wait for a peer which does not read its decoder stream. More is [`Fault::Backlog`].
pub const BACKLOG_MAX: usize = 64 * 1024;

/// Most sections with references to the dynamic table that may wait for the peer's acknowledgement at a time; later ones do
/// without references.
pub const OUTSTANDING_MAX: usize = 128;

/// Most entries of a dynamic table of `table_bytes` bytes (RFC 9204, section 4.5.1.1).
#[inline]
const fn max_entries(table_bytes: u32) -> u64 {
    table_bytes as u64 / FIELD_OVERHEAD as u64
}
