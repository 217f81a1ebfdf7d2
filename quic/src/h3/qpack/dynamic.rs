//! The encoder's dynamic table: what repeats on the connection, and what the peer is known to have.
use super::{
    ENCODER_TABLE_BYTES_MAX, literal, max_entries,
    outstanding::Outstanding,
    static_table::{self, Run},
};
use edge_io::field_codec::{
    FIELD_OVERHEAD, KINDS, Kind, integer,
    learn::{self, Learned},
    table::{Checked, Field, Name, Table},
};

/// How many values of one name are looked at for one that can be sent again by its index.
const VALUES_COMPARED: usize = 4;

/// A field that would take more than one part in this many of the table is not inserted: it would push out the rest.
const ENTRY_SHARE: usize = 4;

/// Entries beyond the newest that fit three parts in this many of the table are on their way out: they are copied to the front
/// rather than named, so that what is named all the time does not keep all that is older (RFC 9204, section 2.1.1.1). What is
/// left has room for one entry of an [`ENTRY_SHARE`].
const DRAINING_SHARE: usize = 4;

/// The entries' bytes came from this house: no one asks.
const UNCHECKED: Checked = Checked { name: false, value: false };

/// What is known of the values of one kind.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// Hashes of the last two values that were not in the table; 0: none.
    values: [u32; 2],
    /// The number of the last insertion; 0: none.
    number: u32,
}

impl Seen {
    /// Whether this value is one of the last two; it is the last now. A false yes, of one in 2^31, costs an entry.
    fn has_come(&mut self, value: &[u8]) -> bool {
        // Never 0, which stands for none.
        let hash = learn::hash(value, false) | 1;
        let [last, before] = self.values;
        self.values = if last == hash { [last, before] } else { [hash, last] };
        last == hash || before == hash
    }
}

/// What a peer that allows a table needs of us.
pub(super) struct Dynamic {
    table: Table,
    /// Entries that the peer's setting has room for.
    pub(super) max_entries: u64,
    /// The peer was told of the capacity.
    is_told: bool,
    inserted: u64,
    /// The Known Received Count (RFC 9204, section 2.1.4).
    pub(super) known: u64,
    /// Entries below this absolute index are on their way out; the size of the others.
    draining: u64,
    fresh_bytes: usize,
    seen: [Seen; KINDS],
    learned: Learned,
    pub(super) outstanding: Outstanding,
}

/// Where a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Not in the table.
    Nowhere,
    /// In an entry that the section may not name: the peer has not acknowledged it.
    OnItsWay,
    /// In this entry.
    At(u64),
    /// In this entry, which is not to be named any more.
    Draining(u64),
}

/// The section that is being written.
#[derive(Clone, Copy, Default)]
pub(super) struct Open {
    pub(super) stream: u64,
    /// Where its prefix is in the output.
    pub(super) start: usize,
    /// Its Base: entries below it may be named.
    pub(super) base: u64,
    /// Its Required Insert Count, so far.
    pub(super) required: u64,
    /// The oldest entry it names, if `required` is not 0.
    pub(super) oldest: u64,
}

impl Open {
    /// Names the entry with this absolute index; false: the section may not.
    #[inline]
    pub(super) fn name(&mut self, out: &mut Vec<u8>, absolute: u64) -> bool {
        if absolute >= self.base {
            return false;
        }
        self.oldest = if self.required == 0 { absolute } else { self.oldest.min(absolute) };
        self.required = self.required.max(absolute + 1);
        integer::write(out, 0x80, 6, (self.base - 1 - absolute) as usize);
        true
    }
}

/// What is to be inserted.
struct New<'a> {
    run: Run,
    kind: Kind,
    name: &'a [u8],
    value: &'a [u8],
    /// The number of the last insertion of the same kind.
    last: Option<u32>,
}

impl Dynamic {
    /// For a peer that allows `table_bytes`.
    pub(super) fn new(table_bytes: u32) -> Dynamic {
        Dynamic {
            table: Table::new(table_bytes.min(ENCODER_TABLE_BYTES_MAX) as usize),
            max_entries: max_entries(table_bytes),
            is_told: false,
            inserted: 0,
            known: 0,
            draining: 0,
            fresh_bytes: 0,
            seen: [Seen::default(); KINDS],
            learned: Learned::new(),
            outstanding: Outstanding::new(),
        }
    }

    /// Bytes held on the heap, with this itself.
    pub(super) fn memory(&self) -> usize {
        size_of::<Dynamic>() + self.table.memory() + self.outstanding.memory()
    }

    /// The peer has `count` more insertions; false: there were not so many, or `count` is 0.
    pub(super) fn acknowledge_inserts(&mut self, count: u64) -> bool {
        if count == 0 || count > self.inserted - self.known {
            return false;
        }
        self.known += count;
        true
    }

    /// The absolute index of the entry `index`, which is counted from the newest.
    #[inline]
    fn absolute(&self, index: usize) -> u64 {
        self.inserted.saturating_sub(1).saturating_sub(index as u64)
    }

    /// Where this value is among the last of this kind. An entry that is on its way out is only named while a copy of it is on
    /// its way to the peer.
    #[inline]
    pub(super) fn find(&self, open: &Open, kind: Kind, value: &[u8]) -> Found {
        let Some(seen) = self.seen.get(kind.index()) else { return Found::Nowhere };
        let mut index = self.table.inserted().wrapping_sub(seen.number) as usize;
        let mut found = Found::Nowhere;
        for _ in 0..VALUES_COMPARED {
            // The kind is compared because numbers wrap around.
            let Some(field) = self.table.get(index).filter(|f| f.kind == kind) else { break };
            if field.value == value {
                let absolute = self.absolute(index);
                if absolute < open.base {
                    let may_stay = absolute >= self.draining || found == Found::OnItsWay;
                    return if may_stay { Found::At(absolute) } else { Found::Draining(absolute) };
                }
                found = Found::OnItsWay;
            }
            let Some(previous) = self.table.previous(index) else { break };
            index = previous;
        }
        found
    }

    /// Copies an entry of this kind to the front; whether it may be named until the copy is there.
    #[cold]
    pub(super) fn renew(&mut self, stream: &mut Vec<u8>, open: &Open, kind: Kind, absolute: u64) -> bool {
        let number = self.seen.get(kind.index()).map_or(0, |seen| seen.number);
        let is_renewed = self.duplicate(stream, open, absolute, (number != 0).then_some(number));
        if let Some(seen) = self.seen.get_mut(kind.index()).filter(|_| is_renewed) {
            seen.number = self.table.inserted();
        }
        is_renewed
    }

    /// Takes note of a value that is not in the table, and inserts it when it comes again.
    #[cold]
    pub(super) fn learn(&mut self, stream: &mut Vec<u8>, open: &Open, kind: Kind, value: &[u8]) {
        let name = kind.name().as_bytes();
        if !self.is_welcome(name.len() + value.len()) {
            return;
        }
        let Some(seen) = self.seen.get_mut(kind.index()) else { return };
        let last = (seen.number != 0).then_some(seen.number);
        if !seen.has_come(value)
            || !self.insert(stream, open, New { run: static_table::run(kind), kind, name, value, last })
        {
            return;
        }
        if let Some(seen) = self.seen.get_mut(kind.index()) {
            seen.number = self.table.inserted();
        }
    }

    /// The same for a field without an id, unless it is in the table: then its absolute index.
    pub(super) fn other(
        &mut self,
        stream: &mut Vec<u8>,
        open: &Open,
        run: Run,
        name: &[u8],
        value: &[u8],
    ) -> Option<u64> {
        if !self.is_welcome(name.len() + value.len()) {
            return None;
        }
        let slot = self.learned.slot(name);
        let index = self.table.inserted().wrapping_sub(slot.number) as usize;
        let is_same = |f: &Field<'_>| {
            f.value == value && (f.name == name || f.name.eq_ignore_ascii_case(name)) && f.kind == Kind::OTHER
        };
        if self.table.get(index).is_some_and(|f| is_same(&f)) {
            let absolute = self.absolute(index);
            if absolute >= self.draining || absolute >= open.base {
                return Some(absolute);
            }
            let is_renewed = self.duplicate(stream, open, absolute, None);
            if is_renewed {
                self.learned.slot(name).number = self.table.inserted();
            }
            return is_renewed.then_some(absolute);
        }
        // In any case: it is only compared with names in any case.
        if slot.has_come(value) && self.insert(stream, open, New { run, kind: Kind::OTHER, name, value, last: None }) {
            self.learned.slot(name).number = self.table.inserted();
        }
        None
    }

    /// Whether an entry with this many bytes may enter the table.
    fn is_welcome(&self, bytes: usize) -> bool {
        bytes + FIELD_OVERHEAD <= self.table.max() / ENTRY_SHARE
    }

    /// Inserts a field, if [`Dynamic::has_room`].
    fn insert(&mut self, stream: &mut Vec<u8>, open: &Open, new: New<'_>) -> bool {
        let New { run, kind, name, value, last } = new;
        let bytes = name.len() + value.len() + FIELD_OVERHEAD;
        if !self.has_room(open, bytes, u64::MAX) {
            return false;
        }
        if !self.is_told {
            self.is_told = true;
            integer::write(stream, 0x20, 5, self.table.max());
        }
        literal::insert(stream, run, name, value);
        self.table.insert(Name::Bytes(name), value, kind, UNCHECKED, last);
        self.inserted_bytes(bytes);
        true
    }

    /// Inserts a copy of an entry (RFC 9204, section 4.3.4), if [`Dynamic::has_room`] beside the entry itself.
    fn duplicate(&mut self, stream: &mut Vec<u8>, open: &Open, absolute: u64, last: Option<u32>) -> bool {
        let index = (self.inserted.saturating_sub(1)).saturating_sub(absolute) as usize;
        let Some(bytes) = self.table.get(index).map(|f| f.name.len() + f.value.len() + FIELD_OVERHEAD) else {
            return false;
        };
        if !self.has_room(open, bytes, absolute) {
            return false;
        }
        integer::write(stream, 0x00, 5, index);
        self.table.duplicate(index, last);
        self.inserted_bytes(bytes);
        true
    }

    /// Whether an entry can be inserted without evicting one which the peer has not acknowledged, or which a section names
    /// that it has not (RFC 9204, section 2.1.1), or `kept` or a newer one.
    fn has_room(&self, open: &Open, bytes: usize, kept: u64) -> bool {
        match self.table.would_evict(bytes) {
            None => false,
            Some(0) => true,
            Some(evicted) => {
                let here = if open.required > 0 { open.oldest } else { u64::MAX };
                let kept = kept.min(self.known).min(here).min(self.outstanding.oldest());
                self.inserted - self.table.len() as u64 + evicted as u64 <= kept
            }
        }
    }

    /// Counts an insertion.
    fn inserted_bytes(&mut self, bytes: usize) {
        self.inserted += 1;
        self.fresh_bytes += bytes;
        while self.fresh_bytes > self.table.max() - self.table.max() / DRAINING_SHARE {
            let index = self.inserted.saturating_sub(1).saturating_sub(self.draining) as usize;
            let Some(field) = self.table.get(index) else { return };
            self.fresh_bytes -= field.name.len() + field.value.len() + FIELD_OVERHEAD;
            self.draining += 1;
        }
    }
}
