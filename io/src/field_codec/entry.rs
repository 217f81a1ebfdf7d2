//! Entries of the static tables, and fields that an index stands for.
use super::{Decoded, Kind, Pseudo, table::Field};
use crate::head::FieldId;

/// An entry of a static table.
pub struct Entry {
    /// The name, with the colon of a pseudo-header field.
    pub name: &'static str,
    /// The value; empty where the entry has none.
    pub value: &'static str,
    /// What is known of the name.
    pub kind: Kind,
}

impl Entry {
    /// A pseudo-header field.
    pub const fn pseudo(pseudo: Pseudo, value: &'static str) -> Entry {
        Entry { name: pseudo.as_str(), value, kind: Kind::pseudo(pseudo) }
    }

    /// A field that the house knows.
    pub const fn field(id: FieldId, value: &'static str) -> Entry {
        Entry { name: id.as_str(), value, kind: Kind::field(id) }
    }

    /// Another field.
    pub const fn other(name: &'static str, value: &'static str) -> Entry {
        Entry { name, value, kind: Kind::OTHER }
    }

    /// As a decoded field.
    #[inline]
    pub fn decoded(&self) -> Decoded<'static> {
        Decoded {
            name: self.name.as_bytes(),
            value: self.value.as_bytes(),
            id: self.kind.id,
            pseudo: self.kind.pseudo,
            name_checked: true,
            value_checked: true,
            never_indexed: false,
        }
    }
}

impl<'a> Field<'a> {
    /// As a decoded field.
    #[inline]
    pub fn decoded(&self) -> Decoded<'a> {
        Decoded {
            name: self.name,
            value: self.value,
            id: self.kind.id,
            pseudo: self.kind.pseudo,
            name_checked: self.checked.name,
            value_checked: self.checked.value,
            never_indexed: false,
        }
    }
}
