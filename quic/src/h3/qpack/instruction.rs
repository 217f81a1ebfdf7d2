//! Instructions of the encoder stream (RFC 9204, section 4.3), which may arrive in pieces.
use super::Fault;
use edge_io::field_codec::{Malformed, integer};

/// A string as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Coded<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) is_huffman: bool,
}

impl Coded<'_> {
    /// Bytes that it has at least when decoded: no code is longer than 30 bits.
    fn least(self) -> usize {
        least(self.bytes.len(), self.is_huffman)
    }
}

fn least(len: usize, is_huffman: bool) -> usize {
    if is_huffman { len.saturating_sub(1) * 8 / 30 } else { len }
}

/// One instruction. Indices of the dynamic table are counted from the newest entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instruction<'a> {
    Capacity(usize),
    InsertStaticName(usize, Coded<'a>),
    InsertDynamicName(usize, Coded<'a>),
    InsertLiteral(Coded<'a>, Coded<'a>),
    Duplicate(usize),
}

/// What came of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    Whole(Instruction<'a>),
    /// It is not all here: at least this many bytes are missing, and none beyond the instruction.
    Missing(usize),
}

/// Why an instruction could not be read.
enum Stop {
    Missing(usize),
    Fault(Fault),
}

impl From<Malformed> for Stop {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Truncated => Stop::Missing(1),
            malformed => Stop::Fault(Fault::EncoderStream(malformed)),
        }
    }
}

/// Reads the instruction that `input` starts with, which is not empty, and moves `input` past it if it is whole. Strings
/// that cannot fit `room` bytes are refused as soon as their length is there, so that no more than four times as many bytes
/// ever have to wait for the rest.
pub(super) fn next<'a>(input: &mut &'a [u8], room: usize) -> Result<Next<'a>, Fault> {
    let mut rest = *input;
    match whole(&mut rest, room) {
        Ok(instruction) => {
            *input = rest;
            Ok(Next::Whole(instruction))
        }
        Err(Stop::Missing(n)) => Ok(Next::Missing(n)),
        Err(Stop::Fault(fault)) => Err(fault),
    }
}

fn whole<'a>(input: &mut &'a [u8], room: usize) -> Result<Instruction<'a>, Stop> {
    let first = input.first().copied().unwrap_or(0);
    if first & 0x80 != 0 {
        let index = integer::read(input, 6)?;
        let value = string(input, 7, room)?;
        return Ok(if first & 0x40 != 0 {
            Instruction::InsertStaticName(index, value)
        } else {
            Instruction::InsertDynamicName(index, value)
        });
    }
    if first & 0x40 != 0 {
        let name = string(input, 5, room)?;
        let value = string(input, 7, room.saturating_sub(name.least()))?;
        return Ok(Instruction::InsertLiteral(name, value));
    }
    let number = integer::read(input, 5)?;
    Ok(if first & 0x20 != 0 { Instruction::Capacity(number) } else { Instruction::Duplicate(number) })
}

fn string<'a>(input: &mut &'a [u8], bits: u32, room: usize) -> Result<Coded<'a>, Stop> {
    let is_huffman = input.first().is_some_and(|first| first & 1 << bits != 0);
    let len = integer::read(input, bits)?;
    if least(len, is_huffman) > room {
        return Err(Stop::Fault(Fault::EntryTooLarge));
    }
    let (bytes, rest) = input.split_at_checked(len).ok_or_else(|| Stop::Missing(len - input.len()))?;
    *input = rest;
    Ok(Coded { bytes, is_huffman })
}
