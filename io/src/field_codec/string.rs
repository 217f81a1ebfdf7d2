//! Strings on the wire (RFC 7541, section 5.2), read where they are or decoded into a scratch buffer.
use super::{Malformed, huffman, integer};

/// The scratch buffer keeps at most this many bytes between blocks.
pub const SCRATCH_KEPT: usize = 16 * 1024;

/// From this length on, in bytes, a string that enters no table is Huffman coded: shorter ones cost more time than the
/// bytes they save.
pub const HUFFMAN_FROM: usize = 512;

/// A string of the block.
#[derive(Clone, Copy)]
pub enum Text<'a> {
    /// As it is on the wire.
    Plain(&'a [u8]),
    /// Decoded, from here to there in the scratch buffer.
    Scratch(usize, usize),
}

impl<'a> Text<'a> {
    #[inline]
    /// The bytes; `scratch` is the buffer that [`text`] got.
    pub fn bytes<'b>(self, scratch: &'b [u8]) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Text::Plain(bytes) => bytes,
            Text::Scratch(start, end) => scratch.get(start..end).unwrap_or(&[]),
        }
    }
}

/// Takes the bytes of a string as they are; true: they are Huffman coded. Its length has a prefix of `bits` bits, at most 7,
/// below the bit that says so.
#[inline]
pub fn coded<'a>(input: &mut &'a [u8], bits: u32) -> Result<(&'a [u8], bool), Malformed> {
    let is_huffman = input.first().is_some_and(|first| first & 1 << bits != 0);
    let len = integer::read(input, bits)?;
    let (bytes, rest) = input.split_at_checked(len).ok_or(Malformed::Truncated)?;
    *input = rest;
    Ok((bytes, is_huffman))
}

/// Takes a string without looking into it.
pub fn skip_text(input: &mut &[u8]) -> Result<(), Malformed> {
    coded(input, 7).map(|_| ())
}

/// Reads a string whose length has a prefix of `bits` bits ([`coded`]); the scratch buffer is free from `at` on.
#[inline]
pub fn text<'a>(input: &mut &'a [u8], bits: u32, scratch: &mut Vec<u8>, at: usize) -> Result<Text<'a>, Malformed> {
    let (bytes, is_huffman) = coded(input, bits)?;
    if is_huffman { decode(bytes, scratch, at) } else { Ok(Text::Plain(bytes)) }
}

/// Decodes a string into the scratch buffer, which is free from `at` on. The buffer grows to what `bytes` can become.
#[inline]
pub fn decode<'a>(bytes: &[u8], scratch: &mut Vec<u8>, at: usize) -> Result<Text<'a>, Malformed> {
    let end = at + huffman::room(bytes.len());
    if scratch.len() < end {
        scratch.resize(end, 0);
    }
    let room = scratch.get_mut(at..).unwrap_or(&mut []);
    Ok(Text::Scratch(at, at + huffman::decode(bytes, room)?))
}

/// Appends a string as it is: the length with a prefix of `bits` bits, below the bits of `first`, one of which (that above
/// the prefix) says whether it is coded and is 0 here.
#[inline]
pub fn write_plain(out: &mut Vec<u8>, first: u8, bits: u32, text: &[u8]) {
    integer::write(out, first, bits, text.len());
    out.extend_from_slice(text);
}

/// The same, Huffman coded where that is shorter.
pub fn write_coded(out: &mut Vec<u8>, first: u8, bits: u32, text: &[u8]) {
    let len = huffman::encoded_len(text);
    if len >= text.len() {
        return write_plain(out, first, bits, text);
    }
    integer::write(out, first | 1 << bits, bits, len);
    huffman::encode(text, out);
}
