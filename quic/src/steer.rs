//! Which shard a packet is for: one rule, as a function and as the kernel's filter.
//!
//! The first two bytes of the destination connection ID, as a big-endian number, modulo the number of shards. RFC 8999
//! fixes where they are in every version of QUIC: long headers have the ID's length at offset 5 and the ID from 6 on,
//! short headers have the ID from offset 1 on. Our own IDs are made to fit (`cid`); those that a client invents for its
//! first packets fall on some shard, and always on the same.

/// Shards that the rule is made for: more would leave too few of the ID's first 16 bits to chance.
pub const MAX_SHARDS: usize = 256;

/// The bit that tells long headers (RFC 8999 5.1).
const LONG: u8 = 0x80;
/// Where the destination connection ID begins, by header form.
const SHORT_CID: usize = 1;
const LONG_CID: usize = 6;

/// The shard of a datagram, by its first packet: 0..`shards`. `None` when it is too short to tell (no QUIC packet is),
/// or `shards` is 0.
#[inline]
pub fn shard_of(packet: &[u8], shards: usize) -> Option<usize> {
    let at = if packet.first()? & LONG != 0 { LONG_CID } else { SHORT_CID };
    let word = packet.get(at..)?.first_chunk()?;
    usize::from(u16::from_be_bytes(*word)).checked_rem(shards)
}

/// The shard of a connection ID. `None` when it has less than two bytes or `shards` is 0.
#[inline]
pub fn shard_of_cid(cid: &[u8], shards: usize) -> Option<usize> {
    usize::from(u16::from_be_bytes(*cid.first_chunk()?)).checked_rem(shards)
}

/// Instructions of `filter`.
pub const FILTER_LEN: usize = 12;

/// `shard_of` in classic BPF, for `SO_ATTACH_REUSEPORT_CBPF`: the answer is the index of a socket in its group, in the
/// order in which they were bound. There, offset 0 is the first byte of the UDP payload. `shards` is cut to
/// 1..=`MAX_SHARDS`.
///
/// The lengths are tested first: a load beyond the end would end the program with 0, and so give shard 0 whatever short
/// packets someone sends. An answer that is no index makes the kernel spread them by their addresses.
pub fn filter(shards: usize) -> [libc::sock_filter; FILTER_LEN] {
    use libc::{BPF_A, BPF_RET, BPF_W};
    use libc::{BPF_ABS, BPF_ALU, BPF_B, BPF_H, BPF_JA, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LEN, BPF_MOD};
    let shards = shards.clamp(1, MAX_SHARDS) as u32;
    // Jumps count from the instruction behind them.
    [
        /*  0 */ code(BPF_LD | BPF_W | BPF_LEN, 0),
        /*  1 */ jump(BPF_JMP | BPF_JGE | BPF_K, SHORT_CID as u32 + 2, 0, 9),
        /*  2 */ code(BPF_LD | BPF_B | BPF_ABS, 0),
        /*  3 */ jump(BPF_JMP | BPF_JSET | BPF_K, u32::from(LONG), 2, 0),
        /*  4 */ code(BPF_LD | BPF_H | BPF_ABS, SHORT_CID as u32),
        /*  5 */ code(BPF_JMP | BPF_JA, 3),
        /*  6 */ code(BPF_LD | BPF_W | BPF_LEN, 0),
        /*  7 */ jump(BPF_JMP | BPF_JGE | BPF_K, LONG_CID as u32 + 2, 0, 3),
        /*  8 */ code(BPF_LD | BPF_H | BPF_ABS, LONG_CID as u32),
        /*  9 */ code(BPF_ALU | BPF_MOD | BPF_K, shards),
        /* 10 */ code(BPF_RET | BPF_A, 0),
        /* 11 */ code(BPF_RET | BPF_K, u32::MAX),
    ]
}

const fn code(code: u32, k: u32) -> libc::sock_filter {
    jump(code, k, 0, 0)
}

const fn jump(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}
