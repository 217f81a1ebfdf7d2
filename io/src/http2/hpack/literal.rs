//! Literal fields (RFC 7541, section 6.2) and their strings (section 5.2).
use super::static_table;
use crate::field_codec::{
    Kind, integer,
    string::{self, HUFFMAN_FROM},
};

/// What the receiver does with a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// It inserts it.
    Insert,
    /// It does not.
    Plain,
    /// Nor does anyone else on the way.
    Never,
}

impl Form {
    /// The first octet without an index, and the bits of the index.
    #[inline]
    const fn prefix(self) -> (u8, u32) {
        match self {
            Form::Insert => (0x40, 6),
            Form::Plain => (0x00, 4),
            Form::Never => (0x10, 4),
        }
    }
}

/// Appends a field whose name is known.
#[inline]
pub(super) fn known(out: &mut Vec<u8>, form: Form, kind: Kind, value: &[u8]) {
    let (first, bits) = form.prefix();
    match static_table::name_index(kind) {
        Some(index) => integer::write(out, first, bits, index),
        None => {
            out.push(first);
            string(out, kind.name().as_bytes(), form);
        }
    }
    string(out, value, form);
}

/// Appends a field with any name, in lower case. The name is not Huffman coded: it is short.
pub(super) fn other(out: &mut Vec<u8>, form: Form, name: &[u8], value: &[u8]) {
    out.push(form.prefix().0);
    integer::write(out, 0, 7, name.len());
    let start = out.len();
    out.extend_from_slice(name);
    if let Some(name) = out.get_mut(start..) {
        name.make_ascii_lowercase();
    }
    string(out, value, form);
}

/// Appends a string: Huffman coded where that is shorter and pays, because it is sent once for many times or is long.
#[inline]
fn string(out: &mut Vec<u8>, text: &[u8], form: Form) {
    if form == Form::Insert || text.len() >= HUFFMAN_FROM {
        return string::write_coded(out, 0, 7, text);
    }
    string::write_plain(out, 0, 7, text);
}
