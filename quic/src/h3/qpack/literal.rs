//! Literals of field sections and of the encoder stream, as the encoder writes them (RFC 9204, sections 4.3 and 4.5).
use super::static_table::Run;
use edge_io::field_codec::{
    integer,
    string::{self, HUFFMAN_FROM},
};

/// Whether others on the way may compress a field (RFC 9204, section 4.5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// They may.
    Plain,
    /// They may not.
    Never,
}

/// Appends a literal field: with the name of a static entry where `run` has it, else with `name`, in lower case. Its name is
/// not Huffman coded: it is short.
#[inline]
pub(super) fn field(out: &mut Vec<u8>, form: Form, run: Run, name: &[u8], value: &[u8]) {
    let never = form == Form::Never;
    match run.name() {
        Some(index) => integer::write(out, if never { 0x70 } else { 0x50 }, 4, index),
        None => lower(out, if never { 0x30 } else { 0x20 }, 3, name),
    }
    // Coding takes more time than the bytes of a short value are worth.
    if value.len() < HUFFMAN_FROM {
        string::write_plain(out, 0, 7, value);
    } else {
        string::write_coded(out, 0, 7, value);
    }
}

/// Appends the instruction that inserts a field. It is sent once for many times: its value is Huffman coded.
pub(super) fn insert(out: &mut Vec<u8>, run: Run, name: &[u8], value: &[u8]) {
    match run.name() {
        Some(index) => integer::write(out, 0xc0, 6, index),
        None => lower(out, 0x40, 5, name),
    }
    string::write_coded(out, 0, 7, value);
}

fn lower(out: &mut Vec<u8>, first: u8, bits: u32, name: &[u8]) {
    integer::write(out, first, bits, name.len());
    let start = out.len();
    out.extend_from_slice(name);
    if let Some(name) = out.get_mut(start..) {
        name.make_ascii_lowercase();
    }
}
