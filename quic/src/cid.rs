//! Connection IDs that say which shard they belong to, and that we made them.
//!
//! Ten bytes: a 16-bit word that is congruent to the shard's number modulo the number of shards, 32 pseudo-random bits,
//! and a 32-bit keyed checksum of those six bytes. An observer learns the shard and no more: within a shard, the word
//! is as random as the rest (RFC 9000 5.1 wants IDs that cannot be linked).
use crate::steer::{self, MAX_SHARDS};
use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};
use std::{
    fmt,
    hash::Hasher,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Bytes of a connection ID of ours.
pub const CID_LEN: usize = 10;
/// The part that the checksum covers.
const BODY_LEN: usize = 6;

/// Keeps the generators of a process apart: two with the same key never walk the same sequence.
static GENERATORS: AtomicU64 = AtomicU64::new(0);

/// Makes and recognises the connection IDs of one shard.
pub struct Generator {
    shard: u16,
    shards: u16,
    key: Key,
    lifetime: Option<Duration>,
    instance: u64,
    made: u64,
}

impl Generator {
    /// For shard `shard` of `shards` (1..=`steer::MAX_SHARDS`; both are cut to fit). `key` is secret and the same for
    /// all shards. `lifetime`: after how long QUIC replaces an ID by a new one.
    pub fn new(shard: usize, shards: usize, key: [u8; 16], lifetime: Option<Duration>) -> Generator {
        let shards = shards.clamp(1, MAX_SHARDS);
        Generator {
            shard: shard.min(shards - 1) as u16,
            shards: shards as u16,
            key: Key::new(key),
            lifetime,
            instance: GENERATORS.fetch_add(1, Ordering::Relaxed),
            made: 0,
        }
    }

    /// Whether some shard of this process made `cid`: for packets that came to the wrong shard. Foreign IDs pass once
    /// in 2³² times.
    pub fn is_ours(&self, cid: &[u8]) -> bool {
        let Ok(cid) = <&[u8; CID_LEN]>::try_from(cid) else { return false };
        let [body @ .., _, _, _, _] = cid;
        cid.ends_with(&self.key.checksum(body))
    }

    /// Whether this shard is the one that `cid` names.
    fn is_here(&self, cid: &[u8]) -> bool {
        steer::shard_of_cid(cid, self.shards.into()) == Some(self.shard.into())
    }
}

impl ConnectionIdGenerator for Generator {
    fn generate_cid(&mut self) -> ConnectionId {
        let random = self.key.draw(self.instance, self.made).to_be_bytes();
        self.made = self.made.wrapping_add(1);
        let [a, b, c, d, high @ ..] = random;
        let word = word(u32::from_be_bytes(high), self.shard, self.shards);
        let [w, x] = word.to_be_bytes();
        let body = [w, x, a, b, c, d];
        let mut cid = [0; CID_LEN];
        cid[..BODY_LEN].copy_from_slice(&body);
        cid[BODY_LEN..].copy_from_slice(&self.key.checksum(&body));
        ConnectionId::new(&cid)
    }

    /// Only this shard's: the others' connections are not to be reset from here.
    fn validate(&self, cid: &ConnectionId) -> Result<(), InvalidCid> {
        if self.is_here(cid) && self.is_ours(cid) { Ok(()) } else { Err(InvalidCid) }
    }

    fn cid_len(&self) -> usize {
        CID_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        self.lifetime
    }
}

impl fmt::Debug for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Generator({}/{})", self.shard, self.shards) // not the key
    }
}

/// One of the 16-bit numbers that are `shard` modulo `shards`, all of them as likely.
fn word(random: u32, shard: u16, shards: u16) -> u16 {
    let (shard, shards) = (u32::from(shard), u32::from(shards));
    let choices = (0xffff - shard) / shards + 1;
    // The high half of the product is uniform in 0..choices.
    let chosen = (u64::from(random) * u64::from(choices)) >> 32;
    (chosen as u32 * shards + shard) as u16
}

/// A pseudo-random function for two purposes that never see the same input: their first words differ.
struct Key(u64, u64);

const DRAW: u64 = 1;
const CHECKSUM: u64 = 2;

impl Key {
    fn new(bytes: [u8; 16]) -> Key {
        let both = u128::from_le_bytes(bytes);
        Key(both as u64, (both >> 64) as u64)
    }

    /// 64 bits that nobody without the key can foretell.
    fn draw(&self, instance: u64, n: u64) -> u64 {
        self.hash(&[DRAW, instance, n])
    }

    fn checksum(&self, body: &[u8; BODY_LEN]) -> [u8; CID_LEN - BODY_LEN] {
        let [a, b, c, d, e, f] = *body;
        let hash = self.hash(&[CHECKSUM, u64::from_le_bytes([a, b, c, d, e, f, 0, 0])]);
        let [x, y, z, w, ..] = hash.to_le_bytes();
        [x, y, z, w]
    }

    /// SipHash-2-4.
    #[allow(deprecated)] // as a default for hash maps; the function itself is what we want
    fn hash(&self, words: &[u64]) -> u64 {
        let mut hasher = std::hash::SipHasher::new_with_keys(self.0, self.1);
        for word in words {
            hasher.write_u64(*word);
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_belong_to_their_shard_from_the_first_to_the_last() {
        for shards in 1..=MAX_SHARDS as u16 {
            for shard in 0..shards {
                assert_eq!(word(0, shard, shards), shard);
                let last = word(u32::MAX, shard, shards);
                assert_eq!(last % shards, shard);
                assert!(last > u16::MAX - shards);
            }
        }
    }
}
