//! Request ids: UUIDs of version 7 (RFC 9562 5.7), from a generator per shard.
use crate::upstream::balance::Rng;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Makes ids.
#[derive(Debug)]
pub struct RequestIds(Rng);

impl RequestIds {
    /// A generator apart from those with other seeds.
    pub fn new(seed: u64) -> RequestIds {
        RequestIds(Rng::new(seed ^ 0x9e37_79b9_7f4a_7c15))
    }

    /// Appends a new id for the time `wall_ms`, milliseconds since 1970: 36 characters.
    pub fn write(&mut self, wall_ms: u64, out: &mut Vec<u8>) {
        let (a, b) = (self.0.next_u64(), self.0.next_u64());
        let high = wall_ms << 16 | 0x7000 | (a & 0x0fff);
        let low = 0x8000_0000_0000_0000 | (b >> 2);
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (i, byte) in high.to_be_bytes().into_iter().chain(low.to_be_bytes()).enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                at += 1;
            }
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 15)];
            at += 2;
        }
        out.extend_from_slice(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_hundred_thousand_ids_differ_and_look_like_version_7() {
        let mut ids = RequestIds::new(1);
        let mut seen = HashSet::new();
        for i in 0..100_000u64 {
            let mut id = Vec::new();
            ids.write(1_700_000_000_000 + i / 1000, &mut id);
            assert_eq!((id.len(), id[8], id[13], id[14], id[18], id[23]), (36, b'-', b'-', b'7', b'-', b'-'));
            assert!(matches!(id[19], b'8' | b'9' | b'a' | b'b'));
            assert!(seen.insert(id));
        }
    }
}
