//! How the bytes of a run arrive: in pieces that follow from the bytes themselves, so that a corpus is plain messages.

/// Sizes of pieces from 1 to 32.
pub fn pieces(bytes: &[u8]) -> impl FnMut() -> usize {
    let mut state =
        bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Mostly small ones.
        1 + (state as usize & 31 & (state >> 8) as usize)
    }
}
