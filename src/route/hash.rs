//! A fixed hash table: built once, then only asked. Whoever asks chooses keys freely but adds none, so that a bad key
//! costs a probe and no more; hence a fast hash without a secret.

/// Set of positions, found by hash; the keys themselves live elsewhere.
#[derive(Debug, Default)]
pub struct Slots {
    slots: Box<[Slot]>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The upper half of the hash; the lower half chooses the slot.
    tag: u32,
    /// `u32::MAX` = empty.
    value: u32,
}

impl Slots {
    /// A table of the given hashes and values, at most half full: most look-ups end at their first slot, which keeps
    /// them predictable. Values stay below `u32::MAX`.
    pub fn build(entries: &[(u64, u32)]) -> Slots {
        if entries.is_empty() {
            return Slots::default();
        }
        let capacity = (entries.len() * 2).next_power_of_two();
        let mut slots = vec![Slot { tag: 0, value: u32::MAX }; capacity].into_boxed_slice();
        for &(hash, value) in entries {
            let mut at = hash as usize & (capacity - 1);
            while slots[at].value != u32::MAX {
                at = (at + 1) & (capacity - 1);
            }
            slots[at] = Slot { tag: (hash >> 32) as u32, value };
        }
        Slots { slots }
    }

    /// The value for which `is_it` holds among those with this hash.
    #[inline]
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = hash as usize & mask;
        // Ends: half of the slots are empty. An empty table has no slot at all.
        while let Some(slot) = self.slots.get(at) {
            if slot.value == u32::MAX {
                return None;
            }
            if slot.tag == (hash >> 32) as u32 && is_it(slot.value) {
                return Some(slot.value);
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }
}

const A: u64 = 0x9E37_79B9_7F4A_7C15;
const B: u64 = 0xD1B5_4A32_D192_ED03;

/// A hash of `bytes`; different `seed`s give unrelated ones.
#[inline]
pub fn hash(bytes: &[u8], seed: u64) -> u64 {
    let mut state = seed ^ (bytes.len() as u64).wrapping_mul(A);
    let mut rest = bytes;
    while rest.len() > 16 {
        state = mix(word(rest) ^ B, word(&rest[8..]) ^ state);
        rest = &rest[16..];
    }
    // The last 16 bytes or less as two words, which overlap when there are fewer.
    let (low, high) = match rest.len() {
        8.. => (word(rest), word(&rest[rest.len() - 8..])),
        4.. => (half(rest), half(&rest[rest.len() - 4..])),
        1.. => (u64::from(rest[0]) << 8 | u64::from(rest[rest.len() / 2]), u64::from(rest[rest.len() - 1])),
        0 => (0, 0),
    };
    mix(low ^ A, high ^ state)
}

/// Both halves of the 128-bit product.
#[inline]
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Whether both are equal: eight bytes at a time in place, because names and paths are too short for a call.
#[inline]
pub fn same(a: &[u8], b: &[u8]) -> bool {
    let len = a.len();
    if len != b.len() {
        return false;
    }
    if len < 8 {
        return start_word(a) == start_word(b);
    }
    let mut at = 0;
    while at + 8 < len {
        if word(&a[at..]) != word(&b[at..]) {
            return false;
        }
        at += 8;
    }
    // The last eight, which may overlap those before.
    word(&a[len - 8..]) == word(&b[len - 8..])
}

/// The first eight bytes as a number, those missing as 0.
#[inline]
pub fn start_word(bytes: &[u8]) -> u64 {
    match bytes.len() {
        8.. => word(bytes),
        len @ 4.. => half(bytes) | half(&bytes[len - 4..]) << (8 * (len - 4)),
        len @ 1.. => {
            let middle = len / 2;
            u64::from(bytes[0])
                | u64::from(bytes[middle]) << (8 * middle)
                | u64::from(bytes[len - 1]) << (8 * (len - 1))
        }
        0 => 0,
    }
}

/// Lower-cases ASCII letters in each of the eight bytes.
#[inline]
pub fn lowercase_word(word: u64) -> u64 {
    const LOW: u64 = 0x7F7F_7F7F_7F7F_7F7F;
    let bytes = |b: u8| u64::from_ne_bytes([b; 8]);
    let ascii = word & LOW;
    // The top bit of each byte: at least 'A', and not above 'Z'; bytes beyond ASCII stay.
    let letter = (ascii + bytes(0x80 - b'A')) & !(ascii + bytes(0x7F - b'Z')) & !word & !LOW;
    word | letter >> 2
}

/// The first eight bytes (0 if there are fewer, which no caller has).
#[inline]
pub fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

#[inline]
fn half(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |chunk| u64::from(u32::from_le_bytes(*chunk)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn finds_what_was_put_in_and_nothing_else() {
        let keys: Vec<String> = (0..5000).map(|i| format!("key-{i}")).collect();
        let entries: Vec<_> = keys.iter().enumerate().map(|(i, k)| (hash(k.as_bytes(), 1), i as u32)).collect();
        let slots = Slots::build(&entries);
        for (i, key) in keys.iter().enumerate() {
            let found = slots.find(hash(key.as_bytes(), 1), |v| keys[v as usize] == *key);
            assert_eq!(found, Some(i as u32));
        }
        assert_eq!(slots.find(hash(b"absent", 1), |v| keys[v as usize] == "absent"), None);
        assert_eq!(Slots::build(&[]).find(7, |_| true), None);
    }

    #[test]
    fn every_length_and_byte_counts() {
        let mut seen = HashSet::new();
        for len in 0..70_usize {
            let mut bytes = vec![b'x'; len];
            assert!(seen.insert(hash(&bytes, 0)), "length {len}");
            for at in 0..len {
                bytes[at] = b'y';
                assert!(seen.insert(hash(&bytes, 0)), "length {len}, byte {at}");
                bytes[at] = b'x';
            }
        }
        assert_ne!(hash(b"a", 0), hash(b"a", 1));
    }

    #[test]
    fn words_agree_with_bytes() {
        for len in 0..40_usize {
            let a: Vec<u8> = (0..len as u8).map(|b| b + 1).collect();
            assert!(same(&a, &a.clone()));
            let mut padded = a.clone();
            padded.resize(8.max(len), 0);
            assert_eq!(start_word(&a), word(&padded));
            for at in 0..len {
                let mut b = a.clone();
                b[at] ^= 0x80;
                assert!(!same(&a, &b), "length {len}, byte {at}");
            }
        }
        assert!(!same(b"a", b"a\0"));
        for byte in 0..=255_u8 {
            for at in 0..8 {
                let mut bytes = [0xC1, b'Z', b'[', b'@', b'A', 0x7F, 0xFF, 0];
                bytes[at] = byte;
                let expected = bytes.map(|b| b.to_ascii_lowercase());
                assert_eq!(lowercase_word(u64::from_le_bytes(bytes)).to_le_bytes(), expected);
            }
        }
    }
}
