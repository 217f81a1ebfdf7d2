//! Decodes field sections (RFC 9204, section 4.5), keeps the dynamic table that the peer fills (section 4.3), and tells the
//! peer so (section 4.4).
use super::{
    BACKLOG_MAX, COPIES_MAX, Fault,
    instruction::{self, Coded, Instruction, Next},
    max_entries,
    section::Prefix,
    static_table,
};
use edge_io::field_codec::{
    Decoded, Entry, FIELD_OVERHEAD, Kind, grammar, integer,
    string::{self, SCRATCH_KEPT, Text, text},
    table::{Checked, Field, Name, Table},
};

/// An instruction that came in pieces leaves at most this many bytes allocated.
const PARTIAL_KEPT: usize = 1024;

/// From this many bytes on that wait to be sent, increments are put off until there are fewer.
const OUT_BUSY: usize = 512;

/// What came of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decode {
    /// All fields were given.
    Done,
    /// None was: the section needs entries that are still on their way. Decode it again, the same bytes, once
    /// [`Decoder::insert_count`] has come that far.
    Blocked {
        /// How many insertions it needs.
        required_insert_count: u64,
    },
}

/// Why a section was not delivered to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError<E> {
    /// The connection has to end.
    Fault(Fault),
    /// `field` stopped it. The section was not read further and is acknowledged; the connection can go on.
    Stopped(E),
}

impl<E> From<Fault> for DecodeError<E> {
    fn from(fault: Fault) -> Self {
        DecodeError::Fault(fault)
    }
}

/// Where the name of a literal is.
enum NameAt<'a> {
    Literal(Text<'a>),
    Static(&'static Entry),
    /// The entry with this absolute index.
    Dynamic(u64),
}

/// Where the name of a new entry comes from.
#[derive(Clone, Copy)]
enum NewName<'a> {
    Static(&'static Entry),
    /// The entry with this index, counted from the newest.
    Dynamic(usize),
    Literal(Coded<'a>),
}

/// The receiving side of a connection.
pub struct Decoder {
    table: Table,
    /// SETTINGS_QPACK_MAX_TABLE_CAPACITY, and the entries it has room for.
    limit: usize,
    max_entries: u64,
    blocked_max: usize,
    inserted: u64,
    /// How many insertions the peer knows that we know of.
    acknowledged: u64,
    /// Streams whose section waits, with the insertions it needs; those that need no more are dropped in time.
    blocked: Vec<(u64, u64)>,
    /// The start of an instruction, and how many bytes it is short of at least.
    partial: Vec<u8>,
    missing: usize,
    /// Bytes copied inside the table since the last section.
    copies: usize,
    /// Strings of one field, decoded. Its length is its capacity: nothing in it is trusted.
    scratch: Vec<u8>,
    out: Vec<u8>,
}

impl Decoder {
    /// `table_bytes_max` is our SETTINGS_QPACK_MAX_TABLE_CAPACITY, in bytes; `blocked_streams_max` our
    /// SETTINGS_QPACK_BLOCKED_STREAMS. It allocates when it is used.
    pub fn new(table_bytes_max: u32, blocked_streams_max: u32) -> Decoder {
        Decoder {
            table: Table::new(0),
            limit: table_bytes_max as usize,
            max_entries: max_entries(table_bytes_max),
            blocked_max: blocked_streams_max as usize,
            inserted: 0,
            acknowledged: 0,
            blocked: Vec::new(),
            partial: Vec::new(),
            missing: 0,
            copies: 0,
            scratch: Vec::new(),
            out: Vec::new(),
        }
    }

    /// How many entries the peer has inserted so far.
    #[inline]
    pub fn insert_count(&self) -> u64 {
        self.inserted
    }

    /// Bytes held on the heap: at most two tables and 24 bytes for each of their entries, four tables of an instruction
    /// that is not whole, 16 KiB of scratch, [`BACKLOG_MAX`], and 16 bytes for each blocked stream.
    pub fn memory(&self) -> usize {
        let vectors = self.partial.capacity() + self.scratch.capacity() + self.out.capacity();
        self.table.memory() + vectors + self.blocked.capacity() * size_of::<(u64, u64)>()
    }

    /// Instructions to send on the decoder stream (RFC 9204, section 4.4): drain what was sent.
    pub fn out(&mut self) -> &mut Vec<u8> {
        if self.out.len() < OUT_BUSY && self.inserted > self.acknowledged {
            write_62(&mut self.out, 0x00, 6, self.inserted - self.acknowledged);
            self.acknowledged = self.inserted;
        }
        &mut self.out
    }

    /// Whether [`Decoder::out`] has anything to send.
    #[inline]
    pub fn has_out(&self) -> bool {
        !self.out.is_empty() || self.inserted > self.acknowledged
    }

    /// The stream `id` ends before all its sections were decoded: tells the peer, so that it counts none of its references
    /// any more (RFC 9204, section 2.2.2.2). A peer that lets more than [`BACKLOG_MAX`] wait is told no more.
    pub fn cancel_stream(&mut self, id: u64) {
        self.blocked.retain(|(stream, _)| *stream != id);
        // Without a table there are no references.
        if self.max_entries > 0 && self.out.len() < BACKLOG_MAX {
            write_62(&mut self.out, 0x40, 6, id);
        }
    }

    /// Decodes the complete section `section` of the stream `stream_id` and calls `field` for each of its fields, in order;
    /// or for none, if the section is blocked. When `field` fails, the rest is not looked at. One pass; a section without
    /// strings that are Huffman coded allocates nothing.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Fault`] ends the connection, [`DecodeError::Stopped`] is the error of `field`.
    pub fn decode<E>(
        &mut self,
        stream_id: u64,
        section: &[u8],
        mut field: impl FnMut(Decoded<'_>) -> Result<(), E>,
    ) -> Result<Decode, DecodeError<E>> {
        let mut input = section;
        let prefix = Prefix::read(&mut input, self.max_entries, self.inserted)?;
        if prefix.required > self.inserted {
            return Ok(self.block(stream_id, prefix.required)?);
        }
        self.copies = 0;
        let outcome = self.fields(prefix, input, &mut field);
        if self.scratch.len() > SCRATCH_KEPT {
            self.scratch = Vec::new();
        }
        if let Err(DecodeError::Fault(_)) = outcome {
            return outcome;
        }
        if prefix.required > 0 {
            self.acknowledge(stream_id, prefix.required)?;
        }
        outcome
    }

    /// Takes what came on the peer's encoder stream, cut anywhere.
    ///
    /// # Errors
    ///
    /// All end the connection.
    pub fn on_encoder_stream(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !self.partial.is_empty() && !bytes.is_empty() {
            bytes = self.complete(bytes)?;
        }
        while !bytes.is_empty() {
            match instruction::next(&mut bytes, self.room())? {
                Next::Whole(instruction) => self.follow(instruction)?,
                Next::Missing(missing) => {
                    self.partial.extend_from_slice(bytes);
                    self.missing = missing;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Bytes that the name and the value of an entry may have.
    fn room(&self) -> usize {
        self.table.max().saturating_sub(FIELD_OVERHEAD)
    }

    /// Adds to the instruction that is not whole what it is short of; the bytes that are left.
    fn complete<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Fault> {
        let (taken, rest) = bytes.split_at(self.missing.min(bytes.len()));
        self.partial.extend_from_slice(taken);
        self.missing -= taken.len();
        if self.missing > 0 {
            return Ok(rest);
        }
        let mut partial = std::mem::take(&mut self.partial);
        match instruction::next(&mut &partial[..], self.room())? {
            Next::Whole(instruction) => {
                self.follow(instruction)?;
                partial.clear();
                partial.shrink_to(PARTIAL_KEPT);
            }
            Next::Missing(missing) => self.missing = missing,
        }
        self.partial = partial;
        Ok(rest)
    }

    /// Does what an instruction says.
    fn follow(&mut self, instruction: Instruction<'_>) -> Result<(), Fault> {
        match instruction {
            Instruction::Capacity(bytes) if bytes > self.limit => Err(Fault::CapacityTooLarge),
            Instruction::Capacity(bytes) => {
                self.table.resize(bytes);
                Ok(())
            }
            Instruction::Duplicate(index) => {
                let entry = self.table.get(index).ok_or(Fault::InvalidName)?;
                let bytes = entry.name.len() + entry.value.len();
                self.count_copy(bytes)?;
                self.table.duplicate(index, None);
                self.inserted += 1;
                Ok(())
            }
            Instruction::InsertStaticName(index, value) => {
                let entry = static_table::get(index).ok_or(Fault::InvalidName)?;
                self.insert(NewName::Static(entry), value)
            }
            Instruction::InsertDynamicName(index, value) => self.insert(NewName::Dynamic(index), value),
            Instruction::InsertLiteral(name, value) => self.insert(NewName::Literal(name), value),
        }
    }

    /// Inserts an entry.
    fn insert(&mut self, name: NewName<'_>, value: Coded<'_>) -> Result<(), Fault> {
        // Lent out, as what is decoded in it goes into the table.
        let mut scratch = std::mem::take(&mut self.scratch);
        let outcome = self.insert_decoded(name, value, &mut scratch);
        self.scratch = scratch;
        outcome
    }

    /// Its value is checked here, once for every time it comes.
    fn insert_decoded(&mut self, name: NewName<'_>, value: Coded<'_>, scratch: &mut Vec<u8>) -> Result<(), Fault> {
        let literal = if let NewName::Literal(coded) = name { decoded(coded, scratch, 0)? } else { Text::Plain(&[]) };
        let free = if let Text::Scratch(_, end) = literal { end } else { 0 };
        let value = decoded(value, scratch, free)?.bytes(scratch);
        let (name, len, kind, is_checked) = match name {
            NewName::Static(entry) => (Name::Bytes(entry.name.as_bytes()), entry.name.len(), entry.kind, true),
            NewName::Dynamic(index) => {
                let Field { name, kind, checked, .. } = self.table.get(index).ok_or(Fault::InvalidName)?;
                let len = name.len();
                self.count_copy(len)?;
                (Name::Of(index), len, kind, checked.name)
            }
            NewName::Literal(_) => {
                let name = literal.bytes(scratch);
                let kind = Kind::of(name);
                (Name::Bytes(name), name.len(), kind, kind.is_known() || grammar::is_name(name))
            }
        };
        if len + value.len() + FIELD_OVERHEAD > self.table.max() {
            return Err(Fault::EntryTooLarge);
        }
        self.table.insert(name, value, kind, Checked { name: is_checked, value: grammar::is_value(value) }, None);
        self.inserted += 1;
        Ok(())
    }

    fn count_copy(&mut self, bytes: usize) -> Result<(), Fault> {
        self.copies += bytes;
        if self.copies > COPIES_MAX { Err(Fault::Copies) } else { Ok(()) }
    }

    /// Remembers that a stream is blocked, as far as that is allowed.
    #[cold]
    fn block(&mut self, stream_id: u64, required: u64) -> Result<Decode, Fault> {
        let inserted = self.inserted;
        self.blocked.retain(|&(stream, required)| required > inserted && stream != stream_id);
        if self.blocked.len() >= self.blocked_max {
            return Err(Fault::TooManyBlocked);
        }
        self.blocked.push((stream_id, required));
        Ok(Decode::Blocked { required_insert_count: required })
    }

    /// Acknowledges a section (RFC 9204, section 4.4.1).
    fn acknowledge(&mut self, stream_id: u64, required: u64) -> Result<(), Fault> {
        write_62(&mut self.out, 0x80, 7, stream_id);
        self.acknowledged = self.acknowledged.max(required);
        if self.out.len() > BACKLOG_MAX { Err(Fault::Backlog) } else { Ok(()) }
    }

    /// Gives all fields of a section.
    #[inline]
    fn fields<E>(
        &mut self,
        prefix: Prefix,
        mut input: &[u8],
        field: &mut impl FnMut(Decoded<'_>) -> Result<(), E>,
    ) -> Result<Decode, DecodeError<E>> {
        while let Some(&first) = input.first() {
            let decoded = if first & 0x80 != 0 {
                let index = integer::read(&mut input, 6).map_err(Fault::Section)?;
                if first & 0x40 != 0 { static_field(index)? } else { self.dynamic_field(prefix.relative(index)?)? }
            } else if first & 0xf0 == 0x10 {
                let index = integer::read(&mut input, 4).map_err(Fault::Section)?;
                self.dynamic_field(prefix.post_base(index)?)?
            } else {
                self.literal(prefix, first, &mut input)?
            };
            field(decoded).map_err(DecodeError::Stopped)?;
        }
        Ok(Decode::Done)
    }

    /// The entry with this absolute index.
    #[inline]
    fn entry(&self, absolute: u64) -> Result<Field<'_>, Fault> {
        let index = self.inserted.wrapping_sub(absolute).wrapping_sub(1);
        usize::try_from(index).ok().and_then(|index| self.table.get(index)).ok_or(Fault::InvalidReference)
    }

    #[inline]
    fn dynamic_field(&self, absolute: u64) -> Result<Decoded<'_>, Fault> {
        self.entry(absolute).map(|field| field.decoded())
    }

    /// A literal: with the name of an entry (`01`, or `0000` for one beyond the base), or with its own (`001`).
    #[inline]
    fn literal<'s, 'a: 's>(
        &'s mut self,
        prefix: Prefix,
        first: u8,
        input: &mut &'a [u8],
    ) -> Result<Decoded<'s>, Fault> {
        let (name, never_indexed) = self.name(prefix, first, input)?;
        let free = if let NameAt::Literal(Text::Scratch(_, end)) = name { end } else { 0 };
        let value = text(input, 7, &mut self.scratch, free).map_err(Fault::Section)?;
        let value = value.bytes(&self.scratch);
        let (name, kind, name_checked) = match name {
            NameAt::Static(entry) => (entry.name.as_bytes(), entry.kind, true),
            NameAt::Dynamic(absolute) => {
                let field = self.entry(absolute)?;
                (field.name, field.kind, field.checked.name)
            }
            NameAt::Literal(text) => {
                let name = text.bytes(&self.scratch);
                let kind = Kind::of(name);
                (name, kind, kind.is_known())
            }
        };
        let (id, pseudo) = (kind.id, kind.pseudo);
        Ok(Decoded { name, value, id, pseudo, name_checked, value_checked: false, never_indexed })
    }

    /// The name of a literal, and whether no one may compress it.
    #[inline]
    fn name<'a>(&mut self, prefix: Prefix, first: u8, input: &mut &'a [u8]) -> Result<(NameAt<'a>, bool), Fault> {
        if first & 0x40 != 0 {
            let index = integer::read(input, 4).map_err(Fault::Section)?;
            let name = if first & 0x10 != 0 {
                NameAt::Static(static_table::get(index).ok_or(Fault::InvalidReference)?)
            } else {
                NameAt::Dynamic(prefix.relative(index)?)
            };
            return Ok((name, first & 0x20 != 0));
        }
        if first & 0x20 != 0 {
            let name = text(input, 3, &mut self.scratch, 0).map_err(Fault::Section)?;
            return Ok((NameAt::Literal(name), first & 0x10 != 0));
        }
        let index = integer::read(input, 3).map_err(Fault::Section)?;
        Ok((NameAt::Dynamic(prefix.post_base(index)?), first & 0x08 != 0))
    }
}

#[inline]
fn static_field(index: usize) -> Result<Decoded<'static>, Fault> {
    static_table::get(index).map(Entry::decoded).ok_or(Fault::InvalidReference)
}

/// A string of the encoder stream; the scratch buffer is free from `at` on.
fn decoded<'a>(coded: Coded<'a>, scratch: &mut Vec<u8>, at: usize) -> Result<Text<'a>, Fault> {
    if coded.is_huffman {
        string::decode(coded.bytes, scratch, at).map_err(Fault::EncoderStream)
    } else {
        Ok(Text::Plain(coded.bytes))
    }
}

/// Appends an integer of up to 62 bits.
fn write_62(out: &mut Vec<u8>, first: u8, bits: u32, value: u64) {
    // This house runs on 64 bits.
    integer::write(out, first, bits, value as usize);
}
