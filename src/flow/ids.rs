//! Request ids: UUIDs of version 7 (RFC 9562 5.7), from a generator per shard.
use crate::upstream::balance::Rng;

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
        let (high, low) = (hex(high), hex(low));
        let mut text = [b'-'; 36];
        text[..8].copy_from_slice(&high[..8]);
        text[9..13].copy_from_slice(&high[8..12]);
        text[14..18].copy_from_slice(&high[12..]);
        text[19..23].copy_from_slice(&low[..4]);
        text[24..].copy_from_slice(&low[4..]);
        out.extend_from_slice(&text);
    }
}

/// 16 digits at once: each nibble in a byte of its own, then to ASCII.
fn hex(n: u64) -> [u8; 16] {
    let spread = |n: u32| {
        let mut x = u64::from(n);
        x = (x | x << 16) & 0x0000_ffff_0000_ffff;
        x = (x | x << 8) & 0x00ff_00ff_00ff_00ff;
        x = (x | x << 4) & 0x0f0f_0f0f_0f0f_0f0f;
        // 1 in each byte that is 10 or more: those are letters, 39 further on.
        let letters = (x + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
        (x + 0x3030_3030_3030_3030 + letters * 39).to_be_bytes()
    };
    let mut text = [0; 16];
    text[..8].copy_from_slice(&spread((n >> 32) as u32));
    text[8..].copy_from_slice(&spread(n as u32));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn hex_is_hex() {
        for n in [0, 1, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, u64::MAX, 0x9a9a_0f0f_a0a0_9f9f] {
            assert_eq!(hex(n), format!("{n:016x}").as_bytes());
        }
    }

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
