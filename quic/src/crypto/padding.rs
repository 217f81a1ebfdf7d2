//! Cuts PADDING frames off the end of a packet: they say nothing (RFC 9000 19.1), but quinn-proto looks at each byte as at
//! a frame of its own, and Initial packets and probes of the path's MTU consist of little else.

/// Fewer bytes of padding than this are not worth looking for.
const RUN: usize = 16;

const PADDING: u8 = 0;
const PING: u8 = 1;
const ACK: u8 = 2;
const ACK_ECN: u8 = 3;
const CRYPTO: u8 = 6;

/// Takes a variable-length integer (RFC 9000 16) off the front.
fn integer(bytes: &mut &[u8]) -> Option<u64> {
    let (first, rest) = bytes.split_first()?;
    let (more, rest) = rest.split_at_checked((1 << (first >> 6)) - 1)?;
    *bytes = rest;
    Some(more.iter().fold(u64::from(first & 0x3f), |sum, byte| sum << 8 | u64::from(*byte)))
}

/// Takes the rest of an ACK frame (RFC 9000 19.3) off the front.
fn skip_ack(kind: u8, bytes: &mut &[u8]) -> Option<()> {
    let (_largest, _delay, ranges, _first) = (integer(bytes)?, integer(bytes)?, integer(bytes)?, integer(bytes)?);
    for _ in 0..ranges {
        let (_gap, _length) = (integer(bytes)?, integer(bytes)?);
    }
    if kind == ACK_ECN {
        let (_ect0, _ect1, _ce) = (integer(bytes)?, integer(bytes)?, integer(bytes)?);
    }
    Some(())
}

/// Takes a frame off the front; `None` when it is one of those that are not looked at, or cut.
fn skip_frame(bytes: &mut &[u8]) -> Option<()> {
    let (kind, rest) = bytes.split_first()?;
    *bytes = rest;
    match *kind {
        PING => Some(()),
        ACK | ACK_ECN => skip_ack(*kind, bytes),
        CRYPTO => {
            let _offset = integer(bytes)?;
            let length = usize::try_from(integer(bytes)?).ok()?;
            *bytes = bytes.get(length..)?;
            Some(())
        }
        _ => None,
    }
}

/// How long the decrypted `payload` of a packet is without the padding at its end. One frame stays, for a packet must
/// have one; where there are frames that are not looked at, everything stays.
pub(super) fn without(payload: &[u8]) -> usize {
    let whole = payload.len();
    if payload.last_chunk::<RUN>() != Some(&[PADDING; RUN]) {
        return whole;
    }
    let mut rest = payload;
    loop {
        let padding = rest.iter().position(|byte| *byte != PADDING).unwrap_or(rest.len());
        let (_, after) = rest.split_at(padding);
        if after.is_empty() {
            return (whole - rest.len()).max(1);
        }
        rest = after;
        if skip_frame(&mut rest).is_none() {
            return whole;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::any, prop_oneof, proptest, strategy::Just, strategy::Strategy};

    const STREAM: u8 = 8;

    #[test]
    fn padding_at_the_end_goes_and_nothing_else() {
        let padded = |frames: &[u8], padding: usize| [frames, &vec![0; padding]].concat();
        for frames in [
            &[PING][..],
            &[CRYPTO, 0, 3, 7, 0, 0],
            &[CRYPTO, 0x40, 9, 0x40, 2, 0, 0, PING],
            &[ACK, 5, 0, 1, 0, 0, 0, PING],
            &[ACK_ECN, 5, 0, 0, 0, 0, 0, 0],
            &[0, 0, 0, PING],
        ] {
            for padding in [0, 5, RUN - 1, RUN, 100, 1200] {
                let payload = padded(frames, padding);
                let kept = without(&payload);
                assert!(kept == frames.len() || padding < RUN && kept == payload.len(), "{frames:?} {padding}");
                assert!(kept >= frames.len());
            }
        }
        assert_eq!(without(&[0; 100]), 1);
        assert_eq!(without(&[]), 0);
        let stream = padded(&[STREAM, 0], 100);
        assert_eq!(without(&stream), stream.len(), "the zeros are the stream's");
        let crypto = padded(&[CRYPTO, 0, 40], 100);
        assert_eq!(without(&crypto), 43, "40 zeros are the handshake's");
        let cut = padded(&[CRYPTO, 0, 60], 40);
        assert_eq!(without(&cut), cut.len());
    }

    fn frame() -> impl Strategy<Value = Vec<u8>> {
        let data = prop_oneof![vec(any::<u8>(), 0..40), vec(Just(0), 0..40)];
        prop_oneof![
            Just(vec![PING]),
            (0usize..30).prop_map(|n| vec![PADDING; n]),
            data.prop_map(|data| [&[CRYPTO, 0x40, 5, u8::try_from(data.len()).unwrap()], data.as_slice()].concat()),
            vec(0u8..64, 0..5).prop_map(|ranges| {
                let mut frame = vec![ACK, 0x7f, 0xff, 0, u8::try_from(ranges.len()).unwrap(), 0];
                ranges.iter().for_each(|r| frame.extend([*r, 0]));
                frame
            }),
        ]
    }

    proptest! {
        #[test]
        fn only_whole_frames_of_padding_go(frames in vec(frame(), 0..12)) {
            let payload = frames.concat();
            let last = frames.iter().rposition(|f| f.iter().any(|b| *b != 0)).map_or(0, |n| n + 1);
            let needed = frames[..last].concat().len();
            let kept = without(&payload);
            assert!(kept >= needed && kept <= payload.len());
            let end = &payload[needed..];
            if end.len() >= RUN {
                assert_eq!(kept, needed.max(1));
            }
        }

        #[test]
        fn whatever_comes_only_zeros_go(mut bytes in vec(any::<u8>(), 0..100), zeros in 0usize..100) {
            bytes.resize(bytes.len() + zeros, 0);
            let kept = without(&bytes);
            assert!(kept <= bytes.len() && (kept > 0 || bytes.is_empty()));
            assert!(bytes[kept..].iter().all(|b| *b == 0));
        }
    }
}
