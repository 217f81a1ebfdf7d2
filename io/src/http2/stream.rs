//! The open streams of a connection: their state in slots that are used again, found by id through a small table.
use super::Priority;

/// Where a stream's state is.
pub(super) type Slot = u16;
/// No slot.
pub(super) const NONE: Slot = u16::MAX;
/// The message's length is not known.
pub(super) const UNKNOWN: u64 = u64::MAX;

/// One open stream.
pub(super) struct Stream {
    pub id: u32,
    /// What the peer lets us send; negative after its settings shrank it (RFC 9113, section 6.9.2).
    pub send_window: i32,
    /// What the peer may still send.
    pub recv_window: i32,
    /// Data that came and that the owner has not taken.
    pub unconsumed: u32,
    /// Data taken, for which no WINDOW_UPDATE went out yet.
    pub unannounced: u32,
    /// What the message still owes of its `content-length`, or [`UNKNOWN`].
    pub body_left: u64,
    /// What its head counts in the connection's memory.
    pub head_bytes: u32,
    /// The peer has not ended its direction.
    pub recv_open: bool,
    /// We have not ended ours.
    pub send_open: bool,
    /// The head of the peer's message has come (a final response's).
    pub head_received: bool,
    /// We have sent the head of our message (a final response's).
    pub head_sent: bool,
    /// The response has no body, whatever its fields say: it answers HEAD.
    pub bodiless: bool,
    /// The request is a CONNECT: a tunnel without a `content-length`.
    pub connect: bool,
    /// The owner has data that did not fit.
    pub blocked: bool,
    /// Its turn to send has come, and it has not sent since.
    pub called: bool,
    /// It is in a queue of `Waiting`.
    pub queued: bool,
    pub priority: Priority,
    /// Its neighbours in that queue; `after` also links free slots.
    pub before: Slot,
    pub after: Slot,
}

impl Default for Stream {
    fn default() -> Stream {
        Stream {
            id: 0,
            send_window: 0,
            recv_window: 0,
            unconsumed: 0,
            unannounced: 0,
            body_left: UNKNOWN,
            head_bytes: 0,
            recv_open: true,
            send_open: true,
            head_received: false,
            head_sent: false,
            bodiless: false,
            connect: false,
            blocked: false,
            called: false,
            queued: false,
            priority: Priority::default(),
            before: NONE,
            after: NONE,
        }
    }
}

/// All open streams.
pub(super) struct Streams {
    slots: Vec<Stream>,
    free: Slot,
    open: u32,
    table: Table,
}

impl Streams {
    pub(super) fn new() -> Streams {
        Streams { slots: Vec::new(), free: NONE, open: 0, table: Table::default() }
    }

    /// How many are open.
    #[inline]
    pub(super) fn len(&self) -> u32 {
        self.open
    }

    #[inline]
    pub(super) fn find(&self, id: u32) -> Option<Slot> {
        self.table.get(id)
    }

    /// The stream in a slot that [`Streams::find`], [`Streams::insert`] or a queue named.
    #[inline]
    pub(super) fn at(&mut self, slot: Slot) -> &mut Stream {
        &mut self.slots[usize::from(slot)]
    }

    /// Opens a stream whose id is not open. The caller keeps to 32,768 of them.
    #[inline]
    pub(super) fn insert(&mut self, stream: Stream) -> Slot {
        let id = stream.id;
        let slot = match self.free {
            NONE => {
                self.slots.push(stream);
                (self.slots.len() - 1) as Slot
            }
            slot => {
                self.free = self.at(slot).after;
                *self.at(slot) = stream;
                slot
            }
        };
        self.open += 1;
        self.table.insert(id, slot, self.open);
        slot
    }

    /// Forgets a stream that stands in no queue.
    #[inline]
    pub(super) fn remove(&mut self, slot: Slot) {
        let free = self.free;
        let stream = self.at(slot);
        let id = std::mem::take(&mut stream.id);
        stream.after = free;
        self.free = slot;
        self.open -= 1;
        self.table.remove(id);
    }

    /// The slots of all open streams, in no order.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        let slots: Vec<Slot> = self.table.entries.iter().filter(|e| e.id != 0).map(|e| e.slot).collect();
        slots.into_iter()
    }

    /// The first open stream found for which `wanted` holds.
    pub(super) fn any(&self, wanted: impl Fn(&Stream) -> bool) -> Option<Slot> {
        self.slots.iter().position(|s| s.id != 0 && wanted(s)).map(|at| at as Slot)
    }

    /// Heap bytes.
    pub(super) fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<Stream>() + self.table.entries.capacity() * size_of::<Entry>()
    }

    /// Gives memory back, if no stream is open.
    pub(super) fn release_memory(&mut self) {
        if self.open == 0 {
            *self = Streams::new();
        }
    }
}

/// An id and its slot; id 0 where free.
#[derive(Clone, Copy, Default)]
struct Entry {
    id: u32,
    slot: Slot,
}

/// Open addressing with linear probing. Ids in use are close together and two apart, so that half the id, cut to the
/// table's size, is all but free of collisions; ids chosen to collide cost a walk over the open streams.
#[derive(Default)]
struct Table {
    /// Empty, or a power of two, at most half full.
    entries: Vec<Entry>,
}

impl Table {
    #[inline]
    fn mask(&self) -> usize {
        self.entries.len().wrapping_sub(1)
    }

    #[inline]
    fn home(&self, id: u32) -> usize {
        (id >> 1) as usize & self.mask()
    }

    #[inline]
    fn get(&self, id: u32) -> Option<Slot> {
        let mut at = self.home(id);
        loop {
            let entry = self.entries.get(at)?;
            if entry.id == id && id != 0 {
                return Some(entry.slot);
            }
            if entry.id == 0 {
                return None;
            }
            at = (at + 1) & self.mask();
        }
    }

    #[inline]
    fn insert(&mut self, id: u32, slot: Slot, open: u32) {
        if self.entries.len() < open as usize * 2 {
            self.grow(open);
        }
        self.place(Entry { id, slot });
    }

    #[cold]
    fn grow(&mut self, open: u32) {
        let size = (open as usize * 2).next_power_of_two().max(8);
        let old = std::mem::replace(&mut self.entries, vec![Entry::default(); size]);
        for entry in old.into_iter().filter(|e| e.id != 0) {
            self.place(entry);
        }
    }

    #[inline]
    fn place(&mut self, entry: Entry) {
        let mut at = self.home(entry.id);
        while self.entries[at].id != 0 {
            at = (at + 1) & self.mask();
        }
        self.entries[at] = entry;
    }

    /// Takes an entry out and moves those behind it that would not be found any more.
    #[inline]
    fn remove(&mut self, id: u32) {
        let mut hole = self.home(id);
        loop {
            match self.entries.get(hole) {
                Some(entry) if entry.id == id => break,
                Some(entry) if entry.id != 0 => hole = (hole + 1) & self.mask(),
                _ => return,
            }
        }
        let mut at = (hole + 1) & self.mask();
        while self.entries[at].id != 0 {
            let home = self.home(self.entries[at].id);
            if at.wrapping_sub(home) & self.mask() >= at.wrapping_sub(hole) & self.mask() {
                self.entries[hole] = self.entries[at];
                hole = at;
            }
            at = (at + 1) & self.mask();
        }
        self.entries[hole] = Entry::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn the_table_is_a_map(steps in proptest::collection::vec((0u32..40, any::<bool>(), any::<bool>()), 0..200)) {
            let mut streams = Streams::new();
            let mut model = HashMap::new();
            for (n, far, remove) in steps {
                // Ids that are neighbours, and ids that collide with them.
                let id = if far { (n << 9) | 1 } else { (n << 1) | 1 };
                if remove {
                    if let Some(slot) = model.remove(&id) {
                        streams.remove(slot);
                    }
                } else {
                    model.entry(id).or_insert_with(|| streams.insert(Stream { id, ..Stream::default() }));
                }
                prop_assert_eq!(streams.len() as usize, model.len());
                for (id, slot) in &model {
                    prop_assert_eq!(streams.find(*id), Some(*slot));
                    prop_assert_eq!(streams.at(*slot).id, *id);
                }
                prop_assert_eq!(streams.slots().count(), model.len());
                prop_assert_eq!(streams.find(0), None);
            }
        }
    }

    #[test]
    fn slots_are_used_again() {
        let mut streams = Streams::new();
        for id in (1..10_001).step_by(2) {
            let slot = streams.insert(Stream { id, ..Stream::default() });
            if id > 100 {
                let old = streams.find(id - 100).unwrap();
                streams.remove(old);
            }
            assert!(usize::from(slot) <= 51);
        }
        assert!(streams.slots.len() <= 51 && streams.table.entries.len() <= 128);
        assert!(streams.any(|s| s.id == 9999).is_some());
        for slot in streams.slots() {
            streams.remove(slot);
        }
        streams.release_memory();
        assert_eq!(streams.memory(), 0);
    }
}
