//! Decodes header blocks (RFC 7541, section 3).
use super::{TABLE_BYTES_DEFAULT, static_table};
use crate::field_codec::{
    Decoded, Entry, Kind, Malformed, grammar, integer,
    string::{SCRATCH_KEPT, Text, skip_text, text},
    table::{Checked, Name, Table},
};
use std::fmt;

/// Most bytes of names that one block may have copied inside the dynamic table by naming an entry: two octets on the wire
/// can copy a name as large as the table. More is [`Fault::NameCopies`].
pub const NAME_COPIES_MAX: usize = 64 * 1024;

/// What is wrong with a header block. All but [`Fault::NameCopies`] are connection errors of type COMPRESSION_ERROR
/// (RFC 9113, section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Index 0, or one beyond both tables (RFC 7541, section 2.3.3).
    InvalidIndex,
    /// An integer of more than 28 bits beyond its prefix.
    IntegerOverflow,
    /// The block ends within a field.
    Truncated,
    /// EOS, or padding that is longer than 7 bits or not all ones (RFC 7541, section 5.2).
    InvalidHuffman,
    /// A size update behind a field (RFC 7541, section 4.2).
    LateSizeUpdate,
    /// A size update above the setting (RFC 7541, section 6.3).
    SizeUpdateTooLarge,
    /// The setting was lowered, and the block does not start with an update to at most that (RFC 7541, section 4.2).
    MissingSizeUpdate,
    /// More than [`NAME_COPIES_MAX`] bytes of names copied: an attack (ENHANCE_YOUR_CALM).
    NameCopies,
}

impl Fault {
    /// In a few words, for logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Fault::InvalidIndex => "invalid index",
            Fault::IntegerOverflow => "integer too large",
            Fault::Truncated => "truncated header block",
            Fault::InvalidHuffman => "invalid Huffman code",
            Fault::LateSizeUpdate => "table size update behind a field",
            Fault::SizeUpdateTooLarge => "table size update above the setting",
            Fault::MissingSizeUpdate => "table size update missing",
            Fault::NameCopies => "too many bytes of names copied in the table",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Fault {}

/// Why a block was not delivered to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError<E> {
    /// The block is not HPACK: the table is lost, and so is the connection.
    Fault(Fault),
    /// `field` stopped it. The rest was worked through and the table is in step: the connection can go on.
    Stopped(E),
}

impl<E> From<Fault> for DecodeError<E> {
    fn from(fault: Fault) -> Self {
        DecodeError::Fault(fault)
    }
}

impl From<Malformed> for Fault {
    #[inline]
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Truncated => Fault::Truncated,
            Malformed::IntegerOverflow => Fault::IntegerOverflow,
            Malformed::InvalidHuffman => Fault::InvalidHuffman,
        }
    }
}

impl<E> From<Malformed> for DecodeError<E> {
    #[inline]
    fn from(malformed: Malformed) -> Self {
        DecodeError::Fault(malformed.into())
    }
}

/// Where the name of a literal is.
enum NameAt<'a> {
    Literal(Text<'a>),
    Static(&'static Entry),
    /// In the dynamic table, counted from the newest.
    Dynamic(usize),
}

/// The receiving side of a connection.
pub struct Decoder {
    table: Table,
    /// Most bytes that the peer may set the table to.
    limit: usize,
    /// The next block has to start with an update to at most this many bytes.
    required: Option<usize>,
    /// Strings of one field, decoded. Its length is its capacity: nothing in it is trusted.
    scratch: Vec<u8>,
}

impl Decoder {
    /// `table_bytes_max` is the SETTINGS_HEADER_TABLE_SIZE that our first SETTINGS frame tells the peer; it holds from
    /// the peer's acknowledgement on ([`Decoder::set_max`]). Until then the peer may use what either of it and the
    /// default allows.
    pub fn new(table_bytes_max: u32) -> Decoder {
        Decoder {
            table: Table::new(TABLE_BYTES_DEFAULT as usize),
            limit: table_bytes_max.max(TABLE_BYTES_DEFAULT) as usize,
            required: None,
            scratch: Vec::new(),
        }
    }

    /// The peer has acknowledged the setting: from now on it may not use a larger table. If it does now, its next block
    /// has to start with an update.
    pub fn set_max(&mut self, table_bytes_max: u32) {
        self.limit = table_bytes_max as usize;
        let lowest = self.required.unwrap_or(self.table.max());
        if self.limit < lowest {
            self.required = Some(self.limit);
        }
    }

    /// Bytes held on the heap: at most two tables and 40 bytes for each of their entries, and 16 KiB of scratch.
    pub fn memory(&self) -> usize {
        self.table.memory() + self.scratch.capacity()
    }

    /// Decodes a complete header block and calls `field` for each of its fields, in order. When `field` fails, the rest
    /// of the block is still worked through, without calling it, so that the table stays in step: at most a few
    /// instructions for each of its bytes, and [`NAME_COPIES_MAX`]. What is skipped and does not touch the table is not
    /// looked into.
    pub fn decode<E>(
        &mut self,
        block: &[u8],
        mut field: impl FnMut(Decoded<'_>) -> Result<(), E>,
    ) -> Result<(), DecodeError<E>> {
        let mut input = block;
        self.size_updates(&mut input)?;
        let mut copied = 0;
        let mut stopped = None;
        while let Some(&first) = input.first() {
            if first & 0x80 != 0 {
                let index = integer::read(&mut input, 7)?;
                let decoded = self.indexed(index)?;
                if stopped.is_none() {
                    stopped = field(decoded).err();
                }
            } else if first & 0x60 == 0x20 {
                return Err(Fault::LateSizeUpdate.into());
            } else {
                self.literal(first, &mut input, &mut copied, &mut stopped, &mut field)?;
            }
        }
        if self.scratch.len() > SCRATCH_KEPT {
            self.scratch = Vec::new();
        }
        stopped.map_or(Ok(()), |e| Err(DecodeError::Stopped(e)))
    }

    /// Takes the size updates at the start of a block.
    #[inline]
    fn size_updates(&mut self, input: &mut &[u8]) -> Result<(), Fault> {
        while let Some(&first) = input.first() {
            if first & 0xe0 != 0x20 {
                break;
            }
            let size = integer::read(input, 5)?;
            if size > self.limit {
                return Err(Fault::SizeUpdateTooLarge);
            }
            if self.required.is_some_and(|required| size > required) {
                return Err(Fault::MissingSizeUpdate);
            }
            self.required = None;
            self.table.resize(size);
        }
        // A block without any field says nothing.
        if self.required.is_some() && !input.is_empty() { Err(Fault::MissingSizeUpdate) } else { Ok(()) }
    }

    #[inline]
    fn indexed(&self, index: usize) -> Result<Decoded<'_>, Fault> {
        if let Some(entry) = static_table::get(index) {
            return Ok(entry.decoded());
        }
        let field = self.table.get(index.wrapping_sub(static_table::LEN + 1));
        field.map(|field| field.decoded()).ok_or(Fault::InvalidIndex)
    }

    /// A literal field: with incremental indexing (`01`), without (`0000`), or never indexed (`0001`).
    #[inline]
    fn literal<E>(
        &mut self,
        first: u8,
        input: &mut &[u8],
        copied: &mut usize,
        stopped: &mut Option<E>,
        field: &mut impl FnMut(Decoded<'_>) -> Result<(), E>,
    ) -> Result<(), Fault> {
        let insert = first & 0x40 != 0;
        let index = integer::read(input, if insert { 6 } else { 4 })?;
        if stopped.is_some() && !insert {
            return self.skip_literal(index, input);
        }
        let (name, scratch) = self.name(index, input)?;
        let value = text(input, 7, &mut self.scratch, scratch)?;
        let value = value.bytes(&self.scratch);
        let (bytes, kind, mut name_checked) = match name {
            NameAt::Static(entry) => (entry.name.as_bytes(), entry.kind, true),
            NameAt::Dynamic(index) => {
                let named = self.table.get(index).ok_or(Fault::InvalidIndex)?;
                (named.name, named.kind, named.checked.name)
            }
            NameAt::Literal(text) => {
                let bytes = text.bytes(&self.scratch);
                let kind = Kind::of(bytes);
                (bytes, kind, kind.is_known())
            }
        };
        // Fields that will come again by their index are checked once, here.
        let value_checked = insert && grammar::is_value(value);
        name_checked = name_checked || (insert && grammar::is_name(bytes));
        if stopped.is_none() {
            *stopped = field(Decoded {
                name: bytes,
                value,
                id: kind.id,
                pseudo: kind.pseudo,
                name_checked,
                value_checked,
                never_indexed: first & 0x10 != 0 && !insert,
            })
            .err();
        }
        if insert {
            let name = match name {
                NameAt::Dynamic(index) => {
                    *copied += bytes.len();
                    if *copied > NAME_COPIES_MAX {
                        return Err(Fault::NameCopies);
                    }
                    Name::Of(index)
                }
                NameAt::Static(entry) => Name::Bytes(entry.name.as_bytes()),
                NameAt::Literal(text) => Name::Bytes(text.bytes(&self.scratch)),
            };
            self.table.insert(name, value, kind, Checked { name: name_checked, value: value_checked }, None);
        }
        Ok(())
    }

    /// The name of a literal whose name has this index, or follows where that is 0; and where the scratch buffer is free.
    #[inline]
    fn name<'a>(&mut self, index: usize, input: &mut &'a [u8]) -> Result<(NameAt<'a>, usize), Fault> {
        if index == 0 {
            let name = text(input, 7, &mut self.scratch, 0)?;
            let free = if let Text::Scratch(_, end) = name { end } else { 0 };
            return Ok((NameAt::Literal(name), free));
        }
        match static_table::get(index) {
            Some(entry) => Ok((NameAt::Static(entry), 0)),
            None => Ok((NameAt::Dynamic(index - static_table::LEN - 1), 0)),
        }
    }

    /// A literal that neither the caller nor the table wants.
    fn skip_literal(&self, index: usize, input: &mut &[u8]) -> Result<(), Fault> {
        if index == 0 {
            skip_text(input)?;
        } else if index > static_table::LEN + self.table.len() {
            return Err(Fault::InvalidIndex);
        }
        Ok(skip_text(input)?)
    }
}
