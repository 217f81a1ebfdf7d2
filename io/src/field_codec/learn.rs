//! Which fields without an id repeat on a connection: one slot for each name, told apart by a hash.

/// How many names are watched at a time, a power of two.
const SLOTS: usize = 32;

/// What is known of the name that was last seen here.
#[derive(Clone, Copy, Default)]
pub struct Slot {
    /// Hash of the name.
    name: u32,
    /// Hash of its last value; 0: none.
    value: u32,
    /// The number of the insertion; 0: none.
    pub number: u32,
}

/// The slots.
pub struct Learned {
    slots: [Slot; SLOTS],
}

/// One step of a hash: mixes eight bytes in.
#[inline]
fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A hash of all bytes; with `fold`, capital letters count as small ones (and some other bytes as others).
pub fn hash(bytes: &[u8], fold: bool) -> u32 {
    let fold = if fold { u64::MAX / 0xff * 0x20 } else { 0 };
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash = words.iter().fold(bytes.len() as u64, |h, word| mix(h, u64::from_le_bytes(*word) | fold));
    if !rest.is_empty() {
        let mut word = [0; 8];
        word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        hash = mix(hash, u64::from_le_bytes(word) | fold);
    }
    (hash >> 32) as u32
}

impl Default for Learned {
    fn default() -> Learned {
        Learned::new()
    }
}

impl Learned {
    /// Slots that know nothing.
    pub fn new() -> Learned {
        Learned { slots: [Slot::default(); SLOTS] }
    }

    /// The slot of this name, cleared if another name had it.
    #[inline]
    pub fn slot(&mut self, name: &[u8]) -> &mut Slot {
        let hash = hash(name, true);
        let slot = &mut self.slots[hash as usize % SLOTS];
        if slot.name != hash {
            *slot = Slot { name: hash, ..Slot::default() };
        }
        slot
    }
}

impl Slot {
    /// Whether this value is the one that came last; it is now. A false yes, of one in 2^32, costs an entry.
    #[inline]
    pub fn has_come(&mut self, value: &[u8]) -> bool {
        // Never 0, which stands for none.
        let hash = hash(value, false) | 1;
        std::mem::replace(&mut self.value, hash) == hash
    }
}
