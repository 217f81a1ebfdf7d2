//! What both ends of a WebSocket have in common (RFC 6455): the answer to a handshake's key, heads of frames, masks.
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};

/// What a server proves that it knows (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Payload bytes of a control frame (RFC 6455, section 5.5).
pub(crate) const CONTROL_MAX: usize = 125;
/// The bit beside the length that says that the payload is masked.
const MASKED: u8 = 0x80;

/// The `Sec-WebSocket-Accept` that answers a key (RFC 6455, section 4.2.2).
pub(crate) fn accept(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// Appends a frame's head: its first byte, and the length in its shortest form (RFC 6455, section 5.2). A mask's key
/// follows from the caller.
pub(crate) fn write_head(out: &mut Vec<u8>, first: u8, masked: bool, length: u64) {
    let mask = if masked { MASKED } else { 0 };
    out.push(first);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..=125), _) => out.push(mask | short),
        (_, Ok(medium)) => {
            out.push(mask | 126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(mask | 127);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
}

/// Applies a mask, or takes it off (RFC 6455, section 5.3), a word at a time.
pub(crate) fn mask(bytes: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for place in words {
        *place = (u64::from_ne_bytes(*place) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_key_is_the_one_of_the_specification() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn lengths_are_written_in_their_shortest_form() {
        let head = |masked, length| {
            let mut out = Vec::new();
            write_head(&mut out, 0x82, masked, length);
            out
        };
        assert_eq!((head(false, 0), head(true, 125)), (vec![0x82, 0], vec![0x82, 0xfd]));
        assert_eq!((head(true, 126), head(false, 65_535)), (vec![0x82, 0xfe, 0, 126], vec![0x82, 126, 255, 255]));
        assert_eq!(head(true, 65_536), [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_mask_goes_over_every_byte_of_any_length() {
        for n in 0..40usize {
            let plain: Vec<u8> = (0..n as u8).collect();
            let mut masked = plain.clone();
            mask(&mut masked, [1, 2, 3, 4]);
            assert!(masked.iter().zip(&plain).enumerate().all(|(i, (m, p))| *m == *p ^ (i % 4 + 1) as u8), "{n}");
            mask(&mut masked, [1, 2, 3, 4]);
            assert_eq!(masked, plain);
        }
    }
}
