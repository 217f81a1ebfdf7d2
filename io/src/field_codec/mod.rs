//! What HPACK (RFC 7541) and QPACK (RFC 9204) share: integers, strings, the Huffman code, the dynamic table, the grammar of
//! fields, and what is worth an entry. For the codecs of the house; it promises nothing beyond.
mod entry;
pub mod grammar;
pub mod huffman;
pub mod integer;
pub mod learn;
pub mod policy;
pub mod string;
pub mod table;

pub use entry::Entry;
pub use grammar::{is_name, is_value};

use crate::head::FieldId;

/// What an entry costs beyond its bytes (RFC 7541, section 4.1; RFC 9204, section 3.2.1); heads are counted the same way
/// (RFC 9113, section 10.5.1; RFC 9114, section 4.2.2).
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
pub struct Kind {
    /// The field's id; `Other` for unknown names and for pseudo-header fields.
    pub id: FieldId,
    /// The pseudo-header field, if it is a known one.
    pub pseudo: Option<Pseudo>,
}

impl Kind {
    /// A name that is neither a known field nor a known pseudo-header field.
    pub const OTHER: Kind = Kind::field(FieldId::Other);

    /// The kind of this id.
    pub const fn field(id: FieldId) -> Kind {
        Kind { id, pseudo: None }
    }

    /// The kind of this pseudo-header field.
    pub const fn pseudo(pseudo: Pseudo) -> Kind {
        Kind { id: FieldId::Other, pseudo: Some(pseudo) }
    }

    /// The kind of a literal name; only an exact match in lower case is known.
    #[inline]
    pub fn of(name: &[u8]) -> Kind {
        if name.first() == Some(&b':') {
            return Pseudo::of(name).map_or(Kind::OTHER, Kind::pseudo);
        }
        let id = FieldId::of(name);
        if id.as_str().as_bytes() == name { Kind::field(id) } else { Kind::OTHER }
    }

    /// Whether the name is one of those that this house knows, and so well formed.
    #[inline]
    pub fn is_known(self) -> bool {
        self.pseudo.is_some() || self.id != FieldId::Other
    }

    /// The name; empty for [`Kind::OTHER`].
    #[inline]
    pub const fn name(self) -> &'static str {
        match self.pseudo {
            Some(pseudo) => pseudo.as_str(),
            None => self.id.as_str(),
        }
    }

    /// A number below [`KINDS`], one for each kind.
    #[inline]
    pub const fn index(self) -> usize {
        match self.pseudo {
            Some(pseudo) => FieldId::ALL.len() + 1 + pseudo as usize,
            None => self.id as usize,
        }
    }
}

/// How many kinds there are.
pub const KINDS: usize = FieldId::ALL.len() + 1 + Pseudo::ALL.len();

/// One decoded field.
#[derive(Clone, Copy, Debug)]
pub struct Decoded<'a> {
    /// The name, with the colon of a pseudo-header field.
    pub name: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// The name's id, exact: `Other` for pseudo-header fields, and for known names with capital letters.
    pub id: FieldId,
    /// Which pseudo-header field it is. An unknown one is `None` here, and its name is not checked.
    pub pseudo: Option<Pseudo>,
    /// The name is known to be good: [`is_name`], or that of a known pseudo-header field. False: not known.
    pub name_checked: bool,
    /// The value is known to be good: [`is_value`]. What a pseudo-header field asks for beyond is not checked.
    pub value_checked: bool,
    /// The peer asks that no one compress it (RFC 7541, section 6.2.3; RFC 9204, section 4.5.4): send it on with the
    /// encoder's `never_indexed`.
    pub never_indexed: bool,
}

impl Decoded<'_> {
    /// Bytes of the name and the value, and 32 (RFC 9113, section 6.5.2, SETTINGS_MAX_HEADER_LIST_SIZE; RFC 9114, section 4.2.2).
    #[inline]
    pub fn size(&self) -> usize {
        self.name.len() + self.value.len() + FIELD_OVERHEAD
    }
}

/// A part of a block that cannot be read, whatever it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The input ends within it.
    Truncated,
    /// An integer of more bits than are accepted here.
    IntegerOverflow,
    /// EOS, or padding that is longer than 7 bits or not all ones (RFC 7541, section 5.2).
    InvalidHuffman,
}

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
