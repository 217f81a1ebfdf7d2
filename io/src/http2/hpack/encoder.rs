//! Encodes header blocks (RFC 7541, section 6): processor time first, then bytes.
use super::{
    TABLE_BYTES_DEFAULT,
    literal::{self, Form},
    static_table,
};
use crate::{
    field_codec::{
        FIELD_OVERHEAD, KINDS, Kind, Pseudo, integer,
        learn::Learned,
        policy::{self, Policy},
        table::{Checked, Field, Name, Table},
    },
    head::FieldId,
};

/// How many values of one name are looked at for one that can be sent again by its index.
const VALUES_COMPARED: usize = 4;

/// A field that would take more than one part in this many of the table is not inserted: it would push out the rest.
const ENTRY_SHARE: usize = 4;

/// The entries' bytes came from this house: no one asks.
const UNCHECKED: Checked = Checked { name: false, value: false };

/// The sending side of a connection. Of each name that tends to repeat it remembers the last values, so that sending one
/// again takes one comparison and one byte; nothing is searched.
pub struct Encoder {
    table: Table,
    /// Most bytes of the table that this side wants, whatever the peer allows.
    most: usize,
    /// The peer has not been told of the table's size, which has been set as low as this since it was.
    untold: Option<usize>,
    /// The number of the last insertion of each kind; 0: none.
    last: [u32; KINDS],
    /// What repeats among the names without an id; `None` where they are not to be indexed.
    learned: Option<Learned>,
}

impl Encoder {
    /// An encoder that uses a table of at most `table_bytes`, and no more than the peer's SETTINGS_HEADER_TABLE_SIZE
    /// (4096 until [`Encoder::set_max`]).
    pub fn new(table_bytes: u32) -> Encoder {
        let most = table_bytes as usize;
        let default = TABLE_BYTES_DEFAULT as usize;
        let size = most.min(default);
        Encoder {
            table: Table::new(size),
            most,
            untold: (size < default).then_some(size),
            last: [0; KINDS],
            learned: Some(Learned::new()),
        }
    }

    /// The same for a connection that carries messages of many clients: fields without an id, which may hold anyone's
    /// secrets, never enter the table, so that no client can probe for another's (RFC 7541, section 7.1.1).
    #[must_use]
    pub fn shared(mut self) -> Encoder {
        self.learned = None;
        self
    }

    /// The peer's SETTINGS_HEADER_TABLE_SIZE, which it has just sent. The next block says what becomes of it.
    pub fn set_max(&mut self, peer_setting: u32) {
        let size = self.most.min(peer_setting as usize);
        if size == self.table.max() {
            return;
        }
        self.untold = Some(self.untold.map_or(size, |lowest| lowest.min(size)));
        self.table.resize(size);
    }

    /// Bytes held on the heap: at most two tables and 40 bytes for each of their entries.
    pub fn memory(&self) -> usize {
        self.table.memory()
    }

    /// Starts a header block: appends the size updates that are due (RFC 7541, section 4.2). Blocks are to be sent in the
    /// order in which they were encoded, every one of them, and whole.
    #[inline]
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some(lowest) = self.untold.take() {
            if lowest < self.table.max() {
                integer::write(out, 0x20, 5, lowest);
            }
            integer::write(out, 0x20, 5, self.table.max());
        }
    }

    /// Appends `:status`. `code` has three digits; others are cut to that.
    #[inline]
    pub fn status(&mut self, out: &mut Vec<u8>, code: u16) {
        match static_table::static_status(code) {
            Some(index) => out.push(0x80 | index),
            None => {
                let digit = |n: u16| b'0' + (n % 10) as u8;
                self.repeated(out, Kind::pseudo(Pseudo::Status), &[digit(code / 100), digit(code / 10), digit(code)]);
            }
        }
    }

    /// Appends a pseudo-header field.
    pub fn pseudo(&mut self, out: &mut Vec<u8>, pseudo: Pseudo, value: &[u8]) {
        let kind = Kind::pseudo(pseudo);
        match static_table::static_pseudo(pseudo, value) {
            Some(index) => out.push(0x80 | index),
            None if pseudo == Pseudo::Path => literal::known(out, Form::Plain, kind, value),
            None => self.repeated(out, kind, value),
        }
    }

    /// Appends a field. `id` is the id of `name`, which may be in any case and is written in lower case; where `id` is
    /// not `Other`, `name` is not looked at.
    #[inline]
    pub fn field(&mut self, out: &mut Vec<u8>, id: FieldId, name: &[u8], value: &[u8]) {
        let kind = Kind::field(id);
        match policy::of(id) {
            _ if id == FieldId::Other => self.other(out, name, value),
            Policy::Index => self.repeated(out, kind, value),
            Policy::Plain => literal::known(out, Form::Plain, kind, value),
            Policy::Never => literal::known(out, Form::Never, kind, value),
            Policy::Cookie if value.len() < policy::COOKIE_LONG => literal::known(out, Form::Never, kind, value),
            Policy::Cookie => literal::known(out, Form::Plain, kind, value),
        }
    }

    /// Appends a field that no one on the way may compress: one that came that way
    /// ([`crate::field_codec::Decoded::never_indexed`]) has to go on that way (RFC 7541, section 6.2.3).
    pub fn never_indexed(&mut self, out: &mut Vec<u8>, id: FieldId, name: &[u8], value: &[u8]) {
        if id == FieldId::Other {
            literal::other(out, Form::Never, name, value);
        } else {
            literal::known(out, Form::Never, Kind::field(id), value);
        }
    }

    /// A field whose value tends to come again.
    #[inline]
    fn repeated(&mut self, out: &mut Vec<u8>, kind: Kind, value: &[u8]) {
        if kind.id == FieldId::AcceptEncoding && value == static_table::ACCEPT_ENCODING {
            return out.push(0x80 | static_table::ACCEPT_ENCODING_INDEX);
        }
        let last = self.last.get(kind.index()).copied().unwrap_or(0);
        let newest = self.table.inserted().wrapping_sub(last) as usize;
        match self.find(newest, kind, value) {
            Some(index) => integer::write(out, 0x80, 7, static_table::LEN + 1 + index),
            None => self.insert(out, kind, value, last),
        }
    }

    /// The entry with this value among the last of this kind, the newest of which is `index` if it is there.
    #[inline]
    fn find(&self, mut index: usize, kind: Kind, value: &[u8]) -> Option<usize> {
        for _ in 0..VALUES_COMPARED {
            // The kind is compared because numbers wrap around.
            let field = self.table.get(index).filter(|f| f.kind == kind)?;
            if field.value == value {
                return Some(index);
            }
            index = self.table.previous(index)?;
        }
        None
    }

    #[cold]
    fn insert(&mut self, out: &mut Vec<u8>, kind: Kind, value: &[u8], last: u32) {
        let name = kind.name();
        if !self.is_welcome(name.len() + value.len()) {
            return literal::known(out, Form::Plain, kind, value);
        }
        literal::known(out, Form::Insert, kind, value);
        self.table.insert(Name::Bytes(name.as_bytes()), value, kind, UNCHECKED, (last != 0).then_some(last));
        if let Some(last) = self.last.get_mut(kind.index()) {
            *last = self.table.inserted();
        }
    }

    /// Whether an entry with this many bytes may enter the table.
    fn is_welcome(&self, bytes: usize) -> bool {
        bytes + FIELD_OVERHEAD <= self.table.max() / ENTRY_SHARE
    }

    /// A field without an id: indexed when it has come twice the same.
    fn other(&mut self, out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
        let welcome = self.is_welcome(name.len() + value.len());
        let Some(learned) = self.learned.as_mut().filter(|_| welcome) else {
            return literal::other(out, Form::Plain, name, value);
        };
        let slot = learned.slot(name);
        let index = self.table.inserted().wrapping_sub(slot.number) as usize;
        let is_same = |f: &Field<'_>| {
            f.value == value && (f.name == name || f.name.eq_ignore_ascii_case(name)) && f.kind == Kind::OTHER
        };
        if self.table.get(index).is_some_and(|f| is_same(&f)) {
            return integer::write(out, 0x80, 7, static_table::LEN + 1 + index);
        }
        if !slot.has_come(value) {
            return literal::other(out, Form::Plain, name, value);
        }
        literal::other(out, Form::Insert, name, value);
        // In any case: it is only compared with names in any case.
        self.table.insert(Name::Bytes(name), value, Kind::OTHER, UNCHECKED, None);
        slot.number = self.table.inserted();
    }
}
