//! The integrity tag of Retry packets (RFC 9001 5.8).
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use quinn_proto::ConnectionId;
use std::sync::LazyLock;

/// Bytes of a tag.
pub(super) const TAG_BYTES: usize = 16;
const KEY: [u8; 16] = [0xbe, 0x0c, 0x69, 0x0b, 0x9f, 0x66, 0x57, 0x5a, 0x1d, 0x76, 0x6b, 0x54, 0xe3, 0x68, 0xc8, 0x4e];
const NONCE: [u8; 12] = [0x46, 0x15, 0x99, 0xd3, 0x5d, 0x63, 0x2b, 0xf2, 0x23, 0x98, 0x25, 0xbb];

static SEAL: LazyLock<Option<LessSafeKey>> =
    LazyLock::new(|| UnboundKey::new(&AES_128_GCM, &KEY).ok().map(LessSafeKey::new));

/// The tag of a Retry packet, given in `parts` without the tag, that answers a packet sent to `cid`. `None` when the
/// cryptography fails.
pub(super) fn tag(cid: &ConnectionId, parts: [&[u8]; 2]) -> Option<[u8; TAG_BYTES]> {
    let [head, tail] = parts;
    let mut pseudo = Vec::with_capacity(1 + cid.len() + head.len() + tail.len());
    pseudo.push(u8::try_from(cid.len()).ok()?);
    pseudo.extend_from_slice(cid);
    pseudo.extend_from_slice(head);
    pseudo.extend_from_slice(tail);
    // The key and the nonce are public: the tag only shows that somebody saw the Initial packet.
    let nonce = Nonce::assume_unique_for_key(NONCE);
    let tag = SEAL.as_ref()?.seal_in_place_separate_tag(nonce, Aad::from(&pseudo), &mut []).ok()?;
    tag.as_ref().try_into().ok()
}

/// Whether the Retry packet of `header` and `payload` was made by somebody who saw the packet that we sent to `cid`.
pub(super) fn is_valid(cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
    let Some((token, shown)) = payload.split_last_chunk::<TAG_BYTES>() else { return false };
    tag(cid, [header, token]).is_some_and(|expected| expected == *shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_retry_packet_of_the_rfc() {
        // RFC 9001 A.4
        let cid = ConnectionId::new(&[0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08]);
        let header = [0xff, 0, 0, 0, 1, 0, 8, 0xf0, 0x67, 0xa5, 0x50, 0x2a, 0x42, 0x62, 0xb5];
        let mut payload = b"token".to_vec();
        payload
            .extend([0x04, 0xa2, 0x65, 0xba, 0x2e, 0xff, 0x4d, 0x82, 0x90, 0x58, 0xfb, 0x3f, 0x0f, 0x24, 0x96, 0xba]);
        assert!(is_valid(&cid, &header, &payload));
        assert_eq!(tag(&cid, [&header, b"token"]).unwrap(), payload[5..]);
        for at in 0..payload.len() {
            let mut other = payload.clone();
            other[at] ^= 1;
            assert!(!is_valid(&cid, &header, &other), "byte {at}");
            assert!(!is_valid(&cid, &header, &payload[..at]), "cut at {at}");
        }
        assert!(!is_valid(&ConnectionId::new(&[1; 8]), &header, &payload));
    }
}
