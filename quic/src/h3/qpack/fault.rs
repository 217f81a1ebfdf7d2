//! What a peer can do wrong, and the error code of the connection's end.
use edge_io::field_codec::Malformed;
use std::fmt;

/// Why the connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A field section that cannot be read.
    Section(Malformed),
    /// A field section names an entry beyond the static table, one that was evicted, or one at or above its Required Insert
    /// Count (RFC 9204, section 2.2.3).
    InvalidReference,
    /// A Required Insert Count that no encoder can have meant (RFC 9204, section 4.5.1.1).
    InvalidRequiredInsertCount,
    /// A Base below zero or above 2^62 (RFC 9204, section 4.5.1.2).
    InvalidBase,
    /// More blocked streams than SETTINGS_QPACK_BLOCKED_STREAMS (RFC 9204, section 2.1.2).
    TooManyBlocked,
    /// An instruction on the encoder stream that cannot be read.
    EncoderStream(Malformed),
    /// An instruction names an entry that is not there.
    InvalidName,
    /// A capacity above SETTINGS_QPACK_MAX_TABLE_CAPACITY (RFC 9204, section 4.3.1).
    CapacityTooLarge,
    /// An entry that is larger than the table (RFC 9204, section 3.2.2).
    EntryTooLarge,
    /// An instruction on the decoder stream that cannot be read.
    DecoderStream(Malformed),
    /// A Section Acknowledgment for a stream without a section that waits for one (RFC 9204, section 4.4.1).
    UnexpectedAcknowledgment,
    /// An Insert Count Increment of zero, or beyond what was inserted (RFC 9204, section 4.4.3).
    InvalidIncrement,
    /// More than [`super::COPIES_MAX`] bytes copied inside the table between two sections: an attack.
    Copies,
    /// More than [`super::BACKLOG_MAX`] bytes that the peer does not let us send on the decoder stream: an attack.
    Backlog,
}

impl Fault {
    /// The code that ends the connection: those of RFC 9204, section 6, or H3_EXCESSIVE_LOAD (RFC 9114, section 8.1) for
    /// what breaks no rule but ours.
    pub const fn code(self) -> u64 {
        match self {
            Fault::Section(_)
            | Fault::InvalidReference
            | Fault::InvalidRequiredInsertCount
            | Fault::InvalidBase
            | Fault::TooManyBlocked => 0x200,
            Fault::EncoderStream(_) | Fault::InvalidName | Fault::CapacityTooLarge | Fault::EntryTooLarge => 0x201,
            Fault::DecoderStream(_) | Fault::UnexpectedAcknowledgment | Fault::InvalidIncrement => 0x202,
            Fault::Copies | Fault::Backlog => 0x107,
        }
    }

    /// Whether it is an attack on our time or memory rather than an error.
    pub const fn is_abuse(self) -> bool {
        matches!(self, Fault::Copies | Fault::Backlog)
    }

    /// In a few words, for logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Fault::Section(Malformed::Truncated) => "truncated field section",
            Fault::Section(Malformed::IntegerOverflow) => "integer too large in a field section",
            Fault::Section(Malformed::InvalidHuffman) => "invalid Huffman code in a field section",
            Fault::InvalidReference => "field section names an entry that it may not",
            Fault::InvalidRequiredInsertCount => "invalid required insert count",
            Fault::InvalidBase => "invalid base",
            Fault::TooManyBlocked => "too many blocked streams",
            Fault::EncoderStream(Malformed::InvalidHuffman) => "invalid Huffman code on the encoder stream",
            Fault::EncoderStream(_) => "integer too large on the encoder stream",
            Fault::InvalidName => "encoder stream names an entry that is not there",
            Fault::CapacityTooLarge => "table capacity above the setting",
            Fault::EntryTooLarge => "entry larger than the table",
            Fault::DecoderStream(_) => "integer too large on the decoder stream",
            Fault::UnexpectedAcknowledgment => "section acknowledgment for nothing",
            Fault::InvalidIncrement => "invalid insert count increment",
            Fault::Copies => "too many bytes copied in the table",
            Fault::Backlog => "decoder stream is not read",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Fault {}
