//! HPACK (RFC 7541): field compression for HTTP/2. Bounded, and without an allocation per field.
mod decoder;
mod encoder;
mod grammar;
mod huffman;
mod integer;
mod learn;
mod literal;
mod policy;
mod static_table;
mod table;

pub use decoder::{DecodeError, Decoded, Decoder, Fault, NAME_COPIES_MAX};
pub use encoder::Encoder;
pub use grammar::{is_name, is_value};

use crate::head::FieldId;

/// Size of both tables before any setting or update says otherwise, in bytes (RFC 9113, section 6.5.2).
pub const TABLE_BYTES_DEFAULT: u32 = 4096;

/// What an entry costs beyond its bytes (RFC 7541, section 4.1); RFC 9113, section 10.5.1 counts heads the same way.
pub const FIELD_OVERHEAD: usize = 32;

/// Pseudo-header fields (RFC 9113, section 8.3; RFC 8441, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Pseudo {
    /// `:method`
    Method,
    /// `:scheme`
    Scheme,
    /// `:authority`
    Authority,
    /// `:path`
    Path,
    /// `:status`
    Status,
    /// `:protocol`, of an extended CONNECT
    Protocol,
}

impl Pseudo {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Pseudo; 6] =
        [Pseudo::Method, Pseudo::Scheme, Pseudo::Authority, Pseudo::Path, Pseudo::Status, Pseudo::Protocol];

    /// The name, with its colon.
    pub const fn as_str(self) -> &'static str {
        match self {
            Pseudo::Method => ":method",
            Pseudo::Scheme => ":scheme",
            Pseudo::Authority => ":authority",
            Pseudo::Path => ":path",
            Pseudo::Status => ":status",
            Pseudo::Protocol => ":protocol",
        }
    }

    /// The pseudo-header field of this name, which has its colon and is in lower case.
    pub fn of(name: &[u8]) -> Option<Pseudo> {
        Pseudo::ALL.into_iter().find(|p| p.as_str().as_bytes() == name)
    }
}

/// What is known of a name without looking at its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    id: FieldId,
    pseudo: Option<Pseudo>,
}

impl Kind {
    /// A name that is neither a known field nor a known pseudo-header field.
    const OTHER: Kind = Kind::field(FieldId::Other);

    const fn field(id: FieldId) -> Kind {
        Kind { id, pseudo: None }
    }

    const fn pseudo(pseudo: Pseudo) -> Kind {
        Kind { id: FieldId::Other, pseudo: Some(pseudo) }
    }

    /// The kind of a literal name; only an exact match in lower case is known.
    #[inline]
    fn of(name: &[u8]) -> Kind {
        if name.first() == Some(&b':') {
            return Pseudo::of(name).map_or(Kind::OTHER, Kind::pseudo);
        }
        let id = FieldId::of(name);
        if id.as_str().as_bytes() == name { Kind::field(id) } else { Kind::OTHER }
    }

    /// Whether the name is one of those that this house knows, and so well formed.
    #[inline]
    fn is_known(self) -> bool {
        self.pseudo.is_some() || self.id != FieldId::Other
    }

    /// A number below [`KINDS`], one for each kind.
    #[inline]
    const fn index(self) -> usize {
        match self.pseudo {
            Some(pseudo) => FieldId::ALL.len() + 1 + pseudo as usize,
            None => self.id as usize,
        }
    }
}

/// How many kinds there are.
const KINDS: usize = FieldId::ALL.len() + 1 + Pseudo::ALL.len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_numbered_without_gaps() {
        for (i, &id) in FieldId::ALL.iter().enumerate() {
            assert_eq!(Kind::field(id).index(), i);
            assert_eq!(Kind::of(id.as_str().as_bytes()), Kind::field(id));
            assert_eq!(Kind::of(id.as_str().to_ascii_uppercase().as_bytes()), Kind::OTHER);
        }
        assert_eq!(Kind::OTHER.index(), FieldId::ALL.len());
        for (i, pseudo) in Pseudo::ALL.into_iter().enumerate() {
            assert_eq!(Kind::pseudo(pseudo).index(), FieldId::ALL.len() + 1 + i);
            assert_eq!(Kind::of(pseudo.as_str().as_bytes()), Kind::pseudo(pseudo));
        }
        assert_eq!(Kind::pseudo(Pseudo::Protocol).index() + 1, KINDS);
        for name in [&b""[..], b":", b":Path", b":paths", b"x-mine", b"user\ragent"] {
            assert_eq!(Kind::of(name), Kind::OTHER);
        }
    }
}
