//! What a peer may send to a QPACK decoder: it never panics; cutting the encoder stream anywhere changes nothing; what the
//! decoder says of a field holds; memory stays bounded; blocked sections are read later as they would have been at once.
//! Input: pieces, each behind two octets: the stream in the high bits (0: the encoder stream) and the length in the others.
#![no_main]

use edge_io::{
    field_codec::{Pseudo, is_name, is_value},
    head::FieldId,
};
use edge_quic::h3::qpack::{BACKLOG_MAX, Decode, DecodeError, Decoder, Fault};
use libfuzzer_sys::fuzz_target;

mod cut;

const TABLE: u32 = 512;
const BLOCKED: u32 = 4;

/// The next piece and its stream.
fn next_piece<'a>(bytes: &mut &'a [u8]) -> Option<(u64, &'a [u8])> {
    let (&head, rest) = bytes.split_first_chunk::<2>()?;
    let head = u16::from_be_bytes(head);
    let (piece, rest) = rest.split_at(usize::from(head & 0xfff).min(rest.len()));
    *bytes = rest;
    Some((u64::from(head >> 12), piece))
}

/// All fields of a section; `None`: it is blocked.
fn decode(decoder: &mut Decoder, stream: u64, section: &[u8]) -> Result<Option<Vec<(Vec<u8>, Vec<u8>)>>, Fault> {
    let mut fields = Vec::new();
    let outcome = decoder.decode(stream, section, |f| {
        assert!(!f.name_checked || is_name(f.name) || f.pseudo.is_some());
        assert!(!f.value_checked || is_value(f.value));
        assert_eq!(f.pseudo, Pseudo::of(f.name));
        assert!(f.id == FieldId::Other || f.id.as_str().as_bytes() == f.name);
        fields.push((f.name.to_vec(), f.value.to_vec()));
        Ok::<_, ()>(())
    });
    match outcome {
        Ok(Decode::Done) => Ok(Some(fields)),
        Ok(Decode::Blocked { required_insert_count }) => {
            assert!(fields.is_empty() && required_insert_count > decoder.insert_count());
            Ok(None)
        }
        Err(DecodeError::Fault(fault)) => Err(fault),
        Err(DecodeError::Stopped(())) => unreachable!("nothing stops it"),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (mut decoder, mut cut) = (Decoder::new(TABLE, BLOCKED), Decoder::new(TABLE, BLOCKED));
    let (mut input, mut size) = (bytes, cut::pieces(bytes));
    while let Some((stream, piece)) = next_piece(&mut input) {
        if stream > 0 {
            let outcome = decode(&mut decoder, stream, piece);
            assert_eq!(outcome, decode(&mut cut, stream, piece));
            if outcome.is_err() {
                return;
            }
        } else {
            let outcome = decoder.on_encoder_stream(piece);
            let (mut rest, mut again) = (piece, Ok(()));
            while !rest.is_empty() && again.is_ok() {
                let (now, later) = rest.split_at(size().min(rest.len()));
                again = cut.on_encoder_stream(now);
                rest = later;
            }
            assert_eq!(outcome, again);
            assert_eq!(decoder.insert_count(), cut.insert_count());
            if outcome.is_err() {
                return;
            }
        }
        assert_eq!(decoder.out(), cut.out());
        let table = TABLE as usize;
        let scratch = 2 * 16 * 1024 + 8 * piece.len();
        assert!(cut.memory() <= 2 * table + 64 * 24 + 8 * table + scratch + 2 * BACKLOG_MAX, "{}", cut.memory());
    }
});
