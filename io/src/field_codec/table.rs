//! The dynamic table (RFC 7541, sections 2.3.2 and 4): one buffer of bytes and one ring of entries, whoever owns it.
use super::{FIELD_OVERHEAD, Kind};

/// The first growth of the buffer, in bytes, and of the ring, in entries: a connection with little to say stays small.
const BYTES_FIRST: usize = 512;
const ENTRIES_FIRST: usize = 16;

/// Where an entry is and what is known of it. Positions count all bytes ever inserted, modulo 2^32.
#[derive(Clone, Copy)]
struct Entry {
    position: u32,
    name_len: u32,
    value_len: u32,
    kind: Kind,
    checked: Checked,
    /// How many insertions before this one an entry of the same kind was inserted; 0: none that can be told.
    previous: u16,
}

/// Which parts of a field are known to be well formed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// [`super::is_name`], or the name of a known pseudo-header field.
    pub name: bool,
    /// [`super::is_value`].
    pub value: bool,
}

/// A field of the table.
pub struct Field<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// What is known of the name.
    pub kind: Kind,
    /// What is known of both.
    pub checked: Checked,
}

/// Where the name of a new entry comes from.
pub enum Name<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// The entry with this index, counted from the newest.
    Of(usize),
}

/// The dynamic table. Entries are counted from the newest, which is 0.
pub struct Table {
    /// Bytes of the entries, in the order of their insertion; at the front there may be bytes of evicted ones.
    bytes: Vec<u8>,
    /// Position of `bytes[0]`.
    base: u32,
    /// Entries by insertion number, modulo the length, which is a power of two (or 0).
    ring: Vec<Entry>,
    /// How many entries were ever inserted, modulo 2^32.
    inserted: u32,
    len: usize,
    size: usize,
    max: usize,
}

const NO_ENTRY: Entry = Entry {
    position: 0,
    name_len: 0,
    value_len: 0,
    kind: Kind::OTHER,
    checked: Checked { name: false, value: false },
    previous: 0,
};

impl Table {
    /// An empty table of at most `max` bytes as RFC 7541, section 4.1 counts them. It allocates when it is used.
    pub fn new(max: usize) -> Table {
        Table { bytes: Vec::new(), base: 0, ring: Vec::new(), inserted: 0, len: 0, size: 0, max }
    }

    /// How many entries there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The size set, in bytes.
    #[inline]
    pub fn max(&self) -> usize {
        self.max
    }

    /// The number of the last insertion, modulo 2^32; 0 before the first.
    #[inline]
    pub fn inserted(&self) -> u32 {
        self.inserted
    }

    /// Bytes held on the heap.
    pub fn memory(&self) -> usize {
        self.bytes.capacity() + self.ring.capacity() * size_of::<Entry>()
    }

    /// Sets the size and evicts what does not fit it (RFC 7541, section 4.3).
    pub fn resize(&mut self, max: usize) {
        self.max = max;
        self.evict(max);
        if max == 0 {
            (self.bytes, self.ring) = (Vec::new(), Vec::new());
            self.base = 0;
        }
    }

    /// The slot of the entry `index`, which may be one that is not there.
    #[inline]
    fn entry(&self, index: usize) -> Option<&Entry> {
        if index >= self.len {
            return None;
        }
        let number = (self.inserted as usize).wrapping_sub(index);
        self.ring.get(number & self.ring.len().wrapping_sub(1))
    }

    #[inline]
    fn slice(&self, position: u32, len: u32) -> &[u8] {
        let start = position.wrapping_sub(self.base) as usize;
        self.bytes.get(start..start + len as usize).unwrap_or(&[])
    }

    /// The entry `index`.
    #[inline]
    pub fn get(&self, index: usize) -> Option<Field<'_>> {
        let entry = self.entry(index)?;
        Some(Field {
            name: self.slice(entry.position, entry.name_len),
            value: self.slice(entry.position.wrapping_add(entry.name_len), entry.value_len),
            kind: entry.kind,
            checked: entry.checked,
        })
    }

    /// The entry of the same kind that was inserted before the entry `index`, if it is still there.
    #[inline]
    pub fn previous(&self, index: usize) -> Option<usize> {
        let entry = self.entry(index)?;
        let previous = index + usize::from(entry.previous);
        (entry.previous != 0 && previous < self.len).then_some(previous)
    }

    /// Inserts a field and evicts what it takes the place of (RFC 7541, section 4.4). One that is larger than the table
    /// empties it. `last` is the number of the last insertion of the same kind, if it is known.
    pub fn insert(&mut self, name: Name<'_>, value: &[u8], kind: Kind, checked: Checked, last: Option<u32>) {
        let (from, name_len) = match name {
            Name::Bytes(name) => (None, name.len()),
            Name::Of(index) => match self.entry(index) {
                Some(entry) => (Some(entry.position), entry.name_len as usize),
                None => return,
            },
        };
        let size = name_len + value.len() + FIELD_OVERHEAD;
        let Some(rest) = self.max.checked_sub(size) else { return self.evict(0) };
        self.evict(rest);
        self.make_room(name_len + value.len(), from);
        let position = self.end();
        match (name, from) {
            (Name::Bytes(name), _) => self.bytes.extend_from_slice(name),
            (_, Some(from)) => {
                let start = from.wrapping_sub(self.base) as usize;
                self.bytes.extend_from_within(start..start + name_len);
            }
            _ => {}
        }
        self.bytes.extend_from_slice(value);
        let previous = self.distance(last);
        self.push(Entry {
            position,
            name_len: name_len as u32,
            value_len: value.len() as u32,
            kind,
            checked,
            previous,
        });
        self.size += size;
    }

    /// Inserts a copy of the entry `index`, if it is there (RFC 9204, section 4.3.4); `last` as for [`Table::insert`].
    pub fn duplicate(&mut self, index: usize, last: Option<u32>) {
        let Some(&Entry { position, name_len, value_len, kind, checked, .. }) = self.entry(index) else { return };
        let bytes = name_len as usize + value_len as usize;
        let Some(rest) = self.max.checked_sub(bytes + FIELD_OVERHEAD) else { return self.evict(0) };
        self.evict(rest);
        self.make_room(bytes, Some(position));
        let (new, start) = (self.end(), position.wrapping_sub(self.base) as usize);
        self.bytes.extend_from_within(start..start + bytes);
        let previous = self.distance(last);
        self.push(Entry { position: new, name_len, value_len, kind, checked, previous });
        self.size += bytes + FIELD_OVERHEAD;
    }

    /// How many insertions the next one is behind the insertion `last`; 0: none that can be told.
    fn distance(&self, last: Option<u32>) -> u16 {
        let number = self.inserted.wrapping_add(1);
        last.and_then(|last| u16::try_from(number.wrapping_sub(last)).ok()).unwrap_or(0)
    }

    /// How many of the oldest entries an entry of `bytes` bytes, with its overhead, would evict; `None` if it is larger than
    /// the table.
    pub fn would_evict(&self, bytes: usize) -> Option<usize> {
        let room = self.max.checked_sub(bytes)?;
        let (mut size, mut count) = (self.size, 0);
        while size > room {
            let oldest = self.entry(self.len.checked_sub(count + 1)?)?;
            size -= oldest.name_len as usize + oldest.value_len as usize + FIELD_OVERHEAD;
            count += 1;
        }
        Some(count)
    }

    fn end(&self) -> u32 {
        self.base.wrapping_add(self.bytes.len() as u32)
    }

    /// Evicts the oldest until the rest has at most `size` bytes. Their bytes stay where they are for now.
    fn evict(&mut self, size: usize) {
        while self.size > size {
            let Some(oldest) = self.len.checked_sub(1).and_then(|i| self.entry(i)) else { return };
            self.size -= oldest.name_len as usize + oldest.value_len as usize + FIELD_OVERHEAD;
            self.len -= 1;
        }
    }

    /// Makes room for `n` more bytes: drops evicted ones from the front, or grows. Those at `keep` stay: a new entry may
    /// take its name from one that it evicts. The buffer never exceeds twice the table's size: what lives before the
    /// insertion fits the table, and so does what comes.
    fn make_room(&mut self, n: usize, keep: Option<u32>) {
        let free = self.bytes.capacity() - self.bytes.len();
        if n <= free {
            return;
        }
        let oldest = self.len.checked_sub(1).and_then(|i| self.entry(i)).map_or(self.end(), |e| e.position);
        let distance = |position: u32| position.wrapping_sub(self.base) as usize;
        let dead = keep.map_or(distance(oldest), |keep| distance(keep).min(distance(oldest)));
        let most = 2 * self.max;
        // Moving what lives pays when as much is dropped, so that no byte moves more than once on average; where the
        // buffer may not grow enough there is no choice.
        if dead * 2 >= self.bytes.len() || self.bytes.len() + n > most {
            self.bytes.drain(..dead);
            self.base = self.base.wrapping_add(dead as u32);
        }
        let needed = self.bytes.len() + n;
        if needed > self.bytes.capacity() {
            let target = (2 * needed).max(BYTES_FIRST).min(most.max(needed));
            self.bytes.reserve_exact(target - self.bytes.len());
        }
    }

    fn push(&mut self, entry: Entry) {
        if self.len == self.ring.len() {
            self.grow_ring();
        }
        self.inserted = self.inserted.wrapping_add(1);
        self.len += 1;
        let at = self.inserted as usize & (self.ring.len() - 1);
        if let Some(slot) = self.ring.get_mut(at) {
            *slot = entry;
        }
    }

    fn grow_ring(&mut self) {
        let mut ring = vec![NO_ENTRY; (self.ring.len() * 2).max(ENTRIES_FIRST)];
        let mask = ring.len() - 1;
        for index in 0..self.len {
            let number = (self.inserted as usize).wrapping_sub(index);
            if let (Some(entry), Some(slot)) = (self.entry(index), ring.get_mut(number & mask)) {
                *slot = *entry;
            }
        }
        self.ring = ring;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};
    use std::collections::VecDeque;

    /// A table that does what RFC 7541, section 4 says and nothing else.
    struct Model {
        fields: VecDeque<(Vec<u8>, Vec<u8>)>,
        max: usize,
    }

    impl Model {
        fn evict(&mut self, size: usize) {
            while self.fields.iter().map(|(n, v)| n.len() + v.len() + 32).sum::<usize>() > size {
                self.fields.pop_back();
            }
        }

        fn insert(&mut self, name: Vec<u8>, value: Vec<u8>) {
            let size = name.len() + value.len() + 32;
            self.evict(self.max.saturating_sub(size));
            if size <= self.max {
                self.fields.push_front((name, value));
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8, usize, usize),
        /// With the name of the entry that is this many per cent from the newest.
        Named(usize, usize),
        /// The entry that is this many per cent from the newest, again.
        Duplicate(usize),
        Resize(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (any::<u8>(), 0..40usize, 0..200usize).prop_map(|(b, n, v)| Step::Insert(b, n, v)),
            1 => (any::<u8>(), 0..1000usize, 0..1000usize).prop_map(|(b, n, v)| Step::Insert(b, n, v)),
            4 => (0..100usize, 0..300usize).prop_map(|(at, v)| Step::Named(at, v)),
            2 => (0..100usize).prop_map(Step::Duplicate),
            1 => prop_oneof![Just(0), 0..3000usize, Just(1024)].prop_map(Step::Resize),
        ]
    }

    proptest! {
        #[test]
        fn the_table_does_what_the_model_does(steps in vec(step(), 1..300), wrapping: bool) {
            let mut table = Table::new(1024);
            let mut model = Model { fields: VecDeque::new(), max: 1024 };
            if wrapping {
                // All counters pass 2^32 on the way.
                (table.base, table.inserted) = (u32::MAX - 2000, u32::MAX - 20);
            }
            let mut largest = 1024;
            for (i, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(b, n, v) => {
                        let (name, value) = (vec![b; n], vec![i as u8; v]);
                        table.insert(Name::Bytes(&name), &value, Kind::OTHER, Checked::default(), None);
                        model.insert(name, value);
                    }
                    Step::Named(at, v) if !table.is_empty() => {
                        let (index, value) = (at * table.len() / 100, vec![i as u8; v]);
                        table.insert(Name::Of(index), &value, Kind::OTHER, Checked::default(), None);
                        let name = model.fields[index].0.clone();
                        model.insert(name, value);
                    }
                    Step::Duplicate(at) if !table.is_empty() => {
                        let index = at * table.len() / 100;
                        let (name, value) = model.fields[index].clone();
                        let (size, before) = (name.len() + value.len() + 32, table.len());
                        let evicted = table.would_evict(size);
                        table.duplicate(index, None);
                        prop_assert_eq!(evicted, Some(before + 1 - table.len()));
                        prop_assert_eq!(table.would_evict(table.max() + 1), None);
                        model.insert(name, value);
                    }
                    Step::Named(..) | Step::Duplicate(_) => {}
                    Step::Resize(max) => {
                        largest = largest.max(max);
                        table.resize(max);
                        model.max = max;
                        model.evict(max);
                    }
                }
                prop_assert_eq!(table.len(), model.fields.len());
                for (index, (name, value)) in model.fields.iter().enumerate() {
                    let field = table.get(index).expect("an entry");
                    prop_assert_eq!((field.name, field.value), (&name[..], &value[..]));
                }
                prop_assert!(table.get(table.len()).is_none());
                prop_assert!(table.bytes.capacity() <= 2 * largest, "{}", table.bytes.capacity());
            }
        }
    }

    #[test]
    fn entries_of_a_kind_are_linked() {
        let mut table = Table::new(4096);
        let mut last = None;
        for n in 0..200u8 {
            let kind = if n % 3 == 0 { Kind::field(crate::head::FieldId::Vary) } else { Kind::OTHER };
            table.insert(Name::Bytes(b"n"), &[n], kind, Checked::default(), last.filter(|_| n % 3 == 0));
            if n % 3 == 0 {
                last = Some(table.inserted());
            }
        }
        // 198 is one from the newest; each third before it is of the same kind.
        let mut index = Some(1);
        let mut n = 198;
        while let Some(at) = index {
            assert_eq!(table.get(at).map(|f| f.value.to_vec()), Some(vec![n]));
            n -= 3;
            index = table.previous(at);
        }
        assert!(usize::from(199 - n) >= table.len(), "the link leads out of the table");
    }
}
